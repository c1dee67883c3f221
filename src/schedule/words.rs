//! A cron line in words: `every 30 minutes`, `Mon-Fri at 08:00 Europe/Berlin`. A line that has no plain words is left as
//! it was written.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// More times of a day than that are no plain words.
const TIMES_MAX: usize = 4;

/// The words for a line that was read without a fault.
pub(super) fn of(line: &str, zone: &str) -> String {
    let expanded = match line {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        line => line,
    };
    let fields: Vec<&str> = expanded.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return line.to_owned() };
    let often = match (day, month, weekday) {
        ("*", "*", "*") => often(minute, hour),
        _ => None,
    };
    let words = often.or_else(|| {
        let times = times(minute, hour)?;
        let when = days(day, month, weekday)?;
        Some(format!("{when} at {times} {zone}"))
    });
    words.unwrap_or_else(|| match zone {
        "UTC" => line.to_owned(),
        zone => format!("{line} ({zone})"),
    })
}

/// A line that fires the same way each hour or each day through.
fn often(minute: &str, hour: &str) -> Option<String> {
    let every = |number: u32, unit: &str| match number {
        1 => format!("every {unit}"),
        number => format!("every {number} {unit}s"),
    };
    if hour == "*" {
        if let Some(step) = step(minute, 60) {
            return Some(every(step, "minute"));
        }
        return match number(minute, 59)? {
            0 => Some("every hour".to_owned()),
            minute => Some(format!("every hour at :{minute:02}")),
        };
    }
    let step = step(hour, 24)?;
    Some(match number(minute, 59)? {
        0 => every(step, "hour"),
        minute => format!("{} at :{minute:02}", every(step, "hour")),
    })
}

/// `*/5` where it divides the whole, so that the steps are all of one length; `*` is every one.
fn step(text: &str, whole: u32) -> Option<u32> {
    let step = match text {
        "*" => 1,
        text => text.strip_prefix("*/")?.parse().ok()?,
    };
    (step > 0 && whole.is_multiple_of(step) && step < whole).then_some(step)
}

fn number(text: &str, max: u32) -> Option<u32> {
    text.parse().ok().filter(|number| *number <= max)
}

/// `08:00`, `08:00 and 20:00`.
fn times(minute: &str, hour: &str) -> Option<String> {
    let numbers = |text: &str, max| text.split(',').map(|part| number(part, max)).collect();
    let (minutes, hours): (Option<Vec<u32>>, Option<Vec<u32>>) =
        (numbers(minute, 59), numbers(hour, 23));
    let (minutes, hours) = (minutes?, hours?);
    if minutes.len() * hours.len() > TIMES_MAX {
        return None;
    }
    let mut times: Vec<(u32, u32)> =
        hours.iter().flat_map(|hour| minutes.iter().map(|minute| (*hour, *minute))).collect();
    times.sort_unstable();
    times.dedup();
    Some(listed(times.iter().map(|(hour, minute)| format!("{hour:02}:{minute:02}")).collect()))
}

/// `a`, `a and b`, `a, b and c`.
fn listed(mut items: Vec<String>) -> String {
    match items.pop() {
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} and {last}", items.join(", ")),
        None => String::new(),
    }
}

fn days(day: &str, month: &str, weekday: &str) -> Option<String> {
    match (day, month, weekday) {
        ("*", "*", "*") => Some("daily".to_owned()),
        ("*", "*", weekday) => weekdays(weekday),
        (day, "*", "*") => Some(format!("on day {} of each month", number(day, 31)?)),
        (day, month, "*") => {
            let month = name(month, &MONTHS, 1)?;
            Some(format!("each year on {} {month}", number(day, 31)?))
        }
        _ => None,
    }
}

/// `Mon-Fri`, `Mon, Wed and Fri`.
fn weekdays(text: &str) -> Option<String> {
    if let Some((from, to)) = text.split_once('-') {
        return Some(format!("{}-{}", name(from, &DAYS, 0)?, name(to, &DAYS, 0)?));
    }
    let names: Option<Vec<String>> =
        text.split(',').map(|day| name(day, &DAYS, 0).map(str::to_owned)).collect();
    names.map(listed)
}

/// The name of a month or a day of the week, which may be written as a number or as its name.
fn name(text: &str, names: &[&'static str], first: usize) -> Option<&'static str> {
    if let Some(found) = names.iter().find(|name| name.eq_ignore_ascii_case(text)) {
        return Some(found);
    }
    let number: usize = text.parse().ok()?;
    // Sunday is 0 and 7.
    let number =
        if names.len() == 7 { number.checked_rem(7).filter(|_| number <= 7)? } else { number };
    names.get(number.checked_sub(first)?).copied()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_told_in_words() {
        let case = |line: &str, words: &str| {
            assert_eq!(super::of(line, "Europe/Berlin"), words, "{line}");
        };
        case("*/30 * * * *", "every 30 minutes");
        case("* * * * *", "every minute");
        case("*/1 * * * *", "every minute");
        case("0 * * * *", "every hour");
        case("@hourly", "every hour");
        case("15 * * * *", "every hour at :15");
        case("0 */6 * * *", "every 6 hours");
        case("5 */2 * * *", "every 2 hours at :05");
        case("0 8 * * 1-5", "Mon-Fri at 08:00 Europe/Berlin");
        case("0 8 * * mon-FRI", "Mon-Fri at 08:00 Europe/Berlin");
        case("30 3 * * *", "daily at 03:30 Europe/Berlin");
        case("@daily", "daily at 00:00 Europe/Berlin");
        case("0 20,8 * * *", "daily at 08:00 and 20:00 Europe/Berlin");
        case("0 3 * * 0", "Sun at 03:00 Europe/Berlin");
        case("0 3 * * 1,3,7", "Mon, Wed and Sun at 03:00 Europe/Berlin");
        case("0 3 1 * *", "on day 1 of each month at 03:00 Europe/Berlin");
        case("0 0 24 12 *", "each year on 24 Dec at 00:00 Europe/Berlin");
        case("@yearly", "each year on 1 Jan at 00:00 Europe/Berlin");
    }

    #[test]
    fn a_line_without_plain_words_is_left_as_it_was_written() {
        for line in [
            "*/7 * * * *",
            "0 */5 * * *",
            "0 3 1 * 1",
            "0-10 3 * * *",
            "0 1-5 * * *",
            "0 3 * 1-6 *",
            "0 3 */2 * *",
            "0 0,1,2,3,4 * * *",
            "0 3 * * 1-5/2",
        ] {
            assert_eq!(super::of(line, "UTC"), line);
            assert_eq!(super::of(line, "Asia/Tokyo"), format!("{line} (Asia/Tokyo)"));
        }
    }
}
