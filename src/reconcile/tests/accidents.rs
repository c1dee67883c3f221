//! Accidents that random histories found, each in its shortest form.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rig::{Counts, Rig};
use super::{DRY, FULL, line, note};
use crate::block::BlockId;
use crate::clock::{Clock, SystemClock};
use crate::graph::{DryRun, GraphError, GraphStore, Step};
use crate::job::RunOptions;

/// Fails the first answer to a batch: it is written, and the run ends before the local state hears of it.
fn lose_the_first_answer(rig: &Rig) {
    let mut lost = false;
    rig.store.meddle(Box::new(move |moment, _| match moment {
        Step::AfterApply(_) if !std::mem::replace(&mut lost, true) => {
            Err(GraphError::Unavailable("the server is gone".to_owned()))
        }
        _ => Ok(()),
    }));
}

#[test]
fn a_block_written_by_a_run_that_was_cut_short_is_missed_when_it_goes() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.sync();
    rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    lose_the_first_answer(&rig);
    rig.sync_with(RunOptions::default()).unwrap_err();
    // The local state never heard of the second block. It used to stay in the graph for ever.
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    assert_eq!(rig.sync().count("blocks_missing"), 1);
    rig.minutes_pass(10);
    assert_eq!(rig.sync().count("blocks_archived"), 1);
}

#[test]
fn a_restored_graph_is_compared_to_the_end_even_if_the_first_try_is_cut_short() {
    let rig = Rig::new();
    for name in ["a", "b"] {
        rig.file(&format!("{name}.md"), note(&[line("One.", &format!("blk_{name}"), 1)]));
    }
    let scope = rig.settings.vault.root.to_str().unwrap();
    rig.sync();
    // An older backup, without both blocks.
    rig.store.edit(|nodes| nodes.clear());
    rig.store.set_token(scope, "an older one").unwrap();
    lose_the_first_answer(&rig);
    rig.sync_with(RunOptions::default()).unwrap_err();
    rig.store.edit(|nodes| nodes.remove(&BlockId::new("blk_b")));
    // The second run used to trust the local state again, and to leave the rest of the graph as it was.
    assert_eq!(rig.sync().count("blocks_new"), 1);
}

#[test]
fn a_dry_run_tells_copies_from_other_texts() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("b.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("c.md", note(&[line("Another.", "blk_a", 1)]));
    // Nothing of it is in the graph yet, and it used to be compared with that.
    let foretold = rig.sync_into(&DryRun::new(rig.store.clone()), DRY).unwrap();
    assert_eq!((foretold.count("warnings"), foretold.count("errors")), (1, 1), "{foretold:?}");
    assert_eq!(foretold.faults, rig.sync().faults);
}

#[test]
fn of_two_places_the_smaller_one_writes_again_when_the_node_was_deleted() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1)]));
    rig.sync();
    rig.file("b.md", note(&[line("Two.", "blk_a", 1)]));
    rig.sync();
    rig.store.edit(|nodes| nodes.remove(&BlockId::new("blk_a")));
    // Only the second file used to be read, and its text won.
    rig.sync();
    assert_eq!(rig.home("blk_a"), "a.md");
    assert_eq!(rig.node("blk_a").text.as_deref(), Some("One."));
}

#[test]
fn the_guard_counts_each_live_block_once() {
    let rig = Rig::new();
    let lines = |name: &str, count: usize| -> Vec<String> {
        (0..count).map(|n| line("Text.", &format!("blk_{name}{n:03}"), 1)).collect()
    };
    // 25 of 225 are more than a tenth. In a full run the others used to be counted twice.
    rig.file("gone.md", note(&lines("g", 25)));
    rig.file("left.md", note(&lines("l", 200)));
    rig.sync();
    rig.remove("gone.md");
    for _ in 0..2 {
        rig.minutes_pass(10);
        let report = rig.sync_with(FULL).unwrap();
        assert_eq!((report.count("needs_attention"), report.count("blocks_archived")), (1, 0));
        assert!(report.said()[0].contains("25 of 225 blocks"), "{:?}", report.faults);
    }
}

