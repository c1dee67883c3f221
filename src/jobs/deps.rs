//! The parts of the program that the built-in jobs are handed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{GraphConfig, RetryPolicy, VaultConfig};

/// Variables by which systemd speaks to the daemon; no job may use them in its name.
const NOT_INHERITED: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// Parts that the built-in jobs need beyond their own configuration.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Where the vault lies.
    pub vault: VaultConfig,
    /// Which graph.
    pub graph: GraphConfig,
    /// How transient faults of the graph are tried again.
    pub retries: RetryPolicy,
    /// Where local state is kept.
    pub state_dir: PathBuf,
    /// Whether a sync confines itself where the kernel can.
    pub sandbox: bool,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The surroundings of the programs of command jobs.
    pub surroundings: Arc<Surroundings>,
}

/// The surroundings that all command jobs share.
pub struct Surroundings {
    /// The vault, told to the program as `VAULT_PATH`.
    pub vault: PathBuf,
    /// Where the end of a run's output is kept.
    pub state_dir: PathBuf,
    /// Variables beside those this process was given.
    pub environment: BTreeMap<String, String>,
    /// An executable that calls [`supervisor::dispatch`](super::supervisor::dispatch) first, normally
    /// [`supervisor::SELF`](super::supervisor::SELF).
    pub supervisor: PathBuf,
}

impl fmt::Debug for Surroundings {
    /// Without the values of variables: secrets are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.environment.keys().collect();
        f.debug_struct("Surroundings")
            .field("vault", &self.vault)
            .field("state_dir", &self.state_dir)
            .field("environment", &names)
            .field("supervisor", &self.supervisor)
            .finish()
    }
}

impl Surroundings {
    /// Changes to the environment that a program inherits, so that it finds all that programs find here,
    /// and `ours`.
    pub(super) fn environment_with(
        &self,
        ours: Vec<(&str, OsString)>,
    ) -> Vec<(OsString, Option<OsString>)> {
        let removed = NOT_INHERITED.iter().map(|name| (OsString::from(name), None));
        let given = |(name, value): (&String, &String)| (name.into(), Some(value.into()));
        let added = self.environment.iter().map(given);
        let ours = ours.into_iter().chain([("VAULT_PATH", self.vault.clone().into())]);
        let ours = ours.map(|(name, value)| (OsString::from(name), Some(value)));
        removed.chain(added).chain(ours).collect()
    }
}
