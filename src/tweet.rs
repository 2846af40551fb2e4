//! The tweet, and the Kafka message that carries it.
//!
//! A message is UTF-8 JSON. Only the field `text` is required. Any program may write to a topic, so
//! no message is trusted. If a field has the wrong type, the message is skipped ([`Skip`]). If a time
//! or a count is out of range, it becomes "unknown". Decoding never panics.
//!
//! ```json
//! {"id":"1","created_at":"2026-01-01T12:00:00Z","user":"ada","followers":1815,
//!  "text":"I love #bitcoin","lang":"en","topics":["bitcoin"],"source":"demo"}
//! ```

mod fields;
mod retweet;
mod time;

pub(crate) use fields::{Object, count, id, or_empty, time, time_in, whole};
pub(crate) use retweet::retweet_prefix;
pub(crate) use time::is_credible;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The largest accepted message, in bytes. It equals Kafka's default limit.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// One post, from any source.
///
/// # Messages
/// [`decode`](Tweet::decode) accepts a JSON object with these fields, in any order. Only `text` is
/// required. `null` means that the field is missing. Unknown fields are ignored.
///
/// | field | accepted |
/// | --- | --- |
/// | `text` | a string |
/// | `id` | a string, or a number, whose characters are the id: `1e30` is the id `"1e30"` |
/// | `created_at` | a string with a time of RFC 3339 in the years -9999 to 9999; a number or any other string means unknown |
/// | `user`, `lang`, `source` | a string |
/// | `followers` | a whole number from 0 to 2^64 - 1, or a string that contains one, such as `"12"`; any other number or string means unknown |
/// | `topics` | an array of strings; a repeated name is kept once |
///
/// If a value has another type, or if a field is present twice, the message is skipped with
/// [`Skip::WrongType`].
///
/// `Deserialize` accepts the same fields. It borrows from its input, so it works with
/// [`serde_json::from_str`] and [`serde_json::from_slice`], but not with [`serde_json::from_reader`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tweet {
    /// The id, unique within the source; empty if the source has no ids.
    #[serde(default, deserialize_with = "fields::id")]
    pub id: String,
    /// When the author sent the tweet; 1970-01-01T00:00:00Z if unknown.
    #[serde(default = "unknown_time", deserialize_with = "fields::time")]
    pub created_at: Timestamp,
    /// The author's name, without `@`. It is the key of the message, so all tweets of an author go to
    /// the same partition and keep their order.
    #[serde(default, deserialize_with = "fields::or_empty")]
    pub user: String,
    /// The number of the author's followers; `None` if unknown.
    #[serde(default, deserialize_with = "fields::count")]
    pub followers: Option<u64>,
    /// The text.
    pub text: String,
    /// The BCP 47 language tag, such as `en`; empty if unknown.
    #[serde(default, deserialize_with = "fields::or_empty")]
    pub lang: String,
    /// The tracks that the tweet matched, see [`crate::Filter`].
    #[serde(default, deserialize_with = "fields::topics")]
    pub topics: Vec<String>,
    /// The name of the source.
    #[serde(default, deserialize_with = "fields::or_empty")]
    pub source: String,
}

/// The reason why a message is skipped instead of counted. In JSON, it is a word such as `"not_json"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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
    /// The row of a table has more or fewer columns than the table.
    WrongColumns,
    /// The message is in a topic of scores and has no score.
    NoScore,
    /// In a scorer: the message with the score is larger than the limit of the topic of scores.
    ScoreTooLarge,
    /// In a scorer: Kafka refuses the score for another reason, such as a missing key in a compacted
    /// topic.
    ScoreRefused,
    /// The metric returned NaN, or a number outside -1e100 to 1e100.
    MetricNotFinite,
    /// The metric panicked.
    MetricPanicked,
}

/// The number of skipped messages for each reason, in the order of [`Skip`]. In JSON, it is an object
/// such as `{"not_json": 2}`.
pub type SkipCounts = BTreeMap<Skip, u64>;

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::TooLarge => "larger than 1 MiB",
            Skip::NotUtf8 => "not UTF-8",
            Skip::NotJson => "not JSON",
            Skip::NoText => "no text",
            Skip::WrongType => "a field of the wrong type",
            Skip::WrongColumns => "another number of columns than the table",
            Skip::NoScore => "no score",
            Skip::ScoreTooLarge => "its score is larger than the topic's limit",
            Skip::ScoreRefused => "the topic of scores refuses it",
            Skip::MetricNotFinite => "the metric is not a number from -1e100 to 1e100",
            Skip::MetricPanicked => "the metric panicked",
        })
    }
}

