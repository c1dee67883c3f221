//! Drawings: the last 24 hours of a job, how long its runs took, a number over time. Made of numbers alone, and beside
//! each drawing stands in words what it shows.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, PreEscaped, html};

use super::words::number;
use crate::history::{Mark, Stretch};
use crate::job::RunState;

/// Five minutes each.
const COLUMNS: usize = 288;

/// How high a strip is.
const HIGH: u32 = 20;

/// The kinds of bar, each by its height too, from the one that gives way to the one that is seen. Above each other in a
/// column, the last one counts.
const BARS: [(&str, u32); 4] = [("ok", 11), ("run", 11), ("cut", 15), ("bad", 20)];

/// The last 24 hours.
pub(super) struct Day {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Day {
    pub(super) fn before(now: DateTime<Utc>) -> Day {
        Day { from: now - TimeDelta::hours(24), until: now }
    }

    pub(super) fn from(&self) -> DateTime<Utc> {
        self.from
    }

    /// The column of an instant, cut to the strip.
    fn column(&self, at: DateTime<Utc>) -> usize {
        let part = (at - self.from).num_seconds() as f64 / 86_400.0;
        ((part * COLUMNS as f64).max(0.0) as usize).min(COLUMNS - 1)
    }

    /// A strip: each run a bar, higher and darker the worse it ended; skips hollow; times without a daemon shaded.
    pub(super) fn strip(&self, marks: &[Mark], gaps: &[Stretch]) -> Markup {
        let mut worst = [None; COLUMNS];
        let mut skipped = [false; COLUMNS];
        let mut counts = [0_u64; BARS.len()];
        let mut skips = 0;
        for mark in marks.iter().filter(|mark| mark.until >= self.from) {
            let (bar, until) = match mark.state {
                None => {
                    skips += mark.count;
                    let columns = self.column(mark.from)..=self.column(mark.until);
                    columns.for_each(|column| skipped[column] = true);
                    continue;
                }
                Some(RunState::Failed) => (3, mark.until),
                Some(RunState::Interrupted) => (2, mark.until),
                Some(RunState::Running | RunState::Queued) => (1, self.until),
                Some(RunState::Succeeded) => (0, mark.until),
            };
            let columns = self.column(mark.from)..=self.column(until);
            counts[bar] += 1;
            columns.for_each(|column| worst[column] = worst[column].max(Some(bar)));
        }
        let mut drawing = String::new();
        for (from, until) in gaps.iter().filter(|(_, until)| *until > self.from) {
            let (from, until) = (self.column(*from), self.column(*until) + 1);
            let wide = until - from;
            // A `String` takes whatever is written to it.
            let _ = write!(drawing, r#"<path class="gap" d="M{from} 0h{wide}v{HIGH}h-{wide}z"/>"#);
        }
        let mut path = String::new();
        for (from, wide) in stretches(|column| skipped[column]) {
            let (left, wide) = (from as f64 + 0.4, (wide as f64 - 0.8).max(0.6));
            let _ = write!(path, "M{left} {}h{wide}v7h-{wide}z", HIGH - 8);
        }
        if !path.is_empty() {
            let _ = write!(
                drawing,
                r#"<path class="skip" vector-effect="non-scaling-stroke" d="{path}"/>"#
            );
        }
        for (bar, (class, high)) in BARS.iter().enumerate() {
            let mut path = String::new();
            for (from, wide) in stretches(|column| worst[column] == Some(bar)) {
                // Each column apart, so that many short runs do not look like one long one.
                for column in from..from + wide {
                    let _ = write!(path, "M{column} {}h.8v{high}h-.8z", HIGH - high);
                }
            }
            if !path.is_empty() {
                let _ = write!(drawing, r#"<path class="{class}" d="{path}"/>"#);
            }
        }
        let words = words(&counts, skips);
        html! {
            svg class="day" viewBox={ "0 0 " (COLUMNS) " " (HIGH) } preserveAspectRatio="none" role="img"
                aria-label={ "the last 24 hours: " (words) } { (PreEscaped(drawing)) }
            div class="caption" { (words) }
        }
    }
}

fn words(counts: &[u64; BARS.len()], skips: u64) -> String {
    let names = ["succeeded", "open", "interrupted", "failed"];
    let runs = counts.iter().zip(names).rev().filter(|(count, _)| **count > 0);
    let mut parts: Vec<String> =
        runs.map(|(count, name)| format!("{} {name}", number(*count))).collect();
    if skips > 0 {
        parts.push(format!("{} skipped", number(skips)));
    }
    if parts.is_empty() { "no runs".to_owned() } else { parts.join(", ") }
}

/// The stretches of columns that are so: where each begins, and how wide it is.
fn stretches(is_so: impl Fn(usize) -> bool) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for column in (0..COLUMNS).filter(|column| is_so(*column)) {
        match found.last_mut() {
            Some((from, wide)) if *from + *wide == column => *wide += 1,
            _ => found.push((column, 1)),
        }
    }
    found
}

/// A line through values, the oldest first, from the bottom at `floor`.
pub(super) fn line(class: &str, label: &str, values: &[f64], floor: f64) -> Markup {
    let (wide, high) = (100.0, 20.0);
    let top = values.iter().copied().fold(floor, f64::max);
    let span = if top > floor { top - floor } else { 1.0 };
    let step = wide / (values.len().max(2) - 1) as f64;
    let place = |index: usize, value: f64| {
        (index as f64 * step, high - 2.0 - (value - floor) / span * (high - 4.0))
    };
    let mut path = String::new();
    for (index, value) in values.iter().enumerate() {
        let (x, y) = place(index, *value);
        let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    html! {
        svg class=(class) viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label=(label) {
            (PreEscaped(format!(r#"<path class="line" vector-effect="non-scaling-stroke" d="{path}"/>"#)))
        }
    }
}

/// The value below which so many hundredths of the values lie.
pub(super) fn percentile(sorted: &[f64], hundredths: usize) -> Option<f64> {
    let rank = (sorted.len() * hundredths).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(state: Option<RunState>, from: DateTime<Utc>, minutes: i64) -> Mark {
        let until = from + TimeDelta::minutes(minutes);
        Mark { state, from, until, count: 1, duration_s: None }
    }

    #[test]
    fn a_strip_shows_the_worst_of_five_minutes_and_says_all_in_words() {
        let now: DateTime<Utc> = "2026-08-24T12:00:00Z".parse().unwrap();
        let day = Day::before(now);
        let ago = |minutes| now - TimeDelta::minutes(minutes);
        let marks = [
            mark(Some(RunState::Succeeded), ago(61), 0),
            mark(Some(RunState::Failed), ago(62), 0),
            mark(Some(RunState::Succeeded), ago(600), 0),
            mark(None, ago(300), 10),
            mark(Some(RunState::Succeeded), ago(3000), 0),
        ];
        let strip = day.strip(&marks, &[(ago(2000), ago(1400))]).into_string();
        let words = "1 failed, 2 succeeded, 1 skipped";
        assert!(strip.ends_with(&format!("<div class=\"caption\">{words}</div>")), "{strip}");
        assert!(strip.contains("<path class=\"bad\" d=\"M275 0h.8v20h-.8z\"/>"), "{strip}");
        assert!(strip.contains("<path class=\"ok\" d=\"M168 9h.8v11h-.8z\"/>"), "{strip}");
        assert!(strip.contains("<path class=\"gap\" d=\"M0 0h9v20h-9z\"/>"), "{strip}");
        assert!(strip.contains("<path class=\"skip\" vector-effect=\"non-scaling-stroke\" d=\"M228.4 12h2.2v7h-2.2z\"/>"), "{strip}");
        assert!(day.strip(&[], &[]).into_string().contains("no runs"));
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 95)), (Some(10.0), Some(19.0)));
        assert_eq!((percentile(&[7.0], 95), percentile(&[], 50)), (Some(7.0), None));
    }
}
