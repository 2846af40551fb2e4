//! A Jetstream server in both versions, and an AppView server with profiles. Both simulate faults on request.
#![allow(dead_code, reason = "each user uses a part of it")]

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::time::Instant;

#[derive(Clone, Copy, PartialEq)]
pub enum Speaks {
    V2,
    /// Version 2, without confirming the subprotocol.
    V2Unnamed,
    V1,
}

#[derive(Clone, Copy, PartialEq)]
pub enum ProfilesAre {
    There,
    Missing,
    Refused(u16),
    Hanging,
}

/// An event of the log. Events are in chronological order.
#[derive(Clone)]
pub enum Event {
    /// A post, with the number of its author and its text.
    Post(u64, String),
    /// A complete frame.
    Raw(String),
}

pub struct Jetstream {
    pub speaks: Speaks,
    /// The event at index n has the time `time(n)`.
    pub log: Vec<Event>,
    /// The index at which a reader without a cursor starts.
    pub tip: usize,
    /// Each connection breaks after this many frames.
    pub cut_after: Option<usize>,
    /// A change breaks all connections.
    pub generation: u64,
    /// If set, the stream neither sends nor reads anything after the log.
    pub silent: bool,
    /// The status codes of the responses to the next requests.
    pub answers: Vec<u16>,
    pub profiles: ProfilesAre,
    pub connections: Vec<(Instant, Option<u64>)>,
    pub profile_calls: Vec<usize>,
}

impl Default for Jetstream {
    fn default() -> Self {
        Jetstream {
            speaks: Speaks::V2,
            log: Vec::new(),
            tip: 0,
            cut_after: None,
            generation: 0,
            silent: false,
            answers: Vec::new(),
            profiles: ProfilesAre::There,
            connections: Vec::new(),
            profile_calls: Vec::new(),
        }
    }
}

pub type Shared = Arc<Mutex<Jetstream>>;

/// Returns the time of the event at an index of the log, in microseconds since 1970. Two events are a
/// millisecond apart.
pub fn time(index: usize) -> u64 {
    1_767_225_600_000_000 + 1_000 * index as u64
}

