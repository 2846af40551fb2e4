//! The tweet, and the Kafka message that carries it.
//!
//! A message is UTF-8 JSON. Only the field `text` is required. Any program may write to a topic, so
//! no message is trusted: a field of the wrong type makes the message a [`Skip`], a number out of
//! range means "unknown", and decoding never panics.
//!
//! ```json
//! {"id":"1","created_at":"2026-01-01T12:00:00Z","user":"ada","followers":1815,
//!  "text":"I love #bitcoin","lang":"en","topics":["bitcoin"],"source":"demo"}
//! ```

use jiff::Timestamp;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The largest accepted message, in bytes. It equals Kafka's default limit.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// One post, from any source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tweet {
    /// The id, unique within the source; empty if the source has no ids.
    #[serde(default, deserialize_with = "text_or_number")]
    pub id: String,
    /// When the author sent the tweet.
    #[serde(default = "unknown_time")]
    pub created_at: Timestamp,
    /// The author's name, without `@`. It is the key of the message, so that the tweets of one
    /// author go to one partition and keep their order.
    #[serde(default)]
    pub user: String,
    /// The number of the author's followers; `None` if unknown.
    #[serde(default, deserialize_with = "count")]
    pub followers: Option<u64>,
    /// The text.
    pub text: String,
    /// The BCP 47 language tag, such as `en`; empty if unknown.
    #[serde(default)]
    pub lang: String,
    /// The tracks that the tweet matched, see [`crate::Filter`].
    #[serde(default)]
    pub topics: Vec<String>,
    /// The name of the source.
    #[serde(default)]
    pub source: String,
}

/// The reason why a message is not counted as a tweet. In JSON it is a word such as `"not_json"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// The message is larger than [`MAX_MESSAGE_BYTES`].
    TooLarge,
    /// The message is not UTF-8.
    NotUtf8,
    /// The message is not JSON, or its JSON is nested too deeply.
    NotJson,
    /// The JSON has no `text`.
    NoText,
    /// A field of the JSON has the wrong type.
    WrongType,
    /// The message has no score, in a topic of scores.
    NoScore,
    /// The score is larger than the limit of its topic, in a scorer.
    ScoreTooLarge,
    /// Kafka refuses the score for another reason, such as a missing key in a compacted topic.
    ScoreRefused,
    /// The metric returned NaN or an infinite number.
    MetricNotFinite,
    /// The metric panicked.
    MetricPanicked,
}

/// The number of skipped messages for each reason, in the order of the reasons. The listener, the
/// scorer and the page show it; in JSON it is an object such as `{"not_json": 2}`.
pub type SkipCounts = BTreeMap<Skip, u64>;

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::TooLarge => "larger than 1 MiB",
            Skip::NotUtf8 => "not UTF-8",
            Skip::NotJson => "not JSON",
            Skip::NoText => "no text",
            Skip::WrongType => "a field of the wrong type",
            Skip::NoScore => "no score",
            Skip::ScoreTooLarge => "its score is larger than the topic's limit",
            Skip::ScoreRefused => "the topic of scores refuses it",
            Skip::MetricNotFinite => "the metric is not a finite number",
            Skip::MetricPanicked => "the metric panicked",
        })
    }
}

impl Tweet {
    /// Decodes a message of a topic, or a line of a replay file.
    ///
    /// Unknown fields are ignored, so the messages of the original notebooks (`user`, `followers`,
    /// `text`, `sentiment`, `subjetivity`) are accepted too.
    ///
    /// # Errors
    /// The [`Skip`] reason if the message is not a tweet.
    ///
    /// # Examples
    /// ```
    /// use live_sentiment::{Tweet, tweet::Skip};
    ///
    /// let tweet = Tweet::decode(br#"{"user":"ada","followers":-3,"text":"hi","sentiment":0.5}"#);
    /// assert_eq!(tweet.unwrap().followers, None);
    /// assert_eq!(Tweet::decode(b"{}"), Err(Skip::NoText));
    /// ```
    pub fn decode(message: &[u8]) -> Result<Tweet, Skip> {
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(Skip::TooLarge);
        }
        let json = std::str::from_utf8(message).map_err(|_| Skip::NotUtf8)?;
        serde_json::from_str(json).map_err(|error| match error.classify() {
            serde_json::error::Category::Data if has_no_text(json) => Skip::NoText,
            serde_json::error::Category::Data => Skip::WrongType,
            _ => Skip::NotJson,
        })
    }

    /// Encodes the tweet as a message into `buffer`. The buffer is cleared first and keeps its
    /// capacity.
    pub fn encode_into(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        // Writing to a `Vec` cannot fail, and every field has a JSON form.
        serde_json::to_writer(buffer, self).expect("a tweet is always JSON");
    }

    /// Returns true if the message had no time, so that the reader can set a better one.
    pub(crate) fn has_no_time(&self) -> bool {
        self.created_at == unknown_time()
    }
}

