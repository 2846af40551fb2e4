//! Decodes the lines of the filtered stream (docs.x.com, "Stream filtered Posts" and "Consuming
//! streaming data"): one JSON object per line. An empty line is a keep-alive.

use super::problem::Problem;
use super::rules;
use crate::source::unescape::unescape;
use crate::tweet::{Skip, Tweet};
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Debug, PartialEq)]
pub(super) enum Message {
    Tweet(Tweet),
    /// The server ends or rejects the stream.
    Problem(Problem),
}

#[derive(Deserialize)]
struct StreamLine {
    data: Option<Data>,
    includes: Option<Includes>,
    matching_rules: Option<Vec<MatchingRule>>,
}

#[derive(Deserialize)]
struct Data {
    id: String,
    text: Option<String>,
    /// The full text of a post of more than 280 characters.
    note_tweet: Option<Note>,
    author_id: Option<String>,
    created_at: Option<String>,
    lang: Option<String>,
}

#[derive(Deserialize)]
struct Note {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Includes {
    #[serde(default)]
    users: Vec<User>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    #[serde(default)]
    username: String,
    public_metrics: Option<Metrics>,
}

#[derive(Deserialize)]
struct Metrics {
    #[serde(default, deserialize_with = "crate::tweet::count")]
    followers_count: Option<u64>,
}

#[derive(Deserialize)]
struct MatchingRule {
    tag: Option<String>,
}

/// Decodes a line that is not empty.
///
/// If the line does not include the author of the tweet, the tweet's user is the author's number, and its
/// follower count is unknown.
pub(super) fn decode(json: &str) -> Result<Message, Skip> {
    let line: StreamLine = serde_json::from_str(json)?;
    let Some(data) = line.data else {
        let problem = Problem::in_line(json.as_bytes()).map(Message::Problem);
        return problem.ok_or(Skip::NoText);
    };
    let note = data.note_tweet.and_then(|note| note.text);
    let text = note.or(data.text).ok_or(Skip::NoText)?;
    let author = data.author_id.unwrap_or_default();
    let user = line
        .includes
        .and_then(|includes| includes.users.into_iter().find(|user| user.id == author));
    let (user, followers) = match user {
        Some(user) if !user.username.is_empty() => {
            let followers = user
                .public_metrics
                .and_then(|metrics| metrics.followers_count);
            (user.username, followers)
        }
        _ => (author, None),
    };
    let mut topics: Vec<String> = Vec::new();
    for rule in line.matching_rules.unwrap_or_default() {
        if let Some(track) = rule.tag.as_deref().and_then(rules::track)
            && !topics.iter().any(|topic| topic == track)
        {
            topics.push(track.to_owned());
        }
    }
    let created_at = data.created_at.and_then(|at| at.parse().ok());
    Ok(Message::Tweet(Tweet {
        id: data.id,
        created_at: created_at.unwrap_or_else(Timestamp::now),
        user,
        followers,
        text: unescape(text),
        lang: data.lang.unwrap_or_default(),
        topics,
        source: "x".into(),
    }))
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
        "matching_rules":[{"id":"9","tag":"live-sentiment: bitcoin"},{"id":"8","tag":"cats"},{"id":"7"}]}"#;

    fn tweet(line: &str) -> Tweet {
        match decode(line) {
            Ok(Message::Tweet(tweet)) => tweet,
            other => panic!("{other:?}"),
        }
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
    fn problems_and_invalid_lines_are_distinguished() {
        let problem = decode(
            r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"UpstreamOperationalDisconnect",
                "detail":"This stream has been disconnected upstream for operational reasons.",
                "type":"https://api.twitter.com/2/problems/operational-disconnect"}]}"#,
        );
        let Ok(Message::Problem(problem)) = problem else {
            panic!("{problem:?}")
        };
        assert!(
            problem
                .description()
                .starts_with("operational-disconnect: UpstreamOperationalDisconnect")
        );
        let alone =
            decode(r#"{"title":"ConnectionException","connection_issue":"TooManyConnections"}"#);
        let Ok(Message::Problem(alone)) = alone else {
            panic!("{alone:?}")
        };
        assert!(alone.is_too_many_connections());
        assert_eq!(decode("{"), Err(Skip::NotJson));
        assert_eq!(decode("{}"), Err(Skip::NoText));
        assert_eq!(decode(r#"{"detail":"a notice"}"#), Err(Skip::NoText));
        assert_eq!(decode(r#"{"data":{"id":"1"}}"#), Err(Skip::NoText));
        assert_eq!(decode(r#"{"data":5}"#), Err(Skip::WrongType));
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC{0,300}") {
            let _ = decode(&text);
        }

        #[test]
        fn no_change_of_a_line_panics(at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let mut line = LINE.as_bytes().to_vec();
            let at = at.index(line.len());
            line[at] = with;
            let _ = decode(&String::from_utf8_lossy(&line));
        }
    }
}
