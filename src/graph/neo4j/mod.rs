//! The graph on a Neo4j server.
//!
//! Blocking to the rest of the program: each call runs a small current-thread runtime until the answer is there, the
//! time is up, or the run was told to stop, whichever is first. A server that hangs therefore hangs nobody. Between
//! calls the runtime stands still; it has no thread of its own.
//!
//! A batch is sent as statements over disjoint ids, and several batches may be under way at once, each from a thread of
//! its own. Each statement decides and writes under the lock of its nodes, so it may be sent again after any fault. How
//! often that happens is not decided here but by [`Retrying`](super::Retrying); this room only tells which faults are
//! worth it.

#[cfg(test)]
mod backdoor;
mod cypher;
mod fault;
mod lease;
mod marks;

pub(super) use lease::Neo4jKeeper;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use neo4rs::{BoltType, ConfigBuilder, DetachedRowStream, Graph, Query};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use super::marks::{HandedOut, Mark, Marks, Which, WholeBlock};
use super::store::{
    Applied, BatchSize, Change, GraphError, GraphStore, Purge, Purged, StoredBlock, fit,
};
use crate::block::BlockId;
use crate::clock::Clock;
use crate::config::Neo4jConfig;
use crate::finding::{Finding, Level};
use crate::stop::Stop;
use cypher::StoredRow;
use fault::{ServerFault, Verdict};

/// How long a server may take to let us in and answer a first question, or to take a statement in and say that it
/// begins. Milliseconds for a running one, some seconds for one that has just started. It is also the bound on a
/// habit of the driver: it sends a statement that is refused at its beginning again and again by itself.
const BEGIN_LIMIT: Duration = Duration::from_secs(20);

/// How long the server may work on one statement; it is told, and gives up by itself. A full batch takes a second on
/// a slow machine, so a minute means trouble.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// The same for statements that touch all of the graph.
const SCAN_LIMIT: Duration = Duration::from_secs(600);

/// How much longer than the server we wait, so that its own words for the trouble can arrive.
const GRACE: Duration = Duration::from_secs(10);

/// How often a waiting call looks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// Batches in flight. The driver does not switch Nagle's algorithm off, so one connection alone waits some 40 ms for
/// each statement; two fill each other's gaps, and those in which a statement is made.
const BATCHES_IN_FLIGHT: usize = 2;

/// Statements in flight of one batch, where it needs several.
const IN_FLIGHT: usize = 2;

/// As many as the batches may need, and one for a lookup: whoever waits for a connection would take that for silence.
const CONNECTIONS_MAX: usize = BATCHES_IN_FLIGHT * IN_FLIGHT + 1;

/// How often a statement that the constraint refused is sent again.
const RACES_MAX: usize = 2;

/// Changes in one statement: fewer cost waits, more hold locks for longer.
const STATEMENT_ROWS: usize = 2_500;

/// Rows asked for at once; the driver's own 200 is a round trip for each 200 rows.
const FETCH_SIZE: usize = 5_000;

/// Rows of a small answer: numbers, tokens, the server's name. A server that sends more is none of ours, and would be
/// kept in memory row by row.
const FEW_ROWS: usize = 100_000;

/// Seconds that the server's clock may differ from ours before `check` speaks of it.
const CLOCK_TOLERANCE_S: i64 = 5;

/// A graph on a server.
pub(crate) struct Neo4jStore {
    config: Neo4jConfig,
    /// The server, for messages: never with a password in it.
    address: String,
    stop: Stop,
    clock: Arc<dyn Clock>,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
    connected: Mutex<Connected>,
    /// Held by the thread that prepares the server, so that others wait for it.
    preparing: Mutex<()>,
}

/// The knowledge of the server so far.
#[derive(Default)]
struct Connected {
    /// `None` after a fault that a new connection may cure.
    graph: Option<Graph>,
    /// The tokens that came with the first answer. Good for one question: on an unchanged vault it is the only one.
    tokens: Option<BTreeMap<String, String>>,
    /// Whether this server is known to take writes, and ids to be unique.
    prepared: bool,
    /// The same for leases.
    prepared_for_leases: bool,
    /// The same for consumers.
    prepared_for_consumers: bool,
    /// Whether a block is found by its id through an index; `None` before anybody asked.
    indexed: Option<bool>,
}

