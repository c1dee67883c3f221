//! Random jobs in a random world: downtimes, crashes at the worst moment, commits that fail, suspends, clocks that are
//! set, boards without a clock chip that show 1970 until the net is there, pauses, reloads, runs in other processes. Two
//! things are checked after each step:
//!
//! - the *ledger*: from the rows alone, each instant of each job is decided once and none is left out;
//! - the *oracle*: an occurrence at a time, by walking over every minute, what must become of it.
//!
//! Both say anew when a line fires, in zones whose summer time begins and ends, and when that is due: neither asks the
//! code they check.
//!
//! `ACLARAI_SIM_SEED=7 ACLARAI_SIM_STEPS=5000 cargo test simulation` plays one history again, or a longer one.

mod calendar;
mod ledger;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use self::calendar::{EARLIEST, LINES, STARTS, UNSET, ZONES, due_time, follows_clock, instants};
use self::ledger::{Disk, Ledger};
use self::oracle::{Due, Expected, Key, oracle};
use super::{Decision, Fate, Plan, Planner, Surroundings, Wait};
use crate::clock::Moment;
use crate::config::{After, AfterOutcome, JobName, JobSpec, Overlap};
use crate::history::Remembered;
use crate::job::SkipReason;
use crate::schedule::{Schedule, Zone};
use crate::scheduler::testing::spec;

/// A small generator of numbers (splitmix64): the same everywhere for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }
}

/// The oracle's memory of a job in one life of the program.
#[derive(Clone)]
struct Model {
    decided_until: DateTime<Utc>,
    epoch: u32,
    /// Instant and epoch, lateness when judged (none: remembered), whether it is the pending one.
    waiting: Vec<(Key, Option<TimeDelta>, bool)>,
    /// From when on this line is scheduled in this epoch, or has been found complete.
    since: DateTime<Utc>,
    /// Whether there was a reason to look at it in the last round.
    looked_at: bool,
    /// The last demand, by a start or by the end of another job.
    demanded: Option<DateTime<Utc>>,
}

