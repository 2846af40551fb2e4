//! Calls of cargo that compile nothing: rust-analyzer asks about the crate and the compiler.

use crate::kernel::{Kernel, State};
use crate::metadata;
use crate::program::failed;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::process::{ExitCode, Stdio};

#[derive(Deserialize, Serialize)]
struct Answer {
    code: u8,
    output: String,
    errors: String,
    /// The lock file after the call: `cargo metadata` may write it.
    lock: String,
}

pub(crate) fn answer(kernel: &Kernel, arguments: &[String]) -> ExitCode {
    let State::Prepared(state) = kernel.state() else {
        return give(&ask(kernel, arguments));
    };
    let key = kernel.key("answer", &state, arguments).finish();
    if kernel.reads_store()
        && let Some(stored) = kernel.store.get(&key)
        && let Some(answer) = restore(kernel, &stored)
    {
        return give(&Ok(answer));
    }
    let answer = ask(kernel, arguments);
    if let Ok(answer) = &answer
        && let Ok(json) = serde_json::to_string(answer)
    {
        kernel.store.put(&key, kernel.to_portable(&json).as_bytes());
    }
    give(&answer)
}

fn restore(kernel: &Kernel, stored: &[u8]) -> Option<Answer> {
    let json = kernel.localize(&String::from_utf8_lossy(stored));
    let answer: Answer = serde_json::from_str(&json).ok()?;
    kernel.set_lock(&answer.lock).ok()?;
    Some(answer)
}

fn ask(kernel: &Kernel, arguments: &[String]) -> std::io::Result<Answer> {
    let asked = kernel.cargo(arguments).stdin(Stdio::null()).output()?;
    let trimmed = match arguments[0].as_str() {
        "metadata" => metadata::without_dependencies_of_the_library(&asked.stdout),
        _ => None,
    };
    Ok(Answer {
        code: asked.status.code().map_or(1, |code| code as u8),
        output: String::from_utf8_lossy(&trimmed.unwrap_or(asked.stdout)).into_owned(),
        errors: String::from_utf8_lossy(&asked.stderr).into_owned(),
        lock: kernel.lock(),
    })
}

fn give(answer: &std::io::Result<Answer>) -> ExitCode {
    match answer {
        Ok(answer) => {
            // The calling program may have ended.
            let _ = std::io::stdout().write_all(answer.output.as_bytes());
            let _ = std::io::stderr().write_all(answer.errors.as_bytes());
            ExitCode::from(answer.code)
        }
        Err(error) => failed(error),
    }
}
