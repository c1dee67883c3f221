//! The program: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    aclarai_scheduler::jobs::supervisor::dispatch().unwrap_or(ExitCode::SUCCESS)
}
