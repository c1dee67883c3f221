//! `check`: everything a run will need, looked at now: one line each, with what to do about it. Changes nothing.

mod program;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::arguments::Format;
use super::exit::{Exit, Failure};
use super::out::{Cell, Out, Tone, written};
use super::setup::Setup;
use crate::app::{App, AppError, Holder};
use crate::clock::{self, Clock, SystemClock};
use crate::config::{CommandSpec, Config, GraphConfig, JobSpec};
use crate::finding::{Finding, Level};
use crate::gate::PAUSE_FILE;
use crate::graph;
use crate::jobs::vault_sync;
use crate::sandbox::{self, InForce};
use crate::sqlite;
use crate::state::{DaemonLock, State, StateError};
use crate::stop::Stop;
use crate::text::instant;
use crate::vault::{self, Ignored};

pub(super) fn check(setup: &Setup<'_>, format: &Format) -> Result<Exit, Failure> {
    let mut findings = Findings::default();
    match setup.origin()?.load() {
        Ok(app) => findings.look_at(setup, &app)?,
        Err(error @ AppError::Kinds(_)) => return Err(error.into()),
        Err(AppError::Config(errors)) => {
            for fault in errors.faults() {
                findings.wrong("config", fault.to_string());
            }
        }
    }
    let mut out = Out::stdout();
    let result = findings.write(&mut out, format.json).and_then(|()| out.flush());
    written(result, Exit::Done)?;
    findings.judge()
}

/// The findings, in the order of the data's way through the program.
#[derive(Default)]
struct Findings {
    lines: Vec<Finding>,
    /// Whether the configuration itself is wrong.
    wrong: bool,
}

impl Findings {
    fn add(&mut self, name: impl Into<String>, level: Level, message: impl Into<String>) {
        self.lines.push(Finding { name: name.into(), level, message: message.into() });
    }

    /// A fault of the configuration.
    fn wrong(&mut self, name: impl Into<String>, message: impl Into<String>) {
        self.wrong = true;
        self.add(name, Level::Error, message);
    }

    fn look_at(&mut self, setup: &Setup<'_>, app: &App) -> Result<(), Failure> {
        let config = &app.config;
        self.config(config);
        if let Some(why) = clock::not_set(SystemClock.now()) {
            let remedy = "nothing is scheduled until it is set: set it, or wait until the network has set it";
            self.add("clock", Level::Warning, format!("{why}: {remedy}"));
        }
        self.jobs(app);
        self.vault(config);
        if let Some(why) = setup.paused(config)? {
            let has_variable = why.contains("AUTOMATION_PAUSE=");
            let has_file = why.contains(PAUSE_FILE);
            let remedy = match (has_file, has_variable) {
                (true, true) => "run `resume` and take the variable out",
                (_, true) => "take the variable out; `resume` does not reach it",
                _ => "run `resume`",
            };
            let message = format!("paused by {why}: nothing starts by schedule: {remedy}");
            self.add("pause", Level::Warning, message);
        }
        self.state(&config.state_dir);
        self.places(config);
        self.sandbox(config);
        let clock = Arc::new(SystemClock);
        self.lines.extend(graph::check(&config.graph, config.retries, Stop::new(), clock));
        self.lease(setup, config)
    }

    /// Which of several hosts runs the jobs.
    fn lease(&mut self, setup: &Setup<'_>, config: &Config) -> Result<(), Failure> {
        let Some(found) = setup.origin()?.lease_holder(config, LEASE_LOOK) else { return Ok(()) };
        match found {
            Ok(None) => self.add("lease", Level::Ok, "no host holds it"),
            Ok(Some(Holder { host, since, .. })) => {
                self.add("lease", Level::Ok, format!("{host} holds it since {}", instant(since)));
            }
            Err(error) => self.add("lease", Level::Error, error),
        }
        let reruns = |job: &Arc<JobSpec>| job.policy.rerun_interrupted && job.is_scheduled();
        if config.scheduler.jobs.values().any(reruns) {
            let message = "rerun_interrupted has no effect with a lease: a run that was cut off is not run again";
            self.add("lease", Level::Warning, message);
        }
        Ok(())
    }

