//! `serve`: the rooms wired together, from the configuration to the running scheduler, and taken apart again in order.
//!
//! ```text
//! configuration -> registry -> every job built -> scheduler started -> READY=1
//!   SIGHUP: the same again; what is faulty leaves everything as it was
//!   SIGTERM, SIGINT: no new runs, running ones get their grace, STOPPING=1; a second one: at once
//! ```
//! Nothing is decided here: when a job runs is the scheduler's business, what it does the job's.

use std::io;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Sender, bounded, select};

use crate::app::{App, Origin};
use crate::clock;
use crate::config::{Config, Env, LeaseConfig};
use crate::gate::{FileWatch, Look, PauseSwitch};
use crate::logging::{self, Logging};
use crate::observe::{Observer, Window, WindowError};
use crate::schedule::Zone;
use crate::scheduler::{Ending, Scheduler, Settings, Setup, StartError};
use crate::signals::{self, Asked};

/// The daemon's orders from the command line.
pub(crate) struct Serve<'r> {
    /// Where the configuration and the kinds of job come from, also at a reload.
    pub(crate) origin: Origin<'r>,
    /// The log; its level follows the configuration.
    pub(crate) logging: Logging,
    /// The file that keeps numbers for Prometheus.
    pub(crate) metrics_file: Option<PathBuf>,
}

/// Why a daemon does not start, or ends before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The state folder does not serve, or another daemon has it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The page, the metrics and the health check cannot be served where they were asked for.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// The system gives no signal handlers.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// The tick thread panicked.
    #[error("the scheduler ended by a fault of its own: see the log, and start it again")]
    Crashed,
}

/// Runs the daemon until it is told to stop. Returns whether it was told twice.
pub(crate) fn serve(start: &Serve<'_>, mut app: App) -> Result<bool, ServeError> {
    start.logging.never_block();
    // Before anything is made that stays: it takes the room that the file had.
    app.config.forget_lines();
    let clock = &start.origin.clock;
    // Room for impatient fingers on Ctrl-C: more signals than that say nothing new.
    let (sender, asked) = bounded(16);
    let file_changed = sender.clone();
    signals::listen(move |what| {
        let _ = sender.try_send(what);
    })
    .map_err(ServeError::Signals)?;
    let window = Window::open(app.config.scheduler.listen.as_ref())?;
    tell_of(&app);
    let observer = Observer::start(
        start.metrics_file.as_deref(),
        window,
        start.origin.hooks(&app.config),
        clock.clone(),
    )
    .map_err(StartError::Thread)?;
    let (jobs, scheduled) = count(&app);
    let App { config, .. } = &app;
    let lease = start.origin.lease(config)?;
    let mut scheduler = Scheduler::start(Setup {
        clock: clock.clone(),
        built: clock::built(),
        config: config.source.as_deref().map(|file| path_text(&start.origin.env.cwd().join(file))),
        state_dir: config.state_dir.clone(),
        lease: lease.clone(),
        settings: settings(start, &app)?,
        observers: observer.of_events(),
        heartbeat: observer.of_status(),
    })
    .inspect_err(|_| {
        if let Some(lease) = &lease {
            lease.end(true);
        }
    })?;
    observer.introduce(config, &app.not_runnable, &start.origin.env).map_err(StartError::Thread)?;
    let (state_dir, in_force) = (config.state_dir.clone(), config.scheduler.lease.clone());
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
    let listen = config.scheduler.listen.clone();
    let watch = |config: &Config| watch_file(config, &start.origin.env, &file_changed);
    let mut watched = watch(config);
    // The scheduler has taken all that it needs.
    drop(app);
    observer.ready();
    let (mut stopping, mut hurried) = (false, false);
    loop {
        select! {
            recv(asked) -> what => match what {
                // A daemon that ends has no use for another configuration.
                Ok(Asked::Reload) if stopping => {}
                Ok(Asked::Reload) => {
                    observer.reloading();
                    let renewed = reload(start, source.clone(), (&state_dir, &in_force), &scheduler, &observer);
                    if let Some(app) = renewed {
                        if app.config.scheduler.watch_config != watched.is_some() {
                            watched = watch(&app.config);
                        }
                        if app.config.scheduler.listen != listen {
                            logging::warn!("the address to listen on changes at the next start, not by a reload");
                        }
                        source = app.config.source;
                    }
                    observer.ready();
                }
                // Something hangs that no stop reaches, such as a disk. The next start finds the runs that were cut off.
                Ok(Asked::StopNow) if hurried => std::process::exit(130),
                Ok(what) => {
                    // It may be a while until the last run has ended, and the manager shall wait.
                    observer.stopping();
                    logging::info!(at_once = what == Asked::StopNow; "stopping");
                    (stopping, hurried) = (true, what == Asked::StopNow);
                    scheduler.request_stop();
                }
                Err(_) => unreachable!("the signal thread lives as long as the process"),
            },
            recv(scheduler.ended()) -> _ => break,
        }
    }
    let Ending { interrupted, taken_back, left, crashed } = scheduler.stop();
    if let Some(lease) = lease {
        // Given back, the next host takes over at once: not while anything of this one may still run.
        lease.end(left == 0 && !crashed);
    }
    observer.stop(hurried);
    logging::info!(interrupted, taken_back; "stopped");
    if crashed { Err(ServeError::Crashed) } else { Ok(hurried) }
}

