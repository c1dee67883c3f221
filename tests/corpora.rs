//! Hostile input that is kept, and changes of it, are looked at with each test run, also where there is no fuzzer.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its files has failed")]

#[path = "../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

/// SplitMix64: the same changes each time.
struct Changes(u64);

impl Changes {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    /// One to four bytes set, taken out, put in, or a piece repeated.
    fn change(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                2 => bytes.insert(at, self.below(256) as u8),
                _ => {
                    let end = (at + 1 + self.below(16)).min(bytes.len());
                    let piece = bytes[at.min(end)..end].repeat(1 + self.below(8));
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}

/// Each file of a corpus, cut off at `places` of it as a writer that was killed leaves it, and with `changes` changes.
#[expect(clippy::print_stderr, reason = "shown when a test fails")]
fn run(name: &str, check: fn(&[u8]), places: usize, changes: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "{name}: {paths:?}");
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        // The last one shown is the file that failed, or a change of it, which are the same each time.
        eprintln!("again: cargo test --test corpora, with {} or a change of it", path.display());
        check(&bytes);
        for part in 0..places {
            check(&bytes[..bytes.len() * part / places]);
        }
        let mut random = Changes(bytes.len() as u64);
        for _ in 0..changes {
            check(&random.change(&bytes));
        }
    }
}

#[test]
fn any_dotenv_is_read_or_refused() {
    run("dotenv", checks::dotenv, 64, 200);
}

#[test]
fn any_configuration_is_checked_and_its_faults_are_told() {
    run("configuration", checks::configuration, 64, 200);
}

#[test]
fn any_last_line_is_a_verdict_or_none_or_refused() {
    run("last_line", checks::last_line, 64, 200);
}

#[cfg(feature = "neo4j")]
#[test]
fn any_answer_of_a_bolt_server_is_walked_within_bounds() {
    run("bolt", checks::bolt, 64, 200);
}

#[test]
fn any_state_file_is_read_or_refused() {
    run("state", checks::state, 8, 16);
}

#[test]
fn any_file_name_is_a_copy_or_none() {
    run("name", checks::name, 64, 200);
}
