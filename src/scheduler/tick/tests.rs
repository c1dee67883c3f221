//! The threads as a whole, on a clock that the test moves. Every wait is for an event and bounded.

mod clock;
mod day;
mod file;
mod lead;
mod stops;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::clock::{Clock, ManualClock, Moment};
use crate::config::{After, AfterOutcome, JobName, JobSpec, Overlap};
use crate::gate::{LeaseGate, Look, Pause};
use crate::history::{History, Recorder, Row};
use crate::job::{
    JobError, NoProgress, RunContext, RunOptions, RunRecord, RunReport, RunState, Skip, SkipReason,
    Trigger,
};
use crate::schedule::{Schedule, Zone};
use crate::scheduler::health;
use crate::scheduler::manual::{ManualRun, run_now};
use crate::scheduler::testing::{job, noon};
use crate::scheduler::{
    ConfiguredJob, Ending, Event, Scheduler, Settings, Setup, StartError, Status,
};
use crate::state::Durability;
use crate::stop::Stop;

/// Long enough for the slowest machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(300);

/// A state folder, a clock, and what is seen of the scheduler on them.
struct World {
    clock: Arc<ManualClock>,
    temp: tempfile::TempDir,
    /// Each row that was told, and whether it was told before.
    events: Receiver<(Row, bool)>,
    tell: Sender<(Row, bool)>,
    status: Arc<Mutex<Status>>,
    /// How many rounds the tick thread has done.
    rounds: Arc<AtomicUsize>,
    paused: Arc<AtomicBool>,
    grace: Duration,
}

impl World {
    fn new() -> World {
        let (tell, events) = unbounded();
        World {
            clock: Arc::new(ManualClock::at(noon())),
            temp: tempfile::tempdir().unwrap(),
            events,
            tell,
            status: Arc::default(),
            rounds: Arc::default(),
            paused: Arc::default(),
            grace: Duration::from_secs(30),
        }
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("state")
    }

    fn settings(&self, workers: usize, jobs: &[ConfiguredJob]) -> Settings {
        let paused = Arc::clone(&self.paused);
        Settings {
            jobs: jobs.to_vec(),
            workers,
            shutdown_grace_time: self.grace,
            history_days: 90,
            pause: Look::here(move || {
                let by_a_test = || Pause::of(None, Some("a test says so".to_owned()));
                paused.load(Ordering::SeqCst).then(by_a_test).flatten()
            }),
        }
    }

    fn try_start(&self, workers: usize, jobs: &[ConfiguredJob]) -> Result<Scheduler, StartError> {
        self.start_with(workers, jobs, None)
    }

    fn start_with(
        &self,
        workers: usize,
        jobs: &[ConfiguredJob],
        lease: Option<LeaseGate>,
    ) -> Result<Scheduler, StartError> {
        self.start_by(self.settings(workers, jobs), lease)
    }