/// Why a call has no answer.
enum Stopped {
    Cancelled,
    ServerFault(ServerFault),
}

impl Neo4jStore {
    /// Connects to the server, or says why that is not possible.
    pub(crate) fn open(
        config: &Neo4jConfig,
        stop: Stop,
        clock: Arc<dyn Clock>,
    ) -> Result<Neo4jStore, GraphError> {
        let store = Neo4jStore::unconnected(config, stop, clock)?;
        store.graph()?;
        Ok(store)
    }

    /// A store that connects with its first question.
    fn unconnected(
        config: &Neo4jConfig,
        stop: Stop,
        clock: Arc<dyn Clock>,
    ) -> Result<Neo4jStore, GraphError> {
        let address = without_credentials(&config.uri);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // Host names are looked up on a thread of the runtime's; one is enough.
            .max_blocking_threads(1)
            .thread_name("neo4j-dns")
            .build()
            .map_err(|error| {
                GraphError::Transient(format!("neo4j {address}: cannot start: {error}"))
            })?;
        Ok(Neo4jStore {
            config: config.clone(),
            address,
            stop,
            clock,
            runtime: Some(runtime),
            connected: Mutex::default(),
            preparing: Mutex::default(),
        })
    }

    fn connected(&self) -> MutexGuard<'_, Connected> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections to the server, made anew where a fault has thrown them away.
    fn graph(&self) -> Result<Graph, GraphError> {
        self.graph_until(&self.stop)
    }

    fn graph_until(&self, stop: &Stop) -> Result<Graph, GraphError> {
        if let Some(graph) = &self.connected().graph {
            return Ok(graph.clone());
        }
        let connect = |uri: &str| {
            let graph = self.connect(uri)?;
            let answer = self.wait_until(stop, BEGIN_LIMIT, first_answer(&graph));
            let tokens = answer.map_err(|stopped| self.cannot_connect(stopped))?;
            Ok((graph, tokens))
        };
        // A routed connection calls any trouble "no server"; the server itself, asked directly, names the cause.
        if let Some(rest) = self.config.uri.strip_prefix("neo4j") {
            connect(&format!("bolt{rest}"))?;
        }
        let (graph, tokens) = connect(&self.config.uri)?;
        let mut connected = self.connected();
        connected.graph = Some(graph.clone());
        connected.tokens = Some(tokens.into_iter().collect());
        Ok(graph)
    }

    /// Sets up connections to `uri`; nothing is sent yet.
    fn connect(&self, uri: &str) -> Result<Graph, GraphError> {
        let mut builder = ConfigBuilder::new()
            .uri(uri)
            .user(&*self.config.user)
            .password(self.config.password.as_deref().unwrap_or_default())
            .db(&*self.config.database)
            .fetch_size(FETCH_SIZE)
            .max_connections(CONNECTIONS_MAX)
            // For the driver this is also the longest wait for one message.
            .connection_timeout(STATEMENT_LIMIT + GRACE);
        if let Some(ca) = &self.config.tls_ca {
            let unusable = |why: String| {
                GraphError::Unavailable(format!("databases.neo4j.tls_ca: {}: {why}", ca.display()))
            };
            // The driver ignores the file where it has no use for it, and trusts nobody where it holds no certificate.
            if !uri.split("://").next().is_some_and(|scheme| scheme.ends_with("+s")) {
                return Err(unusable(format!(
                    "it would not be looked at with {}: write bolt+s:// or neo4j+s:// in databases.neo4j.uri",
                    self.address
                )));
            }
            let pem = fs::read(ca).map_err(|error| unusable(error.to_string()))?;
            if memchr::memmem::find(&pem, b"-----BEGIN CERTIFICATE-----").is_none() {
                return Err(unusable("no certificate in it: it must be a PEM file".to_owned()));
            }
            builder = builder.with_client_certificate(ca);
        }
        let graph = builder.build().and_then(Graph::connect);
        graph.map_err(|error| self.cannot_connect(Stopped::ServerFault(ServerFault::of(&error))))
    }

