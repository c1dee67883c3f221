//! `serve`: the rooms wired together, from the configuration to the running scheduler, and taken apart again in order.
//!
//! ```text
//! configuration -> registry -> every job built -> scheduler started -> READY=1
//!   SIGHUP: the same again; what is faulty leaves everything as it was
//!   SIGTERM, SIGINT: no new runs, running ones get their grace, STOPPING=1; a second one: at once
//! ```
//! Nothing is decided here: when a job runs is the scheduler's business, what it does the job's.

mod notify;
pub mod signals;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::SecondsFormat;
use crossbeam_channel::{Sender, bounded, select};

use self::notify::Notifier;
use self::signals::Asked;
use crate::clock::{self, Clock, SystemClock};
use crate::config::{self, Config, ConfigErrors, Env, Fault, JobSpec, Overrides, suggestion};
use crate::gate::{FileWatch, Look, PauseSwitch};
use crate::history::History;
use crate::job::{BadParameter, BuildError, DuplicateKind, JobRegistry};
use crate::jobs::command::Surroundings;
use crate::jobs::{self, Deps, supervisor};
use crate::logging;
use crate::logging::Logging;
use crate::metrics::{Counters, MetricsFile};
use crate::observe::log_run;
use crate::observe::notify::{FaultWatch, Hooks, Notifier as Told};
use crate::schedule::Zone;
use crate::scheduler::{
    ConfiguredJob, Ending, Event, Scheduler, Settings, Setup, StartError, Status,
};

/// Adds kinds of job to the built-in ones.
pub type Register<'r> = &'r dyn Fn(&mut JobRegistry) -> Result<(), DuplicateKind>;

/// The kinds of job there are under this configuration: the built-in ones and what `register` adds.
pub fn registry(
    config: &Config,
    env: &Env,
    clock: Arc<dyn Clock>,
    register: Register<'_>,
) -> Result<JobRegistry, DuplicateKind> {
    let mut registry = JobRegistry::new();
    let deps = Deps {
        vault: config.vault.clone(),
        graph: config.graph.clone(),
        retries: config.retries,
        state_dir: config.state_dir.clone(),
        sandbox: config.scheduler.sandbox,
        clock,
        surroundings: surroundings(config, env),
    };
    jobs::register_builtins(&mut registry, deps)?;
    register(&mut registry)?;
    Ok(registry)
}

/// What the programs of command jobs find around them under this configuration.
fn surroundings(config: &Config, env: &Env) -> Arc<Surroundings> {
    Arc::new(Surroundings {
        vault: config.vault.root.clone(),
        state_dir: config.state_dir.clone(),
        environment: env.dotenv(),
        supervisor: supervisor::SELF.into(),
    })
}

/// The commands that tell somebody under this configuration.
pub fn hooks(config: &Config, env: &Env) -> Hooks {
    Hooks::of(config, surroundings(config, env))
}

/// Why a configured job cannot be built.
#[derive(Debug)]
pub enum Unbuildable {
    /// No code here runs it; what to do about that. No fault of the configuration.
    NotRunnable(String),
    /// These of its parameters are wrong.
    Faults(Vec<Fault>),
}

/// Reads the configuration ([`config::load`]), the jobs' own parameters included.
pub fn load(
    overrides: &Overrides,
    env: &Env,
    register: Register<'_>,
) -> Result<Config, ConfigErrors> {
    config::load(overrides, env, &|config| {
        // Two kinds of one name are no fault of the configuration: that is found when the jobs are built.
        let Ok(registry) = registry(config, env, Arc::new(SystemClock), register) else {
            return Vec::new();
        };
        let faults = |spec| match build(&registry, config, spec) {
            Err(Unbuildable::Faults(faults)) => faults,
            Ok(_) | Err(Unbuildable::NotRunnable(_)) => Vec::new(),
        };
        config.scheduler.jobs.values().flat_map(faults).collect()
    })
}

