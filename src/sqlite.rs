//! A private SQLite file: made, checked to be ours alone, opened, and its errors sorted.
//!
//! Both databases of the program, the state file and the embedded graph, are opened through here. What a file holds is
//! not known here; the caller names it by [`Format`].
//!
//! Whose file it is comes first ([`place`]): a file is opened when it and its folder are known to be ours alone.

mod place;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::clock::{Clock, SystemClock};
use crate::text;

pub(crate) use place::{
    Denied, Folder, beside, check_files, check_folder, check_no_link, make_database, make_file,
    make_folder, may_make_in, may_read, open_file,
};

/// How often, and how long apart, a database is looked at again whose files come or go at that moment: for half a second.
const LOOKS_MAX: u32 = 25;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The marks of a file of ours.
pub(crate) struct Format {
    /// SQLite's `application_id`.
    pub(crate) application_id: i32,
    /// The newest version of the tables that this program knows, as `user_version` has it.
    pub(crate) newest: u32,
    /// Files up to this version bear no `application_id` yet; 0 where all do.
    pub(crate) unmarked: u32,
    /// Tables that a file without `application_id` must have to be one of ours, each with a column of it.
    pub(crate) tables: &'static [(&'static str, &'static str)],
}

/// The kinds of file that an opened one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Nothing in it yet.
    Empty,
    /// One of ours, with tables of this version.
    Ours(u32),
    /// One of ours, from before files were marked.
    Unmarked(u32),
    /// One of ours, of a version that this program does not know.
    Newer(u32),
    /// Another program's database.
    Foreign,
}

/// The kinds of trouble. The remedy depends on the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Another connection has the lock: it may work the next time.
    Busy,
    /// No room on the disk.
    Full,
    /// The file or its folder may not be written or read.
    Refused,
    /// This process, or the system, has no file handle left: see [`crate::text::shortage`].
    OutOfFiles,
    /// The disk does not do what it should.
    Disk,
    /// The file begins like a database and is not a whole one.
    Damaged,
    /// The file is no database.
    NotADatabase,
    /// A value does not fit.
    Data,
    /// Anything else.
    Other,
}

/// Sorts an error of SQLite's.
pub(crate) fn trouble(error: &rusqlite::Error) -> Trouble {
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Busy,
        Some(ErrorCode::NotADatabase) => Trouble::NotADatabase,
        Some(ErrorCode::DatabaseCorrupt) => Trouble::Damaged,
        Some(ErrorCode::DiskFull) => Trouble::Full,
        // The shared-memory file beside the database could not grow: the same cause by another name.
        Some(ErrorCode::SystemIoFailure) if extended == ffi::SQLITE_IOERR_SHMSIZE => Trouble::Full,
        // SQLite says of both only that it cannot open a file.
        Some(ErrorCode::CannotOpen) if is_out_of_files() => Trouble::OutOfFiles,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Trouble::Refused
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => Trouble::Disk,
        Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
            Trouble::Data
        }
        _ => Trouble::Other,
    }
}

/// SQLite has given back by now what it had opened, so as many are tried as it takes at once.
fn is_out_of_files() -> bool {
    let tried: Vec<io::Result<File>> = (0..4).map(|_| File::open("/dev/null")).collect();
    tried.iter().any(|file| file.as_ref().is_err_and(|error| text::shortage(error).is_some()))
}

/// Opens a database file to read and write it. Its folder and the file must be ours, and the file must be there.
pub(crate) fn open(path: &Path) -> rusqlite::Result<Connection> {
    // No URI: a `?` in a folder's name is just that. SQLite would refuse a link anywhere in the path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(real(path), flags)?;
    // Else SQLite would look for a folder for its own scratch files, outside of what a sync may write.
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// Does `work`, whose sorting takes its room in `folder`, in files without a name, instead of in memory.
///
/// SQLite knows one folder for the whole process, and a confined thread may write in its own only: one sorts at a time.
/// A folder whose name is not UTF-8 cannot be told to SQLite, which then sorts in memory.
pub(crate) fn sorting_in<T>(
    connection: &Connection,
    folder: &Path,
    work: impl FnOnce() -> T,
) -> rusqlite::Result<T> {
    static ROOM: Mutex<()> = Mutex::new(());
    let folder = match folder.to_str() {
        Some("") => ".",
        Some(folder) => folder,
        None => return Ok(work()),
    };
    let _room = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
    connection.pragma_update(None, "temp_store_directory", folder)?;
    connection.pragma_update(None, "temp_store", "file")?;
    let result = work();
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "temp_store_directory", "")?;
    Ok(result)
}

