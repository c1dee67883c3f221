//! When a stat may be believed: whether a file may be skipped without reading it. Pure; clock readings and stats are
//! handed in.
//!
//! A file is skipped only when its stat equals the remembered one in every part and that stat can be *trusted*: it was
//! taken well after the last change, so that an edit after it must show (the racy-clean rule of git and Mercurial).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::vault::{Digest, FileStat};

/// A stat is trusted when the file was last changed at least this long before the clock reading it is compared with:
/// longer than the coarsest time stamps in use (two seconds on FAT).
const SETTLING_TIME: TimeDelta = TimeDelta::seconds(3);

/// Fewer files than this differing in ctime only are no reason to distrust ctime.
const CTIME_CHURN_MIN: u64 = 20;

/// The answer for a listed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it was: skip it. It holds this many blocks.
    Unchanged(u32),
    /// Read it. Most files of a large vault are new, or remembered and unchanged: what is remembered of others lies apart.
    Read(Option<Box<Remembered>>),
}

/// The memory of a file that has to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// XXH3 digest of its bytes then.
    pub digest: Digest,
    /// How many blocks it had.
    pub blocks: u32,
    /// Whether the parser and its settings are the same, nothing was open, and the content was compared with the
    /// graph: with the same digest there is nothing to do.
    pub current: bool,
    /// In how many runs in a row it was found empty.
    pub blank_runs: u32,
}

/// The facts that decide whether a remembered stat still counts.
#[derive(Clone, Copy, Debug)]
pub struct CompareOptions {
    /// Read everything.
    pub full: bool,
    /// How long a file may go unread.
    pub rehash_after: Duration,
    /// Stands for the parser and whatever settings change its results.
    pub parser: u64,
}

/// The memory of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) stat: FileStat,
    pub(super) digest: Digest,
    pub(super) blocks: u32,
    pub(super) trusted: bool,
    pub(super) settled: bool,
    pub(super) blank_runs: u32,
    pub(super) verified_at: i64,
    pub(super) parser: u64,
}

/// The evidence that makes a remembered stat count.
pub(super) struct Rules {
    pub(super) now: DateTime<Utc>,
    pub(super) options: CompareOptions,
    pub(super) ignore_ctime: bool,
    /// No stat counts in this run.
    pub(super) distrust: bool,
}

impl Rules {
    pub(super) fn verdict(&self, row: &Known, stat: &FileStat) -> Verdict {
        let current = row.settled && row.parser == self.options.parser;
        let age = self.now.timestamp().saturating_sub(row.verified_at);
        let fresh = (0..=i64::try_from(self.options.rehash_after.as_secs()).unwrap_or(i64::MAX))
            .contains(&age);
        // Equal, never "not newer": a restored backup is older and still another content.
        let same = row.stat.size == stat.size
            && row.stat.mtime_ns == stat.mtime_ns
            && row.stat.inode == stat.inode
            && (self.ignore_ctime || row.stat.ctime_ns == stat.ctime_ns);
        if same && row.trusted && current && fresh && !self.options.full && !self.distrust {
            return Verdict::Unchanged(row.blocks);
        }
        Verdict::Read(Some(Box::new(Remembered {
            digest: row.digest,
            blocks: row.blocks,
            current: current && !self.options.full,
            blank_runs: row.blank_runs,
        })))
    }
}

/// How many files differ in ctime only.
#[derive(Default)]
pub(super) struct Churn {
    pub(super) files: u64,
    pub(super) ctime_only: u64,
}

impl Churn {
    pub(super) fn count(&mut self, row: &Known, stat: &FileStat) {
        self.files += 1;
        let but_ctime = FileStat { ctime_ns: stat.ctime_ns, ..row.stat };
        self.ctime_only += u64::from(row.stat != *stat && but_ctime == *stat);
    }

    pub(super) fn is_all_ctime(&self) -> bool {
        self.ctime_only >= CTIME_CHURN_MIN && self.ctime_only * 2 > self.files
    }
}

/// Whether a stat taken after `clock` was read proves that later edits would show.
pub(super) fn is_trusted(stat: &FileStat, clock: DateTime<Utc>) -> bool {
    (clock - SETTLING_TIME)
        .timestamp_nanos_opt()
        .is_some_and(|settled| stat.changed_ns() <= settled)
}
