//! The shapes of JSON values that contain tweets. A shape is an entry of [`SHAPES`], and its decoder is a
//! module of its own.

use super::format::{Item, append};
use super::input::text;
use crate::source::record::Record;
use crate::source::{bluesky, x};
use crate::tweet::{MAX_MESSAGE_BYTES, Skip, Tweet};
use std::borrow::Cow;

/// The maximum length of a page of a search, in bytes. A page may contain 500 tweets.
pub(super) const MAX_PAGE_BYTES: usize = 8 * MAX_MESSAGE_BYTES;

/// A shape of JSON values.
pub(super) struct Shape {
    /// The maximum length of a value, in bytes.
    pub(super) limit: usize,
    /// Returns whether a value has the shape.
    pub(super) is_shape: fn(&str) -> bool,
    decode: Decode,
}

/// A decoder of values.
enum Decode {
    /// Each value is a tweet.
    Tweet(fn(&str) -> Result<Tweet, Skip>),
    /// A value may contain several tweets, or be another event.
    Record(fn(&str) -> Result<Record, Skip>),
}

/// The shapes. A value may match several of them, and the first match counts.
pub(super) static SHAPES: [Shape; 4] = [
    Shape {
        limit: MAX_MESSAGE_BYTES,
        is_shape: x::v1::is_shape,
        decode: Decode::Record(x::v1::decode),
    },
    Shape {
        limit: MAX_PAGE_BYTES,
        is_shape: x::v2::is_shape,
        decode: Decode::Record(x::v2::decode),
    },
    Shape {
        limit: MAX_MESSAGE_BYTES,
        is_shape: bluesky::recording::is_shape,
        decode: Decode::Record(bluesky::recording::decode),
    },
    Shape {
        limit: MAX_MESSAGE_BYTES,
        is_shape: |json| Tweet::decode_json(json).is_ok(),
        decode: Decode::Tweet(Tweet::decode_json),
    },
];

impl Shape {
    /// Decodes a value, and appends its items. JSON is UTF-8, but some programs write Latin-1.
    pub(super) fn decode(&self, value: &[u8], number: u64, items: &mut Vec<Item>) {
        let json = text(value);
        let why = |reason| match json {
            Cow::Borrowed(_) => reason,
            Cow::Owned(_) => Skip::NotUtf8,
        };
        match self.decode {
            Decode::Tweet(decode) => items.push(Item::only(number, decode(&json).map_err(why))),
            Decode::Record(decode) => match decode(&json) {
                Ok(record) => append(items, number, record),
                Err(reason) => items.push(Item::only(number, Err(why(reason)))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_latin1_is_decoded() {
        let (own, mut items) = (SHAPES.last().unwrap(), Vec::new());
        own.decode(b"{\"text\":\"caf\xe9\"}", 1, &mut items);
        own.decode(b"\xff\xfe", 2, &mut items);
        let expected = [
            Item::only(1, Ok(Tweet::new("", "caf\u{e9}"))),
            Item::only(2, Err(Skip::NotUtf8)),
        ];
        assert_eq!(items, expected);
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
