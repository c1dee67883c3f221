//! The v2 text of a block: all of it, without what other services write around it.
//!
//! The v1 text is one line, so an edit in the rest of a paragraph goes unseen, and a score comment written above a
//! marker looks like an edit. The body repairs both. Which part of the file it covers:
//!
//! | marker | body |
//! |---|---|
//! | of a page (`concept_`, `subject_`, `file_`, `doc_`), with nothing but markers, comments of ours and anchors behind it | the whole file |
//! | behind another marker on its line, with text between them | that text |
//! | beside another marker on its line | the same as the other's |
//! | behind text on its line | its paragraph up to the marker, back to the blank line, heading, anchor line or line with a marker above it, or from the start of its list item |
//! | alone on its line | everything since the previous marker, or since the front matter, headings included |
//!
//! Of that part the byte order mark, every `<!-- aclarai:... -->` comment, every line that is only `^anchor` and one
//! ` ^anchor` at the end of a line are left out; what remains has its white space joined. Text behind a marker belongs
//! to the next block, if that stands alone on its line. Everything here is pure, and linear over a whole file because no
//! part of it is looked at for more than one marker.

use super::hash::{hash_joined, hash_of};
use super::marker::{find, our_comment_end};
use super::white::{
    first_line, join_white_space, last_break, next_line, skip_white, trim, trim_end, white_at,
};
use crate::block::{ContentHash, ID_BYTES_MAX};

/// A word that begins with `^` is an anchor only up to this length. No id is longer, and a look at the last word of a
/// line stays cheap.
const ANCHOR_BYTES_MAX: usize = ID_BYTES_MAX + 1;

/// Appends the body that `part` of a file makes.
pub(super) fn write(part: &str, out: &mut String) {
    let mut scratch = String::new();
    let part = without_comments(part, &mut scratch);
    if memchr::memchr(b'^', part.as_bytes()).is_none() {
        join_white_space(part, out);
        return;
    }
    let begin = out.len();
    for line in part.split(['\n', '\r']) {
        let line = without_anchor(trim(line));
        if !line.is_empty() {
            if out.len() > begin {
                out.push(' ');
            }
            join_white_space(line, out);
        }
    }
}

/// SHA-256 of the body that `part` of a file makes. `known` is a part whose hash is known, its white space joined: the
/// v1 text, which most one-line blocks share with their body, so that they are hashed once.
pub(super) fn hash(part: &str, known: (&str, ContentHash), scratch: &mut String) -> ContentHash {
    let part = behind_anchors(part);
    if memchr::memchr2(b'^', b'<', part.as_bytes()).is_some() {
        scratch.clear();
        write(part, scratch);
        return hash_of(scratch);
    }
    let part = trim(part);
    if std::ptr::eq(part, known.0) { known.1 } else { hash_joined(part) }
}

/// `part` without the anchor lines at its start: mostly the anchor of the block before.
fn behind_anchors(mut part: &str) -> &str {
    loop {
        part = &part[skip_white(part.as_bytes(), 0)..];
        if !part.starts_with('^') || !is_anchor(trim(first_line(part))) {
            return part;
        }
        part = &part[first_line(part).len()..];
    }
}

/// Whether `part` of a file makes a body that is not empty.
pub(super) fn has_text(part: &str, scratch: &mut String) -> bool {
    let bytes = part.as_bytes();
    match bytes.get(skip_white(bytes, 0)) {
        None => false,
        Some(b'^' | b'<') => {
            scratch.clear();
            write(part, scratch);
            !scratch.is_empty()
        }
        Some(_) => true,
    }
}

/// `text` without our comments. `scratch` is used only if there are any.
fn without_comments<'a>(text: &'a str, scratch: &'a mut String) -> &'a str {
    let mut copied = 0;
    let mut at = 0;
    while let Some(open) = find(text, at, "<!--") {
        match our_comment_end(text, open) {
            Some(end) => {
                scratch.push_str(&text[copied..open]);
                (copied, at) = (end, end);
            }
            None => at = open + "<!--".len(),
        }
    }
    if copied == 0 {
        return text;
    }
    scratch.push_str(&text[copied..]);
    scratch
}

