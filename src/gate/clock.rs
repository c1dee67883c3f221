//! Whether the wall clock can be believed. Pure: it is told what the clocks show.
//!
//! A clock that is earlier than this program was built is certainly wrong: then nothing is scheduled. A clock that has
//! just been set may be wrong: nothing is destroyed on its word until it has run along with the boot clock for an hour.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::{Moment, Passed, not_set_before};

/// How long the wall clock must have agreed with the boot clock before anything is deleted by it.
const TRUSTED_AFTER: Duration = Duration::from_secs(3600);

/// The knowledge about the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockTrust {
    built: DateTime<Utc>,
    /// The start, or the first moment after the last step.
    since: Moment,
}

impl ClockTrust {
    /// Begins with what the clocks show at the start; `built` is the earliest time they can show.
    pub(crate) fn new(built: DateTime<Utc>, moment: Moment) -> ClockTrust {
        ClockTrust { built, since: moment }
    }

    /// Notes what the clocks show. `Some`: the wall clock is certainly wrong, in words.
    pub(crate) fn look(&mut self, moment: Moment) -> Option<String> {
        // Measured from the last step, so that many small ones are found as well.
        if !Passed::between(self.since, moment).step.is_zero() {
            self.since = moment;
        }
        not_set_before(self.built, moment.wall)
    }

    /// The boot time from which on the clock may be believed by what deletes, if it goes on like this.
    pub(crate) fn trusted_from(&self) -> Duration {
        self.since.boottime + TRUSTED_AFTER
    }

    /// Whether it may be believed now.
    pub(crate) fn is_trusted(&self, moment: Moment) -> bool {
        moment.wall >= self.built && moment.boottime >= self.trusted_from()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn moment(boot_s: u64, wall: &str) -> Moment {
        let boottime = Duration::from_secs(boot_s);
        Moment { wall: wall.parse().unwrap(), monotonic: boottime, boottime }
    }

    #[test]
    fn a_clock_is_believed_after_an_hour_without_a_step() {
        let built = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut trust = ClockTrust::new(built, moment(10, "2026-08-24T12:00:00Z"));
        assert!(!trust.is_trusted(moment(3609, "2026-08-24T12:59:59Z")));
        assert!(trust.is_trusted(moment(3610, "2026-08-24T13:00:00Z")));
        // Four seconds in 2098 and back: the hour begins anew, twice.
        assert_eq!(trust.look(moment(4000, "2098-01-01T00:00:00Z")), None);
        assert!(!trust.is_trusted(moment(4000, "2098-01-01T00:00:00Z")));
        assert_eq!(trust.look(moment(4004, "2026-08-24T13:06:34Z")), None);
        assert!(!trust.is_trusted(moment(7603, "2026-08-24T14:06:33Z")));
        assert!(trust.is_trusted(moment(7604, "2026-08-24T14:06:34Z")));
        // Two seconds at a time are steps too.
        for n in 1..5 {
            let wall = DateTime::parse_from_rfc3339("2026-08-24T14:06:34Z").unwrap().to_utc();
            let boottime = Duration::from_secs(7604 + n);
            let wall = wall + TimeDelta::seconds(3 * n.cast_signed());
            trust.look(Moment { wall, monotonic: boottime, boottime });
        }
        assert!(trust.trusted_from() > Duration::from_secs(7604 + 3600));
    }

    #[test]
    fn a_clock_before_the_program_was_built_is_not_set() {
        let built = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut trust = ClockTrust::new(built, moment(10, "1970-01-01T00:00:10Z"));
        let said = trust.look(moment(20, "1970-01-01T00:00:20Z"));
        assert_eq!(said.as_deref(), Some("clock not set: it shows 1970-01-01"));
        assert!(!trust.is_trusted(moment(9999, "1970-01-01T02:46:39Z")));
        assert_eq!(trust.look(moment(30, "2026-08-24T12:00:00Z")), None);
    }
}
