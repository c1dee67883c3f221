//! One id in several places: each occurrence that may not write is told, with the place that may.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use crate::block::{BlockId, ContentHash};
use crate::job::JobError;
use crate::vault::{self, ReadOptions, ReadOutcome, ToRead};

use super::books::Books;
use super::fault::vault_error;
use super::seen::FileIndex;
use super::survey::Survey;
use super::tally::Tally;

/// The winning occurrence of an id: its line, and both its hashes.
struct Found {
    line: u32,
    hashes: (ContentHash, ContentHash),
}

/// Tells the losing occurrences met so far.
pub(super) fn tell(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
) -> Result<(), JobError> {
    let losers = std::mem::take(&mut books.losers);
    if losers.is_empty() {
        return Ok(());
    }
    tally.stats.duplicates += losers.len() as u64;
    let mut wanted: BTreeMap<FileIndex, HashSet<&BlockId>> = BTreeMap::new();
    for loser in &losers {
        wanted.entry(loser.winner).or_default().insert(&loser.id);
    }
    // Both sides are read in every run: should the node be deleted, neither must seem to be the only place.
    books.changes.unsettled.extend(wanted.keys().map(|index| survey.path(*index).clone()));
    let winners = find_winners(survey, &wanted)?;
    for loser in &losers {
        let winner = winners.get(&(loser.winner, loser.id.clone()));
        let home = survey.path(loser.winner);
        let home = match winner {
            Some(winner) => format!("{home}:{}", winner.line),
            None => home.to_string(),
        };
        let place = format!("{}:{}", survey.path(loser.file), loser.line);
        let fault = format!("duplicate_id: {} belongs to {home}", loser.id);
        tally.explain(|| format!("{} {place}: duplicate: the id belongs to {home}", loser.id));
        if winner.is_some_and(|winner| winner.hashes == loser.hashes) {
            tally.warn(place, format!("{fault}: the text is the same: remove one of the two"));
        } else {
            tally.error(
                place,
                format!("{fault}: the text differs and is not in the graph: give one of the two a new id"),
            );
        }
    }
    Ok(())
}

/// The winning occurrences, found by reading their files once more: their texts are not held, and the graph need
/// not have them (in a dry run, or where the winner is a conflict).
fn find_winners(
    survey: &Survey<'_>,
    wanted: &BTreeMap<FileIndex, HashSet<&BlockId>>,
) -> Result<HashMap<(FileIndex, BlockId), Found>, JobError> {
    let (ctx, listing) = (survey.ctx, survey.listing);
    let file = |index: &FileIndex| ToRead {
        file: &listing.files[*index as usize],
        known: None,
        expected: None,
    };
    let files: Vec<ToRead<'_>> = wanted.keys().map(file).collect();
    let (parse, threads) = (survey.settings.parse, survey.settings.threads);
    let options = ReadOptions { parse, threads, clock: ctx.clock, stop: &ctx.stop };
    let mut found = HashMap::new();
    let mut winners = wanted.iter();
    vault::read_in_order(&listing.root, &files, &options, &mut |_, outcome| {
        if let (Some((index, ids)), ReadOutcome::Parsed(_, parsed)) = (winners.next(), outcome) {
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
