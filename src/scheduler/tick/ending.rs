//! The end of a scheduler: no new runs, patience with those that run, then none.

use std::time::Duration;

use chrono::SubsecRound;

use super::Tick;
use super::entry::{Begun, Entry};
use super::memory::Stopping;
use crate::clock::Moment;
use crate::job::RunState;
use crate::logging;
use crate::scheduler::Ending;
use crate::stop::CANCEL_WAIT;

impl Tick {
    pub(super) fn begin_stop(&mut self) {
        let mut numbers = self.pool.take_back();
        numbers.extend(self.backlog.drain(..).map(|order| order.number));
        for number in numbers {
            let Some(run) = self.runs.remove(&number) else { continue };
            self.planner.ended(&run.job);
            self.ending.taken_back += 1;
            self.outbox.push(if run.rerun == 0 {
                Entry::TakenBack(run.past(|_| {}))
            } else {
                // Its occurrence made a run before: what is left is a run that was cut off.
                Entry::CutOff(run.past(|record| {
                    record.state = RunState::Interrupted;
                    record.error = Some("stopped before it had begun again".to_owned());
                }))
            });
        }
        let grace = self.settings.shutdown_grace_time;
        if !self.runs.is_empty() || self.ending.taken_back > 0 {
            logging::info!(running = self.runs.len(), taken_back = self.ending.taken_back, grace_s = grace.as_secs_f64();
                "running jobs have a while to end, waiting ones come back at the next start"
            );
        }
        self.stopping = Some(Stopping { until: self.clock.monotonic() + grace, told: false });
    }

    /// Asked a second time.
    pub(super) fn stop_at_once(&mut self) {
        logging::warn!(running = self.runs.len(); "stopping at once");
        self.cancel_all();
        self.stopping = Some(Stopping { until: Duration::ZERO, told: true });
    }

    /// Tells the runs to end when the grace is over.
    pub(super) fn press_stop(&mut self, now: Duration) {
        let Some(stop) = &self.stopping else { return };
        if !stop.told && now >= stop.until && !self.runs.is_empty() {
            logging::warn!(running = self.runs.len(); "runs did not end in time: told to stop");
            self.cancel_all();
            self.stopping = Some(Stopping { until: now + CANCEL_WAIT, told: true });
        }
    }

    fn cancel_all(&self) {
        for run in self.runs.values() {
            run.stop.tell();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stop| {
            self.runs.is_empty() || (stop.told && self.clock.monotonic() >= stop.until)
        })
    }

    pub(super) fn end(mut self) -> Ending {
        let moment = Moment::of(&*self.clock);
        let left = std::mem::take(&mut self.runs);
        self.ending.left = left.len();
        for run in left.values() {
            self.ending.interrupted += 1;
            self.outbox.push(Entry::CutOff(run.past(|record| {
                record.state = RunState::Interrupted;
                record.error = Some("did not end when it was told to stop".to_owned());
                record.finished_at = Some(moment.wall.trunc_subsecs(6));
                let took = |begun: Begun| moment.monotonic.saturating_sub(begun.monotonic);
                record.duration_s = run.begun.map(|begun| took(begun).as_secs_f64());
            })));
        }
        if !self.outbox.is_empty()
            && let Err(error) = self.reopen_if_needed().and_then(|()| self.commit(moment, false))
        {
            logging::error!(error = error.to_string().as_str(), entries = self.outbox.len();
                "cannot write state file: runs not saved will show as interrupted after the next start"
            );
        }
        let Tick { pool, ending, .. } = self;
        // A worker that has a run would be waited for.
        if left.is_empty() {
            pool.close();
        }
        ending
    }
}
