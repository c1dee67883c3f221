//! docs/first-steps.md, walked: its notes are written, its commands are run in a shell, and each prints what the page
//! shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::sandbox::{PROGRAM, Sandbox};

/// One thing that the page asks of its reader.
#[derive(Debug)]
enum Step {
    /// Write this file.
    File(String, String),
    /// Type this command, and see these lines.
    Command(String, Vec<String>),
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut named = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if language != "console" {
                steps.push(Step::File(named.clone(), block.join("\n") + "\n"));
                continue;
            }
            for line in block {
                match (line.strip_prefix("$ "), steps.last_mut()) {
                    (Some(command), _) => steps.push(Step::Command(command.to_owned(), Vec::new())),
                    (None, Some(Step::Command(_, output))) => output.push(line.to_owned()),
                    (None, _) => panic!("the page shows output before a command: {line}"),
                }
            }
        } else if let Some(name) = line.split('`').nth(1).filter(|name| name.contains('/')) {
            named = name.to_owned();
        }
    }
    steps
}

/// Whether a line is the one that the page shows; `...` in a line stands for the rest of it, and no time is compared.
fn is_shown(shown: &str, line: &str) -> bool {
    let without_time = |line: &str| line.split(" after ").next().unwrap().to_owned();
    match shown.strip_suffix("...") {
        Some(start) => line.starts_with(start),
        None => without_time(shown) == without_time(line),
    }
}

/// Whether the output is what the page shows; a line of `...` stands for any number of lines.
fn agrees(shown: &[String], output: &[&str]) -> bool {
    match shown.split_first() {
        None => output.is_empty(),
        Some((any, rest)) if any == "..." => {
            (0..=output.len()).any(|at| agrees(rest, &output[at..]))
        }
        Some((line, rest)) => output
            .split_first()
            .is_some_and(|(first, left)| is_shown(line, first) && agrees(rest, left)),
    }
}

#[test]
fn the_first_steps_can_be_walked_as_they_are_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/first-steps.md")).unwrap();
    let sandbox = Sandbox::new("");
    let mut commands = 0;
    for step in steps(&page) {
        match step {
            Step::File(name, text) => drop(sandbox.write(&name, &text)),
            Step::Command(command, shown) => {
                commands += 1;
                let programs = Path::new(PROGRAM).parent().unwrap().display();
                let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
                let mut shell: Command = sandbox.program("sh", &["-c", &command]);
                let run = shell.env("PATH", path).output().unwrap();
                assert!(run.status.success(), "{command}: {run:?}");
                let output = String::from_utf8(run.stdout).unwrap();
                let lines: Vec<&str> = output.lines().collect();
                assert!(
                    agrees(&shown, &lines),
                    "{command}\nprints\n{output}\nand the page shows\n{shown:#?}"
                );
            }
        }
    }
    assert!(commands >= 6, "the page has lost its commands");
}

#[test]
fn a_page_that_shows_something_else_is_found() {
    let shown = ["a".to_owned(), "...".to_owned(), "  b  2".to_owned()];
    assert!(agrees(&shown, &["a", "  c  1", "  b  2"]));
    assert!(!agrees(&shown, &["a", "  c  1", "  b  3"]));
    assert!(!agrees(&shown, &["c", "  b  2"]));
}
