//! From text to a tree of values, and what is said when there is none. With `value` and `raw` the only files besides a
//! job's own parameters that know the YAML is read by `serde_yaml`.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_yaml::value::{Tag, TaggedValue};
use serde_yaml::{Mapping, Value};

use super::error::{ConfigErrors, Fault, Place};
use super::value::shown_key;

/// A text as a tree.
pub(super) struct Parsed {
    pub(super) tree: Value,
    /// Whether any mapping has a key twice.
    pub(super) has_duplicates: bool,
}

/// Reads the text.
pub(super) fn parse(yaml: &str, file: Option<&str>) -> Result<Parsed, ConfigErrors> {
    // The reader takes a byte order mark in front of a key for a document of its own.
    let yaml = yaml.strip_prefix('\u{feff}').unwrap_or(yaml);
    let has_duplicates = Cell::new(false);
    let text = serde_yaml::Deserializer::from_str(yaml);
    match (Tree { has_duplicates: &has_duplicates }).deserialize(text) {
        Ok(tree) => Ok(Parsed { tree, has_duplicates: has_duplicates.get() }),
        Err(error) => Err(broken(yaml, &error, file).into()),
    }
}

/// Something about the whole of a file, or a place in it that has no path.
pub(super) fn fault_of_file(
    file: Option<&str>,
    at: Option<(usize, usize)>,
    message: String,
) -> Fault {
    let (line, column) = at.unzip();
    let place = Place::File { file: file.unwrap_or_default().to_owned(), line, column };
    Fault { subject: String::new(), value: None, message, place }
}

/// Fills in what `<<` brings: keys that the mapping does not have itself, the first source first. What stands behind a
/// `<<` and is no mapping goes to `refused`, with its path.
pub(super) fn merge(value: &mut Value, path: &str, refused: &mut Vec<(String, Value)>) {
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping.iter_mut() {
                merge(value, &format!("{path}.{}", shown_key(key)), refused);
            }
            let sources = match mapping.shift_remove("<<") {
                None => Vec::new(),
                Some(Value::Sequence(sources)) => sources,
                Some(source) => vec![source],
            };
            for source in sources {
                match source {
                    Value::Mapping(source) => {
                        for (key, value) in source {
                            mapping.entry(key).or_insert(value);
                        }
                    }
                    other => refused.push((format!("{path}.<<"), other)),
                }
            }
        }
        Value::Sequence(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                merge(item, &format!("{path}[{i}]"), refused);
            }
        }
        _ => {}
    }
}

/// What the YAML reader says, in one line, and what is most often behind it.
fn broken(yaml: &str, error: &serde_yaml::Error, file: Option<&str>) -> Fault {
    let text = error.to_string();
    let (what, location) = match error.location() {
        // The place is said once, in front.
        Some(at) => {
            let place = format!(" at line {} column {}", at.line(), at.column());
            (text.replacen(&place, "", 1), Some((at.line(), at.column())))
        }
        None => (text, None),
    };
    // Control characters come with a byte position and a line that is always 1.
    let position = what.rsplit_once(" at position ").and_then(|(_, at)| at.parse::<usize>().ok());
    let location = match position.and_then(|at| yaml.get(..at)) {
        Some(before) => {
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            Some((before.matches('\n').count() + 1, column))
        }
        None => location,
    };
    let line =
        location.and_then(|(line, _)| yaml.lines().nth(line.saturating_sub(1))).unwrap_or("");
    let value = line.split_once(": ").map_or("", |(_, value)| value.trim_start());
    let hint = if line.trim_start_matches(' ').starts_with('\t') {
        ": indent with spaces, not tabs"
    } else if value.starts_with(['*', '@', '%', '`']) || value.starts_with("[:") {
        ": put the value in quotes"
    } else if what.contains("more than one document") {
        ": keep one, without --- between settings"
    } else {
        ""
    };
    let message = format!("broken YAML: {what}{hint}");
    fault_of_file(file, location, message)
}

/// Any YAML value. Unlike `serde_yaml`'s own reading it goes on at a key that is given twice (the later counts) and at
/// a whole number of any size, so that these are faults among others where they matter, and none where they do not.
#[derive(Clone, Copy)]
struct Tree<'f> {
    has_duplicates: &'f Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok((value as f64).into())
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok((value as f64).into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            sequence.push(item);
        }
        Ok(Value::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut mapping = Mapping::new();
        while let Some((key, value)) = entries.next_entry_seed(self, self)? {
            if mapping.insert(key, value).is_some() {
                self.has_duplicates.set(true);
            }
        }
        // The first key makes room for seven: half a kilobyte too much for the usual job, of which there may be thousands.
        mapping.shrink_to_fit();
        Ok(Value::Mapping(mapping))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (tag, contents) = tagged.variant::<String>()?;
        let value = contents.newtype_variant_seed(self)?;
        let tag = Tag::new(tag);
        Ok(Value::Tagged(Box::new(TaggedValue { tag, value })))
    }
}
