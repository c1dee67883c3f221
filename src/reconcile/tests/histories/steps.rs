//! The steps of a history, and their making from a seed.

use super::world::{Deed, IDS, PATHS, PATTERNS};

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Vault(Deed),
    Service {
        id: usize,
        how: Service,
    },
    Pass {
        seconds: u64,
    },
    Sync(Sync),
    LoseState,
    KeepState,
    PutBackState,
    KeepGraph,
    PutBackGraph,
    /// Another of the patterns leaves notes out from now on.
    Ignore(usize),
    /// A sync of another vault with the same state folder and graph.
    Stranger,
}

/// One act of another service on a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Service {
    /// Reads the marker's line from the vault, as the consumer of dirty blocks does.
    Refresh,
    /// Writes a text of its own.
    Rewrite,
    /// Has looked at the block.
    Process,
    /// Needs a node to point at.
    Stub,
    /// Knows the block as the original service wrote it.
    Original,
    Delete,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sync {
    pub(super) full: bool,
    /// A person has confirmed that many blocks are gone.
    pub(super) confirmed: bool,
    /// A dry run comes first, and must foretell what the real one does.
    pub(super) dry_first: bool,
    /// The store tries again after a transient fault.
    pub(super) patient: bool,
    /// Just then, somebody saves a note as it was, and pauses in the middle of writing.
    pub(super) writer: Option<usize>,
    pub(super) trouble: Option<Trouble>,
}

pub(super) const IN_PEACE: Sync = Sync {
    full: false,
    confirmed: false,
    dry_first: false,
    patient: false,
    writer: None,
    trouble: None,
};
pub(super) const FULL: Sync = Sync { full: true, ..IN_PEACE };

/// Something that happens when the sync touches the graph for the n-th time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) after: u32,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The store fails for now; after a commit that is a lost answer.
    Transient,
    /// The store fails for good.
    Unavailable,
    /// The process dies.
    Kill,
    /// The run is told to stop.
    Cancel,
    /// A user works in the vault meanwhile.
    Vault(Deed),
    /// Another service works in the graph meanwhile.
    Service { id: usize, how: Service },
}

/// The panic that stands for the end of the process.
pub(super) struct Killed;

/// Numbers from a seed: SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn history(&mut self) -> Vec<Step> {
        let mut steps: Vec<Step> =
            (0..2 + self.below(3)).map(|_| Step::Vault(self.new_block())).collect();
        // Many defects need only a first sync and little else; some need a long story.
        let length = 3 + self.below(18);
        let services = self.one_in(2);
        steps.extend((0..length).map(|_| self.step(services)));
        steps
    }

    fn step(&mut self, services: bool) -> Step {
        match self.below(106) {
            0..44 => Step::Vault(self.deed()),
            44..52 if services => Step::Service { id: self.below(IDS.len()), how: self.service() },
            44..64 => Step::Pass { seconds: [0, 1, 3, 10, 700, 100_000][self.below(6)] },
            64..94 => Step::Sync(self.sync(services)),
            94 => Step::LoseState,
            95 => Step::KeepState,
            96 => Step::PutBackState,
            97 => Step::KeepGraph,
            98 => Step::PutBackGraph,
            99..103 => Step::Ignore(self.below(PATTERNS.len())),
            103 => Step::Stranger,
            _ => Step::Pass { seconds: 700 },
        }
    }

    fn sync(&mut self, services: bool) -> Sync {
        let what = match self.below(8) {
            0 | 1 => What::Transient,
            2 => What::Unavailable,
            3 => What::Kill,
            4 => What::Cancel,
            5 if services => What::Service { id: self.below(IDS.len()), how: self.service() },
            _ => What::Vault(self.deed()),
        };
        let trouble = Trouble { after: self.below(12) as u32, what };
        Sync {
            full: self.one_in(6),
            confirmed: self.one_in(3),
            dry_first: self.one_in(6),
            patient: self.one_in(2),
            writer: self.one_in(8).then(|| self.below(60)),
            trouble: self.one_in(2).then_some(trouble),
        }
    }

    fn service(&mut self) -> Service {
        use Service::*;
        [Refresh, Rewrite, Process, Stub, Original, Delete][self.below(6)]
    }

    fn new_block(&mut self) -> Deed {
        Deed::New { path: self.below(PATHS.len()), id: self.below(IDS.len()) }
    }

    fn deed(&mut self) -> Deed {
        let (pick, path) = (self.below(60), self.below(PATHS.len()));
        match self.below(38) {
            0..5 => self.new_block(),
            5..14 => Deed::Edit { pick, how: self.below(7) },
            14..17 => Deed::MoveBlock { pick, path },
            17..19 => Deed::CopyBlock { pick, path },
            19..21 => Deed::DropBlock { pick },
            21 | 22 => Deed::MoveFile { pick, path },
            23 => Deed::CopyFile { pick, path },
            24 => Deed::DropFile { pick },
            25 => Deed::RestoreFile { pick },
            26 => Deed::Blank { pick, length: self.below(2) * 40 },
            27 => Deed::Garble { pick },
            28 => Deed::Mend { pick },
            29 => Deed::Touch { pick },
            30 => Deed::Unmount,
            31 => Deed::MakeCopy { pick },
            32 => Deed::TakeCopiesBack,
            33 => Deed::Merge { pick },
            34 => Deed::Resolve,
            35 => Deed::Detach,
            36 => Deed::Attach,
            _ => Deed::Mount,
        }
    }
}
