//! The graph past the store, for tests: whole nodes, read and edited as another service would.

use chrono::{DateTime, Utc};
use neo4rs::{BoltType, Query};
use serde::Deserialize;

use super::connection::{Neo4jStore, STATEMENT_LIMIT};
use super::cypher;
use crate::block::{BlockId, Tier};
use crate::graph::{BackDoor, Conflict, Node, Nodes};

/// The last value tells whether flags and what belongs to them stand together, and no lock was left.
const NODES: &str = "MATCH (b:Block) RETURN [b.id, b.text, b.hash, b.version, \
     b.last_updated.epochSeconds, b.last_updated.nanosecond, coalesce(b.needs_reprocessing, false), b.source_file, \
     b.vault_version, b.body, b.body_hash, b.tier, b.archived_at.epochSeconds, b.archived_at.nanosecond, \
     b.conflict_version, b.conflict_hash, b.conflict_file, size([(b)--(n) | 1]), \
     b._LOCK_ IS NULL AND coalesce(b.archived, false) = (b.archived_at IS NOT NULL) \
     AND coalesce(b.conflict, false) = (b.conflict_version IS NOT NULL)] AS r";

const PUT: &str = "MERGE (b:Block {id: $id}) \
     SET b += {text: $text, hash: $hash, version: $version, last_updated: $last_updated, \
     needs_reprocessing: $needs_reprocessing, source_file: $source_file, vault_version: $vault_version, body: $body, \
     body_hash: $body_hash, tier: $tier, archived: $archived, archived_at: $archived_at, conflict: $conflict, \
     conflict_version: $conflict_version, conflict_hash: $conflict_hash, conflict_file: $conflict_file} \
     WITH b, $relationships - size([(b)--(n) | 1]) AS missing \
     FOREACH (i IN range(1, missing) | CREATE (:Claim)-[:ORIGINATES_FROM]->(b))";

const DELETE: &str = "MATCH (b:Block {id: $id}) DETACH DELETE b";

#[derive(Deserialize)]
struct NodeRow(
    String,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<u32>,
    bool,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<u32>,
    Option<i64>,
    Option<String>,
    Option<String>,
    u32,
    bool,
);

impl From<NodeRow> for (BlockId, Node) {
    fn from(row: NodeRow) -> (BlockId, Node) {
        assert!(row.18, "{}: a flag without what belongs to it, or a lock", row.0);
        let instant = |seconds: Option<i64>, nanos: Option<u32>| {
            DateTime::<Utc>::from_timestamp(seconds?, nanos?)
        };
        let tier = |number| match number {
            1 => Tier::One,
            2 => Tier::Two,
            3 => Tier::Three,
            other => panic!("tier {other}"),
        };
        let conflict = match (row.14, row.15, row.16) {
            (Some(version), Some(hash), Some(file)) => Some(Conflict { version, hash, file }),
            _ => None,
        };
        let node = Node {
            text: row.1,
            hash: row.2,
            version: row.3,
            last_updated: instant(row.4, row.5),
            needs_reprocessing: row.6,
            source_file: row.7,
            vault_version: row.8,
            body: row.9,
            body_hash: row.10,
            tier: row.11.map(tier),
            archived_at: instant(row.12, row.13),
            conflict,
            relationships: row.17,
        };
        (BlockId::new(row.0), node)
    }
}

impl Neo4jStore {
    /// Every block.
    fn nodes(&self) -> Nodes {
        let rows: Vec<NodeRow> =
            self.ask("nodes", STATEMENT_LIMIT, Query::new(NODES.into())).unwrap();
        rows.into_iter().map(NodeRow::into).collect()
    }

    /// Deletes everything.
    pub(crate) fn wipe(&self) {
        // In portions: a server that holds a large graph has not the memory to delete it in one transaction.
        const WIPE: &str = "MATCH (n) WHERE NOT n:SchedulerLease AND NOT n:SchedulerJob CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS";
        self.run(Query::new(WIPE.into()));
    }

    fn run(&self, statement: Query) {
        self.ask::<BoltType>("edit", STATEMENT_LIMIT, statement).unwrap();
    }
}

impl BackDoor for Neo4jStore {
    fn edit(&self, edit: &mut dyn FnMut(&mut Nodes)) {
        let before = self.nodes();
        let mut after = before.clone();
        edit(&mut after);
        for id in before.keys().filter(|id| !after.contains_key(id)) {
            self.run(Query::new(DELETE.into()).param("id", id.as_str()));
        }
        for (id, node) in after.iter().filter(|(id, node)| before.get(*id) != Some(node)) {
            self.run(put(id, node));
        }
    }
}

fn put(id: &BlockId, node: &Node) -> Query {
    let conflict = node.conflict.as_ref();
    let flag = |is_set: bool| is_set.then_some(true);
    Query::new(PUT.into())
        .param("id", id.as_str())
        .param("text", node.text.as_deref())
        .param("hash", node.hash.as_deref())
        .param("version", node.version)
        .param("last_updated", node.last_updated.map(cypher::zoned))
        .param("needs_reprocessing", node.needs_reprocessing)
        .param("source_file", node.source_file.as_deref())
        .param("vault_version", node.vault_version)
        .param("body", node.body.as_deref())
        .param("body_hash", node.body_hash.as_deref())
        .param("tier", node.tier.map(|tier| i64::from(tier as u8)))
        .param("archived", flag(node.archived_at.is_some()))
        .param("archived_at", node.archived_at.map(cypher::zoned))
        .param("conflict", flag(conflict.is_some()))
        .param("conflict_version", conflict.map(|conflict| conflict.version))
        .param("conflict_hash", conflict.map(|conflict| conflict.hash.as_str()))
        .param("conflict_file", conflict.map(|conflict| conflict.file.as_str()))
        .param("relationships", i64::from(node.relationships))
}
