//! The news that a scheduler gives of itself: to observers of runs, to the heartbeat, and when it ends.

use chrono::{DateTime, Utc};

use crate::config::JobName;
use crate::gate::Standing;
use crate::job::{RunId, RunRecord, Skip};

/// Hears what happens. Runs on the tick thread: it must be quick.
pub(crate) type Observer = Box<dyn FnMut(&Event<'_>) + Send>;

/// Something that happened to an occurrence or a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// A run, as the history has it. Its state tells what happened: `running` is a start; `succeeded`, `failed` and
    /// `interrupted` an end.
    Run(&'a RunRecord),
    /// Occurrences made no run.
    Skip {
        /// Which, and why.
        skip: &'a Skip,
        /// One more of the same pause, or while the same run is in the way: to be counted, and not worth another line.
        repeated: bool,
    },
}

/// The scheduler's doings at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Status {
    /// Why nothing scheduled runs, if that is so.
    pub paused: Option<String>,
    /// Since when nobody can say whether that is so: the vault or `.env` does not answer, and the last answer counts.
    pub pause_unknown_since: Option<DateTime<Utc>>,
    /// That the wall clock is certainly wrong, in words: nothing is scheduled until it is set.
    pub clock_not_set: Option<String>,
    /// Where several hosts share the jobs: how this one stands.
    pub lease: Option<Standing>,
    /// The jobs that have held all workers for five minutes and more while others wait; empty if that is not so.
    pub starving: Vec<JobName>,
    /// The runs that workers have, the oldest first.
    pub running: Vec<Running>,
    /// How many runs wait for a worker.
    pub queued: usize,
    /// The next job due, and its time.
    pub next: Option<(DateTime<Utc>, JobName)>,
    /// Why the state file cannot be written; nothing starts until it can.
    pub fault: Option<String>,
    /// Whether a stop was asked for.
    pub stopping: bool,
}

/// A run in the hands of a worker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    /// The job.
    pub job: JobName,
    /// The run.
    pub run_id: RunId,
    /// When the worker took it.
    pub since: DateTime<Utc>,
}

/// How a scheduler ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Runs that did not end in time and were recorded as interrupted.
    pub interrupted: usize,
    /// Runs that had not begun and are undecided again: the next start takes them up.
    pub taken_back: usize,
    /// Runs that were told to stop and did not end: they may go on until the process does.
    pub left: usize,
    /// The tick thread panicked; what it had not recorded is found at the next start.
    pub crashed: bool,
}
