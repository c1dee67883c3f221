//! The rules one at a time. Each test reads as a short story: a job, what the clock does, and what becomes of it.

use super::*;
use crate::config::{After, AfterOutcome, Overlap};
use crate::schedule::Zone;
use crate::scheduler::testing::{noon, spec};

fn berlin() -> Zone {
    Zone::parse("Europe/Berlin").unwrap()
}

/// One job, a planner, and clocks that move by hand. Everything it plans is recorded at once.
struct Story {
    spec: JobSpec,
    planner: Planner,
    known: Remembered,
    moment: Moment,
    around: Surroundings,
}

impl Story {
    fn at(start: &str, cron: &str, zone: Zone, change: impl FnOnce(&mut JobSpec)) -> Story {
        let mut spec = spec("job", cron, zone);
        change(&mut spec);
        let wall = start.parse().unwrap();
        let hour = Duration::from_secs(3600);
        let moment = Moment { wall, monotonic: hour, boottime: hour };
        let mut planner = Planner::new(moment, BTreeMap::new());
        planner.schedule([Arc::new(spec.clone())], wall);
        let known = Remembered {
            schedule: signature(&spec),
            decided_until: wall,
            epoch: 0,
            waiting: Vec::new(),
        };
        Story { spec, planner, known, moment, around: Surroundings::default() }
    }

    /// A job that starts to be scheduled at noon, UTC.
    fn new(cron: &str, change: impl FnOnce(&mut JobSpec)) -> Story {
        Story::at(&noon().to_rfc3339(), cron, Zone::UTC, change)
    }

    fn pass(&mut self, seconds: i64) -> &mut Story {
        let passed = Duration::from_secs(seconds.unsigned_abs());
        self.moment.wall += TimeDelta::seconds(seconds);
        self.moment.monotonic += passed;
        self.moment.boottime += passed;
        self
    }

    fn sleep(&mut self, seconds: i64) -> &mut Story {
        self.moment.wall += TimeDelta::seconds(seconds);
        self.moment.boottime += Duration::from_secs(seconds.unsigned_abs());
        self
    }

    fn set_clock(&mut self, seconds: i64) -> &mut Story {
        self.moment.wall += TimeDelta::seconds(seconds);
        self
    }

    fn job(&self) -> JobName {
        self.spec.name.clone()
    }

    /// Plans, records and accepts; the decisions, one a line.
    fn decide(&mut self) -> Vec<String> {
        let plan = self.planner.plan(self.moment, &self.around);
        for mark in &plan.marks {
            (self.known.decided_until, self.known.epoch) = (mark.decided_until, mark.epoch);
        }
        for wait in &plan.waits {
            let key = (wait.instant, wait.epoch);
            if wait.begins {
                self.known.waiting.push(key);
            } else {
                self.known.waiting.retain(|other| *other != key);
            }
        }
        let lines = plan.decisions.iter().map(line).collect();
        self.planner.accept(plan);
        lines
    }

    #[track_caller]
    fn decides(&mut self, expected: &[&str]) -> &mut Story {
        assert_eq!(self.decide(), expected);
        self
    }

    fn run_ends(&mut self) -> &mut Story {
        let job = self.job();
        self.planner.ended(&job);
        self
    }

    /// The program ends and starts again at once; runs in it are over.
    fn restart(&mut self) -> Vec<Notice> {
        let known = BTreeMap::from([(self.job(), self.known.clone())]);
        self.planner = Planner::new(self.moment, known);
        let plan = self.planner.schedule([Arc::new(self.spec.clone())], self.moment.wall);
        plan.notices
    }

    /// Lives through a stretch of time, minute by minute, each run ending before the next; the instants that ran.
    fn live(&mut self, minutes: i64) -> Vec<String> {
        let mut ran = Vec::new();
        for _ in 0..minutes {
            self.pass(60);
            let plan = self.planner.plan(self.moment, &self.around);
            for decision in &plan.decisions {
                assert!(matches!(decision.fate, Fate::Start { .. }), "{decision:?}");
                ran.push(decision.first.format("%H:%M").to_string());
            }
            self.planner.accept(plan);
            ran.last().inspect(|_| {
                let job = self.spec.name.clone();
                self.planner.ended(&job);
            });
        }
        ran
    }
}

