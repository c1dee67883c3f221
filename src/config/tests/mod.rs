//! The room as its users see it: text and environment in, a configuration or all its faults out.

mod faults;
mod files;
mod layers;
mod reference;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// The file's name in messages.
const NAME: &str = "c.yaml";

/// An environment with a home and these variables, in a folder that is not there.
fn env(variables: &[(&str, &str)]) -> Env {
    let home = [("HOME", "/home/me")];
    Env::new("/nowhere", home.iter().chain(variables).copied())
}

fn read(yaml: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    from_text(yaml, NAME, &Overrides::default(), &env(variables))
}

#[track_caller]
fn good(yaml: &str, variables: &[(&str, &str)]) -> Config {
    read(yaml, variables).unwrap_or_else(|faults| panic!("{yaml}\n{faults}"))
}

/// All of a configuration that does not depend on where it was written.
fn settled(config: &Config) -> String {
    let nowhere = Config {
        source: None,
        lines: Lines::default(),
        notes: Vec::new(),
        warnings: Vec::new(),
        left_out: Vec::new(),
        ..config.clone()
    };
    format!("{nowhere:#?}")
}

fn job<'c>(config: &'c Config, name: &str) -> &'c JobSpec {
    &config.scheduler.jobs[&JobName::new(name)]
}

fn neo4j(config: &Config) -> &Neo4jConfig {
    match &config.graph {
        GraphConfig::Neo4j(neo4j) => neo4j,
        GraphConfig::Embedded { .. } => panic!("the graph is embedded"),
    }
}
