//! The graph on a Neo4j server.
//!
//! Blocking to the rest of the program: each call runs a small current-thread runtime until the answer is there, the
//! time is up, or the run was told to stop, whichever is first. A server that hangs therefore hangs nobody. Between
//! calls the runtime stands still; it has no thread of its own.
//!
//! A batch is sent as statements over disjoint ids, and several batches may be under way at once, each from a thread of
//! its own. Each statement decides and writes under the lock of its nodes, so it may be sent again after any fault. How
//! often that happens is not decided here but by [`Retrying`](super::Retrying); this room only tells which faults are
//! worth it.

#[cfg(test)]
mod backdoor;
mod connection;
mod cypher;
mod fault;
mod lease;
mod marks;
mod prepare;

pub(super) use lease::Neo4jKeeper;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use neo4rs::{BoltType, Graph, Query};
use serde_json::{Map, Value};

use super::marks::{HandedOut, Mark, Marks, Place, Which, WholeBlock};
use super::store::{
    Applied, BatchSize, Change, GraphError, GraphStore, Purge, Purged, StoredBlock, fit,
};
use crate::block::BlockId;
use crate::finding::{Finding, Level};
pub(crate) use connection::Neo4jStore;
use connection::{
    BATCHES_IN_FLIGHT, GRACE, IN_FLIGHT, SCAN_LIMIT, STATEMENT_LIMIT, Stopped, fetch, limited,
    rows_for,
};
use cypher::StoredRow;
use fault::{ServerFault, Verdict};

/// How often a statement that the constraint refused is sent again.
const RACES_MAX: usize = 2;

/// Changes in one statement: fewer cost waits, more hold locks for longer.
const STATEMENT_ROWS: usize = 2_500;

/// Seconds that the server's clock may differ from ours before `check` speaks of it.
const CLOCK_TOLERANCE_S: i64 = 5;

impl GraphStore for Neo4jStore {
    /// Sees to it that this server takes writes and that ids are unique, without which two writers could make one block
    /// twice.
    fn prepare(&self) -> Result<(), GraphError> {
        self.prepare_once()
    }

    fn lookup(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, StoredBlock>, GraphError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let doing = "cannot read blocks";
        // Measured: 72,000 rows a second one by one through the index, 330,000 in one sweep.
        let sweep = !self.is_indexed()?
            || ids.len() >= 500 && ids.len() as i64 > self.ask_number(doing, cypher::COUNT)? / 3;
        if sweep {
            let wanted: HashSet<&BlockId> = ids.iter().collect();
            let mut found = HashMap::new();
            self.for_each(&mut |id, block| {
                if wanted.contains(&id) {
                    found.insert(id, block);
                }
            })?;
            return Ok(found);
        }
        let rows: Vec<StoredRow> =
            self.ask_for(doing, STATEMENT_LIMIT, rows_for(ids.len()), cypher::seek(ids))?;
        Ok(rows.into_iter().map(StoredRow::into).collect())
    }

