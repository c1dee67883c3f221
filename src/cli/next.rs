//! `next`: when a job, or any cron line, fires.

use super::arguments::Next;
use super::exit::{Exit, Failure};
use super::out::{Out, say, written};
use super::setup::{Setup, find_job};
use crate::clock::{self, Clock, SystemClock};
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
    let from = arguments.from.unwrap_or_else(|| {
        let now = SystemClock.now();
        if let Some(why) = clock::not_set(now) {
            say(&format!("warning: {why}: name the instant to count from with --from"));
        }
        now
    });
    let times = schedule.fire_times(from).take(arguments.number);
    let mut out = Out::stdout();
    let result = if arguments.format.json {
        out.json(&times.map(instant).collect::<Vec<_>>())
    } else {
        { times }.try_for_each(|at| writeln!(out, "{}", instant(at)))
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}
