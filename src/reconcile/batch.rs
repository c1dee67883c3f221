//! Blocks on their way into the graph: decided, written under compare-and-set, and what came of each.

use std::collections::{HashMap, HashSet};

use crate::block::{BlockId, Tier};
use crate::graph::{
    Applied, Change, Conflict, Content, Facts, GraphError, GraphStore, StoredBlock, Write,
};
use crate::vault::BlockRef;

use super::diff::{Decision, Effect, Found, Outcome, decide};

/// How often a block is read again and decided again because its node changed meanwhile.
const ROUNDS_MAX: u32 = 3;

/// A block that may write.
pub(super) struct Winner<'a> {
    pub(super) block: BlockRef<'a>,
    pub(super) source_file: &'a str,
    pub(super) tier: Tier,
}

/// The end of a winner's way into the graph.
pub(super) enum Fate {
    /// As decided, and if there was something to write, written. With the version the graph holds now, unless the
    /// vault's edit was refused.
    Settled(Decision, Option<i64>),
    /// Another service changed the node in each of the rounds: left as it is.
    Contested,
    /// The store cannot take the block, and why.
    Rejected(String),
}

/// A decision, and the version that the graph holds once it is carried out.
type Decided = (Decision, Option<i64>);

/// Winners (ids unique) on their way into the graph, round by round: what is decided is sent, and what was stale is
/// decided anew. Winners are known here by their number; whoever holds the texts shows one when asked.
pub(super) struct Writing {
    fates: Vec<Option<Fate>>,
    /// The decisions sent in this round.
    sent: Vec<(usize, Decided)>,
    /// The decisions of the first round, to recognise our own write if its acknowledgement was lost.
    wanted: HashMap<usize, Decided>,
    round: u32,
}

impl Writing {
    /// Decides about each winner, given what the graph holds of it; answers also with the changes to send.
    pub(super) fn begin<'a>(
        stored: Vec<Option<StoredBlock>>,
        winner: &dyn Fn(usize) -> Winner<'a>,
    ) -> (Writing, Vec<Change>) {
        let mut writing = Writing {
            fates: stored.iter().map(|_| None).collect(),
            sent: Vec::new(),
            wanted: HashMap::new(),
            round: 0,
        };
        let changes = writing.decide(stored.into_iter().enumerate().collect(), winner);
        (writing, changes)
    }

    /// Takes in what came of the changes sent last; answers with those to send next. When there are none, each winner
    /// has its fate.
    pub(super) fn take<'a>(
        &mut self,
        applied: Applied,
        store: &dyn GraphStore,
        winner: &dyn Fn(usize) -> Winner<'a>,
    ) -> Result<Vec<Change>, GraphError> {
        let mut nodes =
            if applied.stale.is_empty() { HashMap::new() } else { store.lookup(&applied.stale)? };
        let stale: HashSet<&str> = applied.stale.iter().map(BlockId::as_str).collect();
        let rejected: HashMap<&str, &String> =
            applied.rejected.iter().map(|(id, reason)| (id.as_str(), reason)).collect();
        let mut open = Vec::new();
        for (index, decided) in std::mem::take(&mut self.sent) {
            let id = winner(index).block.id();
            if stale.contains(id) {
                self.wanted.entry(index).or_insert(decided);
                open.push((index, nodes.remove(&BlockId::new(id))));
            } else if let Some(reason) = rejected.get(id) {
                self.fates[index] = Some(Fate::Rejected((*reason).clone()));
            } else {
                self.fates[index] = Some(Fate::Settled(decided.0, decided.1));
            }
        }
        self.round += 1;
        Ok(self.decide(open, winner))
    }

    /// The fate of each winner, once there is nothing more to send.
    pub(super) fn into_fates(self) -> impl Iterator<Item = Fate> {
        self.fates.into_iter().map(|fate| fate.expect("nothing is sent any more"))
    }

    fn decide<'a>(
        &mut self,
        open: Vec<(usize, Option<StoredBlock>)>,
        winner: &dyn Fn(usize) -> Winner<'a>,
    ) -> Vec<Change> {
        let mut changes = Vec::with_capacity(open.len());
        self.sent.reserve_exact(open.len());
        for (index, stored) in open {
            let winner = winner(index);
            let decision = decide(winner.found(), stored.as_ref());
            let version = version_after(&decision, stored.as_ref());
            match decision.plan {
                None => {
                    let (decision, version) =
                        self.wanted.remove(&index).unwrap_or((decision, version));
                    self.fates[index] = Some(Fate::Settled(decision, version));
                }
                Some(_) if self.round > ROUNDS_MAX => self.fates[index] = Some(Fate::Contested),
                Some(plan) => {
                    let id = BlockId::new(winner.block.id());
                    let change = Change { id, expected: stored, write: winner.write(plan) };
                    self.sent.push((index, (decision, version)));
                    changes.push(change);
                }
            }
        }
        changes
    }
}

/// The version that the graph holds once the decision is carried out; `None` for a refused edit.
fn version_after(decision: &Decision, stored: Option<&StoredBlock>) -> Option<i64> {
    let before = stored.map(|stored| stored.version);
    match (decision.outcome, decision.plan) {
        (Outcome::Conflict, _) => None,
        (_, Some(Effect::Content { version, .. })) => Some(version),
        (_, Some(Effect::Facts { version, .. })) => version.or(before),
        _ => before,
    }
}

impl Winner<'_> {
    fn found(&self) -> Found<'_> {
        Found {
            version: self.block.version(),
            hash: self.block.hash(),
            body_hash: self.block.body_hash(),
            source_file: self.source_file,
        }
    }

    fn write(&self, plan: Effect) -> Write {
        let block = self.block;
        match plan {
            Effect::Content { version, vault_version, mark } => Write::Content(Content {
                text: block.stored_text().into_owned(),
                hash: block.hash(),
                body: block.stored_body(),
                body_hash: block.body_hash(),
                version,
                vault_version,
                tier: self.tier,
                source_file: self.source_file.to_owned(),
                mark,
            }),
            Effect::Facts { version, vault_version, place, body } => Write::Facts(Facts {
                version,
                vault_version,
                source_file: place.then(|| self.source_file.to_owned()),
                tier: place.then_some(self.tier),
                body: body.then(|| (block.stored_body(), block.body_hash())),
            }),
            Effect::Conflict => Write::Conflict(Conflict {
                version: block.version(),
                hash: block.hash().to_string(),
                file: self.source_file.to_owned(),
            }),
        }
    }
}
