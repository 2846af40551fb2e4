//! Bluesky: every public post of the network, by a Jetstream, free and without an account.
//!
//! A Jetstream is a WebSocket that brings each new post as JSON. It keeps the last days, so after
//! a break one goes on where it was: from the newest post that was read, a little before it,
//! because the order is not strict and another server's clock is another one. What comes twice by
//! that is known by its id and removed. See github.com/bluesky-social/jetstream: version 2,
//! `/xrpc/network.bsky.jetstream.subscribeEvents`, is asked first, and the older `/subscribe` of a
//! server that lacks it.
//!
//! A reader decodes and filters; a second stage, [`profiles`], puts in the authors' followers of
//! what passed.

mod event;
mod profiles;

use super::connection::{Backoff, ConnectionWatch, Feed, Outlet};
use super::{BoxedSource, Source, http};
use crate::notebook::shorten;
use crate::{Error, Filter, Result, Tweet};
use event::{Cursor, Frame, POSTS, Version};
use futures_util::{SinkExt, StreamExt};
use profiles::{Item, Profiles};
use reqwest::{Client, StatusCode, Url, header};
use reqwest_websocket::{Message, Upgrade, WebSocket};
use std::time::Duration;
use tokio::sync::mpsc;

/// The environment variable that names a Jetstream of one's own.
pub const JETSTREAM_VARIABLE: &str = "BLUESKY_JETSTREAM_URL";
/// The environment variable that names another server for the profiles.
pub const APPVIEW_VARIABLE: &str = "BLUESKY_APPVIEW_URL";
/// The public servers, in the order in which they are tried.
const HOSTS: &[&str] = &[
    "https://jetstream.us-east.bsky.network",
    "https://jetstream.us-west.bsky.network",
    "https://jetstream1.us-east.bsky.network",
    "https://jetstream2.us-east.bsky.network",
    "https://jetstream1.us-west.bsky.network",
    "https://jetstream2.us-west.bsky.network",
];
const APPVIEW: &str = "https://public.api.bsky.app";
/// The subprotocol of version 2.
const SUBPROTOCOL: &str = "xrpc.v1.json";
/// How long an answer to the request for a connection may take.
const ANSWER: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is asked whether it is there; after as long again
/// without an answer it is given up.
const QUIET: Duration = Duration::from_secs(15);
/// How far before the newest post a new connection begins, at most.
const REWIND_MICROS: u64 = 5_000_000;
/// Larger messages end a connection; a post has a few thousand bytes.
const LARGEST: usize = 4 * 1024 * 1024;
/// How many posts wait for the stage that puts in followers.
const QUEUE: usize = 256;

/// The Bluesky source: public posts as they are written.
///
/// ```no_run
/// # use live_sentiment::prelude::*;
/// # fn main() -> Result<()> {
/// # let kafka = Kafka::start()?;
/// let streaming = Streamer::new(&kafka, "tweets")
///     .track(["bitcoin", "ethereum", "dogecoin"])
///     .languages(["en"])
///     .start(Bluesky::new())?;
/// # Ok(())
/// # }
/// ```
pub struct Bluesky {
    /// `None`: as the environment says, else the public ones.
    jetstream: Option<String>,
    appview: Option<String>,
    feed: Option<Feed>,
    connection: ConnectionWatch,
}

impl Default for Bluesky {
    fn default() -> Self {
        Bluesky::new()
    }
}

impl Bluesky {
    /// The public Jetstreams, tried in turn; or the one that `BLUESKY_JETSTREAM_URL` names.
    /// `BLUESKY_APPVIEW_URL` names the server for the profiles, if it is not the public one.
    pub fn new() -> Bluesky {
        Bluesky {
            jetstream: None,
            appview: None,
            feed: None,
            connection: ConnectionWatch::default(),
        }
    }

    /// A Jetstream of one's own, such as `wss://jetstream.example`; unencrypted on this machine
    /// only. An address that cannot be meant is an error of the stream's start.
    pub fn at(jetstream: &str) -> Bluesky {
        Bluesky {
            jetstream: Some(jetstream.into()),
            ..Bluesky::new()
        }
    }

    /// Another server for the profiles than `BLUESKY_APPVIEW_URL` names, or the public one.
    pub fn profiles_at(mut self, appview: &str) -> Bluesky {
        self.appview = Some(appview.into());
        self
    }

    fn hosts(&self) -> Result<Vec<Host>> {
        let own = self
            .jetstream
            .clone()
            .or_else(|| variable(JETSTREAM_VARIABLE));
        let own: Vec<&str> = own.as_deref().into_iter().collect();
        let addresses = if own.is_empty() { HOSTS } else { &own };
        addresses
            .iter()
            .map(|address| {
                let base = http::base(address, JETSTREAM_VARIABLE)?;
                Ok(Host {
                    client: http::client(&base)?,
                    base,
                    way: Way::V2,
                })
            })
            .collect()
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.trim().is_empty())
}