/// Opens a database file to look at it: nothing is written, created or folded in, so this works on a read-only mount
/// and beside a running daemon.
///
/// The connection must not be the first one of a process that opens the same file to write: SQLite shares one view of
/// the index between the connections of a process, and this one's is read-only.
///
/// The last one that closes a database takes the files beside it away, and the next one makes them anew: who looks in
/// between looks again.
pub(crate) fn look(path: &Path) -> rusqlite::Result<Connection> {
    for _ in 0..LOOKS_MAX {
        match look_once(path) {
            Err(error) if is_coming_or_going(&error) => {
                SystemClock.wait(LOOK_AGAIN, &|| false);
            }
            answer => return answer,
        }
    }
    look_once(path)
}

/// What SQLite says of files that are made or taken away at that moment. To one who only looks, "read-only" is one of it.
fn is_coming_or_going(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, FileLockingProtocolFailed, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | FileLockingProtocolFailed | ReadOnly))
}

fn look_once(path: &Path) -> rusqlite::Result<Connection> {
    let path = real(path);
    for suffix in ["", "-wal", "-shm", "-journal"] {
        // Reading from a FIFO waits for ever, and the folder may be anybody's.
        if fs::symlink_metadata(beside(&path, suffix)).is_ok_and(|found| !found.is_file()) {
            return Err(rusqlite::Error::SqliteFailure(
                ffi::Error::new(ffi::SQLITE_CANTOPEN),
                Some(format!("{} is not a file", beside(&path, suffix).display())),
            ));
        }
    }
    let is_there = |suffix: &str| fs::metadata(beside(&path, suffix)).is_ok();
    let has_log = fs::metadata(beside(&path, "-wal")).is_ok_and(|log| log.len() > 0);
    let how = match (is_there("-shm"), has_log) {
        (true, _) => "&readonly_shm=1",
        // Nobody has it open, and all of it is in the one file.
        (false, false) => "&immutable=1",
        // A copy without its index: SQLite must make one.
        (false, true) => "",
    };
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push_str("?mode=ro");
    uri.push_str(how);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // The file may be anybody's: triggers and functions in its schema are not carried out.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Only the first question opens the files beside it. The caller's own question finds all other faults.
    match connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
        Err(error) if is_coming_or_going(&error) => Err(error),
        _ => Ok(connection),
    }
}

/// Copies a database that others may be writing to, as it is at one moment, by SQLite's backup interface. The copy
/// (mode 0600) takes its name when it is whole. Returns its size.
pub(crate) fn back_up(from: &Path, to: &Path) -> io::Result<u64> {
    let failed = |error: rusqlite::Error| io::Error::other(error.to_string());
    let unfinished = beside(to, ".unfinished");
    let sweep = || {
        for end in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(beside(&unfinished, end));
        }
    };
    // Of a backup that was killed.
    sweep();
    let denied = |denied: Denied| match denied {
        Denied::System { error, .. } => error,
        Denied::NotOurs { what, .. } => io::Error::other(what),
    };
    make_database(&unfinished).map_err(denied)?;
    let copied = look(from).and_then(|source| {
        let mut copy = open(&unfinished)?;
        let backup = Backup::new(&source, &mut copy)?;
        // All in one step: a copy in several would begin again with each write of a daemon.
        backup.run_to_completion(i32::MAX, Duration::from_millis(50), None)?;
        drop(backup);
        copy.pragma_update(None, "journal_mode", "delete")?;
        copy.close().map_err(|(_, error)| error)
    });
    let renamed = copied.map_err(failed).and_then(|()| {
        fs::File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, to)?;
        Ok(fs::metadata(to)?.len())
    });
    renamed.map_err(|error| {
        sweep();
        // Of a full disk SQLite says "disk I/O error" as of a broken one.
        no_room(from, to).unwrap_or(error)
    })
}

