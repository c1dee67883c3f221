//! What the program tells of the past and of itself: one moment of the history, what holds a job back, whether the daemon
//! is well; and that a reload by itself, a hung look and a frozen daemon are noticed.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::sandbox::Sandbox;
use crate::wait::{wait_for, wait_until};

const JOBS: &str = r#"
scheduler:
  watch_config: true
  jobs:
    vault_sync: {enabled: false}
    good: {enabled: true, cron: "0 3 1 1 *", command: ["true"]}
    bad: {enabled: true, cron: ["0 3 1 1 *", "@every 300d"], command: ["false"]}
    then: {enabled: true, after: good, command: ["true"]}
    start: {enabled: true, cron: "@reboot", command: ["true"]}
"#;

#[test]
fn a_moment_of_the_history_is_found_by_time_and_by_outcome() {
    let sandbox = Sandbox::new(JOBS);
    assert_eq!(sandbox.run(&["run", "good"]).code, Some(0));
    assert_eq!(sandbox.run(&["run", "bad"]).code, Some(1));
    let names = |arguments: &[&str]| -> Vec<String> {
        let rows = sandbox.history(arguments);
        rows.iter().map(|row| row["job_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--since", "1h"]), ["bad", "good"]);
    assert_eq!(names(&["--outcome", "failed"]), ["bad"]);
    assert!(names(&["--until", "1h"]).is_empty());
    assert!(names(&["--until", "2020-01-01"]).is_empty());
    assert_eq!(names(&["--since", "2020-01-01T03:00Z", "--outcome", "succeeded"]), ["good"]);
    let ran_at = sandbox.history(&["bad"])[0]["scheduled_for"].as_str().unwrap().to_owned();
    let at = sandbox.run(&["history", "--at", &ran_at, "--json"]).json(0);
    let of = |job: &str| {
        let rows = at.as_array().unwrap();
        rows.iter().find(|row| row["job_name"] == job).unwrap().clone()
    };
    assert_eq!(of("bad")["outcome"], "failed");
    assert_eq!(
        (&of("vault_sync")["outcome"], of("vault_sync")["run"].is_null()),
        (&"disabled".into(), true)
    );
    assert!(of("start")["why"].as_str().unwrap().starts_with("not due"), "{at}");
    assert_eq!(sandbox.run(&["history", "--since", "tomorrow"]).code, Some(2));
    let turned = sandbox.run(&["history", "--since", "2020-01-02", "--until", "2020-01-01"]);
    assert_eq!((turned.code, turned.stdout.as_str()), (Some(2), ""), "{turned:?}");
    assert!(turned.stderr.contains("is later than --until 2020-01-01T23:59:59"), "{turned:?}");
    let day = ["history", "--since", "2020-01-01", "--until", "2020-01-01"];
    assert_eq!(sandbox.run(&day).code, Some(0), "one day is no contradiction");
    // Nobody has missed what is still to come.
    let ahead = sandbox.run(&["history", "good", "--at", "2100-01-01T03:00Z", "--json"]).json(0);
    assert_eq!(ahead[0]["outcome"], "still to come", "{ahead}");
    // Two runs of one second have an id each.
    let ids: std::collections::BTreeSet<String> = (0..8)
        .map(|_| {
            let run = sandbox.run(&["run", "good", "--json"]).json(0);
            run["job_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 8, "{ids:?}");
}

#[test]
fn jobs_tells_what_holds_each_job_back() {
    let sandbox = Sandbox::new(JOBS);
    let held = |job: &str| {
        let jobs = sandbox.run(&["jobs", "--json"]).json(0);
        let of_job = jobs.as_array().unwrap().iter().find(|row| row["job_name"] == job);
        of_job.unwrap()["held_back_by"].clone()
    };
    assert_eq!(held("good"), serde_json::json!(["no daemon is running"]));
    assert_eq!(held("vault_sync"), serde_json::json!([]));
    let daemon = sandbox.serve();
    daemon.wait_for_line("run finished");
    assert_eq!(held("good"), serde_json::json!([]));
    sandbox.run(&["pause"]);
    assert!(held("good")[0].as_str().unwrap().starts_with("paused by "), "{}", held("good"));
    daemon.stop();
}

/// `status` used to be green with the daemon frozen.
#[test]
fn a_daemon_that_is_well_says_so_and_runs_what_each_start_asks_for() {
    let sandbox = Sandbox::new(JOBS);
    assert_eq!(sandbox.run(&["status", "--json"]).json(4)["healthy"], false);
    let daemon = sandbox.serve();
    assert_eq!(daemon.wait_for_line("run finished")["job_name"], "start");
    let status = sandbox.run(&["status", "--json"]).json(0);
    assert_eq!((&status["healthy"], &status["reasons"]), (&true.into(), &serde_json::json!([])));
    // A run by hand of the job that another one follows: the daemon hears of its end.
    assert_eq!(sandbox.run(&["run", "good"]).code, Some(0));
    wait_until("the job after it runs", || sandbox.history(&["then"]).len() == 1);
    daemon.stop();
}

#[test]
fn a_changed_configuration_is_taken_over_by_itself() {
    let sandbox = Sandbox::new(JOBS);
    let daemon = sandbox.serve();
    daemon.wait_for_line("run finished");
    sandbox.configure(&JOBS.replace("bad:", "worse:"));
    wait_until("it is reloaded", || daemon.stderr().contains("configuration reloaded"));
    daemon.stop();
}

/// Such a FIFO used to stop every job, and SIGTERM with them.
#[test]
fn a_fifo_in_the_place_of_env_stops_nothing() {
    let sandbox = Sandbox::new(&JOBS.replace("0 3 1 1 *", "* * * * *"));
    let daemon = sandbox.serve();
    daemon.wait_for_line("run finished");
    mknodat(CWD, sandbox.path(".env"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let good =
        |line: &serde_json::Value| line["message"] == "run finished" && line["job_name"] == "good";
    wait_until("a job fires all the same", || daemon.log().iter().any(good));
    daemon.signal(Signal::HUP);
    daemon.stop();
    fs::remove_file(sandbox.path(".env")).unwrap();
}

/// A `strace` that holds threads of another process. Those go on when it ends.
struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has every look at these paths by a running process wait for ten minutes, as on a drive that is gone. `None` where
/// there is no `strace`, or it may not trace.
#[expect(clippy::print_stderr, reason = "a test says what it skipped")]
fn stall(pid: i32, paths: &[PathBuf]) -> Option<Tracer> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-p", &pid.to_string()]);
    for path in paths {
        strace.arg("-P").arg(path);
    }
    let calls = "statx,newfstatat,openat,openat2,readlinkat,faccessat,faccessat2";
    strace.args(["-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:delay_enter=600s")]);
    let Ok(tracer) = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        eprintln!("skipped: there is no strace here");
        return None;
    };
    let mut tracer = Tracer(tracer);
    let traced_by = format!("TracerPid:\t{}", tracer.0.id());
    let is_traced = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line == traced_by)
    };
    let threads = format!("/proc/{pid}/task");
    let attached = wait_for("every thread is traced, or strace gives up", || {
        if fs::read_dir(&threads).unwrap().flatten().all(is_traced) {
            return Some(true);
        }
        tracer.0.try_wait().unwrap().map(|_| false)
    });
    if !attached {
        eprintln!("skipped: strace may not trace here");
        return None;
    }
    Some(tracer)
}

/// The tick thread asks neither the vault nor `.env` by itself, so that a drive that is gone stops no job.
#[test]
fn a_vault_that_does_not_answer_stops_no_job_and_no_end() {
    let sandbox = Sandbox::new(&JOBS.replace("0 3 1 1 *", "* * * * *"));
    sandbox.write(".env", "");
    let mut daemon = sandbox.serve();
    daemon.wait_for_line("run finished");
    let vault = sandbox.path("vault");
    let paths = [vault.join(".aclarai_pause"), vault, sandbox.path(".env")];
    let Some(tracer) = stall(daemon.pid(), &paths) else { return };
    wait_until("the daemon says that the vault does not answer", || {
        daemon.stderr().contains("pause file cannot be looked at since")
    });
    let finished = || {
        let good = |line: &&serde_json::Value| {
            line["message"] == "run finished" && line["job_name"] == "good"
        };
        daemon.log().iter().filter(good).count()
    };
    let before = finished();
    wait_until("a job fires all the same", || finished() > before);
    daemon.signal(Signal::TERM);
    // All of it but the thread that `strace` holds.
    wait_until("the daemon to end", || {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        status.contains("State:\tZ")
    });
    drop(tracer);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.stderr());
}
