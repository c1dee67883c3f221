//! Faults of a real server: killed, frozen, locked, read-only, behind TLS.

use std::io::Write as _;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, AtomicUsize};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use aclarai_scheduler::inside::finding::Level;
use aclarai_scheduler::inside::graph::{Applied, StoredBlock};

use super::*;

/// A server under `tests/neo4j`, and what an administrator would do to it.
pub(crate) struct Server {
    pub(crate) config: Neo4jConfig,
    port: u16,
    environment: Vec<(&'static str, &'static str)>,
    runtime: tokio::runtime::Runtime,
    raw: neo4rs::Graph,
}

impl Server {
    fn connect(config: Neo4jConfig, environment: Vec<(&'static str, &'static str)>) -> Server {
        let port = config.uri.rsplit(':').next().unwrap().parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let password = config.password.clone().unwrap();
        let raw = neo4rs::Graph::new(&*config.uri, &*config.user, password).unwrap();
        Server { config, port, environment, runtime, raw }
    }

    /// Runs `tests/neo4j` for this server.
    fn script(&self, verb: &str) -> Output {
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/neo4j"))
            .arg(verb)
            .env("BOLT_PORT", self.port.to_string())
            .envs(self.environment.iter().copied())
            .output()
            .unwrap()
    }

    #[track_caller]
    pub(crate) fn must(&self, verb: &str) {
        let output = self.script(verb);
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn run_on(&self, database: &str, statement: &str) {
        let run = self.raw.run_on(database, neo4rs::query(statement));
        self.runtime.block_on(run).unwrap();
    }

    pub(crate) fn run(&self, statement: &str) {
        self.run_on("neo4j", statement);
    }

    pub(crate) fn number(&self, question: &str) -> i64 {
        self.runtime.block_on(async {
            let mut rows = self.raw.execute(neo4rs::query(question)).await.unwrap();
            rows.next().await.unwrap().unwrap().get("n").unwrap()
        })
    }
}

/// The one server of all tests, empty, for one test at a time; `None` where there is none that a test may kill.
pub(crate) fn server() -> Option<(Server, MutexGuard<'static, ()>)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let uri = std::env::var("ACLARAI_TEST_NEO4J_URI");
    let Ok(uri) = uri else {
        say_once(
            "skipped: Neo4j's faults, as ACLARAI_TEST_NEO4J_URI is not set (tests/neo4j start)",
        );
        return None;
    };
    let password = std::env::var("NEO4J_PASSWORD").ok();
    let config = Neo4jConfig { password, ..config(uri) };
    let server = Server::connect(config, Vec::new());
    if !server.script("status").status.success() {
        say_once(
            "skipped: Neo4j's faults, as tests/neo4j did not start the server at ACLARAI_TEST_NEO4J_URI",
        );
        return None;
    }
    server.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS");
    Some((server, turn))
}

/// Past the test harness, which would swallow it.
pub(crate) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn say_once(line: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| say(line));
}

/// A second server on a port of its own, stopped and deleted in the end.
pub(crate) struct Extra(Server);

impl Extra {
    pub(crate) fn start(scheme: &str, option: &'static str) -> Extra {
        // Below the ports that the system hands out by itself, so that it is still free after a stop and a start.
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        static TRIED: AtomicU16 = AtomicU16::new(0);
        let first = 10_000 + (std::process::id() % 20_000) as u16;
        // Two that start at once must not find the same one.
        let next = || first + TRIED.fetch_add(1, Ordering::AcqRel);
        let port = std::iter::repeat_with(next).find(is_free).unwrap();
        let environment = vec![
            (option, "1"),
            ("HEAP", "400m"),
            ("PAGECACHE", "64m"),
            ("NEO4J_TEST_PASSWORD", "secretpw1"),
        ];
        let password = Some("secretpw1".to_owned());
        let config = Neo4jConfig { password, ..config(format!("{scheme}://localhost:{port}")) };
        let server = Extra(Server::connect(config, environment));
        server.0.must("start");
        server
    }

