//! One suite for every graph store: the same changes must leave the same graph and get the same answers.
//!
//! The suite speaks to a store through `GraphStore` alone, and to the graph behind it as another service would, by
//! `Graph::edit`. Neo4j joins when `ACLARAI_TEST_NEO4J_URI` is set (`tests/neo4j start; eval "$(tests/neo4j env)"`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
#[cfg(feature = "neo4j")]
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aclarai_scheduler::WholeBlock;
use aclarai_scheduler::inside::block::{BlockId, ContentHash, Tier};
use aclarai_scheduler::inside::graph::{
    Applied, Change, Conflict, Content, Facts, GraphStore, HandedOut, Mark, Marks, MemoryStore,
    Place, Purge, SqliteStore, State, StoredBlock, Which, Write,
};
use aclarai_scheduler::inside::stop::Stop;
#[cfg(feature = "neo4j")]
use aclarai_scheduler::{
    inside::clock::SystemClock,
    inside::config::{GraphConfig, Neo4jConfig, RetryPolicy},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// A graph under test, with a back door through which other services come.
trait Graph {
    /// A store of its own on this graph, as another process would open.
    fn open(&self) -> Box<dyn GraphStore>;
    /// Makes the node where there is none, and sets properties as another service would; `null` removes one.
    fn edit(&self, id: &str, properties: Value);
    /// Deletes the node.
    fn delete(&self, id: &str);
    /// The node's properties, without those that are null or false.
    fn node(&self, id: &str) -> Option<BTreeMap<String, Value>>;
    /// Has a node of another service point at the block; false where the graph holds nothing but blocks.
    fn relate(&self, id: &str) -> bool;
}

struct Memory(MemoryStore);

impl Graph for Memory {
    fn open(&self) -> Box<dyn GraphStore> {
        Box::new(self.0.clone())
    }

    fn edit(&self, id: &str, properties: Value) {
        self.0.edit(|nodes| {
            let node = nodes.entry(BlockId::new(id)).or_default();
            let text = |value: &Value| value.as_str().map(str::to_owned);
            for (name, value) in properties.as_object().unwrap() {
                match name.as_str() {
                    "text" => node.text = text(value),
                    "hash" => node.hash = text(value),
                    "body_hash" => node.body_hash = text(value),
                    "version" => node.version = value.as_i64(),
                    "vault_version" => node.vault_version = value.as_i64(),
                    "source_file" => node.source_file = text(value),
                    "needs_reprocessing" => node.needs_reprocessing = value.as_bool().unwrap(),
                    "conflict" => {
                        node.conflict = value.as_bool().filter(|flag| *flag).map(|_| Conflict {
                            version: 0,
                            hash: String::new(),
                            file: String::new(),
                        })
                    }
                    other => panic!("the suite does not edit {other}"),
                }
            }
        })
    }

    fn delete(&self, id: &str) {
        self.0.edit(|nodes| nodes.remove(&BlockId::new(id)));
    }

    fn node(&self, id: &str) -> Option<BTreeMap<String, Value>> {
        let node = self.0.edit(|nodes| nodes.get(&BlockId::new(id)).cloned())?;
        let conflict = node.conflict.as_ref();
        Some(present([
            ("id", json!(id)),
            ("text", json!(node.text)),
            ("hash", json!(node.hash)),
            ("version", json!(node.version)),
            ("last_updated", json!(node.last_updated)),
            ("needs_reprocessing", json!(node.needs_reprocessing)),
            ("source_file", json!(node.source_file)),
            ("vault_version", json!(node.vault_version)),
            ("body", json!(node.body)),
            ("body_hash", json!(node.body_hash)),
            ("tier", json!(node.tier.map(|tier| tier as u8))),
            ("archived", json!(node.archived_at.is_some())),
            ("archived_at", json!(node.archived_at)),
            ("conflict", json!(conflict.is_some())),
            ("conflict_version", json!(conflict.map(|c| c.version))),
            ("conflict_hash", json!(conflict.map(|c| &c.hash))),
            ("conflict_file", json!(conflict.map(|c| &c.file))),
        ]))
    }

    fn relate(&self, id: &str) -> bool {
        self.0.edit(|nodes| nodes.get_mut(&BlockId::new(id)).unwrap().relationships += 1);
        true
    }
}

struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn raw(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.0.path().join("graph.db")).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        connection
    }
}

impl Graph for Sqlite {
    fn open(&self) -> Box<dyn GraphStore> {
        Box::new(SqliteStore::open(&self.0.path().join("graph.db"), never()).unwrap())
    }

    fn edit(&self, id: &str, properties: Value) {
        let connection = self.raw();
        connection.execute("INSERT OR IGNORE INTO blocks (id) VALUES (?1)", [id]).unwrap();
        for (name, value) in properties.as_object().unwrap() {
            let sql = format!("UPDATE blocks SET {name} = ?1 WHERE id = ?2");
            let changed = match value {
                Value::Null => connection.execute(&sql, (rusqlite::types::Null, id)),
                Value::Bool(flag) => connection.execute(&sql, (flag, id)),
                Value::Number(number) => connection.execute(&sql, (number.as_i64(), id)),
                Value::String(text) => connection.execute(&sql, (text, id)),
                other => panic!("no property holds {other}"),
            };
            assert_eq!(changed.unwrap(), 1);
        }
    }

    fn delete(&self, id: &str) {
        self.raw().execute("DELETE FROM blocks WHERE id = ?1", [id]).unwrap();
    }

    fn node(&self, id: &str) -> Option<BTreeMap<String, Value>> {
        let connection = self.raw();
        let mut statement = connection.prepare("SELECT * FROM blocks WHERE id = ?1").unwrap();
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([id]).unwrap();
        let row = rows.next().unwrap()?;
        Some(present(names.iter().enumerate().map(|(i, name)| {
            let value = match row.get::<_, rusqlite::types::Value>(i).unwrap() {
                rusqlite::types::Value::Null => Value::Null,
                rusqlite::types::Value::Integer(number) => match name.as_str() {
                    "archived" | "conflict" | "needs_reprocessing" => json!(number != 0),
                    _ => json!(number),
                },
                rusqlite::types::Value::Text(text) => match name.as_str() {
                    "last_updated" | "archived_at" => {
                        assert!(text.ends_with('Z'), "{name} is in UTC: {text}");
                        json!(text.parse::<DateTime<Utc>>().unwrap())
                    }
                    _ => json!(text),
                },
                other => panic!("{name} holds {other:?}"),
            };
            (name.as_str(), value)
        })))
    }