fn line(decision: &Decision) -> String {
    let mut line = decision.first.format("%H:%M").to_string();
    if decision.count > 1 {
        line += &format!("-{} x{}", decision.last.format("%H:%M"), decision.count);
    }
    match decision.fate {
        Fate::Start { coalesced: 0, .. } => line += " run",
        Fate::Start { coalesced, .. } => line += &format!(" run for {coalesced} more"),
        Fate::Skip(reason) => line += &format!(" {}", reason.as_str()),
    }
    if !decision.lateness.is_zero() {
        line += &format!(" late {}", decision.lateness.as_secs());
    }
    if decision.epoch > 0 {
        line += &format!(" epoch {}", decision.epoch);
    }
    line
}

fn as_it_is(_: &mut JobSpec) {}

fn in_order(spec: &mut JobSpec) {
    spec.policy.coalesce = false;
    spec.policy.misfire_grace_time = None;
}

fn queues(spec: &mut JobSpec) {
    spec.policy.overlap = Overlap::Queue;
}

#[test]
fn late_is_judged_against_the_grace_in_whole_seconds() {
    Story::new("0 * * * *", as_it_is).pass(3600 + 300).decides(&["13:00 run late 300"]);
    Story::new("0 * * * *", as_it_is).pass(3600 + 301).decides(&["13:00 misfire late 301"]);
    let none = |spec: &mut JobSpec| spec.policy.misfire_grace_time = None;
    Story::new("0 13 * * *", none).pass(24 * 3600).decides(&["13:00 run late 82800"]);
    let zero = |spec: &mut JobSpec| spec.policy.misfire_grace_time = Some(Duration::ZERO);
    Story::new("0 * * * *", zero).pass(3600).decides(&["13:00 run"]);
}

#[test]
fn a_month_of_missed_minutes_is_two_lines() {
    let month = 30 * 24 * 3600;
    Story::new("* * * * *", as_it_is)
        .pass(month)
        .decides(&["12:01-11:59 x43199 coalesced late 2591940", "12:00 run for 43199 more"]);
    Story::new("* * * * *", in_order)
        .pass(month)
        .decides(&["12:01-11:50 x43190 misfire late 2591940", "11:51 run late 540"]);
}

#[test]
fn a_plan_that_was_not_recorded_changes_nothing() {
    let mut story = Story::new("* * * * *", as_it_is);
    story.pass(60);
    let dropped = story.planner.plan(story.moment, &story.around);
    assert_eq!(dropped.decisions.len(), 1);
    story.pass(60).decides(&["12:01 coalesced late 60", "12:02 run for 1 more"]);
    story.pass(1).decides(&[]);
}

#[test]
fn without_coalesce_what_was_missed_runs_in_order_one_at_a_time() {
    let mut story = Story::new("* * * * *", in_order);
    story.pass(180).decides(&["12:01 run late 120"]);
    // Lateness was judged; waiting for one's turn is not being late. What is new meanwhile finds the job busy.
    story.pass(60).decides(&["12:04 overlap"]);
    story.run_ends().pass(1).decides(&["12:02 run late 60"]);
    story.run_ends().pass(1).decides(&["12:03 run"]);
    story.run_ends().pass(1).decides(&[]);
    story.pass(57).decides(&["12:05 run"]);
}

#[test]
fn of_many_missed_the_ten_newest_run() {
    let mut story = Story::new("* * * * *", in_order);
    story.pass(1200).decides(&["12:01-12:10 x10 misfire late 1140", "12:11 run late 540"]);
    for minute in 12..=20 {
        story.run_ends();
        let lines = story.decide();
        assert!(lines[0].starts_with(&format!("12:{minute} run")) && lines.len() == 1, "{lines:?}");
    }
    story.run_ends().decides(&[]);
}

#[test]
fn what_waits_for_its_turn_survives_a_restart_and_is_judged_again() {
    let grace = |spec: &mut JobSpec| {
        in_order(spec);
        spec.policy.misfire_grace_time = Some(Duration::from_secs(200));
    };
    let mut story = Story::new("* * * * *", grace);
    story.pass(180).decides(&["12:01 run late 120"]);
    story.restart();
    story.pass(59).decides(&["12:02 run late 119"]);
    story.restart();
    // 12:04 fell due together with what comes back, and waits with it.
    story.pass(59).decides(&["12:03 run late 118"]);
    story.run_ends().decides(&["12:04 run late 58"]);
    let mut story = Story::new("* * * * *", grace);
    story.pass(180).decides(&["12:01 run late 120"]);
    story.restart();
    story.pass(3600);
    let lines = story.decide();
    assert_eq!(lines[..2], ["12:02 misfire late 3660", "12:03 misfire late 3600"], "{lines:?}");
}

