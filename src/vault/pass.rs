//! The one pass over a note that finds its blocks, one after the other, in linear time. It can stop behind any block and
//! go on later, so that nobody has to hold all blocks of a huge note at once.

use std::ops::Range;

use memchr::memmem;

use super::body::{self, Part};
use super::code::Code;
use super::hash::{JoinedHasher, hash_joined};
use super::marker::{Marker, marker_at};
use super::near_miss;
use super::source::Source;
use super::warning::{BlockFault, Remarks, WarningKind};
use super::white::{count_breaks, last_break, next_line, skip_white, trim_end};
use crate::block::{ContentHash, ID_BYTES_MAX, Level, is_page_id};

/// With a marker this close to the end of the file, counted in characters, the whole file is its text.
const FILE_LEVEL_SLACK: usize = 10;

/// No more of a v1 text is stored than its first bytes: the other services index it, and Neo4j refuses an index key over
/// 8,164 bytes. The hash is of the whole.
pub(crate) const TEXT_BYTES_STORED: usize = 8_000;

/// No more of a body is stored than its first bytes. The hash is of the whole.
pub(crate) const BODY_BYTES_STORED: usize = 1 << 20;

/// When the bodies of one note have taken this room, or that of the note if it is larger, no more is stored of each
/// further one than of a text.
const BODIES_BYTES_STORED: usize = 64 << 20;

/// Where everything about one block lies in its source, and its version, which each decision asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) marker: Span,
    pub(super) id: Span,
    pub(super) version: i64,
    pub(super) line: u32,
    pub(super) level: Level,
    pub(super) in_code: bool,
    pub(super) text: Span,
    pub(super) hash: ContentHash,
    pub(super) body: Part,
    pub(super) body_hash: ContentHash,
    /// So many bytes of the body are stored, at most.
    pub(super) body_stored: usize,
}

/// A range of bytes that can be copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Span {
        Span { start: range.start, end: range.end }
    }
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Range<usize> {
        span.start..span.end
    }
}

/// The state of a pass.
#[derive(Debug)]
pub(super) struct Pass {
    /// Where the next marker is looked for.
    at: usize,
    opening: memmem::Finder<'static>,
    /// How many line breaks lie before `counted_to`.
    breaks: u32,
    counted_to: usize,
    /// The last marker, whether it made a block or not.
    previous: Option<Previous>,
    /// The line on which the last marker begins.
    line: NoteLine,
    /// Everything from here on, up to the end, is markers, comments of ours, anchors and white space; or the last text
    /// that was met by a look ahead for that.
    rest: Rest,
    whole_body_hash: Option<ContentHash>,
    /// How many bytes of bodies are stored so far.
    stored: usize,
    code: Code,
}

#[derive(Debug)]
struct Previous {
    span: Range<usize>,
    /// Whether its line has text up to it.
    line_has_text: bool,
    body: Part,
    body_hash: ContentHash,
}

/// A line as the v1 text of its markers sees it: each marker's text is what lies before it, earlier markers included.
#[derive(Debug, Default)]
struct NoteLine {
    start: usize,
    /// First character that is not white space.
    text_start: usize,
    /// Hash of the line up to `hashed_to`. A line with ten thousand markers is hashed once, not ten thousand times.
    hasher: Option<JoinedHasher>,
    hashed_to: usize,
}

/// The result of a look ahead for the end of the file's text.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Unknown,
    /// There is text at this offset.
    TextAt(usize),
    /// There is none from this offset on.
    NoTextFrom(usize),
}

impl Pass {
    pub(super) fn new(source: &Source) -> Pass {
        Pass {
            at: 0,
            opening: memmem::Finder::new(b"<!--"),
            breaks: 0,
            counted_to: 0,
            previous: None,
            line: NoteLine::default(),
            rest: Rest::Unknown,
            whole_body_hash: None,
            stored: 0,
            code: Code::new(&source.text),
        }
    }

    /// The next block. Warnings and faults go into `remarks`; a second pass over a note leaves them out.
    pub(super) fn next(
        &mut self,
        source: &Source,
        mut remarks: Option<&mut Remarks>,
    ) -> Option<Place> {
        let bytes = source.text.as_bytes();
        loop {
            let open = self.at + self.opening.find(&bytes[self.at..])?;
            if let Some(marker) = marker_at(&source.text, open, source.options) {
                self.at = marker.span.end;
                let remarks = remarks.as_deref_mut();
                if let Some(place) = self.take(source, marker, remarks) {
                    return Some(place);
                }
                continue;
            }
            self.at = open + b"<!--".len();
            if let Some(remarks) = remarks.as_deref_mut()
                && let Some(reason) = near_miss::examine(&source.text[self.at..], source.options)
            {
                let line = self.line_number(source, open);
                remarks.warn(line, open, WarningKind::NearMiss(reason));
            }
        }
    }