/// Holds a folder for this process until the answer is dropped; `None` where another one holds it.
pub(crate) fn hold(folder: &Path) -> io::Result<Option<File>> {
    let held = File::open(folder)?;
    match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        // A file system without locks does without.
        _ => Ok(Some(held)),
    }
}

/// That the disk of `to` has no room for `from`, if that is so.
fn no_room(from: &Path, to: &Path) -> Option<io::Error> {
    let takes = fs::metadata(from).ok()?.len();
    let disk = rustix::fs::statvfs(to.parent()?).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // The copy's log and its index, which SQLite needs meanwhile.
    let beside = 128 << 10;
    (free < takes + beside).then(|| {
        let said = format!("it takes {takes} bytes, and {free} are free there");
        io::Error::new(io::ErrorKind::StorageFull, said)
    })
}

/// Whether two databases bear the same mark (`application_id`): that they are of one program and of one kind.
pub(crate) fn have_one_mark(one: &Path, other: &Path) -> io::Result<bool> {
    let mark = |path: &Path| {
        let mut head = Vec::new();
        open_file(path)?.take(72).read_to_end(&mut head)?;
        let is_database = head.starts_with(b"SQLite format 3\0");
        io::Result::Ok(is_database.then(|| head.get(68..72).map(<[u8]>::to_vec)).flatten())
    };
    let found = mark(one)?;
    Ok(found.is_some() && found == mark(other)?)
}

/// Whether there is a database to be looked at. An empty file is none: opening it would fill it.
pub(crate) fn is_there(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len() > 0),
        // Not opened to find out: opening a FIFO waits for ever.
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tells what an opened file is. Reads the schema too, which meets a file whose header is sound and whose first page
/// is not.
pub(crate) fn identify(connection: &Connection, format: &Format) -> rusqlite::Result<FileKind> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let known = u32::try_from(version).ok();
    Ok(match (id == i64::from(format.application_id), known) {
        (true, Some(version)) if (1..=format.newest).contains(&version) => FileKind::Ours(version),
        (true, Some(version)) if version > format.newest => FileKind::Newer(version),
        (false, Some(0)) if id == 0 && tables == 0 => FileKind::Empty,
        (false, Some(version)) if id == 0 && (1..=format.unmarked).contains(&version) => {
            let mut is_ours = true;
            for (table, column) in format.tables {
                let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2)";
                is_ours &=
                    connection.query_row(sql, [table, column], |row| row.get::<_, bool>(0))?;
            }
            if is_ours { FileKind::Unmarked(version) } else { FileKind::Foreign }
        }
        _ => FileKind::Foreign,
    })
}

/// Whether a file that SQLite calls damaged was one of ours, by what is left of its header: nothing but zeros, as a
/// power cut leaves them, or our mark.
pub(crate) fn was_ours(path: &Path, format: &Format) -> bool {
    let mut header = Vec::new();
    let read = open_file(path).and_then(|file| file.take(100).read_to_end(&mut header));
    if read.is_err() || header.len() < 100 {
        return false;
    }
    if header.iter().all(|byte| *byte == 0) {
        return true;
    }
    let number = |at: usize| {
        i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (version, id) = (number(60), number(68));
    header.starts_with(b"SQLite format 3\0")
        && (id == format.application_id
            || id == 0 && u32::try_from(version).is_ok_and(|v| (1..=format.unmarked).contains(&v)))
}

/// Device and inode of what a path names.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok()
}

/// The state of a database's log: another one after each commit of any process. `None` where there is no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogMark {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl LogMark {
    pub(crate) fn of(database: &Path) -> Option<LogMark> {
        let log = fs::metadata(beside(database, "-wal")).ok()?;
        let changed = (log.ctime(), log.ctime_nsec());
        Some(LogMark { inode: log.ino(), length: log.len(), changed })
    }
}