    fn cannot_connect(&self, stopped: Stopped) -> GraphError {
        let stopped = match stopped {
            Stopped::ServerFault(fault) => Stopped::ServerFault(fault.at_connecting()),
            cancelled @ Stopped::Cancelled => cancelled,
        };
        self.error("cannot connect", stopped)
    }

    fn wait<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, ServerFault>>,
    ) -> Result<T, Stopped> {
        self.wait_until(&self.stop, limit, work)
    }

    /// Runs `work` until it is done, `limit` is over, or `stop` is told.
    fn wait_until<T>(
        &self,
        stop: &Stop,
        limit: Duration,
        work: impl Future<Output = Result<T, ServerFault>>,
    ) -> Result<T, Stopped> {
        // Time is counted in looks and not read from a clock: it should stand still while the machine is suspended.
        let looks = limit.as_millis() / LOOK.as_millis();
        let waiting = async {
            let mut work = pin!(work);
            for _ in 0..looks {
                if stop.is_told() {
                    return Err(Stopped::Cancelled);
                }
                if let Ok(answer) = tokio::time::timeout(LOOK, work.as_mut()).await {
                    return answer.map_err(Stopped::ServerFault);
                }
            }
            Err(Stopped::ServerFault(ServerFault::silence(limit)))
        };
        let runtime = self.runtime.as_ref().expect("only drop takes the runtime away");
        // The driver can panic on an answer it does not expect; its state is thrown away with the connection.
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(waiting))).unwrap_or_else(|panic| {
            Err(Stopped::ServerFault(ServerFault::panicked(panic.as_ref())))
        })
    }

    /// Asks one question and reads the whole answer, which is a small one.
    fn ask<T: DeserializeOwned>(
        &self,
        doing: &str,
        limit: Duration,
        question: Query,
    ) -> Result<Vec<T>, GraphError> {
        self.ask_for(doing, limit, FEW_ROWS, question)
    }

    /// The same for an answer of at most `most` rows.
    fn ask_for<T: DeserializeOwned>(
        &self,
        doing: &str,
        limit: Duration,
        most: usize,
        question: Query,
    ) -> Result<Vec<T>, GraphError> {
        self.ask_until(&self.stop, doing, (limit, most), question)
    }

    /// The same, until `stop` is told.
    fn ask_until<T: DeserializeOwned>(
        &self,
        stop: &Stop,
        doing: &str,
        (limit, most): (Duration, usize),
        question: Query,
    ) -> Result<Vec<T>, GraphError> {
        let graph = self.graph_until(stop)?;
        let answer = fetch(&graph, limited(question, limit), most);
        self.wait_until(stop, limit + GRACE, answer).map_err(|stopped| self.error(doing, stopped))
    }

    /// Asks one question and visits the answer row by row.
    fn sweep<T: DeserializeOwned>(
        &self,
        doing: &str,
        question: Query,
        mut visit: impl FnMut(T),
    ) -> Result<(), GraphError> {
        let graph = self.graph()?;
        let sweep = async {
            let of = |error| ServerFault::of(&error);
            let mut rows = begin(&graph, limited(question, SCAN_LIMIT)).await?;
            while let Some(row) = rows.next().await.map_err(of)? {
                visit(row.get("r").map_err(|error| ServerFault::unreadable(&error))?);
            }
            Ok(())
        };
        self.wait(SCAN_LIMIT + GRACE, sweep).map_err(|stopped| self.error(doing, stopped))
    }

    fn ask_number(&self, doing: &str, question: &str) -> Result<i64, GraphError> {
        let rows = self.ask(doing, STATEMENT_LIMIT, Query::new(question.to_owned()))?;
        Ok(rows.first().copied().unwrap_or(0))
    }

    /// The error for a caller. The connections are thrown away where they may be at fault.
    fn error(&self, doing: &str, stopped: Stopped) -> GraphError {
        let fault = match stopped {
            Stopped::Cancelled => return GraphError::Cancelled,
            Stopped::ServerFault(fault) => fault,
        };
        let message = format!("neo4j {}: {doing}: {}", self.address, fault.message);
        match fault.verdict {
            Verdict::Retry | Verdict::Race | Verdict::TooMuch => GraphError::Transient(message),
            Verdict::Reconnect => {
                *self.connected() = Connected::default();
                GraphError::Transient(message)
            }
            // Only a batch has rows that could be at fault, and `apply` sees to that.
            Verdict::Data | Verdict::Person => GraphError::Unavailable(message),
            Verdict::Refused => GraphError::Refused(message),
        }
    }

    /// Whether an index finds blocks by their ids. Without one, each id costs a look at all blocks.
    fn is_indexed(&self) -> Result<bool, GraphError> {
        if let Some(indexed) = self.connected().indexed {
            return Ok(indexed);
        }
        let indexed = match self.ask_number("cannot read the schema", cypher::FIND_INDEX) {
            Ok(found) => found > 0,
            // Not for this user to know; where blocks were written before, there is one.
            Err(GraphError::Unavailable(_)) => true,
            Err(error) => return Err(error),
        };
        self.connected().indexed = Some(indexed);
        Ok(indexed)
    }

    fn prepare_once(&self) -> Result<(), GraphError> {
        let _turn = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.connected().prepared {
            return Ok(());
        }
        self.try_to_write(&self.stop)?;
        // A user without the right to look may have the right to create, so a refusal is not the end.
        let found = match self.ask_number("cannot read the schema", cypher::FIND_CONSTRAINT) {
            Ok(found) => found > 0,
            Err(GraphError::Unavailable(_)) => false,
            Err(error) => return Err(error),
        };
        if !found {
            self.create_constraint()?;
        }
        let mut connected = self.connected();
        (connected.prepared, connected.indexed) = (true, Some(true));
        Ok(())
    }

    /// Writes in a transaction that is taken back. Unlike other statements the driver sends this one once, so a
    /// server that is read-only, or no longer the leader of its cluster, is known at once and by its own words.
    fn try_to_write(&self, stop: &Stop) -> Result<(), GraphError> {
        let graph = self.graph_until(stop)?;
        let attempt = async {
            let mut transaction =
                graph.start_txn().await.map_err(|error| ServerFault::of(&error))?;
            let written = transaction
                .run(cypher::TRY_TO_WRITE)
                .await
                .map_err(|error| ServerFault::of(&error));
            let undone = transaction.rollback().await.map_err(|error| ServerFault::of(&error));
            written.and(undone)
        };
        self.wait_until(stop, BEGIN_LIMIT, attempt)
            .map_err(|stopped| self.error("cannot write", stopped))
    }

    fn create_constraint(&self) -> Result<(), GraphError> {
        let doing = "cannot create the constraint that block ids are unique";
        let create = Query::new(cypher::CREATE_CONSTRAINT.to_owned());
        match self.ask::<BoltType>(doing, SCAN_LIMIT, create) {
            Ok(_) => {
                let wait = Query::new("CALL db.awaitIndexes(300)".to_owned());
                self.ask::<BoltType>(doing, SCAN_LIMIT, wait).map(drop)
            }
            Err(GraphError::Transient(message)) => match self.duplicates()? {
                duplicates if duplicates.is_empty() => Err(GraphError::Transient(message)),
                duplicates => Err(GraphError::Unavailable(self.about_duplicates(&duplicates))),
            },
            Err(GraphError::Unavailable(message)) => Err(GraphError::Unavailable(format!(
                "{message}: let an administrator run: {}",
                cypher::CREATE_CONSTRAINT
            ))),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that there cannot be two consumers of one name.
    fn prepare_for_consumers(&self) -> Result<(), GraphError> {
        if self.connected().prepared_for_consumers {
            return Ok(());
        }
        // A user without the right to look may have the right to create.
        let found = match self.ask_number("cannot read the schema", marks::FIND_CONSTRAINT) {
            Err(GraphError::Unavailable(_)) => 0,
            found => found?,
        };
        if found == 0 {
            let doing = "cannot create the constraint that there is one consumer of a name";
            let create = Query::new(marks::CREATE_CONSTRAINT.to_owned());
            self.ask::<BoltType>(doing, SCAN_LIMIT, create).map_err(|error| match error {
                GraphError::Unavailable(message) => GraphError::Unavailable(format!(
                    "{message}: let an administrator run: {}",
                    marks::CREATE_CONSTRAINT
                )),
                error => error,
            })?;
        }
        self.connected().prepared_for_consumers = true;
        Ok(())
    }

    fn duplicates(&self) -> Result<Vec<(String, i64)>, GraphError> {
        let find = Query::new(cypher::DUPLICATES.to_owned());
        self.ask("cannot look for duplicate blocks", SCAN_LIMIT, find)
    }

    fn about_duplicates(&self, duplicates: &[(String, i64)]) -> String {
        let ids: Vec<String> =
            duplicates.iter().map(|(id, n)| format!("{id} ({n} nodes)")).collect();
        format!(
            "neo4j {}: several nodes have the same block id, so ids cannot be made unique: {}: look at them with \
             {}, and delete all but one of each",
            self.address,
            ids.join(", "),
            cypher::SHOW_DUPLICATES
        )
    }
}

impl Drop for Neo4jStore {
    fn drop(&mut self) {
        self.connected().graph = None;
        // Without waiting: a name server that hangs must not hold up the end of a run.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl GraphStore for Neo4jStore {
    /// Sees to it that this server takes writes and that ids are unique, without which two writers could make one block
    /// twice.
    fn prepare(&self) -> Result<(), GraphError> {
        self.prepare_once()
    }

    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let doing = "cannot read blocks";
        // Measured: 72,000 rows a second one by one through the index, 330,000 in one sweep.
        let sweep = !self.is_indexed()?
            || ids.len() >= 500 && ids.len() as i64 > self.ask_number(doing, cypher::COUNT)? / 3;
        if sweep {
            let wanted: HashSet<&BlockId> = ids.iter().collect();
            let mut found = HashMap::new();
            self.for_each(&mut |id, block| {
                if wanted.contains(&id) {
                    found.insert(id, block);
                }
            })?;
            return Ok(found);
        }
        let rows: Vec<StoredRow> =
            self.ask_for(doing, STATEMENT_LIMIT, rows_for(ids.len()), cypher::seek(ids))?;
        Ok(rows.into_iter().map(StoredRow::into).collect())
    }

    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let most = rows_for(ids.len());
        let rows: Vec<(String, String)> =
            self.ask_for("cannot read texts", STATEMENT_LIMIT, most, cypher::texts(ids))?;
        Ok(rows.into_iter().map(|(id, text)| (BlockId::new(id), text)).collect())
    }

    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
        let (changes, rejected) = fit(changes);
        if changes.is_empty() {
            return Ok(Applied { stale: Vec::new(), rejected });
        }
        self.prepare()?;
        let (creates, updates): (Vec<&Change>, Vec<&Change>) =
            changes.iter().partition(|change| change.expected.is_none());
        let parts: Vec<&[&Change]> =
            [&creates, &updates].into_iter().flat_map(|rows| parts(rows)).collect();
        // Parts wait for a free place, so each pair may need the whole time.
        let limit = (STATEMENT_LIMIT + GRACE) * parts.len().div_ceil(IN_FLIGHT) as u32 + GRACE;
        let write = write_parts(self.graph()?, parts, at);
        let stale = self.wait(limit, write).map_err(|stopped| match stopped {
            // Less of it may do. A single change cannot be halved: the server must recover first.
            Stopped::ServerFault(fault)
                if fault.verdict == Verdict::TooMuch && changes.len() > 1 =>
            {
                GraphError::Rejected(fault.message)
            }
            // Said of each bad row, so without the server's address.
            Stopped::ServerFault(fault) if fault.verdict == Verdict::Data => {
                GraphError::Rejected(fault.message)
            }
            stopped => self.error("cannot write blocks", stopped),
        })?;
        Ok(Applied { stale: stale.into_iter().map(BlockId::new).collect(), rejected })
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        self.sweep("cannot read blocks", cypher::scan(), |row: StoredRow| {
            let (id, block) = row.into();
            visit(id, block);
        })
    }

    fn is_empty(&self) -> Result<bool, GraphError> {
        Ok(self.ask_number("cannot count blocks", cypher::COUNT)? == 0)
    }

    /// Nothing to do: the server answers a write when it is on its disk.
    fn flush(&self) -> Result<(), GraphError> {
        Ok(())
    }

    fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
        self.graph()?;
        let first = self.connected().tokens.take();
        let tokens = match first {
            Some(tokens) => tokens,
            None => {
                let question = Query::new(cypher::TOKENS.to_owned());
                let rows: Vec<(String, String)> =
                    self.ask("cannot read its token", STATEMENT_LIMIT, question)?;
                rows.into_iter().collect()
            }
        };
        Ok(tokens.get(scope).cloned())
    }

    fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError> {
        let statement =
            Query::new(cypher::SET_TOKEN.to_owned()).param("scope", scope).param("token", token);
        self.ask::<BoltType>("cannot leave a token", STATEMENT_LIMIT, statement)?;
        self.connected().tokens = None;
        Ok(())
    }

    fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
        if !what.dry_run {
            self.prepare()?;
        }
        let doing = "cannot purge";
        // Any block of the graph may be old. This is asked by hand, and never by the daemon.
        let found: Vec<(String, bool)> =
            self.ask_for(doing, SCAN_LIMIT, usize::MAX, cypher::find_old(what))?;
        let mut purged = Purged::default();
        for (id, is_related) in found {
            let list = if is_related && !what.detach {
                &mut purged.kept_related
            } else {
                &mut purged.deleted
            };
            list.push(BlockId::new(id));
        }
        if !what.dry_run {
            let mut deleted = Vec::new();
            for ids in purged.deleted.chunks(STATEMENT_ROWS) {
                let delete = cypher::delete(ids, what);
                let ids: Vec<String> = self.ask(doing, STATEMENT_LIMIT, delete)?;
                deleted.extend(ids.into_iter().map(BlockId::new));
            }
            deleted.sort_unstable();
            purged.deleted = deleted;
        }
        Ok(purged)
    }

    fn marks(
        &self,
        which: &Which,
        limit: usize,
        visit: &mut dyn FnMut(Mark),
    ) -> Result<(), GraphError> {
        let question = marks::marks(which, limit);
        self.sweep("cannot read marked blocks", question, |row: marks::MarkRow| visit(row.into()))
    }

    fn count_marks(&self, which: &Which) -> Result<Marks, GraphError> {
        let doing = "cannot count marked blocks";
        let rows: Vec<marks::CountRow> = self.ask(doing, SCAN_LIMIT, marks::count(which))?;
        Ok(rows.into_iter().next().map(Marks::from).unwrap_or_default())
    }

    fn whole(&self, ids: &[BlockId]) -> Result<Vec<WholeBlock>, GraphError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<marks::WholeRow> =
            self.ask("cannot read marked blocks", STATEMENT_LIMIT, marks::whole(ids))?;
        Ok(rows.into_iter().map(WholeBlock::from).collect())
    }

    fn clear_marks(
        &self,
        blocks: &[HandedOut],
        consumer: Option<&str>,
    ) -> Result<Vec<BlockId>, GraphError> {
        if consumer.is_some() && !blocks.is_empty() {
            self.prepare_for_consumers()?;
        }
        let mut stale = Vec::new();
        for part in blocks.chunks(STATEMENT_ROWS) {
            // In the order of ids, as all writers take their locks.
            let mut part = part.to_vec();
            part.sort_unstable_by(|a, b| a.id.cmp(&b.id));
            let statement = marks::clear(&part, consumer);
            let ids: Vec<String> =
                self.ask("cannot take marks away", STATEMENT_LIMIT, statement)?;
            stale.extend(ids.into_iter().map(BlockId::new));
        }
        Ok(stale)
    }

    fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError> {
        let question = marks::properties(id);
        Ok(marks::as_map(self.ask("cannot read a block", STATEMENT_LIMIT, question)?))
    }

    fn check(&self) -> Vec<Finding> {
        let mut lines = Vec::new();
        let mut line = |name: &str, level, message: String| {
            lines.push(Finding { name: format!("graph.{name}"), level, message });
        };
        // The store would not be open otherwise.
        line("reachable", Level::Ok, format!("neo4j {}", self.address));
        line(
            "authenticated",
            Level::Ok,
            format!("as {} in {}", self.config.user, self.config.database),
        );
        let version = Query::new(cypher::VERSION.to_owned());
        match self.ask::<(String, String)>("cannot read its version", STATEMENT_LIMIT, version) {
            Ok(rows) => {
                let rows: Vec<String> = rows
                    .into_iter()
                    .map(|(version, edition)| format!("Neo4j {version} {edition}"))
                    .collect();
                line("version", Level::Ok, rows.join(", "));
            }
            Err(error) => line("version", Level::Warning, error.to_string()),
        }
        match self.ask_number("cannot read the schema", cypher::FIND_CONSTRAINT) {
            Ok(0) => match self.duplicates() {
                Ok(duplicates) if duplicates.is_empty() => line(
                    "constraint",
                    Level::Ok,
                    "block ids are not unique yet: the first sync sees to it".to_owned(),
                ),
                Ok(duplicates) => {
                    line("constraint", Level::Error, self.about_duplicates(&duplicates))
                }
                Err(error) => line("constraint", Level::Warning, error.to_string()),
            },
            Ok(_) => line("constraint", Level::Ok, "block ids are unique".to_owned()),
            Err(error) => line("constraint", Level::Warning, error.to_string()),
        }
        match self.try_to_write(&self.stop) {
            Ok(()) => line("writable", Level::Ok, "may write".to_owned()),
            Err(error) => line("writable", Level::Error, error.to_string()),
        }
        match self.ask_number("cannot read its clock", cypher::SERVER_CLOCK) {
            Ok(theirs) => {
                let ahead = theirs - self.clock.now().timestamp();
                if ahead.abs() <= CLOCK_TOLERANCE_S {
                    line("clock", Level::Ok, format!("{ahead} s ahead of ours"));
                } else {
                    let remedy = "set both by a time server, or last_updated misleads";
                    line("clock", Level::Warning, format!("{ahead} s ahead of ours: {remedy}"));
                }
            }
            Err(error) => line("clock", Level::Warning, error.to_string()),
        }
        lines
    }

    /// One statement's worth.
    fn preferred_batch(&self) -> BatchSize {
        BatchSize { rows: STATEMENT_ROWS, bytes: 2 << 20, at_once: BATCHES_IN_FLIGHT }
    }
}

