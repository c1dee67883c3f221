//! One run's blocks: what is handed out, what is said to be done, and the marks that go in consequence.
//!
//! ```text
//! graph --list--> Round: items --page by page--> whoever does the work
//!                   ^   ids done, failed <------------------'
//!                   '--look whether it still is what was handed out--> compare-and-set in the graph
//! ```
//! A mark goes after the work is done, so a run that is cut off leaves it: a block may be worked on twice, and is never
//! lost. Memory holds some bytes for each block of a round, and the texts of one page.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::Deps;
use super::ledger::{Entry, Ledger, Stands};
use super::verdict;
use crate::block::{BlockId, IdDigest, Tier, WholeBlock};
use crate::config::FeedSpec;
use crate::graph::{self, GraphError, GraphStore, HandedOut, Place, State, Which};
use crate::job::{Fault, JobError, RunContext, RunReport, stat};
use crate::reconcile::graph_error;
use crate::stop::{STOP_GRACE, Stop, Why};

/// Blocks, and bytes of their texts, that are in memory at once.
const PAGE_BLOCKS: usize = 500;
const PAGE_BYTES: u64 = 1 << 20;

/// Marks are taken away when so many are due, or when the first of them has been for so long.
const CLEAR_BLOCKS: usize = 500;
const CLEAR_AFTER: Duration = Duration::from_secs(1);

/// Blocks that a run may have handed out and not done: beyond it no further round begins, so that what a run must know
/// has a bound.
const OPEN_MAX: usize = 100_000;

/// Blocks that are told one by one; the rest are only counted.
const TOLD_MAX: usize = 100;

/// Ids that were never handed out and are named in a warning.
const NAMED_MAX: usize = 5;

/// What a whole line may be longer than what is kept of it: its carriage return, and a byte order mark.
const LINE_ENDS_MAX: u64 = 1 + verdict::BYTE_ORDER_MARK.len() as u64;

/// The blocks of one run, round after round.
pub(super) struct Feed {
    store: Arc<dyn GraphStore>,
    which: Which,
    limit: usize,
    /// Handed out in this run and not done: not handed out again before the next run.
    offered: HashSet<IdDigest>,
    /// Blocks that may be handed out and not done.
    open_max: usize,
    /// Whether that many were, so that no further round began.
    is_full: bool,
    tally: Tally,
    is_prepared: bool,
}

