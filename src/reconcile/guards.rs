//! Guards that keep missing blocks from being archived: places that cannot be looked into now, and signs that it was no person
//! who took the blocks away.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use chrono::TimeDelta;

use crate::block::VaultPath;
use crate::clock;

use crate::job::JobError;
use crate::vault;

use super::books::Books;
use super::fault::state_error;
use super::survey::Survey;
use super::tally::{Kind, Tally};

/// This many blocks may always go missing at once, if they are not more than half of all.
const FEW_BLOCKS: u64 = 20;

/// Beyond that, one in this many.
const SHARE: u64 = 10;

/// This many may go even if they are more than half of all: a vault may be very small.
const HANDFUL: u64 = 3;

/// How long blocks wait whose folder looks as if a mount were gone.
const SUSPICION_LASTS: TimeDelta = TimeDelta::days(1);

/// The notes that are gone while something stands in for them.
pub(super) struct StandIns {
    /// Copies and place holders, by the note whose name they carry.
    copies: HashMap<VaultPath, VaultPath>,
    /// Those notes of which an editor's backup is all that is left, and that had blocks.
    told: HashSet<VaultPath>,
}

impl StandIns {
    /// Those that the listing shows.
    pub(super) fn of(survey: &Survey<'_>) -> StandIns {
        let mut copies = HashMap::new();
        let listing = survey.listing;
        let by_copy = listing.conflict_copies.iter().chain(&listing.backups);
        for copy in by_copy.chain(&listing.place_holders) {
            if let Some(original) = original_of(copy)
                && survey.listed(&original).is_none()
            {
                copies.entry(original).or_insert_with(|| copy.clone());
            }
        }
        StandIns { copies, told: HashSet::new() }
    }

    /// Tells once what stands in for the note at `path`, if that is an editor's backup. Conflict copies have been told.
    pub(super) fn tell(&mut self, survey: &Survey<'_>, tally: &mut Tally, path: &VaultPath) {
        let Some(copy) = self.copies.get(path) else { return };
        if survey.listing.backups.binary_search(copy).is_err() || !self.told.insert(path.clone()) {
            return;
        }
        tally.waits(
            Kind::Note,
            copy.to_string(),
            &format!("all that is left of {path}"),
            "rename it to the note's name, or remove it if the note was meant to go",
        );
        tally.warn(
            copy.to_string(),
            format!(
                "an editor's backup is all that is left of {path}: rename it to {path}, or remove it if the note was meant to go"
            ),
        );
    }

    /// Whether something stands in for the note at `path`, so that what it holds is not known.
    pub(super) fn has(&self, survey: &Survey<'_>, path: &VaultPath) -> bool {
        survey.listed(path).is_none() && self.copies.contains_key(path)
    }
}

/// The note that a copy was made of or that a place holder stands for, as its name tells.
pub(super) fn original_of(copy: &VaultPath) -> Option<VaultPath> {
    use std::os::unix::ffi::OsStrExt;
    let name = copy.as_path().file_name()?.as_bytes();
    let original = match vault::placeholder_of(name) {
        Some(note) => note.to_vec(),
        None => vault::copy_by_name(name)?.of?,
    };
    let folder = copy.as_path().parent().unwrap_or(Path::new(""));
    Some(VaultPath::new(folder.join(std::ffi::OsStr::from_bytes(&original))))
}

/// Whether the clock may be believed with what is done for good.
pub(super) fn is_clock_set(survey: &Survey<'_>, tally: &mut Tally) -> bool {
    let not_set = clock::not_set(survey.now);
    if let Some(not_set) = &not_set {
        tally.warn("", format!("{not_set}: no missing block is archived until it is set"));
    }
    not_set.is_none()
}

