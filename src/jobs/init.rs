//! The duty of process number 1 of a container: a process that loses its parent there becomes its child, and stays in
//! the process table until somebody has asked how it ended.
//!
//! The process that was started does that and nothing else; the program proper is its child. A thread in the program
//! could not tell an orphan from a child that some job waits for.

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::supervisor::{Ended, SELF, pid_of, reap};

/// Asks for this where the process does not have number 1.
const OPTION: &str = "--init";

/// As process number 1, or with `--init` among its arguments: runs the program as a child, passes signals on to it and
/// reaps whatever is orphaned, until the child has ended; that ends this process with the same code. `None` in any
/// other process.
pub(crate) fn dispatch() -> Option<ExitCode> {
    let is_first = rustix::process::getpid() == Pid::INIT;
    let (asked, arguments): (Vec<OsString>, Vec<OsString>) =
        std::env::args_os().skip(1).partition(|argument| argument == OPTION);
    if !is_first && asked.is_empty() {
        return None;
    }
    Some(keep(&arguments).unwrap_or_else(|error| {
        use std::io::Write as _;
        let _ = writeln!(io::stderr(), "error: cannot start the program as a child: {error}");
        ExitCode::FAILURE
    }))
}

fn keep(arguments: &[OsString]) -> io::Result<ExitCode> {
    // Where the number is 1 this changes nothing.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2])?;
    // By its own name where it still has one: `/proc/self/exe` would show as `exe` in process lists.
    let program = std::env::current_exe().ok().filter(|path| path.is_file());
    let mut command = Command::new(program.unwrap_or_else(|| SELF.into()));
    if let Some(name) = std::env::args_os().next() {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
    }
    let child = pid_of(&command.args(arguments).spawn()?);
    for signal in signals.forever() {
        if signal != SIGCHLD {
            if let Some(signal) = Signal::from_named_raw(signal) {
                let _ = rustix::process::kill_process(child, signal);
            }
            continue;
        }
        while let Ok(Some((pid, ended))) = reap() {
            if pid == child {
                return Ok(code_of(&ended));
            }
        }
    }
    unreachable!("signals come as long as nobody closes their source")
}

/// The child's code, or as shells put it for one that a signal has ended: 128 and its number.
fn code_of(ended: &Ended) -> ExitCode {
    let code = match ended {
        Ended::Exited(code) => *code,
        Ended::Signalled(signal) => 128 + signal,
        Ended::NotStarted(_) | Ended::Unseen(_) => 1,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
