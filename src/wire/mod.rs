//! Everything that is written to Kafka besides a [`Tweet`](crate::tweet::Tweet): the header that marks
//! the run of a message, the score of a tweet, and the status of a stream.
//!
//! The streamer, the scorer and the listener share only these definitions. So you can change one of the
//! three without reading the other two.

mod run;
pub(crate) mod score;
mod status;

pub(crate) use run::{RunCheck, RunId};
pub use status::{Connection, Counts, EndReason, FileProgress, StreamerStatus};
