//! The memory of each file, so that files that did not change are not read. Whether a file may be skipped is for
//! `trust` to say; this keeps the rows. They lie in the state file, in path order, and are read in one pass beside the
//! listing.
//!
//! Also kept here, because it must be committed together with the files: the blocks that are missing from the vault,
//! and the token that tells which graph all of this was written to.

mod changes;
mod rows;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};

use super::trust::{Churn, CompareOptions, Rules, Verdict};
use crate::block::{IdDigest, VaultPath};
use crate::logging;
use crate::state::{State, StateError};
use crate::vault::Listing;
pub(crate) use changes::{BootTime, MissingBlock, Waiting};
pub use changes::{Changes, FileRecord};
use rows::{Row, Rows, forget, meta, path_bytes, set_meta, split_ids, write};

/// The remembered token of a run that is writing, or was cut short while it did: no graph has it.
pub(super) const UNFINISHED: &str = "";

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

/// All that waits for a person, as the last completed run left it in the state folder: what was noted, and blocks that are
/// missing but not archived.
pub(crate) fn attention(dir: &Path) -> Result<Vec<Waiting>, StateError> {
    let Some(state) = State::open_existing(dir)? else { return Ok(Vec::new()) };
    rows::attention(state.connection()).map_err(|error| state.error(error))
}

/// The remembered files of one vault.
#[derive(Debug)]
pub struct StatCache {
    /// `None` for a dry run before the first run: nothing is remembered and nothing will be.
    state: Option<State>,
    read_only: bool,
    /// Where the vault lies.
    root: PathBuf,
    /// Whether this vault is the one that is remembered.
    is_adopted: bool,
    began: DateTime<Utc>,
    parser: u64,
    /// The ids of the file asked about last: claims come in runs of the same file.
    holds: Option<(VaultPath, Vec<IdDigest>)>,
    /// Rows read ahead for the next comparison.
    ahead: Option<Rows>,
}

impl StatCache {
    /// Opens what is remembered of the vault at `root`, for a run that begins at `now`. What is remembered of another
    /// vault stays, unseen, until this one is [adopted](StatCache::adopt).
    pub fn open(dir: &Path, root: &Path, now: DateTime<Utc>) -> Result<StatCache, StateError> {
        StatCache::new(Some(State::open_cache(dir)?), false, root, now)
    }

    /// The same for a run that changes nothing, not even what is remembered.
    pub fn open_read_only(
        dir: &Path,
        root: &Path,
        now: DateTime<Utc>,
    ) -> Result<StatCache, StateError> {
        StatCache::new(State::open_existing(dir)?, true, root, now)
    }

    fn new(
        state: Option<State>,
        read_only: bool,
        root: &Path,
        began: DateTime<Utc>,
    ) -> Result<StatCache, StateError> {
        let mut known: Option<Vec<u8>> = None;
        if let Some(state) = &state {
            known = meta(state.connection(), "vault_root").map_err(|error| state.error(error))?;
        }
        let is_adopted = known.is_some_and(|known| known == path_bytes(root));
        let root = root.to_owned();
        Ok(StatCache {
            state,
            read_only,
            root,
            is_adopted,
            began,
            parser: 0,
            holds: None,
            ahead: None,
        })
    }

    /// From now on this vault is the one that is remembered; another one is forgotten.
    pub fn adopt(&mut self) -> Result<(), StateError> {
        if let (Some(state), false, false) = (&mut self.state, self.read_only, self.is_adopted) {
            forget(state, &self.root).map_err(|error| state.error(error))?;
            self.is_adopted = true;
        }
        Ok(())
    }

    /// Where the vault lies that is remembered, if that is another one.
    pub fn root_elsewhere(&self) -> Result<Option<PathBuf>, StateError> {
        let Some(state) = self.state.as_ref().filter(|_| !self.is_adopted) else { return Ok(None) };
        let known: Option<Vec<u8>> =
            meta(state.connection(), "vault_root").map_err(|error| state.error(error))?;
        Ok(known.map(|bytes| VaultPath::from_bytes(&bytes).as_path().to_owned()))
    }

    /// Visits the ids that are remembered of that other vault.
    pub fn each_id_elsewhere(&self, visit: &mut dyn FnMut(&str)) -> Result<(), StateError> {
        let Some(state) = self.state.as_ref().filter(|_| !self.is_adopted) else { return Ok(()) };
        rows::each_id(state.connection(), visit).map_err(|error| state.error(error))
    }

    /// When the run began: the clock reading that stats are compared with.
    pub fn began(&self) -> DateTime<Utc> {
        self.began
    }

    /// The token of the graph that the remembered files were written to.
    pub fn token(&self) -> Result<Option<String>, StateError> {
        self.read(|connection| meta(connection, "graph_token")).map(Option::flatten)
    }

    /// The part that the last run scanned, in words.
    pub fn scanned(&self) -> Result<Option<String>, StateError> {
        self.read(|connection| meta(connection, "scanned")).map(Option::flatten)
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
                logging::debug!("thread stat-cache was refused: {error}");
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
            let found = loop {
                match listed.peek().map(|(path, _)| path.as_bytes().cmp(row.path)) {
                    Some(Ordering::Less) => {
                        listed.next();
                        verdicts.push(Verdict::Read(None));
                    }
                    Some(Ordering::Equal) => break listed.next(),
                    Some(Ordering::Greater) | None => break None,
                }
            };
            match found {
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
        Ok(self.read(rows::missing)?.unwrap_or_default())
    }

    /// The folders that lay on another device than the vault's root, and that device; 0 where it was not noted.
    pub fn mounts(&self) -> Result<HashMap<VaultPath, u64>, StateError> {
        Ok(self.read(rows::mounts)?.unwrap_or_default())
    }

    /// Keeps changes, in one transaction. In a dry run nothing is kept.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), StateError> {
        self.holds = None;
        self.adopt()?;
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
        match self.state.as_ref().filter(|_| self.is_adopted) {
            Some(state) => query(state.connection()).map(Some).map_err(|error| state.error(error)),
            None => Ok(None),
        }
    }

    fn each_row(&self, mut visit: impl FnMut(Row<'_>)) -> Result<(), StateError> {
        self.read(|connection| rows::each(connection, &mut visit)).map(|_| ())
    }
}

#[cfg(test)]
mod tests;
