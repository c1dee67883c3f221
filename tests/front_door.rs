//! The front door of the library: the names that a program with jobs of its own may use, and no others. A name that comes
//! or goes is a change that others notice.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const SOURCE: &str = include_str!("../src/lib.rs");

const DOOR: &[&str] = &[
    "Alarm",
    "BlockId",
    "BuildError",
    "Clock",
    "DuplicateKind",
    "Feed",
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
    "Tier",
    "Trigger",
    "WholeBlock",
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

/// The names that the hidden door hands out, each with its room.
fn handed_out(inside: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut room = String::new();
    let code: Vec<&str> = inside.lines().filter(|line| !line.trim().starts_with("//")).collect();
    for item in code.join("\n").split(';') {
        if let Some((_, rest)) = item.split_once("pub mod ") {
            room = words(rest).next().unwrap_or_default().to_owned();
        }
        let Some((_, path)) = item.split_once("pub use ") else { continue };
        let group = path.split_once('{').map_or_else(
            || path.rsplit("::").next().unwrap_or(path),
            |(_, group)| group.trim_end_matches('}'),
        );
        found.extend(words(group).map(|name| (room.clone(), name.to_owned())));
    }
    found
}

/// The rooms are closed: the project's own tests, benchmarks, examples and fuzz targets reach them by one hidden door,
/// and nothing stands in it that none of them takes.
#[test]
fn the_hidden_door_hands_out_only_names_that_are_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut users = BTreeMap::new();
    for folder in ["benches", "examples", "fuzz", "tests"] {
        // The package has no fuzz targets.
        if root.join(folder).is_dir() {
            files(&root.join(folder), &format!("{folder}/"), &mut users);
        }
    }
    let is_taken = |(room, name): &(String, String)| {
        let door = format!("inside::{room}::");
        users.values().any(|text| text.contains(&door) && words(text).any(|word| word == name))
    };
    let inside = include_str!("../src/inside.rs");
    let found = handed_out(inside);
    assert!(found.len() > 50, "{found:?}");
    if root.join("fuzz").is_dir() {
        let left: Vec<_> = found.iter().filter(|entry| !is_taken(entry)).collect();
        assert!(left.is_empty(), "nobody takes these: {left:?}");
    }
    let unused =
        handed_out("/// Doc.\npub mod stop {\n    pub use crate::stop::{Stop, Nobody};\n}\n");
    assert_eq!(unused.iter().filter(|entry| !is_taken(entry)).count(), 1, "{unused:?}");
    let rooms = SOURCE.lines().filter(|line| line.starts_with("pub mod "));
    assert_eq!(rooms.collect::<Vec<_>>(), ["pub mod cli;", "pub mod inside;"]);
}

/// Crates that may be exchanged one day: none of their types is handed to others.
const INSIDE: [&str; 4] = ["crossbeam_channel", "rusqlite", "serde_yaml", "neo4rs"];

/// One public item, or the public part of one: whose it is, and all that its signatures say.
#[derive(Debug)]
struct Signature {
    file: String,
    owner: String,
    /// Whether it is the item itself, and not an `impl` for it.
    defines: bool,
    text: String,
}

/// Every file of the program below a folder, by its path from there.
fn files(folder: &Path, below: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let last = path.file_name().unwrap().to_str().unwrap();
        let name = format!("{below}{last}");
        if path.is_dir() && last != "tests" {
            files(&path, &format!("{name}/"), found);
        } else if last.ends_with(".rs") && last != "tests.rs" {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The words of a piece of code.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// A file in its items: what begins at the left edge, as rustfmt writes it, with all below it that is indented.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let program = text.split("#[cfg(test)]\n").next().unwrap();
    for line in program.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let belongs = line.starts_with([' ', '}', ')']) || line.starts_with("where");
        match items.last_mut() {
            Some(item) if belongs || line.is_empty() => *item += &format!("\n{line}"),
            _ => items.push(line.to_owned()),
        }
    }
    items
}

/// The parts of a block that begin with `begin`, each up to the end of its signature or of its field.
fn members(item: &str, begin: &str, end: &[&str]) -> String {
    let begin = format!("\n    {begin}");
    let until =
        |rest: &str| end.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
    let parts = item.split(&begin).skip(1).map(|rest| rest[..until(rest)].to_owned());
    parts.collect::<Vec<_>>().join("\n")
}

