//! A job that runs any program: `command: ["python3", "report.py"]`.
//!
//! No shell is involved. The program runs in a process group and session of its own, below a small supervisor (see
//! [`supervisor`](super::supervisor)) that ends it and all its descendants when the run ends, for whatever reason.
//! - Its lines go to the log as they come, standard output and standard error alike.
//! - Its exit code decides: 0 has succeeded, anything else has failed and is tried again as `retries` says. 126 and
//!   127, which shells use for programs that cannot be run, are not tried again.
//! - A last line of standard output that begins with `{`, or an object over the last lines, is the run's verdict: its
//!   members become the statistics.
//!   `"success": false` in it makes the run a failure also with exit code 0, and `error` is shown as the reason; this
//!   is how the original's Python jobs report. Nothing in it makes a failing exit code a success. Nested values are
//!   kept as compact JSON text, nulls are left out. A verdict that cannot be read makes the run a failure too.
//! - It finds `ACLARAI_JOB_ID`, `ACLARAI_JOB_NAME`, `ACLARAI_SCHEDULED_FOR` (RFC 3339, UTC), `ACLARAI_JOB_PARAMS` (the
//!   job's parameters as a JSON object) and `VAULT_PATH` in its environment, beside what the daemon itself was given,
//!   in its environment or in `.env`, which includes `NEO4J_PASSWORD` and its like; and `env`, which outranks all of
//!   these.
//! - With `feed` it reads the blocks that wait from its standard input, and says on its standard output what it has done:
//!   see [`feed`](super::feed). Without a block it is not started; while it makes progress and more is left, it is started
//!   again.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::Deps;
use super::attend::{Listener, attend};
use super::feed::{self, Feed, Round};
use super::flood::{self, Flood};
use super::last_lines::LastLines;
use super::output::Line;
use super::pump::Pump;
use super::supervisor::{self, Ended, Order, ProgramEnd, leash_ms};
use super::tail::Tail;
use super::verdict::Verdict;
use crate::config::{CommandSpec, FeedSpec, JobSpec, KeepOutput};
use crate::history::keep_output;
use crate::job::{
    BadParameter, BuildError, Fault, Job, JobError, JobErrorKind, RunContext, RunReport, set_apart,
};
use crate::logging;
use crate::stop::Leash;
use crate::text::{self, not_started};

/// A program, run once per run.
pub struct CommandJob {
    command: CommandSpec,
    params: String,
    keep_output: KeepOutput,
    keep_output_bytes: usize,
    feed: Option<Box<FeedSpec>>,
    deps: Arc<Deps>,
}

impl CommandJob {
    /// The job that `spec` describes.
    pub fn from_spec(spec: &JobSpec, deps: Arc<Deps>) -> Result<CommandJob, BuildError> {
        let Some(command) = spec.command.clone() else {
            let message = "missing: write the program and its arguments as a list";
            return Err(BadParameter::new("command", message).into());
        };
        Ok(CommandJob {
            command,
            params: spec.params.to_json().to_string(),
            keep_output: spec.policy.keep_output,
            keep_output_bytes: spec.policy.keep_output_bytes.try_into().unwrap_or(usize::MAX),
            feed: spec.feed.clone(),
            deps,
        })
    }

    fn order(&self, ctx: &RunContext<'_>, blocks: Option<usize>) -> Order {
        let scheduled_for = text::instant(ctx.scheduled_for);
        let mut ours: Vec<(&str, OsString)> = vec![
            ("ACLARAI_JOB_ID", ctx.run_id.as_str().into()),
            ("ACLARAI_JOB_NAME", ctx.job.as_str().into()),
            ("ACLARAI_SCHEDULED_FOR", scheduled_for.into()),
            ("ACLARAI_JOB_PARAMS", self.params.clone().into()),
        ];
        ours.extend(blocks.map(|count| ("ACLARAI_FEED_COUNT", count.to_string().into())));
        let mut env = self.deps.surroundings.environment_with(ours);
        let given = |(name, value): (&String, &String)| (name.into(), Some(value.into()));
        env.extend(self.command.env.iter().map(given));
        Order {
            argv: self.command.argv.clone(),
            env,
            working_dir: self.command.working_dir.clone().map(PathBuf::into_os_string),
            input: None,
            until_ms: ctx.stop.leash().map(|leash| leash_ms(leash.until())),
        }
    }
}

