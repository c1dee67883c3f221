//! Any bytes: the parser does not panic, what it says of a text is true, and v1 is what a literal, slow reading of the
//! rules gives.

#![no_main]

use aclarai_scheduler::inside::block::Level;
use aclarai_scheduler::inside::vault::{NotUtf8, ParseOptions, ParsedFile, parse_bytes};
use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../src/vault/parse/tests/reference.rs"]
mod reference;

fuzz_target!(|bytes: &[u8]| {
    for accept_hyphen_ids in [false, true] {
        match parse_bytes(bytes.to_vec(), ParseOptions { accept_hyphen_ids }) {
            Err(NotUtf8 { offset }) => {
                let error = std::str::from_utf8(bytes).expect_err("refused though it is UTF-8");
                assert_eq!(error.valid_up_to() as u64, offset);
            }
            Ok(parsed) => {
                hold_together(&parsed);
                if !accept_hyphen_ids {
                    compare(&parsed);
                }
            }
        }
    }
});

/// What the parser says of a text agrees with the text and with itself.
fn hold_together(parsed: &ParsedFile) {
    let text = parsed.source();
    let mut last = 0;
    for block in parsed.blocks() {
        let marker = block.marker();
        assert!(last <= marker.start);
        last = marker.end;
        assert!(text[marker.clone()].starts_with("<!--") && text[marker.clone()].ends_with("-->"));
        assert!(text[marker.clone()].contains(block.id()));
        if let Some(digits) = block.version_digits() {
            assert!(marker.start < digits.start && digits.end < marker.end);
        }
        // The same line, counted anew.
        let before = text[..marker.start].replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(block.line() as usize, 1 + before.matches('\n').count());
        assert!(!block.text().is_empty());
        assert!(!block.body().starts_with(' ') && !block.body().ends_with(' '));
    }
    for warning in &parsed.warnings {
        assert!(text[warning.offset as usize..].starts_with(['<', '\0']));
        let _ = warning.to_string();
    }
}

fn compare(parsed: &ParsedFile) {
    // Of other scripts' digits this model knows one.
    let digit =
        |c: char| c.to_digit(10).or_else(|| ('٠'..='٩').position(|d| d == c).map(|d| d as u32));
    if parsed.source().chars().any(|c| !c.is_ascii() && c.is_numeric() && digit(c).is_none()) {
        return;
    }
    let (expected, empty) = reference::blocks(parsed.source(), digit);
    let expected: Vec<_> = expected
        .into_iter()
        .filter(|block| block.id.len() <= aclarai_scheduler::inside::block::ID_BYTES_MAX)
        .map(|block| (block.id, block.version, block.line, block.is_file_level, block.text))
        .collect();
    let found: Vec<_> = parsed
        .blocks()
        .map(|block| {
            let is_file_level = block.level() == Level::File;
            let text = block.text().into_owned();
            (block.id().to_owned(), block.version(), block.line(), is_file_level, text)
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(parsed.empty_blocks, empty);
}
