//! Apache Kafka: finding or starting a broker, and the topic that carries the tweets.
//!
//! Where the broker is: `KAFKA_BOOTSTRAP_SERVERS` if it is set; else 127.0.0.1:9092 if something
//! there speaks Kafka; else [`Kafka::start`] starts the embedded broker there. That is a real
//! broker, a process of its own that speaks Kafka's protocol; only it keeps everything in memory.
//! [`Kafka::start_with`] starts Apache Kafka instead, which keeps it on disk. A Kafka that asks for
//! a password is reached with the settings that [`settings`] tells of.
//!
//! # Runs
//! A topic is a log: what is in it stays, and a second run adds to it. The original notebooks keep
//! messages for one second only, so that an old run is not counted again, and lose tweets whenever
//! the reader is slower than that. Here nothing has to vanish. Making the topic begins a *run*, its
//! tweets carry the run's mark in a Kafka header, and a listener counts the newest run only. Which
//! of the two notebooks starts first does not matter.

mod apache;
mod broker;
mod embedded;
pub mod settings;
mod topic;

pub(crate) use topic::{RUN_HEADER, Run};
pub use topic::{Topic, TopicConfig};

use crate::notebook::Card;
use crate::runtime::{locked, runtime};
use crate::{Error, Result};
use broker::Broker;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use settings::Settings;
use std::collections::HashMap;
use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The environment variable that names the broker, as `host:port`.
pub const BOOTSTRAP_VARIABLE: &str = "KAFKA_BOOTSTRAP_SERVERS";
const DEFAULT_ADDRESS: &str = "127.0.0.1:9092";
const DEFAULT_PORT: u16 = 9092;
/// How long anything that is asked of a broker may take.
const ANSWER: Duration = Duration::from_secs(4);
/// How long a broker has for its first answer before it is asked for its reasons, and for those.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// How long the brokers of a cluster may take to tell each other of a new topic.
const SPREAD: Duration = Duration::from_secs(2);
/// How long a Listener that was started first waits for the Streamer's broker.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a streamer's reports are kept; only the newest is looked at.
const REPORTS_KEPT: Duration = Duration::from_secs(60 * 60);
/// The longest name of a topic, so that the one beside it for the reports has a legal name too.
const LONGEST_NAME: usize = 240;

/// Which program a broker that we start is. `docs/kafka.md` says when to choose which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Tansu: there at once, no Java, keeps everything in memory until it ends.
    Embedded,
    /// Apache Kafka, on disk: what is in a topic is still there the next time. It needs Java 17 or
    /// newer, and Maven the first time.
    Apache,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Embedded => "the embedded broker",
            Engine::Apache => "Apache Kafka",
        })
    }
}

/// A broker to talk to. Clones talk to the same one; with the last one, a broker that
/// [`Kafka::start`] started is stopped.
#[derive(Clone)]
pub struct Kafka {
    shared: Arc<Shared>,
}

struct Shared {
    address: String,
    settings: Settings,
    /// For what is asked of the broker, apart from the streams themselves.
    admin: AdminClient<DefaultClientContext>,
    broker: Option<Broker>,
    runs: Mutex<HashMap<String, Run>>,
}

/// What a cluster says of itself.
pub(crate) struct Cluster {
    /// How many brokers it has.
    pub(crate) brokers: usize,
    /// Whether its broker is the embedded one, whoever has started it.
    pub(crate) is_embedded: bool,
    topics: HashMap<String, Shape>,
    address: String,
}

#[derive(Clone, Copy)]
struct Shape {
    partitions: usize,
    replication: usize,
}

impl Cluster {
    /// How many partitions the topic has.
    pub(crate) fn partitions(&self, topic: &str) -> Result<usize> {
        self.topics
            .get(topic)
            .map(|shape| shape.partitions)
            .filter(|count| *count > 0)
            .ok_or_else(|| Error::NoTopic {
                topic: topic.into(),
                address: self.address.clone(),
            })
    }

    /// How a topic is to be made that is like this one.
    pub(crate) fn shape(&self, topic: &str) -> Result<TopicConfig> {
        self.partitions(topic)?;
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        Ok(self
            .topics
            .get(topic)
            .map_or_else(TopicConfig::default, |shape| TopicConfig {
                partitions: number(shape.partitions),
                replication: number(shape.replication.max(1)),
                ..TopicConfig::default()
            }))
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }
}

