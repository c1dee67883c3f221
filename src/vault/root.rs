//! The vault's root folder, held open, and every way from it to a folder or file below.
//!
//! Names are looked up from the open folder downwards and symbolic links on the way are refused by the kernel, so a
//! folder that is replaced by a link while the vault is scanned cannot lead out of it.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::block::VaultPath;

/// What a file looked like from outside, as far as it tells whether the content may have changed. No device number:
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

/// What kind of thing a stat is about, when that is not a file.
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

/// The open root folder of a vault. A clone is the same open folder.
#[derive(Clone, Debug)]
pub struct Root {
    path: PathBuf,
    /// The path without symbolic links.
    real: PathBuf,
    folder: Arc<OwnedFd>,
    identity: (u64, u64),
}

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
    /// The system refuses for another reason.
    #[error("{}: {what}: {error}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The scan was told to stop.
    #[error("told to stop")]
    Interrupted,
}

impl Root {
    /// Opens the root folder. It may itself be reached by symbolic links.
    pub fn open(path: &Path) -> Result<Root, VaultError> {
        let refuse = |error: Errno| match error {
            Errno::NOENT => VaultError::Missing(path.to_owned()),
            Errno::NOTDIR => VaultError::NotAFolder(path.to_owned()),
            Errno::ACCESS | Errno::PERM => VaultError::Denied(path.to_owned()),
            error => {
                VaultError::Io { path: path.to_owned(), what: "cannot open", error: error.into() }
            }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(refuse)?;
        let stat = rustix::fs::fstat(&folder).map_err(refuse)?;
        let real = fs::canonicalize(path).map_err(|error| VaultError::Io {
            path: path.to_owned(),
            what: "cannot resolve",
            error,
        })?;
        let identity = (stat.st_dev, stat.st_ino);
        Ok(Root { path: path.to_owned(), real, folder: Arc::new(folder), identity })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path without symbolic links.
    pub(super) fn real(&self) -> &Path {
        &self.real
    }

    /// An error unless the root's path still leads to the folder that was opened. Files that seem gone are not gone
    /// when the vault itself is.
    pub fn check_in_place(&self) -> Result<(), VaultError> {
        match rustix::fs::stat(&self.path) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == self.identity => Ok(()),
            _ => Err(VaultError::Replaced(self.path.clone())),
        }
    }

    /// Whether the vault lies on a file system that other machines may write to, whose times another clock sets.
    pub fn is_on_network(&self) -> bool {
        /// `f_type` of NFS, SMB (three generations), FUSE (sshfs and its like), 9P, Ceph, AFS, Coda, VirtualBox
        /// shares, Lustre, GFS2, OCFS2.
        const NETWORK: [u32; 13] = [
            0x6969,
            0x517B,
            0xFF53_4D42,
            0xFE53_4D42,
            0x6573_5546,
            0x0102_1997,
            0x00C3_6400,
            0x5346_414F,
            0x7375_7245,
            0x786F_4256,
            0x0BD0_0BD0,
            0x0116_1970,
            0x7461_636F,
        ];
        rustix::fs::fstatfs(&self.folder).is_ok_and(|stat| NETWORK.contains(&(stat.f_type as u32)))
    }

    /// Opens a folder below the root to look up names in it. The empty path is the root itself.
    pub(super) fn open_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = match self.open_beneath(path, flags, resolve) {
            // A kernel before 5.6, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {
                rustix::fs::openat(&self.folder, path, flags, Mode::empty())
            }
            opened => opened,
        };
        Ok(opened?)
    }

    /// Opens a file that is reached by symbolic links, all of which stay in the vault.
    pub(super) fn open_through_links(
        &self,
        path: &VaultPath,
        flags: OFlags,
    ) -> io::Result<OwnedFd> {
        match self.open_beneath(path.as_path(), flags, ResolveFlags::BENEATH) {
            // An absolute link counts as leaving, even if it leads back; or the call is not to be had.
            Err(Errno::XDEV | Errno::NOSYS | Errno::PERM) => {
                let real = fs::canonicalize(path.below(&self.path))?;
                let Ok(relative) = real.strip_prefix(&self.real) else {
                    return Err(Errno::XDEV.into());
                };
                let flags = flags | OFlags::NOFOLLOW;
                Ok(rustix::fs::openat(&self.folder, relative, flags, Mode::empty())?)
            }
            opened => Ok(opened?),
        }
    }

    /// The stat of what the path leads to, links followed.
    pub(super) fn stat_through_links(&self, path: &VaultPath) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.folder, path.as_path(), AtFlags::empty())?)
    }

    fn open_beneath(
        &self,
        path: &Path,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), resolve) {
                // Something in the path was renamed meanwhile, so the kernel cannot vouch for "beneath".
                Err(Errno::AGAIN | Errno::INTR) if tries < 10 => tries += 1,
                opened => return opened,
            }
        }
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

/// The open folder of the last file that was asked for. Files come in path order, so the next one mostly lies in the
/// same folder, and looking a name up in an open folder saves the walk down to it.
pub(super) struct Neighbours<'a> {
    root: &'a Root,
    last: Option<(PathBuf, OwnedFd)>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(root: &'a Root) -> Neighbours<'a> {
        Neighbours { root, last: None }
    }

    /// The open folder that holds the file at `path`, and the file's name in it.
    pub(super) fn folder_of<'p>(
        &mut self,
        path: &'p VaultPath,
    ) -> io::Result<(&OwnedFd, &'p OsStr)> {
        let (folder, name) = split(path);
        if self.last.as_ref().is_none_or(|(last, _)| last.as_os_str() != folder.as_os_str()) {
            self.last = None;
            self.last = Some((folder.to_owned(), self.root.open_folder(folder)?));
        }
        Ok((&self.last.as_ref().expect("set above").1, name))
    }
}

/// Something below the root that could not be scanned: the blocks it may hold are unknown, not gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanFault {
    /// The file or folder.
    pub path: VaultPath,
    /// Whether it is a folder: everything below it is unknown.
    pub is_folder: bool,
    /// What is wrong with it, and what to do about it.
    pub kind: FaultKind,
}

/// What is wrong with a file or folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The content is not text.
    #[error("not UTF-8 at byte {offset}: save it as UTF-8")]
    NotUtf8 {
        /// Offset of the first byte that cannot be read.
        offset: u64,
    },
    /// The file is larger than [`FILE_BYTES_MAX`](super::FILE_BYTES_MAX).
    #[error("{bytes} bytes are more than the {} MiB a note may have: split it", super::FILE_BYTES_MAX >> 20)]
    TooLarge {
        /// Its size.
        bytes: u64,
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
    #[error("cannot {verb}: {cause}{}", if *.denied { ": give this user the right to read it" } else { "" })]
    Io {
        /// What was tried: open, read, list.
        verb: &'static str,
        /// What the system said.
        cause: String,
        /// Whether it is a matter of permissions.
        denied: bool,
    },
}

impl FaultKind {
    pub(super) fn io(verb: &'static str, error: &io::Error) -> FaultKind {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        FaultKind::Io { verb, cause: error.to_string(), denied }
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
