//! Faults that a real server cannot be asked for.

use std::collections::BTreeSet;
use std::sync::Mutex;

use aclarai_scheduler::inside::graph::Applied;

use super::*;
use crate::fake::{Closed, FakeServer, Greeting, Reply, Statement, Value};

/// Tells the statement that creates blocks from the others.
pub(crate) const CREATE: &str = "(b:Block {id: row[0]";
/// Tells the one that looks whether a block is there.
const CREATE_WHERE_NONE: &str = "MERGE (b:Block";
/// Tells the look at whether the server takes writes.
const PROBE: &str = "scope: 'check'";
/// Tells the first question on a new connection.
const TOKENS: &str = "MATCH (t:AclaraiSchedulerToken) RETURN";

fn none() -> Reply {
    Reply::Rows(Vec::new())
}

/// What an ordinary server says to everything but the writing of blocks.
fn ordinary(statement: &Statement<'_>) -> Reply {
    if statement.text.contains("SHOW CONSTRAINTS") {
        Reply::Rows(vec![Value::Number(1)])
    } else {
        none()
    }
}

/// A server that creates blocks as `create` says, the tries being counted from 0, and is ordinary otherwise.
pub(crate) fn creating(mut create: impl FnMut(usize) -> Reply + Send + 'static) -> FakeServer {
    let mut tries = 0;
    FakeServer::start(move |statement| {
        if statement.text.contains(CREATE) {
            tries += 1;
            create(tries - 1)
        } else {
            ordinary(&statement)
        }
    })
}

fn bolt(server: &FakeServer) -> Neo4jConfig {
    config(format!("bolt://{}", server.address()))
}

#[test]
fn a_deadlock_at_the_end_of_the_stream_is_tried_again() {
    let deadlock = "Neo.TransientError.Transaction.DeadlockDetected";
    let server = creating(move |n| if n < 2 { Reply::FailAtEnd(deadlock) } else { none() });
    let store = open(&bolt(&server), 3).unwrap();
    assert_eq!(store.apply(&[create("a")], noon()).unwrap(), Applied::default());
    assert_eq!(server.count(CREATE), 3);

    let server = creating(move |_| Reply::FailAtEnd(deadlock));
    let store = open(&bolt(&server), 3).unwrap();
    let message = transient(store.apply(&[create("a")], noon()).unwrap_err());
    assert!(message.contains("As told") && message.contains("DeadlockDetected"), "{message}");
    assert_eq!(server.count(CREATE), 3, "as often as configured");
}

#[test]
fn a_lost_answer_after_the_commit_is_no_second_write() {
    // The script is the graph: `a` and `b` are created with the first try, whose answer is lost.
    let server = FakeServer::start({
        let mut tries = 0;
        move |statement| {
            let text = |text: &str| Value::Text(text.to_owned());
            if statement.text.contains(CREATE) {
                tries += 1;
                match tries {
                    1 => Reply::HangUp,
                    2 => Reply::FailAtEnd("Neo.ClientError.Schema.ConstraintValidationFailed"),
                    _ => Reply::Rows(vec![text("a"), text("b")]),
                }
            } else if statement.text.contains("UNWIND $ids") {
                let node = |id: &str, version| {
                    let content = content(id);
                    Value::List(vec![
                        text(id),
                        text(&content.hash.to_string()),
                        text(&content.body_hash.to_string()),
                        Value::Number(version),
                        Value::Number(1),
                        text("/vault/a.md"),
                        Value::Flag(false),
                        Value::Null,
                        Value::Null,
                        Value::Null,
                    ])
                };
                // Somebody has changed `b` since.
                Reply::Rows(vec![node("a", 1), node("b", 2)])
            } else {
                ordinary(&statement)
            }
        }
    });
    let store = open(&bolt(&server), 3).unwrap();
    let applied = store.apply(&[create("a"), create("b")], noon()).unwrap();
    assert_eq!(applied, Applied { stale: vec![BlockId::new("b")], rejected: vec![] });
    assert_eq!((server.count(CREATE), server.count(CREATE_WHERE_NONE)), (3, 1));
}

