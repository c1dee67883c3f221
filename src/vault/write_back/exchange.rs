//! Puts new bytes in a note's place, in one step, and undoes that if someone saved the note in the same moment.
//!
//! The new bytes are written under a hidden name beside the note, with the note's mode, owner and extended attributes,
//! and brought to the disk. Then the two names are exchanged. From that moment the hidden name may hold what a person
//! has just saved. So nothing is removed there unless it is proved to be the bytes that were read, or our own: by the
//! file's number and by its bytes, through handles that were opened before. Everything else goes back in the note's
//! place, or gets a visible name.
//!
//! | meanwhile | in the note's place | kept as `NAME.sync-conflict-aclarai-1.md` |
//! |---|---|---|
//! | nothing | the new numbers | |
//! | one save, or another thing in the note's place | that | |
//! | two saves | the second | the first |
//! | the disk fails between the steps | the note as it was read, else the new numbers | what cannot be proved |
//!
//! A file of the hidden name that a power cut leaves behind is looked after by the next run ([`Place::recover`]).

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, Dir, Gid, Mode, OFlags, RenameFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use super::super::read::Digest;

/// How the hidden name begins under which new bytes are prepared: never a note, so it may be replaced.
const PREPARED: &str = ".aclarai-new-";

/// How the hidden name begins that is exchanged with the note: it may hold the only copy of a person's work.
const EXCHANGED: &str = ".aclarai-swap-";

/// Longest file name on Linux.
const NAME_BYTES_MAX: usize = 255;

/// How many versions of one note may be kept beside it.
const KEPT_MAX: u32 = 99;

/// Whether a hidden name is one that a write-back has left behind.
pub(in super::super) fn is_left_over(name: &[u8]) -> bool {
    name.starts_with(PREPARED.as_bytes()) || name.starts_with(EXCHANGED.as_bytes())
}

/// A hidden name for the note `name`: of one length, however long the note's own name is.
fn hidden(begin: &str, name: &OsStr) -> OsString {
    OsString::from(format!("{begin}{:016x}", xxh3_64(name.as_bytes())))
}

/// The name of the note to which the left-over `hidden` belongs. If no such note is left, a name of the same kind.
pub(super) fn note_of_left_over(folder: &OwnedFd, hidden_name: &OsStr) -> io::Result<OsString> {
    let hidden_bytes = hidden_name.as_bytes();
    for entry in Dir::read_from(open_to_read(folder)?)? {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if [PREPARED, EXCHANGED].iter().any(|begin| hidden(begin, &name).as_bytes() == hidden_bytes)
        {
            return Ok(name);
        }
    }
    Ok(OsString::from_vec(hidden_bytes.to_vec()))
}

fn open_to_read(folder: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(folder, ".", flags, Mode::empty())
}

/// An open file and the digest of the bytes it should hold.
pub(super) struct Held {
    file: File,
    stat: Stat,
    digest: Digest,
}

