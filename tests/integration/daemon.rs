//! The daemon as a process, with real signals and real time.
//!
//! Cron lines fire by the minute. So that no test waits for one that need not, downtime is made by setting back what
//! the state file remembers ([`Sandbox::let_pass`]): to the next start it looks as if minutes had passed since the last
//! decision. One test waits for a real minute. The two that take longer are run with
//! `cargo test --test integration -- --ignored`.

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use chrono::{DateTime, Utc};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::sandbox::{Daemon, Sandbox};
use crate::wait::{children_of, processes_with, wait_for, wait_until};

const EVERY_MINUTE: &str = r#"
scheduler:
  jobs:
    vault_sync: {enabled: false}
    tick: {enabled: true, cron: "* * * * *", misfire_grace_time: 3600, command: ["true"]}
"#;

/// A job that is due at the next start, and runs until it is told to end.
const LONG: &str = r#"
scheduler:
  shutdown_grace_time: 1
  jobs:
    vault_sync: {enabled: false}
    long:
      enabled: true
      cron: "* * * * *"
      misfire_grace_time: 3600
      command: [sh, -c, "setsid sleep 1000 & echo ready; exec sleep 1000"]
"#;

impl Sandbox {
    /// A sandbox whose daemon has run before, some minutes ago.
    pub(crate) fn with_downtime(yaml: &str, minutes: u32) -> Sandbox {
        let sandbox = Sandbox::new(yaml);
        loop {
            sandbox.serve().stop();
            // Nothing has run yet, unless a minute has begun just then.
            if sandbox.history(&[]).is_empty() {
                break;
            }
            fs::remove_dir_all(sandbox.path("state")).unwrap();
        }
        sandbox.let_pass(minutes);
        sandbox
    }

    /// Lets minutes pass in the eyes of the next daemon.
    fn let_pass(&self, minutes: u32) {
        let state = rusqlite::Connection::open(self.path("state/state.db")).unwrap();
        let microseconds = i64::from(minutes) * 60_000_000;
        let changed = state
            .execute(
                "UPDATE jobs SET decided_until = decided_until - ?1 WHERE schedule <> ''",
                [microseconds],
            )
            .unwrap();
        assert!(changed > 0, "the daemon remembers up to when it has decided");
    }
}

