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
use std::pin::Pin;

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

    /// The same source behind one type. The sources of this crate say it once more, word for word:
    /// then it is compiled here, and not for three seconds in the cell that starts a stream.
    fn boxed(self) -> BoxedSource
    where
        Self: Sized,
    {
        BoxedSource(Box::new(self))
    }
}

/// Any source; see [`Source::boxed`].
pub struct BoxedSource(Box<dyn DynSource>);

impl BoxedSource {
    pub(crate) fn name(&self) -> String {
        self.0.name()
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Tweet>> {
        self.0.next().await
    }
}

type Next<'a> = Pin<Box<dyn Future<Output = Option<Result<Tweet>>> + Send + 'a>>;

trait DynSource: Send {
    fn name(&self) -> String;
    fn next(&mut self) -> Next<'_>;
}

impl<S: Source> DynSource for S {
    fn name(&self) -> String {
        Source::name(self)
    }

    fn next(&mut self) -> Next<'_> {
        Box::pin(Source::next(self))
    }
}
