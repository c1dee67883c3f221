//! Something that went wrong in a run without ending it.

use std::fmt;

/// One thing that went wrong without ending the run. Goes to the log; history and `run --json` keep only the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// How bad it is.
    pub level: FaultLevel,
    /// The place, as in `notes/plan.md:12`; empty for a fault of the run as a whole.
    pub place: String,
    /// The fault and its remedy.
    pub text: String,
}

/// How bad a [`Fault`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultLevel {
    /// Probably not meant; all that was asked for was done.
    Warning,
    /// Something was left undone.
    Error,
}

impl FaultLevel {
    /// The word in front of the line.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultLevel::Warning => "warning",
            FaultLevel::Error => "error",
        }
    }
}

impl Fault {
    /// A fault that left something undone.
    pub fn error(place: impl Into<String>, text: impl Into<String>) -> Fault {
        Fault { level: FaultLevel::Error, place: place.into(), text: text.into() }
    }

    /// A fault that left nothing undone.
    pub fn warning(place: impl Into<String>, text: impl Into<String>) -> Fault {
        Fault { level: FaultLevel::Warning, place: place.into(), text: text.into() }
    }

    /// The line without the word for its level: `notes/plan.md:12: no text before this marker`.
    pub fn line(&self) -> String {
        match self.place.as_str() {
            "" => self.text.clone(),
            place => format!("{place}: {}", self.text),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.level.as_str(), self.line())
    }
}
