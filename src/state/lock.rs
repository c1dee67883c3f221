//! Locked files that tell live processes from dead ones: the kernel gives a lock back however its process ends.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};

use super::{StateError, create_file, create_folder, identity};
use crate::clock::{Clock, SystemClock};

/// The process that holds a lock, as it wrote itself down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; `None` in the moment between taking the lock and writing it down.
    pub pid: Option<u32>,
    /// When it took the lock.
    pub since: Option<DateTime<Utc>>,
}

impl Holder {
    fn read(file: &mut File) -> Holder {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.take(200).read_to_string(&mut text));
        let mut words = text.split_whitespace();
        Holder {
            pid: read.is_ok().then(|| words.next()?.parse().ok()).flatten(),
            since: words.next().and_then(|since| since.parse().ok()),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => write!(f, "another process")?,
        }
        match self.since {
            Some(since) => {
                write!(f, " since {}", since.to_rfc3339_opts(SecondsFormat::Secs, true))
            }
            None => Ok(()),
        }
    }
}

/// The right to be the daemon of a state folder; given back when dropped, and by the kernel when the process dies.
#[derive(Debug)]
pub struct DaemonLock {
    path: PathBuf,
    file: File,
    holder: Holder,
}

impl DaemonLock {
    /// Takes the lock, or names the daemon that has it.
    pub fn take(dir: &Path) -> Result<DaemonLock, StateError> {
        create_folder(dir)?;
        let path = dir.join("daemon.lock");
        let mut file = create_file(&path)?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    let holder = sign(&mut file, &path)?;
                    return Ok(DaemonLock { path, file, holder });
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

    /// The daemon that runs on this state folder now, if one does.
    pub fn holder(dir: &Path) -> Option<Holder> {
        let mut file = File::open(dir.join("daemon.lock")).ok()?;
        // A shared lock: two who look at the same moment do not take each other for the daemon.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(Holder::read(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// Whether another daemon would still be kept out: the file is where it was.
    pub fn is_in_place(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// Process id and start time of this process, as the lock tells them.
    pub fn me(&self) -> &Holder {
        &self.holder
    }
}

/// Writes pid and time into a lock file whose lock is held.
fn sign(file: &mut File, path: &Path) -> Result<Holder, StateError> {
    let holder =
        Holder { pid: Some(std::process::id()), since: Some(SystemClock.now().trunc_subsecs(0)) };
    let since = holder.since.map(|since| since.to_rfc3339_opts(SecondsFormat::Secs, true));
    let text = format!("{} {}\n", std::process::id(), since.unwrap_or_default());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(|error| StateError::io(path, "write", &error))?;
    Ok(holder)
}

/// The sign of life of a process that runs jobs: a locked file in `owners/`. A run whose owner's lock is free was cut
/// off. The file goes when this is dropped; the lock goes with the process, however it ends.
#[derive(Debug)]
pub struct Owner {
    id: String,
    path: PathBuf,
    file: File,
}

impl Owner {
    /// Signs this process on.
    pub fn sign_on(dir: &Path) -> Result<Owner, StateError> {
        let owners = dir.join("owners");
        create_folder(&owners)?;
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
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether others can still see that this process lives: the file is where it was.
    pub fn is_in_place(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// Who holds the lock of `id`; `None` when that process is gone.
    pub fn holder(dir: &Path, id: &str) -> Option<Holder> {
        let mut file = File::open(dir.join("owners").join(format!("{id}.lock"))).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(Holder::read(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// Removes what processes that died have left in `owners/`.
    pub fn sweep(dir: &Path) {
        let Ok(entries) = fs::read_dir(dir.join("owners")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(file) = File::open(&path) else { continue };
            // Shared, so that no one who looks at the same moment takes the dead for alive.
            if file.try_lock_shared().is_ok() {
                let _ = fs::remove_file(&path);
            }
        }
    }
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
        assert_eq!(DaemonLock::holder(temp.path()), None);
        let first = DaemonLock::take(temp.path()).unwrap();
        let error = DaemonLock::take(temp.path()).unwrap_err().to_string();
        let me = format!("in use by process {} since 20", std::process::id());
        assert!(error.contains(&me), "{error}");
        assert_eq!(DaemonLock::holder(temp.path()).as_ref(), Some(first.me()));
        drop(first);
        assert_eq!(DaemonLock::holder(temp.path()), None);
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
        // What a process leaves that was killed: a file without a lock.
        fs::write(temp.path().join("owners/1-1.lock"), "1 2026-01-01T00:00:00Z\n").unwrap();
        Owner::sweep(temp.path());
        assert!(!temp.path().join("owners/1-1.lock").exists());
        assert_eq!(Owner::holder(temp.path(), two.id()).unwrap().pid, Some(std::process::id()));
    }
}
