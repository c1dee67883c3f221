//! `status`: is a daemon running on this state folder, and what is it doing? For people, and by its exit code for
//! probes.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::arguments::Format;
use super::exit::{Exit, Failure};
use super::next::fire_times;
use super::out::{Out, written};
use super::setup::Setup;
use crate::clock::{Clock, SystemClock};
use crate::config::JobName;
use crate::history::{History, OpenRun};
use crate::job::RunState;
use crate::state::{DaemonLock, Holder};
use crate::text::{instant, relative};

pub(super) fn status(setup: &Setup<'_>, format: &Format) -> Result<Exit, Failure> {
    let config = setup.config()?;
    let registry = setup.registry(&config)?;
    let daemon = DaemonLock::holder(&config.state_dir)?;
    let paused = setup.pause(&config)?.is_paused();
    let open = match History::open(&config.state_dir)? {
        Some(history) => history.open_runs()?,
        None => Vec::new(),
    };
    let now = SystemClock.now();
    let next = config
        .scheduler
        .jobs
        .values()
        .filter(|spec| spec.is_scheduled() && registry.knows(spec.kind()))
        .filter_map(|spec| Some((fire_times(&spec.schedule, now).next()?, &spec.name)))
        .min();
    let seen = Seen { daemon, paused, open, next };
    let mut out = Out::stdout();
    let result = if format.json { out.json(&seen.to_json()) } else { seen.write(&mut out, now) };
    written(result.and_then(|()| out.flush()), Exit::Done)?;
    match seen.daemon {
        Some(_) => Ok(Exit::Done),
        None => Err(Failure::unavailable(format!(
            "no daemon is running on {}: start it with `aclarai-scheduler serve`",
            config.state_dir.display()
        ))),
    }
}

/// What there is to see from outside.
struct Seen<'c> {
    daemon: Option<Holder>,
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
            "pid": daemon.and_then(|daemon| daemon.pid),
            "since": daemon.and_then(|daemon| daemon.since).map(instant),
            "paused": self.paused,
            "running_jobs": running.iter().filter(|run| run["state"] == RunState::Running.as_str()).collect::<Vec<_>>(),
            "queued_jobs": running.iter().filter(|run| run["state"] == RunState::Queued.as_str()).collect::<Vec<_>>(),
            "next": self.next.map(|(at, job)| json!({"job_name": job.as_str(), "at": instant(at)})),
        })
    }
}
