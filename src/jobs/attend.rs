//! The daemon's side of a running program: passes on what it says, asks it to end, and learns how it ended.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::output::{Line, Lines};
use super::supervisor::{ProgramEnd, Supervised};

/// How often a program that is silent is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Hears what a program says.
pub(super) trait Listener {
    /// A line of standard output.
    fn standard_output(&mut self, line: Line<'_>);
    /// A line of standard error.
    fn standard_error(&mut self, line: Line<'_>);
    /// Called at least every tenth of a second: whether the program is to end.
    fn is_told_to_end(&mut self) -> bool;
    /// Until when, by the boot clock, it may run without another word; `None` for ever.
    fn leash(&self) -> Option<Duration> {
        None
    }
}

/// Passes output on and the end of the run along, until the program and all its descendants have ended. `None` if its
/// supervisor was killed.
pub(super) fn attend(
    mut supervised: Supervised,
    listener: &mut impl Listener,
) -> io::Result<Option<ProgramEnd>> {
    let mut stdout = Stream::new(supervised.child.stdout.take());
    let mut stderr = Stream::new(supervised.child.stderr.take());
    let mut said = Vec::new();
    let mut told_to_end = false;
    let mut leash = None;
    let mut chunk = vec![0; 32 * 1024];
    let mut over = false;
    loop {
        // Once the supervisor has gone, only what still lies in the pipes is taken: a process that even SIGKILL does
        // not end may hold them open for ever.
        let pause = if over { Duration::ZERO } else { LOOK_AGAIN };
        let socket = (!over).then(|| supervised.socket.as_fd());
        let [spoken, out, err] = readable([socket, stdout.fd(), stderr.fd()], pause)?;
        if out {
            stdout.read(&mut chunk, |line| listener.standard_output(line))?;
        }
        if err {
            stderr.read(&mut chunk, |line| listener.standard_error(line))?;
        }
        if spoken {
            match supervised.socket.read(&mut chunk) {
                Ok(0) => over = true,
                Ok(count) => said.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A supervisor that was killed with unread words of ours in its socket: reset by peer.
                Err(_) => over = true,
            }
        } else if over && !out && !err {
            break;
        }
        if !told_to_end && listener.is_told_to_end() {
            supervised.stop();
            told_to_end = true;
        }
        let moved = listener.leash().filter(|_| !told_to_end);
        if let Some(until) = moved.filter(|until| leash != Some(*until)) {
            supervised.move_leash(until);
            leash = moved;
        }
    }
    stdout.lines.finish(|line| listener.standard_output(line));
    stderr.lines.finish(|line| listener.standard_error(line));
    Ok(serde_json::from_slice(&said).ok())
}

/// Waits for one of these to have something to read, and says which have.
fn readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    timeout: Duration,
) -> io::Result<[bool; N]> {
    let mut watched: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = timeout.try_into().expect("a tenth of a second at most");
    match poll(&mut watched, Some(&timeout)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false; N]),
        Err(error) => return Err(error.into()),
    }
    let mut results = watched.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && results.next().expect("one result for each watched")))
}

/// One of the program's two streams.
struct Stream<R> {
    pipe: Option<R>,
    lines: Lines,
}

impl<R: Read + AsFd> Stream<R> {
    fn new(pipe: Option<R>) -> Stream<R> {
        Stream { pipe, lines: Lines::default() }
    }

    /// `None` once it has ended.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    fn read(&mut self, chunk: &mut [u8], line: impl FnMut(Line<'_>)) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        match pipe.read(chunk) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.lines.feed(&chunk[..count], line),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