struct World {
    dice: Dice,
    boot: i64,
    slept: i64,
    /// Wall time minus boot time.
    offset: i64,
    /// The offset before the clock was lost.
    right_offset: i64,
    /// Jobs that are to be scheduled as soon as the clock is set.
    pending: Option<Vec<Arc<JobSpec>>>,
    /// Whether this life of the program has scheduled anything, and made the jobs due that run at its start.
    has_started: bool,
    paused: bool,
    specs: BTreeMap<JobName, Arc<JobSpec>>,
    models: BTreeMap<JobName, Model>,
    planner: Planner,
    last: Moment,
    disk: Disk,
    ledger: Ledger,
    /// Rows of runs in this process, with the boot second at which they end.
    runs: Vec<(usize, i64)>,
    elsewhere: BTreeMap<JobName, u32>,
    /// Jobs with something waiting whose turn may have come.
    stirred: BTreeSet<JobName>,
    /// Jobs with something waiting while another process ran them, when they were last looked at.
    watched: BTreeSet<JobName>,
    count: BTreeMap<String, u64>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice(seed);
        let boot = 1_000_000;
        let start = *dice.pick(&STARTS);
        let offset = start + dice.below(200_000) as i64 - boot;
        let moment = moment(boot, 0, offset);
        let mut world = World {
            dice,
            boot,
            slept: 0,
            offset,
            right_offset: offset,
            pending: None,
            has_started: true,
            paused: false,
            specs: BTreeMap::new(),
            models: BTreeMap::new(),
            planner: planner(moment, BTreeMap::new()),
            last: moment,
            disk: Disk::default(),
            ledger: Ledger::default(),
            runs: Vec::new(),
            elsewhere: BTreeMap::new(),
            stirred: BTreeSet::new(),
            watched: BTreeSet::new(),
            count: BTreeMap::new(),
        };
        let specs = (0..4).map(|at| world.random_spec(at)).collect();
        world.schedule(specs);
        world
    }

    fn now(&self) -> Moment {
        moment(self.boot, self.slept, self.offset)
    }

    /// Whether the clock is certainly wrong.
    fn is_unset(&self) -> bool {
        self.boot + self.offset < EARLIEST
    }

    fn lose_clock(&mut self) {
        if !self.is_unset() {
            self.right_offset = self.offset;
            self.offset = UNSET;
            self.counted("clock lost");
        }
    }

    /// By NTP, mostly to what it had been.
    fn set_clock(&mut self) {
        let slip = if self.dice.one_in(3) { self.random_step() } else { 0 };
        self.offset = self.right_offset + slip;
    }

    fn counted(&mut self, what: &str) {
        *self.count.entry(what.to_owned()).or_default() += 1;
    }

    fn random_spec(&mut self, at: usize) -> Arc<JobSpec> {
        let dice = &mut self.dice;
        let (line, _) = dice.pick(LINES);
        let mut spec = spec(
            &format!("job{at}"),
            line,
            Zone::parse(dice.pick::<&str>(&ZONES)).expect("a known zone"),
        );
        let policy = &mut spec.policy;
        let graces = [Some(0), Some(30), Some(300), Some(4000), None];
        policy.misfire_grace_time = dice.pick(&graces).map(Duration::from_secs);
        policy.coalesce = dice.one_in(2);
        policy.max_instances = *dice.pick(&[1, 1, 2, 3]);
        policy.overlap = *dice.pick(&[Overlap::Skip, Overlap::Queue]);
        policy.jitter = Duration::from_secs(*dice.pick(&[0, 0, 20, 90, 5000]));
        if dice.one_in(4) {
            let lines = ["@reboot", line];
            spec.schedule = Schedule::parse_lines(&lines, spec.timezone.clone()).unwrap();
        }
        let before = dice.below(4) as usize;
        if dice.one_in(3) && before != at {
            let outcomes = [AfterOutcome::Success, AfterOutcome::Failure, AfterOutcome::Any];
            let job = JobName::new(&format!("job{before}"));
            spec.after = Some(After { job, on: *dice.pick(&outcomes) });
        }
        Arc::new(spec)
    }

    /// New settings: some jobs changed, some gone, some back.
    fn reload(&mut self) {
        // A second at least lies between two things that can make a job due: nobody ends two runs in one microsecond.
        self.boot += 1;
        let mut specs = Vec::new();
        let before: Vec<Arc<JobSpec>> = match &self.pending {
            Some(specs) => specs.clone(),
            None => self.specs.values().cloned().collect(),
        };
        for at in 0..4 {
            let name = JobName::new(&format!("job{at}"));
            let known = before.iter().find(|spec| spec.name == name).cloned();
            match (self.dice.below(5), known) {
                (0, _) => {}
                (1, _) => specs.push(self.random_spec(at)),
                (2, Some(spec)) => {
                    // Another policy, the same line.
                    let mut changed = JobSpec::clone(&self.random_spec(at));
                    changed.schedule = spec.schedule.clone();
                    changed.timezone = spec.timezone.clone();
                    specs.push(Arc::new(changed));
                }
                (_, Some(spec)) => specs.push(spec),
                (_, None) => {}
            }
        }
        self.schedule_in_time(specs);
    }

    /// Schedules the jobs, or notes them until the clock is set.
    fn schedule_in_time(&mut self, specs: Vec<Arc<JobSpec>>) {
        if self.is_unset() {
            self.pending = Some(specs);
        } else {
            self.schedule(specs);
        }
    }

    /// Done at each look, before anything is decided: false where the clock is certainly wrong.
    fn look_at_clock(&mut self) -> bool {
        if self.is_unset() {
            return false;
        }
        if let Some(specs) = self.pending.take() {
            self.counted("scheduled once the clock is set");
            if !self.has_started {
                let moment = self.now();
                self.planner.observe(moment);
                self.last = moment;
            }
            self.schedule(specs);
            self.begin();
        }
        true
    }

    /// Makes the jobs due that run at each start.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_started, true) {
            let now = self.now().wall;
            let waits = self.planner.started(now);
            let at_start = |spec: &&Arc<JobSpec>| spec.schedule.to_string().starts_with("@reboot");
            let names =
                self.specs.values().filter(at_start).map(|spec| spec.name.clone()).collect();
            self.demanded(names, now, &waits, "at the start");
        }
    }

    fn schedule(&mut self, specs: Vec<Arc<JobSpec>>) {
        let now = self.now().wall;
        // Instants that a departing line named until now and nobody has decided.
        let mut dropped = BTreeSet::new();
        for (name, old) in &self.specs {
            let known = &self.disk.known[name];
            let stays = |new: &Arc<JobSpec>| new.name == *name && new.schedule == old.schedule;
            if !known.schedule.is_empty() && !specs.iter().any(stays) {
                let all = instants(old, known.decided_until, now);
                dropped.extend(all.into_iter().map(|at| (name.clone(), (at, known.epoch))));
            }
        }
        let plan = self.planner.schedule(specs.clone(), now);
        let mut models = BTreeMap::new();
        for spec in &specs {
            let signature = format!("{} {}", spec.schedule, spec.timezone);
            let same = self.specs.get(&spec.name).is_some_and(|old| old.schedule == spec.schedule);
            let known = self.disk.known.get(&spec.name);
            let model = match (self.models.get(&spec.name), known) {
                (Some(model), _) if same => model.clone(),
                (None, Some(known)) if known.schedule == signature => {
                    let mut model = Model {
                        decided_until: known.decided_until,
                        epoch: known.epoch,
                        waiting: known.waiting.iter().map(|key| (*key, None, false)).collect(),
                        since: known.decided_until,
                        looked_at: false,
                        demanded: None,
                    };
                    let ahead = (known.decided_until - now).num_seconds();
                    if ahead > 3 * 3600 || ahead > 2 && follows_clock(spec) {
                        self.counted("start behind the watermark");
                        model.since = now;
                        model.decided_until = now;
                        model.epoch += 1;
                    }
                    model
                }
                _ => {
                    let epoch =
                        known.map_or(0, |known| known.epoch + u32::from(known.decided_until > now));
                    let waiting = Vec::new();
                    let (since, looked_at, demanded) = (now, false, None);
                    Model { decided_until: now, epoch, waiting, since, looked_at, demanded }
                }
            };
            models.insert(spec.name.clone(), model);
        }
        for decision in &plan.decisions {
            assert_eq!(decision.fate, Fate::Skip(SkipReason::Disabled));
            let key = (decision.first, decision.epoch);
            let waited = self.disk.known[&decision.job].waiting.contains(&key);
            if !(waited && decision.count == 1) {
                let old = &self.specs[&decision.job];
                let all = instants(old, decision.first - TimeDelta::seconds(1), decision.last);
                for at in &all {
                    let dropped = dropped.remove(&(decision.job.clone(), (*at, decision.epoch)));
                    assert!(dropped, "{decision:?}");
                }
                self.counted("dropped with its line");
            }
            self.counted("disabled");
        }
        assert!(dropped.is_empty(), "not recorded: {dropped:?}");
        self.disk.write(&plan);
        self.ledger.check(&self.disk, &plan, &self.specs);
        let waits =
            |(name, model): (&JobName, &Model)| (!model.waiting.is_empty()).then(|| name.clone());
        self.stirred = models.iter().filter_map(waits).collect();
        self.watched.retain(|name| models.contains_key(name));
        self.models = models;
        self.specs = specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        for (name, known) in &self.disk.known {
            assert!(self.models.contains_key(name) != known.schedule.is_empty(), "{name}");
            let waits = self.models.get(name).map_or(0, |model| model.waiting.len());
            assert_eq!(known.waiting.len(), waits, "{name}");
        }
    }

    /// One look at the clock, as the tick thread takes it.
    fn tick(&mut self) {
        let ended: Vec<usize> =
            self.runs.iter().filter(|(_, end)| *end <= self.boot).map(|(row, _)| *row).collect();
        self.runs.retain(|(_, end)| *end > self.boot);
        for row in ended {
            self.disk.open.remove(&row);
            let job = self.disk.rows[row].job.clone();
            self.planner.ended(&job);
            if self.models.get(&job).is_some_and(|model| !model.waiting.is_empty()) {
                self.stirred.insert(job.clone());
            }
            let succeeded = self.dice.one_in(2);
            let end = self.now().wall;
            let waits = self.planner.followed(&job, succeeded, end);
            let follows = |after: &After| {
                after.job == job
                    && match after.on {
                        AfterOutcome::Any => true,
                        AfterOutcome::Success => succeeded,
                        AfterOutcome::Failure => !succeeded,
                    }
            };
            let followers =
                self.specs.values().filter(|spec| spec.after.as_ref().is_some_and(follows));
            let followers = followers.map(|spec| spec.name.clone()).collect();
            let why = if self.is_unset() {
                "after a run, by a clock that is not set"
            } else {
                "after a run"
            };
            self.demanded(followers, end, &waits, why);
        }
        if !self.look_at_clock() {
            return;
        }
        let moment = self.now();
        if !self.planner.has_work(moment) {
            assert!(self.expect(moment).1.is_empty(), "there is something to decide");
            self.planner.observe(moment);
            self.last = moment;
            return;
        }
        let around = Surroundings { paused: self.paused, elsewhere: self.elsewhere.clone() };
        let plan = self.planner.plan(moment, &around);
        let (models, expected) = self.expect(moment);
        self.compare(&plan, &expected);
        match self.dice.below(40) {
            0 => self.counted("commit failed"),
            1 => {
                self.counted("crash before the commit");
                self.restart();
            }
            2 => {
                self.counted("crash after the commit");
                self.disk.write(&plan);
                self.ledger.check(&self.disk, &plan, &self.specs);
                self.restart();
            }
            _ => {
                let first = self.disk.rows.len();
                self.disk.write(&plan);
                self.ledger.check(&self.disk, &plan, &self.specs);
                for row in first..self.disk.rows.len() {
                    if self.disk.open.contains(&row) {
                        let length = *self.dice.pick(&[0, 1, 20, 100, 400, 3000]);
                        self.runs.push((row, self.boot + length));
                    }
                }
                self.planner.accept(plan);
                self.stirred.clear();
                self.watched = self
                    .elsewhere
                    .iter()
                    .filter(|(_, count)| **count > 0)
                    .filter(|(name, _)| {
                        models.get(name).is_some_and(|m| !m.waiting.is_empty() && m.looked_at)
                    })
                    .map(|(name, _)| name.clone())
                    .collect();
                self.models = models;
                self.last = moment;
                self.check_present();
            }
        }
    }

    /// The facts on which planner and disk must agree after each accepted plan.
    fn check_present(&mut self) {
        let moment = self.now();
        for (name, model) in &mut self.models {
            let spec = &self.specs[name];
            let known = &self.disk.known[name];
            assert_eq!((known.decided_until, known.epoch), (model.decided_until, model.epoch));
            let mut waiting: Vec<Key> = model.waiting.iter().map(|(key, ..)| *key).collect();
            waiting.sort_by_key(|(instant, epoch)| (*epoch, *instant));
            assert_eq!(known.waiting, waiting);
            self.ledger.is_complete(spec, model.epoch, model.since, known);
            model.since = model.since.max(model.decided_until);
            let undecided = instants(spec, model.decided_until, moment.wall)
                .into_iter()
                .find(|instant| due_time(spec, *instant) <= moment.wall);
            assert_eq!(undecided, None, "{name} leaves it undecided");
            assert!(known.waiting.len() <= 11, "{name} piles up: {:?}", known.waiting);
        }
        let wake = self.planner.next_wake(moment.wall);
        assert!(wake.is_none_or(|wake| wake >= moment.wall), "{wake:?}");
    }

    /// The right fate of everything that is due at this moment.
    fn expect(
        &self,
        moment: Moment,
    ) -> (BTreeMap<JobName, Model>, BTreeMap<(JobName, Key), Expected>) {
        let now = moment.wall;
        let real = (moment.boottime.as_secs() - self.last.boottime.as_secs()) as i64;
        let step = (now - self.last.wall).num_seconds() - real;
        let step = if step.abs() > 2 { step } else { 0 };
        let mut models = self.models.clone();
        let mut all = BTreeMap::new();
        for (name, model) in &mut models {
            let spec = &self.specs[name];
            let is_far = step.abs() > 3 * 3600;
            let follows = follows_clock(spec) || is_far;
            let was_ahead = step < 0 && model.decided_until > now;
            if step < 0 && follows && model.decided_until > now {
                model.decided_until = now;
                model.epoch += 1;
                model.since = now;
            }
            let lateness = |instant: DateTime<Utc>| {
                // Dated by a clock that was not set: nobody knows when that was.
                if instant.timestamp() < EARLIEST && instant.timestamp_subsec_nanos() > 0 {
                    return TimeDelta::zero();
                }
                // Set forward by more, the clock had been wrong: the time did pass.
                let seen = now - TimeDelta::seconds(if is_far { 0 } else { step.max(0) });
                (seen - due_time(spec, instant)).max(TimeDelta::zero())
            };
            let mut due: Vec<Due> = model
                .waiting
                .iter()
                .map(|(key, judged, pending)| Due {
                    key: *key,
                    lateness: judged.unwrap_or_else(|| lateness(key.0)),
                    jumped: false,
                    held: judged.is_some(),
                    pending: *pending,
                    remembered: judged.is_none(),
                })
                .collect();
            for instant in instants(spec, model.decided_until, now) {
                let at = due_time(spec, instant);
                if at > now {
                    continue;
                }
                let in_jump =
                    at > now - TimeDelta::seconds(step) && at <= now - TimeDelta::seconds(real);
                due.push(Due {
                    key: (instant, model.epoch),
                    lateness: lateness(instant),
                    jumped: step > 0 && !is_far && follows && in_jump,
                    held: false,
                    pending: false,
                    remembered: false,
                });
                model.decided_until = instant;
            }
            let active =
                self.runs.iter().filter(|(row, _)| self.disk.rows[*row].job == *name).count();
            let taken = active + self.elsewhere.get(name).map_or(0, |count| *count as usize);
            let free = (spec.policy.max_instances as usize).saturating_sub(taken);
            let is_looked_at = was_ahead || self.is_looked_at(name, &due);
            model.looked_at = is_looked_at;
            let fates = oracle(spec, &due, free, self.paused && is_looked_at);
            model.waiting = due
                .iter()
                .filter_map(|one| match fates[&one.key] {
                    Expected::Wait { pending } => Some((one.key, Some(one.lateness), pending)),
                    Expected::Run { .. } | Expected::Skip(_) => None,
                })
                .collect();
            for (key, fate) in fates {
                if !matches!(fate, Expected::Wait { .. }) {
                    all.insert((name.clone(), key), fate);
                }
            }
        }
        (models, all)
    }

    /// A pause leaves a waiting occurrence alone until its turn comes, or its job is looked at for another reason.
    fn is_looked_at(&self, name: &JobName, due: &[Due]) -> bool {
        due.iter().any(|one| !one.held)
            || self.stirred.contains(name)
            || self.watched.contains(name)
    }

    fn compare(&mut self, plan: &Plan, expected: &BTreeMap<(JobName, Key), Expected>) {
        let mut found = BTreeMap::new();
        for decision in &plan.decisions {
            let spec = &self.specs[&decision.job];
            let all = if decision.count == 1 {
                vec![decision.first]
            } else {
                instants(spec, decision.first - TimeDelta::seconds(1), decision.last)
            };
            let fate = match decision.fate {
                Fate::Start { coalesced, .. } => Expected::Run { coalesced },
                Fate::Skip(reason) => Expected::Skip(reason),
            };
            self.counted(&match fate {
                Expected::Run { coalesced: 0 } => "run".to_owned(),
                Expected::Run { .. } => "run for several".to_owned(),
                Expected::Skip(reason) => reason.as_str().to_owned(),
                Expected::Wait { .. } => unreachable!("a decision is no waiting"),
            });
            for instant in all {
                found.insert((decision.job.clone(), (instant, decision.epoch)), fate);
            }
        }
        assert_eq!(&found, expected, "at {:?}, the world before {:?}", self.now(), self.last);
        assert!(plan.decisions.is_sorted_by_key(|decision| decision.first));
    }

    /// Each demand must wait at an instant that is its own: a little later than asked for where that is a
    /// whole second or taken.
    fn demanded(&mut self, names: Vec<JobName>, at: DateTime<Utc>, waits: &[Wait], why: &str) {
        let mut expected = Vec::new();
        for name in names {
            let model = self.models.get_mut(&name).expect("a job that is scheduled");
            let mut instant = at + TimeDelta::microseconds(1);
            while model.demanded == Some(instant)
                || model.waiting.iter().any(|((other, _), ..)| *other == instant)
            {
                instant += TimeDelta::microseconds(1);
            }
            model.demanded = Some(instant);
            let epoch = model.epoch;
            model.waiting.push(((instant, epoch), None, false));
            self.stirred.insert(name.clone());
            expected.push(Wait { job: name, instant, epoch, begins: true });
            self.counted(why);
        }
        let order = |wait: &Wait| wait.job.clone();
        let mut waits = waits.to_vec();
        waits.sort_by_key(order);
        expected.sort_by_key(order);
        assert_eq!(waits, expected);
        for wait in &waits {
            self.disk.wait(wait);
        }
    }

    /// The program ends without a word and starts again after a while.
    fn restart(&mut self) {
        self.runs.clear();
        self.disk.open.clear();
        self.boot += 1;
        if self.dice.one_in(2) {
            self.boot += self.dice.below(10_000) as i64;
        }
        match self.dice.below(8) {
            0 | 1 if !self.is_unset() => self.offset += self.random_step(),
            2 => self.lose_clock(),
            3 if self.is_unset() => self.set_clock(),
            _ => {}
        }
        self.start();
    }

    /// The program ends in order: what no worker had begun is undecided again.
    fn stop_and_start(&mut self) {
        for row in std::mem::take(&mut self.disk.open) {
            if self.dice.one_in(2) {
                self.counted("taken back");
                let Decision { job, first, epoch, .. } = self.disk.rows[row].clone();
                self.ledger.decided.remove(&(job.clone(), (first, epoch)));
                let known = self.disk.known.get_mut(&job).unwrap();
                known.waiting.push((first, epoch));
                known.waiting.sort_by_key(|(instant, epoch)| (*epoch, *instant));
            }
        }
        self.restart();
    }

    fn start(&mut self) {
        let moment = self.now();
        self.planner = planner(moment, self.disk.known.clone());
        self.last = moment;
        self.models.clear();
        self.has_started = false;
        // A configuration that was not yet in force is forgotten.
        self.pending = None;
        self.schedule_in_time(self.specs.values().cloned().collect());
        if self.pending.is_none() {
            self.begin();
        }
        if self.dice.one_in(3) {
            self.reload();
        }
    }

    /// A run by hand in another process ends, which records that a job after it is due; a look takes that up, and the next
    /// one finds it known.
    fn run_elsewhere_ends(&mut self) {
        self.boot += 1;
        let follows = |spec: &&Arc<JobSpec>| spec.after.is_some();
        let Some(spec) = self.specs.values().find(follows).cloned() else { return };
        let now = self.now().wall;
        let Some(model) = self.models.get_mut(&spec.name) else { return };
        let instant = now + TimeDelta::microseconds(500);
        let epoch = model.epoch;
        model.waiting.push(((instant, epoch), None, false));
        self.stirred.insert(spec.name.clone());
        self.disk.wait(&Wait { job: spec.name.clone(), instant, epoch, begins: true });
        assert!(self.planner.adopt(&spec.name, instant, epoch));
        assert!(!self.planner.adopt(&spec.name, instant, epoch), "it is known");
        self.counted("after a run elsewhere");
    }

    fn random_step(&mut self) -> i64 {
        let size = *self.dice.pick(&[2, 5, 70, 1800, 7200, 10_800, 10_801, 40_000, 300_000]);
        if self.dice.one_in(2) { size } else { -size }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..=9 => {}
            10..=59 => self.boot += self.dice.below(70) as i64,
            60..=69 => self.boot += self.dice.below(900) as i64,
            70 => self.boot += self.dice.below(20_000) as i64,
            71..=74 => {
                let slept = self.dice.below(5_000) as i64;
                self.boot += slept;
                self.slept += slept;
            }
            75..=77 if self.is_unset() => {
                self.set_clock();
                self.counted("set after it was lost");
            }
            75..=77 => {
                self.offset += self.random_step();
                self.counted("clock set");
            }
            89 => self.lose_clock(),
            // While something runs that others may follow.
            90..=95 | 97..=99 if !self.runs.is_empty() => {
                self.lose_clock();
                self.boot += self.dice.below(4_000) as i64;
            }
            // Before the looks of which some find the clock set.
            96 => self.run_elsewhere_ends(),
            78..=81 => self.paused = !self.paused && self.dice.one_in(2),
            82..=84 => {
                let at = self.dice.below(4);
                let name = JobName::new(&format!("job{at}"));
                let count = self.dice.below(3) as u32;
                self.elsewhere.insert(name, count);
            }
            85..=86 => {
                // Due occurrences are decided before the settings change, as the tick thread does.
                self.tick();
                self.reload();
                self.counted("reload");
            }
            87 => {
                self.restart();
                self.counted("crash");
            }
            88 => {
                self.stop_and_start();
                self.counted("stop");
            }
            _ => {}
        }
        self.tick();
    }
}

