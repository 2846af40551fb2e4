//! The shapes of JSON values that contain tweets. A shape is an entry of [`SHAPES`], and its decoder is a
//! module of its own.

use super::input::text;
use crate::source::record::Record;
use crate::source::{bluesky, x};
use crate::tweet::{MAX_MESSAGE_BYTES, Skip, Tweet};

/// The maximum length of a page of a search, which may contain 500 tweets.
pub(super) const MAX_PAGE_BYTES: usize = 8 * MAX_MESSAGE_BYTES;

/// A shape of JSON values.
pub(super) struct Shape {
    /// The maximum length of a value, in bytes.
    pub(super) limit: usize,
    /// Returns whether a value has the shape.
    pub(super) is_shape: fn(&str) -> bool,
    decode: fn(&str) -> Result<Record, Skip>,
}

/// The shapes. The first one that a value has is its shape.
pub(super) static SHAPES: [Shape; 4] = [
    Shape {
        limit: MAX_MESSAGE_BYTES,
        is_shape: x::v1::is_shape,
        decode: x::v1::decode,
    },
    Shape {
        limit: MAX_PAGE_BYTES,
        is_shape: x::v2::is_shape,
        decode: x::v2::decode,
    },
    Shape {
        limit: MAX_MESSAGE_BYTES,
        is_shape: bluesky::recording::is_shape,
        decode: bluesky::recording::decode,
    },
    Shape {
        limit: MAX_MESSAGE_BYTES,
        is_shape: |json| Tweet::decode(json.as_bytes()).is_ok(),
        decode: own,
    },
];

/// Decodes a tweet in this project's own format.
fn own(json: &str) -> Result<Record, Skip> {
    Tweet::decode(json.as_bytes()).map(|tweet| Record::Tweets(vec![Ok(tweet)]))
}

impl Shape {
    /// Decodes a value. JSON is UTF-8, but some programs write Latin-1.
    pub(super) fn decode(&self, value: &[u8]) -> Result<Record, Skip> {
        let decoded = (self.decode)(&text(value));
        if decoded.is_err() && std::str::from_utf8(value).is_err() {
            return Err(Skip::NotUtf8);
        }
        decoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_latin1_is_decoded() {
        let own = SHAPES.last().unwrap();
        let Ok(Record::Tweets(tweets)) = own.decode(b"{\"text\":\"caf\xe9\"}") else {
            panic!("not decoded");
        };
        assert_eq!(tweets[0].as_ref().unwrap().text, "caf\u{e9}");
        assert_eq!(own.decode(b"\xff\xfe"), Err(Skip::NotUtf8));
    }

    #[test]
    fn each_value_has_one_shape() {
        for (json, shape) in [
            (
                r#"{"created_at":"","user":{"screen_name":"ada"},"text":"hi"}"#,
                Some(0),
            ),
            (r#"{"limit":{"track":7}}"#, Some(0)),
            (r#"{"data":[{"id":"1","text":"hi"}]}"#, Some(1)),
            (
                r#"{"id":"1","author_id":"7","text":"hi","author":{}}"#,
                Some(1),
            ),
            (
                r#"{"did":"did:plc:x","time_us":7,"kind":"identity"}"#,
                Some(2),
            ),
            (
                r#"{"id":"1","user":"ada","text":"hi","created_at":"2026-01-01T00:00:00Z"}"#,
                Some(3),
            ),
            (r#"{"user":"ada"}"#, None),
            ("5", None),
        ] {
            let found = SHAPES.iter().position(|shape| (shape.is_shape)(json));
            assert_eq!(found, shape, "{json}");
        }
    }
}
