//! `run JOB`: one run now, in this process, and its result on standard output.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::arguments::Run;
use super::exit::{Exit, Failure};
use super::out::{Cell, Out, say, written};
use super::progress::Bar;
use super::setup::{Setup, find_job, say_left_out};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, JobSpec};
use crate::job::{
    JobError, JobErrorKind, NoProgress, Progress, RunOptions, RunReport, Trigger, stat,
};
use crate::logging;
use crate::logging::LogFormat;
use crate::observe::{log_run, write_metrics_of};
use crate::scheduler::manual::{ManualError, ManualOutcome, ManualRun, run_now};
use crate::scheduler::{ConfiguredJob, log_faults};
use crate::signals::{self, Asked};
use crate::stop::Stop;
use crate::text::duration;

/// How long a run by hand waits to know who holds the lease.
const LEASE_LOOK: Duration = Duration::from_secs(3);

/// How many lines of faults a person is shown on the terminal; a log has all of them.
const FAULTS_SHOWN: usize = 20;

pub(super) fn run(setup: &Setup<'_>, arguments: &Run) -> Result<Exit, Failure> {
    // The log tells which file was left out, once there is a log.
    let app = setup.origin()?.load()?;
    let config = &app.config;
    let spec = find_job(config, &arguments.job).inspect_err(|_| say_left_out(config))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let job = app.job(&spec.name).ok_or_else(|| {
        Failure::usage(format!("{}: {}", spec.name, app.not_runnable[&spec.name]))
    })?;
    let log = setup.log(config);
    for warning in &config.warnings {
        logging::warn!("{warning}");
    }
    say_what_is_overridden(setup, config, spec)?;

    say_who_holds_the_lease(setup, config)?;
    let stop = Stop::new();
    let token = stop.clone();
    signals::listen(move |asked| match asked {
        Asked::Stop | Asked::Reload => token.tell(),
        Asked::StopNow => std::process::exit(Exit::Interrupted as i32),
    })
    .map_err(|error| Failure::unavailable(format!("cannot listen for signals: {error}")))?;

    let bar = Bar::on_terminal();
    let shared = bar.as_ref().map(|bar| log.logging.share_with_bar(bar.suspender()));
    let progress: &dyn Progress = bar.as_ref().map_or(&NoProgress, |bar| bar);
    let outcome = run_now(ManualRun {
        clock: &clock,
        state_dir: &config.state_dir,
        job,
        followers: followers(config, spec),
        options: RunOptions {
            full: arguments.full,
            dry_run: arguments.dry_run,
            explain: arguments.explain,
            allow_archive: arguments.allow_archive,
            accept_vault: arguments.accept_vault,
            diff: arguments.diff,
        },
        progress,
        stop,
    });
    drop(shared);
    drop(bar);
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return refused(job, &error, arguments.format.json),
    };
    // A person who watches reads it all in the result; for everybody else it belongs in the log.
    if log.format == LogFormat::Text && io::stderr().is_terminal() {
        say_faults(&outcome);
    } else {
        log_faults(&outcome.record.run_id, &spec.name, &outcome.result, usize::MAX);
        log_run(&outcome.record);
    }
    if let Some(path) = setup.metrics_file()?.filter(|_| !arguments.dry_run) {
        write_metrics_of(&outcome.record, &path, clock.clone());
    }
    let result = if arguments.format.json { show_json(&outcome) } else { show_text(&outcome) };
    let exit = written(result, Exit::Done);
    // Last: a person at a terminal has read the result by now.
    if !arguments.dry_run {
        setup.origin()?.hooks(config).tell_of_run(&outcome.record, &clock, &Stop::new());
    }
    judge(&outcome).map_or(exit, Err)
}

/// The jobs that a daemon starts after this one.
fn followers(config: &Config, spec: &JobSpec) -> Vec<Arc<JobSpec>> {
    let follows =
        |other: &&Arc<JobSpec>| other.after.as_ref().is_some_and(|after| after.job == spec.name);
    config.scheduler.jobs.values().filter(follows).cloned().collect()
}

/// A run by hand goes ahead whatever holds the schedule back; the person is told what that was.
fn say_what_is_overridden(
    setup: &Setup<'_>,
    config: &Config,
    spec: &JobSpec,
) -> Result<(), Failure> {
    let mut overridden = Vec::new();
    if !spec.enabled {
        overridden.push("enabled is false".to_owned());
    }
    if spec.manual_only {
        overridden.push("manual_only is true".to_owned());
    }
    overridden.extend(setup.paused(config)?.map(|why| format!("paused by {why}")));
    if !overridden.is_empty() {
        let (job_name, overridden) = (spec.name.as_str(), overridden.join(", "));
        logging::warn!(job_name, overridden = overridden.as_str();
            "run by hand, although its schedule would not start it"
        );
    }
    Ok(())
}

