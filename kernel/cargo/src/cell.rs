//! Compiles a cell, or takes its result from the store.

use crate::compiled::{self, Compiled};
use crate::kernel::{Kernel, State};
use crate::program::{exit_code, failed};
use crate::rustc::{self, Call};
use crate::{canonical, inputs, stub};
use serde_json::{Value, json};
use std::fs;
use std::io::{Result, Write};
use std::path::Path;
use std::process::{ExitCode, Stdio};

/// The exit code of cargo after a compilation error.
const FAILED: u8 = 101;

pub(crate) fn build(kernel: &Kernel, arguments: &[String]) -> ExitCode {
    let source = fs::read_to_string(kernel.directory.join("src/lib.rs")).unwrap_or_default();
    let State::Prepared(state) = kernel.state() else {
        kernel.disable_store();
        let mut cargo = kernel.cargo(arguments);
        // This keeps the identity of the types that cells define, see rustc.rs.
        let status = rustc::record(kernel, &mut cargo).and_then(|_| cargo.status());
        return status.map_or_else(|error| failed(&error), exit_code);
    };
    let mut key = kernel.key("cell", &state, arguments);
    key.add(&canonical::text(&source));
    let key = key.finish();
    if kernel.reads_store()
        && let Some(stored) = kernel.store.get(&key)
        && let Ok(compiled) = Compiled::restore(kernel, &stored, &source)
    {
        return print(kernel, &compiled);
    }

    match compile(kernel, arguments, &state, source) {
        Ok(Outcome::Cell(compiled)) => {
            if !inputs::has_other_inputs(kernel, &compiled) {
                compiled.store(kernel, &key);
            }
            match kernel.is_setup {
                true => stub::replace(kernel, &compiled)
                    .map_or_else(|error| failed(&error), |()| print(kernel, &compiled)),
                false => print(kernel, &compiled),
            }
        }
        Ok(Outcome::Failure(code)) => code,
        Err(error) => failed(&error),
    }
}

/// The outcome of a call of cargo.
enum Outcome {
    /// A shared object, or errors in the cell.
    Cell(Compiled),
    /// A failure for another reason, such as a full disk, which may be temporary. Its output has been printed.
    Failure(ExitCode),
}

fn compile(kernel: &Kernel, arguments: &[String], state: &str, source: String) -> Result<Outcome> {
    let text = source.clone() + &canonical::aliases(&source);
    fs::write(kernel.directory.join("src/lib.rs"), text)?;
    let call = kernel.key("call", state, arguments).finish();
    if kernel.reads_store()
        && let Some(stored) = kernel.store.get(&call)
        && let Some(compiled) = compile_with_rustc(kernel, &stored, &source)
    {
        return Ok(Outcome::Cell(compiled));
    }
    compile_with_cargo(kernel, arguments, source, &call)
}

/// Compiles the cell with the real cargo.
fn compile_with_cargo(
    kernel: &Kernel,
    arguments: &[String],
    source: String,
    call: &str,
) -> Result<Outcome> {
    let mut cargo = kernel.cargo(arguments);
    let record = rustc::record(kernel, &mut cargo)?;
    let built = cargo.stderr(Stdio::inherit()).output()?;
    if let Ok(record) = fs::read_to_string(record) {
        let record = kernel.to_portable(&record);
        kernel.store.put(call, record.as_bytes());
    }
    let mut compiled = Compiled {
        source,
        messages: Vec::new(),
        shared_object: None,
        lock: kernel.lock(),
    };
    for line in String::from_utf8_lossy(&built.stdout).lines() {
        let Ok(mut line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if line["target"]["name"] != rustc::CELL {
            continue;
        }
        match line["reason"].as_str() {
            Some("compiler-message") => compiled.messages.push(line["message"].take()),
            Some("compiler-artifact") => {
                let path = line["filenames"][0].as_str().map(Path::new);
                let path = path.and_then(|path| path.strip_prefix(&kernel.directory).ok());
                compiled.shared_object = path.map(Path::to_owned);
            }
            _ => {}
        }
    }
    let is_cell = match built.status.success() {
        true => compiled.shared_object.is_some(),
        false => compiled.has_error(),
    };
    if is_cell {
        return Ok(Outcome::Cell(compiled));
    }
    std::io::stdout().write_all(&built.stdout)?;
    Ok(Outcome::Failure(exit_code(built.status)))
}

/// Compiles the cell with the recorded call of rustc. Returns `None` if that fails for a reason other than
/// an error in the cell.
fn compile_with_rustc(kernel: &Kernel, call: &[u8], source: &str) -> Option<Compiled> {
    let call: Call = serde_json::from_str(&kernel.localize(&String::from_utf8_lossy(call))).ok()?;
    let output = call.run(kernel).ok()?;
    let messages: Vec<Value> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["$message_type"] == "diagnostic")
        .collect();
    let mut compiled = Compiled {
        source: source.to_owned(),
        messages,
        shared_object: None,
        lock: kernel.lock(),
    };
    if output.status.success() {
        // Copy the file to the place where cargo puts it. evcxr moves that copy, and the compiler's own file
        // stays.
        let made = call.shared_object()?;
        let wanted = made.parent()?.parent()?.join(made.file_name()?);
        compiled::replace(&wanted, &fs::read(made).ok()?).ok()?;
        compiled.shared_object = Some(wanted.strip_prefix(&kernel.directory).ok()?.to_owned());
    } else if !compiled.has_error() {
        return None;
    }
    Some(compiled)
}

/// Prints the part of cargo's output that evcxr reads.
fn print(kernel: &Kernel, compiled: &Compiled) -> ExitCode {
    let mut output = String::new();
    for message in &compiled.messages {
        let line = json!({"reason": "compiler-message", "target": {"name": rustc::CELL}, "message": message});
        output += &format!("{line}\n");
    }
    if let Some(path) = &compiled.shared_object {
        let files = [kernel.directory.join(path)];
        let line = json!({"reason": "compiler-artifact", "target": {"name": rustc::CELL}, "filenames": files});
        output += &format!("{line}\n");
    }
    // evcxr may have ended.
    let _ = std::io::stdout().write_all(output.as_bytes());
    match compiled.shared_object {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(FAILED),
    }
}