    /// The walls that keep the threads of a sync to the vault, the state folder and the graph.
    fn sandbox(&mut self, config: &Config) {
        let (level, message) = match sandbox::probe() {
            _ if !config.scheduler.sandbox => {
                (Level::Ok, "off (scheduler.sandbox: false)".to_owned())
            }
            Ok(InForce::Whole) => (
                Level::Ok,
                "in force (Landlock): a sync reads the vault, writes the state folder and an embedded graph, and \
                 reaches nothing else; jobs with a command are outside of it"
                    .to_owned(),
            ),
            Ok(InForce::Part) => (
                Level::Ok,
                "in force in part (Landlock of an older kernel): files are walled off, connections are not".to_owned(),
            ),
            Ok(InForce::Nothing(why)) => (Level::Ok, format!("not in force: {why}")),
            Err(why) => (Level::Warning, format!("cannot be set up: {why}")),
        };
        self.add("sandbox", level, message);
    }

    fn config(&mut self, config: &Config) {
        let jobs = match config.scheduler.jobs.len() {
            1 => "1 job".to_owned(),
            count => format!("{count} jobs"),
        };
        match &config.source {
            Some(file) => self.add("config", Level::Ok, format!("{}: {jobs}", file.display())),
            None => self.add("config", Level::Ok, "all defaults"),
        }
        for warning in &config.warnings {
            self.add("config", Level::Warning, warning);
        }
        for note in &config.notes {
            self.add("config", Level::Ok, note);
        }
    }

    fn jobs(&mut self, app: &App) {
        let now = SystemClock.now();
        for spec in app.config.scheduler.jobs.values() {
            let name = format!("job.{}", spec.name);
            match app.not_runnable.get(&spec.name) {
                Some(remedy) => {
                    self.add(name, Level::Warning, format!("not runnable: {remedy}"));
                }
                None => {
                    let startable =
                        spec.command.as_ref().is_none_or(|command| self.program(&name, command));
                    if startable {
                        let (level, message) = schedule(spec, now);
                        self.add(&name, level, message);
                    }
                    self.remarks(&name, spec);
                }
            }
        }
        if let Some(argv) = &app.config.scheduler.on_fault {
            self.program("on_fault", &told(argv));
        }
    }

    /// The findings about a command; whether it could be started.
    fn program(&mut self, name: &str, command: &CommandSpec) -> bool {
        let found = program::look(command);
        let startable = found.iter().all(|(level, _)| *level != Level::Error);
        for (level, message) in found {
            self.add(name, level, message);
        }
        startable
    }

    /// The parts that a job does without, and whom it tells.
    fn remarks(&mut self, name: &str, spec: &JobSpec) {
        if spec.command.is_some() && spec.enabled && spec.policy.timeout.is_none() {
            let message =
                "no timeout: a run that hangs keeps its worker for ever; set timeout, such as 1 h";
            self.add(name, Level::Ok, message);
        }
        let policy = &spec.policy;
        let hooks = [
            ("on_failure", &policy.on_failure),
            ("on_recovery", &policy.on_recovery),
            ("on_success", &policy.on_success),
        ];
        for (key, argv) in hooks {
            if let Some(argv) = argv {
                self.program(&format!("{name}.{key}"), &told(argv));
            }
        }
    }

