//! Live sentiment of a stream of tweets, for Rust notebooks.
//!
//! Two programs run side by side. The **Streamer** reads tweets about some topics and writes them
//! to Apache Kafka; the **Listener** reads them, scores each, and draws how the mood moves while
//! it moves. Data flows one way, and each stage is a module:
//!
//! ```text
//! source ──► streamer ──► Kafka topic `tweets` ──► listener ──► figure ──► notebook, browser
//!  demo        filter        JSON, keyed             sentiment     server
//!  replay      save          by author               trajectory    plot, page
//!  X           report
//!  Bluesky
//! ```
//!
//! A type crosses a border between stages only as [`Tweet`] (before and inside Kafka), [`Scored`]
//! (after scoring) and [`trajectory::Update`] (to the figure).
//!
//! Every call blocks and is short: async code stays inside, on one runtime of the crate's own, so
//! a notebook cell needs no `.await`. What runs for long is started by a `start` that returns a
//! handle at once; dropping the handle stops it.
//!
//! ```no_run
//! use live_sentiment::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let kafka = Kafka::start()?;
//! kafka.create_topic("tweets", TopicConfig::default())?;
//! let streamer = Streamer::new(&kafka, "tweets")
//!     .track(["bitcoin", "ethereum", "dogecoin"])
//!     .languages(["en"])
//!     .start(Demo::default())?;
//!
//! let figure = LiveFigure::serve()?;
//! let listener = Listener::new(&kafka, "tweets").start(&figure)?;
//! listener.print_tweets(20)?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used)]

mod error;
pub mod figure;
mod filter;
pub mod kafka;
pub mod listener;
pub mod notebook;
mod runtime;
pub mod scorer;
mod secret;
mod seen;
pub mod sentiment;
pub mod source;
pub mod streamer;
pub mod trajectory;
pub mod tweet;

pub use error::{Error, Result};
pub use filter::Filter;
pub use listener::Listener;
pub use sentiment::Scored;
pub use tweet::Tweet;

/// Everything a notebook uses: `use live_sentiment::prelude::*;`.
pub mod prelude {
    pub use crate::figure::LiveFigure;
    pub use crate::kafka::{Engine, Kafka, TopicConfig};
    pub use crate::listener::{Listener, StartFrom};
    pub use crate::notebook::show_log;
    pub use crate::scorer::Scorer;
    pub use crate::sentiment::{Analyzer, Polarity, Sentiment};
    pub use crate::source::{Bluesky, Credentials, Demo, Replay, Source, X};
    pub use crate::streamer::Streamer;
    pub use crate::{Error, Result, Scored, Tweet};
    pub use std::time::Duration;
}
