//! The command line: what each command prints, where, and how it ends.

use std::io::Read;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use rustix::fs::{FileType, Mode};
use rustix::process::Signal;
use serde_json::json;

use crate::sandbox::{PROGRAM, Sandbox};
use crate::wait::{PATIENCE, wait_for, wait_until};

const HELLO: &str = r#"
scheduler:
  jobs:
    vault_sync: {enabled: false}
    hello:
      enabled: true
      cron: "0 3 * * 1"
      description: "Says hello"
      command: ["sh", "-c", "echo '{\"items_processed\": 3, \"note\": \"x\"}'"]
"#;

#[test]
fn next_prints_instants_of_a_line_or_a_job() {
    let sandbox = Sandbox::new(HELLO);
    let from = ["--from", "2026-03-27T00:00:00Z"];
    sandbox
        .run(
            &[
                &["next", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "-n", "3"],
                &from[..],
            ]
            .concat(),
        )
        .is(
            0,
            // In the night of the 29th the clocks go from 2:00 to 3:00.
            "2026-03-27T01:30:00Z\n2026-03-28T01:30:00Z\n2026-03-29T01:00:00Z\n",
            "",
        );
    sandbox.run(&["next", "hello", "--json", "-n", "2", from[0], from[1]]).is(
        0,
        "[\"2026-03-30T03:00:00Z\",\"2026-04-06T03:00:00Z\"]\n",
        "",
    );
    sandbox.run(&["next", "--cron", "0 0 30 2 *"]).is(0, "", "");
    sandbox.run(&["next", "--cron", "0 0 30 2 *", "--json"]).is(0, "[]\n", "");
}

#[test]
fn what_is_wrong_with_the_line_is_said_in_one_line() {
    let sandbox = Sandbox::new(HELLO);
    let case = |arguments: &[&str], stderr: &str| sandbox.run(arguments).is(2, "", stderr);
    case(
        &["next", "--cron", "5/10 * * * *"],
        "error: --cron: \"5/10 * * * *\": minute \"5/10\": a step follows * or a range: write 5-59/10\n",
    );
    case(
        &["next", "--cron", "* * * * *", "--timezone", "Europe/Berln"],
        "error: --timezone: unknown time zone \"Europe/Berln\": did you mean \"Europe/Berlin\"?\n",
    );
    case(
        &["next", "hello", "--timezone", "UTC"],
        "error: the argument '[JOB]' cannot be used with '--timezone <TZ>' (--help shows how)\n",
    );
    case(&["next", "helo"], "error: no job is named \"helo\": did you mean hello?\n");
    case(&["history", "helo"], "error: no job is named \"helo\": did you mean hello?\n");
    case(&["run", "zzz"], "error: no job is named \"zzz\": there are hello, vault_sync\n");
    case(
        &["next"],
        "error: the following required arguments were not provided: <JOB> (--help shows how)\n",
    );
    case(
        &["jbs"],
        "error: unrecognized subcommand 'jbs'; a similar subcommand exists: 'jobs' (--help shows how)\n",
    );
    case(
        &["next", "--cron", "* * * * *", "--from", "noon"],
        "error: invalid value 'noon' for '--from <RFC3339>': premature end of input: \
         write it as 2026-08-24T12:00:00Z (--help shows how)\n",
    );
}

#[test]
fn commands_that_need_no_configuration_do_not_read_it() {
    let sandbox = Sandbox::new("this: [is, no, yaml\n");
    sandbox.run(&["next", "--cron", "0 0 1 1 *", "--from", "2026-01-01T00:00:00Z"]).is(
        0,
        "2027-01-01T00:00:00Z\n",
        "",
    );
    sandbox.run_with_input(&["blocks", "-"], "no block here\n").is(0, "", "");
    assert_eq!(sandbox.run(&["jobs"]).code, Some(2));
    assert!(!sandbox.path("state").exists());
}

