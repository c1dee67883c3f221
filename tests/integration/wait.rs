//! Waiting for something to become true, and looking at processes while waiting.

use std::fs;
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};

/// How long a condition may take to come true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Returns what `condition` finds, once it finds something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_long(what, PATIENCE, condition)
}

/// The same for a condition that may take longer.
#[track_caller]
pub(crate) fn wait_long<T>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let mut found = None;
    let mut look = || {
        found = condition();
        found.is_some()
    };
    let deadline = SystemClock.monotonic() + patience;
    while !look() {
        assert!(SystemClock.monotonic() < deadline, "waited {patience:?} for {what}");
        SystemClock.wait(Duration::from_millis(10), &|| false);
    }
    found.expect("the loop ends when something was found")
}

/// Waits until `condition` is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// The processes that have `entry` (`NAME=value`) in their environment and have not ended: process number and name.
pub(crate) fn processes_with(entry: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // An ended process that nobody has reaped has an empty environment.
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes()) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push((pid, name.trim_end().to_owned()));
        }
    }
    found
}

/// Sends a signal by its number.
pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).expect("process numbers are above zero");
    // It may have ended meanwhile, which is what most tests want.
    let _ = rustix::process::kill_process(pid, signal);
}

/// The children of a process.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        let parent = rest.split(' ').nth(1).and_then(|parent| parent.parse().ok());
        if parent == Some(pid) && !rest.starts_with('Z') {
            found.extend(head.split(' ').next().and_then(|pid| pid.parse::<i32>().ok()));
        }
    }
    found
}
