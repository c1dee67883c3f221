//! What the program tells of the past and of itself: one moment of the history, what holds a job back, whether the daemon
//! is well; and that a reload by itself, a hung look and a frozen daemon are noticed.

use std::fs;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::sandbox::Sandbox;
use crate::wait::wait_until;

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