/// Builds one configured job.
pub fn build(
    registry: &JobRegistry,
    config: &Config,
    spec: &Arc<JobSpec>,
) -> Result<ConfiguredJob, Unbuildable> {
    if let Some(kind) = spec.explicit_kind.as_deref().filter(|kind| !registry.knows(kind)) {
        let known = registry.kinds().collect::<Vec<_>>().join(", ");
        let remedy = match suggestion(kind, registry.kinds()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("there are {known}"),
        };
        let message = format!("no code here runs {kind:?}: {remedy}");
        let fault = config.job_fault(&spec.name, "kind", None, &message);
        return Err(Unbuildable::Faults(vec![fault]));
    }
    match registry.build(spec) {
        Ok(job) => Ok(ConfiguredJob { spec: Arc::clone(spec), job: job.into() }),
        Err(error @ BuildError::NotRunnable) => Err(Unbuildable::NotRunnable(error.to_string())),
        Err(BuildError::BadParameters(parameters)) => {
            let fault = |BadParameter { key, value, message }| {
                config.job_fault(&spec.name, &key, value, &message)
            };
            Err(Unbuildable::Faults(parameters.into_iter().map(fault).collect()))
        }
    }
}

/// What `serve` was told.
pub struct Serve<'r> {
    /// What outranks the environment and the file.
    pub overrides: Overrides,
    /// The environment.
    pub env: Env,
    /// The kinds of job beyond the built-in ones.
    pub register: Register<'r>,
    /// The log; its level follows the configuration.
    pub logging: Logging,
    /// Where to keep numbers for Prometheus.
    pub metrics_file: Option<PathBuf>,
}

/// Why a daemon does not start, or ends before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Two kinds of job have the same name: a fault of the program.
    #[error(transparent)]
    Kinds(#[from] DuplicateKind),
    /// The state folder does not serve, or another daemon has it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system gives no signal handlers.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// The tick thread panicked.
    #[error("the scheduler ended by a fault of its own: see the log, and start it again")]
    Crashed,
}

/// Runs the daemon until it is told to stop. Returns whether it was told twice.
pub fn serve(start: &Serve<'_>, config: Config) -> Result<bool, ServeError> {
    start.logging.never_block();
    let clock = Arc::new(SystemClock);
    let settings = settings(start, &config, clock.clone())?;
    // Room for whoever leans on Ctrl-C; more than that say nothing new.
    let (sender, asked) = bounded(16);
    let file_changed = sender.clone();
    signals::listen(move |what| {
        let _ = sender.try_send(what);
    })
    .map_err(ServeError::Signals)?;
    let notifier = Notifier::of_process();
    for warning in &config.warnings {
        logging::warn!("{warning}");
    }
    for note in &config.notes {
        logging::info!("{note}");
    }
    let (jobs, scheduled) = count(&settings);
    let metrics = match &start.metrics_file {
        Some(path) => Some(start_metrics(path, &*clock)?),
        None => None,
    };
    let mut setup = Setup {
        clock: clock.clone(),
        built: clock::built(),
        config: config.source.as_deref().map(path_text),
        state_dir: config.state_dir.clone(),
        settings,
        observers: vec![Box::new(log_event)],
        heartbeat: heartbeat(notifier.clone()),
    };
    if let Some(metrics) = &metrics {
        setup.observers.push(Box::new(metrics.observer()));
        let (mut feed, mut take) = (setup.heartbeat, metrics.heartbeat());
        setup.heartbeat = Box::new(move |status| {
            feed(status);
            take(status);
        });
    }
    let told = Arc::new(Told::new(clock.clone(), hooks(&config, &start.env)));
    setup.observers.push({
        let told = Arc::clone(&told);
        Box::new(move |event| told.hear(event))
    });
    setup.heartbeat = {
        let (mut feed, mut watch) = (setup.heartbeat, FaultWatch::default());
        let told = Arc::clone(&told);
        Box::new(move |status| {
            feed(status);
            for (kind, text) in watch.look(status) {
                told.fault(kind, &text);
            }
        })
    };
    let mut scheduler = Scheduler::start(setup)?;
    if let Some(metrics) = &metrics {
        introduce_jobs(metrics, &config);
    }
    let state_dir = config.state_dir.clone();
    logging::info!(version = env!("CARGO_PKG_VERSION"),
        zone_data = Zone::data_version(),
        config = config.source.as_deref().map(path_text).unwrap_or_default().as_str(),
        vault = path_text(&config.vault.root).as_str(),
        state_dir = path_text(&state_dir).as_str(),
        jobs,
        scheduled;
        "started"
    );
    let mut source = config.source.clone();
    let watch = |config: &Config| watch_file(config, &start.env, &file_changed);
    let mut watched = watch(&config);
    // The scheduler has what it needs of it.
    drop(config);
    notifier.tell("READY=1");
    let (mut stopping, mut hurried) = (false, false);
    loop {
        select! {
            recv(asked) -> what => match what {
                // A daemon that ends has no use for another configuration.
                Ok(Asked::Reload) if stopping => {}
                Ok(Asked::Reload) => {
                    notifier.reloading(&*clock);
                    let renewed = reload(start, source.clone(), &state_dir, &scheduler, &told, clock.clone());
                    if let Some(config) = &renewed {
                        source.clone_from(&config.source);
                        if config.scheduler.watch_config != watched.is_some() {
                            watched = watch(config);
                        }
                    }
                    if let (Some(metrics), Some(config)) = (&metrics, &renewed) {
                        introduce_jobs(metrics, config);
                    }
                    notifier.tell("READY=1");
                }
                // Something hangs that no stop reaches, such as a disk. What was not recorded is found at the next start.
                Ok(Asked::StopNow) if hurried => std::process::exit(130),
                Ok(what) => {
                    // It may be a while until the last run has ended, and the manager shall wait.
                    notifier.tell("STOPPING=1");
                    logging::info!(at_once = what == Asked::StopNow; "stopping");
                    (stopping, hurried) = (true, what == Asked::StopNow);
                    scheduler.request_stop();
                }
                Err(_) => unreachable!("the signal thread lives as long as the process"),
            },
            recv(scheduler.ended()) -> _ => break,
        }
    }
    let Ending { interrupted, taken_back, crashed } = scheduler.stop();
    if let Some(metrics) = metrics {
        metrics.stop();
    }
    told.stop(hurried);
    logging::info!(interrupted, taken_back; "stopped");
    if crashed { Err(ServeError::Crashed) } else { Ok(hurried) }
}

