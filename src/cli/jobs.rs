//! `jobs`: every configured job, when it fires, and what came of it last.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::arguments::Format;
use super::exit::{Exit, Failure};
use super::history::{head, state};
use super::next::fire_times;
use super::out::{Cell, Out, Tone, written};
use super::setup::Setup;
use crate::clock::{Moment, SystemClock};
use crate::config::JobSpec;
use crate::history::{History, OpenRun, to_json};
use crate::job::{BuildError, RunRecord, RunState};
use crate::schedule::Zone;
use crate::scheduler::health::{self, Health};
use crate::state::DaemonLock;
use crate::text::{instant, relative};

/// How many fire times `--json` shows of each job.
const NEXT: usize = 3;

/// One job, as far as it can be told.
struct Shown<'c> {
    spec: &'c JobSpec,
    runnable: bool,
    next: Vec<DateTime<Utc>>,
    last: Option<RunRecord>,
    /// The obstacle that keeps its schedule from starting a run now.
    held_back: Vec<String>,
}

/// The obstacle, beyond a job's own settings, that keeps its schedule from starting a run now.
fn held_back(
    spec: &JobSpec,
    paused: Option<&str>,
    health: &Option<Health>,
    open: &[OpenRun],
    now: DateTime<Utc>,
) -> Vec<String> {
    let mut held_back = Vec::new();
    if !spec.is_scheduled() {
        return held_back;
    }
    held_back.extend(paused.map(|why| format!("paused by {why}")));
    match health {
        None => held_back.push("no daemon is running".to_owned()),
        Some(health) => held_back.extend(health.reasons.iter().cloned()),
    }
    let sign = health.as_ref().and_then(|health| health.sign.as_ref());
    for run in open.iter().filter(|run| run.record.job == spec.name) {
        let RunRecord { run_id, state, decided_at, started_at, .. } = &run.record;
        let since = relative(started_at.unwrap_or(*decided_at), now);
        held_back.push(match state {
            RunState::Queued => {
                let held = sign.into_iter().flat_map(|sign| &sign.held);
                let held = held.map(|held| held.job.as_str()).collect::<Vec<_>>().join(", ");
                format!("{run_id} waits for a worker since {since}; workers are held by: {held}")
            }
            _ => format!("{run_id} runs since {since}"),
        });
    }
    held_back
}

pub(super) fn jobs(setup: &Setup<'_>, format: &Format) -> Result<Exit, Failure> {
    let app = setup.app()?;
    let config = &app.config;
    let history = History::open(&config.state_dir)?;
    let moment = Moment::of(&SystemClock);
    let now = moment.wall;
    let paused = setup.pause(config)?.is_paused();
    let holder = DaemonLock::holder(&config.state_dir)?;
    let health = holder.map(|_| health::of(&config.state_dir, moment));
    if let Some(health) = &health {
        let theirs = health.sign.as_ref().and_then(|sign| sign.config.as_deref());
        setup.warn_of_other_config(config, theirs)?;
    }
    let open = match &history {
        Some(history) => history.open_runs()?,
        None => Vec::new(),
    };
    let mut shown = Vec::new();
    for spec in config.scheduler.jobs.values() {
        let runnable = app.runs(&spec.name);
        let next = if runnable && spec.is_scheduled() {
            fire_times(&spec.schedule, now).take(NEXT).collect()
        } else {
            Vec::new()
        };
        let last = history.as_ref().map(|history| history.last_run(&spec.name)).transpose()?;
        let held_back = held_back(spec, paused.as_deref(), &health, &open, now);
        shown.push(Shown { spec, runnable, next, last: last.flatten(), held_back });
    }
    let mut out = Out::stdout();
    let result = if format.json {
        out.json(&shown.iter().map(Shown::to_json).collect::<Vec<_>>())
    } else {
        let mut rows = vec![
            ["JOB", "SCHEDULE", "NEXT", "LAST", "HELD BACK BY", "WHAT IT DOES"].map(head).into(),
        ];
        rows.extend(shown.iter().map(|job| job.row(now)));
        out.table(&rows)
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}

impl Shown<'_> {
    fn row(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let spec = self.spec;
        let schedule = match &spec.timezone {
            zone if *zone == Zone::UTC => spec.schedule.words(),
            _ if !spec.schedule.has_lines() => spec.schedule.words(),
            zone => format!("{} ({zone})", spec.schedule.words()),
        };
        let schedule = match &spec.after {
            Some(after) if schedule.is_empty() => format!("after {}", after.job),
            Some(after) => format!("{schedule}; after {}", after.job),
            None => schedule,
        };
        let next = match self.next.first() {
            Some(at) => Cell::from(format!("{} ({})", instant(*at), relative(*at, now))),
            None if !self.runnable => Cell::new("not runnable", Tone::Doubtful),
            None if !spec.enabled => Cell::new("disabled", Tone::Quiet),
            None if spec.manual_only => Cell::new("manual only", Tone::Quiet),
            None if spec.after.is_some() || spec.schedule.fires_at_start() => Cell::from(""),
            None => Cell::new("never", Tone::Doubtful),
        };
        let last = match &self.last {
            Some(record) => {
                let at = record.finished_at.or(record.started_at).unwrap_or(record.decided_at);
                state(record).with_suffix(&format!(" {}", relative(at, now)))
            }
            None => Cell::new("never ran", Tone::Quiet),
        };
        let what = if self.runnable {
            spec.description.clone()
        } else {
            BuildError::NotRunnable.to_string()
        };
        let held_back = Cell::new(self.held_back.join("; "), Tone::Doubtful);
        vec![spec.name.as_str().into(), schedule.into(), next, last, held_back, what.into()]
    }

    fn to_json(&self) -> Value {
        let spec = self.spec;
        json!({
            "job_name": spec.name.as_str(),
            "kind": spec.kind(),
            "description": spec.description,
            "enabled": spec.enabled,
            "manual_only": spec.manual_only,
            "runnable": self.runnable,
            "remedy": (!self.runnable).then(|| BuildError::NotRunnable.to_string()),
            "cron": spec.schedule.to_string(),
            "schedule": spec.schedule.words(),
            "after": spec.after.as_ref().map(|after| after.job.as_str()),
            "held_back_by": self.held_back,
            "timezone": spec.timezone.name(),
            "next": self.next.iter().copied().map(instant).collect::<Vec<_>>(),
            "last": self.last.as_ref().map(to_json),
        })
    }
}
