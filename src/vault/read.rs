//! Reads files while people and programs write them.
//!
//! Editors truncate a file and write it anew; sync programs replace it. A reading counts only if the file looked the
//! same before and after it, by its open handle and by its path, and gave as many bytes as it is long. Otherwise it
//! is tried again a little later, and in the end left to the next run.
//!
//! Several threads read and parse; the results come back in path order, a bounded number of bytes at a time, so that
//! memory does not grow with the vault. The meaning of a text for the graph is no business of this file.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_128;

use super::fault::{FaultKind, ScanFault, VaultError, is_absence, is_link_refused};
use super::file::{FileStat, ListedFile, other_kind};
use super::marker::ParseOptions;
use super::parse::{NotUtf8, ParsedFile, parse_bytes};
use super::root::{Neighbours, Root};
use crate::clock::{Clock, Spent};
use crate::stop::Stop;

/// A larger file is not read where nothing is configured: it has to lie in memory as a whole.
pub const NOTE_BYTES_MAX: u64 = 64 << 20;

/// How long to wait before each further try at a file that changes while it is read.
const WAITS: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(320)];

/// A file changed this recently is looked at again before anything is made of it.
const RECENT: Duration = Duration::from_secs(2);

/// This many bytes of the vault for each thread are in memory at once (or one file, if it is larger): two portions being
/// read or parsed, and two that wait for those before them.
const WINDOW_BYTES: u64 = 4 * PORTION_BYTES;

/// A thread takes files in portions, so that handing over costs little: up to this many bytes and files.
const PORTION_BYTES: u64 = 256 << 10;
const PORTION_FILES: usize = 32;

/// No more portions than this are under way.
const PORTIONS_MAX: usize = 128;

/// XXH3-128 of the bytes of a file: tells whether it changed, not whether someone forged it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u128);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One file that is to be read.
#[derive(Clone, Debug)]
pub struct ToRead<'a> {
    /// The file.
    pub file: &'a ListedFile,
    /// With this content there is nothing new in it, and it need not be parsed.
    pub known: Option<Digest>,
    /// For a second look: what the first one saw. If that is no longer so, the file is still being worked on.
    pub expected: Option<Box<(FileStat, Digest)>>,
}

/// How files are read.
#[derive(Clone, Copy)]
pub struct ReadOptions<'a> {
    /// The grammar of markers.
    pub parse: ParseOptions,
    /// A note with more bytes is not read.
    pub max_note_size: u64,
    /// How many threads read.
    pub threads: usize,
    /// Tells when a file was read, and waits.
    pub clock: &'a dyn Clock,
    /// The time that it takes is added here.
    pub times: &'a ReadTimes,
    /// Asked between files and while waiting.
    pub stop: &'a Stop,
}

/// The time that reading takes, of all threads together.
#[derive(Debug, Default)]
pub struct ReadTimes {
    /// Opening files, looking at them, reading them.
    pub read: Spent,
    /// Finding blocks in texts, and their hashes.
    pub parse: Spent,
    /// The calling thread's wait for the others.
    pub wait: Spent,
}

/// The result of reading one file.
#[derive(Debug)]
pub enum ReadOutcome {
    /// The file was read and parsed.
    Parsed(Reading, ParsedFile),
    /// The file was read, and its content is the one that is known.
    Same(Reading),
    /// The file is no longer there.
    Vanished,
    /// The file is left to the next run. Its blocks are unknown.
    Deferred(Deferral),
    /// The file cannot be read or is no text. Its blocks are unknown.
    Fault(ScanFault),
}

/// A reading during which the file did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The file's stat, equal before and after.
    pub stat: FileStat,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The wall clock before the first look: nanoseconds since 1970.
    pub read_at_ns: i64,
    /// Whether it is empty or holds nothing but NUL, as files do after a crash or while a sync program works.
    pub is_blank: bool,
}

impl Reading {
    /// Whether the file was changed so recently, or in the future, that it should be looked at again before its blocks
    /// are written.
    pub fn is_recent(&self) -> bool {
        let age = self.read_at_ns.saturating_sub(self.stat.changed_ns());
        i128::from(age) < RECENT.as_nanos() as i128
    }
}

