//! What a sync counts. The names are those of the log line, the history row and `run --json`.

use crate::job::RunReport;

use super::diff::Outcome;

/// Counters of one run of `vault_sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncStats {
    /// Markdown files found in the tiers.
    pub files_scanned: u64,
    /// Files not read, because nothing about them changed since they were last read.
    pub files_skipped: u64,
    /// Files read and parsed.
    pub files_processed: u64,
    /// Files left for the next run: being written, emptied a moment ago, or gone quiet too recently.
    pub files_deferred: u64,
    /// Bytes of all files read.
    pub bytes_read: u64,
    /// Blocks of the files read.
    pub blocks_processed: u64,
    /// Blocks created, or filled where the graph had only an id.
    pub blocks_new: u64,
    /// Blocks whose changed content was accepted.
    pub blocks_updated: u64,
    /// Blocks found as the graph has them, those of skipped files included.
    pub blocks_unchanged: u64,
    /// Blocks found unchanged in another file.
    pub blocks_moved: u64,
    /// Blocks whose hashes or version numbers were brought up to date without an edit.
    pub blocks_metadata: u64,
    /// Blocks archived because they are gone from the vault.
    pub blocks_archived: u64,
    /// Archived blocks that are in the vault again.
    pub blocks_restored: u64,
    /// Blocks gone from the vault but not archived yet: they must be missing twice, `archive_after` apart.
    pub blocks_missing: u64,
    /// Edits refused because the vault is out of sync with the graph.
    pub conflicts: u64,
    /// Further occurrences of an id that another place holds.
    pub duplicates: u64,
    /// Markers without any text.
    pub empty_blocks: u64,
    /// Markers whose version is behind the one last accepted, with the same text.
    pub version_behind: u64,
    /// Markers whose number was brought up to the graph's by write-back.
    pub written_back: u64,
    /// Conflict copies of synchronising tools, which are not scanned.
    pub conflict_copies: u64,
    /// Near-miss markers, duplicates with the same text, and other things that are probably not meant.
    pub warnings: u64,
    /// Files and blocks that could not be read or written, and duplicates with different texts.
    pub errors: u64,
    /// More blocks are missing than the guard lets a run archive, or a tier is gone.
    pub needs_attention: bool,
}

impl SyncStats {
    /// Counts one decided block.
    pub fn count(&mut self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::New => &mut self.blocks_new,
            Outcome::Updated => &mut self.blocks_updated,
            Outcome::Unchanged => &mut self.blocks_unchanged,
            Outcome::Moved => &mut self.blocks_moved,
            Outcome::Metadata => &mut self.blocks_metadata,
            Outcome::Restored => &mut self.blocks_restored,
            Outcome::Conflict => &mut self.conflicts,
        };
        *counter += 1;
    }

    /// Blocks written to the graph.
    pub fn blocks_written(&self) -> u64 {
        self.blocks_new
            + self.blocks_updated
            + self.blocks_moved
            + self.blocks_metadata
            + self.blocks_restored
            + self.blocks_archived
    }

    /// The counters as statistics of the run.
    pub fn report(&self) -> RunReport {
        let mut report = RunReport::new();
        report.set("items_processed", self.blocks_processed);
        report.set("items_updated", self.blocks_written());
        for (name, value) in [
            ("errors", self.errors),
            ("files_scanned", self.files_scanned),
            ("files_skipped", self.files_skipped),
            ("files_processed", self.files_processed),
            ("files_deferred", self.files_deferred),
            ("bytes_read", self.bytes_read),
            ("blocks_processed", self.blocks_processed),
            ("blocks_new", self.blocks_new),
            ("blocks_updated", self.blocks_updated),
            ("blocks_unchanged", self.blocks_unchanged),
            ("blocks_moved", self.blocks_moved),
            ("blocks_metadata", self.blocks_metadata),
            ("blocks_archived", self.blocks_archived),
            ("blocks_restored", self.blocks_restored),
            ("blocks_missing", self.blocks_missing),
            ("conflicts", self.conflicts),
            ("duplicates", self.duplicates),
            ("empty_blocks", self.empty_blocks),
            ("version_behind", self.version_behind),
            ("written_back", self.written_back),
            ("conflict_copies", self.conflict_copies),
            ("warnings", self.warnings),
        ] {
            report.set(name, value);
        }
        report.set("needs_attention", self.needs_attention);
        report
    }
}
