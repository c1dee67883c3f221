//! The graph's door: what `vault_sync` may ask of a store of `:Block` nodes.
//!
//! The verbs and their words are in `store`; this file opens the configured store and wraps it.
//!
//! [`open`] gives the configured store, already wrapped so that transient faults are tried again. A store is opened
//! for one run and dropped after it: an idle daemon holds no connection, no cache and no runtime.

pub(crate) mod lease;
mod marks;
#[cfg(test)]
mod meddled;
mod memory;
#[cfg(feature = "neo4j")]
mod neo4j;
mod sqlite;
mod store;
mod wrap;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{Clock, by_a_set_clock};
use crate::config::{GraphConfig, Neo4jConfig, RetryPolicy};
use crate::finding::{Finding, Level};
use crate::sandbox::existing;
use crate::stop::Stop;
use crate::text::instant;

pub(crate) use marks::Row;
pub use marks::{HandedOut, Mark, Marks, Place, State, Which};
#[cfg(all(test, feature = "neo4j"))]
pub(crate) use meddled::Nodes;
#[cfg(test)]
pub(crate) use meddled::{BackDoor, Meddled, Step};
pub use memory::MemoryStore;
#[cfg(test)]
pub(crate) use memory::Node;
#[cfg(feature = "neo4j")]
pub(crate) use neo4j::Neo4jStore;
pub use sqlite::SqliteStore;
pub use store::{
    Applied, Change, Conflict, Content, Facts, GraphError, GraphStore, Purge, StoredBlock, Write,
};
pub(crate) use store::{BatchSize, Purged};
pub(crate) use wrap::{DryRun, Patience, Retrying};