/// Why a file is left to the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferral {
    /// The file changed during each of four readings.
    BeingWritten,
    /// The file changed between two looks in one run, and was not quiet for a second before the last one.
    StillChanging,
    /// The note holds both sides of a merge that nobody has resolved.
    UnresolvedMerge {
        /// Where the first side begins, counted from 1.
        line: u32,
    },
}

impl fmt::Display for Deferral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deferral::BeingWritten => f.write_str("it changed each time it was read"),
            Deferral::StillChanging => f.write_str("it changed again during the run"),
            Deferral::UnresolvedMerge { line } => {
                write!(
                    f,
                    "line {line}: an unresolved merge: resolve it, and remove the lines with <<<<<<< and >>>>>>>"
                )
            }
        }
    }
}

/// The stat of a file now, as far as that can be told.
pub(crate) fn look_once(root: &Root, file: &ListedFile) -> Option<FileStat> {
    stat_by_name(root, &mut Neighbours::new(root), file).ok().map(|stat| FileStat::new(&stat))
}

/// Reads `files`, which are in path order, and hands each to `visit` in that order, on the calling thread. Ends early
/// when `visit` breaks (`Ok`) or the stop says so (`Err`).
pub fn read_in_order<'a>(
    root: &Root,
    files: &[ToRead<'a>],
    options: &ReadOptions<'_>,
    visit: &mut dyn FnMut(&ToRead<'a>, ReadOutcome) -> ControlFlow<()>,
) -> Result<(), VaultError> {
    // A handful of files is read faster than threads are started.
    let is_one_portion =
        Portions { files, next: 0, max_note_size: options.max_note_size }.nth(1).is_none();
    if is_one_portion {
        let mut reader = Reader::new(root, options);
        for file in files {
            if options.stop.is_told() {
                return Err(VaultError::Interrupted);
            }
            if visit(file, reader.read(file)).is_break() {
                break;
            }
        }
        return Ok(());
    }
    let mut portions = Portions { files, next: 0, max_note_size: options.max_note_size }.peekable();
    thread::scope(|scope| {
        let (jobs, job_queue) = bounded::<Portion>(PORTIONS_MAX);
        let (result_sender, results) = bounded::<Answer>(PORTIONS_MAX);
        for n in 0..options.threads.max(1) {
            let (jobs, results) = (job_queue.clone(), result_sender.clone());
            let work = move || read_portions(root, files, options, &jobs, &results);
            let started =
                thread::Builder::new().name(format!("vault-read-{n}")).spawn_scoped(scope, work);
            match started {
                Err(error) if n == 0 => {
                    let path = root.path().to_owned();
                    return Err(VaultError::Io {
                        path,
                        what: "cannot start a thread to read",
                        error,
                    });
                }
                Err(_) => break,
                Ok(_) => {}
            }
        }
        drop((job_queue, result_sender));
        // `jobs` is dropped when this closure returns, however it does: that ends the threads.
        let mut ready = BTreeMap::new();
        let window = WINDOW_BYTES * options.threads.max(1) as u64;
        let (mut bytes_under_way, mut under_way, mut next) = (0, 0, 0);
        loop {
            while let Some(portion) = portions.next_if(|portion| {
                under_way == 0
                    || under_way < PORTIONS_MAX && bytes_under_way + portion.bytes <= window
            }) {
                bytes_under_way += portion.bytes;
                under_way += 1;
                jobs.send(portion).expect("the threads take portions until `jobs` is dropped");
            }
            if under_way == 0 {
                return Ok(());
            }
            let (portion, outcomes) = options
                .times
                .wait
                .on(options.clock, || results.recv())
                .expect("a portion is under way, so its thread will answer");
            ready.insert(
                portion.files.start,
                (portion, outcomes.unwrap_or_else(|panic| resume_unwind(panic))),
            );
            while let Some((portion, outcomes)) = ready.remove(&next) {
                // A thread that heard the stop has left files out.
                if options.stop.is_told() || outcomes.len() < portion.files.len() {
                    return Err(VaultError::Interrupted);
                }
                next = portion.files.end;
                for (file, outcome) in files[portion.files.clone()].iter().zip(outcomes) {
                    if visit(file, outcome).is_break() {
                        return Ok(());
                    }
                }
                bytes_under_way -= portion.bytes;
                under_way -= 1;
            }
        }
    })
}

/// The work of one thread: to read portions until there are no more.
fn read_portions(
    root: &Root,
    files: &[ToRead<'_>],
    options: &ReadOptions<'_>,
    jobs: &Receiver<Portion>,
    results: &Sender<Answer>,
) {
    let mut reader = Reader::new(root, options);
    for portion in jobs {
        // A panic must reach the caller, who would wait for this portion for ever.
        let outcomes = catch_unwind(AssertUnwindSafe(|| {
            let go_on = || !options.stop.is_told();
            let files = files[portion.files.clone()].iter().take_while(|_| go_on());
            files.map(|file| reader.read(file)).collect()
        }));
        if results.send((portion, outcomes)).is_err() {
            return;
        }
    }
}

/// Some neighbouring files, by their indices.
#[derive(Debug)]
struct Portion {
    files: Range<usize>,
    bytes: u64,
}

/// A portion with what came of its files, or with the panic that ended the work on it.
type Answer = (Portion, thread::Result<Vec<ReadOutcome>>);

/// Cuts a list of files into portions.
struct Portions<'a> {
    files: &'a [ToRead<'a>],
    next: usize,
    max_note_size: u64,
}

