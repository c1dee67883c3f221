//! The parts of the program that the built-in jobs are handed.

use std::path::PathBuf;
use std::sync::Arc;

use super::command::Surroundings;
use crate::clock::Clock;
use crate::config::{GraphConfig, RetryPolicy, VaultConfig};

/// Parts that the built-in jobs need beyond their own configuration.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Where the vault lies.
    pub vault: VaultConfig,
    /// Which graph.
    pub graph: GraphConfig,
    /// How transient faults of the graph are tried again.
    pub retries: RetryPolicy,
    /// Where local state is kept.
    pub state_dir: PathBuf,
    /// Whether a sync confines itself where the kernel can.
    pub sandbox: bool,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The surroundings of the programs of command jobs.
    pub surroundings: Arc<Surroundings>,
}
