//! A job: code that does the work of one run.
//!
//! The scheduler decides when a run starts and a worker carries it out; a [`Job`] only does the work. Name, schedule,
//! retries, timeout and overlap are not its business: they belong to the job's [`JobSpec`](crate::config::JobSpec).

mod fault;
mod feed;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod stat;

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::clock::{Clock, SystemClock};
use crate::config::JobName;
use crate::stop::{Stop, Why};
pub(crate) use fault::{Fault, FaultLevel};
pub use feed::Feed;
pub(crate) use feed::{Blocks, FeedSource};
pub(crate) use registry::BadParameter;
pub use registry::{BuildError, DuplicateKind, Host, JobRegistry, params};
pub use run::{RunId, Trigger};
pub(crate) use run::{RunRecord, RunState, Skip, SkipReason, set_apart};

/// The work of one kind of job.
pub trait Job: Send + Sync {
    /// Does the work of one run.
    ///
    /// Call [`RunContext::checkpoint`] between units of work: a run that never does so cannot be stopped or timed out,
    /// and will hold its worker.
    fn run(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError>;
}

/// A run's knowledge of itself.
pub struct RunContext<'a> {
    /// The run's id, `vault_sync_1734264000`.
    pub run_id: &'a RunId,
    /// The configured name of the job.
    pub job: &'a JobName,
    /// Why the run was started.
    pub trigger: Trigger,
    /// The instant the run was scheduled for; for a manual run the moment it was asked for.
    pub scheduled_for: DateTime<Utc>,
    /// Which try this is, counted from 1.
    pub attempt: u32,
    /// Time, for a job that measures or waits.
    pub clock: &'a dyn Clock,
    /// Told when the run must end.
    pub stop: Stop,
    /// Wishes of the person who started the run, beyond the configuration.
    pub options: RunOptions,
    /// Told how far the run is; shown as a progress bar on a terminal.
    pub progress: &'a dyn Progress,
    /// Where marked blocks come from, for a job that asks for them.
    pub(crate) feed: Option<&'a dyn FeedSource>,
}

impl RunContext<'static> {
    /// The context of a run by hand at this moment, that nobody watches or stops: for a test of a job. Its fields may be
    /// changed, as `options` for a test of `--dry-run`.
    pub fn for_test() -> RunContext<'static> {
        static JOB: LazyLock<JobName> = LazyLock::new(|| JobName::new("test"));
        static RUN: LazyLock<RunId> = LazyLock::new(|| RunId::new(&JOB, SystemClock.now()));
        RunContext {
            run_id: &RUN,
            job: &JOB,
            trigger: Trigger::Manual,
            scheduled_for: SystemClock.now(),
            attempt: 1,
            clock: &SystemClock,
            stop: Stop::new(),
            options: RunOptions::default(),
            progress: &NoProgress,
            feed: None,
        }
    }
}

impl RunContext<'_> {
    /// Between units of work: an error once the run has been cancelled or its time is up. Pass it on with `?`.
    pub fn checkpoint(&self) -> Result<(), JobError> {
        match self.stop.why() {
            None => Ok(()),
            Some(Why::Told) => Err(JobError::cancelled()),
            Some(Why::TimeUp) => Err(JobError::timed_out()),
        }
    }

    /// Waits, but not beyond the end of the run.
    pub fn wait(&self, duration: Duration) -> Result<(), JobError> {
        self.stop.wait(self.clock, duration);
        self.checkpoint()
    }
}

/// Wishes of `run JOB` beyond the configuration. A job that has no use for one ignores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunOptions {
    /// Read and compare everything, whatever the local state remembers.
    pub full: bool,
    /// Write nothing anywhere; report what would happen.
    pub dry_run: bool,
    /// Say for each item why it is treated as it is.
    pub explain: bool,
    /// Archive even more blocks than the guard allows.
    pub allow_archive: bool,
    /// Take another vault for the one that is known.
    pub accept_vault: bool,
    /// With `explain`: show what changes in each text.
    pub diff: bool,
}

