//! The five fields: from text to one bit mask each, or to an error that says what to write instead.
//!
//! The only file that names the `cron` crate, which is handed plain lists made of the masks and never the user's text.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use chrono::Datelike;

use super::error::ScheduleError;
use super::every::Every;
use super::seconds::{DAY_S, FIRST_WALL, LAST_WALL, instant};

/// The engine of a line: one schedule of the crate, or two of which the earlier answer counts.
pub(super) type Engines = Arc<[cron::Schedule]>;

/// A line as masks: bit n of `hours` says that hour n is named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fields {
    minutes: u64,
    hours: u64,
    /// Of the month, 1-31.
    days: u64,
    months: u64,
    /// 0-6, Sunday is 0.
    weekdays: u64,
    /// One matching day field is enough; else both must match.
    either_day: bool,
    /// The minute or the hour begins with `*`.
    pub(super) wildcard: bool,
}

impl Fields {
    pub(super) fn parse(expression: &str) -> Result<Fields, ScheduleError> {
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

    /// The engine of this line, shared by all lines that mean the same: half a kilobyte and 20 µs are little for one
    /// job, but not for each of a thousand that run every five minutes.
    pub(super) fn engines(&self) -> Engines {
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
    pub(super) fn count_between(&self, after: i64, until: i64) -> u64 {
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

    /// How many minutes in (`after`, `until`], both wall times, one of `all` names at least.
    pub(super) fn count_union(all: &[&Fields], after: i64, until: i64) -> u64 {
        let after = after.max(FIRST_WALL - 1);
        let until = until.min(LAST_WALL);
        if after >= until {
            return 0;
        }
        let on_day = |day: i64, second: i64| {
            let named: Vec<&Fields> =
                all.iter().copied().filter(|fields| fields.names_day(day)).collect();
            let minutes = |hour: i64| {
                let one = |fields: &&Fields| {
                    if fields.hours >> hour & 1 == 1 { fields.minutes } else { 0 }
                };
                named.iter().map(one).fold(0, |union, minutes| union | minutes)
            };
            let (hour, minute) = (second / 3_600, second % 3_600 / 60);
            let before: u32 = (0..hour).map(|hour| minutes(hour).count_ones()).sum();
            u64::from(before + (minutes(hour) & (!0 >> (63 - minute))).count_ones())
        };
        let (first_day, last_day) = (after.div_euclid(DAY_S), until.div_euclid(DAY_S));
        let whole_days: u64 = (first_day..last_day).map(|day| on_day(day, DAY_S - 1)).sum();
        whole_days + on_day(last_day, until.rem_euclid(DAY_S))
            - on_day(first_day, after.rem_euclid(DAY_S))
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
                "write @yearly, @monthly, @weekly, @daily, @hourly, @every 5m, @reboot or five fields such as \"0 3 * * *\"".to_owned()
            };
            return Err(ScheduleError(format!("{word:?} is not known: {remedy}")));
        }
    })
}

fn wrong_number_of_fields(texts: &[&str]) -> ScheduleError {
    const FIELDS: &str = "minute hour day-of-month month day-of-week";
    if let Some(hint) = of_another_scheduler(texts) {
        return ScheduleError(hint);
    }
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

/// The remedy for a line that another scheduler would take.
fn of_another_scheduler(texts: &[&str]) -> Option<String> {
    let line = texts.join(" ");
    let is_line = |texts: &[&str]| Fields::parse(&texts.join(" ")).is_ok();
    match texts {
        [word] if is_line(&[&format!("@{word}")]) => Some(format!("write @{word}")),
        [word] if Every::parse(word).is_ok() => Some(format!("a length of time: write @every {word}")),
        ["every", length @ ..] if Every::parse(&length.join(" ")).is_ok() => {
            Some(format!("write @{line}"))
        }
        _ if line.contains("*-*") || line.starts_with("OnCalendar") => Some(
            "systemd's OnCalendar is not known here: write minute hour day-of-month month day-of-week, such as \
             \"0 2 * * *\" for *-*-* 02:00:00"
                .to_owned(),
        ),
        [zone, ..] if zone.starts_with("CRON_TZ=") || zone.starts_with("TZ=") => Some(
            "the zone is no part of the line: write timezone: Europe/Berlin in the job (here --timezone), and the line \
             without it"
                .to_owned(),
        ),
        [five @ .., _] if five.len() == 5 && is_line(five) && !is_line(&texts[1..]) => Some(format!(
            "{:?} is too much: five fields are a line; a program has its place in `command`, and a year has none",
            texts[5]
        )),
        [five @ .., _, _] if five.len() == 5 && is_line(five) => Some(format!(
            "{:?} is too much: five fields are a line; a program has its place in `command`",
            texts[5..].join(" ")
        )),
        _ => None,
    }
}

/// The values that one field may hold.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) min: u32,
    pub(super) max: u32,
    /// The highest value to propose in a hint: 6 for day-of-week, where 7 is Sunday again.
    pub(super) last: u32,
    /// Three-letter names of `min`, `min` + 1 and so on.
    names: &'static [&'static str],
}

pub(super) const MINUTE: Field = Field { name: "minute", min: 0, max: 59, last: 59, names: &[] };
pub(super) const HOUR: Field = Field { name: "hour", min: 0, max: 23, last: 23, names: &[] };
pub(super) const DAY: Field = Field { name: "day-of-month", min: 1, max: 31, last: 31, names: &[] };
pub(super) const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    last: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
pub(super) const WEEKDAY: Field = Field {
    name: "day-of-week",
    min: 0,
    max: 7,
    last: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Field {
    pub(super) fn parse(&self, text: &str) -> Result<u64, ScheduleError> {
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

    /// Forms that people bring from other dialects, and those to write here.
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
    pub(super) fn unwrapped(&self, from: u32, to: u32, step: Option<u32>) -> String {
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
