//! Comments that look like markers and are none: the typing errors that cost a user hours, because nothing happens.
//!
//! Three things are looked at: what follows a `<!--` that begins no marker, what stands before an `aclarai` that no
//! `<!--` precedes, and the ids of markers that follow the grammar. Other comments of ours
//! (`aclarai:entailed_score=0.95`) are no near misses, and neither is prose.

use std::fmt;

use memchr::memmem;

use super::marker::{ParseOptions, find, marker_at};
use super::white::{count_breaks, number_at, skip_white, trim, trim_end, white_at};
use crate::text::acts_unseen;

/// Why a comment that looks like a marker is none, and by that what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// No `-->` before the next comment or the end of the file.
    Unclosed,
    /// `<!---`, or anything else between `<!--` and `aclarai`.
    Opening,
    /// A capital letter in `aclarai`, `id` or `ver`.
    WrongCase,
    /// White space around `=` or `:`, another sign in the place of one, or none.
    Separator,
    /// `id` is not the first attribute.
    AttributeOrder,
    /// Nothing follows `id=`.
    NoId,
    /// The id has a `-`.
    HyphenInId,
    /// The value of `ver=` is not a number.
    NotANumber,
    /// An attribute other than `id` and `ver`, or one of them twice; its name.
    UnknownAttribute(String),
    /// `--!>`, `--->` or the like.
    Closing,
    /// A dash other than `-` where two hyphens belong: editors make them of `--`.
    SmartDash,
    /// `&lt;!--` or `--&gt;`: what was copied from the source of a web page.
    Escaped,
    /// A character that nobody sees is in the marker, or in its id.
    Invisible(char),
    /// The id has a quotation mark, a comma or the like, which is part of it.
    PunctuationInId(char),
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
                "a `:` and a `=` without white space belong here: write `aclarai:id=... ver=...`"
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
            NearMiss::SmartDash => {
                "a dash that is not `-`, as editors make of `--`: write `<!-- aclarai:id=... -->`"
            }
            NearMiss::Escaped => "`&lt;` and `&gt;` begin and end no comment: write `<` and `>`",
            NearMiss::Invisible(c) => {
                let code = u32::from(*c);
                return write!(
                    f,
                    "an invisible character (U+{code:04X}) is in it: type the marker anew"
                );
            }
            NearMiss::PunctuationInId(c) => {
                return write!(f, "`{c}` is part of the id: write the id without it");
            }
        };
        f.write_str(reason)
    }
}

/// So much of a comment is looked through for invisible characters, at most.
const COMMENT_BYTES: usize = 400;

/// Looks at what follows a `<!--` that begins no marker.
pub(super) fn examine(rest: &str, options: ParseOptions) -> Option<NearMiss> {
    let begin = &rest[..rest.floor_char_boundary(COMMENT_BYTES)];
    let begin = &begin[..find(begin, 0, "<!--").unwrap_or(begin.len())];
    let invisible = begin.chars().find(|c| is_invisible(*c));
    if let Some(c) = invisible {
        // Is it a marker, or nearly one, without the invisible characters?
        let visible: String = begin.chars().filter(|c| !is_invisible(*c)).collect();
        let is_marker = marker_at(&format!("<!--{visible}"), 0, options).is_some();
        if is_marker || examine_visible(&visible, options).is_some() {
            return Some(NearMiss::Invisible(c));
        }
    }
    examine_visible(rest, options)
}

fn examine_visible(rest: &str, options: ParseOptions) -> Option<NearMiss> {
    let bytes = rest.as_bytes();
    let dashes: usize = rest.chars().take_while(|c| is_dash(*c)).map(char::len_utf8).sum();
    let start = skip_white(bytes, dashes);
    let (name, key, value_start) = begins_marker(rest, start)?;
    // Up to the next comment.
    let rest = &rest[..find(rest, value_start, "<!--").unwrap_or(rest.len())];
    let first_line_end = memchr::memchr(b'\n', &rest.as_bytes()[value_start..]);
    let line = &rest[value_start..first_line_end.map_or(rest.len(), |end| value_start + end)];
    let close = find(rest, start, "-->");
    let before_close = &line[..find(line, 0, "-->").unwrap_or(line.len())];
    if bytes[..dashes].iter().any(|byte| *byte != b'-') || ends_in_smart_dash(before_close) {
        return Some(NearMiss::SmartDash);
    }
    if before_close.contains("--&gt;") {
        return Some(NearMiss::Escaped);
    }
    let Some(close) = close else { return Some(NearMiss::Unclosed) };
    let value = trim(&rest[value_start..close.max(value_start)]);
    let is_upper = |word: &str| word.bytes().any(|byte| byte.is_ascii_uppercase());
    let has_no_id = value.is_empty() || starts_with_ver(value);
    Some(match () {
        () if is_upper(name) || is_upper(key) => NearMiss::WrongCase,
        () if key == "ver" => NearMiss::AttributeOrder,
        () if has_no_id => NearMiss::NoId,
        () if &rest[start..value_start] != "aclarai:id=" => NearMiss::Separator,
        () if dashes > 0 => NearMiss::Opening,
        () => attributes(value, options),
    })
}

