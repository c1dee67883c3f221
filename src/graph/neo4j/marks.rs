//! The statements about marked blocks, and the rows they carry. Pure: nothing here is sent.
//!
//! The work of consumers is kept in the graph itself, as `(:SchedulerConsumer {name})-[:DONE {version}]->(:Block)`: all
//! hosts that share the graph share it, and it is gone with the block.

use chrono::{DateTime, Utc};
use neo4rs::{BoltList, BoltType, Query};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::cypher::{ABSENT, list};
use crate::block::{BlockId, Tier};
use crate::graph::marks::{Mark, Marks, Place, Which, WholeBlock};
use crate::graph::store::StoredBlock;

/// Without it, two feeds that name a new consumer at the same time would make two of it.
pub(super) const CREATE_CONSTRAINT: &str = "CREATE CONSTRAINT scheduler_consumer_unique IF NOT EXISTS \
     FOR (c:SchedulerConsumer) REQUIRE c.name IS UNIQUE";

/// When the text was last written; null for a property of an odd type, which is compared with nothing.
const AT: &str = "CASE WHEN b.last_updated >= datetime({epochSeconds: 0}) THEN b.last_updated END";

/// A node of no known time has waited longest.
const ORDER: &str = "coalesce(at, datetime({epochSeconds: 0})), b.id";

const VERSION: &str = "coalesce(toIntegerOrNull(b.version), 0)";

/// The condition for blocks that wait. Nothing in it comes from outside.
fn condition(which: &Which) -> String {
    let mut terms = vec!["toStringOrNull(b.id) = b.id".to_owned()];
    terms.push(match which.consumer {
        None => "b.needs_reprocessing = true".to_owned(),
        Some(_) => format!(
            "NOT EXISTS {{ (:SchedulerConsumer {{name: $consumer}})-[d:DONE]->(b) WHERE d.version = {VERSION} }}"
        ),
    });
    if !which.archived {
        terms.push("NOT coalesce(b.archived = true, false)".to_owned());
    }
    if !which.tiers.is_empty() {
        let tiers: Vec<String> = which.tiers.iter().map(|tier| (*tier as u8).to_string()).collect();
        let of_id: String = Tier::id_prefixes()
            .map(|(prefix, tier)| format!(" WHEN b.id STARTS WITH '{prefix}' THEN {}", tier as u8))
            .collect();
        terms.push(format!(
            "coalesce(toIntegerOrNull(b.tier), CASE{of_id} END) IN [{}]",
            tiers.join(", ")
        ));
    }
    if !which.prefixes.is_empty() {
        terms.push("any(prefix IN $prefixes WHERE b.id STARTS WITH prefix)".to_owned());
    }
    terms.join(" AND ")
}

fn asking(text: String, which: &Which) -> Query {
    let prefixes: BoltList = which.prefixes.iter().map(String::as_str).collect();
    Query::new(text)
        .param("consumer", which.consumer.as_deref())
        .param("prefixes", BoltType::List(prefixes))
}

/// The blocks that wait, the longest waiting first.
pub(super) fn marks(which: &Which, limit: usize) -> Query {
    let bytes =
        ["text", "body"].map(|name| format!("size(coalesce(toStringOrNull(b.{name}), ''))"));
    asking(
        format!(
            "MATCH (b:Block) WHERE {} WITH b, {AT} AS at ORDER BY {ORDER} LIMIT $limit \
             RETURN [b.id, {VERSION}, at.epochSeconds, at.nanosecond, toStringOrNull(b.source_file), {}] AS r",
            condition(which),
            bytes.join(" + ")
        ),
        which,
    )
    .param("limit", i64::try_from(limit).unwrap_or(i64::MAX))
}

/// One row of [`marks`].
#[derive(Deserialize)]
pub(super) struct MarkRow(String, i64, Option<i64>, Option<u32>, Option<String>, u64);

impl From<MarkRow> for Mark {
    fn from(row: MarkRow) -> Mark {
        Mark {
            id: BlockId::new(row.0),
            row: None,
            version: row.1,
            marked_at: instant(row.2, row.3),
            source_file: row.4,
            bytes: row.5,
        }
    }
}

pub(super) fn count(which: &Which) -> Query {
    asking(
        format!(
            "MATCH (b:Block) WHERE {} WITH count(b) AS n, min({AT}) AS oldest \
             RETURN [n, oldest.epochSeconds, oldest.nanosecond] AS r",
            condition(which)
        ),
        which,
    )
}

/// The row of [`count`].
#[derive(Deserialize)]
pub(super) struct CountRow(u64, Option<i64>, Option<u32>);

impl From<CountRow> for Marks {
    fn from(row: CountRow) -> Marks {
        Marks { count: row.0, oldest: instant(row.1, row.2) }
    }
}

