//! What happened, as numbers for Prometheus: a file in the format of node_exporter's textfile collector.
//!
//! ```text
//! Event, Status --> Counters --render--> text --thread `metrics`--> temporary file --rename--> PATH
//! ```
//! Counters begin at 0 with the daemon, as Prometheus expects of them; only the times of the last success are taken
//! over from the history. The tick thread counts and goes on: writing is the business of a thread of its own, so that
//! a slow disk delays no job. Changes that come while it writes make one more file, not one each.
//!
//! This room decides nothing, and does not know where numbers go after the file.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::Value;

use crate::config::JobName;
use crate::job::{RunRecord, RunState};
use crate::logging;
use crate::schedule::Zone;
use crate::scheduler::{Event, Status};

/// In front of every name.
const PREFIX: &str = "aclarai_scheduler";

/// How runs end. All three are there from the start: a counter that appears with its first event hides that event.
const OUTCOMES: [RunState; 3] = [RunState::Succeeded, RunState::Failed, RunState::Interrupted];

/// Statistics of a run that count blocks, and the outcome each stands for.
const BLOCKS: [(&str, &str); 11] = [
    ("blocks_new", "new"),
    ("blocks_updated", "updated"),
    ("blocks_unchanged", "unchanged"),
    ("blocks_moved", "moved"),
    ("blocks_metadata", "metadata"),
    ("blocks_archived", "archived"),
    ("blocks_restored", "restored"),
    ("blocks_missing", "missing"),
    ("conflicts", "conflict"),
    ("duplicates", "duplicate"),
    ("empty_blocks", "empty"),
];

/// The same for files.
const FILES: [(&str, &str); 4] = [
    ("files_processed", "processed"),
    ("files_skipped", "skipped"),
    ("files_deferred", "deferred"),
    ("conflict_copies", "conflict_copy"),
];

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Counters {
    started_at: Option<DateTime<Utc>>,
    is_serving: bool,
    status: Status,
    jobs: BTreeMap<JobName, JobCounters>,
}

/// What is counted of one job.
#[derive(Debug, Default)]
struct JobCounters {
    runs: BTreeMap<&'static str, u64>,
    skips: BTreeMap<&'static str, u64>,
    lateness: Summary,
    queue_wait: Summary,
    duration: Summary,
    last_run: Option<DateTime<Utc>>,
    last_success: Option<DateTime<Utc>>,
    needs_attention: bool,
    blocks: BTreeMap<&'static str, u64>,
    files: BTreeMap<&'static str, u64>,
    bytes_read: Option<u64>,
    errors: Option<u64>,
    warnings: Option<u64>,
}

/// A number of things, and how long they took together.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    count: u64,
    sum: f64,
}

impl Summary {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
    }
}

impl Counters {
    /// Nothing counted yet. `started_at` is when the daemon began.
    pub fn new(started_at: DateTime<Utc>) -> Counters {
        Counters { started_at: Some(started_at), is_serving: true, ..Counters::default() }
    }

    /// Shows a job from now on, whether anything happened to it or not.
    pub fn know(&mut self, job: &JobName) {
        let counters = self.jobs.entry(job.clone()).or_default();
        for outcome in OUTCOMES {
            counters.runs.entry(outcome.as_str()).or_default();
        }
    }

    /// Takes over when a job last succeeded before this daemon.
    pub fn remember_success(&mut self, job: &JobName, at: DateTime<Utc>) {
        self.know(job);
        let known = &mut self.jobs.entry(job.clone()).or_default().last_success;
        *known = (*known).max(Some(at));
    }

    /// Counts what happened to a run or an occurrence.
    pub fn count(&mut self, record: &RunRecord) {
        self.know(&record.job);
        let job = self.jobs.entry(record.job.clone()).or_default();
        match record.state {
            RunState::Queued => {}
            RunState::Skipped => {
                if let Some(reason) = record.reason {
                    *job.skips.entry(reason.as_str()).or_default() += record.count;
                }
            }
            RunState::Running => {
                job.lateness.add(record.lateness_s);
                job.queue_wait.add(record.queue_wait_s.unwrap_or_default());
            }
            RunState::Succeeded | RunState::Failed | RunState::Interrupted => job.end(record),
        }
    }

    /// Takes in what the scheduler is doing; true if that says anything new.
    pub fn observe(&mut self, status: &Status) -> bool {
        let is_new = self.status != *status;
        if is_new {
            self.status = status.clone();
        }
        is_new
    }