/// Everything the scheduler is to do under this configuration.
fn settings(start: &Serve<'_>, app: &App) -> Result<Settings, StartError> {
    let App { config, jobs, .. } = app;
    let switch = PauseSwitch::of(config, start.origin.env.clone());
    let pause = Look::on_thread("look-at-pause", None, move || switch.look());
    Ok(Settings {
        jobs: jobs.clone(),
        workers: config.scheduler.workers,
        shutdown_grace_time: config.scheduler.shutdown_grace_time,
        history_days: config.scheduler.history_days,
        pause: pause.map_err(StartError::Thread)?,
    })
}

/// Logs what a person should know of a configuration that comes into force.
fn tell_of(app: &App) {
    for warning in &app.config.warnings {
        logging::warn!("{warning}");
    }
    for note in &app.config.notes {
        logging::info!("{note}");
    }
    for (job, remedy) in &app.not_runnable {
        logging::warn!(job_name = job.as_str(), remedy = remedy.as_str(); "job is not runnable");
    }
}

/// How many jobs there are, and how many of them start by their schedule.
fn count(app: &App) -> (usize, usize) {
    (app.jobs.len(), app.jobs.iter().filter(|job| job.spec.is_scheduled()).count())
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// Reads the configuration anew and puts it into force. The old one stays where the new one is faulty.
fn reload(
    start: &Serve<'_>,
    source: Option<PathBuf>,
    (state_dir, lease): (&Path, &Option<LeaseConfig>),
    scheduler: &Scheduler,
    observer: &Observer,
) -> Option<App> {
    let renewed = start.origin.load_again(source).and_then(|app| {
        let moved = app.config.state_dir != state_dir;
        let app = match moved {
            // The scheduler keeps its folder until it ends, and no job may remember things elsewhere.
            true => start.origin.in_state_dir(app, state_dir.to_owned())?,
            false => app,
        };
        Ok((app, moved))
    });
    let renewed = renewed.map_err(|error| error.to_string()).and_then(|(app, moved)| {
        let settings = settings(start, &app).map_err(|error| error.to_string())?;
        Ok((app, settings, moved))
    });
    let (app, settings, moved) = match renewed {
        Ok(renewed) => renewed,
        Err(error) => {
            refused(&error, observer);
            return None;
        }
    };
    tell_of(&app);
    if moved {
        logging::warn!(state_dir = path_text(state_dir).as_str();
            "the state folder changes at the next start, not by a reload"
        );
    }
    if app.config.scheduler.lease != *lease {
        logging::warn!("scheduler.lease changes at the next start, not by a reload");
    }
    start.logging.set_level(app.config.log_level);
    let (jobs, scheduled) = count(&app);
    scheduler.reload(settings);
    let hooks = start.origin.hooks(&app.config);
    observer.renew(&app.config, &app.not_runnable, &start.origin.env, hooks);
    logging::info!(jobs, scheduled; "configuration reloaded");
    Some(app)
}

fn refused(error: &str, observer: &Observer) {
    // One line, however many faults: `check` shows them one by one.
    let error = error.replace('\n', "; ");
    observer.refused(&error);
    logging::error!(error = error.as_str();
        "configuration not reloaded, the old one stays in force"
    );
}

/// With `watch_config`, asks for a reload each time the file's content changes.
fn watch_file(config: &Config, env: &Env, asked: &Sender<Asked>) -> Option<FileWatch> {
    let file = config.source.as_ref().filter(|_| config.scheduler.watch_config)?;
    let asked = asked.clone();
    let watch = FileWatch::start(env.cwd().join(file), move || {
        // A full queue holds the same wish.
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
