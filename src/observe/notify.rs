//! Somebody is told: the commands of `on_failure`, `on_recovery`, `on_success` and `scheduler.on_fault`.
//!
//! ```text
//! tick thread --run is over, recorded--> queue --> notify-0..3 --> history: how did the job stand? --> command
//! ```
//! A command is no run: it has a minute, at most four go on at once, and that one fails is a line in the log. How often
//! a job has failed in a row is read from the history, so a restart forgets nothing and a run by hand counts.
//!
//! The tick thread puts a word into the queue and goes on; a full queue loses the word, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::{Config, JobName, RunPolicy};
use crate::history::{History, Output, Standing, to_json, went_wrong};
use crate::job::{RunRecord, RunState};
use crate::jobs::Surroundings;
use crate::jobs::errand::Errand;
use crate::logging;
use crate::scheduler::{Event, Status};
use crate::state::StateError;
use crate::stop::{LAST_WORDS, Stop};
use crate::text;

/// How long one command may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How many commands go on at once.
const AT_ONCE: usize = 4;

/// How many words wait for a command that can take them. More come only where each of them hangs for its minute.
const QUEUE_DEPTH: usize = 256;

/// How much of an error a variable holds: one string of an environment has a bound, and all together have one.
const VARIABLE_MAX: usize = 8 * 1024;

/// Which commands tell of what, as the configuration says.
#[derive(Debug)]
pub(crate) struct Hooks {
    jobs: BTreeMap<JobName, JobHooks>,
    on_fault: Option<Vec<String>>,
    state_dir: PathBuf,
    surroundings: Arc<Surroundings>,
}

/// The commands of one job.
#[derive(Clone, Debug, Default)]
struct JobHooks {
    on_failure: Option<Vec<String>>,
    on_recovery: Option<Vec<String>>,
    on_success: Option<Vec<String>>,
    notify_every: Option<u32>,
}

impl Hooks {
    /// The commands that this configuration names.
    pub(crate) fn of(config: &Config, surroundings: Arc<Surroundings>) -> Hooks {
        let hooks = |policy: &RunPolicy| JobHooks {
            on_failure: policy.on_failure.clone(),
            on_recovery: policy.on_recovery.clone(),
            on_success: policy.on_success.clone(),
            notify_every: policy.notify_every,
        };
        let jobs = config.scheduler.jobs.values();
        Hooks {
            jobs: jobs
                .map(|spec| (spec.name.clone(), hooks(&spec.policy)))
                .filter(|(_, hooks)| !hooks.is_empty())
                .collect(),
            on_fault: config.scheduler.on_fault.clone(),
            state_dir: config.state_dir.clone(),
            surroundings,
        }
    }

    /// Whether somebody may be told of this run.
    fn concern(&self, record: &RunRecord) -> bool {
        went_wrong(record).is_some() && self.jobs.contains_key(&record.job)
    }

    /// Runs the commands that a run which is over calls for, one after the other. It is in the history by now.
    pub(crate) fn tell_of_run(&self, record: &RunRecord, clock: &Arc<dyn Clock>, stop: &Stop) {
        let (Some(is_wrong), Some(hooks)) = (went_wrong(record), self.jobs.get(&record.job)) else {
            return;
        };
        let (standing, output) = self.look_up(record).unwrap_or_else(|error| {
            let error = error.to_string();
            logging::warn!(
                job_id = record.run_id.as_str(), job_name = record.job.as_str(),
                error = error.as_str();
                "history cannot be read: this run is told of as if it were the first of its job"
            );
            (Standing::default(), None)
        });
        let failures = standing.failures + u64::from(is_wrong);
        for (hook, argv) in hooks.due(is_wrong, standing.failures) {
            let mut shown = to_json(record);
            shown.insert("output".to_owned(), output.clone().into());
            let errand = Errand {
                argv,
                variables: variables(record, is_wrong, failures, &standing),
                input: Value::Object(shown).to_string(),
                label: record.run_id.as_str(),
            };
            self.carry_out(hook, record.job.as_str(), errand, clock, stop);
        }
    }

    fn look_up(&self, record: &RunRecord) -> Result<(Standing, Option<String>), StateError> {
        let Some(history) = History::open(&self.state_dir)? else {
            return Ok((Standing::default(), None));
        };
        let output = match history.output(record.run_id.as_str())? {
            Output::Kept(said) => Some(String::from_utf8_lossy(&said).into_owned()),
            Output::NotKept | Output::NoSuchRun => None,
        };
        Ok((history.standing_before(&record.job, &record.run_id)?, output))
    }

    fn tell_of_fault(&self, fault: &Fault, clock: &Arc<dyn Clock>, stop: &Stop) {
        let Some(argv) = &self.on_fault else { return };
        let at = text::instant(clock.now());
        let errand = Errand {
            argv,
            variables: vec![
                ("ACLARAI_FAULT", fault.kind.to_owned()),
                ("ACLARAI_ERROR", cut(&fault.text)),
            ],
            input: json!({"fault": fault.kind, "error": fault.text, "at": at}).to_string(),
            label: "on_fault",
        };
        self.carry_out("on_fault", fault.kind, errand, clock, stop);
    }

