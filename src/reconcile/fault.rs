//! What a fault of another room means for the run.

use crate::graph::GraphError;
use crate::job::{JobError, JobErrorKind, RunContext};
use crate::state::StateError;
use crate::vault::VaultError;

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
pub(super) fn vault_error(error: VaultError, ctx: &RunContext<'_>) -> JobError {
    match error {
        // The stop is the run's own: it knows whether it was stopped or its time is up.
        VaultError::Interrupted => ctx.checkpoint().err().unwrap_or_else(JobError::cancelled),
        error => JobError::unavailable(format!("vault: {error}")),
    }
}
