//! The two things that `benches/compare.sh` needs beside the program: a made-up vault, and a scan without a store.
//!
//! `bench_vault make FOLDER FILES` writes a vault of 18 blocks and 7 kB a file, the same for everyone.
//! `bench_vault scan FOLDER [THREADS]` walks, reads, parses and hashes it, and tells what it found.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that tells its result in lines"
)]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use aclarai_scheduler::inside::clock::SystemClock;
use aclarai_scheduler::inside::config::VaultConfig;
use aclarai_scheduler::inside::stop::Stop;
use aclarai_scheduler::inside::vault::{
    ParseOptions, ReadOptions, ReadOutcome, ReadTimes, Sample, ToRead, VaultError, WalkOptions,
    list, read_in_order,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = match words[..] {
        ["make", folder, files] => make(folder, files),
        ["scan", folder] => scan(folder, 2).map_err(|error| error.to_string()),
        ["scan", folder, threads] => match threads.parse() {
            Ok(threads) => scan(folder, threads).map_err(|error| error.to_string()),
            Err(_) => Err(format!("{threads} is no number of threads")),
        },
        _ => Err("usage: bench_vault make FOLDER FILES | scan FOLDER [THREADS]".to_owned()),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(folder: &str, files: &str) -> Result<(), String> {
    let files = files.parse().map_err(|_| format!("{files} is no number of files"))?;
    let sample =
        Sample { files, blocks_per_file: 18, bytes_per_file: 7_000, is_flat: false, seed: 1 };
    let totals = sample.write(folder.as_ref()).map_err(|error| format!("{folder}: {error}"))?;
    println!("{} files, {} bytes, {} blocks", totals.files, totals.bytes, totals.blocks);
    Ok(())
}

fn scan(folder: &str, threads: usize) -> Result<(), VaultError> {
    let config =
        VaultConfig { root: PathBuf::from(folder), tiers: [None, None, None], whole: true };
    let listing = list(
        &config,
        &WalkOptions { follow_links: false, threads, ..WalkOptions::default() },
        &Stop::new(),
    )?;
    let files: Vec<ToRead<'_>> =
        listing.files.iter().map(|file| ToRead { file, known: None, expected: None }).collect();
    let (parse, clock) = (ParseOptions::default(), &SystemClock);
    let options = ReadOptions {
        max_note_size: aclarai_scheduler::inside::vault::NOTE_BYTES_MAX,
        parse,
        threads,
        clock,
        times: &ReadTimes::default(),
        stop: &Stop::new(),
    };
    let (mut bytes, mut blocks) = (0, 0);
    read_in_order(&listing.root, &files, &options, &mut |_, outcome| {
        if let ReadOutcome::Parsed(reading, parsed) = outcome {
            bytes += reading.stat.size;
            blocks += parsed.len();
        }
        ControlFlow::Continue(())
    })?;
    println!("{} files, {bytes} bytes, {blocks} blocks", files.len());
    Ok(())
}
