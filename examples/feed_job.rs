//! A job of one's own that works on marked blocks: docs/custom-jobs.md, "In Rust".

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use aclarai_scheduler::{Job, JobError, RunContext, RunReport, cli, params};

/// Notes each block that has changed in a file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    file: PathBuf,
}

impl Job for Journal {
    fn run(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
        let cannot_open =
            |error| JobError::permanent(format!("cannot open {}: {error}", self.file.display()));
        let mut file =
            OpenOptions::new().append(true).create(true).open(&self.file).map_err(cannot_open)?;
        let feed = ctx.feed()?;
        for block in &feed {
            let block = block?;
            ctx.checkpoint()?; // A stop is heard here; what is done so far stays done.
            if ctx.options.dry_run {
                continue;
            }
            let text = block.body.as_deref().or(block.text.as_deref()).unwrap_or_default();
            match writeln!(file, "{} {}: {text}", block.id, block.version) {
                Ok(()) => feed.done(&block)?,
                Err(error) => feed.failed(&block, &error.to_string()),
            }
        }
        feed.finish(RunReport::new())
    }
}

fn main() -> ExitCode {
    cli::main(|registry| {
        registry.register("journal", |spec| Ok(Box::new(params::<Journal>(spec)?)))
    })
}

#[test]
fn each_block_is_a_line_and_done() {
    let file = std::env::temp_dir().join(format!("journal-{}.txt", std::process::id()));
    let blocks = ["blk_1", "blk_2"].map(aclarai_scheduler::WholeBlock::of_id);
    let ctx = RunContext::for_test().with_blocks(blocks.into());
    let report = Journal { file: file.clone() }.run(&ctx);
    let text = std::fs::read_to_string(&file);
    std::fs::remove_file(&file).ok();
    assert_eq!(text.ok().as_deref(), Some("blk_1 1: \nblk_2 1: \n"));
    let stats = report.map(|report| report.stats).unwrap_or_default();
    assert_eq!((&stats["items_processed"], &stats["blocks_left"]), (&2.into(), &0.into()));
}
