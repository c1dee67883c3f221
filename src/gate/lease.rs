//! Whether this host may run the jobs, where several share them: one thread that acquires the lease, renews it, and
//! publishes how this host stands.
//!
//! ```text
//!            acquired and the jobs' marks read                  renewed each quarter of its time
//! follower ------------------------------------> leader ----+
//!     ^                                             |       |
//!     +-- trust is over, or another host has it ----+ <-----+
//! ```
//! Trust is counted from the moment before a question was sent, by the boot clock: whatever the server did with it, the
//! lease is good for at least that long, and a machine that slept has lost it when it wakes. Trust ends [`MARGIN`] before
//! the lease does. In that time all that runs is stopped, so that nothing is alive when another host may begin. Each run is
//! on a leash that is as long as the trust: it ends by itself, also where the thread that decides sleeps or hangs.

mod queue;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{Receiver, Sender, bounded, select};

use self::queue::Unclaimed;
use crate::clock::{Clock, LONGEST_WAIT, Moment};
use crate::config::JobName;
use crate::graph::lease::{Candidate, Claim, Lease, LeaseKeeper, Marks};
use crate::logging;
use crate::stop::{Leash, Stop};
use crate::text;

/// How long before the end of the lease the holder lets go: a command has 10 s between SIGTERM and SIGKILL, and the rest
/// is for answers that were slow.
const MARGIN: Duration = Duration::from_secs(25);

/// How soon a question without an answer is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// How long a question may at least take.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(100);

/// How long giving the lease back may take at the end of the daemon.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// How this host stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Standing {
    /// It runs nothing.
    Follower {
        /// The host that has the lease, and since when by this host's clock; `None` where that is not known.
        holder: Option<(String, DateTime<Utc>)>,
        /// Why it could not be asked for, if that is so.
        fault: Option<String>,
    },
    /// It runs the jobs.
    Leader {
        /// Which lead this is.
        epoch: i64,
        /// Until when, by the boot clock, runs may begin.
        until: Duration,
        /// How far each job had been run when this lead began.
        marks: Arc<Marks>,
        /// Why the lease could not be renewed of late, if that is so.
        fault: Option<String>,
    },
}

impl Standing {
    /// How it stands, for a person: `None` for a leader that is well.
    pub(crate) fn in_words(&self) -> Option<String> {
        match self {
            Standing::Follower { holder: Some((host, since)), fault: None } => {
                Some(format!("standby: {host} holds the lease since {}", text::instant(*since)))
            }
            Standing::Follower { holder: None, fault: None } => {
                Some("standby: the lease was not asked for yet".to_owned())
            }
            Standing::Follower { fault: Some(fault), .. } => {
                Some(format!("standby: the lease cannot be asked for: {fault}"))
            }
            Standing::Leader { fault: Some(fault), .. } => {
                Some(format!("the lease cannot be renewed: {fault}"))
            }
            Standing::Leader { fault: None, .. } => None,
        }
    }

    /// Whether a person needs to be told of this one after the other. Times and the words of a fault may differ a little.
    pub(crate) fn is_like(&self, other: &Standing) -> bool {
        let host = |holder: &Option<(String, _)>| holder.as_ref().map(|(host, _)| host.clone());
        match (self, other) {
            (
                Standing::Leader { epoch, fault, .. },
                Standing::Leader { epoch: epoch_now, fault: fault_now, .. },
            ) => epoch == epoch_now && fault.is_some() == fault_now.is_some(),
            (
                Standing::Follower { holder, fault },
                Standing::Follower { holder: holder_now, fault: fault_now },
            ) => host(holder) == host(holder_now) && fault.is_some() == fault_now.is_some(),
            _ => false,
        }
    }
}

/// The answer to a claim.
pub(crate) enum Claimed {
    /// The run may begin, and go on until the leash is over.
    Yes(Leash),
    /// It may not: another host has the lease or has run it, or nobody could be asked in time.
    No,
    /// It was claimed, and then trust was over: nobody else will run it, and it may not begin.
    TooLate,
}

