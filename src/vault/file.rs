//! A file of the vault as it looks from outside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, Stat};

use crate::block::{Tier, VaultPath};

/// A file that is part of the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its path relative to the root.
    pub path: VaultPath,
    /// Its stat when it was listed.
    pub stat: FileStat,
    /// The tier whose folder holds it, the innermost where tier folders lie in one another; `None` in a vault without
    /// tiers.
    pub tier: Option<Tier>,
    /// Whether a symbolic link is part of its path.
    pub(crate) through_link: bool,
}

/// A writer that pauses for less than this has not finished.
const QUIET: Duration = Duration::from_secs(1);

/// The part of a file's stat that tells whether the content may have changed. The device number does not:
/// it changes when the same file system is mounted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStat {
    /// Length in bytes.
    pub size: u64,
    /// When the content was last changed, as programs may set it: nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When content or attributes were last changed, as only the kernel sets it.
    pub ctime_ns: i64,
    /// The file's number in its file system.
    pub inode: u64,
}

impl FileStat {
    /// The later of the two times.
    pub fn changed_ns(&self) -> i64 {
        self.mtime_ns.max(self.ctime_ns)
    }

    /// Whether the last thing that happened to the file was no write: most editors write beside a note and rename, which
    /// changes the ctime alone. Such a note is complete.
    fn is_put_in_place(&self) -> bool {
        self.ctime_ns > self.mtime_ns
    }

    /// How long it takes, at the instant `now_ns`, until the file has been quiet for a second; `None` if it has, or was
    /// put in its place as a whole. A change in the future tells nothing but that a second has to pass.
    pub fn quiet_in(&self, now_ns: i64) -> Option<Duration> {
        if self.is_put_in_place() {
            return None;
        }
        let age = Duration::from_nanos(
            u64::try_from(now_ns.saturating_sub(self.changed_ns())).unwrap_or(0),
        );
        QUIET.checked_sub(age).filter(|left| !left.is_zero())
    }

    pub(super) fn new(stat: &Stat) -> FileStat {
        // A time beyond the year 2262 is not one that can be trusted; it need only stay in the future.
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        FileStat {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
            inode: stat.st_ino,
        }
    }
}

/// The kind of thing that a stat is about, where it is no file.
pub(super) fn other_kind(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a folder"),
        FileType::Symlink => Some("a symbolic link"),
        FileType::Fifo => Some("a FIFO"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        _ => Some("something else"),
    }
}

/// A file's folder and its name there.
pub(super) fn split(path: &VaultPath) -> (&Path, &OsStr) {
    // The paths of files are plain, so there is no need for what `Path` knows of slashes and dots: this and the
    // comparison below took as much time as finding the file in the kernel.
    let path = path.as_bytes();
    let (folder, name) = match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], path),
    };
    (Path::new(OsStr::from_bytes(folder)), OsStr::from_bytes(name))
}
