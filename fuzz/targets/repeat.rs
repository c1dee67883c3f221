//! A beginning, one piece over and over, and an end: half a megabyte of it is parsed in a moment, unless some look back
//! or ahead is repeated for each piece. Then the fuzzer's `-timeout` tells.

#![no_main]

use aclarai_scheduler::inside::vault::{ParseOptions, parse};
use libfuzzer_sys::fuzz_target;

const BYTES: usize = 512 << 10;

fuzz_target!(|parts: (&str, &str, &str)| {
    let (begin, piece, end) = parts;
    if piece.is_empty() {
        return;
    }
    let text = format!("{begin}{}{end}", piece.repeat(BYTES / piece.len()));
    for accept_hyphen_ids in [false, true] {
        let parsed = parse(text.clone(), ParseOptions { accept_hyphen_ids });
        assert!(parsed.len() <= text.len() / "<!--aclarai:id=x-->".len());
    }
});