#[test]
fn of_what_finds_the_job_busy_the_newest_may_wait() {
    let mut story = Story::new("* * * * *", queues);
    story.pass(60).decides(&["12:01 run"]);
    story.pass(60).decides(&[]);
    story.pass(60).decides(&["12:02 overlap"]);
    story.run_ends().pass(30).decides(&["12:03 run"]);
    story.run_ends().pass(30).decides(&["12:04 run"]);

    let mut story = Story::new("* * * * *", as_it_is);
    story.pass(60).decides(&["12:01 run"]);
    story.pass(120).decides(&["12:02-12:03 x2 overlap late 60"]);
    story.run_ends().pass(60).decides(&["12:04 run"]);
}

#[test]
fn runs_in_other_processes_count() {
    let mut story = Story::new("* * * * *", |spec| spec.policy.max_instances = 2);
    story.around.elsewhere.insert(story.job(), 1);
    story.pass(60).decides(&["12:01 run"]);
    story.pass(60).decides(&["12:02 overlap"]);
    let mut story = Story::new("* * * * *", queues);
    story.around.elsewhere.insert(story.job(), 1);
    story.pass(60).decides(&[]);
    let now = story.moment.wall;
    assert_eq!(story.planner.next_wake(now), Some(now + FOREIGN_POLL), "it looks again");
    story.around.elsewhere.clear();
    story.pass(5).decides(&["12:01 run"]);
    assert_eq!(story.planner.next_wake(now), Some(noon() + TimeDelta::minutes(2)));
}

#[test]
fn a_pause_skips_what_is_due_and_what_waits() {
    let mut story = Story::new("* * * * *", queues);
    story.pass(60).decides(&["12:01 run"]);
    story.pass(60).decides(&[]);
    story.around.paused = true;
    story.pass(60).decides(&["12:02 paused", "12:03 paused"]);
    story.pass(600).decides(&["12:04-12:13 x10 paused late 540"]);
    story.around.paused = false;
    story.run_ends().pass(59).decides(&[]);
    story.pass(1).decides(&["12:14 run"]);
}

#[test]
fn a_suspend_is_a_downtime() {
    let mut story = Story::new("*/10 * * * *", as_it_is);
    story.sleep(3600);
    let plan = story.planner.plan(story.moment, &story.around);
    assert_eq!(plan.notices, [Notice::Suspended(Duration::from_secs(3600))]);
    story.decides(&["12:10-12:50 x5 coalesced late 3000", "13:00 run for 5 more"]);
    Story::new("30 12 * * *", as_it_is).sleep(3600).decides(&["12:30 misfire late 1800"]);
}

#[test]
fn clock_forward_up_to_three_hours() {
    // A fixed job that was jumped over is due now, and not late.
    let mut story = Story::new("30 12 * * *", as_it_is);
    story.pass(10).set_clock(3 * 3600);
    let plan = story.planner.plan(story.moment, &story.around);
    assert_eq!(plan.notices, [Notice::Stepped(TimeDelta::hours(3))]);
    story.decides(&["12:30 run"]);
    Story::new("20,30,40 12 * * *", as_it_is)
        .set_clock(7200)
        .decides(&["12:20-12:30 x2 coalesced", "12:40 run for 2 more"]);
    // An instant missed before is as late as it was.
    Story::new("10,40 12 * * *", in_order)
        .pass(900)
        .set_clock(3600)
        .decides(&["12:10 run late 300"]);
    // A job that follows the clock goes on.
    let mut story = Story::new("*/10 * * * *", as_it_is);
    story.pass(30).set_clock(2400).decides(&["12:10-12:40 x4 misfire"]);
    story.pass(570).decides(&["12:50 run"]);
    // An instant that fell due since the last look may have come by itself.
    Story::new("*/10 * * * *", as_it_is)
        .set_clock(2390)
        .pass(20)
        .decides(&["12:10-12:30 x3 misfire", "12:40 run"]);
}

