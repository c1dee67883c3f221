//! One run's blocks: what is handed out, what is said to be done, and the marks that go in consequence.
//!
//! ```text
//! graph --list--> Round: items --page by page--> whoever does the work
//!                   ^   ids done, failed <------------------'
//!                   '--look whether it still is what was handed out--> compare-and-set in the graph
//! ```
//! A mark goes after the work is done, so a run that is cut off leaves it: a block may be worked on twice, and is never
//! lost. Memory holds some bytes for each block of a round, and the texts of one page.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use super::Deps;
use crate::block::{BlockId, IdDigest, Tier, WholeBlock};
use crate::config::FeedSpec;
use crate::graph::{self, GraphError, GraphStore, HandedOut, StoredBlock, Which};
use crate::job::{Fault, JobError, RunContext, RunReport, stat};
use crate::reconcile::graph_error;
use crate::stop::{Stop, Why};

/// Blocks, and bytes of their texts, that are in memory at once.
const PAGE_BLOCKS: usize = 500;
const PAGE_BYTES: u64 = 1 << 20;

/// Marks are taken away when so many are due, or when the first of them has been for so long.
const CLEAR_BLOCKS: usize = 500;
const CLEAR_AFTER: Duration = Duration::from_secs(1);

/// Blocks that are told one by one; the rest are only counted.
const TOLD_MAX: usize = 100;

/// Ids that were never handed out and are named in a warning.
const NAMED_MAX: usize = 5;

/// The blocks of one run, round after round.
pub(super) struct Feed {
    store: Arc<dyn GraphStore>,
    which: Which,
    limit: usize,
    /// Handed out in this run and not done: not handed out again before the next run.
    offered: HashSet<IdDigest>,
    tally: Tally,
    is_prepared: bool,
}

/// What became of the blocks.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failed: u64,
    stale: u64,
    unreadable: u64,
    faults: Vec<Fault>,
    faults_left_out: u64,
}

/// The blocks that are asked for by a configuration.
pub(super) fn which(spec: &FeedSpec) -> Which {
    Which {
        tiers: spec.tiers.iter().filter_map(|tier| Tier::of_number(i64::from(*tier))).collect(),
        prefixes: spec.ids.clone(),
        archived: spec.archived,
        consumer: spec.consumer.clone(),
    }
}

impl Feed {
    /// Opens the graph for a run.
    pub(super) fn open(
        spec: &FeedSpec,
        deps: &Deps,
        ctx: &RunContext<'_>,
    ) -> Result<Feed, JobError> {
        let open = if ctx.options.dry_run { graph::open_dry } else { graph::open };
        let store = open(&deps.graph, deps.retries, ctx.stop.clone(), Arc::clone(&deps.clock))
            .map_err(|error| of_run(error, &ctx.stop))?;
        Ok(Feed {
            store: store.into(),
            which: which(spec),
            limit: spec.limit as usize,
            offered: HashSet::new(),
            tally: Tally::default(),
            is_prepared: false,
        })
    }

    /// Lists the blocks of the next round; none where nothing is left to hand out.
    pub(super) fn begin_round(&mut self) -> Result<Round, GraphError> {
        let mut items = Vec::new();
        let most = self.limit.saturating_add(self.offered.len());
        self.store.marks(&self.which, most, &mut |mark| {
            if items.len() < self.limit && !self.offered.contains(&mark.id.digest()) {
                let bytes = u32::try_from(mark.bytes).unwrap_or(u32::MAX);
                items.push(Item {
                    id: mark.id,
                    bytes,
                    sent: 0,
                    state: [0; 16],
                    stands: Stands::Listed,
                });
            }
        })?;
        if !items.is_empty() && !self.is_prepared {
            // An index finds blocks by their ids from here on.
            self.store.prepare()?;
            self.is_prepared = true;
        }
        items.shrink_to_fit();
        let index = items.iter().zip(0..).map(|(item, at)| (item.id.digest(), at)).collect();
        Ok(Round {
            store: Arc::clone(&self.store),
            which: self.which.clone(),
            is_full: items.len() == self.limit,
            books: Mutex::new(Books { items, index, ..Books::default() }),
        })
    }

