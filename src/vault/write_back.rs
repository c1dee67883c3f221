//! Writes version numbers into the markers of a note, and nothing else: the only room that changes the vault.
//!
//! The new content is a splice of the old bytes, so line ends, a byte order mark and a missing final line break stay
//! as they are. This file decides whether a note may be written to and what the new bytes are; [`exchange`] puts them
//! in the note's place without losing what someone else saves in the same moment.

mod exchange;

use std::ops::Range;

use rustix::io::Errno;

use self::exchange::{Place, Put, note_of_left_over};
use super::fault::{FaultKind, ScanFault};
use super::file::{FileStat, ListedFile, split};
use super::marker::ParseOptions;
use super::parse::{ParsedFile, parse_bytes};
use super::read::Reading;
use super::root::Root;
use crate::block::VaultPath;

pub(super) use self::exchange::is_left_over;

/// One number to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionEdit {
    /// The bytes of the digits that stand in the file now.
    pub digits: Range<usize>,
    /// The number to stand there.
    pub version: i64,
}

/// The outcome of a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WriteBack {
    /// The numbers are in the note.
    Done,
    /// The note is not what was parsed, or not a file that may be exchanged: left as it is, for this reason.
    Left(&'static str),
    /// Several programs wrote to the note at once: nothing is lost, but a person has to merge. The text says what
    /// happened and under which name a version of the note is kept.
    Kept(String),
}

/// Writes `edits` (in file order) into the note, if it is still exactly what was read.
pub(crate) fn write_back(
    root: &Root,
    file: &ListedFile,
    reading: &Reading,
    edits: &[VersionEdit],
    options: ParseOptions,
) -> Result<WriteBack, ScanFault> {
    const CHANGED: WriteBack = WriteBack::Left("it changed since it was read");
    if file.through_link {
        return Ok(WriteBack::Left("it is reached by a symbolic link"));
    }
    let (folder, name) = split(&file.path);
    let fault = |verb| {
        move |error: std::io::Error| ScanFault {
            path: file.path.clone(),
            is_folder: false,
            kind: FaultKind::io(verb, &error),
        }
    };
    let folder = root.open_folder(folder).map_err(fault("open the folder of"))?;
    let Some(place) = Place::take(&folder, name).map_err(fault("lock the folder of"))? else {
        return Ok(WriteBack::Left("another run writes in its folder"));
    };
    let (old, bytes) = match place.open_note(reading.stat.size) {
        Ok(Some((old, bytes))) => (old, bytes),
        Ok(None) => return Ok(CHANGED),
        // A link, a socket, or nothing at all.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Ok(CHANGED),
        Err(error) => return Err(fault("read")(error.into())),
    };
    if FileStat::new(old.stat()) != reading.stat || old.digest() != reading.digest {
        return Ok(CHANGED);
    }
    if old.stat().st_nlink > 1 {
        return Ok(WriteBack::Left("it has several hard links"));
    }
    let Some(spliced) = checked_splice(bytes, edits, options) else {
        return Ok(WriteBack::Left("the new numbers would change more than numbers"));
    };
    match place.put(old, &spliced).map_err(fault("write"))? {
        Put::Done => Ok(WriteBack::Done),
        Put::Left(why) => Ok(WriteBack::Left(why)),
        Put::Kept(why) => Ok(WriteBack::Kept(why)),
    }
}

/// Looks after a file that a write cut short (by a power cut, say) has left at `left_over`, a hidden name. It is removed
/// if it holds nothing that the note does not hold. Otherwise it gets a visible name, which is returned.
pub(crate) fn recover(
    root: &Root,
    left_over: &VaultPath,
    options: ParseOptions,
) -> Result<Option<VaultPath>, ScanFault> {
    let (folder_path, hidden) = split(left_over);
    let fault = |error: std::io::Error| ScanFault {
        path: left_over.clone(),
        is_folder: false,
        kind: FaultKind::io("look after", &error),
    };
    let folder = root.open_folder(folder_path).map_err(fault)?;
    let note = note_of_left_over(&folder, hidden).map_err(fault)?;
    // A run that is writing there looks after its own files.
    let Some(place) = Place::take(&folder, &note).map_err(fault)? else { return Ok(None) };
    let same = |note: Vec<u8>, other: Vec<u8>| match (
        parse_bytes(note, options),
        parse_bytes(other, options),
    ) {
        (Ok(note), Ok(other)) => is_same_but_for_versions(&note, &other),
        _ => false,
    };
    let kept = place.recover(&same).map_err(fault)?;
    Ok(kept.map(|name| VaultPath::new(folder_path.join(name))))
}

/// `bytes` with the numbers written into it, if nothing but numbers of markers changes.
fn checked_splice(bytes: Vec<u8>, edits: &[VersionEdit], options: ParseOptions) -> Option<Vec<u8>> {
    let old = parse_bytes(bytes, options).ok()?;
    let is_version = |edit: &VersionEdit| {
        old.blocks().any(|block| block.version_digits().as_ref() == Some(&edit.digits))
    };
    if !edits.iter().all(is_version) {
        return None;
    }
    let spliced = splice(old.source().as_bytes(), edits);
    let new = parse_bytes(spliced, options).ok()?;
    is_same_but_for_versions(&old, &new).then(|| new.into_source().into_bytes())
}

/// Whether two notes have the same blocks with the same bodies, and differ in the digits of markers only. The v1 text of
/// a block is no help: that of a file-level block holds the markers before it.
fn is_same_but_for_versions(old: &ParsedFile, new: &ParsedFile) -> bool {
    let bodies = |parsed: &ParsedFile| -> Vec<_> {
        parsed.blocks().map(|block| (block.id().to_owned(), block.body_hash())).collect()
    };
    between_versions(old) == between_versions(new) && bodies(old) == bodies(new)
}

/// The text before, between and behind the digits of versions.
fn between_versions(parsed: &ParsedFile) -> Vec<&str> {
    let mut from = 0;
    let mut between = Vec::with_capacity(parsed.len() + 1);
    for digits in parsed.blocks().filter_map(|block| block.version_digits()) {
        between.push(&parsed.source()[from..digits.start]);
        from = digits.end;
    }
    between.push(&parsed.source()[from..]);
    between
}

/// `bytes` with the digits replaced.
fn splice(bytes: &[u8], edits: &[VersionEdit]) -> Vec<u8> {
    let mut spliced = Vec::with_capacity(bytes.len() + 20 * edits.len());
    let mut copied = 0;
    for edit in edits {
        spliced.extend_from_slice(&bytes[copied..edit.digits.start]);
        spliced.extend_from_slice(edit.version.to_string().as_bytes());
        copied = edit.digits.end;
    }
    spliced.extend_from_slice(&bytes[copied..]);
    spliced
}

#[cfg(test)]
mod tests;
