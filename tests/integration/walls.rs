//! The walls around a sync: which threads are within, and what is said where the kernel has none.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::sandbox::{PROGRAM, Sandbox};
use crate::wait::wait_until;

fn check(sandbox: &Sandbox) -> String {
    sandbox.run(&["check"]).stdout
}

/// Name and `NoNewPrivs` of each thread of a process: who confines himself gives up new privileges first.
fn threads(pid: u32) -> Vec<(String, bool)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let thread = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let field = |name: &str| {
            status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        Some((field("Name:")?, field("NoNewPrivs:")? == "1"))
    };
    tasks.flatten().filter_map(thread).collect()
}

#[test]
fn a_sync_is_within_walls_and_the_threads_that_start_jobs_are_not() {
    let said = check(&Sandbox::new(""));
    if !said.contains("in force (Landlock)") {
        println!("not run: {said}");
        return;
    }
    // A server that takes connections and says nothing: the sync stays where it is.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("bolt://{}", silent.local_addr().unwrap());
    let mut sandbox = Sandbox::new("");
    sandbox.variable("NEO4J_URI", &uri);
    sandbox.variable("NEO4J_PASSWORD", "x");
    let mut run = sandbox.command(&["run", "vault_sync"]);
    let mut child = run.stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the sync is within its walls", || {
        threads(child.id()).iter().any(|(name, confined)| name == "vault-sync" && *confined)
    });
    let outside = threads(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(outside.iter().any(|(_, confined)| !confined), "{outside:?}");
}

#[test]
fn walls_can_be_switched_off() {
    let sandbox = Sandbox::new("scheduler: {sandbox: false}\n");
    assert!(check(&sandbox).contains("off (scheduler.sandbox: false)"), "{}", check(&sandbox));
    assert_eq!(sandbox.run(&["run", "vault_sync"]).code, Some(0));
}

/// A container's filter of system calls that does not know Landlock, made by Python as no shell can.
const WITHOUT_LANDLOCK: &str = r#"
import ctypes, os, struct, sys
steps = [(0x20, 0, 0, 0), (0x35, 0, 3, 444), (0x25, 2, 0, 446), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x7fff0000)]
code = b"".join(struct.pack("HBBI", *step) for step in steps)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.create_string_buffer(program)) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn where_the_kernel_has_no_walls_a_sync_runs_and_check_says_so() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("not run: Python is not here");
        return;
    }
    let sandbox = Sandbox::new("");
    sandbox.write("vault/summaries/a.md", "One. <!-- aclarai:id=blk_a1 ver=1 -->\n");
    let without = |arguments: &[&str]| {
        let mut all = vec!["-c", WITHOUT_LANDLOCK, PROGRAM];
        all.extend(arguments);
        sandbox.program("python3", &all).output().unwrap()
    };
    let run = without(&["run", "vault_sync"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let said = String::from_utf8(without(&["check"]).stdout).unwrap();
    assert!(said.contains("not in force: this kernel"), "{said}");
}
