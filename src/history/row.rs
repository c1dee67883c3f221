//! One line of the history, as it lies in the state file.

use chrono::{DateTime, Utc};
use rusqlite::types::Type;
use rusqlite::{Connection, Row as SqlRow};
use serde_json::{Map, Value};

use crate::config::JobName;
use crate::job::{RunId, RunRecord, RunState, Skip, SkipReason, Trigger};

/// One line of the history.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// A run.
    Run(RunRecord),
    /// A stretch of occurrences that made no run, all for one reason.
    Skip(Skip),
}

impl Row {
    /// The job's configured name.
    pub fn job(&self) -> &JobName {
        match self {
            Row::Run(run) => &run.job,
            Row::Skip(skip) => &skip.job,
        }
    }

    /// The instant of the run, or of the first occurrence.
    pub fn scheduled_for(&self) -> DateTime<Utc> {
        match self {
            Row::Run(run) => run.scheduled_for,
            Row::Skip(skip) => skip.first,
        }
    }

    /// The word for what became of it: the state of a run, or `skipped`.
    pub fn outcome(&self) -> &'static str {
        match self {
            Row::Run(run) => run.state.as_str(),
            Row::Skip(_) => Skip::WORD,
        }
    }

    /// The run, if it is one.
    pub fn run(&self) -> Option<&RunRecord> {
        match self {
            Row::Run(run) => Some(run),
            Row::Skip(_) => None,
        }
    }

    /// Whether this word is what became of it, or the reason why it made no run.
    pub(super) fn has_outcome(&self, word: &str) -> bool {
        self.outcome() == word || matches!(self, Row::Skip(skip) if skip.reason.as_str() == word)
    }
}

/// Whether rows can be asked for by this word.
#[cfg(feature = "http")]
pub(crate) fn is_outcome(word: &str) -> bool {
    word == Skip::WORD
        || RunState::from_word(word).is_some()
        || SkipReason::from_word(word).is_some()
}

pub(super) fn select(rest: &str) -> String {
    format!(
        "SELECT job, run_id, trigger, state, reason, scheduled_for, last_scheduled_for, count, coalesced, decided_at, \
         started_at, finished_at, lateness, queue_wait, duration, attempt, error, stats, seq, epoch, rerun, owner \
         FROM runs {rest}"
    )
}

pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(params, read)?.collect()
}

/// Reads a line that [`select`] has found.
pub(super) fn read_row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let is_skip = row.get_ref("state")?.as_str()? == Skip::WORD;
    if is_skip { read_skip(row).map(Row::Skip) } else { read_run(row).map(Row::Run) }
}

fn read_skip(row: &SqlRow<'_>) -> rusqlite::Result<Skip> {
    Ok(Skip {
        job: JobName::new(&row.get::<_, String>("job")?),
        run_id: RunId::from_stored(row.get("run_id")?),
        reason: word(row, "reason", SkipReason::from_word)?,
        first: instant(row, "scheduled_for")?,
        last: instant(row, "last_scheduled_for")?,
        count: row.get::<_, i64>("count")?.unsigned_abs(),
        decided_at: instant(row, "decided_at")?,
        lateness_s: seconds(row.get("lateness")?),
        remark: row.get("error")?,
    })
}

/// Reads a line of a run.
pub(super) fn read_run(row: &SqlRow<'_>) -> rusqlite::Result<RunRecord> {
    let job: String = row.get("job")?;
    let stats: Option<String> = row.get("stats")?;
    let stats: Map<String, Value> = match stats {
        None => Map::new(),
        Some(json) => {
            serde_json::from_str(&json).map_err(|error| unreadable(row, "stats", error))?
        }
    };
    Ok(RunRecord {
        job: JobName::new(&job),
        run_id: RunId::from_stored(row.get("run_id")?),
        trigger: word(row, "trigger", Trigger::from_word)?,
        state: word(row, "state", RunState::from_word)?,
        scheduled_for: instant(row, "scheduled_for")?,
        coalesced: row.get::<_, i64>("coalesced")?.unsigned_abs(),
        decided_at: instant(row, "decided_at")?,
        started_at: optional_instant(row, "started_at")?,
        finished_at: optional_instant(row, "finished_at")?,
        lateness_s: seconds(row.get("lateness")?),
        queue_wait_s: row.get::<_, Option<i64>>("queue_wait")?.map(seconds),
        duration_s: row.get::<_, Option<i64>>("duration")?.map(seconds),
        attempt: row.get("attempt")?,
        error: row.get("error")?,
        stats,
    })
}

pub(super) fn word<T>(
    row: &SqlRow<'_>,
    column: &str,
    read: fn(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let word: String = row.get(column)?;
    read(&word).ok_or_else(|| unreadable(row, column, format!("{word:?} is not known here")))
}

fn unreadable(
    row: &SqlRow<'_>,
    column: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into())
}

pub(super) fn instant(row: &SqlRow<'_>, column: &str) -> rusqlite::Result<DateTime<Utc>> {
    from_micros(row.get(column)?)
        .ok_or_else(|| unreadable(row, column, "an instant out of range".to_owned()))
}

pub(super) fn optional_instant(
    row: &SqlRow<'_>,
    column: &str,
) -> rusqlite::Result<Option<DateTime<Utc>>> {
    row.get::<_, Option<i64>>(column).map(|micros| micros.and_then(from_micros))
}

pub(super) fn from_micros(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

// Microseconds keep both exactly: 2^53 of them are 285 years.
pub(super) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

pub(super) fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}
