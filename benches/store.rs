//! What a sync does with its blocks: the decision for each, and the batch write into the embedded store.
//!
//! `cargo bench --bench store`

use aclarai_scheduler::inside::block::{BlockId, ContentHash, Tier};
use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use aclarai_scheduler::inside::graph::{
    Change, Content, GraphStore, SqliteStore, StoredBlock, Write,
};
use aclarai_scheduler::inside::reconcile::{Found, decide};
use aclarai_scheduler::inside::stop::Stop;
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

fn hash(number: usize) -> ContentHash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    ContentHash(hash)
}

/// The decision for a block that the graph holds unchanged: the common case of a full scan.
#[divan::bench]
fn decide_unchanged(bencher: Bencher<'_, '_>) {
    let found = Found { version: 1, hash: hash(1), body_hash: hash(2), source_file: "/vault/a.md" };
    let stored = StoredBlock {
        hash: Some(hash(1).to_string()),
        body_hash: Some(hash(2).to_string()),
        version: 1,
        vault_version: Some(1),
        source_file: Some("/vault/a.md".to_owned()),
        archived: false,
        conflict: None,
    };
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench(|| decide(divan::black_box(found), Some(&stored)));
}

/// Twenty batches of new blocks, one transaction each.
#[divan::bench(args = [250, 1_000, 4_000], sample_count = 10)]
fn write_new_blocks(bencher: Bencher<'_, '_>, rows: usize) {
    const BATCHES: usize = 20;
    let batches: Vec<Vec<Change>> = (0..BATCHES)
        .map(|batch| (0..rows).map(|row| change(batch * rows + row)).collect())
        .collect();
    bencher
        .counter(ItemsCount::new(BATCHES * rows))
        .with_inputs(|| tempfile::tempdir().expect("a temporary folder can be made"))
        .bench_local_values(|folder| {
            let path = folder.path().join("graph.db");
            let store = SqliteStore::open(&path, Stop::new()).expect("a new graph can be made");
            for batch in &batches {
                store.apply(batch, SystemClock.now()).expect("there is room");
            }
            store.flush().expect("there is room");
            folder
        });
}

fn change(number: usize) -> Change {
    let text = format!(
        "Block {number}: a sentence as long as most sentences in a note are, give or take."
    );
    let content = Content {
        hash: hash(number),
        body: format!("{text} And another one before it."),
        text,
        body_hash: hash(number + 1),
        version: 1,
        vault_version: 1,
        tier: Tier::One,
        source_file: format!("/vault/conversations/note-{}.md", number / 18),
        mark: true,
    };
    let id = BlockId::new(format!("blk_{number:08}"));
    Change { id, expected: None, write: Write::Content(content) }
}
