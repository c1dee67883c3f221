//! The tick thread's memory of runs, and how each event becomes rows.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::JobName;
use crate::history::{RowId, Skipped, Writer};
use crate::job::{RunId, RunRecord, RunState, Skip, SkipReason, Trigger};
use crate::scheduler::plan::{Decision, Fate, Mark, Plan, Planner, Wait};
use crate::stop::Stop;
use crate::text;

/// A run that is decided and not over. There may be many thousand: its [`RunRecord`] is made when somebody wants it.
pub(super) struct Run {
    pub(super) job: JobName,
    pub(super) run_id: RunId,
    pub(super) instant: DateTime<Utc>,
    pub(super) epoch: u32,
    pub(super) rerun: u32,
    pub(super) coalesced: u64,
    pub(super) lateness: Duration,
    pub(super) decided_at: DateTime<Utc>,
    pub(super) row: RowId,
    pub(super) stop: Stop,
    pub(super) timeout: Option<Duration>,
    pub(super) begun: Option<Begun>,
    pub(super) overdue: Option<Overdue>,
}

/// A worker has taken the run.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) at: DateTime<Utc>,
    /// Monotonic time.
    pub(super) monotonic: Duration,
    pub(super) queue_wait: Duration,
}

/// A run that goes on although its time is up.
#[derive(Clone, Copy)]
pub(super) struct Overdue {
    /// When to complain next, by monotonic time.
    pub(super) next: Duration,
    /// How long after the next complaint the one after it comes.
    pub(super) interval: Duration,
    /// Whether another worker stands in for the one it holds.
    pub(super) has_spare: bool,
}

/// A run that is over, or taken back.
pub(super) struct Past {
    pub(super) record: RunRecord,
    pub(super) epoch: u32,
    pub(super) rerun: u32,
    pub(super) row: RowId,
}

/// Something that is to be recorded.
pub(super) enum Entry {
    /// A worker has taken the run of this number; the record is as it was then.
    Started(u64, Box<RunRecord>),
    Ended(Box<Past>),
    /// As `Ended`, by a stop: the next start looks whether it is to be run again.
    CutOff(Box<Past>),
    /// Decided, and undecided again: no worker had begun it.
    TakenBack(Box<Past>),
    /// Decided here and not run here: another host may have the lease, or has run it.
    Refused(Box<Past>, Box<Skip>),
    /// With its epoch.
    Skip(Box<Skip>, u32),
    Mark(Mark),
    Wait(Wait),
}

/// The form of a decision in the state file.
pub(super) enum Written {
    /// `None`: its occurrence had made a run before.
    Run(Option<(RowId, RunId)>),
    Skip(Box<Skip>, Skipped),
}

impl Run {
    pub(super) fn new(
        job: &JobName,
        instant: DateTime<Utc>,
        epoch: u32,
        (row, run_id): (RowId, RunId),
        decided_at: DateTime<Utc>,
    ) -> Run {
        Run {
            job: job.clone(),
            run_id,
            instant,
            epoch,
            rerun: 0,
            coalesced: 0,
            lateness: Duration::ZERO,
            decided_at,
            row,
            stop: Stop::new(),
            timeout: None,
            begun: None,
            overdue: None,
        }
    }

    /// The run as it now stands.
    pub(super) fn record(&self) -> RunRecord {
        let state = if self.begun.is_some() { RunState::Running } else { RunState::Queued };
        RunRecord {
            job: self.job.clone(),
            run_id: self.run_id.clone(),
            trigger: Trigger::Schedule,
            state,
            scheduled_for: self.instant,
            coalesced: self.coalesced,
            decided_at: self.decided_at,
            started_at: self.begun.map(|begun| begun.at),
            finished_at: None,
            lateness_s: self.lateness.as_secs_f64(),
            queue_wait_s: self.begun.map(|begun| begun.queue_wait.as_secs_f64()),
            duration_s: None,
            attempt: 1,
            error: None,
            stats: serde_json::Map::new(),
        }
    }

    /// The run as it ended.
    pub(super) fn past(&self, end: impl FnOnce(&mut RunRecord)) -> Box<Past> {
        let mut record = self.record();
        end(&mut record);
        Box::new(Past { record, epoch: self.epoch, rerun: self.rerun, row: self.row })
    }
}

