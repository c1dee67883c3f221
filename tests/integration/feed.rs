//! Marked blocks, from the note to the program that works on them: real programs, real kills, both stores.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::sandbox::{Run, Sandbox};

/// A note with blocks `blk_0`, `blk_1`, ...
pub(crate) fn note(count: usize, word: &str) -> String {
    let mut text = String::from("# Notes\n\n");
    for i in 0..count {
        writeln!(text, "{word} number {i} <!-- aclarai:id=blk_{i} ver=1 -->\n").unwrap();
    }
    // Without it, the last block would be all of the note.
    text + "The end, which belongs to no block.\n"
}

/// A vault with so many blocks, all of them marked, and a job `work` that runs this line of the shell on them.
pub(crate) fn fed(blocks: usize, feed: &str, script: &str) -> Sandbox {
    let sandbox = Sandbox::new(&job(feed, script));
    sandbox.write("vault/conversations/a.md", &note(blocks, "Block"));
    if blocks > 0 {
        sync(&sandbox);
    }
    sandbox
}

pub(crate) fn job(feed: &str, script: &str) -> String {
    let command = serde_json::to_string(&["sh", "-c", script]).unwrap();
    format!("scheduler:\n  jobs:\n    work:\n      command: {command}\n      feed: {feed}\n")
}

