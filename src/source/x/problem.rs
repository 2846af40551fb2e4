//! A problem that the API reports in a stream or in a response (docs.x.com, "Error handling").

use serde::Deserialize;

/// A problem. Each field is text from the server.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) title: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) details: Vec<String>,
    pub(super) message: Option<String>,
    pub(super) value: Option<String>,
    pub(super) connection_issue: Option<String>,
    pub(super) disconnect_type: Option<String>,
}

impl Problem {
    /// Returns all that the server says about the problem.
    pub(super) fn description(&self) -> String {
        let mut parts: Vec<&str> = Vec::new();
        parts.extend(self.title.as_deref());
        parts.extend(self.connection_issue.as_deref());
        parts.extend(self.disconnect_type.as_deref());
        parts.extend(self.detail.as_deref());
        parts.extend(self.details.iter().map(String::as_str));
        parts.extend(self.message.as_deref());
        parts.extend(self.value.as_deref());
        parts.dedup();
        parts.join(": ")
    }

    /// Returns whether the account has another connection to the stream.
    pub(super) fn is_too_many_connections(&self) -> bool {
        self.connection_issue.as_deref() == Some("TooManyConnections")
    }
}