    /// Enters what became of a round. True if another one is worth it: this one made progress, and more may be left.
    pub(super) fn end_round(&mut self, ended: RoundEnd) -> bool {
        let goes_on = ended.has_more && ended.tally.done > 0;
        let Tally { done, failed, stale, unreadable, faults, faults_left_out } = ended.tally;
        self.offered.extend(ended.offered);
        self.tally.done += done;
        self.tally.failed += failed;
        self.tally.stale += stale;
        self.tally.unreadable += unreadable;
        self.tally.faults_left_out += faults_left_out;
        for fault in faults {
            self.tally.tell(fault);
        }
        goes_on
    }

    /// No block that a round has handed out is handed out again in this run.
    pub(super) fn do_not_offer_again(&mut self, round: &Round) {
        self.offered.extend(round.books().offered());
    }

    /// Enters the figures of the run into its report.
    pub(super) fn report(&mut self, report: &mut RunReport) {
        let tally = std::mem::take(&mut self.tally);
        report.set(stat::ITEMS_PROCESSED, tally.done);
        report.set(stat::ITEMS_FAILED, tally.failed);
        report.set(stat::BLOCKS_STALE, tally.stale);
        if tally.failed + tally.unreadable > 0 {
            report.set(stat::ERRORS, tally.failed + tally.unreadable);
        }
        report.faults.extend(tally.faults);
        if tally.faults_left_out > 0 {
            let text = format!("and {} more", tally.faults_left_out);
            report.faults.push(Fault::error("", text));
        }
        // Nothing hangs on this figure: where the graph has gone, it is left out.
        if let Ok(left) = self.store.count_marks(&self.which) {
            report.set(stat::BLOCKS_LEFT, left.count);
        }
    }
}

/// The names of the figures that a feed sets.
pub(super) const STATISTICS: [&str; 4] =
    [stat::ITEMS_PROCESSED, stat::ITEMS_FAILED, stat::BLOCKS_STALE, stat::BLOCKS_LEFT];

impl Tally {
    fn tell(&mut self, fault: Fault) {
        if self.faults.len() < TOLD_MAX {
            self.faults.push(fault);
        } else {
            self.faults_left_out += 1;
        }
    }
}

/// The error of a run whose graph failed. The stop is the run's own: it knows whether it was stopped or its time is up.
pub(super) fn of_run(error: GraphError, stop: &Stop) -> JobError {
    match (error, stop.why()) {
        (GraphError::Cancelled, Some(Why::TimeUp)) => JobError::timed_out(),
        (error, _) => graph_error(error),
    }
}

/// The blocks of one round. One thread may hand them out while another one takes in what became of them.
pub(super) struct Round {
    store: Arc<dyn GraphStore>,
    which: Which,
    is_full: bool,
    books: Mutex<Books>,
}

/// What is known of the blocks of a round.
#[derive(Default)]
struct Books {
    items: Vec<Item>,
    index: HashMap<IdDigest, u32>,
    /// Done, and the mark still to be taken away.
    due: Vec<u32>,
    /// When the first of them came, by the monotonic clock.
    due_since: Option<Duration>,
    /// Whether any block was said to be done.
    names_done: bool,
    /// How many ids were named that were never handed out, and the first of them.
    strangers: u64,
    strangers_named: Vec<String>,
    tally: Tally,
}

/// One block of a round.
struct Item {
    id: BlockId,
    bytes: u32,
    /// How many bytes of it the program was sent.
    sent: u32,
    /// A digest of what was handed out.
    state: [u8; 16],
    stands: Stands,
}

