//! A job that runs any program: `command: ["python3", "report.py"]`.
//!
//! No shell is involved. The program runs in a process group and session of its own, below a small supervisor (see
//! [`supervisor`](super::supervisor)) that ends it and all its descendants when the run ends, for whatever reason.
//! - Its lines go to the log as they come, standard output and standard error alike.
//! - Its exit code decides: 0 has succeeded, anything else has failed and is tried again as `retries` says. 126 and
//!   127, which shells use for programs that cannot be run, are not tried again.
//! - A last line of standard output that is a JSON object becomes the run's statistics. `"success": false` in it makes
//!   the run a failure also with exit code 0, and `error` is shown as the reason; this is how the original's Python
//!   jobs report. Nothing in it makes a failing exit code a success. Nested values are kept as compact JSON text,
//!   nulls are left out.
//! - It finds `ACLARAI_JOB_ID`, `ACLARAI_JOB_NAME`, `ACLARAI_SCHEDULED_FOR` (RFC 3339, UTC), `ACLARAI_JOB_PARAMS` (the
//!   job's parameters as a JSON object) and `VAULT_PATH` in its environment, beside what the daemon itself was given,
//!   in its environment or in `.env`, which includes `NEO4J_PASSWORD` and its like; and `env`, which outranks all of
//!   these.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;
use serde_json::{Map, Value};

use super::output::{Line, Lines};
use super::supervisor::{self, Ended, Order, Outcome, Supervised};
use crate::config::{CommandSpec, JobSpec};
use crate::job::{BadParameter, BuildError, Job, JobError, JobErrorKind, RunContext, RunReport};

/// How often a run that is silent looks whether it was told to stop.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Statistics that the scheduler itself reports of every run; a program's own are left out.
const RESERVED: [&str; 6] = ["job_name", "job_id", "trigger", "success", "error", "duration"];

/// What systemd told the daemon and no job may use in its name.
const NOT_INHERITED: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// A program, run once per run.
pub struct CommandJob {
    command: CommandSpec,
    params: String,
    surroundings: Arc<Surroundings>,
}

/// What all command jobs have in common.
pub struct Surroundings {
    /// The vault, told to the program as `VAULT_PATH`.
    pub vault: PathBuf,
    /// Variables beside those this process was given.
    pub environment: BTreeMap<String, String>,
    /// An executable that calls [`supervisor::dispatch`](super::supervisor::dispatch) first, normally
    /// [`supervisor::SELF`](super::supervisor::SELF).
    pub supervisor: PathBuf,
}

impl fmt::Debug for Surroundings {
    /// Without the values of variables: secrets are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.environment.keys().collect();
        f.debug_struct("Surroundings")
            .field("vault", &self.vault)
            .field("environment", &names)
            .field("supervisor", &self.supervisor)
            .finish()
    }
}

impl CommandJob {
    /// The job that `spec` describes.
    pub fn from_spec(
        spec: &JobSpec,
        surroundings: Arc<Surroundings>,
    ) -> Result<CommandJob, BuildError> {
        let bad = |key: &str, message: &str| BuildError::from(BadParameter::new(key, message));
        let Some(command) = spec.command.clone() else {
            return Err(bad("command", "missing: write the program and its arguments as a list"));
        };
        if command.argv.first().is_none_or(String::is_empty) {
            return Err(bad("command", "empty: write the program and its arguments as a list"));
        }
        if command.argv.iter().any(|argument| argument.contains('\0')) {
            return Err(bad("command", "a NUL character cannot be passed to a program"));
        }
        for (name, value) in &command.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(bad(&format!("env.{name}"), "not a name and value for an environment"));
            }
        }
        let params = serde_json::to_string(&spec.params)
            .map_err(|error| bad("", &format!("parameters cannot be written as JSON: {error}")))?;
        Ok(CommandJob { command, params, surroundings })
    }

    fn order(&self, ctx: &RunContext<'_>) -> Order {
        let scheduled_for = ctx.scheduled_for.to_rfc3339_opts(SecondsFormat::Secs, true);
        let ours: [(&str, OsString); 5] = [
            ("ACLARAI_JOB_ID", ctx.run_id.as_str().into()),
            ("ACLARAI_JOB_NAME", ctx.job.as_str().into()),
            ("ACLARAI_SCHEDULED_FOR", scheduled_for.into()),
            ("ACLARAI_JOB_PARAMS", self.params.clone().into()),
            ("VAULT_PATH", self.surroundings.vault.clone().into()),
        ];
        let given = |(name, value): (&String, &String)| (name.into(), Some(value.into()));
        let removed = NOT_INHERITED.iter().map(|name| (OsString::from(name), None));
        let added = self.surroundings.environment.iter().map(given);
        let ours = ours.into_iter().map(|(name, value)| (OsString::from(name), Some(value)));
        let theirs = self.command.env.iter().map(given);
        Order {
            argv: self.command.argv.clone(),
            env: removed.chain(added).chain(ours).chain(theirs).collect(),
            working_dir: self.command.working_dir.clone().map(PathBuf::into_os_string),
        }
    }
}

