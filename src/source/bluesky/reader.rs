//! The reader: connects to a Jetstream, decodes and filters its posts, and reconnects.

use super::super::connection::ConnectionWatch;
use super::super::feed::Outlet;
use super::super::http;
use super::event::{self, Cursor, Frame, POSTS, Version};
use super::profiles::Item;
use crate::backoff::Backoff;
use crate::error::Error;
use crate::filter::Filter;
use crate::notebook::shorten;
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, StatusCode, Url};
use reqwest_websocket::{Message, Upgrade, WebSocket};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

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
/// After each connection that ends sooner, the pause is longer, because a server that closes every
/// connection after a few posts must not be asked again and again at once.
const LASTING: Duration = Duration::from_secs(10);

/// The state of the reader.
pub(super) struct Reader {
    /// The servers, each with a client for it.
    hosts: Vec<(Client, Url)>,
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
    /// How long it lasted; `None` if it delivered nothing new, or if there was no connection.
    lasted: Option<Duration>,
}

impl Reader {
    pub(super) fn new(
        hosts: Vec<(Client, Url)>,
        filter: Filter,
        watch: &ConnectionWatch,
    ) -> Reader {
        Reader {
            hosts,
            host: 0,
            filter,
            watch: watch.clone(),
            newest: None,
            rewind: 0,
        }
    }

    /// Runs until the receiver of the posts is gone.
    pub(super) async fn run(mut self, items: mpsc::Sender<Item>, outlet: &Outlet) {
        let mut backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60));
        let mut pause = Backoff::linear(Duration::from_millis(100), Duration::from_secs(5));
        let mut failures = 0;
        loop {
            let ended = match self.connect().await {
                Ok((socket, version)) => {
                    self.watch.connected();
                    outlet.started();
                    match self.read(socket, version, &items).await {
                        Some(ended) => ended,
                        None => return,
                    }
                }
                Err(reason) => Ended {
                    reason,
                    lasted: None,
                },
            };
            let host = http::host_and_port(&self.hosts[self.host].1);
            self.watch.lost(&format!("{host}: {}", ended.reason));
            let next_host = (self.host + 1) % self.hosts.len();
            let Some(lasted) = ended.lasted else {
                failures += 1;
                self.host = next_host;
                // Wait only after each server was tried once.
                if failures % self.hosts.len() == 0 {
                    tokio::time::sleep(backoff.next()).await;
                }
                continue;
            };
            failures = 0;
            backoff.reset();
            if lasted < LASTING {
                self.host = next_host;
                tokio::time::sleep(pause.next()).await;
            } else {
                pause.reset();
            }
        }
    }

    /// Returns where the next connection starts; `None` means with the next new post.
    fn cursor(&self) -> Option<u64> {
        self.newest.map(|Cursor(at)| at.saturating_sub(self.rewind))
    }

    /// Connects with the newest protocol that the server supports.
    async fn connect(&self) -> Result<(WebSocket, Version), String> {
        let mut last_reason = String::new();
        for (version, subprotocol) in [
            (Version::V2, Some(SUBPROTOCOL)),
            // For a server that does not confirm the subprotocol.
            (Version::V2, None),
            (Version::V1, None),
        ] {
            match self.connect_with(version, subprotocol).await {
                Ok(socket) => return Ok((socket, version)),
                Err(ConnectError::Temporary(reason)) => return Err(reason),
                Err(ConnectError::Unsupported(reason)) => last_reason = reason,
            }
        }
        Err(last_reason)
    }

    async fn connect_with(
        &self,
        version: Version,
        subprotocol: Option<&str>,
    ) -> Result<WebSocket, ConnectError> {
        let (client, base) = &self.hosts[self.host];
        let (path, mut pairs) = match version {
            Version::V2 => (
                "/xrpc/network.bsky.jetstream.subscribeEvents",
                vec![
                    ("kinds", "commit".to_owned()),
                    ("collections", POSTS.into()),
                ],
            ),
            Version::V1 => ("/subscribe", vec![("wantedCollections", POSTS.to_owned())]),
        };
        if let Some(cursor) = self.cursor() {
            pairs.push(("cursor", cursor.to_string()));
        }
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(pairs);
        let mut config = tungstenite::protocol::WebSocketConfig::default();
        config.max_message_size = Some(MAX_FRAME);
        config.max_frame_size = Some(MAX_FRAME);
        let request = client
            .get(url)
            .upgrade()
            .web_socket_config(config)
            .protocols(subprotocol);
        let connecting = async {
            let response = request.send().await?;
            match response.status() {
                StatusCode::SWITCHING_PROTOCOLS => Ok(response.into_websocket().await?),
                status => Err(ConnectError::status(status)),
            }
        };
        tokio::time::timeout(CONNECT_LIMIT, connecting)
            .await
            .unwrap_or_else(|_| Err(ConnectError::Temporary("no response within 10 s".into())))
    }

    /// Reads a connection to its end. Returns `None` if the receiver of the posts is gone.
    async fn read(
        &mut self,
        mut socket: WebSocket,
        version: Version,
        items: &mpsc::Sender<Item>,
    ) -> Option<Ended> {
        let start = Instant::now();
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
                Ok(Frame::Other(cursor)) => {
                    self.watch.add_other_event();
                    cursor
                }
                Ok(Frame::Info(notice)) => {
                    self.watch.add_other_event();
                    tracing::warn!(notice = shorten(&notice, 200), "notice from Bluesky");
                    None
                }
                Ok(Frame::Error(error)) => {
                    self.watch.add_other_event();
                    break format!("the server ended the stream: {error}");
                }
                Err(reason) => {
                    let error = Error::not_a_tweet("a message of Bluesky", reason);
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
        let lasted = (span > 0).then(|| start.elapsed());
        Some(Ended { reason, lasted })
    }
}

/// Why a server did not open a stream.
enum ConnectError {
    /// A retry may succeed.
    Temporary(String),
    /// The server does not support the request.
    Unsupported(String),
}

impl ConnectError {
    fn status(status: StatusCode) -> ConnectError {
        let reason = format!("the server answered {status}");
        match status.as_u16() {
            408 | 429 | 500 | 502..=599 => ConnectError::Temporary(reason),
            _ => ConnectError::Unsupported(reason),
        }
    }
}

impl From<reqwest_websocket::Error> for ConnectError {
    fn from(error: reqwest_websocket::Error) -> ConnectError {
        match error {
            // Such as a server that does not confirm the subprotocol.
            reqwest_websocket::Error::Handshake(_) => ConnectError::Unsupported(describe(&error)),
            _ => ConnectError::Temporary(describe(&error)),
        }
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
