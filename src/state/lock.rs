//! Locked files that tell live processes from dead ones: the kernel gives a lock back however its process ends.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::error::StateError;
use super::folder::{create_file, create_folder};
use super::holder::Holder;
use crate::clock::{Clock, SystemClock};
use crate::sqlite::{self, Folder, identity};
use crate::text;

/// The lock file of the daemon.
const DAEMON: &str = "daemon.lock";

/// The folder of the lock files of processes that run jobs.
const OWNERS: &str = "owners";

/// The right to be the daemon of a state folder; given back when dropped, and by the kernel when the process dies.
#[derive(Debug)]
pub(crate) struct DaemonLock {
    path: PathBuf,
    file: File,
}

impl DaemonLock {
    /// Takes the lock, or names the daemon that has it.
    pub(crate) fn take(dir: &Path) -> Result<DaemonLock, StateError> {
        create_folder(dir)?;
        let path = dir.join(DAEMON);
        let mut file = create_file(&path)?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    sign(&mut file, &path)?;
                    return Ok(DaemonLock { path, file });
                }
                // Someone may only be looking (`holder` below), which takes microseconds.
                Err(TryLockError::WouldBlock) if tries < 5 => {
                    tries += 1;
                    SystemClock.wait(Duration::from_millis(20), &|| false);
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = Holder::read(&mut file);
                    return Err(StateError::InUse { dir: dir.to_owned(), holder });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(StateError::io(&path, "lock", &error));
                }
            }
        }
    }

    /// The daemon that runs on this state folder now, if one does. An error where this user may not look.
    pub(crate) fn holder(dir: &Path) -> Result<Option<Holder>, StateError> {
        let path = dir.join(DAEMON);
        let mut file = match sqlite::open_file(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(StateError::unreadable(&path, &error));
            }
            Err(_) => return Ok(None),
        };
        // A shared lock: two who look at the same moment do not take each other for the daemon.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Ok(Some(Holder::read(&mut file))),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// Whether another daemon would still be kept out: the file is where it was.
    pub(crate) fn is_in_place(&self) -> bool {
        is_at(&self.file, &self.path)
    }
}

/// Writes pid and time into a lock file whose lock is held.
fn sign(file: &mut File, path: &Path) -> Result<(), StateError> {
    let text = format!("{} {}\n", std::process::id(), text::instant(SystemClock.now()));
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(|error| StateError::io(path, "write", &error))
}

/// The sign of life of a process that runs jobs: a locked file in `owners/`. A run whose owner's lock is free was cut
/// off. The file goes when this is dropped; the lock goes with the process, however it ends.
#[derive(Debug)]
pub(crate) struct Owner {
    id: String,
    path: PathBuf,
    file: File,
}

impl Owner {
    /// Signs this process on.
    pub(crate) fn sign_on(dir: &Path) -> Result<Owner, StateError> {
        let owners = dir.join(OWNERS);
        create_folder(&owners)?;
        check_owners(&owners)?;
        loop {
            // Two containers on one state folder may have the same pid: the time keeps them apart.
            let id = format!("{}-{}", std::process::id(), SystemClock.now().timestamp_micros());
            let path = owners.join(format!("{id}.lock"));
            let mut file = create_file(&path)?;
            match file.try_lock() {
                // `sweep` of another process may have removed the file between the two steps above.
                Ok(()) if is_at(&file, &path) => {
                    sign(&mut file, &path)?;
                    return Ok(Owner { id, path, file });
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(StateError::io(&path, "lock", &error));
                }
            }
        }
    }