/// The next question to the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// For the lease.
    Acquire,
    /// For the marks of the jobs, which are enlisted.
    Enlist {
        /// In this lead.
        epoch: i64,
    },
}

/// The rules, without clock, thread or network. All times are those of the boot clock.
#[derive(Debug)]
pub(crate) struct Turn {
    me: String,
    ttl: Duration,
    standing: Standing,
    /// Acquired, and the marks are not known yet: which lead, and until when it is trusted.
    taken: Option<(i64, Duration)>,
    /// Whether the jobs have changed since they were enlisted.
    must_enlist: bool,
    ask_at: Duration,
}

impl Turn {
    pub(crate) fn new(who: &Candidate, now: Duration) -> Turn {
        Turn {
            me: who.holder.clone(),
            ttl: who.ttl,
            standing: Standing::Follower { holder: None, fault: None },
            taken: None,
            must_enlist: true,
            ask_at: now,
        }
    }

    /// The next question, and when to ask it.
    pub(crate) fn next(&self) -> (Duration, Ask) {
        match (&self.standing, self.taken) {
            (_, Some((epoch, _))) => (self.ask_at, Ask::Enlist { epoch }),
            (Standing::Leader { epoch, .. }, None) if self.must_enlist => {
                (self.ask_at, Ask::Enlist { epoch: *epoch })
            }
            _ => (self.ask_at, Ask::Acquire),
        }
    }

    /// How long to wait for the answer to a question of this moment.
    pub(crate) fn patience(&self, now: Duration) -> Duration {
        match (&self.standing, self.taken) {
            (_, Some((_, until))) => patience_of(until.saturating_sub(now)),
            (Standing::Leader { until, .. }, None) => patience_of(until.saturating_sub(now)),
            // A question that hangs must not keep the next one back.
            (Standing::Follower { .. }, None) => self.ttl / 4,
        }
    }

    /// Looks whether trust is over.
    pub(crate) fn look(&mut self, now: Duration) {
        if let Some((_, until)) = self.taken
            && now >= until
        {
            (self.taken, self.ask_at) = (None, now);
        }
        if let Standing::Leader { until, fault, .. } = &self.standing
            && now >= *until
        {
            let fault = fault.clone().or_else(|| Some("this host was held up".to_owned()));
            self.follow(None, fault, now);
        }
    }

    fn follow(
        &mut self,
        holder: Option<(String, DateTime<Utc>)>,
        fault: Option<String>,
        ask_at: Duration,
    ) {
        self.standing = Standing::Follower { holder, fault };
        (self.taken, self.ask_at, self.must_enlist) = (None, ask_at, true);
    }

    /// The answer about the lease, to a question that was sent at `sent`.
    pub(crate) fn heard(&mut self, sent: Duration, answer: Result<Lease, String>, now: Moment) {
        self.look(now.boottime);
        let quarter = self.ttl / 4;
        let lease = match answer {
            Ok(lease) => lease,
            Err(error) => return self.heard_nothing(error, now.boottime),
        };
        if lease.holder != self.me {
            let held_for = TimeDelta::from_std(lease.held_for).unwrap_or_default();
            let since = now.wall.checked_sub_signed(held_for).unwrap_or(now.wall);
            return self.follow(Some((lease.host, since)), None, sent + quarter);
        }
        let trusted_until = (sent + self.ttl).saturating_sub(MARGIN);
        match &mut self.standing {
            Standing::Leader { epoch, until, fault, .. } if *epoch == lease.epoch => {
                // Answers may come out of order: trust never becomes less by one.
                *until = (*until).max(trusted_until);
                *fault = None;
                self.ask_at = sent + quarter;
            }
            // A lead of ours that ended without our knowing, or one that begins.
            _ => {
                self.follow(None, None, now.boottime);
                if now.boottime < trusted_until {
                    self.taken = Some((lease.epoch, trusted_until));
                }
            }
        }
    }

