//! The file as written: the shapes of its sections, every value optional, each remembering its path.
//!
//! The shapes are filled by hand and not by `serde`'s derive, which stops at the first value it does not like: here every value of the
//! wrong type and every unknown key becomes a fault of its own, and the reading goes on. What a value *means* (a cron
//! line, a zone, a path below the vault) is not asked here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_yaml::{Mapping, Value};

use super::error::ConfigErrors;
use super::given::{Findings, Given, Origin};
use super::lines::Duplicate;
use super::value::{self, near_key, shown, shown_key, shown_shape, suggestion};
use super::yaml::{Parsed, fault_of_file, merge, parse};
use super::{Overlap, VAULT_SYNC};

/// A value that may be given; `null` is the same as not given.
pub(super) type Maybe<T> = Option<Given<T>>;
/// A value that may be given, and for which `null` means something.
pub(super) type Nullable<T> = Option<Given<Option<T>>>;

// The keys of each section.

pub(super) const SECTIONS: &[&str] = &["paths", "databases", "scheduler", "processing", "logging"];
pub(super) const PATHS: &[&str] = &["vault", "tier1", "tier2", "tier3"];
pub(super) const DATABASES: &[&str] = &["graph", "embedded", "neo4j"];
pub(super) const EMBEDDED: &[&str] = &["path"];
pub(super) const NEO4J: &[&str] =
    &["uri", "host", "port", "database", "tls_ca", "user", "username", "password"];
pub(super) const SCHEDULER: &[&str] =
    &["timezone", "workers", "shutdown_grace_time", "history_days", "job_defaults", "jobs"];
pub(super) const PROCESSING: &[&str] = &["retries"];
pub(super) const LOGGING: &[&str] = &["level"];
pub(super) const RETRIES: &[&str] = &["max_attempts", "backoff_factor", "max_wait_time"];
pub(super) const JOB_DEFAULTS: &[&str] = &[
    "misfire_grace_time",
    "coalesce",
    "max_instances",
    "overlap",
    "jitter",
    "timeout",
    "retries",
    "rerun_interrupted",
];

/// The keys of a job that are the scheduler's own. All others are the job's parameters
/// ([`JobSpec::params`](super::JobSpec::params)).
pub const JOB_KEYS: &[&str] = &[
    "enabled",
    "manual_only",
    "cron",
    "timezone",
    "description",
    "kind",
    "command",
    "working_dir",
    "env",
    "misfire_grace_time",
    "coalesce",
    "max_instances",
    "overlap",
    "jitter",
    "timeout",
    "retries",
    "rerun_interrupted",
];

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) paths: Paths,
    pub(super) databases: Databases,
    pub(super) scheduler: Scheduler,
    /// `processing.retries`.
    pub(super) retries: Retries,
    /// `logging.level`.
    pub(super) log_level: Maybe<String>,
}

#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) vault: Maybe<String>,
    pub(super) tiers: [Nullable<String>; 3],
}

#[derive(Debug, Default)]
pub(super) struct Databases {
    pub(super) graph: Maybe<String>,
    pub(super) embedded_path: Maybe<String>,
    /// There when the file has the section, however empty.
    pub(super) neo4j: Option<Neo4j>,
}

#[derive(Debug, Default)]
pub(super) struct Neo4j {
    pub(super) uri: Maybe<String>,
    pub(super) host: Maybe<String>,
    pub(super) port: Maybe<u32>,
    pub(super) database: Maybe<String>,
    pub(super) tls_ca: Maybe<String>,
    pub(super) user: Maybe<String>,
    pub(super) password: Maybe<String>,
}

#[derive(Debug, Default)]
pub(super) struct Scheduler {
    pub(super) timezone: Maybe<String>,
    pub(super) workers: Maybe<u32>,
    pub(super) shutdown_grace_time: Maybe<Duration>,
    pub(super) history_days: Maybe<u32>,
    pub(super) job_defaults: Policy,
    pub(super) jobs: BTreeMap<String, UnreadJob>,
}

/// `job_defaults`, and the same keys of a job.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) misfire_grace_time: Nullable<Duration>,
    pub(super) coalesce: Maybe<bool>,
    pub(super) max_instances: Maybe<u32>,
    pub(super) overlap: Maybe<Overlap>,
    pub(super) jitter: Maybe<Duration>,
    pub(super) timeout: Nullable<Duration>,
    pub(super) retries: Retries,
    pub(super) rerun_interrupted: Maybe<bool>,
}

#[derive(Debug, Default)]
pub(super) struct Retries {
    pub(super) max_attempts: Maybe<u32>,
    pub(super) backoff_factor: Maybe<f64>,
    pub(super) max_wait_time: Maybe<Duration>,
}

