//! The embedded graph: one SQLite file, no server.
//!
//! One table, `blocks`, whose columns are the properties of a `:Block` node under the same names, so that the file can
//! be read with any SQLite tool. A batch is one transaction: each row is written by a statement that also says what
//! the row must still look like, so two writers cannot overwrite each other.
//!
//! The graph is what a vault's history is kept in, so nothing here ever deletes, replaces or repairs a file: one that
//! is damaged, foreign or newer is left as it is, and the error says what a person can do.

mod file;
mod ids;
mod marks;
mod rows;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};
use serde_json::{Map, Value};

use self::file::{FORMAT, create, damaged, examine, fault, name};
pub(super) use self::file::{check_missing, make_place};
use self::rows::{RowWriter, STORED, stamp, stored};
use super::marks::{HandedOut, Mark, Marks, Place, Which, WholeBlock};
use super::store::{
    Applied, BatchSize, Change, GraphError, GraphStore, Purge, Purged, StoredBlock, fit,
};
use crate::block::BlockId;
use crate::finding::{Finding, Level};
use crate::sqlite::{self, FileKind};
use crate::stop::Stop;

// The columns that decisions are taken on come first and the long texts last: a row is longer than a page only in its
// tail, so reading the head of it never follows the tail. `id` has a unique index beside the rows (see `ids`) and is not
// the table's key: the rows are then written one after the other in the order they come, and only the small index is
// written at random places (measured: a table kept in the order of ids takes 7 times as long to fill with 150,000 blocks).
const SCHEMA: &str = "
CREATE TABLE blocks (
  id                 TEXT NOT NULL,
  hash               TEXT,
  body_hash          TEXT,
  version            INTEGER,
  vault_version      INTEGER,
  source_file        TEXT,
  tier               INTEGER,
  archived           INTEGER NOT NULL DEFAULT 0,
  archived_at        TEXT,
  conflict           INTEGER NOT NULL DEFAULT 0,
  conflict_version   INTEGER,
  conflict_hash      TEXT,
  conflict_file      TEXT,
  needs_reprocessing INTEGER NOT NULL DEFAULT 0,
  last_updated       TEXT,
  text               TEXT,
  body               TEXT
) STRICT;
CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// How long SQLite itself waits for another writer before we look whether we have been told to stop.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// How many such waits make a fault: no writer of ours holds the lock for anything like 30 seconds.
const LOCK_WAITS_MAX: u32 = 60;

/// How often a stop is looked for while an index is made.
const LOOK_FOR_STOP: Duration = Duration::from_millis(50);

/// A graph in a SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    stop: Stop,
    /// False for a store that was opened to look.
    may_write: bool,
    /// Whether something was committed that a power cut could still take back.
    unsynced: AtomicBool,
    /// While this store fills an empty graph without the index of ids: how many commits of others there were when it began.
    filling: Mutex<Option<i64>>,
    /// SQLite serves one thread at a time; this lock is the queue for it and so, unlike others, is held during I/O.
    connection: Mutex<Connection>,
}

impl SqliteStore {
    /// Opens the graph at `path`; makes it where there is no file, readable for its owner only.
    pub fn open(path: &Path, stop: Stop) -> Result<SqliteStore, GraphError> {
        create(path)?;
        let fault = |error| fault(path, "cannot open it", &error);
        let store = SqliteStore::new(path, stop, true, sqlite::open(path).map_err(fault)?)?;
        store.set_up()?;
        Ok(store)
    }

    /// Opens a graph that is there, for a run that changes nothing: works on a read-only mount, too.
    pub fn open_to_look(path: &Path, stop: Stop) -> Result<SqliteStore, GraphError> {
        let fault = |error| fault(path, "cannot open it", &error);
        let store = SqliteStore::new(path, stop, false, sqlite::look(path).map_err(fault)?)?;
        store.schema_version(&store.connection())?;
        Ok(store)
    }

    fn new(
        path: &Path,
        stop: Stop,
        may_write: bool,
        connection: Connection,
    ) -> Result<SqliteStore, GraphError> {
        connection
            .busy_timeout(LOCK_WAIT)
            .map_err(|error| fault(path, "cannot open it", &error))?;
        Ok(SqliteStore {
            path: path.to_owned(),
            stop,
            may_write,
            unsynced: AtomicBool::new(false),
            filling: Mutex::new(None),
            connection: Mutex::new(connection),
        })
    }

