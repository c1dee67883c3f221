//! Hashing and parsing: bytes per second of one thread, by block size and by file size.
//!
//! `cargo bench --bench hash`

use std::fmt::Write;

use aclarai_scheduler::inside::vault::{ParseOptions, parse};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use sha2::{Digest, Sha256};

fn main() {
    divan::main();
}

/// A file of `blocks` blocks, each of about `bytes` bytes.
fn file(blocks: usize, bytes: usize) -> String {
    let words = "the plan for a quarter grew under load because of retries in the queue, ";
    let mut text = String::new();
    for block in 0..blocks {
        text.extend(words.chars().cycle().take(bytes));
        let _ = writeln!(text, " <!-- aclarai:id=blk_{block:06} ver=1 -->\n^blk_{block:06}\n");
    }
    text.push_str("A last paragraph that keeps the markers inline.\n");
    text
}

/// The floor: SHA-256 of as many bytes, in pieces of the size of a block.
#[divan::bench(args = [64, 256, 1_024, 8_192])]
fn sha256_alone(bencher: Bencher<'_, '_>, block_bytes: usize) {
    let piece = vec![b'x'; block_bytes];
    bencher
        .counter(BytesCount::new(block_bytes))
        .bench(|| Sha256::digest(divan::black_box(&piece)));
}

/// Parsing with both hashes of every block.
#[divan::bench(args = [64, 256, 1_024, 8_192])]
fn parse_by_block_size(bencher: Bencher<'_, '_>, block_bytes: usize) {
    let text = file(200_000 / block_bytes, block_bytes);
    let blocks = 200_000 / block_bytes;
    bencher
        .counter(BytesCount::new(text.len()))
        .counter(ItemsCount::new(blocks))
        .with_inputs(|| text.clone())
        .bench_values(|text| parse(text, ParseOptions::default()));
}

/// One file with many blocks: four times the blocks take four times as long.
#[divan::bench(args = [10_000, 40_000], sample_count = 20)]
fn parse_one_large_file(bencher: Bencher<'_, '_>, blocks: usize) {
    let text = file(blocks, 200);
    bencher
        .counter(BytesCount::new(text.len()))
        .counter(ItemsCount::new(blocks))
        .with_inputs(|| text.clone())
        .bench_values(|text| parse(text, ParseOptions::default()));
}
