//! The policy of a job: when and how often a run may start, how long it may take, who is told, and what is kept of its
//! output. The one file that knows these keys: `job_defaults` and each job are read by the same function, which
//! takes from a base what is not given.

use std::time::Duration;

use super::node::Node;
use super::section::Section;
use super::value;

/// The longest tail of a run's output that can be kept.
const KEEP_OUTPUT_BYTES_MAX: u32 = 64 << 20;

/// `job_defaults` and the same keys of each job.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPolicy {
    /// How late an occurrence may be decided and still run; `None`: any lateness.
    pub misfire_grace_time: Option<Duration>,
    /// Of several due occurrences, only the newest runs.
    pub coalesce: bool,
    /// How many runs of the job may be queued or running at once.
    pub max_instances: u32,
    /// The treatment of an occurrence at that limit.
    pub overlap: Overlap,
    /// Each occurrence is delayed by 0 to this many whole seconds, the same after a restart.
    pub jitter: Duration,
    /// How long a run may take; `None`: any time.
    pub timeout: Option<Duration>,
    /// How often a run that failed with a transient error is tried again.
    pub retries: RetryPolicy,
    /// Whether a run cut off by a crash is run again at the next start.
    pub rerun_interrupted: bool,
    /// A command that is run after a run that failed.
    pub on_failure: Option<Vec<String>>,
    /// A command that is run after the first success that follows failures.
    pub on_recovery: Option<Vec<String>>,
    /// A command that is run after each success.
    pub on_success: Option<Vec<String>>,
    /// `on_failure` is run at the first of consecutive failures and then at each n-th; `None`: at each power of two.
    pub notify_every: Option<u32>,
    /// Of which runs the end of the output is kept.
    pub keep_output: KeepOutput,
    /// How much of it, at most.
    pub keep_output_bytes: u64,
}

impl Default for RunPolicy {
    fn default() -> RunPolicy {
        RunPolicy {
            misfire_grace_time: Some(Duration::from_secs(300)),
            coalesce: true,
            max_instances: 1,
            overlap: Overlap::Skip,
            jitter: Duration::ZERO,
            timeout: None,
            retries: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() },
            rerun_interrupted: false,
            on_failure: None,
            on_recovery: None,
            on_success: None,
            notify_every: None,
            keep_output: KeepOutput::Failed,
            keep_output_bytes: 64 << 10,
        }
    }
}

impl RunPolicy {
    /// Takes the policy's keys out of a section; what is not given there is as in `base`.
    pub(super) fn read(section: &mut Section<'_>, base: &RunPolicy) -> RunPolicy {
        let command = |section: &mut Section<'_>, key, base: &Option<Vec<String>>| {
            section.command(key).map_or_else(|| base.clone(), |given| given.value)
        };
        RunPolicy {
            misfire_grace_time: section.nullable_or(
                "misfire_grace_time",
                value::duration_of,
                || base.misfire_grace_time,
            ),
            coalesce: section.flag("coalesce").map_or(base.coalesce, |given| given.value),
            max_instances: section.or("max_instances", value::whole(1..=1_000), base.max_instances),
            overlap: section.or("overlap", overlap, base.overlap),
            jitter: section.or("jitter", value::whole_seconds, base.jitter),
            timeout: section.nullable_or("timeout", value::duration_over_zero, || base.timeout),
            retries: {
                let mut section = section.section("retries");
                let retries = RetryPolicy::read(&mut section, base.retries);
                section.refuse_unknown();
                retries
            },
            rerun_interrupted: section
                .flag("rerun_interrupted")
                .map_or(base.rerun_interrupted, |given| given.value),
            on_failure: command(section, "on_failure", &base.on_failure),
            on_recovery: command(section, "on_recovery", &base.on_recovery),
            on_success: command(section, "on_success", &base.on_success),
            notify_every: {
                let form = |value: &Node| value::whole(1..=1_000_000)(value);
                section.nullable_or("notify_every", form, || base.notify_every)
            },
            keep_output: section.or("keep_output", keep_output, base.keep_output),
            keep_output_bytes: {
                let bytes =
                    section.maybe("keep_output_bytes", value::whole(1..=KEEP_OUTPUT_BYTES_MAX));
                bytes.map_or(base.keep_output_bytes, |given| u64::from(given.value))
            },
        }
    }
}

/// The fate of an occurrence that is due while `max_instances` runs are queued or running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// The occurrence is skipped, and recorded.
    Skip,
    /// The occurrence waits for the running one to end; only the newest waits.
    Queue,
}

fn overlap(value: &Node) -> Result<Overlap, String> {
    match value.as_str() {
        Some("skip") => Ok(Overlap::Skip),
        Some("queue") => Ok(Overlap::Queue),
        _ => Err("write skip or queue".to_owned()),
    }
}

/// Of which runs the end of the output is kept with the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepOutput {
    /// Of those that failed.
    Failed,
    /// Of all.
    Always,
    /// Of none.
    Never,
}

fn keep_output(value: &Node) -> Result<KeepOutput, String> {
    match value.as_str() {
        Some("failed") => Ok(KeepOutput::Failed),
        Some("always") => Ok(KeepOutput::Always),
        Some("never") => Ok(KeepOutput::Never),
        _ => Err("write failed, always or never".to_owned()),
    }
}

/// How a transient failure is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub max_attempts: u32,
    /// The n-th wait is this to the power of n, in seconds.
    pub backoff_factor: f64,
    /// No wait is longer than this.
    pub max_wait_time: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy { max_attempts: 3, backoff_factor: 2.0, max_wait_time: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// The wait before try `attempt` + 1, `attempt` counted from 1.
    pub fn wait_after(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.backoff_factor.powi(exponent).min(self.max_wait_time.as_secs_f64());
        Duration::from_secs_f64(seconds.max(0.0))
    }

    /// Takes the keys out of a section; what is not given there is as in `base`.
    pub(super) fn read(section: &mut Section<'_>, base: RetryPolicy) -> RetryPolicy {
        RetryPolicy {
            max_attempts: section.or("max_attempts", value::whole(1..=1_000), base.max_attempts),
            backoff_factor: section.or(
                "backoff_factor",
                value::number(0.0..=1_000.0),
                base.backoff_factor,
            ),
            max_wait_time: section.or("max_wait_time", value::duration_of, base.max_wait_time),
        }
    }
}
