//! A graph in memory: the model the other stores are compared with, and what a dry run without a graph reads.
//!
//! A [`MemoryStore`] can be meddled with: a closure sees every operation at its beginning and at its end, may change
//! the nodes as another service would, and may make the operation fail there. A failure at the beginning is a
//! transient fault; a failure at the end of [`apply`](GraphStore::apply) is an answer lost after the commit; nodes
//! changed at the beginning of it are a writer between our reading and our writing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::store::{
    Applied, BatchSize, Change, Conflict, GraphError, GraphStore, Purge, Purged, StoredBlock,
    Write, fit, indexable,
};
use crate::block::{BlockId, Tier};
use crate::finding::Finding;

/// All properties of one `:Block` node but its id. The default is a stub: a node with an id and nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// v1 text.
    pub text: Option<String>,
    /// v1 hash.
    pub hash: Option<String>,
    /// The graph's version.
    pub version: Option<i64>,
    /// When the text last changed.
    pub last_updated: Option<DateTime<Utc>>,
    /// Whether other services should look at it again.
    pub needs_reprocessing: bool,
    /// Absolute path of its file.
    pub source_file: Option<String>,
    /// The marker version last accepted.
    pub vault_version: Option<i64>,
    /// v2 text.
    pub body: Option<String>,
    /// v2 hash.
    pub body_hash: Option<String>,
    /// The block's tier.
    pub tier: Option<Tier>,
    /// Since when it is archived, if it is.
    pub archived_at: Option<DateTime<Utc>>,
    /// The vault's refused edit.
    pub conflict: Option<Conflict>,
    /// How many nodes of other kinds point at it, as claims do.
    pub relationships: u32,
}

impl Node {
    fn stored(&self) -> StoredBlock {
        StoredBlock {
            hash: self.hash.clone(),
            body_hash: self.body_hash.clone(),
            version: self.version.unwrap_or(0),
            vault_version: self.vault_version,
            source_file: self.source_file.clone(),
            archived: self.archived_at.is_some(),
            conflict: self.conflict.clone(),
        }
    }

    fn write(&mut self, write: &Write, at: DateTime<Utc>) {
        match write {
            Write::Content(content) => {
                self.text = Some(indexable(&content.text).to_owned());
                self.hash = Some(content.hash.to_string());
                self.version = Some(content.version);
                self.last_updated = Some(at);
                self.needs_reprocessing |= content.mark;
                self.source_file = Some(content.source_file.clone());
                self.vault_version = Some(content.vault_version);
                self.body = Some(content.body.clone());
                self.body_hash = Some(content.body_hash.to_string());
                self.tier = Some(content.tier);
                self.archived_at = None;
                self.conflict = None;
            }
            Write::Facts(facts) => {
                self.version = facts.version.or(self.version);
                self.vault_version = facts.vault_version.or(self.vault_version);
                self.tier = facts.tier.or(self.tier);
                if let Some(file) = &facts.source_file {
                    self.source_file = Some(file.clone());
                }
                if let Some((body, hash)) = &facts.body {
                    self.body = Some(body.clone());
                    self.body_hash = Some(hash.to_string());
                }
                self.archived_at = None;
                self.conflict = None;
            }
            Write::Conflict(conflict) => self.conflict = Some(conflict.clone()),
            Write::Archive => self.archived_at = Some(at),
        }
    }
}

