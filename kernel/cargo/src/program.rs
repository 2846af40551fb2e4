//! Runs programs.

use std::process::{Command, ExitCode, ExitStatus};

/// Runs a program, and returns its exit code.
pub(crate) fn run(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) => exit_code(status),
        Err(error) => failed(&error),
    }
}

/// Returns the exit code of a program.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    ExitCode::from(status.code().map_or(1, |code| code as u8))
}

/// Prints why a program cannot run, and returns a failure.
pub(crate) fn failed(error: &std::io::Error) -> ExitCode {
    eprintln!("cargo cannot run: {error}; hint: run `make setup` in the repository");
    ExitCode::FAILURE
}
