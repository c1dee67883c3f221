//! Several hosts on one keeper of leases: who runs, and what becomes of a run when the lead is lost.

use super::*;
use crate::gate::{Claim, Standing};
use crate::graph::lease::memory::MemoryKeeper;
use crate::graph::lease::{Candidate, LeaseKeeper};

const TTL: Duration = Duration::from_secs(60);

fn who(holder: &str) -> Candidate {
    let [lease, holder, host] = ["g".to_owned(), holder.to_owned(), format!("host-{holder}")];
    Candidate { lease, holder, host, ttl: TTL }
}

/// A world and a keeper whose clock goes with the world's.
struct Shared {
    world: World,
    keeper: Arc<MemoryKeeper>,
}

impl Shared {
    fn new() -> Shared {
        Shared { world: World::new(), keeper: Arc::default() }
    }

    fn pass(&self, seconds: u64) {
        self.keeper.set_clock(self.world.clock.boottime() + Duration::from_secs(seconds));
        self.world.pass(seconds);
    }

    fn start(&self, jobs: &[ConfiguredJob]) -> (Scheduler, LeaseGate) {
        let clock = Arc::clone(&self.world.clock) as Arc<dyn Clock>;
        let keeper = Arc::clone(&self.keeper) as Arc<dyn LeaseKeeper>;
        let gate = LeaseGate::start(keeper, who("me"), clock).unwrap();
        (self.world.start_with(2, jobs, Some(gate.clone())).unwrap(), gate)
    }

    #[track_caller]
    fn until_it_leads(&self, is_so: bool) {
        self.world.until("stands so", |status| {
            matches!(status.lease, Some(Standing::Leader { .. })) == is_so
        });
    }
}

#[test]
fn a_standby_decides_nothing_and_takes_over_where_the_holder_left_off() {
    let shared = Shared::new();
    let (other, stop) = (who("other"), Stop::new());
    let epoch = shared.keeper.acquire(&other, &stop).unwrap().epoch;
    let jobs = [JobName::new("a"), JobName::new("b")];
    shared.keeper.enlist(&other, epoch, &jobs, noon() - TimeDelta::minutes(1), &stop).unwrap();
    // The other host has run one of the two jobs at noon.
    let claim = Claim { job: jobs[0].clone(), instant: noon(), epoch };
    assert!(shared.keeper.claim(&other, &claim, &stop).unwrap());

    let (scheduler, gate) = shared.start(&[idle("a", nothing), idle("b", nothing)]);
    shared.world.until("said whose it is", |status| {
        let said = status.lease.as_ref().and_then(Standing::in_words);
        said.is_some_and(|said| {
            said.starts_with("standby: host-other holds the lease since 2026-08-24T12:00:")
        })
    });
    // While the other one is there, this one decides nothing, whatever falls due.
    for (seconds, ttl) in [(35, TTL), (30, TTL / 2)] {
        shared.pass(seconds);
        let renewing = Candidate { ttl, ..other.clone() };
        assert_eq!(shared.keeper.acquire(&renewing, &stop).unwrap().epoch, epoch);
        shared.world.settled();
    }
    shared.world.quiet();
    assert!(shared.world.history().is_empty());
    shared.pass(45);
    // It looks each quarter of a minute, and the other one's time is up.
    shared.until_it_leads(true);
    let mut lines =
        [shared.world.next(), shared.world.next(), shared.world.next(), shared.world.next()];
    lines.sort();
    // 12:00 of `a` has been run; what b missed is coalesced.
    assert_eq!(
        lines,
        [
            "a@12:01 running",
            "a@12:01 succeeded",
            "b@12:00 skipped(coalesced)",
            "b@12:01 running +1"
        ]
    );
    assert_eq!(shared.world.next(), "b@12:01 succeeded +1");
    drop(scheduler);
    gate.end(true);
    assert_eq!(shared.keeper.look("g", &stop).unwrap(), None, "given back");
}

