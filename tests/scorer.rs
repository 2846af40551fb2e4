//! Scoring that is shared between processes: each tweet is scored exactly once, whoever dies.

mod common;

use common::apache::Apache;
use common::*;
use live_sentiment::prelude::*;
use live_sentiment::tweet::Skip;
use std::collections::BTreeMap;
use std::process::{Child, Stdio};

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
fn what_cannot_be_meant_is_refused() {
    let kafka = broker();
    let error = Scorer::new(&kafka, "tweets", "tweets")
        .start()
        .err()
        .unwrap();
    assert!(error.to_string().contains("two topics"), "{error}");
}