pub(crate) fn sync(sandbox: &Sandbox) {
    let run = sandbox.run(&["run", "vault_sync"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

/// Runs the job and answers with its result.
pub(crate) fn work(sandbox: &Sandbox) -> (Run, Value) {
    let run = sandbox.run(&["run", "work", "--json"]);
    let result = serde_json::from_str(&run.stdout).unwrap();
    (run, result)
}

pub(crate) fn dirty(sandbox: &Sandbox) -> Vec<String> {
    let run = sandbox.run(&["dirty", "--json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let id = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
    };
    run.stdout.lines().map(id).collect()
}

pub(crate) fn figures(result: &Value) -> [u64; 4] {
    ["items_processed", "items_failed", "blocks_stale", "blocks_left"]
        .map(|name| result[name].as_u64().unwrap_or_else(|| panic!("no {name}: {result}")))
}

#[track_caller]
fn case(
    blocks: usize,
    feed: &str,
    script: &str,
    code: i32,
    expected: [u64; 4],
) -> (Sandbox, Value) {
    let sandbox = fed(blocks, feed, script);
    let (run, result) = work(&sandbox);
    assert_eq!(run.code, Some(code), "{}\n{}", run.stdout, run.stderr);
    assert_eq!(figures(&result), expected, "{result}");
    (sandbox, result)
}

#[test]
fn a_program_reads_a_line_for_each_block_and_its_success_takes_the_marks_away() {
    let (sandbox, _) =
        case(3, "{}", "echo $ACLARAI_FEED_COUNT > count; cat > lines", 0, [3, 0, 0, 0]);
    assert_eq!(fs::read_to_string(sandbox.path("count")).unwrap(), "3\n");
    let lines = fs::read_to_string(sandbox.path("lines")).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let names: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "id",
            "version",
            "tier",
            "text",
            "body",
            "hash",
            "body_hash",
            "source_file",
            "line",
            "marked_at",
            "archived"
        ]
    );
    assert_eq!((&first["id"], &first["tier"]), (&"blk_0".into(), &1.into()));
    assert_eq!(first["text"], "Block number 0");
    assert_eq!(dirty(&sandbox), [""; 0]);

    fs::remove_file(sandbox.path("lines")).unwrap();
    let (run, result) = work(&sandbox);
    assert_eq!((run.code, figures(&result)), (Some(0), [0, 0, 0, 0]));
    assert!(!sandbox.path("lines").exists(), "without a block the program is not started");

    // Only what changes is handed out again.
    let note = note(3, "Block").replace("number 1", "number one");
    sandbox.write("vault/conversations/a.md", &note);
    sync(&sandbox);
    assert_eq!(dirty(&sandbox), ["blk_1"]);
    assert_eq!(figures(&work(&sandbox).1), [1, 0, 0, 0]);
}

#[test]
fn what_a_program_says_is_done_is_done_and_nothing_else() {
    let script =
        r#"cat >/dev/null; echo '{"done": "blk_2"}'; echo '{"done": ["blk_0"]}'; echo '{"n": 7}'"#;
    let (sandbox, result) = case(4, "{}", script, 0, [2, 0, 0, 2]);
    assert_eq!(result["n"], 7, "the last line of other kinds is still the verdict");
    assert_eq!(dirty(&sandbox), ["blk_1", "blk_3"]);
    // Also where the run fails, or ends by a signal; an empty list says that nothing is.
    case(3, "{}", r#"cat >/dev/null; echo '{"done": "blk_2"}'; exit 3"#, 1, [1, 0, 0, 2]);
    case(3, "{}", r#"cat >/dev/null; echo '{"done": "blk_2"}'; kill -9 $$"#, 1, [1, 0, 0, 2]);
    case(3, "{}", "cat >/dev/null; exit 1", 1, [0, 0, 0, 3]);
    case(3, "{}", r#"cat >/dev/null; echo '{"done": []}'"#, 0, [0, 0, 0, 3]);
    let (_, result) = case(
        3,
        "{}",
        r#"cat >/dev/null; echo '{"failed": "blk_1", "error": "too long"}'"#,
        3,
        [2, 1, 0, 1],
    );
    assert_eq!(result["errors"], 1);
}

#[test]
fn a_program_that_behaves_badly_loses_no_block() {
    // Ids that it was not given, and one that is not there.
    let script = r#"head -n 1 >/dev/null; echo '{"done": ["blk_9", "blk_1", "", "blk_1"]}'"#;
    let sandbox = fed(2, "{ids: [blk_1]}", script);
    let (run, result) = work(&sandbox);
    assert_eq!((run.code, figures(&result)), (Some(0), [1, 0, 0, 0]));
    assert!(run.stderr.contains("blk_9"), "{}", run.stderr);
    // It closes its standard input early, or never reads: what it did not read is not done.
    let (_, result) = case(5, "{}", "exec 0<&-; sleep 0.3", 0, [0, 0, 0, 5]);
    assert_eq!(result["success"], true);
    case(5, "{}", "true", 0, [0, 0, 0, 5]);
    // Half a line, and it dies.
    let half = r#"cat >/dev/null; echo '{"done": "blk_0"}'; printf '{"done": "blk_'"#;
    case(2, "{}", &format!("{half}; kill -9 $$"), 1, [1, 0, 0, 1]);
    case(2, "{}", half, 3, [1, 0, 0, 1]);
    // A line that is meant and cannot be read never makes an exit code of 0 take everything.
    case(
        2,
        "{}",
        "cat >/dev/null; echo \"{'done': 'blk_0'}\"; echo '{\"done\": blk_0}'; echo",
        3,
        [0, 0, 0, 2],
    );
    // It floods.
    let flood = r#"cat >/dev/null; yes '{"done": "blk_0"}' | head -n 200000; yes '{"done": "blk_x"}' | head -n 200000"#;
    let sandbox = fed(2, "{}", flood);
    let (run, result) = work(&sandbox);
    assert_eq!(figures(&result), [1, 0, 0, 1]);
    assert!(run.stderr.len() < 100_000, "what it says of blocks does not go to the log");
}

#[test]
fn a_line_that_names_blocks_in_an_odd_way_never_takes_the_mark_of_others() {
    let say = |line: &str| format!("cat >/dev/null; printf '{line}\\n'");
    // One that is no id spoils the whole line, and what the program meant is not guessed.
    for line in [r#"{"done": ["blk_0", 3]}"#, r#"{"n": 1, "done": {"id": "blk_0"}}"#] {
        let (_, result) = case(3, "{}", &say(line), 3, [0, 0, 0, 3]);
        assert_eq!(result["errors"], 1);
    }
    // As PowerShell and some editors write it; and both words in one line.
    case(3, "{}", &say(r#"\357\273\277{"done": "blk_0"}"#), 0, [1, 0, 0, 2]);
    case(3, "{}", &say(r#"{"done": "blk_0", "failed": ["blk_1"]}"#), 3, [1, 1, 0, 2]);
    case(3, "{}", &say(r#"{"failed": ["blk_1"], "error": "x", "done": []}"#), 3, [0, 1, 0, 3]);
    // Figures of these names are statistics.
    let (_, result) = case(3, "{}", &say(r#"{"done": 3, "failed": 0}"#), 0, [3, 0, 0, 0]);
    assert_eq!((&result["done"], &result["failed"]), (&3.into(), &0.into()));
}

#[test]
fn a_pipe_that_nobody_empties_ends_with_the_program() {
    // More than any pipe holds.
    let sandbox = fed(0, "{}", "read line; exit 0");
    let long = "word ".repeat(2_000);
    let notes: String =
        (0..100).map(|i| format!("{long} {i} <!-- aclarai:id=blk_{i} ver=1 -->\n\n")).collect();
    sandbox.write("vault/conversations/a.md", &notes);
    sync(&sandbox);
    let (run, result) = work(&sandbox);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let [done, failed, stale, left] = figures(&result);
    assert_eq!((failed, stale, done + left), (0, 0, 100));
    assert_eq!(left, 99, "a shell reads no further than its line: {result}");
    assert_eq!(dirty(&sandbox).len() as u64, left);
}

#[test]
fn a_block_that_changes_while_it_is_worked_on_keeps_its_mark() {
    let sandbox = fed(3, "{}", "cat >/dev/null; ./edit");
    let edited = note(3, "Block").replace("number 1", "number one");
    sandbox.write("edited.md", &edited);
    let edit = format!(
        "#!/bin/sh\ncp edited.md vault/conversations/a.md\n{} run vault_sync >/dev/null 2>&1\n",
        crate::sandbox::PROGRAM
    );
    let path = sandbox.write("edit", &edit);
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(path, mode).unwrap();
    let (run, result) = work(&sandbox);
    assert_eq!((run.code, figures(&result)), (Some(0), [2, 0, 1, 1]), "{result}");
    assert_eq!(dirty(&sandbox), ["blk_1"]);
}

#[test]
fn a_backlog_drains_in_one_run_while_there_is_progress() {
    let script = "cat >> lines; echo x >> rounds";
    let (sandbox, _) = case(25, "{limit: 10}", script, 0, [25, 0, 0, 0]);
    assert_eq!(fs::read_to_string(sandbox.path("rounds")).unwrap(), "x\nx\nx\n");
    assert_eq!(fs::read_to_string(sandbox.path("lines")).unwrap().lines().count(), 25);
    // Blocks that fail are handed out once a run, and hold nobody else up.
    let script = r#"echo x >> rounds; while read line; do id=$(echo "$line" | sed 's/.*"id":"\([^"]*\)".*/\1/');
                    case $id in blk_0|blk_1) echo "{\"failed\": \"$id\"}";; *) echo "{\"done\": \"$id\"}";; esac; done"#;
    let (sandbox, _) = case(7, "{limit: 3}", script, 3, [5, 2, 0, 2]);
    assert_eq!(fs::read_to_string(sandbox.path("rounds")).unwrap(), "x\nx\nx\n");
    // No progress: once is enough.
    let script = r#"cat >/dev/null; echo x >> rounds; echo '{"done": []}'"#;
    let (sandbox, _) = case(7, "{limit: 3}", script, 0, [0, 0, 0, 7]);
    assert_eq!(fs::read_to_string(sandbox.path("rounds")).unwrap(), "x\n");
}

#[test]
fn what_was_said_to_be_done_before_the_time_was_up_is_done_and_the_rest_is_counted() {
    // It says so right before its time is up: the marks are not taken away one by one.
    let script = r#"cat >/dev/null; trap 'echo "{\"done\": \"blk_1\"}"; exit 1' TERM
                    echo '{"done": "blk_0"}'; while :; do sleep 0.1; done"#;
    let sandbox = Sandbox::new(&(job("{limit: 4}", script) + "      timeout: 2\n"));
    sandbox.write("vault/conversations/a.md", &note(5, "Block"));
    sync(&sandbox);
    let (run, result) = work(&sandbox);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!((figures(&result), &result["error"]), ([2, 0, 0, 3], &"timeout reached".into()));
    assert_eq!(dirty(&sandbox), ["blk_2", "blk_3", "blk_4"]);
}

#[test]
fn a_feed_hands_out_what_its_settings_name() {
    let sandbox = fed(2, "{tiers: [2], ids: [clm_, sum], limit: 5}", "cat > lines");
    sandbox.write(
        "vault/summaries/b.md",
        "A claim <!-- aclarai:id=clm_1 ver=1 -->\n\nOther <!-- aclarai:id=odd ver=1 -->\n",
    );
    sync(&sandbox);
    let (_, result) = work(&sandbox);
    assert_eq!(figures(&result), [1, 0, 0, 0]);
    assert_eq!(dirty(&sandbox), ["blk_0", "blk_1", "odd"]);
    sandbox.configure(&job(
        "{tirs: [4], limit: 0, ids: clm_, archived: maybe, consumer: a b}",
        "true",
    ));
    let run = sandbox.run(&["check"]);
    for line in [
        "scheduler.jobs.work.feed.tirs: there is no such setting: did you mean tiers?",
        "scheduler.jobs.work.feed.limit: 0: write a whole number from 1 to 100000",
        "scheduler.jobs.work.feed.ids: \"clm_\": write a list of beginnings of ids, such as [clm_]",
        "scheduler.jobs.work.feed.archived: \"maybe\": write true or false",
        "scheduler.jobs.work.feed.consumer: \"a b\": write a name without white space, such as search",
    ] {
        assert!(run.stderr.contains(line) || run.stdout.contains(line), "{line}\n{}", run.stderr);
    }
    sandbox.configure("scheduler: {jobs: {vault_sync: {feed: {}}}}\n");
    let run = sandbox.run(&["run", "vault_sync"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("vault_sync.feed: vault_sync marks blocks"), "{}", run.stderr);
}

#[test]
fn two_consumers_have_a_cursor_each_and_the_mark_stays() {
    let sandbox = fed(3, "{consumer: search}", "cat >> lines");
    assert_eq!(figures(&work(&sandbox).1), [3, 0, 0, 0]);
    assert_eq!(figures(&work(&sandbox).1), [0, 0, 0, 0]);
    assert_eq!(dirty(&sandbox).len(), 3, "the mark is for others");
    sandbox.configure(&job("{consumer: other, limit: 2}", "cat >> others"));
    assert_eq!(figures(&work(&sandbox).1), [3, 0, 0, 0]);
    let edited = note(3, "Block").replace("number 1", "number one");
    sandbox.write("vault/conversations/a.md", &edited);
    sync(&sandbox);
    assert_eq!(figures(&work(&sandbox).1), [1, 0, 0, 0]);
    assert_eq!(fs::read_to_string(sandbox.path("others")).unwrap().lines().count(), 4);
}

#[test]
fn a_feed_whose_graph_is_away_starts_nothing() {
    let sandbox = Sandbox::new(&format!(
        "databases: {{graph: neo4j, neo4j: {{uri: 'bolt://127.0.0.1:1'}}}}\nprocessing: {{retries: {{max_attempts: 1}}}}\n{}",
        job("{}", "echo x > started")
    ));
    let mut command = sandbox.command(&["run", "work", "--json"]);
    let output = command.env("NEO4J_PASSWORD", "none").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!sandbox.path("started").exists());
}

#[test]
fn marks_are_seen_and_taken_away_by_hand() {
    let sandbox = fed(3, "{}", "true");
    let run = sandbox.run(&["dirty"]);
    assert_eq!(run.stdout.lines().count(), 3);
    let first = run.stdout.lines().next().unwrap();
    assert!(first.starts_with("blk_0 version 1, since "), "{first}");
    assert!(first.ends_with("DIR/vault/conversations/a.md"), "{first}");
    let ids = |arguments: &[&str]| {
        let run = sandbox.run(arguments);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.stdout.lines().count()
    };
    assert_eq!(ids(&["dirty", "--json", "--limit", "2"]), 2);
    assert_eq!(ids(&["dirty", "--json", "--tier", "2"]), 0);
    assert_eq!(ids(&["dirty", "--json", "--prefix", "blk_2", "--prefix", "clm_"]), 1);

    let status = sandbox.run(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["blocks_marked"], 3);
    assert!(status["oldest_mark"].is_string(), "{status}");
    assert!(
        sandbox.run(&["status"]).stdout.contains("marked for reprocessing: 3 blocks, the oldest ")
    );
    assert!(
        sandbox
            .run(&["check"])
            .stdout
            .contains("3 blocks are marked for reprocessing, the oldest since")
    );

    let run = sandbox.run(&["done", "blk_0", "blk_1@7", "blk_9", "blk_2@1"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(run.stdout.contains("blk_1: changed meanwhile"), "{}", run.stdout);
    assert!(run.stdout.contains("blk_9: there is no such block"), "{}", run.stdout);
    assert!(run.stdout.ends_with("2 blocks done\n"), "{}", run.stdout);
    assert_eq!(dirty(&sandbox), ["blk_1"]);
    assert_eq!(sandbox.run(&["done", "blk_0"]).code, Some(0), "done twice is done");

    // What was listed before an edit does not take away what came after it.
    let listed = sandbox.run(&["dirty", "--json"]).stdout;
    let edited = note(3, "Block").replace("number 1", "number one");
    sandbox.write("vault/conversations/a.md", &edited);
    sync(&sandbox);
    assert_eq!(sandbox.run_with_input(&["done", "-"], &listed).code, Some(3));
    assert_eq!(dirty(&sandbox), ["blk_1"]);
    let listed = sandbox.run(&["dirty", "--json"]).stdout;
    assert_eq!(sandbox.run_with_input(&["done", "-"], &listed).code, Some(0));
    let run = sandbox.run(&["dirty"]);
    assert_eq!((run.code, &*run.stdout), (Some(0), "no block is marked for reprocessing\n"));

    let run = sandbox.run_with_input(&["done", "-"], "blk_1\n{\"id\": 3}\n");
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("standard input, line 2"), "{}", run.stderr);
}

#[test]
fn the_lines_before_one_that_cannot_be_read_are_done_as_it_says() {
    let sandbox = fed(3, "{}", "true");
    let run = sandbox.run_with_input(&["done", "-"], "blk_1\n{\"id\": 3}\nblk_2\n");
    assert_eq!((run.code, &*run.stdout), (Some(2), "1 block done\n"));
    let message = "standard input, line 2: neither an id nor a line of `dirty --json`: the lines before it are done";
    assert!(run.stderr.contains(message), "{}", run.stderr);
    assert_eq!(dirty(&sandbox), ["blk_0", "blk_2"]);
}

#[test]
fn a_block_is_shown_whole() {
    let sandbox = fed(2, "{}", "true");
    let run = sandbox.run(&["show", "blk_0", "--json"]);
    let shown: BTreeMap<String, Value> = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(shown["text"], "Block number 0");
    assert_eq!((&shown["version"], &shown["needs_reprocessing"]), (&1.into(), &true.into()));
    assert!(shown["history"].as_array().is_some_and(|events| !events.is_empty()));
    let run = sandbox.run(&["show", "blk_0"]);
    assert!(run.stdout.contains("Block number 0"), "{}", run.stdout);
    let run = sandbox.run(&["show", "blk_7"]);
    assert_eq!((run.code, &*run.stderr), (Some(2), "error: no block has the id blk_7\n"));
}

#[test]
fn without_a_feed_no_run_of_anything_takes_a_mark_away() {
    let sandbox = fed(4, "null", "cat >/dev/null; echo '{\"done\": [\"blk_0\"]}'; exit 0");
    let before: BTreeSet<String> = dirty(&sandbox).into_iter().collect();
    for arguments in [
        &["run", "work"][..],
        &["run", "vault_sync", "--full"],
        &["dirty"],
        &["show", "blk_0"],
        &["check"],
        &["status"],
        &["purge", "--older-than", "1d"],
    ] {
        sandbox.run(arguments);
        assert_eq!(dirty(&sandbox).into_iter().collect::<BTreeSet<_>>(), before, "{arguments:?}");
    }
}

/// Whether this machine has what the example needs; a test that cannot run says so.
fn has_full_text_search() -> bool {
    let python = std::process::Command::new("python3")
        .args(["-c", "import sqlite3; sqlite3.connect(':memory:').execute('create virtual table t using fts5(x)')"])
        .output();
    if !python.is_ok_and(|run| run.status.success()) {
        crate::docs::say("not run: there is no python3 with FTS5 here");
        return false;
    }
    true
}

fn copy_examples(to: &std::path::Path) {
    let copy = std::process::Command::new("cp")
        .args(["-r", concat!(env!("CARGO_MANIFEST_DIR"), "/examples")])
        .arg(to)
        .status();
    assert!(copy.unwrap().success());
}

/// Every command of the transcript, in an empty folder, prints what stands below it.
#[test]
fn the_examples_transcript_is_real() {
    if !has_full_text_search() {
        return;
    }
    let sandbox = Sandbox::new("");
    let demo = sandbox.path("demo");
    fs::create_dir(&demo).unwrap();
    let bin = std::path::Path::new(crate::sandbox::PROGRAM).parent().unwrap().to_str().unwrap();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    // How long something took or is ago, and how many files are read again, is not the same each time.
    let plain = |text: &str| -> Vec<String> {
        let is_same_each_time = |line: &&str| {
            let name = line.strip_prefix("  ").map(|line| line.split(' ').next().unwrap());
            !name.is_some_and(|name| {
                name.starts_with("files_")
                    || ["bytes_read", "items_processed", "blocks_processed"].contains(&name)
            })
        };
        let line = |line: &str| {
            let line = line.split(" after ").next().unwrap();
            match line.split_once(", since ") {
                Some((head, tail)) => format!("{head}{}", tail.split_once(": ").unwrap().1),
                None => line.to_owned(),
            }
        };
        text.lines().filter(is_same_each_time).map(line).collect()
    };
    let text = crate::docs::blocks_of("examples/feed/README.md", "console").concat();
    let (mut done, mut results) = (0, Vec::new());
    for step in text.split("$ ").skip(1) {
        let (command, expected) = step.split_once('\n').unwrap();
        if command.starts_with("cp ") {
            copy_examples(&demo.join("examples"));
            continue;
        }
        let output = sandbox
            .program("sh", &["-c", &format!("{command} 2>errors || cat errors")])
            .current_dir(&demo)
            .env("PATH", &path)
            .output()
            .unwrap();
        let said = sandbox.plain(&output.stdout).replace("DIR/demo/", "/home/ada/demo/");
        assert_eq!(plain(&said), plain(expected), "{command}");
        done += 1;
        results.extend(command.ends_with("thursday").then_some(said));
    }
    assert_eq!(done, 11, "{text}");
    assert!(results[0] == "nothing found\n" && results[1].contains("[Thursday]"), "{results:?}");
}

/// Walks through `examples/feed/` as the guide does: a sync, the job, a search, an edit, and a search that finds it.
#[test]
fn the_example_finds_an_edit() {
    if !has_full_text_search() {
        return;
    }
    let sandbox = Sandbox::new("");
    copy_examples(&sandbox.path("examples"));
    let guide = crate::docs::blocks_of("docs/custom-jobs.md", "console");
    let walk = guide.iter().find(|block| block.contains("examples/feed/feed.yaml")).unwrap();
    let lines: Vec<Vec<&str>> =
        walk.lines().map(|line| line.strip_prefix("$ ").unwrap().split(' ').collect()).collect();
    let [sync, index, search] = &lines[..] else { panic!("three commands: {walk}") };
    let run = |words: &[&str]| {
        let output = match words[0] {
            "aclarai-scheduler" => sandbox.command(&words[1..]).output().unwrap(),
            program => sandbox.program(program, &words[1..]).output().unwrap(),
        };
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for words in [sync, index] {
        assert_eq!(run(words).0, Some(0), "{words:?}");
    }
    let (code, found) = run(&[&search[..search.len() - 1], &["wednesday"]].concat());
    assert!(code == Some(0) && found.contains("release-planning.md"), "{found}");
    let edited = [&search[..search.len() - 1], &["quinquagesima"]].concat();
    assert_eq!(run(&edited).0, Some(1));
    let note = sandbox.path("examples/vault/summaries/2026-08-24-release-planning.md");
    let text = fs::read_to_string(&note).unwrap();
    fs::write(&note, text.replace("Wednesday", "Quinquagesima")).unwrap();
    for words in [sync, index] {
        assert_eq!(run(words).0, Some(0), "{words:?}");
    }
    let (code, found) = run(&edited);
    assert!(code == Some(0) && found.contains("release-planning.md"), "{found}");
}
