//! The report of a run: counts, faults and explanations.

use crate::job::{Fault, FaultLevel, RunReport, stat};

use super::diff::Outcome;
use super::memory::Waiting;

/// At most so much that waits for a person is remembered.
const WAITING_MAX: usize = 2_000;

/// At most so many faults are told one by one: one note may have a million.
const FAULTS_MAX: usize = 2_000;

/// A kind of thing that waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An edit that was refused.
    Conflict,
    /// An id in several places.
    Duplicate,
    /// A block that is gone.
    Missing,
    /// A block that is gone as if a mount were.
    Suspicious,
    /// A note with an error.
    Note,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Conflict => "conflict",
            Kind::Duplicate => "duplicate",
            Kind::Missing => "missing",
            Kind::Suspicious => "suspicious",
            Kind::Note => "note",
        }
    }
}

/// Counts, faults and explanations of one run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) stats: SyncStats,
    /// Blocks of all files that could be looked at, those of skipped ones as remembered.
    pub(super) blocks_in_vault: u64,
    /// Notes whose markers wait to be written to until nobody has changed the note for a while.
    pub(super) too_young: u64,
    faults: Vec<Fault>,
    faults_left_out: u64,
    waiting: Vec<Waiting>,
    explains: bool,
    explained: Vec<String>,
}

impl Tally {
    /// Nothing counted yet; `explains` tells whether explanations are asked for.
    pub(super) fn new(explains: bool) -> Tally {
        Tally { explains, ..Tally::default() }
    }

    /// Notes something that is probably not meant.
    pub(super) fn warn(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.note(Fault::warning(place, text));
    }

    /// Notes something that was left undone.
    pub(super) fn error(&mut self, place: impl Into<String>, text: impl Into<String>) {
        let fault = Fault::error(place, text);
        // A message ends with its remedy.
        let (message, remedy) = fault.text.rsplit_once(": ").unwrap_or((&fault.text, ""));
        self.waits(Kind::Note, fault.place.as_str(), message, remedy);
        self.note(fault);
    }

    /// Notes an id that another place owns.
    pub(super) fn duplicate(&mut self, fault: Fault) {
        let (message, remedy) = fault.text.rsplit_once(": ").unwrap_or((&fault.text, ""));
        self.waits(Kind::Duplicate, fault.place.as_str(), message, remedy);
        self.note(fault);
    }

    fn note(&mut self, fault: Fault) {
        *match fault.level {
            FaultLevel::Warning => &mut self.stats.warnings,
            FaultLevel::Error => &mut self.stats.errors,
        } += 1;
        // Of a hostile note every marker may be a fault: all are counted, and so many are told.
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.faults_left_out += 1;
        }
    }

    /// Notes something that waits for a person, for `attention`.
    pub(super) fn waits(
        &mut self,
        kind: Kind,
        place: impl Into<String>,
        message: &str,
        remedy: &str,
    ) {
        // A list that nobody reads to its end need not hold all.
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(Waiting {
                kind: kind.as_str().to_owned(),
                place: place.into(),
                message: message.to_owned(),
                remedy: remedy.to_owned(),
            });
        }
    }

    /// All that waits for a person.
    pub(super) fn take_waiting(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.waiting)
    }

    /// Keeps an explanation, where any are asked for.
    pub(super) fn explain(&mut self, line: impl FnOnce() -> String) {
        if self.explains {
            self.explained.push(line());
        }
    }

    /// The report of the run.
    pub(super) fn into_report(mut self) -> RunReport {
        let mut report = self.stats.report();
        if self.faults_left_out > 0 {
            let text = format!(
                "{} further warnings and errors are counted and not listed: mend these first",
                self.faults_left_out
            );
            self.faults.push(Fault::warning("", text));
        }
        report.faults = self.faults;
        report.explained = self.explained;
        report
    }
}