#[test]
fn clock_forward_by_more_is_like_a_downtime() {
    Story::new("30 12 * * *", as_it_is)
        .set_clock(3 * 3600 + 1)
        .decides(&["12:30 misfire late 9001"])
        .pass(24 * 3600 - 9001)
        .decides(&["12:30 run"]);
    Story::new("*/10 * * * *", as_it_is)
        .set_clock(24 * 3600)
        .decides(&["12:10-11:50 x143 coalesced late 85800", "12:00 run for 143 more"])
        .run_ends()
        .pass(600)
        .decides(&["12:10 run"]);
    // A board without a clock chip: the nightly job is not lost when its time is set after an outage.
    Story::new("0 14 * * *", |spec| spec.policy.misfire_grace_time = None)
        .set_clock(4 * 3600 + 1800)
        .decides(&["14:00 run late 9000"]);
}

fn waits(story: &mut Story, waits: &[Wait]) {
    story.known.waiting.extend(waits.iter().map(|wait| (wait.instant, wait.epoch)));
}

#[test]
fn a_start_is_an_occurrence_that_survives_a_crash() {
    let mut story = Story::at(&noon().to_rfc3339(), "@reboot", Zone::UTC, as_it_is);
    let begun = story.planner.started(noon());
    assert_eq!(begun.len(), 1);
    waits(&mut story, &begun);
    // A crash before it was decided: the next start has one of its own, and runs once for both.
    story.pass(60).restart();
    let begun = story.planner.started(story.moment.wall);
    waits(&mut story, &begun);
    story.decides(&["12:00 coalesced late 59", "12:01 run for 1 more"]).run_ends();
    // A reload is no start.
    let spec = Arc::new(story.spec.clone());
    story.planner.schedule([spec], story.moment.wall);
    story.pass(3600).decides(&[]);
}

#[test]
fn a_job_runs_after_the_end_it_asked_for() {
    let after = |on| {
        let mut story = Story::new("0 0 30 2 *", |spec| {
            spec.after = Some(After { job: JobName::new("first"), on });
        });
        story.pass(10);
        story
    };
    let first = JobName::new("first");
    for (on, fires) in [
        (AfterOutcome::Success, [true, false]),
        (AfterOutcome::Failure, [false, true]),
        (AfterOutcome::Any, [true, true]),
    ] {
        for (succeeded, fires) in [true, false].into_iter().zip(fires) {
            let mut story = after(on);
            let begun = story.planner.followed(&first, succeeded, story.moment.wall);
            assert_eq!(begun.len(), usize::from(fires), "{on:?} {succeeded}");
            waits(&mut story, &begun);
            story.decides(if fires { &["12:00 run"] } else { &[] });
        }
    }
    // Another job's end is none of its business; while it runs itself, an end finds it busy.
    let mut story = after(AfterOutcome::Any);
    assert!(story.planner.followed(&JobName::new("other"), true, noon()).is_empty());
    for _ in 0..2 {
        let begun = story.planner.followed(&first, true, story.moment.wall);
        waits(&mut story, &begun);
    }
    story.decides(&["12:00 coalesced", "12:00 run for 1 more"]);
    story.planner.followed(&first, true, story.moment.wall);
    story.decides(&["12:00 overlap"]);
    // Recorded by another process, and taken up once.
    story.run_ends();
    assert!(story.planner.adopt(&story.job(), story.moment.wall, 0));
    assert!(!story.planner.adopt(&story.job(), story.moment.wall, 0));
    story.decides(&["12:00 run"]);
}

/// A job that was disabled at 10:38 used to have no row for 10:38.
#[test]
fn what_a_schedule_named_until_it_goes_has_a_row() {
    let mut story = Story::new("* * * * *", as_it_is);
    story.pass(150);
    let plan = story.planner.schedule([], story.moment.wall);
    let lines: Vec<String> = plan.decisions.iter().map(line).collect();
    assert_eq!(lines, ["12:01-12:02 x2 disabled late 90"]);
    // The same where it went while the program was away, or got another line.
    for spec in [None, Some(Arc::new(spec("job", "0 3 * * *", Zone::UTC)))] {
        let mut story = Story::new("* * * * *", as_it_is);
        story.pass(150);
        let known = BTreeMap::from([(story.job(), story.known.clone())]);
        story.planner = Planner::new(story.moment, known);
        let plan = story.planner.schedule(spec, story.moment.wall);
        let lines: Vec<String> = plan.decisions.iter().map(line).collect();
        assert_eq!(lines, ["12:01-12:02 x2 disabled late 90"]);
    }
}