/// Whether every tier is there: one that had blocks and is gone is told to the person, and makes the scan incomplete.
pub(super) fn are_tiers_in_place(survey: &Survey<'_>, tally: &mut Tally) -> bool {
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

/// Whether so many may be missing at once: too many are told to the person, who may confirm them.
pub(super) fn are_few(survey: &Survey<'_>, tally: &mut Tally, missing: u64) -> bool {
    let live = tally.blocks_in_vault + missing;
    let is_share = missing <= FEW_BLOCKS.max(live / SHARE);
    let is_half = missing > HANDFUL && missing * 2 > live;
    if is_share && !is_half || survey.ctx.options.allow_archive {
        return true;
    }
    tally.stats.needs_attention = true;
    let remedy = format!(
        "if they were meant to go, run `aclarai-scheduler run {} --allow-archive`",
        survey.ctx.job
    );
    let message =
        format!("{missing} of {live} blocks are missing from the vault: nothing is archived");
    tally.waits(Kind::Missing, "", &message, &remedy);
    tally.warn("", format!("{message}; {remedy}"));
    false
}

/// Stands for the device of a folder that was noted as a mount before devices were.
const NOT_NOTED: u64 = 0;

/// Looks for signs that a mount is gone, folder by folder.
pub(super) struct Suspicion<'a> {
    survey: &'a Survey<'a>,
    /// Folders that lay on another device than the root, and that device.
    mounts: &'a HashMap<VaultPath, u64>,
    root_device: Option<u64>,
    known: BTreeMap<PathBuf, Option<&'static str>>,
}

impl<'a> Suspicion<'a> {
    pub(super) fn new(
        survey: &'a Survey<'a>,
        mounts: &'a HashMap<VaultPath, u64>,
    ) -> Suspicion<'a> {
        let root_device = survey.listing.root.device_of_folder(Path::new("")).ok();
        Suspicion { survey, mounts, root_device, known: BTreeMap::new() }
    }

    /// The suspicion about the folder of a note that is gone.
    pub(super) fn about(&mut self, note: &VaultPath) -> Option<&'static str> {
        let folder = folder_of(note);
        if let Some(known) = self.known.get(folder) {
            return *known;
        }
        let found = self.look(folder);
        self.known.insert(folder.to_owned(), found);
        found
    }

    fn look(&self, folder: &Path) -> Option<&'static str> {
        // A folder inside a mount that is gone is gone too: the folder it was mounted on is there.
        let facts =
            folder.ancestors().find_map(|above| self.survey.listing.root.folder(above).ok())?;
        if facts.is_empty {
            return Some("its folder is empty");
        }
        let was = self.mounts.get(&VaultPath::new(folder)).copied();
        let is = Some(facts.device)
            .filter(|device| self.root_device.is_some_and(|root| root != *device));
        let is_same = match (was, is) {
            (Some(was), Some(is)) => was == is || was == NOT_NOTED,
            (was, is) => was.is_none() && is.is_none(),
        };
        (!is_same).then_some("its folder is on another device")
    }
}

/// Notes which folders lie on another device than the root, of those with notes that were read and of those known to. A
/// folder from which blocks are missing stays as it is known: another mount in its place must not excuse that.
pub(super) fn note_mounts(survey: &Survey<'_>, books: &mut Books<'_>) -> Result<(), JobError> {
    let root = &survey.listing.root;
    let Ok(root_device) = root.device_of_folder(Path::new("")) else { return Ok(()) };
    let known = books.cache.mounts().map_err(state_error)?;
    let mut folders = std::mem::take(&mut books.folders);
    folders.extend(known.keys().map(|folder| folder.as_path().to_owned()));
    let missing: HashSet<&Path> =
        books.changes.missing.iter().map(|block| folder_of(&block.path)).collect();
    let mounts =
        folders.iter().filter(|folder| !missing.contains(folder.as_path())).filter_map(|folder| {
            let device = root.device_of_folder(folder).ok()?;
            let device = Some(device).filter(|device| *device != root_device);
            let folder = VaultPath::new(folder);
            (known.get(&folder).copied() != device).then_some((folder, device))
        });
    books.changes.mounts = mounts.collect();
    Ok(())
}

/// How long blocks wait that are missing from such a folder.
pub(super) fn suspicion_lasts(archive_after: TimeDelta) -> TimeDelta {
    SUSPICION_LASTS.max(archive_after)
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &VaultPath) -> &Path {
    path.as_path().parent().unwrap_or(Path::new(""))
}
