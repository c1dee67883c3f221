//! The double between a run and its graph, for tests: a store that is meddled with.
//!
//! A closure sees every operation at its beginning and at its end, may edit the nodes as another service would, and may
//! make the operation fail there. A failure at the beginning is a transient fault; a failure at the end of
//! [`apply`](GraphStore::apply) is an answer lost after the commit; nodes edited at the beginning of it are a writer
//! between the run's reading and its writing.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::marks::{HandedOut, Mark, Marks, Place, Which, WholeBlock};
use super::memory::Node;
use super::store::{
    Applied, BatchSize, Change, GraphError, GraphStore, Purge, Purged, StoredBlock,
};
use crate::block::BlockId;
use crate::finding::Finding;

/// All nodes of a graph.
pub(crate) type Nodes = BTreeMap<BlockId, Node>;

/// The graph past the store: whole nodes, read and edited as another service would.
pub(crate) trait BackDoor {
    /// Reads or edits the nodes.
    fn edit(&self, edit: &mut dyn FnMut(&mut Nodes));
}

/// Where in an operation the meddler is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// A lookup or a visit of all begins.
    BeforeRead,
    /// A visit of all has come past one block. The nodes cannot be edited here: a store may hold them.
    Visited,
    /// A batch has been sent; nothing of it is written yet.
    BeforeApply(&'a [Change]),
    /// A batch is written for good; the answer is on its way.
    AfterApply(&'a [Change]),
    /// A flush, token or purge operation begins.
    BeforeOther,
}

/// Edits the nodes as another service would, or fails the operation.
pub(crate) type Meddler = Box<dyn FnMut(Step<'_>, &dyn BackDoor) -> Result<(), GraphError> + Send>;

/// A store whose every operation the meddler sees. Clones share the graph and the meddler, as two connections to one
/// server do.
pub(crate) struct Meddled<S> {
    store: Arc<S>,
    meddler: Arc<Mutex<Option<Meddler>>>,
    batch: Arc<Mutex<Option<BatchSize>>>,
}

impl<S> Clone for Meddled<S> {
    fn clone(&self) -> Meddled<S> {
        Meddled {
            store: Arc::clone(&self.store),
            meddler: Arc::clone(&self.meddler),
            batch: Arc::clone(&self.batch),
        }
    }
}

impl<S> Deref for Meddled<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

impl<S: GraphStore + BackDoor> Meddled<S> {
    /// A store that nobody meddles with yet.
    pub(crate) fn new(store: Arc<S>) -> Meddled<S> {
        Meddled { store, meddler: Arc::default(), batch: Arc::default() }
    }

    /// Has `meddler` called in every operation from now on.
    pub(crate) fn meddle(&self, meddler: Meddler) {
        *locked(&self.meddler) = Some(meddler);
    }

    /// Asks for batches of this size from now on.
    pub(crate) fn prefer(&self, batch: BatchSize) {
        *locked(&self.batch) = Some(batch);
    }

    fn at(&self, step: Step<'_>) -> Result<(), GraphError> {
        match &mut *locked(&self.meddler) {
            Some(meddler) => meddler(step, &*self.store),
            None => Ok(()),
        }
    }
}

/// A meddler that panics, as a killed run does, leaves what is here whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: GraphStore + BackDoor> GraphStore for Meddled<S> {
    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        self.at(Step::BeforeRead)?;
        self.store.lookup(ids)
    }

    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
        self.at(Step::BeforeRead)?;
        self.store.texts(ids)
    }

    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
        self.at(Step::BeforeApply(changes))?;
        let applied = self.store.apply(changes, at)?;
        self.at(Step::AfterApply(changes))?;
        Ok(applied)
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        self.at(Step::BeforeRead)?;
        let mut so_far = Ok(());
        self.store.for_each(&mut |id, block| {
            if so_far.is_ok() {
                visit(id, block);
                so_far = self.at(Step::Visited);
            }
        })?;
        so_far
    }

    fn is_empty(&self) -> Result<bool, GraphError> {
        self.at(Step::BeforeRead)?;
        self.store.is_empty()
    }

    fn flush(&self) -> Result<(), GraphError> {
        self.at(Step::BeforeOther)?;
        self.store.flush()
    }

    fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
        self.at(Step::BeforeOther)?;
        self.store.token(scope)
    }

    fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError> {
        self.at(Step::BeforeOther)?;
        self.store.set_token(scope, token)
    }

    fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
        self.at(Step::BeforeOther)?;
        self.store.purge(what)
    }

    fn marks(
        &self,
        which: &Which,
        limit: usize,
        visit: &mut dyn FnMut(Mark),
    ) -> Result<(), GraphError> {
        self.at(Step::BeforeRead)?;
        self.store.marks(which, limit, visit)
    }

    fn count_marks(&self, which: &Which) -> Result<Marks, GraphError> {
        self.at(Step::BeforeRead)?;
        self.store.count_marks(which)
    }

    fn whole(&self, places: &[Place]) -> Result<Vec<WholeBlock>, GraphError> {
        self.at(Step::BeforeRead)?;
        self.store.whole(places)
    }

    fn clear_marks(
        &self,
        blocks: &[HandedOut],
        consumer: Option<&str>,
    ) -> Result<Vec<BlockId>, GraphError> {
        self.at(Step::BeforeOther)?;
        self.store.clear_marks(blocks, consumer)
    }

    fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError> {
        self.at(Step::BeforeRead)?;
        self.store.properties(id)
    }

    fn check(&self) -> Vec<Finding> {
        self.store.check()
    }

    fn preferred_batch(&self) -> BatchSize {
        locked(&self.batch).unwrap_or_else(|| self.store.preferred_batch())
    }
}
