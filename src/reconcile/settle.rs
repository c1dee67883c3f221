//! The files of one batch: which of their blocks may write, what is written, and what is remembered.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::block::{BlockId, IdDigest, Tier};
use crate::graph::{Applied, Change, StoredBlock, Write};
use crate::job::JobError;
use crate::logging;
use crate::vault::{self, BlockRef, VersionEdit, WriteBack};

use super::batch::{Fate, Winner, Writing};
use super::books::{Books, Undecided};
use super::claim::{Claim, Home, Loser, Standing};
use super::diff::Outcome;
use super::difference;
use super::duplicates::{self, holding};
use super::fault::{graph_error, state_error};
use super::guards;
use super::memory::FileRecord;
use super::missing;
use super::note::{Batch, Note, NoteFate, NoteSlice};
use super::phases::Phase;
use super::seen::FileIndex;
use super::survey::Survey;
use super::tally::{Kind, Tally};
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

/// The remedy for an edit that was refused.
const CONFLICT_REMEDY: &str = "if the vault is right, raise the marker's ver= to the block's version in the graph; if the \
                               graph is right, bring the note's text back";

/// A batch of which it is decided what to write.
pub(super) struct DecidedBatch {
    look: Look,
    slices: Vec<NoteSlice>,
    /// For each slice, what the graph calls its note.
    places: Vec<String>,
    winners: Vec<WinnerAt>,
    writing: Writing,
    /// The graph's texts before, where a person wants to see the difference.
    texts: HashMap<BlockId, String>,
}

/// Where in its batch a block is that may write.
struct WinnerAt {
    slice: usize,
    block: usize,
    tier: Tier,
}

