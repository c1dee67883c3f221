//! The lease: of several hosts with one graph, the one that runs the jobs. What may be asked of the place that keeps it,
//! and a place in memory for tests.
//!
//! A host *acquires* the lease where nobody has it or the holder's time is up, and *renews* it with the same question. A
//! run is *claimed* before it begins: the lease alone proves nothing, as a holder that was frozen may wake late.
//!
//! Time here is the keeper's own. The time that a host's clock shows is compared with nothing.
//!
//! Blocks are written without asking here. Each write compares with what was read, so a host that has lost the lease and
//! does not know it yet can overwrite nobody's newer work.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::store::GraphError;
use crate::config::JobName;
use crate::stop::Stop;

/// The host that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The group of hosts.
    pub(crate) lease: String,
    /// This process; never the host's name, which two of them may share.
    pub(crate) holder: String,
    /// The name that the others are told.
    pub(crate) host: String,
    /// How long the lease is to be good for.
    pub(crate) ttl: Duration,
}

/// A lease, as its keeper has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The process that has it.
    pub(crate) holder: String,
    /// That one's host.
    pub(crate) host: String,
    /// Grows by one with each new holder.
    pub(crate) epoch: i64,
    /// How long the holder has had it.
    pub(crate) held_for: Duration,
}

/// A run that is about to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The job.
    pub(crate) job: JobName,
    /// The instant it was scheduled for.
    pub(crate) instant: DateTime<Utc>,
    /// The epoch in which it was decided.
    pub(crate) epoch: i64,
}

/// How far each job has been run, by whatever host.
pub(crate) type Marks = BTreeMap<JobName, DateTime<Utc>>;

/// The place that keeps leases. Every question may be asked again after a lost answer: the second answer is the same.
///
/// `stop` ends the waiting for an answer.
pub(crate) trait LeaseKeeper: Send + Sync {
    /// Acquires the lease or renews it; the answer is the lease as it is now, whoever has it.
    fn acquire(&self, who: &Candidate, stop: &Stop) -> Result<Lease, GraphError>;

    /// Gives it back, if this process has it in this epoch.
    fn release(&self, who: &Candidate, epoch: i64, stop: &Stop) -> Result<(), GraphError>;

    /// Notes the jobs of the holder, which are taken to be run up to `now` where they are new, and answers with the marks
    /// of all jobs of the group. Of a host that does not hold the lease nothing is noted, and it gets the same answer.
    fn enlist(
        &self,
        who: &Candidate,
        epoch: i64,
        jobs: &[JobName],
        now: DateTime<Utc>,
        stop: &Stop,
    ) -> Result<Marks, GraphError>;

    /// Whether the run may begin: this process has the lease in this epoch, and the instant is later than all that was
    /// run, or of this epoch, in which the state file sees to it that nothing runs twice.
    fn claim(&self, who: &Candidate, claim: &Claim, stop: &Stop) -> Result<bool, GraphError>;

    /// The lease, without asking for it; `None` where nobody has it.
    fn look(&self, lease: &str, stop: &Stop) -> Result<Option<Lease>, GraphError>;
}

#[cfg(test)]
pub(crate) mod memory {
    //! Leases in memory, with a clock that tests move.

    use std::sync::{Mutex, MutexGuard};

    use super::*;

    /// The same rules as the real keeper's, for one lease.
    #[derive(Debug, Default)]
    pub(crate) struct MemoryKeeper {
        inner: Mutex<Inner>,
    }

    #[derive(Debug, Default)]
    struct Inner {
        now: Duration,
        holder: Option<(String, String)>,
        epoch: i64,
        acquired: Duration,
        expires: Duration,
        /// Whether questions for the lease are lost on their way.
        is_cut_off: bool,
        /// Whether the answers to claims are.
        loses_answers: bool,
        jobs: BTreeMap<JobName, (DateTime<Utc>, i64)>,
    }

    impl MemoryKeeper {
        /// Moves the keeper's clock.
        pub(crate) fn set_clock(&self, now: Duration) {
            self.inner().now = now;
        }

        /// From now on, or no more, questions for the lease are lost on their way; claims are not.
        pub(crate) fn cut_off(&self, is_cut_off: bool) {
            self.inner().is_cut_off = is_cut_off;
        }

        /// From now on, or no more, claims are taken in and their answers lost.
        pub(crate) fn lose_answers(&self, loses_answers: bool) {
            self.inner().loses_answers = loses_answers;
        }

