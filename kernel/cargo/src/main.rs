//! The cargo of a kernel. It takes known results from a store, and calls the real cargo for the others.
//!
//! `README.md` in this crate describes the stored results, and the behaviour of evcxr that the store relies
//! on. A module uses only modules further down this list:
//!
//! - [`cell`] compiles a cell or takes it from the store. [`answer`] does the same for calls of cargo
//!   that compile nothing. [`rustup`] answers calls of rustup.
//! - [`patches`]: changes of the code that evcxr adds. [`stub`]: cells that must not run. [`inputs`]: cells that must not be stored.
//! - [`messages`]: what a notebook shows of the compiler's messages.
//! - [`rustc`]: the call of the compiler. [`compiled`] and [`canonical`]: the result and the text of a
//!   cell. [`metadata`]: the crates that rust-analyzer reads.
//! - [`kernel`]: the directory and the settings of the kernel. [`store`], [`program`].

mod answer;
mod canonical;
mod cell;
mod compiled;
mod inputs;
mod kernel;
mod messages;
mod metadata;
mod patches;
mod program;
mod rustc;
mod rustup;
mod store;
mod stub;

use kernel::Kernel;
use program::run;
use std::process::ExitCode;

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
    kernel.use_release_profile();
    match arguments.first().map(String::as_str) {
        Some("build") => cell::build(&kernel, &arguments),
        Some("check") => cell::check(&kernel, &arguments),
        // These change files, and `make setup` calls none of them.
        Some("clean" | "add" | "update" | "fetch") | None => {
            kernel.disable_store();
            run(&mut kernel.cargo(&arguments))
        }
        Some(_) => answer::answer(&kernel, &arguments),
    }
}
