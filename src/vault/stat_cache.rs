//! What is remembered of each file, so that files that did not change are not read.
//!
//! A file is skipped only when its stat equals the remembered one in every part and that stat can be *trusted*: it was
//! taken well after the last change, so that an edit after it must show (the racy-clean rule of git and Mercurial). The
//! comparison is pure; clock readings and stats are handed in. The tables lie in the state file, in path order, and are
//! read in one pass beside the listing.
//!
//! Also kept here, because it must be committed together with the files: the blocks that are missing from the vault,
//! and the token that tells which graph all of this was written to.

use std::cmp::Ordering;
use std::path::Path;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::read::Digest;
use super::root::FileStat;
use super::walk::Listing;
use crate::block::{IdDigest, VaultPath};
use crate::state::{State, StateError};

/// A stat is trusted when the file was last changed at least this long before the clock reading it is compared with:
/// longer than the coarsest time stamps in use (two seconds on FAT).
const SETTLING_TIME: Duration = Duration::from_secs(3);

/// Fewer files than this differing in ctime only are no reason to distrust ctime.
const CTIME_CHURN_MIN: u64 = 20;

/// What is remembered of one file after it was read and, where it had to be, written to the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Which file.
    pub path: VaultPath,
    /// Its stat, equal before and after reading.
    pub stat: FileStat,
    /// XXH3 digest of its bytes.
    pub digest: Digest,
    /// How many blocks it has.
    pub blocks: u32,
    /// Their ids, in file order; `None` where they are known to be those remembered.
    pub ids: Option<Vec<String>>,
    /// False when something about it is open (a duplicate, a conflict, an error): it is read again in every run.
    pub settled: bool,
    /// In how many runs in a row the file was found empty though it had blocks.
    pub blank_runs: u32,
}

/// What to do with a listed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it was: skip it. It holds this many blocks.
    Unchanged(u32),
    /// Read it.
    Read(Option<Remembered>),
}

/// What is known of a file that has to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// XXH3 digest of its bytes then.
    pub digest: Digest,
    /// How many blocks it had.
    pub blocks: u32,
    /// Whether the parser and its settings are the same, nothing was open, and the content was compared with the
    /// graph: with the same digest there is nothing to do.
    pub current: bool,
    /// In how many runs in a row it was found empty.
    pub blank_runs: u32,
}

/// The listing beside what is remembered.
#[derive(Debug, Default)]
pub struct Comparison {
    /// A verdict for each listed file, in the order of the listing.
    pub verdicts: Vec<Verdict>,
    /// Remembered files that are not listed, in path order.
    pub gone: Vec<VaultPath>,
    /// Things worth a line in the log.
    pub remarks: Vec<String>,
}

/// What decides whether a remembered stat still counts.
#[derive(Clone, Copy, Debug)]
pub struct CompareOptions {
    /// Read everything.
    pub full: bool,
    /// How long a file may go unread.
    pub rehash_after: Duration,
    /// Stands for the parser and whatever settings change its results.
    pub parser: u64,
}

/// A block that is gone from the vault but not archived yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBlock {
    /// Its id.
    pub id: String,
    /// The file it was last seen in.
    pub path: VaultPath,
    /// When it was first missed; by a complete scan, once there was one.
    pub first_missing_at: DateTime<Utc>,
    /// In how many complete scans it was missing.
    pub scans: u32,
}

impl MissingBlock {
    /// Counts one more complete scan that missed it.
    pub fn missed_at(mut self, now: DateTime<Utc>) -> MissingBlock {
        if self.scans == 0 {
            self.first_missing_at = now;
        }
        self.scans += 1;
        self
    }
}

/// Changes to the local state that belong together: all of them are kept or none.
#[derive(Debug, Default)]
pub struct Changes {
    /// Files read.
    pub records: Vec<FileRecord>,
    /// Files to be read again in the next run, whatever their records say.
    pub unsettled: Vec<VaultPath>,
    /// Files gone.
    pub removed: Vec<VaultPath>,
    /// Blocks missing, new or counted on.
    pub missing: Vec<MissingBlock>,
    /// Blocks no longer missing.
    pub found: Vec<String>,
    /// The graph's token.
    pub token: Option<String>,
    /// When everything was last read and compared.
    pub full_scan_at: Option<DateTime<Utc>>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.unsettled.is_empty()
            && self.removed.is_empty()
            && self.missing.is_empty()
            && self.found.is_empty()
            && self.token.is_none()
            && self.full_scan_at.is_none()
    }
}