    /// Whether state and graph lie where they should not.
    fn places(&mut self, config: &Config) {
        let mut places = vec![("state", config.state_dir.as_path(), "--state-dir")];
        if let GraphConfig::Embedded { path } = &config.graph {
            // The graph goes with the state folder, unless a path of its own says otherwise.
            let lies_there = path.starts_with(&config.state_dir);
            let setting = if lies_there { "--state-dir" } else { "databases.embedded.path" };
            places.push(("graph", path, setting));
        }
        for (name, path, setting) in places {
            let Some(existing) = path.ancestors().find(|folder| folder.exists()) else { continue };
            let inside = |root: &Path| {
                let real = existing.canonicalize().unwrap_or_else(|_| existing.to_owned());
                real.starts_with(root)
            };
            if config.vault.root.canonicalize().is_ok_and(|root| inside(&root)) {
                let message = format!(
                    "{} lies in the vault: a program that syncs the vault would copy a database in use; choose another \
                     place with {setting}",
                    path.display()
                );
                self.add(name, Level::Warning, message);
            } else if vault::lies_on_network(existing) {
                let message = format!(
                    "{} lies on a network drive: locks and crashes are not safe there; choose a local folder with \
                     {setting}",
                    path.display()
                );
                self.add(name, Level::Warning, message);
            }
        }
        // Opening says this of a folder that is there; one that is yet to be made is made at the first run.
        if let GraphConfig::Embedded { path } = &config.graph
            && let Some(folder) = path.parent().filter(|folder| !folder.exists())
            && let Some(existing) = folder.ancestors().find(|folder| folder.exists())
        {
            // Opening has told of a file where a folder should be.
            let why = sqlite::may_make_in(existing).err();
            if let Some(why) = why.filter(|_| existing.is_dir()) {
                let remedy = "the graph cannot be made: correct databases.embedded.path";
                self.add("graph", Level::Error, format!("{}: {why}: {remedy}", existing.display()));
            }
        }
    }

    fn vault(&mut self, config: &Config) {
        let root = &config.vault.root;
        if let Err(error) = fs::read_dir(root) {
            let remedy = "set paths.vault, VAULT_PATH or --vault to a folder this user can read";
            self.add("vault", Level::Error, format!("{}: {error}: {remedy}", root.display()));
            return;
        }
        self.add("vault", Level::Ok, format!("{} can be read", root.display()));
        self.markers(config);
        // A vault scanned as a whole need not have the tiers' folders.
        let tiers = config.vault.tiers.iter().enumerate().filter(|_| !config.vault.whole);
        for (index, tier) in tiers {
            let Some(tier) = tier else { continue };
            let name = format!("vault.tier{}", index + 1);
            // A vault without tier folders has `.` for each.
            let path: PathBuf = root.join(tier).components().collect();
            match fs::read_dir(&path) {
                Ok(_) => self.add(name, Level::Ok, format!("{} can be read", path.display())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let remedy = "nothing of this tier is scanned: create it, or correct paths";
                    self.add(
                        name,
                        Level::Warning,
                        format!("{}: {error}: {remedy}", path.display()),
                    );
                }
                Err(error) => {
                    let remedy = "give this user the right to read it";
                    self.add(name, Level::Error, format!("{}: {error}: {remedy}", path.display()));
                }
            }
        }
    }

    /// An ordinary vault has no markers, and nothing of it gets into the graph: that is told here and not found out later.
    fn markers(&mut self, config: &Config) {
        let jobs = &config.scheduler.jobs;
        let spec = jobs.values().find(|spec| spec.kind() == "vault_sync" && spec.enabled);
        let Some(options) = spec.map(|spec| vault_sync::walk_options(spec)) else { return };
        let listing = match vault::list(&config.vault, &options, &Stop::new()) {
            Ok(listing) => listing,
            Err(error) => return self.add("vault", Level::Error, error.to_string()),
        };
        for Ignored { by, notes } in &listing.ignored {
            let count = if *notes == 1 { "1 note".to_owned() } else { format!("{notes} notes") };
            self.add("vault.ignored", Level::Ok, format!("{count} {by}"));
        }
        let looked_at = listing.files.iter().take(NOTES_LOOKED_AT);
        let has_marker = |path: &Path| {
            let read = fs::File::open(path).and_then(|file| {
                let mut text = Vec::new();
                file.take(BYTES_LOOKED_AT).read_to_end(&mut text).map(|_| text)
            });
            // A note that cannot be read may have one.
            read.map_or(true, |text| memchr::memmem::find(&text, b"aclarai:id=").is_some())
        };
        let mut paths = looked_at.map(|file| config.vault.root.join(file.path.as_path()));
        if !listing.files.is_empty() && !paths.any(|path| has_marker(&path)) {
            let count = listing.files.len();
            let message = format!(
                "no marker in any of the {count} notes: only marked blocks get into the graph. A marked block ends in \
                 `<!-- aclarai:id=blk_1 ver=1 -->` and is followed by a line `^blk_1`; see docs/first-steps.md"
            );
            self.add("vault.markers", Level::Warning, message);
        }
    }

