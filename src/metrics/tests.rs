use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::job::{RunId, SkipReason, Trigger};

fn noon() -> DateTime<Utc> {
    "2026-08-24T12:00:00Z".parse().unwrap()
}

fn record(job: &str, state: RunState) -> RunRecord {
    let job = JobName::new(job);
    RunRecord {
        run_id: RunId::new(&job, noon()),
        job,
        trigger: Trigger::Schedule,
        state,
        reason: None,
        scheduled_for: noon(),
        last_scheduled_for: noon(),
        count: 1,
        coalesced: 0,
        decided_at: noon(),
        started_at: Some(noon()),
        finished_at: Some(noon() + TimeDelta::milliseconds(2_500)),
        lateness_s: 0.25,
        queue_wait_s: Some(0.5),
        duration_s: Some(2.5),
        attempt: 1,
        error: None,
        stats: serde_json::Map::new(),
    }
}

/// Counters to which everything happened that can.
fn busy() -> Counters {
    let mut counters = Counters::new(noon());
    counters.know(&JobName::new("idle"));
    counters.remember_success(&JobName::new("idle"), noon() - TimeDelta::days(1));
    counters.count(&record("vault_sync", RunState::Queued));
    counters.count(&record("vault_sync", RunState::Running));
    let mut done = record("vault_sync", RunState::Succeeded);
    done.stats = serde_json::from_value(json!({
        "blocks_new": 3, "blocks_unchanged": 40, "conflicts": 1, "files_processed": 7, "files_skipped": 5,
        "bytes_read": 1234, "errors": 2, "warnings": 1, "needs_attention": true, "other": "text",
    }))
    .unwrap();
    counters.count(&done);
    counters.count(&done);
    counters.count(&record("vault_sync", RunState::Failed));
    let mut skipped = record(r#"an "odd" \ name"#, RunState::Skipped);
    skipped.reason = Some(SkipReason::Paused);
    skipped.count = 12;
    counters.count(&skipped);
    counters.count(&skipped);
    assert!(counters.observe(&Status {
        queued: 2,
        next: Some((noon(), done.job)),
        ..Status::default()
    }));
    counters
}

#[test]
fn everything_that_happens_is_counted() {
    let text = busy().render();
    for line in [
        "aclarai_scheduler_up 1",
        "aclarai_scheduler_start_timestamp_seconds 1787572800",
        "aclarai_scheduler_queued_runs 2",
        "aclarai_scheduler_next_run_timestamp_seconds 1787572800",
        r#"aclarai_scheduler_runs_total{job_name="idle",outcome="failed"} 0"#,
        r#"aclarai_scheduler_runs_total{job_name="vault_sync",outcome="succeeded"} 2"#,
        r#"aclarai_scheduler_runs_total{job_name="vault_sync",outcome="failed"} 1"#,
        r#"aclarai_scheduler_runs_total{job_name="vault_sync",outcome="interrupted"} 0"#,
        r#"aclarai_scheduler_skips_total{job_name="an \"odd\" \\ name",reason="paused"} 24"#,
        r#"aclarai_scheduler_lateness_seconds_sum{job_name="vault_sync"} 0.25"#,
        r#"aclarai_scheduler_queue_wait_seconds_count{job_name="vault_sync"} 1"#,
        r#"aclarai_scheduler_run_duration_seconds_sum{job_name="vault_sync"} 7.5"#,
        r#"aclarai_scheduler_last_success_timestamp_seconds{job_name="idle"} 1787486400"#,
        r#"aclarai_scheduler_last_success_timestamp_seconds{job_name="vault_sync"} 1787572802.5"#,
        // The run after those that asked for a person did not.
        r#"aclarai_scheduler_needs_attention{job_name="vault_sync"} 0"#,
        r#"aclarai_scheduler_blocks_total{job_name="vault_sync",outcome="new"} 6"#,
        r#"aclarai_scheduler_files_total{job_name="vault_sync",outcome="skipped"} 10"#,
        r#"aclarai_scheduler_read_bytes_total{job_name="vault_sync"} 2468"#,
        r#"aclarai_scheduler_item_errors_total{job_name="vault_sync"} 4"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    // A job without figures of its own has no series of them.
    assert!(!text.contains(r#"blocks_total{job_name="idle""#), "{text}");
}

#[test]
fn the_same_status_is_no_news() {
    let mut counters = Counters::new(noon());
    let status = Status { queued: 1, ..Status::default() };
    assert!(counters.observe(&status));
    assert!(!counters.observe(&status));
}

/// What `promtool check metrics` looks for, and the text format itself.
#[test]
fn the_text_keeps_the_rules_of_prometheus() {
    for text in [Counters::default().render(), busy().render()] {
        assert!(text.ends_with('\n'));
        let mut families = BTreeSet::new();
        let mut series = BTreeSet::new();
        let mut family: Option<(&str, &str)> = None;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(help.ends_with('.') && !help.contains('\\'), "{line}");
                let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
                assert!(families.insert(name), "{name} comes twice");
                check_name(name, kind);
                family = Some((name, kind));
                continue;
            }
            let (name, kind) = family.expect("a sample belongs to a family");
            let (head, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && (kind == "gauge" || value >= 0.0), "{line}");
            assert!(series.insert(head), "{head} comes twice");
            let (own, _) = head.split_once('{').unwrap_or((head, ""));
            let suffixes: &[&str] = if kind == "summary" { &["_sum", "_count"] } else { &[""] };
            assert!(suffixes.iter().any(|suffix| own == format!("{name}{suffix}")), "{line}");
            for label in labels(line) {
                assert!(label.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
                assert!(!label.starts_with("__"), "{line}");
                assert!(
                    !["job", "instance", "le", "quantile"].contains(&label),
                    "{label} is taken"
                );
            }
        }
    }
}

#[track_caller]
fn check_name(name: &str, kind: &str) {
    assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
    assert!(name.starts_with("aclarai_scheduler_"), "{name}");
    assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
    for suffix in ["_sum", "_count", "_bucket"] {
        assert!(!name.ends_with(suffix), "{name}");
    }
    // Base units, and no word for the kind in the name.
    for word in ["milliseconds", "ms", "minutes", "kilobytes", "mb", "gauge", "counter", "summary"]
    {
        assert!(!name.split('_').any(|part| part == word), "{name}");
    }
    let is_time =
        ["lateness", "wait", "duration", "timestamp"].iter().any(|word| name.contains(word));
    assert_eq!(is_time, name.ends_with("_seconds"), "{name}");
}

/// The names of the labels of a sample line.
fn labels(line: &str) -> Vec<&str> {
    let (head, _) = line.rsplit_once(' ').unwrap();
    let mut rest = head.split_once('{').map_or("", |(_, labels)| labels.strip_suffix('}').unwrap());
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").unwrap();
        names.push(name.trim_start_matches(','));
        let mut escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = &value[end.unwrap() + 1..];
    }
    names
}

#[test]
fn a_file_is_replaced_in_one_step_and_others_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aclarai.prom");
    // A link where the temporary file will be, laid by somebody else.
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let temporary = folder.path().join(format!(".aclarai.prom.{}.tmp", std::process::id()));
    std::os::unix::fs::symlink(&victim, &temporary).unwrap();
    write_file(&path, "first\n").unwrap();
    let reader = fs::File::open(&path).unwrap();
    write_file(&path, "second\n").unwrap();
    assert_eq!(io::read_to_string(reader).unwrap(), "first\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a.prom")).unwrap();
    assert!(write_file(&folder.path().join("a.prom"), "text").is_err());
    assert!(write_file(&folder.path().join("none/a.prom"), "text").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_last_file_says_that_the_daemon_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.prom");
    let metrics = MetricsFile::start(&path, Counters::new(noon())).unwrap();
    let (mut observer, mut heartbeat) = (metrics.observer(), metrics.heartbeat());
    let done = record("vault_sync", RunState::Succeeded);
    observer(&Event { record: &done, repeated: false });
    heartbeat(&Status { queued: 1, ..Status::default() });
    drop((observer, heartbeat));
    metrics.stop();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\naclarai_scheduler_up 0\n"), "{text}");
    assert!(text.contains("\naclarai_scheduler_queued_runs 1\n"), "{text}");
    assert!(text.contains("outcome=\"succeeded\"} 1\n"), "{text}");
}

/// `docs/operating.md` lists each family with its type and labels, and no other.
#[test]
fn the_reference_has_every_metric() {
    let page = include_str!("../../docs/operating.md");
    let rows = page.lines().filter(|line| line.starts_with("| `aclarai_scheduler_"));
    let documented: Vec<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            format!("{} {} {}", cells[1], cells[2], cells[3])
                .replace(['`', ','], "")
                .trim()
                .to_owned()
        })
        .collect();
    let text = busy().render();
    let mut found: Vec<String> = Vec::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(name_and_kind) = line.strip_prefix("# TYPE ") {
            family = name_and_kind;
        } else if !line.starts_with('#') {
            let row = format!("{family} {}", labels(line).join(" ")).trim().to_owned();
            if found.last() != Some(&row) {
                found.push(row);
            }
        }
    }
    assert_eq!(found, documented);
}