/// The same file by a path without a link in its folders.
fn real(path: &Path) -> PathBuf {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return path.to_owned(),
    };
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        // Opening it says what is wrong.
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const FORMAT: Format =
        Format { application_id: 0x7465_7374, newest: 3, unmarked: 1, tables: &[("kept", "x")] };

    fn marked(path: &Path, id: i32, version: i32, sql: &str) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(sql).unwrap();
        connection.pragma_update(None, "application_id", id).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
    }

    #[test]
    fn a_file_is_ours_by_its_mark_or_by_its_old_tables() {
        let temp = tempfile::tempdir().unwrap();
        let ours = FORMAT.application_id;
        for (n, (id, version, sql, found)) in [
            (0, 0, "", FileKind::Empty),
            (ours, 2, "", FileKind::Ours(2)),
            (ours, 4, "", FileKind::Newer(4)),
            (ours, 0, "CREATE TABLE kept (x)", FileKind::Foreign),
            (0, 1, "CREATE TABLE kept (x)", FileKind::Unmarked(1)),
            (0, 1, "CREATE TABLE kept (y)", FileKind::Foreign),
            (0, 2, "CREATE TABLE kept (x)", FileKind::Foreign),
            (0, 1, "CREATE TABLE photos (x)", FileKind::Foreign),
            (0, 0, "CREATE TABLE photos (x)", FileKind::Foreign),
            (7, 1, "CREATE TABLE kept (x)", FileKind::Foreign),
        ]
        .into_iter()
        .enumerate()
        {
            let path = temp.path().join(format!("{n}.db"));
            marked(&path, id, version, sql);
            assert_eq!(identify(&open(&path).unwrap(), &FORMAT).unwrap(), found, "case {n}");
        }
    }

    #[test]
    fn a_file_with_a_second_name_or_behind_a_link_is_not_opened() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name);
        fs::write(path("precious"), "precious").unwrap();
        symlink(path("precious"), path("link")).unwrap();
        fs::hard_link(path("precious"), path("second")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        for (name, why) in [("link", "link"), ("second", "2 names"), ("fifo", "not a file")] {
            match make_file(&path(name)) {
                Err(Denied::NotOurs { what, .. }) => assert!(what.contains(why), "{name}: {what}"),
                other => panic!("{name}: {other:?}"),
            }
            assert!(matches!(check_files(&path(name)), Err(Denied::NotOurs { .. })), "{name}");
        }
        assert_eq!(fs::read_to_string(path("precious")).unwrap(), "precious");
        assert!(open(&path("link")).is_err(), "SQLite does not follow it either");
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("state");
        make_folder(&dir, Folder::Private).unwrap();
        for mode in [0o777, 0o770, 0o1777, 0o702] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            match make_folder(&dir, Folder::Private) {
                Err(Denied::NotOurs { remedy, .. }) => {
                    assert!(remedy.contains("chmod go-w"), "{remedy}");
                }
                other => panic!("{mode:o}: {other:?}"),
            }
            let shared = check_folder(&dir, Folder::MayBeShared);
            assert_eq!(shared.is_ok(), mode == 0o1777, "{mode:o}");
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        make_folder(&dir, Folder::Private).unwrap();
    }

    #[test]
    fn looking_waits_for_no_fifo_beside_the_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.db");
        marked(&path, 1, 1, "CREATE TABLE t (x)");
        let fifo = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, beside(&path, "-wal"), fifo, mode, 0).unwrap();
        let error = look(&path).unwrap_err();
        assert_eq!(trouble(&error), Trouble::Refused);
        assert!(error.to_string().contains("a.db-wal is not a file"), "{error}");
    }

    #[test]
    fn looking_sees_what_a_writer_has_committed_and_leaves_every_file_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a ?%#.db");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "wal").unwrap();
        writer.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
        let count = |connection: &Connection| -> i64 {
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
        };
        let before = fs::read(beside(&path, "-wal")).unwrap();
        let looking = look(&path).unwrap();
        assert_eq!(count(&looking), 1);
        assert!(looking.execute("INSERT INTO t VALUES (2)", []).is_err());
        drop(looking);
        assert_eq!(fs::read(beside(&path, "-wal")).unwrap(), before);
        drop(writer);
        assert!(!beside(&path, "-shm").exists());
        assert_eq!(count(&look(&path).unwrap()), 1);
        assert!(!beside(&path, "-shm").exists() && !beside(&path, "-wal").exists());
    }
}
