//! The messages of the compiler that a notebook shows.
//!
//! evcxr shows each message of the compiler as an error of the cell, even warnings about earlier cells and about
//! the code that evcxr adds. Such a warning can hide the reason of an error: evcxr explains that a closure cannot
//! be kept only if the compiler has said nothing. So this module passes on errors only.
//!
//! The compiler does not know the other cells. If it cannot find a variable that an earlier cell has defined,
//! this module adds what has become of the variable.

use crate::canonical;
use crate::compiled::Compiled;
use crate::kernel::Kernel;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// The error "cannot find value".
const NOT_FOUND: &str = "E0425";
/// The error "use of moved value".
const MOVED: &str = "E0382";

/// The variables of all cells that were compiled in a kernel, and whether each one was moved by a cell.
pub(crate) struct Variables {
    file: PathBuf,
    is_moved: BTreeMap<String, bool>,
}

impl Variables {
    pub(crate) fn read(kernel: &Kernel) -> Variables {
        let file = kernel.directory.join("variables.json");
        let json = fs::read(&file).unwrap_or_default();
        let is_moved = serde_json::from_slice(&json).unwrap_or_default();
        Variables { file, is_moved }
    }

    /// Notes which variables a cell keeps and which it moves. evcxr first compiles the cell with a line for each
    /// variable that puts it back. If the cell has moved a variable, this line is an error, and evcxr compiles
    /// the cell again without it.
    pub(crate) fn note(&mut self, cell: &Compiled) {
        let kept = match cell.has_error() {
            true => BTreeSet::new(),
            false => canonical::kept_variables(&cell.source),
        };
        let moved = cell
            .messages
            .iter()
            .filter_map(|message| match &message["code"]["code"] {
                code if code == MOVED => name(message),
                _ => None,
            });
        self.is_moved
            .extend(moved.map(|name| (name.to_owned(), true)));
        self.is_moved
            .extend(kept.into_iter().map(|name| (name.to_owned(), false)));
        // Without the file, the messages are only shorter.
        let _ = serde_json::to_vec(&self.is_moved).map(|json| fs::write(&self.file, json));
    }

    fn explain(&self, error: &Value) -> Option<String> {
        let (message, name) = (error["message"].as_str()?, name(error)?);
        let reason = match self.is_moved.get(name)? {
            true => format!(
                "an earlier cell has moved it. Write `{name}.clone()` or `&{name}` in that cell, and define \
                 `{name}` again"
            ),
            false => "the cell that defines it has failed or was interrupted. Run that cell again"
                .to_owned(),
        };
        Some(format!("{message}: {reason}"))
    }
}

/// Returns the error of a cell that reads standard input. evcxr sends its commands there, so such a cell would
/// wait for ever.
pub(crate) fn of_input(source: &str) -> Option<Value> {
    source.contains("stdin()").then(|| {
        json!({"level": "error", "code": null, "spans": [], "children": [], "rendered": "", "message":
            "a cell cannot read standard input, because the kernel gets its commands there; write the input into the cell"})
    })
}

/// Returns the name in a message, such as "use of moved value: `s`".
fn name(message: &Value) -> Option<&str> {
    message["message"].as_str()?.split('`').nth(1)
}

/// Returns the errors among the messages of the compiler, each with an explanation if there is one.
pub(crate) fn errors(messages: &[Value], variables: &Variables) -> Vec<Value> {
    let mut errors: Vec<Value> = Vec::new();
    for message in messages
        .iter()
        .filter(|message| message["level"] == "error")
    {
        let mut error = message.clone();
        if error["code"]["code"] == NOT_FOUND
            && let Some(explained) = variables.explain(&error)
        {
            error["message"] = json!(explained);
            // The compiler suggests a variable with a similar name.
            error["children"] = json!([]);
        }
        errors.push(error);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_is_explained_and_warnings_are_left_out() {
        let mut variables = Variables {
            file: PathBuf::new(),
            is_moved: BTreeMap::new(),
        };
        let error = |code: &str, message: &str| json!({"level": "error", "code": {"code": code}, "message": message});
        let mut note = |messages, source: &str, is_built: bool| {
            let shared_object = is_built.then(PathBuf::new);
            variables.note(&Compiled {
                source: source.into(),
                messages,
                shared_object,
                lock: String::new(),
            });
        };
        let put = "evcxr_variable_store.put_variable::<T>(stringify!(t), t);";
        note(vec![error("E0382", "use of moved value: `s`")], put, false);
        note(Vec::new(), put, true);
        let missing = |name: &str| {
            error(
                "E0425",
                &format!("cannot find value `{name}` in this scope"),
            )
        };
        let warning = json!({"level": "warning", "message": "unused variable: `q`"});
        let shown = errors(
            &[warning, missing("s"), missing("t"), missing("u")],
            &variables,
        );
        let shown: Vec<&str> = shown
            .iter()
            .map(|error| error["message"].as_str().unwrap())
            .collect();
        let expected = [
            "cannot find value `s` in this scope: an earlier cell has moved it. Write `s.clone()` or `&s` in that \
             cell, and define `s` again",
            "cannot find value `t` in this scope: the cell that defines it has failed or was interrupted. Run that \
             cell again",
            "cannot find value `u` in this scope",
        ];
        assert_eq!(shown, expected);
    }
}
