//! The graph of a history: in memory, or on a real server.

use super::Nodes;
use crate::graph::{BatchSize, GraphStore, MemoryStore};

/// So small that the few notes of a history make several, which are written at the same time.
pub(super) const SMALL_BATCHES: BatchSize = BatchSize { rows: 2, bytes: 1 << 20, at_once: 2 };

/// A store that a history is played with, and the back door of the graph behind it.
pub(super) trait Graph: GraphStore {
    /// Reads or edits the nodes as another service would.
    fn edit(&self, edit: &mut dyn FnMut(&mut Nodes));
    /// Another store on the same graph.
    fn again(&self) -> Box<dyn GraphStore>;
}

impl Graph for MemoryStore {
    fn edit(&self, edit: &mut dyn FnMut(&mut Nodes)) {
        MemoryStore::edit(self, edit);
    }

    fn again(&self) -> Box<dyn GraphStore> {
        Box::new(self.clone())
    }
}

#[cfg(feature = "neo4j")]
pub(super) use served::{Served, server};

#[cfg(feature = "neo4j")]
mod served {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use chrono::{DateTime, Utc};
    use serde_json::{Map, Value};

    use super::super::{Meddling, Nodes, locked};
    use super::Graph;
    use crate::block::{BlockId, WholeBlock};
    use crate::clock::SystemClock;
    use crate::config::Neo4jConfig;
    use crate::finding::Finding;
    use crate::graph::{
        Applied, BatchSize, Change, GraphError, GraphStore, HandedOut, Mark, Marks, Neo4jStore,
        Purge, Purged, Step, StoredBlock, Which,
    };

    /// The server at `ACLARAI_TEST_NEO4J_URI`; `None` where none is named.
    pub(in super::super) fn server() -> Option<Arc<Neo4jStore>> {
        let config = Neo4jConfig {
            uri: std::env::var("ACLARAI_TEST_NEO4J_URI").ok()?,
            database: "neo4j".to_owned(),
            tls_ca: None,
            user: std::env::var("NEO4J_USER").unwrap_or("neo4j".to_owned()),
            password: std::env::var("NEO4J_PASSWORD").ok(),
        };
        let clock = Arc::new(SystemClock);
        Some(Arc::new(Neo4jStore::open(&config, crate::stop::Stop::new(), clock).unwrap()))
    }

    /// A store on the server, meddled with as the one in memory is.
    #[derive(Clone)]
    pub(in super::super) struct Served {
        store: Arc<Neo4jStore>,
        meddling: Arc<Mutex<Meddling>>,
    }

    impl Served {
        /// An empty graph.
        pub(in super::super) fn new(
            store: &Arc<Neo4jStore>,
            meddling: &Arc<Mutex<Meddling>>,
        ) -> Served {
            store.wipe();
            Served { store: Arc::clone(store), meddling: Arc::clone(meddling) }
        }

        fn meddle(&self, moment: Step<'_>) -> Result<(), GraphError> {
            let mut meddling = locked(&self.meddling);
            if !meddling.is_about_to_serve() {
                return meddling.meddle(moment, &mut Nodes::new());
            }
            let mut answer = Ok(());
            self.store.edit(&mut |nodes| answer = meddling.meddle(moment, nodes));
            answer
        }
    }

    impl Graph for Served {
        fn edit(&self, edit: &mut dyn FnMut(&mut Nodes)) {
            self.store.edit(edit);
        }

        fn again(&self) -> Box<dyn GraphStore> {
            Box::new(self.clone())
        }
    }

    impl GraphStore for Served {
        fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
            self.meddle(Step::BeforeRead)?;
            self.store.lookup(ids)
        }

        fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
            self.store.texts(ids)
        }

        fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
            self.meddle(Step::BeforeApply(changes))?;
            let applied = self.store.apply(changes, at)?;
            self.meddle(Step::AfterApply(changes))?;
            Ok(applied)
        }

        fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
            self.meddle(Step::BeforeRead)?;
            self.store.for_each(visit)
        }

        fn is_empty(&self) -> Result<bool, GraphError> {
            self.meddle(Step::BeforeRead)?;
            self.store.is_empty()
        }

        fn flush(&self) -> Result<(), GraphError> {
            self.meddle(Step::BeforeOther)?;
            self.store.flush()
        }

        fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
            self.meddle(Step::BeforeOther)?;
            self.store.token(scope)
        }

        fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError> {
            self.meddle(Step::BeforeOther)?;
            self.store.set_token(scope, token)
        }

        fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
            self.meddle(Step::BeforeOther)?;
            self.store.purge(what)
        }

        fn marks(
            &self,
            which: &Which,
            limit: usize,
            visit: &mut dyn FnMut(Mark),
        ) -> Result<(), GraphError> {
            self.store.marks(which, limit, visit)
        }

        fn count_marks(&self, which: &Which) -> Result<Marks, GraphError> {
            self.store.count_marks(which)
        }

        fn whole(&self, ids: &[BlockId]) -> Result<Vec<WholeBlock>, GraphError> {
            self.store.whole(ids)
        }

        fn clear_marks(
            &self,
            blocks: &[HandedOut],
            consumer: Option<&str>,
        ) -> Result<Vec<BlockId>, GraphError> {
            self.store.clear_marks(blocks, consumer)
        }

        fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError> {
            self.store.properties(id)
        }

        fn check(&self) -> Vec<Finding> {
            self.store.check()
        }

        fn preferred_batch(&self) -> BatchSize {
            super::SMALL_BATCHES
        }
    }
}
