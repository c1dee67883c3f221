//! The talk with the server: it is connected to when the first question comes, asked within limits, and heard to the end.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use neo4rs::{ConfigBuilder, DetachedRowStream, Graph, Query};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::cypher;
use super::fault::{ServerFault, Verdict};
use crate::clock::Clock;
use crate::config::Neo4jConfig;
use crate::graph::GraphError;
use crate::stop::Stop;

/// How long the server may work on one statement; it is told, and gives up by itself. A full batch takes a second on
/// a slow machine, so a minute means trouble.
pub(super) const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// The same for statements that touch all of the graph.
pub(super) const SCAN_LIMIT: Duration = Duration::from_secs(600);

/// How much longer than the server we wait, so that its own words for the trouble can arrive.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Batches in flight. The driver does not switch Nagle's algorithm off, so one connection alone waits some 40 ms for
/// each statement; two fill each other's gaps, and those in which a statement is made.
pub(super) const BATCHES_IN_FLIGHT: usize = 2;

/// Statements in flight of one batch, where it needs several.
pub(super) const IN_FLIGHT: usize = 2;

/// As many as the batches may need, and one for a lookup: whoever waits for a connection would take that for silence.
const CONNECTIONS_MAX: usize = BATCHES_IN_FLIGHT * IN_FLIGHT + 1;

/// How long a server may take to let us in and answer a first question, or to take a statement in and say that it
/// begins. Milliseconds for a running one, some seconds for one that has just started. It is also the bound on a
/// habit of the driver: it sends a statement that is refused at its beginning again and again by itself.
pub(super) const BEGIN_LIMIT: Duration = Duration::from_secs(20);

/// How often a waiting call looks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// Rows asked for at once; the driver's own 200 is a round trip for each 200 rows.
const FETCH_SIZE: usize = 5_000;

/// Rows of a small answer: numbers, tokens, the server's name. A server that sends more is none of ours, and would be
/// kept in memory row by row.
const FEW_ROWS: usize = 100_000;

/// A graph on a server.
pub(crate) struct Neo4jStore {
    pub(super) config: Neo4jConfig,
    /// The server, for messages: never with a password in it.
    pub(super) address: String,
    pub(super) stop: Stop,
    pub(super) clock: Arc<dyn Clock>,
    /// `None` only while it is being dropped.
    pub(super) runtime: Option<Runtime>,
    pub(super) connected: Mutex<Connected>,
    /// Held by the thread that prepares the server, so that others wait for it.
    pub(super) preparing: Mutex<()>,
}

/// The knowledge of the server so far.
#[derive(Default)]
pub(super) struct Connected {
    /// `None` after a fault that a new connection may cure.
    pub(super) graph: Option<Graph>,
    /// The tokens that came with the first answer. Good for one question: on an unchanged vault it is the only one.
    pub(super) tokens: Option<BTreeMap<String, String>>,
    /// Whether this server is known to take writes, and ids to be unique.
    pub(super) prepared: bool,
    /// The same for leases.
    pub(super) prepared_for_leases: bool,
    /// The same for consumers.
    pub(super) prepared_for_consumers: bool,
    /// Whether a block is found by its id through an index; `None` before anybody asked.
    pub(super) indexed: Option<bool>,
}

/// Why a call has no answer.
pub(super) enum Stopped {
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
    pub(super) fn unconnected(
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

    pub(super) fn connected(&self) -> MutexGuard<'_, Connected> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections to the server, made anew where a fault has thrown them away.
    pub(super) fn graph(&self) -> Result<Graph, GraphError> {
        self.graph_until(&self.stop)
    }

    pub(super) fn graph_until(&self, stop: &Stop) -> Result<Graph, GraphError> {
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

    pub(super) fn wait<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, ServerFault>>,
    ) -> Result<T, Stopped> {
        self.wait_until(&self.stop, limit, work)
    }

    /// Runs `work` until it is done, `limit` is over, or `stop` is told.
    pub(super) fn wait_until<T>(
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
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        doing: &str,
        limit: Duration,
        question: Query,
    ) -> Result<Vec<T>, GraphError> {
        self.ask_for(doing, limit, FEW_ROWS, question)
    }

    /// The same for an answer of at most `most` rows.
    pub(super) fn ask_for<T: DeserializeOwned>(
        &self,
        doing: &str,
        limit: Duration,
        most: usize,
        question: Query,
    ) -> Result<Vec<T>, GraphError> {
        self.ask_until(&self.stop, doing, (limit, most), question)
    }

    /// The same, until `stop` is told.
    pub(super) fn ask_until<T: DeserializeOwned>(
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
    pub(super) fn sweep<T: DeserializeOwned>(
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

    pub(super) fn ask_number(&self, doing: &str, question: &str) -> Result<i64, GraphError> {
        let rows = self.ask(doing, STATEMENT_LIMIT, Query::new(question.to_owned()))?;
        Ok(rows.first().copied().unwrap_or(0))
    }

    /// The error for a caller. The connections are thrown away where they may be at fault.
    pub(super) fn error(&self, doing: &str, stopped: Stopped) -> GraphError {
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

/// Reads an answer to its end: only there is the statement committed, and some errors come only there.
pub(super) async fn fetch<T: DeserializeOwned>(
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
pub(super) fn rows_for(ids: usize) -> usize {
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
pub(super) fn limited(statement: Query, limit: Duration) -> Query {
    statement.extra("tx_timeout", limit.as_millis() as i64)
}

/// The address of a server as it may be shown: a URI can carry a password.
fn without_credentials(uri: &str) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("bolt", uri));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default())
}
