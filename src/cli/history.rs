//! `history`: past runs, and occurrences that made none, from the state file.

use serde_json::Value;

use super::arguments;
use super::exit::{Exit, Failure};
use super::out::{Cell, Out, Tone, written};
use super::setup::{Setup, find_job};
use crate::config::{Config, JobName};
use crate::history::{History, Output, to_json};
use crate::job::{RunRecord, RunState, Trigger};
use crate::text::{duration, instant, visible_bytes};

/// A run decided later than this after its instant is worth a remark.
const LATE_S: f64 = 2.0;

pub(super) fn history(setup: &Setup<'_>, arguments: &arguments::History) -> Result<Exit, Failure> {
    let config = setup.config()?;
    if let Some(run) = &arguments.output {
        return output(&config, run);
    }
    let job = arguments.job.as_deref().map(JobName::new);
    let records = match History::open(&config.state_dir)? {
        Some(history) => history.recent(job.as_ref(), arguments.number)?,
        None => Vec::new(),
    };
    if let (Some(name), true) = (&arguments.job, records.is_empty()) {
        // A job that is gone from the configuration may have a history; one that never was is a slip.
        find_job(&config, name)?;
    }
    let mut out = Out::stdout();
    let result = if arguments.format.json {
        out.json(&records.iter().map(to_json).collect::<Vec<_>>())
    } else if records.is_empty() {
        writeln!(out, "no runs recorded in {}", config.state_dir.display())
    } else {
        let mut rows =
            vec![["SCHEDULED FOR", "JOB", "OUTCOME", "TOOK", "REMARKS"].map(head).into()];
        rows.extend(records.iter().map(row));
        out.table(&rows)
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}

/// What is kept of a run's output, its lines as they came.
fn output(config: &Config, run: &str) -> Result<Exit, Failure> {
    let kept = match History::open(&config.state_dir)? {
        Some(history) => history.output(run)?,
        None => Output::NoSuchRun,
    };
    let said = match kept {
        Output::Kept(said) => said,
        Output::NotKept => {
            return Err(Failure::unavailable(format!(
                "no output of {run} is kept: set keep_output: always to keep that of runs which succeed"
            )));
        }
        Output::NoSuchRun => {
            return Err(Failure::usage(format!(
                "no run has the id {run:?}: history --json shows them as job_id"
            )));
        }
    };
    let mut out = Out::stdout();
    let mut lines = said.strip_suffix(b"\n").unwrap_or(&said).split(|byte| *byte == b'\n');
    let result = lines.try_for_each(|line| writeln!(out, "{}", visible_bytes(line)));
    written(result.and_then(|()| out.flush()), Exit::Done)
}

/// A heading of a table.
pub(super) fn head(text: &str) -> Cell {
    Cell::new(text, Tone::Quiet)
}

/// What a state looks like.
pub(super) fn state(record: &RunRecord) -> Cell {
    let tone = match record.state {
        RunState::Succeeded => Tone::Good,
        RunState::Failed => Tone::Bad,
        RunState::Interrupted | RunState::Skipped => Tone::Doubtful,
        RunState::Queued | RunState::Running => Tone::Plain,
    };
    match record.reason {
        Some(reason) => Cell::new(format!("{} ({})", record.state.as_str(), reason.as_str()), tone),
        None => Cell::new(record.state.as_str(), tone),
    }
}

fn row(record: &RunRecord) -> Vec<Cell> {
    vec![
        instant(record.scheduled_for).into(),
        record.job.as_str().into(),
        state(record),
        record.duration_s.map(duration).unwrap_or_default().into(),
        remarks(record).into(),
    ]
}

fn remarks(record: &RunRecord) -> String {
    let mut remarks = Vec::new();
    if record.count > 1 {
        remarks.push(format!(
            "{} times until {}",
            record.count,
            instant(record.last_scheduled_for)
        ));
    }
    if record.trigger == Trigger::Manual {
        remarks.push("by hand".to_owned());
    }
    if record.coalesced > 0 {
        remarks.push(format!("also for {} missed before it", record.coalesced));
    }
    if record.state != RunState::Skipped && record.lateness_s >= LATE_S {
        remarks.push(format!("{} late", duration(record.lateness_s)));
    }
    if let Some(wait) = record.queue_wait_s.filter(|wait| *wait >= LATE_S) {
        remarks.push(format!("waited {} to begin", duration(wait)));
    }
    if record.attempt > 1 {
        remarks.push(format!("{} attempts", record.attempt));
    }
    for name in ["items_processed", "items_updated", "errors"] {
        if let Some(count @ 1..) = record.stats.get(name).and_then(Value::as_u64) {
            remarks.push(format!("{name} {count}"));
        }
    }
    remarks.extend(record.error.clone());
    remarks.join(", ")
}
