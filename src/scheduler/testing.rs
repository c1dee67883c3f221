//! Helpers that the tests of this room share.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::ConfiguredJob;
use crate::config::{JobName, JobSpec, Params, RunPolicy};
use crate::job::{Job, JobError, RunContext, RunRecord, RunReport};
use crate::schedule::{Schedule, Zone};

pub(crate) fn noon() -> DateTime<Utc> {
    "2026-08-24T12:00:00Z".parse().unwrap()
}

pub(crate) fn spec(name: &str, cron: &str, zone: Zone) -> JobSpec {
    JobSpec {
        name: JobName::new(name),
        explicit_kind: None,
        enabled: true,
        manual_only: false,
        schedule: Schedule::parse(cron, zone.clone()).unwrap(),
        after: None,
        timezone: zone,
        description: String::new(),
        policy: RunPolicy::default(),
        command: None,
        feed: None,
        params: Params::default(),
    }
}

/// The row of a queued run.
pub(crate) fn record(job: &str, instant: DateTime<Utc>) -> RunRecord {
    RunRecord::queued(&JobName::new(job), instant)
}

/// A job made of a function.
pub(crate) struct Does<F>(F);

impl<F> Job for Does<F>
where
    F: Fn(&RunContext<'_>) -> Result<RunReport, JobError> + Send + Sync,
{
    fn run(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
        (self.0)(ctx)
    }
}

/// A job that is due each minute, changed by `change`.
pub(crate) fn job<F>(name: &str, change: impl FnOnce(&mut JobSpec), run: F) -> ConfiguredJob
where
    F: Fn(&RunContext<'_>) -> Result<RunReport, JobError> + Send + Sync + 'static,
{
    let mut spec = spec(name, "* * * * *", Zone::UTC);
    change(&mut spec);
    ConfiguredJob { spec: Arc::new(spec), job: Arc::new(Does(run)) }
}
