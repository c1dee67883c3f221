//! What an operator meets: an installation, a Neo4j that is not up yet, a vault that is not mounted, a configuration that
//! turned bad. The daemon lives wherever a later try may do better, and ends with a code that tells systemd not to try
//! again where it may not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::sandbox::{PROGRAM, Sandbox};
use crate::wait::wait_until;

/// Due at the next start. The port is one that nobody listens on.
const NO_NEO4J: &str = r#"
databases: {neo4j: {uri: "bolt://127.0.0.1:1"}}
processing: {retries: {max_attempts: 2}}
scheduler:
  jobs:
    vault_sync: {cron: "* * * * *", misfire_grace_time: 3600}
    other: {enabled: true, cron: "* * * * *", misfire_grace_time: 3600, command: ["true"]}
"#;

#[test]
fn a_neo4j_that_is_not_there_fails_runs_and_not_the_daemon() {
    let mut sandbox = Sandbox::with_downtime(NO_NEO4J, 2);
    sandbox.variable("NEO4J_PASSWORD", "hush-hush");
    let metrics = sandbox.path("metrics/aclarai.prom");
    fs::create_dir(sandbox.path("metrics")).unwrap();
    let daemon = sandbox.start(&["serve", "--metrics-file", metrics.to_str().unwrap()]);

    let failed = daemon.wait_for_line("run failed");
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("check that the server is up"), "{error}");
    let is_retry =
        |line: &serde_json::Value| line["message"].as_str().unwrap().ends_with(": trying again");
    assert!(daemon.log().iter().any(is_retry), "it waits and says so:\n{}", daemon.stderr());
    // Other jobs do not mind.
    assert_eq!(daemon.wait_for_line("run finished")["job_name"], "other");
    assert_eq!(sandbox.run(&["status"]).code, Some(0));

    // One each, and one more for each minute that begins meanwhile.
    let is_counted = |text: &str| {
        let has = |outcome: &str| {
            let name = format!("aclarai_scheduler_runs_total{{{outcome}}} ");
            text.lines().any(|line| line.strip_prefix(&name).is_some_and(|count| count != "0"))
        };
        has(r#"job_name="vault_sync",outcome="failed""#)
            && has(r#"job_name="other",outcome="succeeded""#)
            && text.contains("\naclarai_scheduler_up 1\n")
    };
    wait_until("both runs are counted", || {
        fs::read_to_string(&metrics).is_ok_and(|text| is_counted(&text))
    });
    assert!(!daemon.stderr().contains("hush-hush"));
    daemon.stop();
    let text = fs::read_to_string(&metrics).unwrap();
    assert!(text.contains("\naclarai_scheduler_up 0\n") && !text.contains("hush-hush"), "{text}");
    assert_eq!(fs::metadata(&metrics).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(
        fs::read_dir(sandbox.path("metrics")).unwrap().count(),
        1,
        "no temporary file stays"
    );

    let by_hand = sandbox.run(&["run", "vault_sync", "--log-format", "text"]);
    assert_eq!(by_hand.code, Some(4), "{}", by_hand.stderr);
}

#[test]
fn a_daemon_starts_without_its_vault_and_finds_it_later() {
    let sandbox = Sandbox::with_downtime(
        "scheduler: {jobs: {vault_sync: {cron: '* * * * *', misfire_grace_time: 3600}}}\n",
        2,
    );
    fs::rename(sandbox.path("vault"), sandbox.path("unplugged")).unwrap();
    let daemon = sandbox.start(&["serve"]);
    let failed = daemon.wait_for_line("run failed");
    assert!(
        failed["error"].as_str().unwrap().contains("no such folder: create it, mount it"),
        "{failed}"
    );
    let by_hand = sandbox.run(&["run", "vault_sync"]);
    assert_eq!(by_hand.code, Some(4), "{}", by_hand.stderr);

    fs::rename(sandbox.path("unplugged"), sandbox.path("vault")).unwrap();
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    daemon.stop();
}

#[test]
fn a_metrics_file_that_cannot_be_written_holds_nothing_up() {
    let sandbox = Sandbox::new("scheduler: {jobs: {vault_sync: {enabled: false}}}\n");
    let daemon = sandbox.start(&["serve", "--metrics-file", "no/such/folder/a.prom"]);
    daemon.wait_for_line(
        "metrics file cannot be written: name a file in a folder that this user may write in",
    );
    daemon.wait_for_line("started");
    daemon.stop();

    let run =
        sandbox.run(&["run", "vault_sync", "--json", "--metrics-file", "no/such/folder/a.prom"]);
    assert_eq!(run.json(0)["success"], true);
    assert!(run.stderr.contains("metrics file cannot be written"), "{}", run.stderr);
}

#[test]
fn a_run_by_hand_writes_its_own_figures() {
    let sandbox = Sandbox::new("");
    sandbox.write("vault/summaries/a.md", "Text. <!-- aclarai:id=blk_a1 ver=1 -->\n");
    let path = sandbox.path("run.prom");
    let arguments = ["run", "vault_sync", "--metrics-file", path.to_str().unwrap()];
    assert_eq!(sandbox.run(&[&arguments[..], &["--dry-run"]].concat()).code, Some(0));
    assert!(!path.exists(), "a dry run writes nothing anywhere");
    assert_eq!(sandbox.run(&arguments).code, Some(0));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("blocks_total{job_name=\"vault_sync\",outcome=\"new\"} 1\n"), "{text}");
}

#[test]
fn a_configuration_that_turned_bad_ends_the_start_with_one_line_and_code_2() {
    let sandbox = Sandbox::new("scheduler: {wrokers: 3}\n");
    let ended = sandbox.run(&["serve"]);
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean workers?"), "{}", ended.stderr);
}

#[test]
fn what_install_places_works_and_is_left_alone_the_second_time() {
    let sandbox = Sandbox::new("");
    let install = ["install", "--user", "--vault", "vault"];
    let looked = sandbox.run(&[&install[..], &["--dry-run"]].concat());
    assert_eq!((looked.code, looked.stderr.as_str()), (Some(0), ""));
    assert!(looked.stdout.contains("would create"), "{}", looked.stdout);
    assert!(!sandbox.path("home").exists(), "a dry run creates nothing");

    let placed = sandbox.run(&install);
    assert_eq!((placed.code, placed.stderr.as_str()), (Some(0), ""));
    assert!(
        placed.stdout.contains("systemctl --user enable --now aclarai-scheduler"),
        "{}",
        placed.stdout
    );
    let config = sandbox.path("home/.config/aclarai-scheduler/aclarai.config.yaml");
    let unit =
        fs::read_to_string(sandbox.path("home/.config/systemd/user/aclarai-scheduler.service"))
            .unwrap();
    let program = fs::canonicalize(crate::sandbox::PROGRAM).unwrap();
    let expected =
        format!("\nExecStart={} --config {} serve\n", program.display(), config.display());
    assert!(unit.contains(&expected), "{unit}");

    let config = config.to_str().unwrap();
    let export = "export ACLARAI_CONFIG=DIR/home/.config/aclarai-scheduler/aclarai.config.yaml ";
    assert!(placed.stdout.contains(export), "{}", placed.stdout);
    let mut by_hand = sandbox.command(&["run", "vault_sync", "--json"]);
    let run = by_hand.env("ACLARAI_CONFIG", config).current_dir("/").output().unwrap();
    assert!(run.status.success(), "{run:?}");

    fs::write(config, "scheduler: {workers: 5}\n").unwrap();
    let again = sandbox.run(&install);
    assert_eq!(again.code, Some(0));
    assert!(
        again.stdout.contains("is there already: --vault is not written into it"),
        "{}",
        again.stdout
    );
    assert_eq!(fs::read_to_string(config).unwrap(), "scheduler: {workers: 5}\n");
}

#[test]
fn completions_are_scripts_of_their_shell() {
    let sandbox = Sandbox::new("");
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.run(&["completions", shell]);
        assert_eq!((script.code, script.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(script.stdout.contains("metrics-file"), "{shell}");
        let file = sandbox.write(shell, &script.stdout);
        let mut check = Command::new(shell);
        match check.arg("-n").arg(&file).stderr(Stdio::inherit()).status() {
            Ok(status) => assert!(status.success(), "{shell} does not take it"),
            Err(_) => println!("not run: there is no {shell} here"),
        }
    }
}

/// Whatever the limits of whoever starts it are: a service has `LimitCORE=0`, a shell or a container may have none.
#[test]
fn a_crash_leaves_no_core_dump_with_the_password_in_it() {
    let mut sandbox = Sandbox::new("scheduler: {jobs: {vault_sync: {enabled: false}}}\n");
    sandbox.variable("NEO4J_PASSWORD", "hush-hush");
    let crash = |program: &str, name: &str| {
        let mut started = sandbox.start_shell(&format!("ulimit -c unlimited && exec {program}"));
        let comm = format!("/proc/{}/comm", started.pid());
        wait_until("the shell has made way for it", || {
            fs::read_to_string(&comm).is_ok_and(|comm| comm.trim_end() == name)
        });
        if program.starts_with(PROGRAM) {
            started.wait_for_line("started");
        }
        started.signal(Signal::ABORT);
        started.wait()
    };
    if !crash("sleep 1000", "sleep").core_dumped() {
        println!("not run: nothing leaves a core dump here");
        return;
    }
    // Names of processes have 15 characters.
    let ended = crash(&format!("{PROGRAM} serve"), "aclarai-schedul");
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(Signal::ABORT.as_raw()), false));
}