#[test]
fn clock_back_up_to_three_hours() {
    // A fixed job does not run again.
    let mut story = Story::new("30 12 * * *", as_it_is);
    story.pass(1800).decides(&["12:30 run"]);
    story.run_ends().set_clock(-3600).decides(&[]);
    assert_eq!(story.live(24 * 60), Vec::<String>::new());
    assert_eq!(story.live(61), ["12:30"]);
    // A job that follows the clock lives through the hour again, and says that it is another one.
    let mut story = Story::new("*/30 * * * *", as_it_is);
    story.pass(1800).decides(&["12:30 run"]);
    story.run_ends().set_clock(-1200).decides(&[]);
    story.pass(1200).decides(&["12:30 run epoch 1"]);
    // Nothing was decided in what comes again: nothing is special about it.
    let mut story = Story::new("*/30 * * * *", as_it_is);
    story.pass(2400).decides(&["12:30 misfire late 600"]);
    story.set_clock(-300).decides(&[]);
    story.pass(1500).decides(&["13:00 run"]);
    // A clock that is only adjusted.
    let mut story = Story::new("* * * * *", as_it_is);
    story.pass(60).decides(&["12:01 run"]);
    story.run_ends().set_clock(-2).decides(&[]);
    story.pass(2).decides(&[]);
    story.pass(60).decides(&["12:02 run"]);
}

#[test]
fn clock_back_by_more_is_a_new_time_for_every_job() {
    let mut story = Story::new("30 12 * * *", as_it_is);
    story.pass(1800).decides(&["12:30 run"]);
    story.run_ends().set_clock(-4 * 3600).decides(&[]);
    assert_eq!(story.live(4 * 60), ["12:30"]);
}

#[test]
fn a_start_behind_the_watermark_is_a_clock_set_back() {
    let ahead = |seconds| Notice::Ahead(JobName::new("job"), TimeDelta::seconds(seconds));
    let mut story = Story::new("0 * * * *", as_it_is);
    story.pass(3600).decides(&["13:00 run"]);
    story.set_clock(-600);
    assert_eq!(story.restart(), [ahead(600)]);
    story.pass(600).decides(&["13:00 run epoch 1"]);

    let mut story = Story::new("0 13 * * *", as_it_is);
    story.pass(3600).decides(&["13:00 run"]);
    story.set_clock(-600);
    assert_eq!(story.restart(), [ahead(600)]);
    story.pass(600).decides(&[]);
    story.set_clock(-4 * 3600);
    assert_eq!(story.restart(), [ahead(4 * 3600)]);
    story.pass(4 * 3600).decides(&["13:00 run epoch 1"]);
}

#[test]
fn jobs_are_compared_by_line_and_zone() {
    let mut story = Story::new("0 * * * *", as_it_is);
    let job = story.job();
    let schedule = |story: &mut Story, cron: &str, zone| {
        let spec = Arc::new(spec("job", cron, zone));
        story.planner.schedule([spec], story.moment.wall).notices
    };
    story.pass(1800);
    assert_eq!(schedule(&mut story, "0 * * * *", Zone::UTC), []);
    assert_eq!(schedule(&mut story, "0 * * * *", berlin()), [Notice::Changed(job.clone())]);
    assert_eq!(schedule(&mut story, "15 * * * *", berlin()), [Notice::Changed(job.clone())]);
    story.pass(2700).decides(&["13:15 run"]);
    story.pass(900);
    let gone = story.planner.schedule([], story.moment.wall);
    assert_eq!(gone.notices, [Notice::Gone(job.clone())]);
    assert_eq!(gone.marks[0].schedule, "");
    story.pass(3600).decides(&[]);
    // Back again: what fell due meanwhile is nobody's.
    assert_eq!(schedule(&mut story, "15 * * * *", berlin()), [Notice::New(job)]);
    story.run_ends().decides(&[]);
    story.pass(2700).decides(&["15:15 run"]);
}

#[test]
fn an_instant_that_may_have_run_under_another_line_is_another_one() {
    let mut story = Story::new("0 13 * * *", as_it_is);
    story.pass(3600).decides(&["13:00 run"]);
    story.run_ends().set_clock(-1800).decides(&[]);
    story.planner.schedule([Arc::new(spec("job", "0 * * * *", Zone::UTC))], story.moment.wall);
    story.pass(1800).decides(&["13:00 run epoch 1"]);
}

