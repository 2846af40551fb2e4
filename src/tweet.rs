//! The tweet, and the message that carries it through Kafka.
//!
//! A message is UTF-8 JSON; only `text` must be there. What a stranger wrote into a topic is never
//! trusted: a field of a wrong kind makes the message a [`Skip`], a number that makes no sense is
//! read as "unknown", and nothing here panics.
//!
//! ```json
//! {"id":"1","created_at":"2026-01-01T12:00:00Z","user":"ada","followers":1815,
//!  "text":"I love #bitcoin","lang":"en","topics":["bitcoin"],"source":"demo"}
//! ```

use jiff::Timestamp;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest message that is read, in bytes. Kafka's own default limit is the same.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// One post, from any source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tweet {
    /// Unique in its source; empty where the source has none.
    #[serde(default, deserialize_with = "text_or_number")]
    pub id: String,
    /// When the author sent it.
    #[serde(default = "unknown_time")]
    pub created_at: Timestamp,
    /// The author's name, without `@`. It is the message's key, so that an author's tweets keep
    /// their order.
    #[serde(default)]
    pub user: String,
    /// How many follow the author; `None` if not known.
    #[serde(default, deserialize_with = "count")]
    pub followers: Option<u64>,
    /// What they wrote.
    pub text: String,
    /// A BCP 47 language tag such as `en`; empty if not known.
    #[serde(default)]
    pub lang: String,
    /// The tracks that it matched, see [`crate::Filter`].
    #[serde(default)]
    pub topics: Vec<String>,
    /// The name of the source that it came from.
    #[serde(default)]
    pub source: String,
}

/// Why a message is no tweet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// It is larger than [`MAX_MESSAGE_BYTES`].
    TooLarge,
    /// It is not UTF-8.
    NotUtf8,
    /// It is not JSON, or nested too deep.
    NotJson,
    /// It is JSON without a `text`.
    NoText,
    /// It is JSON in which a field is of another type.
    WrongType,
    /// It has no score, where a topic of scores is read.
    NoScore,
    /// The metric was NaN or infinite for it.
    MetricNotFinite,
    /// The metric panicked on it.
    MetricPanicked,
}

impl Skip {
    /// The reason as one word, as it stands in the example programs' JSON.
    ///
    /// ```
    /// assert_eq!(live_sentiment::tweet::Skip::NotJson.name(), "not_json");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Skip::TooLarge => "too_large",
            Skip::NotUtf8 => "not_utf8",
            Skip::NotJson => "not_json",
            Skip::NoText => "no_text",
            Skip::WrongType => "wrong_type",
            Skip::NoScore => "no_score",
            Skip::MetricNotFinite => "metric_not_finite",
            Skip::MetricPanicked => "metric_panicked",
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::TooLarge => "larger than 1 MiB",
            Skip::NotUtf8 => "not UTF-8",
            Skip::NotJson => "not JSON",
            Skip::NoText => "no text",
            Skip::WrongType => "a field of a wrong type",
            Skip::NoScore => "no score",
            Skip::MetricNotFinite => "the metric was not a finite number",
            Skip::MetricPanicked => "the metric panicked",
        })
    }
}

impl Tweet {
    /// Reads a message of the topic, or a line of a replay file.
    ///
    /// Fields it does not know are ignored, so the messages of the original notebooks (`user`,
    /// `followers`, `text`, `sentiment`, `subjetivity`) are read too.
    ///
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

    /// Writes the message into `buffer`, which is cleared first and keeps its memory.
    pub fn encode_into(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        // A `Vec` takes every byte, and no field has a form that JSON lacks.
        serde_json::to_writer(buffer, self).expect("a tweet is always JSON");
    }

    /// True where the message named no time, so that the reader may put in a better one.
    pub(crate) fn has_no_time(&self) -> bool {
        self.created_at == unknown_time()
    }
}

/// Looked up only after decoding has failed, so its cost does not count.
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

/// A count as the sources give it: anything that is no whole number from 0 up is unknown.
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

/// An id as the sources give it: a string, or a number that is kept as its digits.
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
    fn a_tweet_survives_the_journey() {
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
    fn each_bad_message_has_its_reason() {
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
    fn senseless_followers_are_unknown() {
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
    fn an_id_may_be_a_number() {
        let tweet = Tweet::decode(br#"{"text":"hi","id":1234567890123456789}"#).unwrap();
        assert_eq!(tweet.id, "1234567890123456789");
    }
}
