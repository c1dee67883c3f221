//! One id in several places: claims that wait for everything to be read are answered, and each occurrence that may not
//! write is told, with the place that may.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use unicode_normalization::UnicodeNormalization;

use crate::block::{BlockId, ContentHash, IdDigest, VaultPath};
use crate::graph::StoredBlock;
use crate::job::{Fault, JobError};
use crate::order;
use crate::vault::{BlockRef, ReadOutcome, ToRead};

use super::books::Books;
use super::claim::{Claims, FileState, Held, Holding, Home, Loser, Rank};
use super::fault::{graph_error, state_error};
use super::memory::StatCache;
use super::seen::FileIndex;
use super::survey::Survey;
use super::tally::Tally;

/// Ids looked up at once.
const CHUNK: usize = 1_000;

/// The graph's side of an id, beside an occurrence with these hashes.
pub(super) fn held(node: Option<&StoredBlock>, hashes: (ContentHash, ContentHash)) -> Held {
    let Some((node, v1)) = node.and_then(|node| Some((node, node.hash.as_deref()?))) else {
        return Held::Nothing;
    };
    let same = |hash: ContentHash, stored: &str| hash.to_string() == stored;
    // A node of the original has no second hash to compare.
    let v2_is_same = node.body_hash.as_deref().is_none_or(|v2| same(hashes.1, v2));
    if v2_is_same && same(hashes.0, v1) { Held::SameText } else { Held::OtherText }
}

/// An id that more than one file claims, and where it was found.
struct Contest {
    id: BlockId,
    occurrences: Vec<Occurrence>,
    /// A file that may hold it cannot be read now.
    is_unclear: bool,
}

struct Occurrence {
    at: Holding,
    in_code: bool,
    offset: u64,
}

/// Answers the claims that were left open because several files hold the id: reads all of these files once more, and
/// ranks what is found.
pub(super) fn contest(survey: &Survey<'_>, books: &mut Books<'_>) -> Result<(), JobError> {
    let mut contests = gather(survey, books)?;
    let mut ids: Vec<IdDigest> = contests.keys().copied().collect();
    ids.sort_unstable();
    let mut losers = Vec::new();
    for chunk in ids.chunks(CHUNK) {
        let wanted: Vec<BlockId> = chunk.iter().map(|id| contests[id].id.clone()).collect();
        let mut wanted_in_order = wanted.clone();
        wanted_in_order.sort_unstable();
        let nodes = survey.store.lookup(&wanted_in_order).map_err(graph_error)?;
        for (digest, id) in chunk.iter().zip(wanted) {
            let Some(contest) = contests.remove(digest) else { continue };
            let node = nodes.get(&id);
            let home = survey.home(node.and_then(|node| node.source_file.as_deref()));
            let owner = (!contest.is_unclear && is_home_known(books, home))
                .then(|| best(books, &contest, home, node))
                .flatten();
            books.contests.insert(*digest, owner);
            let Some(owner) = owner else { continue };
            for Occurrence { at, .. } in contest.occurrences {
                // Others have been told when they were met.
                let is_told = !books.claims.is_open(*digest, at.file)
                    && books.claims.files[at.file as usize] == FileState::Read;
                if at != owner && !is_told {
                    let id = id.clone();
                    losers.push(Loser { id, at, winner: owner.file, known: Some(owner) });
                }
            }
        }
    }
    order::sort_by_key(&mut losers, |loser| (books.claims.position(loser.at.file), loser.at.line));
    books.losers.append(&mut losers);
    Ok(())
}

fn is_home_known(books: &Books<'_>, home: Home) -> bool {
    match home {
        Home::None => true,
        Home::Hidden => false,
        Home::File(home) => {
            !matches!(books.claims.files[home as usize], FileState::Unknown | FileState::Awaited)
        }
    }
}

fn best(
    books: &Books<'_>,
    contest: &Contest,
    home: Home,
    node: Option<&StoredBlock>,
) -> Option<Holding> {
    let rank = |occurrence: &&Occurrence| {
        let file = occurrence.at.file;
        Rank {
            in_code: occurrence.in_code,
            away: home != Home::File(file),
            other_text: held(node, occurrence.at.hashes) == Held::OtherText,
            likely_copy: books.likely_copies.contains_key(&file),
            position: (books.claims.position(file), occurrence.offset),
        }
    };
    contest.occurrences.iter().min_by_key(rank).map(|occurrence| occurrence.at)
}

