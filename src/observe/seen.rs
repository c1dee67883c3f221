//! What there is to see of a daemon and its jobs: read from the state folder, without changing anything in it. `status`,
//! `jobs` and the page show the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::clock::{self, Moment, by_a_set_clock};
use crate::config::{JobName, JobSpec};
use crate::gate::{Pause, PauseSwitch};
use crate::graph::Marks;
use crate::history::{History, OpenRun, to_json};
use crate::job::{BuildError, RunRecord, RunState};
use crate::scheduler::health::{self, Health, Held};
use crate::state::{DaemonLock, Holder, StateError};
use crate::text::{instant, relative};

/// How many fire times are told of each job.
const NEXT: usize = 3;

/// The configured jobs.
#[derive(Clone, Copy)]
pub(crate) struct Jobs<'c> {
    /// All of them.
    pub(crate) specs: &'c BTreeMap<JobName, Arc<JobSpec>>,
    /// Those without code here, each with the remedy.
    pub(crate) not_runnable: &'c BTreeMap<JobName, String>,
}

impl Jobs<'_> {
    /// Whether a job has code here.
    fn run(&self, job: &JobName) -> bool {
        !self.not_runnable.contains_key(job)
    }
}

/// A pause as the daemon of this state folder has it: its variable is that of the daemon's own environment and `.env`, and
/// `switch` is that of another process. Without a daemon the latter counts, as it would for a daemon that this process starts.
pub(crate) fn pause(state_dir: &Path, switch: &PauseSwitch, moment: Moment) -> Option<Pause> {
    let daemon = DaemonLock::holder(state_dir).ok().flatten();
    let Some(sign) = daemon.and_then(|_| health::of(state_dir, moment).sign) else {
        return switch.look();
    };
    let own = switch.look_past_environment();
    // The sign may be half a minute old. Where its configuration lies, the daemon's `.env` lies too, as a rule.
    let shares_folder = |config: &str| {
        Path::new(config).ancestors().skip(1).take(2).any(|folder| folder == switch.folder())
    };
    let told = sign.pause_variable;
    let variable = match sign.config.as_deref().is_some_and(shares_folder) {
        true if !told.as_deref().is_some_and(Pause::is_by_environment) => {
            own.as_ref().and_then(|own| own.variable.clone())
        }
        _ => told,
    };
    Pause::of(own.and_then(|own| own.file), variable)
}

/// A daemon, seen from outside.
pub(crate) struct SeenDaemon<'c> {
    /// The process that is the daemon.
    pub(crate) daemon: Option<Holder>,
    /// Of a daemon that runs.
    pub(crate) health: Option<Health>,
    /// Why nothing scheduled runs, if that is so.
    pub(crate) paused: Option<String>,
    /// Runs that are queued or running.
    pub(crate) open: Vec<OpenRun>,
    /// That this machine's clock is certainly wrong, in words: then nobody can tell when anything is due.
    pub(crate) clock_not_set: Option<String>,
    /// The next fire time there is.
    pub(crate) next: Option<(DateTime<Utc>, &'c JobName)>,
}

impl<'c> SeenDaemon<'c> {
    /// Looks at a state folder.
    pub(crate) fn look(
        state_dir: &Path,
        jobs: Jobs<'c>,
        paused: Option<String>,
        moment: Moment,
    ) -> Result<SeenDaemon<'c>, StateError> {
        let daemon = DaemonLock::holder(state_dir)?;
        let open = match History::open(state_dir)? {
            Some(history) => history.open_runs()?,
            None => Vec::new(),
        };
        let scheduled =
            jobs.specs.values().filter(|spec| spec.is_scheduled() && jobs.run(&spec.name));
        let clock_not_set = clock::not_set(moment.wall);
        let next = scheduled
            .filter(|_| clock_not_set.is_none())
            .filter_map(|spec| Some((spec.schedule.next_after(moment.wall)?, &spec.name)))
            .min();
        let health = daemon.as_ref().map(|_| health::of(state_dir, moment));
        Ok(SeenDaemon { daemon, health, paused, open, clock_not_set, next })
    }

    /// The configuration file that the daemon has.
    pub(crate) fn in_force(&self) -> Option<&str> {
        self.health.as_ref()?.sign.as_ref()?.config.as_deref()
    }

    /// As JSON, as `status --json` prints it.
    pub(crate) fn to_json(&self, marks: Option<&Marks>) -> Value {
        let daemon = self.daemon.as_ref();
        let sign = self.health.as_ref().and_then(|health| health.sign.as_ref());
        let running: Vec<Value> = self
            .open
            .iter()
            .map(|run| {
                json!({
                    "job_name": run.record.job.as_str(),
                    "job_id": run.record.run_id.as_str(),
                    "trigger": run.record.trigger.as_str(),
                    "state": run.record.state.as_str(),
                    "since": run.record.started_at.and_then(by_a_set_clock).map(instant),
                    "pid": run.holder.pid,
                })
            })
            .collect();
        json!({
            "running": daemon.is_some(),
            "healthy": self.health.as_ref().is_some_and(|health| health.reasons.is_empty()),
            "reasons": match &self.health {
                Some(health) => health.reasons.clone(),
                None => vec!["no daemon is running".to_owned()],
            },
            "last_sign_of_life": sign.and_then(|sign| by_a_set_clock(sign.at)).map(instant),
            "workers": sign.map(|sign| sign.workers),
            "workers_held_by": sign.map(|sign| {
                let held = |held: &Held| {
                    json!({
                        "job_name": held.job,
                        "job_id": held.run_id,
                        "since": by_a_set_clock(held.since).map(instant),
                        "overdue": held.is_overdue,
                    })
                };
                sign.held.iter().map(held).collect::<Vec<_>>()
            }),
            "standby": sign.and_then(|sign| sign.standby.as_deref()),
            "lease_epoch": sign.and_then(|sign| sign.lease_epoch),
            "config": self.in_force(),
            "pid": daemon.and_then(|daemon| daemon.pid),
            "since": daemon.and_then(|daemon| daemon.since).map(instant),
            "paused": self.paused,
            "running_jobs": running.iter().filter(|run| run["state"] == RunState::Running.as_str()).collect::<Vec<_>>(),
            "queued_jobs": running.iter().filter(|run| run["state"] == RunState::Queued.as_str()).collect::<Vec<_>>(),
            "next": self.next.map(|(at, job)| json!({"job_name": job.as_str(), "at": instant(at)})),
            "blocks_marked": marks.map(|marks| marks.count),
            "oldest_mark": marks.and_then(|marks| by_a_set_clock(marks.oldest?)).map(instant),
        })
    }
}

