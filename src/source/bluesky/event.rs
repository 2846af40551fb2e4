//! From a frame of a Jetstream to a post, in both of its forms.
//!
//! Version 2 is the lexicon `network.bsky.jetstream.subscribeEvents` (github.com/bluesky-social/
//! jetstream, lexicons/): an envelope with `$type`, whose payload is a commit. Version 1, `GET
//! /subscribe`, is described in the README of github.com/bluesky-social/jetstream-legacy. The post
//! in both is the lexicon `app.bsky.feed.post`.
//!
//! Tens of posts a second come, thousands when a backlog is read, and most of them are filtered
//! out. So a frame is read in one pass, and what is not needed is not copied.

use crate::tweet::{MAX_MESSAGE_BYTES, Skip};
use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;

/// The collection that holds posts.
pub(super) const POSTS: &str = "app.bsky.feed.post";

/// Which of the two forms a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// A place in a Jetstream, in microseconds since 1970. Unlike a sequence number it means nearly the
/// same to every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor(pub(super) u64);

/// What a frame says.
#[derive(Debug, PartialEq)]
pub(super) enum Frame<'a> {
    Post(Box<Post<'a>>),
    /// Something else than a new post.
    Other(Option<Cursor>),
    /// A notice of the server's.
    Info(String),
    /// The server is about to end the stream.
    Error(String),
}

/// A new post.
#[derive(Debug, PartialEq)]
pub(super) struct Post<'a> {
    pub(super) cursor: Cursor,
    pub(super) did: Cow<'a, str>,
    pub(super) rkey: Cow<'a, str>,
    pub(super) record: Record<'a>,
}

/// `app.bsky.feed.post`, as far as it is needed.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    pub(super) text: Cow<'a, str>,
    #[serde(default)]
    pub(super) langs: Option<Vec<String>>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    facets: Option<Vec<Facet>>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Facet {
    #[serde(default)]
    features: Vec<Feature>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Feature {
    #[serde(default)]
    uri: Option<String>,
}

impl Post<'_> {
    /// When it was written. Its author's clock says so, and is believed up to the moment in which
    /// the server had the post.
    pub(super) fn created_at(&self) -> Timestamp {
        let micros = i64::try_from(self.cursor.0).unwrap_or(i64::MAX);
        let seen = Timestamp::from_microsecond(micros).unwrap_or_else(|_| Timestamp::now());
        let said = self.record.created_at.as_deref();
        said.and_then(|at| at.parse().ok())
            .map_or(seen, |said: Timestamp| said.min(seen))
    }

    /// Where its links lead; the text shows them shortened.
    pub(super) fn links(&self) -> impl Iterator<Item = &str> {
        let facets = self.record.facets.iter().flatten();
        facets
            .flat_map(|facet| &facet.features)
            .filter_map(|feature| feature.uri.as_deref())
    }

    pub(super) fn uri(&self) -> String {
        format!("at://{}/{POSTS}/{}", self.did, self.rkey)
    }
}

/// A frame of version 2.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "$type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    payload: Option<Payload<'a>>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow, rename = "$type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    did: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(borrow, default)]
    witnessed_at: Cow<'a, str>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    collection: Cow<'a, str>,
    #[serde(borrow, default)]
    rkey: Cow<'a, str>,
    #[serde(borrow, default)]
    record: Option<Record<'a>>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// A frame of version 1.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    did: Cow<'a, str>,
    time_us: u64,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    commit: Option<Commit<'a>>,
}

#[derive(Deserialize)]
struct Commit<'a> {
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    collection: Cow<'a, str>,
    #[serde(borrow, default)]
    rkey: Cow<'a, str>,
    #[serde(borrow, default)]
    record: Option<Record<'a>>,
}

/// Reads a frame.
pub(super) fn decode(version: Version, frame: &[u8]) -> Result<Frame<'_>, Skip> {
    if frame.len() > MAX_MESSAGE_BYTES {
        return Err(Skip::TooLarge);
    }
    let json = std::str::from_utf8(frame).map_err(|_| Skip::NotUtf8)?;
    let read = match version {
        Version::V1 => serde_json::from_str(json).map(Event::frame),
        Version::V2 => serde_json::from_str(json).map(Envelope::frame),
    };
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Skip::WrongType,
        _ => Skip::NotJson,
    })?
}

impl<'a> Event<'a> {
    fn frame(self) -> Result<Frame<'a>, Skip> {
        let cursor = Cursor(self.time_us);
        match self.commit {
            Some(commit) if self.kind == "commit" => post(
                cursor,
                self.did,
                commit.rkey,
                &commit.operation,
                &commit.collection,
                commit.record,
            ),
            _ => Ok(Frame::Other(Some(cursor))),
        }
    }
}

impl<'a> Envelope<'a> {
    fn frame(self) -> Result<Frame<'a>, Skip> {
        let payload = match (&*self.kind, self.payload) {
            ("message", Some(payload)) => payload,
            ("error", _) => {
                let name = self
                    .error
                    .unwrap_or_else(|| "an error without a name".into());
                let message = self.message.unwrap_or_default();
                return Ok(Frame::Error(format!("{name} {message}")));
            }
            // A kind that a newer server may have.
            _ => return Ok(Frame::Other(None)),
        };
        let kind = payload.kind.rsplit_once('#').map_or("", |(_, kind)| kind);
        if kind == "info" {
            let name = payload.name.unwrap_or_default();
            return Ok(Frame::Info(format!(
                "{name} {}",
                payload.message.unwrap_or_default()
            )));
        }
        let at = if payload.witnessed_at.is_empty() {
            &payload.time
        } else {
            &payload.witnessed_at
        };
        let cursor = at
            .parse::<Timestamp>()
            .ok()
            .and_then(|at| u64::try_from(at.as_microsecond()).ok())
            .map(Cursor);
        match cursor {
            Some(cursor) if kind == "commit" => post(
                cursor,
                payload.did,
                payload.rkey,
                &payload.operation,
                &payload.collection,
                payload.record,
            ),
            None if kind == "commit" => Err(Skip::WrongType),
            cursor => Ok(Frame::Other(cursor)),
        }
    }
}

fn post<'a>(
    cursor: Cursor,
    did: Cow<'a, str>,
    rkey: Cow<'a, str>,
    operation: &str,
    collection: &str,
    record: Option<Record<'a>>,
) -> Result<Frame<'a>, Skip> {
    match record {
        _ if operation != "create" || collection != POSTS => Ok(Frame::Other(Some(cursor))),
        None => Err(Skip::NoText),
        Some(_) if did.is_empty() || rkey.is_empty() => Err(Skip::WrongType),
        Some(record) => Ok(Frame::Post(Box::new(Post {
            cursor,
            did,
            rkey,
            record,
        }))),
    }
}