impl Job for CommandJob {
    fn run(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
        ctx.checkpoint()?;
        if ctx.options.dry_run {
            // What a program would do cannot be known without running it.
            let mut report = RunReport::new();
            report.set("would_run", Value::from(self.command.argv.clone()).to_string());
            return Ok(report);
        }
        let supervised =
            supervisor::start(&self.surroundings.supervisor, ctx.run_id.as_str(), &self.order(ctx))
                .map_err(|error| {
                    JobError::transient(format!(
                        "cannot start a supervisor for the command: {error}"
                    ))
                })?;
        let mut output = Output { ctx, statistics: None, last_error_line: None };
        let (outcome, told_to_stop) = attend(supervised, ctx, &mut output)
            .map_err(|error| JobError::transient(format!("lost sight of the command: {error}")))?;
        output.judge(outcome, told_to_stop)
    }
}

/// Passes output on and the end of the run along, until the program and all its descendants have ended.
fn attend(
    mut supervised: Supervised,
    ctx: &RunContext<'_>,
    output: &mut Output<'_>,
) -> io::Result<(Option<Outcome>, Option<JobError>)> {
    let mut stdout = Stream::new(supervised.child.stdout.take());
    let mut stderr = Stream::new(supervised.child.stderr.take());
    let mut said = Vec::new();
    let mut told_to_stop = None;
    let mut chunk = vec![0; 32 * 1024];
    let mut over = false;
    loop {
        // Once the supervisor has gone, only what still lies in the pipes is taken: a process that even SIGKILL does
        // not end may hold them open for ever.
        let pause = if over { Duration::ZERO } else { LOOK_AGAIN };
        let socket = (!over).then(|| supervised.socket.as_fd());
        let [spoken, out, err] = readable([socket, stdout.fd(), stderr.fd()], pause)?;
        if out {
            stdout.read(&mut chunk, |line| output.standard_output(line))?;
        }
        if err {
            stderr.read(&mut chunk, |line| output.standard_error(line))?;
        }
        if spoken {
            match supervised.socket.read(&mut chunk) {
                Ok(0) => over = true,
                Ok(count) => said.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A supervisor that was killed with unread words of ours in its socket: reset by peer.
                Err(_) => over = true,
            }
        } else if over && !out && !err {
            break;
        }
        if told_to_stop.is_none()
            && let Err(reason) = ctx.checkpoint()
        {
            supervised.stop();
            told_to_stop = Some(reason);
        }
    }
    stdout.lines.finish(|line| output.standard_output(line));
    stderr.lines.finish(|line| output.standard_error(line));
    supervised.child.wait()?;
    Ok((serde_json::from_slice(&said).ok(), told_to_stop))
}

/// Waits for one of these to have something to read, and says which have.
fn readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    timeout: Duration,
) -> io::Result<[bool; N]> {
    let mut watched: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = timeout.try_into().expect("a tenth of a second at most");
    match poll(&mut watched, Some(&timeout)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false; N]),
        Err(error) => return Err(error.into()),
    }
    let mut results = watched.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && results.next().expect("one result for each watched")))
}

/// One of the program's two streams.
struct Stream<R> {
    pipe: Option<R>,
    lines: Lines,
}

impl<R: Read + AsFd> Stream<R> {
    fn new(pipe: Option<R>) -> Stream<R> {
        Stream { pipe, lines: Lines::default() }
    }

    /// `None` once it has ended.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    fn read(&mut self, chunk: &mut [u8], line: impl FnMut(Line<'_>)) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        match pipe.read(chunk) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.lines.feed(&chunk[..count], line),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What the program has said so far, as far as it matters at the end.
struct Output<'a> {
    ctx: &'a RunContext<'a>,
    statistics: Option<Map<String, Value>>,
    last_error_line: Option<String>,
}

