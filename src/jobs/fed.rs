//! Marked blocks for jobs in Rust: what stands behind `ctx.feed()`.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;

use super::Deps;
use super::feed::{Feed, Round, of_run};
use crate::block::{BlockId, WholeBlock};
use crate::clock::Clock;
use crate::config::{FeedSpec, JobSpec};
use crate::graph::GraphError;
use crate::job::{Blocks, FeedSource, Job, JobError, RunContext, RunReport};
use crate::stop::Stop;

/// A job that may ask for blocks.
pub(crate) struct Fed {
    job: Box<dyn Job>,
    source: Source,
}

struct Source {
    spec: FeedSpec,
    deps: Arc<Deps>,
}

impl Fed {
    /// Gives `job` what its `feed` setting asks for, or what an empty one would.
    pub(crate) fn new(job: Box<dyn Job>, spec: &JobSpec, deps: Arc<Deps>) -> Fed {
        let spec = spec.feed.as_deref().cloned().unwrap_or_default();
        Fed { job, source: Source { spec, deps } }
    }
}

impl Job for Fed {
    fn run(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
        let stop = ctx.stop.clone();
        self.job.run(&RunContext { stop, feed: Some(&self.source), ..*ctx })
    }
}

impl FeedSource for Source {
    fn open<'a>(&'a self, ctx: &RunContext<'_>) -> Result<Box<dyn Blocks + 'a>, JobError> {
        let feed = Feed::open(&self.spec, &self.deps, ctx)?;
        Ok(Box::new(Lent::of(feed, ctx, Arc::clone(&self.deps.clock))))
    }
}

/// The blocks of a run: a job may say of one that it is done long after it was given the next.
struct Lent {
    feed: Feed,
    /// The last one is being handed out; of those before, something is still to be said.
    rounds: Vec<Round>,
    page: VecDeque<WholeBlock>,
    from: usize,
    is_at_end: bool,
    is_dry: bool,
    clock: Arc<dyn Clock>,
    stop: Stop,
}

impl Blocks for Lent {
    fn next(&mut self) -> Result<Option<WholeBlock>, JobError> {
        loop {
            if let Some(block) = self.page.pop_front() {
                return Ok(Some(block));
            }
            if self.is_at_end {
                return Ok(None);
            }
            if self.stop.is_told() {
                return Err(of_run(GraphError::Cancelled, &self.stop));
            }
            let page = match self.rounds.last() {
                Some(round) => round.page(&mut self.from),
                None => Ok(None),
            };
            match page.map_err(|error| of_run(error, &self.stop))? {
                Some(blocks) => self.page = blocks.into(),
                None => self.turn()?,
            }
        }
    }

    fn done(&mut self, id: &BlockId) -> Result<(), JobError> {
        let now = self.clock.monotonic();
        let Some(round) = self.rounds.iter().rev().find(|round| round.knows(id)) else {
            return Ok(());
        };
        round.say_done(id, now);
        round.clear_some(now).map_err(|error| of_run(error, &self.stop))
    }

    fn failed(&mut self, id: &BlockId, why: &str) {
        if let Some(round) = self.rounds.iter().rev().find(|round| round.knows(id)) {
            round.say_failed(id, why);
        }
    }

    fn finish(&mut self, report: &mut RunReport) -> Result<(), JobError> {
        self.is_at_end = true;
        self.page.clear();
        let mut answer = Ok(());
        for round in take(&mut self.rounds) {
            answer = answer.and(round.clear_due());
            self.feed.end_round(round.end());
        }
        self.feed.report(report);
        answer.map_err(|error| of_run(error, &self.stop))
    }
}

impl Lent {
    fn of(feed: Feed, ctx: &RunContext<'_>, clock: Arc<dyn Clock>) -> Lent {
        Lent {
            feed,
            rounds: Vec::new(),
            page: VecDeque::new(),
            from: 0,
            is_at_end: false,
            is_dry: ctx.options.dry_run,
            clock,
            stop: ctx.stop.clone(),
        }
    }

