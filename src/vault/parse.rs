//! Finds the blocks of one Markdown text: one pass, linear in its length, pure.
//!
//! A marker `<!-- aclarai:id=blk_ab12 ver=3 -->` gives the text before it an id and a version. Each block has two
//! texts. The *v1 text* is what the other services see: the last line before the marker, or everything before a marker
//! that ends the file. It must equal theirs byte for byte, oddities included. The *v2 text*, or body, is all of the
//! block ([`body`](super::body)).
//!
//! A parsed file keeps its source and remembers where in it each text lies; texts are made when asked for. Most blocks
//! of most files are unchanged and are known by their hashes alone.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memmem;

use super::body;
use super::hash::{JoinedHasher, hash_joined};
use super::marker::{Marker, ParseOptions, marker_at};
use super::near_miss::{self, NearMiss};
use super::white::{count_breaks, last_break, next_line, skip_white, trim_end};
use crate::block::{Block, BlockId, ContentHash, ID_BYTES_MAX, Level, is_page_id};

/// Grows when the same bytes would give other blocks: what was remembered about files is then read again.
pub const PARSER_VERSION: u32 = 1;

/// Of more warnings than this in one file, only the number is kept.
const WARNINGS_MAX: usize = 1_000;

/// With a marker this close to the end of the file, counted in characters, the whole file is its text.
const FILE_LEVEL_SLACK: usize = 10;

/// A text and the blocks in it, in file order.
#[derive(Clone, Debug, Default)]
pub struct ParsedFile {
    source: String,
    found: Vec<Place>,
    /// Markers whose block cannot be taken.
    pub faults: Vec<BlockFault>,
    /// What a person should look at, by offset.
    pub warnings: Vec<Warning>,
    /// How many warnings beyond the first thousand are not in `warnings`.
    pub warnings_left_out: u64,
    /// Markers with no text before them, which make no block.
    pub empty_blocks: u64,
}

/// Where everything about one block lies in its source.
#[derive(Clone, Debug)]
struct Place {
    marker: Marker,
    line: u32,
    level: Level,
    text: Range<usize>,
    hash: ContentHash,
    body: Range<usize>,
    body_hash: ContentHash,
}

/// A marker that follows the grammar but whose block no store could take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFault {
    /// Line of the marker, counted from 1.
    pub line: u32,
    /// Byte offset of the marker.
    pub offset: u64,
    /// Length of the id in bytes: more than [`ID_BYTES_MAX`].
    pub id_bytes: usize,
    /// How the id begins.
    pub id_start: String,
}

impl fmt::Display for BlockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}: the id that begins with {:?} has {} bytes: shorten it to at most {ID_BYTES_MAX}",
            self.line, self.id_start, self.id_bytes
        )
    }
}

/// Something in a file that is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Line, counted from 1.
    pub line: u32,
    /// Byte offset.
    pub offset: u64,
    /// What it is.
    pub kind: WarningKind,
}

/// What a [`Warning`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// A comment that looks like a marker and is none.
    NearMiss(NearMiss),
    /// The first NUL character of the file. It is text to the hashes, but not every service can store it.
    NulCharacter,
}

impl WarningKind {
    /// The word for this kind in reports.
    pub fn name(&self) -> &'static str {
        match self {
            WarningKind::NearMiss(_) => "near_miss_marker",
            WarningKind::NulCharacter => "nul_character",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: ", self.line, self.kind.name())?;
        match &self.kind {
            WarningKind::NearMiss(reason) => reason.fmt(f),
            WarningKind::NulCharacter => f.write_str("the text has a NUL character: remove it"),
        }
    }
}

/// The bytes of a file are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not UTF-8 at byte {offset}")]
pub struct NotUtf8 {
    /// Offset of the first byte that cannot be read.
    pub offset: u64,
}

/// Finds the blocks in the bytes of a file.
pub fn parse_bytes(bytes: Vec<u8>, options: ParseOptions) -> Result<ParsedFile, NotUtf8> {
    match String::from_utf8(bytes) {
        Ok(source) => Ok(parse(source, options)),
        Err(error) => Err(NotUtf8 { offset: error.utf8_error().valid_up_to() as u64 }),
    }
}

