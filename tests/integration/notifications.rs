//! Somebody is told: the examples of docs/notifications.md as they stand there, against small servers of this test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::docs::{blocks_of, say};
use crate::sandbox::Sandbox;
use crate::wait::{wait_for, wait_until};

/// What a server of this test has heard, one message each.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn wait(&self, count: usize) -> Vec<String> {
        wait_for(&format!("{count} messages"), || {
            let heard = self.0.lock().unwrap();
            (heard.len() >= count).then(|| heard.clone())
        })
    }
}

/// A server that hands each connection to `talk`; returns its address.
fn server(talk: impl Fn(TcpStream) -> String + Send + 'static) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = Heard::default();
    let collected = heard.clone();
    let listen = move || {
        for connection in listener.incoming().flatten() {
            let message = talk(connection);
            collected.0.lock().unwrap().push(message);
        }
    };
    // It ends with the test binary.
    let thread = std::thread::Builder::new().name("server".to_owned()).spawn(listen);
    drop(thread.unwrap());
    (address, heard)
}

/// Takes one HTTP request: first line, headers in lower case, body.
fn http(connection: TcpStream) -> String {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut message = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        message += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (&connection)
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    message + &String::from_utf8(body).unwrap()
}

/// Takes one mail.
fn smtp(connection: TcpStream) -> String {
    let mut answers = connection.try_clone().unwrap();
    let mut answer = |line: &str| answers.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    answer("220 here");
    let (mut message, mut is_data) = (String::new(), false);
    for line in BufReader::new(connection).lines() {
        let Ok(line) = line else { break };
        message += &format!("{line}\n");
        match line.split(' ').next().unwrap() {
            "." => (is_data, ()) = (false, answer("250 taken")),
            _ if is_data => {}
            "DATA" => (is_data, ()) = (true, answer("354 go on")),
            "QUIT" => {
                answer("221 bye");
                break;
            }
            _ => answer("250 fine"),
        }
    }
    message
}

/// The examples of the page, in order.
fn example(n: usize) -> String {
    blocks_of("docs/notifications.md", "yaml").remove(n)
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        say(&format!("not run: there is no {program} here"));
    }
    found
}

const JOBS: &str = r#"
  jobs:
    report: {command: [sh, -c, "echo counted; echo 'no \"luck\"' >&2; test -e good"]}
"#;

/// The example with the name of its server replaced, and a job that fails until the file `good` is there.
fn sandbox(example: &str, name: &str, address: &str) -> Sandbox {
    assert!(example.contains(name), "{example}");
    Sandbox::new(&(example.replace(name, address) + JOBS))
}

#[test]
fn a_mail_tells_of_a_failure_and_what_the_run_said() {
    if !has("curl") {
        return;
    }
    let (address, heard) = server(smtp);
    let sandbox = sandbox(&example(0), "mail.example.org:25", &address);
    sandbox.run(&["run", "report"]);
    let mail = heard.wait(1).remove(0);
    for line in [
        "MAIL FROM:<scheduler@example.org>",
        "RCPT TO:<me@example.org>",
        "Subject: report failed",
        "exit code 1: no \"luck\"",
        "In a row: 1, last success: never",
    ] {
        assert!(mail.lines().any(|found| found.starts_with(line)), "{line}\n---\n{mail}");
    }
    let run = mail.lines().find(|line| line.starts_with('{')).unwrap();
    let run: Value = serde_json::from_str(run).unwrap();
    assert_eq!((run["state"].as_str(), run["success"].as_bool()), (Some("failed"), Some(false)));
    let mut output: Vec<&str> = run["output"].as_str().unwrap().lines().collect();
    output.sort_unstable();
    assert_eq!(output, ["counted", "no \"luck\""]);
    let mut shown = sandbox.history(&[]).remove(0);
    shown["output"] = run["output"].clone();
    assert_eq!(run, shown);
}

#[test]
fn failures_in_a_row_are_told_ever_less_often_and_the_recovery_once() {
    if !has("curl") {
        return;
    }
    let (address, heard) = server(http);
    let sandbox = sandbox(&example(1), "ntfy.example.org", &address);
    for _ in 0..5 {
        assert_eq!(sandbox.run(&["run", "report"]).code, Some(1));
    }
    sandbox.write("good", "");
    for _ in 0..2 {
        assert_eq!(sandbox.run(&["run", "report"]).code, Some(0));
    }
    fs::remove_file(sandbox.path("good")).unwrap();
    sandbox.run(&["run", "report"]);
    let titles: Vec<String> = heard
        .wait(5)
        .iter()
        .map(|request| {
            assert!(request.starts_with("POST /my-topic "), "{request}");
            let title = request.lines().find_map(|line| line.strip_prefix("Title: ")).unwrap();
            format!("{title}: {}", request.lines().last().unwrap())
        })
        .collect();
    let failed = "report failed: exit code 1: no \"luck\"";
    // The first, second and fourth of five, the recovery, and the first of the next ones.
    assert_eq!(titles, [failed, failed, failed, "report works again: after 5 failures", failed]);
}

