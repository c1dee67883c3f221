//! The facts that are known before the first file is read: the listing beside what is remembered, the graph, what was asked for.
//! Nothing in it changes during the run.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::block::VaultPath;
use crate::clock::Clock;
use crate::graph::GraphStore;
use crate::job::{JobError, RunContext};
use crate::logging;
use crate::vault::{Listing, PARSER_VERSION, ReadOutcome, ToRead};

use super::claim::Home;
use super::fault::{graph_error, state_error};
use super::memory::{BootTime, Comparison, StatCache, UNFINISHED};
use super::phases::Phases;
use super::reading::read_in_order;
use super::seen::FileIndex;
use super::settings::{Scope, SyncSettings};
use super::trust::{CompareOptions, Remembered, Verdict};

/// How long a file may go unread where nothing is configured: an edit that left size, times and inode as they were is
/// found within this time. Other machines' clocks set the times of a network file system.
const REHASH_AFTER: Duration = Duration::from_secs(7 * 86_400);
const REHASH_AFTER_ON_NETWORK: Duration = Duration::from_secs(86_400);

/// The facts that are known before the first file is read.
pub(super) struct Survey<'a> {
    pub(super) settings: &'a SyncSettings,
    pub(super) store: &'a dyn GraphStore,
    pub(super) ctx: &'a RunContext<'a>,
    pub(super) listing: &'a Listing,
    /// Where the time goes.
    pub(super) phases: &'a Phases<'a>,
    /// Which part of the vault this run looks at.
    pub(super) scope: Scope,
    /// Everything is read and compared with the graph.
    pub(super) full: bool,
    /// When the run began.
    pub(super) now: DateTime<Utc>,
    /// The same by the time since boot.
    pub(super) boot: BootTime,
    /// Whether to read each listed file.
    pub(super) verdicts: Vec<Verdict>,
    /// There was no block in the graph when the run began.
    pub(super) graph_was_empty: bool,
    /// Under which name this vault leaves its token in the graph.
    pub(super) name: String,
    /// The token that the graph had when the run began.
    pub(super) token: String,
    /// The part scanned, in words, if the last run scanned another one or is not known.
    pub(super) newly_scanned: Option<String>,
    /// Configured tier folders that are not there but had blocks.
    pub(super) tiers_with_blocks: BTreeSet<VaultPath>,
    /// Files whose names are not UTF-8, by what the graph calls them.
    odd_names: HashMap<String, FileIndex>,
}

/// The findings of the comparison besides a verdict on each listed file.
pub(super) struct Findings {
    /// Remembered files that are not listed, in path order.
    pub(super) gone: Vec<VaultPath>,
    /// Things worth a line in the log.
    pub(super) remarks: Vec<String>,
}

impl<'a> Survey<'a> {
    /// Puts the listing beside what is remembered and what the graph says of itself.
    pub(super) fn make(
        settings: &'a SyncSettings,
        scope: Scope,
        store: &'a dyn GraphStore,
        cache: &mut StatCache,
        ctx: &'a RunContext<'a>,
        listing: &'a Listing,
        phases: &'a Phases<'a>,
    ) -> Result<(Survey<'a>, Findings), JobError> {
        let now = cache.began();
        let name = settings.vault.root.to_string_lossy().into_owned();
        let in_graph = store.token(&name).map_err(graph_error)?;
        let remembered = cache.token().map_err(state_error)?;
        let same_graph =
            in_graph == remembered && in_graph.as_deref().is_some_and(|token| token != UNFINISHED);
        match remembered.as_deref() {
            Some(UNFINISHED) => logging::info!(at = "vault_sync.run", job_id = ctx.run_id.as_str();
                "the last run was cut short while it wrote: everything is compared"
            ),
            Some(_) if !same_graph => {
                logging::warn!(at = "vault_sync.run", job_id = ctx.run_id.as_str();
                    "the graph is not the one this vault was last synced with (another database, or a restored backup): \
                     everything is compared"
                )
            }
            _ => {}
        }
        let graph_was_empty = !same_graph && store.is_empty().map_err(graph_error)?;
        let due = match (&settings.full_scan, cache.full_scan_at().map_err(state_error)?) {
            (Some(schedule), Some(last)) => schedule.latest_in(last, now).is_some(),
            _ => false,
        };
        let full = ctx.options.full || due || !same_graph;
        let on_network = listing.root.is_on_network();
        let usual = if on_network { REHASH_AFTER_ON_NETWORK } else { REHASH_AFTER };
        let options = CompareOptions {
            full,
            rehash_after: settings.rehash_after.unwrap_or(usual),
            parser: u64::from(PARSER_VERSION) << 8 | u64::from(settings.parse.accept_hyphen_ids),
        };
        let Comparison { verdicts, gone, mut remarks } =
            cache.compare(listing, options).map_err(state_error)?;
        let scanned = scanned(settings, listing);
        let before = cache.scanned().map_err(state_error)?;
        let newly_scanned = (before.as_ref() != Some(&scanned)).then(|| scanned.clone());
        if let Some(before) = before.filter(|before| *before != scanned) {
            remarks.push(format!("this run scans {scanned}; the run before scanned {before}"));
        }
        let mut tiers_with_blocks = BTreeSet::new();
        for tier in &listing.missing_tiers {
            for path in gone.iter().filter(|path| is_below(path, tier.as_path())) {
                if !cache.ids(path).map_err(state_error)?.is_empty() {
                    tiers_with_blocks.insert(tier.clone());
                    break;
                }
            }
        }
        let odd_names = (0..)
            .zip(&listing.files)
            .filter(|(_, file)| file.path.as_path().to_str().is_none())
            .map(|(index, file)| (place(&settings.vault.root, &file.path), index))
            .collect();
        let survey = Survey {
            settings,
            store,
            ctx,
            listing,
            phases,
            scope,
            full,
            now,
            boot: boot_time(ctx.clock),
            verdicts,
            graph_was_empty,
            name,
            token: in_graph.unwrap_or_default(),
            newly_scanned,
            tiers_with_blocks,
            odd_names,
        };
        Ok((survey, Findings { gone, remarks }))
    }

