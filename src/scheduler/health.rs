//! Is the daemon well? What it leaves in its sign of life, and how another process judges that.
//!
//! Healthy is a daemon that was awake within 90 s, can write its state, has decided what is due, and has a worker that
//! is not stuck. A pause is healthy.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::state::SignOfLife;
use crate::text;

/// A daemon that was not awake for longer hangs: it wakes every 30 s.
const SILENT_MAX_S: f64 = 90.0;

/// A decision that is due for longer is overdue.
const OVERDUE: TimeDelta = TimeDelta::seconds(90);

/// How many runs the sign names: it has a page of room.
const HELD_MAX: usize = 16;

/// The sign that the tick thread leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sign {
    /// Boot time, in seconds.
    pub boot_s: f64,
    /// Wall time.
    pub at: DateTime<Utc>,
    /// When something is due next.
    pub next: Option<DateTime<Utc>>,
    /// Why the scheduler cannot do its work.
    pub reasons: Vec<String>,
    /// How many workers there are.
    pub workers: usize,
    /// How many runs wait for one.
    pub waiting: usize,
    /// The runs that workers have.
    pub held: Vec<Held>,
    /// The configuration file in force.
    pub config: Option<String>,
    /// Where several hosts share the jobs: why this one does not run them, or cannot renew its lease.
    #[serde(default)]
    pub standby: Option<String>,
    /// Which lead of this host it is, if it leads.
    #[serde(default)]
    pub lease_epoch: Option<i64>,
    /// The variable that pauses this daemon, and where it is set. The pause file is there for everybody to see.
    #[serde(default)]
    pub pause_variable: Option<String>,
}

/// A worker and its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The job.
    pub job: String,
    /// The run.
    pub run_id: String,
    /// When the worker took it.
    pub since: DateTime<Utc>,
    /// Whether its time is up.
    pub is_overdue: bool,
}

impl Sign {
    /// As text, short enough for the sign's page: texts are cut and the runs left out that have no room.
    pub(super) fn to_text(&self) -> String {
        let mut short = self.clone();
        short.held.truncate(HELD_MAX);
        for text in short
            .reasons
            .iter_mut()
            .chain(&mut short.config)
            .chain(&mut short.standby)
            .chain(&mut short.pause_variable)
        {
            text.truncate(text.floor_char_boundary(400));
        }
        loop {
            let text = serde_json::to_string(&short).unwrap_or_default();
            if text.len() < 4_000 || short.held.pop().is_none() {
                return text;
            }
        }
    }
}

/// How a daemon is, seen from another process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Health {
    /// Faults, each in one line; empty for a daemon that is well.
    pub reasons: Vec<String>,
    /// The sign it left last, if any.
    pub sign: Option<Sign>,
}

/// When the daemon that ran last on this state folder was last awake.
pub(super) fn last_seen(dir: &Path) -> Option<DateTime<Utc>> {
    Some(serde_json::from_str::<Sign>(&SignOfLife::read(dir)?).ok()?.at)
}

/// How the daemon is that holds the lock of this state folder.
pub(crate) fn of(dir: &Path, now: Moment) -> Health {
    let sign = SignOfLife::read(dir).and_then(|text| serde_json::from_str::<Sign>(&text).ok());
    let reasons = match &sign {
        // It holds its lock and has begun nothing yet, or an older release runs.
        None => Vec::new(),
        Some(sign) => judge(sign, now),
    };
    Health { reasons, sign }
}

/// The faults that this sign shows.
pub(crate) fn judge(sign: &Sign, now: Moment) -> Vec<String> {
    let mut reasons = Vec::new();
    let silent = now.boottime.as_secs_f64() - sign.boot_s;
    if silent > SILENT_MAX_S {
        reasons.push(format!("daemon hangs: last sign of life {silent:.0} s ago"));
    }
    let clock_is_wrong = sign.reasons.iter().any(|reason| reason.starts_with("clock not set"));
    if let Some(next) = sign.next.filter(|next| *next + OVERDUE < now.wall && !clock_is_wrong)
        && reasons.is_empty()
    {
        reasons
            .push(format!("nothing was decided since {}, when a job was due", text::instant(next)));
    }
    reasons.extend(sign.reasons.iter().cloned());
    reasons
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sign() -> Sign {
        Sign {
            boot_s: 1000.0,
            at: "2026-08-24T12:00:00Z".parse().unwrap(),
            next: None,
            reasons: Vec::new(),
            workers: 4,
            waiting: 0,
            held: Vec::new(),
            config: None,
            standby: None,
            lease_epoch: None,
            pause_variable: None,
        }
    }

    fn later(seconds: u64) -> Moment {
        let boottime = Duration::from_secs(1000 + seconds);
        let wall = sign().at + TimeDelta::seconds(seconds.cast_signed());
        Moment { wall, monotonic: boottime, boottime }
    }

    #[test]
    fn a_daemon_that_was_silent_for_more_than_90_s_hangs() {
        assert!(judge(&sign(), later(90)).is_empty());
        assert_eq!(judge(&sign(), later(125)), ["daemon hangs: last sign of life 125 s ago"]);
    }

    #[test]
    fn what_is_due_and_not_decided_is_a_reason() {
        let due = |seconds| Sign { next: Some(sign().at + TimeDelta::seconds(seconds)), ..sign() };
        assert!(judge(&due(-10), later(80)).is_empty());
        let reasons = judge(&due(-10), later(81));
        assert_eq!(reasons, ["nothing was decided since 2026-08-24T11:59:50Z, when a job was due"]);
        let mut unset = due(-9999);
        unset.reasons = vec!["clock not set: it shows 1970-01-01".to_owned()];
        assert_eq!(judge(&unset, later(1)), unset.reasons);
    }

    #[test]
    fn a_sign_fits_its_page() {
        let held = |n: usize| Held {
            job: "j".repeat(900),
            run_id: format!("j_{n}"),
            since: sign().at,
            is_overdue: false,
        };
        let long =
            Sign { reasons: vec!["ü".repeat(3000)], held: (0..100).map(held).collect(), ..sign() };
        let text = long.to_text();
        assert!(text.len() < 4_096);
        let read: Sign = serde_json::from_str(&text).unwrap();
        assert_eq!(read.workers, 4);
    }
}
