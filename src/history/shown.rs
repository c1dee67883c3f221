//! A line of the history as JSON, as `history --json` and the commands of `on_failure` and its like get it, and what is
//! remarkable of it.

use serde_json::{Map, Value, json};

use super::Row;
use crate::job::{RunRecord, RunState, Skip, Trigger};
use crate::text::{duration, instant};

/// A run decided later than this after its instant is worth a remark.
const LATE_S: f64 = 2.0;

/// A line as JSON, with the names that the log uses. Fields that do not apply are null.
pub(crate) fn row_to_json(row: &Row) -> Map<String, Value> {
    match row {
        Row::Run(run) => to_json(run),
        Row::Skip(skip) => skip_to_json(skip),
    }
}

/// A run as JSON.
pub(crate) fn to_json(record: &RunRecord) -> Map<String, Value> {
    let ended = match record.state {
        RunState::Succeeded => Some(true),
        RunState::Failed | RunState::Interrupted => Some(false),
        RunState::Queued | RunState::Running => None,
    };
    let Value::Object(shown) = json!({
        "job_name": record.job.as_str(),
        "job_id": record.run_id.as_str(),
        "trigger": record.trigger.as_str(),
        "state": record.state.as_str(),
        "reason": null,
        "success": ended,
        "scheduled_for": instant(record.scheduled_for),
        "last_scheduled_for": instant(record.scheduled_for),
        "count": 1,
        "coalesced": record.coalesced,
        "decided_at": instant(record.decided_at),
        "started_at": record.started_at.map(instant),
        "finished_at": record.finished_at.map(instant),
        "lateness": to_micros(record.lateness_s),
        "queue_wait": record.queue_wait_s.map(to_micros),
        "duration": record.duration_s.map(to_micros),
        "attempt": record.attempt,
        "error": record.error,
        "stats": record.stats,
    }) else {
        unreachable!("the macro was given an object");
    };
    shown
}

fn skip_to_json(skip: &Skip) -> Map<String, Value> {
    let Value::Object(shown) = json!({
        "job_name": skip.job.as_str(),
        "job_id": skip.run_id.as_str(),
        "trigger": Trigger::Schedule.as_str(),
        "state": Skip::WORD,
        "reason": skip.reason.as_str(),
        "success": null,
        "scheduled_for": instant(skip.first),
        "last_scheduled_for": instant(skip.last),
        "count": skip.count,
        "coalesced": 0,
        "decided_at": instant(skip.decided_at),
        "started_at": null,
        "finished_at": null,
        "lateness": to_micros(skip.lateness_s),
        "queue_wait": null,
        "duration": null,
        "attempt": 1,
        "error": skip.remark,
        "stats": {},
    }) else {
        unreachable!("the macro was given an object");
    };
    shown
}

/// Seconds as exact as the state file has them: a run is shown the same before it was written and after it was read.
fn to_micros(seconds: f64) -> f64 {
    super::seconds(super::micros(seconds))
}

/// The remarks that a person should read beside the outcome of a line.
pub(crate) fn remarks(row: &Row) -> String {
    match row {
        Row::Run(run) => run_remarks(run),
        Row::Skip(skip) => {
            let times = (skip.count > 1)
                .then(|| format!("{} times until {}", skip.count, instant(skip.last)));
            times.into_iter().chain(skip.remark.clone()).collect::<Vec<_>>().join(", ")
        }
    }
}

/// The same of a run.
pub(crate) fn run_remarks(record: &RunRecord) -> String {
    let mut remarks = Vec::new();
    if record.trigger == Trigger::Manual {
        remarks.push("by hand".to_owned());
    }
    if record.coalesced > 0 {
        remarks.push(format!("also for {} missed before it", record.coalesced));
    }
    if record.lateness_s >= LATE_S {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::JobName;
    use crate::job::SkipReason;

    #[test]
    fn a_skip_has_the_fields_of_a_run() {
        let at = "2026-08-24T12:00:00Z".parse().unwrap();
        let job = JobName::new("report");
        let run = to_json(&RunRecord::queued(&job, at));
        let skip = Row::Skip(Skip { count: 3, ..Skip::new(&job, at, SkipReason::Paused) });
        let skip = row_to_json(&skip);
        assert!(run.keys().eq(skip.keys()), "{run:?} {skip:?}");
        assert_eq!(
            (&skip["state"], &skip["reason"], &skip["count"]),
            (&json!("skipped"), &json!("paused"), &json!(3))
        );
        let differing: Vec<&str> =
            run.keys().map(String::as_str).filter(|key| run[*key] != skip[*key]).collect();
        assert_eq!(differing, ["state", "reason", "count"]);
    }
}
