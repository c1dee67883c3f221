//! The tick thread: sleeps until something is due or said, decides, records, and only then hands over.
//!
//! Each round makes at most one commit, whatever happened: what workers reported since the last one and what is
//! decided now. What could not be recorded stays in the outbox, nothing new is decided, and the round is tried again.

mod again;
mod ending;
mod entry;
mod lead;
mod life;
mod memory;
mod orders;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use crossbeam_channel::{Receiver, Sender, select};

use self::entry::{Begun, Entry, Overdue, Run, record_again, to_skip, write_plan};
use self::memory::{Life, Starving, Stopping};
use self::orders::{Desk, Made};
use super::execute::conclude;
use super::plan::{Decision, Fate, Notice, Plan, Planner, Surroundings};
use super::pool::{Order, Pool, Report};
use super::{ConfiguredJob, Ending, Event, Running, Settings, Setup, StartError, Status};
use crate::clock::{Clock, LONGEST_WAIT, Moment};
use crate::config::JobName;
use crate::gate::{ClockTrust, LeaseGate, Pause};
use crate::history::{CutOff, Recorder, Skipped};
use crate::job::{RunState, Skip, SkipReason};
use crate::logging;
use crate::state::{DaemonLock, Durability, SignOfLife, StateError};
use crate::stop::OVERDUE_AFTER;
use crate::text;

/// How long after a fault of the state file it is tried again.
const RETRY: TimeDelta = TimeDelta::seconds(5);

/// How long a look at the pause must have been without an answer before that is told.
const HANGS_AFTER: TimeDelta = TimeDelta::seconds(5);

/// How old the answer about the pause may be while there is nothing to decide: to ask for it wakes another thread, which
/// is a good part of what an idle daemon costs.
const PAUSE_LOOK_AGE: Duration = Duration::from_secs(55);

/// How many reports of workers are recorded in one round.
const HEARD_MAX: usize = 256;

/// How often old history is pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Rows pruned in one go: some milliseconds.
const PRUNE_ROWS: u32 = 500;

/// A request to the tick thread.
pub(super) enum Command {
    /// New settings; hung up when they are in force.
    Reload(Box<Settings>, Sender<()>),
    /// End; said twice, end at once.
    Stop,
    /// End, unless that was said already.
    EnsureStop,
}

pub(super) struct Tick {
    clock: Arc<dyn Clock>,
    lock: DaemonLock,
    recorder: Recorder,
    planner: Planner,
    pool: Pool,
    settings: Settings,
    jobs: BTreeMap<JobName, ConfiguredJob>,
    observers: Vec<super::Observer>,
    heartbeat: Box<dyn FnMut(&Status) + Send>,
    inbox: Receiver<Command>,
    runs: BTreeMap<u64, Run>,
    next_number: u64,
    /// Handed over as the queue has room, the oldest first.
    backlog: VecDeque<Box<Order>>,
    outbox: Vec<Entry>,
    /// Why the state file cannot be written, and the boot time at which it is tried again.
    fault: Option<(String, Duration)>,
    /// The state file is another one, which knows nothing of the runs and watermarks held here.
    has_lost_file: bool,
    /// The runs that workers have.
    running: BTreeSet<u64>,
    /// Workers hired in the place of those that overdue runs hold.
    spares: usize,
    starving: Option<Starving>,
    life: Life,
    /// The configuration file, for those who look at the sign of life.
    config: Option<String>,
    /// Whether this host may run the jobs, where several share them.
    lease: Option<LeaseGate>,
    /// Which lead of this host it is; `None` where it has none, and where it is alone.
    lead: Option<i64>,
    /// Whether the jobs' marks were taken over in this lead. Not told by its number: a server that was put back begins to
    /// count anew.
    marks_taken: bool,
    trust: ClockTrust,
    /// That the wall clock is certainly wrong: nothing is decided until it is set.
    clock_not_set: Option<String>,
    /// The jobs were not handed to the planner: the clock was wrong all the time.
    is_unscheduled: bool,
    /// The jobs that run at each start were made due.
    has_started: bool,
    /// When the daemon was started, where it may have had to wait for the lead since.
    started_at: DateTime<Utc>,
    /// Runs that were cut off before the start and may be begun again: once it is known whether their jobs are scheduled.
    cut_off: Vec<CutOff>,
    /// Since when nobody can say whether automation is paused.
    pause_unknown_since: Option<DateTime<Utc>>,
    /// A look at the pause is late, and may come yet.
    looks_again: bool,
    /// When it was looked at what waits, and when the pause was, by monotonic time.
    looked_at: Option<Duration>,
    pause_looked_at: Option<Duration>,
    /// Why automation is paused, and which jobs' skips were told in this pause.
    paused: Option<Pause>,
    told_paused: BTreeSet<JobName>,
    /// When to prune, by boot time.
    prune_at: Duration,
    stopping: Option<Stopping>,
    ending: Ending,
}

