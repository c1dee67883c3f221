//! The rows behind what is remembered: SQL, and the rows of all files read ahead.

use std::collections::HashMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::changes::{BootTime, Changes, FileRecord, MissingBlock, Waiting};
use crate::block::VaultPath;
use crate::reconcile::trust::{Known, is_trusted};
use crate::state::State;
use crate::vault::{Digest, FileStat};

const TRUSTED: u8 = 1;
const SETTLED: u8 = 2;

/// Visits what is remembered of each file, in path order.
pub(super) fn each(
    connection: &Connection,
    visit: &mut dyn FnMut(Row<'_>),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT path, size, mtime_ns, ctime_ns, inode, digest, blocks, flags, blank_runs, verified_at, parser
         FROM files ORDER BY path",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let digest: [u8; 16] = row.get(5)?;
        let flags: u8 = row.get(7)?;
        let known = Known {
            stat: FileStat {
                size: row.get::<_, i64>(1)? as u64,
                mtime_ns: row.get(2)?,
                ctime_ns: row.get(3)?,
                inode: row.get::<_, i64>(4)? as u64,
            },
            digest: Digest(u128::from_le_bytes(digest)),
            blocks: row.get(6)?,
            trusted: flags & TRUSTED != 0,
            settled: flags & SETTLED != 0,
            blank_runs: row.get(8)?,
            verified_at: row.get(9)?,
            parser: row.get::<_, i64>(10)? as u64,
        };
        visit(Row { path: row.get_ref(0)?.as_blob()?, known });
    }
    Ok(())
}

/// The blocks that are missing, by id.
pub(super) fn missing(connection: &Connection) -> rusqlite::Result<Vec<MissingBlock>> {
    let mut statement = connection.prepare(
        "SELECT id, path, first_missing_at, scans, boot, boot_time FROM missing_blocks ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        let path: Vec<u8> = row.get(1)?;
        Ok(MissingBlock {
            id: row.get(0)?,
            path: VaultPath::from_bytes(&path),
            first_missing_at: DateTime::from_timestamp(row.get(2)?, 0).unwrap_or_default(),
            scans: row.get(3)?,
            boot: BootTime { id: row.get(4)?, seconds: row.get(5)? },
        })
    })?;
    rows.collect()
}

/// Visits every id that is remembered.
pub(super) fn each_id(
    connection: &Connection,
    visit: &mut dyn FnMut(&str),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT ids FROM file_ids")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        split_ids(row.get_ref(0)?.as_str()?).for_each(&mut *visit);
    }
    Ok(())
}

/// The folders that lay on another device than the vault's root, and that device.
pub(super) fn mounts(connection: &Connection) -> rusqlite::Result<HashMap<VaultPath, u64>> {
    let mut statement = connection.prepare("SELECT path, device FROM mounts")?;
    let rows = statement.query_map([], |row| {
        let folder = VaultPath::from_bytes(row.get_ref(0)?.as_blob()?);
        Ok((folder, row.get::<_, i64>(1)? as u64))
    })?;
    rows.collect()
}

