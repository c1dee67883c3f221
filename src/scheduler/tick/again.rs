//! The start after an end that was not in order: what was cut off is told, and begun again where that is wanted.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};

use super::Tick;
use super::entry::Run;
use crate::clock::Moment;
use crate::history::CutOff;
use crate::job::{RunId, RunRecord, RunState};
use crate::logging;
use crate::scheduler::{ConfiguredJob, Event};
use crate::state::{Durability, StateError};

/// How often a run that was cut off is begun again: one that takes the daemon down each time must not do so for ever.
const RERUNS_MAX: u32 = 3;

/// Why a run that was cut off is not run again.
#[derive(Clone, Copy, Debug)]
enum NotAgain {
    /// Nobody asked for that, or the job is not scheduled any more.
    Unwanted,
    /// It was cut off each time.
    TooOften,
    /// Automation is paused.
    Paused,
    /// Other runs of the job are there.
    Busy,
}

impl Tick {
    /// At the start: tells what was cut off.
    pub(super) fn tell_cut_off(&mut self) {
        let cut_off = std::mem::take(&mut self.cut_off);
        // The stop that cut a run off has told of it already.
        for CutOff { record, .. } in cut_off.iter().filter(|cut_off| !cut_off.was_told) {
            self.tell(Event::Run(record));
        }
        self.cut_off = cut_off;
    }

    /// Begins again what was cut off and is to be run again, as soon as the jobs are scheduled: with a clock that is not
    /// set they are not yet. One transaction settles all of it: after a crash before that, the next start finds the same.
    pub(super) fn begin_again(&mut self, moment: Moment) -> Result<(), StateError> {
        // Where several hosts share the jobs, another one may have gone on.
        let is_alone = self.lease.is_none();
        let is_early = is_alone && (self.is_unscheduled || self.clock_not_set.is_some());
        if self.cut_off.is_empty() || is_early {
            return Ok(());
        }
        let now = moment.wall.trunc_subsecs(6);
        let Tick { recorder, planner, jobs, paused, cut_off, .. } = self;
        let fates = recorder.write(Durability::Full, |writer| {
            let mut taken = writer.runs_elsewhere()?;
            let settle = |cut_off: CutOff| {
                let CutOff { row, record, epoch, rerun, .. } = cut_off;
                writer.finish(row, &record)?;
                let job = record.job.clone();
                let wants = |job: &ConfiguredJob| {
                    is_alone && job.spec.is_scheduled() && job.spec.policy.rerun_interrupted
                };
                let taken = taken.entry(job.clone()).or_default();
                let refusal = if !jobs.get(&job).is_some_and(wants) {
                    NotAgain::Unwanted
                } else if rerun >= RERUNS_MAX {
                    NotAgain::TooOften
                } else if paused.is_some() {
                    NotAgain::Paused
                } else if !planner.has_room(&job, *taken) {
                    NotAgain::Busy
                } else {
                    let again = queued_again(record, rerun + 1, now);
                    let row = writer.run(&again, epoch, rerun + 1)?;
                    let row = row.expect("this repetition is the first to have its number");
                    *taken += 1;
                    let run = Run {
                        rerun: rerun + 1,
                        coalesced: again.coalesced,
                        lateness: Duration::try_from_secs_f64(again.lateness_s).unwrap_or_default(),
                        ..Run::new(&job, again.scheduled_for, epoch, row, now)
                    };
                    return Ok((again, Ok(run)));
                };
                Ok((record, Err(refusal)))
            };
            cut_off.iter().cloned().map(settle).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        self.cut_off.clear();
        for (record, fate) in fates {
            let (job_id, job_name) = (record.run_id.as_str(), record.job.as_str());
            match fate {
                Ok(run) => {
                    logging::info!(job_id, job_name; "run that was cut off begins again");
                    self.planner.begun(&run.job);
                    self.order(run, moment.monotonic);
                }
                Err(NotAgain::Unwanted) => {}
                Err(NotAgain::TooOften) => logging::error!(job_id, job_name, reruns = RERUNS_MAX;
                    "run was cut off again and again: not run again"
                ),
                Err(NotAgain::Paused) => logging::warn!(job_id, job_name;
                    "run that was cut off is not run again: automation is paused"
                ),
                Err(NotAgain::Busy) => logging::warn!(job_id, job_name;
                    "run that was cut off is not run again: max_instances runs are there already"
                ),
            }
        }
        Ok(())
    }
}

/// A record as it is before its run begins.
fn queued_again(record: RunRecord, rerun: u32, now: DateTime<Utc>) -> RunRecord {
    RunRecord {
        run_id: RunId::rerun(&record.job, record.scheduled_for, rerun + 1),
        state: RunState::Queued,
        decided_at: now,
        started_at: None,
        finished_at: None,
        queue_wait_s: None,
        duration_s: None,
        attempt: 1,
        error: None,
        stats: serde_json::Map::new(),
        ..record
    }
}
