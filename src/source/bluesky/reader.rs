//! The reader: connects to a Jetstream, decodes and filters its posts, and reconnects.

use super::super::{connection::ConnectionWatch, feed::Outlet, http};
use super::event::{self, Frame, JetstreamCursor, POSTS, Version};
use super::profiles::Item;
use crate::backoff::Backoff;
use crate::error::Error;
use crate::filter::Filter;
use crate::notebook::shorten;
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Url};
use reqwest_websocket::{Error as WebSocketError, Message, Upgrade, WebSocket};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// The WebSocket subprotocol of version 2.
const SUBPROTOCOL: &str = "xrpc.v1.json";
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A server that sends nothing for this long gets a ping. If it then sends nothing for as long
/// again, the connection is closed.
const PING_AFTER: Duration = Duration::from_secs(15);
/// The maximum time by which a new connection starts before the newest post, in microseconds.
const MAX_REWIND_MICROS: u64 = 5_000_000;
/// The maximum size of a frame, in bytes. A larger frame ends the connection. A post has a few thousand
/// bytes.
const MAX_FRAME: usize = 4 * 1024 * 1024;
/// Each connection that ends sooner than this makes the next pause longer. Otherwise a server that closes
/// every connection after a few posts would be asked again and again without a pause.
const LASTING: Duration = Duration::from_secs(10);

pub(super) struct JetstreamReader {
    /// The servers, each with a client for it. The first one is the current one.
    hosts: Vec<(Client, Url)>,
    filter: Filter,
    watch: ConnectionWatch,
    /// The newest position that was read.
    newest: Option<JetstreamCursor>,
    /// How far before `newest` the next connection starts, in microseconds.
    rewind: u64,
}

impl JetstreamReader {
    pub(super) fn new(
        hosts: Vec<(Client, Url)>,
        filter: Filter,
        watch: ConnectionWatch,
    ) -> JetstreamReader {
        JetstreamReader {
            hosts,
            filter,
            watch,
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
            let (reason, lasted) = match self.connect().await {
                Ok((socket, version)) => {
                    self.watch.connected();
                    outlet.started();
                    match self.read(socket, version, &items).await {
                        Some(ended) => ended,
                        None => return,
                    }
                }
                Err(reason) => (reason, None),
            };
            let host = http::host_and_port(&self.hosts[0].1);
            self.watch.lost(&format!("{host}: {reason}"));
            if lasted.is_none_or(|lasted| lasted < LASTING) {
                self.hosts.rotate_left(1);
            }
            let Some(lasted) = lasted else {
                failures += 1;
                // Wait only after each server has been tried once.
                if failures % self.hosts.len() == 0 {
                    tokio::time::sleep(backoff.next()).await;
                }
                continue;
            };
            failures = 0;
            backoff.reset();
            if lasted < LASTING {
                tokio::time::sleep(pause.next()).await;
            } else {
                pause.reset();
            }
        }
    }

    /// Connects with the newest protocol that the server supports.
    async fn connect(&self) -> Result<(WebSocket, Version), String> {
        let mut last_reason = String::new();
        for (version, subprotocol) in [
            (Version::V2, Some(SUBPROTOCOL)),
            // Some servers do not confirm the subprotocol.
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
        let (client, base) = &self.hosts[0];
        let (path, parameters): (_, &[_]) = match version {
            Version::V2 => (
                "/xrpc/network.bsky.jetstream.subscribeEvents",
                &[("kinds", "commit"), ("collections", POSTS)],
            ),
            Version::V1 => ("/subscribe", &[("wantedCollections", POSTS)]),
        };
        // Without a cursor, the connection starts with the next new post.
        let cursor = self
            .newest
            .map(|JetstreamCursor(at)| at.saturating_sub(self.rewind));
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url.query_pairs_mut()
            .extend_pairs(parameters)
            .extend_pairs(cursor.map(|cursor| ("cursor", cursor.to_string())));
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
            let status = response.status();
            let reason = format!("the server answered {status}");
            match status.as_u16() {
                // Switching Protocols.
                101 => Ok(response.into_websocket().await?),
                408 | 429 | 500 | 502..=599 => Err(ConnectError::Temporary(reason)),
                _ => Err(ConnectError::Unsupported(reason)),
            }
        };
        timeout(CONNECT_LIMIT, connecting)
            .await
            .unwrap_or_else(|_| Err(ConnectError::Temporary("no response within 10 s".into())))
    }

