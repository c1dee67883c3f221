//! The two tables, a line a row.

use super::*;
use crate::graph::Conflict;

const FILE: &str = "/vault/a.md";

fn hash(seed: u8) -> ContentHash {
    ContentHash([seed; 32])
}

/// A block whose v1 and v2 hashes are made from the two seeds.
fn block(version: i64, v1: u8, v2: u8) -> Found<'static> {
    Found { version, hash: hash(v1), body_hash: hash(v2), source_file: FILE }
}

/// A node with hashes of seed 1, seen at `FILE`.
fn node(g: i64, b: Option<i64>) -> StoredBlock {
    StoredBlock {
        hash: Some(hash(1).to_string()),
        body_hash: Some(hash(1).to_string()),
        version: g,
        vault_version: b,
        source_file: Some(FILE.to_owned()),
        archived: false,
        conflict: None,
    }
}

fn decided(found: &Found<'_>, stored: Option<&StoredBlock>) -> Decision {
    decide(*found, stored)
}

/// The writes of a decision, in short: `version/vault_version`, `+mark`, `facts`, `conflict` or nothing.
fn written(decision: &Decision) -> String {
    let number = |n: Option<i64>| n.map_or("=".to_owned(), |n| n.to_string());
    match decision.plan {
        None => "-".to_owned(),
        Some(Effect::Content { version, vault_version, mark }) => {
            format!("content {version}/{vault_version}{}", if mark { " mark" } else { "" })
        }
        Some(Effect::Facts { version, vault_version, place, body }) => {
            let place = if place { " place" } else { "" };
            let body = if body { " body" } else { "" };
            format!("facts {}/{}{place}{body}", number(version), number(vault_version))
        }
        Some(Effect::Conflict) => "conflict".to_owned(),
    }
}

#[track_caller]
fn row(decision: Decision, outcome: Outcome, write: &str) {
    assert_eq!(
        (decision.outcome, written(&decision).as_str()),
        (outcome, write),
        "{}",
        decision.why
    );
}

#[test]
fn the_two_hashes_tell_an_edit_from_churn() {
    let known = node(5, Some(2));
    let original = StoredBlock { body_hash: None, ..node(5, Some(2)) };
    row(decided(&block(2, 1, 1), Some(&known)), Outcome::Unchanged, "-");
    row(decided(&block(2, 1, 9), Some(&known)), Outcome::Updated, "content 6/2 mark");
    row(decided(&block(2, 9, 1), Some(&known)), Outcome::Metadata, "content 5/2");
    row(decided(&block(2, 9, 9), Some(&known)), Outcome::Updated, "content 6/2 mark");
    row(decided(&block(2, 1, 9), Some(&original)), Outcome::Metadata, "facts =/= body");
    row(decided(&block(2, 9, 9), Some(&original)), Outcome::Updated, "content 6/2 mark");
}

#[test]
fn the_version_table() {
    let stub = StoredBlock::default();
    row(decided(&block(3, 1, 1), None), Outcome::New, "content 3/3 mark");
    row(decided(&block(0, 1, 1), None), Outcome::New, "content 0/0 mark");
    row(decided(&block(3, 1, 1), Some(&stub)), Outcome::New, "content 3/3 mark");
    row(decided(&block(0, 1, 1), Some(&stub)), Outcome::New, "content 1/0 mark");

    let original = |g| StoredBlock { body_hash: None, ..node(g, None) };
    row(decided(&block(2, 1, 1), Some(&original(5))), Outcome::Metadata, "facts =/2 place body");
    row(decided(&block(7, 1, 1), Some(&original(5))), Outcome::Metadata, "facts 7/7 place body");
    row(decided(&block(2, 9, 9), Some(&original(5))), Outcome::Updated, "content 6/2 mark");
    row(decided(&block(7, 9, 9), Some(&original(5))), Outcome::Updated, "content 7/7 mark");

    row(decided(&block(2, 1, 1), Some(&node(5, Some(2)))), Outcome::Unchanged, "-");
    row(decided(&block(4, 1, 1), Some(&node(5, Some(2)))), Outcome::Metadata, "facts =/4");
    row(decided(&block(8, 1, 1), Some(&node(5, Some(2)))), Outcome::Metadata, "facts 8/8");
    row(decided(&block(1, 1, 1), Some(&node(5, Some(2)))), Outcome::Unchanged, "-");
    row(decided(&block(2, 9, 9), Some(&node(5, Some(2)))), Outcome::Updated, "content 6/2 mark");
    row(decided(&block(4, 9, 9), Some(&node(5, Some(2)))), Outcome::Updated, "content 6/4 mark");
    row(decided(&block(9, 9, 9), Some(&node(5, Some(2)))), Outcome::Updated, "content 9/9 mark");
    row(decided(&block(1, 9, 9), Some(&node(5, Some(2)))), Outcome::Conflict, "conflict");
}

