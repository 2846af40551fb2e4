//! Mutated HTTP requests to the figure's server.

use crate::mutate::Mutator;
use crate::{Finding, Size, memory, thousands};
use common::{LIMIT, broker, create_topic, until};
use live_sentiment::prelude::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

const CLIENTS: usize = 4;
/// The first requests fill caches and buffers.
const WARM_UP: usize = 1_000;
const PATHS: [&str; 10] = [
    "/",
    "/page.js",
    "/page.css",
    "/figure.json",
    "/events",
    "/stretch?generation=1&from=0&to=9",
    "/point?generation=1&line=0&number=1",
    "/explain?generation=1&text=I%20love%20it",
    "/skipped",
    "/../../etc/passwd",
];
const HEADERS: [&str; 8] = [
    "Connection: close",
    "Content-Length: 5",
    "Content-Length: 99999999999",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Upgrade: websocket",
    "Origin: http://evil.example",
    "Accept-Encoding: gzip",
];

pub fn run(size: Size) -> Vec<Finding> {
    let kafka = broker();
    let topic = create_topic(&kafka);
    let demo = Demo::default().as_fast_as_possible().count(5_000);
    Streamer::new(&topic).start(demo).unwrap().wait();
    let listening = Listener::of(&topic).start().unwrap();
    let figure = LiveFigure::serve_on(0).unwrap();
    figure.show("audience", &listening).unwrap();
    let address = figure
        .url()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    until("the figure", || is_well(&address));

    let answered = AtomicUsize::new(0);
    send(&address, WARM_UP, 5, &answered);
    let before = memory();
    let answered = AtomicUsize::new(0);
    send(&address, size.requests, 6, &answered);
    until("the figure", || is_well(&address));
    let after = memory();
    assert!(after < before + 30, "memory: {before} and then {after} MB");
    vec![Finding {
        what: format!(
            "{} mutated HTTP requests to the figure's server",
            thousands(size.requests)
        ),
        outcome: format!(
            "{} got a response, the other connections were closed; afterwards the figure answers, and the process \
             has {after} MB (before: {before} MB)",
            thousands(answered.into_inner())
        ),
    }]
}

/// Returns whether an intact request gets the right answer.
fn is_well(address: &str) -> bool {
    let request =
        format!("GET /figure.json HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut response = Vec::new();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // The server may close a connection when it has the maximum number of connections.
    let _ = stream.read_to_end(&mut response);
    response.starts_with(b"HTTP/1.1 200")
}

fn send(address: &str, count: usize, seed: u64, answered: &AtomicUsize) {
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut mutator = Mutator::new(seed * 100 + client as u64);
                for _ in 0..count / CLIENTS {
                    let request = request(address, &mut mutator);
                    answered.fetch_add(usize::from(ask(address, &request)), Ordering::Relaxed);
                }
            });
        }
    });
}

fn request(address: &str, mutator: &mut Mutator) -> Vec<u8> {
    let method = mutator.one_of(&["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "BREW"]);
    let path = mutator.one_of(&PATHS);
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
    for _ in 0..mutator.below(4) {
        request += mutator.one_of(&HEADERS);
        request += "\r\n";
    }
    if mutator.below(20) == 0 {
        request += &format!("X-Long: {}\r\n", "x".repeat(mutator.below(100_000)));
    }
    request += "\r\nhello";
    let mut request = request.into_bytes();
    if mutator.below(4) > 0 {
        mutator.bytes(&mut request);
    }
    request
}

/// Sends a request. Returns whether the first bytes of a response came.
fn ask(address: &str, request: &[u8]) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // The server may have closed the connection already.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut first = [0; 512];
    matches!(stream.read(&mut first), Ok(length) if length > 0)
}
