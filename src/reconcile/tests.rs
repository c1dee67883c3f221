//! Whole syncs on real files, with a store in memory and a clock that is moved by hand.

mod accidents;
mod copies;
mod guards;
mod histories;
mod rig;

use crate::block::BlockId;
use crate::graph::Step;
use crate::job::RunOptions;
use rig::{Counts, Rig};

/// A line with a marker. What follows keeps it from being the end of the file, which would make it a page.
fn line(text: &str, id: &str, version: i64) -> String {
    format!("{text} <!-- aclarai:id={id} ver={version} -->\n\n")
}

fn note(lines: &[String]) -> String {
    format!("{}A last paragraph that keeps the markers inline.\n", lines.concat())
}

const NONE: RunOptions = RunOptions {
    full: false,
    dry_run: false,
    explain: false,
    allow_archive: false,
    accept_vault: false,
    diff: false,
};
const DRY: RunOptions = RunOptions { dry_run: true, explain: true, ..NONE };
const FULL: RunOptions = RunOptions { full: true, ..NONE };
const CONFIRMED: RunOptions = RunOptions { allow_archive: true, ..NONE };

#[test]
fn the_first_sync_writes_all_and_the_second_nothing() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("b/c.md", "# Page\n\nText.\n\n<!-- aclarai:id=concept_c ver=4 -->\n");
    let first = rig.sync();
    assert_eq!(
        (first.count("blocks_new"), first.count("errors"), first.count("warnings")),
        (2, 0, 0),
        "{first:?}"
    );
    assert_eq!(rig.node("concept_c").version, Some(4));
    assert_eq!(rig.node("blk_a").text.as_deref(), Some("One."));
    assert!(rig.node("blk_a").needs_reprocessing);
    assert_eq!(rig.writes(), 2);
    let second = rig.sync();
    assert_eq!(
        (second.count("files_skipped"), second.count("blocks_unchanged")),
        (2, 2),
        "{second:?}"
    );
    assert_eq!(rig.sync_with(FULL).unwrap().count("blocks_unchanged"), 2);
    assert_eq!(rig.writes(), 0);
}

#[test]
fn an_edit_anywhere_in_a_block_is_seen() {
    let rig = Rig::new();
    rig.file(
        "a.md",
        note(&[line("First line,\nlast line.", "blk_a", 1), line("Other.", "blk_b", 1)]),
    );
    rig.sync();
    rig.file(
        "a.md",
        note(&[line("Edited line,\nlast line.", "blk_a", 1), line("Other.", "blk_b", 1)]),
    );
    let report = rig.sync();
    assert_eq!(
        (report.count("blocks_updated"), report.count("blocks_unchanged")),
        (1, 1),
        "{report:?}"
    );
    let node = rig.node("blk_a");
    assert_eq!((node.version, node.body.as_deref()), (Some(2), Some("Edited line, last line.")));
    // Without write-back the marker keeps its number, and the second edit must not look stale.
    rig.file(
        "a.md",
        note(&[line("Edited line,\nlast line again.", "blk_a", 1), line("Other.", "blk_b", 1)]),
    );
    assert_eq!(rig.sync().count("blocks_updated"), 1);
    assert_eq!(rig.node("blk_a").version, Some(3));
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    let store = crate::graph::DryRun::new(rig.store.clone());
    let report = rig.sync_into(&store, DRY).unwrap();
    assert_eq!(report.count("blocks_new"), 1);
    assert_eq!(report.explained, ["blk_a a.md:1: new: not in the graph"]);
    assert!(rig.find("blk_a").is_none());
    assert!(!rig.dir.path().join("state").exists());
    assert_eq!(rig.writes(), 0);
}

