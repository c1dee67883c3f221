//! Marked blocks under the daemon: an edit that flows through a sync to a program, two feeds at once, and what a feed of very
//! many blocks takes of memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use aclarai_scheduler::inside::block::{BlockId, ContentHash, Tier};
use aclarai_scheduler::inside::clock::SystemClock;
use aclarai_scheduler::inside::config::{GraphConfig, RetryPolicy};
use aclarai_scheduler::inside::graph::{self, Change, Content, Write};
use aclarai_scheduler::inside::stop::Stop;
use serde_json::Value;

use crate::feed::{dirty, figures, job, note, sync, work};
use crate::sandbox::Sandbox;
use crate::wait::{peak_until_end, wait_for, wait_until};

/// Jobs that follow the sync, which is due at each start; what each program does is a line of the shell.
fn following(jobs: &[(&str, &str, &str)]) -> String {
    let mut yaml =
        String::from("scheduler:\n  jobs:\n    vault_sync: {enabled: true, cron: \"@reboot\"}\n");
    for (name, feed, script) in jobs {
        let command = serde_json::to_string(&["sh", "-c", script]).unwrap();
        yaml += &format!(
            "    {name}: {{enabled: true, after: vault_sync, feed: {feed}, command: {command}}}\n"
        );
    }
    yaml
}

/// The ids in a file of lines as programs read them, in order.
fn ids_in(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let id = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
    };
    text.lines().map(id).collect()
}

#[test]
fn an_edit_flows_through_a_sync_to_the_program_and_its_mark_goes() {
    let sandbox = Sandbox::new(&following(&[("work", "{}", "cat >> lines")]));
    let lines = sandbox.path("lines");
    let first = note(3, "Block");
    sandbox.write("vault/conversations/a.md", &first);
    let daemon = sandbox.serve();
    wait_until("all blocks to reach the program", || ids_in(&lines).len() >= 3);
    wait_until("all marks to go", || dirty(&sandbox).is_empty());
    daemon.stop();

    sandbox.write("vault/conversations/a.md", &first.replace("number 1", "number one"));
    let daemon = sandbox.serve();
    wait_until("the edited block to reach the program", || ids_in(&lines).len() >= 4);
    let run = wait_for("the run that took it", || {
        let mut rows = sandbox.history(&["work"]);
        rows.retain(|row| row["stats"]["items_processed"] == 1);
        rows.pop()
    });
    assert_eq!(
        (&run["state"], &run["stats"]["blocks_left"]),
        (&"succeeded".into(), &0.into()),
        "{run}"
    );
    assert_eq!(dirty(&sandbox), [""; 0]);
    daemon.stop();
    assert_eq!(ids_in(&lines), ["blk_0", "blk_1", "blk_2", "blk_1"]);
    assert!(fs::read_to_string(&lines).unwrap().contains("Block number one"));
}

/// The guide's own job in Rust, in its own program, under its daemon.
#[test]
fn a_job_in_rust_is_fed_by_the_daemon() {
    let Some(built) = crate::docs::built_example("feed_job") else { return };
    let guide = crate::docs::blocks_of("docs/custom-jobs.md", "yaml");
    let yaml = guide.iter().find(|block| block.contains("journal:")).unwrap();
    let sync = "    vault_sync: {enabled: true, cron: \"@reboot\"}\n";
    let sandbox = Sandbox::new(&yaml.replace("  jobs:\n", &format!("  jobs:\n{sync}")));
    sandbox.write("vault/conversations/a.md", &note(2, "Block"));
    sandbox.write(
        "vault/summaries/b.md",
        "A claim <!-- aclarai:id=clm_1 ver=1 -->\n\nThe end, of no block.\n",
    );
    let daemon = sandbox.start_shell(&format!("exec {} serve", built.display()));
    daemon.wait_for_line("started");
    let row = wait_for("the run of the job", || {
        let mut rows = sandbox.history(&["journal"]);
        rows.retain(|row| row["state"] == "succeeded");
        rows.pop()
    });
    assert_eq!(figures(&row["stats"]), [2, 0, 0, 0], "{row}");
    daemon.stop();
    let lines = fs::read_to_string(sandbox.path("journal.txt")).unwrap();
    assert_eq!(lines, "blk_0 1: Block number 0\nblk_1 1: Block number 1\n");
    assert_eq!(dirty(&sandbox), ["clm_1"], "what the feed does not name is left");
}

