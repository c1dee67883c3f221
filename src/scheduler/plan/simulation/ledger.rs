//! The ledger: from the rows alone, each instant of each job is decided once and none is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::calendar::instants;
use super::oracle::Key;
use crate::config::{JobName, JobSpec};
use crate::history::Remembered;
use crate::scheduler::plan::{Decision, Fate, Plan, Wait};

/// The content of the state file.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) known: BTreeMap<JobName, Remembered>,
    pub(super) rows: Vec<Decision>,
    /// Rows of runs that are not over, by their place in `rows`.
    pub(super) open: BTreeSet<usize>,
}

impl Disk {
    pub(super) fn write(&mut self, plan: &Plan) {
        for mark in &plan.marks {
            let known = self.known.entry(mark.job.clone()).or_insert_with(|| Remembered {
                schedule: String::new(),
                decided_until: mark.decided_until,
                epoch: 0,
                waiting: Vec::new(),
            });
            known.schedule.clone_from(&mark.schedule);
            (known.decided_until, known.epoch) = (mark.decided_until, mark.epoch);
        }
        for wait in &plan.waits {
            self.wait(wait);
        }
        for decision in &plan.decisions {
            if matches!(decision.fate, Fate::Start { .. }) {
                self.open.insert(self.rows.len());
            }
            self.rows.push(decision.clone());
        }
    }
}

impl Disk {
    pub(super) fn wait(&mut self, wait: &Wait) {
        let known = self.known.get_mut(&wait.job).expect("a job that waits has a mark");
        let key = (wait.instant, wait.epoch);
        if wait.begins {
            assert!(!known.waiting.contains(&key), "{wait:?} twice");
            known.waiting.push(key);
            known.waiting.sort_by_key(|(instant, epoch)| (*epoch, *instant));
        } else {
            let before = known.waiting.len();
            known.waiting.retain(|other| *other != key);
            assert_eq!(known.waiting.len() + 1, before, "{wait:?} had not begun");
        }
    }
}

/// The rules that the rows alone must keep: for each job, line and epoch, from when on it was scheduled, and what was
/// decided since.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) decided: BTreeSet<(JobName, Key)>,
    /// Rows that were looked at.
    pub(super) seen: usize,
}

impl Ledger {
    /// Looks at what a plan has written.
    pub(super) fn check(
        &mut self,
        disk: &Disk,
        plan: &Plan,
        specs: &BTreeMap<JobName, Arc<JobSpec>>,
    ) {
        for row in &disk.rows[self.seen..] {
            let all = match specs.get(&row.job) {
                Some(spec) if row.count > 1 => {
                    instants(spec, row.first - TimeDelta::seconds(1), row.last)
                }
                _ => vec![row.first],
            };
            assert_eq!(all.len() as u64, row.count, "{row:?}");
            assert_eq!((all.first(), all.last()), (Some(&row.first), Some(&row.last)), "{row:?}");
            for instant in all {
                let fresh = self.decided.insert((row.job.clone(), (instant, row.epoch)));
                assert!(fresh, "{} at {instant} is decided twice: {row:?}", row.job);
            }
        }
        self.seen = disk.rows.len();
        for wait in plan.waits.iter().filter(|wait| !wait.begins) {
            let decided = self.decided.contains(&(wait.job.clone(), (wait.instant, wait.epoch)));
            assert!(decided, "{wait:?} is forgotten");
        }
    }

    /// Everything the line fires at in (`after`, `until`] is decided or waits.
    pub(super) fn is_complete(
        &self,
        spec: &JobSpec,
        epoch: u32,
        after: DateTime<Utc>,
        known: &Remembered,
    ) {
        for instant in instants(spec, after, known.decided_until) {
            let key = (instant, epoch);
            let waits = known.waiting.contains(&key);
            let decided = self.decided.contains(&(spec.name.clone(), key));
            assert!(
                waits != decided,
                "{} at {instant}: waits {waits}, decided {decided}",
                spec.name
            );
        }
    }
}