/// Parts changes over disjoint ids, evenly. A batch ends with the file that fills it, so it may be somewhat longer than
/// was wanted: up to twice as long it stays one statement.
fn parts<'a>(changes: &'a [&'a Change]) -> impl Iterator<Item = &'a [&'a Change]> {
    let parts = changes.len().div_ceil(2 * STATEMENT_ROWS).max(1);
    changes.chunks(changes.len().div_ceil(parts).max(1))
}

/// Sends a batch in parts, two in flight; answers with the ids that were stale.
async fn write_parts(
    graph: Graph,
    parts: Vec<&[&Change]>,
    at: DateTime<Utc>,
) -> Result<Vec<String>, ServerFault> {
    let (parts, fault) = (RefCell::new(parts.into_iter()), RefCell::new(None));
    let send = || async {
        let mut stale = Vec::new();
        // After a fault no more is sent, but what is in flight is waited for: the fewer answers are lost, the better.
        while fault.borrow().is_none() {
            let Some(part) = parts.borrow_mut().next() else { break };
            match write_part(&graph, part, at).await {
                Ok(ids) => stale.extend(ids),
                Err(error) => *fault.borrow_mut() = Some(error),
            }
        }
        stale
    };
    let (mut stale, more) = tokio::join!(send(), send());
    stale.extend(more);
    fault.into_inner().map_or(Ok(stale), Err)
}

/// Sends one statement of a batch. Where the constraint refuses it, because a node is there after all or two writers
/// made it at once, the next one finds the node.
async fn write_part(
    graph: &Graph,
    changes: &[&Change],
    at: DateTime<Utc>,
) -> Result<Vec<String>, ServerFault> {
    let send = |statement| async {
        let answer = fetch(graph, limited(statement, STATEMENT_LIMIT), rows_for(changes.len()));
        tokio::time::timeout(STATEMENT_LIMIT + GRACE, answer)
            .await
            .unwrap_or_else(|_| Err(ServerFault::silence(STATEMENT_LIMIT + GRACE)))
    };
    let mut answer = send(cypher::write(changes, at)).await;
    for _ in 0..RACES_MAX {
        match answer {
            Err(fault) if fault.verdict == Verdict::Race => {
                answer = send(cypher::write_again(changes, at)).await;
            }
            answer => return answer,
        }
    }
    answer.map_err(|fault| match fault.verdict {
        Verdict::Race => ServerFault { verdict: Verdict::Data, ..fault },
        _ => fault,
    })
}

/// Reads an answer to its end: only there is the statement committed, and some errors come only there.
async fn fetch<T: DeserializeOwned>(
    graph: &Graph,
    question: Query,
    most: usize,
) -> Result<Vec<T>, ServerFault> {
    let mut stream = begin(graph, question).await?;
    let mut rows = Vec::new();
    while let Some(row) = stream.next().await.map_err(|error| ServerFault::of(&error))? {
        if rows.len() >= most {
            return Err(ServerFault::more_rows_than(most));
        }
        rows.push(row.get("r").map_err(|error| ServerFault::unreadable(&error))?);
    }
    Ok(rows)
}

/// The answer to the first question on a new connection. In a transaction of our own the driver asks once; otherwise
/// it would ask a server that refuses again and again, and keep the reason to itself.
async fn first_answer(graph: &Graph) -> Result<Vec<(String, String)>, ServerFault> {
    let of = |error| ServerFault::of(&error);
    let mut transaction = graph.start_txn().await.map_err(of)?;
    let mut stream = transaction.execute(cypher::TOKENS).await.map_err(of)?;
    let mut tokens = Vec::new();
    while let Some(row) = stream.next(transaction.handle()).await.map_err(of)? {
        if tokens.len() >= FEW_ROWS {
            return Err(ServerFault::more_rows_than(FEW_ROWS));
        }
        tokens.push(row.get("r").map_err(|error| ServerFault::unreadable(&error))?);
    }
    transaction.rollback().await.map_err(of)?;
    Ok(tokens)
}

/// How many rows an answer about `ids` ids may have: nodes may share an id as long as no constraint forbids it.
fn rows_for(ids: usize) -> usize {
    10 * ids + 1_000
}

/// Has the server begin with a statement.
async fn begin(graph: &Graph, statement: Query) -> Result<DetachedRowStream, ServerFault> {
    match tokio::time::timeout(BEGIN_LIMIT, graph.execute(statement)).await {
        Ok(answer) => answer.map_err(|error| ServerFault::of(&error)),
        Err(_) => Err(ServerFault::silence(BEGIN_LIMIT)),
    }
}

/// Tells the server how long it may take.
fn limited(statement: Query, limit: Duration) -> Query {
    statement.extra("tx_timeout", limit.as_millis() as i64)
}

/// The address of a server as it may be shown: a URI can carry a password.
fn without_credentials(uri: &str) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("bolt", uri));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default())
}
