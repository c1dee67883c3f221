//! Which places of a note are code: in a fence (a line of three or more backticks or tildes opens one) or in a span
//! (between runs of as many backticks). A marker there is an example more often than a marker.
//!
//! Asked for one place after the other, in rising order, and linear over a whole note. Close to CommonMark, not all of
//! it: code that is code by its indentation is taken for text. Everything here is pure.

use memchr::memmem;

use super::white::{first_line, next_line, trim};

/// A run of more backticks than this is taken to open no span: each length costs a look through its paragraph.
const RUN_MAX: usize = 16;

/// The code of a note, as far as it was asked for.
#[derive(Debug)]
pub(super) struct Code {
    fences: Fences,
    /// Up to here it is known which backticks open spans and which stand for themselves.
    looked_to: usize,
    /// Where the paragraph ends that `looked_to` is in.
    paragraph_end: usize,
    /// For each length of a run of backticks: from here on no such run follows in this paragraph.
    none_from: [usize; RUN_MAX + 1],
}

/// The code fences of a note, as far as it was asked for.
#[derive(Debug)]
struct Fences {
    /// Up to here lines were looked at.
    looked_to: usize,
    /// Where the last line ends that opened or closed a fence.
    last_end: usize,
    /// The next places with three backticks, and with three tildes.
    next: [Option<usize>; 2],
    open: Option<Fence>,
}

#[derive(Debug)]
struct Fence {
    mark: u8,
    len: usize,
    /// Whether it stands in a quote, which ends it too.
    is_quoted: bool,
}

impl Code {
    pub(super) fn new(text: &str) -> Code {
        Code {
            fences: Fences::new(text),
            looked_to: 0,
            paragraph_end: 0,
            none_from: [usize::MAX; RUN_MAX + 1],
        }
    }

    /// Whether `at` is in code. The text from `at` to `end` (a marker) opens no span.
    pub(super) fn holds(&mut self, text: &str, at: usize, end: usize) -> bool {
        if self.fences.hold(text, at) {
            self.looked_to = end;
            return true;
        }
        let is_span = self.span_holds(text.as_bytes(), at);
        self.looked_to = self.looked_to.max(end);
        is_span
    }

    fn span_holds(&mut self, text: &[u8], at: usize) -> bool {
        if at < self.looked_to {
            return true;
        }
        // A span does not go beyond its paragraph, nor over a fence: what lies before does not matter.
        self.looked_to = self.looked_to.max(self.fences.last_end.min(at));
        if at >= self.paragraph_end {
            self.looked_to = paragraph_start(text, self.looked_to, at);
        }
        while let Some(tick) = memchr::memchr(b'`', &text[self.looked_to..at]) {
            let tick = self.looked_to + tick;
            let run = tick..tick + ticks(&text[tick..]);
            let is_escaped = tick > self.looked_to && text[tick - 1] == b'\\';
            self.looked_to = if is_escaped { tick + 1 } else { run.end };
            if !is_escaped && let Some(end) = self.span_end(text, run.end, run.len()) {
                self.looked_to = end;
                if at < end {
                    return true;
                }
            }
        }
        self.looked_to = self.looked_to.max(at);
        false
    }

    /// Where the span ends that a run of `len` backticks opens, which ends at `from`.
    fn span_end(&mut self, text: &[u8], from: usize, len: usize) -> Option<usize> {
        if from >= self.paragraph_end {
            self.paragraph_end = paragraph_end(text, from);
            self.none_from = [usize::MAX; RUN_MAX + 1];
        }
        if len > RUN_MAX || self.none_from[len] <= from {
            return None;
        }
        let mut at = from;
        while let Some(tick) = memchr::memchr(b'`', &text[at..self.paragraph_end]) {
            let run = ticks(&text[at + tick..]);
            at += tick + run;
            if run == len {
                return Some(at);
            }
        }
        self.none_from[len] = from;
        None
    }
}

fn ticks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| **byte == b'`').count()
}

/// Where the paragraph begins that `at` is in, not before `low`.
fn paragraph_start(text: &[u8], low: usize, at: usize) -> usize {
    let mut start = at;
    while let Some(found) = memchr::memrchr(b'\n', &text[low..start]) {
        let line = &text[low + found + 1..start];
        if start < at && line.iter().all(u8::is_ascii_whitespace) {
            return start;
        }
        start = low + found;
    }
    low
}

