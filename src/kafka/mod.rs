//! Apache Kafka: finding or starting a broker, and the topic that carries the tweets.
//!
//! [`Kafka`] is the handle to a broker. Its address is `KAFKA_BOOTSTRAP_SERVERS` if that variable
//! is set, and 127.0.0.1:9092 otherwise. If no broker listens there, [`Kafka::start`] starts the
//! embedded one: a real broker in its own process that speaks Kafka's protocol and keeps its topics
//! in memory. [`Kafka::start_with`] can start Apache Kafka instead, which keeps its topics on disk.
//! The module [`settings`] describes brokers that require a password.
//!
//! # Runs
//! A topic is a log: messages stay in it, and a second run appends to it. The original notebooks keep
//! messages for only one second, because an old run must not be counted again. As a result, they lose
//! tweets whenever the reader is slower. Here, nothing has to be deleted. [`Kafka::create_topic`] begins
//! a *run* and returns a [`Topic`] that carries the identifier of the run. The Streamer writes the
//! identifier to a Kafka header of each message. A listener counts only the newest run. The two notebooks
//! may start in either order.

mod address;
mod admin;
mod apache;
mod broker;
mod client;
mod connect;
mod consumer;
mod embedded;
mod lag;
mod peer;
pub mod settings;
mod topic;
mod topic_config;
mod writers;

pub(crate) use admin::{COMPACTED, is_compacted};
pub use broker::Engine;
pub(crate) use client::{Client, Cluster, METADATA_INTERVAL_MS, fetch_ends, warm_metadata_cache};
pub(crate) use consumer::TopicContext;
pub(crate) use lag::LagMeter;
pub use lag::PartitionLag;
pub use rdkafka::types::RDKafkaErrorCode;
pub(crate) use settings::Role;
pub use topic::Topic;
pub(crate) use topic::{check_name, create_like, newest_status_runs, status_topic};
pub use topic_config::TopicConfig;
pub(crate) use writers::{register_writer, stop_writer};

use crate::error::{ErrorKind, Result};
use crate::notebook::Card;
use crate::task::interrupt;
use settings::Settings;
use std::fmt;
use std::sync::Arc;

/// A handle to a broker. Clones refer to the same broker. A broker that [`Kafka::start`] started
/// stops when the last clone and every [`Topic`], stream, listener and scorer of the broker have been
/// dropped.
///
/// Most calls block for at most a few seconds. The documentation of the others says how long they may
/// block. In a notebook, an interrupt ends a call with [`ErrorKind::Interrupted`]. In async code, run a
/// call with [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html).
#[derive(Clone)]
#[must_use = "dropping its last clone stops the broker that it started"]
pub struct Kafka {
    client: Arc<Client>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("address", &self.address())
            .field("engine", &self.engine())
            .finish_non_exhaustive()
    }
}

impl Kafka {
    /// Connects to the broker at `KAFKA_BOOTSTRAP_SERVERS`. If the variable is not set, connects to
    /// 127.0.0.1:9092, and starts the embedded broker there if no broker is running.
    ///
    /// # Errors
    /// Within 5 seconds:
    /// - [`ErrorKind::InvalidArgument`] if the address or a setting is malformed
    /// - [`ErrorKind::NoBroker`] if `KAFKA_BOOTSTRAP_SERVERS` is set and nothing listens there
    /// - [`ErrorKind::NotKafka`] if another program uses the port, or if the broker expects another
    ///   security protocol
    /// - [`ErrorKind::AccessDenied`] if the broker rejects the credentials
    /// - [`ErrorKind::Unreachable`] if the address that the broker advertises cannot be reached
    /// - [`ErrorKind::Start`] if the embedded broker does not start
    pub fn start() -> Result<Kafka> {
        Kafka::start_with(Engine::Embedded)
    }

    /// Connects to the broker as [`Kafka::start`] does, but starts the given engine if no broker is running.
    /// The started broker stops when the last clone of the handle is dropped or this process ends.
    ///
    /// Apache Kafka takes 5 to 10 seconds to start. The first start downloads it, which takes 20 seconds
    /// more. Its data is in `target/kafka`, and its log is `target/kafka/server.log`.
    ///
    /// # Errors
    /// The errors of [`Kafka::start`]. [`ErrorKind::Start`] comes as soon as the started process exits, or
    /// if Apache Kafka does not answer within 2 minutes.
    pub fn start_with(engine: Engine) -> Result<Kafka> {
        let settings = Settings::from_env()?;
        Kafka::call("connect to Kafka", move || {
            if let Some(address) = settings.address() {
                let connected = connect::connect(address.to_owned(), settings.clone());
                return connected.map_err(|error| match error.kind() {
                    ErrorKind::NoBroker => error.with_hint(
                        "start a broker at this address; if this call should start one, unset \
                         KAFKA_BOOTSTRAP_SERVERS, and restart the kernel",
                    ),
                    _ => error,
                });
            }
            match connect::connect(connect::DEFAULT_ADDRESS.into(), settings) {
                Err(error) if error.kind() == ErrorKind::NoBroker => {
                    connect::connect_to_own(match engine {
                        Engine::Embedded => embedded::start(connect::DEFAULT_PORT)?,
                        Engine::Apache => apache::start()?,
                    })
                }
                connected => connected,
            }
        })
    }

