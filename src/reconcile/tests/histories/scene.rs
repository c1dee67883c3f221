//! One history on its way: what each step does, and what must be so after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;

use super::graphs::Graph;
use super::meddling::{Hasty, Meddling, serve};
use super::oracle::Winner;
use super::steps::{FULL, IN_PEACE, Killed, Service, Step, Sync, What};
use super::world::{Condition, IDS, PATTERNS, World};
use super::{ARCHIVE_AFTER, NewGraph, Nodes, locked, oracle, world};
use crate::block::BlockId;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::config::{JobName, RetryPolicy, VaultConfig};
use crate::graph::{DryRun, GraphStore, Node, Patience, Retrying};
use crate::job::{JobError, NoProgress, RunContext, RunId, RunOptions, RunReport, Trigger};
use crate::reconcile::tests::rig::Counts;
use crate::reconcile::{OnMissing, Scope, StatCache, SyncSettings, sync_vault};
use crate::stop::Stop;
use crate::vault::ParseOptions;

/// One history on its way.
pub(super) struct Scene {
    dir: TempDir,
    clock: Arc<ManualClock>,
    store: Box<dyn Graph>,
    settings: SyncSettings,
    world: Arc<Mutex<World>>,
    meddling: Arc<Mutex<Meddling>>,
    /// Nodes that others changed since everything was last compared: a sync that reads only what changed may miss
    /// them.
    drifted: BTreeSet<usize>,
    /// Graph and local state are not of one age: the next sync that completes must compare everything.
    unlike: bool,
    /// When each id was first absent, for syncs that looked.
    absent_since: BTreeMap<usize, DateTime<Utc>>,
    kept_state: Option<(PathBuf, BTreeMap<&'static str, u32>)>,
    kept_graph: Option<(Nodes, Option<String>, BTreeSet<usize>)>,
}

impl Scene {
    pub(super) fn new(seed: u64, graph: &NewGraph) -> Scene {
        let tiered = seed.is_multiple_of(4);
        // In memory where that can be had: thousands of small files are written.
        let dir = match Path::new("/dev/shm") {
            memory if memory.is_dir() => tempfile::tempdir_in(memory),
            _ => tempfile::tempdir(),
        }
        .unwrap();
        let root = dir.path().join("vault");
        // Ahead of the clock that gives files their ctime, so that only the mtime decides what is young.
        let clock = Arc::new(ManualClock::at(SystemClock.now() + TimeDelta::hours(1)));
        let world = Arc::new(Mutex::new(World::new(root.clone(), tiered, Arc::clone(&clock))));
        let meddling = Arc::new(Mutex::new(Meddling {
            trouble: None,
            world: Arc::clone(&world),
            stop: Stop::new(),
            writes: 0,
        }));
        let store = graph(seed, &meddling);
        // Each tier folder is a walk of its own, so most histories have none.
        let tiers =
            if tiered { [Some("t1".into()), Some("t2".into()), None] } else { [None, None, None] };
        let settings = SyncSettings {
            ignore: crate::vault::IgnoreRules::default(),
            max_note_size: crate::vault::NOTE_BYTES_MAX,
            vault: VaultConfig { root, whole: tiers.iter().all(Option::is_none), tiers },
            parse: ParseOptions::default(),
            follow_links: false,
            threads: 1,
            rehash_after: None,
            on_missing: OnMissing::Archive,
            archive_after: ARCHIVE_AFTER,
            full_scan: None,
            write_back: false,
        };
        Scene {
            dir,
            clock,
            store,
            settings,
            world,
            meddling,
            drifted: BTreeSet::new(),
            unlike: true,
            absent_since: BTreeMap::new(),
            kept_state: None,
            kept_graph: None,
        }
    }

