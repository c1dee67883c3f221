use super::*;

/// Each line: a name, and the note that it is a copy of.
const COPIES: &[(&str, &str)] = &[
    // Syncthing
    ("plan.sync-conflict-20260824-101112-ABCDEFG.md", "plan.md"),
    (
        "plan.sync-conflict-20260824-101112-ABCDEFG.sync-conflict-20260825-101112-HIJKLMN.md",
        "plan.md",
    ),
    ("~syncthing~plan.md.tmp", "plan.md"),
    // Nextcloud, Obsidian Sync
    ("plan (conflicted copy 2026-08-24 101112).md", "plan.md"),
    ("plan (Conflicted copy laptop 202608241011).md", "plan.md"),
    ("PLAN (CONFLICTED COPY PC 1).MD", "PLAN.MD"),
    // Dropbox
    ("plan (Ann's conflicted copy 2026-08-24).md", "plan.md"),
    ("plan (v2) (Ann\u{2019}s conflicted copy 2026-08-24).md", "plan (v2).md"),
    ("plan (Ann's conflicted copy 2026-08-24 (1)).md", "plan.md"),
    ("plan (Anns Konfliktkopie 2026-08-24).md", "plan.md"),
    ("plan (In Konflikt stehende Kopie von Ann 2026-08-24).md", "plan.md"),
    ("plan (Copie en conflit de Ann 2026-08-24).md", "plan.md"),
    ("plan (Copia en conflicto de Ann 2026-08-24).md", "plan.md"),
    ("plan (Copia in conflitto di Ann 2026-08-24).md", "plan.md"),
    ("plan (Conflicterende kopie van Ann 2026-08-24).md", "plan.md"),
    ("plan (C\u{f3}pia em conflito de Ann 2026-08-24).md", "plan.md"),
    ("plan (Co\u{301}pia em conflito de Ann 2026-08-24).md", "plan.md"),
    ("plan (Kopia powoduj\u{105}ca konflikt Ann 2026-08-24).md", "plan.md"),
    ("plan (Anns motstridiga kopia 2026-08-24).md", "plan.md"),
    ("plan (Ann's competing copy 2026-08-24).md", "plan.md"),
    ("plan (\u{43a}онфликтующая копия с компьютера Ann 2026-08-24).md", "plan.md"),
    ("plan (Ann の競合コピー 2026-08-24).md", "plan.md"),
    ("plan (Ann 的冲突副本 2026-08-24).md", "plan.md"),
    ("plan (Case Conflict).md", "plan.md"),
    ("plan (Case Conflict 1).md", "plan.md"),
    ("plan (Ann's case conflict 2026-08-24).md", "plan.md"),
    ("plan (Unicode Encoding Conflict).md", "plan.md"),
    // OneDrive and its clients
    ("plan (conflict 2026-08-24 10-11-12).md", "plan.md"),
    ("plan-safeBackup-0001.md", "plan.md"),
    ("plan-laptop-safeBackup-0001.md", "plan-laptop.md"),
    // FSNotes
    ("plan (CONFLICT 20260824T101112).md", "plan.md"),
    // ownCloud
    ("plan (Conflict ann 2026-08-24 101112).md", "plan.md"),
    ("plan_conflict-20260824-101112.md", "plan.md"),
    ("plan.md_conflict-20260824-101112", "plan.md"),
    // Seafile
    ("plan (SFConflict ann@example.org 2026-08-24-10-11-12).md", "plan.md"),
    // Resilio
    ("plan.Conflict.md", "plan.md"),
    // rclone, Unison
    ("plan.conflict1.md", "plan.md"),
    ("plan.conflict12.md", "plan.md"),
    ("plan.md.conflict2", "plan.md"),
    ("plan.md..path1", "plan.md"),
    ("plan (copy: conflict 2 on 2026-08-24).md", "plan.md"),
    // pCloud, Synology, Proton
    ("plan [conflicted].md", "plan.md"),
    ("plan [conflicted] 2.md", "plan.md"),
    ("plan_NAS_Aug-24-101112-2026_Conflict.md", "plan.md"),
    ("plan (# Edit conflict 2026-08-24 aBcDeF #).md", "plan.md"),
    ("plan # Name clash 2026-08-24 aBcDeF #.md", "plan.md"),
    // git
    ("plan.BASE.1234.md", "plan.md"),
    ("plan.LOCAL.1234.md", "plan.md"),
    ("plan.REMOTE.1234.md", "plan.md"),
    ("plan.BACKUP.1234.md", "plan.md"),
    ("plan_BASE_1234.md", "plan.md"),
    ("plan_LOCAL_1234.md", "plan.md"),
    ("plan_REMOTE_1234.md", "plan.md"),
    ("plan_BACKUP_1234.md", "plan.md"),
    ("plan~HEAD.md", "plan.md"),
    ("plan.md~HEAD", "plan.md"),
    ("plan.md.orig", "plan.md"),
    ("plan.orig.md", "plan.md"),
    // Editors
    ("plan.tmp.md", "plan.md"),
    ("plan.md.tmp", "plan.md"),
    ("plan~.md", "plan.md"),
    ("plan.md~", "plan.md"),
    ("plan.md.~3~", "plan.md"),
    ("#plan.md#", "plan.md"),
    ("#plan#.md", "plan.md"),
    (".#plan.md", "plan.md"),
    ("~$plan.md", "plan.md"),
    (".~lock.plan.md#", "plan.md"),
];

