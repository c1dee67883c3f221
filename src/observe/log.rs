//! The lines of runs, which dashboards read: their fields are fixed.

use log::{Level, Record};
use serde_json::{Map, Value};

use crate::job::{RunRecord, RunState, Skip, stat};
use crate::logging::{Facts, RESERVED};
use crate::text::{instant, to_millis};

/// Logs a run that starts or ends, with the fields dashboards know: `job_id`, `job_name`, and `duration` (seconds),
/// `success` and each statistic for one that has ended.
pub(crate) fn log_run(record: &RunRecord) {
    use RunState::*;
    let (level, message) = match record.state {
        Queued => (Level::Debug, "run queued"),
        Running => (Level::Info, "run started"),
        // A run that is done and asks for a person to look is found with the warnings.
        Succeeded if asks_for_a_person(&record.stats) => (Level::Warn, "run finished"),
        Succeeded => (Level::Info, "run finished"),
        Failed => (Level::Error, "run failed"),
        Interrupted => (Level::Warn, "run interrupted"),
    };
    log_line(level, message, || facts_of(record));
}

/// Logs occurrences that made no run, with the `reason`.
pub(crate) fn log_skip(skip: &Skip) {
    log_line(Level::Warn, Skip::WORD, || facts_of_skip(skip));
}

fn log_line(level: Level, message: &str, facts: impl FnOnce() -> Map<String, Value>) {
    if level > ::log::max_level() {
        return;
    }
    ::log::logger().log(
        &Record::builder()
            .level(level)
            .target("scheduler.run_job")
            .args(format_args!("{message}"))
            .key_values(&Facts(facts()))
            .build(),
    );
}

/// Whether the run itself says so. Errors that it counted have lines of their own.
fn asks_for_a_person(stats: &Map<String, Value>) -> bool {
    match stats.get(stat::NEEDS_ATTENTION) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_u64() != Some(0),
        Some(_) => true,
    }
}

/// Facts about a run that only the scheduler knows.
const OURS: [&str; 12] = [
    "job_id",
    "job_name",
    "trigger",
    "scheduled_for",
    "lateness",
    "queue_wait",
    "coalesced",
    "duration",
    "success",
    "attempt",
    "error",
    "reason",
];

fn facts_of_skip(skip: &Skip) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut fact = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    fact("reason", skip.reason.as_str().into());
    fact("job_id", skip.run_id.as_str().into());
    fact("job_name", skip.job.as_str().into());
    fact("count", skip.count.into());
    fact("first", instant(skip.first).into());
    fact("last", instant(skip.last).into());
    facts
}

fn facts_of(record: &RunRecord) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut fact = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    fact("job_id", record.run_id.as_str().into());
    fact("job_name", record.job.as_str().into());
    match record.state {
        RunState::Queued | RunState::Running => {
            fact("trigger", record.trigger.as_str().into());
            fact("scheduled_for", instant(record.scheduled_for).into());
            fact("lateness", to_millis(record.lateness_s).into());
            if let Some(queue_wait_s) = record.queue_wait_s {
                fact("queue_wait", to_millis(queue_wait_s).into());
            }
            if record.coalesced > 0 {
                fact("coalesced", record.coalesced.into());
            }
        }
        RunState::Succeeded | RunState::Failed | RunState::Interrupted => {
            if let Some(duration_s) = record.duration_s {
                fact("duration", to_millis(duration_s).into());
            }
            fact("success", (record.state == RunState::Succeeded).into());
            if record.attempt > 1 {
                fact("attempt", record.attempt.into());
            }
            if let Some(error) = &record.error {
                fact("error", error.as_str().into());
            }
        }
    }
    for (name, value) in &record.stats {
        // A statistic does not pass itself off as a fact of the scheduler, also not where that has none to tell.
        let taken = RESERVED.contains(&name.as_str()) || OURS.contains(&name.as_str());
        let name = if taken { format!("stats.{name}") } else { name.clone() };
        facts.insert(name, value.clone());
    }
    facts
}

#[cfg(test)]
mod tests;
