//! The error type of the crate.

use crate::tweet::Skip;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io;
use std::path::Path;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
///
/// The message says what failed and why. A second line, which starts with `hint:`, says what to do next.
///
/// The message already contains the cause. So [`source`](std::error::Error::source) returns `None`, and a
/// program that prints the chain of causes prints each cause once. `Debug` prints the same text as
/// `Display`, because a notebook uses `Debug` to show an error that leaves a cell through `?`.
///
/// # Examples
/// ```
/// use live_sentiment::prelude::*;
///
/// let error = Demo::default().rate(0.0).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidArgument);
/// assert!(error.to_string().ends_with(error.hint().unwrap()));
/// ```
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<Cow<'static, str>>,
    kafka_code: Option<RDKafkaErrorCode>,
    io_kind: Option<io::ErrorKind>,
    skip: Option<Skip>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing listens at the address of the broker.
    NoBroker,
    /// The program that listens at the address does not answer like a broker. It is not Kafka, or it
    /// expects another security protocol.
    NotKafka,
    /// The broker answers, but the addresses that it advertises cannot be reached.
    Unreachable,
    /// The broker rejects the credentials or the certificate.
    AccessDenied,
    /// The broker, or another program, could not be started.
    Start,
    /// A request to the broker failed.
    Kafka,
    /// The topic does not exist on the broker.
    NoTopic,
    /// The broker does not allow this client to see whether the topic exists.
    NotPermitted,
    /// An argument or a setting is out of range or malformed.
    InvalidArgument,
    /// A file could not be read or written.
    File,
    /// The credentials of a source are missing or malformed. The message never contains them.
    Credentials,
    /// A source failed, and a retry cannot succeed. The stream ends.
    Source,
    /// A message or a line of a source is not a tweet. The source continues with the next one.
    NotATweet,
    /// No port is free for the live figure.
    NoPort,
    /// The Stop button of the notebook ended the call.
    Interrupted,
    /// A background task or thread panicked.
    Panicked,
}

impl Error {
    /// Creates an error without a hint. Use it to implement a [`Source`](crate::source::Source).
    ///
    /// # Examples
    /// ```
    /// use live_sentiment::prelude::*;
    ///
    /// let error = Error::new(ErrorKind::Source, "news: the server has moved")
    ///     .with_hint("enter its new address");
    /// assert_eq!(error.hint(), Some("enter its new address"));
    /// ```
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            message: message.into(),
            hint: None,
            kafka_code: None,
            io_kind: None,
            skip: None,
        }
    }

    /// Sets the hint, which says what to do next.
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the kind of the error, which says what failed.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the hint, which says what to do next; `None` if there is no hint.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the error code that the broker or librdkafka reported; `None` if the error has none.
    pub fn kafka_code(&self) -> Option<RDKafkaErrorCode> {
        self.kafka_code
    }

    /// Returns the kind of the I/O error that is the cause; `None` if the cause is not an I/O error.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.io_kind
    }

    /// Returns why a message is not a tweet; `None` for any other error.
    pub(crate) fn skip(&self) -> Option<Skip> {
        self.skip
    }

    pub(crate) fn with_code(mut self, code: impl Into<Option<RDKafkaErrorCode>>) -> Error {
        self.kafka_code = code.into();
        self
    }

    pub(crate) fn failed(
        kind: ErrorKind,
        action: impl Display,
        reason: impl Display,
        hint: impl Into<Cow<'static, str>>,
    ) -> Error {
        Error::new(kind, format!("failed to {action}: {reason}")).with_hint(hint)
    }

    pub(crate) fn kafka(action: impl Display, error: &KafkaError, hint: &'static str) -> Error {
        Error::failed(ErrorKind::Kafka, action, error, hint).with_code(error.rdkafka_error_code())
    }

    pub(crate) fn io(kind: ErrorKind, action: impl Display, error: &io::Error) -> Error {
        Error {
            io_kind: Some(error.kind()),
            ..Error::new(kind, format!("failed to {action}: {error}"))
        }
    }

    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Error {
        let action = format!("{action} {}", path.display());
        Error::io(ErrorKind::File, action, error).with_hint("check the path and its permissions")
    }

    pub(crate) fn invalid_argument(
        argument: impl Display,
        reason: impl Display,
        hint: impl Into<Cow<'static, str>>,
    ) -> Error {
        let message = format!("invalid {argument}: {reason}");
        Error::new(ErrorKind::InvalidArgument, message).with_hint(hint)
    }

    pub(crate) fn no_topic(topic: &str, address: &str) -> Error {
        let message = format!("topic {topic:?} does not exist at {address}");
        Error::new(ErrorKind::NoTopic, message).with_hint(
            "run the Streamer first, whose `create_topic` call creates it, or check the name",
        )
    }

    pub(crate) fn not_a_tweet(item: impl Display, reason: Skip) -> Error {
        let message = format!("{item} is not a tweet ({reason}); skipped");
        Error {
            skip: Some(reason),
            ..Error::new(ErrorKind::NotATweet, message)
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
