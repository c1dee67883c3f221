//! `blocks FILE...`: what the parser sees. Reads the named files and nothing else, not even the configuration.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use super::arguments::Blocks;
use super::exit::{Exit, Failure};
use super::out::{Out, say, written};
use crate::block::VaultPath;
use crate::vault::{BlockRef, ParseOptions, ParsedFile, parse_bytes};

/// One block in `--json`.
#[derive(Serialize)]
struct ShownBlock<'a> {
    file: &'a str,
    id: &'a str,
    version: i64,
    line: u32,
    level: &'static str,
    text: &'a str,
    hash: String,
    body_hash: String,
}

pub(super) fn blocks(arguments: &Blocks) -> Result<Exit, Failure> {
    let options = ParseOptions { accept_hyphen_ids: arguments.accept_hyphen_ids };
    let mut faults = Faults::default();
    let mut out = Out::stdout();
    let mut first = true;
    let mut write = || -> io::Result<()> {
        if arguments.format.json {
            out.own("[")?;
        }
        for path in &arguments.files {
            // A name that is not UTF-8, or would break the line, is shown escaped.
            let name = VaultPath::new(path).to_string();
            let Some(parsed) = faults.look_into(path, &name, options) else { continue };
            for block in parsed.blocks() {
                if arguments.format.json {
                    out.own(if first { "" } else { "," })?;
                    first = false;
                    write_json(&mut out, &name, &block)?;
                } else {
                    write_text(&mut out, &name, &block)?;
                }
            }
        }
        if arguments.format.json {
            out.own("]\n")?;
        }
        out.flush()
    };
    let exit = written(write(), Exit::Done)?;
    faults.judge(arguments.files.len()).map_or(Ok(exit), Err)
}

fn write_json(out: &mut Out, file: &str, block: &BlockRef<'_>) -> io::Result<()> {
    let text = block.text();
    let shown = ShownBlock {
        file,
        id: block.id(),
        version: block.version(),
        line: block.line(),
        level: block.level().as_str(),
        text: &text,
        hash: block.hash().to_string(),
        body_hash: block.body_hash().to_string(),
    };
    out.json_part(&shown)
}

fn write_text(out: &mut Out, file: &str, block: &BlockRef<'_>) -> io::Result<()> {
    writeln!(
        out,
        "{file}:{}: {} version {}, {}{}",
        block.line(),
        block.id(),
        block.version(),
        block.level().as_str(),
        if block.in_code() { ", in code" } else { "" },
    )?;
    writeln!(out, "    hash {}", block.hash())?;
    writeln!(out, "    body {}", block.body_hash())?;
    for line in block.text().lines() {
        writeln!(out, "    | {line}")?;
    }
    Ok(())
}

/// Files that could not be read or parsed, told on standard error as they are met.
#[derive(Default)]
struct Faults {
    unreadable: usize,
    wrong: usize,
}

impl Faults {
    fn look_into(&mut self, path: &Path, name: &str, options: ParseOptions) -> Option<ParsedFile> {
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.unreadable += 1;
                say(&format!("error: {name}: {error}"));
                return None;
            }
        };
        let parsed = match parse_bytes(bytes, options) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.wrong += 1;
                say(&format!("error: {name}: {error}"));
                return None;
            }
        };
        for fault in &parsed.faults {
            say(&format!("error: {name}: {fault}"));
        }
        for warning in &parsed.warnings {
            say(&format!("warning: {name}: {warning}"));
        }
        if parsed.warnings_left_out > 0 {
            say(&format!("warning: {name}: and {} more warnings", parsed.warnings_left_out));
        }
        if parsed.empty_blocks > 0 {
            say(&format!(
                "warning: {name}: {} markers have no text before them",
                parsed.empty_blocks
            ));
        }
        self.wrong += parsed.faults.len();
        Some(parsed)
    }

    fn judge(&self, files: usize) -> Option<Failure> {
        if self.unreadable == files {
            Some(Failure::unavailable("no file could be read: see above"))
        } else if self.unreadable + self.wrong > 0 {
            let count = self.unreadable + self.wrong;
            let message = format!(
                "done, with {count} {}: see above",
                if count == 1 { "error" } else { "errors" }
            );
            Some(Failure::new(Exit::Attention, message))
        } else {
            None
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    // Opened without waiting: a pipe that nobody writes to would be waited for, for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let kind = file.metadata()?.file_type();
    if !kind.is_file() {
        let kind = if kind.is_dir() { "a folder" } else { "a pipe or a device" };
        let remedy = "name a note, or give its text on standard input and write `-`";
        return Err(io::Error::other(format!("{kind}, not a file: {remedy}")));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
