//! How many blocks of the graph wait to be reprocessed, for those who look at a daemon.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::config::{GraphConfig, RetryPolicy};
use crate::graph::{self, GraphError, Marks};
use crate::stop::Stop;

/// How long the graph may take to be counted: a probe must not hang with a server.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many blocks are marked, or why that cannot be told. It says nothing of the daemon's health.
pub(crate) fn count(graph: &GraphConfig) -> Result<Marks, String> {
    let end = SystemClock.monotonic() + PATIENCE;
    let stop = Stop::new().with_deadline(end, Arc::new(SystemClock));
    let once = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
    let marks = graph::count_marks(graph, once, stop, Arc::new(SystemClock));
    marks.map_err(|error| match error {
        GraphError::Cancelled => {
            format!("the graph gave no answer within {} s", PATIENCE.as_secs())
        }
        error => error.to_string(),
    })
}