    fn start_by(
        &self,
        settings: Settings,
        lease: Option<LeaseGate>,
    ) -> Result<Scheduler, StartError> {
        let tell = self.tell.clone();
        let (status, rounds) = (Arc::clone(&self.status), Arc::clone(&self.rounds));
        Scheduler::start(Setup {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            built: "2026-01-01T00:00:00Z".parse().unwrap(),
            config: None,
            state_dir: self.dir(),
            lease,
            settings,
            observers: vec![Box::new(move |event: &Event<'_>| {
                let told = match *event {
                    Event::Run(record) => (Row::Run(record.clone()), false),
                    Event::Skip { skip, repeated } => (Row::Skip(skip.clone()), repeated),
                };
                tell.send(told).unwrap();
            })],
            heartbeat: Box::new(move |now| {
                *status.lock().unwrap() = now.clone();
                rounds.fetch_add(1, Ordering::SeqCst);
            }),
        })
    }

    fn start(&self, workers: usize, jobs: &[ConfiguredJob]) -> Scheduler {
        self.try_start(workers, jobs).unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    #[track_caller]
    fn next_run(&self) -> RunRecord {
        match self.events.recv_timeout(PATIENCE).expect("something happens") {
            (Row::Run(run), _) => run,
            (Row::Skip(skip), _) => panic!("a run was expected, not {skip:?}"),
        }
    }

    /// And whether it was told before.
    #[track_caller]
    fn next_skip(&self) -> (Skip, bool) {
        match self.events.recv_timeout(PATIENCE).expect("something happens") {
            (Row::Skip(skip), repeated) => (skip, repeated),
            (Row::Run(run), _) => panic!("a skip was expected, not {run:?}"),
        }
    }

    /// The next event, as `job@minute state`, with the reason of a skip and the count of a stretch.
    #[track_caller]
    fn next(&self) -> String {
        let (row, _) = self.events.recv_timeout(PATIENCE).expect("something happens");
        line(&row)
    }

    /// The next event, where nothing is due that would wake the tick: a look that it had begun before the clock was moved
    /// did not see the new time.
    #[track_caller]
    fn next_by_another_look(&self) -> String {
        let done = SystemPatience::new();
        loop {
            self.pass(0);
            if let Ok((row, _)) = self.events.recv_timeout(Duration::from_millis(20)) {
                return line(&row);
            }
            assert!(!done.over(), "nothing happens");
        }
    }

    /// The tick thread has done all there is to do at this time.
    fn settled(&self) {
        let before = self.rounds.load(Ordering::SeqCst);
        let done = SystemPatience::new();
        // The first may have begun before the clock was moved.
        while self.rounds.load(Ordering::SeqCst) < before + 2 {
            assert!(!done.over(), "the tick thread does not go round");
            self.pass(0);
            std::thread::yield_now();
        }
    }

    /// Nothing happened that the test has not looked at. Only where no run is going on.
    #[track_caller]
    fn quiet(&self) {
        assert_eq!(self.events.try_recv().map(|(row, _)| line(&row)).ok(), None);
    }

    #[track_caller]
    fn until(&self, what: &str, mut is: impl FnMut(&Status) -> bool) {
        let done = SystemPatience::new();
        while !is(&self.status.lock().unwrap()) {
            assert!(!done.over(), "{what}: {:?}", self.status.lock().unwrap());
            std::thread::yield_now();
        }
    }

    /// The history, the oldest first.
    fn history(&self) -> Vec<String> {
        let mut rows = History::open(&self.dir()).unwrap().unwrap().recent(None, 1000).unwrap();
        rows.reverse();
        rows.iter().map(line).collect()
    }
}

struct SystemPatience(Duration);

impl SystemPatience {
    fn new() -> SystemPatience {
        SystemPatience(crate::clock::SystemClock.monotonic() + PATIENCE)
    }

    fn over(&self) -> bool {
        crate::clock::SystemClock.monotonic() > self.0
    }
}

fn line(row: &Row) -> String {
    let mut line =
        format!("{}@{} {}", row.job(), row.scheduled_for().format("%H:%M"), row.outcome());
    match row {
        Row::Run(run) if run.coalesced > 0 => line += &format!(" +{}", run.coalesced),
        Row::Run(_) => {}
        Row::Skip(skip) => {
            line += &format!("({})", skip.reason.as_str());
            if skip.count > 1 {
                line += &format!(" x{}", skip.count);
            }
        }
    }
    line
}

fn nothing(_: &mut JobSpec) {}

fn idle(name: &str, change: impl FnOnce(&mut JobSpec)) -> ConfiguredJob {
    job(name, change, |_| Ok(RunReport::new()))
}

/// A job that says when it has begun and goes on until it is let go.
fn gated(
    name: &str,
    change: impl FnOnce(&mut JobSpec),
) -> (ConfiguredJob, Receiver<DateTime<Utc>>, Sender<()>) {
    let (began, beginnings) = unbounded();
    let (gate, opened) = bounded(0);
    let run = move |ctx: &RunContext<'_>| {
        began.send(ctx.scheduled_for).unwrap();
        let done = SystemPatience::new();
        while !done.over() {
            if opened.recv_timeout(Duration::from_millis(5)).is_ok() {
                return Ok(RunReport::new());
            }
            ctx.checkpoint()?;
        }
        Err(JobError::permanent("nobody opened the gate"))
    };
    (job(name, change, run), beginnings, gate)
}

