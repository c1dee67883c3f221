//! Which ids a run has met, and in which file first: all of a vault's ids in about seventeen bytes each, at any size.
//!
//! Memory for a million notes is mostly this. A hash table doubles, so that it is half empty after it has grown, and holds
//! its old and its new room meanwhile. Here the ids lie in the order of their digests, each as near to where its digest
//! belongs as those before it leave room; so a table can grow by a fifth, in its place.

use crate::block::IdDigest;

/// Index of a file in the listing of the run.
pub(super) type FileIndex = u32;

/// Tables that share the ids, by eight bits of their digests: each grows by itself, and need not keep those bits.
const TABLES: usize = 256;

/// Cells that are taken from the allocator at once. All of one size, so they leave no holes behind.
const BLOCK: usize = 128;

/// A table grows when more than nine of ten cells are taken. Then three of four are.
const FULL: (usize, usize) = (9, 10);

/// The ids met so far.
#[derive(Debug)]
pub(super) struct SeenIds {
    tables: Vec<Table>,
}

impl Default for SeenIds {
    fn default() -> SeenIds {
        SeenIds { tables: (0..TABLES).map(|_| Table::default()).collect() }
    }
}

impl SeenIds {
    /// Notes that `file` holds the id, unless a file met earlier does; answers with the file met earlier.
    #[inline]
    pub(super) fn note(&mut self, id: IdDigest, file: FileIndex) -> Option<FileIndex> {
        let (table, key) = place(id);
        self.tables[table].note(key, file)
    }

    /// The file that was met first with the id.
    #[inline]
    pub(super) fn first(&self, id: IdDigest) -> Option<FileIndex> {
        let (table, key) = place(id);
        self.tables[table].find(key).ok().map(|(_, file)| file)
    }
}

/// The table of an id, and what it is known by there. Together 88 bits of its digest: that any two of a million ids share
/// them is less likely than one in 10^14.
#[inline]
fn place(id: IdDigest) -> (usize, Key) {
    let bits = id.bits();
    (bits as usize % TABLES, Key { high: (bits >> 8) as u64, low: (bits >> 72) as u16 })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    high: u64,
    low: u16,
}

impl Key {
    /// Where it belongs in a table of so many places. A larger key never belongs before a smaller one.
    #[inline]
    fn home(self, places: usize) -> usize {
        ((u128::from(self.high) * places as u128) >> 64) as usize
    }
}

/// A key and a file, as bytes, which need no room between them.
#[derive(Clone, Copy, Debug)]
struct Cell {
    high: [u8; 8],
    low: [u8; 2],
    file: [u8; 4],
}

/// No file has the greatest number.
const EMPTY: Cell = Cell { high: [0; 8], low: [0; 2], file: [0xff; 4] };

impl Cell {
    fn new(Key { high, low }: Key, file: FileIndex) -> Cell {
        Cell { high: high.to_le_bytes(), low: low.to_le_bytes(), file: file.to_le_bytes() }
    }

    #[inline]
    fn get(self) -> Option<(Key, FileIndex)> {
        let key = Key { high: u64::from_le_bytes(self.high), low: u16::from_le_bytes(self.low) };
        (self.file != EMPTY.file).then(|| (key, u32::from_le_bytes(self.file)))
    }
}

/// Cells in the order of their keys, with gaps. The cell of a key is the first one, from its home on, that those before it
/// leave free.
#[derive(Debug, Default)]
struct Table {
    blocks: Vec<Box<[Cell]>>,
    taken: usize,
    /// Homes lie below this; the last cells may lie behind it.
    places: usize,
}

impl Table {
    #[inline]
    fn get(&self, at: usize) -> Option<(Key, FileIndex)> {
        self.blocks.get(at / BLOCK)?[at % BLOCK].get()
    }

