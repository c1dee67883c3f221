//! The rules as tables, the shared vectors, and random lines against an oracle that walks minute by minute.

use chrono::{Datelike, NaiveDate, TimeDelta, Timelike};
use proptest::prelude::*;

use super::fields::{DAY, HOUR, MINUTE, MONTH, WEEKDAY};
use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn schedule(line: &str, zone: &str) -> Schedule {
    Schedule::parse(line, Zone::parse(zone).unwrap()).unwrap()
}

/// The error of a line that must be refused.
fn refusal(line: &str) -> String {
    Schedule::parse(line, Zone::UTC).expect_err(line).to_string()
}

#[test]
fn every_shared_vector_holds() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/fixtures/cron-vectors.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let lines = file["syntax"].as_array().unwrap();
    assert_eq!((vectors.len(), lines.len()), (181, 45));
    for vector in vectors {
        let text = |key: &str| vector[key].as_str().unwrap();
        let schedule = schedule(text("expr"), text("tz"));
        let mut t = at(text("from"));
        for expected in vector["expected"].as_array().unwrap() {
            let next = schedule
                .next_after(t)
                .unwrap_or_else(|| panic!("no fire time after {t}: {vector}"));
            assert_eq!(next, at(expected.as_str().unwrap()), "{vector}");
            assert_eq!(schedule.count_between(t, next), 1, "{vector}");
            t = next;
        }
        if vector["expected"].as_array().unwrap().is_empty() {
            assert_eq!(schedule.next_after(t), None, "{vector}");
        }
    }
    for line in lines {
        let parsed = Schedule::parse(line["expr"].as_str().unwrap(), Zone::UTC);
        assert_eq!(parsed.is_ok(), line["accept"].as_bool().unwrap(), "{line}: {parsed:?}");
    }
}

#[test]
fn a_refused_line_says_what_to_write_instead() {
    for (line, message) in [
        ("61 * * * *", "minute 61 is outside 0-59"),
        ("* 24 * * *", "hour 24 is outside 0-23"),
        ("* * 0 * *", "day-of-month 0 is outside 1-31"),
        ("* * * 13 *", "month 13 is outside 1-12"),
        ("* * * * 9", "day-of-week 9 is outside 0-7"),
        ("0-99999999999999999999 * * * *", "minute 99999999999999999999 is outside 0-59"),
        ("5/10 * * * *", "minute \"5/10\": a step follows * or a range: write 5-59/10"),
        ("* 22-2 * * *", "hour \"22-2\": the range runs backwards: write 22-23,0-2"),
        ("* 22-3/2 * * *", "hour \"22-3/2\": the range runs backwards: write 22,0,2"),
        ("* * * nov-jan *", "month \"nov-jan\": the range runs backwards: write 11-12,1"),
        ("* * * * fri-sun", "day-of-week \"fri-sun\": the range runs backwards: write 5-7"),
        ("* * * * sat-mon", "day-of-week \"sat-mon\": the range runs backwards: write 6,0-1"),
        ("*/0 * * * *", "minute \"*/0\": a step of 0 never ends: write 1 or more"),
        ("*/x * * * *", "minute \"*/x\": a step is a number: write */5 or 10-50/5"),
        ("*/5/2 * * * *", "minute \"*/5/2\": there are two steps: write one"),
        ("*5 * * * *", "minute \"*5\": nothing but a step may follow *: write */5"),
        ("*-5 * * * *", "minute \"*-5\": nothing but a step may follow *: write 0-5"),
        ("5- * * * *", "minute \"5-\": a range has two ends: write both, such as 0-59"),
        (
            "1,,2 * * * *",
            "minute \"\": a list has a comma too many: write numbers with single commas between",
        ),
        ("+5 * * * *", "minute \"+5\": that is no number or range: write 0-59 or *"),
        ("٣ * * * *", "minute \"٣\": that is no number or range: write 0-59 or *"),
        ("* * * foo *", "month \"foo\": that is no number, a name or range: write 1-12 or *"),
        ("* * * * Sunday", "day-of-week \"Sunday\": names have three letters: write sun"),
        (
            "* * mon * *",
            "day-of-month \"mon\": names stand for months and days of the week only: write a number",
        ),
        ("? * * * *", "minute \"?\": ? is not standard cron: write *"),
        (
            "H * * * *",
            "minute \"H\": H (hashed) is not standard cron: write one number, and `jitter` to spread runs",
        ),
        (
            "0 0 L * *",
            "day-of-month \"L\": L (last) is not standard cron: write the days, such as 28-31, and let the job look at \
             the date",
        ),
        (
            "0 0 15W * *",
            "day-of-month \"15W\": W (nearest weekday) is not standard cron: write a day, or 1-5 as day-of-week",
        ),
        (
            "0 */5 * * * *",
            "6 fields, but seconds are not supported: write five (minute hour day-of-month month day-of-week), such as \
             \"*/5 * * * *\"",
        ),
        (
            "0 3 *",
            "3 fields instead of 5: write minute hour day-of-month month day-of-week, such as \"0 3 * * *\"",
        ),
        ("daily", "write @daily"),
        ("15m", "a length of time: write @every 15m"),
        ("every 5 minutes", "write @every 5 minutes"),
        (
            "Mon *-*-* 02:00",
            "systemd's OnCalendar is not known here: write minute hour day-of-month month day-of-week, such as \"0 2 * * \
             *\" for *-*-* 02:00:00",
        ),
        (
            "CRON_TZ=UTC 0 2 * * *",
            "the zone is no part of the line: write timezone: Europe/Berlin in the job (here --timezone), and the line \
             without it",
        ),
        (
            "0 2 * * * 2026",
            "\"2026\" is too much: five fields are a line; a program has its place in `command`, and a year has none",
        ),
        (
            "0 2 * * * root /usr/bin/backup",
            "\"root /usr/bin/backup\" is too much: five fields are a line; a program has its place in `command`",
        ),
        ("  ", "the line is empty: write five fields such as \"0 3 * * *\""),
        ("@Daily", "\"@Daily\" is not known: write @daily"),
        (
            "@rebot",
            "\"@rebot\" is not known: write @yearly, @monthly, @weekly, @daily, @hourly, @every 5m, @reboot or five \
             fields such as \"0 3 * * *\"",
        ),
        ("@every", "@every without a length: write how often, such as @every 5m"),
        (
            "@every 5",
            "@every \"5\": the unit is missing (s, m, h, d or w): write a length such as @every 90s, @every 5m or \
             @every 1h30m",
        ),
    ] {
        assert_eq!(refusal(line), message, "{line}");
    }
    for (line, part) in
        [("* * * * 5#2", "# (n-th weekday)"), ("0~9 * * * *", "~ (random)"), ("@daily 5m", "alone")]
    {
        assert!(refusal(line).contains(part), "{}", refusal(line));
    }
}

