use std::fs;

use tempfile::TempDir;

use super::*;

fn vault(files: &[(&str, &str)]) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    temp
}

fn load(vault: &TempDir, patterns: &[&str], obsidian_excluded: bool) -> Result<Ignore, String> {
    let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    let rules = IgnoreRules { patterns, obsidian_excluded };
    Ignore::load(&Root::open(vault.path()).unwrap(), &rules)
        .map_err(|error| error.to_string().replace(vault.path().to_str().unwrap(), "vault"))
}

fn why(ignore: &Ignore, path: &str) -> String {
    ignore.why(&VaultPath::new(path)).map_or_else(String::new, |by| by.to_string())
}

#[test]
fn patterns_of_the_file_and_of_the_configuration_say_what_they_leave_out() {
    let vault = vault(&[(".aclaraiignore", "# drafts\n\ndrafts/\n/top.md\n*.excalidraw.md \n")]);
    let ignore = load(&vault, &["templates/", "!drafts/kept/"], false).unwrap();
    for (path, expected) in [
        ("a.md", ""),
        ("templates/a.md", "left out by `templates/` of ignore"),
        ("deep/down/templates/inner/a.md", "left out by `templates/` of ignore"),
        ("drafts/a.md", "left out by `drafts/` of .aclaraiignore"),
        // As in git, what is in a folder that is left out cannot be taken back in.
        ("drafts/kept/a.md", "left out by `drafts/` of .aclaraiignore"),
        ("drafts.md", ""),
        ("top.md", "left out by `/top.md` of .aclaraiignore"),
        ("deep/top.md", ""),
        ("deep/x.excalidraw.md", "left out by `*.excalidraw.md` of .aclaraiignore"),
    ] {
        assert_eq!(why(&ignore, path), expected, "{path}");
    }
    let written: Vec<String> = ignore.written().into_iter().map(|by| by.pattern).collect();
    assert_eq!(written, ["drafts/", "/top.md", "*.excalidraw.md", "templates/", "!drafts/kept/"]);
}

#[test]
fn the_configuration_takes_back_in_what_the_file_leaves_out() {
    let vault = vault(&[(".aclaraiignore", "*.draft.md\n")]);
    let ignore = load(&vault, &["!keep.draft.md"], false).unwrap();
    assert_eq!(why(&ignore, "keep.draft.md"), "");
    assert!(!why(&ignore, "other.draft.md").is_empty());
}

#[test]
fn obsidians_own_list_counts_where_it_is_asked_for() {
    let settings = r#"{"userIgnoreFilters": ["Templates/", "/\\.excalidraw\\.md$/", "", "old", "/^\\w+\\s\\d+\\b/"], "other": 1}"#;
    let vault = vault(&[(".obsidian/app.json", settings)]);
    let ignore = load(&vault, &["!templates/a.md"], true).unwrap();
    for (path, is_out) in [
        ("templates/a.md", true),
        ("deep/templates/a.md", false),
        ("deep/x.excalidraw.md", true),
        ("older.md", true),
        ("Häuser 1900.md", true),
        ("a.md", false),
    ] {
        assert_eq!(!why(&ignore, path).is_empty(), is_out, "{path}");
    }
    assert_eq!(why(&load(&vault, &[], false).unwrap(), "templates/a.md"), "");
}

#[test]
fn a_list_that_cannot_be_read_ends_the_run() {
    const END: &str = "; nothing is synced, since it may name notes that are to be left out";
    let cases: [(&str, &[u8], &str); 5] = [
        (".aclaraiignore", b"ok\n[z-a]\n", "vault/.aclaraiignore: line 2: `[z-a]`: "),
        (".aclaraiignore", b"\xff\n", "vault/.aclaraiignore: it is not UTF-8: save it as UTF-8"),
        (".obsidian/app.json", b"{", "vault/.obsidian/app.json: no JSON: "),
        (
            ".obsidian/app.json",
            br#"{"userIgnoreFilters": 1}"#,
            "vault/.obsidian/app.json: userIgnoreFilters is no list",
        ),
        (
            ".obsidian/app.json",
            br#"{"userIgnoreFilters": ["/(?<=a)b/"]}"#,
            "vault/.obsidian/app.json: userIgnoreFilters: /(?<=a)b/: not a regular expression",
        ),
    ];
    for (file, bytes, expected) in cases {
        let vault = vault(&[(file, "")]);
        fs::write(vault.path().join(file), bytes).unwrap();
        let error = load(&vault, &[], true).unwrap_err();
        assert!(error.starts_with(expected) && error.ends_with(END), "{error}");
    }
    let folder = vault(&[(".aclaraiignore/a", "")]);
    assert!(load(&folder, &[], false).unwrap_err().contains("it is no file"));
}

#[test]
fn a_fifo_or_a_link_that_leaves_the_vault_holds_nothing_up() {
    let fifo = vault(&[]);
    let made =
        std::process::Command::new("mkfifo").arg(fifo.path().join(".aclaraiignore")).status();
    assert!(made.unwrap().success());
    assert!(load(&fifo, &[], false).unwrap_err().contains("it is no file"));

    let outside = vault(&[("list", "a.md\n")]);
    let linked = vault(&[]);
    std::os::unix::fs::symlink(outside.path().join("list"), linked.path().join(".aclaraiignore"))
        .unwrap();
    assert!(load(&linked, &[], false).unwrap_err().contains("a link that leaves the vault"));
}

#[test]
fn a_pattern_that_is_none_is_told() {
    assert_eq!(IgnoreRules::check("templates/"), Ok(()));
    assert!(IgnoreRules::check("[z-a]").unwrap_err().starts_with("`[z-a]`: "));
}