/// The one row of a run; the newest row may be that of a minute which has begun since.
#[track_caller]
fn row_of(sandbox: &Sandbox, id: &str) -> Value {
    let mut rows = sandbox.history(&[]);
    rows.retain(|row| row["job_id"] == id);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

/// The instants of these rows.
fn instants(history: &[Value]) -> BTreeSet<String> {
    history.iter().map(|row| row["scheduled_for"].to_string()).collect()
}

/// How many minutes have begun since, for what the test's own slowness adds.
fn minutes_since(begun: DateTime<Utc>) -> u64 {
    (SystemClock.now().timestamp() / 60 - begun.timestamp() / 60).unsigned_abs()
}

/// Reason or state, and for how many occurrences, the oldest first; also what a run was coalesced from.
fn outcomes(history: &[Value]) -> Vec<(String, u64, u64)> {
    let outcome = |row: &Value| {
        let what = row["reason"].as_str().or(row["state"].as_str()).unwrap().to_owned();
        (what, row["count"].as_u64().unwrap(), row["coalesced"].as_u64().unwrap())
    };
    history.iter().rev().map(outcome).collect()
}

#[test]
fn a_due_minute_starts_one_run_and_the_daemon_ends_when_told() {
    let sandbox = Sandbox::new(EVERY_MINUTE);
    let daemon = sandbox.serve();
    let started = daemon.wait_for_line("started");
    assert_eq!((&started["jobs"], &started["scheduled"]), (&json!(2), &json!(1)));
    assert!(started["zone_data"].as_str().unwrap().starts_with("20"), "{started}");
    // One real minute, at most.
    let finished = daemon.wait_for_line("run finished");
    assert_eq!((&finished["job_name"], &finished["success"]), (&json!("tick"), &json!(true)));
    daemon.stop();
    let history = sandbox.history(&[]);
    // On a busy machine another minute has come since, which has a run of its own.
    let run = history.last().unwrap();
    assert_eq!(run["job_id"], finished["job_id"]);
    assert!(run["scheduled_for"].as_str().unwrap().ends_with(":00Z"), "{history:?}");
    assert!(run["lateness"].as_f64().unwrap() >= 0.0, "{history:?}");
    assert_eq!(instants(&history).len(), history.len(), "one run a minute: {history:?}");
}

#[test]
fn minutes_missed_while_down_are_made_up_by_the_newest() {
    let begun = SystemClock.now();
    let sandbox = Sandbox::with_downtime(EVERY_MINUTE, 10);
    let daemon = sandbox.serve();
    daemon.wait_for_line("run finished");
    daemon.stop();
    let history = sandbox.history(&["tick"]);
    let run = history.iter().rfind(|row| row["coalesced"] != 0).unwrap();
    assert_eq!(run["state"], "succeeded", "{run}");
    // Ten minutes, and those that passed in truth, of which the newest has the run.
    assert!((9..=10 + minutes_since(begun)).contains(&run["coalesced"].as_u64().unwrap()), "{run}");
    // Nothing is due a second time.
    let daemon = sandbox.serve();
    daemon.stop();
    let again = sandbox.history(&["tick"]);
    let ran = |history: &[Value]| -> Vec<Value> {
        history.iter().filter(|row| row["state"] != "skipped").cloned().collect()
    };
    assert_eq!(instants(&ran(&again)).len(), ran(&again).len(), "{again:?}");
    assert!(instants(&ran(&history)).is_subset(&instants(&ran(&again))), "{again:?}");
}

#[test]
fn what_was_missed_for_too_long_is_skipped_with_its_count() {
    let begun = SystemClock.now();
    let yaml = EVERY_MINUTE.replace("misfire_grace_time: 3600", "misfire_grace_time: 1");
    let sandbox = Sandbox::with_downtime(&yaml, 24 * 60);
    let daemon = sandbox.serve();
    let skipped = daemon.wait_for_line("skipped");
    daemon.stop();
    assert_eq!((&skipped["reason"], &skipped["job_name"]), (&json!("misfire"), &json!("tick")));
    let count = skipped["count"].as_u64().unwrap();
    assert!((1439..=1440 + minutes_since(begun)).contains(&count), "{skipped}");
    let history = sandbox.history(&["tick"]);
    let is_told = |(what, of, _): &(String, u64, u64)| what == "misfire" && *of >= count;
    assert!(outcomes(&history).iter().any(is_told), "{history:?}");
}

#[test]
fn what_falls_due_in_a_pause_is_skipped_and_not_made_up() {
    let sandbox = Sandbox::with_downtime(EVERY_MINUTE, 3);
    assert_eq!(sandbox.run(&["pause"]).code, Some(0));
    let daemon = sandbox.serve();
    let skipped = daemon.wait_for_line("skipped");
    assert_eq!(skipped["reason"], "paused");
    let status = sandbox.run(&["status", "--json"]).json(0);
    assert!(status["paused"].as_str().unwrap().ends_with("/vault/.aclarai_pause"), "{status}");
    assert_eq!(sandbox.run(&["resume"]).code, Some(0));
    daemon.stop();
    let history = sandbox.history(&["tick"]);
    let paused = history.iter().find(|row| row["reason"] == "paused").unwrap();
    assert!(paused["count"].as_u64().unwrap() >= 3, "{history:?}");
    // Resuming sets nothing off that fell due before.
    let daemon = sandbox.serve();
    daemon.stop();
    assert!(!daemon_ran(&sandbox, paused), "{:?}", sandbox.history(&["tick"]));
}

/// Whether something ran for an instant of those that `row` skips.
fn daemon_ran(sandbox: &Sandbox, row: &Value) -> bool {
    let instant = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let skipped = instant(row, "scheduled_for")..=instant(row, "last_scheduled_for");
    let ran =
        |run: &Value| run["state"] != "skipped" && skipped.contains(&instant(run, "scheduled_for"));
    sandbox.history(&["tick"]).iter().any(ran)
}

#[test]
fn a_daemon_killed_in_a_run_leaves_no_child_and_knows_the_run_was_cut_off() {
    let sandbox = Sandbox::with_downtime(LONG, 2);
    let daemon = sandbox.serve();
    let id = daemon.wait_for_line("ready")["job_id"].as_str().unwrap().to_owned();
    let mark = format!("ACLARAI_JOB_ID={id}");
    wait_until("program and child are there", || processes_with(&mark).len() == 2);
    daemon.kill();
    wait_until("both are gone", || processes_with(&mark).is_empty());
    // Seen as interrupted already before a daemon has put it to rest.
    assert_eq!(row_of(&sandbox, &id)["state"], "interrupted");
    let daemon = sandbox.serve();
    daemon.stop();
    // Not run again.
    assert_eq!(row_of(&sandbox, &id)["state"], "interrupted");
}

#[test]
fn a_run_that_was_cut_off_is_repeated_where_that_is_wanted() {
    let yaml = LONG.replace("enabled: true", "enabled: true\n      rerun_interrupted: true");
    let sandbox = Sandbox::with_downtime(&yaml, 2);
    let daemon = sandbox.serve();
    let first = daemon.wait_for_line("ready");
    daemon.kill();
    let daemon = sandbox.serve();
    let second = daemon.wait_for_line("ready");
    let again = format!("{}_r2", first["job_id"].as_str().unwrap());
    assert_eq!(second["job_id"], again.as_str());
    daemon.stop();
}

#[test]
fn a_stop_gives_running_jobs_their_grace_and_then_ends_them() {
    let sandbox = Sandbox::with_downtime(LONG, 2);
    let daemon = sandbox.serve();
    let id = daemon.wait_for_line("ready")["job_id"].as_str().unwrap().to_owned();
    daemon.signal(Signal::INT);
    let mut daemon = daemon;
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.stderr());
    // On a busy machine the daemon does not wait until the kernel has let go of the last of them.
    wait_until("both are gone", || processes_with(&format!("ACLARAI_JOB_ID={id}")).is_empty());
    let run = row_of(&sandbox, &id);
    assert_eq!(run["state"], "interrupted");
    assert!(run["duration"].as_f64().unwrap() >= 1.0, "the grace is a second: {run}");
}

