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
//! the lease does. In that time all that runs is stopped, so that nothing is alive when another host may begin.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::clock::{Clock, LONGEST_WAIT, Moment};
use crate::config::JobName;
use crate::graph::lease::{Candidate, Claim, Lease, LeaseKeeper, Marks};
use crate::logging;
use crate::stop::Stop;
use crate::text;

/// How long before the end of the lease the holder lets go: a command has 10 s between SIGTERM and SIGKILL, and the rest
/// is for answers that were slow.
const MARGIN: Duration = Duration::from_secs(25);

/// How soon a question without an answer is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// How long giving the lease back may take at the end of the daemon.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// How this host stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Standing {
    /// It runs nothing.
    Follower {
        /// Who has the lease, and since when by this host's clock; `None` where that is not known.
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
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The run may begin.
    Yes,
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

    /// What to ask next, and when.
    pub(crate) fn next(&self) -> (Duration, Ask) {
        match (&self.standing, self.taken) {
            (_, Some((epoch, _))) => (self.ask_at, Ask::Enlist { epoch }),
            (Standing::Leader { epoch, .. }, None) if self.must_enlist => {
                (self.ask_at, Ask::Enlist { epoch: *epoch })
            }
            _ => (self.ask_at, Ask::Acquire),
        }
    }

    /// When an answer to a question of this moment is of no use any more.
    pub(crate) fn deadline(&self, now: Duration) -> Duration {
        match (&self.standing, self.taken) {
            (_, Some((_, until))) => until,
            (Standing::Leader { until, .. }, None) => *until,
            // For as long as this the answer would be good; a question that hangs must not keep the next one back.
            (Standing::Follower { .. }, None) => now + self.ttl / 4,
        }
        .max(now + Duration::from_millis(100))
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

/// What the thread is told.
enum Told {
    Doubt,
    Jobs,
    End { release: bool },
}

struct Shared {
    who: Candidate,
    keeper: Arc<dyn LeaseKeeper>,
    clock: Arc<dyn Clock>,
    turn: Mutex<Turn>,
    jobs: Mutex<Vec<JobName>>,
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
        let (jobs, stop) = (Mutex::default(), Stop::new());
        let shared = Arc::new(Shared { who, keeper, clock, turn, jobs, changed, stop });
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

    /// Whether the run may begin. Waits for the keeper, up to the end of trust: to be asked on a worker's thread.
    pub(crate) fn claim(&self, claim: &Claim) -> Claimed {
        let Shared { who, keeper, clock, .. } = &*self.shared;
        loop {
            let Some(left) = self.trust_left(claim.epoch) else { return Claimed::No };
            let stop = self.shared.stop.with_deadline(clock.monotonic() + left, Arc::clone(clock));
            match keeper.claim(who, claim, &stop) {
                Ok(true) if self.trust_left(claim.epoch).is_some() => return Claimed::Yes,
                Ok(true) => return Claimed::TooLate,
                Ok(false) => {
                    let _ = self.tell.try_send(Told::Doubt);
                    return Claimed::No;
                }
                // Claimed or not: the same question again tells.
                Err(_) => {
                    let _ = clock.wait(RETRY.min(left), &|| self.shared.stop.is_told());
                    if self.shared.stop.is_told() {
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
        let _ = self.tell.try_send(Told::End { release });
        self.shared.stop.tell();
        let _ = self.ended.recv_timeout(RELEASE_LIMIT + Duration::from_secs(1));
    }
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        lock(&self.turn)
    }

    fn look_after(&self, told: &Receiver<Told>) {
        let mut said = None;
        loop {
            self.say(&mut said);
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
                if let Some(Told::End { release }) = self.hear(heard, now) {
                    return self.finish(release);
                }
                continue;
            }
            self.ask(ask);
            // What was told while the question was under way.
            for heard in told.try_iter() {
                if let Some(Told::End { release }) = self.hear(Some(heard), now) {
                    return self.finish(release);
                }
            }
        }
    }

    /// Does as it is told; an end is for the caller.
    fn hear(&self, heard: Option<Told>, now: Duration) -> Option<Told> {
        match heard? {
            Told::Doubt => self.turn().doubt(now),
            Told::Jobs => self.turn().jobs_changed(),
            end @ Told::End { .. } => return Some(end),
        }
        None
    }

    /// Asks, and takes note of the answer.
    fn ask(&self, ask: Ask) {
        let sent = self.clock.boottime();
        let limit = self.turn().deadline(sent).saturating_sub(sent);
        let stop = self.stop.with_deadline(self.clock.monotonic() + limit, Arc::clone(&self.clock));
        match ask {
            Ask::Acquire => {
                let answer = self.keeper.acquire(&self.who, &stop);
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
                let answer = answer.map_err(|error| error.to_string());
                let now = Moment::of(&*self.clock);
                self.turn().heard_marks(epoch, answer, now);
            }
        }
    }

    /// Tells the log, once, and the tick thread, how this host stands now.
    fn say(&self, said: &mut Option<Standing>) {
        let now = self.clock.boottime();
        let standing = self.turn().standing(now).clone();
        let is_same = match (&*said, &standing) {
            (
                Some(Standing::Leader { epoch, fault, .. }),
                Standing::Leader { epoch: now, fault: fault_now, .. },
            ) => epoch == now && fault.is_some() == fault_now.is_some(),
            (
                Some(Standing::Follower { holder, fault }),
                Standing::Follower { holder: holder_now, fault: fault_now },
            ) => {
                let host =
                    |holder: &Option<(String, _)>| holder.as_ref().map(|(host, _)| host.clone());
                host(holder) == host(holder_now) && fault.is_some() == fault_now.is_some()
            }
            _ => false,
        };
        if is_same {
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
