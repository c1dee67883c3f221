//! Which occurrence runs, which is skipped, and why. Pure: no clock, no thread, no file.
//!
//! An *occurrence* is a job and an instant its line fires at. For each job the planner keeps a watermark: every
//! instant up to it is decided, except those it names as *waiting*. What is due lies between the watermark and now, so
//! a month of missed minutes is two instants and a count, never a loop.
//!
//! [`Planner::plan`] looks and proposes; [`Planner::accept`] makes the proposal true, once its decisions are on disk.
//! A plan that could not be recorded is dropped, and the same occurrences are still undecided.
//!
//! An occurrence that no line names is *demanded*: by the start of the daemon (`@reboot`), or by the end of another job
//! (`after`). It waits like one that was due and could not start, and is decided in the next plan.
//!
//! Due occurrences are judged in this order: a pause skips all of it; what a clock step jumped over is skipped for jobs
//! that follow the clock; what is later than `misfire_grace_time` is skipped; of several, `coalesce` lets the newest
//! run; `max_instances` and `overlap` say whether it runs, waits or is skipped.

mod judge;
mod occurrence;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use self::judge::{Judge, STEP_FAR, is_demanded, next_due};
pub(crate) use self::occurrence::{Decision, Fate, Mark, Notice, Plan, Wait};
use self::occurrence::{Progress, Role, Waiting};
use crate::clock::{Moment, Passed, STEP_MIN};
use crate::config::{JobName, JobSpec};
use crate::history::Remembered;
use crate::job::SkipReason;
use crate::schedule::{Schedule, Zone};

/// How often a job is looked at whose occurrence waits for a run in another process, which does not report here.
const FOREIGN_POLL: TimeDelta = TimeDelta::seconds(1);

/// Facts that the planner cannot know by itself.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Whether automation is paused.
    pub paused: bool,
    /// How many runs of each job other processes have queued or running.
    pub elsewhere: BTreeMap<JobName, u32>,
}

#[derive(Debug)]
struct Track {
    spec: Arc<JobSpec>,
    progress: Progress,
    /// The instant that was demanded last.
    demanded: Option<DateTime<Utc>>,
}

/// Decides for all jobs.
#[derive(Debug)]
pub struct Planner {
    tracks: BTreeMap<JobName, Track>,
    /// Every track's next due time, the soonest first: a tick looks only at those that are due.
    due: BTreeSet<(DateTime<Utc>, JobName)>,
    /// Runs of each job that are queued or running in this process.
    active: BTreeMap<JobName, u32>,
    /// For each job, those that run after it.
    followers: BTreeMap<JobName, Vec<JobName>>,
    /// Jobs with a waiting occurrence whose turn may have come.
    stirred: BTreeSet<JobName>,
    /// Jobs with a waiting occurrence that a run in another process holds up.
    watching: BTreeSet<JobName>,
    /// The memory of jobs that are not scheduled, should they come back.
    known: BTreeMap<JobName, Remembered>,
    last: Moment,
    /// No clock that is right shows an earlier time.
    earliest: DateTime<Utc>,
}

impl Planner {
    /// A planner without jobs, at a moment that later ones are compared with, and with what was remembered of the last
    /// time the program ran.
    pub fn new(moment: Moment, remembered: BTreeMap<JobName, Remembered>) -> Planner {
        Planner {
            tracks: BTreeMap::new(),
            due: BTreeSet::new(),
            active: BTreeMap::new(),
            followers: BTreeMap::new(),
            stirred: BTreeSet::new(),
            watching: BTreeSet::new(),
            known: remembered,
            last: moment,
            earliest: DateTime::UNIX_EPOCH,
        }
    }

    /// The same, with the earliest time that a clock which is right can show. An end or a start that a wrong clock dated
    /// before it is as new as its judgement.
    pub(crate) fn not_before(self, earliest: DateTime<Utc>) -> Planner {
        Planner { earliest, ..self }
    }

