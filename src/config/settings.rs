//! A checked configuration: the types that the rest of the program reads.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::Mistake;
use super::given::Origin;
use super::listen::Listen;
use super::node::Lines;
use super::params::Params;
use super::policy::{RetryPolicy, RunPolicy};
use super::shown::shown_path;
use crate::schedule::{Schedule, Zone};

/// The one job that is there whether or not the file names it.
pub(super) const VAULT_SYNC: &str = "vault_sync";

/// The command line, which outranks everything else.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--vault`.
    pub vault: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `serve --listen`.
    pub listen: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// On a reload: the file that the configuration in force was read from. If it is gone or holds no settings any more,
    /// that is a fault and not a wish for the defaults.
    pub in_force: Option<PathBuf>,
}

/// The name of a job: the key below `scheduler.jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobName(Arc<str>);

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
    /// The file it came from, as it was named; `None` when no file was found and defaults are used.
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
    /// Those of the warnings that tell of a file which was left out, as it is not this user's alone.
    pub left_out: Vec<String>,
    /// Decisions made in the absence of a setting and the reasons, one line each: for `check` and the start of `serve`.
    pub notes: Vec<String>,
    /// Line of each YAML path, for faults that are found later (a job's own parameters).
    pub lines: Lines,
}

impl Config {
    /// Gives back the file as it was read, for one who has built all jobs and keeps only what is needed: faults found from
    /// now on would have no line.
    pub(crate) fn forget_lines(&mut self) {
        self.lines = Lines::default();
    }

    /// A fault in a job's parameter, found when the job is built. `key` is relative to the job (`on_missing`,
    /// `names[1]`), empty for the job itself; `value` is what a message may show of it.
    pub fn job_fault(
        &self,
        job: &JobName,
        key: &str,
        value: Option<String>,
        message: &str,
    ) -> Mistake {
        let path = match key {
            "" => format!("scheduler.jobs.{job}"),
            key => format!("scheduler.jobs.{job}.{key}"),
        };
        let file = self.source.as_deref().map(shown_path);
        let at = Origin::Key(path);
        let place = at.place(file.as_deref(), &self.lines);
        Mistake { subject: at.name().to_owned(), value, message: message.to_owned(), place }
    }
}

/// `paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultConfig {
    /// `paths.vault`, absolute.
    pub root: PathBuf,
    /// `paths.tier1`, `tier2`, `tier3`, relative to the root; `None` for one that is `null`.
    pub tiers: [Option<PathBuf>; 3],
    /// Whether all of the vault is scanned, because no tier was given or all three are `null`. The tiers' folders then
    /// only say which tier a note belongs to.
    pub whole: bool,
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

impl Neo4jConfig {
    /// The password, which is only asked for when a connection is made: `next` and `blocks` work without. The `Err` is
    /// a line for a person.
    pub fn required_password(&self) -> Result<&str, String> {
        self.password.as_deref().ok_or_else(|| {
            format!(
                "no password for {}: set NEO4J_PASSWORD in the environment or in .env, or databases.graph: embedded",
                self.uri
            )
        })
    }
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
    pub timezone: Zone,
    /// `workers`: how many runs go at once.
    pub workers: usize,
    /// `shutdown_grace_time`: how long running jobs may go on after a stop was asked for.
    pub shutdown_grace_time: Duration,
    /// `history_days`: how long history is kept.
    pub history_days: u32,
    /// `watch_config`: whether a change of the file is taken over without a signal.
    pub watch_config: bool,
    /// `on_fault`: a command that is run when the daemon cannot decide.
    pub on_fault: Option<Vec<String>>,
    /// `pause_file`: whether the file `.aclarai_pause` in the vault is looked at.
    pub pause_file: bool,
    /// `listen`: where page, metrics and health check are served.
    pub listen: Option<Listen>,
    /// `listen_hosts`: names that requests may call this program by, in lower case.
    pub listen_hosts: Vec<String>,
    /// `sandbox`: whether the daemon confines itself where the kernel can.
    pub sandbox: bool,
    /// `lease`: which group of daemons takes turns; `None` where this host is alone.
    pub(crate) lease: Option<LeaseConfig>,
    /// The jobs, by name; shared, so that a scheduler of thousands need not have them twice.
    pub jobs: BTreeMap<JobName, Arc<JobSpec>>,
}

/// `scheduler.lease`: of several hosts, the one that holds it runs the jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaseConfig {
    /// `ttl`: how long the lease is good for after each renewal.
    pub(crate) ttl: Duration,
    /// `name`: the group of daemons of which one runs.
    pub(crate) name: String,
    /// `host`: the name that the others are told; `None`: the system's.
    pub(crate) host: Option<String>,
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
    /// `after`: the run of another job whose end starts this one.
    pub after: Option<After>,
    /// The zone the schedule is read in.
    pub timezone: Zone,
    /// `description`.
    pub description: String,
    /// When and how often a run may start, and how long it may take.
    pub policy: RunPolicy,
    /// `command`, `working_dir`, `env`: an external program.
    pub command: Option<CommandSpec>,
    /// `feed`: which marked blocks it is given.
    pub feed: Option<Box<FeedSpec>>,
    /// Every key of the job that is not the scheduler's: its parameters.
    pub params: Params,
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

/// `after`: a job is due when a run of another one ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The other one.
    pub job: JobName,
    /// How its run must have ended.
    pub on: AfterOutcome,
}

impl After {
    /// Whether a run of that job that ended by itself, well or not, starts this one.
    pub fn fires(&self, succeeded: bool) -> bool {
        match self.on {
            AfterOutcome::Success => succeeded,
            AfterOutcome::Failure => !succeeded,
            AfterOutcome::Any => true,
        }
    }
}

/// How a run must have ended for the jobs after it to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterOutcome {
    /// The run succeeded.
    Success,
    /// The run failed.
    Failure,
    /// Either.
    Any,
}

/// `feed` of a job: which blocks it is given to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedSpec {
    /// Only blocks of these tiers; empty: of all.
    pub tiers: Vec<u8>,
    /// Only ids that begin with one of these; empty: all.
    pub ids: Vec<String>,
    /// How many at once.
    pub limit: u32,
    /// Archived ones too.
    pub archived: bool,
    /// A cursor of its own instead of the mark.
    pub consumer: Option<String>,
}

impl Default for FeedSpec {
    fn default() -> FeedSpec {
        FeedSpec {
            tiers: Vec::new(),
            ids: Vec::new(),
            limit: 1000,
            archived: false,
            consumer: None,
        }
    }
}

/// `command`, `working_dir`, `env` of a job.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program and its arguments; no shell.
    pub argv: Vec<String>,
    /// The folder it runs in; the daemon's own where absent.
    pub working_dir: Option<PathBuf>,
    /// Variables added to its environment.
    pub env: BTreeMap<String, String>,
}

impl fmt::Debug for CommandSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values of `env` may be secrets.
        f.debug_struct("CommandSpec")
            .field("argv", &self.argv)
            .field("working_dir", &self.working_dir)
            .field("env", &self.env.keys())
            .finish()
    }
}