/// Everything the scheduler is to do under this configuration.
fn settings(
    start: &Serve<'_>,
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<Settings, ServeError> {
    let registry = registry(config, &start.env, clock, start.register)?;
    let mut jobs = Vec::new();
    let mut faults = Vec::new();
    for spec in config.scheduler.jobs.values() {
        match build(&registry, config, spec) {
            Ok(job) => jobs.push(job),
            Err(Unbuildable::Faults(found)) => faults.extend(found),
            Err(Unbuildable::NotRunnable(remedy)) => {
                logging::warn!(job_name = spec.name.as_str(), remedy = remedy.as_str();
                    "job is not runnable"
                )
            }
        }
    }
    ConfigErrors::check(faults)?;
    let switch = PauseSwitch::of(config, start.env.clone());
    let pause = Look::on_thread("look-at-pause", None, move || switch.is_paused());
    Ok(Settings {
        jobs,
        workers: config.scheduler.workers,
        shutdown_grace_time: config.scheduler.shutdown_grace_time,
        history_days: config.scheduler.history_days,
        pause: pause.map_err(StartError::Thread)?,
    })
}

/// How many jobs there are, and how many of them start by their schedule.
fn count(settings: &Settings) -> (usize, usize) {
    (settings.jobs.len(), settings.jobs.iter().filter(|job| job.spec.is_scheduled()).count())
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// Reads the configuration anew and puts it into force; `None` where it is faulty and the old one stays.
fn reload(
    start: &Serve<'_>,
    source: Option<PathBuf>,
    state_dir: &Path,
    scheduler: &Scheduler,
    told: &Told,
    clock: Arc<dyn Clock>,
) -> Option<Config> {
    let overrides = Overrides { in_force: source, ..start.overrides.clone() };
    let renewed = load(&overrides, &start.env, start.register).map_err(ServeError::from).and_then(
        |mut config| {
            let moved = config.state_dir != state_dir;
            // The scheduler keeps its folder until it ends, and no job may remember things elsewhere.
            config.state_dir = state_dir.to_owned();
            settings(start, &config, clock).map(|settings| (config, settings, moved))
        },
    );
    let (config, settings, moved) = match renewed {
        Ok(renewed) => renewed,
        Err(error) => {
            // One line, however many faults: `check` shows them one by one.
            let error = error.to_string().replace('\n', "; ");
            told.fault("configuration", &error);
            logging::error!(error = error.as_str();
                "configuration not reloaded, the old one stays in force"
            );
            return None;
        }
    };
    for warning in &config.warnings {
        logging::warn!("{warning}");
    }
    if moved {
        logging::warn!(state_dir = path_text(state_dir).as_str();
            "the state folder changes at the next start, not by a reload"
        );
    }
    start.logging.set_level(config.log_level);
    let (jobs, scheduled) = count(&settings);
    scheduler.reload(settings);
    told.set(hooks(&config, &start.env));
    logging::info!(jobs, scheduled; "configuration reloaded");
    Some(config)
}

/// With `watch_config`, asks for a reload each time the file's content changes.
fn watch_file(config: &Config, env: &Env, asked: &Sender<Asked>) -> Option<FileWatch> {
    let file = config.source.as_ref().filter(|_| config.scheduler.watch_config)?;
    let asked = asked.clone();
    let watch = FileWatch::start(env.cwd().join(file), move || {
        // The queue is full of the same wish.
        let _ = asked.try_send(Asked::Reload);
    });
    watch
        .inspect_err(|error| {
            logging::error!(error = error.to_string().as_str();
                "cannot watch the configuration: it is reloaded by SIGHUP only"
            );
        })
        .ok()
}

fn start_metrics(path: &Path, clock: &dyn Clock) -> Result<MetricsFile, StartError> {
    MetricsFile::start(path, Counters::new(clock.now())).map_err(StartError::Thread)
}

/// Shows every configured job in the metrics before anything happens to it, and when it last succeeded.
fn introduce_jobs(metrics: &MetricsFile, config: &Config) {
    let history = History::open(&config.state_dir).ok().flatten();
    let last_success = |job| history.as_ref()?.last_success(job).ok().flatten();
    let jobs = config.scheduler.jobs.keys().map(|job| (job, last_success(job)));
    metrics.update(|counters| {
        for (job, last_success) in jobs {
            counters.know(job);
            if let Some(at) = last_success {
                counters.remember_success(job, at);
            }
        }
    });
}

fn log_event(event: &Event<'_>) {
    if !event.repeated {
        log_run(event.record);
    }
}

/// Feeds the watchdog: called by the tick thread and by nobody else, so that it starves when that thread hangs.
fn heartbeat(notifier: Notifier) -> Box<dyn FnMut(&Status) + Send> {
    let mut shown = String::new();
    Box::new(move |status| {
        let line = status_line(status);
        if line == shown {
            notifier.tell("WATCHDOG=1");
        } else {
            notifier.tell(&format!("WATCHDOG=1\nSTATUS={line}"));
            shown = line;
        }
    })
}

/// What `systemctl status` shows.
fn status_line(status: &Status) -> String {
    if let Some(fault) = &status.fault {
        return format!("starting nothing: {}", fault.replace('\n', " "));
    }
    let mut parts = Vec::new();
    if status.stopping {
        parts.push("stopping".to_owned());
    }
    if let Some(why) = &status.paused {
        parts.push(format!("paused by {why}"));
    }
    if !status.running.is_empty() {
        let names: Vec<&str> = status.running.iter().map(|run| run.job.as_str()).collect();
        parts.push(format!("running {}", names.join(", ")));
    }
    if status.queued > 0 {
        parts.push(format!("{} waiting", status.queued));
    }
    match &status.next {
        Some((at, job)) => {
            parts.push(format!("next {job} at {}", at.to_rfc3339_opts(SecondsFormat::Secs, true)));
        }
        None => parts.push("nothing is scheduled".to_owned()),
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::JobName;
    use crate::job::RunId;
    use crate::scheduler::Running;

    #[test]
    fn the_status_line_tells_the_worst_first() {
        let at = "2026-08-24T12:00:00Z".parse().unwrap();
        let job = JobName::new("vault_sync");
        let mut status = Status::default();
        assert_eq!(status_line(&status), "nothing is scheduled");
        status.next = Some((at, job.clone()));
        assert_eq!(status_line(&status), "next vault_sync at 2026-08-24T12:00:00Z");
        status.paused = Some("AUTOMATION_PAUSE".to_owned());
        status.running = vec![Running { run_id: RunId::new(&job, at), job, since: at }];
        status.queued = 2;
        assert_eq!(
            status_line(&status),
            "paused by AUTOMATION_PAUSE; running vault_sync; 2 waiting; next vault_sync at 2026-08-24T12:00:00Z"
        );
        status.fault = Some("state.db: read-only".to_owned());
        assert_eq!(status_line(&status), "starting nothing: state.db: read-only");
    }
}
