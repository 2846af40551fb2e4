//! The identifier of a run, and how it travels in a message.

use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use std::ops::Range;

/// The Kafka header that carries the identifier, as eight bytes, big endian.
const HEADER: &str = "run-id";

/// The identifier of a run: how many messages had ever been written to the topic when the run
/// began. A later run in the same topic therefore has a larger identifier, whatever the clocks of
/// the machines show. Two runs between which nothing was written have the same identifier, and are
/// one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunId(u64);

impl RunId {
    /// Returns the identifier of a run that begins now, from the offsets of the topic's partitions.
    pub(super) fn next(partitions: &[Range<i64>]) -> RunId {
        let ends = partitions.iter().map(|offsets| offsets.end.unsigned_abs());
        RunId(ends.sum())
    }

    /// Returns the headers that mark a message with this run.
    pub(crate) fn headers(self) -> OwnedHeaders {
        OwnedHeaders::new().insert(Header {
            key: HEADER,
            value: Some(&self.0.to_be_bytes()),
        })
    }

    /// Returns the run of a message; `None` for a message of another program, which carries none.
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Option<RunId> {
        let headers = message.headers()?;
        let header = headers.iter().find(|header| header.key == HEADER)?;
        let bytes = header.value?.try_into().ok()?;
        Some(RunId(u64::from_be_bytes(bytes)))
    }
}
