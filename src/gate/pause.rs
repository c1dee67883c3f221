//! The switch that stops everything scheduled: the file `.aclarai_pause` in the vault, or `AUTOMATION_PAUSE`.
//!
//! Both are looked at each time the question is asked and nothing is remembered between, so that a pause needs no
//! reload and its end no restart. The meaning of a pause for a job is the scheduler's business.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::config::{BY_ENVIRONMENT, Config, Env};

/// The name of the pause file, in the root of the vault.
pub(crate) const PAUSE_FILE: &str = ".aclarai_pause";

/// A pause: what asks for it, at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// The pause file.
    pub file: Option<String>,
    /// `AUTOMATION_PAUSE`, and where it is set.
    pub variable: Option<String>,
}

impl Pause {
    /// Whether the environment asks, and not `.env`.
    pub(crate) fn is_by_environment(variable: &str) -> bool {
        variable.ends_with(BY_ENVIRONMENT)
    }

    /// A pause, if anything asks for one.
    pub(crate) fn of(file: Option<String>, variable: Option<String>) -> Option<Pause> {
        (file.is_some() || variable.is_some()).then_some(Pause { file, variable })
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<&str> =
            [&self.file, &self.variable].into_iter().flatten().map(String::as_str).collect();
        f.write_str(&parts.join(" and "))
    }
}

/// The pause file of one vault, and the variable.
#[derive(Clone)]
pub(crate) struct PauseSwitch {
    vault: PathBuf,
    file: PathBuf,
    env: Env,
    heeds_file: bool,
}

impl PauseSwitch {
    /// The switch of the vault at `vault`, with the variable as `env` has it.
    pub(crate) fn new(vault: &Path, env: Env) -> PauseSwitch {
        PauseSwitch { vault: vault.to_owned(), file: vault.join(PAUSE_FILE), env, heeds_file: true }
    }

    /// The switch under this configuration, which may have it that the file is not looked at.
    pub(crate) fn of(config: &Config, env: Env) -> PauseSwitch {
        let heeds_file = config.scheduler.pause_file;
        PauseSwitch { heeds_file, ..PauseSwitch::new(&config.vault.root, env) }
    }

    /// Where the pause file is, or would be.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Why nothing scheduled may run: what asks for the pause. `None` when nothing does.
    ///
    /// Anything of that name counts, be it a folder or a link that leads nowhere: whoever put it there meant a pause.
    /// A vault that cannot be looked into asks for nothing: its sync will say what is wrong, and jobs that do without
    /// the vault go on.
    pub(crate) fn look(&self) -> Option<Pause> {
        let look = || self.file.symlink_metadata().ok().map(|_| self.file.display().to_string());
        Pause::of(self.heeds_file.then(look).flatten(), self.env.asks_for_pause())
    }

    /// The same for a process in another environment that reads the same `.env`.
    pub(crate) fn look_past_environment(&self) -> Option<Pause> {
        PauseSwitch { env: self.env.without_pause(), ..self.clone() }.look()
    }

    /// The folder in which `.env` is looked for.
    pub(crate) fn folder(&self) -> &Path {
        self.env.cwd()
    }

    /// Creates the pause file, empty. False if there is one already.
    pub(crate) fn create(&self) -> Result<bool, PauseError> {
        // `create_new` makes the file in one step or not at all, and does not follow a link out of the vault.
        match fs::File::create_new(&self.file) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.error("create", error)),
        }
    }

    /// Removes the pause file; of a link, the link and not what it leads to. False if there is none. The variable may
    /// still ask for a pause: see [`look`](PauseSwitch::look).
    pub(crate) fn remove(&self) -> Result<bool, PauseError> {
        match fs::remove_file(&self.file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound && self.vault.is_dir() => Ok(false),
            Err(error) => Err(self.error("remove", error)),
        }
    }

    fn error(&self, action: &'static str, cause: io::Error) -> PauseError {
        if !self.vault.is_dir()
            && matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        {
            return PauseError::NoVault(self.vault.clone());
        }
        let remedy = match cause.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "run this as the owner of the vault, or set AUTOMATION_PAUSE"
            }
            ErrorKind::IsADirectory => "there is a folder of this name: remove it",
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "make room on the disk, or set AUTOMATION_PAUSE"
            }
            _ => "look at the vault's disk, or set AUTOMATION_PAUSE",
        };
        PauseError::File { file: self.file.clone(), action, cause, remedy }
    }
}

