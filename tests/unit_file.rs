//! The systemd units: systemd itself finds nothing wrong with them, and the system's one keeps its walls up. Where
//! systemd's tool is missing, a test says so and looks at nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "a test says what it skipped")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use aclarai_scheduler::cli::Exit;
use aclarai_scheduler::inside::clock::LONGEST_WAIT;
use aclarai_scheduler::inside::config::{self, Env, Overrides};
use aclarai_scheduler::inside::stop::END_MAX;

const UNITS: [&str; 2] = ["aclarai-scheduler.service", "aclarai-scheduler.user.service"];

/// What `systemd-analyze security` may say at most: 10 is no wall at all, 0 is a service that can do nothing.
const EXPOSURE_MAX: f64 = 2.0;

fn settings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("settings")
}

fn text(unit: &str) -> String {
    fs::read_to_string(settings().join(unit)).unwrap()
}

/// The values given to a key, in order.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[track_caller]
fn value<'t>(text: &'t str, key: &str) -> &'t str {
    let found = values(text, key);
    assert_eq!(found.len(), 1, "{key}: {found:?}");
    found[0]
}

/// Runs `systemd-analyze` on units that name a program that is here; `None` where there is no such tool.
fn analyze(arguments: &[&str], file: &str, text: &str) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join(file.replace(".user", ""));
    let here = env!("CARGO_BIN_EXE_aclarai-scheduler");
    fs::write(&unit, text.replace("/usr/bin/aclarai-scheduler", here)).unwrap();
    let mut command = Command::new("systemd-analyze");
    // Only for `--user`, which wants to know where a user's sockets would be.
    let run = command.args(arguments).arg(&unit).env("XDG_RUNTIME_DIR", folder.path()).output();
    if run.is_err() {
        println!("not run: there is no systemd-analyze here");
    }
    run.ok()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The example of a drop-in with its lines in force, as far as they may stand together.
fn drop_in() -> String {
    let example = text("aclarai-scheduler.service.d/local.conf");
    let live = |line: &str| -> Option<String> {
        let bare = line.strip_prefix('#')?;
        let is_setting =
            bare.starts_with('[') || bare.split_once('=').is_some_and(|(key, _)| is_key(key));
        is_setting.then(|| bare.to_owned())
    };
    example.lines().filter_map(live).collect::<Vec<_>>().join("\n") + "\n"
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphabetic())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    for unit in UNITS {
        let user = if unit.contains("user") { "--user" } else { "--system" };
        let Some(output) = analyze(&["verify", "--man=no", user], unit, &text(unit)) else {
            return;
        };
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""), "{unit}");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_example_of_a_drop_in() {
    let drop_in = drop_in();
    assert!(drop_in.contains("\nReadWritePaths=-/srv/notes\n"), "{drop_in}");
    // A unit may go on with a section that it had before, just as a drop-in does.
    let unit = text(UNITS[0]) + &drop_in;
    let Some(output) = analyze(&["verify", "--man=no", "--system"], UNITS[0], &unit) else {
        return;
    };
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
}

#[test]
fn the_example_of_a_drop_in_changes_nothing() {
    let example = text("aclarai-scheduler.service.d/local.conf");
    assert!(example.lines().all(|line| line.is_empty() || line.starts_with('#')), "{example}");
}

#[test]
fn the_system_unit_is_hardened() {
    let arguments = ["security", "--offline=true", "--no-pager"];
    let Some(output) = analyze(&arguments, UNITS[0], &text(UNITS[0])) else { return };
    let said = said(&output);
    let (_, verdict) =
        said.rsplit_once("Overall exposure level for ").unwrap_or_else(|| panic!("{said}"));
    let exposure: f64 = verdict.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(exposure <= EXPOSURE_MAX, "{said}");
}