/// Opens the configured store for one run: creates what is missing (file, schema), and tries transient faults again
/// as `retries` says. `stop` ends whatever the store is doing.
pub fn open(
    config: &GraphConfig,
    retries: RetryPolicy,
    stop: Stop,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn GraphStore>, GraphError> {
    let patience = Patience::new(retries, stop, clock);
    match config {
        GraphConfig::Embedded { path } => {
            let store = patience.insist(|| SqliteStore::open(path, patience.stop()))?;
            Ok(retrying(Box::new(store), patience))
        }
        GraphConfig::Neo4j(config) => open_neo4j(config, patience),
    }
}

/// Opens the configured store for a run that must change nothing: reads are real, writes are only said to be done,
/// and nothing that is missing is created.
pub fn open_dry(
    config: &GraphConfig,
    retries: RetryPolicy,
    stop: Stop,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn GraphStore>, GraphError> {
    match config {
        // No file yet: a real run would start from an empty graph, so an empty one stands in for it.
        GraphConfig::Embedded { path } if is_missing(path) => Ok(dry(Box::new(MemoryStore::new()))),
        GraphConfig::Embedded { path } => {
            let patience = Patience::new(retries, stop, clock);
            let open = || SqliteStore::open_to_look(path, patience.stop());
            let store = patience.insist(open)?;
            Ok(dry(retrying(Box::new(store), patience)))
        }
        GraphConfig::Neo4j(config) => {
            let store = open_neo4j(config, Patience::new(retries, stop, clock))?;
            Ok(dry(store))
        }
    }
}

/// In the program the wrappings are there once, and not once for each store.
fn retrying(store: Box<dyn GraphStore>, patience: Patience) -> Box<dyn GraphStore> {
    Box::new(Retrying::new(store, patience))
}

fn dry(store: Box<dyn GraphStore>) -> Box<dyn GraphStore> {
    Box::new(DryRun::new(store))
}

/// How many blocks of the configured graph are marked and not archived, and since when the oldest one: for those who only
/// show it. Changes nothing.
pub(crate) fn count_marks(
    config: &GraphConfig,
    retries: RetryPolicy,
    stop: Stop,
    clock: Arc<dyn Clock>,
) -> Result<Marks, GraphError> {
    open_dry(config, retries, stop, clock)?.count_marks(&Which::default())
}

#[cfg(feature = "neo4j")]
fn open_neo4j(config: &Neo4jConfig, patience: Patience) -> Result<Box<dyn GraphStore>, GraphError> {
    let open = || Neo4jStore::open(config, patience.stop(), patience.clock());
    let store = patience.insist(open)?;
    Ok(retrying(Box::new(store), patience))
}

#[cfg(not(feature = "neo4j"))]
fn open_neo4j(_: &Neo4jConfig, _: Patience) -> Result<Box<dyn GraphStore>, GraphError> {
    Err(built_without_neo4j())
}

#[cfg(not(feature = "neo4j"))]
fn built_without_neo4j() -> GraphError {
    GraphError::Unavailable(
        "databases.graph: this program was built without Neo4j: build it with the feature neo4j, or set \
         databases.graph to embedded"
            .to_owned(),
    )
}

/// The place on the configured server that keeps leases; it connects with the first question.
#[cfg(feature = "neo4j")]
pub(crate) fn lease_keeper(
    config: &Neo4jConfig,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn lease::LeaseKeeper>, GraphError> {
    Ok(Arc::new(neo4j::Neo4jKeeper::new(config, clock)?))
}

/// The same in a program without Neo4j: there is none.
#[cfg(not(feature = "neo4j"))]
pub(crate) fn lease_keeper(
    _: &Neo4jConfig,
    _: Arc<dyn Clock>,
) -> Result<Arc<dyn lease::LeaseKeeper>, GraphError> {
    Err(built_without_neo4j())
}

/// Where a store works: for the walls around the threads that use it.
pub(crate) struct Places {
    /// Files and folders that it reads.
    pub(crate) read: Vec<PathBuf>,
    /// The folder that its file lies in.
    pub(crate) write: Option<PathBuf>,
    /// Whether it is a server.
    pub(crate) connects: bool,
}

/// Where the configured store works. Makes the folder of an embedded graph where it is missing, unless the run is dry.
pub(crate) fn places(config: &GraphConfig, is_dry: bool) -> Result<Places, GraphError> {
    match config {
        GraphConfig::Embedded { path } => {
            if !is_dry {
                sqlite::make_place(path)?;
            }
            let write = path.parent().map(Path::to_owned);
            Ok(Places { read: Vec::new(), write, connects: false })
        }
        GraphConfig::Neo4j(config) => {
            // To find a server by its name, and to know the authorities whose certificates are trusted.
            let mut read = existing(&[
                "/etc/resolv.conf",
                "/etc/hosts",
                "/etc/host.conf",
                "/etc/gai.conf",
                "/etc/nsswitch.conf",
                "/etc/services",
                "/etc/ld.so.cache",
                "/etc/ssl",
                "/etc/pki",
                "/etc/ca-certificates",
                "/usr",
                "/lib",
                "/lib64",
                "/var/lib/ca-certificates",
                "/run/systemd/resolve",
                "/run/nscd",
                "/dev/null",
                "/dev/urandom",
            ]);
            let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
            read.extend(named.into_iter().flatten().map(PathBuf::from));
            read.extend(config.tls_ca.clone());
            Ok(Places { read, write: None, connects: true })
        }
    }
}

/// The lines of `check` about the configured store: each thing that a sync needs of it, and the remedy where it lacks.
/// Changes nothing.
pub fn check(
    config: &GraphConfig,
    retries: RetryPolicy,
    stop: Stop,
    clock: Arc<dyn Clock>,
) -> Vec<Finding> {
    match config {
        GraphConfig::Embedded { path } if is_missing(path) => vec![sqlite::check_missing(path)],
        _ => match open_dry(config, retries, stop, clock) {
            Ok(store) => {
                let mut lines = store.check();
                lines.push(check_marks(&*store));
                lines
            }
            Err(error) => check_unopened(config, &error),
        },
    }
}

fn check_marks(store: &dyn GraphStore) -> Finding {
    let (level, message) = match store.count_marks(&Which::default()) {
        Ok(Marks { count: 0, .. }) => (Level::Ok, "no block is marked for reprocessing".to_owned()),
        Ok(Marks { count, oldest }) => {
            let since = oldest.and_then(by_a_set_clock);
            let since = since.map(|at| format!(", the oldest since {}", instant(at)));
            let since = since.unwrap_or_default();
            (Level::Ok, format!("{count} blocks are marked for reprocessing{since}"))
        }
        Err(error) => (Level::Warning, error.to_string()),
    };
    Finding { name: "graph.marks".to_owned(), level, message }
}

/// The lines of `check` where there is no store to ask.
fn check_unopened(config: &GraphConfig, error: &GraphError) -> Vec<Finding> {
    let line = |name: &str, level, message| Finding { name: name.to_owned(), level, message };
    let is_server = matches!(config, GraphConfig::Neo4j(_));
    let mut lines = Vec::new();
    let name = match error {
        GraphError::Refused(_) => {
            lines.push(line("graph.reachable", Level::Ok, "the server answers".to_owned()));
            "graph.authenticated"
        }
        GraphError::Transient(_) if is_server => "graph.reachable",
        _ => "graph",
    };
    lines.push(line(name, Level::Error, error.to_string()));
    lines
}

/// Whether there is surely no file, or an empty one that opening would fill: one that cannot be looked at is for
/// opening to complain about.
fn is_missing(path: &Path) -> bool {
    match path.metadata() {
        Ok(metadata) => metadata.is_file() && metadata.len() == 0,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn only_a_real_run_makes_a_graph() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/graph.db");
        let config = GraphConfig::Embedded { path: path.clone() };
        let with = || (RetryPolicy::default(), Stop::new(), Arc::new(SystemClock));
        let check = || {
            let (retries, stop, clock) = with();
            check(&config, retries, stop, clock)
        };
        let open_dry = || {
            let (retries, stop, clock) = with();
            open_dry(&config, retries, stop, clock).unwrap()
        };

        let lines = check();
        assert_eq!((lines.len(), lines[0].level), (1, Level::Ok));
        assert!(lines[0].message.contains("the first sync makes it"), "{}", lines[0].message);
        assert_eq!(open_dry().token("/vault").unwrap(), None);
        assert!(!path.parent().unwrap().exists(), "neither a check nor a dry run makes anything");

        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(open_dry().token("/vault").unwrap(), None);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "an empty file stays empty");
        std::fs::remove_file(&path).unwrap();

        let (retries, stop, clock) = with();
        open(&config, retries, stop, clock).unwrap().set_token("/vault", "t").unwrap();
        assert_eq!(open_dry().token("/vault").unwrap().as_deref(), Some("t"));
        assert!(check().len() > 1 && check().iter().all(|line| line.level == Level::Ok));
    }
}
