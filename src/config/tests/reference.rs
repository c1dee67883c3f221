//! The shipped file and the reference (`docs/configuration.md`) say what the program does.

use std::collections::BTreeSet;

use super::*;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// A line of one of the tables of keys.
struct Row {
    path: String,
    default: String,
    variable: String,
}

/// The tables with a column for variables: those of this room.
fn rows() -> Vec<Row> {
    let cells = |line: &'static str| {
        line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    };
    let of_table = |line: &&'static str| line.starts_with("| `") && line.split('|').count() == 7;
    let rows = REFERENCE.lines().filter(of_table).map(cells);
    rows.map(|cells| Row {
        path: cells[1].clone(),
        default: cells[3].clone(),
        variable: cells[4].clone(),
    })
    .collect()
}

/// A file that sets `path` to `value`, in a graph and with a job that make every key count.
fn file_with(path: &str, value: &str) -> String {
    let base = "databases: {graph: neo4j}\nscheduler: {jobs: {NAME: {}}}\n";
    let base: serde_yaml::Value = serde_yaml::from_str(base).unwrap();
    let mut file = base;
    let mut at = &mut file;
    for key in path.split('.') {
        let section = at.as_mapping_mut().unwrap();
        at = section.entry(key.into()).or_insert_with(|| serde_yaml::Mapping::new().into());
    }
    *at = serde_yaml::from_str(value).unwrap();
    serde_yaml::to_string(&file).unwrap()
}

#[test]
fn the_shipped_file_says_what_holds_without_it() {
    let shipped = good(SHIPPED_FILE, &[]);
    assert_eq!(settled(&shipped), settled(&good("{}", &[])));
    assert_eq!((shipped.warnings.len(), shipped.notes.len()), (0, 0));
}

/// Every path that is read: all that `raw` asks for.
fn keys_read() -> BTreeSet<String> {
    let mut findings = given::Findings::of(None, Lines::default());
    let file = "databases: {neo4j: {}}\nscheduler: {lease: {ttl: 60}, jobs: {NAME: {}}}\n";
    let mut raw = raw::read(file, &mut findings).unwrap();
    let job = raw.scheduler.jobs.remove("NAME").unwrap();
    job.read("NAME", &RunPolicy::default(), &mut findings);
    let all = findings.asked;
    let holds_others =
        |path: &String| all.iter().any(|other| other.starts_with(&format!("{path}.")));
    // In a job, the keys of `job_defaults` are not listed again.
    let is_listed_above = |path: &String| {
        let key = path.strip_prefix("scheduler.jobs.NAME.");
        key.is_some_and(|key| all.contains(&format!("scheduler.job_defaults.{key}")))
    };
    let leaves = all.iter().filter(|path| !holds_others(path) && !is_listed_above(path));
    // The one is another name for `user`, named beside it; the other holds the jobs, which are read later.
    let is_no_leaf = |path: &str| ["databases.neo4j.username", "scheduler.jobs"].contains(&path);
    leaves.filter(|path| !is_no_leaf(path)).cloned().collect()
}

/// The settings behind a `#` are defaults too: without it they change nothing, but for the sections whose being there
/// means something.
#[test]
fn what_is_commented_out_in_the_shipped_file_is_the_default() {
    let switched_on: Vec<String> = SHIPPED_FILE
        .lines()
        .map(|line| match line.split_once("# ") {
            Some((indent, rest))
                if indent.trim().is_empty()
                    && rest.trim_start().split_once(": ").is_some_and(is_setting) =>
            {
                format!("{indent}{rest}")
            }
            _ => line.to_owned(),
        })
        .collect();
    let text = switched_on
        .join("\n")
        .replace("# neo4j:", "neo4j:")
        .replace("# nightly_report:", "nightly_report:");
    let all = good(&text, &[]);
    let base = good("databases: {neo4j: {}}", &[]);
    assert_eq!(format!("{:?}", all.graph), format!("{:?}", base.graph));
    assert_eq!(all.vault.root, base.vault.root);
    assert_eq!(all.vault.tiers, base.vault.tiers);
    assert!(job(&all, "vault_sync").params.len() > 5);
    assert_eq!(job(&all, "nightly_report").command.as_ref().unwrap().argv[0], "python3");
    assert_eq!(job(&all, "nightly_report").policy, RunPolicy::default());
}

fn is_setting((key, _): (&str, &str)) -> bool {
    key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn every_default_in_the_reference_is_true() {
    let base = settled(&good(&file_with("databases.graph", "neo4j"), &[]));
    let with_lease = settled(&good(&file_with("scheduler.lease", "{}"), &[]));
    assert_ne!(base, with_lease);
    for Row { path, default, .. } in rows() {
        if path.starts_with("scheduler.jobs.NAME.feed.") {
            let config = good(&file_with(&path, &default), &[]);
            let feed = job(&config, "NAME").feed.as_deref();
            assert_eq!(feed, Some(&crate::config::FeedSpec::default()), "{path}");
            continue;
        }
        // Where a store or a tier is named, that alone means something.
        if path == "databases.graph" || path.starts_with("paths.tier") {
            continue;
        }
        let default =
            if default == "\"\"" { default } else { default.replace("0 2 * * *", "'0 2 * * *'") };
        // The section's being there means something too, however empty.
        let base = if path.starts_with("scheduler.lease.") { &with_lease } else { &base };
        assert_eq!(&settled(&good(&file_with(&path, &default), &[])), base, "{path}: {default}");
    }
}

#[test]
fn every_key_in_the_reference_is_read_and_every_key_that_is_read_is_in_the_reference() {
    for Row { path, .. } in rows() {
        let faults =
            read(&file_with(&path, "[[]]"), &[]).expect_err("a list of a list is nothing anywhere");
        assert!(faults.faults().iter().any(|fault| fault.subject == path), "{path}: {faults}");
    }
    let documented: BTreeSet<String> = rows().into_iter().map(|row| row.path).collect();
    assert_eq!(documented, keys_read());
}

#[test]
fn every_variable_in_the_reference_counts() {
    let documented: BTreeSet<(String, String)> = rows()
        .into_iter()
        .filter(|row| !row.variable.is_empty())
        .map(|row| (row.variable, row.path))
        .collect();
    let of_jobs = ["ENABLED", "CRON"].map(|what| {
        (env::variable_of_job("NAME", what), format!("scheduler.jobs.NAME.{}", what.to_lowercase()))
    });
    let known = env::VARIABLES.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned()));
    assert_eq!(documented, known.chain(of_jobs).collect());
}