    /// All of it, in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        page.family("build_info", Kind::Gauge, "The running program; always 1.");
        page.sample(
            &[("version", env!("CARGO_PKG_VERSION")), ("zone_data", Zone::data_version())],
            true,
        );
        page.family("up", Kind::Gauge, "Whether the daemon is running: 0 after an orderly end.");
        page.sample(&[], self.is_serving);
        if let Some(started_at) = self.started_at {
            let help = "When the daemon started.";
            page.family("start_timestamp_seconds", Kind::Gauge, help);
            page.sample(&[], at(started_at));
        }
        self.render_status(&mut page);
        self.render_runs(&mut page);
        self.render_items(&mut page);
        page.text
    }

    fn render_status(&self, page: &mut Page) {
        let Status { paused, running, queued, next, fault, .. } = &self.status;
        page.family("paused", Kind::Gauge, "Whether a pause keeps schedules from starting runs.");
        page.sample(&[], paused.is_some());
        let help = "Whether the state file cannot be written; nothing is started then.";
        page.family("state_fault", Kind::Gauge, help);
        page.sample(&[], fault.is_some());
        page.family("running_runs", Kind::Gauge, "Runs that a worker has.");
        page.sample(&[], running.len() as u64);
        page.family("queued_runs", Kind::Gauge, "Runs that wait for a worker.");
        page.sample(&[], *queued as u64);
        if let Some((next, _)) = next {
            page.family(
                "next_run_timestamp_seconds",
                Kind::Gauge,
                "When the next run of any job is due.",
            );
            page.sample(&[], at(*next));
        }
    }

    fn render_runs(&self, page: &mut Page) {
        self.by_word(page, "runs_total", "Runs that ended, by outcome.", "outcome", |job| {
            &job.runs
        });
        let help = "Occurrences that made no run, by reason.";
        self.by_word(page, "skips_total", help, "reason", |job| &job.skips);
        let help = "From the instant of the schedule to the decision.";
        self.summary(page, "lateness_seconds", help, |job| job.lateness);
        let help = "From the decision to the moment a worker took the run.";
        self.summary(page, "queue_wait_seconds", help, |job| job.queue_wait);
        let help = "From the moment a worker took the run to its end.";
        self.summary(page, "run_duration_seconds", help, |job| job.duration);
        let help = "When the last run ended.";
        self.each(page, "last_run_timestamp_seconds", Kind::Gauge, help, |job| {
            job.last_run.map(at)
        });
        let help = "When the last run that succeeded ended.";
        self.each(page, "last_success_timestamp_seconds", Kind::Gauge, help, |job| {
            job.last_success.map(at)
        });
        let help = "Whether the last run asks for a person to look.";
        self.each(page, "needs_attention", Kind::Gauge, help, |job| {
            job.last_run.map(|_| job.needs_attention.into())
        });
    }

    fn render_items(&self, page: &mut Page) {
        let help = "Blocks that runs looked at, by outcome.";
        self.by_word(page, "blocks_total", help, "outcome", |job| &job.blocks);
        let help = "Files that runs looked at, by outcome.";
        self.by_word(page, "files_total", help, "outcome", |job| &job.files);
        let counter = Kind::Counter;
        let help = "Bytes of files that runs read.";
        self.each(page, "read_bytes_total", counter, help, |job| job.bytes_read.map(Number::from));
        let help = "Errors that runs counted in what they worked on.";
        self.each(page, "item_errors_total", counter, help, |job| job.errors.map(Number::from));
        let help = "Warnings that runs counted in what they worked on.";
        self.each(page, "item_warnings_total", counter, help, |job| job.warnings.map(Number::from));
    }

    /// A counter with a second label beside the job.
    fn by_word(
        &self,
        page: &mut Page,
        name: &str,
        help: &str,
        label: &str,
        words: impl Fn(&JobCounters) -> &BTreeMap<&'static str, u64>,
    ) {
        if self.jobs.values().all(|job| words(job).is_empty()) {
            return;
        }
        page.family(name, Kind::Counter, help);
        for (name, job) in &self.jobs {
            for (word, count) in words(job) {
                page.sample(&[("job_name", name.as_str()), (label, word)], *count);
            }
        }
    }

    fn summary(
        &self,
        page: &mut Page,
        name: &str,
        help: &str,
        of: impl Fn(&JobCounters) -> Summary,
    ) {
        if self.jobs.is_empty() {
            return;
        }
        page.family(name, Kind::Summary, help);
        for (name, job) in &self.jobs {
            let Summary { count, sum } = of(job);
            page.suffixed("_sum", &[("job_name", name.as_str())], Number(sum));
            page.suffixed("_count", &[("job_name", name.as_str())], Number::from(count));
        }
    }

    /// One number per job, for the jobs that have it.
    fn each(
        &self,
        page: &mut Page,
        name: &str,
        kind: Kind,
        help: &str,
        of: impl Fn(&JobCounters) -> Option<Number>,
    ) {
        let mut found =
            self.jobs.iter().filter_map(|(name, job)| Some((name, of(job)?))).peekable();
        if found.peek().is_none() {
            return;
        }
        page.family(name, kind, help);
        for (name, number) in found {
            page.sample(&[("job_name", name.as_str())], number);
        }
    }
}

