//! One line of five fields in a zone: from wall times to instants, with rules for the hours that a zone skips or repeats.

use std::sync::OnceLock;

use chrono::MappedLocalTime;

use super::error::ScheduleError;
use super::fields::{Engines, Fields};
use super::seconds::{DAY_S, FIRST_WALL, instant};
use super::zone::Zone;

/// Instants that a fixed job names inside a longer gap than this are dropped: a zone that moves by more than three hours has
/// changed its date, and Debian's cron makes nothing up then either.
const LONGEST_GAP_S: i64 = 3 * 3_600;

/// How long after a change of a zone's clock a line may fire otherwise than its fields say: the longest fold, and some
/// hours to spare.
const CHANGE_S: i64 = 26 * 3_600;

pub(super) struct CronLine {
    pub(super) fields: Fields,
    zone: Zone,
    /// Made at the first question: a line that is only checked or shown never pays for it.
    pub(super) engines: OnceLock<Engines>,
}

impl CronLine {
    pub(super) fn parse(expression: &str, zone: Zone) -> Result<CronLine, ScheduleError> {
        Ok(CronLine { fields: Fields::parse(expression)?, zone, engines: OnceLock::new() })
    }
}

impl CronLine {
    /// The first wall time after `wall` that the fields name, whatever the zone makes of it.
    fn next_wall(&self, wall: i64) -> Option<i64> {
        let question = instant(wall.max(FIRST_WALL - 1));
        let engines = self.engines.get_or_init(|| self.fields.engines());
        engines
            .iter()
            .filter_map(|engine| engine.after(&question).next())
            .min()
            .map(|t| t.timestamp())
    }

    fn next_wildcard(&self, t: i64) -> Option<i64> {
        let offset = self.offset(t);
        let mut wall = t + offset;
        // In the first pass of a fold: the rest of this pass comes first, then the second pass from its start.
        if let MappedLocalTime::Ambiguous(first, second) = self.instants(wall)
            && t == first
        {
            let change = self.change_between(first, second);
            if let Some(next) = self.next_wall(wall)
                && next - offset < change
            {
                return Some(next - offset);
            }
            wall = change + self.offset(change) - 1;
        }
        loop {
            let next = self.next_wall(wall)?;
            match self.instants(next) {
                MappedLocalTime::Single(next) => return Some(next),
                MappedLocalTime::Ambiguous(first, second) => {
                    return Some(if first > t { first } else { second });
                }
                // At most once for each gap of the zone.
                MappedLocalTime::None => wall = self.gap_around(next).end - 1,
            }
        }
    }

    fn next_fixed(&self, t: i64) -> Option<i64> {
        let mut wall = self.furthest_wall(t);
        loop {
            let next = self.next_wall(wall)?;
            match self.instants(next) {
                MappedLocalTime::Single(next) | MappedLocalTime::Ambiguous(next, _) => {
                    return Some(next);
                }
                MappedLocalTime::None => {
                    let gap = self.gap_around(next);
                    if gap.end - gap.start <= LONGEST_GAP_S {
                        return Some(gap.change);
                    }
                    wall = gap.end - 1;
                }
            }
        }
    }

    /// The first fire time after the instant `t`.
    pub(super) fn next_after(&self, t: i64) -> Option<i64> {
        if self.fields.wildcard { self.next_wildcard(t) } else { self.next_fixed(t) }
    }

    /// How many fire times lie in (`after`, `until`].
    pub(super) fn count_between(&self, after: i64, until: i64) -> u64 {
        if self.fields.wildcard {
            self.count_wildcard(after, until)
        } else {
            self.count_fixed(after, until)
        }
    }

