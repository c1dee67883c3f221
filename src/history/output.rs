//! Output of runs: the end of what a command wrote, kept beside the run's row and pruned with it.
//!
//! The worker that has read the output writes it, before the run's end is recorded. What is written for a run that
//! then ends otherwise is replaced or taken away by the same worker.

use std::path::Path;

use rusqlite::OptionalExtension;

use super::{History, KINDS, newest};
use crate::job::RunId;
use crate::state::{State, StateError};

/// Keeps the end of a run's output in place of what was kept of it before; `None` keeps nothing.
pub(crate) fn keep_output(
    dir: &Path,
    run: &RunId,
    output: Option<&[u8]>,
) -> Result<(), StateError> {
    let state = State::open_cache(dir)?;
    let id = run.as_str();
    let written = match output {
        Some(said) => state
            .connection()
            .execute("INSERT OR REPLACE INTO outputs (run_id, said) VALUES (?1, ?2)", (id, said)),
        None => state.connection().execute("DELETE FROM outputs WHERE run_id = ?1", (id,)),
    };
    written.map(|_| ()).map_err(|error| state.error(error))
}

/// A run's output, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// The history has no such run.
    NoSuchRun,
    /// Nothing of it was kept.
    NotKept,
    /// Its end.
    Kept(Vec<u8>),
}

impl History {
    /// The output of a run, as far as it was kept.
    pub fn output(&self, run: &str) -> Result<Output, StateError> {
        let connection = self.state.connection();
        let kept = connection
            .query_row("SELECT said FROM outputs WHERE run_id = ?1", (run,), |row| row.get(0))
            .optional();
        if let Some(said) = kept.map_err(|error| self.state.error(error))? {
            return Ok(Output::Kept(said));
        }
        let id = RunId::from_stored(run.to_owned());
        let known = newest(connection, &id, &KINDS).map_err(|error| self.state.error(error))?;
        Ok(if known.is_some() { Output::NotKept } else { Output::NoSuchRun })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::config::JobName;
    use crate::history::{Recorder, RowId};
    use crate::job::{RunRecord, RunState, Trigger};
    use crate::state::Durability;

    fn record(recorder: &mut Recorder, run: &RunRecord) -> RowId {
        recorder.write(Durability::Process, |writer| writer.run(run, 0, 0)).unwrap().unwrap().0
    }

    fn run(at: &str) -> RunRecord {
        let job = JobName::new("report");
        let at: DateTime<Utc> = at.parse().unwrap();
        RunRecord {
            trigger: Trigger::Manual,
            state: RunState::Running,
            started_at: Some(at),
            ..RunRecord::queued(&job, at)
        }
    }

    #[test]
    fn output_is_kept_beside_its_run_and_pruned_with_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        let mut recorder = Recorder::open(dir).unwrap();
        let [mut old, new] = ["2026-08-24T12:00:00Z", "2026-08-25T12:00:00Z"].map(run);
        let row = record(&mut recorder, &old);
        old.state = RunState::Failed;
        recorder.write(Durability::Process, |writer| writer.finish(row, &old)).unwrap();
        record(&mut recorder, &new);
        keep_output(dir, &old.run_id, Some(b"first\n")).unwrap();
        keep_output(dir, &old.run_id, Some(b"second\n")).unwrap();
        keep_output(dir, &new.run_id, Some(b"\xff\n")).unwrap();

        let history = History::open(dir).unwrap().unwrap();
        let output = |run: &RunRecord| history.output(run.run_id.as_str()).unwrap();
        assert_eq!(output(&old), Output::Kept(b"second\n".to_vec()));
        recorder.prune(new.decided_at, 100).unwrap();
        assert_eq!(output(&old), Output::NoSuchRun);
        assert_eq!(output(&new), Output::Kept(b"\xff\n".to_vec()));
        keep_output(dir, &new.run_id, None).unwrap();
        assert_eq!(output(&new), Output::NotKept);
    }

    #[test]
    fn a_jobs_standing_is_read_from_its_runs() {
        use super::super::{Standing, went_wrong};
        let temp = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(temp.path()).unwrap();
        let mut ids = Vec::new();
        for (minute, state) in [
            RunState::Succeeded,
            RunState::Failed,
            RunState::Interrupted,
            RunState::Succeeded,
            RunState::Succeeded,
        ]
        .into_iter()
        .enumerate()
        {
            let mut run = run(&format!("2026-08-24T12:0{minute}:00Z"));
            let row = record(&mut recorder, &run);
            run.state = state;
            run.finished_at = Some(run.scheduled_for);
            if minute == 3 {
                // Done, but a person should look.
                run.stats.insert("errors".to_owned(), 2.into());
                assert_eq!(went_wrong(&run), Some(true));
            }
            recorder.write(Durability::Process, |writer| writer.finish(row, &run)).unwrap();
            ids.push((run.run_id.clone(), run.scheduled_for));
        }
        let history = History::open(temp.path()).unwrap().unwrap();
        let before = |run: &RunId| history.standing_before(&JobName::new("report"), run).unwrap();
        assert_eq!(before(&ids[0].0), Standing::default());
        let since_first = |failures| Standing { failures, last_success: Some(ids[0].1) };
        for (run, failures) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
            assert_eq!(before(&ids[run].0), since_first(failures), "{run}");
        }
    }
}
