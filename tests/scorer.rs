//! Scoring in several processes: each tweet is scored exactly once, even if a process fails.

use common::apache::{Apache, shared};
use common::*;
use live_sentiment::prelude::*;
use live_sentiment::tweet::Skip;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminOptions;
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
    // The positions of both partitions together are the number of messages.
    let is_at = |messages| {
        let lag = first.status().lag;
        let positions: i64 = lag.iter().map(|one| one.position).sum();
        lag.len() == 2 && positions == messages && lag.iter().all(|one| one.lag == 0)
    };
    until("the lag of its partitions", || is_at(3));
    for more in 1..=3 {
        write(&kafka, "tweets", &[b"{\"text\":\"good\"}"]);
        until("the lag after one more", || is_at(3 + more));
    }
    assert_eq!(first.status().to_json()["lag"][1]["partition"], 1);
    let status = first.stop();
    let skipped = BTreeMap::from([(Skip::NotJson, 1), (Skip::NoText, 1)]);
    assert_eq!((status.scored, status.skipped), (4, skipped));
    write(&kafka, "tweets", &[b"{\"text\":\"bad\"}"]);
    let second = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    until("the next", || second.status().scored == 1);
    let listening = Listener::scored(&kafka, "scores").start().unwrap();
    until_counted(&listening, 5);
    // Tweets without a score are skipped.
    let wrong = Listener::scored(&kafka, "tweets").start().unwrap();
    until("the reasons", || {
        wrong.status().uncounted.skipped.get(&Skip::NoScore) == Some(&5)
    });
}

#[test]
fn a_scorer_survives_a_broker_restart() {
    // With this interval, the broker aborts the old transaction before its partitions have leaders, and
    // leaves it open in the partitions. The scorer must end it.
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
        // Slow enough that some tweets are still unscored when the broker is back.
        scope.spawn(|| feed(&kafka, &story, &back));
        until("some scores", || listening.status().total.counted > 500);
        apache.signal(0, "-KILL");
        apache.begin(0);
        apache.until_started(0);
        back.store(true, Ordering::Relaxed);
        story.until_counted(&listening);
    });
    assert_eq!(listening.status().uncounted.duplicate, 0);
    until("no error", || scoring.status().last_error.is_none());
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
    // 60 messages of 0.99 MB. A transaction has at most 16 MiB.
    let status = scoring.stop();
    assert!(status.transactions >= 4, "{status:?}");
}