    fn relate(&self, _: &str) -> bool {
        false
    }
}

/// Blocks on the server at `ACLARAI_TEST_NEO4J_URI`, which holds one graph: tests take turns.
#[cfg(feature = "neo4j")]
struct Neo4j {
    config: Neo4jConfig,
    runtime: tokio::runtime::Runtime,
    server: neo4rs::Graph,
    _turn: std::sync::MutexGuard<'static, ()>,
}

#[cfg(feature = "neo4j")]
impl Neo4j {
    /// An empty graph beside the indexes that other services have on it; `None` where no server is named.
    fn start() -> Option<Neo4j> {
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Ok(uri) = std::env::var("ACLARAI_TEST_NEO4J_URI") else {
            static SAID: std::sync::Once = std::sync::Once::new();
            // Past the test harness, which would swallow it.
            SAID.call_once(|| {
                let text =
                    b"skipped: Neo4j, as ACLARAI_TEST_NEO4J_URI is not set (tests/neo4j start)\n";
                std::io::Write::write_all(&mut std::io::stderr(), text).unwrap();
            });
            return None;
        };
        let config = Neo4jConfig {
            uri,
            database: "neo4j".to_owned(),
            tls_ca: None,
            user: std::env::var("NEO4J_USER").unwrap_or("neo4j".to_owned()),
            password: std::env::var("NEO4J_PASSWORD").ok(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let password = config.password.clone().unwrap_or_default();
        let server = neo4rs::Graph::new(&*config.uri, &*config.user, password).unwrap();
        let graph = Neo4j { config, runtime, server, _turn: turn };
        for statement in [
            "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS",
            "CREATE INDEX block_text_index IF NOT EXISTS FOR (b:Block) ON (b.text)",
            "CREATE INDEX block_hash_index IF NOT EXISTS FOR (b:Block) ON (b.hash)",
        ] {
            graph.run(neo4rs::query(statement));
        }
        Some(graph)
    }

    fn run(&self, query: neo4rs::Query) {
        self.runtime.block_on(self.server.run(query)).unwrap();
    }
}

#[cfg(feature = "neo4j")]
impl Graph for Neo4j {
    fn open(&self) -> Box<dyn GraphStore> {
        let config = GraphConfig::Neo4j(self.config.clone());
        // Two writers at once may meet in a deadlock, which is for trying again.
        aclarai_scheduler::inside::graph::open(
            &config,
            RetryPolicy::default(),
            never(),
            Arc::new(SystemClock),
        )
        .unwrap()
    }

    fn edit(&self, id: &str, properties: Value) {
        // A JSON literal is a Cypher literal.
        let set = |(name, value): (&String, &Value)| format!("SET b.{name} = {value}");
        let set: Vec<String> = properties.as_object().unwrap().iter().map(set).collect();
        let query = format!("MERGE (b:Block {{id: $id}}) {}", set.join(" "));
        self.run(neo4rs::query(&query).param("id", id));
    }

    fn delete(&self, id: &str) {
        self.run(neo4rs::query("MATCH (b:Block {id: $id}) DETACH DELETE b").param("id", id));
    }

    fn node(&self, id: &str) -> Option<BTreeMap<String, Value>> {
        let query = "MATCH (b:Block {id: $id}) RETURN b {.*, last_updated: toString(b.last_updated), \
                     archived_at: toString(b.archived_at)} AS node";
        let mut rows: Vec<BTreeMap<String, Value>> = self.runtime.block_on(async {
            let query = neo4rs::query(query).param("id", id);
            let mut stream = self.server.execute(query).await.unwrap();
            let mut rows = Vec::new();
            while let Some(row) = stream.next().await.unwrap() {
                rows.push(row.get("node").unwrap());
            }
            rows
        });
        assert!(rows.len() <= 1, "{id} has several nodes");
        let node = rows.pop()?;
        Some(present(node.iter().map(|(name, value)| {
            let value = match (name.as_str(), value) {
                ("last_updated" | "archived_at", Value::String(text)) => {
                    assert!(text.ends_with('Z'), "{name} is a zoned datetime in UTC: {text}");
                    json!(text.parse::<DateTime<Utc>>().unwrap())
                }
                _ => value.clone(),
            };
            (name.as_str(), value)
        })))
    }

    fn relate(&self, id: &str) -> bool {
        let query = "MATCH (b:Block {id: $id}) CREATE (:Claim)-[:ORIGINATES_FROM]->(b)";
        self.run(neo4rs::query(query).param("id", id));
        true
    }
}

fn present<'a>(properties: impl IntoIterator<Item = (&'a str, Value)>) -> BTreeMap<String, Value> {
    properties
        .into_iter()
        .filter(|(_, value)| !value.is_null() && *value != json!(false))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn never() -> Stop {
    Stop::new()
}

fn noon() -> DateTime<Utc> {
    "2026-08-24T12:00:00.123456Z".parse().unwrap()
}

fn hash(text: &str) -> ContentHash {
    // Any function will do: stores only compare.
    let mut digest = [7; 32];
    for (i, byte) in text.bytes().enumerate() {
        digest[i % 32] ^= byte.rotate_left((i / 32 % 8) as u32);
    }
    ContentHash(digest)
}

fn content(text: &str) -> Content {
    let body = format!("{text}, and the rest");
    Content {
        text: text.to_owned(),
        hash: hash(text),
        body_hash: hash(&body),
        body,
        version: 1,
        vault_version: 1,
        tier: Tier::One,
        source_file: "/vault/a.md".to_owned(),
        mark: true,
    }
}

fn change(id: &str, expected: Option<StoredBlock>, write: Write) -> Change {
    Change { id: BlockId::new(id), expected, write }
}

fn create(id: &str, text: &str) -> Change {
    change(id, None, Write::Content(content(text)))
}

fn conflict() -> Conflict {
    Conflict { version: 2, hash: hash("old").to_string(), file: "/vault/old.md".to_owned() }
}

fn find(store: &dyn GraphStore, id: &str) -> Option<StoredBlock> {
    store.lookup(&[BlockId::new(id)]).unwrap().remove(&BlockId::new(id))
}

/// Applies one change to what the graph holds now, and returns what it holds then.
#[track_caller]
fn write(store: &dyn GraphStore, id: &str, write: Write, at: DateTime<Utc>) -> StoredBlock {
    let change = change(id, find(store, id), write);
    assert_eq!(store.apply(std::slice::from_ref(&change), at).unwrap(), Applied::default());
    let found = find(store, id).expect("what was written is there");
    assert_eq!(found, change.outcome(), "the store and Change::outcome agree");
    found
}

fn stale(id: &str) -> Applied {
    Applied { stale: vec![BlockId::new(id)], rejected: vec![] }
}

fn a_new_block_has_all_its_properties(graph: &dyn Graph) {
    let store = graph.open();
    assert!(store.is_empty().unwrap());
    assert_eq!(find(&*store, "blk_1"), None);
    let stored = write(&*store, "blk_1", Write::Content(content("one")), noon());
    assert_eq!(stored.hash.as_deref(), Some(&*hash("one").to_string()));
    let expected = present([
        ("id", json!("blk_1")),
        ("text", json!("one")),
        ("hash", json!(hash("one").to_string())),
        ("version", json!(1)),
        ("last_updated", json!(noon())),
        ("needs_reprocessing", json!(true)),
        ("source_file", json!("/vault/a.md")),
        ("vault_version", json!(1)),
        ("body", json!("one, and the rest")),
        ("body_hash", json!(hash("one, and the rest").to_string())),
        ("tier", json!(1)),
    ]);
    assert_eq!(graph.node("blk_1"), Some(expected));
    assert!(!store.is_empty().unwrap());
}

fn a_stub_is_filled(graph: &dyn Graph) {
    let store = graph.open();
    graph.edit("blk_1", json!({}));
    assert_eq!(find(&*store, "blk_1"), Some(StoredBlock::default()), "a stub has an id only");
    // Whoever believes that there is no node has not seen the stub.
    assert_eq!(store.apply(&[create("blk_1", "one")], noon()).unwrap(), stale("blk_1"));
    write(&*store, "blk_1", Write::Content(content("one")), noon());
    assert_eq!(graph.node("blk_1").unwrap()["text"], "one");
}

fn an_update_moves_the_time_and_facts_do_not(graph: &dyn Graph) {
    let store = graph.open();
    let later = noon() + TimeDelta::hours(1);
    write(&*store, "blk_1", Write::Content(content("one")), noon());
    let facts = Facts {
        version: Some(7),
        vault_version: Some(6),
        source_file: Some("/vault/b.md".to_owned()),
        tier: Some(Tier::Two),
        body: Some(("other".to_owned(), hash("other"))),
    };
    write(&*store, "blk_1", Write::Facts(facts), later);
    let node = graph.node("blk_1").unwrap();
    assert_eq!(node["last_updated"], json!(noon()));
    assert_eq!(node["text"], "one");
    assert_eq!((&node["version"], &node["vault_version"]), (&json!(7), &json!(6)));
    assert_eq!((&node["source_file"], &node["tier"]), (&json!("/vault/b.md"), &json!(2)));
    assert_eq!(node["body"], "other");

    write(&*store, "blk_1", Write::Facts(Facts::default()), later);
    assert_eq!(graph.node("blk_1").unwrap(), node, "facts that say nothing change nothing");

    let update = Content { version: 8, vault_version: 8, tier: Tier::Three, ..content("two") };
    write(&*store, "blk_1", Write::Content(update), later);
    let node = graph.node("blk_1").unwrap();
    assert_eq!(node["last_updated"], json!(later));
    assert_eq!(
        (&node["text"], &node["version"], &node["tier"]),
        (&json!("two"), &json!(8), &json!(3))
    );
}

fn a_mark_is_set_and_never_taken_away(graph: &dyn Graph) {
    let store = graph.open();
    let quiet = |text| Write::Content(Content { mark: false, ..content(text) });
    write(&*store, "blk_1", quiet("one"), noon());
    assert!(!graph.node("blk_1").unwrap().contains_key("needs_reprocessing"));
    write(&*store, "blk_1", Write::Content(content("two")), noon());
    write(&*store, "blk_1", quiet("three"), noon());
    write(&*store, "blk_1", Write::Facts(Facts::default()), noon());
    assert_eq!(graph.node("blk_1").unwrap()["needs_reprocessing"], true);
}

fn a_conflict_flags_and_writes_nothing_else(graph: &dyn Graph) {
    let store = graph.open();
    write(&*store, "blk_1", Write::Content(content("one")), noon());
    let before = graph.node("blk_1").unwrap();
    write(&*store, "blk_1", Write::Conflict(conflict()), noon() + TimeDelta::hours(1));
    let mut flagged = before.clone();
    flagged.extend(present([
        ("conflict", json!(true)),
        ("conflict_version", json!(2)),
        ("conflict_hash", json!(conflict().hash)),
        ("conflict_file", json!(conflict().file)),
    ]));
    assert_eq!(graph.node("blk_1").unwrap(), flagged);
    write(&*store, "blk_1", Write::Facts(Facts::default()), noon());
    assert_eq!(graph.node("blk_1").unwrap(), before, "facts clear the flag");
    write(&*store, "blk_1", Write::Conflict(conflict()), noon());
    write(&*store, "blk_1", Write::Content(content("one")), noon());
    assert_eq!(graph.node("blk_1").unwrap(), before, "content clears the flag");

    // Somebody else's flag, without what belongs to it.
    graph.edit("blk_1", json!({"conflict": true}));
    assert!(find(&*store, "blk_1").unwrap().conflict.is_some());
    write(&*store, "blk_1", Write::Facts(Facts::default()), noon());
    assert_eq!(graph.node("blk_1").unwrap(), before);
}

fn an_archived_block_comes_back(graph: &dyn Graph) {
    let store = graph.open();
    write(&*store, "blk_1", Write::Content(content("one")), noon());
    let before = graph.node("blk_1").unwrap();
    let later = noon() + TimeDelta::hours(1);
    assert!(write(&*store, "blk_1", Write::Archive, later).archived);
    let archived = graph.node("blk_1").unwrap();
    assert_eq!((&archived["archived"], &archived["archived_at"]), (&json!(true), &json!(later)));
    assert_eq!(archived.len(), before.len() + 2, "nothing else is touched");
    assert!(!write(&*store, "blk_1", Write::Facts(Facts::default()), later).archived);
    assert_eq!(graph.node("blk_1").unwrap(), before, "unchanged, it is as it was");
    write(&*store, "blk_1", Write::Archive, later);
    write(&*store, "blk_1", Write::Content(content("one")), noon());
    assert_eq!(graph.node("blk_1").unwrap(), before, "changed, it is live again too");
}

fn a_batch_sent_again_changes_nothing(graph: &dyn Graph) {
    let store = graph.open();
    let old = |id| write(&*store, id, Write::Content(content("old")), noon());
    let update = Content { version: 2, mark: true, ..content("new") };
    let batch = [
        create("blk_new", "new"),
        change("blk_update", Some(old("blk_update")), Write::Content(update)),
        change(
            "blk_facts",
            Some(old("blk_facts")),
            Write::Facts(Facts { vault_version: Some(5), ..Facts::default() }),
        ),
        change("blk_conflict", Some(old("blk_conflict")), Write::Conflict(conflict())),
        change("blk_archive", Some(old("blk_archive")), Write::Archive),
    ];
    assert_eq!(store.apply(&batch, noon()).unwrap(), Applied::default());
    let nodes = || batch.iter().map(|c| graph.node(c.id.as_str())).collect::<Vec<_>>();
    let before = nodes();
    let again = store.apply(&batch, noon() + TimeDelta::hours(1)).unwrap();
    assert_eq!(nodes(), before);
    assert_eq!(again.rejected, []);
    let mut named = again.stale;
    named.sort();
    let mut all: Vec<BlockId> = batch.iter().map(|c| c.id.clone()).collect();
    all.sort();
    assert_eq!(
        named, all,
        "rows that are already as wanted are named, so that they are not counted twice"
    );
}

fn a_change_of_any_compared_property_makes_a_change_stale(graph: &dyn Graph) {
    let store = graph.open();
    for (edit, label) in [
        (json!({"hash": "0000"}), "hash"),
        (json!({"hash": null}), "hash removed"),
        (json!({"body_hash": "0000"}), "body_hash"),
        (json!({"body_hash": null}), "body_hash removed"),
        (json!({"version": 9}), "version"),
        (json!({"version": null}), "version removed"),
        (json!({"vault_version": 9}), "vault_version"),
        (json!({"vault_version": null}), "vault_version removed"),
        (json!({"source_file": "/vault/z.md"}), "source_file"),
        (json!({"source_file": null}), "source_file removed"),
        (json!({"conflict": true}), "conflict"),
    ] {
        graph.delete("blk_1");
        let read = write(&*store, "blk_1", Write::Content(content("one")), noon());
        graph.edit("blk_1", edit);
        let before = graph.node("blk_1");
        for write in [
            Write::Content(content("two")),
            Write::Facts(Facts { version: Some(3), ..Facts::default() }),
            Write::Conflict(conflict()),
            Write::Archive,
        ] {
            let answer =
                store.apply(&[change("blk_1", Some(read.clone()), write)], noon()).unwrap();
            assert_eq!(answer, stale("blk_1"), "{label}");
            assert_eq!(graph.node("blk_1"), before, "{label}");
        }
    }
    // The rest of what is compared can only be changed by a store.
    let read = write(&*store, "blk_2", Write::Content(content("one")), noon());
    let flagged = write(&*store, "blk_2", Write::Conflict(conflict()), noon());
    write(&*store, "blk_2", Write::Conflict(Conflict { version: 3, ..conflict() }), noon());
    for read in [read.clone(), flagged] {
        let answer = store.apply(&[change("blk_2", Some(read), Write::Archive)], noon()).unwrap();
        assert_eq!(answer, stale("blk_2"));
    }
    write(&*store, "blk_2", Write::Facts(Facts::default()), noon());
    write(&*store, "blk_2", Write::Archive, noon());
    let answer = store.apply(&[change("blk_2", Some(read), Write::Archive)], noon()).unwrap();
    assert_eq!(answer, stale("blk_2"), "archived meanwhile");
}

fn a_node_that_is_gone_is_not_brought_back(graph: &dyn Graph) {
    let store = graph.open();
    let read = write(&*store, "blk_1", Write::Content(content("one")), noon());
    graph.delete("blk_1");
    for write in [Write::Content(content("two")), Write::Archive] {
        let answer = store.apply(&[change("blk_1", Some(read.clone()), write)], noon()).unwrap();
        assert_eq!(answer, stale("blk_1"));
        assert_eq!(graph.node("blk_1"), None, "not even a stub");
    }
}

fn one_stale_row_leaves_the_others_written(graph: &dyn Graph) {
    let store = graph.open();
    graph.edit("blk_2", json!({"hash": "theirs"}));
    let batch = [create("blk_3", "three"), create("blk_1", "one"), create("blk_2", "two")];
    assert_eq!(store.apply(&batch, noon()).unwrap(), stale("blk_2"));
    assert_eq!(graph.node("blk_1").unwrap()["text"], "one");
    assert_eq!(graph.node("blk_2").unwrap()["hash"], "theirs");
    assert_eq!(graph.node("blk_3").unwrap()["text"], "three");
    assert_eq!(store.apply(&[], noon()).unwrap(), Applied::default());
    assert!(store.lookup(&[]).unwrap().is_empty());
}

/// Each writer raises the version of the same blocks by compare-and-set, reading again whatever was stale. If no raise
/// is lost and none is made twice, the versions add up.
fn writers_at_once_lose_nothing(graph: &dyn Graph) {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 5;
    let ids: Vec<BlockId> = (0..60).map(|i| BlockId::new(format!("blk_{i:03}"))).collect();
    let stores: Vec<_> = (0..WRITERS).map(|_| graph.open()).collect();
    let (written, created) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for store in &stores {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let mut left = ids.clone();
                    while !left.is_empty() {
                        let mut found = store.lookup(&left).unwrap();
                        let batch: Vec<Change> = left
                            .iter()
                            .map(|id| {
                                let read = found.remove(id);
                                let version = read.as_ref().map_or(0, |block| block.version) + 1;
                                let content =
                                    Content { version, ..content(&format!("{id} {version}")) };
                                Change {
                                    id: id.clone(),
                                    expected: read,
                                    write: Write::Content(content),
                                }
                            })
                            .collect();
                        let answer = store.apply(&batch, noon()).unwrap();
                        assert_eq!(answer.rejected, []);
                        written.fetch_add(batch.len() - answer.stale.len(), Ordering::Relaxed);
                        let new = batch
                            .iter()
                            .filter(|c| c.expected.is_none() && !answer.stale.contains(&c.id));
                        created.fetch_add(new.count(), Ordering::Relaxed);
                        left = answer.stale;
                    }
                }
            });
        }
    });
    assert_eq!(written.into_inner(), ids.len() * WRITERS * ROUNDS);
    assert_eq!(created.into_inner(), ids.len());
    for (id, block) in stores[0].lookup(&ids).unwrap() {
        assert_eq!(block.version, (WRITERS * ROUNDS) as i64, "{id}");
        assert_eq!(block.hash, Some(hash(&format!("{id} {}", block.version)).to_string()));
    }
}

