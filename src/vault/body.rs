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
//! ` ^anchor` at the end of a line are left out, the latter where it is the id of a block of this note: `r ^2` is text.
//! The rest has its white space joined. Text behind a marker belongs to the next block, if that stands alone on its
//! line. Everything here is pure, and linear over a whole file because no part of it is looked at for more than one
//! marker. Of a file no more than one line is ever copied.

use std::ops::ControlFlow;

use super::hash::{JoinedHasher, hash_joined};
use super::marker::{find, our_comment_end};
use super::source::Source;
use super::white::{first_line, join_white_space, last_break, skip_white, trim, trim_end};
use crate::block::{ContentHash, ID_BYTES_MAX};

/// A word that begins with `^` is an anchor only up to this length. No id is longer, and a look at the last word of a
/// line stays cheap.
const ANCHOR_BYTES_MAX: usize = ID_BYTES_MAX + 1;

/// A part of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether its first line has text before it: an anchor there is not alone on its line.
    pub(super) continues: bool,
}

/// The body that a part of a file makes; of one longer than `most` bytes, its beginning.
pub(super) fn write(source: &Source, part: Part, most: usize) -> String {
    let part = behind_anchors(source, part);
    let text = &source.text[part.start..part.end];
    // Most are no longer than what they are made of.
    let mut out = String::with_capacity(text.len().min(most));
    if has_neither_anchor_nor_comment(text) {
        join_white_space(text, &mut out, most);
        cut(&mut out, most);
        return out;
    }
    each_line(source, part, &mut |_, line| {
        if !out.is_empty() {
            out.push(' ');
        }
        join_white_space(line, &mut out, most);
        if out.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    cut(&mut out, most);
    out
}

/// Cuts off what is beyond `most` bytes, and the space before it.
fn cut(out: &mut String, most: usize) {
    if out.len() > most {
        out.truncate(out.floor_char_boundary(most));
        out.truncate(out.trim_end_matches(' ').len());
    }
}

/// Whether a text surely has neither an anchor nor a comment: its lines need not be looked at one by one.
fn has_neither_anchor_nor_comment(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'^', b'<', bytes)
        .all(|at| bytes[at] == b'<' && !bytes[at..].starts_with(b"<!--"))
}

/// SHA-256 of the body that a part of a file makes. `known` is a range whose hash is known, its white space joined: the
/// v1 text, which most one-line blocks share with their body, so that they are hashed once.
pub(super) fn hash(
    source: &Source,
    part: Part,
    known: (&std::ops::Range<usize>, ContentHash),
) -> ContentHash {
    let part = behind_anchors(source, part);
    let text = &source.text[part.start..part.end];
    if !has_neither_anchor_nor_comment(text) {
        let mut hasher = JoinedHasher::default();
        each_line(source, part, &mut |_, line| {
            hasher.feed(line);
            hasher.feed("\n");
            ControlFlow::Continue(())
        });
        return hasher.finish();
    }
    let text = trim(text);
    if std::ptr::eq(text, &source.text[known.0.clone()]) { known.1 } else { hash_joined(text) }
}

/// `part` without the anchor lines at its start: mostly the anchor of the block before.
fn behind_anchors(source: &Source, mut part: Part) -> Part {
    loop {
        let text = &source.text[part.start..part.end];
        let white = skip_white(text.as_bytes(), 0);
        part.continues &= !text[..white].contains(['\n', '\r']);
        part.start += white;
        let line = first_line(&text[white..]);
        if !line.starts_with('^') || !is_empty_but_for_anchor(source, trim(line), part.continues) {
            return part;
        }
        part.start += line.len();
    }
}

/// Whether a part of a file makes a body that is not empty.
pub(super) fn has_text(source: &Source, part: Part) -> bool {
    let bytes = &source.text.as_bytes()[part.start..part.end];
    match bytes.get(skip_white(bytes, 0)) {
        None => false,
        Some(b'^' | b'<') => first_text(source, part).is_some(),
        Some(_) => true,
    }
}

/// A place in the first line of a part that has text which would be in a body: from there on the part has text too.
pub(super) fn first_text(source: &Source, part: Part) -> Option<usize> {
    let mut found = None;
    each_line(source, part, &mut |at, _| {
        found = Some(at);
        ControlFlow::Break(())
    });
    found
}

/// Hands over each line of a part that has text, without our comments and anchors and without white space at its ends,
/// with the place where its last stretch between our comments begins. A comment of ours that goes over several lines
/// makes them one.
fn each_line(source: &Source, part: Part, visit: &mut dyn FnMut(usize, &str) -> ControlFlow<()>) {
    let text = &source.text[part.start..part.end];
    let bytes = text.as_bytes();
    // The text before our comments on this line.
    let mut before = String::new();
    let mut continues = part.continues;
    let mut last_stretch = 0;
    let (mut stretch, mut at) = (0, 0);
    loop {
        let found = memchr::memchr3(b'\n', b'\r', b'<', &bytes[at..]).map(|found| at + found);
        let end = found.unwrap_or(bytes.len());
        if bytes.get(end) == Some(&b'<') {
            match bytes[end..].starts_with(b"<!--").then(|| our_comment_end(text, end)) {
                None => at = end + 1,
                Some(None) => at = end + b"<!--".len(),
                Some(Some(comment_end)) => {
                    if skip_white(bytes, stretch) < end {
                        last_stretch = stretch;
                    }
                    before.push_str(&text[stretch..end]);
                    (stretch, at) = (comment_end, comment_end);
                }
            }
            continue;
        }
        if skip_white(bytes, stretch) < end {
            last_stretch = stretch;
        }
        let line = if before.is_empty() {
            &text[stretch..end]
        } else {
            before.push_str(&text[stretch..end]);
            &before
        };
        let line = without_anchor(source, trim(line), continues);
        if !line.is_empty() && visit(part.start + last_stretch, line).is_break() || found.is_none()
        {
            return;
        }
        before.clear();
        continues = false;
        (stretch, at) = (end + 1, end + 1);
    }
}

/// `line`, which has no white space at its ends, without its anchor.
fn without_anchor<'a>(source: &Source, line: &'a str, continues: bool) -> &'a str {
    // An anchor is one word, so white space right before its `^` is all that has to be looked for.
    let Some(caret) = memchr::memrchr(b'^', line.as_bytes()) else { return line };
    let before = trim_end(line.as_bytes(), 0, caret);
    if before == caret && caret > 0 || !is_anchor(&line[caret..]) {
        return line;
    }
    let is_alone = caret == 0 && !continues;
    if is_alone || source.has_id(&line[caret + 1..]) { &line[..before] } else { line }
}

fn is_empty_but_for_anchor(source: &Source, line: &str, continues: bool) -> bool {
    without_anchor(source, line, continues).is_empty()
}

/// Whether `word` is `^` and a name.
fn is_anchor(word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    word.len() <= ANCHOR_BYTES_MAX
        && word.strip_prefix('^').is_some_and(|name| !name.is_empty() && name.chars().all(in_name))
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
    let mut rest = String::new();
    let mut at = 0;
    while let Some(open) = find(line, at, "<!--") {
        match our_comment_end(line, open) {
            Some(end) => {
                rest.push_str(&line[at..open]);
                at = end;
            }
            None => return false,
        }
    }
    rest.push_str(&line[at..]);
    is_anchor(trim(&rest))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opens {
    Heading,
    ListItem,
    Nothing,
}

/// The kind of text that begins with this line. The line under a heading's text (`---`, `===`) counts as a heading.
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
