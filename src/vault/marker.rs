//! The grammar of a marker, `<!-- aclarai:id=blk_ab12 ver=3 -->`, and of the other comments that our services write.
//!
//! Where the other services see a marker, and only there, this file must see one. Everything here is pure.

use std::ops::Range;

use memchr::memmem;

use super::white::{number_at, skip_white, white_at};

/// The user's choices about the grammar of markers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParseOptions {
    /// Also take ids with `-`. The other services cannot see such blocks.
    pub accept_hyphen_ids: bool,
}

/// A marker that follows the grammar.
#[derive(Clone, Debug)]
pub(super) struct Marker {
    pub(super) span: Range<usize>,
    pub(super) id: Range<usize>,
    pub(super) version: i64,
    pub(super) version_digits: Option<Range<usize>>,
}

/// The marker that begins with the `<!--` at `open`, if there is one.
pub(super) fn marker_at(text: &str, open: usize, options: ParseOptions) -> Option<Marker> {
    let bytes = text.as_bytes();
    let begins = |at: usize, word: &str| bytes[at..].starts_with(word.as_bytes());
    let key = skip_white(bytes, open + "<!--".len());
    if !begins(key, "aclarai:id=") {
        return None;
    }
    let id = key + "aclarai:id=".len();
    let id = id..id_end(bytes, id, options.accept_hyphen_ids);
    if id.is_empty() {
        return None;
    }
    let (mut version, mut version_digits) = (1, None);
    let mut close = skip_white(bytes, id.end);
    if close > id.end && begins(close, "ver=") {
        let digits = close + "ver=".len();
        let (value, end) = number_at(text, digits)?;
        (version, version_digits) = (value, Some(digits..end));
        close = skip_white(bytes, end);
    }
    let end = close + "-->".len();
    begins(close, "-->").then_some(Marker { span: open..end, id, version, version_digits })
}

/// Where the id that begins at `at` ends: at white space or a `-`. With hyphens allowed, a `-` may be anywhere in it,
/// but not as part of `-->` or `<!--`.
fn id_end(text: &[u8], mut at: usize, accept_hyphens: bool) -> usize {
    while at < text.len() {
        let stop = match text[at] {
            b'-' => !accept_hyphens || text[at..].starts_with(b"-->"),
            b'<' => accept_hyphens && text[at..].starts_with(b"<!--"),
            _ => white_at(text, at) > 0,
        };
        if stop {
            break;
        }
        at += 1;
    }
    at
}

/// Where the comment that begins at `open` ends, if it is one of ours. One that is not closed before the next begins
/// is text: a forgotten `-->` must not swallow what follows.
pub(super) fn our_comment_end(text: &str, open: usize) -> Option<usize> {
    let inner = skip_white(text.as_bytes(), open + "<!--".len());
    if !text.as_bytes()[inner..].starts_with(b"aclarai:") {
        return None;
    }
    let next = find(text, inner, "<!--").unwrap_or(text.len());
    find(&text[..next], inner, "-->").map(|close| close + "-->".len())
}

pub(super) fn find(text: &str, from: usize, word: &str) -> Option<usize> {
    memmem::find(&text.as_bytes()[from..], word.as_bytes()).map(|found| from + found)
}
