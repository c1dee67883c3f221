//! Notes that are made to take memory. With 512 MB of address space the program syncs each of them, or says clearly why
//! it cannot; it is never ended by the lack of memory. `prlimit` of util-linux sets the limit. One note takes at most four
//! times its size and 16 MiB.

use std::fs;
use std::process::Command;

use crate::place::{Place, Ran};

/// 512 MB.
const ADDRESS_SPACE: u64 = 512 << 20;

/// Keeps the markers before it from ending their files.
const END: &str = "\nand the end of the note is some words more\n";

fn each(n: u64, piece: impl Fn(u64) -> String) -> String {
    (0..n).map(piece).collect()
}

fn marker(n: u64) -> String {
    format!("<!-- aclarai:id=q{n} -->")
}

/// What it is, the note, and how many blocks the graph has of it.
fn notes() -> Vec<(&'static str, String, u64)> {
    let line = |text: &str, n| format!("{text} {}{END}", each(n, marker));
    let pages =
        |text: &str, n| text.to_owned() + &each(n, |n| format!("<!-- aclarai:id=doc_{n} -->\n"));
    vec![
        ("many markers on one line", line(&"x".repeat(262_144), 10_500), 10_500),
        ("the same behind words", line(&"word ".repeat(81_000), 2_000), 2_000),
        ("the same in wide characters", line(&"\u{1F600}".repeat(40_000), 5_000), 5_000),
        ("a short line of markers", line("A", 10_000), 10_000),
        ("page markers at the end", pages(&"A word. ".repeat(40_000), 2_000), 2_000),
        ("page markers below many lines", pages(&"word\n".repeat(10_000), 10_000), 10_000),
        (
            "many ids",
            format!("A\n{}{END}", each(40_000, |n| format!("<!--aclarai:id=q{n}-->\n"))),
            40_000,
        ),
        (
            "many ids with a word each",
            each(20_000, |n| format!("a{n} {}\n", marker(n))) + END,
            20_000,
        ),
        (
            "one id over and over",
            each(20_000, |_| "a <!-- aclarai:id=q0 -->\n".to_owned()) + END,
            1,
        ),
        ("much text", format!("{}{}\n", "word ".repeat(6 << 20), marker(0)), 1),
        ("much text in short lines", pages(&"w\n".repeat(4 << 20), 1), 1),
        (
            "anchors of all blocks",
            each(10_000, |n| format!("a ^q{n}\n")) + &line("", 10_000),
            10_000,
        ),
        (
            "comments of ours",
            format!("{}x{}{END}", "<!-- aclarai:s=1 -->".repeat(200_000), marker(0)),
            1,
        ),
        (
            "comments without end",
            format!("{}{}{END}", "<!-- aclarai:id=".repeat(200_000), marker(0)),
            1,
        ),
        ("backticks", format!("{}{}{END}", "` ``".repeat(1 << 20), marker(0)), 1),
        (
            "ids that are too long",
            each(5_000, |n| format!("a <!-- aclarai:id={}{n} -->\n", "x".repeat(1_001))),
            0,
        ),
        ("near misses", "a <!-- aclarai:id=a-b -->\n".repeat(200_000) + END, 0),
        ("white space", format!("x{}{}{END}", " ".repeat(16 << 20), marker(0)), 1),
        ("carriage returns", format!("{}{}\r{END}", "a\r".repeat(4 << 20), marker(0)), 1),
        ("NUL", format!("a{}{}{END}", "\0".repeat(16 << 20), marker(0)), 1),
        (
            "a fence without end",
            format!("```\n{}{END}", each(10_000, |n| format!("a {}\n", marker(n)))),
            10_000,
        ),
    ]
}

fn sync_beside_another(text: &str, limit: &str) -> (Ran, u64) {
    let place = Place::new();
    fs::write(place.note("hostile.md"), text).unwrap();
    place.write("other.md", &["blk_other"]);
    place.sync_watched_by(&["prlimit", limit])
}

#[test]
fn no_note_takes_more_memory_than_there_is() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("skipped: there is no prlimit (util-linux) to limit the memory with");
        return;
    }
    let notes = notes();
    assert!(notes.len() >= 20);
    let limit = format!("--as={ADDRESS_SPACE}");
    // What the program takes by itself.
    let place = Place::new();
    place.write("other.md", &["blk_other"]);
    let (_, of_program) = place.sync_watched_by(&["prlimit", &limit]);
    for (what, text, blocks) in notes {
        let most = of_program + 4 * text.len() as u64 + (16 << 20);
        let (mut ran, mut peak) = sync_beside_another(&text, &limit);
        // A peak wobbles by a megabyte: threads and the pages of the program that are in memory. The least of three counts.
        for _ in 0..2 {
            if peak > most {
                let again = sync_beside_another(&text, &limit);
                (ran, peak) = (again.0, peak.min(again.1));
            }
        }
        assert!(peak <= most, "{what}: {peak} bytes of memory, {most} are the most");
        // 3: some blocks or the whole note could not be taken, and the run says which.
        assert!(matches!(ran.code, Some(0 | 3)), "{what}: {:?} {:.2000}", ran.code, ran.stderr);
        assert!(!ran.stderr.contains("memory allocation"), "{what}: {:.2000}", ran.stderr);
        assert_eq!(ran.count("blocks_new"), blocks + 1, "{what}: {}", ran.stdout);
    }
}
