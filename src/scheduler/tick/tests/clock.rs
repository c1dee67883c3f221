//! Clocks that are not set, or that jump.

use super::*;

#[test]
fn a_clock_that_is_not_set_schedules_nothing_and_moves_no_watermark() {
    let world = World::new();
    let jobs = [idle("nightly", |spec| {
        spec.schedule = Schedule::parse("0 14 * * *", Zone::UTC).unwrap();
        spec.policy.misfire_grace_time = None;
    })];
    drop(world.start(1, &jobs));
    let watermark = || {
        let recorder = Recorder::open(&world.dir()).unwrap();
        recorder.remembered().unwrap()[&JobName::new("nightly")].clone()
    };
    let before = watermark();
    // The power was off over 14:00, and the board has no clock chip.
    let back = noon() - DateTime::UNIX_EPOCH;
    world.clock.step(-back);
    let mut scheduler = world.start(1, &jobs);
    world.until("told", |status| {
        status.clock_not_set.as_deref() == Some("clock not set: it shows 1970-01-01")
    });
    let health = health::of(&world.dir(), Moment::of(&*world.clock));
    assert_eq!(health.reasons, ["clock not set: it shows 1970-01-01"]);
    for _ in 0..5 {
        world.pass(3600);
    }
    world.until("still", |status| status.clock_not_set.is_some());
    world.quiet();
    assert_eq!(watermark(), before);
    // NTP comes: the night is like a downtime, and the job is not lost.
    world.clock.step(back);
    assert_eq!(world.next_by_another_look(), "nightly@14:00 running");
    assert_eq!(world.next(), "nightly@14:00 succeeded");
    scheduler.stop();
}

/// Four seconds in 2098 used to delete the whole history.
#[test]
fn nothing_is_pruned_on_the_word_of_a_clock_that_has_just_jumped() {
    let world = World::new();
    let mut scheduler = world.start(1, &[idle("a", nothing)]);
    for _ in 0..3 {
        world.pass(60);
        assert!(world.next().ends_with("running") && world.next().ends_with("succeeded"));
    }
    world.clock.step(TimeDelta::days(365 * 72));
    world.until("seen", |status| status.next.as_ref().is_some_and(|(at, _)| at.year() > 2090));
    world.clock.step(-TimeDelta::days(365 * 72));
    world.until("seen", |status| status.next.as_ref().is_some_and(|(at, _)| at.year() < 2090));
    scheduler.stop();
    let succeeded = world.history().iter().filter(|row| row.ends_with("succeeded")).count();
    assert!(succeeded >= 3, "{:?}", world.history());
}

#[test]
fn a_clock_that_is_lost_for_a_while_decides_nothing_and_is_no_second_start() {
    let world = World::new();
    let jobs = [
        idle("each-hour", |spec| spec.schedule = Schedule::parse("0 * * * *", Zone::UTC).unwrap()),
        idle("at-start", |spec| spec.schedule = Schedule::parse("@reboot", Zone::UTC).unwrap()),
    ];
    let mut scheduler = world.start(1, &jobs);
    assert_eq!(world.next(), "at-start@12:00 running");
    assert_eq!(world.next(), "at-start@12:00 succeeded");
    let back = noon() - DateTime::UNIX_EPOCH;
    world.clock.step(-back);
    world.until("told", |status| status.clock_not_set.is_some());
    for _ in 0..3 {
        world.pass(3600);
    }
    scheduler.reload(world.settings(1, &jobs));
    world.quiet();
    world.clock.step(back);
    assert_eq!(world.next_by_another_look(), "each-hour@13:00 skipped(coalesced) x2");
    assert_eq!(world.next(), "each-hour@15:00 running +2");
    assert_eq!(world.next(), "each-hour@15:00 succeeded +2");
    world.quiet();
    scheduler.stop();
}

/// It used to be given up, as if other runs of the job were there.
#[test]
fn a_run_that_was_cut_off_begins_again_once_the_clock_is_set() {
    let world = World::new();
    let again = |spec: &mut JobSpec| {
        spec.schedule = Schedule::parse("0 14 * * *", Zone::UTC).unwrap();
        spec.policy.rerun_interrupted = true;
    };
    let (backup, began, _gate) = gated("backup", again);
    let mut scheduler = world.start(1, &[backup]);
    world.pass(2 * 3600);
    began.recv_timeout(PATIENCE).unwrap();
    scheduler.request_stop();
    scheduler.request_stop();
    scheduler.stop();
    while world.events.try_recv().is_ok() {}

    let back = noon() - DateTime::UNIX_EPOCH;
    world.clock.step(-back);
    let mut scheduler = world.start(1, &[idle("backup", again)]);
    world.until("told", |status| status.clock_not_set.is_some());
    world.pass(3600);
    world.quiet();
    world.clock.step(back);
    assert_eq!(world.next_by_another_look(), "backup@14:00 running");
    assert_eq!(world.next(), "backup@14:00 succeeded");
    scheduler.stop();
}

/// Its end is dated 1970, and the job after it used to be 56 years late.
#[test]
fn a_job_follows_a_run_that_ended_while_the_clock_was_not_set() {
    let world = World::new();
    let first_line = |spec: &mut JobSpec| {
        spec.schedule = Schedule::parse("0 14 * * *", Zone::UTC).unwrap();
    };
    let (first, began, gate) = gated("first", first_line);
    let then = idle("then", |spec| {
        spec.schedule = Schedule::parse_lines::<&str>(&[], Zone::UTC).unwrap();
        spec.after = Some(After { job: JobName::new("first"), on: AfterOutcome::Success });
    });
    let mut scheduler = world.start(2, &[first, then]);
    world.pass(2 * 3600);
    assert_eq!(world.next(), "first@14:00 running");
    began.recv_timeout(PATIENCE).unwrap();
    let back = noon() - DateTime::UNIX_EPOCH;
    world.clock.step(-back);
    world.until("told", |status| status.clock_not_set.is_some());
    gate.send_timeout((), PATIENCE).unwrap();
    assert_eq!(world.next(), "first@14:00 succeeded");
    world.pass(3600);
    world.clock.step(back);
    assert!(world.next_by_another_look().starts_with("then@"));
    let then = world.next_run();
    assert_eq!((then.state, then.lateness_s), (RunState::Succeeded, 0.0));
    scheduler.stop();
}
