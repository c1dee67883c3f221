//! Guards that keep missing blocks from being archived.

use std::fs;

use chrono::TimeDelta;
use rusqlite::Connection;

use super::rig::{Counts, Rig};
use super::{CONFIRMED, line, note};
use crate::clock::Clock;
use crate::job::RunOptions;

/// A vault with so many notes of one block each, synced, and a note without one.
fn notes(count: usize) -> Rig {
    let rig = Rig::new();
    for n in 0..count {
        rig.file(&format!("n{n}.md"), note(&[line("Text.", &format!("blk_{n}"), 1)]));
    }
    rig.file("README.md", "No marker here.\n");
    rig.sync();
    rig
}

fn archived(rig: &Rig, count: usize) -> usize {
    (0..count).filter(|n| rig.node(&format!("blk_{n}")).archived_at.is_some()).count()
}

#[test]
fn more_than_half_of_a_small_vault_does_not_go_without_a_person() {
    for (count, gone, expected) in [(15, 15, 0), (15, 8, 0), (15, 7, 7), (3, 3, 3), (4, 4, 0)] {
        let rig = notes(count);
        (0..gone).for_each(|n| rig.remove(&format!("n{n}.md")));
        let mut reports = vec![rig.sync()];
        rig.minutes_pass(10);
        reports.push(rig.sync());
        let attention = u64::from(expected == 0);
        for report in reports {
            assert_eq!(report.count("needs_attention"), attention, "{gone} of {count}: {report:?}");
        }
        assert_eq!(archived(&rig, count), expected, "{gone} of {count}");
        rig.sync_with(CONFIRMED).unwrap();
        assert_eq!(archived(&rig, count), gone, "{gone} of {count}");
    }
}

#[test]
fn blocks_of_a_folder_that_turned_empty_wait_for_a_day() {
    let rig = notes(10);
    for deep in ["work", "home/deep/er"] {
        rig.file(&format!("{deep}/w.md"), note(&[line("Text.", "blk_w", 1)]));
        rig.sync();
        let top = deep.split('/').next().unwrap();
        fs::remove_dir_all(rig.path(top)).unwrap();
        // As a mount point without its mount.
        fs::create_dir(rig.path(top)).unwrap();
        for _ in 0..3 {
            let report = rig.sync();
            let counts = (report.count("needs_attention"), report.count("blocks_archived"));
            assert_eq!(counts, (1, 0), "{deep}: {report:?}");
            assert!(report.said()[0].contains("its folder is empty"), "{report:?}");
            rig.minutes_pass(60);
        }
        rig.minutes_pass(24 * 60);
        assert_eq!(rig.sync().count("blocks_archived"), 1, "{deep}");
    }
}

#[test]
fn a_confirmed_run_need_not_wait_for_a_day() {
    let rig = notes(10);
    rig.file("work/w.md", note(&[line("Text.", "blk_w", 1)]));
    rig.sync();
    rig.remove("work/w.md");
    rig.sync();
    rig.minutes_pass(10);
    assert_eq!(rig.sync_with(CONFIRMED).unwrap().count("blocks_archived"), 1);
}

#[test]
fn a_note_that_a_sync_program_has_taken_to_its_server_is_not_missing() {
    let rig = notes(10);
    rig.remove("n1.md");
    for holder in [".n1.md.icloud", "n1.md.nextcloud", "n1.md.owncloud"] {
        rig.file(holder, "bplist00");
        for _ in 0..3 {
            let report = rig.sync();
            assert_eq!((report.count("blocks_missing"), report.count("blocks_archived")), (0, 0));
            let begin =
                format!("warning: 1 place holders of notes that lie on a server, such as {holder}");
            assert!(report.said()[0].starts_with(&begin), "{:?}", report.faults);
            rig.minutes_pass(60);
        }
        fs::remove_file(rig.path(holder)).unwrap();
    }
    rig.sync();
    rig.minutes_pass(10);
    assert_eq!(rig.sync().count("blocks_archived"), 1);
}

#[test]
fn a_note_of_which_only_a_conflict_copy_is_left_is_not_missing() {
    let rig = notes(10);
    let copy = "n1.sync-conflict-20260101-120000-ABCDEFG.md";
    rig.rename("n1.md", copy);
    for _ in 0..3 {
        let report = rig.sync();
        assert_eq!((report.count("blocks_missing"), report.count("blocks_archived")), (0, 0));
        let said = report.said();
        assert!(said[0].contains("rename the copy to n1.md"), "{said:?}");
        rig.minutes_pass(60);
    }
    rig.rename(copy, "n1.md");
    assert_eq!(rig.sync().count("blocks_unchanged"), 10);
}

