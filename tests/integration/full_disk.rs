//! The disk of the state folder fills up under a running daemon and is freed again: nothing is lost, nothing runs twice, and
//! `status` says it. A small disk needs root and a mount namespace; without them the test says so and passes.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::sandbox::{Daemon, PROGRAM, Run, Sandbox};
use crate::wait::wait_until;

/// Each run leaves a line outside of the small disk, so that it is known which there were.
const JOBS: &str = r#"
scheduler:
  jobs:
    vault_sync: {enabled: false}
    tick:
      enabled: true
      cron: "@every 1s"
      misfire_grace_time: 3600
      command: [sh, -c, 'echo "$ACLARAI_JOB_ID" >> ran']
    long:
      enabled: true
      cron: "@reboot"
      command: [sh, -c, 'while [ ! -e go ]; do sleep 0.1; done; echo "$ACLARAI_JOB_ID" >> ran']
"#;

/// A state folder on a disk of its own, in the mount namespace of a process that holds it.
struct SmallDisk {
    sandbox: Sandbox,
    holder: Daemon,
}

impl SmallDisk {
    /// `None` where nothing can be mounted.
    fn new(yaml: &str) -> Option<SmallDisk> {
        let sandbox = Sandbox::new(yaml);
        fs::create_dir(sandbox.path("state")).unwrap();
        // The line that is waited for looks like one of the log.
        let holder = sandbox.start_shell(
            "unshare -m sh -c 'mount -t tmpfs -o size=3m tmpfs \"$STATE_DIRECTORY\" \
             && echo \"{\\\"message\\\": \\\"mounted\\\"}\" >&2 && exec sleep 1000' \
             || echo '{\"message\": \"mounted\", \"not\": true}' >&2",
        );
        let told = holder.wait_for_line("mounted");
        told["not"].is_null().then_some(SmallDisk { sandbox, holder })
    }

    /// A command line that runs where the disk is to be seen.
    fn line(&self, command: &str) -> String {
        // The holder is the shell; what holds the namespace is its child.
        let shell = self.holder.pid();
        let holder = crate::wait::children_of(shell).first().copied().unwrap_or(shell);
        let folder = self.sandbox.path("");
        format!("exec nsenter -t {holder} -m sh -c 'cd {} && exec {command}'", folder.display())
    }

    fn serve(&self) -> Daemon {
        self.sandbox.start_shell(&self.line(&format!("{PROGRAM} serve")))
    }

    fn run(&self, arguments: &str) -> Run {
        self.in_it(&format!("{PROGRAM} {arguments}"))
    }

    fn in_it(&self, command: &str) -> Run {
        let output = self.sandbox.program("sh", &["-c", &self.line(command)]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code() }
    }

    fn reasons(&self) -> String {
        let status: Value = serde_json::from_str(&self.run("status --json").stdout).unwrap();
        status["reasons"].to_string()
    }

    /// Everything of the history, the newest first.
    fn history(&self) -> Vec<Value> {
        serde_json::from_str(&self.run("history --json -n 10000").stdout).unwrap()
    }

    /// A file on the small disk, seen from outside.
    fn path(&self, daemon: &Daemon, name: &str) -> PathBuf {
        let state = self.sandbox.path("state");
        let below = state.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", daemon.pid())).join(below).join(name)
    }

    fn fill(&self, daemon: &Daemon) {
        let mut file = fs::File::create(self.path(daemon, "fill")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// The runs that there were.
    fn ran(&self) -> Vec<String> {
        let ran = fs::read_to_string(self.sandbox.path("ran")).unwrap_or_default();
        ran.lines().map(str::to_owned).collect()
    }

    /// Waits until one more run has been made.
    fn runs_once_more(&self) {
        let before = self.ran().len();
        wait_until("one more run", || self.ran().len() > before);
    }

    /// Each run has one row, and each second from the first to the last one row too.
    fn is_accounted_for(&self) {
        let history = self.history();
        let of = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let mut ran = self.ran();
        ran.sort();
        for id in &ran {
            let rows = history.iter().filter(|row| of(row, "job_id") == *id);
            assert_eq!(rows.count(), 1, "{id} in the history");
        }
        let all = ran.len();
        ran.dedup();
        assert_eq!(ran.len(), all, "a run was made twice: {ran:?}");
        let mut seconds = BTreeSet::new();
        for row in history.iter().filter(|row| row["job_name"] == "tick") {
            let instant = |key| of(row, key).parse::<DateTime<Utc>>().unwrap();
            let first = instant("scheduled_for");
            for n in 0..row["count"].as_i64().unwrap() {
                let second = first + TimeDelta::seconds(n);
                assert!(seconds.insert(second), "{second} is decided twice: {row}");
            }
        }
        let (first, last) = (*seconds.first().unwrap(), *seconds.last().unwrap());
        let between = (last - first).num_seconds() + 1;
        assert_eq!(seconds.len() as i64, between, "a second has no row");
    }
}

#[test]
fn a_disk_that_fills_up_and_is_freed_loses_nothing_and_runs_nothing_twice() {
    let Some(disk) = SmallDisk::new(JOBS) else {
        eprintln!("left out: nothing can be mounted here (root and unshare are needed)");
        return;
    };
    let daemon = disk.serve();
    daemon.wait_for_line("started");
    disk.runs_once_more();
    disk.fill(&daemon);
    daemon.wait_for_line("state file cannot be written: nothing is started until it can");
    wait_until("status says so", || {
        let status = disk.run("status");
        status.code == Some(4)
            && (status.stdout.contains("full") || status.stdout.contains("cannot be written"))
    });
    // A run ends meanwhile: its end waits until there is room.
    fs::write(disk.sandbox.path("go"), "").unwrap();
    wait_until("the long run is over", || disk.ran().iter().any(|id| id.starts_with("long_")));
    let while_full = disk.ran().len();
    fs::remove_file(disk.path(&daemon, "fill")).unwrap();
    daemon.wait_for_line("state file can be written again");
    disk.runs_once_more();
    wait_until("status is well again", || disk.reasons() == "[]");
    disk.is_accounted_for();
    let long = disk.history().into_iter().find(|row| row["job_name"] == "long").unwrap();
    assert_eq!(long["state"], "succeeded", "{long}");
    assert!(disk.ran().len() > while_full);

    // A power cut on the full disk, and a start while it is still full.
    disk.fill(&daemon);
    daemon.wait_for_lines("state file cannot be written: nothing is started until it can", 2);
    daemon.kill();
    let again = disk.serve();
    // What the dead one's log gave back may be enough to begin with.
    wait_until("it starts, or says why it does not", || {
        let said = again.stderr();
        said.contains("\"started\"") || said.contains("error: ")
    });
    again.kill();
    assert_eq!(disk.in_it("rm state/fill").code, Some(0));
    let daemon = disk.serve();
    daemon.wait_for_line("started");
    disk.runs_once_more();
    disk.is_accounted_for();
    daemon.stop();
}
