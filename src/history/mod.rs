//! Decisions, runs and their ends: the rows of the state file behind `history`, `jobs` and `status`.
//!
//! One row is one run, or one stretch of occurrences that were skipped for one reason: a month of pause is one row. A
//! run's row is there before a worker hears of the run, and names the process that has to end it ([`Owner`]). When
//! that process dies first, whoever looks next sees the run as `interrupted`.
//!
//! [`History`] reads; [`Recorder`] writes, and belongs to a process that runs jobs. Neither decides anything: which
//! occurrence runs is the planner's business, and what an operator is told is the business of whoever asks.

mod marks;
mod output;
mod record;
mod shown;
mod standing;

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use serde_json::{Map, Value};

use crate::config::JobName;
use crate::job::{RunId, RunRecord, RunState, SkipReason, Trigger};
use crate::state::{Holder, Owner, State, StateError};
#[cfg(feature = "http")]
pub(crate) use marks::{Mark, Stretch};
pub(crate) use output::{Output, keep_output};
pub(crate) use record::{CutOff, Recorder, Remembered, RowId, Skipped, Writer};
pub(crate) use shown::{remarks, to_json};
pub(crate) use standing::{Standing, went_wrong};

/// The past, to look at. Never creates or changes anything.
#[derive(Debug)]
pub struct History {
    state: State,
}

/// Which rows of the history are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'f> {
    /// Only this job's.
    pub job: Option<&'f JobName>,
    /// Only those with an instant at or after this one.
    pub since: Option<DateTime<Utc>>,
    /// Only those with an instant at or before this one.
    pub until: Option<DateTime<Utc>>,
    /// Only those in this state or with this reason.
    pub outcome: Option<&'f str>,
    /// Only those decided before this run.
    pub before: Option<&'f RunId>,
}

/// A run that is queued or running in a live process.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenRun {
    /// The run.
    pub record: RunRecord,
    /// The process that runs it.
    pub holder: Holder,
}

impl History {
    /// Opens the history in a state folder; `None` where nothing was ever recorded.
    pub fn open(dir: &Path) -> Result<Option<History>, StateError> {
        Ok(State::open_existing(dir)?.map(|state| History { state }))
    }

    /// The newest `limit` rows, of one job or of all, the newest decision first.
    pub fn recent(
        &self,
        job: Option<&JobName>,
        limit: usize,
    ) -> Result<Vec<RunRecord>, StateError> {
        self.found(&Filter { job, ..Filter::default() }, limit)
    }