#[test]
fn what_is_due_runs_once_and_on_time() {
    let world = World::new();
    let mut scheduler = world.start(2, &[idle("a", nothing)]);
    world.pass(59);
    world.quiet();
    world.pass(1);
    assert_eq!(world.next(), "a@12:01 running");
    assert_eq!(world.next(), "a@12:01 succeeded");
    world.pass(60);
    assert_eq!(world.next(), "a@12:02 running");
    assert_eq!(world.next(), "a@12:02 succeeded");
    assert_eq!(scheduler.stop(), Ending::default());
    assert_eq!(scheduler.stop(), Ending::default(), "a second time does nothing");
    assert_eq!(world.history(), ["a@12:01 succeeded", "a@12:02 succeeded"]);
}

#[test]
fn a_second_scheduler_on_one_folder_is_refused() {
    let world = World::new();
    let _first = world.start(1, &[]);
    let error = world.try_start(1, &[]).err().unwrap().to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
}

#[test]
fn what_fell_due_in_a_downtime_is_judged_at_the_start() {
    let world = World::new();
    let jobs = [idle("newest", nothing), idle("order", |spec| spec.policy.coalesce = false)];
    drop(world.start(1, &jobs));
    world.pass(1000);
    let mut scheduler = world.start(1, &jobs);
    let mut seen: Vec<String> = (0..14).map(|_| world.next()).collect();
    seen.sort();
    // 12:11 is 340 s late at 12:16:40; 12:12 is 280 s late, and in time.
    let mut expected = vec![
        "newest@12:01 skipped(coalesced) x15".to_owned(),
        "newest@12:16 running +15".to_owned(),
        "newest@12:16 succeeded +15".to_owned(),
        "order@12:01 skipped(misfire) x11".to_owned(),
    ];
    for minute in 12..=16 {
        expected.push(format!("order@12:{minute} running"));
        expected.push(format!("order@12:{minute} succeeded"));
    }
    expected.sort();
    assert_eq!(seen, expected);
    scheduler.stop();
    let history = world.history();
    let in_order = history.iter().filter(|row| row.starts_with("order@"));
    assert!(in_order.is_sorted(), "{history:?}");
}

/// The second downtime used to go unsaid, as its skips only make the row of the first one longer.
#[test]
fn each_downtime_is_told_although_their_skips_share_a_row() {
    let world = World::new();
    let jobs = [idle("a", |spec| spec.policy.misfire_grace_time = Some(Duration::ZERO))];
    drop(world.start(1, &jobs));
    world.pass(30);
    for _ in 0..2 {
        world.pass(600);
        drop(world.start(1, &jobs));
        let (skip, repeated) = world.next_skip();
        assert_eq!((skip.reason, skip.count, repeated), (SkipReason::Misfire, 10, false));
    }
    assert_eq!(world.history(), ["a@12:01 skipped(misfire) x20"]);
}

#[test]
fn a_pause_skips_is_told_once_and_ends_without_a_burst() {
    let world = World::new();
    let mut scheduler = world.start(1, &[idle("a", nothing)]);
    world.paused.store(true, Ordering::SeqCst);
    world.pass(60);
    let (first, repeated) = world.next_skip();
    assert_eq!((first.reason, first.count, repeated), (SkipReason::Paused, 1, false));
    world.until("told why", |status| status.paused.as_deref() == Some("a test says so"));
    for _ in 0..3 {
        world.pass(60);
        assert!(world.next_skip().1, "not told again");
    }
    world.paused.store(false, Ordering::SeqCst);
    world.pass(60);
    assert_eq!(world.next(), "a@12:05 running");
    assert_eq!(world.next(), "a@12:05 succeeded");
    world.paused.store(true, Ordering::SeqCst);
    world.pass(60);
    assert!(!world.next_skip().1, "another pause");
    scheduler.stop();
    let expected = ["a@12:01 skipped(paused) x4", "a@12:05 succeeded", "a@12:06 skipped(paused)"];
    assert_eq!(world.history(), expected);
}

