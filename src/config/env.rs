//! The environment: which variable stands for which path of the YAML file.
//!
//! The process is asked once, into a plain map ([`Env`]), so that nothing behind it depends on the process. A `.env`
//! file in the current folder adds variables that the process does not have; it is read anew at each use, so that a
//! change in it counts at the next reload.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{ConfigErrors, Mistake, Place};
use super::given::{Findings, Given, Origin};
use super::shown::shown_text;
use super::value::flag_word;
use super::{dotenv, source};
use crate::text::visible;

/// Each variable and the path it outranks. The two of each job are made of its name: see [`variable_of_job`].
pub(super) const VARIABLES: [(&str, &str); 11] = [
    ("VAULT_PATH", "paths.vault"),
    ("VAULT_TIER1_PATH", "paths.tier1"),
    ("VAULT_SUMMARIES_PATH", "paths.tier2"),
    ("VAULT_CONCEPTS_PATH", "paths.tier3"),
    ("NEO4J_URI", "databases.neo4j.uri"),
    ("NEO4J_HOST", "databases.neo4j.host"),
    ("NEO4J_BOLT_PORT", "databases.neo4j.port"),
    ("NEO4J_USER", "databases.neo4j.user"),
    ("NEO4J_PASSWORD", "databases.neo4j.password"),
    ("LOG_LEVEL", "logging.level"),
    ("ACLARAI_LISTEN", "scheduler.listen"),
];

/// The file with variables, in the current folder.
const NAME: &str = ".env";

/// Pauses everything scheduled. Not a setting: it is looked at whenever a job fires.
const AUTOMATION_PAUSE: &str = "AUTOMATION_PAUSE";

/// How a pause ends in words that the environment of the process asks for.
pub(crate) const BY_ENVIRONMENT: &str = "in the environment";

/// The surroundings of the process: its variables and its current folder.
#[derive(Clone)]
pub struct Env {
    variables: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
}

impl fmt::Debug for Env {
    /// Without the variables: one of them may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("cwd", &self.cwd).finish_non_exhaustive()
    }
}

impl Env {
    /// The environment of this process.
    pub fn of_process() -> Result<Env, ConfigErrors> {
        let cwd = std::env::current_dir().map_err(|error| Mistake {
            subject: "current folder".to_owned(),
            value: None,
            message: format!("{error}: go to a folder that exists"),
            place: Place::Nowhere,
        })?;
        Ok(Env { variables: std::env::vars_os().collect(), cwd })
    }

    /// An environment made up for the occasion; nothing is taken from the process.
    pub fn new<K, V>(cwd: impl Into<PathBuf>, variables: impl IntoIterator<Item = (K, V)>) -> Env
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Env { variables: variables.collect(), cwd: cwd.into() }
    }

    /// The current folder, which relative paths start from.
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// A path of the command line, from the current folder; `~/x` is below the home folder, as most shells leave the `~` of
    /// `--vault=~/x` alone.
    pub fn path(&self, written: &Path) -> PathBuf {
        let home = self.variables.get(OsStr::new("HOME")).filter(|home| !home.is_empty());
        self.cwd.join(with_home(written, home.map(OsString::as_os_str)))
    }

    /// The variables that `.env` adds to the environment: a program started by this one should find it too, as it would if it had
    /// read the file itself. Empty where the file cannot be read; [`load`](super::load) says so.
    ///
    /// Names that decide which code a program loads (`LD_PRELOAD`, `PATH`, `PYTHONPATH`) are never among them.
    pub fn dotenv(&self) -> BTreeMap<String, String> {
        let Ok((variables, _)) = Variables::read(self) else { return BTreeMap::new() };
        let added = variables.added().map(|(name, (value, _))| (name.clone(), value.clone()));
        added.collect()
    }

    /// Whether `AUTOMATION_PAUSE` asks for a pause (true, 1, yes or on in any case), and if so, what asks: the variable
    /// in the environment or, failing that, in `.env`, which is read anew so that an edit there pauses and resumes a
    /// running daemon. A file that cannot be read asks for nothing; [`load`](super::load) warns of it.
    pub fn asks_for_pause(&self) -> Option<String> {
        let (variables, _) = Variables::read(self).ok()?;
        let Given { value, origin } = variables.get(AUTOMATION_PAUSE)?;
        let value = value.to_string_lossy();
        flag_word(&value)?.then(|| match origin {
            Origin::Variable { dotenv_line: Some(line), .. } => {
                format!("{AUTOMATION_PAUSE}={} (.env:{line})", value.trim())
            }
            _ => format!("{AUTOMATION_PAUSE}={} {BY_ENVIRONMENT}", value.trim()),
        })
    }

    /// The same environment with `AUTOMATION_PAUSE` out of it, so that only `.env` may ask for a pause.
    pub(crate) fn without_pause(&self) -> Env {
        let mut variables = self.variables.clone();
        variables.remove(OsStr::new(AUTOMATION_PAUSE));
        Env { variables, cwd: self.cwd.clone() }
    }
}