#[test]
fn a_moved_file_and_a_moved_block_keep_their_version() {
    let rig = Rig::new();
    rig.file("m.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    rig.file("n.md", note(&[]));
    rig.sync();
    rig.rename("m.md", "a/renamed.md");
    let report = rig.sync();
    assert_eq!(
        (report.count("blocks_moved"), report.count("blocks_missing")),
        (2, 0),
        "{report:?}"
    );
    assert_eq!(rig.home("blk_a"), "a/renamed.md");
    // A block moves from a file that is read early to one that is read late, and another one back.
    rig.file("a/renamed.md", note(&[line("Two.", "blk_b", 1)]));
    rig.file("n.md", note(&[line("One.", "blk_a", 1)]));
    assert_eq!(rig.sync().count("blocks_moved"), 1);
    assert_eq!(rig.home("blk_a"), "n.md");
    rig.file("n.md", note(&[]));
    rig.file("a/renamed.md", note(&[line("Two.", "blk_b", 1), line("One.", "blk_a", 1)]));
    let report = rig.sync();
    assert_eq!((report.count("blocks_moved"), report.count("duplicates")), (1, 0), "{report:?}");
    assert_eq!(
        (rig.home("blk_a"), rig.node("blk_a").version),
        ("a/renamed.md".to_owned(), Some(1))
    );
    rig.sync();
    rig.writes();
    rig.sync();
    assert_eq!(rig.writes(), 0);
}

#[test]
fn of_several_places_with_one_id_the_known_one_writes() {
    let rig = Rig::new();
    rig.file("m.md", note(&[line("One.", "blk_a", 1)]));
    rig.sync();
    rig.file("b.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("z.md", note(&[line("Another text.", "blk_a", 1)]));
    let report = rig.sync();
    assert_eq!(
        (report.count("duplicates"), report.count("warnings"), report.count("errors")),
        (2, 1, 1),
        "{report:?}"
    );
    assert_eq!(
        report.said(),
        [
            "warning: b.md:1: duplicate_id: blk_a belongs to m.md:1: the text is the same: remove one of the two",
            "error: z.md:1: duplicate_id: blk_a belongs to m.md:1: the text differs and is not in the graph: give one \
             of the two a new id",
        ]
    );
    rig.writes();
    let again = rig.sync();
    assert_eq!((again.count("duplicates"), rig.writes()), (2, 0), "{again:?}");
    // The known place lets go: the smallest path takes over.
    rig.remove("m.md");
    let report = rig.sync();
    assert_eq!((report.count("blocks_moved"), report.count("duplicates")), (1, 1), "{report:?}");
    assert_eq!(rig.home("blk_a"), "b.md");
}

#[test]
fn a_new_id_in_two_places_goes_to_the_smaller_path() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Again.", "blk_a", 1)]));
    rig.file("b.md", note(&[line("Two.", "blk_a", 1)]));
    let report = rig.sync();
    assert_eq!((report.count("blocks_new"), report.count("duplicates")), (1, 2), "{report:?}");
    assert_eq!(
        (rig.home("blk_a"), rig.node("blk_a").text.as_deref().unwrap().to_owned()),
        ("a.md".to_owned(), "One.".to_owned())
    );
    rig.writes();
    rig.sync();
    assert_eq!(rig.writes(), 0);
}

#[test]
fn a_block_is_archived_when_it_is_missing_twice_and_comes_back_when_it_returns() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    rig.sync();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    assert_eq!(rig.sync().count("blocks_missing"), 1);
    assert_eq!(rig.sync().count("blocks_archived"), 0, "two scans, but not ten minutes apart");
    rig.minutes_pass(10);
    let report = rig.sync();
    assert_eq!(
        (report.count("blocks_archived"), report.count("blocks_missing")),
        (1, 0),
        "{report:?}"
    );
    assert!(rig.node("blk_b").archived_at.is_some());
    assert_eq!(rig.sync().count("blocks_missing"), 0);
    rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    let report = rig.sync();
    assert_eq!(report.count("blocks_restored"), 1, "{report:?}");
    assert!(rig.node("blk_b").archived_at.is_none());
}

#[test]
fn a_block_that_comes_back_in_time_is_not_archived() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    rig.sync();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.sync();
    rig.file("elsewhere.md", note(&[line("Two.", "blk_b", 1)]));
    assert_eq!(rig.sync().count("blocks_moved"), 1);
    rig.minutes_pass(20);
    rig.sync();
    assert!(rig.node("blk_b").archived_at.is_none());
}

#[test]
fn many_missing_blocks_need_a_person() {
    let rig = Rig::new();
    let lines: Vec<String> =
        (0..30).map(|n| line(&format!("Text {n}."), &format!("blk_{n:02}"), 1)).collect();
    rig.file("a.md", note(&lines));
    rig.file("b.md", note(&[line("One.", "blk_b", 1)]));
    rig.sync();
    rig.remove("a.md");
    for _ in 0..3 {
        let report = rig.sync();
        assert_eq!(
            (report.count("needs_attention"), report.count("blocks_archived")),
            (1, 0),
            "{report:?}"
        );
        rig.minutes_pass(10);
    }
    let report = rig.sync_with(CONFIRMED).unwrap();
    assert_eq!(
        (report.count("blocks_archived"), report.count("needs_attention")),
        (30, 0),
        "{report:?}"
    );
    assert_eq!(rig.find("blk_b").unwrap().archived_at, None);
}

