//! What parents leave to the program, and what its place in a container asks of it.

use std::fs;
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use rustix::process::Signal;

use crate::sandbox::{PROGRAM, Sandbox};
use crate::wait::{children_of, processes_with, signal, wait_for, wait_until};

const JOBS: &str = r#"
scheduler:
  shutdown_grace_time: 30
  jobs:
    vault_sync: {enabled: false}
    mail:
      retries: {max_attempts: 3, max_wait_time: 0}
      command: [sh, -c, "echo sent >> sent"]
    short: {timeout: 60, command: ["true"]}
    open: {command: [sh, -c, "test ! -e /proc/$$/fd/7 && test ! -e /proc/$$/fd/9"]}
    long: {command: [sh, -c, "echo ready; exec sleep 1000"]}
"#;

#[test]
fn a_parent_that_ignores_sigchld_makes_no_run_fail_or_repeat() {
    let sandbox = Sandbox::new(JOBS);
    let line = format!("trap '' CHLD; exec {PROGRAM} run mail");
    let mut run = sandbox.start_shell(&line);
    assert_eq!(run.wait().code(), Some(0), "{}", run.stderr());
    assert_eq!(fs::read_to_string(sandbox.path("sent")).unwrap(), "sent\n");
}

#[test]
fn a_parent_that_holds_signals_back_does_not_keep_a_run_from_ending() {
    let sandbox = Sandbox::new(JOBS);
    let run = std::thread::scope(|scope| {
        // The mask is this thread's alone, and its child takes it over.
        let thread = scope.spawn(|| {
            nix::sys::signal::SigSet::all().thread_set_mask().unwrap();
            sandbox.run(&["run", "short"])
        });
        thread.join().unwrap()
    });
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

/// Such a limit used to end the program without a word, by SIGXFSZ.
#[test]
fn a_limit_on_the_size_of_files_is_an_error_that_is_told() {
    let sandbox = Sandbox::new(JOBS);
    let mut run = sandbox.start_shell(&format!("ulimit -f 0; exec {PROGRAM} run mail"));
    let code = run.wait().code();
    assert!(code.is_some_and(|code| code != 0), "{code:?}: {}", run.stderr());
    assert!(run.stderr().contains("error: "), "{}", run.stderr());
}

#[test]
fn what_the_parent_had_open_is_not_passed_to_jobs() {
    let sandbox = Sandbox::new(JOBS);
    let line = format!("exec 7</dev/null 9>{:?} && exec {PROGRAM} run open", sandbox.path("mine"));
    let mut run = sandbox.start_shell(&line);
    assert_eq!(run.wait().code(), Some(0), "{}", run.stderr());
}

#[test]
fn signals_without_a_meaning_are_ignored_and_told() {
    let sandbox = Sandbox::new(JOBS);
    let daemon = sandbox.serve();
    for (which, name) in [(Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
        daemon.signal(which);
        wait_until(name, || daemon.log().iter().any(|line| line["signal"] == name));
    }
    daemon.stop();
}

#[test]
fn two_signals_at_once_are_one() {
    let yaml = JOBS.replace(
        "echo ready; exec sleep 1000",
        "trap 'while [ ! -e go ]; do sleep 0.05; done; exit 0' TERM; echo ready; while :; do sleep 0.05; done",
    );
    let sandbox = Sandbox::new(&yaml);
    let mut run = sandbox.start(&["run", "long"]);
    run.wait_for_line("ready");
    run.signal(Signal::TERM);
    run.signal(Signal::TERM);
    run.signal(Signal::INT);
    // The third would have ended the program long before.
    SystemClock.wait(Duration::from_millis(300), &|| false);
    sandbox.write("go", "");
    run.wait();
    assert_eq!(sandbox.history(&["long"])[0]["state"], "interrupted");
}

#[test]
fn a_notify_socket_that_nobody_reads_holds_nothing_up() {
    let mut sandbox = Sandbox::new(JOBS);
    let path = sandbox.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    // Full before the daemon says its first word.
    let other = std::os::unix::net::UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(&[0; 1024], &path).is_ok() {}
    sandbox.variable("NOTIFY_SOCKET", path.to_str().unwrap());
    sandbox.serve().stop();
    drop(socket);
}

#[test]
fn an_init_reaps_what_is_orphaned_to_it_and_ends_as_the_program_does() {
    let sandbox = Sandbox::new(JOBS);
    let mut run = sandbox.start(&["run", "long", "--init"]);
    run.wait_for_line("ready");
    let id = run.wait_for_line("ready")["job_id"].as_str().unwrap().to_owned();
    let program = wait_for("the program", || {
        processes_with(&format!("ACLARAI_JOB_ID={id}")).first().map(|found| found.0)
    });
    let supervisor = parent_of(program).unwrap();
    let guard = parent_of(supervisor).unwrap();
    // Its supervisor loses its parent; so does nobody in particular a moment later.
    signal(guard, Signal::KILL);
    wait_until("the orphan is reaped", || parent_of(supervisor).is_none());
    assert_eq!(run.wait().code(), Some(1), "{}", run.stderr());

    let mut run = sandbox.start(&["--init", "run", "long"]);
    run.wait_for_line("ready");
    wait_until("one child", || children_of(run.pid()).len() == 1);
    run.signal(Signal::TERM);
    assert_eq!(run.wait().code(), Some(130), "{}", run.stderr());
}

/// `None` once it is not even in the process table any more.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[test]
fn too_many_open_files_are_no_matter_of_permissions() {
    let sandbox = Sandbox::new(JOBS);
    sandbox.write("vault/conversations/a.md", "A claim. <!-- aclarai:id=blk_1 ver=1 -->\n");
    let mut refused = 0;
    for limit in 6..20 {
        let line =
            format!("ulimit -n {limit}; exec {PROGRAM} --state-dir st{limit} run vault_sync");
        let mut run = sandbox.start_shell(&line);
        run.wait();
        let said = run.stderr();
        if said.contains("Too many open files") || said.contains("unable to open database") {
            refused += 1;
            assert!(
                said.contains("raise LimitNOFILE= of the service, or ulimit -n"),
                "{limit}: {said}"
            );
            assert!(!said.contains("give this user"), "{limit}: {said}");
        }
    }
    assert!(refused > 2, "{refused}");
}
