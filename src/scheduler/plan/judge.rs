//! The fate of one job's due occurrences at one moment.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::occurrence::{Decision, Fate, Judged, Plan, Progress, Role, Waiting};
use crate::clock::{Moment, Passed};
use crate::config::{JobSpec, Overlap};
use crate::job::SkipReason;
use crate::order;

/// A clock set back by more than this is a new time to live in, as Debian's cron sees it; one set forward by more is
/// like one that stood still during a downtime.
pub(super) const STEP_FAR: TimeDelta = TimeDelta::hours(3);

/// Without `coalesce`, how many missed occurrences run after a downtime: enough to catch up, too few to drown in.
const CATCH_UP_MAX: usize = 10;

/// When the first occurrence after the watermark is due.
pub(super) fn next_due(spec: &JobSpec, decided_until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    spec.schedule.next_after(decided_until).map(|instant| due_time(spec, instant))
}

/// The instant plus its jitter: 0 to `jitter` whole seconds, always the same for the same job and instant. It stays
/// short of the next instant, so that occurrences are due in their order.
pub(super) fn due_time(spec: &JobSpec, instant: DateTime<Utc>) -> DateTime<Utc> {
    let mut span = spec.policy.jitter.as_secs();
    if span == 0 {
        return instant;
    }
    if let Some(next) = spec.schedule.next_after(instant) {
        span = span.min((next - instant).num_seconds().unsigned_abs().saturating_sub(1));
    }
    let seed = instant.timestamp().cast_unsigned();
    let jitter = xxh3_64_with_seed(spec.name.as_str().as_bytes(), seed) % (span + 1);
    instant + Duration::from_secs(jitter)
}

/// Whether an instant is of the kind that no line names.
pub(super) fn is_demanded(instant: DateTime<Utc>) -> bool {
    instant.timestamp_subsec_micros() != 0
}

/// Instants of one job in a row.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// The newest instant before.
    after: DateTime<Utc>,
    last: DateTime<Utc>,
}

/// Judges one job at one moment.
pub(super) struct Judge<'a> {
    pub(super) spec: &'a JobSpec,
    pub(super) moment: Moment,
    pub(super) passed: Passed,
    /// No clock that is right shows an earlier time.
    pub(super) earliest: DateTime<Utc>,
    pub(super) progress: Progress,
    /// How many more runs keep within `max_instances`.
    pub(super) free: usize,
    pub(super) plan: &'a mut Plan,
}

/// The order in which occurrences of one job fell due.
fn age(occurrence: &Waiting) -> (u32, DateTime<Utc>) {
    (occurrence.epoch, occurrence.instant)
}