/// Where the paragraph ends that `at` is in: at a blank line or a fence.
fn paragraph_end(text: &[u8], at: usize) -> usize {
    let mut from = at;
    while let Some(found) = memchr::memchr(b'\n', &text[from..]) {
        let line = from + found + 1;
        let blank =
            text[line..].iter().take_while(|byte| matches!(**byte, b' ' | b'\t' | b'\r')).count();
        match &text[line + blank..] {
            [] | [b'\n', ..] | [b'`', b'`', b'`', ..] | [b'~', b'~', b'~', ..] => return line,
            _ => from = line,
        }
    }
    text.len()
}

impl Fences {
    fn new(text: &str) -> Fences {
        let first = |word: &str| memmem::find(text.as_bytes(), word.as_bytes());
        Fences { looked_to: 0, last_end: 0, next: [first("```"), first("~~~")], open: None }
    }

    /// Whether `at` is in a fence, its first line included.
    fn hold(&mut self, text: &str, at: usize) -> bool {
        while let Some(mark) = self.next.iter().flatten().copied().min().filter(|mark| *mark < at) {
            let line = line_start(text, mark);
            self.leave_quote(text, line);
            let after = next_line(text, mark);
            if self.take(text, line, mark) {
                self.last_end = after;
            }
            for (next, word) in self.next.iter_mut().zip(["```", "~~~"]) {
                if next.is_some_and(|next| next < after) {
                    let found = memmem::find(&text.as_bytes()[after..], word.as_bytes());
                    *next = found.map(|found| after + found);
                }
            }
            self.looked_to = self.looked_to.max(after);
        }
        self.leave_quote(text, at);
        self.open.is_some()
    }

    /// Closes a fence in a quote, if a line up to `last` is no part of the quote.
    fn leave_quote(&mut self, text: &str, last: usize) {
        while self.open.as_ref().is_some_and(|fence| fence.is_quoted)
            && self.looked_to <= last
            && self.looked_to < text.len()
        {
            let line = first_line(&text[self.looked_to..]);
            if !line.trim_start_matches([' ', '\t']).starts_with('>') {
                self.open = None;
            }
            self.looked_to = next_line(text, self.looked_to);
        }
    }

    /// Looks at the line at `line`, whose first three backticks or tildes are at `mark`; true if it opens or closes a
    /// fence.
    fn take(&mut self, text: &str, line: usize, mark: usize) -> bool {
        let before = &text[line..mark];
        let sign = text.as_bytes()[mark];
        let len = text.as_bytes()[mark..].iter().take_while(|byte| **byte == sign).count();
        let behind = first_line(&text[mark + len..]);
        match &self.open {
            Some(fence) => {
                let is_marker = |rest: &str| rest.is_empty() || rest.starts_with("<!--");
                let is_alone = before.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'>'));
                let closes =
                    sign == fence.mark && len >= fence.len && is_alone && is_marker(trim(behind));
                if closes {
                    self.open = None;
                }
                closes
            }
            // Behind quote marks and bullets; the word behind backticks has none.
            None => {
                let in_front = |byte: u8| byte.is_ascii_digit() || b" \t>-*+.)".contains(&byte);
                let opens = before.bytes().all(in_front) && !(sign == b'`' && behind.contains('`'));
                if opens {
                    self.open = Some(Fence { mark: sign, len, is_quoted: before.contains('>') });
                }
                opens
            }
        }
    }
}

/// Where the line begins that holds `at`.
fn line_start(text: &str, at: usize) -> usize {
    memchr::memrchr2(b'\n', b'\r', &text.as_bytes()[..at]).map_or(0, |found| found + 1)
}

/// Whether a line is one of those that a merge leaves: the sign seven times or, where somebody has told git so, more often,
/// and then a label or nothing.
fn is_merge_mark(line: &str, sign: char) -> bool {
    let behind = line.trim_start_matches(sign);
    line.len() - behind.len() >= 7 && (behind.starts_with(' ') || trim(behind).is_empty())
}

