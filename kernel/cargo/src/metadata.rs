//! `cargo metadata` without the dependencies of the library.
//!
//! Before the first cell, rust-analyzer reads the sources of every crate that the notebook depends on, to
//! infer the types of variables. For this library, it would read a hundred crates in 17 seconds, although a
//! notebook needs only this library and the standard library. rust-analyzer gets the list of crates from
//! `cargo metadata`, so this module shortens that list. The compiler still uses all crates. A crate that a
//! notebook adds with `:dep` stays in the list.

use serde_json::{Value, json};
use std::collections::HashSet;

const LIBRARY: &str = "live_sentiment";

/// Removes the dependencies of the library. Returns `None` if `answer` is not an answer of `cargo metadata`
/// that contains dependencies.
pub(crate) fn without_dependencies_of_the_library(answer: &[u8]) -> Option<Vec<u8>> {
    let mut answer: Value = serde_json::from_slice(answer).ok()?;
    let packages = answer["packages"].as_array_mut()?;
    let library = packages
        .iter_mut()
        .find(|package| package["name"] == LIBRARY && package["source"].is_null());
    let library = library.map(|package| {
        package["dependencies"] = json!([]);
        package["id"].clone()
    });
    for node in answer["resolve"]["nodes"].as_array_mut()? {
        if Some(&node["id"]) == library.as_ref() {
            node["deps"] = json!([]);
            node["dependencies"] = json!([]);
        }
    }
    let reached = reached(&answer)?;
    let keep = |list: &mut Value| {
        if let Some(list) = list.as_array_mut() {
            list.retain(|item| item["id"].as_str().is_some_and(|id| reached.contains(id)));
        }
    };
    keep(&mut answer["packages"]);
    keep(&mut answer["resolve"]["nodes"]);
    serde_json::to_vec(&answer).ok()
}

fn reached(answer: &Value) -> Option<HashSet<String>> {
    let nodes = answer["resolve"]["nodes"].as_array()?;
    let mut ahead: Vec<&str> = answer["workspace_members"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut reached = HashSet::new();
    while let Some(id) = ahead.pop() {
        if reached.insert(id.to_owned()) {
            let node = nodes.iter().find(|node| node["id"] == id)?;
            ahead.extend(
                node["deps"]
                    .as_array()?
                    .iter()
                    .filter_map(|dependency| dependency["pkg"].as_str()),
            );
        }
    }
    Some(reached)
}
