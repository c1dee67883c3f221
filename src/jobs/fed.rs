//! Marked blocks for jobs in Rust: what stands behind `ctx.feed()`.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;

use super::Deps;
use super::feed::{Feed, Round, of_run};
use crate::block::{BlockId, WholeBlock};
use crate::clock::Clock;
use crate::config::{FeedSpec, JobSpec};
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
        Ok(Box::new(Lent {
            feed: Feed::open(&self.spec, &self.deps, ctx)?,
            rounds: Vec::new(),
            page: VecDeque::new(),
            from: 0,
            is_at_end: false,
            is_dry: ctx.options.dry_run,
            clock: Arc::clone(&self.deps.clock),
            stop: ctx.stop.clone(),
        }))
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
