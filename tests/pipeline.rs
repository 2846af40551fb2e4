//! The whole pipeline with real brokers, the embedded one and Apache Kafka: each streamed tweet is counted
//! once, and the sum is correct.

use common::*;
use live_sentiment::prelude::*;
use live_sentiment::sentiment::weighted;
use live_sentiment::streamer::EndReason;
use live_sentiment::tweet::{MAX_MESSAGE_BYTES, Skip};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

on_both_brokers! {
    streamed_tweets_are_counted_with_the_right_sums,
    real_tweets_have_the_sum_computed_without_a_broker,
    invalid_messages_are_skipped_by_reason,
    a_failing_metric_skips_the_tweet,
    the_lag_of_a_slow_listener_is_reported_and_falls_to_zero,
    an_empty_partition_has_a_lag_of_zero,
    a_listener_may_start_first_and_counts_a_new_run_from_zero,
    a_second_streamer_of_the_process_replaces_the_first,
    duplicates_and_invalid_lines_are_counted,
    retweets_of_a_file_are_left_out_and_counted_as_filtered,
    partitions_are_merged_by_time,
    tweets_wait_for_a_slow_reader,
    tweets_have_their_place_in_the_topic,
    a_listener_of_a_run_counts_no_earlier_run,
    a_repeated_tweet_is_counted_once,
    a_tweet_that_grows_beyond_the_limit_is_a_dead_letter,
    times_that_cannot_be_true_are_corrected_and_counted,
    a_tweet_of_the_future_is_not_the_newest_one,
    a_time_span_ends_a_stream_without_loss,
    silence_is_not_the_end_while_the_streamer_runs,
    invalid_arguments_are_rejected,
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

fn streamed_tweets_are_counted_with_the_right_sums(kafka: &Kafka, topic: &str) {
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let saved = tempfile::NamedTempFile::new().unwrap();
    let streaming = Streamer::new(&target)
        .track(TRACKS)
        .languages(["en"])
        .save_to(saved.path())
        .start(Demo::default().as_fast_as_possible().count(20_000))
        .unwrap();
    let status = streaming.wait();
    assert_eq!(
        (
            status.counts.read,
            status.counts.failed,
            status.counts.in_flight()
        ),
        (20_000, 0, 0)
    );
    assert_eq!(status.ended, Some(EndReason::Source));
    assert_eq!(
        status.counts.sent,
        status.counts.read - status.counts.filtered - status.counts.duplicate
    );

    let listening = Listener::new(kafka, topic)
        .count(status.counts.sent)
        .start()
        .unwrap();
    assert!(listening.wait_for(LIMIT));
    let summary = listening.status();

    // The file of streamed tweets has the same sums, without a broker and a listener.
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
    assert_eq!(summary.total.counted, status.counts.sent);
    assert!(
        close(summary.total.sum, sum),
        "{} is not {sum}",
        summary.total.sum
    );
    assert_eq!(summary.topics.len(), 3);
    for (name, total) in summary.topics {
        assert_eq!(
            (total.counted, true),
            (topics[&name].0, close(total.sum, topics[&name].1)),
            "{name}"
        );
        assert_eq!(total.counted, status.topics[&name]);
    }
}

fn tweets_wait_for_a_slow_reader(kafka: &Kafka, topic: &str) {
    const SENT: u64 = 5_000;
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let demo = Demo::default().as_fast_as_possible().count(SENT);
    assert_eq!(
        Streamer::new(&target)
            .start(demo)
            .unwrap()
            .wait()
            .counts
            .sent,
        SENT
    );
    let mut tweets = Listener::new(kafka, topic).count(SENT).tweets().unwrap();
    until("the queue to be full", || {
        tweets.listening().status().total.counted == 1_000
    });
    assert!(!tweets.listening().wait_for(Duration::from_millis(500)));
    assert_eq!(tweets.listening().status().total.counted, 1_000);
    let taken: Vec<_> = tweets.by_ref().collect();
    let offsets: Vec<_> = taken.iter().map(|scored| scored.offset).collect();
    assert_eq!(offsets, (0..SENT as i64).collect::<Vec<_>>());
    let sum: f64 = taken.iter().map(|scored| scored.metric).sum();
    assert!(close(sum, tweets.listening().status().total.sum));
    assert!(tweets.next().is_none(), "the listener has ended");

    // The queue holds eight mebibytes of text. When it is full, the listener waits.
    let large = format!(r#"{{"text":"{}","user":"u"}}"#, "x".repeat(1_000_000));
    let topic = format!("{topic}-large");
    kafka.create_topic(&topic, TopicConfig::default()).unwrap();
    write(kafka, &topic, &vec![large.as_bytes(); 20]);
    let mut tweets = Listener::new(kafka, &topic).count(20).tweets().unwrap();
    until("the queue to be full", || {
        tweets.listening().status().total.counted >= 7
    });
    assert!(!tweets.listening().wait_for(Duration::from_millis(500)));
    assert!(tweets.listening().status().total.counted <= 8);
    assert_eq!(tweets.by_ref().count(), 20);
}

fn a_listener_of_a_run_counts_no_earlier_run(kafka: &Kafka, topic: &str) {
    let stream = |count| {
        let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
        let demo = Demo::default().as_fast_as_possible().count(count);
        Streamer::new(&target).start(demo).unwrap().wait();
        target
    };
    stream(300);
    let second = stream(100);
    // The iterator returns each counted tweet. Tweets of the first run would come first.
    let mut tweets = Listener::of(&second).count(100).tweets().unwrap();
    let offsets: Vec<_> = tweets.by_ref().map(|scored| scored.offset).collect();
    assert_eq!(offsets, (300..400).collect::<Vec<_>>());
    let status = tweets.listening().status();
    assert_eq!(
        (status.total.counted, status.uncounted.earlier_runs),
        (100, 300)
    );
    let third = stream(50);
    let both = Listener::of(&second).start().unwrap();
    until("the newest run", || both.status().total.counted == 50);
    let newest = Listener::of(&third).start().unwrap();
    until_counted(&newest, 50);
}

fn tweets_have_their_place_in_the_topic(kafka: &Kafka, topic: &str) {
    let config = TopicConfig {
        partitions: 3,
        ..TopicConfig::default()
    };
    let target = kafka.create_topic(topic, config).unwrap();
    let demo = Demo::default().as_fast_as_possible().count(600);
    Streamer::new(&target).start(demo).unwrap().wait();
    let mut next = BTreeMap::new();
    let mut partition_of = BTreeMap::new();
    for scored in Listener::new(kafka, topic).count(600).tweets().unwrap() {
        let offset = next.entry(scored.partition).or_insert(0);
        assert_eq!(scored.offset, *offset);
        *offset += 1;
        let author = partition_of.entry(scored.tweet.user.clone());
        assert_eq!(*author.or_insert(scored.partition), scored.partition);
    }
    assert_eq!(next.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
}

fn real_tweets_have_the_sum_computed_without_a_broker(kafka: &Kafka, topic: &str) {
    let data = root().join("../shared/data/tweets_icwsm2014.tsv");
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
            panic!("unexpected row: {row:?}");
        };
        let followers: u64 = id.parse::<u64>().unwrap() * 37 % 100_003;
        let tweet =
            serde_json::json!({ "id": id, "user": "u", "followers": followers, "text": text });
        lines += &format!("{tweet}\n");
        sum += (followers as f64 + 1.0).ln() * analyzer.score(text).compound;
        count += 1;
    }
    assert_eq!(count, 4_200);
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let replay = Replay::open(file(&lines).path())
        .unwrap()
        .as_fast_as_possible();
    let status = Streamer::new(&target).start(replay).unwrap().wait();
    assert_eq!(
        (
            status.counts.sent,
            status.counts.skipped,
            status.counts.failed
        ),
        (count, 0, 0)
    );
    let summary = Listener::new(kafka, topic)
        .count(count)
        .start()
        .unwrap()
        .wait();
    assert_eq!(summary.total.counted, count);
    assert!(
        close(summary.total.sum, sum),
        "{} is not {sum}",
        summary.total.sum
    );
}

fn invalid_messages_are_skipped_by_reason(kafka: &Kafka, topic: &str) {
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
    let listening = Listener::new(kafka, topic).count(3).start().unwrap();
    assert!(listening.wait_for(LIMIT), "{}", listening.status());
    let summary = listening.status();
    let skipped = [
        (Skip::TooLarge, 1),
        (Skip::NotUtf8, 1),
        (Skip::NotJson, 2),
        (Skip::NoText, 1),
        (Skip::WrongType, 1),
    ];
    assert_eq!(summary.uncounted.skipped, BTreeMap::from(skipped));
    let love = Analyzer::new().score("I love it").compound;
    assert!(
        close(summary.total.sum, 100f64.ln() * love),
        "an unknown follower count counts as 0"
    );
}

fn a_failing_metric_skips_the_tweet(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let texts = ["nan", "inf", "huge", "-huge", "panic", "fine", "fine"];
    let messages: Vec<String> = texts
        .iter()
        .map(|text| format!("{{\"text\":\"{text}\"}}"))
        .collect();
    let messages: Vec<&[u8]> = messages.iter().map(|message| message.as_bytes()).collect();
    write(kafka, topic, &messages);
    let metric = |tweet: &Tweet, _: &Sentiment| match tweet.text.as_str() {
        "nan" => f64::NAN,
        "inf" => f64::INFINITY,
        // Finite, but two of them have no finite sum.
        "huge" => f64::MAX,
        "-huge" => -1.1e100,
        "panic" => panic!("a metric's own panic"),
        _ => 1.5,
    };
    let listening = Listener::new(kafka, topic)
        .metric(metric)
        .count(2)
        .start()
        .unwrap();
    assert!(listening.wait_for(LIMIT));
    let summary = listening.status();
    assert_eq!(summary.total.sum, 3.0);
    let skipped = [(Skip::MetricNotFinite, 4), (Skip::MetricPanicked, 1)];
    assert_eq!(summary.uncounted.skipped, BTreeMap::from(skipped));
}

fn an_empty_partition_has_a_lag_of_zero(kafka: &Kafka, topic: &str) {
    let partitions = TopicConfig {
        partitions: 3,
        ..TopicConfig::default()
    };
    kafka.create_topic(topic, partitions).unwrap();
    write(kafka, topic, &[b"{\"text\":\"good\",\"user\":\"ada\"}"]);
    let listening = Listener::new(kafka, topic).start().unwrap();
    until("the lag of each partition", || {
        let lag = listening.status().lag;
        let mut ends: Vec<i64> = lag.iter().map(|one| one.end).collect();
        ends.sort_unstable();
        ends == [0, 0, 1]
            && lag
                .iter()
                .all(|one| one.lag == 0 && one.position == one.end)
    });
}

fn the_lag_of_a_slow_listener_is_reported_and_falls_to_zero(kafka: &Kafka, topic: &str) {
    const TWEETS: usize = 20_000;
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let message: &[u8] = b"{\"text\":\"good\"}";
    write(kafka, topic, &[message; TWEETS]);
    let is_fast = Arc::new(AtomicBool::new(false));
    let is_fast_now = is_fast.clone();
    let listening = Listener::new(kafka, topic)
        .metric(move |_, sentiment| {
            if !is_fast_now.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(4));
            }
            sentiment.compound
        })
        .start()
        .unwrap();
    let lag = || listening.status().lag.first().cloned();
    until("the lag to be known", || {
        lag().is_some_and(|lag| lag.end == TWEETS as i64)
    });
    let behind = lag().unwrap();
    assert!(behind.lag > 0, "{behind:?}");
    assert_eq!(behind.position + behind.lag as i64, behind.end);
    let status = listening.status();
    assert!(status.unreachable_since.is_none());
    assert!(status.total.counted < TWEETS as u64);
    until("the slow listener to go on", || {
        lag().is_some_and(|lag| lag.lag < behind.lag && lag.rate > 0.0)
    });
    is_fast.store(true, Ordering::Relaxed);
    until("the listener to catch up", || {
        lag().is_some_and(|lag| lag.lag == 0)
    });
    let status = listening.status();
    assert_eq!(status.total.counted, TWEETS as u64);
    let json = &status.to_json()["lag"][0];
    assert_eq!(
        (&json["partition"], &json["position"], &json["lag"]),
        (&0.into(), &TWEETS.into(), &0.into())
    );
    assert!(json["age"].as_f64().unwrap() < LIMIT.as_secs_f64());
}