/// Two jobs that hold the same blocks at the same time, as each waits for the other before it reads.
#[test]
fn two_feeds_at_once_do_all_blocks_and_lose_none() {
    for feed in ["{}", "{consumer: search}"] {
        let meet = |own: &str, other: &str| {
            format!(
                "touch {own}; while [ ! -e {other} ]; do sleep 0.05; done; cat >> lines_{own}; echo '{{\"n\": 1}}'"
            )
        };
        let (one, two) = (meet("one", "two"), meet("two", "one"));
        let yaml = following(&[("one", feed, &one), ("two", feed, &two)]);
        let sandbox = Sandbox::new(&yaml);
        sandbox.write("vault/conversations/a.md", &note(5, "Block"));
        let daemon = sandbox.serve();
        let ended = |name: &str| {
            let rows = sandbox.history(&[name]);
            rows.into_iter().find(|row| row["stats"]["items_processed"] == 5)
        };
        for name in ["one", "two"] {
            let row = wait_for("a run that did all blocks", || ended(name));
            assert_eq!(row["state"], "succeeded", "{row}");
            assert_eq!(figures(&row["stats"]), [5, 0, 0, 0], "{row}");
            let given: BTreeSet<String> =
                ids_in(&sandbox.path(&format!("lines_{name}"))).into_iter().collect();
            assert_eq!(given.len(), 5, "{name}: {given:?}");
        }
        daemon.stop();
        let left = if feed == "{}" { 0 } else { 5 };
        assert_eq!(dirty(&sandbox).len(), left, "a consumer leaves the marks alone");
        sandbox.configure(&job(feed, "cat > lines"));
        assert_eq!(figures(&work(&sandbox).1), [0, 0, 0, 0], "both together left nothing");
    }
}

/// So many marked blocks, with a usual id and some text, straight into the graph.
fn fill(sandbox: &Sandbox, blocks: usize) {
    sync(sandbox);
    let path = sandbox.path("state/graph.db");
    let retries = RetryPolicy::default();
    let config = GraphConfig::Embedded { path };
    let store = graph::open(&config, retries, Stop::new(), Arc::new(SystemClock)).unwrap();
    let text = "a sentence of some words ".repeat(8);
    let all: Vec<usize> = (0..blocks).collect();
    for part in all.chunks(4_000) {
        let create = |i: &usize| Change {
            id: BlockId::new(format!("blk_{i:012}")),
            expected: None,
            write: Write::Content(Content {
                text: text.clone(),
                hash: ContentHash([7; 32]),
                body: text.clone(),
                body_hash: ContentHash([9; 32]),
                version: 1,
                vault_version: 1,
                tier: Tier::One,
                source_file: "/vault/conversations/a.md".to_owned(),
                mark: true,
            }),
        };
        let changes: Vec<Change> = part.iter().map(create).collect();
        store.apply(&changes, "2026-08-24T12:00:00Z".parse().unwrap()).unwrap();
    }
    store.flush().unwrap();
}

/// The most memory that a run of the job took, and its result.
fn peak_of_run(sandbox: &Sandbox) -> (u64, Value) {
    let mut command = sandbox.command(&["run", "work", "--json", "--log-level", "ERROR"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let peak = peak_until_end(&mut child);
    let result = serde_json::from_reader(child.stdout.take().unwrap()).unwrap();
    (peak, result)
}

#[test]
fn a_feed_of_100_000_blocks_takes_little_more_memory_than_one_of_a_single_block() {
    const BLOCKS: u64 = 100_000;
    for feed in ["{limit: 100000}", "{limit: 100000, consumer: search}"] {
        let sandbox = Sandbox::new(&job(feed, "cat > /dev/null"));
        fill(&sandbox, 1);
        let (of_one, result) = peak_of_run(&sandbox);
        assert_eq!(figures(&result), [1, 0, 0, 0]);
        let sandbox = Sandbox::new(&job(feed, "cat > /dev/null"));
        fill(&sandbox, BLOCKS as usize);
        let (of_all, result) = peak_of_run(&sandbox);
        assert_eq!(
            figures(&result),
            [BLOCKS, 0, 0, 0],
            "all of them in one round, done at its end"
        );
        let grown = of_all.saturating_sub(of_one);
        crate::docs::say(&format!("{feed}: {} kB more", grown >> 10));
        assert!(grown < 16 << 20, "{of_one} bytes with one block, {of_all} with {BLOCKS}");
    }
}
