//! The history as drawings need it: little of each row, of one job, the newest first; and when no daemon ran.

#![cfg_attr(
    not(feature = "http"),
    allow(dead_code, reason = "without a page nothing is drawn; the gaps are noted all the same")
)]

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::OptionalExtension;

use super::History;
use super::row::{from_micros, instant, optional_instant, seconds, word};
use crate::config::JobName;
use crate::job::{RunState, Skip};
use crate::state::StateError;

/// Under which key of `meta` the gaps lie.
const GAPS: &str = "scheduler.gaps";

/// How many gaps are remembered.
const GAPS_MAX: usize = 50;

/// A run, or a stretch of skipped occurrences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mark {
    /// Where the run stands; `None` for a skipped stretch. A run whose process is gone may still count as running here.
    pub(crate) state: Option<RunState>,
    /// When it was due, or began.
    pub(crate) from: DateTime<Utc>,
    /// The last instant of a skipped stretch, or the end of a run.
    pub(crate) until: DateTime<Utc>,
    /// How many occurrences it stands for.
    pub(crate) count: u64,
    /// How long the run took.
    pub(crate) duration_s: Option<f64>,
}

/// A stretch of time: when it began, and when it ended.
pub(crate) type Stretch = (DateTime<Utc>, DateTime<Utc>);

impl History {
    /// The marks of a job since an instant, the newest first, and beyond that as many runs as make up `runs`; at most
    /// `limit` of all.
    pub(crate) fn marks(
        &self,
        job: &JobName,
        since: DateTime<Utc>,
        runs: usize,
        limit: usize,
    ) -> Result<Vec<Mark>, StateError> {
        let read = || -> rusqlite::Result<Vec<Mark>> {
            let sql = "SELECT state, scheduled_for, last_scheduled_for, count, started_at, finished_at, duration
                       FROM runs WHERE job = ?1 ORDER BY seq DESC LIMIT ?2";
            let mut statement = self.state.connection().prepare_cached(sql)?;
            let mut rows = statement.query((job.as_str(), limit as i64))?;
            let (mut marks, mut ran) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let started = optional_instant(row, "started_at")?;
                let finished = optional_instant(row, "finished_at")?;
                let mark = Mark {
                    state: match row.get_ref("state")?.as_str()? {
                        Skip::WORD => None,
                        _ => Some(word(row, "state", RunState::from_word)?),
                    },
                    from: match started {
                        Some(started) => started,
                        None => instant(row, "scheduled_for")?,
                    },
                    until: match finished {
                        Some(finished) => finished,
                        None => instant(row, "last_scheduled_for")?,
                    },
                    count: row.get::<_, i64>("count")?.unsigned_abs(),
                    duration_s: row.get::<_, Option<i64>>("duration")?.map(seconds),
                };
                if mark.until < since && ran >= runs {
                    break;
                }
                ran += usize::from(mark.duration_s.is_some());
                marks.push(mark);
            }
            Ok(marks)
        };
        read().map_err(|error| self.state.error(error))
    }

    /// The stretches since an instant in which no daemon ran, the oldest first.
    pub(crate) fn gaps(&self, since: DateTime<Utc>) -> Result<Vec<Stretch>, StateError> {
        let gaps = gaps(self.state.connection()).map_err(|error| self.state.error(error))?;
        let gaps = gaps
            .into_iter()
            .filter_map(|(from, until)| Some((from_micros(from)?, from_micros(until)?)));
        Ok(gaps.filter(|(_, until)| *until > since).collect())
    }
}

fn gaps(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<(i64, i64)>> {
    let text: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = ?1", (GAPS,), |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Notes that no daemon ran for a while, if that is worth a remark.
pub(super) fn note_gap(
    connection: &rusqlite::Connection,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> rusqlite::Result<()> {
    if until - from < TimeDelta::minutes(1) {
        return Ok(());
    }
    let mut gaps = gaps(connection)?;
    gaps.push((from.timestamp_micros(), until.timestamp_micros()));
    let forgotten = gaps.len().saturating_sub(GAPS_MAX);
    let text = serde_json::to_string(&gaps[forgotten..]).unwrap_or_default();
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    connection.execute(sql, (GAPS, text)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Recorder;
    use crate::job::RunRecord;
    use crate::state::Durability;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    #[test]
    fn marks_reach_back_to_an_instant_or_to_as_many_runs() {
        let temp = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(temp.path()).unwrap();
        let job = JobName::new("report");
        for minute in 0..10 {
            let record = RunRecord {
                state: RunState::Succeeded,
                started_at: Some(at(minute * 60 + 1)),
                finished_at: Some(at(minute * 60 + 3)),
                duration_s: Some(2.0),
                ..RunRecord::queued(&job, at(minute * 60))
            };
            let write = |writer: &mut crate::history::Writer<'_>| {
                let (row, _) = writer.run(&record, 0, 0)?.unwrap();
                writer.running(row, &record)?;
                writer.finish(row, &record)
            };
            recorder.write(Durability::Process, write).unwrap();
        }
        let history = History::open(temp.path()).unwrap().unwrap();
        let count = |since, runs, limit| history.marks(&job, since, runs, limit).unwrap().len();
        assert_eq!(count(at(5 * 60), 0, 100), 5);
        assert_eq!(count(at(5 * 60), 8, 100), 8);
        assert_eq!(count(at(0), 0, 3), 3);
        let newest = history.marks(&job, at(0), 0, 1).unwrap()[0];
        assert_eq!((newest.from, newest.until, newest.duration_s), (at(541), at(543), Some(2.0)));
        assert_eq!(history.marks(&JobName::new("other"), at(0), 9, 9).unwrap(), []);
    }

    #[test]
    fn a_time_without_a_daemon_is_remembered_and_a_short_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(temp.path()).unwrap();
        for (from, until) in [(0, 59), (100, 200), (300, 900)] {
            recorder.was_down(at(from), at(until)).unwrap();
        }
        let history = History::open(temp.path()).unwrap().unwrap();
        assert_eq!(history.gaps(at(0)).unwrap(), [(at(100), at(200)), (at(300), at(900))]);
        assert_eq!(history.gaps(at(200)).unwrap(), [(at(300), at(900))]);
        for n in 0..100 {
            recorder.was_down(at(1000 + n * 100), at(1060 + n * 100)).unwrap();
        }
        let gaps = history.gaps(at(0)).unwrap();
        assert_eq!((gaps.len(), gaps[0].0), (50, at(6000)));
    }
}
