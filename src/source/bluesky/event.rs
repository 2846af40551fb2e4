//! Decodes the frames of a Jetstream, in both versions of the protocol.
//!
//! Version 2 is the lexicon `network.bsky.jetstream.subscribeEvents` (github.com/bluesky-social/
//! jetstream, lexicons/): an envelope with `$type`, whose payload is a commit. Version 1, `GET
//! /subscribe`, is described in the README of github.com/bluesky-social/jetstream-legacy. The post in
//! both is the lexicon `app.bsky.feed.post`.
//!
//! Tens of posts arrive per second, and thousands while a backlog is read. The filter drops most of
//! them. So a frame is decoded in one pass, and unused fields are not copied.

use crate::filter::Filter;
use crate::tweet::{MAX_MESSAGE_BYTES, Skip, Tweet};
use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::iter;

/// The collection of posts.
pub(super) const POSTS: &str = "app.bsky.feed.post";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// A position in a Jetstream, in microseconds since 1970. Unlike a sequence number, it stands for nearly
/// the same position on every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JetstreamCursor(pub(super) u64);

#[derive(Debug, PartialEq)]
pub(super) enum Frame<'a> {
    Post(Box<Post<'a>>),
    /// Anything but a new post, with its position.
    Other(Option<JetstreamCursor>),
    /// A notice from the server.
    Info(String),
    /// The server is about to close the stream.
    Error(String),
}

#[derive(Debug, PartialEq)]
pub(super) struct Post<'a> {
    pub(super) cursor: JetstreamCursor,
    did: Cow<'a, str>,
    rkey: Cow<'a, str>,
    record: Record<'a>,
}

/// The fields of `app.bsky.feed.post` that the source uses.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    langs: Option<Vec<String>>,
    created_at: Option<String>,
    facets: Option<Vec<Facet>>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Facet {
    #[serde(default)]
    features: Vec<Feature>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Feature {
    uri: Option<String>,
}

impl Post<'_> {
    /// Returns the post as a tweet, and whether the filter admits it. The user is the author's DID,
    /// and the follower count is unknown.
    pub(super) fn tweet(&self, filter: &mut Filter) -> (Tweet, bool) {
        let mut langs = self.record.langs.iter().flatten().skip(1);
        let mut tweet = self.with_text(self.text_with_links());
        let admitted = filter.admit(&mut tweet)
            || langs.any(|lang| {
                tweet.lang.clone_from(lang);
                filter.admit(&mut tweet)
            });
        tweet.text.truncate(self.record.text.len());
        (tweet, admitted)
    }

    /// Returns the post as a tweet in its first language, without a filter.
    pub(super) fn plain_tweet(&self) -> Tweet {
        self.with_text(self.record.text.clone().into_owned())
    }

    fn with_text(&self, text: String) -> Tweet {
        let first_lang = self.record.langs.iter().flatten().next();
        Tweet {
            id: format!("at://{}/{POSTS}/{}", self.did, self.rkey),
            created_at: self.created_at(),
            user: self.did.clone().into_owned(),
            followers: None,
            text,
            lang: first_lang.cloned().unwrap_or_default(),
            topics: Vec::new(),
            source: "bluesky".into(),
        }
    }

    /// Returns when the post was written, by the author's clock. If that time is unknown, or later than
    /// the time at which the server received the post, returns the time of the server.
    fn created_at(&self) -> Timestamp {
        let micros = i64::try_from(self.cursor.0).unwrap_or(i64::MAX);
        let received = Timestamp::from_microsecond(micros).unwrap_or_else(|_| Timestamp::now());
        let claimed = self.record.created_at.as_deref();
        claimed
            .and_then(|at| at.parse().ok())
            .map_or(received, |claimed: Timestamp| claimed.min(received))
    }

    /// Returns the text, followed by the targets of its links, which the text shows shortened.
    fn text_with_links(&self) -> String {
        let facets = self.record.facets.iter().flatten();
        let features = facets.flat_map(|facet| &facet.features);
        let links = features.flat_map(|feature| [" ", feature.uri.as_deref().unwrap_or_default()]);
        iter::once(&*self.record.text).chain(links).collect()
    }
}