#[test]
fn what_waits_when_its_job_goes_is_decided() {
    let mut story = Story::new("* * * * *", queues);
    story.pass(60).decides(&["12:01 run"]);
    story.pass(60).decides(&[]);
    let plan = story.planner.schedule([], story.moment.wall);
    assert_eq!(plan.decisions.iter().map(line).collect::<Vec<_>>(), ["12:02 disabled"]);
    assert!(!plan.waits[0].begins);
    story.run_ends().decides(&[]);
}

#[test]
fn jitter_is_the_same_each_time_and_makes_nothing_late() {
    let jitter = |spec: &mut JobSpec| spec.policy.jitter = Duration::from_secs(50);
    let story = Story::new("*/5 * * * *", jitter);
    let mut seen = BTreeSet::new();
    for n in 1..=200 {
        let instant = noon() + TimeDelta::minutes(5 * n);
        let jitter = (judge::due_time(&story.spec, instant) - instant).num_seconds();
        assert!((0..=50).contains(&jitter), "{jitter}");
        seen.insert(jitter);
    }
    assert!(seen.len() > 40 && seen.contains(&0) && seen.contains(&50), "{seen:?}");

    let mut story = Story::new("*/5 * * * *", jitter);
    let due = story.planner.next_due().unwrap().0;
    let wait = (due - noon()).num_seconds();
    assert!(wait >= 300);
    story.pass(wait - 1).decides(&[]);
    story.restart();
    assert_eq!(story.planner.next_due().unwrap().0, due, "the same after a restart");
    story.pass(1).decides(&["12:05 run"]);
}

#[test]
fn jitter_never_reaches_the_next_instant() {
    let mut story = Story::new("* * * * *", |spec| spec.policy.jitter = Duration::from_secs(3600));
    let mut at = story.moment.wall;
    for _ in 0..50 {
        let instant = story.spec.schedule.next_after(at).unwrap();
        let due = judge::due_time(&story.spec, instant);
        assert!(due >= instant && due < instant + TimeDelta::seconds(60));
        at = instant;
    }
    // At 12:02 sharp the second one is rarely due, the first one always.
    story.pass(120);
    assert!(story.decide()[0].starts_with("12:01"));
}

#[test]
fn a_line_that_never_fires_costs_nothing() {
    let mut story = Story::new("0 0 30 2 *", as_it_is);
    assert_eq!(story.planner.next_wake(story.moment.wall), None);
    story.pass(366 * 24 * 3600).decides(&[]);
}

/// Berlin's clocks go from 02:00 to 03:00 on 2026-03-29 at 01:00 UTC, and from 03:00 back to 02:00 on 2026-10-25 at
/// 01:00 UTC. Times below are UTC.
#[test]
fn summer_time_begins_and_ends_in_the_running_planner() {
    let live =
        |start: &str, cron: &str, minutes| Story::at(start, cron, berlin(), as_it_is).live(minutes);
    // Half past two does not exist: once, at the first minute after the gap.
    assert_eq!(live("2026-03-28T22:00:00Z", "30 2 * * *", 48 * 60), ["01:00", "00:30"]);
    // A job that follows the clock has nothing in the gap.
    assert_eq!(
        live("2026-03-28T23:59:00Z", "*/30 * * * *", 122),
        ["00:00", "00:30", "01:00", "01:30", "02:00"]
    );
    assert_eq!(live("2026-03-28T22:00:00Z", "30 2-3 * * *", 24 * 60), ["01:00", "01:30"]);
    // Half past two comes twice: a fixed job in the first pass only.
    assert_eq!(live("2026-10-24T22:00:00Z", "30 2 * * *", 48 * 60), ["00:30", "01:30"]);
    assert_eq!(
        live("2026-10-24T23:45:00Z", "30 * * * *", 180),
        ["00:30", "01:30", "02:30"],
        "01:30 and 02:30 twice, and 03:30: every hour that passes"
    );
}

#[test]
fn a_downtime_over_the_end_of_summer_time_counts_every_hour_that_passed() {
    let mut story = Story::at("2026-10-24T21:59:00Z", "0 * * * *", berlin(), as_it_is);
    // Local midnight, one, two, two again, three.
    story
        .pass(4 * 3600 + 60)
        .decides(&["22:00-01:00 x4 coalesced late 14400", "02:00 run for 4 more"]);
    let mut story = Story::at("2026-10-24T21:59:00Z", "30 2 * * *", berlin(), as_it_is);
    story.pass(4 * 3600 + 60).decides(&["00:30 misfire late 5400"]);
}
