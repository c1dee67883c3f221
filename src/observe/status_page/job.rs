//! The page of one job: how it stands, its settings in force, its runs.

use maud::{Markup, html};

use super::super::asked::{Asked, Wish};
use super::super::known::Now;
use super::super::seen::SeenJob;
use super::front::{Drawings, ROWS, next, older, rows, schedule};
use super::words::{Said, encoded, link, moment_of, outcome, run_address, said, time, when};
use crate::config::{JobName, JobSpec};
use crate::history::{Filter, History};
use crate::state::StateError;
use crate::text::length;

/// How many fire times are shown.
const NEXT: usize = 5;

pub(super) fn page(now: &Now, asked: &Asked, name: &str) -> Result<Option<Markup>, StateError> {
    let name = JobName::new(name);
    let daemon = now.daemon()?;
    let history = History::open(&now.known.state_dir)?;
    let wish = Wish::of(asked).unwrap_or_default();
    let filter = Filter { job: Some(&name), ..wish.filter() };
    let records = match &history {
        Some(history) => history.found(&filter, ROWS)?,
        None => Vec::new(),
    };
    let jobs: Vec<SeenJob<'_>> = now.job(&daemon, &name)?.into_iter().collect();
    if jobs.is_empty() && records.is_empty() {
        return Ok(None);
    }
    let since = daemon.daemon.as_ref().and_then(|daemon| daemon.since);
    let (strip, taken) = Drawings::of(now, history.as_ref(), since, &jobs)?.show(0);
    Ok(Some(html! {
        header {
            h1 { (said(name.as_str())) }
            @match jobs.first() {
                Some(job) => (standing(now, job)),
                None => p { "This job is not in the configuration any more; its history is kept." },
            }
        }
        @if let Some(job) = jobs.first() {
            section aria-labelledby="day" {
                h2 id="day" { "Last 24 hours" }
                (strip)
                div class="drawing" { (taken) }
            }
            (settings(now, job))
        }
        section aria-labelledby="history" {
            h2 id="history" { "Runs" }
            (rows(now, &records, false))
            (older(&records, &format!("/jobs/{}?", encoded(name.as_str())), &[]))
        }
    }))
}

fn standing(now: &Now, job: &SeenJob<'_>) -> Markup {
    html! {
        @if !job.spec.description.is_empty() { p { bdi { (Said(&job.spec.description, 2_000)) } } }
        p {
            @match &job.last {
                Some(record) => {
                    "Last run: " (link(&run_address(&record.run_id), &outcome(record.state))) " "
                    (when(moment_of(record), now.moment.wall))
                    @if let Some(error) = &record.error { ": " bdi { (Said(error, 400)) } }
                    "."
                }
                None => {
                    "It never ran. "
                    code { "aclarai-scheduler run " (Said(job.spec.name.as_str(), 120)) } " runs it now."
                }
            }
        }
        @for why in &job.held_back { p { "Held back: " bdi { (Said(why, 400)) } "." } }
    }
}

fn settings(now: &Now, job: &SeenJob<'_>) -> Markup {
    let spec: &JobSpec = job.spec;
    let policy = &spec.policy;
    let yes = |is_so: bool| if is_so { "yes" } else { "no" };
    let command = |argv: &Option<Vec<String>>| argv.as_ref().and_then(|argv| argv.first().cloned());
    html! {
        section aria-labelledby="settings" {
            h2 id="settings" { "Settings in force" }
            dl class="settings" {
                div { dt { "Schedule" } dd { (schedule(spec)) } }
                @let written = spec.schedule.to_string();
                @if !written.is_empty() { div { dt { "cron" } dd { code { (Said(&written, 400)) } } } }
                div { dt { "timezone" } dd { (spec.timezone.name()) } }
                div {
                    dt { "Next" }
                    dd {
                        @if job.next.is_empty() { (next(now, job)) }
                        @for at in spec.schedule.fire_times(now.moment.wall).take(if job.next.is_empty() { 0 } else { NEXT }) {
                            (time(at, now.moment.wall)) br;
                        }
                    }
                }
                div { dt { "kind" } dd { (said(spec.kind())) } }
                @if let Some(command) = &spec.command {
                    div {
                        dt { "command" }
                        // Arguments and variables may hold secrets.
                        dd {
                            code { (Said(command.argv.first().map_or("", String::as_str), 200)) }
                            @if command.argv.len() > 1 { " and " (super::words::counted(command.argv.len() - 1, "argument")) }
                        }
                    }
                }
                div { dt { "enabled" } dd { (yes(spec.enabled)) } }
                div { dt { "manual_only" } dd { (yes(spec.manual_only)) } }
                div { dt { "misfire_grace_time" } dd { (policy.misfire_grace_time.map_or("unlimited".to_owned(), length)) } }
                div { dt { "coalesce" } dd { (yes(policy.coalesce)) } }
                div { dt { "max_instances" } dd { (policy.max_instances) } }
                div { dt { "jitter" } dd { @if policy.jitter.is_zero() { "none" } @else { "up to " (length(policy.jitter)) } } }
                div { dt { "timeout" } dd { (policy.timeout.map_or("none".to_owned(), length)) } }
                div { dt { "retries" } dd { (super::words::counted(policy.retries.max_attempts as usize, "attempt")) } }
                @for (name, argv) in [("on_failure", &policy.on_failure), ("on_recovery", &policy.on_recovery), ("on_success", &policy.on_success)] {
                    @if let Some(program) = command(argv) { div { dt { (name) } dd { code { (Said(&program, 200)) } } } }
                }
            }
        }
    }
}