/// Finds the blocks in a text.
pub fn parse(source: String, options: ParseOptions) -> ParsedFile {
    let mut parser = Parser::new(&source, options);
    parser.run();
    let mut parsed = parser.parsed;
    // Thousands of files wait for the graph at once: a third of their memory was room for blocks that never came.
    parsed.found.shrink_to_fit();
    parsed.source = source;
    parsed
}

impl ParsedFile {
    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The blocks, in file order.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = BlockRef<'_>> + Clone {
        self.found.iter().map(|found| BlockRef { source: &self.source, found })
    }

    /// The `index`-th block in file order.
    pub fn block(&self, index: usize) -> BlockRef<'_> {
        BlockRef { source: &self.source, found: &self.found[index] }
    }

    /// The text that was parsed.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text that was parsed, by value.
    pub fn into_source(self) -> String {
        self.source
    }
}

/// One block of a [`ParsedFile`]. Its texts are made when asked for.
#[derive(Clone, Copy, Debug)]
pub struct BlockRef<'a> {
    source: &'a str,
    found: &'a Place,
}

impl<'a> BlockRef<'a> {
    /// The id as written in the marker.
    pub fn id(&self) -> &'a str {
        &self.source[self.found.marker.id.clone()]
    }

    /// The number after `ver=`; 1 when the marker has none.
    pub fn version(&self) -> i64 {
        self.found.marker.version
    }

    /// The bytes of the marker in the file.
    pub fn marker(&self) -> Range<usize> {
        self.found.marker.span.clone()
    }

    /// The bytes of the digits after `ver=`.
    pub fn version_digits(&self) -> Option<Range<usize>> {
        self.found.marker.version_digits.clone()
    }

    /// Line of the marker, counted from 1.
    pub fn line(&self) -> u32 {
        self.found.line
    }

    /// Inline or file-level.
    pub fn level(&self) -> Level {
        self.found.level
    }

    /// v1 hash.
    pub fn hash(&self) -> ContentHash {
        self.found.hash
    }

    /// v2 hash.
    pub fn body_hash(&self) -> ContentHash {
        self.found.body_hash
    }

    /// The v1 text, line breaks as `\n`.
    pub fn text(&self) -> Cow<'a, str> {
        let text = &self.source[self.found.text.clone()];
        if memchr::memchr(b'\r', text.as_bytes()).is_none() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    }

    /// The v2 text.
    pub fn body(&self) -> String {
        let mut out = String::new();
        body::write(&self.source[self.found.body.clone()], &mut out);
        out
    }

    /// The block by value, texts included.
    pub fn to_block(&self) -> Block {
        Block {
            id: BlockId::new(self.id()),
            version: self.version(),
            line: self.line(),
            offset: self.found.marker.span.start as u64,
            level: self.level(),
            text: self.text().into_owned(),
            hash: self.hash(),
            body: self.body(),
            body_hash: self.body_hash(),
        }
    }
}

/// The state of the one pass.
struct Parser<'a> {
    text: &'a str,
    options: ParseOptions,
    /// Length of the byte order mark, if there is one.
    bom: usize,
    /// Whether there is a `\r`: most files have none and need one kind of line break looked for, not two.
    has_cr: bool,
    /// Behind the last character that is not white space.
    end: usize,
    /// Behind the front matter.
    front_matter: usize,
    /// How many line breaks lie before `counted_to`.
    breaks: u32,
    counted_to: usize,
    /// The last marker, whether it made a block or not.
    previous: Option<Previous>,
    /// The line on which the last marker begins.
    line: Line,
    /// Everything from here on, up to the end, is markers, comments of ours, anchors and white space; or the last text
    /// that was met by a look ahead for that.
    rest: Rest,
    whole_body_hash: Option<ContentHash>,
    scratch: String,
    parsed: ParsedFile,
}

struct Previous {
    span: Range<usize>,
    body: Range<usize>,
    body_hash: ContentHash,
}

/// A line as the v1 text of its markers sees it: each marker's text is what lies before it, earlier markers included.
#[derive(Default)]
struct Line {
    start: usize,
    /// First character that is not white space.
    text_start: usize,
    /// Hash of the line up to `hashed_to`. A line with ten thousand markers is hashed once, not ten thousand times.
    hasher: Option<JoinedHasher>,
    hashed_to: usize,
}