impl From<serde_json::Error> for Skip {
    fn from(error: serde_json::Error) -> Skip {
        match error.classify() {
            serde_json::error::Category::Data => Skip::WrongType,
            _ => Skip::NotJson,
        }
    }
}

impl Tweet {
    /// Creates a tweet with an author and a text. Everything else is empty or unknown.
    ///
    /// # Examples
    /// ```
    /// use live_sentiment::{Timestamp, Tweet};
    ///
    /// let tweet = Tweet::new("ada", "I love #bitcoin")
    ///     .id("1")
    ///     .created_at(Timestamp::now())
    ///     .followers(1_815)
    ///     .lang("en");
    /// assert_eq!(tweet.followers, Some(1_815));
    /// ```
    pub fn new(user: impl Into<String>, text: impl Into<String>) -> Tweet {
        Tweet {
            id: String::new(),
            created_at: unknown_time(),
            user: user.into(),
            followers: None,
            text: text.into(),
            lang: String::new(),
            topics: Vec::new(),
            source: String::new(),
        }
    }

    /// Sets the id. The streamer and the listener drop a tweet whose id they have seen before.
    pub fn id(mut self, id: impl Into<String>) -> Tweet {
        self.id = id.into();
        self
    }

    /// Sets when the author sent the tweet.
    pub fn created_at(mut self, time: Timestamp) -> Tweet {
        self.created_at = time;
        self
    }

    /// Sets the number of the author's followers. `None` means unknown.
    pub fn followers(mut self, followers: impl Into<Option<u64>>) -> Tweet {
        self.followers = followers.into();
        self
    }

    /// Sets the BCP 47 language tag.
    pub fn lang(mut self, lang: impl Into<String>) -> Tweet {
        self.lang = lang.into();
        self
    }

    /// Decodes a message of a topic, or a line of a replay file.
    ///
    /// Unknown fields are ignored, so this function also accepts the messages of the original notebooks
    /// (`user`, `followers`, `text`, `sentiment`, `subjetivity`).
    ///
    /// # Errors
    /// A [`Skip`], which says why the message is not a tweet.
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
        Tweet::decode_up_to(MAX_MESSAGE_BYTES, message)
    }

    /// Decodes a message of up to `limit` bytes. A larger one is [`Skip::TooLarge`].
    pub(crate) fn decode_up_to(limit: usize, message: &[u8]) -> Result<Tweet, Skip> {
        if message.len() > limit {
            return Err(Skip::TooLarge);
        }
        let json = std::str::from_utf8(message).map_err(|_| Skip::NotUtf8)?;
        Tweet::decode_json(json)
    }

    /// Decodes a message that is known to be UTF-8 and not too large.
    pub(crate) fn decode_json(json: &str) -> Result<Tweet, Skip> {
        let decoded = serde_json::from_str(json).map_err(|error| match Skip::from(error) {
            Skip::WrongType if has_no_text(json) => Skip::NoText,
            reason => reason,
        });
        decoded.map(|Object(tweet)| tweet)
    }

    /// Replaces the content of `buffer` with the message of the tweet.
    pub(crate) fn encode_into(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        // Writing to a `Vec` cannot fail, and every field has a JSON form.
        serde_json::to_writer(buffer, self).expect("a tweet is always JSON");
    }
}

/// Returns whether a message is a JSON object without a text. The function runs only after decoding has
/// failed, so its cost does not matter.
fn has_no_text(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Text {
        #[serde(default)]
        text: Option<IgnoredAny>,
    }
    let message = serde_json::from_str(json);
    message.is_ok_and(|Object(Text { text })| text.is_none())
}

