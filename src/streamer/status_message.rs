//! The status of a streamer as a Kafka message, by which it reaches the listener's page.

use super::status::{Counts, EndReason, StreamerStatus};
use crate::notebook::shorten;
use crate::source::Connection;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The maximum size of an accepted message, in bytes. Any program may write to the topic.
const MAX_BYTES: usize = 16 * 1024;

/// A status message: JSON, written once per second to the topic that
/// [`status_topic`](crate::kafka::status_topic) names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StatusMessage {
    source: String,
    ended: Option<EndReason>,
    connection: Option<Connection>,
    rate: f64,
    #[serde(flatten)]
    counts: Counts,
    newest: Option<Timestamp>,
    /// How long the stream has been running, in seconds.
    #[serde(default)]
    elapsed: f64,
    /// The rest of the time span, in seconds, if the stream has one.
    #[serde(default)]
    remaining: Option<f64>,
}

impl StatusMessage {
    pub(super) fn new(status: &StreamerStatus) -> StatusMessage {
        StatusMessage {
            source: status.source.clone(),
            ended: status.ended,
            connection: status.connection.clone(),
            rate: status.rate,
            counts: status.counts,
            newest: status.newest,
            elapsed: status.elapsed.as_secs_f64(),
            remaining: status.remaining.map(|left| left.as_secs_f64()),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Strings, numbers and times: each has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns whether the stream has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Decodes a message, and shortens its texts. Returns `None` for any other message.
    pub(crate) fn decode(message: &[u8]) -> Option<StatusMessage> {
        if message.len() > MAX_BYTES {
            return None;
        }
        let mut status: StatusMessage = serde_json::from_slice(message).ok()?;
        status.source = shorten(&status.source, 60);
        if let Some(connection) = &mut status.connection {
            let reason = connection.last_reason.as_deref();
            connection.last_reason = reason.map(|reason| shorten(reason, 160));
        }
        Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_message_is_decoded_and_shortened() {
        let message = StatusMessage {
            source: "S".repeat(100),
            ended: Some(EndReason::TimeSpan),
            connection: Some(Connection {
                last_reason: Some("why".repeat(200)),
                ..Connection::default()
            }),
            rate: 1.5,
            counts: Counts {
                read: 4,
                filtered: 1,
                duplicate: 1,
                sent: 2,
                ..Counts::default()
            },
            newest: Some(Timestamp::UNIX_EPOCH),
            elapsed: 20.5,
            remaining: Some(39.5),
        };
        let decoded = StatusMessage::decode(&message.encode()).unwrap();
        assert_eq!(decoded.counts, message.counts);
        assert_eq!(decoded.ended, Some(EndReason::TimeSpan));
        assert_eq!((decoded.elapsed, decoded.remaining), (20.5, Some(39.5)));
        assert_eq!(decoded.source.chars().count(), 61);
        let reason = decoded.connection.unwrap().last_reason.unwrap();
        assert_eq!(reason.chars().count(), 161);
        assert_eq!(StatusMessage::decode(b"{}"), None);
        assert_eq!(StatusMessage::decode(&vec![b' '; MAX_BYTES + 1]), None);
    }
}
