//! The statements sent to Neo4j, and the rows they carry. Pure: nothing here is sent.
//!
//! Each answers in one column, `r`.
//!
//! A row is a list and not a map: maps repeat every name in every row and take twice the time. All that is compared or
//! read goes through the same expressions ([`STATE`]), so a property of an odd type, as another service might leave
//! one, reads and compares alike instead of failing.

use chrono::{DateTime, Utc};
use neo4rs::{BoltList, BoltType, Query};
use serde::Deserialize;

use crate::block::BlockId;
use crate::graph::store::{Change, Conflict, Facts, Purge, StoredBlock, Write, indexable};

/// The constraint that makes `MERGE` on an id atomic. Named as the other services name it.
pub(super) const CREATE_CONSTRAINT: &str =
    "CREATE CONSTRAINT block_id_unique IF NOT EXISTS FOR (b:Block) REQUIRE b.id IS UNIQUE";

/// Tells whether two nodes of this label with one value of this property are impossible already, by a constraint of whatever
/// name.
pub(super) fn find_constraint(label: &str, property: &str) -> String {
    format!(
        "SHOW CONSTRAINTS YIELD type, entityType, labelsOrTypes, properties \
         WHERE entityType = 'NODE' AND labelsOrTypes = ['{label}'] AND properties = ['{property}'] \
         AND (type CONTAINS 'UNIQUE' OR type = 'NODE_KEY') RETURN count(*) AS r"
    )
}

/// Tells whether a block is found by its id without looking at all of them.
pub(super) const FIND_INDEX: &str = "SHOW INDEXES YIELD type, entityType, labelsOrTypes, properties, state \
     WHERE entityType = 'NODE' AND labelsOrTypes = ['Block'] AND properties = ['id'] \
     AND type IN ['RANGE', 'BTREE'] AND state = 'ONLINE' RETURN count(*) AS r";

/// For a person, to look at all nodes that share an id: no id of somebody else's making stands in it.
pub(super) const SHOW_DUPLICATES: &str =
    "MATCH (b:Block) WITH b.id AS id, collect(b) AS nodes WHERE size(nodes) > 1 RETURN id, nodes";

/// Blocks that stand in the way of the constraint, a few of them.
pub(super) const DUPLICATES: &str = "MATCH (b:Block) WHERE toStringOrNull(b.id) = b.id WITH b.id AS id, count(*) AS n WHERE n > 1 \
     RETURN [id, n] AS r ORDER BY r LIMIT 10";

/// Answered from the count store: costs nothing.
pub(super) const COUNT: &str = "MATCH (b:Block) RETURN count(b) AS r";

/// The label is not `:Block`, so that no service takes the token for a block.
pub(super) const TOKENS: &str = "MATCH (t:AclaraiSchedulerToken) RETURN [t.scope, t.token] AS r";
pub(super) const SET_TOKEN: &str =
    "MERGE (t:AclaraiSchedulerToken {scope: $scope}) SET t.token = $token, t.set_at = datetime()";

/// Writes a node and takes it back: a database that is read-only, or closed to this user, refuses it.
pub(super) const TRY_TO_WRITE: &str = "CREATE (t:AclaraiSchedulerToken {scope: 'check'})";

pub(super) const VERSION: &str = "CALL dbms.components() YIELD name, versions, edition \
     WHERE name = 'Neo4j Kernel' RETURN [versions[0], edition] AS r";

/// Whole seconds since 1970, by the server's clock.
pub(super) const SERVER_CLOCK: &str = "RETURN datetime().epochSeconds AS r";

/// The properties that decisions are taken on, in the order of [`StoredRow`]; nulls where a property is absent.
const STATE: [&str; 9] = [
    "toStringOrNull(b.hash)",
    "toStringOrNull(b.body_hash)",
    "coalesce(toIntegerOrNull(b.version), 0)",
    "toIntegerOrNull(b.vault_version)",
    "toStringOrNull(b.source_file)",
    "coalesce(b.archived = true, false)",
    "CASE WHEN b.conflict = true THEN coalesce(toIntegerOrNull(b.conflict_version), 0) END",
    "CASE WHEN b.conflict = true THEN coalesce(toStringOrNull(b.conflict_hash), '') END",
    "CASE WHEN b.conflict = true THEN coalesce(toStringOrNull(b.conflict_file), '') END",
];

