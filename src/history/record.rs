//! Writing: one transaction per tick, whatever happened in it.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::marks::note_gap;
use super::{CUT_OFF, IN_ORDER, OWNED, Seen, from_micros, micros, read_run, rows, select};
use crate::config::JobName;
use crate::history::OpenRun;
use crate::job::{RunId, RunRecord, RunState, Skip, Trigger};
use crate::state::{Durability, LogMark, Owner, State, StateError};

/// The history of a process that runs jobs.
#[derive(Debug)]
pub(crate) struct Recorder {
    state: State,
    owner: Owner,
    /// The state file's log when it was last asked for what waits, and whether it was the same the time before.
    asked: Option<(LogMark, bool)>,
}

/// Names a run's row, to change it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RowId(i64);

/// The place where a skipped occurrence or stretch was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skipped {
    /// A row of its own.
    New,
    /// Added to the row before it: the same job, the same reason, no instant in between.
    Merged,
}

/// How far a job's occurrences were decided when the program last ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The cron line and zone that was true for; empty for a job that was not scheduled.
    pub schedule: String,
    /// Every instant up to this one is decided, except those in `waiting`.
    pub decided_until: DateTime<Utc>,
    /// How often the clock was set back.
    pub epoch: u32,
    /// Instants that are still to be decided, with their epochs, the oldest first.
    pub waiting: Vec<(DateTime<Utc>, u32)>,
}

/// A scheduled run that ended because its process did, or because a stop could not wait for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CutOff {
    /// Its row. It stays this process's to settle, with [`Writer::finish`].
    pub row: RowId,
    /// The run as it was.
    pub record: RunRecord,
    /// The epoch of its instant.
    pub epoch: u32,
    /// Which repetition it was.
    pub rerun: u32,
    /// Whether an orderly stop has told of its end.
    pub was_told: bool,
}

/// Pages given back after each portion of pruning: as many as its rows can have left, and more, so that a file that has
/// become large for another reason shrinks by and by.
const PAGES_PER_PRUNE: u32 = 512;

impl Recorder {
    /// Opens the history of a state folder to write in it, and signs this process on as one that runs jobs.
    pub(crate) fn open(dir: &Path) -> Result<Recorder, StateError> {
        let state = State::open(dir)?;
        state.connection().set_prepared_statement_cache_capacity(24);
        let owner = Owner::sign_on(state.dir())?;
        Ok(Recorder { state, owner, asked: None })
    }

    /// Reads the whole state file looking for damage first, as the daemon does at its start.
    pub(crate) fn open_verified(dir: &Path) -> Result<Recorder, StateError> {
        State::open(dir)?.verify()?;
        Recorder::open(dir)
    }

    /// Opens the file anew, still the same owner of its runs: after it could not be written, or when it was removed.
    /// A damaged file is moved aside. True if what was recorded is gone: it is another file now.
    pub(crate) fn reopen(&mut self) -> Result<bool, StateError> {
        let state = State::open(self.state.dir())?.verify()?;
        state.connection().set_prepared_statement_cache_capacity(24);
        let is_another = !state.is_same_file(&self.state);
        self.state = state;
        self.ask_again();
        if !self.owner.is_in_place() {
            let owner = Owner::sign_on(self.state.dir())?;
            let (old, new) = (self.owner.id().to_owned(), owner.id().to_owned());
            self.write(Durability::Full, |writer| {
                let sql = "UPDATE runs SET owner = ?2 WHERE owner = ?1";
                writer.transaction.execute(sql, (old, new))
            })?;
            self.owner = owner;
        }
        Ok(is_another)
    }

