//! Which code runs a job: kind -> factory. Knows no job itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::clock::{Clock, SystemClock};
use crate::config::{JobSpec, Misfit};
use crate::job::Job;

type Factory = Box<dyn Fn(&JobSpec) -> Result<Box<dyn Job>, BuildError> + Send + Sync>;

/// The program around a job, under the configuration in force. A reload makes a new one, and every job anew.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Host {
    /// The vault.
    pub vault: PathBuf,
    /// The configuration file, if there is one.
    pub config: Option<PathBuf>,
    /// Time, for a job that measures or waits.
    pub clock: Arc<dyn Clock>,
}

impl Host {
    /// A host with this vault and no configuration file: for a test of a job, too.
    pub fn with_vault(vault: impl Into<PathBuf>) -> Host {
        Host { vault: vault.into(), config: None, clock: Arc::new(SystemClock) }
    }
}

/// The kinds of job this program can run.
pub struct JobRegistry {
    factories: BTreeMap<String, Factory>,
    host: Host,
}

impl JobRegistry {
    /// A registry that knows nothing yet, for jobs of this host.
    pub fn new(host: Host) -> JobRegistry {
        JobRegistry { factories: BTreeMap::new(), host }
    }

    /// The program around the jobs. A factory takes a clone of it along for a job that needs one.
    pub fn host(&self) -> &Host {
        &self.host
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

/// The parameters of a job as the type that the job wants them in. Give that type `#[serde(deny_unknown_fields)]`: then a
/// misspelt parameter is named at the start, instead of being passed over every night.
pub fn params<T: DeserializeOwned>(spec: &JobSpec) -> Result<T, BuildError> {
    spec.params.to().map_err(|Misfit { place, message }| BadParameter::new(place, message).into())
}

impl fmt::Debug for JobRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.factories.keys()).finish()
    }
}

/// A kind was registered twice.
#[derive(Debug, thiserror::Error)]
#[error("job kind {0:?} is registered twice")]
#[non_exhaustive]
pub struct DuplicateKind(pub String);

/// Why a configured job cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No code here runs it and it has no `command`; not an error of the configuration.
    #[error("no code here runs it: add command: [...] or remove the job")]
    NotRunnable,
    /// Parameters are wrong: all that are, at least one.
    #[error("{}", one_line(.0))]
    BadParameters(Vec<BadParameter>),
}

impl From<BadParameter> for BuildError {
    fn from(parameter: BadParameter) -> BuildError {
        BuildError::BadParameters(vec![parameter])
    }
}

/// A parameter of a job that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadParameter {
    /// The parameter, relative to the job (`on_missing`, `names[1]`); empty for the job as a whole.
    pub key: String,
    /// The value as it may be shown; `None` where it may be a secret, or the message says it.
    pub value: Option<String>,
    /// The fault, and the text to write instead.
    pub message: String,
}

impl BadParameter {
    /// A parameter whose value is not shown.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> BadParameter {
        BadParameter { key: key.into(), value: None, message: message.into() }
    }
}

fn one_line(parameters: &[BadParameter]) -> String {
    let shown = |BadParameter { key, value, message }: &BadParameter| match value {
        Some(value) => format!("{key}: {value}: {message}"),
        None => format!("{key}: {message}"),
    };
    parameters.iter().map(shown).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use crate::config::{Env, JobName, Overrides, from_text};

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Greet {
        names: Vec<String>,
        #[serde(default)]
        times: u8,
    }

    fn greet(params: &str) -> Result<Greet, String> {
        let yaml = format!("scheduler: {{jobs: {{greet: {{cron: '0 2 * * *', {params}}}}}}}");
        let env = Env::new("/", [("HOME", "/root")]);
        let config = from_text(&yaml, "test", &Overrides::default(), &env).unwrap();
        let spec = &config.scheduler.jobs[&JobName::new("greet")];
        super::params(spec).map_err(|error| error.to_string())
    }

    #[test]
    fn parameters_are_typed_and_a_fault_names_its_parameter() {
        let expected = Greet { names: vec!["Ada".to_owned()], times: 2 };
        assert_eq!(greet("names: [Ada], times: 2"), Ok(expected));
        let case = |params: &str, message: &str| assert_eq!(greet(params), Err(message.to_owned()));
        case("names: Ada", "names: invalid type: text, expected a sequence");
        case(
            "names: [hunter2, [b]], times: hunter2",
            "names[1]: invalid type: sequence, expected a string",
        );
        case("names: [Ada, [b]]", "names[1]: invalid type: sequence, expected a string");
        case("names: [], times: 300", "times: invalid value: integer `300`, expected u8");
        case("names: [], tmies: 3", "tmies: unknown field `tmies`, expected `names` or `times`");
        case("times: 3", ": missing field `names`");
    }
}
