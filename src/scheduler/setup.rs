//! The parts that a scheduler is made of, and the reasons why one does not start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::status::{Observer, Status};
use crate::clock::Clock;
use crate::config::JobSpec;
use crate::gate::{LeaseGate, Look, Pause};
use crate::job::Job;
use crate::state::StateError;

/// A configured job and the code that runs it.
#[derive(Clone)]
pub(crate) struct ConfiguredJob {
    /// The job as the configuration has it.
    pub spec: Arc<JobSpec>,
    /// The job that [`JobRegistry::build`](crate::job::JobRegistry::build) made of it.
    pub job: Arc<dyn Job>,
}

/// The settings that a reload may change.
pub(crate) struct Settings {
    /// Every job that has code, also those that are disabled or `manual_only`: they are left unscheduled.
    pub jobs: Vec<ConfiguredJob>,
    /// `scheduler.workers`.
    pub workers: usize,
    /// `scheduler.shutdown_grace_time`.
    pub shutdown_grace_time: Duration,
    /// `scheduler.history_days`.
    pub history_days: u32,
    /// Why nothing scheduled may run now; `None` when it may. Looked at when something is due; a look that hangs holds
    /// nothing up.
    pub pause: Look<Option<Pause>>,
}

/// Everything a scheduler is made of.
pub(crate) struct Setup {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// When this program was built ([`clock::built`](crate::clock::built)): while the clock shows an earlier time, nothing
    /// is scheduled.
    pub built: DateTime<Utc>,
    /// The configuration file, to be told to those who ask what the daemon runs with.
    pub config: Option<String>,
    /// The state folder. One scheduler at a time has it.
    pub state_dir: PathBuf,
    /// Whether this host may run the jobs, where several share them; `None` where it is alone.
    pub lease: Option<LeaseGate>,
    /// The scheduled jobs.
    pub settings: Settings,
    /// Told of every skip, start and end, in order, on the tick thread once it is durable.
    pub observers: Vec<Observer>,
    /// Called by the tick thread each time it has done its round, at least every
    /// [`LONGEST_WAIT`](crate::clock::LONGEST_WAIT): for the service manager's watchdog and status line.
    pub heartbeat: Box<dyn FnMut(&Status) + Send>,
}

/// Why a scheduler does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The state folder does not serve, or another daemon has it.
    #[error(transparent)]
    State(#[from] StateError),
    /// The lease that several hosts share cannot be asked for.
    #[error("scheduler.lease: {0}")]
    Lease(String),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}: raise the limit of tasks for this user or service")]
    Thread(std::io::Error),
}
