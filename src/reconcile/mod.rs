//! One sync of a vault with a graph: scan, look up, decide, write, in batches.
//!
//! ```text
//! vault::list -> stat cache: skip | read -> parsed files in path order
//!     -> claims: which occurrence of an id may write -> diff: what to write -> graph (compare-and-set)
//!     -> local state, after the graph has acknowledged
//! ```
//! The graph is written first and the local state last: losing the local state costs time, never data, and nothing
//! that it forgot counts as deleted. Memory holds a few bytes for each file and id, and the texts of one batch.

mod batch;
mod claim;
pub mod diff;
mod duplicates;
mod missing;
mod seen;
mod session;
mod settle;
pub mod stats;
mod under_way;

use std::time::Duration;

use crate::config::VaultConfig;
use crate::graph::{GraphError, GraphStore};
use crate::job::{JobError, JobErrorKind, RunContext, RunReport};
use crate::schedule::Schedule;
use crate::state::StateError;
use crate::vault::{self, ParseOptions, StatCache, VaultError, WalkOptions};

/// What a sync is asked to do; the checked parameters of the `vault_sync` job.
#[derive(Clone, Debug)]
pub struct SyncSettings {
    /// Where the vault lies.
    pub vault: VaultConfig,
    /// The grammar of markers.
    pub parse: ParseOptions,
    /// Follow symbolic links that stay in the vault.
    pub follow_links: bool,
    /// How many threads list and read.
    pub threads: usize,
    /// How long a file may go unread; `None`: seven days, a day on a network file system.
    pub rehash_after: Option<Duration>,
    /// What happens to blocks that are gone from the vault.
    pub on_missing: OnMissing,
    /// How far apart two scans must be that both miss a block before it is archived.
    pub archive_after: Duration,
    /// When everything is read and compared, whatever the stat cache says.
    pub full_scan: Option<Schedule>,
    /// Whether the graph's version is written into the marker's digits.
    pub write_back: bool,
}

/// What happens to blocks that are gone from the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// They are archived, under the guards described in the module `missing`.
    Archive,
    /// They stay as they are.
    Ignore,
}

/// Brings the graph in step with the vault.
pub fn sync_vault(
    settings: &SyncSettings,
    store: &dyn GraphStore,
    cache: &mut StatCache,
    ctx: &RunContext<'_>,
) -> Result<RunReport, JobError> {
    ctx.progress.phase("listing", None);
    let options = WalkOptions { follow_links: settings.follow_links, threads: settings.threads };
    let listing = cache
        .read_ahead(|| vault::list(&settings.vault, options, &|| ctx.checkpoint().is_err()))
        .map_err(|error| vault_error(error, ctx))?;
    let mut session = session::Session::new(settings, store, cache, ctx, &listing)?;
    match session.run() {
        Ok(()) => Ok(session.into_report()),
        Err(error) => Err(error.with_report(session.into_report())),
    }
}

/// What a failed store means for the run.
pub(crate) fn graph_error(error: GraphError) -> JobError {
    let kind = match error {
        // The store has tried again as `processing.retries` says; the run may do so as the job's own `retries` say.
        GraphError::Transient(_) => JobErrorKind::Unreachable,
        GraphError::Unavailable(_) | GraphError::Refused(_) => JobErrorKind::Unavailable,
        GraphError::Rejected(_) => JobErrorKind::Permanent,
        GraphError::Cancelled => JobErrorKind::Cancelled,
    };
    JobError::new(kind, format!("graph: {error}"))
}

/// What an unusable state file means for the run.
pub(crate) fn state_error(error: StateError) -> JobError {
    JobError::unavailable(error.to_string())
}

/// What an unusable vault means for the run.
fn vault_error(error: VaultError, ctx: &RunContext<'_>) -> JobError {
    match error {
        // The interrupt is the run's own: it knows whether it was stopped or its time is up.
        VaultError::Interrupted => ctx.checkpoint().err().unwrap_or_else(JobError::cancelled),
        error => JobError::unavailable(format!("vault: {error}")),
    }
}

#[cfg(test)]
mod tests;