impl Tick {
    pub(super) fn new(setup: Setup, inbox: Receiver<Command>) -> Result<Tick, StartError> {
        let Setup { clock, built, config, state_dir, lease, mut settings, observers, heartbeat } =
            setup;
        let lock = DaemonLock::take(&state_dir)?;
        let mut recorder = Recorder::open_verified(&state_dir)?;
        let before = super::health::last_seen(&state_dir);
        let life = Life::new(SignOfLife::open(&state_dir)?);
        let moment = Moment::of(&*clock);
        if let Some(before) = before {
            recorder.was_down(before, moment.wall)?;
        }
        let mut trust = ClockTrust::new(built, moment);
        let clock_not_set = trust.look(moment);
        let cut_off = recorder.take_over(moment.wall.trunc_subsecs(6))?;
        let planner = Planner::new(moment, recorder.remembered()?).not_before(built);
        let pool = Pool::start(Arc::clone(&clock), settings.workers).map_err(StartError::Thread)?;
        let seen = settings.pause.take(moment.wall);
        let mut tick = Tick {
            lock,
            recorder,
            planner,
            pool,
            jobs: by_name(std::mem::take(&mut settings.jobs)),
            settings,
            observers,
            heartbeat,
            inbox,
            runs: BTreeMap::new(),
            next_number: 0,
            backlog: VecDeque::new(),
            outbox: Vec::new(),
            fault: None,
            has_lost_file: false,
            running: BTreeSet::new(),
            spares: 0,
            starving: None,
            life,
            config,
            lease,
            lead: None,
            marks_taken: false,
            trust,
            clock_not_set,
            is_unscheduled: true,
            has_started: false,
            started_at: moment.wall,
            cut_off,
            pause_unknown_since: None,
            looks_again: false,
            looked_at: None,
            pause_looked_at: None,
            paused: seen.answer,
            told_paused: BTreeSet::new(),
            prune_at: trust.trusted_from(),
            stopping: None,
            ending: Ending::default(),
            clock,
        };
        tick.looks_again = seen.hangs_since.is_some();
        tick.tell_lease_jobs();
        match tick.clock_not_set {
            Some(_) => tell_not_set(moment),
            None if tick.lease.is_some() => {}
            None => tick.schedule_at_start(moment),
        }
        tick.commit(moment, false)?;
        tick.tell_cut_off();
        tick.begin_again(moment)?;
        Ok(tick)
    }

    pub(super) fn run(mut self) -> Ending {
        let never = crossbeam_channel::never();
        let turns = self.lease.as_ref().map_or(never, |lease| lease.changes().clone());
        loop {
            let seen = self.round();
            if self.is_over() {
                break;
            }
            let alarm = self.clock.alarm(self.next_wake());
            // Between the look and the alarm: the alarm was set by the new time, and this round knows only the old one.
            if Moment::of(&*self.clock).has_jumped_since(seen) {
                continue;
            }
            let mut command = None;
            let mut report = None;
            select! {
                // A hung-up inbox means that nobody can stop this thread any more.
                recv(self.inbox) -> message => command = Some(message.unwrap_or(Command::EnsureStop)),
                recv(self.pool.reports()) -> message => report = message.ok(),
                recv(turns) -> _ => {}
                recv(alarm.ready()) -> _ => {}
            }
            if let Some(report) = report {
                self.hear(*report);
            }
            self.hear_more();
            while let Some(next) = command.take().or_else(|| self.inbox.try_recv().ok()) {
                self.obey(next);
            }
        }
        self.end()
    }

