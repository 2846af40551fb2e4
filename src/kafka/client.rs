//! The connection to a broker: its address, its settings, and the requests that are not part of a
//! stream.

use super::address::{self, Address};
use super::broker::{Broker, Engine};
use super::settings::{Role, Settings};
use super::topic_config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use std::time::{Duration, Instant};

/// The hint of a request that got no answer.
pub(super) const IS_RUNNING: &str = "check that the broker is running";
/// The cluster id of the embedded broker, unless another id is configured.
const EMBEDDED_CLUSTER_ID: &str = "tansu_cluster";

pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(4);
/// How long it may take until all brokers of a cluster know a new topic.
const METADATA_SPREAD: Duration = Duration::from_secs(2);

/// How often a producer or a consumer asks for the partitions of its topic, in milliseconds. With
/// librdkafka's default, it would find an added partition only after five minutes.
pub(crate) const METADATA_INTERVAL_MS: &str = "2000";

/// A connection to a broker, and the broker's process if this process started it.
pub(crate) struct Client {
    address: String,
    pub(super) settings: Settings,
    pub(super) admin: AdminClient<DefaultClientContext>,
    broker: Option<Broker>,
}

pub(crate) struct Cluster {
    pub(crate) brokers: usize,
    /// Whether the broker is the embedded one, whichever process started it.
    pub(crate) is_embedded: bool,
    metadata: Metadata,
    address: String,
}

impl Cluster {
    /// Returns the partition count of a topic.
    pub(crate) fn partitions(&self, topic: &str) -> Result<usize> {
        Ok(self.topic(topic)?.partitions().len())
    }

    /// Returns the configuration that creates a topic with the partitions and replicas of this one.
    pub(crate) fn config_like(&self, topic: &str) -> Result<TopicConfig> {
        let partitions = self.topic(topic)?.partitions();
        let replicas = partitions.first().map_or(0, |first| first.replicas().len());
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        Ok(TopicConfig {
            partitions: number(partitions.len()),
            replication: number(replicas.max(1)),
            ..TopicConfig::default()
        })
    }

    pub(super) fn advertised(&self) -> Vec<Address> {
        let brokers = self.metadata.brokers().iter();
        brokers
            .filter_map(|broker| Address::new(broker.host(), broker.port()))
            .collect()
    }

    /// Returns the addresses that the brokers advertise, as `bootstrap.servers` of a client.
    pub(crate) fn bootstrap(&self) -> String {
        address::list(&self.advertised())
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.metadata.topics().iter().map(MetadataTopic::name)
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        self.topics().any(|name| name == topic)
    }

    fn topic(&self, name: &str) -> Result<&MetadataTopic> {
        let mut topics = self.metadata.topics().iter();
        topics
            .find(|topic| topic.name() == name && !topic.partitions().is_empty())
            .ok_or_else(|| Error::no_topic(name, &self.address))
    }
}

impl Client {
    pub(super) fn new(
        address: String,
        settings: Settings,
        broker: Option<Broker>,
    ) -> Result<Client> {
        let admin = config(&address, &settings, Role::Admin)
            // A request for a topic by name must not create it.
            .set("allow.auto.create.topics", "false")
            .create()
            .map_err(|error| invalid_config(&address, &error))?;
        Ok(Client {
            address,
            settings,
            admin,
            broker,
        })
    }

    /// Creates a client whose broker does not exist.
    #[cfg(test)]
    pub(crate) fn without_broker() -> Client {
        Client::new("127.0.0.1:1".into(), Settings::default(), None).unwrap()
    }

    /// Returns the address of the broker, as `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns which broker program this process started, if it started one.
    pub(crate) fn engine(&self) -> Option<Engine> {
        self.broker.as_ref().map(|broker| broker.command.engine)
    }

    /// Returns the broker that this process has started. The error message contains `action`.
    pub(super) fn own_broker(&self, action: &str) -> Result<&Broker> {
        self.broker.as_ref().ok_or_else(|| {
            Error::invalid_argument(
                format!("{action} the broker at {}", self.address),
                "another program started it, and others may use it",
                "start a broker with `Kafka::start()` or `Kafka::start_with(…)`",
            )
        })
    }

    /// Returns the exit reason if this process started the broker and the broker has exited. The first
    /// call after the exit reads the broker's log, so it may block briefly.
    pub(crate) fn exit_reason(&self) -> Option<String> {
        self.broker.as_ref().and_then(Broker::exit_reason)
    }

