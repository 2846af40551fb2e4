//! The whole path, through a real broker, the embedded one and Apache Kafka: what is streamed is
//! heard, once, with the right sum.

#[macro_use]
mod common;

use common::*;
use live_sentiment::prelude::*;
use live_sentiment::sentiment::weighted;
use live_sentiment::streamer::Ended;
use live_sentiment::tweet::Skip;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

on_both_brokers! {
    what_is_streamed_is_heard_with_the_right_sums,
    real_tweets_give_the_sum_that_is_computed_without_a_broker,
    bad_messages_are_counted_by_reason_and_lose_nothing,
    a_metric_that_fails_is_counted,
    a_listener_may_come_first_and_a_new_run_begins_anew,
    a_second_start_in_the_same_process_ends_the_first,
    duplicates_and_bad_lines_are_counted,
    partitions_are_merged_by_the_time_of_writing,
    a_tweet_that_is_in_the_topic_twice_is_counted_once,
    a_time_span_ends_a_stream_and_none_of_it_is_lost,
    what_cannot_be_meant_is_refused,
}

const TRACKS: [&str; 3] = ["bitcoin", "ethereum", "dogecoin"];

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn file(lines: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    file
}

fn what_is_streamed_is_heard_with_the_right_sums(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let saved = tempfile::NamedTempFile::new().unwrap();
    let streaming = Streamer::new(kafka, topic)
        .track(TRACKS)
        .languages(["en"])
        .save_to(saved.path())
        .start(Demo::default().as_fast_as_possible().count(20_000))
        .unwrap();
    let status = streaming.wait();
    assert_eq!(
        (status.read, status.failed, status.in_flight),
        (20_000, 0, 0)
    );
    assert_eq!(status.ended, Some(Ended::Source));
    assert_eq!(
        status.sent,
        status.read - status.filtered - status.duplicate
    );

    let listening = Listener::new(kafka, topic)
        .count(status.sent)
        .start(None)
        .unwrap();
    assert!(listening.wait_for(LIMIT));
    let heard = listening.summary();

    // The file of streamed tweets gives the same, without a broker and a listener.
    let analyzer = Analyzer::new();
    let mut topics = BTreeMap::<String, (u64, f64)>::new();
    let mut sum = 0.0;
    for line in std::fs::read_to_string(saved.path()).unwrap().lines() {
        let tweet = Tweet::decode(line.as_bytes()).unwrap();
        let metric = weighted(&tweet, &analyzer.score(&tweet.text));
        sum += metric;
        for topic in &tweet.topics {
            let entry = topics.entry(topic.clone()).or_default();
            *entry = (entry.0 + 1, entry.1 + metric);
        }
    }
    assert_eq!(heard.total.heard, status.sent);
    assert!(
        close(heard.total.sum, sum),
        "{} is not {sum}",
        heard.total.sum
    );
    assert_eq!(heard.topics.len(), 3);
    for (name, total) in heard.topics {
        assert_eq!(
            (total.heard, true),
            (topics[&name].0, close(total.sum, topics[&name].1)),
            "{name}"
        );
        assert_eq!(total.heard, status.topics[&name]);
    }
}

fn real_tweets_give_the_sum_that_is_computed_without_a_broker(kafka: &Kafka, topic: &str) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/tweets_icwsm2014.tsv");
    let Ok(table) = std::fs::read_to_string(&data) else {
        eprintln!(
            "SKIPPED: the 4,200 real tweets are not here ({})",
            data.display()
        );
        return;
    };
    let analyzer = Analyzer::new();
    let (mut lines, mut sum, mut count) = (String::new(), 0.0, 0);
    for row in table.lines() {
        let mut fields = row.splitn(3, '\t');
        let (Some(id), Some(_), Some(text)) = (fields.next(), fields.next(), fields.next()) else {
            panic!("a row of another form: {row:?}");
        };
        let followers: u64 = id.parse::<u64>().unwrap() * 37 % 100_003;
        let tweet =
            serde_json::json!({ "id": id, "user": "u", "followers": followers, "text": text });
        lines += &format!("{tweet}\n");
        sum += (followers as f64 + 1.0).ln() * analyzer.score(text).compound;
        count += 1;
    }
    assert_eq!(count, 4_200);
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let replay = Replay::open(file(&lines).path())
        .unwrap()
        .as_fast_as_possible();
    let status = Streamer::new(kafka, topic).start(replay).unwrap().wait();
    assert_eq!((status.sent, status.skipped, status.failed), (count, 0, 0));
    let heard = Listener::new(kafka, topic)
        .count(count)
        .start(None)
        .unwrap()
        .wait();
    assert_eq!(heard.total.heard, count);
    assert!(
        close(heard.total.sum, sum),
        "{} is not {sum}",
        heard.total.sum
    );
}