/// The contested ids, with every place that holds one.
fn gather(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
) -> Result<HashMap<IdDigest, Contest>, JobError> {
    let mut files: BTreeMap<FileIndex, HashSet<IdDigest>> = BTreeMap::new();
    let mut unclear: HashSet<IdDigest> = HashSet::new();
    for ids in books.claims.open().values() {
        for id in ids {
            let mut holders: BTreeSet<FileIndex> = books.claims.holders(*id).collect();
            if let Some(home) = books.called_in.get(id)
                && may_hold(survey, &books.claims, books.cache, *home, *id)?
            {
                holders.insert(*home);
            }
            if holders.len() < 2 {
                continue;
            }
            for holder in holders {
                match books.claims.files[holder as usize] {
                    FileState::Gone => {}
                    FileState::Unknown | FileState::Awaited => {
                        unclear.insert(*id);
                    }
                    FileState::Read | FileState::Vouched => {
                        files.entry(holder).or_default().insert(*id);
                    }
                }
            }
        }
    }
    let mut contests: HashMap<IdDigest, Contest> = HashMap::new();
    let wanted: Vec<(FileIndex, HashSet<IdDigest>)> = files.into_iter().collect();
    let indices: Vec<FileIndex> = wanted.iter().map(|(index, _)| *index).collect();
    read_again(survey, &indices, &mut |position, block| {
        let (file, ids) = &wanted[position];
        let Some(block) = block else {
            unclear.extend(ids);
            return;
        };
        let digest = IdDigest::of(block.id());
        if ids.contains(&digest) {
            let contest = contests.entry(digest).or_insert_with(|| Contest {
                id: BlockId::new(block.id()),
                occurrences: Vec::new(),
                is_unclear: false,
            });
            contest.occurrences.push(Occurrence {
                at: holding(*file, block),
                in_code: block.in_code(),
                offset: block.marker().start as u64,
            });
        }
    })?;
    for id in unclear {
        if let Some(contest) = contests.get_mut(&id) {
            contest.is_unclear = true;
        }
    }
    Ok(contests)
}

fn may_hold(
    survey: &Survey<'_>,
    claims: &Claims,
    cache: &mut StatCache,
    file: FileIndex,
    id: IdDigest,
) -> Result<bool, JobError> {
    match claims.files[file as usize] {
        FileState::Gone => Ok(false),
        FileState::Unknown | FileState::Awaited => Ok(true),
        FileState::Read => Ok(claims.holds(file, id)),
        FileState::Vouched => cache.holds(survey.path(file), id).map_err(state_error),
    }
}

pub(super) fn holding(file: FileIndex, block: BlockRef<'_>) -> Holding {
    Holding { file, line: block.line(), hashes: (block.hash(), block.body_hash()) }
}

