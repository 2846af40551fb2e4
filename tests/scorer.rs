//! Scoring in several processes: each tweet is scored exactly once, whichever process fails.

mod common;

use common::apache::Apache;
use common::*;
use live_sentiment::prelude::*;
use live_sentiment::tweet::Skip;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn each_tweet_is_scored_once_although_one_of_three_scorers_is_killed() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let kafka = apache.kafka();
    let topic = create_topic_with(&kafka, 6);
    let mut scorers: Vec<_> = (0..3)
        .map(|_| Program::start("scorer", &kafka, &[]))
        .collect();
    let listening = Listener::scored(&kafka, "scores").start().unwrap();
    let story = Story::of(40_000, Duration::from_secs(20));
    let streaming = Streamer::new(&topic).start(story.replay()).unwrap();
    until("some scores", || listening.status().total.counted > 5_000);
    scorers.pop().unwrap().kill();
    assert!(streaming.wait_for(LIMIT));
    story.until_counted(&listening);
    assert_eq!(listening.status().uncounted.duplicate, 0);
    // The sum without scorers is the same.
    let own = Listener::new(&kafka, "tweets").start().unwrap();
    story.until_counted(&own);
}

#[test]
fn a_scorer_counts_invalid_messages_and_continues_where_another_ended() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let kafka = apache.kafka();
    create_topic_with(&kafka, 2);
    let first = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    write(
        &kafka,
        "tweets",
        &[b"not json", b"{\"text\":\"good\"}", b"{}"],
    );
    until("the first", || first.status().scored == 1);
    until("the invalid ones", || first.status().skipped.len() == 2);
    // The positions of both partitions together: the three messages.
    until("the lag of its partitions", || {
        let lag = first.status().lag;
        let positions: i64 = lag.iter().map(|one| one.position).sum();
        lag.len() == 2 && positions == 3 && lag.iter().all(|one| one.lag == 0)
    });
    assert_eq!(first.status().to_json()["lag"][1]["partition"], 1);
    let status = first.stop();
    let skipped = BTreeMap::from([(Skip::NotJson, 1), (Skip::NoText, 1)]);
    assert_eq!((status.scored, status.skipped), (1, skipped));
    write(&kafka, "tweets", &[b"{\"text\":\"bad\"}"]);
    let second = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    until("the next", || second.status().scored == 1);
    let listening = Listener::scored(&kafka, "scores").start().unwrap();
    until_counted(&listening, 2);
    // Tweets without a score are skipped for that reason.
    let wrong = Listener::scored(&kafka, "tweets").start().unwrap();
    until("the reasons", || {
        wrong.status().uncounted.skipped.get(&Skip::NoScore) == Some(&2)
    });
}

#[test]
fn a_scorer_survives_a_broker_restart() {
    // With this interval, the broker aborts the old transaction before its partitions have leaders,
    // and leaves it open there: the scorer must end it.
    let early_abort = (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "1000",
    );
    let Some(apache) = Apache::start(&[early_abort]) else {
        return;
    };
    let kafka = apache.kafka();
    create_topic_with(&kafka, 2);
    let scoring = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    let listening = Listener::scored(&kafka, "scores").start().unwrap();
    let story = Story::of(12_000, Duration::from_secs(1));
    let back = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Slow enough that there is always something to score until the broker is back.
        scope.spawn(|| feed(&kafka, &story, &back));
        until("some scores", || listening.status().total.counted > 500);
        apache.signal(0, "-KILL");
        apache.begin(0);
        apache.until_started(0);
        back.store(true, Ordering::Relaxed);
        story.until_counted(&listening);
    });
    assert_eq!(listening.status().uncounted.duplicate, 0);
    assert_eq!(scoring.stop().scored, story.count);
}

/// Writes a story to the topic, a few tweets at a time until `fast` is set.
fn feed(kafka: &Kafka, story: &Story, fast: &AtomicBool) {
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
        if number % 10 == 0 && !fast.load(Ordering::Relaxed) {
            producer.poll(Duration::from_millis(20));
        }
    }
    producer.flush(LIMIT).unwrap();
}

#[test]
fn a_transaction_is_bounded_by_its_bytes() {
    const TWEETS: u64 = 60;
    let Some(apache) = Apache::start(&[("message.max.bytes", "4000000")]) else {
        return;
    };
    let kafka = apache.kafka();
    create_topic_with(&kafka, 1);
    let text = "I love it. ".repeat(90_000);
    let message = format!("{{\"text\":\"{text}\"}}");
    write_many(&kafka, "tweets", message.as_bytes(), TWEETS);
    let scoring = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    until("all scores", || scoring.status().scored == TWEETS);
    // 60 messages of 0.99 MB, and 16 MiB in a transaction at most.
    let status = scoring.stop();
    assert!(status.transactions >= 4, "{status:?}");
}

#[test]
fn invalid_arguments_are_rejected() {
    let kafka = broker();
    let error = Scorer::new(&kafka, "tweets", "tweets")
        .start()
        .err()
        .unwrap();
    assert!(error.to_string().contains("two topics"), "{error}");
}
