//! The oracle: an occurrence at a time, what must become of it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{JobSpec, Overlap};
use crate::job::SkipReason;

pub(super) type Key = (DateTime<Utc>, u32);

/// How the oracle sees one occurrence that is due.
pub(super) struct Due {
    pub(super) key: Key,
    pub(super) lateness: TimeDelta,
    pub(super) jumped: bool,
    /// It waited before, in this life of the program: its lateness was judged.
    pub(super) held: bool,
    /// It waits under `overlap: queue`.
    pub(super) pending: bool,
    /// It waited when the program ended.
    pub(super) remembered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Run { coalesced: u64 },
    Skip(SkipReason),
    Wait { pending: bool },
}

/// The rules of a job, one occurrence at a time. `due` has the oldest first, what waited before what is new.
pub(super) fn oracle(
    spec: &JobSpec,
    due: &[Due],
    free: usize,
    paused: bool,
) -> BTreeMap<Key, Expected> {
    use Expected::{Run, Skip, Wait};
    let policy = &spec.policy;
    let late = |one: &&Due| {
        policy
            .misfire_grace_time
            .is_some_and(|grace| one.lateness.num_seconds() > grace.as_secs() as i64)
    };
    let mut fates = BTreeMap::new();
    if paused {
        return due.iter().map(|one| (one.key, Skip(SkipReason::Paused))).collect();
    }
    let (jumped, rest): (Vec<&Due>, Vec<&Due>) = due.iter().partition(|one| one.jumped);
    fates.extend(jumped.iter().map(|one| (one.key, Skip(SkipReason::Misfire))));
    let mut held: Vec<&Due> = rest.iter().copied().filter(|one| one.held).collect();
    held.sort_by_key(|one| (one.key.1, one.key.0));
    let (mut old, mut new): (Vec<&Due>, Vec<&Due>) =
        rest.iter().copied().filter(|one| !one.held).partition(|one| one.remembered);
    let mut misfire = |list: &mut Vec<&Due>, gone: &dyn Fn(usize, usize, &Due) -> bool| {
        let length = list.len();
        let mut at = 0;
        list.retain(|one| {
            let gone = gone(at, length, one);
            at += 1;
            if gone {
                fates.insert(one.key, Skip(SkipReason::Misfire));
            }
            !gone
        });
    };
    misfire(&mut old, &|_, _, one| late(&one));
    if policy.coalesce {
        let newest_is_late = new.last().is_some_and(late);
        misfire(&mut new, &|_, _, _| newest_is_late);
    } else {
        misfire(&mut new, &|at, length, one| late(&one) || at + 10 < length);
    }
    let mut fresh: Vec<&Due> = old.into_iter().chain(new).collect();

    if policy.coalesce {
        let mut all: Vec<&Due> = held.iter().chain(&fresh).copied().collect();
        all.sort_by_key(|one| (one.key.1, one.key.0));
        let Some((newest, others)) = all.split_last() else { return fates };
        if free > 0 {
            fates.insert(newest.key, Run { coalesced: others.len() as u64 });
            fates.extend(others.iter().map(|one| (one.key, Skip(SkipReason::Coalesced))));
        } else if fresh.is_empty() || policy.overlap == Overlap::Skip {
            fates.extend(held.iter().map(|one| (one.key, Wait { pending: one.pending })));
            fates.extend(fresh.iter().map(|one| (one.key, Skip(SkipReason::Overlap))));
        } else {
            fates.insert(newest.key, Wait { pending: true });
            fates.extend(others.iter().map(|one| (one.key, Skip(SkipReason::Overlap))));
        }
        return fates;
    }
    fresh.sort_by_key(|one| (one.key.1, one.key.0));
    misfire(&mut fresh, &|at, length, _| at + 10 < length);
    let mut free = free;
    let mut waiting = Vec::new();
    for one in held {
        if free > 0 {
            free -= 1;
            fates.insert(one.key, Run { coalesced: 0 });
        } else {
            waiting.push(one);
        }
    }
    if free > 0 {
        for (at, one) in fresh.iter().enumerate() {
            let fate = if at < free { Run { coalesced: 0 } } else { Wait { pending: false } };
            fates.insert(one.key, fate);
        }
    } else {
        let newest = if policy.overlap == Overlap::Queue { fresh.pop() } else { None };
        fates.extend(fresh.iter().map(|one| (one.key, Skip(SkipReason::Overlap))));
        if let Some(newest) = newest {
            waiting.retain(|one| {
                if one.pending {
                    fates.insert(one.key, Skip(SkipReason::Overlap));
                }
                !one.pending
            });
            fates.insert(newest.key, Wait { pending: true });
        }
    }
    fates.extend(waiting.iter().map(|one| (one.key, Wait { pending: one.pending })));
    fates
}