/// The remembered files of one vault.
#[derive(Debug)]
pub struct StatCache {
    /// `None` for a dry run before the first run: nothing is remembered and nothing will be.
    state: Option<State>,
    read_only: bool,
    began: DateTime<Utc>,
    parser: u64,
    /// The ids of the file asked about last: claims come in runs of the same file.
    holds: Option<(VaultPath, Vec<IdDigest>)>,
    /// What was read ahead for the next comparison.
    ahead: Option<Rows>,
}

impl StatCache {
    /// Opens what is remembered of the vault at `root`, for a run that begins at `now`. What was remembered of another
    /// vault is forgotten.
    pub fn open(dir: &Path, root: &Path, now: DateTime<Utc>) -> Result<StatCache, StateError> {
        let mut state = State::open_cache(dir)?;
        let same = {
            let known: Option<Vec<u8>> =
                meta(state.connection(), "vault_root").map_err(|error| state.error(error))?;
            known.is_some_and(|known| known == path_bytes(root))
        };
        if !same {
            forget(&mut state, root).map_err(|error| state.error(error))?;
        }
        Ok(StatCache {
            state: Some(state),
            read_only: false,
            began: now,
            parser: 0,
            holds: None,
            ahead: None,
        })
    }

    /// The same for a run that changes nothing, not even what is remembered.
    pub fn open_read_only(
        dir: &Path,
        root: &Path,
        now: DateTime<Utc>,
    ) -> Result<StatCache, StateError> {
        let mut state = State::open_existing(dir)?;
        if let Some(open) = &state {
            let known: Option<Vec<u8>> =
                meta(open.connection(), "vault_root").map_err(|error| open.error(error))?;
            if known.is_none_or(|known| known != path_bytes(root)) {
                state = None;
            }
        }
        Ok(StatCache { state, read_only: true, began: now, parser: 0, holds: None, ahead: None })
    }

    /// When the run began: the clock reading that stats are compared with.
    pub fn began(&self) -> DateTime<Utc> {
        self.began
    }

    /// The token of the graph that the remembered files were written to.
    pub fn token(&self) -> Result<Option<String>, StateError> {
        self.read(|connection| meta(connection, "graph_token")).map(Option::flatten)
    }

