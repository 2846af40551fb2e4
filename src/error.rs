//! The error type of the crate.

use crate::tweet::Skip;
use std::path::PathBuf;
use std::{fmt, io};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
///
/// Each message says what failed and why. A second line, which starts with `hint:`, says what to do
/// next. `Debug` prints the same text as `Display`, because a notebook shows an error that leaves a
/// cell through `?` by its `Debug` form.
#[derive(thiserror::Error)]
pub enum Error {
    /// Nothing listens at the address.
    #[error(
        "failed to connect to Kafka at {address}: {reason}\nhint: start a broker with \
         `Kafka::start()?` in the Streamer notebook (or `cargo run --example streamer`), or set \
         KAFKA_BOOTSTRAP_SERVERS to the address of a running one"
    )]
    NoBroker {
        /// The address, as `host:port`.
        address: String,
        /// The operating system's reason.
        reason: String,
    },
    /// A program listens at the address, but it is no broker, or none that answers in this protocol.
    #[error("failed to connect to Kafka at {address}: {reason}\nhint: {hint}")]
    NotKafka {
        /// The address, as `host:port`.
        address: String,
        /// What listens there, as far as it is known.
        reason: String,
        /// What to do next.
        hint: &'static str,
    },
    /// The broker answers, but the addresses that it tells its clients to use cannot be reached.
    #[error(
        "failed to connect to Kafka: the broker at {address} answers, but it advertises {advertised}, \
         which cannot be reached from here: {reason}\nhint: set `advertised.listeners` of the broker \
         to an address that this machine reaches; for a broker in a container, see docs/kafka.md"
    )]
    Unreachable {
        /// The address that answers, as `host:port`.
        address: String,
        /// The advertised addresses, as `host:port`, separated by commas.
        advertised: String,
        /// Why the advertised addresses cannot be reached.
        reason: String,
    },
    /// The broker rejects the credentials or the certificate.
    #[error("failed to connect to Kafka at {address}: access denied: {reason}\nhint: {hint}")]
    AccessDenied {
        /// The address, as `host:port`.
        address: String,
        /// The reason given by the client library or by the broker.
        reason: String,
        /// The setting to check.
        hint: &'static str,
    },
    /// A broker could not be started.
    #[error("failed to start {broker}: {reason}\nhint: {hint}")]
    BrokerStart {
        /// The name of the broker program.
        broker: String,
        /// The cause.
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// A program of this project could not be started.
    #[error("failed to start {program}: {reason}\nhint: {hint}", program = program.display())]
    ProgramStart {
        /// The program.
        program: PathBuf,
        /// The cause.
        reason: String,
        /// What to do next.
        hint: &'static str,
    },
    /// A request to the broker failed.
    #[error("failed to {action}: {reason}\nhint: {hint}")]
    Kafka {
        /// The request, such as "create topic \"tweets\"".
        action: String,
        /// The reason given by the broker or by the client library.
        reason: String,
        /// What to do next.
        hint: &'static str,
    },
    /// The topic does not exist on the broker.
    #[error(
        "topic {topic:?} does not exist at {address}\nhint: run the Streamer first, whose \
         `create_topic` call creates it, or check the name"
    )]
    NoTopic {
        /// The name of the topic.
        topic: String,
        /// The address of the broker, as `host:port`.
        address: String,
    },
    /// The broker does not tell this client whether the topic exists.
    #[error(
        "no permission to describe topic {topic:?} at {address}\nhint: ask the administrator of the \
         cluster for the permissions DESCRIBE and READ on the topic, and WRITE to stream to it, or \
         check the name"
    )]
    NotPermitted {
        /// The name of the topic.
        topic: String,
        /// The address of the broker, as `host:port`.
        address: String,
    },
    /// An argument is out of range or malformed.
    #[error("invalid {argument}: {reason}\nhint: {hint}")]
    InvalidArgument {
        /// The argument and its value.
        argument: String,
        /// Why the value is rejected.
        reason: &'static str,
        /// A valid value.
        hint: &'static str,
    },
    /// A file could not be read or written.
    #[error("failed to {action} {path}: {source}\nhint: check the path and its permissions", path = path.display())]
    File {
        /// The operation, such as "open the replay file".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A line of a replay file is not a tweet. The source continues with the next line.
    #[error("line {line} of {path} is not a tweet ({reason}); skipped", path = path.display())]
    InvalidLine {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: u64,
        /// Why the line is not a tweet.
        reason: Skip,
    },
    /// The credentials of a source are missing or malformed. The message never contains them.
    #[error("{reason}\nhint: {hint}")]
    Credentials {
        /// Which credentials, where they were looked up, and what is wrong with them.
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// A live source failed for good: a retry cannot succeed.
    #[error("{name}: {reason}\nhint: {hint}")]
    Source {
        /// The name of the source.
        name: String,
        /// The request and the server's answer.
        reason: String,
        /// What to check.
        hint: String,
    },
    /// A message of a live source is not a tweet. The source continues with the next message.
    #[error("a message of {source_name} is not a tweet ({reason}); skipped")]
    InvalidMessage {
        /// The name of the source.
        source_name: String,
        /// Why the message is not a tweet.
        reason: Skip,
    },
    /// No port is free for the live figure.
    #[error(
        "failed to serve the live figure on ports {first} to {last} of 127.0.0.1: {source}\n\
         hint: choose another port: `LiveFigure::serve_on(port)?`"
    )]
    NoPort {
        /// The first port that was tried.
        first: u16,
        /// The last port that was tried.
        last: u16,
        /// The operating system's reason for the last port.
        source: io::Error,
    },
    /// The Stop button of the notebook ended the call.
    #[error("interrupted: failed to {action}\nhint: run the cell again")]
    Interrupted {
        /// What the call does, such as "connect to Kafka".
        action: String,
    },
    /// A background task or thread panicked.
    #[error(
        "the {task} panicked: {message}\nhint: start it again; if the panic is not in code of \
         your own, report it as a bug"
    )]
    Panicked {
        /// The task: "streamer", "listener", "scorer" or a source.
        task: &'static str,
        /// The message of the panic.
        message: String,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
