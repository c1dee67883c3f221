//! The index of ids, and the time that an empty graph is filled in without it.
//!
//! Ids come in no order, so each new block changes another page of their index, and once that is larger than the cache, a
//! page is read and written for each block. A graph that is filled for the first time does without: rows are only
//! appended, and when all of them are there, the index is made by one sort. Eight times the blocks then cost eight times
//! as much.
//!
//! Nobody looks for a block meanwhile without the index being made first. Nobody else need know of it: a store that finds
//! blocks and no index makes it before it writes, so a run that was killed leaves nothing undone, and a run that fills
//! stops doing so once another connection has committed.

use rusqlite::{Connection, ErrorCode, Row};

/// The index that a new graph begins with.
pub(super) const MAKE: &str = "CREATE UNIQUE INDEX blocks_by_id ON blocks (id);";

/// Whether ids are indexed: by the index above, or by the one that is part of the table in older graphs.
pub(super) fn are_indexed(connection: &Connection) -> rusqlite::Result<bool> {
    is(
        connection,
        "EXISTS (SELECT 1 FROM sqlite_schema WHERE name IN ('blocks_by_id', 'sqlite_autoindex_blocks_1'))",
    )
}

/// The number of commits that other connections have made, as far as this one knows: it stays the same while nobody else
/// writes.
pub(super) fn foreign_commits(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}

/// Takes the index from a graph that holds no block, under the lock; false where it has blocks, or keeps its index.
pub(super) fn lay_aside(connection: &Connection) -> rusqlite::Result<bool> {
    if !is(connection, "NOT EXISTS (SELECT 1 FROM blocks)")? {
        return Ok(false);
    }
    connection.execute_batch("DROP INDEX IF EXISTS blocks_by_id")?;
    Ok(!are_indexed(connection)?)
}

/// Makes the index, under the lock. Of rows that somebody has added twice without it, the first one counts, as it would
/// have with the index.
pub(super) fn index(connection: &Connection) -> rusqlite::Result<()> {
    match connection.execute_batch(MAKE) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            connection.execute_batch(
                "DELETE FROM blocks WHERE rowid NOT IN (SELECT min(rowid) FROM blocks GROUP BY id)",
            )?;
            connection.execute_batch(MAKE)
        }
        made => made,
    }
}

fn is(connection: &Connection, condition: &str) -> rusqlite::Result<bool> {
    let answer = |row: &Row<'_>| row.get(0);
    connection.prepare_cached(&format!("SELECT {condition}"))?.query_row([], answer)
}