    /// Does whatever there is to do now; answers with the time that it went by.
    fn round(&mut self) -> Moment {
        let moment = Moment::of(&*self.clock);
        self.look_at_clock(moment);
        self.look_at_lease(moment);
        self.look_around(moment);
        self.record(moment);
        if self.fault.is_none()
            && self.stopping.is_none()
            && let Err(error) = self.begin_again(moment)
        {
            self.fail(&error.to_string(), moment);
        }
        self.hand_over();
        self.watch_overdue(moment.monotonic);
        self.watch_starvation(moment.monotonic);
        self.prune(moment);
        self.press_stop(moment.monotonic);
        let status = self.status();
        self.show_life(moment, &status);
        (self.heartbeat)(&status);
        moment
    }

    /// Where the clock is certainly wrong nothing is decided; once it is set, the time since the last decision is a
    /// downtime.
    fn look_at_clock(&mut self, moment: Moment) {
        let was_wrong = self.clock_not_set.is_some();
        self.clock_not_set = self.trust.look(moment);
        self.prune_at = self.prune_at.max(self.trust.trusted_from());
        match (&self.clock_not_set, was_wrong) {
            (Some(_), false) => tell_not_set(moment),
            (None, true) => {
                logging::info!("clock is set: what fell due meanwhile is decided");
                if !self.has_started {
                    self.started_at = moment.wall;
                }
            }
            _ => {}
        }
        let may_schedule = self.clock_not_set.is_none() && self.stopping.is_none() && self.leads();
        if may_schedule && self.is_unscheduled {
            // Where the clock was right before, the planner has that moment to compare with.
            if !self.has_started || self.lease.is_some() {
                self.planner.observe(moment);
            }
            self.schedule_at_start(moment);
        }
    }

    /// Looks whether another process has made a job due, once a second at most; and whether automation is paused, whenever
    /// something is to be decided, and about once a minute besides.
    fn look_around(&mut self, moment: Moment) {
        let is_older = |looked_at: Option<Duration>, than: Duration| {
            looked_at.is_none_or(|at| moment.monotonic.saturating_sub(at) >= than)
        };
        let second = Duration::from_secs(1);
        let is_stale = is_older(self.looked_at, second);
        let decides = self.stopping.is_none() && self.leads();
        if is_stale && self.outbox.is_empty() && self.fault.is_none() && decides {
            // A file that cannot be read is found out by the next commit.
            for (job, instant, epoch) in self.recorder.newly_waiting().unwrap_or_default() {
                self.planner.adopt(&job, instant, epoch);
            }
        }
        if is_stale {
            self.looked_at = Some(moment.monotonic);
        }
        let is_unknown = self.looks_again || self.pause_unknown_since.is_some();
        let age = if is_unknown { second } else { PAUSE_LOOK_AGE };
        if self.planner.has_work(moment) || is_older(self.pause_looked_at, age) {
            let seen = self.settings.pause.take(moment.wall);
            self.paused = seen.answer;
            // On a busy machine a look may be late by more than a blink, and its answer is there at the next one.
            let hangs = |since: &DateTime<Utc>| moment.wall - *since >= HANGS_AFTER;
            let told = seen.hangs_since.filter(hangs);
            self.looks_again = seen.hangs_since.is_some() && told.is_none();
            self.tell_pause_look(told);
            self.pause_looked_at = Some(moment.monotonic);
            if self.paused.is_none() {
                self.told_paused.clear();
            }
        }
    }

    fn next_wake(&self) -> DateTime<Utc> {
        let moment = Moment::of(&*self.clock);
        let now = moment.wall;
        let mut wake = now + LONGEST_WAIT;
        if self.fault.is_some() {
            wake = now + RETRY;
        } else if self.stopping.is_none() && self.clock_not_set.is_none() && self.leads() {
            wake = self.planner.next_wake(now).map_or(wake, |due| due.min(wake));
            if self.prune_at <= moment.boottime {
                wake = wake.min(now + TimeDelta::seconds(1));
            }
        }
        if self.looks_again {
            wake = wake.min(now + HANGS_AFTER);
        }
        if let Some(stop) = &self.stopping {
            wake = wake.min(now + stop.until.saturating_sub(moment.monotonic));
        }
        wake
    }

