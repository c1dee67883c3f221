//! White space, digits and lines, as the parser sees them.
//!
//! The other services compare hashes that Python made, so "white space" and "digit" mean here what they mean in
//! Python 3.11: 29 code points and the decimal digits of Unicode 14. Rust's own `char::is_whitespace` and `trim` lack
//! U+001C to U+001F. A line ends with `\n`, `\r\n` or a lone `\r`. Everything in this file is pure, and fast where the
//! text is ASCII.

/// The first of each run of ten decimal digits in Unicode 14, in order.
const ZEROS: [u32; 66] = [
    0x0030, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6,
    0x0D66, 0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80,
    0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0,
    0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0,
    0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0,
    0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
];

/// The value of a decimal digit of any script.
pub(super) fn digit(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    let code = u32::from(c);
    let run = ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?;
    Some(code - ZEROS[run]).filter(|value| *value < 10)
}

/// Length in bytes of the white space character that begins at `at`; 0 if there is none. `text` is UTF-8 and `at` a
/// character boundary.
#[inline]
pub(super) fn white_at(text: &[u8], at: usize) -> usize {
    let Some(&first) = text.get(at) else { return 0 };
    match first {
        0x09..=0x0D | 0x1C..=0x20 => 1,
        // Nothing below is white space but the lead bytes C2, E1, E2 and E3.
        0x00..=0xC1 | 0xC3..=0xE0 | 0xE4..=0xFF => 0,
        _ => white_beyond_ascii(&text[at..]),
    }
}

fn white_beyond_ascii(text: &[u8]) -> usize {
    match *text {
        [0xC2, 0x85 | 0xA0, ..] => 2,
        [0xE1, 0x9A, 0x80, ..]
        | [0xE2, 0x80, 0x80..=0x8A | 0xA8 | 0xA9 | 0xAF, ..]
        | [0xE2, 0x81, 0x9F, ..]
        | [0xE3, 0x80, 0x80, ..] => 3,
        _ => 0,
    }
}

/// Length in bytes of the white space character that ends at `end`; 0 if there is none.
#[inline]
fn white_before(text: &[u8], end: usize) -> usize {
    let Some(last) = end.checked_sub(1) else { return 0 };
    match text[last] {
        0x09..=0x0D | 0x1C..=0x20 => 1,
        0x80..=0xBF => [2, 3]
            .into_iter()
            .find(|len| end >= *len && white_beyond_ascii(&text[end - len..end]) == *len)
            .unwrap_or(0),
        _ => 0,
    }
}

/// The first position from `at` on that is not white space.
#[inline]
pub(super) fn skip_white(text: &[u8], mut at: usize) -> usize {
    loop {
        match white_at(text, at) {
            0 => return at,
            len => at += len,
        }
    }
}

/// The position behind the last character of `text` that is not white space; `from` if there is none behind `from`.
#[inline]
pub(super) fn trim_end(text: &[u8], from: usize, mut end: usize) -> usize {
    while end > from {
        match white_before(text, end) {
            0 => break,
            len => end -= len,
        }
    }
    end.max(from)
}

/// `text` without white space at its ends, as Python's `str.strip` sees it.
#[inline]
pub(super) fn trim(text: &str) -> &str {
    let start = skip_white(text.as_bytes(), 0);
    &text[start..trim_end(text.as_bytes(), start, text.len())]
}

/// Where the stretch that begins at `at` ends: at the first white space that is not one space between two other
/// characters, or at the end of the text. Such a stretch can be copied or hashed as it stands.
#[inline]
pub(super) fn stretch_end(text: &[u8], mut at: usize) -> usize {
    loop {
        // Most of most notes passes here, eight bytes at a time. The byte behind them tells whether a space is single.
        while let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<9>()) {
            let [word @ .., _] = *window;
            let [_, next @ ..] = *window;
            match suspects(u64::from_le_bytes(word), u64::from_le_bytes(next)) {
                0 => at += 8,
                found => {
                    at += found.trailing_zeros() as usize / 8;
                    break;
                }
            }
        }
        if at >= text.len() {
            return text.len();
        }
        let is_single_space =
            || text[at] == b' ' && at + 1 < text.len() && white_at(text, at + 1) == 0;
        if white_at(text, at) > 0 && !is_single_space() {
            return at;
        }
        at += 1;
    }
}

/// The highest bit of each of the eight bytes of `word` that may be white space other than a single space, or the lead
/// byte of such. `next` is the same text from the second byte on. Only the first byte found is surely one; arithmetic on
/// a whole word may mark some behind it as well. A loop over the bytes took three times as long, unless the compiler made
/// vectors of it, which it did in some builds.
#[inline]
fn suspects(word: u64, next: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    if (word | next) & HIGH == 0 {
        // A byte of ASCII reaches the highest bit where it is `limit` or more, and never carries into the next one.
        let below = |word: u64, limit: u64| !(word + (0x80 - limit) * ONES) & HIGH;
        return below(word, 0x20) | below(word, 0x21) & below(next, 0x21);
    }
    let below = |word: u64, limit: u64| word.wrapping_sub(limit * ONES) & !word & HIGH;
    let equal = |word: u64, byte: u64| below(word ^ (byte * ONES), 1);
    // C2, E1, E2 and E3, and E0 with them.
    let lead = |word: u64| equal(word, 0xC2) | equal(word & (0xFC * ONES), 0xE0);
    below(word, 0x20) | lead(word) | equal(word, 0x20) & (below(next, 0x21) | lead(next))
}

