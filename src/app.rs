//! From the configuration to every job, built: read, checked and wired here once, for the daemon and for all commands.
//!
//! ```text
//! command line + environment + file --config--> Config --kinds of job--> App {config, jobs}
//! ```
//! Nothing is started here, and nothing is written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;
use crate::config::{
    self, Config, ConfigErrors, Env, GraphConfig, JobName, JobSpec, LeaseConfig, Mistake,
    Overrides, suggestion,
};
use crate::gate::LeaseGate;
use crate::graph;
use crate::graph::lease::Candidate;
use crate::job::{BadParameter, BuildError, DuplicateKind, Host, Job, JobRegistry};
use crate::jobs::Surroundings;
use crate::jobs::fed::Fed;
use crate::jobs::{self, Deps, supervisor};
use crate::observe::notify::Hooks;
use crate::scheduler::{ConfiguredJob, StartError};
use crate::stop::Stop;

/// Adds kinds of job to the built-in ones.
pub(crate) type Register<'r> = &'r dyn Fn(&mut JobRegistry) -> Result<(), DuplicateKind>;

/// Where the settings and the kinds of job come from. A reload asks the same place again.
pub(crate) struct Origin<'r> {
    /// Settings of the command line, which outrank the environment and the file.
    pub(crate) overrides: Overrides,
    /// The environment.
    pub(crate) env: Env,
    /// The kinds of job beyond the built-in ones.
    pub(crate) register: Register<'r>,
    /// The clock that jobs are given.
    pub(crate) clock: Arc<dyn Clock>,
}

/// A checked configuration and the jobs it asks for.
pub(crate) struct App {
    /// The configuration.
    pub(crate) config: Config,
    /// Every job that has code, in the order of names.
    pub(crate) jobs: Vec<ConfiguredJob>,
    /// The jobs without code here, each with the remedy. They are no fault of the configuration.
    pub(crate) not_runnable: BTreeMap<JobName, String>,
}

/// Why there is no [`App`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Two kinds of job have the same name: a fault of the program.
    #[error(transparent)]
    Kinds(#[from] DuplicateKind),
}

/// The jobs of a configuration, built or refused.
#[derive(Default)]
struct Built {
    jobs: Vec<ConfiguredJob>,
    not_runnable: BTreeMap<JobName, String>,
    faults: Vec<Mistake>,
}

