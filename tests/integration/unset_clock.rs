//! A machine whose clock is not set: what the program says of times that it cannot know. The clock is that of libfaketime,
//! which stands between the program and the system; where it is not installed, the tests say so and hold nothing.

use std::path::PathBuf;

use crate::sandbox::{Run, Sandbox};

const JOBS: &str = r#"
scheduler:
  jobs:
    vault_sync: {cron: "*/5 * * * *"}
    report: {enabled: true, cron: "0 3 * * *", command: ["true"]}
"#;

/// The library, where this machine has it.
fn library() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let folders = found.map(|entry| entry.path()).chain(["/usr/lib64".into(), "/usr/lib".into()]);
    let mut files = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.exists())
}

/// A sandbox in which it is the first of January 1970.
#[expect(clippy::print_stdout, reason = "a test that holds nothing says so")]
fn at_the_beginning_of_time() -> Option<Sandbox> {
    let Some(library) = library() else {
        println!("not tested: libfaketime is not installed");
        return None;
    };
    let mut sandbox = Sandbox::new(JOBS);
    sandbox.variable("LD_PRELOAD", library.to_str().unwrap());
    sandbox.variable("FAKETIME", "@1970-01-01 00:01:00");
    // Only the wall clock, and no file of its own in /dev/shm that an earlier process of the number has left.
    sandbox.variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    sandbox.variable("FAKETIME_NO_CACHE", "1");
    Some(sandbox)
}

/// The text without the one time that is told: the day that the clock shows.
#[track_caller]
fn tells_no_time_of_1970(run: &Run) {
    for text in [&run.stdout, &run.stderr] {
        let rest = text.replace("it shows 1970-01-01", "");
        assert!(!rest.contains("1970"), "{text}");
    }
}

#[test]
fn no_time_is_told_by_a_clock_that_is_not_set() {
    let Some(sandbox) = at_the_beginning_of_time() else { return };
    let daemon = sandbox.start(&["serve"]);
    daemon
        .wait_for_line("clock not set: it shows 1970-01-01: nothing is scheduled until it is set");
    daemon.wait_for_line("started");

    let status = sandbox.run(&["status"]);
    assert_eq!(status.code, Some(4), "{}{}", status.stdout, status.stderr);
    tells_no_time_of_1970(&status);
    for line in [
        ", since before the clock was set",
        "not healthy: clock not set: it shows 1970-01-01",
        "next: known once the clock is set",
    ] {
        assert!(status.stdout.contains(line), "{line}:\n{}", status.stdout);
    }
    // A run by hand is dated by this clock, and so are its marks.
    sandbox.write("vault/summaries/a.md", "A claim. <!-- aclarai:id=clm_1 ver=1 -->\n");
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    let status = sandbox.run(&["status", "--json"]).json(4);
    for unknown in ["since", "next", "last_sign_of_life", "oldest_mark"] {
        assert!(status[unknown].is_null(), "{unknown}: {status}");
    }
    assert_eq!(status["reasons"][0], "clock not set: it shows 1970-01-01");

    let jobs = sandbox.run(&["jobs"]);
    tells_no_time_of_1970(&jobs);
    assert_eq!(jobs.stdout.matches("known once the clock is set").count(), 2, "{}", jobs.stdout);
    let jobs = sandbox.run(&["jobs", "--json"]).json(0);
    assert_eq!(jobs[0]["next"], serde_json::json!([]));
    assert_eq!(jobs[0]["held_back_by"][0], "clock not set: it shows 1970-01-01");

    let check = sandbox.run(&["check"]);
    tells_no_time_of_1970(&check);
    assert!(check.stdout.contains("clock not set: it shows 1970-01-01: nothing is"));
    let next = sandbox.run(&["next", "report"]);
    assert!(next.stderr.contains("name the instant to count from with --from"), "{}", next.stderr);
    daemon.stop();
}

#[test]
fn a_daemon_that_began_before_the_clock_was_set_is_not_half_a_century_old() {
    let Some(mut sandbox) = at_the_beginning_of_time() else { return };
    let daemon = sandbox.start(&["serve"]);
    daemon.wait_for_line("started");
    sandbox.write("vault/summaries/a.md", "A claim. <!-- aclarai:id=clm_1 ver=1 -->\n");
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    // The one who looks has the time from elsewhere.
    sandbox.variable("LD_PRELOAD", "");
    let status = sandbox.run(&["status"]);
    tells_no_time_of_1970(&status);
    assert!(status.stdout.contains(", since before the clock was set"), "{}", status.stdout);
    assert!(!status.stdout.contains(" d ago"), "{}", status.stdout);
    assert!(
        status.stdout.contains("1 block, the oldest before the clock was set"),
        "{}",
        status.stdout
    );
    let jobs = sandbox.run(&["jobs"]);
    assert!(jobs.stdout.contains("succeeded before the clock was set"), "{}", jobs.stdout);
    let dirty = sandbox.run(&["dirty"]);
    assert!(dirty.stdout.contains("before the clock was set"), "{}", dirty.stdout);
    let other = sandbox.run(&["serve"]);
    tells_no_time_of_1970(&other);
    daemon.stop();
}