#[test]
fn a_hint_is_itself_a_line_that_is_taken() {
    for field in [&MINUTE, &HOUR, &DAY, &MONTH, &WEEKDAY] {
        for from in field.min..=field.last {
            for to in field.min..from {
                for step in [None, Some(1), Some(2), Some(5), Some(100)] {
                    let hint = field.unwrapped(from, to, step);
                    let mask =
                        field.parse(&hint).unwrap_or_else(|error| panic!("{from}-{to}: {error}"));
                    let size = field.last + 1 - field.min;
                    let meant = (from..=to + size).step_by(step.unwrap_or(1) as usize);
                    let meant = meant.fold(0, |mask, value| {
                        mask | 1u64 << ((value - field.min) % size + field.min)
                    });
                    let seen =
                        if field.name == WEEKDAY.name { (mask | mask >> 7) & 0x7f } else { mask };
                    assert_eq!(seen, meant, "{} {from}-{to}/{step:?}: {hint}", field.name);
                }
            }
        }
    }
}

#[test]
fn a_line_that_never_fires_answers_at_once_and_ends_with_the_year_2100() {
    for line in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "*/5 * 31 2-2 *"] {
        let schedule = schedule(line, "Europe/Berlin");
        assert_eq!(schedule.next_after(at("2026-01-01T00:00:00Z")), None, "{line}");
        assert_eq!(schedule.count_between(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC), 0);
        assert_eq!(schedule.latest_in(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC), None);
    }
    let daily = schedule("0 0 * * *", "UTC");
    assert_eq!(daily.next_after(DateTime::<Utc>::MIN_UTC), Some(at("1970-01-01T00:00:00Z")));
    assert_eq!(daily.next_after(at("2100-12-30T12:00:00Z")), Some(at("2100-12-31T00:00:00Z")));
    for t in [at("2100-12-31T00:00:00Z"), DateTime::<Utc>::MAX_UTC] {
        assert_eq!(daily.next_after(t), None);
    }
    let days = 131 * 365 + 32;
    assert_eq!(daily.count_between(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC), days);
    assert_eq!(
        daily.latest_in(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC),
        Some(at("2100-12-31T00:00:00Z"))
    );
}

