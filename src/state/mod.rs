//! The one SQLite state file: open, pragmas, migrations. The locks beside it tell live processes from dead ones.
//!
//! Everything the program must remember between two starts lies in `state.db` of the state folder: runs, decisions,
//! last decided instants, what was read of the vault. Each thread opens its own [`State`]; SQLite's write-ahead log
//! lets them work side by side. There is one writer at a time, so a write transaction that lasts keeps the scheduler
//! from deciding: write in batches of some thousand rows and do nothing slow in between.
//!
//! This room hands out a connection and knows nothing of what is stored, except that every `CREATE TABLE` of every
//! room stands in [`MIGRATIONS`].

mod alive;
mod error;
mod folder;
mod holder;
mod lock;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::clock::{Clock, SystemClock};
use crate::logging;
pub(crate) use crate::sqlite::LogMark;
use crate::sqlite::{self, Denied, FileKind, Folder, Format, Trouble};
pub(crate) use alive::SignOfLife;
use error::BUSY_TIMEOUT;
pub(crate) use error::StateError;
use folder::{create_file, create_folder};
pub(crate) use holder::Holder;
pub(crate) use lock::{DaemonLock, Owner};

/// Each entry lifts the file by one version; the number of the last one is the file's `user_version`. An entry that
/// was released is never changed: a table that must look different gets a new entry.
const MIGRATIONS: &[&str] = &[
    // 1: what was decided, what ran, and what came of it (read and written by `history`).
    "CREATE TABLE runs (
         seq INTEGER PRIMARY KEY AUTOINCREMENT,
         job TEXT NOT NULL,
         run_id TEXT NOT NULL,
         -- 'schedule' or 'manual'.
         trigger TEXT NOT NULL,
         -- RunState and SkipReason as words.
         state TEXT NOT NULL,
         reason TEXT,
         -- Instants are microseconds since 1970, UTC. A skipped stretch has a first and a last one.
         scheduled_for INTEGER NOT NULL,
         last_scheduled_for INTEGER NOT NULL,
         count INTEGER NOT NULL,
         coalesced INTEGER NOT NULL,
         -- Grows by one each time the wall clock was set back: the same instant may come twice.
         epoch INTEGER NOT NULL,
         decided_at INTEGER NOT NULL,
         started_at INTEGER,
         finished_at INTEGER,
         -- Lengths are microseconds.
         lateness INTEGER NOT NULL,
         queue_wait INTEGER,
         duration INTEGER,
         attempt INTEGER NOT NULL,
         error TEXT,
         -- A JSON object; NULL for an empty one.
         stats TEXT,
         -- Which repetition of a run that was cut off this is; 0 for the first.
         rerun INTEGER NOT NULL,
         -- The process that has to end this run: a lock file in owners/. NULL once the run is over and needs no one.
         owner TEXT
     ) STRICT;
     CREATE INDEX runs_by_job ON runs (job, seq);
     CREATE INDEX runs_by_decision ON runs (decided_at);
     -- Small however long the history is: only runs that someone has to end.
     CREATE INDEX runs_owned ON runs (owner, job) WHERE owner IS NOT NULL;
     -- An instant makes at most one run, whatever goes wrong above this line.
     CREATE UNIQUE INDEX runs_once ON runs (job, scheduled_for, epoch, rerun)
         WHERE trigger = 'schedule' AND state <> 'skipped';
     CREATE TABLE jobs (
         job TEXT PRIMARY KEY,
         -- The cron line and zone the watermark was made with: another line starts anew. Empty for a job that is not
         -- scheduled at the moment.
         schedule TEXT NOT NULL,
         -- Every instant up to this one has been decided, except those in `waiting`.
         decided_until INTEGER NOT NULL,
         epoch INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     -- Occurrences that could not start when they were due and are still to be decided.
     CREATE TABLE waiting (
         job TEXT NOT NULL,
         scheduled_for INTEGER NOT NULL,
         epoch INTEGER NOT NULL,
         PRIMARY KEY (job, scheduled_for, epoch)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;",
    // 2: what is remembered of the vault (read and written by `reconcile`).
    "CREATE TABLE files (
         path BLOB PRIMARY KEY,
         size INTEGER NOT NULL,
         -- Nanoseconds since 1970.
         mtime_ns INTEGER NOT NULL,
         ctime_ns INTEGER NOT NULL,
         inode INTEGER NOT NULL,
         -- XXH3 of the content, 16 bytes.
         digest BLOB NOT NULL,
         blocks INTEGER NOT NULL,
         -- 1: the stat is trusted; 2: nothing about the file is open.
         flags INTEGER NOT NULL,
         blank_runs INTEGER NOT NULL,
         -- Seconds since 1970.
         verified_at INTEGER NOT NULL,
         parser INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     -- Apart from `files`, which is read whole in every run: these are read for files that changed.
     CREATE TABLE file_ids (path BLOB PRIMARY KEY, ids TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE missing_blocks (
         id TEXT PRIMARY KEY,
         path BLOB NOT NULL,
         first_missing_at INTEGER NOT NULL,
         scans INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;",
    // 3: the end of what runs said (read and written by `history`), which goes when the run's row goes.
    "CREATE TABLE outputs (run_id TEXT PRIMARY KEY, said BLOB NOT NULL) STRICT;
     CREATE TRIGGER output_goes_with_its_run AFTER DELETE ON runs WHEN old.state <> 'skipped' BEGIN
         DELETE FROM outputs WHERE run_id = old.run_id;
     END;",
    // 4: by which clock a block was missed, which folders lie on a device of their own, and what waits for a person
    // (read and written by `reconcile`).
    "ALTER TABLE missing_blocks ADD COLUMN boot TEXT NOT NULL DEFAULT '';
     -- Seconds since that boot.
     ALTER TABLE missing_blocks ADD COLUMN boot_time INTEGER NOT NULL DEFAULT 0;
     CREATE TABLE mounts (path BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
     CREATE TABLE attention (
         kind TEXT NOT NULL,
         place TEXT NOT NULL,
         message TEXT NOT NULL,
         remedy TEXT NOT NULL
     ) STRICT;",
    // 5: which runs by hand there were in a second, so that no two runs have one id (read and written by `history`).
    "CREATE INDEX runs_by_hand ON runs (job, scheduled_for) WHERE trigger = 'manual';",
    // 6: which device such a folder lies on; 0 where that was not noted (read and written by `reconcile`).
    "ALTER TABLE mounts ADD COLUMN device INTEGER NOT NULL DEFAULT 0;",
    // 7: which skips there were in a second, for the same reason as 5.
    "CREATE INDEX runs_skipped ON runs (job, scheduled_for) WHERE state = 'skipped';",
    // 8: the few rows among millions that people ask for (read by `history`). A run that goes well never touches it.
    "CREATE INDEX runs_not_well ON runs (state, seq) WHERE state IN ('failed', 'interrupted', 'skipped');",
];

/// `aCLs`: another program's database that happens to be named `state.db` is never taken for ours.
const FORMAT: Format = Format {
    application_id: 0x6143_4c73,
    newest: MIGRATIONS.len() as u32,
    unmarked: 2,
    tables: &[("runs", "scheduled_for"), ("jobs", "decided_until"), ("meta", "value")],
};

/// SQLite's number for `auto_vacuum = incremental`.
const INCREMENTAL: i64 = 2;

/// The database file in the state folder.
pub(crate) const FILE: &str = "state.db";

/// An open state file.
#[derive(Debug)]
pub struct State {
    connection: Connection,
    dir: PathBuf,
    /// Device and inode of the open file.
    file: Option<(u64, u64)>,
    /// Those of its log, where this connection writes.
    log: Option<(u64, u64)>,
    moved_aside: Option<PathBuf>,
}

/// The accidents that a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: for decisions, which must never be taken twice.
    Full,
    /// A crash of this program; a power cut may undo the last commits, but never harms the file. For what can be
    /// found out again, such as a cache.
    Process,
}

impl State {
    /// Opens the state file of `dir` for decisions. Creates the folder (mode 0700, with its parents) and the file
    /// (mode 0600) where they are missing and brings an older file up to date. A file that is not a database, or a
    /// damaged one, is moved aside and a new one begun; that is said loudly and told by
    /// [`moved_aside`](State::moved_aside).
    pub fn open(dir: &Path) -> Result<State, StateError> {
        State::open_for(dir, Durability::Full)
    }

    /// The same for a connection whose commits need not survive a power cut.
    pub fn open_cache(dir: &Path) -> Result<State, StateError> {
        State::open_for(dir, Durability::Process)
    }

    /// Opens a state file that is there, to look at it; `None` when there is none. Nothing is created, moved, migrated
    /// or written: this works on a read-only mount and on another user's folder that this one may read.
    pub fn open_existing(dir: &Path) -> Result<Option<State>, StateError> {
        let path = dir.join(FILE);
        match sqlite::is_there(&path) {
            Ok(true) => {}
            // An empty file would be filled by opening it.
            Ok(false) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(StateError::unreadable(&path, &error));
            }
            Err(error) => return Err(StateError::io(&path, "look for", &error)),
        }
        // SQLite says only that it cannot open it.
        if let Err(error) = sqlite::may_read(&path)
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            return Err(StateError::unreadable(&path, &error));
        }
        let look = || -> rusqlite::Result<(Connection, FileKind)> {
            let connection = sqlite::look(&path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let found = sqlite::identify(&connection, &FORMAT)?;
            if matches!(found, FileKind::Unmarked(_))
                || matches!(found, FileKind::Ours(v) if v < FORMAT.newest)
            {
                return Ok((lifted_copy(&connection)?, found));
            }
            Ok((connection, found))
        };
        let (connection, found) = look().map_err(|error| unopened(&path, error))?;
        refuse(&path, found)?;
        Ok(Some(State::new(connection, dir, None)))
    }

    /// Says what stands in the way of [`open`](State::open), without changing anything.
    pub fn examine(dir: &Path) -> Result<(), StateError> {
        match sqlite::check_folder(dir, Folder::Private) {
            Err(Denied::System { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            answer => answer?,
        }
        sqlite::check_files(&dir.join(FILE))?;
        lock::examine(dir)?;
        State::open_existing(dir).map(drop)
    }

    /// Reads the whole file looking for damage that opening it does not meet, and moves a damaged file aside as
    /// [`open`](State::open) does. Takes time in proportion to the file: for the start of the daemon.
    pub fn verify(self) -> Result<State, StateError> {
        let verdict = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        let damage = match verdict {
            Ok(verdict) if verdict == "ok" => {
                self.learn_to_shrink();
                return Ok(self);
            }
            Ok(finding) => finding,
            Err(error) if sqlite::trouble(&error) == Trouble::Damaged => error.to_string(),
            Err(error) => return Err(StateError::sqlite(&self.dir.join(FILE), error)),
        };
        let State { connection, dir, .. } = self;
        drop(connection);
        State::begin_again(&dir, Durability::Full, &damage, quick_check)
    }

    /// Has a file from before files could shrink learn it: it is written anew once. What cannot be done now, because
    /// another process has the file or the disk is full, is done by a later start.
    fn learn_to_shrink(&self) {
        let can: rusqlite::Result<i64> =
            self.connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0));
        if can.is_ok_and(|mode| mode != INCREMENTAL) {
            let set = self.connection.pragma_update(None, "auto_vacuum", INCREMENTAL);
            if let Err(error) = set.and_then(|()| self.connection.execute_batch("VACUUM")) {
                crate::logging::debug!("state file stays as large as it is: {error}");
            }
        }
    }

    /// Gives room that rows have left back to the file system: at most `pages` of 4 KiB, some milliseconds' worth.
    pub fn shrink(&self, pages: u32) -> Result<(), StateError> {
        let give_back = || -> rusqlite::Result<()> {
            let mut statement =
                self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = statement.query([])?;
            // Each step gives one page back.
            while rows.next()?.is_some() {}
            Ok(())
        };
        give_back().map_err(|error| self.error(error))
    }

    fn open_for(dir: &Path, durability: Durability) -> Result<State, StateError> {
        create_folder(dir)?;
        let path = dir.join(FILE);
        sqlite::make_database(&path)?;
        sqlite::check_files(&path)?;
        match connect(&path, durability) {
            Ok(connection) => Ok(State::new(connection, dir, None)),
            Err(StateError::Damaged { cause, .. }) => {
                State::begin_again(dir, durability, &cause, |_| Ok(()))
            }
            Err(error) => Err(error),
        }
    }

    /// Moves a damaged file aside and begins a new one. Another process may have done so a moment ago, so the file is
    /// looked at again (opened, then `examine`d) once no one else can be doing the same.
    fn begin_again(
        dir: &Path,
        durability: Durability,
        cause: &str,
        examine: fn(&Connection) -> rusqlite::Result<()>,
    ) -> Result<State, StateError> {
        let repair = create_file(&dir.join("repair.lock"))?;
        repair.lock().map_err(|error| StateError::io(dir, "lock", &error))?;
        let path = dir.join(FILE);
        match connect(&path, durability) {
            Ok(connection) if examine(&connection).is_ok() => {
                return Ok(State::new(connection, dir, None));
            }
            Ok(_) | Err(StateError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let aside = move_aside(&path)?;
        logging::error!(path = path.display().to_string(), moved_to = aside.display().to_string(), error = cause;
            "state file is damaged: moved aside, beginning a new one; history and last fire times are lost"
        );
        sqlite::make_database(&path)?;
        let connection = connect(&path, durability)?;
        Ok(State::new(connection, dir, Some(aside)))
    }

    fn new(connection: Connection, dir: &Path, moved_aside: Option<PathBuf>) -> State {
        let path = dir.join(FILE);
        let writes = !connection.is_readonly(rusqlite::MAIN_DB).unwrap_or(true);
        State {
            connection,
            dir: dir.to_owned(),
            file: sqlite::identity(&path),
            // It is there from the first reading to the last closing.
            log: writes.then(|| sqlite::identity(&log_of(&path))).flatten(),
            moved_aside,
        }
    }

    /// The connection, to read and to write in a transaction of one's own.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection, to begin a transaction.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The state folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a damaged state file was moved when this one was opened.
    pub fn moved_aside(&self) -> Option<&Path> {
        self.moved_aside.as_deref()
    }

    /// Whether the open file and its log are still those in the folder. Writing to a file that was removed succeeds, and
    /// is lost.
    pub fn is_in_place(&self) -> bool {
        let path = self.dir.join(FILE);
        self.file.is_some()
            && self.file == sqlite::identity(&path)
            && (self.log.is_none() || self.log == sqlite::identity(&log_of(&path)))
    }

    /// The state of the log, which each commit changes.
    pub(crate) fn log_mark(&self) -> Option<LogMark> {
        LogMark::of(&self.dir.join(FILE))
    }

    /// Whether both have the same file open.
    pub fn is_same_file(&self, other: &State) -> bool {
        self.file.is_some() && self.file == other.file
    }

    /// Sets what the commits from now on survive. Not inside a transaction.
    pub fn set_durability(&self, durability: Durability) -> Result<(), StateError> {
        set_durability(&self.connection, durability).map_err(|error| self.error(error))
    }

    /// Puts a failed statement into words: which file, what is wrong, what to do.
    pub fn error(&self, error: rusqlite::Error) -> StateError {
        StateError::sqlite(&self.dir.join(FILE), error)
    }
}

fn log_of(path: &Path) -> PathBuf {
    sqlite::beside(path, "-wal")
}

fn quick_check(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
}

fn connect(path: &Path, durability: Durability) -> Result<Connection, StateError> {
    let open = || -> rusqlite::Result<(Connection, FileKind)> {
        let mut connection = sqlite::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Asked before anything is set: setting the journal mode would write into another program's file.
        let found = sqlite::identify(&connection, &FORMAT)?;
        if matches!(found, FileKind::Foreign | FileKind::Newer(_)) {
            return Ok((connection, found));
        }
        if found == FileKind::Empty {
            // Only before anything is written: pages that rows leave can be given back.
            connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
        }
        connection.pragma_update(None, "journal_mode", "wal")?;
        set_durability(&connection, durability)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // An idle daemon keeps this connection for years: 256 KiB of pages, and a log of at most about 1 MiB.
        connection.pragma_update(None, "cache_size", -256)?;
        connection.pragma_update(None, "wal_autocheckpoint", 256)?;
        connection.pragma_update(None, "journal_size_limit", 1 << 20)?;
        let found = migrate(&mut connection, found)?;
        Ok((connection, found))
    };
    // SQLite does not wait for everything that another process does to a new file at the same moment.
    let until = SystemClock.monotonic() + BUSY_TIMEOUT;
    let (connection, found) = loop {
        match open() {
            Err(error)
                if sqlite::trouble(&error) == Trouble::Busy && SystemClock.monotonic() < until => {}
            opened => break opened.map_err(|error| unopened(path, error))?,
        }
        SystemClock.wait(Duration::from_millis(50), &|| false);
    };
    refuse(path, found)?;
    Ok(connection)
}

/// Refuses a file that is not for this program.
fn refuse(path: &Path, found: FileKind) -> Result<(), StateError> {
    let path = path.to_owned();
    match found {
        FileKind::Newer(version) => Err(StateError::Newer { path, version, known: FORMAT.newest }),
        FileKind::Foreign => Err(StateError::Foreign { path, what: "another program's database" }),
        FileKind::Empty | FileKind::Ours(_) | FileKind::Unmarked(_) => Ok(()),
    }
}

/// A copy in memory of an older file, brought up to date there.
fn lifted_copy(connection: &Connection) -> rusqlite::Result<Connection> {
    let mut copy = Connection::open_in_memory()?;
    Backup::new(connection, &mut copy)?.run_to_completion(i32::MAX, Duration::ZERO, None)?;
    let found = sqlite::identify(&copy, &FORMAT)?;
    migrate(&mut copy, found)?;
    Ok(copy)
}

fn set_durability(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let level = match durability {
        Durability::Full => "full",
        Durability::Process => "normal",
    };
    connection.pragma_update(None, "synchronous", level)
}

/// Brings the file up to the newest version this program knows, marks it as ours, and says what it is then.
fn migrate(connection: &mut Connection, found: FileKind) -> rusqlite::Result<FileKind> {
    if found == FileKind::Ours(FORMAT.newest) {
        return Ok(found);
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Asked again: another process may have migrated while this one waited for the lock.
    let version = match sqlite::identify(&transaction, &FORMAT)? {
        FileKind::Empty => 0,
        FileKind::Ours(version) | FileKind::Unmarked(version) => version,
        found @ (FileKind::Newer(_) | FileKind::Foreign) => return Ok(found),
    };
    for migration in &MIGRATIONS[version as usize..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT.newest)?;
    transaction.pragma_update(None, "application_id", FORMAT.application_id)?;
    transaction.commit()?;
    Ok(FileKind::Ours(FORMAT.newest))
}

/// Why a file was not opened. Only one that was ours is called damaged, and moved aside.
fn unopened(path: &Path, error: rusqlite::Error) -> StateError {
    match sqlite::trouble(&error) {
        Trouble::Damaged | Trouble::NotADatabase if !sqlite::was_ours(path, &FORMAT) => {
            StateError::Foreign { path: path.to_owned(), what: "no database of this program" }
        }
        _ => StateError::sqlite(path, error),
    }
}

/// Renames the database and its log, so that the log of the old file is not read into a new one.
fn move_aside(path: &Path) -> Result<PathBuf, StateError> {
    let now = SystemClock.now();
    let beside = |suffix: &str| sqlite::beside(path, suffix);
    let stamp = now.format("%Y%m%dT%H%M%S%3fZ");
    let aside = beside(&format!(".corrupt-{stamp}"));
    fs::rename(path, &aside).map_err(|error| StateError::io(path, "move aside", &error))?;
    for log in ["-wal", "-shm"] {
        let _ = fs::rename(beside(log), beside(&format!(".corrupt-{stamp}{log}")));
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_state_folder_is_private_and_migrated() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("deep/state");
        let state = State::open(&dir).unwrap();
        assert_eq!((mode(&dir), mode(&dir.join(FILE))), (0o700, 0o600));
        let pragma = |name: &str| -> String {
            let value: rusqlite::types::Value =
                state.connection().pragma_query_value(None, name, |row| row.get(0)).unwrap();
            format!("{value:?}")
        };
        assert_eq!(pragma("user_version"), format!("Integer({})", MIGRATIONS.len()));
        assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
        assert_eq!(pragma("synchronous"), "Integer(2)");
        assert_eq!(state.moved_aside(), None);
    }

    /// How many locks this process holds on a file.
    fn locks(path: &Path) -> usize {
        let (me, inode) = (std::process::id(), sqlite::identity(path).unwrap().1);
        let (me, inode) = (format!(" {me} "), format!(":{inode} "));
        let table = fs::read_to_string("/proc/locks").unwrap();
        let ours =
            |line: &&str| line.contains("POSIX") && line.contains(&me) && line.contains(&inode);
        table.lines().filter(ours).count()
    }

    #[test]
    fn opening_and_looking_once_more_gives_no_lock_of_this_process_back() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE);
        let state = State::open(temp.path()).unwrap();
        state.connection().execute("INSERT INTO meta VALUES ('a', 1)", []).unwrap();
        let held = locks(&path);
        assert!(held > 0, "the connection holds the file");
        drop(State::open(temp.path()).unwrap());
        drop(State::open_cache(temp.path()).unwrap());
        State::examine(temp.path()).unwrap();
        sqlite::back_up(&path, &temp.path().join("copy.db")).unwrap();
        assert_eq!(locks(&path), held);
        assert!(state.is_in_place());
        // Another program that takes the file for unused does this.
        fs::remove_file(log_of(&path)).unwrap();
        assert!(!state.is_in_place());
        let names: Vec<_> =
            fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().contains(".new-")), "{names:?}");
    }

    #[test]
    fn an_older_file_is_lifted_and_keeps_what_it_holds() {
        for old in 0..MIGRATIONS.len() {
            let temp = tempfile::tempdir().unwrap();
            let file = Connection::open(temp.path().join(FILE)).unwrap();
            for (version, migration) in (1u32..).zip(&MIGRATIONS[..old]) {
                file.execute_batch(migration).unwrap();
                file.pragma_update(None, "user_version", version).unwrap();
                if version > FORMAT.unmarked {
                    file.pragma_update(None, "application_id", FORMAT.application_id).unwrap();
                }
            }
            if old > FORMAT.unmarked as usize {
                file.pragma_update(None, "application_id", FORMAT.application_id).unwrap();
            }
            if old > 0 {
                file.execute("INSERT INTO meta VALUES ('kept', 7)", []).unwrap();
            }
            drop(file);
            let state = State::open(temp.path()).unwrap();
            let ask = |sql: &str| state.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
            assert_eq!(ask("PRAGMA user_version").unwrap(), MIGRATIONS.len() as i64, "from {old}");
            let kept = ask("SELECT sum(value) FROM meta").unwrap_or_default();
            assert_eq!(kept, if old > 0 { 7 } else { 0 }, "from {old}");
            // Every table is there, whichever migration makes it.
            ask("SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM files)").unwrap();
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_the_older_file() {
        let temp = tempfile::tempdir().unwrap();
        let file = Connection::open(temp.path().join(FILE)).unwrap();
        file.execute_batch(MIGRATIONS[0]).unwrap();
        file.pragma_update(None, "user_version", 1).unwrap();
        // In the way of the last table that the second migration makes.
        file.execute_batch("CREATE TABLE missing_blocks (x)").unwrap();
        assert!(matches!(State::open(temp.path()), Err(StateError::Sqlite { .. })));
        let tables: i64 = file
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'files'", [], |row| {
                row.get(0)
            })
            .unwrap();
        let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!((tables, version), (0, 1), "all of it or nothing");
    }

    #[test]
    fn many_processes_may_open_a_new_folder_at_once() {
        let temp = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| State::open(temp.path()).unwrap());
            }
        });
    }

    /// A state file of ours whose pages after the header are junk.
    fn damaged(temp: &Path) -> Vec<u8> {
        drop(State::open(temp).unwrap());
        let mut bytes = fs::read(temp.join(FILE)).unwrap();
        bytes[100..].fill(0xa5);
        fs::write(temp.join(FILE), &bytes).unwrap();
        bytes
    }

    #[test]
    fn a_damaged_file_of_ours_is_moved_aside_with_its_log() {
        for zeroed in [false, true] {
            let temp = tempfile::tempdir().unwrap();
            let mut bytes = damaged(temp.path());
            if zeroed {
                // A power cut can leave this of a file that was just made longer.
                bytes.fill(0);
                fs::write(temp.path().join(FILE), &bytes).unwrap();
            }
            fs::write(temp.path().join("state.db-wal"), "stale").unwrap();
            fs::set_permissions(
                temp.path().join("state.db-wal"),
                fs::Permissions::from_mode(0o600),
            )
            .unwrap();
            let state = State::open(temp.path()).unwrap();
            let aside = state.moved_aside().expect("told where it went").to_owned();
            assert_eq!(fs::read(&aside).unwrap(), bytes);
            state.connection().execute("INSERT INTO meta VALUES ('a', 1)", []).unwrap();
            assert_eq!(State::open(temp.path()).unwrap().moved_aside(), None);
        }
    }

    #[test]
    fn another_programs_file_is_refused_and_left_alone() {
        type Make = fn(&Path);
        let makes: [Make; 6] = [
            |path| fs::write(path, "not a database at all, only some text. ".repeat(100)).unwrap(),
            |path| fs::write(path, "SQLite format 3\0junk".repeat(100)).unwrap(),
            |path| {
                Connection::open(path).unwrap().execute_batch("CREATE TABLE photos (x)").unwrap();
            },
            |path| {
                let other = Connection::open(path).unwrap();
                other.pragma_update(None, "user_version", 2).unwrap();
                other.execute_batch("CREATE TABLE jobs (x)").unwrap();
            },
            |path| {
                let other = Connection::open(path).unwrap();
                other.pragma_update(None, "application_id", 7).unwrap();
            },
            |path| {
                let other = Connection::open(path).unwrap();
                other.pragma_update(None, "user_version", 1).unwrap();
                let tables = "CREATE TABLE runs (x); CREATE TABLE jobs (x); CREATE TABLE meta (x)";
                other.execute_batch(tables).unwrap();
            },
        ];
        for (n, make) in makes.into_iter().enumerate() {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join(FILE);
            make(&path);
            let before = fs::read(&path).unwrap();
            for error in [
                State::open(temp.path()).unwrap_err(),
                State::open_existing(temp.path()).unwrap_err(),
                State::examine(temp.path()).unwrap_err(),
            ] {
                assert!(matches!(error, StateError::Foreign { .. }), "{n}: {error}");
                assert!(error.to_string().contains("--state-dir"), "{n}: {error}");
            }
            assert!(fs::read(&path).unwrap() == before, "{n}: the file was touched");
        }
    }

    #[test]
    fn a_folder_or_file_that_is_not_this_users_alone_is_refused_with_the_remedy() {
        let temp = tempfile::tempdir().unwrap();
        let refused = |remedy: &str| {
            for error in
                [State::open(temp.path()).unwrap_err(), State::examine(temp.path()).unwrap_err()]
            {
                let error = error.to_string();
                assert!(error.contains(remedy) && error.contains("--state-dir"), "{error}");
            }
        };
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        drop(State::open(temp.path()).unwrap());
        set(temp.path(), 0o777);
        refused("chmod go-w");
        set(temp.path(), 0o700);
        let file = temp.path().join(FILE);
        set(&file, 0o666);
        refused("chmod go-w");
        set(&file, 0o600);
        fs::hard_link(&file, temp.path().join("second")).unwrap();
        refused("hard link");
        fs::remove_file(temp.path().join("second")).unwrap();
        fs::rename(&file, temp.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(temp.path().join("moved"), &file).unwrap();
        refused("remove the link");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(temp.path().join("moved"), temp.path().join("state.db-wal"))
            .unwrap();
        refused("remove the link");
        fs::remove_file(temp.path().join("state.db-wal")).unwrap();
        // Only root can give a folder away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(temp.path(), Some(12345), None).unwrap();
            refused("run it as that user");
        }
    }

    #[test]
    fn looking_at_an_older_file_lifts_only_a_copy() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE);
        let file = Connection::open(&path).unwrap();
        file.execute_batch(MIGRATIONS[0]).unwrap();
        file.pragma_update(None, "user_version", 1).unwrap();
        file.execute("INSERT INTO meta VALUES ('kept', 7)", []).unwrap();
        drop(file);
        let before = fs::read(&path).unwrap();
        let state = State::open_existing(temp.path()).unwrap().unwrap();
        let ask = |sql: &str| state.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(ask("SELECT value FROM meta").unwrap(), 7);
        assert_eq!(ask("SELECT count(*) FROM files").unwrap(), 0);
        drop(state);
        assert!(fs::read(&path).unwrap() == before);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn verify_finds_damage_deep_in_the_file() {
        let temp = tempfile::tempdir().unwrap();
        let state = State::open(temp.path()).unwrap();
        for n in 0..2000 {
            let row = (n, "x".repeat(200));
            state.connection().execute("INSERT INTO meta VALUES (?1, ?2)", row).unwrap();
        }
        drop(state);
        let path = temp.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20_000].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let state = State::open(temp.path()).unwrap().verify().unwrap();
        assert!(state.moved_aside().is_some());
        assert!(state.verify().unwrap().moved_aside().is_some(), "a sound file stays as it is");
    }

    #[test]
    fn a_file_gives_back_the_room_that_rows_leave_also_one_from_before_it_could() {
        for old in [false, true] {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join(FILE);
            if old {
                let file = Connection::open(&path).unwrap();
                file.execute_batch(MIGRATIONS[0]).unwrap();
                file.pragma_update(None, "user_version", 1).unwrap();
            }
            let state = State::open(temp.path()).unwrap().verify().unwrap();
            for n in 0..500 {
                let row = (n, "x".repeat(4000));
                state.connection().execute("INSERT INTO meta VALUES (?1, ?2)", row).unwrap();
            }
            state.connection().execute("DELETE FROM meta", []).unwrap();
            let pages = || -> i64 {
                let free = |row: &rusqlite::Row<'_>| row.get(0);
                state.connection().pragma_query_value(None, "freelist_count", free).unwrap()
            };
            let before = pages();
            assert!(before > 400, "{before}");
            state.shrink(100).unwrap();
            assert_eq!(pages(), before - 100, "as many as were asked for");
            state.shrink(u32::from(u16::MAX)).unwrap();
            assert_eq!(pages(), 0);
            drop(state);
            let size = fs::metadata(&path).unwrap().len();
            assert!(size < 400 << 10, "{size}");
        }
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        State::open(temp.path())
            .unwrap()
            .connection()
            .pragma_update(None, "user_version", 999)
            .unwrap();
        let error = State::open(temp.path()).unwrap_err().to_string();
        assert!(error.contains("newer release (version 999"), "{error}");
        assert!(temp.path().join(FILE).exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_names_the_remedy() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        let error = State::open(&temp.path().join("file/state")).unwrap_err().to_string();
        assert!(error.contains("file/state: cannot create"), "{error}");
        assert!(error.contains("--state-dir"), "{error}");
    }

    #[test]
    fn looking_creates_nothing() {
        let temp = tempfile::tempdir().unwrap();
        assert!(State::open_existing(temp.path()).unwrap().is_none());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        fs::write(temp.path().join(FILE), "").unwrap();
        assert!(State::open_existing(temp.path()).unwrap().is_none());
        assert_eq!(fs::metadata(temp.path().join(FILE)).unwrap().len(), 0);
        damaged(temp.path());
        let error = State::open_existing(temp.path()).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
    }
}
