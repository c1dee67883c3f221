//! Counted events, for Prometheus.
//!
//! Counters begin at 0 with the daemon, as Prometheus expects of them. The outcome of the last run, the time of the last
//! success and the number of failures since then are taken over from the history. Nothing is decided here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::page::{Kind, Number, Page, at};
use crate::config::{JobName, JobSpec};
use crate::gate::Standing;
use crate::job::{RunRecord, RunState, Skip};
use crate::schedule::{Schedule, Zone};
use crate::scheduler::Status;

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

/// The counters of a daemon: the tick thread tells, others render. It never waits for them.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Desk>);

#[derive(Debug)]
struct Desk {
    counters: Mutex<Counters>,
    /// The news that came while somebody had the counters, which takes milliseconds with a thousand jobs.
    inbox: Mutex<Vec<News<'static>>>,
}

/// A thing that the tick thread tells.
#[derive(Clone, Debug)]
pub(crate) enum News<'n> {
    Run(Cow<'n, RunRecord>),
    Skip(Cow<'n, Skip>),
    Status(Cow<'n, Status>),
}

impl News<'_> {
    fn into_owned(self) -> News<'static> {
        match self {
            News::Run(run) => News::Run(Cow::Owned(run.into_owned())),
            News::Skip(skip) => News::Skip(Cow::Owned(skip.into_owned())),
            News::Status(status) => News::Status(Cow::Owned(status.into_owned())),
        }
    }
}

impl Shared {
    pub(crate) fn new(counters: Counters) -> Shared {
        Shared(Arc::new(Desk { counters: Mutex::new(counters), inbox: Mutex::default() }))
    }

    /// Counts something at once, or as soon as whoever renders is done. True if it says anything new.
    pub(crate) fn tell(&self, news: News<'_>) -> bool {
        match self.0.counters.try_lock() {
            Err(TryLockError::WouldBlock) => {
                locked(&self.0.inbox).push(news.into_owned());
                true
            }
            Ok(mut counters) => self.catch_up(&mut counters).take_in(&news),
            Err(TryLockError::Poisoned(counters)) => {
                self.catch_up(&mut counters.into_inner()).take_in(&news)
            }
        }
    }

    /// The counters with all that was told.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Counters> {
        let mut counters = locked(&self.0.counters);
        self.catch_up(&mut counters);
        counters
    }

    fn catch_up<'c>(&self, counters: &'c mut Counters) -> &'c mut Counters {
        let news = std::mem::take(&mut *locked(&self.0.inbox));
        news.iter().for_each(|news| _ = counters.take_in(news));
        counters
    }
}

/// A thread that panicked while it counted did not leave half a number.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    started_at: Option<DateTime<Utc>>,
    /// False after an orderly end.
    pub(super) is_serving: bool,
    status: Status,
    /// Whether the scheduler has told of itself yet.
    has_begun: bool,
    jobs: BTreeMap<JobName, JobCounters>,
}

/// The counters of one job.
#[derive(Debug, Default)]
struct JobCounters {
    /// The job as it is configured; `None` for one that is not, or not any more.
    configured: Option<Configured>,
    last_outcome: Option<RunState>,
    consecutive_failures: u64,
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

/// A job as the configuration has it.
#[derive(Debug)]
struct Configured {
    schedule: String,
    kind: String,
    enabled: bool,
    /// The schedule of a job that starts by it.
    fires: Option<Schedule>,
    /// When it fires next.
    next: Option<DateTime<Utc>>,
}

/// A job's history before this daemon.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past {
    /// When a run last succeeded.
    pub(crate) last_success: Option<DateTime<Utc>>,
    /// How the last run that ended did so.
    pub(crate) last_outcome: Option<RunState>,
    /// How many runs failed since one succeeded.
    pub(crate) failures: u64,
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
    pub(crate) fn new(started_at: DateTime<Utc>) -> Counters {
        Counters { started_at: Some(started_at), is_serving: true, ..Counters::default() }
    }

