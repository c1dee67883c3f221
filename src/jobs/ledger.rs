//! The blocks of one round, in some forty bytes each: where each stands, and how to find it by its id.
//!
//! A round may have 100,000 of them, and a program may take all of them in before it says of any that it is done. So
//! their ids lie one behind the other in one piece of memory, and a sorted list of numbers takes the place of a table.

use crate::block::BlockId;
use crate::graph::{Place, Row, State};

/// The bytes that the ids of a round take at most: 100,000 usual ones are a third of it.
const IDS_BYTES_MAX: usize = 8 << 20;

/// The blocks of a round, in the order they are handed out.
#[derive(Default)]
pub(super) struct Ledger {
    ids: String,
    entries: Vec<Entry>,
    /// Numbers of the entries, in the order of their ids.
    by_id: Vec<u32>,
    /// The entry behind the one last found: most programs name blocks in the order in which they got them.
    likely: usize,
}

/// One block of a round.
pub(super) struct Entry {
    /// Where its id ends.
    end: u32,
    /// How many bytes its texts have.
    pub(super) bytes: u32,
    /// How many bytes of it the program was sent.
    pub(super) sent: u32,
    /// Where the store has seen it.
    pub(super) row: Option<Row>,
    /// What it was like when it was handed out.
    pub(super) state: State,
    pub(super) stands: Stands,
}

/// Where a block of a round stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// Not handed out yet, or gone before it could be.
    Listed,
    HandedOut,
    /// Said to be done; its mark is still there.
    Due,
    /// Its mark is gone.
    Done,
    /// It changed while it was worked on.
    Stale,
    Failed,
}

impl Ledger {
    /// Adds a block with so many bytes of text. False where its id has no room: it is left to another round.
    pub(super) fn push(&mut self, id: &BlockId, row: Option<Row>, bytes: u64) -> bool {
        let id = id.as_str();
        if !self.entries.is_empty() && self.ids.len() + id.len() > IDS_BYTES_MAX {
            return false;
        }
        self.ids.push_str(id);
        self.entries.push(Entry {
            end: u32::try_from(self.ids.len()).unwrap_or(u32::MAX),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            sent: 0,
            row,
            state: State::default(),
            stands: Stands::Listed,
        });
        true
    }

    /// No block is added any more: from here on each is found by its id.
    pub(super) fn close(&mut self) {
        self.ids.shrink_to_fit();
        self.entries.shrink_to_fit();
        let mut by_id: Vec<u32> = (0..self.entries.len() as u32).collect();
        by_id.sort_unstable_by_key(|at| self.id(*at as usize));
        self.by_id = by_id;
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A block and its id.
    pub(super) fn get(&self, at: usize) -> (&str, &Entry) {
        (self.id(at), &self.entries[at])
    }

    /// A block, as a store finds it.
    pub(super) fn place(&self, at: usize) -> Place {
        Place { id: BlockId::new(self.id(at)), row: self.entries[at].row }
    }

    /// All blocks, in the order they are handed out.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    fn id(&self, at: usize) -> &str {
        let begin = at.checked_sub(1).map_or(0, |before| self.entries[before].end);
        &self.ids[begin as usize..self.entries[at].end as usize]
    }

    /// Where a block stands among the entries; `None` for one that is not of this round.
    pub(super) fn find(&mut self, id: &BlockId) -> Option<u32> {
        let id = id.as_str();
        let at = if self.likely < self.entries.len() && self.id(self.likely) == id {
            self.likely
        } else {
            let found = self.by_id.binary_search_by_key(&id, |at| self.id(*at as usize)).ok()?;
            self.by_id[found] as usize
        };
        self.likely = at + 1;
        u32::try_from(at).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(ids: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        for id in ids {
            assert!(ledger.push(&BlockId::new(*id), None, 7));
        }
        ledger.close();
        ledger
    }

    #[test]
    fn each_block_is_found_by_its_id_in_whatever_order() {
        let ids = ["blk_9", "é", "blk_10", "", "clm_1", "blk_1"];
        let mut ledger = ledger(&ids);
        assert_eq!((ledger.len(), ledger.get(0).0, ledger.get(3).0), (6, "blk_9", ""));
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 2, 3, 0, 5, 1]] {
            for at in order {
                assert_eq!(ledger.find(&BlockId::new(ids[at as usize])), Some(at));
            }
        }
        for absent in ["blk_", "blk_100", "z", " "] {
            assert_eq!(ledger.find(&BlockId::new(absent)), None, "{absent}");
        }
        assert_eq!(Ledger::default().find(&BlockId::new("a")), None);
    }

    #[test]
    fn the_ids_of_a_round_have_a_bound() {
        let mut ledger = Ledger::default();
        let long = BlockId::new("x".repeat(IDS_BYTES_MAX / 2));
        assert!(ledger.push(&long, None, 1) && ledger.push(&long, None, 1));
        assert!(!ledger.push(&BlockId::new("y"), None, 1));
        // One that is alone is handed out, however long it is.
        let mut ledger = Ledger::default();
        assert!(ledger.push(&BlockId::new("x".repeat(IDS_BYTES_MAX + 1)), None, u64::MAX));
        ledger.close();
        assert_eq!((ledger.len(), ledger.entries()[0].bytes), (1, u32::MAX));
    }

    #[test]
    fn an_entry_takes_little() {
        assert!(size_of::<Entry>() <= 32);
    }
}
