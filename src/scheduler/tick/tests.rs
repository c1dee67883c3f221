//! The threads as a whole, on a clock that the test moves. Every wait is for an event and bounded.

mod day;
mod lead;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::clock::{Clock, ManualClock, Moment};
use crate::config::{After, AfterOutcome, JobName, JobSpec, Overlap};
use crate::gate::{LeaseGate, Look};
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
                paused.load(Ordering::SeqCst).then(|| "a test says so".to_owned())
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
    let mut seen: Vec<String> = (0..3).map(|_| world.next()).collect();
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
    assert_eq!(world.next(), "a@12:01 running");
    assert_eq!(world.next(), "a@12:01 succeeded");
    world.until("well again", |status| status.fault.is_none());
    scheduler.stop();
    assert_eq!(world.history(), ["a@12:01 succeeded"]);
}

#[test]
fn a_look_at_the_pause_is_told_of_when_it_is_five_seconds_late_and_the_last_answer_counts() {
    let world = World::new();
    let (answer, answers) = unbounded::<Option<String>>();
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

    answer.send(Some("a test".to_owned())).unwrap();
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