    /// Schedules `jobs` and nothing else, each name once. A job whose line and zone are the same goes on where it
    /// stands; any other one starts from now.
    ///
    /// Takes effect at once, recorded or not: should the record be lost, the job starts anew at the next start too.
    pub fn schedule(
        &mut self,
        jobs: impl IntoIterator<Item = Arc<JobSpec>>,
        now: DateTime<Utc>,
    ) -> Plan {
        let mut plan = Plan::empty();
        let mut old = std::mem::take(&mut self.tracks);
        self.due.clear();
        self.followers.clear();
        for spec in jobs {
            let name = spec.name.clone();
            let mut demanded = None;
            let mut progress = match (old.remove(&name), self.known.remove(&name)) {
                (Some(track), _) if track.spec.schedule == spec.schedule => {
                    demanded = track.demanded;
                    track.progress
                }
                (Some(track), _) => {
                    plan.notices.push(Notice::Changed(name.clone()));
                    plan.drop_waiting(&name, &track.progress.waiting);
                    plan.drop_undecided(&name, &track.spec.schedule, &track.progress, now);
                    let Progress { decided_until, epoch, .. } = track.progress;
                    plan.start_anew(&spec, Some((decided_until, epoch)), now)
                }
                (None, Some(known)) if known.schedule == signature(&spec) => {
                    plan.resume(&spec, &known, now)
                }
                (None, Some(known)) => {
                    let was_scheduled = !known.schedule.is_empty();
                    let notice = if was_scheduled { Notice::Changed } else { Notice::New };
                    plan.notices.push(notice(name.clone()));
                    plan.drop_known(&name, &known, now);
                    plan.start_anew(&spec, Some((known.decided_until, known.epoch)), now)
                }
                (None, None) => {
                    plan.notices.push(Notice::New(name.clone()));
                    plan.start_anew(&spec, None, now)
                }
            };
            // Computed anew even where nothing moved: the jitter may be another one.
            progress.due = next_due(&spec, progress.decided_until);
            self.due.extend(progress.due.map(|due| (due, name.clone())));
            if !progress.waiting.is_empty() {
                self.stirred.insert(name.clone());
            }
            if let Some(after) = &spec.after {
                self.followers.entry(after.job.clone()).or_default().push(name.clone());
            }
            self.tracks.insert(name, Track { spec, progress, demanded });
        }
        for (name, Track { spec, progress, .. }) in old {
            plan.drop_waiting(&name, &progress.waiting);
            // Judged below, like those of a job that went while the program was away.
            let Progress { decided_until, epoch, .. } = progress;
            let schedule = signature(&spec);
            let known = Remembered { schedule, decided_until, epoch, waiting: Vec::new() };
            self.known.insert(name, known);
        }
        for (name, known) in &mut self.known {
            if known.schedule.is_empty() && known.waiting.is_empty() {
                continue;
            }
            if !known.schedule.is_empty() {
                plan.notices.push(Notice::Gone(name.clone()));
            }
            plan.drop_known(name, known, now);
            // Should the job come back after the clock was set back, these instants are not its own again.
            known.decided_until = known.decided_until.max(now);
            known.schedule.clear();
            known.waiting.clear();
            plan.marks.push(Mark {
                job: name.clone(),
                schedule: String::new(),
                decided_until: known.decided_until,
                epoch: known.epoch,
            });
        }
        self.stirred.retain(|name| self.tracks.contains_key(name));
        self.watching.retain(|name| self.tracks.contains_key(name));
        plan
    }

    /// Whether there is anything to decide or to tell at this moment. Where not, it need not be planned for, only
    /// [`observe`](Planner::observe)d.
    pub fn has_work(&self, moment: Moment) -> bool {
        self.due.first().is_some_and(|(due, _)| *due <= moment.wall)
            || !self.stirred.is_empty()
            || !self.watching.is_empty()
            || Passed::between(self.last, moment).is_notable()
    }

    /// Notes what the clocks show, to compare the next moment with.
    pub fn observe(&mut self, moment: Moment) {
        self.last = moment;
    }

    /// Decides what is due. Changes nothing: [`accept`](Planner::accept) does.
    pub fn plan(&self, moment: Moment, around: &Surroundings) -> Plan {
        let passed = Passed::between(self.last, moment);
        let mut plan = Plan { moment: Some(moment), ..Plan::empty() };
        plan.notices.extend(notices(passed));
        let due = self.due.iter().take_while(|(due, _)| *due <= moment.wall).map(|(_, name)| name);
        let mut names: BTreeSet<&JobName> =
            due.chain(&self.stirred).chain(&self.watching).collect();
        if passed.step < TimeDelta::zero() {
            let ahead = |track: &&Track| track.progress.decided_until > moment.wall;
            names.extend(self.tracks.values().filter(ahead).map(|track| &track.spec.name));
        }
        for name in names {
            let Some(track) = self.tracks.get(name) else { continue };
            let elsewhere = around.elsewhere.get(name).copied().unwrap_or(0);
            let active = self.active.get(name).copied().unwrap_or(0);
            let mut judge = Judge {
                spec: &track.spec,
                moment,
                passed,
                earliest: self.earliest,
                progress: track.progress.clone(),
                free: track.spec.policy.max_instances.saturating_sub(active + elsewhere) as usize,
                plan: &mut plan,
            };
            judge.rebase();
            if around.paused {
                judge.skip_all(SkipReason::Paused)
            } else {
                judge.judge()
            }
            let mut progress = judge.progress;
            if elsewhere > 0 && !progress.waiting.is_empty() {
                plan.watching.insert(name.clone());
            }
            let before = &track.progress;
            if (progress.decided_until, progress.epoch) != (before.decided_until, before.epoch) {
                progress.due = next_due(&track.spec, progress.decided_until);
                plan.marks.push(Mark {
                    job: name.clone(),
                    schedule: signature(&track.spec),
                    decided_until: progress.decided_until,
                    epoch: progress.epoch,
                });
            }
            plan.note_waits(name, &before.waiting, &progress.waiting);
            plan.progress.push((name.clone(), progress));
        }
        // Oldest first: with one worker free after a long pause, the run that has waited longest goes.
        crate::order::sort_by_key(&mut plan.decisions, |decision| decision.first);
        plan
    }