fn a_long_text_is_cut_and_its_body_is_whole(graph: &dyn Graph) {
    let store = graph.open();
    // 9,000 bytes whose 8,000th lies inside a character.
    let text = "a".to_owned() + &"é".repeat(4_500)[..8_999 - 1];
    write(&*store, "blk_1", Write::Content(content(&text)), noon());
    let node = graph.node("blk_1").unwrap();
    let kept = node["text"].as_str().unwrap();
    assert_eq!(kept.len(), 7_999);
    assert!(text.starts_with(kept));
    assert_eq!(node["body"], json!(format!("{text}, and the rest")));
    assert_eq!(node["hash"], json!(hash(&text).to_string()), "the hash is of the whole text");
}

fn odd_characters_are_kept(graph: &dyn Graph) {
    let store = graph.open();
    for (i, odd) in [
        "nul \0 nul",
        "\u{feff}bom",
        "\u{2028}\u{85}",
        "🦀\u{10ffff}",
        "e\u{301}",
        "'; --",
        "\u{fffe}",
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("blk_{i}");
        let content = Content { source_file: format!("/vault/{odd}.md"), ..content(odd) };
        write(&*store, &id, Write::Content(content), noon());
        let node = graph.node(&id).unwrap();
        assert_eq!(node["text"], odd);
        assert_eq!(node["source_file"], json!(format!("/vault/{odd}.md")));
        write(&*store, odd, Write::Content(self::content("odd id")), noon());
        assert_eq!(graph.node(odd).unwrap()["text"], "odd id");
    }
}

