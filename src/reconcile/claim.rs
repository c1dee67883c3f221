//! Which occurrence of an id may write: one id in several places.
//!
//! The winner is the best by [`Rank`]: text before code, then the file that the graph names (`source_file`), then the
//! text that the graph holds, then what is no likely copy, then the smallest folder, name and offset. Files are worked
//! off in that last order, so most claims are answered when they are met, and the answer never depends on which file was
//! read faster. A claim that a later file may outrank stays undecided until all files have been read.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::block::{BlockId, ContentHash, IdDigest};

use super::seen::{FileIndex, SeenIds};

/// The state of a listed file, as far as a run knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// Not read: the stat cache vouches for it, so it still holds the ids it held.
    Vouched,
    /// Will be read later in this run.
    Awaited,
    /// Was read: its ids are among those seen.
    Read,
    /// Was there, but what it holds now is not known: unreadable, being written, not UTF-8.
    Unknown,
    /// Vanished between listing and reading.
    Gone,
}

/// Where the graph says a block lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// Nowhere in this vault any more, or never said.
    None,
    /// In a listed file.
    File(FileIndex),
    /// In a place this run could not look into.
    Hidden,
}

/// The answer to an occurrence's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The occurrence may write.
    Wins,
    /// The id belongs to this file.
    LosesTo(FileIndex),
    /// The file the graph names will be read later, or cannot be read now.
    Undecided,
}

/// The graph's side of an id, beside an occurrence of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// No node, or one without content.
    Nothing,
    /// This occurrence's text.
    SameText,
    /// Another text.
    OtherText,
}

/// The marks against an occurrence of an id, the weightiest first. Of several occurrences the least wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Its marker is in a code fence or span.
    pub(super) in_code: bool,
    /// The occurrence is not in the file that the graph names.
    pub(super) away: bool,
    /// The graph holds content, and another one.
    pub(super) other_text: bool,
    /// Its file is a likely copy of another note.
    pub(super) likely_copy: bool,
    /// The position of its file among all files, and its own in the file.
    pub(super) position: (u32, u64),
}

/// The occurrence that claims an id: the best one in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) in_code: bool,
    pub(super) likely_copy: bool,
    pub(super) held: Held,
}

/// A place in the vault that holds an id, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) file: FileIndex,
    pub(super) line: u32,
    /// v1 and v2.
    pub(super) hashes: (ContentHash, ContentHash),
}

/// An occurrence of an id that belongs to another place.
pub(super) struct Loser {
    pub(super) id: BlockId,
    pub(super) at: Holding,
    pub(super) winner: FileIndex,
    /// The winning occurrence, where it is known already.
    pub(super) known: Option<Holding>,
}

/// The ids met so far, and what is known of each file.
#[derive(Debug)]
pub(super) struct Claims {
    /// By index in the listing.
    pub(super) files: Vec<FileState>,
    /// The position of each file by folder and name, by index in the listing.
    positions: Vec<u32>,
    seen: SeenIds,
    /// The files of an id that more than one file holds, the first one left out.
    others: HashMap<IdDigest, Vec<FileIndex>>,
    /// Claims that could not be answered yet, by file.
    undecided: BTreeMap<FileIndex, HashSet<IdDigest>>,
}

impl Claims {
    pub(super) fn new(files: Vec<FileState>, positions: Vec<u32>) -> Claims {
        Claims {
            files,
            positions,
            seen: SeenIds::default(),
            others: HashMap::new(),
            undecided: BTreeMap::new(),
        }
    }

    /// The position of a file by folder and name.
    pub(super) fn position(&self, file: FileIndex) -> u32 {
        self.positions[file as usize]
    }

    /// Leaves a claim open until everything has been read.
    pub(super) fn leave_open(&mut self, id: IdDigest, file: FileIndex) {
        self.undecided.entry(file).or_default().insert(id);
    }

    /// Whether the claim of `file` to the id is still open.
    pub(super) fn is_open(&self, id: IdDigest, file: FileIndex) -> bool {
        self.undecided.get(&file).is_some_and(|ids| ids.contains(&id))
    }

