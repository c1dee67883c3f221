use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::config;
use crate::gate::Standing;
use crate::job::SkipReason;

fn noon() -> DateTime<Utc> {
    "2026-08-24T12:00:00Z".parse().unwrap()
}

fn record(job: &str, state: RunState) -> RunRecord {
    RunRecord {
        state,
        started_at: Some(noon()),
        finished_at: Some(noon() + TimeDelta::milliseconds(2_500)),
        lateness_s: 0.25,
        queue_wait_s: Some(0.5),
        duration_s: Some(2.5),
        ..RunRecord::queued(&JobName::new(job), noon())
    }
}

fn spec(name: &str, cron: &str, enabled: bool) -> JobSpec {
    let yaml = format!("scheduler: {{jobs: {{{name}: {{cron: \"{cron}\", enabled: {enabled}}}}}}}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    std::fs::write(&file, yaml).unwrap();
    let overrides = config::Overrides { config: Some(file), ..config::Overrides::default() };
    let env = config::Env::new(folder.path(), [("HOME", "/home/x")]);
    let config = config::load(&overrides, &env, &|_| Vec::new()).unwrap();
    JobSpec::clone(&config.scheduler.jobs[&JobName::new(name)])
}

/// Counters to which everything happened that can.
fn busy() -> Counters {
    let mut counters = Counters::new(noon());
    counters
        .configure([&spec("idle", "0 3 * * *", true), &spec("vault_sync", "*/30 * * * *", false)]);
    let past = Past {
        last_success: Some(noon() - TimeDelta::days(1)),
        last_outcome: Some(RunState::Failed),
        failures: 4,
    };
    counters.remember(&JobName::new("idle"), past);
    counters.look_ahead(noon());
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
    let odd = JobName::new(r#"an "odd" \ name"#);
    let skip = Skip { count: 12, ..Skip::new(&odd, noon(), SkipReason::Paused) };
    counters.count_skip(&skip);
    counters.count_skip(&skip);
    let lease = Standing::Leader {
        epoch: 7,
        until: Duration::from_secs(60),
        marks: Arc::default(),
        fault: None,
    };
    assert!(counters.observe(&Status { queued: 2, lease: Some(lease), ..Status::default() }));
    counters
}

#[test]
fn everything_that_happens_is_counted() {
    let text = busy().render();
    for line in [
        "aclarai_scheduler_up 1",
        "aclarai_scheduler_start_timestamp_seconds 1787572800",
        "aclarai_scheduler_queued_runs 2",
        r#"aclarai_scheduler_job_info{job_name="idle",schedule="0 3 * * *",kind="idle"} 1"#,
        r#"aclarai_scheduler_enabled{job_name="vault_sync"} 0"#,
        r#"aclarai_scheduler_next_run_timestamp_seconds{job_name="idle"} 1787626800"#,
        r#"aclarai_scheduler_last_outcome{job_name="idle",outcome="failed"} 1"#,
        r#"aclarai_scheduler_last_outcome{job_name="idle",outcome="succeeded"} 0"#,
        r#"aclarai_scheduler_consecutive_failures{job_name="idle"} 4"#,
        r#"aclarai_scheduler_consecutive_failures{job_name="vault_sync"} 1"#,
        r#"aclarai_scheduler_last_success_timestamp_seconds{job_name="an \"odd\" \\ name"} 0"#,
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
fn a_row_of_failures_ends_with_a_success_and_not_with_a_stop() {
    let mut counters = Counters::new(noon());
    let job = JobName::new("report");
    let mut rows = |states: &[RunState]| {
        states.iter().for_each(|state| counters.count(&record("report", *state)));
        counters.jobs[&job].consecutive_failures
    };
    use RunState::*;
    assert_eq!(rows(&[Failed, Interrupted, Failed]), 2);
    assert_eq!(rows(&[Succeeded]), 0);
    // The past is older than what was counted here.
    counters.remember(&job, Past { failures: 7, last_outcome: Some(Failed), ..Past::default() });
    assert_eq!(counters.jobs[&job].consecutive_failures, 0);
}

#[test]
fn a_job_that_is_gone_is_not_shown_as_configured() {
    let mut counters = Counters::new(noon());
    counters.configure([&spec("gone", "0 3 * * *", true)]);
    counters.count(&record("gone", RunState::Failed));
    counters.configure([&spec("other", "0 3 * * *", true)]);
    let text = counters.render();
    assert!(!text.contains("job_info{job_name=\"gone\""), "{text}");
    assert!(text.contains("job_info{job_name=\"other\""), "{text}");
    assert!(text.contains("consecutive_failures{job_name=\"gone\"} 1\n"), "{text}");
}

#[test]
fn no_sum_begins_anew_however_large_it_gets() {
    let mut counters = Counters::new(noon());
    let mut done = record("j", RunState::Succeeded);
    done.stats =
        serde_json::from_value(json!({"blocks_new": u64::MAX, "bytes_read": u64::MAX})).unwrap();
    let skip = Skip { count: u64::MAX, ..Skip::new(&done.job, noon(), SkipReason::Misfire) };
    for _ in 0..2 {
        counters.count(&done);
        counters.count_skip(&skip);
    }
    let job = &counters.jobs[&done.job];
    assert_eq!((job.blocks["new"], job.skips["misfire"]), (u64::MAX, u64::MAX));
}

#[test]
fn the_same_status_is_no_news() {
    let mut counters = Counters::new(noon());
    let status = Status { queued: 1, ..Status::default() };
    assert!(counters.observe(&status));
    assert!(!counters.observe(&status));
}

/// The rules of `promtool check metrics`, and the text format itself.
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

/// `docs/operating.md` lists each family with its type and labels, and no other.
#[test]
fn the_reference_has_every_metric() {
    let page = include_str!("../../../docs/operating.md");
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

/// To render a thousand jobs takes milliseconds, and on a busy machine longer: no run begins later for that.
#[test]
fn news_that_comes_while_somebody_renders_is_counted_behind_it_in_its_order() {
    let shared = Shared::new(Counters::default());
    let job = JobName::new("report");
    let run = |state| RunRecord { state, ..RunRecord::queued(&job, DateTime::UNIX_EPOCH) };
    let tell = |state| shared.tell(News::Run(Cow::Owned(run(state))));
    tell(RunState::Failed);
    {
        let held = shared.lock();
        tell(RunState::Failed);
        tell(RunState::Succeeded);
        let status = Status { queued: 3, ..Status::default() };
        assert!(shared.tell(News::Status(Cow::Borrowed(&status))));
        assert_eq!(held.jobs[&job].consecutive_failures, 1);
    }
    assert!(!shared.tell(News::Status(Cow::Owned(Status { queued: 3, ..Status::default() }))));
    let counters = shared.lock();
    assert_eq!(counters.jobs[&job].consecutive_failures, 0);
    assert_eq!((counters.jobs[&job].runs["failed"], counters.jobs[&job].runs["succeeded"]), (2, 1));
    assert_eq!(counters.status.queued, 3);
}