fn a_row_that_cannot_be_stored_leaves_the_others_written(graph: &dyn Graph) {
    let store = graph.open();
    let long = "x".repeat(200_000);
    let read = write(&*store, "blk_0", Write::Content(content("zero")), noon());
    let batch = [
        create("blk_1", "one"),
        create(&long, "two"),
        change("blk_none", None, Write::Archive),
        create(&"y".repeat(1_000), "three"),
        change("blk_0", Some(read), Write::Archive),
    ];
    let answer = store.apply(&batch, noon()).unwrap();
    assert_eq!(answer.stale, []);
    let mut rejected = answer.rejected;
    rejected.sort();
    assert_eq!(rejected.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["blk_none", &long]);
    assert!(rejected[1].1.contains("200000 bytes"), "{}", rejected[1].1);
    assert!(graph.node("blk_1").is_some() && graph.node(&"y".repeat(1_000)).is_some());
    assert!(graph.node("blk_0").unwrap().contains_key("archived"));
    assert!(graph.node("blk_none").is_none());
}

fn every_block_is_visited_once(graph: &dyn Graph) {
    let store = graph.open();
    let batch: Vec<Change> =
        (0..2_500).map(|i| create(&format!("blk_{i}"), &format!("text {i}"))).collect();
    assert_eq!(store.apply(&batch, noon()).unwrap(), Applied::default());
    graph.edit("blk_stub", json!({}));
    write(&*store, "blk_7", Write::Archive, noon());
    let mut visited = BTreeMap::new();
    store
        .for_each(&mut |id, block| assert!(visited.insert(id, block).is_none(), "visited twice"))
        .unwrap();
    let mut ids: Vec<BlockId> = batch.into_iter().map(|c| c.id).collect();
    ids.push(BlockId::new("blk_stub"));
    ids.push(BlockId::new("blk_absent"));
    let found: BTreeMap<_, _> = store.lookup(&ids).unwrap().into_iter().collect();
    assert_eq!(found.len(), 2_501);
    assert!(visited == found, "a visit and a lookup see the same");
}

