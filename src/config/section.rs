//! A section of the file: keys are taken out of it one by one, and what is left is unknown.

use serde_yaml::{Mapping, Value};

use super::given::{Findings, Given, Origin};
use super::value::{self, near_key, shown, shown_key, shown_shape, suggestion};
use super::yaml::merge;

/// A value that may be given; `null` is the same as not given.
pub(super) type Maybe<T> = Option<Given<T>>;
/// A value that may be given, and for which `null` means something.
pub(super) type Nullable<T> = Option<Given<Option<T>>>;

/// A mapping whose keys are taken out one by one; what is left is unknown.
pub(super) struct Section<'f> {
    path: String,
    left: Mapping,
    /// The keys that were asked for: those there are, for a message about one there is not.
    asked: Vec<&'static str>,
    pub(super) findings: &'f mut Findings,
}

impl Section<'_> {
    /// The file as a whole.
    pub(super) fn root(left: Mapping, findings: &mut Findings) -> Section<'_> {
        Section { path: String::new(), left, asked: Vec::new(), findings }
    }

    /// What stands at `path`.
    pub(super) fn of(path: String, value: Option<Value>, findings: &mut Findings) -> Section<'_> {
        let left = match value {
            None | Some(Value::Null) => Mapping::new(),
            Some(Value::Mapping(mapping)) => mapping,
            Some(other) => {
                let message = "write a mapping: one `key: value` a line, indented";
                findings.fault(&Origin::Key(path.clone()), Some(shown_shape(&other)), message);
                Mapping::new()
            }
        };
        Section { path, left, asked: Vec::new(), findings }
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.left.get(key).is_some_and(|value| !value.is_null())
    }

    pub(super) fn section(&mut self, key: &'static str) -> Section<'_> {
        let path = self.path_of(key);
        let mut value = self.take(key);
        // Once, for the whole of a section of the file.
        if self.path.is_empty() {
            let mut refused = Vec::new();
            if let Some(value) = &mut value {
                merge(value, &path, &mut refused);
            }
            for (path, value) in refused.into_iter().filter(|(path, _)| is_ours(path)) {
                let message = "write an alias of a mapping, such as *defaults";
                self.findings.fault(&Origin::Key(path), Some(shown_shape(&value)), message);
            }
        }
        Section::of(path, value, self.findings)
    }

    pub(super) fn maybe<T>(
        &mut self,
        key: &'static str,
        form: impl Fn(&Value) -> Result<T, String>,
    ) -> Maybe<T> {
        let Given { value, origin } = self.nullable(key, form)?;
        Some(Given { value: value?, origin })
    }

    pub(super) fn nullable<T>(
        &mut self,
        key: &'static str,
        form: impl Fn(&Value) -> Result<T, String>,
    ) -> Nullable<T> {
        let value = self.take(key)?;
        self.formed(key, value, form, |value| Some(shown(value)))
    }

    /// The value, else `base`.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        form: impl Fn(&Value) -> Result<T, String>,
        base: T,
    ) -> T {
        self.maybe(key, form).map_or(base, |given| given.value)
    }

    /// The value, `None` for `null`, else `base`.
    pub(super) fn nullable_or<T>(
        &mut self,
        key: &'static str,
        form: impl Fn(&Value) -> Result<T, String>,
        base: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        self.nullable(key, form).map_or_else(base, |given| given.value)
    }

    /// `true` or `false`, also as YAML 1.1 writes it: a file of the Python services may say `yes`.
    pub(super) fn flag(&mut self, key: &'static str) -> Maybe<bool> {
        self.understand_bare_flag(key);
        self.maybe(key, value::flag)
    }

    pub(super) fn understand_bare_flag(&mut self, key: &str) {
        let path = self.path_of(key);
        if let Some(value) = self.left.get_mut(key)
            && let Some(flag) = value.as_str().and_then(value::flag_word)
            && self.findings.lines.is_bare_flag(&path)
        {
            *value = flag.into();
        }
    }

    /// Text that is never shown.
    pub(super) fn secret(&mut self, key: &'static str) -> Maybe<String> {
        let value = self.take(key)?;
        let Given { value, origin } = self.formed(key, value, value::text, |_| None)?;
        Some(Given { value: value?, origin })
    }

    fn formed<T>(
        &mut self,
        key: &str,
        value: Value,
        form: impl Fn(&Value) -> Result<T, String>,
        shown: impl Fn(&Value) -> Option<String>,
    ) -> Nullable<T> {
        let origin = Origin::Key(self.path_of(key));
        if value.is_null() {
            return Some(Given { value: None, origin });
        }
        match form(&value) {
            Ok(formed) => Some(Given { value: Some(formed), origin }),
            Err(message) => {
                self.findings.fault(&origin, shown(&value), message);
                None
            }
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.asked.push(key);
        #[cfg(test)]
        self.findings.asked.insert(self.path_of(key));
        self.left.remove(key)
    }

    /// All keys with their values, for a section that has no keys of its own.
    pub(super) fn take_all(&mut self) -> Mapping {
        std::mem::take(&mut self.left)
    }

    /// What was not asked for.
    pub(super) fn into_rest(self) -> Mapping {
        self.left
    }

    pub(super) fn unknown_keys(&self) -> Vec<String> {
        self.left.keys().map(shown_key).collect()
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

pub(super) fn no_such_setting(meant: &str) -> String {
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
