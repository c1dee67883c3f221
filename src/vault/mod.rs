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
mod source;
mod threads;
mod walk;
mod warning;
mod white;
mod write_back;

pub use fault::VaultError;
pub(crate) use file::FileStat;
#[cfg(test)]
pub(crate) use file::ListedFile;
pub(crate) use left_out::IgnoreRules;
pub use marker::ParseOptions;
pub use names::{copy_by_name, likely_copy_of, placeholder_of};
pub(crate) use parse::{BlockRef, FileSlice, PARSER_VERSION};
pub use parse::{NotUtf8, ParsedFile, parse, parse_bytes};
pub(crate) use read::{Deferral, Digest, Reading, look_once};
pub use read::{NOTE_BYTES_MAX, ReadOptions, ReadOutcome, ReadTimes, ToRead, read_in_order};
#[cfg(test)]
pub(crate) use root::Root;
pub(crate) use root::lies_on_network;
pub(crate) use walk::Ignored;
pub use walk::{Listing, WalkOptions, list};
pub(crate) use write_back::{VersionEdit, WriteBack, recover, write_back};
