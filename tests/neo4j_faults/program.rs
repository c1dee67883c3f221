//! The program as a whole beside a server: what a person sees and what its exit code says.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use aclarai_scheduler::inside::vault::Sample;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use super::*;
use crate::fake::{Closed, FakeServer, Greeting, Reply};
use crate::real::server;
use crate::scripted::{CREATE, creating};

/// A vault, a state folder and the program between them and a server.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    graph: Neo4jConfig,
    /// Jobs of its own, as YAML.
    pub(crate) scheduler: String,
}

pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl Place {
    pub(crate) fn new(graph: Neo4jConfig) -> Place {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("vault")).unwrap();
        Place { dir, graph, scheduler: String::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path("vault").join(name), text).unwrap();
    }

    /// Starts the program; user and password come from the environment alone.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let config = format!(
            "databases: {{neo4j: {{uri: {:?}}}}}\nprocessing: {{retries: {{max_attempts: 2, max_wait_time: 0}}}}\n{}",
            self.graph.uri, self.scheduler
        );
        fs::write(self.path("config.yaml"), config).unwrap();
        Command::new(env!("CARGO_BIN_EXE_aclarai-scheduler"))
            .env_clear()
            .env("NEO4J_USER", &self.graph.user)
            .env("NEO4J_PASSWORD", self.graph.password.as_deref().unwrap_or_default())
            .current_dir(self.dir.path())
            .args(["--config", "config.yaml", "--vault", "vault", "--state-dir", "state"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(self.path("stdout")).unwrap())
            .stderr(File::create(self.path("stderr")).unwrap())
            .spawn()
            .unwrap()
    }

    #[track_caller]
    pub(crate) fn end(&self, mut child: Child) -> Ran {
        let code = wait_for_end(&mut child);
        let read = |name| fs::read_to_string(self.path(name)).unwrap();
        let ran = Ran { code: code.code(), stdout: read("stdout"), stderr: read("stderr") };
        let password = self.graph.password.as_deref().unwrap_or_default();
        assert!(!ran.stderr.contains(password) && !ran.stdout.contains(password), "{}", ran.stderr);
        ran
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.end(self.start(arguments))
    }

    pub(crate) fn sync(&self) -> Ran {
        self.run(&["run", "vault_sync", "--json"])
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_signal_ends_a_run_though_the_server_hangs() {
    for told in [Signal::TERM, Signal::INT] {
        let server = creating(|_| Reply::Silence);
        let place = Place::new(config(format!("bolt://{}", server.address())));
        place.write(
            "a.md",
            "Text. <!-- aclarai:id=blk_a ver=1 -->\n\nThe end of it, at some length.\n",
        );
        let child = place.start(&["run", "vault_sync", "--json"]);
        wait_until("the block to be sent", || server.count(CREATE) > 0);
        signal(&child, told);
        let ran = place.end(child).expect(130);
        assert_eq!(ran.json()["success"], false);
    }
}

#[test]
fn a_refused_password_and_a_server_that_is_not_there_name_their_settings() {
    let refusing = FakeServer::greeting(Greeting::WrongPassword, |_| Reply::Rows(Vec::new()));
    let place = Place::new(config(format!("bolt://{}", refusing.address())));
    let ran = place.sync().expect(4);
    assert!(ran.stderr.contains("check NEO4J_USER and NEO4J_PASSWORD"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("trying again"), "{}", ran.stderr);
    let checked = place.run(&["check"]).expect(4);
    assert!(checked.stdout.contains("graph.authenticated"), "{}", checked.stdout);

    let closed = Closed::new();
    let place = Place::new(config(format!("bolt://{}", closed.address())));
    let ran = place.sync().expect(4);
    assert!(ran.stderr.contains("databases.neo4j.uri, or NEO4J_HOST"), "{}", ran.stderr);
    let checked = place.run(&["check"]).expect(4);
    assert!(checked.stdout.contains("graph.reachable"), "{}", checked.stdout);
}

#[test]
fn killed_in_the_middle_the_program_loses_and_doubles_nothing() {
    let Some((server, _turn)) = server() else { return };
    let place = Place::new(server.config.clone());
    let sample =
        Sample { files: 400, blocks_per_file: 30, bytes_per_file: 9_000, is_flat: false, seed: 3 };
    let all = sample.write(&place.path("vault")).unwrap().blocks as i64;
    let blocks = "MATCH (b:Block) RETURN count(b) AS n";
    let mut seen = 0;
    for _ in 0..3 {
        let mut child = place.start(&["run", "vault_sync"]);
        // Some of it is written, and more is on its way.
        wait_until("more blocks", || {
            server.number(blocks) > seen || child.try_wait().unwrap().is_some()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        seen = server.number(blocks);
    }
    let ran = place.sync().expect(0).json();
    assert_eq!(server.number(blocks), all);
    assert_eq!(
        ran["blocks_new"].as_i64().unwrap() + ran["blocks_unchanged"].as_i64().unwrap(),
        all
    );
    let odd = "MATCH (b:Block) WHERE b.version <> b.vault_version OR b.hash IS NULL OR b._LOCK_ IS NOT NULL \
               OR NOT b.needs_reprocessing RETURN count(b) AS n";
    assert_eq!(server.number(odd), 0);
    assert_eq!(place.sync().expect(0).json()["items_updated"], 0);
}

#[test]
fn another_graph_behind_the_same_address_is_filled_anew() {
    let Some((server, _turn)) = server() else { return };
    let place = Place::new(server.config.clone());
    place.write("a.md", "One. <!-- aclarai:id=blk_a ver=1 -->\n\nTwo. <!-- aclarai:id=blk_b ver=4 -->\n\nThe end.\n");
    assert_eq!(place.sync().expect(0).json()["blocks_new"], 2);
    assert_eq!(place.sync().expect(0).json()["blocks_unchanged"], 2);

    // As when the database was dropped: neither nodes nor constraint are left.
    server.run("MATCH (n) DETACH DELETE n");
    server.run("DROP CONSTRAINT block_id_unique");
    let ran = place.sync().expect(0);
    assert_eq!(ran.json()["blocks_new"], 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("another database, or a restored backup"), "{}", ran.stderr);
    assert_eq!(place.sync().expect(0).json()["items_updated"], 0);

    // A backup from before an edit.
    server.run("MATCH (b:Block {id: 'blk_a'}) CREATE (k:Kept) SET k = properties(b)");
    server.run("MATCH (t:AclaraiSchedulerToken) CREATE (k:KeptToken) SET k = properties(t)");
    place.write("a.md", "One, edited. <!-- aclarai:id=blk_a ver=1 -->\n\nTwo. <!-- aclarai:id=blk_b ver=4 -->\n\nThe end.\n");
    assert_eq!(place.sync().expect(0).json()["blocks_updated"], 1);
    server.run("MATCH (k:Kept) MATCH (b:Block {id: k.id}) SET b = properties(k) DELETE k");
    server
        .run("MATCH (k:KeptToken) MATCH (t:AclaraiSchedulerToken) SET t = properties(k) DELETE k");
    let ran = place.sync().expect(0);
    assert_eq!(ran.json()["blocks_updated"], 1, "{}", ran.stdout);
    assert!(ran.stderr.contains("a restored backup"), "{}", ran.stderr);
}

#[test]
fn a_block_that_the_server_refuses_is_named_with_its_file() {
    let Some((server, _turn)) = server() else { return };
    server.run("CREATE INDEX too_small IF NOT EXISTS FOR (b:Block) ON (b.body)");
    server.run("CALL db.awaitIndexes(60)");
    let place = Place::new(server.config.clone());
    place.write(
        "fine.md",
        "Fine. <!-- aclarai:id=blk_fine ver=1 -->\n\nThe end of it, at length.\n",
    );
    let long = "word ".repeat(4_000);
    place.write(
        "long.md",
        &format!("{long}<!-- aclarai:id=blk_long ver=1 -->\n\nThe end of it, at length.\n"),
    );
    let ran = place.sync();
    server.run("DROP INDEX too_small");
    let ran = ran.expect(3);
    let faults = &ran.stderr;
    assert!(faults.contains("long.md:1: blk_long: the graph cannot take this block"), "{faults}");
    assert_eq!(ran.json()["errors"], 1);
    assert_eq!(server.number("MATCH (b:Block {id: 'blk_fine'}) RETURN count(b) AS n"), 1);
    // Once nothing is in the way, the block comes too.
    let ran = place.sync().expect(0).json();
    assert_eq!((&ran["blocks_new"], &ran["errors"]), (&Json::from(1), &Json::from(0)));
    let cut = "MATCH (b:Block {id: 'blk_long'}) RETURN size(b.text) * 100000 + size(b.body) AS n";
    assert_eq!(server.number(cut), 8_000 * 100_000 + long.trim().len() as i64);
}

#[test]
fn archived_blocks_are_purged_unless_others_point_at_them() {
    let Some((server, _turn)) = server() else { return };
    let place = Place::new(server.config.clone());
    server.run(
        "UNWIND ['a', 'b'] AS i CREATE (:Block {id: 'blk_' + i, hash: 'h', version: 1, archived: true, \
         archived_at: datetime() - duration('P40D')})",
    );
    server.run("MATCH (b:Block {id: 'blk_b'}) CREATE (:Claim)-[:ORIGINATES_FROM]->(b)");
    let left = "MATCH (b:Block) RETURN count(b) AS n";
    let purge =
        |more: &[&str]| place.run(&[&["purge", "--older-than", "30d"], more].concat()).expect(0);
    assert!(purge(&["--dry-run"]).stdout.contains("would delete 1 archived block"));
    assert_eq!(server.number(left), 2);
    let said = purge(&[]).stdout;
    assert!(said.contains("deleted 1 archived block") && said.contains("kept 1"), "{said}");
    assert_eq!(server.number(left), 1);
    assert!(purge(&["--detach"]).stdout.contains("deleted 1 archived block"));
    assert_eq!(server.number(left), 0);
    assert_eq!(server.number("MATCH (c:Claim) RETURN count(c) AS n"), 1, "the claim itself stays");
}
