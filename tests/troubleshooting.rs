//! `docs/troubleshooting.md` quotes what the program really says, and its links lead somewhere.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its files has failed")]

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../docs/troubleshooting.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of a kind below a folder.
fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, kind));
        } else if path.extension().is_some_and(|extension| extension == kind) {
            found.push(path);
        }
    }
    found
}

/// The source with its string literals in one piece: without the line ends that `\` takes out of them, and with what
/// a message puts into a placeholder by name put there.
fn source(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap().to_owned();
    let text = lines.fold(first, |text, line| text + line.trim_start());
    // A heading is between backticks and has none in it.
    let text = text.replace('`', "");
    // Constants of the same file that messages are put together from.
    let mut whole = text.clone();
    for line in text.split(";\n") {
        if let Some((name, value)) =
            line.rsplit_once("const ").and_then(|(_, rest)| rest.split_once(": &str ="))
        {
            whole = whole.replace(&format!("{{{name}}}"), value.trim().trim_matches('"'));
        }
    }
    whole
}

/// The sources of the program, without what tests expect it to say.
fn sources() -> Vec<(PathBuf, String)> {
    let is_program = |path: &PathBuf| {
        !path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"))
    };
    let read = |path: PathBuf| {
        let text = source(&path);
        let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        (path, program)
    };
    files(&root().join("src"), "rs").into_iter().filter(is_program).map(read).collect()
}

/// What the page has headings for.
fn quoted() -> Vec<&'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect()
}

#[test]
fn each_quoted_message_is_one_that_the_program_prints() {
    let sources = sources();
    let messages = quoted();
    assert!(messages.len() > 20, "{messages:?}");
    let mut unknown = Vec::new();
    for message in messages {
        let parts: Vec<&str> = message.split('…').filter(|part| part.trim().len() > 3).collect();
        assert!(!parts.is_empty(), "{message} is nothing but placeholders");
        if !sources.iter().any(|(_, source)| parts.iter().all(|part| source.contains(part))) {
            unknown.push(message);
        }
    }
    assert!(unknown.is_empty(), "no file of src/ prints:\n{}", unknown.join("\n"));
}

/// The text from behind an opening bracket to the one that closes it, and the literals in it.
fn bracketed(text: &str) -> (&str, Vec<&str>) {
    let (mut depth, mut begun, mut escaped) = (1, None, false);
    let mut literals = Vec::new();
    for (at, c) in text.char_indices() {
        match (begun, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(from), '"') => {
                literals.push(&text[from..at]);
                begun = None;
            }
            (Some(_), _) => {}
            (None, '"') => begun = Some(at + 1),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, _) => {}
        }
        if depth == 0 {
            return (&text[..at], literals);
        }
    }
    panic!("no end of {}", &text[..text.len().min(80)]);
}

/// A message without what differs from one time to the next.
fn fixed_parts(message: &str) -> Vec<&str> {
    let parts = message.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    parts.map(|part| part.trim_matches([' ', ':'])).filter(|part| part.len() > 3).collect()
}

/// What is no trouble, or not for whoever operates the program.
const NO_TROUBLE: [&str; 4] = [
    // The example of a module's documentation.
    "folder left out",
    // Two parts of one program disagree: told to whoever writes it.
    "is registered twice",
    // A person's own doing.
    "told to stop",
    "stopping at once",
];