    fn status(&self) -> Status {
        let running = self.running.iter().filter_map(|number| {
            let run = self.runs.get(number)?;
            let (job, run_id) = (run.job.clone(), run.run_id.clone());
            Some(Running { job, run_id, since: run.begun?.at })
        });
        Status {
            paused: self.paused.as_ref().map(Pause::to_string),
            pause_unknown_since: self.pause_unknown_since,
            clock_not_set: self.clock_not_set.clone(),
            starving: match self.starving {
                Some(_) => self.holders().cloned().collect(),
                None => Vec::new(),
            },
            running: running.collect(),
            queued: self.runs.len() - self.running.len(),
            lease: self.lease.as_ref().map(LeaseGate::standing),
            // A clock that is not set tells no time at which anything falls due.
            next: self
                .planner
                .next_due()
                .filter(|_| self.leads() && self.clock_not_set.is_none())
                .cloned(),
            fault: self.fault.as_ref().map(|(fault, _)| fault.clone()),
            stopping: self.stopping.is_some(),
        }
    }

    // Recording.

    /// Decides what is due and records it with all that happened, in one commit; says so where that fails.
    fn record(&mut self, moment: Moment) {
        let clock_is_right = self.clock_not_set.is_none();
        let may_decide = self.stopping.is_none() && clock_is_right && self.leads();
        let decides = may_decide && self.planner.has_work(moment);
        if !decides {
            // With a wrong clock the planner keeps the last right moment to compare with.
            if clock_is_right {
                self.planner.observe(moment);
            }
            let is_lost = || self.life.is_due(moment) && !self.recorder.is_in_place();
            if self.outbox.is_empty() && self.fault.is_none() && !is_lost() {
                return;
            }
        }
        if self.fault.as_ref().is_some_and(|(_, retry)| moment.boottime < *retry) {
            return;
        }
        if self.fault.is_some() && self.outbox.is_empty() {
            // Only writing shows whether it can be written again.
            self.outbox.extend(self.planner.marks().next().map(Entry::Mark));
        }
        let recorded = self.reopen_if_needed().and_then(|()| self.commit(moment, decides));
        match recorded {
            Ok(()) => {
                if self.fault.take().is_some() {
                    logging::info!("state file can be written again");
                }
            }
            Err(error) => self.fail(&error.to_string(), moment),
        }
    }

    fn fail(&mut self, error: &str, moment: Moment) {
        let retry = moment.boottime + RETRY.to_std().unwrap_or_default();
        if self.fault.as_ref().is_none_or(|(known, _)| known != error) {
            logging::error!(error; "state file cannot be written: nothing is started until it can");
        }
        self.fault = Some((error.to_owned(), retry));
    }

    /// After a fault, or when somebody removed a file from under the program.
    fn reopen_if_needed(&mut self) -> Result<(), StateError> {
        if !self.lock.is_in_place() {
            let dir = self.recorder.dir().to_owned();
            self.lock = DaemonLock::take(&dir)?;
        }
        if self.fault.is_some() || !self.recorder.is_in_place() {
            let is_another = self.recorder.reopen()?;
            if is_another && !self.has_lost_file {
                self.has_lost_file = true;
                logging::error!(
                    "state file was removed or replaced: beginning a new one; history is lost"
                );
            }
        }
        Ok(())
    }

