//! The cargo of a kernel. It answers from a store what cargo has answered before.
//!
//! A cell is a crate: evcxr writes it to `src/lib.rs` and calls `cargo build`. That takes most of the
//! time of a cell, although the cells of the two notebooks are compiled again and again, in each
//! kernel. rust-analyzer asks cargo about the crate at each start of a kernel, too. So `make setup`
//! runs both notebooks once and fills a store ([`store`]) with the results:
//!
//! - the shared object, or the errors, of each cell ([`cell`]),
//! - the call of rustc by which cargo compiles a cell ([`rustc`]), for cells that are new: cargo would
//!   first check whether the 170 crates behind the cell are up to date,
//! - the other answers of cargo ([`answer`]).
//!
//! A result is only used for what it was made from: the key is a hash of everything that cargo reads
//! ([`kernel`]). As soon as a kernel compiles anything else, such as a crate added with `:dep`, cargo
//! does everything in that kernel.
//!
//! It also restores the versions of our `Cargo.lock`, which cargo removes, and hides the dependencies
//! of the library from rust-analyzer ([`metadata`]).

mod answer;
mod canonical;
mod cell;
mod inputs;
mod kernel;
mod metadata;
mod rustc;
mod rustup;
mod store;
mod stub;

use kernel::Kernel;
use std::process::{Command, ExitCode, ExitStatus};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if rustup::is_called() {
        return rustup::answer(&arguments);
    }
    if rustc::is_called_as_wrapper(&arguments) {
        return rustc::wrap(&arguments);
    }
    let Some(kernel) = Kernel::from_environment() else {
        eprintln!(
            "this is the cargo of a kernel; hint: it needs the environment of kernel/start.py"
        );
        return ExitCode::FAILURE;
    };
    kernel.restore_lock();
    match arguments.first().map(String::as_str) {
        Some("build") => cell::build(&kernel, &arguments),
        // What `make setup` does not ask, and what changes files.
        Some("check" | "clean" | "add" | "update" | "fetch") | None => {
            kernel.disable_store();
            run(&mut kernel.cargo(&arguments))
        }
        Some(_) => answer::answer(&kernel, &arguments),
    }
}

/// Runs a program in place of this one.
fn run(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) => exit_code(status),
        Err(error) => failed(&error),
    }
}

/// Returns the exit code of a program.
fn exit_code(status: ExitStatus) -> ExitCode {
    ExitCode::from(status.code().map_or(1, |code| code as u8))
}

/// Says that a program cannot run.
fn failed(error: &std::io::Error) -> ExitCode {
    eprintln!("cargo cannot run: {error}; hint: run `make setup` in the repository");
    ExitCode::FAILURE
}

impl Kernel {
    /// Returns a call of the real cargo.
    fn cargo(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(arguments).env("CARGO_HOME", &self.cargo_home);
        command
    }
}
