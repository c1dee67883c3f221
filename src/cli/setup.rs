//! The parts that commands share: the configuration as the command line, the environment and the file say. A command
//! reads it when it needs it and not before.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::arguments::{self, Global};
use super::exit::{Exit, Failure};
use super::out::say;
use crate::app::{App, AppError, Origin, Register};
use crate::clock::{Moment, SystemClock};
use crate::config::{Config, ConfigErrors, Env, JobName, JobSpec, Overrides, suggestion};
use crate::gate::PauseSwitch;
use crate::logging::{self, LogFormat, Logging};
use crate::observe::seen;
use crate::state::StateError;

/// Where a command finds what it needs.
pub(super) struct Setup<'r> {
    pub(super) global: Global,
    pub(super) register: Register<'r>,
}

impl<'r> Setup<'r> {
    pub(super) fn new(global: Global, register: Register<'r>) -> Setup<'r> {
        Setup { global, register }
    }

    /// The configuration as the command line has it.
    pub(super) fn overrides(&self) -> Overrides {
        let Global { config, vault, state_dir, log_level, .. } = self.global.clone();
        Overrides { config, vault, state_dir, log_level, listen: None, in_force: None }
    }

    /// The environment of the process.
    pub(super) fn env(&self) -> Result<Env, Failure> {
        Ok(Env::of_process()?)
    }

    /// Where the configuration and the kinds of job come from.
    pub(super) fn origin(&self) -> Result<Origin<'r>, Failure> {
        Ok(Origin {
            overrides: self.overrides(),
            env: self.env()?,
            register: self.register,
            clock: Arc::new(SystemClock),
        })
    }

    /// Reads the configuration and builds every job. Says which file was left out, for what follows is shown without it.
    pub(super) fn app(&self) -> Result<App, Failure> {
        let app = self.origin()?.load()?;
        say_left_out(&app.config);
        Ok(app)
    }

    /// `--metrics-file`.
    pub(super) fn metrics_file(&self) -> Result<Option<PathBuf>, Failure> {
        let env = self.env()?;
        Ok(self.global.metrics_file.as_deref().map(|path| env.path(path)))
    }

    /// Reads the configuration.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        Ok(self.app()?.config)
    }

    /// Why nothing scheduled runs, if that is so.
    pub(super) fn paused(&self, config: &Config) -> Result<Option<String>, Failure> {
        let switch = self.pause(config)?;
        let pause = seen::pause(&config.state_dir, &switch, Moment::of(&SystemClock));
        Ok(pause.map(|pause| pause.to_string()))
    }

    /// The switch that pauses everything scheduled.
    pub(super) fn pause(&self, config: &Config) -> Result<PauseSwitch, Failure> {
        Ok(PauseSwitch::of(config, self.env()?))
    }

    /// Warns of a daemon that runs on this state folder with another configuration file than this command has read.
    pub(super) fn warn_of_other_config(
        &self,
        config: &Config,
        in_force: Option<&str>,
    ) -> Result<(), Failure> {
        let Some(theirs) = in_force else { return Ok(()) };
        let env = self.env()?;
        let ours = config.source.as_deref().map(|file| env.cwd().join(file));
        let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if ours.as_deref().map(place) != Some(place(Path::new(theirs))) {
            let ours = ours.map_or("defaults alone".to_owned(), |file| file.display().to_string());
            say(&format!(
                "warning: the daemon has its configuration from {theirs}, and this is shown by {ours}: \
                 name the daemon's file with --config"
            ));
        }
        Ok(())
    }

    /// Opens the log on standard error.
    pub(super) fn log(&self, config: &Config) -> Log {
        let format = match self.global.log_format {
            Some(arguments::LogFormat::Text) => LogFormat::Text,
            Some(arguments::LogFormat::Json) => LogFormat::Json,
            None => LogFormat::of_stderr(),
        };
        let logging = logging::init(format, config.log_level, Arc::new(SystemClock));
        Log { logging, format }
    }
}

/// Says which file was left out, as it is not this user's alone.
pub(super) fn say_left_out(config: &Config) {
    for warning in &config.left_out {
        say(&format!("warning: {warning}"));
    }
}

/// The open log.
pub(super) struct Log {
    pub(super) logging: Logging,
    pub(super) format: LogFormat,
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Failure {
        match error {
            // Not "it does not work", but "this user cannot tell".
            StateError::Unreadable { .. } => Failure::usage(error.to_string()),
            _ => Failure::unavailable(error.to_string()),
        }
    }
}

/// The configured job of that name.
pub(super) fn find_job<'c>(config: &'c Config, name: &str) -> Result<&'c Arc<JobSpec>, Failure> {
    let jobs = &config.scheduler.jobs;
    if let Some(spec) = jobs.get(&JobName::new(name)) {
        return Ok(spec);
    }
    let known: Vec<&str> = jobs.keys().map(JobName::as_str).collect();
    Err(Failure::usage(match suggestion(name, known.iter().copied()) {
        Some(meant) => format!("no job is named {name:?}: did you mean {meant}?"),
        None if known.is_empty() => format!("no job is named {name:?}: none is configured"),
        None => format!("no job is named {name:?}: there are {}", known.join(", ")),
    }))
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Failure {
        match error {
            AppError::Config(errors) => errors.into(),
            AppError::Kinds(error) => Failure::usage(error.to_string()),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Failure {
        Failure::lines(Exit::Usage, errors.faults())
    }
}
