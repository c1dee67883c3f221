//! Blocks that are gone from the vault: archived, never deleted, and only when all of this holds.
//!
//! 1. Vault and tiers are there: a tier that had blocks and is gone is a wrong mount, not a deletion.
//! 2. Nothing unreadable hides the place where the block lived, and nothing stands in for its note: a place holder of
//!    iCloud, or a copy where the note itself is gone.
//! 3. At most the larger of 20 and a tenth of the live blocks are missing, and at most half of them unless they are three
//!    or fewer, except where a person says otherwise.
//! 4. The block was missing in two complete scans, `archive_after` apart by the wall clock and by the time since boot; or
//!    in three, where the machine was started anew meanwhile.
//! 5. Its folder did not turn empty, and is on the device it was on; else the block waits for a day.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::TimeDelta;

use crate::block::{BlockId, IdDigest, VaultPath};
use crate::graph::{Change, StoredBlock, Write};
use crate::job::JobError;
use crate::text;

use super::books::Books;
use super::claim::{FileState, Home};
use super::fault::{graph_error, state_error};
use super::guards::{self, StandIns, Suspicion};
use super::memory::MissingBlock;
use super::phases::Phase;
use super::settings::OnMissing;
use super::survey::Survey;
use super::tally::{Kind, Tally};

/// Nodes looked up and archived at once.
const CHUNK: usize = 1_000;

/// A block that is live in the graph and nowhere in the vault.
struct Missing {
    block: MissingBlock,
    /// A fingerprint of the node, in eight bytes: many may be missing at once.
    seen: u64,
}

fn fingerprint(node: &StoredBlock) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    hasher.finish()
}

/// Notes blocks that a file no longer holds. Whether another one does is asked at the end.
pub(super) fn note(survey: &Survey<'_>, books: &mut Books<'_>, ids: Vec<String>, path: &VaultPath) {
    if survey.settings.on_missing == OnMissing::Ignore {
        return;
    }
    for id in ids {
        let block = MissingBlock::new(id, path.clone(), survey.now);
        books.newly_missing.insert(block.id.clone(), block.clone());
        books.changes.missing.push(block);
    }
}

/// Forgets remembered files that are gone, and notes their blocks as missing.
pub(super) fn forget_gone_files(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
) -> Result<(), JobError> {
    for path in std::mem::take(&mut books.gone) {
        if survey.is_hidden(&path) {
            books.not_compared(survey, path);
            continue;
        }
        // A file that is no longer part of what is scanned is none of this job's business, and not deleted.
        if survey.is_scanned(&path) {
            let ids = books.cache.ids(&path).map_err(state_error)?;
            note(survey, books, ids, &path);
        }
        books.changes.removed.push(path);
    }
    Ok(())
}

/// Counts missing blocks and archives those that are missing long enough.
pub(super) fn find(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
) -> Result<(), JobError> {
    if survey.settings.on_missing == OnMissing::Ignore {
        return Ok(());
    }
    let known = books.cache.missing().map_err(state_error)?;
    let mut candidates: BTreeMap<String, MissingBlock> =
        known.into_iter().map(|block| (block.id.clone(), block)).collect();
    for (id, block) in std::mem::take(&mut books.newly_missing) {
        candidates.entry(id).or_insert(block);
    }
    if survey.full {
        search_graph(survey, books, &mut candidates)?;
    }
    let is_complete = guards::are_tiers_in_place(survey, tally);
    let missing = still_missing(survey, books, tally, candidates, is_complete)?;
    tally.stats.blocks_missing = missing.len() as u64;
    let is_clock_set = missing.is_empty() || guards::is_clock_set(survey, tally);
    if is_complete && is_clock_set && guards::are_few(survey, tally, missing.len() as u64) {
        archive(survey, books, tally, missing)?;
    } else {
        keep_in_mind(survey, books, tally, missing);
    }
    Ok(())
}

/// Why no run meets the note any more.
fn why_gone(survey: &Survey<'_>, path: &VaultPath) -> String {
    match survey.listing.ignore.why(path) {
        Some(by) => by.to_string(),
        None => "gone from the vault".to_owned(),
    }
}