impl Source for Bluesky {
    fn name(&self) -> String {
        "Bluesky".into()
    }

    async fn begin(&mut self, filter: Filter) -> Result<Filter> {
        let own = self.appview.clone().or_else(|| variable(APPVIEW_VARIABLE));
        let appview = own.unwrap_or_else(|| APPVIEW.into());
        let appview = http::base(&appview, APPVIEW_VARIABLE)?;
        let profiles = Profiles::new(&appview, self.connection.clone())?;
        // Links and several languages of one post are known here only, so here is where it is
        // judged. Without a track nothing has a topic, and the languages alone are left to judge.
        let left = match filter.tracks().next() {
            Some(_) => Filter::by_source(),
            None => filter.clone(),
        };
        let reader = Reader {
            hosts: self.hosts()?,
            host: 0,
            filter,
            watch: self.connection.clone(),
            newest: None,
            rewind: 0,
        };
        let task = |outlet| feed(reader, profiles, outlet);
        self.feed = Some(Feed::start(task).await?);
        Ok(left)
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        self.feed.as_mut()?.next().await
    }

    fn connection(&self) -> Option<ConnectionWatch> {
        Some(self.connection.clone())
    }

    fn boxed(self) -> BoxedSource {
        BoxedSource::new(self)
    }
}

async fn feed(reader: Reader, profiles: Profiles, outlet: Outlet) {
    let (sender, items) = mpsc::channel(QUEUE);
    tokio::join!(reader.run(sender, &outlet), profiles.run(items, &outlet));
}

/// A server, and how it is spoken to.
struct Host {
    client: Client,
    base: Url,
    way: Way,
}

/// The ways to ask a server, from the newest to the oldest.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    V2,
    /// Without the subprotocol's name, for a server that does not answer with it.
    V2Unnamed,
    V1,
}

struct Reader {
    hosts: Vec<Host>,
    /// The one that is asked.
    host: usize,
    filter: Filter,
    watch: ConnectionWatch,
    /// The newest place that was read.
    newest: Option<Cursor>,
    /// How far before it the next connection begins, in microseconds.
    rewind: u64,
}

/// How a connection went.
struct Past {
    reason: String,
    /// It brought something new.
    went_on: bool,
}

