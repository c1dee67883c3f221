//! Keeps an Obsidian-style Markdown vault and a knowledge graph in step, and runs any other periodic job beside it.
//!
//! As a library this crate is for programs with jobs of their own. A job is a type, and the program is its `main`: all
//! commands and the daemon come with [`cli::main`].
//!
//! ```no_run
//! use aclarai_scheduler::{Job, JobError, RunContext, RunReport, cli};
//!
//! struct Hello;
//! impl Job for Hello {
//!     fn run(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
//!         ctx.checkpoint()?; // Between units of work: a stop or a timeout is heard here.
//!         Ok(RunReport::new())
//!     }
//! }
//! fn main() -> std::process::ExitCode {
//!     cli::main(|registry| registry.register("hello", |_| Ok(Box::new(Hello))))
//! }
//! ```
//!
//! [`params`] reads a job's own settings into a type. [`JobRegistry::host`] tells a job where the vault is.
//! [`RunContext::for_test`] runs a job in a test. The file `docs/custom-jobs.md` walks through an example, and
//! `docs/architecture.md` through the rooms of the program, which are no part of this interface: they change with any
//! release.

mod app;
mod block;
pub mod cli;
mod clock;
mod config;
mod daemon;
mod finding;
mod gate;
mod graph;
mod history;
#[doc(hidden)]
pub mod inside;
mod job;
mod jobs;
mod logging;
mod observe;
mod order;
mod reconcile;
mod sandbox;
mod schedule;
mod scheduler;
mod signals;
mod sqlite;
mod state;
mod stop;
mod text;
mod vault;

pub use block::{BlockId, Tier, WholeBlock};
pub use clock::{Alarm, Clock};
pub use config::{JobName, JobSpec, Params};
pub use job::{
    BuildError, DuplicateKind, Feed, Host, Job, JobError, JobErrorKind, JobRegistry, NoProgress,
    Progress, RunContext, RunId, RunOptions, RunReport, Trigger, params,
};
pub use stop::Stop;