#[test]
fn both_units_treat_the_daemon_alike() {
    for key in [
        "Type",
        "WatchdogSec",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
        "TimeoutStopSec",
        "KillMode",
        "ExecReload",
        "StartLimitIntervalSec",
        "StartLimitBurst",
        "UMask",
        "MemoryMax",
        "TasksMax",
        "OOMPolicy",
        "LimitCORE",
    ] {
        assert_eq!(value(&text(UNITS[0]), key), value(&text(UNITS[1]), key), "{key}");
    }
}

#[test]
fn a_start_that_no_restart_can_help_is_not_tried_again() {
    for unit in UNITS {
        let text = text(unit);
        let codes: Vec<u8> = value(&text, "RestartPreventExitStatus")
            .split(' ')
            .map(|code| code.parse().unwrap())
            .collect();
        assert_eq!(codes, [Exit::Usage as u8], "{unit}");
        assert_eq!(value(&text, "Restart"), "on-failure", "{unit}");
    }
}

/// `2min`, `60`, as far as these units need it.
fn seconds(value: &str) -> Duration {
    let (number, unit) =
        value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
    let factor = match unit {
        "" | "s" => 1,
        "min" => 60,
        other => panic!("{other} is no unit of time here"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * factor)
}

#[test]
fn the_times_of_the_units_fit_those_of_the_program() {
    let env = Env::new("/nowhere", [("HOME", "/home/me")]);
    let defaults = config::from_text("", "c.yaml", &Overrides::default(), &env).unwrap();
    for unit in UNITS {
        let unit = text(unit);
        let stop = seconds(value(&unit, "TimeoutStopSec"));
        // What jobs and commands that tell of them may take after the grace; the rest is for a disk that is slow.
        assert!(stop > defaults.scheduler.shutdown_grace_time + END_MAX);
        let watchdog = seconds(value(&unit, "WatchdogSec"));
        assert!(watchdog >= 3 * LONGEST_WAIT, "a busy machine may be late twice");
        // Five starts in a row must fit into the interval, or the limit is none.
        let burst: u32 = value(&unit, "StartLimitBurst").parse().unwrap();
        let interval = seconds(value(&unit, "StartLimitIntervalSec"));
        assert!(burst * seconds(value(&unit, "RestartSec")) < interval);
    }
}

/// A command that is typed for the service sees the configuration, the state folder and the variables of the service.
#[test]
fn the_commands_that_are_told_to_be_typed_for_the_service_look_where_the_service_looks() {
    let root = settings().parent().unwrap().to_owned();
    let page = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let unit = text("aclarai-scheduler.service");
    let (user, folder) = (value(&unit, "User"), value(&unit, "WorkingDirectory"));
    let config = value(&unit, "ExecStart").split_once("--config ").unwrap().1;
    let config = config.split_whitespace().next().unwrap();

    let mut typed = 0;
    for name in
        ["README.md", "docs/operating.md", "docs/troubleshooting.md", "packaging/debian/postinst"]
    {
        // A line that goes on below the next, also where a shell prints it so.
        let text = page(name).replace("\\\\\"\n", "\\\n").replace("\\\n", " ");
        for line in text.split("sudo -u ").skip(1) {
            let line = line.lines().next().unwrap();
            assert!(line.starts_with(&format!("{user} aclarai-scheduler")), "{name}: {line}");
            assert!(line.contains(&format!("--config {config}")), "{name}: {line}");
            assert!(line.contains(&format!("--state-dir {folder}")), "{name}: {line}");
            typed += 1;
        }
    }
    assert_eq!(typed, 2, "README and postinst");

    let guide = page("docs/operating.md");
    let acl = guide.split_once("\nacl() {").unwrap().1.split_once("\n}").unwrap().0;
    let environment = value(&unit, "EnvironmentFile");
    for part in [
        format!("--uid={user} "),
        format!("-p WorkingDirectory={folder} "),
        format!("-p EnvironmentFile={environment} "),
        format!("-E STATE_DIRECTORY={folder} "),
        format!("-E ACLARAI_CONFIG={config} "),
    ] {
        assert!(acl.contains(&part), "acl has no {part}: {acl}");
    }
    assert_eq!(folder, format!("/var/lib/{}", value(&unit, "StateDirectory")));
}
