//! Places in a note that a person should look at.

use std::fmt;

use super::near_miss::NearMiss;
use crate::block::ID_BYTES_MAX;

/// Of more warnings than this in one file, only the number is kept.
pub(super) const WARNINGS_MAX: usize = 1_000;

/// A marker that follows the grammar but whose block no store could take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFault {
    /// Line of the marker, counted from 1.
    pub line: u32,
    /// Byte offset of the marker.
    pub offset: u64,
    /// Length of the id in bytes: more than [`ID_BYTES_MAX`].
    pub id_bytes: usize,
    /// How the id begins.
    pub id_start: String,
}

impl fmt::Display for BlockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}: the id that begins with {:?} has {} bytes: shorten it to at most {ID_BYTES_MAX}",
            self.line, self.id_start, self.id_bytes
        )
    }
}

/// Something in a file that is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Line, counted from 1.
    pub line: u32,
    /// Byte offset.
    pub offset: u64,
    /// The kind of warning.
    pub kind: WarningKind,
}

/// The subject of a [`Warning`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// A comment that looks like a marker and is none, or a marker whose id is probably not the one meant.
    NearMiss(NearMiss),
    /// A marker in a code fence or span. It makes a block, as the other services see one there.
    MarkerInCode,
    /// The first NUL character of the file. It is text to the hashes, but not every service can store it.
    NulCharacter,
}

impl WarningKind {
    /// The word for this kind in reports.
    pub fn name(&self) -> &'static str {
        match self {
            WarningKind::NearMiss(_) => "near_miss_marker",
            WarningKind::MarkerInCode => "marker_in_code",
            WarningKind::NulCharacter => "nul_character",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: ", self.line, self.kind.name())?;
        match &self.kind {
            WarningKind::NearMiss(reason) => reason.fmt(f),
            WarningKind::MarkerInCode => f.write_str(
                "a marker in code makes a block: if it is an example, leave out its `<!--`",
            ),
            WarningKind::NulCharacter => f.write_str("the text has a NUL character: remove it"),
        }
    }
}

/// All that is noted while a note is parsed, besides its blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Remarks {
    pub(super) faults: Vec<BlockFault>,
    pub(super) warnings: Vec<Warning>,
    pub(super) warnings_left_out: u64,
    pub(super) empty_blocks: u64,
}

impl Remarks {
    pub(super) fn warn(&mut self, line: u32, offset: usize, kind: WarningKind) {
        if self.warnings.len() == WARNINGS_MAX {
            self.warnings_left_out += 1;
        } else {
            self.warnings.push(Warning { line, offset: offset as u64, kind });
        }
    }
}
