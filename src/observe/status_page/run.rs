//! The page of one run: its figures, what went wrong, what is kept of its output.

use maud::{Markup, html};
use serde_json::Value;

use super::super::known::Now;
use super::words::{Said, counted, job_link, number, outcome, said, time_of_day};
use crate::history::{History, Output, run_remarks, to_json};
use crate::job::{RunId, RunRecord, stat};
use crate::state::StateError;
use crate::text::{duration, visible_bytes};

pub(super) fn page(now: &Now, id: &str) -> Result<Option<Markup>, StateError> {
    let Some(history) = History::open(&now.known.state_dir)? else { return Ok(None) };
    let Some(record) = history.run(&RunId::from_stored(id.to_owned()))? else { return Ok(None) };
    let output = history.output(record.run_id.as_str())?;
    Ok(Some(html! {
        header {
            h1 { (said(record.run_id.as_str())) }
            p {
                "A run of " (job_link(&record.job)) ": " (outcome(record.state))
                @if let Some(seconds) = record.duration_s { ", took " (duration(seconds)) }
                "."
            }
            @if let Some(error) = &record.error { p { strong { bdi { (Said(error, 4_000)) } } } }
            @let faults = faults(&record);
            @if let Some(faults) = faults { p { (faults) } }
        }
        (times(&record))
        (figures(&record))
        section aria-labelledby="output" {
            h2 id="output" { "Output" }
            @match output {
                Output::Kept(said) => {
                    p class="quiet" { "The end of what it said, at most 64 KiB unless " code { "keep_output_bytes" } " says otherwise." }
                    pre tabindex="0" { (lines(&said)) }
                }
                Output::NotKept | Output::NoSuchRun => {
                    p class="quiet" { "None is kept. " code { "keep_output: always" } " keeps that of commands which succeed." }
                }
            }
        }
    }))
}

/// How many errors and warnings the run counted: each is a line of the log.
fn faults(record: &RunRecord) -> Option<Markup> {
    let count = |name| record.stats.get(name).and_then(Value::as_u64).unwrap_or(0) as usize;
    let (errors, warnings) = (count(stat::ERRORS), count(stat::WARNINGS));
    (errors + warnings > 0).then(|| {
        html! {
            "It counted " (counted(errors, "error")) " and " (counted(warnings, "warning")) ", each a line of the log"
            @if record.needs_attention() { "; what waits for a person is in " a href="/attention" { "attention" } }
            "."
        }
    })
}

fn times(record: &RunRecord) -> Markup {
    let remarks = run_remarks(record);
    html! {
        section aria-labelledby="times" {
            h2 id="times" { "When" }
            dl class="settings" {
                div { dt { "Due" } dd { (time_of_day(record.scheduled_for)) } }
                div { dt { "Started by" } dd { (record.trigger.as_str()) } }
                @if let Some(at) = record.started_at { div { dt { "Began" } dd { (time_of_day(at)) } } }
                @if let Some(at) = record.finished_at { div { dt { "Ended" } dd { (time_of_day(at)) } } }
                div { dt { "Late" } dd { (duration(record.lateness_s)) } }
                @if let Some(wait) = record.queue_wait_s { div { dt { "Waited for a worker" } dd { (duration(wait)) } } }
                div { dt { "Attempts" } dd { (record.attempt) } }
                // The error stands above.
                @if !remarks.is_empty() && record.error.as_deref() != Some(&remarks) { div { dt { "Remarks" } dd { bdi { (Said(&remarks, 600)) } } } }
            }
        }
    }
}

/// The statistics of the run, as far as they are plain values.
fn figures(record: &RunRecord) -> Markup {
    let stats = to_json(record).remove("stats");
    let stats = stats.as_ref().and_then(Value::as_object).filter(|stats| !stats.is_empty());
    html! {
        @if let Some(stats) = stats {
            section aria-labelledby="figures" {
                h2 id="figures" { "Figures" }
                dl class="settings" {
                    @for (name, value) in stats {
                        div {
                            dt { bdi { (Said(name, 100)) } }
                            dd {
                                @match value {
                                    Value::Number(figure) if figure.is_u64() => (number(figure.as_u64().unwrap_or(0))),
                                    Value::String(text) => bdi { (Said(text, 1_000)) },
                                    value => bdi { (Said(&value.to_string(), 1_000)) },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Output line by line: what would act is shown.
fn lines(said: &[u8]) -> Markup {
    let said = said.strip_suffix(b"\n").unwrap_or(said);
    html! { @for line in said.split(|byte| *byte == b'\n') { (visible_bytes(line)) "\n" } }
}
