//! A vault in a temporary folder, a graph in memory, and a clock that stands still until it is moved.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use serde_json::Value;

use crate::block::{BlockId, VaultPath};
use crate::clock::{Alarm, Clock, ManualClock, SystemClock};
use crate::config::{JobName, VaultConfig};
use crate::graph::GraphStore;
use crate::graph::{Meddled, MemoryStore, Node, Step};
use crate::job::{JobError, NoProgress, RunContext, RunId, RunOptions, RunReport, Trigger};
use crate::reconcile::{OnMissing, Scope, StatCache, SyncSettings, sync_vault};
use crate::stop::Stop;
use crate::vault::ParseOptions;

pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Meddled<MemoryStore>,
    pub(crate) settings: SyncSettings,
    writes: Arc<AtomicU64>,
    /// Done each time a sync waits, which moves the clock on by as much.
    pub(crate) while_waiting: Arc<dyn Fn() + Send + Sync>,
}

/// The clock of a sync: whoever waits moves it on.
struct Leaping {
    clock: Arc<ManualClock>,
    while_waiting: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Leaping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaping")
    }
}

impl Clock for Leaping {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn boottime(&self) -> Duration {
        self.clock.boottime()
    }

    fn alarm(&self, at: DateTime<Utc>) -> Alarm {
        self.clock.alarm(at)
    }

    fn wait(&self, duration: Duration, ended: &dyn Fn() -> bool) -> bool {
        (self.while_waiting)();
        self.clock.advance(duration);
        ended()
    }
}

impl Rig {
    /// An empty vault without tiers. The clock runs an hour ahead of the file system's, so that what was just written
    /// is old: a test that needs it young moves the clock.
    pub(crate) fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("vault");
        fs::create_dir(&root).unwrap();
        let store = Meddled::new(Arc::new(MemoryStore::new()));
        let writes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&writes);
        store.meddle(Box::new(move |moment, _| {
            if let Step::AfterApply(changes) = moment {
                counter.fetch_add(changes.len() as u64, Ordering::Relaxed);
            }
            Ok(())
        }));
        let settings = SyncSettings {
            ignore: crate::vault::IgnoreRules::default(),
            max_note_size: crate::vault::NOTE_BYTES_MAX,
            vault: VaultConfig { root, tiers: [None, None, None], whole: true },
            parse: ParseOptions::default(),
            follow_links: false,
            threads: 2,
            rehash_after: None,
            on_missing: OnMissing::Archive,
            archive_after: Duration::from_secs(600),
            full_scan: None,
            write_back: false,
        };
        let clock = Arc::new(ManualClock::at(SystemClock.now() + chrono::TimeDelta::hours(1)));
        Rig { dir, clock, store, settings, writes, while_waiting: Arc::new(|| ()) }
    }

    /// Only these tier folders are scanned.
    pub(crate) fn tiers(&mut self, tiers: [Option<PathBuf>; 3]) {
        self.settings.vault.tiers = tiers;
        self.settings.vault.whole = false;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.settings.vault.root.join(name)
    }

    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::create_dir_all(self.path(to).parent().unwrap()).unwrap();
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(crate) fn lose_local_state(&self) {
        let _ = fs::remove_dir_all(self.dir.path().join("state"));
    }

    pub(crate) fn minutes_pass(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(60 * minutes));
    }

    pub(crate) fn sync(&self) -> RunReport {
        self.sync_with(RunOptions::default()).unwrap()
    }

    pub(crate) fn sync_with(&self, options: RunOptions) -> Result<RunReport, JobError> {
        self.sync_into(&self.store, options)
    }

    /// A sync that looks at these files only.
    pub(crate) fn sync_paths(&self, paths: &[&str]) -> RunReport {
        let scope = Scope::Paths(paths.iter().map(VaultPath::new).collect());
        self.run(&self.store, RunOptions::default(), scope).unwrap()
    }

    pub(crate) fn sync_into(
        &self,
        store: &dyn GraphStore,
        options: RunOptions,
    ) -> Result<RunReport, JobError> {
        self.run(store, options, Scope::All)
    }

    fn run(
        &self,
        store: &dyn GraphStore,
        options: RunOptions,
        scope: Scope,
    ) -> Result<RunReport, JobError> {
        let job = JobName::new("vault_sync");
        let now = self.clock.now();
        let run_id = RunId::new(&job, now);
        let ctx = RunContext {
            run_id: &run_id,
            job: &job,
            trigger: Trigger::Manual,
            scheduled_for: now,
            attempt: 1,
            clock: &Leaping {
                clock: Arc::clone(&self.clock),
                while_waiting: Arc::clone(&self.while_waiting),
            },
            stop: Stop::new(),
            options,
            progress: &NoProgress,
            feed: None,
        };
        let state = self.dir.path().join("state");
        let open = if options.dry_run { StatCache::open_read_only } else { StatCache::open };
        let mut cache = open(&state, &self.settings.vault.root, now).unwrap();
        sync_vault(&self.settings, scope, store, &mut cache, &ctx)
    }

    pub(crate) fn node(&self, id: &str) -> Node {
        self.find(id).unwrap_or_else(|| panic!("no node {id}"))
    }

    pub(crate) fn find(&self, id: &str) -> Option<Node> {
        self.store.edit(|nodes| nodes.get(&BlockId::new(id)).cloned())
    }

    /// The file of a node, relative to the vault.
    pub(crate) fn home(&self, id: &str) -> String {
        let file = self.node(id).source_file.unwrap();
        file.strip_prefix(self.settings.vault.root.to_str().unwrap())
            .unwrap()
            .trim_start_matches('/')
            .to_owned()
    }

    /// How many changes were sent to the graph since this was last asked.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.swap(0, Ordering::Relaxed)
    }
}

/// Reads counters of a report.
pub(crate) trait Counts {
    fn count(&self, name: &str) -> u64;

    /// The faults as lines.
    fn said(&self) -> Vec<String>;
}

impl Counts for RunReport {
    fn count(&self, name: &str) -> u64 {
        match self.stats.get(name) {
            Some(Value::Bool(flag)) => u64::from(*flag),
            Some(value) => value.as_u64().unwrap(),
            None => panic!("no statistic {name}"),
        }
    }

    fn said(&self) -> Vec<String> {
        self.faults.iter().map(ToString::to_string).collect()
    }
}