/// Remembers blocks that are missing but not archived.
fn keep_in_mind(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    missing: Vec<Missing>,
) {
    for Missing { block, .. } in missing {
        tally.explain(|| {
            let MissingBlock { id, path, first_missing_at: since, scans, .. } = &block;
            let since = text::instant(*since);
            let scans = if *scans == 1 { "1 scan".to_owned() } else { format!("{scans} scans") };
            let why = why_gone(survey, path);
            format!("{id} {path}: missing: {why} since {since}, missed by {scans}")
        });
        tally.waits(
            Kind::Missing,
            block.path.to_string(),
            &format!("{} is gone from the vault", block.id),
            "put it back if it was not meant to go; it is archived once two scans that lie archive_after apart missed it",
        );
        books.changes.missing.push(block);
    }
}

/// On a full scan every id of the vault has been seen, so what else the graph holds of this vault is missing.
fn search_graph(
    survey: &Survey<'_>,
    books: &Books<'_>,
    candidates: &mut BTreeMap<String, MissingBlock>,
) -> Result<(), JobError> {
    survey
        .store
        .for_each(&mut |id, node| {
            if node.archived || node.hash.is_none() || books.claims.is_held(id.digest()) {
                return;
            }
            let Some(path) = path_in_vault(survey, &node) else { return };
            candidates
                .entry(id.as_str().to_owned())
                .or_insert_with(|| MissingBlock::new(id.as_str().to_owned(), path, survey.now));
        })
        .map_err(graph_error)
}

fn path_in_vault(survey: &Survey<'_>, node: &StoredBlock) -> Option<VaultPath> {
    let file = std::path::Path::new(node.source_file.as_deref()?);
    let path = VaultPath::new(file.strip_prefix(&survey.settings.vault.root).ok()?);
    survey.is_scanned(&path).then_some(path)
}

/// Those candidates that are live in the graph and nowhere in the vault, with one more scan counted if this one
/// was complete. Those that may be where nobody can look now are kept in mind.
fn still_missing(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    candidates: BTreeMap<String, MissingBlock>,
    is_complete: bool,
) -> Result<Vec<Missing>, JobError> {
    let mut missing = Vec::new();
    let mut stand_ins = StandIns::of(survey);
    let mut future = 0;
    let candidates: Vec<MissingBlock> = candidates.into_values().collect();
    for chunk in candidates.chunks(CHUNK) {
        survey.ctx.checkpoint()?;
        let ids: Vec<BlockId> = chunk.iter().map(|block| BlockId::new(block.id.as_str())).collect();
        let mut nodes = survey.store.lookup(&ids).map_err(graph_error)?;
        for (block, id) in chunk.iter().zip(ids) {
            let node = nodes.remove(&id).filter(|node| !node.archived && node.hash.is_some());
            match node {
                Some(node) if !is_in_vault(survey, books, id.digest(), &node)? => {
                    // It may have moved on since it was first missed, in a run that was cut short.
                    let path = path_in_vault(survey, &node).unwrap_or_else(|| block.path.clone());
                    let block = &MissingBlock { path, ..block.clone() };
                    stand_ins.tell(survey, tally, &block.path);
                    if stand_ins.has(survey, &block.path)
                        || is_unknown(survey, books, &block.path)
                        || is_home_unknown(survey, books, &node)
                        || books.claims.seen(id.digest())
                    {
                        books.changes.missing.push(block.clone());
                    } else {
                        let block = block.clone();
                        future += u64::from(block.first_missing_at > survey.now);
                        let block = if is_complete {
                            block.missed_at(survey.now, &survey.boot)
                        } else {
                            block
                        };
                        missing.push(Missing { block, seen: fingerprint(&node) });
                    }
                }
                _ => books.changes.found.push(block.id.clone()),
            }
        }
    }
    if future > 0 {
        tally.warn(
            "",
            format!(
                "{future} blocks were first missed at a time that has not come yet: the clock was wrong then, and they count \
                 as missed since now"
            ),
        );
    }
    Ok(missing)
}

fn is_in_vault(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    id: IdDigest,
    node: &StoredBlock,
) -> Result<bool, JobError> {
    if books.claims.is_held(id) {
        return Ok(true);
    }
    match survey.home(node.source_file.as_deref()) {
        Home::File(home) if books.claims.files[home as usize] == FileState::Vouched => {
            books.cache.holds(survey.path(home), id).map_err(state_error)
        }
        _ => Ok(false),
    }
}

