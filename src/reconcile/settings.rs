//! The orders of a sync: the checked parameters of the `vault_sync` job.

use std::time::Duration;

use crate::block::VaultPath;
use crate::config::VaultConfig;
use crate::schedule::Schedule;
use crate::vault::{IgnoreRules, ParseOptions};

/// The checked parameters of the `vault_sync` job.
#[derive(Clone, Debug)]
pub struct SyncSettings {
    /// Where the vault lies.
    pub vault: VaultConfig,
    /// The grammar of markers.
    pub parse: ParseOptions,
    /// Follow symbolic links that stay in the vault.
    pub follow_links: bool,
    /// Which notes are left out.
    pub ignore: IgnoreRules,
    /// A note with more bytes is not read; its blocks are unknown.
    pub max_note_size: u64,
    /// How many threads list and read.
    pub threads: usize,
    /// How long a file may go unread; `None`: seven days, a day on a network file system.
    pub rehash_after: Option<Duration>,
    /// The fate of blocks that are gone from the vault.
    pub on_missing: OnMissing,
    /// How far apart two scans must be that both miss a block before it is archived.
    pub archive_after: Duration,
    /// When everything is read and compared, whatever the stat cache says.
    pub full_scan: Option<Schedule>,
    /// Whether the graph's version is written into the marker's digits.
    pub write_back: bool,
}

/// The fate of blocks that are gone from the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// They are archived, under the guards described in the module `missing`.
    Archive,
    /// They stay as they are.
    Ignore,
}

/// Which part of the vault one sync looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of it: every folder is listed, and blocks that are nowhere are missing.
    #[default]
    All,
    /// Only these files. Files outside are as they were remembered, and nothing there can be missing.
    #[cfg_attr(not(test), expect(dead_code, reason = "no job asks for a part of the vault yet"))]
    Paths(Vec<VaultPath>),
}
