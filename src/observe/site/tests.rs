use std::collections::BTreeMap;

use super::*;
use crate::clock::ManualClock;
use crate::config::Env;
use crate::observe::counters::Counters;
use crate::scheduler::Status;

struct Rig {
    folder: tempfile::TempDir,
    counters: Shared,
    site: Site,
}

impl Rig {
    fn new(yaml: &str) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let now = "2026-08-24T12:00:00Z".parse().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now));
        let counters = Shared::new(Counters::new(now));
        let known = Rig::known(folder.path(), yaml);
        let site = Site::new(clock, counters.clone(), known);
        Rig { folder, counters, site }
    }

    fn known(folder: &std::path::Path, yaml: &str) -> Known {
        let env = Env::new(folder, [("HOME", folder), ("STATE_DIRECTORY", &folder.join("state"))]);
        let yaml = yaml.trim_start_matches("{}");
        let yaml = format!("paths: {{vault: {:?}}}\n{yaml}", folder.to_str().unwrap());
        let config = crate::config::from_text(&yaml, "c.yaml", &Default::default(), &env).unwrap();
        Known::of(&config, &BTreeMap::new(), &env)
    }

    fn get(&self, path: &str) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        self.site.answer(&Asked {
            method: "GET".to_owned(),
            hosts: vec!["localhost:9464".to_owned()],
            path: path.to_owned(),
            query: query.to_owned(),
            ..Asked::default()
        })
    }

    #[track_caller]
    fn says(&self, path: &str, status: u16, words: &str) {
        let answer = self.get(path);
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, status, "{path}: {body}");
        assert!(body.contains(words), "{path}: {body}");
    }
}

#[test]
fn a_name_that_somebody_else_made_lead_here_is_refused() {
    let hosts = ["notes.example.org".to_owned()];
    for host in [
        "127.0.0.1",
        "127.0.0.1:9464",
        "192.168.1.5:80",
        "[::1]:9464",
        "[fe80::1]",
        "localhost",
        "LOCALHOST:1",
        "notes.example.org",
        "Notes.Example.ORG:443",
    ] {
        assert!(is_for_us(host, &hosts), "{host}");
    }
    for host in [
        "",
        "evil.example",
        "evil.example:9464",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "2130706433",
        "127.1",
        "0x7f.0.0.1",
        "[::1",
        "::1",
        "[evil]",
        "localhost:x",
        "127.0.0.1:",
        "a@localhost",
        "localhost,evil",
        "notes.example.org.",
        " localhost",
    ] {
        assert!(!is_for_us(host, &hosts), "{host}");
    }
}

#[test]
fn a_request_names_one_host_and_only_looks() {
    let rig = Rig::new("scheduler: {listen_hosts: [notes.example.org]}");
    let ask = |method: &str, hosts: &[&str], is_old| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let (method, path) = (method.to_owned(), "/metrics".to_owned());
        rig.site.answer(&Asked { method, hosts, path, is_old, ..Asked::default() })
    };
    assert_eq!(ask("GET", &["localhost"], false).status, 200);
    assert_eq!(ask("HEAD", &["notes.example.org"], false).status, 200);
    assert_eq!(ask("GET", &["evil.example"], false).status, 421);
    assert_eq!(ask("GET", &["localhost", "evil.example"], false).status, 400);
    assert_eq!(ask("GET", &[], false).status, 400);
    assert_eq!(ask("GET", &[], true).status, 200, "HTTP/1.0 has no Host");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"] {
        let answer = ask(method, &["localhost"], false);
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.headers.contains(&("allow", "GET, HEAD")));
    }
    rig.site.renew(Rig::known(rig.folder.path(), "{}"));
    assert_eq!(ask("GET", &["notes.example.org"], false).status, 421, "by a reload");
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    let rig = Rig::new("{}");
    for path in [
        "/",
        "/metrics",
        "/healthz",
        "/api/v1/jobs",
        "/style.css",
        "/nothing",
        "/runs/none",
        "/api/v1/none",
    ] {
        let answer = rig.get(path);
        for header in HEADERS {
            assert!(answer.headers.contains(&header), "{path}: {header:?}");
        }
        let mut policies =
            answer.headers.iter().filter(|(name, _)| *name == "content-security-policy");
        assert!(policies.next_back().unwrap().1.starts_with(POLICY), "{path}");
    }
}