#[test]
fn a_note_of_which_only_an_editors_backup_is_left_is_not_missing() {
    let rig = notes(10);
    for backup in ["n1.md~", "n1.md.orig", "#n1.md#", "n1.md.tmp"] {
        rig.file("n2.md~", "The backup of a note that is there is nobody's business.\n");
        rig.rename("n1.md", backup);
        for _ in 0..3 {
            let report = rig.sync();
            assert_eq!((report.count("blocks_missing"), report.count("blocks_archived")), (0, 0));
            let said = format!(
                "warning: {backup}: an editor's backup is all that is left of n1.md: rename it to n1.md, or remove it if \
                 the note was meant to go"
            );
            assert_eq!(report.said(), [said]);
            rig.minutes_pass(60);
        }
        rig.rename(backup, "n1.md");
        let report = rig.sync();
        assert!(report.count("blocks_unchanged") == 10 && report.faults.is_empty(), "{report:?}");
    }
    rig.remove("n1.md");
    rig.sync();
    rig.minutes_pass(10);
    assert_eq!(rig.sync().count("blocks_archived"), 1);
}

#[test]
fn a_clock_that_jumps_archives_nothing() {
    let rig = notes(10);
    rig.remove("n1.md");
    rig.sync();
    // The clock is set; the machine has been up for seconds only.
    rig.clock.step(TimeDelta::days(20_000));
    assert_eq!(rig.sync().count("blocks_archived"), 0);
    rig.minutes_pass(10);
    assert_eq!(rig.sync().count("blocks_archived"), 1);
}

#[test]
fn a_block_first_missed_in_the_future_counts_as_missed_now_and_that_is_said() {
    let rig = notes(10);
    rig.clock.step(TimeDelta::days(20_000));
    rig.remove("n1.md");
    rig.sync();
    rig.clock.step(TimeDelta::days(-20_000));
    rig.minutes_pass(10);
    let report = rig.sync();
    let said = report.said();
    assert!(said.iter().any(|line| line.contains("a time that has not come yet")), "{said:?}");
    assert_eq!(report.count("blocks_archived"), 0);
    rig.minutes_pass(10);
    let report = rig.sync();
    assert_eq!(report.count("blocks_archived"), 1, "{report:?}");
}

#[test]
fn a_machine_started_anew_between_two_scans_needs_a_third() {
    let rig = notes(10);
    rig.remove("n1.md");
    let reboot = || {
        let state = Connection::open(rig.dir.path().join("state/state.db")).unwrap();
        state.execute("UPDATE missing_blocks SET boot = 'another one'", []).unwrap();
    };
    rig.sync();
    reboot();
    rig.minutes_pass(60);
    assert_eq!(rig.sync().count("blocks_archived"), 0);
    reboot();
    rig.minutes_pass(60);
    assert_eq!(rig.sync().count("blocks_archived"), 1);
    assert!(rig.clock.now() > chrono::DateTime::UNIX_EPOCH);
}

/// Another vault beside the one of the rig, on the same state folder and graph.
fn another_vault(rig: &mut Rig, ids: &[&str]) {
    let root = rig.dir.path().join("another");
    fs::create_dir_all(&root).unwrap();
    rig.settings.vault.root = root;
    for id in ids {
        rig.file(&format!("{id}.md"), note(&[line("Another text.", id, 1)]));
    }
}

#[test]
fn another_vault_on_the_same_state_or_graph_writes_nothing_until_it_is_accepted() {
    for state_is_lost in [false, true] {
        let mut rig = notes(10);
        let before = rig.store.edit(|nodes| nodes.clone());
        if state_is_lost {
            rig.lose_local_state();
        }
        let known = rig.settings.vault.clone();
        another_vault(&mut rig, &["blk_1", "blk_2", "blk_x", "blk_y"]);
        rig.writes();
        for _ in 0..2 {
            let report = rig.sync();
            let counts = (report.count("needs_attention"), report.count("errors"), rig.writes());
            assert_eq!(counts, (1, 1, 0), "{report:?}");
            assert!(report.said()[0].contains("--accept-vault"), "{report:?}");
        }
        assert_eq!(rig.store.edit(|nodes| nodes.clone()), before);
        if !state_is_lost {
            let other = std::mem::replace(&mut rig.settings.vault, known);
            assert_eq!(rig.sync().count("files_skipped"), 11, "nothing was forgotten");
            rig.settings.vault = other;
        }
        let accepted = RunOptions { accept_vault: true, ..RunOptions::default() };
        assert_eq!(rig.sync_with(accepted).unwrap().count("blocks_new"), 2);
        assert_eq!(rig.sync().count("files_skipped"), 4, "accepted once, it is the known one");
    }
}

#[test]
fn a_vault_that_was_moved_is_the_same_vault() {
    let mut rig = notes(10);
    let moved = rig.dir.path().join("moved");
    fs::rename(rig.path(""), &moved).unwrap();
    rig.settings.vault.root = moved;
    rig.remove("n1.md");
    let report = rig.sync();
    assert_eq!((report.count("blocks_moved"), report.count("errors")), (9, 0), "{report:?}");
}
