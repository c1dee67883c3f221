//! Leases on a Neo4j server: one node a group, one node a job of it.
//!
//! Each question is one statement that first writes to the lease's node, which takes its lock, then reads, then decides.
//! Two hosts that ask at once therefore ask one after the other. Time is the server's (`datetime.realtime()`).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};
use neo4rs::{BoltType, Query};
use serde::de::DeserializeOwned;

use super::{Neo4jStore, Stopped};
use crate::clock::Clock;
use crate::config::{JobName, Neo4jConfig};
use crate::graph::GraphError;
use crate::graph::lease::{Candidate, Claim, Lease, LeaseKeeper, Marks};
use crate::stop::{Stop, Why};

/// How long the server may work on one question; milliseconds, unless it is overloaded.
const LIMIT: Duration = Duration::from_secs(20);

/// More jobs than any group has.
const JOBS_MAX: usize = 100_000;

const FIND_CONSTRAINT: &str = "SHOW CONSTRAINTS YIELD type, entityType, labelsOrTypes, properties \
     WHERE entityType = 'NODE' AND labelsOrTypes = ['SchedulerLease'] AND properties = ['name'] \
     AND (type CONTAINS 'UNIQUE' OR type = 'NODE_KEY') RETURN count(*) AS r";

const CREATE_CONSTRAINT: &str = "CREATE CONSTRAINT scheduler_lease_unique IF NOT EXISTS \
     FOR (l:SchedulerLease) REQUIRE l.name IS UNIQUE";

/// Takes the lease where it is free, prolongs it where it is ours, and answers with it as it is.
const ACQUIRE: &str = "MERGE (l:SchedulerLease {name: $lease}) \
     SET l._LOCK_ = true \
     WITH l, datetime.realtime().epochMillis AS now \
     WITH l, now, l.holder IS NULL OR coalesce(toInteger(l.expires_ms), 0) <= now AS free \
     WITH l, now, free, free OR l.holder = $holder AS mine \
     FOREACH (_ IN CASE WHEN free THEN [1] ELSE [] END | \
         SET l.holder = $holder, l.host = $host, l.epoch = coalesce(toInteger(l.epoch), 0) + 1, l.acquired_ms = now) \
     FOREACH (_ IN CASE WHEN mine THEN [1] ELSE [] END | SET l.expires_ms = now + $ttl_ms) \
     REMOVE l._LOCK_ \
     RETURN [l.holder, coalesce(l.host, ''), l.epoch, now - coalesce(toInteger(l.acquired_ms), now)] AS r";

const RELEASE: &str = "MATCH (l:SchedulerLease {name: $lease}) \
     SET l._LOCK_ = true \
     WITH l, l.holder = $holder AND l.epoch = $epoch AS mine \
     FOREACH (_ IN CASE WHEN mine THEN [1] ELSE [] END | REMOVE l.holder, l.host, l.expires_ms, l.acquired_ms) \
     REMOVE l._LOCK_ \
     RETURN mine AS r";

const ENLIST: &str = "MATCH (l:SchedulerLease {name: $lease}) \
     SET l._LOCK_ = true \
     WITH l, l.holder = $holder AND l.epoch = $epoch AS mine \
     FOREACH (job IN CASE WHEN mine THEN $jobs ELSE [] END | \
         MERGE (j:SchedulerJob {lease: $lease, name: job}) \
         ON CREATE SET j.decided_until = $now, j.decided_epoch = $epoch) \
     REMOVE l._LOCK_ \
     WITH l MATCH (j:SchedulerJob {lease: $lease}) WHERE j.decided_until IS NOT NULL \
     RETURN [j.name, j.decided_until.epochSeconds, j.decided_until.microsecond] AS r";

