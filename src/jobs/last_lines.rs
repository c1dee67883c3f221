//! The end of standard output, as far as it may be a verdict: a last line that begins with `{`, or an object written over
//! the last lines, as `jq` and `indent=2` write it.
//!
//! Several lines may be anything, such as a listing of C: they are a verdict where they can be read, and an error only
//! where they name `"success"`.

use super::output::Line;
use super::verdict::{self, BYTES_MAX, Verdict, begins_here};

/// The end of standard output, as far as it may be a verdict.
#[derive(Debug, Default)]
pub(super) struct LastLines {
    /// From the line that begins with `{` on; empty where there is none.
    text: Vec<u8>,
    /// How many bytes they had.
    length: u64,
    is_one_line: bool,
}

impl LastLines {
    /// Takes in a line. Any may turn out to be the last.
    pub(super) fn push(&mut self, line: Line<'_>) {
        if line.kept.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return;
        }
        // A program that shows its progress begins the same line again and again.
        let kept = line.kept.trim_ascii_end();
        let last = kept.rsplit(|byte| *byte == b'\r').next().unwrap_or(kept);
        let length = line.length - (line.kept.len() - last.len()) as u64;
        if begins_here(last) && !(self.is_open() && is_inner(last)) {
            self.text.clear();
            self.text.extend_from_slice(last);
            self.length = length;
            self.is_one_line = true;
        } else if self.is_open() && is_inner(last) {
            if let Some(room) = BYTES_MAX.checked_sub(self.text.len() + 1) {
                self.text.push(b'\n');
                self.text.extend_from_slice(&last[..last.len().min(room)]);
            }
            self.length += length + 1;
            self.is_one_line = false;
        } else {
            *self = LastLines::default();
        }
    }

    /// Whether a further line may belong to it.
    fn is_open(&self) -> bool {
        let is_closed =
            self.text.ends_with(b"}") && (self.is_one_line || self.text.ends_with(b"\n}"));
        !self.text.is_empty() && !is_closed
    }

    /// The verdict, if there is one; an `Err` says why it cannot be read.
    pub(super) fn read(self) -> Option<Result<Verdict, String>> {
        if self.text.is_empty() {
            return None;
        }
        let verdict = verdict::read(&self.text, self.length);
        if self.is_one_line {
            let what = "the last line begins with { and cannot be read as a verdict";
            return Some(verdict.map_err(|why| format!("{what}: {why}")));
        }
        let is_meant = || memchr::memmem::find(&self.text, b"\"success\"").is_some();
        match verdict {
            Err(_) if !is_meant() => None,
            verdict => {
                let what = "the last lines begin with { and cannot be read as a verdict";
                Some(verdict.map_err(|why| format!("{what}: {why}")))
            }
        }
    }
}

/// Whether a line can stand within an object that is written over several lines.
fn is_inner(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t' | b'}' | b']' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(lines: &[&str]) -> Option<Result<Verdict, String>> {
        let mut last = LastLines::default();
        for line in lines {
            last.push(Line { kept: line.as_bytes(), length: line.len() as u64 });
        }
        last.read()
    }

    #[track_caller]
    fn fails(lines: &[&str]) {
        assert!(read(lines).unwrap().unwrap().is_failure, "{lines:?}");
    }

    #[test]
    fn an_object_over_several_lines_is_a_verdict() {
        fails(&["working", "{", "  \"success\": false,", "  \"lost\": [", "    {}", "  ]", "}"]);
        fails(&["{", "\"success\": false", "}", "", "\0"]);
        fails(&["{\"success\": false,", " \"n\": 1}"]);
        fails(&["{", "}", "{\"success\": false}"]);
        fails(&["{", "{\"success\": false}"]);
        let unreadable = read(&["{", "  'n': 1, \"success\": False", "}"]).unwrap().unwrap_err();
        assert!(unreadable.starts_with("the last lines begin with { and cannot be read"));
        assert!(read(&["{", "  \"success\": fal"]).unwrap().is_err());
    }

    #[test]
    fn several_lines_of_anything_else_are_no_verdict() {
        for lines in [
            &["int main()", "{", "  return 0;", "}"][..],
            &["{", "  \"success\": false", "}", "done"],
            &["{\"success\": false}", "  in 3 steps"],
            &["{ a", "b"],
        ] {
            assert_eq!(read(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn progress_that_is_drawn_over_hides_no_verdict() {
        fails(&["10 %\r20 %\r{\"success\": false}\r"]);
        assert_eq!(read(&["{\"success\": false}\rdone"]), None);
    }

    #[test]
    fn lines_without_end_take_no_more_memory_than_a_verdict() {
        let mut last = LastLines::default();
        let long = vec![b' '; 60_000];
        for line in [&b"{"[..]].into_iter().chain(std::iter::repeat_n(&long[..], 100)) {
            let line = [line, b"\"success\":"].concat();
            last.push(Line { kept: &line, length: line.len() as u64 });
        }
        assert!(last.text.capacity() <= 2 * BYTES_MAX);
        assert!(last.read().unwrap().unwrap_err().ends_with("1048576 are the most"));
    }
}
