//! A Kafka cluster that others use too: other programs write to the topic, and other users change the
//! cluster. A second client, without code of this crate, computes what a listener must count.

use common::admin::{
    Operation, WITH_PERMISSIONS, add_partitions, allow, create_compacted, delete_topic, deny,
    limit_writes, messages, producer,
};
use common::apache::{Apache, shared};
use common::*;
use live_sentiment::kafka::RDKafkaErrorCode;
use live_sentiment::listener::State;
use live_sentiment::prelude::*;
use live_sentiment::streamer::EndReason;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};

on_both_brokers! {
    messages_in_every_codec_are_counted,
    a_forged_run_hides_no_tweet,
}

fn tweet(number: u64) -> Vec<u8> {
    format!(r#"{{"id":"{number}","text":"I love it","user":"user {number}","followers":{number}}}"#)
        .into_bytes()
}

/// Writes tweets with these numbers to a partition.
fn write_tweets(kafka: &Kafka, topic: &str, partition: i32, numbers: std::ops::Range<u64>) {
    let producer = producer(kafka, &[]);
    for number in numbers {
        let tweet = tweet(number);
        let record = BaseRecord::<(), _>::to(topic).partition(partition);
        producer.send(record.payload(&tweet)).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

fn messages_in_every_codec_are_counted(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let listening = Listener::new(kafka, topic).start().unwrap();
    for (round, codec) in (0..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let producer = producer(kafka, &[("compression.type", codec)]);
        for number in 100 * round..100 * (round + 1) {
            let tweet = tweet(number);
            let record = BaseRecord::<(), _>::to(topic).payload(&tweet);
            producer.send(record).unwrap();
        }
        producer.flush(LIMIT).unwrap();
        until_counted(&listening, 100 * (round + 1));
    }
    assert_eq!(messages(kafka, topic).len(), 500);
}

fn a_forged_run_hides_no_tweet(kafka: &Kafka, topic: &str) {
    let run = |count| {
        let topic = kafka.create_topic(topic, TopicConfig::default()).unwrap();
        let demo = Demo::default().as_fast_as_possible().count(count);
        Streamer::new(&topic).start(demo).unwrap().wait()
    };
    run(200);
    let running = Listener::new(kafka, topic).start().unwrap();
    until_counted(&running, 200);
    let producer = producer(kafka, &[]);
    // The largest identifier, another identifier above the possible ones, and one of another length.
    let forged: [&[u8]; 3] = [&[0xff; 8], &1_000_000_u64.to_be_bytes(), b"abc"];
    for (number, run) in (0..).zip(forged) {
        let headers = OwnedHeaders::new().insert(Header {
            key: "run-id",
            value: Some(run),
        });
        let tweet = tweet(number);
        let record = BaseRecord::<(), _>::to(topic).payload(&tweet);
        producer.send(record.headers(headers)).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    // These tweets belong to no run, so they count in the current one.
    until_counted(&running, 203);
    assert_eq!(running.status().uncounted.earlier_runs, 0);

    // A streamer that joins the newest run joins a real run.
    let joined = kafka.open_topic(topic).unwrap();
    let demo = Demo::default().seed(2).as_fast_as_possible().count(50);
    Streamer::new(&joined).start(demo).unwrap().wait();
    until_counted(&running, 253);

    let sent = run(300).counts.sent;
    let fresh = Listener::new(kafka, topic).start().unwrap();
    for listening in [&running, &fresh] {
        until("the next run", || {
            let status = listening.status();
            (status.total.counted, status.uncounted.earlier_runs) == (sent, 253)
        });
    }
    assert_eq!(messages(kafka, topic).len() as u64, sent + 253);
}

#[test]
fn a_partition_that_is_added_is_read_from_its_start() {
    let Some(apache) = shared() else { return };
    let (kafka, topic, scores) = (apache.kafka(), "grows", "grows-scores");
    let one = TopicConfig::default();
    let target = kafka.create_topic(topic, one.clone()).unwrap();
    kafka.create_topic(scores, one).unwrap();
    let latest = Listener::new(&kafka, topic).from(StartFrom::Latest);
    let listening = [
        Listener::new(&kafka, topic).start().unwrap(),
        latest.start().unwrap(),
        Listener::scored(&kafka, scores).start().unwrap(),
    ];
    let mut tweets = Listener::new(&kafka, topic).count(160).tweets().unwrap();
    until("all listeners", || {
        let all = listening.iter().chain([tweets.listening()]);
        { all }.all(|one| one.status().state == State::Connected)
    });
    let score = |number: u64| {
        let tweet = String::from_utf8(tweet(number)).unwrap();
        let score = r#""score":{"compound":0.5,"pos":1.0,"neu":0.0,"neg":0.0}}"#;
        format!("{},{score}", &tweet[..tweet.len() - 1])
    };
    let write_scores = |partition, numbers: std::ops::Range<u64>| {
        let producer = producer(&kafka, &[]);
        for number in numbers {
            let score = score(number);
            let record = BaseRecord::<(), _>::to(scores).partition(partition);
            producer.send(record.payload(&score)).unwrap();
        }
        producer.flush(LIMIT).unwrap();
    };
    write_tweets(&kafka, topic, 0, 0..100);
    write_scores(0, 0..100);
    for topic in [topic, scores] {
        add_partitions(&kafka, topic, 2);
    }
    write_tweets(&kafka, topic, 1, 100..150);
    write_tweets(&kafka, topic, 0, 150..160);
    write_scores(1, 100..150);
    write_scores(0, 150..160);
    for listening in &listening {
        until_counted(listening, 160);
        let status = listening.status();
        assert_eq!(status.lag.len(), 2, "{:?}", status.lag);
        assert_eq!(status.uncounted.missed, 0);
    }
    assert_eq!(tweets.by_ref().count(), 160);

    // A running streamer also uses the next new partition.
    let demo = Demo::default().rate(1_000.0).unwrap();
    let streaming = Streamer::new(&target).start(demo).unwrap();
    until("some tweets", || streaming.status().counts.sent > 10);
    add_partitions(&kafka, topic, 3);
    until("tweets in the new partition", || {
        let lag = listening[0].status().lag;
        lag.iter().any(|lag| lag.partition == 2 && lag.position > 0)
    });
    let sent = streaming.stop().counts.sent;
    until_counted(&listening[1], sent);
    assert_eq!(messages(&kafka, topic).len() as u64, sent + 160);
}

#[test]
fn a_batch_that_cannot_be_read_is_named_with_its_offset() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let (kafka, topic) = (apache.kafka(), "broken");
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    write_tweets(&kafka, topic, 0, 0..10);
    let producer = producer(&kafka, &[("compression.type", "lz4"), ("linger.ms", "200")]);
    for number in 10..200 {
        let tweet = tweet(number);
        let record = BaseRecord::<(), _>::to(topic).payload(&tweet);
        producer.send(record).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    // Damage the end of the second batch, as if the disk had lost a part of it. The header of the batch, with
    // its offset and its length, stays intact.
    let segment = format!("data-1/{topic}-0/00000000000000000000.log");
    let segment = apache.folder.path().join(segment);
    let mut log = std::fs::read(&segment).unwrap();
    let length = log.len();
    log[length - 200..].fill(0xff);
    std::fs::write(&segment, log).unwrap();

    let listening = Listener::new(&kafka, topic).start().unwrap();
    until(
        "the batch to be named",
        || matches!(&listening.status().state, State::Blocked(reason) if reason.contains("offset 10")),
    );
    until_counted(&listening, 10);
    let shown = listening.status().to_string();
    assert!(shown.contains("cannot read on (partition 0"), "{shown}");
    let ended = listening.stop();
    assert!(ended.unread.unwrap().contains("offset 10"));
}

#[test]
fn tweets_that_compaction_removed_are_missed() {
    let Some(apache) = Apache::start(&[("log.cleaner.backoff.ms", "100")]) else {
        return;
    };
    let (kafka, topic) = (apache.kafka(), "compacted");
    create_compacted(&kafka, topic);
    let early = Listener::new(&kafka, topic).start().unwrap();
    let producer = producer(&kafka, &[]);
    const WRITTEN: u64 = 40_000;
    for number in 0..WRITTEN {
        let (tweet, user) = (tweet(number), format!("user {}", number % 50));
        let record = || BaseRecord::to(topic).key(&user).payload(&tweet);
        while producer.send(record()).is_err() {
            producer.poll(Duration::from_millis(5));
        }
    }
    producer.flush(LIMIT).unwrap();
    until_counted(&early, WRITTEN);
    assert_eq!(early.status().uncounted.missed, 0);
    let mut kept = WRITTEN;
    until("the compaction to end", || {
        let before = std::mem::replace(&mut kept, messages(&kafka, topic).len() as u64);
        kept < WRITTEN && kept == before
    });
    let late = Listener::new(&kafka, topic).start().unwrap();
    until_counted(&late, kept);
    let status = late.status();
    assert_eq!(status.uncounted.missed, WRITTEN - kept);
    assert!(status.is_compacted);
    let joined = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let named = joined.differences().iter();
    assert!({ named }.any(|difference| difference.contains("compacted")));
}

#[test]
fn transactions_of_other_programs_are_not_missed_tweets() {
    let Some(apache) = shared() else { return };
    let (kafka, topic) = (apache.kafka(), "transactions");
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let listening = Listener::new(&kafka, topic).start().unwrap();
    let producer = producer(&kafka, &[("transactional.id", "others")]);
    producer.init_transactions(LIMIT).unwrap();
    let write = |numbers: std::ops::Range<u64>| {
        producer.begin_transaction().unwrap();
        for number in numbers {
            let tweet = tweet(number);
            let record = BaseRecord::<(), _>::to(topic).payload(&tweet);
            producer.send(record).unwrap();
        }
        producer.flush(LIMIT).unwrap();
    };
    write(0..100);
    producer.commit_transaction(LIMIT).unwrap();
    write(100..150);
    producer.abort_transaction(LIMIT).unwrap();
    write(200..230);
    producer.commit_transaction(LIMIT).unwrap();
    until_counted(&listening, 130);

    // The transaction stays open. Readers wait at its first message, and 40 messages follow it.
    write(300..340);
    until("the open transaction to be named", || {
        let status = listening.status();
        matches!(&status.state, State::Blocked(reason) if reason.contains("transaction"))
            // The marker of the previous transaction counts too.
            && (40..=41).contains(&status.lag[0].lag)
    });
    producer.commit_transaction(LIMIT).unwrap();
    until_counted(&listening, 170);
    until("the end of the obstacle", || {
        let status = listening.status();
        status.state == State::Connected && status.lag[0].lag <= 1
    });
    assert_eq!(listening.status().uncounted.missed, 0);
    assert_eq!(messages(&kafka, topic).len(), 170);
}

#[test]
fn a_dead_address_beside_a_broker_is_ignored() {
    let Some(apache) = shared() else { return };
    let dead = common::apache::free_port();
    for address in [
        format!("127.0.0.1:{dead},{}", apache.address()),
        format!("{},127.0.0.1:{dead}", apache.address()),
    ] {
        let kafka = Kafka::at(&address).unwrap();
        let topic = "dead-address";
        let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
        let demo = Demo::default().rate(500.0).unwrap().count(2_000);
        let streaming = Streamer::new(&target).start(demo).unwrap();
        let listening = Listener::of(&target).start().unwrap();
        until("the first tweets", || listening.status().total.counted > 0);
        while !streaming.wait_for(Duration::from_millis(20)) {
            let state = listening.status().state;
            assert_eq!(state, State::Connected, "{address}");
        }
        until_counted(&listening, streaming.status().counts.sent);
    }
}

#[test]
fn a_deleted_topic_is_named() {
    let Some(apache) = shared() else { return };
    let (kafka, topic) = (apache.kafka(), "deleted");
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let listening = Listener::new(&kafka, topic).start().unwrap();
    let demo = Demo::default().rate(500.0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.jsonl");
    // With one track, a tweet has one topic.
    let streamer = Streamer::new(&target).track(["bitcoin"]);
    let streaming = streamer.save_to(&saved).start(demo).unwrap();
    until("some tweets", || listening.status().total.counted > 100);
    delete_topic(&kafka, topic);
    let gone = "topic \"deleted\" does not exist";
    until(
        "the listener to name it",
        || matches!(&listening.status().state, State::Waiting(reason) if reason.contains(gone)),
    );
    until("the streamer to name it", || {
        let error = streaming.status().last_error;
        error.is_some_and(|error| error.contains(gone))
    });
    let status = streaming.stop();
    std::fs::remove_file(status.dead_letter_file.unwrap()).unwrap();
    let counts = status.counts;
    assert_eq!(counts.in_flight(), 0, "{counts:?}");
    // The file and the topics contain every streamed tweet, even if the broker reported an error for it.
    let streamed = counts.sent + counts.failed;
    let lines = std::fs::read_to_string(&saved).unwrap().lines().count();
    assert_eq!(lines as u64, streamed);
    assert_eq!(status.topics.values().sum::<u64>(), streamed);
}

#[test]
fn denied_writes_hold_the_stream_back() {
    let Some(apache) = Apache::start(&WITH_PERMISSIONS) else {
        return;
    };
    let (kafka, topic) = (apache.kafka(), "denied");
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let listening = Listener::new(&kafka, topic).start().unwrap();
    let demo = Demo::default().rate(500.0).unwrap().count(3_000);
    let streaming = Streamer::new(&target).start(demo).unwrap();
    until("some tweets", || streaming.status().counts.sent > 100);
    deny(&kafka, topic, Operation::Write);
    until("the streamer to name what is denied", || {
        let error = streaming.status().last_error.unwrap_or_default();
        error.contains("write to topic \"denied\"") && error.contains("authorization")
    });
    let held = streaming.status().counts;
    // Without backpressure, the source would have ended before this.
    assert!(!streaming.wait_for(Duration::from_secs(8)), "{held:?}");
    allow(&kafka, topic);
    assert!(streaming.wait_for(LIMIT));
    let counts = streaming.status().counts;
    assert_eq!((counts.read, counts.sent, counts.failed), (3_000, 3_000, 0));
    until_counted(&listening, 3_000);
    assert_eq!(messages(&kafka, topic).len(), 3_000);

    // A listener without read permission reports this, and continues when it has the permission.
    deny(&kafka, topic, Operation::Read);
    let denied = Listener::new(&kafka, topic).start().unwrap();
    until(
        "the listener to name what is denied",
        || matches!(denied.status().state, State::Blocked(reason) if reason.contains("authorization")),
    );
    allow(&kafka, topic);
    until_counted(&denied, 3_000);
}

#[test]
fn tweets_of_a_stream_that_ends_while_writes_are_denied_are_in_the_dead_letter_file() {
    let Some(apache) = Apache::start(&WITH_PERMISSIONS) else {
        return;
    };
    let (kafka, topic) = (apache.kafka(), "denied-to-the-end");
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let demo = Demo::default().rate(500.0).unwrap();
    let streaming = Streamer::new(&target).start(demo).unwrap();
    until("some tweets", || streaming.status().counts.sent > 100);
    deny(&kafka, topic, Operation::Write);
    until("the denial", || streaming.status().last_error.is_some());
    let status = streaming.stop();
    let file = status.dead_letter_file.unwrap();
    let lines = std::fs::read_to_string(&file).unwrap().lines().count() as u64;
    std::fs::remove_file(file).unwrap();
    assert!(status.counts.failed > 0);
    assert_eq!(status.counts.failed, lines);
    assert_eq!(status.counts.in_flight(), 0, "{:?}", status.counts);
    assert_eq!(messages(&kafka, topic).len() as u64, status.counts.sent);
}

#[test]
fn a_topic_that_may_not_be_described_is_not_reported_as_missing() {
    let Some(apache) = Apache::start(&WITH_PERMISSIONS) else {
        return;
    };
    let (kafka, topic) = (apache.kafka(), "secret");
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    for operation in [Operation::Describe, Operation::Read, Operation::Write] {
        deny(&kafka, topic, operation);
    }
    let permission = "permission to describe topic \"secret\"";
    until("the denial", || {
        kafka.open_topic(topic).is_err_and(|error| {
            error.kafka_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
                && error.to_string().contains(permission)
        })
    });
    let listening = Listener::new(&kafka, topic).start().unwrap();
    until(
        "the listener to name it",
        || matches!(listening.status().state, State::Waiting(reason) if reason.contains(permission)),
    );
    let scoring = Scorer::new(&kafka, topic, "secret-scores").start().unwrap();
    until("the scorer to name it", || {
        let error = scoring.status().last_error;
        error.is_some_and(|error| error.contains(permission))
    });
}

#[test]
fn a_quota_holds_the_stream_back() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let (kafka, topic) = (apache.kafka(), "slow");
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    limit_writes(&kafka, Some(5_000.0));
    let demo = Demo::default().rate(1_000.0).unwrap().count(2_000);
    let streaming = Streamer::new(&target).start(demo).unwrap();
    until("the quota to be named", || {
        let error = streaming.status().last_error;
        error.is_some_and(|error| error.contains("throttles"))
    });
    // At its end, the stream waits until the broker has confirmed the throttled tweets.
    until("the end of the source", || {
        streaming.status().ended.is_some()
    });
    assert!(streaming.wait_for(LIMIT));
    let counts = streaming.status().counts;
    assert_eq!((counts.sent, counts.failed), (2_000, 0), "{counts:?}");
    assert_eq!(messages(&kafka, topic).len(), 2_000);
}

#[test]
fn a_streamer_notices_a_newer_run_and_ends() {
    let Some(apache) = shared() else { return };
    let topic = "two-streamers";
    let start = |seed| {
        // Each streamer has its own handle, as in two programs: streamers of one handle replace each other.
        let address = format!("localhost:{}", port(&apache.address()));
        let kafka = match seed {
            1 => apache.kafka(),
            _ => Kafka::at(&address).unwrap(),
        };
        let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
        let demo = Demo::default().seed(seed).rate(300.0).unwrap();
        Streamer::new(&target).start(demo).unwrap()
    };
    let first = start(1);
    until("some tweets", || first.status().counts.sent > 100);
    let second = start(2);
    until("the end of the first", || first.wait_for(Duration::ZERO));
    let status = first.status();
    assert_eq!(status.ended, Some(EndReason::Failed));
    let error = status.last_error.unwrap();
    assert!(
        error.contains("newer run") && error.contains("--join"),
        "{error}"
    );
    assert_eq!(status.counts.in_flight(), 0);
    until("the second to be told", || {
        let error = second.status().last_error;
        error.is_some_and(|error| error.contains("earlier run"))
    });
    let sent = second.stop().counts.sent;
    let listening = Listener::new(&apache.kafka(), topic).start().unwrap();
    until("the newer run alone", || {
        listening.status().total.counted == sent
    });
    assert_eq!(
        listening.status().uncounted.earlier_runs,
        status.counts.sent
    );

    // Two streamers of one run do not end each other.
    let join = |seed, address: &str| {
        let target = Kafka::at(address).unwrap().open_topic(topic).unwrap();
        let demo = Demo::default().seed(seed).rate(100.0).unwrap().count(700);
        Streamer::new(&target).start(demo).unwrap()
    };
    let address = apache.address();
    let joined = [
        join(3, &address),
        join(4, &format!("localhost:{}", port(&address))),
    ];
    for streaming in joined {
        assert!(streaming.wait_for(LIMIT));
        let status = streaming.status();
        assert_eq!((status.counts.sent, status.last_error), (700, None));
    }
    until_counted(&listening, sent + 1_400);
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}
