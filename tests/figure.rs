//! The server of the live figure: which requests it accepts, what it sends, and that no page slows the
//! listener.

use common::*;
use live_sentiment::listener::Listening;
use live_sentiment::prelude::*;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;

fn address(figure: &LiveFigure) -> String {
    figure.url().replace("http://", "").replace('/', "")
}

fn connect(figure: &LiveFigure) -> TcpStream {
    let stream = TcpStream::connect(address(figure)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn request(figure: &LiveFigure, path: &str, host: &str) -> TcpStream {
    let mut stream = connect(figure);
    let host = host.replace("ADDRESS", &address(figure));
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

/// Sends a request of the page to the figure. Returns the status and the answer.
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

/// What an idle connection has sent before it became idle.
#[derive(Clone, Copy, Debug)]
enum Idle {
    Nothing,
    HalfOfAHead,
    HalfOfABody,
    OneRequest,
}

const IDLE: [Idle; 4] = [
    Idle::Nothing,
    Idle::HalfOfAHead,
    Idle::HalfOfABody,
    Idle::OneRequest,
];

/// Opens a connection and leaves it idle.
fn idle(figure: &LiveFigure, kind: Idle) -> TcpStream {
    let mut stream = connect(figure);
    let host = address(figure);
    match kind {
        Idle::Nothing => {}
        Idle::HalfOfAHead => write!(stream, "GET / HTTP/1.1\r\nHo").unwrap(),
        Idle::HalfOfABody => {
            write!(
                stream,
                "GET / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\nhalf"
            )
            .unwrap();
        }
        Idle::OneRequest => ask_again(&mut stream, &host),
    }
    stream
}

/// Makes a request and reads the response. The connection stays open.
fn ask_again(stream: &mut TcpStream, host: &str) {
    write!(stream, "GET /figure.json HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let head = head(stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (_, length) = head.split_once("content-length: ").unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).unwrap();
}

/// Reads only the head of a response.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// Waits for the end of a connection, and ignores the data before it.
fn until_closed(stream: &mut TcpStream) {
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

/// Returns whether the server has closed an idle connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let received = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !matches!(received, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn idle_connections_do_not_block_a_request() {
    let figure = LiveFigure::serve_on(0).unwrap();
    for kind in IDLE {
        for count in [64, 200] {
            let connections: Vec<_> = (0..count).map(|_| idle(&figure, kind)).collect();
            let page = response(&figure, "/", "ADDRESS");
            assert!(page.starts_with("HTTP/1.1 200"), "{count} {kind:?}: {page}");
            drop(connections);
        }
    }
}

#[test]
fn the_connection_with_the_oldest_request_gives_way_and_no_other() {
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut connections: Vec<_> = (0..64).map(|_| idle(&figure, Idle::OneRequest)).collect();
    // Now the second connection has the oldest request.
    ask_again(&mut connections[0], &address(&figure));
    let newest = idle(&figure, Idle::OneRequest);
    until("the connection to be closed", || {
        is_closed(&mut connections[1])
    });
    connections.push(newest);
    for (number, connection) in connections.iter_mut().enumerate() {
        assert_eq!(is_closed(connection), number == 1, "connection {number}");
    }
}

#[test]
fn a_client_in_use_keeps_its_connection() {
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut client = idle(&figure, Idle::OneRequest);
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(idle(&figure, Idle::HalfOfAHead));
        ask_again(&mut client, &address(&figure));
    }
}

#[test]
fn idle_and_slow_connections_end() {
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut connections = IDLE.map(|kind| idle(&figure, kind));
    let mut slow = idle(&figure, Idle::HalfOfAHead);
    slow.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    // Send one byte per second. The head never ends.
    until("the slow connection to be closed", || {
        let closed = slow.write_all(b"x").is_err();
        closed || matches!(slow.read(&mut [0; 64]), Ok(0))
    });
    connections.iter_mut().for_each(until_closed);
}

#[test]
fn open_pages_stay_while_idle_connections_give_way() {
    let kafka = broker();
    let sent = stream(&kafka, 100);
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut pages = Vec::new();
    // Open pages until the server refuses one.
    let refused = loop {
        let mut page = request(&figure, "/events", "ADDRESS");
        let head = head(&mut page);
        if head.starts_with("HTTP/1.1 503") {
            break head;
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        pages.push(page);
        assert!(pages.len() <= 64);
    };
    assert_eq!(pages.len(), 48, "{refused}");
    for kind in IDLE {
        let _connections: Vec<_> = (0..200).map(|_| idle(&figure, kind)).collect();
        let page = response(&figure, "/", "ADDRESS");
        assert!(page.starts_with("HTTP/1.1 200"), "{kind:?}: {page}");
    }
    // Every page is open, and receives new tweets.
    let _listening = show(&figure, "audience", Listener::new(&kafka, "tweets"));
    let mut pages: Vec<_> = pages.into_iter().map(BufReader::new).collect();
    for page in &mut pages {
        while first(page)["counted"] != sent {}
    }
    // After one page is closed, another one can be opened.
    drop(pages.pop());
    until("a place for another page", || {
        let mut page = request(&figure, "/events", "ADDRESS");
        head(&mut page).starts_with("HTTP/1.1 200")
    });
}

#[test]
fn a_connection_that_does_not_read_ends() {
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut stuck = connect(&figure);
    let request = format!(
        "GET /plotly.js HTTP/1.1\r\nHost: {}\r\n\r\n",
        address(&figure)
    );
    // The responses are larger than the buffers of the operating system.
    stuck.write_all(request.repeat(16).as_bytes()).unwrap();
    // The operating system refuses a byte for a closed socket.
    until("the connection to be closed", || {
        stuck.write_all(b"x").is_err()
    });
}

#[test]
fn a_dropped_figure_stops_serving() {
    let figure = LiveFigure::serve_on(0).unwrap();
    let mut events = request(&figure, "/events", "ADDRESS");
    let mut connections = IDLE.map(|kind| idle(&figure, kind));
    let address = address(&figure);
    drop(figure);
    // The stream ends, or is reset if the server had not read the request yet.
    until_closed(&mut events);
    connections.iter_mut().for_each(until_closed);
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
    // This is a question about a listener that is no longer shown.
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

    // Ask for the tweet of the last point, and for the explanation of its score.
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
        // This is before the first tweet.
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
    // An address may have at most 65,534 bytes.
    let refused = response(&figure, &question(70_000), "ADDRESS");
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    // The server closes the connection while the client is still sending, so its answer may be lost.
    let mut stream = connect(&figure);
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
