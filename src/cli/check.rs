//! `check`: everything a run will need, looked at now: one line each, with what to do about it. Changes nothing.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, access};
use serde_json::json;

use super::arguments::Format;
use super::exit::{Exit, Failure};
use super::out::{Cell, Out, Tone, written};
use super::setup::Setup;
use crate::app::{App, AppError};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, JobSpec};
use crate::graph::{self, CheckLevel, CheckLine};
use crate::sandbox::{self, InForce};
use crate::state::{DaemonLock, State};
use crate::stop::Stop;
use crate::text::instant;

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

/// What was found, in the order of the data's way through the program.
#[derive(Default)]
struct Findings {
    lines: Vec<CheckLine>,
    /// Whether the configuration itself is wrong.
    wrong: bool,
}

impl Findings {
    fn add(&mut self, name: impl Into<String>, level: CheckLevel, message: impl Into<String>) {
        self.lines.push(CheckLine { name: name.into(), level, message: message.into() });
    }

    /// A fault of the configuration.
    fn wrong(&mut self, name: impl Into<String>, message: impl Into<String>) {
        self.wrong = true;
        self.add(name, CheckLevel::Error, message);
    }

    fn look_at(&mut self, setup: &Setup<'_>, app: &App) -> Result<(), Failure> {
        let config = &app.config;
        self.config(config);
        self.jobs(app);
        self.vault(config);
        if let Some(why) = setup.pause(config)?.is_paused() {
            let remedy = "nothing starts by schedule until that is removed or `resume` is run";
            self.add("pause", CheckLevel::Warning, format!("paused by {why}: {remedy}"));
        }
        self.state(&config.state_dir);
        self.sandbox(config);
        let clock = Arc::new(SystemClock);
        self.lines.extend(graph::check(&config.graph, config.retries, Stop::new(), clock));
        Ok(())
    }

    /// What keeps the threads of a sync away from all but the vault, the state folder and the graph.
    fn sandbox(&mut self, config: &Config) {
        let (level, message) = match sandbox::probe() {
            _ if !config.scheduler.sandbox => {
                (CheckLevel::Ok, "off (scheduler.sandbox: false)".to_owned())
            }
            Ok(InForce::Whole) => (
                CheckLevel::Ok,
                "in force (Landlock): a sync reads the vault, writes the state folder and an embedded graph, and \
                 reaches nothing else; jobs with a command are outside of it"
                    .to_owned(),
            ),
            Ok(InForce::Part) => (
                CheckLevel::Ok,
                "in force in part (Landlock of an older kernel): files are walled off, connections are not".to_owned(),
            ),
            Ok(InForce::Nothing(why)) => (CheckLevel::Ok, format!("not in force: {why}")),
            Err(why) => (CheckLevel::Warning, format!("cannot be set up: {why}")),
        };
        self.add("sandbox", level, message);
    }

    fn config(&mut self, config: &Config) {
        let jobs = match config.scheduler.jobs.len() {
            1 => "1 job".to_owned(),
            count => format!("{count} jobs"),
        };
        match &config.source {
            Some(file) => self.add("config", CheckLevel::Ok, format!("{}: {jobs}", file.display())),
            None => self.add("config", CheckLevel::Ok, "all defaults"),
        }
        for warning in &config.warnings {
            self.add("config", CheckLevel::Warning, warning);
        }
        for note in &config.notes {
            self.add("config", CheckLevel::Ok, note);
        }
    }

    fn jobs(&mut self, app: &App) {
        let now = SystemClock.now();
        for spec in app.config.scheduler.jobs.values() {
            let name = format!("job.{}", spec.name);
            match app.not_runnable.get(&spec.name) {
                Some(remedy) => {
                    self.add(name, CheckLevel::Warning, format!("not runnable: {remedy}"));
                }
                None => match (program_fault(spec), spec.schedule.next_after(now)) {
                    (Some(fault), _) => self.add(name, CheckLevel::Error, fault),
                    (None, _) if !spec.enabled => self.add(name, CheckLevel::Ok, "disabled"),
                    (None, _) if spec.manual_only => self.add(name, CheckLevel::Ok, "manual only"),
                    (None, Some(next)) => {
                        let message = format!("{}: next at {}", spec.schedule, instant(next));
                        self.add(name, CheckLevel::Ok, message);
                    }
                    (None, None) => {
                        let message = format!(
                            "{}: never fires: correct the line, or set manual_only",
                            spec.schedule
                        );
                        self.add(name, CheckLevel::Warning, message);
                    }
                },
            }
        }
    }

