//! The jobs this program brings along, and how they get what they need.
//!
//! The registry knows no job and no resource; the factories put into it here carry both.

mod attend;
pub mod command;
pub mod errand;
mod flood;
pub mod init;
mod output;
pub mod supervisor;
mod tail;
pub mod vault_sync;
mod verdict;

use std::path::PathBuf;
use std::sync::Arc;

use self::command::{CommandJob, Surroundings};
use self::vault_sync::VaultSync;
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
    /// Whether a sync confines itself where the kernel can.
    pub sandbox: bool,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What the programs of command jobs find around them.
    pub surroundings: Arc<Surroundings>,
}

/// Puts the built-in kinds into `registry`: `command` and `vault_sync`.
pub fn register_builtins(registry: &mut JobRegistry, deps: Deps) -> Result<(), DuplicateKind> {
    let surroundings = Arc::clone(&deps.surroundings);
    registry.register("command", move |spec| {
        Ok(Box::new(CommandJob::from_spec(spec, Arc::clone(&surroundings))?))
    })?;
    registry
        .register("vault_sync", move |spec| Ok(Box::new(VaultSync::from_spec(spec, deps.clone())?)))
}

/// What a job's last line says of its run: `None` where it is no verdict, and true for a failure. For the fuzzer.
#[doc(hidden)]
pub fn verdict_of(line: &[u8]) -> Option<Result<bool, String>> {
    verdict::begins_here(line)
        .then(|| verdict::read(line, line.len() as u64).map(|verdict| verdict.is_failure))
}