impl JobCounters {
    /// Counts a run that ended.
    fn end(&mut self, record: &RunRecord) {
        *self.runs.entry(record.state.as_str()).or_default() += 1;
        if let Some(duration) = record.duration_s {
            self.duration.add(duration);
        }
        self.last_run = self.last_run.max(record.finished_at);
        if record.state == RunState::Succeeded {
            self.last_success = self.last_success.max(record.finished_at);
        }
        let count = |name: &str| record.stats.get(name).and_then(Value::as_u64);
        let attention = record.stats.get("needs_attention").and_then(Value::as_bool);
        self.needs_attention = attention.unwrap_or(false);
        for (sums, names) in [(&mut self.blocks, &BLOCKS[..]), (&mut self.files, &FILES[..])] {
            for (name, outcome) in names {
                if let Some(count) = count(name) {
                    *sums.entry(outcome).or_default() += count;
                }
            }
        }
        for (sum, name) in [
            (&mut self.bytes_read, "bytes_read"),
            (&mut self.errors, "errors"),
            (&mut self.warnings, "warnings"),
        ] {
            if let Some(count) = count(name) {
                *sum = Some(sum.unwrap_or(0).saturating_add(count));
            }
        }
    }
}

/// The kinds of metric there are here.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
    Summary,
}

/// A value of the text format. Whole numbers are exact up to 2^53, which no counter here reaches in its life.
#[derive(Clone, Copy, Debug)]
struct Number(f64);

impl From<u64> for Number {
    fn from(count: u64) -> Number {
        Number(count as f64)
    }
}

impl From<bool> for Number {
    fn from(is_so: bool) -> Number {
        Number(if is_so { 1.0 } else { 0.0 })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

fn at(instant: DateTime<Utc>) -> Number {
    Number(instant.timestamp_micros() as f64 / 1e6)
}

/// The text as it grows, family by family.
#[derive(Debug, Default)]
struct Page {
    text: String,
    family: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
        };
        self.family = format!("{PREFIX}_{name}");
        self.line(format_args!("# HELP {} {help}", self.family.clone()));
        self.line(format_args!("# TYPE {} {kind}", self.family.clone()));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Number>) {
        self.suffixed("", labels, value.into());
    }

    fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: Number) {
        let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
        let labels = labels.iter().map(label).collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        self.line(format_args!("{}{suffix}{labels} {value}", self.family.clone()));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes whatever is written to it");
    }
}

/// The value of a label between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A metrics file that is kept up to date while a daemon runs. Its parts are handed to the scheduler; dropping it
/// without [`stop`](MetricsFile::stop) leaves the file as it is.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    counters: Arc<Mutex<Counters>>,
    wake: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsFile {
    /// Starts the thread that writes to `path`. That the file cannot be written is logged, and ends nothing.
    pub fn start(path: &Path, counters: Counters) -> io::Result<MetricsFile> {
        let counters = Arc::new(Mutex::new(counters));
        // Room for one: who finds it taken knows that the thread has still to look, and will see this change too.
        let (wake, woken) = bounded(1);
        let writer =
            Writer { path: path.to_owned(), counters: Arc::clone(&counters), failed: None };
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || writer.run(&woken))?;
        Ok(MetricsFile { path: path.to_owned(), counters, wake, thread: Some(thread) })
    }

    /// What counts the events of the scheduler.
    pub fn observer(&self) -> impl FnMut(&Event<'_>) + Send + use<> {
        let (counters, wake) = (Arc::clone(&self.counters), self.wake.clone());
        move |event| {
            lock(&counters).count(event.record);
            let _ = wake.try_send(());
        }
    }

    /// What takes in the status of the scheduler, round by round.
    pub fn heartbeat(&self) -> impl FnMut(&Status) + Send + use<> {
        let (counters, wake) = (Arc::clone(&self.counters), self.wake.clone());
        move |status| {
            if lock(&counters).observe(status) {
                let _ = wake.try_send(());
            }
        }
    }

    /// Changes what is counted, and has it written.
    pub fn update(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut lock(&self.counters));
        let _ = self.wake.try_send(());
    }

    /// Writes the last file, which says that the daemon has ended. To be called when the scheduler has ended and with
    /// it the observer and the heartbeat, or it waits for them.
    pub fn stop(self) {
        let MetricsFile { path, counters, wake, thread } = self;
        drop(wake);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        lock(&counters).is_serving = false;
        Writer { path, counters, failed: None }.write();
    }
}

/// Whoever panicked while it counted did not leave half a number.
fn lock(counters: &Mutex<Counters>) -> MutexGuard<'_, Counters> {
    counters.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    path: PathBuf,
    counters: Arc<Mutex<Counters>>,
    /// Why the file could not be written the last time: said once, not at each run.
    failed: Option<String>,
}

impl Writer {
    fn run(mut self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            self.write();
        }
    }

    fn write(&mut self) {
        let text = lock(&self.counters).render();
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
                        "metrics file cannot be written: let this user write in its folder"
                    );
                }
                self.failed = Some(error);
            }
        }
    }
}

/// Writes a metrics file for what is over already. That it cannot be written is logged, and takes nothing back.
pub fn write_once(path: &Path, counters: Counters) {
    let counters = Arc::new(Mutex::new(counters));
    Writer { path: path.to_owned(), counters, failed: None }.write();
}

/// Replaces the file at `path` in one step, readable for everybody: node_exporter is another user, and nothing in it
/// is secret. It is not forced to disk: after a power cut it is made anew by the next start.
fn write_file(path: &Path, text: &str) -> io::Result<()> {
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