#[test]
fn blocks_shows_what_the_parser_sees() {
    let sandbox = Sandbox::new("");
    let text = "# Head\n\n- A claim. <!-- aclarai:id=clm_1 ver=2 --> ^clm_1\n\nMore text that follows the claim.\n";
    sandbox.write("a.md", text);
    let shown = json!([{
        "file": "a.md",
        "id": "clm_1",
        "version": 2,
        "line": 3,
        "level": "inline",
        "text": "- A claim.",
        "hash": "4bc53d391a0edfa4d2d7a61fdd7e8eb4a8c2a4b6ecf4d4f4bd1ee0a26cd2a9a5",
        "body_hash": "",
    }]);
    let mut seen = sandbox.run(&["blocks", "--json", "a.md"]).json(0);
    let hash = seen[0]["hash"].as_str().unwrap().to_owned();
    let body_hash = seen[0]["body_hash"].as_str().unwrap().to_owned();
    assert_eq!((hash.len(), body_hash.len()), (64, 64));
    seen[0]["hash"] = shown[0]["hash"].clone();
    seen[0]["body_hash"] = shown[0]["body_hash"].clone();
    assert_eq!(seen, shown);

    sandbox.run_with_input(&["blocks", "-"], text).is(
        0,
        &format!("-:3: clm_1 version 2, inline\n    hash {hash}\n    body {body_hash}\n    | - A claim.\n"),
        "",
    );
    std::fs::write(sandbox.path("b.md"), b"caf\xe9 <!-- aclarai:id=blk_1 -->\n").unwrap();
    sandbox.run(&["blocks", "b.md", "missing.md", "--json"]).is(
        3,
        "[]\n",
        "error: b.md: not UTF-8 at byte 3\n\
         error: missing.md: No such file or directory (os error 2)\n\
         error: done, with 2 errors: see above\n",
    );
    sandbox.run(&["blocks", "missing.md"]).is(
        4,
        "",
        "error: missing.md: No such file or directory (os error 2)\n\
         error: no file could be read: see above\n",
    );
    let code = "Text\n\n`<!-- aclarai:id=blk_1 -->`\n\nMore text behind it.\n";
    let code = sandbox.run_with_input(&["blocks", "-"], code);
    assert!(code.stdout.starts_with("-:3: blk_1 version 1, inline, in code\n"), "{code:?}");
    assert!(code.stderr.starts_with("warning: -: line 3: marker_in_code: "), "{code:?}");
    let near = sandbox.run_with_input(&["blocks", "-"], "Text <!-- aclarai:ID=blk_1 -->\n");
    assert_eq!(near.code, Some(0));
    assert!(near.stderr.starts_with("warning: -: line 1: near_miss_marker: "), "{near:?}");
}