impl CommandJob {
    /// Keeps the end of the output as the configuration says. That it cannot be kept is no failure of the run.
    fn keep(&self, ctx: &RunContext<'_>, result: &Result<RunReport, JobError>, tail: &mut Tail) {
        let went_wrong = result.as_ref().map_or(true, RunReport::needs_attention);
        let kept = match self.keep_output {
            KeepOutput::Always => Some(tail.kept()),
            KeepOutput::Failed if went_wrong => Some(tail.kept()),
            // Of an earlier try that failed.
            KeepOutput::Failed if ctx.attempt > 1 => None,
            KeepOutput::Failed | KeepOutput::Never => return,
        };
        let kept = kept.filter(|said| !said.is_empty());
        if kept.is_none() && ctx.attempt == 1 {
            return;
        }
        if let Err(error) = keep_output(&self.deps.state_dir, ctx.run_id, kept.as_deref()) {
            let (job_id, job_name) = (ctx.run_id.as_str(), ctx.job.as_str());
            logging::warn!(job_id, job_name, error = error.to_string().as_str();
                "output of the run cannot be kept"
            );
        }
    }
}

impl Job for CommandJob {
    fn run(&self, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
        ctx.checkpoint()?;
        if ctx.options.dry_run {
            // Nobody knows what a program would do without running it.
            let mut report = RunReport::new();
            report.set("would_run", Value::from(self.command.argv.clone()).to_string());
            return Ok(report);
        }
        match &self.feed {
            Some(feed) => self.run_fed(feed, ctx),
            None => self.run_once(ctx, &mut self.tail(), None),
        }
    }
}

impl CommandJob {
    fn tail(&self) -> Tail {
        let keeps = self.keep_output != KeepOutput::Never;
        Tail::new(if keeps { self.keep_output_bytes } else { 0 })
    }

    /// Runs the program with the blocks that wait, again and again while it makes progress and there are more.
    fn run_fed(&self, spec: &FeedSpec, ctx: &RunContext<'_>) -> Result<RunReport, JobError> {
        let mut feed = Feed::open(spec, &self.deps, ctx)?;
        let (mut tail, mut last) = (self.tail(), Ok(RunReport::new()));
        loop {
            let begun = ctx.checkpoint().and_then(|()| {
                feed.begin_round(&[]).map_err(|error| feed::of_run(error, &ctx.stop))
            });
            let round = match begun {
                Ok(round) => round,
                Err(error) => {
                    last = Err(error);
                    break;
                }
            };
            if round.len() == 0 {
                break;
            }
            last = self.run_once(ctx, &mut tail, Some(&round));
            let end = round.end();
            if !feed.end_round(end) || last.is_err() {
                break;
            }
        }
        let told = |feed: &mut Feed, report: &mut RunReport| {
            report.stats = set_apart(std::mem::take(&mut report.stats), &feed::STATISTICS);
            feed.report(report);
        };
        match last {
            Ok(mut report) => {
                told(&mut feed, &mut report);
                Ok(report)
            }
            Err(mut error) => {
                let mut report = error.report.take().map(|report| *report).unwrap_or_default();
                told(&mut feed, &mut report);
                Err(error.with_report(report))
            }
        }
    }

