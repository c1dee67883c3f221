//! The program: all of it is in the library, and it adds no job to the built-in ones.

use std::process::ExitCode;

fn main() -> ExitCode {
    aclarai_scheduler::cli::main(|_| Ok(()))
}
