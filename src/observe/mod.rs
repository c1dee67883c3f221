//! Those who are told of events: the log, the service manager, and the metrics.
//!
//! ```text
//! scheduler --Event, Status--> Observer --> log lines | WATCHDOG=1 | counters --> metrics file
//! ```
//! This room hears what the scheduler has decided and what came of it; it decides nothing.

mod counters;
mod log;
mod metrics_file;
pub(crate) mod notify;
mod page;
mod systemd;

use std::io;
use std::path::Path;
use std::sync::Arc;

use self::counters::Past;
use self::metrics_file::MetricsFile;
use self::notify::{FaultWatch, Hooks, Notifier};
use self::systemd::Manager;
use crate::clock::Clock;
use crate::config::{Config, JobName};
use crate::history::History;
use crate::job::{RunRecord, RunState};
use crate::scheduler::{Event, Status};

pub(crate) use self::log::log_run;

/// Hears of every event of the scheduler. Called by the tick thread.
pub(crate) type OfEvents = Box<dyn FnMut(&Event<'_>) + Send>;

/// Hears of the state of the scheduler, round by round. Called by the tick thread.
pub(crate) type OfStatus = Box<dyn FnMut(&Status) + Send>;

/// All who are told of what a daemon does.
pub(crate) struct Observer {
    manager: Manager,
    metrics: Option<MetricsFile>,
    notifier: Arc<Notifier>,
    clock: Arc<dyn Clock>,
}

impl Observer {
    /// Gets ready to tell the service manager, if this process has one, to keep a metrics file, if one is wanted, and to
    /// run the commands that tell somebody.
    pub(crate) fn start(
        metrics_file: Option<&Path>,
        hooks: Hooks,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Observer> {
        let counters = counters::Counters::new(clock.now());
        let start = |path| MetricsFile::start(path, counters, clock.clone());
        let metrics = metrics_file.map(start).transpose()?;
        let notifier = Arc::new(Notifier::new(clock.clone(), hooks));
        Ok(Observer { manager: Manager::of_process(), metrics, notifier, clock })
    }

    /// Those who are told of each event.
    pub(crate) fn of_events(&self) -> Vec<OfEvents> {
        let mut observers: Vec<OfEvents> = vec![Box::new(|event: &Event<'_>| {
            if !event.repeated {
                log_run(event.record);
            }
        })];
        if let Some(metrics) = &self.metrics {
            observers.push(Box::new(metrics.observer()));
        }
        let notifier = Arc::clone(&self.notifier);
        observers.push(Box::new(move |event: &Event<'_>| notifier.hear(event)));
        observers
    }

    /// Those who are told of the state.
    pub(crate) fn of_status(&self) -> OfStatus {
        let mut feed = self.manager.heartbeat();
        let mut count = self.metrics.as_ref().map(MetricsFile::heartbeat);
        let (mut watch, notifier) = (FaultWatch::default(), Arc::clone(&self.notifier));
        Box::new(move |status| {
            feed(status);
            if let Some(count) = &mut count {
                count(status);
            }
            for (kind, text) in watch.look(status) {
                notifier.fault(kind, &text);
            }
        })
    }

    /// Shows every configured job in the metrics before anything happens to it, with what became of it before.
    pub(crate) fn introduce(&self, config: &Config) {
        let Some(metrics) = &self.metrics else { return };
        let history = History::open(&config.state_dir).ok().flatten();
        let past = |job| history.as_ref().map_or_else(Past::default, |history| past(history, job));
        let jobs = &config.scheduler.jobs;
        let known: Vec<_> = jobs.keys().map(|job| (job, past(job))).collect();
        metrics.update(|counters| {
            counters.configure(jobs.values().map(|spec| &**spec));
            for (job, past) in known {
                counters.remember(job, past);
            }
        });
    }

    /// The daemon schedules.
    pub(crate) fn ready(&self) {
        self.manager.tell("READY=1");
    }

    /// The daemon reads its configuration again.
    pub(crate) fn reloading(&self) {
        self.manager.reloading(&*self.clock);
    }

    /// Another configuration is in force, with commands of its own that tell somebody.
    pub(crate) fn renew(&self, config: &Config, hooks: Hooks) {
        self.introduce(config);
        self.notifier.set(hooks);
    }

    /// Another configuration was refused.
    pub(crate) fn refused(&self, error: &str) {
        self.notifier.fault("configuration", error);
    }

    /// The daemon comes to its end, which may take a while.
    pub(crate) fn stopping(&self) {
        self.manager.tell("STOPPING=1");
    }

    /// The scheduler has ended and has dropped what it was handed here. A hurried end waits for nobody.
    pub(crate) fn stop(self, hurried: bool) {
        if let Some(metrics) = self.metrics {
            metrics.stop();
        }
        self.notifier.stop(hurried);
    }
}

/// How far back a row of failures is followed.
const FAILURES_MAX: usize = 100;

/// The history's knowledge of a job. A history that cannot be read tells nothing, and ends nothing.
fn past(history: &History, job: &JobName) -> Past {
    let recent = history.recent(Some(job), FAILURES_MAX).unwrap_or_default();
    let ended = || {
        recent.iter().filter(|record| {
            use RunState::*;
            matches!(record.state, Succeeded | Failed | Interrupted)
        })
    };
    Past {
        last_success: history.last_success(job).ok().flatten(),
        last_outcome: ended().next().map(|record| record.state),
        failures: ended()
            .take_while(|record| record.state != RunState::Succeeded)
            .filter(|record| record.state == RunState::Failed)
            .count() as u64,
    }
}

/// Writes a metrics file for one run by hand, which is over.
pub(crate) fn write_metrics_of(record: &RunRecord, path: &Path, clock: Arc<dyn Clock>) {
    let mut counters = counters::Counters::default();
    counters.count(record);
    metrics_file::write_once(path, counters, clock);
}