#[test]
fn another_leader_is_looked_for() {
    for scheme in ["bolt", "neo4j"] {
        // Those who came before the election are sent away for good; a new connection finds the new leader.
        let elected = Arc::new(Mutex::new(None));
        let since = Arc::clone(&elected);
        let server = FakeServer::start(move |statement| {
            let mut since = since.lock().unwrap();
            if statement.text.contains(PROBE) && since.is_none() {
                *since = Some(statement.connection);
            }
            if !statement.text.contains(TOKENS)
                && since.is_some_and(|since| statement.connection <= since)
            {
                return Reply::Refuse("Neo.ClientError.Cluster.NotALeader");
            }
            ordinary(&statement)
        });
        let store = open(&config(format!("{scheme}://{}", server.address())), 3).unwrap();
        assert_eq!(store.apply(&[create("a")], noon()).unwrap(), Applied::default());
        assert_eq!(server.count(CREATE), 1, "{scheme}");
        assert!(elected.lock().unwrap().is_some());
    }
}

#[test]
fn a_database_that_takes_no_writes_is_named_as_such() {
    let server = FakeServer::start(|statement| {
        if statement.text.contains(PROBE) {
            return Reply::Refuse("Neo.ClientError.General.ForbiddenOnReadOnlyDatabase");
        }
        ordinary(&statement)
    });
    let store = open(&bolt(&server), 2).unwrap();
    let message = transient(store.apply(&[create("a")], noon()).unwrap_err());
    assert!(message.contains("make the database writable"), "{message}");
    assert_eq!((server.count(PROBE), server.count(CREATE)), (2, 0));
    let line = store.check().into_iter().find(|line| line.name == "graph.writable").unwrap();
    assert_eq!(line.level, aclarai_scheduler::inside::finding::Level::Error);
}

#[test]
fn a_user_without_the_right_to_write_is_told_so_at_once() {
    let server = FakeServer::start(|statement| {
        if statement.text.contains(PROBE) {
            return Reply::Refuse("Neo.ClientError.Security.Forbidden");
        }
        ordinary(&statement)
    });
    let store = open(&bolt(&server), 3).unwrap();
    let message = unavailable(store.apply(&[create("a")], noon()).unwrap_err());
    assert!(message.contains("grant NEO4J_USER"), "{message}");
    assert_eq!(server.count(PROBE), 1, "no second try");
}

#[test]
fn without_the_right_to_create_the_constraint_it_is_said_what_to_run() {
    let server = FakeServer::start(|statement| {
        if statement.text.starts_with("CREATE CONSTRAINT") || statement.text.starts_with("SHOW") {
            return Reply::Refuse("Neo.ClientError.Security.Forbidden");
        }
        none()
    });
    let store = open(&bolt(&server), 3).unwrap();
    let message = unavailable(store.apply(&[create("a")], noon()).unwrap_err());
    assert!(message.contains("let an administrator run: CREATE CONSTRAINT"), "{message}");

    // Where it exists, nobody needs the right.
    let server = FakeServer::start(|statement| {
        if statement.text.starts_with("CREATE CONSTRAINT") {
            return Reply::Refuse("Neo.ClientError.Security.Forbidden");
        }
        ordinary(&statement)
    });
    assert!(open(&bolt(&server), 3).unwrap().apply(&[create("a")], noon()).is_ok());
}

#[test]
fn writers_that_race_for_a_new_node_try_once_more() {
    let race = "Neo.ClientError.Schema.ConstraintValidationFailed";
    let server = creating(move |n| if n < 2 { Reply::FailAtEnd(race) } else { none() });
    let store = open(&bolt(&server), 1).unwrap();
    assert_eq!(store.apply(&[create("a")], noon()).unwrap(), Applied::default());
    assert_eq!((server.count(CREATE), server.count(CREATE_WHERE_NONE)), (3, 2));

    // A constraint that somebody else has made refuses it for good: it is a fault of the row.
    let server = creating(move |_| Reply::FailAtEnd(race));
    let store = open(&bolt(&server), 1).unwrap();
    let applied = store.apply(&[create("a")], noon()).unwrap();
    assert_eq!(applied.rejected.len(), 1, "{applied:?}");
}

