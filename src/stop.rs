//! The one shape of "told to stop": a flag that clones share, and a time at which it counts as raised by itself.
//!
//! Work asks [`Stop::is_told`] between its steps and while it waits. Nothing here ends anything: a piece of work that
//! never asks goes on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// How long a command has between SIGTERM and SIGKILL. Every other patience with work that was told to stop follows from
/// this one number.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);

/// How long killed processes may take to go: longer only if the kernel holds them (a dead network drive).
pub(crate) const KILL_WAIT: Duration = STOP_GRACE;

/// How long runs may take to notice that they were told to stop, before the stop goes on without them.
pub(crate) const CANCEL_WAIT: Duration = STOP_GRACE.saturating_add(Duration::from_secs(2));

/// How long after the end of its time a run may take to notice, before it is told of as overdue.
pub(crate) const OVERDUE_AFTER: Duration = STOP_GRACE.saturating_add(Duration::from_secs(5));

/// How long the end of the daemon waits for commands that tell of its last runs.
pub(crate) const LAST_WORDS: Duration = STOP_GRACE;

/// How long the end of the daemon may take after `shutdown_grace_time`, without what a slow disk adds.
pub const END_MAX: Duration = CANCEL_WAIT.saturating_add(LAST_WORDS);

/// Tells work to stop, from another thread or by a deadline. Clones share one flag.
#[derive(Clone, Default)]
pub struct Stop {
    told: Arc<AtomicBool>,
    deadline: Option<Deadline>,
    leash: Option<Leash>,
}

#[derive(Clone)]
struct Deadline {
    /// Monotonic time.
    at: Duration,
    clock: Arc<dyn Clock>,
}

/// How long work may go on that another host may take over: a time of the boot clock, which is moved on while this host may
/// run it. By that clock a machine that slept has let go when it wakes. Clones share it.
#[derive(Clone)]
pub(crate) struct Leash {
    until_ms: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl Leash {
    pub(crate) fn new(until: Duration, clock: Arc<dyn Clock>) -> Leash {
        let leash = Leash { until_ms: Arc::default(), clock };
        leash.move_to(until);
        leash
    }

    /// In whole milliseconds, the fraction dropped: never too long.
    pub(crate) fn until(&self) -> Duration {
        Duration::from_millis(self.until_ms.load(Ordering::Acquire))
    }

    pub(crate) fn move_to(&self, until: Duration) {
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.until_ms.store(until_ms, Ordering::Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.clock.boottime() >= self.until()
    }
}

/// Why work has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Somebody said so.
    Told,
    /// Its time is up.
    TimeUp,
}

impl Stop {
    /// A stop that nobody has asked for yet, and that only [`tell`](Stop::tell) asks for.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Shares this one's flag, and is also asked for once the monotonic time of `clock` reaches `at`.
    pub fn with_deadline(&self, at: Duration, clock: Arc<dyn Clock>) -> Stop {
        Stop { deadline: Some(Deadline { at, clock }), ..self.clone() }
    }

    /// Shares this one's flag, and has so much more time.
    pub(crate) fn with_more_time(&self, more: Duration) -> Stop {
        let later = |deadline| {
            let Deadline { at, clock } = deadline;
            Deadline { at: at.saturating_add(more), clock }
        };
        let stop = self.clone();
        Stop { deadline: stop.deadline.map(later), ..stop }
    }

    /// Shares this one's flag, and counts as told once the leash is over.
    pub(crate) fn with_leash(&self, leash: Leash) -> Stop {
        Stop { leash: Some(leash), ..self.clone() }
    }

    pub(crate) fn leash(&self) -> Option<&Leash> {
        self.leash.as_ref()
    }

    /// Asks for the stop. May be called twice.
    pub fn tell(&self) {
        self.told.store(true, Ordering::Release);
    }

    /// Why the work has to stop; `None` while it may go on.
    pub fn why(&self) -> Option<Why> {
        if self.told.load(Ordering::Acquire) || self.leash().is_some_and(Leash::is_over) {
            return Some(Why::Told);
        }
        let is_over = |deadline: &Deadline| deadline.clock.monotonic() >= deadline.at;
        self.deadline.as_ref().is_some_and(is_over).then_some(Why::TimeUp)
    }

    /// Whether the work has to stop.
    pub fn is_told(&self) -> bool {
        self.why().is_some()
    }

    /// Waits for `duration` by `clock`, but not beyond the stop; true if that is what ended the waiting.
    pub fn wait(&self, clock: &dyn Clock, duration: Duration) -> bool {
        clock.wait(duration, &|| self.is_told())
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deadline = self.deadline.as_ref().map(|deadline| deadline.at);
        f.debug_struct("Stop").field("why", &self.why()).field("deadline", &deadline).finish()
    }
}

/// A stop that is asked for by itself once it was looked at `times` times.
#[cfg(test)]
pub(crate) fn after_looks(times: u64) -> Stop {
    use crate::clock::EachLook;
    Stop::new().with_deadline(Duration::from_secs(times), Arc::new(EachLook::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_stop_is_told_by_a_person_or_by_time() {
        let clock = Arc::new(ManualClock::at(chrono::DateTime::UNIX_EPOCH));
        let stop = Stop::new();
        let timed = stop.with_deadline(Duration::from_secs(5), clock.clone());
        assert_eq!((stop.why(), timed.why()), (None, None));
        clock.advance(Duration::from_secs(5));
        assert_eq!((stop.why(), timed.why()), (None, Some(Why::TimeUp)));
        assert!(timed.wait(&*clock, Duration::from_secs(1)));
        stop.tell();
        stop.tell();
        assert_eq!((stop.why(), timed.clone().why()), (Some(Why::Told), Some(Why::Told)));
    }

    #[test]
    fn more_time_is_for_the_deadline_alone() {
        let clock = Arc::new(ManualClock::at(chrono::DateTime::UNIX_EPOCH));
        let stop = Stop::new();
        let now = clock.monotonic();
        let timed = stop.with_deadline(now + Duration::from_secs(5), clock.clone());
        let later = timed.with_more_time(Duration::from_secs(2));
        clock.advance(Duration::from_secs(6));
        assert_eq!((timed.why(), later.why()), (Some(Why::TimeUp), None));
        clock.advance(Duration::from_secs(1));
        assert_eq!(later.why(), Some(Why::TimeUp));
        let for_ever = stop.with_deadline(Duration::MAX, clock).with_more_time(Duration::MAX);
        assert_eq!((for_ever.why(), stop.with_more_time(Duration::ZERO).why()), (None, None));
        stop.tell();
        assert_eq!(for_ever.why(), Some(Why::Told));
    }

    #[test]
    fn work_on_a_leash_stops_when_the_leash_is_over_and_not_while_it_is_moved_on() {
        let clock = Arc::new(ManualClock::at(chrono::DateTime::UNIX_EPOCH));
        let now = clock.boottime();
        let leash = Leash::new(now + Duration::from_secs(5), clock.clone());
        let stop = Stop::new().with_leash(leash.clone());
        let timed = stop.with_deadline(Duration::MAX, clock.clone());
        clock.advance(Duration::from_secs(4));
        leash.move_to(now + Duration::from_secs(9));
        clock.advance(Duration::from_secs(4));
        assert_eq!((stop.why(), timed.why()), (None, None));
        clock.advance(Duration::from_secs(1));
        assert_eq!((stop.why(), timed.why()), (Some(Why::Told), Some(Why::Told)));
    }

    #[test]
    fn a_stop_for_tests_counts_the_looks() {
        let stop = after_looks(2);
        assert_eq!([0; 3].map(|_| stop.is_told()), [false, false, true]);
    }
}
