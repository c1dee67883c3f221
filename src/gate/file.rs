//! Watches the content of a file, for a configuration that is put into force by itself.
//!
//! The file is read and compared, not its time: an editor that saves the same text changes nothing, and a link that is
//! turned to another file (as Kubernetes does) changes something.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use xxhash_rust::xxh3::xxh3_128;

/// How often the file is read: a change is noticed within half a minute even where one look comes too early.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// More than any configuration has.
const BYTES_MAX: u64 = 4 << 20;

/// Watches until it is dropped. Its thread is not joined: it may be held up by the disk.
pub(crate) struct FileWatch {
    _alive: Sender<()>,
}

impl FileWatch {
    /// Calls `changed` each time the content is another one than at the look before, on a thread of its own.
    pub(crate) fn start(
        path: PathBuf,
        changed: impl Fn() + Send + 'static,
    ) -> io::Result<FileWatch> {
        let (alive, over) = bounded::<()>(0);
        let mut seen = content(&path);
        std::thread::Builder::new().name("watch-config".to_owned()).spawn(move || {
            while over.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = content(&path);
                if now != seen {
                    seen = now;
                    changed();
                }
            }
        })?;
        Ok(FileWatch { _alive: alive })
    }
}

/// A digest of the content; `None` where there is none to read. A special file is never opened to be read: it may hang.
fn content(path: &PathBuf) -> Option<u128> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(xxh3_128(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_compared_and_nothing_special_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        assert_eq!(content(&path), None);
        std::fs::write(&path, "a").unwrap();
        let first = content(&path);
        std::fs::write(&path, "a").unwrap();
        assert_eq!(content(&path), first);
        std::fs::write(&path, "b").unwrap();
        assert!(content(&path).is_some() && content(&path) != first);
        let fifo = folder.path().join("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(content(&fifo), None);
    }
}