/// Stands for an absent property where two states are compared, as null is equal to nothing.
pub(super) const ABSENT: &str = "\u{0}absent";

/// Blocks by id, through the index.
pub(super) fn seek(ids: &[BlockId]) -> Query {
    let ids: BoltList = ids.iter().map(BlockId::as_str).collect();
    Query::new(format!(
        "UNWIND $ids AS id MATCH (b:Block {{id: id}}) RETURN [b.id, {}] AS r",
        STATE.join(", ")
    ))
    .param("ids", BoltType::List(ids))
}

/// The texts of blocks by id.
pub(super) fn texts(ids: &[BlockId]) -> Query {
    let ids: BoltList = ids.iter().map(BlockId::as_str).collect();
    Query::new(
        "MATCH (b:Block) WHERE b.id IN $ids AND coalesce(b.body, b.text) IS NOT NULL
         RETURN [b.id, coalesce(b.body, b.text)] AS r"
            .to_owned(),
    )
    .param("ids", BoltType::List(ids))
}

/// All blocks. A node whose id is no text is none of ours.
pub(super) fn scan() -> Query {
    Query::new(format!(
        "MATCH (b:Block) WHERE toStringOrNull(b.id) = b.id RETURN [b.id, {}] AS r",
        STATE.join(", ")
    ))
}

/// One row of [`seek`] and [`scan`].
#[derive(Deserialize)]
pub(super) struct StoredRow(
    String,
    Option<String>,
    Option<String>,
    i64,
    Option<i64>,
    Option<String>,
    bool,
    Option<i64>,
    Option<String>,
    Option<String>,
);

impl From<StoredRow> for (BlockId, StoredBlock) {
    fn from(row: StoredRow) -> (BlockId, StoredBlock) {
        let conflict = match (row.7, row.8, row.9) {
            (Some(version), Some(hash), Some(file)) => Some(Conflict { version, hash, file }),
            _ => None,
        };
        let block = StoredBlock {
            hash: row.1,
            body_hash: row.2,
            version: row.3,
            vault_version: row.4,
            source_file: row.5,
            archived: row.6,
            conflict,
        };
        (BlockId::new(row.0), block)
    }
}

/// Creates blocks of which no node was seen. Where there is one after all, the constraint refuses the whole statement,
/// and [`CREATE_WHERE_NONE`] has to look at each; hardly ever, and looking would cost a fifth more every time.
///
/// It ends with an answer, if an empty one: without, the server works while it takes the statement in, and a refusal
/// comes where the driver sends it again and again by itself.
const CREATE: &str = "UNWIND $rows AS row \
     CREATE (b:Block {id: row[0], text: row[1], hash: row[2], version: row[3], last_updated: $at, \
     needs_reprocessing: row[4], source_file: row[5], vault_version: row[6], body: row[7], body_hash: row[8], \
     tier: row[9]}) \
     WITH row[0] AS id WHERE id IS NULL RETURN id AS r";

/// The same where some may have a node; answers with their ids.
///
/// `_LOCK_` never leaves the transaction: it tells a node that this statement made from one that was there.
const CREATE_WHERE_NONE: &str = "UNWIND $rows AS row \
     MERGE (b:Block {id: row[0]}) \
     ON CREATE SET b._LOCK_ = true, b.text = row[1], b.hash = row[2], b.version = row[3], b.last_updated = $at, \
     b.needs_reprocessing = row[4], b.source_file = row[5], b.vault_version = row[6], b.body = row[7], \
     b.body_hash = row[8], b.tier = row[9] \
     WITH b, row[0] AS id, b._LOCK_ IS NULL AS stale \
     REMOVE b._LOCK_ \
     WITH id, stale WHERE stale RETURN id AS r";