#[test]
fn a_batch_too_large_for_the_server_is_sent_in_halves() {
    // Only the number of tries is known to the script: four changes fail together and in pairs, and pass one by one.
    let server = creating(|n| match n {
        0 | 1 | 4 => Reply::FailAtEnd("Neo.TransientError.General.MemoryPoolOutOfMemoryError"),
        _ => none(),
    });
    let store = open(&bolt(&server), 1).unwrap();
    let batch: Vec<Change> = ["a", "b", "c", "d"].map(create).into();
    assert_eq!(store.apply(&batch, noon()).unwrap(), Applied::default());
    assert_eq!(server.count(CREATE), 1 + 2 + 4);

    let server =
        creating(|_| Reply::FailAtEnd("Neo.TransientError.General.MemoryPoolOutOfMemoryError"));
    let store = open(&bolt(&server), 2).unwrap();
    let error = store.apply(&batch, noon()).unwrap_err();
    assert!(
        transient(error).contains("more memory"),
        "one row is not to blame for a server without memory"
    );
}

#[test]
fn a_row_that_the_server_cannot_store_is_named() {
    let server = creating(|n| match n {
        // a b c d, then a b, then a alone, then b, then c d.
        0 | 1 | 3 => Reply::FailAtEnd("Neo.DatabaseError.Statement.ExecutionFailed"),
        _ => none(),
    });
    let store = open(&bolt(&server), 1).unwrap();
    let batch: Vec<Change> = ["a", "b", "c", "d"].map(create).into();
    let applied = store.apply(&batch, noon()).unwrap();
    assert_eq!(applied.stale, []);
    assert_eq!(applied.rejected.len(), 1);
    assert_eq!(applied.rejected[0].0, BlockId::new("b"));
    assert!(applied.rejected[0].1.contains("As told"), "{:?}", applied.rejected);
}

#[test]
fn a_wrong_password_is_not_tried_twice() {
    for scheme in ["bolt", "neo4j"] {
        let server = FakeServer::greeting(Greeting::WrongPassword, |_| none());
        let message = unavailable(refusal(&config(format!("{scheme}://{}", server.address()))));
        assert!(message.contains("NEO4J_USER and NEO4J_PASSWORD"), "{message}");
    }
}

#[test]
fn an_address_that_is_no_bolt_port_is_named_as_such() {
    let server = FakeServer::greeting(Greeting::Http, |_| none());
    let message = unavailable(refusal(&bolt(&server)));
    assert!(message.contains("not a Bolt port") && message.contains("7687"), "{message}");

    let server = FakeServer::greeting(Greeting::NoVersion, |_| none());
    let message = unavailable(refusal(&bolt(&server)));
    assert!(message.contains("Bolt 4.4"), "{message}");

    let server = FakeServer::start(|_| none());
    let message = unavailable(refusal(&config(format!("bolt+s://{}", server.address()))));
    assert!(message.contains("does not speak TLS, write bolt://"), "{message}");

    let kept = Closed::new();
    let closed = kept.address();
    for scheme in ["bolt", "neo4j", "bolt+s"] {
        let message =
            transient(refusal(&config(format!("{scheme}://neo4j:s3cret@{closed}/x?y=s3cret"))));
        assert!(message.contains(&format!("{scheme}://{closed}: cannot connect")), "{message}");
        assert!(message.contains("NEO4J_HOST and NEO4J_BOLT_PORT"), "{message}");
    }
    let message = unavailable(refusal(&config("http://127.0.0.1:7474")));
    assert!(message.contains("databases.neo4j.uri is bolt://HOST:PORT"), "{message}");
}