#[test]
fn blocks_waits_for_no_pipe() {
    let sandbox = Sandbox::new("");
    let (pipe, mode) = (sandbox.path("pipe.md"), Mode::RUSR | Mode::WUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
    sandbox.run(&["blocks", "pipe.md", "vault"]).is(
        4,
        "",
        "error: pipe.md: a pipe or a device, not a file: name a note, or give its text on standard input and write `-`\n\
         error: vault: a folder, not a file: name a note, or give its text on standard input and write `-`\n\
         error: no file could be read: see above\n",
    );
}

#[test]
fn run_prints_one_flat_object() {
    let sandbox = Sandbox::new(HELLO);
    let mut seen = sandbox.run(&["run", "hello", "--json"]).json(0);
    let id = seen["job_id"].take();
    assert!(id.as_str().unwrap().starts_with("hello_1"), "{id}");
    assert!(seen["duration"].take().as_f64().unwrap() > 0.0);
    assert_eq!(
        seen.to_string(),
        r#"{"job_name":"hello","job_id":null,"trigger":"manual","success":true,"duration":null,"items_processed":3,"note":"x"}"#
    );
    let history = sandbox.history(&["hello"]);
    assert_eq!((&history[0]["job_id"], &history[0]["state"]), (&id, &json!("succeeded")));
    assert_eq!(history[0]["stats"], json!({"items_processed": 3, "note": "x"}));
}

#[test]
fn what_a_person_does_not_watch_is_in_the_log_of_a_run() {
    let sandbox = Sandbox::new("");
    let bad = sandbox.write("vault/summaries/bad.md", "");
    std::fs::write(bad, b"caf\xe9 <!-- aclarai:id=clm_1 -->\n").unwrap();
    let shown = sandbox.run(&["run", "vault_sync", "--json"]).json(3);
    let is_flat = |value: &serde_json::Value| !value.is_array() && !value.is_object();
    assert!(shown.as_object().unwrap().values().all(is_flat), "{shown}");
    let run = sandbox.run(&["run", "vault_sync", "--log-format", "text"]);
    let lines: Vec<&str> = run.stderr.lines().collect();
    let [fault, finished, why] = lines[..] else { panic!("{run:?}") };
    assert!(
        fault.contains(
            "ERROR   summaries/bad.md: not UTF-8 at byte 3: save it as UTF-8 job_id=vault_sync_1"
        ),
        "{run:?}"
    );
    for part in
        ["INFO    run finished job_id=vault_sync_1", " duration=", " success=true", " errors=1"]
    {
        assert!(finished.contains(part), "{part} in {run:?}");
    }
    assert!(finished.ends_with(" (scheduler.run_job)"), "{run:?}");
    assert_eq!(why, "error: vault_sync: done, but 1 error");
}

/// What a run shows on a terminal; `None` where `script`, which lends it one, is not there.
fn on_a_terminal(sandbox: &Sandbox, arguments: &str, code: i32) -> Option<String> {
    let line = format!("{PROGRAM} {arguments}");
    let Ok(output) = sandbox.program("script", &["-qec", &line, "/dev/null"]).output() else {
        crate::docs::say("not run: there is no `script` here");
        return None;
    };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_job_without_progress_has_no_bar_on_a_terminal() {
    let sandbox = Sandbox::new(
        "scheduler: {jobs: {says: {enabled: true, command: [sh, -c, 'echo a; echo b']}}}\n",
    );
    let Some(shown) = on_a_terminal(&sandbox, "run says --log-format text", 0) else { return };
    let lines: Vec<&str> = shown.split("\r\n").collect();
    assert!(
        lines.len() == 4 && lines[1].contains("INFO") && lines[2].starts_with("says: succeeded"),
        "{shown:?}"
    );
    assert!(!shown.contains('\u{2591}'), "{shown:?}");
}

#[test]
fn a_person_at_a_terminal_sees_the_result_once_and_no_more_faults_than_fit() {
    let sandbox = Sandbox::new("");
    for n in 0..25 {
        let bad = sandbox.write(&format!("vault/summaries/bad{n:02}.md"), "");
        std::fs::write(bad, b"caf\xe9 <!-- aclarai:id=clm_1 -->\n").unwrap();
    }
    sandbox
        .write("vault/summaries/a.md", "A text. <!-- aclarai:id=clm_2 -->\n\nMore of the text.\n");
    let Some(shown) = on_a_terminal(&sandbox, "run vault_sync --explain", 3) else { return };
    let count = |part: &str| shown.matches(part).count();
    assert_eq!(count("error: summaries/bad"), 20, "{shown}");
    assert_eq!(count("and 5 more: 2>FILE keeps all of them in a file"), 1, "{shown}");
    assert_eq!(count("clm_2 summaries/a.md:1: new"), 1, "{shown}");
    assert_eq!((count("run finished"), count("blocks_new")), (0, 1), "{shown}");
}

/// Sets the width of the terminal on which a stopped program draws.
fn narrow(pid: i32) {
    let terminal = format!("/proc/{pid}/fd/2");
    let done = std::process::Command::new("stty").args(["-F", &terminal, "cols", "30"]).status();
    assert!(done.unwrap().success());
}

#[test]
fn a_window_made_narrower_leaves_no_stale_progress_line() {
    let sandbox = Sandbox::new("");
    for n in 0..4_000 {
        let text = format!("A text. <!-- aclarai:id=clm_{n} ver=1 -->\n");
        sandbox.write(&format!("vault/summaries/{n}.md"), &text);
    }
    let line = format!("stty cols 100; exec {PROGRAM} run vault_sync");
    let mut command = sandbox.program("script", &["-qec", &line, "/dev/null"]);
    let Ok(mut child) = command.stdout(std::process::Stdio::piped()).spawn() else {
        crate::docs::say("not run: there is no `script` here");
        return;
    };
    let mut screen = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    let mut read_on = |shown: &mut Vec<u8>| {
        let mut bytes = [0; 4096];
        let count = std::io::Read::read(&mut screen, &mut bytes).unwrap_or(0);
        shown.extend_from_slice(&bytes[..count]);
        count > 0
    };
    let has_bar = |shown: &[u8]| String::from_utf8_lossy(shown).contains(" of 4,000");
    while !has_bar(&shown) {
        assert!(read_on(&mut shown), "no bar: {}", String::from_utf8_lossy(&shown));
    }
    let entry = format!("STATE_DIRECTORY={}", sandbox.path("state").display());
    let programs = crate::wait::processes_with(&entry);
    let (pid, _) = programs.iter().find(|(_, name)| name.starts_with("aclarai")).unwrap();
    crate::wait::signal(*pid, Signal::STOP);
    narrow(*pid);
    let before = shown.len();
    crate::wait::signal(*pid, Signal::CONT);
    // `script` stops itself where it sees that its program was stopped, at any time from now on.
    let (has_ended, script) = (AtomicBool::new(false), child.id().cast_signed());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let deadline = SystemClock.monotonic() + PATIENCE;
            while !has_ended.load(Ordering::Relaxed) {
                let is_late = SystemClock.monotonic() > deadline;
                crate::wait::signal(script, if is_late { Signal::KILL } else { Signal::CONT });
                SystemClock.wait(Duration::from_millis(10), &|| false);
            }
        });
        while read_on(&mut shown) {}
        has_ended.store(true, Ordering::Relaxed);
    });
    child.wait().unwrap();
    let after = String::from_utf8_lossy(&shown[before..]).into_owned();
    // What stands in one row of a hundred columns takes two of thirty, and both are erased.
    assert!(after.contains("\x1b[1A\r\x1b[J"), "{after:?}");
    assert!(after.contains("blocks_new"), "{after:?}");
}