/// The line, counted from 1, on which a merge begins that was left unresolved: a line `<<<<<<< `, one `=======` and one
/// `>>>>>>> `, in this order, the first outside of code. Jujutsu has `%%%%%%% ` or `+++++++ ` in the middle.
pub(crate) fn merge_conflict_line(text: &str) -> Option<u32> {
    let mut from = memmem::find(text.as_bytes(), b"<<<<<<<")?;
    from = line_start(text, from);
    let mut number = 1 + super::white::count_breaks(&text.as_bytes()[..from], true);
    let mut fences = Fences::new(text);
    let (mut ours, mut middle) = (None, false);
    while from < text.len() {
        let line = first_line(&text[from..]);
        let line = if from == 0 { line.trim_start_matches('\u{FEFF}') } else { line };
        if ours.is_none() {
            if is_merge_mark(line, '<') && !fences.hold(text, from) {
                ours = Some(number);
            }
        } else if ['=', '%', '+'].iter().any(|sign| is_merge_mark(line, *sign)) {
            middle = true;
        } else if middle && is_merge_mark(line, '>') {
            return ours;
        }
        from = next_line(text, from);
        number += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the `@` of a text are in code.
    fn in_code(text: &str) -> String {
        let text = text.replace('@', "<!--@");
        let mut code = Code::new(&text);
        let at = text.match_indices("<!--@").map(|(at, word)| (at, at + word.len()));
        at.map(|(at, end)| if code.holds(&text, at, end) { 'x' } else { '.' }).collect()
    }

    #[test]
    fn fences_and_spans_are_code() {
        for (text, expected) in [
            ("@ no code", "."),
            ("@\n```\n@\n```\n@", ".x."),
            ("```md @\n@\n``` @\n@", "xx.."),
            ("~~~\n```\n@\n~~~\n@", "x."),
            ("````\n```\n@\n```\n@\n````\n@", "xx."),
            ("```\n@ not closed\n\n@", "xx"),
            ("- ```\n  @\n  ```\n- @", "x."),
            ("> ```\n> @\n> ```\n> @", "x."),
            ("> ```\n> @\n\n@", "x."),
            ("1. a\n   ```\n   @\n   ```\n@", "x."),
            ("word ```\n@\n", "."),
            ("```one line``` @\n@", ".."),
            ("\r\n```\r\n@\r\n```\r\n@", "x."),
            ("`@` and @", "x."),
            ("`` @ ` @ `` @", "xx."),
            ("a ` @", "."),
            ("a ` @\n\n` b", "."),
            ("a ` @\nb `", "x"),
            ("\\`@`", "."),
            ("`a``@", "."),
            ("` `` @ ``` ``` @ `` @", "xx."),
            ("one `a` two @ `b` @", ".."),
            ("@`@`@", ".x."),
            ("`a`\n\n@ `@\n@` @", ".xx."),
            ("```\na ` b\n```\n@ ` c", "."),
            ("```\n@\n```\n@\n```\n@\n```", "x.x"),
            ("a ` @\n```\n`\n```", "."),
            ("> ```\n> a\n@", "."),
        ] {
            assert_eq!(in_code(text), expected, "{text:?}");
        }
    }

    #[test]
    fn many_backticks_take_no_more_than_linear_time() {
        for piece in ["` @", "`` ` @", "@`", "~~~ @\n", "> ```\n@", "```@", "` `` ``` ```` @\n"] {
            let text = piece.repeat(200_000);
            assert!(in_code(&text).len() >= 200_000, "{piece}");
        }
    }

    #[test]
    fn an_unresolved_merge_is_found_with_its_line() {
        let merge = "<<<<<<< HEAD\none\n=======\ntwo\n>>>>>>> origin/main\n";
        for (text, line) in [
            (merge.to_owned(), Some(1)),
            (format!("# A\n\n{merge}"), Some(3)),
            (format!("# A\r\n\r\n{merge}").replace("one\n", "one\r\n"), Some(3)),
            (merge.replace("=======", "||||||| base\nzero\n======="), Some(1)),
            (merge.replace('\n', "\r\n"), Some(1)),
            (merge.replace('\n', "\r"), Some(1)),
            (format!("\u{feff}{merge}"), Some(1)),
            (merge.replace(" HEAD", "").replace(" origin/main", ""), Some(1)),
            (merge.replace("<<<<<<<", "<<<<<<<<<").replace(">>>>>>>", ">>>>>>>>>"), Some(1)),
            (merge.replace("=======", "%%%%%%% Changes\n+++++++ Contents"), Some(1)),
            (format!("---\n{merge}---\n"), Some(2)),
            (format!("```\n{merge}```\n"), None),
            (format!("```\n{merge}```\n\n{merge}"), Some(9)),
            (merge.replace("=======", "======"), None),
            (merge.replace(">>>>>>> ", "> "), None),
            (merge.replace("<<<<<<< ", " <<<<<<< "), None),
            ("Head\n=======\n\nText\n".to_owned(), None),
            (">>>>>>> a\n=======\n<<<<<<< b\n".to_owned(), None),
        ] {
            assert_eq!(merge_conflict_line(&text), line, "{text:?}");
        }
    }
}
