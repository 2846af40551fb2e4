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

/// Returns the next update of the first listener.
fn first(events: &mut impl BufRead) -> serde_json::Value {
    update(events)["listeners"][0].clone()
}

/// Asks the figure as the page does. Returns the status and the answer.
fn ask(figure: &LiveFigure, question: &str) -> (u16, serde_json::Value) {
    let response = response(figure, question, "ADDRESS");
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// Streams tweets and returns how many were sent.
fn stream(kafka: &Kafka, count: u64) -> u64 {
    let demo = Demo::default().as_fast_as_possible().count(count);
    let streamer = Streamer::new(&create_topic(kafka)).track(["bitcoin", "ethereum", "dogecoin"]);
    streamer.start(demo).unwrap().wait().counts.sent
}

/// Starts a listener and shows it.
fn show(figure: &LiveFigure, name: &str, listener: Listener) -> Listening {
    let listening = listener.start().unwrap();
    figure.show(name, &listening).unwrap();
    listening
}

/// Returns a figure that shows a listener which has counted this many tweets.
fn counted(kafka: &Kafka, count: u64) -> (LiveFigure, Listening) {
    let sent = stream(kafka, count);
    let figure = LiveFigure::serve_on(0).unwrap();
    let listening = show(
        &figure,
        "audience",
        Listener::new(kafka, "tweets").count(sent),
    );
    assert!(listening.wait_for(LIMIT));
    (figure, listening)
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
        "127.0.0.1:evil",
        "127.0.0.1:80@evil.example",
        "evil@127.0.0.1",
        "",
    ] {
        let rejected = response(&figure, "/", host);
        assert!(rejected.starts_with("HTTP/1.1 421"), "{host:?}: {rejected}");
    }
    let rejected = response(&figure, "http://evil.example/", "ADDRESS");
    assert!(rejected.starts_with("HTTP/1.1 421"), "{rejected}");
    for hosts in ["ADDRESS\r\nHost: evil.example", "ADDRESS\r\nHost: ADDRESS"] {
        let rejected = response(&figure, "/", hosts);
        assert!(
            rejected.starts_with("HTTP/1.1 400"),
            "{hosts:?}: {rejected}"
        );
    }
    for host in ["127.0.0.1", "LOCALHOST", "LocalHost:8050"] {
        let page = response(&figure, "/", host);
        assert!(page.starts_with("HTTP/1.1 200"), "{host:?}: {page}");
    }
    let page = response(&figure, "http://localhost/", "ADDRESS");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(response(&figure, "/nothing", "ADDRESS").starts_with("HTTP/1.1 404"));
    let plotly = response(&figure, "/plotly.js", "localhost:1");
    assert!(
        plotly.len() > 1_000_000 && !plotly.contains("</script>\n"),
        "{}",
        plotly.len()
    );
}

#[test]
fn a_page_with_three_listeners_that_opens_late_receives_everything_in_400_kilobytes() {
    let kafka = broker();
    let sent = stream(&kafka, 60_000);
    let figure = LiveFigure::serve_on(0).unwrap();
    let names = ["audience", "compound", "shouting"];
    let listening = names.map(|name| {
        let listener = Listener::new(&kafka, "tweets").count(sent);
        show(&figure, name, listener)
    });
    assert!(listening.iter().all(|listening| listening.wait_for(LIMIT)));
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let everything = update(&mut events);
    let bytes = everything.to_string().len();
    assert!(bytes < 400_000, "{bytes} bytes");
    let listeners = everything["listeners"].as_array().unwrap();
    assert_eq!(listeners.len(), 3);
    for ((update, listening), name) in listeners.iter().zip(&listening).zip(names) {
        assert_eq!(
            (&update["name"], &update["counted"]),
            (&name.into(), &sent.into())
        );
        let lines = update["lines"].as_array().unwrap();
        assert_eq!(lines.len(), 4);
        let points = lines[0]["y"].as_array().unwrap();
        let last = points.last().unwrap().as_f64().unwrap();
        assert!((last - listening.status().total.sum).abs() < 0.001);
        assert_eq!(update["latest"].as_array().unwrap().len(), 20);
    }
}

