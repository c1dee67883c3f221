//! Vaults made up from a seed: the same options give the same bytes everywhere. For `bench` and for the benches.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The measures of a made-up vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many files.
    pub files: usize,
    /// How many blocks a file has on average.
    pub blocks_per_file: usize,
    /// How long a file is on average, about.
    pub bytes_per_file: usize,
    /// Whether all files lie in one folder, or some dozens in each of many.
    pub is_flat: bool,
    /// Other seeds give other words in the same places.
    pub seed: u64,
}

/// The totals of a vault that was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleTotals {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Blocks in them.
    pub blocks: u64,
}

/// Files in one folder of a vault that is not flat.
const FILES_PER_FOLDER: usize = 40;

const WORDS: [&str; 48] = [
    "the",
    "plan",
    "for",
    "a",
    "quarter",
    "we",
    "shipped",
    "and",
    "latency",
    "grew",
    "under",
    "load",
    "because",
    "of",
    "retries",
    "in",
    "queue",
    "Alice",
    "asked",
    "whether",
    "budget",
    "fits",
    "memory",
    "limits",
    "caching",
    "release",
    "on",
    "Monday",
    "customers",
    "depend",
    "it",
    "was",
    "fine",
    "when",
    "three",
    "nodes",
    "failed",
    "`config.yaml`",
    "[[Concept A]]",
    "**never**",
    "naïve",
    "— so",
    "“quoted”",
    "über",
    "数据库",
    "that",
    "is",
    "to",
];

impl Sample {
    /// Writes the vault below `folder`, which is created.
    pub fn write(&self, folder: &Path) -> io::Result<SampleTotals> {
        let mut totals = SampleTotals::default();
        let mut text = String::new();
        let mut last_folder = PathBuf::new();
        for file in 0..self.files {
            text.clear();
            let blocks = self.text(file, &mut text);
            let path = folder.join(self.path(file));
            let parent = path.parent().expect("every path has a folder");
            if parent != last_folder {
                fs::create_dir_all(parent)?;
                last_folder = parent.to_owned();
            }
            fs::write(&path, &text)?;
            totals.files += 1;
            totals.bytes += text.len() as u64;
            totals.blocks += blocks;
        }
        Ok(totals)
    }

    /// Where the `file`-th file lies.
    pub fn path(&self, file: usize) -> PathBuf {
        let name = format!("note-{file:06}.md");
        if self.is_flat {
            return Path::new("notes").join(name);
        }
        let folder = file / FILES_PER_FOLDER;
        Path::new("notes")
            .join(format!("area-{:02}", folder / 50))
            .join(format!("topic-{folder:04}"))
            .join(name)
    }

    /// Appends the text of the `file`-th file; returns how many blocks it has.
    pub fn text(&self, file: usize, out: &mut String) -> u64 {
        // Mixed once more: the sequences of neighbouring files would overlap, ids included.
        let mut random =
            Random(Random(self.seed ^ (file as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)).next());
        // From three blocks fewer to three more, the average as asked for.
        let blocks = (self.blocks_per_file + file % 7).saturating_sub(3).max(1);
        let begin = out.len();
        let _ = write!(out, "---\ntags: [sample]\n---\n# Note {file}\n");
        for block in 0..blocks {
            let end = begin + self.bytes_per_file * (block + 1) / blocks;
            // Multiplied by an odd number, they are in no order and still all different.
            let number = (file as u64) << 12 | block as u64;
            let id = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) & 0xFF_FFFF_FFFF;
            self.block(&mut random, id, end.saturating_sub(70), out);
        }
        out.push_str("\nThat is all there is to say about it.\n");
        blocks as u64
    }

    /// Appends the block `id` of about as many bytes as there are up to `end`, of one of four shapes.
    fn block(&self, random: &mut Random, id: u64, end: usize, out: &mut String) {
        let shape = random.below(4);
        out.push('\n');
        if shape == 3 {
            let _ = writeln!(out, "## Part {}\n", random.below(1000));
        }
        let mut line = out.len();
        if shape == 2 {
            out.push_str("- ");
        }
        while out.len() < end || out.len() == line {
            out.push_str(WORDS[random.below(WORDS.len())]);
            if out.len() - line < 80 {
                out.push(' ');
                continue;
            }
            line = out.len() + 1;
            out.push_str(match (shape, random.below(4)) {
                (2, _) => "\n  ",
                (3, 0) => "\n\n",
                _ => "\n",
            });
        }
        let break_or_space = if shape == 1 || shape == 2 { ' ' } else { '\n' };
        let _ = writeln!(
            out,
            "end.{break_or_space}<!-- aclarai:id=blk_{id:010x} ver={} -->\n^blk_{id:010x}",
            1 + random.below(3)
        );
    }
}

/// SplitMix64: one line of arithmetic, and good enough for made-up prose.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{ParseOptions, parse};

    #[test]
    fn a_sample_is_what_it_was_asked_to_be() {
        let sample = Sample {
            files: 70,
            blocks_per_file: 18,
            bytes_per_file: 7_000,
            is_flat: false,
            seed: 1,
        };
        let temp = tempfile::tempdir().unwrap();
        let totals = sample.write(temp.path()).unwrap();
        assert_eq!((totals.files, totals.blocks), (70, 70 * 18));
        let per_file = totals.bytes / totals.files;
        assert!((6_300..7_700).contains(&per_file), "{per_file} bytes per file");
        let text = fs::read_to_string(temp.path().join(sample.path(3))).unwrap();
        let parsed = parse(text.clone(), ParseOptions::default());
        assert_eq!((parsed.len(), parsed.warnings.len()), (18, 0));
        let mut again = String::new();
        sample.text(3, &mut again);
        assert_eq!(again, text);
    }
}
