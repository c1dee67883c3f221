//! Finds the blocks of one Markdown text: one pass, linear in its length, pure.
//!
//! A marker `<!-- aclarai:id=blk_ab12 ver=3 -->` gives the text before it an id and a version. Each block has two
//! texts. The *v1 text* is what the other services see: the last line before the marker, or everything before a marker
//! that ends the file. It must equal theirs byte for byte, oddities included. The *v2 text*, or body, is all of the
//! block ([`body`](super::body)).
//!
//! A parsed file keeps its source and remembers where in it each text lies; texts are made when asked for. Most blocks
//! of most files are unchanged and are known by their hashes alone. Of a note that is little more than markers not even
//! the places are kept, but found again: whatever is in a note, it takes no more than a few times its size of memory.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::body;
use super::code::merge_conflict_line;
use super::marker::{ParseOptions, marker_at};
use super::near_miss;
use super::pass::{Pass, Place, Span, TEXT_BYTES_STORED};
use super::source::Source;
use super::warning::{BlockFault, Remarks, Warning, WarningKind};
use super::white::count_breaks;
use crate::block::{Block, BlockId, ContentHash, Level};

/// Grows when the same bytes would give other blocks: what was remembered about files is then read again.
pub(crate) const PARSER_VERSION: u32 = 2;

/// The places of so many bytes are kept, whatever the size of the note; beyond that, of as many bytes as the note has.
const PLACES_BYTES_MIN: usize = 6 << 20;

/// A text and the blocks in it, in file order.
#[derive(Debug)]
pub struct ParsedFile {
    source: Arc<Source>,
    /// The places of all blocks, or of none.
    places: Vec<Place>,
    len: usize,
    /// Markers whose block cannot be taken.
    pub faults: Vec<BlockFault>,
    /// Places that a person should look at, by offset.
    pub warnings: Vec<Warning>,
    /// How many warnings beyond the first thousand are not in `warnings`.
    pub warnings_left_out: u64,
    /// Markers with no text before them, which make no block.
    pub empty_blocks: u64,
    /// The line, counted from 1, on which a merge begins that was left unresolved. The note is half-finished then.
    pub merge_conflict: Option<u32>,
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
pub fn parse(text: String, options: ParseOptions) -> ParsedFile {
    let source = Source::new(text, options);
    let mut remarks = Remarks::default();
    if let Some(offset) = memchr::memchr(0, source.text.as_bytes()) {
        let line = count_breaks(&source.text.as_bytes()[..offset], source.has_cr) + 1;
        remarks.warn(line, offset, WarningKind::NulCharacter);
    }
    near_miss::examine_openings(&source.text, &mut |line, offset, reason| {
        remarks.warn(line, offset, WarningKind::NearMiss(reason));
    });
    let places_max = source.text.len().max(PLACES_BYTES_MIN) / size_of::<Place>();
    let (mut places, mut len) = (Vec::new(), 0);
    let mut pass = Pass::new(&source);
    while let Some(place) = pass.next(&source, Some(&mut remarks)) {
        len += 1;
        if len <= places_max {
            push(&mut places, place, places_max);
        } else if len == places_max + 1 {
            places = Vec::new();
        }
    }
    // Thousands of files wait for the graph at once: a third of their memory was room for blocks that never came.
    places.shrink_to_fit();
    let Remarks { faults, mut warnings, warnings_left_out, empty_blocks } = remarks;
    crate::order::sort_by_key(&mut warnings, |warning| warning.offset);
    let merge_conflict = merge_conflict_line(&source.text);
    let source = Arc::new(source);
    ParsedFile {
        source,
        places,
        len,
        faults,
        warnings,
        warnings_left_out,
        empty_blocks,
        merge_conflict,
    }
}

/// Appends a place. The room grows by half, not to the double, and not beyond `most`.
fn push(places: &mut Vec<Place>, place: Place, most: usize) {
    let len = places.len();
    if len == places.capacity() {
        places.reserve_exact((len / 2).max(4).min(most - len));
    }
    places.push(place);
}

impl ParsedFile {
    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blocks, in file order.
    pub fn blocks(&self) -> impl Iterator<Item = BlockRef<'_>> {
        let mut kept = self.places.iter();
        let mut pass = (self.places.len() < self.len).then(|| Pass::new(&self.source));
        std::iter::from_fn(move || {
            let place = match &mut pass {
                None => *kept.next()?,
                Some(pass) => pass.next(&self.source, None)?,
            };
            Some(BlockRef { source: &self.source, place })
        })
    }

