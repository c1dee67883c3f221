//! The numbers as a file, in the format of node_exporter's textfile collector.
//!
//! ```text
//! Event, Status --> Counters --render--> text --thread `metrics`--> temporary file --rename--> PATH
//! ```
//! The tick thread counts and goes on: writing is the business of a thread of its own, so that a slow disk delays no job.
//! Changes that come while it writes make one more file, not one each.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::counters::{Counters, Shared};
use crate::clock::Clock;
use crate::logging;

/// A metrics file that is kept up to date while a daemon runs. Its parts are handed to the scheduler; dropping it
/// without [`stop`](MetricsFile::stop) leaves the file as it is.
#[derive(Debug)]
pub(crate) struct MetricsFile {
    path: PathBuf,
    counters: Shared,
    clock: Arc<dyn Clock>,
    wake: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsFile {
    /// Starts the thread that writes to `path`. That the file cannot be written is logged, and ends nothing.
    pub(crate) fn start(
        path: &Path,
        counters: Shared,
        clock: Arc<dyn Clock>,
    ) -> io::Result<MetricsFile> {
        // Room for one: a full channel means that the thread has still to look, and will see this change too.
        let (wake, woken) = bounded(1);
        let writer = MetricsWriter {
            path: path.to_owned(),
            counters: counters.clone(),
            clock: Arc::clone(&clock),
            failed: None,
        };
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || writer.run(&woken))?;
        Ok(MetricsFile { path: path.to_owned(), counters, clock, wake, thread: Some(thread) })
    }

    /// A call that has the file written once more, soon.
    pub(crate) fn wake(&self) -> impl Fn() + Send + use<> {
        let wake = self.wake.clone();
        move || {
            let _ = wake.try_send(());
        }
    }

    /// Writes the last file, which says that the daemon has ended. To be called when the scheduler has ended and with
    /// it all that wakes this thread, or it waits for them.
    pub(crate) fn stop(self) {
        let MetricsFile { path, counters, clock, wake, thread } = self;
        drop(wake);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        counters.lock().is_serving = false;
        MetricsWriter { path, counters, clock, failed: None }.write();
    }
}

struct MetricsWriter {
    path: PathBuf,
    counters: Shared,
    clock: Arc<dyn Clock>,
    /// Why the file could not be written the last time: said once, not at each run.
    failed: Option<String>,
}

impl MetricsWriter {
    fn run(mut self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            self.write();
        }
    }

    fn write(&mut self) {
        let text = {
            let mut counters = self.counters.lock();
            counters.look_ahead(self.clock.now());
            counters.render()
        };
        let path = self.path.display().to_string();
        match write_file(&self.path, &text) {
            Ok(()) => {
                if self.failed.take().is_some() {
                    logging::info!(path = path.as_str(); "metrics file can be written again");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.failed.as_ref() != Some(&error) {
                    logging::warn!(path = path.as_str(), error = error.as_str();
                        "metrics file cannot be written: name a file in a folder that this user may write in"
                    );
                }
                self.failed = Some(error);
            }
        }
    }
}

/// Writes a metrics file for a run that is over already. A file that cannot be written is logged, and takes nothing back.
pub(crate) fn write_once(path: &Path, counters: Counters, clock: Arc<dyn Clock>) {
    let counters = Shared::new(counters);
    MetricsWriter { path: path.to_owned(), counters, clock, failed: None }.write();
}

/// Replaces the file at `path` in one step, readable for everybody: node_exporter is another user, and nothing in it
/// is secret. It is not forced to disk: after a power cut it is made anew by the next start.
///
/// A link stays, and the file that it leads to is replaced. A device, a pipe or a socket is never replaced.
fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let path = &target(path)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // Not `*.prom`, or node_exporter would read it half-written.
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = create_anew(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The regular file that is to be replaced at `path`, behind its link if it is one, or the name of a new one.
fn target(path: &Path) -> io::Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error),
        Ok(metadata) => {
            let place =
                if metadata.is_symlink() { fs::canonicalize(path)? } else { path.to_owned() };
            match fs::symlink_metadata(&place)?.is_file() {
                true => Ok(place),
                false => Err(io::Error::other("this is no regular file, and is left as it is")),
            }
        }
    }
}

/// A new file, never one that somebody else put there, nor what a link of that name leads to.
fn create_anew(path: &Path) -> io::Result<fs::File> {
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        result => result,
    }
}

#[cfg(test)]
mod tests;
