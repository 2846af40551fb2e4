//! From the bytes of the stream to tweets (docs.x.com, "Stream filtered Posts" and "Consuming
//! streaming data"): one JSON object a line, an empty line as keep-alive, and the cuts between
//! network packets anywhere.

use super::rules;
use crate::Tweet;
use crate::tweet::{MAX_MESSAGE_BYTES, Skip};
use jiff::Timestamp;
use serde::Deserialize;

/// Cuts a stream of bytes into lines, each at most 1 MiB in memory.
#[derive(Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    /// The line is longer than is kept of it.
    too_long: bool,
}

impl Lines {
    /// Takes a chunk and hands on each line that it completes, without its end.
    pub(super) fn push(&mut self, mut chunk: &[u8], mut each: impl FnMut(Result<&[u8], Skip>)) {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            self.keep(&chunk[..end]);
            chunk = &chunk[end + 1..];
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            match self.too_long {
                true => each(Err(Skip::TooLarge)),
                false if line.trim_ascii().is_empty() => {}
                false => each(Ok(line)),
            }
            self.line.clear();
            self.too_long = false;
        }
        self.keep(chunk);
    }

    fn keep(&mut self, part: &[u8]) {
        let room = MAX_MESSAGE_BYTES.saturating_sub(self.line.len());
        self.too_long |= part.len() > room;
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    Tweet(Tweet),
    /// The server is about to end the stream, or refuses it.
    Problem(Problem),
}

/// A problem as the API describes one, in a stream or in an answer (docs.x.com, "Error handling").
/// All of it is a server's text.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) title: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) details: Vec<String>,
    pub(super) message: Option<String>,
    pub(super) value: Option<String>,
    pub(super) connection_issue: Option<String>,
    pub(super) disconnect_type: Option<String>,
}

impl Problem {
    /// The API's reason, as long as it is.
    pub(super) fn words(&self) -> String {
        let mut words: Vec<&str> = Vec::new();
        words.extend(self.title.as_deref());
        words.extend(self.connection_issue.as_deref());
        words.extend(self.disconnect_type.as_deref());
        words.extend(self.detail.as_deref());
        words.extend(self.details.iter().map(String::as_str));
        words.extend(self.message.as_deref());
        words.extend(self.value.as_deref());
        words.dedup();
        words.join(": ")
    }

