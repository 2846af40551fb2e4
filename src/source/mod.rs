//! Where tweets come from.
//!
//! The Streamer *pulls* a source, one tweet at a time. That is what holds a fast source back when
//! the broker is slow: who does not ask does not get, and nothing has to be dropped.

mod bluesky;
mod connection;
mod demo;
mod http;
mod replay;
mod x;

pub use bluesky::{APPVIEW_VARIABLE, Bluesky, JETSTREAM_VARIABLE};
pub use connection::{Connection, ConnectionWatch};
pub use demo::Demo;
pub use replay::Replay;
pub use x::{API_VARIABLE, CREDENTIALS_FILE, Credentials, X};

use crate::{Filter, Result, Tweet};
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

    /// Told once, before the first `next`, what is wanted. It returns what is left for the Streamer
    /// to judge: all of it, unless the source chooses by itself, see [`Filter::by_source`].
    ///
    /// An error ends the stream before it has begun.
    fn begin(&mut self, filter: Filter) -> impl Future<Output = Result<Filter>> + Send {
        std::future::ready(Ok(filter))
    }

    /// How its connection stands, for as long as it runs; `None` for a source that has none.
    fn connection(&self) -> Option<ConnectionWatch> {
        None
    }

    /// The next tweet, as soon as there is one; `None` once the source has ended.
    ///
    /// An error stands for one tweet that could not be read. It is counted, and the source is
    /// asked again. After [`Error::Source`](crate::Error::Source) it is not.
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
        BoxedSource::new(self)
    }
}

/// Any source; see [`Source::boxed`].
pub struct BoxedSource(Box<dyn DynSource>);

impl BoxedSource {
    fn new(source: impl Source) -> BoxedSource {
        BoxedSource(Box::new(source))
    }

    pub(crate) fn name(&self) -> String {
        self.0.name()
    }

    pub(crate) fn connection(&self) -> Option<ConnectionWatch> {
        self.0.connection()
    }

    pub(crate) async fn begin(&mut self, filter: Filter) -> Result<Filter> {
        self.0.begin(filter).await
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Tweet>> {
        self.0.next().await
    }
}

type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

trait DynSource: Send {
    fn name(&self) -> String;
    fn connection(&self) -> Option<ConnectionWatch>;
    fn begin(&mut self, filter: Filter) -> Pending<'_, Result<Filter>>;
    fn next(&mut self) -> Pending<'_, Option<Result<Tweet>>>;
}

impl<S: Source> DynSource for S {
    fn name(&self) -> String {
        Source::name(self)
    }

    fn connection(&self) -> Option<ConnectionWatch> {
        Source::connection(self)
    }

    fn begin(&mut self, filter: Filter) -> Pending<'_, Result<Filter>> {
        Box::pin(Source::begin(self, filter))
    }

    fn next(&mut self) -> Pending<'_, Option<Result<Tweet>>> {
        Box::pin(Source::next(self))
    }
}
