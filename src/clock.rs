//! Time. The only file that asks the system what time it is.
//!
//! Wall time (UTC) decides *when* something happens; it may jump. Monotonic time measures *how long* something took;
//! it stands still while the machine is suspended. Boot time is monotonic time plus time spent suspended. Comparing
//! the three tells a suspend (boot runs ahead of monotonic) from a clock step (wall runs away from boot).

#[cfg(test)]
mod manual;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::Receiver;

#[cfg(test)]
pub(crate) use manual::{EachLook, ManualClock};

/// No wait is longer than this, so a suspend or a clock that was set is noticed within it.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Where the program's time comes from: the system, or a test that moves it by hand.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall time. Decides when; may jump.
    fn now(&self) -> DateTime<Utc>;
    /// Time since a fixed, private origin, not counting suspends. Measures how long; never goes back.
    fn monotonic(&self) -> Duration;
    /// Time since a fixed, private origin, counting suspends; never goes back.
    fn boottime(&self) -> Duration;
    /// An alarm that rings at `at`, or earlier (at the latest after [`LONGEST_WAIT`]): re-read [`now`](Clock::now) and
    /// arm again.
    fn alarm(&self, at: DateTime<Utc>) -> Alarm;
    /// Waits for `duration` of monotonic time or until `ended` says true, whichever is first; true if `ended` did.
    /// `ended` is asked again every 50 ms at the latest.
    fn wait(&self, duration: Duration, ended: &dyn Fn() -> bool) -> bool;
}

/// Rings once.
#[derive(Debug)]
pub struct Alarm(Receiver<Instant>);

impl Alarm {
    /// An alarm that rings after so much time of the system, whatever another clock shows.
    pub fn after(wait: Duration) -> Alarm {
        Alarm(crossbeam_channel::after(wait))
    }

    /// Waits until it rings.
    pub fn wait(&self) {
        let _ = self.0.recv();
    }

    /// The channel that becomes ready when it rings, for a `select!`.
    pub(crate) fn ready(&self) -> &Receiver<Instant> {
        &self.0
    }
}

/// A difference between wall and boot time up to this is a clock being adjusted, not set.
pub(crate) const STEP_MIN: TimeDelta = TimeDelta::seconds(2);

/// The time that some work takes, of several threads together.
#[derive(Debug, Default)]
pub struct Spent(AtomicU64);

impl Spent {
    /// Adds to the time.
    pub fn add(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Does the work, and adds the time that it takes.
    pub fn on<T>(&self, clock: &dyn Clock, work: impl FnOnce() -> T) -> T {
        let began = clock.monotonic();
        let result = work();
        self.add(clock.monotonic().saturating_sub(began));
        result
    }

    /// All of the time.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// When this program was built: no clock that is right shows an earlier time. The beginning of 2026 where the build does
/// not say, or says something earlier.
pub(crate) fn built() -> DateTime<Utc> {
    let seconds = option_env!("ACLARAI_BUILT").and_then(|seconds| seconds.parse().ok());
    let said = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    said.unwrap_or_default().max(first_of_all())
}

/// The beginning of 2026, before which there was no such program: nothing that it wrote down is older. Not the time of the
/// build, since what an earlier release wrote stays true after an upgrade.
pub(crate) fn first_of_all() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default()
}

/// An instant that was written down, unless the clock was not set then.
pub(crate) fn by_a_set_clock(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (at >= first_of_all()).then_some(at)
}

/// That the wall clock is certainly wrong, in words; `None` where it may be right.
pub(crate) fn not_set(now: DateTime<Utc>) -> Option<String> {
    not_set_before(built(), now)
}

/// The same for another earliest time.
pub(crate) fn not_set_before(earliest: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
    (now < earliest).then(|| format!("clock not set: it shows {}", now.format("%Y-%m-%d")))
}

/// One reading of the three clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Wall time; may jump.
    pub wall: DateTime<Utc>,
    /// Time since some origin, suspends left out.
    pub monotonic: Duration,
    /// Time since some origin, suspends counted.
    pub boottime: Duration,
}

