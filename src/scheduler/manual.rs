//! `run JOB`: one run now, in this process and this thread, beside a daemon or without one. The state file is where
//! both meet: each counts the other's runs, and neither goes over `max_instances`.

use std::path::Path;
use std::sync::Arc;

use chrono::SubsecRound;

use super::ConfiguredJob;
use super::execute::{Assignment, carry_out, conclude};
use crate::clock::Clock;
use crate::config::{JobName, JobSpec};
use crate::history::{OpenRun, Recorder};
use crate::job::{JobError, Progress, RunOptions, RunRecord, RunReport, RunState, Trigger};
use crate::logging;
use crate::state::{Durability, StateError};
use crate::stop::Stop;

/// A run that a person asked for.
pub(crate) struct ManualRun<'a> {
    /// Time.
    pub clock: &'a Arc<dyn Clock>,
    /// The state folder, shared with a daemon that may be running.
    pub state_dir: &'a Path,
    /// The job to run. `enabled`, `manual_only` and a pause do not matter here.
    pub job: &'a ConfiguredJob,
    /// The jobs that run after this one, as their `after` says; those that a daemon schedules become due.
    pub followers: Vec<Arc<JobSpec>>,
    /// Wishes beyond the configuration.
    pub options: RunOptions,
    /// Told how far the run is.
    pub progress: &'a dyn Progress,
    /// Told when the person interrupts.
    pub stop: Stop,
}

/// The result of a manual run.
#[derive(Debug)]
pub(crate) struct ManualOutcome {
    /// The run, as the history has it.
    pub record: RunRecord,
    /// The job's own report.
    pub result: Result<RunReport, JobError>,
}

/// Why a manual run does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManualError {
    /// `max_instances` runs of the job are queued or running already.
    #[error(
        "{job} is running already ({}): wait for its end, or raise its max_instances ({limit})",
        name_runs(open)
    )]
    Busy {
        /// The job.
        job: JobName,
        /// Its `max_instances`.
        limit: u32,
        /// The runs, and the processes that run them.
        open: Vec<OpenRun>,
    },
    /// The state folder does not serve.
    #[error(transparent)]
    State(#[from] StateError),
}

