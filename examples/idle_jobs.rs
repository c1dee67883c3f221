//! The program with one more kind of job, `idle`, which does nothing: to see what many jobs cost.
//! `benches/scheduler.sh` runs a thousand of them.

use std::process::ExitCode;

use aclarai_scheduler::{Job, JobError, RunContext, RunReport};

struct Idle;

impl Job for Idle {
    fn run(&self, _: &RunContext<'_>) -> Result<RunReport, JobError> {
        Ok(RunReport::new())
    }
}

fn main() -> ExitCode {
    aclarai_scheduler::cli::main(|registry| registry.register("idle", |_| Ok(Box::new(Idle))))
}
