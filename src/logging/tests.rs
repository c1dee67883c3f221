use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::clock::ManualClock;
use crate::config::JobName;
use crate::job::{RunId, SkipReason, Trigger};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn noon() -> DateTime<Utc> {
    at("2026-11-23T12:00:00.25Z")
}

fn line(
    write: impl FnOnce(&mut Vec<u8>, &Record<'_>) -> io::Result<()>,
    message: &str,
    facts: &Facts,
) -> String {
    let mut line = Vec::new();
    let args = format_args!("{message}");
    let record = Record::builder()
        .level(Level::Warn)
        .target("walk.read_folder")
        .args(args)
        .key_values(facts)
        .build();
    write(&mut line, &record).unwrap();
    String::from_utf8(line).unwrap()
}

fn json(message: &str, facts: &Facts) -> String {
    line(|out, record| write_json(out, record, noon()), message, facts)
}

/// As it looks without colours.
fn text(message: &str, facts: &Facts) -> String {
    let line = line(|out, record| write_text(out, record, noon()), message, facts);
    let mut plain = String::new();
    let mut escaped = false;
    for c in line.chars() {
        escaped |= c == '\x1b';
        if !escaped {
            plain.push(c);
        }
        escaped &= c != 'm';
    }
    plain
}

fn facts(json: &str) -> Facts {
    Facts(serde_json::from_str(json).unwrap())
}

#[test]
fn a_json_line_has_its_fields_in_order_and_its_values_typed() {
    assert_eq!(
        json(
            "folder left out",
            &facts(r#"{"path":"a b","files":3,"left":-1,"s":2.5,"ok":true,"gone":null}"#)
        ),
        concat!(
            r#"{"timestamp":"2026-11-23T12:00:00.250Z","level":"WARNING","service":"aclarai-scheduler","#,
            r#""filename.function_name":"walk.read_folder","message":"folder left out","#,
            r#""path":"a b","files":3,"left":-1,"s":2.5,"ok":true,"gone":null}"#,
            "\n"
        )
    );
}

#[test]
fn a_text_line_says_the_same_to_a_person() {
    assert_eq!(
        text(
            "folder left out",
            &facts(r#"{"path":"a b","files":3,"ok":true,"kind":"x","none":""}"#)
        ),
        "2026-11-23T12:00:00.250Z WARNING folder left out path=\"a b\" files=3 ok=true kind=x none=\"\" \
         (walk.read_folder)\n"
    );
}

#[test]
fn nothing_logged_can_break_a_line_or_hide_in_it() {
    let facts =
        facts(r#"{"line":"a\nb\u001b[2J","a\nb":1,"message":"forged","turned":"\u202eabc"}"#);
    assert_eq!(
        text("two\nlines é", &facts),
        "2026-11-23T12:00:00.250Z WARNING two\\nlines é line=\"a\\nb\\u{1b}[2J\" a\\nb=1 message=forged \
         turned=\"\\u{202e}abc\" (walk.read_folder)\n"
    );
    let json = json("two\nlines", &facts);
    assert_eq!(json.lines().count(), 1);
    let parsed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["message"], "two\nlines");
}

#[test]
fn a_line_names_file_and_function_or_else_its_module() {
    for (target, place) in [
        ("scheduler.run_job", "scheduler.run_job"),
        ("aclarai_scheduler::graph::wrap", "graph.wrap"),
        ("aclarai_scheduler::scheduler::tick::rounds", "tick.rounds"),
        ("aclarai_scheduler::state", "state"),
        ("neo4rs::pool", "neo4rs.pool"),
        ("my_jobs", "my_jobs"),
    ] {
        assert_eq!(place_of(&Record::builder().target(target).build()), place, "{target}");
    }
}

fn record(state: RunState) -> RunRecord {
    let job = JobName::new("vault_sync");
    let scheduled_for = at("2024-12-15T10:40:00Z");
    RunRecord {
        run_id: RunId::new(&job, scheduled_for),
        job,
        trigger: Trigger::Schedule,
        state,
        reason: None,
        scheduled_for,
        last_scheduled_for: scheduled_for,
        count: 1,
        coalesced: 0,
        decided_at: scheduled_for,
        started_at: None,
        finished_at: None,
        lateness_s: 0.0123,
        queue_wait_s: Some(0.0004),
        duration_s: Some(2.1000004),
        attempt: 1,
        error: None,
        stats: Map::new(),
    }
}

#[test]
fn what_dashboards_read_of_a_run() {
    let show = |record: &RunRecord| Value::Object(facts_of(record)).to_string();
    let mut finished = record(RunState::Succeeded);
    finished.stats = facts(r#"{"blocks_updated":3,"duration":7,"level":"x"}"#).0;
    assert_eq!(
        show(&finished),
        r#"{"job_id":"vault_sync_1734259200","job_name":"vault_sync","duration":2.1,"success":true,"blocks_updated":3,"stats.duration":7,"stats.level":"x"}"#
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
    let skipped = RunRecord {
        reason: Some(SkipReason::Misfire),
        count: 2,
        last_scheduled_for: at("2024-12-15T11:10:00Z"),
        ..record(RunState::Skipped)
    };
    assert_eq!(
        show(&skipped),
        r#"{"reason":"misfire","job_id":"vault_sync_1734259200","job_name":"vault_sync","count":2,"first":"2024-12-15T10:40:00Z","last":"2024-12-15T11:10:00Z"}"#
    );
}

#[test]
fn facts_come_out_of_the_log_crate_as_they_went_in() {
    let facts = facts(r#"{"a":18446744073709551615,"b":-5,"c":0.5,"d":"x","e":false,"f":null}"#);
    let record = Record::builder().key_values(&facts).build();
    let mut seen = Map::new();
    for_each_fact(&record, |key, value| {
        seen.insert(key, value);
    });
    assert_eq!(seen, facts.0);
}

#[test]
fn a_bar_makes_room_for_each_line_and_only_while_it_is_there() {
    let clock = Arc::new(ManualClock::at(noon()));
    let mut stderr = Stderr { format: LogFormat::Text, clock, lost: 0, torn: false };
    let mut write = || assert_eq!(stderr.write(b"").unwrap(), 0);
    let suspended = Arc::new(Mutex::new(0));
    let count = Arc::clone(&suspended);
    let shared = Logging { in_charge: true }.share_with_bar(move |write| {
        *count.lock().unwrap() += 1;
        write();
    });
    write();
    drop(shared);
    write();
    assert_eq!(*suspended.lock().unwrap(), 1);
}

/// A line whose target is forgotten, or stale after a function was renamed, is found here and not by an operator.
#[test]
fn every_line_of_this_crate_names_its_file_and_function() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut wrong = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
                let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
                let file = path.file_stem().unwrap().to_str().unwrap();
                let file = if file == "mod" { folder } else { file };
                let lines = untargeted(file, code).into_iter();
                wrong.extend(lines.map(|line| format!("{}: {line}", path.display())));
            }
        }
    }
    let rule = "write log::info!(target: \"FILE.FUNCTION\", ...) with the function it stands in";
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

/// The log lines in `code` whose target is not `file` and one of its functions.
fn untargeted<'a>(file: &str, code: &'a str) -> Vec<&'a str> {
    let mut wrong = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace", "log"] {
        for (at, call) in code.match_indices(&format!("log::{level}!(")) {
            let begin = code[..at].rfind('\n').map_or(0, |newline| newline + 1);
            let line = code[begin..].lines().next().unwrap().trim();
            let target = code[at + call.len()..].trim_start().strip_prefix("target: \"");
            let place = target.and_then(|target| target.split('"').next()?.split_once('.'));
            let right = place.is_some_and(|(named, function)| {
                let known = ['(', '<'].iter().any(|c| code.contains(&format!("fn {function}{c}")));
                named == file && known
            });
            if !right && !line.starts_with("//") {
                wrong.push(line);
            }
        }
    }
    wrong
}

