//! What becomes of the files of one batch: which of their blocks may write, what is written, and what is remembered.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::block::{BlockId, IdDigest, Tier};
use crate::graph::{Applied, BatchSize, Change, StoredBlock};
use crate::job::JobError;
use crate::vault::{self, BlockRef, ParsedFile, Reading, VersionEdit, WriteBack};

use super::batch::{Fate, Winner, Writing};
use super::books::{Books, Undecided};
use super::claim::{Claim, Home, Loser};
use super::diff::Outcome;
use super::duplicates;
use super::fault::{graph_error, state_error};
use super::memory::FileRecord;
use super::missing;
use super::seen::FileIndex;
use super::survey::Survey;
use super::tally::Tally;
use super::under_way::UnderWay;

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

/// Files whose records wait for one commit of the local state: often enough that a crash costs little, seldom enough
/// that a commit costs nothing.
const RECORDS_PER_COMMIT: usize = 2_000;

/// Losing occurrences that wait to be compared with the winners of their ids.
const LOSERS_PER_LOOKUP: usize = 2_000;

/// A file is written to only when nobody changed it for this long.
const WRITE_BACK_AFTER: TimeDelta = TimeDelta::seconds(30);

/// Files read, whose blocks wait for the next write to the graph.
#[derive(Default)]
pub(super) struct Batch {
    files: Vec<BatchFile>,
    blocks: usize,
    bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, file: BatchFile) {
        self.blocks += file.parsed.len();
        self.bytes += file.parsed.source().len();
        self.files.push(file);
    }

    pub(super) fn is_full(&self, size: BatchSize) -> bool {
        self.blocks >= size.rows || self.bytes >= size.bytes
    }
}

pub(super) struct BatchFile {
    pub(super) index: FileIndex,
    pub(super) reading: Reading,
    pub(super) parsed: ParsedFile,
}

/// A batch of which it is decided what to write.
pub(super) struct DecidedBatch {
    look: Look,
    files: Vec<BatchFile>,
    /// For each file: what the graph calls it, and whether nothing about it is left open.
    places: Vec<String>,
    settled: Vec<bool>,
    winners: Vec<WinnerAt>,
    writing: Writing,
}

/// Where in its batch a block is that may write.
struct WinnerAt {
    file: usize,
    block: usize,
    tier: Tier,
}

impl WinnerAt {
    fn winner<'b>(&self, files: &'b [BatchFile], places: &'b [String]) -> Winner<'b> {
        Winner {
            block: files[self.file].parsed.block(self.block),
            source_file: &places[self.file],
            tier: self.tier,
        }
    }
}

/// Looks up and decides what is in the batch, and has it written while the next one is read.
pub(super) fn flush<'a: 'scope, 'scope>(
    survey: &Survey<'a>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    look: Look,
    batch: Batch,
    under_way: &mut UnderWay<'scope, '_, DecidedBatch>,
) -> Result<(), JobError> {
    if batch.files.is_empty() {
        return Ok(());
    }
    survey.ctx.checkpoint()?;
    let (batch, changes) = decide_batch(survey, books, batch, look)?;
    if !changes.is_empty() {
        books.begin_writing(survey).map_err(graph_error)?;
    }
    let written = under_way.make_room(survey.store.preferred_batch().at_once)?;
    under_way.start(survey.store, survey.now, batch, changes)?;
    match written {
        Some((batch, applied)) => settle_batch(survey, books, tally, batch, applied),
        None => Ok(()),
    }
}

/// Waits for what is still being written.
pub(super) fn settle_all(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    under_way: &mut UnderWay<'_, '_, DecidedBatch>,
) -> Result<(), JobError> {
    while let Some((batch, applied)) = under_way.make_room(1)? {
        settle_batch(survey, books, tally, batch, applied)?;
    }
    Ok(())
}

