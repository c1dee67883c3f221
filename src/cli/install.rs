//! `install`: what it takes to run under systemd, put into its places.
//!
//! The unit is this program's own and is brought up to date; what a person may have edited (configuration, variables,
//! drop-in) is created where it is missing and never touched again. Nothing is started: the commands that do so are
//! printed, to be read first.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::arguments::Install;
use super::exit::{Exit, Failure};
use super::out::{Cell, Out, Tone, written};
use super::setup::Setup;
use crate::config::SHIPPED_FILE;

/// The units as they are shipped, for a binary in `/usr/bin`.
const SYSTEM_UNIT: &str = include_str!("../../settings/aclarai-scheduler.service");
const USER_UNIT: &str = include_str!("../../settings/aclarai-scheduler.user.service");
const DROP_IN: &str = include_str!("../../settings/aclarai-scheduler.service.d/local.conf");

/// The program and its configuration as the units and the drop-in name them, to be replaced by the real ones.
const SHIPPED_SYSTEM_COMMAND: &str =
    "/usr/bin/aclarai-scheduler --config /etc/aclarai-scheduler/aclarai.config.yaml";
const SHIPPED_USER_COMMAND: &str =
    "/usr/bin/aclarai-scheduler --config %E/aclarai-scheduler/aclarai.config.yaml";

/// The line of the shipped configuration that says where the vault is, as far as it is to be replaced.
const SHIPPED_VAULT: &str = "\n  vault: /vault ";

/// The file that holds the secrets, and is therefore there from the start with the right mode.
const ENVIRONMENT: &str = include_str!("../../settings/environment");

pub(super) fn install(setup: &Setup<'_>, arguments: &Install) -> Result<Exit, Failure> {
    if setup.global.state_dir.is_some() {
        return Err(Failure::usage(
            "install keeps to the state folder of the unit: leave --state-dir out, or change the unit in a drop-in",
        ));
    }
    let program = std::env::current_exe().map_err(|error| {
        Failure::unavailable(format!("cannot tell where this program is: {error}"))
    })?;
    let places = if arguments.user {
        Places::of_user(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
            .ok_or_else(|| {
                Failure::usage("HOME is not set: set it, or install for the machine without --user")
            })?
    } else {
        Places::of_system()
    };
    let plan = Installation::new(
        places,
        &program,
        setup.global.config.as_deref(),
        setup.global.vault.as_deref(),
    )?;
    let mut done = Vec::new();
    for step in &plan.steps {
        let outcome = if arguments.dry_run { step.look() } else { step.take() };
        let outcome = outcome.map_err(|error| refused(&step.path, &error, arguments.user))?;
        done.push(vec![outcome.cell(arguments.dry_run), step.path.display().to_string().into()]);
    }
    let mut out = Out::stdout();
    let mut say = || -> io::Result<()> {
        out.table(&done)?;
        for note in &plan.notes {
            writeln!(out)?;
            writeln!(out, "note: {note}")?;
        }
        writeln!(out)?;
        writeln!(out, "next:")?;
        for command in &plan.next {
            writeln!(out, "  {command}")?;
        }
        out.flush()
    };
    written(say(), Exit::Done)
}

fn refused(path: &Path, error: &io::Error, user: bool) -> Failure {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied if !user => ": run it as root, or with --user",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ": make room on the disk",
        _ => "",
    };
    Failure::unavailable(format!("{}: cannot be written: {error}{remedy}", path.display()))
}

/// Where things go.
struct Places {
    units: PathBuf,
    settings: PathBuf,
    /// Made here for a user; for the machine, systemd makes it and gives it to the service's user.
    state: Option<PathBuf>,
    user: bool,
}

impl Places {
    fn of_system() -> Places {
        Places {
            units: "/etc/systemd/system".into(),
            settings: "/etc/aclarai-scheduler".into(),
            state: None,
            user: false,
        }
    }

    /// The folders of the user whose variables these are; `None` without a home.
    fn of_user(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<Places> {
        let home = variable("HOME").map(PathBuf::from);
        let below = |name, folder| {
            variable(name).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(folder)))
        };
        let (settings, state) =
            (below("XDG_CONFIG_HOME", ".config")?, below("XDG_STATE_HOME", ".local/state")?);
        Some(Places {
            units: settings.join("systemd/user"),
            settings: settings.join("aclarai-scheduler"),
            state: Some(state.join("aclarai-scheduler")),
            user: true,
        })
    }
}

/// Everything there is to do, and to say.
struct Installation {
    steps: Vec<Step>,
    notes: Vec<String>,
    next: Vec<String>,
}

