//! A setting together with where it was given, and what was found wrong on the way.

use std::ffi::OsString;

use super::error::{ConfigErrors, Mistake, Place, sort};
use super::node::Lines;
use super::shown::shown_text;
use crate::text::visible;

/// A value and where it was given.
#[derive(Clone, Debug)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// The three sources of settings, in falling order of rank.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment, or of line `dotenv_line` of `.env`.
    Variable { name: String, dotenv_line: Option<usize> },
    /// A path in the YAML file.
    Key(String),
}

impl Origin {
    pub(super) fn name(&self) -> &str {
        match self {
            Origin::Flag(name) => name,
            Origin::Variable { name, .. } => name,
            Origin::Key(path) => path,
        }
    }

    /// Where it is, in the file `file` whose keys stand at `lines`.
    pub(super) fn place(&self, file: Option<&str>, lines: &Lines) -> Place {
        let in_file = |file: &str, line| Place::File { file: file.to_owned(), line, column: None };
        match (self, file) {
            (Origin::Flag(_), _) => Place::CommandLine,
            (Origin::Variable { dotenv_line: None, .. }, _) => Place::Environment,
            (Origin::Variable { dotenv_line: line, .. }, _) => in_file(".env", *line),
            (Origin::Key(path), Some(file)) => in_file(file, lines.line_of(path)),
            (Origin::Key(_), None) => Place::Nowhere,
        }
    }
}

impl<T> Given<Option<T>> {
    /// `null` is the same as not given.
    pub(super) fn flatten(self) -> Option<Given<T>> {
        Some(Given { value: self.value?, origin: self.origin })
    }
}

impl<T> Given<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Given<U> {
        Given { value: change(self.value), origin: self.origin }
    }
}

/// The findings of one reading so far: faults to mend, and things to look at.
#[derive(Debug)]
pub(super) struct Findings {
    /// The file as it was named; `None` when there is none.
    pub(super) file: Option<String>,
    pub(super) lines: Lines,
    pub(super) faults: Vec<Mistake>,
    pub(super) warnings: Vec<Mistake>,
    /// Paths of what goes to a program as it is written, although YAML reads it otherwise.
    pub(super) read_otherwise: Vec<String>,
    /// Every path that was asked for: the test of the reference compares.
    #[cfg(test)]
    pub(super) asked: std::collections::BTreeSet<String>,
}

impl Findings {
    pub(super) fn of(file: Option<String>, lines: Lines) -> Findings {
        Findings {
            file,
            lines,
            faults: Vec::new(),
            warnings: Vec::new(),
            read_otherwise: Vec::new(),
            #[cfg(test)]
            asked: Default::default(),
        }
    }

    pub(super) fn fault(&mut self, at: &Origin, value: Option<String>, message: impl Into<String>) {
        let fault = self.finding(at, value, message.into());
        self.faults.push(fault);
    }

    pub(super) fn warn(&mut self, at: &Origin, value: Option<String>, message: impl Into<String>) {
        let warning = self.finding(at, value, message.into());
        self.warnings.push(warning);
    }

    /// The value if `check` takes it; else its reason becomes a fault and the caller goes on with a default, so that
    /// the faults behind it are found as well. A configuration with faults is never handed out.
    pub(super) fn checked<T: Shown, U>(
        &mut self,
        given: Option<Given<T>>,
        check: impl FnOnce(&T) -> Result<U, String>,
    ) -> Option<U> {
        let given = given?;
        match check(&given.value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(&given.origin, Some(given.value.shown()), message);
                None
            }
        }
    }

    /// The warnings, if there is no fault.
    pub(super) fn finish(self) -> Result<Vec<Mistake>, ConfigErrors> {
        ConfigErrors::check(self.faults)?;
        let mut warnings = self.warnings;
        sort(&mut warnings);
        Ok(warnings)
    }

    fn finding(&self, at: &Origin, value: Option<String>, message: String) -> Mistake {
        let place = at.place(self.file.as_deref(), &self.lines);
        Mistake { subject: visible(at.name()).into_owned(), value, message, place }
    }
}

/// A value as a message shows it.
pub(super) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for String {
    fn shown(&self) -> String {
        shown_text(self)
    }
}

impl Shown for Vec<String> {
    /// The one, or that there are several.
    fn shown(&self) -> String {
        match &self[..] {
            [one] => one.shown(),
            _ => "a list".to_owned(),
        }
    }
}

impl Shown for OsString {
    fn shown(&self) -> String {
        shown_text(&self.to_string_lossy())
    }
}
