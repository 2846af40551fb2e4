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

    /// Returns whether the topic can have this run. Any program may write any identifier into a message;
    /// one above the number of messages that were ever written belongs to no run. `ends` are the ends
    /// of the topic's partitions.
    pub(crate) fn is_possible(self, ends: impl IntoIterator<Item = i64>) -> bool {
        let ends = ends.into_iter().map(|end| u64::try_from(end).unwrap_or(0));
        self.0 <= ends.fold(0, u64::saturating_add)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_cannot_be_larger_than_the_number_of_messages_ever_written() {
        let run = RunId::next(&[3..5, 0..7]);
        assert!(run.is_possible([5, 7]) && run.is_possible([5, 8]));
        assert!(!run.is_possible([5, 6]));
        assert!(!RunId(u64::MAX).is_possible([i64::MAX]));
        assert!(!run.is_possible([i64::MIN, 7]));
    }
}