    /// Settings of the connection, and the tables where the file is new.
    fn set_up(&self) -> Result<(), GraphError> {
        let connection = self.connection();
        let fault = |error| self.fault("cannot open it", error);
        self.schema_version(&connection)?;
        // A commit is safe from a crash of this program at once, from a power cut after `flush`. Pages of
        // 16 KiB hold most blocks without a tail and cost a third less time than SQLite's 4 KiB. The cache is bounded:
        // its 4 MiB hold the index of 100,000 blocks, and one is filled without that index. The log is folded in at
        // 16 MB and never left larger.
        connection
            .execute_batch(
                "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                 PRAGMA cache_size = -4096; PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 16777216;",
            )
            .map_err(fault)?;
        if self.schema_version(&connection)? == 0 {
            let transaction = self.begin(&connection)?;
            // Asked again under the lock: another process may have been faster.
            if self.schema_version(&transaction)? == 0 {
                transaction.execute_batch(SCHEMA).map_err(fault)?;
                transaction.execute_batch(ids::MAKE).map_err(fault)?;
                transaction
                    .pragma_update(None, "application_id", FORMAT.application_id)
                    .map_err(fault)?;
                transaction.pragma_update(None, "user_version", FORMAT.newest).map_err(fault)?;
            }
            transaction.commit().map_err(fault)?;
        }
        Ok(())
    }

