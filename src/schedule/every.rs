//! `@every DURATION`: the multiples of a length of time since the start of 1970, so the same after a restart.

use super::error::ScheduleError;
use super::seconds::{DAY_S, FIRST_WALL, LAST_WALL};

/// The longest length: a leap year.
const LONGEST_S: u64 = 366 * 86_400;

/// A length of time in seconds, 1 or more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Every(i64);

impl Every {
    /// Reads what stands behind `@every`: `90s`, `5m`, `20 min`, `1h30m`, `2d`, `1w`.
    pub(super) fn parse(text: &str) -> Result<Every, ScheduleError> {
        let text: String = text.split_ascii_whitespace().collect();
        let refuse = |why: &str| {
            Err(ScheduleError(format!(
                "@every {text:?}: {why}: write a length such as @every 90s, @every 5m or @every 1h30m"
            )))
        };
        if text.is_empty() {
            return Err(ScheduleError(
                "@every without a length: write how often, such as @every 5m".to_owned(),
            ));
        }
        let mut rest = text.as_str();
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, behind) = rest.split_at(digits);
            if number.is_empty() {
                return refuse("that is no length of time");
            }
            let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, behind) = behind.split_at(letters);
            let seconds = match unit {
                "s" | "sec" | "secs" | "second" | "seconds" => 1,
                "m" | "min" | "mins" | "minute" | "minutes" => 60,
                "h" | "hour" | "hours" => 3_600,
                "d" | "day" | "days" => 86_400,
                "w" | "week" | "weeks" => 7 * 86_400,
                "" => return refuse("the unit is missing (s, m, h, d or w)"),
                _ => return refuse("the units are s, m, h, d and w"),
            };
            let number: u64 = number.parse().unwrap_or(u64::MAX);
            total = total.saturating_add(number.saturating_mul(seconds));
            rest = behind;
        }
        match total {
            0 => refuse("that would never end"),
            1..=LONGEST_S => Ok(Every(total.cast_signed())),
            _ => refuse("that is longer than 366 days"),
        }
    }

    /// The first multiple after the instant `t`.
    pub(super) fn next_after(self, t: i64) -> Option<i64> {
        let next = (t.div_euclid(self.0) + 1) * self.0;
        let next = next.max(FIRST_WALL);
        (next <= LAST_WALL).then_some(next)
    }

    /// How many instants in (`after`, `until`] are a multiple of one of `all`, by adding and taking away what several
    /// have in common.
    pub(super) fn count_union(all: &[Every], after: i64, until: i64) -> u64 {
        let mut sets: Vec<i64> = all.iter().map(|every| every.0).collect();
        sets.sort_unstable();
        sets.dedup();
        let mut count: i64 = 0;
        for choice in 1u32..1 << sets.len() {
            let chosen = (0..sets.len()).filter(|at| choice >> at & 1 == 1).map(|at| sets[at]);
            let step = chosen.fold(1, lcm);
            let within = multiples(step, after, until);
            count += if choice.count_ones() % 2 == 1 { within } else { -within };
        }
        count.unsigned_abs()
    }

    /// The instants in (`after`, `until`] that are multiples and begin a minute.
    pub(super) fn whole_minutes(self, after: i64, until: i64) -> impl Iterator<Item = i64> {
        let step = lcm(self.0, 60);
        let first = (after.div_euclid(step) + 1) * step;
        (first..=until).step_by(usize::try_from(step).unwrap_or(usize::MAX))
    }

    /// Whether `t` is one of the multiples.
    pub(super) fn fires_at(self, t: i64) -> bool {
        t.rem_euclid(self.0) == 0
    }

    /// `every 5 minutes`.
    pub(super) fn words(self) -> String {
        let units = [(DAY_S, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
        let mut rest = self.0;
        let mut parts = Vec::new();
        for (size, name) in units {
            match rest / size {
                0 => {}
                1 if parts.is_empty() && rest == size => return format!("every {name}"),
                1 => parts.push(format!("1 {name}")),
                number => parts.push(format!("{number} {name}s")),
            }
            rest %= size;
        }
        format!("every {}", parts.join(" "))
    }
}

fn multiples(step: i64, after: i64, until: i64) -> i64 {
    let after = after.max(FIRST_WALL - 1);
    let until = until.min(LAST_WALL);
    if after >= until { 0 } else { until.div_euclid(step) - after.div_euclid(step) }
}

/// The least common multiple; no larger than what the years that can be answered hold.
fn lcm(a: i64, b: i64) -> i64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).saturating_mul(b).min(LAST_WALL + 1)
}