/// Returns the time of a tweet whose time is unknown.
pub(crate) fn unknown_time() -> Timestamp {
    Timestamp::UNIX_EPOCH
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

    fn decoded(field: &str, value: &str) -> Result<Tweet, Skip> {
        Tweet::decode(format!(r#"{{"text":"hi","{field}":{value}}}"#).as_bytes())
    }

    #[test]
    fn an_id_is_a_string_or_a_number_with_all_its_digits() {
        for (id, expected) in [
            (r#""a\u0062\n""#, "ab\n"),
            ("1234567890123456789", "1234567890123456789"),
            ("123456789012345678901", "123456789012345678901"),
            ("123456789012345678902", "123456789012345678902"),
            ("-1", "-1"),
            ("1e30", "1e30"),
            ("1.5", "1.5"),
            ("1e400", "1e400"),
            ("null", ""),
        ] {
            assert_eq!(decoded("id", id).unwrap().id, expected, "{id}");
        }
        for id in ["true", "[1]", r#"{"a":1}"#, r#""\ud800""#] {
            assert_eq!(decoded("id", id), Err(Skip::WrongType), "{id}");
        }
    }

    #[test]
    fn null_means_missing_in_every_optional_field() {
        let missing = Tweet::decode(br#"{"text":"hi"}"#);
        for field in [
            "id",
            "created_at",
            "user",
            "followers",
            "lang",
            "topics",
            "source",
        ] {
            assert_eq!(decoded(field, "null"), missing, "{field}");
        }
        assert_eq!(skip(br#"{"text":null}"#), Skip::NoText);
    }

    #[test]
    fn another_type_is_a_reason_to_skip() {
        for (field, value) in [
            ("created_at", "true"),
            ("created_at", "[]"),
            ("user", "5"),
            ("followers", "true"),
            ("followers", "[12]"),
            ("lang", "{}"),
            ("topics", r#""bitcoin""#),
            ("topics", "[null]"),
            ("topics", "{}"),
            ("source", "1"),
            ("text", r#""a second text""#),
        ] {
            assert_eq!(
                decoded(field, value),
                Err(Skip::WrongType),
                "{field} {value}"
            );
        }
    }

    #[test]
    fn an_array_is_no_tweet() {
        let array = br#"["1","2026-01-01T00:00:00Z","u",3,"hi","en",[],"s"]"#;
        for message in [&array[..], b"[]", b"[[]]", b"5", b"null", br#""text""#] {
            assert_eq!(skip(message), Skip::WrongType);
        }
    }

    #[test]
    fn a_follower_count_may_be_a_string() {
        for (count, expected) in [
            (r#""12""#, Some(12)),
            (r#"" 12 ""#, Some(12)),
            (r#""18446744073709551615""#, Some(u64::MAX)),
            (r#""18446744073709551616""#, None),
            (r#""-1""#, None),
            (r#""many""#, None),
            (r#""""#, None),
        ] {
            let followers = decoded("followers", count).unwrap().followers;
            assert_eq!(followers, expected, "{count}");
        }
    }

    #[test]
    fn a_time_out_of_range_or_malformed_is_unknown() {
        for time in [
            r#""9999-12-31T23:59:59Z""#,
            r#""2026-02-30T00:00:00Z""#,
            r#""2026-01-01""#,
            r#""Tue Mar 21 20:50:14 +0000 2006""#,
            r#""""#,
            "1767225600",
            "1767225600.5",
            "-1",
        ] {
            assert!(decoded("created_at", time).unwrap().has_no_time(), "{time}");
        }
        for (time, expected) in [
            ("-009999-01-02T01:59:59Z", "-009999-01-02T01:59:59Z"),
            (
                "9999-12-30T22:00:00.999999999Z",
                "9999-12-30T22:00:00.999999999Z",
            ),
            ("2026-01-01T12:00:00+01:00", "2026-01-01T11:00:00Z"),
        ] {
            let tweet = decoded("created_at", &format!("\"{time}\"")).unwrap();
            assert_eq!(tweet.created_at.to_string(), expected);
        }
    }

    #[test]
    fn a_topic_that_is_named_twice_is_one_topic() {
        let tweet = decoded("topics", r#"["b","a","b","","a","c"]"#).unwrap();
        assert_eq!(tweet.topics, ["b", "a", "", "c"]);
        let tweet = decoded("topics", r#"["a","b","c"]"#).unwrap();
        assert_eq!(tweet.topics, ["a", "b", "c"]);
        let nine: Vec<String> = ('a'..='i').map(String::from).collect();
        let tweet = decoded("topics", &serde_json::to_string(&nine).unwrap()).unwrap();
        assert_eq!(tweet.topics, nine);
        // A message of 1 MiB has room for this many topics.
        let many = vec![r#""a""#; 250_000].join(",");
        let tweet = decoded("topics", &format!("[{many}]")).unwrap();
        assert_eq!(tweet.topics, ["a"]);
    }
}
