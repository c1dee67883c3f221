//! What goes wrong between us and a Neo4j server, and what comes of it.
//!
//! `scripted` runs against a fake server and needs nothing. `real` runs against the server that `tests/neo4j` starts,
//! kills and freezes, when `ACLARAI_TEST_NEO4J_URI` names it, and says so when it does not. `program` has the program
//! itself meet both. `hosts` has several daemons take turns by a real server.
#![cfg(feature = "neo4j")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;
mod feed;
mod hostile;
mod hosts;
mod link;
mod program;
#[path = "../random/mod.rs"]
mod random;
mod real;
mod scripted;
#[path = "../wait/mod.rs"]
mod wait;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aclarai_scheduler::inside::block::{BlockId, ContentHash, Tier};
use aclarai_scheduler::inside::clock::SystemClock;
use aclarai_scheduler::inside::config::{GraphConfig, Neo4jConfig, RetryPolicy};
use aclarai_scheduler::inside::graph::{
    self, Change, Content, GraphError, GraphStore, HandedOut, Which, Write,
};
use aclarai_scheduler::inside::stop::Stop;
use chrono::{DateTime, Utc};

use self::wait::{wait_for_end, wait_until};

fn config(uri: impl Into<String>) -> Neo4jConfig {
    Neo4jConfig {
        uri: uri.into(),
        database: "neo4j".to_owned(),
        tls_ca: None,
        user: "neo4j".to_owned(),
        password: Some("s3cret/p@ss:wörd".to_owned()),
    }
}

/// Opens a store that tries `attempts` times and hardly waits in between.
fn open(config: &Neo4jConfig, attempts: u32) -> Result<Box<dyn GraphStore>, GraphError> {
    open_until(config, attempts, Stop::new())
}

fn open_until(
    config: &Neo4jConfig,
    attempts: u32,
    stop: Stop,
) -> Result<Box<dyn GraphStore>, GraphError> {
    let retries = RetryPolicy {
        max_attempts: attempts,
        backoff_factor: 1.0,
        max_wait_time: Duration::from_millis(20),
    };
    graph::open(&GraphConfig::Neo4j(config.clone()), retries, stop, Arc::new(SystemClock))
}

/// The error of a store that cannot be opened, which never holds the password.
#[track_caller]
fn refusal(config: &Neo4jConfig) -> GraphError {
    let Err(error) = open(config, 2) else { panic!("{} was opened", config.uri) };
    assert!(!error.to_string().contains("s3cret"), "{error}");
    error
}

#[track_caller]
fn unavailable(error: GraphError) -> String {
    match error {
        GraphError::Unavailable(message) | GraphError::Refused(message) => message,
        other => panic!("not a matter for a person: {other:?}"),
    }
}

#[track_caller]
fn transient(error: GraphError) -> String {
    match error {
        GraphError::Transient(message) => message,
        other => panic!("not a matter of time: {other:?}"),
    }
}

fn noon() -> DateTime<Utc> {
    "2026-08-24T12:00:00Z".parse().unwrap()
}

fn content(text: &str) -> Content {
    let mut hash = [7; 32];
    for (i, byte) in text.bytes().enumerate() {
        hash[i % 32] ^= byte;
    }
    Content {
        text: text.to_owned(),
        hash: ContentHash(hash),
        body: format!("{text}, and the rest"),
        body_hash: ContentHash([9; 32]),
        version: 1,
        vault_version: 1,
        tier: Tier::One,
        source_file: "/vault/a.md".to_owned(),
        mark: true,
    }
}

fn create(id: &str) -> Change {
    Change { id: BlockId::new(id), expected: None, write: Write::Content(content(id)) }
}
