//! The rules for Prometheus and the dashboard of `docs/` name metrics that there are, and find what they are for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The names of our metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.match_indices("aclarai_scheduler_").map(|(at, _)| {
        let name: String = text[at..].chars().take_while(|c| word(*c)).collect();
        let summary = name.strip_suffix("_sum").or(name.strip_suffix("_count"));
        summary.map_or(name.clone(), str::to_owned)
    });
    names.collect()
}

/// `docs/operating.md` is held to the program by another test.
#[test]
fn rules_and_dashboard_name_metrics_that_there_are() {
    let page = read("docs/operating.md");
    let table: Vec<&str> = page.lines().filter(|line| line.starts_with("| `aclarai_")).collect();
    let known = metrics(&table.join("\n"));
    for file in ["docs/alerts.yaml", "docs/dashboard.json", "tests/fixtures/alerts-test.yaml"] {
        let named = metrics(&read(file));
        assert!(named.len() > 5, "{file}");
        assert!(named.is_subset(&known), "{file}: {:?}", named.difference(&known));
    }
    serde_json::from_str::<serde_json::Value>(&read("docs/dashboard.json")).unwrap();
}

/// `promtool` is in Debian's package `prometheus`; without it this test says so and holds nothing.
#[test]
fn each_rule_finds_its_fault_and_none_on_a_quiet_day() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["docs/alerts.yaml", "tests/fixtures/alerts-test.yaml"] {
        let to = folder.path().join(Path::new(name).file_name().unwrap());
        fs::write(to, read(name)).unwrap();
    }
    for arguments in
        [&["check", "rules", "alerts.yaml"][..], &["test", "rules", "alerts-test.yaml"]]
    {
        let Ok(output) =
            Command::new("promtool").args(arguments).current_dir(folder.path()).output()
        else {
            println!("not tested: promtool is not installed (Debian package prometheus)");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}