#[test]
fn archived_blocks_come_back() {
    let archived = |b| StoredBlock { archived: true, ..node(5, Some(b)) };
    row(decided(&block(2, 1, 1), Some(&archived(2))), Outcome::Restored, "facts =/=");
    row(decided(&block(3, 1, 1), Some(&archived(2))), Outcome::Restored, "facts =/3");
    row(decided(&block(2, 9, 9), Some(&archived(2))), Outcome::Restored, "content 6/2 mark");
    row(decided(&block(2, 9, 1), Some(&archived(2))), Outcome::Restored, "content 5/2");
    row(decided(&block(1, 9, 9), Some(&archived(2))), Outcome::Conflict, "conflict");
}

#[test]
fn a_move_writes_only_where_the_block_is() {
    let elsewhere =
        StoredBlock { source_file: Some("/vault/old.md".to_owned()), ..node(5, Some(2)) };
    row(decided(&block(2, 1, 1), Some(&elsewhere)), Outcome::Moved, "facts =/= place");
}

#[test]
fn a_conflict_is_written_once_and_cleared_when_both_sides_agree() {
    let flagged = |version, seed| StoredBlock {
        conflict: Some(Conflict { version, hash: hash(seed).to_string(), file: FILE.to_owned() }),
        ..node(5, Some(2))
    };
    row(decided(&block(1, 9, 9), Some(&flagged(1, 9))), Outcome::Conflict, "-");
    row(decided(&block(1, 8, 8), Some(&flagged(1, 9))), Outcome::Conflict, "conflict");
    row(decided(&block(2, 1, 1), Some(&flagged(1, 9))), Outcome::Metadata, "facts =/=");
    row(decided(&block(1, 1, 1), Some(&flagged(1, 9))), Outcome::Metadata, "facts =/=");
    row(decided(&block(2, 9, 9), Some(&flagged(1, 9))), Outcome::Updated, "content 6/2 mark");
}

#[test]
fn an_older_marker_on_the_same_text_is_counted_and_harmless() {
    assert!(decided(&block(1, 1, 1), Some(&node(5, Some(2)))).version_behind);
    assert!(!decided(&block(2, 1, 1), Some(&node(5, Some(2)))).version_behind);
}

#[test]
fn versions_do_not_overflow() {
    row(
        decided(&block(i64::MAX, 9, 9), Some(&node(i64::MAX, Some(1)))),
        Outcome::Updated,
        &format!("content {0}/{0} mark", i64::MAX),
    );
}

/// Whatever is decided, deciding again on the outcome asks for nothing: a second sync writes nothing.
#[test]
fn a_decision_carried_out_settles_the_block() {
    let mut count = 0;
    for (v, v1, v2) in [(0, 1, 1), (1, 1, 1), (2, 1, 9), (3, 9, 1), (4, 9, 9), (9, 1, 1), (9, 9, 9)]
    {
        for b in [None, Some(0), Some(2), Some(4)] {
            for (has_hash, has_body) in [(true, true), (true, false), (false, false)] {
                for archived in [false, true] {
                    for file in [FILE, "/vault/old.md"] {
                        let stored = StoredBlock {
                            hash: has_hash.then(|| hash(1).to_string()),
                            body_hash: has_body.then(|| hash(1).to_string()),
                            source_file: Some(file.to_owned()),
                            archived,
                            ..node(5, b)
                        };
                        let block = block(v, v1, v2);
                        let after =
                            carried_out(&stored, &block, decided(&block, Some(&stored)).plan);
                        assert!(after.version >= stored.version, "the graph's version only grows");
                        let again = decided(&block, Some(&after));
                        assert_eq!(again.plan, None, "{stored:?} then {after:?}: {}", again.why);
                        count += 1;
                    }
                }
            }
        }
    }
    assert_eq!(count, 7 * 4 * 3 * 2 * 2);
}

fn carried_out(stored: &StoredBlock, found: &Found<'_>, plan: Option<Effect>) -> StoredBlock {
    let mut after = stored.clone();
    match plan {
        None => {}
        Some(Effect::Conflict) => {
            let (hash, file) = (found.hash.to_string(), found.source_file.to_owned());
            after.conflict = Some(Conflict { version: found.version, hash, file });
        }
        Some(Effect::Content { version, vault_version, .. }) => {
            after = StoredBlock {
                hash: Some(found.hash.to_string()),
                body_hash: Some(found.body_hash.to_string()),
                version,
                vault_version: Some(vault_version),
                source_file: Some(found.source_file.to_owned()),
                archived: false,
                conflict: None,
            };
        }
        Some(Effect::Facts { version, vault_version, place, body }) => {
            after.version = version.unwrap_or(after.version);
            after.vault_version = vault_version.or(after.vault_version);
            if place {
                after.source_file = Some(found.source_file.to_owned());
            }
            if body {
                after.body_hash = Some(found.body_hash.to_string());
            }
            after.archived = false;
            after.conflict = None;
        }
    }
    after
}