    /// Runs the program once, with the blocks of `round` if there are any.
    fn run_once(
        &self,
        ctx: &RunContext<'_>,
        tail: &mut Tail,
        round: Option<&Round>,
    ) -> Result<RunReport, JobError> {
        let cannot_pipe = |error| {
            JobError::transient(format!("cannot make a pipe for the command's input: {error}"))
        };
        let pump = round.map(Pump::new).transpose().map_err(cannot_pipe)?;
        let order = self.order(ctx, round.map(Round::len));
        let (program, input) =
            (&self.deps.surroundings.supervisor, pump.as_ref().map(Pump::read_end));
        let supervised =
            supervisor::start(program, ctx.run_id.as_str(), &order, input).map_err(|error| {
                let why = not_started(&error);
                JobError::transient(format!("cannot start a supervisor for the command: {why}"))
            })?;
        let mut output = Output::of(ctx, std::mem::replace(tail, Tail::new(0)), round);
        let outcome = match &pump {
            Some(pump) => pump.run_beside(|| attend(supervised, &mut output)),
            None => attend(supervised, &mut output),
        };
        // The program has begun and may have done its work: whatever is wrong on this side, it is not run again.
        let outcome = outcome
            .map_err(|error| JobError::permanent(format!("lost sight of the command: {error}")))?;
        let (mut result, said) = output.judge(outcome);
        *tail = said;
        if let (Some(round), Some(pump)) = (round, &pump) {
            settle(round, pump, &mut result, ctx);
        }
        self.keep(ctx, &result, tail);
        result
    }
}

/// Draws the conclusions from how a program ended: which blocks are done, and whether the graph took that in.
fn settle(
    round: &Round,
    pump: &Pump<'_>,
    result: &mut Result<RunReport, JobError>,
    ctx: &RunContext<'_>,
) {
    if let Ok(report) = result {
        let unread = round.say_rest_done(Some(pump.read_by_program()));
        if unread > 0 && pump.fault().is_none() {
            let text =
                format!("{unread} blocks were not read by the program: they keep their marks");
            report.faults.push(Fault::warning("", text));
        }
    }
    let failed = round.clear_due().err().or_else(|| pump.fault());
    if let (Some(error), Ok(report)) = (failed, &mut *result) {
        let report = std::mem::take(report);
        *result = Err(feed::of_run(error, &ctx.stop).with_report(report));
    }
}

/// The part of the program's output that matters at its end.
struct Output<'a> {
    ctx: &'a RunContext<'a>,
    last_lines: LastLines,
    last_error_line: Option<String>,
    flood: Flood,
    tail: Tail,
    told_to_stop: Option<JobError>,
    /// The blocks that it was given.
    round: Option<&'a Round>,
}

impl Listener for Output<'_> {
    fn standard_output(&mut self, line: Line<'_>) {
        if line.is_blank() {
            return;
        }
        // Its words about blocks are between the two: it may be a line for each of very many.
        if let Some(round) = self.round
            && let Some(said) = feed::said(line.kept, line.length)
        {
            round.hear(said, self.ctx.clock.monotonic());
            self.clear_marks(round);
            return;
        }
        self.log("stdout", line);
        self.last_lines.push(line);
    }

    fn standard_error(&mut self, line: Line<'_>) {
        if line.is_blank() {
            return;
        }
        self.log("stderr", line);
        self.last_error_line = Some(line.show());
    }

    fn is_told_to_end(&mut self) -> bool {
        if let Some(count) = self.flood.turn(self.ctx.clock.monotonic()) {
            self.log_left_out(count);
        }
        if let Some(round) = self.round {
            self.clear_marks(round);
        }
        self.told_to_stop = self.ctx.checkpoint().err();
        self.told_to_stop.is_some()
    }

    fn leash(&self) -> Option<Duration> {
        self.ctx.stop.leash().map(Leash::until)
    }
}

