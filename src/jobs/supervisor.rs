//! The small process that stands between the daemon and the program of a command job, so that no child outlives its run.
//!
//! ```text
//! daemon --> guard --> supervisor --> program --> its children, however they detach
//!    <----- socket ------->  (order, stop; outcome)
//! ```
//! Both guard and supervisor are this executable, started under another name before it reads arguments or
//! configuration ([`dispatch`]). The supervisor adopts what the program leaves behind (`PR_SET_CHILD_SUBREAPER`: a
//! child that called `setsid` and lost its parent comes to it, not to init), and ends all of it
//! - when the program has ended,
//! - when the daemon asks for it: SIGTERM to the program's process group, SIGKILL ten seconds later,
//! - in the same way when its leash is over: another host may begin soon, and a daemon that is frozen cannot ask,
//! - at once when the daemon is gone: its end of the socket closes, however it died.
//!
//! The guard does nothing but outlive a supervisor that was killed: then the children come to it, and it ends them. One
//! that was stopped (SIGSTOP) it sets going again.
//! A guard that was killed is noticed by the supervisor through its parent-death signal. A process of its own is the
//! price of a program without `unsafe`: what must happen between fork and exec of the program happens here instead.
//!
//! This file knows no job, no log and no configuration.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::clock::{Clock, SystemClock};
use crate::text::not_started;

use crate::stop::KILL_WAIT;
pub(crate) use crate::stop::STOP_GRACE;

/// How often a condition that sends no signal is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How many processes left behind are named; the rest are only counted.
const NAMED_MAX: usize = 5;

/// This executable, even after an upgrade has replaced the file.
pub(crate) const SELF: &str = "/proc/self/exe";

/// The name both processes carry in a process list. Not the program's own, so that what is meant for the daemon
/// (`pkill aclarai`, a count of running daemons) does not hit the keepers of its jobs.
const PROCESS_NAME: &str = "job-supervisor";

const GUARD: &str = "__guard-job";
const SUPERVISE: &str = "__supervise-job";

/// The program that the supervisor runs, with its arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// Variables to set, or to remove, in the environment that it inherits.
    pub(super) env: Vec<(OsString, Option<OsString>)>,
    /// The folder it runs in.
    pub(super) working_dir: Option<OsString>,
    /// Its standard input; empty where there is none.
    pub(super) input: Option<String>,
    /// Until when, by the boot clock in milliseconds, it may run where nobody moves that on.
    pub(super) until_ms: Option<u64>,
}

/// Asks for an end.
const STOP: u8 = b's';

/// Moves the end of the leash: its new time follows, in eight bytes.
const UNTIL: u8 = b'u';

/// The daemon's words after the order.
#[derive(Debug, Default, PartialEq)]
struct Words {
    /// The beginning of a word whose rest has not come yet.
    open: Vec<u8>,
    stop: bool,
    until_ms: Option<u64>,
}

impl Words {
    fn hear(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        while let Some(first) = self.open.first() {
            let length = match *first {
                UNTIL => match self.open.get(1..9).and_then(|time| time.try_into().ok()) {
                    Some(time) => {
                        self.until_ms = Some(u64::from_le_bytes(time));
                        9
                    }
                    None => return,
                },
                _ => {
                    self.stop = true;
                    1
                }
            };
            self.open.drain(..length);
        }
    }

    /// How much is left of the leash; `None` where there is none.
    fn left(&self) -> Option<Duration> {
        let until = Duration::from_millis(self.until_ms?);
        Some(until.saturating_sub(SystemClock.boottime()))
    }
}

/// The end of a supervised program.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProgramEnd {
    /// How the program itself ended.
    pub(super) ended: Ended,
    /// How many processes were still there when the program had ended by itself; they were killed.
    pub(super) left_behind: usize,
    /// The first few of them, `sleep (1234)`.
    pub(super) left_names: Vec<String>,
    /// Whether the kernel still holds some that were killed, or some belong to another user.
    pub(super) unkillable: bool,
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ended {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It never began, for this reason.
    NotStarted(String),
    /// It began, and how it ended could not be learned, for this reason.
    Unseen(String),
}

/// The daemon's end: a guard and supervisor at work.
#[derive(Debug)]
pub(super) struct Supervised {
    pub(super) child: Child,
    pub(super) socket: UnixStream,
}

