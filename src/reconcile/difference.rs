//! The difference of two texts, line by line as `diff -u` shows it. The only file that names `imara_diff`.

use imara_diff::{Algorithm, BasicLineDiffPrinter, Diff, InternedInput, UnifiedDiffConfig};

/// Words that a line of a shown text has at most: the texts of the graph have no line breaks of their own.
const WORDS_A_LINE: usize = 12;

/// The unified diff from the graph's text of a block to the vault's, in lines.
pub(super) fn lines(id: &str, place: &str, graph: &str, vault: &str) -> Vec<String> {
    let (graph, vault) = (wrapped(graph), wrapped(vault));
    let input = InternedInput::new(graph.as_str(), vault.as_str());
    let diff = Diff::compute(Algorithm::Myers, &input);
    let printer = BasicLineDiffPrinter(&input.interner);
    let hunks = diff.unified_diff(&printer, UnifiedDiffConfig::default(), &input).to_string();
    if hunks.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("--- graph {id}"), format!("+++ vault {place}")];
    lines.extend(hunks.lines().map(str::to_owned));
    lines
}

/// A text in lines: one for each sentence, or for so many words.
fn wrapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut words = 0;
    for word in text.split_whitespace() {
        out.push_str(if words > 0 { " " } else { "" });
        out.push_str(word);
        words += 1;
        if words == WORDS_A_LINE || word.ends_with(['.', '!', '?', ':', ';']) {
            out.push('\n');
            words = 0;
        }
    }
    if words > 0 {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_sentence_that_changed_differs() {
        let graph = "The plan. We ship on Monday. All is well.";
        let vault = "The plan. We ship on Friday. All is well.";
        assert_eq!(
            super::lines("blk_a", "a.md:3", graph, vault),
            [
                "--- graph blk_a",
                "+++ vault a.md:3",
                "@@ -1,3 +1,3 @@",
                " The plan.",
                "-We ship on Monday.",
                "+We ship on Friday.",
                " All is well.",
            ]
        );
    }
}
