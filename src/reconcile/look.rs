//! One look at files: they are read by folder and name, and each is worked off or put aside for a later look.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::block::IdDigest;
use crate::job::JobError;
use crate::order;
use crate::vault::{self, Deferral, ParsedFile, ReadOutcome, Reading, ToRead};

use super::books::Books;
use super::claim::FileState;
use super::memory::FileRecord;
use super::note::{Batch, Note, NoteSlice};
use super::phases::Phase;
use super::seen::FileIndex;
use super::settle::{DecidedBatch, Look, flush, settle_all};
use super::survey::Survey;
use super::tally::Tally;
use super::trust::Verdict;
use super::under_way::UnderWay;

/// How long a run waits in all for notes that were changed a moment ago.
const PATIENCE: Duration = Duration::from_secs(2);

/// A file that had blocks and is empty now is left alone for this many runs: it may be in the middle of being written.
const BLANK_RUNS_MAX: u32 = 2;

/// A note whose texts take more room than this in the graph goes there in parts, one at a time: the markers of a single
/// line may have eight kilobytes of text each.
const SLICE_BYTES: usize = 1 << 20;

/// The next note is taken only when one larger than this is in the graph: several at once would take a lot of room.
const LARGE_NOTE: u64 = 8 << 20;

/// So many files are told to the readers at once: telling takes as much room for each as its path. So few in tests that
/// the end of one lot is met.
const FILES_AT_ONCE: usize = if cfg!(test) { 3 } else { 1 << 15 };

