//! The order of one sync, on top: list, survey, read, write, find what is missing, remember.

use crate::graph::GraphStore;
use crate::job::{JobError, RunContext, RunReport};
use crate::logging;
use crate::vault::{self, Listing, WalkOptions};

use super::books::Books;
use super::duplicates;
use super::fault::{state_error, vault_error};
use super::guards;
use super::look::look_at;
use super::memory::StatCache;
use super::missing;
use super::phases::{Phase, Phases};
use super::settings::{Scope, SyncSettings};
use super::settle::{self, Look};
use super::stranger;
use super::survey::{Findings, Survey};
use super::tally::{Kind, Tally};
use super::trust::Verdict;

/// Brings the graph in step with the vault.
pub(crate) fn sync_vault(
    settings: &SyncSettings,
    scope: Scope,
    store: &dyn GraphStore,
    cache: &mut StatCache,
    ctx: &RunContext<'_>,
) -> Result<RunReport, JobError> {
    let phases = Phases::begin(ctx.clock);
    let mut result = walk_and_carry_out(settings, scope, store, cache, ctx, &phases);
    match &mut result {
        Ok(report) => phases.tell(report),
        Err(error) => {
            if let Some(report) = &mut error.report {
                phases.tell(report);
            }
        }
    }
    result
}

fn walk_and_carry_out(
    settings: &SyncSettings,
    scope: Scope,
    store: &dyn GraphStore,
    cache: &mut StatCache,
    ctx: &RunContext<'_>,
    phases: &Phases<'_>,
) -> Result<RunReport, JobError> {
    ctx.progress.phase("listing", None);
    let options = WalkOptions {
        follow_links: settings.follow_links,
        threads: settings.threads,
        ignore: settings.ignore.clone(),
    };
    let listing = cache
        .read_ahead(|| vault::list(&settings.vault, &options, &ctx.stop))
        .map_err(|error| vault_error(error, ctx))?;
    phases.enter(Phase::Compare);
    let mut tally = Tally::new(ctx.options.explain);
    if stranger::is_stranger(settings, store, cache, ctx, &listing, phases, &mut tally)? {
        return Ok(tally.into_report());
    }
    cache.adopt().map_err(state_error)?;
    let (survey, findings) = Survey::make(settings, scope, store, cache, ctx, &listing, phases)?;
    phases.enter(Phase::Decide);
    tell_listing(&survey, &findings, &mut tally);
    look_after_left_overs(&survey, &mut tally);
    let mut books = Books::open(&survey, cache, findings.gone);
    match carry_out(&survey, &mut books, &mut tally) {
        Ok(()) => Ok(tally.into_report()),
        Err(error) => Err(error.with_report(tally.into_report())),
    }
}

fn carry_out(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
) -> Result<(), JobError> {
    look_at(survey, books, tally, Look::First)?;
    look_at(survey, books, tally, Look::Second)?;
    duplicates::contest(survey, books)?;
    look_at(survey, books, tally, Look::Last)?;
    duplicates::tell(survey, books, tally)?;
    duplicates::tell_copies(survey, books, tally);
    // Files that seem gone are not gone when the vault itself is.
    survey.listing.root.check_in_place().map_err(|error| vault_error(error, survey.ctx))?;
    if survey.scope == Scope::All {
        missing::forget_gone_files(survey, books)?;
        missing::find(survey, books, tally)?;
    }
    tell_of_no_marker(tally);
    settle::tell_of_young_notes(survey, tally);
    guards::note_mounts(survey, books)?;
    books.changes.attention = (survey.scope == Scope::All).then(|| tally.take_waiting());
    books.close(survey)
}

/// A write-back that was cut short may have left the only copy of a person's work under a hidden name.
fn look_after_left_overs(survey: &Survey<'_>, tally: &mut Tally) {
    if survey.ctx.options.dry_run {
        return;
    }
    for left_over in &survey.listing.left_overs {
        match vault::recover(&survey.listing.root, left_over, survey.settings.parse) {
            Ok(None) => {}
            Ok(Some(kept)) => tally.error(
                kept.to_string(),
                "kept from a write-back that was cut short: compare it with the note and remove one of the two",
            ),
            Err(fault) => tally.error(fault.path.to_string(), fault.kind.to_string()),
        }
    }
}

/// A vault with notes and not one marker syncs well, and nothing comes of it.
fn tell_of_no_marker(tally: &mut Tally) {
    let stats = &tally.stats;
    let all_seen = stats.files_processed + stats.files_skipped == stats.files_scanned;
    if stats.files_scanned > 0 && all_seen && tally.blocks_in_vault == 0 {
        let notes = stats.files_scanned;
        tally.warn(
            "",
            format!(
                "{notes} notes and not one marker, so nothing can come into the graph: docs/markers.md shows what a marker \
                 is and who writes it"
            ),
        );
    }
}

/// Counts and tells what the listing and what is remembered say by themselves.
fn tell_listing(survey: &Survey<'_>, findings: &Findings, tally: &mut Tally) {
    let listing: &Listing = survey.listing;
    tally.stats.files_scanned = listing.files.len() as u64;
    tally.stats.files_ignored = listing.files_ignored();
    tally.stats.links_skipped = listing.links_skipped.len() as u64;
    for link in &listing.links_skipped {
        logging::debug!(job_id = survey.ctx.run_id.as_str(); "{link}: a symbolic link: not followed");
    }
    if let Some(first) = listing.place_holders.first() {
        let notes = listing.place_holders.len();
        tally.warn(
            "",
            format!(
                "{notes} place holders of notes that lie on a server, such as {first}: the notes are not read, and what the \
                 graph has of them stays as it is: let the sync program download them"
            ),
        );
    }
    tally.stats.conflict_copies = listing.conflict_copies.len() as u64;
    for verdict in &survey.verdicts {
        if let Verdict::Unchanged(blocks) = verdict {
            tally.stats.files_skipped += 1;
            tally.stats.blocks_unchanged += u64::from(*blocks);
        }
    }
    tally.blocks_in_vault = tally.stats.blocks_unchanged;
    for remark in &findings.remarks {
        tally.warn("", remark);
    }
    for fault in &listing.faults {
        tally.error(fault.path.to_string(), fault.kind.to_string());
    }
    for copy in &listing.conflict_copies {
        let original = guards::original_of(copy).filter(|note| survey.listed(note).is_none());
        let text = match &original {
            // Nothing of the note is taken for deleted meanwhile.
            Some(note) => format!(
                "conflict copy of a sync program, not scanned, and {note} itself is gone: rename the copy to {note}"
            ),
            None => {
                "conflict copy of a sync program, not scanned: merge it and remove it".to_owned()
            }
        };
        if let Some(note) = &original {
            let message = format!("a conflict copy is all that is left of {note}");
            tally.waits(
                Kind::Note,
                copy.to_string(),
                &message,
                "rename the copy to the note's name",
            );
        }
        tally.warn(copy.to_string(), text);
    }
    // One tier may well be missing; with none of them a sync succeeds every time, and does nothing.
    let missing: Vec<String> = listing
        .missing_tiers
        .iter()
        .filter(|tier| !survey.tiers_with_blocks.contains(*tier))
        .map(ToString::to_string)
        .collect();
    if listing.files.is_empty() && !missing.is_empty() {
        tally.warn(
            "",
            format!(
                "no note found, and there is no folder {}: create it, or correct paths.tier1 to paths.tier3",
                missing.join(", ")
            ),
        );
    }
}