#[test]
fn a_run_is_stopped_when_the_lease_is_lost_and_nothing_more_starts() {
    let shared = Shared::new();
    shared.pass(30);
    let (long, begins, _gate) = gated("long", nothing);
    let (scheduler, gate) = shared.start(&[long]);
    shared.until_it_leads(true);
    shared.pass(30);
    begins.recv_timeout(PATIENCE).unwrap();
    assert_eq!(shared.world.next(), "long@12:01 running");
    // Another host has it: the server was put back to an older state, say.
    let epoch = shared.keeper.look("g", &Stop::new()).unwrap().unwrap().epoch;
    shared.keeper.release(&who("me"), epoch, &Stop::new()).unwrap();
    shared.keeper.acquire(&who("other"), &Stop::new()).unwrap();
    shared.pass(15);
    let ended = shared.world.next_run();
    assert_eq!(
        (ended.job.as_str(), ended.state, ended.error.as_deref()),
        ("long", RunState::Interrupted, Some("lease lost"))
    );
    shared.until_it_leads(false);
    shared.pass(20);
    shared.world.settled();
    shared.world.quiet();
    drop(scheduler);
    gate.end(true);
    assert_eq!(shared.keeper.look("g", &Stop::new()).unwrap().unwrap().holder, "other");
}

#[test]
fn a_run_that_another_host_has_run_is_skipped() {
    let shared = Shared::new();
    shared.pass(30);
    let (scheduler, gate) = shared.start(&[idle("a", nothing)]);
    shared.until_it_leads(true);
    // This host does not know yet that another one took over and ran what is due here in a moment.
    let epoch = shared.keeper.look("g", &Stop::new()).unwrap().unwrap().epoch;
    shared.keeper.release(&who("me"), epoch, &Stop::new()).unwrap();
    let other = shared.keeper.acquire(&who("other"), &Stop::new()).unwrap();
    let noon = noon() + TimeDelta::minutes(1);
    let claim = Claim { job: JobName::new("a"), instant: noon, epoch: other.epoch };
    assert!(shared.keeper.claim(&who("other"), &claim, &Stop::new()).unwrap());
    // Not by a renewal, but by the claim.
    shared.keeper.cut_off(true);
    shared.world.pass(30);
    assert_eq!(shared.world.next(), "a@12:01 skipped(leader)");
    shared.keeper.cut_off(false);
    shared.pass(5);
    shared.until_it_leads(false);
    assert_eq!(
        shared.world.history(),
        ["a@12:01 skipped(leader)"],
        "one row: the run that was decided is none"
    );
    drop(scheduler);
    gate.end(false);
}

#[test]
fn a_run_that_waits_for_a_worker_when_the_lease_is_lost_is_left_to_another_host() {
    let shared = Shared::new();
    shared.pass(30);
    let (one, one_begins, _one) = gated("a", nothing);
    let (two, two_begins, _two) = gated("b", nothing);
    let (scheduler, gate) = shared.start(&[one, two, idle("c", nothing)]);
    shared.until_it_leads(true);
    shared.pass(30);
    for begins in [one_begins, two_begins] {
        begins.recv_timeout(PATIENCE).unwrap();
    }
    let mut lines = [shared.world.next(), shared.world.next()];
    lines.sort();
    assert_eq!(lines, ["a@12:01 running", "b@12:01 running"]);
    let epoch = shared.keeper.look("g", &Stop::new()).unwrap().unwrap().epoch;
    shared.keeper.release(&who("me"), epoch, &Stop::new()).unwrap();
    shared.keeper.acquire(&who("other"), &Stop::new()).unwrap();
    shared.pass(15);
    let mut lines = [shared.world.next(), shared.world.next(), shared.world.next()];
    lines.sort();
    assert_eq!(lines, ["a@12:01 interrupted", "b@12:01 interrupted", "c@12:01 skipped(leader)"]);
    drop(scheduler);
    gate.end(true);
}