    fn set(&mut self, at: usize, cell: Cell) {
        while at / BLOCK >= self.blocks.len() {
            self.blocks.push(vec![EMPTY; BLOCK].into_boxed_slice());
        }
        self.blocks[at / BLOCK][at % BLOCK] = cell;
    }

    /// The cell of a key and its file; else the cell that would be its own.
    #[inline]
    fn find(&self, key: Key) -> Result<(usize, FileIndex), usize> {
        let mut at = key.home(self.places);
        while let Some((other, file)) = self.get(at) {
            if other >= key {
                return if other == key { Ok((at, file)) } else { Err(at) };
            }
            at += 1;
        }
        Err(at)
    }

    fn note(&mut self, key: Key, file: FileIndex) -> Option<FileIndex> {
        let mut at = match self.find(key) {
            Ok((_, first)) => return Some(first),
            Err(at) => at,
        };
        if (self.taken + 1) * FULL.1 > self.places * FULL.0 {
            self.grow();
            at = self.find(key).unwrap_or_else(|at| (at, file)).0;
        }
        self.taken += 1;
        // Each of those behind it moves on by one, up to the next gap.
        let mut cell = Cell::new(key, file);
        while let Some((other, file)) = self.get(at) {
            self.set(at, cell);
            cell = Cell::new(other, file);
            at += 1;
        }
        self.set(at, cell);
        None
    }

    /// Makes room for a fifth more. With more places no key belongs nearer to the beginning, so that the cells can be moved
    /// one after the other, the last one first.
    fn grow(&mut self) {
        self.places += (self.places / 5).max(BLOCK);
        let end = self.blocks.len() * BLOCK;
        let mut moves = Vec::with_capacity(self.taken);
        let mut free = 0;
        for at in 0..end {
            if let Some((key, _)) = self.get(at) {
                free = free.max(key.home(self.places));
                moves.push(free as u32);
                free += 1;
            }
        }
        for at in (0..end).rev() {
            let Some((key, file)) = self.get(at) else { continue };
            let Some(to) = moves.pop() else { break };
            self.set(at, EMPTY);
            self.set(to as usize, Cell::new(key, file));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn ids_are_found_with_the_file_that_was_first() {
        let (mut seen, mut known) = (SeenIds::default(), HashMap::new());
        for n in 0..60_000_u32 {
            // Every third one has been met before.
            let id = if n % 3 == 0 { n / 2 } else { n };
            let (digest, file) = (IdDigest::of(&format!("blk_{id}")), n / 18);
            assert_eq!(seen.first(digest), known.get(&id).copied(), "{id}");
            assert_eq!(seen.note(digest, file), known.get(&id).copied(), "{id}");
            known.entry(id).or_insert(file);
        }
        for (id, file) in known {
            assert_eq!(seen.first(IdDigest::of(&format!("blk_{id}"))), Some(file));
        }
        assert_eq!(seen.first(IdDigest::of("another")), None);
    }

    #[test]
    fn an_id_takes_no_more_than_twenty_bytes_however_many_there_are() {
        let mut table = Table::default();
        let mut key = 1_u64;
        for n in 0..200_000_u32 {
            key =
                key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            assert_eq!(table.note(Key { high: key, low: n as u16 }, n), None);
            let bytes = table.blocks.len() * size_of::<[Cell; BLOCK]>();
            assert!(n < 10_000 || bytes <= 20 * n as usize, "{bytes} bytes for {n} ids");
        }
    }

    #[test]
    fn keys_that_all_belong_to_one_place_are_told_apart() {
        for high in [0, u64::MAX] {
            let mut table = Table::default();
            for low in (0..2_000_u16).rev() {
                assert_eq!(table.note(Key { high, low }, u32::from(low)), None);
            }
            for low in 0..2_000 {
                let file = Some(u32::from(low));
                assert_eq!(table.find(Key { high, low }).ok().map(|(_, file)| file), file);
            }
            assert_eq!(table.find(Key { high, low: 2_000 }).ok(), None);
        }
    }
}