    /// Makes a plan true: its decisions are recorded.
    pub fn accept(&mut self, plan: Plan) {
        for decision in &plan.decisions {
            if matches!(decision.fate, Fate::Start { .. }) {
                self.begun(&decision.job);
            }
        }
        for (name, progress) in plan.progress {
            self.stirred.remove(&name);
            let Some(track) = self.tracks.get_mut(&name) else { continue };
            if track.progress.due != progress.due {
                if let Some(due) = track.progress.due {
                    self.due.remove(&(due, name.clone()));
                }
                self.due.extend(progress.due.map(|due| (due, name)));
            }
            track.progress = progress;
        }
        if let Some(moment) = plan.moment {
            self.watching = plan.watching;
            self.last = moment;
        }
    }

    /// The daemon starts: each job with `@reboot` is due now, once. Returns which occurrences begin to wait.
    pub fn started(&mut self, now: DateTime<Utc>) -> Vec<Wait> {
        let at_start = |track: &&Track| track.spec.schedule.fires_at_start();
        let names: Vec<JobName> =
            self.tracks.values().filter(at_start).map(|track| track.spec.name.clone()).collect();
        names.iter().filter_map(|name| self.demand(name, now)).collect()
    }

    /// Another host has decided meanwhile: each job goes on from its mark, and one without a mark from now. What was due
    /// here and not decided is due again if it is later than its mark.
    ///
    /// Takes effect at once, like [`schedule`](Planner::schedule).
    pub fn take_over(
        &mut self,
        marks: &BTreeMap<JobName, DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Plan {
        let mut plan = Plan::empty();
        self.due.clear();
        for (name, track) in &mut self.tracks {
            let decided_until = marks.get(name).copied().unwrap_or(now);
            let ahead = decided_until - now;
            if ahead > STEP_MIN {
                plan.notices.push(Notice::AheadOfThisHost(name.clone(), ahead));
            }
            let before = std::mem::take(&mut track.progress.waiting);
            for occurrence in &before {
                let is_open = occurrence.instant > decided_until;
                match is_demanded(occurrence.instant) {
                    // No line brings it back.
                    true if is_open => {
                        track
                            .progress
                            .waiting
                            .push(Waiting { role: Role::Unjudged, ..*occurrence });
                    }
                    // It is found again between the mark and now.
                    false if is_open => {}
                    _ => plan.skip_one(name, occurrence, SkipReason::Leader, Duration::ZERO),
                }
            }
            plan.note_waits(name, &before, &track.progress.waiting);
            track.progress.decided_until = decided_until;
            track.progress.due = next_due(&track.spec, decided_until);
            self.due.extend(track.progress.due.map(|due| (due, name.clone())));
            if !track.progress.waiting.is_empty() {
                self.stirred.insert(name.clone());
            }
            plan.marks.push(Mark {
                job: name.clone(),
                schedule: signature(&track.spec),
                decided_until,
                epoch: track.progress.epoch,
            });
        }
        plan
    }

    /// A run of the job has ended by itself: those that run `after` such an end are due, at that instant. Returns which
    /// occurrences begin to wait.
    pub fn followed(&mut self, job: &JobName, succeeded: bool, end: DateTime<Utc>) -> Vec<Wait> {
        let Some(followers) = self.followers.get(job).cloned() else { return Vec::new() };
        let wants = |name: &&JobName| {
            let after = self.tracks.get(*name).and_then(|track| track.spec.after.as_ref());
            after.is_some_and(|after| after.fires(succeeded))
        };
        let followers: Vec<JobName> = followers.iter().filter(wants).cloned().collect();
        followers.iter().filter_map(|name| self.demand(name, end)).collect()
    }

    /// Makes the job due at an instant of its own, which is none that a line can name and none that was demanded before.
    fn demand(&mut self, job: &JobName, at: DateTime<Utc>) -> Option<Wait> {
        let track = self.tracks.get_mut(job)?;
        let Progress { waiting, epoch, .. } = &mut track.progress;
        let mut instant = at.trunc_subsecs(6);
        let is_taken = |instant| {
            track.demanded == Some(instant) || waiting.iter().any(|other| other.instant == instant)
        };
        while !is_demanded(instant) || is_taken(instant) {
            instant += TimeDelta::microseconds(1);
        }
        track.demanded = Some(instant);
        waiting.push(Waiting { instant, epoch: *epoch, role: Role::Unjudged });
        self.stirred.insert(job.clone());
        Some(Wait { job: job.clone(), instant, epoch: *epoch, begins: true })
    }

    /// Takes up an occurrence that another process has recorded as waiting; false if it is known here.
    pub fn adopt(&mut self, job: &JobName, instant: DateTime<Utc>, epoch: u32) -> bool {
        let Some(track) = self.tracks.get_mut(job) else { return false };
        let waiting = &mut track.progress.waiting;
        if waiting.iter().any(|other| (other.instant, other.epoch) == (instant, epoch)) {
            return false;
        }
        waiting.push(Waiting { instant, epoch, role: Role::Unjudged });
        self.stirred.insert(job.clone());
        true
    }

    /// A run of the job begins that no plan started: one that was cut off begins again.
    pub fn begun(&mut self, job: &JobName) {
        *self.active.entry(job.clone()).or_default() += 1;
    }

    /// A run of the job is over, or was taken back.
    pub fn ended(&mut self, job: &JobName) {
        if let Some(active) = self.active.get_mut(job) {
            *active -= 1;
            if *active == 0 {
                self.active.remove(job);
            }
        }
        if self.tracks.get(job).is_some_and(|track| !track.progress.waiting.is_empty()) {
            self.stirred.insert(job.clone());
        }
    }

    /// Whether one more run of the job keeps within its `max_instances`, of which `elsewhere` run in other processes.
    pub fn has_room(&self, job: &JobName, elsewhere: u32) -> bool {
        let active = self.active.get(job).copied().unwrap_or(0);
        self.tracks
            .get(job)
            .is_some_and(|track| active + elsewhere < track.spec.policy.max_instances)
    }

    /// Whether the job's line fires at `next` and not between `instant` and that.
    pub fn follows(&self, job: &JobName, instant: DateTime<Utc>, next: DateTime<Utc>) -> bool {
        let track = self.tracks.get(job);
        track.is_some_and(|track| track.spec.schedule.next_after(instant) == Some(next))
    }

    /// When there will be something to decide.
    pub fn next_wake(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.stirred.is_empty() {
            return Some(now);
        }
        let due = self.due.first().map(|(due, _)| *due);
        let poll = (!self.watching.is_empty()).then(|| now + FOREIGN_POLL);
        due.into_iter().chain(poll).min()
    }

    /// The next job due, and its time.
    pub fn next_due(&self) -> Option<&(DateTime<Utc>, JobName)> {
        self.due.first()
    }

    /// The marks of all jobs as they stand, for a state file that has lost them.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        self.tracks.values().map(|track| Mark {
            job: track.spec.name.clone(),
            schedule: signature(&track.spec),
            decided_until: track.progress.decided_until,
            epoch: track.progress.epoch,
        })
    }
}