    pub(super) fn is_too_many_connections(&self) -> bool {
        self.connection_issue.as_deref() == Some("TooManyConnections")
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    includes: Option<Includes>,
    #[serde(default)]
    matching_rules: Option<Vec<MatchingRule>>,
    #[serde(default)]
    errors: Option<Vec<Problem>>,
    /// A problem may also stand by itself.
    #[serde(default)]
    title: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    id: String,
    #[serde(default)]
    text: Option<String>,
    /// The whole text of a post of more than 280 characters.
    #[serde(default)]
    note_tweet: Option<Note>,
    #[serde(default)]
    author_id: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    lang: Option<String>,
}

#[derive(Deserialize)]
struct Note {
    #[serde(default)]
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
    #[serde(default)]
    public_metrics: Option<Metrics>,
}

#[derive(Deserialize)]
struct Metrics {
    #[serde(default, deserialize_with = "crate::tweet::count")]
    followers_count: Option<u64>,
}

#[derive(Deserialize)]
struct MatchingRule {
    #[serde(default)]
    tag: Option<String>,
}

/// Reads a line that is not empty.
///
/// A tweet whose author is not included is a tweet all the same: its user is then the author's
/// number, and its followers are not known.
pub(super) fn decode(line: &[u8]) -> Result<Message, Skip> {
    let json = std::str::from_utf8(line).map_err(|_| Skip::NotUtf8)?;
    let line: Line = serde_json::from_str(json).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Skip::WrongType,
        _ => Skip::NotJson,
    })?;
    let Some(data) = line.data else {
        let listed = line.errors.and_then(|errors| errors.into_iter().next());
        let alone = line
            .title
            .is_some()
            .then(|| serde_json::from_str(json).ok());
        return match listed.or(alone.flatten()) {
            Some(problem) => Ok(Message::Problem(problem)),
            None => Err(Skip::NoText),
        };
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
        text,
        lang: data.lang.unwrap_or_default(),
        topics,
        source: super::SOURCE.into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As docs.x.com shows it, with the fields that are asked for.
    const LINE: &str = r#"{"data":{"author_id":"2244994945","created_at":"2026-01-01T12:00:00.000Z",
        "edit_history_tweet_ids":["1"],"id":"1","lang":"en","text":"I love #bitcoin"},
        "includes":{"users":[{"id":"2244994945","name":"Ada","username":"ada",
        "public_metrics":{"followers_count":1815,"following_count":1,"tweet_count":2,"listed_count":0}}]},
        "matching_rules":[{"id":"9","tag":"live-sentiment: bitcoin"},{"id":"8","tag":"cats"},{"id":"7"}]}"#;

    fn tweet(line: &str) -> Tweet {
        match decode(line.as_bytes()) {
            Ok(Message::Tweet(tweet)) => tweet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_tweet_is_read_with_its_author_and_its_tracks() {
        let read = tweet(LINE);
        assert_eq!((read.user.as_str(), read.followers), ("ada", Some(1815)));
        assert_eq!((read.id.as_str(), read.lang.as_str()), ("1", "en"));
        assert_eq!(read.text, "I love #bitcoin");
        assert_eq!(read.topics, ["bitcoin"]);
        assert_eq!(read.created_at.to_string(), "2026-01-01T12:00:00Z");
    }

    #[test]
    fn what_may_be_missing_may_be_missing() {
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
    fn problems_and_junk_are_told_apart() {
        let problem = decode(
            br#"{"errors":[{"title":"operational-disconnect","disconnect_type":"UpstreamOperationalDisconnect",
                "detail":"This stream has been disconnected upstream for operational reasons.",
                "type":"https://api.twitter.com/2/problems/operational-disconnect"}]}"#,
        );
        let Ok(Message::Problem(problem)) = problem else {
            panic!("{problem:?}")
        };
        assert!(
            problem
                .words()
                .starts_with("operational-disconnect: UpstreamOperationalDisconnect")
        );
        let alone =
            decode(br#"{"title":"ConnectionException","connection_issue":"TooManyConnections"}"#);
        let Ok(Message::Problem(alone)) = alone else {
            panic!("{alone:?}")
        };
        assert!(alone.is_too_many_connections());
        assert_eq!(decode(b"{"), Err(Skip::NotJson));
        assert_eq!(decode(b"\xff"), Err(Skip::NotUtf8));
        assert_eq!(decode(b"{}"), Err(Skip::NoText));
        assert_eq!(decode(br#"{"data":{"id":"1"}}"#), Err(Skip::NoText));
        assert_eq!(decode(br#"{"data":5}"#), Err(Skip::WrongType));
    }

    fn lines(chunks: &[&[u8]]) -> Vec<Result<Vec<u8>, Skip>> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |line| all.push(line.map(<[u8]>::to_vec)));
        }
        all
    }

    #[test]
    fn a_line_that_is_too_long_is_one_skip() {
        let long = vec![b'x'; MAX_MESSAGE_BYTES + 10];
        let read = lines(&[b"a\r\n\r\n", &long, &long, b"\nb\n"]);
        assert_eq!(
            read,
            [Ok(b"a".to_vec()), Err(Skip::TooLarge), Ok(b"b".to_vec())]
        );
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_lines(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines(&chunks), lines(&[&bytes]));
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_change_of_a_line_panics(at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let mut line = LINE.as_bytes().to_vec();
            let at = at.index(line.len());
            line[at] = with;
            let _ = decode(&line);
        }
    }
}
