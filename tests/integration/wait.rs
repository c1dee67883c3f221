//! Waiting for something to become true, and looking at processes while waiting.

use std::fs;

#[path = "../wait/mod.rs"]
mod waiting;

pub(crate) use waiting::{PATIENCE, peak_until_end, wait_for, wait_for_end, wait_until};

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
