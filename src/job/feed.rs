//! Marked blocks for a job in Rust: one after the other, and what is done with each.
//!
//! This room knows no graph: whoever runs the job hands in where the blocks come from.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::{JobError, RunContext, RunReport};
use crate::block::{BlockId, WholeBlock};

impl RunContext<'_> {
    /// The blocks that are marked for reprocessing, as the job's `feed` setting asks for them; see [`Feed`].
    pub fn feed(&self) -> Result<Feed<'_>, JobError> {
        let none = || JobError::permanent("this run has no graph to take blocks from");
        Ok(Feed::of(self.feed.ok_or_else(none)?.open(self)?))
    }
}

impl RunContext<'static> {
    /// The same, with these blocks to be handed out by [`feed`](RunContext::feed).
    pub fn with_blocks(mut self, blocks: Vec<WholeBlock>) -> RunContext<'static> {
        // Some blocks of a test, kept to its end: the context is borrowed from nothing.
        self.feed = Some(Box::leak(Box::new(OfTest(blocks))));
        self
    }
}

/// Where the blocks of a run come from.
pub(crate) trait FeedSource: Send + Sync {
    /// Begins to hand out the blocks that the job's `feed` asks for.
    fn open<'a>(&'a self, ctx: &RunContext<'_>) -> Result<Box<dyn Blocks + 'a>, JobError>;
}

/// The blocks of a run, and what becomes of them.
pub(crate) trait Blocks {
    /// The next block; `None` at the end.
    fn next(&mut self) -> Result<Option<WholeBlock>, JobError>;
    /// It is done.
    fn done(&mut self, id: &BlockId) -> Result<(), JobError>;
    /// It is not, for this reason, and is to be handed out again in another run.
    fn failed(&mut self, id: &BlockId, why: &str);
    /// Takes away the marks that are due and enters the figures into the report.
    fn finish(&mut self, report: &mut RunReport) -> Result<(), JobError>;
}

/// The marked blocks that a job is given, the longest waiting first. An iterator by reference, so that the loop may say
/// what is done:
///
/// ```no_run
/// # use aclarai_scheduler::{JobError, RunContext, RunReport};
/// # fn index(text: &str) {}
/// # fn run(ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
/// let feed = ctx.feed()?;
/// for block in &feed {
///     let block = block?;
///     ctx.checkpoint()?;
///     index(block.body.as_deref().unwrap_or_default());
///     feed.done(&block)?;
/// }
/// feed.finish(RunReport::new())
/// # }
/// ```
///
/// A mark goes only from a block that did not change meanwhile. A block that is neither [`done`](Feed::done) nor
/// [`failed`](Feed::failed) keeps its mark.
pub struct Feed<'a> {
    blocks: RefCell<Box<dyn Blocks + 'a>>,
}

impl<'a> Feed<'a> {
    fn of(blocks: Box<dyn Blocks + 'a>) -> Feed<'a> {
        Feed { blocks: RefCell::new(blocks) }
    }

    /// The block is done: its mark goes, soon or with [`finish`](Feed::finish).
    pub fn done(&self, block: &WholeBlock) -> Result<(), JobError> {
        self.blocks.borrow_mut().done(&block.id)
    }

    /// The block could not be done: it keeps its mark, and the run counts it.
    pub fn failed(&self, block: &WholeBlock, why: &str) {
        self.blocks.borrow_mut().failed(&block.id, why);
    }

    /// Takes away the marks that are due, and puts `items_processed`, `items_failed`, `blocks_stale` and `blocks_left`
    /// into the report.
    pub fn finish(self, mut report: RunReport) -> Result<RunReport, JobError> {
        match self.blocks.borrow_mut().finish(&mut report) {
            Ok(()) => Ok(report),
            Err(error) => Err(error.with_report(report)),
        }
    }
}

impl Iterator for &Feed<'_> {
    type Item = Result<WholeBlock, JobError>;

    fn next(&mut self) -> Option<Result<WholeBlock, JobError>> {
        self.blocks.borrow_mut().next().transpose()
    }
}

impl Drop for Feed<'_> {
    /// A job that ends early keeps what it had finished. Where it called `finish`, nothing is left to do.
    fn drop(&mut self) {
        let _ = self.blocks.get_mut().finish(&mut RunReport::new());
    }
}

/// Blocks that a test hands in; there is no graph.
struct OfTest(Vec<WholeBlock>);

struct LeftOfTest {
    blocks: VecDeque<WholeBlock>,
    done: u64,
    failed: u64,
}

impl FeedSource for OfTest {
    fn open<'a>(&'a self, _: &RunContext<'_>) -> Result<Box<dyn Blocks + 'a>, JobError> {
        Ok(Box::new(LeftOfTest { blocks: self.0.clone().into(), done: 0, failed: 0 }))
    }
}

impl Blocks for LeftOfTest {
    fn next(&mut self) -> Result<Option<WholeBlock>, JobError> {
        Ok(self.blocks.pop_front())
    }

    fn done(&mut self, _: &BlockId) -> Result<(), JobError> {
        self.done += 1;
        Ok(())
    }

    fn failed(&mut self, _: &BlockId, _: &str) {
        self.failed += 1;
    }

    fn finish(&mut self, report: &mut RunReport) -> Result<(), JobError> {
        report.set(super::stat::ITEMS_PROCESSED, self.done);
        report.set(super::stat::ITEMS_FAILED, self.failed);
        report.set(super::stat::BLOCKS_STALE, 0);
        report.set(super::stat::BLOCKS_LEFT, self.blocks.len() as u64 + self.failed);
        Ok(())
    }
}