    fn vault(&mut self, config: &Config) {
        let root = &config.vault.root;
        if let Err(error) = fs::read_dir(root) {
            let remedy = "set paths.vault, VAULT_PATH or --vault to a folder this user can read";
            self.add("vault", CheckLevel::Error, format!("{}: {error}: {remedy}", root.display()));
            return;
        }
        self.add("vault", CheckLevel::Ok, format!("{} can be read", root.display()));
        // What is scanned as a whole need not have the tiers' folders.
        let tiers = config.vault.tiers.iter().enumerate().filter(|_| !config.vault.whole);
        for (index, tier) in tiers {
            let Some(tier) = tier else { continue };
            let name = format!("vault.tier{}", index + 1);
            // A vault without tier folders has `.` for each.
            let path: PathBuf = root.join(tier).components().collect();
            match fs::read_dir(&path) {
                Ok(_) => self.add(name, CheckLevel::Ok, format!("{} can be read", path.display())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let remedy = "nothing of this tier is scanned: create it, or correct paths";
                    self.add(
                        name,
                        CheckLevel::Warning,
                        format!("{}: {error}: {remedy}", path.display()),
                    );
                }
                Err(error) => {
                    let remedy = "give this user the right to read it";
                    self.add(
                        name,
                        CheckLevel::Error,
                        format!("{}: {error}: {remedy}", path.display()),
                    );
                }
            }
        }
    }

    fn state(&mut self, dir: &Path) {
        // The nearest folder that is there says whether the missing ones can be made.
        let existing = dir.ancestors().find(|folder| folder.exists()).unwrap_or(dir);
        if let Err(error) = access(existing, Access::WRITE_OK | Access::EXEC_OK) {
            let error = io::Error::from(error);
            let remedy = "give this user the right to write there, or choose another folder with --state-dir";
            self.add(
                "state",
                CheckLevel::Error,
                format!("{}: {error}: {remedy}", existing.display()),
            );
            return;
        }
        match State::examine(dir) {
            Ok(()) if dir.exists() => {
                self.add("state", CheckLevel::Ok, format!("{} can be written", dir.display()))
            }
            Ok(()) => {
                self.add("state", CheckLevel::Ok, format!("{} will be created", dir.display()))
            }
            Err(error) => self.add("state", CheckLevel::Error, error.to_string()),
        }
        match DaemonLock::holder(dir) {
            Ok(Some(holder)) => self.add("daemon", CheckLevel::Ok, format!("running: {holder}")),
            Ok(None) => self.add("daemon", CheckLevel::Ok, "not running"),
            Err(error) => self.add("daemon", CheckLevel::Warning, error.to_string()),
        }
    }

    fn write(&self, out: &mut Out, json: bool) -> io::Result<()> {
        if json {
            let line = |line: &CheckLine| json!({"name": line.name, "level": word(line.level), "message": line.message});
            return out.json(&self.lines.iter().map(line).collect::<Vec<_>>());
        }
        let row = |line: &CheckLine| {
            let tone = match line.level {
                CheckLevel::Ok => Tone::Good,
                CheckLevel::Warning => Tone::Doubtful,
                CheckLevel::Error => Tone::Bad,
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
        let errors = self.lines.iter().filter(|line| line.level == CheckLevel::Error).count();
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

fn word(level: CheckLevel) -> &'static str {
    match level {
        CheckLevel::Ok => "ok",
        CheckLevel::Warning => "warning",
        CheckLevel::Error => "error",
    }
}

/// Why the program of a command job could not be started, as far as that can be seen without starting it.
fn program_fault(spec: &JobSpec) -> Option<String> {
    let command = spec.command.as_ref()?;
    if let Some(folder) = command.working_dir.as_deref().filter(|folder| !folder.is_dir()) {
        return Some(format!("working_dir {}: no such folder", folder.display()));
    }
    let program = command.argv.first()?;
    let is_program = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let path = command.working_dir.as_deref().unwrap_or(Path::new("")).join(program);
        return match is_program(&path) {
            true => None,
            false if path.exists() => Some(format!("not executable: {program} (chmod +x it)")),
            false => Some(format!("not found: {program}")),
        };
    }
    let path = command.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH"));
    let path = path.unwrap_or_default();
    let found = path
        .as_bytes()
        .split(|byte| *byte == b':')
        .any(|folder| is_program(&Path::new(std::ffi::OsStr::from_bytes(folder)).join(program)));
    (!found).then(|| {
        format!("not found: {program} (in no folder of PATH; write its full path in command)")
    })
}