/// A vault of two tiers, synced, and then its graph replaced by an older one that knows only `clm_old`, which the vault
/// no longer has, while the second tier is away.
fn an_older_graph_while_a_tier_is_away() -> Rig {
    let mut rig = Rig::new();
    rig.tiers([Some("t1".into()), Some("t2".into()), None]);
    rig.file("t1/a.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("t2/b.md", note(&[line("Two.", "clm_b", 1), line("Old.", "clm_old", 1)]));
    rig.sync();
    let old = rig.node("clm_old");
    rig.file("t2/b.md", note(&[line("Two.", "clm_b", 1)]));
    rig.sync();
    rig.minutes_pass(10);
    assert_eq!(rig.sync().count("blocks_archived"), 1);
    rig.store.edit(|nodes| *nodes = [(BlockId::new("clm_old"), old)].into());
    let scope = rig.settings.vault.root.to_str().unwrap();
    rig.store.set_token(scope, "an older one").unwrap();
    std::fs::rename(rig.path("t2"), rig.path(".t2")).unwrap();
    assert_eq!(rig.sync().count("blocks_new"), 1);
    std::fs::rename(rig.path(".t2"), rig.path("t2")).unwrap();
    rig
}

#[test]
fn what_a_full_comparison_could_not_see_is_compared_later() {
    let rig = an_older_graph_while_a_tier_is_away();
    // The file is as it was, and used to be skipped: its block never came to the graph.
    assert_eq!(rig.sync().count("blocks_new"), 1);
    assert_eq!(rig.home("clm_b"), "t2/b.md");
}

#[test]
fn a_block_that_may_have_been_out_of_sight_is_looked_for_again() {
    let rig = an_older_graph_while_a_tier_is_away();
    // Two scans that could see its place must miss it, ten minutes apart; the one that could not does not count. It
    // used to stay in the graph for ever.
    rig.minutes_pass(10);
    for _ in 0..2 {
        let report = rig.sync();
        let counts = (report.count("blocks_archived"), report.count("blocks_missing"));
        assert_eq!(counts, (0, 1), "{report:?}");
    }
    rig.minutes_pass(10);
    assert_eq!(rig.sync().count("blocks_archived"), 1);
}

#[test]
fn a_scan_without_one_of_the_tiers_counts_no_block_as_missing() {
    let mut rig = Rig::new();
    rig.tiers([Some("t1".into()), Some("t2".into()), None]);
    rig.file("t1/a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    rig.file("t2/b.md", note(&[line("Three.", "clm_c", 1)]));
    rig.sync();
    // The block has moved to a file of the tier that is away.
    rig.file("t1/a.md", note(&[line("One.", "blk_a", 1)]));
    std::fs::rename(rig.path("t2"), rig.path("away")).unwrap();
    for _ in 0..2 {
        rig.sync();
        rig.minutes_pass(10);
    }
    std::fs::rename(rig.path("away"), rig.path("t2")).unwrap();
    assert_eq!(rig.sync().count("blocks_archived"), 0, "the first complete scan");
    rig.minutes_pass(10);
    assert_eq!(rig.sync().count("blocks_archived"), 1);
}

#[test]
fn a_tier_without_blocks_may_go() {
    let mut rig = Rig::new();
    rig.tiers([Some("t1".into()), Some("t2".into()), None]);
    rig.file("t1/a.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("t2/plain.md", "No block.\n");
    rig.sync();
    std::fs::remove_dir_all(rig.path("t2")).unwrap();
    let report = rig.sync();
    assert_eq!((report.count("needs_attention"), report.count("errors")), (0, 0), "{report:?}");
}

#[test]
fn a_block_of_a_file_that_was_emptied_while_all_was_compared_is_missed_later() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1)]));
    // The block comes to the graph, but the local state never hears of its file.
    lose_the_first_answer(&rig);
    rig.sync_with(RunOptions::default()).unwrap_err();
    // Young, so it is looked at twice; between the two looks somebody empties it.
    let path = rig.path("a.md");
    let now = std::time::SystemTime::from(rig.clock.now());
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(now).unwrap();
    rig.file("b.md", note(&[line("Three.", "blk_c", 1)]));
    rig.store.meddle(Box::new(move |moment, _| {
        if matches!(moment, Step::BeforeApply(_)) {
            std::fs::write(&path, "").unwrap();
        }
        Ok(())
    }));
    let report = rig.sync();
    assert_eq!(report.count("files_deferred"), 1, "{report:?}");
    rig.store.meddle(Box::new(|_, _| Ok(())));
    for _ in 0..4 {
        rig.minutes_pass(60);
        rig.sync();
    }
    // It used to stay in the graph for ever.
    assert!(rig.node("blk_a").archived_at.is_some());
}

/// A note in three parts, cut off behind the second marker as by a writer that pauses.
fn torn() -> (String, String) {
    let whole =
        note(&[line("One.", "blk_a", 1), line("Two.", "blk_b", 1), line("Three.", "blk_c", 1)]);
    let end = whole.find("blk_c").unwrap();
    let cut = whole[..end].rfind("-->").unwrap() + 3;
    (whole[..cut].to_owned(), whole)
}

#[test]
fn a_writer_that_pauses_is_waited_for() {
    let mut rig = Rig::new();
    let (prefix, whole) = torn();
    rig.file("a.md", &whole);
    rig.sync();
    rig.writes();
    // The note is as young as it can be.
    rig.clock.step(chrono::TimeDelta::minutes(-60));
    rig.file("a.md", prefix);
    let (path, text) = (rig.path("a.md"), whole);
    let written = AtomicU64::new(0);
    rig.while_waiting = Arc::new(move || {
        if written.fetch_add(1, Ordering::Relaxed) == 0 {
            std::fs::write(&path, &text).unwrap();
        }
    });
    let report = rig.sync();
    assert_eq!(
        (report.count("blocks_unchanged"), report.count("blocks_missing"), rig.writes()),
        (3, 0, 0),
        "{report:?}"
    );
}