    fn texts(&self, ids: &[BlockId]) -> Result<HashMap<BlockId, String>, GraphError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let most = rows_for(ids.len());
        let rows: Vec<(String, String)> =
            self.ask_for("cannot read texts", STATEMENT_LIMIT, most, cypher::texts(ids))?;
        Ok(rows.into_iter().map(|(id, text)| (BlockId::new(id), text)).collect())
    }

    fn apply(&self, changes: &[Change], at: DateTime<Utc>) -> Result<Applied, GraphError> {
        let (changes, rejected) = fit(changes);
        if changes.is_empty() {
            return Ok(Applied { stale: Vec::new(), rejected });
        }
        self.prepare()?;
        let (creates, updates): (Vec<&Change>, Vec<&Change>) =
            changes.iter().partition(|change| change.expected.is_none());
        let parts: Vec<&[&Change]> =
            [&creates, &updates].into_iter().flat_map(|rows| parts(rows)).collect();
        // Parts wait for a free place, so each pair may need the whole time.
        let limit = (STATEMENT_LIMIT + GRACE) * parts.len().div_ceil(IN_FLIGHT) as u32 + GRACE;
        let write = write_parts(self.graph()?, parts, at);
        let stale = self.wait(limit, write).map_err(|stopped| match stopped {
            // Less of it may do. A single change cannot be halved: the server must recover first.
            Stopped::ServerFault(fault)
                if fault.verdict == Verdict::TooMuch && changes.len() > 1 =>
            {
                GraphError::Rejected(fault.message)
            }
            // Said of each bad row, so without the server's address.
            Stopped::ServerFault(fault) if fault.verdict == Verdict::Data => {
                GraphError::Rejected(fault.message)
            }
            stopped => self.error("cannot write blocks", stopped),
        })?;
        Ok(Applied { stale: stale.into_iter().map(BlockId::new).collect(), rejected })
    }

    fn for_each(&self, visit: &mut dyn FnMut(BlockId, StoredBlock)) -> Result<(), GraphError> {
        self.sweep("cannot read blocks", cypher::scan(), |row: StoredRow| {
            let (id, block) = row.into();
            visit(id, block);
        })
    }

    fn is_empty(&self) -> Result<bool, GraphError> {
        Ok(self.ask_number("cannot count blocks", cypher::COUNT)? == 0)
    }

    /// Nothing to do: the server answers a write when it is on its disk.
    fn flush(&self) -> Result<(), GraphError> {
        Ok(())
    }

    fn token(&self, scope: &str) -> Result<Option<String>, GraphError> {
        self.graph()?;
        let first = self.connected().tokens.take();
        let tokens = match first {
            Some(tokens) => tokens,
            None => {
                let question = Query::new(cypher::TOKENS.to_owned());
                let rows: Vec<(String, String)> =
                    self.ask("cannot read its token", STATEMENT_LIMIT, question)?;
                rows.into_iter().collect()
            }
        };
        Ok(tokens.get(scope).cloned())
    }

    fn set_token(&self, scope: &str, token: &str) -> Result<(), GraphError> {
        let statement =
            Query::new(cypher::SET_TOKEN.to_owned()).param("scope", scope).param("token", token);
        self.ask::<BoltType>("cannot leave a token", STATEMENT_LIMIT, statement)?;
        self.connected().tokens = None;
        Ok(())
    }

    fn purge(&self, what: &Purge) -> Result<Purged, GraphError> {
        if !what.dry_run {
            self.prepare()?;
        }
        let doing = "cannot purge";
        // Any block of the graph may be old. This is asked by hand, and never by the daemon.
        let found: Vec<(String, bool)> =
            self.ask_for(doing, SCAN_LIMIT, usize::MAX, cypher::find_old(what))?;
        let mut purged = Purged::default();
        for (id, is_related) in found {
            let list = if is_related && !what.detach {
                &mut purged.kept_related
            } else {
                &mut purged.deleted
            };
            list.push(BlockId::new(id));
        }
        if !what.dry_run {
            let mut deleted = Vec::new();
            for ids in purged.deleted.chunks(STATEMENT_ROWS) {
                let delete = cypher::delete(ids, what);
                let ids: Vec<String> = self.ask(doing, STATEMENT_LIMIT, delete)?;
                deleted.extend(ids.into_iter().map(BlockId::new));
            }
            crate::order::sort(&mut deleted);
            purged.deleted = deleted;
        }
        Ok(purged)
    }

    fn marks(
        &self,
        which: &Which,
        limit: usize,
        visit: &mut dyn FnMut(Mark),
    ) -> Result<(), GraphError> {
        let question = marks::marks(which, limit);
        self.sweep("cannot read marked blocks", question, |row: marks::MarkRow| visit(row.into()))
    }

    fn count_marks(&self, which: &Which) -> Result<Marks, GraphError> {
        let doing = "cannot count marked blocks";
        let rows: Vec<marks::CountRow> = self.ask(doing, SCAN_LIMIT, marks::count(which))?;
        Ok(rows.into_iter().next().map(Marks::from).unwrap_or_default())
    }

    fn whole(&self, places: &[Place]) -> Result<Vec<WholeBlock>, GraphError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<marks::WholeRow> =
            self.ask("cannot read marked blocks", STATEMENT_LIMIT, marks::whole(places))?;
        Ok(rows.into_iter().map(WholeBlock::from).collect())
    }

    /// The server cannot make the digest that was kept of a block. So each block is read, compared here, and goes into the
    /// statement as it was read.
    fn clear_marks(
        &self,
        blocks: &[HandedOut],
        consumer: Option<&str>,
    ) -> Result<Vec<BlockId>, GraphError> {
        if consumer.is_some() && !blocks.is_empty() {
            self.prepare_for_consumers()?;
        }
        let mut stale = Vec::new();
        for part in blocks.chunks(STATEMENT_ROWS) {
            let ids: Vec<BlockId> = part.iter().map(|block| block.place.id.clone()).collect();
            let nodes = self.lookup(&ids)?;
            let mut read = Vec::with_capacity(part.len());
            for block in part {
                match nodes.get_key_value(&block.place.id).filter(|(_, node)| block.is(node)) {
                    Some(same) => read.push(same),
                    None => stale.push(block.place.id.clone()),
                }
            }
            if read.is_empty() {
                continue;
            }
            // In the order of ids, as all writers take their locks.
            crate::order::sort_by_key(&mut read, |(id, _)| *id);
            let statement = marks::clear(&read, consumer);
            let ids: Vec<String> =
                self.ask("cannot take marks away", STATEMENT_LIMIT, statement)?;
            stale.extend(ids.into_iter().map(BlockId::new));
        }
        Ok(stale)
    }

    fn properties(&self, id: &BlockId) -> Result<Option<Map<String, Value>>, GraphError> {
        let question = marks::properties(id);
        Ok(marks::as_map(self.ask("cannot read a block", STATEMENT_LIMIT, question)?))
    }

    fn check(&self) -> Vec<Finding> {
        let mut lines = Vec::new();
        let mut line = |name: &str, level, message: String| {
            lines.push(Finding { name: format!("graph.{name}"), level, message });
        };
        // The store would not be open otherwise.
        line("reachable", Level::Ok, format!("neo4j {}", self.address));
        line(
            "authenticated",
            Level::Ok,
            format!("as {} in {}", self.config.user, self.config.database),
        );
        let version = Query::new(cypher::VERSION.to_owned());
        match self.ask::<(String, String)>("cannot read its version", STATEMENT_LIMIT, version) {
            Ok(rows) => {
                let rows: Vec<String> = rows
                    .into_iter()
                    .map(|(version, edition)| format!("Neo4j {version} {edition}"))
                    .collect();
                line("version", Level::Ok, rows.join(", "));
            }
            Err(error) => line("version", Level::Warning, error.to_string()),
        }
        match self.ask_number("cannot read the schema", &cypher::find_constraint("Block", "id")) {
            Ok(0) => match self.duplicates() {
                Ok(duplicates) if duplicates.is_empty() => line(
                    "constraint",
                    Level::Ok,
                    "block ids are not unique yet: the first sync sees to it".to_owned(),
                ),
                Ok(duplicates) => {
                    line("constraint", Level::Error, self.about_duplicates(&duplicates))
                }
                Err(error) => line("constraint", Level::Warning, error.to_string()),
            },
            Ok(_) => line("constraint", Level::Ok, "block ids are unique".to_owned()),
            Err(error) => line("constraint", Level::Warning, error.to_string()),
        }
        match self.try_to_write(&self.stop) {
            Ok(()) => line("writable", Level::Ok, "may write".to_owned()),
            Err(error) => line("writable", Level::Error, error.to_string()),
        }
        match self.ask_number("cannot read its clock", cypher::SERVER_CLOCK) {
            Ok(theirs) => {
                let ahead = theirs - self.clock.now().timestamp();
                if ahead.abs() <= CLOCK_TOLERANCE_S {
                    line("clock", Level::Ok, format!("{ahead} s ahead of ours"));
                } else {
                    let remedy = "set both by a time server, or last_updated misleads";
                    line("clock", Level::Warning, format!("{ahead} s ahead of ours: {remedy}"));
                }
            }
            Err(error) => line("clock", Level::Warning, error.to_string()),
        }
        lines
    }

    /// One statement's worth.
    fn preferred_batch(&self) -> BatchSize {
        BatchSize { rows: STATEMENT_ROWS, bytes: 2 << 20, at_once: BATCHES_IN_FLIGHT }
    }
}

