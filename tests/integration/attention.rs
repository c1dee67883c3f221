//! `attention`: what waits for a person, and the exit codes that say so.

use std::fs;

use crate::sandbox::Sandbox;

fn block(text: &str, id: &str, version: u32) -> String {
    format!("{text} <!-- aclarai:id={id} ver={version} -->\n\nClosing words, long enough.\n")
}

fn kinds(sandbox: &Sandbox, code: i32) -> Vec<String> {
    let shown = sandbox.run(&["attention", "--json"]);
    assert_eq!(shown.code, Some(code), "{shown:?}");
    let rows: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let rows = rows.as_array().unwrap();
    assert!(rows.iter().all(|row| !row["remedy"].as_str().unwrap().is_empty()), "{rows:?}");
    rows.iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_refused_edit_waits_for_a_person_in_every_run_until_it_is_settled() {
    let sandbox = Sandbox::new("");
    let sync = |code| sandbox.run(&["run", "vault_sync", "--json"]).json(code);
    sandbox.run(&["attention"]).is(0, "nothing waits for a person\n", "");
    assert!(!sandbox.path("state/state.db").exists(), "a command that looks creates nothing");
    sandbox.write("vault/a.md", &block("The plan.", "blk_a", 3));
    sync(0);
    sandbox.write("vault/a.md", &block("An old plan.", "blk_a", 2));
    for _ in 0..3 {
        let report = sync(3);
        assert_eq!((&report["conflicts"], &report["needs_attention"]), (&1.into(), &true.into()));
        assert_eq!(kinds(&sandbox, 3), ["conflict"]);
    }
    sandbox.write("vault/a.md", &block("The plan.", "blk_a", 3));
    sync(0);
    assert_eq!(kinds(&sandbox, 0), [""; 0]);
}

#[test]
fn everything_that_waits_is_in_one_list() {
    let sandbox = Sandbox::new("");
    for (name, id) in [("a", "blk_a"), ("b", "blk_b"), ("c", "blk_c")] {
        sandbox.write(&format!("vault/{name}.md"), &block("Text.", id, 1));
    }
    let sync = |code| sandbox.run(&["run", "vault_sync", "--json"]).json(code);
    sync(0);
    sandbox.write("vault/z.md", &block("Another text.", "blk_a", 1));
    fs::write(sandbox.path("vault/latin.md"), b"caf\xe9\n").unwrap();
    fs::remove_file(sandbox.path("vault/c.md")).unwrap();
    sync(3);
    let mut kinds_now = kinds(&sandbox, 3);
    kinds_now.sort();
    assert_eq!(kinds_now, ["duplicate", "missing", "note"]);
    let shown = sandbox.run(&["attention"]);
    assert!(
        shown.stdout.contains("note: latin.md: not UTF-8 at byte 3\n    save it as UTF-8\n"),
        "{shown:?}"
    );
    assert_eq!(shown.stderr, "error: 3 things wait for a person\n");
    sandbox.configure("scheduler: {jobs: {vault_sync: {cron: '61 * * * *'}}}\n");
    assert_eq!(kinds(&sandbox, 3)[0], "configuration");
}