#[test]
fn a_dead_mans_switch_hears_of_each_success_and_failure() {
    if !has("curl") {
        return;
    }
    let (address, heard) = server(http);
    let sandbox = sandbox(&example(2), "ping.example.org", &address);
    sandbox.run(&["run", "report"]);
    sandbox.write("good", "");
    sandbox.run(&["run", "report"]);
    sandbox.run(&["run", "report"]);
    let lines: Vec<String> =
        heard.wait(3).iter().map(|request| request.lines().next().unwrap().to_owned()).collect();
    let ping = "GET /my-check HTTP/1.1";
    assert_eq!(lines, ["GET /my-check/fail HTTP/1.1", ping, ping]);
}

#[test]
fn web_hooks_get_json_whatever_the_error_holds() {
    if !(has("curl") && has("jq")) {
        return;
    }
    let body = |request: &str| -> Value {
        serde_json::from_str(
            request.split_once('{').map(|(_, rest)| format!("{{{rest}")).unwrap().as_str(),
        )
        .unwrap()
    };
    let text = "report failed: exit code 1: no \"luck\"";
    let (address, heard) = server(http);
    let slack = sandbox(&example(3), "hooks.example.org", &address);
    slack.run(&["run", "report"]);
    let request = heard.wait(1).remove(0);
    assert!(request.starts_with("POST /services/T0/B0/key "), "{request}");
    assert_eq!(body(&request)["text"], text);

    let (address, heard) = server(http);
    let mut matrix = sandbox(&example(4), "matrix.example.org", &address);
    matrix.variable("MATRIX_TOKEN", "secret");
    matrix.variable("MATRIX_ROOM", "!room:example.org");
    matrix.run(&["run", "report"]);
    let request = heard.wait(1).remove(0);
    let path = "PUT /_matrix/client/v3/rooms/!room:example.org/send/m.room.message/report_";
    assert!(request.starts_with(path), "{request}");
    assert!(request.contains("Authorization: Bearer secret"), "{request}");
    assert_eq!(
        (&body(&request)["body"], &body(&request)["msgtype"]),
        (&text.into(), &"m.text".into())
    );
}

#[test]
fn a_service_shows_what_failed_last() {
    if !has("systemd-notify") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let sandbox = sandbox(&example(5), "/run/my-alerts/notify", path.to_str().unwrap());
    sandbox.run(&["run", "report"]);
    let mut said = [0; 1024];
    let count = wait_for("what systemd-notify says", || socket.recv(&mut said).ok());
    assert_eq!(
        String::from_utf8_lossy(&said[..count]).trim(),
        "STATUS=report failed: exit code 1: no \"luck\""
    );
}

#[test]
fn a_daemon_tells_of_its_runs_and_of_a_configuration_that_it_refuses() {
    let yaml = r#"
scheduler:
  on_fault: [sh, -c, 'echo "$ACLARAI_FAULT: $ACLARAI_ERROR" >> fault; cat >> fault']
  job_defaults:
    on_failure: [sh, -c, 'echo "$ACLARAI_JOB_NAME $ACLARAI_OUTCOME" >> told']
  jobs:
    vault_sync: {enabled: false}
    due: {enabled: true, cron: "* * * * *", misfire_grace_time: 3600, command: ["false"]}
"#;
    let sandbox = Sandbox::with_downtime(yaml, 1);
    let daemon = sandbox.serve();
    let read = |name: &str| fs::read_to_string(sandbox.path(name)).unwrap_or_default();
    // Once more when the next minute begins.
    wait_until("the failure is told", || read("told").starts_with("due failed\n"));
    sandbox.configure("scheduler: {workers: none}");
    daemon.signal(rustix::process::Signal::HUP);
    wait_until("the refusal is told", || read("fault").ends_with('}'));
    let fault = read("fault");
    assert!(fault.starts_with("configuration: ") && fault.contains("workers"), "{fault}");
    daemon.stop();
}

#[test]
fn a_command_that_fails_is_a_warning_and_nothing_else() {
    let sandbox = Sandbox::new(
        r#"
scheduler:
  jobs:
    works: {on_success: [sh, -c, "echo nobody there >&2; exit 7"], command: ["true"]}
"#,
    );
    let run = sandbox.run(&["--log-format", "json", "run", "works"]);
    assert_eq!(run.code, Some(0));
    let warning = run.stderr.lines().find(|line| line.contains("on_success")).unwrap();
    let warning: Value = serde_json::from_str(warning).unwrap();
    assert_eq!(warning["level"], "WARNING");
    assert_eq!(
        warning["message"],
        "command that tells somebody has failed: perhaps nobody was told"
    );
    assert_eq!(warning["error"], "exit code 7: nobody there");
    assert_eq!(sandbox.history(&[]).len(), 1);
}
