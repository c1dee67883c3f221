//! A file as text: whose it is, and how it is read without ever waiting.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::error::{Mistake, Place};
use super::shown::shown_path;

/// No configuration, and no `.env`, is longer.
const BYTES_MAX: u64 = 1 << 20;

/// How a remark begins about a file that was not taken, for [`whose_else`] it is.
pub(super) const LEFT_OUT: &str = "left out, as ";

/// Something about the whole of a file.
pub(super) fn fault_of(file: &Path, message: String) -> Mistake {
    let place = Place::File { file: shown_path(file), line: None, column: None };
    Mistake { subject: String::new(), value: None, message, place }
}

/// Why a file that nobody named is not to be trusted: it, the current folder, a folder between the two, or a link on the
/// way belongs to another user, or others may write to it. `None` if all of it is this user's or root's.
pub(super) fn whose_else(cwd: &Path, path: &Path) -> Option<String> {
    let us = rustix::process::geteuid().as_raw();
    let between = path.parent().filter(|folder| *folder != cwd);
    let folders = [("the current folder", Some(cwd)), ("its folder", between), ("it", Some(path))];
    for (what, path) in folders.into_iter().filter_map(|(what, path)| Some((what, path?))) {
        for found in [path.symlink_metadata(), path.metadata()] {
            // Reading it says what is wrong with it.
            let Ok(found) = found else { continue };
            if found.uid() != us && found.uid() != 0 {
                return Some(format!("{what} belongs to another user (uid {})", found.uid()));
            }
            if !found.is_symlink() && found.mode() & 0o022 != 0 {
                return Some(format!("others may write to {what} (chmod go-w)"));
            }
        }
    }
    None
}

/// Why a file could not be read.
pub(super) enum Unreadable {
    Io(io::Error),
    /// A link to a file that is not there.
    Dangling,
    /// A FIFO, a device, a socket.
    NoFile,
    TooLong,
    NotUtf8 {
        line: usize,
        byte: usize,
    },
}

impl Unreadable {
    /// The reason and the remedy.
    pub(super) fn remedy(&self) -> String {
        match self {
            Unreadable::Io(error) if is_absent(error) => "there is no such file".to_owned(),
            Unreadable::Dangling => "a link that leads nowhere: mend or remove it".to_owned(),
            Unreadable::Io(error) => match error.kind() {
                io::ErrorKind::IsADirectory => "this is a folder: name the file in it".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "permission denied: make the file readable for this user".to_owned()
                }
                _ => error.to_string(),
            },
            Unreadable::NoFile => {
                "no ordinary file, but a pipe, a device or a socket: name a file".to_owned()
            }
            Unreadable::TooLong => {
                format!(
                    "longer than {BYTES_MAX} bytes, which no configuration is: name another file"
                )
            }
            Unreadable::NotUtf8 { line, byte } => {
                format!("not UTF-8 on line {line} (byte {byte}): save the file as UTF-8")
            }
        }
    }
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The text of an ordinary file. Never waits, as a FIFO would have it.
pub(super) fn read(path: &Path) -> Result<String, Unreadable> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| match path.symlink_metadata() {
        Ok(found) if found.is_symlink() && is_absent(&error) => Unreadable::Dangling,
        _ => Unreadable::Io(error),
    })?;
    let kind = file.metadata().map_err(Unreadable::Io)?;
    if kind.is_dir() {
        return Err(Unreadable::Io(io::ErrorKind::IsADirectory.into()));
    }
    if !kind.is_file() {
        return Err(Unreadable::NoFile);
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Unreadable::Io)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Unreadable::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..byte];
        Unreadable::NotUtf8 { line: memchr::memchr_iter(b'\n', before).count() + 1, byte }
    })
}
