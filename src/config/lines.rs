//! Where each key stands in the YAML text. The only file that names `saphyr_parser`.
//!
//! `serde_yaml` gives values without positions. So when a person must be led to something, the text is read a second
//! time, event by event, and the line of each key noted under its path; a good file is read once. Aliases are noted and
//! not followed: a value that came by `*alias` or `<<` is found where it was really written, and a text whose aliases
//! multiply costs nothing here.
//!
//! This reading judges nothing. Where it stops early the paths behind that point have no line, and what is wrong with
//! the text is for `yaml` to say.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::OnceLock;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Words that YAML 1.1 takes for true and false, and YAML 1.2 for text.
const FLAGS_OF_YAML_1_1: [&str; 12] =
    ["yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"];

/// Where each key stands in the YAML file: `scheduler.jobs.vault_sync.cron` on line 14, `command[0]` on line 20.
#[derive(Clone, Default)]
pub struct Lines {
    yaml: String,
    read: OnceLock<Reading>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may hold a password.
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// The lines of a text, which is kept to be read when a line is asked for.
    pub(super) fn of(yaml: &str) -> Lines {
        Lines { yaml: yaml.to_owned(), read: OnceLock::new() }
    }

    /// The line on which `path` is written; where it is not in the file itself, the line of the nearest thing around
    /// it that is. `None` only when nothing around it is in the file either.
    pub fn line_of(&self, path: &str) -> Option<usize> {
        self.reading().line_of(path)
    }

    /// Whether the value at `path` is one of the words that mean true or false to YAML 1.1 alone (`yes`, `Off`), and
    /// without quotes. `serde_yaml`, which speaks 1.2, gives text for it; the Python services' reader gives a flag.
    pub(super) fn is_bare_flag(&self, path: &str) -> bool {
        let reading = self.reading();
        reading.find(path).is_ok_and(|path| reading.bare_flags.contains(&*path))
    }

    /// The keys that are given twice.
    pub(super) fn duplicates(&self) -> &[Duplicate] {
        &self.reading().duplicates
    }

    fn reading(&self) -> &Reading {
        self.read.get_or_init(|| Reading::of(&self.yaml))
    }
}

#[derive(Clone, Default)]
struct Reading {
    /// Path to line, counted from 1.
    at: BTreeMap<String, usize>,
    /// Path of an alias (`*name`) to the path of its anchor (`&name`).
    aliases: BTreeMap<String, String>,
    /// See [`Lines::is_bare_flag`].
    bare_flags: BTreeSet<String>,
    duplicates: Vec<Duplicate>,
}

impl Reading {
    fn of(yaml: &str) -> Reading {
        let mut reader = Reader::default();
        let mut parser = Parser::new_from_str(yaml);
        while let Some(Ok((event, span))) = parser.next_event() {
            reader.event(&event, span.start.line());
        }
        reader.found
    }

    /// See [`Lines::line_of`].
    fn line_of(&self, path: &str) -> Option<usize> {
        self.find(path).map_or_else(|around_it| around_it, |path| self.at.get(&*path).copied())
    }

