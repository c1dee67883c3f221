//! Things that the tick remembers of its own state from one round to the next.

use std::time::Duration;

use crate::clock::Moment;
use crate::gate::Standing;
use crate::state::SignOfLife;

/// How often the sign of life is left where nothing has changed. The thread wakes every 30 s: a little less, so that no
/// round comes just too early.
const SIGN_EVERY: Duration = Duration::from_secs(28);

/// All workers are held by long runs while others wait.
#[derive(Clone, Copy)]
pub(super) struct Starving {
    /// When to complain next, by monotonic time.
    pub(super) next: Duration,
    /// How long after the next complaint the one after it comes.
    pub(super) interval: Duration,
}

/// The sign of life, and what it said last.
pub(super) struct Life {
    pub(super) sign: SignOfLife,
    /// Boot time.
    pub(super) left_at: Option<Duration>,
    pub(super) reasons: Vec<String>,
    pub(super) standing: Option<Standing>,
    pub(super) pause_variable: Option<String>,
}

impl Life {
    pub(super) fn new(sign: SignOfLife) -> Life {
        Life { sign, left_at: None, reasons: Vec::new(), standing: None, pause_variable: None }
    }

    /// Whether it is time to leave a sign, also if nothing has changed.
    pub(super) fn is_due(&self, moment: Moment) -> bool {
        self.left_at.is_none_or(|left| moment.boottime.saturating_sub(left) >= SIGN_EVERY)
    }
}

/// A stop that was asked for.
pub(super) struct Stopping {
    /// When patience ends, by monotonic time.
    pub(super) until: Duration,
    /// Whether the runs were told.
    pub(super) told: bool,
}