    /// The name written into this process's runs.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether others can still see that this process lives: the file is where it was.
    pub(crate) fn is_in_place(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// The holder of the lock of `id`; `None` when that process is gone. Where this user may not look, it counts as alive.
    pub(crate) fn holder(dir: &Path, id: &str) -> Option<Holder> {
        let unknown = Holder { pid: None, since: None };
        let name = format!("{id}.lock");
        // The state file may say anything; nothing but a lock of ours is opened on its word.
        if !is_lock_name(name.as_bytes()) {
            return None;
        }
        let mut file = match sqlite::open_file(&dir.join(OWNERS).join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Some(unknown),
            Err(_) => return None,
        };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(Holder::read(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// Removes what processes that died have left in `owners/`: files with names of our making, that are this user's
    /// own and no links. All goes by the folder's handle, so nothing elsewhere can be meant.
    pub(crate) fn sweep(dir: &Path) {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let Ok(owners) = rustix::fs::open(dir.join(OWNERS), flags, Mode::empty()) else { return };
        let Ok(mut entries) = rustix::fs::Dir::read_from(&owners) else { return };
        let me = rustix::process::geteuid().as_raw();
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RDONLY;
        while let Some(Ok(entry)) = entries.read() {
            let name = entry.file_name();
            if !is_lock_name(name.to_bytes()) {
                continue;
            }
            let Ok(file) = rustix::fs::openat(&owners, name, flags, Mode::empty()) else {
                continue;
            };
            let file = File::from(file);
            let is_ours = file.metadata().is_ok_and(|metadata| {
                metadata.is_file() && metadata.uid() == me && metadata.nlink() == 1
            });
            // Shared, so that no one who looks at the same moment takes the dead for alive.
            if is_ours && file.try_lock_shared().is_ok() {
                let _ = rustix::fs::unlinkat(&owners, name, AtFlags::empty());
            }
        }
    }
}

/// Whether [`Owner::sign_on`] makes names like this one: process id, dash, microseconds.
fn is_lock_name(name: &[u8]) -> bool {
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let parts = name.strip_suffix(b".lock").and_then(|stem| {
        let dash = stem.iter().position(|byte| *byte == b'-')?;
        Some((&stem[..dash], &stem[dash + 1..]))
    });
    parts.is_some_and(|(pid, time)| is_number(pid) && is_number(time))
}

/// Says what stands in the way of taking the locks, without changing anything.
pub(super) fn examine(dir: &Path) -> Result<(), StateError> {
    for name in [DAEMON, super::alive::FILE] {
        sqlite::check_files(&dir.join(name))?;
    }
    let owners = dir.join(OWNERS);
    match fs::symlink_metadata(&owners) {
        Ok(_) => check_owners(&owners),
        Err(_) => Ok(()),
    }
}

fn check_owners(owners: &Path) -> Result<(), StateError> {
    sqlite::check_no_link(owners)?;
    Ok(sqlite::check_folder(owners, Folder::Private)?)
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether `file` is still what `path` names.
fn is_at(file: &File, path: &Path) -> bool {
    let open = file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    open.is_some() && open == identity(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_daemon_hears_who_the_first_is() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(DaemonLock::holder(temp.path()).unwrap(), None);
        let first = DaemonLock::take(temp.path()).unwrap();
        let error = DaemonLock::take(temp.path()).unwrap_err().to_string();
        let me = format!("in use by process {} since 20", std::process::id());
        assert!(error.contains(&me), "{error}");
        let holder = DaemonLock::holder(temp.path()).unwrap().unwrap();
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.since.is_some(), "{holder:?}");
        drop(first);
        assert_eq!(DaemonLock::holder(temp.path()).unwrap(), None);
        DaemonLock::take(temp.path()).unwrap();
    }

    #[test]
    fn an_owner_is_known_while_it_lives() {
        let temp = tempfile::tempdir().unwrap();
        let (one, two) =
            (Owner::sign_on(temp.path()).unwrap(), Owner::sign_on(temp.path()).unwrap());
        assert_ne!(one.id(), two.id());
        let gone = one.id().to_owned();
        drop(one);
        assert_eq!(Owner::holder(temp.path(), &gone), None);
        // The remains of a process that was killed: a file without a lock.
        fs::write(temp.path().join("owners/1-1.lock"), "1 2026-01-01T00:00:00Z\n").unwrap();
        Owner::sweep(temp.path());
        assert!(!temp.path().join("owners/1-1.lock").exists());
        assert_eq!(Owner::holder(temp.path(), two.id()).unwrap().pid, Some(std::process::id()));
        let roundabout = format!("../owners/{}", two.id());
        assert_eq!(Owner::holder(temp.path(), &roundabout), None, "no way around");
    }

    #[test]
    fn only_our_own_dead_locks_are_swept() {
        let temp = tempfile::tempdir().unwrap();
        let owners = temp.path().join("owners");
        fs::create_dir(&owners).unwrap();
        let elsewhere = temp.path().join("7-7.lock");
        fs::write(&elsewhere, "precious").unwrap();
        let kept = [
            "alice.csv",
            "notes.lock",
            "1-.lock",
            "-1.lock",
            "1-1-1.lock",
            "1-1.lock.bak",
            "x1-1.lock",
        ];
        for name in kept {
            fs::write(owners.join(name), "precious").unwrap();
        }
        std::os::unix::fs::symlink(&elsewhere, owners.join("2-2.lock")).unwrap();
        fs::hard_link(&elsewhere, owners.join("3-3.lock")).unwrap();
        fs::create_dir(owners.join("4-4.lock")).unwrap();
        fs::write(owners.join("5-5.lock"), "").unwrap();
        Owner::sweep(temp.path());
        assert!(!owners.join("5-5.lock").exists());
        for name in kept.into_iter().chain(["2-2.lock", "3-3.lock", "4-4.lock"]) {
            assert!(owners.join(name).exists(), "{name}");
        }
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
        // A folder of someone else's behind a link of that name.
        let link = temp.path().join("linked");
        fs::create_dir(&link).unwrap();
        fs::write(owners.join("5-5.lock"), "").unwrap();
        std::os::unix::fs::symlink(&owners, link.join("owners")).unwrap();
        Owner::sweep(&link);
        assert!(owners.join("5-5.lock").exists());
        let error = Owner::sign_on(&link).unwrap_err().to_string();
        assert!(error.contains("it is a link") && error.contains("--state-dir"), "{error}");
    }

    #[test]
    fn a_lock_file_that_is_a_link_is_refused_and_what_it_names_stays_whole() {
        let temp = tempfile::tempdir().unwrap();
        let precious = temp.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let dir = temp.path().join("state");
        create_folder(&dir).unwrap();
        std::os::unix::fs::symlink(&precious, dir.join(DAEMON)).unwrap();
        let error = DaemonLock::take(&dir).unwrap_err().to_string();
        assert!(error.contains("it is a link") && error.contains("--state-dir"), "{error}");
        assert_eq!(DaemonLock::holder(&dir).unwrap(), None);
        fs::remove_file(dir.join(DAEMON)).unwrap();
        fs::hard_link(&precious, dir.join(DAEMON)).unwrap();
        let error = DaemonLock::take(&dir).unwrap_err().to_string();
        assert!(error.contains("2 names"), "{error}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
