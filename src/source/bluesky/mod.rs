//! Bluesky: every public post of the network, by a Jetstream, free and without an account.
//!
//! A Jetstream is a WebSocket that sends each new post as JSON. It keeps the posts of the last days,
//! so after a lost connection the source continues from its newest post. It starts a little before
//! it, because the order of posts is not strict and each server has its own clock; the streamer
//! removes the posts that come twice by their ids. See github.com/bluesky-social/jetstream. The
//! source asks for version 2 first, `/xrpc/network.bsky.jetstream.subscribeEvents`, and for the
//! older `/subscribe` on a server without it.
//!
//! A reader decodes and filters. A second stage, [`profiles`], adds the follower counts of the
//! authors of the posts that pass.

mod event;
mod profiles;

use super::connection::{Backoff, ConnectionWatch};
use super::feed::{Feed, Outlet};
use super::{Source, async_trait, http};
use crate::display::shorten;
use crate::{Error, Filter, Result, Tweet};
use event::{Cursor, Frame, POSTS, Version};
use futures_util::{SinkExt, StreamExt};
use profiles::{Item, Profiles};
use reqwest::{Client, StatusCode, Url, header};
use reqwest_websocket::{Message, Upgrade, WebSocket};
use std::time::Duration;
use tokio::sync::mpsc;

