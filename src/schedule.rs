//! Cron lines and time zones.

use std::fmt;

use chrono::{DateTime, Utc};

/// When a job fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
}

impl Schedule {
    /// The first fire time strictly after `t`; `None` if there is none ever.
    pub fn next_after(&self, _t: DateTime<Utc>) -> Option<DateTime<Utc>> {
        None
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
