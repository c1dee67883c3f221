//! The daemon's sign of life: a small file that it writes over in place, so that other processes see when it was last
//! awake and what holds it up, also when the disk is full.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::StateError;
use super::folder::create_file;
use crate::sqlite;

/// The file in the state folder.
pub(super) const FILE: &str = "daemon.alive";

/// All of the file: it is given its room on the disk at the start and never grows.
const BYTES: usize = 4096;

/// The right to write it belongs to the holder of the daemon's lock.
#[derive(Debug)]
pub(crate) struct SignOfLife {
    file: File,
    path: PathBuf,
    /// Device and inode of the open file.
    identity: (u64, u64),
}

impl SignOfLife {
    /// Creates the file where it is missing.
    pub(crate) fn open(dir: &Path) -> Result<SignOfLife, StateError> {
        let path = dir.join(FILE);
        let file = create_file(&path)?;
        let found = file.metadata().map_err(|error| StateError::io(&path, "look at", &error))?;
        let sign = SignOfLife { file, path, identity: (found.dev(), found.ino()) };
        sign.write("").map_err(|error| StateError::io(&sign.path, "write", &error))?;
        Ok(sign)
    }

    /// Writes `text` over the old one. The part that does not fit is left out: the writer keeps it short.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let mut bytes = [b' '; BYTES];
        let length = text.len().min(BYTES - 1);
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        bytes[BYTES - 1] = b'\n';
        self.file.write_all_at(&bytes, 0)
    }

    /// How many bytes this user may still write on that disk; `None` where the system does not say.
    pub(crate) fn room(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(&self.file).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Whether others find what is written: the file is where it was.
    pub(crate) fn is_in_place(&self) -> bool {
        sqlite::identity(&self.path) == Some(self.identity)
    }

    /// The last text of that state folder's daemon; `None` where nothing can be read.
    pub(crate) fn read(dir: &Path) -> Option<String> {
        let mut text = String::new();
        let file = sqlite::open_file(&dir.join(FILE)).ok()?;
        file.take(BYTES as u64).read_to_string(&mut text).ok()?;
        let text = text.trim_end();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sign_is_read_and_looking_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(SignOfLife::read(folder.path()), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let sign = SignOfLife::open(folder.path()).unwrap();
        assert_eq!(SignOfLife::read(folder.path()), None);
        sign.write("a longer text").unwrap();
        sign.write("short").unwrap();
        assert_eq!(SignOfLife::read(folder.path()).as_deref(), Some("short"));
        assert!(sign.is_in_place() && sign.room().is_some());
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        assert!(!sign.is_in_place());
    }
}