/// Parts changes over disjoint ids, evenly. A batch ends with the file that fills it, so it may be somewhat longer than
/// was wanted: up to twice as long it stays one statement.
fn parts<'a>(changes: &'a [&'a Change]) -> impl Iterator<Item = &'a [&'a Change]> {
    let parts = changes.len().div_ceil(2 * STATEMENT_ROWS).max(1);
    changes.chunks(changes.len().div_ceil(parts).max(1))
}

/// Sends a batch in parts, two in flight; answers with the ids that were stale.
async fn write_parts(
    graph: Graph,
    parts: Vec<&[&Change]>,
    at: DateTime<Utc>,
) -> Result<Vec<String>, ServerFault> {
    let (parts, fault) = (RefCell::new(parts.into_iter()), RefCell::new(None));
    let send = || async {
        let mut stale = Vec::new();
        // After a fault no more is sent, but what is in flight is waited for: the fewer answers are lost, the better.
        while fault.borrow().is_none() {
            let Some(part) = parts.borrow_mut().next() else { break };
            match write_part(&graph, part, at).await {
                Ok(ids) => stale.extend(ids),
                Err(error) => *fault.borrow_mut() = Some(error),
            }
        }
        stale
    };
    let (mut stale, more) = tokio::join!(send(), send());
    stale.extend(more);
    fault.into_inner().map_or(Ok(stale), Err)
}

/// Sends one statement of a batch. Where the constraint refuses it, because a node is there after all or two writers
/// made it at once, the next one finds the node.
async fn write_part(
    graph: &Graph,
    changes: &[&Change],
    at: DateTime<Utc>,
) -> Result<Vec<String>, ServerFault> {
    let send = |statement| async {
        let answer = fetch(graph, limited(statement, STATEMENT_LIMIT), rows_for(changes.len()));
        tokio::time::timeout(STATEMENT_LIMIT + GRACE, answer)
            .await
            .unwrap_or_else(|_| Err(ServerFault::silence(STATEMENT_LIMIT + GRACE)))
    };
    let mut answer = send(cypher::write(changes, at)).await;
    for _ in 0..RACES_MAX {
        match answer {
            Err(fault) if fault.verdict == Verdict::Race => {
                answer = send(cypher::write_again(changes, at)).await;
            }
            answer => return answer,
        }
    }
    answer.map_err(|fault| match fault.verdict {
        Verdict::Race => ServerFault { verdict: Verdict::Data, ..fault },
        _ => fault,
    })
}
