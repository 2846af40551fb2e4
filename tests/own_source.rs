//! The example program with its own source, against a local server.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use common::*;
use live_sentiment::prelude::*;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn each_post_of_a_polled_address_is_streamed_once() {
    let kafka = broker();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let polls = Arc::new(AtomicU64::new(0));
    let counter = polls.clone();
    let socket = runtime.block_on(async {
        // Each answer contains all posts so far. The second answer is an error.
        let posts = move || async move {
            let poll = counter.fetch_add(1, Ordering::SeqCst);
            let post = |number: u64| {
                format!("{{\"id\":\"{number}\",\"user\":\"u{number}\",\"text\":\"I love it\"}}")
            };
            let posts: Vec<_> = (0..=poll.min(4)).map(post).collect();
            match poll {
                1 => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
                _ => (StatusCode::OK, format!("[{}]", posts.join(","))),
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let app = Router::new().route("/posts", get(posts));
            axum::serve(listener, app).await
        });
        socket
    });
    let url = format!("http://{socket}/posts");
    let mut program = example("own_source")
        .args(["--bootstrap", kafka.address(), "--url", &url])
        .args(["--pause", "0.05", "--time-span", "3600"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    until("all posts, and some repeated ones", || {
        listening.status().total.counted >= 5 && polls.load(Ordering::SeqCst) > 10
    });
    program.kill().unwrap();
    program.wait().unwrap();
    let status = listening.status();
    assert_eq!((status.total.counted, status.uncounted.duplicate), (5, 0));
}

#[test]
fn a_pause_that_no_clock_can_hold_is_refused() {
    let kafka = broker();
    let mut program = example("own_source");
    program.args([
        "--bootstrap",
        kafka.address(),
        "--url",
        "http://127.0.0.1:1/",
    ]);
    let output = program.args(["--pause", "1e19"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--pause is at most"), "{error}");
    assert!(!output.status.success());
}