fn only_what_was_archived_long_enough_is_purged(graph: &dyn Graph) {
    let store = graph.open();
    let day = |days| noon() + TimeDelta::days(days);
    for (id, archived) in [
        ("blk_live", None),
        ("blk_new", Some(day(9))),
        ("blk_old", Some(day(1))),
        ("clm_old", Some(day(2))),
        // Archived by a clock that showed 1970.
        ("clm_odd", Some(DateTime::UNIX_EPOCH)),
    ] {
        write(&*store, id, Write::Content(content(id)), noon());
        if let Some(at) = archived {
            write(&*store, id, Write::Archive, at);
        }
    }
    let ids = |ids: &[&str]| ids.iter().map(|id| BlockId::new(*id)).collect::<Vec<_>>();
    let related = graph.relate("clm_old");
    let purge = |detach, dry_run| {
        let (archived_from, archived_before) = (day(0), day(5));
        store.purge(&Purge { archived_from, archived_before, detach, dry_run }).unwrap()
    };
    for dry_run in [true, false] {
        let purged = purge(false, dry_run);
        if related {
            assert_eq!(
                (purged.deleted, purged.kept_related),
                (ids(&["blk_old"]), ids(&["clm_old"]))
            );
        } else {
            assert_eq!(
                (purged.deleted, purged.kept_related),
                (ids(&["blk_old", "clm_old"]), vec![])
            );
        }
        assert_eq!(graph.node("blk_old").is_some(), dry_run);
        assert_eq!(graph.node("clm_old").is_some(), dry_run || related);
    }
    let purged = purge(true, false);
    assert_eq!(purged.deleted, if related { ids(&["clm_old"]) } else { vec![] });
    assert!(graph.node("clm_old").is_none());
    assert!(["blk_live", "blk_new", "clm_odd"].iter().all(|id| graph.node(id).is_some()));
}

