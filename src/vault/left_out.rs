//! Which notes a person wants left out: patterns in the syntax of `.gitignore`, and Obsidian's own list. The only file
//! that names the crate `ignore`.
//!
//! Patterns come from three places. All are relative to the vault's root, and of several that match the last one
//! decides, so that a pattern with `!` takes a note back in:
//!
//! 1. `userIgnoreFilters` of `.obsidian/app.json`, where that is asked for. They are no patterns: a filter is the
//!    beginning of a path in any case of letters, or a regular expression between two slashes. A note that one of them
//!    matches stays out.
//! 2. The file `.aclaraiignore` in the vault's root.
//! 3. `ignore` in the configuration.
//!
//! A list that is there and cannot be read ends the run: without it, notes would come into the graph that a person wants
//! kept out of it.

use std::fmt;
use std::io;
use std::path::Path;

use ::ignore::Match;
use ::ignore::gitignore::{Gitignore, GitignoreBuilder};
use regex_automata::meta::Regex;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::fault::VaultError;
use super::root::Root;
use crate::block::VaultPath;

/// The vault's own list of patterns.
pub(crate) const IGNORE_FILE: &str = ".aclaraiignore";

/// Obsidian's settings.
const OBSIDIAN_FILE: &str = ".obsidian/app.json";

/// No list that a person wrote is longer.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// Compiled patterns take at most this much memory, for each place they come from.
const REGEX_BYTES_MAX: usize = 10 << 20;

/// Which notes the configuration wants left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreRules {
    /// Patterns in the syntax of `.gitignore`.
    pub patterns: Vec<String>,
    /// Also leave out what Obsidian's own settings exclude.
    pub obsidian_excluded: bool,
}

impl IgnoreRules {
    /// Checks a pattern. An error tells what is wrong with it.
    pub fn check(pattern: &str) -> Result<(), String> {
        GitignoreBuilder::new("").add_line(None, pattern).map(|_| ()).map_err(|error| shown(&error))
    }
}

/// Where a pattern comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IgnoreSource {
    /// Obsidian's settings.
    Obsidian,
    /// The file `.aclaraiignore`.
    File,
    /// The parameter `ignore`.
    Configuration,
}

impl fmt::Display for IgnoreSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IgnoreSource::Obsidian => OBSIDIAN_FILE,
            IgnoreSource::File => IGNORE_FILE,
            IgnoreSource::Configuration => "ignore",
        })
    }
}

/// The pattern that leaves a note out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IgnoredBy {
    /// Where the pattern comes from.
    pub source: IgnoreSource,
    /// The pattern as written.
    pub pattern: String,
}

impl fmt::Display for IgnoredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "left out by `{}` of {}", self.pattern, self.source)
    }
}

/// All patterns for one vault, ready to be asked.
#[derive(Debug)]
pub struct Ignore {
    /// The patterns of the file, then those of the configuration.
    patterns: Gitignore,
    filters: Vec<Filter>,
    /// Every pattern as written and where it comes from, in the order in which they count.
    written: Vec<IgnoredBy>,
}

#[derive(Debug)]
struct Filter {
    written: String,
    kind: FilterKind,
}

#[derive(Debug)]
enum FilterKind {
    /// The beginning of a path, in lower case.
    Begins(String),
    Matches(Box<Regex>),
}

impl Ignore {
    /// Reads the lists of the vault.
    pub(super) fn load(root: &Root, rules: &IgnoreRules) -> Result<Ignore, VaultError> {
        let refuse =
            |file: &str, why: String| VaultError::List { path: root.path().join(file), why };
        let mut builder = GitignoreBuilder::new("");
        let mut written = Vec::new();
        let mut add =
            |source, pattern: &str| match builder.add_line(Some(name(source).into()), pattern) {
                Ok(_) => {
                    // As the crate keeps it.
                    written.push(IgnoredBy { source, pattern: pattern.trim_end().to_owned() });
                    Ok(())
                }
                Err(error) => Err(shown(&error)),
            };
        let list = read_list(root, IGNORE_FILE).map_err(|why| refuse(IGNORE_FILE, why))?;
        for (number, line) in
            (1..).zip(list.unwrap_or_default().trim_start_matches('\u{feff}').lines())
        {
            add(IgnoreSource::File, line)
                .map_err(|why| refuse(IGNORE_FILE, format!("line {number}: {why}")))?;
        }
        for pattern in &rules.patterns {
            add(IgnoreSource::Configuration, pattern)
                .map_err(|why| refuse("", format!("ignore: {why}")))?;
        }
        let patterns = builder.build().map_err(|error| refuse("", shown(&error)))?;
        let mut filters = Vec::new();
        if rules.obsidian_excluded
            && let Some(settings) =
                read_list(root, OBSIDIAN_FILE).map_err(|why| refuse(OBSIDIAN_FILE, why))?
        {
            filters = obsidian_filters(&settings).map_err(|why| refuse(OBSIDIAN_FILE, why))?;
        }
        Ok(Ignore { patterns, filters, written })
    }

    /// Nothing is left out.
    #[cfg(test)]
    pub(super) fn nothing() -> Ignore {
        Ignore { patterns: Gitignore::empty(), filters: Vec::new(), written: Vec::new() }
    }