/// Whether what stands at `start` is meant as the begin of a marker: with the words that are `aclarai` and `id`, and where
/// the value begins.
fn begins_marker(text: &str, start: usize) -> Option<(&str, &str, usize)> {
    let bytes = text.as_bytes();
    let name = text.get(start..start + "aclarai".len())?;
    if !name.eq_ignore_ascii_case("aclarai") {
        return None;
    }
    let name_end = start + name.len();
    let (key_start, has_colon) = separator(bytes, name_end, b":;.-_");
    let key = word_at(text, key_start);
    let (value_start, has_equals) = separator(bytes, key_start + key.len(), b"=:");
    let is_key = ["id", "ver"].iter().any(|known| key.eq_ignore_ascii_case(known));
    // "aclarai id" in prose is not meant as a marker.
    (is_key && (has_equals || has_colon && key_start == name_end + 1)).then_some((
        name,
        key,
        value_start,
    ))
}

/// Whether `text` has a dash that is not `-` right before a `>`, or two of them in a row.
fn ends_in_smart_dash(text: &str) -> bool {
    let is_smart = |c: char| is_dash(c) && c != '-';
    let mut before = ' ';
    text.chars().any(|c| {
        let ends = is_smart(before) && (c == '>' || is_dash(c)) || before == '-' && is_smart(c);
        before = c;
        ends
    })
}

/// Looks at each `aclarai:id=` that no `<!--` precedes; tells line, place and reason of those that something like it
/// precedes.
pub(super) fn examine_openings(text: &str, tell: &mut dyn FnMut(u32, usize, NearMiss)) {
    let bytes = text.as_bytes();
    let (mut line, mut counted_to) = (1, 0);
    // In most notes each of these is in a marker. The first letter may be a capital.
    for found in memmem::find_iter(bytes, b"clarai") {
        let Some(start) = found.checked_sub(1).filter(|at| bytes[*at].eq_ignore_ascii_case(&b'a'))
        else {
            continue;
        };
        if bytes[..trim_end(bytes, 0, start)].ends_with(b"<!--") {
            continue;
        }
        let Some((open, reason)) = opening_before(text, start) else { continue };
        if begins_marker(text, start).is_some() {
            line += count_breaks(&bytes[counted_to..open], true);
            counted_to = open;
            tell(line, open, reason);
        }
    }
}

/// The characters before `at`, if they are meant as `<!--`: where they begin, and what is wrong with them.
fn opening_before(text: &str, at: usize) -> Option<(usize, NearMiss)> {
    // `&lt;!--` with a few characters to spare.
    const CHARS_MAX: usize = 16;
    let mut invisible = None;
    let (mut has_mark, mut is_smart, mut has_dash) = (false, false, false);
    let mut before = text[..at].char_indices().rev().take(CHARS_MAX);
    loop {
        let (at, c) = before.next()?;
        let escape = if c == ';' { escape_before(text, at) } else { 0 };
        let escaped = escape > 0;
        if escaped || matches!(c, '<' | '\u{FF1C}' | '\u{2039}') {
            let open = at - escape;
            let reason = match invisible {
                _ if !has_mark && !has_dash => return None,
                // The search for comments looks at this one.
                _ if text[open..].starts_with("<!--") => return None,
                Some(c) => NearMiss::Invisible(c),
                None if escaped => NearMiss::Escaped,
                None if is_smart => NearMiss::SmartDash,
                None => NearMiss::Opening,
            };
            return Some((open, reason));
        }
        match c {
            '!' | '\u{FF01}' => has_mark = true,
            '\\' => {}
            c if is_dash(c) => (has_dash, is_smart) = (true, is_smart || c != '-'),
            c if is_invisible(c) => invisible = Some(c),
            c if c.is_whitespace() => {}
            _ => return None,
        }
    }
}

/// The length of a `<` before `at` that is written as a web page does, its `;` left out: `&lt`, `&#60`.
fn escape_before(text: &str, at: usize) -> usize {
    let ends = |name: &&str| {
        text.get(at.saturating_sub(name.len())..at)
            .is_some_and(|end| end.eq_ignore_ascii_case(name))
    };
    ["&lt", "&#60", "&#x3c"].iter().find(|name| ends(name)).map_or(0, |name| name.len())
}

/// Looks at the id of a marker that follows the grammar: what is in it that nobody means to be part of an id?
pub(super) fn examine_id(id: &str) -> Option<NearMiss> {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(byte);
    if id.as_bytes().iter().all(is_usual) {
        return None;
    }
    id.chars().find_map(|c| match c {
        c if is_invisible(c) => Some(NearMiss::Invisible(c)),
        c if is_dash(c) && c != '-' => Some(NearMiss::SmartDash),
        '"'
        | '\''
        | '`'
        | ','
        | ';'
        | '='
        | '\\'
        | '\u{AB}'
        | '\u{BB}'
        | '\u{2018}'..='\u{201F}'
        | '\u{2039}'
        | '\u{203A}'
        | '\u{FF02}'
        | '\u{FF07}'
        | '\u{FF0C}'
        | '\u{FF1B}'
        | '\u{3001}'
        | '\u{61B}'
        | '\u{60C}' => Some(NearMiss::PunctuationInId(c)),
        _ => None,
    })
}

/// Hyphens and dashes of all lengths.
fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' | '\u{FF0D}')
}

/// Whether a character shows nothing though it is part of the text. Variation selectors do so; white space does not.
fn is_invisible(c: char) -> bool {
    let is_white = || white_at(c.encode_utf8(&mut [0; 4]).as_bytes(), 0) > 0;
    (acts_unseen(c) || matches!(c, '\u{FE00}'..='\u{FE0F}')) && !is_white()
}

/// Finds the fault in `clm_x ver=2`, the part between `id=` and `-->`.
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