impl Held {
    pub(super) fn stat(&self) -> &Stat {
        &self.stat
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether the file still holds those bytes.
    fn is_untouched(&self) -> bool {
        let mut hasher = Xxh3::new();
        let mut buffer = vec![0; 64 << 10];
        let mut at = 0;
        loop {
            match rustix::io::pread(&self.file, &mut buffer[..], at) {
                Ok(0) => return Digest(hasher.digest128()) == self.digest,
                Ok(length) => {
                    hasher.update(&buffer[..length]);
                    at += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}

/// The outcome of putting new bytes in a note's place.
pub(super) enum Put {
    Done,
    Left(&'static str),
    Kept(String),
}

/// A note by its open folder and its name there. As long as this lives, no other run writes in the folder.
pub(super) struct Place<'a> {
    folder: &'a OwnedFd,
    /// The same folder, locked; also that by which it is brought to the disk.
    locked: File,
    name: &'a OsStr,
    prepared: OsString,
    exchanged: OsString,
}

impl<'a> Place<'a> {
    /// `None`: another run writes in the folder.
    pub(super) fn take(folder: &'a OwnedFd, name: &'a OsStr) -> io::Result<Option<Place<'a>>> {
        let locked = File::from(open_to_read(folder)?);
        match locked.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let (prepared, exchanged) = (hidden(PREPARED, name), hidden(EXCHANGED, name));
        Ok(Some(Place { folder, locked, name, prepared, exchanged }))
    }

    /// Opens the note and reads it, if it is a file of `size` bytes.
    pub(super) fn open_note(&self, size: u64) -> rustix::io::Result<Option<(Held, Vec<u8>)>> {
        let Some((file, stat)) = self.open_file(self.name)? else { return Ok(None) };
        if u64::try_from(stat.st_size) != Ok(size) {
            return Ok(None);
        }
        let bytes = read(&file, &stat)?;
        let digest = Digest(xxh3_128(&bytes));
        Ok(Some((Held { file, stat, digest }, bytes)))
    }

    /// Opens a regular file, without waiting for the writer of a FIFO.
    fn open_file(&self, name: &OsStr) -> rustix::io::Result<Option<(File, Stat)>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(self.folder, name, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file().then_some((file, stat)))
    }

    /// Puts `bytes` in the place of the note, which was opened and read as `old`.
    pub(super) fn put(&self, old: Held, bytes: &[u8]) -> io::Result<Put> {
        if self.exists(&self.exchanged) {
            return Ok(Put::Left(
                "an earlier write to it was cut short: the next run looks after that first",
            ));
        }
        let prepared = self.prepare(&old, bytes);
        let ours = match prepared {
            Ok(Ok(ours)) => ours,
            Ok(Err(why)) => {
                self.remove(&self.prepared)?;
                return Ok(Put::Left(why));
            }
            Err(error) => {
                let _ = self.remove(&self.prepared);
                return Err(error);
            }
        };
        rustix::fs::renameat(self.folder, &*self.prepared, self.folder, &*self.exchanged)?;
        match self.exchange() {
            Ok(()) => self.after_exchange(&old, &ours),
            // A file system of another process or machine may exchange the two, and lose the answer.
            Err(_) if !self.is_hidden_name_of(&ours) => self.after_exchange(&old, &ours),
            Err(error) => {
                self.discard(&ours)?;
                match error {
                    Errno::INVAL | Errno::NOSYS | Errno::NOTSUP => Ok(Put::Left(
                        "its file system cannot exchange two files in one step, so that a save in the same moment might be \
                         lost",
                    )),
                    Errno::NOENT => Ok(Put::Left("it was removed in the same moment")),
                    error => Err(error.into()),
                }
            }
        }
    }

    /// Decides what becomes of what the note's name held, which has the hidden name now.
    fn after_exchange(&self, old: &Held, ours: &Held) -> io::Result<Put> {
        let synced = self.sync_folder();
        if synced.is_ok() && self.is_hidden_name_of(old) {
            return self.discarded(old, Put::Done);
        }
        // Somebody saved the note in the last moment: their version goes back in its place.
        if self.undo() {
            if !self.exists(&self.exchanged) {
                let _ = self.sync_folder();
                return Ok(Put::Left("it was removed in the same moment"));
            }
            if self.is_hidden_name_of(ours) {
                let put = self.discarded(ours, Put::Left("it was saved in the same moment"))?;
                synced?;
                return Ok(put);
            }
            // Somebody saved it once more, between the two steps: the newer version is the one that was moved away.
            let _ = self.exchange();
        }
        for proved in [old, ours] {
            if self.is_hidden_name_of(proved) {
                let put =
                    self.discarded(proved, Put::Left("it was saved twice in the same moment"))?;
                synced?;
                return Ok(put);
            }
        }
        let kept = self.keep();
        let _ = self.sync_folder();
        Ok(Put::Kept(format!(
            "it was saved in the same moment as the versions in its markers: what was in its place is kept as {}: \
             compare the two and remove one",
            shown(&kept)
        )))
    }

    /// Discards what the hidden name holds and is proved to be `held`: `put`, unless something was written to it late.
    fn discarded(&self, held: &Held, put: Put) -> io::Result<Put> {
        Ok(match self.discard(held)? {
            None => put,
            Some(kept) => saved_late(&kept),
        })
    }

    fn exchange(&self) -> rustix::io::Result<()> {
        let (folder, flags) = (self.folder, RenameFlags::EXCHANGE);
        rustix::fs::renameat_with(folder, &*self.exchanged, folder, self.name, flags)
    }

    /// Exchanges the two once more. True if what was moved away is in its place again.
    fn undo(&self) -> bool {
        match self.exchange() {
            Ok(()) => true,
            // Nothing is in the note's place any more.
            Err(Errno::NOENT) => rustix::fs::renameat_with(
                self.folder,
                &*self.exchanged,
                self.folder,
                self.name,
                RenameFlags::NOREPLACE,
            )
            .is_ok(),
            Err(_) => false,
        }
    }

    fn exists(&self, name: &OsStr) -> bool {
        let stat = rustix::fs::statat(self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
        !matches!(stat, Err(Errno::NOENT))
    }

    /// Whether the hidden name leads to this file, and the file holds what it should.
    fn is_hidden_name_of(&self, held: &Held) -> bool {
        rustix::fs::statat(self.folder, &*self.exchanged, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (held.stat.st_dev, held.stat.st_ino))
            && held.is_untouched()
    }

    /// Removes the hidden name of a file that is not needed. A program that had the file open may still have written to
    /// it: what it wrote gets a visible name, which is returned.
    fn discard(&self, held: &Held) -> io::Result<Option<OsString>> {
        self.remove(&self.exchanged)?;
        let synced = self.sync_folder();
        if held.is_untouched() {
            return synced.map(|()| None);
        }
        let bytes = read(&held.file, &rustix::fs::fstat(&held.file)?)?;
        for name in self.visible_names() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(held.stat.st_mode);
            match rustix::fs::openat(self.folder, &*name, flags, mode) {
                Ok(file) => {
                    let mut file = File::from(file);
                    file.write_all(&bytes)?;
                    file.sync_all()?;
                    self.sync_folder()?;
                    return Ok(Some(name));
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Gives what has the hidden name a visible one, in one of three ways: each asks the system for something else, and
    /// one refusal must not hide a note. The last resort is the hidden name, told.
    fn keep(&self) -> OsString {
        let hidden = &*self.exchanged;
        let move_new = |name: &OsStr| {
            let flags = RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(self.folder, hidden, self.folder, name, flags)
        };
        let link = |name: &OsStr| {
            rustix::fs::linkat(self.folder, hidden, self.folder, name, AtFlags::empty())?;
            rustix::fs::unlinkat(self.folder, hidden, AtFlags::empty())
        };
        let move_if_free = |name: &OsStr| match self.exists(name) {
            true => Err(Errno::EXIST),
            false => rustix::fs::renameat(self.folder, hidden, self.folder, name),
        };
        type Way<'w> = &'w dyn Fn(&OsStr) -> rustix::io::Result<()>;
        let ways: [Way<'_>; 3] = [&move_new, &link, &move_if_free];
        for way in ways {
            for name in self.visible_names() {
                match way(&name) {
                    Ok(()) => return name,
                    Err(Errno::EXIST) => {}
                    Err(_) => break,
                }
            }
        }
        self.exchanged.clone()
    }

    /// Names beside the note that say what they are. They follow the pattern of Syncthing's conflict copies, which no
    /// run reads and every run names.
    fn visible_names(&self) -> impl Iterator<Item = OsString> {
        let name = self.name.as_bytes();
        let stem = if name.to_ascii_lowercase().ends_with(b".md") {
            &name[..name.len() - 3]
        } else {
            name
        };
        let stem = stem.strip_prefix(b".").unwrap_or(stem);
        (1..=KEPT_MAX).map(move |number| {
            let end = format!(".sync-conflict-aclarai-{number}.md");
            let mut length = stem.len().min(NAME_BYTES_MAX - end.len());
            // Not in the middle of a character.
            while length < stem.len() && stem[length] & 0xC0 == 0x80 {
                length -= 1;
            }
            let mut name = OsString::from_vec(stem[..length].to_vec());
            name.push(end);
            name
        })
    }

    /// Looks after what a write that was cut short has left. Returns the visible name of what is kept.
    pub(super) fn recover(
        &self,
        same: &dyn Fn(Vec<u8>, Vec<u8>) -> bool,
    ) -> io::Result<Option<OsString>> {
        self.remove(&self.prepared)?;
        if !self.exists(&self.exchanged) {
            return Ok(None);
        }
        let contents = |name: &OsStr| -> rustix::io::Result<Option<Vec<u8>>> {
            self.open_file(name)?.map(|(file, stat)| read(&file, &stat)).transpose()
        };
        if let (Ok(Some(note)), Ok(Some(left))) = (contents(self.name), contents(&self.exchanged))
            && same(note, left)
        {
            self.remove(&self.exchanged)?;
            return Ok(None);
        }
        let kept = self.keep();
        self.sync_folder()?;
        Ok(Some(kept))
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the new bytes under the hidden name: same mode, owner and extended attributes, safely on the disk. The
    /// inner error is a reason to leave the note alone.
    fn prepare(&self, old: &Held, bytes: &[u8]) -> io::Result<Result<Held, &'static str>> {
        self.remove(&self.prepared)?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::openat(self.folder, &*self.prepared, flags, mode)?);
        file.write_all(bytes)?;
        let stat = rustix::fs::fstat(&file)?;
        if (stat.st_uid, stat.st_gid) != (old.stat.st_uid, old.stat.st_gid) {
            let (owner, group) = (Uid::from_raw(old.stat.st_uid), Gid::from_raw(old.stat.st_gid));
            match rustix::fs::fchown(&file, Some(owner), Some(group)) {
                // Not mapped into the user namespace of a service with `PrivateUsers=`.
                Err(Errno::PERM | Errno::INVAL) => {
                    return Ok(Err(
                        "it belongs to another user or group, which would not be kept: run this as the owner of the notes",
                    ));
                }
                result => result?,
            }
        }
        copy_attributes(&old.file, &file)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(old.stat.st_mode))?;
        file.sync_all()?;
        Ok(Ok(Held { file, stat, digest: Digest(xxh3_128(bytes)) }))
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.locked)?)
    }
}

fn saved_late(kept: &OsStr) -> Put {
    Put::Kept(format!(
        "a program wrote to it while the versions in its markers were brought up to date: what it wrote is kept as {}: \
         compare the two and remove one",
        shown(kept)
    ))
}

fn shown(name: &OsStr) -> String {
    crate::block::VaultPath::new(name).to_string()
}

/// The bytes of a file, whatever was read from it before.
fn read(file: &File, stat: &Stat) -> rustix::io::Result<Vec<u8>> {
    let size = usize::try_from(stat.st_size).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size + 1);
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(64 << 10);
        }
        let at = bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => return Ok(bytes),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Copies extended attributes, access control lists among them. A file system without them has none to copy.
fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let names = match attribute(|buffer| rustix::fs::flistxattr(from.as_fd(), buffer)) {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = OsStr::from_bytes(name);
        // The kernel keeps these itself.
        if name.as_bytes().starts_with(b"security.") {
            continue;
        }
        let value = attribute(|buffer| rustix::fs::fgetxattr(from.as_fd(), name, buffer))?;
        rustix::fs::fsetxattr(to.as_fd(), name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

/// Asks for something of unknown length with a buffer that grows until it fits.
fn attribute(
    mut ask: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 10];
    loop {
        match ask(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // Attributes are at most 64 KiB each, and so is the list of their names.
            Err(Errno::RANGE) if buffer.len() < 1 << 17 => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}