    pub(crate) fn config(&self) -> Neo4jConfig {
        self.0.config.clone()
    }

    #[track_caller]
    pub(crate) fn must(&self, verb: &str) {
        self.0.must(verb);
    }
}

impl Drop for Extra {
    fn drop(&mut self) {
        self.0.script("wipe");
    }
}

fn batch(number: usize) -> Vec<Change> {
    (0..200).map(|i| create(&format!("blk_{number:03}_{i:03}"))).collect()
}

#[test]
fn a_password_of_any_characters_works() {
    let Some((server, _turn)) = server() else { return };
    let password = "p@ss:w/ö?r#d %41'\"\\ 🦀";
    let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
    server.run_on("system", "DROP USER odd IF EXISTS");
    server.run_on(
        "system",
        &format!("CREATE USER odd SET PLAINTEXT PASSWORD \"{quoted}\" CHANGE NOT REQUIRED"),
    );
    let as_odd = |password: &str| Neo4jConfig {
        user: "odd".to_owned(),
        password: Some(password.to_owned()),
        ..server.config.clone()
    };
    assert!(open(&as_odd(password), 1).is_ok());
    for scheme in ["bolt", "neo4j"] {
        let config = Neo4jConfig {
            uri: format!("{scheme}://127.0.0.1:{}", server.port),
            ..as_odd("s3cret")
        };
        let message = unavailable(refusal(&config));
        assert!(
            message.contains("Neo4j refused the login") && message.contains("NEO4J_PASSWORD"),
            "{message}"
        );
    }
    server.run_on("system", "DROP USER odd");
}

#[test]
fn an_unknown_database_is_named_as_such() {
    let Some((server, _turn)) = server() else { return };
    for scheme in ["bolt", "neo4j"] {
        let config = Neo4jConfig {
            uri: format!("{scheme}://127.0.0.1:{}", server.port),
            database: "nowhere".to_owned(),
            ..server.config.clone()
        };
        let message = unavailable(refusal(&config));
        assert!(
            message.contains("nowhere") && message.contains("databases.neo4j.database"),
            "{message}"
        );
    }
}

#[test]
fn a_routed_connection_reads_and_writes() {
    let Some((server, _turn)) = server() else { return };
    let uri = format!("neo4j://127.0.0.1:{}", server.port);
    let store = open(&Neo4jConfig { uri, ..server.config.clone() }, 1).unwrap();
    assert_eq!(store.apply(&batch(0), noon()).unwrap(), Applied::default());
    assert_eq!(store.lookup(&[BlockId::new("blk_000_000")]).unwrap().len(), 1);
    assert!(store.check().iter().all(|line| line.level == Level::Ok), "{:?}", store.check());
}

#[test]
fn ids_that_are_not_unique_are_listed_and_can_be_mended() {
    let Some((server, _turn)) = server() else { return };
    server.run("DROP CONSTRAINT block_id_unique IF EXISTS");
    server.run(
        "CREATE (:Block {id: 'blk_twice'}), (:Block {id: 'blk_twice'}), (:Block {id: 'blk_once'})",
    );
    let store = open(&server.config, 2).unwrap();
    let message = unavailable(store.apply(&[create("a")], noon()).unwrap_err());
    assert!(
        message.contains("blk_twice (2 nodes)") && message.contains("delete all but one"),
        "{message}"
    );
    assert!(!message.contains("blk_once"), "{message}");
    let line = store.check().into_iter().find(|line| line.name == "graph.constraint").unwrap();
    assert!(line.level == Level::Error && line.message.contains("blk_twice"), "{line:?}");

    server.run("MATCH (b:Block {id: 'blk_twice'}) WITH b LIMIT 1 DELETE b");
    assert_eq!(store.apply(&[create("a")], noon()).unwrap(), Applied::default());
    assert_eq!(
        server.number(
            "SHOW CONSTRAINTS YIELD name WHERE name = 'block_id_unique' RETURN count(*) AS n"
        ),
        1
    );
}

