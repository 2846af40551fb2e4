//! Where tweets come from.
//!
//! The Streamer *pulls* a source, one tweet at a time. That is what holds a fast source back when
//! the broker is slow: who does not ask does not get, and nothing has to be dropped.

mod demo;
mod replay;

pub use demo::Demo;
pub use replay::Replay;

use crate::{Result, Tweet};
use std::future::Future;

/// An endless or ending stream of tweets.
///
/// ```
/// use live_sentiment::{Result, Tweet, source::Source};
///
/// /// A source of one tweet.
/// struct Once(Option<Tweet>);
///
/// impl Source for Once {
///     fn name(&self) -> String {
///         "once".into()
///     }
///     async fn next(&mut self) -> Option<Result<Tweet>> {
///         self.0.take().map(Ok)
///     }
/// }
/// ```
pub trait Source: Send + 'static {
    /// What a person calls it, for the status card.
    fn name(&self) -> String;

    /// The next tweet, as soon as there is one; `None` once the source has ended.
    ///
    /// An error stands for one tweet that could not be read. It is counted, and the source is
    /// asked again.
    ///
    /// The future may be dropped before it is done, as the Streamer does when it is stopped: no
    /// tweet may be lost by that.
    fn next(&mut self) -> impl Future<Output = Option<Result<Tweet>>> + Send;
}