    /// How many instants in (`after`, `until`] one of `lines`, which share a zone, fires at: each counts once.
    pub(super) fn count_union(lines: &[&CronLine], after: i64, until: i64) -> u64 {
        let [first, ..] = lines else { return 0 };
        if let [only] = lines {
            return only.count_between(after, until);
        }
        let fields: Vec<&Fields> = lines.iter().map(|line| &line.fields).collect();
        let steady = |from: i64, to: i64| {
            Fields::count_union(&fields, from + first.offset(from), to + first.offset(to))
        };
        let mut count = 0;
        let mut from = after;
        // Around a change each line has rules of its own, so there the instants are counted one by one.
        for change in first.changes(after - CHANGE_S, until) {
            if change - 1 > from {
                count += steady(from, change - 1);
                from = change - 1;
            }
            let end = (change + CHANGE_S).min(until);
            while let Some(next) =
                lines.iter().filter_map(|line| line.next_after(from)).min().filter(|t| *t <= end)
            {
                count += 1;
                from = next;
            }
            from = from.max(end);
        }
        if from < until { count + steady(from, until) } else { count }
    }

    fn count_wildcard(&self, after: i64, until: i64) -> u64 {
        let mut count = 0;
        let mut from = after + self.offset(after);
        for change in self.changes(after, until) {
            count += self.fields.count_between(from, change - 1 + self.offset(change - 1));
            from = change + self.offset(change) - 1;
        }
        count + self.fields.count_between(from, until + self.offset(until))
    }

    fn count_fixed(&self, after: i64, until: i64) -> u64 {
        let named = self.fields.count_between(self.furthest_wall(after), self.furthest_wall(until));
        // Times inside a gap have no instants of their own: they fire as one, at the end of the gap.
        let lost = self.changes(after, until).map(|change| {
            let gap = Gap {
                start: change + self.offset(change - 1),
                end: change + self.offset(change),
                change,
            };
            let inside = self.fields.count_between(gap.start - 1, gap.end - 1);
            if inside == 0 || gap.end - gap.start > LONGEST_GAP_S {
                inside
            } else {
                inside - 1 + self.fields.count_between(gap.end - 1, gap.end)
            }
        });
        named - lost.sum::<u64>()
    }

    /// The furthest the wall clock has been at instant `t`: what it shows, except in the second pass of a fold, where
    /// it is the last second of the first. A fixed job lives by this clock, which never goes back.
    fn furthest_wall(&self, t: i64) -> i64 {
        let wall = t + self.offset(t);
        match self.instants(wall) {
            MappedLocalTime::Ambiguous(first, second) if t == second => {
                self.change_between(first, second) - 1 + self.offset(first)
            }
            _ => wall,
        }
    }

    fn offset(&self, t: i64) -> i64 {
        self.zone.offset(t)
    }

    /// The instants at which the zone's clock shows `wall`: none in a gap, two in a fold.
    fn instants(&self, wall: i64) -> MappedLocalTime<i64> {
        self.zone.instants(wall)
    }

    /// The gap that the wall time lies in.
    fn gap_around(&self, wall: i64) -> Gap {
        let (before, after) =
            self.zone.offsets_around_gap(wall).expect("the zone has no instant for this wall time");
        // The wall time is shown nowhere: with the later offset it lies before the change, with the earlier one behind.
        let change = self.change_between(wall - after, wall - before);
        Gap { start: change + before, end: change + after, change }
    }

    /// The instants in (`after`, `until`] from which on the zone has another offset than just before.
    pub(super) fn changes(&self, after: i64, until: i64) -> impl Iterator<Item = i64> {
        // No zone has two changes within a day (since 1970 the nearest are six days apart), so day by day sees all.
        let mut from = after;
        std::iter::from_fn(move || {
            while from < until {
                let to = (from + DAY_S).min(until);
                let changed = self.offset(from) != self.offset(to);
                let change = changed.then(|| self.change_between(from, to));
                from = to;
                if change.is_some() {
                    return change;
                }
            }
            None
        })
    }

    /// The first instant with another offset than `before`, of two instants with one change between them.
    fn change_between(&self, before: i64, after: i64) -> i64 {
        let (mut before, mut after) = (before, after);
        let offset = self.offset(before);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.offset(middle) == offset {
                before = middle;
            } else {
                after = middle;
            }
        }
        after
    }
}

/// Wall times from `start` up to `end`, which the zone's clock skips at the instant `change`.
struct Gap {
    start: i64,
    end: i64,
    change: i64,
}
