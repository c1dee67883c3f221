//! Words of the page: text from outside, instants, outcomes, links.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, Utc};
use maud::{Markup, PreEscaped, Render, html};

use crate::config::JobName;
use crate::history::Row;
use crate::job::{RunId, RunRecord, RunState, Skip};
use crate::text::{instant, relative, visible};

/// Text from outside, cut after so many characters: nothing in it acts, and the reading direction of what stands around
/// it stays.
pub(super) struct Said<'t>(pub(super) &'t str, pub(super) usize);

impl Render for Said<'_> {
    fn render_to(&self, page: &mut String) {
        let Said(text, max) = self;
        let (text, is_cut) = match text.char_indices().nth(*max) {
            Some((end, _)) => (&text[..end], true),
            None => (*text, false),
        };
        visible(text).render_to(page);
        if is_cut {
            page.push('…');
        }
    }
}

/// The same as a phrase of its own, which is read in its own direction.
pub(super) fn said(text: &str) -> Markup {
    html! { bdi { (Said(text, 200)) } }
}

/// An instant, short: the day only where it is another one.
pub(super) fn time(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let format = match (at.date_naive() == now.date_naive(), at.year() == now.year()) {
        (true, _) => "%H:%M UTC",
        (false, true) => "%-d %b %H:%M UTC",
        (false, false) => "%-d %b %Y %H:%M UTC",
    };
    html! { time datetime=(instant(at)) { (at.format(format).to_string()) } }
}

/// An instant, to the second.
pub(super) fn time_of_day(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(instant(at)) class="s" { (at.format("%-d %b %Y %H:%M:%S UTC").to_string()) } }
}

/// How far away an instant is, and which it is.
pub(super) fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! { span class="pair" { (relative(at, now)) "," } " " span class="quiet" { (time(at, now)) } }
}

/// The class, the shape and the word of an outcome.
fn look(state: RunState) -> (&'static str, &'static str) {
    match state {
        RunState::Succeeded => ("ok", r#"<circle cx="5" cy="5" r="4"/>"#),
        RunState::Failed => (
            "bad",
            r#"<path d="M1 2.4 2.4 1 5 3.6 7.6 1 9 2.4 6.4 5 9 7.6 7.6 9 5 6.4 2.4 9 1 7.6 3.6 5z"/>"#,
        ),
        RunState::Interrupted => {
            ("cut", r#"<path d="M5 1a4 4 0 0 0 0 8z"/><path d="M6 1.1v7.8" class="line"/>"#)
        }
        RunState::Running => ("run", r#"<path d="M2 1 9 5 2 9z"/>"#),
        RunState::Queued => ("run", r#"<path d="M2 1 9 5 2 9z" class="line"/>"#),
    }
}

/// An outcome by shape, colour and word.
pub(super) fn outcome(state: RunState) -> Markup {
    let (class, shape) = look(state);
    shown(class, shape, state.as_str())
}

/// The same of occurrences that made no run.
pub(super) fn skipped(word: &str) -> Markup {
    shown("skip", r#"<circle cx="5" cy="5" r="3.4" class="line"/>"#, word)
}

/// The same of a line of the history.
pub(super) fn outcome_of(row: &Row) -> Markup {
    match row {
        Row::Run(run) => outcome(run.state),
        Row::Skip(skip) => skipped(&format!("{} ({})", Skip::WORD, skip.reason.as_str())),
    }
}

fn shown(class: &str, shape: &str, word: &str) -> Markup {
    html! {
        span class={ "outcome " (class) } {
            svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" { (PreEscaped(shape)) }
            (word)
        }
    }
}

/// When a run is said to have been.
pub(super) fn moment_of(record: &RunRecord) -> DateTime<Utc> {
    record.finished_at.or(record.started_at).unwrap_or(record.decided_at)
}

/// A longer address than this is not sent by every browser, nor taken by this program.
const LINK_MAX: usize = 4_000;

/// A name that leads to the page of its job.
pub(super) fn job_link(job: &JobName) -> Markup {
    link(&format!("/jobs/{}", encoded(job.as_str())), &html! { (Said(job.as_str(), 120)) })
}

/// The address of a run's page.
pub(super) fn run_address(id: &RunId) -> String {
    format!("/runs/{}", encoded(id.as_str()))
}

pub(super) fn link(address: &str, text: &Markup) -> Markup {
    html! {
        @if address.len() > LINK_MAX {
            bdi { (text) }
        } @else {
            a href=(address) { bdi { (text) } }
        }
    }
}

/// Text as part of an address.
pub(super) fn encoded(text: &str) -> Cow<'_, str> {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut address = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match is_plain(byte) {
            true => address.push(char::from(byte)),
            false => address.push_str(&format!("%{byte:02X}")),
        }
    }
    Cow::Owned(address)
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that a person would name.
pub(super) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 1000.0 {
            return if unit == "B" { format!("{size} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// `1 job`, `2 jobs`.
pub(super) fn counted(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{} {one}s", number(count as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_acts_in_a_page() {
        let page =
            html! { (said("<img src=x onerror=alert(1)>\u{202e}&\"</style>")) }.into_string();
        assert_eq!(
            page,
            "<bdi>&lt;img src=x onerror=alert(1)&gt;\\u{202e}&amp;&quot;&lt;/style&gt;</bdi>"
        );
        assert_eq!(html! { (Said(&"é".repeat(300), 3)) }.into_string(), "ééé…");
        let job = JobName::new("a/b?<\"é");
        assert_eq!(
            job_link(&job).into_string(),
            "<a href=\"/jobs/a%2Fb%3F%3C%22%C3%A9\"><bdi>a/b?&lt;&quot;é</bdi></a>"
        );
        let long = JobName::new(&"%".repeat(2000));
        assert!(!job_link(&long).into_string().contains("href"));
    }

    #[test]
    fn numbers_are_written_for_people() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")];
        for (given, expected) in cases {
            assert_eq!(number(given), expected);
        }
        assert_eq!((bytes(12).as_str(), bytes(1_500_000).as_str()), ("12 B", "1.5 MB"));
        assert_eq!((counted(1, "job").as_str(), counted(2, "job").as_str()), ("1 job", "2 jobs"));
    }

    #[test]
    fn the_day_is_said_where_it_is_another() {
        let now: DateTime<Utc> = "2026-08-24T12:00:00Z".parse().unwrap();
        let case = |at: &str, shown: &str| {
            let page = time(at.parse().unwrap(), now).into_string();
            assert_eq!(page, format!("<time datetime=\"{at}\">{shown}</time>"));
        };
        case("2026-08-24T08:05:00Z", "08:05 UTC");
        case("2026-08-25T08:05:00Z", "25 Aug 08:05 UTC");
        case("2027-01-01T00:00:00Z", "1 Jan 2027 00:00 UTC");
    }
}