/// Without the constraint every id used to cost a look at every node; the time limit of a statement would end that.
#[test]
fn a_dry_run_on_a_graph_without_the_constraint_reads_each_node_once() {
    let Some((server, _turn)) = server() else { return };
    server.run("DROP CONSTRAINT block_id_unique IF EXISTS");
    server.run("UNWIND range(1, 30000) AS n CREATE (:Block {id: 'blk_' + n, version: 1})");
    let config = GraphConfig::Neo4j(server.config.clone());
    let store =
        graph::open_dry(&config, RetryPolicy::default(), Stop::new(), Arc::new(SystemClock))
            .unwrap();
    store.prepare().unwrap();
    let ids: Vec<BlockId> = (1..=5000).map(|n| BlockId::new(format!("blk_{n}"))).collect();
    assert_eq!(store.lookup(&ids).unwrap().len(), 5000);
    let constraints =
        "SHOW CONSTRAINTS YIELD name WHERE name = 'block_id_unique' RETURN count(*) AS n";
    assert_eq!(server.number(constraints), 0, "a dry run makes nothing");
    drop(store);

    let store = open(&server.config, 1).unwrap();
    store.prepare().unwrap();
    assert_eq!(server.number(constraints), 1);
    assert_eq!(store.lookup(&ids).unwrap().len(), 5000);
}

#[test]
fn an_index_in_the_way_of_the_constraint_is_explained() {
    let Some((server, _turn)) = server() else { return };
    server.run("DROP CONSTRAINT block_id_unique IF EXISTS");
    server.run("CREATE INDEX in_the_way FOR (b:Block) ON (b.id)");
    let store = open(&server.config, 1).unwrap();
    let message = unavailable(store.apply(&[create("a")], noon()).unwrap_err());
    server.run("DROP INDEX in_the_way");
    assert!(message.contains("index") && message.contains("CREATE CONSTRAINT"), "{message}");
}

#[test]
fn a_value_too_large_for_an_index_costs_its_row_alone() {
    let Some((server, _turn)) = server() else { return };
    server.run("CREATE INDEX too_small IF NOT EXISTS FOR (b:Block) ON (b.source_file)");
    server.run("CALL db.awaitIndexes(60)");
    let mut rows = batch(0);
    let bad = rows[77].id.clone();
    let long = Content { source_file: format!("/vault/{}", "x".repeat(20_000)), ..content("long") };
    rows[77].write = Write::Content(long);
    let store = open(&server.config, 1).unwrap();
    let applied = store.apply(&rows, noon());
    server.run("DROP INDEX too_small");
    let applied = applied.unwrap();
    assert_eq!(applied.stale, []);
    assert_eq!(applied.rejected.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&bad]);
    assert!(applied.rejected[0].1.contains("too large"), "{:?}", applied.rejected);
    assert_eq!(server.number("MATCH (b:Block) RETURN count(b) AS n"), 199);
}

#[test]
fn another_database_has_no_token_and_gets_its_constraint() {
    let Some((server, _turn)) = server() else { return };
    let store = open(&server.config, 1).unwrap();
    store.apply(&batch(0), noon()).unwrap();
    store.set_token("/vault", "t1").unwrap();
    drop(store);
    assert_eq!(open(&server.config, 1).unwrap().token("/vault").unwrap().as_deref(), Some("t1"));

    // What is left of a database that was dropped and made anew.
    server.run("MATCH (n) DETACH DELETE n");
    server.run("DROP CONSTRAINT block_id_unique");
    let store = open(&server.config, 1).unwrap();
    assert_eq!(store.token("/vault").unwrap(), None);
    assert!(store.is_empty().unwrap());
    assert_eq!(store.apply(&batch(0), noon()).unwrap(), Applied::default());
    assert_eq!(
        server.number(
            "SHOW CONSTRAINTS YIELD name WHERE name = 'block_id_unique' RETURN count(*) AS n"
        ),
        1
    );
}