impl Kafka {
    /// Finds the broker, or starts the embedded one on 127.0.0.1:9092 (see the module's words).
    ///
    /// # Errors
    /// [`Error::NoBroker`] if `KAFKA_BOOTSTRAP_SERVERS` names one that is not there,
    /// [`Error::NotKafka`] if something else uses the port, [`Error::Refused`] if it does not let
    /// us in, [`Error::Broker`] if the embedded broker does not start. All within 5 seconds.
    pub fn start() -> Result<Kafka> {
        Kafka::start_with(Engine::Embedded)
    }

    /// Finds the broker, or starts the one that is asked for on 127.0.0.1:9092. It ends with the
    /// last clone of what is returned, and with this process.
    ///
    /// Apache Kafka takes 5 to 10 seconds, and 20 more the first time, when it is fetched. Its
    /// data is below `target/kafka`, its log in `target/kafka/server.log`.
    ///
    /// # Errors
    /// As for [`Kafka::start`]; [`Error::Broker`] as soon as the broker's process has ended.
    pub fn start_with(engine: Engine) -> Result<Kafka> {
        let settings = Settings::from_env()?;
        if let Some(address) = settings.address() {
            return Kafka::reach(address.to_owned(), settings.clone());
        }
        match Kafka::reach(DEFAULT_ADDRESS.into(), settings) {
            Err(Error::NoBroker { .. }) => match engine {
                Engine::Embedded => Kafka::embedded(DEFAULT_PORT),
                Engine::Apache => Kafka::own(apache::start()?, apache::PATIENCE),
            },
            found => found,
        }
    }

