//! A day with a downtime, a pause, an overlap, a clock that is set twice and a run that is cut off: what the history
//! tells of it, whole.

use super::*;
use crate::schedule::{Schedule, Zone};

fn at(line: &str) -> impl Fn(&mut JobSpec) {
    move |spec| spec.schedule = Schedule::parse(line, Zone::UTC).unwrap()
}

impl World {
    /// Until everything that is due by now is decided and over, but for `running` runs.
    #[track_caller]
    fn settles(&self, running: usize) {
        let now = self.clock.now();
        self.until("settled", |status| {
            let is_decided = status.next.as_ref().is_some_and(|(next, _)| *next > now);
            is_decided && status.queued == 0 && status.running.len() == running
        });
    }

    /// Lets minutes pass, in steps short enough that nothing is late.
    #[track_caller]
    fn live(&self, minutes: u64, running: usize) {
        assert_eq!(minutes % 5, 0);
        for _ in 0..minutes / 5 {
            self.pass(300);
            self.settles(running);
        }
    }
}

#[test]
fn a_day_is_accounted_for() {
    let midnight = "2026-08-24T00:00:00Z".parse().unwrap();
    let world = World { clock: Arc::new(ManualClock::at(midnight)), ..World::new() };
    let (report, _began, report_gate) = gated("report", at("*/20 9 * * *"));
    let backup_line = |spec: &mut JobSpec| {
        at("0 20 * * *")(spec);
        spec.policy.rerun_interrupted = true;
    };
    let (backup, _began, _gate) = gated("backup", backup_line);
    let mut jobs = vec![
        idle("hourly", at("0 * * * *")),
        idle("nightly", at("30 3 * * *")),
        idle("lunch", at("15 13 * * *")),
        idle("tea", at("10 16 * * *")),
        report,
        backup,
    ];
    let scheduler = world.start(3, &jobs);
    world.live(130, 0);

    // Off from 02:10 to 05:03.
    drop(scheduler);
    world.pass(173 * 60);
    let scheduler = world.start(3, &jobs);
    world.settles(0);
    world.pass(120);
    world.live(85, 0);

    // Paused from 06:30 to 08:10.
    world.paused.store(true, Ordering::SeqCst);
    world.live(100, 0);
    world.paused.store(false, Ordering::SeqCst);

    // The report of 09:00 takes until 09:50.
    world.live(45, 0);
    world.live(55, 1);
    report_gate.send_timeout((), PATIENCE).unwrap();
    world.settles(0);

    // At 12:30 the clock is set to 14:30, and at 16:30 to 15:30.
    world.live(160, 0);
    world.clock.step(TimeDelta::hours(2));
    world.settles(0);
    world.live(120, 0);
    world.clock.step(TimeDelta::hours(-1));
    let four = noon() + TimeDelta::hours(4);
    world.until("four comes again", |status| {
        status.next.as_ref().is_some_and(|(next, _)| *next == four)
    });
    world.live(265, 0);

    // The backup of 20:00 is cut off and made again.
    world.live(5, 1);
    scheduler.request_stop();
    scheduler.request_stop();
    drop(scheduler);
    world.pass(300);
    jobs[5] = idle("backup", backup_line);
    let scheduler = world.start(3, &jobs);
    world.settles(0);
    world.live(235, 0);
    drop(scheduler);

    let expected = [
        "hourly@01:00 succeeded",
        "hourly@02:00 succeeded",
        "hourly@03:00 skipped(coalesced) x2",
        "nightly@03:30 skipped(misfire)",
        "hourly@05:00 succeeded +2",
        "hourly@06:00 succeeded",
        "hourly@07:00 skipped(paused) x2",
        "hourly@09:00 succeeded",
        "report@09:00 succeeded",
        "report@09:20 skipped(overlap) x2",
        "hourly@10:00 succeeded",
        "hourly@11:00 succeeded",
        "hourly@12:00 succeeded",
        // Jumped over: a job that follows the clock goes on, a fixed one is made up.
        "hourly@13:00 skipped(misfire) x2",
        "lunch@13:15 succeeded",
        "hourly@15:00 succeeded",
        "hourly@16:00 succeeded",
        "tea@16:10 succeeded",
        // Lived twice: a job that follows the clock is not silent, a fixed one does not run again.
        "hourly@16:00 succeeded",
        "hourly@17:00 succeeded",
        "hourly@18:00 succeeded",
        "hourly@19:00 succeeded",
        "backup@20:00 interrupted",
        "hourly@20:00 succeeded",
        "backup@20:00 succeeded",
        "hourly@21:00 succeeded",
        "hourly@22:00 succeeded",
        "hourly@23:00 succeeded",
        "hourly@00:00 succeeded",
    ];
    assert_eq!(world.history(), expected);
}