/// Serves on the current runtime. Returns the base address.
pub async fn serve(jetstream: Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/xrpc/network.bsky.jetstream.subscribeEvents", get(v2))
        .route("/subscribe", get(v1))
        .route("/xrpc/app.bsky.actor.getProfiles", get(profiles))
        .with_state(jetstream);
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

async fn v2(
    State(jetstream): State<Shared>,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    let speaks = jetstream.lock().unwrap().speaks;
    let query = query.unwrap_or_default();
    if speaks == Speaks::V1 {
        return StatusCode::NOT_FOUND.into_response();
    }
    assert!(query.contains("kinds=commit") && query.contains("collections=app.bsky.feed.post"));
    let upgrade = match speaks {
        Speaks::V2 => upgrade.protocols(["xrpc.v1.json"]),
        _ => upgrade,
    };
    connect(jetstream, &query, upgrade)
}

async fn v1(
    State(jetstream): State<Shared>,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    let query = query.unwrap_or_default();
    assert!(query.contains("wantedCollections=app.bsky.feed.post"));
    connect(jetstream, &query, upgrade)
}

fn connect(jetstream: Shared, query: &str, upgrade: WebSocketUpgrade) -> Response {
    let cursor = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("cursor="))
        .map(|cursor| cursor.parse::<u64>().unwrap());
    let mut state = jetstream.lock().unwrap();
    state.connections.push((Instant::now(), cursor));
    if !state.answers.is_empty() {
        let status = state.answers.remove(0);
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    drop(state);
    upgrade.on_upgrade(move |socket| send(jetstream, cursor, socket))
}

async fn send(jetstream: Shared, cursor: Option<u64>, mut socket: WebSocket) {
    let (begin, cut_after, generation) = {
        let state = jetstream.lock().unwrap();
        let behind = |cursor| (0..state.log.len()).find(|index| time(*index) >= cursor);
        let begin = cursor.map_or(state.tip, |cursor| {
            behind(cursor).unwrap_or(state.log.len())
        });
        (begin, state.cut_after, state.generation)
    };
    let mut index = begin;
    loop {
        if cut_after.is_some_and(|frames| index - begin >= frames) {
            // Close without a handshake, like a broken network.
            return;
        }
        let next = {
            let state = jetstream.lock().unwrap();
            if state.generation != generation {
                return;
            }
            let frame = state
                .log
                .get(index)
                .map(|event| frame(state.speaks, index, event));
            (frame, state.silent)
        };
        match next {
            (Some(frame), _) => {
                index += 1;
                if socket.send(Message::Text(frame.into())).await.is_err() {
                    return;
                }
            }
            (None, true) => std::future::pending().await,
            (None, false) => {
                // Reading answers pings.
                let more = tokio::time::sleep(std::time::Duration::from_millis(20));
                tokio::select! {
                    message = socket.recv() => if !matches!(message, Some(Ok(_))) { return },
                    () = more => {}
                }
            }
        }
    }
}

pub fn frame(speaks: Speaks, index: usize, event: &Event) -> String {
    let (author, text) = match event {
        Event::Raw(frame) => return frame.clone(),
        Event::Post(author, text) => (author, text),
    };
    let record = json!({
        "$type": "app.bsky.feed.post", "text": text, "langs": ["en"],
        "createdAt": "2026-01-01T00:00:00.000Z"
    });
    let (did, rkey, time) = (did(*author), format!("rkey{index}"), time(index));
    match speaks {
        Speaks::V1 => json!({
            "did": did, "time_us": time, "kind": "commit",
            "commit": {
                "rev": "3l3qo2vutsw2b", "operation": "create", "collection": "app.bsky.feed.post",
                "rkey": rkey, "record": record, "cid": "bafy"
            }
        }),
        Speaks::V2 | Speaks::V2Unnamed => {
            let at = rfc3339(time);
            json!({"$type": "message", "payload": {
                "$type": "network.bsky.jetstream.subscribeEvents#commit", "seq": index + 1,
                "did": did, "time": at, "witnessedAt": at, "rev": "3l3qo2vutsw2b",
                "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
                "record": record, "cid": "bafy"
            }})
        }
    }
    .to_string()
}

fn rfc3339(micros: u64) -> String {
    let since = micros - 1_767_225_600_000_000;
    let (seconds, rest) = (since / 1_000_000, since % 1_000_000);
    assert!(seconds < 3_600);
    format!(
        "2026-01-01T00:{:02}:{:02}.{rest:06}Z",
        seconds / 60,
        seconds % 60
    )
}

pub fn did(author: u64) -> String {
    format!("did:plc:author{author}")
}

async fn profiles(
    State(jetstream): State<Shared>,
    RawQuery(query): RawQuery,
    _headers: HeaderMap,
) -> Response {
    let actors: Vec<String> = query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.strip_prefix("actors="))
        .map(|did| did.replace("%3A", ":"))
        .collect();
    let are = {
        let mut state = jetstream.lock().unwrap();
        state.profile_calls.push(actors.len());
        state.profiles
    };
    assert!((1..=25).contains(&actors.len()));
    match are {
        ProfilesAre::Refused(status) => {
            // This time is in the distant past.
            let reset = [("ratelimit-reset", i64::MIN.to_string())];
            (StatusCode::from_u16(status).unwrap(), reset).into_response()
        }
        ProfilesAre::Hanging => std::future::pending().await,
        ProfilesAre::Missing => json!({"profiles": []}).to_string().into_response(),
        ProfilesAre::There => {
            let profile = |did: &String| -> Value {
                let number: u64 = did.trim_start_matches("did:plc:author").parse().unwrap();
                json!({"did": did, "handle": format!("author{number}.bsky.social"), "followersCount": number})
            };
            let profiles: Vec<Value> = actors.iter().map(profile).collect();
            json!({ "profiles": profiles }).to_string().into_response()
        }
    }
}
