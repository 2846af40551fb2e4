//! The content of one JSON value: a line of a stream, or a value of a file in the format of a public API.

use crate::tweet::{Skip, Tweet};

/// A decoded JSON value.
#[derive(Debug, PartialEq)]
pub(super) enum Record {
    /// The tweets, in their order: one tweet, or those of a page, which may be empty. For an item that is
    /// not a tweet, the list has the reason.
    Tweets(Vec<Result<Tweet, Skip>>),
    /// A message that is not meant to be a tweet, such as a deletion or the end of a stream.
    Event,
}