    /// The marks, in answer to [`Ask::Enlist`].
    pub(crate) fn heard_marks(&mut self, epoch: i64, answer: Result<Marks, String>, now: Moment) {
        self.look(now.boottime);
        let marks = match answer {
            Ok(marks) => marks,
            Err(error) => return self.heard_nothing(error, now.boottime),
        };
        match (&self.standing, self.taken) {
            (_, Some((taken, until))) if taken == epoch => {
                self.taken = None;
                self.must_enlist = false;
                self.ask_at = now.boottime + self.ttl / 8;
                let marks = Arc::new(marks);
                self.standing = Standing::Leader { epoch, until, marks, fault: None };
            }
            (Standing::Leader { epoch: mine, .. }, None) if *mine == epoch => {
                self.must_enlist = false;
            }
            _ => {}
        }
    }

    fn heard_nothing(&mut self, error: String, now: Duration) {
        let quarter = self.ttl / 4;
        self.ask_at = now + RETRY;
        match &mut self.standing {
            Standing::Leader { fault, .. } => *fault = Some(error),
            Standing::Follower { fault, .. } => {
                *fault = Some(error);
                if self.taken.is_none() {
                    self.ask_at = now + quarter;
                }
            }
        }
    }

    /// The jobs are others now.
    fn jobs_changed(&mut self) {
        self.must_enlist = true;
    }

    /// Another host may have taken over: ask at once.
    fn doubt(&mut self, now: Duration) {
        self.ask_at = self.ask_at.min(now);
    }

    /// How this host stands.
    pub(crate) fn standing(&mut self, now: Duration) -> &Standing {
        self.look(now);
        &self.standing
    }
}

/// How long to wait for an answer where so much trust is left: a connection that hangs is given up while there is time to
/// ask over another one.
pub(crate) fn patience_of(left: Duration) -> Duration {
    (left / 2).max(SHORTEST_PATIENCE)
}

/// A word to the thread.
enum Told {
    Doubt,
    Jobs,
    End { release: bool },
}

/// The memory of the thread.
#[derive(Default)]
struct Seen {
    /// The standing that the log was told last.
    said: Option<Standing>,
    /// The other process that has the lease, and whether its jobs were compared with those of this host.
    holder: Option<String>,
    compared: bool,
}

struct Shared {
    who: Candidate,
    keeper: Arc<dyn LeaseKeeper>,
    clock: Arc<dyn Clock>,
    turn: Mutex<Turn>,
    jobs: Mutex<Vec<JobName>>,
    unclaimed: Mutex<Unclaimed>,
    /// Claims without an answer, whose runs did not begin: the keeper may have taken them in.
    unanswered: Mutex<Vec<Claim>>,
    /// The leash of the runs of a lead.
    leash: Mutex<Option<(i64, Leash)>>,
    /// Told when this host stands otherwise than before. Holds one: that is enough to make somebody look.
    changed: Sender<()>,
    /// Ends what waits for an answer.
    stop: Stop,
}

/// The lease as the rest of the daemon has it. Clones share it.
#[derive(Clone)]
pub(crate) struct LeaseGate {
    shared: Arc<Shared>,
    tell: Sender<Told>,
    changes: Receiver<()>,
    ended: Receiver<()>,
}

