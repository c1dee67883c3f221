//! The forms a value may be written in. Each says, when it refuses one, what to write instead.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::node::{Node, Reading};

/// No stretch of time is longer: what is asked for beyond this is a slip, and sums of it would overflow.
const YEARS_MAX: u64 = 100;
const SECONDS_MAX: u64 = YEARS_MAX * 365 * 86_400;

/// The forms that [`duration_of`] takes, for a message.
const DURATION_FORM: &str = "write seconds (300) or a number with a unit (5 min, 1.5 h, 7 d)";

/// A stretch of time: a number of seconds, or text as [`parse_duration`] takes it. An `Err` says what to write.
pub(crate) fn duration_of(value: &Node) -> Result<Duration, String> {
    match (value.as_f64(), value.as_str()) {
        (Some(seconds), _) => in_bounds(seconds),
        (None, Some(text)) => parse_duration(text),
        (None, None) => Err(DURATION_FORM.to_owned()),
    }
}

/// A stretch of time in words: `90 s`, `10 min`, `1.5h`, `30d`, `2 weeks`, `1 h 30 min`. A unit is needed. An `Err`
/// says what to write.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(DURATION_FORM.to_owned());
    }
    while !rest.is_empty() {
        let (number, behind) = split_at_first(rest, |c| !(c.is_ascii_digit() || c == '.'));
        let (unit, behind) = split_at_first(behind.trim_start(), |c| !c.is_ascii_alphabetic());
        let number: f64 = number.parse().map_err(|_| DURATION_FORM.to_owned())?;
        seconds += number * seconds_of_unit(unit).ok_or(DURATION_FORM)?;
        rest = behind.trim_start();
    }
    in_bounds(seconds)
}

