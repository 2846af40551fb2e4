//! Apache Kafka: finding or starting a broker, and the topic that carries the tweets.
//!
//! Where the broker is: `KAFKA_BOOTSTRAP_SERVERS` if it is set; else 127.0.0.1:9092 if something
//! there speaks Kafka; else the embedded broker, which [`Kafka::start`] starts there. It is a real
//! broker, a process of its own that speaks Kafka's protocol; only it keeps everything in memory.
//!
//! # Runs
//! A topic is a log: what is in it stays, and a second run adds to it. The original notebooks keep
//! messages for one second only, so that an old run is not counted again, and lose tweets whenever
//! the reader is slower than that. Here nothing has to vanish. Making the topic begins a *run*, its
//! tweets carry the run's mark in a Kafka header, and a listener counts the newest run only. Which
//! of the two notebooks starts first does not matter.

mod embedded;

use crate::notebook::Card;
use crate::runtime::{locked, runtime};
use crate::{Error, Result};
use embedded::Embedded;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::HashMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The environment variable that names the broker, as `host:port`.
pub const BOOTSTRAP_VARIABLE: &str = "KAFKA_BOOTSTRAP_SERVERS";
const DEFAULT_ADDRESS: &str = "127.0.0.1:9092";
const DEFAULT_PORT: u16 = 9092;
/// How long anything that is asked of a broker may take.
const ANSWER: Duration = Duration::from_secs(4);
/// How long a Listener that was started first waits for the Streamer's broker.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a streamer's reports are kept; only the newest is looked at.
const REPORTS_KEPT: Duration = Duration::from_secs(60 * 60);
/// The longest name of a topic, so that the one beside it for the reports has a legal name too.
const LONGEST_NAME: usize = 240;
/// The header that carries a run's mark: see the module's words on runs.
pub(crate) const RUN_HEADER: &str = "run";

/// A broker to talk to. Clones talk to the same one; with the last one, a broker that
/// [`Kafka::start`] started is stopped.
#[derive(Clone)]
pub struct Kafka {
    shared: Arc<Shared>,
}

struct Shared {
    address: String,
    /// For what is asked of the broker, apart from the streams themselves.
    admin: AdminClient<DefaultClientContext>,
    embedded: Option<Embedded>,
    runs: Mutex<HashMap<String, Run>>,
}

/// The mark of a run: when it began, in milliseconds since 1970. A later one is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run(u64);

impl Run {
    fn new() -> Run {
        Run(jiff::Timestamp::now().as_millisecond().unsigned_abs())
    }

    pub(crate) fn to_header(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_header(value: &[u8]) -> Option<Run> {
        value
            .try_into()
            .ok()
            .map(|bytes| Run(u64::from_be_bytes(bytes)))
    }
}

/// How a topic is made.
///
/// ```
/// use live_sentiment::prelude::*;
///
/// let wide = TopicConfig { partitions: 8, ..TopicConfig::default() };
/// assert_eq!(wide.retention, Duration::from_secs(24 * 60 * 60));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// In how many logs the topic is cut, 1 or more; each keeps its own order, and as many readers
    /// of one consumer group can share the work. Default: 1.
    pub partitions: i32,
    /// On how many brokers each partition is kept, 1 or more. Default: 1.
    pub replication: i32,
    /// How long a message is kept at least. Default: a day. The embedded broker keeps all until it
    /// stops.
    pub retention: Duration,
}

impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig {
            partitions: 1,
            replication: 1,
            retention: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// A topic as the broker has it, with a new run begun in it.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// How it was asked for, if this call made it; `None` if it was there.
    pub made: Option<TopicConfig>,
}

impl Kafka {
    /// Finds the broker, or starts the embedded one on 127.0.0.1:9092 (see the module's words).
    ///
    /// # Errors
    /// [`Error::NoBroker`] if `KAFKA_BOOTSTRAP_SERVERS` names one that is not there,
    /// [`Error::NotKafka`] if something else uses the port, [`Error::Broker`] if the embedded
    /// broker does not start. All within 5 seconds.
    pub fn start() -> Result<Kafka> {
        if let Some(address) = address_from_environment() {
            return Kafka::at(&address);
        }
        match Kafka::at(DEFAULT_ADDRESS) {
            Err(Error::NoBroker { .. }) => Kafka::embedded(DEFAULT_PORT),
            found => found,
        }
    }