    /// Finds the broker, and waits up to 30 seconds for it, so that the Listener may be started
    /// before the Streamer.
    ///
    /// # Errors
    /// [`Error::NoBroker`] when the time is over; [`Error::NotKafka`] and [`Error::Refused`] at
    /// once.
    pub fn connect() -> Result<Kafka> {
        let settings = Settings::from_env()?;
        let address = settings.address().unwrap_or(DEFAULT_ADDRESS).to_owned();
        let patience = Instant::now() + PATIENCE;
        let mut said = false;
        loop {
            match Kafka::reach(address.clone(), settings.clone()) {
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
    /// [`Error::NoBroker`], [`Error::NotKafka`] or [`Error::Refused`], within 5 seconds.
    pub fn at(address: &str) -> Result<Kafka> {
        Kafka::reach(address.into(), Settings::from_env()?)
    }

    fn reach(address: String, settings: Settings) -> Result<Kafka> {
        listens(&address)?;
        let kafka = Kafka::new(address, settings, None)?;
        match kafka.ask(FIRST_ANSWER) {
            Ok(_) => Ok(kafka),
            Err(_) => kafka.why().map(|()| kafka),
        }
    }

    /// Starts an embedded broker on `port` of 127.0.0.1; port 0 takes a free one. It stops with
    /// the last clone of what is returned, and with this process, however that ends.
    ///
    /// # Errors
    /// [`Error::Broker`] if its program is missing, the port is taken or it does not answer.
    pub fn embedded(port: u16) -> Result<Kafka> {
        Kafka::own(embedded::start(port)?, ANSWER)
    }

    /// Waits until a broker that was just started answers.
    fn own(broker: Broker, patience: Duration) -> Result<Kafka> {
        let kafka = Kafka::new(broker.address.clone(), Settings::default(), Some(broker))?;
        let deadline = Instant::now() + patience;
        loop {
            let answer = listens(kafka.address()).and_then(|()| kafka.cluster());
            let Err(error) = answer else { return Ok(kafka) };
            if Instant::now() > deadline || kafka.obituary().is_some() {
                return Err(match &kafka.shared.broker {
                    Some(broker) => broker.failed(&error),
                    None => error,
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn new(address: String, settings: Settings, broker: Option<Broker>) -> Result<Kafka> {
        let admin = client(&address, &settings)
            // A broker that comes back is found again within half a second.
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .map_err(|error| Error::Kafka {
                tried: format!("made a client for {address:?}"),
                reason: error.to_string(),
                next: "Check the address, which is `host:port`, and the settings that start with KAFKA_.",
            })?;
        Ok(Kafka {
            shared: Arc::new(Shared {
                address,
                settings,
                admin,
                broker,
                runs: Mutex::default(),
            }),
        })
    }

    /// Finds out why something that listens does not answer; or it does, after all.
    fn why(&self) -> Result<()> {
        let probe = self.client().create_with_context(Probe::default());
        let probe: BaseProducer<Probe> = probe.map_err(|error| Error::Kafka {
            tried: format!("made a client for {:?}", self.address()),
            reason: error.to_string(),
            next: "Check the settings that start with KAFKA_.",
        })?;
        let deadline = Instant::now() + FIRST_ANSWER;
        while Instant::now() < deadline {
            let wait = Duration::from_millis(250);
            if probe.client().fetch_metadata(None, wait).is_ok() {
                return Ok(());
            }
            probe.poll(Duration::ZERO);
            if let Some((next, reason)) = locked(&probe.context().0).take() {
                return Err(Error::Refused {
                    address: self.address().into(),
                    reason,
                    next,
                });
            }
        }
        Err(Error::NotKafka {
            address: self.address().into(),
            seconds: ANSWER.as_secs(),
            protocol: self.shared.settings.protocol().into(),
        })
    }

    /// Why a broker that this process has started is no more, if it is not.
    pub(crate) fn obituary(&self) -> Option<String> {
        self.shared.broker.as_ref().and_then(Broker::obituary)
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
    pub(crate) fn make_topic(&self, name: &str, config: &TopicConfig) -> Result<bool> {
        let tried = format!("made the topic {name:?}");
        let failed = |reason: String| Error::Kafka {
            tried: tried.clone(),
            reason,
            next: "Check its name and numbers, and that the broker has as many brokers as replicas.",
        };
        let retention = config.retention.as_millis().to_string();
        // A tweet that was taken is on so many brokers at least: one may die and none is lost.
        let insync = ((config.replication + 1) / 2).to_string();
        let topic = NewTopic::new(
            name,
            config.partitions,
            TopicReplication::Fixed(config.replication),
        )
        .set("retention.ms", &retention)
        .set("min.insync.replicas", &insync);
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
        let deadline = Instant::now() + SPREAD;
        loop {
            let cluster = self.cluster()?;
            let partitions = cluster.partitions(topic);
            if partitions.is_ok() || cluster.brokers == 1 || Instant::now() > deadline {
                return partitions;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The brokers and topics.
    pub(crate) fn cluster(&self) -> Result<Cluster> {
        self.ask(ANSWER)
    }

    fn ask(&self, limit: Duration) -> Result<Cluster> {
        let failed = |error: KafkaError| Error::Kafka {
            tried: format!("asked {} for its topics", self.address()),
            reason: error.to_string(),
            next: "Check that the broker still runs.",
        };
        // All topics are asked for: to ask for one makes it, on brokers that are set so.
        let admin = self.shared.admin.inner();
        let metadata = admin.fetch_metadata(None, limit).map_err(failed)?;
        let topics = metadata.topics().iter();
        Ok(Cluster {
            brokers: metadata.brokers().len(),
            is_embedded: admin.fetch_cluster_id(limit).as_deref() == Some(embedded::CLUSTER),
            topics: topics
                .map(|topic| {
                    let partitions = topic.partitions();
                    let shape = Shape {
                        partitions: partitions.len(),
                        replication: partitions.first().map_or(0, |one| one.replicas().len()),
                    };
                    (topic.name().to_owned(), shape)
                })
                .collect(),
            address: self.address().into(),
        })
    }

    pub(crate) fn client(&self) -> ClientConfig {
        client(self.address(), &self.shared.settings)
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

    pub(crate) fn begin_run(&self, topic: &str) {
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
        let kind = match self.shared.broker.as_ref().map(|broker| broker.engine) {
            Some(Engine::Embedded) => {
                "embedded broker, in memory; it stops with this notebook's kernel"
            }
            Some(Engine::Apache) => "Apache Kafka, on disk; it stops with this notebook's kernel",
            None => "found running",
        };
        Card::new("Kafka")
            .row("address", self.address())
            .row("broker", kind)
            .show();
    }
}

fn client(address: &str, settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    settings.apply(&mut config);
    config
        .set("bootstrap.servers", address)
        .set("broker.address.family", "v4")
        // Brokers are connected to when they become known, and not up to a second later.
        .set("enable.sparse.connections", "false")
        .set("log_level", "0");
    config
}

/// Takes down why a broker does not let us in, and what to look at.
#[derive(Default)]
struct Probe(Mutex<Option<(&'static str, String)>>);

impl ClientContext for Probe {
    fn error(&self, error: KafkaError, reason: &str) {
        let next = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication) => {
                "Check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM."
            }
            Some(RDKafkaErrorCode::SSL) => {
                "Check KAFKA_SSL_CA_LOCATION, the certificate authority's file, and \
                 KAFKA_SECURITY_PROTOCOL."
            }
            _ => return,
        };
        locked(&self.0).get_or_insert((next, reason.to_owned()));
    }
}

impl ProducerContext for Probe {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}

/// Whether something listens at one of the addresses.
fn listens(addresses: &str) -> Result<()> {
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