impl Moment {
    /// Reads the three clocks as of one moment. A thread that is held up between two readings, or a machine that sleeps
    /// there, would look like a clock that was set: then they are read again.
    pub fn of(clock: &dyn Clock) -> Moment {
        loop {
            let before = clock.boottime();
            let (wall, monotonic) = (clock.now(), clock.monotonic());
            let boottime = clock.boottime();
            if boottime.saturating_sub(before) < Duration::from_millis(100) {
                return Moment { wall, monotonic, boottime };
            }
        }
    }

    /// Whether the wall clock was set, or the machine suspended, since `earlier`.
    pub fn has_jumped_since(self, earlier: Moment) -> bool {
        Passed::between(earlier, self).is_notable()
    }
}

/// The changes of the clocks between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    /// Time that really passed, suspends counted.
    pub real: TimeDelta,
    /// How much the wall clock was set; zero unless by more than [`STEP_MIN`].
    pub step: TimeDelta,
    suspended: Duration,
}

impl Passed {
    /// The changes from `last` to `now`.
    pub(crate) fn between(last: Moment, now: Moment) -> Passed {
        let boottime = now.boottime.saturating_sub(last.boottime);
        let monotonic = now.monotonic.saturating_sub(last.monotonic);
        let real = TimeDelta::from_std(boottime).unwrap_or(TimeDelta::MAX);
        let step = (now.wall - last.wall) - real;
        let step = if step.abs() > STEP_MIN { step } else { TimeDelta::zero() };
        Passed { real, step, suspended: boottime.saturating_sub(monotonic) }
    }

    /// How long the machine slept, if it did.
    pub(crate) fn suspended(self) -> Option<Duration> {
        (self.suspended > Duration::from_secs(2)).then_some(self.suspended)
    }

    /// Whether the clock was set or the machine slept.
    pub(crate) fn is_notable(self) -> bool {
        self.suspended().is_some() || !self.step.is_zero()
    }
}

/// The clocks of the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl SystemClock {
    fn read(id: rustix::time::ClockId) -> Duration {
        let time = rustix::time::clock_gettime(id);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        SystemClock::read(rustix::time::ClockId::Monotonic)
    }

    fn boottime(&self) -> Duration {
        SystemClock::read(rustix::time::ClockId::Boottime)
    }

    fn alarm(&self, at: DateTime<Utc>) -> Alarm {
        let wait = (at - self.now()).to_std().unwrap_or(Duration::ZERO);
        Alarm::after(wait.min(LONGEST_WAIT))
    }

    fn wait(&self, duration: Duration, ended: &dyn Fn() -> bool) -> bool {
        let until = self.monotonic() + duration;
        loop {
            if ended() {
                return true;
            }
            let left = until.saturating_sub(self.monotonic());
            if left.is_zero() {
                return false;
            }
            Alarm::after(left.min(Duration::from_millis(50))).wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-08-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_alarm_rings_when_a_test_moves_the_clock() {
        let clock = ManualClock::at(noon());
        let alarm = clock.alarm(noon() + TimeDelta::minutes(1));
        assert!(alarm.ready().try_recv().is_err());
        clock.advance(Duration::from_secs(60));
        assert!(alarm.ready().try_recv().is_ok());
    }

    #[test]
    fn a_suspend_and_a_step_are_told_apart() {
        let clock = ManualClock::at(noon());
        clock.suspend(Duration::from_secs(100));
        assert_eq!((clock.monotonic().as_secs(), clock.boottime().as_secs()), (0, 100));
        clock.step(TimeDelta::seconds(-100));
        assert_eq!((clock.now(), clock.boottime().as_secs()), (noon(), 100));
    }

    #[test]
    fn a_wait_may_end_by_what_this_clock_says() {
        let clock = ManualClock::at(noon());
        let hour = Duration::from_secs(3600);
        assert!(clock.wait(hour, &|| clock.now() == noon()));
        clock.advance(hour);
        assert!(!clock.wait(Duration::ZERO, &|| clock.now() == noon()));
    }

    #[test]
    fn the_system_clocks_do_not_go_back() {
        let clock = SystemClock;
        let (first, boot) = (clock.monotonic(), clock.boottime());
        assert!(clock.monotonic() >= first && clock.boottime() >= boot);
        clock.alarm(clock.now()).wait();
    }
}
