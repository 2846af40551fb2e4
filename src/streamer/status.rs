//! The status of a stream: for a program as a struct, for a person as a line and as a card, and for the
//! listener's page as a Kafka message.

use crate::notebook::{Card, shorten, thousands};
use crate::source::Connection;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// After how long the status says that the stream waits for its source.
const SILENT_WAIT: Duration = Duration::from_secs(10);

/// The maximum size of an accepted message, in bytes. Any program may write to the topic.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// The source had no more tweets.
    Source,
    /// The source or the streamer failed; `last_error` has the cause.
    Failed,
    /// The time span was over.
    TimeSpan,
    /// The stream was stopped.
    Stopped,
}

/// The counts of a stream. Each is also a field of the JSON forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Tweets that came from the source.
    pub read: u64,
    /// Tweets that matched no track or no language.
    pub filtered: u64,
    /// Tweets whose id had come before.
    pub duplicate: u64,
    /// Messages of the source that are not tweets.
    pub skipped: u64,
    /// Tweets that the broker has confirmed.
    pub sent: u64,
    /// Tweets that the broker did not accept. They are in the dead-letter file.
    pub failed: u64,
}

impl Counts {
    /// Returns the number of tweets on their way to the broker.
    pub fn in_flight(&self) -> u64 {
        // Counts from a message may contradict each other.
        let done = [self.filtered, self.duplicate, self.sent, self.failed];
        done.into_iter().fold(self.read, u64::saturating_sub)
    }

    /// Returns the rows of the card. A new count needs a field, a row here, and the statement that
    /// increments it.
    fn rows(&self) -> Vec<(&'static str, u64)> {
        let mut rows = vec![
            ("read", self.read),
            ("filtered out", self.filtered),
            ("duplicates", self.duplicate),
            ("sent", self.sent),
        ];
        let errors = [
            ("skipped, not tweets", self.skipped),
            ("failed", self.failed),
        ];
        rows.extend(errors.into_iter().filter(|(_, count)| *count > 0));
        rows
    }
}

/// The status of a stream.
///
/// Its serde form is the JSON message that the streamer writes once per second to the topic beside that
/// of the tweets. It leaves out what concerns only the machine of the streamer, and the
/// topics, which may be many. [`to_json`](StreamerStatus::to_json) adds the topics and the dead-letter
/// file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamerStatus {
    /// The name of the source.
    pub source: String,
    /// The state of its connection; `None` for a source without one.
    pub connection: Option<Connection>,
    /// Why the stream ended; `None` while it runs.
    pub ended: Option<EndReason>,
    /// How long the stream has run.
    #[serde(default, with = "seconds")]
    pub elapsed: Duration,
    /// How long the stream has been waiting for its source, up to a second less; `None` if a tweet has
    /// come within the last second, and after the end.
    #[serde(skip)]
    pub waiting: Option<Duration>,
    /// How long it will still run; `None` without a time span.
    #[serde(default, with = "seconds")]
    pub remaining: Option<Duration>,
    /// Tweets sent per second: over the last ten seconds while the stream runs, and over its whole
    /// time once it has ended.
    pub rate: f64,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The file with the failed tweets, for [`Replay`](crate::source::Replay); `None` if no tweet
    /// has failed.
    #[serde(skip)]
    pub dead_letter_file: Option<PathBuf>,
    /// When the newest tweet that passed the filter was written.
    pub newest: Option<Timestamp>,
    /// The number of tweets for each topic. A tweet may have several topics.
    #[serde(skip)]
    pub topics: BTreeMap<String, u64>,
    /// The last error, if there was one.
    #[serde(skip)]
    pub last_error: Option<String>,
}

impl StreamerStatus {
    /// Returns the age of the newest tweet that passed the filter.
    pub fn newest_age(&self) -> Option<Duration> {
        let newest = self.newest?;
        Some(Duration::try_from(Timestamp::now().duration_since(newest)).unwrap_or_default())
    }

    /// Returns the status as JSON, as the example program prints it with `--json`. The key
    /// `undelivered` is an alias of `dead_letter_file`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!(self);
        json["topics"] = serde_json::json!(self.topics);
        json["dead_letter_file"] = serde_json::json!(self.dead_letter_file);
        json["undelivered"] = serde_json::json!(self.dead_letter_file);
        json
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Strings, numbers and times: each has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Decodes a message of the status topic, and shortens its texts. Returns `None` for any other
    /// message.
    pub(crate) fn decode(message: &[u8]) -> Option<StreamerStatus> {
        if message.len() > MAX_MESSAGE_BYTES {
            return None;
        }
        let mut status: StreamerStatus = serde_json::from_slice(message).ok()?;
        status.source = shorten(&status.source, 60);
        if let Some(connection) = &mut status.connection {
            let reason = connection.last_reason.as_deref();
            connection.last_reason = reason.map(|reason| shorten(reason, 160));
        }
        Some(status)
    }

