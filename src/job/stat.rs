//! The names of statistics: keys of the log line, of the history row and of `run --json`. One table, so that a counter
//! is never set under one name and read under another.

macro_rules! names {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub(crate) const $constant: &str = $name;)*

        /// Every name in this table, in its order.
        #[cfg(test)]
        pub(crate) const ALL: &[&str] = &[$($name),*];
    };
}

names! {
    /// Items that the job worked on.
    ITEMS_PROCESSED = "items_processed";
    /// Items that it changed.
    ITEMS_UPDATED = "items_updated";
    /// Items that it was given and could not do now: it will be given them again.
    ITEMS_FAILED = "items_failed";
    /// Blocks that changed while they were worked on, and keep their mark.
    BLOCKS_STALE = "blocks_stale";
    /// Blocks that still wait after the run.
    BLOCKS_LEFT = "blocks_left";
    /// Items that failed; the run is done, and a person should look.
    ERRORS = "errors";
    /// Markdown files found in the tiers.
    FILES_SCANNED = "files_scanned";
    /// Files not read, because nothing about them changed since they were last read.
    FILES_SKIPPED = "files_skipped";
    /// Files read and parsed.
    FILES_PROCESSED = "files_processed";
    /// Files left for the next run: being written, emptied a moment ago, or in the middle of a merge.
    FILES_DEFERRED = "files_deferred";
    /// Bytes of all files read.
    BYTES_READ = "bytes_read";
    /// Blocks of the files read.
    BLOCKS_PROCESSED = "blocks_processed";
    /// Blocks created, or filled where the graph had only an id.
    BLOCKS_NEW = "blocks_new";
    /// Blocks whose changed content was accepted.
    BLOCKS_UPDATED = "blocks_updated";
    /// Blocks found as the graph has them, those of skipped files included.
    BLOCKS_UNCHANGED = "blocks_unchanged";
    /// Blocks found unchanged in another file.
    BLOCKS_MOVED = "blocks_moved";
    /// Blocks whose hashes or version numbers were brought up to date without an edit.
    BLOCKS_METADATA = "blocks_metadata";
    /// Blocks archived because they are gone from the vault.
    BLOCKS_ARCHIVED = "blocks_archived";
    /// Archived blocks that are in the vault again.
    BLOCKS_RESTORED = "blocks_restored";
    /// Blocks gone from the vault but not archived yet.
    BLOCKS_MISSING = "blocks_missing";
    /// Edits refused because the vault is out of sync with the graph.
    CONFLICTS = "conflicts";
    /// Further occurrences of an id that another place holds.
    DUPLICATES = "duplicates";
    /// Markers without any text.
    EMPTY_BLOCKS = "empty_blocks";
    /// Markers whose version is behind the one last accepted, with the same text; in the files that were read.
    VERSION_BEHIND = "version_behind";
    /// Markers whose number was brought up to the graph's by write-back.
    WRITTEN_BACK = "written_back";
    /// Conflict copies of synchronising tools, which are not scanned.
    CONFLICT_COPIES = "conflict_copies";
    /// Notes that are likely copies of another note and share an id with it.
    LIKELY_COPIES = "likely_copies";
    /// Notes that patterns leave out.
    FILES_IGNORED = "files_ignored";
    /// Symbolic links that were not followed.
    LINKS_SKIPPED = "links_skipped";
    /// Notes left alone because of an unresolved merge.
    MERGE_CONFLICTS = "merge_conflicts";
    /// Things that are probably not meant.
    WARNINGS = "warnings";
    /// Whether a person should look.
    NEEDS_ATTENTION = "needs_attention";
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_name_stands_twice_in_the_table() {
        let mut names = super::ALL.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), super::ALL.len());
    }
}