/// Starts `program` (an executable that calls [`dispatch`] first, normally [`SELF`]) as guard and supervisor of what
/// `order` says. `label` is shown in process lists. `input`, if given, becomes the standard input of what it runs.
pub(super) fn start(
    program: &Path,
    label: &str,
    order: &Order,
    input: Option<BorrowedFd<'_>>,
) -> io::Result<Supervised> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let child = Command::new(program)
        .arg0(PROCESS_NAME)
        .args([GUARD, label])
        // Its own group: Ctrl-C at a terminal is for the daemon, which then asks for an orderly end.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = serde_json::to_vec(order).map_err(io::Error::other)?;
    line.push(b'\n');
    // A supervisor that died already is noticed by the missing outcome; its standard error says more than this error.
    let _ = match input {
        Some(input) => {
            send_with(&ours, &line, input).and_then(|sent| ours.write_all(&line[sent..]))
        }
        None => ours.write_all(&line),
    };
    Ok(Supervised { child, socket: ours })
}

/// Sends as much of `line` as there is room for, and `input` along with it.
fn send_with(socket: &UnixStream, line: &[u8], input: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    let input = [input];
    along.push(SendAncillaryMessage::ScmRights(&input));
    Ok(sendmsg(socket, &[IoSlice::new(line)], &mut along, SendFlags::NOSIGNAL)?)
}

/// Reads, and takes what was sent along.
fn receive(
    socket: &UnixStream,
    chunk: &mut [u8],
    input: &mut Option<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let mut chunks = [IoSliceMut::new(chunk)];
    let received = recvmsg(socket, &mut chunks, &mut along, RecvFlags::CMSG_CLOEXEC)?;
    for message in along.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            *input = descriptors.last().or(input.take());
        }
    }
    Ok(received.bytes)
}

impl Drop for Supervised {
    /// A guard whose socket is closed ends all that it guards; until it is waited for it stays in the process table.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        let _ = self.child.wait();
    }
}

impl Supervised {
    /// Asks for an orderly end. May be called twice.
    pub(super) fn stop(&mut self) {
        let _ = self.socket.write_all(&[STOP]);
        // Someone may have stopped (SIGSTOP) the keepers; a stopped one hears nothing.
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process_group(group, Signal::CONT);
        }
    }

    /// Lets the program run until then.
    pub(super) fn move_leash(&mut self, until: Duration) {
        let until_ms = leash_ms(until);
        let _ = self.socket.write_all(&[&[UNTIL][..], &until_ms.to_le_bytes()].concat());
    }
}

/// A time of the boot clock, as the supervisor is told it.
pub(super) fn leash_ms(until: Duration) -> u64 {
    u64::try_from(until.as_millis()).unwrap_or(u64::MAX)
}

/// Runs guard or supervisor if this process was started as one; `None` in any other process. To be called first thing
/// in `main`: until then nothing has been read or opened.
pub(crate) fn dispatch() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next()?;
    if role == GUARD {
        let label = arguments.next().unwrap_or_default();
        Some(end(guard(&label)))
    } else if role == SUPERVISE {
        let guard = arguments.next().and_then(|pid| pid.to_str()?.parse().ok());
        Some(end(supervise(guard.and_then(Pid::from_raw))))
    } else {
        None
    }
}

/// The daemon reads the outcome from the socket; where that failed, standard error goes into the log line by line.
fn end(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{PROCESS_NAME}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn guard(label: &OsStr) -> io::Result<()> {
    name_this_process();
    close_inherited();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let signals = Signals::listen()?;
    let supervisor = Command::new(SELF)
        .arg0(PROCESS_NAME)
        .arg(SUPERVISE)
        .arg(rustix::process::getpid().as_raw_nonzero().to_string())
        .arg(label)
        .spawn()?;
    let supervisor = pid_of(&supervisor);
    'alive: loop {
        signals.wait(None, None)?;
        // Someone, or the program itself, may have stopped (SIGSTOP) the supervisor, which is told to this process as the
        // end of a child is. A stopped one ends nothing, and a run would never end.
        let _ = rustix::process::kill_process(supervisor, Signal::CONT);
        if signals.take_stop() {
            let _ = rustix::process::kill_process(supervisor, Signal::TERM);
        }
        while let Some((pid, _)) = reap()? {
            if pid == supervisor {
                break 'alive;
            }
        }
    }
    kill_children(&signals)?;
    Ok(())
}

/// Closes what the daemon was given by its own parent beyond the three streams, which no program below may have. To be
/// done before this process has opened anything itself.
fn close_inherited() {
    let names = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<i32> =
        names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The folder's own is among them, and closed by now.
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        let _ = nix::unistd::close(descriptor);
    }
}