/// Where in an operation a meddler is called.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A lookup or a visit of all begins.
    BeforeRead,
    /// A batch has been sent; nothing of it is written yet.
    BeforeApply(&'a [Change]),
    /// A batch is written for good; the answer is on its way.
    AfterApply(&'a [Change]),
    /// A flush, token or purge operation begins.
    BeforeOther,
}

/// Changes the nodes as another service would, or fails the operation.
pub(crate) type Meddler =
    Box<dyn FnMut(Step<'_>, &mut BTreeMap<BlockId, Node>) -> Result<(), GraphError> + Send>;

/// Blocks in a map. Clones share one graph, as two connections to one server do.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<BlockId, Node>,
    tokens: BTreeMap<String, String>,
    meddler: Option<Meddler>,
    batch: Option<BatchSize>,
}

impl Inner {
    fn meddle(&mut self, moment: Step<'_>) -> Result<(), GraphError> {
        match &mut self.meddler {
            Some(meddler) => meddler(moment, &mut self.nodes),
            None => Ok(()),
        }
    }
}

impl MemoryStore {
    /// An empty graph.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Has `meddler` called in every operation from now on.
    pub fn meddle(&self, meddler: Meddler) {
        self.inner().meddler = Some(meddler);
    }

    /// Asks for batches of this size from now on.
    pub fn prefer(&self, batch: BatchSize) {
        self.inner().batch = Some(batch);
    }

    /// Reads or edits the nodes as another service would.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut BTreeMap<BlockId, Node>) -> T) -> T {
        edit(&mut self.inner().nodes)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A meddler that panics leaves nodes that are still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GraphStore for MemoryStore {
    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        let mut inner = self.inner();
        inner.meddle(Step::BeforeRead)?;
        Ok(ids.iter().filter_map(|id| Some((id.clone(), inner.nodes.get(id)?.stored()))).collect())
    }

    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
        let mut inner = self.inner();
        inner.meddle(Step::BeforeRead)?;
        let text = |id: &BlockId| {
            let node = inner.nodes.get(id)?;
            Some((id.clone(), node.body.clone().or_else(|| node.text.clone())?))
        };
        Ok(ids.iter().filter_map(text).collect())
    }

    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
        let (fitting, rejected) = fit(changes);
        let mut applied = Applied { stale: Vec::new(), rejected };
        let mut inner = self.inner();
        inner.meddle(Step::BeforeApply(changes))?;
        for change in fitting {
            let found = inner.nodes.get(&change.id).map(Node::stored);
            if found == change.expected {
                inner.nodes.entry(change.id.clone()).or_default().write(&change.write, at);
            } else {
                applied.stale.push(change.id.clone());
            }
        }
        inner.meddle(Step::AfterApply(changes))?;
        Ok(applied)
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        let mut inner = self.inner();
        inner.meddle(Step::BeforeRead)?;
        for (id, node) in &inner.nodes {
            visit(id.clone(), node.stored());
        }
        Ok(())
    }

    fn is_empty(&self) -> Result<bool, GraphError> {
        let mut inner = self.inner();
        inner.meddle(Step::BeforeRead)?;
        Ok(inner.nodes.is_empty())
    }

    fn flush(&self) -> Result<(), GraphError> {
        self.inner().meddle(Step::BeforeOther)
    }

    fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
        let mut inner = self.inner();
        inner.meddle(Step::BeforeOther)?;
        Ok(inner.tokens.get(scope).cloned())
    }

    fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError> {
        let mut inner = self.inner();
        inner.meddle(Step::BeforeOther)?;
        inner.tokens.insert(scope.to_owned(), token.to_owned());
        Ok(())
    }

    fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
        let mut inner = self.inner();
        inner.meddle(Step::BeforeOther)?;
        let mut purged = Purged::default();
        for (id, node) in &inner.nodes {
            if node
                .archived_at
                .is_some_and(|at| (what.archived_from..what.archived_before).contains(&at))
            {
                if node.relationships > 0 && !what.detach {
                    purged.kept_related.push(id.clone());
                } else {
                    purged.deleted.push(id.clone());
                }
            }
        }
        if !what.dry_run {
            for id in &purged.deleted {
                inner.nodes.remove(id);
            }
        }
        Ok(purged)
    }

    fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    fn preferred_batch(&self) -> BatchSize {
        let usual = BatchSize { rows: 1_000, bytes: 1 << 20, at_once: 1 };
        self.inner().batch.unwrap_or(usual)
    }
}
