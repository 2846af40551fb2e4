//! The common parts of the tests: a real embedded broker for each test, and functions that wait for a
//! condition.

pub mod admin;
pub mod apache;
pub mod jetstream;
#[cfg(target_os = "linux")]
pub mod offline;
pub mod x_api;

use live_sentiment::listener::Listening;
use live_sentiment::prelude::*;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, ToBytes};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The time limit of a wait. It is longer than any operation takes on a slow machine, so only a failing test
/// waits this long.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Returns the root of the checkout. Cargo starts a test in the folder of its package.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Records that this machine cannot run some tests. `make test` reports this at its end, and CI fails.
pub fn not_run(tests: &str, why: &str) {
    use std::io::Write;
    assert!(
        std::env::var_os("CI").is_none(),
        "CI must run all tests: {why}"
    );
    let mut list = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(root().join("target/not-run.txt"))
        .unwrap();
    writeln!(list, "{tests}: {why}").unwrap();
}

pub fn broker() -> Kafka {
    assert!(
        std::env::var_os("KAFKA_BOOTSTRAP_SERVERS").is_none(),
        "the tests start their own broker"
    );
    Kafka::embedded(0).unwrap()
}

/// Creates the topic that the programs use by default.
pub fn create_topic(kafka: &Kafka) -> Topic {
    kafka
        .create_topic("tweets", TopicConfig::default())
        .unwrap()
}

/// Creates the default topic with several partitions.
pub fn create_topic_with(kafka: &Kafka, partitions: i32) -> Topic {
    let config = TopicConfig {
        partitions,
        ..TopicConfig::default()
    };
    kafka.create_topic("tweets", config).unwrap()
}

pub fn broker_with_topic() -> (Kafka, Topic) {
    let kafka = broker();
    let topic = create_topic(&kafka);
    (kafka, topic)
}

/// Runs the work on one thread, with a clock that jumps to the end of each wait.
pub fn with_paused_clock<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn until_counted(listening: &Listening, count: u64) {
    until(&format!("{count} counted"), || {
        let counted = listening.status().total.counted;
        assert!(
            counted <= count,
            "{counted} were counted, {count} were sent"
        );
        counted == count
    });
}

fn producer(kafka: &Kafka, settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.address());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

/// Sends a record, and waits while the producer's queue is full.
fn send<'a, K: ToBytes + ?Sized + 'a>(
    producer: &BaseProducer,
    record: impl Fn() -> BaseRecord<'a, K, [u8]>,
) {
    while producer.send(record()).is_err() {
        producer.poll(Duration::from_millis(5));
    }
}

/// Writes raw messages, as another program does.
pub fn write(kafka: &Kafka, topic: &str, messages: &[&[u8]]) {
    let producer = producer(kafka, &[("message.max.bytes", "4000000")]);
    for message in messages {
        send(&producer, || {
            BaseRecord::to(topic).key("someone").payload(*message)
        });
    }
    producer.flush(LIMIT).unwrap();
}

/// Writes the same message `count` times, each in a separate batch, as a slow stream does.
pub fn write_one_by_one(kafka: &Kafka, topic: &str, message: &[u8], count: u64) {
    let producer = producer(kafka, &[("linger.ms", "0"), ("batch.num.messages", "1")]);
    for _ in 0..count {
        send(&producer, || {
            BaseRecord::to(topic).key("someone").payload(message)
        });
    }
    producer.flush(LIMIT).unwrap();
}

/// Writes the same message `count` times, uncompressed and without a key.
pub fn write_many(kafka: &Kafka, topic: &str, message: &[u8], count: u64) {
    let producer = producer(
        kafka,
        &[("linger.ms", "20"), ("message.max.bytes", "4000000")],
    );
    for _ in 0..count {
        send(&producer, || {
            BaseRecord::<(), _>::to(topic).payload(message)
        });
    }
    producer.flush(LIMIT).unwrap();
}