    /// Notes that no daemon ran for a while.
    pub(crate) fn was_down(
        &mut self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<(), StateError> {
        self.write(Durability::Process, |writer| note_gap(&writer.transaction, from, until))
    }

    /// The state folder.
    pub(crate) fn dir(&self) -> &Path {
        self.state.dir()
    }

    /// Whether the open file is still the one in the folder. Writing to a removed file succeeds, and is lost.
    pub(crate) fn is_in_place(&self) -> bool {
        self.state.is_in_place() && self.owner.is_in_place()
    }

    /// Puts the runs of processes that died to rest as `interrupted`, and forgets those processes. Returns the
    /// scheduled runs that were interrupted since this was last done, also by an orderly stop, the oldest first. Until
    /// the caller has settled them, whoever takes over next is told of them again: a crash in between loses none.
    pub(crate) fn take_over(&mut self, now: DateTime<Utc>) -> Result<Vec<CutOff>, StateError> {
        let dir = self.state.dir().to_owned();
        let found = self.write(Durability::Full, |writer| {
            let sql = select(&format!("{OWNED} {IN_ORDER}"));
            let mut seen = Seen::new(writer.dir);
            let found = rows(&writer.transaction, &sql, (), |row| {
                let alive = seen.holder(&row.get::<_, String>("owner")?).is_some();
                let (epoch, rerun) = (row.get("epoch")?, row.get("rerun")?);
                let record = read_run(row)?;
                let was_told = record.state == RunState::Interrupted;
                let row = RowId(row.get("seq")?);
                Ok((alive, CutOff { row, record, epoch, rerun, was_told }))
            })?;
            let mut cut_offs = Vec::new();
            for (alive, mut cut_off) in found {
                if alive {
                    continue;
                }
                let record = &mut cut_off.record;
                if record.state != RunState::Interrupted {
                    record.state = RunState::Interrupted;
                    record.error = Some(CUT_OFF.to_owned());
                    // When it really ended, nobody saw; the row says when that was noticed.
                    record.finished_at = Some(now);
                }
                if record.trigger == Trigger::Schedule {
                    writer.interrupt(cut_off.row, record)?;
                    cut_offs.push(cut_off);
                } else {
                    writer.finish(cut_off.row, record)?;
                }
            }
            Ok(cut_offs)
        })?;
        Owner::sweep(&dir);
        Ok(found)
    }

    /// The state of decisions when the program last ran, by job.
    pub(crate) fn remembered(&self) -> Result<BTreeMap<JobName, Remembered>, StateError> {
        self.read_remembered().map_err(|error| self.state.error(error))
    }

    /// The occurrences that wait, as far as the file knows, also those that another process has made due. None of them
    /// where nobody has written since this was asked: a look at the log's state costs a tenth of a reading.
    pub(crate) fn newly_waiting(
        &mut self,
    ) -> Result<Vec<(JobName, DateTime<Utc>, u32)>, StateError> {
        let mark = self.state.log_mark();
        let was_same = match (&mark, &self.asked) {
            (Some(mark), Some((known, true))) if mark == known => return Ok(Vec::new()),
            (Some(mark), Some((known, false))) => mark == known,
            _ => false,
        };
        // Two commits may leave the same mark where the disk's clock is coarse, but not with a look between them.
        self.asked = None;
        let waiting = self.read_waiting().map_err(|error| self.state.error(error))?;
        self.asked = mark.map(|mark| (mark, was_same));
        Ok(waiting)
    }

    /// Lets all that waits be told once more: there are jobs to which it may belong that were not there.
    pub(crate) fn ask_again(&mut self) {
        self.asked = None;
    }

    fn read_waiting(&self) -> rusqlite::Result<Vec<(JobName, DateTime<Utc>, u32)>> {
        let sql = "SELECT job, scheduled_for, epoch FROM waiting";
        let waiting = rows(self.state.connection(), sql, (), |row| {
            Ok((JobName::new(&row.get::<_, String>(0)?), from_micros(row.get(1)?), row.get(2)?))
        })?;
        let known = |(job, instant, epoch)| Some((job, instant?, epoch));
        Ok(waiting.into_iter().filter_map(known).collect())
    }

    fn read_remembered(&self) -> rusqlite::Result<BTreeMap<JobName, Remembered>> {
        let connection = self.state.connection();
        let sql = "SELECT job, schedule, decided_until, epoch FROM jobs";
        let jobs = rows(connection, sql, (), |row| {
            let remembered = Remembered {
                schedule: row.get(1)?,
                decided_until: from_micros(row.get(2)?).unwrap_or_default(),
                epoch: row.get(3)?,
                waiting: Vec::new(),
            };
            Ok((JobName::new(&row.get::<_, String>(0)?), remembered))
        })?;
        let mut jobs: BTreeMap<_, _> = jobs.into_iter().collect();
        let sql =
            "SELECT job, scheduled_for, epoch FROM waiting ORDER BY job, epoch, scheduled_for";
        let waiting = rows(connection, sql, (), |row| {
            Ok((JobName::new(&row.get::<_, String>(0)?), from_micros(row.get(1)?), row.get(2)?))
        })?;
        for (job, instant, epoch) in waiting {
            if let (Some(job), Some(instant)) = (jobs.get_mut(&job), instant) {
                job.waiting.push((instant, epoch));
            }
        }
        Ok(jobs)
    }

    /// Deletes what was decided before `before`, except runs that are not over and the last run of each job; at most
    /// `limit` rows, so that no tick waits long. True if there is more to delete.
    pub(crate) fn prune(&mut self, before: DateTime<Utc>, limit: u32) -> Result<bool, StateError> {
        let deleted = self.write(Durability::Process, |writer| {
            writer
                .transaction
                .prepare_cached(
                    "DELETE FROM runs WHERE seq IN (
                         SELECT seq FROM runs AS old
                         WHERE decided_at < ?1 AND owner IS NULL AND (state = 'skipped' OR EXISTS (
                             SELECT 1 FROM runs AS newer
                             WHERE newer.job = old.job AND newer.seq > old.seq AND newer.state <> 'skipped'))
                         LIMIT ?2)",
                )?
                .execute((before.timestamp_micros(), limit))
        })?;
        self.state.shrink(PAGES_PER_PRUNE)?;
        Ok(deleted == limit as usize)
    }