const CHILD: &str = "ACLARAI_TEST_LOGGING_CHILD";

/// Runs a test of this file as a process of its own, since a process has one logger. That process finds [`CHILD`] set.
fn as_child(test: &str, stderr: Stdio) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("logging::tests::{test}"), "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap()
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn a_process_goes_on_whatever_becomes_of_its_log() {
    if is_child() {
        let clock = Arc::new(ManualClock::at(noon()));
        let logging = init(LogFormat::Json, LevelFilter::Info, clock.clone());
        let second = init(LogFormat::Text, LevelFilter::Trace, clock);
        second.set_level(LevelFilter::Trace);
        log::debug!(target: "tests.child", "too fine");
        log_run(&record(RunState::Succeeded));
        logging.set_level(LevelFilter::Debug);
        log::debug!(target: "tests.child", count = 1; "fine enough");
        log::debug!(target: "neo4rs::pool", "a password");
        println!("went on");
        return;
    }
    let run = |stderr| as_child("a_process_goes_on_whatever_becomes_of_its_log", stderr);
    let line = |level: &str, rest: &str| {
        format!(
            r#"{{"timestamp":"2026-11-23T12:00:00.250Z","level":"{level}","service":"aclarai-scheduler",{rest}}}"#
        ) + "\n"
    };
    let read = run(Stdio::piped()).wait_with_output().unwrap();
    assert!(read.status.success());
    assert_eq!(
        String::from_utf8(read.stderr).unwrap(),
        line(
            "INFO",
            r#""filename.function_name":"scheduler.run_job","message":"run finished","job_id":"vault_sync_1734259200","job_name":"vault_sync","duration":2.1,"success":true"#
        ) + &line(
            "DEBUG",
            r#""filename.function_name":"tests.child","message":"fine enough","count":1"#
        )
    );
    let mut closed = run(Stdio::piped());
    drop(closed.stderr.take());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    for child in [closed, run(full.into())] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("went on"));
    }
}

#[test]
fn a_reader_that_stops_reading_costs_lines_which_are_counted() {
    const LINES: u64 = 3_000;
    if is_child() {
        let clock = Arc::new(ManualClock::at(noon()));
        let logging = init(LogFormat::Json, LevelFilter::Info, clock);
        logging.never_block();
        for n in 0..LINES {
            log::info!(target: "tests.child", n; "{}", "long ".repeat(1_000));
        }
        println!("went on");
        io::stdin().read_line(&mut String::new()).unwrap();
        log::info!(target: "tests.child", "read again");
        return;
    }
    let mut child =
        as_child("a_reader_that_stops_reading_costs_lines_which_are_counted", Stdio::piped());
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(stdout.any(|line| line.unwrap().contains("went on")), "blocked by its log");
    let mut stderr = child.stderr.take().unwrap();
    let mut read = vec![0; 20_000];
    stderr.read_exact(&mut read).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    stderr.read_to_end(&mut read).unwrap();
    assert!(child.wait().unwrap().success());

    let lines = String::from_utf8(read).unwrap();
    let whole: Vec<Value> = lines.lines().flat_map(serde_json::from_str).collect();
    let [.., loss, last] = &whole[..] else { panic!("too few lines: {lines}") };
    assert_eq!(last["message"], "read again");
    assert_eq!(loss["filename.function_name"], "logging.put");
    assert_eq!(loss["lines"].as_u64().unwrap(), LINES + 2 - whole.len() as u64);
}
