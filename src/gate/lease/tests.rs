//! The lease as the daemon has it: its clocks, its leash, and the order of claims.

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::graph::lease::memory::MemoryKeeper;
use crate::stop::Why;

fn noon() -> DateTime<Utc> {
    "2026-08-24T12:00:00Z".parse().unwrap()
}

fn who(holder: &str) -> Candidate {
    let [lease, holder, host] = ["g", holder, holder].map(str::to_owned);
    Candidate { lease, holder, host, ttl: Duration::from_secs(60) }
}

fn claim(second: i64, epoch: i64) -> Claim {
    Claim { job: JobName::new("j"), instant: noon() + TimeDelta::seconds(second), epoch }
}

/// A host that holds the lease, which a second one asks for in vain.
struct Held {
    clock: Arc<ManualClock>,
    keeper: Arc<MemoryKeeper>,
    gate: LeaseGate,
    epoch: i64,
}

impl Held {
    fn new() -> Held {
        let (clock, keeper) = (Arc::new(ManualClock::at(noon())), Arc::<MemoryKeeper>::default());
        let gate =
            LeaseGate::start(keeper.clone(), who("me"), clock.clone() as Arc<dyn Clock>).unwrap();
        let epoch = loop {
            gate.changes().recv_timeout(Duration::from_secs(300)).unwrap();
            if let Standing::Leader { epoch, .. } = gate.standing() {
                break epoch;
            }
        };
        Held { clock, keeper, gate, epoch }
    }

    fn leash(&self, second: i64) -> Leash {
        match self.gate.claim(&claim(second, self.epoch)) {
            Claimed::Yes(leash) => leash,
            Claimed::No | Claimed::TooLate => panic!("the claim of {second} was refused"),
        }
    }

    fn leads(&self) -> bool {
        matches!(self.gate.standing(), Standing::Leader { .. })
    }
}

#[test]
fn a_machine_that_slept_has_lost_its_lease_when_it_wakes_and_so_has_all_that_runs() {
    let held = Held::new();
    held.keeper.cut_off(true);
    let stop = Stop::new().with_leash(held.leash(0));
    // 35 s of trust, of which a machine that sleeps is not told.
    held.clock.suspend(Duration::from_secs(34));
    assert_eq!((held.leads(), stop.why()), (true, None));
    held.clock.suspend(Duration::from_secs(2));
    assert!(matches!(held.gate.claim(&claim(1, held.epoch)), Claimed::No));
    assert_eq!((held.leads(), stop.why()), (false, Some(Why::Told)));
    held.gate.end(false);
}

#[test]
fn a_claim_that_is_refused_makes_a_host_ask_who_holds_the_lease() {
    let held = Held::new();
    // Another one took over, as after the server was put back.
    held.keeper.release(&who("me"), held.epoch, &Stop::new()).unwrap();
    held.keeper.acquire(&who("other"), &Stop::new()).unwrap();
    assert!(matches!(held.gate.claim(&claim(1, held.epoch)), Claimed::No));
    // No time passes, so that no renewal is due.
    held.gate.changes().recv_timeout(Duration::from_secs(300)).unwrap();
    assert!(!held.leads());
    held.gate.end(true);
}

#[test]
fn a_lease_is_given_back_only_where_nothing_runs_any_more() {
    for nothing_runs in [false, true] {
        let held = Held::new();
        held.gate.end(nothing_runs);
        assert_eq!(held.keeper.look("g", &Stop::new()).unwrap().is_none(), nothing_runs);
        assert!(!held.leads());
    }
}

#[test]
fn trust_never_becomes_less_by_an_answer_and_begins_with_none_that_is_late() {
    let seconds = Duration::from_secs;
    let moment = |second| Moment { wall: noon(), monotonic: seconds(0), boottime: seconds(second) };
    let lease = Lease { holder: "me".into(), host: "me".into(), epoch: 7, held_for: seconds(0) };
    let until = |turn: &mut Turn, now| match turn.standing(seconds(now)) {
        Standing::Leader { until, .. } => Some(until.as_secs()),
        Standing::Follower { .. } => None,
    };
    let mut turn = Turn::new(&who("me"), seconds(0));
    turn.heard(seconds(0), Ok(lease.clone()), moment(35));
    turn.heard_marks(7, Ok(Marks::new()), moment(35));
    assert_eq!(until(&mut turn, 35), None, "the answer came when trust was over");
    turn.heard(seconds(36), Ok(lease.clone()), moment(37));
    assert_eq!(until(&mut turn, 37), None, "the marks are not known yet");
    turn.heard_marks(7, Ok(Marks::new()), moment(38));
    assert_eq!(until(&mut turn, 38), Some(71), "counted from before the question");
    turn.heard(seconds(50), Ok(lease.clone()), moment(51));
    turn.heard(seconds(40), Ok(lease), moment(52));
    assert_eq!(until(&mut turn, 52), Some(85));
    assert_eq!(turn.patience(seconds(65)), seconds(10), "half of what is left");
}

