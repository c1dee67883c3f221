//! Under the journal each line carries its priority, so that `journalctl -p err` finds what failed.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use crate::sandbox::Sandbox;

const JOBS: &str = r#"
scheduler:
  jobs:
    vault_sync: {enabled: false}
    fails: {command: ["false"]}
    looks_odd: {command: [sh, -c, "echo '{\"needs_attention\": true}'"]}
"#;

/// Runs the program with standard error as a file that `JOURNAL_STREAM` names, or not; returns its lines.
fn run(sandbox: &Sandbox, arguments: &[&str], is_named: bool) -> Vec<String> {
    let path = sandbox.path("stderr");
    let file = File::create(&path).unwrap();
    let (device, inode) = (file.metadata().unwrap().dev(), file.metadata().unwrap().ino());
    let named = format!("{device}:{}", if is_named { inode } else { inode + 1 });
    let mut command = sandbox.command(arguments);
    command.env("JOURNAL_STREAM", named).stderr(file).output().unwrap();
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_failed_run_is_an_error_and_work_for_a_person_a_warning() {
    let sandbox = Sandbox::new(JOBS);
    for format in ["json", "text"] {
        let log = ["--log-format", format];
        let failed = run(&sandbox, &[&["run", "fails"][..], &log].concat(), true);
        let of = |lines: &[String], part: &str| {
            let line = lines.iter().find(|line| line.contains(part));
            line.unwrap_or_else(|| panic!("{part}: {lines:?}"))[..3].to_owned()
        };
        assert_eq!(of(&failed, "run failed"), "<3>");
        assert_eq!(of(&failed, "error: fails"), "<3>");
        let odd = run(&sandbox, &[&["run", "looks_odd"][..], &log].concat(), true);
        assert_eq!(of(&odd, "run finished"), "<4>");
        let loud = [&["run", "looks_odd", "--log-level", "DEBUG"][..], &log].concat();
        for line in run(&sandbox, &loud, true) {
            assert!(line.starts_with('<') && line[2..].starts_with('>'), "{line}");
        }
    }
}

#[test]
fn a_process_that_was_handed_on_the_variable_alone_writes_plain_lines() {
    let sandbox = Sandbox::new(JOBS);
    let lines = run(&sandbox, &["run", "fails", "--log-format", "json"], false);
    assert!(
        lines.iter().all(|line| line.starts_with('{') || line.starts_with("error: ")),
        "{lines:?}"
    );
    assert!(!lines.is_empty());
}
