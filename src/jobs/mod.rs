//! The jobs this program brings along, and how they get what they need.
//!
//! The registry knows no job and no resource; the factories put into it here carry both.

pub mod command;
mod output;
pub mod supervisor;
pub mod vault_sync;

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{GraphConfig, RetryPolicy, VaultConfig};
use crate::job::{DuplicateKind, JobRegistry};

/// What the built-in jobs need beyond their own configuration.
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
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The executable that supervises the programs of command jobs: [`supervisor::SELF`] for every program whose
    /// `main` is `cli::main`.
    pub supervisor: PathBuf,
}

/// Puts the built-in kinds into `registry`: `command` and `vault_sync`.
pub fn register_builtins(registry: &mut JobRegistry, deps: Deps) -> Result<(), DuplicateKind> {
    let Deps { vault, supervisor, .. } = deps.clone();
    registry.register("command", move |spec| {
        let job = command::CommandJob::from_spec(spec, &vault.root, &supervisor)?;
        Ok(Box::new(job))
    })?;
    registry.register("vault_sync", move |spec| {
        let job = vault_sync::VaultSync::from_spec(spec, deps.clone())?;
        Ok(Box::new(job))
    })
}
