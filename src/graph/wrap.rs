//! Wrappings that any store gains by: patience with transient faults, and a dry run.
//!
//! [`Retrying`] sends the same batch again after a transient fault and finds the one bad row of a rejected batch by
//! halving. [`DryRun`] lets reads through and only says that it wrote. Neither knows which store it wraps.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::marks::{HandedOut, Mark, Marks, Place, Which, WholeBlock};
use super::store::{
    Applied, BatchSize, Change, GraphError, GraphStore, Purge, Purged, StoredBlock,
};
use crate::block::BlockId;
use crate::clock::Clock;
use crate::config::RetryPolicy;
use crate::finding::Finding;
use crate::logging;
use crate::stop::Stop;

/// How often, and how long apart, something that failed for now is tried again; and who may end the waiting.
#[derive(Clone)]
pub(crate) struct Patience {
    policy: RetryPolicy,
    stop: Stop,
    clock: Arc<dyn Clock>,
}

impl Patience {
    /// Patience as `policy` has it, waiting by `clock` until `stop` is told.
    pub(crate) fn new(policy: RetryPolicy, stop: Stop, clock: Arc<dyn Clock>) -> Patience {
        Patience { policy, stop, clock }
    }

    /// The stop that ends the waiting.
    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// The clock it waits by.
    #[cfg(feature = "neo4j")]
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Tries until it works, fails for good, or all attempts are used up; the last fault is the answer then.
    pub(crate) fn insist<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, GraphError>,
    ) -> Result<T, GraphError> {
        let mut attempts = 1;
        loop {
            if self.stop.is_told() {
                return Err(GraphError::Cancelled);
            }
            match attempt() {
                Err(GraphError::Transient(fault)) if attempts < self.policy.max_attempts => {
                    self.wait_out(&fault, attempts)?;
                    attempts += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Waits after a fault, until it is worth another try. Apart, as all of the above is there once for each kind of answer.
    fn wait_out(&self, fault: &str, attempts: u32) -> Result<(), GraphError> {
        let wait = self.wait_after(attempts);
        logging::warn!(attempt = attempts, wait_ms = wait.as_millis() as u64;
            "graph: {fault}: trying again"
        );
        if self.stop.wait(&*self.clock, wait) { Err(GraphError::Cancelled) } else { Ok(()) }
    }

    /// The same for a visit, which is not tried again once something was visited: the caller has already counted it.
    fn insist_once_begun(
        &self,
        attempt: impl FnMut(&Cell<bool>) -> Result<(), GraphError>,
    ) -> Result<(), GraphError> {
        let mut attempt = attempt;
        let begun = Cell::new(false);
        self.insist(|| match attempt(&begun) {
            Err(GraphError::Transient(fault)) if begun.get() => {
                Ok(Err(GraphError::Transient(fault)))
            }
            answer => answer.map(Ok),
        })?
    }

    /// Half to all of the policy's wait: clients that failed together should not come back together.
    fn wait_after(&self, attempt: u32) -> Duration {
        let seed = format!("{} {} {attempt}", self.clock.now(), std::process::id());
        let share = 0.5 + 0.5 * (xxh3_64(seed.as_bytes()) as f64 / u64::MAX as f64);
        self.policy.wait_after(attempt).mul_f64(share)
    }
}

/// A store that tries again.
pub(crate) struct Retrying<S> {
    store: S,
    patience: Patience,
}

impl<S: GraphStore> Retrying<S> {
    /// Wraps `store`.
    pub(crate) fn new(store: S, patience: Patience) -> Retrying<S> {
        Retrying { store, patience }
    }

    /// Sends one batch until it is answered. Where an answer may have been lost (`in_doubt`, or a second try), rows
    /// found stale are looked at: those that are just what the change wanted were written by us, so they are done.
    fn send(
        &self,
        changes: &[Change],
        at: DateTime<Utc>,
        in_doubt: bool,
    ) -> Result<Applied, GraphError> {
        let tries = Cell::new(0);
        let mut applied = self.patience.insist(|| {
            tries.set(tries.get() + 1);
            self.store.apply(changes, at)
        })?;
        if (in_doubt || tries.get() > 1) && !applied.stale.is_empty() {
            let wanted: HashMap<&BlockId, &Change> =
                changes.iter().map(|change| (&change.id, change)).collect();
            let found = self.lookup(&applied.stale)?;
            applied
                .stale
                .retain(|id| found.get(id) != wanted.get(id).map(|c| c.outcome()).as_ref());
        }
        Ok(applied)
    }
}

impl<S: GraphStore> GraphStore for Retrying<S> {
    fn prepare(&self) -> Result<(), GraphError> {
        self.patience.insist(|| self.store.prepare())
    }

    fn fill(&self) -> Result<(), GraphError> {
        self.patience.insist(|| self.store.fill())
    }

    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        self.patience.insist(|| self.store.lookup(ids))
    }

    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
        self.patience.insist(|| self.store.texts(ids))
    }

    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
        let mut done = Applied::default();
        // Parts still to be sent, the next one last.
        let mut parts = vec![changes];
        while let Some(part) = parts.pop() {
            // Of a rejected batch a store may have written some: each half of it is in doubt.
            match self.send(part, at, part.len() < changes.len()) {
                Ok(applied) => {
                    done.stale.extend(applied.stale);
                    done.rejected.extend(applied.rejected);
                }
                Err(GraphError::Rejected(reason)) => match part {
                    [] => return Err(GraphError::Rejected(reason)),
                    [change] => done.rejected.push((change.id.clone(), reason)),
                    _ => {
                        let (left, right) = part.split_at(part.len() / 2);
                        parts.extend([right, left]);
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        self.patience.insist_once_begun(|begun| {
            self.store.for_each(&mut |id, block| {
                begun.set(true);
                visit(id, block);
            })
        })
    }

    fn marks(
        &self,
        which: &Which,
        limit: usize,
        visit: &mut dyn FnMut(Mark),
    ) -> Result<(), GraphError> {
        self.patience.insist_once_begun(|begun| {
            self.store.marks(which, limit, &mut |mark| {
                begun.set(true);
                visit(mark);
            })
        })
    }

    fn count_marks(&self, which: &Which) -> Result<Marks, GraphError> {
        self.patience.insist(|| self.store.count_marks(which))
    }

    fn whole(&self, places: &[Place]) -> Result<Vec<WholeBlock>, GraphError> {
        self.patience.insist(|| self.store.whole(places))
    }

    /// May be repeated: what the lost answer spoke of is as it should be, and is not found changed.
    fn clear_marks(
        &self,
        blocks: &[HandedOut],
        consumer: Option<&str>,
    ) -> Result<Vec<BlockId>, GraphError> {
        self.patience.insist(|| self.store.clear_marks(blocks, consumer))
    }

    fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError> {
        self.patience.insist(|| self.store.properties(id))
    }

    fn is_empty(&self) -> Result<bool, GraphError> {
        self.patience.insist(|| self.store.is_empty())
    }

    fn flush(&self) -> Result<(), GraphError> {
        self.patience.insist(|| self.store.flush())
    }

    fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
        self.patience.insist(|| self.store.token(scope))
    }

    fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError> {
        self.patience.insist(|| self.store.set_token(scope, token))
    }

    fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
        self.patience.insist(|| self.store.purge(what))
    }

    fn check(&self) -> Vec<Finding> {
        self.store.check()
    }

    fn preferred_batch(&self) -> BatchSize {
        self.store.preferred_batch()
    }
}

/// A store that changes nothing.
pub(crate) struct DryRun<S>(S);

impl<S: GraphStore> DryRun<S> {
    /// Wraps `store`.
    pub(crate) fn new(store: S) -> DryRun<S> {
        DryRun(store)
    }
}

impl<S: GraphStore> GraphStore for DryRun<S> {
    /// Nothing is made.
    fn prepare(&self) -> Result<(), GraphError> {
        Ok(())
    }

    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        self.0.lookup(ids)
    }

    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
        self.0.texts(ids)
    }

    fn apply(&self, changes: &[Change], _: DateTime<Utc>) -> Result<Applied, GraphError> {
        let (_, rejected) = super::store::fit(changes);
        Ok(Applied { stale: Vec::new(), rejected })
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        self.0.for_each(visit)
    }

    fn is_empty(&self) -> Result<bool, GraphError> {
        self.0.is_empty()
    }

    fn flush(&self) -> Result<(), GraphError> {
        Ok(())
    }

    fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
        self.0.token(scope)
    }

    fn set_token(&self, _: &str, _: &str) -> Result<(), GraphError> {
        Ok(())
    }

    fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
        self.0.purge(&Purge { dry_run: true, ..*what })
    }

    fn marks(
        &self,
        which: &Which,
        limit: usize,
        visit: &mut dyn FnMut(Mark),
    ) -> Result<(), GraphError> {
        self.0.marks(which, limit, visit)
    }

    fn count_marks(&self, which: &Which) -> Result<Marks, GraphError> {
        self.0.count_marks(which)
    }

    fn whole(&self, places: &[Place]) -> Result<Vec<WholeBlock>, GraphError> {
        self.0.whole(places)
    }

    /// Nothing is taken away.
    fn clear_marks(&self, _: &[HandedOut], _: Option<&str>) -> Result<Vec<BlockId>, GraphError> {
        Ok(Vec::new())
    }

    fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError> {
        self.0.properties(id)
    }

    fn check(&self) -> Vec<Finding> {
        self.0.check()
    }

    fn preferred_batch(&self) -> BatchSize {
        self.0.preferred_batch()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::block::{ContentHash, Tier};
    use crate::clock::ManualClock;
    use crate::graph::{Content, Meddled, MemoryStore, Step, Write};

    fn noon() -> DateTime<Utc> {
        "2026-08-24T12:00:00Z".parse().unwrap()
    }

    fn create(id: &str) -> Change {
        let content = Content {
            text: id.to_owned(),
            hash: ContentHash([1; 32]),
            body: id.to_owned(),
            body_hash: ContentHash([2; 32]),
            version: 1,
            vault_version: 1,
            tier: Tier::One,
            source_file: "/vault/a.md".to_owned(),
            mark: true,
        };
        Change { id: BlockId::new(id), expected: None, write: Write::Content(content) }
    }

    fn patience(max_attempts: u32) -> Patience {
        // No waiting, so that no test has to move the clock.
        let policy =
            RetryPolicy { max_attempts, backoff_factor: 2.0, max_wait_time: Duration::ZERO };
        Patience::new(policy, Stop::new(), Arc::new(ManualClock::at(noon())))
    }

    fn meddled() -> Meddled<MemoryStore> {
        Meddled::new(Arc::new(MemoryStore::new()))
    }

    fn ids(store: &MemoryStore) -> Vec<String> {
        store.edit(|nodes| nodes.keys().map(BlockId::to_string).collect())
    }

    #[test]
    fn a_transient_fault_is_tried_again_as_often_as_configured() {
        for (faults, attempts, works) in [(0, 1, true), (1, 1, false), (2, 3, true), (3, 3, false)]
        {
            let store = meddled();
            let mut left = faults;
            store.meddle(Box::new(move |moment, _| match moment {
                Step::BeforeApply(_) if left > 0 => {
                    left -= 1;
                    Err(GraphError::Transient("server went away".to_owned()))
                }
                _ => Ok(()),
            }));
            let answer =
                Retrying::new(store.clone(), patience(attempts)).apply(&[create("a")], noon());
            assert_eq!(answer.is_ok(), works, "{faults} faults, {attempts} attempts");
            assert_eq!(ids(&store).len(), usize::from(works));
        }
    }

    #[test]
    fn what_cannot_get_better_is_not_tried_again() {
        let tries = AtomicU32::new(0);
        let answer: Result<(), _> = patience(5).insist(|| {
            tries.fetch_add(1, Ordering::Relaxed);
            Err(GraphError::Unavailable("wrong password".to_owned()))
        });
        assert!(matches!(answer, Err(GraphError::Unavailable(_))));
        assert_eq!(tries.into_inner(), 1);
    }

    #[test]
    fn a_row_whose_answer_was_lost_is_done_and_a_foreign_one_is_stale() {
        let store = meddled();
        let mut lost = false;
        store.meddle(Box::new(move |moment, door| match moment {
            Step::AfterApply(_) if !lost => {
                lost = true;
                door.edit(&mut |nodes| {
                    nodes.get_mut(&BlockId::new("b")).unwrap().version = Some(9);
                });
                Err(GraphError::Transient("connection reset".to_owned()))
            }
            _ => Ok(()),
        }));
        let answer = Retrying::new(store, patience(2)).apply(&[create("a"), create("b")], noon());
        assert_eq!(answer.unwrap(), Applied { stale: vec![BlockId::new("b")], rejected: vec![] });
    }

    #[test]
    fn a_rejected_batch_is_halved_until_its_bad_rows_are_known() {
        let store = meddled();
        store.meddle(Box::new(|moment, _| match moment {
            Step::BeforeApply(changes)
                if changes.iter().any(|c| c.id.as_str().starts_with("bad")) =>
            {
                Err(GraphError::Rejected("too large to index".to_owned()))
            }
            _ => Ok(()),
        }));
        let batch: Vec<Change> =
            ["a", "bad1", "b", "c", "d", "bad2", "e"].into_iter().map(create).collect();
        let answer = Retrying::new(store.clone(), patience(1)).apply(&batch, noon()).unwrap();
        let reason = "too large to index".to_owned();
        assert_eq!(
            answer.rejected,
            [(BlockId::new("bad1"), reason.clone()), (BlockId::new("bad2"), reason)]
        );
        assert_eq!(ids(&store), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_wait_ends_when_the_run_does() {
        let clock = Arc::new(ManualClock::at(noon()));
        let stop = Stop::new();
        let policy = RetryPolicy {
            max_wait_time: Duration::from_secs(3600),
            backoff_factor: 3600.0,
            max_attempts: 9,
        };
        let answer: Result<(), _> = Patience::new(policy, stop.clone(), clock).insist(|| {
            stop.tell();
            Err(GraphError::Transient("down".to_owned()))
        });
        assert!(matches!(answer, Err(GraphError::Cancelled)));
    }

    #[test]
    fn waits_are_spread_but_never_longer_than_configured() {
        let clock = Arc::new(ManualClock::at(noon()));
        let patience = Patience::new(RetryPolicy::default(), Stop::new(), Arc::clone(&clock) as _);
        let waits: Vec<Duration> = (1..=20)
            .map(|attempt| {
                clock.advance(Duration::from_secs(1));
                let (wait, longest) =
                    (patience.wait_after(attempt), RetryPolicy::default().wait_after(attempt));
                assert!(wait <= longest && wait * 2 >= longest, "{wait:?} of {longest:?}");
                wait
            })
            .collect();
        assert_ne!(waits[10], waits[11], "both would be 60 s without jitter");
    }

    #[test]
    fn a_visit_that_broke_off_is_not_begun_again() {
        let (store, mut broken) = (meddled(), false);
        store.apply(&[create("a"), create("b")], noon()).unwrap();
        store.meddle(Box::new(move |moment, _| match moment {
            Step::Visited if !std::mem::replace(&mut broken, true) => {
                Err(GraphError::Transient("connection reset".to_owned()))
            }
            _ => Ok(()),
        }));
        let mut visited = 0;
        let store = Retrying::new(store, patience(3));
        assert!(matches!(store.for_each(&mut |_, _| visited += 1), Err(GraphError::Transient(_))));
        assert_eq!(visited, 1);
    }

    #[test]
    fn a_dry_run_reads_and_changes_nothing() {
        let store = MemoryStore::new();
        store.apply(&[create("a")], noon()).unwrap();
        let archive = |store: &dyn GraphStore| {
            let expected = store.lookup(&[BlockId::new("a")]).unwrap().remove(&BlockId::new("a"));
            let change = Change { id: BlockId::new("a"), expected, write: Write::Archive };
            store.apply(&[change], noon()).unwrap()
        };
        archive(&store);
        let before = store.edit(|nodes| nodes.clone());
        let dry = DryRun::new(store.clone());
        assert_eq!(dry.apply(&[create("b")], noon()).unwrap(), Applied::default());
        assert_eq!(archive(&dry), Applied::default());
        dry.set_token("/vault", "t").unwrap();
        assert_eq!(dry.token("/vault").unwrap(), None);
        let purge = Purge {
            archived_from: DateTime::UNIX_EPOCH,
            archived_before: noon() + chrono::TimeDelta::days(1),
            detach: false,
            dry_run: false,
        };
        assert_eq!(dry.purge(&purge).unwrap().deleted, [BlockId::new("a")]);
        assert_eq!(store.edit(|nodes| nodes.clone()), before);
    }
}
