//! Section by section what the original does, on characters, with no thought for speed. The fuzzer compares the parser
//! with it too.

#[derive(Debug, PartialEq)]
pub(crate) struct Block {
    pub(crate) id: String,
    pub(crate) version: i64,
    pub(crate) line: u32,
    pub(crate) is_file_level: bool,
    pub(crate) text: String,
    pub(crate) joined: String,
}

fn is_white(c: char) -> bool {
    matches!(u32::from(c), 0x09..=0x0D | 0x1C..=0x20 | 0x85 | 0xA0 | 0x1680 | 0x2000..=0x200A)
        || matches!(u32::from(c), 0x2028 | 0x2029 | 0x202F | 0x205F | 0x3000)
}

fn count(text: &[char], is: impl Fn(char) -> bool) -> usize {
    text.iter().take_while(|c| is(**c)).count()
}

fn literal(text: &[char], word: &str) -> Option<usize> {
    let word: Vec<char> = word.chars().collect();
    text.starts_with(&word).then_some(word.len())
}

/// The value of a decimal digit of any script: Unicode's table has only one source.
pub(crate) type Digit = fn(char) -> Option<u32>;

/// Id, version and length of a marker at the start of `text`.
fn marker(text: &[char], digit: Digit) -> Option<(String, i64, usize)> {
    let mut at = literal(text, "<!--")?;
    at += count(&text[at..], is_white);
    at += literal(&text[at..], "aclarai:id=")?;
    let id = count(&text[at..], |c| !is_white(c) && c != '-');
    if id == 0 {
        return None;
    }
    let name: String = text[at..at + id].iter().collect();
    at += id;
    let with_version = || -> Option<(i64, usize)> {
        let mut at = at;
        let white = count(&text[at..], is_white);
        at += white + literal(&text[at + white..], "ver=")?;
        let digits = count(&text[at..], |c| digit(c).is_some());
        if white == 0 || digits == 0 {
            return None;
        }
        let value = text[at..at + digits].iter().fold(0i128, |value, c| {
            (value * 10 + i128::from(digit(*c).unwrap())).min(i128::from(i64::MAX))
        });
        Some((i64::try_from(value).unwrap(), at + digits))
    };
    for (version, at) in with_version().into_iter().chain([(1, at)]) {
        let at = at + count(&text[at..], is_white);
        if let Some(len) = literal(&text[at..], "-->") {
            return Some((name, version, at + len));
        }
    }
    None
}

/// The blocks of a text, and how many markers have no text.
pub(crate) fn blocks(text: &str, digit: Digit) -> (Vec<Block>, u64) {
    let text: Vec<char> = text.replace("\r\n", "\n").replace('\r', "\n").chars().collect();
    let string = |range: &[char]| range.iter().collect::<String>();
    let strip = |range: &[char]| string(range).trim_matches(is_white).to_owned();
    let end = text.iter().rposition(|c| !is_white(*c)).map_or(0, |last| last + 1);
    let (mut blocks, mut empty, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let Some((id, version, len)) = marker(&text[at..], digit) else {
            at += 1;
            continue;
        };
        let before = &text[..at];
        let is_file_level = end - at <= len + 10;
        let found = if is_file_level {
            strip(before)
        } else {
            let mut lines = before.split(|c| *c == '\n').rev().map(strip);
            lines.find(|line| !line.is_empty()).unwrap_or_default()
        };
        let line = 1 + before.iter().filter(|c| **c == '\n').count() as u32;
        let words: Vec<&str> = found.split(is_white).filter(|word| !word.is_empty()).collect();
        let joined = words.join(" ");
        if found.is_empty() {
            empty += 1;
        } else {
            blocks.push(Block { id, version, line, is_file_level, text: found, joined });
        }
        at += len;
    }
    (blocks, empty)
}
