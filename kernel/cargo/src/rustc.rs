//! The call of rustc that compiles a cell.
//!
//! For the crate of the cells, cargo calls this program instead of rustc (as `RUSTC_WORKSPACE_WRAPPER`).
//!
//! - It records the call, so that the next cell can be compiled without cargo.
//! - It replaces `-C metadata` with a value that is the same in every kernel. Cargo derives the original
//!   value from the directory of the kernel, and the compiler derives the identity of types from it. With
//!   the original value, a variable whose type a cell defines would be lost when one cell comes from the
//!   store and another one was compiled in this kernel.

use crate::kernel::Kernel;
use crate::program::run;
use serde::{Deserialize, Serialize};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

/// The name that evcxr gives to the crate of the cells.
pub(crate) const CELL: &str = "ctx";
/// The environment variable with the path of the file for the recorded call.
const RECORD: &str = "LIVE_SENTIMENT_RECORD";

/// The variables that cargo sets for the compiler, besides `CARGO_PKG_…`. No other variables are stored,
/// because they may contain credentials, such as the token of a registry.
const SET_BY_CARGO: [&str; 7] = [
    "CARGO",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "LD_LIBRARY_PATH",
];

/// A call of rustc. In the store, a placeholder replaces the kernel's directory.
#[derive(Deserialize, Serialize)]
pub(crate) struct Call {
    rustc: String,
    arguments: Vec<String>,
    /// The variables that cargo has set.
    variables: Vec<(String, String)>,
}

pub(crate) fn is_called_as_wrapper(arguments: &[String]) -> bool {
    arguments.first().is_some_and(|first| {
        Path::new(first)
            .file_stem()
            .is_some_and(|name| name == "rustc")
    })
}

/// Runs rustc for cargo.
pub(crate) fn wrap(arguments: &[String]) -> ExitCode {
    let mut arguments = arguments.to_vec();
    if arguments
        .windows(2)
        .any(|pair| pair == ["--crate-name", CELL])
    {
        for argument in &mut arguments {
            if argument.starts_with("metadata=") {
                *argument = "metadata=cell".into();
            }
        }
        if let Some(file) = env::var_os(RECORD) {
            let is_set_by_cargo =
                |name: &str| SET_BY_CARGO.contains(&name) || name.starts_with("CARGO_PKG_");
            let call = Call {
                rustc: arguments[0].clone(),
                arguments: arguments[1..].to_vec(),
                variables: env::vars()
                    .filter(|(name, _)| is_set_by_cargo(name))
                    .collect(),
            };
            // If this fails, cargo compiles the next cell too.
            let _ = serde_json::to_vec(&call).map(|json| fs::write(file, json));
        }
    }
    run(Command::new(&arguments[0]).args(&arguments[1..]))
}

/// Makes cargo call this program instead of rustc for the cell. Returns the file for the recorded call.
pub(crate) fn record(kernel: &Kernel, cargo: &mut Command) -> std::io::Result<PathBuf> {
    let file = kernel.directory.join("rustc-call.json");
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    cargo
        .env("RUSTC_WORKSPACE_WRAPPER", env::current_exe()?)
        .env(RECORD, &file);
    Ok(file)
}

impl Call {
    pub(crate) fn run(&self, kernel: &Kernel) -> std::io::Result<Output> {
        Command::new(&self.rustc)
            .args(&self.arguments)
            .envs(self.variables.iter().cloned())
            .current_dir(&kernel.directory)
            .output()
    }

    /// Returns the call that only checks the code, as `cargo check` does.
    pub(crate) fn check(mut self) -> Call {
        for argument in &mut self.arguments {
            if argument.starts_with("--emit=") {
                *argument = "--emit=metadata".into();
            }
        }
        self
    }

    /// Returns the path of the shared object that the call creates.
    pub(crate) fn shared_object(&self) -> Option<PathBuf> {
        let at = self
            .arguments
            .iter()
            .position(|argument| argument == "--out-dir")?;
        let name = format!(
            "{}{CELL}{}",
            env::consts::DLL_PREFIX,
            env::consts::DLL_SUFFIX
        );
        Some(Path::new(self.arguments.get(at + 1)?).join(name))
    }
}