    /// The newest `limit` rows that pass the filter, the newest decision first.
    pub fn found(&self, filter: &Filter<'_>, limit: usize) -> Result<Vec<RunRecord>, StateError> {
        let mut seen = Seen::new(self.state.dir());
        let mut read = || -> rusqlite::Result<Vec<RunRecord>> {
            // The terms that are not asked for are left out, so that SQLite takes the index of the others.
            let mut terms = Vec::new();
            let mut values: Vec<rusqlite::types::Value> = Vec::new();
            let mut ask = |term: &str, value| {
                values.push(value);
                terms.push(format!("{term} ?{}", values.len()));
            };
            if let Some(job) = filter.job {
                ask("job =", job.as_str().to_owned().into());
            }
            if let Some(since) = filter.since {
                ask("last_scheduled_for >=", since.timestamp_micros().into());
            }
            if let Some(until) = filter.until {
                ask("scheduled_for <=", until.timestamp_micros().into());
            }
            if let Some(run) = filter.before {
                ask("seq <", seq_of(self.state.connection(), run)?.unwrap_or(0).into());
            }
            // What SQLite can leave out need not be read: of millions of rows, the few that failed.
            let state = filter.outcome.and_then(RunState::from_word);
            match state {
                Some(RunState::Interrupted) => {
                    terms.push("state IN ('interrupted', 'queued', 'running')".to_owned());
                }
                Some(state) => terms.push(format!("state = '{}'", state.as_str())),
                None => {
                    let reason = filter.outcome.and_then(SkipReason::from_word);
                    terms.extend(reason.map(|reason| format!("reason = '{}'", reason.as_str())));
                }
            }
            let terms = if terms.is_empty() { "1".to_owned() } else { terms.join(" AND ") };
            let sql = select(&format!("WHERE {terms} ORDER BY seq DESC"));
            let mut statement = self.state.connection().prepare(&sql)?;
            let mut found = Vec::new();
            let mut rows = statement.query(rusqlite::params_from_iter(values))?;
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                // How a run stands is known once its process was asked for.
                let record = seen.record(row)?;
                let word = |outcome: &str| {
                    record.state.as_str() == outcome
                        || record.reason.is_some_and(|reason| reason.as_str() == outcome)
                };
                if filter.outcome.is_none_or(word) {
                    found.push(record);
                }
            }
            Ok(found)
        };
        read().map_err(|error| self.state.error(error))
    }

    /// The run of that id.
    pub fn run(&self, id: &RunId) -> Result<Option<RunRecord>, StateError> {
        let mut seen = Seen::new(self.state.dir());
        let mut read = || -> rusqlite::Result<Option<RunRecord>> {
            let connection = self.state.connection();
            let Some(seq) = seq_of(connection, id)? else { return Ok(None) };
            let found = rows(connection, &select("WHERE seq = ?1"), (seq,), |row| seen.record(row));
            Ok(found?.pop())
        };
        read().map_err(|error| self.state.error(error))
    }

    /// The rows of a job that tell of a moment: those that name an instant of [`at`, `at` + 1 minute), the newest decision
    /// first, and behind them a run that was under way then.
    pub fn around(&self, job: &JobName, at: DateTime<Utc>) -> Result<Vec<RunRecord>, StateError> {
        let mut seen = Seen::new(self.state.dir());
        let sql = select(
            "WHERE job = ?1 AND (scheduled_for < ?2 + 60000000 AND last_scheduled_for >= ?2
                 OR started_at <= ?2 AND ifnull(finished_at, ?2) >= ?2)
             ORDER BY (scheduled_for < ?2 + 60000000 AND last_scheduled_for >= ?2) DESC, seq DESC",
        );
        let params = (job.as_str(), at.timestamp_micros());
        rows(self.state.connection(), &sql, params, |row| seen.record(row))
            .map_err(|error| self.state.error(error))
    }

    /// Every job the history knows.
    pub fn jobs(&self) -> Result<Vec<JobName>, StateError> {
        let sql = "SELECT DISTINCT job FROM runs";
        let read = |row: &Row<'_>| Ok(JobName::new(&row.get::<_, String>(0)?));
        rows(self.state.connection(), sql, (), read).map_err(|error| self.state.error(error))
    }

    /// The newest run of a job, skipped occurrences left out; `None` if it never ran.
    pub fn last_run(&self, job: &JobName) -> Result<Option<RunRecord>, StateError> {
        let sql = select("WHERE job = ?1 AND state <> 'skipped' ORDER BY seq DESC LIMIT 1");
        let mut seen = Seen::new(self.state.dir());
        rows(self.state.connection(), &sql, (job.as_str(),), |row| seen.record(row))
            .map(|mut runs| runs.pop())
            .map_err(|error| self.state.error(error))
    }

    /// When the newest run of a job that succeeded ended; `None` if none did.
    pub fn last_success(&self, job: &JobName) -> Result<Option<DateTime<Utc>>, StateError> {
        let sql = "SELECT finished_at FROM runs WHERE job = ?1 AND state = 'succeeded' ORDER BY seq DESC LIMIT 1";
        rows(self.state.connection(), sql, (job.as_str(),), |row| {
            optional_instant(row, "finished_at")
        })
        .map(|ends| ends.into_iter().next().flatten())
        .map_err(|error| self.state.error(error))
    }

    /// Every run that is queued or running now, in whichever process, in the order of their decisions.
    pub fn open_runs(&self) -> Result<Vec<OpenRun>, StateError> {
        let mut seen = Seen::new(self.state.dir());
        let sql = select("WHERE owner IS NOT NULL AND state IN ('queued', 'running') ORDER BY seq");
        let runs = rows(self.state.connection(), &sql, (), |row| seen.open_run(row));
        Ok(runs.map_err(|error| self.state.error(error))?.into_iter().flatten().collect())
    }
}