    /// Whether there is no pattern at all.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.filters.is_empty()
    }

    /// Every pattern, in the order in which they count.
    pub(super) fn written(&self) -> Vec<IgnoredBy> {
        let filters = self.filters.iter().map(|filter| IgnoredBy {
            source: IgnoreSource::Obsidian,
            pattern: filter.written.clone(),
        });
        let is_pattern = |written: &&IgnoredBy| {
            let line = written.pattern.trim();
            !line.is_empty() && !line.starts_with('#')
        };
        filters.chain(self.written.iter().filter(is_pattern).cloned()).collect()
    }

    /// The pattern that leaves a whole folder out.
    pub(super) fn folder(&self, path: &Path) -> Option<IgnoredBy> {
        if self.patterns.is_empty() {
            return None;
        }
        let mut above: Vec<&Path> =
            path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        above.reverse();
        above.into_iter().find_map(|folder| self.by_pattern(folder, true))
    }

    /// The pattern that leaves a note out whose folder is not left out.
    pub(super) fn note(&self, path: &VaultPath) -> Option<IgnoredBy> {
        if !self.filters.is_empty() {
            let shown = path.as_path().to_string_lossy();
            let lower = shown.to_lowercase();
            let found = self.filters.iter().find(|filter| match &filter.kind {
                FilterKind::Begins(begin) => lower.starts_with(begin.as_str()),
                FilterKind::Matches(regex) => regex.is_match(shown.as_bytes()),
            });
            if let Some(filter) = found {
                let pattern = filter.written.clone();
                return Some(IgnoredBy { source: IgnoreSource::Obsidian, pattern });
            }
        }
        self.by_pattern(path.as_path(), false)
    }

    /// The pattern that leaves out what is at `path`, if one does.
    pub fn why(&self, path: &VaultPath) -> Option<IgnoredBy> {
        let folder = path.as_path().parent().unwrap_or(Path::new(""));
        self.folder(folder).or_else(|| self.note(path))
    }

    fn by_pattern(&self, path: &Path, is_folder: bool) -> Option<IgnoredBy> {
        match self.patterns.matched(path, is_folder) {
            Match::Ignore(glob) => {
                let is_files = glob.from() == Some(Path::new(name(IgnoreSource::File)));
                let source =
                    if is_files { IgnoreSource::File } else { IgnoreSource::Configuration };
                Some(IgnoredBy { source, pattern: glob.original().to_owned() })
            }
            Match::None | Match::Whitelist(_) => None,
        }
    }
}

/// How a pattern's source is noted beside it.
fn name(source: IgnoreSource) -> &'static str {
    match source {
        IgnoreSource::File => IGNORE_FILE,
        IgnoreSource::Obsidian | IgnoreSource::Configuration => "ignore",
    }
}

/// The text of a list in the vault; `None` if there is none. Never waits, and never leaves the vault.
fn read_list(root: &Root, file: &str) -> Result<Option<String>, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let handle = match root.open_through_links(&VaultPath::new(file), flags) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
            return Err("it is reached by a link that leaves the vault: put the file itself there"
                .to_owned());
        }
        Err(error) => return Err(format!("cannot open it: {}", crate::text::with_remedy(&error))),
    };
    let file = std::fs::File::from(handle);
    let metadata = file.metadata().map_err(|error| format!("cannot look at it: {error}"))?;
    if !metadata.is_file() {
        return Err("it is no file: remove it, or put a list of patterns there".to_owned());
    }
    if metadata.len() > LIST_BYTES_MAX {
        return Err(format!("it has {} bytes: at most {LIST_BYTES_MAX} are read", metadata.len()));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, LIST_BYTES_MAX), &mut bytes)
        .map_err(|error| format!("cannot read it: {error}"))?;
    String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8: save it as UTF-8".to_owned())
}

/// The filters in Obsidian's settings.
fn obsidian_filters(settings: &str) -> Result<Vec<Filter>, String> {
    let settings: serde_json::Value = serde_json::from_str(settings.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("no JSON: {error}"))?;
    let filters = match settings.get("userIgnoreFilters") {
        None | Some(serde_json::Value::Null) => return Ok(Vec::new()),
        Some(filters) => filters.as_array().ok_or("userIgnoreFilters is no list")?,
    };
    let filters = filters.iter().map(|filter| {
        let written = filter.as_str().ok_or("userIgnoreFilters has an entry that is no text")?;
        let between = written.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let kind = match between.filter(|between| !between.is_empty()) {
            None => FilterKind::Begins(written.to_lowercase()),
            Some(expression) => {
                let config = Regex::config().nfa_size_limit(Some(REGEX_BYTES_MAX));
                let regex = Regex::builder().configure(config).build(expression).map_err(|_| {
                    format!("userIgnoreFilters: {written}: not a regular expression that can be used here: write it as a \
                             pattern in {IGNORE_FILE}, and set ignore_obsidian_excluded to false")
                })?;
                FilterKind::Matches(Box::new(regex))
            }
        };
        Ok(Filter { written: written.to_owned(), kind })
    });
    // An empty filter would be the beginning of every path.
    let is_filter = |filter: &Result<Filter, String>| !matches!(filter, Ok(Filter { written, .. }) if written.trim().is_empty());
    filters.filter(is_filter).collect()
}

/// The message of the crate, which names its own line numbers.
fn shown(error: &::ignore::Error) -> String {
    match error {
        ::ignore::Error::WithPath { err, .. }
        | ::ignore::Error::WithLineNumber { err, .. }
        | ::ignore::Error::WithDepth { err, .. } => shown(err),
        ::ignore::Error::Glob { glob: Some(glob), err } => format!("`{glob}`: {err}"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
