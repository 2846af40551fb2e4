//! Bluesky: every public post of the network, read from a Jetstream, free and without an account.
//!
//! A Jetstream is a WebSocket that sends each new post as JSON. It keeps the posts of the last days.
//! After a lost connection, the source therefore continues from its newest post. It starts a little
//! earlier, because the order of posts is not strict and each server has its own clock. The streamer
//! removes the repeated posts by their ids. See github.com/bluesky-social/jetstream. The source asks
//! for version 2 first, `/xrpc/network.bsky.jetstream.subscribeEvents`. If the server does not have
//! it, the source asks for the older `/subscribe`.
//!
//! A reader decodes and filters posts. A second stage, [`profiles`], adds the follower counts of the
//! authors of the posts that pass.

mod event;
mod profiles;
mod reader;
pub(super) mod recording;

use super::connection::ConnectionWatch;
use super::feed::{Feed, Outlet};
use super::{Source, async_trait, http};
use crate::error::Result;
use crate::filter::Filter;
use crate::tweet::Tweet;
use profiles::Profiles;
use reader::JetstreamReader;
use reqwest::{Client, Url};
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The environment variable with the address of another Jetstream.
const JETSTREAM_VARIABLE: &str = "BLUESKY_JETSTREAM_URL";
/// The environment variable with the address of another server for profiles.
const APPVIEW_VARIABLE: &str = "BLUESKY_APPVIEW_URL";
/// The public servers, in the order in which they are tried.
const HOSTS: &[&str] = &[
    "https://jetstream.us-east.bsky.network",
    "https://jetstream.us-west.bsky.network",
    "https://jetstream1.us-east.bsky.network",
    "https://jetstream2.us-east.bsky.network",
    "https://jetstream1.us-west.bsky.network",
    "https://jetstream2.us-west.bsky.network",
];
/// The public server for profiles.
const APPVIEW: &str = "https://public.api.bsky.app";
/// The maximum number of posts that wait for the stage [`profiles`].
const QUEUE: usize = 16;

/// The Bluesky source: public posts as they are written.
///
/// # Examples
/// ```no_run
/// # use live_sentiment::prelude::*;
/// # fn main() -> Result<()> {
/// # let topic = Kafka::start()?.create_topic("tweets", TopicConfig::default())?;
/// let streaming = Streamer::new(&topic)
///     .track(["bitcoin", "ethereum", "dogecoin"])
///     .languages(["en"])
///     .start(Bluesky::new())?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use = "a source does nothing until a streamer starts with it"]
pub struct Bluesky {
    /// The address of the Jetstream; `None` for the one in the environment, or the public ones.
    jetstream: Option<String>,
    appview: Option<String>,
    feed: Option<Feed>,
    connection: ConnectionWatch,
}

impl fmt::Debug for Bluesky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bluesky")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl Bluesky {
    /// Creates the source with the public Jetstreams, which it tries in turn, or with the one in
    /// `BLUESKY_JETSTREAM_URL`. `BLUESKY_APPVIEW_URL` replaces the public server for profiles.
    pub fn new() -> Bluesky {
        Bluesky::default()
    }

    /// Creates the source with another Jetstream, such as `wss://jetstream.example`. An address
    /// without encryption is accepted for this machine only. An invalid address is an error when the
    /// stream starts.
    pub fn at(jetstream: &str) -> Bluesky {
        Bluesky {
            jetstream: Some(jetstream.into()),
            ..Bluesky::new()
        }
    }

    /// Sets the server for profiles. An invalid address is an error when the stream starts.
    pub fn profiles_at(mut self, appview: &str) -> Bluesky {
        self.appview = Some(appview.into());
        self
    }

    /// Returns the Jetstreams, each with a client for it.
    fn hosts(&self) -> Result<Vec<(Client, Url)>> {
        let configured = self.jetstream.clone();
        let configured = configured.or_else(|| http::from_env(JETSTREAM_VARIABLE));
        let addresses = match &configured {
            Some(address) => &[address.as_str()],
            None => HOSTS,
        };
        let host = |address: &&str| {
            let base = http::base(address, JETSTREAM_VARIABLE)?;
            Ok((http::client(&base)?, base))
        };
        addresses.iter().map(host).collect()
    }
}

#[async_trait]
impl Source for Bluesky {
    fn name(&self) -> String {
        "Bluesky".into()
    }

    async fn begin(&mut self, filter: Filter) -> Result<()> {
        let appview = self.appview.clone();
        let appview = appview.or_else(|| http::from_env(APPVIEW_VARIABLE));
        let appview = http::base(appview.as_deref().unwrap_or(APPVIEW), APPVIEW_VARIABLE)?;
        let profiles = Profiles::new(&appview, self.connection.clone())?;
        let reader = JetstreamReader::new(self.hosts()?, filter, self.connection.clone());
        let task = |outlet: Arc<Outlet>| async move {
            let (sender, items) = mpsc::channel(QUEUE);
            tokio::join!(reader.run(sender, &outlet), profiles.run(items, &outlet));
        };
        self.feed = Some(Feed::start("Bluesky source", task).await?);
        Ok(())
    }

    /// Only this source knows the links of a post and all of its languages.
    fn sets_topics(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        self.feed.as_mut()?.next().await
    }

    fn connection(&self) -> Option<ConnectionWatch> {
        Some(self.connection.clone())
    }
}

/// Decodes a frame in both versions and converts a post to a tweet, for a fuzz target.
#[cfg(fuzzing)]
pub(crate) fn fuzz(frame: &[u8]) {
    for version in [event::Version::V1, event::Version::V2] {
        if let Ok(event::Frame::Post(post)) = event::decode(version, frame) {
            let _ = post.tweet(&mut crate::filter::Filter::default());
        }
    }
}
