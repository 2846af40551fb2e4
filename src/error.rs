//! What can go wrong, told so that the reader can go on.
//!
//! Each message says what was tried, what happened and what to do next. `Debug` prints the same
//! words as `Display`, because a notebook shows an error that left a cell through `?` by `Debug`.

use std::path::PathBuf;
use std::{fmt, io};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate; see the module's words on how it reads.
#[derive(thiserror::Error)]
pub enum Error {
    /// Nothing listens at the address.
    #[error(
        "looked for Kafka at {address}: {reason}.\nStart one: `Kafka::start()?` in the Streamer \
         notebook (or `cargo run --example streamer`) starts the embedded broker; or set \
         KAFKA_BOOTSTRAP_SERVERS to the address of a Kafka that runs."
    )]
    NoBroker {
        /// `host:port` that was tried.
        address: String,
        /// What happened.
        reason: String,
    },
    /// Something listens at the address, but it does not speak Kafka's protocol.
    #[error(
        "asked {address} for its topics: something listens there, but it did not answer as Kafka \
         within {seconds} s to {protocol}.\nIf it is a Kafka, it may want encryption or a password: \
         set KAFKA_SECURITY_PROTOCOL (docs/kafka.md). Else stop that program, or set \
         KAFKA_BOOTSTRAP_SERVERS to the address of a Kafka."
    )]
    NotKafka {
        /// `host:port` that was tried.
        address: String,
        /// How long an answer was waited for.
        seconds: u64,
        /// The security protocol in which it was asked.
        protocol: String,
    },
    /// The broker does not let us in.
    #[error("asked {address} for its topics: it does not let us in: {reason}.\n{next}")]
    Refused {
        /// `host:port` that was tried.
        address: String,
        /// The client library's or the broker's reason.
        reason: String,
        /// Which setting to look at.
        next: &'static str,
    },
    /// A broker could not be started.
    #[error("started {engine}: {reason}.\n{next}")]
    Broker {
        /// Which one.
        engine: crate::kafka::Engine,
        /// What happened.
        reason: String,
        /// What to do about it.
        next: String,
    },
    /// A request to the broker failed.
    #[error("{tried}: Kafka said: {reason}.\n{next}")]
    Kafka {
        /// What was tried.
        tried: String,
        /// The broker's or the client library's reason.
        reason: String,
        /// What to do about it.
        next: &'static str,
    },
    /// The topic is not on the broker.
    #[error(
        "looked for the topic {topic:?} at {address}: it does not exist.\nRun the Streamer first \
         (its `create_topic` makes it), or check the name."
    )]
    NoTopic {
        /// The topic's name.
        topic: String,
        /// `host:port` of the broker.
        address: String,
    },
    /// A value that cannot be meant.
    #[error("{what}: {reason}.\n{next}")]
    Invalid {
        /// The parameter and its value.
        what: String,
        /// Why it is refused.
        reason: &'static str,
        /// What to give instead.
        next: &'static str,
    },
    /// A file could not be read or written.
    #[error("{tried} {path}: {source}.\nCheck the path and its permissions.", path = path.display())]
    File {
        /// "read the replay file", "open the file for streamed tweets", …
        tried: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// One line of a replay file is not a tweet; the lines after it are still read.
    #[error("line {line} of {path} is no tweet ({reason}); it was skipped", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// Why it is none.
        reason: crate::tweet::Skip,
    },
    /// There are no credentials for a source, or they cannot be such. It never holds any of them.
    #[error("{reason}.\n{next}")]
    Credentials {
        /// Which ones, where they were looked for, and what is wrong.
        reason: String,
        /// What to do about it.
        next: String,
    },
    /// A live source cannot be streamed from, and trying again is of no use.
    #[error("{source_name}: {reason}.\n{next}")]
    Source {
        /// What the source calls itself.
        source_name: String,
        /// What was tried and what the server said.
        reason: String,
        /// What to check.
        next: String,
    },
    /// One thing that a live source sent is no tweet; those after it are still read.
    #[error("a message of {source_name} is no tweet ({reason}); it was skipped")]
    Post {
        /// What the source calls itself.
        source_name: String,
        /// Why it is none.
        reason: crate::tweet::Skip,
    },
    /// No port was free for the live figure.
    #[error(
        "opened ports {first} to {last} of 127.0.0.1 for the live figure: all are taken \
         ({source}).\nGive another one: `LiveFigure::serve_on(port)?`."
    )]
    Port {
        /// The first port that was tried.
        first: u16,
        /// The last port that was tried.
        last: u16,
        /// The operating system's reason for the last one.
        source: io::Error,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