fn a_listener_may_start_first_and_counts_a_new_run_from_zero(kafka: &Kafka, topic: &str) {
    let listening = Listener::new(kafka, topic).start().unwrap();
    let first = kafka
        .create_topic(
            topic,
            TopicConfig {
                partitions: 3,
                ..TopicConfig::default()
            },
        )
        .unwrap();
    let run = |target: &Topic, count| {
        let demo = Demo::default().as_fast_as_possible().count(count);
        let streaming = Streamer::new(target).start(demo).unwrap();
        streaming.wait().counts.sent
    };
    until_counted(&listening, run(&first, 3_000));
    let second = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    assert_eq!(second.partitions(), 3);
    assert!(second.differences()[0].contains("partitions: the topic has 3, 1 requested"));
    let sent = run(&second, 1_000);
    until("the second run alone", || {
        listening.status().total.counted == sent
    });

    assert_eq!(listening.status().uncounted.earlier_runs, 3_000);

    let late = Listener::new(kafka, topic).start().unwrap();
    until(
        "the second run alone, for a listener that starts later",
        || late.status().total.counted == sent,
    );
    assert!(close(late.status().total.sum, listening.status().total.sum));
}

fn a_second_streamer_of_the_process_replaces_the_first(kafka: &Kafka, topic: &str) {
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let start = || Streamer::new(&target).start(Demo::default()).unwrap();
    let first = start();
    let second = start();
    assert_eq!(first.status().ended, Some(EndReason::Stopped));
    assert_eq!(second.status().ended, None);
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    assert_eq!(second.status().ended, Some(EndReason::Stopped));
}