#[test]
fn confirmed_too_early_says_when_to_confirm_again() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    rig.sync();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    let report = rig.sync_with(RunOptions { explain: true, ..CONFIRMED }).unwrap();
    assert_eq!(report.count("blocks_archived"), 0);
    assert_eq!(
        report.said(),
        [
            "warning: missing blocks not archived yet: 1: two scans that lie archive_after apart must miss a block: run \
             `aclarai-scheduler run vault_sync --allow-archive` again then"
        ]
    );
    let explained = &report.explained[0];
    assert!(
        explained.starts_with("blk_b a.md: missing: gone from the vault since "),
        "{explained}"
    );
    assert!(explained.ends_with("Z, missed by 1 scan"), "{explained}");
}

#[test]
fn what_cannot_be_read_is_unknown_and_never_missing() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("b.md", note(&[line("Two.", "blk_b", 1)]));
    rig.sync();
    rig.file("a.md", b"One \xff <!-- aclarai:id=blk_a ver=1 -->\n\nA last paragraph.\n");
    for _ in 0..3 {
        let report = rig.sync();
        assert_eq!((report.count("errors"), report.count("blocks_missing")), (1, 0), "{report:?}");
        assert_eq!(report.said(), ["error: a.md: not UTF-8 at byte 4: save it as UTF-8"]);
        rig.minutes_pass(10);
    }
    assert!(rig.node("blk_a").archived_at.is_none());
}

#[test]
fn a_missing_tier_that_had_blocks_archives_nothing() {
    let mut rig = Rig::new();
    rig.tiers([Some("t1".into()), Some("t2".into()), None]);
    rig.file("t1/a.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("t2/b.md", note(&[line("Two.", "blk_b", 1)]));
    rig.sync();
    std::fs::rename(rig.path("t1"), rig.path("away")).unwrap();
    for _ in 0..3 {
        let report = rig.sync();
        assert_eq!(report.count("needs_attention"), 1, "{report:?}");
        rig.minutes_pass(10);
    }
    assert!(rig.node("blk_a").archived_at.is_none());
    std::fs::rename(rig.path("away"), rig.path("t1")).unwrap();
    let report = rig.sync();
    assert_eq!(
        (report.count("needs_attention"), report.count("blocks_unchanged")),
        (0, 2),
        "{report:?}"
    );
}

#[test]
fn an_emptied_file_is_left_alone_for_two_runs() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.sync();
    rig.file("a.md", [0; 40]);
    assert_eq!(rig.sync().count("files_deferred"), 1);
    assert_eq!(rig.sync().count("files_deferred"), 1);
    let report = rig.sync();
    assert_eq!(
        (report.count("files_deferred"), report.count("blocks_missing")),
        (0, 1),
        "{report:?}"
    );
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    assert_eq!(rig.sync().count("blocks_unchanged"), 1);
}

#[test]
fn losing_the_local_state_costs_time_and_nothing_else() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    rig.sync();
    rig.writes();
    rig.lose_local_state();
    let report = rig.sync();
    assert_eq!((report.count("blocks_unchanged"), rig.writes()), (2, 0), "{report:?}");
    // A block that went missing while nobody remembered is found by the full comparison.
    rig.lose_local_state();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    assert_eq!(rig.sync().count("blocks_missing"), 1);
    rig.minutes_pass(10);
    assert_eq!(rig.sync().count("blocks_archived"), 1);
}

#[test]
fn another_graph_is_noticed_and_filled() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.sync();
    let other = crate::graph::MemoryStore::new();
    let report = rig.sync_into(&other, RunOptions::default()).unwrap();
    assert_eq!(report.count("blocks_new"), 1, "{report:?}");
}

#[test]
fn a_full_run_repairs_what_was_changed_behind_our_back() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    rig.sync();
    rig.store.edit(|nodes| {
        nodes.remove(&BlockId::new("blk_a"));
        let node = nodes.get_mut(&BlockId::new("blk_b")).unwrap();
        node.hash = Some("f".repeat(64));
        node.body_hash = Some("f".repeat(64));
        node.version = Some(7);
    });
    assert_eq!(rig.sync().count("blocks_unchanged"), 2, "an unchanged vault asks nothing");
    let report = rig.sync_with(FULL).unwrap();
    assert_eq!((report.count("blocks_new"), report.count("blocks_updated")), (1, 1), "{report:?}");
    assert_eq!(rig.node("blk_b").version, Some(8));
}

