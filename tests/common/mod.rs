//! What the tests share: a real embedded broker each, and waiting for what must come.
#![allow(dead_code, unused_macros, reason = "each test file uses some of it")]

pub mod apache;

use live_sentiment::kafka::BOOTSTRAP_VARIABLE;
use live_sentiment::listener::Listening;
use live_sentiment::prelude::*;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::process::Command;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything takes on a machine that stalls for seconds; only a failure waits it out.
pub const LIMIT: Duration = Duration::from_secs(120);

pub fn broker() -> Kafka {
    assert!(
        std::env::var_os(BOOTSTRAP_VARIABLE).is_none(),
        "the tests bring their own broker"
    );
    Kafka::embedded(0).unwrap()
}

/// The topic that the programs use by default.
pub fn make_topic(kafka: &Kafka) {
    kafka
        .create_topic("tweets", TopicConfig::default())
        .unwrap();
}

pub fn broker_with_topic() -> Kafka {
    let kafka = broker();
    make_topic(&kafka);
    kafka
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn until_heard(listening: &Listening, count: u64) {
    until(&format!("{count} heard"), || {
        let heard = listening.summary().total.heard;
        assert!(heard <= count, "{heard} were heard where {count} were sent");
        heard == count
    });
}

/// Writes raw messages, as another program would.
pub fn write(kafka: &Kafka, topic: &str, messages: &[&[u8]]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("message.max.bytes", "4000000")
        .create()
        .unwrap();
    for message in messages {
        producer
            .send(BaseRecord::to(topic).key("someone").payload(*message))
            .unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

/// Writes the same message `count` times, each in a batch of its own, as a slow stream does.
pub fn write_one_by_one(kafka: &Kafka, topic: &str, message: &[u8], count: u64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("linger.ms", "0")
        .set("batch.num.messages", "1")
        .create()
        .unwrap();
    for _ in 0..count {
        while producer
            .send(BaseRecord::to(topic).key("someone").payload(message))
            .is_err()
        {
            producer.poll(Duration::from_millis(5));
        }
    }
    producer.flush(LIMIT).unwrap();
}

/// The process id of the embedded broker at `address`.
pub fn broker_process(address: &str) -> String {
    let pattern = format!("^[^ ]*tansu broker --listener-url tcp://{address}");
    let found = Command::new("pgrep")
        .args(["-f", &pattern])
        .output()
        .unwrap();
    let id = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    assert!(id.parse::<u32>().is_ok(), "the broker's process: {id:?}");
    id
}

pub fn signal(process: &str, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, process])
            .status()
            .unwrap()
            .success()
    );
}

/// A way to the server at `base` on which what it says comes in pieces of a few bytes; both
/// addresses.
pub async fn splitting(base: &str) -> (String, String) {
    let server = base.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let split = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            client.set_nodelay(true).unwrap();
            let server = TcpStream::connect(&server).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut piece = [0; 7];
                let mut size = 0;
                loop {
                    size = size % piece.len() + 1;
                    let read = from_server.read(&mut piece[..size]).await.unwrap_or(0);
                    if read == 0 || to_client.write_all(&piece[..read]).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
    });
    (base.to_owned(), split)
}

/// Makes two tests of each function `fn(kafka: &Kafka, topic: &str)`: one with an embedded broker
/// of its own, one with a topic of its own on an Apache Kafka that they share.
macro_rules! on_both_brokers {
    ($($test:ident,)*) => {
        mod embedded {
            $(#[test] fn $test() { super::$test(&super::common::broker(), "tweets") })*
        }
        mod apache {
            $(#[test] fn $test() {
                if let Some(apache) = super::common::apache::shared() {
                    super::$test(&apache.kafka(), stringify!($test))
                }
            })*
        }
    };
}

/// A replay file, and what must be heard of it.
pub struct Story {
    pub file: tempfile::NamedTempFile,
    pub count: u64,
    pub sum: f64,
}

impl Story {
    /// Tweets of 50 authors, spread over so long.
    pub fn of(count: u64, over: Duration) -> Story {
        use live_sentiment::sentiment::weighted;
        use std::io::Write;
        let texts = [
            "I love #bitcoin",
            "what a disaster, I hate it",
            "bitcoin is a chair",
            "so happy!!!",
            "this is not good at all :(",
        ];
        let analyzer = Analyzer::new();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (mut lines, mut sum) = (String::new(), 0.0);
        for number in 0..count {
            let at = 1_700_000_000_000 + over.as_millis() as i64 * number as i64 / count as i64;
            let mut tweet = Tweet::decode(br#"{"text":""}"#).unwrap();
            tweet.id = number.to_string();
            tweet.created_at = jiff::Timestamp::from_millisecond(at).unwrap();
            tweet.user = format!("author {}", number % 50);
            tweet.followers = Some(number * 37 % 100_003);
            tweet.text = texts[number as usize % texts.len()].to_owned();
            sum += weighted(&tweet, &analyzer.score(&tweet.text));
            lines += &serde_json::to_string(&tweet).unwrap();
            lines.push('\n');
        }
        file.write_all(lines.as_bytes()).unwrap();
        Story { file, count, sum }
    }

    pub fn replay(&self) -> Replay {
        Replay::open(self.file.path()).unwrap()
    }

    /// All of it is heard, each tweet once, with the sum of an undisturbed run.
    pub fn until_heard(&self, listening: &Listening) {
        until_heard(listening, self.count);
        let sum = listening.summary().total.sum;
        assert!((sum - self.sum).abs() < 1e-6, "{sum} is not {}", self.sum);
    }
}

/// An example program, as cargo has built it beside the tests.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().join("examples");
    Command::new(folder.join(name))
}

/// Writes the same message `count` times, uncompressed.
pub fn write_many(kafka: &Kafka, topic: &str, message: &[u8], count: u64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("linger.ms", "20")
        .create()
        .unwrap();
    for _ in 0..count {
        while producer
            .send(BaseRecord::<(), _>::to(topic).payload(message))
            .is_err()
        {
            producer.poll(Duration::from_millis(5));
        }
    }
    producer.flush(LIMIT).unwrap();
}