fn supervise(guard: Option<Pid>) -> io::Result<()> {
    name_this_process();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // Any signal would do: it ends the wait, and the loop below compares the parent.
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // A session without a terminal: a program that asks for a password there fails instead of waiting for ever.
    rustix::process::setsid()?;
    let orphaned = || rustix::process::getppid() != guard;
    let signals = Signals::listen()?;
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((order, input, words)) = read_order(&socket)? else {
        return Ok(()); // The daemon went, or thought better of it, before anything was started.
    };
    // A guard that died before the death signal was asked for sends none.
    if orphaned() {
        return Ok(());
    }
    let without_more =
        |ended| ProgramEnd { ended, left_behind: 0, left_names: Vec::new(), unkillable: false };
    let outcome = match start_program(&order, input) {
        Ok(program) => watch(&program, &mut socket, words, &signals, &orphaned)
            .unwrap_or_else(|error| without_more(Ended::Unseen(error.to_string()))),
        Err(reason) => without_more(Ended::NotStarted(reason)),
    };
    // Nobody reads it where the daemon is gone.
    let _ = serde_json::to_writer(&socket, &outcome);
    Ok(())
}

/// The order is one line; what follows it are words. `None`: do not begin.
fn read_order(socket: &UnixStream) -> io::Result<Option<(Order, Option<OwnedFd>, Words)>> {
    let (mut line, mut input) = (Vec::new(), None);
    let mut chunk = [0; 4096];
    loop {
        match receive(socket, &mut chunk, &mut input) {
            Ok(0) => return Ok(None),
            Ok(count) => line.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let order: Order = serde_json::from_slice(&line[..end]).map_err(io::Error::other)?;
            let mut words = Words { until_ms: order.until_ms, ..Words::default() };
            words.hear(&line[end + 1..]);
            return Ok((!words.stop).then_some((order, input, words)));
        }
    }
}

/// Starts the program in a process group of its own; the error is a line for a person.
fn start_program(order: &Order, piped: Option<OwnedFd>) -> Result<Child, String> {
    let Some((program, arguments)) = order.argv.split_first() else {
        return Err("command is empty".to_owned());
    };
    if let Some(folder) = &order.working_dir {
        std::env::set_current_dir(folder)
            .map_err(|error| format!("working_dir {}: {error}", folder.to_string_lossy()))?;
    }
    let mut command = Command::new(program);
    let input = match (piped, order.input.as_deref()) {
        (Some(piped), _) => Ok(piped.into()),
        (None, Some(text)) => to_read(text),
        (None, None) => Ok(Stdio::null()),
    };
    let input = input.map_err(|error| format!("cannot hold its input in memory: {error}"))?;
    command.args(arguments).process_group(0).stdin(input);
    for (name, value) in &order.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut tries = 0;
    loop {
        match command.spawn() {
            // Someone still writes the file, such as an upgrade that is about to close it.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < 20 => {
                tries += 1;
                SystemClock.wait(LOOK_AGAIN, &|| false);
            }
            result => return result.map_err(|error| why_not_started(program, &error)),
        }
    }
}

/// A text as a file in memory: unlike a pipe it needs nobody to fill it while the program reads.
fn to_read(text: &str) -> io::Result<Stdio> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = fs::File::from(rustix::fs::memfd_create(c"input", flags)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

fn why_not_started(program: &str, error: &io::Error) -> String {
    // The answer of exec(3) for a file that is neither a binary nor begins with `#!`; std has no stable name for it.
    let unknown_format = rustix::io::Errno::NOEXEC.raw_os_error();
    let path = Path::new(program);
    match error.kind() {
        io::ErrorKind::NotFound if !program.contains('/') => {
            format!("not found: {program} (in no folder of PATH; write its full path in command)")
        }
        io::ErrorKind::NotFound if path.exists() => {
            format!("not found: the interpreter named in the first line of {program}")
        }
        io::ErrorKind::NotFound => format!("not found: {program}"),
        io::ErrorKind::PermissionDenied if path.is_dir() => {
            format!("not executable: {program} (it is a folder)")
        }
        io::ErrorKind::PermissionDenied => format!(
            "not executable: {program} (chmod +x it, or put its interpreter in front in command)"
        ),
        _ if error.raw_os_error() == Some(unknown_format) => format!(
            "not executable: {program} (unknown format; a script needs a first line such as #!/bin/sh)"
        ),
        _ => format!("cannot start {program}: {}", not_started(error)),
    }
}

/// Where a run stands, seen by its supervisor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody wants it to end.
    Running,
    /// SIGTERM was sent; SIGKILL follows at this reading of the monotonic clock.
    Stopping(Duration),
}

