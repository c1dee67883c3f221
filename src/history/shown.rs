//! A run as JSON, as `history --json` and the commands of `on_failure` and its like get it, and what is remarkable of it.

use serde_json::{Map, Value, json};

use crate::job::{RunRecord, RunState, Trigger};
use crate::text::{duration, instant};

/// A run decided later than this after its instant is worth a remark.
const LATE_S: f64 = 2.0;

/// A record as JSON, with the names that the log uses. What does not apply is null.
pub(crate) fn to_json(record: &RunRecord) -> Map<String, Value> {
    let ended = match record.state {
        RunState::Succeeded => Some(true),
        RunState::Failed | RunState::Interrupted => Some(false),
        RunState::Queued | RunState::Running | RunState::Skipped => None,
    };
    let Value::Object(shown) = json!({
        "job_name": record.job.as_str(),
        "job_id": record.run_id.as_str(),
        "trigger": record.trigger.as_str(),
        "state": record.state.as_str(),
        "reason": record.reason.map(|reason| reason.as_str()),
        "success": ended,
        "scheduled_for": instant(record.scheduled_for),
        "last_scheduled_for": instant(record.last_scheduled_for),
        "count": record.count,
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

/// Seconds as exact as the state file has them: a run is shown the same before it was written and after it was read.
fn to_micros(seconds: f64) -> f64 {
    super::seconds(super::micros(seconds))
}

/// What a person should know of a row beyond its outcome.
pub(crate) fn remarks(record: &RunRecord) -> String {
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