impl Plan {
    fn empty() -> Plan {
        Plan {
            decisions: Vec::new(),
            marks: Vec::new(),
            waits: Vec::new(),
            notices: Vec::new(),
            progress: Vec::new(),
            watching: BTreeSet::new(),
            moment: None,
        }
    }

    /// Schedules a job from now on. `before` is how far it was once decided, under whatever line: an instant that may
    /// have made a run must not be taken for the same one.
    fn start_anew(
        &mut self,
        spec: &JobSpec,
        before: Option<(DateTime<Utc>, u32)>,
        now: DateTime<Utc>,
    ) -> Progress {
        let epoch = match before {
            Some((decided_until, epoch)) if decided_until > now => epoch + 1,
            Some((_, epoch)) => epoch,
            None => 0,
        };
        let progress = Progress { decided_until: now, epoch, waiting: Vec::new(), due: None };
        self.marks.push(Mark {
            job: spec.name.clone(),
            schedule: signature(spec),
            decided_until: now,
            epoch,
        });
        progress
    }

    /// Goes on where the program left off.
    fn resume(&mut self, spec: &JobSpec, known: &Remembered, now: DateTime<Utc>) -> Progress {
        let Remembered { decided_until, epoch, .. } = *known;
        let mut progress = Progress { decided_until, epoch, waiting: Vec::new(), due: None };
        let ahead = decided_until - now;
        if ahead > STEP_MIN {
            self.notices.push(Notice::Ahead(spec.name.clone(), ahead));
            // `Judge::rebase` does the same when the program sees the clock go back.
            if spec.schedule.is_wildcard() || ahead > STEP_FAR {
                progress = self.start_anew(spec, Some((decided_until, epoch)), now);
            }
        }
        progress.waiting = waiting(known);
        progress
    }