#[test]
fn a_wall_clock_that_is_set_takes_no_trust_away_and_gives_none() {
    let held = Held::new();
    held.keeper.cut_off(true);
    let stop = Stop::new().with_leash(held.leash(0));
    held.clock.step(TimeDelta::hours(5));
    assert_eq!((held.leads(), stop.why()), (true, None));
    held.clock.step(TimeDelta::hours(-10));
    held.clock.suspend(Duration::from_secs(36));
    assert_eq!((held.leads(), stop.why()), (false, Some(Why::Told)));
    held.gate.end(false);
}

#[test]
fn a_renewal_lets_runs_go_on() {
    let held = Held::new();
    let stop = Stop::new().with_leash(held.leash(0));
    let until = stop.leash().unwrap().until();
    // A second claim finds the same leash.
    assert_eq!(held.leash(1).until(), until);
    let mut now = Duration::ZERO;
    while stop.leash().unwrap().until() == until {
        assert!(now < Duration::from_secs(30), "it is renewed each 15 s");
        now += Duration::from_secs(1);
        held.keeper.set_clock(now);
        held.clock.advance(Duration::from_secs(1));
        let _ = SystemClock
            .wait(Duration::from_millis(200), &|| stop.leash().unwrap().until() != until);
    }
    assert_eq!(stop.why(), None);
    held.gate.end(true);
    assert_eq!(stop.why(), Some(Why::Told), "given back, nothing of it may go on");
}

#[test]
fn a_later_run_is_not_claimed_before_an_earlier_one_that_was_ordered_before_it() {
    let mut unclaimed = Unclaimed::default();
    let other = Claim { job: JobName::new("other"), ..claim(0, 1) };
    for claim in [claim(10, 1), other.clone(), claim(20, 1), claim(5, 1)] {
        unclaimed.push(claim);
    }
    let next = |unclaimed: &Unclaimed| {
        [&claim(10, 1), &other, &claim(20, 1), &claim(5, 1)].map(|claim| unclaimed.is_next(claim))
    };
    assert_eq!(next(&unclaimed), [true, true, false, true]);
    unclaimed.remove(&claim(10, 1));
    assert_eq!(next(&unclaimed)[2..], [true, true]);

    // On two workers: the second one waits for the first, which is with the keeper.
    let held = Held::new();
    held.gate.expect(claim(10, held.epoch));
    held.gate.expect(claim(20, held.epoch));
    std::thread::scope(|scope| {
        let later = scope.spawn(|| held.gate.claim(&claim(20, held.epoch)));
        let marks = || held.keeper.enlist(&who("me"), held.epoch, &[], noon(), &Stop::new());
        let _ = SystemClock.wait(Duration::from_millis(200), &|| false);
        assert!(marks().unwrap().is_empty() && !later.is_finished());
        assert!(matches!(held.gate.claim(&claim(10, held.epoch)), Claimed::Yes(_)));
        // It looks again after a moment of the clock.
        while !later.is_finished() {
            held.clock.advance(Duration::from_millis(100));
            let _ = SystemClock.wait(Duration::from_millis(10), &|| false);
        }
        assert!(matches!(later.join().unwrap(), Claimed::Yes(_)));
    });
    held.gate.end(true);
}

#[test]
fn a_claim_that_nobody_answered_is_no_run_for_the_same_lead() {
    let held = Held::new();
    drop(held.leash(10));
    held.keeper.lose_answers(true);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| held.gate.claim(&claim(20, held.epoch)));
        let marks = || held.keeper.enlist(&who("me"), held.epoch, &[], noon(), &Stop::new());
        let taken_in = || marks().unwrap()[&claim(0, 0).job] == claim(20, 0).instant;
        assert!(SystemClock.wait(Duration::from_secs(300), &taken_in));
        // Trust is over, and the lease is not.
        held.keeper.cut_off(true);
        held.clock.suspend(Duration::from_secs(36));
        while !asking.is_finished() {
            held.clock.advance(Duration::from_millis(100));
            let _ = SystemClock.wait(Duration::from_millis(10), &|| false);
        }
        assert!(matches!(asking.join().unwrap(), Claimed::No));
    });
    held.keeper.cut_off(false);
    let again = || {
        held.clock.advance(Duration::from_millis(500));
        held.leads()
    };
    assert!(SystemClock.wait(Duration::from_secs(300), &again));
    let Standing::Leader { epoch, marks, .. } = held.gate.standing() else { panic!("it leads") };
    let mark = marks[&claim(0, 0).job];
    assert_eq!((epoch, mark), (held.epoch, claim(20, 0).instant - TimeDelta::microseconds(1)));
    held.gate.end(true);
}
