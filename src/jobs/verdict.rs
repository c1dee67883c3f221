//! A program's verdict on its own run: a last line of standard output that begins with `{`.
//!
//! Such a line is meant as a verdict, so it is never passed over. Slips that many programs make are forgiven: a byte
//! order mark is dropped, bytes that are not UTF-8 and lone surrogates become U+FFFD, and `NaN`, `Infinity` and numbers
//! beyond what a machine holds become null. A line that still cannot be read is an error, which says why.
//!
//! This file decides nothing about the run, and knows no process.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::job::set_apart;

/// How long a verdict may be. A program with more to say than this writes a file.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// How deep arrays and objects may lie in each other; the verdict itself is the first level.
const DEPTH_MAX: usize = 128;

/// Some editors and PowerShell begin each output with it.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Statistics that the command job itself sets.
const OF_THE_JOB: [&str; 2] = ["left_behind", "would_run"];

/// A program's own word about its run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// True for `"success": false` and for anything else there that is not true, also where another `success` follows.
    pub(super) is_failure: bool,
    /// Its `error`, as text.
    pub(super) error: Option<String>,
    /// Everything else, flat.
    pub(super) statistics: Map<String, Value>,
}

/// Whether a line is meant as a verdict.
pub(super) fn begins_here(line: &[u8]) -> bool {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii_start().starts_with(b"{")
        || is_utf_16(line)
}

/// Whether a line begins with `{` in UTF-16. Half of the line end before it may stand in front.
fn is_utf_16(line: &[u8]) -> bool {
    let marks = [&b"\xff\xfe"[..], b"\xfe\xff"];
    let line = marks.iter().find_map(|mark| line.strip_prefix(*mark)).unwrap_or(line);
    line.strip_prefix(b"\0").unwrap_or(line).starts_with(b"{\0")
}

/// Reads a verdict. `line` are its first bytes, at least [`BYTES_MAX`] of them where it is that long; `length` is how
/// many it had.
pub(super) fn read(line: &[u8], length: u64) -> Result<Verdict, String> {
    if is_utf_16(line) {
        return Err("it is UTF-16: write UTF-8".to_owned());
    }
    if length > BYTES_MAX as u64 {
        return Err(format!("it is {length} bytes long, {BYTES_MAX} are the most"));
    }
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    let text = tidy(&String::from_utf8_lossy(line))?;
    let mut json = serde_json::Deserializer::from_str(&text);
    // It counts one level less than is promised; `tidy` has counted.
    json.disable_recursion_limit();
    let Entries(entries) = Entries::deserialize(&mut json)
        .and_then(|entries| json.end().map(|()| entries))
        .map_err(|error| format!("it is not JSON: {error}"))?;
    Ok(sort(entries))
}

/// Replaces what strict JSON refuses and many programs write.
fn tidy(text: &str) -> Result<String, String> {
    let mut tidied = String::with_capacity(text.len());
    let mut rest = text;
    let mut depth = 0usize;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => {
                let (string, end) = tidy_string(rest);
                tidied += &string;
                end
            }
            first if is_of_word(first) => {
                let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                // `NaN`, `-Infinity`, C's `inf`, and 1e999.
                let is_no_number = rest[..end].parse::<f64>().is_ok_and(|n| !n.is_finite());
                tidied += if is_no_number { "null" } else { &rest[..end] };
                end
            }
            other => {
                match other {
                    '{' | '[' => depth += 1,
                    '}' | ']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth > DEPTH_MAX {
                    return Err(format!("it is nested deeper than {DEPTH_MAX} levels"));
                }
                tidied.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[end..];
    }
    Ok(tidied)
}