impl Installation {
    fn new(
        places: Places,
        program: &Path,
        config: Option<&Path>,
        vault: Option<&Path>,
    ) -> Result<Installation, Failure> {
        let config = match config {
            Some(path) => std::path::absolute(path)
                .map_err(|error| Failure::usage(format!("--config: {error}")))?,
            None => places.settings.join("aclarai.config.yaml"),
        };
        let command = format!("{} --config {}", quoted(program)?, quoted(&config)?);
        let mut notes = Vec::new();
        if !places.user && !is_reachable_by_all(program) {
            notes.push(format!(
                "other users cannot run {}: copy it to /usr/local/bin and install from there",
                program.display()
            ));
        }
        if vault.is_some() && config.symlink_metadata().is_ok() {
            notes.push(format!(
                "{} is there already: --vault is not written into it",
                config.display()
            ));
        }
        let (unit, shipped) = match places.user {
            true => (USER_UNIT, SHIPPED_USER_COMMAND),
            false => (SYSTEM_UNIT, SHIPPED_SYSTEM_COMMAND),
        };
        let mut steps = Vec::new();
        steps.extend(places.state.as_deref().map(Step::folder));
        steps.push(Step::file(&config, &configuration(vault)?, 0o644, Rule::Keep));
        let environment = places.settings.join("environment");
        steps.push(Step::file(&environment, ENVIRONMENT, 0o600, Rule::Keep));
        let name = "aclarai-scheduler.service";
        let unit_file = places.units.join(name);
        steps.push(Step::file(&unit_file, &unit.replace(shipped, &command), 0o644, Rule::Renew));
        if !places.user {
            let file = places.units.join(format!("{name}.d/local.conf"));
            let example = DROP_IN.replace(shipped, &command);
            steps.push(Step::file(&file, &example, 0o644, Rule::Keep));
        }
        Ok(Installation { steps, notes, next: next_commands(places.user, &config) })
    }
}

/// The commands that a person types once the files are there.
fn next_commands(user: bool, config: &Path) -> Vec<String> {
    let config = config.display();
    if user {
        return vec![
            format!("$EDITOR {config}    # where the vault is: paths.vault"),
            format!(
                "export ACLARAI_CONFIG={config}    # in your shell's profile too, for commands by hand"
            ),
            "aclarai-scheduler check".to_owned(),
            "systemctl --user daemon-reload".to_owned(),
            "systemctl --user enable --now aclarai-scheduler".to_owned(),
            "loginctl enable-linger    # so that it runs while you are not logged in".to_owned(),
        ];
    }
    vec![
        "useradd --system --user-group --home-dir /var/lib/aclarai-scheduler --no-create-home \
         --shell /usr/sbin/nologin aclarai-scheduler    # once"
            .to_owned(),
        format!("$EDITOR {config}    # where the vault is: paths.vault"),
        "systemctl daemon-reload".to_owned(),
        "systemctl enable --now aclarai-scheduler".to_owned(),
        "systemctl status aclarai-scheduler".to_owned(),
    ]
}

/// The shipped configuration, with this vault in it.
fn configuration(vault: Option<&Path>) -> Result<String, Failure> {
    let Some(vault) = vault else { return Ok(SHIPPED_FILE.to_owned()) };
    let vault =
        std::path::absolute(vault).map_err(|error| Failure::usage(format!("--vault: {error}")))?;
    let text = vault.to_str().ok_or_else(|| {
        Failure::usage(format!(
            "--vault {}: not UTF-8, which YAML must be: rename it",
            vault.display()
        ))
    })?;
    // A JSON string is a YAML string, whatever is in it.
    let text = serde_json::to_string(text).expect("text is always JSON");
    Ok(SHIPPED_FILE.replacen(SHIPPED_VAULT, &format!("\n  vault: {text} "), 1))
}

