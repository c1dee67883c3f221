//! The vault as files on a disk.
//!
//! This room lists the Markdown files below the tier folders (`walk`), reads them while people write them (`read`) and
//! finds the blocks in them (`parse`, `body`, `hash`). It knows nothing of graphs, versions or what should be written.

mod body;
mod code;
mod fault;
mod file;
mod folder;
mod hash;
mod left_out;
mod marker;
mod names;
mod near_miss;
mod parse;
mod pass;
mod read;
mod root;
mod sample;
mod source;
mod threads;
mod walk;
mod warning;
mod white;
mod write_back;

pub use code::merge_conflict_line;
pub use fault::{FaultKind, ScanFault, VaultError};
pub use file::{FileStat, ListedFile};
pub use folder::FolderFacts;
pub use left_out::{IGNORE_FILE, Ignore, IgnoreRules, IgnoreSource, IgnoredBy};
pub use marker::ParseOptions;
pub use names::{NamedCopy, copy_by_name, likely_copy_of, placeholder_of};
pub use near_miss::NearMiss;
pub use parse::{
    BlockRef, FileSlice, NotUtf8, PARSER_VERSION, ParsedFile, Slices, parse, parse_bytes,
};
pub use pass::{BODY_BYTES_STORED, TEXT_BYTES_STORED};
pub use read::{
    Deferral, Digest, NOTE_BYTES_MAX, ReadOptions, ReadOutcome, Reading, ToRead, look_once,
    read_in_order,
};
pub use root::{Root, lies_on_network};
pub use sample::{Sample, SampleTotals};
pub use walk::{Ignored, Listing, WalkOptions, list};
pub use warning::{BlockFault, Warning, WarningKind};
pub use write_back::{VersionEdit, WriteBack, recover, write_back};
