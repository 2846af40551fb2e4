//! Scoring that is shared between processes: each tweet is scored exactly once, whoever dies.

mod common;

use common::apache::Apache;
use common::*;
use live_sentiment::prelude::*;
use live_sentiment::tweet::Skip;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// A scorer in a process of its own; it is ended with its test.
struct Process(Child);

impl Process {
    fn start(kafka: &Kafka) -> Process {
        let mut command = example("scorer");
        command.args(["--bootstrap", kafka.address()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Process(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn topic(kafka: &Kafka, partitions: i32) {
    let config = TopicConfig {
        partitions,
        ..TopicConfig::default()
    };
    kafka.create_topic("tweets", config).unwrap();
}

#[test]
fn of_three_scorers_one_is_killed_and_each_tweet_is_scored_once() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let kafka = apache.kafka();
    topic(&kafka, 6);
    let mut scorers: Vec<_> = (0..3).map(|_| Process::start(&kafka)).collect();
    let listening = Listener::scored(&kafka, "scores").start(None).unwrap();
    let story = Story::of(40_000, Duration::from_secs(20));
    let streaming = Streamer::new(&kafka, "tweets")
        .start(story.replay())
        .unwrap();
    until("some scores", || listening.summary().total.heard > 5_000);
    // As `kill -KILL` does it.
    drop(scorers.pop());
    assert!(streaming.wait_for(LIMIT));
    story.until_heard(&listening);
    assert_eq!(listening.summary().duplicate, 0);
    // The same as without scorers.
    let own = Listener::new(&kafka, "tweets").start(None).unwrap();
    story.until_heard(&own);
}

#[test]
fn a_scorer_counts_what_is_no_tweet_and_goes_on_where_another_has_ended() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let kafka = apache.kafka();
    topic(&kafka, 2);
    let first = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    write(
        &kafka,
        "tweets",
        &[b"not json", b"{\"text\":\"good\"}", b"{}"],
    );
    until("the first", || first.status().scored == 1);
    until("the bad ones", || first.status().skipped.len() == 2);
    let status = first.stop();
    let skipped = BTreeMap::from([(Skip::NotJson, 1), (Skip::NoText, 1)]);
    assert_eq!((status.scored, status.skipped), (1, skipped));
    write(&kafka, "tweets", &[b"{\"text\":\"bad\"}"]);
    let second = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    until("the next", || second.status().scored == 1);
    let listening = Listener::scored(&kafka, "scores").start(None).unwrap();
    until_heard(&listening, 2);
    // Raw tweets have no score, which is said of each.
    let wrong = Listener::scored(&kafka, "tweets").start(None).unwrap();
    until("the reasons", || {
        wrong.summary().skipped.get(&Skip::NoScore) == Some(&2)
    });
}

#[test]
fn a_scorer_survives_the_brokers_death() {
    // So soon the broker ends the old transaction before its partitions have leaders, and leaves it
    // open there: the scorer must end it.
    let soon = (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "1000",
    );
    let Some(apache) = Apache::start(&[soon]) else {
        return;
    };
    let kafka = apache.kafka();
    topic(&kafka, 2);
    let scoring = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    let listening = Listener::scored(&kafka, "scores").start(None).unwrap();
    let story = Story::of(12_000, Duration::from_secs(1));
    let back = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // So slowly that there is always something to score, until the broker is back.
        scope.spawn(|| feed(&kafka, &story, &back));
        until("some scores", || listening.summary().total.heard > 500);
        apache.signal(0, "-KILL");
        apache.begin(0);
        apache.until_started(0);
        back.store(true, Ordering::Relaxed);
        story.until_heard(&listening);
    });
    assert_eq!(listening.summary().duplicate, 0);
    assert_eq!(scoring.stop().scored, story.count);
}

/// Writes a story into the topic, a few tweets at a time until there is hurry.
fn feed(kafka: &Kafka, story: &Story, hurry: &AtomicBool) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    let lines = std::fs::read_to_string(story.file.path()).unwrap();
    for (number, line) in (0..).zip(lines.lines()) {
        let key = format!("{}", number % 50);
        let record = BaseRecord::to("tweets").key(&key).payload(line);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        if number % 10 == 0 && !hurry.load(Ordering::Relaxed) {
            producer.poll(Duration::from_millis(20));
        }
    }
    producer.flush(LIMIT).unwrap();
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let kafka = broker();
    let error = Scorer::new(&kafka, "tweets", "tweets")
        .start()
        .err()
        .unwrap();
    assert!(error.to_string().contains("two topics"), "{error}");
}