/// Writes tweets with these ids to one partition.
fn write_to(kafka: &Kafka, topic: &str, partition: i32, ids: std::ops::Range<u64>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap();
    for id in ids {
        let tweet = format!("{{\"id\":\"{id}\",\"user\":\"{partition}\",\"text\":\"good\"}}");
        let record = BaseRecord::<(), _>::to(topic)
            .partition(partition)
            .payload(&tweet);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

/// Returns the ids of the scores, and whether each score is in the partition of its tweet.
fn ids(kafka: &Kafka, scores: &str) -> (Vec<u64>, bool) {
    let scores = committed(kafka, scores);
    let in_its_partition = |(partition, tweet): &(i32, serde_json::Value)| {
        tweet["user"].as_str().unwrap() == partition.to_string()
    };
    let copartitioned = scores.iter().all(in_its_partition);
    let ids = scores.iter().map(|(_, tweet)| &tweet["id"]);
    let mut ids: Vec<u64> = ids
        .map(|id| id.as_str().unwrap().parse().unwrap())
        .collect();
    ids.sort_unstable();
    (ids, copartitioned)
}

#[test]
fn partitions_added_while_scorers_run_are_scored() {
    let Some(apache) = shared() else {
        return;
    };
    let (kafka, from, to) = (apache.kafka(), "growing", "growing-scores");
    kafka.create_topic(from, TopicConfig::default()).unwrap();
    let scorers: Vec<_> = (0..2)
        .map(|_| Scorer::new(&kafka, from, to).group(from).start().unwrap())
        .collect();
    let status = || scorers.iter().map(|scorer| scorer.status());
    let scored = || status().map(|status| status.scored).sum::<u64>();
    write_to(&kafka, from, 0, 0..100);
    until("the first tweets", || scored() == 100);
    add_partitions(&kafka, from, 3);
    write_to(&kafka, from, 2, 100..150);
    write_to(&kafka, from, 1, 150..200);
    write_to(&kafka, from, 0, 200..210);
    until("the tweets of all partitions", || scored() == 210);
    until("the lag of all partitions", || {
        let lag: Vec<_> = status().flat_map(|status| status.lag).collect();
        lag.len() == 3 && lag.iter().all(|one| one.lag == 0)
    });
    assert_eq!(kafka.partitions(to).unwrap(), 3);
    assert_eq!(ids(&kafka, to), ((0..210).collect(), true));
}

#[test]
fn a_topic_of_scores_that_is_created_again_gets_the_next_scores() {
    let Some(apache) = shared() else {
        return;
    };
    let (kafka, from, to) = (apache.kafka(), "again", "again-scores");
    let two = TopicConfig {
        partitions: 2,
        ..TopicConfig::default()
    };
    kafka.create_topic(from, two).unwrap();
    let scoring = Scorer::new(&kafka, from, to).group(from).start().unwrap();
    write_to(&kafka, from, 0, 0..10);
    until("the first tweets", || scoring.status().scored == 10);
    let network = tokio::runtime::Runtime::new().unwrap();
    let admin = admin(&kafka);
    let deleted = network.block_on(admin.delete_topics(&[to], &AdminOptions::new()));
    deleted.unwrap().remove(0).unwrap();
    until("the end of the topic", || kafka.partitions(to).is_err());
    // The new topic has fewer partitions than the scorer knows.
    kafka.create_topic(to, TopicConfig::default()).unwrap();
    write_to(&kafka, from, 0, 10..20);
    write_to(&kafka, from, 1, 20..30);
    until("the next tweets", || scoring.status().scored == 30);
    assert_eq!(ids(&kafka, to), ((10..30).collect(), true));
}

/// Denies changes of the topic `scores`, and allows all other operations on it. The request is `CreateAcls`,
/// version 1. librdkafka's Rust interface does not have it.
fn deny_changes_of_scores(kafka: &Kafka) {
    use std::io::{Read, Write};
    let (all, alter, deny, allow) = (2, 7, 2, 3);
    let text = |text: &str| [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat();
    let acl = |operation: u8, permission: u8| {
        let (topic, literal) = ([2], [3]);
        let rule = [operation, permission];
        let (name, who, host) = (text("scores"), text("User:*"), text("*"));
        [&topic[..], &name, &literal, &who, &host, &rule].concat()
    };
    let header = [
        &30_i16.to_be_bytes()[..],
        &1_i16.to_be_bytes(),
        &[0; 4],
        &text("test"),
    ]
    .concat();
    let count = 2_i32.to_be_bytes();
    let request = [&header[..], &count, &acl(alter, deny), &acl(all, allow)].concat();
    let mut broker = std::net::TcpStream::connect(kafka.address()).unwrap();
    broker
        .write_all(&(request.len() as i32).to_be_bytes())
        .unwrap();
    broker.write_all(&request).unwrap();
    // The response: size, correlation id, throttle time, count, and for each result no error and no message.
    let mut answer = [0; 24];
    broker.read_exact(&mut answer).unwrap();
    assert_eq!(answer[16..], [0; 8], "{answer:?}");
}

#[test]
fn a_topic_of_scores_that_cannot_grow_gets_the_scores_by_key() {
    let Some(apache) = Apache::start(&[
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        ),
        ("allow.everyone.if.no.acl.found", "true"),
    ]) else {
        return;
    };
    let kafka = apache.kafka();
    create_topic_with(&kafka, 1);
    kafka
        .create_topic("scores", TopicConfig::default())
        .unwrap();
    deny_changes_of_scores(&kafka);
    let scoring = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    write_to(&kafka, "tweets", 0, 0..10);
    until("the first tweets", || scoring.status().scored == 10);
    add_partitions(&kafka, "tweets", 2);
    write_to(&kafka, "tweets", 1, 10..20);
    until("the tweets of both", || scoring.status().scored == 20);
    assert_eq!(kafka.partitions("scores").unwrap(), 1);
    assert_eq!(ids(&kafka, "scores").0, (0..20).collect::<Vec<_>>());
}

#[test]
fn invalid_arguments_are_rejected() {
    let kafka = broker();
    let error = Scorer::new(&kafka, "tweets", "tweets").start().unwrap_err();
    assert!(error.to_string().contains("two topics"), "{error}");
}
