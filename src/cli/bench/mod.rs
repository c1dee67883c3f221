//! `bench`: how fast this machine walks, reads, hashes, parses and stores a vault, for people without a toolchain.

pub(crate) mod sample;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::arguments::Bench;
use super::exit::{Exit, Failure};
use super::out::{Cell, Out, Tone, written};
use super::setup::Setup;
use crate::clock::{Clock, SystemClock};
use crate::config::{GraphConfig, JobName, RetryPolicy, VaultConfig};
use crate::graph;
use crate::job::{JobError, NoProgress, RunContext, RunId, RunOptions, RunReport, Trigger};
use crate::reconcile::{OnMissing, Scope, StatCache, SyncSettings, sync_vault};
use crate::stop::Stop;
use crate::vault::{self, Listing, ParseOptions, WalkOptions};
use sample::Sample;

/// A made-up vault is like the notes of some years: 18 blocks and 7 kB to a file.
const SAMPLE: Sample =
    Sample { files: 0, blocks_per_file: 18, bytes_per_file: 7_000, is_flat: false, seed: 1 };

pub(super) fn bench(setup: &Setup<'_>, arguments: &Bench) -> Result<Exit, Failure> {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = arguments.threads.map_or(cores, usize::from);
    let scratch = Scratch::new()?;
    let vault = match (&setup.global.vault, arguments.files) {
        (Some(vault), None) => {
            VaultConfig { tiers: Default::default(), root: setup.env()?.path(vault), whole: true }
        }
        (Some(_), Some(_)) => {
            return Err(Failure::usage("--files makes up a vault: leave out either it or --vault"));
        }
        (None, files) => {
            let root = scratch.0.join("vault");
            let sample = Sample { files: files.unwrap_or(5_000), ..SAMPLE };
            sample.write(&root).map_err(|error| scratch.failure(&error))?;
            VaultConfig { tiers: Default::default(), root, whole: true }
        }
    };
    let is_made_up = setup.global.vault.is_none();
    let phases = measure(&vault, &scratch.0, threads)?;
    let bound = bound(&phases);
    let mut out = Out::stdout();
    let result = if arguments.format.json {
        out.json(&to_json(&phases, &vault, is_made_up, threads, bound))
    } else {
        tell(&mut out, &phases, &vault, is_made_up, threads, bound)
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}

/// A folder for what is made up and stored, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, Failure> {
        let now = SystemClock.now().timestamp_micros();
        let name = format!("aclarai-scheduler-bench-{}-{now}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let scratch = Scratch(path);
        fs::create_dir(&scratch.0).map_err(|error| scratch.failure(&error))?;
        Ok(scratch)
    }

    fn failure(&self, error: &std::io::Error) -> Failure {
        let path = self.0.display();
        Failure::unavailable(format!("{path}: {error}: set TMPDIR to a folder with room"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The work of one phase, and its time by the wall clock.
struct Phase {
    name: &'static str,
    /// Other work within the time.
    with: &'static str,
    seconds: f64,
    files: u64,
    bytes: u64,
    blocks: u64,
    /// For a sync, the seconds of each phase of its own.
    phases: Map<String, Value>,
}

fn measure(vault: &VaultConfig, scratch: &Path, threads: usize) -> Result<Vec<Phase>, Failure> {
    let options = WalkOptions { follow_links: false, threads, ..WalkOptions::default() };
    let (seconds, listing) = timed(|| vault::list(vault, &options, &Stop::new()));
    let listing = listing.map_err(|error| Failure::unavailable(format!("vault: {error}")))?;
    let files = listing.files.len() as u64;
    let mut phases = vec![Phase {
        name: "walk",
        with: "",
        seconds,
        files,
        bytes: 0,
        blocks: 0,
        phases: Map::new(),
    }];
    for (name, with, work) in
        [("read", "", Work::Read), ("hash", "read", Work::Hash), ("parse", "read", Work::Parse)]
    {
        let (seconds, (bytes, blocks)) = timed(|| each_file(&listing, threads, work));
        phases.push(Phase { name, with, seconds, files, bytes, blocks, phases: Map::new() });
    }
    // A vault that was made up a moment ago is not trusted yet, and would be read again. The clock that the stat cache
    // is shown runs ahead, as if some time had passed.
    let later = SystemClock.now() + TimeDelta::minutes(1);
    for (name, with) in [("store", "walk, read, parse"), ("stat_cache", "walk")] {
        let (seconds, report) = timed(|| sync(vault, scratch, threads, later));
        let report = report.map_err(|error| Failure::unavailable(error.to_string()))?;
        let count = |name| report.stats.get(name).and_then(Value::as_u64).unwrap_or(0);
        let blocks = count("blocks_processed").max(count("blocks_unchanged"));
        let bytes = count("bytes_read");
        phases.push(Phase { name, with, seconds, files, bytes, blocks, phases: report.phases });
    }
    Ok(phases)
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = SystemClock.monotonic();
    let result = work();
    // A phase that took no measurable time has no throughput either.
    let took = (SystemClock.monotonic() - before).max(Duration::from_micros(1));
    (took.as_secs_f64(), result)
}

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Read,
    /// SHA-256 of the whole file: the least that any hashing of it could cost.
    Hash,
    /// Finding the blocks, with both hashes of each.
    Parse,
}

/// Does the work on every file, on all threads; tells the bytes and blocks.
fn each_file(listing: &Listing, threads: usize, work: Work) -> (u64, u64) {
    let next = AtomicUsize::new(0);
    let one_thread = || {
        let (mut bytes, mut blocks) = (0, 0);
        while let Some(file) = listing.files.get(next.fetch_add(1, Ordering::Relaxed)) {
            // A file that cannot be read is the sync's to report, not the measurement's.
            let Ok(text) = fs::read(file.path.below(listing.root.path())) else { continue };
            bytes += text.len() as u64;
            if work == Work::Hash {
                std::hint::black_box(Sha256::digest(&text));
            }
            if work == Work::Parse
                && let Ok(parsed) = vault::parse_bytes(text, ParseOptions::default())
            {
                blocks += parsed.len() as u64;
            }
        }
        (bytes, blocks)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (1..threads)
            .filter_map(|number| {
                thread::Builder::new()
                    .name(format!("bench-{number}"))
                    .spawn_scoped(scope, one_thread)
                    .ok()
            })
            .collect();
        let own = one_thread();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a measuring thread does not panic"))
            .fold(own, |sum, part| (sum.0 + part.0, sum.1 + part.1))
    })
}

/// A sync of the vault into a graph and a state of their own.
fn sync(
    vault: &VaultConfig,
    scratch: &Path,
    threads: usize,
    now: DateTime<Utc>,
) -> Result<RunReport, JobError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = SyncSettings {
        ignore: crate::vault::IgnoreRules::default(),
        max_note_size: crate::vault::NOTE_BYTES_MAX,
        vault: vault.clone(),
        parse: ParseOptions::default(),
        follow_links: false,
        threads,
        rehash_after: None,
        on_missing: OnMissing::Archive,
        archive_after: Duration::from_secs(600),
        full_scan: None,
        write_back: false,
    };
    let job = JobName::new("bench");
    let run_id = RunId::new(&job, now);
    let ctx = RunContext {
        run_id: &run_id,
        job: &job,
        trigger: Trigger::Manual,
        scheduled_for: now,
        attempt: 1,
        clock: &*clock,
        stop: Stop::new(),
        options: RunOptions::default(),
        progress: &NoProgress,
        feed: None,
    };
    let graph = GraphConfig::Embedded { path: scratch.join("graph.db") };
    let store = graph::open(&graph, RetryPolicy::default(), Stop::new(), Arc::clone(&clock))
        .map_err(|error| JobError::unavailable(error.to_string()))?;
    let mut cache = StatCache::open(&scratch.join("state"), &vault.root, now)
        .map_err(|error| JobError::unavailable(error.to_string()))?;
    sync_vault(&settings, Scope::All, &*store, &mut cache, &ctx)
}

/// The phase with the largest share of a first sync.
fn bound(phases: &[Phase]) -> &'static str {
    let seconds = |index: usize| phases.get(index).map_or(0.0, |phase| phase.seconds);
    let disk = seconds(0) + seconds(1);
    let cpu = seconds(3) - seconds(1);
    let store = seconds(4) - seconds(3);
    if store > disk && store > cpu {
        "store"
    } else if disk > cpu {
        "disk"
    } else {
        "CPU"
    }
}

