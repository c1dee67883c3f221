//! The daemon and a program that it feeds are killed at random moments, between edits of a note: a block whose mark is
//! gone was worked on in just that version.
//!
//! `cargo test` kills each of them some times. 100 times: `ACLARAI_KILLS=100 cargo test --test integration killed`.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;

use crate::feed::{dirty, note, sync, work};
use crate::random::kills;
use crate::sandbox::Sandbox;
use crate::wait::{processes_with, signal, wait_until};

const BLOCKS: usize = 150;

/// Works on each block and then says that it is done: what it wrote down before is what it did.
const PROGRAM: &str = r#"while read -r line; do
    id=${line#*'"id":"'} version=${line#*'"version":'}
    id=${id%%'"'*} version=${version%%,*}
    echo "$id $version" >> worked
    echo "{\"done\": \"$id\"}"
done"#;

const NOTE: &str = "vault/conversations/a.md";

/// Each block is there, and is marked or was worked on as it is now. Answers with how many are marked.
#[track_caller]
fn check(sandbox: &Sandbox) -> usize {
    let graph = rusqlite::Connection::open(sandbox.path("state/graph.db")).unwrap();
    let mut rows = graph.prepare("SELECT id, version, needs_reprocessing FROM blocks").unwrap();
    let rows = rows.query_map([], |row| {
        Ok((format!("{} {}", row.get::<_, String>(0)?, row.get::<_, i64>(1)?), row.get(2)?))
    });
    let blocks: Vec<(String, bool)> = rows.unwrap().map(Result::unwrap).collect();
    assert_eq!(blocks.len(), BLOCKS);
    // Read after the graph: it grows before a mark goes.
    let worked = fs::read_to_string(sandbox.path("worked")).unwrap_or_default();
    let worked: BTreeSet<&str> = worked.lines().collect();
    for (block, _) in blocks.iter().filter(|(_, is_marked)| !is_marked) {
        assert!(worked.contains(&**block), "nobody worked on {block}, and its mark is gone");
    }
    blocks.iter().filter(|(_, is_marked)| *is_marked).count()
}

#[test]
fn a_daemon_or_program_that_is_killed_while_it_is_fed_loses_no_block() {
    let (kills, mut random) = kills("loses_no_block", 8, 17);
    let command = serde_json::to_string(&["sh", "-c", PROGRAM]).unwrap();
    // The sync is run by hand: it has to see the edit before the daemon that is killed does.
    let yaml = format!(
        "scheduler:\n  jobs:\n    vault_sync: {{enabled: false}}\n    work: {{enabled: true, cron: \"@reboot\", feed: {{limit: 10}}, command: {command}}}\n"
    );
    let sandbox = Sandbox::new(&yaml);
    let vault = format!("VAULT_PATH={}", sandbox.path("vault").display());
    let program = || {
        let mut found = processes_with(&vault);
        found.retain(|(_, name)| name == "sh");
        found.first().map(|(pid, _)| *pid)
    };
    let worked = || fs::read_to_string(sandbox.path("worked")).unwrap_or_default().lines().count();
    let mut met = 0;
    for kill in 0..kills {
        sandbox.write(NOTE, &note(BLOCKS, &format!("Edit {kill} of block")));
        sync(&sandbox);
        let before = check(&sandbox);
        let moment = worked() + random.below(BLOCKS as u64) as usize;
        let daemon = sandbox.serve();
        wait_until("some blocks to be worked on", || worked() > moment);
        if random.below(2) == 0 {
            // Between two rounds there is none.
            wait_until("a program, or the end", || match program() {
                Some(pid) => {
                    signal(pid, Signal::KILL);
                    true
                }
                None => check(&sandbox) == 0,
            });
            wait_until("the end of the run", || program().is_none());
            daemon.stop();
        } else {
            daemon.kill();
        }
        wait_until("the end of all that it has started", || processes_with(&vault).is_empty());
        let left = check(&sandbox);
        met += u64::from(0 < left && left < before);
    }
    let (run, _) = work(&sandbox);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!((check(&sandbox), dirty(&sandbox).len()), (0, 0));
    crate::docs::say(&format!("{kills} kills, {met} of them when some blocks were done"));
}
