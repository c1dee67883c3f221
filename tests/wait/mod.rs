//! Waiting for something to become true: the one way in which tests wait, shared by all test programs.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::process::{Child, ExitStatus};
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};

/// How long a condition may take to come true. Nobody waits that long for a good test, also on a machine that is busy with
/// many other things: a test that does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Returns what `condition` finds, once it finds something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    look(condition).unwrap_or_else(|| panic!("waited {PATIENCE:?} for {what}"))
}

/// Waits until `condition` is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits for the end of a process, and kills one that does not come to it.
#[track_caller]
pub(crate) fn wait_for_end(child: &mut Child) -> ExitStatus {
    look(|| child.try_wait().unwrap()).unwrap_or_else(|| {
        child.kill().unwrap();
        panic!("waited {PATIENCE:?} for process {} to end", child.id())
    })
}

/// Waits for the end of a process, and answers with the most memory that it had, in bytes.
#[track_caller]
pub(crate) fn peak_until_end(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    wait_until("the process to end", || {
        let told = std::fs::read_to_string(&status).unwrap_or_default();
        let kb = told.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix(" kB"));
        peak = kb.map_or(peak, |kb| peak.max(kb.trim().parse::<u64>().unwrap() * 1024));
        child.try_wait().unwrap().is_some()
    });
    peak
}

fn look<T>(mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = SystemClock.monotonic() + PATIENCE;
    loop {
        // One more look after the deadline: the test itself, too, may have had to wait.
        let is_last = SystemClock.monotonic() >= deadline;
        let found = condition();
        if found.is_some() || is_last {
            return found;
        }
        SystemClock.wait(Duration::from_millis(10), &|| false);
    }
}