#[test]
fn a_fraction_of_a_second_changes_nothing() {
    let schedule = schedule("* * * * *", "UTC");
    for (from, next) in [
        ("2026-11-23T11:59:59.999Z", "2026-11-23T12:00:00Z"),
        ("2026-11-23T12:00:00Z", "2026-11-23T12:01:00Z"),
        ("2026-11-23T12:00:00.001Z", "2026-11-23T12:01:00Z"),
    ] {
        assert_eq!(schedule.next_after(at(from)), Some(at(next)), "{from}");
    }
    assert_eq!(schedule.count_between(at("2026-11-23T11:59:59.9Z"), at("2026-11-23T12:00:00Z")), 1);
    assert_eq!(schedule.count_between(at("2026-11-23T12:00:00Z"), at("2026-11-23T12:00:59.9Z")), 0);
    assert_eq!(schedule.count_between(at("2026-11-23T12:01:00Z"), at("2026-11-23T12:00:00Z")), 0);
}

/// Samoa left out 30 December 2011: nothing that day named is made up, neither at once nor later.
#[test]
fn a_day_that_a_zone_leaves_out_is_left_out() {
    let schedule = schedule("0 12 * * *", "Pacific/Apia");
    let before = at("2011-12-29T22:00:00Z");
    let next = schedule.next_after(before).unwrap();
    assert_eq!(next, at("2011-12-30T22:00:00Z"));
    assert_eq!(schedule.count_between(before, next), 1);
}

#[test]
fn text_and_zone_decide_what_a_reload_sees() {
    let first = schedule("0 3 * * *", "UTC");
    assert_eq!(first, schedule("0 3 * * *", "UTC"));
    assert_ne!(first, schedule("0 4 * * *", "UTC"));
    assert_ne!(first, schedule("0 3 * * *", "Europe/Berlin"));
    assert_eq!(schedule("0  3\t* * *", "UTC").to_string(), "0  3\t* * *");
}

#[test]
fn lines_that_mean_the_same_share_what_computes_them() {
    let computed_by = |line: &str| {
        let line = CronLine::parse(line, Zone::UTC).unwrap();
        line.next_after(at("2026-11-23T12:00:00Z").timestamp());
        Arc::clone(line.engines.get().unwrap())
    };
    let first = computed_by("*/5 * * * *");
    assert!(Arc::ptr_eq(&first, &computed_by("0-59/5 * * jan-dec 0-6")));
    assert!(!Arc::ptr_eq(&first, &computed_by("*/6 * * * *")));
}

fn lines(lines: &[&str], zone: &str) -> Schedule {
    Schedule::parse_lines(lines, Zone::parse(zone).unwrap()).unwrap()
}

#[test]
fn every_length_fires_at_its_multiples() {
    for (line, after, next) in [
        ("@every 5m", "2026-08-24T12:00:00Z", "2026-08-24T12:05:00Z"),
        ("@every 90s", "2026-08-24T12:00:01Z", "2026-08-24T12:01:30Z"),
        ("@every 1h30m", "1970-01-01T00:00:00Z", "1970-01-01T01:30:00Z"),
        ("@every 1s", "2026-08-24T12:00:00Z", "2026-08-24T12:00:01Z"),
        ("@every 20 min", "2026-08-24T12:00:00Z", "2026-08-24T12:20:00Z"),
        ("@every 1 hour 30 minutes", "1970-01-01T00:00:00Z", "1970-01-01T01:30:00Z"),
        ("@every  7 d", "1970-01-01T00:00:00Z", "1970-01-08T00:00:00Z"),
        ("@every 366d", "1970-01-01T00:00:00Z", "1971-01-02T00:00:00Z"),
    ] {
        assert_eq!(schedule(line, "Asia/Tokyo").next_after(at(after)), Some(at(next)), "{line}");
    }
    for (line, words) in [
        ("@every 5m", "every 5 minutes"),
        ("@every 60s", "every minute"),
        ("@every 1h30m", "every 1 hour 30 minutes"),
        ("@every 2d", "every 2 days"),
        ("@reboot", "at each start"),
        ("0 3 * * *", "0 3 * * *"),
    ] {
        assert_eq!(schedule(line, "UTC").words(), words);
    }
    for line in ["@every 0s", "@every 367d", "@every 5x", "@every m", "@every 1.5h", "@every -5m"] {
        assert!(refusal(line).contains("write a length such as"), "{}", refusal(line));
    }
    assert!(schedule("@every 5m", "UTC").is_wildcard());
}

