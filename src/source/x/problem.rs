//! A problem that the API reports in a stream or in a response (docs.x.com, "Error handling").

use serde::Deserialize;

/// A problem, or a list of problems. The server has written each text.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct Problem {
    title: Option<String>,
    detail: Option<String>,
    details: Vec<String>,
    message: Option<String>,
    value: Option<String>,
    connection_issue: Option<String>,
    disconnect_type: Option<String>,
    errors: Vec<Problem>,
}

impl Problem {
    /// Returns the problem in a line or a response: the object, or the first problem of its list. `None` if
    /// there is no problem.
    pub(super) fn parse(json: &[u8]) -> Option<Problem> {
        let mut problem: Problem = serde_json::from_slice(json).ok()?;
        if problem.title.is_none() && !problem.errors.is_empty() {
            problem = problem.errors.swap_remove(0);
        }
        (problem != Problem::default()).then_some(problem)
    }

    /// Returns everything that the server says about the problem.
    pub(super) fn description(&self) -> String {
        let first = [
            &self.title,
            &self.connection_issue,
            &self.disconnect_type,
            &self.detail,
        ];
        let last = [&self.message, &self.value];
        let texts = first.into_iter().flatten().chain(&self.details);
        let texts = texts.chain(last.into_iter().flatten());
        let mut parts: Vec<&str> = texts.map(String::as_str).collect();
        parts.dedup();
        parts.join(": ")
    }

    /// Returns whether the account has another connection to the stream.
    pub(super) fn is_too_many_connections(&self) -> bool {
        self.connection_issue.as_deref() == Some("TooManyConnections")
    }
}
