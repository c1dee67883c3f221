//! What every store gains by being wrapped: patience with transient faults, and a dry run.
//!
//! [`Retrying`] sends the same batch again after a transient fault and finds the one bad row of a rejected batch by
//! halving. [`DryRun`] lets reads through and only says that it wrote. Neither knows which store it wraps.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Applied, BatchSize, Change, CheckLine, GraphError, GraphStore, Interrupt, Purge, Purged,
    StoredBlock,
};
use crate::block::BlockId;
use crate::clock::Clock;
use crate::config::RetryPolicy;

/// How often, and how long apart, something that failed for now is tried again; and who may end the waiting.
#[derive(Clone)]
pub struct Patience {
    policy: RetryPolicy,
    interrupt: Interrupt,
    clock: Arc<dyn Clock>,
}

impl Patience {
    /// Patience as `policy` has it, waiting by `clock` until `interrupt` says true.
    pub fn new(policy: RetryPolicy, interrupt: Interrupt, clock: Arc<dyn Clock>) -> Patience {
        Patience { policy, interrupt, clock }
    }

    /// What ends the waiting.
    pub fn interrupt(&self) -> Interrupt {
        Arc::clone(&self.interrupt)
    }

    /// Tries until it works, fails for good, or all attempts are used up; the last fault is the answer then.
    pub fn insist<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, GraphError>,
    ) -> Result<T, GraphError> {
        let mut attempts = 1;
        loop {
            if (self.interrupt)() {
                return Err(GraphError::Cancelled);
            }
            match attempt() {
                Err(GraphError::Transient(fault)) if attempts < self.policy.max_attempts => {
                    let wait = self.wait_after(attempts);
                    log::warn!(attempt = attempts, wait_ms = wait.as_millis() as u64; "graph: {fault}: trying again");
                    if self.clock.wait(wait, &*self.interrupt) {
                        return Err(GraphError::Cancelled);
                    }
                    attempts += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Half to all of the policy's wait: clients that failed together should not come back together.
    fn wait_after(&self, attempt: u32) -> Duration {
        let seed = format!("{} {} {attempt}", self.clock.now(), std::process::id());
        let share = 0.5 + 0.5 * (xxh3_64(seed.as_bytes()) as f64 / u64::MAX as f64);
        self.policy.wait_after(attempt).mul_f64(share)
    }
}

/// A store that tries again.
pub struct Retrying<S> {
    store: S,
    patience: Patience,
}

impl<S: GraphStore> Retrying<S> {
    /// Wraps `store`.
    pub fn new(store: S, patience: Patience) -> Retrying<S> {
        Retrying { store, patience }
    }

    /// Sends one batch until it is answered. After an answer that may have been lost, rows found stale are looked at:
    /// those that are just what the change wanted were written by the try whose answer was lost, so they are done.
    fn send(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
        let tries = Cell::new(0);
        let mut applied = self.patience.insist(|| {
            tries.set(tries.get() + 1);
            self.store.apply(changes, at)
        })?;
        if tries.get() > 1 && !applied.stale.is_empty() {
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
    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        self.patience.insist(|| self.store.lookup(ids))
    }

    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
        let mut done = Applied::default();
        // Parts still to be sent, the next one last.
        let mut parts = vec![changes];
        while let Some(part) = parts.pop() {
            match self.send(part, at) {
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
        // Not tried again once something was visited: the caller has already counted it.
        let visited = Cell::new(false);
        self.patience.insist(|| {
            let answer = self.store.for_each(&mut |id, block| {
                visited.set(true);
                visit(id, block);
            });
            match answer {
                Err(GraphError::Transient(fault)) if visited.get() => {
                    Ok(Err(GraphError::Transient(fault)))
                }
                answer => answer.map(Ok),
            }
        })?
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

    fn check(&self) -> Vec<CheckLine> {
        self.store.check()
    }

    fn preferred_batch(&self) -> BatchSize {
        self.store.preferred_batch()
    }
}

/// A store that changes nothing.
pub struct DryRun<S>(S);

impl<S: GraphStore> DryRun<S> {
    /// Wraps `store`.
    pub fn new(store: S) -> DryRun<S> {
        DryRun(store)
    }
}

impl<S: GraphStore> GraphStore for DryRun<S> {
    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        self.0.lookup(ids)
    }

    fn apply(&self, changes: &[Change], _: DateTime<Utc>) -> Result<Applied, GraphError> {
        let (_, rejected) = super::fit(changes);
        Ok(Applied { stale: Vec::new(), rejected })
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        self.0.for_each(visit)
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

    fn check(&self) -> Vec<CheckLine> {
        self.0.check()
    }

    fn preferred_batch(&self) -> BatchSize {
        self.0.preferred_batch()
    }
}