        fn inner(&self) -> MutexGuard<'_, Inner> {
            self.inner.lock().unwrap()
        }
    }

    impl Inner {
        fn is_held_by(&self, who: &Candidate, epoch: i64) -> bool {
            self.epoch == epoch
                && self.holder.as_ref().is_some_and(|(holder, _)| *holder == who.holder)
        }

        fn shown(&self) -> Option<Lease> {
            let (holder, host) = self.holder.clone()?;
            let held_for = self.now.saturating_sub(self.acquired);
            Some(Lease { holder, host, epoch: self.epoch, held_for })
        }
    }

    impl LeaseKeeper for MemoryKeeper {
        fn acquire(&self, who: &Candidate, _: &Stop) -> Result<Lease, GraphError> {
            let mut inner = self.inner();
            if inner.is_cut_off {
                return Err(GraphError::Transient("cut off".to_owned()));
            }
            let is_over = inner.holder.is_none() || inner.expires <= inner.now;
            let epoch = inner.epoch;
            if is_over {
                inner.holder = Some((who.holder.clone(), who.host.clone()));
                (inner.epoch, inner.acquired) = (epoch + 1, inner.now);
            }
            if is_over || inner.is_held_by(who, epoch) {
                inner.expires = inner.now + who.ttl;
            }
            Ok(inner.shown().unwrap())
        }

        fn release(&self, who: &Candidate, epoch: i64, _: &Stop) -> Result<(), GraphError> {
            let mut inner = self.inner();
            if inner.is_held_by(who, epoch) {
                inner.holder = None;
            }
            Ok(())
        }

        fn enlist(
            &self,
            who: &Candidate,
            epoch: i64,
            jobs: &[JobName],
            now: DateTime<Utc>,
            _: &Stop,
        ) -> Result<Marks, GraphError> {
            let mut inner = self.inner();
            if inner.is_held_by(who, epoch) {
                for job in jobs {
                    inner.jobs.entry(job.clone()).or_insert((now, epoch));
                }
            }
            Ok(inner.jobs.iter().map(|(job, (until, _))| (job.clone(), *until)).collect())
        }

        fn claim(&self, who: &Candidate, claim: &Claim, _: &Stop) -> Result<bool, GraphError> {
            let mut inner = self.inner();
            if !inner.is_held_by(who, claim.epoch) {
                return Ok(false);
            }
            let known = inner.jobs.get(&claim.job).copied();
            let accepted =
                known.is_none_or(|(until, epoch)| claim.instant > until || epoch == claim.epoch);
            if accepted {
                let until = known.map_or(claim.instant, |(until, _)| until.max(claim.instant));
                inner.jobs.insert(claim.job.clone(), (until, claim.epoch));
            }
            if inner.loses_answers {
                return Err(GraphError::Transient("lost".to_owned()));
            }
            Ok(accepted)
        }

        fn look(&self, _: &str, _: &Stop) -> Result<Option<Lease>, GraphError> {
            Ok(self.inner().shown())
        }
    }
}

#[cfg(test)]
pub(crate) mod conformance {
    //! The rules of the keeper as a table of cases, for each keeper there is.

    use super::*;

    fn who(holder: &str) -> Candidate {
        Candidate {
            lease: "conformance".to_owned(),
            holder: holder.to_owned(),
            host: format!("host of {holder}"),
            ttl: Duration::from_secs(60),
        }
    }

