//! Finds cells whose result depends on more than their text.
//!
//! A cell may include a file, or read an environment variable while it is compiled. The key of a result
//! contains neither, so the result of such a cell is not stored.

use crate::compiled::Compiled;
use crate::kernel::Kernel;
use crate::rustc::CELL;
use serde_json::Value;
use std::fs;

/// Macros that read outside the source. `env!` also matches `option_env!`. The search requires a bracket
/// after the name, because a comment in evcxr's own text contains one of the names.
const READERS: [&str; 4] = ["include!", "include_str!", "include_bytes!", "env!"];
/// The error for a module whose file does not exist.
const MISSING_MODULE: &str = "E0583";

/// Returns whether the result of a cell may depend on more than its text.
pub(crate) fn has_other_inputs(kernel: &Kernel, cell: &Compiled) -> bool {
    let dense: String = cell.source.split_whitespace().collect();
    let calls = |reader: &str| {
        ["(", "[", "{"]
            .iter()
            .any(|bracket| dense.contains(&format!("{reader}{bracket}")))
    };
    if READERS.into_iter().any(calls) || dense.contains("#[path") {
        return true;
    }
    let Some(shared_object) = &cell.shared_object else {
        let mut errors = cell
            .messages
            .iter()
            .filter(|message| message["level"] == "error");
        return errors.any(may_be_transient);
    };
    // The compiler writes the list of its inputs to the folder from which cargo copies the shared object.
    let list = kernel.directory.join(shared_object);
    let list = list.with_file_name("deps").join(format!("{CELL}.d"));
    fs::read_to_string(list).map_or(true, |list| lists_others(&list))
}

/// Returns whether an error may have a cause outside the text. The errors of macros have no code.
fn may_be_transient(error: &Value) -> bool {
    let text = error["message"].as_str().unwrap_or_default();
    match error["code"]["code"].as_str() {
        Some(code) => code == MISSING_MODULE,
        None => !text.starts_with("aborting due to "),
    }
}

/// Returns whether the list contains a variable, or a file other than the cell. The list has the format of
/// make: a line `file:` for each file that was read, and a comment for each variable.
fn lists_others(list: &str) -> bool {
    list.lines().any(|line| {
        line.starts_with("# env-dep:")
            || line
                .strip_suffix(':')
                .is_some_and(|file| file != "src/lib.rs")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_and_variables_are_other_inputs() {
        let own = "/a/libctx.so: src/lib.rs\n\n/a/ctx.d: src/lib.rs\n\nsrc/lib.rs:\n";
        assert!(!lists_others(own));
        assert!(lists_others(&format!("{own}../data.txt:\n")));
        assert!(lists_others(&format!("{own}\n# env-dep:HOME=/root\n")));
    }

    #[test]
    fn an_error_without_a_code_may_be_transient() {
        let error = |code, message| json!({"level": "error", "code": code, "message": message});
        assert!(may_be_transient(&error(
            Value::Null,
            "couldn't read `data.txt`"
        )));
        assert!(may_be_transient(&error(
            json!({"code": "E0583"}),
            "file not found for module"
        )));
        assert!(!may_be_transient(&error(
            json!({"code": "E0308"}),
            "mismatched types"
        )));
        assert!(!may_be_transient(&error(
            Value::Null,
            "aborting due to 2 previous errors"
        )));
    }
}
