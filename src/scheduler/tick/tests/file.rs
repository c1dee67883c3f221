//! The state file: what happens where it cannot be written, was removed, or grows old.

use super::*;

#[test]
fn nothing_starts_that_cannot_be_recorded() {
    let world = World::new();
    let mut scheduler = world.start(1, &[idle("a", nothing)]);
    let away = world.temp.path().join("away");
    std::fs::rename(world.dir(), &away).unwrap();
    std::fs::write(world.dir(), "in the way").unwrap();
    world.pass(60);
    world.until("said", |status| {
        status.fault.as_deref().is_some_and(|fault| fault.contains("state"))
    });
    world.pass(60);
    world.settled();
    world.quiet();
    std::fs::remove_file(world.dir()).unwrap();
    std::fs::rename(&away, world.dir()).unwrap();
    world.pass(5);
    let mut seen = vec![world.next_by_another_look(), world.next(), world.next()];
    seen.sort();
    assert_eq!(seen, ["a@12:01 skipped(coalesced)", "a@12:02 running +1", "a@12:02 succeeded +1"]);
    world.until("well again", |status| status.fault.is_none());

    // Removed for good: a new file takes over what is going on.
    std::fs::remove_dir_all(world.dir()).unwrap();
    world.pass(60);
    assert_eq!(
        (world.next().as_str(), world.next().as_str()),
        ("a@12:03 running", "a@12:03 succeeded")
    );
    scheduler.stop();
    assert_eq!(world.history(), ["a@12:03 succeeded"]);
    let remembered = Recorder::open(&world.dir()).unwrap().remembered().unwrap();
    let until = remembered[&JobName::new("a")].decided_until;
    assert_eq!(until, noon() + TimeDelta::minutes(3));
}

#[test]
fn a_state_file_that_cannot_be_written_is_tried_again_every_five_seconds() {
    let world = World::new();
    let mut scheduler = world.start(1, &[idle("a", nothing)]);
    let away = world.temp.path().join("away");
    let block = || {
        std::fs::rename(world.dir(), &away).unwrap();
        std::fs::write(world.dir(), "in the way").unwrap();
    };
    let clear = || {
        std::fs::remove_file(world.dir()).unwrap();
        std::fs::rename(&away, world.dir()).unwrap();
    };
    let is_faulty = || world.status.lock().unwrap().fault.is_some();
    block();
    world.pass(60);
    world.until("said", |status| status.fault.is_some());
    // The try after five seconds fails, and the next one is five seconds after that: no sooner, though all is well before.
    world.pass(5);
    world.settled();
    assert!(is_faulty());
    clear();
    world.pass(4);
    world.settled();
    assert!(is_faulty());
    world.quiet();
    world.pass(1);
    assert_eq!(world.next_by_another_look(), "a@12:01 running");
    assert_eq!(world.next(), "a@12:01 succeeded");
    world.until("well again", |status| status.fault.is_none());
    scheduler.stop();
    assert_eq!(world.history(), ["a@12:01 succeeded"]);
}

#[test]
fn old_history_is_pruned() {
    let world = World::new();
    let quiet = |spec: &mut JobSpec| spec.enabled = false;
    drop(world.start(1, &[idle("a", quiet)]));
    let mut recorder = Recorder::open(&world.dir()).unwrap();
    let old = noon() - TimeDelta::days(91);
    for minute in 0..700 {
        let at = old - TimeDelta::minutes(minute);
        let mut skip = Skip::new(&JobName::new("a"), at, SkipReason::Overlap);
        recorder.write(Durability::Process, |w| w.skip(&mut skip, 0, |_| false)).unwrap();
    }
    drop(recorder);
    let mut scheduler = world.start(1, &[idle("a", quiet)]);
    let count = || History::open(&world.dir()).unwrap().unwrap().recent(None, 1000).unwrap().len();
    // Not before the clock has gone right for an hour.
    world.pass(3599);
    assert_eq!(count(), 700);
    let done = SystemPatience::new();
    while count() > 0 {
        assert!(!done.over());
        world.pass(1);
    }
    scheduler.stop();
}

#[test]
fn a_state_file_that_was_removed_is_noticed_while_nothing_happens() {
    let world = World::new();
    let quiet = |spec: &mut JobSpec| {
        spec.schedule = Schedule::parse("0 3 * * *", Zone::UTC).unwrap();
    };
    let mut scheduler = world.start(1, &[idle("a", quiet)]);
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(world.dir().join(name));
    }
    let done = SystemPatience::new();
    while !world.dir().join("state.db").exists() {
        world.pass(30);
        assert!(!done.over(), "nobody notices");
        std::thread::yield_now();
    }
    scheduler.stop();
}