/// Each line that is logged as a warning or an error, each fault of the vault that a sync reports, and each error that a
/// command ends with.
#[test]
fn each_warning_and_error_is_on_the_page() {
    // How each begins; its last literal but a closing one is the message.
    let begins = ["logging::warn!(", "logging::error!(", "#[error(", "tally.warn(", "tally.error("];
    let quoted = quoted();
    let mut missing = Vec::new();
    let mut found = 0;
    for (path, source) in sources() {
        for begin in begins {
            for (at, _) in source.match_indices(begin) {
                let (_, literals) = bracketed(&source[at + begin.len()..]);
                let message = match begin {
                    "#[error(" => literals.first(),
                    _ => literals.last(),
                };
                let parts = fixed_parts(message.copied().unwrap_or_default());
                let is_trouble =
                    |part: &&str| !NO_TROUBLE.iter().any(|expected| part.contains(expected));
                if !parts.iter().all(is_trouble) || parts.is_empty() {
                    continue;
                }
                found += 1;
                if !quoted.iter().any(|heading| parts.iter().all(|part| heading.contains(part))) {
                    missing.push(format!("{}: {}", path.display(), message.unwrap()));
                }
            }
        }
    }
    assert!(found > 50, "only {found} messages were found");
    assert!(missing.is_empty(), "the page tells nothing about:\n{}", missing.join("\n"));
}

/// Messages about a graph are put together: what went wrong, and what to do. Each remedy is on the page.
#[test]
fn each_remedy_for_a_graph_is_on_the_page() {
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut missing = Vec::new();
    let mut found = 0;
    for (path, source) in sources() {
        let is_remedy: fn(&str) -> bool = match path.strip_prefix(root()).unwrap().to_str() {
            Some("src/graph/neo4j/fault.rs") => {
                |text| text.len() > 30 && text.contains(' ') && !text.contains('{')
            }
            Some("src/graph/sqlite/file.rs") => {
                |text| text.starts_with(": ") && !text.contains('{')
            }
            _ => continue,
        };
        let code: Vec<&str> =
            source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n") + ")";
        for literal in bracketed(&code).1.into_iter().filter(|literal| is_remedy(literal)) {
            found += 1;
            if !page.contains(literal.trim_start_matches(": ")) {
                missing.push(format!("{}: {literal}", path.display()));
            }
        }
    }
    assert!(found > 15, "only {found} remedies were found");
    assert!(missing.is_empty(), "the page tells nothing about:\n{}", missing.join("\n"));
}

/// The literals of the message that is handed over at `at`: those between the brackets, or those of the `let message`
/// before.
fn message_at(source: &str, at: usize) -> Vec<&str> {
    let (inside, literals) = bracketed(&source[at..]);
    if !literals.is_empty() {
        return literals;
    }
    assert!(inside.contains("message") || inside.contains("warning"), "no message in {inside}");
    let name = if inside.contains("message") { "let message =" } else { "let warning =" };
    let before = source[..at].rfind(name).unwrap_or_else(|| panic!("no {name} before {inside}"));
    let statement = &source[before..at];
    let end = statement.find(";\n").unwrap_or(statement.len());
    literals_of(&statement[..end])
}

/// Every literal of a piece of source.
fn literals_of(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// What the configuration is warned of. Each message is on the page, in the words of the program.
#[test]
fn each_warning_about_the_configuration_is_on_the_page() {
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "");
    let mut missing = Vec::new();
    let mut found = 0;
    for (path, source) in sources() {
        if !path.starts_with(root().join("src/config")) {
            continue;
        }
        for begin in ["findings.warn(", "remarks.push("] {
            for (at, _) in source.match_indices(begin) {
                for literal in message_at(&source, at + begin.len()) {
                    found += 1;
                    let parts = fixed_parts(literal);
                    if !parts.iter().all(|part| page.contains(part)) {
                        missing.push(format!("{}: {literal}", path.display()));
                    }
                }
            }
        }
    }
    assert!(found > 15, "only {found} warnings were found");
    assert!(missing.is_empty(), "the page tells nothing about:\n{}", missing.join("\n"));
}

/// `[text](target)` of a page, without those that lead to the web.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target).filter(|target| !target.contains("://")).collect()
}

/// How GitHub names the place of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(["README.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name)));
    let mut broken = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let leads = target.exists()
                && (place.is_empty()
                    || fs::read_to_string(&target).unwrap().lines().any(|line| {
                        line.starts_with('#') && anchor(line.trim_start_matches('#')) == place
                    }));
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