    /// Carries out `work` in one transaction, which is committed when it succeeds. Other processes wait until it has
    /// ended, so what `work` reads holds until what it writes is there.
    pub(crate) fn write<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&mut Writer<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        self.state.set_durability(durability)?;
        let dir = self.state.dir().to_owned();
        let owner = self.owner.id().to_owned();
        let transaction = |state: &mut State| -> rusqlite::Result<T> {
            let transaction =
                state.connection_mut().transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut writer = Writer { transaction, owner: &owner, dir: &dir };
            let done = work(&mut writer)?;
            writer.transaction.commit()?;
            Ok(done)
        };
        transaction(&mut self.state).map_err(|error| self.state.error(error))
    }
}

/// One transaction.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    transaction: Transaction<'a>,
    owner: &'a str,
    dir: &'a Path,
}

impl Writer<'_> {
    /// How many runs of each job other live processes have queued or running.
    pub(crate) fn runs_elsewhere(&self) -> rusqlite::Result<BTreeMap<JobName, u32>> {
        let mut seen = Seen::new(self.dir);
        let mut count = BTreeMap::new();
        for (owner, job) in self.owned_elsewhere()? {
            if seen.holder(&owner).is_some() {
                *count.entry(JobName::new(&job)).or_default() += 1;
            }
        }
        Ok(count)
    }

    fn owned_elsewhere(&self) -> rusqlite::Result<Vec<(String, String)>> {
        let sql = "SELECT owner, job FROM runs
                   WHERE owner IS NOT NULL AND owner <> ?1 AND state IN ('queued', 'running')";
        rows(&self.transaction, sql, (self.owner,), |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// The runs of a job that are queued or running in any live process, this one included.
    pub(crate) fn open_runs_of(&self, job: &JobName) -> rusqlite::Result<Vec<OpenRun>> {
        // The sign before the job does the same as that of the order.
        let sql =
            select(&format!("{OWNED} AND +job = ?1 AND state IN ('queued', 'running') {IN_ORDER}"));
        let mut seen = Seen::new(self.dir);
        let runs = rows(&self.transaction, &sql, (job.as_str(),), |row| seen.open_run(row))?;
        Ok(runs.into_iter().flatten().collect())
    }

    /// Records a decision to run, or a manual run. `None` if this occurrence already made a run: then it must not
    /// make another.
    pub(crate) fn run(
        &self,
        record: &RunRecord,
        epoch: u32,
        rerun: u32,
    ) -> rusqlite::Result<Option<(RowId, RunId)>> {
        let id = self.free_id(&record.job, record.scheduled_for, &record.run_id)?;
        let inserted = self
            .transaction
            .prepare_cached(
                "INSERT INTO runs (job, run_id, trigger, state, scheduled_for, last_scheduled_for, count,
                     coalesced, epoch, decided_at, started_at, lateness, queue_wait, attempt, rerun, owner, error)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                record.job.as_str(),
                id.as_str(),
                record.trigger.as_str(),
                record.state.as_str(),
                record.scheduled_for.timestamp_micros(),
                record.coalesced.cast_signed(),
                epoch,
                record.decided_at.timestamp_micros(),
                record.started_at.map(|at| at.timestamp_micros()),
                micros(record.lateness_s),
                record.queue_wait_s.map(micros),
                record.attempt,
                rerun,
                self.owner,
                record.error,
            ])?;
        Ok((inserted == 1).then(|| (RowId(self.transaction.last_insert_rowid()), id)))
    }

    /// An id, with a number where another row of that second has it.
    fn free_id(&self, job: &JobName, at: DateTime<Utc>, id: &RunId) -> rusqlite::Result<RunId> {
        let second = at.timestamp() * 1_000_000;
        let sql = "SELECT run_id FROM runs
                   WHERE job = ?1 AND trigger = 'schedule' AND state <> 'skipped'
                       AND scheduled_for >= ?2 AND scheduled_for < ?2 + 1000000
                   UNION ALL
                   SELECT run_id FROM runs
                   WHERE job = ?1 AND trigger = 'manual'
                       AND scheduled_for >= ?2 AND scheduled_for < ?2 + 1000000
                   UNION ALL
                   SELECT run_id FROM runs
                   WHERE job = ?1 AND state = 'skipped'
                       AND scheduled_for >= ?2 AND scheduled_for < ?2 + 1000000";
        let params = (job.as_str(), second);
        let taken = rows(&self.transaction, sql, params, |row| row.get::<_, String>(0))?;
        let is_free = |id: &RunId| !taken.iter().any(|taken| taken == id.as_str());
        let numbered = (2..).map(|n| id.numbered(n));
        let mut ids = std::iter::once(id.clone()).chain(numbered);
        Ok(ids.find(is_free).expect("there are more numbers than runs"))
    }

    /// Makes a job due that a daemon schedules, because a run it follows has ended in this process. The daemon takes it
    /// up within half a minute, or at its next start.
    pub(crate) fn demand(&self, job: &JobName, at: DateTime<Utc>) -> rusqlite::Result<()> {
        // No line names an instant that is no whole second.
        let instant = at.timestamp_micros();
        let instant = if instant % 1_000_000 == 0 { instant + 1 } else { instant };
        self.transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO waiting
                 SELECT job, ?2, epoch FROM jobs WHERE job = ?1 AND schedule <> ''",
            )?
            .execute((job.as_str(), instant))?;
        Ok(())
    }

    /// Records a skipped occurrence or stretch, in the row before it where that was skipped for the same reason up to
    /// an instant which this one `follows` at once: a row tells of every instant from its first to its last. It
    /// gets the id of a row of its own.
    pub(crate) fn skip(
        &self,
        skip: &mut Skip,
        epoch: u32,
        follows: impl FnOnce(DateTime<Utc>) -> bool,
    ) -> rusqlite::Result<Skipped> {
        let before = self
            .transaction
            .prepare_cached(
                "SELECT seq, last_scheduled_for FROM runs
                 WHERE seq = (SELECT max(seq) FROM runs WHERE job = ?1)
                     AND state = 'skipped' AND reason = ?2 AND epoch = ?3 AND error IS ?4",
            )?
            .query_row(
                (skip.job.as_str(), skip.reason.as_str(), epoch, skip.remark.as_deref()),
                |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some((row, last)) = before
            && from_micros(last).is_some_and(follows)
        {
            self.transaction
                .prepare_cached(
                    "UPDATE runs SET last_scheduled_for = ?2, count = count + ?3, decided_at = ?4 WHERE seq = ?1",
                )?
                .execute((
                    row,
                    skip.last.timestamp_micros(),
                    skip.count.cast_signed(),
                    skip.decided_at.timestamp_micros(),
                ))?;
            return Ok(Skipped::Merged);
        }
        skip.run_id = self.free_id(&skip.job, skip.first, &skip.run_id)?;
        self.transaction
            .prepare_cached(
                "INSERT INTO runs (job, run_id, trigger, state, reason, scheduled_for, last_scheduled_for, count,
                     coalesced, epoch, decided_at, lateness, attempt, rerun, error)
                 VALUES (?1, ?2, 'schedule', 'skipped', ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, 1, 0, ?10)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                skip.job.as_str(),
                skip.run_id.as_str(),
                skip.reason.as_str(),
                skip.first.timestamp_micros(),
                skip.last.timestamp_micros(),
                skip.count.cast_signed(),
                epoch,
                skip.decided_at.timestamp_micros(),
                micros(skip.lateness_s),
                skip.remark,
            ])?;
        Ok(Skipped::New)
    }

    /// A worker has taken the run.
    pub(crate) fn running(&self, row: RowId, record: &RunRecord) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "UPDATE runs SET state = 'running', started_at = ?2, queue_wait = ?3 WHERE seq = ?1",
            )?
            .execute(params![
                row.0,
                record.started_at.map(|at| at.timestamp_micros()),
                record.queue_wait_s.map(micros),
            ])?;
        Ok(())
    }

    /// The run is over.
    pub(crate) fn finish(&self, row: RowId, record: &RunRecord) -> rusqlite::Result<()> {
        self.end(row, record, None)
    }

    /// The run was interrupted by a stop: the next start looks whether it is to be run again.
    pub(crate) fn interrupt(&self, row: RowId, record: &RunRecord) -> rusqlite::Result<()> {
        self.end(row, record, Some(self.owner))
    }

    fn end(&self, row: RowId, record: &RunRecord, owner: Option<&str>) -> rusqlite::Result<()> {
        let stats = (!record.stats.is_empty())
            .then(|| serde_json::to_string(&record.stats).expect("a map of JSON values is JSON"));
        self.transaction
            .prepare_cached(
                "UPDATE runs SET state = ?2, started_at = ?3, queue_wait = ?4, finished_at = ?5, duration = ?6,
                     attempt = ?7, error = ?8, stats = ?9, owner = ?10 WHERE seq = ?1",
            )?
            .execute(params![
                row.0,
                record.state.as_str(),
                record.started_at.map(|at| at.timestamp_micros()),
                record.queue_wait_s.map(micros),
                record.finished_at.map(|at| at.timestamp_micros()),
                record.duration_s.map(micros),
                record.attempt,
                record.error,
                stats,
                owner,
            ])?;
        Ok(())
    }

    /// Takes a run back that was decided and that no worker has begun.
    pub(crate) fn take_back(&self, row: RowId) -> rusqlite::Result<()> {
        self.transaction.prepare_cached("DELETE FROM runs WHERE seq = ?1")?.execute((row.0,))?;
        Ok(())
    }

    /// Notes how far a job's occurrences are decided; `schedule` is empty for a job that is not scheduled any more.
    pub(crate) fn decided_until(
        &self,
        job: &JobName,
        schedule: &str,
        until: DateTime<Utc>,
        epoch: u32,
    ) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "INSERT INTO jobs (job, schedule, decided_until, epoch) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (job) DO UPDATE SET
                     schedule = excluded.schedule, decided_until = excluded.decided_until, epoch = excluded.epoch",
            )?
            .execute((job.as_str(), schedule, until.timestamp_micros(), epoch))?;
        Ok(())
    }

    /// Notes that an occurrence is still to be decided although others up to the watermark are.
    pub(crate) fn wait(
        &self,
        job: &JobName,
        instant: DateTime<Utc>,
        epoch: u32,
    ) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("INSERT OR IGNORE INTO waiting VALUES (?1, ?2, ?3)")?
            .execute((job.as_str(), instant.timestamp_micros(), epoch))?;
        Ok(())
    }

    /// Forgets what [`wait`](Writer::wait) noted: it is decided.
    pub(crate) fn unwait(
        &self,
        job: &JobName,
        instant: DateTime<Utc>,
        epoch: u32,
    ) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "DELETE FROM waiting WHERE job = ?1 AND scheduled_for = ?2 AND epoch = ?3",
            )?
            .execute((job.as_str(), instant.timestamp_micros(), epoch))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
