//! What breaks, and what must hold then. The processes are real, and so are the signals.

mod common;

use common::*;
use live_sentiment::prelude::*;
use live_sentiment::trajectory::State;
use std::net::TcpListener;
use std::time::Instant;

#[test]
fn no_broker_and_no_kafka_are_told_within_five_seconds() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    let begin = Instant::now();
    let error = Kafka::at(&address)
        .err()
        .expect("no Kafka speaks there")
        .to_string();
    assert!(
        error.contains(&address) && error.contains("did not answer as Kafka"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(5));

    drop(free);
    let error = Kafka::at(&address)
        .err()
        .expect("nothing listens there")
        .to_string();
    for word in [&address, "Kafka::start()", "KAFKA_BOOTSTRAP_SERVERS"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_taken_port_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Kafka::embedded(port)
        .err()
        .expect("the port is taken")
        .to_string();
    assert!(
        error.contains(&port.to_string()) && error.contains("make stop"),
        "{error}"
    );

    let figure = LiveFigure::serve_on(port).unwrap();
    let other: u16 = figure
        .url()
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(other > port && other < port + 20, "{other}");
}

#[test]
fn a_listener_survives_the_brokers_end_and_hears_the_next_run() {
    let kafka = broker();
    let port = kafka.address().rsplit(':').next().unwrap().parse().unwrap();
    let run = |kafka: &Kafka, count| {
        make_topic(kafka);
        let demo = Demo::default().as_fast_as_possible().count(count);
        Streamer::new(kafka, "tweets")
            .start(demo)
            .unwrap()
            .wait()
            .sent
    };
    // The listener has a handle of its own, as in the other notebook: this one ends the broker.
    let far = Kafka::at(kafka.address()).unwrap();
    let listening = Listener::new(&far, "tweets").start(None).unwrap();
    until_heard(&listening, run(&kafka, 2_000));

    drop(kafka);
    until("the loss is seen", || {
        matches!(
            listening.summary().state,
            State::Reconnecting(_) | State::Waiting(_)
        )
    });
    // More than before: the first of them lie before the offset at which the listener was.
    let kafka = Kafka::embedded(port).unwrap();
    let sent = run(&kafka, 5_000);
    until("the new run, from its first tweet", || {
        listening.summary().total.heard == sent
    });
    // Fewer than before: the offset at which the listener was does not exist.
    drop(kafka);
    until("the loss is seen", || {
        matches!(
            listening.summary().state,
            State::Reconnecting(_) | State::Waiting(_)
        )
    });
    let kafka = Kafka::embedded(port).unwrap();
    let sent = run(&kafka, 700);
    until("the third run", || listening.summary().total.heard == sent);
}

/// A source that begins when the test says so.
struct Gated {
    opened: tokio::sync::watch::Receiver<bool>,
    demo: Demo,
}

impl Source for Gated {
    fn name(&self) -> String {
        "gated demo".into()
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        self.opened.wait_for(|opened| *opened).await.unwrap();
        self.demo.next().await
    }
}

#[test]
fn a_broker_that_stops_answering_holds_the_source_back() {
    let kafka = broker_with_topic();
    let process = broker_process(kafka.address());
    let count = 160_000;
    let (open, opened) = tokio::sync::watch::channel(false);
    let demo = Demo::default().as_fast_as_possible().count(count);
    let streaming = Streamer::new(&kafka, "tweets")
        .start(Gated { opened, demo })
        .unwrap();
    signal(&process, "-STOP");
    open.send_replace(true);
    // Of its 100,000 places, reports may have taken a few.
    until("a full queue", || streaming.status().in_flight >= 99_900);
    // A source that were not held back would be at its end long before this.
    assert!(!streaming.wait_for(Duration::from_secs(2)));
    let held = streaming.status();
    assert!(held.read < count && held.failed == 0, "{held:?}");
    signal(&process, "-CONT");
    assert!(streaming.wait_for(LIMIT));
    let status = streaming.status();
    assert_eq!((status.read, status.sent, status.failed), (count, count, 0));
    let heard = Listener::new(&kafka, "tweets")
        .count(count)
        .start(None)
        .unwrap()
        .wait();
    assert_eq!(heard.total.heard, count);
}

#[test]
fn a_broker_that_is_gone_at_the_end_is_reported() {
    let kafka = broker_with_topic();
    let process = broker_process(kafka.address());
    let streaming = Streamer::new(&kafka, "tweets")
        .start(Demo::default().rate(200.0).unwrap())
        .unwrap();
    until("some tweets", || streaming.status().sent > 50);
    signal(&process, "-KILL");
    let sent = streaming.status().sent;
    until("some tweets after the broker's end", || {
        streaming.status().in_flight > 20
    });
    let begin = Instant::now();
    let status = streaming.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "the flush has a limit"
    );
    assert!(status.failed > 0 && status.sent >= sent, "{status:?}");
    assert_eq!(status.read, status.sent + status.failed, "{status:?}");
    assert!(status.last_trouble.is_some());
    // What failed is in a file, from which it can be streamed again.
    let kept = status.undelivered.unwrap();
    let again = broker();
    again
        .create_topic("tweets", TopicConfig::default())
        .unwrap();
    let replay = Replay::open(&kept).unwrap().as_fast_as_possible();
    let replayed = Streamer::new(&again, "tweets")
        .start(replay)
        .unwrap()
        .wait();
    std::fs::remove_file(kept).unwrap();
    assert_eq!((replayed.sent, replayed.skipped), (status.failed, 0));
}

#[test]
fn the_broker_dies_with_its_owner() {
    let kafka = broker();
    let process = broker_process(kafka.address());
    drop(kafka);
    let alive = std::path::Path::new("/proc").join(process).exists();
    assert!(!alive, "the broker is gone when its last handle is");
}

#[test]
fn a_log_of_many_small_batches_is_heard_to_its_end() {
    const TWEETS: u64 = 25_000;
    let kafka = broker_with_topic();
    write_one_by_one(&kafka, "tweets", br#"{"text":"I love it"}"#, TWEETS);
    let listening = Listener::new(&kafka, "tweets").start(None).unwrap();
    until_heard(&listening, TWEETS);
    // The next ones too, one by one.
    for more in 1..=3 {
        write(&kafka, "tweets", &[br#"{"text":"I love it"}"#]);
        until_heard(&listening, TWEETS + more);
    }
}