    fn state(&mut self, dir: &Path) {
        // Another user's: nothing can be told of it, which is no fault of the folder.
        if let Err(error @ StateError::Unreadable { .. }) = State::open_existing(dir) {
            return self.wrong("state", error.to_string());
        }
        // The nearest folder that is there says whether the missing ones can be made.
        let existing = dir.ancestors().find(|folder| folder.exists()).unwrap_or(dir);
        if let Err(error) = sqlite::may_make_in(existing) {
            let remedy = "give this user the right to write there, or choose another folder with --state-dir";
            self.add("state", Level::Error, format!("{}: {error}: {remedy}", existing.display()));
            return;
        }
        match State::examine(dir) {
            Ok(()) if dir.exists() => {
                self.add("state", Level::Ok, format!("{} can be written", dir.display()))
            }
            Ok(()) => self.add("state", Level::Ok, format!("{} will be created", dir.display())),
            Err(error) => self.add("state", Level::Error, error.to_string()),
        }
        match DaemonLock::holder(dir) {
            Ok(Some(holder)) => self.add("daemon", Level::Ok, format!("running: {holder}")),
            Ok(None) => self.add("daemon", Level::Ok, "not running"),
            Err(error) => self.add("daemon", Level::Warning, error.to_string()),
        }
    }

    fn write(&self, out: &mut Out, json: bool) -> io::Result<()> {
        if json {
            let line = |line: &Finding| json!({"name": line.name, "level": word(line.level), "message": line.message});
            return out.json(&self.lines.iter().map(line).collect::<Vec<_>>());
        }
        let row = |line: &Finding| {
            let tone = match line.level {
                Level::Ok => Tone::Good,
                Level::Warning => Tone::Doubtful,
                Level::Error => Tone::Bad,
            };
            vec![
                Cell::new(word(line.level), tone),
                line.name.clone().into(),
                line.message.clone().into(),
            ]
        };
        out.table(&self.lines.iter().map(row).collect::<Vec<_>>())
    }

    fn judge(&self) -> Result<Exit, Failure> {
        let errors = self.lines.iter().filter(|line| line.level == Level::Error).count();
        match errors {
            0 => Ok(Exit::Done),
            _ => {
                let exit = if self.wrong { Exit::Usage } else { Exit::Unavailable };
                let things = if errors == 1 { "thing does" } else { "things do" };
                Err(Failure::new(
                    exit,
                    format!("{errors} {things} not work: see the lines marked error"),
                ))
            }
        }
    }
}

/// How many notes are looked at for a marker, and how much of each.
/// How long the server may take to say who holds the lease.
const LEASE_LOOK: Duration = Duration::from_secs(10);

const NOTES_LOOKED_AT: usize = 2_000;
const BYTES_LOOKED_AT: u64 = 1 << 20;

/// A command that tells somebody, as one that runs.
fn told(argv: &[String]) -> CommandSpec {
    CommandSpec { argv: argv.to_vec(), working_dir: None, env: BTreeMap::new() }
}

/// When a job runs.
fn schedule(spec: &JobSpec, now: DateTime<Utc>) -> (Level, String) {
    let after = spec.after.as_ref().map(|after| format!("after {}", after.job));
    let own = (!spec.schedule.to_string().is_empty()).then(|| spec.schedule.to_string());
    let when: Vec<String> = own.into_iter().chain(after).collect();
    let when = when.join(", ");
    if !spec.enabled {
        return (Level::Ok, "disabled".to_owned());
    }
    if spec.manual_only {
        return (Level::Ok, "manual only".to_owned());
    }
    if clock::not_set(now).is_some() {
        return (Level::Ok, format!("{when}: next known once the clock is set"));
    }
    match spec.schedule.next_after(now) {
        Some(next) => (Level::Ok, format!("{when}: next at {}", instant(next))),
        None if spec.after.is_some() || spec.schedule.fires_at_start() => (Level::Ok, when),
        None => {
            (Level::Warning, format!("{when}: never fires: correct the line, or set manual_only"))
        }
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}