#[test]
fn run_ends_with_the_code_that_tells_why() {
    let job = |name: &str, script: &str| {
        format!("    {name}: {{cron: \"0 3 * * *\", command: [sh, -c, {script:?}]}}\n")
    };
    let jobs = [
        job("fails", "echo no luck >&2; exit 7"),
        job("attention", "echo '{\"errors\": 2}'"),
        "    missing: {command: [no-such-program]}\n".to_owned(),
        "    top_concepts: {enabled: true, count: 25}\n".to_owned(),
        "    slow: {timeout: 0.2, command: [sleep, '1000']}\n".to_owned(),
    ];
    let sandbox = Sandbox::new(&format!("scheduler:\n  jobs:\n{}", jobs.concat()));
    let case = |job: &str, code: i32, stderr: &str| {
        let run = sandbox.run(&["run", job, "--log-level", "OFF"]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(code), stderr), "{job}");
    };
    case("fails", 1, "error: fails: exit code 7: no luck\n");
    case("attention", 3, "error: attention: done, but 2 errors\n");
    case(
        "missing",
        1,
        "error: missing: not found: no-such-program (in no folder of PATH; write its full path in command)\n",
    );
    case(
        "top_concepts",
        2,
        "error: top_concepts: no code here runs it: add command: [...] or remove the job\n",
    );
    case("slow", 1, "error: slow: timeout reached\n");
}

#[test]
fn run_says_what_it_overrides() {
    let mut sandbox = Sandbox::new(
        "scheduler: {jobs: {held: {enabled: false, manual_only: true, command: ['true']}}}\n",
    );
    sandbox.variable("AUTOMATION_PAUSE", "yes");
    let run = sandbox.run(&["run", "held", "--json"]);
    assert_eq!(run.json(0)["success"], true);
    let line: serde_json::Value = serde_json::from_str(run.stderr.lines().next().unwrap()).unwrap();
    let overridden = line["overridden"].as_str().unwrap();
    assert!(
        overridden.starts_with("enabled is false, manual_only is true, paused by AUTOMATION_PAUSE"),
        "{overridden}"
    );
}

