//! The `.env` file, read as the other services read it (python-dotenv), so that one file serves all of them.
//!
//! The crate `dotenvy` was weighed and differs where it hurts: it turns `pa$word` into `pa`, refuses an unquoted
//! `A=b c` (a cron line!), takes the first of two settings, and looks into the environment of the process.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The value of a variable and the line it begins on.
pub(super) type Variables = BTreeMap<String, (String, usize)>;

/// No value is longer once `${NAME}` is filled in: a few lines that name each other would fill the memory.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The contents of a text.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) variables: Variables,
    /// Lines that are no settings.
    pub(super) not_understood: Vec<usize>,
}

/// Reads all variables; of two with one name the later counts. `${NAME}` and `${NAME:-default}` stand for the variable
/// of the process, else for one set further up. An `Err` is the line of a value that grows beyond all measure.
pub(super) fn read(text: &str, process: &BTreeMap<OsString, OsString>) -> Result<Read, usize> {
    let mut found = Variables::new();
    let mut not_understood = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let here = rest;
        match setting(here) {
            Some((setting, behind)) => {
                rest = behind;
                if let Some(Setting { name, value, expands }) = setting {
                    let value = match expands {
                        true => expanded(&value, &found, process).ok_or(line)?,
                        false => value,
                    };
                    found.insert(name, (value, line));
                }
            }
            None => {
                not_understood.push(line);
                rest = rest.split_once('\n').map_or("", |(_, behind)| behind);
            }
        }
        line += here[..here.len() - rest.len()].matches('\n').count();
    }
    Ok(Read { variables: found, not_understood })
}

struct Setting {
    name: String,
    value: String,
    expands: bool,
}

/// One setting (or `None` for a line without one) and the text behind it; `None` if it cannot be read.
fn setting(text: &str) -> Option<(Option<Setting>, &str)> {
    let (line, behind) = text.split_once('\n').unwrap_or((text, ""));
    if line.trim().is_empty() || line.trim_start().starts_with('#') {
        return Some((None, behind));
    }
    let text = text.trim_start();
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
        _ => text,
    };
    let (name, rest) =
        text.split_at(text.find(|c: char| c == '=' || c == '#' || c.is_whitespace())?);
    let rest =
        rest.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_start_matches([' ', '\t']);
    if name.is_empty() {
        return None;
    }
    let (value, expands, behind) = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (value, behind) = quoted(&rest[1..], quote)?;
            let (end, behind) = behind.split_once('\n').unwrap_or((behind, ""));
            let end = end.trim();
            if !end.is_empty() && !end.starts_with('#') {
                return None;
            }
            (value, quote == '"', behind)
        }
        _ => {
            let (value, behind) = rest.split_once('\n').unwrap_or((rest, ""));
            (without_comment(value).to_owned(), true, behind)
        }
    };
    Some((Some(Setting { name: name.to_owned(), value, expands }), behind))
}

/// The text up to the closing quote, and the text behind it. It may span lines.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                let (_, escaped) = chars.next()?;
                match escaped {
                    'n' if quote == '"' => value.push('\n'),
                    't' if quote == '"' => value.push('\t'),
                    'r' if quote == '"' => value.push('\r'),
                    '\\' | '\'' => value.push(escaped),
                    '"' if quote == '"' => value.push('"'),
                    other => value.extend(['\\', other]),
                }
            }
            c if c == quote => return Some((value, &text[at + 1..])),
            c => value.push(c),
        }
    }
    None
}

/// An unquoted value ends at white space and `#`.
fn without_comment(value: &str) -> &str {
    let is_comment = |at: &usize| *at == 0 || value[..*at].ends_with(char::is_whitespace);
    let end = value.match_indices('#').map(|(at, _)| at).find(is_comment);
    value[..end.unwrap_or(value.len())].trim_end()
}

fn expanded(
    value: &str,
    above: &Variables,
    process: &BTreeMap<OsString, OsString>,
) -> Option<String> {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((name, behind)) = behind.split_once('}') else { break };
        let (name, default) = name.split_once(":-").unwrap_or((name, ""));
        let real =
            process.get(&OsString::from(name)).map(|value| value.to_string_lossy().into_owned());
        let known = real.or_else(|| above.get(name).map(|(value, _)| value.clone()));
        out.push_str(before);
        out.push_str(known.filter(|value| !value.is_empty()).as_deref().unwrap_or(default));
        rest = behind;
        if out.len() > VALUE_BYTES_MAX {
            return None;
        }
    }
    Some(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(line: &str, expected: Option<&str>) {
        let process = BTreeMap::from([("HOME".into(), "/home/me".into())]);
        let found = read(&format!("ABOVE=up\n{line}\nBELOW=down\n"), &process).unwrap().variables;
        assert_eq!(found.get("A").map(|(value, _)| value.as_str()), expected, "{line}");
        assert!(found.contains_key("BELOW"), "{line} swallows the next line");
    }

    #[test]
    fn a_setting_is_read_as_python_dotenv_reads_it() {
        case("A=1", Some("1"));
        case("  export A = 1  ", Some("1"));
        case("A=", Some(""));
        case("A=b c", Some("b c"));
        case("A=*/15 * * * *", Some("*/15 * * * *"));
        case("A=b # said so", Some("b"));
        case("A=b#c", Some("b#c"));
        case("A=# nothing", Some(""));
        case("A=pa$word", Some("pa$word"));
        case("A=\"0 3 * * *\" # nightly", Some("0 3 * * *"));
        case("A='it''s'", None);
        case(r"A='it\'s'", Some("it's"));
        case(r#"A="a\"b\nc\\d\e""#, Some("a\"b\nc\\d\\e"));
        case("A=\"two\nlines\"", Some("two\nlines"));
        case("A=\"open", None);
        case("A=${HOME}/${ABOVE}/${NONE:-x}/${NONE}.", Some("/home/me/up/x/."));
        case("A='${HOME}'", Some("${HOME}"));
        case("A=${HOME", Some("${HOME"));
        case("# A=1", None);
        case("A", None);
        case("A b=1", None);
        case("=1", None);
        case("A=1\nA=2", Some("2"));
        case("A=1\r", Some("1"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([A-C]|=|'|\"|\\\\|\\$\\{|:-|\\}|#| |\n|\r|export |é){0,40}") {
            let Read { variables: found, not_understood } = read(&text, &BTreeMap::new()).unwrap();
            let lines = text.lines().count();
            let named = found.values().map(|(_, line)| line).chain(&not_understood);
            for line in named {
                proptest::prop_assert!((1..=lines).contains(line));
            }
        }
    }

    #[test]
    fn values_that_name_each_other_do_not_grow_beyond_measure() {
        let mut text = format!("A0={}\n", "x".repeat(100));
        for i in 1..9 {
            text += &format!("A{i}={}\n", format!("${{A{}}}", i - 1).repeat(10));
        }
        assert_eq!(read(&text, &BTreeMap::new()).unwrap_err(), 4);
        let nested = format!("A={}{}\n", "${B:-".repeat(107), "}".repeat(107));
        assert!(read(&nested, &BTreeMap::new()).is_ok());
    }

    #[test]
    fn lines_are_named() {
        let Read { variables: found, not_understood } =
            read("\n# c\nA=\"x\ny\"\nnonsense\nB=1\n", &BTreeMap::new()).unwrap();
        assert_eq!(found["A"].1, 3);
        assert_eq!(found["B"].1, 6);
        assert_eq!(not_understood, [5]);
    }
}