fn duplicates_and_invalid_lines_are_counted(kafka: &Kafka, topic: &str) {
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let lines = "{\"id\":1,\"text\":\"a\"}\n{\"id\":1,\"text\":\"a\"}\nbad\n{\"id\":2,\"text\":\"b\"}\n{\"text\":\"trunca";
    let replay = Replay::open(file(lines).path())
        .unwrap()
        .as_fast_as_possible();
    let status = Streamer::new(&target).start(replay).unwrap().wait();
    assert_eq!(
        (
            status.counts.read,
            status.counts.duplicate,
            status.counts.skipped,
            status.counts.sent
        ),
        (3, 1, 2, 2)
    );
    assert!(status.last_error.unwrap().contains("line 5"));
}

fn retweets_of_a_file_are_left_out_and_counted_as_filtered(kafka: &Kafka, topic: &str) {
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let lines = "{\"text\":\"bitcoin\"}\n{\"text\":\"RT @ada: bitcoin\"}\n{\"text\":\"bitcoin, RT @ada: yes\"}";
    let lines = file(lines);
    for tracks in [&[][..], &["bitcoin"]] {
        let streamer = Streamer::new(&target).track(tracks.to_vec());
        let replay = Replay::open(lines.path()).unwrap().as_fast_as_possible();
        let counts = streamer
            .without_retweets()
            .start(replay)
            .unwrap()
            .wait()
            .counts;
        assert_eq!((counts.read, counts.filtered, counts.sent), (3, 1, 2));
    }
}

