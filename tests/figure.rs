//! The server of the live figure: who may connect, what is sent, and that no page slows the listener.

mod common;

use common::*;
use live_sentiment::listener::Listening;
use live_sentiment::prelude::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn request(figure: &LiveFigure, path: &str, host: &str) -> TcpStream {
    let url = figure.url();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let host = host.replace("ADDRESS", address);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream
}

fn response(figure: &LiveFigure, path: &str, host: &str) -> String {
    let mut response = String::new();
    let mut stream = request(figure, path, host);
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Returns the next update of a stream of events.
fn update(events: &mut impl BufRead) -> serde_json::Value {
    loop {
        let mut line = String::new();
        assert!(
            events.read_line(&mut line).unwrap() > 0,
            "the stream of events has ended"
        );
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

/// Streams tweets and returns how many were sent.
fn stream(kafka: &Kafka, count: u64) -> u64 {
    let demo = Demo::default().as_fast_as_possible().count(count);
    let streamer = Streamer::new(&create_topic(kafka)).track(["bitcoin", "ethereum", "dogecoin"]);
    streamer.start(demo).unwrap().wait().counts.sent
}

/// Starts a listener and shows it.
fn show(figure: &LiveFigure, listener: Listener) -> Listening {
    let listening = listener.start().unwrap();
    figure.show(&listening);
    listening
}

#[test]
fn only_this_machine_may_connect_and_the_policy_is_strict() {
    let figure = LiveFigure::serve_on(0).unwrap();
    let page = response(&figure, "/", "ADDRESS");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(
        page.to_lowercase()
            .contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8050",
        "",
    ] {
        let rejected = response(&figure, "/events", host);
        assert!(rejected.starts_with("HTTP/1.1 421"), "{host:?}: {rejected}");
    }
    assert!(response(&figure, "/nothing", "ADDRESS").starts_with("HTTP/1.1 404"));
    let plotly = response(&figure, "/plotly.js", "localhost:1");
    assert!(
        plotly.len() > 1_000_000 && !plotly.contains("</script>\n"),
        "{}",
        plotly.len()
    );
}

#[test]
fn a_page_that_opens_late_receives_everything_in_200_kilobytes() {
    let kafka = broker();
    let sent = stream(&kafka, 60_000);
    let figure = LiveFigure::serve_on(0).unwrap();
    let listening = show(&figure, Listener::new(&kafka, "tweets").count(sent));
    assert!(listening.wait_for(LIMIT));
    let summary = listening.summary();
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let everything = update(&mut events);
    assert!(everything.to_string().len() < 200_000);
    assert_eq!(everything["counted"], sent);
    let lines = everything["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 4);
    let last = lines[0]["y"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .as_f64()
        .unwrap();
    assert!((last - summary.total.sum).abs() < 0.001);
    assert_eq!(everything["latest"].as_array().unwrap().len(), 20);
}

#[test]
fn an_open_page_receives_every_update() {
    let kafka = broker();
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let sent = stream(&kafka, 5_000);
    let _listening = show(&figure, Listener::new(&kafka, "tweets"));
    while update(&mut events)["counted"] != sent {}
}

#[test]
fn a_page_that_does_not_read_slows_nothing() {
    let kafka = broker();
    let sent = stream(&kafka, 150_000);
    let figure = LiveFigure::serve_on(0).unwrap();
    let stuck: Vec<TcpStream> = (0..8)
        .map(|_| request(&figure, "/events", "ADDRESS"))
        .collect();
    let listening = show(&figure, Listener::new(&kafka, "tweets").count(sent));
    assert!(listening.wait_for(LIMIT));
    assert_eq!(listening.summary().total.counted, sent);
    // A page that reads receives its updates.
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    while update(&mut events)["counted"] != sent {}
    drop(stuck);
}

#[test]
fn a_dropped_figure_stops_serving() {
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut events = request(&figure, "/events", "ADDRESS");
    let url = figure.url();
    drop(figure);
    // The stream ends, or is reset if the server had not read the request yet.
    let _ = events.read_to_end(&mut Vec::new());
    let address = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    until("the port to be free", || {
        TcpStream::connect(&address).is_err()
    });
}

#[test]
fn a_figure_shows_another_listener_when_it_is_told_to() {
    let kafka = broker();
    let sent = stream(&kafka, 500);
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let _first = show(&figure, Listener::new(&kafka, "tweets"));
    let first = loop {
        let update = update(&mut events);
        if update["counted"] == sent {
            break update["generation"].clone();
        }
    };
    let _second = show(&figure, Listener::new(&kafka, "tweets").count(100));
    while {
        let update = update(&mut events);
        update["counted"] != 100 || update["generation"] == first
    } {}
}

#[test]
fn the_snapshot_is_a_plotly_figure() {
    let kafka = broker();
    let sent = stream(&kafka, 3_000);
    let figure = LiveFigure::serve_on(0).unwrap();
    let listening = show(&figure, Listener::new(&kafka, "tweets").count(sent));
    assert!(listening.wait_for(LIMIT));
    let plot: serde_json::Value = serde_json::from_str(&figure.snapshot().to_json()).unwrap();
    let names: Vec<_> = plot["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].clone())
        .collect();
    assert_eq!(names.len(), 4);
    assert_eq!(names[0], "all topics");
    assert_eq!(plot["layout"]["yaxis"]["zeroline"], true);
}
