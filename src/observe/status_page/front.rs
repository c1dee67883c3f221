//! The first page: the jobs, the vault, the latest history.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde_json::Value;

use super::super::asked::{Asked, Wish};
use super::super::known::Now;
use super::super::seen::SeenJob;
use super::draw::{Day, line, percentile};
use super::headline::{Headline, is_failing};
use super::words::{
    Said, bytes, counted, encoded, job_link, link, moment_of, number, outcome, outcome_of,
    run_address, said, skipped, time, when,
};
use crate::clock;
use crate::config::JobSpec;
use crate::history::{Filter, History, Mark, Row, Stretch, remarks};
use crate::job::{RunRecord, RunState, Skip, stat};
use crate::reconcile::{self, Waiting};
use crate::state::StateError;
use crate::text::duration;

/// So many jobs are drawn; the others are told in words. A thousand drawings would be megabytes.
const DRAWN_MAX: usize = 100;

/// A job that ran each minute of the day has 1,440 marks.
const MARKS_MAX: usize = 1_500;

/// Percentiles of fewer runs say little.
pub(super) const RUNS: usize = 30;

/// Rows of history on a page.
pub(super) const ROWS: usize = 50;

/// Syncs that the line of blocks goes through.
const SYNCS: usize = 60;

pub(super) fn page(now: &Now, asked: &Asked) -> Result<Markup, StateError> {
    let daemon = now.daemon()?;
    let mut jobs = now.jobs(&daemon)?;
    let waiting = reconcile::attention(&now.known.state_dir)?;
    let headline = Headline::of(now, &daemon, &jobs, &waiting);
    // Jobs that need a look first, then those that run by themselves; within each by name.
    crate::order::sort_by_key(&mut jobs, |job| {
        (!is_failing(job), !(job.spec.is_scheduled() && job.runnable))
    });
    let history = History::open(&now.known.state_dir)?;
    let since = daemon.daemon.as_ref().and_then(|daemon| daemon.since);
    let drawings = Drawings::of(now, history.as_ref(), since, &jobs)?;
    Ok(html! {
        (headline.show())
        (jobs_table(now, &jobs, &drawings))
        (vault(now, history.as_ref(), &waiting)?)
        (latest(now, history.as_ref(), asked)?)
    })
}

/// The drawings of the jobs.
pub(super) struct Drawings {
    day: Day,
    gaps: Vec<Stretch>,
    marks: Vec<Vec<Mark>>,
}

