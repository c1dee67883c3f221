//! `history`: past runs, and occurrences that made none, from the state file.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::arguments;
use super::exit::{Exit, Failure};
use super::out::{Cell, Out, Tone, written};
use super::setup::{Setup, find_job};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, JobName, JobSpec};
use crate::history::{Filter, History, Output, Row, remarks, row_to_json};
use crate::job::{RunRecord, RunState, Skip};
use crate::text::{duration, instant, visible_bytes};

pub(super) fn history(setup: &Setup<'_>, arguments: &arguments::History) -> Result<Exit, Failure> {
    let config = setup.config()?;
    if let Some(run) = &arguments.output {
        return output(&config, run);
    }
    if let Some(at) = arguments.at {
        return moment(&config, arguments, at.first(SystemClock.now()));
    }
    let job = arguments.job.as_deref().map(JobName::new);
    let now = SystemClock.now();
    let filter = Filter {
        job: job.as_ref(),
        since: arguments.since.map(|since| since.first(now)),
        until: arguments.until.map(|until| until.last(now)),
        outcome: arguments.outcome.as_deref(),
        before: None,
    };
    if let (Some(since), Some(until)) = (filter.since, filter.until)
        && since > until
    {
        return Err(Failure::usage(format!(
            "--since {} is later than --until {}, so that nothing lies between them: exchange the two",
            instant(since),
            instant(until)
        )));
    }
    let is_narrow = filter.since.is_some() || filter.until.is_some() || filter.outcome.is_some();
    let records = match History::open(&config.state_dir)? {
        Some(history) => history.found(&filter, arguments.number)?,
        None => Vec::new(),
    };
    if let (Some(name), true) = (&arguments.job, records.is_empty()) {
        // A job that is gone from the configuration may have a history; one that never was is a slip.
        find_job(&config, name)?;
    }
    let mut out = Out::stdout();
    let result = if arguments.format.json {
        out.json(&records.iter().map(row_to_json).collect::<Vec<_>>())
    } else if records.is_empty() && is_narrow {
        writeln!(out, "nothing recorded in {} is like that", config.state_dir.display())
    } else if records.is_empty() {
        writeln!(out, "no runs recorded in {}", config.state_dir.display())
    } else {
        let mut rows =
            vec![["SCHEDULED FOR", "JOB", "OUTCOME", "TOOK", "REMARKS"].map(head).into()];
        rows.extend(records.iter().map(cells));
        out.table(&rows)
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}

/// The fate of one moment, for each job.
fn moment(
    config: &Config,
    arguments: &arguments::History,
    at: DateTime<Utc>,
) -> Result<Exit, Failure> {
    let history = History::open(&config.state_dir)?;
    let mut names: BTreeSet<JobName> = config.scheduler.jobs.keys().cloned().collect();
    if let Some(history) = &history {
        names.extend(history.jobs()?);
    }
    if let Some(wanted) = &arguments.job {
        let wanted = JobName::new(wanted);
        if !names.contains(&wanted) {
            find_job(config, wanted.as_str())?;
        }
        names.retain(|name| *name == wanted);
    }
    let is_past = at <= SystemClock.now();
    let mut found = Vec::new();
    for name in names {
        let spec = config.scheduler.jobs.get(&name).map(Arc::as_ref);
        let records = match &history {
            Some(history) => history.around(&name, at)?,
            None => Vec::new(),
        };
        found.push(became(name, spec, records, (at, is_past)));
    }
    let mut out = Out::stdout();
    let result = if arguments.format.json {
        let shown = |became: &Became| {
            json!({
                "job_name": became.job.as_str(),
                "at": instant(at),
                "outcome": became.outcome(),
                "why": became.why,
                "run": became.row.as_ref().map(row_to_json),
            })
        };
        out.json(&found.iter().map(shown).collect::<Vec<_>>())
    } else {
        let mut rows = vec![["JOB", "OUTCOME", "DUE", "TOOK", "REMARKS"].map(head).into()];
        rows.extend(found.iter().map(Became::cells));
        out.table(&rows)
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}

/// The fate of a moment for one job.
struct Became {
    job: JobName,
    row: Option<Row>,
    /// Where there is no row: why.
    why: Option<String>,
}

fn became(
    job: JobName,
    spec: Option<&JobSpec>,
    rows: Vec<Row>,
    (at, is_past): (DateTime<Utc>, bool),
) -> Became {
    let second = TimeDelta::seconds(1);
    let due = spec.and_then(|spec| spec.schedule.next_after(at - second));
    let is_due = due.is_some_and(|due| due < at + TimeDelta::minutes(1));
    // A stretch reaches over moments at which nothing was due.
    let is_stretch = |row: &Row| matches!(row, Row::Skip(skip) if skip.count > 1);
    let tells = |row: &Row| !is_stretch(row) || is_due || spec.is_none();
    if let Some(row) = rows.into_iter().find(tells) {
        return Became { job, row: Some(row), why: None };
    }
    let why = match (spec, due) {
        (None, _) => "not in the configuration, and nothing is recorded".to_owned(),
        (Some(spec), _) if !spec.enabled => "disabled: not scheduled".to_owned(),
        (Some(spec), _) if spec.manual_only => "manual only: not scheduled".to_owned(),
        (Some(_), Some(due)) if is_due && !is_past => {
            format!("still to come: by its present line due at {}", instant(due))
        }
        (Some(_), _) if is_due => {
            "due by its present line, and nothing is recorded: no daemon scheduled it then, or the \
             history is pruned"
                .to_owned()
        }
        (Some(_), Some(due)) => format!("not due: by its present line next at {}", instant(due)),
        (Some(_), None) => "not due: no line of its own fires after that".to_owned(),
    };
    Became { job, row: None, why: Some(why) }
}

impl Became {
    fn outcome(&self) -> &str {
        match (&self.row, &self.why) {
            (Some(row), _) => row.outcome(),
            (None, Some(why)) => why.split(':').next().unwrap_or(why),
            (None, None) => "nothing",
        }
    }

    fn cells(&self) -> Vec<Cell> {
        match &self.row {
            Some(row) => vec![
                self.job.as_str().into(),
                outcome(row),
                instant(row.scheduled_for()).into(),
                took(row),
                remarks(row).into(),
            ],
            None => vec![
                self.job.as_str().into(),
                Cell::new("no run", Tone::Quiet),
                "".into(),
                "".into(),
                self.why.clone().unwrap_or_default().into(),
            ],
        }
    }
}

/// The kept output of a run, its lines as they came.
fn output(config: &Config, run: &str) -> Result<Exit, Failure> {
    let kept = match History::open(&config.state_dir)? {
        Some(history) => history.output(run)?,
        None => Output::NoSuchRun,
    };
    let said = match kept {
        Output::Kept(said) => said,
        Output::NotKept => {
            return Err(Failure::unavailable(format!(
                "no output of {run} is kept: set keep_output: always to keep that of runs which succeed"
            )));
        }
        Output::NoSuchRun => {
            return Err(Failure::usage(format!(
                "no run has the id {run:?}: history --json shows them as job_id"
            )));
        }
    };
    let mut out = Out::stdout();
    let mut lines = said.strip_suffix(b"\n").unwrap_or(&said).split(|byte| *byte == b'\n');
    let result = lines.try_for_each(|line| writeln!(out, "{}", visible_bytes(line)));
    written(result.and_then(|()| out.flush()), Exit::Done)
}

/// A heading of a table.
pub(super) fn head(text: &str) -> Cell {
    Cell::new(text, Tone::Quiet)
}

/// The looks of a state.
pub(super) fn state(record: &RunRecord) -> Cell {
    let tone = match record.state {
        RunState::Succeeded => Tone::Good,
        RunState::Failed => Tone::Bad,
        RunState::Interrupted => Tone::Doubtful,
        RunState::Queued | RunState::Running => Tone::Plain,
    };
    Cell::new(record.state.as_str(), tone)
}

fn outcome(row: &Row) -> Cell {
    match row {
        Row::Run(run) => state(run),
        Row::Skip(skip) => {
            Cell::new(format!("{} ({})", Skip::WORD, skip.reason.as_str()), Tone::Doubtful)
        }
    }
}

fn took(row: &Row) -> Cell {
    row.run().and_then(|run| run.duration_s).map(duration).unwrap_or_default().into()
}

fn cells(row: &Row) -> Vec<Cell> {
    vec![
        instant(row.scheduled_for()).into(),
        row.job().as_str().into(),
        outcome(row),
        took(row),
        remarks(row).into(),
    ]
}
