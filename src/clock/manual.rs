//! Clocks for tests: one that a test moves, and one that moves at each look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{Sender, bounded};

use super::{Alarm, Clock};

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub(crate) struct ManualClock {
    time: Mutex<ManualTime>,
    moved: Condvar,
}

#[derive(Debug)]
struct ManualTime {
    now: DateTime<Utc>,
    monotonic: Duration,
    boottime: Duration,
    alarms: Vec<(DateTime<Utc>, Sender<Instant>)>,
}

impl ManualClock {
    /// A clock whose wall time is `now`.
    pub(crate) fn at(now: DateTime<Utc>) -> ManualClock {
        let time = ManualTime {
            now,
            monotonic: Duration::ZERO,
            boottime: Duration::ZERO,
            alarms: Vec::new(),
        };
        ManualClock { time: Mutex::new(time), moved: Condvar::new() }
    }

    /// Lets time pass: all three clocks move on.
    pub(crate) fn advance(&self, by: Duration) {
        self.change(|time| {
            time.now += TimeDelta::from_std(by).expect("a test advances by less than an age");
            time.monotonic += by;
            time.boottime += by;
        });
    }

    /// Suspends the machine: the monotonic clock stands still.
    pub(crate) fn suspend(&self, by: Duration) {
        self.change(|time| {
            time.now += TimeDelta::from_std(by).expect("a test suspends for less than an age");
            time.boottime += by;
        });
    }

    /// Sets the wall clock: the other two do not notice.
    pub(crate) fn step(&self, by: TimeDelta) {
        self.change(|time| time.now += by);
    }

    fn change(&self, change: impl FnOnce(&mut ManualTime)) {
        let mut time = self.time.lock().expect("no test panics while it moves the clock");
        change(&mut time);
        // Every alarm rings at any move: "or earlier" is part of the contract, and a step must be noticed.
        for (_, alarm) in time.alarms.drain(..) {
            let _ = alarm.try_send(real_instant());
        }
        self.moved.notify_all();
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.time.lock().expect("no test panics while it moves the clock").now
    }

    fn monotonic(&self) -> Duration {
        self.time.lock().expect("no test panics while it moves the clock").monotonic
    }

    fn boottime(&self) -> Duration {
        self.time.lock().expect("no test panics while it moves the clock").boottime
    }

    fn alarm(&self, at: DateTime<Utc>) -> Alarm {
        let (sender, receiver) = bounded(1);
        let mut time = self.time.lock().expect("no test panics while it moves the clock");
        if time.now >= at {
            let _ = sender.try_send(real_instant());
        } else {
            time.alarms.push((at, sender));
        }
        Alarm(receiver)
    }

    fn wait(&self, duration: Duration, ended: &dyn Fn() -> bool) -> bool {
        let until = self.monotonic() + duration;
        loop {
            // Asked without the lock: it may well look at this clock.
            if ended() {
                return true;
            }
            let time = self.time.lock().expect("no test panics while it moves the clock");
            if time.monotonic >= until {
                return false;
            }
            let step = Duration::from_millis(5);
            drop(
                self.moved
                    .wait_timeout(time, step)
                    .expect("no test panics while it moves the clock"),
            );
        }
    }
}

/// The value in a crossbeam timer channel; nobody reads it.
#[expect(clippy::disallowed_methods, reason = "a timer channel carries it")]
fn real_instant() -> Instant {
    Instant::now()
}

/// A clock whose monotonic time is a second later at each look.
#[derive(Debug, Default)]
pub(crate) struct EachLook(AtomicU64);

impl Clock for EachLook {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn boottime(&self) -> Duration {
        Duration::ZERO
    }

    fn alarm(&self, _: DateTime<Utc>) -> Alarm {
        Alarm(crossbeam_channel::never())
    }

    fn wait(&self, _: Duration, ended: &dyn Fn() -> bool) -> bool {
        ended()
    }
}
