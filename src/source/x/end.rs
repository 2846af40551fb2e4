//! How a connection ends, and how long to wait before the next one (docs.x.com, "Handling
//! disconnections" and "Error handling").

use super::super::http;
use super::problem::Problem;
use crate::backoff::{Backoff, jittered};
use reqwest::Response;
use std::time::Duration;

/// The longest wait for a rate limit. X counts its limits over 15 minutes.
const MAX_LIMIT_WAIT: Duration = Duration::from_secs(16 * 60);

/// Why a connection ended, or could not be made.
pub(super) enum End {
    /// A retry may succeed.
    Retry { cause: Cause, reason: String },
    /// A retry cannot succeed before something is changed.
    Rejected { reason: String, hint: &'static str },
    /// The receiver of the tweets is gone.
    Unread,
}

/// What determines the wait before a retry.
#[derive(Clone, Copy)]
pub(super) enum Cause {
    /// The network failed, or the stream ended.
    Network,
    /// The server has an internal error.
    Server,
    /// A rate limit is reached, for as long as the server says.
    RateLimit(Option<Duration>),
    /// Another connection holds the app's only stream.
    TooManyConnections(Option<Duration>),
}

impl End {
    pub(super) fn retry(cause: Cause, reason: impl Into<String>) -> End {
        let reason = reason.into();
        End::Retry { cause, reason }
    }

    /// Returns the end of a stream that reports a problem.
    pub(super) fn in_stream(problem: &Problem) -> End {
        let reason = format!("the server ended the stream: {}", problem.description());
        if problem.is_too_many_connections() {
            End::too_many(&reason, None)
        } else {
            End::retry(Cause::Network, reason)
        }
    }

    fn too_many(reason: &str, wait: Option<Duration>) -> End {
        End::retry(
            Cause::TooManyConnections(wait),
            format!("{reason}. Another program streams with the same app: stop that one"),
        )
    }

    /// Returns how a connection ends after an unsuccessful response. `action` is the failed action.
    pub(super) async fn rejection(action: &str, response: Response) -> End {
        let status = response.status();
        let wait = http::wait_until(&response, "x-rate-limit-reset");
        let body = http::body(response).await.unwrap_or_default();
        let problem = Problem::in_response(&body).unwrap_or_default();
        let description = problem.description();
        let colon = if description.is_empty() { "" } else { ": " };
        let reason = format!("failed to {action}: X answered {status}{colon}{description}");
        let hint = match status.as_u16() {
            420 | 429 if problem.is_too_many_connections() => return End::too_many(&reason, wait),
            420 | 429 => return End::retry(Cause::RateLimit(wait), reason),
            408 | 500..=599 => return End::retry(Cause::Server, reason),
            401 => {
                "check the token, or the key and the secret: complete, not revoked, and of an \
                 app that belongs to a project. https://console.x.com shows them"
            }
            402 => {
                "the account has no credit for this: see https://console.x.com, or stream from \
                 Bluesky::new(), which needs no account"
            }
            403 => {
                "check that the account's plan includes the filtered stream and that the app \
                 belongs to a project; or stream from Bluesky::new(), which needs no account"
            }
            _ => "check the tracks, and X_API_BASE_URL if it is set",
        };
        End::Rejected { reason, hint }
    }
}

impl From<reqwest::Error> for End {
    fn from(error: reqwest::Error) -> End {
        End::retry(Cause::Network, http::describe(&error))
    }
}

/// The waits that X prescribes (docs.x.com, "Handling disconnections").
pub(super) struct Waits {
    network: Backoff,
    server: Backoff,
    limit: Backoff,
}

impl Waits {
    pub(super) fn new() -> Waits {
        Waits {
            network: Backoff::linear(Duration::from_millis(250), Duration::from_secs(16)),
            server: Backoff::doubling(Duration::from_secs(5), Duration::from_secs(320)),
            limit: Backoff::doubling(Duration::from_secs(60), MAX_LIMIT_WAIT),
        }
    }

    /// Returns the wait before the next connection.
    pub(super) fn after(&mut self, cause: Cause) -> Duration {
        match cause {
            Cause::Network => self.network.next(),
            Cause::Server => self.server.next(),
            Cause::RateLimit(wait) | Cause::TooManyConnections(wait) => match wait {
                Some(wait) => jittered(wait.min(MAX_LIMIT_WAIT)),
                None => self.limit.next(),
            },
        }
    }
}
