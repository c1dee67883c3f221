//! Keeps an Obsidian-style Markdown vault and a knowledge graph in step, and runs any other periodic job beside it.
//!
//! Data moves one way through these rooms:
//!
//! ```text
//! YAML + env   settings/aclarai.config.yaml, VAULT_PATH, NEO4J_*, AUTOMATION_PAUSE, LOG_LEVEL
//!    | config     raw -> checked Config, JobSpec
//!    | job        JobSpec -> Box<dyn Job>            (registry)
//!    | scheduler  fire times -> run -> worker        (planner | tick thread | pool)
//!    | vault      walk -> stat cache -> read -> Block + fault
//!    | reconcile  Block + StoredBlock -> Change      (diff)
//!    | graph      Change -> SQLite | Neo4j           (GraphStore)
//!    v            RunReport -> log line + history row
//! ```

mod app;
pub mod block;
pub mod cli;
pub mod clock;
pub mod config;
mod daemon;
pub mod gate;
pub mod graph;
pub mod history;
pub mod job;
pub mod jobs;
pub mod logging;
mod observe;
pub mod reconcile;
mod sandbox;
pub mod schedule;
pub mod scheduler;
mod signals;
mod sqlite;
pub mod state;
pub mod stop;
mod text;
pub mod vault;
