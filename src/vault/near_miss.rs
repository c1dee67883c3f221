//! Comments that look like markers and are none: the typing errors that cost a user hours, because nothing happens.
//!
//! Looked at only after a `<!--` that is no marker. Other comments of ours (`aclarai:entailed_score=0.95`) are no near
//! misses, and neither is prose.

use std::fmt;

use memchr::memmem;

use super::marker::ParseOptions;
use super::white::{number_at, skip_white, trim, white_at};

/// Why a comment that looks like a marker is none, and by that what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// No `-->` before the next comment or the end of the file.
    Unclosed,
    /// `<!---`, or anything else between `<!--` and `aclarai`.
    Opening,
    /// A capital letter in `aclarai`, `id` or `ver`.
    WrongCase,
    /// White space around `=` or `:`, or no `=` or `:` at all.
    Separator,
    /// `id` is not the first attribute.
    AttributeOrder,
    /// Nothing follows `id=`.
    NoId,
    /// The id has a `-`.
    HyphenInId,
    /// What follows `ver=` is not a number.
    NotANumber,
    /// An attribute other than `id` and `ver`, or one of them twice; its name.
    UnknownAttribute(String),
    /// `--!>`, `--->` or the like.
    Closing,
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            NearMiss::Unclosed => "the comment is not closed: end it with `-->`",
            NearMiss::Opening => "something is between `<!--` and `aclarai`: remove it",
            NearMiss::WrongCase => {
                "`aclarai`, `id` and `ver` are lower case: write `aclarai:id=... ver=...`"
            }
            NearMiss::Separator => {
                "no white space around `:` and `=`: write `aclarai:id=... ver=...`"
            }
            NearMiss::AttributeOrder => "`id` comes first: write `aclarai:id=... ver=...`",
            NearMiss::NoId => "the id is missing: write `aclarai:id=...`",
            NearMiss::HyphenInId => {
                "the id has a `-`, which the other services cannot see: \
                 write `_` instead, or set accept_hyphen_ids"
            }
            NearMiss::NotANumber => "`ver=` needs a whole number: write `ver=1`",
            NearMiss::UnknownAttribute(name) => {
                let name = crate::text::visible(name);
                return write!(f, "attribute `{name}` is not known: keep only `id` and `ver`");
            }
            NearMiss::Closing => "the comment does not end with `-->` alone: end it with ` -->`",
        };
        f.write_str(reason)
    }
}

/// Looks at what follows a `<!--` that begins no marker, up to the next `<!--`.
pub(super) fn examine(comment: &str, options: ParseOptions) -> Option<NearMiss> {
    let bytes = comment.as_bytes();
    let dashes = bytes.iter().take_while(|byte| **byte == b'-').count();
    let start = skip_white(bytes, dashes);
    let name = comment.get(start..start + "aclarai".len())?;
    if !name.eq_ignore_ascii_case("aclarai") {
        return None;
    }
    let name_end = start + name.len();
    let (key_start, has_colon) = separator(bytes, name_end, b":");
    let key = word_at(comment, key_start);
    let key_end = key_start + key.len();
    let (value_start, has_equals) = separator(bytes, key_end, b"=:");
    let is_key = ["id", "ver"].iter().any(|known| key.eq_ignore_ascii_case(known));
    // "aclarai id" in prose is not meant as a marker.
    if !is_key || !(has_equals || has_colon && key_start == name_end + 1) {
        return None;
    }

    let Some(close) = memmem::find(bytes, b"-->") else { return Some(NearMiss::Unclosed) };
    let value = trim(&comment[value_start..close.max(value_start)]);
    let is_upper = |word: &str| word.bytes().any(|byte| byte.is_ascii_uppercase());
    let has_no_id = value.is_empty() || starts_with_ver(value);
    Some(match () {
        () if is_upper(name) || is_upper(key) => NearMiss::WrongCase,
        () if key == "ver" => NearMiss::AttributeOrder,
        () if has_no_id => NearMiss::NoId,
        () if &comment[start..value_start] != "aclarai:id=" => NearMiss::Separator,
        () if dashes > 0 => NearMiss::Opening,
        () => attributes(value, options),
    })
}

/// What is wrong with `clm_x ver=2`, the part between `id=` and `-->`.
fn attributes(value: &str, options: ParseOptions) -> NearMiss {
    let mut words = words(value);
    let id = words.next().unwrap_or_default();
    let mut version_seen = false;
    for word in words {
        let name = word_at(word, 0);
        if word.bytes().all(|byte| byte == b'-') {
            return NearMiss::Closing;
        }
        if version_seen || !name.eq_ignore_ascii_case("ver") {
            let name = if name.is_empty() { word } else { name };
            return NearMiss::UnknownAttribute(name.chars().take(40).collect());
        }
        if name != "ver" {
            return NearMiss::WrongCase;
        }
        match word[name.len()..].strip_prefix('=') {
            None | Some("") => return NearMiss::Separator,
            Some(number) if number_at(number, 0).is_none_or(|(_, end)| end < number.len()) => {
                return NearMiss::NotANumber;
            }
            Some(_) => version_seen = true,
        }
    }
    if id.contains('-') && !options.accept_hyphen_ids {
        return NearMiss::HyphenInId;
    }
    NearMiss::Closing
}

/// Skips white space, one of `marks` and white space from `at` on; tells where that ends and whether the mark is there.
fn separator(text: &[u8], at: usize, marks: &[u8]) -> (usize, bool) {
    let at = skip_white(text, at);
    match text.get(at) {
        Some(mark) if marks.contains(mark) => (skip_white(text, at + 1), true),
        _ => (at, false),
    }
}

/// The letters, digits and underscores at `at`.
fn word_at(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    &rest[..end]
}

fn starts_with_ver(value: &str) -> bool {
    value.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("ver="))
}

/// The stretches of `text` between white space.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = skip_white(bytes, at);
        at = start;
        while at < bytes.len() && white_at(bytes, at) == 0 {
            at += 1;
        }
        (at > start).then(|| &text[start..at])
    })
}
