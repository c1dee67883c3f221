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

/// A message and its name.
type Named = (&'static str, fn() -> Vec<u8>);

const MESSAGES: [Named; 9] = [
    ("lists in lists", || deep(b"\x91")),
    ("maps in maps", || deep(b"\xa1\x81x")),
    ("structures in structures", || deep(b"\xb1\x4e")),
    ("a list of 2^32", || answer_with(b"\xd6\xff\xff\xff\xff")),
    ("a list of 2^31", || answer_with(b"\xd6\x7f\xff\xff\xff\xc0\xc0")),
    ("a map of 2^32", || answer_with(b"\xda\xff\xff\xff\xff")),
    ("the answer itself is such a map", || b"\xb1\x70\xda\xff\xff\xff\xff".to_vec()),
    ("a text of 2^32", || answer_with(b"\xd2\xff\xff\xff\xff")),
    ("bytes of 2^32", || answer_with(b"\xce\xff\xff\xff\xff")),
];

fn is_explained(name: &str, message: &str) {
    assert!(message.contains("refused an answer"), "{name}: {message}");
    assert!(message.contains("is its address"), "{name}: {message}");
}

#[test]
fn a_first_answer_that_would_end_the_process_ends_the_run() {
    for scheme in ["bolt", "neo4j"] {
        for (name, message) in MESSAGES {
            let server = FakeServer::greeting(Greeting::Message(message), |_| Reply::Silence);
            let answer = open(&config(format!("{scheme}://{}", server.address())), 3);
            is_explained(name, &unavailable(answer.err().unwrap()));
        }
        let server = FakeServer::greeting(Greeting::Endless, |_| Reply::Silence);
        let answer = open(&config(format!("{scheme}://{}", server.address())), 3);
        is_explained("without an end", &unavailable(answer.err().unwrap()));
    }
}

#[test]
fn a_later_answer_that_would_end_the_process_ends_the_run() {
    for (name, message) in MESSAGES {
        let server = FakeServer::start(move |statement| {
            if statement.text.contains("SHOW INDEXES") {
                Reply::Rows(vec![Value::Number(1)])
            } else if statement.text.contains("UNWIND $ids") {
                Reply::Message(message())
            } else {
                Reply::Rows(Vec::new())
            }
        });
        let store = open(&config(format!("bolt://{}", server.address())), 1).unwrap();
        is_explained(name, &unavailable(store.lookup(&[BlockId::new("a")]).unwrap_err()));
    }
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
