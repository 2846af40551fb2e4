//! Decodes the tweets of X's API v2, in each form in which a stream or a file contains them:
//!
//! - a line of the filtered stream, where `data` is one tweet (docs.x.com, "Stream filtered Posts" and
//!   "Consuming streaming data");
//! - a page of a search, where `data` is an array of tweets (docs.x.com, "Search recent Posts");
//! - one tweet without `data`, into which `twarc2 flatten` has put its author and the tweets to which it
//!   refers.
//!
//! In the first two forms, `includes` contains the authors and the tweets to which others refer.
//!
//! [`decode`] takes one JSON value. [`is_shape`] says whether a value has one of these forms.

use super::problem::Problem;
use super::rules;
use super::text::full_text;
use crate::source::record::Record;
use crate::tweet::{Object, Skip, Tweet, count, id, or_empty, time, unknown_time};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// The maximum size of the texts and authors of a page, in bytes. Without it, thousands of retweets of one
/// long text would need gigabytes.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;
/// The maximum number of tweets of a page. X returns at most 500. The rest of a longer page counts as one
/// skipped tweet. Without the limit, a page of short invalid items would need gigabytes.
const MAX_PAGE_TWEETS: usize = 10_000;

/// A line of the stream, or a page.
#[derive(Deserialize)]
struct Response<'a> {
    /// One tweet, or an array of tweets. They are decoded one by one, so an item of the wrong type does not
    /// invalidate the page.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "or_empty")]
    includes: Includes<'a>,
    #[serde(default, deserialize_with = "or_empty")]
    matching_rules: Vec<MatchingRule>,
    /// The metadata of a page. A page without tweets has `meta`, but no `data`.
    meta: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Post<'a> {
    #[serde(default, deserialize_with = "id")]
    id: String,
    text: Option<String>,
    /// The full text of a post of more than 280 characters.
    note_tweet: Option<Note>,
    author_id: Option<String>,
    /// The author, in the flattened form.
    #[serde(borrow)]
    author: Option<User<'a>>,
    #[serde(default = "unknown_time", deserialize_with = "time")]
    created_at: Timestamp,
    #[serde(default, deserialize_with = "or_empty")]
    lang: String,
    /// The tweets to which this one refers. They have a text only in the flattened form.
    #[serde(borrow, default, deserialize_with = "or_empty")]
    referenced_tweets: Vec<Post<'a>>,
    /// The kind of a reference, such as `retweeted`.
    #[serde(borrow, default, rename = "type")]
    reference: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Note {
    text: Option<String>,
}

#[derive(Default, Deserialize)]
struct Includes<'a> {
    #[serde(borrow, default, deserialize_with = "or_empty")]
    users: Vec<User<'a>>,
    #[serde(borrow, default, deserialize_with = "or_empty")]
    tweets: Vec<Post<'a>>,
}

#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    username: Cow<'a, str>,
    public_metrics: Option<Metrics>,
}

#[derive(Deserialize)]
struct Metrics {
    #[serde(default, deserialize_with = "count")]
    followers_count: Option<u64>,
}

#[derive(Deserialize)]
struct MatchingRule {
    tag: Option<String>,
}

/// The authors and the tweets that `includes` lists, by their ids. A page has hundreds of each.
struct Included<'a> {
    users: HashMap<&'a str, &'a User<'a>>,
    tweets: HashMap<&'a str, &'a Post<'a>>,
}

impl<'a> Included<'a> {
    fn new(includes: &'a Includes<'a>) -> Included<'a> {
        let users = includes.users.iter().map(|user| (&*user.id, user));
        let tweets = includes.tweets.iter().map(|post| (&*post.id, post));
        Included {
            users: users.collect(),
            tweets: tweets.collect(),
        }
    }
}

impl Post<'_> {
    /// Returns the most complete text of the tweet, as X has escaped it.
    fn text(&self) -> Option<&str> {
        let note = self.note_tweet.as_ref();
        let note = note.and_then(|note| note.text.as_deref());
        note.or(self.text.as_deref())
    }

    /// Returns the text of the tweet that this one retweets.
    fn original<'b>(&'b self, included: &Included<'b>) -> Option<&'b str> {
        let mut references = self.referenced_tweets.iter();
        let original = references.find(|post| post.reference == "retweeted")?;
        let embedded = original.text();
        embedded.or_else(|| included.tweets.get(&*original.id)?.text())
    }

    /// Returns the tweet, without topics.
    fn tweet(&self, included: &Included<'_>) -> Result<Tweet, Skip> {
        let text = self.text().ok_or(Skip::NoText)?;
        let author_id = self.author_id.as_deref().unwrap_or_default();
        let author = self.author.as_ref();
        let author = author.or_else(|| included.users.get(author_id).copied());
        let (user, followers) = match author {
            Some(user) if !user.username.is_empty() => {
                let metrics = user.public_metrics.as_ref();
                let followers = metrics.and_then(|metrics| metrics.followers_count);
                (&*user.username, followers)
            }
            _ => (author_id, None),
        };
        Ok(Tweet {
            id: self.id.clone(),
            created_at: self.created_at,
            user: user.to_owned(),
            followers,
            text: full_text(text.to_owned(), self.original(included)),
            lang: self.lang.clone(),
            topics: Vec::new(),
            source: "x".into(),
        })
    }
}