#[test]
fn an_open_page_receives_every_update() {
    let kafka = broker();
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let sent = stream(&kafka, 5_000);
    let _listening = show(&figure, "audience", Listener::new(&kafka, "tweets"));
    while first(&mut events)["counted"] != sent {}
}

#[test]
fn a_page_that_does_not_read_slows_nothing() {
    let kafka = broker();
    let sent = stream(&kafka, 150_000);
    let figure = LiveFigure::serve_on(0).unwrap();
    let stuck: Vec<TcpStream> = (0..8)
        .map(|_| request(&figure, "/events", "ADDRESS"))
        .collect();
    let listening = show(
        &figure,
        "audience",
        Listener::new(&kafka, "tweets").count(sent),
    );
    assert!(listening.wait_for(LIMIT));
    assert_eq!(listening.status().total.counted, sent);
    // A page that reads receives its updates.
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    while first(&mut events)["counted"] != sent {}
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
fn a_listener_takes_the_place_of_another_one_of_its_name() {
    let kafka = broker();
    let sent = stream(&kafka, 500);
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let _one = show(&figure, "audience", Listener::new(&kafka, "tweets"));
    let generation = loop {
        let update = first(&mut events);
        if update["counted"] == sent {
            break update["generation"].clone();
        }
    };
    let _other = show(
        &figure,
        "audience",
        Listener::new(&kafka, "tweets").count(100),
    );
    while {
        let update = first(&mut events);
        update["counted"] != 100 || update["generation"] == generation
    } {}
    // A question about the listener that is no longer shown.
    let stale = format!("/stretch?generation={generation}&from=0&to=9");
    assert_eq!(ask(&figure, &stale).0, 410);
}

#[test]
fn a_second_listener_catches_up_while_the_first_goes_on() {
    let kafka = broker();
    let topic = create_topic(&kafka);
    let demo = Demo::default().rate(300.0).unwrap();
    let streaming = Streamer::new(&topic).start(demo).unwrap();
    let figure = LiveFigure::serve_on(0).unwrap();
    let one = show(&figure, "audience", Listener::new(&kafka, "tweets"));
    until("the first listener to count", || {
        one.status().total.counted > 200
    });
    let other = show(&figure, "compound", Listener::new(&kafka, "tweets"));
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let before = one.status().total.counted;
    let counted = loop {
        let update = update(&mut events);
        let counts = [0, 1].map(|index| update["listeners"][index]["counted"].as_u64());
        if let [Some(a), Some(b)] = counts
            && a > before
            && b > before
        {
            break b;
        }
    };
    assert!(counted > 200, "the second one started from the earliest");
    let sent = streaming.stop().counts.sent;
    until("both to count everything", || {
        [&one, &other].map(|listening| listening.status().total.counted) == [sent, sent]
    });
}

#[test]
fn a_figure_refuses_a_listener_without_a_name_and_a_fifth_one() {
    let kafka = broker();
    stream(&kafka, 10);
    let figure = LiveFigure::serve_on(0).unwrap();
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    for name in ["", "  ", "a name that is longer than 32 characters"] {
        let error = figure.show(name, &listening).unwrap_err().to_string();
        assert!(error.contains("1 to 32 characters"), "{error}");
    }
    for name in ["one", "two", "three", "four", "one"] {
        figure.show(name, &listening).unwrap();
    }
    let error = figure.show("five", &listening).unwrap_err().to_string();
    assert!(error.contains("four listeners already"), "{error}");
}

#[test]
fn a_stretch_names_its_change_its_tweets_and_its_words() {
    let kafka = broker();
    let (figure, listening) = counted(&kafka, 20_000);
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let update = first(&mut events);
    let generation = &update["generation"];
    let (status, all) = ask(
        &figure,
        &format!(
            "/stretch?generation={generation}&from=0&to={}",
            i64::MAX / 2
        ),
    );
    assert_eq!(status, 200, "{all}");
    let total = listening.status().total;
    assert_eq!(all["lines"][0]["counted"], total.counted);
    let change = all["lines"][0]["change"].as_f64().unwrap();
    assert!((change - total.sum).abs() < 1e-6);
    let metric = |tweet: &serde_json::Value| tweet["metric"].as_f64().unwrap().abs();
    let movers = all["movers"].as_array().unwrap();
    assert_eq!(movers.len(), 10);
    assert!(movers.is_sorted_by(|a, b| metric(a) >= metric(b)));
    let words = all["words"].as_array().unwrap();
    assert_eq!(words.len(), 10);
    assert!(words.iter().all(|word| word["total"] != 0.0));

    // The tweet of the last point, and why it has its score.
    let line = &update["lines"][0];
    let (at, sum) = (
        line["x"].as_array().unwrap().last().unwrap(),
        line["y"].as_array().unwrap().last().unwrap(),
    );
    let (status, point) = ask(
        &figure,
        &format!("/point?generation={generation}&line=0&at={at}&sum={sum}"),
    );
    assert_eq!(status, 200, "{point}");
    assert!((point["sum"].as_f64().unwrap() - total.sum).abs() < 1e-6);
    let text = movers[0]["text"].as_str().unwrap();
    let text: String = reqwest::Url::parse_with_params("http://x/", [("text", text)])
        .unwrap()
        .query()
        .unwrap()
        .into();
    let (status, why) = ask(&figure, &format!("/explain?generation={generation}&{text}"));
    assert_eq!(status, 200, "{why}");
    assert_eq!(why["compound"], movers[0]["compound"]);
    assert!(!why["words"].as_array().unwrap().is_empty());
}

#[test]
fn skipped_messages_are_shown_with_an_example() {
    let kafka = broker();
    let topic = create_topic(&kafka);
    write(&kafka, topic.name(), &[b"<b>not a tweet</b>\x00\xff"]);
    let figure = LiveFigure::serve_on(0).unwrap();
    let listening = show(&figure, "audience", Listener::new(&kafka, "tweets"));
    until("the message to be skipped", || {
        listening.status().uncounted.skipped.len() == 1
    });
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let generation = first(&mut events)["generation"].clone();
    let (status, reasons) = ask(&figure, &format!("/skipped?generation={generation}"));
    assert_eq!(status, 200);
    assert_eq!(reasons[0]["count"], 1);
    let example = reasons[0]["example"].as_str().unwrap();
    assert!(example.contains("<b>not a tweet</b>"), "{example}");
}

#[test]
fn bad_questions_get_an_error() {
    let kafka = broker();
    let (figure, _listening) = counted(&kafka, 100);
    let mut events = BufReader::new(request(&figure, "/events", "ADDRESS"));
    let generation = first(&mut events)["generation"].clone();
    let questions = [
        ("/stretch".to_owned(), 400),
        (
            format!("/stretch?generation={generation}&from=x&to=99999999999999999999"),
            400,
        ),
        // Before the first tweet.
        (format!("/stretch?generation={generation}&from=0&to=9"), 404),
        (
            format!(
                "/point?generation={generation}&line=77&at={}&sum=NaN",
                i64::MIN
            ),
            404,
        ),
        ("/skipped?generation=18446744073709551615".to_owned(), 410),
        (
            format!("/explain?generation={generation}&text=%ff%00%F0"),
            200,
        ),
    ];
    for (question, expected) in questions {
        let (status, answer) = ask(&figure, &question);
        assert_eq!(status, expected, "{question}: {answer}");
        assert_eq!(status == 200, answer.get("error").is_none(), "{answer}");
    }
    let question = |length| {
        let text = "x".repeat(length);
        format!("/explain?generation={generation}&text={text}")
    };
    // An address may have 65,534 bytes.
    let refused = response(&figure, &question(70_000), "ADDRESS");
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    // The server closes the connection while more is being sent, so nobody may hear its answer.
    let address = figure.url().replace("http://", "").replace('/', "");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    let _ = write!(stream, "GET {} HTTP/1.1\r\n", question(1 << 20));
    assert_eq!(ask(&figure, &question(10)).0, 200);
}

#[test]
fn the_snapshot_is_a_plotly_figure() {
    let kafka = broker();
    let (figure, _listening) = counted(&kafka, 3_000);
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
