//! Cron lines and time zones: when a job fires.
//!
//! A line is read as Debian's cron reads it: five fields, every difference between what people write and what the
//! `cron` crate takes is settled here, and no other room knows that crate. The model in four lines:
//!
//! 1. The text becomes one bit mask per field, or an error that says what to write instead (`fields`).
//! 2. The crate is handed plain lists and a *wall* time dressed as UTC; it never sees the user's text or a zone.
//! 3. The wall time it answers is mapped to an instant by the zone, with rules for the hours that a zone skips or
//!    repeats (`line`, `zone`).
//! 4. Counting uses the masks alone, so that a year of missed minutes costs a few hundred steps.
//!
//! A line is *wildcard* if its minute or hour begins with `*`: it follows the clock, so it has nothing in an hour that
//! is skipped and fires in both passes of an hour that is repeated. Any other line is *fixed*: it fires once for each
//! time it names, at the first minute after a gap, and in the first pass of a fold.
//!
//! A job may have several lines, and `@every DURATION` among them (`every`): an instant that several name is one. A
//! line `@reboot` names no instant: the start of the daemon is one.
//!
//! Nothing here knows a job, or what time it is.

mod error;
mod every;
mod fields;
mod line;
mod seconds;
#[cfg(feature = "http")]
mod words;
mod zone;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub(crate) use self::error::ScheduleError;
use self::every::Every;
use self::line::CronLine;
use self::seconds::{DAY_S, FIRST_WALL, LAST_WALL, instant};
pub use self::zone::Zone;

/// More different lengths behind `@every` than anybody has a use for; counting takes time by the power of them.
const EVERY_MAX: usize = 8;

/// When a job fires: cron lines read in a time zone.
///
/// Cheap to clone. Two schedules are equal if texts and zone are, which is what a reload asks.
#[derive(Clone)]
pub struct Schedule(Arc<Lines>);

struct Lines {
    text: Box<str>,
    zone: Zone,
    lines: Box<[Line]>,
    at_start: bool,
}

enum Line {
    Cron(CronLine),
    Every(Every),
}

impl Schedule {
    /// Reads five fields (minute, hour, day-of-month, month, day-of-week), or one of `@yearly`, `@annually`,
    /// `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`, `@every DURATION` and `@reboot`. A line that never
    /// fires, such as `0 0 30 2 *`, is no error.
    pub fn parse(expression: &str, zone: Zone) -> Result<Schedule, ScheduleError> {
        Schedule::parse_lines(&[expression], zone)
    }

    /// Reads several lines of one job. No line at all never fires. Of several lines, the error names the one.
    pub fn parse_lines<L: AsRef<str>>(
        expressions: &[L],
        zone: Zone,
    ) -> Result<Schedule, ScheduleError> {
        let mut lines = Vec::with_capacity(expressions.len());
        let mut at_start = false;
        for expression in expressions {
            let expression = expression.as_ref();
            let name = |error: ScheduleError| match expressions.len() {
                1 => error,
                _ => ScheduleError(format!("{expression:?}: {error}")),
            };
            let word = expression.trim_ascii();
            if word == "@reboot" {
                at_start = true;
            } else if let Some(length) = after_every(word) {
                lines.push(Line::Every(Every::parse(length).map_err(name)?));
            } else {
                lines.push(Line::Cron(CronLine::parse(expression, zone.clone()).map_err(name)?));
            }
        }
        let lengths = lines.iter().filter(|line| matches!(line, Line::Every(_))).count();
        if lengths > EVERY_MAX {
            return Err(ScheduleError(format!(
                "{lengths} lines with @every: write at most {EVERY_MAX}"
            )));
        }
        let texts: Vec<&str> = expressions.iter().map(AsRef::as_ref).collect();
        let (text, lines) = (texts.join("; ").into(), lines.into());
        Ok(Schedule(Arc::new(Lines { text, zone, lines, at_start })))
    }

    /// The first fire time strictly after `t`; `None` if there is none before the year 2101.
    pub fn next_after(&self, t: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // A day to spare on either side: no zone is that far from UTC.
        let t = t.timestamp().max(FIRST_WALL - DAY_S);
        if t > LAST_WALL + DAY_S {
            return None;
        }
        let next = self.0.lines.iter().filter_map(|line| line.next_after(t)).min()?;
        assert!(next > t, "{self:?}: the fire time {next} does not follow {t}");
        Some(instant(next))
    }

