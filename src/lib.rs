//! Live sentiment of a stream of tweets, for Rust notebooks.
//!
//! Two programs run side by side. The **Streamer** reads tweets about some topics and writes them to
//! Apache Kafka. The **Listener** reads the tweets from Kafka, scores each one, and draws the running
//! sum live. Data flows in one direction, and each stage is a module:
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
//! | [`scorer`] | optional: reads one topic and writes the scores to another, on several machines |
//!
//! From the source to Kafka, the data is a [`Tweet`]. From the listener on, it is a [`Scored`] tweet.
//!
//! # Blocking
//! Every call blocks, so a notebook cell needs no `.await`. The crate runs its async code on its own
//! runtime. A `start` method starts work in the background and returns a handle to it. Dropping the
//! handle stops the work. In async code, run the blocking calls with
//! [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html). A direct call
//! works too, but blocks the thread of the async code.
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
// The kernel's prelude calls `interrupt`.
#[doc(hidden)]
pub use task::interrupt;
pub use tweet::Tweet;

/// The items that a notebook uses: `use live_sentiment::prelude::*;`.
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