    /// `pass` lets time pass for the keeper: by setting its clock, or by waiting.
    pub(crate) fn keeps_the_rules(keeper: &dyn LeaseKeeper, pass: &dyn Fn(Duration)) {
        let stop = Stop::new();
        let at =
            |second: i64| DateTime::from_timestamp(1_800_000_000 + second, 250_000_000).unwrap();
        let (a, b) = (who("a"), who("b"));
        assert_eq!(keeper.look("conformance", &stop).unwrap(), None);

        // Nobody has it; then a does, whoever asks and however often.
        let first = keeper.acquire(&a, &stop).unwrap();
        assert_eq!((&*first.holder, &*first.host), ("a", "host of a"));
        for asker in [&a, &b, &a, &b] {
            let lease = keeper.acquire(asker, &stop).unwrap();
            assert_eq!((&*lease.holder, lease.epoch), ("a", first.epoch));
        }
        let epoch = first.epoch;
        assert_eq!(keeper.look("conformance", &stop).unwrap().unwrap().holder, "a");

        // Marks: a new job is taken to be run up to now, a known one stays.
        let jobs = ["j", "k"].map(JobName::new);
        let marks = keeper.enlist(&a, epoch, &jobs, at(10), &stop).unwrap();
        assert_eq!(marks, jobs.iter().map(|job| (job.clone(), at(10))).collect());
        let marks = keeper.enlist(&a, epoch, &jobs, at(99), &stop).unwrap();
        assert_eq!(marks[&jobs[0]], at(10));
        let marks = keeper.enlist(&b, epoch, &[JobName::new("l")], at(10), &stop).unwrap();
        assert_eq!(marks.len(), 2, "only the holder enlists jobs");

        let claim = |who: &Candidate, job: &str, second: i64, epoch: i64| {
            let claim = Claim { job: JobName::new(job), instant: at(second), epoch };
            keeper.claim(who, &claim, &stop).unwrap()
        };
        // who, job, instant, epoch, accepted, why
        let cases = [
            (&b, "j", 20, epoch, false, "does not hold the lease"),
            (&a, "j", 20, epoch + 1, false, "an epoch that has not come"),
            (&a, "j", 20, epoch - 1, false, "an epoch that is over"),
            (&a, "j", 20, epoch, true, "later than all that was run"),
            (&a, "j", 20, epoch, true, "the same again: the answer was lost"),
            (&a, "j", 15, epoch, true, "runs of one epoch may begin out of order"),
            (&a, "j", 30, epoch, true, "and the newest counts"),
            (&a, "j", 25, epoch, true, "also where an earlier one comes after it"),
            (&a, "new", 5, epoch, true, "a job that nobody has enlisted"),
            (&b, "new", 6, epoch, false, "and only for the holder"),
        ];
        for (who, job, second, epoch, accepted, why) in cases {
            assert_eq!(claim(who, job, second, epoch), accepted, "{why}");
        }
        assert_eq!(keeper.enlist(&a, epoch, &[], at(0), &stop).unwrap()[&jobs[0]], at(30));

        // Given back by another, or in another epoch: nothing. Given back: the next one has it at once.
        keeper.release(&b, epoch, &stop).unwrap();
        keeper.release(&a, epoch - 1, &stop).unwrap();
        assert_eq!(keeper.acquire(&b, &stop).unwrap().holder, "a");
        keeper.release(&a, epoch, &stop).unwrap();
        keeper.release(&a, epoch, &stop).unwrap();
        assert_eq!(keeper.look("conformance", &stop).unwrap(), None);
        let second = keeper.acquire(&b, &stop).unwrap();
        assert_eq!((&*second.holder, second.epoch), ("b", epoch + 1));

        let next = epoch + 1;
        let cases = [
            (&a, "j", 40, epoch, false, "holds it no more"),
            (&b, "j", 30, next, false, "another epoch has run this instant"),
            (&b, "j", 29, next, false, "or a later one"),
            (&b, "j", 31, next, true, "later than all that was run"),
            (&b, "j", 29, next, true, "now that the newest is of this epoch"),
            (&b, "k", 10, next, false, "taken to be run when it was enlisted"),
        ];
        for (who, job, second, epoch, accepted, why) in cases {
            assert_eq!(claim(who, job, second, epoch), accepted, "{why}");
        }

        // Its time is up: whoever asks has it in a new epoch, the old holder too.
        let short = Candidate { ttl: Duration::from_secs(1), ..who("b") };
        keeper.acquire(&short, &stop).unwrap();
        pass(Duration::from_millis(1_500));
        let third = keeper.acquire(&b, &stop).unwrap();
        assert_eq!((&*third.holder, third.epoch), ("b", next + 1));
        keeper.acquire(&short, &stop).unwrap();
        pass(Duration::from_millis(1_500));
        let fourth = keeper.acquire(&a, &stop).unwrap();
        assert_eq!((&*fourth.holder, fourth.epoch), ("a", next + 2));
        assert!(fourth.held_for < Duration::from_secs(60));
        keeper.release(&a, fourth.epoch, &stop).unwrap();
    }

    #[test]
    fn the_keeper_in_memory_keeps_the_rules() {
        let keeper = memory::MemoryKeeper::default();
        let now = std::cell::Cell::new(Duration::ZERO);
        keeps_the_rules(&keeper, &|passed| {
            now.set(now.get() + passed);
            keeper.set_clock(now.get());
        });
    }
}
