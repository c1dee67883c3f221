//! A note on its way into the graph: what holds for all of it, and its blocks, slice by slice. A note of a million ids is
//! decided and written in parts, so that its blocks are never all in memory as rows of the graph.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::block::IdDigest;
use crate::graph::{BatchSize, StoredBlock};
use crate::job::JobError;
use crate::vault::{BlockRef, FileSlice, ParsedFile, Reading, VersionEdit};

use super::books::Books;
use super::claim::{Held, Holding, Standing};
use super::copies;
use super::duplicates::{held, holding};
use super::seen::FileIndex;
use super::survey::Survey;

/// A note as a whole.
pub(super) struct Note {
    pub(super) index: FileIndex,
    pub(super) reading: Reading,
    /// How many blocks it has.
    pub(super) blocks: u32,
    /// The ids of its blocks in file order, one a line.
    pub(super) ids: String,
    /// The state of the note so far.
    pub(super) fate: Cell<NoteFate>,
    /// Version numbers to write into its markers.
    pub(super) edits: RefCell<Vec<VersionEdit>>,
    /// The occurrences of ids that it holds more than once, each run of the same text by its first.
    repeated: HashMap<IdDigest, Vec<Occurrence>>,
    /// Of these, the one with the best claim to each id that was asked about. Asked once for each id: a note may hold
    /// one id a hundred thousand times.
    best: RefCell<HashMap<IdDigest, Occurrence>>,
    /// The note is a likely copy of a note that it shares an id with.
    likely_copy: bool,
}

/// The state of a note so far.
#[derive(Clone, Copy)]
pub(super) struct NoteFate {
    /// Nothing about it is left open, as far as it was decided.
    pub(super) settled: bool,
    /// The note has claims that could not be answered.
    pub(super) open: bool,
}

/// One of several blocks of a note with the same id.
#[derive(Clone, Copy)]
pub(super) struct Occurrence {
    /// The number of the block in its note.
    pub(super) number: usize,
    pub(super) at: Holding,
    in_code: bool,
}

impl Occurrence {
    fn of(file: FileIndex, number: usize, block: BlockRef<'_>) -> Occurrence {
        Occurrence { number, at: holding(file, block), in_code: block.in_code() }
    }

    /// Whether the other has the same claim but for its number.
    fn is_alike(&self, other: &Occurrence) -> bool {
        self.in_code == other.in_code && self.at.hashes == other.at.hashes
    }
}

impl Note {
    pub(super) fn of(
        survey: &Survey<'_>,
        books: &mut Books<'_>,
        index: FileIndex,
        reading: Reading,
        parsed: &ParsedFile,
    ) -> Result<Note, JobError> {
        let mut ids: Vec<(IdDigest, usize)> = Vec::with_capacity(parsed.len());
        let mut joined = String::new();
        for (number, block) in parsed.blocks().enumerate() {
            ids.push((IdDigest::of(block.id()), number));
            joined.push_str(if number > 0 { "\n" } else { "" });
            joined.push_str(block.id());
        }
        ids.sort_unstable();
        let mut repeated: HashMap<IdDigest, Vec<Occurrence>> = HashMap::new();
        for same in ids.chunk_by(|(a, _), (b, _)| a == b).filter(|same| same.len() > 1) {
            repeated.insert(same[0].0, Vec::new());
        }
        if !repeated.is_empty() {
            for (number, block) in parsed.blocks().enumerate() {
                if let Some(occurrences) = repeated.get_mut(&IdDigest::of(block.id())) {
                    let occurrence = Occurrence::of(index, number, block);
                    // Of neighbours with the same text the first has the best claim.
                    if occurrences.last().is_none_or(|last| !last.is_alike(&occurrence)) {
                        occurrences.push(occurrence);
                    }
                }
            }
        }
        Ok(Note {
            index,
            reading,
            blocks: ids.len() as u32,
            ids: joined,
            fate: Cell::new(NoteFate { settled: parsed.faults.is_empty(), open: false }),
            edits: RefCell::default(),
            repeated,
            best: RefCell::default(),
            likely_copy: copies::find_original(survey, books, index, &ids)?,
        })
    }

    /// Whether it holds the id more than once.
    pub(super) fn repeats(&self, id: IdDigest) -> bool {
        self.repeated.contains_key(&id)
    }

    /// Of its blocks with the id of `block`, which is its `number`-th, the one with the best claim.
    pub(super) fn best(
        &self,
        id: IdDigest,
        number: usize,
        block: BlockRef<'_>,
        node: Option<&StoredBlock>,
    ) -> Occurrence {
        let against = |occurrence: &&Occurrence| {
            let Standing { in_code, held, .. } = self.standing(occurrence, node);
            (in_code, held == Held::OtherText, occurrence.number)
        };
        let this = || Occurrence::of(self.index, number, block);
        let Some(all) = self.repeated.get(&id) else { return this() };
        let best = || all.iter().min_by_key(against).copied().unwrap_or_else(this);
        *self.best.borrow_mut().entry(id).or_insert_with(best)
    }

    /// The standing of an occurrence when it claims its id.
    pub(super) fn standing(&self, occurrence: &Occurrence, node: Option<&StoredBlock>) -> Standing {
        Standing {
            in_code: occurrence.in_code,
            likely_copy: self.likely_copy,
            held: held(node, occurrence.at.hashes),
        }
    }

    /// Something about it is left open.
    pub(super) fn unsettle(&self) {
        self.fate.set(NoteFate { settled: false, ..self.fate.get() });
    }
}

/// Some neighbouring blocks of a note.
pub(super) struct NoteSlice {
    pub(super) note: Rc<Note>,
    pub(super) blocks: FileSlice,
    /// The number of its first block in the note.
    pub(super) from: usize,
}

/// Blocks that wait for the next write to the graph.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) slices: Vec<NoteSlice>,
    blocks: usize,
    bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, slice: NoteSlice) {
        self.blocks += slice.blocks.len();
        // A note without blocks takes room too, once.
        let text = if slice.from == 0 { slice.note.reading.stat.size as usize } else { 0 };
        self.bytes += slice.blocks.bytes().max(text);
        self.slices.push(slice);
    }

    pub(super) fn is_full(&self, size: BatchSize) -> bool {
        self.blocks >= size.rows || self.bytes >= size.bytes
    }
}
