//! A section of the file: keys are taken out of it one by one, and what is left is unknown.

use std::sync::Arc;

use super::given::{Findings, Given, Origin};
use super::node::{Entry, Node, shown, shown_key, shown_shape};
use super::value::{self, near_key, suggestion};

/// A value that may be given; `null` is the same as not given.
pub(super) type Maybe<T> = Option<Given<T>>;
/// A value that may be given, and for which `null` means something.
pub(super) type Nullable<T> = Option<Given<Option<T>>>;

/// A mapping whose keys are taken out one by one; what is left is unknown.
pub(super) struct Section<'f> {
    path: String,
    left: Vec<Entry>,
    /// The keys that were asked for: those there are, for a message about one there is not.
    asked: Vec<&'static str>,
    pub(super) findings: &'f mut Findings,
}

impl Section<'_> {
    /// The file as a whole.
    pub(super) fn root<'f>(tree: &Node, findings: &'f mut Findings) -> Section<'f> {
        let left = tree.entries().unwrap_or_default().to_vec();
        Section { path: String::new(), left, asked: Vec::new(), findings }
    }

    /// The section at `path`.
    pub(super) fn of<'f>(
        path: String,
        value: Option<&Node>,
        findings: &'f mut Findings,
    ) -> Section<'f> {
        let mut left = Vec::new();
        if let Some(value) = value.filter(|value| !value.is_null()) {
            match value.entries() {
                Some(entries) => left = entries.to_vec(),
                None => {
                    let message = "write a mapping: one `key: value` a line, indented";
                    findings.fault(&Origin::Key(path.clone()), Some(shown_shape(value)), message);
                }
            }
        }
        let mut section = Section { path, left, asked: Vec::new(), findings };
        // One that could be merged is merged already.
        if let Some(source) = section.remove("<<") {
            let at = Origin::Key(section.path_of("<<"));
            let message = "write an alias of a mapping, such as *defaults";
            section.findings.fault(&at, Some(shown_shape(&source)), message);
        }
        section
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.left.iter().any(|(name, value)| name.written() == Some(key) && !value.is_null())
    }

    pub(super) fn section(&mut self, key: &'static str) -> Section<'_> {
        let path = self.path_of(key);
        let value = self.take(key);
        Section::of(path, value.as_deref(), self.findings)
    }

    pub(super) fn maybe<T>(
        &mut self,
        key: &'static str,
        form: impl Fn(&Node) -> Result<T, String>,
    ) -> Maybe<T> {
        let Given { value, origin } = self.nullable(key, form)?;
        Some(Given { value: value?, origin })
    }

    pub(super) fn nullable<T>(
        &mut self,
        key: &'static str,
        form: impl Fn(&Node) -> Result<T, String>,
    ) -> Nullable<T> {
        let value = self.take(key)?;
        self.formed(key, &value, form, |value| Some(shown(value)))
    }

    /// The value, else `base`.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        form: impl Fn(&Node) -> Result<T, String>,
        base: T,
    ) -> T {
        self.maybe(key, form).map_or(base, |given| given.value)
    }

    /// The value, `None` for `null`, else `base`.
    pub(super) fn nullable_or<T>(
        &mut self,
        key: &'static str,
        form: impl Fn(&Node) -> Result<T, String>,
        base: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        self.nullable(key, form).map_or_else(base, |given| given.value)
    }

    /// `true` or `false`, also as YAML 1.1 writes it: a file of the Python services may say `yes`.
    pub(super) fn flag(&mut self, key: &'static str) -> Maybe<bool> {
        self.maybe(key, value::flag)
    }

    /// Text that is never shown.
    pub(super) fn secret(&mut self, key: &'static str) -> Maybe<String> {
        let Given { value, origin } = self.unshown(key, value::text)?;
        Some(Given { value: value?, origin })
    }

    /// A value that may hold a secret: where it is wrong, the message says so without it.
    pub(super) fn unshown<T>(
        &mut self,
        key: &'static str,
        form: impl Fn(&Node) -> Result<T, String>,
    ) -> Nullable<T> {
        let value = self.take(key)?;
        self.formed(key, &value, form, |_| None)
    }

    /// A program and its arguments.
    pub(super) fn command(&mut self, key: &'static str) -> Nullable<Vec<String>> {
        let value = self.take(key)?;
        self.note_if_reads_otherwise(key, &value);
        self.formed(key, &value, value::argv, |value| match value.as_str() {
            Some(_) => None,
            None => Some(shown(value)),
        })
    }

    /// Takes note of each parameter that YAML does not read as the text it is.
    pub(super) fn note_what_reads_otherwise(&mut self) {
        for (key, value) in &self.left {
            let path = self.path_of(&shown_key(key));
            note(value, &path, &mut self.findings.read_otherwise);
        }
    }

    /// The same for one value.
    pub(super) fn note_if_reads_otherwise(&mut self, key: &str, value: &Node) {
        let path = self.path_of(key);
        note(value, &path, &mut self.findings.read_otherwise);
    }

    fn formed<T>(
        &mut self,
        key: &str,
        value: &Node,
        form: impl Fn(&Node) -> Result<T, String>,
        shown: impl Fn(&Node) -> Option<String>,
    ) -> Nullable<T> {
        let origin = Origin::Key(self.path_of(key));
        if value.is_null() {
            return Some(Given { value: None, origin });
        }
        match form(value) {
            Ok(formed) => Some(Given { value: Some(formed), origin }),
            Err(message) => {
                self.findings.fault(&origin, shown(value), message);
                None
            }
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Arc<Node>> {
        self.asked.push(key);
        #[cfg(test)]
        self.findings.asked.insert(self.path_of(key));
        self.remove(key)
    }

    fn remove(&mut self, key: &str) -> Option<Arc<Node>> {
        let at = self.left.iter().position(|(name, _)| name.written() == Some(key))?;
        Some(self.left.remove(at).1)
    }

    /// All keys with their values, for a section that has no keys of its own.
    pub(super) fn take_all(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.left)
    }

    /// The keys that were not asked for.
    pub(super) fn into_rest(self) -> Vec<Entry> {
        self.left
    }

    pub(super) fn unknown_keys(&self) -> Vec<String> {
        self.left.iter().map(|(key, _)| shown_key(key)).collect()
    }

    /// The key asked for that `key` was probably meant to be.
    pub(super) fn meant(&self, key: &str) -> Option<&'static str> {
        suggestion(key, self.asked.iter().copied())
    }

    /// For a section that is ours alone: an unknown key is a fault.
    pub(super) fn refuse_unknown(self) {
        for key in self.unknown_keys() {
            let message = match self.meant(&key) {
                Some(meant) => no_such_setting(meant),
                None => format!("there is no such setting; there are {}", self.asked.join(", ")),
            };
            self.findings.fault(&Origin::Key(self.path_of(&key)), None, message);
        }
    }

    /// For a section shared with other services: an unknown key is theirs, unless it looks like a slip of the pen.
    pub(super) fn pass_over_unknown(self) {
        for key in self.unknown_keys() {
            if let Some(meant) = near_key(&key, &self.asked) {
                let message =
                    format!("not read, as no setting has this name: did you mean {meant}?");
                self.findings.warn(&Origin::Key(self.path_of(&key)), None, message);
            }
        }
    }
}

fn note(value: &Node, path: &str, found: &mut Vec<String>) {
    if value.reads_otherwise() && !value.is_null() {
        found.push(path.to_owned());
    }
    for (i, item) in value.as_list().into_iter().flatten().enumerate() {
        note(item, &format!("{path}[{i}]"), found);
    }
    for (key, value) in value.entries().unwrap_or_default() {
        note(value, &format!("{path}.{}", shown_key(key)), found);
    }
}

fn no_such_setting(meant: &str) -> String {
    format!("there is no such setting: did you mean {meant}?")
}

/// Whether a path lies where settings are read; elsewhere a key given twice is the other services' business.
pub(super) fn is_ours(path: &str) -> bool {
    const SECTIONS: [&str; 5] = ["paths", "databases", "scheduler", "processing", "logging"];
    const READ: [&str; 7] = [
        "paths",
        "scheduler",
        "databases.graph",
        "databases.embedded",
        "databases.neo4j",
        "processing.retries",
        "logging.level",
    ];
    let is_below = |read: &str| {
        path.strip_prefix(read).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    SECTIONS.contains(&path) || READ.into_iter().any(is_below)
}