    /// One transaction: the outbox and, if `decides`, what the planner makes of this moment. Only when it is on disk
    /// does anybody hear of it.
    fn commit(&mut self, moment: Moment, decides: bool) -> Result<(), StateError> {
        let now = moment.wall.trunc_subsecs(6);
        // That a run has begun may be forgotten in a power cut, which ends the run as well.
        let is_lasting = |entry: &Entry| !matches!(entry, Entry::Started(..));
        let must_last = decides || self.has_lost_file || self.outbox.iter().any(is_lasting);
        let durability = if must_last { Durability::Full } else { Durability::Process };

        let Tick { recorder, planner, runs, outbox, paused, has_lost_file, .. } = self;
        let desk = Desk { jobs: &self.jobs, lease: self.lease.as_ref(), lead: self.lead };
        let first = self.next_number;
        let decided = recorder.write(durability, |writer| {
            if *has_lost_file {
                record_again(writer, planner, runs, outbox)?;
            }
            for entry in outbox.iter_mut() {
                entry.write(writer, runs)?;
            }
            if !decides {
                return Ok(None);
            }
            let elsewhere = writer.runs_elsewhere()?;
            let plan = planner.plan(moment, &Surroundings { paused: paused.is_some(), elsewhere });
            let rows = write_plan(writer, planner, &plan, runs, now)?;
            // Before it is on disk: after that, the runs wait.
            let made = desk.make(&plan, rows, first, now);
            Ok(Some((plan, made)))
        })?;
        self.has_lost_file = false;
        let events = std::mem::take(&mut self.outbox);
        let mut skips = Vec::new();
        if let Some((plan, made)) = decided {
            // Before anything is told: that takes time, and the workers are waiting.
            skips = self.hand_out(plan, made, moment);
        }
        for entry in events {
            match entry {
                Entry::Started(_, record) => self.tell(Event::Run(&record)),
                Entry::Ended(past) | Entry::CutOff(past) => self.tell(Event::Run(&past.record)),
                Entry::Skip(skip, _) | Entry::Refused(_, skip) => {
                    self.tell(Event::Skip { skip: &skip, repeated: false });
                }
                Entry::TakenBack(_) | Entry::Mark(_) | Entry::Wait(_) => {}
            }
        }
        for (skip, skipped) in skips {
            let repeated = match skip.reason {
                SkipReason::Paused => !self.told_paused.insert(skip.job.clone()),
                // One line for as long as the same run is in the way.
                SkipReason::Overlap => skipped == Skipped::Merged,
                // Each is an event of its own, such as another downtime, although they share a row.
                _ => false,
            };
            self.tell(Event::Skip { skip: &skip, repeated });
        }
        Ok(())
    }

    /// Hands over what was decided, which is on disk now, and returns what was skipped.
    fn hand_out(&mut self, plan: Plan, made: Made, moment: Moment) -> Vec<(Skip, Skipped)> {
        let Made { mut orders, runs, skips, twice } = made;
        let handed_over = self.clock.monotonic();
        // A run handed over at once waits from now on, not from before it was on disk.
        let is_new = |order: &&mut Box<Order>| order.waiting_since >= moment.monotonic;
        orders.iter_mut().filter(is_new).for_each(|order| order.waiting_since = handed_over);
        orders.iter().for_each(|order| order.announce());
        self.backlog.append(&mut orders);
        self.hand_over();
        // No report was heard meanwhile.
        for run in runs {
            self.runs.insert(self.next_number, run);
            self.next_number += 1;
        }
        plan.notices.iter().for_each(tell_notice);
        self.planner.accept(plan);
        for (job, instant) in &twice {
            logging::error!(job_name = job.as_str(), scheduled_for = text::instant(*instant).as_str();
                "this fire time already ran (found in history): not run twice"
            );
            self.planner.ended(job);
        }
        skips
    }

    fn order(&mut self, run: Run, waiting_since: Duration) {
        let desk = Desk { jobs: &self.jobs, lease: self.lease.as_ref(), lead: self.lead };
        let (run, order) = desk.order(self.next_number, run, waiting_since);
        order.announce();
        self.backlog.push_back(order);
        self.runs.insert(self.next_number, run);
        self.next_number += 1;
    }

