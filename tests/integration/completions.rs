//! Each shell completes commands, options, job names and other words: Tab is pressed in a real shell on a terminal.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::sandbox::{PROGRAM, Sandbox};
use crate::wait::wait_for;

const JOBS: &str = r#"
scheduler:
  jobs:
    vault_sync: {enabled: false}
    nightly_report: {enabled: true, command: ["true"]}
    "zz$(>pwned)": {enabled: true, command: ["true"]}
    "it's": {enabled: true, command: ["true"]}
    "q_über": {enabled: true, command: ["true"]}
    "ns:first": {enabled: true, command: ["true"]}
    "ns:second": {enabled: true, command: ["true"]}
"#;

/// The jobs of another file, which is named on the line.
const OTHER_JOBS: &str = r#"
scheduler:
  jobs:
    vault_sync: {enabled: false}
    weekly_report: {enabled: true, command: ["true"]}
"#;

/// What is typed, and the arguments that the program is then given.
const TYPED: [(&str, &str); 33] = [
    ("sta\t", "status"),
    ("run vau\t", "run vault_sync"),
    ("run nigh\t--dry\t--js\t", "run nightly_report --dry-run --json"),
    // A name is offered as it is, and run by nobody.
    ("run zz\t--dry\t", "run zz$(>pwned) --dry-run"),
    ("run it\t--dry\t", "run it's --dry-run"),
    ("run it\\'\t--dry\t", "run it's --dry-run"),
    ("run q_\t--dry\t", "run q_über --dry-run"),
    ("run ns:sec\t--dry\t", "run ns:second --dry-run"),
    ("run 'vau\t--dry\t", "run vault_sync --dry-run"),
    ("run \"zz\t--dry\t", "run zz$(>pwned) --dry-run"),
    ("next --cr\t1 --timez\tx", "next --cron 1 --timezone x"),
    ("completions fi\t", "completions fish"),
    ("history vault_s\t--js\t", "history vault_sync --json"),
    ("history --outc\tinterr\t", "history --outcome interrupted"),
    ("history --outcome misf\t--js\t", "history --outcome misfire --json"),
    ("--log-form\tjs\tjo\t", "--log-format json jobs"),
    ("jobs --log-level WARN\t", "jobs --log-level WARNING"),
    ("--state\t/ jo\t", "--state-dir / jobs"),
    ("history --outcome=interr\t", "history --outcome=interrupted"),
    ("--log-format=js\tjo\t", "--log-format=json jobs"),
    // Names of jobs are those of the configuration that the line names, wherever it does so.
    ("--config other.yaml run wee\t", "--config other.yaml run weekly_report"),
    ("--config=other.yaml run wee\t", "--config=other.yaml run weekly_report"),
    ("run --config other.yaml wee\t", "run --config other.yaml weekly_report"),
    (
        "history --json --config=other.yaml wee\t",
        "history --json --config=other.yaml weekly_report",
    ),
    (
        "--config ./other.yaml --state-dir ./elsewhere next wee\t",
        "--config ./other.yaml --state-dir ./elsewhere next weekly_report",
    ),
    (
        "--log-level INFO --config other.yaml run wee\t",
        "--log-level INFO --config other.yaml run weekly_report",
    ),
    (
        "--config 'in my folder/other.yaml' run wee\t",
        "--config in my folder/other.yaml run weekly_report",
    ),
    (
        "--config in\\ my\\ folder/other.yaml run wee\t",
        "--config in my folder/other.yaml run weekly_report",
    ),
    ("--config ~/other.yaml run wee\t", "--config HOME/other.yaml run weekly_report"),
    ("--config $HOME/other.yaml run wee\t", "--config HOME/other.yaml run weekly_report"),
    // Files, whatever is in their names.
    ("--config in\\ my\\ fo\tot\trun wee\t", "--config in my folder/other.yaml run weekly_report"),
    ("--config=in\\ my\\ fo\tot\tjo\t", "--config=in my folder/other.yaml jobs"),
    ("--config ~/ot\trun wee\t", "--config HOME/other.yaml run weekly_report"),
];

/// Presses the keys in an interactive shell, where it is installed.
#[expect(clippy::print_stdout, reason = "a test that holds nothing says so")]
fn press(shell: &str, line: &str, setup: &str) {
    if Command::new(shell).arg("--version").output().is_err() {
        println!("not tested: {shell} is not installed");
        return;
    }
    let sandbox = Sandbox::new(JOBS);
    let script = sandbox.run(&["completions", shell]);
    assert_eq!(script.code, Some(0));
    sandbox.write("script", &script.stdout);
    for folder in ["", "in my folder/", "home/"] {
        sandbox.write(&format!("{folder}other.yaml"), OTHER_JOBS);
    }
    // The program itself where the script asks for names of jobs; on the terminal, what it was called with.
    let stub = format!("#!/bin/sh\n[ -t 1 ] || exec {PROGRAM} \"$@\"\necho \"called: $*.\"\n");
    // Another one, which has jobs of its own and is in no folder of PATH.
    let other = stub.replace(PROGRAM, &format!("{PROGRAM} --config other.yaml"));
    for (folder, stub) in [("bin", stub), ("elsewhere", other)] {
        let stub = sandbox.write(&format!("{folder}/aclarai-scheduler"), &stub);
        std::fs::set_permissions(stub, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", sandbox.path("bin").display(), std::env::var("PATH").unwrap());
    let mut command = sandbox.program("script", &["-qec", line, "/dev/null"]);
    command
        .env("PATH", path)
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&seen);
    let reader = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            collected.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
    });
    let shown = || String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    writeln!(keys, "{setup}").unwrap();
    wait_for(&format!("{shell} to be ready"), || shown().contains("ready-now").then_some(()));
    let by_name = TYPED.map(|(typed, called)| (format!("aclarai-scheduler {typed}"), called));
    let by_path = ("./elsewhere/aclarai-scheduler run wee\t".to_owned(), "run weekly_report");
    for (typed, called) in by_name.into_iter().chain([by_path]) {
        write!(keys, "{typed}\r").unwrap();
        let home = sandbox.path("home").display().to_string();
        let expected = format!("called: {}.", called.replace("HOME", &home));
        let screen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(&expected, || shown().contains(&expected).then_some(()));
        }));
        assert!(screen.is_ok(), "{shell}: {typed:?} did not become {called:?}:\n{}", shown());
    }
    write!(keys, "exit\r").unwrap();
    drop(keys);
    child.wait().unwrap();
    reader.unwrap().join().unwrap();
    assert!(!sandbox.path("pwned").exists(), "{shell} ran the name of a job");
}

#[test]
fn bash_completes() {
    press("bash", "bash --norc --noprofile -i", ". ./script; echo ready'-'now");
}

#[test]
fn zsh_completes() {
    press("zsh", "zsh -f -i", "autoload -U compinit; compinit -u -D; . ./script; echo ready'-'now");
}

#[test]
fn fish_completes() {
    press("fish", "fish --no-config -i", "source ./script; echo ready'-'now");
}