#[test]
fn a_conflict_is_flagged_once_counted_always_and_cleared_when_settled() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 3)]));
    rig.sync();
    rig.file("a.md", note(&[line("An old text.", "blk_a", 2)]));
    let report = rig.sync();
    assert_eq!(
        (report.count("conflicts"), report.count("warnings"), report.count("blocks_updated")),
        (1, 1, 0),
        "{report:?}"
    );
    assert_eq!(rig.node("blk_a").conflict.map(|conflict| conflict.version), Some(2));
    assert_eq!(rig.node("blk_a").text.as_deref(), Some("One."));
    let again = rig.sync();
    assert_eq!((again.count("conflicts"), again.count("warnings")), (1, 0), "{again:?}");
    rig.file("a.md", note(&[line("One.", "blk_a", 3)]));
    rig.sync();
    assert_eq!(rig.node("blk_a").conflict, None);
}

#[test]
fn a_marker_that_is_behind_is_counted_in_every_run() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 3)]));
    rig.file("b.md", note(&[line("Two.", "blk_b", 1)]));
    rig.sync();
    rig.writes();
    rig.file("a.md", note(&[line("One.", "blk_a", 2)]));
    for _ in 0..3 {
        let report = rig.sync();
        let counts = ["version_behind", "files_skipped", "blocks_unchanged"];
        assert_eq!(counts.map(|name| report.count(name)), [1, 1, 2], "{report:?}");
    }
    // Moved as well, and behind still.
    rig.rename("a.md", "c.md");
    let counts = [rig.sync(), rig.sync()].map(|report| report.count("version_behind"));
    assert_eq!((counts, rig.writes()), ([1, 1], 1));
    rig.file("c.md", note(&[line("One.", "blk_a", 3)]));
    assert_eq!(rig.sync().count("version_behind"), 0);
    assert_eq!(rig.sync().count("files_skipped"), 2);
}

#[test]
fn a_node_that_keeps_changing_is_decided_again_three_times_and_then_left() {
    for (changes, conflicts) in [(3, 0), (4, 1)] {
        let rig = Rig::new();
        rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
        rig.sync();
        rig.file("a.md", note(&[line("Edited.", "blk_a", 1), line("Also edited.", "blk_b", 1)]));
        let mut left = changes;
        rig.store.meddle(Box::new(move |moment, door| {
            if matches!(moment, Step::BeforeApply(_)) && left > 0 {
                left -= 1;
                door.edit(&mut |nodes| {
                    let node = nodes.get_mut(&BlockId::new("blk_a")).unwrap();
                    node.version = node.version.map(|version| version + 10);
                });
            }
            Ok(())
        }));
        let report = rig.sync();
        assert_eq!(
            (report.count("conflicts"), report.count("blocks_updated")),
            (conflicts, 2 - conflicts),
            "{report:?}"
        );
        assert_eq!(rig.node("blk_b").text.as_deref(), Some("Also edited."));
        let known = if conflicts == 0 { "Edited." } else { "One." };
        assert_eq!(rig.node("blk_a").text.as_deref(), Some(known));
        // Left, not lost.
        rig.sync();
        assert_eq!(rig.node("blk_a").text.as_deref(), Some("Edited."));
        assert_eq!(rig.node("blk_a").version, Some(2 + 10 * changes));
    }
}

#[test]
fn write_back_brings_the_markers_up_to_the_graph_and_then_rests() {
    let mut rig = Rig::new();
    rig.settings.write_back = true;
    rig.file("a.md", note(&[line("One.", "blk_a", 3), line("Two.", "blk_b", 1)]));
    assert_eq!(rig.sync().count("written_back"), 0, "vault and graph start with the same numbers");
    rig.file("a.md", note(&[line("One.", "blk_a", 3), line("Two, edited.", "blk_b", 1)]));
    let report = rig.sync();
    assert_eq!(
        (report.count("blocks_updated"), report.count("written_back")),
        (1, 1),
        "{report:?}"
    );
    let expected = note(&[line("One.", "blk_a", 3), line("Two, edited.", "blk_b", 2)]);
    assert_eq!(std::fs::read_to_string(rig.path("a.md")).unwrap(), expected);
    rig.sync();
    rig.writes();
    let report = rig.sync();
    assert_eq!(
        (report.count("written_back"), report.count("blocks_unchanged"), rig.writes()),
        (0, 2, 0),
        "{report:?}"
    );
    assert_eq!((rig.node("blk_b").version, rig.node("blk_b").vault_version), (Some(2), Some(2)));
}