const NOTES: &[&str] = &[
    "plan.md",
    "plan 2.md",
    "plan-LAPTOP.md",
    "plan (1).md",
    "plan (conflicted).md",
    "plan.conflict.md",
    "plan (conflict of interest).md",
    "conflict.md",
    "conflicted copy.md",
    "How Dropbox names a conflicted copy.md",
    "sync-conflict.md",
    "The base of it.LOCAL.md",
    "notes_local_3.md",
    "C# and F#.md",
    "#tag.md",
    "~approximately.md",
    "Ann's plan.md",
    "template.md",
    "2026-08-24.md",
    "[draft] plan.md",
    "a.b.c.md",
    ".md",
];

#[test]
fn copies_of_all_programs_are_known_by_their_names() {
    assert!(COPIES.len() > 60);
    for (name, of) in COPIES {
        let copy = copy_by_name(name.as_bytes()).map(|copy| copy.of);
        assert_eq!(copy, Some(Some(of.as_bytes().to_vec())), "{name}");
    }
    for name in NOTES {
        assert_eq!(copy_by_name(name.as_bytes()), None, "{name}");
    }
}

#[test]
fn a_copy_says_whether_a_person_has_to_merge_it() {
    for (name, is_conflict) in [
        ("plan.sync-conflict-20260824-101112-ABCDEFG.md", true),
        ("plan_LOCAL_1234.md", true),
        ("plan.md.tmp", false),
        ("#plan.md#", false),
    ] {
        assert_eq!(copy_by_name(name.as_bytes()).unwrap().is_conflict, is_conflict, "{name}");
    }
    // A name that is nothing but what a program adds is of no note.
    assert_eq!(copy_by_name(b"(conflicted copy).md").unwrap().of, None);
    assert_eq!(copy_by_name(b"\xff (Case Conflict).md").unwrap().of, Some(b"\xff.md".to_vec()));
}

#[test]
fn a_likely_copy_names_the_note_it_may_be_a_copy_of() {
    for (stem, of) in [
        ("plan 2", &["plan"][..]),
        ("plan_2", &["plan"]),
        ("plan(1)", &["plan"]),
        ("plan (1)", &["plan"]),
        ("plan copy", &["plan"]),
        ("plan copy 2", &["plan copy", "plan"]),
        ("plan (copy)", &["plan"]),
        ("plan (copy 3)", &["plan"]),
        ("plan (3rd copy)", &["plan"]),
        ("plan - Copy", &["plan -", "plan"]),
        ("plan - Copy (2)", &["plan - Copy", "plan"]),
        ("Copy of plan", &["plan"]),
        ("plan - Kopie", &["plan -", "plan"]),
        ("plan Kopie 2", &["plan Kopie", "plan"]),
        ("plan - C\u{f3}pia", &["plan"]),
        ("planのコピー", &["plan"]),
        ("plan-MYHOST", &["plan"]),
        ("plan-my-host", &["plan-my", "plan"]),
        ("2026-08-24", &["2026-08", "2026"]),
        ("plan", &[]),
        ("plan b", &[]),
        ("2", &[]),
        (" 2", &[]),
        ("-x", &[]),
        ("photocopy", &[]),
    ] {
        assert_eq!(likely_copy_of(stem), of, "{stem}");
    }
}

#[test]
fn a_place_holder_names_its_note() {
    assert_eq!(placeholder_of(b".plan.md.icloud"), Some(&b"plan.md"[..]));
    for name in ["plan.md.icloud", ".plan.png.icloud", ".plan.md"] {
        assert_eq!(placeholder_of(name.as_bytes()), None, "{name}");
    }
}

#[test]
fn each_line_of_the_tables_is_used_and_has_a_source() {
    let tables = [CONFLICTS, LEFT_OVERS, LIKELY];
    for rule in tables.into_iter().flatten() {
        let stars = rule.pattern.bytes().filter(|byte| *byte == b'*').count();
        assert!(rule.pattern.starts_with('*') || stars == 1, "{}", rule.pattern);
        assert!(!rule.source.is_empty(), "{}", rule.pattern);
    }
}

#[test]
fn a_long_name_takes_no_longer_than_it_is_long() {
    // Stars that were tried one inside another would not come to an end.
    let name = format!("{}.md", "(conflict 2026-_-".repeat(15_000));
    assert_eq!(copy_by_name(name.as_bytes()), None);
}

#[test]
fn the_quick_looks_let_each_row_of_the_tables_through_and_few_other_names() {
    for rule in CONFLICTS.iter().chain(LEFT_OVERS) {
        let name = rule.pattern.replace("9+", "1").replace('9', "1").replace('*', "x");
        assert!(may_match(name.as_bytes()), "{name}");
        assert!(may_match(name.to_uppercase().as_bytes()), "{name}");
    }
    for rule in LIKELY {
        let name = rule.pattern.replace("9+", "1").replace('9', "1").replace('*', "x");
        assert!(may_be_likely(name.as_bytes()), "{name}");
        assert!(may_be_likely(name.to_uppercase().as_bytes()), "{name}");
    }
    assert!(!may_be_likely(b"about_Arrays") && !may_be_likely(b"a"));
    let others = [
        "about_Comparison",
        "Get-Service",
        "Microsoft.PowerShell.Utility",
        "2024-05-01 Plan",
        "a_b.c",
    ];
    for name in others {
        assert!(!may_match(name.as_bytes()), "{name}");
    }
}
