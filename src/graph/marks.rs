//! The words of a store about marked blocks: which are asked for, what is told of each, and what a mark is taken away by.
//!
//! A mark is `needs_reprocessing = true`. It has no time of its own, in this graph as in that of the other services: a
//! block counts as marked since `last_updated`, the moment its text was last written.

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::Xxh3;

pub(super) use crate::block::WholeBlock;
use crate::block::{BlockId, Tier};

/// Which blocks are asked for. The default: all that are marked and not archived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Only of these tiers; empty: of all.
    pub tiers: Vec<Tier>,
    /// Only ids that begin with one of these; empty: all.
    pub prefixes: Vec<String>,
    /// Archived ones too.
    pub archived: bool,
    /// Instead of the marked ones those that this consumer has not done in their present version.
    pub consumer: Option<String>,
}

impl Which {
    /// Whether a block is among those that `tiers`, `prefixes` and `archived` name.
    pub(super) fn names(&self, id: &BlockId, tier: Option<Tier>, archived: bool) -> bool {
        let tier = tier.or_else(|| Tier::of_id(id));
        (self.archived || !archived)
            && (self.tiers.is_empty() || tier.is_some_and(|tier| self.tiers.contains(&tier)))
            && (self.prefixes.is_empty()
                || self.prefixes.iter().any(|prefix| id.as_str().starts_with(prefix)))
    }
}

/// The number of the row in which a store has seen a block. A hint: where the row is another block's by now, the id finds
/// the block, so that a wrong number costs time and nothing else.
pub(crate) type Row = NonZeroU32;

/// A block that is looked for, by its id and, where that is known, by its row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The block.
    pub id: BlockId,
    /// Its row, in a store that numbers them.
    pub row: Option<Row>,
}

impl Place {
    /// A block of which nothing but the id is known.
    pub fn of(id: BlockId) -> Place {
        Place { id, row: None }
    }
}

/// A block that waits, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The block.
    pub id: BlockId,
    /// Its row, in a store that numbers them.
    pub row: Option<Row>,
    /// The graph's version.
    pub version: i64,
    /// Since when it is marked; `None` for a node that says nothing of it.
    pub marked_at: Option<DateTime<Utc>>,
    /// Absolute path of its file.
    pub source_file: Option<String>,
    /// How many bytes its texts have.
    pub bytes: u64,
}

/// How many blocks wait, and since when the one that has waited longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Blocks.
    pub count: u64,
    /// The oldest mark.
    pub oldest: Option<DateTime<Utc>>,
}

/// A block as it was handed out: whoever has done its work takes the mark away only where it still is like this.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandedOut {
    /// The block.
    pub place: Place,
    /// What it was like.
    pub state: State,
}

/// What a block is like, as far as a mark hangs on it: a digest of its version and both hashes. A run keeps it for each of
/// 100,000 blocks, and the hashes alone would be 13 MB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State([u8; 12]);

impl State {
    /// The state of a block with these properties.
    pub fn of(version: i64, hash: Option<&str>, body_hash: Option<&str>) -> State {
        let mut digest = Xxh3::new();
        digest.update(&version.to_le_bytes());
        for text in [hash, body_hash] {
            // A byte that no text begins with tells an absent one from an empty one, and one from the next.
            digest.update(if text.is_some() { b"\xff" } else { b"\xfe" });
            digest.update(text.unwrap_or_default().as_bytes());
        }
        let mut state = State::default();
        state.0.copy_from_slice(&digest.digest128().to_le_bytes()[..12]);
        state
    }
}
