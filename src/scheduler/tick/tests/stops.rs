//! Stops: what has not begun comes back, what runs gets its grace, and what was cut off begins again where that is wanted.

use super::*;

#[test]
fn what_has_not_begun_at_a_stop_comes_back_at_the_next_start() {
    let world = World::new();
    let (slow, began, gate) = gated("a-slow", nothing);
    let quick = idle("b-quick", nothing);
    let mut scheduler = world.start(1, &[slow, quick.clone()]);
    world.pass(60);
    began.recv_timeout(PATIENCE).unwrap();
    assert_eq!(world.next(), "a-slow@12:01 running");
    world.pass(60);
    let mut skipped = [world.next(), world.next()];
    skipped.sort();
    assert_eq!(skipped, ["a-slow@12:02 skipped(overlap)", "b-quick@12:02 skipped(overlap)"]);
    scheduler.request_stop();
    world.until("stopping", |status| status.stopping);
    gate.send_timeout((), PATIENCE).unwrap();
    assert_eq!(scheduler.stop(), Ending { taken_back: 1, ..Ending::default() });
    assert_eq!(world.next(), "a-slow@12:01 succeeded");
    world.quiet();
    let mut history = world.history();
    history.sort();
    let left = [
        "a-slow@12:01 succeeded",
        "a-slow@12:02 skipped(overlap)",
        "b-quick@12:02 skipped(overlap)",
    ];
    assert_eq!(history, left);

    let mut scheduler = world.start(1, &[quick]);
    assert_eq!(world.next(), "b-quick@12:01 running");
    assert_eq!(world.next(), "b-quick@12:01 succeeded");
    scheduler.stop();
    drop(world.start(1, &[idle("b-quick", nothing)]));
    assert_eq!(world.history().iter().filter(|row| row.contains("b-quick@12:01")).count(), 1);
}

#[test]
fn a_stop_gives_grace_then_tells_then_goes() {
    let world = World::new();
    let (polite, polite_began, _gate) = gated("polite", nothing);
    let deaf_gate = Arc::new(AtomicBool::new(false));
    let (heard, deaf_began) = unbounded();
    let ears = Arc::clone(&deaf_gate);
    let deaf = job("deaf", nothing, move |ctx| {
        heard.send(ctx.scheduled_for).unwrap();
        let done = SystemPatience::new();
        while !ears.load(Ordering::SeqCst) && !done.over() {
            std::thread::yield_now();
        }
        Ok(RunReport::new())
    });
    let mut scheduler = world.start(2, &[polite, deaf]);
    world.pass(60);
    polite_began.recv_timeout(PATIENCE).unwrap();
    deaf_began.recv_timeout(PATIENCE).unwrap();
    let _ = (world.next(), world.next());
    scheduler.request_stop();
    world.until("stopping", |status| status.stopping);
    world.pass(29);
    world.quiet();
    world.pass(1);
    assert_eq!(world.next(), "polite@12:01 interrupted");
    assert!(
        scheduler.ended().try_recv().is_err_and(|error| error.is_empty()),
        "it waits for the deaf one"
    );
    world.pass(12);
    assert_eq!(world.next(), "deaf@12:01 interrupted");
    assert_eq!(scheduler.stop(), Ending { interrupted: 2, left: 1, ..Ending::default() });
    assert!(scheduler.ended().try_recv().is_err_and(|error| error.is_disconnected()));
    deaf_gate.store(true, Ordering::SeqCst);
}

#[test]
fn a_second_request_ends_at_once() {
    let world = World::new();
    let (slow, began, _gate) = gated("slow", nothing);
    let mut scheduler = world.start(1, &[slow]);
    world.pass(60);
    began.recv_timeout(PATIENCE).unwrap();
    scheduler.request_stop();
    scheduler.request_stop();
    assert_eq!(scheduler.stop(), Ending { interrupted: 1, left: 1, ..Ending::default() });
    assert_eq!(world.history(), ["slow@12:01 interrupted"]);
}

#[test]
fn a_run_that_was_cut_off_begins_again_where_that_is_wanted() {
    let world = World::new();
    let again = |spec: &mut JobSpec| spec.policy.rerun_interrupted = true;
    let (once, once_began, _gate) = gated("once", nothing);
    let (twice, twice_began, _other_gate) = gated("twice", again);
    let mut scheduler = world.start(2, &[once, twice]);
    world.pass(60);
    once_began.recv_timeout(PATIENCE).unwrap();
    twice_began.recv_timeout(PATIENCE).unwrap();
    scheduler.request_stop();
    scheduler.request_stop();
    scheduler.stop();
    while world.events.try_recv().is_ok() {}

    let mut scheduler = world.start(2, &[idle("once", nothing), idle("twice", again)]);
    // That both were interrupted was told when they were: a run is not logged twice.
    assert_eq!(world.next(), "twice@12:01 running");
    let run_again = world.next_run();
    assert_eq!(line(&Row::Run(run_again.clone())), "twice@12:01 succeeded");
    assert!(run_again.run_id.as_str().ends_with("_r2"), "{}", run_again.run_id);
    scheduler.stop();
    drop(world.start(2, &[idle("once", nothing), idle("twice", again)]));
    world.quiet();
}

#[test]
fn a_job_that_takes_the_daemon_down_each_time_is_not_begun_for_ever() {
    let world = World::new();
    let again = |spec: &mut JobSpec| spec.policy.rerun_interrupted = true;
    drop(world.start(1, &[idle("bad", again)]));
    let mut dead = Recorder::open(&world.dir()).unwrap();
    let row = crate::scheduler::testing::record("bad", noon());
    dead.write(Durability::Full, |w| w.run(&row, 0, 3)).unwrap().unwrap();
    drop(dead);
    let mut scheduler = world.start(1, &[idle("bad", again)]);
    scheduler.stop();
    assert_eq!(world.next(), "bad@12:00 interrupted");
    world.quiet();
}
