//! Orders for the workers, made while the decisions behind them are being written: once those are on disk, nothing is left
//! but to hand the orders over, however many there are.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::entry::{Run, Written};
use crate::config::JobName;
use crate::gate::{Claim, LeaseGate};
use crate::history::Skipped;
use crate::job::Skip;
use crate::scheduler::ConfiguredJob;
use crate::scheduler::plan::{Fate, Plan};
use crate::scheduler::pool::Order;

/// The parts of the tick that an order is made of.
pub(super) struct Desk<'t> {
    pub(super) jobs: &'t BTreeMap<JobName, ConfiguredJob>,
    pub(super) lease: Option<&'t LeaseGate>,
    pub(super) lead: Option<i64>,
}

/// A plan, ready to be carried out.
#[derive(Default)]
pub(super) struct Made {
    /// One for each of `runs`, in the same order.
    pub(super) orders: VecDeque<Box<Order>>,
    pub(super) runs: Vec<Run>,
    pub(super) skips: Vec<(Skip, Skipped)>,
    /// Occurrences that had made a run before.
    pub(super) twice: Vec<(JobName, DateTime<Utc>)>,
}

impl Desk<'_> {
    /// Makes orders of what was decided and written, numbered from `first`.
    pub(super) fn make(
        &self,
        plan: &Plan,
        rows: Vec<Written>,
        first: u64,
        now: DateTime<Utc>,
    ) -> Made {
        let mut made = Made::default();
        for (decision, row) in plan.decisions.iter().zip(rows) {
            match (&decision.fate, row) {
                (Fate::Start { coalesced, waiting_since }, Written::Run(Some(row))) => {
                    let run = Run {
                        coalesced: *coalesced,
                        lateness: decision.lateness,
                        ..Run::new(&decision.job, decision.first, decision.epoch, row, now)
                    };
                    let number = first + made.runs.len() as u64;
                    let (run, order) = self.order(number, run, *waiting_since);
                    made.runs.push(run);
                    made.orders.push_back(order);
                }
                (_, Written::Run(_)) => made.twice.push((decision.job.clone(), decision.first)),
                (_, Written::Skip(skip, skipped)) => made.skips.push((*skip, skipped)),
            }
        }
        made
    }

    pub(super) fn order(
        &self,
        number: u64,
        run: Run,
        waiting_since: Duration,
    ) -> (Run, Box<Order>) {
        let job = self.jobs.get(&run.job).expect("only configured jobs are planned").clone();
        let run = Run { timeout: job.spec.policy.timeout, ..run };
        let order = Order {
            number,
            run_id: run.run_id.clone(),
            job,
            scheduled_for: run.instant,
            waiting_since,
            stop: run.stop.clone(),
            claim: self.claim_of(&run),
        };
        (run, Box::new(order))
    }

    /// The question to ask before the run begins.
    fn claim_of(&self, run: &Run) -> Option<(LeaseGate, Claim)> {
        let (lease, epoch) = (self.lease?, self.lead?);
        let claim = Claim { job: run.job.clone(), instant: run.instant, epoch };
        Some((lease.clone(), claim))
    }
}