const CLAIM: &str = "MATCH (l:SchedulerLease {name: $lease}) \
     SET l._LOCK_ = true \
     WITH l, l.holder = $holder AND l.epoch = $epoch AS mine \
     OPTIONAL MATCH (j:SchedulerJob {lease: $lease, name: $job}) \
     WITH l, j.decided_until AS until, coalesce(mine, false) \
         AND (j.decided_until IS NULL OR $instant > j.decided_until OR coalesce(j.decided_epoch = $epoch, false)) AS accepted \
     FOREACH (_ IN CASE WHEN accepted THEN [1] ELSE [] END | \
         MERGE (n:SchedulerJob {lease: $lease, name: $job}) \
         SET n.decided_until = CASE WHEN until > $instant THEN until ELSE $instant END, n.decided_epoch = $epoch) \
     REMOVE l._LOCK_ \
     RETURN accepted AS r";

const LOOK: &str = "MATCH (l:SchedulerLease {name: $lease}) \
     WITH l, datetime.realtime().epochMillis AS now \
     WHERE l.holder IS NOT NULL AND coalesce(toInteger(l.expires_ms), 0) > now \
     RETURN [l.holder, coalesce(l.host, ''), l.epoch, now - coalesce(toInteger(l.acquired_ms), now)] AS r";

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
        let find = Query::new(FIND_CONSTRAINT.to_owned());
        let is_known = match self.ask::<i64>("cannot read the schema", find, stop) {
            Ok(found) => found.first().is_some_and(|found| *found > 0),
            // A user without the right to look may have the right to create.
            Err(GraphError::Unavailable(_)) => false,
            Err(error) => return Err(error),
        };
        if !is_known {
            let create = Query::new(CREATE_CONSTRAINT.to_owned());
            self.ask::<BoltType>(doing, create, stop).map_err(|error| match error {
                GraphError::Unavailable(message) => GraphError::Unavailable(format!(
                    "{message}: let an administrator run: {CREATE_CONSTRAINT}"
                )),
                error => error,
            })?;
        }
        self.store.connected().prepared_for_leases = true;
        Ok(())
    }
}

impl LeaseKeeper for Neo4jKeeper {
    fn acquire(&self, who: &Candidate, stop: &Stop) -> Result<Lease, GraphError> {
        self.prepare(stop)?;
        let ttl_ms = i64::try_from(who.ttl.as_millis()).unwrap_or(i64::MAX);
        let question = of(ACQUIRE, who).param("host", &*who.host).param("ttl_ms", ttl_ms);
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
            .param("now", with_offset(now));
        let rows = self.ask::<(String, i64, i64)>("cannot read the jobs' marks", question, stop)?;
        let marks = rows.into_iter().filter_map(|(job, seconds, micros)| {
            let until = DateTime::from_timestamp_micros(seconds.checked_mul(1_000_000)? + micros)?;
            Some((JobName::new(&job), until))
        });
        Ok(marks.collect())
    }

    fn claim(&self, who: &Candidate, claim: &Claim, stop: &Stop) -> Result<bool, GraphError> {
        let question = of(CLAIM, who)
            .param("epoch", claim.epoch)
            .param("job", claim.job.as_str())
            .param("instant", with_offset(claim.instant));
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
    Lease { holder, host, epoch, held_for }
}

fn with_offset(instant: DateTime<Utc>) -> DateTime<FixedOffset> {
    instant.fixed_offset()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::graph::lease::conformance::keeps_the_rules;

    #[test]
    fn a_server_keeps_the_rules() {
        let Ok(uri) = std::env::var("ACLARAI_TEST_NEO4J_URI") else {
            eprintln!(
                "skipped: leases on Neo4j, as ACLARAI_TEST_NEO4J_URI is not set (tests/neo4j start)"
            );
            return;
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
        let forget = "MATCH (n) WHERE n:SchedulerLease AND n.name = 'conformance' \
                      OR n:SchedulerJob AND n.lease = 'conformance' DELETE n RETURN count(*) AS r";
        let forget = || keeper.ask::<i64>("forget", Query::new(forget.to_owned()), &Stop::new());
        forget().unwrap();
        keeps_the_rules(&keeper, &|time| {
            let _ = SystemClock.wait(time, &|| false);
        });
        forget().unwrap();
    }
}