    /// Reads a connection to its end. Returns why it ended, and how long it lasted if it delivered
    /// anything new. Returns `None` if the receiver of the posts is gone.
    async fn read(
        &mut self,
        mut socket: WebSocket,
        version: Version,
        items: &mpsc::Sender<Item>,
    ) -> Option<(String, Option<Duration>)> {
        let start = Instant::now();
        let before = self.newest;
        let mut first = None;
        let reason = loop {
            let message = match self.receive(&mut socket).await {
                Ok(message) => message,
                Err(reason) => break reason,
            };
            let frame = match &message {
                Message::Text(text) => text.as_bytes(),
                Message::Binary(bytes) => bytes,
                _ => continue,
            };
            let cursor = match event::decode(version, frame) {
                Ok(Frame::Post(post)) => {
                    let item = match post.tweet(&mut self.filter) {
                        (tweet, true) => Item::WantsProfile(tweet),
                        (tweet, false) => Item::Ready(Ok(tweet)),
                    };
                    // The position advances only after the post has been passed on.
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
        let span = match (before.max(first), self.newest) {
            (Some(JetstreamCursor(from)), Some(JetstreamCursor(to))) => to.saturating_sub(from),
            _ => 0,
        };
        // Rewind by at most half of the time that this connection delivered. Otherwise a server that
        // closes each connection after a few posts would send the same posts forever.
        self.rewind = MAX_REWIND_MICROS.min(span / 2);
        let lasted = (span > 0).then(|| start.elapsed());
        Some((reason, lasted))
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// Why the connection has ended.
    async fn receive(&mut self, socket: &mut WebSocket) -> Result<Message, String> {
        let mut received = timeout(PING_AFTER, socket.next()).await;
        if received.is_err() {
            let sent = socket.send(Message::Ping(Default::default())).await;
            sent.map_err(|error| describe(&error))?;
            received = timeout(PING_AFTER, socket.next()).await;
        }
        let received = received.map_err(|_| "no data for 30 s")?;
        match received.ok_or("the server closed the stream")? {
            Ok(Message::Close { reason, .. }) => {
                Err(format!("the server closed the stream {reason}"))
            }
            Ok(message) => Ok(message),
            Err(WebSocketError::Tungstenite(tungstenite::Error::Capacity(_))) => {
                // If the next connection started at the newest post, it would receive this frame again.
                self.newest = None;
                let reason = "the server sent a frame of more than 4 MiB; the posts between it and \
                              the next connection are lost";
                Err(reason.into())
            }
            Err(error) => Err(describe(&error)),
        }
    }
}

/// Why a server did not open a stream.
enum ConnectError {
    /// A retry may succeed.
    Temporary(String),
    /// The server does not support the request.
    Unsupported(String),
}

impl From<WebSocketError> for ConnectError {
    fn from(error: WebSocketError) -> ConnectError {
        match error {
            // For example, the server does not confirm the subprotocol.
            WebSocketError::Handshake(_) => ConnectError::Unsupported(describe(&error)),
            _ => ConnectError::Temporary(describe(&error)),
        }
    }
}

fn describe(error: &WebSocketError) -> String {
    match error {
        WebSocketError::Reqwest(error) => http::describe(error),
        WebSocketError::Tungstenite(error) => format!("the connection broke: {error}"),
        WebSocketError::Handshake(error) => format!("not a WebSocket: {error}"),
        error => error.to_string(),
    }
}
