//! Tells systemd how the daemon is (`Type=notify`): sd_notify(3) in a few lines. Says nothing where nobody listens.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use crate::clock::Clock;
use crate::gate::Standing;
use crate::logging;
use crate::scheduler::Status;
use crate::text::{instant, visible};

/// A line to the service manager. Clones speak to the same one.
#[derive(Clone, Debug)]
pub(super) struct Manager(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Manager {
    /// The service manager that this process was told of in `NOTIFY_SOCKET`, if any.
    pub(super) fn of_process() -> Manager {
        Manager(std::env::var_os("NOTIFY_SOCKET").and_then(|socket| match connect(&socket) {
            Ok(connection) => Some(Arc::new(connection)),
            Err(error) => {
                let socket = socket.to_string_lossy();
                let error = error.to_string();
                logging::warn!(socket = &*socket, error = error.as_str();
                    "the service manager cannot be reached: remove NOTIFY_SOCKET or Type=notify"
                );
                None
            }
        }))
    }

    /// Sends `KEY=value` lines. Nobody can do anything about a manager that does not take them.
    pub(super) fn tell(&self, lines: &str) {
        if let Some((socket, manager)) = self.0.as_deref() {
            let _ = socket.send_to_addr(lines.as_bytes(), manager);
        }
    }

    /// Feeds the watchdog: called by the tick thread and by nothing else, so that the watchdog starves when that thread
    /// hangs.
    pub(super) fn heartbeat(&self) -> impl FnMut(&Status) + Send + use<> {
        let (manager, mut shown) = (self.clone(), String::new());
        move |status| {
            let line = status_line(status);
            if line == shown {
                manager.tell("WATCHDOG=1");
            } else {
                manager.tell(&format!("WATCHDOG=1\nSTATUS={line}"));
                shown = line;
            }
        }
    }

    /// A reload has begun. systemd wants to know when, to tell this one from an earlier one.
    pub(super) fn reloading(&self, clock: &dyn Clock) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock.monotonic().as_micros()));
    }
}

fn connect(socket: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read loses lines; the tick thread, which speaks here, waits for nobody.
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

/// The line that `systemctl status` shows.
fn status_line(status: &Status) -> String {
    if let Some(fault) = &status.fault {
        return format!("starting nothing: {}", visible(fault));
    }
    let mut parts = Vec::new();
    parts.extend(status.clock_not_set.clone());
    if status.stopping {
        parts.push("stopping".to_owned());
    }
    parts.extend(
        status.lease.as_ref().and_then(Standing::in_words).map(|why| visible(&why).into_owned()),
    );
    if let Some(why) = &status.paused {
        parts.push(format!("paused by {}", visible(why)));
    }
    if !status.running.is_empty() {
        let names: Vec<&str> = status.running.iter().map(|run| run.job.as_str()).collect();
        parts.push(format!("running {}", names.join(", ")));
    }
    if status.queued > 0 {
        parts.push(format!("{} waiting", status.queued));
    }
    match &status.next {
        Some((at, job)) => {
            parts.push(format!("next {job} at {}", instant(*at)));
        }
        None if status.clock_not_set.is_some() => {}
        None => parts.push("nothing is scheduled".to_owned()),
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::JobName;
    use crate::job::RunId;
    use crate::scheduler::Running;

    #[test]
    fn the_status_line_tells_the_worst_first() {
        let at = "2026-08-24T12:00:00Z".parse().unwrap();
        let job = JobName::new("vault_sync");
        let mut status = Status::default();
        assert_eq!(status_line(&status), "nothing is scheduled");
        status.next = Some((at, job.clone()));
        assert_eq!(status_line(&status), "next vault_sync at 2026-08-24T12:00:00Z");
        status.paused = Some("AUTOMATION_PAUSE".to_owned());
        status.running = vec![Running { run_id: RunId::new(&job, at), job, since: at }];
        status.queued = 2;
        assert_eq!(
            status_line(&status),
            "paused by AUTOMATION_PAUSE; running vault_sync; 2 waiting; next vault_sync at 2026-08-24T12:00:00Z"
        );
        status.fault = Some("state.db: read-only".to_owned());
        assert_eq!(status_line(&status), "starting nothing: state.db: read-only");
        let clock_not_set = Some("clock not set: it shows 1970-01-01".to_owned());
        let unset = Status { clock_not_set, ..Status::default() };
        assert_eq!(status_line(&unset), "clock not set: it shows 1970-01-01");
    }
}