impl<'a> Output<'a> {
    fn of(ctx: &'a RunContext<'a>, tail: Tail, round: Option<&'a Round>) -> Output<'a> {
        Output {
            ctx,
            last_lines: LastLines::default(),
            last_error_line: None,
            flood: Flood::beginning(ctx.clock.monotonic()),
            tail,
            told_to_stop: None,
            round,
        }
    }

    /// Takes the marks away that are due, as long as the graph is there: at the end it is asked once more.
    fn clear_marks(&mut self, round: &Round) {
        if let Err(error) = round.clear_some(self.ctx.clock.monotonic()) {
            let (job_id, job_name) = (self.ctx.run_id.as_str(), self.ctx.job.as_str());
            logging::warn!(job_id, job_name, error = error.to_string().as_str();
                "marks of done blocks cannot be taken away now: this is tried again until the run ends"
            );
        }
    }

    fn log(&mut self, stream: &str, line: Line<'_>) {
        self.tail.push(line.kept);
        if self.flood.admits(line.shown_length()) {
            let (job_id, job_name) = (self.ctx.run_id.as_str(), self.ctx.job.as_str());
            logging::info!(job_id, job_name, stream; "{}", line.show());
        }
    }

    fn log_left_out(&self, count: u64) {
        let (job_id, job_name) = (self.ctx.run_id.as_str(), self.ctx.job.as_str());
        logging::warn!(job_id, job_name;
            "{} lines left out: the log takes {} lines or {} MB of one run in a minute",
            thousands(count), thousands(flood::LINES_MAX), flood::BYTES_MAX / 1_000_000
        );
    }

    fn warn_of_remains(&self, outcome: &ProgramEnd, report: &mut RunReport) {
        let (job_id, job_name) = (self.ctx.run_id.as_str(), self.ctx.job.as_str());
        if outcome.left_behind > 0 {
            report.set("left_behind", outcome.left_behind);
            let (count, names) = (outcome.left_behind, outcome.left_names.join(", "));
            logging::warn!(job_id, job_name, count, names = names.as_str();
                "the command ended and left processes running, which were killed"
            );
        }
        if outcome.unkillable {
            logging::error!(job_id, job_name;
                "some processes of the command could not be killed: they belong to another user, or the kernel holds them"
            );
        }
    }

    /// The result, and the end of what the program said.
    fn judge(mut self, outcome: Option<ProgramEnd>) -> (Result<RunReport, JobError>, Tail) {
        if let Some(count) = self.flood.take_left_out() {
            self.log_left_out(count);
        }
        let tail = std::mem::replace(&mut self.tail, Tail::new(0));
        (self.result(outcome), tail)
    }

    fn result(mut self, outcome: Option<ProgramEnd>) -> Result<RunReport, JobError> {
        let (verdict, unreadable) = match std::mem::take(&mut self.last_lines).read() {
            None => (Verdict::default(), None),
            Some(Ok(verdict)) => (verdict, None),
            Some(Err(why)) => (Verdict::default(), Some(why)),
        };
        let mut report = RunReport { stats: verdict.statistics, ..RunReport::new() };
        if let Some(outcome) = &outcome {
            self.warn_of_remains(outcome, &mut report);
        }
        if let Some(reason) = self.told_to_stop {
            return Err(reason.with_report(report));
        }
        let reason = verdict.error.or_else(|| unreadable.clone()).or(self.last_error_line);
        let because = |what: String| match &reason {
            Some(reason) => format!("{what}: {reason}"),
            None => what,
        };
        let (kind, message) = match outcome.map(|outcome| outcome.ended) {
            Some(Ended::Exited(0)) if verdict.is_failure => {
                (JobErrorKind::Transient, because("the command reports a failure".to_owned()))
            }
            Some(Ended::Exited(0)) => match unreadable {
                None => return Ok(report),
                // The work is done, well or not: to do it again would not make the line readable.
                Some(unreadable) => (JobErrorKind::Permanent, unreadable),
            },
            // Exit codes of shells for a program that they cannot run; only their last line names it.
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
            Some(Ended::Unseen(error)) => {
                (JobErrorKind::Permanent, because(format!("lost sight of the command: {error}")))
            }
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

/// `1,823,000`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn signal_name(number: i32) -> String {
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
    fn long_numbers_have_commas() {
        let case = |number, expected: &str| assert_eq!(thousands(number), expected);
        case(7, "7");
        case(999, "999");
        case(10_000, "10,000");
        case(1_823_000, "1,823,000");
    }

    #[test]
    fn signals_are_named() {
        assert_eq!(signal_name(9), "signal 9 (SIGKILL)");
        assert_eq!(signal_name(40), "signal 40");
    }
}