impl Output<'_> {
    fn standard_output(&mut self, line: Line<'_>) {
        if line.is_blank() {
            return;
        }
        self.log("stdout", &line.show());
        // Only the last line counts; any line may turn out to be the last.
        self.statistics =
            if line.is_whole() { serde_json::from_slice(line.kept).ok() } else { None };
    }

    fn standard_error(&mut self, line: Line<'_>) {
        if line.is_blank() {
            return;
        }
        let shown = line.show();
        self.log("stderr", &shown);
        self.last_error_line = Some(shown);
    }

    fn log(&self, stream: &str, line: &str) {
        let (job_id, job_name) = (self.ctx.run_id.as_str(), self.ctx.job.as_str());
        log::info!(target: "command.run", job_id, job_name, stream; "{line}");
    }

    fn warn_of_remains(&self, outcome: &Outcome, report: &mut RunReport) {
        let (job_id, job_name) = (self.ctx.run_id.as_str(), self.ctx.job.as_str());
        if outcome.left_behind > 0 {
            report.set("left_behind", outcome.left_behind);
            let (count, names) = (outcome.left_behind, outcome.left_names.join(", "));
            log::warn!(
                target: "command.run", job_id, job_name, count, names = names.as_str();
                "the command ended and left processes running, which were killed"
            );
        }
        if outcome.unkillable {
            log::error!(
                target: "command.run", job_id, job_name;
                "some processes of the command could not be killed: they belong to another user, or the kernel holds them"
            );
        }
    }

    fn judge(
        mut self,
        outcome: Option<Outcome>,
        told_to_stop: Option<JobError>,
    ) -> Result<RunReport, JobError> {
        let said = self.statistics.take().unwrap_or_default();
        let mut report = RunReport { stats: flatten(&said), ..RunReport::new() };
        if let Some(outcome) = &outcome {
            self.warn_of_remains(outcome, &mut report);
        }
        if let Some(reason) = told_to_stop {
            return Err(reason.with_report(report));
        }
        let reason = said.get("error").and_then(Value::as_str).map(str::to_owned);
        let reason = reason.or(self.last_error_line);
        let because = |what: String| match &reason {
            Some(reason) => format!("{what}: {reason}"),
            None => what,
        };
        let (kind, message) = match outcome.map(|outcome| outcome.ended) {
            Some(Ended::Exited(0)) if said.get("success") != Some(&Value::Bool(false)) => {
                return Ok(report);
            }
            Some(Ended::Exited(0)) => {
                (JobErrorKind::Transient, because("the command reports a failure".to_owned()))
            }
            // What shells say of a program that they cannot run; which one, only their last line tells.
            Some(Ended::Exited(code @ (126 | 127))) => {
                let what = if code == 127 { "not found" } else { "not executable" };
                let which = reason.as_deref().unwrap_or("a program that the command calls");
                (JobErrorKind::Permanent, format!("{what}: {which} (exit code {code})"))
            }
            Some(Ended::Exited(code)) => {
                (JobErrorKind::Transient, because(format!("exit code {code}")))
            }
            Some(Ended::Signalled(signal)) => {
                (JobErrorKind::Transient, because(format!("killed by {}", signal_name(signal))))
            }
            Some(Ended::NotStarted(reason)) => (JobErrorKind::Permanent, reason),
            None => (
                JobErrorKind::Transient,
                because(
                    "the supervisor of the command was killed, and the command with it".to_owned(),
                ),
            ),
        };
        Err(JobError::new(kind, message).with_report(report))
    }
}

/// Statistics are flat: a nested value becomes its compact JSON text, a null is left out.
fn flatten(said: &Map<String, Value>) -> Map<String, Value> {
    said.iter()
        .filter(|(name, value)| !RESERVED.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| match value {
            Value::Array(_) | Value::Object(_) => (name.clone(), Value::from(value.to_string())),
            _ => (name.clone(), value.clone()),
        })
        .collect()
}

fn signal_name(number: i32) -> String {
    let named = Signal::from_named_raw(number).and_then(|signal| match signal {
        Signal::HUP => Some("SIGHUP"),
        Signal::INT => Some("SIGINT"),
        Signal::QUIT => Some("SIGQUIT"),
        Signal::ILL => Some("SIGILL"),
        Signal::ABORT => Some("SIGABRT"),
        Signal::BUS => Some("SIGBUS"),
        Signal::FPE => Some("SIGFPE"),
        Signal::KILL => Some("SIGKILL"),
        Signal::SEGV => Some("SIGSEGV"),
        Signal::PIPE => Some("SIGPIPE"),
        Signal::TERM => Some("SIGTERM"),
        Signal::XCPU => Some("SIGXCPU"),
        Signal::SYS => Some("SIGSYS"),
        _ => None,
    });
    named.map_or_else(|| format!("signal {number}"), |name| format!("signal {number} ({name})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_flat_and_leave_the_schedulers_own_alone() {
        let said = serde_json::from_str(
            r#"{"success":true,"items":3,"ok":false,"note":"x","none":null,"list":[1,{"a":2}],"duration":9,"error":""}"#,
        )
        .unwrap();
        let flat = serde_json::to_string(&flatten(&said)).unwrap();
        assert_eq!(flat, r#"{"items":3,"ok":false,"note":"x","list":"[1,{\"a\":2}]"}"#);
    }

    #[test]
    fn signals_are_named() {
        assert_eq!(signal_name(9), "signal 9 (SIGKILL)");
        assert_eq!(signal_name(40), "signal 40");
    }
}
