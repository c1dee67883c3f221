//! Which ids a run has met, and in which file first: all of a vault's ids in about fourteen bytes each, at any size.
//!
//! Memory for a million notes is mostly this. A hash table doubles, so that it is half empty after it has grown, and holds
//! its old and its new room meanwhile. Here the ids lie in the order of their digests, each as near to where its digest
//! belongs as those before it leave room; so a table can grow by an eighth, in its place.

use std::cmp::Ordering;

use crate::block::IdDigest;

/// Index of a file in the listing of the run.
pub(super) type FileIndex = u32;

/// Tables that share the ids, by eight bits of their digests: each grows by itself, and need not keep those bits.
const TABLES: usize = 256;

/// Cells that are taken from the allocator at once. All of one size, so they leave no holes behind.
const BLOCK: usize = 128;

/// A table that has fewer empty cells than one in twelve grows by an eighth.
const FULL: (usize, usize) = (11, 12);
const GROWS_BY: usize = 8;

/// The ids met so far.
#[derive(Debug)]
pub(super) struct SeenIds {
    tables: Vec<Table>,
}

impl Default for SeenIds {
    /// They begin with different sizes, so that they do not all grow at the same time.
    fn default() -> SeenIds {
        let table = |n| Table { places: BLOCK + BLOCK * n / GROWS_BY / TABLES, ..Table::default() };
        SeenIds { tables: (0..TABLES).map(table).collect() }
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
        self.tables[table].find(key).ok()
    }
}

/// The table of an id, and what it is known by there. Together 72 bits of its digest: that any two of a million ids share
/// them is less likely than one in 10^9, and the second one would be told as a duplicate.
#[inline]
fn place(id: IdDigest) -> (usize, u64) {
    let bits = id.bits();
    (bits as usize % TABLES, (bits >> 8) as u64)
}

/// A key and a file, as bytes, which need no room between them.
#[derive(Clone, Copy, Debug)]
struct Cell {
    key: [u8; 8],
    file: [u8; 4],
}

/// No file has the greatest number.
const EMPTY: Cell = Cell { key: [0; 8], file: [0xff; 4] };

impl Cell {
    fn new(key: u64, file: FileIndex) -> Cell {
        Cell { key: key.to_le_bytes(), file: file.to_le_bytes() }
    }

    #[inline]
    fn is_empty(self) -> bool {
        self.file == EMPTY.file
    }

    #[inline]
    fn key(self) -> u64 {
        u64::from_le_bytes(self.key)
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
    /// Where a key belongs. A larger key never belongs before a smaller one.
    #[inline]
    fn home(&self, key: u64) -> usize {
        ((u128::from(key) * self.places as u128) >> 64) as usize
    }

    /// The cell, unless it is empty.
    #[inline]
    fn get(&self, at: usize) -> Option<Cell> {
        let cell = self.blocks.get(at / BLOCK)?[at % BLOCK];
        (!cell.is_empty()).then_some(cell)
    }

    fn set(&mut self, at: usize, cell: Cell) {
        while at / BLOCK >= self.blocks.len() {
            self.blocks.push(vec![EMPTY; BLOCK].into_boxed_slice());
        }
        self.blocks[at / BLOCK][at % BLOCK] = cell;
    }

    /// The file of a key; else the cell that would be its own.
    #[inline]
    fn find(&self, key: u64) -> Result<FileIndex, usize> {
        let mut at = self.home(key);
        while let Some(cell) = self.get(at) {
            match cell.key().cmp(&key) {
                Ordering::Less => at += 1,
                Ordering::Equal => return Ok(u32::from_le_bytes(cell.file)),
                Ordering::Greater => break,
            }
        }
        Err(at)
    }

    #[inline]
    fn note(&mut self, key: u64, file: FileIndex) -> Option<FileIndex> {
        match self.find(key) {
            Ok(first) => Some(first),
            Err(at) => {
                self.insert(key, file, at);
                None
            }
        }
    }

    fn insert(&mut self, key: u64, file: FileIndex, mut at: usize) {
        if (self.taken + 1) * FULL.1 > self.places * FULL.0 {
            self.grow();
            at = self.find(key).err().unwrap_or(at);
        }
        self.taken += 1;
        let mut gap = self.gap(at);
        self.set(gap, EMPTY);
        // Each of those between moves on by one, the last block first.
        while gap / BLOCK > at / BLOCK {
            let block = gap / BLOCK;
            self.blocks[block].copy_within(..gap % BLOCK, 1);
            self.blocks[block][0] = self.blocks[block - 1][BLOCK - 1];
            gap = block * BLOCK - 1;
        }
        let (block, cell) = (&mut self.blocks[at / BLOCK], at % BLOCK);
        block.copy_within(cell..gap % BLOCK, cell + 1);
        block[cell] = Cell::new(key, file);
    }

    /// The first empty cell from one on.
    fn gap(&self, at: usize) -> usize {
        let mut from = at % BLOCK;
        for (number, block) in self.blocks.iter().enumerate().skip(at / BLOCK) {
            if let Some(empty) = block[from..].iter().position(|cell| cell.is_empty()) {
                return number * BLOCK + from + empty;
            }
            from = 0;
        }
        at.max(self.blocks.len() * BLOCK)
    }

    /// Makes more room. With more places no key belongs nearer to the beginning, so that the cells can be moved one after
    /// the other, the last one first.
    fn grow(&mut self) {
        self.places += self.places / GROWS_BY;
        let end = self.blocks.len() * BLOCK;
        let mut moves = Vec::with_capacity(self.taken);
        let mut free = 0;
        for at in 0..end {
            if let Some(cell) = self.get(at) {
                free = free.max(self.home(cell.key()));
                moves.push(free as u32);
                free += 1;
            }
        }
        for at in (0..end).rev() {
            let Some(cell) = self.get(at) else { continue };
            let Some(to) = moves.pop() else { break };
            self.set(at, EMPTY);
            self.set(to as usize, cell);
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
    fn an_id_takes_some_fourteen_bytes_however_many_there_are() {
        let mut seen = SeenIds::default();
        for n in 1..=500_000_usize {
            assert_eq!(seen.note(IdDigest::of(&n.to_string()), 7), None);
            if n % 50_000 == 0 {
                let blocks: usize = seen.tables.iter().map(|table| table.blocks.len()).sum();
                let room = blocks * BLOCK * size_of::<Cell>();
                // And half of a block that is not full yet, for each table.
                let most = n * 29 / 2 + TABLES * BLOCK * size_of::<Cell>() / 2;
                assert!(room <= most, "{room} bytes for {n} ids");
            }
        }
    }

    #[test]
    fn keys_that_all_belong_to_one_place_are_told_apart() {
        for keys in [0..2_000, u64::MAX - 2_000..u64::MAX] {
            let mut table = Table { places: BLOCK, ..Table::default() };
            for key in keys.clone().rev() {
                assert_eq!(table.note(key, key as u32 / 2), None);
            }
            for key in keys.clone() {
                assert_eq!(table.find(key).ok(), Some(key as u32 / 2));
            }
            assert_eq!(table.find(keys.end).ok(), None);
        }
    }
}