    fn carry_out(
        &self,
        hook: &str,
        about: &str,
        errand: Errand<'_>,
        clock: &Arc<dyn Clock>,
        stop: &Stop,
    ) {
        let stop = stop.with_deadline(clock.monotonic() + TIMEOUT, Arc::clone(clock));
        if let Err(error) = errand.run(&self.surroundings, &stop) {
            logging::warn!(
                hook, about, error = error.as_str();
                "command that tells somebody has failed: perhaps nobody was told"
            );
        }
    }
}

impl JobHooks {
    fn is_empty(&self) -> bool {
        self.on_failure.is_none() && self.on_recovery.is_none() && self.on_success.is_none()
    }

    /// The commands that a run calls for, before which so many went wrong in a row.
    fn due(&self, is_wrong: bool, failures_before: u64) -> Vec<(&'static str, &[String])> {
        [
            ("on_failure", &self.on_failure, is_wrong && self.is_worth_a_word(failures_before + 1)),
            ("on_recovery", &self.on_recovery, !is_wrong && failures_before > 0),
            ("on_success", &self.on_success, !is_wrong),
        ]
        .into_iter()
        .filter_map(|(hook, argv, is_due)| {
            argv.as_deref().filter(|_| is_due).map(|argv| (hook, argv))
        })
        .collect()
    }

    /// Whether the n-th failure in a row is one to tell of.
    fn is_worth_a_word(&self, n: u64) -> bool {
        match self.notify_every {
            None => n.is_power_of_two(),
            Some(every) => n == 1 || n.is_multiple_of(u64::from(every)),
        }
    }
}

/// The variables in a command's environment.
fn variables(
    record: &RunRecord,
    is_wrong: bool,
    failures: u64,
    standing: &Standing,
) -> Vec<(&'static str, String)> {
    let outcome = match record.state {
        RunState::Succeeded if is_wrong => "needs_attention",
        state => state.as_str(),
    };
    vec![
        ("ACLARAI_JOB_NAME", record.job.as_str().to_owned()),
        ("ACLARAI_JOB_ID", record.run_id.as_str().to_owned()),
        ("ACLARAI_OUTCOME", outcome.to_owned()),
        ("ACLARAI_ERROR", cut(record.error.as_deref().unwrap_or_default())),
        ("ACLARAI_DURATION", record.duration_s.map(|s| s.to_string()).unwrap_or_default()),
        ("ACLARAI_SCHEDULED_FOR", text::instant(record.scheduled_for)),
        ("ACLARAI_CONSECUTIVE_FAILURES", failures.to_string()),
        ("ACLARAI_LAST_SUCCESS", standing.last_success.map(text::instant).unwrap_or_default()),
    ]
}

/// As much of a text as a variable may hold, without the one character that it may not.
fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(VARIABLE_MAX);
    text[..end].replace('\0', "\u{fffd}")
}

/// Something that keeps the daemon from deciding.
#[derive(Debug)]
struct Fault {
    kind: &'static str,
    text: String,
}

enum Word {
    Run(Box<RunRecord>),
    Fault(Fault),
    /// For the thread that takes it.
    End,
}

/// The queue of a daemon, and the threads that empty it. Nothing is there before the first word.
pub(crate) struct Notifier {
    shared: Arc<Shared>,
    queue: Sender<Word>,
    intake: Receiver<Word>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    hooks: Mutex<Arc<Hooks>>,
    stop: Stop,
}