fn decide_batch(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    batch: Batch,
    look: Look,
) -> Result<(DecidedBatch, Vec<Change>), JobError> {
    // What this run itself has put into an empty graph, its claims know too; what others have put there meanwhile,
    // the writing finds.
    let mut nodes = match look {
        Look::First if survey.graph_was_empty => HashMap::new(),
        _ => look_up(survey, &batch)?,
    };
    let Batch { files, .. } = batch;
    let places: Vec<String> = files.iter().map(|file| survey.place(file.index)).collect();
    let mut settled: Vec<bool> = files.iter().map(|file| file.parsed.faults.is_empty()).collect();
    let (mut winners, mut stored) = (Vec::new(), Vec::new());
    for (position, file) in files.iter().enumerate() {
        let mut met = HashSet::with_capacity(file.parsed.len());
        let only = books.undecided.remove(&file.index).map(|undecided| undecided.ids);
        for (number, block) in file.parsed.blocks().enumerate() {
            let digest = IdDigest::of(block.id());
            let repeated = !met.insert(digest);
            // On the last look all other blocks of the file have been worked off before.
            if look == Look::Last
                && only.as_ref().is_some_and(|only| repeated || !only.contains(&digest))
            {
                continue;
            }
            let id = BlockId::new(block.id());
            let claim = match nodes.get(&id) {
                _ if repeated => Claim::LosesTo(file.index),
                node => claim(survey, books, digest, file.index, &places[position], node)?,
            };
            match claim {
                Claim::Wins => {
                    let folder = survey.listing.files[file.index as usize].tier;
                    let tier = Tier::of_id(&id).or(folder).unwrap_or(Tier::One);
                    winners.push(WinnerAt { file: position, block: number, tier });
                    stored.push(nodes.remove(&id));
                }
                Claim::LosesTo(winner) => {
                    settled[position] = false;
                    books.losers.push(Loser {
                        id,
                        file: file.index,
                        line: block.line(),
                        hashes: (block.hash(), block.body_hash()),
                        winner,
                    });
                }
                Claim::Undecided => {
                    settled[position] = false;
                    if look != Look::Last {
                        let seen = (file.reading.stat, file.reading.digest);
                        let ids = HashSet::new();
                        let undecided =
                            books.undecided.entry(file.index).or_insert(Undecided { seen, ids });
                        undecided.ids.insert(digest);
                    }
                }
            }
        }
    }
    let (writing, changes) =
        Writing::begin(stored, &|number| winners[number].winner(&files, &places));
    Ok((DecidedBatch { look, files, places, settled, winners, writing }, changes))
}

/// Works off what came of a batch, and remembers its files.
fn settle_batch(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    batch: DecidedBatch,
    mut applied: Applied,
) -> Result<(), JobError> {
    let DecidedBatch { look, files, places, mut settled, winners, mut writing } = batch;
    let winner = |number: usize| winners[number].winner(&files, &places);
    loop {
        let changes = writing.take(applied, survey.store, &winner).map_err(graph_error)?;
        if changes.is_empty() {
            break;
        }
        books.begin_writing(survey).map_err(graph_error)?;
        applied = survey.store.apply(&changes, survey.now).map_err(graph_error)?;
    }
    let mut edits: BTreeMap<usize, Vec<VersionEdit>> = BTreeMap::new();
    for (number, fate) in writing.into_fates().enumerate() {
        let (position, block) = (winners[number].file, winner(number).block);
        if let (Fate::Settled(_, Some(version)), Some(digits)) = (&fate, block.version_digits())
            && *version != block.version()
        {
            edits.entry(position).or_default().push(VersionEdit { digits, version: *version });
        }
        settled[position] &= count(survey, tally, fate, block, files[position].index);
    }
    if survey.settings.write_back {
        for (position, edits) in edits {
            settled[position] &= write_back(survey, tally, &files[position], &edits);
        }
    }
    if look != Look::Last {
        for (file, settled) in files.iter().zip(settled) {
            remember(survey, books, file, settled)?;
        }
    }
    if books.changes.records.len() >= RECORDS_PER_COMMIT {
        books.commit(survey)?;
    }
    if books.losers.len() >= LOSERS_PER_LOOKUP {
        duplicates::tell(survey, books, tally)?;
    }
    Ok(())
}

