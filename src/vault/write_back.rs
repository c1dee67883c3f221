//! Writes version numbers into the markers of a note, and nothing else: the only file that changes the vault.
//!
//! The new content is a splice of the old bytes, so line ends, a byte order mark and a missing final line break stay
//! as they are. It is written beside the note under a hidden name, with the note's mode, owner and extended
//! attributes, brought to the disk, and exchanged with the note in one step. What was exchanged out is then compared
//! with what was expected: if someone saved the note in the last moment, their version goes back in its place.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_128;

use super::marker::ParseOptions;
use super::parse::{ParsedFile, parse_bytes};
use super::read::{Digest, Reading};
use super::root::{FaultKind, FileStat, Root, ScanFault, split};
use super::walk::ListedFile;

/// The end of the hidden name under which the new content is prepared. A file left behind by a power cut is never
/// scanned and is replaced by the next write to the same note.
const PREPARED: &str = ".aclarai-write-back";

/// One number to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionEdit {
    /// The bytes of the digits that stand in the file now.
    pub digits: Range<usize>,
    /// The number to stand there.
    pub version: i64,
}

/// What came of a write.
#[derive(Debug, PartialEq, Eq)]
pub enum WriteBack {
    /// The numbers are in the note.
    Done,
    /// The note is not what was parsed, or not a file that may be exchanged: left as it is, for this reason.
    Left(&'static str),
}

/// Writes `edits` (in file order) into the note, if it is still exactly what was read.
pub fn write_back(
    root: &Root,
    file: &ListedFile,
    reading: &Reading,
    edits: &[VersionEdit],
    options: ParseOptions,
) -> Result<WriteBack, ScanFault> {
    if file.through_link {
        return Ok(WriteBack::Left("it is reached by a symbolic link"));
    }
    let (folder, name) = split(&file.path);
    let fault = |verb| {
        move |error: io::Error| ScanFault {
            path: file.path.clone(),
            is_folder: false,
            kind: FaultKind::io(verb, &error),
        }
    };
    let folder = root.open_folder(folder).map_err(fault("open the folder of"))?;
    let note = Note { folder: &folder, name };
    let (old, bytes) = match note.read().map_err(fault("read"))? {
        Some((old, stat, bytes))
            if FileStat::new(&stat) == reading.stat && digest(&bytes) == reading.digest =>
        {
            if stat.st_nlink > 1 {
                return Ok(WriteBack::Left("it has several hard links"));
            }
            ((old, stat), bytes)
        }
        _ => return Ok(WriteBack::Left("it changed since it was read")),
    };
    let spliced = splice(&bytes, edits);
    if !is_same_but_for_versions(&bytes, &spliced, options) {
        return Ok(WriteBack::Left("the new numbers would change more than numbers"));
    }
    let mut prepared = OsString::from(".");
    prepared.push(name);
    prepared.push(PREPARED);
    let done = note.exchange(&prepared, &old.0, &old.1, &spliced, reading);
    if done.is_err() {
        let _ = rustix::fs::unlinkat(&folder, &*prepared, AtFlags::empty());
    }
    done.map_err(fault("write"))
}

/// `bytes` with the digits replaced.
fn splice(bytes: &[u8], edits: &[VersionEdit]) -> Vec<u8> {
    let mut spliced = Vec::with_capacity(bytes.len() + 20 * edits.len());
    let mut copied = 0;
    for edit in edits {
        spliced.extend_from_slice(&bytes[copied..edit.digits.start]);
        spliced.extend_from_slice(edit.version.to_string().as_bytes());
        copied = edit.digits.end;
    }
    spliced.extend_from_slice(&bytes[copied..]);
    spliced
}

/// The last guard before a note is touched: the same blocks with the same content must be found in both.
fn is_same_but_for_versions(old: &[u8], new: &[u8], options: ParseOptions) -> bool {
    let parse = |bytes: &[u8]| parse_bytes(bytes.to_vec(), options).ok();
    let facts = |parsed: &ParsedFile| -> Vec<_> {
        parsed
            .blocks()
            .map(|block| (block.id().to_owned(), block.hash(), block.body_hash()))
            .collect()
    };
    match (parse(old), parse(new)) {
        (Some(old), Some(new)) => facts(&old) == facts(&new),
        _ => false,
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(xxh3_128(bytes))
}

/// A note by its open folder and its name there.
struct Note<'a> {
    folder: &'a OwnedFd,
    name: &'a OsStr,
}

impl Note<'_> {
    fn read(&self) -> io::Result<Option<(File, Stat, Vec<u8>)>> {
        self.read_named(self.name)
    }

