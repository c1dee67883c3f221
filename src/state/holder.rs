//! The process that holds a lock.

use std::fs::File;
use std::io::{Read, Seek};

use chrono::{DateTime, Utc};

use crate::clock::by_a_set_clock;
use crate::text;

/// The process that holds a lock, as it wrote itself down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; `None` in the moment between taking the lock and writing it down.
    pub pid: Option<u32>,
    /// When it took the lock; `None` also where the clock was not set then.
    pub since: Option<DateTime<Utc>>,
}

impl Holder {
    /// Reads a lock file, from its beginning.
    pub(super) fn read(file: &mut File) -> Holder {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.take(200).read_to_string(&mut text));
        let mut words = text.split_whitespace();
        Holder {
            pid: read.is_ok().then(|| words.next()?.parse().ok()).flatten(),
            since: words.next().and_then(|since| since.parse().ok()).and_then(by_a_set_clock),
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
                write!(f, " since {}", text::instant(since))
            }
            None => Ok(()),
        }
    }
}