    /// Shows these jobs from now on, whether anything happens to them or not. Others keep their counts.
    pub(crate) fn configure<'s>(&mut self, jobs: impl IntoIterator<Item = &'s JobSpec>) {
        for job in self.jobs.values_mut() {
            job.configured = None;
        }
        for spec in jobs {
            self.know(&spec.name).configured = Some(Configured {
                schedule: spec.schedule.to_string(),
                kind: spec.kind().to_owned(),
                enabled: spec.enabled,
                fires: spec.is_scheduled().then(|| spec.schedule.clone()),
                next: None,
            });
        }
    }

    fn know(&mut self, job: &JobName) -> &mut JobCounters {
        let counters = self.jobs.entry(job.clone()).or_default();
        for outcome in OUTCOMES {
            counters.runs.entry(outcome.as_str()).or_default();
        }
        counters
    }

    /// Takes over the past of a job before this daemon. Its runs since then outrank that.
    pub(crate) fn remember(&mut self, job: &JobName, past: Past) {
        let known = self.know(job);
        known.last_success = known.last_success.max(past.last_success);
        if known.last_outcome.is_none() {
            known.last_outcome = past.last_outcome;
            known.consecutive_failures = past.failures;
        }
    }

    /// Finds out when each job fires next, where that is not known or over.
    pub(super) fn look_ahead(&mut self, now: DateTime<Utc>) {
        for job in self.jobs.values_mut().filter_map(|job| job.configured.as_mut()) {
            if job.next.is_none_or(|next| next <= now) {
                job.next = job.fires.as_ref().and_then(|schedule| schedule.next_after(now));
            }
        }
    }

    fn take_in(&mut self, news: &News<'_>) -> bool {
        match news {
            News::Run(record) => self.count(record),
            News::Skip(skip) => self.count_skip(skip),
            News::Status(status) => return self.observe(status),
        }
        true
    }

    /// Counts what happened to a run.
    pub(crate) fn count(&mut self, record: &RunRecord) {
        let job = self.know(&record.job);
        match record.state {
            RunState::Queued => {}
            RunState::Running => {
                job.lateness.add(record.lateness_s);
                job.queue_wait.add(record.queue_wait_s.unwrap_or_default());
            }
            RunState::Succeeded | RunState::Failed | RunState::Interrupted => job.end(record),
        }
    }

    /// Counts occurrences that made no run.
    pub(crate) fn count_skip(&mut self, skip: &Skip) {
        let count = self.know(&skip.job).skips.entry(skip.reason.as_str()).or_default();
        *count = count.saturating_add(skip.count);
    }

    /// Takes in what the scheduler is doing; true if that says anything new.
    pub(crate) fn observe(&mut self, status: &Status) -> bool {
        self.has_begun = true;
        let is_new = self.status != *status;
        if is_new {
            self.status = status.clone();
        }
        is_new
    }

    /// The scheduler's doings, once it has told of itself.
    #[cfg(feature = "http")]
    pub(crate) fn status(&self) -> Option<&Status> {
        self.has_begun.then_some(&self.status)
    }

    /// All of it, in the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        self.render_to(Page::default()).finish()
    }

    /// All of it, family by family, behind what the page holds.
    pub(super) fn render_to(&self, mut page: Page) -> Page {
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
        self.render_jobs(&mut page);
        self.render_runs(&mut page);
        self.render_items(&mut page);
        page
    }

    fn render_status(&self, page: &mut Page) {
        let Status { paused, running, queued, fault, lease, .. } = &self.status;
        page.family("paused", Kind::Gauge, "Whether a pause keeps schedules from starting runs.");
        page.sample(&[], paused.is_some());
        let help = "Whether the state file cannot be written; nothing is started then.";
        page.family("state_fault", Kind::Gauge, help);
        page.sample(&[], fault.is_some());
        if let Some(standing) = lease {
            let epoch = match standing {
                Standing::Leader { epoch, .. } => Some(*epoch),
                Standing::Follower { .. } => None,
            };
            let help = "Whether this host holds the lease and runs the jobs; 0 on a standby.";
            page.family("leader", Kind::Gauge, help);
            page.sample(&[], epoch.is_some());
            let help = "Which lead of the group of hosts this is; 0 on a standby.";
            page.family("lease_epoch", Kind::Gauge, help);
            page.sample(&[], epoch.unwrap_or(0).unsigned_abs());
        }
        page.family("running_runs", Kind::Gauge, "Runs that a worker has.");
        page.sample(&[], running.len() as u64);
        page.family("queued_runs", Kind::Gauge, "Runs that wait for a worker.");
        page.sample(&[], *queued as u64);
    }

    fn render_jobs(&self, page: &mut Page) {
        let configured =
            || self.jobs.iter().filter_map(|(name, job)| Some((name, job.configured.as_ref()?)));
        if configured().next().is_none() {
            return;
        }
        page.family("job_info", Kind::Gauge, "Each configured job; always 1.");
        for (name, job) in configured() {
            let labels =
                [("job_name", name.as_str()), ("schedule", &job.schedule), ("kind", &job.kind)];
            page.sample(&labels, true);
        }
        page.family("enabled", Kind::Gauge, "Whether the job is enabled.");
        for (name, job) in configured() {
            page.sample(&[("job_name", name.as_str())], job.enabled);
        }
        let help = "When the job fires next by its schedule.";
        self.each(page, "next_run_timestamp_seconds", Kind::Gauge, help, |job| {
            job.configured.as_ref()?.next.map(at)
        });
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
        let help = "When the last run that succeeded ended; 0 if none ever did.";
        self.each(page, "last_success_timestamp_seconds", Kind::Gauge, help, |job| {
            Some(job.last_success.map_or(Number(0.0), at))
        });
        let help = "Runs that failed since one succeeded.";
        self.each(page, "consecutive_failures", Kind::Gauge, help, |job| {
            Some(Number::from(job.consecutive_failures))
        });
        self.render_last_outcome(page);
        let help = "Whether the last run asks for a person to look.";
        self.each(page, "needs_attention", Kind::Gauge, help, |job| {
            job.last_run.map(|_| job.needs_attention.into())
        });
    }

    fn render_last_outcome(&self, page: &mut Page) {
        let ran = || self.jobs.iter().filter_map(|(name, job)| Some((name, job.last_outcome?)));
        if ran().next().is_none() {
            return;
        }
        page.family("last_outcome", Kind::Gauge, "How the last run ended: 1 for that outcome.");
        for (name, last) in ran() {
            for outcome in OUTCOMES {
                let labels = [("job_name", name.as_str()), ("outcome", outcome.as_str())];
                page.sample(&labels, outcome == last);
            }
        }
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
        self.last_outcome = Some(record.state);
        match record.state {
            RunState::Succeeded => self.consecutive_failures = 0,
            RunState::Failed => self.consecutive_failures += 1,
            // A run that was told to end says nothing about the job.
            _ => {}
        }
        if record.state == RunState::Succeeded {
            self.last_success = self.last_success.max(record.finished_at);
        }
        let count = |name: &str| record.stats.get(name).and_then(Value::as_u64);
        let attention = record.stats.get("needs_attention").and_then(Value::as_bool);
        self.needs_attention = attention.unwrap_or(false);
        for (sums, names) in [(&mut self.blocks, &BLOCKS[..]), (&mut self.files, &FILES[..])] {
            for (name, outcome) in names {
                if let Some(count) = count(name) {
                    let sum = sums.entry(outcome).or_default();
                    *sum = sum.saturating_add(count);
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

#[cfg(test)]
mod tests;
