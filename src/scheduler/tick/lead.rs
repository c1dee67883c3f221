//! The lead among several hosts: what changes for the jobs when this one gets it, and when it loses it.

use chrono::SubsecRound;

use super::entry::{Entry, Run};
use super::{Tick, tell_notice, to_record};
use crate::clock::Moment;
use crate::gate::{Claim, LeaseGate, Standing};
use crate::job::{RunState, SkipReason};

impl Tick {
    /// Whether this host decides: it is alone, or has the lead.
    pub(super) fn leads(&self) -> bool {
        self.lease.is_none() || self.lead.is_some()
    }

    /// Looks whether this host has the lead, and what follows where that has changed.
    pub(super) fn look_at_lease(&mut self, moment: Moment) {
        let Some(standing) = self.lease.as_ref().map(LeaseGate::standing) else { return };
        let lead = match standing {
            Standing::Leader { epoch, .. } => Some(epoch),
            Standing::Follower { .. } => None,
        };
        if lead == self.lead {
            return;
        }
        if self.lead.take().is_some() {
            self.marks_taken = false;
            self.let_go();
        }
        // With a wrong clock nothing is decided, and a daemon that ends begins nothing.
        if lead.is_none() || self.clock_not_set.is_some() || self.stopping.is_some() {
            return;
        }
        self.lead = lead;
        self.planner.observe(moment);
        match self.is_unscheduled {
            true => self.schedule_at_start(moment),
            false => self.take_marks(moment),
        }
    }

    /// Goes on where the hosts before this one left off.
    pub(super) fn take_marks(&mut self, moment: Moment) {
        let standing = self.lease.as_ref().map(LeaseGate::standing);
        let Some(Standing::Leader { marks, .. }) = standing.filter(|_| !self.marks_taken) else {
            return;
        };
        self.marks_taken = true;
        let plan = self.planner.take_over(&marks, moment.wall);
        let now = moment.wall.trunc_subsecs(6);
        let to_entry = |skip| Entry::Skip(Box::new(to_record(skip, now)), skip.epoch);
        self.outbox.extend(plan.decisions.iter().map(to_entry));
        self.outbox.extend(plan.marks.into_iter().map(Entry::Mark));
        self.outbox.extend(plan.waits.into_iter().map(Entry::Wait));
        plan.notices.iter().for_each(tell_notice);
    }

    /// Nothing more starts, and what runs is told to stop: the next holder may begin soon.
    fn let_go(&mut self) {
        let mut numbers = self.pool.take_back();
        numbers.extend(self.backlog.drain(..).map(|order| order.number));
        for number in numbers {
            if let Some(run) = self.runs.remove(&number) {
                self.refuse(run);
            }
        }
        for run in self.runs.values_mut() {
            run.is_lost = true;
            run.stop.tell();
        }
    }

    /// A run that was decided here and is not this host's to begin.
    pub(super) fn refuse(&mut self, run: Run) {
        self.planner.ended(&run.job);
        self.outbox.push(Entry::Refused(run.past(|record| {
            record.state = RunState::Skipped;
            record.reason = Some(SkipReason::Leader);
        })));
    }

    /// The question to ask before the run begins.
    pub(super) fn claim_of(&self, run: &Run) -> Option<(LeaseGate, Claim)> {
        let (lease, epoch) = (self.lease.as_ref()?, self.lead?);
        let claim = Claim { job: run.job.clone(), instant: run.instant, epoch };
        Some((lease.clone(), claim))
    }

    /// Tells which jobs this host would run.
    pub(super) fn tell_lease_jobs(&self) {
        if let Some(lease) = &self.lease {
            let scheduled =
                self.jobs.values().map(|job| &job.spec).filter(|spec| spec.is_scheduled());
            lease.set_jobs(scheduled.map(|spec| spec.name.clone()).collect());
        }
    }
}