    /// The position of each listed file by folder, then name without extension: where nothing else decides, the first
    /// place of an id owns it. Not the order of the listing, in which `plan 2.md` comes before `plan.md`.
    pub(super) fn positions(&self) -> Vec<u32> {
        let mut positions = vec![0; self.listing.files.len()];
        // Nothing is claimed where nothing is read.
        if self.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Unchanged(_))) {
            return positions;
        }
        let mut order: Vec<FileIndex> = (0..self.listing.files.len() as FileIndex).collect();
        crate::order::sort_by(&mut order, &|a, b| {
            by_name(self.path(*a)).cmp(&by_name(self.path(*b)))
        });
        for (position, index) in (0..).zip(order) {
            positions[index as usize] = position;
        }
        positions
    }

    /// Reads files, and hands each to `visit` in order.
    pub(super) fn read_in_order<'f>(
        &self,
        files: &[ToRead<'f>],
        visit: &mut dyn FnMut(&ToRead<'f>, ReadOutcome) -> ControlFlow<()>,
    ) -> Result<(), JobError> {
        read_in_order(self.settings, self.ctx, self.listing, self.phases, files, visit)
    }

    /// The path of a listed file.
    pub(super) fn path(&self, index: FileIndex) -> &'a VaultPath {
        &self.listing.files[index as usize].path
    }

    /// The graph's name for a file of the vault: its absolute path, as the other services write it.
    pub(super) fn place(&self, index: FileIndex) -> String {
        place(&self.settings.vault.root, self.path(index))
    }

    /// The memory of a file that has to be read again.
    pub(super) fn remembered(&self, index: FileIndex) -> Option<Remembered> {
        match &self.verdicts[index as usize] {
            Verdict::Read(remembered) => remembered.as_deref().copied(),
            Verdict::Unchanged(_) => None,
        }
    }

    /// Whether this run looks at the file at all.
    pub(super) fn is_in_scope(&self, path: &VaultPath) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Paths(paths) => paths.contains(path),
        }
    }

    /// Where in this vault the graph says that a block lives.
    pub(super) fn home(&self, source_file: Option<&str>) -> Home {
        let Some(relative) = source_file
            .and_then(|file| Path::new(file).strip_prefix(&self.settings.vault.root).ok())
        else {
            return Home::None;
        };
        let path = VaultPath::new(relative);
        if let Some(index) = self.listed(&path) {
            return Home::File(index);
        }
        if let Some(index) = source_file.and_then(|file| self.odd_names.get(file)) {
            return Home::File(*index);
        }
        if self.is_hidden(&path) { Home::Hidden } else { Home::None }
    }

    /// The listed file at a path.
    pub(super) fn listed(&self, path: &VaultPath) -> Option<FileIndex> {
        let found = self.listing.files.binary_search_by(|file| file.path.cmp(path));
        found.ok().map(|index| index as FileIndex)
    }

    /// Whether this run could not look at what is, or was, at `path`.
    pub(super) fn is_hidden(&self, path: &VaultPath) -> bool {
        self.listing.faults.iter().any(|fault| fault.hides(path))
            || self.listing.missing_tiers.iter().any(|tier| is_below(path, tier.as_path()))
    }

    /// Whether a file at `path` would be part of what is scanned.
    pub(super) fn is_scanned(&self, path: &VaultPath) -> bool {
        let vault = &self.settings.vault;
        vault.whole || vault.tiers.iter().flatten().any(|tier| is_below(path, tier))
    }
}

/// The scanned set of a run, in words.
fn scanned(settings: &SyncSettings, listing: &Listing) -> String {
    let tiers: Vec<String> =
        settings.vault.tiers.iter().flatten().map(|tier| tier.display().to_string()).collect();
    let patterns: Vec<String> =
        listing.ignored.iter().map(|ignored| format!("`{}`", ignored.by.pattern)).collect();
    let folders = match settings.vault.whole || tiers.is_empty() {
        true => "the whole vault".to_owned(),
        false => format!("the folders {}", tiers.join(", ")),
    };
    match patterns.is_empty() {
        true => folders,
        false => format!("{folders} without {}", patterns.join(", ")),
    }
}

fn boot_time(clock: &dyn Clock) -> BootTime {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    BootTime { id: id.trim().to_owned(), seconds: clock.boottime().as_secs() as i64 }
}

/// Folder, name without extension, and all of the path.
fn by_name(path: &VaultPath) -> (&[u8], &[u8], &[u8]) {
    let whole = path.as_bytes();
    let (folder, name) = match memchr::memrchr(b'/', whole) {
        Some(slash) => (&whole[..slash], &whole[slash + 1..]),
        None => (&whole[..0], whole),
    };
    let stem = memchr::memrchr(b'.', name).map_or(name, |dot| &name[..dot]);
    (folder, stem, whole)
}

/// The path of a file as the graph stores it; a name that is not UTF-8 is stored escaped.
fn place(root: &Path, path: &VaultPath) -> String {
    match path.below(root).to_str() {
        Some(place) => place.to_owned(),
        None => format!("{}/{path}", root.display()),
    }
}

/// Whether `path` is `folder` or lies below it; the empty folder is the vault itself.
fn is_below(path: &VaultPath, folder: &Path) -> bool {
    path.as_path().starts_with(folder) || folder.as_os_str().is_empty() || folder == Path::new(".")
}