fn look_up(survey: &Survey<'_>, batch: &Batch) -> Result<HashMap<BlockId, StoredBlock>, JobError> {
    let mut ids: Vec<&str> =
        batch.files.iter().flat_map(|file| file.parsed.blocks()).map(|block| block.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    let ids: Vec<BlockId> = ids.into_iter().map(BlockId::new).collect();
    survey.store.prepare().map_err(graph_error)?;
    survey.store.lookup(&ids).map_err(graph_error)
}

fn claim(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    id: IdDigest,
    file: FileIndex,
    place: &str,
    node: Option<&StoredBlock>,
) -> Result<Claim, JobError> {
    let home = match node.and_then(|node| node.source_file.as_deref()) {
        Some(source_file) if source_file == place => Home::File(file),
        source_file => survey.home(source_file),
    };
    let cache = &mut *books.cache;
    books
        .claims
        .claim(id, file, home, &mut |vouched, id| cache.holds(survey.path(vouched), id))
        .map_err(state_error)
}

/// Counts and explains what came of a block; true if nothing about it is left open.
fn count(
    survey: &Survey<'_>,
    tally: &mut Tally,
    fate: Fate,
    block: BlockRef<'_>,
    index: FileIndex,
) -> bool {
    let (id, line) = (block.id(), block.line());
    let place = || format!("{}:{line}", survey.path(index));
    match fate {
        Fate::Settled(decision, _) => {
            tally.stats.count(decision.outcome);
            tally.stats.version_behind += u64::from(decision.version_behind);
            if decision.outcome == Outcome::Unchanged {
                return true;
            }
            tally.explain(|| {
                format!("{id} {}: {}: {}", place(), decision.outcome.as_str(), decision.why)
            });
            let is_conflict = decision.outcome == Outcome::Conflict;
            if is_conflict && decision.plan.is_some() {
                tally.warn(place(), format!("conflict: {id}: {}", decision.why));
            }
            !is_conflict
        }
        Fate::Contested => {
            tally.stats.conflicts += 1;
            tally.warn(
                place(),
                format!("conflict: {id}: another service kept changing it: left to the next run"),
            );
            false
        }
        Fate::Rejected(reason) => {
            tally.error(place(), format!("{id}: the graph cannot take this block: {reason}"));
            false
        }
    }
}

/// Writes the graph's versions into the markers of a file that nobody is working on; true if that is done.
fn write_back(
    survey: &Survey<'_>,
    tally: &mut Tally,
    file: &BatchFile,
    edits: &[VersionEdit],
) -> bool {
    let quiet = TimeDelta::nanoseconds(file.reading.stat.changed_ns());
    let changed_at =
        DateTime::<Utc>::UNIX_EPOCH.checked_add_signed(quiet).unwrap_or(DateTime::<Utc>::MAX_UTC);
    if survey.now.signed_duration_since(changed_at) < WRITE_BACK_AFTER || survey.ctx.options.dry_run
    {
        return false;
    }
    let listed = &survey.listing.files[file.index as usize];
    match vault::write_back(
        &survey.listing.root,
        listed,
        &file.reading,
        edits,
        survey.settings.parse,
    ) {
        Ok(WriteBack::Done) => {
            tally.stats.written_back += edits.len() as u64;
            true
        }
        Ok(WriteBack::Left(why)) => {
            tally.warn(
                listed.path.to_string(),
                format!("the versions in its markers are not brought up to date: {why}"),
            );
            false
        }
        Err(fault) => {
            tally.error(fault.path.to_string(), fault.kind.to_string());
            false
        }
    }
}

/// Notes what is now known of a file, and which of its blocks are no longer in it.
fn remember(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    file: &BatchFile,
    settled: bool,
) -> Result<(), JobError> {
    let record = Books::record(survey, file.index, &file.reading);
    if survey.remembered(file.index).is_some_and(|remembered| remembered.blocks > 0) {
        let left: HashSet<&str> = file.parsed.blocks().map(|block| block.id()).collect();
        let before = books.cache.ids(&record.path).map_err(state_error)?;
        let gone = before.into_iter().filter(|id| !left.contains(id.as_str()));
        missing::note(survey, books, gone.collect(), &record.path);
    }
    let ids: Vec<String> = file.parsed.blocks().map(|block| block.id().to_owned()).collect();
    books.changes.records.push(FileRecord {
        blocks: ids.len() as u32,
        ids: Some(ids),
        settled,
        ..record
    });
    Ok(())
}