impl Drawings {
    pub(super) fn of(
        now: &Now,
        history: Option<&History>,
        since: Option<DateTime<Utc>>,
        jobs: &[SeenJob<'_>],
    ) -> Result<Drawings, StateError> {
        let day = Day::before(now.moment.wall);
        let Some(history) = history else {
            return Ok(Drawings { day, gaps: Vec::new(), marks: Vec::new() });
        };
        let mut gaps = history.gaps(day.from())?;
        let mut marks = Vec::new();
        for job in jobs.iter().take(DRAWN_MAX) {
            marks.push(history.marks(&job.spec.name, day.from(), RUNS, MARKS_MAX)?);
        }
        // Before all that is known there was none.
        let known = marks.iter().flatten().map(|mark| mark.from);
        let first = known.chain(gaps.iter().map(|(from, _)| *from)).chain(since).min();
        if let Some(first) = first.filter(|first| *first > day.from()) {
            gaps.push((day.from(), first));
        }
        Ok(Drawings { day, gaps, marks })
    }

    /// The strip of the last 24 hours, and how long runs take.
    pub(super) fn show(&self, index: usize) -> (Markup, Markup) {
        let Some(marks) = self.marks.get(index) else { return (html! {}, html! {}) };
        (self.day.strip(marks, &self.gaps), lengths(marks))
    }
}

/// The median of how long runs took, what nearly all stayed below, and a line through them.
fn lengths(marks: &[Mark]) -> Markup {
    let mut taken: Vec<f64> = marks.iter().filter_map(|mark| mark.duration_s).take(RUNS).collect();
    taken.reverse();
    let mut sorted = taken.clone();
    crate::order::sort_by(&mut sorted, &f64::total_cmp);
    let (Some(half), Some(most)) = (percentile(&sorted, 50), percentile(&sorted, 95)) else {
        return html! {};
    };
    let label = format!("how long the last {} took", counted(taken.len(), "run"));
    html! {
        @if taken.len() > 1 { (line("spark", &label, &taken, 0.0)) }
        div class="caption" {
            span class="pair" { abbr title="half of the runs took no longer" { "p50" } " " (duration(half)) "," } " "
            span class="pair" { abbr title="19 of 20 runs took no longer" { "p95" } " " (duration(most)) }
        }
    }
}

fn jobs_table(now: &Now, jobs: &[SeenJob<'_>], drawings: &Drawings) -> Markup {
    html! {
        section aria-labelledby="jobs" {
            h2 id="jobs" { "Jobs" }
            table class="jobs" {
                thead {
                    tr {
                        th scope="col" { "Job" }
                        th scope="col" { "Schedule" }
                        th scope="col" { "Last run" }
                        th scope="col" { "Next run" }
                        th scope="col" class="wide" { "Last 24 hours" }
                        th scope="col" { "Duration" }
                    }
                }
                tbody {
                    @for (index, job) in jobs.iter().enumerate() { (job_row(now, job, drawings.show(index))) }
                }
            }
            p class="legend" {
                (outcome(RunState::Succeeded)) " " (outcome(RunState::Failed)) " "
                (outcome(RunState::Interrupted)) " " (skipped(Skip::WORD)) " "
                (outcome(RunState::Running)) " " span class="outcome shade" { "no daemon ran" }
            }
            @if jobs.len() > DRAWN_MAX {
                p class="quiet" {
                    "Drawn are the first " (DRAWN_MAX) " of " (counted(jobs.len(), "job")) ", those that need a look first; "
                    "the page of each job has its own drawing."
                }
            }
        }
    }
}

fn job_row(now: &Now, job: &SeenJob<'_>, (strip, taken): (Markup, Markup)) -> Markup {
    let spec = job.spec;
    html! {
        tr class=[(!spec.is_scheduled() || !job.runnable).then_some("off")] {
            th scope="row" {
                (job_link(&spec.name))
                @if !spec.description.is_empty() { div class="caption" { bdi { (Said(&spec.description, 160)) } } }
            }
            td data-label="Schedule" { span { (schedule(spec)) } }
            td data-label="Last run" {
                @match &job.last {
                    Some(record) => {
                        (link(&run_address(&record.run_id), &outcome(record.state)))
                        div class="caption" { (crate::text::relative(moment_of(record), now.moment.wall)) }
                    }
                    None => span class="quiet" { "never ran" }
                }
            }
            td data-label="Next run" { (next(now, job)) }
            td class="wide" data-label="Last 24 hours" { (strip) }
            td data-label="Duration" { (taken) }
        }
    }
}

/// When a job runs, in words.
pub(super) fn schedule(spec: &JobSpec) -> Markup {
    let words = spec.schedule.in_words();
    html! {
        @if !words.is_empty() { (said(&words)) }
        @if let Some(after) = &spec.after {
            @if !words.is_empty() { ", and " }
            "after " (job_link(&after.job))
        }
    }
}

pub(super) fn next(now: &Now, job: &SeenJob<'_>) -> Markup {
    let spec = job.spec;
    let none = |words: &str| html! { span class="quiet" { (words) } };
    let next = match job.next.first() {
        Some(at) => html! {
            (time(*at, now.moment.wall))
            div class="caption" { (crate::text::relative(*at, now.moment.wall)) }
        },
        None if !job.runnable => none("not runnable: no code here runs it"),
        None if !spec.enabled => none("disabled"),
        None if spec.manual_only => none("by hand only"),
        None if clock::not_set(now.moment.wall).is_some() => none("known once the clock is set"),
        None if spec.after.is_some() || spec.schedule.fires_at_start() => html! {},
        None => none("never"),
    };
    html! {
        (next)
        // A reason that holds all of them back stands above.
        @for why in job.held_back.iter().filter(|why| why.starts_with(spec.name.as_str())) {
            div class="caption" { bdi { (Said(why, 200)) } }
        }
    }
}

/// The figures of the last syncs about the vault.
fn vault(now: &Now, history: Option<&History>, waiting: &[Waiting]) -> Result<Markup, StateError> {
    let sync = now.known.jobs.values().find(|spec| spec.kind() == "vault_sync");
    let (Some(history), Some(sync)) = (history, sync) else { return Ok(html! {}) };
    let done = Filter { job: Some(&sync.name), outcome: Some("succeeded"), ..Filter::default() };
    let syncs = history.found(&done, SYNCS)?;
    let syncs: Vec<&RunRecord> = syncs.iter().filter_map(Row::run).collect();
    let Some(last) = syncs.first() else { return Ok(html! {}) };
    let figure = |name: &str| last.stats.get(name).and_then(Value::as_u64).unwrap_or(0);
    let notes = waiting.iter().filter(|waiting| waiting.kind == "note");
    let notes: std::collections::BTreeSet<&str> =
        notes.map(|waiting| waiting.place.as_str()).collect();
    let over_time: Vec<f64> = syncs.iter().rev().map(|sync| blocks(sync) as f64).collect();
    let least = over_time.iter().copied().fold(f64::INFINITY, f64::min);
    let at = moment_of(last);
    let marks = now.known.marks(now.moment.wall);
    let to_attention = |count: u64| {
        html! {
            @if count == 0 { "0" } @else { a href="/attention" { (number(count)) } }
        }
    };
    Ok(html! {
        section aria-labelledby="vault" {
            h2 id="vault" { "Vault" }
            dl class="figures" {
                div { dt { "Blocks" } dd { (number(blocks(last))) } }
                div {
                    dt { "Marked for reprocessing" }
                    dd {
                        @match marks {
                            Some(marks) => {
                                (number(marks.count))
                                @if let Some(oldest) = marks.oldest {
                                    div class="caption" { "the oldest " (crate::text::relative(oldest, now.moment.wall)) }
                                }
                            }
                            None => span class="quiet" { "unknown" }
                        }
                    }
                }
                div { dt { "Missing" } dd { (to_attention(figure(stat::BLOCKS_MISSING))) } }
                div { dt { "Conflicts" } dd { (to_attention(figure(stat::CONFLICTS))) } }
                div { dt { "Duplicates" } dd { (to_attention(figure(stat::DUPLICATES))) } }
                div { dt { "Notes with errors" } dd { (to_attention(notes.len() as u64)) } }
                div { dt { "Archived by the last sync" } dd { (number(figure(stat::BLOCKS_ARCHIVED))) } }
                div {
                    dt { "Last sync" }
                    dd {
                        (last.duration_s.map(duration).unwrap_or_default())
                        div class="caption" {
                            (bytes(figure(stat::BYTES_READ))) " read of "
                            (counted(figure(stat::FILES_SCANNED) as usize, "note"))
                        }
                    }
                }
            }
            p class="quiet" { "As of " (link(&run_address(&last.run_id), &html! { "the last sync" })) ", " (when(at, now.moment.wall)) "." }
            @if over_time.len() > 1 {
                figure {
                    (line("blocks", &format!("blocks over the last {}", counted(over_time.len(), "sync")), &over_time, least))
                    figcaption {
                        "Blocks over the last " (counted(over_time.len(), "sync")) ": " (number(least as u64)) " to "
                        (number(over_time.iter().copied().fold(0.0, f64::max) as u64))
                    }
                }
            }
        }
    })
}

/// How many blocks the vault held in a sync, those of notes that were not read included.
fn blocks(sync: &RunRecord) -> u64 {
    let outcomes = [
        stat::BLOCKS_NEW,
        stat::BLOCKS_UPDATED,
        stat::BLOCKS_UNCHANGED,
        stat::BLOCKS_MOVED,
        stat::BLOCKS_METADATA,
        stat::BLOCKS_RESTORED,
        stat::CONFLICTS,
    ];
    outcomes.iter().filter_map(|name| sync.stats.get(*name).and_then(Value::as_u64)).sum()
}

/// The latest history, with filters.
fn latest(now: &Now, history: Option<&History>, asked: &Asked) -> Result<Markup, StateError> {
    let wish = Wish::of(asked).unwrap_or_default();
    let records = match history {
        Some(history) => history.found(&wish.filter(), ROWS)?,
        None => Vec::new(),
    };
    let chosen = wish.outcome.as_deref().unwrap_or_default();
    let filters = ["", "failed", "interrupted", "skipped", "succeeded", "running"];
    Ok(html! {
        section aria-labelledby="history" {
            h2 id="history" { "History" }
            p class="filters" {
                @for filter in filters {
                    @let address = if filter.is_empty() { "/#history".to_owned() } else { format!("/?outcome={filter}#history") };
                    a href=(address) aria-current=[(filter == chosen).then_some("true")] {
                        @if filter.is_empty() { "all" } @else { (filter) }
                    } " "
                }
            }
            @if records.is_empty() && wish.is_whole() {
                p class="quiet" { "Nothing is recorded yet." }
            } @else {
                (rows(now, &records, true))
                (older(&records, "/?", &[("outcome", chosen)]))
            }
        }
    })
}

/// Rows of history as a table.
pub(super) fn rows(now: &Now, rows: &[Row], with_jobs: bool) -> Markup {
    html! {
        @if rows.is_empty() {
            p class="quiet" { "Nothing like that is recorded." }
        } @else {
            table class={ "history" @if !with_jobs { " one" } } {
                thead {
                    tr {
                        th scope="col" { "Due" }
                        @if with_jobs { th scope="col" { "Job" } }
                        th scope="col" { "Outcome" }
                        th scope="col" class="number" { "Took" }
                        th scope="col" { "Remarks" }
                    }
                }
                tbody {
                    @for row in rows {
                        @let due = time(row.scheduled_for(), now.moment.wall);
                        tr {
                            td data-label="Due" {
                                @match row.run() {
                                    Some(run) => (link(&run_address(&run.run_id), &due)),
                                    None => (due),
                                }
                            }
                            @if with_jobs { td data-label="Job" { (job_link(row.job())) } }
                            td data-label="Outcome" { (outcome_of(row)) }
                            td data-label="Took" class="number" {
                                (row.run().and_then(|run| run.duration_s).map(duration).unwrap_or_default())
                            }
                            @let remarks = remarks(row);
                            td data-label="Remarks" { @if !remarks.is_empty() { bdi { (Said(&remarks, 300)) } } }
                        }
                    }
                }
            }
        }
    }
}

/// A link to what was before these rows, where they fill a page.
pub(super) fn older(rows: &[Row], address: &str, fields: &[(&str, &str)]) -> Markup {
    // Skipped stretches have no id of their own: the oldest run is the mark.
    let oldest = rows.iter().filter_map(Row::run).next_back();
    let before = match (rows.last(), oldest) {
        (Some(last), None) => crate::text::instant(last.scheduled_for()),
        (_, Some(oldest)) => oldest.run_id.as_str().to_owned(),
        (None, None) => return html! {},
    };
    let mut address = format!("{address}before={}", encoded(&before));
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        address.push_str(&format!("&{name}={}", encoded(value)));
    }
    address.push_str("#history");
    html! {
        @if rows.len() >= ROWS { p { (link(&address, &html! { "Older" })) } }
    }
}
