//! From what was written to what holds: flags over variables over the file over defaults, each value checked.
//!
//! A fault does not end the checking: the default takes the value's place so that the faults behind it are found too.
//! A configuration with faults is never handed out.

mod graph;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cron::{is_quoted, parsed, too_long_a_step};
use super::env::{self, Env, Variables};
use super::error::{ConfigErrors, Mistake, Place};
use super::file;
use super::given::{Findings, Given, Origin, Shown};
use super::listen::{Listen, host_name};
use super::node::Lines;
use super::raw::{self, Raw};
use super::section::{Maybe, Nullable};
use super::settings::{
    After, CommandSpec, Config, GraphConfig, JobName, JobSpec, LeaseConfig, Overrides,
    SchedulerConfig, VAULT_SYNC, VaultConfig,
};
use super::shown::shown_path;
use super::source::{LEFT_OUT, fault_of};
use super::value::{flag_word, suggestion};
use crate::schedule::Zone;
use crate::text::visible;

/// The faults of the jobs' own parameters ([`JobSpec::params`]), which only the jobs know; see
/// [`Config::job_fault`]. Also asked about a configuration that has other faults, which stand at their defaults in
/// it, so that a person is told of everything at once.
pub(crate) type LookAtJobs<'l> = &'l dyn Fn(&Config) -> Vec<Mistake>;

const VAULT: &str = "/vault";
const TIERS: [&str; 3] = ["conversations", "summaries", "concepts"];
const TIER_KEYS: [&str; 3] = ["paths.tier1", "paths.tier2", "paths.tier3"];
const VAULT_SYNC_CRON: &str = "*/30 * * * *";
const VAULT_SYNC_DESCRIPTION: &str = "Sync vault files with knowledge graph";
const CRON: &str = "0 2 * * *";
const LEASE_TTL: Duration = Duration::from_secs(60);
const NAME_BELOW_STATE: &str = "aclarai-scheduler";

/// Checks the text `yaml` of the file `source`, or the defaults where there is no file.
pub(super) fn checked(
    source: Option<PathBuf>,
    yaml: Option<&str>,
    overrides: &Overrides,
    env: &Env,
    (variables, remarks): (Variables<'_>, Vec<Mistake>),
    look_at_jobs: LookAtJobs<'_>,
) -> Result<Config, ConfigErrors> {
    let mut findings = Findings::of(source.as_deref().map(shown_path), Lines::default());
    let is_left_out = |remark: &&Mistake| remark.message.starts_with(LEFT_OUT);
    let left_out = remarks.iter().filter(is_left_out).map(ToString::to_string).collect();
    findings.warnings.extend(remarks);
    let raw = match yaml {
        Some(yaml) => raw::read(yaml, &mut findings)?,
        None => Raw::default(),
    };
    if let (Some(_), Some(source), false) = (&overrides.in_force, &source, raw.holds_settings) {
        let message =
            "holds no settings any more: put them back, or remove the file and start anew";
        return Err(fault_of(source, message.to_owned()).into());
    }

    let mut checker = Checker { overrides, variables, cwd: env.cwd(), findings, notes: Vec::new() };
    if source.is_none() {
        let places = file::USUAL_PLACES.join(" and ");
        checker
            .notes
            .push(format!("no configuration file: looked for {places}; all defaults are used"));
    }
    let vault = checker.vault(raw.paths);
    let state_dir = checker.state_dir();
    let graph = checker.graph(raw.databases, &state_dir);
    let is_shared = matches!(graph, GraphConfig::Neo4j(_));
    let scheduler = checker.scheduler(raw.scheduler, is_shared);
    let retries = raw.retries;
    let log_level = checker.log_level(raw.log_level);
    checker.variables.check_pause(&mut checker.findings);
    checker.variables.check_services(&mut checker.findings);
    checker.note_dotenv();
    checker.warn_of_quotes();

    checker.note_what_reads_otherwise();

    let Checker { mut findings, notes, .. } = checker;
    let lines = std::mem::take(&mut findings.lines);
    let warnings = Vec::new();
    let mut config = Config {
        source,
        vault,
        graph,
        scheduler,
        retries,
        state_dir,
        log_level,
        warnings,
        left_out,
        notes,
        lines,
    };
    for fault in look_at_jobs(&config) {
        // One fault is told once, by whoever found it first.
        if findings.faults.iter().all(|found| found.subject != fault.subject) {
            findings.faults.push(fault);
        }
    }
    config.warnings = findings.finish()?.iter().map(ToString::to_string).collect();
    Ok(config)
}

struct Checker<'a> {
    overrides: &'a Overrides,
    variables: Variables<'a>,
    cwd: &'a Path,
    findings: Findings,
    notes: Vec<String>,
}

