//! A Kafka cluster that others use too: other programs write to the topics, and other users change the
//! cluster, while tweets are streamed, scored and counted. A second client computes the expected count.

use crate::load::{Load, Truth};
use crate::{Finding, Size, thousands};
use common::admin::{add_partitions, create_compacted, delete_records, messages, producer};
use common::apache::Apache;
use common::{LIMIT, Program, signal, until};
use live_sentiment::listener::ListenerStatus;
use live_sentiment::prelude::*;
use live_sentiment::sentiment::weighted;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The real time between two tweets of the streamer.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a scorer is stopped. After 10 s, its group reassigns its partitions, and its transaction is
/// aborted.
const STOPPED: Duration = Duration::from_secs(120);
const TOPIC: &str = "tweets";

pub fn run(size: Size) -> Vec<Finding> {
    if size.kills == 0 || !common::apache::is_there() {
        return Vec::new();
    }
    let mut findings = vec![other_programs(), compaction(), deleted_records()];
    findings.extend(without_network());
    findings
}

/// Tweets of other programs, and their sum.
struct Others {
    kafka: Kafka,
    count: u64,
    sum: f64,
}

impl Others {
    /// Returns the next tweet, with `length` bytes of text. The tweet is counted unless it is aborted.
    fn tweet(&mut self, length: usize, is_counted: bool) -> String {
        let text = "I love it! ".repeat(length.div_ceil(11));
        self.count += u64::from(is_counted);
        let tweet = serde_json::json!({
            "id": format!("{}-{is_counted}", self.count),
            "user": format!("other {}", self.count % 89),
            "followers": self.count,
            "text": text,
            "source": "others",
        });
        let message = tweet.to_string();
        if is_counted {
            let tweet = Tweet::decode(message.as_bytes()).unwrap();
            self.sum += weighted(&tweet, &Analyzer::new().score(&tweet.text));
        }
        message
    }

    fn write(&mut self, producer: &BaseProducer, tweets: u64, length: usize) {
        for _ in 0..tweets {
            let tweet = self.tweet(length, true);
            while { producer.send(BaseRecord::<(), _>::to(TOPIC).payload(&tweet)) }.is_err() {
                producer.poll(Duration::from_millis(5));
            }
        }
        producer.flush(LIMIT).unwrap();
    }

    fn in_every_codec(&mut self, tweets: u64) {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let producer = producer(&self.kafka, &[("compression.type", codec)]);
            self.write(&producer, tweets, 50);
        }
    }

    fn in_transactions(&mut self, tweets: u64) {
        let producer = producer(&self.kafka, &[("transactional.id", "others")]);
        producer.init_transactions(LIMIT).unwrap();
        for is_committed in [true, false, true, false, true] {
            producer.begin_transaction().unwrap();
            for _ in 0..tweets {
                let tweet = self.tweet(50, is_committed);
                let record = BaseRecord::<(), _>::to(TOPIC).payload(&tweet);
                producer.send(record).unwrap();
            }
            producer.flush(LIMIT).unwrap();
            match is_committed {
                true => producer.commit_transaction(LIMIT).unwrap(),
                false => producer.abort_transaction(LIMIT).unwrap(),
            }
        }
    }

    fn with_forged_runs(&mut self, tweets: u64) {
        let producer = producer(&self.kafka, &[]);
        for number in 0..tweets {
            let tweet = self.tweet(50, true);
            let run = u64::MAX >> (number % 20);
            let headers = OwnedHeaders::new().insert(Header {
                key: "run-id",
                value: Some(&run.to_be_bytes()),
            });
            let record = BaseRecord::<(), _>::to(TOPIC).payload(&tweet);
            producer.send(record.headers(headers)).unwrap();
        }
        producer.flush(LIMIT).unwrap();
    }

    /// Writes tweets of nearly the maximum size. The broker accepts the tweets and their scores, because they
    /// are compressed.
    fn near_the_limit(&mut self, tweets: u64) {
        let settings = [
            ("compression.type", "lz4"),
            ("message.max.bytes", "4000000"),
        ];
        let producer = producer(&self.kafka, &settings);
        self.write(&producer, tweets, 1_048_000);
    }
}

fn other_programs() -> Finding {
    let apache = Apache::start(&[]).unwrap();
    let kafka = apache.kafka();
    let config = TopicConfig {
        partitions: 2,
        ..TopicConfig::default()
    };
    let topic = kafka.create_topic(TOPIC, config).unwrap();
    let scorers = [(); 2].map(|()| Program::start("scorer", &kafka, &[]));
    let direct = Listener::of(&topic).start().unwrap();
    let scored = Listener::scored(&kafka, "scores").run_of(&topic);
    let scored = scored.start().unwrap();
    let truth = Arc::new(Truth::default());
    let load = Load::new(&truth).pause(PAUSE);
    let streaming = Streamer::new(&topic).start(load).unwrap();
    until("both listeners", || {
        let counted = |one: &live_sentiment::listener::Listening| one.status().total.counted;
        counted(&direct).min(counted(&scored)) > 500
    });
    let mut others = Others {
        kafka: kafka.clone(),
        count: 0,
        sum: 0.0,
    };
    for partitions in [2, 4, 8] {
        if partitions > 2 {
            add_partitions(&kafka, TOPIC, partitions);
        }
        others.in_every_codec(500);
        others.in_transactions(200);
        others.with_forged_runs(200);
        others.near_the_limit(5);
        std::thread::sleep(Duration::from_secs(10));
    }
    signal(&scorers[0].id(), "-STOP");
    std::thread::sleep(STOPPED);
    signal(&scorers[0].id(), "-CONT");
    others.in_every_codec(500);
    std::thread::sleep(Duration::from_secs(10));

    truth.stop.store(true, Ordering::SeqCst);
    assert!(streaming.wait_for(LIMIT));
    let (count, sum) = (truth.count() + others.count, truth.sum() + others.sum);
    for listening in [&direct, &scored] {
        until("each tweet to be counted once", || {
            let counted = listening.status().total.counted;
            assert!(counted <= count, "{counted} counted, {count} sent");
            counted == count
        });
        let status = listening.status();
        let error = (status.total.sum - sum).abs();
        assert!(error < 1e-5, "{} is not {sum}", status.total.sum);
        let uncounted = &status.uncounted;
        assert_eq!((uncounted.missed, uncounted.duplicate), (0, 0));
    }
    assert_eq!(messages(&kafka, TOPIC).len() as u64, count);
    assert_eq!(messages(&kafka, "scores").len() as u64, count);
    Finding {
        what: "other programs write to the topic in every codec, in committed and aborted transactions, \
               with forged runs, and tweets of nearly 1 MiB; partitions are added twice; one of two scorers \
               is stopped for two minutes and comes back"
            .into(),
        outcome: format!(
            "exact count and sum of {} tweets, read directly and as scores; a second client counts the same",
            thousands(count as usize)
        ),
    }
}

