//! The lead among several hosts: what changes for the jobs when this one gets it, and when it loses it.

use super::Tick;
use super::entry::{Entry, Run};
use crate::clock::Moment;
use crate::gate::{LeaseGate, Standing};
use crate::job::{Skip, SkipReason};

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
        self.note(plan, moment.wall);
    }

    /// Nothing more starts: the next holder may begin soon. What runs ends by itself, as its leash is over.
    fn let_go(&mut self) {
        if let Some(lease) = &self.lease {
            lease.expect_none();
        }
        let mut numbers = self.pool.take_back();
        numbers.extend(self.backlog.drain(..).map(|order| order.number));
        for number in numbers {
            if let Some(run) = self.runs.remove(&number) {
                self.refuse(run);
            }
        }
    }

    /// A run that was decided here and is not this host's to begin.
    pub(super) fn refuse(&mut self, run: Run) {
        self.planner.ended(&run.job);
        let skip = Skip {
            decided_at: run.decided_at,
            lateness_s: run.lateness.as_secs_f64(),
            ..Skip::new(&run.job, run.instant, SkipReason::Leader)
        };
        self.outbox.push(Entry::Refused(run.past(|_| {}), Box::new(skip)));
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
