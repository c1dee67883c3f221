//! The file as written: the shapes of its sections, every value optional, each remembering its path.
//!
//! The shapes are filled by hand and not by `serde`'s derive, which stops at the first value it does not like: here every value of the
//! wrong type and every unknown key becomes a fault of its own, and the reading goes on. What a value *means* (a cron
//! line, a zone, a path below the vault) is not asked here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::ConfigErrors;
use super::given::{Findings, Given, Origin};
use super::node::{Lines, Node, shown_key, shown_shape};
use super::params::Params;
use super::policy::{RetryPolicy, RunPolicy};
use super::section::{Maybe, Nullable, Section, is_ours};
use super::settings::{AfterOutcome, FeedSpec};
use super::tree::{fault_of_file, parse};
use super::value;

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) paths: Paths,
    pub(super) databases: Databases,
    pub(super) scheduler: Scheduler,
    /// `processing.retries`.
    pub(super) retries: RetryPolicy,
    /// `logging.level`.
    pub(super) log_level: Maybe<String>,
    /// Whether any section of ours is there and not empty.
    pub(super) holds_settings: bool,
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
    pub(super) watch_config: Maybe<bool>,
    pub(super) on_fault: Maybe<Vec<String>>,
    pub(super) pause_file: Maybe<bool>,
    pub(super) sandbox: Maybe<bool>,
    pub(super) listen: Nullable<String>,
    pub(super) listen_hosts: Maybe<Vec<String>>,
    /// There when the file has the section, however empty.
    pub(super) lease: Option<Lease>,
    pub(super) job_defaults: RunPolicy,
    pub(super) jobs: BTreeMap<String, UnreadJob>,
}

#[derive(Debug, Default)]
pub(super) struct Lease {
    pub(super) ttl: Maybe<Duration>,
    pub(super) name: Maybe<String>,
    pub(super) host: Maybe<String>,
}

/// A job as the tree has it. It is read when it is its turn: of all jobs together, the read form would be several times
/// as large as what is kept in the end.
#[derive(Debug, Default)]
pub(super) struct UnreadJob(Option<Arc<Node>>);

impl UnreadJob {
    pub(super) fn read(self, name: &str, defaults: &RunPolicy, findings: &mut Findings) -> Job {
        let path = format!("scheduler.jobs.{name}");
        job(Section::of(path, self.0.as_deref(), findings), defaults)
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) enabled: Maybe<bool>,
    pub(super) manual_only: Maybe<bool>,
    pub(super) cron: Maybe<Vec<String>>,
    pub(super) after: Maybe<(String, AfterOutcome)>,
    pub(super) timezone: Maybe<String>,
    pub(super) description: Maybe<String>,
    pub(super) kind: Maybe<String>,
    pub(super) command: Maybe<Vec<String>>,
    pub(super) working_dir: Maybe<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) feed: Option<FeedSpec>,
    pub(super) policy: RunPolicy,
    pub(super) params: Params,
}

/// Whether anything is written. A file that is cut off behind `jobs:` has none.
fn says_something(node: &Node) -> bool {
    !node.is_null() && node.entries().is_none_or(|keys| !keys.is_empty())
}