    /// When everything was last read and compared with the graph.
    pub fn full_scan_at(&self) -> Result<Option<DateTime<Utc>>, StateError> {
        let seconds: Option<i64> =
            self.read(|connection| meta(connection, "full_scan_at"))?.flatten();
        Ok(seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)))
    }

    /// Does `work`, the listing, while another thread reads what is remembered of the files. Listing leaves a processor
    /// idle now and then, and reading 50,000 rows takes as long as a fifth of it.
    pub fn read_ahead<T>(&mut self, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let read = || {
                let mut rows = Rows::default();
                // An error will come again when the comparison reads for itself.
                self.ahead = self.each_row(|row| rows.push(row)).is_ok().then_some(rows);
            };
            let started =
                thread::Builder::new().name("stat-cache".to_owned()).spawn_scoped(scope, read);
            if let Err(error) = started {
                log::debug!(target: "stat_cache.read_ahead", "thread stat-cache was refused: {error}");
            }
            work()
        })
    }

    /// Puts the listing beside what is remembered.
    pub fn compare(
        &mut self,
        listing: &Listing,
        options: CompareOptions,
    ) -> Result<Comparison, StateError> {
        self.parser = options.parser;
        let mut comparison = Comparison {
            verdicts: Vec::with_capacity(listing.files.len()),
            ..Comparison::default()
        };
        let last_clock: Option<i64> = self.read(|connection| meta(connection, "clock"))?.flatten();
        let now = self.began;
        let clock_went_back = last_clock.is_some_and(|last| now.timestamp() < last);
        if clock_went_back {
            comparison.remarks.push(
                "the clock is behind the last run's: times prove nothing now, every file is read once".to_owned(),
            );
        }
        let mut rules =
            Rules { now, options, ignore_ctime: self.ignores_ctime()?, distrust: clock_went_back };
        let ahead = self.ahead.take();
        let churn = self.judge(listing, ahead.as_ref(), &rules, &mut comparison)?;
        if !rules.ignore_ctime && churn.is_all_ctime() {
            comparison.remarks.push(format!(
                "{} of {} files differ in their ctime only (a chmod, or another mount): from now on ctime is not looked \
                 at in this vault",
                churn.ctime_only, churn.files
            ));
            self.remember_ctime_is_useless()?;
            rules.ignore_ctime = true;
            self.judge(listing, ahead.as_ref(), &rules, &mut comparison)?;
        }
        Ok(comparison)
    }

    /// Judges every file, listed or remembered, by the rules.
    fn judge(
        &self,
        listing: &Listing,
        ahead: Option<&Rows>,
        rules: &Rules,
        comparison: &mut Comparison,
    ) -> Result<Churn, StateError> {
        let Comparison { verdicts, gone, .. } = comparison;
        verdicts.clear();
        gone.clear();
        let mut churn = Churn::default();
        let mut listed = listing.files.iter().map(|file| (&file.path, &file.stat)).peekable();
        let visit = |row: Row<'_>| {
            let before =
                |order| move |(path, _): &(&VaultPath, _)| path.as_bytes().cmp(row.path) == order;
            while listed.next_if(before(Ordering::Less)).is_some() {
                verdicts.push(Verdict::Read(None));
            }
            match listed.next_if(before(Ordering::Equal)) {
                Some((_, stat)) => {
                    churn.count(&row.known, stat);
                    verdicts.push(rules.verdict(&row.known, stat));
                }
                None => gone.push(VaultPath::from_bytes(row.path)),
            }
        };
        match ahead {
            Some(rows) => rows.iter().for_each(visit),
            None => self.each_row(visit)?,
        }
        verdicts.extend(listed.map(|_| Verdict::Read(None)));
        Ok(churn)
    }

    /// The ids that a remembered file held.
    pub fn ids(&self, path: &VaultPath) -> Result<Vec<String>, StateError> {
        let joined: Option<String> = self
            .read(|connection| {
                connection
                    .prepare_cached("SELECT ids FROM file_ids WHERE path = ?1")?
                    .query_row([path.as_bytes()], |row| row.get(0))
                    .optional()
            })?
            .flatten();
        Ok(joined.map(|joined| split_ids(&joined).map(str::to_owned).collect()).unwrap_or_default())
    }

    /// Whether a remembered file held the id.
    pub fn holds(&mut self, path: &VaultPath, id: IdDigest) -> Result<bool, StateError> {
        if self.holds.as_ref().is_none_or(|(known, _)| known != path) {
            let mut digests: Vec<IdDigest> =
                self.ids(path)?.iter().map(|id| IdDigest::of(id)).collect();
            digests.sort_unstable();
            self.holds = Some((path.clone(), digests));
        }
        Ok(self.holds.as_ref().is_some_and(|(_, digests)| digests.binary_search(&id).is_ok()))
    }

    /// The blocks that are missing.
    pub fn missing(&self) -> Result<Vec<MissingBlock>, StateError> {
        let rows = self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, path, first_missing_at, scans FROM missing_blocks ORDER BY id",
            )?;
            let rows = statement.query_map([], |row| {
                let path: Vec<u8> = row.get(1)?;
                Ok(MissingBlock {
                    id: row.get(0)?,
                    path: VaultPath::from_bytes(&path),
                    first_missing_at: DateTime::from_timestamp(row.get(2)?, 0).unwrap_or_default(),
                    scans: row.get(3)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(rows.unwrap_or_default())
    }

    /// Keeps changes, in one transaction. In a dry run nothing is kept.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), StateError> {
        self.holds = None;
        let (began, parser) = (self.began, self.parser);
        match &mut self.state {
            Some(state) if !self.read_only && !changes.is_empty() => {
                write(state.connection_mut(), changes, began, parser)
                    .map_err(|error| state.error(error))
            }
            _ => Ok(()),
        }
    }

    fn ignores_ctime(&self) -> Result<bool, StateError> {
        let known: Option<i64> =
            self.read(|connection| meta(connection, "ignore_ctime"))?.flatten();
        Ok(known == Some(1))
    }

    fn remember_ctime_is_useless(&mut self) -> Result<(), StateError> {
        match &self.state {
            Some(state) if !self.read_only => set_meta(state.connection(), "ignore_ctime", 1_i64)
                .map_err(|error| state.error(error)),
            _ => Ok(()),
        }
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StateError> {
        match &self.state {
            Some(state) => query(state.connection()).map(Some).map_err(|error| state.error(error)),
            None => Ok(None),
        }
    }

    fn each_row(&self, mut visit: impl FnMut(Row<'_>)) -> Result<(), StateError> {
        self.read(|connection| {
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
        })
        .map(|_| ())
    }
}

const TRUSTED: u8 = 1;
const SETTLED: u8 = 2;

/// A remembered file.
#[derive(Clone, Copy)]
struct Row<'a> {
    path: &'a [u8],
    known: Known,
}

/// What is remembered of a file.
#[derive(Clone, Copy, Debug)]
struct Known {
    stat: FileStat,
    digest: Digest,
    blocks: u32,
    trusted: bool,
    settled: bool,
    blank_runs: u32,
    verified_at: i64,
    parser: u64,
}

/// Remembered files, in path order.
#[derive(Debug, Default)]
struct Rows {
    /// Their paths, one behind the other.
    paths: Vec<u8>,
    /// For each, where its path ends.
    rows: Vec<(usize, Known)>,
}

impl Rows {
    fn push(&mut self, row: Row<'_>) {
        self.paths.extend_from_slice(row.path);
        self.rows.push((self.paths.len(), row.known));
    }

    fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        let mut start = 0;
        self.rows.iter().map(move |(end, known)| {
            let path = &self.paths[start..*end];
            start = *end;
            Row { path, known: *known }
        })
    }
}

/// What makes a remembered stat count.
struct Rules {
    now: DateTime<Utc>,
    options: CompareOptions,
    ignore_ctime: bool,
    /// No stat counts in this run.
    distrust: bool,
}

impl Rules {
    fn verdict(&self, row: &Known, stat: &FileStat) -> Verdict {
        let current = row.settled && row.parser == self.options.parser;
        let age = self.now.timestamp().saturating_sub(row.verified_at);
        let fresh = (0..=i64::try_from(self.options.rehash_after.as_secs()).unwrap_or(i64::MAX))
            .contains(&age);
        // Equal, never "not newer": a restored backup is older and still another content.
        let same = row.stat.size == stat.size
            && row.stat.mtime_ns == stat.mtime_ns
            && row.stat.inode == stat.inode
            && (self.ignore_ctime || row.stat.ctime_ns == stat.ctime_ns);
        if same && row.trusted && current && fresh && !self.options.full && !self.distrust {
            return Verdict::Unchanged(row.blocks);
        }
        Verdict::Read(Some(Remembered {
            digest: row.digest,
            blocks: row.blocks,
            current: current && !self.options.full,
            blank_runs: row.blank_runs,
        }))
    }
}

/// How many files differ in ctime only.
#[derive(Default)]
struct Churn {
    files: u64,
    ctime_only: u64,
}

impl Churn {
    fn count(&mut self, row: &Known, stat: &FileStat) {
        self.files += 1;
        let but_ctime = FileStat { ctime_ns: stat.ctime_ns, ..row.stat };
        self.ctime_only += u64::from(row.stat != *stat && but_ctime == *stat);
    }

    fn is_all_ctime(&self) -> bool {
        self.ctime_only >= CTIME_CHURN_MIN && self.ctime_only * 2 > self.files
    }
}

/// Whether a stat taken after `clock` was read proves that later edits would show.
fn is_trusted(stat: &FileStat, clock: DateTime<Utc>) -> bool {
    let settled =
        clock - TimeDelta::from_std(SETTLING_TIME).expect("three seconds are a time delta");
    settled.timestamp_nanos_opt().is_some_and(|settled| stat.changed_ns() <= settled)
}

/// Ids hold no white space, so a line break keeps them apart.
fn split_ids(joined: &str) -> impl Iterator<Item = &str> {
    joined.split('\n').filter(|id| !id.is_empty())
}

fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

fn meta<T: rusqlite::types::FromSql>(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<T>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = 'vault.' || ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

fn set_meta(
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
fn forget(state: &mut State, root: &Path) -> rusqlite::Result<()> {
    let transaction = state
        .connection_mut()
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "DELETE FROM files; DELETE FROM file_ids; DELETE FROM missing_blocks; DELETE FROM meta WHERE key GLOB 'vault.*'",
    )?;
    set_meta(&transaction, "vault_root", path_bytes(root))?;
    transaction.commit()
}

fn write(
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
                    ids.execute(params![path.as_bytes(), some.join("\n")])?;
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
            "INSERT INTO missing_blocks (id, path, first_missing_at, scans) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET
                 first_missing_at = iif(scans = 0, excluded.first_missing_at, first_missing_at),
                 scans = max(scans, excluded.scans)",
        )?;
        for block in &changes.missing {
            let first = block.first_missing_at.timestamp();
            missing.execute(params![block.id, block.path.as_bytes(), first, block.scans])?;
        }
        let mut found = transaction.prepare_cached("DELETE FROM missing_blocks WHERE id = ?1")?;
        for id in &changes.found {
            found.execute([id])?;
        }
    }
    if let Some(token) = &changes.token {
        set_meta(&transaction, "graph_token", token)?;
    }
    if let Some(at) = changes.full_scan_at {
        set_meta(&transaction, "full_scan_at", at.timestamp())?;
    }
    set_meta(&transaction, "clock", began.timestamp())?;
    transaction.commit()
}

#[cfg(test)]
mod tests;