    /// Makes the block of a marker, if it has one.
    fn take(
        &mut self,
        source: &Source,
        marker: Marker,
        remarks: Option<&mut Remarks>,
    ) -> Option<Place> {
        let Marker { span, id, version, .. } = marker;
        let line = self.line_number(source, span.start);
        self.enter_line_of(source, span.start);
        let in_code = self.code.holds(&source.text, span.start, span.end);
        let (level, text, hash) = self.v1(source, &span);
        let is_page = is_page_id(&source.text[id.clone()]);
        let (body, body_hash) = self.v2(source, &span, is_page, (&text, hash));
        if let Some(remarks) = remarks {
            if let Some(reason) = near_miss::examine_id(&source.text[id.clone()]) {
                remarks.warn(line, span.start, WarningKind::NearMiss(reason));
            }
            if in_code {
                remarks.warn(line, span.start, WarningKind::MarkerInCode);
            }
            if text.is_empty() {
                remarks.empty_blocks += 1;
            } else if id.len() > ID_BYTES_MAX {
                remarks.faults.push(BlockFault {
                    line,
                    offset: span.start as u64,
                    id_bytes: id.len(),
                    id_start: source.text[id.clone()].chars().take(40).collect(),
                });
            }
        }
        if text.is_empty() || id.len() > ID_BYTES_MAX {
            return None;
        }
        // Markers side by side and those of pages share a body: ten thousand of them would store it ten thousand times.
        let len = (body.end - body.start).min(BODY_BYTES_STORED);
        let is_too_much = self.stored + len > BODIES_BYTES_STORED.max(source.text.len());
        let body_stored = if is_too_much { TEXT_BYTES_STORED } else { BODY_BYTES_STORED };
        self.stored += len.min(body_stored);
        Some(Place {
            marker: span.into(),
            id: id.into(),
            version,
            line,
            level,
            in_code,
            text: text.into(),
            hash,
            body,
            body_hash,
            body_stored,
        })
    }

    /// Moves `self.line` to the line that holds `at`, which lies behind the last marker.
    fn enter_line_of(&mut self, source: &Source, at: usize) {
        let last = self.previous.as_ref().map_or(0..0, |previous| previous.span.clone());
        let break_in = |range: Range<usize>| {
            let from = range.start;
            last_break(&source.text[range], source.has_cr).map(|found| from + found)
        };
        // The last marker may itself go over several lines and end on this one.
        let start = break_in(last.end..at)
            .or_else(|| break_in(last))
            .map_or(self.line.start, |found| found + 1);
        if start != self.line.start || self.previous.is_none() {
            let text_start = skip_white(source.text.as_bytes(), start);
            self.line = NoteLine { start, text_start, hasher: None, hashed_to: start };
        }
    }

    /// The text that the other services see, and its hash. An empty range: there is none.
    fn v1(&mut self, source: &Source, marker: &Range<usize>) -> (Level, Range<usize>, ContentHash) {
        let bytes = source.text.as_bytes();
        let start = marker.start;
        if is_file_level(source, marker) {
            let from = skip_white(bytes, 0);
            let text = from..trim_end(bytes, from, start);
            let hash = hash_joined(&source.text[text.clone()]);
            return (Level::File, text, hash);
        }
        if self.line.text_start < start {
            let text = self.line.text_start..trim_end(bytes, self.line.text_start, start);
            return (Level::Inline, text, self.hash_line_up_to(source, start));
        }
        // Nothing but white space before the marker: the nearest line above that has something else.
        let end = trim_end(bytes, 0, self.line.start);
        let line_start =
            last_break(&source.text[..end], source.has_cr).map_or(0, |found| found + 1);
        let text = skip_white(bytes, line_start).min(end)..end;
        let hash = hash_joined(&source.text[text.clone()]);
        (Level::Inline, text, hash)
    }

