//! Command jobs with real programs and real signals, through the library as another crate would use it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use aclarai_scheduler::inside::config::{
    CommandSpec, GraphConfig, JobName, JobSpec, Params, RetryPolicy, RunPolicy, VaultConfig,
};
use aclarai_scheduler::inside::job::{
    Job, JobError, JobErrorKind, RunContext, RunId, RunOptions, RunReport, Trigger,
};
use aclarai_scheduler::inside::jobs::{CommandJob, Deps, Surroundings};
use aclarai_scheduler::inside::schedule::{Schedule, Zone};
use rustix::process::Signal;

use crate::sandbox::{PROGRAM, Sandbox};
use crate::wait::{children_of, processes_with, signal, wait_for, wait_until};
use aclarai_scheduler::inside::stop::Stop;

/// One command job, ready to run once.
struct Run {
    spec: JobSpec,
    id: RunId,
    stop: Stop,
    timeout: Option<Duration>,
    options: RunOptions,
    state: tempfile::TempDir,
}

fn sh(script: &str) -> Run {
    run(&["/bin/sh", "-c", script])
}

fn run(argv: &[&str]) -> Run {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static LISTENING: Once = Once::new();
    LISTENING.call_once(listen);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = JobName::new(&format!("test{}x{count}", std::process::id()));
    let zone = Zone::UTC;
    let spec = JobSpec {
        name: name.clone(),
        explicit_kind: None,
        enabled: true,
        manual_only: false,
        schedule: Schedule::parse("0 2 * * *", zone.clone()).unwrap(),
        after: None,
        timezone: zone,
        description: String::new(),
        policy: RunPolicy::default(),
        command: Some(CommandSpec {
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            working_dir: None,
            env: BTreeMap::new(),
        }),
        feed: None,
        params: Params::default(),
    };
    Run {
        id: RunId::new(&name, "2026-08-24T12:00:00Z".parse().unwrap()),
        spec,
        stop: Stop::new(),
        timeout: None,
        options: RunOptions::default(),
        state: tempfile::tempdir().unwrap(),
    }
}

impl Run {
    fn command(&mut self) -> &mut CommandSpec {
        self.spec.command.as_mut().unwrap()
    }

    fn go(&self) -> Result<RunReport, JobError> {
        let surroundings = Surroundings {
            vault: "/some/vault".into(),
            state_dir: self.state.path().to_owned(),
            environment: [("OF_DOTENV".to_owned(), "yes".to_owned())].into(),
            supervisor: PROGRAM.into(),
        };
        let deps = Deps {
            vault: VaultConfig {
                root: "/some/vault".into(),
                tiers: [None, None, None],
                whole: true,
            },
            graph: GraphConfig::Embedded { path: self.state.path().join("graph.db") },
            retries: RetryPolicy::default(),
            state_dir: self.state.path().to_owned(),
            sandbox: false,
            clock: Arc::new(SystemClock),
            surroundings: Arc::new(surroundings),
        };
        let job = CommandJob::from_spec(&self.spec, Arc::new(deps)).unwrap();
        let clock = SystemClock;
        let mut ctx: RunContext<'_> = RunContext::for_test();
        (ctx.run_id, ctx.job, ctx.clock) = (&self.id, &self.spec.name, &clock);
        ctx.trigger = Trigger::Schedule;
        ctx.scheduled_for = "2026-08-24T12:00:00Z".parse().unwrap();
        ctx.options = self.options;
        ctx.stop = match self.timeout {
            Some(timeout) => {
                let end = SystemClock.monotonic() + timeout;
                self.stop.with_deadline(end, Arc::new(SystemClock))
            }
            None => self.stop.clone(),
        };
        job.run(&ctx)
    }

    /// Runs in the background, does something meanwhile, and returns how the run ended.
    fn go_while(&self, meanwhile: impl FnOnce()) -> Result<RunReport, JobError> {
        std::thread::scope(|scope| {
            let running = scope.spawn(|| self.go());
            meanwhile();
            running.join().unwrap()
        })
    }

