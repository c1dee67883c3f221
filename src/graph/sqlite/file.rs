//! The file of the embedded graph: made where it is missing, and what a person can do when it does not serve.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::finding::{Finding, Level};
use crate::graph::store::GraphError;
use crate::sqlite::{self, Denied, Folder, Format, Trouble};
use crate::text;

/// Marks the file as ours (`aCLr`), so that another program's database is never taken for a graph.
pub(super) const FORMAT: Format =
    Format { application_id: 0x6143_4c72, newest: 1, unmarked: 0, tables: &[] };

/// Makes the folder (0700) and the file (0600) where they are missing, and refuses what is no file or not ours alone.
pub(super) fn create(path: &Path) -> Result<(), GraphError> {
    let refuse = |denied| refuse(path, denied);
    sqlite::is_there(path).map_err(|error| {
        let what = if error.kind() == ErrorKind::InvalidInput { "" } else { "cannot look at it: " };
        GraphError::Unavailable(format!(
            "{}: {what}{error}: set databases.embedded.path to a file that this user may write",
            name(path)
        ))
    })?;
    make_place(path)?;
    if !path.exists() {
        // SQLite gives its side files the mode of the main file.
        sqlite::make_database(path).map_err(refuse)?;
    }
    sqlite::check_files(path).map_err(refuse)
}

/// Makes the folder where it is missing.
pub(crate) fn make_place(path: &Path) -> Result<(), GraphError> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => {
            sqlite::make_folder(folder, Folder::MayBeShared).map_err(|denied| refuse(path, denied))
        }
        None => Ok(()),
    }
}

/// Says why a graph that is there cannot be written.
pub(super) fn examine(path: &Path) -> Result<(), GraphError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    sqlite::check_folder(folder, Folder::MayBeShared)
        .and_then(|()| sqlite::check_files(path))
        .map_err(|denied| refuse(path, denied))?;
    for place in [folder, path] {
        access(place, Access::WRITE_OK).map_err(|error| {
            GraphError::Unavailable(format!(
                "{}: {} cannot be written: {error}: make the file and its folder writable for this user, or set \
                 databases.embedded.path to another file",
                name(path),
                place.display()
            ))
        })?;
    }
    Ok(())
}

fn refuse(path: &Path, denied: Denied) -> GraphError {
    GraphError::Unavailable(match denied {
        Denied::System { path: what, verb, error } => {
            let remedy = match error.kind() {
                _ if text::shortage(&error).is_some() => text::OUT_OF_FILES,
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on the disk",
                _ => {
                    "make it writable for this user, or set databases.embedded.path to another file"
                }
            };
            format!("{}: cannot {verb} {}: {error}: {remedy}", name(path), what.display())
        }
        Denied::NotOurs { path: what, what: why, remedy } => format!(
            "{}: {}: {why}: {remedy}, or set databases.embedded.path to another file",
            name(path),
            what.display()
        ),
    })
}

/// The line of `check` where there is no file yet.
pub(crate) fn check_missing(path: &Path) -> Finding {
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let (level, message) = match sqlite::may_make_in(folder) {
        Ok(()) => (Level::Ok, format!("{}: not there yet: the first sync makes it", name(path))),
        Err(error) => (
            Level::Error,
            format!(
                "{}: not there yet, and {} cannot be written: {error}: make it writable for this user, or set \
                 databases.embedded.path to another file",
                name(path),
                folder.display()
            ),
        ),
    };
    Finding { name: "graph.file".to_owned(), level, message }
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

/// An error of SQLite's, sorted for a caller, with its remedy.
pub(super) fn fault(path: &Path, doing: &str, error: &rusqlite::Error) -> GraphError {
    let message = |remedy: &str| format!("{}: {doing}: {error}{remedy}", name(path));
    match sqlite::trouble(error) {
        Trouble::Busy => GraphError::Transient(message(": another program is using it")),
        Trouble::NotADatabase => GraphError::Unavailable(message(
            ": nothing was changed; put back a backup of it, or set databases.embedded.path to another file",
        )),
        Trouble::Damaged => GraphError::Unavailable(damaged(path, &error.to_string())),
        Trouble::Full => {
            GraphError::Unavailable(message(": make room on the disk and run it again"))
        }
        Trouble::OutOfFiles => {
            GraphError::Unavailable(message(&format!(": {}", text::OUT_OF_FILES)))
        }
        Trouble::Refused => GraphError::Unavailable(message(
            ": make the file and its folder writable for this user, or set databases.embedded.path to another file",
        )),
        Trouble::Disk => {
            GraphError::Transient(message(": look at the disk and at the system's log"))
        }
        Trouble::Data => GraphError::Rejected(message("")),
        Trouble::Other => GraphError::Unavailable(message("")),
    }
}