#[test]
fn a_note_that_is_still_being_written_is_left_to_the_next_run() {
    let mut rig = Rig::new();
    rig.clock.step(chrono::TimeDelta::minutes(-60));
    let waits = Arc::new(AtomicU64::new(0));
    let (path, counted) = (rig.path("a.md"), Arc::clone(&waits));
    rig.file("a.md", line("One", "blk_a", 1));
    rig.while_waiting = Arc::new(move || {
        let round = counted.fetch_add(1, Ordering::Relaxed);
        // Its times lie ahead of the clock: it was changed a moment ago, whenever it is looked at.
        std::fs::write(&path, line(&format!("One {round}"), "blk_a", 1)).unwrap();
        let later =
            std::time::SystemTime::from(SystemClock.now()) + std::time::Duration::from_secs(600);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    });
    let report = rig.sync();
    assert_eq!((report.count("files_deferred"), report.count("blocks_new")), (1, 0), "{report:?}");
    assert_eq!(
        report.faults[0].to_string(),
        "warning: a.md: left to the next run: it changed again during the run"
    );
    // Two seconds in all, a second at a time.
    assert_eq!(waits.load(Ordering::Relaxed), 2);
}

#[test]
fn a_note_that_was_renamed_into_its_place_is_not_waited_for() {
    let mut rig = Rig::new();
    rig.clock.step(chrono::TimeDelta::minutes(-60));
    rig.file("other", line("One.", "blk_a", 1));
    let hour_ago =
        std::time::SystemTime::from(SystemClock.now()) - std::time::Duration::from_secs(3_600);
    std::fs::File::options()
        .write(true)
        .open(rig.path("other"))
        .unwrap()
        .set_modified(hour_ago)
        .unwrap();
    rig.rename("other", "a.md");
    rig.while_waiting = Arc::new(|| panic!("no wait is due"));
    assert_eq!(rig.sync().count("blocks_new"), 1);
}

#[test]
fn an_unresolved_merge_is_left_alone_until_it_is_resolved() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("We ship on Monday.", "blk_a", 1)]));
    rig.sync();
    rig.writes();
    let sides =
        "<<<<<<< HEAD\nWe ship on Tuesday.\n=======\nWe ship on Friday.\n>>>>>>> origin/main\n";
    let marker = "<!-- aclarai:id=blk_a ver=1 -->\n\nClosing words, long enough.\n";
    rig.file("a.md", format!("Before.\n{sides}{marker}"));
    for _ in 0..2 {
        let report = rig.sync();
        assert_eq!(
            (report.count("merge_conflicts"), report.count("files_deferred"), rig.writes()),
            (1, 1, 0),
            "{report:?}"
        );
        assert_eq!(
            report.faults[0].to_string(),
            "warning: a.md: left to the next run: line 2: an unresolved merge: resolve it, and remove the lines with \
             <<<<<<< and >>>>>>>"
        );
        rig.minutes_pass(60);
    }
    assert_eq!(rig.node("blk_a").text.as_deref(), Some("We ship on Monday."));
    rig.file("a.md", format!("We ship on Friday.\n{marker}"));
    let report = rig.sync();
    assert_eq!((report.count("blocks_updated"), report.count("merge_conflicts")), (1, 0));
}

#[test]
fn notes_that_are_left_out_from_now_on_count_as_missing() {
    let mut rig = Rig::new();
    rig.file("a.md", line("One.", "blk_a", 1));
    rig.file("templates/t.md", line("Two.", "blk_t", 1));
    rig.sync();
    rig.settings.ignore.patterns = vec!["templates/".to_owned()];
    let report = rig.sync();
    assert_eq!(
        (
            report.count("files_ignored"),
            report.count("files_scanned"),
            report.count("blocks_missing")
        ),
        (1, 1, 1),
        "{report:?}"
    );
    assert_eq!(
        report.faults[0].to_string(),
        "warning: this run scans the whole vault without `templates/`; the run before scanned the whole vault"
    );
    // Said once.
    assert!(rig.sync().faults.is_empty());
    let explained =
        rig.sync_with(RunOptions { explain: true, ..RunOptions::default() }).unwrap().explained;
    assert!(
        explained.iter().any(|line| line
            .contains("blk_t templates/t.md: missing: left out by `templates/` of ignore")),
        "{explained:?}"
    );
    rig.settings.ignore.patterns.clear();
    let report = rig.sync();
    assert_eq!((report.count("files_ignored"), report.count("blocks_missing")), (0, 0));
}
