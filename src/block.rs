//! The values that travel from a Markdown file to the graph.
//!
//! A *block* is a stretch of text that a marker comment (`<!-- aclarai:id=blk_ab12 ver=3 -->`) gives an id and a
//! version. Nothing here reads a file or a database.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// The longest id, in bytes: Neo4j refuses index keys beyond about 8,000, and no service writes more than 50.
pub const ID_BYTES_MAX: usize = 1_000;

/// How the ids of blocks begin that stand for a whole file.
const PAGE_PREFIXES: [&str; 4] = ["concept_", "subject_", "file_", "doc_"];

/// Whether the id is one that stands for a whole file.
pub(crate) fn is_page_id(id: &str) -> bool {
    PAGE_PREFIXES.iter().any(|prefix| id.starts_with(prefix))
}

/// The id in a marker: one or more characters, none of them white space.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct BlockId(String);

impl BlockId {
    /// Wraps an id that the parser or a store has found.
    pub fn new(id: impl Into<String>) -> BlockId {
        BlockId(id.into())
    }

    /// The id as written in the marker.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fixed-size stand-in for the id.
    pub fn digest(&self) -> IdDigest {
        IdDigest::of(&self.0)
    }
}

/// Stands for an id where a whole vault's ids must be held in memory: 96 bits of its XXH3 digest. Among a million ids
/// the chance that any two share one is less than one in 10^16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdDigest([u8; 12]);

impl IdDigest {
    /// The digest of an id.
    pub fn of(id: &str) -> IdDigest {
        let mut digest = [0; 12];
        digest.copy_from_slice(&xxhash_rust::xxh3::xxh3_128(id.as_bytes()).to_le_bytes()[..12]);
        IdDigest(digest)
    }

    /// All of it as a number: spread evenly, so a table needs no further hashing.
    #[inline]
    pub fn bits(self) -> u128 {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&self.0);
        u128::from_le_bytes(bytes)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0u8; 64];
        for (i, byte) in self.0.iter().enumerate() {
            hex[2 * i] = DIGITS[usize::from(byte >> 4)];
            hex[2 * i + 1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&hex).expect("hexadecimal digits are ASCII"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a marker stands, which decides how its text is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The marker belongs to a line of the file.
    Inline,
    /// The marker ends the file: its text is everything before it.
    File,
}

impl Level {
    /// The word used in `blocks --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Inline => "inline",
            Level::File => "file",
        }
    }
}

/// Which of the three vault tiers a block belongs to: conversations, summaries, concepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Tier {
    /// Conversations, `blk_` ids.
    One = 1,
    /// Summaries, `clm_` ids.
    Two = 2,
    /// Concepts, `concept_`, `subject_`, `file_` and `doc_` ids.
    Three = 3,
}

impl Serialize for Tier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl Tier {
    /// The tier with this number, where there is one.
    pub fn of_number(number: i64) -> Option<Tier> {
        match number {
            1 => Some(Tier::One),
            2 => Some(Tier::Two),
            3 => Some(Tier::Three),
            _ => None,
        }
    }

    /// How the ids of a tier begin, each with the tier: for a store that must tell it by itself.
    pub fn id_prefixes() -> impl Iterator<Item = (&'static str, Tier)> {
        let pages = PAGE_PREFIXES.into_iter().map(|prefix| (prefix, Tier::Three));
        [("blk_", Tier::One), ("clm_", Tier::Two)].into_iter().chain(pages)
    }

    /// The tier that the prefix of an id stands for; `None` for any other prefix, where the folder decides.
    pub fn of_id(id: &BlockId) -> Option<Tier> {
        let mut prefixes = Tier::id_prefixes();
        prefixes.find(|(prefix, _)| id.as_str().starts_with(prefix)).map(|(_, tier)| tier)
    }
}