    /// Its living processes, supervisors not included: process number and name.
    fn processes(&self) -> Vec<(i32, String)> {
        processes_with(&format!("ACLARAI_JOB_ID={}", self.id))
    }

    fn wait_for_process(&self, name: &str) -> i32 {
        wait_for(name, || {
            self.processes().into_iter().find(|process| process.1 == name).map(|(pid, _)| pid)
        })
    }

    /// The lines that reached the log: `stdout one`.
    fn log(&self) -> Vec<String> {
        let log = LOG.lock().unwrap();
        log.iter().filter(|(id, _)| id == self.id.as_str()).map(|(_, line)| line.clone()).collect()
    }

    #[track_caller]
    fn fails(&self, kind: JobErrorKind, message: &str) {
        let error = self.go().unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (kind, message));
        self.is_gone();
    }

    #[track_caller]
    fn is_gone(&self) {
        assert_eq!(self.processes(), []);
    }
}

/// Every log line of every run: run id and line.
static LOG: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

fn listen() {
    struct Listener;
    impl log::Log for Listener {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let field =
                |name: &str| record.key_values().get(name.into()).map(|value| value.to_string());
            if let Some(id) = field("job_id") {
                let source = field("stream").unwrap_or_else(|| record.level().to_string());
                LOG.lock().unwrap().push((id, format!("{source} {}", record.args())));
            }
        }
        fn flush(&self) {}
    }
    let _ = log::set_logger(&Listener);
    log::set_max_level(log::LevelFilter::Info);
}

fn stats(report: &RunReport) -> String {
    serde_json::to_string(&report.stats).unwrap()
}

