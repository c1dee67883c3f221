//! Where the time of a sync goes.
//!
//! The thread that runs the sync is in one phase at a time. The threads that read and write meanwhile add to theirs, so
//! that the phases together may be longer than the run.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::{Clock, Spent};
use crate::job::RunReport;
use crate::vault::ReadTimes;

/// The phases of the thread that runs the sync.
#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// Lists the vault.
    Walk,
    /// Puts the listing beside what is remembered and what the graph says of itself.
    Compare,
    /// Is among the threads that read, whose time is told by [`ReadTimes`].
    Reading,
    /// Looks blocks up, and decides what becomes of them.
    Decide,
    /// Keeps what the graph has got.
    Write,
    /// Waits for a batch on its way into the graph, or for a note to be quiet.
    Wait,
}

/// The time spent in each phase.
pub(super) struct Phases<'a> {
    clock: &'a dyn Clock,
    /// The phase of the calling thread, and since when.
    now: Cell<(Phase, Duration)>,
    walk: Spent,
    compare: Spent,
    decide: Spent,
    write: Spent,
    wait: Spent,
    reading: ReadTimes,
}

impl<'a> Phases<'a> {
    /// Begins with the walk.
    pub(super) fn begin(clock: &'a dyn Clock) -> Phases<'a> {
        Phases {
            clock,
            now: Cell::new((Phase::Walk, clock.monotonic())),
            walk: Spent::default(),
            compare: Spent::default(),
            decide: Spent::default(),
            write: Spent::default(),
            wait: Spent::default(),
            reading: ReadTimes::default(),
        }
    }

    /// Ends the phase of the calling thread and begins the next one; answers with the one that ended.
    pub(super) fn enter(&self, phase: Phase) -> Phase {
        let at = self.clock.monotonic();
        let (ended, since) = self.now.replace((phase, at));
        let spent = match ended {
            Phase::Walk => &self.walk,
            Phase::Compare => &self.compare,
            Phase::Reading => return ended,
            Phase::Decide => &self.decide,
            Phase::Write => &self.write,
            Phase::Wait => &self.wait,
        };
        spent.add(at.saturating_sub(since));
        ended
    }

    /// Does the work in a phase of its own, and goes on with the one before.
    pub(super) fn during<T>(&self, phase: Phase, work: impl FnOnce() -> T) -> T {
        let before = self.enter(phase);
        let result = work();
        self.enter(before);
        result
    }

    /// The place for the times of the threads that read.
    pub(super) fn reading(&self) -> &ReadTimes {
        &self.reading
    }

    /// The place for the time of the threads that write.
    pub(super) fn writing(&self) -> (&'a dyn Clock, &Spent) {
        (self.clock, &self.write)
    }

    /// Ends the last phase, and tells the seconds of each.
    pub(super) fn tell(&self, report: &mut RunReport) {
        self.enter(Phase::Reading);
        for (name, spent) in [
            ("walk", self.walk.total()),
            ("compare", self.compare.total()),
            ("read", self.reading.read.total()),
            ("parse", self.reading.parse.total()),
            ("decide", self.decide.total()),
            ("write", self.write.total()),
            ("wait", self.wait.total() + self.reading.wait.total()),
        ] {
            let microseconds = spent.as_micros() as f64;
            report.phases.insert(name.to_owned(), (microseconds / 1e6).into());
        }
    }
}
