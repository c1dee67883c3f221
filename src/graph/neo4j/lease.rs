//! Leases on a Neo4j server: one node a group, one node a job of it.
//!
//! Each question is one statement that first writes to the lease's node, which takes its lock, then reads, then decides.
//! Two hosts that ask at once therefore ask one after the other. Time is the server's (`datetime.realtime()`).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeZone, Utc};
use neo4rs::{BoltType, Query};
use serde::de::DeserializeOwned;

use super::cypher::find_constraint;
use super::prepare::with_remedy;
use super::{Neo4jStore, Stopped};
use crate::clock::Clock;
use crate::config::{JobName, Neo4jConfig};
use crate::graph::GraphError;
use crate::graph::lease::{Candidate, Claim, Lease, LeaseKeeper, Marks};
use crate::logging;
use crate::stop::{Stop, Why};
use crate::text::visible;

/// How long the server may work on one question; milliseconds, unless it is overloaded.
const LIMIT: Duration = Duration::from_secs(20);

/// More jobs than any group has.
const JOBS_MAX: usize = 100_000;

const CREATE_CONSTRAINT: &str = "CREATE CONSTRAINT scheduler_lease_unique IF NOT EXISTS \
     FOR (l:SchedulerLease) REQUIRE l.name IS UNIQUE";

const FIND_TWO: &str = "MATCH (l:SchedulerLease) WITH coalesce(toStringOrNull(l.name), '') AS name, count(*) AS n \
     WHERE n > 1 AND name <> '' RETURN name AS r LIMIT 10";

/// Takes the lease where it is free, prolongs it where it is ours, and answers with it as it is.
///
/// A property may have been changed by hand. An epoch that is no number is counted on from the jobs' newest. An end that is
/// no time, or further off than the longest lease, becomes one that the longest trust of a holder ends before.
const ACQUIRE: &str = "MERGE (l:SchedulerLease {name: $lease}) \
     SET l._LOCK_ = true \
     WITH l, datetime.realtime().epochMillis AS now, toIntegerOrNull(l.expires_ms) AS ends, \
         CASE WHEN 0 <= toIntegerOrNull(l.epoch) < $epoch_max THEN toIntegerOrNull(l.epoch) END AS epoch, \
         coalesce(l.holder = $holder, false) AS ours \
     OPTIONAL MATCH (j:SchedulerJob {lease: $lease}) \
         WHERE epoch IS NULL AND 0 <= toIntegerOrNull(j.decided_epoch) < $epoch_max \
     WITH l, now, ends, epoch, ours, max(toIntegerOrNull(j.decided_epoch)) AS newest \
     WITH l, now, ours, coalesce(epoch, newest, 0) AS epoch, \
         l.holder IS NULL OR coalesce(ends <= now, false) OR (ours AND epoch IS NULL) AS free, \
         ends IS NULL OR ends > now + $longest_ms AS odd \
     FOREACH (_ IN CASE WHEN free THEN [1] ELSE [] END | \
         SET l.holder = $holder, l.host = $host, l.epoch = epoch + 1, l.acquired_ms = now) \
     FOREACH (_ IN CASE WHEN free OR ours OR odd THEN [1] ELSE [] END | SET l.expires_ms = now + $ttl_ms) \
     REMOVE l._LOCK_ \
     RETURN [coalesce(toStringOrNull(l.holder), ''), coalesce(toStringOrNull(l.host), ''), \
         coalesce(toIntegerOrNull(l.epoch), 0), \
         CASE WHEN 0 <= toIntegerOrNull(l.acquired_ms) <= now THEN now - toIntegerOrNull(l.acquired_ms) ELSE 0 END] AS r";

const RELEASE: &str = "MATCH (l:SchedulerLease {name: $lease}) \
     SET l._LOCK_ = true \
     WITH l, l.holder = $holder AND toIntegerOrNull(l.epoch) = $epoch AS mine \
     FOREACH (_ IN CASE WHEN mine THEN [1] ELSE [] END | REMOVE l.holder, l.host, l.expires_ms, l.acquired_ms) \
     REMOVE l._LOCK_ \
     RETURN mine AS r";