    /// The version of the tables; 0 for a file that has none yet.
    fn schema_version(&self, connection: &Connection) -> Result<u32, GraphError> {
        let fault = |error| self.fault("cannot open it", error);
        match sqlite::identify(connection, &FORMAT).map_err(fault)? {
            FileKind::Empty => Ok(0),
            FileKind::Ours(version) | FileKind::Unmarked(version) => Ok(version),
            FileKind::Newer(version) => Err(self.unavailable(format!(
                "its tables have version {version} and this program knows {}: a newer program wrote it; \
                 install that one, or set databases.embedded.path to another file",
                FORMAT.newest
            ))),
            FileKind::Foreign => Err(self.unavailable(
                "it is another program's database: set databases.embedded.path to a file of its own".to_owned(),
            )),
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic between begin and commit rolls the transaction back; the connection itself stays whole.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the write lock, waiting for other writers but not beyond the end of the run.
    fn begin<'a>(&self, connection: &'a Connection) -> Result<Transaction<'a>, GraphError> {
        for _ in 0..LOCK_WAITS_MAX {
            if self.stop.is_told() {
                return Err(GraphError::Cancelled);
            }
            match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
                answer => return answer.map_err(|error| self.fault("cannot write to it", error)),
            }
        }
        Err(GraphError::Transient(format!(
            "{}: another program has been writing to it for {} s: end that program, or wait for it",
            self.name(),
            (LOCK_WAIT * LOCK_WAITS_MAX).as_secs()
        )))
    }

    /// Runs `work` in one transaction.
    fn transaction<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, GraphError> {
        self.transaction_on(&self.connection(), work)
    }

    fn transaction_on<T>(
        &self,
        connection: &Connection,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, GraphError> {
        self.finish(self.begin(connection)?, "nothing of this batch was written", work)
    }

    /// Runs `work` in a transaction that has the write lock, and commits it.
    fn finish<T>(
        &self,
        transaction: Transaction<'_>,
        failed: &str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, GraphError> {
        let fault = |error| self.fault(failed, error);
        let result = work(&transaction).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        self.unsynced.store(true, Ordering::Release);
        Ok(result)
    }

    fn filling(&self) -> MutexGuard<'_, Option<i64>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the write lock to write blocks. Without the index only new blocks may be written, by the store that fills the
    /// graph, and only as long as nobody else has written to it.
    fn begin_blocks<'a>(
        &self,
        connection: &'a Connection,
        are_new: bool,
    ) -> Result<Transaction<'a>, GraphError> {
        let fault = |error| self.fault("cannot write to it", error);
        loop {
            let transaction = self.begin(connection)?;
            let may_do_without = are_new && self.filling().is_some();
            if ids::are_indexed(&transaction).map_err(fault)?
                || may_do_without
                    && *self.filling()
                        == ids::foreign_commits(&transaction).map(Some).map_err(fault)?
            {
                return Ok(transaction);
            }
            drop(transaction);
            self.index_ids(connection)?;
        }
    }

    /// Sees to it that a store which may write finds blocks by their ids.
    fn see_to_index(&self) -> Result<(), GraphError> {
        if !self.may_write {
            return Ok(());
        }
        let connection = self.connection();
        let fault = |error| self.fault("cannot read it", error);
        if ids::are_indexed(&connection).map_err(fault)? {
            return Ok(());
        }
        self.index_ids(&connection)
    }

    fn index_ids(&self, connection: &Connection) -> Result<(), GraphError> {
        *self.filling() = None;
        let failed = "its blocks are written, and their index cannot be made";
        let make = || {
            self.finish(self.begin(connection)?, failed, |connection| {
                if ids::are_indexed(connection)? { Ok(()) } else { ids::index(connection) }
            })
        };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        sqlite::sorting_in(connection, folder, || self.until_told(connection, make))
            .unwrap_or_else(|error| Err(self.fault(failed, error)))
    }

    /// Does something long on the connection, but not beyond the end of the run.
    fn until_told<T>(
        &self,
        connection: &Connection,
        work: impl FnOnce() -> Result<T, GraphError>,
    ) -> Result<T, GraphError> {
        let (interrupt, stop) = (connection.get_interrupt_handle(), &self.stop);
        let answer = thread::scope(|scope| {
            let (working, is_working) = mpsc::channel::<()>();
            let watch = move || {
                while is_working.recv_timeout(LOOK_FOR_STOP) == Err(RecvTimeoutError::Timeout) {
                    if stop.is_told() {
                        interrupt.interrupt();
                    }
                }
            };
            // Without the thread the work is done to its end.
            let _ = thread::Builder::new().name("graph-stop".to_owned()).spawn_scoped(scope, watch);
            let answer = work();
            drop(working);
            answer
        });
        if answer.is_err() && self.stop.is_told() { Err(GraphError::Cancelled) } else { answer }
    }

    /// Runs `work` on one state of the graph. Without the transaction each statement would take and leave the file's
    /// lock by itself, which costs more than a seek.
    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, GraphError> {
        let connection = self.connection();
        let read = || {
            let transaction =
                Transaction::new_unchecked(&connection, TransactionBehavior::Deferred)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        read().map_err(|error| self.fault("cannot read it", error))
    }

    /// Makes what feeds need, once in the life of a graph.
    fn prepare_for_feeds(&self, which: &Which) -> Result<(), GraphError> {
        if !self.may_write || self.read(|connection| marks::is_prepared(connection, which))? {
            return Ok(());
        }
        self.transaction(|connection| marks::prepare(connection, which))
    }

    fn pragma(&self, connection: &Connection, setting: &str) -> Result<(), GraphError> {
        let answer = connection.execute_batch(&format!("PRAGMA {setting}"));
        answer.map_err(|error| self.fault("cannot set it up", error))
    }

    fn name(&self) -> String {
        name(&self.path)
    }

    fn unavailable(&self, why: String) -> GraphError {
        GraphError::Unavailable(format!("{}: {why}", self.name()))
    }

    fn fault(&self, doing: &str, error: rusqlite::Error) -> GraphError {
        fault(&self.path, doing, &error)
    }
}

impl GraphStore for SqliteStore {
    /// An index that was laid aside, or that a killed run has not come to make.
    fn prepare(&self) -> Result<(), GraphError> {
        self.see_to_index()
    }