/// `line`, which has no white space at its ends, without the anchor that is its last word.
fn without_anchor(line: &str) -> &str {
    // An anchor is one word, so white space right before its `^` is all that has to be looked for.
    let Some(caret) = memchr::memrchr(b'^', line.as_bytes()) else { return line };
    let before = trim_end(line.as_bytes(), 0, caret);
    if (before < caret || caret == 0) && is_anchor(&line[caret..]) { &line[..before] } else { line }
}

/// Whether `word` is `^` and a name.
fn is_anchor(word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    word.len() <= ANCHOR_BYTES_MAX
        && word.strip_prefix('^').is_some_and(|name| !name.is_empty() && name.chars().all(in_name))
}

/// The first text at or behind `at` that would be in a body.
pub(super) fn next_text(text: &str, mut at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    loop {
        at = skip_white(bytes, at);
        match bytes.get(at)? {
            b'<' if bytes[at..].starts_with(b"<!--") => match our_comment_end(text, at) {
                Some(end) => at = end,
                None => return Some(at),
            },
            b'^' => {
                let mut end = at;
                while end < bytes.len() && white_at(bytes, end) == 0 && bytes[end] != b'<' {
                    end += 1;
                }
                if !is_anchor(&text[at..end]) {
                    return Some(at);
                }
                at = end;
            }
            _ => return Some(at),
        }
    }
}

/// Where the paragraph or list item begins that the line at `line_start` belongs to, not before `low`, which is the
/// start of a line.
pub(super) fn paragraph_start(text: &str, low: usize, line_start: usize, has_cr: bool) -> usize {
    let mut start = line_start;
    if opens(first_line(&text[start..])) != Opens::Nothing {
        return start;
    }
    while start > low {
        let above = text[..start].strip_suffix('\n').unwrap_or(&text[..start]);
        let above = if has_cr { above.strip_suffix('\r').unwrap_or(above) } else { above };
        let above_start = last_break(&above[low..], has_cr).map_or(low, |found| low + found + 1);
        let line = &above[above_start..];
        match opens(line) {
            Opens::ListItem => return above_start,
            Opens::Heading => return start,
            Opens::Nothing if is_boundary(line) => return start,
            Opens::Nothing => start = above_start,
        }
    }
    start
}

/// Whether a line is blank or only an anchor. A line of comments of ours is neither: writing one into a paragraph must
/// not change its body.
fn is_boundary(line: &str) -> bool {
    let line = trim(line);
    if line.is_empty() {
        return true;
    }
    if !line.starts_with(['^', '<']) {
        return false;
    }
    let mut scratch = String::new();
    is_anchor(trim(without_comments(line, &mut scratch)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opens {
    Heading,
    ListItem,
    Nothing,
}

/// What begins with this line. The line under a heading's text (`---`, `===`) counts as a heading.
fn opens(line: &str) -> Opens {
    let word = line.trim_start_matches([' ', '\t']);
    let indent = line.len() - word.len();
    let rest = word.trim_end_matches([' ', '\t']);
    let is_all = |mark: char| !rest.is_empty() && rest.chars().all(|c| c == mark);
    let before_space = |text: &str| text.is_empty() || text.starts_with([' ', '\t']);
    let behind_hashes = word.trim_start_matches('#');
    if indent <= 3
        && ((1..=6).contains(&(word.len() - behind_hashes.len())) && before_space(behind_hashes)
            || is_all('=')
            || is_all('-') && rest.len() > 1)
    {
        return Opens::Heading;
    }
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let behind_bullet = if (1..=9).contains(&digits) {
        word[digits..].strip_prefix(['.', ')'])
    } else {
        word.strip_prefix(['-', '*', '+'])
    };
    if behind_bullet.is_some_and(before_space) { Opens::ListItem } else { Opens::Nothing }
}

/// Where the front matter ends: behind the line that closes it. `bom` if there is none.
pub(super) fn front_matter_end(text: &str, bom: usize) -> usize {
    if !text[bom..].starts_with("---") || trim(first_line(&text[bom..])) != "---" {
        return bom;
    }
    let mut at = next_line(text, bom);
    while at < text.len() {
        let line = trim(first_line(&text[at..]));
        at = next_line(text, at);
        if line == "---" || line == "..." {
            return at;
        }
    }
    bom
}