/// A mark that is no time, or none that a schedule can come to, is passed on as nothing.
const ENLIST: &str = "MATCH (l:SchedulerLease {name: $lease}) \
     SET l._LOCK_ = true \
     WITH l, l.holder = $holder AND toIntegerOrNull(l.epoch) = $epoch AS mine \
     FOREACH (job IN CASE WHEN mine THEN $jobs ELSE [] END | \
         MERGE (j:SchedulerJob {lease: $lease, name: job}) \
         ON CREATE SET j.decided_until = $now, j.decided_epoch = $epoch) \
     REMOVE l._LOCK_ \
     WITH l MATCH (j:SchedulerJob {lease: $lease}) \
     WITH toStringOrNull(j.name) AS name, CASE WHEN j.decided_until < $latest THEN j.decided_until END AS until \
     WHERE name IS NOT NULL \
     RETURN [name, until.epochSeconds, until.microsecond] AS r";

/// A mark that is none is taken for that of a job which nobody has run.
const CLAIM: &str = "MATCH (l:SchedulerLease {name: $lease}) \
     SET l._LOCK_ = true \
     WITH l, coalesce(l.holder = $holder AND toIntegerOrNull(l.epoch) = $epoch, false) AS mine \
     OPTIONAL MATCH (j:SchedulerJob {lease: $lease, name: $job}) \
     WITH l, mine, max(CASE WHEN j.decided_until < $latest THEN j.decided_until END) AS until, \
         max(CASE WHEN j.decided_epoch = $epoch THEN 1 ELSE 0 END) = 1 AS own \
     WITH l, until, mine AND (until IS NULL OR $instant > until OR own) AS accepted \
     FOREACH (_ IN CASE WHEN accepted THEN [1] ELSE [] END | \
         MERGE (n:SchedulerJob {lease: $lease, name: $job}) \
         SET n.decided_until = CASE WHEN until > $instant THEN until ELSE $instant END, n.decided_epoch = $epoch) \
     REMOVE l._LOCK_ \
     RETURN accepted AS r";

const LOOK: &str = "MATCH (l:SchedulerLease {name: $lease}) \
     WITH l, datetime.realtime().epochMillis AS now \
     WHERE l.holder IS NOT NULL AND coalesce(toIntegerOrNull(l.expires_ms) > now, true) \
     RETURN [coalesce(toStringOrNull(l.holder), ''), coalesce(toStringOrNull(l.host), ''), \
         coalesce(toIntegerOrNull(l.epoch), 0), \
         CASE WHEN 0 <= toIntegerOrNull(l.acquired_ms) <= now THEN now - toIntegerOrNull(l.acquired_ms) ELSE 0 END] AS r";

/// The longest `ttl` that the configuration takes.
const LONGEST: Duration = Duration::from_secs(3_600);

/// No count of leads comes so far.
const EPOCH_MAX: i64 = 1 << 60;

/// No mark that is later than this year is meant.
const LATEST_YEAR: i32 = 9_999;

/// Keeps leases on a server, over connections of its own.
pub(crate) struct Neo4jKeeper {
    store: Neo4jStore,
}