    /// The claims that are still open, by file.
    pub(super) fn open(&self) -> &BTreeMap<FileIndex, HashSet<IdDigest>> {
        &self.undecided
    }

    /// Notes that `file` holds the id.
    pub(super) fn note(&mut self, id: IdDigest, file: FileIndex) {
        if let Some(first) = self.seen.note(id, file)
            && first != file
        {
            let others = self.others.entry(id).or_default();
            if !others.contains(&file) {
                others.push(file);
            }
        }
    }

    /// Whether any file read in this run held the id when it was read, files that vanished since left out.
    pub(super) fn seen(&self, id: IdDigest) -> bool {
        self.first_known(id).is_some()
    }

    /// Whether a file that was read in this run held the id.
    pub(super) fn holds(&self, file: FileIndex, id: IdDigest) -> bool {
        self.seen.first(id) == Some(file)
            || self.others.get(&id).is_some_and(|others| others.contains(&file))
    }

    /// Answers the claim of `file` to `id`, by its best occurrence there. `vouched_holds` tells whether a file that was
    /// not read holds an id, from what is remembered.
    pub(super) fn claim<E>(
        &self,
        id: IdDigest,
        file: FileIndex,
        home: Home,
        standing: Standing,
        vouched_holds: &mut dyn FnMut(FileIndex, IdDigest) -> Result<bool, E>,
    ) -> Result<Claim, E> {
        let home_holds = match home {
            Home::None => None,
            Home::Hidden => return Ok(Claim::Undecided),
            // Text elsewhere would outrank it.
            Home::File(home) if home == file && standing.in_code => return Ok(Claim::Undecided),
            Home::File(home) if home == file => return Ok(Claim::Wins),
            Home::File(home) => match self.files[home as usize] {
                FileState::Awaited | FileState::Unknown => return Ok(Claim::Undecided),
                FileState::Gone => None,
                FileState::Read => self.holds(home, id).then_some(home),
                // That file has to be looked at again: it may hold the id in a code fence.
                FileState::Vouched if vouched_holds(home, id)? => return Ok(Claim::Undecided),
                FileState::Vouched => None,
            },
        };
        let Some(owner) =
            home_holds.or_else(|| self.first_known(id).filter(|first| *first != file))
        else {
            let may_be_outranked =
                standing.in_code || standing.likely_copy || standing.held == Held::OtherText;
            return Ok(if may_be_outranked { Claim::Undecided } else { Claim::Wins });
        };
        let is_certain = (home_holds.is_some() || standing.held == Held::Nothing)
            && !self.is_open(id, owner)
            && self.files[owner as usize] != FileState::Unknown;
        Ok(if is_certain { Claim::LosesTo(owner) } else { Claim::Undecided })
    }

    /// Answers the claim of `file` when everything has been read and no other file holds the id.
    pub(super) fn claim_alone(&self, file: FileIndex, home: Home) -> Claim {
        match home {
            Home::Hidden => Claim::Undecided,
            Home::File(home)
                if home != file
                    && matches!(
                        self.files[home as usize],
                        FileState::Awaited | FileState::Unknown
                    ) =>
            {
                Claim::Undecided
            }
            _ => Claim::Wins,
        }
    }

    /// Whether a file holds the id whose content is known to the end of the run.
    pub(super) fn is_held(&self, id: IdDigest) -> bool {
        self.holders(id)
            .any(|file| matches!(self.files[file as usize], FileState::Read | FileState::Vouched))
    }

    /// The first file by folder and name that holds the id, files that vanished since left out.
    fn first_known(&self, id: IdDigest) -> Option<FileIndex> {
        self.holders(id)
            .filter(|file| self.files[*file as usize] != FileState::Gone)
            .min_by_key(|file| self.position(*file))
    }

