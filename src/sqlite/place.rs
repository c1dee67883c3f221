//! Whose a folder or file is, asked before it is used: this user's (or root's) alone, no link, without a second name. Such
//! a folder cannot be changed by anybody else between the check and the opening.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Access, AtFlags, CWD, OFlags, RenameFlags};
use rustix::io::Errno;

/// Whether this user can make files in a folder, as far as can be told without making one. To root every folder is
/// writable, also those in which the kernel shows itself and nothing can be made.
pub(crate) fn may_make_in(folder: &Path) -> io::Result<()> {
    /// `f_type` of proc, sysfs, cgroup, cgroup2, devpts, securityfs, debugfs, tracefs.
    const OF_THE_KERNEL: [u32; 8] = [
        0x9FA0,
        0x6265_6572,
        0x0027_E0EB,
        0x6367_7270,
        0x1CD1,
        0x7363_6673,
        0x6462_6720,
        0x7472_6163,
    ];
    rustix::fs::accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
    let kind = rustix::fs::statfs(folder)?.f_type as u32;
    if OF_THE_KERNEL.contains(&kind) {
        return Err(io::Error::other("the kernel shows itself there, and nothing can be made"));
    }
    Ok(())
}

/// Why a folder or file is not used.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The system refuses what was tried: the verb, and what the system said.
    System {
        /// The folder or file.
        path: PathBuf,
        /// "create", "open", ...
        verb: &'static str,
        /// The words of the system.
        error: io::Error,
    },
    /// The place is not this user's alone.
    NotOurs {
        /// The folder or file.
        path: PathBuf,
        /// The fault.
        what: String,
        /// The remedy.
        remedy: String,
    },
}

impl Denied {
    fn system(path: &Path, verb: &'static str, error: impl Into<io::Error>) -> Denied {
        Denied::System { path: path.to_owned(), verb, error: error.into() }
    }

    fn not_ours(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Denied {
        Denied::NotOurs { path: path.to_owned(), what: what.into(), remedy: remedy.into() }
    }
}

/// How strictly the folder of a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    /// Nobody else may write in it.
    Private,
    /// Others may, where the sticky bit keeps each from the others' files, as in `/tmp`.
    MayBeShared,
}

/// Makes the folder (mode 0700, with its parents) where it is missing, and checks that it is ours.
pub(crate) fn make_folder(dir: &Path, kind: Folder) -> Result<(), Denied> {
    // The mode is for folders made here. One that is there keeps its mode.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Denied::system(dir, "create", error))?;
    if kind == Folder::Private {
        close_fresh_mount(dir).map_err(|error| Denied::system(dir, "keep others out of", error))?;
    }
    check_folder(dir, kind)
}

/// A file system that was mounted a moment ago may be open to all, as a tmpfs is. While it is empty, nobody else has put
/// anything into it: then it is closed to others. Any other folder that others may write to is left, and refused.
fn close_fresh_mount(dir: &Path) -> io::Result<()> {
    let folder = fs::symlink_metadata(dir)?;
    let is_open = folder.is_dir() && folder.mode() & 0o022 != 0;
    if !is_open || folder.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let is_mount = fs::symlink_metadata(dir.join(".."))?.dev() != folder.dev();
    if is_mount && fs::read_dir(dir)?.next().is_none() {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        crate::logging::info!(folder = dir.display().to_string().as_str(); "an empty file system that was open to all is closed to others");
    }
    Ok(())
}

/// Checks that a folder which is there is ours alone. The folder may be named by a link, if the link is ours too.
pub(crate) fn check_folder(dir: &Path, kind: Folder) -> Result<(), Denied> {
    let look = |error| Denied::system(dir, "look at", error);
    let link = fs::symlink_metadata(dir).map_err(look)?;
    let folder = fs::metadata(dir).map_err(look)?;
    if !folder.is_dir() {
        return Err(Denied::system(dir, "open", io::Error::from(io::ErrorKind::NotADirectory)));
    }
    if link.is_symlink() {
        check_owner(dir, &link)?;
    }
    let is_shared = kind == Folder::MayBeShared && folder.mode() & 0o1000 != 0;
    if !is_shared {
        check_owner(dir, &folder)?;
        check_mode(dir, &folder)?;
    }
    Ok(())
}

/// Opens a file of ours to read and write, creating it for its owner alone; follows no link and truncates nothing. Not
/// for a database: see [`make_database`].
pub(crate) fn make_file(path: &Path) -> Result<File, Denied> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(CAREFULLY)
        .open(path)
        .map_err(|error| unopened(path, error))?;
    let metadata = check_open(path, &file)?;
    if metadata.mode() & 0o077 != 0 {
        // Best effort: a file of root's that may be written keeps its mode.
        let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
    }
    Ok(file)
}

