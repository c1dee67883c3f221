//! `jobs`: every configured job, when it fires, and what came of it last.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::arguments::Format;
use super::exit::{Exit, Failure};
use super::history::{head, state};
use super::next::fire_times;
use super::out::{Cell, Out, Tone, written};
use super::setup::Setup;
use crate::clock::{Clock, Moment, SystemClock};
use crate::config::JobSpec;
use crate::history::{History, to_json};
use crate::job::{BuildError, RunRecord};
use crate::schedule::Zone;
use crate::scheduler::health;
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
}

pub(super) fn jobs(setup: &Setup<'_>, format: &Format) -> Result<Exit, Failure> {
    let app = setup.app()?;
    let config = &app.config;
    if DaemonLock::holder(&config.state_dir)?.is_some() {
        let sign = health::of(&config.state_dir, Moment::of(&SystemClock)).sign;
        setup.warn_of_other_config(config, sign.and_then(|sign| sign.config).as_deref())?;
    }
    let history = History::open(&config.state_dir)?;
    let now = SystemClock.now();
    let mut shown = Vec::new();
    for spec in config.scheduler.jobs.values() {
        let runnable = app.runs(&spec.name);
        let next = if runnable && spec.is_scheduled() {
            fire_times(&spec.schedule, now).take(NEXT).collect()
        } else {
            Vec::new()
        };
        let last = history.as_ref().map(|history| history.last_run(&spec.name)).transpose()?;
        shown.push(Shown { spec, runnable, next, last: last.flatten() });
    }
    let mut out = Out::stdout();
    let result = if format.json {
        out.json(&shown.iter().map(Shown::to_json).collect::<Vec<_>>())
    } else {
        let mut rows = vec![["JOB", "SCHEDULE", "NEXT", "LAST", "WHAT IT DOES"].map(head).into()];
        rows.extend(shown.iter().map(|job| job.row(now)));
        out.table(&rows)
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}

impl Shown<'_> {
    fn row(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let spec = self.spec;
        let schedule = match &spec.timezone {
            zone if *zone == Zone::UTC => spec.schedule.to_string(),
            zone => format!("{} ({zone})", spec.schedule),
        };
        let next = match self.next.first() {
            Some(at) => Cell::from(format!("{} ({})", instant(*at), relative(*at, now))),
            None if !self.runnable => Cell::new("not runnable", Tone::Doubtful),
            None if !spec.enabled => Cell::new("disabled", Tone::Quiet),
            None if spec.manual_only => Cell::new("manual only", Tone::Quiet),
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
        vec![spec.name.as_str().into(), schedule.into(), next, last, what.into()]
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
            "timezone": spec.timezone.name(),
            "next": self.next.iter().copied().map(instant).collect::<Vec<_>>(),
            "last": self.last.as_ref().map(to_json),
        })
    }
}