    fn hash_line_up_to(&mut self, source: &Source, end: usize) -> ContentHash {
        let on_this_line =
            self.previous.as_ref().is_some_and(|last| last.span.end > self.line.start);
        if !on_this_line {
            return hash_joined(&source.text[self.line.start..end]);
        }
        let hasher = self.line.hasher.get_or_insert_default();
        hasher.feed(&source.text[self.line.hashed_to..end]);
        self.line.hashed_to = end;
        hasher.finish()
    }

    /// The whole text of the block, and its hash. `v1` is what the other services see, and the hash of that.
    fn v2(
        &mut self,
        source: &Source,
        marker: &Range<usize>,
        is_page: bool,
        v1: (&Range<usize>, ContentHash),
    ) -> (Part, ContentHash) {
        let start = marker.start;
        let line_start = self.line.start.max(source.bom);
        let beside = self
            .previous
            .as_ref()
            .filter(|last| last.span.end > line_start)
            .map(|last| (last.span.end, last.line_has_text, (last.body, last.body_hash)));
        // The part between the last marker, or the start of the line, and this marker.
        let gap = Part {
            start: beside.map_or(line_start, |(end, ..)| end),
            end: start,
            continues: beside.is_some_and(|(_, has_text, _)| has_text),
        };
        let gap_has_text = body::has_text(source, gap);
        let line_has_text = gap.continues || gap_has_text;
        let (body, body_hash) = if is_page && self.is_last_text(source, marker.end, line_has_text) {
            let whole = Part { start: source.bom, end: source.text.len(), continues: false };
            let hash = self.whole_body_hash.get_or_insert_with(|| body::hash(source, whole, v1));
            (whole, *hash)
        } else {
            match beside {
                Some((.., same)) if !gap_has_text => same,
                Some(_) => (gap, body::hash(source, gap, v1)),
                None => {
                    let body = self.part(source, gap_has_text, start);
                    (body, body::hash(source, body, v1))
                }
            }
        };
        self.previous = Some(Previous { span: marker.clone(), line_has_text, body, body_hash });
        (body, body_hash)
    }

    /// The part of the file that makes the body of a marker at `end`, the first one on its line.
    fn part(&self, source: &Source, is_behind_text: bool, end: usize) -> Part {
        let line_start = self.line.start.max(source.bom);
        let front_matter = Some(source.front_matter).filter(|end| *end <= line_start).unwrap_or(0);
        let last_end = self.previous.as_ref().map_or(source.bom, |last| last.span.end);
        let low = last_end.max(front_matter);
        if is_behind_text {
            // The line on which the last marker ends is not part of this paragraph.
            let is_mid_line = low == last_end && self.previous.is_some();
            let low = if is_mid_line { next_line(&source.text, low) } else { low };
            let start = body::paragraph_start(&source.text, low, line_start, source.has_cr);
            return Part { start, end, continues: false };
        }
        let continues = low == last_end && self.previous.as_ref().is_some_and(|l| l.line_has_text);
        Part { start: low, end, continues }
    }

    /// Whether only markers, comments of ours, anchors and white space follow `at`. The answer is remembered, so that
    /// many markers do not each look through the rest of the file.
    fn is_last_text(&mut self, source: &Source, at: usize, line_has_text: bool) -> bool {
        match self.rest {
            Rest::NoTextFrom(from) if from <= at => true,
            Rest::TextAt(found) if at <= found => false,
            _ => {
                let rest = Part { start: at, end: source.text.len(), continues: line_has_text };
                let found = body::first_text(source, rest);
                self.rest = found.map_or(Rest::NoTextFrom(at), Rest::TextAt);
                found.is_none()
            }
        }
    }

    /// The line that holds `at`, counted from 1. Asked in rising order.
    fn line_number(&mut self, source: &Source, at: usize) -> u32 {
        self.breaks += count_breaks(&source.text.as_bytes()[self.counted_to..at], source.has_cr);
        self.counted_to = at;
        self.breaks + 1
    }
}

fn is_file_level(source: &Source, marker: &Range<usize>) -> bool {
    let rest = &source.text.as_bytes()[marker.end..source.end];
    // Ten characters are at most forty bytes, or ten times `\r\n`.
    rest.len() <= 4 * FILE_LEVEL_SLACK && count_chars(rest) <= FILE_LEVEL_SLACK
}

/// Characters of `text` as the other services count them, to whom `\r\n` is one.
fn count_chars(text: &[u8]) -> usize {
    let begins_char = |byte: &&u8| **byte & 0xC0 != 0x80;
    let pairs = text.windows(2).filter(|pair| pair == b"\r\n").count();
    text.iter().filter(begins_char).count() - pairs
}