fn name_runs(open: &[OpenRun]) -> String {
    let name = |run: &OpenRun| format!("{} in {}", run.record.run_id, run.holder);
    open.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Runs the job and returns when it has ended. A dry run leaves no trace in the state folder and is not counted.
pub(crate) fn run_now(run: ManualRun<'_>) -> Result<ManualOutcome, ManualError> {
    let name = &run.job.spec.name;
    let now = run.clock.now().trunc_subsecs(6);
    let mut record = RunRecord {
        trigger: Trigger::Manual,
        state: RunState::Running,
        started_at: Some(now),
        queue_wait_s: Some(0.0),
        ..RunRecord::queued(name, now)
    };
    let mut recorder =
        if run.options.dry_run { None } else { Some(Recorder::open(run.state_dir)?) };
    let row = match &mut recorder {
        None => None,
        Some(recorder) => {
            let limit = run.job.spec.policy.max_instances;
            // A power cut may forget this row: it would end the run as well.
            let begun = recorder.write(Durability::Process, |writer| {
                let open = writer.open_runs_of(name)?;
                if open.len() >= limit as usize {
                    return Ok(Err(ManualError::Busy { job: name.clone(), limit, open }));
                }
                writer.run(&record, 0, 0).map(Ok)
            })?;
            begun?.map(|(row, run_id)| {
                record.run_id = run_id;
                row
            })
        }
    };
    let outcome = carry_out(&Assignment {
        job: run.job,
        run_id: &record.run_id.clone(),
        trigger: Trigger::Manual,
        scheduled_for: now,
        clock: run.clock,
        stop: &run.stop,
        options: run.options,
        progress: run.progress,
    });
    let result = outcome.result.clone();
    conclude(&mut record, outcome);
    if let (Some(recorder), Some(row)) = (&mut recorder, row) {
        let recorded = recorder.write(Durability::Process, |writer| {
            writer.finish(row, &record)?;
            let end = record.finished_at.unwrap_or(now);
            for follower in due_after(&record, &run.followers) {
                writer.demand(&follower.name, end)?;
            }
            Ok(())
        });
        if let Err(error) = recorded {
            // The work is done: that it is missing from the history is not a failure of the run.
            logging::error!(job_id = record.run_id.as_str(), error = error.to_string().as_str();
                "run not recorded"
            );
        }
    }
    Ok(ManualOutcome { record, result })
}

/// The jobs that become due by this end.
fn due_after<'f>(
    record: &RunRecord,
    followers: &'f [Arc<JobSpec>],
) -> impl Iterator<Item = &'f Arc<JobSpec>> {
    let succeeded = match record.state {
        RunState::Succeeded => Some(true),
        RunState::Failed => Some(false),
        _ => None,
    };
    followers.iter().filter(move |spec| {
        let after = spec.after.as_ref();
        after.zip(succeeded).is_some_and(|(after, succeeded)| after.fires(succeeded))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::history::{History, Row};
    use crate::job::NoProgress;
    use crate::scheduler::testing::{job, noon};

    fn run(
        dir: &Path,
        job: &ConfiguredJob,
        options: RunOptions,
    ) -> Result<ManualOutcome, ManualError> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(noon()));
        run_now(ManualRun {
            clock: &clock,
            state_dir: dir,
            job,
            followers: Vec::new(),
            options,
            progress: &NoProgress,
            stop: Stop::new(),
        })
    }

    #[test]
    fn a_manual_run_is_counted_and_recorded() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().to_owned();
        let inner = dir.clone();
        let idle = job("twice", |_| {}, |_| Ok(RunReport::new()));
        let again = idle.clone();
        // The second run is asked for while the first goes on.
        let first = job(
            "twice",
            |_| {},
            move |_| {
                let refused = run(&inner, &again, RunOptions::default()).unwrap_err().to_string();
                assert!(
                    refused.starts_with("twice is running already (twice_1787572800 in process "),
                    "{refused}"
                );
                assert!(refused.ends_with("raise its max_instances (1)"), "{refused}");
                let mut report = RunReport::new();
                report.set("items_processed", 7);
                Ok(report)
            },
        );
        let outcome = run(&dir, &first, RunOptions::default()).unwrap();
        assert!(outcome.result.is_ok(), "{outcome:?}");
        let history = History::open(&dir).unwrap().unwrap().recent(None, 10).unwrap();
        let record = outcome.record;
        assert_eq!((record.state, record.trigger), (RunState::Succeeded, Trigger::Manual));
        assert_eq!(history, [Row::Run(record)]);
        run(&dir, &idle, RunOptions::default()).unwrap();
    }

    #[test]
    fn a_dry_run_leaves_no_trace() {
        let temp = tempfile::tempdir().unwrap();
        let idle = job("idle", |_| {}, |_| Ok(RunReport::new()));
        run(temp.path(), &idle, RunOptions { dry_run: true, ..RunOptions::default() }).unwrap();
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn transient_errors_are_tried_again_and_panics_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let retries = |spec: &mut crate::config::JobSpec| {
            spec.policy.retries.max_attempts = 3;
            spec.policy.retries.max_wait_time = Duration::ZERO;
        };
        let flaky = job("flaky", retries, |ctx| match ctx.attempt {
            3 => Ok(RunReport::new()),
            _ => Err(JobError::transient("not now")),
        });
        let record = run(temp.path(), &flaky, RunOptions::default()).unwrap().record;
        assert_eq!((record.state, record.attempt), (RunState::Succeeded, 3));

        let down = job("down", retries, |_| Err(JobError::transient("not today")));
        let record = run(temp.path(), &down, RunOptions::default()).unwrap().record;
        assert_eq!((record.state, record.attempt), (RunState::Failed, 3));

        let broken = job("broken", retries, |_| panic!("index {} out of range", 9));
        let record = run(temp.path(), &broken, RunOptions::default()).unwrap().record;
        assert_eq!((record.state, record.attempt), (RunState::Failed, 1));
        assert!(record.error.unwrap().starts_with("panicked: index 9 out of range"));
    }

    #[test]
    fn a_stop_or_a_timeout_ends_the_waiting_between_tries() {
        let temp = tempfile::tempdir().unwrap();
        let retries = |spec: &mut crate::config::JobSpec| {
            spec.policy.retries.max_attempts = 3;
            spec.policy.timeout = Some(Duration::from_secs(30));
        };
        let clock = Arc::new(ManualClock::at(noon()));
        let shared: Arc<dyn Clock> = clock.clone();
        let stop = Stop::new();
        let manual = |job| ManualRun {
            clock: &shared,
            state_dir: temp.path(),
            job,
            followers: Vec::new(),
            options: RunOptions::default(),
            progress: &NoProgress,
            stop: stop.clone(),
        };
        let inner = Arc::clone(&clock);
        let slow = job("slow", retries, move |_| {
            inner.advance(Duration::from_secs(31));
            Err(JobError::transient("no route"))
        });
        let record = run_now(manual(&slow)).unwrap().record;
        assert_eq!(record.state, RunState::Failed);
        let why = "timeout reached while waiting to try again after: no route";
        assert_eq!(record.error.as_deref(), Some(why));

        let token = stop.clone();
        let stopped = job("stopped", retries, move |_| {
            token.tell();
            Err(JobError::transient("no route"))
        });
        assert_eq!(run_now(manual(&stopped)).unwrap().record.state, RunState::Interrupted);
    }
}