/// A path as a word of a command line in a unit: `%` and `$` stand for other things there.
fn quoted(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    let text = text.ok_or_else(|| {
        Failure::usage(format!("{}: a unit cannot name this path: rename it", path.display()))
    })?;
    let text = text.replace('%', "%%").replace('$', "$$");
    if text.chars().all(|c| c.is_alphanumeric() || "/._-+@:,=%$".contains(c)) {
        return Ok(text);
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Whether the permissions of a file and of the folders above it let everybody run it.
fn is_reachable_by_all(path: &Path) -> bool {
    path.ancestors().all(|part| {
        let mode = part.metadata().map(|metadata| metadata.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o001 != 0)
    })
}

/// One thing to create.
struct Step {
    path: PathBuf,
    content: Content,
}

enum Content {
    Folder,
    File { text: String, mode: u32, rule: Rule },
}

/// The rule for a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It is somebody's: it stays.
    Keep,
    /// It is ours: it is replaced, and the old one kept beside it in case somebody edited it after all.
    Renew,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepEnd {
    Created,
    Kept,
    UpToDate,
    Replaced,
}

impl StepEnd {
    fn cell(self, dry_run: bool) -> Cell {
        let (word, would, tone) = match self {
            StepEnd::Created => ("created", "would create", Tone::Good),
            StepEnd::Kept => ("kept", "would keep", Tone::Plain),
            StepEnd::UpToDate => ("up to date", "up to date", Tone::Plain),
            StepEnd::Replaced => ("replaced (see .old)", "would replace", Tone::Doubtful),
        };
        Cell::new(if dry_run { would } else { word }, tone)
    }
}

impl Step {
    fn folder(path: &Path) -> Step {
        Step { path: path.to_owned(), content: Content::Folder }
    }

    fn file(path: &Path, text: &str, mode: u32, rule: Rule) -> Step {
        let content = Content::File { text: text.to_owned(), mode, rule };
        Step { path: path.to_owned(), content }
    }

    /// The end that it would have.
    fn look(&self) -> io::Result<StepEnd> {
        // A link that leads nowhere is somebody's too.
        if self.path.symlink_metadata().is_err() {
            return Ok(StepEnd::Created);
        }
        match &self.content {
            Content::File { text, rule: Rule::Renew, .. } => {
                Ok(if fs::read(&self.path)? == text.as_bytes() {
                    StepEnd::UpToDate
                } else {
                    StepEnd::Replaced
                })
            }
            _ => Ok(StepEnd::Kept),
        }
    }

    fn take(&self) -> io::Result<StepEnd> {
        let outcome = self.look()?;
        match (&self.content, outcome) {
            (_, StepEnd::Kept | StepEnd::UpToDate) => {}
            (Content::Folder, _) => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?
            }
            (Content::File { text, mode, .. }, _) => {
                if let Some(folder) = self.path.parent() {
                    fs::create_dir_all(folder)?;
                }
                if outcome == StepEnd::Replaced {
                    fs::rename(&self.path, format!("{}.old", self.path.display()))?;
                }
                // A file put there since the look is kept.
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(*mode).open(&self.path)?;
                file.set_permissions(fs::Permissions::from_mode(*mode))?;
                file.write_all(text.as_bytes())?;
            }
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Env, Overrides};

    fn plan_for(home: &Path, vault: Option<&str>) -> Installation {
        let places = Places::of_user(|name| (name == "HOME").then(|| home.into())).unwrap();
        Installation::new(places, Path::new("/opt/my tools/aclarai"), None, vault.map(Path::new))
            .unwrap_or_else(|_| panic!())
    }

    fn take(plan: &Installation) -> Vec<StepEnd> {
        plan.steps.iter().map(|step| step.take().unwrap()).collect()
    }

    #[test]
    fn a_second_time_only_the_unit_is_renewed() {
        use StepEnd::*;
        let home = tempfile::tempdir().unwrap();
        let plan = plan_for(home.path(), None);
        let looked: Vec<StepEnd> = plan.steps.iter().map(|step| step.look().unwrap()).collect();
        assert_eq!(looked, [Created; 4]);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);

        assert_eq!(take(&plan), [Created; 4]);
        assert_eq!(take(&plan), [Kept, Kept, Kept, UpToDate]);
        let [_, config, environment, unit] = &plan.steps[..] else { panic!() };
        for step in [config, environment, unit] {
            fs::write(&step.path, "mine").unwrap();
        }
        assert_eq!(take(&plan), [Kept, Kept, Kept, Replaced]);
        assert_eq!(fs::read_to_string(&config.path).unwrap(), "mine");
        assert_eq!(fs::read_to_string(format!("{}.old", unit.path.display())).unwrap(), "mine");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&environment.path), 0o600);
        assert_eq!(mode(&plan.steps[0].path), 0o700);
    }

    #[test]
    fn the_unit_names_the_real_program_and_configuration() {
        let home = tempfile::tempdir().unwrap();
        let plan = plan_for(home.path(), None);
        let Content::File { text, .. } = &plan.steps[3].content else { panic!() };
        let config = home.path().join(".config/aclarai-scheduler/aclarai.config.yaml");
        let expected =
            format!("\nExecStart=\"/opt/my tools/aclarai\" --config {} serve\n", config.display());
        assert!(text.contains(&expected), "{text}");

        let plan =
            Installation::new(Places::of_system(), Path::new("/usr/local/bin/x"), None, None);
        let plan = plan.unwrap_or_else(|_| panic!());
        let texts = plan.steps.iter().filter_map(|step| match &step.content {
            Content::File { text, .. } => Some(text.as_str()),
            Content::Folder => None,
        });
        assert!(texts.clone().all(|text| !text.contains("/usr/bin/aclarai-scheduler")));
        assert_eq!(
            texts.filter(|text| text.contains("ExecStart=/usr/local/bin/x --config /etc/")).count(),
            2
        );
    }

    #[test]
    fn the_configuration_has_the_vault_that_was_named() {
        let vault = "/my \"notes\": # all";
        let text = configuration(Some(Path::new(vault))).unwrap_or_else(|_| panic!());
        let env = Env::new("/nowhere", [("HOME", "/home/me")]);
        let config = config::from_text(&text, "c.yaml", &Overrides::default(), &env).unwrap();
        assert_eq!(config.vault.root, Path::new(vault));
    }

    #[test]
    fn words_of_a_unit_are_quoted_where_they_must_be() {
        for (path, expected) in [
            ("/usr/bin/x", "/usr/bin/x"),
            ("/my bin/x", "\"/my bin/x\""),
            ("/100%/$x", "/100%%/$$x"),
            ("/a\"b\\c", "\"/a\\\"b\\\\c\""),
        ] {
            assert_eq!(quoted(Path::new(path)).unwrap_or_else(|_| panic!()), expected);
        }
        assert!(quoted(Path::new("/a\nb")).is_err());
    }
}
