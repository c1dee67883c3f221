//! The reasons why a state folder does not serve, each with its remedy.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::holder::Holder;
use crate::sqlite::{self, Denied, Trouble};
use crate::text;

/// How long a write waits for another connection's transaction before it gives up.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The ways in which a state folder does not serve, each with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refuses: another folder, other permissions, more space.
    #[error("{}: {what}: {remedy}", path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// The attempt and the words of the system.
        what: String,
        /// The remedy.
        remedy: String,
    },
    /// This user may not even look.
    #[error("{}: cannot tell: {what}: run this as the user of the daemon, or as root", path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The words of the system.
        what: String,
    },
    /// The file is none of ours, and stays as it is.
    #[error("{}: it is {what}: move it away, or choose another folder with --state-dir", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The kind of file.
        what: &'static str,
    },
    /// A newer release wrote the file.
    #[error(
        "{}: written by a newer release (version {version}, known up to {known}): \
         install that release or choose another folder with --state-dir",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// The file is not a sound database. [`State::open`](super::State::open) moves it aside; whoever only looks is told.
    #[error(
        "{}: damaged: {cause}: the daemon moves it aside and begins a new one when it starts",
        path.display()
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// The damage that SQLite found.
        cause: String,
    },
    /// Another process holds a lock that only one may hold.
    #[error("{} is in use by {holder}: stop it first, or choose another folder with --state-dir", dir.display())]
    InUse {
        /// The state folder.
        dir: PathBuf,
        /// Its holder.
        holder: Holder,
    },
    /// Another connection wrote for too long; it may work the next time.
    #[error("{}: another process kept it locked for {} s: try again", path.display(), BUSY_TIMEOUT.as_secs())]
    Busy {
        /// The database file.
        path: PathBuf,
    },
    /// Anything else SQLite says.
    #[error("{}: {error}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// The words of SQLite.
        error: rusqlite::Error,
    },
}

impl StateError {
    pub(super) fn io(path: &Path, verb: &str, error: &io::Error) -> StateError {
        let remedy = match error.kind() {
            _ if text::shortage(error).is_some() => text::OUT_OF_FILES,
            // A FIFO, a folder: see `sqlite::is_there`.
            io::ErrorKind::InvalidInput => "remove it, or choose another folder with --state-dir",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room on that file system, or choose another folder with --state-dir"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "mount it writable, or choose another folder with --state-dir"
            }
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                "there is a file where a folder is needed: choose another folder with --state-dir"
            }
            _ => {
                "give this user the right to write there, or choose another folder with --state-dir"
            }
        };
        StateError::Unusable {
            path: path.to_owned(),
            what: format!("cannot {verb}: {error}"),
            remedy: remedy.to_owned(),
        }
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> StateError {
        StateError::Unreadable { path: path.to_owned(), what: error.to_string() }
    }

    pub(super) fn sqlite(path: &Path, error: rusqlite::Error) -> StateError {
        let path = path.to_owned();
        let what = format!("cannot write: {error}");
        match sqlite::trouble(&error) {
            Trouble::Damaged | Trouble::NotADatabase => {
                StateError::Damaged { path, cause: error.to_string() }
            }
            Trouble::Busy => StateError::Busy { path },
            Trouble::Full => StateError::Unusable {
                path,
                what,
                remedy: "make room on that file system, or choose another folder with --state-dir"
                    .to_owned(),
            },
            Trouble::OutOfFiles => {
                StateError::Unusable { path, what, remedy: text::OUT_OF_FILES.to_owned() }
            }
            Trouble::Refused | Trouble::Disk => StateError::Unusable {
                path,
                what,
                remedy: "give this user the right to write the state folder and its files, \
                         or choose another folder with --state-dir"
                    .to_owned(),
            },
            Trouble::Data | Trouble::Other => StateError::Sqlite { path, error },
        }
    }
}

impl From<Denied> for StateError {
    fn from(denied: Denied) -> StateError {
        match denied {
            Denied::System { path, verb, error } => StateError::io(&path, verb, &error),
            Denied::NotOurs { path, what, remedy } => StateError::Unusable {
                path,
                what,
                remedy: format!("{remedy}, or choose another folder with --state-dir"),
            },
        }
    }
}
