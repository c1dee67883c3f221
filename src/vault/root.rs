//! The vault's root folder, held open, and every way from it to a folder or file below.
//!
//! Names are looked up from the open folder downwards and symbolic links on the way are refused by the kernel, so a
//! folder that is replaced by a link while the vault is scanned cannot lead out of it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::fault::VaultError;
use super::file::split;
use crate::block::VaultPath;

/// The open root folder of a vault. A clone is the same open folder.
#[derive(Clone, Debug)]
pub struct Root {
    path: PathBuf,
    /// The path without symbolic links.
    real: PathBuf,
    folder: Arc<OwnedFd>,
    identity: (u64, u64),
    /// Do without `openat2`.
    is_kernel_old: bool,
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
        let folder = Arc::new(folder);
        Ok(Root { path: path.to_owned(), real, folder, identity, is_kernel_old: false })
    }

    /// The same as it is on a kernel that has no `openat2`.
    #[cfg(test)]
    pub(super) fn on_an_old_kernel(self) -> Root {
        Root { is_kernel_old: true, ..self }
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
        rustix::fs::fstatfs(&self.folder).is_ok_and(|stat| is_network(&stat))
    }

    /// Opens a folder below the root to look up names in it. The empty path is the root itself. Symbolic links on the
    /// way are refused.
    pub(super) fn open_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(self.open_without_links(path, flags)?)
    }

    /// Opens a file that is reached by symbolic links, all of which stay in the vault.
    pub(super) fn open_through_links(
        &self,
        path: &VaultPath,
        flags: OFlags,
    ) -> io::Result<OwnedFd> {
        match self.open_beneath(path.as_path(), flags, ResolveFlags::BENEATH) {
            // An absolute link counts as leaving, even if it leads back; or the call is not to be had. What the path
            // leads to now is opened by its own path, so a link that is put there meanwhile is refused.
            Err(Errno::XDEV | Errno::NOSYS | Errno::PERM) => {
                let real = fs::canonicalize(path.below(&self.path))?;
                let Ok(relative) = real.strip_prefix(&self.real) else {
                    return Err(Errno::XDEV.into());
                };
                Ok(self.open_without_links(relative, flags | OFlags::NOFOLLOW)?)
            }
            opened => Ok(opened?),
        }
    }

    /// The stat of what the path leads to, links followed as far as they stay in the vault.
    pub(super) fn stat_through_links(&self, path: &VaultPath) -> io::Result<Stat> {
        let file = self.open_through_links(path, OFlags::PATH | OFlags::CLOEXEC)?;
        Ok(rustix::fs::fstat(file)?)
    }

    /// Opens what is below the root, refusing symbolic links on the way.
    fn open_without_links(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match self.open_beneath(path, flags, resolve) {
            // A kernel before 5.6, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.open_name_by_name(path, flags),
            opened => opened,
        }
    }

    /// The same where the kernel cannot refuse links on the whole way: each folder is opened from the one before it.
    fn open_name_by_name(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut names = path.components().peekable();
        let mut folder: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            let name = match name {
                Component::Normal(name) => name,
                Component::CurDir => OsStr::new("."),
                _ => return Err(Errno::XDEV),
            };
            let flags = if names.peek().is_some() { way } else { flags | OFlags::NOFOLLOW };
            let from = folder.as_ref().unwrap_or(&self.folder);
            folder = Some(rustix::fs::openat(from, name, flags, Mode::empty())?);
        }
        folder.ok_or(Errno::NOENT)
    }

    fn open_beneath(
        &self,
        path: &Path,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> rustix::io::Result<OwnedFd> {
        if self.is_kernel_old {
            return Err(Errno::NOSYS);
        }
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

/// Whether a path lies on such a file system.
pub(crate) fn lies_on_network(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| is_network(&stat))
}

fn is_network(stat: &rustix::fs::StatFs) -> bool {
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
    NETWORK.contains(&(stat.f_type as u32))
}