/// Counters of one run of `vault_sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SyncStats {
    /// Markdown files found in the tiers.
    pub(super) files_scanned: u64,
    /// Files not read, because nothing about them changed since they were last read.
    pub(super) files_skipped: u64,
    /// Files read and parsed.
    pub(super) files_processed: u64,
    /// Files left for the next run: being written, emptied a moment ago, or gone quiet too recently.
    pub(super) files_deferred: u64,
    /// Bytes of all files read.
    pub(super) bytes_read: u64,
    /// Blocks of the files read.
    pub(super) blocks_processed: u64,
    /// Blocks created, or filled where the graph had only an id.
    pub(super) blocks_new: u64,
    /// Blocks whose changed content was accepted.
    pub(super) blocks_updated: u64,
    /// Blocks found as the graph has them, those of skipped files included.
    pub(super) blocks_unchanged: u64,
    /// Blocks found unchanged in another file.
    pub(super) blocks_moved: u64,
    /// Blocks whose hashes or version numbers were brought up to date without an edit.
    pub(super) blocks_metadata: u64,
    /// Blocks archived because they are gone from the vault.
    pub(super) blocks_archived: u64,
    /// Archived blocks that are in the vault again.
    pub(super) blocks_restored: u64,
    /// Blocks gone from the vault but not archived yet: they must be missing twice, `archive_after` apart.
    pub(super) blocks_missing: u64,
    /// Edits refused because the vault is out of sync with the graph.
    pub(super) conflicts: u64,
    /// Further occurrences of an id that another place holds.
    pub(super) duplicates: u64,
    /// Markers without any text.
    pub(super) empty_blocks: u64,
    /// Markers whose version is behind the one last accepted, with the same text.
    pub(super) version_behind: u64,
    /// Markers whose number was brought up to the graph's by write-back.
    pub(super) written_back: u64,
    /// Conflict copies of synchronising tools, which are not scanned.
    pub(super) conflict_copies: u64,
    /// Notes that are likely copies of another note and share an id with it.
    pub(super) likely_copies: u64,
    /// Notes that patterns leave out.
    pub(super) files_ignored: u64,
    /// Symbolic links that were not followed.
    pub(super) links_skipped: u64,
    /// Notes left alone because of an unresolved merge.
    pub(super) merge_conflicts: u64,
    /// Near-miss markers, duplicates with the same text, and other things that are probably not meant.
    pub(super) warnings: u64,
    /// Files and blocks that could not be read or written, and duplicates with different texts.
    pub(super) errors: u64,
    /// More blocks are missing than the guard lets a run archive, or a tier is gone.
    pub(super) needs_attention: bool,
}

impl SyncStats {
    /// Counts one decided block.
    pub(super) fn count(&mut self, outcome: Outcome) {
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
    fn blocks_written(&self) -> u64 {
        self.blocks_new
            + self.blocks_updated
            + self.blocks_moved
            + self.blocks_metadata
            + self.blocks_restored
            + self.blocks_archived
    }

    /// The counters as statistics of the run.
    fn report(&self) -> RunReport {
        let mut report = RunReport::new();
        report.set(stat::ITEMS_PROCESSED, self.blocks_processed);
        report.set(stat::ITEMS_UPDATED, self.blocks_written());
        for (name, value) in [
            (stat::ERRORS, self.errors),
            (stat::FILES_SCANNED, self.files_scanned),
            (stat::FILES_SKIPPED, self.files_skipped),
            (stat::FILES_PROCESSED, self.files_processed),
            (stat::FILES_DEFERRED, self.files_deferred),
            (stat::BYTES_READ, self.bytes_read),
            (stat::BLOCKS_PROCESSED, self.blocks_processed),
            (stat::BLOCKS_NEW, self.blocks_new),
            (stat::BLOCKS_UPDATED, self.blocks_updated),
            (stat::BLOCKS_UNCHANGED, self.blocks_unchanged),
            (stat::BLOCKS_MOVED, self.blocks_moved),
            (stat::BLOCKS_METADATA, self.blocks_metadata),
            (stat::BLOCKS_ARCHIVED, self.blocks_archived),
            (stat::BLOCKS_RESTORED, self.blocks_restored),
            (stat::BLOCKS_MISSING, self.blocks_missing),
            (stat::CONFLICTS, self.conflicts),
            (stat::DUPLICATES, self.duplicates),
            (stat::EMPTY_BLOCKS, self.empty_blocks),
            (stat::VERSION_BEHIND, self.version_behind),
            (stat::WRITTEN_BACK, self.written_back),
            (stat::CONFLICT_COPIES, self.conflict_copies),
            (stat::LIKELY_COPIES, self.likely_copies),
            (stat::FILES_IGNORED, self.files_ignored),
            (stat::LINKS_SKIPPED, self.links_skipped),
            (stat::MERGE_CONFLICTS, self.merge_conflicts),
            (stat::WARNINGS, self.warnings),
        ] {
            report.set(name, value);
        }
        // A refused edit waits for a person as long as it lasts, not only when it is told.
        report.set(stat::NEEDS_ATTENTION, self.needs_attention || self.conflicts > 0);
        report
    }
}