/// The variable of a shell pauses no daemon that was started elsewhere.
#[test]
fn the_pause_that_commands_tell_is_that_of_the_daemon() {
    let sandbox = Sandbox::new("scheduler: {jobs: {vault_sync: {cron: '0 3 1 1 *'}}}\n");
    // The word of `status`, of `jobs` and of `check`.
    let told = |variable: &[(&str, &str)]| {
        let look = |arguments: &[&str]| {
            let output = sandbox.command(arguments).envs(variable.iter().copied()).output();
            serde_json::from_slice::<serde_json::Value>(&output.unwrap().stdout).unwrap()
        };
        let status = look(&["status", "--json"])["paused"].as_str().map(str::to_owned);
        let jobs = look(&["jobs", "--json"])[0]["held_back_by"].to_string();
        assert_eq!(jobs.contains("paused by"), status.is_some(), "{jobs}");
        let check = look(&["check", "--json"]);
        let is_pause = |line: &serde_json::Value| line["name"] == "pause";
        assert_eq!(check.as_array().unwrap().iter().any(is_pause), status.is_some(), "{check}");
        status
    };
    let mine = [("AUTOMATION_PAUSE", "true")];
    let expected = Some("AUTOMATION_PAUSE=true in the environment".to_owned());
    assert_eq!(told(&mine), expected, "without a daemon, one that is started here would be paused");

    let has_signed =
        || sandbox.run(&["status", "--json"]).stdout.contains("\"last_sign_of_life\":\"");
    let daemon = sandbox.serve();
    wait_until("the daemon's sign of life", has_signed);
    assert_eq!((told(&mine), told(&[])), (None, None));
    sandbox.run(&["pause"]);
    assert!(told(&[]).unwrap().ends_with("/.aclarai_pause"));
    sandbox.run(&["resume"]);
    assert_eq!(told(&mine), None);
    // The daemon's own `.env` is looked at now, and not when it looked last.
    sandbox.write(".env", "AUTOMATION_PAUSE=on\n");
    assert_eq!(told(&mine).unwrap(), "AUTOMATION_PAUSE=on (.env:1)");
    std::fs::remove_file(sandbox.path(".env")).unwrap();
    assert_eq!(told(&mine), None);
    daemon.stop();

    let daemon = sandbox.start_shell(&format!("AUTOMATION_PAUSE=true exec {PROGRAM} serve"));
    daemon.wait_for_line("started");
    wait_until("the daemon's sign of life", has_signed);
    assert_eq!(told(&[]), expected);
    let resumed = sandbox.run(&["resume"]);
    assert!(
        resumed.stdout.contains("AUTOMATION_PAUSE=true in the environment asks"),
        "{resumed:?}"
    );
    daemon.stop();
}

#[test]
fn an_interrupted_run_ends_its_program_and_says_so() {
    let sandbox = Sandbox::new(
        "scheduler: {jobs: {slow: {command: [sh, -c, 'echo ready; exec sleep 1000']}}}\n",
    );
    for which in [Signal::INT, Signal::TERM] {
        let mut run = sandbox.start(&["run", "slow", "--json", "--log-format", "json"]);
        run.wait_for_line("ready");
        run.signal(which);
        assert_eq!(run.wait().code(), Some(130), "{}", run.stderr());
        assert!(run.stderr().ends_with("error: slow: told to stop"), "{}", run.stderr());
    }
    assert!(sandbox.history(&[]).iter().all(|run| run["state"] == "interrupted"));
}

#[test]
fn a_second_run_beside_the_first_is_refused() {
    let sandbox = Sandbox::new(
        "scheduler: {jobs: {slow: {command: [sh, -c, 'echo ready; exec sleep 1000']}}}\n",
    );
    let first = sandbox.start(&["run", "slow", "--log-format", "json"]);
    first.wait_for_line("ready");
    let second = sandbox.run(&["run", "slow", "--json", "--log-level", "CRITICAL"]);
    let shown = second.json(4);
    assert_eq!(shown["success"], false);
    assert!(
        shown["error"].as_str().unwrap().starts_with("slow is running already (slow_"),
        "{shown}"
    );
    let status = sandbox.run(&["status", "--json"]).json(4);
    assert_eq!(status["running"], false);
    assert_eq!(status["running_jobs"][0]["pid"], first.pid());
}

#[test]
fn jobs_tells_schedule_runnability_and_the_last_outcome() {
    let sandbox = Sandbox::new(HELLO);
    sandbox.run(&["run", "hello"]);
    let mut jobs = sandbox.run(&["jobs", "--json"]).json(0);
    let hello = jobs[0].take();
    assert_eq!(hello["job_name"], "hello");
    assert_eq!(hello["kind"], "command");
    assert_eq!(hello["next"].as_array().unwrap().len(), 3);
    assert_eq!(hello["last"]["state"], "succeeded");
    let sync = jobs[1].take();
    assert_eq!(
        (&sync["job_name"], &sync["enabled"], &sync["next"]),
        (&json!("vault_sync"), &json!(false), &json!([]))
    );
    let table = sandbox.run(&["jobs"]);
    assert_eq!((table.code, table.stdout.lines().count()), (Some(0), 3), "{table:?}");
}

