//! The jobs this program brings along, and how they get what they need.
//!
//! The registry knows no job and no resource; the factories put into it here carry both.

mod attend;
pub(crate) mod command;
mod deps;
pub(crate) mod errand;
pub(crate) mod fed;
mod feed;
mod flood;
pub(crate) mod init;
mod last_lines;
mod ledger;
mod output;
mod pump;
pub(crate) mod supervisor;
mod tail;
pub(crate) mod vault_sync;
mod verdict;

use std::sync::Arc;

use self::command::CommandJob;
pub use self::deps::{Deps, Surroundings};
use self::vault_sync::VaultSync;
use crate::job::{DuplicateKind, JobRegistry};

/// The kinds of job that come with the program.
pub(crate) const BUILT_IN: [&str; 2] = ["command", "vault_sync"];

/// Puts the built-in kinds into `registry`: `command` and `vault_sync`.
pub(crate) fn register_builtins(
    registry: &mut JobRegistry,
    deps: &Arc<Deps>,
) -> Result<(), DuplicateKind> {
    let (for_commands, for_syncs) = (Arc::clone(deps), Arc::clone(deps));
    registry.register("command", move |spec| {
        Ok(Box::new(CommandJob::from_spec(spec, Arc::clone(&for_commands))?))
    })?;
    registry.register("vault_sync", move |spec| {
        Ok(Box::new(VaultSync::from_spec(spec, Deps::clone(&for_syncs))?))
    })
}

/// A job's verdict in its last line: `None` where there is none, and true for a failure. For the fuzzer.
#[doc(hidden)]
pub fn verdict_of(line: &[u8]) -> Option<Result<bool, String>> {
    verdict::begins_here(line)
        .then(|| verdict::read(line, line.len() as u64).map(|verdict| verdict.is_failure))
}
