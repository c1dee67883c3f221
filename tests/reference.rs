//! `docs/configuration.md` and the shipped configuration say the truth about the parameters of `vault_sync`. What they
//! say about all other settings is held true beside the code that reads those.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use aclarai_scheduler::inside::clock::SystemClock;
use aclarai_scheduler::inside::config::{self, Config, Env, JobName, Overrides, SHIPPED_FILE};
use aclarai_scheduler::inside::job::BuildError;
use aclarai_scheduler::inside::jobs::Deps;
use aclarai_scheduler::inside::jobs::Surroundings;
use aclarai_scheduler::inside::jobs::VaultSync;

const REFERENCE: &str = include_str!("../docs/configuration.md");

/// Key and default of each row of the parameter table: the one table without a column for variables.
fn rows() -> Vec<(&'static str, &'static str)> {
    let cells = |line: &'static str| -> Vec<&str> {
        line.split('|').map(|cell| cell.trim().trim_matches('`')).collect()
    };
    let table = REFERENCE.lines().filter(|line| line.starts_with("| `")).map(cells);
    table.filter(|cells| cells.len() == 6).map(|cells| (cells[1], cells[3])).collect()
}

fn vault_sync_with(parameters: &str) -> Result<VaultSync, BuildError> {
    let yaml = format!("scheduler: {{jobs: {{vault_sync: {{{parameters}}}}}}}");
    let env = Env::new("/nowhere", [("HOME", "/home/me")]);
    let config = config::from_text(&yaml, "c.yaml", &Overrides::default(), &env).unwrap();
    let Config { vault, graph, retries, state_dir, scheduler, .. } = config;
    let clock = Arc::new(SystemClock);
    let surroundings = Arc::new(Surroundings {
        vault: vault.root.clone(),
        state_dir: state_dir.clone(),
        environment: BTreeMap::new(),
        supervisor: "/bin/false".into(),
    });
    let deps = Deps { vault, graph, retries, state_dir, sandbox: false, clock, surroundings };
    VaultSync::from_spec(&scheduler.jobs[&JobName::new("vault_sync")], deps)
}

#[track_caller]
fn settings(parameters: &str) -> String {
    format!("{:?}", vault_sync_with(parameters).unwrap().settings())
}

#[test]
fn every_parameter_of_vault_sync_in_the_reference_has_the_default_it_says() {
    assert_eq!(rows().len(), 10);
    for (key, default) in rows() {
        assert_eq!(settings(&format!("{key}: {default}")), settings(""), "{key}: {default}");
        let refused = vault_sync_with(&format!("{key}: [[]]")).unwrap_err();
        let BuildError::BadParameters(bad) = &refused else { panic!("{key}: {refused}") };
        assert_eq!((bad.len(), bad[0].key.as_str()), (1, key));
        assert_eq!(bad[0].value.as_deref(), Some("a list"));
    }
}

#[test]
fn every_parameter_of_vault_sync_is_in_the_reference_and_in_the_shipped_file() {
    let refused = vault_sync_with("no_such_parameter: 1").unwrap_err().to_string();
    let (_, known) = refused.split_once("takes ").unwrap();
    let documented: Vec<&str> = rows().into_iter().map(|(key, _)| key).collect();
    assert_eq!(known, documented.join(", "));
    for (key, _) in rows() {
        let line =
            SHIPPED_FILE.lines().find_map(|line| line.trim().strip_prefix(&format!("# {key}: ")));
        let (default, _) =
            line.unwrap_or_else(|| panic!("{key} is not shipped")).split_once("  #").unwrap();
        assert_eq!(settings(&format!("{key}: {default}")), settings(""), "{key}: {default}");
    }
}
