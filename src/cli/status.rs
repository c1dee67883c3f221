//! `status`: is a daemon running on this state folder, and what is it doing? For people, and by its exit code for
//! probes.

use chrono::{DateTime, Utc};

use super::arguments::Format;
use super::exit::{Exit, Failure};
use super::out::{Out, written};
use super::setup::Setup;
use crate::clock::{Moment, SystemClock};
use crate::graph::Marks;
use crate::observe::marks;
use crate::observe::seen::{Jobs, SeenDaemon, ago};
use crate::text::{instant, relative, visible};

pub(super) fn status(setup: &Setup<'_>, format: &Format) -> Result<Exit, Failure> {
    let app = setup.app()?;
    let config = &app.config;
    let paused = setup.paused(config)?;
    let moment = Moment::of(&SystemClock);
    let jobs = Jobs { specs: &config.scheduler.jobs, not_runnable: &app.not_runnable };
    let seen = SeenDaemon::look(&config.state_dir, jobs, paused, moment)?;
    setup.warn_of_other_config(config, seen.in_force())?;
    let marks = marks::count(&config.graph);
    let mut out = Out::stdout();
    let result = match format.json {
        true => out.json(&seen.to_json(marks.as_ref().ok())),
        false => write(&seen, &marks, &mut out, moment.wall),
    };
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

fn write(
    seen: &SeenDaemon<'_>,
    marks: &Result<Marks, String>,
    out: &mut Out,
    now: DateTime<Utc>,
) -> std::io::Result<()> {
    match &seen.daemon {
        None => writeln!(out, "not running")?,
        Some(daemon) => {
            let since = match (daemon.pid, daemon.since) {
                (_, Some(since)) => format!(" ({})", relative(since, now)),
                (Some(_), None) => ", since before the clock was set".to_owned(),
                (None, None) => String::new(),
            };
            writeln!(out, "running: {daemon}{since}")?;
        }
    }
    if let Some(file) = seen.in_force() {
        writeln!(out, "configuration: {file}")?;
    }
    let sign = seen.health.as_ref().and_then(|health| health.sign.as_ref());
    if let Some(standby) = sign.and_then(|sign| sign.standby.as_deref()) {
        writeln!(out, "{}", visible(standby))?;
    }
    for reason in seen.health.iter().flat_map(|health| &health.reasons) {
        writeln!(out, "not healthy: {reason}")?;
    }
    if let Some(sign) = sign.filter(|sign| sign.waiting > 0 && sign.held.len() >= sign.workers) {
        let held =
            sign.held.iter().map(|held| format!("{} since {}", held.run_id, ago(held.since, now)));
        let held = held.collect::<Vec<_>>().join(", ");
        writeln!(out, "all {} workers are held, {} wait: {held}", sign.workers, sign.waiting)?;
    }
    if let Some(why) = &seen.paused {
        writeln!(out, "paused by {why}")?;
    }
    for run in &seen.open {
        let record = &run.record;
        let since = ago(record.started_at.unwrap_or(record.decided_at), now);
        writeln!(out, "{} {}: {since}, in {}", record.state.as_str(), record.run_id, run.holder)?;
    }
    match marks {
        Ok(Marks { count: 0, .. }) => writeln!(out, "marked for reprocessing: nothing")?,
        Ok(Marks { count, oldest }) => {
            let blocks = if *count == 1 { "block" } else { "blocks" };
            let since = oldest.map(|at| format!(", the oldest {}", ago(at, now)));
            writeln!(
                out,
                "marked for reprocessing: {count} {blocks}{}",
                since.unwrap_or_default()
            )?;
        }
        Err(why) => writeln!(out, "marked for reprocessing: unknown: {why}")?,
    }
    match (&seen.next, &seen.clock_not_set) {
        (Some((at, job)), _) => {
            writeln!(out, "next: {job} at {} ({})", instant(*at), relative(*at, now))
        }
        (None, Some(why)) => writeln!(out, "next: known once the clock is set ({why})"),
        (None, None) => writeln!(out, "next: nothing is scheduled"),
    }
}