/// Where a block of a round stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// Not handed out yet, or gone before it could be.
    Listed,
    HandedOut,
    /// Said to be done; its mark is still there.
    Due,
    /// Its mark is gone.
    Done,
    /// It changed while it was worked on.
    Stale,
    Failed,
}

/// What became of a round.
pub(super) struct RoundEnd {
    /// Whether blocks may be left that were not handed out.
    has_more: bool,
    offered: Vec<IdDigest>,
    tally: Tally,
}

impl Round {
    fn books(&self) -> MutexGuard<'_, Books> {
        // Each change of the books is one assignment or two: a panic between leaves a block that is done once more.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a block is one of it.
    pub(super) fn knows(&self, id: &BlockId) -> bool {
        self.books().find(id).is_some()
    }

    /// Whether something is still to be said of a block, or to be done about it.
    pub(super) fn is_open(&self) -> bool {
        let is_open = |item: &Item| matches!(item.stands, Stands::HandedOut | Stands::Due);
        self.books().items.iter().any(is_open)
    }

    /// How many blocks it has.
    pub(super) fn len(&self) -> usize {
        self.books().items.len()
    }

    /// The next blocks with their texts, from the one at `from` on, which then is the first of the page after them;
    /// `None` at the end. Blocks that wait no more are left out.
    pub(super) fn page(&self, from: &mut usize) -> Result<Option<Vec<WholeBlock>>, GraphError> {
        let ids: Vec<BlockId> = {
            let books = self.books();
            let mut bytes = 0;
            let fits = |item: &&Item| {
                bytes += u64::from(item.bytes);
                bytes <= PAGE_BYTES
            };
            let rest = &books.items[(*from).min(books.items.len())..];
            let count = rest.iter().take(PAGE_BLOCKS).take_while(fits).count();
            rest.iter().take(count.max(1)).map(|item| item.id.clone()).collect()
        };
        if ids.is_empty() {
            return Ok(None);
        }
        *from += ids.len();
        let mut blocks = self.store.whole(&ids)?;
        blocks.retain(|block| {
            (self.which.consumer.is_some() || block.marked)
                && (self.which.archived || !block.archived)
        });
        let mut books = self.books();
        for block in &blocks {
            let state = digest(block.version, &block.hash, &block.body_hash);
            if let Some(item) = books.item(&block.id) {
                (item.state, item.stands) = (state, Stands::HandedOut);
            }
        }
        Ok(Some(blocks))
    }

