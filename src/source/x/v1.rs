//! Decodes the tweets and notices of X's API v1.1 (developer.x.com, "Tweet object" and "Streaming message
//! types"). X no longer offers this API, but there are many files of its objects. In Tweepy, such an
//! object is `status._json`.
//!
//! [`decode`] takes one JSON value. [`is_shape`] says whether a value has this format.

use super::text::full_text;
use crate::source::record::Record;
use crate::tweet::{Object, Skip, Tweet, count, id, or_empty, time_in, unknown_time};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use std::collections::BTreeMap;

/// The format of a time, such as `Tue Jan 05 09:30:10 +0000 2021`.
const TIME: &str = "%a %b %d %H:%M:%S %z %Y";
/// The fields that identify notices. A notice is an object with one of them.
const NOTICES: [&str; 7] = [
    "delete",
    "disconnect",
    "limit",
    "scrub_geo",
    "status_withheld",
    "user_withheld",
    "warning",
];

#[derive(Deserialize)]
struct Status {
    /// Programs that read numbers as floating-point numbers change the last digits of `id`, but not of
    /// `id_str`.
    #[serde(default, deserialize_with = "id")]
    id: String,
    #[serde(default, deserialize_with = "id")]
    id_str: String,
    #[serde(default = "unknown_time", deserialize_with = "time")]
    created_at: Timestamp,
    user: Option<User>,
    #[serde(default, deserialize_with = "or_empty")]
    lang: String,
    /// The text, shortened to 140 characters.
    text: Option<String>,
    /// The text in the "extended mode" of a request.
    full_text: Option<String>,
    /// The text in a stream, if it is longer than `text`.
    extended_tweet: Option<Extended>,
    retweeted_status: Option<Box<Status>>,
}

#[derive(Deserialize)]
struct Extended {
    full_text: Option<String>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default, deserialize_with = "or_empty")]
    screen_name: String,
    #[serde(default, deserialize_with = "id")]
    id_str: String,
    #[serde(default, deserialize_with = "count")]
    followers_count: Option<u64>,
}

impl Status {
    /// Takes the most complete text of the tweet, as X has escaped it.
    fn take_text(&mut self) -> Option<String> {
        let extended = self.extended_tweet.take();
        let extended = extended.and_then(|tweet| tweet.full_text);
        extended
            .or_else(|| self.full_text.take())
            .or_else(|| self.text.take())
    }

    fn tweet(mut self, text: String) -> Tweet {
        let original = self.retweeted_status.as_mut();
        let original = original.and_then(|original| original.take_text());
        let (user, followers) = match self.user {
            // With Tweepy's `trim_user`, an author has only an id.
            Some(user) if user.screen_name.is_empty() => (user.id_str, None),
            Some(user) => (user.screen_name, user.followers_count),
            None => (String::new(), None),
        };
        let id = if self.id_str.is_empty() {
            self.id
        } else {
            self.id_str
        };
        Tweet {
            id,
            created_at: self.created_at,
            user,
            followers,
            text: full_text(text, original.as_deref()),
            lang: self.lang,
            topics: Vec::new(),
            source: "x".into(),
        }
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    time_in(deserializer, |text| Timestamp::strptime(TIME, text).ok())
}

/// Decodes one tweet or notice.
///
/// If the author has no name, the tweet's user is the author's id. A missing time stays unknown.
///
/// # Errors
/// A [`Skip`], which says why the value is neither a tweet nor a notice.
pub(in crate::source) fn decode(json: &str) -> Result<Record, Skip> {
    let Object(mut status): Object<Status> = serde_json::from_str(json)?;
    match status.take_text() {
        Some(text) => Ok(Record::Tweets(vec![Ok(status.tweet(text))])),
        None if is_notice(json) => Ok(Record::Event),
        None => Err(Skip::NoText),
    }
}

/// Returns whether the value is an object of this API: a tweet with its author and time, or a notice.
pub(in crate::source) fn is_shape(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(rename = "created_at")]
        _created_at: IgnoredAny,
        #[serde(rename = "user")]
        _user: Object<IgnoredAny>,
    }
    serde_json::from_str::<Object<Shape>>(json).is_ok() || is_notice(json)
}

