//! The graph's door: what `vault_sync` may ask of a store of `:Block` nodes.
//!
//! A store reads many, writes many under compare-and-set, and lists all. Batching, SQL or Cypher, the async runtime
//! and idempotence sit behind these few verbs; no store decides what should be written: that is `reconcile::diff`.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::block::{BlockId, ContentHash, Tier};

/// What the graph holds for one block, as far as decisions are taken on it. Texts are never fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// An edit in the vault that is older than the graph, flagged on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What was read when this change was decided; `None`: there was no node.
    pub expected: Option<StoredBlock>,
    /// What to write.
    pub write: Write,
}

/// What a change writes. Each kind leaves every other property of the node alone.
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
    /// v1 text, at most [`TEXT_BYTES_MAX`] bytes.
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

/// What came of a batch. Whatever is named in neither list is in the graph as asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The node no longer was what the change expected (also when it is already what the change wants): read it
    /// again and decide again.
    pub stale: Vec<BlockId>,
    /// The store cannot take this row, and why; all others were written.
    pub rejected: Vec<(BlockId, String)>,
}

/// What `purge` deleted, or would delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Archived blocks deleted.
    pub deleted: Vec<BlockId>,
    /// Archived long enough, but other nodes point at them: kept.
    pub kept_related: Vec<BlockId>,
}

/// What is to be purged.
#[derive(Clone, Copy, Debug)]
pub struct Purge {
    /// Archived before this instant.
    pub archived_before: DateTime<Utc>,
    /// Delete also blocks that other nodes have relationships with, and the relationships.
    pub detach: bool,
    /// Delete nothing, only list.
    pub dry_run: bool,
}

/// One line of `check` about a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckLine {
    /// What was looked at: `graph.reachable`, `graph.constraint`, ...
    pub name: String,
    /// Whether all is well.
    pub level: CheckLevel,
    /// What was found and, unless all is well, what to do about it.
    pub message: String,
}

/// How bad a finding of `check` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckLevel {
    /// Nothing to do.
    Ok,
    /// Works, but look at it.
    Warning,
    /// Does not work.
    Error,
}

/// The graph as a keeper of blocks.
pub trait GraphStore: Send + Sync {
    /// What the graph holds for these ids; absent ids are absent from the map.
    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError>;

    /// Applies the batch (ids unique) in one transaction. A change whose `expected` no longer holds is left out and
    /// named in [`Applied::stale`]; applying the same batch again changes nothing.
    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError>;

    /// Visits every block in no particular order, stubs and archived ones included.
    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError>;

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

    /// What `check` shows about this store.
    fn check(&self) -> Vec<CheckLine>;
}

/// The longest `text` a node may hold: Neo4j refuses an index key over 8,164 bytes and other services index `text`.
pub const TEXT_BYTES_MAX: usize = 8_000;

/// Asked between steps and while waiting; true ends the operation with [`GraphError::Cancelled`].
pub type Interrupt = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a caller can do about a store that failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GraphError {
    /// It may work the next time; the same batch may be sent again.
    #[error("{0}")]
    Transient(String),
    /// The store refuses something in this batch: halve it to find the row.
    #[error("{0}")]
    Rejected(String),
    /// Nothing will work until a person has mended it: wrong password, no such database, disk full, corrupt file.
    #[error("{0}")]
    Unavailable(String),
    /// The run was told to stop.
    #[error("told to stop")]
    Cancelled,
}