/// A job as the tree has it. It is read when it is its turn: of all jobs together, the read form would be several times
/// as large as what is kept in the end.
#[derive(Debug, Default)]
pub(super) struct UnreadJob(Option<Value>);

impl UnreadJob {
    pub(super) fn read(self, name: &str, findings: &mut Findings) -> Job {
        job(name, Section::of(format!("scheduler.jobs.{name}"), self.0, JOB_KEYS, findings))
    }
}

#[derive(Debug, Default)]
pub(super) struct Job {
    pub(super) enabled: Maybe<bool>,
    pub(super) manual_only: Maybe<bool>,
    pub(super) cron: Maybe<String>,
    pub(super) timezone: Maybe<String>,
    pub(super) description: Maybe<String>,
    pub(super) kind: Maybe<String>,
    pub(super) command: Maybe<Vec<String>>,
    pub(super) working_dir: Maybe<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) policy: Policy,
    pub(super) params: Mapping,
}

/// Reads the text. What is wrong with a value goes to `findings`; only a text that is no YAML at all is an `Err`.
pub(super) fn read(yaml: &str, findings: &mut Findings) -> Result<Raw, ConfigErrors> {
    let Parsed { tree, has_duplicates } = parse(yaml, findings.file.as_deref())?;
    let duplicates = if has_duplicates { findings.lines.duplicates().to_vec() } else { Vec::new() };
    for Duplicate { path, first, second } in
        duplicates.into_iter().filter(|twin| is_ours(&twin.path))
    {
        let message = format!("given twice, on lines {first} and {second}: keep one");
        findings.fault(&Origin::Key(path), None, message);
    }
    let sections = match tree {
        Value::Mapping(sections) => sections,
        Value::Null => {
            let message = "holds no settings: all defaults are used".to_owned();
            let warning = fault_of_file(findings.file.as_deref(), None, message);
            findings.warnings.push(warning);
            Mapping::new()
        }
        other => {
            let message =
                format!("{}: write sections, such as paths: and scheduler:", shown_shape(&other));
            return Err(fault_of_file(findings.file.as_deref(), Some((1, 1)), message).into());
        }
    };

    let mut file = Section { path: String::new(), left: sections, known: SECTIONS, findings };
    let raw = Raw {
        paths: paths(file.section("paths", PATHS)),
        databases: databases(file.section("databases", DATABASES)),
        scheduler: scheduler(file.section("scheduler", SCHEDULER)),
        retries: processing(file.section("processing", PROCESSING)),
        log_level: logging(file.section("logging", LOGGING)),
    };
    // Sections that are not ours are not looked at; only their names are, for a slip that would hide a whole section.
    file.pass_over_unknown();
    Ok(raw)
}

fn paths(mut section: Section<'_>) -> Paths {
    let paths = Paths {
        vault: section.maybe("vault", value::path),
        tiers: ["tier1", "tier2", "tier3"].map(|key| section.nullable(key, value::text)),
    };
    section.pass_over_unknown();
    paths
}

fn databases(mut section: Section<'_>) -> Databases {
    let graph = section.maybe("graph", value::text);
    let mut embedded = section.section("embedded", EMBEDDED);
    let embedded_path = embedded.maybe("path", value::path);
    embedded.pass_over_unknown();
    let neo4j = section.has("neo4j").then(|| neo4j(section.section("neo4j", NEO4J)));
    section.pass_over_unknown();
    Databases { graph, embedded_path, neo4j }
}

fn neo4j(mut section: Section<'_>) -> Neo4j {
    let neo4j = Neo4j {
        uri: section.secret("uri"),
        host: section.maybe("host", value::text),
        port: section.maybe("port", value::whole(1..=65_535)),
        database: section.maybe("database", value::text),
        tls_ca: section.maybe("tls_ca", value::path),
        user: section.secret("user").or(section.secret("username")),
        password: section.secret("password"),
    };
    section.pass_over_unknown();
    neo4j
}

fn scheduler(mut section: Section<'_>) -> Scheduler {
    let scheduler = Scheduler {
        timezone: section.maybe("timezone", value::text),
        workers: section.maybe("workers", value::whole(1..=64)),
        shutdown_grace_time: section.maybe("shutdown_grace_time", value::duration_of),
        history_days: section.maybe("history_days", value::whole(0..=36_500)),
        job_defaults: {
            let mut defaults = section.section("job_defaults", JOB_DEFAULTS);
            let policy = policy(&mut defaults);
            defaults.refuse_unknown();
            policy
        },
        jobs: jobs(section.section("jobs", &[])),
    };
    section.refuse_unknown();
    scheduler
}