fn bad_messages_are_counted_by_reason_and_lose_nothing(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let deep = format!("{{\"text\":{}", "[".repeat(10_000));
    let huge = format!("{{\"text\":\"{}\"}}", "x".repeat(2 << 20));
    let original =
        br#"{"user":"u","followers":99,"text":"I love it","sentiment":1,"subjetivity":0}"#;
    let messages: [&[u8]; 9] = [
        b"not json",
        b"{\"user\":\"no text\"}",
        b"{\"text\":\"\xff\xfe\"}",
        deep.as_bytes(),
        huge.as_bytes(),
        b"{\"text\":\"good\",\"followers\":1e400}",
        b"{\"text\":\"good\",\"followers\":-7}",
        b"{\"text\":\"good\",\"followers\":null}",
        original,
    ];
    write(kafka, topic, &messages);
    let listening = Listener::new(kafka, topic).count(3).start(None).unwrap();
    assert!(listening.wait_for(LIMIT), "{}", listening.summary());
    let summary = listening.summary();
    let skipped = [
        (Skip::TooLarge, 1),
        (Skip::NotUtf8, 1),
        (Skip::NotJson, 2),
        (Skip::NoText, 1),
        (Skip::WrongType, 1),
    ];
    assert_eq!(summary.skipped, BTreeMap::from(skipped));
    let love = Analyzer::new().score("I love it").compound;
    assert!(
        close(summary.total.sum, 100f64.ln() * love),
        "unknown followers weigh nothing"
    );
}

fn a_metric_that_fails_is_counted(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let texts = ["nan", "inf", "panic", "fine", "fine"];
    let messages: Vec<String> = texts
        .iter()
        .map(|text| format!("{{\"text\":\"{text}\"}}"))
        .collect();
    let messages: Vec<&[u8]> = messages.iter().map(|message| message.as_bytes()).collect();
    write(kafka, topic, &messages);
    let metric = |tweet: &Tweet, _: &Sentiment| match tweet.text.as_str() {
        "nan" => f64::NAN,
        "inf" => f64::INFINITY,
        "panic" => panic!("a metric's own panic"),
        _ => 1.5,
    };
    let listening = Listener::new(kafka, topic)
        .metric(metric)
        .count(2)
        .start(None)
        .unwrap();
    assert!(listening.wait_for(LIMIT));
    let summary = listening.summary();
    assert_eq!(summary.total.sum, 3.0);
    let skipped = [(Skip::MetricNotFinite, 2), (Skip::MetricPanicked, 1)];
    assert_eq!(summary.skipped, BTreeMap::from(skipped));
}

fn a_listener_may_come_first_and_a_new_run_begins_anew(kafka: &Kafka, topic: &str) {
    let listening = Listener::new(kafka, topic).start(None).unwrap();
    kafka
        .create_topic(
            topic,
            TopicConfig {
                partitions: 3,
                ..TopicConfig::default()
            },
        )
        .unwrap();
    let run = |count| {
        let demo = Demo::default().as_fast_as_possible().count(count);
        Streamer::new(kafka, topic).start(demo).unwrap().wait().sent
    };
    until_heard(&listening, run(3_000));
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let sent = run(1_000);
    until("the second run alone", || {
        listening.summary().total.heard == sent
    });

    let late = Listener::new(kafka, topic).start(None).unwrap();
    until(
        "the second run alone, for a listener that came late",
        || late.summary().total.heard == sent,
    );
    assert!(close(
        late.summary().total.sum,
        listening.summary().total.sum
    ));
}

fn a_second_start_in_the_same_process_ends_the_first(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let start = || Streamer::new(kafka, topic).start(Demo::default()).unwrap();
    let first = start();
    let second = start();
    assert_eq!(first.status().ended, Some(Ended::Stopped));
    assert_eq!(second.status().ended, None);
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    assert_eq!(second.status().ended, Some(Ended::Stopped));
}

