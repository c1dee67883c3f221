//! From text to a tree of [`Node`]s, in one reading, event by event. The only file that names `saphyr_parser`.
//!
//! Bounds keep a small file from growing large and a reader from falling over: how deep values are nested, and how much
//! aliases bring. The readers of single values judge those.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::error::{ConfigErrors, Mistake, Place};
use super::node::{Entry, Kind, Mapping, Node, Twin};

/// No configuration is nested deeper.
const DEPTH_MAX: u32 = 100;
/// No configuration brings more values by aliases.
const ALIASED_MAX: u32 = 100_000;

/// Reads the text. An empty one is null.
pub(super) fn parse(yaml: &str, file: Option<&str>) -> Result<Arc<Node>, ConfigErrors> {
    // The reader takes a byte order mark in front of a key for a document of its own.
    let yaml = yaml.strip_prefix('\u{feff}').unwrap_or(yaml);
    let broken = |at, what: &str| {
        ConfigErrors::from(fault_of_file(file, Some(at), format!("broken YAML: {what}")))
    };
    if let Some((at, c)) = yaml.char_indices().find(|(_, c)| !is_allowed(*c)) {
        let what = format!("control character U+{:04X}: take it out", u32::from(c));
        return Err(broken(position(yaml, at), &what));
    }
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(yaml);
    while let Some(event) = parser.next_event() {
        let (event, at) = match event {
            Ok((event, span)) => (event, (span.start.line(), span.start.col() + 1)),
            Err(error) => {
                let at = (error.marker().line(), error.marker().col() + 1);
                // The parser reads ahead, and stops by itself at some depth.
                let what = match error.info() {
                    "recursion limit exceeded" => TOO_DEEP.to_owned(),
                    info => format!("{info}{}", hint(yaml, at.0, info)),
                };
                return Err(broken(at, &what));
            }
        };
        builder.event(event, at).map_err(|what| broken(at, what))?;
    }
    Ok(builder.root.unwrap_or_else(|| Arc::new(scalar("", true, 1))))
}

/// Something about the whole of a file, or a place in it that has no path.
pub(super) fn fault_of_file(
    file: Option<&str>,
    at: Option<(usize, usize)>,
    message: String,
) -> Mistake {
    let (line, column) = at.unzip();
    let place = Place::File { file: file.unwrap_or_default().to_owned(), line, column };
    Mistake { subject: String::new(), value: None, message, place }
}

/// The characters that YAML allows in a file.
fn is_allowed(c: char) -> bool {
    !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{85}')
}

/// Line and column of a byte, counted from 1.
fn position(yaml: &str, at: usize) -> (usize, usize) {
    let before = &yaml[..at];
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// The most frequent cause of broken YAML on this line.
fn hint(yaml: &str, line: usize, info: &str) -> &'static str {
    let line = yaml.lines().nth(line.saturating_sub(1)).unwrap_or("");
    let value = line.split_once(": ").map_or("", |(_, value)| value.trim_start());
    if line.trim_start_matches(' ').starts_with('\t') {
        ": indent with spaces, not tabs"
    } else if value.starts_with(['*', '@', '%', '`'])
        || value.starts_with("[:")
        || value.contains("${")
    {
        ": put the value in quotes"
    } else if value.contains(": ") {
        ": put a value that holds a colon in quotes"
    } else if info.ends_with("did not find expected key") {
        ": indent the keys of one section alike"
    } else {
        ""
    }
}

#[derive(Default)]
struct Builder {
    /// Collections that have begun and not ended, the innermost last.
    open: Vec<Open>,
    root: Option<Arc<Node>>,
    documents: u32,
    anchors: HashMap<usize, Arc<Node>>,
    aliased: u32,
}

struct Open {
    anchor: usize,
    tag: Option<Box<str>>,
    line: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Arc<Node>>),
    Mapping {
        entries: Vec<Entry>,
        twins: Vec<Twin>,
        /// Where the entry of a key stands.
        index: HashMap<Box<str>, usize>,
        /// The key whose value comes next.
        key: Option<Arc<Node>>,
    },
}