fn policy(section: &mut Section<'_>) -> Policy {
    Policy {
        misfire_grace_time: section.nullable("misfire_grace_time", value::duration_of),
        coalesce: section.flag("coalesce"),
        max_instances: section.maybe("max_instances", value::whole(1..=1_000)),
        overlap: section.maybe("overlap", overlap),
        jitter: section.maybe("jitter", value::whole_seconds),
        timeout: section.nullable("timeout", value::duration_over_zero),
        retries: {
            let mut section = section.section("retries", RETRIES);
            let retries = retries(&mut section);
            section.refuse_unknown();
            retries
        },
        rerun_interrupted: section.flag("rerun_interrupted"),
    }
}

fn overlap(value: &Value) -> Result<Overlap, String> {
    match value.as_str() {
        Some("skip") => Ok(Overlap::Skip),
        Some("queue") => Ok(Overlap::Queue),
        _ => Err("write skip or queue".to_owned()),
    }
}

fn processing(mut section: Section<'_>) -> Retries {
    let mut shared = section.section("retries", RETRIES);
    let retries = retries(&mut shared);
    shared.pass_over_unknown();
    section.pass_over_unknown();
    retries
}

fn logging(mut section: Section<'_>) -> Maybe<String> {
    let level = section.maybe("level", value::text);
    section.pass_over_unknown();
    level
}

fn retries(section: &mut Section<'_>) -> Retries {
    Retries {
        max_attempts: section.maybe("max_attempts", value::whole(1..=1_000)),
        backoff_factor: section.maybe("backoff_factor", value::number(0.0..=1_000.0)),
        max_wait_time: section.maybe("max_wait_time", value::duration_of),
    }
}

fn jobs(mut section: Section<'_>) -> BTreeMap<String, UnreadJob> {
    let mut jobs = BTreeMap::new();
    for (key, value) in std::mem::take(&mut section.left) {
        match checked_name(&key) {
            Ok(name) => drop(jobs.insert(name.to_owned(), UnreadJob(Some(value)))),
            Err(message) => {
                let path = section.path_of(&shown_key(&key));
                section.findings.fault(&Origin::Key(path), None, message);
            }
        }
    }
    jobs
}

/// A job's name ends up in ids, log lines, variables and on the command line.
fn checked_name(key: &Value) -> Result<&str, &'static str> {
    let Value::String(name) = key else {
        return Err("a job's name is text: put it in quotes");
    };
    if name.is_empty() {
        Err("a job needs a name")
    } else if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err("a job's name has no white space: write _ instead")
    } else if name.starts_with('-') {
        Err("a job's name cannot begin with -, which begins an option on the command line")
    } else if name.chars().count() > 100 {
        Err("a job's name has at most 100 characters")
    } else {
        Ok(name)
    }
}

fn job(name: &str, mut section: Section<'_>) -> Job {
    let mut job = Job {
        enabled: section.flag("enabled"),
        manual_only: section.flag("manual_only"),
        cron: section.maybe("cron", value::text),
        timezone: section.maybe("timezone", value::text),
        description: section.maybe("description", value::text),
        kind: section.maybe("kind", value::text),
        command: section.maybe("command", value::argv),
        working_dir: section.maybe("working_dir", value::path),
        env: environment(section.section("env", &[])),
        policy: policy(&mut section),
        params: Mapping::new(),
    };
    // Whether a parameter is right is for the job to say, except that the built-in one is known to have none like these.
    let takes_any = name != VAULT_SYNC || job.kind.is_some() || job.command.is_some();
    for key in section.unknown_keys() {
        let Some(meant) = suggestion(&key, JOB_KEYS.iter().copied()) else { continue };
        let at = Origin::Key(section.path_of(&key));
        if takes_any {
            let message = format!("taken as a parameter of the job: did you mean {meant}?");
            section.findings.warn(&at, None, message);
        } else {
            section.findings.fault(&at, None, no_such_setting(meant));
        }
    }
    if !takes_any {
        // None of these means anything but a flag there.
        for key in section.unknown_keys() {
            section.understand_bare_flag(&key);
        }
    }
    job.params = section.left;
    // Most jobs have none, and would keep the room of the keys that were taken out.
    job.params.shrink_to_fit();
    job
}

/// `env` of a job. The values may be secrets, so none is shown.
fn environment(mut section: Section<'_>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (key, value) in std::mem::take(&mut section.left) {
        let name = shown_key(&key);
        let found = match name.contains(['=', '\0']) || name.is_empty() {
            true => Err("this cannot be the name of a variable".to_owned()),
            false => value::word(&value).map_err(|_| "write text, in quotes".to_owned()),
        };
        match found {
            Ok(value) => drop(variables.insert(name, value)),
            Err(message) => {
                let at = Origin::Key(section.path_of(&name));
                section.findings.fault(&at, None, message);
            }
        }
    }
    variables
}

/// A mapping whose keys are taken out one by one; what is left is unknown.
struct Section<'f> {
    path: String,
    left: Mapping,
    known: &'static [&'static str],
    findings: &'f mut Findings,
}