fn watch(
    program: &Child,
    socket: &mut UnixStream,
    mut words: Words,
    signals: &Signals,
    orphaned: &dyn Fn() -> bool,
) -> io::Result<ProgramEnd> {
    let group = pid_of(program);
    let clock = SystemClock;
    let mut phase = Phase::Running;
    loop {
        let pause = match phase {
            Phase::Running => words.left(),
            Phase::Stopping(deadline) => {
                Some(deadline.saturating_sub(clock.monotonic()).min(LOOK_AGAIN))
            }
        };
        // The program may have ended before the first wait; its signal is in the pipe by then.
        let spoken_to = signals.wait(Some(socket.as_fd()), pause)?;
        let mut stop = signals.take_stop();
        if spoken_to {
            let mut heard = [0; 64];
            match socket.read(&mut heard) {
                Ok(0) => break,
                Ok(count) => words.hear(&heard[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if orphaned() {
            break;
        }
        stop |= words.stop || words.left().is_some_and(|left| left.is_zero());
        if stop && phase == Phase::Running {
            phase = Phase::Stopping(clock.monotonic() + STOP_GRACE);
            let _ = rustix::process::kill_process_group(group, Signal::TERM);
            // A stopped program would otherwise sleep through its SIGTERM.
            let _ = rustix::process::kill_process_group(group, Signal::CONT);
        }
        // Seen but not yet reaped: its number cannot become another group's while that group is signalled below.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let ended = rustix::process::waitid(WaitId::Pid(group), options)?.is_some();
        match phase {
            Phase::Running if ended => break,
            // Adopted ones that have ended; a job may leave thousands of them before it ends itself.
            Phase::Running => reap_adopted(group)?,
            // The program itself may go at once while its children still tidy up: the grace is the whole group's.
            Phase::Stopping(_) if ended && !group_is_alive(group) => break,
            Phase::Stopping(deadline) if clock.monotonic() >= deadline => break,
            Phase::Stopping(_) => {}
        }
    }
    let ours = Some(rustix::process::getpid());
    let mut left = Vec::new();
    if phase == Phase::Running {
        left.extend(processes().filter(|process| {
            process.pid != group && (process.group == Some(group) || process.parent == ours)
        }));
    }
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    let (status, unkillable) = kill_all(Some(group), signals)?;
    Ok(ProgramEnd {
        // Still held by the kernel after SIGKILL: that is what ended it, whenever it goes.
        ended: status.unwrap_or(Ended::Signalled(Signal::KILL.as_raw())),
        left_behind: left.len(),
        left_names: left.iter().take(NAMED_MAX).map(Process::to_string).collect(),
        unkillable,
    })
}

/// Reaps ended children other than `program`.
fn reap_adopted(program: Pid) -> io::Result<()> {
    let ours = Some(rustix::process::getpid());
    let adopted = processes_in_any_state()
        .filter(|process| process.zombie && process.parent == ours && process.pid != program);
    for process in adopted {
        rustix::process::waitpid(Some(process.pid), WaitOptions::NOHANG)?;
    }
    Ok(())
}

fn group_is_alive(group: Pid) -> bool {
    processes().any(|process| process.group == Some(group))
}

fn kill_children(signals: &Signals) -> io::Result<()> {
    kill_all(None, signals).map(|_| ())
}

/// Kills every child, and the children that come to this process when their parent dies, until there are none.
/// Returns how `program` ended, and whether some would not go.
fn kill_all(program: Option<Pid>, signals: &Signals) -> io::Result<(Option<Ended>, bool)> {
    let clock = SystemClock;
    let give_up = clock.monotonic() + KILL_WAIT;
    let ours = Some(rustix::process::getpid());
    let mut status = None;
    loop {
        loop {
            match reap() {
                Ok(Some((pid, ended))) if Some(pid) == program => status = Some(ended),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(rustix::io::Errno::CHILD) => return Ok((status, false)),
                Err(error) => return Err(error.into()),
            }
        }
        if clock.monotonic() >= give_up {
            return Ok((status, true));
        }
        for child in processes().filter(|process| process.parent == ours) {
            let _ = rustix::process::kill_process(child.pid, Signal::KILL);
        }
        signals.wait(None, Some(LOOK_AGAIN))?;
    }
}

/// One child that has ended; `None` if none has, `Errno::CHILD` if there is none at all.
pub(super) fn reap() -> Result<Option<(Pid, Ended)>, rustix::io::Errno> {
    let Some((pid, status)) = rustix::process::wait(WaitOptions::NOHANG)? else {
        return Ok(None);
    };
    let ended = match status.terminating_signal() {
        Some(signal) => Ended::Signalled(signal),
        None => Ended::Exited(status.exit_status().unwrap_or_default()),
    };
    Ok(Some((pid, ended)))
}

/// A line of the kernel's process table.
struct Process {
    pid: Pid,
    name: String,
    zombie: bool,
    parent: Option<Pid>,
    group: Option<Pid>,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.pid.as_raw_nonzero())
    }
}

/// All processes that have not ended. Read from `/proc/*/stat`: `/proc/*/children` would be shorter, but is missing
/// from kernels built without it.
fn processes() -> impl Iterator<Item = Process> {
    processes_in_any_state().filter(|process| !process.zombie)
}

fn processes_in_any_state() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.parse::<u32>().ok()?;
        let stat = fs::read(path.join("stat")).ok()?;
        parse_stat(&String::from_utf8_lossy(&stat))
    })
}