/// What a look ahead for the end of the file's text has found.
#[derive(Clone, Copy)]
enum Rest {
    Unknown,
    /// There is text at this offset.
    TextAt(usize),
    /// There is none from this offset on.
    NoTextFrom(usize),
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: ParseOptions) -> Parser<'a> {
        let bom = if text.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 };
        Parser {
            text,
            options,
            bom,
            has_cr: memchr::memchr(b'\r', text.as_bytes()).is_some(),
            end: trim_end(text.as_bytes(), 0, text.len()),
            front_matter: body::front_matter_end(text, bom),
            breaks: 0,
            counted_to: 0,
            previous: None,
            line: Line::default(),
            rest: Rest::Unknown,
            whole_body_hash: None,
            scratch: String::new(),
            parsed: ParsedFile::default(),
        }
    }

    fn run(&mut self) {
        let bytes = self.text.as_bytes();
        if let Some(offset) = memchr::memchr(0, bytes) {
            let line = count_breaks(&bytes[..offset], self.has_cr) + 1;
            self.warn(line, offset, WarningKind::NulCharacter);
        }
        let opening = memmem::Finder::new(b"<!--");
        let mut next = opening.find(bytes);
        while let Some(open) = next {
            if let Some(marker) = marker_at(self.text, open, self.options) {
                let end = marker.span.end;
                self.take(marker);
                next = opening.find(&bytes[end..]).map(|at| at + end);
            } else {
                let inner = open + b"<!--".len();
                next = opening.find(&bytes[inner..]).map(|at| at + inner);
                let comment = &self.text[inner..next.unwrap_or(bytes.len())];
                if let Some(reason) = near_miss::examine(comment, self.options) {
                    let line = self.line_number(open);
                    self.warn(line, open, WarningKind::NearMiss(reason));
                }
            }
        }
        self.parsed.warnings.sort_by_key(|warning| warning.offset);
    }

    fn warn(&mut self, line: u32, offset: usize, kind: WarningKind) {
        if self.parsed.warnings.len() == WARNINGS_MAX {
            self.parsed.warnings_left_out += 1;
        } else {
            self.parsed.warnings.push(Warning { line, offset: offset as u64, kind });
        }
    }

    /// Makes the block of a marker, if it has one.
    fn take(&mut self, marker: Marker) {
        let line = self.line_number(marker.span.start);
        self.enter_line_of(marker.span.start);
        let (level, text, hash) = self.v1(&marker);
        let (body, body_hash) = self.v2(&marker, (&text, hash));
        let span = marker.span.clone();
        self.previous = Some(Previous { span, body: body.clone(), body_hash });
        let id_bytes = marker.id.len();
        if text.is_empty() {
            self.parsed.empty_blocks += 1;
        } else if id_bytes > ID_BYTES_MAX {
            self.parsed.faults.push(BlockFault {
                line,
                offset: marker.span.start as u64,
                id_bytes,
                id_start: self.text[marker.id].chars().take(40).collect(),
            });
        } else {
            self.parsed.found.push(Place { marker, line, level, text, hash, body, body_hash });
        }
    }

    /// Moves `self.line` to the line that holds `at`, which lies behind the last marker.
    fn enter_line_of(&mut self, at: usize) {
        let last = self.previous.as_ref().map_or(0..0, |previous| previous.span.clone());
        let break_in = |range: Range<usize>| {
            let from = range.start;
            last_break(&self.text[range], self.has_cr).map(|found| from + found)
        };
        // The last marker may itself go over several lines and end on this one.
        let start = break_in(last.end..at)
            .or_else(|| break_in(last))
            .map_or(self.line.start, |found| found + 1);
        if start != self.line.start || self.previous.is_none() {
            let text_start = skip_white(self.text.as_bytes(), start);
            self.line = Line { start, text_start, hasher: None, hashed_to: start };
        }
    }

    /// The text that the other services see, and its hash. An empty range: there is none.
    fn v1(&mut self, marker: &Marker) -> (Level, Range<usize>, ContentHash) {
        let bytes = self.text.as_bytes();
        let start = marker.span.start;
        if self.is_file_level(marker) {
            let from = skip_white(bytes, 0);
            let text = from..trim_end(bytes, from, start);
            let hash = hash_joined(&self.text[text.clone()]);
            return (Level::File, text, hash);
        }
        if self.line.text_start < start {
            let text = self.line.text_start..trim_end(bytes, self.line.text_start, start);
            return (Level::Inline, text, self.hash_line_up_to(start));
        }
        // Nothing but white space before the marker: the nearest line above that has something else.
        let end = trim_end(bytes, 0, self.line.start);
        let line_start = last_break(&self.text[..end], self.has_cr).map_or(0, |found| found + 1);
        let text = skip_white(bytes, line_start).min(end)..end;
        let hash = hash_joined(&self.text[text.clone()]);
        (Level::Inline, text, hash)
    }

    fn hash_line_up_to(&mut self, end: usize) -> ContentHash {
        let on_this_line =
            self.previous.as_ref().is_some_and(|last| last.span.end > self.line.start);
        if !on_this_line {
            return hash_joined(&self.text[self.line.start..end]);
        }
        let hasher = self.line.hasher.get_or_insert_default();
        hasher.feed(&self.text[self.line.hashed_to..end]);
        self.line.hashed_to = end;
        hasher.finish()
    }

    fn is_file_level(&self, marker: &Marker) -> bool {
        let rest = &self.text.as_bytes()[marker.span.end..self.end];
        // Ten characters are at most forty bytes, or ten times `\r\n`.
        rest.len() <= 4 * FILE_LEVEL_SLACK && count_chars(rest) <= FILE_LEVEL_SLACK
    }

    /// The whole text of the block, and its hash. `v1` is what the other services see, and the hash of that.
    fn v2(
        &mut self,
        marker: &Marker,
        v1: (&Range<usize>, ContentHash),
    ) -> (Range<usize>, ContentHash) {
        let (text, start) = (self.text, marker.span.start);
        if is_page_id(&text[marker.id.clone()]) && self.is_last_text(marker.span.end) {
            let hash = match self.whole_body_hash {
                Some(hash) => hash,
                None => self.hash_body(self.bom..text.len(), v1),
            };
            self.whole_body_hash = Some(hash);
            return (self.bom..text.len(), hash);
        }
        let line_start = self.line.start.max(self.bom);
        let body = match &self.previous {
            Some(last) if last.span.end > line_start => {
                let gap = last.span.end..start;
                if !body::has_text(&text[gap.clone()], &mut self.scratch) {
                    return (last.body.clone(), last.body_hash);
                }
                gap
            }
            _ => {
                let last_end = self.previous.as_ref().map_or(self.bom, |last| last.span.end);
                let front_matter = Some(self.front_matter).filter(|end| *end <= line_start);
                let low = last_end.max(front_matter.unwrap_or(0));
                if body::has_text(&text[line_start..start], &mut self.scratch) {
                    // The line on which the last marker ends is not part of this paragraph.
                    let low = if low == last_end && self.previous.is_some() {
                        next_line(text, low)
                    } else {
                        low
                    };
                    body::paragraph_start(text, low, line_start, self.has_cr)..start
                } else {
                    low..start
                }
            }
        };
        let hash = self.hash_body(body.clone(), v1);
        (body, hash)
    }

    fn hash_body(&mut self, body: Range<usize>, v1: (&Range<usize>, ContentHash)) -> ContentHash {
        let known = (&self.text[v1.0.clone()], v1.1);
        body::hash(&self.text[body], known, &mut self.scratch)
    }

    /// Whether only markers, comments of ours, anchors and white space follow `at`. The answer is remembered, so that
    /// many markers do not each look through the rest of the file.
    fn is_last_text(&mut self, at: usize) -> bool {
        match self.rest {
            Rest::NoTextFrom(from) if from <= at => true,
            Rest::TextAt(found) if at <= found => false,
            _ => match body::next_text(self.text, at) {
                None => {
                    self.rest = Rest::NoTextFrom(at);
                    true
                }
                Some(found) => {
                    self.rest = Rest::TextAt(found);
                    false
                }
            },
        }
    }

    /// The line that holds `at`, counted from 1. Asked in rising order.
    fn line_number(&mut self, at: usize) -> u32 {
        self.breaks += count_breaks(&self.text.as_bytes()[self.counted_to..at], self.has_cr);
        self.counted_to = at;
        self.breaks + 1
    }
}

/// Characters of `text` as the other services count them, to whom `\r\n` is one.
fn count_chars(text: &[u8]) -> usize {
    let begins_char = |byte: &&u8| **byte & 0xC0 != 0x80;
    let pairs = text.windows(2).filter(|pair| pair == b"\r\n").count();
    text.iter().filter(begins_char).count() - pairs
}

#[cfg(test)]
mod tests;
