//! The one SQLite state file: open, pragmas, migrations. The locks beside it tell live processes from dead ones.
//!
//! Everything the program must remember between two starts lies in `state.db` of the state folder: runs, decisions,
//! last decided instants, what was read of the vault. Each thread opens its own [`State`]; SQLite's write-ahead log
//! lets them work side by side. There is one writer at a time, so a write transaction that lasts keeps the scheduler
//! from deciding: write in batches of some thousand rows and do nothing slow in between.
//!
//! This room hands out a connection and knows nothing of what is stored, except that every `CREATE TABLE` of every
//! room stands in `migrations`.

mod alive;
mod error;
mod folder;
mod holder;
mod lock;
mod migrations;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::clock::{Clock, SystemClock};
use crate::logging;
pub(crate) use crate::sqlite::LogMark;
use crate::sqlite::{self, Denied, FileKind, Folder, Trouble};
pub(crate) use alive::SignOfLife;
use error::BUSY_TIMEOUT;
pub(crate) use error::StateError;
use folder::{create_file, create_folder};
pub(crate) use holder::Holder;
pub(crate) use lock::{DaemonLock, Owner};
use migrations::{FORMAT, lifted_copy, migrate};

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

fn set_durability(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let level = match durability {
        Durability::Full => "full",
        Durability::Process => "normal",
    };
    connection.pragma_update(None, "synchronous", level)
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
mod tests;
