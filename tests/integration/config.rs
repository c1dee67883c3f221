//! Where the configuration comes from, and how a bad one is refused: seen from outside.

use std::fs;

use serde_json::json;

use crate::sandbox::Sandbox;

const JOBS: &str = "scheduler: {jobs: {vault_sync: {enabled: false, cron: '1 1 1 1 *'}}}\n";

/// The schedule of `vault_sync` as `jobs` tells it.
fn cron(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let jobs = sandbox.run(&[&["jobs", "--json"], arguments].concat()).json(0);
    jobs[0]["cron"].as_str().unwrap().to_owned()
}

#[test]
fn the_file_is_found_and_outranked() {
    let mut sandbox = Sandbox::new(JOBS);
    assert_eq!(cron(&sandbox, &[]), "1 1 1 1 *");
    sandbox.write("by_variable.yaml", &JOBS.replace("1 1 1 1", "2 2 2 2"));
    sandbox.write("by_flag.yaml", &JOBS.replace("1 1 1 1", "3 3 3 3"));
    sandbox.variable("ACLARAI_CONFIG", "by_variable.yaml");
    assert_eq!(cron(&sandbox, &[]), "2 2 2 2 *");
    assert_eq!(cron(&sandbox, &["--config", "by_flag.yaml"]), "3 3 3 3 *");
    sandbox.write(".env", "VAULT_SYNC_CRON=\"4 4 4 4 *\"\n");
    assert_eq!(cron(&sandbox, &[]), "4 4 4 4 *");
    sandbox.variable("VAULT_SYNC_CRON", "5 5 5 5 *");
    assert_eq!(cron(&sandbox, &[]), "5 5 5 5 *");
}

/// Most shells leave the `~` of `--config=~/x` alone, and no shell stands before a variable of systemd.
#[test]
fn a_tilde_is_the_home_folder_wherever_a_path_is_given() {
    let sandbox = Sandbox::new("");
    let vault = sandbox.path("vault");
    let yaml = format!("paths: {{vault: {vault:?}}}\n{}", JOBS.replace("1 1 1 1", "2 2 2 2"));
    sandbox.write("home/x.yaml", &yaml);
    assert_eq!(cron(&sandbox, &["--config=~/x.yaml"]), "2 2 2 2 *");
    let jobs = sandbox.command(&["jobs", "--json"]).env("ACLARAI_CONFIG", "~/x.yaml").output();
    assert!(String::from_utf8(jobs.unwrap().stdout).unwrap().contains("2 2 2 2 *"));
    let options = ["--config=~/x.yaml", "--state-dir=~/state", "--metrics-file=~/a.prom"];
    let run = |arguments: &[&str]| sandbox.run(&[arguments, &options].concat());
    assert_eq!(run(&["run", "vault_sync"]).code, Some(0));
    assert_eq!(run(&["backup", "~/backup"]).code, Some(0));
    for made in ["state/state.db", "a.prom", "backup/state.db"] {
        assert!(sandbox.path("home").join(made).exists(), "{made}");
    }
    assert!(!sandbox.path("~").exists());
}

#[test]
fn a_file_that_was_named_must_be_there_and_none_need_be() {
    let sandbox = Sandbox::new(JOBS);
    let run = sandbox.run(&["jobs", "--config", "missing.yaml"]);
    assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{run:?}");
    assert!(run.stderr.contains("missing.yaml"), "{run:?}");
    fs::remove_dir_all(sandbox.path("settings")).unwrap();
    let jobs = sandbox.run(&["jobs", "--json"]).json(0);
    assert_eq!((&jobs[0]["job_name"], &jobs[0]["enabled"]), (&json!("vault_sync"), &json!(true)));
}

#[test]
fn every_fault_is_told_at_once_with_its_line() {
    let sandbox = Sandbox::new(
        "scheduler:\n  wrkers: 2\n  jobs:\n    vault_sync:\n      enabeld: true\n      cron: \"61 * * * *\"\n      \
         on_missing: delete\n      on_mising: archive\n      no_such: 1\n    second: {kind: vault_sync, write_back: maybe}\n",
    );
    for command in [&["jobs"][..], &["serve"], &["run", "vault_sync"], &["next", "vault_sync"]] {
        let run = sandbox.run(command);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
        let lines: Vec<&str> = run.stderr.lines().collect();
        for (part, line) in [
            ("wrkers: there is no such setting: did you mean workers?", ":3"),
            ("enabeld: unknown parameter: did you mean enabled?", ":6"),
            ("cron: \"61 * * * *\": minute 61 is outside 0-59", ":7"),
            ("on_missing: \"delete\": write archive or ignore", ":8"),
            ("on_mising: unknown parameter: did you mean on_missing?", ":9"),
            ("no_such: unknown parameter: vault_sync takes on_missing, ", ":10"),
            ("second.write_back: \"maybe\": write true or false", ":11"),
        ] {
            let place = format!("settings/aclarai.config.yaml{line}");
            assert!(
                lines.iter().any(|fault| fault.contains(part) && fault.contains(&place)),
                "{part} in {run:?}"
            );
        }
        assert!(lines.iter().all(|line| line.starts_with("error: ")), "{run:?}");
        assert_eq!(lines.len(), 7, "each is told once: {run:?}");
    }
    let check = sandbox.run(&["check", "--json"]).json(2);
    assert_eq!(
        check.as_array().unwrap().iter().filter(|line| line["level"] == "error").count(),
        7,
        "{check}"
    );
}

#[test]
fn the_original_services_jobs_load_and_are_told_not_to_be_runnable() {
    let sandbox = Sandbox::new(
        r#"
model: {default: gpt-4}
databases: {postgres: {host: postgres}}
scheduler:
  jobs:
    concept_embedding_refresh: {enabled: true, manual_only: false, cron: 0 3 * * *, description: Refresh}
    vault_sync: {enabled: true, manual_only: false, cron: '*/30 * * * *', description: Sync}
    top_concepts: {enabled: true, manual_only: false, cron: 0 4 * * *, metric: pagerank, count: 25, percent: null}
"#,
    );
    let jobs = sandbox.run(&["jobs", "--json"]).json(0);
    let runnable = |name: &str| {
        let job = jobs.as_array().unwrap().iter().find(|job| job["job_name"] == name).unwrap();
        (job["runnable"].as_bool().unwrap(), job["remedy"].is_string())
    };
    assert_eq!(runnable("vault_sync"), (true, false));
    assert_eq!(runnable("top_concepts"), (false, true));
    assert_eq!(runnable("concept_embedding_refresh"), (false, true));
}

#[test]
fn a_secret_is_shown_nowhere() {
    const SECRET: &str = "s3cr3t-pass";
    let mut sandbox = Sandbox::new(
        "databases: {graph: neo4j, neo4j: {uri: 'bolt://127.0.0.1:1'}}\nprocessing: {retries: {max_attempts: 1}}\n",
    );
    sandbox.variable("NEO4J_PASSWORD", SECRET);
    sandbox.variable("LOG_LEVEL", "DEBUG");
    for command in [
        &["check"][..],
        &["check", "--json"],
        &["jobs", "--json"],
        &["run", "vault_sync", "--json"],
        &["history", "--json"],
        &["status", "--json"],
    ] {
        let run = sandbox.run(command);
        assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET), "{run:?}");
    }
}
