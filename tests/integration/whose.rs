//! Whose files the state folder and its files are, and that looking at them changes nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::sandbox::Sandbox;

const NOTHING_TO_DO: &str = "scheduler: {jobs: {vault_sync: {enabled: false}}}\n";

fn state_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_daemon_leaves_files_that_are_not_its_own_in_a_folder_named_owners() {
    let sandbox = Sandbox::new(NOTHING_TO_DO);
    let data = sandbox.write("state/owners/alice.csv", "data");
    let stale = sandbox.write("state/owners/1-1.lock", "");
    sandbox.serve().stop();
    assert_eq!(fs::read_to_string(data).unwrap(), "data");
    assert!(!stale.exists(), "what a dead process of ours left goes");
}

#[test]
fn a_lock_file_that_leads_elsewhere_stops_the_start_and_overwrites_nothing() {
    let sandbox = Sandbox::new(NOTHING_TO_DO);
    let precious = sandbox.write("precious", "precious");
    fs::create_dir(sandbox.path("state")).unwrap();
    symlink(&precious, sandbox.path("state/daemon.lock")).unwrap();
    let serve = sandbox.run(&["serve"]);
    assert_eq!(serve.code, Some(4), "{serve:?}");
    assert!(serve.stderr.contains("it is a link to another place"), "{serve:?}");
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    let check = sandbox.run(&["check"]);
    assert!(check.stdout.contains("it is a link to another place"), "{check:?}");
}

#[test]
fn a_state_folder_that_others_may_write_is_refused_by_every_command_that_writes_and_by_check() {
    let sandbox = Sandbox::new(NOTHING_TO_DO);
    fs::create_dir(sandbox.path("state")).unwrap();
    fs::set_permissions(sandbox.path("state"), fs::Permissions::from_mode(0o777)).unwrap();
    for arguments in [&["serve"][..], &["run", "vault_sync"]] {
        let refused = sandbox.run(arguments);
        assert_eq!(refused.code, Some(4), "{refused:?}");
        assert!(refused.stderr.contains("chmod go-w"), "{refused:?}");
    }
    let check = sandbox.run(&["check"]);
    assert!(check.stdout.contains("chmod go-w"), "{check:?}");
    assert_ne!(check.code, Some(0), "{check:?}");
    assert_eq!(fs::read_dir(sandbox.path("state")).unwrap().count(), 0);
}

#[test]
fn another_programs_state_db_is_refused_and_stays_as_it_is() {
    let sandbox = Sandbox::new(NOTHING_TO_DO);
    sandbox.write("state/state.db", "someone's notes, and no database\n");
    let serve = sandbox.run(&["serve"]);
    assert_eq!(serve.code, Some(4), "{serve:?}");
    assert!(serve.stderr.contains("no database of this program: move it away"), "{serve:?}");
    let kept = fs::read_to_string(sandbox.path("state/state.db")).unwrap();
    assert_eq!(kept, "someone's notes, and no database\n");
}