/// The most memory this process has held, in bytes.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}

fn to_json(
    phases: &[Phase],
    vault: &VaultConfig,
    is_made_up: bool,
    threads: usize,
    bound: &str,
) -> Value {
    let phases: Map<String, Value> = phases
        .iter()
        .map(|phase| {
            let per_second = |amount: u64| amount as f64 / phase.seconds;
            let mut value = json!({
                "includes": phase.with,
                "seconds": phase.seconds,
                "files": phase.files,
                "bytes": phase.bytes,
                "blocks": phase.blocks,
                "files_per_second": per_second(phase.files),
                "bytes_per_second": per_second(phase.bytes),
                "blocks_per_second": per_second(phase.blocks),
            });
            if !phase.phases.is_empty() {
                value["phases"] = phase.phases.clone().into();
            }
            (phase.name.to_owned(), value)
        })
        .collect();
    json!({
        "vault": if is_made_up { Value::Null } else { vault.root.to_string_lossy().into() },
        "threads": threads,
        "phases": phases,
        "peak_memory_bytes": peak_memory(),
        "bound": bound,
    })
}

fn tell(
    out: &mut Out,
    phases: &[Phase],
    vault: &VaultConfig,
    is_made_up: bool,
    threads: usize,
    bound: &str,
) -> std::io::Result<()> {
    let what =
        if is_made_up { "a made-up vault".to_owned() } else { vault.root.display().to_string() };
    let scanned = phases.get(3);
    let (files, bytes, blocks) =
        scanned.map_or((0, 0, 0), |phase| (phase.files, phase.bytes, phase.blocks));
    writeln!(
        out,
        "{what}: {files} files, {:.1} MB, {blocks} blocks; {threads} threads",
        bytes as f64 / 1e6
    )?;
    let heading = ["PHASE", "SECONDS", "FILES/S", "MB/S", "BLOCKS/S"];
    let mut rows =
        vec![heading.iter().map(|text| Cell::new(*text, Tone::Quiet)).collect::<Vec<_>>()];
    for phase in phases {
        let rate = |amount: u64, unit: f64| match amount {
            0 => Cell::from("-"),
            amount => Cell::from(format!("{:.0}", amount as f64 / unit / phase.seconds)),
        };
        rows.push(vec![
            Cell::from(match phase.with {
                "" => phase.name.to_owned(),
                with => format!("{} (with {with})", phase.name),
            }),
            Cell::from(format!("{:.3}", phase.seconds)),
            rate(phase.files, 1.0),
            rate(phase.bytes, 1e6),
            rate(phase.blocks, 1.0),
        ]);
    }
    out.table(&rows)?;
    for phase in phases.iter().filter(|phase| !phase.phases.is_empty()) {
        let seconds = |value: &Value| value.as_f64().unwrap_or_default();
        let parts =
            phase.phases.iter().map(|(name, value)| format!("{name} {:.3}", seconds(value)));
        let parts: Vec<String> = parts.collect();
        writeln!(out, "seconds of {}, of all threads: {}", phase.name, parts.join(", "))?;
    }
    if let Some(bytes) = peak_memory() {
        writeln!(out, "peak memory {:.1} MB", bytes as f64 / 1e6)?;
    }
    writeln!(out, "a first sync is bound by: {bound}")
}