    fn read_named(&self, name: &OsStr) -> io::Result<Option<(File, Stat, Vec<u8>)>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match rustix::fs::openat(self.folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some((file, stat, bytes)))
    }

    /// Prepares the new content and puts it in the note's place.
    fn exchange(
        &self,
        prepared: &OsStr,
        old: &File,
        old_stat: &Stat,
        bytes: &[u8],
        reading: &Reading,
    ) -> io::Result<WriteBack> {
        if !self.prepare(prepared, old, old_stat, bytes)? {
            rustix::fs::unlinkat(self.folder, prepared, AtFlags::empty())?;
            return Ok(WriteBack::Left(
                "it belongs to another user or group, which would not be kept: run this as the owner of the notes",
            ));
        }
        match rustix::fs::renameat_with(
            self.folder,
            prepared,
            self.folder,
            self.name,
            RenameFlags::EXCHANGE,
        ) {
            Ok(()) => {}
            // Network file systems cannot exchange: look once more, then replace.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                let stat = rustix::fs::statat(self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileStat::new(&stat) != reading.stat {
                    rustix::fs::unlinkat(self.folder, prepared, AtFlags::empty())?;
                    return Ok(WriteBack::Left("it changed while the new numbers were prepared"));
                }
                rustix::fs::renameat(self.folder, prepared, self.folder, self.name)?;
                return self.sync_folder().map(|()| WriteBack::Done);
            }
            Err(error) => return Err(error.into()),
        }
        // The exchange touches the ctime of what was exchanged out; size, mtime, inode and bytes tell an edit.
        let as_expected = self.read_named(prepared)?.is_some_and(|(_, stat, bytes)| {
            let stat = FileStat { ctime_ns: reading.stat.ctime_ns, ..FileStat::new(&stat) };
            stat == reading.stat && digest(&bytes) == reading.digest
        });
        if !as_expected {
            rustix::fs::renameat_with(
                self.folder,
                prepared,
                self.folder,
                self.name,
                RenameFlags::EXCHANGE,
            )?;
        }
        rustix::fs::unlinkat(self.folder, prepared, AtFlags::empty())?;
        self.sync_folder()?;
        Ok(if as_expected {
            WriteBack::Done
        } else {
            WriteBack::Left("it was saved at the same moment")
        })
    }

    /// Writes the new content under a hidden name: same mode, owner and extended attributes, safely on the disk. False
    /// if this user cannot give it the owner.
    fn prepare(
        &self,
        prepared: &OsStr,
        old: &File,
        old_stat: &Stat,
        bytes: &[u8],
    ) -> io::Result<bool> {
        match rustix::fs::unlinkat(self.folder, prepared, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file =
            File::from(rustix::fs::openat(self.folder, prepared, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        let new_stat = rustix::fs::fstat(&file)?;
        if (new_stat.st_uid, new_stat.st_gid) != (old_stat.st_uid, old_stat.st_gid) {
            let (owner, group) = (Uid::from_raw(old_stat.st_uid), Gid::from_raw(old_stat.st_gid));
            match rustix::fs::fchown(&file, Some(owner), Some(group)) {
                // Not mapped into the user namespace of a service with `PrivateUsers=`.
                Err(Errno::PERM | Errno::INVAL) => return Ok(false),
                result => result?,
            }
        }
        copy_attributes(old, &file)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(old_stat.st_mode))?;
        file.sync_all()?;
        Ok(true)
    }

    fn sync_folder(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(self.folder, ".", flags, Mode::empty())?;
        Ok(rustix::fs::fsync(folder)?)
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

#[cfg(test)]
mod tests;