/// The run did not begin.
/// A run by hand needs no lease; a person should know that another host may run the same job.
fn say_who_holds_the_lease(setup: &Setup<'_>, config: &Config) -> Result<(), Failure> {
    match setup.origin()?.lease_holder(config, LEASE_LOOK) {
        Some(Ok(Some(holder))) if !holder.is_this_host => {
            let host = holder.host.as_str();
            logging::warn!(holder = host; "another host holds the lease: max_instances counts the runs of this host alone");
        }
        Some(Err(error)) => {
            logging::warn!(error = error.as_str(); "cannot see who holds the lease: the run goes on");
        }
        _ => {}
    }
    Ok(())
}

fn refused(job: &ConfiguredJob, error: &ManualError, json: bool) -> Result<Exit, Failure> {
    if json {
        let mut shown = Map::new();
        shown.insert("job_name".to_owned(), job.spec.name.as_str().into());
        shown.insert("job_id".to_owned(), Value::Null);
        shown.insert("trigger".to_owned(), Trigger::Manual.as_str().into());
        shown.insert("success".to_owned(), false.into());
        shown.insert("error".to_owned(), error.to_string().into());
        let mut out = Out::stdout();
        written(out.json(&shown).and_then(|()| out.flush()), Exit::Unavailable)?;
    }
    Err(Failure::unavailable(error.to_string()))
}

/// The statistics, also those gathered before a failure.
fn report(outcome: &ManualOutcome) -> Option<&RunReport> {
    match &outcome.result {
        Ok(report) => Some(report),
        Err(error) => error.report.as_deref(),
    }
}

/// Faults that did not end the run, as far as a terminal has room for them.
fn say_faults(outcome: &ManualOutcome) {
    let faults = report(outcome).map_or(&[][..], |report| &report.faults);
    for fault in faults.iter().take(FAULTS_SHOWN) {
        say(&fault.to_string());
    }
    if let Some(more @ 1..) = faults.len().checked_sub(FAULTS_SHOWN) {
        say(&format!("and {more} more: 2>FILE keeps all of them in a file"));
    }
}

fn show_json(outcome: &ManualOutcome) -> io::Result<()> {
    let record = &outcome.record;
    let mut shown = Map::new();
    let mut set = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    set("job_name", record.job.as_str().into());
    set("job_id", record.run_id.as_str().into());
    set("trigger", record.trigger.as_str().into());
    set("success", outcome.result.is_ok().into());
    if let Some(duration) = record.duration_s {
        set("duration", duration.into());
    }
    if let Err(error) = &outcome.result {
        set("error", error.message.as_str().into());
    }
    if let Some(report) = report(outcome) {
        for (name, seconds) in &report.phases {
            shown.insert(format!("{name}_seconds"), seconds.clone());
        }
        for (name, value) in &report.stats {
            // Facts that only the scheduler knows are no part of a run's own report.
            let taken = shown.contains_key(name) || ["error", "explained"].contains(&&name[..]);
            let name = if taken { format!("stats.{name}") } else { name.clone() };
            shown.insert(name, value.clone());
        }
        if !report.explained.is_empty() {
            shown.insert("explained".to_owned(), report.explained.clone().into());
        }
    }
    let mut out = Out::stdout();
    out.json(&shown)?;
    out.flush()
}

fn show_text(outcome: &ManualOutcome) -> io::Result<()> {
    let record = &outcome.record;
    let mut out = Out::stdout();
    if let Some(report) = report(outcome) {
        for line in &report.explained {
            writeln!(out, "{}", line)?;
        }
    }
    let took = duration(record.duration_s.unwrap_or_default());
    writeln!(out, "{}: {} after {took}", record.job, record.state.as_str())?;
    let stats = report(outcome).into_iter().flat_map(|report| &report.stats);
    let rows: Vec<Vec<Cell>> = stats
        // A row of zeros hides the figure that matters.
        .filter(|(_, value)| !matches!(value.as_u64(), Some(0)) && **value != Value::Bool(false))
        .map(|(name, value)| vec![format!("  {name}").into(), shown(value).into()])
        .collect();
    out.table(&rows)?;
    out.flush()
}

/// A statistic for a person.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn judge(outcome: &ManualOutcome) -> Option<Failure> {
    let job = &outcome.record.job;
    match &outcome.result {
        Ok(report) if report.needs_attention() => {
            let count = |name| report.stats.get(name).and_then(Value::as_u64).unwrap_or(0);
            let why = match count(stat::ERRORS) {
                0 => "it needs attention: see its result".to_owned(),
                1 => "1 error".to_owned(),
                errors => format!("{errors} errors"),
            };
            Some(Failure::new(Exit::Attention, format!("{job}: done, but {why}")))
        }
        Ok(_) => None,
        Err(JobError { kind, message, .. }) => {
            let exit = match kind {
                JobErrorKind::Cancelled => Exit::Interrupted,
                JobErrorKind::Unreachable | JobErrorKind::Unavailable => Exit::Unavailable,
                JobErrorKind::TimedOut | JobErrorKind::Transient | JobErrorKind::Permanent => {
                    Exit::JobFailed
                }
            };
            Some(Failure::new(exit, format!("{job}: {message}")))
        }
    }
}
