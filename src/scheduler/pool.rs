//! The workers: a fixed number of threads that take runs from a bounded queue and report back.
//!
//! The queue is a convenience, not a promise: what has not been taken from it can be taken back. When it is full the
//! tick thread keeps the rest itself. A worker that finds the tick thread behind with reading reports waits for it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::ConfiguredJob;
use super::execute::{Assignment, LEASE_LOST, RunEnd, carry_out, log_faults};
use crate::clock::Clock;
use crate::gate::{Claim, Claimed, LeaseGate};
use crate::job::{JobErrorKind, NoProgress, RunId, RunOptions, Trigger};
use crate::stop::{Leash, Stop};

/// Runs that wait in the queue: all of a busy second at once. Each takes a pointer.
const QUEUE_DEPTH: usize = 1024;

/// Reports that wait for the tick thread: a start and an end for each run of a full queue, and some to spare. Not more, as
/// all of the queue is memory from the start.
const REPORTS_MAX: usize = 2 * QUEUE_DEPTH + 64;

/// How many faults of one run are worth a line each in a log that is read every morning.
const FAULTS_LOGGED: usize = 20;

/// A run for a worker.
pub(super) struct Order {
    /// The tick thread's name for the run.
    pub(super) number: u64,
    pub(super) run_id: RunId,
    pub(super) job: ConfiguredJob,
    pub(super) scheduled_for: DateTime<Utc>,
    /// Monotonic time since which it has been waiting.
    pub(super) waiting_since: Duration,
    pub(super) stop: Stop,
    /// Where several hosts share the jobs: what is to be asked before the run begins.
    pub(super) claim: Option<(LeaseGate, Claim)>,
}

impl Order {
    /// Says that a worker will claim the run, once it is certain that one gets it.
    pub(super) fn announce(&self) {
        if let Some((lease, claim)) = &self.claim {
            lease.expect(claim.clone());
        }
    }
}

/// A worker's report about a run.
pub(super) enum Report {
    Started {
        number: u64,
        at: DateTime<Utc>,
        /// Monotonic time.
        begun: Duration,
        queue_wait: Duration,
    },
    /// The run may not begin here.
    Refused {
        number: u64,
    },
    Ended {
        number: u64,
        outcome: RunEnd,
    },
}

enum Errand {
    Run(Box<Order>),
    /// One worker too many: whoever takes this ends.
    Retire,
}

pub(super) struct Pool {
    clock: Arc<dyn Clock>,
    errands: Sender<Errand>,
    /// The workers' end of the queue, to take back what they have not taken.
    intake: Receiver<Errand>,
    report: Sender<Box<Report>>,
    reports: Receiver<Box<Report>>,
    threads: Vec<JoinHandle<()>>,
    hired: usize,
    /// Workers to retire that the full queue had no place for.
    to_retire: usize,
}

impl Pool {
    pub(super) fn start(clock: Arc<dyn Clock>, workers: usize) -> io::Result<Pool> {
        let (errands, intake) = bounded(QUEUE_DEPTH);
        let (report, reports) = bounded(REPORTS_MAX);
        let threads = Vec::new();
        let mut pool =
            Pool { clock, errands, intake, report, reports, threads, hired: 0, to_retire: 0 };
        for _ in 0..workers {
            pool.hire()?;
        }
        Ok(pool)
    }

    /// One worker more.
    pub(super) fn hire(&mut self) -> io::Result<()> {
        if self.to_retire > 0 {
            self.to_retire -= 1;
            return Ok(());
        }
        self.threads.retain(|thread| !thread.is_finished());
        let clock = Arc::clone(&self.clock);
        let (intake, report) = (self.intake.clone(), self.report.clone());
        let thread = std::thread::Builder::new()
            .name(format!("worker-{}", self.hired))
            .spawn(move || work(&clock, &intake, &report))?;
        self.hired += 1;
        self.threads.push(thread);
        Ok(())
    }

    /// One worker less, as soon as one has time to leave.
    pub(super) fn retire(&mut self) {
        self.to_retire += 1;
        while self.to_retire > 0 && self.errands.try_send(Errand::Retire).is_ok() {
            self.to_retire -= 1;
        }
    }

    /// Puts a run into the queue; back comes a run that finds it full.
    pub(super) fn hand_over(&self, order: Box<Order>) -> Result<(), Box<Order>> {
        match self.errands.try_send(Errand::Run(order)) {
            Ok(()) => Ok(()),
            Err(
                TrySendError::Full(Errand::Run(order))
                | TrySendError::Disconnected(Errand::Run(order)),
            ) => Err(order),
            Err(_) => unreachable!("what was sent is what comes back"),
        }
    }

    /// Takes back every run that no worker has taken, and tells their numbers.
    pub(super) fn take_back(&mut self) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Ok(errand) = self.intake.try_recv() {
            match errand {
                Errand::Run(order) => numbers.push(order.number),
                Errand::Retire => self.to_retire += 1,
            }
        }
        numbers
    }

    /// The reports of the workers. Never hangs up while the pool is there.
    pub(super) fn reports(&self) -> &Receiver<Box<Report>> {
        &self.reports
    }

    /// Ends all workers and waits for them; for when none has a run any more.
    pub(super) fn close(self) {
        let Pool { errands, intake, report, reports, threads, .. } = self;
        // The workers go when nothing can come any more.
        drop((errands, intake, report, reports));
        for thread in threads {
            // A worker catches what its jobs do; that it panicked itself was said on stderr when it happened.
            let _ = thread.join();
        }
    }
}

fn work(clock: &Arc<dyn Clock>, intake: &Receiver<Errand>, report: &Sender<Box<Report>>) {
    while let Ok(Errand::Run(order)) = intake.recv() {
        let Order { number, run_id, job, scheduled_for, waiting_since, mut stop, claim } = *order;
        if let Some((lease, claim)) = claim {
            let refused = match lease.claim(&claim) {
                Claimed::Yes(leash) => {
                    stop = stop.with_leash(leash);
                    None
                }
                Claimed::No => Some(Report::Refused { number }),
                Claimed::TooLate => Some(Report::Ended { number, outcome: RunEnd::lost(&**clock) }),
            };
            if let Some(refused) = refused {
                let _ = report.send(Box::new(refused));
                continue;
            }
        }
        let (at, begun) = (clock.now().trunc_subsecs(6), clock.monotonic());
        let queue_wait = begun.saturating_sub(waiting_since);
        // Nobody listens any more once the scheduler has ended without waiting: then the run is recorded as
        // interrupted, and the process is about to end.
        let _ = report.send(Box::new(Report::Started { number, at, begun, queue_wait }));
        let mut outcome = carry_out(&Assignment {
            job: &job,
            run_id: &run_id,
            trigger: Trigger::Schedule,
            scheduled_for,
            clock,
            stop: &stop,
            options: RunOptions::default(),
            progress: &NoProgress,
        });
        if let Err(error) = &mut outcome.result
            && error.kind == JobErrorKind::Cancelled
            && stop.leash().is_some_and(Leash::is_over)
        {
            LEASE_LOST.clone_into(&mut error.message);
        }
        log_faults(&run_id, &job.spec.name, &outcome.result, FAULTS_LOGGED);
        let _ = report.send(Box::new(Report::Ended { number, outcome }));
    }
}
