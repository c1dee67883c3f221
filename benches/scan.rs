//! The scan of a vault: files per second and bytes per second, flat and deep, cold and warm, by threads.
//!
//! `cargo bench --bench scan`; `ACLARAI_BENCH_VAULT=DIR` scans the user's own vault, which is only read.

mod common;

use std::ops::ControlFlow;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use aclarai_scheduler::inside::reconcile::{Changes, CompareOptions, FileRecord, StatCache};
use aclarai_scheduler::inside::stop::Stop;
use aclarai_scheduler::inside::vault::{
    Listing, ParseOptions, ReadOptions, ReadOutcome, ReadTimes, ToRead, read_in_order,
};
use chrono::TimeDelta;
use common::Vault;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use std::time::Duration;

const FILES: usize = 5_000;

fn main() {
    divan::main();
}

/// Whether the vault is flat.
const SHAPES: [bool; 2] = [false, true];

#[divan::bench(args = SHAPES, sample_count = 10)]
fn walk(bencher: Bencher<'_, '_>, is_flat: bool) {
    let vault = Vault::new(FILES, is_flat);
    let files = vault.list(2).files.len();
    bencher.counter(ItemsCount::new(files)).bench(|| vault.list(2));
}

/// Walk, read, parse and both hashes, without a stat cache: the first scan.
#[divan::bench(args = [1, 2, 4], sample_count = 10)]
fn cold_scan_by_threads(bencher: Bencher<'_, '_>, threads: usize) {
    let vault = Vault::new(FILES, false);
    let bytes = bytes(&vault.list(2));
    bencher
        .counter(BytesCount::new(bytes))
        .bench(|| scan(&vault.list(threads), threads, &mut |_, _| ()));
}

#[divan::bench(args = SHAPES, sample_count = 10)]
fn cold_scan(bencher: Bencher<'_, '_>, is_flat: bool) {
    let vault = Vault::new(FILES, is_flat);
    let bytes = bytes(&vault.list(2));
    bencher.counter(BytesCount::new(bytes)).bench(|| scan(&vault.list(2), 2, &mut |_, _| ()));
}

/// Walk and comparison with the stat cache when nothing changed.
#[divan::bench(args = SHAPES, sample_count = 10)]
fn warm_scan(bencher: Bencher<'_, '_>, is_flat: bool) {
    let vault = Vault::new(FILES, is_flat);
    let state = tempfile::tempdir().expect("a temporary folder can be made");
    let options =
        CompareOptions { full: false, rehash_after: Duration::from_secs(86_400), parser: 1 };
    // The cache is shown a clock that runs ahead: the files were written a moment ago and would not be trusted yet.
    let now = SystemClock.now() + TimeDelta::minutes(1);
    let root = &vault.config.root;
    let listing = vault.list(2);
    let mut cache = StatCache::open(state.path(), root, now).expect("the state folder can be used");
    cache.compare(&listing, options).expect("the state file can be read");
    let mut changes = Changes::default();
    scan(&listing, 2, &mut |file, outcome| {
        if let ReadOutcome::Parsed(reading, parsed) = outcome {
            changes.records.push(FileRecord {
                path: file.file.path.clone(),
                stat: reading.stat,
                digest: reading.digest,
                blocks: parsed.len() as u32,
                ids: Some(parsed.blocks().map(|block| block.id()).collect::<Vec<_>>().join("\n")),
                settled: true,
                blank_runs: 0,
            });
        }
    });
    cache.commit(&changes).expect("the state file can be written");
    bencher.counter(ItemsCount::new(listing.files.len())).bench_local(|| {
        let mut cache =
            StatCache::open(state.path(), root, now).expect("the state folder can be used");
        let comparison =
            cache.compare(&vault.list(2), options).expect("the state file can be read");
        assert!(comparison.gone.is_empty());
        comparison
    });
}

fn bytes(listing: &Listing) -> u64 {
    listing.files.iter().map(|file| file.stat.size).sum()
}

fn scan(listing: &Listing, threads: usize, visit: &mut dyn FnMut(&ToRead<'_>, ReadOutcome)) {
    let files: Vec<ToRead<'_>> =
        listing.files.iter().map(|file| ToRead { file, known: None, expected: None }).collect();
    let options = ReadOptions {
        max_note_size: aclarai_scheduler::inside::vault::NOTE_BYTES_MAX,
        parse: ParseOptions::default(),
        threads,
        clock: &SystemClock,
        times: &ReadTimes::default(),
        stop: &Stop::new(),
    };
    read_in_order(&listing.root, &files, &options, &mut |file, outcome| {
        visit(file, outcome);
        ControlFlow::Continue(())
    })
    .expect("the vault can be read");
}