    fn hand_over(&mut self) {
        while let Some(order) = self.backlog.pop_front() {
            if let Err(order) = self.pool.hand_over(order) {
                self.backlog.push_front(order);
                break;
            }
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        for observer in &mut self.observers {
            observer(&event);
        }
    }

    fn prune(&mut self, moment: Moment) {
        let waits = moment.boottime < self.prune_at || !self.trust.is_trusted(moment);
        if self.fault.is_some() || self.stopping.is_some() || waits {
            return;
        }
        let before = moment.wall - TimeDelta::days(self.settings.history_days.into());
        match self.recorder.prune(before, PRUNE_ROWS) {
            Ok(true) => {}
            Ok(false) => self.prune_at = moment.boottime + PRUNE_EVERY,
            Err(error) => self.fail(&error.to_string(), moment),
        }
    }

    // Reports of workers.

    /// Hears what else there is, up to what one round should record: a thousand records at once are memory that the
    /// process would keep.
    fn hear_more(&mut self) {
        for _ in 0..HEARD_MAX {
            let Ok(report) = self.pool.reports().try_recv() else { break };
            self.hear(*report);
        }
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Started { number, at, begun, queue_wait } => {
                let Some(run) = self.runs.get_mut(&number) else { return };
                run.begun = Some(Begun { at, monotonic: begun, queue_wait });
                self.running.insert(number);
                self.outbox.push(Entry::Started(number, Box::new(run.record())));
            }
            Report::Refused { number } => {
                if let Some(run) = self.runs.remove(&number) {
                    self.refuse(run);
                }
            }
            Report::Ended { number, outcome } => {
                let Some(run) = self.runs.remove(&number) else { return };
                self.running.remove(&number);
                if run.overdue.is_some_and(|overdue| overdue.has_spare) {
                    self.spares -= 1;
                    self.pool.retire();
                }
                self.planner.ended(&run.job);
                let past = run.past(|record| conclude(record, outcome));
                let end = past.record.finished_at.unwrap_or(past.record.decided_at);
                let demanded = match past.record.state {
                    RunState::Succeeded => self.planner.followed(&run.job, true, end),
                    RunState::Failed => self.planner.followed(&run.job, false, end),
                    _ => Vec::new(),
                };
                let cut_off = self.stopping.is_some() && past.record.state == RunState::Interrupted;
                self.ending.interrupted += usize::from(cut_off);
                self.outbox.push(if cut_off { Entry::CutOff(past) } else { Entry::Ended(past) });
                // In the commit that records the end.
                self.outbox.extend(demanded.into_iter().map(Entry::Wait));
            }
        }
    }

    /// A job written in Rust cannot be made to end. It is complained of, ever less often, and another worker takes
    /// the place of the one it holds.
    fn watch_overdue(&mut self, now: Duration) {
        for number in &self.running {
            let Some(run) = self.runs.get_mut(number) else { continue };
            let (Some(begun), Some(timeout)) = (run.begun, run.timeout) else { continue };
            let limit = begun.monotonic + timeout + OVERDUE_AFTER;
            let due = run.overdue.map_or(limit, |overdue| overdue.next);
            if now < due {
                continue;
            }
            let mut overdue = run.overdue.unwrap_or(Overdue {
                next: now,
                interval: OVERDUE_AFTER,
                has_spare: false,
            });
            overdue.next = now + overdue.interval;
            overdue.interval *= 2;
            if !overdue.has_spare && self.spares < self.settings.workers && self.pool.hire().is_ok()
            {
                overdue.has_spare = true;
                self.spares += 1;
            }
            logging::warn!(job_id = run.record().run_id.as_str(), job_name = run.job.as_str(),
                running_s = now.saturating_sub(begun.monotonic).as_secs(), timeout_s = timeout.as_secs(),
                spare_worker = overdue.has_spare;
                "run exceeded its timeout and did not stop"
            );
            run.overdue = Some(overdue);
        }
    }

    // Requests.

    fn obey(&mut self, command: Command) {
        match command {
            Command::Reload(settings, done) => {
                if self.stopping.is_none() {
                    // An occurrence due by now is decided by the settings under which it fell due.
                    self.round();
                    self.reload(*settings);
                    self.round();
                }
                drop(done);
            }
            Command::Stop if self.stopping.is_some() => self.stop_at_once(),
            Command::Stop => self.begin_stop(),
            Command::EnsureStop => {
                if self.stopping.is_none() {
                    self.begin_stop();
                }
            }
        }
    }