impl Builder {
    /// Takes one event that begins at line and column `at`. An `Err` says what is wrong there.
    fn event(&mut self, event: Event<'_>, at: (usize, usize)) -> Result<(), &'static str> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("a second document: keep one, without --- between settings");
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = match tag.as_deref().map(kind_of_tag) {
                    None | Some(TagKind::Foreign(_)) => style == ScalarStyle::Plain,
                    Some(TagKind::Text) => false,
                    Some(TagKind::Read) => true,
                };
                let mut node = scalar(&text, plain, at.0);
                node.tag = foreign(tag.as_deref());
                self.add(node, anchor)?;
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).map(Arc::clone) else {
                    return Err("an alias of the very thing it stands in: take it out");
                };
                self.aliased = self.aliased.saturating_add(node.size);
                if self.aliased > ALIASED_MAX {
                    return Err("aliases that multiply beyond all measure: write fewer");
                }
                if self.open.len() as u32 + node.height > DEPTH_MAX {
                    return Err(TOO_DEEP);
                }
                self.place(node);
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(anchor, tag.as_deref(), at, Inside::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                let inside = Inside::Mapping {
                    entries: Vec::new(),
                    twins: Vec::new(),
                    index: HashMap::new(),
                    key: None,
                };
                self.begin(anchor, tag.as_deref(), at, inside)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            _ => {}
        }
        Ok(())
    }

    fn begin(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        at: (usize, usize),
        inside: Inside,
    ) -> Result<(), &'static str> {
        if self.open.len() as u32 >= DEPTH_MAX {
            return Err(TOO_DEEP);
        }
        self.open.push(Open { anchor, tag: foreign(tag), line: at.0, inside });
        Ok(())
    }

    fn end(&mut self) -> Result<(), &'static str> {
        let Some(Open { anchor, tag, line, inside }) = self.open.pop() else { return Ok(()) };
        let kind = match inside {
            Inside::List(items) => Kind::List(items.into()),
            Inside::Mapping { mut entries, twins, index, .. } => {
                merge(&mut entries, &index);
                // The usual job has few keys, and there may be thousands of jobs.
                entries.shrink_to_fit();
                Kind::Mapping(Box::new(Mapping { entries, twins }))
            }
        };
        self.add(node(kind, tag, line), anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), &'static str> {
        let node = Arc::new(node);
        // 0 is the parser's word for "no anchor".
        if anchor != 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        self.place(node);
        Ok(())
    }

    fn place(&mut self, node: Arc<Node>) {
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Mapping { entries, twins, index, key }) => {
                let Some(name) = key.take() else {
                    *key = Some(node);
                    return;
                };
                let known = name.written().and_then(|text| index.get(text).copied());
                match (known, name.written()) {
                    (Some(at), Some(text)) => {
                        let (first, second) = (entries[at].0.line, name.line);
                        twins.push(Twin { key: text.to_owned(), first, second });
                        // Of two, the later is read.
                        entries[at] = (name, node);
                    }
                    (_, text) => {
                        if let Some(text) = text {
                            index.insert(text.into(), entries.len());
                        }
                        entries.push((name, node));
                    }
                }
            }
        }
    }
}

const TOO_DEEP: &str = "values nested deeper than 100 levels: this is no configuration";

/// Fills in what `<<` brings: keys that the mapping does not have itself, the first source first. A `<<` before anything
/// but mappings stays, for whoever reads the section to refuse.
fn merge(entries: &mut Vec<Entry>, index: &HashMap<Box<str>, usize>) {
    let Some(&at) = index.get("<<") else { return };
    let sources = match &entries[at].1.kind {
        Kind::List(items) => items.to_vec(),
        _ => vec![Arc::clone(&entries[at].1)],
    };
    if sources.iter().any(|source| source.entries().is_none()) {
        return;
    }
    entries.remove(at);
    for (key, value) in sources.iter().filter_map(|source| source.entries()).flatten() {
        let is_known =
            |(known, _): &Entry| known.written().is_some() && known.written() == key.written();
        if !entries.iter().any(is_known) {
            entries.push((Arc::clone(key), Arc::clone(value)));
        }
    }
}

fn scalar(text: &str, plain: bool, line: usize) -> Node {
    node(Kind::Scalar { text: text.into(), plain }, None, line)
}

fn node(kind: Kind, tag: Option<Box<str>>, line: usize) -> Node {
    let (mut size, mut height) = (1_u32, 0);
    let mut count = |child: &Node| {
        size = size.saturating_add(child.size);
        height = height.max(child.height);
    };
    match &kind {
        Kind::Scalar { .. } => {}
        Kind::List(items) => items.iter().for_each(|item| count(item)),
        Kind::Mapping(mapping) => {
            for (key, value) in &mapping.entries {
                count(key);
                count(value);
            }
        }
    }
    let line = u32::try_from(line).unwrap_or(u32::MAX);
    Node { kind, tag, line, size, height: height + 1 }
}

enum TagKind {
    /// `!!str` and its like: never a number or a flag.
    Text,
    /// `!!int` and its like: read even in quotes.
    Read,
    /// One that is not YAML's own, as it is written.
    Foreign(Box<str>),
}

fn kind_of_tag(tag: &Tag) -> TagKind {
    if !tag.is_yaml_core_schema() {
        return match (tag.handle.as_str(), tag.suffix.as_str()) {
            ("", "!") | ("!", "") => TagKind::Text,
            (handle, suffix) => TagKind::Foreign(format!("{handle}{suffix}").into()),
        };
    }
    match tag.suffix.as_str() {
        "int" | "float" | "bool" | "null" => TagKind::Read,
        _ => TagKind::Text,
    }
}

fn foreign(tag: Option<&Tag>) -> Option<Box<str>> {
    match kind_of_tag(tag?) {
        TagKind::Foreign(tag) => Some(tag),
        TagKind::Text | TagKind::Read => None,
    }
}