    /// The `index`-th block in file order.
    pub fn block(&self, index: usize) -> BlockRef<'_> {
        match self.places.get(index) {
            Some(place) => BlockRef { source: &self.source, place: *place },
            None => self.blocks().nth(index).expect("the index is that of a block"),
        }
    }

    /// The text that was parsed.
    pub fn source(&self) -> &str {
        &self.source.text
    }

    /// The text that was parsed, by value.
    pub fn into_source(self) -> String {
        match Arc::try_unwrap(self.source) {
            Ok(source) => source.text,
            Err(shared) => shared.text.clone(),
        }
    }

    /// The blocks in slices: each of at most `blocks` blocks, and of about `bytes` bytes of texts as they are stored.
    /// Most notes are one slice; one without blocks is one too.
    pub fn into_slices(self, blocks: usize, bytes: usize) -> Slices {
        let ParsedFile { source, places, len, .. } = self;
        let pass = (places.len() < len).then(|| Pass::new(&source));
        let fits =
            pass.is_none() && len <= blocks && places.iter().map(weight).sum::<usize>() <= bytes;
        Slices { source, places, fits, next: 0, pass, held: None, is_done: false, blocks, bytes }
    }
}

/// The bytes that a block takes where it is stored.
fn weight(place: &Place) -> usize {
    let len = |start: usize, end: usize| end - start;
    len(place.id.start, place.id.end)
        + len(place.text.start, place.text.end).min(TEXT_BYTES_STORED)
        + len(place.body.start, place.body.end).min(place.body_stored)
}

/// The blocks of a note, slice by slice.
#[derive(Debug)]
pub struct Slices {
    source: Arc<Source>,
    places: Vec<Place>,
    /// Whether all places make one slice.
    fits: bool,
    next: usize,
    /// Where no places are kept, they are found again.
    pass: Option<Pass>,
    /// A place that did not fit into the last slice.
    held: Option<Place>,
    is_done: bool,
    blocks: usize,
    bytes: usize,
}

impl Slices {
    fn next_place(&mut self) -> Option<Place> {
        if let Some(place) = self.held.take() {
            return Some(place);
        }
        match &mut self.pass {
            Some(pass) => pass.next(&self.source, None),
            None => {
                self.next += 1;
                self.places.get(self.next - 1).copied()
            }
        }
    }
}

impl Iterator for Slices {
    type Item = FileSlice;

    fn next(&mut self) -> Option<FileSlice> {
        if self.is_done {
            return None;
        }
        let mut places = Vec::new();
        if self.fits {
            places = std::mem::take(&mut self.places);
            self.is_done = true;
        }
        let mut bytes = 0;
        while !self.is_done {
            let Some(place) = self.next_place() else {
                self.is_done = true;
                break;
            };
            bytes += weight(&place);
            if !places.is_empty() && (places.len() >= self.blocks || bytes > self.bytes) {
                self.held = Some(place);
                break;
            }
            places.push(place);
        }
        let source = Arc::clone(&self.source);
        Some(FileSlice { source, places, is_last: self.is_done })
    }
}

/// Some neighbouring blocks of a note, with the text they are in.
#[derive(Clone, Debug)]
pub struct FileSlice {
    source: Arc<Source>,
    places: Vec<Place>,
    is_last: bool,
}