/// `1234 (name) S parent group ...`, where the name may hold anything, brackets included.
fn parse_stat(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    // A process that is just being reaped has no group any more: the kernel says -1.
    let mut number = || {
        let number: i32 = fields.next()?.parse().ok()?;
        Some(if number > 0 { Pid::from_raw(number) } else { None })
    };
    Some(Process {
        pid: Pid::from_raw(pid.parse().ok()?)?,
        name: name.to_owned(),
        zombie: matches!(state, "Z" | "X"),
        parent: number()?,
        group: number()?,
    })
}

pub(super) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed()).expect("a child has a process number above zero")
}

fn name_this_process() {
    // Only for process lists, which would otherwise show `exe`.
    let _ = rustix::thread::set_name(c"job-supervisor");
}

/// The signals of one of these processes, turned into something to wait for.
struct Signals {
    arrived: UnixStream,
    stop: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        let (arrived, bell) = UnixStream::pair()?;
        arrived.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        // The flag first: when the bell rings, it is up.
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD] {
            signal_hook::low_level::pipe::register(signal, bell.try_clone()?)?;
        }
        Ok(Signals { arrived, stop })
    }

    /// Waits for a signal, for `other` to have something to read, or for `timeout`; true if `other` has.
    fn wait(&self, other: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<bool> {
        let mut watched = vec![PollFd::new(&self.arrived, PollFlags::IN)];
        if let Some(other) = other {
            watched.push(PollFd::from_borrowed_fd(other, PollFlags::IN));
        }
        let timeout = timeout.map(|timeout| timeout.try_into().expect("seconds, not ages"));
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let other_ready = watched.get(1).is_some_and(|other| !other.revents().is_empty());
        let mut drain = [0; 64];
        while (&self.arrived).read(&mut drain).is_ok_and(|count| count > 0) {}
        Ok(other_ready)
    }

    fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_line_is_read_whatever_the_name_holds() {
        let process = parse_stat("12 (a) b (c) S 3 4 4 0 -1").unwrap();
        assert_eq!(process.to_string(), "a) b (c (12)");
        assert_eq!((process.parent, process.group), (Pid::from_raw(3), Pid::from_raw(4)));
        assert!(!process.zombie);
        assert!(parse_stat("12 (a) Z 0 0 0").unwrap().zombie);
        let reaped = parse_stat("12 (a) X 0 -1 -1 0 -1").unwrap();
        assert_eq!((reaped.parent, reaped.group, reaped.zombie), (None, None, true));
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn words_may_come_in_pieces_and_together() {
        let mut words = Words::default();
        let moved = |until: u64| [&[UNTIL][..], &until.to_le_bytes()].concat();
        words.hear(&moved(7)[..4]);
        assert_eq!((words.stop, words.until_ms), (false, None));
        words.hear(&[&moved(7)[4..], &moved(u64::MAX - 1)[..], &moved(0x7373)[..8]].concat());
        assert_eq!((words.stop, words.until_ms), (false, Some(u64::MAX - 1)));
        words.hear(&[0, STOP]);
        assert_eq!((words.stop, words.until_ms), (true, Some(0x7373)));
    }

    #[test]
    fn this_process_is_in_the_table() {
        let ours = rustix::process::getpid();
        let found = processes().find(|process| process.pid == ours).unwrap();
        assert_eq!(found.parent, rustix::process::getppid());
    }
}