/// Changes nodes that still are what was read; answers with the ids of those that are not.
///
/// Setting `_LOCK_` takes the node's write lock before its properties are read, so nobody comes in between.
fn update() -> String {
    let state: Vec<String> =
        STATE.iter().map(|property| format!("coalesce({property}, $absent)")).collect();
    let no_conflict = "b.archived = null, b.archived_at = null, b.conflict = null, b.conflict_version = null, \
         b.conflict_hash = null, b.conflict_file = null";
    let when = |kind: &str, set: &str| {
        format!(
            "FOREACH (_ IN CASE WHEN fresh AND row[2] = '{kind}' THEN [1] ELSE [] END | SET {set}) "
        )
    };
    [
        "UNWIND $rows AS row OPTIONAL MATCH (b:Block {id: row[0]}) SET b._LOCK_ = true WITH b, row, ".to_owned(),
        format!("b IS NOT NULL AND [{}] = row[1] AS fresh ", state.join(", ")),
        when(
            CONTENT,
            &format!(
                "b.text = row[3], b.hash = row[4], b.version = row[5], b.last_updated = $at, \
                 b.needs_reprocessing = CASE WHEN row[6] THEN true ELSE b.needs_reprocessing END, \
                 b.source_file = row[7], b.vault_version = row[8], b.body = row[9], b.body_hash = row[10], \
                 b.tier = row[11], {no_conflict}"
            ),
        ),
        when(
            FACTS,
            &format!(
                "b.version = coalesce(row[3], b.version), b.vault_version = coalesce(row[4], b.vault_version), \
                 b.source_file = coalesce(row[5], b.source_file), b.tier = coalesce(row[6], b.tier), \
                 b.body = coalesce(row[7], b.body), b.body_hash = coalesce(row[8], b.body_hash), {no_conflict}"
            ),
        ),
        when(
            CONFLICT,
            "b.conflict = true, b.conflict_version = row[3], b.conflict_hash = row[4], b.conflict_file = row[5]",
        ),
        when(ARCHIVE, "b.archived = true, b.archived_at = $at"),
        "REMOVE b._LOCK_ WITH row, fresh WHERE NOT fresh RETURN row[0] AS r".to_owned(),
    ]
    .concat()
}

const CONTENT: &str = "content";
const FACTS: &str = "facts";
const CONFLICT: &str = "conflict";
const ARCHIVE: &str = "archive";

/// The statement for some changes, all of which expect no node, or all of which expect one.
pub(super) fn write(changes: &[&Change], at: DateTime<Utc>) -> Query {
    statement(CREATE, changes, at)
}

/// The same once the constraint has refused it.
pub(super) fn write_again(changes: &[&Change], at: DateTime<Utc>) -> Query {
    statement(CREATE_WHERE_NONE, changes, at)
}

fn statement(create: &str, changes: &[&Change], at: DateTime<Utc>) -> Query {
    let creates = changes.iter().all(|change| change.expected.is_none());
    let rows: BoltList = changes
        .iter()
        .map(|change| match &change.expected {
            None => create_row(change),
            Some(expected) => update_row(change, expected),
        })
        .collect();
    let query = if creates {
        Query::new(create.to_owned())
    } else {
        Query::new(update()).param("absent", ABSENT)
    };
    query.param("rows", BoltType::List(rows)).param("at", zoned(at))
}

fn create_row(change: &Change) -> BoltType {
    let Write::Content(content) = &change.write else {
        unreachable!("only content is written where no node was seen: Change::unfit sees to it");
    };
    list([
        change.id.as_str().into(),
        indexable(&content.text).into(),
        content.hash.to_string().into(),
        content.version.into(),
        content.mark.then_some(true).into(),
        content.source_file.as_str().into(),
        content.vault_version.into(),
        content.body.as_str().into(),
        content.body_hash.to_string().into(),
        i64::from(content.tier as u8).into(),
    ])
}

