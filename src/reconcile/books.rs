//! The knowledge that a run gains and will remember: which file holds which ids, what is left open, the graph's token. Kept in the
//! local state only after the graph has acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use xxhash_rust::xxh3::xxh3_64;

use crate::block::{IdDigest, VaultPath};
use crate::graph::GraphError;
use crate::job::JobError;
use crate::vault::{Digest, FileStat, Reading};

use super::claim::{Claims, FileState, Holding, Loser};
use super::fault::{graph_error, state_error};
use super::memory::{Changes, FileRecord, MissingBlock, StatCache, UNFINISHED};
use super::phases::Phase;
use super::seen::FileIndex;
use super::survey::Survey;
use super::trust::Verdict;

/// The knowledge that a run gains and will remember.
pub(super) struct Books<'a> {
    pub(super) cache: &'a mut StatCache,
    /// Changes to the local state, waiting for the graph to be flushed.
    pub(super) changes: Changes,
    pub(super) claims: Claims,
    /// Occurrences that belong to another place and are still to be told.
    pub(super) losers: Vec<Loser>,
    /// The state of each file with open claims when it was worked off.
    pub(super) undecided: BTreeMap<FileIndex, Undecided>,
    /// The files that the graph names for ids with open claims.
    pub(super) called_in: HashMap<IdDigest, FileIndex>,
    /// The owner of each id that several files claimed until everything had been read; `None` where it cannot be known
    /// in this run.
    pub(super) contests: HashMap<IdDigest, Option<Holding>>,
    /// Likely copies that share an id with the note whose name they carry.
    pub(super) likely_copies: BTreeMap<FileIndex, FileIndex>,
    /// The first look at files that had been changed a moment before it.
    pub(super) second_look: BTreeMap<FileIndex, (FileStat, Digest)>,
    /// Remembered files that are gone.
    pub(super) gone: Vec<VaultPath>,
    /// Folders of notes that were read in this run.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Blocks that files no longer hold.
    pub(super) newly_missing: BTreeMap<String, MissingBlock>,
    /// Whether this run has begun to write to the graph.
    is_writing: bool,
    /// The token that the graph has.
    token: String,
}

/// A file with claims that could not be answered when it was worked off.
#[derive(Clone, Copy)]
pub(super) struct Undecided {
    /// Stat and digest of the file then.
    pub(super) seen: (FileStat, Digest),
    /// Whether nothing else about it was left open.
    pub(super) settled_otherwise: bool,
}

impl<'a> Books<'a> {
    /// The books at the beginning of a run; `gone` are remembered files that are not listed.
    pub(super) fn open(
        survey: &Survey<'_>,
        cache: &'a mut StatCache,
        gone: Vec<VaultPath>,
    ) -> Books<'a> {
        let states =
            survey.verdicts.iter().zip(&survey.listing.files).map(
                |(verdict, file)| match verdict {
                    Verdict::Unchanged(_) => FileState::Vouched,
                    Verdict::Read(_) if survey.is_in_scope(&file.path) => FileState::Awaited,
                    Verdict::Read(_) => FileState::Unknown,
                },
            );
        Books {
            cache,
            changes: Changes::default(),
            claims: Claims::new(states.collect(), survey.positions()),
            losers: Vec::new(),
            undecided: BTreeMap::new(),
            called_in: HashMap::new(),
            contests: HashMap::new(),
            likely_copies: BTreeMap::new(),
            second_look: BTreeMap::new(),
            gone,
            folders: BTreeSet::new(),
            newly_missing: BTreeMap::new(),
            is_writing: false,
            token: survey.token.clone(),
        }
    }

    /// Notes the state of a file.
    pub(super) fn set_state(&mut self, index: FileIndex, state: FileState) {
        self.claims.files[index as usize] = state;
    }

    /// The record of a file with nothing yet said about its blocks.
    pub(super) fn record(survey: &Survey<'_>, index: FileIndex, reading: &Reading) -> FileRecord {
        FileRecord {
            path: survey.path(index).clone(),
            stat: reading.stat,
            digest: reading.digest,
            blocks: 0,
            ids: None,
            settled: false,
            blank_runs: 0,
        }
    }

    /// A full scan vouches for everything that is remembered, so what it could not look at is compared when it can be
    /// looked at again, whatever its stat and digest say then.
    pub(super) fn not_compared(&mut self, survey: &Survey<'_>, path: VaultPath) {
        if survey.full {
            self.changes.unsettled.push(path);
        }
    }

    /// Before the first write of a run the token changes in the graph and is struck out here, until the run has come to
    /// its end: a run that was cut short has written blocks that the local state knows nothing of, and would never
    /// miss. A backup of either side is recognised by its token too.
    pub(super) fn begin_writing(&mut self, survey: &Survey<'_>) -> Result<(), GraphError> {
        if self.is_writing {
            return Ok(());
        }
        survey.phases.during(Phase::Write, || {
            let changes = Changes { token: Some(UNFINISHED.to_owned()), ..Changes::default() };
            self.cache
                .commit(&changes)
                .map_err(|error| GraphError::Unavailable(error.to_string()))?;
            self.leave_token(survey)?;
            if survey.graph_was_empty { survey.store.fill() } else { Ok(()) }
        })?;
        self.is_writing = true;
        Ok(())
    }

    /// Leaves a new token in the graph. It is made from the last one too: however fast the runs, and whatever the clock
    /// says, none comes twice.
    fn leave_token(&mut self, survey: &Survey<'_>) -> Result<(), GraphError> {
        let Survey { ctx, now, .. } = survey;
        let boottime = ctx.clock.boottime();
        let seed = format!("{} {now} {boottime:?} {}", ctx.run_id, self.token);
        let token = format!("{}-{:016x}", ctx.run_id, xxh3_64(seed.as_bytes()));
        survey.store.set_token(&survey.name, &token)?;
        self.token = token;
        Ok(())
    }

    /// Keeps what is known, once the graph has safely got all of it.
    pub(super) fn commit(&mut self, survey: &Survey<'_>) -> Result<(), JobError> {
        survey.phases.during(Phase::Write, || {
            survey.store.flush().map_err(graph_error)?;
            self.cache.commit(&self.changes).map_err(state_error)
        })?;
        self.changes = Changes::default();
        Ok(())
    }

    /// The last commit of a run that came to its end.
    pub(super) fn close(&mut self, survey: &Survey<'_>) -> Result<(), JobError> {
        if self.is_writing && survey.graph_was_empty {
            survey.ctx.progress.phase("indexing", None);
            let prepare = || survey.store.prepare();
            survey.phases.during(Phase::Write, prepare).map_err(graph_error)?;
        }
        self.changes.scanned = survey.newly_scanned.clone();
        if survey.full {
            self.changes.full_scan_at = Some(survey.now);
        }
        // Also without a write a full comparison has proved the two sides to be in step. The token is kept together with
        // the last records: with the one and without the others, local state would pass for complete.
        if self.is_writing || survey.full {
            self.leave_token(survey).map_err(graph_error)?;
            self.changes.token = Some(self.token.clone());
        }
        self.commit(survey)
    }
}