    /// How many fire times lie in (`after`, `until`]. Takes time by the days between them, not by the fire times.
    pub fn count_between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> u64 {
        let clamp = |t: DateTime<Utc>| t.timestamp().clamp(FIRST_WALL - DAY_S, LAST_WALL + DAY_S);
        let (after, until) = (clamp(after), clamp(until));
        if after >= until {
            return 0;
        }
        let mut crons = Vec::new();
        let mut everys = Vec::new();
        for line in &self.0.lines {
            match line {
                Line::Cron(cron) => crons.push(cron),
                Line::Every(every) => everys.push(*every),
            }
        }
        let by_cron = CronLine::count_union(&crons, after, until);
        if everys.is_empty() {
            return by_cron;
        }
        // An instant that both kinds of line name is counted once. A cron line names whole minutes only.
        let is_cron = |t: &i64| crons.iter().any(|cron| cron.next_after(t - 1) == Some(*t));
        let in_both = match crons.is_empty() || everys.iter().any(|every| every.fires_at(60)) {
            true => by_cron,
            false => {
                let first_of = |at: usize, t: i64| !everys[..at].iter().any(|e| e.fires_at(t));
                let common = |(at, every): (usize, &Every)| {
                    let minutes = every.whole_minutes(after, until);
                    minutes.filter(|t| first_of(at, *t) && is_cron(t)).count() as u64
                };
                everys.iter().enumerate().map(common).sum()
            }
        };
        Every::count_union(&everys, after, until) + by_cron - in_both
    }

    /// The newest fire time in (`after`, `until`].
    pub fn latest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let fires_after = |t| self.next_after(t).filter(|next| *next <= until);
        let mut latest = fires_after(after)?;
        // Bisection: `latest` fires, nothing fires after `none_after` and until `until`.
        let mut none_after = until;
        while let Some(next) = fires_after(latest) {
            latest = next;
            let middle = latest + (none_after - latest) / 2;
            match fires_after(middle) {
                Some(next) => latest = next,
                None => none_after = middle,
            }
        }
        Some(latest)
    }

    /// The instants at which it fires after `from`.
    pub fn fire_times(&self, from: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(from), |at| self.next_after(*at))
    }

    /// Whether the job follows the clock when the zone or somebody moves it: the minute or the hour of each line begins
    /// with `*`, or it is `@every`. One fixed line is enough to make the job fixed: running twice is worse than late.
    pub fn is_wildcard(&self) -> bool {
        let follows = |line: &Line| match line {
            Line::Cron(cron) => cron.fields.wildcard,
            Line::Every(_) => true,
        };
        !self.0.lines.is_empty() && self.0.lines.iter().all(follows)
    }

    /// Whether each start of the daemon is a fire time (`@reboot`).
    pub fn fires_at_start(&self) -> bool {
        self.0.at_start
    }

    /// Whether there is a line that can name an instant.
    pub fn has_lines(&self) -> bool {
        !self.0.lines.is_empty()
    }

    /// The zone the lines are read in.
    pub fn zone(&self) -> &Zone {
        &self.0.zone
    }

    /// The lines and their zone in words, as far as there are any: `every 30 minutes`, `Mon-Fri at 08:00 Europe/Berlin`.
    #[cfg(feature = "http")]
    pub(crate) fn in_words(&self) -> String {
        if self.0.text.is_empty() {
            return String::new();
        }
        let zone = self.0.zone.name();
        let words = self.0.text.split("; ").map(|text| {
            let text = text.trim_ascii();
            match after_every(text).map(Every::parse) {
                Some(Ok(every)) => every.words(),
                _ if text == "@reboot" => "at each start".to_owned(),
                _ => words::of(text, zone),
            }
        });
        words.collect::<Vec<_>>().join("; ")
    }

    /// The lines for a person: `every 5 minutes`, `at each start`, and the others as they were written.
    pub fn words(&self) -> String {
        let words = |text: &str| match after_every(text).map(Every::parse) {
            Some(Ok(every)) => every.words(),
            _ if text == "@reboot" => "at each start".to_owned(),
            _ => text.to_owned(),
        };
        self.0.text.split("; ").map(|text| words(text.trim_ascii())).collect::<Vec<_>>().join("; ")
    }
}

impl Line {
    fn next_after(&self, t: i64) -> Option<i64> {
        match self {
            Line::Cron(cron) => cron.next_after(t),
            Line::Every(every) => every.next_after(t),
        }
    }
}

/// The text behind `@every`, if the line begins with that.
fn after_every(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("@every")?;
    (rest.is_empty() || !rest.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(rest)
}

impl fmt::Display for Schedule {
    /// The text as it was written; of several lines, with `; ` between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?} in {})", self.0.text, self.0.zone)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Schedule) -> bool {
        self.0.text == other.0.text && self.0.zone == other.0.zone
    }
}

impl Eq for Schedule {}

#[cfg(test)]
mod tests;
