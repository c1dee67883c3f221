//! The scheduler with one job of its own beside the built-in ones. docs/custom-jobs.md walks through it.

use std::process::ExitCode;

use aclarai_scheduler::{Job, JobError, RunContext, RunReport, cli, params};

/// The job's parameters are its fields: serde checks them when the configuration is read.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Greet {
    names: Vec<String>,
    #[serde(default)]
    politely: bool,
}

impl Job for Greet {
    fn run(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
        let greeting = if self.politely { "good morning" } else { "hi" };
        for name in self.names.iter().filter(|_| !ctx.options.dry_run) {
            ctx.checkpoint()?; // Here a stop or a timeout is heard.
            log::info!(job_id = ctx.run_id.as_str(); "{greeting}, {name}");
        }
        let mut report = RunReport::new();
        report.set("items_processed", self.names.len());
        Ok(report)
    }
}

fn main() -> ExitCode {
    cli::main(|registry| registry.register("greet", |spec| Ok(Box::new(params::<Greet>(spec)?))))
}

#[test]
fn a_stop_is_heard_between_two_names() {
    let (job, ctx) = (Greet { names: vec!["Ada".into()], politely: true }, RunContext::for_test());
    assert_eq!(job.run(&ctx).unwrap().stats["items_processed"], 1);
    ctx.stop.tell();
    assert!(job.run(&ctx).is_err());
}