fn tokens_stay_under_their_scope(graph: &dyn Graph) {
    let store = graph.open();
    assert_eq!(store.token("/vault").unwrap(), None);
    store.set_token("/vault", "first").unwrap();
    store.set_token("/vault", "second").unwrap();
    store.set_token("/other", "third").unwrap();
    store.flush().unwrap();
    let reopened = graph.open();
    assert_eq!(reopened.token("/vault").unwrap().as_deref(), Some("second"));
    assert_eq!(reopened.token("/other").unwrap().as_deref(), Some("third"));
    let mut blocks = 0;
    reopened.for_each(&mut |_, _| blocks += 1).unwrap();
    assert_eq!(blocks, 0, "a token is no block");
    assert!(reopened.is_empty().unwrap());
}

fn what_was_written_is_there_for_the_next_run(graph: &dyn Graph) {
    let store = graph.open();
    let stored = write(&*store, "blk_1", Write::Content(content("one")), noon());
    store.flush().unwrap();
    store.flush().unwrap();
    drop(store);
    assert_eq!(find(&*graph.open(), "blk_1"), Some(stored));
}

fn a_healthy_store_checks_out(graph: &dyn Graph) {
    let store = graph.open();
    for line in store.check() {
        assert_eq!(
            line.level,
            aclarai_scheduler::inside::finding::Level::Ok,
            "{}: {}",
            line.name,
            line.message
        );
    }
    let batch = store.preferred_batch();
    assert!(batch.rows >= 100 && batch.bytes >= 1 << 16);
}

fn texts_are_whole_or_what_the_original_kept(graph: &dyn Graph) {
    let store = graph.open();
    write(&*store, "a", Write::Content(content("Hello")), noon());
    graph.edit("original", json!({ "text": "One line", "hash": "h", "version": 1 }));
    graph.edit("stub", json!({}));
    let ids = ["a", "original", "stub", "absent"].map(BlockId::new);
    let texts: BTreeMap<BlockId, String> = store.texts(&ids).unwrap().into_iter().collect();
    let expected = [("a", "Hello, and the rest"), ("original", "One line")]
        .map(|(id, text)| (BlockId::new(id), text.to_owned()));
    assert_eq!(texts, expected.into());
    assert!(store.texts(&[]).unwrap().is_empty());
}

/// The ids of the blocks that wait, the longest waiting first.
fn waiting(store: &dyn GraphStore, which: &Which, limit: usize) -> Vec<String> {
    let mut ids = Vec::new();
    store.marks(which, limit, &mut |mark: Mark| ids.push(mark.id.to_string())).unwrap();
    ids
}

/// Blocks as they are handed out now.
fn hand_out(store: &dyn GraphStore, ids: &[&str]) -> Vec<HandedOut> {
    let now = |id: &&str| HandedOut::now(BlockId::new(*id), &find(store, id).unwrap());
    ids.iter().map(now).collect()
}

fn marked_blocks_come_oldest_first_and_only_those_asked_for(graph: &dyn Graph) {
    let store = graph.open();
    assert_eq!(waiting(&*store, &Which::default(), 10), [""; 0]);
    assert_eq!(store.count_marks(&Which::default()).unwrap(), Marks::default());
    let minute = |minutes| noon() + TimeDelta::minutes(minutes);
    let of_tier = |tier| Content { tier, ..content("one") };
    for (id, at, write_) in [
        ("clm_new", 9, Write::Content(of_tier(Tier::Two))),
        ("blk_old", 1, Write::Content(of_tier(Tier::One))),
        ("odd_mid", 5, Write::Content(of_tier(Tier::Two))),
        ("blk_quiet", 2, Write::Content(Content { mark: false, ..content("quiet") })),
        ("blk_gone", 3, Write::Content(content("gone"))),
    ] {
        write(&*store, id, write_, minute(at));
    }
    write(&*store, "blk_gone", Write::Archive, minute(10));
    let asked = |tiers: &[Tier], prefixes: &[&str], archived| Which {
        tiers: tiers.to_vec(),
        prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        archived,
        consumer: None,
    };
    for (which, expected) in [
        (Which::default(), &["blk_old", "odd_mid", "clm_new"][..]),
        (asked(&[], &[], true), &["blk_old", "blk_gone", "odd_mid", "clm_new"]),
        (asked(&[Tier::Two], &[], false), &["odd_mid", "clm_new"]),
        (asked(&[Tier::One, Tier::Three], &[], false), &["blk_old"]),
        (asked(&[], &["clm_", "odd"], false), &["odd_mid", "clm_new"]),
        (asked(&[Tier::Two], &["clm_"], false), &["clm_new"]),
        (asked(&[], &["b%", "*", "?", "BLK_"], false), &[]),
    ] {
        assert_eq!(waiting(&*store, &which, 10), expected, "{which:?}");
        let marks = store.count_marks(&which).unwrap();
        assert_eq!(marks.count, expected.len() as u64, "{which:?}");
    }
    assert_eq!(waiting(&*store, &Which::default(), 2), ["blk_old", "odd_mid"]);
    assert_eq!(
        store.count_marks(&Which::default()).unwrap(),
        Marks { count: 3, oldest: Some(minute(1)) }
    );
    let mut first = None;
    store
        .marks(&Which::default(), 1, &mut |mark| first = Some(Mark { row: None, ..mark }))
        .unwrap();
    let bytes = ("one".len() + "one, and the rest".len()) as u64;
    let (version, source_file) = (1, Some("/vault/a.md".to_owned()));
    let id = BlockId::new("blk_old");
    let marked_at = Some(minute(1));
    assert_eq!(first, Some(Mark { id, row: None, version, marked_at, source_file, bytes }));

    // Marked by another service, which told no time: it may have waited longest.
    graph.edit("clm_stub", json!({ "needs_reprocessing": true }));
    assert_eq!(waiting(&*store, &Which::default(), 1), ["clm_stub"]);
    assert_eq!(waiting(&*store, &asked(&[Tier::Two], &[], false), 1), ["clm_stub"]);
}