#[test]
fn a_busy_job_skips_or_lets_the_newest_wait() {
    let world = World::new();
    let (skips, skips_began, skips_gate) = gated("skips", nothing);
    let (queues, queues_began, queues_gate) =
        gated("queues", |spec| spec.policy.overlap = Overlap::Queue);
    let mut scheduler = world.start(2, &[skips, queues]);
    world.pass(60);
    let at = skips_began.recv_timeout(PATIENCE).unwrap();
    assert_eq!(queues_began.recv_timeout(PATIENCE).unwrap(), at);
    let mut started = [world.next(), world.next()];
    started.sort();
    assert_eq!(started, ["queues@12:01 running", "skips@12:01 running"]);
    world.pass(60);
    assert_eq!(world.next(), "skips@12:02 skipped(overlap)");
    world.pass(60);
    let mut skipped = [world.next(), world.next()];
    skipped.sort();
    assert_eq!(skipped, ["queues@12:02 skipped(overlap)", "skips@12:03 skipped(overlap)"]);
    queues_gate.send_timeout((), PATIENCE).unwrap();
    assert_eq!(queues_began.recv_timeout(PATIENCE).unwrap(), at + TimeDelta::minutes(2));
    queues_gate.send_timeout((), PATIENCE).unwrap();
    skips_gate.send_timeout((), PATIENCE).unwrap();
    scheduler.stop();
    let mut history = world.history();
    history.sort();
    let expected = [
        "queues@12:01 succeeded",
        "queues@12:02 skipped(overlap)",
        "queues@12:03 succeeded",
        "skips@12:01 succeeded",
        "skips@12:02 skipped(overlap) x2",
    ];
    assert_eq!(history, expected);
    let rows = History::open(&world.dir()).unwrap().unwrap().recent(None, 10).unwrap();
    let waited = rows.iter().find(|row| line(row) == "queues@12:03 succeeded").unwrap();
    let waited = waited.run().unwrap();
    assert_eq!((waited.lateness_s, waited.queue_wait_s), (0.0, Some(0.0)));
}

#[test]
fn a_run_elsewhere_is_counted_and_waited_for() {
    let world = World::new();
    let mut scheduler = world.start(1, &[idle("a", |spec| spec.policy.overlap = Overlap::Queue)]);
    let mut other = Recorder::open(&world.dir()).unwrap();
    let manual = RunRecord {
        trigger: Trigger::Manual,
        state: RunState::Running,
        ..crate::scheduler::testing::record("a", noon())
    };
    let (row, _) = other.write(Durability::Process, |w| w.run(&manual, 0, 0)).unwrap().unwrap();
    world.pass(60);
    world.until("seen", |status| {
        status.next.as_ref().is_some_and(|(at, _)| *at > noon() + TimeDelta::minutes(1))
    });
    world.pass(20);
    world.quiet();
    other.write(Durability::Process, |w| w.finish(row, &manual)).unwrap();
    world.pass(1);
    assert_eq!(world.next(), "a@12:01 running");
    assert_eq!(world.next(), "a@12:01 succeeded");
    scheduler.stop();
    let rows = History::open(&world.dir()).unwrap().unwrap().recent(None, 1).unwrap();
    let run = rows[0].run().unwrap();
    assert_eq!((run.lateness_s, run.queue_wait_s), (0.0, Some(21.0)));
}

#[test]
fn a_panic_ends_the_run_and_not_the_worker() {
    let world = World::new();
    let runs = AtomicUsize::new(0);
    let shaky = job("shaky", nothing, move |_| {
        assert!(runs.fetch_add(1, Ordering::SeqCst) > 0, "the first time");
        Ok(RunReport::new())
    });
    let mut scheduler = world.start(1, &[shaky]);
    world.pass(60);
    assert_eq!(
        (world.next().as_str(), world.next().as_str()),
        ("shaky@12:01 running", "shaky@12:01 failed")
    );
    world.pass(60);
    assert_eq!(
        (world.next().as_str(), world.next().as_str()),
        ("shaky@12:02 running", "shaky@12:02 succeeded")
    );
    scheduler.stop();
}