/// Reads the text. A fault of a value goes to `findings`; only a text that is no YAML at all is an `Err`.
pub(super) fn read(yaml: &str, findings: &mut Findings) -> Result<Raw, ConfigErrors> {
    let tree = parse(yaml, findings.file.as_deref())?;
    findings.lines = Lines::of(Arc::clone(&tree));
    for (path, twin) in findings.lines.twins(is_ours) {
        let message = format!("given twice, on lines {} and {}: keep one", twin.first, twin.second);
        findings.fault(&Origin::Key(path), None, message);
    }
    if tree.is_null() {
        let message = "holds no settings: all defaults are used".to_owned();
        let warning = fault_of_file(findings.file.as_deref(), None, message);
        findings.warnings.push(warning);
    } else if tree.entries().is_none() {
        let message =
            format!("{}: write sections, such as paths: and scheduler:", shown_shape(&tree));
        return Err(fault_of_file(findings.file.as_deref(), Some((1, 1)), message).into());
    }

    let holds_settings = ["paths", "databases", "scheduler", "processing", "logging"]
        .iter()
        .filter_map(|section| tree.get(section))
        .any(|section| match section.entries() {
            Some(keys) => keys.iter().any(|(_, value)| says_something(value)),
            None => says_something(section),
        });
    let mut file = Section::root(&tree, findings);
    let raw = Raw {
        paths: paths(file.section("paths")),
        databases: databases(file.section("databases")),
        scheduler: scheduler(file.section("scheduler")),
        retries: processing(file.section("processing")),
        log_level: logging(file.section("logging")),
        holds_settings,
    };
    // A level that was left out takes all jobs away.
    for key in ["jobs", "job_defaults", "vault_sync"] {
        if file.has(key) {
            let below = if key == "vault_sync" { "scheduler.jobs" } else { "scheduler" };
            let message = format!("not read here: indent it below {below}");
            file.findings.warn(&Origin::Key(key.to_owned()), None, message);
        }
    }
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
    let mut embedded = section.section("embedded");
    let embedded_path = embedded.maybe("path", value::path);
    embedded.pass_over_unknown();
    let neo4j = section.has("neo4j").then(|| neo4j(section.section("neo4j")));
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
        watch_config: section.flag("watch_config"),
        on_fault: section.command("on_fault").and_then(Given::flatten),
        pause_file: section.flag("pause_file"),
        sandbox: section.flag("sandbox"),
        listen: section.nullable("listen", value::text),
        listen_hosts: section.maybe("listen_hosts", value::texts_or_none),
        lease: {
            let is_there = section.has("lease");
            let lease = lease(section.section("lease"));
            is_there.then_some(lease)
        },
        job_defaults: {
            let mut defaults = section.section("job_defaults");
            let policy = RunPolicy::read(&mut defaults, &RunPolicy::default());
            defaults.refuse_unknown();
            policy
        },
        jobs: jobs(section.section("jobs")),
    };
    section.refuse_unknown();
    scheduler
}

fn lease(mut section: Section<'_>) -> Lease {
    let lease = Lease {
        ttl: section.maybe("ttl", lease_ttl),
        name: section.maybe("name", lease_name),
        host: section.maybe("host", lease_name),
    };
    section.refuse_unknown();
    lease
}

/// Of the shortest, 20 s are left to run in: 25 go to the stop of what runs.
fn lease_ttl(value: &Node) -> Result<Duration, String> {
    let range = Duration::from_secs(45)..=Duration::from_secs(3_600);
    let ttl = value::duration_of(value)?;
    range.contains(&ttl).then_some(ttl).ok_or_else(|| "write 45 s to 1 h".to_owned())
}

fn lease_name(value: &Node) -> Result<String, String> {
    let name = value::word(value)?;
    let fits = (1..=100).contains(&name.chars().count());
    fits.then_some(name).ok_or_else(|| "write a name of 1 to 100 characters".to_owned())
}

fn processing(mut section: Section<'_>) -> RetryPolicy {
    let mut shared = section.section("retries");
    let retries = RetryPolicy::read(&mut shared, RetryPolicy::default());
    shared.pass_over_unknown();
    section.pass_over_unknown();
    retries
}

fn logging(mut section: Section<'_>) -> Maybe<String> {
    let level = section.maybe("level", value::text);
    section.pass_over_unknown();
    level
}

fn jobs(mut section: Section<'_>) -> BTreeMap<String, UnreadJob> {
    let mut jobs = BTreeMap::new();
    for (key, value) in section.take_all() {
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
fn checked_name(key: &Node) -> Result<&str, &'static str> {
    let Some(name) = key.as_str() else {
        return Err("a job's name is text: put it in quotes");
    };
    if name.is_empty() {
        Err("a job needs a name")
    } else if name.chars().any(char::is_whitespace) {
        Err("a job's name has no white space: write _ instead")
    } else if name.chars().any(char::is_control) {
        Err("a job's name has no control characters: take them out")
    } else if name.starts_with('-') {
        Err("a job's name cannot begin with -, which begins an option on the command line")
    } else if name.chars().count() > 100 {
        Err("a job's name has at most 100 characters")
    } else {
        Ok(name)
    }
}

fn job(mut section: Section<'_>, defaults: &RunPolicy) -> Job {
    let mut job = read_job(&mut section, defaults);
    // Whether a parameter is right is for the job to say.
    for key in section.unknown_keys() {
        let Some(meant) = section.meant(&key) else { continue };
        let at = Origin::Key(section.path_of(&key));
        let message = format!("taken as a parameter of the job: did you mean {meant}?");
        section.findings.warn(&at, None, message);
    }
    section.note_what_reads_otherwise();
    let params = section.into_rest();
    job.params = Params::of(params.into_iter().map(|(key, value)| (shown_key(&key), value)));
    job
}

/// The keys that every job has.
fn read_job(section: &mut Section<'_>, defaults: &RunPolicy) -> Job {
    Job {
        enabled: section.flag("enabled"),
        manual_only: section.flag("manual_only"),
        cron: section.maybe("cron", value::texts),
        after: section.maybe("after", after),
        timezone: section.maybe("timezone", value::text),
        description: section.maybe("description", value::text),
        kind: section.maybe("kind", value::text),
        command: section.command("command").and_then(Given::flatten),
        working_dir: section.maybe("working_dir", value::path),
        env: environment(section.section("env")),
        feed: {
            let is_given = section.has("feed");
            let feed = feed(section.section("feed"));
            is_given.then_some(feed)
        },
        policy: RunPolicy::read(section, defaults),
        params: Params::default(),
    }
}

/// The key of a job that `word` was probably meant to be.
pub(crate) fn job_key_like(word: &str) -> Option<&'static str> {
    let mut findings = Findings::of(None, Lines::default());
    let mut section = Section::of(String::new(), None, &mut findings);
    read_job(&mut section, &RunPolicy::default());
    section.meant(word)
}