/// Sees to it that a database file of ours is there, for its owner alone.
///
/// A database that is there is not opened for that. SQLite's locks belong to the process, and the system gives all of
/// them back when the process closes any descriptor of the file: another program would then take the file for unused,
/// and remove its log.
pub(crate) fn make_database(path: &Path) -> Result<(), Denied> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => {
            check_metadata(path, &metadata)?;
            let access = Access::READ_OK | Access::WRITE_OK;
            rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS)
                .map_err(|error| Denied::system(path, "open", error))?;
            if metadata.mode() & 0o077 != 0 {
                // Best effort, as in `make_file`.
                let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_new_database(path),
        Err(error) => Err(Denied::system(path, "look at", error)),
    }
}

/// The new file takes its name when it is closed: another thread may open and lock it in the same moment.
fn make_new_database(path: &Path) -> Result<(), Denied> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let fresh = beside(path, &format!(".new-{}-{number}", std::process::id()));
    let create = |path: &Path| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(CAREFULLY).open(path)
    };
    create(&fresh).map_err(|error| Denied::system(path, "create", error))?;
    let renamed = rustix::fs::renameat_with(CWD, &fresh, CWD, path, RenameFlags::NOREPLACE);
    if renamed.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    match renamed {
        Ok(()) => Ok(()),
        // Somebody else was faster.
        Err(Errno::EXIST) => check_files(path),
        // A file system that cannot do that.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Denied::system(path, "create", error))
            }
            _ => check_files(path),
        },
        Err(error) => Err(Denied::system(path, "create", error)),
    }
}

/// Whether this user may read a file, which is not opened to find out: see [`make_database`].
pub(crate) fn may_read(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)?)
}

/// Opens a file that is there, to read it; follows no link and waits for nobody. Not for a database: see
/// [`make_database`].
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(CAREFULLY).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Opening a link fails, opening a FIFO does not wait.
const CAREFULLY: i32 = (OFlags::NOFOLLOW.bits() | OFlags::NONBLOCK.bits()) as i32;

fn unopened(path: &Path, error: io::Error) -> Denied {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        is_a_link(path)
    } else {
        Denied::system(path, "open", error)
    }
}

fn is_a_link(path: &Path) -> Denied {
    Denied::not_ours(
        path,
        "it is a link to another place",
        "remove the link, or name the place it leads to",
    )
}

/// Checks that a folder of ours inside another one is no link.
pub(crate) fn check_no_link(path: &Path) -> Result<(), Denied> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(is_a_link(path)),
        _ => Ok(()),
    }
}

/// Checks the database file and the files that SQLite keeps beside it, those that are there.
pub(crate) fn check_files(path: &Path) -> Result<(), Denied> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = beside(path, suffix);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => check_metadata(&path, &metadata)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Denied::system(&path, "look at", error)),
        }
    }
    Ok(())
}

fn check_open(path: &Path, file: &File) -> Result<Metadata, Denied> {
    let metadata = file.metadata().map_err(|error| Denied::system(path, "look at", error))?;
    check_metadata(path, &metadata)?;
    Ok(metadata)
}

fn check_metadata(path: &Path, metadata: &Metadata) -> Result<(), Denied> {
    if metadata.is_symlink() {
        return Err(is_a_link(path));
    }
    if !metadata.is_file() {
        return Err(Denied::not_ours(path, "it is not a file", "remove it"));
    }
    check_owner(path, metadata)?;
    if metadata.nlink() > 1 {
        let find = format!("find the others with `find / -xdev -inum {}`", metadata.ino());
        return Err(Denied::not_ours(
            path,
            format!(
                "it has {} names (hard links), so another place changes with it",
                metadata.nlink()
            ),
            format!("{find} and remove this one or those"),
        ));
    }
    check_mode(path, metadata)
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), Denied> {
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() == me || metadata.uid() == 0 {
        return Ok(());
    }
    Err(Denied::not_ours(
        path,
        format!("it belongs to user {}, and this program runs as user {me}", metadata.uid()),
        format!(
            "run it as that user (`sudo -u '#{}' ...`), or give all of it to this one",
            metadata.uid()
        ),
    ))
}

fn check_mode(path: &Path, metadata: &Metadata) -> Result<(), Denied> {
    if metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Denied::not_ours(
        path,
        format!("other users may write to it (mode {:04o})", metadata.mode() & 0o7777),
        format!("chmod go-w {}", path.display()),
    ))
}

/// `state.db` and `-wal`: `state.db-wal`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
