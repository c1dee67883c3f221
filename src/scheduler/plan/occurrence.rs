//! The words of a plan: an occurrence and its fate, the progress of a job, and the proposal that holds both.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Moment;
use crate::config::JobName;
use crate::job::SkipReason;

/// The fate of an occurrence, or of a stretch of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The job.
    pub job: JobName,
    /// The oldest instant.
    pub first: DateTime<Utc>,
    /// The newest instant; `first` for a run.
    pub last: DateTime<Utc>,
    /// How many instants there are from `first` to `last`; 1 for a run.
    pub count: u64,
    /// How often the clock was set back before these instants came.
    pub epoch: u32,
    /// How much later than due the first one was when it was judged.
    pub lateness: Duration,
    /// Their fate.
    pub fate: Fate,
}

/// The two ends of an occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It makes a run.
    Start {
        /// How many older occurrences the run also stands for.
        coalesced: u64,
        /// The monotonic time at which it was judged: what passes from then on is waiting, for another run of its job
        /// to end or for a worker.
        waiting_since: Duration,
    },
    /// It makes no run.
    Skip(SkipReason),
}

/// How far a job is decided, to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The job.
    pub job: JobName,
    /// The line and zone this is true for; empty for a job that is not scheduled any more.
    pub schedule: String,
    /// Every instant up to this one is decided, except those that wait.
    pub decided_until: DateTime<Utc>,
    /// The epoch of the instants to come.
    pub epoch: u32,
}

/// An occurrence that begins or ceases to wait, to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The job.
    pub job: JobName,
    /// The instant.
    pub instant: DateTime<Utc>,
    /// Its epoch.
    pub epoch: u32,
    /// Whether it waits from now on.
    pub begins: bool,
}

/// Something an operator should know that is no decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The machine slept; what fell due meanwhile is treated as after a downtime.
    Suspended(Duration),
    /// The wall clock was set by this much.
    Stepped(TimeDelta),
    /// The job is scheduled from now on.
    New(JobName),
    /// The job's line or zone is another one: it starts anew.
    Changed(JobName),
    /// The job is not scheduled any more.
    Gone(JobName),
    /// The job was decided further than the clock now shows, by this much: the clock was set back meanwhile.
    Ahead(JobName, TimeDelta),
    /// Other hosts have decided the job further than the clock of this one shows, by this much.
    AheadOfThisHost(JobName, TimeDelta),
}

/// A proposal: what is to be recorded, and what will be true then.
#[derive(Debug)]
pub struct Plan {
    /// The decisions, the oldest instant first.
    pub decisions: Vec<Decision>,
    /// The watermarks that moved.
    pub marks: Vec<Mark>,
    /// Which occurrences begin or cease to wait.
    pub waits: Vec<Wait>,
    /// Remarks for an operator.
    pub notices: Vec<Notice>,
    /// The jobs looked at, and how they stand afterwards.
    pub(super) progress: Vec<(JobName, Progress)>,
    /// The jobs that wait for a run in another process.
    pub(super) watching: BTreeSet<JobName>,
    pub(super) moment: Option<Moment>,
}

/// How far one job has come.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) decided_until: DateTime<Utc>,
    pub(super) epoch: u32,
    /// The oldest first.
    pub(super) waiting: Vec<Waiting>,
    /// When the next occurrence is due: its instant and jitter.
    pub(super) due: Option<DateTime<Utc>>,
}

/// An occurrence that is due and not decided.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) instant: DateTime<Utc>,
    pub(super) epoch: u32,
    pub(super) role: Role,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// Just due, or remembered from the last time the program ran: to be judged like anything else that is due.
    Unjudged,
    /// One of several that run in order (`coalesce: false`).
    CatchUp(Judged),
    /// The one that waits under `overlap: queue`.
    Pending(Judged),
}

/// The finding when an occurrence was judged. Lateness is judged once: waiting is not being late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) lateness: Duration,
    /// Monotonic time.
    pub(super) since: Duration,
}