/// Returns the finding that each tweet was counted or reported as missed.
fn counted_or_missed(what: &str, written: u64, status: &ListenerStatus) -> Finding {
    let [written, counted, missed] = [written, status.total.counted, status.uncounted.missed]
        .map(|count| thousands(count as usize));
    Finding {
        what: what.into(),
        outcome: format!("{written} tweets written, {counted} counted and {missed} missed"),
    }
}

fn compaction() -> Finding {
    const WRITTEN: u64 = 100_000;
    let apache = Apache::start(&[("log.cleaner.backoff.ms", "100")]).unwrap();
    let kafka = apache.kafka();
    create_compacted(&kafka, TOPIC);
    let producer = producer(&kafka, &[]);
    for number in 0..WRITTEN {
        let tweet = format!(r#"{{"id":"{number}","text":"I love it"}}"#);
        let user = format!("user {}", number % 97);
        while { producer.send(BaseRecord::to(TOPIC).key(&user).payload(&tweet)) }.is_err() {
            producer.poll(Duration::from_millis(5));
        }
    }
    producer.flush(LIMIT).unwrap();
    until("the compaction", || {
        (messages(&kafka, TOPIC).len() as u64) < WRITTEN / 2
    });
    // The broker continues to compact while the listener reads. So both numbers may change, but not their sum.
    let listening = Listener::new(&kafka, TOPIC).start().unwrap();
    until("the end of the topic", || {
        let status = listening.status();
        status.total.counted + status.uncounted.missed == WRITTEN
    });
    let status = listening.status();
    counted_or_missed("a compacted topic", WRITTEN, &status)
}

fn deleted_records() -> Finding {
    const WRITTEN: u64 = 200_000;
    let apache = Apache::start(&[]).unwrap();
    let kafka = apache.kafka();
    kafka.create_topic(TOPIC, TopicConfig::default()).unwrap();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    // The metric waits until the gate opens, so no tweet is scored before that.
    let listening = Listener::new(&kafka, TOPIC)
        .metric(move |_, sentiment| {
            let _ = gate.lock().unwrap().recv();
            sentiment.compound
        })
        .start()
        .unwrap();
    let text = "I love it, and here are many words more to fill the log with. ".repeat(4);
    let tweet = serde_json::json!({ "text": text }).to_string();
    common::write_many(&kafka, TOPIC, tweet.as_bytes(), WRITTEN);
    delete_records(&kafka, TOPIC, WRITTEN as i64 * 9 / 10);
    drop(open);
    until("each tweet to be counted or missed", || {
        let status = listening.status();
        status.total.counted + status.uncounted.missed == WRITTEN
    });
    let status = listening.status();
    assert!(status.uncounted.missed > 0);
    counted_or_missed(
        "records deleted under a listener that is slower than the stream",
        WRITTEN,
        &status,
    )
}

/// Runs the programs without a network, with a broker that they start. Returns `None` if the system permits
/// no namespace.
fn without_network() -> Option<Finding> {
    const TWEETS: usize = 100_000;
    const RUN: &str = r#"
"$1" --topic first --count 1000000 --rate 10 >/dev/null 2>&1 & broker=$!
"$2" --count "$3" --figure-port 0 --json >"$4" & listener=$!
sleep 1
"$1" --bootstrap localhost:9092 --count "$3" --rate 0 >/dev/null || exit 1
wait $listener || exit 1
kill $broker"#;
    let result = tempfile::NamedTempFile::new().unwrap();
    let program = |name| common::example(name).get_program().to_owned();
    let (streamer, listener) = (program("streamer"), program("listener"));
    let count = TWEETS.to_string();
    let arguments = [
        streamer.to_str().unwrap(),
        listener.to_str().unwrap(),
        &count,
        result.path().to_str().unwrap(),
    ];
    let shell = [&["sh", "-c", RUN, "sh"], &arguments[..]].concat();
    let done = common::offline::run(&shell, "OFFLINE")?;
    assert!(done.status.success(), "{done:?}");
    let counted = std::fs::read_to_string(result.path()).unwrap();
    let counted: serde_json::Value = serde_json::from_str(&counted).unwrap();
    assert_eq!(counted["counted"], TWEETS, "{counted}");
    Some(Finding {
        what: "streamer, listener and embedded broker on a machine whose only interface is the loopback".into(),
        outcome: format!("exact count of {} tweets", thousands(TWEETS)),
    })
}