/// The matters that wait for a person, as the last run left them.
pub(super) fn attention(connection: &Connection) -> rusqlite::Result<Vec<Waiting>> {
    let mut statement =
        connection.prepare("SELECT kind, place, message, remedy FROM attention ORDER BY rowid")?;
    let rows = statement.query_map([], |row| {
        Ok(Waiting {
            kind: row.get(0)?,
            place: row.get(1)?,
            message: row.get(2)?,
            remedy: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// A remembered file.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) path: &'a [u8],
    pub(super) known: Known,
}

/// Remembered files, in path order.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Their paths, one behind the other.
    paths: Vec<u8>,
    /// For each, where its path ends.
    rows: Vec<(usize, Known)>,
}

impl Rows {
    pub(super) fn push(&mut self, row: Row<'_>) {
        self.paths.extend_from_slice(row.path);
        self.rows.push((self.paths.len(), row.known));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        let mut start = 0;
        self.rows.iter().map(move |(end, known)| {
            let path = &self.paths[start..*end];
            start = *end;
            Row { path, known: *known }
        })
    }
}

/// Ids hold no white space, so a line break keeps them apart.
pub(super) fn split_ids(joined: &str) -> impl Iterator<Item = &str> {
    joined.split('\n').filter(|id| !id.is_empty())
}

pub(super) fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

pub(super) fn meta<T: rusqlite::types::FromSql>(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<T>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = 'vault.' || ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

pub(super) fn set_meta(
    connection: &Connection,
    key: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('vault.' || ?1, ?2)")?
        .execute(params![key, value])
        .map(|_| ())
}

/// Begins anew for the vault at `root`.
pub(super) fn forget(state: &mut State, root: &Path) -> rusqlite::Result<()> {
    let transaction = state
        .connection_mut()
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "DELETE FROM files; DELETE FROM file_ids; DELETE FROM missing_blocks; DELETE FROM mounts;
         DELETE FROM attention; DELETE FROM meta WHERE key GLOB 'vault.*'",
    )?;
    set_meta(&transaction, "vault_root", path_bytes(root))?;
    transaction.commit()
}

pub(super) fn write(
    connection: &mut Connection,
    changes: &Changes,
    began: DateTime<Utc>,
    parser: u64,
) -> rusqlite::Result<()> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut file = transaction.prepare_cached(
            "INSERT OR REPLACE INTO files
                 (path, size, mtime_ns, ctime_ns, inode, digest, blocks, flags, blank_runs, verified_at, parser)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        let mut ids = transaction
            .prepare_cached("INSERT OR REPLACE INTO file_ids (path, ids) VALUES (?1, ?2)")?;
        let mut no_ids = transaction.prepare_cached("DELETE FROM file_ids WHERE path = ?1")?;
        for record in &changes.records {
            let FileRecord { path, stat, .. } = record;
            let mut flags = 0;
            if is_trusted(stat, began) {
                flags |= TRUSTED;
            }
            if record.settled {
                flags |= SETTLED;
            }
            file.execute(params![
                path.as_bytes(),
                stat.size as i64,
                stat.mtime_ns,
                stat.ctime_ns,
                stat.inode as i64,
                record.digest.0.to_le_bytes(),
                record.blocks,
                flags,
                record.blank_runs,
                began.timestamp(),
                parser as i64,
            ])?;
            match &record.ids {
                None => {}
                Some(none) if none.is_empty() => {
                    no_ids.execute([path.as_bytes()])?;
                }
                Some(some) => {
                    ids.execute(params![path.as_bytes(), some])?;
                }
            }
        }
        let mut unsettle =
            transaction.prepare_cached("UPDATE files SET flags = flags & ~?2 WHERE path = ?1")?;
        for path in &changes.unsettled {
            unsettle.execute(params![path.as_bytes(), SETTLED])?;
        }
        let mut gone = transaction.prepare_cached("DELETE FROM files WHERE path = ?1")?;
        for path in &changes.removed {
            gone.execute([path.as_bytes()])?;
            no_ids.execute([path.as_bytes()])?;
        }
        let mut missing = transaction.prepare_cached(
            "INSERT INTO missing_blocks (id, path, first_missing_at, scans, boot, boot_time)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET
                 path = excluded.path,
                 first_missing_at = iif(
                     scans = 0, excluded.first_missing_at, min(first_missing_at, excluded.first_missing_at)
                 ),
                 boot = iif(excluded.scans > scans, excluded.boot, boot),
                 boot_time = iif(excluded.scans > scans, excluded.boot_time, boot_time),
                 scans = max(scans, excluded.scans)",
        )?;
        for block in &changes.missing {
            let first = block.first_missing_at.timestamp();
            let BootTime { id: boot, seconds } = &block.boot;
            let path = block.path.as_bytes();
            missing.execute(params![block.id, path, first, block.scans, boot, seconds])?;
        }
        let mut found = transaction.prepare_cached("DELETE FROM missing_blocks WHERE id = ?1")?;
        for id in &changes.found {
            found.execute([id])?;
        }
    }
    for (folder, device) in &changes.mounts {
        match device {
            Some(device) => transaction
                .prepare_cached("INSERT OR REPLACE INTO mounts (path, device) VALUES (?1, ?2)")?
                .execute(params![folder.as_bytes(), *device as i64])?,
            None => transaction
                .prepare_cached("DELETE FROM mounts WHERE path = ?1")?
                .execute([folder.as_bytes()])?,
        };
    }
    if let Some(attention) = &changes.attention {
        transaction.execute("DELETE FROM attention", [])?;
        let mut row = transaction.prepare_cached(
            "INSERT INTO attention (kind, place, message, remedy) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for Waiting { kind, place, message, remedy } in attention {
            row.execute([kind, place, message, remedy])?;
        }
    }
    if let Some(token) = &changes.token {
        set_meta(&transaction, "graph_token", token)?;
    }
    if let Some(scanned) = &changes.scanned {
        set_meta(&transaction, "scanned", scanned)?;
    }
    if let Some(at) = changes.full_scan_at {
        set_meta(&transaction, "full_scan_at", at.timestamp())?;
    }
    set_meta(&transaction, "clock", began.timestamp())?;
    transaction.commit()
}