    /// The path at which `path` is really written; else the line of the nearest thing around it.
    fn find<'p>(&self, path: &'p str) -> Result<Cow<'p, str>, Option<usize>> {
        let mut path = Cow::Borrowed(path);
        let mut around_it = None;
        // Each turn follows one alias. Anchors cannot contain themselves, so the bound only guards against paths
        // that two keys share because one of them has a dot in it.
        for _ in 0..32 {
            if self.at.contains_key(&*path) {
                return Ok(path);
            }
            let Some((around, line)) = self.nearest(&path) else { break };
            around_it = Some(line);
            let rest = &path[around.len()..];
            let next = match self.aliases.get(around) {
                Some(target) => Some(format!("{target}{rest}")),
                None => self.merged(around, rest).find(|candidate| self.at.contains_key(candidate)),
            };
            match next {
                Some(next) => path = Cow::Owned(next),
                None => break,
            }
        }
        Err(around_it)
    }

    /// The innermost thing around `path` that is written in the file.
    fn nearest<'p>(&self, path: &'p str) -> Option<(&'p str, usize)> {
        let ends = path.char_indices().rev().filter(|(_, c)| matches!(c, '.' | '['));
        ends.map(|(end, _)| &path[..end]).find_map(|around| Some((around, *self.at.get(around)?)))
    }

    /// Where `rest` may be written if it came into `around` by `<<`, in the order in which YAML looks.
    fn merged<'a>(&'a self, around: &str, rest: &'a str) -> impl Iterator<Item = String> + 'a {
        let merge = format!("{around}.<<");
        let inline = format!("{merge}{rest}");
        let aliases = self.aliases.range(merge.clone()..).take_while(move |(at, _)| {
            at.strip_prefix(&merge).is_some_and(|end| end.is_empty() || end.starts_with('['))
        });
        aliases.map(move |(_, target)| format!("{target}{rest}")).chain([inline])
    }
}

/// A key that stands twice in one mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Duplicate {
    pub(super) path: String,
    pub(super) first: usize,
    pub(super) second: usize,
}

#[derive(Default)]
struct Reader {
    found: Reading,
    open: Vec<Open>,
    anchors: HashMap<usize, String>,
}

/// A mapping or list that has begun and not ended.
struct Open {
    path: String,
    inside: Inside,
}

enum Inside {
    /// `key`: the path of the value that comes next; `None` when a key comes next.
    Mapping { seen: HashMap<String, usize>, key: Option<String> },
    /// The place of the item that comes next.
    List { next: usize },
}

