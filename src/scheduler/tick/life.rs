//! Whether the scheduler can do its work, told to the log and, by the sign of life, to other processes.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Tick;
use super::memory::Starving;
use crate::clock::Moment;
use crate::config::JobName;
use crate::gate::Standing;
use crate::logging;
use crate::scheduler::health::{Held, Sign};
use crate::scheduler::{Running, Status};
use crate::state::SignOfLife;
use crate::text;

/// How long all workers must have been held, while others wait, before that is told.
const STARVED_AFTER: Duration = Duration::from_secs(300);

/// Less room than this on the state folder's disk is none: the next commit may need as much.
const ROOM_MIN: u64 = 64 << 10;

impl Tick {
    /// Runs without a time limit may hold every worker for ever. That is complained of, ever less often.
    pub(super) fn watch_starvation(&mut self, now: Duration) {
        let workers = self.settings.workers + self.spares;
        let others_wait = self.runs.len() > self.running.len();
        let is_long = |number: &u64| {
            let begun = self.runs.get(number).and_then(|run| run.begun);
            begun.is_some_and(|begun| now.saturating_sub(begun.monotonic) >= STARVED_AFTER)
        };
        if self.running.len() < workers || !others_wait || !self.running.iter().all(is_long) {
            if self.starving.take().is_some() {
                logging::info!("a worker is free again: waiting runs begin");
            }
            return;
        }
        let starving = self.starving.get_or_insert(Starving { next: now, interval: STARVED_AFTER });
        if now < starving.next {
            return;
        }
        starving.next = now + starving.interval;
        starving.interval *= 2;
        let names = self.holders().map(JobName::as_str).collect::<Vec<_>>().join(", ");
        logging::warn!(
            held_by = names.as_str(), workers, waiting = self.runs.len() - self.running.len(),
            remedy = "give these jobs a timeout, or raise scheduler.workers";
            "all workers are held while other runs wait"
        );
    }

    /// The jobs whose runs workers have.
    pub(super) fn holders(&self) -> impl Iterator<Item = &JobName> {
        self.running.iter().filter_map(|number| Some(&self.runs.get(number)?.job))
    }

    /// Leaves the sign of life: at once where there is a new reason to call a person, else now and then.
    pub(super) fn show_life(&mut self, moment: Moment, status: &Status) {
        let reasons = self.reasons(status);
        let pause_variable = self.paused.as_ref().and_then(|pause| pause.variable.clone());
        let stands = match (&status.lease, &self.life.standing) {
            (Some(now), Some(told)) => now.is_like(told),
            (now, told) => now.is_none() && told.is_none(),
        };
        let is_as_told =
            stands && reasons == self.life.reasons && pause_variable == self.life.pause_variable;
        if is_as_told && !self.life.is_due(moment) {
            return;
        }
        let held = status.running.iter().map(|run| self.held(run));
        let sign = Sign {
            boot_s: moment.boottime.as_secs_f64(),
            at: moment.wall,
            next: status.next.as_ref().map(|(at, _)| *at),
            reasons: reasons.clone(),
            workers: self.settings.workers + self.spares,
            waiting: status.queued,
            held: held.collect(),
            config: self.config.clone(),
            standby: status.lease.as_ref().and_then(Standing::in_words),
            lease_epoch: self.lead,
            pause_variable: pause_variable.clone(),
        };
        if !self.life.sign.is_in_place()
            && let Ok(sign) = SignOfLife::open(self.recorder.dir())
        {
            self.life.sign = sign;
        }
        if let Err(error) = self.life.sign.write(&sign.to_text()) {
            logging::warn!(error = error.to_string().as_str(); "cannot leave the sign of life for status");
        }
        self.life.left_at = Some(moment.boottime);
        self.life.reasons = reasons;
        self.life.standing.clone_from(&status.lease);
        self.life.pause_variable = pause_variable;
    }

    fn held(&self, run: &Running) -> Held {
        let of_run = |other: &&super::Run| other.run_id == run.run_id;
        let is_overdue = self.runs.values().find(of_run).is_some_and(|run| run.overdue.is_some());
        let (job, run_id) = (run.job.as_str().to_owned(), run.run_id.as_str().to_owned());
        Held { job, run_id, since: run.since, is_overdue }
    }

    /// Why the scheduler cannot do its work, each in one line.
    fn reasons(&self, status: &Status) -> Vec<String> {
        let mut reasons = Vec::new();
        reasons.extend(status.clock_not_set.clone());
        if let Some(fault) = &status.fault {
            reasons.push(format!("state file cannot be written: {}", fault.replace('\n', " ")));
        } else if self.life.sign.room().is_some_and(|room| room < ROOM_MIN) {
            reasons.push(format!("the disk of {} is full", self.recorder.dir().display()));
        }
        if let Some(since) = status.pause_unknown_since {
            reasons.push(pause_unknown(since));
        }
        let names = || self.holders().map(JobName::as_str).collect::<Vec<_>>().join(", ");
        if !status.starving.is_empty() {
            reasons.push(format!("all workers are held while other runs wait: {}", names()));
        } else if self.running.len() >= self.settings.workers && self.all_overdue() {
            reasons.push(format!("all workers are held by runs beyond their time: {}", names()));
        }
        reasons
    }

    fn all_overdue(&self) -> bool {
        let is_overdue = |number| self.runs.get(number).is_some_and(|run| run.overdue.is_some());
        !self.running.is_empty() && self.running.iter().all(is_overdue)
    }

    /// Tells, once, that the pause cannot be looked at, and that it can again.
    pub(super) fn tell_pause_look(&mut self, hangs_since: Option<DateTime<Utc>>) {
        match (self.pause_unknown_since, hangs_since) {
            (None, Some(since)) => {
                let known = if self.paused.is_some() { "paused" } else { "not paused" };
                let since = text::instant(since);
                logging::warn!(last_known = known; "pause file cannot be looked at since {since}: the last known answer counts");
            }
            (Some(_), None) => logging::info!("pause file can be looked at again"),
            _ => {}
        }
        self.pause_unknown_since = hangs_since;
    }
}

fn pause_unknown(since: DateTime<Utc>) -> String {
    format!("pause file cannot be looked at since {}", text::instant(since))
}