    /// Notes how many bytes of a block the program was sent.
    pub(super) fn sent(&self, id: &BlockId, bytes: usize) {
        if let Some(item) = self.books().item(id) {
            item.sent = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
    }

    /// Takes in what a line of the program says.
    pub(super) fn hear(&self, said: Said, now: Duration) {
        match said {
            Said::Done(ids) => {
                self.books().names_done = true;
                for id in &ids {
                    self.say_done(id, now);
                }
            }
            Said::Failed(ids, why) => {
                for id in &ids {
                    self.say_failed(id, &why);
                }
            }
            Said::Unreadable(why) => {
                let mut books = self.books();
                books.names_done = true;
                books.tally.unreadable += 1;
                books.tally.tell(Fault::error("", why));
            }
        }
    }

    /// A block is done. False for one that was never handed out.
    pub(super) fn say_done(&self, id: &BlockId, now: Duration) -> bool {
        let mut books = self.books();
        books.names_done = true;
        let Some(at) = books.find(id) else { return books.note_stranger(id) };
        match books.items[at as usize].stands {
            Stands::Listed => return books.note_stranger(id),
            Stands::Failed => books.tally.failed -= 1,
            Stands::HandedOut => {}
            Stands::Due | Stands::Done | Stands::Stale => return true,
        }
        books.items[at as usize].stands = Stands::Due;
        books.due.push(at);
        books.due_since.get_or_insert(now);
        true
    }

    /// A block cannot be done now: it keeps its mark, and is counted. False for one that was never handed out.
    pub(super) fn say_failed(&self, id: &BlockId, why: &str) -> bool {
        let mut books = self.books();
        let Some(at) = books.find(id) else { return books.note_stranger(id) };
        match books.items[at as usize].stands {
            Stands::Listed => return books.note_stranger(id),
            Stands::Failed | Stands::Done | Stands::Stale => return true,
            Stands::Due => books.due.retain(|due| *due != at),
            Stands::HandedOut => {}
        }
        books.items[at as usize].stands = Stands::Failed;
        books.tally.failed += 1;
        let text = if why.is_empty() { "failed, without a reason" } else { why };
        books.tally.tell(Fault::error(id.as_str(), format!("{text}: it keeps its mark")));
        true
    }

    /// Of what was handed out and read, all that nothing was said of is done, unless something was said to be done.
    /// `read` is how many bytes the program has taken in; `None`: all. Answers with how many blocks it never read.
    pub(super) fn say_rest_done(&self, read: Option<u64>) -> usize {
        let mut books = self.books();
        let Books { items, due, names_done, .. } = &mut *books;
        let (mut sent, mut unread) = (0, 0);
        for (item, at) in items.iter_mut().zip(0..) {
            sent += u64::from(item.sent);
            if item.stands == Stands::Listed || read.is_some_and(|read| sent > read) {
                unread += 1;
                if item.stands == Stands::HandedOut {
                    item.stands = Stands::Listed;
                }
            } else if item.stands == Stands::HandedOut && !*names_done {
                item.stands = Stands::Due;
                due.push(at);
            }
        }
        unread
    }

    /// Takes the marks away that are due, where enough are, or one has been for long.
    pub(super) fn clear_some(&self, now: Duration) -> Result<(), GraphError> {
        let is_time = {
            let books = self.books();
            let waited = books.due_since.map(|since| now.saturating_sub(since));
            books.due.len() >= CLEAR_BLOCKS || waited.is_some_and(|waited| waited >= CLEAR_AFTER)
        };
        if is_time { self.clear_due() } else { Ok(()) }
    }

    /// Takes all marks away that are due: each only from a block that still is what was handed out.
    pub(super) fn clear_due(&self) -> Result<(), GraphError> {
        loop {
            // They stay due until the graph has answered.
            let due: Vec<(u32, BlockId, [u8; 16])> = {
                let books = self.books();
                let of = |at: &u32| {
                    let item = &books.items[*at as usize];
                    (*at, item.id.clone(), item.state)
                };
                books.due.iter().take(4 * CLEAR_BLOCKS).map(of).collect()
            };
            if due.is_empty() {
                self.books().due_since = None;
                return Ok(());
            }
            let ids: Vec<BlockId> = due.iter().map(|(_, id, _)| id.clone()).collect();
            let nodes = self.store.lookup(&ids)?;
            let is_same = |node: &&StoredBlock, state: &[u8; 16]| {
                digest(node.version, &node.hash, &node.body_hash) == *state
            };
            let unchanged: Vec<HandedOut> = due
                .iter()
                .filter_map(|(_, id, state)| {
                    let node = nodes.get(id).filter(|node| is_same(node, state))?;
                    Some(HandedOut::now(id.clone(), node))
                })
                .collect();
            let stale = self.store.clear_marks(&unchanged, self.which.consumer.as_deref())?;
            let mut cleared: HashSet<BlockId> = unchanged.into_iter().map(|out| out.id).collect();
            for id in &stale {
                cleared.remove(id);
            }
            let mut books = self.books();
            books.due.drain(..due.len());
            for (at, id, _) in due {
                let is_done = cleared.contains(&id);
                books.items[at as usize].stands =
                    if is_done { Stands::Done } else { Stands::Stale };
                books.tally.done += u64::from(is_done);
                books.tally.stale += u64::from(!is_done);
            }
        }
    }

    /// What became of it.
    pub(super) fn end(self) -> RoundEnd {
        let mut books = self.books.into_inner().unwrap_or_else(PoisonError::into_inner);
        if books.strangers > 0 {
            let names = books.strangers_named.join(", ");
            let more = books.strangers - books.strangers_named.len() as u64;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let text = format!(
                "the program named blocks that it was not given: {names}{more}: nothing was done about them"
            );
            books.tally.tell(Fault::warning("", text));
        }
        let offered = books.offered().collect();
        RoundEnd { has_more: self.is_full, offered, tally: books.tally }
    }
}

impl Books {
    /// What was handed out and has its mark still.
    fn offered(&self) -> impl Iterator<Item = IdDigest> {
        let is_offered = |item: &&Item| !matches!(item.stands, Stands::Listed | Stands::Done);
        self.items.iter().filter(is_offered).map(|item| item.id.digest())
    }

