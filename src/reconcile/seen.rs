//! Which ids a run has met, and in which file first: all of a vault's ids in about twenty bytes each.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::block::IdDigest;

/// Index of a file in the listing of the run.
pub(super) type FileIndex = u32;

/// Tables that share the ids. While a table grows, both its old and its new room are taken, so many small ones grow with
/// less than one large one: of 900,000 ids that was 7 MB of a peak of 79 MB.
const TABLES: u64 = 32;

/// The ids met so far.
#[derive(Debug)]
pub(super) struct SeenIds {
    first_in: Vec<HashMap<Key, FileIndex, BuildHasherDefault<Spread>>>,
}

impl Default for SeenIds {
    fn default() -> SeenIds {
        SeenIds { first_in: (0..TABLES).map(|_| HashMap::default()).collect() }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Key(IdDigest);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.spread());
    }
}

/// A digest is spread evenly already.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key hands over its number")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl SeenIds {
    /// Notes that `file` holds the id, unless a file met earlier does; answers with the file met earlier.
    #[inline]
    pub(super) fn note(&mut self, id: IdDigest, file: FileIndex) -> Option<FileIndex> {
        match self.first_in[table(id)].entry(Key(id)) {
            std::collections::hash_map::Entry::Occupied(entry) => Some(*entry.get()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(file);
                None
            }
        }
    }

    /// The file that was met first with the id.
    #[inline]
    pub(super) fn first(&self, id: IdDigest) -> Option<FileIndex> {
        self.first_in[table(id)].get(&Key(id)).copied()
    }
}

/// By bits in the middle: a table itself uses those at both ends.
#[inline]
fn table(id: IdDigest) -> usize {
    ((id.spread() >> 32) % TABLES) as usize
}
