//! Those who are told of events: the log, the service manager, and the metrics.
//!
//! ```text
//! scheduler --Event, Status--> Observer --> log lines | WATCHDOG=1 | counters --> metrics file
//! ```
//! This room hears what the scheduler has decided and what came of it; it decides nothing.

#[cfg(feature = "http")]
mod asked;
mod counters;
#[cfg(feature = "http")]
mod door;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod known;
mod log;
pub(crate) mod marks;
mod metrics_file;
#[cfg(not(feature = "http"))]
mod no_window;
pub(crate) mod notify;
mod page;
#[cfg(feature = "http")]
mod process;
pub(crate) mod seen;
#[cfg(feature = "http")]
mod site;
#[cfg(feature = "http")]
mod status_page;
mod systemd;
#[cfg(feature = "http")]
mod window;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use self::counters::{News, Past, Shared};
use self::metrics_file::MetricsFile;
use self::notify::{FaultWatch, Hooks, Notifier};
use self::systemd::Manager;
use crate::clock::Clock;
use crate::config::{Config, Env, JobName};
use crate::history::{History, Row};
use crate::job::{RunRecord, RunState};
use crate::scheduler::{Event, Status};

pub(crate) use self::log::{log_run, log_skip};
#[cfg(not(feature = "http"))]
pub(crate) use self::no_window::{Window, WindowError};
#[cfg(feature = "http")]
pub(crate) use self::window::{Window, WindowError};

/// Hears of every event of the scheduler. Called by the tick thread.
pub(crate) type OfEvents = Box<dyn FnMut(&Event<'_>) + Send>;

/// Hears of the state of the scheduler, round by round. Called by the tick thread.
pub(crate) type OfStatus = Box<dyn FnMut(&Status) + Send>;

/// All who are told of what a daemon does.
pub(crate) struct Observer {
    manager: Manager,
    /// Counted only where somebody may ask.
    counters: Option<Shared>,
    metrics: Option<MetricsFile>,
    window: Window,
    notifier: Arc<Notifier>,
    clock: Arc<dyn Clock>,
}

impl Observer {
    /// Gets ready to tell the service manager, if this process has one, to keep a metrics file, if one is wanted, to
    /// run the commands that tell somebody, and to show it all in an open window.
    pub(crate) fn start(
        metrics_file: Option<&Path>,
        window: Window,
        hooks: Hooks,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Observer> {
        let is_counted = metrics_file.is_some() || window.is_open();
        let counters = is_counted.then(|| Shared::new(counters::Counters::new(clock.now())));
        let metrics = match (metrics_file, &counters) {
            (Some(path), Some(counters)) => {
                Some(MetricsFile::start(path, counters.clone(), clock.clone())?)
            }
            _ => None,
        };
        let notifier = Arc::new(Notifier::new(clock.clone(), hooks));
        Ok(Observer { manager: Manager::of_process(), counters, metrics, window, notifier, clock })
    }

    /// Those who are told of each event.
    pub(crate) fn of_events(&self) -> Vec<OfEvents> {
        let mut observers: Vec<OfEvents> = vec![Box::new(|event: &Event<'_>| match event {
            Event::Run(record) => log_run(record),
            Event::Skip { skip, repeated: false } => log_skip(skip),
            Event::Skip { repeated: true, .. } => {}
        })];
        if let Some(counters) = self.counters.clone() {
            let wake = self.metrics.as_ref().map(MetricsFile::wake);
            observers.push(Box::new(move |event: &Event<'_>| {
                counters.tell(match event {
                    Event::Run(record) => News::Run(Cow::Borrowed(record)),
                    Event::Skip { skip, .. } => News::Skip(Cow::Borrowed(skip)),
                });
                if let Some(wake) = &wake {
                    wake();
                }
            }));
        }
        let notifier = Arc::clone(&self.notifier);
        observers.push(Box::new(move |event: &Event<'_>| notifier.hear(event)));
        observers
    }

    /// Those who are told of the state.
    pub(crate) fn of_status(&self) -> OfStatus {
        let mut feed = self.manager.heartbeat();
        let counters = self.counters.clone();
        let wake = self.metrics.as_ref().map(MetricsFile::wake);
        let (mut watch, notifier) = (FaultWatch::default(), Arc::clone(&self.notifier));
        Box::new(move |status| {
            feed(status);
            let news = || News::Status(Cow::Borrowed(status));
            let is_new = counters.as_ref().is_some_and(|counters| counters.tell(news()));
            if let (true, Some(wake)) = (is_new, &wake) {
                wake();
            }
            for (kind, text) in watch.look(status) {
                notifier.fault(kind, &text);
            }
        })
    }

    /// Shows every configured job before anything happens to it, with what became of it before. An error where the
    /// window cannot be served.
    pub(crate) fn introduce(
        &self,
        config: &Config,
        not_runnable: &BTreeMap<JobName, String>,
        env: &Env,
    ) -> io::Result<()> {
        let Some(shared) = &self.counters else { return Ok(()) };
        let history = History::open(&config.state_dir).ok().flatten();
        let past = |job| history.as_ref().map_or_else(Past::default, |history| past(history, job));
        let jobs = &config.scheduler.jobs;
        let known: Vec<_> = jobs.keys().map(|job| (job, past(job))).collect();
        let mut counters = shared.lock();
        counters.configure(jobs.values().map(|spec| &**spec));
        for (job, past) in known {
            counters.remember(job, past);
        }
        drop(counters);
        if let Some(metrics) = &self.metrics {
            metrics.wake()();
        }
        match self.window.is_open() {
            true => self.window.show(config, not_runnable, env, shared, &self.clock),
            false => Ok(()),
        }
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
    pub(crate) fn renew(
        &self,
        config: &Config,
        not_runnable: &BTreeMap<JobName, String>,
        env: &Env,
        hooks: Hooks,
    ) {
        // The window is served already: nothing can fail.
        let _ = self.introduce(config, not_runnable, env);
        self.notifier.set(hooks);
    }

    /// Another configuration was refused.
    pub(crate) fn refused(&self, error: &str) {
        self.window.refuse(error);
        self.notifier.fault("configuration", error);
    }

    /// The daemon comes to its end, which may take a while.
    pub(crate) fn stopping(&self) {
        self.manager.tell("STOPPING=1");
    }

    /// The scheduler has ended and has dropped what it was handed here. A hurried end waits for nobody.
    pub(crate) fn stop(self, hurried: bool) {
        self.window.close();
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
    let newest = |rows| history.recent(Some(job), rows).unwrap_or_default();
    // Of a thousand jobs nearly all went well: one row each tells so.
    if let [Row::Run(run @ RunRecord { state: RunState::Succeeded, .. })] = newest(1).as_slice() {
        return Past { last_success: run.finished_at, last_outcome: Some(run.state), failures: 0 };
    }
    let recent = newest(FAILURES_MAX);
    let ended = || {
        recent.iter().filter_map(Row::run).filter(|record| {
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
