//! `purge`: really deletes blocks that were archived long ago. The only thing here that deletes from the graph.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};

use super::arguments;
use super::exit::{Exit, Failure};
use super::out::{Out, written};
use super::setup::Setup;
use crate::clock::{self, Clock, SystemClock};
use crate::graph::{self, GraphError, Purge, Purged};
use crate::signals;
use crate::stop::Stop;

pub(super) fn purge(setup: &Setup<'_>, arguments: &arguments::Purge) -> Result<Exit, Failure> {
    let config = setup.config()?;
    let clock = Arc::new(SystemClock);
    let now = clock.now();
    if let Some(not_set) = clock::not_set(now) {
        return Err(Failure::unavailable(format!("{not_set}: nothing is deleted until it is set")));
    }
    let age = TimeDelta::from_std(arguments.older_than).ok();
    let archived_before = age
        .and_then(|age| now.checked_sub_signed(age))
        .ok_or_else(|| Failure::usage("--older-than: that is before all time: write less"))?;

    let stop = Stop::new();
    let told = stop.clone();
    signals::listen(move |_| told.tell())
        .map_err(|error| Failure::unavailable(format!("cannot listen for signals: {error}")))?;

    let open = if arguments.dry_run { graph::open_dry } else { graph::open };
    let (purged, odd) = open(&config.graph, config.retries, stop, clock)
        .and_then(|store| {
            let (detach, dry_run) = (arguments.detach, arguments.dry_run);
            let archived_from = clock::first_of_all();
            let purged = store.purge(&Purge { archived_from, archived_before, detach, dry_run })?;
            // A time that no right clock can have shown says nothing about how long ago it was.
            let odd = |archived_from, archived_before| {
                let what = Purge { archived_from, archived_before, detach, dry_run: true };
                store.purge(&what).map(|odd| odd.deleted.len() + odd.kept_related.len())
            };
            let early = odd(DateTime::UNIX_EPOCH, archived_from)?;
            Ok((purged, early + odd(now, DateTime::UNIX_EPOCH + TimeDelta::days(2_900_000))?))
        })
        .map_err(|error| match error {
            GraphError::Cancelled => Failure::new(Exit::Interrupted, "told to stop"),
            error => Failure::unavailable(error.to_string()),
        })?;
    let mut out = Out::stdout();
    written(show(&mut out, &purged, odd, arguments).and_then(|()| out.flush()), Exit::Done)
}

fn show(
    out: &mut Out,
    purged: &Purged,
    odd: usize,
    arguments: &arguments::Purge,
) -> std::io::Result<()> {
    let Purged { deleted, kept_related } = purged;
    if arguments.dry_run {
        for id in deleted {
            writeln!(out, "{id}")?;
        }
    }
    let verb = if arguments.dry_run { "would delete" } else { "deleted" };
    writeln!(out, "{verb} {}", blocks(deleted.len()))?;
    if !kept_related.is_empty() {
        let kept = blocks(kept_related.len());
        writeln!(out, "kept {kept} that other nodes point at: --detach deletes these too")?;
    }
    if odd > 0 {
        let left = blocks(odd);
        let first = clock::first_of_all().format("%Y");
        writeln!(
            out,
            "left {left} whose time is before there was such a program ({first}) or has not come yet: a clock was wrong then"
        )?;
    }
    Ok(())
}

fn blocks(count: usize) -> String {
    match count {
        1 => "1 archived block".to_owned(),
        _ => format!("{count} archived blocks"),
    }
}
