//! The content of one JSON value: a line of a stream, or a value of a file in the format of a public API.

use crate::tweet::{Skip, Tweet};

#[derive(Debug, PartialEq)]
pub(super) enum Record {
    /// The tweets, in their order: one, or those of a page, which may have none. An item that is not a tweet
    /// is the reason why.
    Tweets(Vec<Result<Tweet, Skip>>),
    /// A message that is not meant to be a tweet, such as a deletion or the end of a stream.
    Event,
}
