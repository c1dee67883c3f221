//! The contract between a sync and a graph: what may be asked of a store of `:Block` nodes, and the words both use.
//!
//! A store reads many, writes many under compare-and-set, and lists all. Batching, SQL or Cypher, the async runtime
//! and idempotence sit behind these few verbs; no store decides what should be written: that is `reconcile::diff`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::marks::{HandedOut, Mark, Marks, Place, State, Which, WholeBlock};
use crate::block::{BlockId, ContentHash, ID_BYTES_MAX, Tier};
use crate::finding::Finding;

/// One block as the graph holds it, as far as decisions are taken on it. Texts are never fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StoredBlock {
    /// v1 hash; `None` marks a stub that another service made.
    pub hash: Option<String>,
    /// v2 hash; `None` on a node the original wrote.
    pub body_hash: Option<String>,
    /// The graph's version; 0 where a stub has none.
    pub version: i64,
    /// The marker version last accepted from the vault.
    pub vault_version: Option<i64>,
    /// Absolute path of the file the block was last seen in.
    pub source_file: Option<String>,
    /// Whether the block is archived, and since when.
    pub archived: bool,
    /// The vault's refused edit, where there is one.
    pub conflict: Option<Conflict>,
}

impl StoredBlock {
    /// What a mark on it hangs on.
    fn state(&self) -> State {
        State::of(self.version, self.hash.as_deref(), self.body_hash.as_deref())
    }
}

impl HandedOut {
    /// Whether a node still is like this.
    pub fn is(&self, node: &StoredBlock) -> bool {
        self.state == node.state()
    }

    /// The block as the graph has it now.
    pub fn now(id: BlockId, node: &StoredBlock) -> HandedOut {
        HandedOut { place: Place::of(id), state: node.state() }
    }
}

/// An edit in the vault that is older than the graph, flagged on the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conflict {
    /// The marker's version.
    pub version: i64,
    /// v1 hash of the vault's text.
    pub hash: String,
    /// Absolute path of the file.
    pub file: String,
}

/// One write: what to write, and what the node must still look like for the write to be right.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The block.
    pub id: BlockId,
    /// The node as it was read when this change was decided; `None`: there was no node.
    pub expected: Option<StoredBlock>,
    /// The write.
    pub write: Write,
}

impl Change {
    /// The node once this change is written, as far as decisions are taken on it.
    pub fn outcome(&self) -> StoredBlock {
        let mut node = self.expected.clone().unwrap_or_default();
        match &self.write {
            Write::Content(content) => {
                node = StoredBlock {
                    hash: Some(content.hash.to_string()),
                    body_hash: Some(content.body_hash.to_string()),
                    version: content.version,
                    vault_version: Some(content.vault_version),
                    source_file: Some(content.source_file.clone()),
                    archived: false,
                    conflict: None,
                }
            }
            Write::Facts(facts) => {
                node.version = facts.version.unwrap_or(node.version);
                node.vault_version = facts.vault_version.or(node.vault_version);
                node.source_file = facts.source_file.clone().or(node.source_file);
                if let Some((_, hash)) = &facts.body {
                    node.body_hash = Some(hash.to_string());
                }
                node.archived = false;
                node.conflict = None;
            }
            Write::Conflict(conflict) => node.conflict = Some(conflict.clone()),
            Write::Archive => node.archived = true,
        }
        node
    }

    /// Why no store takes this change, where that can be told without asking one. The same for all stores, so that a
    /// vault means the same graph in each.
    fn unfit(&self) -> Option<String> {
        let length = self.id.as_str().len();
        if length > ID_BYTES_MAX {
            Some(format!("the id is {length} bytes long: at most {ID_BYTES_MAX} can be indexed"))
        } else if self.expected.is_none() && !matches!(self.write, Write::Content(_)) {
            Some("there is no node to change: only content makes one".to_owned())
        } else {
            None
        }
    }
}

/// Parts a batch into the changes a store can try, in the order of their ids (an index likes that), and those it
/// need not look at.
pub(super) fn fit(changes: &[Change]) -> (Vec<&Change>, Vec<(BlockId, String)>) {
    let (mut fit, mut rejected) = (Vec::with_capacity(changes.len()), Vec::new());
    for change in changes {
        match change.unfit() {
            None => fit.push(change),
            Some(reason) => rejected.push((change.id.clone(), reason)),
        }
    }
    fit.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    (fit, rejected)
}

/// The kinds of write. Each kind leaves every other property of the node alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// All of the block: create, fill a stub, update. Clears `archived` and `conflict`, sets `last_updated`.
    Content(Content),
    /// Facts about a block whose text is the same. Clears `archived` and `conflict`; `last_updated` stays.
    Facts(Facts),
    /// Flags the vault's edit as refused and writes nothing else.
    Conflict(Conflict),
    /// Sets `archived = true` and `archived_at`.
    Archive,
}

