//! What answers at the server's address means harm, or is no Neo4j: the process lives on and says so.
//!
//! Each of these messages would end the whole process while it is decoded, by a full stack or by room that is not
//! there, and neither can be caught.

use super::*;
use crate::fake::{FakeServer, Greeting, Reply, Value, answer_with};

/// Lists in lists, or in structures, or maps in maps.
fn deep(marker: &[u8]) -> Vec<u8> {
    let mut value = marker.repeat(20_000);
    value.push(0xc0);
    answer_with(&value)
}

/// Lists of lists of nothing: each of few bytes, and together more than fits.
fn many_values() -> Vec<u8> {
    let inner = [b"\xd5\xff\xff".to_vec(), vec![0x90; 0xffff]].concat();
    [b"\xd4\x11".to_vec(), inner.repeat(0x11)].concat()
}

/// A message and its name.
type Named = (&'static str, fn() -> Vec<u8>);

const MESSAGES: [Named; 16] = [
    ("lists in lists", || deep(b"\x91")),
    ("maps in maps", || deep(b"\xa1\x81x")),
    ("structures in structures", || deep(b"\xb1\x4e")),
    ("a list of 2^32", || answer_with(b"\xd6\xff\xff\xff\xff")),
    ("a list of 2^31", || answer_with(b"\xd6\x7f\xff\xff\xff\xc0\xc0")),
    ("a map of 2^32", || answer_with(b"\xda\xff\xff\xff\xff")),
    ("the answer itself is such a map", || b"\xb1\x70\xda\xff\xff\xff\xff".to_vec()),
    ("a text of 2^32", || answer_with(b"\xd2\xff\xff\xff\xff")),
    ("bytes of 2^32", || answer_with(b"\xce\xff\xff\xff\xff")),
    ("a map of 2^16 that is not there", || answer_with(b"\xd9\xff\xff")),
    ("a text that ends early", || answer_with(b"\xd0\xffx")),
    ("a structure that ends early", || answer_with(b"\xbf\x4e\xc0")),
    ("a marker that nobody knows", || answer_with(b"\xc5\xc0")),
    ("a million values and more", || answer_with(&many_values())),
    ("a row where none was asked for", || b"\xb1\x71\xd6\xff\xff\xff\xff".to_vec()),
    ("a failure that is such a map", || b"\xb1\x7f\xda\xff\xff\xff\xff".to_vec()),
];

fn is_explained(name: &str, message: &str) {
    assert!(message.contains("refused an answer"), "{name}: {message}");
    assert!(message.contains("is its address"), "{name}: {message}");
}

/// The configuration for a server over TLS.
fn over_tls(scheme: &str, server: &FakeServer) -> Neo4jConfig {
    let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/ca.crt");
    let uri = format!("{scheme}+s://localhost:{}", server.address().port());
    Neo4jConfig { tls_ca: Some(ca.into()), ..config(uri) }
}

/// Whether the login of a server that greets like this is refused and explained, without TLS and within it.
#[track_caller]
fn is_refused_at_the_login(name: &str, greeting: Greeting) {
    for scheme in ["bolt", "neo4j"] {
        let server = FakeServer::greeting(greeting, |_| Reply::Silence);
        let answer = open(&config(format!("{scheme}://{}", server.address())), 3);
        is_explained(name, &unavailable(answer.err().unwrap()));
        let server = FakeServer::over_tls(greeting, |_| Reply::Silence);
        let answer = open(&over_tls(scheme, &server), 3);
        is_explained(name, &unavailable(answer.err().unwrap()));
    }
}

#[test]
fn a_first_answer_that_would_end_the_process_ends_the_run() {
    for (name, message) in MESSAGES {
        // A login needs no million values: it is refused by its length.
        is_refused_at_the_login(name, Greeting::Message(message));
    }
    is_refused_at_the_login("without an end", Greeting::Endless);
    is_refused_at_the_login("empty chunks without an end", Greeting::EmptyChunks);
}

#[test]
fn a_login_that_drips_is_no_answer_whatever_it_is_going_to_be() {
    for over_tls_too in [false, true] {
        let answer = if over_tls_too {
            let server = FakeServer::over_tls(Greeting::Drip, |_| Reply::Silence);
            open(&over_tls("bolt", &server), 1)
        } else {
            let server = FakeServer::greeting(Greeting::Drip, |_| Reply::Silence);
            open(&config(format!("bolt://{}", server.address())), 1)
        };
        let message = transient(answer.err().unwrap());
        assert!(message.contains("no answer for"), "{message}");
    }
}

/// Answers the first questions as Neo4j does, and a lookup of blocks with `reply`.
fn lookup_answered_with(
    reply: impl Fn() -> Reply + Send + 'static,
) -> impl FnMut(crate::fake::Statement<'_>) -> Reply + Send + 'static {
    move |statement| {
        if statement.text.contains("SHOW INDEXES") {
            Reply::Rows(vec![Value::Number(1)])
        } else if statement.text.contains("UNWIND $ids") {
            reply()
        } else {
            Reply::Rows(Vec::new())
        }
    }
}

#[track_caller]
fn lookup_is_refused(name: &str, reply: impl Fn() -> Reply + Clone + Send + 'static) {
    let plain = FakeServer::start(lookup_answered_with(reply.clone()));
    let secret = FakeServer::over_tls(Greeting::Welcome, lookup_answered_with(reply));
    for config in [config(format!("bolt://{}", plain.address())), over_tls("bolt", &secret)] {
        let store = open(&config, 1).unwrap();
        is_explained(name, &unavailable(store.lookup(&[BlockId::new("a")]).unwrap_err()));
    }
}

#[test]
fn a_later_answer_that_would_end_the_process_ends_the_run() {
    for (name, message) in MESSAGES {
        lookup_is_refused(name, move || Reply::Message(message()));
    }
}

#[test]
fn rows_without_an_end_are_refused_before_they_fill_the_memory() {
    let long = || Value::Text("x".repeat(1 << 20));
    let many = || Value::List(vec![Value::Null; 10_000]);
    lookup_is_refused("long rows", move || Reply::EndlessRows(long()));
    lookup_is_refused("rows of many values", move || Reply::EndlessRows(many()));
    let row = || {
        let text = |text: &str| Value::Text(text.to_owned());
        Value::List(vec![text("a"), text("b")])
    };
    let server = FakeServer::start(move |statement| {
        if statement.text.contains("AclaraiSchedulerToken) RETURN") {
            Reply::AlwaysMore(row())
        } else {
            Reply::Rows(Vec::new())
        }
    });
    let answer = open(&config(format!("bolt://{}", server.address())), 1);
    is_explained("always more", &unavailable(answer.err().unwrap()));
}

#[test]
fn a_long_text_and_many_rows_are_within_bounds() {
    let text = "x".repeat(8 << 20);
    let expected = text.len();
    let server = FakeServer::start(move |statement| {
        if statement.text.contains("AclaraiSchedulerToken) RETURN") {
            let row = |scope: &str, token: &str| {
                Value::List(vec![Value::Text(scope.to_owned()), Value::Text(token.to_owned())])
            };
            let mut rows = vec![row("long", &text)];
            rows.extend((0..20_000).map(|n| row(&n.to_string(), "t")));
            Reply::Rows(rows)
        } else {
            Reply::Rows(Vec::new())
        }
    });
    let store = open(&config(format!("bolt://{}", server.address())), 1).unwrap();
    assert_eq!(store.token("long").unwrap().map(|token| token.len()), Some(expected));
    assert_eq!(store.token("19999").unwrap().as_deref(), Some("t"));
}
