//! Tells systemd how the daemon is (`Type=notify`): sd_notify(3) in a few lines. Says nothing where nobody listens.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use crate::clock::Clock;
use crate::logging;

/// A line to the service manager. Clones speak to the same one.
#[derive(Clone, Debug)]
pub(super) struct Notifier(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notifier {
    /// The service manager that this process was told of in `NOTIFY_SOCKET`, if any.
    pub(super) fn of_process() -> Notifier {
        Notifier(std::env::var_os("NOTIFY_SOCKET").and_then(|socket| match connect(&socket) {
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