#[test]
fn an_instant_that_several_lines_name_is_one() {
    let both = lines(&["0 3 * * *", "0 3 * * 1", "*/30 3 * * *"], "Europe/Berlin");
    let (after, until) = (at("2026-08-23T00:00:00Z"), at("2026-08-24T23:00:00Z"));
    assert_eq!(iterate(&both, after, until).len(), 4);
    assert_eq!(both.count_between(after, until), 4);
    assert_eq!(both.to_string(), "0 3 * * *; 0 3 * * 1; */30 3 * * *");
    assert!(!both.is_wildcard(), "one fixed line is enough");
    let never: [&str; 0] = [];
    let never = Schedule::parse_lines(&never, Zone::UTC).unwrap();
    assert_eq!((never.next_after(after), never.count_between(after, until)), (None, 0));
    assert_eq!((never.to_string().as_str(), never.fires_at_start()), ("", false));
    let start = lines(&["@reboot", "0 3 * * *"], "UTC");
    assert!(start.fires_at_start());
    assert_eq!(start.next_after(after), Some(at("2026-08-23T03:00:00Z")));
    let error = Schedule::parse_lines(&["0 3 * * *", "61 * * * *"], Zone::UTC).unwrap_err();
    assert_eq!(error.to_string(), "\"61 * * * *\": minute 61 is outside 0-59");
}

#[test]
fn a_name_that_means_an_offset_gets_the_zone_of_that_offset() {
    for (name, zone, region) in [
        ("GMT+5", "Etc/GMT-5", "Asia/Karachi"),
        ("GMT-8", "Etc/GMT+8", "America/Los_Angeles"),
        ("UTC-5", "Etc/GMT+5", "America/New_York"),
        ("UTC+2", "Etc/GMT-2", "Europe/Athens"),
        ("+02:00", "Etc/GMT-2", "Europe/Athens"),
        ("Etc/GMT+05", "Etc/GMT+5", "America/New_York"),
        ("PST", "Etc/GMT+8", "America/Los_Angeles"),
        ("HKT", "Etc/GMT-8", "Asia/Hong_Kong"),
        ("MSK", "Etc/GMT-3", "Europe/Moscow"),
        ("edt", "Etc/GMT+4", "America/New_York"),
    ] {
        let error = Zone::parse(name).unwrap_err().to_string();
        assert!(error.contains(&format!("{zone:?}")) && error.contains(region), "{error}");
        assert!(!error.contains("did you mean"), "{error}");
        // Both are names that are taken, and the first has the offset that was meant.
        Zone::parse(zone).unwrap();
        Zone::parse(region).unwrap();
    }
    let error = Zone::parse("Asia/Bangalore").unwrap_err().to_string();
    assert!(error.ends_with("the zone of that place is \"Asia/Kolkata\""), "{error}");
    assert!(
        !Zone::parse("UTC+5:30").unwrap_err().to_string().contains("Etc/GMT"),
        "none has half an hour"
    );
}

#[test]
fn each_zone_that_a_hint_names_is_there() {
    zone::named_in_hints().for_each(|name| drop(Zone::parse(name).expect(name)));
}

#[test]
fn an_unknown_zone_names_the_nearest() {
    assert_eq!(Zone::parse("Europe/Berlin").unwrap().name(), "Europe/Berlin");
    for (name, remedy) in [
        ("Europe/Berln", "did you mean \"Europe/Berlin\"?"),
        ("europe/berlin", "did you mean \"Europe/Berlin\"?"),
        ("Berlin", "did you mean \"Europe/Berlin\"?"),
        ("america/new york", "did you mean \"America/New_York\"?"),
        ("utc ", "did you mean \"UTC\"?"),
        ("abc", "write an IANA name such as \"Europe/Berlin\" or \"UTC\""),
        ("Middle of nowhere", "write an IANA name such as \"Europe/Berlin\" or \"UTC\""),
        ("", "write an IANA name such as \"Europe/Berlin\" or \"UTC\""),
    ] {
        let error = Zone::parse(name).unwrap_err().to_string();
        assert_eq!(error, format!("unknown time zone {name:?}: {remedy}"));
    }
    assert!(Zone::data_version().starts_with("20"));
}

