//! The life of a run.
//!
//! ```text
//! occurrence (job, instant) --decided--> skipped(reason)
//!                           --decided--> queued --worker takes it--> running --> succeeded | failed
//!                                          |                           |
//!                                          +--stop: undecided again    +--stop or crash: interrupted
//! ```
//! An occurrence is decided once, and the decision is in the state file before a worker hears of it.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::config::JobName;

/// The id of a run: the job's name, `_`, and the unix second it was scheduled for; `_2` behind that for a second run of
/// one second, `_r2` for one that is made again after it was cut off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Arc<str>);

impl RunId {
    /// The id of the run of `job` for `instant`.
    pub fn new(job: &JobName, instant: DateTime<Utc>) -> RunId {
        RunId(format!("{job}_{}", instant.timestamp()).into())
    }

    /// The id of the `n`-th run of one job for one second.
    pub fn numbered(&self, n: usize) -> RunId {
        RunId(format!("{}_{n}", self.0).into())
    }

    /// The id of a run that is made again, for the `n`-th time counted with the first.
    pub fn rerun(job: &JobName, instant: DateTime<Utc>, n: u32) -> RunId {
        RunId(format!("{}_r{n}", RunId::new(job, instant)).into())
    }

    /// An id read back from the state file.
    pub fn from_stored(id: String) -> RunId {
        RunId(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts that it may be made of: a job's name and a unix second. A name may itself end like an id.
    pub(crate) fn meanings(&self) -> impl Iterator<Item = (&str, i64)> {
        let parts = self.0.rmatch_indices('_').take(3);
        parts.filter_map(|(at, _)| {
            let second = self.0[at + 1..].split('_').next()?;
            Some((&self.0[..at], second.parse().ok()?))
        })
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a run was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// Its cron line.
    Schedule,
    /// A person, by `run JOB`.
    Manual,
}

impl Trigger {
    /// The word used in logs, history and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Schedule => "schedule",
            Trigger::Manual => "manual",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<Trigger> {
        [Trigger::Schedule, Trigger::Manual].into_iter().find(|trigger| trigger.as_str() == word)
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Set by the tick thread: decided, durable, waiting for a worker. Next: running, or undecided again at a stop.
    Queued,
    /// Set when a worker has taken it. Next: succeeded, failed or interrupted.
    Running,
    /// Set by the worker's report: the job returned without an error.
    Succeeded,
    /// Set by the worker's report: an error, a panic, or a timeout.
    Failed,
    /// Set at a stop for a run that did not end in time, or at the next start for one cut off by a crash.
    Interrupted,
}

impl RunState {
    /// The word used in logs, history and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Queued => "queued",
            RunState::Running => "running",
            RunState::Succeeded => "succeeded",
            RunState::Failed => "failed",
            RunState::Interrupted => "interrupted",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<RunState> {
        use RunState::*;
        [Queued, Running, Succeeded, Failed, Interrupted]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// Why an occurrence made no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// `AUTOMATION_PAUSE` or the pause file was there when it was due.
    Paused,
    /// `max_instances` runs were already queued or running.
    Overlap,
    /// It was older than `misfire_grace_time` when it could be decided, or the clock jumped over it.
    Misfire,
    /// Several were due at once and a newer one ran for all of them (`coalesce`).
    Coalesced,
    /// The job was disabled while it fell due.
    Disabled,
    /// Another instance holds the lead.
    Leader,
}

impl SkipReason {
    /// The word used in logs, history and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::Paused => "paused",
            SkipReason::Overlap => "overlap",
            SkipReason::Misfire => "misfire",
            SkipReason::Coalesced => "coalesced",
            SkipReason::Disabled => "disabled",
            SkipReason::Leader => "leader",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<SkipReason> {
        use SkipReason::*;
        [Paused, Overlap, Misfire, Coalesced, Disabled, Leader]
            .into_iter()
            .find(|reason| reason.as_str() == word)
    }
}

/// A run, as the history has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// The job's configured name.
    pub job: JobName,
    /// The run's id.
    pub run_id: RunId,
    /// Why it was started.
    pub trigger: Trigger,
    /// Where it stands.
    pub state: RunState,
    /// The instant it was scheduled for.
    pub scheduled_for: DateTime<Utc>,
    /// How many older occurrences a coalesced run also stands for.
    pub coalesced: u64,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// When a worker took it.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Decision time minus scheduled instant (and jitter), in seconds.
    pub lateness_s: f64,
    /// Time spent waiting for a free worker, in seconds.
    pub queue_wait_s: Option<f64>,
    /// Time the run took, in seconds, by the monotonic clock.
    pub duration_s: Option<f64>,
    /// How many tries were made.
    pub attempt: u32,
    /// Why it failed or was interrupted.
    pub error: Option<String>,
    /// The statistics of the run.
    pub stats: Map<String, Value>,
}

impl RunRecord {
    /// A run that its schedule has made due, decided at the very instant and waiting for a worker. Other records are
    /// told by what is different of them.
    pub(crate) fn queued(job: &JobName, instant: DateTime<Utc>) -> RunRecord {
        RunRecord {
            job: job.clone(),
            run_id: RunId::new(job, instant),
            trigger: Trigger::Schedule,
            state: RunState::Queued,
            scheduled_for: instant,
            coalesced: 0,
            decided_at: instant,
            started_at: None,
            finished_at: None,
            lateness_s: 0.0,
            queue_wait_s: None,
            duration_s: None,
            attempt: 1,
            error: None,
            stats: Map::new(),
        }
    }

    /// True when the run is done but a person should look: it counted `errors`, or says `needs_attention`.
    pub fn needs_attention(&self) -> bool {
        super::ask_for_a_person(&self.stats)
    }
}

/// A stretch of occurrences that made no run, all for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Skip {
    /// The job's configured name.
    pub job: JobName,
    /// The id that a run of the first occurrence would have had.
    pub run_id: RunId,
    /// Why they made none.
    pub reason: SkipReason,
    /// The instant of the first.
    pub first: DateTime<Utc>,
    /// The instant of the last.
    pub last: DateTime<Utc>,
    /// How many there are.
    pub count: u64,
    /// When the last was decided.
    pub decided_at: DateTime<Utc>,
    /// Decision time minus the first instant, in seconds.
    pub lateness_s: f64,
    /// More about the reason, where there is more to say.
    pub remark: Option<String>,
}

impl Skip {
    /// The word for it where a run has its state.
    pub const WORD: &str = "skipped";

    /// One occurrence that was decided to make no run, at its very instant.
    pub(crate) fn new(job: &JobName, instant: DateTime<Utc>, reason: SkipReason) -> Skip {
        Skip {
            job: job.clone(),
            run_id: RunId::new(job, instant),
            reason,
            first: instant,
            last: instant,
            count: 1,
            decided_at: instant,
            lateness_s: 0.0,
            remark: None,
        }
    }
}

/// The names under which log, history and `run --json` tell what the scheduler knows of a run.
const FIELDS: [&str; 27] = [
    "attempt",
    "coalesced",
    "count",
    "decided_at",
    "duration",
    "error",
    "explained",
    "filename.function_name",
    "finished_at",
    "first",
    "job_id",
    "job_name",
    "last",
    "last_scheduled_for",
    "lateness",
    "level",
    "message",
    "queue_wait",
    "reason",
    "scheduled_for",
    "service",
    "started_at",
    "state",
    "stats",
    "success",
    "timestamp",
    "trigger",
];

/// Statistics with those that have a name of the scheduler's own, or one that is `taken`, under `stats.NAME`: no job
/// passes its words off as the scheduler's.
pub(crate) fn set_apart(said: Map<String, Value>, taken: &[&str]) -> Map<String, Value> {
    let is_taken = |name: &str| FIELDS.contains(&name) || taken.contains(&name);
    if !said.keys().any(|name| is_taken(name)) {
        return said;
    }
    let mut apart = Map::new();
    for (name, value) in &said {
        let mut name = name.clone();
        if is_taken(&name) {
            name = format!("stats.{name}");
            while said.contains_key(&name) {
                name = format!("stats.{name}");
            }
        }
        apart.insert(name, value.clone());
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_job_and_its_second() {
        let at: DateTime<Utc> = "2026-08-24T12:00:00Z".parse().unwrap();
        for job in ["report", "daily_report", "report_1", "_", "a_1_2"] {
            let job = JobName::new(job);
            let id = RunId::new(&job, at);
            for id in [id.clone(), id.numbered(2), RunId::rerun(&job, at, 3)] {
                let mut meanings = id.meanings();
                assert!(meanings.any(|meant| meant == (job.as_str(), at.timestamp())), "{id}");
            }
        }
        for id in ["", "report", "report_x", "_"] {
            assert_eq!(RunId::from_stored(id.to_owned()).meanings().count(), 0, "{id}");
        }
    }

    #[test]
    fn a_statistic_does_not_pass_itself_off_as_a_fact_of_the_scheduler() {
        let said = r#"{"items":1,"attempt":9,"message":"forged","stats.message":2,"mine":3}"#;
        let apart = set_apart(serde_json::from_str(said).unwrap(), &["mine"]);
        assert_eq!(
            serde_json::to_string(&apart).unwrap(),
            r#"{"items":1,"stats.attempt":9,"stats.stats.message":"forged","stats.message":2,"stats.mine":3}"#
        );
    }
}
