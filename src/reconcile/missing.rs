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
use crate::vault::MissingBlock;

use super::claim::{FileState, Home};
use super::session::{Session, is_below};
use super::{OnMissing, graph_error, state_error};

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

impl Session<'_> {
    /// Notes blocks that a file no longer holds. Whether another one does is asked at the end.
    pub(super) fn miss(&mut self, ids: Vec<String>, path: &VaultPath) {
        if self.settings.on_missing == OnMissing::Ignore {
            return;
        }
        for id in ids {
            let block =
                MissingBlock { id, path: path.clone(), first_missing_at: self.now, scans: 0 };
            self.newly_missing.insert(block.id.clone(), block.clone());
            self.changes.missing.push(block);
        }
    }

    /// Forgets remembered files that are gone, and notes their blocks as missing.
    pub(super) fn forget_gone_files(&mut self) -> Result<(), JobError> {
        for path in self.gone() {
            if self.is_hidden(&path) {
                self.not_compared(path);
                continue;
            }
            // A file that is no longer part of what is scanned is none of this job's business, and not deleted.
            if self.is_scanned(&path) {
                let ids = self.cache.ids(&path).map_err(state_error)?;
                self.miss(ids, &path);
            }
            self.changes.removed.push(path);
        }
        Ok(())
    }

    /// Counts missing blocks and archives those that are missing long enough.
    pub(super) fn find_missing(&mut self) -> Result<(), JobError> {
        if self.settings.on_missing == OnMissing::Ignore {
            return Ok(());
        }
        let known = self.cache.missing().map_err(state_error)?;
        let mut candidates: BTreeMap<String, MissingBlock> =
            known.into_iter().map(|block| (block.id.clone(), block)).collect();
        for (id, block) in std::mem::take(&mut self.newly_missing) {
            candidates.entry(id).or_insert(block);
        }
        if self.full {
            self.search_graph(&mut candidates)?;
        }
        let is_complete = self.are_tiers_in_place();
        let missing = self.still_missing(candidates, is_complete)?;
        self.stats.blocks_missing = missing.len() as u64;
        if is_complete && self.are_few(missing.len() as u64) {
            self.archive(missing)?;
        } else {
            self.keep_in_mind(missing);
        }
        Ok(())
    }

    /// Remembers blocks that are missing but not archived.
    fn keep_in_mind(&mut self, missing: Vec<Missing>) {
        for Missing { block, .. } in missing {
            if self.ctx.options.explain {
                let MissingBlock { id, path, first_missing_at: since, scans } = &block;
                let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
                let scans =
                    if *scans == 1 { "1 scan".to_owned() } else { format!("{scans} scans") };
                self.explain(format!(
                    "{id} {path}: missing: gone from the vault since {since}, missed by {scans}"
                ));
            }
            self.changes.missing.push(block);
        }
    }

    /// On a full scan every id of the vault has been seen, so what else the graph holds of this vault is missing.
    fn search_graph(
        &self,
        candidates: &mut BTreeMap<String, MissingBlock>,
    ) -> Result<(), JobError> {
        self.store
            .for_each(&mut |id, node| {
                if node.archived || node.hash.is_none() || self.claims.is_held(id.digest()) {
                    return;
                }
                let Some(path) = self.path_in_vault(&node) else { return };
                candidates.entry(id.as_str().to_owned()).or_insert_with(|| MissingBlock {
                    id: id.as_str().to_owned(),
                    path,
                    first_missing_at: self.now,
                    scans: 0,
                });
            })
            .map_err(graph_error)
    }

    fn path_in_vault(&self, node: &StoredBlock) -> Option<VaultPath> {
        let file = std::path::Path::new(node.source_file.as_deref()?);
        let path = VaultPath::new(file.strip_prefix(&self.settings.vault.root).ok()?);
        self.is_scanned(&path).then_some(path)
    }

    fn is_scanned(&self, path: &VaultPath) -> bool {
        let tiers = &self.settings.vault.tiers;
        tiers.iter().all(Option::is_none) || tiers.iter().flatten().any(|tier| is_below(path, tier))
    }

    /// Those candidates that are live in the graph and nowhere in the vault, with one more scan counted if this one
    /// was complete. Those that may be where nobody can look now are kept in mind.
    fn still_missing(
        &mut self,
        candidates: BTreeMap<String, MissingBlock>,
        is_complete: bool,
    ) -> Result<Vec<Missing>, JobError> {
        let mut missing = Vec::new();
        let candidates: Vec<MissingBlock> = candidates.into_values().collect();
        for chunk in candidates.chunks(CHUNK) {
            self.ctx.checkpoint()?;
            let ids: Vec<BlockId> =
                chunk.iter().map(|block| BlockId::new(block.id.as_str())).collect();
            let mut nodes = self.store.lookup(&ids).map_err(graph_error)?;
            for (block, id) in chunk.iter().zip(ids) {
                let node = nodes.remove(&id).filter(|node| !node.archived && node.hash.is_some());
                match node {
                    Some(node) if !self.is_in_vault(id.digest(), &node)? => {
                        if self.is_unknown(&block.path)
                            || self.is_home_unknown(&node)
                            || self.claims.seen(id.digest())
                        {
                            self.changes.missing.push(block.clone());
                        } else {
                            let block = block.clone();
                            let block = if is_complete { block.missed_at(self.now) } else { block };
                            missing.push(Missing { block, seen: fingerprint(&node) });
                        }
                    }
                    _ => self.changes.found.push(block.id.clone()),
                }
            }
        }
        Ok(missing)
    }

    fn is_in_vault(&mut self, id: IdDigest, node: &StoredBlock) -> Result<bool, JobError> {
        if self.claims.is_held(id) {
            return Ok(true);
        }
        match self.home(node.source_file.as_deref()) {
            Home::File(home) if self.claims.files[home as usize] == FileState::Vouched => {
                self.cache.holds(&self.listing.files[home as usize].path, id).map_err(state_error)
            }
            _ => Ok(false),
        }
    }

    fn is_home_unknown(&self, node: &StoredBlock) -> bool {
        match self.home(node.source_file.as_deref()) {
            Home::File(home) => self.claims.files[home as usize] == FileState::Unknown,
            Home::Hidden => true,
            Home::None => false,
        }
    }

    fn is_unknown(&self, path: &VaultPath) -> bool {
        let listed = self.listing.files.binary_search_by(|file| file.path.cmp(path));
        self.is_hidden(path)
            || listed.is_ok_and(|index| self.claims.files[index] == FileState::Unknown)
    }

    /// The first guard: a tier that had blocks and is gone is told to the person, and makes the scan incomplete.
    fn are_tiers_in_place(&mut self) -> bool {
        for tier in &self.listing.missing_tiers {
            if self.tiers_with_blocks.contains(tier) {
                self.stats.needs_attention = true;
                self.error(format!(
                    "{tier}: this tier folder is gone and had blocks: mount it, or correct paths.tier1 to tier3; nothing \
                     is archived"
                ));
            }
        }
        self.tiers_with_blocks.is_empty()
    }

    /// The third guard: many missing blocks are told to the person, who may confirm them.
    fn are_few(&mut self, missing: u64) -> bool {
        let live = self.blocks_in_vault + missing;
        if missing <= FEW_BLOCKS.max(live / SHARE) || self.ctx.options.allow_archive {
            return true;
        }
        self.stats.needs_attention = true;
        self.warn(format!(
            "{missing} of {live} blocks are missing from the vault: nothing is archived; if they were meant to go, \
             run `aclarai-scheduler run {} --allow-archive`",
            self.ctx.job
        ));
        false
    }

    fn archive(&mut self, missing: Vec<Missing>) -> Result<(), JobError> {
        let wait = TimeDelta::from_std(self.settings.archive_after).unwrap_or(TimeDelta::MAX);
        let (ripe, early): (Vec<_>, Vec<_>) = missing.into_iter().partition(|missing| {
            let MissingBlock { scans, first_missing_at, .. } = missing.block;
            scans >= SCANS && self.now - first_missing_at >= wait
        });
        if self.ctx.options.allow_archive && !early.is_empty() {
            self.warn(format!(
                "missing blocks not archived yet: {}: two scans that lie archive_after apart must miss a block: run \
                 `aclarai-scheduler run {} --allow-archive` again then",
                early.len(),
                self.ctx.job
            ));
        }
        self.keep_in_mind(early);
        for chunk in ripe.chunks(CHUNK) {
            self.ctx.checkpoint()?;
            let ids: Vec<BlockId> =
                chunk.iter().map(|missing| BlockId::new(missing.block.id.as_str())).collect();
            let mut nodes = self.store.lookup(&ids).map_err(graph_error)?;
            let changes: Vec<Change> = chunk
                .iter()
                .zip(&ids)
                .filter_map(|(missing, id)| {
                    let node = nodes.remove(id).filter(|node| fingerprint(node) == missing.seen)?;
                    Some(Change { id: id.clone(), expected: Some(node), write: Write::Archive })
                })
                .collect();
            self.begin_writing().map_err(graph_error)?;
            let applied = self.store.apply(&changes, self.now).map_err(graph_error)?;
            let mut archived: HashSet<BlockId> =
                changes.into_iter().map(|change| change.id).collect();
            let left = applied.stale.iter().chain(applied.rejected.iter().map(|(id, _)| id));
            for id in left {
                archived.remove(id);
            }
            for (Missing { block, .. }, id) in chunk.iter().zip(ids) {
                if !archived.contains(&id) {
                    // Somebody changed it a moment ago: the next run looks again.
                    self.changes.missing.push(block.clone());
                    continue;
                }
                self.stats.blocks_archived += 1;
                self.stats.blocks_missing -= 1;
                self.changes.found.push(block.id.clone());
                if self.ctx.options.explain {
                    self.explain(format!(
                        "{} {}: archived: gone from the vault",
                        block.id, block.path
                    ));
                }
            }
        }
        Ok(())
    }
}