/// Decodes a line of the stream, a page or a flattened tweet.
///
/// If the value does not include the author of a tweet, the tweet's user is the author's id, and its
/// follower count is unknown. A missing time stays unknown. The topics are the tracks of this crate's rules
/// in `matching_rules`.
///
/// # Errors
/// A [`Skip`], which says why the value is neither a tweet, nor a page, nor a problem that X reports.
pub(in crate::source) fn decode(json: &str) -> Result<Record, Skip> {
    let Object(response): Object<Response<'_>> = serde_json::from_str(json)?;
    let included = Included::new(&response.includes);
    let tweet = |json: &str| {
        let Object(post): Object<Post<'_>> = serde_json::from_str(json)?;
        post.tweet(&included)
    };
    let mut tweets = match response.data.map(RawValue::get) {
        Some(page) if page.starts_with('[') => {
            let items: Vec<&RawValue> = serde_json::from_str(page)?;
            let mut room = MAX_PAGE_BYTES;
            let bounded = |item: &RawValue| {
                let tweet = tweet(item.get())?;
                let size = tweet.text.len() + tweet.user.len();
                room = room.checked_sub(size).ok_or(Skip::TooLarge)?;
                Ok(tweet)
            };
            let rest = (items.len() > MAX_PAGE_TWEETS).then_some(Err(Skip::TooLarge));
            let items = items.into_iter().take(MAX_PAGE_TWEETS);
            items.map(bounded).chain(rest).collect()
        }
        Some(data) => vec![tweet(data)],
        None => match tweet(json) {
            Err(Skip::NoText) if response.meta.is_some() => Vec::new(),
            Err(Skip::NoText) if Problem::in_line(json.as_bytes()).is_some() => {
                return Ok(Record::Event);
            }
            tweet => vec![Ok(tweet?)],
        },
    };
    // Only a line of the stream has rules, and it has one tweet.
    if let [Ok(tweet)] = &mut tweets[..] {
        tweet.topics = topics(&response.matching_rules);
    }
    Ok(Record::Tweets(tweets))
}

fn topics(rules: &[MatchingRule]) -> Vec<String> {
    let tags = rules.iter().filter_map(|rule| rule.tag.as_deref());
    let mut known = BTreeSet::new();
    tags.filter_map(rules::track)
        .filter(|track| known.insert(*track))
        .map(str::to_owned)
        .collect()
}