    fn reload(&mut self, mut settings: Settings) {
        for _ in settings.workers..self.settings.workers {
            self.pool.retire();
        }
        for _ in self.settings.workers..settings.workers {
            if let Err(error) = self.pool.hire() {
                logging::error!(error = error.to_string().as_str(); "cannot start another worker");
            }
        }
        self.jobs = by_name(std::mem::take(&mut settings.jobs));
        settings.pause.replace(&self.settings.pause);
        self.settings = settings;
        // The answer of a look on another thread may be about another vault.
        (self.looked_at, self.pause_looked_at) = (None, None);
        self.tell_lease_jobs();
        match (&self.clock_not_set, self.is_unscheduled) {
            (Some(_), _) => self.is_unscheduled = true,
            // All changes are known when this host begins to lead.
            (None, _) if !self.leads() => self.is_unscheduled = true,
            (None, _) => self.schedule(self.clock.now()),
        }
    }

    /// Hands the jobs to the planner and makes those due that run at each start.
    fn schedule_at_start(&mut self, moment: Moment) {
        self.schedule(moment.wall);
        self.take_marks(moment);
        if !std::mem::replace(&mut self.has_started, true) {
            let waits = self.planner.started(self.started_at);
            self.outbox.extend(waits.into_iter().map(Entry::Wait));
        }
    }

    fn schedule(&mut self, now: DateTime<Utc>) {
        self.is_unscheduled = false;
        let scheduled = self.jobs.values().map(|job| &job.spec).filter(|spec| spec.is_scheduled());
        let plan = self.planner.schedule(scheduled.cloned(), now);
        self.recorder.ask_again();
        self.note(plan, now);
    }

    /// Records a plan that starts nothing: the skips, and how far each job is decided.
    fn note(&mut self, plan: Plan, now: DateTime<Utc>) {
        let now = now.trunc_subsecs(6);
        let to_entry = |decision: &Decision| match decision.fate {
            Fate::Skip(reason) => {
                Some(Entry::Skip(Box::new(to_skip(decision, reason, now)), decision.epoch))
            }
            Fate::Start { .. } => None,
        };
        self.outbox.extend(plan.decisions.iter().filter_map(to_entry));
        self.outbox.extend(plan.marks.into_iter().map(Entry::Mark));
        self.outbox.extend(plan.waits.into_iter().map(Entry::Wait));
        plan.notices.iter().for_each(tell_notice);
    }
}

fn tell_not_set(moment: Moment) {
    let shown = moment.wall.format("%Y-%m-%d");
    logging::warn!("clock not set: it shows {shown}: nothing is scheduled until it is set");
}

fn tell_notice(notice: &Notice) {
    match notice {
        Notice::Suspended(slept) => {
            logging::info!(suspended_s = slept.as_secs(); "machine was suspended: treated as a downtime");
        }
        Notice::Stepped(by) => {
            logging::warn!(step_s = by.as_seconds_f64(); "wall clock was set");
        }
        Notice::New(job) => {
            logging::info!(job_name = job.as_str(); "job is scheduled from now on")
        }
        Notice::Changed(job) => {
            logging::info!(job_name = job.as_str(); "schedule of job changed: missed runs of the old schedule are dropped");
        }
        Notice::Gone(job) => {
            logging::info!(job_name = job.as_str(); "job is not scheduled any more")
        }
        Notice::AheadOfThisHost(job, by) => {
            logging::warn!(job_name = job.as_str(), ahead_s = by.as_seconds_f64();
                "other hosts have run this job for times that are still to come here: it waits until then; set the clocks of all hosts"
            );
        }
        Notice::Ahead(job, by) => {
            logging::warn!(job_name = job.as_str(), ahead_s = by.as_seconds_f64();
                "clock was set back: job already handled times in the future, waits until then"
            );
        }
    }
}

fn by_name(jobs: Vec<ConfiguredJob>) -> BTreeMap<JobName, ConfiguredJob> {
    jobs.into_iter().map(|job| (job.spec.name.clone(), job)).collect()
}

#[cfg(test)]
mod tests;
