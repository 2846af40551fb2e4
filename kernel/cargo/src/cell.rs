//! Compiling a cell, or taking it from the store.

use crate::kernel::{Kernel, State};
use crate::rustc::{self, Call};
use crate::{canonical, exit_code, failed, inputs, stub};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

/// The exit code of cargo after a compilation error.
const FAILED: u8 = 101;

/// What compiling a cell has led to. In the store, the shared object follows after a line of JSON.
#[derive(Deserialize, Serialize)]
pub(crate) struct Compiled {
    /// The text, in the order in which it was compiled.
    pub(crate) source: String,
    /// The messages of the compiler.
    pub(crate) messages: Vec<Value>,
    /// The path of the shared object below the kernel's directory; none after an error.
    pub(crate) shared_object: Option<PathBuf>,
    /// The lock file after the compilation.
    lock: String,
}

pub(crate) fn build(kernel: &Kernel, arguments: &[String]) -> ExitCode {
    let source = fs::read_to_string(kernel.directory.join("src/lib.rs")).unwrap_or_default();
    let State::Prepared(state) = kernel.state() else {
        kernel.disable_store();
        let mut cargo = kernel.cargo(arguments);
        // The types of the cells keep their identity, see rustc.rs.
        let status = rustc::record(kernel, &mut cargo).and_then(|_| cargo.status());
        return status.map_or_else(|error| failed(&error), exit_code);
    };
    let mut key = kernel.key("cell", &state, arguments);
    key.add(&canonical::text(&source));
    let key = key.finish();
    if kernel.reads_store()
        && let Some(stored) = kernel.store.get(&key)
        && let Ok(compiled) = restore(kernel, &stored, &source)
    {
        return print(kernel, &compiled);
    }

    match compile(kernel, arguments, &state, source) {
        Ok(Outcome::Cell(compiled)) => {
            if !inputs::has_other_inputs(kernel, &compiled) {
                store(kernel, &key, &compiled);
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

/// How a call of cargo ended.
enum Outcome {
    /// With a shared object, or with errors in the cell.
    Cell(Compiled),
    /// In another way, such as a full disk, that may not come again. Its output has been printed.
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
        false => has_error(&compiled.messages),
    };
    if is_cell {
        return Ok(Outcome::Cell(compiled));
    }
    std::io::stdout().write_all(&built.stdout)?;
    Ok(Outcome::Failure(exit_code(built.status)))
}

/// Compiles the cell with the call of rustc that cargo has made before. Returns `None` where that is not
/// possible, for a reason other than an error in the cell.
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
        // Where cargo puts it: evcxr moves the file, and the compiler expects its own to stay.
        let made = call.shared_object()?;
        let wanted = made.parent()?.parent()?.join(made.file_name()?);
        replace(&wanted, &fs::read(made).ok()?).ok()?;
        compiled.shared_object = Some(wanted.strip_prefix(&kernel.directory).ok()?.to_owned());
    } else if !has_error(&compiled.messages) {
        return None;
    }
    Some(compiled)
}

fn has_error(messages: &[Value]) -> bool {
    messages.iter().any(|message| message["level"] == "error")
}

fn store(kernel: &Kernel, key: &str, compiled: &Compiled) {
    let Ok(json) = serde_json::to_string(compiled) else {
        return;
    };
    let mut content = kernel.to_portable(&json).into_bytes();
    content.push(b'\n');
    if let Some(path) = &compiled.shared_object {
        let Ok(shared_object) = fs::read(kernel.directory.join(path)) else {
            return;
        };
        content.extend(shared_object);
    }
    kernel.store.put(key, &content);
}

/// Does what compiling the cell would do.
fn restore(kernel: &Kernel, stored: &[u8], source: &str) -> Result<Compiled> {
    let end = stored
        .iter()
        .position(|&byte| byte == b'\n')
        .ok_or(ErrorKind::InvalidData)?;
    let json = kernel.localize(&String::from_utf8_lossy(&stored[..end]));
    let mut compiled: Compiled = serde_json::from_str(&json).map_err(Error::other)?;
    if let Some(path) = &compiled.shared_object {
        replace(&kernel.directory.join(path), &stored[end + 1..])?;
    }
    kernel.set_lock(&compiled.lock)?;
    // evcxr finds the variable of an error by its line.
    let lines = moved_lines(&compiled.source, source);
    compiled
        .messages
        .iter_mut()
        .for_each(|message| move_lines(message, &lines));
    Ok(compiled)
}

/// Writes a file in place of another that may be in use.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(new, path)
}

/// Prints what evcxr reads of cargo's output.
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
    // evcxr may be gone.
    let _ = std::io::stdout().write_all(output.as_bytes());
    match compiled.shared_object {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(FAILED),
    }
}

/// Returns for each line of one text the same line in another one with the same canonical text, both
/// counted from 0.
fn moved_lines(from: &str, to: &str) -> Vec<usize> {
    let mut moved: Vec<(usize, usize)> = canonical::order(from)
        .into_iter()
        .zip(canonical::order(to))
        .collect();
    moved.sort_unstable();
    moved.into_iter().map(|(_, to)| to).collect()
}

/// Moves the lines of all spans in a message of the compiler, which counts from 1.
fn move_lines(message: &mut Value, lines: &[usize]) {
    match message {
        Value::Array(items) => items.iter_mut().for_each(|item| move_lines(item, lines)),
        Value::Object(object) => {
            let is_cell = object
                .get("file_name")
                .is_some_and(|file| file == "src/lib.rs");
            for (name, value) in object.iter_mut() {
                if is_cell && (name == "line_start" || name == "line_end") {
                    let line = value.as_u64().and_then(|line| usize::try_from(line).ok());
                    if let Some(line) = line.and_then(|line| lines.get(line.checked_sub(1)?)) {
                        *value = json!(line + 1);
                    }
                } else {
                    move_lines(value, lines);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_at_the_line_of_its_variable_also_in_another_order() {
        let put =
            |name| format!("evcxr_variable_store.put_variable::<i32>(stringify!({name}), {name});");
        let stored = format!("first\n{}\n{}\nlast\n", put("a"), put("b"));
        let now = format!("first\n{}\n{}\nlast\n", put("b"), put("a"));
        let lines = moved_lines(&stored, &now);
        let span =
            |start, end| json!({"file_name": "src/lib.rs", "line_start": start, "line_end": end});
        let foreign = json!({"file_name": "other.rs", "line_start": 2, "line_end": 2});
        let mut message = json!({
            "spans": [span(2, 2), foreign],
            "children": [{"spans": [{"expansion": {"span": span(3, 3)}}, span(4, 4)]}],
        });
        move_lines(&mut message, &lines);
        let expected = json!({
            "spans": [span(3, 3), foreign],
            "children": [{"spans": [{"expansion": {"span": span(2, 2)}}, span(4, 4)]}],
        });
        assert_eq!(message, expected);
    }
}
