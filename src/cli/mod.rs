//! The command line: what was asked for, done by one function per command, and an exit code.
//!
//! A command opens nothing that it does not need: `next` and `blocks` are over in a millisecond. What a command
//! has to say goes to standard output, or as one line to standard error where it fails; the log goes to standard
//! error too.

mod arguments;
mod attention;
mod backup;
pub(crate) mod bench;
mod blocks;
mod check;
mod completions;
mod dirty;
mod done;
mod exit;
mod history;
mod install;
mod jobs;
mod next;
mod out;
mod pause;
mod progress;
mod purge;
mod run;
mod serve;
mod setup;
mod show;
mod status;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use self::arguments::{Arguments, Command};
pub use self::exit::Exit;
use self::exit::Failure;
use self::out::say_at;
use self::setup::Setup;
use crate::app::Register;
use crate::job::{DuplicateKind, JobRegistry};
use crate::jobs::{init, supervisor};
use crate::signals;

/// The whole program. `register` adds kinds of job to the built-in ones, so that a program with jobs of its own is
/// `fn main() -> ExitCode { cli::main(|registry| registry.register("my_job", ...)) }`.
///
/// It is called again for each configuration that is read, so that a reload builds every job anew.
pub fn main(register: impl Fn(&mut JobRegistry) -> Result<(), DuplicateKind>) -> ExitCode {
    keep_memory_private();
    // Nothing a command does depends on it; a program with its own rules against it is no reason not to start.
    let _ = signals::reset_inherited();
    // Before anything else: this process may be the supervisor of a command job, which reads no arguments.
    if let Some(code) = supervisor::dispatch() {
        return code;
    }
    if let Some(code) = init::dispatch() {
        return code;
    }
    let result = match Arguments::try_parse() {
        Ok(arguments) => obey(arguments, &register),
        Err(error) => of_usage(&error),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            for line in &failure.lines {
                say_at(log::Level::Error, &format!("error: {line}"));
            }
            failure.exit.into()
        }
    }
}

/// No core dump holds the passwords of this process, wherever it runs and whatever its limits are, and no other process
/// of this user reads its memory or its environment. The programs of command jobs are not concerned: this ends with
/// the start of another program.
fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // The kernel cannot refuse this value.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Help and version are no errors; everything else clap has to say is one of usage, put into one line.
fn of_usage(error: &clap::Error) -> Result<Exit, Failure> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that has seen enough (`--help | head`) is no error either.
        let _ = error.print();
        return Ok(Exit::Done);
    }
    let text = error.render().to_string();
    let words: Vec<&str> = text
        .trim_start_matches("error: ")
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    Err(Failure::usage(format!("{} (--help shows how)", words.join(" ").replace(" tip: ", "; "))))
}

fn obey(arguments: Arguments, register: Register<'_>) -> Result<Exit, Failure> {
    let setup = Setup::new(arguments.global, register);
    match arguments.command.unwrap_or(Command::Serve(arguments::Serve::default())) {
        Command::Serve(arguments) => serve::serve(&setup, arguments),
        Command::Run(arguments) => run::run(&setup, &arguments),
        Command::Jobs(format) => jobs::jobs(&setup, &format),
        Command::Next(arguments) => next::next(&setup, &arguments),
        Command::Check(format) => check::check(&setup, &format),
        Command::History(arguments) => history::history(&setup, &arguments),
        Command::Status(format) => status::status(&setup, &format),
        Command::Attention(format) => attention::attention(&setup, &format),
        Command::Backup { dir } => backup::backup(&setup, &dir),
        Command::Pause => pause::pause(&setup),
        Command::Resume => pause::resume(&setup),
        Command::Purge(arguments) => purge::purge(&setup, &arguments),
        Command::Dirty(arguments) => dirty::dirty(&setup, &arguments),
        Command::Done(arguments) => done::done(&setup, &arguments),
        Command::Show(arguments) => show::show(&setup, &arguments),
        Command::Blocks(arguments) => blocks::blocks(&arguments),
        Command::Bench(arguments) => bench::bench(&setup, &arguments),
        Command::Install(arguments) => install::install(&setup, &arguments),
        Command::Completions { shell } => completions::completions(shell),
    }
}