impl Neo4jKeeper {
    /// A keeper that connects with its first question.
    pub(crate) fn new(
        config: &Neo4jConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Neo4jKeeper, GraphError> {
        Ok(Neo4jKeeper { store: Neo4jStore::unconnected(config, Stop::new(), clock)? })
    }

    fn ask<T: DeserializeOwned>(
        &self,
        doing: &str,
        question: Query,
        stop: &Stop,
    ) -> Result<Vec<T>, GraphError> {
        let answer = self.store.ask_until(stop, doing, (LIMIT, JOBS_MAX), question);
        answer.map_err(|error| self.in_time(error, stop))
    }

    /// A wait that its deadline ended is a server that does not answer.
    fn in_time(&self, error: GraphError, stop: &Stop) -> GraphError {
        match (&error, stop.why()) {
            (GraphError::Cancelled, Some(Why::TimeUp)) => {
                let late = Stopped::ServerFault(super::ServerFault::late());
                self.store.error("cannot look after the lease", late)
            }
            _ => error,
        }
    }

    /// Sees to it that this server takes writes, and that there cannot be two leases of one name.
    fn prepare(&self, stop: &Stop) -> Result<(), GraphError> {
        if self.store.connected().prepared_for_leases {
            return Ok(());
        }
        self.store.try_to_write(stop).map_err(|error| self.in_time(error, stop))?;
        let doing = "cannot create the constraint that there is one lease of a name";
        let find = Query::new(find_constraint("SchedulerLease", "name"));
        let is_known = match self.ask::<i64>("cannot read the schema", find, stop) {
            Ok(found) => found.first().is_some_and(|found| *found > 0),
            // A user without the right to look may have the right to create.
            Err(GraphError::Unavailable(_)) => false,
            Err(error) => return Err(error),
        };
        if !is_known {
            let create = Query::new(CREATE_CONSTRAINT.to_owned());
            match self.ask::<BoltType>(doing, create, stop) {
                Ok(_) => {}
                Err(error @ GraphError::Unavailable(_)) => {
                    return Err(with_remedy(error, CREATE_CONSTRAINT));
                }
                // The server does not say plainly that the data is in the way.
                Err(error) => return Err(self.about_two(stop)?.unwrap_or(error)),
            }
        }
        self.store.connected().prepared_for_leases = true;
        Ok(())
    }
}

impl Neo4jKeeper {
    /// That there are several leases of one name, which somebody has made by hand.
    fn about_two(&self, stop: &Stop) -> Result<Option<GraphError>, GraphError> {
        let find = Query::new(FIND_TWO.to_owned());
        let names = self.ask::<String>("cannot look for two leases of one name", find, stop)?;
        let (address, names) = (&self.store.address, names.join(", "));
        let message = || {
            format!(
                "neo4j {address}: several nodes :SchedulerLease have the same name, so that nobody can have the \
                 lease: {names}: delete all but one of each"
            )
        };
        Ok((!names.is_empty()).then(|| GraphError::Unavailable(message())))
    }
}

impl LeaseKeeper for Neo4jKeeper {
    fn acquire(&self, who: &Candidate, stop: &Stop) -> Result<Lease, GraphError> {
        self.prepare(stop)?;
        let ttl_ms = i64::try_from(who.ttl.as_millis()).unwrap_or(i64::MAX);
        let longest_ms = i64::try_from(LONGEST.as_millis()).unwrap_or(i64::MAX);
        let question = of(ACQUIRE, who)
            .param("host", &*who.host)
            .param("ttl_ms", ttl_ms)
            .param("longest_ms", longest_ms)
            .param("epoch_max", EPOCH_MAX);
        let doing = "cannot renew the lease";
        let rows = self.ask::<(String, String, i64, i64)>(doing, question, stop)?;
        let lease = rows.into_iter().next().map(read);
        lease
            .ok_or_else(|| GraphError::Transient(format!("{doing}: the server says nothing of it")))
    }

    fn release(&self, who: &Candidate, epoch: i64, stop: &Stop) -> Result<(), GraphError> {
        let question = of(RELEASE, who).param("epoch", epoch);
        self.ask::<BoltType>("cannot give the lease back", question, stop).map(drop)
    }

    fn enlist(
        &self,
        who: &Candidate,
        epoch: i64,
        jobs: &[JobName],
        now: DateTime<Utc>,
        stop: &Stop,
    ) -> Result<Marks, GraphError> {
        let jobs: Vec<String> = jobs.iter().map(|job| job.as_str().to_owned()).collect();
        let question = of(ENLIST, who)
            .param("epoch", epoch)
            .param("jobs", jobs)
            .param("now", with_offset(now))
            .param("latest", latest());
        let doing = "cannot read the jobs' marks";
        let rows = self.ask::<(String, Option<i64>, Option<i64>)>(doing, question, stop)?;
        let mut marks = Marks::new();
        for (job, seconds, micros) in rows {
            let job = JobName::new(&job);
            let micros =
                seconds.and_then(|seconds| seconds.checked_mul(1_000_000)?.checked_add(micros?));
            match micros.and_then(DateTime::from_timestamp_micros) {
                Some(until) => {
                    let known = marks.entry(job).or_insert(until);
                    *known = until.max(*known);
                }
                None => {
                    logging::warn!(job_name = job.as_str(); "decided_until of the job on the server is no time that a schedule comes to: the job begins from now")
                }
            }
        }
        Ok(marks)
    }

