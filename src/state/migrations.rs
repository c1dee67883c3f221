//! The tables of the state file: how each version becomes the next.

use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::sqlite::{self, FileKind, Format};

/// Each entry lifts the file by one version; the number of the last one is the file's `user_version`. An entry that
/// was released is never changed: a table that must look different gets a new entry.
pub(super) const MIGRATIONS: &[&str] = &[
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
pub(super) const FORMAT: Format = Format {
    application_id: 0x6143_4c73,
    newest: MIGRATIONS.len() as u32,
    unmarked: 2,
    tables: &[("runs", "scheduled_for"), ("jobs", "decided_until"), ("meta", "value")],
};

/// A copy in memory of an older file, brought up to date there.
pub(super) fn lifted_copy(connection: &Connection) -> rusqlite::Result<Connection> {
    let mut copy = Connection::open_in_memory()?;
    Backup::new(connection, &mut copy)?.run_to_completion(i32::MAX, Duration::ZERO, None)?;
    let found = sqlite::identify(&copy, &FORMAT)?;
    migrate(&mut copy, found)?;
    Ok(copy)
}

/// Brings the file up to the newest version this program knows, marks it as ours, and says what it is then.
pub(super) fn migrate(connection: &mut Connection, found: FileKind) -> rusqlite::Result<FileKind> {
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
