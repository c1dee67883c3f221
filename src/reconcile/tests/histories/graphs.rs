//! The graph of a history: in memory, or on a real server.

use std::sync::{Arc, Mutex};

use super::{Meddling, locked};
use crate::graph::{BackDoor, BatchSize, GraphStore, Meddled, MemoryStore};

/// So small that the few notes of a history make several, which are written at the same time.
const SMALL_BATCHES: BatchSize = BatchSize { rows: 2, bytes: 1 << 20, at_once: 2 };

/// A store that a history is played with, and the back door of the graph behind it.
pub(super) trait Graph: GraphStore {
    /// The graph as another service sees it.
    fn door(&self) -> &dyn BackDoor;
    /// Another store on the same graph.
    fn again(&self) -> Box<dyn GraphStore>;
}

impl<S: GraphStore + BackDoor + 'static> Graph for Meddled<S> {
    fn door(&self) -> &dyn BackDoor {
        &**self
    }

    fn again(&self) -> Box<dyn GraphStore> {
        Box::new(self.clone())
    }
}

fn meddled<S: GraphStore + BackDoor>(store: Arc<S>, plan: &Arc<Mutex<Meddling>>) -> Meddled<S> {
    let (store, plan) = (Meddled::new(store), Arc::clone(plan));
    store.meddle(Box::new(move |step, door| locked(&plan).meddle(step, door)));
    store
}

/// An empty graph in memory. In every second history it is written to in several batches at the same time.
pub(super) fn in_memory(seed: u64, plan: &Arc<Mutex<Meddling>>) -> Box<dyn Graph> {
    let store = meddled(Arc::new(MemoryStore::new()), plan);
    if seed % 2 == 1 {
        store.prefer(SMALL_BATCHES);
    }
    Box::new(store)
}

#[cfg(feature = "neo4j")]
pub(super) use served::{on_server, server};

#[cfg(feature = "neo4j")]
mod served {
    use std::sync::{Arc, Mutex};

    use super::super::Meddling;
    use super::{Graph, SMALL_BATCHES, meddled};
    use crate::clock::SystemClock;
    use crate::config::Neo4jConfig;
    use crate::graph::Neo4jStore;
    use crate::stop::Stop;

    /// The server at `ACLARAI_TEST_NEO4J_URI`; `None` where none is named.
    pub(in super::super) fn server() -> Option<Arc<Neo4jStore>> {
        let config = Neo4jConfig {
            uri: std::env::var("ACLARAI_TEST_NEO4J_URI").ok()?,
            database: "neo4j".to_owned(),
            tls_ca: None,
            user: std::env::var("NEO4J_USER").unwrap_or("neo4j".to_owned()),
            password: std::env::var("NEO4J_PASSWORD").ok(),
        };
        Some(Arc::new(Neo4jStore::open(&config, Stop::new(), Arc::new(SystemClock)).unwrap()))
    }

    /// An empty graph on the server.
    pub(in super::super) fn on_server(
        store: &Arc<Neo4jStore>,
        plan: &Arc<Mutex<Meddling>>,
    ) -> Box<dyn Graph> {
        store.wipe();
        let store = meddled(Arc::clone(store), plan);
        store.prefer(SMALL_BATCHES);
        Box::new(store)
    }
}