fn whole_blocks_come_in_the_order_asked_for(graph: &dyn Graph) {
    let store = graph.open();
    write(&*store, "clm_1", Write::Content(Content { tier: Tier::Two, ..content("one") }), noon());
    write(&*store, "clm_1", Write::Archive, noon());
    graph.edit("doc_2", json!({ "text": "One line", "hash": "h", "version": 3 }));
    graph.edit("stub", json!({ "needs_reprocessing": true }));
    let places = ["stub", "absent", "clm_1", "doc_2"].map(|id| Place::of(BlockId::new(id)));
    let found = store.whole(&places).unwrap();
    let shown: Vec<_> = found.iter().map(|block| block.id.as_str()).collect();
    assert_eq!(shown, ["stub", "clm_1", "doc_2"]);
    let [stub, whole, original] = &found[..] else { unreachable!() };
    assert_eq!((stub.version, &stub.text, &stub.hash), (0, &None, &None));
    assert_eq!((stub.tier, stub.marked, stub.archived), (None, true, false));
    assert_eq!(whole.body.as_deref(), Some("one, and the rest"));
    assert_eq!(whole.hash, Some(hash("one").to_string()));
    assert_eq!(whole.body_hash, Some(hash("one, and the rest").to_string()));
    assert_eq!((whole.tier, whole.marked, whole.archived), (Some(Tier::Two), true, true));
    assert_eq!(
        (whole.marked_at, whole.source_file.as_deref()),
        (Some(noon()), Some("/vault/a.md"))
    );
    assert_eq!((original.version, original.text.as_deref()), (3, Some("One line")));
    assert_eq!((&original.body, original.tier, original.marked), (&None, Some(Tier::Three), false));
    assert!(store.whole(&[]).unwrap().is_empty());
}

fn a_mark_goes_only_from_what_was_handed_out(graph: &dyn Graph) {
    let store = graph.open();
    let marked = |id: &str| graph.node(id).unwrap().get("needs_reprocessing") == Some(&json!(true));
    let clear = |blocks: &[HandedOut]| store.clear_marks(blocks, None).unwrap();
    for (edit, label) in [
        (json!({"hash": "0000"}), "hash"),
        (json!({"hash": null}), "hash removed"),
        (json!({"body_hash": "0000"}), "body_hash"),
        (json!({"body_hash": null}), "body_hash removed"),
        (json!({"version": 9}), "version"),
        (json!({"version": null}), "version removed"),
    ] {
        graph.delete("blk_1");
        write(&*store, "blk_1", Write::Content(content("one")), noon());
        let handed_out = hand_out(&*store, &["blk_1"]);
        graph.edit("blk_1", edit);
        let before = graph.node("blk_1");
        assert_eq!(clear(&handed_out), [BlockId::new("blk_1")], "{label}");
        assert_eq!(graph.node("blk_1"), before, "{label}");
    }
    graph.delete("blk_1");
    write(&*store, "blk_1", Write::Content(content("one")), noon());
    write(&*store, "blk_2", Write::Content(content("two")), noon());
    let gone = Place::of(BlockId::new("gone"));
    let gone = HandedOut { place: gone, ..hand_out(&*store, &["blk_1"]).remove(0) };
    let mut handed_out = hand_out(&*store, &["blk_2", "blk_1"]);
    handed_out.push(gone);
    // Where it lies, and what another service notes on it, is no change of it.
    graph.edit("blk_1", json!({"source_file": "/vault/moved.md", "vault_version": 7}));
    let mut expected = graph.node("blk_1").unwrap();
    assert_eq!(clear(&handed_out), [BlockId::new("gone")]);
    expected.remove("needs_reprocessing");
    assert_eq!(graph.node("blk_1"), Some(expected), "nothing but the mark is touched");
    assert!(!marked("blk_2") && graph.node("gone").is_none());
    assert_eq!(clear(&handed_out), [BlockId::new("gone")], "again, after a lost answer");
    assert_eq!(store.count_marks(&Which::default()).unwrap().count, 0);
    assert_eq!(clear(&[]), []);

    let update = Content { version: 2, ..content("new") };
    write(&*store, "blk_2", Write::Content(update), noon());
    assert!(marked("blk_2"), "a change after it marks the block again");

    graph.edit("stub", json!({"needs_reprocessing": true}));
    assert_eq!(clear(&hand_out(&*store, &["stub"])), []);
    assert!(!marked("stub"));
}

fn a_consumer_has_its_own_cursor_and_leaves_the_mark(graph: &dyn Graph) {
    let store = graph.open();
    for (id, minutes) in [("blk_1", 1), ("blk_2", 2), ("blk_3", 3)] {
        let mark = id != "blk_3";
        let at = noon() + TimeDelta::minutes(minutes);
        write(&*store, id, Write::Content(Content { mark, ..content(id) }), at);
    }
    let of = |name: &str| Which { consumer: Some(name.to_owned()), ..Which::default() };
    let left = |name| waiting(&*store, &of(name), 10);
    assert_eq!(left("index"), ["blk_1", "blk_2", "blk_3"], "marked or not");
    let handed_out = hand_out(&*store, &["blk_1", "blk_3"]);
    assert_eq!(store.clear_marks(&handed_out, Some("index")).unwrap(), []);
    assert_eq!(store.clear_marks(&handed_out, Some("index")).unwrap(), []);
    assert_eq!(left("index"), ["blk_2"]);
    assert_eq!(store.count_marks(&of("index")).unwrap().count, 1);
    assert_eq!(left("other"), ["blk_1", "blk_2", "blk_3"]);
    assert_eq!(waiting(&*store, &Which::default(), 10), ["blk_1", "blk_2"], "no mark was touched");

    let update = Content { version: 2, ..content("new") };
    let later = noon() + TimeDelta::hours(1);
    write(&*store, "blk_1", Write::Content(update), later);
    assert_eq!(left("index"), ["blk_2", "blk_1"], "a new version is new to it");
    assert_eq!(
        store.clear_marks(&handed_out[..1], Some("index")).unwrap(),
        [BlockId::new("blk_1")]
    );
    assert_eq!(left("index"), ["blk_2", "blk_1"]);

    write(&*store, "blk_3", Write::Archive, later);
    let (archived_from, archived_before) = (noon(), later + TimeDelta::hours(1));
    let (detach, dry_run) = (false, false);
    let purge = Purge { archived_from, archived_before, detach, dry_run };
    assert_eq!(store.purge(&purge).unwrap().deleted, [BlockId::new("blk_3")]);
    write(&*store, "blk_3", Write::Content(content("again")), later);
    assert_eq!(left("index"), ["blk_2", "blk_1", "blk_3"], "deleted, made anew: never done");
}

