//! The signals this program obeys: SIGINT by `ctrlc`, SIGTERM and SIGHUP by `signal-hook`, because `ctrlc` cannot tell
//! these two apart.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGINT or SIGTERM: come to an end.
    Stop,
    /// A second one of them: at once.
    StopNow,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Calls `heard`, on a thread of its own, for each signal from now on. Once per process.
pub fn listen(heard: impl Fn(Asked) + Send + Sync + 'static) -> io::Result<()> {
    let stopping = AtomicBool::new(false);
    let hear = Arc::new(move |signal| match signal {
        SIGHUP => heard(Asked::Reload),
        _ if stopping.swap(true, Ordering::AcqRel) => heard(Asked::StopNow),
        _ => heard(Asked::Stop),
    });
    let interrupt = Arc::clone(&hear);
    ctrlc::set_handler(move || interrupt(signal_hook::consts::SIGINT)).map_err(io::Error::other)?;
    let mut signals = Signals::new([SIGTERM, SIGHUP])?;
    // It lives as long as the process, as signals may come until then.
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            hear(signal);
        }
    })?;
    Ok(())
}