impl FileSlice {
    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether no slice of the same note follows.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// The blocks, in file order.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = BlockRef<'_>> + Clone {
        self.places.iter().map(|place| BlockRef { source: &self.source, place: *place })
    }

    /// The `index`-th block of this slice.
    pub fn block(&self, index: usize) -> BlockRef<'_> {
        BlockRef { source: &self.source, place: self.places[index] }
    }

    /// How many bytes its blocks take where they are stored.
    pub fn bytes(&self) -> usize {
        self.places.iter().map(weight).sum()
    }

    /// The text of the whole note.
    pub fn source(&self) -> &str {
        &self.source.text
    }
}

/// One block of a note. Its texts are made when asked for.
#[derive(Clone, Copy, Debug)]
pub struct BlockRef<'a> {
    source: &'a Source,
    place: Place,
}

impl<'a> BlockRef<'a> {
    /// The id as written in the marker.
    pub fn id(&self) -> &'a str {
        self.slice(self.place.id)
    }

    /// The number after `ver=`; 1 when the marker has none.
    pub fn version(&self) -> i64 {
        self.place.version
    }

    /// The bytes of the marker in the file.
    pub fn marker(&self) -> Range<usize> {
        self.place.marker.into()
    }

    /// The bytes of the digits after `ver=`.
    pub fn version_digits(&self) -> Option<Range<usize>> {
        marker_at(&self.source.text, self.place.marker.start, self.source.options)
            .expect("the text did not change since the marker was found in it")
            .version_digits
    }

    /// Line of the marker, counted from 1.
    pub fn line(&self) -> u32 {
        self.place.line
    }

    /// Inline or file-level.
    pub fn level(&self) -> Level {
        self.place.level
    }

    /// Whether the marker is in a code fence or span: an example rather than a block that is meant.
    pub fn in_code(&self) -> bool {
        self.place.in_code
    }

    /// v1 hash.
    pub fn hash(&self) -> ContentHash {
        self.place.hash
    }

    /// v2 hash.
    pub fn body_hash(&self) -> ContentHash {
        self.place.body_hash
    }

    /// The v1 text, line breaks as `\n`.
    pub fn text(&self) -> Cow<'a, str> {
        with_line_feeds(self.slice(self.place.text))
    }

    /// The first [`TEXT_BYTES_STORED`] bytes of the v1 text, or a few less: never half a character.
    pub fn stored_text(&self) -> Cow<'a, str> {
        let text = self.slice(self.place.text);
        // Two characters may become one, so twice as many are looked at.
        let begin = &text[..text.floor_char_boundary(2 * TEXT_BYTES_STORED)];
        match with_line_feeds(begin) {
            Cow::Borrowed(text) => {
                Cow::Borrowed(&text[..text.floor_char_boundary(TEXT_BYTES_STORED)])
            }
            Cow::Owned(mut text) => {
                text.truncate(text.floor_char_boundary(TEXT_BYTES_STORED));
                Cow::Owned(text)
            }
        }
    }

    /// The v2 text.
    pub fn body(&self) -> String {
        body::write(self.source, self.place.body, usize::MAX)
    }

    /// The first [`BODY_BYTES_STORED`] bytes of the v2 text, or a few less: never half a character. Fewer of a note
    /// whose many blocks have the same huge body.
    pub fn stored_body(&self) -> String {
        body::write(self.source, self.place.body, self.place.body_stored)
    }

    #[inline]
    fn slice(&self, span: Span) -> &'a str {
        &self.source.text[span.start..span.end]
    }

    /// The block by value, texts included.
    pub fn to_block(self) -> Block {
        Block {
            id: BlockId::new(self.id()),
            version: self.version(),
            line: self.line(),
            offset: self.place.marker.start as u64,
            level: self.level(),
            text: self.text().into_owned(),
            hash: self.hash(),
            body: self.body(),
            body_hash: self.body_hash(),
        }
    }
}

fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\r', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
}

#[cfg(test)]
mod tests;
