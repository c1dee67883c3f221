//! The lines of the simulation and their instants, told anew: nothing here asks the code under test when a line fires.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc, Weekday};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::config::JobSpec;

/// Where jobs live: without summer time, with an hour of it, with half an hour of it.
pub(super) const ZONES: [&str; 3] = ["UTC", "Europe/Berlin", "Australia/Lord_Howe"];

/// Where histories begin, in seconds: in summer, and some days before each change of both zones.
pub(super) const STARTS: [i64; 5] = [
    1_787_000_000, // 2026-08-17
    1_774_560_000, // 2026-03-26: on the 29th Berlin leaves out an hour
    1_792_713_600, // 2026-10-23: on the 25th Berlin lives an hour twice
    1_775_174_400, // 2026-04-03: on the 5th Lord Howe lives half an hour twice
    1_790_812_800, // 2026-10-01: on the 4th Lord Howe leaves out half an hour
];

/// Before all of them: no clock that is right shows an earlier time.
pub(super) const EARLIEST: i64 = 1_770_000_000;

/// The offset of a clock that was never set: it counts from 1970.
pub(super) const UNSET: i64 = 0;

/// Whether a line fires at a minute of an hour of a local day.
pub(super) type Fires = fn(u32, u32) -> bool;

/// Lines, with what they mean said a second time.
pub(super) const LINES: &[(&str, Fires)] = &[
    ("* * * * *", |_, _| true),
    ("*/7 * * * *", |minute, _| minute.is_multiple_of(7)),
    ("*/30 * * * *", |minute, _| minute.is_multiple_of(30)),
    ("13 * * * *", |minute, _| minute == 13),
    ("5,50 */2 * * *", |minute, hour| (minute == 5 || minute == 50) && hour.is_multiple_of(2)),
    ("0 3 * * *", |minute, hour| minute == 0 && hour == 3),
    ("10-14 0-23 * * *", |minute, _| (10..=14).contains(&minute)),
    ("30 9,21 * * *", |minute, hour| minute == 30 && (hour == 9 || hour == 21)),
    (NEVER, |_, _| false),
];

pub(super) const NEVER: &str = "0 0 30 2 *";

/// How many minutes the clocks of a zone are ahead of UTC in a minute since 1970.
pub(super) fn ahead(zone: &str, minute: i64) -> i64 {
    let year = DateTime::from_timestamp(minute * 60, 0).unwrap().year();
    // Midnight of a day, in minutes since 1970.
    let first_sunday = |month| {
        let day = NaiveDate::from_weekday_of_month_opt(year, month, Weekday::Sun, 1).unwrap();
        (day - NaiveDate::default()).num_minutes()
    };
    let last_sunday_before = |month| first_sunday(month) - 7 * 24 * 60;
    match zone {
        "UTC" => 0,
        // One hour more from the last Sunday of March, 01:00 UTC, to that of October.
        "Europe/Berlin" => {
            let summer = last_sunday_before(4) + 60..last_sunday_before(11) + 60;
            if summer.contains(&minute) { 120 } else { 60 }
        }
        // Half an hour less from the first Sunday of April to that of October, 02:00 by its own clocks.
        "Australia/Lord_Howe" => {
            let winter = first_sunday(4) + 120 - 660..first_sunday(10) + 120 - 630;
            if winter.contains(&minute) { 630 } else { 660 }
        }
        _ => panic!("{zone}: not a zone of the list"),
    }
}

/// Longer than any change of a zone's clocks here.
pub(super) const CHANGE_MIN: i64 = 180;

/// Whether the minute or the hour begins with `*`.
pub(super) fn follows_clock(spec: &JobSpec) -> bool {
    line_of(spec).split(' ').take(2).any(|field| field.starts_with('*'))
}

/// The line of a job, whether or not it is also due at each start.
pub(super) fn line_of(spec: &JobSpec) -> String {
    let text = spec.schedule.to_string();
    text.strip_prefix("@reboot; ").unwrap_or(&text).to_owned()
}

/// The instants of a line in (`after`, `until`], by looking at every minute.
pub(super) fn instants(
    spec: &JobSpec,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let text = line_of(spec);
    let fires = LINES.iter().find(|(line, _)| *line == text).expect("a line of the list").1;
    let fires = |local: i64| fires(local.rem_euclid(60) as u32, (local / 60).rem_euclid(24) as u32);
    let follows_clock = follows_clock(spec);
    let zone = spec.timezone.name();
    let first = after.timestamp().div_euclid(60) + 1;
    let last = until.timestamp().div_euclid(60);
    let mut found = Vec::new();
    let shift = ahead(zone, first - CHANGE_MIN);
    // No clock changes twice in a month.
    let is_steady = shift == ahead(zone, last) && last - first < 30 * 24 * 60;
    if is_steady || follows_clock {
        let shift = |minute| if is_steady { shift } else { ahead(zone, minute) };
        found.extend((first..=last).filter(|minute| fires(minute + shift(*minute))));
    } else {
        // The latest local minute there has been.
        let mut latest = first - CHANGE_MIN + shift;
        for minute in first - CHANGE_MIN + 1..=last {
            let local = minute + ahead(zone, minute);
            // Minutes that were left out are made up by the one after them; those that come again are not new.
            let is_due = (latest + 1..=local).any(fires);
            if is_due && minute >= first {
                found.push(minute);
            }
            latest = latest.max(local);
        }
    }
    found.into_iter().map(|minute| DateTime::from_timestamp(minute * 60, 0).unwrap()).collect()
}

/// When an occurrence is due: up to `jitter` seconds later, short of the next instant.
pub(super) fn due_time(spec: &JobSpec, instant: DateTime<Utc>) -> DateTime<Utc> {
    let jitter = spec.policy.jitter.as_secs() as i64;
    if jitter == 0 {
        return instant;
    }
    let next = instants(spec, instant, instant + TimeDelta::seconds(jitter)).first().copied();
    let span = next.map_or(jitter, |next| ((next - instant).num_seconds() - 1).max(0)) as u64;
    let hash = xxh3_64_with_seed(spec.name.as_str().as_bytes(), instant.timestamp() as u64);
    instant + TimeDelta::seconds((hash % (span + 1)) as i64)
}