/// The variables of the process and those of `.env`.
pub(super) struct Variables<'e> {
    real: &'e BTreeMap<OsString, OsString>,
    pub(super) dotenv: dotenv::Variables,
}

/// Whether a variable decides which code a program loads, or where it looks for code: too much for a file that lies
/// in whatever folder the program was started in.
fn decides_which_code_runs(name: &str) -> bool {
    const BEGINNINGS: [&str; 26] = [
        "LD_",
        "DYLD_",
        "BASH_",
        "PYTHON",
        "PERL",
        "RUBY",
        "NODE_",
        "NPM_",
        "JAVA_",
        "_JAVA_",
        "JDK_",
        "LUA_",
        "GIT_",
        "GCONV_",
        "GLIBC_",
        "MALLOC_",
        "GEM_",
        "PIP_",
        "R_LIBS",
        "PHP_",
        "OPENSSL_",
        "DOTNET_",
        "CORECLR_",
        "JULIA_",
        "XDG_CONFIG_",
        "XDG_DATA_",
    ];
    const NAMES: [&str; 28] = [
        "PATH",
        "IFS",
        "ENV",
        "HOME",
        "SHELL",
        "SHELLOPTS",
        "BASHOPTS",
        "CDPATH",
        "FPATH",
        "ZDOTDIR",
        "PS4",
        "PROMPT_COMMAND",
        "CLASSPATH",
        "EDITOR",
        "VISUAL",
        "PAGER",
        "BROWSER",
        "MANPAGER",
        "LESSOPEN",
        "LESSCLOSE",
        "PHPRC",
        "LOCPATH",
        "NLSPATH",
        "HOSTALIASES",
        "R_PROFILE",
        "R_PROFILE_USER",
        "R_ENVIRON",
        "R_ENVIRON_USER",
    ];
    NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// `~/x` below the home folder: no shell stands between a file and us, and most do not see the `~` of `--vault=~/x`.
pub(super) fn with_home(path: &Path, home: Option<&OsStr>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => Path::new(home).join(rest),
        _ => path.to_owned(),
    }
}

impl<'e> Variables<'e> {
    /// Reads `.env`; also gives what is to be said about it.
    pub(super) fn read(env: &'e Env) -> Result<(Variables<'e>, Vec<Mistake>), ConfigErrors> {
        let nothing = Variables { real: &env.variables, dotenv: dotenv::Variables::new() };
        let path = env.cwd.join(NAME);
        match path.symlink_metadata() {
            // A folder of this name is a Python environment, and no business of ours.
            Ok(_) if path.is_dir() => return Ok((nothing, Vec::new())),
            Err(error) if source::is_absent(&error) => return Ok((nothing, Vec::new())),
            _ => {}
        }
        let about = |line, message: String| {
            let place = Place::File { file: NAME.to_owned(), line, column: None };
            Mistake { subject: NAME.to_owned(), value: None, message, place }
        };
        if let Some(why) = source::whose_else(&env.cwd, &path) {
            let remedy = "to use it, make it and its folder yours alone, or set its variables in the environment";
            let message = format!("{}{why}: {remedy}", source::LEFT_OUT);
            return Ok((nothing, vec![source::fault_of(Path::new(NAME), message)]));
        }
        let text =
            source::read(&path).map_err(|why| source::fault_of(Path::new(NAME), why.remedy()))?;
        let dotenv::Read { mut variables, not_understood } = dotenv::read(&text, &env.variables)
            .map_err(|line| {
                let message = "${...} makes this value longer than 64 kB: write it out".to_owned();
                about(Some(line), message)
            })?;
        let mut remarks = Vec::new();
        for line in not_understood {
            let message = "a line that is no setting is passed over: write NAME=value".to_owned();
            remarks.push(about(Some(line), message));
        }
        variables.retain(|name, (_, line)| {
            let refused = decides_which_code_runs(name);
            if refused {
                let message =
                    format!("{} is not taken from here: set it in env of a job", visible(name));
                remarks.push(about(Some(*line), message));
            }
            !refused
        });
        Ok((Variables { dotenv: variables, ..nothing }, remarks))
    }