/// Blocks with their texts, in the order asked for.
pub(super) fn whole(places: &[Place]) -> Query {
    let texts = ["text", "body", "hash", "body_hash", "source_file"]
        .map(|name| format!("toStringOrNull(b.{name})"));
    Query::new(format!(
        "UNWIND range(0, size($ids) - 1) AS i WITH i, $ids[i] AS id MATCH (b:Block {{id: id}}) WITH i, b, {AT} AS at \
         RETURN [b.id, {VERSION}, toIntegerOrNull(b.tier), {}, at.epochSeconds, at.nanosecond, \
         coalesce(b.archived = true, false), coalesce(b.needs_reprocessing = true, false)] AS r ORDER BY i",
        texts.join(", ")
    ))
    .param("ids", BoltType::List(places.iter().map(|place| place.id.as_str()).collect()))
}

/// One row of [`whole`].
#[derive(Deserialize)]
pub(super) struct WholeRow(
    String,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<u32>,
    bool,
    bool,
);

impl From<WholeRow> for WholeBlock {
    fn from(row: WholeRow) -> WholeBlock {
        let id = BlockId::new(row.0);
        WholeBlock {
            tier: row.2.and_then(Tier::of_number).or_else(|| Tier::of_id(&id)),
            id,
            version: row.1,
            text: row.3,
            body: row.4,
            hash: row.5,
            body_hash: row.6,
            source_file: row.7,
            line: None,
            marked_at: instant(row.8, row.9),
            archived: row.10,
            marked: row.11,
        }
    }
}

/// Takes marks away, or notes what a consumer has done, under the lock of each node; answers with the ids of those that
/// are not what was read.
pub(super) fn clear(read: &[(&BlockId, &StoredBlock)], consumer: Option<&str>) -> Query {
    let text = |text: &Option<String>| text.as_deref().unwrap_or(ABSENT).into();
    let rows: BoltList = read
        .iter()
        .map(|(id, node)| {
            let state = list([node.version.into(), text(&node.hash), text(&node.body_hash)]);
            list([id.as_str().into(), state, node.version.into()])
        })
        .collect();
    let (before, with, set) = match consumer {
        None => ("", "", "SET b.needs_reprocessing = false"),
        Some(_) => (
            "MERGE (c:SchedulerConsumer {name: $consumer}) WITH c ",
            "c, ",
            "MERGE (c)-[d:DONE]->(b) SET d.version = row[2]",
        ),
    };
    Query::new(format!(
        "{before}UNWIND $rows AS row OPTIONAL MATCH (b:Block {{id: row[0]}}) SET b._LOCK_ = true \
         WITH {with}b, row, b IS NOT NULL AND [{VERSION}, coalesce(toStringOrNull(b.hash), $absent), \
         coalesce(toStringOrNull(b.body_hash), $absent)] = row[1] AS fresh \
         FOREACH (_ IN CASE WHEN fresh THEN [1] ELSE [] END | {set}) \
         REMOVE b._LOCK_ WITH row, fresh WHERE NOT fresh RETURN row[0] AS r"
    ))
    .param("rows", BoltType::List(rows))
    .param("absent", ABSENT)
    .param("consumer", consumer)
}

/// Every property of a block: its name, and its value as a flag, a whole number or text, the first that it is.
pub(super) fn properties(id: &BlockId) -> Query {
    Query::new(
        "MATCH (b:Block {id: $id}) UNWIND keys(b) AS name WITH name, b[name] AS v \
         RETURN [name, CASE WHEN v = true OR v = false THEN v END, \
         CASE WHEN toIntegerOrNull(v) = v THEN toIntegerOrNull(v) END, toStringOrNull(v)] AS r ORDER BY name"
            .to_owned(),
    )
    .param("id", id.as_str())
}

/// One row of [`properties`].
pub(super) type PropertyRow = (String, Option<bool>, Option<i64>, Option<String>);

/// All of them; `None` where there are none, as each block has its id.
pub(super) fn as_map(rows: Vec<PropertyRow>) -> Option<Map<String, Value>> {
    let value = |(name, flag, number, text): PropertyRow| {
        let value = match (flag, number, text) {
            (Some(flag), ..) => flag.into(),
            (None, Some(number), _) => number.into(),
            (None, None, Some(text)) => text.into(),
            // A list, such as an embedding: shown by its name alone.
            (None, None, None) => Value::Null,
        };
        (name, value)
    };
    Some(rows.into_iter().map(value).collect()).filter(|map: &Map<_, _>| !map.is_empty())
}

fn instant(seconds: Option<i64>, nanos: Option<u32>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds?, nanos?)
}
