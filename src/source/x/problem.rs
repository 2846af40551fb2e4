//! A problem that the API reports in a stream or in a response (docs.x.com, "Error handling").

use serde::Deserialize;

/// A problem, or a list of problems. Each text comes from the server.
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
    /// Returns the problem in a response, if there is one.
    pub(super) fn in_response(json: &[u8]) -> Option<Problem> {
        let problem = serde_json::from_slice::<Problem>(json).ok()?.first();
        (problem != Problem::default()).then_some(problem)
    }

    /// Returns the problem in a line of the stream. An object without a title and without a list of
    /// problems is a different message.
    pub(super) fn in_line(json: &[u8]) -> Option<Problem> {
        let problem: Problem = serde_json::from_slice(json).ok()?;
        let is_problem = problem.title.is_some() || !problem.errors.is_empty();
        is_problem.then(|| problem.first())
    }

    /// Returns the problem itself, or the first one of its list.
    fn first(mut self) -> Problem {
        if self.title.is_none() && !self.errors.is_empty() {
            return self.errors.swap_remove(0);
        }
        self
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

    /// Returns whether the app has another connection to the stream.
    pub(super) fn is_too_many_connections(&self) -> bool {
        self.connection_issue.as_deref() == Some("TooManyConnections")
    }
}
