//! X, read from the filtered stream of its API v2: `GET /2/tweets/search/stream`.
//!
//! The original notebooks read Twitter's v1.1 stream, which no longer exists. In its successor, the
//! tracks are not part of the request: the server stores them as rules. See docs.x.com, "Filtered
//! stream", "Build a rule" and "Handling disconnections". The last page prescribes the waits between
//! two connections.
//!
//! The API needs a paid account. `docs/sources.md` describes how to get one, and its terms of use.

mod credentials;
mod end;
mod problem;
mod rules;
mod task;
mod text;
pub(super) mod v1;
pub(super) mod v2;

pub use credentials::Credentials;

use super::connection::ConnectionWatch;
use super::feed::Feed;
use super::{Source, async_trait, http};
use crate::error::Result;
use crate::filter::Filter;
use crate::tweet::Tweet;
use reqwest::Url;
use std::fmt;
use task::XTask;

/// The environment variable with the address of another server of the X API, such as a simulator.
const API_VARIABLE: &str = "X_API_BASE_URL";
const API: &str = "https://api.x.com";
const CONSOLE: &str = "https://console.x.com";
const NAME: &str = "X";

/// The X source. The tracks of the stream (see [`Filter`]) become rules of the app. X decides which
/// tweets match the rules.
///
/// # Examples
/// ```no_run
/// # use live_sentiment::prelude::*;
/// # fn main() -> Result<()> {
/// # let topic = Kafka::start()?.create_topic("tweets", TopicConfig::default())?;
/// let streaming = Streamer::new(&topic)
///     .track(["bitcoin", "ethereum", "dogecoin"])
///     .languages(["en"])
///     .start(X::from_env()?)?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a source does nothing until a streamer starts with it"]
pub struct X {
    credentials: Credentials,
    base: Url,
    feed: Option<Feed>,
    connection: ConnectionWatch,
}

impl fmt::Debug for X {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X")
            .field("credentials", &self.credentials)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl X {
    /// Creates the source with the credentials of the environment or of `credentials.toml`, see
    /// [`Credentials::from_env`].
    ///
    /// # Errors
    /// The errors of [`Credentials::from_env`];
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if `X_API_BASE_URL` is not a
    /// URL, or is an unencrypted remote URL.
    pub fn from_env() -> Result<X> {
        X::new(Credentials::from_env()?)
    }

    /// Creates the source with these credentials.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if `X_API_BASE_URL` is not a
    /// URL, or is an unencrypted remote URL.
    pub fn new(credentials: Credentials) -> Result<X> {
        let base = http::from_env(API_VARIABLE);
        X::at(base.as_deref().unwrap_or(API), credentials)
    }

    /// Creates the source for another server of the same API.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if `base` is not a URL, or is an
    /// unencrypted remote URL.
    pub fn at(base: &str, credentials: Credentials) -> Result<X> {
        Ok(X {
            credentials,
            base: http::base(base, API_VARIABLE)?,
            feed: None,
            connection: ConnectionWatch::default(),
        })
    }
}

#[async_trait]
impl Source for X {
    fn name(&self) -> String {
        NAME.into()
    }

    async fn begin(&mut self, filter: Filter) -> Result<()> {
        let task = XTask::new(self, &filter)?;
        self.feed = Some(Feed::start("X source", |outlet| task.run(outlet)).await?);
        Ok(())
    }

    fn sets_topics(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        self.feed.as_mut()?.next().await
    }

    fn connection(&self) -> Option<ConnectionWatch> {
        Some(self.connection.clone())
    }
}

/// Decodes a value with both versions of the API, for a fuzz target.
#[cfg(fuzzing)]
pub(crate) fn fuzz(json: &str) {
    let _ = (v1::decode(json), v1::is_shape(json));
    let _ = (v2::decode(json), v2::is_shape(json));
}