#[test]
fn a_server_of_ipv6_is_found() {
    let server = FakeServer::start(|statement| ordinary(&statement));
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        // A machine without IPv6 has no such servers.
        return;
    };
    let address = listener.local_addr().unwrap();
    let target = server.address();
    let pass = move || {
        let (from, to) =
            (listener.accept().unwrap().0, std::net::TcpStream::connect(target).unwrap());
        let (mut from2, mut to2) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let back =
            std::thread::Builder::new().spawn(move || std::io::copy(&mut to2, &mut from2)).unwrap();
        let _ = std::io::copy(&mut &from, &mut &to);
        let _ = to.shutdown(std::net::Shutdown::Both);
        let _ = back.join();
    };
    let passing = std::thread::Builder::new().spawn(pass).unwrap();
    let store = open(&config(format!("bolt://{address}")), 1).unwrap();
    assert_eq!(store.token("/vault").unwrap(), None);
    drop(store);
    passing.join().unwrap();
}

#[test]
fn an_authority_that_would_not_be_used_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let with = |uri: &str| Neo4jConfig { tls_ca: Some(ca.clone()), ..config(uri) };
    let message = unavailable(refusal(&with("bolt+s://localhost:1")));
    assert!(
        message.contains("databases.neo4j.tls_ca") && message.contains("No such file"),
        "{message}"
    );
    std::fs::write(&ca, "not a certificate").unwrap();
    let message = unavailable(refusal(&with("bolt+s://localhost:1")));
    assert!(message.contains("no certificate in it"), "{message}");
    for uri in ["bolt://localhost:1", "neo4j+ssc://localhost:1"] {
        let message = unavailable(refusal(&with(uri)));
        assert!(message.contains("write bolt+s:// or neo4j+s://"), "{message}");
    }
}

#[test]
fn an_answer_that_makes_no_sense_ends_in_an_error() {
    let server = creating(|_| Reply::Garbage);
    let store = open(&bolt(&server), 2).unwrap();
    transient(store.apply(&[create("a")], noon()).unwrap_err());
}

/// Throws the switch once the server has a statement with `part`, and returns what `work` came to.
fn stopped_during<T: Send>(
    server: &FakeServer,
    part: &str,
    stop: &Stop,
    work: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        wait_until_sent(server, part);
        stop.tell();
        working.join().unwrap()
    })
}

#[track_caller]
fn wait_until_sent(server: &FakeServer, part: &str) {
    wait_until(&format!("a statement with {part:?}"), || server.count(part) > 0);
}

#[test]
fn a_stop_is_heard_while_the_server_is_silent() {
    let stop = Stop::new();
    let server = creating(|_| Reply::Silence);
    let store = open_until(&bolt(&server), 3, stop.clone()).unwrap();
    let answer = stopped_during(&server, CREATE, &stop, || store.apply(&[create("a")], noon()));
    assert!(matches!(answer, Err(GraphError::Cancelled)));
    // Nor does the end of the store wait for the server.
    drop(store);

    // The same while connecting.
    let stop = Stop::new();
    let server = FakeServer::start(|_| Reply::Silence);
    let config = bolt(&server);
    let answer =
        stopped_during(&server, TOKENS, &stop, || open_until(&config, 3, stop.clone()).map(drop));
    assert!(matches!(answer, Err(GraphError::Cancelled)));
}

#[test]
fn a_server_that_is_not_ready_says_so_itself() {
    let server =
        FakeServer::start(|_| Reply::Refuse("Neo.TransientError.General.DatabaseUnavailable"));
    let message = transient(refusal(&bolt(&server)));
    assert!(message.contains("cannot connect: As told (Neo.TransientError"), "{message}");
    assert_eq!(server.count(""), 2, "as often as configured");
}

#[test]
fn an_unchanged_vault_costs_one_question() {
    let server = FakeServer::start(|statement| {
        if statement.text.contains(TOKENS) {
            let text = |text: &str| Value::Text(text.to_owned());
            return Reply::Rows(vec![Value::List(vec![text("/vault"), text("t1")])]);
        }
        ordinary(&statement)
    });
    let store = open(&bolt(&server), 1).unwrap();
    assert_eq!(store.token("/vault").unwrap().as_deref(), Some("t1"));
    store.flush().unwrap();
    drop(store);
    assert_eq!(server.count(""), 1);
}