/// One job, as far as it can be told.
pub(crate) struct SeenJob<'c> {
    /// The job as it is configured.
    pub(crate) spec: &'c JobSpec,
    /// Whether it has code here.
    pub(crate) runnable: bool,
    /// Its next fire times.
    pub(crate) next: Vec<DateTime<Utc>>,
    /// Its newest run.
    pub(crate) last: Option<RunRecord>,
    /// The reasons that keep its schedule from starting a run now.
    pub(crate) held_back: Vec<String>,
}

impl<'c> SeenJob<'c> {
    /// Looks at every job.
    pub(crate) fn look(
        state_dir: &Path,
        jobs: Jobs<'c>,
        daemon: &SeenDaemon<'_>,
        moment: Moment,
    ) -> Result<Vec<SeenJob<'c>>, StateError> {
        let history = History::open(state_dir)?;
        let look =
            |spec: &'c Arc<JobSpec>| SeenJob::of(spec, jobs, history.as_ref(), daemon, moment);
        jobs.specs.values().map(look).collect()
    }

    /// Looks at one job.
    #[cfg(feature = "http")]
    pub(crate) fn look_at(
        state_dir: &Path,
        spec: &'c JobSpec,
        jobs: Jobs<'c>,
        daemon: &SeenDaemon<'_>,
        moment: Moment,
    ) -> Result<SeenJob<'c>, StateError> {
        SeenJob::of(spec, jobs, History::open(state_dir)?.as_ref(), daemon, moment)
    }

    fn of(
        spec: &'c JobSpec,
        jobs: Jobs<'c>,
        history: Option<&History>,
        daemon: &SeenDaemon<'_>,
        moment: Moment,
    ) -> Result<SeenJob<'c>, StateError> {
        let runnable = jobs.run(&spec.name);
        let may_fire = runnable && spec.is_scheduled() && daemon.clock_not_set.is_none();
        let next = if may_fire {
            spec.schedule.fire_times(moment.wall).take(NEXT).collect()
        } else {
            Vec::new()
        };
        let last = history.map(|history| history.last_run(&spec.name)).transpose()?.flatten();
        let held_back = held_back(spec, daemon, moment.wall);
        Ok(SeenJob { spec, runnable, next, last, held_back })
    }

    /// As JSON, as `jobs --json` prints it.
    pub(crate) fn to_json(&self) -> Value {
        let spec = self.spec;
        json!({
            "job_name": spec.name.as_str(),
            "kind": spec.kind(),
            "description": spec.description,
            "enabled": spec.enabled,
            "manual_only": spec.manual_only,
            "runnable": self.runnable,
            "remedy": (!self.runnable).then(|| BuildError::NotRunnable.to_string()),
            "cron": spec.schedule.to_string(),
            "schedule": spec.schedule.words(),
            "after": spec.after.as_ref().map(|after| after.job.as_str()),
            "held_back_by": self.held_back,
            "timezone": spec.timezone.name(),
            "next": self.next.iter().copied().map(instant).collect::<Vec<_>>(),
            "last": self.last.as_ref().map(to_json),
        })
    }
}

/// How long ago something happened, for a person.
pub(crate) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match by_a_set_clock(at) {
        Some(at) => relative(at, now),
        None => "before the clock was set".to_owned(),
    }
}

/// The reasons that keep the schedule of a job from starting a run now, beyond its own settings.
fn held_back(spec: &JobSpec, daemon: &SeenDaemon<'_>, now: DateTime<Utc>) -> Vec<String> {
    let SeenDaemon { health, paused, open, .. } = daemon;
    let mut held_back = Vec::new();
    if !spec.is_scheduled() {
        return held_back;
    }
    held_back.extend(paused.as_ref().map(|why| format!("paused by {why}")));
    match health {
        None => held_back.push("no daemon is running".to_owned()),
        Some(health) => held_back.extend(health.reasons.iter().cloned()),
    }
    let sign = health.as_ref().and_then(|health| health.sign.as_ref());
    // A holder that cannot renew its lease goes on meanwhile.
    let standby = sign.filter(|sign| sign.lease_epoch.is_none());
    held_back.extend(standby.and_then(|sign| sign.standby.clone()));
    for run in open.iter().filter(|run| run.record.job == spec.name) {
        let RunRecord { run_id, state, decided_at, started_at, .. } = &run.record;
        let since = ago(started_at.unwrap_or(*decided_at), now);
        held_back.push(match state {
            RunState::Queued => {
                let held = sign.into_iter().flat_map(|sign| &sign.held);
                let held = held.map(|held| held.job.as_str()).collect::<Vec<_>>().join(", ");
                format!("{run_id} waits for a worker since {since}; workers are held by: {held}")
            }
            _ => format!("{run_id} runs since {since}"),
        });
    }
    held_back
}
