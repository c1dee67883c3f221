//! What the benches share: a vault, made from a seed or the user's own.
#![expect(
    clippy::print_stderr,
    reason = "a bench names its vault beside the table that divan prints"
)]

use std::path::PathBuf;

use aclarai_scheduler::inside::config::VaultConfig;
use aclarai_scheduler::inside::stop::Stop;
use aclarai_scheduler::inside::vault::{self, Listing, Sample, WalkOptions};

/// A vault for a bench; one that was made is removed at the end.
pub(crate) struct Vault {
    pub(crate) config: VaultConfig,
    _folder: Option<tempfile::TempDir>,
}

impl Vault {
    /// The vault that `ACLARAI_BENCH_VAULT` names, else one of `files` files with 18 blocks and 7 kB each.
    pub(crate) fn new(files: usize, is_flat: bool) -> Vault {
        if let Some(folder) = std::env::var_os("ACLARAI_BENCH_VAULT") {
            let root = PathBuf::from(folder);
            return Vault {
                config: VaultConfig { root, tiers: Default::default(), whole: true },
                _folder: None,
            };
        }
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let sample = Sample { files, blocks_per_file: 18, bytes_per_file: 7_000, is_flat, seed: 1 };
        let totals = sample.write(folder.path()).expect("a vault fits on the disk");
        let shape = if is_flat { "flat" } else { "deep" };
        eprintln!(
            "{shape} vault, seed 1: {} files, {} bytes, {} blocks",
            totals.files, totals.bytes, totals.blocks
        );
        let root = folder.path().to_owned();
        let config = VaultConfig { root, tiers: Default::default(), whole: true };
        Vault { config, _folder: Some(folder) }
    }

    /// Lists it.
    pub(crate) fn list(&self, threads: usize) -> Listing {
        let options = WalkOptions { follow_links: false, threads, ..WalkOptions::default() };
        vault::list(&self.config, &options, &Stop::new()).expect("the vault can be listed")
    }
}