/// One field as text, and the numbers that text means, made side by side so that no parser is needed to know them.
type Written = (String, Vec<u32>);

fn item(min: u32, max: u32) -> impl Strategy<Value = Written> {
    let values = move |from: u32, to: u32, step: u32| {
        (from..=to).step_by(step as usize).collect::<Vec<u32>>()
    };
    prop_oneof![
        3 => Just(("*".to_owned(), values(min, max, 1))),
        2 => (1..70u32).prop_map(move |step| (format!("*/{step}"), values(min, max, step))),
        4 => (min..=max).prop_map(move |value| (value.to_string(), vec![value])),
        2 => (min..=max, min..=max).prop_map(move |(a, b)| {
            let (from, to) = (a.min(b), a.max(b));
            (format!("{from}-{to}"), values(from, to, 1))
        }),
        2 => (min..=max, min..=max, 1..20u32).prop_map(move |(a, b, step)| {
            let (from, to) = (a.min(b), a.max(b));
            (format!("{from}-{to}/{step}"), values(from, to, step))
        }),
    ]
}

fn field(min: u32, max: u32) -> impl Strategy<Value = Written> {
    prop::collection::vec(item(min, max), 1..3).prop_map(|items| {
        let texts: Vec<&str> = items.iter().map(|(text, _)| text.as_str()).collect();
        (texts.join(","), items.iter().flat_map(|(_, values)| values.clone()).collect())
    })
}

/// A line that walks: what Debian's cron does when it wakes at every minute.
#[derive(Clone, Debug)]
struct Oracle {
    fields: [Written; 5],
}

impl Oracle {
    fn line(&self) -> String {
        let texts: Vec<&str> = self.fields.iter().map(|(text, _)| text.as_str()).collect();
        texts.join(" ")
    }

    fn names(&self, wall: chrono::NaiveDateTime) -> bool {
        let has = |field: usize, value: u32| self.fields[field].1.contains(&value);
        let star = |field: usize| self.fields[field].0.starts_with('*');
        let weekday = wall.weekday().num_days_from_sunday();
        let (day, weekday) = (has(2, wall.day()), has(4, weekday) || weekday == 0 && has(4, 7));
        let day = if star(2) || star(4) { day && weekday } else { day || weekday };
        has(0, wall.minute()) && has(1, wall.hour()) && has(3, wall.month()) && day
    }

    /// Every fire time in (after, until], both whole minutes.
    fn fires(&self, zone: &str, after: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let minute = TimeDelta::minutes(1);
        let zone = Zone::parse(zone).unwrap();
        let ahead = |t: DateTime<Utc>| TimeDelta::seconds(zone.offset(t.timestamp()));
        let wall = |t: DateTime<Utc>| (t + ahead(t)).naive_utc();
        let wildcard = self.fields[0].0.starts_with('*') || self.fields[1].0.starts_with('*');
        let mut fires = Vec::new();
        // Long enough before the window that the furthest wall time is known: no fold is longer than a day.
        let mut t = after - TimeDelta::days(1);
        let mut furthest = wall(t);
        while t < until {
            t += minute;
            let now = wall(t);
            let due = if wildcard || now - furthest > TimeDelta::hours(3) + minute {
                self.names(now) && (wildcard || now > furthest)
            } else {
                let mut named = false;
                let mut reached = furthest;
                while reached < now {
                    reached += minute;
                    named |= self.names(reached);
                }
                named
            };
            furthest = furthest.max(now);
            if due && t > after {
                fires.push(t);
            }
        }
        fires
    }
}

fn oracle() -> impl Strategy<Value = Oracle> {
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
        .prop_map(|(a, b, c, d, e)| Oracle { fields: [a, b, c, d, e] })
}

/// Lines that fire every day: they meet every gap and fold of a window.
fn daily_oracle() -> impl Strategy<Value = Oracle> {
    let all = |range: std::ops::RangeInclusive<u32>| ("*".to_owned(), range.collect::<Vec<u32>>());
    (field(0, 59), field(0, 4)).prop_map(move |(minute, mut hour)| {
        if hour.0.starts_with('*') {
            hour = all(0..=23);
        } else if hour.0.contains('*') {
            hour = ("0-4".to_owned(), (0..=4).collect());
        }
        Oracle { fields: [minute, hour, all(1..=31), all(1..=12), all(0..=7)] }
    })
}

