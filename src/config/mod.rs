//! The settings of the program: the YAML file, `.env`, the environment and the command line, made into one [`Config`].
//!
//! A [`Config`] can only be made by checking, and nothing behind this room doubts it. Data moves one way:
//!
//! ```text
//! file -- tree -- raw  every value as written, and what is wrong with its form    \
//!                                                                                  > check -> Config
//! flags, env (dotenv)  what outranks the file                                     /
//! ```
//! A fault on the way does not end the reading: all faults come back as [`ConfigErrors`], each fault with its path,
//! its line and the remedy.
//!
//! Which code runs a job, and whether its own parameters are right, is not known here: see
//! [`JobRegistry`](crate::job::JobRegistry) and [`Config::job_fault`].

mod address;
mod check;
mod cron;
mod dotenv;
mod env;
mod error;
mod file;
mod given;
mod listen;
mod node;
mod params;
mod policy;
mod raw;
mod section;
mod settings;
mod shown;
mod source;
mod tree;
mod value;

pub(crate) use check::LookAtJobs;
pub(crate) use env::BY_ENVIRONMENT;
pub use env::Env;
pub(crate) use error::{ConfigErrors, Mistake};
pub(crate) use listen::Listen;
#[cfg(test)]
pub(crate) use node::Lines;
pub(crate) use node::{Node, shown};
pub(crate) use params::Misfit;
pub use params::Params;
pub(crate) use policy::{KeepOutput, Overlap};
pub use policy::{RetryPolicy, RunPolicy};
pub(crate) use raw::job_key_like;
#[cfg(test)]
pub(crate) use settings::{After, AfterOutcome};
pub use settings::{
    CommandSpec, Config, GraphConfig, JobName, JobSpec, Neo4jConfig, Overrides, VaultConfig,
};
pub(crate) use settings::{FeedSpec, LeaseConfig};
pub(crate) use value::{duration_of, parse_duration, suggestion};

/// The configuration file this program comes with: every setting with its meaning and its default.
pub const SHIPPED_FILE: &str = include_str!("../../settings/aclarai.config.yaml");

/// Finds and reads the configuration.
///
/// The file is `--config`, else `$ACLARAI_CONFIG`, else `settings/aclarai.config.yaml` below the current folder, else
/// `/etc/aclarai-scheduler/aclarai.config.yaml`, else none: then all defaults are used and [`Config::source`] is
/// `None`. An `Err` holds every fault there is, those that `look_at_jobs` found included. Call it again to reload: the
/// files are read anew.
pub(crate) fn load(
    overrides: &Overrides,
    env: &Env,
    look_at_jobs: LookAtJobs<'_>,
) -> Result<Config, ConfigErrors> {
    let (variables, mut remarks) = env::Variables::read(env)?;
    let file::FoundFile { file, left_out } = file::find(overrides, &variables, env.cwd())?;
    remarks.extend(left_out);
    let (source, text) = file.unzip();
    check::checked(source, text.as_deref(), overrides, env, (variables, remarks), look_at_jobs)
}

/// Checks a configuration that was not read from a file, but for the jobs' own parameters; `name` stands for it in
/// messages.
pub fn from_text(
    yaml: &str,
    name: &str,
    overrides: &Overrides,
    env: &Env,
) -> Result<Config, ConfigErrors> {
    let variables = env::Variables::read(env)?;
    check::checked(Some(name.into()), Some(yaml), overrides, env, variables, &|_| Vec::new())
}

#[cfg(test)]
mod tests;