    /// Ends the waiting of occurrences whose job or line is no more.
    fn drop_waiting(&mut self, job: &JobName, waiting: &[Waiting]) {
        for occurrence in waiting {
            self.skip_one(job, occurrence, SkipReason::Disabled, Duration::ZERO);
        }
        self.note_waits(job, waiting, &[]);
    }

    /// The same for a job that is only remembered.
    fn drop_known(&mut self, job: &JobName, known: &Remembered, now: DateTime<Utc>) {
        let waiting = waiting(known);
        self.drop_waiting(job, &waiting);
        if let Some(schedule) = schedule_of(&known.schedule) {
            let Remembered { decided_until, epoch, .. } = *known;
            let progress = Progress { decided_until, epoch, waiting, due: None };
            self.drop_undecided(job, &schedule, &progress, now);
        }
    }

    /// Records the instants of a schedule that is no more, as far as they have come and were not decided.
    fn drop_undecided(
        &mut self,
        job: &JobName,
        schedule: &Schedule,
        progress: &Progress,
        now: DateTime<Utc>,
    ) {
        let after = progress.decided_until;
        let Some(first) = schedule.next_after(after).filter(|first| *first <= now) else { return };
        let Some(last) = schedule.latest_in(after, now) else { return };
        self.decisions.push(Decision {
            job: job.clone(),
            first,
            last,
            count: schedule.count_between(after, last),
            epoch: progress.epoch,
            lateness: (now - first).to_std().unwrap_or_default(),
            fate: Fate::Skip(SkipReason::Disabled),
        });
    }

    fn skip_one(
        &mut self,
        job: &JobName,
        occurrence: &Waiting,
        reason: SkipReason,
        lateness: Duration,
    ) {
        self.decisions.push(Decision {
            job: job.clone(),
            first: occurrence.instant,
            last: occurrence.instant,
            count: 1,
            epoch: occurrence.epoch,
            lateness,
            fate: Fate::Skip(reason),
        });
    }

    fn note_waits(&mut self, job: &JobName, before: &[Waiting], after: &[Waiting]) {
        let is_in = |one: &Waiting, list: &[Waiting]| {
            list.iter().any(|other| (other.instant, other.epoch) == (one.instant, one.epoch))
        };
        let ends = before.iter().filter(|one| !is_in(one, after)).map(|one| (one, false));
        let begins = after.iter().filter(|one| !is_in(one, before)).map(|one| (one, true));
        for (one, begins) in ends.chain(begins) {
            let Waiting { instant, epoch, .. } = *one;
            self.waits.push(Wait { job: job.clone(), instant, epoch, begins });
        }
    }
}

fn waiting(known: &Remembered) -> Vec<Waiting> {
    let waiting =
        |&(instant, epoch): &(DateTime<Utc>, u32)| Waiting { instant, epoch, role: Role::Unjudged };
    known.waiting.iter().map(waiting).collect()
}

/// The remarks for an operator about the clocks.
fn notices(passed: Passed) -> impl Iterator<Item = Notice> {
    let suspended = passed.suspended().map(Notice::Suspended);
    let stepped = (!passed.step.is_zero()).then_some(Notice::Stepped(passed.step));
    suspended.into_iter().chain(stepped)
}

/// The schedule that a [`signature`] was made of; none where the text is no schedule to this program.
fn schedule_of(signature: &str) -> Option<Schedule> {
    let (lines, zone) = signature.rsplit_once(' ')?;
    let lines: Vec<&str> = lines.split("; ").collect();
    Schedule::parse_lines(&lines, Zone::parse(zone).ok()?).ok()
}

/// The owner of a watermark.
fn signature(spec: &JobSpec) -> String {
    format!("{} {}", spec.schedule, spec.schedule.zone())
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