    fn find(&self, id: &BlockId) -> Option<u32> {
        let at = *self.index.get(&id.digest())?;
        Some(at).filter(|at| self.items[*at as usize].id == *id)
    }

    fn item(&mut self, id: &BlockId) -> Option<&mut Item> {
        let at = self.find(id)?;
        self.items.get_mut(at as usize)
    }

    fn note_stranger(&mut self, id: &BlockId) -> bool {
        self.strangers += 1;
        if self.strangers_named.len() < NAMED_MAX {
            self.strangers_named.push(id.as_str().chars().take(80).collect());
        }
        false
    }
}

fn digest(version: i64, hash: &Option<String>, body_hash: &Option<String>) -> [u8; 16] {
    let mut digest = Xxh3::new();
    digest.update(&version.to_le_bytes());
    for text in [hash, body_hash] {
        // What no text begins with tells an absent one from an empty one, and one from the next.
        digest.update(if text.is_some() { b"\xff" } else { b"\xfe" });
        digest.update(text.as_deref().unwrap_or_default().as_bytes());
    }
    digest.digest128().to_le_bytes()
}

/// What a line of standard output says of blocks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// These are done.
    Done(Vec<BlockId>),
    /// These are not, for this reason.
    Failed(Vec<BlockId>, String),
    /// It was to say one of both, and cannot be read, for this reason.
    Unreadable(String),
}

/// Reads `{"done": "blk_1"}` and its kin; `None` for a line that is about something else. `length` is how long it was, and
/// `line` as much of it as was kept.
pub(super) fn said(line: &[u8], length: u64) -> Option<Said> {
    let inner = line.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    // With the quotes of JSON, or those that Python shows a dictionary with.
    let words = [&b"\"done\""[..], b"\"failed\"", b"'done'", b"'failed'"];
    let is_meant = words.iter().any(|word| inner.starts_with(word));
    let unreadable = |why: String| {
        let text = format!("a line that names blocks cannot be read: {why}: they keep their marks");
        is_meant.then_some(Said::Unreadable(text))
    };
    if length > line.len() as u64 + 1 {
        return unreadable(format!("it is {length} bytes long, {} are the most", line.len()));
    }
    let object: serde_json::Map<String, Value> = match serde_json::from_slice(line) {
        Ok(object) => object,
        Err(error) => return unreadable(error.to_string()),
    };
    let ids = |value: &Value| match value {
        Value::String(id) => Some(vec![BlockId::new(id.as_str())]),
        Value::Array(ids) => {
            ids.iter().map(|id| Some(BlockId::new(id.as_str()?))).collect::<Option<Vec<_>>>()
        }
        _ => None,
    };
    if let Some(done) = object.get("done").and_then(ids) {
        return Some(Said::Done(done));
    }
    let failed = object.get("failed").and_then(ids)?;
    let why = match object.get("error") {
        Some(Value::String(why)) => why.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    Some(Said::Failed(failed, why))
}
