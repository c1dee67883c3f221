//! Hands the blocks of a round to a program's standard input, a line of JSON each, from a thread of its own.
//!
//! A program that does not read holds up this thread and nothing else: it writes only where there is room, and ends with
//! the program. This side keeps the end of the pipe that the program reads from, too. So no write can fail because the
//! program has closed it, and what the program has left in the pipe can be counted: a block that it never read was not
//! given to it.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::feed::Round;
use crate::graph::GraphError;

/// How often a pipe without room is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The bytes that the kernel is asked to keep for a program that is slower than the graph; it may refuse.
const PIPE_BYTES: usize = 256 * 1024;

pub(super) struct Pump<'r> {
    round: &'r Round,
    read_end: OwnedFd,
    /// Taken by the thread, which closes it when all is written.
    write_end: Mutex<Option<OwnedFd>>,
    written: AtomicU64,
    is_over: AtomicBool,
    fault: Mutex<Option<GraphError>>,
}

impl<'r> Pump<'r> {
    pub(super) fn new(round: &'r Round) -> io::Result<Pump<'r>> {
        let (read_end, write_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // A small pipe serves as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&write_end, PIPE_BYTES);
        // Of this end alone: the program's end waits, as programs expect.
        rustix::io::ioctl_fionbio(&write_end, true)?;
        Ok(Pump {
            round,
            read_end,
            write_end: Mutex::new(Some(write_end)),
            written: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            fault: Mutex::new(None),
        })
    }

    /// The end that the program reads from.
    pub(super) fn read_end(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }

    /// Hands out blocks while `attend` sees to the program, and ends with it.
    pub(super) fn run_beside<T>(&self, attend: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("feed".to_owned())
                .spawn_scoped(scope, || self.run())?;
            let result = attend();
            self.is_over.store(true, Ordering::Release);
            result
        })
    }

    /// How many bytes the program has read.
    pub(super) fn read_by_program(&self) -> u64 {
        let unread = rustix::io::ioctl_fionread(&self.read_end).unwrap_or(u64::MAX);
        self.written.load(Ordering::Acquire).saturating_sub(unread)
    }

    /// Why the graph gave no more blocks, where it did not.
    pub(super) fn fault(&self) -> Option<GraphError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn run(&self) {
        let write_end = self.write_end.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(write_end) = write_end else { return };
        if let Err(error) = self.hand_out(&write_end) {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        // The program sees the end of its input here, also where the graph has failed: it may finish what it has.
    }

    fn hand_out(&self, pipe: &OwnedFd) -> Result<(), GraphError> {
        let (mut from, mut lines, mut lengths) = (0, Vec::new(), Vec::new());
        while let Some(blocks) = self.round.page(&mut from)? {
            lines.clear();
            lengths.clear();
            for block in &blocks {
                let begin = lines.len();
                serde_json::to_writer(&mut lines, block)
                    .and_then(|()| lines.write_all(b"\n").map_err(serde_json::Error::io))
                    .expect("a Vec takes everything, and a block is plain data");
                lengths.push(u32::try_from(lines.len() - begin).unwrap_or(u32::MAX));
            }
            self.round.sent(&blocks, &lengths);
            if !self.write(pipe, &lines) {
                break;
            }
        }
        Ok(())
    }

    /// False once nobody will read it.
    fn write(&self, pipe: &OwnedFd, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.is_over.load(Ordering::Acquire) {
                return false;
            }
            match rustix::io::write(pipe, bytes) {
                Ok(count) => {
                    self.written.fetch_add(count as u64, Ordering::AcqRel);
                    bytes = &bytes[count..];
                }
                Err(Errno::AGAIN) => {
                    let mut room = [PollFd::new(pipe, PollFlags::OUT)];
                    let pause = LOOK_AGAIN.try_into().expect("a tenth of a second");
                    // The next write finds out whether it failed.
                    let _ = poll(&mut room, Some(&pause));
                }
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