    fn state(&self) -> String {
        match (self.ended, &self.connection) {
            (Some(EndReason::Source), _) => "the source has ended".into(),
            (Some(EndReason::Failed), _) => "failed".into(),
            (Some(EndReason::TimeSpan), _) => "the time span is over".into(),
            (Some(EndReason::Stopped), _) => "stopped".into(),
            (
                None,
                Some(Connection {
                    since: None,
                    last_reason,
                    ..
                }),
            ) => match last_reason {
                Some(reason) => format!("not connected, retrying: {reason}"),
                None => "connecting".into(),
            },
            (None, _) => match self.waiting {
                Some(waiting) if waiting > SILENT_WAIT => {
                    let seconds = waiting.as_secs();
                    format!("waiting for the next tweet of the source for {seconds} s")
                }
                _ => "streaming".into(),
            },
        }
    }

    /// Displays a status card in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        let mut card = Card::new("Streamer")
            .row("state", &self.state())
            .row("source", &self.source);
        if let Some(connection) = &self.connection {
            card = connection_rows(card, connection);
        }
        for (name, count) in self.counts.rows() {
            card = card.row(name, &thousands(count));
        }
        for (topic, count) in &self.topics {
            card = card.row(&format!("… about {topic}"), &thousands(*count));
        }
        card = card.row("rate", &format!("{:.1} per second", self.rate));
        if let Some(age) = self.newest_age().filter(|_| self.ended.is_none()) {
            card = card.row("newest tweet", &format!("{:.1} s old", age.as_secs_f64()));
        }
        if let Some(file) = &self.dead_letter_file {
            card = card.row("dead-letter file", &file.display().to_string());
        }
        if let Some(error) = &self.last_error {
            card = card.row("last error", error);
        }
        if let (None, Some(remaining)) = (self.ended, self.remaining) {
            card = card.row("remaining", &format!("{:.0} s", remaining.as_secs_f64()));
        }
        card.data(self.to_json()).show();
    }
}

/// A duration in JSON, as seconds. An optional one may be null.
mod seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(
        duration: &(impl Copy + Into<Option<Duration>>),
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let duration: Option<Duration> = (*duration).into();
        duration.map(|it| it.as_secs_f64()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Default + From<Duration>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        let duration = seconds.map(Duration::try_from_secs_f64).transpose();
        Ok(duration
            .map_err(D::Error::custom)?
            .map_or_else(T::default, T::from))
    }
}

fn connection_rows(mut card: Card, connection: &Connection) -> Card {
    if let Some(since) = connection.since {
        card = card.row("connected since", &format!("{since:.0}"));
    }
    card = card.row("reconnects", &thousands(connection.reconnects));
    if let Some(reason) = &connection.last_reason {
        card = card.row("last connection error", reason);
    }
    if connection.without_followers > 0 {
        let count = thousands(connection.without_followers);
        card = card.row("unknown follower counts", &count);
    }
    if connection.other_events > 0 {
        card = card.row("other events", &thousands(connection.other_events));
    }
    card
}

