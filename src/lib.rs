//! Live sentiment of a stream of tweets, for Rust notebooks.
//!
//! Two programs run side by side. The **Streamer** reads tweets about some topics and writes them to
//! Apache Kafka. The **Listener** reads them, scores each, and draws the running sum as it changes.
//! Data flows in one direction, and each stage is a module:
//!
//! ```text
//! source ──► streamer ──► Kafka topic `tweets` ──► listener ──► figure ──► notebook, browser
//! ```
//!
//! | module | stage |
//! | --- | --- |
//! | [`source`] | where tweets come from: demo, replay, Bluesky, X |
//! | [`streamer`] | filters, deduplicates, and writes to the topic |
//! | [`kafka`] | finds or starts a broker, creates the topic |
//! | [`listener`] | reads the topic, scores with [`sentiment`], adds up |
//! | [`figure`] | serves the live page |
//! | [`scorer`] | optional: scores one topic into another, on many machines |
//!
//! Between the stages, the data is a [`Tweet`] (before and in Kafka) or a [`Scored`] tweet.
//!
//! # Blocking
//! Every call blocks, so that a notebook cell needs no `.await`: async code runs inside the crate, on
//! a runtime of its own. A `start` returns at once with a handle to what runs in the background;
//! dropping the handle stops it. Inside async code, run the blocking calls with
//! [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html). They also work
//! directly in async code, but then block its thread.
//!
//! # Examples
//! ```no_run
//! use live_sentiment::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let kafka = Kafka::start()?;
//! let topic = kafka.create_topic("tweets", TopicConfig::default())?;
//! let streaming = Streamer::new(&topic)
//!     .track(["bitcoin", "ethereum", "dogecoin"])
//!     .languages(["en"])
//!     .start(Demo::default())?;
//!
//! let figure = LiveFigure::serve()?;
//! let listening = Listener::new(&kafka, "tweets").start()?;
//! figure.show("audience", &listening)?;
//! listening.print_tweets(20)?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, clippy::unwrap_used)]

mod backoff;
mod deduplicator;
mod error;
pub mod figure;
mod files;
mod filter;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod kafka;
pub mod listener;
mod notebook;
pub mod scorer;
pub mod sentiment;
pub mod source;
pub mod streamer;
mod task;
mod time;
mod trajectory;
pub mod tweet;
mod wire;

pub use error::{Error, ErrorKind, Result};
pub use filter::Filter;
pub use jiff::Timestamp;
pub use listener::Listener;
pub use notebook::show_log;
pub use sentiment::Scored;
// The prelude of the kernel calls it.
#[doc(hidden)]
pub use task::interrupt;
pub use tweet::Tweet;

/// Everything that a notebook uses: `use live_sentiment::prelude::*;`.
pub mod prelude {
    pub use crate::figure::LiveFigure;
    pub use crate::kafka::{Engine, Kafka, Topic, TopicConfig};
    pub use crate::listener::{Listener, StartFrom};
    pub use crate::scorer::Scorer;
    pub use crate::sentiment::{Analyzer, Polarity, Sentiment};
    pub use crate::show_log;
    pub use crate::source::{Bluesky, Credentials, Demo, Replay, Source, X};
    pub use crate::streamer::Streamer;
    pub use crate::{Error, ErrorKind, Result, Scored, Timestamp, Tweet};
    pub use std::time::Duration;
}