impl Checker<'_> {
    /// Which variables come from `.env`.
    fn note_dotenv(&mut self) {
        let names: Vec<_> = self.variables.added().map(|(name, _)| visible(name)).collect();
        if !names.is_empty() {
            self.notes.push(format!(".env: sets {}", names.join(", ")));
        }
    }

    /// Arguments are what is written. Where another reader of the file takes them for something else, one line says so.
    fn note_what_reads_otherwise(&mut self) {
        let paths = &self.findings.read_otherwise;
        let Some(first) = paths.first() else { return };
        let place =
            Origin::Key(first.clone()).place(self.findings.file.as_deref(), &self.findings.lines);
        let others = match paths.len() - 1 {
            0 => String::new(),
            1 => " and 1 other value".to_owned(),
            count => format!(" and {count} other values"),
        };
        self.notes.push(format!(
            "{first}{others}: passed on as written, where YAML reads something else: in quotes, no reader mistakes it \
             ({place})"
        ));
    }

    fn vault(&mut self, raw: raw::Paths) -> VaultConfig {
        let flag = self.path_flag("--vault", &self.overrides.vault);
        let variable = self.variables.for_path("paths.vault");
        let root = flag.or(variable).or(as_path(raw.vault));
        let root = root.map_or_else(|| PathBuf::from(VAULT), |given| given.value.into());
        let root = self.absolute(&root);

        let mut written = raw.tiers;
        let tiers = [0, 1, 2].map(|tier| {
            let variable = self.variables.for_path(TIER_KEYS[tier]).map(|given| given.map(Some));
            let written = written[tier].take();
            variable.or(written.map(|given| given.map(|path| path.map(OsString::from))))
        });
        let none_given = tiers.iter().all(Option::is_none);
        let mut usual = TIERS.into_iter();
        let tiers = tiers.map(|tier| {
            let usual = usual.next().map(PathBuf::from);
            let Some(Given { value: path, origin }) = tier else { return usual };
            let given = Given { value: path?, origin };
            self.findings.checked(Some(given), |path| folder_below(&root, Path::new(path)))
        });
        let whole = none_given || tiers.iter().all(Option::is_none);
        VaultConfig { root, tiers, whole }
    }

    fn state_dir(&mut self) -> PathBuf {
        if let Some(dir) = self.path_flag("--state-dir", &self.overrides.state_dir) {
            return self.absolute(Path::new(&dir.value));
        }
        // systemd names all of a unit's state folders, the first one first.
        if let Some(Given { value, .. }) = self.variables.get("STATE_DIRECTORY")
            && let Some(first) = first_of_list(&value)
        {
            return self.absolute(&first);
        }
        if let Some(Given { value, origin }) = self.variables.get("XDG_STATE_HOME") {
            if Path::new(&value).is_absolute() {
                return Path::new(&value).join(NAME_BELOW_STATE);
            }
            // So the XDG base directory specification wants it.
            self.findings.warn(
                &origin,
                Some(value.shown()),
                "not used, as it is not an absolute path",
            );
        }
        match self.home() {
            Some(home) => home.join(".local/state").join(NAME_BELOW_STATE),
            None => {
                let message = "there is no place for it, as neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set: \
                               give --state-dir PATH";
                self.findings.faults.push(Mistake {
                    subject: "state folder".to_owned(),
                    value: None,
                    message: message.to_owned(),
                    place: Place::Nowhere,
                });
                PathBuf::new()
            }
        }
    }

    fn scheduler(&mut self, raw: raw::Scheduler, is_shared: bool) -> SchedulerConfig {
        self.warn_of_tz(raw.timezone.is_some());
        let timezone = self.zone(raw.timezone).unwrap_or(Zone::UTC);
        let mut raw_jobs = raw.jobs;
        // The file need not name this job.
        raw_jobs.entry(VAULT_SYNC.to_owned()).or_default();
        self.warn_of_shared_variables(&raw_jobs);
        let jobs = raw_jobs.into_iter().map(|(name, unread)| {
            let job = unread.read(&name, &raw.job_defaults, &mut self.findings);
            let spec = self.job(&name, job, &timezone);
            (spec.name.clone(), Arc::new(spec))
        });
        let jobs: BTreeMap<JobName, Arc<JobSpec>> = jobs.collect();
        self.check_what_follows_what(&jobs);
        SchedulerConfig {
            timezone,
            workers: raw.workers.map_or(4, |given| given.value) as usize,
            shutdown_grace_time: raw
                .shutdown_grace_time
                .map_or(Duration::from_secs(30), |given| given.value),
            history_days: raw.history_days.map_or(90, |given| given.value),
            watch_config: raw.watch_config.is_some_and(|given| given.value),
            on_fault: raw.on_fault.map(|given| given.value),
            pause_file: raw.pause_file.is_none_or(|given| given.value),
            sandbox: raw.sandbox.is_none_or(|given| given.value),
            listen: self.listen(raw.listen),
            listen_hosts: self.listen_hosts(raw.listen_hosts),
            lease: raw.lease.map(|lease| self.lease(lease, is_shared)),
            jobs,
        }
    }

    /// The hosts take turns by way of a graph that all of them reach.
    fn lease(&mut self, raw: raw::Lease, is_shared: bool) -> LeaseConfig {
        if !is_shared {
            let message = "hosts take turns by a Neo4j server that all of them reach: set databases.graph: neo4j, or \
                           lease: null";
            self.findings.fault(&Origin::Key("scheduler.lease".to_owned()), None, message);
        }
        LeaseConfig {
            ttl: raw.ttl.map_or(LEASE_TTL, |given| given.value),
            name: raw.name.map_or_else(|| "default".to_owned(), |given| given.value),
            host: raw.host.map(|given| given.value),
        }
    }

    fn job(&mut self, name: &str, raw: raw::Job, zone: &Zone) -> JobSpec {
        let is_vault_sync = name == VAULT_SYNC;
        let enabled = self.job_variable(name, "ENABLED").map(|given| {
            self.findings.checked(Some(given), |word| {
                flag_word(word)
                    .ok_or_else(|| "write true or false (1, yes, on, 0, no, off)".to_owned())
            })
        });
        let enabled = enabled.unwrap_or_else(|| raw.enabled.map(|given| given.value));
        let timezone = self.zone(raw.timezone).unwrap_or_else(|| zone.clone());
        let variable = self.job_variable(name, "CRON").map(|given| given.map(|line| vec![line]));
        let cron = variable.or(raw.cron);
        if let Some(Given { value: lines, origin }) = &cron
            && let Some(message) = lines.iter().find_map(|line| too_long_a_step(line))
        {
            self.findings.warn(origin, Some(lines.shown()), message);
        }
        let schedule = self.findings.checked(cron, |lines| parsed(lines, &timezone));
        let schedule = schedule.unwrap_or_else(|| {
            let lines: &[&str] = match (&raw.after, is_vault_sync) {
                (Some(_), _) => &[],
                (None, true) => &[VAULT_SYNC_CRON],
                (None, false) => &[CRON],
            };
            parsed(lines, &timezone).expect("the default lines are right")
        });
        let after =
            raw.after.map(|Given { value: (job, on), .. }| After { job: JobName::new(&job), on });
        let description = raw.description.map(|given| given.value);
        let default_description = if is_vault_sync { VAULT_SYNC_DESCRIPTION } else { "" };
        JobSpec {
            name: JobName::new(name),
            explicit_kind: raw.kind.map(|given| given.value),
            enabled: enabled.unwrap_or(is_vault_sync),
            manual_only: raw.manual_only.is_some_and(|given| given.value),
            schedule,
            after,
            timezone,
            description: description.unwrap_or_else(|| default_description.to_owned()),
            policy: raw.policy,
            command: self.command(name, raw.command, raw.working_dir, raw.env),
            feed: raw.feed.map(Box::new),
            params: raw.params,
        }
    }

    /// `after` names a job there is, and no job waits for itself, however many are between.
    fn check_what_follows_what(&mut self, jobs: &BTreeMap<JobName, Arc<JobSpec>>) {
        let before = |name: &JobName| Some(&jobs.get(name)?.after.as_ref()?.job);
        for (name, job) in jobs {
            let Some(After { job: first, .. }) = &job.after else { continue };
            let at = Origin::Key(format!("scheduler.jobs.{name}.after"));
            if !jobs.contains_key(first) {
                let known = jobs.keys().filter(|known| *known != name).map(JobName::as_str);
                let remedy = match suggestion(first.as_str(), known) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => "write the name of a job in scheduler.jobs".to_owned(),
                };
                let message = format!("there is no such job: {remedy}");
                self.findings.fault(&at, Some(first.as_str().to_owned().shown()), message);
                continue;
            }
            // Of a circle, each job is told.
            let mut circle = vec![name.as_str()];
            let mut next = first;
            while next != name && circle.len() <= jobs.len() {
                circle.push(next.as_str());
                let Some(earlier) = before(next) else { break };
                next = earlier;
            }
            if next == name {
                circle.push(name.as_str());
                let message = format!("a circle, which never starts: {}", circle.join(" after "));
                self.findings.fault(&at, None, message);
            }
        }
    }

    fn command(
        &mut self,
        job: &str,
        argv: Maybe<Vec<String>>,
        working_dir: Maybe<String>,
        env: BTreeMap<String, String>,
    ) -> Option<CommandSpec> {
        let working_dir = working_dir.map(|given| given.map(|dir| self.absolute(Path::new(&dir))));
        match argv {
            Some(argv) => Some(CommandSpec {
                argv: argv.value,
                working_dir: working_dir.map(|given| given.value),
                env,
            }),
            None => {
                let env =
                    (!env.is_empty()).then(|| Origin::Key(format!("scheduler.jobs.{job}.env")));
                for origin in working_dir.map(|given| given.origin).into_iter().chain(env) {
                    self.findings.warn(&origin, None, "has no effect without command");
                }
                None
            }
        }
    }

    fn log_level(&mut self, raw: Maybe<String>) -> log::LevelFilter {
        let flag = self.overrides.log_level.clone();
        let flag = flag.map(|value| Given { value, origin: Origin::Flag("--log-level") });
        let variable = self.variables.text_for_path("logging.level", &mut self.findings);
        self.findings
            .checked(flag.or(variable).or(raw), |word| level(word))
            .unwrap_or(log::LevelFilter::Info)
    }

    fn listen(&mut self, raw: Nullable<String>) -> Option<Listen> {
        let flag = self.overrides.listen.clone();
        let flag = flag.map(|value| Given { value, origin: Origin::Flag("--listen") });
        let variable = self.variables.text_for_path("scheduler.listen", &mut self.findings);
        let given = flag.or(variable).or(raw.and_then(Given::flatten))?;
        let origin = given.origin.clone();
        let listen = self.findings.checked(Some(given), |text| Listen::parse(text)).flatten()?;
        if listen.is_open_to_others() {
            let message = "anybody who reaches this address sees the page, without a password: 127.0.0.1 keeps it on this \
                           machine, and docs/page.md shows proxies that ask for one";
            self.findings.warn(&origin, Some(listen.to_string().shown()), message);
        }
        Some(listen)
    }

    fn listen_hosts(&mut self, raw: Maybe<Vec<String>>) -> Vec<String> {
        let names = |names: &Vec<String>| names.iter().map(|name| host_name(name)).collect();
        self.findings.checked(raw, names).unwrap_or_default()
    }

    fn zone(&mut self, given: Maybe<String>) -> Option<Zone> {
        let Given { value, origin } = given?;
        match Zone::parse(&value) {
            Ok(zone) => Some(zone),
            Err(error) => {
                // The reason repeats the name.
                self.findings.fault(&origin, None, error.to_string());
                None
            }
        }
    }

    /// `TZ` moves other programs in a container, but no cron line here.
    fn warn_of_tz(&mut self, zone_is_given: bool) {
        let Some(Given { value, origin }) = self.variables.get("TZ").filter(|_| !zone_is_given)
        else {
            return;
        };
        let zone = value.to_string_lossy();
        let zone = zone.trim_start_matches(':');
        let is_utc = ["UTC", "Etc/UTC", "UTC0", "GMT", "Etc/GMT", "GMT0", "Universal", "Zulu"];
        if !is_utc.contains(&zone) {
            let remedy = match Zone::parse(zone) {
                Ok(_) => format!("set scheduler.timezone: {zone}"),
                Err(_) => "set scheduler.timezone, such as Europe/Berlin".to_owned(),
            };
            let message = format!("not used: cron lines are read in UTC. To change that, {remedy}");
            self.findings.warn(&origin, Some(zone.to_owned().shown()), message);
        }
    }

    fn job_variable(&mut self, job: &str, what: &str) -> Option<Given<String>> {
        let given = self.variables.get(&env::variable_of_job(job, what))?;
        env::as_text(given, &mut self.findings)
    }

    /// `a-b` and `a.b` both listen to `A_B_CRON`.
    fn warn_of_shared_variables(&mut self, jobs: &BTreeMap<String, raw::UnreadJob>) {
        for what in ["ENABLED", "CRON"] {
            let mut listeners: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for job in jobs.keys() {
                listeners.entry(env::variable_of_job(job, what)).or_default().push(job);
            }
            for (variable, jobs) in listeners.into_iter().filter(|(_, jobs)| jobs.len() > 1) {
                if let Some(Given { origin, .. }) = self.variables.get(&variable) {
                    let message = format!("counts for {}: rename all but one", jobs.join(" and "));
                    self.findings.warn(&origin, None, message);
                }
            }
        }
    }

    /// Docker's `--env-file` takes the quotes of a `.env` for a part of the value.
    fn warn_of_quotes(&mut self) {
        for (name, _) in env::VARIABLES {
            let Some(Given { value, origin }) = self.variables.get(name) else { continue };
            if is_quoted(&value.to_string_lossy()) {
                let message = "the quotes are part of the value, as Docker's --env-file keeps them: take them out";
                self.findings.warn(&origin, None, message);
            }
        }
    }

    fn path_flag(&mut self, name: &'static str, path: &Option<PathBuf>) -> Option<Given<OsString>> {
        let value = path.clone()?.into_os_string();
        let given = Given { value, origin: Origin::Flag(name) };
        if given.value.is_empty() {
            // A shell variable that was not set: the current folder would be a bad guess.
            self.findings.fault(&given.origin, Some(given.value.shown()), "write a path");
        }
        Some(given)
    }

    fn home(&self) -> Option<PathBuf> {
        Some(PathBuf::from(self.variables.get("HOME")?.value))
    }

    fn with_home(&self, path: &Path) -> PathBuf {
        env::with_home(path, self.home().as_deref().map(Path::as_os_str))
    }

    /// From the current folder, and without `..`, so that one folder has one name.
    fn absolute(&self, path: &Path) -> PathBuf {
        let path = self.cwd.join(self.with_home(path));
        if path.components().any(|part| part == Component::ParentDir) {
            // Only the file system knows where `link/..` leads.
            path.canonicalize().unwrap_or(path)
        } else {
            path.components().collect()
        }
    }
}

