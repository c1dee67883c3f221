//! A line of `check`: how one thing that a run needs is found to be, and the remedy where it lacks.

/// One line of `check` about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The thing that was looked at: `graph.reachable`, `graph.constraint`, ...
    pub name: String,
    /// Whether all is well.
    pub level: Level,
    /// The finding and, unless all is well, the remedy.
    pub message: String,
}

/// How bad a finding of `check` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing to do.
    Ok,
    /// Works, but look at it.
    Warning,
    /// Does not work.
    Error,
}