#[test]
fn a_job_that_ignores_sigterm_does_not_hold_the_daemon() {
    let yaml = LONG.replace(
        "setsid sleep 1000 & echo ready; exec sleep 1000",
        "trap '' TERM; echo ready; while :; do sleep 0.1; done",
    );
    let sandbox = Sandbox::with_downtime(&yaml, 2);
    let mut daemon = sandbox.serve();
    let id = daemon.wait_for_line("ready")["job_id"].as_str().unwrap().to_owned();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.stderr());
    wait_until("it is gone", || processes_with(&format!("ACLARAI_JOB_ID={id}")).is_empty());
    assert_eq!(row_of(&sandbox, &id)["state"], "interrupted");
}

#[test]
fn a_second_signal_ends_at_once() {
    let yaml = LONG.replace("shutdown_grace_time: 1", "shutdown_grace_time: 3600");
    let sandbox = Sandbox::with_downtime(&yaml, 2);
    let mut daemon = sandbox.serve();
    let id = daemon.wait_for_line("ready")["job_id"].as_str().unwrap().to_owned();
    daemon.signal(Signal::TERM);
    daemon.wait_for_line("stopping");
    // Another configuration comes too late.
    daemon.signal(Signal::HUP);
    // Within a second it would be the same signal.
    SystemClock.wait(Duration::from_millis(1_100), &|| false);
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait().code(), Some(130));
    assert!(daemon.log().iter().all(|line| line["message"] != "configuration reloaded"));
    assert!(
        daemon.stderr().ends_with("error: told twice to stop: ended at once"),
        "{}",
        daemon.stderr()
    );
    wait_until("it is gone", || processes_with(&format!("ACLARAI_JOB_ID={id}")).is_empty());
    assert_eq!(row_of(&sandbox, &id)["state"], "interrupted");
}