    /// Returns the configuration of a consumer or producer for this broker.
    pub(crate) fn config(&self, role: Role) -> ClientConfig {
        config(&self.address, &self.settings, role)
    }

    pub(crate) fn cluster(&self) -> Result<Cluster> {
        self.fetch_cluster(REQUEST_LIMIT)
    }

    pub(super) fn fetch_cluster(&self, limit: Duration) -> Result<Cluster> {
        let action = format!("fetch metadata from Kafka at {}", self.address);
        let failed = |error| Error::kafka(action, &error, IS_RUNNING);
        // This requests the metadata of all topics. On a broker with auto.create.topics.enable, a
        // request for one topic would create it.
        let client = self.admin.inner();
        let metadata = client.fetch_metadata(None, limit).map_err(failed)?;
        Ok(Cluster {
            brokers: metadata.brokers().len(),
            is_embedded: client.fetch_cluster_id(limit).as_deref() == Some(EMBEDDED_CLUSTER_ID),
            metadata,
            address: self.address.clone(),
        })
    }

    /// Returns the partition count of a topic that `cluster` has.
    ///
    /// # Errors
    /// [`ErrorKind::NotPermitted`] if the cluster does not allow this client to see whether the topic exists,
    /// and [`ErrorKind::NoTopic`] if it does not exist.
    pub(crate) fn partitions_in(&self, cluster: &Cluster, topic: &str) -> Result<usize> {
        let partitions = cluster.partitions(topic);
        // The embedded broker has no permissions, and its answer to a request for a missing topic by
        // name crashes librdkafka.
        if partitions.is_ok() || cluster.is_embedded {
            return partitions;
        }
        let client = self.admin.inner();
        let named = client.fetch_metadata(Some(topic), REQUEST_LIMIT).ok();
        let error = named.and_then(|named| named.topics().first()?.error());
        let denied = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        if error == Some(denied) {
            let message = format!(
                "no permission to describe topic {topic:?} at {}",
                self.address
            );
            return Err(Error::new(ErrorKind::NotPermitted, message)
                .with_code(RDKafkaErrorCode::TopicAuthorizationFailed)
                .with_hint(
                    "ask the administrator of the cluster for the permissions DESCRIBE and READ on the \
                     topic, and WRITE to stream to it, or check the name",
                ));
        }
        partitions
    }

    /// Returns the partition count of a topic. In a cluster of several brokers, this function waits for up to
    /// 2 seconds until the broker that answers knows a new topic.
    pub(crate) fn partitions(&self, topic: &str) -> Result<usize> {
        let deadline = Instant::now() + METADATA_SPREAD;
        loop {
            let cluster = self.cluster()?;
            let partitions = self.partitions_in(&cluster, topic);
            if partitions.is_ok() || cluster.brokers == 1 || Instant::now() > deadline {
                return partitions;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Fetches the end of each partition of a topic. `limit` is the time limit of each request.
pub(crate) fn fetch_ends<C: ClientContext>(
    client: &rdkafka::client::Client<C>,
    topic: &str,
    partitions: usize,
    limit: Duration,
) -> KafkaResult<Vec<i64>> {
    let end = |partition| Ok(client.fetch_watermarks(topic, partition, limit)?.1);
    (0..).take(partitions).map(end).collect()
}

/// Warms the metadata cache of a new client: it blocks until the client knows the topic and is
/// connected to a broker of the cluster.
///
/// The answer to the first request names only the brokers, and librdkafka would ask again after half a
/// second. This function sends the second request at once, and a broker of the cluster answers it
/// completely. An error is ignored, because the client retries.
pub(crate) fn warm_metadata_cache<C: ClientContext>(
    client: &rdkafka::client::Client<C>,
    topic: &str,
) {
    for _ in 0..2 {
        if client.fetch_metadata(Some(topic), REQUEST_LIMIT).is_err() {
            break;
        }
    }
}

pub(super) fn invalid_config(address: &str, error: &KafkaError) -> Error {
    let action = format!("create a client for {address:?}");
    Error::kafka(action, error, "check the variables that start with KAFKA_")
}

fn config(address: &str, settings: &Settings, role: Role) -> ClientConfig {
    let mut config = ClientConfig::new();
    settings.apply(role, &mut config);
    config
        .set("bootstrap.servers", address)
        // Connect to each broker as soon as it is known, instead of up to a second later.
        .set("enable.sparse.connections", "false")
        // Find a restarted broker within half a second. By default, librdkafka waits up to ten seconds
        // between two attempts.
        .set("reconnect.backoff.max.ms", "500")
        .set("log_level", "0");
    config
}
