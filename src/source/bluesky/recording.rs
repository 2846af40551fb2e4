//! Decodes the events of a recorded Jetstream, in both versions of the protocol. A recording is a file
//! that another program has written.

use super::event::{self, Frame, Version};
use crate::source::record::Record;
use crate::tweet::Skip;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Decodes one event. The follower count of an author is unknown.
///
/// # Errors
/// A [`Skip`], which says why the value is not a valid event.
pub(in crate::source) fn decode(json: &str) -> Result<Record, Skip> {
    match event::decode(version(json), json.as_bytes())? {
        Frame::Post(post) => Ok(Record::Tweets(vec![Ok(post.plain_tweet())])),
        Frame::Other(_) | Frame::Info(_) | Frame::Error(_) => Ok(Record::Event),
    }
}

/// Returns whether the value is an event with a position in a Jetstream.
pub(in crate::source) fn is_shape(json: &str) -> bool {
    matches!(
        event::decode(version(json), json.as_bytes()),
        Ok(Frame::Post(_) | Frame::Other(Some(_)))
    )
}

/// Returns the version of an event. Only version 2 has an envelope.
fn version(json: &str) -> Version {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "payload")]
        _payload: IgnoredAny,
    }
    match serde_json::from_str::<Envelope>(json) {
        Ok(_) => Version::V2,
        Err(_) => Version::V1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posts_are_tweets_and_everything_else_is_an_event() {
        let v1 = r#"{"did":"did:plc:ada","time_us":1767268801000002,"kind":"commit","commit":{"operation":"create",
            "collection":"app.bsky.feed.post","rkey":"3l3","record":{"createdAt":"2026-01-01T12:00:00.5Z",
            "langs":["en"],"text":"A &amp; B"}}}"#;
        let v2 = r#"{"$type":"message","payload":{"$type":"x#commit","did":"did:plc:ada","time":"2026-01-01T12:00:00Z",
            "operation":"create","collection":"app.bsky.feed.post","rkey":"3l3","record":{"text":"A &amp; B"}}}"#;
        for json in [v1, v2] {
            let Ok(Record::Tweets(tweets)) = decode(json) else {
                panic!("{json}");
            };
            let tweet = tweets[0].as_ref().unwrap();
            assert_eq!((&*tweet.user, &*tweet.text), ("did:plc:ada", "A &amp; B"));
            assert_eq!(tweet.followers, None);
            assert!(is_shape(json));
            let deletion = json.replace("create\"", "delete\"");
            assert_eq!(decode(&deletion), Ok(Record::Event));
            assert!(is_shape(&deletion));
        }
        let identity = r#"{"did":"did:plc:x","time_us":1725911162329400,"kind":"identity"}"#;
        assert_eq!(decode(identity), Ok(Record::Event));
        for other in [
            "{}",
            r#"{"text":"hi"}"#,
            r#"{"$type":"x","payload":{}}"#,
            "[]",
            "5",
        ] {
            assert!(!is_shape(other), "{other}");
        }
        assert_eq!(decode("junk"), Err(Skip::NotJson));
    }
}
