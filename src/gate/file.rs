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

/// How long a file that has changed must stay the same, and how often it is looked at until it does.
const SETTLES_IN: Duration = Duration::from_secs(1);
const LOOKS_MAX: usize = 10;

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
            let waits = |time| over.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            while waits(LOOK_EVERY) {
                let now = content(&path);
                if now == seen {
                    continue;
                }
                seen = settled(now, || waits(SETTLES_IN).then(|| content(&path)));
                changed();
            }
        })?;
        Ok(FileWatch { _alive: alive })
    }
}

/// The content once it stays the same: half a file may be a configuration too, with half of the jobs. `look_again` waits and
/// looks; `None`: the watching is over.
fn settled<C: PartialEq>(mut seen: C, mut look_again: impl FnMut() -> Option<C>) -> C {
    for _ in 0..LOOKS_MAX {
        match look_again() {
            Some(now) if now != seen => seen = now,
            _ => break,
        }
    }
    seen
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
    fn a_file_that_is_being_written_is_waited_for() {
        let mut looks = [2, 3, 3, 4].into_iter();
        assert_eq!(settled(1, || looks.next()), 3);
        assert_eq!(looks.next(), Some(4));
        let mut looks = 0;
        settled(0, || {
            looks += 1;
            Some(looks)
        });
        assert_eq!(looks, LOOKS_MAX, "one that never settles is not waited for without end");
        assert_eq!(settled(1, || None), 1);
    }

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