impl WinnerAt {
    fn winner<'b>(&self, slices: &'b [NoteSlice], places: &'b [String]) -> Winner<'b> {
        Winner {
            block: slices[self.slice].blocks.block(self.block),
            source_file: &places[self.slice],
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
    if batch.slices.is_empty() {
        return Ok(());
    }
    survey.ctx.checkpoint()?;
    let (batch, changes) = decide_batch(survey, books, batch, look)?;
    if !changes.is_empty() {
        books.begin_writing(survey).map_err(graph_error)?;
    }
    let at_once = survey.store.preferred_batch().at_once;
    let written = survey.phases.during(Phase::Wait, || under_way.make_room(at_once))?;
    under_way.start(survey.store, survey.now, survey.phases.writing(), batch, changes)?;
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
    while let Some((batch, applied)) =
        survey.phases.during(Phase::Wait, || under_way.make_room(1))?
    {
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
    // The claims know the blocks that this run itself has put into an empty graph. The writing finds those that others
    // have put there meanwhile.
    let mut nodes = match look {
        Look::First if survey.graph_was_empty => HashMap::new(),
        _ => look_up(survey, &batch)?,
    };
    let slices = batch.slices;
    let places: Vec<String> = slices.iter().map(|slice| survey.place(slice.note.index)).collect();
    let (mut winners, mut stored) = (Vec::new(), Vec::new());
    for (position, slice) in slices.iter().enumerate() {
        let note = &slice.note;
        for (at, block) in slice.blocks.blocks().enumerate() {
            let digest = IdDigest::of(block.id());
            // On the last look all other blocks of the file have been worked off before.
            if look == Look::Last && !books.claims.is_open(digest, note.index) {
                continue;
            }
            let number = slice.from + at;
            let id = BlockId::new(block.id());
            let node = nodes.get(&id);
            let best = note.best(digest, number, block, node);
            let claim = match look {
                Look::Last => last_claim(survey, books, digest, note.index, node),
                // An earlier slice of the note has the same id: one answer for all of them.
                _ if books.claims.is_open(digest, note.index) => Claim::Undecided,
                _ => {
                    let standing = note.standing(&best, node);
                    claim(survey, books, digest, note.index, &places[position], node, standing)?
                }
            };
            let owner = match claim {
                Claim::Undecided => {
                    note.fate.set(NoteFate { open: true, ..note.fate.get() });
                    if look != Look::Last && !books.claims.is_open(digest, note.index) {
                        books.claims.leave_open(digest, note.index);
                        // One answer for all that the note has of the id: those that lost before are asked again.
                        if note.repeats(digest) {
                            books.losers.retain(|loser| {
                                loser.at.file != note.index || loser.id.digest() != digest
                            });
                        }
                    }
                    continue;
                }
                Claim::Wins if number == best.number => {
                    let folder = survey.listing.files[note.index as usize].tier;
                    let tier = Tier::of_id(&id).or(folder).unwrap_or(Tier::One);
                    winners.push(WinnerAt { slice: position, block: at, tier });
                    let repeats = note.repeats(digest);
                    stored.push(if repeats { node.cloned() } else { nodes.remove(&id) });
                    continue;
                }
                Claim::Wins => note.index,
                Claim::LosesTo(owner) => owner,
            };
            note.unsettle();
            // Of a contest all have been told.
            if !books.contests.contains_key(&digest) {
                let known = (owner == note.index).then_some(best.at);
                let at = holding(note.index, block);
                books.losers.push(Loser { id, at, winner: owner, known });
            }
        }
    }
    let (writing, changes) =
        Writing::begin(stored, &|number| winners[number].winner(&slices, &places));
    let texts = match survey.ctx.options.diff {
        true => texts_before(survey, &changes)?,
        false => HashMap::new(),
    };
    Ok((DecidedBatch { look, slices, places, winners, writing, texts }, changes))
}

/// Works off what came of a batch, and remembers its files.
fn settle_batch(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    batch: DecidedBatch,
    mut applied: Applied,
) -> Result<(), JobError> {
    let DecidedBatch { look, slices, places, winners, mut writing, texts } = batch;
    let winner = |number: usize| winners[number].winner(&slices, &places);
    loop {
        let changes = writing.take(applied, survey.store, &winner).map_err(graph_error)?;
        if changes.is_empty() {
            break;
        }
        books.begin_writing(survey).map_err(graph_error)?;
        let apply = || survey.store.apply(&changes, survey.now);
        applied = survey.phases.during(Phase::Write, apply).map_err(graph_error)?;
    }
    for (number, fate) in writing.into_fates().enumerate() {
        let (note, block) = (&slices[winners[number].slice].note, winner(number).block);
        if let Fate::Settled(_, Some(version)) = &fate
            && *version != block.version()
            && let Some(digits) = block.version_digits()
        {
            note.edits.borrow_mut().push(VersionEdit { digits, version: *version });
        }
        let place = || format!("{}:{}", survey.path(note.index), block.line());
        // Few runs ask for differences.
        let before = if texts.is_empty() { None } else { texts.get(&BlockId::new(block.id())) };
        if !count(tally, fate, block, &place, before) {
            note.unsettle();
        }
    }
    for NoteSlice { note, .. } in slices.iter().filter(|slice| slice.blocks.is_last()) {
        let edits = note.edits.take();
        if survey.settings.write_back
            && !edits.is_empty()
            && !write_back(survey, tally, note, &edits)
        {
            note.unsettle();
        }
        remember(survey, books, look, note)?;
    }
    if books.changes.records.len() >= RECORDS_PER_COMMIT {
        books.commit(survey)?;
    }
    if books.losers.len() >= LOSERS_PER_LOOKUP {
        duplicates::tell(survey, books, tally)?;
    }
    Ok(())
}

/// The texts that the graph holds of blocks whose content is about to change, or was refused.
fn texts_before(
    survey: &Survey<'_>,
    changes: &[Change],
) -> Result<HashMap<BlockId, String>, JobError> {
    let is_edit = |change: &&Change| matches!(change.write, Write::Content(_) | Write::Conflict(_));
    let known = changes.iter().filter(is_edit).filter(|change| change.expected.is_some());
    let ids: Vec<BlockId> = known.map(|change| change.id.clone()).collect();
    survey.store.texts(&ids).map_err(graph_error)
}

fn look_up(survey: &Survey<'_>, batch: &Batch) -> Result<HashMap<BlockId, StoredBlock>, JobError> {
    let mut ids: Vec<&str> = batch
        .slices
        .iter()
        .flat_map(|slice| slice.blocks.blocks())
        .map(|block| block.id())
        .collect();
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
    standing: Standing,
) -> Result<Claim, JobError> {
    let home = match node.and_then(|node| node.source_file.as_deref()) {
        Some(source_file) if source_file == place => Home::File(file),
        source_file => survey.home(source_file),
    };
    let Books { cache, claims, called_in, .. } = books;
    let mut vouched_holds = |vouched, id| cache.holds(survey.path(vouched), id);
    let claim = claims.claim(id, file, home, standing, &mut vouched_holds).map_err(state_error)?;
    if let (Claim::Undecided, Home::File(home)) = (claim, home)
        && home != file
    {
        called_in.insert(id, home);
    }
    Ok(claim)
}

/// The answer to a claim that was left open, now that everything has been read.
fn last_claim(
    survey: &Survey<'_>,
    books: &Books<'_>,
    id: IdDigest,
    file: FileIndex,
    node: Option<&StoredBlock>,
) -> Claim {
    match books.contests.get(&id) {
        Some(None) => Claim::Undecided,
        Some(Some(owner)) if owner.file == file => Claim::Wins,
        Some(Some(owner)) => Claim::LosesTo(owner.file),
        None => {
            let home = survey.home(node.and_then(|node| node.source_file.as_deref()));
            books.claims.claim_alone(file, home)
        }
    }
}

/// Counts and explains what came of a block; true if nothing about it is left open.
fn count(
    tally: &mut Tally,
    fate: Fate,
    block: BlockRef<'_>,
    place: &dyn Fn() -> String,
    before: Option<&String>,
) -> bool {
    let id = block.id();
    match fate {
        Fate::Settled(decision, _) => {
            tally.stats.count(decision.outcome);
            tally.stats.version_behind += u64::from(decision.version_behind);
            if decision.outcome == Outcome::Unchanged {
                // A marker that is behind is counted in every run, so its note is read in every run.
                return !decision.version_behind;
            }
            tally.explain(|| {
                format!("{id} {}: {}: {}", place(), decision.outcome.as_str(), decision.why)
            });
            if let Some(before) = before {
                for line in difference::lines(id, &place(), before, &block.stored_body()) {
                    tally.explain(|| line);
                }
            }
            let is_conflict = decision.outcome == Outcome::Conflict;
            if is_conflict {
                tally.waits(
                    Kind::Conflict,
                    place(),
                    &format!("{id}: vault out of sync with graph"),
                    CONFLICT_REMEDY,
                );
            }
            if is_conflict && decision.plan.is_some() {
                tally.warn(place(), format!("conflict: {id}: {}", decision.why));
            }
            !is_conflict && !decision.version_behind
        }
        Fate::Contested => {
            tally.stats.conflicts += 1;
            let message = format!("{id}: another service kept changing it");
            tally.waits(Kind::Conflict, place(), &message, "the next run tries again");
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
fn write_back(survey: &Survey<'_>, tally: &mut Tally, file: &Note, edits: &[VersionEdit]) -> bool {
    let quiet = TimeDelta::nanoseconds(file.reading.stat.changed_ns());
    let changed_at =
        DateTime::<Utc>::UNIX_EPOCH.checked_add_signed(quiet).unwrap_or(DateTime::<Utc>::MAX_UTC);
    if survey.ctx.options.dry_run {
        return false;
    }
    if survey.now.signed_duration_since(changed_at) < WRITE_BACK_AFTER {
        tally.too_young += 1;
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
        Ok(WriteBack::Kept(why)) => {
            tally.error(listed.path.to_string(), why);
            false
        }
        Err(fault) => {
            tally.error(fault.path.to_string(), fault.kind.to_string());
            false
        }
    }
}

/// Says once how many notes a write-back has left because somebody may be working on them.
pub(super) fn tell_of_young_notes(survey: &Survey<'_>, tally: &mut Tally) {
    let (notes, seconds) = (tally.too_young, WRITE_BACK_AFTER.num_seconds());
    let (are, they, their) = match notes {
        0 => return,
        1 => ("note is", "it is", "its"),
        _ => ("notes are", "they are", "their"),
    };
    let line = format!(
        "{notes} {are} too young for write-back: {they} brought up to date by the next run, {seconds} s after {their} \
         last change"
    );
    logging::info!(at = "vault_sync.run", job_id = survey.ctx.run_id.as_str(); "{line}");
    tally.explain(|| line);
}

/// Notes what is now known of a note, and which blocks are no longer in it.
fn remember(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    look: Look,
    note: &Note,
) -> Result<(), JobError> {
    let record = Books::record(survey, note.index, &note.reading);
    let (fate, blocks) = (note.fate.get(), note.blocks);
    let settled = fate.settled && !fate.open;
    if look == Look::Last {
        // The note has been remembered as open; now that its claims are answered, nothing is left of that.
        let undecided = books.undecided.get(&note.index);
        if settled && undecided.is_some_and(|undecided| undecided.settled_otherwise) {
            books.changes.records.push(FileRecord { blocks, settled, ..record });
        }
        return Ok(());
    }
    if fate.open {
        let seen = (note.reading.stat, note.reading.digest);
        let undecided = Undecided { seen, settled_otherwise: fate.settled };
        books.undecided.insert(note.index, undecided);
    }
    if survey.remembered(note.index).is_some_and(|remembered| remembered.blocks > 0) {
        let left: HashSet<&str> = note.ids.lines().collect();
        let before = books.cache.ids(&record.path).map_err(state_error)?;
        let gone = before.into_iter().filter(|id| !left.contains(id.as_str()));
        missing::note(survey, books, gone.collect(), &record.path);
    }
    let folder = guards::folder_of(&record.path);
    if !books.folders.contains(folder) {
        books.folders.insert(folder.to_owned());
    }
    let ids = Some(note.ids.clone());
    books.changes.records.push(FileRecord { blocks, ids, settled, ..record });
    Ok(())
}
