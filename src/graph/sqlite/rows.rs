//! The rows of the embedded graph: how one is read, and how one is written only while it is still what was read.

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{CachedStatement, Connection, Row, params};

use crate::graph::store::{Change, Conflict, StoredBlock, Write, indexable};

/// The columns of a [`StoredBlock`], as [`stored`] reads them.
pub(super) const STORED: &str = "id, hash, body_hash, COALESCE(version, 0), vault_version, source_file, archived, conflict, \
                      COALESCE(conflict_version, 0), COALESCE(conflict_hash, ''), COALESCE(conflict_file, '')";

/// Holds while a row is still what was read: parameters 1 to 11 are the id and the columns of [`STORED`].
pub(super) const AS_EXPECTED: &str = "id = ?1 AND hash IS ?2 AND body_hash IS ?3 AND COALESCE(version, 0) = ?4 \
                           AND vault_version IS ?5 AND source_file IS ?6 AND archived = ?7 AND conflict = ?8 \
                           AND (NOT conflict OR (COALESCE(conflict_version, 0) IS ?9 \
                           AND COALESCE(conflict_hash, '') IS ?10 AND COALESCE(conflict_file, '') IS ?11))";

const NO_CONFLICT: &str =
    "conflict = 0, conflict_version = NULL, conflict_hash = NULL, conflict_file = NULL";

/// The statements of one batch. Each says whether it found the row as expected, and writes only then.
pub(super) struct RowWriter<'c> {
    at: String,
    create: CachedStatement<'c>,
    content: CachedStatement<'c>,
    facts: CachedStatement<'c>,
    conflict: CachedStatement<'c>,
    archive: CachedStatement<'c>,
}

impl<'c> RowWriter<'c> {
    pub(super) fn new(connection: &'c Connection, at: String) -> rusqlite::Result<RowWriter<'c>> {
        let update = |set: &str| {
            connection.prepare_cached(&format!("UPDATE blocks SET {set} WHERE {AS_EXPECTED}"))
        };
        Ok(RowWriter {
            at,
            create: connection.prepare_cached(
                // With or without the index of ids, which `ON CONFLICT (id)` would insist on.
                "INSERT OR IGNORE INTO blocks (id, text, hash, version, last_updated, needs_reprocessing, source_file, \
                 vault_version, body, body_hash, tier) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?,
            content: update(&format!(
                "text = ?12, hash = ?13, version = ?14, last_updated = ?15, \
                 needs_reprocessing = MAX(needs_reprocessing, ?16), source_file = ?17, vault_version = ?18, \
                 body = ?19, body_hash = ?20, tier = ?21, archived = 0, archived_at = NULL, {NO_CONFLICT}"
            ))?,
            facts: update(&format!(
                "version = COALESCE(?12, version), vault_version = COALESCE(?13, vault_version), \
                 source_file = COALESCE(?14, source_file), tier = COALESCE(?15, tier), body = COALESCE(?16, body), \
                 body_hash = COALESCE(?17, body_hash), archived = 0, archived_at = NULL, {NO_CONFLICT}"
            ))?,
            conflict: update(
                "conflict = 1, conflict_version = ?12, conflict_hash = ?13, conflict_file = ?14",
            )?,
            archive: update("archived = 1, archived_at = ?12")?,
        })
    }

    pub(super) fn write(&mut self, change: &Change) -> rusqlite::Result<bool> {
        let Some(expected) = &change.expected else {
            return self.create(change);
        };
        let statement = match &change.write {
            Write::Content(_) => &mut self.content,
            Write::Facts(_) => &mut self.facts,
            Write::Conflict(_) => &mut self.conflict,
            Write::Archive => &mut self.archive,
        };
        let conflict = expected.conflict.as_ref();
        statement.raw_bind_parameter(1, change.id.as_str())?;
        statement.raw_bind_parameter(2, &expected.hash)?;
        statement.raw_bind_parameter(3, &expected.body_hash)?;
        statement.raw_bind_parameter(4, expected.version)?;
        statement.raw_bind_parameter(5, expected.vault_version)?;
        statement.raw_bind_parameter(6, &expected.source_file)?;
        statement.raw_bind_parameter(7, expected.archived)?;
        statement.raw_bind_parameter(8, conflict.is_some())?;
        statement.raw_bind_parameter(9, conflict.map(|c| c.version))?;
        statement.raw_bind_parameter(10, conflict.map(|c| &c.hash))?;
        statement.raw_bind_parameter(11, conflict.map(|c| &c.file))?;
        match &change.write {
            Write::Content(content) => {
                statement.raw_bind_parameter(12, indexable(&content.text))?;
                statement.raw_bind_parameter(13, content.hash.to_string())?;
                statement.raw_bind_parameter(14, content.version)?;
                statement.raw_bind_parameter(15, &self.at)?;
                statement.raw_bind_parameter(16, content.mark)?;
                statement.raw_bind_parameter(17, &content.source_file)?;
                statement.raw_bind_parameter(18, content.vault_version)?;
                statement.raw_bind_parameter(19, &content.body)?;
                statement.raw_bind_parameter(20, content.body_hash.to_string())?;
                statement.raw_bind_parameter(21, content.tier as u8)?;
            }
            Write::Facts(facts) => {
                let (body, hash) = facts.body.as_ref().map(|(b, h)| (b, h.to_string())).unzip();
                statement.raw_bind_parameter(12, facts.version)?;
                statement.raw_bind_parameter(13, facts.vault_version)?;
                statement.raw_bind_parameter(14, &facts.source_file)?;
                statement.raw_bind_parameter(15, facts.tier.map(|tier| tier as u8))?;
                statement.raw_bind_parameter(16, body)?;
                statement.raw_bind_parameter(17, hash)?;
            }
            Write::Conflict(conflict) => {
                statement.raw_bind_parameter(12, conflict.version)?;
                statement.raw_bind_parameter(13, &conflict.hash)?;
                statement.raw_bind_parameter(14, &conflict.file)?;
            }
            Write::Archive => statement.raw_bind_parameter(12, &self.at)?,
        }
        Ok(statement.raw_execute()? > 0)
    }

    fn create(&mut self, change: &Change) -> rusqlite::Result<bool> {
        let Write::Content(content) = &change.write else {
            return Ok(false);
        };
        let rows = self.create.execute(params![
            change.id.as_str(),
            indexable(&content.text),
            content.hash.to_string(),
            content.version,
            self.at,
            content.mark,
            content.source_file,
            content.vault_version,
            content.body,
            content.body_hash.to_string(),
            content.tier as u8,
        ])?;
        Ok(rows > 0)
    }
}

/// One row of [`STORED`].
pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<StoredBlock> {
    let conflict = if row.get(7)? {
        Some(Conflict { version: row.get(8)?, hash: row.get(9)?, file: row.get(10)? })
    } else {
        None
    };
    Ok(StoredBlock {
        hash: row.get(1)?,
        body_hash: row.get(2)?,
        version: row.get(3)?,
        vault_version: row.get(4)?,
        source_file: row.get(5)?,
        archived: row.get(6)?,
        conflict,
    })
}

/// An instant as text of one width, so that texts compare as the instants do.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