#[test]
fn a_server_killed_in_the_middle_loses_and_doubles_nothing() {
    let Some((server, _turn)) = server() else { return };
    const BATCHES: usize = 30;
    let applied = AtomicUsize::new(0);
    // Some minutes' worth of tries: a machine may be slow to start the server again.
    let store = open(&server.config, 20_000).unwrap();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0..BATCHES {
                let answer = store.apply(&batch(number), noon()).unwrap();
                assert_eq!(answer, Applied::default(), "every row was written by us, once");
                applied.fetch_add(1, Ordering::AcqRel);
            }
        });
        wait_until("three batches", || applied.load(Ordering::Acquire) >= 3);
        server.must("kill");
        server.must("start");
        writing.join().unwrap();
    });
    assert_eq!(server.number("MATCH (b:Block) RETURN count(b) AS n"), (BATCHES * 200) as i64);
    assert_eq!(
        server
            .number("MATCH (b:Block) WHERE b.version <> 1 OR b.hash IS NULL RETURN count(b) AS n"),
        0
    );
    assert_eq!(server.number("MATCH (b:Block) WHERE b._LOCK_ IS NOT NULL RETURN count(b) AS n"), 0);
}

/// Lets a frozen server go on, also when a test fails.
struct Thaw<'a>(&'a Server);

impl Drop for Thaw<'_> {
    fn drop(&mut self) {
        self.0.script("thaw");
    }
}

#[test]
fn a_frozen_server_holds_nobody_up() {
    let Some((server, _turn)) = server() else { return };
    let stop = Stop::new();
    let applied = AtomicUsize::new(0);
    let store = open_until(&server.config, 3, stop.clone()).unwrap();
    let thaw = Thaw(&server);
    let answer = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0.. {
                store.apply(&batch(number), noon())?;
                applied.fetch_add(1, Ordering::AcqRel);
            }
            Ok(())
        });
        wait_until("two batches", || applied.load(Ordering::Acquire) >= 2);
        server.must("freeze");
        // Written or not: the next batch, if none before it, stays without an answer.
        let opening = scope.spawn(|| open_until(&server.config, 3, stop.clone()).map(drop));
        assert!(!writing.is_finished());
        stop.tell();
        assert!(matches!(opening.join().unwrap(), Err(GraphError::Cancelled)));
        writing.join().unwrap()
    });
    assert!(matches!(answer, Err(GraphError::Cancelled)));
    drop(thaw);

    // Once thawed, whatever was in flight is found in the graph whole or not at all, and the work goes on.
    let store = open(&server.config, 100).unwrap();
    let written = applied.into_inner();
    let next: Vec<BlockId> = batch(written).into_iter().map(|change| change.id).collect();
    // It may be at work on that batch still.
    wait_until("the batch in flight to be there whole or not at all", || {
        let count = || server.number("MATCH (b:Block) RETURN count(b) AS n");
        let (before, found, after) = (count(), store.lookup(&next).unwrap().len() as i64, count());
        before == after && [0, 200].contains(&found) && after == written as i64 * 200 + found
    });
}