/// Returns the partition and the tweet of each committed message of a topic, as another program reads
/// them.
pub fn committed(kafka: &Kafka, topic: &str) -> Vec<(i32, serde_json::Value)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("group.id", "independent")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
    let count = metadata.topics()[0].partitions().len();
    let mut assignment = TopicPartitionList::new();
    for partition in (0..).take(count) {
        let added = assignment.add_partition_offset(topic, partition, Offset::Beginning);
        added.unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut messages, mut ends) = (Vec::new(), BTreeSet::new());
    while ends.len() < count {
        match consumer.poll(LIMIT).expect("the end of each partition") {
            Ok(message) => {
                let tweet = serde_json::from_slice(message.payload().unwrap()).unwrap();
                messages.push((message.partition(), tweet));
            }
            Err(KafkaError::PartitionEOF(partition)) => {
                ends.insert(partition);
            }
            Err(error) => panic!("{error}"),
        }
    }
    messages
}

pub fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap()
}

/// Adds partitions to a topic, as another program does.
pub fn add_partitions(kafka: &Kafka, topic: &str, count: usize) {
    let network = tokio::runtime::Runtime::new().unwrap();
    let more = [NewPartitions::new(topic, count)];
    let admin = admin(kafka);
    let added = network.block_on(admin.create_partitions(&more, &AdminOptions::new()));
    added.unwrap().remove(0).unwrap();
}

/// Returns the process id of the embedded broker at `address`.
pub fn broker_process(address: &str) -> String {
    let pattern = format!("^[^ ]*tansu broker --listener-url tcp://{address}");
    let found = Command::new("pgrep")
        .args(["-f", &pattern])
        .output()
        .unwrap();
    let id = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    assert!(
        id.parse::<u32>().is_ok(),
        "the process of the broker: {id:?}"
    );
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

/// Starts a proxy to the server at `base` that forwards the bytes in pieces of a few bytes. Returns the
/// addresses of the server and of the proxy.
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

/// Makes two tests of each function `fn(kafka: &Kafka, topic: &str)`. One has its own embedded broker, and
/// the other one has its own topic on a shared Apache Kafka.
#[macro_export]
macro_rules! on_both_brokers {
    ($($test:ident,)*) => {
        mod embedded {
            $(#[test] fn $test() { super::$test(&$crate::broker(), "tweets") })*
        }
        mod apache {
            $(#[test] fn $test() {
                if let Some(apache) = $crate::apache::shared() {
                    super::$test(&apache.kafka(), stringify!($test))
                }
            })*
        }
    };
}

/// A replay file, and the count and sum that a listener must reach with it.
pub struct Story {
    pub file: tempfile::NamedTempFile,
    pub count: u64,
    pub sum: f64,
}

impl Story {
    /// Creates a file of tweets by 50 authors. Their times are distributed over the duration `over`.
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
            let text = texts[number as usize % texts.len()];
            let tweet = Tweet::new(format!("author {}", number % 50), text)
                .id(number.to_string())
                .created_at(Timestamp::from_millisecond(at).unwrap())
                .followers(number * 37 % 100_003);
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

    /// Waits until each tweet is counted once, with the sum of an undisturbed run.
    pub fn until_counted(&self, listening: &Listening) {
        until_counted(listening, self.count);
        let sum = listening.status().total.sum;
        assert!((sum - self.sum).abs() < 1e-6, "{sum} is not {}", self.sum);
    }
}

/// Returns an example program, which `cargo test` builds beside the tests. `cargo test --workspace --test NAME`
/// does not build it: after a change, run `cargo build --examples --all-features` first.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().join("examples");
    Command::new(folder.join(name))
}

/// An example program that ends with its owner.
pub struct Program(Child);

impl Program {
    /// Starts a program. It prints its result at its end, see [`result`](Program::result).
    pub fn start(name: &str, kafka: &Kafka, arguments: &[&str]) -> Program {
        let mut command = example(name);
        command
            .args(["--bootstrap", kafka.address(), "--json"])
            .args(arguments);
        Program::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Program {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        Program(command.spawn().unwrap())
    }

    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub fn result(mut self) -> serde_json::Value {
        use std::io::Read;
        let mut said = String::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the resident memory of a process, in MB; 0 if it has ended.
pub fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
