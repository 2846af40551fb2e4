//! The sources of tweets.
//!
//! The streamer *pulls* tweets from a source, one at a time. When the broker is slower than the
//! source, the streamer asks less often, and no tweet has to be dropped. This is backpressure.

mod bluesky;
mod connection;
mod demo;
mod feed;
mod file_watch;
mod http;
mod lines;
mod record;
mod replay;
mod unescape;
mod x;

pub use crate::wire::{Connection, FileProgress};
pub use async_trait::async_trait;
pub use bluesky::Bluesky;
pub use connection::ConnectionWatch;
pub use demo::Demo;
pub use file_watch::FileWatch;
pub use replay::Replay;
pub use x::{Credentials, X};

use crate::backoff::random_number;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::tweet::Tweet;

/// A stream of tweets that may or may not end.
///
/// Implement it with the attribute [`macro@async_trait`], which this module re-exports. The async
/// methods of a trait object need it. The streamer uses a trait object, because a generic streamer
/// would be compiled again in each notebook cell that starts one.
///
/// # Examples
/// ```
/// use live_sentiment::source::{Source, async_trait};
/// use live_sentiment::{Result, Tweet};
///
/// /// A source of one tweet.
/// struct Once(Option<Tweet>);
///
/// #[async_trait]
/// impl Source for Once {
///     fn name(&self) -> String {
///         "once".into()
///     }
///
///     async fn next(&mut self) -> Option<Result<Tweet>> {
///         self.0.take().map(Ok)
///     }
/// }
/// ```
#[async_trait]
pub trait Source: Send + 'static {
    /// Returns the name for the status card.
    fn name(&self) -> String;

    /// Prepares the source for a stream. The streamer calls it once, before the first `next`, with
    /// the filter of the stream.
    ///
    /// # Errors
    /// An error means that the stream cannot start. An earlier stream to the same topic then continues.
    ///
    /// # Cancel safety
    /// The streamer does not drop the future before it is done.
    async fn begin(&mut self, _filter: Filter) -> Result<()> {
        Ok(())
    }

    /// Returns whether the source matches the tracks and sets the topics. If it does, and the filter has
    /// a track, the streamer passes each tweet that has a topic, unless the filter drops it as a
    /// retweet. Otherwise, the streamer applies the filter.
    fn sets_topics(&self) -> bool {
        false
    }

    /// Returns the live state of the connection; `None` for a source without a connection.
    fn connection(&self) -> Option<ConnectionWatch> {
        None
    }

    /// Returns the live progress of reading files; `None` for a source without files.
    fn files(&self) -> Option<FileWatch> {
        None
    }

    /// Waits for the next tweet. Returns `None` when the source has ended.
    ///
    /// # Errors
    /// Most errors stand for one message that is not a tweet: the streamer counts the error and calls
    /// `next` again. [`ErrorKind::Source`](crate::ErrorKind::Source) and
    /// [`ErrorKind::Panicked`](crate::ErrorKind::Panicked) end the stream.
    ///
    /// # Cancel safety
    /// The streamer may drop the future before it is done, for example when it is stopped. An
    /// implementation must not lose a tweet in this case.
    async fn next(&mut self) -> Option<Result<Tweet>>;
}

/// A source that the program chooses while it runs.
#[async_trait]
impl Source for Box<dyn Source> {
    fn name(&self) -> String {
        (**self).name()
    }

    async fn begin(&mut self, filter: Filter) -> Result<()> {
        (**self).begin(filter).await
    }

    fn sets_topics(&self) -> bool {
        (**self).sets_topics()
    }

    fn connection(&self) -> Option<ConnectionWatch> {
        (**self).connection()
    }

    fn files(&self) -> Option<FileWatch> {
        (**self).files()
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        (**self).next().await
    }
}

/// The parsers, for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) mod fuzz {
    pub(crate) use crate::source::bluesky::fuzz as jetstream;
    pub(crate) use crate::source::replay::fuzz as replay;
    pub(crate) use crate::source::x::fuzz as x;
}

fn check_rate(per_second: f64) -> Result<()> {
    if per_second.is_finite() && per_second >= 0.1 {
        return Ok(());
    }
    Err(Error::invalid_argument(
        format!("rate {per_second}"),
        "a rate is at least 0.1 tweets per second",
        "give a rate such as 20.0, or `.as_fast_as_possible()`",
    ))
}

/// Returns a random prefix for the ids of one stream, for a source whose tweets have no ids. Without the
/// prefix, two streams of such a source in one run would have the same ids.
fn stream_prefix() -> String {
    format!("{:08x}", random_number() >> 32)
}