#[test]
fn a_dry_run_creates_neither_constraint_nor_node() {
    let server = FakeServer::start(|_| none());
    let config = GraphConfig::Neo4j(bolt(&server));
    let store =
        graph::open_dry(&config, RetryPolicy::default(), Stop::new(), Arc::new(SystemClock))
            .unwrap();
    assert!(store.lookup(&[BlockId::new("a")]).unwrap().is_empty());
    assert_eq!(store.apply(&[create("a")], noon()).unwrap(), Applied::default());
    store.set_token("/vault", "t").unwrap();
    assert_eq!(server.count("CREATE") + server.count("MERGE"), 0);
}

#[test]
fn large_batches_are_sent_in_parts_over_disjoint_ids() {
    let server = creating(|_| none());
    let store = open(&bolt(&server), 1).unwrap();
    let rows = 4 * store.preferred_batch().rows;
    let ids: BTreeSet<String> = (0..rows).map(|i| format!("blk_{i}")).collect();
    let batch: Vec<Change> = ids.iter().map(|id| create(id)).collect();
    assert_eq!(store.apply(&batch, noon()).unwrap(), Applied::default());
    assert_eq!(server.count(CREATE), 2);
}

#[test]
fn a_batch_does_not_wait_for_another_one() {
    let stop = Stop::new();
    let server = creating(|number| if number == 0 { Reply::Silence } else { none() });
    let store = open_until(&bolt(&server), 1, stop.clone()).unwrap();
    assert_eq!(store.preferred_batch().at_once, 2);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| store.apply(&[create("a")], noon()));
        wait_until_sent(&server, CREATE);
        assert_eq!(store.apply(&[create("b")], noon()).unwrap(), Applied::default());
        stop.tell();
        assert!(matches!(first.join().unwrap(), Err(GraphError::Cancelled)));
    });
}

#[test]
fn reading_makes_nothing_and_sweeps_where_no_index_finds_a_block() {
    for (indexes, seeks, sweeps) in [(0, 0, 2), (1, 2, 0)] {
        let server = FakeServer::start(move |statement| {
            if statement.text.contains("SHOW INDEXES") {
                Reply::Rows(vec![Value::Number(indexes)])
            } else {
                none()
            }
        });
        let store = open(&bolt(&server), 1).unwrap();
        for _ in 0..2 {
            assert!(store.lookup(&[BlockId::new("a")]).unwrap().is_empty());
        }
        assert_eq!(server.count("CREATE") + server.count("MERGE"), 0, "a lookup makes nothing");
        assert_eq!(server.count("SHOW INDEXES"), 1, "asked once");
        let swept = server.count("MATCH (b:Block) WHERE toStringOrNull");
        assert_eq!((server.count("UNWIND $ids"), swept), (seeks, sweeps));

        store.prepare().unwrap();
        store.prepare().unwrap();
        assert_eq!(server.count("CREATE CONSTRAINT"), 1);
        store.lookup(&[BlockId::new("a")]).unwrap();
        assert_eq!(server.count("UNWIND $ids"), seeks + 1, "the constraint is an index");
    }
}

#[test]
fn an_id_that_is_cypher_itself_does_not_get_into_the_statement_that_is_offered() {
    let id = "x\"}) DETACH DELETE b //";
    let server = FakeServer::start(move |statement| {
        if statement.text.starts_with("CREATE CONSTRAINT") {
            Reply::Refuse("Neo.DatabaseError.Schema.ConstraintCreationFailed")
        } else if statement.text.contains("AS n WHERE n > 1") {
            Reply::Rows(vec![Value::List(vec![Value::Text(id.to_owned()), Value::Number(2)])])
        } else {
            none()
        }
    });
    let store = open(&bolt(&server), 1).unwrap();
    let message = unavailable(store.apply(&[create("a")], noon()).unwrap_err());
    let (told, offered) = message.split_once("look at them with ").unwrap();
    assert!(told.contains(id), "{message}");
    assert!(!offered.contains("DETACH") && offered.contains("collect(b)"), "{message}");
}
