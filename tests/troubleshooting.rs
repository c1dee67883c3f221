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

#[test]
fn each_quoted_message_is_one_that_the_program_prints() {
    // What tests expect is not what the program says.
    let is_program = |path: &Path| {
        !path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"))
    };
    let sources: Vec<String> = files(&root().join("src"), "rs")
        .iter()
        .filter(|path| is_program(path))
        .map(|path| source(path))
        .collect();
    let messages: Vec<&str> =
        PAGE.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert!(messages.len() > 20, "{messages:?}");
    let mut unknown = Vec::new();
    for message in messages {
        let parts: Vec<&str> = message.split('…').filter(|part| part.trim().len() > 3).collect();
        assert!(!parts.is_empty(), "{message} is nothing but placeholders");
        if !sources.iter().any(|source| parts.iter().all(|part| source.contains(part))) {
            unknown.push(message);
        }
    }
    assert!(unknown.is_empty(), "no file of src/ prints:\n{}", unknown.join("\n"));
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
