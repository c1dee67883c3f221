use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::clock::ManualClock;
use crate::logging;

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

#[test]
fn the_compiler_says_where_a_line_stands() {
    for (module, inside, expected) in [
        (
            "aclarai_scheduler::scheduler::tick",
            "aclarai_scheduler::scheduler::tick::Tick::record::here",
            "tick.record",
        ),
        (
            "aclarai_scheduler::scheduler::tick::stop",
            "aclarai_scheduler::scheduler::tick::stop::<impl aclarai_scheduler::scheduler::tick::Tick>::press_stop::here",
            "stop.press_stop",
        ),
        (
            "aclarai_scheduler::jobs::command",
            "<aclarai_scheduler::jobs::command::CommandJob as aclarai_scheduler::job::Job>::run::{{closure}}::{{closure}}::here",
            "command.run",
        ),
    ] {
        assert_eq!(place(module, inside), expected);
    }
    struct Deep<T>(T);
    impl<T> Deep<T> {
        fn told(&self) -> String {
            fn here() {}
            let closure = || place(module_path!(), std::any::type_name_of_val(&here));
            closure()
        }
    }
    assert_eq!(Deep(1).told(), "tests.told");
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
        let log = init(LogFormat::Json, LevelFilter::Info, clock.clone());
        let second = init(LogFormat::Text, LevelFilter::Trace, clock);
        second.set_level(LevelFilter::Trace);
        logging::debug!("too fine");
        logging::info!(count = 0; "coarse enough");
        log.set_level(LevelFilter::Debug);
        logging::debug!(count = 1; "fine enough");
        ::log::debug!(target: "neo4rs::pool", "a password");
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
            r#""filename.function_name":"tests.a_process_goes_on_whatever_becomes_of_its_log","message":"coarse enough","count":0"#
        ) + &line(
            "DEBUG",
            r#""filename.function_name":"tests.a_process_goes_on_whatever_becomes_of_its_log","message":"fine enough","count":1"#
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
        let log = init(LogFormat::Json, LevelFilter::Info, clock);
        log.never_block();
        for n in 0..LINES {
            logging::info!(n; "{}", "long ".repeat(1_000));
        }
        println!("went on");
        io::stdin().read_line(&mut String::new()).unwrap();
        logging::info!("read again");
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