#[test]
fn commands_that_look_change_no_byte_and_work_on_a_read_only_mount() {
    let sandbox = Sandbox::new(NOTHING_TO_DO);
    sandbox.write("vault/summaries/a.md", "One. <!-- aclarai:id=blk_a1 ver=1 -->\n");
    let run = sandbox.run(&["run", "vault_sync"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let state = sandbox.path("state");
    let before = state_of(&state);
    let look = || {
        for arguments in [
            &["history"][..],
            &["history", "--at", "1h"],
            &["jobs"],
            &["next", "vault_sync"],
            &["attention"],
            &["blocks", "vault/summaries/a.md"],
        ] {
            let run = sandbox.run(arguments);
            assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
        }
        let status = sandbox.run(&["status"]);
        assert!(status.stderr.contains("no daemon is running"), "{status:?}");
        let check = sandbox.run(&["check"]);
        assert!(check.stdout.contains("1 blocks"), "{check:?}");
        assert!(sandbox.run(&["history"]).stdout.contains("vault_sync"));
    };
    look();
    assert!(state_of(&state) == before);
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root can mount");
        return;
    }
    let mount = |arguments: &[&str]| {
        let done = Command::new("mount").args(arguments).arg(&state).status();
        done.is_ok_and(|status| status.success())
    };
    let own = state.to_str().unwrap();
    if !mount(&["--bind", own]) {
        println!("not run: no mount may be made here");
        return;
    }
    let is_read_only = mount(&["-o", "remount,bind,ro"]);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        if is_read_only {
            look();
        }
    }));
    Command::new("umount").arg(&state).status().unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn another_vault_on_the_same_state_ends_with_3_and_writes_nothing_until_it_is_accepted() {
    let sandbox = Sandbox::new(NOTHING_TO_DO);
    let note = |vault: &str, id: &str| {
        let text = format!("Text of {id}. <!-- aclarai:id={id} ver=1 -->\n\nThe end of it.\n");
        sandbox.write(&format!("{vault}/conversations/{id}.md"), &text);
    };
    (0..4).for_each(|n| note("vault", &format!("blk_{n}")));
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    // One of four blocks that are known is here too.
    ["blk_0", "blk_x", "blk_y"].iter().for_each(|id| note("another", id));
    let another = sandbox.path("another");
    let sync = |more: &[&str]| {
        let sync = ["--vault", another.to_str().unwrap(), "run", "vault_sync", "--json"];
        sandbox.run(&[&sync, more].concat())
    };
    let graph = || fs::read(sandbox.path("state/graph.db")).unwrap();
    let before = graph();
    for dry in [&[][..], &["--dry-run"]] {
        let refused = sync(dry);
        assert_eq!(refused.code, Some(3), "{refused:?}");
        for said in ["another vault", "knows 4 blocks", "1 of them", "--accept-vault"] {
            assert!(refused.stderr.contains(said), "{said}: {refused:?}");
        }
        assert!(refused.stdout.contains("\"needs_attention\":true"), "{refused:?}");
        assert!(graph() == before, "nothing is written");
    }
    let known = sandbox.run(&["run", "vault_sync", "--json"]);
    assert!(known.code == Some(0) && known.stdout.contains("\"blocks_unchanged\":4"), "{known:?}");
    let accepted = sync(&["--accept-vault"]);
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
    assert!(accepted.stdout.contains("\"blocks_new\":2"), "{accepted:?}");
    assert_eq!(sync(&[]).code, Some(0), "accepted once, it is the known one");
    // And the other way round.
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(3));
}

#[test]
fn a_user_who_may_not_read_the_state_folder_hears_that_nothing_can_be_told() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root can be somebody else");
        return;
    }
    let sandbox = Sandbox::new(NOTHING_TO_DO);
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    for open in ["", "vault"] {
        fs::set_permissions(sandbox.path(open), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let look = |arguments: &[&str]| {
        use std::os::unix::process::CommandExt;
        sandbox.command(arguments).uid(65534).gid(65534).output()
    };
    let commands = [
        &["history"][..],
        &["history", "--at", "1h"],
        &["jobs"],
        &["status"],
        &["attention"],
        &["check"],
    ];
    for arguments in commands {
        let Ok(output) = look(arguments) else {
            println!("not run: another user does not reach the program");
            return;
        };
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("cannot tell"), "{arguments:?}: {said}");
    }
}

#[test]
fn each_command_says_that_a_file_was_left_out_whose_folder_others_may_write() {
    let sandbox = Sandbox::new(NOTHING_TO_DO);
    sandbox.write("here/settings/aclarai.config.yaml", NOTHING_TO_DO);
    sandbox.write("here/.env", "LOG_LEVEL=DEBUG\n");
    let here = sandbox.path("here");
    fs::set_permissions(&here, fs::Permissions::from_mode(0o777)).unwrap();
    let place = |name: &str| sandbox.path(name).into_os_string().into_string().unwrap();
    for command in [
        &["jobs"][..],
        &["status"],
        &["history"],
        &["attention"],
        &["check"],
        &["next", "vault_sync"],
        &["run", "nightly_report"],
    ] {
        let output = Command::new(crate::sandbox::PROGRAM)
            .args(["--vault", &place("vault"), "--state-dir", &place("state")])
            .args(command)
            .current_dir(&here)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(".env: left out, as others may write to"), "{command:?}: {said}");
        assert!(said.contains("name it with --config"), "{command:?}: {said}");
    }
}

/// Files that a process has open and that nobody can find any more.
fn open_and_gone(pid: i32) -> Vec<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let places = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    let places = places.map(|place| place.to_string_lossy().into_owned());
    places.filter(|place| place.contains("/state/") && place.ends_with("(deleted)")).collect()
}

#[test]
fn programs_that_use_the_state_file_beside_the_daemon_leave_it_its_log() {
    let sandbox = Sandbox::new("scheduler: {jobs: {once: {command: [\"true\"], enabled: true}}}\n");
    let daemon = sandbox.serve();
    for _ in 0..3 {
        assert_eq!(sandbox.run(&["run", "once"]).code, Some(0));
        assert_eq!(sandbox.run(&["history"]).code, Some(0));
    }
    assert_eq!(open_and_gone(daemon.pid()), Vec::<String>::new());
    daemon.stop();
}
