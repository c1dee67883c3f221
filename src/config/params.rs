//! The parameters of a job: every key of it that is not the scheduler's. The only file that names `serde_yaml`, which
//! hands a job its parameters as the type it wants, and never sees a text.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use serde_yaml::value::{Tag, TaggedValue};
use serde_yaml::{Mapping, Number, Value as Yaml};

use super::node::{Kind, Node, Reading, shown_key};
use super::tree;

/// The parameters of a job, as they were written.
#[derive(Clone, Default)]
pub struct Params(Vec<(Box<str>, Arc<Node>)>);

/// A parameter that does not fit the type a job wants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Misfit {
    /// The parameter, relative to the job (`names[1]`); empty for all of them together.
    pub place: String,
    /// The reason. Text from the file is not repeated, as it may be a secret.
    pub message: String,
}

impl fmt::Debug for Params {
    /// Without the values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Params) -> bool {
        self.to_json() == other.to_json()
    }
}

impl FromStr for Params {
    type Err = String;

    /// Reads a mapping of YAML: for the tests of a job.
    fn from_str(yaml: &str) -> Result<Params, String> {
        let tree = tree::parse(yaml, None).map_err(|faults| faults.to_string())?;
        let entries = tree.entries().ok_or("write a mapping")?;
        let entries = entries.iter().map(|(key, value)| (shown_key(key), Arc::clone(value)));
        Ok(Params::of(entries))
    }
}

impl Params {
    pub(super) fn of(entries: impl IntoIterator<Item = (String, Arc<Node>)>) -> Params {
        Params(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All of them as the type a job wants. The error names the parameter that does not fit.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Misfit> {
        let entries = self.iter().map(|(name, value)| (name.into(), yaml(value)));
        let all = Yaml::Mapping(entries.collect());
        serde_path_to_error::deserialize(all).map_err(|error| {
            let place = error.path().to_string();
            let message = without_text(&error.inner().to_string());
            let place = if place == "." { String::new() } else { place };
            // A key that the type does not have is named in the words only.
            let field =
                message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            let place = match field {
                Some(field) if !place.split('.').any(|part| part == field) => match &*place {
                    "" => field.to_owned(),
                    around => format!("{around}.{field}"),
                },
                _ => place,
            };
            Misfit { place, message }
        })
    }

    /// All of them as a JSON object, for a program. A plain scalar that JSON would not carry as it was written (`+30`,
    /// `0x1F`, `1.10`) becomes its text.
    pub fn to_json(&self) -> Json {
        Json::Object(self.iter().map(|(name, value)| (name.to_owned(), json(value))).collect())
    }
}

/// `invalid type: string "..."`: without what is in the quotes.
fn without_text(message: &str) -> String {
    let Some((before, rest)) = message.split_once("string \"") else { return message.to_owned() };
    match rest.rsplit_once("\", expected") {
        Some((_, behind)) => format!("{before}text, expected{behind}"),
        None => message.to_owned(),
    }
}

fn yaml(node: &Node) -> Yaml {
    let value = match (&node.kind, node.written()) {
        (Kind::List(items), _) => items.iter().map(|item| yaml(item)).collect(),
        (Kind::Mapping(mapping), _) => {
            let entries = mapping.entries.iter().map(|(key, value)| (yaml(key), yaml(value)));
            Yaml::Mapping(entries.collect::<Mapping>())
        }
        (Kind::Scalar { .. }, text) => match node.reading() {
            Some(Reading::Null) => Yaml::Null,
            Some(Reading::Flag(flag)) => flag.into(),
            Some(Reading::Whole(number)) => whole(number),
            Some(Reading::Number(number)) => number.into(),
            Some(Reading::Text(text)) => text.into(),
            None => text.unwrap_or_default().into(),
        },
    };
    match &node.tag {
        Some(tag) => Yaml::Tagged(Box::new(TaggedValue { tag: Tag::new(&**tag), value })),
        None => value,
    }
}

fn whole(number: i128) -> Yaml {
    let fits = u64::try_from(number).map(Number::from);
    let fits = fits.or_else(|_| i64::try_from(number).map(Number::from));
    Yaml::Number(fits.unwrap_or_else(|_| Number::from(number as f64)))
}

fn json(node: &Node) -> Json {
    match &node.kind {
        Kind::List(items) => items.iter().map(|item| json(item)).collect(),
        Kind::Mapping(mapping) => {
            let entries = mapping.entries.iter().map(|(key, value)| (shown_key(key), json(value)));
            Json::Object(entries.collect())
        }
        Kind::Scalar { text, .. } => match node.reading() {
            Some(Reading::Null) => Json::Null,
            Some(Reading::Flag(flag)) => flag.into(),
            _ if node.reads_otherwise() => Json::from(&**text),
            Some(Reading::Whole(number)) => match u64::try_from(number) {
                Ok(number) => number.into(),
                Err(_) => Json::from(number as i64),
            },
            Some(Reading::Number(number)) => number.into(),
            _ => Json::from(&**text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_what_was_written() {
        let params: Params = "{a: 25, b: -3, c: 1.5, d: true, e: null, f: text, g: +30, h: 0x1F, i: 1.10, j: .nan, k: yes, \
                              l: -0, m: 123456789012345678901234567890, n: [0o755, {o: '5'}], p: !x 5, q: 18446744073709551615}"
            .parse()
            .unwrap();
        assert_eq!(
            params.to_json().to_string(),
            r#"{"a":25,"b":-3,"c":1.5,"d":true,"e":null,"f":"text","g":"+30","h":"0x1F","i":"1.10","j":".nan","k":"yes","l":"-0","m":"123456789012345678901234567890","n":["0o755",{"o":"5"}],"p":"5","q":18446744073709551615}"#
        );
        assert_eq!(format!("{params:?}").matches("text").count(), 0, "a value may be a secret");
    }
}
