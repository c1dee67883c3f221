//! Faults of a vault, and of files and folders in it, each with its remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::block::VaultPath;
use crate::text::{shortage, with_remedy};

/// Why there is no vault to scan.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Nothing is there.
    #[error(
        "{}: no such folder: create it, mount it, or set paths.vault (VAULT_PATH, --vault)",
        .0.display()
    )]
    Missing(PathBuf),
    /// Something else is there.
    #[error("{}: not a folder: set paths.vault (VAULT_PATH, --vault) to the folder of the notes", .0.display())]
    NotAFolder(PathBuf),
    /// This user may not read it.
    #[error("{}: permission denied: give this user the right to read and enter it", .0.display())]
    Denied(PathBuf),
    /// The folder at the root's path is not the one the scan began with: it was moved, unmounted or mounted over.
    #[error(
        "{}: the vault was moved or unmounted while it was read: run again when it is back",
        .0.display()
    )]
    Replaced(PathBuf),
    /// A tier folder that is not below the vault.
    #[error("{}: a tier folder lies below the vault: give it as a path relative to paths.vault", .0.display())]
    TierOutside(PathBuf),
    /// A list of what is to be left out that cannot be read.
    #[error("{}: {why}; nothing is synced, since it may name notes that are to be left out", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// The fault and its remedy.
        why: String,
    },
    /// The system refuses for another reason.
    #[error("{}: {what}: {}", path.display(), with_remedy(error))]
    Io {
        /// The folder.
        path: PathBuf,
        /// The attempt.
        what: &'static str,
        /// The system's answer.
        error: io::Error,
    },
    /// The scan was told to stop.
    #[error("told to stop")]
    Interrupted,
}

/// Something below the root that could not be scanned: the blocks it may hold are unknown, not gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanFault {
    /// The file or folder.
    pub path: VaultPath,
    /// Whether it is a folder: everything below it is unknown.
    pub is_folder: bool,
    /// The fault and its remedy.
    pub kind: FaultKind,
}

/// The kinds of faults of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The content is not text.
    #[error("not UTF-8 at byte {offset}: save it as UTF-8")]
    NotUtf8 {
        /// Offset of the first byte that cannot be read.
        offset: u64,
    },
    /// The file is larger than `max_note_size`.
    #[error("{bytes} bytes are more than the {} a note may have: split it, or raise max_note_size", size(*.most))]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// How large a note may be.
        most: u64,
    },
    /// A FIFO, socket, device or folder with a name that ends in `.md`, or in the place of a tier folder.
    #[error("{0}, not {1}: move it out of the vault")]
    WrongKind(&'static str, &'static str),
    /// A tier folder that is, or is reached by, a symbolic link.
    #[error(
        "reached by a symbolic link, which is not followed: set follow_links, or name the folder it leads to"
    )]
    Link,
    /// The system refuses.
    #[error("cannot {verb}: {cause}{}", remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default())]
    Io {
        /// The attempt: open, read, list.
        verb: &'static str,
        /// The system's answer.
        cause: String,
        /// The remedy, where one is known.
        remedy: Option<&'static str>,
    },
}

/// A size as a person would write it.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

impl FaultKind {
    pub(super) fn io(verb: &'static str, error: &io::Error) -> FaultKind {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => Some("give this user the right to read it"),
            _ => shortage(error),
        };
        FaultKind::Io { verb, cause: error.to_string(), remedy }
    }
}

impl ScanFault {
    /// Whether the fault hides what is, or was, at `path`.
    pub fn hides(&self, path: &VaultPath) -> bool {
        let (hidden, path) = (self.path.as_bytes(), path.as_bytes());
        match path.strip_prefix(hidden) {
            Some([]) => true,
            Some(rest) => self.is_folder && (hidden.is_empty() || rest[0] == b'/'),
            None => false,
        }
    }
}

impl fmt::Display for ScanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_bytes() {
            b"" => write!(f, "the vault folder: {}", self.kind),
            _ => write!(f, "{}: {}", self.path, self.kind),
        }
    }
}

/// Whether an error says that nothing is there.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether the system refused to follow a symbolic link, or found one where a folder was.
pub(super) fn is_link_refused(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}