fn update_row(change: &Change, expected: &StoredBlock) -> BoltType {
    let or_absent = |value: Option<BoltType>| value.unwrap_or_else(|| ABSENT.into());
    let text = |text: &Option<String>| or_absent(text.as_deref().map(Into::into));
    let conflict = expected.conflict.as_ref();
    let state = list([
        text(&expected.hash),
        text(&expected.body_hash),
        expected.version.into(),
        or_absent(expected.vault_version.map(Into::into)),
        text(&expected.source_file),
        expected.archived.into(),
        or_absent(conflict.map(|c| c.version.into())),
        or_absent(conflict.map(|c| c.hash.as_str().into())),
        or_absent(conflict.map(|c| c.file.as_str().into())),
    ]);
    let mut row: Vec<BoltType> = vec![change.id.as_str().into(), state];
    match &change.write {
        Write::Content(content) => row.extend([
            CONTENT.into(),
            indexable(&content.text).into(),
            content.hash.to_string().into(),
            content.version.into(),
            content.mark.into(),
            content.source_file.as_str().into(),
            content.vault_version.into(),
            content.body.as_str().into(),
            content.body_hash.to_string().into(),
            i64::from(content.tier as u8).into(),
        ]),
        Write::Facts(Facts { version, vault_version, source_file, tier, body }) => row.extend([
            FACTS.into(),
            (*version).into(),
            (*vault_version).into(),
            source_file.as_deref().into(),
            tier.map(|tier| i64::from(tier as u8)).into(),
            body.as_ref().map(|(body, _)| body.as_str()).into(),
            body.as_ref().map(|(_, hash)| hash.to_string()).into(),
        ]),
        Write::Conflict(conflict) => row.extend([
            CONFLICT.into(),
            conflict.version.into(),
            conflict.hash.as_str().into(),
            conflict.file.as_str().into(),
        ]),
        Write::Archive => row.push(ARCHIVE.into()),
    }
    BoltType::List(BoltList { value: row })
}

/// Whether others have a relationship with a block. That a consumer of ours has done it is none.
const RELATED: &str =
    "EXISTS { (b)-[r]-() WHERE NOT (type(r) = 'DONE' AND startNode(r):SchedulerConsumer) }";

/// The archived blocks that are old enough, and for each whether other nodes have a relationship with it.
pub(super) fn find_old(what: &Purge) -> Query {
    Query::new(format!(
        "MATCH (b:Block) WHERE b.archived = true AND $from <= b.archived_at < $before AND toStringOrNull(b.id) = b.id \
         RETURN [b.id, {RELATED}] AS r ORDER BY b.id"
    ))
    .param("from", zoned(what.archived_from))
    .param("before", zoned(what.archived_before))
}

/// Deletes those of `ids` that are still old enough, under lock; answers with the ids deleted.
pub(super) fn delete(ids: &[BlockId], what: &Purge) -> Query {
    let unrelated = if what.detach { String::new() } else { format!("AND NOT {RELATED} ") };
    let ids: BoltList = ids.iter().map(BlockId::as_str).collect();
    Query::new(format!(
        "UNWIND $ids AS id MATCH (b:Block {{id: id}}) SET b._LOCK_ = true \
         WITH b, id, b.archived = true AND $from <= b.archived_at < $before {unrelated}AS old REMOVE b._LOCK_ \
         WITH b, id, old WHERE old DETACH DELETE b RETURN id AS r"
    ))
    .param("ids", BoltType::List(ids))
    .param("from", zoned(what.archived_from))
    .param("before", zoned(what.archived_before))
}

/// A zoned datetime in UTC, as the other services write one.
pub(super) fn zoned(at: DateTime<Utc>) -> BoltType {
    at.fixed_offset().into()
}

pub(super) fn list<const N: usize>(values: [BoltType; N]) -> BoltType {
    BoltType::List(BoltList { value: values.into() })
}