/// A frame of version 1.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    did: Cow<'a, str>,
    time_us: u64,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    commit: Option<Payload<'a>>,
}

/// A frame of version 2.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "$type")]
    kind: Cow<'a, str>,
    payload: Option<Payload<'a>>,
    error: Option<String>,
    message: Option<String>,
}

/// A payload of version 2. The commit of version 1 has some of its fields.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow, rename = "$type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    did: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    witnessed_at: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    collection: Cow<'a, str>,
    #[serde(borrow)]
    rkey: Cow<'a, str>,
    record: Option<Record<'a>>,
    name: Option<String>,
    message: Option<String>,
}

/// Decodes a frame.
///
/// # Errors
/// A [`Skip`], which says why the frame is invalid.
pub(super) fn decode(version: Version, frame: &[u8]) -> Result<Frame<'_>, Skip> {
    if frame.len() > MAX_MESSAGE_BYTES {
        return Err(Skip::TooLarge);
    }
    let json = std::str::from_utf8(frame).map_err(|_| Skip::NotUtf8)?;
    match version {
        Version::V1 => serde_json::from_str(json).map(Event::frame),
        Version::V2 => serde_json::from_str(json).map(Envelope::frame),
    }?
}

impl<'a> Event<'a> {
    fn frame(self) -> Result<Frame<'a>, Skip> {
        let cursor = JetstreamCursor(self.time_us);
        match self.commit {
            Some(mut commit) if self.kind == "commit" => {
                commit.did = self.did;
                commit.post(cursor)
            }
            _ => Ok(Frame::Other(Some(cursor))),
        }
    }
}

impl<'a> Envelope<'a> {
    fn frame(self) -> Result<Frame<'a>, Skip> {
        match (&*self.kind, self.payload) {
            ("message", Some(payload)) => payload.frame(),
            ("error", _) => Ok(Frame::Error(format!(
                "{} {}",
                self.error.as_deref().unwrap_or("an error without a name"),
                self.message.unwrap_or_default()
            ))),
            // A newer server may send other types.
            _ => Ok(Frame::Other(None)),
        }
    }
}

