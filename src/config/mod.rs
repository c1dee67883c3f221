//! The checked configuration. A [`Config`] can only be made by checking; nothing after this room doubts it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::schedule::Schedule;

/// The name of a job: the key below `scheduler.jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobName(std::sync::Arc<str>);

impl JobName {
    /// Wraps a name.
    pub fn new(name: &str) -> JobName {
        JobName(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything the program was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; `None` when no file was found and defaults are used.
    pub source: Option<PathBuf>,
    /// Where the vault lies and which folders of it are scanned.
    pub vault: VaultConfig,
    /// Which graph store, and how to reach it.
    pub graph: GraphConfig,
    /// How jobs are run.
    pub scheduler: SchedulerConfig,
    /// `processing.retries`: how transient faults of the graph are tried again.
    pub retries: RetryPolicy,
    /// Where history, fire times and the stat cache are kept.
    pub state_dir: PathBuf,
    /// `logging.level`, or what outranks it.
    pub log_level: log::LevelFilter,
    /// Things that are allowed but probably not meant, one line each, with path, place and remedy.
    pub warnings: Vec<String>,
    /// Line of each YAML path, for faults that are found later (a job's own parameters).
    pub lines: Lines,
}

/// Where each value stands in the YAML file: `scheduler.jobs.vault_sync.cron` -> 14.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(pub BTreeMap<String, usize>);

/// `paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultConfig {
    /// `paths.vault`, absolute.
    pub root: PathBuf,
    /// `paths.tier1`, `tier2`, `tier3`, relative to the root; `None` for one that is not configured.
    pub tiers: [Option<PathBuf>; 3],
}

/// `databases`.
#[derive(Clone, Debug)]
pub enum GraphConfig {
    /// The SQLite store.
    Embedded {
        /// The database file.
        path: PathBuf,
    },
    /// A Neo4j server.
    Neo4j(Neo4jConfig),
}

/// `databases.neo4j` with `NEO4J_*`.
#[derive(Clone)]
pub struct Neo4jConfig {
    /// `bolt://`, `neo4j://` and their `+s`, `+ssc` forms.
    pub uri: String,
    /// The database's name on the server.
    pub database: String,
    /// A PEM file with the certificate authority to trust.
    pub tls_ca: Option<PathBuf>,
    /// `NEO4J_USER`.
    pub user: String,
    /// `NEO4J_PASSWORD`; never shown.
    pub password: Option<String>,
}

impl fmt::Debug for Neo4jConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neo4jConfig")
            .field("uri", &self.uri)
            .field("database", &self.database)
            .field("tls_ca", &self.tls_ca)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// `scheduler`.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// `timezone`: the IANA name jobs without their own use.
    pub timezone: chrono_tz::Tz,
    /// `workers`: how many runs go at once.
    pub workers: usize,
    /// `shutdown_grace_time`: how long running jobs may go on after a stop was asked for.
    pub shutdown_grace_time: Duration,
    /// `history_days`: how long history is kept.
    pub history_days: u32,
    /// The jobs, by name.
    pub jobs: BTreeMap<JobName, JobSpec>,
}

/// One entry of `scheduler.jobs`.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// The key.
    pub name: JobName,
    /// `kind`, where given: which code runs it.
    pub explicit_kind: Option<String>,
    /// `enabled`.
    pub enabled: bool,
    /// `manual_only`: never by its schedule.
    pub manual_only: bool,
    /// `cron` in the job's zone.
    pub schedule: Schedule,
    /// The zone the schedule is read in.
    pub timezone: chrono_tz::Tz,
    /// `description`.
    pub description: String,
    /// When and how often a run may start, and how long it may take.
    pub policy: RunPolicy,
    /// `command`, `working_dir`, `env`: an external program.
    pub command: Option<CommandSpec>,
    /// Every key of the job that is not the scheduler's: its parameters.
    pub params: serde_yaml::Mapping,
}

impl JobSpec {
    /// Which code runs this job: `kind` where given, `command` for a job with a command, else the job's own name.
    pub fn kind(&self) -> &str {
        match (&self.explicit_kind, &self.command) {
            (Some(kind), _) => kind,
            (None, Some(_)) => "command",
            (None, None) => self.name.as_str(),
        }
    }

    /// Whether its schedule starts runs.
    pub fn is_scheduled(&self) -> bool {
        self.enabled && !self.manual_only
    }
}

/// `command`, `working_dir`, `env` of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program and its arguments; no shell.
    pub argv: Vec<String>,
    /// The folder it runs in; the daemon's own where absent.
    pub working_dir: Option<PathBuf>,
    /// Variables added to its environment.
    pub env: BTreeMap<String, String>,
}

/// `job_defaults` and the same keys of each job.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPolicy {
    /// How late an occurrence may be decided and still run; `None`: any lateness.
    pub misfire_grace_time: Option<Duration>,
    /// Of several due occurrences, only the newest runs.
    pub coalesce: bool,
    /// How many runs of the job may be queued or running at once.
    pub max_instances: u32,
    /// What happens at that limit.
    pub overlap: Overlap,
    /// Each occurrence is delayed by 0 to this many whole seconds, the same after a restart.
    pub jitter: Duration,
    /// How long a run may take; `None`: any time.
    pub timeout: Option<Duration>,
    /// How often a run that failed with a transient error is tried again.
    pub retries: RetryPolicy,
    /// Whether a run cut off by a crash is run again at the next start.
    pub rerun_interrupted: bool,
}

impl Default for RunPolicy {
    fn default() -> RunPolicy {
        RunPolicy {
            misfire_grace_time: Some(Duration::from_secs(300)),
            coalesce: true,
            max_instances: 1,
            overlap: Overlap::Skip,
            jitter: Duration::ZERO,
            timeout: None,
            retries: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() },
            rerun_interrupted: false,
        }
    }
}

/// What happens to an occurrence that is due while `max_instances` runs are queued or running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// It is skipped, and recorded.
    Skip,
    /// It waits for the running one to end; only the newest waits.
    Queue,
}

/// How a transient failure is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub max_attempts: u32,
    /// The n-th wait is this to the power of n, in seconds.
    pub backoff_factor: f64,
    /// No wait is longer than this.
    pub max_wait_time: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy { max_attempts: 3, backoff_factor: 2.0, max_wait_time: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// The wait before try `attempt` + 1, `attempt` counted from 1.
    pub fn wait_after(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.backoff_factor.powi(exponent).min(self.max_wait_time.as_secs_f64());
        Duration::from_secs_f64(seconds.max(0.0))
    }
}