fn a_time_span_ends_a_stream_without_loss(kafka: &Kafka, topic: &str) {
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let streaming = Streamer::new(&target)
        .time_span(Duration::from_millis(1500))
        .start(Demo::default().rate(500.0).unwrap())
        .unwrap();
    // A time span that is longer than a clock can represent means no limit.
    let listener = Listener::new(kafka, topic).time_span(Duration::MAX);
    let listening = listener.start().unwrap();
    let summary = listening.wait_until_quiet(Duration::from_secs(2));
    let status = streaming.stop();
    assert_eq!(status.ended, Some(EndReason::TimeSpan));
    assert!(status.counts.sent > 0);
    until_counted(&listening, status.counts.sent);
    assert!(summary.total.counted > 0);
    assert!(!summary.is_compacted);
}

fn silence_is_not_the_end_while_the_streamer_runs(kafka: &Kafka, topic: &str) {
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let lines = ["2021-01-05T09:30:00Z", "2021-01-05T09:30:05Z"]
        .map(|time| format!("{{\"text\":\"hi\",\"created_at\":\"{time}\"}}\n"))
        .concat();
    let lines = file(&lines);
    let listening = Listener::new(kafka, topic).start().unwrap();
    let replay = Replay::open(lines.path()).unwrap();
    let streaming = Streamer::new(&target).start(replay).unwrap();
    let summary = listening.wait_until_quiet(Duration::from_secs(2));
    assert_eq!(summary.total.counted, 2);
    assert_eq!(streaming.wait().counts.sent, 2);
}

