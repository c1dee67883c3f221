//! The state of one sync, from the listing of the vault to the last commit.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_64;

use crate::block::{IdDigest, VaultPath};
use crate::graph::{GraphError, GraphStore};
use crate::job::{JobError, RunContext, RunReport};
use crate::vault::{
    self, Changes, CompareOptions, Comparison, Digest, FileRecord, FileStat, Listing, MissingBlock,
    PARSER_VERSION, ParsedFile, ReadOptions, ReadOutcome, Reading, Remembered, StatCache, ToRead,
    Verdict,
};

use super::claim::{Claims, FileState, Home};
use super::duplicates::Loser;
use super::seen::FileIndex;
use super::settle::{Batch, BatchFile};
use super::stats::SyncStats;
use super::under_way::UnderWay;
use super::{SyncSettings, graph_error, state_error, vault_error};

/// The remembered token of a run that is writing, or was cut short while it did: no graph has it.
const UNFINISHED: &str = "";

/// How long a file may go unread where nothing is configured: an edit that left size, times and inode as they were is
/// found within this time. Other machines' clocks set the times of a network file system.
const REHASH_AFTER: Duration = Duration::from_secs(7 * 86_400);
const REHASH_AFTER_ON_NETWORK: Duration = Duration::from_secs(86_400);

/// A file that had blocks and is empty now is left alone for this many runs: it may be in the middle of being written.
const BLANK_RUNS_MAX: u32 = 2;

pub(super) struct Session<'a> {
    pub(super) settings: &'a SyncSettings,
    pub(super) store: &'a dyn GraphStore,
    pub(super) cache: &'a mut StatCache,
    pub(super) ctx: &'a RunContext<'a>,
    pub(super) listing: &'a Listing,
    /// Files whose names are not UTF-8, by what the graph calls them.
    odd_names: HashMap<String, FileIndex>,
    pub(super) claims: Claims,
    pub(super) stats: SyncStats,
    /// Everything is read and compared with the graph.
    pub(super) full: bool,
    pub(super) now: DateTime<Utc>,
    /// Changes to the local state, waiting for the graph to be flushed.
    pub(super) changes: Changes,
    comparison: Comparison,
    /// There was no block in the graph when the run began.
    pub(super) graph_was_empty: bool,
    /// Under which name this vault leaves its token in the graph.
    scope: String,
    /// Whether this run has begun to write to the graph.
    is_writing: bool,
    /// The token that the graph has.
    token: String,
    pub(super) batch: Batch,
    pub(super) losers: Vec<Loser>,
    pub(super) undecided: BTreeMap<FileIndex, Undecided>,
    /// What the first look saw of files that had been changed a moment before it.
    second_look: BTreeMap<FileIndex, (FileStat, Digest)>,
    /// Blocks that files no longer hold.
    pub(super) newly_missing: BTreeMap<String, MissingBlock>,
    /// Configured tier folders that are not there but had blocks.
    pub(super) tiers_with_blocks: BTreeSet<VaultPath>,
    /// Blocks of all files that could be looked at, those of skipped ones as remembered.
    pub(super) blocks_in_vault: u64,
    faults: Vec<String>,
    explained: Vec<String>,
}

/// Blocks of a file whose claim could not be answered in path order.
pub(super) struct Undecided {
    /// What the file was when it was worked off.
    pub(super) seen: (FileStat, Digest),
    pub(super) ids: HashSet<IdDigest>,
}

