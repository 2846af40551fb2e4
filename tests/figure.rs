//! The live figure's server: who may ask, what is sent, and that no page can hold the listener up.

mod common;

use common::*;
use live_sentiment::prelude::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn ask(figure: &LiveFigure, path: &str, host: &str) -> TcpStream {
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

fn answer(figure: &LiveFigure, path: &str, host: &str) -> String {
    let mut answer = String::new();
    ask(figure, path, host).read_to_string(&mut answer).unwrap();
    answer
}

/// The next update of a stream of events.
fn update(events: &mut impl BufRead) -> serde_json::Value {
    loop {
        let mut line = String::new();
        assert!(
            events.read_line(&mut line).unwrap() > 0,
            "the stream has ended"
        );
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

fn streamed(kafka: &Kafka, count: u64) -> u64 {
    make_topic(kafka);
    let demo = Demo::default().as_fast_as_possible().count(count);
    let streamer = Streamer::new(kafka, "tweets").track(["bitcoin", "ethereum", "dogecoin"]);
    streamer.start(demo).unwrap().wait().sent
}

#[test]
fn only_this_machine_may_ask_and_the_policy_is_strict() {
    let figure = LiveFigure::serve_on(0).unwrap();
    let page = answer(&figure, "/", "ADDRESS");
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
        let refused = answer(&figure, "/events", host);
        assert!(refused.starts_with("HTTP/1.1 421"), "{host:?}: {refused}");
    }
    assert!(answer(&figure, "/nothing", "ADDRESS").starts_with("HTTP/1.1 404"));
    let plotly = answer(&figure, "/plotly.js", "localhost:1");
    assert!(
        plotly.len() > 1_000_000 && !plotly.contains("</script>\n"),
        "{}",
        plotly.len()
    );
}

#[test]
fn a_page_that_opens_late_gets_everything_in_200_kilobytes() {
    let kafka = broker();
    let sent = streamed(&kafka, 60_000);
    let figure = LiveFigure::serve_on(0).unwrap();
    let listening = Listener::new(&kafka, "tweets")
        .count(sent)
        .start(&figure)
        .unwrap();
    assert!(listening.wait_for(LIMIT));
    let summary = listening.summary();
    let mut events = BufReader::new(ask(&figure, "/events", "ADDRESS"));
    let everything = update(&mut events);
    assert!(everything.to_string().len() < 200_000);
    assert_eq!(everything["heard"], sent);
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
fn an_open_page_follows_to_the_last_tweet() {
    let kafka = broker();
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut events = BufReader::new(ask(&figure, "/events", "ADDRESS"));
    let sent = streamed(&kafka, 5_000);
    let _listening = Listener::new(&kafka, "tweets").start(&figure).unwrap();
    while update(&mut events)["heard"] != sent {}
}

#[test]
fn a_page_that_does_not_read_holds_nobody_up() {
    let kafka = broker();
    let sent = streamed(&kafka, 150_000);
    let figure = LiveFigure::serve_on(0).unwrap();
    let stuck: Vec<TcpStream> = (0..8).map(|_| ask(&figure, "/events", "ADDRESS")).collect();
    let listening = Listener::new(&kafka, "tweets")
        .count(sent)
        .start(&figure)
        .unwrap();
    assert!(listening.wait_for(LIMIT));
    assert_eq!(listening.summary().total.heard, sent);
    // There is room for those that do read.
    let mut events = BufReader::new(ask(&figure, "/events", "ADDRESS"));
    while update(&mut events)["heard"] != sent {}
    drop(stuck);
}

#[test]
fn a_figure_that_is_dropped_serves_no_more() {
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut events = ask(&figure, "/events", "ADDRESS");
    let url = figure.url();
    drop(figure);
    // The stream ends, or is cut where the server had not read the question yet.
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
fn the_snapshot_is_a_plotly_figure() {
    let kafka = broker();
    let sent = streamed(&kafka, 3_000);
    let figure = LiveFigure::serve_on(0).unwrap();
    let listening = Listener::new(&kafka, "tweets")
        .count(sent)
        .start(&figure)
        .unwrap();
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