#[test]
fn ready_is_a_daemon_that_has_begun_and_is_neither_paused_nor_stopping() {
    let rig = Rig::new("{}");
    rig.says("/readyz", 503, "not begun yet");
    let tell = |status: Status| rig.counters.lock().observe(&status);
    tell(Status::default());
    rig.says("/readyz", 200, "ready\n");
    rig.says("/healthz", 200, "ok\n");
    tell(Status { paused: Some("AUTOMATION_PAUSE=on".to_owned()), ..Status::default() });
    rig.says("/readyz", 503, "paused by AUTOMATION_PAUSE=on\n");
    rig.says("/healthz", 200, "ok: paused by AUTOMATION_PAUSE=on\n");
    tell(Status { stopping: true, ..Status::default() });
    rig.says("/readyz", 503, "stopping\n");
}

#[test]
fn a_wrong_question_gets_an_answer_that_says_what_is_wrong() {
    let rig = Rig::new("{}");
    rig.says("/api/v1/history?n=0", 400, "n: write a number from 1 to 1000");
    rig.says("/api/v1/history?n=x", 400, "n: write a number");
    rig.says("/api/v1/history?outcome=good", 400, "outcome: ");
    rig.says("/api/v1/history?job=nobody", 404, "no job is named");
    rig.says("/api/v1/history?job=vault%5Fsync&n=5", 200, "[]");
    rig.says("/api/v1/runs/none_1", 404, "no run has the id");
    rig.says("/api/v1/nothing", 404, "there are status, jobs, history");
    rig.says("/runs/none_1", 404, "There is nothing at this address.");
    rig.says("/jobs/%ff", 404, "There is nothing at this address.");
}

#[test]
fn open_metrics_is_given_to_those_who_prefer_it() {
    for accept in [
        "application/openmetrics-text",
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        "text/plain, application/openmetrics-text",
    ] {
        assert!(prefers_open_metrics(accept), "{accept}");
    }
    for accept in [
        "",
        "*/*",
        "text/plain",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=0.1, text/plain;q=0.9",
        "application/openmetrics-text;q=x",
    ] {
        assert!(!prefers_open_metrics(accept), "{accept}");
    }
}

#[test]
fn an_address_is_decoded_once_and_only_to_text() {
    for (given, expected) in [
        ("a%2Fb", Some("a/b")),
        ("%252F", Some("%2F")),
        ("%C3%A9", Some("é")),
        ("plain", Some("plain")),
        ("%", None),
        ("%2", None),
        ("%zz", None),
        ("%+1", None),
        ("%ff", None),
    ] {
        assert_eq!(percent_decoded(given).as_deref(), expected, "{given}");
    }
}

#[test]
fn a_refused_configuration_is_shown_until_another_is_in_force() {
    let rig = Rig::new("{}");
    rig.site.refuse("scheduler.worker: there is no such setting <b>");
    rig.says("/", 200, "The new configuration was refused.");
    rig.says("/", 200, "there is no such setting &lt;b&gt;");
    rig.says("/attention", 200, "1 thing waits for a person.");
    rig.site.renew(Rig::known(rig.folder.path(), "{}"));
    rig.says("/", 200, "All is well.");
    rig.says("/attention", 200, "Nothing waits for a person.");
}

#[test]
fn a_pause_is_seen_at_once() {
    let rig = Rig::new("{}");
    rig.says("/", 200, "All is well.");
    std::fs::write(rig.folder.path().join(".aclarai_pause"), "").unwrap();
    rig.says("/", 200, "Nothing runs by its schedule: paused.");
    rig.says("/api/v1/status", 200, ".aclarai_pause");
}
