//! `completions SHELL`: what makes a shell complete this program's words, made from the definition of the command line.

use clap::CommandFactory;
use clap_complete::generate;

use super::arguments::{Arguments, Shell};
use super::exit::{Exit, Failure};
use super::out::{Out, written};

pub(super) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    // Into memory first: the generators panic where a pipe is closed on them.
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    let script = String::from_utf8_lossy(&script);
    let mut out = Out::stdout();
    written(out.own(&script).and_then(|()| out.flush()), Exit::Done)
}