#[test]
fn a_second_writer_loses_no_write_and_we_lose_none() {
    let Some((server, _turn)) = server() else { return };
    const ROUNDS: i64 = 15;
    let ids: Vec<BlockId> = (0..40).map(|i| BlockId::new(format!("blk_{i:02}"))).collect();
    let store = open(&server.config, 50).unwrap();
    let new: Vec<Change> = ids.iter().map(|id| create(id.as_str())).collect();
    store.apply(&new, noon()).unwrap();
    let ours = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // Another service raises the version of each block, and the hash with it.
        scope.spawn(|| {
            for round in 0..ROUNDS {
                server.run(&format!(
                    "UNWIND range(0, 39) AS i MATCH (b:Block {{id: 'blk_' + right('0' + toString(i), 2)}}) \
                     SET b.version = b.version + 1, b.hash = 'theirs {round}'"
                ));
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    let mut left = ids.clone();
                    while !left.is_empty() {
                        let found = store.lookup(&left).unwrap();
                        let raise = |(id, read): (BlockId, StoredBlock)| {
                            let content = Content {
                                version: read.version + 1,
                                ..content(&format!("ours {round}"))
                            };
                            Change { id, expected: Some(read), write: Write::Content(content) }
                        };
                        let batch: Vec<Change> = found.into_iter().map(raise).collect();
                        let answer = store.apply(&batch, noon()).unwrap();
                        ours.fetch_add(batch.len() - answer.stale.len(), Ordering::AcqRel);
                        left = answer.stale;
                    }
                }
            });
        }
    });
    assert_eq!(ours.into_inner(), ids.len() * 2 * ROUNDS as usize);
    let question = "MATCH (b:Block) RETURN min(b.version) * 1000 + max(b.version) AS n";
    assert_eq!(
        server.number(question),
        (1 + 3 * ROUNDS) * 1001,
        "each raise of each writer is in each block"
    );
}

#[test]
fn tls_is_checked_against_our_own_authority() {
    let Some((server, _turn)) = server() else { return };
    let extra = Extra::start("bolt+ssc", "TLS");
    let port = extra.0.port;
    let tls = format!(
        "{}/neo4j-{}-{port}/tls",
        std::env::temp_dir().display(),
        rustix::process::getuid().as_raw()
    );
    let with = |scheme: &str, ca: Option<&str>| Neo4jConfig {
        uri: format!("{scheme}://localhost:{port}"),
        tls_ca: ca.map(|file| format!("{tls}/{file}").into()),
        ..extra.0.config.clone()
    };
    for scheme in ["bolt+s", "neo4j+s"] {
        let store = open(&with(scheme, Some("ca.crt")), 3).unwrap();
        assert_eq!(
            store.apply(&batch(0), noon()).is_ok(),
            scheme == "bolt+s" || store.is_empty().is_ok()
        );
        let message = unavailable(refusal(&with(scheme, None)));
        assert!(
            message.contains("not trusted") && message.contains("databases.neo4j.tls_ca"),
            "{message}"
        );
    }
    assert!(open(&with("bolt+ssc", None), 3).is_ok() && open(&with("neo4j+ssc", None), 3).is_ok());
    let message = transient(refusal(&with("bolt", None)));
    assert!(message.contains("if the server wants TLS, write bolt+s://"), "{message}");
    let plain =
        Neo4jConfig { uri: format!("bolt+s://localhost:{}", server.port), ..server.config.clone() };
    let message = refusal(&plain).to_string();
    assert!(message.contains("write bolt://"), "{message}");
    // A certificate for another name than the one we call the server by.
    let uri = format!("bolt+s://127.0.0.2:{port}");
    let elsewhere = Neo4jConfig { uri, ..with("bolt+s", Some("ca.crt")) };
    assert!(open(&elsewhere, 1).is_err());
}

#[test]
fn a_read_only_database_is_named_as_such() {
    let Some((_server, _turn)) = server() else { return };
    // A database must have been made before it can be closed to writes.
    let mut extra = Extra::start("bolt", "WRITABLE");
    extra.0.must("stop");
    extra.0.environment.push(("READ_ONLY", "1"));
    extra.0.must("start");
    let store = open(&extra.0.config, 2).unwrap();
    let message = unavailable(store.apply(&batch(0), noon()).unwrap_err());
    assert!(message.contains("make the database writable"), "{message}");
    let line = store.check().into_iter().find(|line| line.name == "graph.writable").unwrap();
    assert_eq!(line.level, Level::Error);
}