/// The properties that [`Write::Content`] sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// v1 text, whole; a store keeps the first [`TEXT_BYTES_MAX`] bytes of it.
    pub text: String,
    /// v1 hash, of the whole text.
    pub hash: ContentHash,
    /// v2 text.
    pub body: String,
    /// v2 hash.
    pub body_hash: ContentHash,
    /// The graph's new version.
    pub version: i64,
    /// The marker version accepted.
    pub vault_version: i64,
    /// The block's tier.
    pub tier: Tier,
    /// Absolute path of the file.
    pub source_file: String,
    /// Whether to set `needs_reprocessing = true`. It is never set to false.
    pub mark: bool,
}

/// The properties that [`Write::Facts`] sets; `None` leaves one alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The graph's version.
    pub version: Option<i64>,
    /// The marker version accepted.
    pub vault_version: Option<i64>,
    /// Absolute path of the file.
    pub source_file: Option<String>,
    /// The block's tier.
    pub tier: Option<Tier>,
    /// v2 text and hash, filled at first contact with a node of the original.
    pub body: Option<(String, ContentHash)>,
}

/// The outcome of a batch. A change that is named in neither list is in the graph as asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The node no longer was what the change expected (also when it is already what the change wants): read it
    /// again and decide again.
    pub stale: Vec<BlockId>,
    /// The store cannot take this row, and why; all others were written.
    pub rejected: Vec<(BlockId, String)>,
}

/// The blocks that `purge` deleted, or would delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Archived blocks deleted.
    pub deleted: Vec<BlockId>,
    /// Archived long enough, but other nodes point at them: kept.
    pub kept_related: Vec<BlockId>,
}

/// The order to purge.
#[derive(Clone, Copy, Debug)]
pub struct Purge {
    /// Archived at this instant or later: an earlier one was taken from a clock that was wrong.
    pub archived_from: DateTime<Utc>,
    /// Archived before this instant.
    pub archived_before: DateTime<Utc>,
    /// Delete also blocks that other nodes have relationships with, and the relationships.
    pub detach: bool,
    /// Delete nothing, only list.
    pub dry_run: bool,
}

/// How many changes, and how many bytes of text in them, a store likes to be given in one batch, and how many batches
/// at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize {
    /// Changes.
    pub rows: usize,
    /// Bytes of `text` and `body` together.
    pub bytes: usize,
    /// Batches that it works on at once, each from a thread of its own.
    pub at_once: usize,
}

/// The graph as a keeper of blocks.
pub trait GraphStore: Send + Sync {
    /// Makes the graph ready to be written: an index that is missing, a look whether it takes writes at all. Called
    /// before the first [`lookup`](GraphStore::lookup) of a run that will write, which the index makes fast; the first
    /// [`apply`](GraphStore::apply) sees to it in any case. Reading alone never makes anything.
    fn prepare(&self) -> Result<(), GraphError> {
        Ok(())
    }

    /// Tells that an empty graph is about to be filled: only with new blocks, each id once, until something else is asked
    /// or [`prepare`](GraphStore::prepare) says that all are there. A store may lay its index aside for that long. On a
    /// graph with blocks nothing comes of it.
    fn fill(&self) -> Result<(), GraphError> {
        Ok(())
    }

    /// The blocks of these ids in the graph; absent ids are absent from the map.
    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError>;

    /// The texts that the graph holds for these ids: all of each block, or the line that the original keeps of it.
    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError>;

    /// Applies the batch (ids unique) in one transaction. A change whose `expected` no longer holds is left out and
    /// named in [`Applied::stale`]; applying the same batch again changes nothing.
    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError>;

    /// Visits every block in no particular order, stubs and archived ones included.
    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError>;

    /// Whether there is no block at all. A first sync need not look anything up then: should somebody make a block
    /// meanwhile, [`apply`](GraphStore::apply) finds it.
    fn is_empty(&self) -> Result<bool, GraphError>;

    /// Returns once everything applied so far survives a power cut.
    fn flush(&self) -> Result<(), GraphError>;

    /// The token last left under `scope` by [`set_token`](GraphStore::set_token); `None` on a graph that never had
    /// one. Local state is trusted only while its token is the graph's: a restored backup or another database shows
    /// another one.
    fn token(&self, scope: &str) -> Result<Option<String>, GraphError>;

    /// Leaves a token under `scope`.
    fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError>;

    /// Deletes blocks archived long enough.
    fn purge(&self, what: &Purge) -> Result<Purged, GraphError>;