#[test]
fn a_reload_takes_a_good_configuration_and_refuses_a_bad_one() {
    let sandbox = Sandbox::new(EVERY_MINUTE);
    let daemon = sandbox.serve();
    let never = "scheduler: {jobs: {vault_sync: {enabled: false}, other: {enabled: true, cron: '0 0 1 1 *', command: ['true']}}}\n";
    sandbox.configure(never);
    daemon.signal(Signal::HUP);
    let reloaded = daemon.wait_for_line("configuration reloaded");
    assert_eq!((&reloaded["jobs"], &reloaded["scheduled"]), (&json!(2), &json!(1)));
    sandbox.configure(
        &never.replace("0 0 1 1 *", "61 * * * *").replace("enabled: false", "enabled: never"),
    );
    daemon.signal(Signal::HUP);
    let refused = daemon.wait_for_line("configuration not reloaded, the old one stays in force");
    let error = refused["error"].as_str().unwrap();
    assert!(
        error.contains("scheduler.jobs.vault_sync.enabled") && error.contains("minute 61"),
        "{error}"
    );
    assert_eq!(refused["level"], "ERROR");
    // A job whose parameters are wrong is as bad as a line that is.
    sandbox.configure("scheduler: {jobs: {vault_sync: {on_missing: delete}}}\n");
    daemon.signal(Signal::HUP);
    let refused =
        daemon.wait_for_lines("configuration not reloaded, the old one stays in force", 2);
    assert!(
        refused[1]["error"].as_str().unwrap().contains("scheduler.jobs.vault_sync.on_missing"),
        "{refused:?}"
    );
    daemon.stop();
}

#[test]
fn one_daemon_at_a_time_has_a_state_folder() {
    let sandbox = Sandbox::new(EVERY_MINUTE);
    let first = sandbox.serve();
    let second = sandbox.run(&["serve", "--log-level", "CRITICAL"]);
    assert_eq!((second.code, second.stdout.as_str()), (Some(4), ""));
    let expected = format!("error: DIR/state is in use by process {} since ", first.pid());
    assert!(
        second.stderr.starts_with(&expected) && second.stderr.lines().count() == 1,
        "{second:?}"
    );
    let status = sandbox.run(&["status", "--json"]).json(0);
    assert_eq!((&status["running"], &status["pid"]), (&json!(true), &json!(first.pid())));
    assert_eq!(status["next"]["job_name"], "tick");
    first.kill();
    assert_eq!(sandbox.run(&["status"]).code, Some(4));
    // A lock dies with its process, however that ended.
    sandbox.serve().stop();
}

