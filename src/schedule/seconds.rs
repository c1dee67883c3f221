//! Times as plain seconds. An *instant* counts from the Unix epoch in UTC; a *wall* time is what the zone's clock shows,
//! counted as if it were UTC.

use chrono::{DateTime, Utc};

/// Seconds of a day.
pub(super) const DAY_S: i64 = 86_400;

/// The wall clock's first second that can be answered: the start of 1970.
pub(super) const FIRST_WALL: i64 = 0;

/// The wall clock's last second that can be answered: the end of 2100, where the `cron` crate ends too.
pub(super) const LAST_WALL: i64 = 4_133_980_799;

pub(super) fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time between 1969 and 2101 is in chrono's range")
}