impl Reader {
    fn event(&mut self, event: &Event<'_>, line: usize) {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                if let Some(path) = self.node(Some(text), line) {
                    if *style == ScalarStyle::Plain && FLAGS_OF_YAML_1_1.contains(&&**text) {
                        self.found.bare_flags.insert(path.clone());
                    }
                    self.anchor(*anchor, path);
                }
            }
            Event::Alias(anchor) => {
                if let Some(path) = self.node(None, line)
                    && let Some(target) = self.anchors.get(anchor)
                {
                    self.found.aliases.insert(path, target.clone());
                }
            }
            Event::MappingStart(anchor, _) => {
                let inside = Inside::Mapping { seen: HashMap::new(), key: None };
                self.begin(*anchor, inside, line);
            }
            Event::SequenceStart(anchor, _) => {
                self.begin(*anchor, Inside::List { next: 0 }, line);
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
            }
            _ => {}
        }
    }

    fn begin(&mut self, anchor: usize, inside: Inside, line: usize) {
        // What stands inside a key has no place of its own.
        let path = self.node(None, line).unwrap_or_else(|| "?".to_owned());
        self.anchor(anchor, path.clone());
        self.open.push(Open { path, inside });
    }

    /// Takes note of a node that begins on `line`, and gives its path unless it is a key. `text` is that of a scalar.
    fn node(&mut self, text: Option<&str>, line: usize) -> Option<String> {
        let Some(Open { path, inside }) = self.open.last_mut() else {
            return Some(String::new());
        };
        match inside {
            Inside::List { next } => {
                let item = format!("{path}[{next}]");
                *next += 1;
                self.found.at.insert(item.clone(), line);
                Some(item)
            }
            Inside::Mapping { seen, key } => {
                if let Some(value) = key.take() {
                    return Some(value);
                }
                // A key that is not plain text means nothing to any section; `raw` says so.
                let name = text.unwrap_or("?");
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                *key = Some(path.clone());
                if let Some(&first) = seen.get(name).filter(|_| text.is_some()) {
                    self.found.duplicates.push(Duplicate {
                        path: path.clone(),
                        first,
                        second: line,
                    });
                } else {
                    seen.insert(name.to_owned(), line);
                }
                // Of two, the later: that is the one whose value is read.
                self.found.at.insert(path, line);
                None
            }
        }
    }

    fn anchor(&mut self, anchor: usize, path: String) {
        // 0 is the parser's word for "no anchor".
        if anchor != 0 {
            self.anchors.insert(anchor, path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(yaml: &str, path: &str, line: Option<usize>) {
        assert_eq!(Lines::of(yaml).line_of(path), line, "{path} in\n{yaml}");
    }

    #[test]
    fn a_path_is_found_on_the_line_of_its_key() {
        let yaml = "a:\n  b: 1\n  c:\n    - x\n    - y: {z: 2}\nd: 3\n";
        case(yaml, "a", Some(1));
        case(yaml, "a.b", Some(2));
        case(yaml, "a.c", Some(3));
        case(yaml, "a.c[0]", Some(4));
        case(yaml, "a.c[1].y.z", Some(5));
        case(yaml, "d", Some(6));
        case("\u{feff}a: 1\r\nb:\r\n  c: 2\r\n", "a", Some(1));
        case("\u{feff}a: 1\r\nb:\r\n  c: 2\r\n", "b.c", Some(3));
        case("%YAML 1.2\n---\n# c\n\na: |\n  text\n  text\nb: 1\n", "b", Some(8));
    }

    #[test]
    fn what_is_not_in_the_file_is_found_around_it() {
        let yaml = "a:\n  b:\n    c: 1\n";
        case(yaml, "a.b.x.y", Some(2));
        case(yaml, "a.q[3]", Some(1));
        case(yaml, "q", None);
        case("", "a.b", None);
    }

    #[test]
    fn a_value_that_came_by_an_alias_is_found_where_it_was_written() {
        let yaml = "x: &x\n  cron: a\n  deep: {er: 1}\n\
                    jobs:\n  one: *x\n  two:\n    <<: *x\n    own: 1\n  three:\n    <<: [*x]\n";
        case(yaml, "jobs.one.cron", Some(2));
        case(yaml, "jobs.two.cron", Some(2));
        case(yaml, "jobs.two.deep.er", Some(3));
        case(yaml, "jobs.two.own", Some(8));
        case(yaml, "jobs.two.absent", Some(6));
        case(yaml, "jobs.three.cron", Some(2));
        case("a:\n  <<:\n    b: 1\n", "a.b", Some(3));
    }

    #[test]
    fn a_bare_yes_is_told_from_a_quoted_one() {
        let lines = Lines::of(
            "x: &x {on: off}\na: yes\nb: 'yes'\nc: \"No\"\nd: No\ne: nO\nf: [on]\ng: *x\nh: {<<: *x}\n",
        );
        for (path, expected) in [
            ("a", true),
            ("b", false),
            ("c", false),
            ("d", true),
            ("e", false),
            ("f", false),
            ("f[0]", true),
            ("g.on", true),
            ("h.on", true),
            ("q", false),
        ] {
            assert_eq!(lines.is_bare_flag(path), expected, "{path}");
        }
    }

    #[test]
    fn a_key_given_twice_is_named_with_both_lines() {
        let twice = |yaml| {
            let lines = Lines::of(yaml);
            let found = lines.duplicates().iter().cloned();
            found.map(|twin| (twin.path, twin.first, twin.second)).collect::<Vec<_>>()
        };
        assert_eq!(twice("a:\n  b: 1\n  c: 2\n  b: 3\n"), [("a.b".to_owned(), 2, 4)]);
        assert_eq!(twice("a: {b: 1}\nc: {b: 1}\n"), []);
        assert_eq!(twice("? [1]\n: 1\n? [2]\n: 2\n"), []);
    }

    #[test]
    fn a_key_with_a_dot_that_names_its_own_alias_is_no_endless_loop() {
        let lines = Lines::of("a.b: &a 1\na: {b: *a}\n");
        assert!(lines.line_of("a.b.c.d").is_some());
    }
}
