//! Faults of other rooms, and their meaning for the run.

use crate::graph::GraphError;
use crate::job::{JobError, JobErrorKind, RunContext};
use crate::state::StateError;
use crate::vault::VaultError;

/// The error of a run whose store failed.
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

/// The error of a run whose state file cannot be used.
pub(crate) fn state_error(error: StateError) -> JobError {
    JobError::unavailable(error.to_string())
}

/// The error of a run whose vault cannot be used.
pub(super) fn vault_error(error: VaultError, ctx: &RunContext<'_>) -> JobError {
    match error {
        // The stop is the run's own: it knows whether it was stopped or its time is up.
        VaultError::Interrupted => ctx.checkpoint().err().unwrap_or_else(JobError::cancelled),
        error => JobError::unavailable(format!("vault: {error}")),
    }
}
