//! `status`: is a daemon running on this state folder, and what is it doing? For people, and by its exit code for
//! probes.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::arguments::Format;
use super::exit::{Exit, Failure};
use super::next::fire_times;
use super::out::{Out, written};
use super::setup::Setup;
use crate::clock::{Moment, SystemClock};
use crate::config::JobName;
use crate::history::{History, OpenRun};
use crate::job::RunState;
use crate::scheduler::health::{self, Health, Held};
use crate::state::{DaemonLock, Holder};
use crate::text::{instant, relative};

pub(super) fn status(setup: &Setup<'_>, format: &Format) -> Result<Exit, Failure> {
    let app = setup.app()?;
    let config = &app.config;
    let daemon = DaemonLock::holder(&config.state_dir)?;
    let paused = setup.pause(config)?.is_paused();
    let open = match History::open(&config.state_dir)? {
        Some(history) => history.open_runs()?,
        None => Vec::new(),
    };
    let moment = Moment::of(&SystemClock);
    let now = moment.wall;
    let next = config
        .scheduler
        .jobs
        .values()
        .filter(|spec| spec.is_scheduled() && app.runs(&spec.name))
        .filter_map(|spec| Some((fire_times(&spec.schedule, now).next()?, &spec.name)))
        .min();
    let health = daemon.as_ref().map(|_| health::of(&config.state_dir, moment));
    let in_force = health.as_ref().and_then(|health| health.sign.as_ref()?.config.clone());
    setup.warn_of_other_config(config, in_force.as_deref())?;
    let seen = Seen { daemon, health, in_force, paused, open, next };
    let mut out = Out::stdout();
    let result = if format.json { out.json(&seen.to_json()) } else { seen.write(&mut out, now) };
    written(result.and_then(|()| out.flush()), Exit::Done)?;
    match (seen.daemon, seen.health) {
        (Some(_), Some(health)) if !health.reasons.is_empty() => {
            Err(Failure::unavailable(health.reasons.join("; ")))
        }
        (Some(_), _) => Ok(Exit::Done),
        (None, _) => Err(Failure::unavailable(format!(
            "no daemon is running on {}: start it with `aclarai-scheduler serve`",
            config.state_dir.display()
        ))),
    }
}

/// The view from outside.
struct Seen<'c> {
    daemon: Option<Holder>,
    /// Of a daemon that runs.
    health: Option<Health>,
    /// The configuration file that the daemon has.
    in_force: Option<String>,
    paused: Option<String>,
    open: Vec<OpenRun>,
    next: Option<(DateTime<Utc>, &'c JobName)>,
}

impl Seen<'_> {
    fn write(&self, out: &mut Out, now: DateTime<Utc>) -> std::io::Result<()> {
        match &self.daemon {
            None => writeln!(out, "not running")?,
            Some(daemon) => {
                let since = daemon.since.map(|since| format!(" ({})", relative(since, now)));
                writeln!(out, "running: {daemon}{}", since.unwrap_or_default())?;
            }
        }
        if let Some(file) = &self.in_force {
            writeln!(out, "configuration: {file}")?;
        }
        let sign = self.health.as_ref().and_then(|health| health.sign.as_ref());
        for reason in self.health.iter().flat_map(|health| &health.reasons) {
            writeln!(out, "not healthy: {reason}")?;
        }
        if let Some(sign) = sign.filter(|sign| sign.waiting > 0 && sign.held.len() >= sign.workers)
        {
            let held = sign
                .held
                .iter()
                .map(|held| format!("{} since {}", held.run_id, relative(held.since, now)));
            let held = held.collect::<Vec<_>>().join(", ");
            writeln!(out, "all {} workers are held, {} wait: {held}", sign.workers, sign.waiting)?;
        }
        if let Some(why) = &self.paused {
            writeln!(out, "paused by {why}")?;
        }
        for run in &self.open {
            let record = &run.record;
            let since = relative(record.started_at.unwrap_or(record.decided_at), now);
            writeln!(
                out,
                "{} {}: {since}, in {}",
                record.state.as_str(),
                record.run_id,
                run.holder
            )?;
        }
        match &self.next {
            Some((at, job)) => {
                writeln!(out, "next: {job} at {} ({})", instant(*at), relative(*at, now))
            }
            None => writeln!(out, "next: nothing is scheduled"),
        }
    }

    fn to_json(&self) -> Value {
        let daemon = self.daemon.as_ref();
        let sign = self.health.as_ref().and_then(|health| health.sign.as_ref());
        let running: Vec<Value> = self
            .open
            .iter()
            .map(|run| {
                json!({
                    "job_name": run.record.job.as_str(),
                    "job_id": run.record.run_id.as_str(),
                    "trigger": run.record.trigger.as_str(),
                    "state": run.record.state.as_str(),
                    "since": run.record.started_at.map(instant),
                    "pid": run.holder.pid,
                })
            })
            .collect();
        json!({
            "running": daemon.is_some(),
            "healthy": self.health.as_ref().is_some_and(|health| health.reasons.is_empty()),
            "reasons": match &self.health {
                Some(health) => health.reasons.clone(),
                None => vec!["no daemon is running".to_owned()],
            },
            "last_sign_of_life": sign.map(|sign| instant(sign.at)),
            "workers": sign.map(|sign| sign.workers),
            "workers_held_by": sign.map(|sign| {
                let held = |held: &Held| {
                    json!({
                        "job_name": held.job,
                        "job_id": held.run_id,
                        "since": instant(held.since),
                        "overdue": held.is_overdue,
                    })
                };
                sign.held.iter().map(held).collect::<Vec<_>>()
            }),
            "config": self.in_force,
            "pid": daemon.and_then(|daemon| daemon.pid),
            "since": daemon.and_then(|daemon| daemon.since).map(instant),
            "paused": self.paused,
            "running_jobs": running.iter().filter(|run| run["state"] == RunState::Running.as_str()).collect::<Vec<_>>(),
            "queued_jobs": running.iter().filter(|run| run["state"] == RunState::Queued.as_str()).collect::<Vec<_>>(),
            "next": self.next.map(|(at, job)| json!({"job_name": job.as_str(), "at": instant(at)})),
        })
    }
}
