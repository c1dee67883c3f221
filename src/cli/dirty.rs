//! `dirty`: the blocks that are marked for reprocessing. Only looks.

use std::sync::Arc;

use super::arguments::Dirty;
use super::exit::{Exit, Failure};
use super::out::{Out, written};
use super::setup::Setup;
use crate::block::Tier;
use crate::clock::{Clock, SystemClock, by_a_set_clock};
use crate::config::Config;
use crate::graph::{self, GraphError, GraphStore, Mark, Place, Which};
use crate::signals;
use crate::stop::Stop;
use crate::text::relative;

/// Blocks whose texts are in memory at once.
const PAGE: usize = 100;

pub(super) fn dirty(setup: &Setup<'_>, arguments: &Dirty) -> Result<Exit, Failure> {
    let config = setup.config()?;
    let which = Which {
        tiers: arguments.tier.iter().filter_map(|tier| Tier::of_number(*tier)).collect(),
        prefixes: arguments.prefix.clone(),
        ..Which::default()
    };
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let stop = stop_by_signal()?;
    let store = look(&config, &stop)?;
    let mut out = Out::stdout();
    let (mut count, mut result) = (0, Ok(()));
    if arguments.format.json {
        // While one connection lists, a second one reads the texts: memory does not grow with what is marked.
        let (texts, mut page) = (look(&config, &stop)?, Vec::new());
        let mut fault = None;
        let mut show = |out: &mut Out, page: &mut Vec<Place>| match texts.whole(page) {
            Ok(blocks) => {
                page.clear();
                blocks.iter().filter(|block| block.marked).try_for_each(|block| out.json(block))
            }
            Err(error) => {
                stop.tell();
                fault = Some(error);
                Ok(())
            }
        };
        let visited = store.marks(&which, limit, &mut |mark| {
            page.push(Place { id: mark.id, row: mark.row });
            if page.len() == PAGE && result.is_ok() {
                result = show(&mut out, &mut page);
                if result.is_err() {
                    stop.tell();
                }
            }
        });
        if result.is_ok() {
            result = show(&mut out, &mut page);
        }
        match fault {
            Some(error) => return Err(of_graph(error)),
            None if result.is_ok() => visited.map_err(of_graph)?,
            None => {}
        }
    } else {
        let now = SystemClock.now();
        let visited = store.marks(&which, limit, &mut |mark| {
            count += 1;
            if result.is_ok() {
                result = write_line(&mut out, &mark, now);
                if result.is_err() {
                    stop.tell();
                }
            }
        });
        if result.is_ok() {
            visited.map_err(of_graph)?;
            if count == 0 {
                result = writeln!(out, "no block is marked for reprocessing");
            }
        }
    }
    written(result.and_then(|()| out.flush()), Exit::Done)
}

fn write_line(
    out: &mut Out,
    mark: &Mark,
    now: chrono::DateTime<chrono::Utc>,
) -> std::io::Result<()> {
    let since = match (mark.marked_at, mark.marked_at.and_then(by_a_set_clock)) {
        (_, Some(at)) => relative(at, now),
        (Some(_), None) => "before the clock was set".to_owned(),
        (None, None) => "unknown time".to_owned(),
    };
    let file = mark.source_file.as_deref().unwrap_or("no file");
    writeln!(out, "{} version {}, since {since}: {file}", mark.id, mark.version)
}

/// A stop that Ctrl-C tells.
pub(super) fn stop_by_signal() -> Result<Stop, Failure> {
    let stop = Stop::new();
    let told = stop.clone();
    signals::listen(move |_| told.tell())
        .map_err(|error| Failure::unavailable(format!("cannot listen for signals: {error}")))?;
    Ok(stop)
}

/// Opens the graph to look.
pub(super) fn look(config: &Config, stop: &Stop) -> Result<Box<dyn GraphStore>, Failure> {
    graph::open_dry(&config.graph, config.retries, stop.clone(), Arc::new(SystemClock))
        .map_err(of_graph)
}

pub(super) fn of_graph(error: GraphError) -> Failure {
    match error {
        GraphError::Cancelled => Failure::new(Exit::Interrupted, "told to stop"),
        error => Failure::unavailable(error.to_string()),
    }
}