/// The fate of the blocks.
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
        // When the time of the run is up, its last words are still to be heard.
        let stop = ctx.stop.with_more_time(STOP_GRACE);
        let store = open(&deps.graph, deps.retries, stop, Arc::clone(&deps.clock))
            .map_err(|error| of_run(error, &ctx.stop))?;
        Ok(Feed::of(store.into(), spec))
    }

    /// A run's blocks from this graph.
    pub(super) fn of(store: Arc<dyn GraphStore>, spec: &FeedSpec) -> Feed {
        Feed {
            store,
            which: which(spec),
            limit: spec.limit as usize,
            offered: HashSet::new(),
            open_max: OPEN_MAX,
            is_full: false,
            tally: Tally::default(),
            is_prepared: false,
        }
    }

    /// The same with another bound than [`OPEN_MAX`].
    #[cfg(test)]
    pub(super) fn with_open_max(self, open_max: usize) -> Feed {
        Feed { open_max, ..self }
    }

    /// Lists the blocks of the next round; none where nothing is left to hand out. Those of the rounds that are still
    /// `open` are not handed out again.
    pub(super) fn begin_round(&mut self, open: &[Round]) -> Result<Round, GraphError> {
        let (mut ledger, mut is_full) = (Ledger::default(), false);
        let of_open: HashSet<IdDigest> = open.iter().flat_map(Round::digests).collect();
        let most = self.limit.saturating_add(self.offered.len() + of_open.len());
        let is_known = |id: &IdDigest| self.offered.contains(id) || of_open.contains(id);
        self.store.marks(&self.which, most, &mut |mark| {
            if !is_full && !is_known(&mark.id.digest()) {
                is_full =
                    !ledger.push(&mark.id, mark.row, mark.bytes) || ledger.len() == self.limit;
            }
        })?;
        if ledger.len() > 0 && !self.is_prepared {
            // An index finds blocks by their ids from here on.
            self.store.prepare()?;
            self.is_prepared = true;
        }
        ledger.close();
        Ok(Round {
            store: Arc::clone(&self.store),
            which: self.which.clone(),
            is_full,
            books: Mutex::new(Books { ledger, ..Books::default() }),
        })
    }

    /// Enters what became of a round. True if another one is worth it: this one made progress, and more may be left.
    pub(super) fn end_round(&mut self, ended: RoundEnd) -> bool {
        let is_worth_it = ended.has_more && ended.tally.done > 0;
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
        is_worth_it && self.has_room_beside(0)
    }

    /// Whether another round may begin beside so many blocks of which something is still to be said.
    pub(super) fn has_room_beside(&mut self, open: usize) -> bool {
        self.is_full |= self.offered.len() + open >= self.open_max;
        !self.is_full
    }

    /// Enters the figures of the run into its report.
    pub(super) fn report(&mut self, report: &mut RunReport) {
        let tally = std::mem::take(&mut self.tally);
        report.set(stat::ITEMS_PROCESSED, tally.done);
        report.set(stat::ITEMS_FAILED, tally.failed);
        report.set(stat::BLOCKS_STALE, tally.stale);
        let mut errors = tally.failed + tally.unreadable;
        report.faults.extend(tally.faults);
        if tally.faults_left_out > 0 {
            let text = format!("and {} more", tally.faults_left_out);
            report.faults.push(Fault::error("", text));
        }
        // Nothing hangs on this figure: where the graph has gone, it is left out.
        if let Ok(left) = self.store.count_marks(&self.which) {
            report.set(stat::BLOCKS_LEFT, left.count);
            let not_done = self.offered.len();
            if self.is_full && not_done >= self.open_max && left.count > not_done as u64 {
                errors += 1;
                let text = format!(
                    "{not_done} blocks were handed out and are not done, {} are the most of a run: the other blocks wait for \
                     the next run; a job says `done` of a block as soon as its work on it has ended",
                    self.open_max
                );
                report.faults.push(Fault::error("", text));
            }
        }
        if errors > 0 {
            report.set(stat::ERRORS, errors);
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

/// The knowledge of the blocks of a round.
#[derive(Default)]
struct Books {
    ledger: Ledger,
    /// Done, and the mark still to be taken away.
    due: VecDeque<u32>,
    /// When the first of them came, by the monotonic clock.
    due_since: Option<Duration>,
    /// Whether any block was said to be done.
    names_done: bool,
    /// How many ids were named that were never handed out, and the first of them.
    strangers: u64,
    strangers_named: Vec<String>,
    tally: Tally,
}

/// The fate of a round.
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

    /// Of how many blocks something is still to be said, or a mark to be taken away.
    pub(super) fn open(&self) -> usize {
        let is_open = |entry: &&Entry| matches!(entry.stands, Stands::HandedOut | Stands::Due);
        self.books().ledger.entries().iter().filter(is_open).count()
    }

    /// The ids of all its blocks.
    fn digests(&self) -> Vec<IdDigest> {
        let books = self.books();
        (0..books.ledger.len()).map(|at| IdDigest::of(books.ledger.get(at).0)).collect()
    }

    /// How many blocks it has.
    pub(super) fn len(&self) -> usize {
        self.books().ledger.len()
    }

    /// The next blocks with their texts, from the one at `from` on, which then is the first of the page after them;
    /// `None` at the end. Blocks that wait no more are left out.
    pub(super) fn page(&self, from: &mut usize) -> Result<Option<Vec<WholeBlock>>, GraphError> {
        let places: Vec<Place> = {
            let books = self.books();
            let mut bytes = 0;
            let fits = |entry: &&Entry| {
                bytes += u64::from(entry.bytes);
                bytes <= PAGE_BYTES
            };
            let rest = &books.ledger.entries()[(*from).min(books.ledger.len())..];
            let count = rest.iter().take(PAGE_BLOCKS).take_while(fits).count();
            let count = count.max(1).min(rest.len());
            (*from..*from + count).map(|at| books.ledger.place(at)).collect()
        };
        if places.is_empty() {
            return Ok(None);
        }
        *from += places.len();
        let mut blocks = self.store.whole(&places)?;
        blocks.retain(|block| {
            (self.which.consumer.is_some() || block.marked)
                && (self.which.archived || !block.archived)
        });
        let mut books = self.books();
        for block in &blocks {
            let (hash, body_hash) = (block.hash.as_deref(), block.body_hash.as_deref());
            let state = State::of(block.version, hash, body_hash);
            if let Some(entry) = books.entry(&block.id) {
                (entry.state, entry.stands) = (state, Stands::HandedOut);
            }
        }
        Ok(Some(blocks))
    }

    /// Notes with how many bytes each of these blocks is sent to the program.
    pub(super) fn sent(&self, blocks: &[WholeBlock], bytes: &[u32]) {
        let mut books = self.books();
        for (block, bytes) in blocks.iter().zip(bytes) {
            if let Some(entry) = books.entry(&block.id) {
                entry.sent = *bytes;
            }
        }
    }

    /// Takes in what a line of the program says.
    pub(super) fn hear(&self, said: Said, now: Duration) {
        match said {
            Said::Of { done, failed, why } => {
                self.books().names_done |= done.is_some();
                for id in done.iter().flatten() {
                    self.say_done(id, now);
                }
                for id in failed.iter().flatten() {
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
        match books.ledger.entries_mut()[at as usize].stands {
            Stands::Listed => return books.note_stranger(id),
            Stands::Failed => books.tally.failed -= 1,
            Stands::HandedOut => {}
            Stands::Due | Stands::Done | Stands::Stale => return true,
        }
        books.ledger.entries_mut()[at as usize].stands = Stands::Due;
        books.due.push_back(at);
        books.due_since.get_or_insert(now);
        true
    }

    /// A block cannot be done now: it keeps its mark, and is counted. False for one that was never handed out.
    pub(super) fn say_failed(&self, id: &BlockId, why: &str) -> bool {
        let mut books = self.books();
        let Some(at) = books.find(id) else { return books.note_stranger(id) };
        match books.ledger.entries_mut()[at as usize].stands {
            Stands::Listed => return books.note_stranger(id),
            Stands::Failed | Stands::Done | Stands::Stale => return true,
            Stands::Due => books.due.retain(|due| *due != at),
            Stands::HandedOut => {}
        }
        books.ledger.entries_mut()[at as usize].stands = Stands::Failed;
        books.tally.failed += 1;
        let text = if why.is_empty() { "failed, without a reason" } else { why };
        books.tally.tell(Fault::error(id.as_str(), format!("{text}: it keeps its mark")));
        true
    }

    /// Of what was handed out and read, all that nothing was said of is done, unless something was said to be done.
    /// `read` is how many bytes the program has taken in; `None`: all. Answers with how many blocks it never read.
    pub(super) fn say_rest_done(&self, read: Option<u64>) -> usize {
        let mut books = self.books();
        let Books { ledger, due, names_done, .. } = &mut *books;
        let (mut sent, mut unread) = (0, 0);
        for (entry, at) in ledger.entries_mut().iter_mut().zip(0..) {
            sent += u64::from(entry.sent);
            if entry.stands == Stands::Listed || read.is_some_and(|read| sent > read) {
                unread += 1;
                if entry.stands == Stands::HandedOut {
                    entry.stands = Stands::Listed;
                }
            } else if entry.stands == Stands::HandedOut && !*names_done {
                entry.stands = Stands::Due;
                due.push_back(at);
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
            let due: Vec<HandedOut> = {
                let books = self.books();
                let of = |at: &u32| {
                    let (at, entries) = (*at as usize, books.ledger.entries());
                    HandedOut { place: books.ledger.place(at), state: entries[at].state }
                };
                books.due.iter().take(4 * CLEAR_BLOCKS).map(of).collect()
            };
            if due.is_empty() {
                self.books().due_since = None;
                return Ok(());
            }
            let stale = self.store.clear_marks(&due, self.which.consumer.as_deref())?;
            let stale: HashSet<BlockId> = stale.into_iter().collect();
            let mut books = self.books();
            for HandedOut { place, .. } in due {
                let is_done = !stale.contains(&place.id);
                if let Some(at) = books.due.pop_front() {
                    books.ledger.entries_mut()[at as usize].stands =
                        if is_done { Stands::Done } else { Stands::Stale };
                }
                books.tally.done += u64::from(is_done);
                books.tally.stale += u64::from(!is_done);
            }
        }
    }

    /// Its fate.
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
    /// The blocks that were handed out and have their marks still.
    fn offered(&self) -> impl Iterator<Item = IdDigest> {
        let is_offered = |entry: &Entry| !matches!(entry.stands, Stands::Listed | Stands::Done);
        let all = (0..self.ledger.len()).map(|at| self.ledger.get(at));
        all.filter(move |(_, entry)| is_offered(entry)).map(|(id, _)| IdDigest::of(id))
    }

    fn find(&mut self, id: &BlockId) -> Option<u32> {
        self.ledger.find(id)
    }

    fn entry(&mut self, id: &BlockId) -> Option<&mut Entry> {
        let at = self.find(id)?;
        self.ledger.entries_mut().get_mut(at as usize)
    }

    fn note_stranger(&mut self, id: &BlockId) -> bool {
        self.strangers += 1;
        if self.strangers_named.len() < NAMED_MAX {
            self.strangers_named.push(id.as_str().chars().take(80).collect());
        }
        false
    }
}

/// The words of a line of standard output about blocks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Of {
        /// These are done; `None` where it says nothing of that.
        done: Option<Vec<BlockId>>,
        /// These are not.
        failed: Option<Vec<BlockId>>,
        /// For this reason.
        why: String,
    },
    /// It was to say one of both, and cannot be read, for this reason.
    Unreadable(String),
}

/// Reads `{"done": "blk_1"}` and its kin; `None` for a line that is about something else. `length` is how long it was, and
/// `line` as much of it as was kept.
pub(super) fn said(line: &[u8], length: u64) -> Option<Said> {
    let line = line.strip_prefix(verdict::BYTE_ORDER_MARK).unwrap_or(line);
    let inner = line.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    // With the quotes of JSON, or those that Python shows a dictionary with.
    let words = [&b"\"done\""[..], b"\"failed\"", b"'done'", b"'failed'"];
    let is_meant = words.iter().any(|word| inner.starts_with(word));
    let unreadable = |why: String| {
        Said::Unreadable(format!(
            "a line that names blocks cannot be read: {why}: they keep their marks"
        ))
    };
    let if_meant = |why| is_meant.then(|| unreadable(why));
    if length > line.len() as u64 + LINE_ENDS_MAX {
        return if_meant(format!("it is {length} bytes long, {} are the most", line.len()));
    }
    let object: serde_json::Map<String, Value> = match serde_json::from_slice(line) {
        Ok(object) => object,
        Err(error) => return if_meant(error.to_string()),
    };
    let ids = |name: &str| -> Result<Option<Vec<BlockId>>, String> {
        let id = |value: &Value| value.as_str().map(BlockId::new);
        let found = match object.get(name) {
            Some(Value::String(id)) => Some(vec![BlockId::new(id.as_str())]),
            Some(Value::Array(ids)) => ids.iter().map(id).collect(),
            Some(Value::Object(_)) => None,
            // A figure or a flag of that name is a statistic.
            _ => return Ok(None),
        };
        found.map(Some).ok_or_else(|| format!("`{name}` is neither an id nor a list of ids"))
    };
    let (done, failed) = match (ids("done"), ids("failed")) {
        (Ok(None), Ok(None)) => return None,
        (Ok(done), Ok(failed)) => (done, failed),
        (Err(why), _) | (_, Err(why)) => return Some(unreadable(why)),
    };
    let why = match object.get("error") {
        Some(Value::String(why)) => why.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    Some(Said::Of { done, failed, why })
}
