//! Another vault on the same state folder or graph: merged without a word, it would move and archive blocks of both.
//! So a vault at a path that neither side knows is compared with what they know before anything is written.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::block::IdDigest;
use crate::graph::GraphStore;
use crate::job::{JobError, RunContext};
use crate::vault::{Listing, ReadOutcome, ToRead};

use super::fault::{graph_error, state_error};
use super::memory::StatCache;
use super::phases::Phases;
use super::reading::read_in_order;
use super::settings::SyncSettings;
use super::tally::Tally;

/// Whether the vault is not the one that is known, which is told then.
pub(super) fn is_stranger(
    settings: &SyncSettings,
    store: &dyn GraphStore,
    cache: &StatCache,
    ctx: &RunContext<'_>,
    listing: &Listing,
    phases: &Phases<'_>,
    tally: &mut Tally,
) -> Result<bool, JobError> {
    if ctx.options.accept_vault {
        return Ok(false);
    }
    let root = &settings.vault.root;
    let mut known = HashSet::new();
    let of_state = cache.root_elsewhere().map_err(state_error)?;
    let (knower, elsewhere) = if let Some(elsewhere) = of_state {
        let note = &mut |id: &str| {
            known.insert(IdDigest::of(id));
        };
        cache.each_id_elsewhere(note).map_err(state_error)?;
        ("the state folder", elsewhere)
    } else {
        ("the graph", known_to_graph(root, store, &mut known)?)
    };
    let (all, mut found) = (known.len(), 0);
    if all == 0 {
        return Ok(false);
    }
    let files: Vec<ToRead<'_>> =
        listing.files.iter().map(|file| ToRead { file, known: None, expected: None }).collect();
    ctx.progress.phase("comparing with the known vault", Some(files.len() as u64));
    read_in_order(settings, ctx, listing, phases, &files, &mut |_, outcome| {
        ctx.progress.advance(1, 0);
        if let ReadOutcome::Parsed(_, parsed) = outcome {
            let ids = parsed.blocks().map(|block| IdDigest::of(block.id()));
            found += ids.filter(|id| known.remove(id)).count();
        }
        if found * 2 >= all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if found * 2 >= all {
        return Ok(false);
    }
    tally.stats.files_scanned = listing.files.len() as u64;
    tally.stats.needs_attention = true;
    tally.error(
        root.display().to_string(),
        format!(
            "another vault: {knower} knows {all} blocks of {}, and {found} of them are here: nothing is written: correct \
             paths.vault, or give each vault a state folder and a graph of its own; if this one is meant, run \
             `aclarai-scheduler run {} --accept-vault`",
            elsewhere.display(),
            ctx.job
        ),
    );
    Ok(true)
}

/// The live blocks that the graph has of a vault elsewhere, and a file of it; none where the graph knows this vault too.
fn known_to_graph(
    root: &Path,
    store: &dyn GraphStore,
    known: &mut HashSet<IdDigest>,
) -> Result<PathBuf, JobError> {
    let mut example = PathBuf::new();
    if store.token(&root.to_string_lossy()).map_err(graph_error)?.is_some() {
        return Ok(example);
    }
    let mut knows_this_one = false;
    store
        .for_each(&mut |id, node| {
            let Some(file) = node.source_file.as_deref().map(Path::new) else { return };
            if node.hash.is_none() || node.archived || !file.is_absolute() {
                return;
            }
            if file.starts_with(root) {
                knows_this_one = true;
            } else {
                known.insert(id.digest());
                if example.as_os_str().is_empty() {
                    example = file.to_owned();
                }
            }
        })
        .map_err(graph_error)?;
    if knows_this_one {
        known.clear();
    }
    Ok(example)
}