impl Iterator for Portions<'_> {
    type Item = Portion;

    fn next(&mut self) -> Option<Portion> {
        let start = self.next;
        let first = self.files.get(start)?;
        let mut portion =
            Portion { files: start..start + 1, bytes: weight(first, self.max_note_size) };
        for file in &self.files[start + 1..] {
            let weight = weight(file, self.max_note_size);
            if portion.files.len() == PORTION_FILES || portion.bytes + weight > PORTION_BYTES {
                break;
            }
            portion.files.end += 1;
            portion.bytes += weight;
        }
        self.next = portion.files.end;
        Some(portion)
    }
}

/// The weight in memory of a file under way. A file that will be refused weighs nothing.
fn weight(file: &ToRead<'_>, max_note_size: u64) -> u64 {
    if file.file.stat.size > max_note_size { 0 } else { file.file.stat.size }
}

/// All that one thread needs to read files.
struct Reader<'a> {
    root: &'a Root,
    neighbours: Neighbours<'a>,
    options: &'a ReadOptions<'a>,
}

/// Why one try at a file gave nothing.
enum Failed {
    /// The file changed meanwhile.
    Torn,
    /// The file is not there.
    Gone,
    /// Trying again will not help.
    Fault(FaultKind),
}

impl<'a> Reader<'a> {
    fn new(root: &'a Root, options: &'a ReadOptions<'a>) -> Reader<'a> {
        Reader { root, neighbours: Neighbours::new(root), options }
    }

    fn read(&mut self, file: &ToRead<'_>) -> ReadOutcome {
        let fault = |kind| {
            let path = file.file.path.clone();
            ReadOutcome::Fault(ScanFault { path, is_folder: false, kind })
        };
        let ReadOptions { clock, times, parse, .. } = *self.options;
        let read = times.read.on(clock, || self.until_still(|reader| reader.try_once(file.file)));
        let (reading, bytes) = match read {
            Ok(read) => read,
            Err(Failed::Gone) => return ReadOutcome::Vanished,
            Err(Failed::Torn) => return ReadOutcome::Deferred(Deferral::BeingWritten),
            Err(Failed::Fault(kind)) => return fault(kind),
        };
        if file.expected.as_deref().is_some_and(|seen| *seen != (reading.stat, reading.digest)) {
            return ReadOutcome::Deferred(Deferral::StillChanging);
        }
        if file.known == Some(reading.digest) {
            return ReadOutcome::Same(reading);
        }
        match times.parse.on(clock, || parse_bytes(bytes, parse)) {
            Ok(parsed) => ReadOutcome::Parsed(reading, parsed),
            Err(NotUtf8 { offset }) => fault(FaultKind::NotUtf8 { offset }),
        }
    }

    /// Tries until the file holds still, four times at most.
    fn until_still<T>(
        &mut self,
        mut try_once: impl FnMut(&mut Self) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let mut result = try_once(self);
        // Gone at first sight is gone. Later, an editor may be about to put the new file in place.
        if matches!(result, Err(Failed::Gone)) {
            return result;
        }
        for wait in WAITS {
            if !matches!(result, Err(Failed::Torn | Failed::Gone)) {
                return result;
            }
            if self.options.stop.wait(self.options.clock, wait) {
                return Err(Failed::Torn);
            }
            result = try_once(self);
        }
        result
    }

    fn try_once(&mut self, file: &ListedFile) -> Result<(Reading, Vec<u8>), Failed> {
        let read_at_ns = self.options.clock.now().timestamp_nanos_opt().unwrap_or(i64::MIN);
        let handle = self.open(file).map_err(|error| refuse("open", &error))?;
        let before = regular(stat_of(&handle), "read")?;
        let most = self.options.max_note_size;
        if before.size > most {
            return Err(Failed::Fault(FaultKind::TooLarge { bytes: before.size, most }));
        }
        let bytes =
            read_all(&handle, before.size).map_err(|error| refuse("read", &error.into()))?;
        let after = regular(stat_of(&handle), "read")?;
        let named = regular(self.stat(file), "look at")?;
        if !is_whole(before, after, named, bytes.len()) {
            return Err(Failed::Torn);
        }
        let digest = Digest(xxh3_128(&bytes));
        let is_blank = bytes.iter().all(|byte| *byte == 0);
        Ok((Reading { stat: before, digest, read_at_ns, is_blank }, bytes))
    }

    /// Opens without waiting for a writer, should the file have become a FIFO, and without following a link, should it
    /// have become one.
    fn open(&mut self, file: &ListedFile) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if file.through_link {
            return self.root.open_through_links(&file.path, flags);
        }
        let (folder, name) = self.neighbours.folder_of(&file.path)?;
        Ok(rustix::fs::openat(folder, name, flags | OFlags::NOFOLLOW, Mode::empty())?)
    }

