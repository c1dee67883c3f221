//! The job `vault_sync`: its parameters, and one sync as one run.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::config::{JobSpec, Node, duration_of, job_key_like, shown, suggestion};
use crate::graph;
use crate::job::{BadParameter, BuildError, Job, JobError, RunContext, RunReport};
use crate::logging::{debug, warn};
use crate::reconcile::{
    OnMissing, Scope, StatCache, SyncSettings, graph_error, state_error, sync_vault,
};
use crate::sandbox::{self, InForce, Walls};
use crate::schedule::Schedule;
use crate::vault::{IgnoreRules, NOTE_BYTES_MAX, ParseOptions, WalkOptions};

use super::Deps;

/// A configured `vault_sync` job.
#[derive(Debug)]
pub struct VaultSync {
    settings: SyncSettings,
    deps: Deps,
}

/// The parameters, in the order in which the reference names them.
const PARAMETERS: [&str; 10] = [
    "on_missing",
    "archive_after",
    "rehash_after",
    "full_scan_cron",
    "write_back",
    "follow_links",
    "accept_hyphen_ids",
    "ignore",
    "ignore_obsidian_excluded",
    "max_note_size",
];

/// Two scans that both miss a block must be this far apart before it is archived.
const ARCHIVE_AFTER: Duration = Duration::from_secs(10 * 60);

impl VaultSync {
    /// Reads and checks the parameters of a configured job.
    pub fn from_spec(spec: &JobSpec, deps: Deps) -> Result<VaultSync, BuildError> {
        let mut settings = SyncSettings {
            ignore: IgnoreRules::default(),
            max_note_size: NOTE_BYTES_MAX,
            vault: deps.vault.clone(),
            parse: ParseOptions::default(),
            follow_links: false,
            threads: threads(),
            rehash_after: None,
            on_missing: OnMissing::Archive,
            archive_after: ARCHIVE_AFTER,
            full_scan: None,
            write_back: false,
        };
        let mut bad = Vec::new();
        for (key, value) in spec.params.iter() {
            let set = if PARAMETERS.contains(&key) {
                // The name of a parameter is no secret, and neither is what any of them may hold.
                set(&mut settings, key, value, spec).map_err(|why| (Some(shown(value)), why))
            } else {
                Err((None, unknown(key)))
            };
            if let Err((value, message)) = set {
                bad.push(BadParameter { key: key.to_owned(), value, message });
            }
        }
        if spec.feed.is_some() {
            let message = "vault_sync marks blocks and takes none: move it to the job that works on them, and write \
                           `after: vault_sync` there";
            bad.push(BadParameter::new("feed", message));
        }
        if bad.is_empty() {
            Ok(VaultSync { settings, deps })
        } else {
            Err(BuildError::BadParameters(bad))
        }
    }

    /// The settings that the parameters make.
    pub fn settings(&self) -> &SyncSettings {
        &self.settings
    }
}

impl Job for VaultSync {
    /// One sync. Notes and a server's answers may be anybody's, so it runs on a thread within walls, unless they are
    /// switched off; the threads that it starts are within them too. The thread that runs jobs stays outside, as it
    /// may start any program the next time.
    fn run(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
        if !self.deps.sandbox {
            return self.sync(ctx);
        }
        let walls = self.walls(ctx.options.dry_run)?;
        let confined = || {
            match sandbox::confine(&walls) {
                Ok(InForce::Whole) => {}
                Ok(less) => debug!("sandbox: {less:?}"),
                Err(why) => warn!("sandbox: cannot be set up: {why}: this sync runs without it"),
            }
            self.sync(ctx)
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("vault-sync".to_owned());
            match thread.spawn_scoped(scope, confined) {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(error) => Err(JobError::transient(format!("cannot start a thread: {error}"))),
            }
        })
    }
}

impl VaultSync {
    /// The vault, which is only read unless `write_back` is on; the state folder; the graph. Nothing else.
    fn walls(&self, is_dry: bool) -> Result<Walls, JobError> {
        let places = graph::places(&self.deps.graph, is_dry).map_err(graph_error)?;
        let mut walls = Walls { read: places.read, write: Vec::new(), connect: places.connects };
        // Without it two scans cannot be told to be of one boot, and a block waits for a third.
        walls.read.extend(sandbox::existing(&["/proc/sys/kernel/random/boot_id"]));
        let vault = self.settings.vault.root.clone();
        let own = places.write.into_iter().chain([self.deps.state_dir.clone()]);
        if is_dry {
            walls.read.extend(own.chain([vault]));
        } else {
            walls.write.extend(own);
            let list = if self.settings.write_back { &mut walls.write } else { &mut walls.read };
            list.push(vault);
        }
        Ok(walls)
    }