#[test]
fn faults_at_the_start_are_told_all_at_once() {
    let sandbox = Sandbox::new(
        r#"
scheduler:
  jobs:
    vault_sync: {enabled: true, on_missing: delete}
    other: {enabled: true, kind: vault_snyc}
    third: {enabled: false, kind: mystery}
    top_concepts: {enabled: true, count: 25}
"#,
    );
    let run = sandbox.run(&["serve", "--log-level", "CRITICAL"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("scheduler.jobs.vault_sync.on_missing"), "{run:?}");
    assert!(
        run.stderr
            .lines()
            .all(|line| line.starts_with("error: ") && line.contains("aclarai.config.yaml:")),
        "{run:?}"
    );
    assert!(!run.stderr.contains("top_concepts"), "not runnable is no error: {run:?}");
}

#[test]
fn a_job_without_code_is_said_once_and_the_rest_goes_on() {
    let sandbox =
        Sandbox::new(&format!("{EVERY_MINUTE}    top_concepts: {{enabled: true, count: 25}}\n"));
    let daemon = sandbox.serve();
    let warnings = daemon.wait_for_lines("job is not runnable", 1);
    assert_eq!((warnings.len(), &warnings[0]["job_name"]), (1, &json!("top_concepts")));
    assert!(warnings[0]["remedy"].as_str().unwrap().contains("add command: [...]"));
    daemon.stop();
}

#[test]
fn the_log_names_each_note_that_needs_a_look() {
    let sandbox = Sandbox::with_downtime(
        "scheduler: {jobs: {vault_sync: {cron: '* * * * *', misfire_grace_time: 3600}}}\n",
        5,
    );
    sandbox
        .write("vault/summaries/a.md", "A text. <!-- aclarai:ID=clm_1 -->\n\nMore of the text.\n");
    for n in 0..25 {
        let bad = sandbox.write(&format!("vault/summaries/bad{n:02}.md"), "");
        std::fs::write(bad, b"caf\xe9 <!-- aclarai:id=clm_2 -->\n").unwrap();
    }
    let daemon = sandbox.serve();
    let finished = daemon.wait_for_line("run finished");
    assert_eq!((&finished["errors"], &finished["warnings"]), (&json!(25), &json!(1)));
    let log = daemon.log();
    daemon.stop();
    let told: Vec<&Value> =
        log.iter().filter(|line| line["filename.function_name"] == "execute.log_faults").collect();
    assert!(told.iter().all(|line| line["job_id"] == finished["job_id"]), "{told:?}");
    let says = |level: &str, message: &str| {
        let is = |line: &&&Value| {
            line["level"] == level && line["message"].as_str().unwrap().contains(message)
        };
        told.iter().filter(is).count()
    };
    // A note that was written a moment ago is looked at once more before it is told of.
    let near_misses = says("WARNING", "a.md: line 1: near_miss_marker");
    assert_eq!(near_misses + says("ERROR", ".md: not UTF-8 at byte 3"), 20, "{told:?}");
    let last = told.last().unwrap();
    assert_eq!(
        (&last["message"], &last["count"]),
        (&json!("more faults than are shown"), &json!(6))
    );
}

#[test]
fn the_service_manager_is_told_how_the_daemon_is() {
    let abstract_name = format!("aclarai-test-{}", std::process::id());
    for by_path in [true, false] {
        let mut sandbox = Sandbox::new(EVERY_MINUTE);
        let (address, name) = if by_path {
            let path = sandbox.path("notify.socket");
            (SocketAddr::from_pathname(&path).unwrap(), path.to_str().unwrap().to_owned())
        } else {
            (SocketAddr::from_abstract_name(&abstract_name).unwrap(), format!("@{abstract_name}"))
        };
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager.set_nonblocking(true).unwrap();
        sandbox.variable("NOTIFY_SOCKET", &name);
        let mut told = Vec::new();
        let mut wait_for_word = |word: &str| {
            wait_for(word, || {
                let mut buffer = [0; 4096];
                while let Ok(length) = manager.recv(&mut buffer) {
                    told.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
                }
                let mut lines = told.iter().flat_map(|message| message.lines());
                lines.any(|line| line.starts_with(word)).then(|| told.clone())
            })
        };
        let daemon = sandbox.serve();
        wait_for_word("READY=1");
        wait_for_word("WATCHDOG=1");
        wait_for_word("STATUS=next tick at 20");
        daemon.signal(Signal::HUP);
        let told = wait_for_word("RELOADING=1");
        let reloading = told.iter().find(|message| message.starts_with("RELOADING=1")).unwrap();
        let moment = reloading.lines().nth(1).unwrap().strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(moment.parse::<u64>().unwrap() > 0);
        wait_until("it is ready again", || {
            let told = wait_for_word("READY=1");
            let at = told.iter().position(|message| message.starts_with("RELOADING=1")).unwrap();
            told[at..].iter().any(|message| message == "READY=1")
        });
        daemon.stop();
        wait_for_word("STOPPING=1");
    }
}

#[test]
fn a_run_by_hand_beside_the_daemon_counts_as_an_instance() {
    let sandbox = Sandbox::with_downtime(LONG, 2);
    let daemon = sandbox.serve();
    daemon.wait_for_line("ready");
    let run = sandbox.run(&["run", "long", "--log-level", "CRITICAL"]);
    assert_eq!(run.code, Some(4), "{run:?}");
    let expected = format!("in process {}", daemon.pid());
    assert!(
        run.stderr.contains("long is running already") && run.stderr.contains(&expected),
        "{run:?}"
    );
    daemon.stop();
}

#[test]
fn a_damaged_state_file_is_moved_aside_loudly_and_never_fatal() {
    let sandbox = Sandbox::with_downtime(EVERY_MINUTE, 5);
    let path = sandbox.path("state/state.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20..60].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let daemon = sandbox.serve();
    let said = daemon.wait_for_line(
        "state file is damaged: moved aside, beginning a new one; history and last fire times are lost",
    );
    assert_eq!(said["level"], "ERROR");
    assert_eq!(fs::read(said["moved_to"].as_str().unwrap()).unwrap(), bytes, "kept as it was");
    daemon.wait_for_line("started");
    daemon.stop();
    // What was due before is unknown now: nothing is made up.
    let runs = sandbox.history(&["tick"]);
    assert!(runs.iter().all(|run| run["coalesced"] == 0), "{runs:?}");
}

/// Takes up to a real minute.
#[test]
fn a_daemon_that_cannot_write_says_so_starts_nothing_and_recovers() {
    let sandbox = Sandbox::new(EVERY_MINUTE);
    let daemon = sandbox.serve();
    daemon.wait_for_line("started");
    let (state, away) = (sandbox.path("state"), sandbox.path("away"));
    fs::rename(&state, &away).unwrap();
    fs::write(&state, "in the way").unwrap();
    let refused =
        daemon.wait_for_line("state file cannot be written: nothing is started until it can");
    assert!(refused["error"].as_str().unwrap().contains("--state-dir"), "{refused}");
    fs::remove_file(&state).unwrap();
    fs::rename(&away, &state).unwrap();
    daemon.wait_for_line("state file can be written again");
    wait_until("a run after that", || {
        daemon.log().iter().rev().any(|line| {
            line["message"] == "run finished"
                && line["timestamp"].as_str() > refused["timestamp"].as_str()
        })
    });
    let log = daemon.log();
    daemon.stop();
    let between = log
        .iter()
        .skip_while(|line| line["message"] != refused["message"])
        .take_while(|line| line["message"] != "state file can be written again");
    let between: Vec<&Value> = between.collect();
    assert!(between.iter().all(|line| line["message"] != "run started"), "{between:?}");
    let mut runs: Vec<String> =
        sandbox.history(&["tick"]).iter().map(|run| run["job_id"].to_string()).collect();
    let all = runs.len();
    runs.sort();
    runs.dedup();
    assert!(all > 0 && runs.len() == all, "each once: {runs:?}");
}

#[test]
fn an_idle_daemon_has_no_child() {
    let sandbox = Sandbox::with_downtime(EVERY_MINUTE, 2);
    let daemon = sandbox.serve();
    daemon.wait_for_line("run finished");
    wait_until("nothing is left of the run", || children_of(daemon.pid()).is_empty());
    daemon.stop();
}

/// As if the machine had been suspended when the minute came.
#[test]
fn a_minute_slept_through_by_a_stopped_daemon_is_made_up() {
    let sandbox = Sandbox::new(EVERY_MINUTE);
    let daemon = sandbox.serve();
    // A run that is stopped with the daemon would still be under way when the next one is due, which then is skipped.
    wait_until("it is the middle of a minute", || {
        (5..55).contains(&(SystemClock.now().timestamp() % 60))
    });
    daemon.signal(Signal::STOP);
    let minute = SystemClock.now().timestamp() / 60 + 1;
    wait_until("the minute has passed", || SystemClock.now().timestamp() >= minute * 60 + 2);
    daemon.signal(Signal::CONT);
    let id = format!("tick_{}", minute * 60);
    wait_until("it was made up", || {
        daemon.log().iter().any(|line| line["message"] == "run finished" && line["job_id"] == id)
    });
    daemon.stop();
    let history = sandbox.history(&["tick"]);
    let runs: Vec<&Value> = history.iter().filter(|row| row["job_id"] == id).collect();
    assert_eq!(runs.len(), 1, "{history:?}");
    assert!(runs[0]["lateness"].as_f64().unwrap() >= 1.0, "it was stopped: {history:?}");
}

#[test]
#[ignore = "takes more than two minutes: cargo test --test integration -- --ignored"]
fn minutes_slept_through_by_a_stopped_daemon_are_made_up() {
    let sandbox = Sandbox::new(EVERY_MINUTE);
    let daemon = sandbox.serve();
    daemon.wait_for_line("run finished");
    daemon.signal(Signal::STOP);
    // As if the machine had been suspended.
    SystemClock.wait(std::time::Duration::from_secs(150), &|| false);
    daemon.signal(Signal::CONT);
    let runs = daemon.wait_for_lines("run finished", 2);
    assert_eq!(runs[1]["success"], true);
    daemon.stop();
    let history = sandbox.history(&["tick"]);
    let run = history.iter().find(|row| row["job_id"] == runs[1]["job_id"]).unwrap();
    assert!((1..=2).contains(&run["coalesced"].as_u64().unwrap()), "{history:?}");
    assert_eq!(history.iter().filter(|row| row["job_id"] == runs[1]["job_id"]).count(), 1);
}

#[test]
#[ignore = "takes ten minutes: cargo test --test integration -- --ignored"]
fn ten_minutes_make_ten_runs() {
    let sandbox = Sandbox::new(EVERY_MINUTE);
    let daemon: Daemon = sandbox.serve();
    for count in 1..=10 {
        daemon.wait_for_lines("run finished", count);
    }
    daemon.stop();
    let history = sandbox.history(&["tick"]);
    assert_eq!((instants(&history).len(), history.len()), (10, 10), "{history:?}");
}
