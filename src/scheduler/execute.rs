//! One run, from its first try to its result: the same code for a worker of the daemon and for `run JOB`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};

use super::ConfiguredJob;
use crate::clock::Clock;
use crate::config::JobName;
use crate::job::{
    self, FaultLevel, JobError, JobErrorKind, Progress, RunContext, RunId, RunOptions, RunRecord,
    RunReport, RunState, Trigger,
};
use crate::logging;
use crate::stop::{Stop, Why};

/// Why a run was ended that another host could else have run beside its own.
pub(super) const LEASE_LOST: &str = "lease lost";

/// A run to carry out.
pub(super) struct Assignment<'a> {
    pub(super) job: &'a ConfiguredJob,
    pub(super) run_id: &'a RunId,
    pub(super) trigger: Trigger,
    pub(super) scheduled_for: DateTime<Utc>,
    pub(super) clock: &'a Arc<dyn Clock>,
    /// Without a deadline: that is set here, when the run begins.
    pub(super) stop: &'a Stop,
    pub(super) options: RunOptions,
    pub(super) progress: &'a dyn Progress,
}

/// The end of a run.
#[derive(Debug)]
pub(super) struct RunEnd {
    pub(super) result: Result<RunReport, JobError>,
    pub(super) attempt: u32,
    pub(super) finished_at: DateTime<Utc>,
    pub(super) duration: Duration,
}

impl RunEnd {
    /// Of a run that was claimed and could not begin, as the lease was lost meanwhile.
    pub(super) fn lost(clock: &dyn Clock) -> RunEnd {
        let mut error = JobError::cancelled();
        LEASE_LOST.clone_into(&mut error.message);
        let finished_at = clock.now().trunc_subsecs(6);
        RunEnd { result: Err(error), attempt: 1, finished_at, duration: Duration::ZERO }
    }
}

/// Runs the job, again after a transient error as its `retries` say, until its time is up. A panic is an error of the
/// run and of nothing else.
pub(super) fn carry_out(run: &Assignment<'_>) -> RunEnd {
    let begun = run.clock.monotonic();
    let policy = &run.job.spec.policy;
    let stop = match policy.timeout {
        Some(timeout) => run.stop.with_deadline(begun + timeout, Arc::clone(run.clock)),
        None => run.stop.clone(),
    };
    let mut attempt = 1;
    let result = loop {
        let context = RunContext {
            run_id: run.run_id,
            job: &run.job.spec.name,
            trigger: run.trigger,
            scheduled_for: run.scheduled_for,
            attempt,
            clock: &**run.clock,
            stop: stop.clone(),
            options: run.options,
            progress: run.progress,
            feed: None,
        };
        // The job may have left anything of its own half-done; nothing here is shared with it.
        let result = catch_unwind(AssertUnwindSafe(|| run.job.job.run(&context)))
            .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        match result {
            Err(error)
                if matches!(error.kind, JobErrorKind::Transient | JobErrorKind::Unreachable)
                    && attempt < policy.retries.max_attempts =>
            {
                let wait = policy.retries.wait_after(attempt);
                logging::warn!(job_id = run.run_id.as_str(), job_name = run.job.spec.name.as_str(), attempt,
                    error = error.message.as_str(), wait_s = wait.as_secs_f64();
                    "run failed, trying again"
                );
                stop.wait(&**run.clock, wait);
                if let Some(why) = stop.why() {
                    break Err(stopped_while_waiting(error, why));
                }
                attempt += 1;
            }
            result => break result,
        }
    };
    let duration = run.clock.monotonic().saturating_sub(begun);
    let result = result.map(set_apart).map_err(|mut error| {
        error.report = error.report.map(|report| Box::new(set_apart(*report)));
        error
    });
    RunEnd { result, attempt, finished_at: run.clock.now().trunc_subsecs(6), duration }
}

/// No statistic of a job passes for a fact of the scheduler, wherever both are shown side by side.
fn set_apart(mut report: RunReport) -> RunReport {
    report.stats = job::set_apart(report.stats, &[]);
    report
}

/// The error of the last try, with the reason why there is no further one.
fn stopped_while_waiting(error: JobError, why: Why) -> JobError {
    let end = match why {
        Why::TimeUp => JobError::timed_out(),
        Why::Told => JobError::cancelled(),
    };
    let message = format!("{} while waiting to try again after: {}", end.message, error.message);
    JobError { kind: end.kind, message, report: error.report }
}

fn panicked(panic: &(dyn Any + Send)) -> JobError {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    JobError::permanent(format!("panicked: {message}: this is a fault of the job's code"))
}

/// Tells in the log what went wrong in a run without ending it, one line each, at most `at_most` of them.
pub(crate) fn log_faults(
    run_id: &RunId,
    job: &JobName,
    result: &Result<RunReport, JobError>,
    at_most: usize,
) {
    let report = match result {
        Ok(report) => Some(report),
        Err(error) => error.report.as_deref(),
    };
    let faults = report.map_or(&[][..], |report| &report.faults);
    let (job_id, job_name) = (run_id.as_str(), job.as_str());
    for fault in faults.iter().take(at_most) {
        let (level, line) = match fault.level {
            FaultLevel::Warning => (log::Level::Warn, fault.line()),
            FaultLevel::Error => (log::Level::Error, fault.line()),
        };
        logging::at!(level, job_id, job_name; "{line}");
    }
    if let Some(count @ 1..) = faults.len().checked_sub(at_most) {
        let remedy = "run the job by hand to see all";
        logging::warn!(job_id, job_name, count, remedy; "more faults than are shown");
    }
}

/// Enters the result into the run's record.
pub(super) fn conclude(record: &mut RunRecord, outcome: RunEnd) {
    record.attempt = outcome.attempt;
    record.finished_at = Some(outcome.finished_at);
    record.duration_s = Some(outcome.duration.as_secs_f64());
    match outcome.result {
        Ok(report) => {
            record.state = RunState::Succeeded;
            record.stats = report.stats;
        }
        Err(error) => {
            record.state = match error.kind {
                JobErrorKind::Cancelled => RunState::Interrupted,
                JobErrorKind::TimedOut
                | JobErrorKind::Transient
                | JobErrorKind::Unreachable
                | JobErrorKind::Unavailable
                | JobErrorKind::Permanent => RunState::Failed,
            };
            record.stats = error.report.map(|report| report.stats).unwrap_or_default();
            record.error = Some(error.message);
        }
    }
}
