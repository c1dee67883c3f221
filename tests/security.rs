//! `SECURITY.md` names the test that holds each of its lines, and each of these tests is there.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its files has failed")]

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../SECURITY.md");

fn read_all(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn each_test_that_the_security_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut source = String::new();
    read_all(&root.join("src"), &mut source);
    read_all(&root.join("tests"), &mut source);
    let quoted = PAGE.split('`').skip(1).step_by(2);
    let is_test = |name: &&str| {
        name.matches('_').count() >= 3 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    let names: Vec<&str> = quoted.filter(is_test).collect();
    assert!(names.len() > 20, "{names:?}");
    let gone: Vec<&&str> =
        names.iter().filter(|name| !source.contains(&format!("fn {name}("))).collect();
    assert!(gone.is_empty(), "no such test: {gone:?}");
    // A line without a test is a wish.
    for line in PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| holds")) {
        assert!(line.contains("_"), "{line}");
    }
}
