//! The vault as files on a disk.
//!
//! This room lists the Markdown files below the tier folders (`walk`), reads them while people write them (`read`) and
//! finds the blocks in them (`parse`, `body`, `hash`). It knows nothing of graphs, versions or what should be written.

mod body;
mod hash;
mod near_miss;
mod parse;
mod read;
mod root;
mod sample;
mod threads;
mod walk;
mod write_back;

pub use near_miss::NearMiss;
pub use parse::{
    BlockFault, BlockRef, ID_BYTES_MAX, NotUtf8, PARSER_VERSION, ParseOptions, ParsedFile, Warning,
    WarningKind, parse, parse_bytes,
};
pub use read::{
    Deferral, Digest, FILE_BYTES_MAX, ReadOptions, ReadOutcome, Reading, ToRead, read_in_order,
};
pub use root::{FaultKind, FileStat, Root, ScanFault, VaultError};
pub use sample::{Sample, SampleTotals};
pub use walk::{ListedFile, Listing, WalkOptions, list};
pub use write_back::{VersionEdit, WriteBack, write_back};