impl Reader {
    async fn run(mut self, items: mpsc::Sender<Item>, outlet: &Outlet) {
        let mut backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60));
        let mut failures = 0;
        loop {
            let past = match self.connect().await {
                Ok(socket) => {
                    self.watch.connected();
                    outlet.connected();
                    match self.read(socket, &items).await {
                        Some(past) => past,
                        None => return,
                    }
                }
                Err(reason) => Past {
                    reason,
                    went_on: false,
                },
            };
            let host = self.hosts[self.host].base.host_str().unwrap_or_default();
            self.watch.lost(&format!("{host}: {}", past.reason));
            if past.went_on {
                failures = 0;
                backoff.reset();
                continue;
            }
            failures += 1;
            self.host = (self.host + 1) % self.hosts.len();
            // Each server gets its chance before there is a wait.
            if failures % self.hosts.len() == 0 {
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }

    /// Where the next connection is to begin; `None`: with what comes.
    fn cursor(&self) -> Option<u64> {
        self.newest.map(|Cursor(at)| at.saturating_sub(self.rewind))
    }

    async fn connect(&mut self) -> Result<WebSocket, String> {
        loop {
            let way = self.hosts[self.host].way;
            let error = match self.ask(way).await {
                Ok(socket) => return Ok(socket),
                Err(error) => error,
            };
            self.hosts[self.host].way = match (way, error) {
                (_, Refusal::Passing(reason)) => return Err(reason),
                (Way::V2, Refusal::Unnamed) => Way::V2Unnamed,
                (Way::V2 | Way::V2Unnamed, _) => Way::V1,
                (Way::V1, Refusal::Lacking(reason)) => {
                    // Next time from the beginning: the server may be a newer one by then.
                    self.hosts[self.host].way = Way::V2;
                    return Err(reason);
                }
                (Way::V1, Refusal::Unnamed) => return Err("no WebSocket".into()),
            };
        }
    }

    async fn ask(&self, way: Way) -> Result<WebSocket, Refusal> {
        let host = &self.hosts[self.host];
        let (path, mut pairs) = match way {
            Way::V2 | Way::V2Unnamed => (
                "/xrpc/network.bsky.jetstream.subscribeEvents",
                vec![
                    ("kinds", "commit".to_owned()),
                    ("collections", POSTS.into()),
                ],
            ),
            Way::V1 => ("/subscribe", vec![("wantedCollections", POSTS.to_owned())]),
        };
        if let Some(cursor) = self.cursor() {
            pairs.push(("cursor", cursor.to_string()));
        }
        let mut url = host.base.clone();
        url.set_path(&format!("{}{path}", host.base.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(pairs);
        let mut config = tungstenite::protocol::WebSocketConfig::default();
        config.max_message_size = Some(LARGEST);
        config.max_frame_size = Some(LARGEST);
        let mut request = host.client.get(url).upgrade().web_socket_config(config);
        if way == Way::V2 {
            request = request.protocols([SUBPROTOCOL]);
        }
        let asked = async {
            let response = request.send().await.map_err(|error| Refusal::of(&error))?;
            let status = response.status();
            if status != StatusCode::SWITCHING_PROTOCOLS {
                return Err(Refusal::status(status));
            }
            if way == Way::V2
                && !response
                    .headers()
                    .contains_key(header::SEC_WEBSOCKET_PROTOCOL)
            {
                return Err(Refusal::Unnamed);
            }
            let socket = response.into_websocket().await;
            socket.map_err(|error| Refusal::of(&error))
        };
        tokio::time::timeout(ANSWER, asked)
            .await
            .unwrap_or_else(|_| Err(Refusal::Passing("no answer within 10 s".into())))
    }

    /// Reads a connection to its end; `None` once nobody takes what it brings.
    async fn read(&mut self, mut socket: WebSocket, items: &mpsc::Sender<Item>) -> Option<Past> {
        let version = match self.hosts[self.host].way {
            Way::V1 => Version::V1,
            Way::V2 | Way::V2Unnamed => Version::V2,
        };
        let before = self.newest;
        let mut first = None;
        let mut pinged = false;
        let reason = loop {
            let message = match tokio::time::timeout(QUIET, socket.next()).await {
                Err(_) if pinged => break "it said nothing for 30 s".into(),
                Err(_) => {
                    pinged = true;
                    if let Err(error) = socket.send(Message::Ping(Default::default())).await {
                        break words(&error);
                    }
                    continue;
                }
                Ok(None) => break "it ended the stream".into(),
                Ok(Some(Err(error))) => {
                    if is_too_large(&error) {
                        self.newest = None;
                        break "it sent more than 4 MiB at once; what came between that and now is \
                               not read"
                            .into();
                    }
                    break words(&error);
                }
                Ok(Some(Ok(message))) => message,
            };
            pinged = false;
            let frame = match &message {
                Message::Text(text) => text.as_bytes(),
                Message::Binary(bytes) => bytes,
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close { reason, .. } => break format!("it ended the stream {reason}"),
            };
            let cursor = match event::decode(version, frame) {
                Ok(Frame::Post(post)) => {
                    let item = match post.tweet(&mut self.filter) {
                        (tweet, true) => Item::WantsProfile(tweet),
                        (tweet, false) => Item::Ready(Ok(tweet)),
                    };
                    // Only what has been handed over needs not be read again.
                    items.send(item).await.ok()?;
                    Some(post.cursor)
                }
                Ok(Frame::Other(cursor)) => cursor,
                Ok(Frame::Info(notice)) => {
                    tracing::warn!("Bluesky: {}", shorten(&notice, 200));
                    None
                }
                Ok(Frame::Error(error)) => break format!("it ended the stream: {error}"),
                Err(reason) => {
                    let error = Error::Post {
                        source_name: "Bluesky".into(),
                        reason,
                    };
                    items.send(Item::Ready(Err(error))).await.ok()?;
                    None
                }
            };
            first = first.or(cursor);
            self.newest = self.newest.max(cursor);
        };
        let (from, to) = (before.max(first), self.newest);
        let span = from
            .zip(to)
            .map_or(0, |(from, to)| to.0.saturating_sub(from.0));
        // Never so far that a server which cuts each connection after a few posts would send the
        // same ones for ever.
        self.rewind = REWIND_MICROS.min(span / 2);
        Some(Past {
            reason,
            went_on: span > 0,
        })
    }
}

/// Why a server did not give a stream.
enum Refusal {
    /// It may do so later.
    Passing(String),
    /// It does not know what was asked for.
    Lacking(String),
    /// It gave one without naming the subprotocol.
    Unnamed,
}

impl Refusal {
    fn status(status: StatusCode) -> Refusal {
        let reason = format!("it answered {status}");
        match status.as_u16() {
            408 | 429 | 500 | 502..=599 => Refusal::Passing(reason),
            _ => Refusal::Lacking(reason),
        }
    }

    fn of(error: &reqwest_websocket::Error) -> Refusal {
        Refusal::Passing(words(error))
    }
}

fn words(error: &reqwest_websocket::Error) -> String {
    match error {
        reqwest_websocket::Error::Reqwest(error) => http::words(error),
        reqwest_websocket::Error::Tungstenite(error) => format!("the connection broke: {error}"),
        reqwest_websocket::Error::Handshake(error) => format!("no WebSocket: {error}"),
        error => error.to_string(),
    }
}

fn is_too_large(error: &reqwest_websocket::Error) -> bool {
    matches!(
        error,
        reqwest_websocket::Error::Tungstenite(tungstenite::Error::Capacity(_))
    )
}
