//! Blocks on their way into the graph: decided, written under compare-and-set, and what came of each.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::block::{BlockId, Tier};
use crate::graph::{Change, Conflict, Content, Facts, GraphError, GraphStore, StoredBlock, Write};
use crate::vault::BlockRef;

use super::diff::{Decision, Found, Outcome, Plan, decide};

/// How often a block is read again and decided again because its node changed meanwhile.
const ROUNDS_MAX: u32 = 3;

/// A block that may write, with what the graph held when that was found out.
pub(super) struct Winner<'a> {
    pub(super) block: BlockRef<'a>,
    pub(super) source_file: &'a str,
    pub(super) tier: Tier,
    pub(super) stored: Option<StoredBlock>,
}

/// What came of a winner.
pub(super) enum Fate {
    /// As decided, and if there was something to write, written. With the version the graph holds now, unless the
    /// vault's edit was refused.
    Settled(Decision, Option<i64>),
    /// Another service changed the node in each of the rounds: left as it is.
    Contested,
    /// The store cannot take the block, and why.
    Rejected(String),
}

/// Decides and writes a batch of winners (ids unique) and tells the fate of each, in the order given.
pub(super) fn write(
    store: &dyn GraphStore,
    mut winners: Vec<Winner<'_>>,
    at: DateTime<Utc>,
    before_write: &mut dyn FnMut() -> Result<(), GraphError>,
) -> Result<Vec<Fate>, GraphError> {
    let mut fates: Vec<Option<Fate>> = winners.iter().map(|_| None).collect();
    let mut open: Vec<(usize, Option<StoredBlock>)> = winners
        .iter_mut()
        .enumerate()
        .map(|(index, winner)| (index, winner.stored.take()))
        .collect();
    // What the first round wanted, to recognise our own write if its acknowledgement was lost.
    let mut wanted: HashMap<usize, (Decision, Option<i64>)> = HashMap::new();
    for round in 0.. {
        let mut changes: Vec<(usize, (Decision, Option<i64>), Change)> = Vec::new();
        for (index, stored) in open.drain(..) {
            let winner = &winners[index];
            let decision = decide(winner.found(), stored.as_ref());
            let version = version_after(&decision, stored.as_ref());
            match decision.plan {
                None => {
                    let (decision, version) = wanted.remove(&index).unwrap_or((decision, version));
                    fates[index] = Some(Fate::Settled(decision, version));
                }
                Some(_) if round > ROUNDS_MAX => fates[index] = Some(Fate::Contested),
                Some(plan) => {
                    let id = BlockId::new(winner.block.id());
                    let change = Change { id, expected: stored, write: winner.write(plan) };
                    changes.push((index, (decision, version), change));
                }
            }
        }
        if changes.is_empty() {
            break;
        }
        // Sorted ids: two services that write in the same order cannot deadlock.
        changes.sort_unstable_by(|(_, _, a), (_, _, b)| a.id.cmp(&b.id));
        let (decided, changes): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .map(|(index, decision, change)| ((index, decision), change))
            .unzip();
        before_write()?;
        let applied = store.apply(&changes, at)?;
        let mut rejected: HashMap<_, _> = applied.rejected.into_iter().collect();
        let mut nodes =
            if applied.stale.is_empty() { HashMap::new() } else { store.lookup(&applied.stale)? };
        let stale: std::collections::HashSet<BlockId> = applied.stale.into_iter().collect();
        for ((index, decision), change) in decided.into_iter().zip(changes) {
            if stale.contains(&change.id) {
                wanted.entry(index).or_insert(decision);
                open.push((index, nodes.remove(&change.id)));
            } else if let Some(reason) = rejected.remove(&change.id) {
                fates[index] = Some(Fate::Rejected(reason));
            } else {
                fates[index] = Some(Fate::Settled(decision.0, decision.1));
            }
        }
    }
    Ok(fates
        .into_iter()
        .map(|fate| fate.expect("every winner leaves the loop with a fate"))
        .collect())
}

/// The version that the graph holds once the decision is carried out; `None` for a refused edit.
fn version_after(decision: &Decision, stored: Option<&StoredBlock>) -> Option<i64> {
    let before = stored.map(|stored| stored.version);
    match (decision.outcome, decision.plan) {
        (Outcome::Conflict, _) => None,
        (_, Some(Plan::Content { version, .. })) => Some(version),
        (_, Some(Plan::Facts { version, .. })) => version.or(before),
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

    fn write(&self, plan: Plan) -> Write {
        let block = self.block;
        match plan {
            Plan::Content { version, vault_version, mark } => Write::Content(Content {
                text: block.text().into_owned(),
                hash: block.hash(),
                body: block.body(),
                body_hash: block.body_hash(),
                version,
                vault_version,
                tier: self.tier,
                source_file: self.source_file.to_owned(),
                mark,
            }),
            Plan::Facts { version, vault_version, place, body } => Write::Facts(Facts {
                version,
                vault_version,
                source_file: place.then(|| self.source_file.to_owned()),
                tier: place.then_some(self.tier),
                body: body.then(|| (block.body(), block.body_hash())),
            }),
            Plan::Conflict => Write::Conflict(Conflict {
                version: block.version(),
                hash: block.hash().to_string(),
                file: self.source_file.to_owned(),
            }),
        }
    }
}