/// The environment variable with the address of another Jetstream.
pub const JETSTREAM_VARIABLE: &str = "BLUESKY_JETSTREAM_URL";
/// The environment variable with the address of another server for profiles.
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
/// The WebSocket subprotocol of version 2.
const SUBPROTOCOL: &str = "xrpc.v1.json";
/// The time limit for connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A server that sends nothing for this long gets a ping. If it then sends nothing for as long
/// again, the connection is closed.
const PING_AFTER: Duration = Duration::from_secs(15);
/// The maximum time before the newest post at which a new connection starts.
const MAX_REWIND_MICROS: u64 = 5_000_000;
/// The maximum size of a frame. A larger one ends the connection; a post has a few thousand bytes.
const MAX_FRAME: usize = 4 * 1024 * 1024;
/// How many posts wait for the profiles stage at most.
const QUEUE: usize = 256;

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
pub struct Bluesky {
    /// `None` means the one of the environment, or the public ones.
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
    /// Creates the source with the public Jetstreams, which it tries in turn, or with the one in
    /// `BLUESKY_JETSTREAM_URL`. `BLUESKY_APPVIEW_URL` replaces the public server for profiles.
    pub fn new() -> Bluesky {
        Bluesky {
            jetstream: None,
            appview: None,
            feed: None,
            connection: ConnectionWatch::default(),
        }
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

    /// Sets the server for profiles.
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
                    protocol: Protocol::V2,
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

#[async_trait]
impl Source for Bluesky {
    fn name(&self) -> String {
        "Bluesky".into()
    }

    async fn begin(&mut self, filter: Filter) -> Result<Filter> {
        let own = self.appview.clone().or_else(|| variable(APPVIEW_VARIABLE));
        let appview = own.unwrap_or_else(|| APPVIEW.into());
        let appview = http::base(&appview, APPVIEW_VARIABLE)?;
        let profiles = Profiles::new(&appview, self.connection.clone())?;
        // Only this source knows the links and all languages of a post, so it filters by itself.
        // Without a track no post has a topic, and the streamer filters by language.
        let rest = match filter.tracks().next() {
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
        self.feed = Some(Feed::start("Bluesky source", task).await?);
        Ok(rest)
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        self.feed.as_mut()?.next().await
    }

    fn connection(&self) -> Option<ConnectionWatch> {
        Some(self.connection.clone())
    }
}

async fn feed(reader: Reader, profiles: Profiles, outlet: Outlet) {
    let (sender, items) = mpsc::channel(QUEUE);
    tokio::join!(reader.run(sender, &outlet), profiles.run(items, &outlet));
}

/// A server, and the protocol that it supports.
struct Host {
    client: Client,
    base: Url,
    protocol: Protocol,
}

/// The protocols of Jetstream servers, from the newest to the oldest.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    V2,
    /// Version 2 without the subprotocol, for a server that does not confirm it.
    V2WithoutSubprotocol,
    V1,
}

struct Reader {
    hosts: Vec<Host>,
    /// The index of the current server.
    host: usize,
    filter: Filter,
    watch: ConnectionWatch,
    /// The newest position that was read.
    newest: Option<Cursor>,
    /// How far before it the next connection starts, in microseconds.
    rewind: u64,
}

/// The end of a connection.
struct Ended {
    reason: String,
    /// Whether it delivered anything new.
    progressed: bool,
}

impl Reader {
    async fn run(mut self, items: mpsc::Sender<Item>, outlet: &Outlet) {
        let mut backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60));
        let mut failures = 0;
        loop {
            let ended = match self.connect().await {
                Ok(socket) => {
                    self.watch.connected();
                    outlet.started();
                    match self.read(socket, &items).await {
                        Some(ended) => ended,
                        None => return,
                    }
                }
                Err(reason) => Ended {
                    reason,
                    progressed: false,
                },
            };
            let host = http::host_and_port(&self.hosts[self.host].base);
            self.watch.lost(&format!("{host}: {}", ended.reason));
            if ended.progressed {
                failures = 0;
                backoff.reset();
                continue;
            }
            failures += 1;
            self.host = (self.host + 1) % self.hosts.len();
            // Wait only after each server was tried once.
            if failures % self.hosts.len() == 0 {
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }

    /// Returns where the next connection starts; `None` means with the next new post.
    fn cursor(&self) -> Option<u64> {
        self.newest.map(|Cursor(at)| at.saturating_sub(self.rewind))
    }

    async fn connect(&mut self) -> Result<WebSocket, String> {
        loop {
            let protocol = self.hosts[self.host].protocol;
            let error = match self.connect_with(protocol).await {
                Ok(socket) => return Ok(socket),
                Err(error) => error,
            };
            self.hosts[self.host].protocol = match (protocol, error) {
                (_, ConnectError::Temporary(reason)) => return Err(reason),
                (Protocol::V2, ConnectError::NoSubprotocol) => Protocol::V2WithoutSubprotocol,
                (Protocol::V2 | Protocol::V2WithoutSubprotocol, _) => Protocol::V1,
                (Protocol::V1, ConnectError::Unsupported(reason)) => {
                    // Start with the newest protocol again: the server may be updated by then.
                    self.hosts[self.host].protocol = Protocol::V2;
                    return Err(reason);
                }
                (Protocol::V1, ConnectError::NoSubprotocol) => return Err("not a WebSocket".into()),
            };
        }
    }

    async fn connect_with(&self, protocol: Protocol) -> Result<WebSocket, ConnectError> {
        let host = &self.hosts[self.host];
        let (path, mut pairs) = match protocol {
            Protocol::V2 | Protocol::V2WithoutSubprotocol => (
                "/xrpc/network.bsky.jetstream.subscribeEvents",
                vec![
                    ("kinds", "commit".to_owned()),
                    ("collections", POSTS.into()),
                ],
            ),
            Protocol::V1 => ("/subscribe", vec![("wantedCollections", POSTS.to_owned())]),
        };
        if let Some(cursor) = self.cursor() {
            pairs.push(("cursor", cursor.to_string()));
        }
        let mut url = host.base.clone();
        url.set_path(&format!("{}{path}", host.base.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(pairs);
        let mut config = tungstenite::protocol::WebSocketConfig::default();
        config.max_message_size = Some(MAX_FRAME);
        config.max_frame_size = Some(MAX_FRAME);
        let mut request = host.client.get(url).upgrade().web_socket_config(config);
        if protocol == Protocol::V2 {
            request = request.protocols([SUBPROTOCOL]);
        }
        let connecting = async {
            let response = request
                .send()
                .await
                .map_err(|error| ConnectError::of(&error))?;
            let status = response.status();
            if status != StatusCode::SWITCHING_PROTOCOLS {
                return Err(ConnectError::status(status));
            }
            if protocol == Protocol::V2
                && !response
                    .headers()
                    .contains_key(header::SEC_WEBSOCKET_PROTOCOL)
            {
                return Err(ConnectError::NoSubprotocol);
            }
            let socket = response.into_websocket().await;
            socket.map_err(|error| ConnectError::of(&error))
        };
        tokio::time::timeout(CONNECT_LIMIT, connecting)
            .await
            .unwrap_or_else(|_| Err(ConnectError::Temporary("no response within 10 s".into())))
    }

    /// Reads a connection to its end. Returns `None` if the receiver of the posts is gone.
    async fn read(&mut self, mut socket: WebSocket, items: &mpsc::Sender<Item>) -> Option<Ended> {
        let version = match self.hosts[self.host].protocol {
            Protocol::V1 => Version::V1,
            Protocol::V2 | Protocol::V2WithoutSubprotocol => Version::V2,
        };
        let before = self.newest;
        let mut first = None;
        let mut pinged = false;
        let reason = loop {
            let message = match tokio::time::timeout(PING_AFTER, socket.next()).await {
                Err(_) if pinged => break "no data for 30 s".into(),
                Err(_) => {
                    pinged = true;
                    if let Err(error) = socket.send(Message::Ping(Default::default())).await {
                        break describe(&error);
                    }
                    continue;
                }
                Ok(None) => break "the server closed the stream".into(),
                Ok(Some(Err(error))) => {
                    if is_too_large(&error) {
                        self.newest = None;
                        break "the server sent a frame of more than 4 MiB; the posts between it and \
                               the next connection are lost"
                            .into();
                    }
                    break describe(&error);
                }
                Ok(Some(Ok(message))) => message,
            };
            pinged = false;
            let frame = match &message {
                Message::Text(text) => text.as_bytes(),
                Message::Binary(bytes) => bytes,
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close { reason, .. } => {
                    break format!("the server closed the stream {reason}");
                }
            };
            let cursor = match event::decode(version, frame) {
                Ok(Frame::Post(post)) => {
                    let item = match post.tweet(&mut self.filter) {
                        (tweet, true) => Item::WantsProfile(tweet),
                        (tweet, false) => Item::Ready(Ok(tweet)),
                    };
                    // The position advances only after the post was passed on.
                    items.send(item).await.ok()?;
                    Some(post.cursor)
                }
                Ok(Frame::Other(cursor)) => cursor,
                Ok(Frame::Info(notice)) => {
                    tracing::warn!(notice = shorten(&notice, 200), "notice from Bluesky");
                    None
                }
                Ok(Frame::Error(error)) => break format!("the server ended the stream: {error}"),
                Err(reason) => {
                    let error = Error::InvalidMessage {
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
        // At most half of what this connection delivered, so that a server which closes each
        // connection after a few posts does not send the same posts forever.
        self.rewind = MAX_REWIND_MICROS.min(span / 2);
        Some(Ended {
            reason,
            progressed: span > 0,
        })
    }
}

/// Why a server did not open a stream.
enum ConnectError {
    /// A retry may succeed.
    Temporary(String),
    /// The server does not support the request.
    Unsupported(String),
    /// The server opened a stream without confirming the subprotocol.
    NoSubprotocol,
}

impl ConnectError {
    fn status(status: StatusCode) -> ConnectError {
        let reason = format!("the server answered {status}");
        match status.as_u16() {
            408 | 429 | 500 | 502..=599 => ConnectError::Temporary(reason),
            _ => ConnectError::Unsupported(reason),
        }
    }

    fn of(error: &reqwest_websocket::Error) -> ConnectError {
        ConnectError::Temporary(describe(error))
    }
}

fn describe(error: &reqwest_websocket::Error) -> String {
    match error {
        reqwest_websocket::Error::Reqwest(error) => http::describe(error),
        reqwest_websocket::Error::Tungstenite(error) => format!("the connection broke: {error}"),
        reqwest_websocket::Error::Handshake(error) => format!("not a WebSocket: {error}"),
        error => error.to_string(),
    }
}

fn is_too_large(error: &reqwest_websocket::Error) -> bool {
    matches!(
        error,
        reqwest_websocket::Error::Tungstenite(tungstenite::Error::Capacity(_))
    )
}