impl<'a> Payload<'a> {
    fn frame(self) -> Result<Frame<'a>, Skip> {
        let cursor = self.cursor();
        match self.kind.rsplit_once('#') {
            Some((_, "commit")) => self.post(cursor.ok_or(Skip::WrongType)?),
            Some((_, "info")) => Ok(Frame::Info(format!(
                "{} {}",
                self.name.unwrap_or_default(),
                self.message.unwrap_or_default()
            ))),
            None if self.kind.is_empty() => Err(Skip::WrongType),
            _ => Ok(Frame::Other(cursor)),
        }
    }

    /// Returns when the server received the event.
    fn cursor(&self) -> Option<JetstreamCursor> {
        let times = [&self.witnessed_at, &self.time];
        let at: Timestamp = times.into_iter().find(|at| !at.is_empty())?.parse().ok()?;
        u64::try_from(at.as_microsecond()).ok().map(JetstreamCursor)
    }

    /// Returns the post of a commit that creates one.
    fn post(self, cursor: JetstreamCursor) -> Result<Frame<'a>, Skip> {
        if self.operation != "create" || self.collection != POSTS {
            return Ok(Frame::Other(Some(cursor)));
        }
        let record = self.record.ok_or(Skip::NoText)?;
        if self.did.is_empty() || self.rkey.is_empty() {
            return Err(Skip::WrongType);
        }
        Ok(Frame::Post(Box::new(Post {
            cursor,
            did: self.did,
            rkey: self.rkey,
            record,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The form in the lexicon.
    const V2: &str = r#"{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#commit",
        "seq":5,"did":"did:plc:ada","time":"2026-01-01T12:00:00.000001Z","witnessedAt":"2026-01-01T12:00:01.000002Z",
        "rev":"3l3qo2vutsw2b","operation":"create","collection":"app.bsky.feed.post","rkey":"3l3","cid":"bafy",
        "record":{"$type":"app.bsky.feed.post","text":"I love \"it\"","langs":["de","en"],
        "createdAt":"2026-01-01T12:00:00.5+00:00","facets":[{"index":{"byteStart":0,"byteEnd":3},"features":[
        {"$type":"app.bsky.richtext.facet#link","uri":"https://example.org/bitcoin"},
        {"$type":"app.bsky.richtext.facet#mention","did":"did:plc:bob"}]}],"reply":{"root":{}}}}}"#;
    /// The form in the README.
    const V1: &str = r#"{"did":"did:plc:ada","time_us":1767268801000002,"kind":"commit","commit":{"rev":"3l3",
        "operation":"create","collection":"app.bsky.feed.post","rkey":"3l3","cid":"bafy","record":
        {"$type":"app.bsky.feed.post","createdAt":"2026-01-01T12:00:00.500Z","langs":["en"],"text":"I love bitcoin"}}}"#;

    fn post(version: Version, frame: &str) -> Post<'_> {
        match decode(version, frame.as_bytes()) {
            Ok(Frame::Post(post)) => *post,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_versions_are_decoded() {
        let mut filter = Filter::new(["bitcoin"], ["en"]).unwrap();
        for (version, frame, text) in [
            (Version::V1, V1, "I love bitcoin"),
            (Version::V2, V2, "I love \"it\""),
        ] {
            let post = post(version, frame);
            assert_eq!(post.cursor, JetstreamCursor(1_767_268_801_000_002));
            let (tweet, admitted) = post.tweet(&mut filter);
            assert!(admitted);
            assert_eq!((tweet.text.as_str(), tweet.lang.as_str()), (text, "en"));
            assert_eq!(tweet.topics, ["bitcoin"]);
            assert_eq!(tweet.id, "at://did:plc:ada/app.bsky.feed.post/3l3");
            assert_eq!(tweet.created_at.to_string(), "2026-01-01T12:00:00.5Z");
        }
    }

    #[test]
    fn frames_without_a_post_have_a_position() {
        let identity = r#"{"did":"did:plc:ada","time_us":7,"kind":"identity","identity":{}}"#;
        assert_eq!(
            decode(Version::V1, identity.as_bytes()),
            Ok(Frame::Other(Some(JetstreamCursor(7))))
        );
        let update = V2.replace("\"create\"", "\"update\"");
        let place = Some(JetstreamCursor(1_767_268_801_000_002));
        assert_eq!(
            decode(Version::V2, update.as_bytes()),
            Ok(Frame::Other(place))
        );
        let witness = "\"witnessedAt\":\"2026-01-01T12:00:01.000002Z\",";
        let older = V2.replace(witness, "");
        assert_eq!(
            post(Version::V2, &older).cursor,
            JetstreamCursor(1_767_268_800_000_001)
        );
        let error = br#"{"$type":"error","error":"ConsumerTooSlow","message":"behind"}"#;
        assert_eq!(
            decode(Version::V2, error),
            Ok(Frame::Error("ConsumerTooSlow behind".into()))
        );
    }

    #[test]
    fn invalid_frames_have_a_reason() {
        for version in [Version::V1, Version::V2] {
            assert_eq!(decode(version, b"junk"), Err(Skip::NotJson));
            assert_eq!(decode(version, b"\xff"), Err(Skip::NotUtf8));
            assert_eq!(decode(version, b"{}"), Err(Skip::WrongType));
            let large = vec![b' '; MAX_MESSAGE_BYTES + 1];
            assert_eq!(decode(version, &large), Err(Skip::TooLarge));
        }
        let no_time = V2.replace("2026-01-01T12:00:01.000002Z", "yesterday");
        assert_eq!(
            decode(Version::V2, no_time.as_bytes()),
            Err(Skip::WrongType)
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(Version::V1, &bytes);
            let _ = decode(Version::V2, &bytes);
        }

        #[test]
        fn no_change_of_a_frame_panics(
            first in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let (version, frame) = if first { (Version::V1, V1) } else { (Version::V2, V2) };
            let mut frame = frame.as_bytes().to_vec();
            for (at, with) in changes {
                let at = at.index(frame.len());
                frame[at] = with;
            }
            if let Ok(Frame::Post(post)) = decode(version, &frame) {
                post.tweet(&mut Filter::new(["bitcoin"], ["en"]).unwrap());
            }
        }
    }
}