/// A zone and a whole minute, as near as can be to a change of the zone's offset, if it has one within two years.
fn near_a_change() -> impl Strategy<Value = (&'static str, DateTime<Utc>)> {
    let years = at("1973-01-01T00:00:00Z").timestamp()..at("2040-01-01T00:00:00Z").timestamp();
    let zones: Vec<&'static str> = Zone::names().collect();
    (prop::sample::select(zones), years, -1800..1800i64).prop_map(|(zone, t, minutes)| {
        let line = CronLine::parse("* * * * *", Zone::parse(zone).unwrap()).unwrap();
        let near = line.changes(t, t + 730 * DAY_S).next().unwrap_or(t);
        (zone, instant(near.div_euclid(60) * 60 + minutes * 60))
    })
}

/// The answers of `next_after`, asked again and again, in (after, until].
fn iterate(schedule: &Schedule, after: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    std::iter::successors(schedule.next_after(after), |t| schedule.next_after(*t))
        .take_while(|t| *t <= until)
        .collect()
}

fn agrees_with_the_oracle(
    oracle: &Oracle,
    zone: &str,
    after: DateTime<Utc>,
    hours: i64,
) -> Result<(), TestCaseError> {
    let until = after + TimeDelta::hours(hours);
    let schedule = schedule(&oracle.line(), zone);
    let expected = oracle.fires(zone, after, until);
    prop_assert_eq!(&iterate(&schedule, after, until), &expected, "{} after {}", &schedule, after);
    prop_assert_eq!(
        schedule.count_between(after, until),
        expected.len() as u64,
        "{:?} after {}",
        &schedule,
        after
    );
    prop_assert_eq!(schedule.latest_in(after, until), expected.last().copied());
    Ok(())
}

proptest! {
    #[test]
    fn any_line_fires_when_a_walk_through_the_minutes_does(
        oracle in oracle(), (zone, t) in near_a_change(), hours in 1..72i64,
    ) {
        agrees_with_the_oracle(&oracle, zone, t, hours)?;
    }

    #[test]
    fn a_daily_line_fires_when_a_walk_through_the_minutes_does(
        oracle in daily_oracle(), (zone, t) in near_a_change(), hours in 1..48i64,
    ) {
        agrees_with_the_oracle(&oracle, zone, t, hours)?;
    }

    #[test]
    fn counting_agrees_with_iterating(
        oracle in oracle(), (zone, t) in near_a_change(), before in 0..2_000_000i64, length in 0..4_000_000i64,
    ) {
        let schedule = schedule(&oracle.line(), zone);
        let after = t - TimeDelta::seconds(before);
        let until = after + TimeDelta::seconds(length);
        let fires = iterate(&schedule, after, until);
        prop_assert_eq!(schedule.count_between(after, until), fires.len() as u64, "{:?} {} {}", schedule, after, until);
        prop_assert_eq!(schedule.latest_in(after, until), fires.last().copied());
    }

    #[test]
    fn counting_several_lines_agrees_with_iterating(
        oracles in prop::collection::vec(oracle(), 0..4), every in prop::collection::vec(20..5000u32, 0..3),
        (zone, t) in near_a_change(), before in 0..400_000i64, length in 0..600_000i64,
    ) {
        let mut texts: Vec<String> = oracles.iter().map(Oracle::line).collect();
        texts.extend(every.iter().map(|seconds| format!("@every {seconds}s")));
        let schedule = Schedule::parse_lines(&texts, Zone::parse(zone).unwrap()).unwrap();
        let after = t - TimeDelta::seconds(before);
        let until = after + TimeDelta::seconds(length);
        let fires = iterate(&schedule, after, until);
        prop_assert_eq!(schedule.count_between(after, until), fires.len() as u64, "{:?} {} {}", schedule, after, until);
        prop_assert_eq!(schedule.latest_in(after, until), fires.last().copied());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-*/,0-9a-zA-Z@#?~ \\PC]{0,40}") {
        let _ = Schedule::parse(&text, Zone::UTC);
    }
}

/// A month of missed minutes, and a century of them, are counted without a step for each.
#[test]
fn counting_is_bounded_by_days() {
    let schedule = schedule("* * * * *", "Europe/Berlin");
    let (after, until) = (at("1970-01-02T00:00:00Z"), at("2100-12-30T00:00:00Z"));
    let days = NaiveDate::from_ymd_opt(2100, 12, 30).unwrap()
        - NaiveDate::from_ymd_opt(1970, 1, 2).unwrap();
    assert_eq!(schedule.count_between(after, until), days.num_minutes() as u64);
}