impl std::fmt::Display for StreamerStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        write!(f, "{seconds:>4.0} s: sent {}", thousands(self.counts.sent))?;
        for (topic, count) in &self.topics {
            write!(f, ", {topic} {}", thousands(*count))?;
        }
        write!(f, ", {:.1} per second", self.rate)?;
        if self.counts.failed > 0 {
            write!(f, ", FAILED {}", thousands(self.counts.failed))?;
        }
        if let Some(file) = &self.dead_letter_file {
            write!(f, " (saved to {})", file.display())?;
        }
        match self.state().as_str() {
            "streaming" => {}
            state => write!(f, ", {}", shorten(state, 160))?,
        }
        match (self.ended, self.remaining) {
            (None, Some(remaining)) => write!(f, ", {:.0} s remaining", remaining.as_secs_f64()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_for_the_source_is_shown() {
        let line = |seconds: u64, ended: Option<EndReason>| {
            let status = StreamerStatus {
                source: "replay".into(),
                connection: None,
                ended,
                elapsed: Duration::from_secs(30),
                waiting: Some(Duration::from_secs(seconds)),
                remaining: None,
                rate: 0.0,
                counts: Counts::default(),
                dead_letter_file: None,
                newest: None,
                topics: BTreeMap::new(),
                last_error: None,
            };
            status.to_string()
        };
        assert_eq!(line(10, None), "  30 s: sent 0, 0.0 per second");
        assert_eq!(
            line(7_200, None),
            "  30 s: sent 0, 0.0 per second, waiting for the next tweet of the source for 7200 s"
        );
        assert!(line(7_200, Some(EndReason::Stopped)).ends_with("stopped"));
    }

    #[test]
    fn a_status_message_is_decoded_and_shortened() {
        let message = StreamerStatus {
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
            elapsed: Duration::from_secs_f64(20.5),
            remaining: Some(Duration::from_secs_f64(39.5)),
            ..StreamerStatus::default()
        };
        let decoded = StreamerStatus::decode(&message.encode()).unwrap();
        assert_eq!(decoded.counts, message.counts);
        assert_eq!(decoded.ended, Some(EndReason::TimeSpan));
        assert_eq!(decoded.elapsed.as_secs_f64(), 20.5);
        assert_eq!(decoded.remaining.map(|left| left.as_secs_f64()), Some(39.5));
        assert_eq!(decoded.source.chars().count(), 61);
        let reason = decoded.connection.unwrap().last_reason.unwrap();
        assert_eq!(reason.chars().count(), 161);
        assert_eq!(StreamerStatus::decode(b"{}"), None);
        let long = vec![b' '; MAX_MESSAGE_BYTES + 1];
        assert_eq!(StreamerStatus::decode(&long), None);
    }

    #[test]
    fn older_versions_read_the_messages_and_theirs_are_read() {
        let status = StreamerStatus {
            source: "demo".into(),
            elapsed: Duration::from_millis(1500),
            rate: 20.0,
            counts: Counts {
                read: 3,
                sent: 3,
                ..Counts::default()
            },
            newest: Some(Timestamp::UNIX_EPOCH),
            ..StreamerStatus::default()
        };
        // As version 0.2.0 writes and reads it.
        let current = r#"{"source":"demo","ended":null,"connection":null,"rate":20.0,"read":3,
            "filtered":0,"duplicate":0,"skipped":0,"sent":3,"failed":0,
            "newest":"1970-01-01T00:00:00Z","elapsed":1.5,"remaining":null}"#;
        let value = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).unwrap();
        let local = StreamerStatus {
            waiting: Some(Duration::ZERO),
            dead_letter_file: Some("/home/ada/dead-letter.jsonl".into()),
            topics: BTreeMap::from([("bitcoin".into(), 3)]),
            last_error: Some("the disk is full".into()),
            ..status.clone()
        };
        assert_eq!(value(&local.encode()), value(current.as_bytes()));
        assert_eq!(
            StreamerStatus::decode(current.as_bytes()),
            Some(status.clone())
        );
        // The first messages had neither all counts nor times.
        let first =
            br#"{"source":"demo","ended":null,"connection":null,"rate":20.0,"read":3,"sent":3,
            "newest":"1970-01-01T00:00:00Z"}"#;
        let elapsed = Duration::ZERO;
        assert_eq!(
            StreamerStatus::decode(first),
            Some(StreamerStatus { elapsed, ..status })
        );
    }

    #[test]
    fn a_message_with_an_impossible_time_is_no_status() {
        for elapsed in ["-1", "1e300", "\"soon\""] {
            let json = format!(r#"{{"source":"demo","rate":0,"elapsed":{elapsed}}}"#);
            assert_eq!(StreamerStatus::decode(json.as_bytes()), None, "{elapsed}");
        }
    }

    #[test]
    fn counts_that_another_program_wrote_may_contradict_each_other() {
        let in_flight = |json: &str| serde_json::from_str::<Counts>(json).unwrap().in_flight();
        assert_eq!(in_flight(r#"{"read":0,"filtered":5}"#), 0);
        let most = u64::MAX;
        let counts = format!(r#"{{"read":{most},"filtered":3,"duplicate":2,"sent":4,"failed":1}}"#);
        assert_eq!(in_flight(&counts), most - 10);
        assert_eq!(
            in_flight(&format!(r#"{{"read":9,"sent":{most},"failed":{most}}}"#)),
            0
        );
    }
}