/// `JOB`, or `{job: JOB, on: success}`.
fn after(value: &Node) -> Result<(String, AfterOutcome), String> {
    const FORM: &str = "write the name of a job, or {job: NAME, on: success}";
    if let Some(job) = value.as_str() {
        return Ok((job.to_owned(), AfterOutcome::Success));
    }
    let keys = value.entries().unwrap_or_default().iter().map(|(key, _)| key.written());
    let all_known = keys.into_iter().all(|key| matches!(key, Some("job" | "on")));
    let Some(job) = value.get("job").and_then(Node::as_str).filter(|_| all_known) else {
        return Err(FORM.to_owned());
    };
    let on = match value.get("on").map(Node::as_str) {
        None | Some(Some("success")) => AfterOutcome::Success,
        Some(Some("failure")) => AfterOutcome::Failure,
        Some(Some("any")) => AfterOutcome::Any,
        Some(_) => return Err("on: write success, failure or any".to_owned()),
    };
    Ok((job.to_owned(), on))
}

/// `feed` of a job; every key of it may be left out.
fn feed(mut section: Section<'_>) -> FeedSpec {
    let base = FeedSpec::default();
    let feed = FeedSpec {
        tiers: section.or("tiers", tiers, base.tiers),
        ids: section.or("ids", prefixes, base.ids),
        limit: section.or("limit", value::whole(1..=FEED_LIMIT_MAX), base.limit),
        archived: section.flag("archived").is_some_and(|given| given.value),
        consumer: section.maybe("consumer", consumer).map(|given| given.value),
    };
    section.refuse_unknown();
    feed
}

/// How many blocks a program may be given at once: some 100 bytes of memory each.
const FEED_LIMIT_MAX: u32 = 100_000;

fn tiers(value: &Node) -> Result<Vec<u8>, String> {
    const FORM: &str = "write a list of the tiers 1, 2 and 3, such as [1, 2]";
    let tier = |node: &Node| node.as_u64().filter(|tier| (1..=3).contains(tier)).map(|t| t as u8);
    let tiers: Option<Vec<u8>> = value.as_list().and_then(|items| items.map(tier).collect());
    tiers.filter(|tiers| !tiers.is_empty()).ok_or_else(|| FORM.to_owned())
}

fn prefixes(value: &Node) -> Result<Vec<String>, String> {
    const FORM: &str = "write a list of beginnings of ids, such as [clm_]";
    let is_part_of_id = |text: &&String| !text.is_empty() && !text.contains(char::is_whitespace);
    let prefixes = value.as_list().and_then(|items| {
        items.map(|item| value::word(item).ok().filter(|word| is_part_of_id(&word))).collect()
    });
    prefixes.filter(|list: &Vec<_>| !list.is_empty()).ok_or_else(|| FORM.to_owned())
}

fn consumer(value: &Node) -> Result<String, String> {
    let name = value::text(value)?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Err("write a name without white space, such as search".to_owned())
    } else if name.chars().count() > 100 {
        Err("at most 100 characters".to_owned())
    } else {
        Ok(name)
    }
}

/// `env` of a job. The values may be secrets, so none is shown.
fn environment(mut section: Section<'_>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (key, value) in section.take_all() {
        let name = shown_key(&key);
        let found = match name.contains(['=', '\0']) || name.is_empty() {
            true => Err("this cannot be the name of a variable".to_owned()),
            false => value::word(&value),
        };
        section.note_if_reads_otherwise(&name, &value);
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
