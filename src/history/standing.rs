//! How a job stood before one of its runs: how often in a row it had failed, and when it had last gone well.

use chrono::{DateTime, Utc};

use super::{History, optional_instant, read_run, select};
use crate::config::JobName;
use crate::job::{RunId, RunRecord, RunState};
use crate::state::StateError;

/// The runs before a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many runs in a row, up to the one before it, went wrong.
    pub failures: u64,
    /// When the last run before it that went well had ended.
    pub last_success: Option<DateTime<Utc>>,
}

/// Whether a run that is over went wrong: it failed, was interrupted, or is done but asks for a person. `None` for one
/// that is not over.
pub(crate) fn went_wrong(record: &RunRecord) -> Option<bool> {
    match record.state {
        RunState::Failed | RunState::Interrupted => Some(true),
        RunState::Succeeded => Some(record.needs_attention()),
        RunState::Queued | RunState::Running => None,
    }
}

impl History {
    /// How a job stood before this run of it.
    pub fn standing_before(&self, job: &JobName, run: &RunId) -> Result<Standing, StateError> {
        let read = || -> rusqlite::Result<Standing> {
            let sql = select(
                "WHERE job = ?1 AND state IN ('succeeded', 'failed', 'interrupted')
                     AND seq < (SELECT max(seq) FROM runs WHERE job = ?1 AND run_id = ?2)
                 ORDER BY seq DESC",
            );
            let mut statement = self.state.connection().prepare_cached(&sql)?;
            let mut rows = statement.query((job.as_str(), run.as_str()))?;
            let mut standing = Standing::default();
            while let Some(row) = rows.next()? {
                if went_wrong(&read_run(row)?) == Some(true) {
                    standing.failures += 1;
                } else {
                    standing.last_success = optional_instant(row, "finished_at")?;
                    break;
                }
            }
            Ok(standing)
        };
        read().map_err(|error| self.state.error(error))
    }
}