/// What a file shows to those who may use its items.
fn signatures(file: &str, text: &str) -> Vec<Signature> {
    const BODY: [&str; 2] = [" {\n", ";\n"];
    let mut found = Vec::new();
    for item in items(text) {
        let header = BODY.iter().filter_map(|end| item.find(end)).min().unwrap_or(item.len());
        let header = &item[..header];
        let name = |rest: &str| words(rest).next().unwrap_or_default().to_owned();
        let (owner, text) = if let Some(rest) = item.strip_prefix("pub struct ") {
            let fields = match header.split_once('(') {
                Some((_, fields)) => fields.split(", ").filter(|f| f.starts_with("pub ")).collect(),
                None => members(&item, "pub ", &[",\n"]),
            };
            (name(rest), fields)
        } else if let Some(rest) = item.strip_prefix("pub trait ") {
            (name(rest), format!("{header}\n{}", members(&item, "fn ", &BODY)))
        } else if let Some(rest) = item.strip_prefix("pub enum ") {
            // The name of a variant is no type.
            let within = |line: &str| {
                line.trim_start_matches(|c: char| c == ' ' || c.is_alphanumeric()).to_owned()
            };
            let fields: Vec<String> = item.lines().skip(1).map(within).collect();
            (name(rest), fields.join("\n"))
        } else if let Some(rest) = item.strip_prefix("pub type ") {
            (name(rest), item.clone())
        } else if let Some(rest) = item.strip_prefix("pub fn ") {
            (name(rest), header.to_owned())
        } else if item.starts_with("impl") {
            let whose = match header.split_once(" for ") {
                Some((_, whose)) => whose,
                None => header.trim_start_matches("impl").trim_start(),
            };
            // Generics of the block itself, as in `impl<'a> A<'a>`.
            let whose = match whose.starts_with('<') {
                true => whose.split_once("> ").map_or(whose, |(_, whose)| whose),
                false => whose,
            };
            let whose = whose.rsplit("::").next().unwrap_or(whose);
            let types = members(&item, "type ", &[";\n"]);
            let functions = members(&item, "pub fn ", &BODY);
            (name(whose), format!("{header}\n{types}\n{functions}"))
        } else {
            continue;
        };
        found.push(Signature {
            file: file.to_owned(),
            owner,
            defines: !item.starts_with("impl"),
            text,
        });
    }
    found
}

/// The names by which a file knows types of a crate, the crate's own among them.
fn known_as(text: &str, krate: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::from([krate.to_owned()]);
    for used in items(text) {
        if let Some(path) = used.strip_prefix(&format!("use {krate}::")) {
            names.extend(words(path).map(str::to_owned));
        }
    }
    names.remove("self");
    names
}

/// Each name that can be reached from these, with the one that names it; and each place where one of them shows a type
/// of a crate that stays inside.
fn shown_types(
    files: &BTreeMap<String, String>,
    door: &[&str],
) -> (BTreeMap<String, String>, Vec<String>) {
    let all: Vec<Signature> =
        files.iter().flat_map(|(file, text)| signatures(file, text)).collect();
    let is_own =
        |word: &&str| all.iter().any(|signature| signature.defines && signature.owner == **word);
    let mut reached = BTreeMap::new();
    let mut next: Vec<(&str, &str)> = door.iter().map(|name| (*name, "lib.rs")).collect();
    while let Some((name, from)) = next.pop() {
        if reached.contains_key(name) {
            continue;
        }
        reached.insert(name.to_owned(), from.to_owned());
        for signature in all.iter().filter(|signature| signature.owner == name) {
            let types = words(&signature.text).filter(|word| word.starts_with(char::is_uppercase));
            next.extend(types.filter(is_own).map(|word| (word, &*signature.owner)));
        }
    }
    let mut shown = Vec::new();
    for Signature { file, owner, text, .. } in &all {
        let Some(from) = reached.get(owner) else { continue };
        for krate in INSIDE {
            let names = known_as(&files[file], krate);
            if let Some(word) = words(text).find(|word| names.contains(*word)) {
                shown.push(format!("{file}: {owner}, named by {from}: {krate} as {word}"));
            }
        }
    }
    (reached, shown)
}

/// From the names of the front door on, through all that their fields and functions name.
#[test]
fn no_type_of_a_crate_that_may_be_exchanged_can_be_reached() {
    let mut source = BTreeMap::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "src/", &mut source);
    let door: Vec<&str> = DOOR.iter().copied().chain(["main"]).collect();
    let (reached, shown) = shown_types(&source, &door);
    for name in ["Alarm", "Fault", "RunPolicy", "Schedule", "Why"] {
        assert!(reached.contains_key(name), "{name} is not among {reached:?}");
    }
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn a_type_of_such_a_crate_is_found_wherever_it_shows() {
    let in_file = |text: &str| {
        let files = BTreeMap::from([
            ("a.rs".to_owned(), text.to_owned()),
            (
                "b.rs".to_owned(),
                "use rusqlite::Row;\npub struct Far {\n    pub row: Row,\n}\n".to_owned(),
            ),
        ]);
        shown_types(&files, &["Near"]).1
    };
    for broken in [
        "use crossbeam_channel::{Receiver, Sender};\npub trait Near: Send {\n    fn alarm(\n        &self,\n    ) -> Receiver<u8>;\n}\n",
        "pub struct Near {\n    pub value: Option<serde_yaml::Value>,\n}\n",
        "pub struct Near(pub rusqlite::Connection);\n",
        "pub enum Near {\n    Bad(rusqlite::Error),\n}\n",
        "impl From<rusqlite::Error> for Near {\n}\n",
        "use rusqlite::Error;\nimpl<'a> Near<'a> {\n    pub fn open() -> Result<(), Error> {\n        todo()\n    }\n}\n",
        "pub struct Near {\n    pub far: Vec<Far>,\n}\n",
    ] {
        assert_eq!(in_file(broken).len(), 1, "{broken}");
    }
    for sound in [
        "use crossbeam_channel::Receiver;\npub struct Near(Receiver<u8>);\nimpl Near {\n    pub(crate) fn ready(&self) -> &Receiver<u8> {\n        &self.0\n    }\n}\n",
        "pub struct Near {\n    far: Far,\n}\n",
        "pub struct Other {\n    pub value: serde_yaml::Value,\n}\n",
        "pub struct Near;\n#[cfg(test)]\nmod tests {\n    pub fn row() -> rusqlite::Row {}\n}\n",
    ] {
        assert_eq!(in_file(sound), [""; 0], "{sound}");
    }
}