    /// The variables that `.env` adds to the environment of the process.
    pub(super) fn added(&self) -> impl Iterator<Item = (&String, &(String, usize))> {
        self.dotenv.iter().filter(|(name, _)| !self.real.contains_key(OsStr::new(name)))
    }

    /// A variable that is set to something. One that is set to nothing counts as not set, but hides that of `.env`.
    pub(super) fn get(&self, name: &str) -> Option<Given<OsString>> {
        let given = |value: &OsStr, dotenv_line| Given {
            value: value.to_owned(),
            origin: Origin::Variable { name: name.to_owned(), dotenv_line },
        };
        let found = match self.real.get(OsStr::new(name)) {
            Some(value) => given(value, None),
            None => {
                let (value, line) = self.dotenv.get(name)?;
                given(OsStr::new(value), Some(*line))
            }
        };
        Some(found).filter(|found| !found.value.is_empty() && !self.is_of_a_service(name))
    }

    /// Whether Kubernetes set the variable for a service of its own: one named `neo4j-bolt` makes
    /// `NEO4J_BOLT_PORT=tcp://10.0.0.1:7687`.
    pub(super) fn is_of_a_service(&self, name: &str) -> bool {
        let value = self.real.get(OsStr::new(name)).map(|value| value.to_string_lossy());
        let is_link = |value: &str| {
            ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme))
        };
        name.ends_with("_PORT") && value.is_some_and(|value| is_link(&value))
    }

    /// Says that a variable of Kubernetes is passed over.
    pub(super) fn check_services(&self, findings: &mut Findings) {
        for (name, _) in VARIABLES.iter().filter(|(name, _)| self.is_of_a_service(name)) {
            let origin = Origin::Variable { name: (*name).to_owned(), dotenv_line: None };
            let message = "set by Kubernetes for a service of this name, and not used: put the port in \
                           databases.neo4j.uri";
            findings.warn(&origin, None, message);
        }
    }

    /// The variable that outranks `path`, if it is set.
    pub(super) fn for_path(&self, path: &str) -> Option<Given<OsString>> {
        let (name, _) = VARIABLES.iter().find(|(_, outranked)| *outranked == path)?;
        self.get(name)
    }

    /// The same as text.
    pub(super) fn text_for_path(
        &self,
        path: &str,
        findings: &mut Findings,
    ) -> Option<Given<String>> {
        as_text(self.for_path(path)?, findings)
    }

    /// The first of the variables below `section` that is set.
    pub(super) fn any_below(&self, section: &str) -> Option<&'static str> {
        let mut below = VARIABLES.iter().filter(|(_, path)| path.starts_with(section));
        below.find(|(name, _)| self.get(name).is_some()).map(|(name, _)| *name)
    }

    /// Warns of an `AUTOMATION_PAUSE` that says neither yes nor no.
    pub(super) fn check_pause(&self, findings: &mut Findings) {
        let Some(Given { value, origin }) = self.get(AUTOMATION_PAUSE) else { return };
        let word = value.to_string_lossy();
        if flag_word(&word).is_none() {
            let shown = shown_text(&word);
            findings.warn(
                &origin,
                Some(shown),
                "not understood, so nothing is paused: write true or false",
            );
        }
    }
}

/// A variable as text.
pub(super) fn as_text(given: Given<OsString>, findings: &mut Findings) -> Option<Given<String>> {
    match given.value.into_string() {
        Ok(value) => Some(Given { value, origin: given.origin }),
        Err(_) => {
            findings.fault(&given.origin, None, "not UTF-8");
            None
        }
    }
}

/// `VAULT_SYNC_ENABLED` for `vault_sync`: the name in capitals, `_` for whatever a variable's name cannot hold.
pub(super) fn variable_of_job(job: &str, what: &str) -> String {
    let letter = |c: char| if c.is_alphanumeric() { c } else { '_' };
    format!("{}_{what}", job.chars().map(letter).collect::<String>().to_uppercase())
}
