//! The jobs this program brings along, and how they get what they need.
//!
//! The registry knows no job and no resource; the factories put into it here carry both.

pub mod command;
mod output;
pub mod supervisor;

use std::path::PathBuf;

use crate::config::VaultConfig;
use crate::job::{DuplicateKind, JobRegistry};

/// What the built-in jobs need beyond their own configuration.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Where the vault lies.
    pub vault: VaultConfig,
    /// The executable that supervises the programs of command jobs: [`supervisor::SELF`] for every program whose
    /// `main` is `cli::main`.
    pub supervisor: PathBuf,
}

/// Puts the built-in kinds into `registry`: `command`.
pub fn register_builtins(registry: &mut JobRegistry, deps: Deps) -> Result<(), DuplicateKind> {
    let Deps { vault, supervisor } = deps;
    registry.register("command", move |spec| {
        let job = command::CommandJob::from_spec(spec, &vault.root, &supervisor)?;
        Ok(Box::new(job))
    })
}