/// Reads the files that are due for this look and works each off.
pub(super) fn look_at(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    look: Look,
) -> Result<(), JobError> {
    let indices = due(survey, books, look);
    if indices.is_empty() {
        return Ok(());
    }
    if look == Look::Second {
        wait_until_quiet(survey, &indices)?;
    }
    let ctx = survey.ctx;
    let phase = if look == Look::First { "reading" } else { "looking again" };
    ctx.progress.phase(phase, Some(indices.len() as u64));
    if look == Look::Second {
        for index in &indices {
            books.set_state(*index, FileState::Awaited);
        }
    }
    thread::scope(|scope| {
        let mut desk = Desk { look, batch: Batch::default(), under_way: UnderWay::new(scope) };
        for indices in indices.chunks(FILES_AT_ONCE) {
            let files: Vec<ToRead<'_>> =
                indices.iter().map(|index| to_read(survey, books, *index, look)).collect();
            let mut position = 0;
            let mut failed = None;
            survey.read_in_order(&files, &mut |file, outcome| {
                let index = indices[position];
                position += 1;
                ctx.progress.advance(1, file.file.stat.size);
                match desk.take(survey, books, tally, index, outcome) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        desk.flush(survey, books, tally)?;
        settle_all(survey, books, tally, &mut desk.under_way)
    })
}

/// Gives those who were writing a moment ago the time to finish: until each note has been quiet for a second, but not
/// longer than [`PATIENCE`] for all of them together.
fn wait_until_quiet(survey: &Survey<'_>, indices: &[FileIndex]) -> Result<(), JobError> {
    let ctx = survey.ctx;
    let mut left = PATIENCE;
    while !left.is_zero() {
        let now = ctx.clock.now().timestamp_nanos_opt().unwrap_or(i64::MAX);
        let quiet_in = |index: &FileIndex| {
            let file = &survey.listing.files[*index as usize];
            vault::look_once(&survey.listing.root, file)?.quiet_in(now)
        };
        let Some(wait) = indices.iter().filter_map(quiet_in).max() else { break };
        let wait = wait.min(left);
        left -= wait;
        survey.phases.during(Phase::Wait, || ctx.stop.wait(ctx.clock, wait));
        ctx.checkpoint()?;
    }
    Ok(())
}

/// The files to read on this look, by folder and name.
fn due(survey: &Survey<'_>, books: &Books<'_>, look: Look) -> Vec<FileIndex> {
    let mut due: Vec<FileIndex> = match look {
        Look::First => (0..)
            .zip(survey.verdicts.iter().zip(&survey.listing.files))
            .filter(|(_, (verdict, file))| {
                matches!(verdict, Verdict::Read(_)) && survey.is_in_scope(&file.path)
            })
            .map(|(index, _)| index)
            .collect(),
        Look::Second => books.second_look.keys().copied().collect(),
        Look::Last => books.undecided.keys().copied().collect(),
    };
    order::sort_by_key(&mut due, |index| books.claims.position(*index));
    due
}

fn to_read<'a>(survey: &Survey<'a>, books: &Books<'_>, index: FileIndex, look: Look) -> ToRead<'a> {
    let (known, expected) = match look {
        Look::First => {
            let current = survey.remembered(index).filter(|remembered| remembered.current);
            (current.map(|remembered| remembered.digest), None)
        }
        // Changed or not since the first look: that it holds still now is what counts.
        Look::Second => (None, None),
        Look::Last => (None, books.undecided.get(&index).map(|undecided| Box::new(undecided.seen))),
    };
    ToRead { file: &survey.listing.files[index as usize], known, expected }
}

/// The files of one look on their way into the graph.
struct Desk<'scope, 'env> {
    look: Look,
    /// Files read, whose blocks wait for the next write to the graph.
    batch: Batch,
    under_way: UnderWay<'scope, 'env, DecidedBatch>,
}

impl<'scope> Desk<'scope, '_> {
    /// Works off one file.
    fn take<'a>(
        &mut self,
        survey: &Survey<'a>,
        books: &mut Books<'_>,
        tally: &mut Tally,
        index: FileIndex,
        outcome: ReadOutcome,
    ) -> Result<(), JobError>
    where
        'a: 'scope,
    {
        let look = self.look;
        match outcome {
            ReadOutcome::Parsed(reading, parsed) => {
                if look != Look::Last {
                    for block in parsed.blocks() {
                        books.claims.note(IdDigest::of(block.id()), index);
                    }
                    if look == Look::First && reading.is_recent() {
                        books.set_state(index, FileState::Unknown);
                        books.second_look.insert(index, (reading.stat, reading.digest));
                        return Ok(());
                    }
                    count_read(survey, tally, index, &reading, &parsed);
                    if is_left_alone(survey, books, tally, index, &reading, &parsed, look) {
                        return Ok(());
                    }
                }
                books.set_state(index, FileState::Read);
                self.hand_on(survey, books, tally, index, reading, parsed)?;
            }
            ReadOutcome::Same(reading) => {
                books.set_state(index, FileState::Vouched);
                let blocks = survey.remembered(index).map_or(0, |remembered| remembered.blocks);
                tally.stats.files_processed += 1;
                tally.stats.bytes_read += reading.stat.size;
                tally.stats.blocks_unchanged += u64::from(blocks);
                tally.blocks_in_vault += u64::from(blocks);
                let record = Books::record(survey, index, &reading);
                books.changes.records.push(FileRecord { blocks, settled: true, ..record });
            }
            ReadOutcome::Vanished => {
                books.set_state(index, FileState::Gone);
                // On the last look it has been remembered anew: the next run will find it gone.
                if look != Look::Last && survey.remembered(index).is_some() {
                    books.gone.push(survey.path(index).clone());
                }
            }
            ReadOutcome::Deferred(why) => defer(survey, books, tally, index, &why.to_string()),
            ReadOutcome::Fault(fault) => {
                books.set_state(index, FileState::Unknown);
                books.not_compared(survey, survey.path(index).clone());
                tally.error(fault.path.to_string(), fault.kind.to_string());
            }
        }
        Ok(())
    }

    /// Hands a note on to the graph, slice by slice.
    fn hand_on<'a>(
        &mut self,
        survey: &Survey<'a>,
        books: &mut Books<'_>,
        tally: &mut Tally,
        index: FileIndex,
        reading: Reading,
        parsed: ParsedFile,
    ) -> Result<(), JobError>
    where
        'a: 'scope,
    {
        let note = Rc::new(Note::of(survey, books, index, reading, &parsed)?);
        let size = survey.store.preferred_batch();
        let mut from = 0;
        for blocks in parsed.into_slices(size.rows, size.bytes.min(SLICE_BYTES)) {
            let (next, is_part) = (from + blocks.len(), from > 0 || !blocks.is_last());
            self.batch.push(NoteSlice { note: Rc::clone(&note), blocks, from });
            from = next;
            if is_part || self.batch.is_full(size) {
                self.flush(survey, books, tally)?;
            }
        }
        if reading.stat.size > LARGE_NOTE {
            self.flush(survey, books, tally)?;
            settle_all(survey, books, tally, &mut self.under_way)?;
        }
        Ok(())
    }

    fn flush<'a>(
        &mut self,
        survey: &Survey<'a>,
        books: &mut Books<'_>,
        tally: &mut Tally,
    ) -> Result<(), JobError>
    where
        'a: 'scope,
    {
        let batch = std::mem::take(&mut self.batch);
        flush(survey, books, tally, self.look, batch, &mut self.under_way)
    }
}

