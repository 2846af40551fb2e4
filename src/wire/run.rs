//! The identifier of a run, and the message header that carries it.

use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use std::ops::Range;
use std::time::{Duration, Instant};

/// The name of the Kafka header. Its value is the identifier as eight bytes, big endian.
const HEADER: &str = "run-id";

/// The identifier of a run: the number of messages that had been written to the topic when the run
/// began. A later run in the same topic therefore has a larger identifier. A time would not guarantee
/// this, because clocks may be wrong. If nothing was written between the starts of two runs, they have the
/// same identifier and count as one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunId(u64);

impl RunId {
    /// Returns the identifier of a run that begins now. `partitions` are the offset ranges of the topic's
    /// partitions.
    pub(crate) fn next(partitions: &[Range<i64>]) -> RunId {
        let ends = partitions.iter().map(|offsets| offsets.end.unsigned_abs());
        RunId(ends.sum())
    }

    /// Returns whether the topic can have this run. Any program may write any identifier into a message, but
    /// no run has an identifier above the number of messages that were ever written. `ends` are the end
    /// offsets of the topic's partitions.
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

    /// Returns the run of a message; `None` if the message has no valid run header, for example because
    /// another program wrote it.
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Option<RunId> {
        let headers = message.headers()?;
        let header = headers.iter().find(|header| header.key == HEADER)?;
        let bytes = header.value?.try_into().ok()?;
        Some(RunId(u64::from_be_bytes(bytes)))
    }
}

/// How long an impossible run is rejected before the broker is asked again. Many messages with impossible
/// runs therefore cost one request per second.
const REJECTED_FOR: Duration = Duration::from_secs(1);

/// Checks the runs of messages, see [`RunId::is_possible`], and remembers the results to save requests.
#[derive(Default)]
pub(crate) struct RunCheck {
    /// The largest run that was found possible.
    accepted: Option<RunId>,
    /// The last run that was found impossible, and the time of that check. Larger runs are impossible too.
    rejected: Option<(RunId, Instant)>,
}

impl RunCheck {
    /// Returns `run`, or `None` if the topic cannot have this run. The message is then treated like a
    /// message without a run. `is_possible` asks the broker.
    ///
    /// # Errors
    /// Those of `is_possible`.
    pub(crate) fn trusted(
        &mut self,
        run: Option<RunId>,
        is_possible: impl FnOnce(RunId) -> KafkaResult<bool>,
    ) -> KafkaResult<Option<RunId>> {
        let Some(found) = run else { return Ok(None) };
        if run <= self.accepted {
            return Ok(run);
        }
        let rejected = self.rejected.filter(|(_, at)| at.elapsed() < REJECTED_FOR);
        if rejected.is_some_and(|(least, _)| least <= found) {
            return Ok(None);
        }
        if is_possible(found)? {
            self.accepted = run;
            return Ok(run);
        }
        tracing::warn!(?found, "a message has a run that the topic cannot have");
        self.rejected = Some((found, Instant::now()));
        Ok(None)
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

    #[test]
    fn the_broker_is_asked_once_for_a_run() {
        let mut check = RunCheck::default();
        let mut asked = 0;
        let mut trusted = |run: u64| {
            let trusted = check.trusted(Some(RunId(run)), |run| {
                asked += 1;
                Ok(run < RunId(10))
            });
            trusted.unwrap().is_some()
        };
        let outcomes = [5, 5, 3, 20, 30, 20, 9].map(&mut trusted);
        assert_eq!(outcomes, [true, true, true, false, false, false, true]);
        assert_eq!(asked, 3, "for 5, 20 and 9");
    }
}
