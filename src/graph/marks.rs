//! The words of a store about marked blocks: which are asked for, what is told of each, and what a mark is taken away by.
//!
//! A mark is `needs_reprocessing = true`. It has no time of its own, in this graph as in that of the other services: a
//! block counts as marked since `last_updated`, the moment its text was last written.

use chrono::{DateTime, Utc};

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

/// A block that waits, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The block.
    pub id: BlockId,
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
    pub id: BlockId,
    /// The graph's version.
    pub version: i64,
    /// v1 hash.
    pub hash: Option<String>,
    /// v2 hash.
    pub body_hash: Option<String>,
}
