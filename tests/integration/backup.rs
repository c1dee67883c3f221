//! A backup is taken beside a running daemon, and put back on another state folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{PROGRAM, Sandbox};

const NOTE: &str = "# Head\n\nA claim of the note. <!-- aclarai:id=clm_1 ver=1 -->\n^clm_1\n";

#[test]
fn copies_of_a_running_daemon_are_whole_and_can_be_put_back_elsewhere() {
    let sandbox = Sandbox::new("scheduler: {jobs: {vault_sync: {cron: \"0 3 * * *\"}}}");
    sandbox.write("vault/summaries/a.md", NOTE);
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    let daemon = sandbox.serve();
    let folder = sandbox.path("backup");
    for _ in 0..2 {
        let run = sandbox.run(&["backup", folder.to_str().unwrap()]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        assert!(run.stdout.starts_with("DIR/backup/state.db ("), "{run:?}");
    }
    daemon.stop();
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()) {
        names.push(entry.file_name().into_string().unwrap());
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    names.sort();
    assert_eq!(names, ["graph.db", "state.db"]);

    // Put back as docs/operating.md says: into the folder of another machine.
    let other = sandbox.path("other");
    fs::create_dir(&other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
    for name in names {
        fs::copy(folder.join(&name), other.join(&name)).unwrap();
        fs::set_permissions(other.join(&name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let there = ["--state-dir", other.to_str().unwrap()];
    let history = sandbox.run(&[&["history", "vault_sync", "--json"][..], &there].concat()).json(0);
    assert_eq!(history[0]["state"], "succeeded");
    let synced =
        sandbox.run(&[&["run", "vault_sync", "--full", "--json"][..], &there].concat()).json(0);
    assert_eq!((&synced["blocks_unchanged"], &synced["blocks_new"]), (&1.into(), &0.into()));
}

#[test]
fn there_must_be_something_and_it_is_never_written_over() {
    let sandbox = Sandbox::new("");
    let folder = sandbox.path("backup");
    let nothing = sandbox.run(&["backup", folder.to_str().unwrap()]);
    assert_eq!(nothing.code, Some(4), "{nothing:?}");
    assert!(nothing.stderr.contains("nothing to back up"), "{nothing:?}");
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    let state = sandbox.path("state");
    let before = fs::read(state.join("state.db")).unwrap();
    let same = sandbox.run(&["backup", state.to_str().unwrap()]);
    assert_eq!(same.code, Some(2), "{same:?}");
    assert_eq!(fs::read(state.join("state.db")).unwrap(), before);
    // Somebody else's file may bear the same name.
    for theirs in ["my notes on a state", ""] {
        sandbox.write("theirs/state.db", theirs);
        let run = sandbox.run(&["backup", "theirs"]);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains("theirs/state.db is no backup, and stays as it is"), "{run:?}");
        assert_eq!(fs::read_to_string(sandbox.path("theirs/state.db")).unwrap(), theirs);
    }
}

#[test]
fn a_folder_that_cannot_take_a_backup_is_named_with_the_remedy() {
    let sandbox = Sandbox::new("");
    sandbox.write("vault/summaries/a.md", NOTE);
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    for folder in ["vault/summaries/a.md", "vault/summaries/a.md/below", "/proc/nowhere"] {
        let run = sandbox.run(&["backup", folder]);
        assert_eq!(run.code, Some(4), "{run:?}");
        let remedy = "name a folder that this user may make and write\n";
        assert!(run.stderr.contains(folder) && run.stderr.ends_with(remedy), "{run:?}");
    }
}

/// Two at once used to take each other's files away, so that neither came to its end.
#[test]
fn a_second_backup_into_the_same_folder_says_that_another_one_is_being_written() {
    let sandbox = Sandbox::new("");
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    fs::create_dir(sandbox.path("backup")).unwrap();
    let other = fs::File::open(sandbox.path("backup")).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = sandbox.run(&["backup", "backup"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(4), ""), "{refused:?}");
    assert!(refused.stderr.contains("another backup is being written there"), "{refused:?}");
    drop(other);
    assert_eq!(sandbox.run(&["backup", "backup"]).code, Some(0));
}

/// SQLite calls it a "disk I/O error", and used to leave two files of its own on the full disk.
#[test]
fn a_disk_without_room_for_a_backup_is_named_and_nothing_stays_on_it() {
    let sandbox = Sandbox::new("");
    sandbox.write("vault/summaries/a.md", NOTE);
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
    fs::create_dir(sandbox.path("full")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=100k tmpfs full || exit 77; {PROGRAM} backup full; echo \"code $?\"; ls -A full"
    );
    let output = sandbox.program("unshare", &["-m", "sh", "-c", &script]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        println!("not run: nothing can be mounted here");
        return;
    };
    let (said, error) = (sandbox.plain(&output.stdout), sandbox.plain(&output.stderr));
    assert_eq!(said, "code 4\n", "{error}");
    assert!(error.contains("cannot copy it to DIR/full/state.db: it takes "), "{error}");
}

#[test]
fn status_and_jobs_tell_of_a_daemon_with_another_configuration() {
    let yaml = "scheduler: {jobs: {vault_sync: {cron: \"0 3 * * *\"}}}";
    let sandbox = Sandbox::new(yaml);
    let daemon = sandbox.serve();
    crate::wait::wait_until("the daemon's sign of life", || {
        sandbox.run(&["status", "--json"]).json(0)["config"].is_string()
    });
    let own = sandbox.run(&["status"]);
    assert_eq!((own.code, own.stderr.as_str()), (Some(0), ""), "{own:?}");
    assert!(own.stdout.contains("\nconfiguration: DIR/settings/aclarai.config.yaml\n"), "{own:?}");
    let vault = sandbox.path("vault");
    sandbox.write("other.yaml", &format!("paths: {{vault: {vault:?}}}\n{yaml}"));
    for command in ["status", "jobs"] {
        let run = sandbox.run(&[command, "--config", "other.yaml"]);
        assert_eq!(run.code, Some(0));
        assert_eq!(
            run.stderr,
            "warning: the daemon has its configuration from DIR/settings/aclarai.config.yaml, and this is shown \
             by DIR/other.yaml: name the daemon's file with --config\n"
        );
        assert_eq!(sandbox.run(&[command]).stderr, "");
    }
    daemon.stop();
}