/// Asks once per process whether it lives, however many rows name it.
struct Seen<'a> {
    dir: &'a Path,
    holders: BTreeMap<String, Option<Holder>>,
}

impl<'a> Seen<'a> {
    fn new(dir: &'a Path) -> Seen<'a> {
        Seen { dir, holders: BTreeMap::new() }
    }

    fn holder(&mut self, owner: &str) -> Option<Holder> {
        let look = || Owner::holder(self.dir, owner);
        self.holders.entry(owner.to_owned()).or_insert_with(look).clone()
    }

    /// A row of a run that is not over; `None` if its process is gone.
    fn open_run(&mut self, row: &Row<'_>) -> rusqlite::Result<Option<OpenRun>> {
        let holder = self.holder(&row.get::<_, String>("owner")?);
        holder.map(|holder| Ok(OpenRun { record: row_to_record(row)?, holder })).transpose()
    }

    /// The record of a row; a run whose process died without a word is shown as what it is.
    fn record(&mut self, row: &Row<'_>) -> rusqlite::Result<RunRecord> {
        let mut record = row_to_record(row)?;
        if matches!(record.state, RunState::Queued | RunState::Running) {
            let owner: Option<String> = row.get("owner")?;
            if owner.and_then(|owner| self.holder(&owner)).is_none() {
                record.state = RunState::Interrupted;
                record.error = Some(CUT_OFF.to_owned());
            }
        }
        Ok(record)
    }
}

/// Where the newest row of that id is.
fn seq_of(connection: &Connection, id: &RunId) -> rusqlite::Result<Option<i64>> {
    let mut newest = None;
    for (job, second) in id.meanings() {
        // Each branch has an index that leads to a handful of rows, however long the history is.
        let sql = "SELECT max(seq) FROM (
                       SELECT seq FROM runs WHERE job = ?1 AND scheduled_for >= ?2 AND scheduled_for < ?3
                           AND trigger = 'schedule' AND state <> 'skipped' AND run_id = ?4
                       UNION ALL
                       SELECT seq FROM runs WHERE job = ?1 AND scheduled_for >= ?2 AND scheduled_for < ?3
                           AND trigger = 'manual' AND run_id = ?4)";
        let from = second.saturating_mul(1_000_000);
        let found: Option<i64> = connection
            .prepare_cached(sql)?
            .query_row((job, from, from.saturating_add(1_000_000), id.as_str()), |row| {
                row.get(0)
            })?;
        newest = newest.max(found);
    }
    Ok(newest)
}

/// The error of a run whose process ended without a report.
const CUT_OFF: &str = "its process ended before it did";

fn select(rest: &str) -> String {
    format!(
        "SELECT job, run_id, trigger, state, reason, scheduled_for, last_scheduled_for, count, coalesced, decided_at, \
         started_at, finished_at, lateness, queue_wait, duration, attempt, error, stats, seq, epoch, rerun, owner \
         FROM runs {rest}"
    )
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(params, read)?.collect()
}

fn row_to_record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
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
        reason: match row.get::<_, Option<String>>("reason")? {
            None => None,
            Some(_) => Some(word(row, "reason", SkipReason::from_word)?),
        },
        scheduled_for: instant(row, "scheduled_for")?,
        last_scheduled_for: instant(row, "last_scheduled_for")?,
        count: row.get::<_, i64>("count")?.unsigned_abs(),
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

fn word<T>(row: &Row<'_>, column: &str, read: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let word: String = row.get(column)?;
    read(&word).ok_or_else(|| unreadable(row, column, format!("{word:?} is not known here")))
}

fn unreadable(
    row: &Row<'_>,
    column: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into())
}

fn instant(row: &Row<'_>, column: &str) -> rusqlite::Result<DateTime<Utc>> {
    from_micros(row.get(column)?)
        .ok_or_else(|| unreadable(row, column, "an instant out of range".to_owned()))
}

fn optional_instant(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<DateTime<Utc>>> {
    row.get::<_, Option<i64>>(column).map(|micros| micros.and_then(from_micros))
}

fn from_micros(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

// Microseconds keep both exactly: 2^53 of them are 285 years.
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}
