//! `next`: when a job, or any cron line, fires.

use chrono::{DateTime, Utc};

use super::arguments::Next;
use super::exit::{Exit, Failure};
use super::out::{Out, written};
use super::setup::{Setup, find_job};
use crate::clock::{Clock, SystemClock};
use crate::schedule::{Schedule, Zone};
use crate::text::instant;

pub(super) fn next(setup: &Setup<'_>, arguments: &Next) -> Result<Exit, Failure> {
    let schedule = match (&arguments.cron, &arguments.job) {
        (Some(line), _) => {
            let name = arguments.timezone.as_deref().unwrap_or("UTC");
            let zone = Zone::parse(name)
                .map_err(|error| Failure::usage(format!("--timezone: {error}")))?;
            Schedule::parse(line, zone)
                .map_err(|error| Failure::usage(format!("--cron: {line:?}: {error}")))?
        }
        (None, name) => {
            let name = name.as_deref().expect("clap asks for a job or --cron");
            find_job(&setup.config()?, name)?.schedule.clone()
        }
    };
    let from = arguments.from.unwrap_or_else(|| SystemClock.now());
    let times = fire_times(&schedule, from).take(arguments.number);
    let mut out = Out::stdout();
    let result = if arguments.format.json {
        out.json(&times.map(instant).collect::<Vec<_>>())
    } else {
        { times }.try_for_each(|at| writeln!(out, "{}", instant(at)))
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}

/// The instants at which a schedule fires after `from`.
pub(super) fn fire_times(
    schedule: &Schedule,
    from: DateTime<Utc>,
) -> impl Iterator<Item = DateTime<Utc>> {
    std::iter::successors(schedule.next_after(from), |at| schedule.next_after(*at))
}