fn split_at_first(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

fn seconds_of_unit(unit: &str) -> Option<f64> {
    Some(match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

fn in_bounds(seconds: f64) -> Result<Duration, String> {
    if seconds < 0.0 {
        return Err("time cannot be negative".to_owned());
    }
    if seconds > SECONDS_MAX as f64 {
        return Err(format!("at most {SECONDS_MAX} seconds ({YEARS_MAX} years)"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| DURATION_FORM.to_owned())
}

/// Text.
pub(super) fn text(value: &Node) -> Result<String, String> {
    match value.reading() {
        Some(Reading::Text(text)) => without_nul(text),
        Some(Reading::Flag(_) | Reading::Whole(_) | Reading::Number(_)) => {
            Err("write text; here it needs quotes".to_owned())
        }
        Some(Reading::Null) | None => Err("write text".to_owned()),
    }
}

fn without_nul(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        Err("take out the NUL character".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// One line of text, or a list of them, which may be empty.
pub(super) fn texts_or_none(value: &Node) -> Result<Vec<String>, String> {
    let Some(items) = value.as_list() else { return Ok(vec![text(value)?]) };
    items.map(text).collect()
}

/// One line of text, or a list of them.
pub(super) fn texts(value: &Node) -> Result<Vec<String>, String> {
    let lines = texts_or_none(value)?;
    if lines.is_empty() {
        Err("the list is empty: write one line or several".to_owned())
    } else {
        Ok(lines)
    }
}

/// A path.
pub(super) fn path(value: &Node) -> Result<String, String> {
    text(value).and_then(|path| match path {
        path if path.is_empty() => Err("write a path".to_owned()),
        path if path.contains("${") => {
            Err("${...} is not filled in in this file: write the path, or set its variable"
                .to_owned())
        }
        path => Ok(path),
    })
}

/// `true` or `false`.
pub(super) fn flag(value: &Node) -> Result<bool, String> {
    value.as_flag().ok_or_else(|| {
        let is_quoted = value.as_str().is_some_and(|text| flag_word(text).is_some());
        let form =
            if is_quoted { "write true or false, without quotes" } else { "write true or false" };
        form.to_owned()
    })
}

/// A flag as an environment variable says it, in any case.
pub(super) fn flag_word(word: &str) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A whole number in a range.
pub(super) fn whole(range: RangeInclusive<u32>) -> impl Fn(&Node) -> Result<u32, String> {
    move |value| {
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| whole_form(&range))
    }
}

/// A whole number in a range, as an environment variable says it.
pub(super) fn whole_word(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> {
    move |word| {
        let number = word.trim().parse().ok();
        number.filter(|number| range.contains(number)).ok_or_else(|| whole_form(&range))
    }
}

fn whole_form(range: &RangeInclusive<u32>) -> String {
    format!("write a whole number from {} to {}", range.start(), range.end())
}

/// A number in a range.
pub(super) fn number(range: RangeInclusive<f64>) -> impl Fn(&Node) -> Result<f64, String> {
    move |value| {
        let number = value.as_f64().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("write a number from {} to {}", range.start(), range.end()))
    }
}

/// A stretch of time that is not zero.
pub(super) fn duration_over_zero(value: &Node) -> Result<Duration, String> {
    match duration_of(value)? {
        Duration::ZERO => Err("write more than 0, or null for no limit".to_owned()),
        duration => Ok(duration),
    }
}

/// A stretch of time in whole seconds.
pub(super) fn whole_seconds(value: &Node) -> Result<Duration, String> {
    let duration = duration_of(value)?;
    if duration.subsec_nanos() == 0 { Ok(duration) } else { Err("write whole seconds".to_owned()) }
}

/// The program and its arguments. A fault is told without them: a secret may be among them.
pub(super) fn argv(value: &Node) -> Result<Vec<String>, String> {
    const FORM: &str = r#"write the program and its arguments as a list, such as ["python3", "report.py", "--quiet"]"#;
    let Some(items) = value.as_list() else {
        return Err(match value.as_str() {
            Some(_) => format!("one line of text, and no shell takes it apart here: {FORM}"),
            None => FORM.to_owned(),
        });
    };
    let words: Vec<String> = items
        .enumerate()
        .map(|(at, item)| word(item).map_err(|why| format!("item {}: {why}", at + 1)))
        .collect::<Result<_, _>>()?;
    match words.first() {
        None => Err(format!("the list is empty: {FORM}")),
        Some(program) if program.is_empty() => Err(format!("the program has no name: {FORM}")),
        Some(_) => Ok(words),
    }
}

/// Text that goes to another program: a scalar as it was written, whatever YAML makes of it.
pub(super) fn word(value: &Node) -> Result<String, String> {
    match (value.written(), value.reading()) {
        (Some(""), _) if value.is_plain() => {
            Err(r#"nothing is written: write "" for an empty text"#.to_owned())
        }
        (Some(text), Some(_)) => without_nul(text),
        _ => Err("write text".to_owned()),
    }
}

/// The known word that `word` was probably meant to be: at most two letters away, a swap of neighbours counting as one.
pub(crate) fn suggestion<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    // A short word is two letters away from almost anything.
    within_two_letters(word, known, |distance, letters| distance * 2 < letters)
}

/// The same where another service's key is the only other thing it could be, and a needless warning does less harm than
/// a missing one: a short word counts as well, if any letter of it is right.
pub(super) fn near_key<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    within_two_letters(word, known.iter().copied(), |distance, letters| distance < letters)
}

fn within_two_letters<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
    is_near: impl Fn(usize, usize) -> bool,
) -> Option<&'k str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::osa_distance(&word, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= 2 && is_near(*distance, known.chars().count()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_in_seconds_or_with_units() {
        let cases = [
            ("300", Ok(300.0)),
            ("0", Ok(0.0)),
            ("0.5", Ok(0.5)),
            ("90 s", Ok(90.0)),
            ("10 min", Ok(600.0)),
            ("1.5h", Ok(5_400.0)),
            ("1h30m", Ok(5_400.0)),
            ("2 weeks", Ok(1_209_600.0)),
            ("30d", Ok(2_592_000.0)),
            ("\"300\"", Err(DURATION_FORM)),
            ("\"\"", Err(DURATION_FORM)),
            ("5 parsecs", Err(DURATION_FORM)),
            ("min", Err(DURATION_FORM)),
            ("1.2.3 s", Err(DURATION_FORM)),
            ("-5 s", Err(DURATION_FORM)),
            ("true", Err(DURATION_FORM)),
            ("[1]", Err(DURATION_FORM)),
            (".nan", Err(DURATION_FORM)),
            ("-1", Err("time cannot be negative")),
            (".inf", Err("at most 3153600000 seconds (100 years)")),
            ("1e300", Err("at most 3153600000 seconds (100 years)")),
            ("5000 w", Ok(3_024_000_000.0)),
            ("6000 w", Err("at most 3153600000 seconds (100 years)")),
        ];
        for (yaml, expected) in cases {
            let found = duration_of(&crate::config::tree::parse(yaml, None).unwrap());
            let found = found.as_ref().map(Duration::as_secs_f64).map_err(String::as_str);
            assert_eq!(found, expected, "{yaml}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        let known = ["enabled", "cron", "env", "timezone"];
        let cases = [
            ("enabeld", Some("enabled")),
            ("Enabled", Some("enabled")),
            ("enable", Some("enabled")),
            ("time_zone", Some("timezone")),
            ("crom", Some("cron")),
            ("evn", Some("env")),
            ("end", Some("env")),
            ("count", None),
            ("key", None),
            ("metric", None),
        ];
        for (word, expected) in cases {
            assert_eq!(suggestion(word, known), expected, "{word}");
        }
        for (word, expected) in
            [("prod", Some("port")), ("ur", Some("uri")), ("hosst", Some("host")), ("xyz", None)]
        {
            assert_eq!(near_key(word, &["uri", "host", "port"]), expected, "{word}");
        }
    }
}
