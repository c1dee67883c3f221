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
mod row;
mod shown;
mod standing;

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row as SqlRow};

use crate::config::JobName;
use crate::job::{RunId, RunRecord, RunState, Skip, SkipReason};
use crate::state::{Holder, Owner, State, StateError};
#[cfg(feature = "http")]
pub(crate) use marks::{Mark, Stretch};
pub(crate) use output::{Output, keep_output};
pub(crate) use record::{CutOff, Recorder, Remembered, RowId, Skipped, Writer};
pub(crate) use row::Row;
#[cfg(feature = "http")]
pub(crate) use row::is_outcome;
#[cfg(feature = "http")]
pub(crate) use shown::run_remarks;
pub(crate) use shown::{remarks, row_to_json, to_json};
pub(crate) use standing::{Standing, went_wrong};

use row::{from_micros, micros, optional_instant, read_row, read_run, rows, seconds, select};

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
    pub fn recent(&self, job: Option<&JobName>, limit: usize) -> Result<Vec<Row>, StateError> {
        self.found(&Filter { job, ..Filter::default() }, limit)
    }

    /// The newest `limit` rows that pass the filter, the newest decision first.
    pub fn found(&self, filter: &Filter<'_>, limit: usize) -> Result<Vec<Row>, StateError> {
        let mut seen = Seen::new(self.state.dir());
        let mut read = || -> rusqlite::Result<Vec<Row>> {
            let connection = self.state.connection();
            let (sql, values) = question(connection, filter)?;
            let mut statement = connection.prepare(&sql)?;
            let mut found = Vec::new();
            let mut rows = statement.query(rusqlite::params_from_iter(values))?;
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                // How a run stands is known once its process was asked for.
                let row = seen.row(row)?;
                if filter.outcome.is_none_or(|outcome| row.has_outcome(outcome)) {
                    found.push(row);
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
            let found = rows(connection, &select("WHERE seq = ?1"), (seq,), |row| seen.run(row));
            Ok(found?.pop())
        };
        read().map_err(|error| self.state.error(error))
    }

    /// The rows of a job that tell of a moment: those that name an instant of [`at`, `at` + 1 minute), the newest decision
    /// first, and behind them a run that was under way then.
    pub fn around(&self, job: &JobName, at: DateTime<Utc>) -> Result<Vec<Row>, StateError> {
        let mut seen = Seen::new(self.state.dir());
        let sql = select(
            "WHERE job = ?1 AND (scheduled_for < ?2 + 60000000 AND last_scheduled_for >= ?2
                 OR started_at <= ?2 AND ifnull(finished_at, ?2) >= ?2)
             ORDER BY (scheduled_for < ?2 + 60000000 AND last_scheduled_for >= ?2) DESC, seq DESC",
        );
        let params = (job.as_str(), at.timestamp_micros());
        rows(self.state.connection(), &sql, params, |row| seen.row(row))
            .map_err(|error| self.state.error(error))
    }

    /// Every job the history knows.
    pub fn jobs(&self) -> Result<Vec<JobName>, StateError> {
        let sql = "SELECT DISTINCT job FROM runs";
        let read = |row: &SqlRow<'_>| Ok(JobName::new(&row.get::<_, String>(0)?));
        rows(self.state.connection(), sql, (), read).map_err(|error| self.state.error(error))
    }

    /// The newest run of a job, skipped occurrences left out; `None` if it never ran.
    pub fn last_run(&self, job: &JobName) -> Result<Option<RunRecord>, StateError> {
        let sql = select("WHERE job = ?1 AND state <> 'skipped' ORDER BY seq DESC LIMIT 1");
        let mut seen = Seen::new(self.state.dir());
        rows(self.state.connection(), &sql, (job.as_str(),), |row| seen.run(row))
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
        let sql = select(&format!("{OWNED} AND state IN ('queued', 'running') {IN_ORDER}"));
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
    fn open_run(&mut self, row: &SqlRow<'_>) -> rusqlite::Result<Option<OpenRun>> {
        let holder = self.holder(&row.get::<_, String>("owner")?);
        holder.map(|holder| Ok(OpenRun { record: read_run(row)?, holder })).transpose()
    }

    /// A row; a run whose process died without a word is shown as what it is.
    fn row(&mut self, row: &SqlRow<'_>) -> rusqlite::Result<Row> {
        match read_row(row)? {
            Row::Run(run) => self.as_it_is(run, row).map(Row::Run),
            Row::Skip(skip) => Ok(Row::Skip(skip)),
        }
    }

    /// As `row`, of a row that is a run.
    fn run(&mut self, row: &SqlRow<'_>) -> rusqlite::Result<RunRecord> {
        self.as_it_is(read_run(row)?, row)
    }

    fn as_it_is(&mut self, mut run: RunRecord, row: &SqlRow<'_>) -> rusqlite::Result<RunRecord> {
        if matches!(run.state, RunState::Queued | RunState::Running) {
            let owner: Option<String> = row.get("owner")?;
            if owner.and_then(|owner| self.holder(&owner)).is_none() {
                run.state = RunState::Interrupted;
                run.error = Some(CUT_OFF.to_owned());
            }
        }
        Ok(run)
    }
}