    /// Visits the blocks that wait, the longest waiting first, at most `limit` of them. A store that may be written makes
    /// itself an index for it, where one helps.
    fn marks(
        &self,
        which: &Which,
        limit: usize,
        visit: &mut dyn FnMut(Mark),
    ) -> Result<(), GraphError>;

    /// How many blocks wait, and since when.
    fn count_marks(&self, which: &Which) -> Result<Marks, GraphError>;

    /// Blocks with their texts, in the order asked for; absent ones are left out. All of them are in memory at once.
    fn whole(&self, places: &[Place]) -> Result<Vec<WholeBlock>, GraphError>;

    /// Takes the marks of blocks away, or notes them as done by `consumer` and leaves their marks alone: each only where
    /// the node still is what was handed out. Answers with those that are not. May be repeated.
    fn clear_marks(
        &self,
        blocks: &[HandedOut],
        consumer: Option<&str>,
    ) -> Result<Vec<BlockId>, GraphError>;

    /// Every property of a block by its name; `None` where there is no such block.
    fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError>;

    /// The lines of `check` about this store.
    fn check(&self) -> Vec<Finding>;

    /// The batch that [`apply`](GraphStore::apply) is fastest with. Smaller and larger ones are as right.
    fn preferred_batch(&self) -> BatchSize;
}

impl<S: GraphStore + ?Sized> GraphStore for Box<S> {
    fn prepare(&self) -> Result<(), GraphError> {
        (**self).prepare()
    }

    fn fill(&self) -> Result<(), GraphError> {
        (**self).fill()
    }

    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        (**self).lookup(ids)
    }

    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
        (**self).texts(ids)
    }

    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
        (**self).apply(changes, at)
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        (**self).for_each(visit)
    }

    fn is_empty(&self) -> Result<bool, GraphError> {
        (**self).is_empty()
    }

    fn flush(&self) -> Result<(), GraphError> {
        (**self).flush()
    }

    fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
        (**self).token(scope)
    }

    fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError> {
        (**self).set_token(scope, token)
    }

    fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
        (**self).purge(what)
    }

    fn marks(
        &self,
        which: &Which,
        limit: usize,
        visit: &mut dyn FnMut(Mark),
    ) -> Result<(), GraphError> {
        (**self).marks(which, limit, visit)
    }

    fn count_marks(&self, which: &Which) -> Result<Marks, GraphError> {
        (**self).count_marks(which)
    }

    fn whole(&self, places: &[Place]) -> Result<Vec<WholeBlock>, GraphError> {
        (**self).whole(places)
    }

    fn clear_marks(
        &self,
        blocks: &[HandedOut],
        consumer: Option<&str>,
    ) -> Result<Vec<BlockId>, GraphError> {
        (**self).clear_marks(blocks, consumer)
    }

    fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError> {
        (**self).properties(id)
    }

    fn check(&self) -> Vec<Finding> {
        (**self).check()
    }

    fn preferred_batch(&self) -> BatchSize {
        (**self).preferred_batch()
    }
}

/// The longest `text` a node may hold: Neo4j refuses an index key over 8,164 bytes and other services index `text`.
pub(crate) const TEXT_BYTES_MAX: usize = 8_000;

/// The first [`TEXT_BYTES_MAX`] bytes of a text, or a few less: never half a character.
pub(super) fn indexable(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The ways in which a store fails. The caller's next step depends on the way.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GraphError {
    /// The next try may work; the same batch may be sent again.
    #[error("{0}")]
    Transient(String),
    /// The store refuses something in this batch: halve it to find the row.
    #[error("{0}")]
    Rejected(String),
    /// Nothing will work until a person has mended it: wrong password, no such database, disk full, corrupt file.
    #[error("{0}")]
    Unavailable(String),
    /// The same, the cause being that the store does not know this user or this password.
    #[error("{0}")]
    Refused(String),
    /// The run was told to stop.
    #[error("told to stop")]
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, kept) in [
            ("short".to_owned(), 5),
            ("a".repeat(TEXT_BYTES_MAX), TEXT_BYTES_MAX),
            ("a".repeat(TEXT_BYTES_MAX + 1), TEXT_BYTES_MAX),
            ("é".repeat(TEXT_BYTES_MAX), TEXT_BYTES_MAX),
            (format!("a{}", "é".repeat(TEXT_BYTES_MAX)), TEXT_BYTES_MAX - 1),
            (format!("a{}", "🦀".repeat(TEXT_BYTES_MAX)), TEXT_BYTES_MAX - 3),
        ] {
            assert_eq!(indexable(&text).len(), kept);
        }
    }
}
