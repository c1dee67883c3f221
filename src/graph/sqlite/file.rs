//! The file of the embedded graph: made where it is missing, and what a person can do when it does not serve.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rusqlite::{ErrorCode, ffi};

use crate::graph::{CheckLevel, CheckLine, GraphError};

/// Makes the folder (0700) and the file (0600) where they are missing, and refuses what is no file.
pub(super) fn create(path: &Path) -> Result<(), GraphError> {
    let refuse = |what: &Path, error: std::io::Error| {
        let remedy = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on the disk",
            _ => "make it writable for this user, or set databases.embedded.path to another file",
        };
        GraphError::Unavailable(format!(
            "{}: cannot make {}: {error}: {remedy}",
            name(path),
            what.display()
        ))
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => return Ok(()),
        // Not opened to find out: opening a FIFO waits for ever.
        Ok(_) => {
            return Err(GraphError::Unavailable(format!(
                "{}: it is not a file: set databases.embedded.path to a file",
                name(path)
            )));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(refuse(path, error)),
    }
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| refuse(folder, error))?;
    }
    // SQLite gives its side files the mode of the main file.
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(refuse(path, error)),
        _ => Ok(()),
    }
}

/// What `check` says where there is no file yet.
pub(in crate::graph) fn check_missing(path: &Path) -> CheckLine {
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let (level, message) = match rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
        Ok(()) => {
            (CheckLevel::Ok, format!("{}: not there yet: the first sync makes it", name(path)))
        }
        Err(error) => (
            CheckLevel::Error,
            format!(
                "{}: not there yet, and {} cannot be written: {error}: make it writable for this user, or set \
                 databases.embedded.path to another file",
                name(path),
                folder.display()
            ),
        ),
    };
    CheckLine { name: "graph.file".to_owned(), level, message }
}

pub(super) fn name(path: &Path) -> String {
    format!("graph {}", path.display())
}

pub(super) fn damaged(path: &Path, damage: &str) -> String {
    format!(
        "{}: it is damaged: {damage}: nothing was changed; stop the daemon and put back a backup of it, or save what \
         can be read with `sqlite3 graph.db .recover | sqlite3 saved.db`, or move it away: the next run makes a new \
         one from the vault, with versions from the markers",
        name(path)
    )
}

/// What a caller can do about an error of SQLite's.
pub(super) fn fault(path: &Path, doing: &str, error: &rusqlite::Error) -> GraphError {
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    let message = |remedy: &str| format!("{}: {doing}: {error}{remedy}", name(path));
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            GraphError::Transient(message(": another program is using it"))
        }
        Some(ErrorCode::NotADatabase) => GraphError::Unavailable(message(
            ": nothing was changed; put back a backup of it, or set databases.embedded.path to another file",
        )),
        Some(ErrorCode::DatabaseCorrupt) => {
            GraphError::Unavailable(damaged(path, &error.to_string()))
        }
        Some(ErrorCode::DiskFull) => {
            GraphError::Unavailable(message(": make room on the disk and run it again"))
        }
        // The shared-memory file beside the database could not grow: the same cause by another name.
        Some(ErrorCode::SystemIoFailure) if extended == ffi::SQLITE_IOERR_SHMSIZE => {
            GraphError::Unavailable(message(": make room on the disk and run it again"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            GraphError::Unavailable(message(
                ": make the file and its folder writable for this user, or set databases.embedded.path to another file",
            ))
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => {
            GraphError::Transient(message(": look at the disk and at the system's log"))
        }
        Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
            GraphError::Rejected(message(""))
        }
        _ => GraphError::Unavailable(message("")),
    }
}
