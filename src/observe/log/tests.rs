use chrono::{DateTime, Utc};

use super::*;
use crate::config::JobName;
use crate::job::SkipReason;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn record(state: RunState) -> RunRecord {
    let job = JobName::new("vault_sync");
    let scheduled_for = at("2024-12-15T10:40:00Z");
    RunRecord {
        state,
        lateness_s: 0.0123,
        queue_wait_s: Some(0.0004),
        duration_s: Some(2.1000004),
        ..RunRecord::queued(&job, scheduled_for)
    }
}

#[test]
fn what_dashboards_read_of_a_run() {
    let show = |record: &RunRecord| Value::Object(facts_of(record)).to_string();
    let mut finished = record(RunState::Succeeded);
    finished.stats = serde_json::from_str(
        r#"{"blocks_updated":3,"duration":7,"level":"x","attempt":9,"reason":"paused","error":"no","count":4}"#,
    )
    .unwrap();
    assert_eq!(
        show(&finished),
        r#"{"job_id":"vault_sync_1734259200","job_name":"vault_sync","duration":2.1,"success":true,"blocks_updated":3,"stats.duration":7,"stats.level":"x","stats.attempt":9,"stats.reason":"paused","stats.error":"no","count":4}"#
    );
    let failed =
        RunRecord { attempt: 3, error: Some("graph: gone".to_owned()), ..record(RunState::Failed) };
    assert_eq!(
        show(&failed),
        r#"{"job_id":"vault_sync_1734259200","job_name":"vault_sync","duration":2.1,"success":false,"attempt":3,"error":"graph: gone"}"#
    );
    let started = RunRecord { coalesced: 4, ..record(RunState::Running) };
    assert_eq!(
        show(&started),
        r#"{"job_id":"vault_sync_1734259200","job_name":"vault_sync","trigger":"schedule","scheduled_for":"2024-12-15T10:40:00Z","lateness":0.012,"queue_wait":0.0,"coalesced":4}"#
    );
    let first = at("2024-12-15T10:40:00Z");
    let skip = Skip {
        count: 2,
        last: at("2024-12-15T11:10:00Z"),
        ..Skip::new(&JobName::new("vault_sync"), first, SkipReason::Misfire)
    };
    assert_eq!(
        Value::Object(facts_of_skip(&skip)).to_string(),
        r#"{"reason":"misfire","job_id":"vault_sync_1734259200","job_name":"vault_sync","count":2,"first":"2024-12-15T10:40:00Z","last":"2024-12-15T11:10:00Z"}"#
    );
}
