//! The text of one note, and what is known of it before its blocks are: where its front matter ends, which ids it holds.

use std::sync::OnceLock;

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64;

use super::marker::{Marker, ParseOptions, marker_at};
use super::white::{first_line, next_line, trim, trim_end};

/// A text that will not change, with the facts that every look at it needs.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) text: String,
    pub(super) options: ParseOptions,
    /// Length of the byte order mark, if there is one.
    pub(super) bom: usize,
    /// Whether there is a `\r`: most files have none and need one kind of line break looked for, not two.
    pub(super) has_cr: bool,
    /// Behind the last character that is not white space.
    pub(super) end: usize,
    /// Behind the front matter.
    pub(super) front_matter: usize,
    /// Digests of all ids, sorted. Only asked for where a line ends in a word that may be an anchor.
    ids: OnceLock<Box<[u64]>>,
}

impl Source {
    pub(super) fn new(text: String, options: ParseOptions) -> Source {
        let bom = if text.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 };
        Source {
            bom,
            has_cr: memchr::memchr(b'\r', text.as_bytes()).is_some(),
            end: trim_end(text.as_bytes(), 0, text.len()),
            front_matter: front_matter_end(&text, bom, options),
            ids: OnceLock::new(),
            options,
            text,
        }
    }

    /// Whether a marker in this text has the id.
    pub(super) fn has_id(&self, id: &str) -> bool {
        let ids = self.ids.get_or_init(|| {
            let digest = |marker: Marker| xxh3_64(&self.text.as_bytes()[marker.id]);
            let mut ids: Vec<u64> = markers(&self.text, self.options).map(digest).collect();
            ids.sort_unstable();
            ids.dedup();
            ids.into()
        });
        ids.binary_search(&xxh3_64(id.as_bytes())).is_ok()
    }
}

/// The markers in a text, in order.
fn markers(text: &str, options: ParseOptions) -> impl Iterator<Item = Marker> {
    let opening = memmem::Finder::new(b"<!--");
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let open = at + opening.find(&text.as_bytes()[at..])?;
            match marker_at(text, open, options) {
                Some(marker) => {
                    at = marker.span.end;
                    return Some(marker);
                }
                None => at = open + "<!--".len(),
            }
        }
    })
}

/// Where the front matter ends: behind the line that closes it. `bom` if there is none. What begins like front matter
/// but has a marker in it is text: a note may well begin with a rule.
fn front_matter_end(text: &str, bom: usize, options: ParseOptions) -> usize {
    let closing: &[&str] = match trim(first_line(&text[bom..])) {
        "---" if text[bom..].starts_with('-') => &["---", "..."],
        "+++" if text[bom..].starts_with('+') => &["+++"],
        _ => return bom,
    };
    let mut at = next_line(text, bom);
    while at < text.len() {
        let line = trim(first_line(&text[at..]));
        at = next_line(text, at);
        if closing.contains(&line) {
            let marker = markers(&text[bom..], options).next();
            return if marker.is_some_and(|marker| bom + marker.span.start < at) {
                bom
            } else {
                at
            };
        }
    }
    bom
}