/// The bytes of numbers and bare words.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// The string that `text` begins with, its lone surrogates replaced, and where it ends.
fn tidy_string(text: &str) -> (String, usize) {
    let mut string = String::from('"');
    let mut at = 1;
    while let Some(length) = text[at..].find(['"', '\\']) {
        string += &text[at..at + length];
        at += length;
        if text[at..].starts_with('"') {
            string.push('"');
            return (string, at + 1);
        }
        let end = match (escaped_unit(&text[at..]), text.get(at + 6..).and_then(escaped_unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at + 12,
            (Some(0xD800..=0xDFFF), _) => {
                string += "\\ufffd";
                at += 6;
                continue;
            }
            (Some(_), _) => at + 6,
            (None, _) => at + 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
        string += &text[at..end];
        at = end;
    }
    string += &text[at..];
    (string, text.len())
}

/// The UTF-16 unit that `text` begins with as an escape, `\ud83d`.
fn escaped_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    u16::from_str_radix(digits, 16).ok()
}

/// An object whose names may come twice.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Statistics are flat: a nested value becomes its compact JSON text, a null is left out.
fn sort(entries: Vec<(String, Value)>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut no_flag = None;
    for (name, value) in entries {
        match (name.as_str(), value) {
            ("success", Value::Bool(true)) => {}
            ("success", Value::Bool(false)) => verdict.is_failure = true,
            ("success", Value::String(text)) if text.eq_ignore_ascii_case("true") => {}
            ("success", other) => {
                verdict.is_failure = true;
                no_flag = Some(format!("\"success\" is {other}: write true or false"));
            }
            (_, Value::Null) => {}
            ("error", Value::String(text)) => verdict.error = Some(text),
            ("error", other) => verdict.error = Some(other.to_string()),
            (_, value @ (Value::Array(_) | Value::Object(_))) => {
                verdict.statistics.insert(name, value.to_string().into());
            }
            (_, value) => {
                verdict.statistics.insert(name, value);
            }
        }
    }
    verdict.error = verdict.error.or(no_flag);
    verdict.statistics = set_apart(verdict.statistics, &OF_THE_JOB);
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(line: impl AsRef<[u8]>) -> Verdict {
        let line = line.as_ref();
        read(line, line.len() as u64).unwrap()
    }

    #[track_caller]
    fn statistics(line: impl AsRef<[u8]>, expected: &str) {
        assert_eq!(serde_json::to_string(&reads(line).statistics).unwrap(), expected);
    }

    #[test]
    fn a_line_that_begins_with_a_brace_is_meant_as_a_verdict() {
        for line in [&b"{}"[..], b"{ and more", b"  {", b"\xef\xbb\xbf{", b"\xef\xbb\xbf {"] {
            assert!(begins_here(line), "{line:?}");
        }
        for line in [&b"{\0}\0"[..], b"\xff\xfe{\0", b"\xfe\xff\0{\0", b"\0{\0"] {
            assert!(begins_here(line), "UTF-16: {line:?}");
            assert_eq!(read(line, 4), Err("it is UTF-16: write UTF-8".to_owned()));
        }
        for line in [&b""[..], b"done {}", b"[1]", b"\xff{"] {
            assert!(!begins_here(line), "{line:?}");
        }
    }

    #[test]
    fn statistics_are_flat() {
        statistics(
            r#"{"success":true,"items":3,"ok":false,"note":"x","none":null,"list":[1,{"a":2}],"error":""}"#,
            r#"{"items":3,"ok":false,"note":"x","list":"[1,{\"a\":2}]"}"#,
        );
    }

    #[test]
    fn slips_that_many_programs_make_are_forgiven() {
        let case = |line: &str, expected: &str| statistics(line, expected);
        case(
            r#"{"a": NaN, "b": [NaN, -Infinity], "c": 1e400, "d": nan}"#,
            r#"{"b":"[null,null]"}"#,
        );
        case(r#"{"NaN": "Infinity, \"NaN\"", "b": 1}"#, r#"{"NaN":"Infinity, \"NaN\"","b":1}"#);
        case(
            r#"{"lone": "caf\udce9.md", "pair": "\ud83d\ude00"}"#,
            "{\"lone\":\"caf\u{fffd}.md\",\"pair\":\"😀\"}",
        );
        case(
            r#"{"a": "\ud83d", "b": "\ud83d\ud83d\ude00", "c": "\\ud83d"}"#,
            "{\"a\":\"\u{fffd}\",\"b\":\"\u{fffd}😀\",\"c\":\"\\\\ud83d\"}",
        );
        statistics(b"{\"name\": \"caf\xe9\"}", "{\"name\":\"caf\u{fffd}\"}");
        statistics(b"\xef\xbb\xbf{\"n\": 1}", r#"{"n":1}"#);
        case(
            r#"{"n": 123456789012345678901234567890, "zero": 0.1e-400}"#,
            r#"{"n":1.2345678901234568e+29,"zero":0.0}"#,
        );
    }

    #[test]
    fn a_failure_is_a_failure_whatever_follows() {
        let verdict = reads(r#"{"success": false, "success": true, "error": "lost 3"}"#);
        assert!(verdict.is_failure);
        assert_eq!(verdict.error.as_deref(), Some("lost 3"));
        assert_eq!(reads(r#"{"error": {"code": 7}}"#).error.as_deref(), Some(r#"{"code":7}"#));
        for success in ["true", "\"true\"", "\"True\""] {
            assert!(!reads(format!("{{\"success\": {success}}}")).is_failure, "{success}");
        }
    }

    #[test]
    fn a_success_that_is_no_flag_is_a_failure_and_says_so() {
        for success in ["null", "0", "1", "\"false\"", "\"no\"", "[]", "{}"] {
            let verdict = reads(format!("{{\"success\": {success}, \"n\": 1}}"));
            let expected = format!("\"success\" is {success}: write true or false");
            assert_eq!((verdict.is_failure, verdict.error), (true, Some(expected)));
            assert_eq!(verdict.statistics.len(), 1);
        }
    }

    #[test]
    fn names_of_the_scheduler_are_set_apart() {
        statistics(
            r#"{"attempt": 99, "left_behind": 4, "items": 2}"#,
            r#"{"stats.attempt":99,"stats.left_behind":4,"items":2}"#,
        );
    }

    #[test]
    fn the_bounds_are_those_that_are_promised() {
        let nested = |levels: usize| {
            format!("{{\"a\": {}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        reads(nested(DEPTH_MAX));
        let error = |line: &str, length| read(line.as_bytes(), length).unwrap_err();
        let deep = nested(DEPTH_MAX + 1);
        assert_eq!(error(&deep, deep.len() as u64), "it is nested deeper than 128 levels");
        assert_eq!(error("{\"a\": ", 1_048_577), "it is 1048577 bytes long, 1048576 are the most");
        // No stack is used up by a line that is refused.
        let deepest = "{\"a\":".repeat(100_000);
        assert_eq!(error(&deepest, deepest.len() as u64), "it is nested deeper than 128 levels");
        let full = format!("{{\"a\": \"{}\"}}", "x".repeat(BYTES_MAX - 9));
        assert_eq!(full.len(), BYTES_MAX);
        reads(full);
    }

    #[test]
    fn a_line_that_cannot_be_read_says_why() {
        for (line, why) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("{\"n\": 1} and more", "trailing characters at line 1 column 10"),
            ("{'n': 1}", "key must be a string at line 1 column 2"),
            ("{\"a\": \"\\ud8", "EOF while parsing a string at line 1 column 11"),
            ("{\"a\": \"", "EOF while parsing a string at line 1 column 7"),
        ] {
            let expected = format!("it is not JSON: {why}");
            assert_eq!(read(line.as_bytes(), line.len() as u64), Err(expected), "{line}");
        }
    }
}
