//! How text is shown, and how instants and lengths of time are written. Every room shows them the same way.
//!
//! Names, ids, output of programs and words of servers come from outside. Before they reach a terminal, a log or a
//! page they pass [`visible`], so that none of them can break a line, move the cursor, turn the reading direction or
//! hide.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// The text with every character that acts instead of being seen shown escaped (`\n`, `\u{202e}`). Text without one
/// is borrowed.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_unseen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    push_visible(&mut shown, text);
    Cow::Owned(shown)
}

/// The same for bytes that need not be UTF-8: a byte that is not is shown as `\xff`.
pub(crate) fn visible_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return visible(text);
    }
    let mut shown = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        push_visible(&mut shown, chunk.valid());
        for byte in chunk.invalid() {
            write!(shown, "\\x{byte:02x}").expect("a String takes whatever is written to it");
        }
    }
    Cow::Owned(shown)
}

fn push_visible(shown: &mut String, text: &str) {
    for c in text.chars() {
        match acts_unseen(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
}

/// Whether a character acts on its surroundings, or takes part in a text, without being seen: control characters, line
/// separators, the marks that turn the reading direction, and the format characters of no width.
pub(crate) fn acts_unseen(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Writes a value as JSON in one line. It means the same as any JSON of that value; characters that [`visible`] shows
/// escaped are written as `\u202e`, so that the line does no harm on a terminal either.
pub(crate) fn write_json(out: impl io::Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, VisibleJson)).map_err(io::Error::from)
}

/// JSON without spaces and without characters that act unseen.
struct VisibleJson;

impl Formatter for VisibleJson {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(acts_unseen) {
            let (plain, hidden) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let mut chars = hidden.chars();
            for unit in chars.next().expect("it was found").encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(out, escape)
    }
}

/// An instant as it is written everywhere: `2026-08-24T12:00:00Z`.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The same to the millisecond, for the log.
pub(crate) fn instant_ms(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// How far away an instant is, for a person: `in 12 min`, `3 h ago`.
pub(crate) fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (at - now).to_std() {
        Ok(ahead) => format!("in {}", length(ahead)),
        Err(_) => format!("{} ago", length((now - at).to_std().unwrap_or_default())),
    }
}

/// A length of time in its largest unit, rounded down.
pub(crate) fn length(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 2 * 3_600 => format!("{} min", seconds / 60),
        seconds if seconds < 2 * 86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// The duration of a run for a person: `0.42 s`, `2 min 5 s`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.2} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// Seconds to the millisecond, for the log.
pub(crate) fn to_millis(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

/// The remedy for an error by which the process, or the system, has run out of file handles; no right on any file
/// would help then. `None` for any other error.
pub(crate) fn shortage(error: &io::Error) -> Option<&'static str> {
    let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
        .then_some(OUT_OF_FILES)
}

/// Why a process or a thread cannot be started. EAGAIN, which is a wait elsewhere, is a limit here.
pub(crate) fn not_started(error: &io::Error) -> String {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::AGAIN) => {
            format!("{error}: too many processes: raise TasksMax= of the service, or ulimit -u")
        }
        _ => with_remedy(error),
    }
}

/// An error of the system, and what to do about it where that is a [`shortage`].
pub(crate) fn with_remedy(error: &io::Error) -> String {
    match shortage(error) {
        Some(remedy) => format!("{error}: {remedy}"),
        None => error.to_string(),
    }
}

/// The remedy for an error that [`shortage`] knows.
pub(crate) const OUT_OF_FILES: &str =
    "too many files are open: raise LimitNOFILE= of the service, or ulimit -n";

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn no_text_can_break_a_line_move_the_cursor_or_turn_the_reading_direction() {
        for (text, shown) in [
            ("plain é 日本 🎉", "plain é 日本 🎉"),
            ("a\n\x1b[31mb\tc\r", "a\\n\\u{1b}[31mb\\tc\\r"),
            // C1: on many terminals U+009B begins a control sequence, as ESC [ does.
            ("\u{9b}31m\u{85}\u{7f}", "\\u{9b}31m\\u{85}\\u{7f}"),
            ("a\u{2028}b\u{2029}c", "a\\u{2028}b\\u{2029}c"),
            (
                "gpj.\u{202e}exe\u{2066}\u{200f}\u{61c}",
                "gpj.\\u{202e}exe\\u{2066}\\u{200f}\\u{61c}",
            ),
            ("no\u{200b}te\u{feff}\u{ad}\u{e0041}", "no\\u{200b}te\\u{feff}\\u{ad}\\u{e0041}"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert!(matches!(visible("plain é"), Cow::Borrowed(_)));
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_as_numbers() {
        assert_eq!(visible_bytes(b"a\xff\xfeb\n"), "a\\xff\\xfeb\\n");
        assert!(matches!(visible_bytes("é".as_bytes()), Cow::Borrowed("é")));
    }

    #[test]
    fn json_does_no_harm_on_a_terminal_and_means_the_same() {
        let value =
            serde_json::json!({"a\u{202e}b": ["\u{9b}2J\x1b\"\\\n", "é🎉\u{e0041}"], "n": 1});
        let mut line = Vec::new();
        write_json(&mut line, &value).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line, r#"{"a\u202eb":["\u009b2J\u001b\"\\\n","é🎉\udb40\udc41"],"n":1}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }

    #[test]
    fn distances_are_told_in_one_unit() {
        let now = "2026-08-24T12:00:00Z".parse().unwrap();
        let case = |by: i64, expected| {
            assert_eq!(relative(now + TimeDelta::seconds(by), now), expected);
        };
        case(0, "in 0 s");
        case(119, "in 119 s");
        case(-120, "2 min ago");
        case(7_199, "in 119 min");
        case(-7_200, "2 h ago");
        case(172_800, "in 2 d");
    }

    #[test]
    fn durations_are_as_exact_as_a_person_wants() {
        for (seconds, expected) in [
            (0.004, "0.00 s"),
            (9.994, "9.99 s"),
            (12.34, "12.3 s"),
            (125.0, "2 min 5 s"),
            (7_260.0, "2 h 1 min"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }
}