    fn stat(&mut self, file: &ListedFile) -> io::Result<Stat> {
        stat_by_name(self.root, &mut self.neighbours, file)
    }
}

fn stat_by_name(
    root: &Root,
    neighbours: &mut Neighbours<'_>,
    file: &ListedFile,
) -> io::Result<Stat> {
    if file.through_link {
        return root.stat_through_links(&file.path);
    }
    let (folder, name) = neighbours.folder_of(&file.path)?;
    Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether a reading of `len` bytes took place in one state of the file: by the handle before and after, and by the
/// path, which an editor may have given to a new file meanwhile.
fn is_whole(before: FileStat, after: FileStat, named: FileStat, len: usize) -> bool {
    before == after && before == named && before.size == len as u64
}

/// Reads up to the end, but no more than one byte beyond the size the file had: it is growing then.
fn read_all(file: &OwnedFd, size: u64) -> rustix::io::Result<Vec<u8>> {
    let size = usize::try_from(size).expect("checked against max_note_size");
    let mut bytes = Vec::with_capacity(size + 1);
    while bytes.len() <= size {
        match rustix::io::read(file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

fn stat_of(handle: &OwnedFd) -> io::Result<Stat> {
    Ok(rustix::fs::fstat(handle)?)
}

/// The stat of a file that is still one.
fn regular(stat: io::Result<Stat>, verb: &'static str) -> Result<FileStat, Failed> {
    let stat = stat.map_err(|error| refuse(verb, &error))?;
    match other_kind(&stat) {
        None => Ok(FileStat::new(&stat)),
        Some("a folder" | "a symbolic link") => Err(Failed::Gone),
        Some(kind) => Err(Failed::Fault(FaultKind::WrongKind(kind, "a file"))),
    }
}

fn refuse(verb: &'static str, error: &io::Error) -> Failed {
    // With links not followed, the kernel says LOOP for a link in the file's place, or in that of its folder.
    if is_absence(error) || is_link_refused(error) {
        Failed::Gone
    } else {
        Failed::Fault(FaultKind::io(verb, error))
    }
}

#[cfg(test)]
mod tests;
