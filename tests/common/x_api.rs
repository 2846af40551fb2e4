//! A server of X's API v2 as docs.x.com documents it, which simulates faults on request.
#![allow(dead_code, reason = "each user uses a part of it")]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The response to the next request for the stream.
pub enum Plan {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Chunks of the body, split at any place, and how the body ends.
    Stream(Vec<Bytes>, End),
    /// Chunks from a channel. The connection breaks when the channel closes.
    Live(mpsc::Receiver<Bytes>),
}

#[derive(Clone, Copy, PartialEq)]
pub enum End {
    Clean,
    Cut,
    Silence,
}

#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    pub method: Method,
    pub path: String,
    pub authorization: String,
    pub body: String,
}

#[derive(Default)]
pub struct Api {
    pub plans: VecDeque<Plan>,
    /// The times of the requests for the stream.
    pub connections: Vec<Instant>,
    pub received: Vec<ReceivedRequest>,
    pub rules: Vec<Value>,
    /// The problem with which each added rule is rejected.
    pub rejects_rules: Option<String>,
    pub rejects_deletion: bool,
    /// The content encoding of the stream.
    pub encoding: Option<&'static str>,
    next_rule: u64,
}

pub type Shared = Arc<Mutex<Api>>;

/// Serves on the current runtime. Returns the base address.
pub async fn serve(api: Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(api);
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

async fn answer(State(api): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let received = ReceivedRequest {
        method: parts.method.clone(),
        path: parts.uri.to_string(),
        authorization: parts
            .headers
            .get(header::AUTHORIZATION)
            .map_or(String::new(), |value| value.to_str().unwrap().to_owned()),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let mut api = api.lock().unwrap();
    api.received.push(received.clone());
    match (parts.method, parts.uri.path()) {
        (Method::POST, "/oauth2/token") => json_answer(
            200,
            &json!({"token_type": "bearer", "access_token": "fetched-token"}),
        ),
        (Method::GET, "/2/tweets/search/stream/rules") => {
            let meta = json!({"sent": "2026-01-01T00:00:00Z", "result_count": api.rules.len()});
            // For an account without rules, the response has no `data`.
            match api.rules.is_empty() {
                true => json_answer(200, &json!({ "meta": meta })),
                false => json_answer(200, &json!({"data": api.rules, "meta": meta})),
            }
        }
        (Method::POST, "/2/tweets/search/stream/rules") => {
            change_rules(&mut api, &serde_json::from_str(&received.body).unwrap())
        }
        (Method::GET, "/2/tweets/search/stream") => {
            api.connections.push(Instant::now());
            let plan = api.plans.pop_front();
            let plan = plan.unwrap_or(Plan::Stream(Vec::new(), End::Silence));
            let mut response = stream_answer(plan);
            if let Some(encoding) = api.encoding {
                let encoding = HeaderValue::from_static(encoding);
                response
                    .headers_mut()
                    .insert(header::CONTENT_ENCODING, encoding);
            }
            response
        }
        _ => json_answer(404, &json!({"title": "Not Found"})),
    }
}

fn json_answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

fn change_rules(api: &mut Api, change: &Value) -> Response {
    if let Some(delete) = change.get("delete") {
        if api.rejects_deletion {
            return json_answer(500, &json!({"title": "Internal Server Error"}));
        }
        let ids = delete["ids"].as_array().unwrap();
        api.rules.retain(|rule| !ids.contains(&rule["id"]));
        return json_answer(200, &json!({"meta": {"summary": {"deleted": ids.len()}}}));
    }
    let add = change["add"].as_array().unwrap();
    if let Some(detail) = &api.rejects_rules {
        let errors: Vec<Value> = add
            .iter()
            .map(|rule| json!({"value": rule["value"], "details": [detail], "title": "UnprocessableEntity"}))
            .collect();
        let summary =
            json!({"created": 0, "not_created": add.len(), "valid": 0, "invalid": add.len()});
        return json_answer(
            201,
            &json!({"meta": {"summary": summary}, "errors": errors}),
        );
    }
    for rule in add {
        api.next_rule += 1;
        let mut rule = rule.clone();
        rule["id"] = json!(format!("rule-{}", api.next_rule));
        api.rules.push(rule);
    }
    json_answer(
        201,
        &json!({"data": api.rules, "meta": {"summary": {"created": add.len()}}}),
    )
}

fn stream_answer(plan: Plan) -> Response {
    match plan {
        Plan::Answer(status, headers, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Plan::Stream(chunks, end) => {
            let chunks = stream::iter(chunks.into_iter().map(Ok));
            body_answer(match end {
                End::Clean => Body::from_stream(chunks),
                End::Cut => Body::from_stream(chunks.chain(cut())),
                End::Silence => Body::from_stream(chunks.chain(stream::pending())),
            })
        }
        Plan::Live(chunks) => {
            let chunks = stream::unfold(chunks, |mut chunks| async move {
                let chunk = chunks.recv().await?;
                Some((Ok(chunk), chunks))
            });
            body_answer(Body::from_stream(chunks.chain(cut())))
        }
    }
}

fn body_answer(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// An error after a short delay. Without the delay, the server would discard data that it has not written
/// yet.
fn cut() -> impl Stream<Item = io::Result<Bytes>> {
    stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    })
}

/// A tweet as a line of the stream, including the line ending.
pub fn line(id: u64, text: &str, track: &str) -> String {
    let tweet = json!({
        "data": {
            "id": id.to_string(), "text": text, "author_id": "7", "lang": "en",
            "created_at": "2026-01-01T12:00:00.000Z", "edit_history_tweet_ids": [id.to_string()]
        },
        "includes": {"users": [{
            "id": "7", "username": "ada", "name": "Ada",
            "public_metrics": {"followers_count": 1815, "following_count": 1, "tweet_count": 1, "listed_count": 0}
        }]},
        "matching_rules": [{"id": "1", "tag": format!("live-sentiment: {track}")}]
    });
    format!("{tweet}\r\n")
}
