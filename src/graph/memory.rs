//! A graph in memory: the model the other stores are compared with, and what a dry run without a graph reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use serde_json::{Map, Value, json};

use super::marks::{HandedOut, Mark, Marks, Place, Which, WholeBlock};
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

/// Blocks in a map. Clones share one graph, as two connections to one server do.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<BlockId, Node>,
    tokens: BTreeMap<String, String>,
    /// The version that each consumer has done of a block.
    consumed: HashMap<(String, BlockId), i64>,
}

impl Inner {
    /// The blocks that wait, the longest waiting first.
    fn waiting(&self, which: &Which) -> Vec<(&BlockId, &Node)> {
        let waits = |id: &BlockId, node: &Node| match &which.consumer {
            None => node.needs_reprocessing,
            Some(consumer) => {
                let done = self.consumed.get(&(consumer.clone(), id.clone()));
                done != Some(&node.version.unwrap_or(0))
            }
        };
        let mut waiting: Vec<(&BlockId, &Node)> = self
            .nodes
            .iter()
            .filter(|(id, node)| which.names(id, node.tier, node.archived_at.is_some()))
            .filter(|(id, node)| waits(id, node))
            .collect();
        crate::order::sort_by_key(&mut waiting, |(_, node)| node.last_updated);
        waiting
    }
}

impl MemoryStore {
    /// An empty graph.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Reads or edits the nodes as another service would.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut BTreeMap<BlockId, Node>) -> T) -> T {
        edit(&mut self.inner().nodes)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // An edit that panics leaves nodes that are still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl super::meddled::BackDoor for MemoryStore {
    fn edit(&self, edit: &mut dyn FnMut(&mut BTreeMap<BlockId, Node>)) {
        MemoryStore::edit(self, edit);
    }
}

impl GraphStore for MemoryStore {
    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        let inner = self.inner();
        Ok(ids.iter().filter_map(|id| Some((id.clone(), inner.nodes.get(id)?.stored()))).collect())
    }

    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
        let inner = self.inner();
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
        for change in fitting {
            let found = inner.nodes.get(&change.id).map(Node::stored);
            if found == change.expected {
                inner.nodes.entry(change.id.clone()).or_default().write(&change.write, at);
            } else {
                applied.stale.push(change.id.clone());
            }
        }
        Ok(applied)
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        let inner = self.inner();
        for (id, node) in &inner.nodes {
            visit(id.clone(), node.stored());
        }
        Ok(())
    }

    fn is_empty(&self) -> Result<bool, GraphError> {
        let inner = self.inner();
        Ok(inner.nodes.is_empty())
    }

    fn flush(&self) -> Result<(), GraphError> {
        Ok(())
    }

    fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
        let inner = self.inner();
        Ok(inner.tokens.get(scope).cloned())
    }

    fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError> {
        let mut inner = self.inner();
        inner.tokens.insert(scope.to_owned(), token.to_owned());
        Ok(())
    }

    fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
        let mut inner = self.inner();
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
            let Inner { nodes, consumed, .. } = &mut *inner;
            consumed.retain(|(_, id), _| nodes.contains_key(id));
        }
        Ok(purged)
    }

    fn marks(
        &self,
        which: &Which,
        limit: usize,
        visit: &mut dyn FnMut(Mark),
    ) -> Result<(), GraphError> {
        let inner = self.inner();
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len) as u64;
        for (id, node) in inner.waiting(which).into_iter().take(limit) {
            visit(Mark {
                id: id.clone(),
                row: None,
                version: node.version.unwrap_or(0),
                marked_at: node.last_updated,
                source_file: node.source_file.clone(),
                bytes: length(&node.text) + length(&node.body),
            });
        }
        Ok(())
    }

    fn count_marks(&self, which: &Which) -> Result<Marks, GraphError> {
        let inner = self.inner();
        let waiting = inner.waiting(which);
        let oldest = waiting.iter().filter_map(|(_, node)| node.last_updated).min();
        Ok(Marks { count: waiting.len() as u64, oldest })
    }

    fn whole(&self, places: &[Place]) -> Result<Vec<WholeBlock>, GraphError> {
        let inner = self.inner();
        let whole = |Place { id, .. }: &Place| {
            let node = inner.nodes.get(id)?.clone();
            Some(WholeBlock {
                id: id.clone(),
                version: node.version.unwrap_or(0),
                tier: node.tier.or_else(|| Tier::of_id(id)),
                text: node.text,
                body: node.body,
                hash: node.hash,
                body_hash: node.body_hash,
                source_file: node.source_file,
                line: None,
                marked_at: node.last_updated,
                archived: node.archived_at.is_some(),
                marked: node.needs_reprocessing,
            })
        };
        Ok(places.iter().filter_map(whole).collect())
    }

    fn clear_marks(
        &self,
        blocks: &[HandedOut],
        consumer: Option<&str>,
    ) -> Result<Vec<BlockId>, GraphError> {
        let mut inner = self.inner();
        let mut stale = Vec::new();
        for block in blocks {
            let id = &block.place.id;
            let node = inner.nodes.get_mut(id);
            match (node.filter(|node| block.is(&node.stored())), consumer) {
                (None, _) => stale.push(id.clone()),
                (Some(node), None) => node.needs_reprocessing = false,
                (Some(node), Some(consumer)) => {
                    let version = node.version.unwrap_or(0);
                    inner.consumed.insert((consumer.to_owned(), id.clone()), version);
                }
            }
        }
        Ok(stale)
    }

    fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError> {
        let inner = self.inner();
        let Some(node) = inner.nodes.get(id) else { return Ok(None) };
        let conflict = node.conflict.as_ref();
        let all = [
            ("id", json!(id.as_str())),
            ("hash", json!(node.hash)),
            ("body_hash", json!(node.body_hash)),
            ("version", json!(node.version)),
            ("vault_version", json!(node.vault_version)),
            ("source_file", json!(node.source_file)),
            ("tier", json!(node.tier.map(|tier| tier as u8))),
            ("archived", json!(node.archived_at.is_some())),
            ("archived_at", json!(node.archived_at)),
            ("conflict", json!(conflict.is_some())),
            ("conflict_version", json!(conflict.map(|c| c.version))),
            ("conflict_hash", json!(conflict.map(|c| &c.hash))),
            ("conflict_file", json!(conflict.map(|c| &c.file))),
            ("needs_reprocessing", json!(node.needs_reprocessing)),
            ("last_updated", json!(node.last_updated)),
            ("text", json!(node.text)),
            ("body", json!(node.body)),
        ];
        let there = all.into_iter().filter(|(_, value)| !value.is_null());
        Ok(Some(there.map(|(name, value)| (name.to_owned(), value)).collect()))
    }

    fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    fn preferred_batch(&self) -> BatchSize {
        BatchSize { rows: 1_000, bytes: 1 << 20, at_once: 1 }
    }
}
