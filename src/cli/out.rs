//! Standard output: written through one buffer, and quiet when nobody reads it any more (`| head`). Whatever is written
//! passes [`visible`] on its way, so that no command can forget it.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use super::exit::{Exit, Failure};
use crate::logging::priority;
use crate::text::{visible, write_json};

/// Where a command writes its result.
pub(super) struct Out {
    buffer: BufWriter<StdoutLock<'static>>,
    colours: bool,
}

/// The meaning of a colour, where there are colours.
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
        self.json_part(value)?;
        self.own("\n")
    }

    /// Writes a value as JSON, as part of a line.
    pub(super) fn json_part(&mut self, value: &impl Serialize) -> io::Result<()> {
        write_json(&mut self.buffer, value)
    }

    /// Writes text of this program, in which nothing comes from outside, as it is.
    pub(super) fn own(&mut self, text: &str) -> io::Result<()> {
        self.buffer.write_all(text.as_bytes())
    }

    /// The end of `writeln!`: one line, whatever is in it.
    pub(super) fn write_fmt(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        let line = line.to_string();
        let (line, end) = line.strip_suffix('\n').map_or((&line[..], ""), |line| (line, "\n"));
        self.buffer.write_all(visible(line).as_bytes())?;
        self.buffer.write_all(end.as_bytes())
    }

    /// Hands over what the buffer holds.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.buffer.flush()
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

/// The meaning of a failed write to standard output: none, where the reader has seen enough.
pub(super) fn written(result: io::Result<()>, exit: Exit) -> Result<Exit, Failure> {
    match result {
        Ok(()) => Ok(exit),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        Err(error) => {
            Err(Failure::unavailable(format!("cannot write to standard output: {error}")))
        }
    }
}

/// Says a line on standard error, where nobody may be left to be told.
pub(super) fn say(line: &str) {
    say_at(log::Level::Info, line);
}

/// The same for a line that matters as much as `level` says, where standard error goes to the journal.
pub(super) fn say_at(level: log::Level, line: &str) {
    let _ = writeln!(io::stderr(), "{}{}", priority(level), visible(line));
}
