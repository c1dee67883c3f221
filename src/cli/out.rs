//! Standard output: written through one buffer, and quiet when nobody reads it any more (`| head`).

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::exit::{Exit, Failure};

/// Where a command writes its result.
pub(super) struct Out {
    buffer: BufWriter<StdoutLock<'static>>,
    colours: bool,
}

/// What a colour tells, where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
    Quiet,
}

/// One cell of a table.
pub(super) struct Cell(String, Tone);

impl Cell {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Cell {
        Cell(visible(&text.into()).into_owned(), tone)
    }

    /// The same with more text in the same colour.
    pub(super) fn with_suffix(mut self, text: &str) -> Cell {
        self.0.push_str(text);
        self
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(text, Tone::Plain)
    }
}

impl Out {
    pub(super) fn stdout() -> Out {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let colours = io::stdout().is_terminal()
            && set("NO_COLOR").is_none()
            && set("TERM").is_none_or(|term| term != "dumb");
        Out { buffer: BufWriter::new(io::stdout().lock()), colours }
    }

    /// Writes a value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, value)?;
        self.buffer.write_all(b"\n")
    }

    /// Writes rows as columns, each as wide as its widest cell.
    pub(super) fn table(&mut self, rows: &[Vec<Cell>]) -> io::Result<()> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.0.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in rows {
            let last = row.iter().rposition(|cell| !cell.0.is_empty()).map_or(0, |last| last + 1);
            for (index, (Cell(text, tone), width)) in row[..last].iter().zip(&widths).enumerate() {
                let gap = if index + 1 == last { 0 } else { width + 2 - text.chars().count() };
                let paint = tone.code().filter(|_| self.colours);
                match paint {
                    Some(code) => write!(self.buffer, "\x1b[{code}m{text}\x1b[0m")?,
                    None => self.buffer.write_all(text.as_bytes())?,
                }
                write!(self.buffer, "{:gap$}", "")?;
            }
            self.buffer.write_all(b"\n")?;
        }
        Ok(())
    }
}

impl Tone {
    /// The colour as terminals take it.
    fn code(self) -> Option<u8> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some(32),
            Tone::Doubtful => Some(33),
            Tone::Bad => Some(31),
            Tone::Quiet => Some(2),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffer.flush()
    }
}

/// What a failed write to standard output means: nothing, where the reader has seen enough.
pub(super) fn written(result: io::Result<()>, exit: Exit) -> Result<Exit, Failure> {
    match result {
        Ok(()) => Ok(exit),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        Err(error) => {
            Err(Failure::unavailable(format!("cannot write to standard output: {error}")))
        }
    }
}

/// Text as a terminal may be given it: what could break a line or move the cursor is escaped.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if c.is_control() && c != '\t' => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Says a line on standard error, where nobody may be left to be told.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// An instant as it is written everywhere: `2026-08-24T12:00:00Z`.
pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How far away an instant is, for a person: `in 12 min`, `3 h ago`.
pub(super) fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (at - now).to_std() {
        Ok(ahead) => format!("in {}", length(ahead)),
        Err(_) => format!("{} ago", length((now - at).to_std().unwrap_or_default())),
    }
}

/// A length of time in its largest unit, rounded down.
pub(super) fn length(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 2 * 3_600 => format!("{} min", seconds / 60),
        seconds if seconds < 2 * 86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// The duration of a run for a person: `0.42 s`, `2 min 5 s`.
pub(super) fn seconds(duration: f64) -> String {
    if duration < 10.0 {
        return format!("{duration:.2} s");
    }
    let whole = duration.round() as u64;
    match whole {
        0..60 => format!("{duration:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

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
    fn no_text_can_break_a_line() {
        assert_eq!(visible("plain é"), "plain é");
        assert_eq!(visible("a\n\x1b[31mb"), "a\\n\\u{1b}[31mb");
    }

    #[test]
    fn durations_are_as_exact_as_a_person_wants() {
        for (duration, expected) in [
            (0.004, "0.00 s"),
            (9.994, "9.99 s"),
            (12.34, "12.3 s"),
            (125.0, "2 min 5 s"),
            (7_260.0, "2 h 1 min"),
        ] {
            assert_eq!(seconds(duration), expected);
        }
    }
}