/// Appends `text` to `out`, every run of white space as one space and none at the ends. Ends early where `out` has grown
/// to `most` bytes or a few more.
pub(super) fn join_white_space(text: &str, out: &mut String, most: usize) {
    let bytes = text.as_bytes();
    let mut at = skip_white(bytes, 0);
    while at < bytes.len() && out.len() <= most {
        let end = stretch_end(bytes, at);
        let room = (most - out.len()).saturating_add(4);
        out.push_str(&text[at..text.floor_char_boundary(end.min(at.saturating_add(room)))]);
        at = skip_white(bytes, end);
        if at < bytes.len() {
            out.push(' ');
        }
    }
}

/// The decimal number at `at`, at most `i64::MAX`, and where it ends.
pub(super) fn number_at(text: &str, at: usize) -> Option<(i64, usize)> {
    let mut value = 0i64;
    let mut end = at;
    for c in text[at..].chars() {
        let Some(digit) = digit(c) else { break };
        value = value.saturating_mul(10).saturating_add(i64::from(digit));
        end += c.len_utf8();
    }
    (end > at).then_some((value, end))
}

/// The last line break in `text`: `\n`, or a `\r` as well.
#[inline]
pub(super) fn last_break(text: &str, has_cr: bool) -> Option<usize> {
    if has_cr {
        memchr::memrchr2(b'\n', b'\r', text.as_bytes())
    } else {
        memchr::memrchr(b'\n', text.as_bytes())
    }
}

/// How many lines end in `text`; `\r\n` ends one.
#[inline]
pub(super) fn count_breaks(text: &[u8], has_cr: bool) -> u32 {
    let breaks = memchr::memchr_iter(b'\n', text).count();
    let lone = |at: &usize| text.get(at + 1) != Some(&b'\n');
    let lone_breaks =
        if has_cr { memchr::memchr_iter(b'\r', text).filter(lone).count() } else { 0 };
    u32::try_from(breaks + lone_breaks).unwrap_or(u32::MAX)
}

/// The first line of `text`, without its line break.
pub(super) fn first_line(text: &str) -> &str {
    &text[..memchr::memchr2(b'\n', b'\r', text.as_bytes()).unwrap_or(text.len())]
}

/// Where the line behind the one that holds `at` begins.
#[inline]
pub(super) fn next_line(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    match memchr::memchr2(b'\n', b'\r', &bytes[at..]).map(|found| at + found) {
        Some(end) if bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n') => end + 2,
        Some(end) => end + 1,
        None => bytes.len(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Python's `str.isspace` over all of Unicode.
    const WHITE: [u32; 29] = [
        0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x1F, 0x20, 0x85, 0xA0, 0x1680, 0x2000,
        0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200A, 0x2028,
        0x2029, 0x202F, 0x205F, 0x3000,
    ];

    fn is_white(c: char) -> bool {
        WHITE.contains(&u32::from(c))
    }

    fn joined(text: &str) -> String {
        let mut out = String::new();
        join_white_space(text, &mut out, usize::MAX);
        out
    }

    #[test]
    fn white_space_is_what_python_takes_for_it() {
        for c in (0..=0x10FFFF).filter_map(char::from_u32) {
            let text = c.to_string();
            let len = if is_white(c) { text.len() } else { 0 };
            assert_eq!(white_at(text.as_bytes(), 0), len, "U+{:04X}", u32::from(c));
            assert_eq!(white_before(text.as_bytes(), text.len()), len, "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn digits_are_those_of_unicode_14() {
        let digits = (0..=0x10FFFF).filter_map(char::from_u32).filter_map(digit);
        assert_eq!(digits.count(), 660);
        for (c, value) in [
            ('7', Some(7)),
            ('\u{664}', Some(4)),
            ('\u{FF11}', Some(1)),
            ('\u{1D7FF}', Some(9)),
            ('\u{B2}', None),
            ('a', None),
            // Unicode 15 made these decimal digits; Python 3.11 does not know them.
            ('\u{11F50}', None),
            ('\u{1E4F0}', None),
        ] {
            assert_eq!(digit(c), value, "{c}");
        }
    }

    #[test]
    fn runs_of_white_space_become_one_space() {
        for (text, expected) in [
            ("", ""),
            (" \t\n", ""),
            ("a", "a"),
            ("  a  b\r\nc ", "a b c"),
            ("a\u{1F}b\u{3000}\u{2003}c\u{85}", "a b c"),
            ("\u{FEFF}a \u{A0}b", "\u{FEFF}a b"),
        ] {
            assert_eq!(joined(text), expected, "{text:?}");
        }
    }

    /// Texts in which white space of all kinds and the neighbours of white space are frequent.
    pub(in crate::vault) fn texts() -> impl Strategy<Value = String> {
        let white = prop::sample::select(&WHITE[..]).prop_map(|c| char::from_u32(c).unwrap());
        let near = prop::sample::select(vec![
            '\u{0}',
            '\u{8}',
            '\u{1B}',
            '!',
            '\u{84}',
            '\u{A1}',
            '\u{200B}',
            '\u{2030}',
            '\u{FEFF}',
            '\u{1F600}',
        ]);
        let pieces = prop_oneof![
            4 => "[a-z]{1,40}".prop_map(String::from),
            4 => Just(" ".to_owned()),
            2 => white.prop_map(String::from),
            1 => near.prop_map(String::from),
        ];
        prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn joining_is_splitting_and_putting_together(text in texts()) {
            let words: Vec<&str> = text.split(is_white).filter(|word| !word.is_empty()).collect();
            prop_assert_eq!(&joined(&text), &words.join(" "));
            prop_assert_eq!(trim(&text), text.trim_matches(is_white));
        }
    }
}