    fn sync(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
        let deps = &self.deps;
        let open = if ctx.options.dry_run { graph::open_dry } else { graph::open };
        let store = open(&deps.graph, deps.retries, ctx.stop.clone(), Arc::clone(&deps.clock))
            .map_err(graph_error)?;
        let open = if ctx.options.dry_run { StatCache::open_read_only } else { StatCache::open };
        let mut cache = open(&deps.state_dir, &self.settings.vault.root, deps.clock.now())
            .map_err(state_error)?;
        sync_vault(&self.settings, Scope::All, &*store, &mut cache, ctx)
    }
}

/// Takes one of [`PARAMETERS`]. An `Err` says what to write.
fn set(settings: &mut SyncSettings, key: &str, value: &Node, spec: &JobSpec) -> Result<(), String> {
    match key {
        // An empty value means the default, as everywhere in the file.
        _ if value.is_null() => {}
        "on_missing" => settings.on_missing = on_missing(value)?,
        "archive_after" => settings.archive_after = duration_of(value)?,
        "rehash_after" => settings.rehash_after = Some(duration_of(value)?),
        "full_scan_cron" => settings.full_scan = Some(full_scan(value, spec)?),
        "write_back" => settings.write_back = flag(value)?,
        "follow_links" => settings.follow_links = flag(value)?,
        "accept_hyphen_ids" => settings.parse.accept_hyphen_ids = flag(value)?,
        "ignore" => settings.ignore.patterns = patterns(value)?,
        "ignore_obsidian_excluded" => settings.ignore.obsidian_excluded = flag(value)?,
        "max_note_size" => settings.max_note_size = size(value)?,
        _ => unreachable!("{key} is a parameter that is read nowhere"),
    }
    Ok(())
}

/// How the job of `spec` lists the vault, as far as its parameters are right: for `check`, which tells what they leave out.
pub(crate) fn walk_options(spec: &JobSpec) -> WalkOptions {
    let is_set = |key| spec.params.get(key).and_then(Node::as_flag).unwrap_or(false);
    let written = spec.params.get("ignore").map(patterns);
    let ignore = IgnoreRules {
        patterns: written.and_then(Result::ok).unwrap_or_default(),
        obsidian_excluded: is_set("ignore_obsidian_excluded"),
    };
    WalkOptions { follow_links: is_set("follow_links"), threads: threads(), ignore }
}

/// One thread for each processor: reading and hashing keep all of them busy.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn on_missing(value: &Node) -> Result<OnMissing, String> {
    match value.as_str() {
        Some("archive") => Ok(OnMissing::Archive),
        Some("ignore") => Ok(OnMissing::Ignore),
        _ => Err("write archive or ignore".to_owned()),
    }
}

fn flag(value: &Node) -> Result<bool, String> {
    value.as_flag().ok_or_else(|| "write true or false".to_owned())
}

/// Patterns of notes to leave out, each checked.
fn patterns(value: &Node) -> Result<Vec<String>, String> {
    const REMEDY: &str =
        r#"write a list of patterns as in .gitignore, such as ["templates/", "*.excalidraw.md"]"#;
    let items = value.as_list().ok_or(REMEDY)?;
    items
        .map(|item| {
            let pattern = item.as_str().ok_or(REMEDY)?;
            IgnoreRules::check(pattern)?;
            Ok(pattern.to_owned())
        })
        .collect()
}

/// The largest note that the parser can take: positions in it are numbers of 32 bits.
const NOTE_BYTES_LIMIT: u64 = 1 << 30;

/// A number of bytes, or one with a unit: `64 MiB`.
fn size(value: &Node) -> Result<u64, String> {
    const REMEDY: &str = "write a number of bytes, or one with KiB or MiB, from 1 KiB to 1024 MiB";
    let bytes = value.as_u64().or_else(|| {
        let text = value.as_str()?.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" | "bytes" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            _ => return None,
        };
        text[..digits].parse::<u64>().ok()?.checked_mul(unit)
    });
    bytes
        .filter(|bytes| (1 << 10..=NOTE_BYTES_LIMIT).contains(bytes))
        .ok_or_else(|| REMEDY.to_owned())
}

fn full_scan(value: &Node, spec: &JobSpec) -> Result<Schedule, String> {
    let line = value.as_str().ok_or(r#"write a cron line in quotes, such as "0 4 * * 0""#)?;
    Schedule::parse(line, spec.timezone.clone()).map_err(|error| error.to_string())
}

fn unknown(key: &str) -> String {
    match suggestion(key, PARAMETERS).or_else(|| job_key_like(key)) {
        Some(meant) => format!("unknown parameter: did you mean {meant}?"),
        None => format!("unknown parameter: vault_sync takes {}", PARAMETERS.join(", ")),
    }
}
