//! The page, the metrics and the health check, served by a real daemon: to a browser, to a text browser, to Prometheus'
//! own tool, and to clients that mean no good.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::docs::say;
use crate::sandbox::{Daemon, PROGRAM, Sandbox};
use crate::wait::{PATIENCE, wait_for, wait_until};

/// A job that never runs by itself, beside the sync.
const QUIET: &str = "scheduler:
  listen: 127.0.0.1:0
  jobs:
    vault_sync: {enabled: false}
    report: {enabled: true, cron: '0 8 * * 1-5', timezone: Europe/Berlin, description: 'A <report> for Ada', command: [sh, -c, 'echo done; exit 3'], keep_output: always}
    תיוק: {enabled: true, manual_only: true, command: ['true']}
";

/// Where the daemon listens, by its own word.
#[track_caller]
fn address(daemon: &Daemon) -> String {
    daemon.wait_for_line("listening")["address"].as_str().unwrap().to_owned()
}

/// Sends bytes and reads to the end of the connection. What was read before a reset counts.
fn speak(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut part = [0; 65_536];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return answer,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return answer,
        }
    }
}

/// The head and the body of an answer.
#[track_caller]
fn get_with(address: &str, path: &str, headers: &str) -> (String, String) {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    let answer = String::from_utf8(speak(address, request.as_bytes())).unwrap();
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {path}: {answer:?}"));
    (head.to_owned(), body.to_owned())
}

/// The body of an answer that is a success.
#[track_caller]
fn get(address: &str, path: &str) -> String {
    let (head, body) = get_with(address, path, "");
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}\n{body}");
    body
}

/// Waits until the daemon has done its first round, which may be after it says that it has started.
#[track_caller]
fn wait_ready(address: &str) {
    wait_until("the daemon to be ready", || get_with(address, "/readyz", "").1 == "ready\n");
}

/// A program that this machine may lack, with the reason in the test's output.
fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status();
    let has = found.is_ok_and(|status| status.success());
    if !has {
        say(&format!("not looked at: {program} is not here"));
    }
    has
}