fn count_read(
    survey: &Survey<'_>,
    tally: &mut Tally,
    index: FileIndex,
    reading: &Reading,
    parsed: &ParsedFile,
) {
    tally.stats.files_processed += 1;
    tally.stats.bytes_read += reading.stat.size;
    tally.stats.blocks_processed += parsed.len() as u64;
    tally.blocks_in_vault += parsed.len() as u64;
    tally.stats.empty_blocks += parsed.empty_blocks;
    tally.stats.warnings += parsed.warnings_left_out;
    let path = survey.path(index);
    for warning in &parsed.warnings {
        tally.warn(path.to_string(), warning.to_string());
    }
    for fault in &parsed.faults {
        tally.error(path.to_string(), fault.to_string());
    }
}

/// Whether a file that was read is left to the next run: it may be in the middle of being written, or of a merge.
fn is_left_alone(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    index: FileIndex,
    reading: &Reading,
    parsed: &ParsedFile,
    look: Look,
) -> bool {
    if look == Look::Second
        && reading.stat.quiet_in(reading.read_at_ns).is_some()
        && books.second_look.get(&index) != Some(&(reading.stat, reading.digest))
    {
        defer(survey, books, tally, index, &Deferral::StillChanging.to_string());
        return true;
    }
    let first = books.second_look.get(&index).filter(|_| look == Look::Second);
    if first.is_some_and(|(stat, digest)| stat.size > 0 && *digest != reading.digest)
        && reading.is_blank
    {
        defer(survey, books, tally, index, "it was emptied during the run");
        return true;
    }
    if let Some(line) = parsed.merge_conflict {
        tally.stats.merge_conflicts += 1;
        defer(survey, books, tally, index, &Deferral::UnresolvedMerge { line }.to_string());
        return true;
    }
    if let Some(known) = survey.remembered(index)
        && reading.is_blank
        && known.blocks > 0
        && known.blank_runs < BLANK_RUNS_MAX
    {
        defer(survey, books, tally, index, "it had blocks and is empty now");
        books.changes.records.push(FileRecord {
            digest: known.digest,
            blocks: known.blocks,
            blank_runs: known.blank_runs + 1,
            ..Books::record(survey, index, reading)
        });
        return true;
    }
    false
}

/// Leaves a file to the next run.
fn defer(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    tally: &mut Tally,
    index: FileIndex,
    why: &str,
) {
    books.set_state(index, FileState::Unknown);
    tally.stats.files_deferred += 1;
    let path = survey.path(index).clone();
    tally.warn(path.to_string(), format!("left to the next run: {why}"));
    books.not_compared(survey, path);
}