    /// Begins the next round. In a dry run nothing is done, so the first one is all there is.
    fn turn(&mut self) -> Result<(), JobError> {
        let stop = self.stop.clone();
        let of_run = |error| of_run(error, &stop);
        self.rounds.iter().try_for_each(Round::clear_due).map_err(of_run)?;
        let (open, over): (Vec<_>, Vec<_>) =
            take(&mut self.rounds).into_iter().partition(|round| round.open() > 0);
        self.rounds = open;
        for round in over {
            self.feed.end_round(round.end());
        }
        let is_second_of_dry_run = self.is_dry && self.from > 0;
        let open = self.rounds.iter().map(Round::open).sum();
        self.is_at_end = is_second_of_dry_run || !self.feed.has_room_beside(open);
        if !self.is_at_end {
            let round = self.feed.begin_round(&self.rounds).map_err(of_run)?;
            self.is_at_end = round.len() == 0;
            self.rounds.push(round);
        }
        self.from = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::graph::{GraphStore, MemoryStore, Node, Which};

    /// So many marked blocks, taken three at a time by a run that may have ten handed out and not done.
    fn lent(blocks: usize) -> (MemoryStore, Lent) {
        let store = MemoryStore::new();
        store.edit(|nodes| {
            for i in 0..blocks {
                let node = Node { needs_reprocessing: true, ..Node::default() };
                nodes.insert(BlockId::new(format!("blk_{i:02}")), node);
            }
        });
        let spec = FeedSpec { limit: 3, ..FeedSpec::default() };
        let feed = Feed::of(Arc::new(store.clone()), &spec).with_open_max(10);
        let clock = Arc::new(ManualClock::at("2026-08-24T12:00:00Z".parse().unwrap()));
        (store, Lent::of(feed, &RunContext::for_test(), clock))
    }

    fn take_all(lent: &mut Lent) -> Vec<BlockId> {
        std::iter::from_fn(|| lent.next().unwrap()).map(|block| block.id).collect()
    }

    fn finish(mut lent: Lent) -> (RunReport, Vec<String>) {
        let mut report = RunReport::new();
        lent.finish(&mut report).unwrap();
        let texts = report.faults.iter().map(|fault| fault.text.clone()).collect();
        (report, texts)
    }

    fn marked(store: &MemoryStore) -> u64 {
        store.count_marks(&Which::default()).unwrap().count
    }

    #[test]
    fn a_job_that_never_says_done_is_stopped_at_a_bound_and_told_why() {
        let (store, mut lent) = lent(25);
        let taken = take_all(&mut lent);
        assert_eq!(taken.len(), 12, "the round that reaches the bound is the last one");
        assert!(lent.next().unwrap().is_none(), "and it stays so");
        let (report, faults) = finish(lent);
        assert_eq!((marked(&store), &report.stats["blocks_left"]), (25, &25.into()));
        assert!(report.needs_attention());
        let [fault] = &faults[..] else { panic!("one fault: {faults:?}") };
        assert!(
            fault.starts_with(
                "12 blocks were handed out and are not done, 10 are the most of a run"
            ),
            "{fault}"
        );
    }

    #[test]
    fn a_job_that_says_done_at_its_end_loses_nothing_to_the_bound_and_is_not_blamed() {
        let (store, mut lent) = lent(25);
        for id in take_all(&mut lent) {
            lent.done(&id).unwrap();
        }
        let (report, faults) = finish(lent);
        assert_eq!(faults, [""; 0]);
        assert_eq!((marked(&store), &report.stats["items_processed"]), (13, &12.into()));
        // Where nothing is left to hand out, the bound kept nothing from it either.
        let (_, mut lent) = super::tests::lent(12);
        assert_eq!(take_all(&mut lent).len(), 12);
        assert_eq!(finish(lent).1, [""; 0]);
    }

    #[test]
    fn a_job_that_says_done_as_it_goes_gets_all_blocks_once() {
        let (store, mut lent) = lent(25);
        let mut taken = Vec::new();
        while let Some(block) = lent.next().unwrap() {
            lent.done(&block.id).unwrap();
            taken.push(block.id);
        }
        taken.dedup();
        assert_eq!((taken.len(), marked(&store)), (25, 0));
        assert_eq!(finish(lent).1, [""; 0]);
    }
}