    /// The files in which the id was met.
    pub(super) fn holders(&self, id: IdDigest) -> impl Iterator<Item = FileIndex> + '_ {
        let others = self.others.get(&id).map_or(&[][..], Vec::as_slice);
        self.seen.first(id).into_iter().chain(others.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "clm_a";
    const TEXT: Standing = Standing { in_code: false, likely_copy: false, held: Held::Nothing };
    const SAME: Standing = Standing { held: Held::SameText, ..TEXT };
    const OTHER: Standing = Standing { held: Held::OtherText, ..TEXT };

    /// Files 0, 1 and 2; those in `holders` hold the id and were read, in this order.
    #[track_caller]
    fn case(
        states: [FileState; 3],
        holders: &[FileIndex],
        file: FileIndex,
        home: Home,
        standing: Standing,
        expected: Claim,
    ) {
        let mut claims = Claims::new(states.to_vec(), vec![0, 1, 2]);
        for holder in holders {
            claims.note(IdDigest::of(ID), *holder);
        }
        let vouched = &mut |_, _| Ok::<_, ()>(true);
        assert_eq!(claims.claim(IdDigest::of(ID), file, home, standing, vouched), Ok(expected));
    }

    #[test]
    fn the_file_the_graph_names_wins_else_the_first_by_folder_and_name() {
        use FileState::*;
        let read = [Read, Read, Read];
        case(read, &[0, 2], 0, Home::None, TEXT, Claim::Wins);
        case(read, &[0, 2], 2, Home::None, TEXT, Claim::LosesTo(0));
        case(read, &[2, 0], 2, Home::None, TEXT, Claim::LosesTo(0));
        case(read, &[0, 2], 2, Home::File(2), OTHER, Claim::Wins);
        case(read, &[0, 2], 0, Home::File(2), SAME, Claim::LosesTo(2));
        case(read, &[0, 1, 2], 1, Home::File(2), OTHER, Claim::LosesTo(2));
        // The named file no longer holds the id: a move.
        case(read, &[0], 0, Home::File(2), SAME, Claim::Wins);
        case([Read, Read, Gone], &[0, 2], 0, Home::File(2), SAME, Claim::Wins);
        // Not known yet, or not to be known in this run.
        case([Read, Read, Vouched], &[0], 0, Home::File(2), SAME, Claim::Undecided);
        case([Read, Read, Awaited], &[0], 0, Home::File(2), SAME, Claim::Undecided);
        case([Read, Read, Unknown], &[0], 0, Home::File(2), SAME, Claim::Undecided);
        case(read, &[0], 0, Home::Hidden, SAME, Claim::Undecided);
        case([Unknown, Read, Read], &[0, 1], 1, Home::None, TEXT, Claim::Undecided);
    }

    #[test]
    fn a_claim_that_a_later_file_may_outrank_waits_for_it() {
        let read = [FileState::Read; 3];
        // The text that the graph holds may still come, where this is another one.
        case(read, &[0], 0, Home::None, OTHER, Claim::Undecided);
        case(read, &[0, 1], 1, Home::None, SAME, Claim::Undecided);
        case(read, &[0], 0, Home::None, Standing { likely_copy: true, ..TEXT }, Claim::Undecided);
        for home in [Home::None, Home::File(0)] {
            case(read, &[0], 0, home, Standing { in_code: true, ..SAME }, Claim::Undecided);
        }
        let mut claims = Claims::new(read.to_vec(), vec![0, 1, 2]);
        let id = IdDigest::of(ID);
        claims.note(id, 0);
        claims.leave_open(id, 0);
        claims.note(id, 1);
        let claim = claims.claim(id, 1, Home::None, TEXT, &mut |_, _| Ok::<_, ()>(false));
        assert_eq!(claim, Ok(Claim::Undecided), "the first one is not sure of it either");
    }

    #[test]
    fn of_several_occurrences_the_one_with_the_least_against_it_wins() {
        let rank = |in_code, away, other_text, likely_copy, file| Rank {
            in_code,
            away,
            other_text,
            likely_copy,
            position: (file, 0),
        };
        let in_order = [
            rank(false, false, true, true, 5),
            rank(false, true, false, true, 4),
            rank(false, true, true, false, 3),
            rank(false, true, true, true, 2),
            rank(true, false, false, false, 1),
        ];
        assert!(in_order.is_sorted(), "{in_order:?}");
    }
}
