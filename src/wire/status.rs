//! The status of a stream, as a struct for a program and as a Kafka message for the listener.

use crate::notebook::shorten;
use crate::tweet::SkipCounts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The maximum size of an accepted message, in bytes. Any program may write to the topic.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Why a stream or a scorer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EndReason {
    /// The source had no more tweets.
    Source,
    /// The source, the streamer or the scorer failed; `last_error` has the cause.
    Failed,
    /// The time span was over.
    TimeSpan,
    /// The owner stopped the stream or the scorer.
    Stopped,
}

/// The counts of a stream. In JSON, each count is a field of the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Counts {
    /// Tweets that came from the source.
    pub read: u64,
    /// Tweets that matched no track or no language.
    pub filtered: u64,
    /// Tweets whose id the streamer had seen before.
    pub duplicate: u64,
    /// Messages of the source that are not tweets.
    pub skipped: u64,
    /// Tweets without the follower count of their author, before the filter.
    pub without_followers: u64,
    /// Tweets that the broker has confirmed.
    pub sent: u64,
    /// Tweets that the broker did not accept. They are in the dead-letter file.
    pub failed: u64,
}

impl Counts {
    /// Returns the number of tweets that wait for a delivery report.
    pub fn in_flight(&self) -> u64 {
        // The counts of a message may contradict each other, so the subtraction saturates at 0.
        let done = [self.filtered, self.duplicate, self.sent, self.failed];
        done.into_iter().fold(self.read, u64::saturating_sub)
    }
}

/// The state of a live source's connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Connection {
    /// When the current connection was made; `None` while the source is not connected.
    pub since: Option<Timestamp>,
    /// The number of reconnects after a lost connection.
    pub reconnects: u64,
    /// Why the last connection was lost or could not be made.
    pub last_reason: Option<String>,
    /// The number of tweets without the follower count of their author, because the count was not
    /// available in time.
    pub without_followers: u64,
    /// The number of valid messages from the server that contain no tweet, such as a notice or the
    /// deletion of a post. Keep-alives are not counted.
    pub other_events: u64,
}

/// How much of its files a replay has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FileProgress {
    /// The size of all files as they are stored, in bytes; `None` if one of them is a named pipe, or if they are
    /// repeated.
    pub bytes: Option<u64>,
    /// How many of these bytes hold the records so far. For a compressed file, this is an estimate.
    pub bytes_read: u64,
    /// The number of records so far: lines, rows, or the tweets of a page. It includes the bad ones.
    pub records: u64,
    /// The number of valid records that contain no tweet, such as a notice or the deletion of a post.
    pub other_events: u64,
}

impl FileProgress {
    /// Returns the part of the files that was read, from 0 to 1; `None` if their size is unknown.
    pub fn share(&self) -> Option<f64> {
        let bytes = self.bytes.filter(|bytes| *bytes > 0)?;
        Some((self.bytes_read as f64 / bytes as f64).min(1.0))
    }
}

/// The status of a stream.
///
/// Its serde form is the JSON message that the streamer writes to the status topic once per second. This
/// message does not contain the topics, because there may be many, and the fields that concern only the
/// streamer's machine. [`to_json`](StreamerStatus::to_json) adds the topics, the reasons of skipped messages
/// and the dead-letter file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamerStatus {
    /// The name of the source.
    pub source: String,
    /// The state of the source's connection; `None` for a source without a connection.
    pub connection: Option<Connection>,
    /// How much of its files the source has read; `None` for a source without files.
    #[serde(default)]
    pub files: Option<FileProgress>,
    /// Why the stream ended; `None` while it runs.
    pub ended: Option<EndReason>,
    /// How long the stream has run.
    #[serde(default, with = "seconds")]
    pub elapsed: Duration,
    /// How long nothing has come from the source, accurate to a second. `None` if a tweet came within the
    /// last second, or if the stream has ended.
    #[serde(skip)]
    pub waiting: Option<Duration>,
    /// How long the stream will still run; `None` without a time span.
    #[serde(default, with = "seconds")]
    pub remaining: Option<Duration>,
    /// The number of tweets sent per second: over the last ten seconds while the stream runs, and over the
    /// whole stream after its end.
    pub rate: f64,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The number of skipped messages for each reason. It does not contain messages that a source skips
    /// without a reason.
    #[serde(skip)]
    pub skip_reasons: SkipCounts,
    /// The file of the failed tweets, which [`Replay`](crate::source::Replay) can read; `None` if no tweet
    /// has failed.
    #[serde(skip)]
    pub dead_letter_file: Option<PathBuf>,
    /// The creation time of the newest tweet that passed the filter.
    pub newest: Option<Timestamp>,
    /// The number of tweets for each topic. A tweet may have several topics.
    #[serde(skip)]
    pub topics: BTreeMap<String, u64>,
    /// The last error, if there was one.
    #[serde(skip)]
    pub last_error: Option<String>,
}

impl StreamerStatus {
    /// Returns how long the source needs for the rest of its files, at the pace so far.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let share = self.files?.share().filter(|share| *share > 0.0)?;
        let left = self.elapsed.as_secs_f64() * (1.0 - share) / share;
        let is_running = self.ended.is_none();
        Duration::try_from_secs_f64(left)
            .ok()
            .filter(|_| is_running)
    }

    /// Returns whether the default metric adds 0 for each tweet so far, because none has a follower count.
    pub(crate) fn has_no_followers(&self) -> bool {
        self.counts.read > 0 && self.counts.without_followers == self.counts.read
    }

    /// Returns the age of the newest tweet that passed the filter.
    pub(crate) fn newest_age(&self) -> Option<Duration> {
        let newest = self.newest?;
        Some(Duration::try_from(Timestamp::now().duration_since(newest)).unwrap_or_default())
    }

    /// Returns the status as JSON. The example program prints it with `--json`. The key `undelivered` is an
    /// alias of `dead_letter_file`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!(self);
        json["topics"] = serde_json::json!(self.topics);
        json["skip_reasons"] = serde_json::json!(self.skip_reasons);
        json["dead_letter_file"] = serde_json::json!(self.dead_letter_file);
        json["undelivered"] = serde_json::json!(self.dead_letter_file);
        json
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Strings, numbers and times always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Decodes a message of the status topic, and shortens its texts. Returns `None` if the message is not a
    /// status.
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
}

/// Represents a duration in JSON as a number of seconds, and a missing one as `null`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        // This is the message of version 0.2.0.
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
        // An older version ignores the fields that are new.
        let mut message = value(&local.encode());
        let fields = message.as_object_mut().unwrap();
        assert_eq!(fields.remove("files"), Some(serde_json::Value::Null));
        assert_eq!(fields.remove("without_followers"), Some(0.into()));
        assert_eq!(message, value(current.as_bytes()));
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
