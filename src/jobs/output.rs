//! A program's output, byte by byte, as lines that fit a log.
//!
//! However much a program writes, this holds no more than [`KEPT_MAX`] bytes of a line, or a verdict's bytes of one that may
//! be a verdict: a longer line is cut, and the cut is counted. Bytes that are not UTF-8 and control characters are shown escaped, so that no output can break a log line
//! or a terminal.

use std::fmt::Write as _;

use super::verdict;
use crate::text::acts_unseen;

/// How much of one line is kept that is no verdict: more than is shown of it.
pub(super) const KEPT_MAX: usize = 64 * 1024;

/// How much of one line is shown in the log, escapes included.
pub(super) const SHOWN_MAX: usize = 8 * 1024;

/// Collects the bytes of one stream into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    kept: Vec<u8>,
    length: u64,
}

/// One line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Its first bytes: [`KEPT_MAX`] of them, or [`verdict::BYTES_MAX`] where it may be one.
    pub(super) kept: &'a [u8],
    /// How long it was.
    pub(super) length: u64,
}

impl Lines {
    /// Takes in what was read and hands out every line that is complete now.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.append(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.end(&mut line);
        }
        self.append(bytes);
    }

    /// At the end of the stream: hands out a last line that had no line end.
    pub(super) fn finish(&mut self, mut line: impl FnMut(Line<'_>)) {
        if self.length > 0 {
            self.end(&mut line);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let (head, rest) =
            bytes.split_at(bytes.len().min(KEPT_MAX.saturating_sub(self.kept.len())));
        self.kept.extend_from_slice(head);
        if !rest.is_empty() && verdict::begins_here(&self.kept) {
            let room = verdict::BYTES_MAX - self.kept.len();
            self.kept.extend_from_slice(&rest[..rest.len().min(room)]);
        }
    }

    fn end(&mut self, line: &mut impl FnMut(Line<'_>)) {
        let kept = self.kept.strip_suffix(b"\r").unwrap_or(&self.kept);
        line(Line { kept, length: self.length });
        self.kept.clear();
        // Room that a verdict took is given back: most runs have but one.
        self.kept.shrink_to(KEPT_MAX);
        self.length = 0;
    }
}

impl Line<'_> {
    /// Whether there is nothing to see.
    pub(super) fn is_blank(self) -> bool {
        self.kept.iter().all(u8::is_ascii_whitespace)
    }

    /// Whether all of it was kept.
    fn is_whole(self) -> bool {
        self.length <= KEPT_MAX as u64
    }

    /// About how many bytes [`show`](Line::show) makes of it.
    pub(super) fn shown_length(self) -> u64 {
        self.length.min(SHOWN_MAX as u64)
    }

    /// The line for a log: escaped, and cut with a remark where it is long.
    pub(super) fn show(self) -> String {
        let mut text = String::with_capacity(self.kept.len().min(SHOWN_MAX));
        let mut is_cut = !self.is_whole();
        'line: for chunk in self.kept.utf8_chunks() {
            for c in chunk.valid().chars() {
                if text.len() >= SHOWN_MAX {
                    is_cut = true;
                    break 'line;
                }
                match c {
                    // A log that is text shows it escaped like the rest; JSON keeps it.
                    '\t' => text.push(c),
                    c if acts_unseen(c) => text.extend(c.escape_default()),
                    c => text.push(c),
                }
            }
            for byte in chunk.invalid() {
                if text.len() >= SHOWN_MAX {
                    is_cut = true;
                    break 'line;
                }
                write!(text, "\\x{byte:02x}").expect("a String takes everything");
            }
        }
        if is_cut {
            write!(text, " [cut: {} bytes in all]", self.length)
                .expect("a String takes everything");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reads: &[&[u8]]) -> Vec<String> {
        let mut shown = Vec::new();
        let mut lines = Lines::default();
        for bytes in reads {
            lines.feed(bytes, |line| shown.push(line.show()));
        }
        lines.finish(|line| shown.push(line.show()));
        shown
    }

    #[track_caller]
    fn case(reads: &[&[u8]], expected: &[&str]) {
        assert_eq!(lines(reads), expected);
    }

    #[test]
    fn bytes_become_lines_however_they_arrive() {
        case(&[], &[]);
        case(&[b"one\ntwo\n"], &["one", "two"]);
        case(&[b"o", b"ne\nt", b"wo"], &["one", "two"]);
        case(&[b"one\r\n\ntwo\r", b"\n"], &["one", "", "two"]);
        case(&[b"10 %\r20 %\n"], &["10 %\\r20 %"]);
    }

    #[test]
    fn what_could_break_a_log_is_shown_escaped() {
        case(&[b"a\xff\xfeb\n"], &["a\\xff\\xfeb"]);
        case(&[b"caf\xc3", b"\xa9\n"], &["café"]);
        case(&[b"\x1b[31mred\0\n"], &["\\u{1b}[31mred\\u{0}"]);
        case(&[b"a\tb\n"], &["a\tb"]);
    }

    #[test]
    fn a_long_line_is_cut_and_its_length_told() {
        let long = vec![b'x'; SHOWN_MAX + 1];
        let shown = lines(&[&long, b"\nnext\n"]);
        assert_eq!(
            shown[0],
            format!("{} [cut: {} bytes in all]", "x".repeat(SHOWN_MAX), SHOWN_MAX + 1)
        );
        assert_eq!(shown[1], "next");
        // The bound is on bytes written, not on bytes read: five of them may be one of the program's.
        let shown = lines(&[&[0; SHOWN_MAX]]);
        assert!(
            shown[0].len() < SHOWN_MAX + 50 && shown[0].ends_with("bytes in all]"),
            "{shown:?}"
        );
        let shown = lines(&[&[0xff; SHOWN_MAX]]);
        assert!(
            shown[0].len() < SHOWN_MAX + 50 && shown[0].ends_with("bytes in all]"),
            "{shown:?}"
        );
    }

    #[test]
    fn an_endless_line_takes_no_more_memory() {
        let mut lines = Lines::default();
        let block = vec![0u8; 1 << 20];
        for _ in 0..64 {
            lines.feed(&block, |_| panic!("there is no line end"));
        }
        assert!(lines.kept.capacity() <= 2 * KEPT_MAX);
        lines.finish(|line| assert_eq!((line.length, line.is_whole()), (64 << 20, false)));
    }

    #[test]
    fn a_line_that_may_be_a_verdict_is_kept_as_far_as_one_may_reach() {
        let mut lines = Lines::default();
        for _ in 0..64 {
            lines.feed(b"{", |_| panic!("there is no line end"));
            lines.feed(&[b'x'; 1 << 20], |_| panic!("there is no line end"));
        }
        assert!(lines.kept.capacity() <= 2 * verdict::BYTES_MAX);
        let mut kept = 0;
        lines.feed(b"\n", |line| kept = line.kept.len());
        assert_eq!(kept, verdict::BYTES_MAX);
        assert!(lines.kept.capacity() <= KEPT_MAX);
    }
}