fn is_notice(json: &str) -> bool {
    let fields = serde_json::from_str::<BTreeMap<&str, IgnoredAny>>(json);
    fields.is_ok_and(|fields| fields.keys().any(|name| NOTICES.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUS: &str = r#"{"created_at":"Tue Jan 05 09:30:10 +0000 2021","id":1346000000000000000,
        "id_str":"1346000000000000000","text":"RT @carl: one &amp; tw\u2026","truncated":false,"entities":{"urls":[]},
        "user":{"id":7,"id_str":"7","screen_name":"ada","name":"Ada","followers_count":1815},"lang":"en",
        "retweeted_status":{"created_at":"Tue Jan 05 09:30:09 +0000 2021","id":1,"text":"one &amp; tw\u2026",
        "user":{"screen_name":"carl"},"extended_tweet":{"full_text":"one &amp; two &amp;lt; three"}}}"#;

    fn tweet(json: &str) -> Tweet {
        match decode(json) {
            Ok(Record::Tweets(tweets)) => tweets.into_iter().next().unwrap().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_retweet_has_the_full_text_of_its_original() {
        let read = tweet(STATUS);
        assert_eq!(read.text, "RT @carl: one & two &lt; three");
        assert_eq!((read.user.as_str(), read.followers), ("ada", Some(1815)));
        assert_eq!(read.id, "1346000000000000000");
        assert_eq!(read.created_at.to_string(), "2021-01-05T09:30:10Z");
        assert_eq!((read.lang.as_str(), read.source.as_str()), ("en", "x"));
    }

    #[test]
    fn the_longest_text_is_read() {
        for (fields, expected) in [
            (r#""text":"short""#, "short"),
            (r#""full_text":"full""#, "full"),
            (r#""text":"short","full_text":"full""#, "full"),
            (
                r#""text":"short","extended_tweet":{"full_text":"full"}"#,
                "full",
            ),
            (
                r#""text":"short","extended_tweet":{"entities":{}}"#,
                "short",
            ),
            (
                r#""text":"short","extended_tweet":null,"retweeted_status":null"#,
                "short",
            ),
            (
                r#""full_text":"RT @a: …","retweeted_status":{"full_text":"b","text":"c"}"#,
                "RT @a: b",
            ),
        ] {
            assert_eq!(tweet(&format!("{{{fields}}}")).text, expected, "{fields}");
        }
    }

    #[test]
    fn optional_fields_may_be_missing_or_null() {
        let read = tweet(r#"{"text":"hi","id":12345678901234567890123}"#);
        assert_eq!(
            (read.id.as_str(), read.user.as_str()),
            ("12345678901234567890123", "")
        );
        assert!(read.has_no_time() && read.followers.is_none());
        for user in [r#"{"id_str":"7"}"#, r#"{"id_str":"7","screen_name":null}"#] {
            let json = format!(r#"{{"text":"hi","user":{user},"created_at":"5 Jan","lang":null}}"#);
            let read = tweet(&json);
            assert_eq!(read.user, "7");
            assert!(read.has_no_time());
        }
    }

    #[test]
    fn notices_and_invalid_values_are_distinguished() {
        for notice in [
            r#"{"delete":{"status":{"id":1,"user_id":3}}}"#,
            r#"{"limit":{"track":7},"timestamp_ms":"1609839000000"}"#,
            r#"{"scrub_geo":{"up_to_status_id":1}}"#,
        ] {
            assert_eq!(decode(notice), Ok(Record::Event));
            assert!(is_shape(notice));
        }
        assert_eq!(decode("{"), Err(Skip::NotJson));
        assert_eq!(decode("{}"), Err(Skip::NoText));
        assert_eq!(decode("[]"), Err(Skip::WrongType));
        assert_eq!(decode(r#"{"text":5}"#), Err(Skip::WrongType));
        assert_eq!(
            decode(r#"{"text":"hi","user":"ada"}"#),
            Err(Skip::WrongType)
        );
        let deep = r#"{"retweeted_status":"#.repeat(10_000);
        assert_eq!(decode(&deep), Err(Skip::NotJson));
    }

    #[test]
    fn the_shape_is_recognised() {
        assert!(is_shape(STATUS));
        for json in [
            "",
            "[]",
            "{}",
            r#"{"text":"hi","user":"ada","created_at":"2026-01-01T12:00:00Z"}"#,
            r#"{"text":"hi","user":{"screen_name":"ada"}}"#,
            r#"{"data":{"id":"1","text":"hi"}}"#,
        ] {
            assert!(!is_shape(json), "{json}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC{0,300}") {
            let _ = (decode(&text), is_shape(&text));
        }

        #[test]
        fn no_change_of_a_value_panics(at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let mut json = STATUS.as_bytes().to_vec();
            let at = at.index(json.len());
            json[at] = with;
            let json = String::from_utf8_lossy(&json);
            let _ = (decode(&json), is_shape(&json));
        }
    }
}