fn is_home_unknown(survey: &Survey<'_>, books: &Books<'_>, node: &StoredBlock) -> bool {
    match survey.home(node.source_file.as_deref()) {
        Home::File(home) => books.claims.files[home as usize] == FileState::Unknown,
        Home::Hidden => true,
        Home::None => false,
    }
}

fn is_unknown(survey: &Survey<'_>, books: &Books<'_>, path: &VaultPath) -> bool {
    survey.is_hidden(path)
        || survey
            .listed(path)
            .is_some_and(|index| books.claims.files[index as usize] == FileState::Unknown)
}

/// Tells of notes whose blocks are gone as if a mount were.
fn tell_suspicious(
    survey: &Survey<'_>,
    tally: &mut Tally,
    suspicious: BTreeMap<(VaultPath, &'static str), u64>,
) {
    for ((note, doubt), blocks) in suspicious {
        tally.stats.needs_attention = true;
        let message = format!("{blocks} blocks are missing and {doubt}, as where a mount is gone");
        let remedy = format!(
            "mount it; if the note was deleted, wait a day or run `aclarai-scheduler run {} --allow-archive`",
            survey.ctx.job
        );
        tally.waits(Kind::Suspicious, note.to_string(), &message, &remedy);
        tally.warn(note.to_string(), format!("{message}: {remedy}"));
    }
}

fn archive(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    missing: Vec<Missing>,
) -> Result<(), JobError> {
    let wait = TimeDelta::from_std(survey.settings.archive_after).unwrap_or(TimeDelta::MAX);
    let confirmed = survey.ctx.options.allow_archive;
    let mounts = books.cache.mounts().map_err(state_error)?;
    let mut suspicion = Suspicion::new(survey, &mounts);
    let mut suspicious: BTreeMap<(VaultPath, &'static str), u64> = BTreeMap::new();
    let (ripe, early): (Vec<_>, Vec<_>) = missing.into_iter().partition(|missing| {
        let block = &missing.block;
        let doubt = if confirmed { None } else { suspicion.about(&block.path) };
        let wait = if doubt.is_some() { guards::suspicion_lasts(wait) } else { wait };
        let is_ripe = block.is_missed_long_enough(wait, survey.now, &survey.boot);
        if let (Some(doubt), false) = (doubt, is_ripe) {
            *suspicious.entry((block.path.clone(), doubt)).or_default() += 1;
        }
        is_ripe
    });
    tell_suspicious(survey, tally, suspicious);
    if confirmed && !early.is_empty() {
        tally.warn("", format!(
            "missing blocks not archived yet: {}: two scans that lie archive_after apart must miss a block: run \
             `aclarai-scheduler run {} --allow-archive` again then",
            early.len(),
            survey.ctx.job
        ));
    }
    keep_in_mind(survey, books, tally, early);
    for chunk in ripe.chunks(CHUNK) {
        survey.ctx.checkpoint()?;
        let ids: Vec<BlockId> =
            chunk.iter().map(|missing| BlockId::new(missing.block.id.as_str())).collect();
        let mut nodes = survey.store.lookup(&ids).map_err(graph_error)?;
        let changes: Vec<Change> = chunk
            .iter()
            .zip(&ids)
            .filter_map(|(missing, id)| {
                let node = nodes.remove(id).filter(|node| fingerprint(node) == missing.seen)?;
                Some(Change { id: id.clone(), expected: Some(node), write: Write::Archive })
            })
            .collect();
        books.begin_writing(survey).map_err(graph_error)?;
        let apply = || survey.store.apply(&changes, survey.now);
        let applied = survey.phases.during(Phase::Write, apply).map_err(graph_error)?;
        let mut archived: HashSet<BlockId> = changes.into_iter().map(|change| change.id).collect();
        let left = applied.stale.iter().chain(applied.rejected.iter().map(|(id, _)| id));
        for id in left {
            archived.remove(id);
        }
        for (Missing { block, .. }, id) in chunk.iter().zip(ids) {
            if !archived.contains(&id) {
                // Somebody changed it a moment ago: the next run looks again.
                books.changes.missing.push(block.clone());
                continue;
            }
            tally.stats.blocks_archived += 1;
            tally.stats.blocks_missing -= 1;
            books.changes.found.push(block.id.clone());
            tally.explain(|| {
                format!("{} {}: archived: {}", block.id, block.path, why_gone(survey, &block.path))
            });
        }
    }
    Ok(())
}
