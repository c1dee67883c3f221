//! One value of the file, as it was written: where it stands, its text, and how YAML reads that text.
//!
//! A scalar keeps the text it was written with. What YAML makes of it (`0x1F` is 31, `1.10` is 1.1) is asked for where a
//! setting wants a number; what is handed to a program is the text.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::shown::shown_text;

/// Words that YAML 1.1 takes for true and false, and YAML 1.2 for text.
const FLAGS_OF_YAML_1_1: [&str; 12] =
    ["yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"];

/// A value of the configuration as it was written.
pub struct Node {
    pub(super) kind: Kind,
    /// A tag that is not YAML's own, such as `!secret`.
    pub(super) tag: Option<Box<str>>,
    /// Counted from 1.
    pub(super) line: u32,
    /// How many nodes it is made of, itself included.
    pub(super) size: u32,
    /// How many levels it has, itself included.
    pub(super) height: u32,
}

pub(super) enum Kind {
    Scalar {
        text: Box<str>,
        /// Without quotes.
        plain: bool,
    },
    List(Box<[Arc<Node>]>),
    /// Apart, as most nodes are scalars and there may be tens of thousands.
    Mapping(Box<Mapping>),
}

pub(super) struct Mapping {
    pub(super) entries: Vec<Entry>,
    /// Keys that are given twice; seldom any.
    pub(super) twins: Vec<Twin>,
}

/// A key and its value.
pub(super) type Entry = (Arc<Node>, Arc<Node>);

/// A key that stands twice in one mapping, with both lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Twin {
    pub(super) key: String,
    pub(super) first: u32,
    pub(super) second: u32,
}

/// How YAML reads a scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading<'n> {
    Null,
    Flag(bool),
    Whole(i128),
    Number(f64),
    Text(&'n str),
}

/// The values may be secrets.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on line {}", shape(self), self.line)
    }
}

impl Node {
    /// Whether nothing stands there: `null`, `~` or no text at all.
    pub fn is_null(&self) -> bool {
        self.reading() == Some(Reading::Null)
    }

