//! `bench`: what it measures, and that it leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sandbox::Sandbox;

const PHASES: [&str; 6] = ["walk", "read", "hash", "parse", "store", "stat_cache"];
const PHASES_OF_A_SYNC: [&str; 7] = ["walk", "compare", "read", "parse", "decide", "write", "wait"];

/// Every phase, by name, after checking that it took some time.
#[track_caller]
fn phases(report: &Value) -> BTreeMap<&str, &Value> {
    let phases = report["phases"].as_object().unwrap();
    assert_eq!(phases.keys().collect::<Vec<_>>(), PHASES);
    for phase in phases.values() {
        assert!(phase["seconds"].as_f64().unwrap() > 0.0, "{phase}");
        assert!(phase["files_per_second"].as_f64().unwrap() > 0.0, "{phase}");
    }
    phases.iter().map(|(name, phase)| (name.as_str(), phase)).collect()
}

#[test]
fn a_made_up_vault_is_measured_and_removed() {
    let mut sandbox = Sandbox::new("");
    fs::create_dir(sandbox.path("tmp")).unwrap();
    let scratch = sandbox.path("tmp");
    sandbox.variable("TMPDIR", scratch.to_str().unwrap());
    let report = sandbox.run(&["bench", "--files", "60", "--threads", "2", "--json"]).json(0);
    assert_eq!(report["vault"], Value::Null);
    assert_eq!(report["threads"], 2);
    assert!(report["peak_memory_bytes"].as_u64().unwrap() > 1_000_000, "{report}");
    assert!(["disk", "CPU", "store"].contains(&report["bound"].as_str().unwrap()), "{report}");
    let phases = phases(&report);
    assert!(phases.values().all(|phase| phase["files"] == 60), "{report}");
    let blocks = &phases["parse"]["blocks"];
    assert!(blocks.as_u64().unwrap() > 60, "{report}");
    // The first sync stores all blocks, and the second one reads nothing.
    assert_eq!(&phases["store"]["blocks"], blocks);
    assert_eq!(phases["store"]["bytes"], phases["read"]["bytes"]);
    assert_eq!(&phases["stat_cache"]["blocks"], blocks);
    assert_eq!(phases["stat_cache"]["bytes"], 0);
    for (sync, reads) in [("store", true), ("stat_cache", false)] {
        let own = phases[sync]["phases"].as_object().unwrap();
        assert_eq!(own.keys().collect::<Vec<_>>(), PHASES_OF_A_SYNC);
        for phase in ["read", "parse"] {
            assert_eq!(own[phase].as_f64().unwrap() > 0.0, reads, "{sync}, {phase}: {report}");
        }
    }
    let table = sandbox.run(&["bench", "--files", "60"]).stdout;
    assert!(table.contains("seconds of store, of all threads: walk 0."), "{table}");
    assert_eq!(files_below(&scratch), Vec::<PathBuf>::new());
}

#[test]
fn a_vault_of_the_user_is_only_read() {
    let mut sandbox = Sandbox::new("");
    fs::create_dir(sandbox.path("tmp")).unwrap();
    let scratch = sandbox.path("tmp");
    sandbox.variable("TMPDIR", scratch.to_str().unwrap());
    let note = "A plan. <!-- aclarai:id=blk_a ver=1 -->\n\nThe end of this note is here.\n";
    sandbox.write("vault/conversations/a.md", note);
    let vault = sandbox.path("vault");
    let before = files_below(&vault);
    let report = sandbox.run(&["--vault", vault.to_str().unwrap(), "bench", "--json"]).json(0);
    assert_eq!(report["vault"], "DIR/vault");
    assert_eq!(phases(&report)["parse"]["blocks"], 1);
    assert_eq!(files_below(&vault), before);
    assert_eq!(fs::read_to_string(sandbox.path("vault/conversations/a.md")).unwrap(), note);
    assert!(!sandbox.path("state").exists(), "a measurement has no state");
    assert_eq!(files_below(&scratch), Vec::<PathBuf>::new());
    let both = ["--vault", vault.to_str().unwrap(), "bench", "--files", "9"];
    sandbox.run(&both).is(
        2,
        "",
        "error: --files makes up a vault: leave out either it or --vault\n",
    );
}

#[test]
fn a_sync_tells_where_its_time_went_and_a_log_and_the_history_stay_short() {
    let sandbox = Sandbox::new("");
    let note = "A plan. <!-- aclarai:id=blk_a ver=1 -->\n";
    sandbox.write("vault/conversations/a.md", note);
    let sync = |options: &[&str]| {
        let run = sandbox.run(&[&["run", "vault_sync", "--json"], options].concat());
        assert!(!run.stderr.contains("_seconds"), "{}", run.stderr);
        let report = run.json(0);
        PHASES_OF_A_SYNC.map(|phase| report[format!("{phase}_seconds")].as_f64().unwrap())
    };
    let [walk, compare, read, parse, decide, write, _] = sync(&[]);
    for seconds in [walk, compare, read, parse, decide, write] {
        assert!(seconds > 0.0, "{seconds}");
    }
    let [_, _, read, ..] = sync(&["--dry-run", "--full"]);
    assert!(read > 0.0);
    let history = sandbox.run(&["history", "--json"]).stdout;
    assert!(!history.contains("_seconds"), "{history}");
}

/// Everything below a folder, sorted.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}