    /// Connects to the broker at `KAFKA_BOOTSTRAP_SERVERS`, or at 127.0.0.1:9092 if the variable is not set.
    /// It waits up to 30 seconds for the broker, so the Listener may be started before the Streamer.
    ///
    /// # Errors
    /// [`ErrorKind::NoBroker`] after 30 seconds; [`ErrorKind::InvalidArgument`], [`ErrorKind::NotKafka`],
    /// [`ErrorKind::AccessDenied`] and [`ErrorKind::Unreachable`] within 5 seconds, as for [`Kafka::start`].
    pub fn connect() -> Result<Kafka> {
        let settings = Settings::from_env()?;
        Kafka::call("connect to Kafka", move || {
            connect::wait_for_broker(&settings)
        })
    }

    /// Connects to the broker at `address`, such as `host:port`. The addresses of several brokers of a
    /// cluster are separated by commas.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`], [`ErrorKind::NoBroker`], [`ErrorKind::NotKafka`],
    /// [`ErrorKind::AccessDenied`] or [`ErrorKind::Unreachable`], within 5 seconds, as for
    /// [`Kafka::start`].
    pub fn at(address: &str) -> Result<Kafka> {
        let (address, settings) = (address.to_owned(), Settings::from_env()?);
        Kafka::call("connect to Kafka", move || {
            connect::connect(address, settings)
        })
    }

    /// Starts an embedded broker on `port` of 127.0.0.1. With port 0, the operating system selects a free
    /// port. The broker stops when the last clone of the handle is dropped or this process ends in any way.
    ///
    /// # Errors
    /// [`ErrorKind::Start`] if the program is missing, the port is taken, or the broker does not
    /// answer within 4 seconds.
    pub fn embedded(port: u16) -> Result<Kafka> {
        Kafka::call("start the embedded broker", move || {
            connect::connect_to_own(embedded::start(port)?)
        })
    }

    /// Kills the broker at once, like a crash. Use it to see what survives a crash: Apache Kafka keeps its
    /// messages on disk, and the embedded broker loses its topics. Streamers and listeners wait until
    /// [`restart`](Kafka::restart) starts the broker again.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if this process did not start the broker, because other programs may
    /// use it.
    ///
    /// # Examples
    /// ```no_run
    /// use live_sentiment::prelude::*;
    ///
    /// # fn main() -> Result<()> {
    /// let kafka = Kafka::start_with(Engine::Apache)?;
    /// kafka.kill()?;
    /// kafka.restart()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn kill(&self) -> Result<()> {
        let client = self.client.clone();
        interrupt::call("kill the broker", move || {
            client.own_broker("kill")?.kill();
            Ok(())
        })
    }

    /// Starts the broker again at the same address, and waits until it answers. If the broker is still
    /// running, this call kills it first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if this process did not start the broker; [`ErrorKind::Start`] if the
    /// broker does not start again.
    pub fn restart(&self) -> Result<()> {
        let client = self.client.clone();
        interrupt::call("restart the broker", move || {
            client.own_broker("restart")?.restart()?;
            connect::wait_until_started(&client)
        })
    }

    fn call(
        action: &str,
        connect: impl FnOnce() -> Result<Client> + Send + 'static,
    ) -> Result<Kafka> {
        let client = Arc::new(interrupt::call(action, connect)?);
        Ok(Kafka { client })
    }

    /// Returns the address of the broker, as `host:port`.
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// Returns which broker program this process has started, or `None` if another program has started the
    /// broker.
    pub fn engine(&self) -> Option<Engine> {
        self.client.engine()
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Creates the topic if it does not exist, and begins a new run in it. Tweets of earlier runs are not
    /// counted again. If a streamer of this process still writes to the topic, it is stopped first.
    ///
    /// The configuration of an existing topic stays as it is. If it differs from `config`, the log
    /// and the card of the returned topic say so.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an invalid configuration, an invalid name or a name that Kafka
    /// reserves (`__…`); [`ErrorKind::Kafka`] if the broker refuses the request.
    ///
    /// # Examples
    /// ```no_run
    /// use live_sentiment::prelude::*;
    ///
    /// # fn main() -> Result<()> {
    /// let kafka = Kafka::start()?;
    /// let topic = kafka.create_topic("tweets", TopicConfig::default())?;
    /// let streaming = Streamer::new(&topic).start(Demo::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        let (client, name) = (self.client.clone(), name.to_owned());
        interrupt::call("create the topic", move || {
            topic::create(&client, &name, config)
        })
    }

    /// Opens an existing topic and joins the newest run in it. Use it for a second streamer, or for a
    /// streamer that continues after a crash.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an invalid name, [`ErrorKind::NoTopic`] if the topic does not
    /// exist, [`ErrorKind::NotPermitted`] if the cluster does not allow this client to see whether it exists,
    /// [`ErrorKind::Kafka`] if the broker does not answer.
    pub fn open_topic(&self, name: &str) -> Result<Topic> {
        let (client, name) = (self.client.clone(), name.to_owned());
        interrupt::call("open the topic", move || topic::open(&client, &name))
    }

    /// Returns the partition count of a topic.
    ///
    /// # Errors
    /// [`ErrorKind::NoTopic`] if the topic does not exist, [`ErrorKind::NotPermitted`] if the cluster does
    /// not allow this client to see whether it exists, [`ErrorKind::Kafka`] if the broker does not answer.
    pub fn partitions(&self, topic: &str) -> Result<usize> {
        let (client, topic) = (self.client.clone(), topic.to_owned());
        interrupt::call("count the partitions", move || client.partitions(&topic))
    }

    /// Displays a status card in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        let broker = match self.client.engine() {
            Some(Engine::Embedded) => {
                "embedded broker, in memory; it stops with this notebook's kernel"
            }
            Some(Engine::Apache) => "Apache Kafka, on disk; it stops with this notebook's kernel",
            None => "already running",
        };
        Card::new("Kafka")
            .row("address", self.address())
            .row("broker", broker)
            .show();
    }
}