fn duplicates_and_bad_lines_are_counted(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let lines = "{\"id\":1,\"text\":\"a\"}\n{\"id\":1,\"text\":\"a\"}\nbad\n{\"id\":2,\"text\":\"b\"}\n{\"text\":\"trunca";
    let replay = Replay::open(file(lines).path())
        .unwrap()
        .as_fast_as_possible();
    let status = Streamer::new(kafka, topic).start(replay).unwrap().wait();
    assert_eq!(
        (status.read, status.duplicate, status.skipped, status.sent),
        (3, 1, 2, 2)
    );
    assert!(status.last_trouble.unwrap().contains("line 5"));
}

fn a_time_span_ends_a_stream_and_none_of_it_is_lost(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let streaming = Streamer::new(kafka, topic)
        .time_span(Duration::from_millis(1500))
        .start(Demo::default().rate(500.0).unwrap())
        .unwrap();
    let listening = Listener::new(kafka, topic).start(None).unwrap();
    let heard = listening.wait_until_quiet(Duration::from_secs(2));
    let status = streaming.stop();
    assert_eq!(status.ended, Some(Ended::TimeSpan));
    assert!(status.sent > 0);
    until_heard(&listening, status.sent);
    assert!(heard.total.heard > 0);
}

fn what_cannot_be_meant_is_refused(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let streamer = || Streamer::new(kafka, topic);
    let refused = |result: Result<_>, word: &str| {
        let error = result.expect_err("an error").to_string();
        assert!(error.contains(word), "{error}");
    };
    refused(
        streamer().track([""]).start(Demo::default()).map(drop),
        "no word",
    );
    refused(
        streamer()
            .time_span(Duration::ZERO)
            .start(Demo::default())
            .map(drop),
        "time span",
    );
    refused(
        streamer()
            .save_to("/no/such/folder/x")
            .start(Demo::default())
            .map(drop),
        "/no/such",
    );
    refused(
        Streamer::new(kafka, "absent")
            .start(Demo::default())
            .map(drop),
        "does not exist",
    );
    refused(
        Listener::new(kafka, topic)
            .time_span(Duration::ZERO)
            .start(None)
            .map(drop),
        "time span",
    );
    let none = TopicConfig {
        partitions: 0,
        ..TopicConfig::default()
    };
    refused(kafka.create_topic(topic, none).map(drop), "partition");
    refused(
        kafka
            .create_topic("bad name!", TopicConfig::default())
            .map(drop),
        "bad name!",
    );
}

fn partitions_are_merged_by_the_time_of_writing(kafka: &Kafka, topic: &str) {
    const TWEETS: i64 = 10_000;
    const RUNS: [i64; 4] = [1_000, 2_500, 5_000, 8_888];
    let wide = TopicConfig {
        partitions: 3,
        ..TopicConfig::default()
    };
    kafka.create_topic(topic, wide).unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap();
    let begun = jiff::Timestamp::now().as_millisecond() - TWEETS;
    for number in 0..TWEETS {
        let tweet = format!("{{\"text\":\"{number}\"}}");
        // One of them has no more after a while, and another begins late.
        let partition = match number {
            ..3_000 => number % 2,
            3_000..7_000 => number * number % 3,
            _ => 1 + number % 2,
        };
        let mut record = BaseRecord::<(), _>::to(topic)
            .payload(&tweet)
            .partition(partition as i32)
            .timestamp(begun + number);
        // Here a run begins: what is counted before it is not counted again.
        if RUNS.contains(&number) {
            let mark = number.to_be_bytes();
            record = record.headers(OwnedHeaders::new().insert(Header {
                key: "run",
                value: Some(&mark),
            }));
        }
        producer.send(record).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let listening = Listener::new(kafka, topic)
        .metric(|tweet, _| tweet.text.parse().unwrap())
        .start(None)
        .unwrap();
    // Were one counted too early or too late, it would be on the wrong side of a run's begin.
    let last = *RUNS.last().unwrap();
    until("the last run, whole", || {
        listening.summary().total.heard as i64 == TWEETS - last
    });
    let sum: i64 = (last..TWEETS).sum();
    assert_eq!(listening.summary().total.sum, sum as f64);
}

fn a_tweet_that_is_in_the_topic_twice_is_counted_once(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let one = br#"{"id":"1","source":"x","text":"I love it"}"#;
    let other = br#"{"id":"1","source":"bluesky","text":"another one, of another source"}"#;
    let nameless = br#"{"text":"nobody can tell these apart"}"#;
    write(kafka, topic, &[one, other, one, nameless, nameless, one]);
    let listening = Listener::new(kafka, topic).start(None).unwrap();
    until("all six", || {
        let summary = listening.summary();
        summary.total.heard + summary.duplicate == 6
    });
    assert_eq!(listening.summary().duplicate, 2);
}
