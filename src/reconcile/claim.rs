//! Which occurrence of an id may write: one id in several places.
//!
//! The winner is the occurrence in the file that the graph names (`source_file`; the first one in that file), else
//! the one with the smallest path and offset. Files are worked off in path order, so "smallest" is "met first", and
//! the answer never depends on which file was read faster. Where the named file comes later in the order, or cannot
//! be read now, the claim stays undecided until the end of the run.

use std::collections::HashMap;

use crate::block::{BlockId, ContentHash, IdDigest};

use super::seen::{FileIndex, SeenIds};

/// What a run knows of a listed file.
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
    /// It may write.
    Wins,
    /// The id belongs to this file.
    LosesTo(FileIndex),
    /// The file the graph names will be read later, or cannot be read now.
    Undecided,
}

/// An occurrence of an id that belongs to another place.
pub(super) struct Loser {
    pub(super) id: BlockId,
    pub(super) file: FileIndex,
    pub(super) line: u32,
    /// v1 and v2.
    pub(super) hashes: (ContentHash, ContentHash),
    pub(super) winner: FileIndex,
}

/// The ids met so far, and what is known of each file.
#[derive(Debug)]
pub(super) struct Claims {
    /// By index in the listing.
    pub(super) files: Vec<FileState>,
    seen: SeenIds,
    /// The files of an id that more than one file holds, the first one left out.
    others: HashMap<IdDigest, Vec<FileIndex>>,
}

impl Claims {
    pub(super) fn new(files: Vec<FileState>) -> Claims {
        Claims { files, seen: SeenIds::default(), others: HashMap::new() }
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

    fn holds(&self, file: FileIndex, id: IdDigest) -> bool {
        self.seen.first(id) == Some(file)
            || self.others.get(&id).is_some_and(|others| others.contains(&file))
    }

    /// Answers the claim of the first occurrence of `id` in `file`. `vouched_holds` tells whether a file that was
    /// not read holds an id, from what the stat cache remembers.
    pub(super) fn claim<E>(
        &self,
        id: IdDigest,
        file: FileIndex,
        home: Home,
        vouched_holds: &mut dyn FnMut(FileIndex, IdDigest) -> Result<bool, E>,
    ) -> Result<Claim, E> {
        let home_holds = match home {
            Home::None => None,
            Home::Hidden => return Ok(Claim::Undecided),
            Home::File(home) if home == file => return Ok(Claim::Wins),
            Home::File(home) => match self.files[home as usize] {
                FileState::Awaited | FileState::Unknown => return Ok(Claim::Undecided),
                FileState::Gone => None,
                FileState::Read => self.holds(home, id).then_some(home),
                FileState::Vouched => vouched_holds(home, id)?.then_some(home),
            },
        };
        Ok(match home_holds {
            Some(home) => Claim::LosesTo(home),
            None => match self.first_known(id) {
                Some(first) if first != file => match self.files[first as usize] {
                    FileState::Unknown => Claim::Undecided,
                    _ => Claim::LosesTo(first),
                },
                _ => Claim::Wins,
            },
        })
    }

    /// Whether a file holds the id whose content is known to the end of the run.
    pub(super) fn is_held(&self, id: IdDigest) -> bool {
        self.holders(id)
            .any(|file| matches!(self.files[file as usize], FileState::Read | FileState::Vouched))
    }

    /// The smallest file that holds the id, files that vanished since left out.
    fn first_known(&self, id: IdDigest) -> Option<FileIndex> {
        self.holders(id).filter(|file| self.files[*file as usize] != FileState::Gone).min()
    }

    /// The files in which the id was met.
    fn holders(&self, id: IdDigest) -> impl Iterator<Item = FileIndex> + '_ {
        let others = self.others.get(&id).map_or(&[][..], Vec::as_slice);
        self.seen.first(id).into_iter().chain(others.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "clm_a";

    /// Files 0, 1 and 2; the digits in `holders` hold the id and were read.
    #[track_caller]
    fn case(
        states: [FileState; 3],
        holders: &[FileIndex],
        file: FileIndex,
        home: Home,
        expected: Claim,
    ) {
        let mut claims = Claims::new(states.to_vec());
        for holder in holders {
            claims.note(IdDigest::of(ID), *holder);
        }
        let claim = claims.claim(IdDigest::of(ID), file, home, &mut |_, _| Ok::<_, ()>(true));
        assert_eq!(claim, Ok(expected));
    }

    #[test]
    fn the_file_the_graph_names_wins_else_the_smallest_path() {
        use FileState::*;
        let read = [Read, Read, Read];
        case(read, &[0, 2], 0, Home::None, Claim::Wins);
        case(read, &[0, 2], 2, Home::None, Claim::LosesTo(0));
        case(read, &[2, 0], 2, Home::None, Claim::LosesTo(0));
        case(read, &[0, 2], 2, Home::File(2), Claim::Wins);
        case(read, &[0, 2], 0, Home::File(2), Claim::LosesTo(2));
        case(read, &[0, 1, 2], 1, Home::File(2), Claim::LosesTo(2));
        // The named file no longer holds the id: a move.
        case(read, &[0], 0, Home::File(2), Claim::Wins);
        case([Read, Read, Gone], &[0, 2], 0, Home::File(2), Claim::Wins);
        // Not read, but vouched for.
        case([Read, Read, Vouched], &[0], 0, Home::File(2), Claim::LosesTo(2));
        // Not known yet, or not to be known in this run.
        case([Read, Read, Awaited], &[0], 0, Home::File(2), Claim::Undecided);
        case([Read, Read, Unknown], &[0], 0, Home::File(2), Claim::Undecided);
        case(read, &[0], 0, Home::Hidden, Claim::Undecided);
        case([Unknown, Read, Read], &[0, 1], 1, Home::None, Claim::Undecided);
    }
}