/// Distinguishes a missing text from a wrong type. It runs only after decoding has failed, so its
/// cost does not matter.
fn has_no_text(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Text {
        #[serde(default)]
        text: Option<de::IgnoredAny>,
    }
    serde_json::from_str::<Text>(json).is_ok_and(|message| message.text.is_none())
}

fn unknown_time() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// Deserializes a count of a source: anything but a whole number from 0 up is unknown.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = Option<u64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number or null")
        }
        fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
            Ok(Some(n))
        }
        fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
            Ok(u64::try_from(n).ok())
        }
        fn visit_f64<E>(self, n: f64) -> Result<Self::Value, E> {
            const LIMIT: f64 = (1u64 << 53) as f64;
            Ok((n.fract() == 0.0 && (0.0..LIMIT).contains(&n)).then_some(n as u64))
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Count)
}

/// Deserializes an id of a source: a string, or a number, which is kept as its digits.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Id;
    impl<'de> Visitor<'de> for Id {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a number")
        }
        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
        fn visit_u64<E>(self, n: u64) -> Result<String, E> {
            Ok(n.to_string())
        }
        fn visit_i64<E>(self, n: i64) -> Result<String, E> {
            Ok(n.to_string())
        }
        fn visit_f64<E>(self, n: f64) -> Result<String, E> {
            Ok(n.to_string())
        }
        fn visit_unit<E>(self) -> Result<String, E> {
            Ok(String::new())
        }
    }
    deserializer.deserialize_any(Id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(message: &[u8]) -> Skip {
        Tweet::decode(message).unwrap_err()
    }

    #[test]
    fn a_tweet_survives_encoding_and_decoding() {
        let tweet = Tweet {
            id: "1".into(),
            created_at: "2026-01-01T12:00:00.125Z".parse().unwrap(),
            user: "ada".into(),
            followers: Some(1815),
            text: "“quoted” \u{1f680} \\ line\nbreak \u{0}".into(),
            lang: "en".into(),
            topics: vec!["bitcoin".into()],
            source: "demo".into(),
        };
        let mut message = Vec::new();
        tweet.encode_into(&mut message);
        assert_eq!(Tweet::decode(&message), Ok(tweet));
    }

    #[test]
    fn each_invalid_message_has_its_reason() {
        assert_eq!(skip(b"not json"), Skip::NotJson);
        assert_eq!(skip(b""), Skip::NotJson);
        assert_eq!(skip(b"{\"text\":\"\xff\"}"), Skip::NotUtf8);
        assert_eq!(skip(b"{\"user\":\"ada\"}"), Skip::NoText);
        assert_eq!(skip(b"{\"text\":null}"), Skip::NoText);
        assert_eq!(skip(b"{\"text\":5}"), Skip::WrongType);
        assert_eq!(skip(b"[1,2]"), Skip::WrongType);
        assert_eq!(skip(&vec![b' '; MAX_MESSAGE_BYTES + 1]), Skip::TooLarge);
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        assert_eq!(skip(deep.as_bytes()), Skip::NotJson);
    }

    #[test]
    fn invalid_follower_counts_are_unknown() {
        for followers in [
            "-1",
            "null",
            "1e300",
            "0.5",
            "-1e300",
            "99999999999999999999999",
        ] {
            let message = format!(r#"{{"text":"hi","followers":{followers}}}"#);
            assert_eq!(
                Tweet::decode(message.as_bytes()).unwrap().followers,
                None,
                "{followers}"
            );
        }
        let most = format!(r#"{{"text":"hi","followers":{}}}"#, u64::MAX);
        assert_eq!(
            Tweet::decode(most.as_bytes()).unwrap().followers,
            Some(u64::MAX)
        );
    }

    #[test]
    fn skip_counts_are_json_with_words_as_keys() {
        let counts = SkipCounts::from([(Skip::NotJson, 2), (Skip::MetricPanicked, 1)]);
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(json, r#"{"not_json":2,"metric_panicked":1}"#);
    }

    #[test]
    fn an_id_may_be_a_number() {
        let tweet = Tweet::decode(br#"{"text":"hi","id":1234567890123456789}"#).unwrap();
        assert_eq!(tweet.id, "1234567890123456789");
    }
}