#[test]
fn check_names_each_thing_and_what_to_do() {
    let mut sandbox = Sandbox::new(
        r#"
scheduler:
  jobs:
    vault_sync: {enabled: true, cron: "*/30 * * * *"}
    feb: {enabled: true, cron: "0 0 30 2 *", command: ["true"]}
    gone: {enabled: true, command: [no-such-program]}
    top_concepts: {enabled: true}
"#,
    );
    sandbox.variable("VAULT_CONCEPTS_PATH", "concepts");
    std::fs::remove_dir(sandbox.path("vault/concepts")).unwrap();
    let run = sandbox.run(&["check", "--json"]);
    let lines = run.json(4);
    let find =
        |name: &str| lines.as_array().unwrap().iter().find(|line| line["name"] == name).unwrap();
    for (name, level, part) in [
        ("config", "ok", "settings/aclarai.config.yaml"),
        ("job.feb", "warning", "never fires"),
        ("job.gone", "error", "not found: no-such-program"),
        ("job.top_concepts", "warning", "add command: [...]"),
        ("vault", "ok", "can be read"),
        ("vault.tier3", "warning", "create it, or correct paths"),
        ("state", "ok", "will be created"),
        ("daemon", "ok", "not running"),
    ] {
        let line = find(name);
        assert_eq!(line["level"], level, "{line}");
        assert!(line["message"].as_str().unwrap().contains(part), "{line}");
    }
    assert_eq!(run.stderr, "error: 1 thing does not work: see the lines marked error\n");
    assert!(!sandbox.path("state").exists(), "check creates nothing");
}

