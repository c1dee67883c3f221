//! Which code runs a job: kind -> factory. Knows no job itself.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::JobSpec;
use crate::job::Job;

type Factory = Box<dyn Fn(&JobSpec) -> Result<Box<dyn Job>, BuildError> + Send + Sync>;

/// The kinds of job this program can run.
#[derive(Default)]
pub struct JobRegistry {
    factories: BTreeMap<String, Factory>,
}

impl JobRegistry {
    /// A registry that knows nothing yet.
    pub fn new() -> JobRegistry {
        JobRegistry::default()
    }

    /// Adds a kind. The factory makes one job from one configured job; it reads and checks its own parameters
    /// ([`JobSpec::params`]), so that a bad parameter is an error at start and not at three in the morning.
    pub fn register<F>(&mut self, kind: &str, factory: F) -> Result<(), DuplicateKind>
    where
        F: Fn(&JobSpec) -> Result<Box<dyn Job>, BuildError> + Send + Sync + 'static,
    {
        if self.factories.contains_key(kind) {
            return Err(DuplicateKind(kind.to_owned()));
        }
        self.factories.insert(kind.to_owned(), Box::new(factory));
        Ok(())
    }

    /// Whether a kind is known.
    pub fn knows(&self, kind: &str) -> bool {
        self.factories.contains_key(kind)
    }

    /// The known kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }

    /// Makes the job that `spec` describes, with the factory of [`JobSpec::kind`].
    pub fn build(&self, spec: &JobSpec) -> Result<Box<dyn Job>, BuildError> {
        match self.factories.get(spec.kind()) {
            Some(factory) => factory(spec),
            None => Err(BuildError::NotRunnable),
        }
    }
}

impl fmt::Debug for JobRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.factories.keys()).finish()
    }
}

/// A kind was registered twice.
#[derive(Debug, thiserror::Error)]
#[error("job kind {0:?} is registered twice")]
pub struct DuplicateKind(pub String);

/// Why a configured job cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No code here runs it and it has no `command`; not an error of the configuration.
    #[error("no code here runs it: add command: [...] or remove the job")]
    NotRunnable,
    /// A parameter is wrong. `key` is relative to the job (`on_missing`, `retries.max_attempts`), empty for the job.
    #[error("{key}: {message}")]
    BadParameter {
        /// The parameter.
        key: String,
        /// What is wrong with it and what to write instead.
        message: String,
    },
}