#[test]
fn a_reload_keeps_what_is_the_same() {
    let world = World::new();
    let hourly = |spec: &mut JobSpec| {
        spec.schedule =
            crate::schedule::Schedule::parse("0 * * * *", crate::schedule::Zone::UTC).unwrap();
    };
    let (gone, gone_began, gone_gate) = gated("gone", nothing);
    let off = |spec: &mut JobSpec| spec.enabled = false;
    let mut scheduler = world.start(1, &[idle("same", nothing), gone, idle("off", off)]);
    world.pass(60);
    gone_began.recv_timeout(PATIENCE).unwrap();
    // The one worker is held; what is due in the same moment as the reload is decided by the old settings.
    world.pass(60);
    scheduler.reload(
        world.settings(2, &[idle("same", nothing), idle("off", nothing), idle("new", hourly)]),
    );
    gone_gate.send_timeout((), PATIENCE).unwrap();
    let mut seen: Vec<String> = (0..6).map(|_| world.next()).collect();
    seen.sort();
    let expected = [
        "gone@12:01 running",
        "gone@12:01 succeeded",
        "gone@12:02 skipped(overlap)",
        "same@12:01 running",
        "same@12:01 succeeded",
        "same@12:02 skipped(overlap)",
    ];
    assert_eq!(seen, expected);
    world.pass(60);
    let mut seen: Vec<String> = (0..4).map(|_| world.next()).collect();
    seen.sort();
    assert_eq!(
        seen,
        ["off@12:03 running", "off@12:03 succeeded", "same@12:03 running", "same@12:03 succeeded"]
    );
    scheduler.stop();
    let mut recorder = Recorder::open(&world.dir()).unwrap();
    let known: BTreeMap<JobName, String> = recorder
        .remembered()
        .unwrap()
        .into_iter()
        .map(|(name, known)| (name, known.schedule))
        .collect();
    assert_eq!(known[&JobName::new("gone")], "");
    assert_eq!(known[&JobName::new("new")], "0 * * * * UTC");
    recorder.prune(noon(), 1).unwrap();
}

#[test]
fn a_deaf_run_gets_a_stand_in() {
    let world = World::new();
    let gate = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&gate);
    let (began, beginnings) = unbounded();
    let short = |spec: &mut JobSpec| spec.policy.timeout = Some(Duration::from_secs(10));
    let deaf = job("a-deaf", short, move |_| {
        began.send(()).unwrap();
        let done = SystemPatience::new();
        while !opened.load(Ordering::SeqCst) && !done.over() {
            std::thread::yield_now();
        }
        Ok(RunReport::new())
    });
    let mut scheduler = world.start(1, &[deaf, idle("b-quick", nothing)]);
    world.pass(60);
    beginnings.recv_timeout(PATIENCE).unwrap();
    assert_eq!(world.next(), "a-deaf@12:01 running");
    world.pass(24);
    world.quiet();
    // 10 s of its own and 15 s to notice.
    world.pass(1);
    assert_eq!(world.next_by_another_look(), "b-quick@12:01 running");
    assert_eq!(world.next(), "b-quick@12:01 succeeded");
    gate.store(true, Ordering::SeqCst);
    assert_eq!(world.next(), "a-deaf@12:01 succeeded");
    world.pass(35);
    let mut seen: Vec<String> = (0..4).map(|_| world.next()).collect();
    seen.sort();
    assert_eq!(seen[2..], ["b-quick@12:02 running", "b-quick@12:02 succeeded"]);
    scheduler.stop();
}

#[test]
fn a_look_at_the_pause_is_told_of_when_it_is_five_seconds_late_and_the_last_answer_counts() {
    let world = World::new();
    let (answer, answers) = unbounded::<Option<Pause>>();
    let look = Look::on_thread("pause", None, move || answers.recv().unwrap_or_default()).unwrap();
    let jobs = [idle("a", nothing)];
    let settings = Settings { pause: look, ..world.settings(1, &jobs) };
    let mut scheduler = world.start_by(settings, None).unwrap();
    let unknown_since = || world.status.lock().unwrap().pause_unknown_since;
    let reasons = || {
        let moment = Moment::of(&*world.clock);
        health::of(&world.dir(), moment).reasons
    };
    world.settled();
    world.pass(4);
    world.settled();
    assert_eq!((unknown_since(), reasons()), (None, Vec::new()), "late by a moment is no alarm");
    world.pass(1);
    world.settled();
    assert_eq!(unknown_since(), Some(noon()));
    assert_eq!(reasons(), ["pause file cannot be looked at since 2026-08-24T12:00:00Z"]);
    // Nobody had paused when that was last known.
    world.pass(55);
    assert_eq!(world.next(), "a@12:01 running");
    assert_eq!(world.next(), "a@12:01 succeeded");

    answer.send(Pause::of(None, Some("a test".to_owned()))).unwrap();
    let done = SystemPatience::new();
    while unknown_since().is_some() || world.status.lock().unwrap().paused.is_none() {
        assert!(!done.over(), "the answer is not heard");
        world.pass(1);
        world.settled();
    }
    assert_eq!(reasons(), Vec::<String>::new());
    scheduler.stop();
}

