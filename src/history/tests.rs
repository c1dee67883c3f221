//! What is asked of a long history is answered from a few of its rows.

use super::*;
use crate::state::Owner;
use rusqlite::StatementStatus;

const ROWS: i64 = 5_000;

/// 5,000 runs of two jobs that went well, and in their midst one of each other kind.
fn long(dir: &Path) -> Owner {
    let state = State::open(dir).unwrap();
    let owner = Owner::sign_on(dir).unwrap();
    let row = |n: &str, state: &str, reason: &str, owner: &str| {
        format!(
            "SELECT n, 'job_' || (n % 2), 'job_' || (n % 2) || '_' || n, 'schedule', {state}, {reason}, n * 1000000,
                 n * 1000000, 1, 0, 0, n * 1000000, 0, 1, 0, {owner} FROM ({n})"
        )
    };
    let all = format!(
        "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < {ROWS}) SELECT n FROM count"
    );
    let state_of = "CASE n WHEN 7 THEN 'failed' WHEN 8 THEN 'interrupted' WHEN 9 THEN 'skipped' WHEN 10 THEN 'running'
                    WHEN 11 THEN 'running' WHEN 12 THEN 'queued' ELSE 'succeeded' END";
    let reason_of = "CASE n WHEN 9 THEN 'misfire' END";
    // The run with the number 11 belongs to a process that is gone.
    let owner_of =
        format!("CASE n WHEN 10 THEN '{0}' WHEN 12 THEN '{0}' WHEN 11 THEN 'gone' END", owner.id());
    let insert = format!(
        "INSERT INTO runs (seq, job, run_id, trigger, state, reason, scheduled_for, last_scheduled_for, count, coalesced,
             epoch, decided_at, lateness, attempt, rerun, owner) {}",
        row(&all, state_of, reason_of, &owner_of)
    );
    state.connection().execute_batch(&insert).unwrap();
    owner
}

#[test]
fn what_is_rare_is_found_without_reading_what_is_common() {
    let temp = tempfile::tempdir().unwrap();
    let _alive = long(temp.path());
    let history = History::open(temp.path()).unwrap().unwrap();
    let job = JobName::new("job_1");
    let before = RunId::from_stored("job_0_3000".to_owned());
    let is_found = |filter: Filter<'_>, expected: &[&str]| {
        let found = history.found(&filter, 50).unwrap();
        let found: Vec<&str> = found
            .iter()
            .map(|row| match row {
                Row::Run(run) => run.run_id.as_str(),
                Row::Skip(skip) => skip.run_id.as_str(),
            })
            .collect();
        assert_eq!(found, expected, "{filter:?}");
        let connection = history.state.connection();
        let (sql, values) = question(connection, &filter).unwrap();
        let mut statement = connection.prepare(&sql).unwrap();
        let mut rows = statement.query(rusqlite::params_from_iter(values)).unwrap();
        while rows.next().unwrap().is_some() {}
        drop(rows);
        let steps = statement.get_status(StatementStatus::VmStep);
        assert!(i64::from(steps) < ROWS, "{filter:?} takes {steps} steps: {sql}");
    };
    for (outcome, ids) in [
        ("failed", &["job_1_7"][..]),
        ("interrupted", &["job_1_11", "job_0_8"]),
        ("skipped", &["job_1_9"]),
        ("misfire", &["job_1_9"]),
        ("overlap", &[]),
        ("running", &["job_0_10"]),
        ("queued", &["job_0_12"]),
        ("no such word", &[]),
    ] {
        let filter = Filter { outcome: Some(outcome), ..Filter::default() };
        is_found(filter, ids);
        is_found(Filter { before: Some(&before), ..filter }, ids);
    }
    let of_job = |outcome| {
        let filter = Filter { job: Some(&job), outcome: Some(outcome), ..Filter::default() };
        history.found(&filter, 50).unwrap().len()
    };
    let counts = ["failed", "interrupted", "skipped", "running", "queued", "succeeded"].map(of_job);
    assert_eq!(counts, [1, 1, 1, 0, 0, 50]);
}

/// What is open is asked for by each look at a daemon, and at the start.
#[test]
fn what_is_open_is_found_without_reading_what_is_over() {
    let temp = tempfile::tempdir().unwrap();
    let _alive = long(temp.path());
    let history = History::open(temp.path()).unwrap().unwrap();
    let open = history.open_runs().unwrap();
    let ids: Vec<&str> = open.iter().map(|open| open.record.run_id.as_str()).collect();
    assert_eq!(ids, ["job_0_10", "job_0_12"]);
    for terms in ["", "AND +job = 'job_0'"] {
        let sql = select(&format!("{OWNED} {terms} {IN_ORDER}"));
        let mut statement = history.state.connection().prepare(&sql).unwrap();
        let mut rows = statement.query(()).unwrap();
        while rows.next().unwrap().is_some() {}
        drop(rows);
        let steps = statement.get_status(StatementStatus::VmStep);
        assert!(i64::from(steps) < ROWS, "{steps} steps: {sql}");
    }
}

#[test]
fn a_run_and_its_output_are_found_by_id_however_long_the_history_is() {
    let temp = tempfile::tempdir().unwrap();
    let _alive = long(temp.path());
    let history = History::open(temp.path()).unwrap().unwrap();
    let output = |id: &str| history.output(id).unwrap();
    assert_eq!(output("job_0_3000"), Output::NotKept);
    assert_eq!(output("job_1_9"), Output::NotKept, "skipped");
    for none in ["job_0_3001", "job_0_9", "job", "", "other_3000"] {
        assert_eq!(output(none), Output::NoSuchRun, "{none}");
    }
    let plan = |kind: &str| {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT max(seq) FROM runs WHERE job = 'a' AND scheduled_for >= 1 AND scheduled_for < 2
                 AND {kind} AND run_id = 'b'"
        );
        let read = |row: &SqlRow<'_>| row.get::<_, String>("detail");
        rows(history.state.connection(), &sql, (), read).unwrap().join("\n")
    };
    for kind in KINDS {
        let plan = plan(kind);
        assert!(plan.contains("SEARCH") && plan.contains("scheduled_for"), "{kind}: {plan}");
    }
}
