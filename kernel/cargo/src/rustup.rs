//! The rustup of a kernel. evcxr asks rustup for the paths of cargo and rustc before it searches the PATH.

use crate::program::run;
use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Returns whether this program was called by the name `rustup`.
pub(crate) fn is_called() -> bool {
    let called = env::args_os().next();
    called.is_some_and(|path| Path::new(&path).file_stem() == Some(OsStr::new("rustup")))
}

pub(crate) fn answer(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let path = match arguments[..] {
        ["which", "cargo"] => {
            env::var("LIVE_SENTIMENT_BIN").map(|folder| format!("{folder}/cargo"))
        }
        ["which", "rustc"] => env::var("LIVE_SENTIMENT_RUSTC"),
        _ => Err(env::VarError::NotPresent),
    };
    if let Ok(path) = path {
        println!("{path}");
        return ExitCode::SUCCESS;
    }
    let path = env::var_os("LIVE_SENTIMENT_PATH").unwrap_or_default();
    run(Command::new("rustup").args(arguments).env("PATH", path))
}