    fn claim(&self, who: &Candidate, claim: &Claim, stop: &Stop) -> Result<bool, GraphError> {
        let question = of(CLAIM, who)
            .param("epoch", claim.epoch)
            .param("job", claim.job.as_str())
            .param("instant", with_offset(claim.instant))
            .param("latest", latest());
        let rows = self.ask::<bool>("cannot claim the run", question, stop)?;
        // No row: there is no such lease any more.
        Ok(rows.first().copied().unwrap_or(false))
    }

    fn look(&self, lease: &str, stop: &Stop) -> Result<Option<Lease>, GraphError> {
        let question = Query::new(LOOK.to_owned()).param("lease", lease);
        let rows = self.ask("cannot look at the lease", question, stop)?;
        Ok(rows.into_iter().next().map(read))
    }
}

fn of(statement: &str, who: &Candidate) -> Query {
    Query::new(statement.to_owned()).param("lease", &*who.lease).param("holder", &*who.holder)
}

fn read((holder, host, epoch, held_ms): (String, String, i64, i64)) -> Lease {
    let held_for = Duration::from_millis(u64::try_from(held_ms).unwrap_or(0));
    // Anybody may have written it, and it is shown in lines.
    let host = if host.is_empty() {
        "a host without a name".to_owned()
    } else {
        visible(&host).into_owned()
    };
    Lease { holder, host, epoch, held_for }
}

fn latest() -> DateTime<FixedOffset> {
    let latest = Utc.with_ymd_and_hms(LATEST_YEAR, 1, 1, 0, 0, 0).single();
    with_offset(latest.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

fn with_offset(instant: DateTime<Utc>) -> DateTime<FixedOffset> {
    instant.fixed_offset()
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;
    use crate::clock::SystemClock;
    use crate::graph::lease::conformance::keeps_the_rules;

    /// A keeper on the server of the tests that knows no lease of this name, for one test at a time.
    fn keeper(lease: &str) -> Option<(Neo4jKeeper, MutexGuard<'static, ()>)> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(uri) = std::env::var("ACLARAI_TEST_NEO4J_URI") else {
            eprintln!(
                "skipped: leases on Neo4j, as ACLARAI_TEST_NEO4J_URI is not set (tests/neo4j start)"
            );
            return None;
        };
        let variable = |name: &str, usual: &str| std::env::var(name).unwrap_or(usual.to_owned());
        let config = Neo4jConfig {
            uri,
            database: "neo4j".to_owned(),
            tls_ca: None,
            user: variable("NEO4J_USER", "neo4j"),
            password: Some(variable("NEO4J_PASSWORD", "")),
        };
        let keeper = Neo4jKeeper::new(&config, Arc::new(SystemClock)).unwrap();
        forget(&keeper, lease);
        Some((keeper, turn))
    }

    fn forget(keeper: &Neo4jKeeper, lease: &str) {
        by_hand(
            keeper,
            &format!(
                "MATCH (n) WHERE n:SchedulerLease AND n.name = '{lease}' \
                 OR n:SchedulerJob AND n.lease = '{lease}' DELETE n"
            ),
        );
    }

    fn by_hand(keeper: &Neo4jKeeper, statement: &str) -> Vec<i64> {
        let counted = format!("{statement} RETURN count(*) AS r");
        keeper.ask::<i64>("change by hand", Query::new(counted), &Stop::new()).unwrap()
    }

    fn who(lease: &str, holder: &str) -> Candidate {
        let [lease, holder, host] = [lease, holder, holder].map(str::to_owned);
        Candidate { lease, holder, host, ttl: Duration::from_secs(60) }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    #[test]
    fn a_server_keeps_the_rules() {
        let Some((keeper, _turn)) = keeper("conformance") else { return };
        keeps_the_rules(&keeper, &|time| {
            let _ = SystemClock.wait(time, &|| false);
        });
        forget(&keeper, "conformance");
    }

    #[test]
    fn a_lease_that_was_changed_by_hand_stays_with_its_holder_and_goes_on_to_the_next_one() {
        let Some((keeper, _turn)) = keeper("by hand") else { return };
        let (a, b, stop) = (who("by hand", "a"), who("by hand", "b"), Stop::new());
        let job = JobName::new("j");
        for change in [
            "SET l.expires_ms = 'soon'",
            "SET l.expires_ms = [1, 2]",
            "SET l.expires_ms = 9223372036854775807",
            "REMOVE l.expires_ms",
            "SET l.epoch = 'x'",
            "SET l.epoch = '7'",
            "SET l.epoch = [1]",
            "SET l.epoch = 9223372036854775807",
            "SET l.epoch = -3",
            "REMOVE l.epoch",
            "SET l.acquired_ms = 'x'",
            "SET l.acquired_ms = -9223372036854775807",
            "SET l.acquired_ms = 9223372036854775807",
            "REMOVE l.acquired_ms",
            "SET l.host = 5",
            "SET l.host = [true]",
            "SET l.host = 'two\\nlines'",
            "REMOVE l.host",
            "SET l._LOCK_ = 'left'",
            "SET l.more = datetime()",
        ] {
            forget(&keeper, "by hand");
            let first = keeper.acquire(&a, &stop).unwrap().epoch;
            keeper.enlist(&a, first, std::slice::from_ref(&job), at(0), &stop).unwrap();
            by_hand(&keeper, &format!("MATCH (l:SchedulerLease {{name: 'by hand'}}) {change}"));

            assert_eq!(keeper.acquire(&b, &stop).unwrap().holder, "a", "{change}");
            let shown = keeper.look("by hand", &stop).unwrap().unwrap();
            assert!(shown.holder == "a" && !shown.host.contains('\n'), "{change}: {shown:?}");
            let renewed = keeper.acquire(&a, &stop).unwrap();
            assert_eq!(renewed.holder, "a", "{change}");
            let claim = Claim { job: job.clone(), instant: at(10), epoch: renewed.epoch };
            assert!(keeper.claim(&a, &claim, &stop).unwrap(), "{change}");
            keeper.release(&a, renewed.epoch, &stop).unwrap();
            let next = keeper.acquire(&b, &stop).unwrap();
            assert_eq!((&*next.holder, next.epoch), ("b", renewed.epoch + 1), "{change}");
            assert!(renewed.epoch >= first, "{change}: no number of a lead is used again");
        }
        // An end that is none is put right by whoever asks, to when the holder's trust is over for certain.
        let ends = |least: i64| {
            let question = "MATCH (l:SchedulerLease {name: 'by hand'}) \
                 WHERE l.expires_ms - datetime.realtime().epochMillis > ";
            by_hand(&keeper, &format!("{question}{least}"))[0] == 1
        };
        by_hand(&keeper, "MATCH (l:SchedulerLease {name: 'by hand'}) SET l.expires_ms = 'soon'");
        keeper.acquire(&a, &stop).unwrap();
        assert!(ends(30_000) && !ends(61_000));
        forget(&keeper, "by hand");
    }

    #[test]
    fn a_holder_that_was_changed_by_hand_is_another_one() {
        let Some((keeper, _turn)) = keeper("by hand") else { return };
        let (a, stop) = (who("by hand", "a"), Stop::new());
        for other in ["'somebody'", "5", "['x']", "''"] {
            forget(&keeper, "by hand");
            let epoch = keeper.acquire(&a, &stop).unwrap().epoch;
            by_hand(
                &keeper,
                &format!("MATCH (l:SchedulerLease {{name: 'by hand'}}) SET l.holder = {other}"),
            );
            assert_ne!(keeper.acquire(&a, &stop).unwrap().holder, "a");
            let claim = Claim { job: JobName::new("j"), instant: at(0), epoch };
            assert!(!keeper.claim(&a, &claim, &stop).unwrap());
            assert!(keeper.look("by hand", &stop).unwrap().is_some());
        }
        // Without a holder it is free.
        by_hand(&keeper, "MATCH (l:SchedulerLease {name: 'by hand'}) REMOVE l.holder");
        assert_eq!(keeper.acquire(&a, &stop).unwrap().holder, "a");
        forget(&keeper, "by hand");
    }

    #[test]
    fn a_mark_that_is_none_is_that_of_a_job_which_nobody_has_run() {
        let Some((keeper, _turn)) = keeper("by hand") else { return };
        let (a, stop) = (who("by hand", "a"), Stop::new());
        let [job, other] = ["j", "k"].map(JobName::new);
        for (change, is_mark) in [
            ("SET j.decided_until = 'x'", false),
            ("SET j.decided_until = 5", false),
            ("SET j.decided_until = [datetime()]", false),
            ("SET j.decided_until = date()", false),
            ("SET j.decided_until = localdatetime()", false),
            ("SET j.decided_until = datetime('+99999-01-01T00:00:00Z')", false),
            ("REMOVE j.decided_until", false),
            ("SET j.decided_epoch = 'x'", true),
            ("REMOVE j.decided_epoch", true),
            ("SET j.more = 1", true),
        ] {
            forget(&keeper, "by hand");
            let epoch = keeper.acquire(&a, &stop).unwrap().epoch;
            keeper.enlist(&a, epoch, &[job.clone(), other.clone()], at(0), &stop).unwrap();
            let of_job = "MATCH (j:SchedulerJob {lease: 'by hand', name: 'j'})";
            by_hand(&keeper, &format!("{of_job} {change}"));
            let marks = keeper.enlist(&a, epoch, &[], at(5), &stop).unwrap();
            assert_eq!(
                (marks.contains_key(&job), marks.len()),
                (is_mark, 1 + usize::from(is_mark))
            );
            let claim = |second| {
                let claim = Claim { job: job.clone(), instant: at(second), epoch };
                keeper.claim(&a, &claim, &stop).unwrap()
            };
            assert!(claim(10) && claim(10), "{change}");
            let marks = keeper.enlist(&a, epoch, &[], at(5), &stop).unwrap();
            assert_eq!(marks[&job], at(10), "{change}");
        }
        // Two nodes of one job: the later mark counts.
        by_hand(
            &keeper,
            "CREATE (:SchedulerJob {lease: 'by hand', name: 'j', decided_until: datetime({epochSeconds: 1800000030}), \
             decided_epoch: 0}), (:SchedulerJob {lease: 'by hand', name: 7})",
        );
        by_hand(
            &keeper,
            "MATCH (j:SchedulerJob {lease: 'by hand', name: 'j'}) SET j.decided_epoch = 0",
        );
        let epoch = keeper.acquire(&a, &stop).unwrap().epoch;
        assert_eq!(keeper.enlist(&a, epoch, &[], at(5), &stop).unwrap()[&job], at(30));
        let claim = |second| Claim { job: job.clone(), instant: at(second), epoch };
        assert!(!keeper.claim(&a, &claim(20), &stop).unwrap());
        assert!(keeper.claim(&a, &claim(40), &stop).unwrap());
        forget(&keeper, "by hand");
    }

    #[test]
    fn a_constraint_that_is_missing_is_made_and_two_leases_of_one_name_are_told() {
        let Some((keeper, _turn)) = keeper("by hand") else { return };
        let (a, stop) = (who("by hand", "a"), Stop::new());
        keeper.acquire(&a, &stop).unwrap();
        let drop = || {
            let drop = Query::new("DROP CONSTRAINT scheduler_lease_unique".to_owned());
            keeper.ask::<BoltType>("drop", drop, &stop).unwrap();
            keeper.store.connected().prepared_for_leases = false;
        };
        let constraints = || {
            let found = keeper.ask::<i64>(
                "look",
                Query::new(find_constraint("SchedulerLease", "name")),
                &stop,
            );
            found.unwrap()[0]
        };
        drop();
        assert_eq!(constraints(), 0);
        assert_eq!(keeper.acquire(&a, &stop).unwrap().holder, "a");
        assert_eq!(constraints(), 1);

        drop();
        by_hand(&keeper, "CREATE (:SchedulerLease {name: 'by hand'})");
        let error = keeper.acquire(&a, &stop).unwrap_err();
        let GraphError::Unavailable(message) = error else { panic!("not for a person: {error:?}") };
        assert!(message.contains("by hand") && message.contains("delete all but one"), "{message}");
        by_hand(
            &keeper,
            "MATCH (l:SchedulerLease {name: 'by hand'}) WHERE l.holder IS NULL DELETE l",
        );
        assert_eq!(keeper.acquire(&a, &stop).unwrap().holder, "a");
        assert_eq!(constraints(), 1);
        forget(&keeper, "by hand");
    }
}
