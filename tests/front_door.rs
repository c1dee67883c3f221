//! The front door of the library: the names that a program with jobs of its own may use, and no others. A name that comes
//! or goes is a change that others notice.

use std::collections::BTreeSet;

const SOURCE: &str = include_str!("../src/lib.rs");

const DOOR: &[&str] = &[
    "BuildError",
    "Clock",
    "DuplicateKind",
    "Host",
    "Job",
    "JobError",
    "JobErrorKind",
    "JobName",
    "JobRegistry",
    "JobSpec",
    "NoProgress",
    "Params",
    "Progress",
    "RunContext",
    "RunId",
    "RunOptions",
    "RunReport",
    "Stop",
    "Trigger",
    "cli",
    "params",
];

/// What is public and documented in a text of `lib.rs`.
fn shown(source: &str) -> BTreeSet<String> {
    let code: Vec<&str> =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut names = BTreeSet::new();
    for item in code.join("\n").split(';') {
        let item = item.trim();
        if let Some(module) = item.strip_prefix("pub mod ") {
            names.insert(module.to_owned());
        } else if let Some(used) = item.strip_prefix("pub use ") {
            let last = used.rsplit("::").next().unwrap_or(used);
            let group = used.split_once('{').map_or(last, |(_, group)| group.trim_end_matches('}'));
            names.extend(
                group.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
            );
        }
    }
    names
}

#[test]
fn the_front_door_shows_these_names_and_no_others() {
    assert_eq!(shown(SOURCE), DOOR.iter().map(|name| (*name).to_owned()).collect());
    let broken = "#[doc(hidden)]\npub mod inner;\npub mod open;\npub use a::{B, C};\n// pub use d::E;\npub use f::G;\n";
    let names: Vec<String> = shown(broken).into_iter().collect();
    assert_eq!(names, ["B", "C", "G", "open"]);
}

/// Types of crates that may be exchanged one day are not handed to others.
#[test]
fn no_type_of_a_database_or_a_parser_is_in_what_a_job_is_given() {
    for (file, text) in [
        ("job/mod.rs", include_str!("../src/job/mod.rs")),
        ("job/registry.rs", include_str!("../src/job/registry.rs")),
        ("job/run.rs", include_str!("../src/job/run.rs")),
    ] {
        for name in ["serde_yaml::", "rusqlite::", "crossbeam_channel::"] {
            assert!(!text.contains(name), "src/{file} names {name}");
        }
    }
}
