//! A command that is run for what became of a run, not as one: it has no id, no row in the history, and no statistics.

use std::ffi::OsString;

use super::attend::{Listener, attend};
use super::command::signal_name;
use super::deps::Surroundings;
use super::output::Line;
use super::supervisor::{self, Ended, Order};
use crate::stop::Stop;
use crate::text::not_started;

/// A command and what it is given.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// Variables beside those that each command finds.
    pub variables: Vec<(&'static str, String)>,
    /// Its standard input.
    pub input: String,
    /// Shown in process lists.
    pub label: &'a str,
}

impl Errand<'_> {
    /// Runs the command to its end, which comes at the latest soon after `stop` is told; the error is a line for a
    /// person.
    pub(crate) fn run(self, surroundings: &Surroundings, stop: &Stop) -> Result<(), String> {
        let ours = self.variables.into_iter().map(|(name, value)| (name, OsString::from(value)));
        let order = Order {
            argv: self.argv.to_vec(),
            env: surroundings.environment_with(ours.collect()),
            working_dir: None,
            input: Some(self.input),
            until_ms: None,
        };
        let supervised = supervisor::start(&surroundings.supervisor, self.label, &order, None)
            .map_err(|error| {
                format!("cannot start a supervisor for the command: {}", not_started(&error))
            })?;
        let mut said = Said { stop, last_line: None, is_told: false };
        let outcome = attend(supervised, &mut said)
            .map_err(|error| format!("lost sight of the command: {error}"))?;
        let why = match outcome.map(|outcome| outcome.ended) {
            _ if said.is_told => "it took too long and was ended".to_owned(),
            Some(Ended::Exited(0)) => return Ok(()),
            Some(Ended::Exited(code)) => format!("exit code {code}"),
            Some(Ended::Signalled(signal)) => format!("killed by {}", signal_name(signal)),
            Some(Ended::NotStarted(reason)) => return Err(reason),
            Some(Ended::Unseen(error)) => format!("lost sight of the command: {error}"),
            None => "its supervisor was killed, and the command with it".to_owned(),
        };
        Err(match said.last_line {
            Some(line) => format!("{why}: {line}"),
            None => why,
        })
    }
}

/// The last line of either stream: in most cases the reason of a failure.
struct Said<'a> {
    stop: &'a Stop,
    last_line: Option<String>,
    is_told: bool,
}

impl Said<'_> {
    fn hear(&mut self, line: Line<'_>) {
        if !line.is_blank() {
            self.last_line = Some(line.show());
        }
    }
}

impl Listener for Said<'_> {
    fn standard_output(&mut self, line: Line<'_>) {
        self.hear(line);
    }

    fn standard_error(&mut self, line: Line<'_>) {
        self.hear(line);
    }

    fn is_told_to_end(&mut self) -> bool {
        self.is_told = self.stop.is_told();
        self.is_told
    }
}
