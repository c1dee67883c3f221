use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::stop::{Stop, after_looks};

/// A vault in a temporary folder with these files, each holding its own path.
fn vault(files: &[&str]) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    for file in files {
        let path = temp.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    temp
}

fn config(vault: &TempDir, tiers: [Option<&str>; 3]) -> VaultConfig {
    VaultConfig {
        root: vault.path().to_owned(),
        tiers: tiers.map(|tier| tier.map(PathBuf::from)),
        whole: false,
    }
}

fn listing(vault: &TempDir, tiers: [Option<&str>; 3], follow_links: bool) -> Listing {
    let options = WalkOptions { follow_links, threads: 2, ..WalkOptions::default() };
    list(&config(vault, tiers), &options, &Stop::new()).unwrap()
}

fn shown(paths: &[VaultPath]) -> Vec<String> {
    paths.iter().map(VaultPath::to_string).collect()
}

fn files(listing: &Listing) -> Vec<String> {
    listing.files.iter().map(|file| file.path.to_string()).collect()
}

/// Tests that take a permission away show nothing for a user who needs none.
fn is_almighty() -> bool {
    let almighty = rustix::process::geteuid().is_root();
    if almighty {
        println!("skipped: root may read everything");
    }
    almighty
}

#[test]
fn markdown_files_are_listed_and_nothing_else() {
    let temp = vault(&[
        "b.md",
        "a.MD",
        "c.Md",
        "sub/deep/d.md",
        "folder.md/e.md",
        "a/z.md",
        "a.b/y.md",
        "note.txt",
        "note.md~",
        "note.md.tmp",
        "note.md.orig",
        ".hidden.md",
        ".obsidian/x.md",
        "sub/.trash/x.md",
        ".md",
        "md",
        "x.sync-conflict-20260824-101112-ABCDEF.md",
        "sub/x (Conflicted copy 2026-08-24).md",
        "x (CONFLICTED COPY pc 1).md",
        "Ann's conflicted copy 2026-08-24.md",
        "x.conflict1.md",
        "x.Conflict.MD",
        "kept.conflict.md",
        "x.conflict12.md",
        "kept.Conflicté.md",
        "kept (conflicted).md",
    ]);
    let listing = listing(&temp, [None; 3], false);
    assert_eq!(
        files(&listing),
        [
            "a.MD",
            "a.b/y.md",
            "a/z.md",
            "b.md",
            "c.Md",
            "folder.md/e.md",
            "kept (conflicted).md",
            "kept.Conflicté.md",
            "kept.conflict.md",
            "sub/deep/d.md",
        ]
    );
    assert_eq!(
        shown(&listing.conflict_copies),
        [
            "Ann's conflicted copy 2026-08-24.md",
            "sub/x (Conflicted copy 2026-08-24).md",
            "x (CONFLICTED COPY pc 1).md",
            "x.Conflict.MD",
            "x.conflict1.md",
            "x.conflict12.md",
            "x.sync-conflict-20260824-101112-ABCDEF.md",
        ]
    );
    assert!(listing.faults.is_empty() && listing.missing_tiers.is_empty());
    let file = &listing.files[3];
    let metadata = fs::metadata(temp.path().join("b.md")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((file.stat.size, file.stat.inode), (4, metadata.ino()));
    assert_eq!(file.stat.mtime_ns, metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec());
    assert_eq!(file.stat.ctime_ns, metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec());
}

#[test]
fn the_union_of_the_tiers_is_listed_each_file_once() {
    let temp =
        vault(&["a.md", "one/b.md", "one/two/c.md", "one/two/d.md", "oneself/e.md", ".dot/f.md"]);
    let found = |tiers: [Option<&str>; 3]| -> Vec<String> {
        let listing = listing(&temp, tiers, false);
        listing
            .files
            .iter()
            .map(|file| format!("{} {:?}", file.path, file.tier.map(|tier| tier as u8)))
            .collect()
    };
    assert_eq!(
        found([Some("one"), None, None]),
        ["one/b.md Some(1)", "one/two/c.md Some(1)", "one/two/d.md Some(1)"]
    );
    assert_eq!(
        found([None; 3]),
        [
            "a.md None",
            "one/b.md None",
            "one/two/c.md None",
            "one/two/d.md None",
            "oneself/e.md None"
        ]
    );
    assert_eq!(
        found([Some("./one/"), Some("one//two/."), Some(".")]),
        [
            "a.md Some(3)",
            "one/b.md Some(1)",
            "one/two/c.md Some(2)",
            "one/two/d.md Some(2)",
            "oneself/e.md Some(3)"
        ]
    );
    assert_eq!(
        found([Some("one/two"), Some("one/two"), None]),
        ["one/two/c.md Some(1)", "one/two/d.md Some(1)"]
    );
    // A dot-folder is skipped on the way, but not where it is named.
    assert_eq!(
        found([Some("."), None, Some(".dot")]).first().map(String::as_str),
        Some(".dot/f.md Some(3)")
    );
}

#[test]
fn a_tier_that_is_not_there_is_named_and_a_tier_outside_is_refused() {
    let temp = vault(&["one/a.md", "file"]);
    let listing = listing(&temp, [Some("one"), Some("two/deep"), Some("file")], false);
    assert_eq!(files(&listing), ["one/a.md"]);
    assert_eq!(shown(&listing.missing_tiers), ["two/deep"]);
    assert_eq!(
        listing.faults[0].to_string(),
        "file: a file, not a folder: move it out of the vault"
    );
    let options = WalkOptions { follow_links: false, threads: 1, ..WalkOptions::default() };
    for tier in ["../x", "/etc", "one/../.."] {
        let error =
            list(&config(&temp, [Some(tier), None, None]), &options, &Stop::new()).unwrap_err();
        assert!(matches!(error, VaultError::TierOutside(_)), "{error}");
    }
}

#[test]
fn a_vault_that_is_not_there_names_the_remedy() {
    let temp = vault(&["file"]);
    let options = WalkOptions { follow_links: false, threads: 1, ..WalkOptions::default() };
    let error = |name: &str| {
        let config =
            VaultConfig { root: temp.path().join(name), tiers: [None, None, None], whole: true };
        list(&config, &options, &Stop::new()).unwrap_err().to_string()
    };
    assert!(error("none").ends_with(
        "none: no such folder: create it, mount it, or set paths.vault (VAULT_PATH, --vault)"
    ));
    assert!(error("file").contains("file: not a folder: set paths.vault"));
}

#[test]
fn the_root_may_be_a_link_and_may_not_be_swapped() {
    let temp = vault(&["real/a.md"]);
    symlink("real", temp.path().join("link")).unwrap();
    let config = VaultConfig {
        root: temp.path().join("link"),
        tiers: [Some(".".into()), None, None],
        whole: false,
    };
    let listing = list(
        &config,
        &WalkOptions { follow_links: false, threads: 1, ..WalkOptions::default() },
        &Stop::new(),
    )
    .unwrap();
    assert_eq!(files(&listing), ["a.md"]);
    listing.root.check_in_place().unwrap();
    fs::rename(temp.path().join("real"), temp.path().join("away")).unwrap();
    assert!(matches!(listing.root.check_in_place(), Err(VaultError::Replaced(_))));
    fs::create_dir(temp.path().join("real")).unwrap();
    assert!(matches!(listing.root.check_in_place(), Err(VaultError::Replaced(_))));
}

#[test]
fn links_are_not_followed_unless_asked() {
    let outside = vault(&["secret.md", "folder/secret.md"]);
    let temp =
        vault(&["notes/a.md", "notes/sub/b.md", "attic/c.md", "attic/.hidden/d.md", "picture.png"]);
    let at = |name: &str| temp.path().join(name);
    symlink("../attic", at("notes/attic")).unwrap();
    symlink("../../attic/.hidden/d.md", at("notes/sub/d.md")).unwrap();
    symlink("a.md", at("notes/same.md")).unwrap();
    symlink("..", at("notes/sub/loop")).unwrap();
    symlink(".", at("attic/self")).unwrap();
    symlink("nowhere.md", at("notes/dangling.md")).unwrap();
    symlink("circle.md", at("notes/circle.md")).unwrap();
    symlink(outside.path().join("secret.md"), at("notes/secret.md")).unwrap();
    symlink(outside.path().join("folder"), at("notes/folder")).unwrap();
    symlink(at("attic/c.md"), at("notes/absolute.md")).unwrap();
    symlink("../picture.png", at("notes/picture")).unwrap();

    let plain = listing(&temp, [Some("notes"), None, None], false);
    assert_eq!(files(&plain), ["notes/a.md", "notes/sub/b.md"]);
    assert_eq!(
        shown(&plain.links_skipped),
        [
            "notes/absolute.md",
            "notes/attic",
            "notes/circle.md",
            "notes/dangling.md",
            "notes/folder",
            "notes/same.md",
            "notes/secret.md",
            "notes/sub/d.md",
            "notes/sub/loop",
        ]
    );
    let followed = listing(&temp, [Some("notes"), None, None], true);
    assert_eq!(
        files(&followed),
        ["notes/a.md", "notes/absolute.md", "notes/sub/b.md", "notes/sub/d.md"]
    );
    assert_eq!(
        shown(&followed.links_skipped),
        [
            "notes/attic/self",
            "notes/circle.md",
            "notes/dangling.md",
            "notes/folder",
            "notes/same.md",
            "notes/secret.md",
            "notes/sub/loop",
        ]
    );
    assert_eq!(followed.files[1].stat, FileStat::new(&rustix::fs::stat(at("attic/c.md")).unwrap()));
}

#[test]
fn a_tier_that_is_a_link_is_a_fault_unless_links_are_followed() {
    let outside = vault(&["x.md"]);
    let temp = vault(&["real/a.md", "b.md"]);
    symlink("real", temp.path().join("tier")).unwrap();
    symlink(outside.path(), temp.path().join("away")).unwrap();
    let tiers = [Some("tier"), Some("real"), Some("away")];
    let plain = listing(&temp, tiers, false);
    assert_eq!(files(&plain), ["real/a.md"]);
    let faults: Vec<String> = plain.faults.iter().map(ScanFault::to_string).collect();
    assert!(
        faults.len() == 2 && faults[0].starts_with("away: reached by a symbolic link"),
        "{faults:?}"
    );
    assert!(plain.faults[1].hides(&VaultPath::new("tier/sub/a.md")));
    // The file is listed by its own path, although the link comes first in the configuration.
    let followed = listing(&temp, tiers, true);
    assert_eq!(files(&followed), ["real/a.md"]);
    assert_eq!(followed.faults.len(), 1);
    let followed = listing(&temp, [Some("tier"), None, None], true);
    assert_eq!(files(&followed), ["tier/a.md"]);
}

#[test]
fn a_name_need_not_be_text() {
    let temp = vault(&[]);
    let name = std::ffi::OsString::from_vec(b"caf\xe9\n.md".to_vec());
    fs::write(temp.path().join(&name), "x").unwrap();
    let listing = listing(&temp, [None; 3], false);
    assert_eq!(files(&listing), ["caf\\xe9\\n.md"]);
    assert_eq!(listing.files[0].path.as_path(), Path::new(&name));
}

#[test]
fn what_is_no_file_is_a_fault_and_is_not_opened() {
    let temp = vault(&["a.md"]);
    let fifo = temp.path().join("pipe.md");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket.md")).unwrap();
    let listing = listing(&temp, [None; 3], false);
    assert_eq!(files(&listing), ["a.md"]);
    let faults: Vec<String> = listing.faults.iter().map(ScanFault::to_string).collect();
    assert_eq!(
        faults,
        [
            "pipe.md: a FIFO, not a file: move it out of the vault",
            "socket.md: a socket, not a file: move it out of the vault"
        ]
    );
}

#[test]
fn what_may_not_be_read_is_unknown_and_the_rest_is_listed() {
    if is_almighty() {
        return;
    }
    let temp = vault(&["a.md", "closed/b.md", "closed/sub/c.md", "blind/d.md", "blind/e.md"]);
    let allow = |folder: &str, mode| {
        fs::set_permissions(temp.path().join(folder), fs::Permissions::from_mode(mode)).unwrap();
    };
    allow("closed", 0o000);
    allow("blind", 0o600);
    let listing = listing(&temp, [None; 3], false);
    allow("closed", 0o700);
    allow("blind", 0o700);
    assert_eq!(files(&listing), ["a.md"]);
    let faults: Vec<String> = listing.faults.iter().map(ScanFault::to_string).collect();
    let remedy = "Permission denied (os error 13): give this user the right to read it";
    assert_eq!(
        faults,
        [format!("blind: cannot enter: {remedy}"), format!("closed: cannot list: {remedy}")]
    );
    for (path, hidden) in
        [("closed/sub/c.md", true), ("closed", true), ("closed.md", false), ("a.md", false)]
    {
        assert_eq!(listing.faults[1].hides(&VaultPath::new(path)), hidden, "{path}");
    }
}

/// The fault's path once ended in a slash and hid nothing, so that all blocks of a closed tier seemed gone.
#[test]
fn a_tier_that_may_not_be_listed_hides_what_is_in_it() {
    assert_eq!(
        moved(Path::new("/v/one"), Path::new("/v/one"), Path::new("one")).as_os_str(),
        "one"
    );
    assert_eq!(
        moved(Path::new("/v/one/a"), Path::new("/v/one"), Path::new("two")).as_os_str(),
        "two/a"
    );
    if is_almighty() {
        return;
    }
    let temp = vault(&["one/a.md"]);
    let allow = |mode| {
        fs::set_permissions(temp.path().join("one"), fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(0o000);
    let listing = listing(&temp, [Some("one"), None, None], false);
    allow(0o700);
    assert!(listing.faults[0].hides(&VaultPath::new("one/a.md")), "{:?}", listing.faults);
}

#[test]
fn a_closed_vault_is_an_error() {
    if is_almighty() {
        return;
    }
    let temp = vault(&["sub/a.md"]);
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let options = WalkOptions { follow_links: false, threads: 1, ..WalkOptions::default() };
    let error = list(&config(&temp, [None; 3]), &options, &Stop::new()).unwrap_err();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(
        error
            .to_string()
            .ends_with("permission denied: give this user the right to read and enter it")
    );
}

#[test]
fn many_files_in_one_folder_are_looked_at_by_several_threads() {
    let names: Vec<String> = (0..1_500).map(|n| format!("{n:04}.md")).collect();
    let temp = vault(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let listing = listing(&temp, [None; 3], false);
    assert_eq!(files(&listing), names);
    assert!(listing.files.iter().all(|file| file.stat.size == 7));
}

#[test]
fn a_walk_stops_when_told() {
    let temp = vault(&["a/b.md", "c/d.md"]);
    let options = WalkOptions { follow_links: false, threads: 1, ..WalkOptions::default() };
    for allowed in 0..3 {
        let result = list(&config(&temp, [None; 3]), &options, &after_looks(allowed));
        assert!(matches!(result, Err(VaultError::Interrupted)), "after {allowed}");
    }
}

#[test]
fn what_patterns_leave_out_is_counted_for_each_of_them() {
    let vault = vault(&[
        "a.md",
        "templates/t.md",
        "templates/deep/u.md",
        "templates/deep/picture.png",
        "x.draft.md",
        "x.draft.sync-conflict-20240101-101010-ABCDEFG.md",
    ]);
    symlink("..", vault.path().join("templates/up")).unwrap();
    let patterns = ["templates/", "*.draft*", "unused/"].map(str::to_owned).to_vec();
    for follow_links in [false, true] {
        let ignore = IgnoreRules { patterns: patterns.clone(), obsidian_excluded: false };
        let options = WalkOptions { follow_links, threads: 2, ignore };
        let listing = list(&config(&vault, [None; 3]), &options, &Stop::new()).unwrap();
        assert_eq!(files(&listing), ["a.md"]);
        assert!(listing.conflict_copies.is_empty() && listing.links_skipped.is_empty());
        let counts: Vec<(&str, u64)> = listing
            .ignored
            .iter()
            .map(|ignored| (ignored.by.pattern.as_str(), ignored.notes))
            .collect();
        assert_eq!(counts, [("templates/", 2), ("*.draft*", 2), ("unused/", 0)]);
        assert_eq!(listing.files_ignored(), 4);
        assert!(listing.ignore.why(&VaultPath::new("templates/gone.md")).is_some());
    }
}
