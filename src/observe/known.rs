//! The knowledge of a daemon from inside: the configuration in force, and a moment of it that a page is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::marks;
use super::seen::{Jobs, SeenDaemon, SeenJob};
use crate::clock::Moment;
use crate::config::{Config, Env, GraphConfig, JobName, JobSpec};
use crate::gate::{Look, PauseSwitch};
use crate::graph::Marks;
use crate::state::StateError;

/// The configuration in force, as far as the pages need it.
pub(crate) struct Known {
    pub(super) jobs: BTreeMap<JobName, Arc<JobSpec>>,
    not_runnable: BTreeMap<JobName, String>,
    pub(super) state_dir: PathBuf,
    pub(super) hosts: Vec<String>,
    switch: PauseSwitch,
    /// The look at the pause file: a vault that does not answer holds nobody up. Made with the first request that asks.
    pause: Mutex<Option<Look<Option<String>>>>,
    graph: GraphConfig,
    /// The look at the graph, in the same way.
    marks: Mutex<Option<Look<Option<Marks>>>>,
}

impl Known {
    pub(crate) fn of(
        config: &Config,
        not_runnable: &BTreeMap<JobName, String>,
        env: &Env,
    ) -> Known {
        Known {
            jobs: config.scheduler.jobs.clone(),
            not_runnable: not_runnable.clone(),
            state_dir: config.state_dir.clone(),
            hosts: config.scheduler.listen_hosts.clone(),
            switch: PauseSwitch::of(config, env.clone()),
            pause: Mutex::new(None),
            graph: config.graph.clone(),
            marks: Mutex::new(None),
        }
    }

    /// How many blocks are marked; `None` where the graph did not say so yet.
    pub(super) fn marks(&self, now: DateTime<Utc>) -> Option<Marks> {
        let mut look = lock(&self.marks);
        if look.is_none() {
            let graph = self.graph.clone();
            *look = Look::on_thread("http-marks", None, move || marks::count(&graph).ok()).ok();
        }
        look.as_mut().and_then(|look| look.take(now).answer)
    }

    /// The source that asks for a pause now; `known` where nobody can say.
    pub(super) fn paused(&self, known: Option<String>, now: DateTime<Utc>) -> Option<String> {
        let mut look = lock(&self.pause);
        if look.is_none() {
            let switch = self.switch.clone();
            let look_at = move || switch.look().map(|pause| pause.to_string());
            *look = Look::on_thread("http-pause", known.clone(), look_at).ok();
        }
        look.as_mut().map_or(known, |look| look.take(now).answer)
    }
}

/// A moment of the site, which a page is made of.
pub(super) struct Now {
    pub(super) moment: Moment,
    pub(super) known: Arc<Known>,
    pub(super) refused: Option<(DateTime<Utc>, String)>,
    pub(super) paused: Option<String>,
    pub(super) is_stopping: bool,
}

impl Now {
    fn of_jobs(&self) -> Jobs<'_> {
        Jobs { specs: &self.known.jobs, not_runnable: &self.known.not_runnable }
    }

    pub(super) fn daemon(&self) -> Result<SeenDaemon<'_>, StateError> {
        SeenDaemon::look(&self.known.state_dir, self.of_jobs(), self.paused.clone(), self.moment)
    }

    pub(super) fn jobs(&self, daemon: &SeenDaemon<'_>) -> Result<Vec<SeenJob<'_>>, StateError> {
        SeenJob::look(&self.known.state_dir, self.of_jobs(), daemon, self.moment)
    }

    /// One job, without a look at all the others; `None` where it is not configured.
    pub(super) fn job(
        &self,
        daemon: &SeenDaemon<'_>,
        name: &JobName,
    ) -> Result<Option<SeenJob<'_>>, StateError> {
        let Some(spec) = self.known.jobs.get(name) else { return Ok(None) };
        SeenJob::look_at(&self.known.state_dir, spec, self.of_jobs(), daemon, self.moment).map(Some)
    }
}

pub(super) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