    /// Finds the broker, and waits up to 30 seconds for it, so that the Listener may be started
    /// before the Streamer.
    ///
    /// # Errors
    /// [`Error::NoBroker`] when the time is over; [`Error::NotKafka`] at once.
    pub fn connect() -> Result<Kafka> {
        let address = address_from_environment().unwrap_or_else(|| DEFAULT_ADDRESS.into());
        let patience = Instant::now() + PATIENCE;
        let mut said = false;
        loop {
            match Kafka::at(&address) {
                Err(Error::NoBroker { .. }) if Instant::now() < patience => {
                    if !said {
                        tracing::info!(
                            "waiting up to {} s for Kafka at {address}: run the Streamer's Kafka cell",
                            PATIENCE.as_secs()
                        );
                        said = true;
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
                result => return result,
            }
        }
    }

    /// The broker at `address` (`host:port`, or several with commas between).
    ///
    /// # Errors
    /// [`Error::NoBroker`] or [`Error::NotKafka`], within 5 seconds.
    pub fn at(address: &str) -> Result<Kafka> {
        reach(address)?;
        let kafka = Kafka::new(address.to_owned(), None)?;
        kafka.topics().map_err(|_| Error::NotKafka {
            address: address.into(),
            seconds: ANSWER.as_secs(),
        })?;
        Ok(kafka)
    }

    /// Starts an embedded broker on `port` of 127.0.0.1; port 0 takes a free one. It stops with
    /// the last clone of what is returned, and with this process, however that ends.
    ///
    /// # Errors
    /// [`Error::Broker`] if its program is missing, the port is taken or it does not answer.
    pub fn embedded(port: u16) -> Result<Kafka> {
        let embedded = Embedded::start(port)?;
        let address = embedded.address().to_owned();
        let kafka = Kafka::new(address, Some(embedded))?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let answer = reach(kafka.address()).and_then(|()| kafka.topics());
            match answer {
                Ok(_) => return Ok(kafka),
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => {
                    return Err(match &kafka.shared.embedded {
                        Some(embedded) => embedded.failed(&error),
                        None => error,
                    });
                }
            }
        }
    }

    fn new(address: String, embedded: Option<Embedded>) -> Result<Kafka> {
        let admin = client(&address)
            // A broker that comes back is found again within half a second.
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .map_err(|error| Error::Kafka {
                tried: format!("made a client for {address:?}"),
                reason: error.to_string(),
                next: "Check the address: it is `host:port`.",
            })?;
        Ok(Kafka {
            shared: Arc::new(Shared {
                address,
                admin,
                embedded,
                runs: Mutex::default(),
            }),
        })
    }

    /// Where the broker is, as `host:port`.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Makes the topic if it is not there, and begins a new run in it: tweets that earlier runs
    /// left in the topic are not counted again. A streamer of this process that still writes to
    /// the topic is stopped first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a configuration that cannot be meant, [`Error::Kafka`] if the broker
    /// refuses.
    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        if config.partitions < 1 || config.replication < 1 {
            return Err(Error::Invalid {
                what: format!("{config:?}"),
                reason: "a topic has at least one partition and one replica",
                next: "Give `TopicConfig::default()`, or numbers from 1 up.",
            });
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=LONGEST_NAME).contains(&name.len())
            || !name.chars().all(legal)
            || matches!(name, "." | "..")
        {
            return Err(Error::Invalid {
                what: format!("topic {name:?}"),
                reason: "a topic's name is 1 to 240 letters, digits, dots, dashes or underscores",
                next: "Give a name such as \"tweets\".",
            });
        }
        crate::streamer::stop_writing_to(self.address(), name);
        // Made first: who waits for the topic finds the one for the reports beside it.
        let reports = TopicConfig {
            partitions: 1,
            retention: REPORTS_KEPT,
            ..config
        };
        self.make_topic(&crate::streamer::report_topic(name), &reports)?;
        let made = self.make_topic(name, &config)?.then_some(config);
        let partitions = self.partitions(name)?;
        self.begin_run(name);
        Ok(Topic {
            name: name.into(),
            partitions,
            made,
        })
    }

    /// True if it was made, false if it was there.
    fn make_topic(&self, name: &str, config: &TopicConfig) -> Result<bool> {
        let tried = format!("made the topic {name:?}");
        let failed = |reason: String| Error::Kafka {
            tried: tried.clone(),
            reason,
            next: "Check its name and numbers, and that the broker has as many brokers as replicas.",
        };
        let retention = config.retention.as_millis().to_string();
        let topic = NewTopic::new(
            name,
            config.partitions,
            TopicReplication::Fixed(config.replication),
        )
        .set("retention.ms", &retention);
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let results = runtime()
            .block_on(self.shared.admin.create_topics([&topic], &options))
            .map_err(|error| failed(error.to_string()))?;
        for result in results {
            match result {
                Ok(_) => {}
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => return Ok(false),
                Err((_, code)) => return Err(failed(code.to_string())),
            }
        }
        // The broker answers before every one of its threads knows the topic.
        let deadline = Instant::now() + ANSWER;
        while self.partitions(name).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(true)
    }

