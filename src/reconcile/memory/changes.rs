//! What one run adds to what is remembered: changes that are kept together or not at all.

use chrono::{DateTime, Utc};

use crate::block::VaultPath;
use crate::vault::{Digest, FileStat};

/// What is remembered of one file after it was read and, where it had to be, written to the graph.
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
    /// Their ids, in file order; `None` where they are known to be those remembered.
    pub ids: Option<Vec<String>>,
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
    /// In how many complete scans it was missing.
    pub scans: u32,
}

impl MissingBlock {
    /// Counts one more complete scan that missed it.
    pub fn missed_at(mut self, now: DateTime<Utc>) -> MissingBlock {
        if self.scans == 0 {
            self.first_missing_at = now;
        }
        self.scans += 1;
        self
    }
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
            && self.full_scan_at.is_none()
    }
}