fn planner(moment: Moment, remembered: BTreeMap<JobName, Remembered>) -> Planner {
    let earliest = DateTime::from_timestamp(EARLIEST, 0).unwrap();
    Planner::new(moment, remembered).not_before(earliest)
}

fn moment(boot: i64, slept: i64, offset: i64) -> Moment {
    Moment {
        wall: DateTime::from_timestamp(boot + offset, 0).unwrap(),
        monotonic: Duration::from_secs((boot - slept) as u64),
        boottime: Duration::from_secs(boot as u64),
    }
}

#[test]
fn simulation_every_occurrence_is_accounted_for() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let steps = number("ACLARAI_SIM_STEPS").unwrap_or(2_000);
    let seeds = match number("ACLARAI_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..58,
    };
    let mut count = BTreeMap::new();
    for seed in seeds.clone() {
        // Shown when the test fails, and the last one is that which did.
        println!(
            "again: ACLARAI_SIM_SEED={seed} ACLARAI_SIM_STEPS={steps} cargo test --lib simulation"
        );
        let mut world = World::new(seed);
        for _ in 0..steps {
            world.step();
        }
        for (what, n) in world.count {
            *count.entry(what).or_insert(0) += n;
        }
    }
    println!("{count:#?}");
    if seeds.count() > 1 {
        // A simulation that never meets a case does not test it.
        let cases = [
            "run",
            "run for several",
            "paused",
            "overlap",
            "misfire",
            "coalesced",
            "disabled",
            "taken back",
            "commit failed",
            "crash before the commit",
            "crash after the commit",
            "clock set",
            "reload",
            "start behind the watermark",
            "dropped with its line",
            "after a run",
            "at the start",
            "after a run elsewhere",
            "clock lost",
            "set after it was lost",
            "scheduled once the clock is set",
            "after a run, by a clock that is not set",
        ];
        for case in cases {
            assert!(count.get(case).is_some_and(|n| *n >= 50), "{case}: {:?}", count.get(case));
        }
    }
}