#[test]
fn write_back_waits_until_a_file_is_quiet() {
    let mut rig = Rig::new();
    rig.settings.write_back = true;
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.sync();
    rig.clock.step(chrono::TimeDelta::minutes(-60));
    rig.file("a.md", note(&[line("One, edited.", "blk_a", 1)]));
    rig.file("b.md", note(&[line("Two.", "blk_b", 1)]));
    let report = rig.sync_with(RunOptions { explain: true, ..NONE }).unwrap();
    assert_eq!(
        (report.count("blocks_updated"), report.count("written_back")),
        (1, 0),
        "{report:?}"
    );
    assert_eq!(
        report.explained.last().map(String::as_str),
        Some(
            "1 note is too young for write-back: it is brought up to date by the next run, 30 s after its last change"
        )
    );
    rig.minutes_pass(60);
    let report = rig.sync_with(RunOptions { explain: true, ..NONE }).unwrap();
    assert_eq!(report.count("written_back"), 1);
    assert!(!report.explained.iter().any(|line| line.contains("too young")), "{report:?}");
}

#[test]
fn a_vault_without_its_tiers_is_told_of() {
    let mut rig = Rig::new();
    rig.tiers([Some("one".into()), Some("two".into()), None]);
    let report = rig.sync();
    assert_eq!(
        report.said(),
        [
            "warning: no note found, and there is no folder one, two: create it, or correct paths.tier1 to paths.tier3"
        ]
    );
    // One of them is enough.
    rig.file("two/a.md", line("Text.", "blk_a", 1));
    assert!(rig.sync().faults.is_empty());
}

#[test]
fn a_sync_of_some_paths_leaves_all_others_as_they_were() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("b.md", note(&[line("Two.", "blk_b", 1)]));
    rig.file("c.md", note(&[line("Three.", "blk_c", 1)]));
    rig.sync();
    rig.file("a.md", note(&[line("One, edited.", "blk_a", 1)]));
    rig.file("b.md", note(&[line("Two, edited.", "blk_b", 1)]));
    rig.remove("c.md");
    let report = rig.sync_paths(&["a.md"]);
    assert_eq!(
        (report.count("blocks_updated"), report.count("blocks_missing")),
        (1, 0),
        "{report:?}"
    );
    let report = rig.sync();
    assert_eq!(
        (report.count("blocks_updated"), report.count("blocks_missing")),
        (1, 1),
        "{report:?}"
    );
}

#[test]
fn a_note_larger_than_a_batch_is_decided_and_written_in_slices() {
    let mut rig = Rig::new();
    rig.settings.write_back = true;
    rig.store.prefer(crate::graph::BatchSize { rows: 3, bytes: 1 << 20, at_once: 2 });
    let mut lines: Vec<String> =
        (0..20).map(|n| line(&format!("Text {n}."), &format!("blk_{n:02}"), 1)).collect();
    rig.file("a.md", note(&lines));
    assert_eq!(rig.sync().count("blocks_new"), 20);
    // One id again, slices away from its original; one gone; and an edit in two slices.
    lines[0] = line("A copy of the last one.", "blk_19", 1);
    lines[1] = line("Text 1, edited.", "blk_01", 1);
    lines[18] = line("Text 18, edited.", "blk_18", 1);
    rig.file("a.md", note(&lines));
    let report = rig.sync();
    assert_eq!(
        ["blocks_updated", "blocks_unchanged", "duplicates", "blocks_missing", "written_back"]
            .map(|name| report.count(name)),
        [2, 17, 1, 1, 2],
        "{report:?}"
    );
    assert_eq!(rig.node("blk_19").text.as_deref(), Some("Text 19."));
    // The numbers written back are taken in, and then all rests.
    rig.sync();
    rig.writes();
    rig.sync();
    assert_eq!(rig.writes(), 0);
}

#[test]
fn a_dry_run_shows_what_changes_in_a_text() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("The plan.\nWe ship on Monday.", "blk_a", 1)]));
    rig.sync();
    rig.file("a.md", note(&[line("The plan.\nWe ship on Friday.", "blk_a", 1)]));
    let store = crate::graph::DryRun::new(rig.store.clone());
    let report = rig.sync_into(&store, RunOptions { diff: true, ..DRY }).unwrap();
    assert_eq!(
        report.explained[1..],
        [
            "--- graph blk_a",
            "+++ vault a.md:2",
            "@@ -1,2 +1,2 @@",
            " The plan.",
            "-We ship on Monday.",
            "+We ship on Friday."
        ]
    );
}

#[test]
fn a_vault_with_notes_and_not_one_marker_is_told_of() {
    let rig = Rig::new();
    rig.file("a.md", "Only text.\n");
    for _ in 0..2 {
        let said = rig.sync().said();
        assert!(said[0].starts_with("warning: 1 notes and not one marker"), "{said:?}");
    }
    rig.file("b.md", note(&[line("One.", "blk_a", 1)]));
    assert!(rig.sync().said().is_empty());
}
