//! One id in several places: which of them owns it.

use super::rig::{Counts, Rig};
use super::{DRY, line, note};
use crate::graph::DryRun;

fn text(rig: &Rig, id: &str) -> String {
    rig.node(id).text.unwrap()
}

#[test]
fn a_note_renamed_beside_an_older_copy_keeps_its_blocks() {
    let rig = Rig::new();
    rig.file("plan.md", note(&[line("Friday.", "blk_p", 1)]));
    rig.sync();
    rig.file("backup plan.md", note(&[line("Monday.", "blk_p", 1)]));
    assert_eq!(rig.sync().count("duplicates"), 1);
    for name in ["project plan.md", "a plan.md"] {
        let before = if name == "a plan.md" { "project plan.md" } else { "plan.md" };
        rig.rename(before, name);
        let foretold = rig.sync_into(&DryRun::new(rig.store.clone()), DRY).unwrap();
        let report = rig.sync();
        assert_eq!(
            (
                report.count("blocks_moved"),
                report.count("duplicates"),
                report.count("blocks_updated")
            ),
            (1, 1, 0),
            "{report:?}"
        );
        assert_eq!(foretold.stats, report.stats);
        assert_eq!(
            (rig.home("blk_p"), text(&rig, "blk_p")),
            (name.to_owned(), "Friday.".to_owned())
        );
        rig.writes();
        let again = rig.sync();
        assert_eq!((rig.writes(), again.count("duplicates")), (0, 1), "{again:?}");
    }
}

#[test]
fn a_copy_pasted_above_its_original_does_not_take_its_id() {
    let rig = Rig::new();
    rig.file("a.md", note(&[line("Other.", "blk_o", 1), line("New text.", "blk_p", 1)]));
    rig.sync();
    rig.file(
        "a.md",
        note(&[
            line("Old text.", "blk_p", 1),
            line("Other.", "blk_o", 1),
            line("New text.", "blk_p", 1),
        ]),
    );
    rig.writes();
    let report = rig.sync();
    assert_eq!((report.count("duplicates"), rig.writes()), (1, 0), "{report:?}");
    assert_eq!(
        report.said(),
        [
            "error: a.md:1: duplicate_id: blk_p belongs to a.md:5: the text differs and is not in the graph: give one of \
             the two a new id"
        ]
    );
    assert_eq!(text(&rig, "blk_p"), "New text.");
}

#[test]
fn the_plain_name_comes_before_its_likely_copies() {
    for copy in ["plan 2.md", "plan_2.md", "plan (1).md", "plan - Copy.md", "plan-MYHOST.md"] {
        let rig = Rig::new();
        rig.file("plan.md", note(&[line("The plan, right.", "blk_p", 1)]));
        rig.file(copy, note(&[line("The plan, stale.", "blk_p", 1)]));
        let report = rig.sync();
        assert_eq!(rig.home("blk_p"), "plan.md", "{copy}");
        assert_eq!(
            (report.count("likely_copies"), report.count("duplicates")),
            (1, 1),
            "{copy}: {report:?}"
        );
        let said = report.said();
        assert!(
            said.iter().any(|line| line.starts_with(&format!("warning: {copy}: likely_copy"))),
            "{said:?}"
        );
        rig.writes();
        rig.sync();
        assert_eq!(rig.writes(), 0, "{copy}");
    }
}

#[test]
fn a_numbered_note_that_shares_nothing_is_a_note_of_its_own() {
    let rig = Rig::new();
    rig.file("chapter.md", note(&[line("One.", "blk_a", 1)]));
    rig.file("chapter 2.md", note(&[line("Two.", "blk_b", 1)]));
    let report = rig.sync();
    assert_eq!((report.count("blocks_new"), report.count("likely_copies")), (2, 0), "{report:?}");
    assert_eq!(rig.sync().count("files_skipped"), 2);
}

#[test]
fn an_edit_that_also_moves_is_written_when_no_other_place_has_the_text() {
    let rig = Rig::new();
    rig.file("z.md", note(&[line("One.", "blk_a", 1)]));
    rig.sync();
    rig.remove("z.md");
    rig.file("m.md", note(&[line("One, edited.", "blk_a", 1)]));
    let report = rig.sync();
    assert_eq!(
        (report.count("blocks_updated"), report.count("files_deferred")),
        (1, 0),
        "{report:?}"
    );
    assert_eq!(rig.home("blk_a"), "m.md");
    // Nothing is left open about the note: the next run skips it.
    assert_eq!(rig.sync().count("files_skipped"), 1);
}

#[test]
fn a_marker_in_a_code_fence_loses_its_id_to_a_real_note_whoever_was_first() {
    let howto = "# How to mark\n\n```markdown\nSome text <!-- aclarai:id=blk_a ver=1 -->\n```\n\nClosing words.\n";
    for howto_is_first in [true, false] {
        let rig = Rig::new();
        rig.file("howto.md", howto);
        if howto_is_first {
            assert_eq!(rig.sync().count("blocks_new"), 1);
            assert_eq!(rig.sync().count("files_skipped"), 1, "nothing is left open about it");
        }
        rig.file("z.md", note(&[line("The real claim.", "blk_a", 1)]));
        let report = rig.sync();
        assert_eq!(report.count("duplicates"), 1, "{report:?}");
        assert_eq!(
            (rig.home("blk_a"), text(&rig, "blk_a")),
            ("z.md".to_owned(), "The real claim.".to_owned())
        );
        rig.writes();
        rig.sync();
        assert_eq!(rig.writes(), 0);
    }
}