#[test]
fn nobody_else_can_read_what_the_program_keeps() {
    let sandbox = Sandbox::new("scheduler: {jobs: {vault_sync: {enabled: false}}}\n");
    sandbox.write("vault/summaries/a.md", "Text. <!-- aclarai:id=blk_a1 ver=1 -->\n");
    // The mask of whoever starts it does not matter.
    let daemon = sandbox.start_shell(&format!("umask 0 && exec {PROGRAM} serve"));
    daemon.wait_for_line("started");
    let run = sandbox
        .program("sh", &["-c", &format!("umask 0 && exec {PROGRAM} run vault_sync")])
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut names = Vec::new();
    let mut paths = vec![sandbox.path("state")];
    while let Some(path) = paths.pop() {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
        if path.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in ["state.db", "state.db-wal", "state.db-shm", "graph.db"] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    daemon.stop();
}

/// As for a service that is only in the group of the vault: it may write there, but cannot give a file away.
#[test]
fn a_note_that_would_lose_its_owner_is_not_written() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root can be somebody else");
        return;
    }
    let sandbox = Sandbox::new("scheduler: {jobs: {vault_sync: {write_back: true}}}\n");
    let note = sandbox.write("vault/summaries/a.md", "One. <!-- aclarai:id=blk_a1 ver=1 -->\n");
    fs::create_dir(sandbox.path("state")).unwrap();
    // Others may look into the sandbox, whose configuration counts only where they may not write, and write in the vault.
    fs::set_permissions(sandbox.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    for open in ["vault", "vault/summaries", "vault/summaries/a.md"] {
        fs::set_permissions(sandbox.path(open), fs::Permissions::from_mode(0o777)).unwrap();
    }
    std::os::unix::fs::chown(sandbox.path("state"), Some(65534), Some(65534)).unwrap();
    let run = || {
        let mut command = sandbox.command(&["run", "vault_sync"]);
        command.uid(65534).gid(65534).output()
    };
    let Ok(first) = run() else {
        println!("not run: another user does not reach {PROGRAM}");
        return;
    };
    assert!(first.status.success(), "{first:?}");
    let edited = "Two. <!-- aclarai:id=blk_a1 ver=1 -->\n";
    fs::write(&note, edited).unwrap();
    let left = "summaries/a.md: the versions in its markers are not brought up to date: it belongs to another user";
    // Not before nobody has touched it for a while.
    wait_until("the note's turn comes", || {
        String::from_utf8(run().unwrap().stderr).unwrap().contains(left)
    });
    assert_eq!(fs::read_to_string(&note).unwrap(), edited);
    assert_eq!(fs::metadata(&note).unwrap().uid(), 0);
    assert_eq!(fs::read_dir(note.parent().unwrap()).unwrap().count(), 1, "nothing stays beside it");
}
