//! The values that travel from a Markdown file to the graph.
//!
//! A *block* is a stretch of text that a marker comment (`<!-- aclarai:id=blk_ab12 ver=3 -->`) gives an id and a
//! version. Nothing here reads a file or a database.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest id, in bytes: Neo4j refuses index keys beyond about 8,000, and no service writes more than 50.
pub const ID_BYTES_MAX: usize = 1_000;

/// How the ids of blocks begin that stand for a whole file.
const PAGE_PREFIXES: [&str; 4] = ["concept_", "subject_", "file_", "doc_"];

/// Whether the id is one that stands for a whole file.
pub(crate) fn is_page_id(id: &str) -> bool {
    PAGE_PREFIXES.iter().any(|prefix| id.starts_with(prefix))
}

/// The id in a marker: one or more characters, none of them white space.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

    /// Its first eight bytes as a number: spread evenly, so a hash table needs no further hashing.
    pub fn spread(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
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

impl Tier {
    /// The tier that the prefix of an id stands for; `None` for any other prefix, where the folder decides.
    pub fn of_id(id: &BlockId) -> Option<Tier> {
        let id = id.as_str();
        if id.starts_with("blk_") {
            Some(Tier::One)
        } else if id.starts_with("clm_") {
            Some(Tier::Two)
        } else if is_page_id(id) {
            Some(Tier::Three)
        } else {
            None
        }
    }
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
