//! The program's last word to its caller: a code, and one line on standard error that says why.

use std::fmt::Display;
use std::process::ExitCode;

/// Every exit code there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The job failed.
    JobFailed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Done, but some files or blocks had errors, or a person should look.
    Attention = 3,
    /// A needed service or file is not available.
    Unavailable = 4,
    /// A person interrupted it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// More than one only for the faults of a configuration.
    pub(super) lines: Vec<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, lines: vec![message.into()] }
    }

    /// Several things that are wrong at once, a line each.
    pub(super) fn lines(exit: Exit, lines: &[impl Display]) -> Failure {
        Failure { exit, lines: lines.iter().map(ToString::to_string).collect() }
    }

    pub(super) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Unavailable, message)
    }
}