impl Judge<'_> {
    /// After the clock was set back: a job that follows the clock lives through the same hour again, and after a far
    /// step every job does. A fixed job waits until the clock shows what it had not yet shown.
    pub(super) fn rebase(&mut self) {
        let back = -self.passed.step;
        let follows = self.spec.schedule.is_wildcard() || back > STEP_FAR;
        if back > TimeDelta::zero() && follows && self.progress.decided_until > self.moment.wall {
            self.progress.decided_until = self.moment.wall;
            self.progress.epoch += 1;
        }
    }

    pub(super) fn judge(&mut self) {
        let (remembered, mut held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.progress.waiting)
            .into_iter()
            .partition(|occurrence| matches!(occurrence.role, Role::Unjudged));
        let (mut remembered, late): (Vec<_>, Vec<_>) =
            remembered.into_iter().partition(|occurrence| self.is_in_time(occurrence.instant));
        for occurrence in &late {
            self.skip_waiting(occurrence, SkipReason::Misfire);
        }
        order::sort_by_key(&mut held, age);
        order::sort_by_key(&mut remembered, age);
        let due = self.take_due();
        if self.spec.policy.coalesce {
            self.judge_newest(held, remembered, due);
        } else {
            self.judge_in_order(held, remembered, &due);
        }
    }

    /// Skips whatever is due or waits.
    pub(super) fn skip_all(&mut self, reason: SkipReason) {
        for occurrence in std::mem::take(&mut self.progress.waiting) {
            self.skip_waiting(&occurrence, reason);
        }
        let after = self.progress.decided_until;
        if let Some(last) = self.newest_due(after, self.moment.wall) {
            self.skip(Stretch { after, last }, reason);
            self.progress.decided_until = last;
        }
    }

    /// Moves the watermark over everything that is due and returns it, in one stretch or two, the older first; what a
    /// clock step jumped over is skipped in between where the job follows the clock.
    fn take_due(&mut self) -> Vec<Stretch> {
        let after = self.progress.decided_until;
        let Some(newest) = self.newest_due(after, self.moment.wall) else { return Vec::new() };
        self.progress.decided_until = newest;
        let Passed { step, real, .. } = self.passed;
        if !self.passed_over() || !self.spec.schedule.is_wildcard() {
            return vec![Stretch { after, last: newest }];
        }
        // The step was seen some time after it happened, at most `real`: what fell due within that time may have come
        // by itself, and is not taken for jumped over.
        let before = self.newest_due(after, self.moment.wall - step).unwrap_or(after);
        let jumped = self.newest_due(before, self.moment.wall - real).unwrap_or(before);
        if jumped > before {
            self.skip(Stretch { after: before, last: jumped }, SkipReason::Misfire);
        }
        let stretches = [Stretch { after, last: before }, Stretch { after: jumped, last: newest }];
        stretches.into_iter().filter(|stretch| stretch.last > stretch.after).collect()
    }

    /// `coalesce`: of all that is due or waits, the newest runs and stands for the rest.
    fn judge_newest(
        &mut self,
        held: Vec<Waiting>,
        remembered: Vec<Waiting>,
        mut due: Vec<Stretch>,
    ) {
        if due.last().is_some_and(|newest| !self.is_in_time(newest.last)) {
            for stretch in due.drain(..) {
                self.skip(stretch, SkipReason::Misfire);
            }
        }
        let nothing_new = remembered.is_empty() && due.is_empty();
        let newest_due = due.last().map(|stretch| self.arrived(stretch.last));
        let waiting = || held.iter().chain(&remembered);
        let order = |occurrence: &Waiting| (occurrence.epoch, occurrence.instant);
        let newest = newest_due.into_iter().chain(waiting().cloned()).max_by_key(order);
        let Some(newest) = newest else { return };
        let is_newest = |instant, epoch| (instant, epoch) == (newest.instant, newest.epoch);

        let queues = self.spec.policy.overlap == Overlap::Queue;
        let reason = if self.free > 0 { SkipReason::Coalesced } else { SkipReason::Overlap };
        if self.free == 0 && (nothing_new || !queues) {
            // Occurrences that waited go on waiting; new ones find the job busy.
            for occurrence in &remembered {
                self.skip_waiting(occurrence, reason);
            }
            for stretch in due {
                self.skip(stretch, reason);
            }
            self.progress.waiting = held;
            return;
        }
        let mut older = 0;
        for occurrence in waiting().filter(|other| !is_newest(other.instant, other.epoch)) {
            self.skip_waiting(occurrence, reason);
            older += 1;
        }
        for stretch in due {
            let is_last = is_newest(stretch.last, self.progress.epoch);
            let before = if is_last { self.without_last(stretch) } else { Some(stretch) };
            older += before.map_or(0, |before| self.skip(before, reason));
        }
        if self.free > 0 {
            self.start(&newest, older);
        } else {
            self.hold(newest, Role::Pending);
        }
    }

    /// Without `coalesce`: what is in time runs in order, at most the [`CATCH_UP_MAX`] newest. Where a job may not run
    /// as often at once, the rest waits for its turn.
    fn judge_in_order(&mut self, held: Vec<Waiting>, remembered: Vec<Waiting>, due: &[Stretch]) {
        let mut batch = remembered;
        batch.extend(self.newest_in_time(due).into_iter().map(|instant| self.arrived(instant)));
        order::sort_by_key(&mut batch, age);
        let too_many = batch.len().saturating_sub(CATCH_UP_MAX);
        for occurrence in batch.drain(..too_many) {
            self.skip_waiting(&occurrence, SkipReason::Misfire);
        }

        // A waiting occurrence goes first, and may leave no room.
        let (begin, wait) = held.split_at(self.free.min(held.len()));
        for occurrence in begin {
            self.start(occurrence, 0);
        }
        self.progress.waiting = wait.to_vec();
        let room = self.free - begin.len();
        if room > 0 {
            let wait = batch.split_off(room.min(batch.len()));
            for occurrence in &batch {
                self.start(occurrence, 0);
            }
            for occurrence in wait {
                self.hold(occurrence, Role::CatchUp);
            }
            return;
        }
        let newest = match self.spec.policy.overlap {
            Overlap::Skip => None,
            Overlap::Queue => batch.pop(),
        };
        if newest.is_some() {
            let (replaced, wait) = std::mem::take(&mut self.progress.waiting)
                .into_iter()
                .partition(|occurrence| matches!(occurrence.role, Role::Pending(_)));
            self.progress.waiting = wait;
            batch.splice(0..0, replaced);
        }
        for occurrence in &batch {
            self.skip_waiting(occurrence, SkipReason::Overlap);
        }
        if let Some(newest) = newest {
            self.hold(newest, Role::Pending);
        }
    }

    /// The [`CATCH_UP_MAX`] newest of what is due, the oldest first, as far as they are in time; the others are
    /// skipped.
    fn newest_in_time(&mut self, due: &[Stretch]) -> Vec<DateTime<Utc>> {
        let mut instants = Vec::new();
        for stretch in due.iter().rev() {
            let mut left = Some(*stretch);
            while let Some(stretch) = left {
                if instants.len() == CATCH_UP_MAX || !self.is_in_time(stretch.last) {
                    break;
                }
                instants.push(stretch.last);
                left = self.without_last(stretch);
            }
            if let Some(rest) = left {
                self.skip(rest, SkipReason::Misfire);
            }
        }
        instants.reverse();
        instants
    }

    /// The newest instant after the watermark `after` that is due at `now`.
    fn newest_due(&self, after: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let newest = self.spec.schedule.latest_in(after, now)?;
        if due_time(self.spec, newest) <= now {
            return Some(newest);
        }
        // The jitter of the one before ends before this one's instant.
        self.spec.schedule.latest_in(after, newest - TimeDelta::seconds(1))
    }

    fn without_last(&self, stretch: Stretch) -> Option<Stretch> {
        let Stretch { after, last } = stretch;
        let last = self.spec.schedule.latest_in(after, last - TimeDelta::seconds(1))?;
        Some(Stretch { after, last })
    }

    /// Whether the clock was set forward over hours that nobody lived through. A far step is otherwise: there the clock
    /// was wrong before, as that of a board without a clock chip, and the time did pass.
    fn passed_over(&self) -> bool {
        self.passed.step > TimeDelta::zero() && self.passed.step <= STEP_FAR
    }

    /// How late an occurrence is that is judged now. Time that never passed, because the clock jumped over it, makes
    /// nothing late.
    fn lateness(&self, instant: DateTime<Utc>) -> Duration {
        if instant < self.earliest && is_demanded(instant) {
            return Duration::ZERO;
        }
        let passed_over = if self.passed_over() { self.passed.step } else { TimeDelta::zero() };
        let now = self.moment.wall - passed_over;
        (now - due_time(self.spec, instant)).to_std().unwrap_or(Duration::ZERO)
    }

    /// In whole seconds, like the grace time: an occurrence with a grace time of 0 has a chance.
    fn is_in_time(&self, instant: DateTime<Utc>) -> bool {
        let grace = self.spec.policy.misfire_grace_time;
        grace.is_none_or(|grace| self.lateness(instant).as_secs() <= grace.as_secs())
    }

    /// An occurrence that is due now.
    fn arrived(&self, instant: DateTime<Utc>) -> Waiting {
        Waiting { instant, epoch: self.progress.epoch, role: Role::Unjudged }
    }

    fn judged(&self, occurrence: &Waiting) -> Judged {
        match occurrence.role {
            Role::Unjudged => {
                Judged { lateness: self.lateness(occurrence.instant), since: self.moment.monotonic }
            }
            Role::CatchUp(judged) | Role::Pending(judged) => judged,
        }
    }

    fn hold(&mut self, occurrence: Waiting, role: fn(Judged) -> Role) {
        let role = role(self.judged(&occurrence));
        self.progress.waiting.push(Waiting { role, ..occurrence });
    }

    fn start(&mut self, occurrence: &Waiting, coalesced: u64) {
        let Judged { lateness, since } = self.judged(occurrence);
        self.plan.decisions.push(Decision {
            job: self.spec.name.clone(),
            first: occurrence.instant,
            last: occurrence.instant,
            count: 1,
            epoch: occurrence.epoch,
            lateness,
            fate: Fate::Start { coalesced, waiting_since: since },
        });
    }

    fn skip_waiting(&mut self, occurrence: &Waiting, reason: SkipReason) {
        let lateness = self.judged(occurrence).lateness;
        self.plan.skip_one(&self.spec.name, occurrence, reason, lateness);
    }

    /// Skips a stretch and says how many instants it has.
    fn skip(&mut self, stretch: Stretch, reason: SkipReason) -> u64 {
        let Stretch { after, last } = stretch;
        let schedule = &self.spec.schedule;
        let first = schedule.next_after(after).unwrap_or(last);
        let count = if first == last { 1 } else { schedule.count_between(after, last) };
        self.plan.decisions.push(Decision {
            job: self.spec.name.clone(),
            first,
            last,
            count,
            epoch: self.progress.epoch,
            lateness: self.lateness(first),
            fate: Fate::Skip(reason),
        });
        count
    }
}