    pub(super) fn play(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            self.step(*step).map_err(|error| format!("{step:?}: {error}"))?;
        }
        self.finish().map_err(|error| format!("after it all: {error}"))
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Vault(deed) => locked(&self.world).do_it(deed),
            Step::Service { id, how } => {
                let world = Arc::clone(&self.world);
                self.store.door().edit(&mut |nodes| serve(&locked(&world), nodes, id, how));
                self.note_service(id, how);
            }
            Step::Pass { seconds } => self.clock.advance(Duration::from_secs(seconds)),
            Step::Sync(sync) => self.sync(sync)?,
            Step::LoseState => {
                let _ = fs::remove_dir_all(self.state());
                self.unlike = true;
            }
            Step::KeepState => {
                let kept = self.dir.path().join("kept");
                copy_folder(&self.state(), &kept);
                self.kept_state = Some((kept, locked(&self.world).blanks()));
            }
            Step::PutBackState => {
                if let Some((kept, blanks)) = &self.kept_state {
                    copy_folder(kept, &self.state());
                    locked(&self.world).put_back_blanks(blanks);
                    self.unlike = self.is_unlike();
                }
            }
            Step::KeepGraph => {
                self.kept_graph = Some((self.nodes(), self.token(), self.drifted.clone()));
            }
            Step::PutBackGraph => {
                if let Some((nodes, token, drifted)) = self.kept_graph.clone() {
                    self.store.door().edit(&mut |current| *current = nodes.clone());
                    self.store.set_token(&self.scope(), &token.unwrap_or_default()).unwrap();
                    self.drifted = drifted;
                    self.unlike = self.is_unlike();
                }
            }
            Step::Ignore(pattern) => {
                locked(&self.world).pattern = pattern;
                let pattern = PATTERNS[pattern].0;
                let patterns = Some(pattern.to_owned()).filter(|pattern| !pattern.is_empty());
                self.settings.ignore.patterns = patterns.into_iter().collect();
            }
            Step::Stranger => self.sync_another_vault()?,
        }
        Ok(())
    }

    /// A vault with less than half of the known blocks is another one, and leaves everything as it is.
    fn sync_another_vault(&mut self) -> Result<(), String> {
        let another = self.dir.path().join("another");
        let cache = StatCache::open_read_only(&self.state(), &another, self.clock.now()).unwrap();
        let mut known = BTreeSet::new();
        match cache.root_elsewhere().unwrap() {
            Some(_) => cache.each_id_elsewhere(&mut |id| {
                known.insert(id.to_owned());
            }),
            None => {
                let is_live = |node: &Node| node.hash.is_some() && node.archived_at.is_none();
                let live = self.nodes().into_iter().filter(|(_, node)| is_live(node));
                known.extend(live.map(|(id, _)| id.as_str().to_owned()));
                Ok(())
            }
        }
        .unwrap();
        // Where nothing is known, every vault is the one.
        let Some(first) = known.first() else { return Ok(()) };
        let mut text = "Elsewhere. <!-- aclarai:id=blk_elsewhere -->\n\n".to_owned();
        if known.len() > 2 {
            writeln!(text, "A copy. <!-- aclarai:id={first} ver=9 -->\n").unwrap();
        }
        fs::create_dir_all(another.join("t1")).unwrap();
        fs::write(another.join("t1/a.md"), text + "The end of it.\n").unwrap();
        let (before, token, writes) = (self.nodes(), self.token(), locked(&self.meddling).writes);
        let vault = VaultConfig { root: another, ..self.settings.vault.clone() };
        let settings = SyncSettings { vault, ..self.settings.clone() };
        let store = self.store.again();
        let report = self
            .run_with(&settings, &*store, RunOptions::default(), Stop::new())
            .map_err(|error| format!("another vault: {error}"))?;
        let wrote = locked(&self.meddling).writes - writes;
        let is_as_it_was = self.nodes() == before && self.token() == token && wrote == 0;
        if !is_as_it_was || report.count("needs_attention") != 1 || report.count("errors") != 1 {
            return Err(format!("another vault: {wrote} writes, {report:?}, {:?}", self.nodes()));
        }
        Ok(())
    }

    /// Everything is quiet; a few syncs later the graph must be what the vault is.
    fn finish(&mut self) -> Result<(), String> {
        locked(&self.world).settle();
        self.clock.advance(Duration::from_secs(10));
        let blank = |file: &world::File| matches!(file.condition, Condition::Blank(_));
        let has_blank = locked(&self.world).files.values().any(blank);
        let rounds = if has_blank { 4 } else { 2 };
        for round in 0..rounds {
            let full = !self.drifted.is_empty();
            // A person confirms that what is gone was meant to go, and need not wait for a day.
            self.sync(Sync { full, confirmed: true, ..IN_PEACE })
                .map_err(|error| format!("quiet sync {}: {error}", round + 1))?;
            self.clock.advance(ARCHIVE_AFTER + Duration::from_secs(1));
        }
        let nodes = self.nodes();
        for (id, name) in IDS.iter().enumerate() {
            let node = nodes.get(&BlockId::new(*name));
            let in_vault = !locked(&self.world).places(id).is_empty();
            let is_right = match node.filter(|node| node.hash.is_some()) {
                None => !in_vault,
                // A refused edit writes nothing but its flag: a block that was archived stays so.
                Some(node) if node.archived_at.is_some() => !in_vault || node.conflict.is_some(),
                Some(_) => in_vault,
            };
            if !is_right {
                return Err(format!("{name}: in the vault: {in_vault}, in the graph: {node:?}"));
            }
        }
        locked(&self.meddling).writes = 0;
        let last = if nodes.len().is_multiple_of(2) { FULL } else { IN_PEACE };
        self.sync(last)?;
        match locked(&self.meddling).writes {
            0 => Ok(()),
            writes => Err(format!("{writes} writes though nothing changed, {last:?}")),
        }
    }

    /// One sync, and everything that must hold after it.
    fn sync(&mut self, sync: Sync) -> Result<(), String> {
        let options =
            RunOptions { full: sync.full, allow_archive: sync.confirmed, ..RunOptions::default() };
        let before = self.nodes();
        // A note that is being saved is read twice, where the dry run may have read it once.
        let foretells = sync.dry_first && sync.writer.is_none();
        let foretold = foretells.then(|| self.dry_run(options)).transpose()?;
        if self.nodes() != before {
            return Err("the dry run changed the graph".to_owned());
        }
        let absent_before = self.absent();
        let saved = sync.writer.and_then(|pick| locked(&self.world).begin_writing(pick));
        let stop = Stop::new();
        {
            let mut meddling = locked(&self.meddling);
            meddling.trouble = sync.trouble;
            meddling.stop = stop.clone();
        }
        let patience =
            RetryPolicy { max_attempts: 3, backoff_factor: 1.0, max_wait_time: Duration::ZERO };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let patient =
            Retrying::new(self.store.again(), Patience::new(patience, Stop::new(), clock));
        let store: &dyn GraphStore = if sync.patient { &patient } else { &*self.store };
        let writes = locked(&self.meddling).writes;
        let began = self.clock.now();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run(store, options, stop)));
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(panic) if panic.is::<Killed>() => Err(JobError::cancelled()),
            Err(panic) => resume_unwind(panic),
        };
        locked(&self.world).finish_writing();
        let has_happened = locked(&self.meddling).trouble.take().is_none();
        let trouble = sync.trouble.filter(|_| has_happened).map(|trouble| trouble.what);
        let wrote = locked(&self.meddling).writes - writes;
        let full = sync.full || self.unlike;
        let is_exact = !matches!(trouble, Some(What::Vault(_) | What::Service { .. }));
        match (&outcome, trouble) {
            (Ok(report), _) if is_exact => {
                self.check_nodes(&before, full, sync.confirmed, began, saved)?;
                if trouble.is_none() {
                    self.check_stats(&before, report, wrote)?;
                    if let Some(foretold) = foretold {
                        same_stats(&foretold, report)?;
                    }
                }
            }
            (Ok(_), _) => {}
            (Err(error), None) => return Err(format!("failed in peace: {error}")),
            (Err(error), Some(What::Transient)) if sync.patient => {
                return Err(format!("was not patient: {error}"));
            }
            (Err(_), Some(_)) => {}
        }
        self.check_invariants(&before, trouble)?;
        if outcome.is_ok() {
            self.unlike = false;
            if full {
                self.drifted.clear();
            }
            // The sync has not seen a note that a user emptied meanwhile.
            if !matches!(trouble, Some(What::Vault(_))) {
                locked(&self.world).a_sync_completed();
            }
        }
        if let Some(What::Service { id, how }) = trouble {
            self.note_service(id, how);
        }
        let now = self.clock.now();
        let absent_after = self.absent();
        for id in 0..IDS.len() {
            // A note that moves while the vault is read may be met in neither place.
            let may_be_missed = matches!(trouble, Some(What::Vault(_)));
            if absent_before.contains(&id) || absent_after.contains(&id) || may_be_missed {
                self.absent_since.entry(id).or_insert(now);
            } else if outcome.is_ok() {
                self.absent_since.remove(&id);
            }
        }
        Ok(())
    }

    fn dry_run(&self, options: RunOptions) -> Result<RunReport, String> {
        let options = RunOptions { dry_run: true, ..options };
        self.run(&DryRun::new(self.store.again()), options, Stop::new())
            .map_err(|error| format!("dry run: {error}"))
    }

    fn run(
        &self,
        store: &dyn GraphStore,
        options: RunOptions,
        stop: Stop,
    ) -> Result<RunReport, JobError> {
        self.run_with(&self.settings, store, options, stop)
    }

    fn run_with(
        &self,
        settings: &SyncSettings,
        store: &dyn GraphStore,
        options: RunOptions,
        stop: Stop,
    ) -> Result<RunReport, JobError> {
        let job = JobName::new("vault_sync");
        let now = self.clock.now();
        let run_id = RunId::new(&job, now);
        let clock = Hasty { clock: Arc::clone(&self.clock), world: Arc::clone(&self.world) };
        let ctx = RunContext {
            run_id: &run_id,
            job: &job,
            trigger: Trigger::Manual,
            scheduled_for: now,
            attempt: 1,
            clock: &clock,
            stop,
            options,
            progress: &NoProgress,
            feed: None,
        };
        let open = if options.dry_run { StatCache::open_read_only } else { StatCache::open };
        let mut cache = open(&self.state(), &settings.vault.root, now).unwrap();
        sync_vault(settings, Scope::All, store, &mut cache, &ctx)
    }

    /// Every node is what the tables say.
    fn check_nodes(
        &self,
        before: &Nodes,
        full: bool,
        confirmed: bool,
        now: DateTime<Utc>,
        saved: Option<&str>,
    ) -> Result<(), String> {
        let world = locked(&self.world);
        let nodes = self.nodes();
        for (id, name) in IDS.iter().enumerate() {
            let key = BlockId::new(*name);
            let (was, is) = (before.get(&key), nodes.get(&key));
            let mut may_be: Vec<Option<Node>> = Vec::new();
            match oracle::winner(&world, id, was) {
                Winner::At(path, text) => {
                    may_be.push(Some(oracle::after(was, &world, &text, path, now)));
                    let has_drifted = !full && self.drifted.contains(&id);
                    if oracle::may_wait(&world, was) || world.is_merging(id) || has_drifted {
                        may_be.push(was.cloned());
                    }
                    // Where the graph no longer names a place, a file that was read speaks before one that was not, and one
                    // that is whole before one that is just being saved: that one may not have shown the id yet.
                    let holds = |path: &str| world.occurrences(id).iter().any(|at| at.0 == path);
                    let is_late = has_drifted || saved.is_some_and(holds);
                    if is_late && !oracle::is_at_home(&world, id, was) {
                        let after = |(path, text)| oracle::after(was, &world, &text, path, now);
                        may_be.extend(world.occurrences(id).into_iter().map(after).map(Some));
                    }
                }
                Winner::Unknown => may_be.push(was.cloned()),
                Winner::Nowhere => {
                    may_be.push(was.cloned());
                    let least = oracle::patience(&world, was, confirmed);
                    if self.absent_since.get(&id).is_some_and(|since| now - *since >= least)
                        && let Some(was) = was.filter(|was| was.hash.is_some())
                    {
                        let archived_at = was.archived_at.or(Some(now));
                        may_be.push(Some(Node { archived_at, ..was.clone() }));
                    }
                }
            }
            if !may_be.iter().any(|node| node.as_ref() == is) {
                return Err(format!(
                    "{name}:\n  was {was:?}\n  is {is:?}\n  should be one of {may_be:?}"
                ));
            }
        }
        Ok(())
    }

    /// The statistics add up, and tell how many nodes were written.
    fn check_stats(&self, before: &Nodes, report: &RunReport, wrote: u64) -> Result<(), String> {
        let nodes = self.nodes();
        let flags_only =
            |was: &Node, is: &Node| *is == Node { conflict: is.conflict.clone(), ..was.clone() };
        let updated = nodes
            .iter()
            .filter(|(id, is)| match before.get(*id) {
                None => true,
                Some(was) => was != *is && !(is.conflict.is_some() && flags_only(was, is)),
            })
            .count() as u64;
        if report.count("items_updated") != updated {
            return Err(format!("{updated} nodes were updated, {report:?}"));
        }
        let flagged = nodes.iter().filter(|(id, is)| {
            is.conflict.is_some() && before.get(*id).is_some_and(|was| was.conflict != is.conflict)
        });
        if wrote > updated + flagged.count() as u64 {
            return Err(format!("{wrote} writes for {updated} updates, {report:?}"));
        }
        let world = locked(&self.world);
        let is_clear = (0..IDS.len()).all(|id| {
            !matches!(
                oracle::winner(&world, id, before.get(&BlockId::new(IDS[id]))),
                Winner::Unknown
            )
        });
        if !is_clear || world.files.values().any(|file| file.condition != Condition::Whole) {
            return Ok(());
        }
        let markers: usize = world.readable().map(|(_, file)| file.blocks.len()).sum();
        let counted: u64 = [
            "blocks_new",
            "blocks_updated",
            "blocks_unchanged",
            "blocks_moved",
            "blocks_metadata",
            "blocks_restored",
            "conflicts",
            "duplicates",
        ]
        .iter()
        .map(|name| report.count(name))
        .sum();
        if counted != markers as u64 {
            return Err(format!("{counted} of {markers} markers are counted, {report:?}"));
        }
        Ok(())
    }

    /// Rules that hold after any event.
    fn check_invariants(&self, before: &Nodes, trouble: Option<What>) -> Result<(), String> {
        let nodes = self.nodes();
        for (key, was) in before {
            let served = match trouble {
                Some(What::Service { id, how }) if IDS[id] == key.as_str() => Some(how),
                _ => None,
            };
            match nodes.get(key) {
                None if matches!(served, Some(Service::Delete)) => {}
                None => return Err(format!("{key}: the node is gone: {was:?}")),
                // Deleted, and made anew.
                Some(_) if matches!(served, Some(Service::Delete)) => {}
                Some(is) => {
                    if is.version < was.version {
                        return Err(format!(
                            "{key}: version {:?} became {:?}",
                            was.version, is.version
                        ));
                    }
                    if was.needs_reprocessing && !is.needs_reprocessing && served.is_none() {
                        return Err(format!("{key}: its mark was cleared"));
                    }
                    if is.relationships != was.relationships {
                        return Err(format!("{key}: its relationships were touched"));
                    }
                }
            }
        }
        Ok(())
    }

    fn note_service(&mut self, id: usize, how: Service) {
        if !matches!(how, Service::Process) {
            self.drifted.insert(id);
        }
    }

    /// Ids that a sync would not find now.
    fn absent(&self) -> BTreeSet<usize> {
        let world = locked(&self.world);
        (0..IDS.len()).filter(|id| world.places(*id).is_empty()).collect()
    }

    fn nodes(&self) -> Nodes {
        let mut all = Nodes::new();
        self.store.door().edit(&mut |nodes| all = nodes.clone());
        all
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn scope(&self) -> String {
        self.settings.vault.root.to_str().unwrap().to_owned()
    }

    fn token(&self) -> Option<String> {
        self.store.token(&self.scope()).unwrap()
    }

    /// An empty token stands for none: a graph restored to what it was before the first sync.
    fn is_unlike(&self) -> bool {
        let token = self.token().filter(|token| !token.is_empty());
        token.is_none() || token != self.remembered_token()
    }

    fn remembered_token(&self) -> Option<String> {
        let root = &self.settings.vault.root;
        StatCache::open_read_only(&self.state(), root, self.clock.now()).unwrap().token().unwrap()
    }
}

fn same_stats(foretold: &RunReport, report: &RunReport) -> Result<(), String> {
    for (name, value) in &foretold.stats {
        if report.stats.get(name) != Some(value) {
            let real = report.stats.get(name);
            return Err(format!("{name} was {value} in the dry run and {real:?} in the real one"));
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
