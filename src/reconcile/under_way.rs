//! Batches that are being written while the next ones are read and decided.
//!
//! A store spends its time on disk or on the network, the rest of a sync on reading and parsing; neither should wait for
//! the other. Each batch is written on a thread of its own, as many at once as the store likes. The ids of all batches of
//! one look are distinct, so their order in the graph does not matter; what came of them is taken up in order.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::thread::{self, Scope, ScopedJoinHandle};

use chrono::{DateTime, Utc};

use crate::clock::{Clock, Spent};
use crate::graph::{Applied, Change, GraphError, GraphStore};
use crate::job::JobError;

use super::fault::graph_error;

/// The batches of one look that are being written, the oldest first.
pub(super) struct UnderWay<'scope, 'env, B> {
    scope: &'scope Scope<'scope, 'env>,
    batches: VecDeque<(B, Answer<'scope>)>,
}

type Answer<'scope> = Option<ScopedJoinHandle<'scope, Result<Applied, GraphError>>>;

impl<'scope, 'env, B> UnderWay<'scope, 'env, B> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>) -> UnderWay<'scope, 'env, B> {
        UnderWay { scope, batches: VecDeque::new() }
    }

    /// Begins to write a batch; the time that it takes is added to `spent`. One without changes only waits for those before it.
    pub(super) fn start(
        &mut self,
        store: &'scope dyn GraphStore,
        at: DateTime<Utc>,
        (clock, spent): (&'scope dyn Clock, &'scope Spent),
        batch: B,
        changes: Vec<Change>,
    ) -> Result<(), JobError> {
        let answer = if changes.is_empty() {
            None
        } else {
            let work = move || spent.on(clock, || store.apply(&changes, at));
            let writer = thread::Builder::new().name("graph-write".to_owned());
            Some(writer.spawn_scoped(self.scope, work).map_err(|error| {
                JobError::transient(format!("cannot start a thread to write to the graph: {error}"))
            })?)
        };
        self.batches.push_back((batch, answer));
        Ok(())
    }

    /// Waits for the oldest batch where there are `most` or more, and answers with what came of it.
    pub(super) fn make_room(&mut self, most: usize) -> Result<Option<(B, Applied)>, JobError> {
        if self.batches.len() < most {
            return Ok(None);
        }
        let Some((batch, answer)) = self.batches.pop_front() else { return Ok(None) };
        let applied = match answer.map(ScopedJoinHandle::join) {
            None => Applied::default(),
            Some(Ok(answer)) => answer.map_err(graph_error)?,
            Some(Err(panic)) => resume_unwind(panic),
        };
        Ok(Some((batch, applied)))
    }
}