/// Shows each block of these files, with the file's position in `indices`; `None` where a file cannot be read now. One
/// that has vanished shows nothing.
fn read_again(
    survey: &Survey<'_>,
    indices: &[FileIndex],
    visit: &mut dyn FnMut(usize, Option<BlockRef<'_>>),
) -> Result<(), JobError> {
    if indices.is_empty() {
        return Ok(());
    }
    let file = |index: &FileIndex| ToRead {
        file: &survey.listing.files[*index as usize],
        known: None,
        expected: None,
    };
    let files: Vec<ToRead<'_>> = indices.iter().map(file).collect();
    let mut position = 0;
    survey.read_in_order(&files, &mut |_, outcome| {
        match outcome {
            ReadOutcome::Parsed(_, parsed) => {
                parsed.blocks().for_each(|block| visit(position, Some(block)));
            }
            ReadOutcome::Vanished => {}
            _ => visit(position, None),
        }
        position += 1;
        ControlFlow::Continue(())
    })
}

/// Tells the losing occurrences met so far.
pub(super) fn tell(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
) -> Result<(), JobError> {
    let losers = std::mem::take(&mut books.losers);
    tally.stats.duplicates += losers.len() as u64;
    // Both sides are read in every run: should the node be deleted, neither must seem to be the only place.
    let winners: BTreeSet<FileIndex> = losers.iter().map(|loser| loser.winner).collect();
    let paths = winners.iter().map(|index| survey.path(*index).clone());
    books.changes.unsettled.extend(paths);
    let found = find_winners(survey, &losers)?;
    for loser in &losers {
        let winner = loser.known.or_else(|| found.get(&(loser.winner, loser.id.digest())).copied());
        let (home, file) = (survey.path(loser.winner), survey.path(loser.at.file));
        let (home, file) = apart(home, file);
        let home = match winner {
            Some(winner) => format!("{home}:{}", winner.line),
            None => home,
        };
        let place = format!("{file}:{}", loser.at.line);
        let fault = format!("duplicate_id: {} belongs to {home}", loser.id);
        tally.explain(|| format!("{} {place}: duplicate: the id belongs to {home}", loser.id));
        if winner.is_some_and(|winner| winner.hashes == loser.at.hashes) {
            let text = format!("{fault}: the text is the same: remove one of the two");
            tally.duplicate(Fault::warning(place, text));
        } else {
            let text = format!(
                "{fault}: the text differs and is not in the graph: give one of the two a new id"
            );
            tally.duplicate(Fault::error(place, text));
        }
    }
    Ok(())
}

/// The winning occurrences that are not known yet, found by reading their files once more: their texts are not held, and
/// the graph need not have them (in a dry run, or where the winner is a conflict).
fn find_winners(
    survey: &Survey<'_>,
    losers: &[Loser],
) -> Result<HashMap<(FileIndex, IdDigest), Holding>, JobError> {
    let mut wanted: BTreeMap<FileIndex, HashSet<IdDigest>> = BTreeMap::new();
    for loser in losers.iter().filter(|loser| loser.known.is_none()) {
        wanted.entry(loser.winner).or_default().insert(loser.id.digest());
    }
    let wanted: Vec<(FileIndex, HashSet<IdDigest>)> = wanted.into_iter().collect();
    let indices: Vec<FileIndex> = wanted.iter().map(|(index, _)| *index).collect();
    let mut found = HashMap::new();
    read_again(survey, &indices, &mut |position, block| {
        let (file, ids) = &wanted[position];
        if let Some(block) = block {
            let id = IdDigest::of(block.id());
            if ids.contains(&id) {
                found.entry((*file, id)).or_insert_with(|| holding(*file, block));
            }
        }
    })?;
    Ok(found)
}

/// Tells of notes that are likely copies of another one.
pub(super) fn tell_copies(survey: &Survey<'_>, books: &Books<'_>, tally: &mut Tally) {
    for (copy, original) in &books.likely_copies {
        tally.stats.likely_copies += 1;
        let original = survey.path(*original);
        tally.warn(
            survey.path(*copy).to_string(),
            format!(
                "likely_copy: it shares ids with {original}, and gives way to it: move what differs into {original} and \
                 remove this note, or give its blocks new ids"
            ),
        );
    }
}

/// Two paths as they are shown side by side: escaped where they would look alike, because they differ only in the
/// Unicode form of a letter.
fn apart(one: &VaultPath, other: &VaultPath) -> (String, String) {
    let (shown, other_shown) = (one.to_string(), other.to_string());
    if one == other || !shown.nfc().eq(other_shown.nfc()) {
        return (shown, other_shown);
    }
    let escape = |shown: String| -> String {
        let each =
            |c: char| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() };
        shown.chars().map(each).collect()
    };
    (escape(shown), escape(other_shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_differ_in_unicode_form_only_are_told_apart() {
        let paths = |a: &str, b: &str| apart(&VaultPath::new(a), &VaultPath::new(b));
        let (a, b) = paths("caf\u{e9}.md", "cafe\u{301}.md");
        assert_eq!((a.as_str(), b.as_str()), ("caf\\u{e9}.md", "cafe\\u{301}.md"));
        let (a, b) = paths("caf\u{e9}.md", "caf\u{e8}.md");
        assert_eq!((a.as_str(), b.as_str()), ("caf\u{e9}.md", "caf\u{e8}.md"));
    }
}