/// Why the pause file could not be created or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PauseError {
    /// The vault is not there, so there is no place for the file.
    #[error("{}: no such vault folder: set paths.vault or VAULT_PATH", .0.display())]
    NoVault(PathBuf),
    /// The system refuses.
    #[error("{}: cannot {action} the pause file: {cause}: {remedy}", .file.display())]
    File {
        /// The pause file.
        file: PathBuf,
        /// `create` or `remove`.
        action: &'static str,
        /// The system's own error.
        cause: io::Error,
        /// The remedy.
        remedy: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn why(switch: &PauseSwitch) -> Option<String> {
        switch.look().map(|pause| pause.to_string())
    }

    struct Vault {
        folder: tempfile::TempDir,
    }

    impl Vault {
        fn new() -> Vault {
            Vault { folder: tempfile::tempdir().unwrap() }
        }

        fn switch(&self, variable: Option<&str>) -> PauseSwitch {
            let variables = variable.map(|value| ("AUTOMATION_PAUSE", value));
            PauseSwitch::new(self.folder.path(), Env::new(self.folder.path(), variables))
        }
    }

    #[test]
    fn the_file_pauses_and_resumes_without_a_restart() {
        let vault = Vault::new();
        let switch = vault.switch(None);
        assert_eq!(why(&switch), None);
        assert!(switch.create().unwrap() && !switch.create().unwrap());
        assert_eq!(why(&switch), Some(switch.file().display().to_string()));
        assert!(switch.remove().unwrap() && !switch.remove().unwrap());
        assert_eq!(why(&switch), None);
    }

    #[test]
    fn the_variable_pauses_in_any_of_its_words() {
        let vault = Vault::new();
        for (value, paused) in [
            ("true", true),
            ("TRUE", true),
            ("1", true),
            ("Yes", true),
            ("oN", true),
            ("false", false),
            ("0", false),
            ("", false),
            ("maybe", false),
        ] {
            let why = why(&vault.switch(Some(value)));
            let expected = format!("AUTOMATION_PAUSE={value} in the environment");
            assert_eq!(why, paused.then_some(expected), "{value}");
        }
    }

    #[test]
    fn dotenv_is_read_anew_and_the_environment_outranks_it() {
        let vault = Vault::new();
        let dotenv = vault.folder.path().join(".env");
        let switch = vault.switch(None);
        fs::write(&dotenv, "# maintenance\nAUTOMATION_PAUSE=yes\n").unwrap();
        assert_eq!(why(&switch).unwrap(), "AUTOMATION_PAUSE=yes (.env:2)");
        assert_eq!(why(&vault.switch(Some("false"))), None);
        fs::write(&dotenv, "AUTOMATION_PAUSE=no\n").unwrap();
        assert_eq!(why(&switch), None);
    }

    #[test]
    fn what_asks_for_the_pause_is_named_all_of_it() {
        let switch = Vault::new();
        let switch = switch.switch(Some("on"));
        switch.create().unwrap();
        let expected =
            format!("{} and AUTOMATION_PAUSE=on in the environment", switch.file().display());
        assert_eq!(why(&switch), Some(expected));
    }

    #[test]
    fn a_link_is_a_pause_and_is_never_followed() {
        let (vault, outside) = (Vault::new(), tempfile::tempdir().unwrap());
        let switch = vault.switch(None);
        let target = outside.path().join("precious");
        symlink(&target, switch.file()).unwrap();
        assert!(why(&switch).is_some(), "also while it leads nowhere");
        assert!(!switch.create().unwrap());
        assert!(!target.exists(), "nothing was created through the link");
        fs::write(&target, "kept").unwrap();
        assert!(switch.remove().unwrap());
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }

    #[test]
    fn what_is_in_the_way_is_said_with_a_remedy() {
        let vault = Vault::new();
        let switch = vault.switch(None);
        fs::create_dir(switch.file()).unwrap();
        let refusal = switch.remove().unwrap_err().to_string();
        assert!(refusal.contains("cannot remove the pause file"), "{refusal}");
        assert!(refusal.ends_with("there is a folder of this name: remove it"), "{refusal}");

        let file = vault.folder.path().join("a file");
        fs::write(&file, "").unwrap();
        for missing in [vault.folder.path().join("gone"), file] {
            let switch = PauseSwitch::new(&missing, Env::new("/", [("", ""); 0]));
            let expected = format!(
                "{}: no such vault folder: set paths.vault or VAULT_PATH",
                missing.display()
            );
            assert_eq!(switch.create().unwrap_err().to_string(), expected);
            assert_eq!(switch.remove().unwrap_err().to_string(), expected);
            assert_eq!(why(&switch), None);
        }
    }
}