/// One changes blocks, two take them and say that they are done: what changed after it was taken is still marked.
fn no_change_is_lost_to_a_mark_that_goes_at_the_same_time(graph: &dyn Graph) {
    const BLOCKS: usize = 8;
    const CHANGES: i64 = 12;
    let ids: Vec<String> = (0..BLOCKS).map(|i| format!("blk_{i}")).collect();
    let store = graph.open();
    for id in &ids {
        write(&*store, id, Write::Content(content(id)), noon());
    }
    let done: std::sync::Mutex<BTreeMap<BlockId, i64>> = Default::default();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let stores = [graph.open(), graph.open()];
    std::thread::scope(|scope| {
        for store in &stores {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let mut taken = Vec::new();
                    let mut take = |mark: Mark| taken.push(Place { id: mark.id, row: mark.row });
                    store.marks(&Which::default(), 5, &mut take).unwrap();
                    let blocks = store.whole(&taken).unwrap();
                    let row = |id: &BlockId| taken.iter().find(|place| place.id == *id)?.row;
                    let hand_out = |block: &WholeBlock| {
                        let (hash, body_hash) = (block.hash.as_deref(), block.body_hash.as_deref());
                        HandedOut {
                            place: Place { id: block.id.clone(), row: row(&block.id) },
                            state: State::of(block.version, hash, body_hash),
                        }
                    };
                    let handed_out: Vec<HandedOut> = blocks.iter().map(hand_out).collect();
                    let stale = store.clear_marks(&handed_out, None).unwrap();
                    let mut done = done.lock().unwrap();
                    for block in blocks.iter().filter(|block| !stale.contains(&block.id)) {
                        let version = done.entry(block.id.clone()).or_default();
                        *version = block.version.max(*version);
                    }
                }
            });
        }
        for round in 1..=CHANGES {
            for id in &ids {
                let read = find(&*store, id);
                let version = read.as_ref().unwrap().version + 1;
                let text = format!("{id} {round}");
                let update = Content { version, ..content(&text) };
                let change = change(id, read, Write::Content(update));
                // A mark that goes is no change that a sync would have to look at again.
                assert_eq!(store.apply(&[change], noon()).unwrap(), Applied::default());
            }
        }
        is_over.store(true, Ordering::Release);
    });
    let done = done.into_inner().unwrap();
    for id in &ids {
        let node = graph.node(id).unwrap();
        assert_eq!(node["version"], json!(CHANGES + 1));
        let is_marked = node.contains_key("needs_reprocessing");
        let last_done = done.get(&BlockId::new(id)).copied().unwrap_or(0);
        assert!(is_marked || last_done == CHANGES + 1, "{id}: done {last_done}, and no mark");
    }
}

fn a_block_shows_all_its_properties(graph: &dyn Graph) {
    let store = graph.open();
    assert_eq!(store.properties(&BlockId::new("blk_1")).unwrap(), None);
    write(&*store, "blk_1", Write::Content(content("one")), noon());
    let shown = store.properties(&BlockId::new("blk_1")).unwrap().unwrap();
    let at = shown["last_updated"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!(at, noon());
    let shown = present(shown.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let mut expected = graph.node("blk_1").unwrap();
    expected.insert("last_updated".to_owned(), shown["last_updated"].clone());
    assert_eq!(shown, expected);
}

macro_rules! conformance {
    ($($case:ident)*) => {
        mod memory {
            $(#[test] fn $case() { super::$case(&super::Memory(Default::default())) })*
        }
        mod sqlite {
            $(#[test] fn $case() { super::$case(&super::Sqlite(tempfile::tempdir().unwrap())) })*
        }
        #[cfg(feature = "neo4j")]
        mod neo4j {
            $(#[test] fn $case() {
                if let Some(graph) = super::Neo4j::start() {
                    super::$case(&graph)
                }
            })*
        }
    };
}

conformance! {
    texts_are_whole_or_what_the_original_kept
    a_new_block_has_all_its_properties
    a_stub_is_filled
    an_update_moves_the_time_and_facts_do_not
    a_mark_is_set_and_never_taken_away
    a_conflict_flags_and_writes_nothing_else
    an_archived_block_comes_back
    a_batch_sent_again_changes_nothing
    a_change_of_any_compared_property_makes_a_change_stale
    a_node_that_is_gone_is_not_brought_back
    one_stale_row_leaves_the_others_written
    writers_at_once_lose_nothing
    a_long_text_is_cut_and_its_body_is_whole
    odd_characters_are_kept
    a_row_that_cannot_be_stored_leaves_the_others_written
    every_block_is_visited_once
    only_what_was_archived_long_enough_is_purged
    tokens_stay_under_their_scope
    what_was_written_is_there_for_the_next_run
    a_healthy_store_checks_out
    marked_blocks_come_oldest_first_and_only_those_asked_for
    whole_blocks_come_in_the_order_asked_for
    a_mark_goes_only_from_what_was_handed_out
    a_consumer_has_its_own_cursor_and_leaves_the_mark
    no_change_is_lost_to_a_mark_that_goes_at_the_same_time
    a_block_shows_all_its_properties
}
