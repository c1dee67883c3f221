//! Changes of one run to the memory: kept together or not at all.

use chrono::{DateTime, TimeDelta, Utc};

use crate::block::VaultPath;
use crate::vault::{Digest, FileStat};

/// The memory of one file after it was read and, where it had to be, written to the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Which file.
    pub path: VaultPath,
    /// Its stat, equal before and after reading.
    pub stat: FileStat,
    /// XXH3 digest of its bytes.
    pub digest: Digest,
    /// How many blocks it has.
    pub blocks: u32,
    /// Their ids, in file order, one a line; `None` where they are known to be those remembered.
    pub ids: Option<String>,
    /// False when something about it is open (a duplicate, a conflict, an error): it is read again in every run.
    pub settled: bool,
    /// In how many runs in a row the file was found empty though it had blocks.
    pub blank_runs: u32,
}

/// A block that is gone from the vault but not archived yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBlock {
    /// Its id.
    pub id: String,
    /// The file it was last seen in.
    pub path: VaultPath,
    /// When it was first missed; by a complete scan, once there was one.
    pub first_missing_at: DateTime<Utc>,
    /// The same by the time since a boot of the machine, which nobody can set.
    pub boot: BootTime,
    /// In how many complete scans it was missing.
    pub scans: u32,
}

/// A time that nobody can set: which boot of the machine, and how long after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootTime {
    /// The kernel's id of this boot; empty where it is not known.
    pub id: String,
    /// Seconds since the boot, time spent suspended included.
    pub seconds: i64,
}

impl BootTime {
    /// How long ago `earlier` was; `None` where the machine was started anew meanwhile.
    fn since(&self, earlier: &BootTime) -> Option<TimeDelta> {
        (self.id == earlier.id && !self.id.is_empty())
            .then(|| TimeDelta::seconds(self.seconds - earlier.seconds))
    }
}

/// In how many complete scans a block must be missing before it is archived; in one more where the machine was started
/// anew between them, as the clock may have been set meanwhile.
const SCANS: u32 = 2;

impl MissingBlock {
    /// A block that no scan has counted as missing yet.
    pub fn new(id: String, path: VaultPath, now: DateTime<Utc>) -> MissingBlock {
        MissingBlock { id, path, first_missing_at: now, boot: BootTime::default(), scans: 0 }
    }

    /// Counts one more complete scan that missed it.
    pub fn missed_at(mut self, now: DateTime<Utc>, boot: &BootTime) -> MissingBlock {
        // A time that has not come yet was taken from a clock that was wrong.
        if self.scans == 0 || self.first_missing_at > now {
            self.first_missing_at = now;
        }
        self.scans += 1;
        if self.boot.id != boot.id && self.scans <= SCANS {
            self.boot = boot.clone();
        }
        self
    }

    /// Whether two complete scans that lie `wait` apart have missed it, by the wall clock and by the time since boot;
    /// or three, where the machine was started anew between them.
    pub fn is_missed_long_enough(
        &self,
        wait: TimeDelta,
        now: DateTime<Utc>,
        boot: &BootTime,
    ) -> bool {
        let by_boot = match boot.since(&self.boot) {
            Some(passed) => self.scans >= SCANS && passed >= wait,
            None => self.scans > SCANS,
        };
        by_boot && now - self.first_missing_at >= wait
    }
}

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its kind: `conflict`, `duplicate`, `missing`, `suspicious`, `note`.
    pub kind: String,
    /// Where: `notes/plan.md:12`.
    pub place: String,
    /// The fault.
    pub message: String,
    /// The remedy.
    pub remedy: String,
}

/// Changes to the local state that belong together: all of them are kept or none.
#[derive(Debug, Default)]
pub struct Changes {
    /// Files read.
    pub records: Vec<FileRecord>,
    /// Files to be read again in the next run, whatever their records say.
    pub unsettled: Vec<VaultPath>,
    /// Files gone.
    pub removed: Vec<VaultPath>,
    /// Blocks missing, new or counted on.
    pub missing: Vec<MissingBlock>,
    /// Blocks no longer missing.
    pub found: Vec<String>,
    /// The graph's token.
    pub token: Option<String>,
    /// Folders that hold notes, and the device that each lies on, where that is not the one of the vault's root.
    pub mounts: Vec<(VaultPath, Option<u64>)>,
    /// All that waits for a person, where that was found out.
    pub attention: Option<Vec<Waiting>>,
    /// The part scanned, in words, where the last run scanned another one.
    pub scanned: Option<String>,
    /// When everything was last read and compared.
    pub full_scan_at: Option<DateTime<Utc>>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.unsettled.is_empty()
            && self.removed.is_empty()
            && self.missing.is_empty()
            && self.found.is_empty()
            && self.token.is_none()
            && self.mounts.is_empty()
            && self.attention.is_none()
            && self.scanned.is_none()
            && self.full_scan_at.is_none()
    }
}
