//! A vault, a configuration and a state folder of their own for one test, and the real program run on them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::wait::{PATIENCE, signal, wait_for, wait_for_end, wait_until};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_aclarai-scheduler");

/// A temporary folder with `vault/`, `settings/aclarai.config.yaml` and `state/`, which goes with the test.
pub(crate) struct Sandbox {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Sandbox {
    /// An empty vault with all three tiers, and this configuration below `paths`.
    pub(crate) fn new(yaml: &str) -> Sandbox {
        let sandbox = Sandbox { folder: tempfile::tempdir().unwrap(), variables: Vec::new() };
        for tier in ["conversations", "summaries", "concepts"] {
            fs::create_dir_all(sandbox.path("vault").join(tier)).unwrap();
        }
        sandbox.configure(yaml);
        sandbox
    }

    /// Replaces the configuration.
    pub(crate) fn configure(&self, yaml: &str) {
        let vault = self.path("vault");
        let paths = format!("paths: {{vault: {:?}}}\n", vault.to_str().unwrap());
        self.write("settings/aclarai.config.yaml", &(paths + yaml));
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join(name)
    }

    /// Writes a file in the sandbox.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Sets a variable for every later run of the program.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The program under test with arguments, in the sandbox.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(PROGRAM, arguments)
    }

    /// A program with arguments, in the sandbox, with nothing of the tester's own environment.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("STATE_DIRECTORY", self.path("state"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with_input(arguments, "")
    }

    /// Runs the program with something to read on standard input.
    #[track_caller]
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = within_patience(child);
        Run {
            stdout: self.plain(&output.stdout),
            stderr: self.plain(&output.stderr),
            code: output.status.code(),
        }
    }

    /// Starts the daemon and waits until it schedules.
    #[track_caller]
    pub(crate) fn serve(&self) -> Daemon {
        let daemon = self.start(&["serve"]);
        daemon.wait_for_line("started");
        daemon
    }

    /// Starts the program in the background, its log as JSON.
    #[track_caller]
    pub(crate) fn start(&self, arguments: &[&str]) -> Daemon {
        self.background(self.command(arguments))
    }

    /// Starts a line of the shell in the background, which may end with `exec` and the program.
    #[track_caller]
    pub(crate) fn start_shell(&self, line: &str) -> Daemon {
        self.background(self.program("sh", &["-c", line]))
    }

    #[track_caller]
    fn background(&self, mut command: Command) -> Daemon {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (collected, stderr) = (Arc::clone(&lines), child.stderr.take().unwrap());
        let reader = std::thread::Builder::new().name("stderr".to_owned()).spawn(move || {
            for line in BufReader::new(stderr).lines() {
                collected.lock().unwrap().push(line.unwrap());
            }
        });
        Daemon { child, lines, reader: Some(reader.unwrap()) }
    }

    /// The history, the newest first.
    #[track_caller]
    pub(crate) fn history(&self, arguments: &[&str]) -> Vec<Value> {
        let run = self.run(&[&["history", "--json", "-n", "1000"], arguments].concat());
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// Output with the names of this sandbox taken out: `DIR` is its folder.
    pub(crate) fn plain(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(self.path("").to_str().unwrap().trim_end_matches('/'), "DIR")
    }
}

/// What a run of the program said and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Run {
    /// Compares all of it.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, stdout: &str, stderr: &str) {
        let expected =
            Run { stdout: stdout.to_owned(), stderr: stderr.to_owned(), code: Some(code) };
        assert_eq!(*self, expected, "\n--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr);
    }

    /// Standard output as JSON, from a run that ended with this code.
    #[track_caller]
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(
            self.code,
            Some(code),
            "\n--- stdout\n{}--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// What a program said until its end, which is made for it where it does not come.
#[track_caller]
fn within_patience(child: Child) -> Output {
    let pid = child.id().cast_signed();
    let (ended, end) = crossbeam_channel::bounded::<()>(0);
    let watch = move || {
        if end.recv_timeout(PATIENCE) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            signal(pid, Signal::KILL);
            return true;
        }
        false
    };
    let watching = std::thread::Builder::new().name("patience".to_owned()).spawn(watch).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(ended);
    assert!(!watching.join().unwrap(), "waited {PATIENCE:?} for the program to end: {output:?}");
    output
}

/// The program in the background. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub(crate) fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// The log so far, line by line.
    pub(crate) fn log(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Everything that went to standard error.
    pub(crate) fn stderr(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits for a log line with this message.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, message: &str) -> Value {
        self.wait_for_lines(message, 1).remove(0)
    }

    /// Waits for that many log lines with this message.
    #[track_caller]
    pub(crate) fn wait_for_lines(&self, message: &str, count: usize) -> Vec<Value> {
        let what = format!("{count} log lines {message:?}");
        wait_for(&what, || {
            let log = self.log();
            let found: Vec<Value> =
                log.into_iter().filter(|line| line["message"] == message).collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits for the end; returns how it ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = wait_for_end(&mut self.child);
        if let Some(reader) = self.reader.take() {
            wait_until("nobody to hold its standard error open", || reader.is_finished());
            reader.join().unwrap();
        }
        status
    }

    /// Asks for an orderly end and waits for it.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait().code(), Some(0), "{}", self.stderr());
    }

    /// Ends it as a power cut would, and waits until the kernel has given back its locks.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