/// The rows that may have an outcome, as SQLite finds them: what it can leave out need not be read.
fn standing_term(outcome: &str, of_one_job: bool) -> String {
    // In these words the index has it. The rows of one job are found by the index of jobs.
    let not_well = "state IN ('failed', 'interrupted', 'skipped')";
    let of_all = if of_one_job { "1" } else { not_well };
    let open = format!("SELECT seq FROM runs {OWNED}");
    match RunState::from_word(outcome) {
        Some(RunState::Succeeded) => format!("state = '{outcome}'"),
        Some(RunState::Failed) => format!("{of_all} AND state = '{outcome}'"),
        Some(RunState::Queued | RunState::Running) => {
            format!("state = '{outcome}' AND seq IN ({open})")
        }
        // A run whose process is gone is one of them, and still says otherwise.
        Some(RunState::Interrupted) => format!(
            "seq IN (SELECT seq FROM runs WHERE {not_well} AND state = '{outcome}' UNION ALL {open})"
        ),
        None if outcome == Skip::WORD => format!("{of_all} AND state = '{outcome}'"),
        None => match SkipReason::from_word(outcome) {
            Some(_) => format!("{of_all} AND state = '{}' AND reason = '{outcome}'", Skip::WORD),
            None => "0".to_owned(),
        },
    }
}

/// What SQLite is asked for the rows that may pass a filter, and the values in it.
fn question(
    connection: &Connection,
    filter: &Filter<'_>,
) -> rusqlite::Result<(String, Vec<rusqlite::types::Value>)> {
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
        ask("seq <", seq_of(connection, run)?.unwrap_or(0).into());
    }
    terms.extend(filter.outcome.map(|outcome| standing_term(outcome, filter.job.is_some())));
    let terms = if terms.is_empty() { "1".to_owned() } else { terms.join(" AND ") };
    Ok((select(&format!("WHERE {terms} ORDER BY seq DESC")), values))
}

/// The rows that some process has to end: few, and with an index of their own.
const OWNED: &str = "WHERE owner IS NOT NULL";

/// The sign keeps SQLite from reading the whole history because it lies there in this order.
const IN_ORDER: &str = "ORDER BY +seq";

/// The kinds of row that have an index by job and instant: runs by schedule, runs by hand, and skips.
const KINDS: [&str; 3] =
    ["trigger = 'schedule' AND state <> 'skipped'", "trigger = 'manual'", "state = 'skipped'"];

/// Where the newest run of that id is.
fn seq_of(connection: &Connection, id: &RunId) -> rusqlite::Result<Option<i64>> {
    newest(connection, id, &KINDS[..2])
}

/// Where the newest row of that id is, of these kinds: an index leads to a handful of rows, however long the history is.
fn newest(connection: &Connection, id: &RunId, kinds: &[&str]) -> rusqlite::Result<Option<i64>> {
    let mut newest = None;
    for kind in kinds {
        let sql = format!(
            "SELECT max(seq) FROM runs
             WHERE job = ?1 AND scheduled_for >= ?2 AND scheduled_for < ?3 AND {kind} AND run_id = ?4"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        for (job, second) in id.meanings() {
            let from = second.saturating_mul(1_000_000);
            let until = from.saturating_add(1_000_000);
            let found: Option<i64> =
                statement.query_row((job, from, until, id.as_str()), |row| row.get(0))?;
            newest = newest.max(found);
        }
    }
    Ok(newest)
}

/// The error of a run whose process ended without a report.
const CUT_OFF: &str = "its process ended before it did";

#[cfg(test)]
mod tests;