#[test]
fn pause_and_resume_tell_what_they_did() {
    let sandbox = Sandbox::new(HELLO);
    sandbox.run(&["pause"]).is(0, "paused: created DIR/vault/.aclarai_pause\n", "");
    sandbox.run(&["pause"]).is(0, "paused already by DIR/vault/.aclarai_pause\n", "");
    sandbox.run(&["resume"]).is(0, "resumed: removed DIR/vault/.aclarai_pause\n", "");
    sandbox.run(&["resume"]).is(0, "not paused: there is no DIR/vault/.aclarai_pause\n", "");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let sandbox = Sandbox::new(HELLO);
    let mut child = sandbox
        .command(&["next", "--cron", "* * * * *", "-n", "1000000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 21];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let sandbox = Sandbox::new(HELLO);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = sandbox.command(&["jobs"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: cannot write to standard output: No space left on device (os error 28)\n"
    );
}

#[test]
fn nothing_is_coloured_that_is_not_for_a_terminal() {
    let sandbox = Sandbox::new(HELLO);
    sandbox.run(&["run", "hello"]);
    for arguments in [&["jobs"][..], &["history"], &["check"], &["run", "hello"]] {
        let run = sandbox.run(arguments);
        assert!(!run.stdout.contains('\x1b') && !run.stderr.contains('\x1b'), "{run:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let sandbox = Sandbox::new("this: [is, no, yaml\n");
    for arguments in [&["--help"][..], &["-h"], &["run", "--help"], &["help"], &["--version"]] {
        let run = sandbox.run(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(run.stdout.ends_with('\n') && !run.stdout.ends_with("\n\n"), "{arguments:?}");
    }
    let version = sandbox.run(&["--version"]).stdout;
    let expected = concat!("aclarai-scheduler ", env!("CARGO_PKG_VERSION"), " (");
    assert!(version.starts_with(expected), "{version}");
    assert!(version.contains("zone data 20"), "{version}");
}

#[test]
fn a_job_that_is_killed_with_its_caller_leaves_nothing_running() {
    let sandbox = Sandbox::new(
        "scheduler: {jobs: {slow: {command: [sh, -c, 'setsid sleep 1000 & echo ready; exec sleep 1000']}}}\n",
    );
    let run = sandbox.start(&["run", "slow", "--log-format", "json"]);
    let id = run.wait_for_line("ready")["job_id"].as_str().unwrap().to_owned();
    let mark = format!("ACLARAI_JOB_ID={id}");
    wait_until("both are there", || crate::wait::processes_with(&mark).len() == 2);
    run.kill();
    wait_until("both are gone", || crate::wait::processes_with(&mark).is_empty());
    assert_eq!(sandbox.history(&[])[0]["state"], "interrupted");
}

#[test]
fn purge_deletes_what_was_archived_long_enough_ago() {
    let sandbox = Sandbox::new("scheduler: {jobs: {vault_sync: {archive_after: 0 s}}}\n");
    sandbox.run(&["purge", "--older-than", "0s", "--dry-run"]).is(
        0,
        "would delete 0 archived blocks\n",
        "",
    );
    assert!(!sandbox.path("state/graph.db").exists());
    let note = sandbox.write(
        "vault/summaries/a.md",
        "Gone soon. <!-- aclarai:id=clm_1 ver=1 -->\n\nMore text here.\n",
    );
    sandbox.write(
        "vault/summaries/b.md",
        "Here to stay. <!-- aclarai:id=clm_2 ver=1 -->\n\nMore text here.\n",
    );
    let sync = || sandbox.run(&["run", "vault_sync", "--full", "--json"]).json(0);
    assert_eq!(sync()["blocks_new"], 2);
    std::fs::remove_file(note).unwrap();
    // Missing in one scan may be a mistake; missing in two is not.
    let archived: u64 = (0..2).map(|_| sync()["blocks_archived"].as_u64().unwrap()).sum();
    assert_eq!(archived, 1);
    sandbox.run(&["purge", "--older-than", "1 h"]).is(0, "deleted 0 archived blocks\n", "");
    sandbox.run(&["purge", "--older-than", "0 s", "--dry-run"]).is(
        0,
        "clm_1\nwould delete 1 archived block\n",
        "",
    );
    sandbox.run(&["purge", "--older-than", "0 s"]).is(0, "deleted 1 archived block\n", "");
    sandbox.run(&["purge", "--older-than", "0 s"]).is(0, "deleted 0 archived blocks\n", "");
    for unclear in ["soon", "30"] {
        sandbox.run(&["purge", "--older-than", unclear]).is(
            2,
            "",
            &format!(
                "error: invalid value '{unclear}' for '--older-than <DURATION>': write a number with a unit, such as 30d \
                 or 12h (--help shows how)\n"
            ),
        );
    }
}

#[test]
fn command_jobs_outlive_an_upgrade_of_the_program() {
    let mut sandbox = Sandbox::new(
        "scheduler: {jobs: {upgraded: {command: [sh, -c, 'if [ -e \"$COPY\" ]; then rm \"$COPY\"; exit 1; fi; echo new'], \
         retries: {max_attempts: 2, max_wait_time: 0}}}}\n",
    );
    let copy = sandbox.path("copy");
    std::fs::copy(PROGRAM, &copy).unwrap();
    let copy = copy.to_str().unwrap();
    sandbox.variable("COPY", copy);
    // The first attempt removes the file that is running; the second needs a supervisor from it all the same.
    let output = wait_for("the copy to start", || {
        match sandbox.program(copy, &["run", "upgraded", "--json"]).output() {
            // A child that another test has just forked still holds the copy open for writing.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
            output => Some(output.unwrap()),
        }
    });
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.contains("\"success\":true"),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!std::path::Path::new(copy).exists());
}

#[test]
fn purge_leaves_what_was_archived_by_a_clock_that_was_wrong() {
    let sandbox = Sandbox::new("scheduler: {jobs: {vault_sync: {}}}\n");
    for id in ["long_ago", "wrong", "future"] {
        sandbox.write(
            &format!("vault/summaries/{id}.md"),
            &format!("A text. <!-- aclarai:id=clm_{id} ver=1 -->\n\nMore text here.\n"),
        );
    }
    sandbox.run(&["run", "vault_sync", "--json"]).json(0);
    let graph = rusqlite::Connection::open(sandbox.path("state/graph.db")).unwrap();
    for (id, at) in [
        ("clm_long_ago", "2026-02-01T00:00:00.000000Z"),
        ("clm_wrong", "1970-01-01T00:05:00.000000Z"),
        ("clm_future", "2098-01-01T00:00:00.000000Z"),
    ] {
        let archive = "UPDATE blocks SET archived = 1, archived_at = ?1 WHERE id = ?2";
        let changed = graph.execute(archive, (at, id)).unwrap();
        assert_eq!(changed, 1);
    }
    drop(graph);
    let run = sandbox.run(&["purge", "--older-than", "1d"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("deleted 1 archived block\n"), "{run:?}");
    assert!(run.stdout.contains("left 2 archived blocks whose time"), "{run:?}");
}
