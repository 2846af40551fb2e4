//! The result of compiling a cell, and its form in the store.

use crate::canonical;
use crate::kernel::Kernel;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The result of compiling a cell. In the store, it is a line of JSON, followed by the shared object.
#[derive(Deserialize, Serialize)]
pub(crate) struct Compiled {
    /// The text that was compiled.
    pub(crate) source: String,
    /// The messages of the compiler.
    pub(crate) messages: Vec<Value>,
    /// The path of the shared object, relative to the kernel's directory. `None` after an error.
    pub(crate) shared_object: Option<PathBuf>,
    /// The lock file after the compilation.
    pub(crate) lock: String,
}

impl Compiled {
    /// Creates the result of a compilation without a shared object.
    pub(crate) fn new(kernel: &Kernel, source: &str, messages: Vec<Value>) -> Compiled {
        Compiled {
            source: source.to_owned(),
            messages,
            shared_object: None,
            lock: kernel.lock(),
        }
    }

    /// Returns whether the compiler found an error in the cell.
    pub(crate) fn has_error(&self) -> bool {
        self.messages
            .iter()
            .any(|message| message["level"] == "error")
    }

    /// Stores the result. If that fails, the cell is compiled again next time.
    pub(crate) fn store(&self, kernel: &Kernel, key: &str) {
        let Ok(json) = serde_json::to_string(self) else {
            return;
        };
        let mut content = kernel.to_portable(&json).into_bytes();
        content.push(b'\n');
        if let Some(path) = &self.shared_object {
            let Ok(shared_object) = fs::read(kernel.directory.join(path)) else {
                return;
            };
            content.extend(shared_object);
        }
        kernel.store.put(key, &content);
    }

    /// Writes a stored result to the place where the compiler puts it. The order of the variables in
    /// `source` may differ from their order in the stored text.
    pub(crate) fn restore(kernel: &Kernel, stored: &[u8], source: &str) -> Result<Compiled> {
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
}

/// Replaces a file, even if it is in use.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(new, path)
}

/// Returns, for each line of `from`, the number of the same line in `to`. Both texts have the same canonical
/// text. Lines count from 0.
fn moved_lines(from: &str, to: &str) -> Vec<usize> {
    let mut moved: Vec<(usize, usize)> = canonical::order(from)
        .into_iter()
        .zip(canonical::order(to))
        .collect();
    moved.sort_unstable();
    moved.into_iter().map(|(_, to)| to).collect()
}

/// Changes the line numbers of all spans in a message of the compiler. The compiler counts from 1.
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