#[test]
fn a_job_runs_after_another_and_at_each_start() {
    let world = World::new();
    let after = |job: &str| {
        let after = After { job: JobName::new(job), on: AfterOutcome::Success };
        move |spec: &mut JobSpec| {
            spec.schedule = Schedule::parse_lines::<&str>(&[], Zone::UTC).unwrap();
            spec.after = Some(after);
        }
    };
    let at_start = |spec: &mut JobSpec| {
        spec.schedule = Schedule::parse("@reboot", Zone::UTC).unwrap();
    };
    let jobs = [
        idle("first", at_start),
        idle("second", after("first")),
        idle("third", after("second")),
        idle("manual-first", |spec| spec.manual_only = true),
        idle("by-hand", after("manual-first")),
    ];
    let mut scheduler = world.start(1, &jobs);
    for name in ["first", "second", "third"] {
        assert_eq!(world.next(), format!("{name}@12:00 running"));
        assert_eq!(world.next(), format!("{name}@12:00 succeeded"));
    }
    // A reload is no start.
    scheduler.reload(world.settings(1, &jobs));
    world.quiet();
    // A run by hand in another process: its end is in the state file, and the daemon finds it there.
    let clock: Arc<dyn Clock> = world.clock.clone();
    let run = ManualRun {
        clock: &clock,
        state_dir: &world.dir(),
        job: &jobs[3],
        followers: vec![Arc::clone(&jobs[4].spec)],
        options: RunOptions::default(),
        progress: &NoProgress,
        stop: Stop::new(),
    };
    run_now(run).unwrap();
    world.pass(30);
    assert_eq!(world.next_by_another_look(), "by-hand@12:00 running");
    assert_eq!(world.next(), "by-hand@12:00 succeeded");
    scheduler.stop();
    let mut scheduler = world.start(1, &jobs[..1]);
    assert_eq!(world.next(), "first@12:00 running");
    assert_eq!(world.next(), "first@12:00 succeeded");
    scheduler.stop();
}

/// Two commands that hang used to stop everything for good, with one line and then silence.
#[test]
fn workers_that_are_held_for_five_minutes_are_told_and_named() {
    let world = World::new();
    let (hangs, began, gate) = gated("hangs", nothing);
    let mut scheduler = world.start(1, &[hangs, idle("waits", nothing)]);
    world.pass(60);
    began.recv_timeout(PATIENCE).unwrap();
    assert_eq!(world.next(), "hangs@12:01 running");
    world.pass(60);
    let mut skips = [world.next_skip().0, world.next_skip().0];
    skips.sort_by_key(|skip| skip.job.clone());
    let [hung, waiting] = skips;
    assert_eq!(hung.remark, None, "its run has begun");
    let why = waiting.remark.unwrap();
    assert!(why.starts_with("waits for a worker since 2026-08-24T12:01:00"), "{why}");
    world.until("not yet told", |status| status.starving.is_empty());
    for _ in 0..8 {
        world.pass(30);
    }
    world.until("told", |status| status.starving == [JobName::new("hangs")]);
    let health = health::of(&world.dir(), Moment::of(&*world.clock));
    assert_eq!(health.reasons, ["all workers are held while other runs wait: hangs"]);
    assert_eq!(health.sign.unwrap().held[0].job, "hangs");
    drop(gate);
    scheduler.request_stop();
    scheduler.request_stop();
    scheduler.stop();
}
