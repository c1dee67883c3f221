//! Blocks that are gone from the vault: archived, never deleted, and only when all of this holds.
//!
//! 1. Vault and tiers are there: a tier that had blocks and is gone is a wrong mount, not a deletion.
//! 2. Nothing unreadable hides the place where the block lived.
//! 3. At most the larger of 20 and a tenth of the live blocks are missing, unless a person says otherwise.
//! 4. The block was missing in two complete scans, `archive_after` apart.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{SecondsFormat, TimeDelta};

use crate::block::{BlockId, IdDigest, VaultPath};
use crate::graph::{Change, StoredBlock, Write};
use crate::job::JobError;

use super::books::Books;
use super::claim::{FileState, Home};
use super::fault::{graph_error, state_error};
use super::memory::MissingBlock;
use super::settings::OnMissing;
use super::survey::Survey;
use super::tally::Tally;

/// This many blocks may always go missing at once.
const FEW_BLOCKS: u64 = 20;

/// Beyond that, one in this many.
const SHARE: u64 = 10;

/// Nodes looked up and archived at once.
const CHUNK: usize = 1_000;

/// In how many complete scans a block must be missing.
const SCANS: u32 = 2;

/// A block that is live in the graph and nowhere in the vault.
struct Missing {
    block: MissingBlock,
    /// What the node looked like, in eight bytes: many may be missing at once.
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
        let block = MissingBlock { id, path: path.clone(), first_missing_at: survey.now, scans: 0 };
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
    let is_complete = are_tiers_in_place(survey, tally);
    let missing = still_missing(survey, books, candidates, is_complete)?;
    tally.stats.blocks_missing = missing.len() as u64;
    if is_complete && are_few(survey, tally, missing.len() as u64) {
        archive(survey, books, tally, missing)?;
    } else {
        keep_in_mind(books, tally, missing);
    }
    Ok(())
}

/// Remembers blocks that are missing but not archived.
fn keep_in_mind(books: &mut Books<'_>, tally: &mut Tally, missing: Vec<Missing>) {
    for Missing { block, .. } in missing {
        tally.explain(|| {
            let MissingBlock { id, path, first_missing_at: since, scans } = &block;
            let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
            let scans = if *scans == 1 { "1 scan".to_owned() } else { format!("{scans} scans") };
            format!("{id} {path}: missing: gone from the vault since {since}, missed by {scans}")
        });
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
            candidates.entry(id.as_str().to_owned()).or_insert_with(|| MissingBlock {
                id: id.as_str().to_owned(),
                path,
                first_missing_at: survey.now,
                scans: 0,
            });
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
    candidates: BTreeMap<String, MissingBlock>,
    is_complete: bool,
) -> Result<Vec<Missing>, JobError> {
    let mut missing = Vec::new();
    let candidates: Vec<MissingBlock> = candidates.into_values().collect();
    for chunk in candidates.chunks(CHUNK) {
        survey.ctx.checkpoint()?;
        let ids: Vec<BlockId> = chunk.iter().map(|block| BlockId::new(block.id.as_str())).collect();
        let mut nodes = survey.store.lookup(&ids).map_err(graph_error)?;
        for (block, id) in chunk.iter().zip(ids) {
            let node = nodes.remove(&id).filter(|node| !node.archived && node.hash.is_some());
            match node {
                Some(node) if !is_in_vault(survey, books, id.digest(), &node)? => {
                    if is_unknown(survey, books, &block.path)
                        || is_home_unknown(survey, books, &node)
                        || books.claims.seen(id.digest())
                    {
                        books.changes.missing.push(block.clone());
                    } else {
                        let block = block.clone();
                        let block = if is_complete { block.missed_at(survey.now) } else { block };
                        missing.push(Missing { block, seen: fingerprint(&node) });
                    }
                }
                _ => books.changes.found.push(block.id.clone()),
            }
        }
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

/// The first guard: a tier that had blocks and is gone is told to the person, and makes the scan incomplete.
fn are_tiers_in_place(survey: &Survey<'_>, tally: &mut Tally) -> bool {
    for tier in &survey.listing.missing_tiers {
        if survey.tiers_with_blocks.contains(tier) {
            tally.stats.needs_attention = true;
            tally.error(
                tier.to_string(),
                "this tier folder is gone and had blocks: mount it, or correct paths.tier1 to tier3; nothing is archived",
            );
        }
    }
    survey.tiers_with_blocks.is_empty()
}

/// The third guard: many missing blocks are told to the person, who may confirm them.
fn are_few(survey: &Survey<'_>, tally: &mut Tally, missing: u64) -> bool {
    let live = tally.blocks_in_vault + missing;
    if missing <= FEW_BLOCKS.max(live / SHARE) || survey.ctx.options.allow_archive {
        return true;
    }
    tally.stats.needs_attention = true;
    tally.warn("", format!(
        "{missing} of {live} blocks are missing from the vault: nothing is archived; if they were meant to go, \
         run `aclarai-scheduler run {} --allow-archive`",
        survey.ctx.job
    ));
    false
}

fn archive(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    missing: Vec<Missing>,
) -> Result<(), JobError> {
    let wait = TimeDelta::from_std(survey.settings.archive_after).unwrap_or(TimeDelta::MAX);
    let (ripe, early): (Vec<_>, Vec<_>) = missing.into_iter().partition(|missing| {
        let MissingBlock { scans, first_missing_at, .. } = missing.block;
        scans >= SCANS && survey.now - first_missing_at >= wait
    });
    if survey.ctx.options.allow_archive && !early.is_empty() {
        tally.warn("", format!(
            "missing blocks not archived yet: {}: two scans that lie archive_after apart must miss a block: run \
             `aclarai-scheduler run {} --allow-archive` again then",
            early.len(),
            survey.ctx.job
        ));
    }
    keep_in_mind(books, tally, early);
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
        let applied = survey.store.apply(&changes, survey.now).map_err(graph_error)?;
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
            tally.explain(|| format!("{} {}: archived: gone from the vault", block.id, block.path));
        }
    }
    Ok(())
}
