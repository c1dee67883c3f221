//! Signals to this process: SIGINT by `ctrlc`, the other signals by `signal-hook`, because `ctrlc` cannot
//! tell them apart; and what its parent left in force.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::SigSet;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::clock::{Clock, SystemClock};
use crate::logging;

/// Two signals within this time are one: service managers and wrappers send a second one of their own accord, and a
/// hurried end cuts runs off.
const ONE_SIGNAL: Duration = Duration::from_secs(1);

/// The request behind a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGINT or SIGTERM: come to an end.
    Stop,
    /// A second one of them, at least a second later: at once.
    StopNow,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Undoes what some parents leave in force: signals that are held back, and SIGCHLD ignored, with which no process
/// learns how its children ended. To be called first thing in `main`: threads and programs take over what is set then.
pub(crate) fn reset_inherited() -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    // Any handler takes the place of what was inherited; programs begin with the default again.
    signal_hook::flag::register(SIGCHLD, Arc::default())?;
    // With a limit on the size of files the write fails, and that is told, instead of the process ending without a word.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(|_| ())
}

/// Calls `heard`, on a thread of its own, for each signal from now on. Once per process.
pub(crate) fn listen(heard: impl Fn(Asked) + Send + Sync + 'static) -> io::Result<()> {
    let ends = Mutex::new(Ends::default());
    let hear = Arc::new(move |signal| match signal {
        SIGHUP => heard(Asked::Reload),
        SIGUSR1 | SIGUSR2 => {
            let signal = if signal == SIGUSR1 { "SIGUSR1" } else { "SIGUSR2" };
            logging::warn!(signal;
                "signal ignored: it has no meaning here (SIGHUP reloads, SIGTERM stops)"
            );
        }
        _ => {
            let now = SystemClock.monotonic();
            let asked = ends.lock().unwrap_or_else(PoisonError::into_inner).hear(now);
            if let Some(asked) = asked {
                heard(asked);
            }
        }
    });
    let interrupt = Arc::clone(&hear);
    ctrlc::set_handler(move || interrupt(SIGINT)).map_err(io::Error::other)?;
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGUSR1, SIGUSR2])?;
    // It lives as long as the process, as signals may come until then.
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            hear(signal);
        }
    })?;
    Ok(())
}

/// The signals that asked for an end.
#[derive(Debug, Default)]
struct Ends {
    /// Monotonic time of the last one that counted.
    last: Option<Duration>,
}

impl Ends {
    /// One more came; `None` if it belongs to the one before.
    fn hear(&mut self, now: Duration) -> Option<Asked> {
        let asked = match self.last {
            None => Asked::Stop,
            Some(last) if now.saturating_sub(last) < ONE_SIGNAL => return None,
            Some(_) => Asked::StopNow,
        };
        self.last = Some(now);
        Some(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_signals_within_a_second_are_one() {
        let mut ends = Ends::default();
        let mut hear = |millis| ends.hear(Duration::from_millis(millis));
        assert_eq!(hear(5_000), Some(Asked::Stop));
        assert_eq!(hear(5_050), None);
        assert_eq!(hear(5_999), None);
        assert_eq!(hear(6_000), Some(Asked::StopNow));
        assert_eq!(hear(6_900), None);
        assert_eq!(hear(7_000), Some(Asked::StopNow));
    }
}
