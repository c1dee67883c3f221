//! Starts the right run at the right time, once, and can prove it.
//!
//! ```text
//!             due instants          decisions             durable rows          orders
//! Planner (pure) <---- tick thread ----> Planner ... tick thread ----> history ----> worker-0, worker-1, ...
//!                          ^                                                             |
//!                          +------------------------- reports --------------------------+
//! ```
//!
//! One thread, `tick`, owns all scheduling state: the `Planner`, which decides and knows neither clock nor thread,
//! and the connection to the state file. It sleeps until something is due, decides, makes the decisions durable, and only
//! then hands runs to a fixed pool of workers. A decision that cannot be recorded is not taken.
//!
//! This room knows no job: it is handed [`ConfiguredJob`]s. It knows no vault: whether automation is paused is a
//! look that it is handed. What an operator reads is up to the observers it is handed.

mod execute;
pub mod health;
pub mod manual;
pub mod plan;
mod pool;
#[cfg(test)]
mod testing;
mod tick;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender};

pub use self::execute::log_faults;
use crate::clock::Clock;
use crate::config::{JobName, JobSpec};
use crate::gate::Look;
use crate::job::{Job, RunId, RunRecord};
use crate::state::StateError;

/// A configured job and the code that runs it.
#[derive(Clone)]
pub struct ConfiguredJob {
    /// What the configuration says.
    pub spec: Arc<JobSpec>,
    /// What [`JobRegistry::build`](crate::job::JobRegistry::build) made of it.
    pub job: Arc<dyn Job>,
}

/// What a reload may change.
pub struct Settings {
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
    pub pause: Look<Option<String>>,
}

/// Everything a scheduler is made of.
pub struct Setup {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// When this program was built ([`clock::built`](crate::clock::built)): while the clock shows an earlier time, nothing
    /// is scheduled.
    pub built: DateTime<Utc>,
    /// The configuration file, to be told to those who ask what the daemon runs with.
    pub config: Option<String>,
    /// The state folder. One scheduler at a time has it.
    pub state_dir: PathBuf,
    /// What is scheduled, and how.
    pub settings: Settings,
    /// Told of every skip, start and end, in order, on the tick thread once it is durable.
    pub observers: Vec<Observer>,
    /// Called by the tick thread each time it has done its round, at least every
    /// [`LONGEST_WAIT`](crate::clock::LONGEST_WAIT): for the service manager's watchdog and status line.
    pub heartbeat: Box<dyn FnMut(&Status) + Send>,
}

/// Hears what happens. Runs on the tick thread: it must be quick.
pub type Observer = Box<dyn FnMut(&Event<'_>) + Send>;

/// Something that happened to an occurrence or a run.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The run, or the skipped stretch, as the history has it. Its state tells what happened: `running` is a start,
    /// `skipped` a skip; `succeeded`, `failed` and `interrupted` an end.
    pub record: &'a RunRecord,
    /// One more skip of the same pause, or while the same run is in the way: to be counted, and not worth another
    /// line.
    pub repeated: bool,
}

/// What the scheduler is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Why nothing scheduled runs, if that is so.
    pub paused: Option<String>,
    /// Since when nobody can say whether that is so: the vault or `.env` does not answer, and the last answer counts.
    pub pause_unknown_since: Option<DateTime<Utc>>,
    /// That the wall clock is certainly wrong, in words: nothing is scheduled until it is set.
    pub clock_not_set: Option<String>,
    /// The jobs that have held all workers for five minutes and more while others wait; empty if that is not so.
    pub starving: Vec<JobName>,
    /// The runs that workers have, the oldest first.
    pub running: Vec<Running>,
    /// How many runs wait for a worker.
    pub queued: usize,
    /// What is due next, and when.
    pub next: Option<(DateTime<Utc>, JobName)>,
    /// Why the state file cannot be written; nothing starts until it can.
    pub fault: Option<String>,
    /// Whether a stop was asked for.
    pub stopping: bool,
}

/// A run in the hands of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// The job.
    pub job: JobName,
    /// The run.
    pub run_id: RunId,
    /// When the worker took it.
    pub since: DateTime<Utc>,
}

/// Why a scheduler does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state folder does not serve, or another daemon has it.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}: raise the limit of tasks for this user or service")]
    Thread(std::io::Error),
}

/// A running scheduler. Dropping it stops it, with the grace the settings give to running jobs.
pub struct Scheduler {
    commands: Sender<tick::Command>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<Ending>>,
    ending: Ending,
}

/// How a scheduler ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Runs that did not end in time and were recorded as interrupted.
    pub interrupted: usize,
    /// Runs that had not begun and are undecided again: the next start takes them up.
    pub taken_back: usize,
    /// The tick thread panicked; what it had not recorded is found at the next start.
    pub crashed: bool,
}

impl Scheduler {
    /// Opens the state folder, puts to rest what a dead daemon left, and starts the threads. When this returns, the
    /// scheduler schedules.
    pub fn start(setup: Setup) -> Result<Scheduler, StartError> {
        let (commands, inbox) = crossbeam_channel::bounded(16);
        let (alive, ended) = crossbeam_channel::bounded(0);
        let tick = tick::Tick::new(setup, inbox)?;
        let thread = std::thread::Builder::new()
            .name("tick".to_owned())
            .spawn(move || {
                let ending = tick.run();
                drop(alive);
                ending
            })
            .map_err(StartError::Thread)?;
        Ok(Scheduler { commands, ended, thread: Some(thread), ending: Ending::default() })
    }

    /// Puts new settings into force and returns when they are. Jobs whose line and zone are the same keep their next
    /// fire time; others start anew; jobs that are gone finish what runs. Without effect once the scheduler has ended.
    pub fn reload(&self, settings: Settings) {
        let (done, wait) = crossbeam_channel::bounded(0);
        if self.commands.send(tick::Command::Reload(Box::new(settings), done)).is_ok() {
            // The answer is the hanging up: it comes also when the tick thread ends instead.
            let _ = wait.recv();
        }
    }

    /// Asks for the end and returns at once. No new run begins; running ones have `shutdown_grace_time`. Asked a second
    /// time, the end comes without waiting: what runs is recorded as interrupted.
    pub fn request_stop(&self) {
        let _ = self.commands.send(tick::Command::Stop);
    }

    /// Hangs up when the scheduler has ended, for a `select!` beside signals. Carries no message.
    pub fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Waits for the end, after asking for it unless that was done. May be called twice.
    pub fn stop(&mut self) -> Ending {
        if let Some(thread) = self.thread.take() {
            let _ = self.commands.send(tick::Command::EnsureStop);
            self.ending = thread.join().unwrap_or(Ending { crashed: true, ..Ending::default() });
        }
        self.ending
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
    }
}
