//! Compiles a cell, or takes its result from the store.

use crate::compiled::{self, Compiled};
use crate::kernel::{Kernel, State};
use crate::messages::{self, Variables, errors};
use crate::program::{exit_code, failed};
use crate::rustc::{self, Call};
use crate::{canonical, inputs, patches, stub};
use serde_json::{Value, json};
use std::fs;
use std::io::{Result, Write};
use std::path::Path;
use std::process::{ExitCode, Output, Stdio};

/// The exit code of cargo after a compilation error.
const FAILED: u8 = 101;
pub(crate) fn build(kernel: &Kernel, arguments: &[String]) -> ExitCode {
    let source = kernel.source();
    if let Some(error) = messages::of_input(&source) {
        return print(kernel, &Compiled::new(kernel, &source, vec![error]));
    }
    let state = kernel.state();
    let mut key = kernel.key("cell", state.hash(), arguments);
    key.add(&canonical::text(&source));
    let key = key.finish();
    let is_stored = matches!(state, State::Prepared(_));
    if is_stored
        && kernel.reads_store()
        && let Some(stored) = kernel.store.get(&key)
        && let Ok(compiled) = Compiled::restore(kernel, &stored, &source)
    {
        return print(kernel, &compiled);
    }

    match compile(kernel, arguments, &state, source) {
        Ok(Outcome::Cell(compiled)) => {
            if is_stored && !inputs::has_other_inputs(kernel, &compiled) {
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

/// Checks a cell, and prints its errors. evcxr calls `cargo check` if it cannot infer the type of a variable.
/// The real one would compile all dependencies once more, which takes half a minute.
pub(crate) fn check(kernel: &Kernel, arguments: &[String]) -> ExitCode {
    let build = |argument: &String| match argument.as_str() {
        "check" => "build".to_owned(),
        _ => argument.clone(),
    };
    let arguments: Vec<String> = arguments.iter().map(build).collect();
    let (state, source) = (kernel.state(), kernel.source());
    let checked = known_call(kernel, &arguments, &state).and_then(|call| {
        let output = call.check().run(kernel).ok()?;
        Some(Compiled::new(kernel, &source, diagnostics(&output)))
    });
    match checked {
        Some(checked) => print(kernel, &checked),
        None => match compile_with_cargo(kernel, &arguments, source, &state) {
            Ok(Outcome::Cell(compiled)) => print(kernel, &compiled),
            Ok(Outcome::Failure(code)) => code,
            Err(error) => failed(&error),
        },
    }
}

/// The outcome of a call of cargo.
enum Outcome {
    /// A shared object, or errors in the cell.
    Cell(Compiled),
    /// A failure for another reason, such as a full disk, which may be temporary. Its output has been printed.
    Failure(ExitCode),
}

fn compile(
    kernel: &Kernel,
    arguments: &[String],
    state: &State,
    source: String,
) -> Result<Outcome> {
    let text = patches::apply(&source) + &canonical::aliases(&source);
    fs::write(kernel.directory.join("src/lib.rs"), text)?;
    if kernel.reads_store()
        && let Some(call) = known_call(kernel, arguments, state)
        && let Some(compiled) = compile_with_rustc(kernel, &call, &source)
    {
        return Ok(Outcome::Cell(compiled));
    }
    compile_with_cargo(kernel, arguments, source, state)
}

/// Returns the recorded call of rustc for the crates of this state.
fn known_call(kernel: &Kernel, arguments: &[String], state: &State) -> Option<Call> {
    let key = kernel.key("call", state.hash(), arguments).finish();
    let call = kernel.calls(state)?.get(&key)?;
    serde_json::from_str(&kernel.localize(&String::from_utf8_lossy(&call))).ok()
}

/// Compiles the cell with the real cargo.
fn compile_with_cargo(
    kernel: &Kernel,
    arguments: &[String],
    source: String,
    state: &State,
) -> Result<Outcome> {
    let mut cargo = kernel.cargo(arguments);
    let record = rustc::record(kernel, &mut cargo)?;
    let built = cargo.stderr(Stdio::inherit()).output()?;
    if let Ok(record) = fs::read_to_string(record)
        && let Some(calls) = kernel.calls(state)
    {
        let call = kernel.key("call", state.hash(), arguments).finish();
        let record = kernel.to_portable(&record);
        calls.put(&call, record.as_bytes());
    }
    let mut compiled = Compiled::new(kernel, &source, Vec::new());
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
fn compile_with_rustc(kernel: &Kernel, call: &Call, source: &str) -> Option<Compiled> {
    let output = call.run(kernel).ok()?;
    let mut compiled = Compiled::new(kernel, source, diagnostics(&output));
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

/// Returns the messages of the compiler in the output of rustc.
fn diagnostics(output: &Output) -> Vec<Value> {
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines = errors
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let is_diagnostic = |message: &Value| message["$message_type"] == "diagnostic";
    lines.filter(is_diagnostic).collect()
}

/// Prints the part of cargo's output that evcxr reads.
fn print(kernel: &Kernel, compiled: &Compiled) -> ExitCode {
    let mut output = String::new();
    let mut variables = Variables::read(kernel);
    for message in errors(&compiled.messages, &variables) {
        let line = json!({"reason": "compiler-message", "target": {"name": rustc::CELL}, "message": message});
        output += &format!("{line}\n");
    }
    if let Some(path) = &compiled.shared_object {
        let files = [kernel.directory.join(path)];
        let line = json!({"reason": "compiler-artifact", "target": {"name": rustc::CELL}, "filenames": files});
        output += &format!("{line}\n");
    }
    variables.note(compiled);
    // evcxr may have ended.
    let _ = std::io::stdout().write_all(output.as_bytes());
    match compiled.shared_object {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(FAILED),
    }
}