/// A block as a graph holds it, with its texts. `None` is a property that it has not, as one that the original service wrote
/// has no `body`. As JSON it is the line that the program of a command job with a `feed` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WholeBlock {
    /// The id of its marker.
    pub id: BlockId,
    /// The graph's version.
    pub version: i64,
    /// Its tier, else the one that its id stands for.
    pub tier: Option<Tier>,
    /// The line before the marker, as the original's services know the block; at most 8,000 bytes of it.
    pub text: Option<String>,
    /// All of the block, its white space joined, without our own comments and anchors.
    pub body: Option<String>,
    /// The hash of `text`.
    pub hash: Option<String>,
    /// The hash of `body`.
    pub body_hash: Option<String>,
    /// Absolute path of its note.
    pub source_file: Option<String>,
    /// The line of its marker, where that is known.
    pub line: Option<u32>,
    /// Since when it is marked: when its text was last written.
    #[serde(serialize_with = "in_seconds")]
    pub marked_at: Option<DateTime<Utc>>,
    /// Whether its note, or it, is gone from the vault.
    pub archived: bool,
    /// Whether it is marked for reprocessing.
    #[serde(skip)]
    pub marked: bool,
}

impl WholeBlock {
    /// A block of this id, marked, that has nothing else yet: for a test of a job, which sets what it needs.
    pub fn of_id(id: impl Into<String>) -> WholeBlock {
        let id = BlockId::new(id);
        WholeBlock {
            version: 1,
            tier: Tier::of_id(&id),
            text: None,
            body: None,
            hash: None,
            body_hash: None,
            source_file: None,
            line: None,
            marked_at: None,
            archived: false,
            marked: true,
            id,
        }
    }
}

fn in_seconds<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(crate::text::instant).serialize(serializer)
}

/// One block as the parser found it in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The id of the marker.
    pub id: BlockId,
    /// The number after `ver=`; 1 when the marker has none.
    pub version: i64,
    /// Line of the marker, counted from 1.
    pub line: u32,
    /// Byte offset of the marker in the file as it lies on disk.
    pub offset: u64,
    /// Inline or file-level.
    pub level: Level,
    /// The v1 text: what the other services know as the block's text.
    pub text: String,
    /// SHA-256 of the v1 text with its white space joined.
    pub hash: ContentHash,
    /// The v2 text: all of the block, white space joined, our own comments and anchors left out.
    pub body: String,
    /// SHA-256 of `body`.
    pub body_hash: ContentHash,
}

/// The path of a file relative to the vault root, as the bytes the file system uses; ordered bytewise.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VaultPath(Box<[u8]>);

impl VaultPath {
    /// Wraps a path that is already relative to the vault root.
    pub fn new(relative: impl AsRef<Path>) -> VaultPath {
        VaultPath(relative.as_ref().as_os_str().as_bytes().into())
    }

    /// Wraps the bytes of a path that is relative to the vault root.
    pub fn from_bytes(relative: &[u8]) -> VaultPath {
        VaultPath(relative.into())
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path, still relative.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path below `root`.
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(self.as_path())
    }
}

impl fmt::Display for VaultPath {
    /// As [`visible_bytes`](crate::text::visible_bytes) shows it, so that a file name can neither break a log line nor
    /// hide in one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::text::visible_bytes(&self.0))
    }
}

impl fmt::Debug for VaultPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_as_lower_case_hexadecimal() {
        let hash = ContentHash([0xab; 32]);
        assert_eq!(hash.to_string(), "ab".repeat(32));
    }

    #[test]
    fn the_prefix_of_an_id_decides_its_tier() {
        for (id, tier) in [
            ("blk_a", Some(Tier::One)),
            ("clm_a", Some(Tier::Two)),
            ("concept_a", Some(Tier::Three)),
            ("subject_a", Some(Tier::Three)),
            ("file_a", Some(Tier::Three)),
            ("doc_a", Some(Tier::Three)),
            ("blka", None),
            ("Blk_a", None),
        ] {
            assert_eq!(Tier::of_id(&BlockId::new(id)), tier, "{id}");
        }
    }

    #[test]
    fn a_file_name_cannot_break_a_log_line() {
        let path = VaultPath::new(OsStr::from_bytes(b"a\xffb\nc.md"));
        assert_eq!(path.to_string(), "a\\xffb\\nc.md");
    }
}
