//! Every example of `docs/markers.md`: the note it shows makes the blocks it shows.

use std::fs;
use std::path::Path;

use aclarai_scheduler::inside::block::Level;
use aclarai_scheduler::inside::vault::{ParseOptions, parse};

/// The fenced parts of a page: the word behind the fence, and the text in it.
fn fences(page: &str) -> Vec<(&str, String)> {
    let mut fences = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let word = line.trim_start_matches('`');
        let fence = &line[..line.len() - word.len()];
        if fence.len() >= 3 {
            let inside = lines.by_ref().take_while(|line| *line != fence);
            fences.push((word, inside.map(|line| format!("{line}\n")).collect()));
        }
    }
    fences
}

/// What the parser finds in a note, as the page shows it.
fn found(note: &str) -> String {
    let parsed = parse(note.to_owned(), ParseOptions::default());
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let blocks = parsed.blocks().map(|block| {
        let level = if block.level() == Level::File { "file" } else { "line" };
        let (text, body) = (one_line(&block.text()), block.body());
        let (line, id, version) = (block.line(), block.id(), block.version());
        (line, format!("line {line}: {id} version {version}\n  {level}: {text}\n  body: {body}\n"))
    });
    let warnings = parsed.warnings.iter().map(|warning| (warning.line, format!("{warning}\n")));
    let mut shown: Vec<(u32, String)> = blocks.chain(warnings).collect();
    shown.sort_by_key(|(line, _)| *line);
    shown.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn every_example_of_the_page_on_markers_makes_the_blocks_it_shows() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/markers.md");
    let page = fs::read_to_string(page).unwrap();
    let fences = fences(&page);
    let mut examples = 0;
    for pair in fences.windows(2).filter(|pair| pair[0].0 == "markdown") {
        let (note, shown) = (&pair[0].1, &pair[1]);
        assert_eq!(shown.0, "blocks", "no blocks are shown below this note:\n{note}");
        assert_eq!(found(note), shown.1, "{note}");
        examples += 1;
    }
    assert_eq!(examples, fences.iter().filter(|(word, _)| *word == "blocks").count());
    assert!(examples >= 8);
}
