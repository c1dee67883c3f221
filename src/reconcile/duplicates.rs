//! One id in several places: each occurrence that may not write is told, with the place that may.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use crate::block::{BlockId, ContentHash};
use crate::job::JobError;
use crate::vault::{self, ReadOptions, ReadOutcome, ToRead};

use super::seen::FileIndex;
use super::session::Session;
use super::vault_error;

/// An occurrence of an id that belongs to another place.
pub(super) struct Loser {
    pub(super) id: BlockId,
    pub(super) file: FileIndex,
    pub(super) line: u32,
    /// v1 and v2.
    pub(super) hashes: (ContentHash, ContentHash),
    pub(super) winner: FileIndex,
}

/// The winning occurrence of an id: its line, and both its hashes.
struct Found {
    line: u32,
    hashes: (ContentHash, ContentHash),
}

impl Session<'_> {
    /// Tells the losing occurrences met so far.
    pub(super) fn compare_losers(&mut self) -> Result<(), JobError> {
        let losers = std::mem::take(&mut self.losers);
        if losers.is_empty() {
            return Ok(());
        }
        self.stats.duplicates += losers.len() as u64;
        let mut wanted: BTreeMap<FileIndex, HashSet<&BlockId>> = BTreeMap::new();
        for loser in &losers {
            wanted.entry(loser.winner).or_default().insert(&loser.id);
        }
        // Both sides are read in every run: should the node be deleted, neither must seem to be the only place.
        let files = &self.listing.files;
        let path = |index: &FileIndex| files[*index as usize].path.clone();
        self.changes.unsettled.extend(wanted.keys().map(path));
        let winners = self.find_winners(&wanted)?;
        for loser in &losers {
            let winner = winners.get(&(loser.winner, loser.id.clone()));
            let home = &self.listing.files[loser.winner as usize].path;
            let home = match winner {
                Some(winner) => format!("{home}:{}", winner.line),
                None => home.to_string(),
            };
            let place = format!("{}:{}", self.listing.files[loser.file as usize].path, loser.line);
            let fault = format!("{place}: duplicate_id: {} belongs to {home}", loser.id);
            if self.ctx.options.explain {
                self.explain(format!("{} {place}: duplicate: the id belongs to {home}", loser.id));
            }
            if winner.is_some_and(|winner| winner.hashes == loser.hashes) {
                self.warn(format!("{fault}: the text is the same: remove one of the two"));
            } else {
                self.error(format!("{fault}: the text differs and is not in the graph: give one of the two a new id"));
            }
        }
        Ok(())
    }

    /// The winning occurrences, found by reading their files once more: their texts are not held, and the graph need
    /// not have them (in a dry run, or where the winner is a conflict).
    fn find_winners(
        &self,
        wanted: &BTreeMap<FileIndex, HashSet<&BlockId>>,
    ) -> Result<HashMap<(FileIndex, BlockId), Found>, JobError> {
        let (ctx, listing) = (self.ctx, self.listing);
        let file = |index: &FileIndex| ToRead {
            file: &listing.files[*index as usize],
            known: None,
            expected: None,
        };
        let files: Vec<ToRead<'_>> = wanted.keys().map(file).collect();
        let interrupt = || ctx.checkpoint().is_err();
        let (parse, threads) = (self.settings.parse, self.settings.threads);
        let options = ReadOptions { parse, threads, clock: ctx.clock, interrupt: &interrupt };
        let mut found = HashMap::new();
        let mut winners = wanted.iter();
        vault::read_in_order(&listing.root, &files, &options, &mut |_, outcome| {
            if let (Some((index, ids)), ReadOutcome::Parsed(_, parsed)) = (winners.next(), outcome)
            {
                for block in parsed.blocks() {
                    let id = BlockId::new(block.id());
                    if ids.contains(&id) {
                        found.entry((*index, id)).or_insert(Found {
                            line: block.line(),
                            hashes: (block.hash(), block.body_hash()),
                        });
                    }
                }
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| vault_error(error, ctx))?;
        Ok(found)
    }
}