/// Returns whether the value is an object of this API: a response with `data`, `meta` or `errors`, or a
/// tweet. A tweet has an id, a text, and a field that no other format has.
pub(in crate::source) fn is_shape(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        meta: Option<Object<IgnoredAny>>,
        errors: Option<Vec<IgnoredAny>>,
        id: Option<IgnoredAny>,
        text: Option<IgnoredAny>,
        author: Option<Object<IgnoredAny>>,
        author_id: Option<IgnoredAny>,
        edit_history_tweet_ids: Option<IgnoredAny>,
    }
    let Ok(Object(shape)) = serde_json::from_str::<Object<Shape<'_>>>(json) else {
        return false;
    };
    if shape.text.is_none() {
        let data = shape.data.map(RawValue::get);
        return data.is_some_and(|data| data.starts_with(['{', '[']))
            || shape.meta.is_some()
            || shape.errors.is_some();
    }
    shape.id.is_some()
        && (shape.author.is_some()
            || shape.author_id.is_some()
            || shape.edit_history_tweet_ids.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An example from docs.x.com, with the requested fields.
    const LINE: &str = r#"{"data":{"author_id":"2244994945","created_at":"2026-01-01T12:00:00.000Z",
        "edit_history_tweet_ids":["1"],"id":"1","lang":"en","text":"I love #bitcoin"},
        "includes":{"users":[{"id":"2244994945","name":"Ada","username":"ada",
        "public_metrics":{"followers_count":1815,"following_count":1,"tweet_count":2,"listed_count":0}}]},
        "matching_rules":[{"id":"9","tag":"live-sentiment: bitcoin"},{"id":"8","tag":"cats"},{"id":"6","tag":"live-sentiment: bitcoin"},{"id":"7"}]}"#;

    /// The form that `twarc2 flatten` writes.
    const FLAT: &str = r#"{"id":"2","author_id":"7","text":"RT @carl: the…","created_at":"2026-01-01T12:00:00.000Z",
        "author":{"id":"7","username":"ada","public_metrics":{"followers_count":12}},
        "referenced_tweets":[{"type":"retweeted","id":"1","author_id":"9","text":"the whole text",
        "author":{"id":"9","username":"carl"},"created_at":"2025-12-31T12:00:00.000Z"}]}"#;

    fn tweets(json: &str) -> Vec<Result<Tweet, Skip>> {
        match decode(json) {
            Ok(Record::Tweets(tweets)) => tweets,
            other => panic!("{other:?}"),
        }
    }

    fn tweet(json: &str) -> Tweet {
        let [tweet] = <[_; 1]>::try_from(tweets(json)).unwrap();
        tweet.unwrap()
    }

    #[test]
    fn a_tweet_is_decoded_with_its_author_and_tracks() {
        let read = tweet(LINE);
        assert_eq!((read.user.as_str(), read.followers), ("ada", Some(1815)));
        assert_eq!((read.id.as_str(), read.lang.as_str()), ("1", "en"));
        assert_eq!(read.text, "I love #bitcoin");
        assert_eq!(read.topics, ["bitcoin"]);
        assert_eq!(read.created_at.to_string(), "2026-01-01T12:00:00Z");
    }

    #[test]
    fn the_text_is_unescaped_once() {
        for (text, expected) in [("&lt;3 &amp;", "<3 &"), ("&amp;lt;", "&lt;")] {
            let read = tweet(&LINE.replace("I love #bitcoin", text));
            assert_eq!(read.text, expected);
        }
    }

    #[test]
    fn optional_fields_may_be_missing() {
        let read = tweet(r#"{"data":{"id":"1","text":"hi","author_id":"5"}}"#);
        assert_eq!((read.user.as_str(), read.followers), ("5", None));
        assert!(read.topics.is_empty());
        let read = tweet(
            r#"{"data":{"id":"1","text":"short","note_tweet":{"text":"the long one"},"withheld":{"copyright":false}},
               "includes":{"users":[]},"errors":[{"title":"Not Found Error"}]}"#,
        );
        assert_eq!(read.text, "the long one");
    }

    #[test]
    fn a_page_is_joined_with_its_authors() {
        let page = r#"{"data":[{"id":"1","author_id":"7","text":"one","created_at":"2026-01-01T12:00:00Z"},
            {"id":"2"},{"id":"3","text":5},{"id":"4","author_id":"9","text":"two"}],
            "includes":{"users":[{"id":"9","username":"bob"},
            {"id":"7","username":"ada","public_metrics":{"followers_count":3}}]},
            "meta":{"result_count":4}}"#;
        let shown = tweets(page).into_iter().map(|tweet| {
            let tweet = tweet?;
            let has_time = !tweet.has_no_time();
            Ok((tweet.user, tweet.followers, tweet.text, has_time))
        });
        let expected = [
            Ok(("ada".into(), Some(3), "one".into(), true)),
            Err(Skip::NoText),
            Err(Skip::WrongType),
            Ok(("bob".into(), None, "two".into(), false)),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(tweets(r#"{"meta":{"result_count":0}}"#), []);
    }

    #[test]
    fn a_retweet_has_the_full_text_of_the_included_tweet() {
        let line = r#"{"data":{"id":"2","text":"RT @carl: one &amp; tw\u2026","author_id":"7",
            "referenced_tweets":[{"type":"quoted","id":"8"},{"type":"retweeted","id":"1"}]},
            "includes":{"tweets":[{"id":"8","text":"quoted"},{"id":"1","text":"one &amp; tw…","note_tweet":
            {"text":"one &amp; two &amp;lt; three"}}]}}"#;
        assert_eq!(tweet(line).text, "RT @carl: one & two &lt; three");
        let missing = line.replace(r#"{"id":"1","text""#, r#"{"id":"5","text""#);
        assert_eq!(tweet(&missing).text, "RT @carl: one & tw…");
        let quote = line.replace("retweeted", "replied_to");
        assert_eq!(tweet(&quote).text, "RT @carl: one & tw…");
    }

    #[test]
    fn the_rest_of_a_page_with_too_many_items_is_one_skipped_tweet() {
        let items = vec!["1"; 2 * MAX_PAGE_TWEETS].join(",");
        let tweets = tweets(&format!(r#"{{"data":[{items}]}}"#));
        assert_eq!(tweets.len(), MAX_PAGE_TWEETS + 1);
        assert_eq!(tweets.last(), Some(&Err(Skip::TooLarge)));
    }

    #[test]
    fn a_page_of_retweets_of_a_long_text_needs_bounded_memory() {
        let retweet =
            r#"{"text":"RT @carl: …","referenced_tweets":[{"type":"retweeted","id":"1"}]}"#;
        let page = format!(
            r#"{{"data":[{}],"includes":{{"tweets":[{{"id":"1","text":"{}"}}]}}}}"#,
            vec![retweet; 1_000].join(","),
            "x".repeat(500_000)
        );
        let tweets = tweets(&page);
        let full = tweets.iter().flatten().count();
        assert_eq!((full, tweets.len()), (MAX_PAGE_BYTES / 500_000, 1_000));
        assert_eq!(tweets[full], Err(Skip::TooLarge));
    }

    #[test]
    fn a_flattened_tweet_contains_its_author_and_its_references() {
        let read = tweet(FLAT);
        assert_eq!((read.user.as_str(), read.followers), ("ada", Some(12)));
        assert_eq!(read.text, "RT @carl: the whole text");
        assert_eq!(read.created_at.to_string(), "2026-01-01T12:00:00Z");
        let quote = FLAT.replace("retweeted", "quoted");
        assert_eq!(tweet(&quote).text, "RT @carl: the…");
    }

    #[test]
    fn events_and_invalid_values_are_distinguished() {
        let problem = r#"{"errors":[{"title":"operational-disconnect"}]}"#;
        assert_eq!(decode(problem), Ok(Record::Event));
        let alone =
            r#"{"title":"ConnectionException","connection_issue":"TooManyConnections","type":"x"}"#;
        assert_eq!(decode(alone), Ok(Record::Event));
        assert_eq!(decode("{"), Err(Skip::NotJson));
        assert_eq!(decode("{}"), Err(Skip::NoText));
        assert_eq!(decode("[]"), Err(Skip::WrongType));
        assert_eq!(decode(r#"{"detail":"a notice"}"#), Err(Skip::NoText));
        assert_eq!(tweets(r#"{"data":5}"#), [Err(Skip::WrongType)]);
        assert_eq!(tweets(r#"{"data":{"id":"1"}}"#), [Err(Skip::NoText)]);
        let deep = r#"{"referenced_tweets":["#.repeat(10_000);
        assert_eq!(decode(&deep), Err(Skip::NotJson));
    }

    #[test]
    fn null_means_missing() {
        let read = tweet(
            r#"{"data":{"id":"1","text":"hi","author_id":null,"created_at":null,"lang":null,
                "referenced_tweets":null,"note_tweet":null,"author":null},"includes":null,"matching_rules":null}"#,
        );
        assert_eq!((read.user.as_str(), read.text.as_str()), ("", "hi"));
    }

    #[test]
    fn the_shape_is_recognised() {
        for json in [
            LINE,
            FLAT,
            r#"{"data":[]}"#,
            r#"{"meta":{"result_count":0}}"#,
            r#"{"errors":[{"title":"operational-disconnect"}]}"#,
            r#"{"id":"1","text":"hi","author_id":"5"}"#,
            r#"{"id":"1","text":"hi","edit_history_tweet_ids":["1"]}"#,
        ] {
            assert!(is_shape(json), "{json}");
        }
        for json in [
            "",
            "[]",
            "{}",
            r#"{"id":"1","text":"hi","user":"ada"}"#,
            r#"{"id":"1","text":"hi","author":"ada"}"#,
            r#"{"data":"hi"}"#,
            r#"{"text":"hi","data":{"a":1}}"#,
            r#"{"id":1,"text":"hi","user":{"screen_name":"ada"},"created_at":""}"#,
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
        fn no_change_of_a_value_panics(
            is_flat in any::<bool>(),
            at in any::<prop::sample::Index>(),
            with in any::<u8>(),
        ) {
            let mut json = if is_flat { FLAT } else { LINE }.as_bytes().to_vec();
            let at = at.index(json.len());
            json[at] = with;
            let json = String::from_utf8_lossy(&json);
            let _ = (decode(&json), is_shape(&json));
        }
    }
}