fn invalid_arguments_are_rejected(kafka: &Kafka, topic: &str) {
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let streamer = || Streamer::new(&target);
    let rejected = |result: Result<_>, word: &str| {
        let error = result.expect_err("an error").to_string();
        assert!(error.contains(word), "{error}");
    };
    rejected(
        streamer().track([""]).start(Demo::default()).map(drop),
        "no word",
    );
    rejected(
        streamer()
            .time_span(Duration::ZERO)
            .start(Demo::default())
            .map(drop),
        "time span",
    );
    rejected(
        streamer()
            .save_to("/no/such/folder/x")
            .start(Demo::default())
            .map(drop),
        "/no/such",
    );
    rejected(kafka.open_topic("absent").map(drop), "does not exist");
    rejected(
        Listener::new(kafka, topic)
            .time_span(Duration::ZERO)
            .start()
            .map(drop),
        "time span",
    );
    let none = TopicConfig {
        partitions: 0,
        ..TopicConfig::default()
    };
    rejected(kafka.create_topic(topic, none).map(drop), "partition");
    rejected(
        kafka
            .create_topic("bad name!", TopicConfig::default())
            .map(drop),
        "bad name!",
    );
}

fn partitions_are_merged_by_time(kafka: &Kafka, topic: &str) {
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
    let begin = Timestamp::now().as_millisecond() - TWEETS;
    for number in 0..TWEETS {
        let tweet = format!("{{\"text\":\"{number}\"}}");
        // One partition ends early, and another one starts late.
        let partition = match number {
            ..3_000 => number % 2,
            3_000..7_000 => number * number % 3,
            _ => 1 + number % 2,
        };
        let mut record = BaseRecord::<(), _>::to(topic)
            .payload(&tweet)
            .partition(partition as i32)
            .timestamp(begin + number);
        // A run starts here. The tweets before it are not counted.
        if RUNS.contains(&number) {
            let mark = number.to_be_bytes();
            record = record.headers(OwnedHeaders::new().insert(Header {
                key: "run-id",
                value: Some(&mark),
            }));
        }
        producer.send(record).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let listening = Listener::new(kafka, topic)
        .metric(|tweet, _| tweet.text.parse().unwrap())
        .start()
        .unwrap();
    // A tweet that is counted too early or too late is on the wrong side of the start of a run.
    let last = *RUNS.last().unwrap();
    until("the last run, whole", || {
        listening.status().total.counted as i64 == TWEETS - last
    });
    let sum: i64 = (last..TWEETS).sum();
    assert_eq!(listening.status().total.sum, sum as f64);
}

fn a_repeated_tweet_is_counted_once(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let one = br#"{"id":"1","source":"x","text":"I love it"}"#;
    let other = br#"{"id":"1","source":"bluesky","text":"another tweet, of another source"}"#;
    let no_id = br#"{"text":"a tweet without an id is always new"}"#;
    // Numbers that are equal as floating-point numbers.
    let large = br#"{"id":123456789012345678901,"text":"a large id"}"#;
    let larger = br#"{"id":123456789012345678902,"text":"a larger one"}"#;
    let messages: [&[u8]; 8] = [one, other, one, no_id, no_id, one, large, larger];
    write(kafka, topic, &messages);
    let listening = Listener::new(kafka, topic).start().unwrap();
    until("all eight", || {
        let summary = listening.status();
        summary.total.counted + summary.uncounted.duplicate == 8
    });
    assert_eq!(listening.status().uncounted.duplicate, 2);
}

fn times_that_cannot_be_true_are_corrected_and_counted(kafka: &Kafka, topic: &str) {
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap();
    let begin = Timestamp::now().as_millisecond();
    let stamp = begin - 60_000;
    let time = |millis| Timestamp::from_millisecond(millis).unwrap();
    let write = |created_at: String, stamp: i64| {
        let tweet = format!(r#"{{"text":"{created_at}","created_at":"{created_at}"}}"#);
        let record = BaseRecord::<(), _>::to(topic).payload(&tweet);
        producer.send(record.timestamp(stamp)).unwrap();
    };
    let wrong = [
        "9999-12-30T22:00:00Z".to_owned(),
        "0001-01-01T00:00:00Z".to_owned(),
        "-009999-06-01T00:00:00Z".to_owned(),
        "1970-01-01T00:00:01Z".to_owned(),
        time(begin + 3_600_000).to_string(),
    ];
    let unknown = ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "yesterday"].map(String::from);
    // A replay of the past, and a clock that is a little ahead.
    let right = [
        "2021-05-01T12:00:00Z".to_owned(),
        time(stamp + 5_000).to_string(),
    ];
    for created_at in wrong.iter().chain(&unknown).chain(&right) {
        write(created_at.clone(), stamp);
    }
    // The timestamp of the message is in the future too.
    let ahead = begin + 1_800_000;
    write(time(ahead).to_string(), ahead);
    producer.flush(LIMIT).unwrap();

    let mut tweets = Listener::new(kafka, topic).count(11).tweets().unwrap();
    let counted: Vec<_> = tweets
        .by_ref()
        .map(|scored| scored.tweet.created_at)
        .collect();
    let end = Timestamp::now();
    let mut expected = vec![time(stamp); wrong.len() + unknown.len()];
    expected.extend(
        right
            .iter()
            .map(|right| right.parse::<Timestamp>().unwrap()),
    );
    assert_eq!(counted[..10], expected);
    assert!(
        (time(begin)..=end).contains(&counted[10]),
        "{}",
        counted[10]
    );
    let status = tweets.listening().status();
    assert_eq!((status.total.counted, status.times_corrected), (11, 6));
    assert_eq!(status.to_json()["times_corrected"], 6);
    assert!(
        status.to_string().ends_with(", times corrected 6"),
        "{status}"
    );
}

fn a_tweet_of_the_future_is_not_the_newest_one(kafka: &Kafka, topic: &str) {
    let times = [
        "2021-05-01T12:00:00Z",
        "9999-12-30T22:00:00Z",
        "2021-05-01T11:00:00Z",
    ];
    let lines: String = times
        .iter()
        .map(|time| format!("{{\"text\":\"hi\",\"created_at\":\"{time}\"}}\n"))
        .collect();
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let replay = Replay::open(file(&lines).path())
        .unwrap()
        .as_fast_as_possible();
    let status = Streamer::new(&target).start(replay).unwrap().wait();
    assert_eq!(status.counts.sent, 3);
    assert_eq!(status.newest, Some(times[0].parse().unwrap()));
}

fn a_tweet_that_grows_beyond_the_limit_is_a_dead_letter(kafka: &Kafka, topic: &str) {
    let target = kafka.create_topic(topic, TopicConfig::default()).unwrap();
    // A tweet of one mebibyte without an id and a source. The replay adds both.
    let text = "x".repeat(MAX_MESSAGE_BYTES - r#"{"text":""}"#.len());
    let file = file(&format!(
        "{{\"text\":\"{text}\"}}\n{{\"text\":\"small\"}}\n"
    ));
    let replay = Replay::open(file.path()).unwrap().as_fast_as_possible();
    let status = Streamer::new(&target).start(replay).unwrap().wait();
    let counts = status.counts;
    assert_eq!((counts.read, counts.sent, counts.failed), (2, 1, 1));
    assert!(status.last_error.unwrap().contains("larger than the 1 MiB"));
    let letters = status.dead_letter_file.unwrap();
    let lines = std::fs::read_to_string(&letters).unwrap();
    std::fs::remove_file(letters).unwrap();
    assert_eq!(lines.lines().count(), 1);
    let listening = Listener::of(&target).start().unwrap();
    until_counted(&listening, 1);
    assert!(listening.status().uncounted.skipped.is_empty());
}