    /// The text, if YAML reads text.
    pub fn as_str(&self) -> Option<&str> {
        match self.reading() {
            Some(Reading::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// `true` or `false`, also as YAML 1.1 writes it without quotes (`yes`, `off`), for files of the Python services.
    pub fn as_flag(&self) -> Option<bool> {
        match self.reading()? {
            Reading::Flag(flag) => Some(flag),
            Reading::Text(word) if self.is_plain() && FLAGS_OF_YAML_1_1.contains(&word) => {
                Some(matches!(word.to_ascii_lowercase().as_str(), "yes" | "on"))
            }
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self.reading()? {
            Reading::Whole(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// A number.
    pub fn as_f64(&self) -> Option<f64> {
        match self.reading()? {
            Reading::Whole(number) => Some(number as f64),
            Reading::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_list(&self) -> Option<impl Iterator<Item = &Node>> {
        match &self.kind {
            Kind::List(items) if self.tag.is_none() => Some(items.iter().map(|item| &**item)),
            _ => None,
        }
    }

    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Mapping(mapping) if self.tag.is_none() => Some(&mapping.entries),
            _ => None,
        }
    }

    /// The value of a key of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let mut entries = self.entries()?.iter();
        entries.find(|(name, _)| name.written() == Some(key)).map(|(_, value)| &**value)
    }

    /// The text of a scalar, whatever YAML makes of it.
    pub(super) fn written(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Scalar { plain: true, .. })
    }

    /// How YAML reads it; `None` for lists, mappings and what has a tag of its own.
    pub(super) fn reading(&self) -> Option<Reading<'_>> {
        let Kind::Scalar { text, plain } = &self.kind else { return None };
        if self.tag.is_some() {
            return None;
        }
        Some(if *plain { read_plain(text) } else { Reading::Text(text) })
    }

    /// Whether another reader of the file would not take it for the text it was written with: `+30`, `0x1F`, `1.10`.
    pub(super) fn reads_otherwise(&self) -> bool {
        let Some(text) = self.written().filter(|_| self.is_plain()) else { return false };
        match read_plain(text) {
            Reading::Null => text != "null",
            Reading::Flag(flag) => text != if flag { "true" } else { "false" },
            Reading::Whole(number) => number.to_string() != text || !fits_json(number),
            Reading::Number(number) => json_number(number).as_deref() != Some(text),
            // To YAML 1.1, which the Python services read, 010 is 8 and yes is true.
            Reading::Text(text) => FLAGS_OF_YAML_1_1.contains(&text) || is_padded(text),
        }
    }
}

/// Whether every reader of JSON takes the number for what it is.
fn fits_json(number: i128) -> bool {
    i64::try_from(number).is_ok() || u64::try_from(number).is_ok()
}

fn json_number(number: f64) -> Option<String> {
    Some(serde_json::Number::from_f64(number)?.to_string())
}

/// A plain scalar as YAML 1.2 reads it.
fn read_plain(text: &str) -> Reading<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Reading::Null,
        "true" | "True" | "TRUE" => return Reading::Flag(true),
        "false" | "False" | "FALSE" => return Reading::Flag(false),
        ".nan" | ".NaN" | ".NAN" => return Reading::Number(f64::NAN),
        _ => {}
    }
    let (negative, digits) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.starts_with(['+', '-']) || is_padded(text) {
        return Reading::Text(text);
    }
    let based = [("0x", 16), ("0o", 8), ("0b", 2)];
    let based =
        based.into_iter().find_map(|(prefix, base)| Some((digits.strip_prefix(prefix)?, base)));
    let (digits_alone, base) = based.unwrap_or((digits, 10));
    if !digits_alone.starts_with(['+', '-'])
        && let Ok(number) = i128::from_str_radix(digits_alone, base)
    {
        return Reading::Whole(if negative { -number } else { number });
    }
    let sign = if negative { -1.0 } else { 1.0 };
    match digits {
        ".inf" | ".Inf" | ".INF" => Reading::Number(sign * f64::INFINITY),
        _ if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => Reading::Text(text),
        _ => match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => Reading::Number(sign * number),
            _ => Reading::Text(text),
        },
    }
}

/// Digits with a needless 0 in front are text to YAML 1.2.
fn is_padded(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A value as a message shows it. The inside of a list or a mapping is never shown: it may be a secret.
pub(crate) fn shown(value: &Node) -> String {
    match (&value.tag, value.reading(), value.written()) {
        (Some(tag), ..) => format!("a value tagged {tag}"),
        (None, Some(Reading::Null), _) => "null".to_owned(),
        (None, Some(Reading::Text(text)), _) => shown_text(text),
        // As it was written, which is how a person finds it.
        (None, Some(_), Some(text)) => shown_text(text).replace('"', ""),
        _ => shape(value),
    }
}

/// The same without text, which may be a secret where a mapping belongs.
pub(super) fn shown_shape(value: &Node) -> String {
    if value.as_str().is_some() { "text".to_owned() } else { shown(value) }
}

fn shape(value: &Node) -> String {
    let shape = match &value.kind {
        Kind::Scalar { .. } => "a value",
        Kind::List(_) => "a list",
        Kind::Mapping(_) => "a mapping",
    };
    shape.to_owned()
}

/// A key as a path shows it.
pub(super) fn shown_key(key: &Node) -> String {
    key.written().map_or_else(|| shape(key), str::to_owned)
}

/// Where each key stands in the file: `scheduler.jobs.vault_sync.cron` on line 14, `command[0]` on line 20.
#[derive(Clone, Default)]
pub struct Lines(Option<Arc<Node>>);

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The file may hold a password.
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn of(tree: Arc<Node>) -> Lines {
        Lines(Some(tree))
    }

    /// The line on which `path` is written; where it is not in the file itself, the line of the nearest thing around
    /// it that is. `None` only when nothing around it is in the file either.
    pub fn line_of(&self, path: &str) -> Option<usize> {
        let tree = self.0.as_deref()?;
        let (_, line) = nearest(tree, path)?;
        Some(line as usize)
    }

    /// The keys below the root for which `is_ours` holds that are given twice: path, first and second line.
    pub(super) fn twins(&self, is_ours: impl Fn(&str) -> bool) -> Vec<(String, Twin)> {
        let mut found = Vec::new();
        if let Some(tree) = &self.0 {
            collect_twins(tree, "", &is_ours, &mut found);
        }
        // A value that came by an alias stands in one place only.
        found.dedup_by(|(_, a), (_, b)| (a.first, a.second) == (b.first, b.second));
        found
    }
}

/// The letters of `path` that were found and the line of the innermost thing they name. A key may hold a dot, so of the
/// keys that fit the one that leads furthest counts.
fn nearest(node: &Node, path: &str) -> Option<(usize, u32)> {
    let below = |from: usize, line: u32, value: &Node| {
        let rest = &path[from..];
        let rest_at = from + usize::from(rest.starts_with('.'));
        match nearest(value, &path[rest_at..]) {
            Some((length, line)) => (rest_at + length, line),
            None => (from, line),
        }
    };
    if let Some(rest) = path.strip_prefix('[') {
        let (index, _) = rest.split_once(']')?;
        let Kind::List(items) = &node.kind else { return None };
        let item = items.get(index.parse::<usize>().ok()?)?;
        return Some(below(index.len() + 2, item.line, item));
    }
    let Kind::Mapping(mapping) = &node.kind else { return None };
    let fits = |(key, value): &Entry| {
        let rest = path.strip_prefix(key.written()?)?;
        let ends = rest.is_empty() || rest.starts_with(['.', '[']);
        ends.then(|| below(path.len() - rest.len(), key.line, value))
    };
    mapping.entries.iter().filter_map(fits).max_by_key(|(length, _)| *length)
}

fn collect_twins(
    node: &Node,
    path: &str,
    is_ours: &impl Fn(&str) -> bool,
    found: &mut Vec<(String, Twin)>,
) {
    match &node.kind {
        Kind::Scalar { .. } => {}
        Kind::List(items) => {
            for (i, item) in items.iter().enumerate() {
                collect_twins(item, &format!("{path}[{i}]"), is_ours, found);
            }
        }
        Kind::Mapping(mapping) => {
            let Mapping { entries, twins } = &**mapping;
            let path_of = |key: &str| match path {
                "" => Cow::Borrowed(key).into_owned(),
                path => format!("{path}.{key}"),
            };
            let ours = twins.iter().map(|twin| (path_of(&twin.key), twin.clone()));
            found.extend(ours.filter(|(path, _)| is_ours(path)));
            for (key, value) in entries {
                collect_twins(value, &path_of(&shown_key(key)), is_ours, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    fn node(yaml: &str) -> Arc<Node> {
        tree::parse(yaml, None).unwrap()
    }

    #[track_caller]
    fn case(yaml: &str, path: &str, line: Option<usize>) {
        assert_eq!(Lines::of(node(yaml)).line_of(path), line, "{path} in\n{yaml}");
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
    fn a_key_with_a_dot_is_found_as_well_as_two_keys() {
        case("a.b:\n  c: 1\na:\n  b: {d: 1}\n", "a.b.c", Some(2));
        case("a.b:\n  c: 1\na:\n  b: {d: 1}\n", "a.b.d", Some(4));
        case("a.b: &a 1\na: {b: *a}\n", "a.b.c.d", Some(2));
    }

    #[test]
    fn a_bare_yes_is_told_from_a_quoted_one() {
        let tree = node(
            "x: &x {on: off}\na: yes\nb: 'yes'\nc: \"No\"\nd: No\ne: nO\nf: true\ng: *x\nh: {<<: *x}\n",
        );
        let flag = |key: &str| tree.get(key).unwrap().as_flag();
        assert_eq!([flag("a"), flag("b"), flag("c")], [Some(true), None, None]);
        assert_eq!([flag("d"), flag("e"), flag("f")], [Some(false), None, Some(true)]);
        assert_eq!(tree.get("g").unwrap().get("on").unwrap().as_flag(), Some(false));
        assert_eq!(tree.get("h").unwrap().get("on").unwrap().as_flag(), Some(false));
    }

    #[test]
    fn a_key_given_twice_is_named_with_both_lines() {
        let twice = |yaml| {
            let found = Lines::of(node(yaml)).twins(|_| true).into_iter();
            found.map(|(path, twin)| (path, twin.first, twin.second)).collect::<Vec<_>>()
        };
        assert_eq!(twice("a:\n  b: 1\n  c: 2\n  b: 3\n"), [("a.b".to_owned(), 2, 4)]);
        assert_eq!(twice("a: {b: 1}\nc: {b: 1}\n"), []);
        assert_eq!(twice("? [1]\n: 1\n? [2]\n: 2\n"), []);
    }

    #[test]
    fn a_plain_scalar_is_read_as_yaml_1_2_reads_it() {
        use Reading::*;
        let cases = [
            ("~", Null),
            ("Null", Null),
            ("TRUE", Flag(true)),
            ("yes", Text("yes")),
            ("30", Whole(30)),
            ("+30", Whole(30)),
            ("-30", Whole(-30)),
            ("-0", Whole(0)),
            ("0x1F", Whole(31)),
            ("-0x1F", Whole(-31)),
            ("0o755", Whole(493)),
            ("0b11", Whole(3)),
            ("0755", Text("0755")),
            ("--5", Text("--5")),
            ("+-5", Text("+-5")),
            ("0x+5", Text("0x+5")),
            ("0xg", Text("0xg")),
            ("1.10", Number(1.1)),
            ("1e3", Number(1000.0)),
            (".5", Number(0.5)),
            ("-.inf", Number(f64::NEG_INFINITY)),
            ("inf", Text("inf")),
            ("nan", Text("nan")),
            ("infinity", Text("infinity")),
            ("1e999", Text("1e999")),
            (".", Text(".")),
            ("1.2.3", Text("1.2.3")),
            ("é", Text("é")),
        ];
        for (text, expected) in cases {
            assert_eq!(node(text).reading(), Some(expected), "{text}");
        }
        assert!(matches!(node(".nan").reading(), Some(Number(number)) if number.is_nan()));
        assert!(matches!(node(&"9".repeat(50)).reading(), Some(Number(_))));
        assert_eq!(node("'30'").reading(), Some(Text("30")));
        assert_eq!(node("!!str 30").reading(), Some(Text("30")));
        assert_eq!(node("!!int '30'").reading(), Some(Whole(30)));
        assert_eq!(node("!mine 30").reading(), None);
    }

    #[test]
    fn text_that_another_reader_would_change_is_known() {
        for text in [
            "+30",
            "0o755",
            "0x1F",
            "-0",
            ".nan",
            "1.10",
            "1e3",
            "0x+",
            "yes",
            "Off",
            "True",
            "~",
            "010",
            "123456789012345678901234567890",
            "1.0e0",
            "-.inf",
        ] {
            let otherwise = text != "0x+";
            assert_eq!(node(text).reads_otherwise(), otherwise, "{text}");
            assert!(!node(&format!("'{text}'")).reads_otherwise(), "{text} in quotes");
        }
        for text in ["30", "-30", "0", "1.5", "-0.25", "true", "false", "null", "text", "1.0"] {
            assert!(!node(text).reads_otherwise(), "{text}");
        }
    }
}