impl LeaseGate {
    /// Starts to ask for the lease.
    pub(crate) fn start(
        keeper: Arc<dyn LeaseKeeper>,
        who: Candidate,
        clock: Arc<dyn Clock>,
    ) -> io::Result<LeaseGate> {
        let (tell, told) = bounded(64);
        let (changed, changes) = bounded(1);
        let (alive, ended) = bounded(0);
        let turn = Mutex::new(Turn::new(&who, clock.boottime()));
        let shared = Arc::new(Shared {
            who,
            keeper,
            clock,
            turn,
            jobs: Mutex::default(),
            unclaimed: Mutex::default(),
            unanswered: Mutex::default(),
            leash: Mutex::default(),
            changed,
            stop: Stop::new(),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("lease".to_owned()).spawn(move || {
            of_thread.look_after(&told);
            drop(alive);
        })?;
        Ok(LeaseGate { shared, tell, changes, ended })
    }

    /// How this host stands. Waits for nobody.
    pub(crate) fn standing(&self) -> Standing {
        let now = self.shared.clock.boottime();
        self.shared.turn().standing(now).clone()
    }

    /// Becomes ready when this host stands otherwise.
    pub(crate) fn changes(&self) -> &Receiver<()> {
        &self.changes
    }

    /// The jobs that this host schedules.
    pub(crate) fn set_jobs(&self, jobs: Vec<JobName>) {
        let mut known = lock(&self.shared.jobs);
        if *known != jobs {
            *known = jobs;
            let _ = self.tell.try_send(Told::Jobs);
        }
    }

    /// A run was ordered: a worker will claim it.
    pub(crate) fn expect(&self, claim: Claim) {
        lock(&self.shared.unclaimed).push(claim);
    }

    /// No run that was ordered will be claimed any more.
    pub(crate) fn expect_none(&self) {
        lock(&self.shared.unclaimed).clear();
    }

    /// Whether the run may begin. Waits for the keeper, up to the end of trust: to be asked on a worker's thread.
    pub(crate) fn claim(&self, claim: &Claim) -> Claimed {
        let claimed = self.claim_in_turn(claim);
        lock(&self.shared.unclaimed).remove(claim);
        claimed
    }

    fn claim_in_turn(&self, claim: &Claim) -> Claimed {
        let Shared { who, keeper, clock, unclaimed, stop: end, .. } = &*self.shared;
        let may_go_on = || end.is_told() || lock(unclaimed).is_next(claim);
        let mut is_asked = false;
        loop {
            let Some(left) = self.trust_left(claim.epoch) else {
                if is_asked {
                    lock(&self.shared.unanswered).push(claim.clone());
                }
                return Claimed::No;
            };
            if !may_go_on() {
                let _ = clock.wait(RETRY.min(left), &may_go_on);
                continue;
            }
            is_asked = true;
            let until = clock.monotonic() + patience_of(left);
            match keeper.claim(who, claim, &end.with_deadline(until, Arc::clone(clock))) {
                Ok(true) => {
                    let leash = self.shared.leash(claim.epoch);
                    return leash.map_or(Claimed::TooLate, Claimed::Yes);
                }
                Ok(false) => {
                    let _ = self.tell.try_send(Told::Doubt);
                    return Claimed::No;
                }
                // Claimed or not: the same question again tells.
                Err(_) => {
                    let _ = clock.wait(RETRY.min(left), &|| end.is_told());
                    if end.is_told() {
                        return Claimed::No;
                    }
                }
            }
        }
    }

    fn trust_left(&self, lead: i64) -> Option<Duration> {
        let now = self.shared.clock.boottime();
        match self.shared.turn().standing(now) {
            Standing::Leader { epoch, until, .. } if *epoch == lead => {
                until.checked_sub(now).filter(|left| !left.is_zero())
            }
            _ => None,
        }
    }

    /// Ends the thread, and gives the lease back if nothing of this host runs any more.
    pub(crate) fn end(&self, release: bool) {
        // A question that waits for an answer is broken off, and the thread hears.
        self.shared.stop.tell();
        let _ = self.tell.send_timeout(Told::End { release }, Duration::from_secs(1));
        let _ = self.ended.recv_timeout(RELEASE_LIMIT + Duration::from_secs(1));
    }
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        lock(&self.turn)
    }

    /// The leash of the runs of this lead; `None` where it is over.
    fn leash(&self, lead: i64) -> Option<Leash> {
        self.move_leash();
        let leash = lock(&self.leash).clone();
        leash.filter(|(epoch, leash)| *epoch == lead && !leash.is_over()).map(|(_, leash)| leash)
    }

    /// Lets the runs of a lead go on for as long as it is trusted, and those of a lead that is over no longer.
    fn move_leash(&self) {
        // The two locks are always taken in this order.
        let mut leash = lock(&self.leash);
        let lead = match self.turn().standing(self.clock.boottime()) {
            Standing::Leader { epoch, until, .. } => Some((*epoch, *until)),
            Standing::Follower { .. } => None,
        };
        match (lead, &*leash) {
            (Some((epoch, until)), Some((known, leash))) if epoch == *known => leash.move_to(until),
            _ => {
                if let Some((_, old)) = leash.take() {
                    old.move_to(Duration::ZERO);
                }
                let new = |until| Leash::new(until, Arc::clone(&self.clock));
                *leash = lead.map(|(epoch, until)| (epoch, new(until)));
            }
        }
    }

    fn look_after(&self, told: &Receiver<Told>) {
        let mut seen = Seen::default();
        loop {
            self.move_leash();
            self.say(&mut seen.said);
            let Moment { wall, boottime: now, .. } = Moment::of(&*self.clock);
            let (at, ask) = self.turn().next();
            let wait = at.saturating_sub(now).min(LONGEST_WAIT);
            if !wait.is_zero() {
                let alarm = self.clock.alarm(wall + wait);
                let heard = select! {
                    recv(told) -> told => Some(told.unwrap_or(Told::End { release: false })),
                    // It may still be too early: the boot clock counts what a suspended machine slept.
                    recv(alarm.ready()) -> _ => None,
                };
                if let Some(Told::End { release }) = self.hear(heard, now, &mut seen) {
                    return self.finish(release);
                }
                continue;
            }
            self.ask(ask, &mut seen);
            // The words that came while the question was under way.
            for heard in told.try_iter() {
                if let Some(Told::End { release }) = self.hear(Some(heard), now, &mut seen) {
                    return self.finish(release);
                }
            }
        }
    }

    /// Does as it is told; an end is for the caller.
    fn hear(&self, heard: Option<Told>, now: Duration, seen: &mut Seen) -> Option<Told> {
        match heard? {
            Told::Doubt => self.turn().doubt(now),
            Told::Jobs => {
                self.turn().jobs_changed();
                seen.compared = false;
            }
            end @ Told::End { .. } => return Some(end),
        }
        None
    }

    /// Asks, and takes note of the answer.
    fn ask(&self, ask: Ask, seen: &mut Seen) {
        let sent = self.clock.boottime();
        let limit = self.turn().patience(sent);
        let stop = self.stop.with_deadline(self.clock.monotonic() + limit, Arc::clone(&self.clock));
        match ask {
            Ask::Acquire => {
                let answer = self.keeper.acquire(&self.who, &stop);
                if let Ok(lease) = &answer {
                    self.compare_jobs(lease, seen, &stop);
                }
                let answer = answer.map_err(|error| error.to_string());
                let now = Moment::of(&*self.clock);
                self.turn().heard(sent, answer, now);
            }
            Ask::Enlist { epoch } => {
                let jobs = lock(&self.jobs).clone();
                let now = self.clock.now();
                let answer = self.keeper.enlist(&self.who, epoch, &jobs, now, &stop);
                if let Ok(marks) = &answer {
                    tell_of_strangers(marks, &jobs);
                }
                let answer = answer.map(|marks| self.without_unanswered(epoch, marks));
                let answer = answer.map_err(|error| error.to_string());
                let now = Moment::of(&*self.clock);
                self.turn().heard_marks(epoch, answer, now);
            }
        }
    }

    /// The marks as far as runs began. In the same lead nobody else has claimed anything, so what this host claimed without
    /// an answer has not run, whatever the keeper took in. Nothing later of the job was claimed either.
    fn without_unanswered(&self, lead: i64, mut marks: Marks) -> Marks {
        for claim in lock(&self.unanswered).drain(..).filter(|claim| claim.epoch == lead) {
            if let Some(mark) = marks.get_mut(&claim.job) {
                *mark = (claim.instant - TimeDelta::microseconds(1)).min(*mark);
            }
        }
        marks
    }

    /// Hosts of one group have the same jobs. A standby that has others would never run them, and nobody else would.
    fn compare_jobs(&self, lease: &Lease, seen: &mut Seen, stop: &Stop) {
        if lease.holder == self.who.holder {
            return;
        }
        if seen.holder.as_ref() != Some(&lease.holder) {
            // It has yet to enlist its jobs: they are compared a round later.
            (seen.holder, seen.compared) = (Some(lease.holder.clone()), false);
            return;
        }
        if seen.compared {
            return;
        }
        let jobs = lock(&self.jobs).clone();
        let marks = self.keeper.enlist(&self.who, lease.epoch, &jobs, self.clock.now(), stop);
        let Ok(marks) = marks else { return };
        seen.compared = true;
        tell_of_strangers(&marks, &jobs);
        let missing: Vec<&str> =
            jobs.iter().filter(|job| !marks.contains_key(*job)).map(JobName::as_str).collect();
        if !missing.is_empty() {
            logging::warn!(jobs = missing.join(", ").as_str(), holder = lease.host.as_str();
                "host that holds the lease does not have these jobs, and no host runs them: give all hosts the same jobs, or another lease name"
            );
        }
    }

    /// Tells the log, once, and the tick thread, how this host stands now.
    fn say(&self, said: &mut Option<Standing>) {
        let now = self.clock.boottime();
        let standing = self.turn().standing(now).clone();
        if said.as_ref().is_some_and(|said| said.is_like(&standing)) {
            return;
        }
        let lease = self.who.lease.as_str();
        match (&standing, &*said) {
            (
                Standing::Leader { epoch, fault: None, .. },
                Some(Standing::Leader { fault: Some(_), .. }),
            ) => {
                logging::info!(lease, epoch = *epoch; "lease is renewed again");
            }
            (Standing::Leader { epoch, fault: None, .. }, _) => {
                logging::info!(lease, epoch = *epoch, host = self.who.host.as_str(); "lease is held: this host runs the jobs");
            }
            (Standing::Leader { fault: Some(fault), .. }, _) => {
                logging::warn!(lease, error = fault.as_str(); "lease cannot be renewed: jobs go on until it ends");
            }
            (Standing::Follower { fault, .. }, Some(Standing::Leader { .. })) => {
                let error = fault.as_deref().unwrap_or("another host has it");
                logging::warn!(lease, error; "lease is lost: nothing starts, and runs are told to stop");
            }
            (Standing::Follower { holder: None, fault: None }, _) => {}
            (Standing::Follower { fault: Some(fault), .. }, _) => {
                logging::warn!(lease, error = fault.as_str(); "lease cannot be asked for: nothing starts until it can");
            }
            (Standing::Follower { holder: Some((host, _)), fault: None }, _) => {
                logging::info!(lease, holder = host.as_str(); "standby: another host holds the lease");
            }
        }
        *said = Some(standing);
        let _ = self.changed.try_send(());
    }

    fn finish(&self, release: bool) {
        let now = self.clock.boottime();
        let mut turn = self.turn();
        turn.look(now);
        let epoch = match (&turn.standing, turn.taken) {
            (Standing::Leader { epoch, .. }, _) => *epoch,
            (_, Some((epoch, _))) => epoch,
            _ => return,
        };
        turn.follow(None, None, now);
        drop(turn);
        self.move_leash();
        if release {
            let at = self.clock.monotonic() + RELEASE_LIMIT;
            let stop = Stop::new().with_deadline(at, Arc::clone(&self.clock));
            if let Err(error) = self.keeper.release(&self.who, epoch, &stop) {
                logging::warn!(error = error.to_string().as_str(); "lease cannot be given back: another host takes over when it ends");
            }
        }
    }
}

/// Hosts of one group have the same jobs; where not, a take-over loses some.
fn tell_of_strangers(marks: &Marks, jobs: &[JobName]) {
    let unknown: Vec<&str> =
        marks.keys().filter(|job| !jobs.contains(job)).map(JobName::as_str).collect();
    if !unknown.is_empty() {
        logging::warn!(jobs = unknown.join(", ").as_str();
            "other hosts of this lease had jobs that are not scheduled here: give all hosts the same jobs, or another lease name"
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests;
