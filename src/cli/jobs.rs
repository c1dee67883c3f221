//! `jobs`: every configured job, when it fires, and what came of it last.

use chrono::{DateTime, Utc};

use super::arguments::Format;
use super::exit::{Exit, Failure};
use super::history::{head, state};
use super::out::{Cell, Out, Tone, written};
use super::setup::Setup;
use crate::clock::{self, Moment, SystemClock};
use crate::job::BuildError;
use crate::observe::seen::{Jobs, SeenDaemon, SeenJob, ago};
use crate::schedule::Zone;
use crate::text::{instant, relative};

pub(super) fn jobs(setup: &Setup<'_>, format: &Format) -> Result<Exit, Failure> {
    let app = setup.app()?;
    let config = &app.config;
    let moment = Moment::of(&SystemClock);
    let now = moment.wall;
    let paused = setup.paused(config)?;
    let jobs = Jobs { specs: &config.scheduler.jobs, not_runnable: &app.not_runnable };
    let daemon = SeenDaemon::look(&config.state_dir, jobs, paused, moment)?;
    if daemon.health.is_some() {
        setup.warn_of_other_config(config, daemon.in_force())?;
    }
    let seen = SeenJob::look(&config.state_dir, jobs, &daemon, moment)?;
    let mut out = Out::stdout();
    let result = if format.json {
        out.json(&seen.iter().map(SeenJob::to_json).collect::<Vec<_>>())
    } else {
        let mut rows = vec![
            ["JOB", "SCHEDULE", "NEXT", "LAST", "HELD BACK BY", "WHAT IT DOES"].map(head).into(),
        ];
        rows.extend(seen.iter().map(|job| row(job, now)));
        out.table(&rows)
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}

fn row(job: &SeenJob<'_>, now: DateTime<Utc>) -> Vec<Cell> {
    let spec = job.spec;
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
    let next = match job.next.first() {
        Some(at) => Cell::from(format!("{} ({})", instant(*at), relative(*at, now))),
        None if !job.runnable => Cell::new("not runnable", Tone::Doubtful),
        None if !spec.enabled => Cell::new("disabled", Tone::Quiet),
        None if spec.manual_only => Cell::new("manual only", Tone::Quiet),
        None if clock::not_set(now).is_some() => {
            Cell::new("known once the clock is set", Tone::Doubtful)
        }
        None if spec.after.is_some() || spec.schedule.fires_at_start() => Cell::from(""),
        None => Cell::new("never", Tone::Doubtful),
    };
    let last = match &job.last {
        Some(record) => {
            let at = record.finished_at.or(record.started_at).unwrap_or(record.decided_at);
            state(record).with_suffix(&format!(" {}", ago(at, now)))
        }
        None => Cell::new("never ran", Tone::Quiet),
    };
    let what =
        if job.runnable { spec.description.clone() } else { BuildError::NotRunnable.to_string() };
    let held_back = Cell::new(job.held_back.join("; "), Tone::Doubtful);
    vec![spec.name.as_str().into(), schedule.into(), next, last, held_back, what.into()]
}