/// Where a run reports how far it is.
pub trait Progress: Send + Sync {
    /// A new phase begins; `total` units of work are expected, if known.
    fn phase(&self, name: &str, total: Option<u64>);
    /// `units` more are done, which were `bytes` long.
    fn advance(&self, units: u64, bytes: u64);
}

/// Progress that nobody watches.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn phase(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64, _: u64) {}
}

/// The report of a run that is done: flat statistics that become keys of the log line, the history row and
/// `run --json`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RunReport {
    /// Numbers, flags and short strings by name; no nested values.
    pub stats: Map<String, Value>,
    /// Faults that did not end the run. They go to the log; history and `run --json` keep only the counts.
    pub faults: Vec<Fault>,
    /// With `--explain`: one line per item that was not left alone, and why. Appears in
    /// `run --json` as `explained`.
    pub explained: Vec<String>,
    /// The seconds of each phase, of a job that measures them. Phases may overlap where several threads work. Appears in
    /// `run --json` with `_seconds` behind each name.
    pub phases: Map<String, Value>,
}

impl RunReport {
    /// An empty report.
    pub fn new() -> RunReport {
        RunReport::default()
    }

    /// Sets one statistic.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.stats.insert(name.to_owned(), value.into());
    }

    /// True when the run is done but a person should look: it counted `errors`, or says `needs_attention`.
    pub fn needs_attention(&self) -> bool {
        ask_for_a_person(&self.stats)
    }
}

/// Whether these statistics count `errors`, or say `needs_attention`.
fn ask_for_a_person(stats: &Map<String, Value>) -> bool {
    stats.get(stat::ERRORS).and_then(Value::as_u64).is_some_and(|errors| errors > 0)
        || stats.get(stat::NEEDS_ATTENTION).is_some_and(|value| match value {
            Value::Bool(flag) => *flag,
            Value::Number(number) => number.as_u64() != Some(0),
            _ => true,
        })
}

/// The remedy that a caller has for a failed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobErrorKind {
    /// The run was told to stop; recorded as `interrupted`.
    Cancelled,
    /// The run's time was up; recorded as `failed`.
    TimedOut,
    /// It may work the next time: tried again as `retries` says.
    Transient,
    /// A service the run cannot do without does not answer: tried again as `retries` says; exit code 4.
    Unreachable,
    /// A service or file the run cannot do without is not there, and will not be until a person has looked: not tried
    /// again inside the run; exit code 4.
    Unavailable,
    /// Trying again will not help.
    Permanent,
}

/// Why a run failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobError {
    /// The remedy that the caller has.
    pub kind: JobErrorKind,
    /// One line for a person: what failed, the cause after a colon, the remedy. Never a secret or a block's text.
    pub message: String,
    /// Statistics gathered before the failure.
    pub report: Option<Box<RunReport>>,
}

impl JobError {
    /// A failure of the given kind.
    pub fn new(kind: JobErrorKind, message: impl Into<String>) -> JobError {
        JobError { kind, message: message.into(), report: None }
    }

    /// A failure that may go away by itself.
    pub fn transient(message: impl Into<String>) -> JobError {
        JobError::new(JobErrorKind::Transient, message)
    }

    /// A failure that will come again.
    pub fn permanent(message: impl Into<String>) -> JobError {
        JobError::new(JobErrorKind::Permanent, message)
    }

    /// A service or file the run needs is not there.
    pub fn unavailable(message: impl Into<String>) -> JobError {
        JobError::new(JobErrorKind::Unavailable, message)
    }

    /// The run heard that it should stop.
    pub fn cancelled() -> JobError {
        JobError::new(JobErrorKind::Cancelled, "told to stop")
    }

    /// The run heard that its time is up.
    pub fn timed_out() -> JobError {
        JobError::new(JobErrorKind::TimedOut, "timeout reached")
    }

    /// Adds the statistics gathered before the failure.
    pub fn with_report(mut self, report: RunReport) -> JobError {
        self.report = Some(Box::new(report));
        self
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for JobError {}