    /// How many partitions the topic has.
    ///
    /// # Errors
    /// [`Error::NoTopic`] if it is not there, [`Error::Kafka`] if the broker does not answer.
    pub fn partitions(&self, topic: &str) -> Result<usize> {
        self.partitions_in(&self.topics()?, topic)
    }

    pub(crate) fn partitions_in(
        &self,
        topics: &HashMap<String, usize>,
        topic: &str,
    ) -> Result<usize> {
        topics
            .get(topic)
            .copied()
            .filter(|count| *count > 0)
            .ok_or_else(|| Error::NoTopic {
                topic: topic.into(),
                address: self.address().into(),
            })
    }

    /// The broker's topics, each with its number of partitions.
    ///
    /// # Errors
    /// [`Error::Kafka`] if the broker does not answer.
    pub fn topics(&self) -> Result<HashMap<String, usize>> {
        let failed = |error: rdkafka::error::KafkaError| Error::Kafka {
            tried: format!("asked {} for its topics", self.address()),
            reason: error.to_string(),
            next: "Check that the broker still runs.",
        };
        // All topics are asked for: to ask for one makes it, on brokers that are set so.
        let admin = self.shared.admin.inner();
        let metadata = admin.fetch_metadata(None, ANSWER).map_err(failed)?;
        let topics = metadata.topics().iter();
        Ok(topics
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect())
    }

    pub(crate) fn client(&self) -> ClientConfig {
        client(self.address())
    }

    /// Waits until a new client knows the topic and is connected to a broker that it learned of.
    ///
    /// Where the client library does not find what it needs at once, it looks again after half a
    /// second. At once it finds nothing: its first answer only tells which brokers there are. The
    /// second comes from one of them, and then all is there. An error is no matter here, because
    /// the client goes on trying.
    pub(crate) fn acquaint<C: ClientContext>(client: &Client<C>, topic: &str) {
        for _ in 0..2 {
            if client.fetch_metadata(Some(topic), ANSWER).is_err() {
                break;
            }
        }
    }

    fn begin_run(&self, topic: &str) {
        let mut runs = locked(&self.shared.runs);
        runs.insert(topic.to_owned(), Run::new());
    }

    /// The run that this process has begun in `topic`, if it has.
    pub(crate) fn run(&self, topic: &str) -> Option<Run> {
        let runs = locked(&self.shared.runs);
        runs.get(topic).copied()
    }

    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        let kind = match self.shared.embedded {
            Some(_) => "embedded broker, in memory; it stops with this notebook's kernel",
            None => "found running",
        };
        Card::new("Kafka")
            .row("address", self.address())
            .row("broker", kind)
            .show();
    }
}

impl Topic {
    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        let card = Card::new(&format!("Topic {}", self.name))
            .row("partitions", &self.partitions.to_string());
        match &self.made {
            Some(config) => card
                .row("replicas", &config.replication.to_string())
                .row("kept for", &format!("{:?}", config.retention))
                .row("run", "the first"),
            None => card.row(
                "run",
                "a new one; tweets of earlier runs are not counted again",
            ),
        }
        .show();
    }
}

fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("broker.address.family", "v4")
        // Brokers are connected to when they become known, and not up to a second later.
        .set("enable.sparse.connections", "false")
        .set("log_level", "0");
    config
}

fn address_from_environment() -> Option<String> {
    std::env::var(BOOTSTRAP_VARIABLE)
        .ok()
        .filter(|address| !address.trim().is_empty())
}

/// Whether something listens at one of the addresses.
fn reach(addresses: &str) -> Result<()> {
    let mut reason = "no address given".to_owned();
    for address in addresses.split(',').map(str::trim) {
        match address.to_socket_addrs() {
            Err(error) => reason = error.to_string(),
            Ok(resolved) => {
                for socket in resolved {
                    match TcpStream::connect_timeout(&socket, Duration::from_secs(1)) {
                        Ok(_) => return Ok(()),
                        Err(error) => reason = error.to_string(),
                    }
                }
            }
        }
    }
    Err(Error::NoBroker {
        address: addresses.into(),
        reason,
    })
}