#[test]
fn what_is_served_is_what_the_commands_print() {
    let sandbox = Sandbox::new(QUIET);
    assert_eq!(sandbox.run(&["run", "report"]).code, Some(1));
    let daemon = sandbox.serve();
    let address = address(&daemon);
    let said = |arguments: &[&str]| -> Value {
        serde_json::from_str(&sandbox.run(arguments).stdout).unwrap()
    };
    let served = |path: &str| -> Value {
        serde_json::from_str(&sandbox.plain(get(&address, path).as_bytes())).unwrap()
    };
    assert_eq!(served("/api/v1/status"), said(&["status", "--json"]));
    assert_eq!(served("/api/v1/jobs"), said(&["jobs", "--json"]));
    let history = said(&["history", "--json"]);
    assert_eq!(served("/api/v1/history"), history);
    assert_eq!(served("/api/v1/history?job=report&outcome=failed&n=1"), history);
    assert_eq!(served("/api/v1/history?outcome=succeeded"), serde_json::json!([]));
    let id = history[0]["job_id"].as_str().unwrap();
    assert_eq!(served(&format!("/api/v1/runs/{id}")), history[0]);
    assert_eq!(served(&format!("/api/v1/history?before={id}")), serde_json::json!([]));
    let page = get(&address, "/");
    for words in [
        "A job needs a look.",
        "report",
        "exit code 3",
        "Mon-Fri at 08:00 Europe/Berlin",
        "A &lt;report&gt; for Ada",
        "תיוק",
        "by hand only",
    ] {
        assert!(page.contains(words), "{words} is not on the page: {page}");
    }
    let run = get(&address, &format!("/runs/{id}"));
    assert!(run.contains("done\n</pre>"), "{run}");
    assert!(get(&address, "/jobs/report").contains("misfire_grace_time"));
    assert!(get(&address, "/jobs/%D7%AA%D7%99%D7%95%D7%A7").contains("It never ran."));
    assert!(get(&address, "/docs/troubleshooting").contains("id=\"the-state-folder\""));
    assert!(get(&address, "/attention").contains("Nothing waits for a person."));
    assert_eq!(get(&address, "/healthz"), "ok\n");
    wait_ready(&address);
    let (head, _) = get_with(&address, "/", "");
    let head = head.to_lowercase();
    assert!(!head.contains("set-cookie"), "{head}");
    for header in [
        "content-security-policy: default-src 'none'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
    daemon.stop();
}

#[test]
fn an_address_that_cannot_be_had_ends_the_start_before_anything_is_scheduled() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let sandbox = Sandbox::new("");
    let run = sandbox.run(&["serve", "--listen", &address]);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    let last = run.stderr.lines().last().unwrap();
    assert!(last.starts_with(&format!("error: cannot listen on {address}: ")), "{last}");
    assert!(last.ends_with("stop it, or choose another port"), "{last}");
    assert!(!sandbox.path("state").exists(), "nothing was begun");
    let run = sandbox.run(&["serve", "--listen", "localhost:80"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(
        run.stderr.contains("--listen: \"localhost:80\": \"localhost\" is a name"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_socket_serves_its_owner_and_group_and_goes_with_the_daemon() {
    let mut sandbox = Sandbox::new("");
    let socket = sandbox.path("http.sock");
    sandbox.variable("ACLARAI_LISTEN", &format!("unix:{}", socket.display()));
    let daemon = sandbox.serve();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    // A client that has said all and waits is answered.
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    daemon.stop();
    assert!(!socket.exists());
}

/// As a socket unit of systemd's does it.
#[test]
fn a_socket_that_is_handed_over_is_taken_instead_of_the_configured_address() {
    if !has("python3") {
        return;
    }
    let sandbox = Sandbox::new("scheduler: {listen: '127.0.0.1:1'}");
    let script = "import os, socket, sys
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])";
    let program = sandbox.write("hand_over.py", script);
    let line = format!("exec python3 {} {PROGRAM} serve", program.display());
    let daemon = sandbox.start_shell(&line);
    let address = address(&daemon);
    assert!(address.starts_with("127.0.0.1:") && address != "127.0.0.1:1", "{address}");
    assert_eq!(get(&address, "/healthz"), "ok\n");
    daemon.stop();
}

#[test]
fn health_and_readiness_follow_the_daemon() {
    let sandbox = Sandbox::new(QUIET);
    let daemon = sandbox.serve();
    let address = address(&daemon);
    wait_ready(&address);
    assert_eq!(sandbox.run(&["pause"]).code, Some(0));
    wait_until("the tick to see the pause", || {
        get_with(&address, "/readyz", "").0.contains(" 503 ")
    });
    assert!(get(&address, "/healthz").starts_with("ok: paused by "));
    assert!(get(&address, "/").contains("Nothing runs by its schedule: paused."));
    sandbox.configure("scheduler: {worker: 1}");
    daemon.signal(rustix::process::Signal::HUP);
    daemon.wait_for_line("configuration not reloaded, the old one stays in force");
    assert!(get(&address, "/").contains("did you mean workers?"));
    daemon.stop();
}

/// `promtool` reads the older form alone. To it, the samples of a counter in OpenMetrics belong to no family, so it misses
/// their help; everything else has to be right in that form too.
#[test]
fn prometheus_own_tool_has_nothing_against_the_metrics() {
    let sandbox = Sandbox::new(QUIET);
    sandbox.run(&["run", "report"]);
    let daemon = sandbox.serve();
    let address = address(&daemon);
    let (_, plain) = get_with(&address, "/metrics", "");
    let (head, open) = get_with(&address, "/metrics", "Accept: application/openmetrics-text\r\n");
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"), "{open}");
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
        let sample = |text: &str| text.lines().any(|line| line.starts_with(&format!("{name} ")));
        assert!(sample(&plain) && sample(&open), "{name}: {plain}");
    }
    assert!(open.contains("# TYPE aclarai_scheduler_runs counter\n"), "{open}");
    assert!(plain.contains("# TYPE aclarai_scheduler_runs_total counter\n"), "{plain}");
    daemon.stop();
    if !has("promtool") {
        return;
    }
    let complaints = |text: &str| {
        let mut tool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = tool.wait_with_output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert_eq!(complaints(&plain), "");
    let of_open = complaints(&open);
    assert!(of_open.lines().all(|line| line.ends_with("_total no help text")), "{of_open}");
}

/// A real browser, which shows nothing to anybody.
fn browser(sandbox: &Sandbox) -> Command {
    let mut browser = Command::new("chromium");
    browser
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args([
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", sandbox.path("chromium").display()),
        ])
        .env("HOME", sandbox.path("home"))
        .stdin(Stdio::null());
    browser
}

/// Names, descriptions, errors and output from outside, in a real browser: none of it acts.
#[test]
fn nothing_of_a_hostile_name_is_carried_out_in_a_real_browser() {
    if !has("chromium") {
        return;
    }
    let act = "<img/src=x/onerror=document.title='owned'>";
    let end = "</style></title><script>document.title='owned'</script>";
    let sandbox = Sandbox::new(&format!(
        "scheduler:\n  listen: 127.0.0.1:0\n  jobs:\n    vault_sync: {{enabled: false}}\n    \"{act}\": {{enabled: true, manual_only: true, \
         description: \"{end} \\u202Egnitirw {}\", command: [sh, -c, \"echo '{end}'; echo \\\"{act}\\\"; exit 1\"]}}\n",
        "long ".repeat(40_000)
    ));
    assert_eq!(sandbox.run(&["run", act]).code, Some(1));
    let daemon = sandbox.serve();
    let address = address(&daemon);
    let id = sandbox.history(&[])[0]["job_id"].as_str().unwrap().to_owned();
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    // As the page writes it.
    let in_address = |text: &str| {
        let byte = |byte: u8| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect::<String>()
    };
    for path in [
        "/".to_owned(),
        format!("/jobs/{}", encoded(act)),
        format!("/runs/{}", encoded(&id)),
        "/attention".to_owned(),
        "/docs/troubleshooting".to_owned(),
    ] {
        let seen = browser(&sandbox)
            // A request to anywhere else would be one that fails, and be told in the console.
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .args(["--virtual-time-budget=3000", "--dump-dom"])
            .arg("--enable-logging=stderr")
            .arg(format!("http://{address}{path}"))
            .output()
            .unwrap();
        let dom = String::from_utf8_lossy(&seen.stdout);
        let told = String::from_utf8_lossy(&seen.stderr);
        assert!(dom.contains("</html>"), "{path}: the browser showed nothing: {told}");
        assert!(!dom.contains("<title>owned"), "{path}: a name was carried out");
        assert!(!dom.contains("<img") && !dom.contains("\u{202e}"), "{path}");
        let console: Vec<&str> = told.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(console.is_empty(), "{path}: {console:?}");
        assert!(dom.len() < 200_000, "{path}: {} bytes", dom.len());
        if path == "/" {
            assert!(
                dom.contains("A job needs a look.") && dom.contains("onerror=document.title"),
                "{dom}"
            );
            // What the browser holds is what the command prints.
            let jobs: Value =
                serde_json::from_str(&sandbox.run(&["jobs", "--json"]).stdout).unwrap();
            for job in jobs.as_array().unwrap() {
                let name = job["job_name"].as_str().unwrap();
                let shown = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                assert!(dom.contains(&shown), "{name} is not on the page: {dom}");
                if let Some(id) = job["last"]["job_id"].as_str() {
                    assert!(dom.contains(&format!("/runs/{}", in_address(id))), "{id}: {dom}");
                }
            }
            // The script ran: times are in the zone of the browser, whose name no longer stands in the page's own words.
            assert!(dom.contains("title=\""), "{dom}");
        }
    }
    for path in ["/", "/page.js", "/style.css"] {
        let text = get(&address, path).replace("http://www.w3.org/2000/svg", "");
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("url("),
            "{path}"
        );
    }
    daemon.stop();
}

/// What is left of the page where there is neither style nor picture.
#[test]
fn a_text_browser_shows_the_page() {
    if !has("w3m") {
        return;
    }
    let sandbox =
        Sandbox::new(QUIET.replace("enabled: true, cron", "enabled: false, cron").as_str());
    let daemon = sandbox.serve();
    let address = address(&daemon);
    let seen = Command::new("w3m")
        .args(["-dump", "-cols", "100", "-no-cookie", "-O", "UTF-8"])
        .arg(format!("http://{address}/"))
        .env("HOME", sandbox.path("home"))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let text = String::from_utf8(seen.stdout).unwrap();
    // In this order, and the first line first.
    let mut rest = text.trim_start();
    assert!(rest.starts_with("Nothing is scheduled: no job is enabled."), "{text}");
    for words in [
        "Jobs",
        "Job",
        "Schedule",
        "report",
        "disabled",
        "History",
        "all",
        "failed",
        "Nothing is recorded yet",
        "Troubleshooting",
        "as of",
    ] {
        let at = rest
            .find(words)
            .unwrap_or_else(|| panic!("{words} is missing, or comes too early:\n{text}"));
        rest = &rest[at + words.len()..];
    }
    daemon.stop();
}

/// A thousand connections are more files than a process may have by default.
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// How much memory a process has, in bytes.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Those who hold connections, send without an end, or speak something else: jobs go on, memory stays, and others are
/// answered meanwhile.
#[test]
fn hostile_clients_delay_no_job_and_shut_nobody_out() {
    let sandbox = Sandbox::new(
        "scheduler:\n  listen: 127.0.0.1:0\n  jobs:\n    vault_sync: {enabled: false}\n    a: {enabled: true, cron: '@every 1 s', command: ['true']}\n",
    );
    let daemon = sandbox.serve();
    let address = address(&daemon);
    let get = |path: &str| get(&address, path);
    get("/");
    let before = resident(daemon.pid());
    // Slow ones: connected, and with half a head.
    allow_many_files();
    let mut slow: Vec<TcpStream> =
        (0..1_000).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for stream in &mut slow {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: ");
    }
    assert_eq!(get("/healthz"), "ok\n");
    let said = |request: &[u8]| String::from_utf8_lossy(&speak(&address, request)).into_owned();
    // A head larger than it may be, and one without an end.
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = said(long.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let answer = said(many.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    // Other protocols.
    for request in [
        &b"GET /\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let answer = said(request);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request:?}: {answer}");
    }
    // A body that nobody asked for, and two requests that disagree where the first ends.
    let answer = said(b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\nConnection: close\r\n\r\nx");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let answer = said(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 "), "{answer}");
    // Many requests in one piece, each answered in its turn.
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200)
        + "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(said(request.as_bytes()).matches("\r\n\r\nok\n").count(), 201);
    // Clients that go before they are answered.
    for _ in 0..200 {
        let mut stream = TcpStream::connect(&address).unwrap();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    // One that never reads what it asked for.
    let mut deaf = TcpStream::connect(&address).unwrap();
    for _ in 0..50 {
        let _ = deaf.write_all(b"GET /docs/troubleshooting HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert_eq!(get("/healthz"), "ok\n");
    drop(slow);
    let after = resident(daemon.pid());
    assert!(after < before + (24 << 20), "{before} -> {after}");
    // The thread that decides has gone on all the time.
    let runs = sandbox.history(&["--outcome", "succeeded"]).len();
    wait_for("three more runs", || {
        (sandbox.history(&["--outcome", "succeeded"]).len() >= runs + 3).then_some(())
    });
    let late =
        |run: &Value| run["lateness"].as_f64().unwrap() > Duration::from_secs(60).as_secs_f64();
    assert!(!sandbox.history(&[]).iter().any(late));
    daemon.stop();
}

/// Whether the daemon has ended a connection, which is not read from: its answers fill it.
fn is_cut_off(stream: &mut TcpStream) -> bool {
    // What arrives at a closed socket is answered with a reset, which the next write sees.
    stream.write_all(b"\r").is_err()
}

/// The bounds are 5 s for a head, 10 s for a request and 30 s between requests. This waits for each of them, all at once, and
/// says nothing of how long that takes; the bounds themselves are tested beside them.
#[test]
fn clients_that_make_it_wait_are_cut_off_and_others_are_not() {
    let sandbox = Sandbox::new(QUIET);
    let daemon = sandbox.serve();
    let address = address(&daemon);
    let connect = || TcpStream::connect(&address).unwrap();
    let silent = connect();
    // Each part comes in time, and the whole never.
    let mut dripping = connect();
    dripping.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    let mut idle = connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 17];
    idle.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK\r\n");
    // Asks for more than fits into a connection, and takes nothing of it.
    let mut deaf = connect();
    let request = "GET /docs/troubleshooting HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    deaf.write_all(request.as_bytes()).unwrap();
    wait_until("the end of a connection that drips", || dripping.write_all(b"a").is_err());
    for mut stream in [silent, idle] {
        // To its end: nothing more comes.
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).map_err(|error| {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "a connection that says nothing stays");
        });
    }
    wait_until("the end of a connection that takes no answer", || is_cut_off(&mut deaf));
    assert_eq!(get(&address, "/healthz"), "ok\n");
    daemon.stop();
}

/// Requests that mean something else to the next one who reads them.
#[test]
fn a_request_that_can_be_read_in_two_ways_is_not_answered_as_either() {
    let sandbox = Sandbox::new(QUIET);
    let daemon = sandbox.serve();
    let address = address(&daemon);
    wait_ready(&address);
    let said =
        |request: &str| String::from_utf8_lossy(&speak(&address, request.as_bytes())).into_owned();
    // The status of each answer in turn, on one connection.
    let answers = |request: &str| -> Vec<u16> {
        let text = said(request);
        let heads = text.split("HTTP/1.").skip(1);
        heads.map(|head| head[2..5].parse().unwrap()).collect()
    };
    let hidden = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (head, expected) in [
        // Two lengths, and two ways to tell where a body ends: nothing behind it is taken for a request.
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 46\r\n\r\n",
            &[400][..],
        ),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +46\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n", &[400]),
        // Two hosts, one that is folded, and one behind a space.
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            &[400],
        ),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n evil.example\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", &[400]),
        // The target's host outranks the header.
        (
            "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            &[421],
        ),
        (
            "GET http://localhost/readyz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            &[200],
        ),
        ("CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[405]),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[405]),
        (
            "GET /jobs/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            &[404],
        ),
        (
            "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            &[404],
        ),
        ("GET /runs/%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[404]),
    ] {
        let found = answers(&format!("{head}{hidden}"));
        assert_eq!(found, expected, "{head:?}");
    }
    // A body belongs to its request, whatever stands in it.
    let inside = format!(
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{hidden}",
        hidden.len()
    );
    assert_eq!(answers(&inside), [200]);
    // HEAD is told the length and gets no body.
    let head = said("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(head.to_lowercase().contains("content-length: 3\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    // Nothing is kept anywhere: what was not changed is sent all the same.
    let since = get_with(
        &address,
        "/healthz",
        "If-None-Match: *\r\nIf-Modified-Since: Thu, 01 Jan 2037 00:00:00 GMT\r\nRange: bytes=0-0\r\n",
    );
    assert!(since.0.starts_with("HTTP/1.1 200 "), "{}", since.0);
    assert_eq!(since.1, "ok\n");
    daemon.stop();
}

/// The checker of the W3C, which the gate brings along: `VNU_JAR` says where it is.
#[test]
fn the_pages_are_valid_html() {
    let Some(checker) = std::env::var_os("VNU_JAR") else {
        return say("not looked at: VNU_JAR does not name the W3C's checker");
    };
    if !has("java") {
        return;
    }
    let sandbox = Sandbox::new(QUIET);
    assert_eq!(sandbox.run(&["run", "report"]).code, Some(1));
    let daemon = sandbox.serve();
    let address = address(&daemon);
    let id = sandbox.history(&[])[0]["job_id"].as_str().unwrap().to_owned();
    let mut files = vec![sandbox.write("style.css", &get(&address, "/style.css"))];
    for (index, path) in [
        "/".to_owned(),
        "/?outcome=running".to_owned(),
        "/jobs/report".to_owned(),
        format!("/runs/{id}"),
        "/attention".to_owned(),
        "/docs/troubleshooting".to_owned(),
        "/nothing".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let (_, page) = get_with(&address, &path, "");
        files.push(sandbox.write(&format!("{index}.html"), &page));
    }
    daemon.stop();
    let checked = Command::new("java")
        .arg("-jar")
        .arg(checker)
        .arg("--also-check-css")
        .args(files)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && complaints.is_empty(), "{complaints}");
}

/// Kept for people, who look at what changed: light, dark and on a phone. `ACLARAI_SCREENSHOTS` says where.
#[test]
fn pictures_of_the_page_are_kept_where_they_are_asked_for() {
    let Some(folder) = std::env::var_os("ACLARAI_SCREENSHOTS").map(std::path::PathBuf::from) else {
        return say("not kept: ACLARAI_SCREENSHOTS names no folder for pictures of the page");
    };
    if !has("chromium") {
        return;
    }
    let sandbox = Sandbox::new(QUIET);
    assert_eq!(sandbox.run(&["run", "report"]).code, Some(1));
    let daemon = sandbox.serve();
    let address = address(&daemon);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, size, scheme) in
        [("light", "1440,1100", "1"), ("dark", "1440,1100", "0"), ("phone", "360,1400", "1")]
    {
        let picture = folder.join(format!("{name}.png"));
        let seen = browser(&sandbox)
            .arg(format!("--screenshot={}", picture.display()))
            .arg(format!("--window-size={size}"))
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("http://{address}/"))
            .output()
            .unwrap();
        assert!(picture.exists(), "{name}: {}", String::from_utf8_lossy(&seen.stderr));
    }
    daemon.stop();
}