#[test]
fn lines_go_to_the_log_and_the_last_one_becomes_statistics() {
    let run = sh("echo one; echo two >&2; echo '{\"early\": 1}'; \
                  printf '{\"items_processed\": 42, \"tags\": [\"a\"]}'");
    assert_eq!(stats(&run.go().unwrap()), r#"{"items_processed":42,"tags":"[\"a\"]"}"#);
    let mut log = run.log();
    log.sort();
    assert_eq!(
        log,
        [
            "stderr two",
            "stdout one",
            "stdout {\"early\": 1}",
            "stdout {\"items_processed\": 42, \"tags\": [\"a\"]}",
        ]
    );
}

#[test]
fn lines_are_in_the_log_while_the_program_still_runs() {
    let run = sh("echo first; exec sleep 1000");
    let ended = run.go_while(|| {
        wait_until("the first line", || run.log() == ["stdout first"]);
        run.stop.tell();
    });
    assert_eq!(ended.unwrap_err().kind, JobErrorKind::Cancelled);
    run.is_gone();
}

#[test]
fn only_an_object_in_the_last_line_is_statistics() {
    for (script, expected) in [
        ("echo '{\"n\": 1}'; echo", r#"{"n":1}"#),
        ("echo '{\"n\": 1}'; echo done", "{}"),
        ("echo '[1]'", "{}"),
        ("true", "{}"),
    ] {
        assert_eq!(stats(&sh(script).go().unwrap()), expected, "{script}");
    }
}

#[test]
fn the_exit_code_decides_and_the_reason_is_told() {
    use JobErrorKind::{Permanent, Transient};
    sh("exit 3").fails(Transient, "exit code 3");
    sh("echo no luck >&2; exit 3").fails(Transient, "exit code 3: no luck");
    sh("echo noise >&2; echo '{\"error\": \"bad key\"}'; exit 1")
        .fails(Transient, "exit code 1: bad key");
    sh("kill -9 $$").fails(Transient, "killed by signal 9 (SIGKILL)");
    sh("exit 126")
        .fails(Permanent, "not executable: a program that the command calls (exit code 126)");
    sh("echo 'sh: nosuch' >&2; exit 127").fails(Permanent, "not found: sh: nosuch (exit code 127)");
    let error = sh("no-such-program-here").go().unwrap_err().message;
    assert!(
        error.starts_with("not found: ")
            && error.contains("no-such-program-here")
            && error.ends_with(" (exit code 127)"),
        "{error}"
    );
}

#[test]
fn a_program_that_reports_failure_has_failed_whatever_its_exit_code() {
    let run = sh("echo '{\"success\": false, \"error\": \"graph is away\", \"errors\": 2}'");
    let error = run.go().unwrap_err();
    assert_eq!(error.message, "the command reports a failure: graph is away");
    assert_eq!(stats(&error.report.unwrap()), r#"{"errors":2}"#);
    sh("echo '{\"success\": true}'; exit 2").fails(JobErrorKind::Transient, "exit code 2");
}

#[test]
fn a_verdict_that_cannot_be_read_fails_the_run_and_says_why() {
    let what = "the last line begins with { and cannot be read as a verdict";
    let case = |script: &str, why: &str| {
        sh(script).fails(JobErrorKind::Permanent, &format!("{what}: {why}"));
    };
    case("echo '{\"n\": 1} and more'", "it is not JSON: trailing characters at line 1 column 10");
    case(
        "printf '{\"success\": false, \"x\": \"'; head -c 1048576 /dev/zero | tr '\\0' x; printf '\"}'",
        "it is 1048603 bytes long, 1048576 are the most",
    );
    let error = sh("echo '{oh no'; exit 3").go().unwrap_err();
    assert_eq!(error.kind, JobErrorKind::Transient);
    let expected = format!("exit code 3: {what}: it is not JSON: key must be a string");
    assert!(error.message.starts_with(&expected), "{}", error.message);
}

#[test]
fn a_verdict_that_strict_json_refuses_still_counts() {
    for line in [
        r#"{"success": false, "error": "lost 3", "average": NaN}"#,
        r#"{"success": false, "error": "lost 3", "file": "caf\\udce9.md"}"#,
        r#"{"success": false, "error": "lost 3", "file": "caf\351.md"}"#,
        r#"\357\273\277{"success": false, "error": "lost 3"}"#,
    ] {
        let error = sh(&format!("printf '%b\n' '{line}'")).go().unwrap_err();
        assert_eq!(error.message, "the command reports a failure: lost 3", "{line}");
    }
    let long = sh(
        "printf '{\"success\": false, \"error\": \"lost 3\", \"failed\": \"'; head -c 200000 /dev/zero | tr '\\0' x; echo '\"}'",
    );
    assert_eq!(long.go().unwrap_err().message, "the command reports a failure: lost 3");
}

#[test]
fn a_flood_of_lines_reaches_the_log_as_a_count() {
    let run = sh("seq 25000; echo end >&2; echo '{\"n\": 1}'");
    assert_eq!(stats(&run.go().unwrap()), r#"{"n":1}"#);
    let log = run.log();
    assert_eq!(log.len(), 10_001);
    let last =
        "WARN 15,002 lines left out: the log takes 10,000 lines or 10 MB of one run in a minute";
    assert_eq!(log.last().unwrap(), last);
}

#[test]
fn a_program_that_cannot_be_started_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let case = |program: &str, expected: &str| {
        run(&[program]).fails(JobErrorKind::Permanent, &expected.replace('@', program));
    };
    case("no-such-program", "not found: @ (in no folder of PATH; write its full path in command)");
    case("/no/such/program", "not found: @");
    case(
        &file("plain", "#!/bin/sh\n", 0o644),
        "not executable: @ (chmod +x it, or put its interpreter in front in command)",
    );
    case(
        &file("orphan", "#!/no/such/interpreter\n", 0o755),
        "not found: the interpreter named in the first line of @",
    );
    case(
        &file("formless", "echo hello\n", 0o755),
        "not executable: @ (unknown format; a script needs a first line such as #!/bin/sh)",
    );
    case(folder.path().to_str().unwrap(), "not executable: @ (it is a folder)");
}

#[test]
fn the_program_finds_its_environment_and_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap();
    let mut run = sh(
        "printf '%s\\n' \"$PWD\" \"$ACLARAI_JOB_NAME\" \"$ACLARAI_JOB_ID\" \"$ACLARAI_SCHEDULED_FOR\" \"$VAULT_PATH\" \
         \"$ACLARAI_JOB_PARAMS\" \"$MINE\" \"$OF_DOTENV\" \"${HOME:+inherited}\"",
    );
    run.command().working_dir = Some(folder.clone());
    run.command().env.insert("MINE".to_owned(), "yes".to_owned());
    run.spec.params = "{count: 25, percent: null, files: [a, b]}".parse().unwrap();
    run.go().unwrap();
    let name = run.spec.name.as_str();
    let expected = [
        folder.to_str().unwrap(),
        name,
        run.id.as_str(),
        "2026-08-24T12:00:00Z",
        "/some/vault",
        r#"{"count":25,"percent":null,"files":["a","b"]}"#,
        "yes",
        "yes",
        "inherited",
    ];
    assert_eq!(run.log(), expected.map(|line| format!("stdout {line}")));
}

#[test]
fn a_missing_working_folder_is_named() {
    let mut run = sh("true");
    run.command().working_dir = Some(PathBuf::from("/no/such/folder"));
    run.fails(
        JobErrorKind::Permanent,
        "working_dir /no/such/folder: No such file or directory (os error 2)",
    );
}

#[test]
fn a_relative_program_is_looked_for_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("report.sh");
    fs::write(&script, "#!/bin/sh\necho here\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut run = run(&["./report.sh"]);
    run.command().working_dir = Some(folder.path().to_owned());
    run.go().unwrap();
    assert_eq!(run.log(), ["stdout here"]);
}

#[test]
fn a_flood_without_line_ends_takes_no_memory() {
    let before = peak_memory_kb();
    let run = sh(
        "head -c 300000000 /dev/zero; head -c 300000000 /dev/urandom | tr -d '\\n' >&2; echo; echo '{\"n\": 1}'",
    );
    assert_eq!(stats(&run.go().unwrap()), r#"{"n":1}"#);
    let grown = peak_memory_kb() - before;
    // Other tests run beside this one; what is shown here is that 600 MB did not pass through memory.
    assert!(grown < 60_000, "memory grew by {grown} kB");
    let log = run.log();
    assert_eq!(log.len(), 3);
    assert!(log.iter().any(|line| line.ends_with("[cut: 300000000 bytes in all]")));
    assert!(log.iter().all(|line| line.len() < 100_000 && !line.contains('\0')));
}

fn peak_memory_kb() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn invalid_text_is_shown_escaped() {
    let run = sh(r"printf 'caf\303\251 \377\376 \033[31mred\n'");
    run.go().unwrap();
    assert_eq!(run.log(), [r"stdout café \xff\xfe \u{1b}[31mred"]);
}

#[test]
fn a_timeout_ends_the_program_and_its_children() {
    let mut run = sh("sleep 1000 & sleep 1000");
    run.timeout = Some(Duration::from_millis(300));
    run.fails(JobErrorKind::TimedOut, "timeout reached");
}

#[test]
fn a_program_may_tidy_up_when_it_is_told_to_end() {
    let run = sh(
        "trap 'echo tidied; echo \"{\\\"n\\\": 7}\"; exit 0' TERM; echo ready; while :; do sleep 0.05; done",
    );
    let ended = run.go_while(|| {
        wait_until("the program is ready", || run.log() == ["stdout ready"]);
        run.stop.tell();
    });
    let error = ended.unwrap_err();
    assert_eq!(error.kind, JobErrorKind::Cancelled);
    assert_eq!(stats(&error.report.unwrap()), r#"{"n":7}"#);
    assert!(run.log().contains(&"stdout tidied".to_owned()), "{:?}", run.log());
    run.is_gone();
}

#[test]
fn a_child_may_tidy_up_although_its_parent_has_gone() {
    let run = sh(
        "sh -c 'trap \"sleep 0.5; echo child tidied; exit\" TERM; echo ready; while :; do sleep 0.05; done' & wait",
    );
    let ended = run.go_while(|| {
        wait_until("the child is ready", || run.log() == ["stdout ready"]);
        run.stop.tell();
    });
    assert_eq!(ended.unwrap_err().kind, JobErrorKind::Cancelled);
    assert!(run.log().contains(&"stdout child tidied".to_owned()), "{:?}", run.log());
    run.is_gone();
}

#[test]
fn a_program_that_ignores_sigterm_is_killed() {
    let run = sh("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    let clock = SystemClock;
    let ended = run.go_while(|| {
        wait_until("the program is ready", || run.log() == ["stdout ready"]);
        run.stop.tell();
        let told = clock.monotonic();
        wait_until("the program is killed", || run.processes().is_empty());
        assert!(clock.monotonic() - told >= Duration::from_secs(9), "it was told to end first");
    });
    assert_eq!(ended.unwrap_err().kind, JobErrorKind::Cancelled);
}

#[test]
fn a_stopped_program_hears_that_it_is_to_end() {
    let run = sh("echo ready; exec sleep 1000");
    let ended = run.go_while(|| {
        signal(run.wait_for_process("sleep"), Signal::STOP);
        run.stop.tell();
    });
    assert_eq!(ended.unwrap_err().kind, JobErrorKind::Cancelled);
    run.is_gone();
}

#[test]
fn children_left_behind_are_ended_and_named() {
    // One in the program's group, one in a session of its own whose parent has gone.
    let run = sh(
        "there=$(mktemp); sleep 1000 & setsid sh -c 'sleep 1000 & echo > \"$0\"; sleep 1000' \"$there\" >/dev/null & \
         until [ -s \"$there\" ]; do sleep 0.05; done; rm \"$there\"; echo '{\"n\": 1}'",
    );
    let report = run.go().unwrap();
    let left = report.stats.get("left_behind").and_then(serde_json::Value::as_u64).unwrap();
    assert!((2..=4).contains(&left), "{left}");
    assert!(run.log().iter().any(|line| {
        line.starts_with("WARN the command ended and left processes running, which were killed")
    }));
    run.is_gone();
}

#[test]
fn a_grandchild_in_another_session_does_not_outlive_the_run() {
    let run = sh(
        "there=$(mktemp); setsid setsid sh -c 'echo $$ >&2; echo > \"$0\"; exec sleep 1000' \"$there\" & until [ -s \"$there\" ]; do sleep 0.05; done; rm \"$there\"; kill -9 $$",
    );
    assert_eq!(run.go().unwrap_err().kind, JobErrorKind::Transient);
    assert_eq!(run.log().len(), 2, "{:?}", run.log());
    run.is_gone();
}

#[test]
fn nothing_survives_a_killed_supervisor_or_guard() {
    for victim in ["guard", "supervisor"] {
        let run = sh("setsid sleep 1000 & exec sleep 1000");
        let ended = run.go_while(|| {
            wait_until("both are there", || {
                run.processes().iter().filter(|p| p.1 == "sleep").count() == 2
            });
            let program = run.wait_for_process("sleep");
            let supervisor = parent_of(program);
            signal(
                if victim == "guard" { parent_of(supervisor) } else { supervisor },
                Signal::KILL,
            );
        });
        let error = ended.unwrap_err();
        assert_eq!(error.kind, JobErrorKind::Transient, "{victim}: {error}");
        wait_until(victim, || run.processes().is_empty());
    }
}

#[test]
fn a_program_that_stops_its_keepers_ends_like_any_other() {
    stats_of_stopped("kill -STOP $PPID; echo '{\"n\": 1}'");
    stats_of_stopped("kill -STOP $PPID; sleep 0.2; kill -STOP $PPID; echo '{\"n\": 1}'");
    // The guard's number is the fourth word about the supervisor.
    let run = sh("kill -STOP $(cut -d' ' -f4 /proc/$PPID/stat) $PPID; exec sleep 1000");
    let ended = run.go_while(|| {
        run.wait_for_process("sleep");
        run.stop.tell();
    });
    assert_eq!(ended.unwrap_err().kind, JobErrorKind::Cancelled);
    run.is_gone();
}

#[track_caller]
fn stats_of_stopped(script: &str) {
    let run = sh(script);
    assert_eq!(stats(&run.go().unwrap()), r#"{"n":1}"#);
    run.is_gone();
}

#[test]
fn a_stop_that_was_asked_for_before_the_start_starts_nothing() {
    let run = sh("echo started");
    run.stop.tell();
    assert_eq!(run.go().unwrap_err().kind, JobErrorKind::Cancelled);
    assert_eq!(run.log(), Vec::<String>::new());
}

#[test]
fn a_dry_run_starts_nothing() {
    let mut run = run(&["echo", "started"]);
    run.options.dry_run = true;
    assert_eq!(stats(&run.go().unwrap()), r#"{"would_run":"[\"echo\",\"started\"]"}"#);
    assert_eq!(run.log(), Vec::<String>::new());
}

#[test]
fn a_job_that_detaches_thousands_of_children_leaves_no_dead_ones() {
    let run = sh(
        "i=0; while [ $i -lt 300 ]; do (true &) ; i=$((i+1)); done; echo counted; exec sleep 1000",
    );
    let ended = run.go_while(|| {
        wait_until("all were started", || run.log() == ["stdout counted"]);
        let supervisor = parent_of(run.wait_for_process("sleep"));
        wait_until("they are reaped", || children_of(supervisor).len() == 1);
        run.stop.tell();
    });
    assert_eq!(ended.unwrap_err().kind, JobErrorKind::Cancelled);
}

fn parent_of(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_end_of_what_a_run_said_is_kept_with_it() {
    let sandbox = Sandbox::new(
        r#"
scheduler:
  job_defaults: {keep_output_bytes: 20}
  jobs:
    fails: {command: [sh, -c, "seq 100; echo 'no \x1b[31mluck' >&2; exit 1"]}
    recovers: {retries: {max_attempts: 2, max_wait_time: 0}, command: [sh, -c, "echo tried; mv new old"]}
    works: {command: [echo, done]}
    talks: {keep_output: always, command: [echo, done]}
    hides: {keep_output: never, command: [sh, -c, "echo done; exit 1"]}
"#,
    );
    let output_of = |job: &str, code: i32| {
        let run = sandbox.run(&["run", job, "--json"]).json(code);
        let id = run["job_id"].as_str().unwrap().to_owned();
        let shown = sandbox.run(&["history", "--output", &id]);
        (shown.code, shown.stdout, shown.stderr.replace(&id, "ID"))
    };
    let kept = |text: &str| (Some(0), text.to_owned(), String::new());
    let none = "error: no output of ID is kept: set keep_output: always to keep that of runs which succeed\n";
    let none = (Some(4), String::new(), none.to_owned());
    assert_eq!(output_of("fails", 1), kept("100\nno \\u{1b}[31mluck\n"));
    assert_eq!(output_of("works", 0), none);
    assert_eq!(output_of("talks", 0), kept("done\n"));
    assert_eq!(output_of("hides", 1), none);
    // The second try went well, so that of the first is gone.
    sandbox.write("new", "");
    let yaml = sandbox.path("settings/aclarai.config.yaml");
    let text = fs::read_to_string(&yaml).unwrap();
    fs::write(&yaml, text.replace("mv new old", "echo; mv old older || { mv new old; exit 1; }"))
        .unwrap();
    assert_eq!(output_of("recovers", 0), none);
    let unknown = sandbox.run(&["history", "--output", "nobody_1"]);
    unknown.is(
        2,
        "",
        "error: no run has the id \"nobody_1\": history --json shows them as job_id\n",
    );
}