impl Shared {
    fn hooks(&self) -> Arc<Hooks> {
        Arc::clone(&self.hooks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn work(&self, intake: &Receiver<Word>) {
        while let Ok(word) = intake.recv() {
            let hooks = self.hooks();
            match word {
                Word::Run(record) => hooks.tell_of_run(&record, &self.clock, &self.stop),
                Word::Fault(fault) => hooks.tell_of_fault(&fault, &self.clock, &self.stop),
                Word::End => return,
            }
        }
    }
}

impl Notifier {
    /// Tells by these commands until others are [set](Notifier::set).
    pub(crate) fn new(clock: Arc<dyn Clock>, hooks: Hooks) -> Notifier {
        let (queue, intake) = bounded(QUEUE_DEPTH);
        let hooks = Mutex::new(Arc::new(hooks));
        let shared = Arc::new(Shared { clock, hooks, stop: Stop::new() });
        Notifier { shared, queue, intake, threads: Mutex::default() }
    }

    /// Takes over the commands of another configuration.
    pub(crate) fn set(&self, hooks: Hooks) {
        *self.shared.hooks.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(hooks);
    }

    /// Hears what the scheduler says; does not wait.
    pub(crate) fn hear(&self, event: &Event<'_>) {
        if let Event::Run(record) = event
            && self.shared.hooks().concern(record)
        {
            self.put(Word::Run(Box::new((*record).clone())));
        }
    }

    /// The daemon cannot decide, or will not: `kind` is one of `state`, `starvation`, `clock` and `configuration`.
    pub(crate) fn fault(&self, kind: &'static str, text: &str) {
        if self.shared.hooks().on_fault.is_some() {
            self.put(Word::Fault(Fault { kind, text: text.to_owned() }));
        }
    }

    fn put(&self, word: Word) {
        if self.queue.try_send(word).is_err() {
            logging::warn!(
                most = QUEUE_DEPTH;
                "somebody is not told: the commands before this one hang, and too many wait"
            );
            return;
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() < AT_ONCE {
            let (shared, intake) = (Arc::clone(&self.shared), self.intake.clone());
            let thread = std::thread::Builder::new()
                .name(format!("notify-{}", threads.len()))
                .spawn(move || shared.work(&intake));
            match thread {
                Ok(thread) => threads.push(thread),
                // One of the others takes it.
                Err(_) if !threads.is_empty() => {}
                Err(error) => {
                    let error = error.to_string();
                    logging::warn!(
                        error = error.as_str();
                        "no thread for the command that tells somebody: told with the next one"
                    );
                }
            }
        }
    }

    /// Waits a little for what is still to be told, or not at all if `hurried`, then ends the commands that go on.
    pub(crate) fn stop(&self, hurried: bool) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for _ in &threads {
            // One for each thread, behind all that is to be told; a full queue ends them by the stop below.
            let _ = self.queue.try_send(Word::End);
        }
        let is_done = || threads.iter().all(JoinHandle::is_finished);
        let patience = if hurried { Duration::ZERO } else { LAST_WORDS };
        self.shared.clock.wait(patience, &is_done);
        if !is_done() {
            self.shared.stop.tell();
            let left = self.intake.try_iter().filter(|word| !matches!(word, Word::End)).count();
            for _ in &threads {
                let _ = self.queue.try_send(Word::End);
            }
            logging::warn!(left; "commands that tell somebody were ended with the daemon");
        }
        for thread in threads {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

/// Notices in what the scheduler shows that a fault has begun.
#[derive(Debug, Default)]
pub(crate) struct FaultWatch {
    known: BTreeSet<&'static str>,
}

impl FaultWatch {
    /// The faults that were not there the last time.
    pub(crate) fn look(&mut self, status: &Status) -> Vec<(&'static str, String)> {
        let names = status.starving.iter().map(JobName::as_str).collect::<Vec<_>>().join(", ");
        let starving = (!names.is_empty())
            .then(|| format!("all workers are held while other runs wait: {names}"));
        let faults = [
            ("state", status.fault.clone()),
            ("clock", status.clock_not_set.clone()),
            ("starvation", starving),
        ];
        let mut begun = Vec::new();
        for (kind, text) in faults {
            match text {
                Some(text) if self.known.insert(kind) => begun.push((kind, text)),
                Some(_) => {}
                None => {
                    self.known.remove(kind);
                }
            }
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(notify_every: Option<u32>) -> JobHooks {
        let command = |name: &str| Some(vec![name.to_owned()]);
        JobHooks {
            on_failure: command("f"),
            on_recovery: command("r"),
            on_success: command("s"),
            notify_every,
        }
    }

    #[test]
    fn a_failure_is_told_of_at_the_first_and_then_ever_less_often() {
        let told = |every| -> Vec<u64> {
            let hooks = hooks(every);
            (1..=20).filter(|n| !hooks.due(true, n - 1).is_empty()).collect()
        };
        assert_eq!(told(None), [1, 2, 4, 8, 16]);
        assert_eq!(told(Some(1)), (1..=20).collect::<Vec<_>>());
        assert_eq!(told(Some(6)), [1, 6, 12, 18]);
    }

    #[test]
    fn a_success_is_told_of_and_the_first_after_failures_twice() {
        let names = |is_wrong, before| -> Vec<&str> {
            hooks(None).due(is_wrong, before).into_iter().map(|(hook, _)| hook).collect()
        };
        assert_eq!(names(false, 0), ["on_success"]);
        assert_eq!(names(false, 3), ["on_recovery", "on_success"]);
        assert_eq!(names(true, 0), ["on_failure"]);
        let only_failures = JobHooks { on_failure: Some(Vec::new()), ..JobHooks::default() };
        assert!(only_failures.due(false, 3).is_empty());
    }

    #[test]
    fn a_fault_is_told_of_when_it_begins() {
        let mut watch = FaultWatch::default();
        let mut status = Status::default();
        assert!(watch.look(&status).is_empty());
        status.fault = Some("state.db: disk full".to_owned());
        assert_eq!(watch.look(&status), [("state", "state.db: disk full".to_owned())]);
        status.fault = Some("state.db: read-only".to_owned());
        assert!(watch.look(&status).is_empty());
        status.fault = None;
        assert!(watch.look(&status).is_empty());
        status.fault = Some("state.db: disk full".to_owned());
        assert_eq!(watch.look(&status).len(), 1);
    }

    #[test]
    fn a_variable_holds_no_more_than_it_may() {
        assert_eq!(cut("a\0b"), "a\u{fffd}b");
        assert_eq!(cut(&"ä".repeat(VARIABLE_MAX)).len(), VARIABLE_MAX);
    }
}