impl Section<'_> {
    fn of<'f>(
        path: String,
        value: Option<Value>,
        known: &'static [&'static str],
        findings: &'f mut Findings,
    ) -> Section<'f> {
        let left = match value {
            None | Some(Value::Null) => Mapping::new(),
            Some(Value::Mapping(mapping)) => mapping,
            Some(other) => {
                let message = "write a mapping: one `key: value` a line, indented";
                findings.fault(&Origin::Key(path.clone()), Some(shown_shape(&other)), message);
                Mapping::new()
            }
        };
        Section { path, left, known, findings }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn has(&self, key: &str) -> bool {
        self.left.get(key).is_some_and(|value| !value.is_null())
    }

    fn section(&mut self, key: &str, known: &'static [&'static str]) -> Section<'_> {
        let path = self.path_of(key);
        let mut value = self.left.remove(key);
        // Once, for the whole of a section of the file.
        if self.path.is_empty() {
            let mut refused = Vec::new();
            if let Some(value) = &mut value {
                merge(value, &path, &mut refused);
            }
            for (path, value) in refused.into_iter().filter(|(path, _)| is_ours(path)) {
                let message = "write an alias of a mapping, such as *defaults";
                self.findings.fault(&Origin::Key(path), Some(shown_shape(&value)), message);
            }
        }
        Section::of(path, value, known, self.findings)
    }

    fn maybe<T>(&mut self, key: &str, form: impl Fn(&Value) -> Result<T, String>) -> Maybe<T> {
        let Given { value, origin } = self.nullable(key, form)?;
        Some(Given { value: value?, origin })
    }

    fn nullable<T>(
        &mut self,
        key: &str,
        form: impl Fn(&Value) -> Result<T, String>,
    ) -> Nullable<T> {
        let value = self.left.remove(key)?;
        self.formed(key, value, form, |value| Some(shown(value)))
    }

    /// `true` or `false`, also as YAML 1.1 writes it: a file of the Python services may say `yes`.
    fn flag(&mut self, key: &str) -> Maybe<bool> {
        self.understand_bare_flag(key);
        self.maybe(key, value::flag)
    }

    fn understand_bare_flag(&mut self, key: &str) {
        let path = self.path_of(key);
        if let Some(value) = self.left.get_mut(key)
            && let Some(flag) = value.as_str().and_then(value::flag_word)
            && self.findings.lines.is_bare_flag(&path)
        {
            *value = flag.into();
        }
    }

    /// Text that is never shown.
    fn secret(&mut self, key: &str) -> Maybe<String> {
        let value = self.left.remove(key)?;
        let Given { value, origin } = self.formed(key, value, value::text, |_| None)?;
        Some(Given { value: value?, origin })
    }

    fn formed<T>(
        &mut self,
        key: &str,
        value: Value,
        form: impl Fn(&Value) -> Result<T, String>,
        shown: impl Fn(&Value) -> Option<String>,
    ) -> Nullable<T> {
        let origin = Origin::Key(self.path_of(key));
        if value.is_null() {
            return Some(Given { value: None, origin });
        }
        match form(&value) {
            Ok(formed) => Some(Given { value: Some(formed), origin }),
            Err(message) => {
                self.findings.fault(&origin, shown(&value), message);
                None
            }
        }
    }

    fn unknown_keys(&self) -> Vec<String> {
        self.left.keys().map(shown_key).collect()
    }

    /// For a section that is ours alone: an unknown key is a fault.
    fn refuse_unknown(self) {
        for key in self.unknown_keys() {
            let message = match suggestion(&key, self.known.iter().copied()) {
                Some(meant) => no_such_setting(meant),
                None => format!("there is no such setting; there are {}", self.known.join(", ")),
            };
            self.findings.fault(&Origin::Key(self.path_of(&key)), None, message);
        }
    }

    /// For a section shared with other services: an unknown key is theirs, unless it looks like a slip of the pen.
    fn pass_over_unknown(self) {
        for key in self.unknown_keys() {
            if let Some(meant) = near_key(&key, self.known) {
                let message =
                    format!("not read, as no setting has this name: did you mean {meant}?");
                self.findings.warn(&Origin::Key(self.path_of(&key)), None, message);
            }
        }
    }
}

fn no_such_setting(meant: &str) -> String {
    format!("there is no such setting: did you mean {meant}?")
}

/// Whether a path lies where settings are read; elsewhere a key given twice is the other services' business.
fn is_ours(path: &str) -> bool {
    const READ: [&str; 7] = [
        "paths",
        "scheduler",
        "databases.graph",
        "databases.embedded",
        "databases.neo4j",
        "processing.retries",
        "logging.level",
    ];
    let is_below = |read: &str| {
        path.strip_prefix(read).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    SECTIONS.contains(&path) || READ.into_iter().any(is_below)
}