    fn fill(&self) -> Result<(), GraphError> {
        let connection = self.connection();
        let begun = self.transaction_on(&connection, |connection| {
            let laid_aside = ids::lay_aside(connection)?;
            laid_aside.then(|| ids::foreign_commits(connection)).transpose()
        })?;
        *self.filling() = begun;
        Ok(())
    }

    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        self.see_to_index()?;
        // In the order of the index: neighbours share its pages.
        let mut ids: Vec<&BlockId> = ids.iter().collect();
        ids.sort_unstable();
        self.read(|connection| {
            let mut found = HashMap::new();
            if !ids::are_indexed(connection)? {
                // A first sync was cut short, and a look makes no index: all are found by one reading.
                let wanted: HashSet<&str> = ids.into_iter().map(BlockId::as_str).collect();
                let mut statement = connection.prepare(&format!("SELECT {STORED} FROM blocks"))?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let id = row.get_ref(0)?.as_str()?;
                    if wanted.contains(id) {
                        found.insert(BlockId::new(id), stored(row)?);
                    }
                }
                return Ok(found);
            }
            let sql = format!("SELECT {STORED} FROM blocks WHERE id = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            for id in ids {
                let mut rows = statement.query([id.as_str()])?;
                if let Some(row) = rows.next()? {
                    found.insert(id.clone(), stored(row)?);
                }
            }
            Ok(found)
        })
    }

    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
        self.see_to_index()?;
        self.read(|connection| {
            let mut found = HashMap::new();
            let sql = "SELECT coalesce(body, text) FROM blocks WHERE id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            for id in ids {
                let mut rows = statement.query([id.as_str()])?;
                if let Some(row) = rows.next()?
                    && let Some(text) = row.get(0)?
                {
                    found.insert(id.clone(), text);
                }
            }
            Ok(found)
        })
    }

    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
        let (changes, rejected) = fit(changes);
        let mut applied = Applied { stale: Vec::new(), rejected };
        if changes.is_empty() {
            return Ok(applied);
        }
        let connection = self.connection();
        let are_new = changes.iter().all(|change| change.expected.is_none());
        let transaction = self.begin_blocks(&connection, are_new)?;
        let written = self.finish(transaction, "nothing of this batch was written", |connection| {
            let (mut writer, mut stale) = (RowWriter::new(connection, stamp(at))?, Vec::new());
            for change in changes {
                if !writer.write(change)? {
                    stale.push(change.id.clone());
                }
            }
            Ok(stale)
        });
        if written.is_err() {
            // The batch may come again, so from now on the index tells what is there.
            *self.filling() = None;
        }
        applied.stale = written?;
        Ok(applied)
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        let mut stopped = false;
        self.read(|connection| {
            let mut statement = connection.prepare(&format!("SELECT {STORED} FROM blocks"))?;
            let mut rows = statement.query([])?;
            let mut visited = 0u32;
            while let Some(row) = rows.next()? {
                visited = visited.wrapping_add(1);
                if visited.is_multiple_of(1024) && self.stop.is_told() {
                    stopped = true;
                    break;
                }
                visit(BlockId::new(row.get::<_, String>(0)?), stored(row)?);
            }
            Ok(())
        })?;
        if stopped { Err(GraphError::Cancelled) } else { Ok(()) }
    }

    fn is_empty(&self) -> Result<bool, GraphError> {
        self.read(|connection| {
            connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM blocks)", [], |row| row.get(0))
        })
    }

    fn flush(&self) -> Result<(), GraphError> {
        // Held to the end: a batch committed in between by another thread would count as synced, and not be.
        let connection = self.connection();
        if !self.unsynced.load(Ordering::Acquire) {
            return Ok(());
        }
        // With `synchronous = FULL` a commit returns when the whole log is on the disk, earlier commits included; it
        // must write something to be one.
        let answer = self.pragma(&connection, "synchronous = FULL").and_then(|()| {
            self.transaction_on(&connection, |connection| {
                connection.execute(
                    "INSERT INTO meta VALUES ('flushes', 1) \
                     ON CONFLICT (name) DO UPDATE SET value = value + 1",
                    [],
                )
            })
        });
        let answer = answer.and(self.pragma(&connection, "synchronous = NORMAL"));
        self.unsynced.store(answer.is_err(), Ordering::Release);
        answer
    }

    fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
        self.read(|connection| {
            connection
                .query_row("SELECT value FROM meta WHERE name = 'token:' || ?1", [scope], |row| {
                    row.get(0)
                })
                .optional()
        })
    }

    fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError> {
        self.transaction(|connection| {
            connection.execute(
                "INSERT INTO meta VALUES ('token:' || ?1, ?2) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [scope, token],
            )
        })
        .map(drop)
    }

    /// No other nodes live in this graph, so none can point at a block: `detach` makes no difference.
    fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
        const OLD: &str = "FROM blocks WHERE archived AND archived_at >= ?1 AND archived_at < ?2";
        let bounds = [stamp(what.archived_from), stamp(what.archived_before)];
        let list = |connection: &Connection, sql: String| {
            let mut statement = connection.prepare(&sql)?;
            let ids = statement.query_map(rusqlite::params_from_iter(&bounds), |row| {
                Ok(BlockId::new(row.get::<_, String>(0)?))
            })?;
            ids.collect()
        };
        let mut deleted: Vec<BlockId> = if what.dry_run {
            self.read(|connection| list(connection, format!("SELECT id {OLD}")))?
        } else {
            self.transaction(|connection| {
                let deleted = list(connection, format!("DELETE {OLD} RETURNING id"))?;
                marks::forget_deleted(connection)?;
                Ok(deleted)
            })?
        };
        crate::order::sort(&mut deleted);
        Ok(Purged { deleted, kept_related: Vec::new() })
    }

    fn marks(
        &self,
        which: &Which,
        limit: usize,
        visit: &mut dyn FnMut(Mark),
    ) -> Result<(), GraphError> {
        self.prepare_for_feeds(which)?;
        let (mut visited, mut stopped) = (0u32, false);
        self.read(|connection| {
            marks::visit(connection, which, limit, |mark| {
                visited = visited.wrapping_add(1);
                stopped = visited.is_multiple_of(1024) && self.stop.is_told();
                if !stopped {
                    visit(mark);
                }
                !stopped
            })
        })?;
        if stopped { Err(GraphError::Cancelled) } else { Ok(()) }
    }

    fn count_marks(&self, which: &Which) -> Result<Marks, GraphError> {
        self.read(|connection| marks::count(connection, which))
    }

    fn whole(&self, places: &[Place]) -> Result<Vec<WholeBlock>, GraphError> {
        self.see_to_index()?;
        self.read(|connection| marks::whole(connection, places))
    }

    fn clear_marks(
        &self,
        blocks: &[HandedOut],
        consumer: Option<&str>,
    ) -> Result<Vec<BlockId>, GraphError> {
        if blocks.is_empty() {
            return Ok(Vec::new());
        }
        self.see_to_index()?;
        if let Some(consumer) = consumer {
            self.prepare_for_feeds(&Which {
                consumer: Some(consumer.to_owned()),
                ..Which::default()
            })?;
        }
        self.transaction(|connection| marks::clear(connection, blocks, consumer))
    }

    fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError> {
        self.see_to_index()?;
        self.read(|connection| marks::properties(connection, id))
    }

    fn check(&self) -> Vec<Finding> {
        let mut lines = Vec::new();
        let mut line = |name: &str, level, message| {
            lines.push(Finding { name: format!("graph.{name}"), level, message });
        };
        match self
            .read(|c| c.query_row("SELECT count(*) FROM blocks", [], |row| row.get::<_, i64>(0)))
        {
            Ok(blocks) => line("file", Level::Ok, format!("{}: {blocks} blocks", self.name())),
            Err(error) => line("file", Level::Error, error.to_string()),
        }
        match self.read(|c| c.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)))
        {
            Ok(word) if word == "ok" => {
                line("integrity", Level::Ok, "the file is whole".to_owned())
            }
            Ok(damage) => line("integrity", Level::Error, damaged(&self.path, &damage)),
            Err(error) => line("integrity", Level::Error, error.to_string()),
        }
        match examine(&self.path) {
            Ok(()) => line("writable", Level::Ok, "may write".to_owned()),
            Err(error) => line("writable", Level::Error, error.to_string()),
        }
        match fs::metadata(&self.path).map(|metadata| metadata.permissions().mode() & 0o077) {
            Ok(0) => line("permissions", Level::Ok, "only the owner may read it".to_owned()),
            Ok(_) => line(
                "permissions",
                Level::Warning,
                format!(
                    "others may read the text of your notes in it: chmod 600 {}",
                    self.path.display()
                ),
            ),
            Err(error) => line("permissions", Level::Error, format!("{}: {error}", self.name())),
        }
        lines
    }

    /// Ids are spread all over the index, so once there is one, each batch rewrites many of its pages: batches of 1,000 take
    /// a fifth longer, larger ones gain nothing.
    fn preferred_batch(&self) -> BatchSize {
        BatchSize { rows: 4_000, bytes: 4 << 20, at_once: 1 }
    }
}

#[cfg(test)]
mod tests;
