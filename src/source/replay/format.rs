//! The interface of the file formats. A format cuts the text into records, and decodes them.

use crate::source::record::Record;
use crate::tweet::{Skip, Tweet};

/// A format, with its state within a file.
pub(super) trait Format: Send {
    /// Returns the name of a record, such as `line`.
    fn unit(&self) -> &'static str;

    /// Returns whether the tweets may have times. Without times, they come at a fixed pace.
    fn has_times(&self) -> bool {
        true
    }

    /// Returns whether records are decoded while the stream uses the records before them.
    fn is_decoded_ahead(&self) -> bool {
        true
    }

    /// Takes up to `limit` records from the start of the text, appends their items, and returns how many bytes
    /// it took. A return value of 0 means that the text has no complete record. `is_end` says that this text is
    /// the rest of the file.
    fn take(&mut self, text: &[u8], is_end: bool, limit: usize, items: &mut Vec<Item>) -> usize;
}

/// One item of a record: a tweet, a skipped tweet, or another event.
#[derive(Debug, PartialEq)]
pub(super) struct Item {
    /// The number of the record in the file, from 1 on.
    pub(super) number: u64,
    /// The number of the item in its record, from 1 on.
    pub(super) part: usize,
    pub(super) content: Content,
}

#[derive(Debug, PartialEq)]
pub(super) enum Content {
    Tweet(Tweet),
    Skipped(Skip),
    /// An event that is not meant to be a tweet, such as a deletion.
    Event,
}

impl Item {
    /// Creates the item of a record that has only one.
    pub(super) fn only(number: u64, tweet: Result<Tweet, Skip>) -> Item {
        Item {
            number,
            part: 1,
            content: tweet.map_or_else(Content::Skipped, Content::Tweet),
        }
    }
}

/// Appends the items of a record.
pub(super) fn append(items: &mut Vec<Item>, number: u64, record: Record) {
    match record {
        Record::Tweets(tweets) => {
            let parts = tweets.into_iter().enumerate();
            items.extend(parts.map(|(index, tweet)| Item {
                part: index + 1,
                ..Item::only(number, tweet)
            }));
        }
        Record::Event => items.push(Item {
            number,
            part: 1,
            content: Content::Event,
        }),
    }
}