fn as_path(given: Maybe<String>) -> Option<Given<OsString>> {
    given.map(|given| given.map(OsString::from))
}

fn first_of_list(paths: &OsString) -> Option<PathBuf> {
    std::env::split_paths(paths).find(|path| !path.as_os_str().is_empty())
}

/// A folder of the vault, in its shortest form; `.` is the vault itself.
fn folder_below(root: &Path, path: &Path) -> Result<PathBuf, String> {
    if let Ok(inside) = path.strip_prefix(root)
        && path.is_absolute()
    {
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        return Err(format!("write it relative to paths.vault: {}", shown_path(inside)));
    }
    if path.is_absolute() {
        return Err(format!("outside the vault: write a folder relative to {}", shown_path(root)));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("leads out of the vault: write a folder below it, without ..".to_owned());
    }
    if path.as_os_str().is_empty() {
        return Err("write . for the vault itself, or null for none".to_owned());
    }
    let short: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    Ok(if short.as_os_str().is_empty() { PathBuf::from(".") } else { short })
}

fn level(word: &str) -> Result<log::LevelFilter, String> {
    use log::LevelFilter::*;
    Ok(match word.trim().to_ascii_uppercase().as_str() {
        "CRITICAL" | "FATAL" | "ERROR" => Error,
        "WARNING" | "WARN" => Warn,
        "INFO" => Info,
        "DEBUG" => Debug,
        "TRACE" => Trace,
        "OFF" => Off,
        _ => return Err("write DEBUG, INFO, WARNING, ERROR or CRITICAL".to_owned()),
    })
}
