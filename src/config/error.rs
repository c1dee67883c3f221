//! The faults of a configuration: all of them at once, each fault with its path, place and remedy.

use std::fmt;

/// Everything that is wrong with a configuration, in the order in which it is written. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.to_lines())]
pub struct ConfigErrors(Vec<Mistake>);

impl ConfigErrors {
    /// An error if there is any fault.
    pub fn check(mut faults: Vec<Mistake>) -> Result<(), ConfigErrors> {
        if faults.is_empty() {
            return Ok(());
        }
        sort(&mut faults);
        Err(ConfigErrors(faults))
    }

    /// The faults, at least one.
    pub fn faults(&self) -> &[Mistake] {
        &self.0
    }

    fn to_lines(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        lines.join("\n")
    }
}

impl From<Mistake> for ConfigErrors {
    fn from(fault: Mistake) -> ConfigErrors {
        ConfigErrors(vec![fault])
    }
}

/// A person mends a file from top to bottom. A fault that is in no file comes before all of them.
pub(super) fn sort(faults: &mut Vec<Mistake>) {
    crate::order::sort_by_key(faults, |fault| match &fault.place {
        Place::File { file, line, .. } => Some((file.clone(), *line)),
        Place::Nowhere | Place::CommandLine | Place::Environment => None,
    });
}

/// One thing that is wrong, or in [`Config::warnings`](super::Config::warnings) one that is probably not meant:
/// `scheduler.jobs.vault_sync.cron: "61 * * * *": minute 61 is outside 0-59 (settings/aclarai.config.yaml:14)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The subject: a path in the YAML, a variable, a flag. Empty for a whole file.
    pub subject: String,
    /// The value as it may be shown: short, and never a secret.
    pub value: Option<String>,
    /// The fault and its remedy.
    pub message: String,
    /// Where it was given.
    pub place: Place,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject.is_empty() {
            return write!(f, "{}: {}", self.place, self.message);
        }
        write!(f, "{}: ", self.subject)?;
        if let Some(value) = &self.value {
            write!(f, "{value}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.place {
            Place::Nowhere => Ok(()),
            place => write!(f, " ({place})"),
        }
    }
}

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not at all: something is missing.
    Nowhere,
    /// On the command line.
    CommandLine,
    /// In the environment of the process.
    Environment,
    /// In a file, as far as it is known where.
    File {
        /// The file's name as it was given.
        file: String,
        /// Counted from 1.
        line: Option<usize>,
        /// Counted from 1.
        column: Option<usize>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Nowhere => f.write_str("not given"),
            Place::CommandLine => f.write_str("command line"),
            Place::Environment => f.write_str("environment"),
            Place::File { file, line, column } => {
                f.write_str(file)?;
                [line, column].into_iter().flatten().try_for_each(|n| write!(f, ":{n}"))
            }
        }
    }
}