impl Origin<'_> {
    /// Reads the configuration and builds every job. All faults are reported at once, those of parameters included.
    pub(crate) fn load(&self) -> Result<App, AppError> {
        self.load_as(&self.overrides)
    }

    /// The same for a running daemon, which has its configuration from the file `in_force`.
    pub(crate) fn load_again(&self, in_force: Option<PathBuf>) -> Result<App, AppError> {
        self.load_as(&Overrides { in_force, ..self.overrides.clone() })
    }

    fn load_as(&self, overrides: &Overrides) -> Result<App, AppError> {
        let outcome = RefCell::new(Ok(Built::default()));
        let config = config::load(overrides, &self.env, &|config| {
            let mut built = self.build(config);
            let faults = built.as_mut().map(|built| std::mem::take(&mut built.faults));
            let faults = faults.unwrap_or_default();
            *outcome.borrow_mut() = built;
            faults
        })?;
        let Built { jobs, not_runnable, .. } = outcome.into_inner()?;
        Ok(App { config, jobs, not_runnable })
    }

    /// The same jobs with another state folder: that of a running daemon, which keeps its own until it ends.
    pub(crate) fn in_state_dir(&self, app: App, state_dir: PathBuf) -> Result<App, AppError> {
        let config = Config { state_dir, ..app.config };
        let Built { jobs, not_runnable, faults } = self.build(&config)?;
        ConfigErrors::check(faults)?;
        Ok(App { config, jobs, not_runnable })
    }

    fn build(&self, config: &Config) -> Result<Built, DuplicateKind> {
        let (registry, deps) = self.registry(config)?;
        let mut built = Built::default();
        for spec in config.scheduler.jobs.values() {
            build(&registry, &deps, config, spec, &mut built);
        }
        Ok(built)
    }

    /// The kinds of job there are under this configuration.
    fn registry(&self, config: &Config) -> Result<(JobRegistry, Arc<Deps>), DuplicateKind> {
        let mut host = Host::with_vault(&config.vault.root);
        host.config = config.source.as_ref().map(|file| self.env.cwd().join(file));
        host.clock = Arc::clone(&self.clock);
        let mut registry = JobRegistry::new(host);
        let deps = Arc::new(Deps {
            vault: config.vault.clone(),
            graph: config.graph.clone(),
            retries: config.retries,
            state_dir: config.state_dir.clone(),
            sandbox: config.scheduler.sandbox,
            clock: Arc::clone(&self.clock),
            surroundings: self.surroundings(config),
        });
        jobs::register_builtins(&mut registry, &deps)?;
        (self.register)(&mut registry)?;
        Ok((registry, deps))
    }

    /// The commands that tell somebody under this configuration.
    pub(crate) fn hooks(&self, config: &Config) -> Hooks {
        Hooks::of(config, self.surroundings(config))
    }

    /// Whether this host may run the jobs, where several share them: asked from now on by a thread of its own.
    pub(crate) fn lease(&self, config: &Config) -> Result<Option<LeaseGate>, StartError> {
        let (Some(lease), GraphConfig::Neo4j(neo4j)) = (&config.scheduler.lease, &config.graph)
        else {
            return Ok(None);
        };
        let keeper = graph::lease_keeper(neo4j, Arc::clone(&self.clock))
            .map_err(|error| StartError::Lease(error.to_string()))?;
        let who = Candidate {
            lease: lease.name.clone(),
            holder: of_kernel("random/uuid").map_err(StartError::Lease)?,
            host: own_name(lease).map_err(StartError::Lease)?,
            ttl: lease.ttl,
        };
        let gate = LeaseGate::start(keeper, who, Arc::clone(&self.clock));
        gate.map(Some).map_err(StartError::Thread)
    }

    /// The host that holds the lease, where several share the jobs; `None` where nobody does. Waits for `limit` at most.
    pub(crate) fn lease_holder(
        &self,
        config: &Config,
        limit: Duration,
    ) -> Option<Result<Option<Holder>, String>> {
        let (Some(lease), GraphConfig::Neo4j(neo4j)) = (&config.scheduler.lease, &config.graph)
        else {
            return None;
        };
        let look = || {
            let keeper = graph::lease_keeper(neo4j, Arc::clone(&self.clock))?;
            let until = self.clock.monotonic() + limit;
            keeper.look(&lease.name, &Stop::new().with_deadline(until, Arc::clone(&self.clock)))
        };
        let own = own_name(lease);
        let found = look().map_err(|error| error.to_string());
        Some(found.map(|found| {
            found.map(|found| {
                let held_for = TimeDelta::from_std(found.held_for).unwrap_or_default();
                let since = self.clock.now() - held_for;
                Holder { is_this_host: own.as_ref() == Ok(&found.host), host: found.host, since }
            })
        }))
    }

    /// The surroundings of the programs of command jobs under this configuration.
    fn surroundings(&self, config: &Config) -> Arc<Surroundings> {
        Arc::new(Surroundings {
            vault: config.vault.root.clone(),
            state_dir: config.state_dir.clone(),
            environment: self.env.dotenv(),
            supervisor: supervisor::SELF.into(),
        })
    }
}

/// The host that runs the jobs of a group.
pub(crate) struct Holder {
    /// Its name.
    pub(crate) host: String,
    /// Since when, by this host's clock.
    pub(crate) since: DateTime<Utc>,
    /// Whether that is the name of this host.
    pub(crate) is_this_host: bool,
}

/// The name of this host as the others of its group are told.
fn own_name(lease: &LeaseConfig) -> Result<String, String> {
    lease.host.clone().map_or_else(|| of_kernel("hostname"), Ok)
}

fn of_kernel(name: &str) -> Result<String, String> {
    let file = format!("/proc/sys/kernel/{name}");
    let text =
        std::fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"));
    Ok(text?.trim().to_owned())
}

impl App {
    /// The job of that name, if it has code.
    pub(crate) fn job(&self, name: &JobName) -> Option<&ConfiguredJob> {
        self.jobs.iter().find(|job| job.spec.name == *name)
    }
}

fn build(
    registry: &JobRegistry,
    deps: &Arc<Deps>,
    config: &Config,
    spec: &Arc<JobSpec>,
    built: &mut Built,
) {
    if let Some(kind) = spec.explicit_kind.as_deref().filter(|kind| !registry.knows(kind)) {
        let known = registry.kinds().collect::<Vec<_>>().join(", ");
        let remedy = match suggestion(kind, registry.kinds()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("there are {known}"),
        };
        let message = format!("no code here runs {kind:?}: {remedy}");
        built.faults.push(config.job_fault(&spec.name, "kind", None, &message));
        return;
    }
    match registry.build(spec) {
        Ok(job) => {
            let job: Arc<dyn Job> = match jobs::BUILT_IN.contains(&spec.kind()) {
                true => job.into(),
                false => Arc::new(Fed::new(job, spec, Arc::clone(deps))),
            };
            built.jobs.push(ConfiguredJob { spec: Arc::clone(spec), job });
        }
        Err(error @ BuildError::NotRunnable) => {
            built.not_runnable.insert(spec.name.clone(), error.to_string());
        }
        Err(BuildError::BadParameters(parameters)) => {
            built.faults.extend(parameters.into_iter().map(|parameter| {
                let BadParameter { key, value, message } = parameter;
                config.job_fault(&spec.name, &key, value, &message)
            }));
        }
    }
}