/// Which reading of a file in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The first one, in path order.
    First,
    /// Of files that had been changed a moment before the first.
    Second,
    /// Of files with undecided blocks, when all others have been read.
    Last,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        settings: &'a SyncSettings,
        store: &'a dyn GraphStore,
        cache: &'a mut StatCache,
        ctx: &'a RunContext<'a>,
        listing: &'a Listing,
    ) -> Result<Session<'a>, JobError> {
        let now = cache.began();
        let scope = settings.vault.root.to_string_lossy().into_owned();
        let in_graph = store.token(&scope).map_err(graph_error)?;
        let remembered = cache.token().map_err(state_error)?;
        let same_graph =
            in_graph == remembered && in_graph.as_deref().is_some_and(|token| token != UNFINISHED);
        match remembered.as_deref() {
            Some(UNFINISHED) => log::info!(
                target: "session.new",
                at = "vault_sync.run", job_id = ctx.run_id.as_str();
                "the last run was cut short while it wrote: everything is compared"
            ),
            Some(_) if !same_graph => log::warn!(
                target: "session.new",
                at = "vault_sync.run", job_id = ctx.run_id.as_str();
                "the graph is not the one this vault was last synced with (another database, or a restored backup): \
                 everything is compared"
            ),
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
        let comparison = cache.compare(listing, options).map_err(state_error)?;
        let states = comparison.verdicts.iter().map(|verdict| match verdict {
            Verdict::Unchanged(_) => FileState::Vouched,
            Verdict::Read(_) => FileState::Awaited,
        });
        let claims = Claims::new(states.collect());
        let mut stats = SyncStats {
            files_scanned: listing.files.len() as u64,
            conflict_copies: listing.conflict_copies.len() as u64,
            ..SyncStats::default()
        };
        for verdict in &comparison.verdicts {
            if let Verdict::Unchanged(blocks) = verdict {
                stats.files_skipped += 1;
                stats.blocks_unchanged += u64::from(*blocks);
            }
        }
        let mut tiers_with_blocks = BTreeSet::new();
        for tier in &listing.missing_tiers {
            for path in comparison.gone.iter().filter(|path| is_below(path, tier.as_path())) {
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
        let mut session = Session {
            settings,
            store,
            cache,
            ctx,
            listing,
            odd_names,
            claims,
            stats,
            full,
            now,
            changes: Changes::default(),
            comparison,
            graph_was_empty,
            scope,
            is_writing: false,
            token: in_graph.unwrap_or_default(),
            batch: Batch::default(),
            losers: Vec::new(),
            undecided: BTreeMap::new(),
            second_look: BTreeMap::new(),
            newly_missing: BTreeMap::new(),
            tiers_with_blocks,
            blocks_in_vault: 0,
            faults: Vec::new(),
            explained: Vec::new(),
        };
        session.blocks_in_vault = session.stats.blocks_unchanged;
        for remark in std::mem::take(&mut session.comparison.remarks) {
            session.warn(remark);
        }
        for fault in &listing.faults {
            session.error(fault.to_string());
        }
        for copy in &listing.conflict_copies {
            session.warn(format!(
                "{copy}: conflict copy of a sync program, not scanned: merge it and remove it"
            ));
        }
        // One tier may well be missing; with none of them a sync succeeds every time, and does nothing.
        let unknown = |tier: &&VaultPath| !session.tiers_with_blocks.contains(*tier);
        let missing: Vec<String> =
            listing.missing_tiers.iter().filter(unknown).map(ToString::to_string).collect();
        if listing.files.is_empty() && !missing.is_empty() {
            session.warn(format!(
                "no note found, and there is no folder {}: create it, or correct paths.tier1 to paths.tier3",
                missing.join(", ")
            ));
        }
        Ok(session)
    }

    /// The whole sync.
    pub(super) fn run(&mut self) -> Result<(), JobError> {
        let awaited = (0..)
            .zip(&self.comparison.verdicts)
            .filter(|(_, verdict)| matches!(verdict, Verdict::Read(_)))
            .map(|(index, _)| index)
            .collect();
        self.read(awaited, Look::First)?;
        self.read(self.second_look.keys().copied().collect(), Look::Second)?;
        self.read(self.undecided.keys().copied().collect(), Look::Last)?;
        self.compare_losers()?;
        // Files that seem gone are not gone when the vault itself is.
        self.listing.root.check_in_place().map_err(|error| vault_error(error, self.ctx))?;
        self.forget_gone_files()?;
        self.find_missing()?;
        self.commit_last()
    }

    /// Reads files, in path order, and works each off.
    fn read(&mut self, indices: Vec<FileIndex>, look: Look) -> Result<(), JobError> {
        if indices.is_empty() {
            return Ok(());
        }
        let (ctx, listing) = (self.ctx, self.listing);
        let phase = if look == Look::First { "reading" } else { "looking again" };
        ctx.progress.phase(phase, Some(indices.len() as u64));
        let files: Vec<ToRead<'a>> =
            indices.iter().map(|index| self.to_read(*index, look)).collect();
        if look == Look::Second {
            for index in &indices {
                self.claims.files[*index as usize] = FileState::Awaited;
            }
        }
        let options = ReadOptions {
            parse: self.settings.parse,
            threads: self.settings.threads,
            clock: ctx.clock,
            stop: &ctx.stop,
        };
        thread::scope(|scope| {
            let mut under_way = UnderWay::new(scope);
            let mut position = 0;
            let mut failed = None;
            vault::read_in_order(&listing.root, &files, &options, &mut |file, outcome| {
                let index = indices[position];
                position += 1;
                ctx.progress.advance(1, file.file.stat.size);
                match self.take(index, outcome, look, &mut under_way) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })
            .map_err(|error| vault_error(error, ctx))?;
            match failed {
                Some(error) => Err(error),
                None => {
                    self.flush_batch(look, &mut under_way)?;
                    self.settle_all(&mut under_way)
                }
            }
        })
    }

    fn to_read(&self, index: FileIndex, look: Look) -> ToRead<'a> {
        let (known, expected) = match look {
            Look::First => {
                let current = self.remembered(index).filter(|remembered| remembered.current);
                (current.map(|remembered| remembered.digest), None)
            }
            Look::Second => (None, self.second_look.get(&index).copied().map(Box::new)),
            Look::Last => {
                (None, self.undecided.get(&index).map(|undecided| Box::new(undecided.seen)))
            }
        };
        ToRead { file: &self.listing.files[index as usize], known, expected }
    }

    /// Works off one file.
    fn take<'scope>(
        &mut self,
        index: FileIndex,
        outcome: ReadOutcome,
        look: Look,
        under_way: &mut UnderWay<'scope, '_>,
    ) -> Result<(), JobError>
    where
        'a: 'scope,
    {
        match outcome {
            ReadOutcome::Parsed(reading, parsed) => {
                if look == Look::First {
                    self.count_read(index, &reading, &parsed);
                    for block in parsed.blocks() {
                        self.claims.note(IdDigest::of(block.id()), index);
                    }
                    if self.is_left_alone(index, &reading) {
                        return Ok(());
                    }
                }
                self.claims.files[index as usize] = FileState::Read;
                self.batch.blocks += parsed.len();
                self.batch.bytes += parsed.source().len();
                self.batch.files.push(BatchFile { index, reading, parsed });
                let size = self.store.preferred_batch();
                if self.batch.blocks >= size.rows || self.batch.bytes >= size.bytes {
                    self.flush_batch(look, under_way)?;
                }
            }
            ReadOutcome::Same(reading) => {
                self.claims.files[index as usize] = FileState::Vouched;
                let blocks = self.remembered(index).map_or(0, |remembered| remembered.blocks);
                self.stats.files_processed += 1;
                self.stats.bytes_read += reading.stat.size;
                self.stats.blocks_unchanged += u64::from(blocks);
                self.blocks_in_vault += u64::from(blocks);
                self.changes.records.push(FileRecord {
                    blocks,
                    ids: None,
                    settled: true,
                    ..self.record(index, &reading)
                });
            }
            ReadOutcome::Vanished => {
                self.claims.files[index as usize] = FileState::Gone;
                // On the last look it has been remembered anew: the next run will find it gone.
                if look != Look::Last && self.remembered(index).is_some() {
                    self.comparison.gone.push(self.listing.files[index as usize].path.clone());
                }
            }
            ReadOutcome::Deferred(why) => self.defer(index, &why.to_string()),
            ReadOutcome::Fault(fault) => {
                self.claims.files[index as usize] = FileState::Unknown;
                self.not_compared(self.listing.files[index as usize].path.clone());
                self.error(fault.to_string());
            }
        }
        Ok(())
    }

    fn count_read(&mut self, index: FileIndex, reading: &Reading, parsed: &ParsedFile) {
        self.stats.files_processed += 1;
        self.stats.bytes_read += reading.stat.size;
        self.stats.blocks_processed += parsed.len() as u64;
        self.blocks_in_vault += parsed.len() as u64;
        self.stats.empty_blocks += parsed.empty_blocks;
        self.stats.warnings += parsed.warnings_left_out;
        let path = &self.listing.files[index as usize].path;
        for warning in &parsed.warnings {
            self.warn(format!("{path}: {warning}"));
        }
        for fault in &parsed.faults {
            self.error(format!("{path}: {fault}"));
        }
    }

    /// Whether a file that was read is not worked off now: it was changed a moment ago and will be looked at again, or
    /// it became empty and may be in the middle of being written.
    fn is_left_alone(&mut self, index: FileIndex, reading: &Reading) -> bool {
        if let Some(known) = self.remembered(index)
            && reading.is_blank
            && known.blocks > 0
            && known.blank_runs < BLANK_RUNS_MAX
        {
            self.defer(index, "it had blocks and is empty now");
            self.changes.records.push(FileRecord {
                digest: known.digest,
                blocks: known.blocks,
                ids: None,
                settled: false,
                blank_runs: known.blank_runs + 1,
                ..self.record(index, reading)
            });
            return true;
        }
        if reading.is_recent() {
            self.claims.files[index as usize] = FileState::Unknown;
            self.second_look.insert(index, (reading.stat, reading.digest));
            return true;
        }
        false
    }

    fn defer(&mut self, index: FileIndex, why: &str) {
        self.claims.files[index as usize] = FileState::Unknown;
        self.stats.files_deferred += 1;
        let path = self.listing.files[index as usize].path.clone();
        self.warn(format!("{path}: left to the next run: {why}"));
        self.not_compared(path);
    }

    /// A full scan vouches for everything that is remembered, so what it could not look at is compared when it can be
    /// looked at again, whatever its stat and digest say then.
    pub(super) fn not_compared(&mut self, path: VaultPath) {
        if self.full {
            self.changes.unsettled.push(path);
        }
    }

    pub(super) fn record(&self, index: FileIndex, reading: &Reading) -> FileRecord {
        FileRecord {
            path: self.listing.files[index as usize].path.clone(),
            stat: reading.stat,
            digest: reading.digest,
            blocks: 0,
            ids: None,
            settled: false,
            blank_runs: 0,
        }
    }

    pub(super) fn remembered(&self, index: FileIndex) -> Option<Remembered> {
        match self.comparison.verdicts[index as usize] {
            Verdict::Read(remembered) => remembered,
            Verdict::Unchanged(_) => None,
        }
    }

    /// What the graph calls a file of the vault: its absolute path, as the other services write it.
    pub(super) fn place(&self, index: FileIndex) -> String {
        place(&self.settings.vault.root, &self.listing.files[index as usize].path)
    }

    /// Where in this vault the graph says that a block lives.
    pub(super) fn home(&self, source_file: Option<&str>) -> Home {
        let Some(relative) = source_file
            .and_then(|file| Path::new(file).strip_prefix(&self.settings.vault.root).ok())
        else {
            return Home::None;
        };
        let path = VaultPath::new(relative);
        if let Ok(index) = self.listing.files.binary_search_by(|file| file.path.cmp(&path)) {
            return Home::File(index as FileIndex);
        }
        if let Some(index) = source_file.and_then(|file| self.odd_names.get(file)) {
            return Home::File(*index);
        }
        if self.is_hidden(&path) { Home::Hidden } else { Home::None }
    }

    /// Whether this run could not look at what is, or was, at `path`.
    pub(super) fn is_hidden(&self, path: &VaultPath) -> bool {
        self.listing.faults.iter().any(|fault| fault.hides(path))
            || self.listing.missing_tiers.iter().any(|tier| is_below(path, tier.as_path()))
    }

    /// Before the first write of a run the token changes in the graph and is struck out here, until the run has come to
    /// its end: a run that was cut short has written blocks that the local state knows nothing of, and would never
    /// miss. A backup of either side is recognised by its token too.
    pub(super) fn begin_writing(&mut self) -> Result<(), GraphError> {
        if !self.is_writing {
            let changes = Changes { token: Some(UNFINISHED.to_owned()), ..Changes::default() };
            self.cache
                .commit(&changes)
                .map_err(|error| GraphError::Unavailable(error.to_string()))?;
            self.leave_token()?;
            self.is_writing = true;
        }
        Ok(())
    }

    /// Leaves a new token in the graph. It is made from the last one too: however fast the runs, and whatever the clock
    /// says, none comes twice.
    fn leave_token(&mut self) -> Result<(), GraphError> {
        let boottime = self.ctx.clock.boottime();
        let seed = format!("{} {} {boottime:?} {}", self.ctx.run_id, self.now, self.token);
        let token = format!("{}-{:016x}", self.ctx.run_id, xxh3_64(seed.as_bytes()));
        self.store.set_token(&self.scope, &token)?;
        self.token = token;
        Ok(())
    }

    /// Keeps what is known, once the graph has safely got all of it.
    pub(super) fn commit(&mut self) -> Result<(), JobError> {
        self.store.flush().map_err(graph_error)?;
        self.cache.commit(&self.changes).map_err(state_error)?;
        self.changes = Changes::default();
        Ok(())
    }

    fn commit_last(&mut self) -> Result<(), JobError> {
        if self.full {
            self.changes.full_scan_at = Some(self.now);
        }
        // Also without a write a full comparison has proved the two sides to be in step. The token is kept together with
        // the last records: with the one and without the others, local state would pass for complete.
        if self.is_writing || self.full {
            self.leave_token().map_err(graph_error)?;
            self.changes.token = Some(self.token.clone());
        }
        self.commit()
    }

    pub(super) fn warn(&mut self, line: String) {
        self.stats.warnings += 1;
        self.faults.push(format!("warning: {line}"));
    }

    pub(super) fn error(&mut self, line: String) {
        self.stats.errors += 1;
        self.faults.push(format!("error: {line}"));
    }

    pub(super) fn explain(&mut self, line: String) {
        self.explained.push(line);
    }

    pub(super) fn gone(&mut self) -> Vec<VaultPath> {
        std::mem::take(&mut self.comparison.gone)
    }

    pub(super) fn into_report(self) -> RunReport {
        let mut report = self.stats.report();
        report.faults = self.faults;
        report.explained = self.explained;
        report
    }
}

/// The path of a file as the graph stores it; a name that is not UTF-8 is stored escaped.
fn place(root: &Path, path: &VaultPath) -> String {
    match path.below(root).to_str() {
        Some(place) => place.to_owned(),
        None => format!("{}/{path}", root.display()),
    }
}

/// Whether `path` is `folder` or lies below it; the empty folder is the vault itself.
pub(super) fn is_below(path: &VaultPath, folder: &Path) -> bool {
    path.as_path().starts_with(folder) || folder.as_os_str().is_empty() || folder == Path::new(".")
}