pub(super) fn write_plan(
    writer: &Writer<'_>,
    planner: &Planner,
    plan: &Plan,
    runs: &BTreeMap<u64, Run>,
    now: DateTime<Utc>,
) -> rusqlite::Result<Vec<Written>> {
    let mut unbegun = None;
    let mut rows = Vec::with_capacity(plan.decisions.len());
    for decision in &plan.decisions {
        let row = match decision.fate {
            Fate::Start { coalesced, .. } => {
                let record = RunRecord {
                    coalesced,
                    decided_at: now,
                    lateness_s: decision.lateness.as_secs_f64(),
                    ..RunRecord::queued(&decision.job, decision.first)
                };
                Written::Run(writer.run(&record, decision.epoch, 0)?)
            }
            Fate::Skip(reason) => {
                let mut skip = to_skip(decision, reason, now);
                if reason == SkipReason::Overlap {
                    let unbegun = unbegun.get_or_insert_with(|| wait_for_workers(runs));
                    skip.remark = unbegun
                        .get(&decision.job)
                        .map(|since| format!("waits for a worker since {}", text::instant(*since)));
                }
                let follows = |last| planner.follows(&decision.job, last, decision.first);
                let skipped = writer.skip(&mut skip, decision.epoch, follows)?;
                Written::Skip(Box::new(skip), skipped)
            }
        };
        rows.push(row);
    }
    for mark in &plan.marks {
        write_mark(writer, mark)?;
    }
    for wait in &plan.waits {
        write_wait(writer, wait)?;
    }
    Ok(rows)
}

/// The jobs whose runs all wait for a worker, and since when the oldest does.
fn wait_for_workers(runs: &BTreeMap<u64, Run>) -> BTreeMap<JobName, DateTime<Utc>> {
    let mut since = BTreeMap::new();
    for run in runs.values().filter(|run| run.begun.is_none()) {
        since.entry(run.job.clone()).or_insert(run.decided_at);
    }
    for run in runs.values().filter(|run| run.begun.is_some()) {
        since.remove(&run.job);
    }
    since
}

fn write_mark(writer: &Writer<'_>, mark: &Mark) -> rusqlite::Result<()> {
    writer.decided_until(&mark.job, &mark.schedule, mark.decided_until, mark.epoch)
}

fn write_wait(writer: &Writer<'_>, wait: &Wait) -> rusqlite::Result<()> {
    if wait.begins {
        writer.wait(&wait.job, wait.instant, wait.epoch)
    } else {
        writer.unwait(&wait.job, wait.instant, wait.epoch)
    }
}

impl Entry {
    pub(super) fn write(
        &mut self,
        writer: &Writer<'_>,
        runs: &BTreeMap<u64, Run>,
    ) -> rusqlite::Result<()> {
        match self {
            Entry::Started(number, record) => match runs.get(number) {
                Some(run) => writer.running(run.row, record),
                // Over already: that is an entry of its own.
                None => Ok(()),
            },
            Entry::Ended(past) => writer.finish(past.row, &past.record),
            Entry::CutOff(past) => writer.interrupt(past.row, &past.record),
            Entry::TakenBack(past) => {
                writer.take_back(past.row)?;
                writer.wait(&past.record.job, past.record.scheduled_for, past.epoch)
            }
            Entry::Refused(past, skip) => {
                writer.take_back(past.row)?;
                writer.skip(skip, past.epoch, |_| false).map(|_| ())
            }
            // Its line may be gone, and with it what would be the instant before it.
            Entry::Skip(skip, epoch) => writer.skip(skip, *epoch, |_| false).map(|_| ()),
            Entry::Mark(mark) => write_mark(writer, mark),
            Entry::Wait(wait) => write_wait(writer, wait),
        }
    }

    fn past_mut(&mut self) -> Option<&mut Past> {
        match self {
            Entry::Ended(past)
            | Entry::CutOff(past)
            | Entry::TakenBack(past)
            | Entry::Refused(past, _) => Some(past),
            Entry::Started(..) | Entry::Skip(..) | Entry::Mark(_) | Entry::Wait(_) => None,
        }
    }
}

/// Writes into a new state file what the lost one knew of the present.
pub(super) fn record_again(
    writer: &Writer<'_>,
    planner: &Planner,
    runs: &mut BTreeMap<u64, Run>,
    outbox: &mut [Entry],
) -> rusqlite::Result<()> {
    for mark in planner.marks() {
        write_mark(writer, &mark)?;
    }
    for run in runs.values_mut() {
        if let Some((row, _)) = writer.run(&run.record(), run.epoch, run.rerun)? {
            run.row = row;
        }
    }
    for past in outbox.iter_mut().filter_map(Entry::past_mut) {
        if let Some((row, _)) = writer.run(&past.record, past.epoch, past.rerun)? {
            past.row = row;
        }
    }
    Ok(())
}

/// The row of occurrences that were decided to make no run.
pub(super) fn to_skip(decision: &Decision, reason: SkipReason, now: DateTime<Utc>) -> Skip {
    Skip {
        last: decision.last,
        count: decision.count,
        decided_at: now,
        lateness_s: decision.lateness.as_secs_f64(),
        ..Skip::new(&decision.job, decision.first, reason)
    }
}
