//! Connects to a broker. If the broker does not answer, this module finds out why.

use super::address::{self, Address};
use super::broker::Broker;
use super::client::{Client, Cluster, REQUEST_LIMIT, invalid_config};
use super::peer::{self, Peer};
use super::settings::{Role, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::task::{block_on, locked};
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::statistics::{self, Statistics};
use rdkafka::types::RDKafkaErrorCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub(super) const DEFAULT_ADDRESS: &str = "127.0.0.1:9092";
pub(super) const DEFAULT_PORT: u16 = 9092;
/// How long a listener waits for a broker that the Streamer starts.
const BROKER_WAIT: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The time limits for the first answer, and for the second attempt, which finds out why there was no
/// answer. Together with the limits of the other connections, they stay below 5 seconds.
const FIRST_ANSWER: Duration = Duration::from_millis(1_500);
const SECOND_ANSWER: Duration = Duration::from_millis(1_000);
/// How often the second attempt checks what librdkafka has learned.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn connect(address: String, settings: Settings) -> Result<Client> {
    // Check this before creating the client, because a client starts several threads, and a listener
    // retries often.
    check_listening(&address)?;
    let client = Client::new(address, settings, None)?;
    client.check_reachable()?;
    Ok(client)
}

impl Client {
    /// Fetches the metadata of the cluster, and checks that one of the addresses that it advertises can be
    /// reached. It blocks for up to 5 seconds.
    ///
    /// # Errors
    /// [`ErrorKind::NoBroker`], [`ErrorKind::NotKafka`], [`ErrorKind::AccessDenied`] or
    /// [`ErrorKind::Unreachable`].
    pub(crate) fn check_reachable(&self) -> Result<Cluster> {
        let listening = check_listening(self.address())?;
        let Ok(cluster) = self.fetch_cluster(FIRST_ANSWER) else {
            diagnose(self, &listening)?;
            return self.cluster();
        };
        // A cluster that is starting may not name a broker yet.
        let advertised = cluster.advertised();
        if !advertised.is_empty() {
            reach(self, &advertised)?;
        }
        Ok(cluster)
    }
}

/// Connects to the broker of the settings, and waits for it while nothing listens there.
pub(super) fn wait_for_broker(settings: &Settings) -> Result<Client> {
    let address = settings.address().unwrap_or(DEFAULT_ADDRESS);
    let deadline = Instant::now() + BROKER_WAIT;
    let mut logged = false;
    loop {
        match connect(address.to_owned(), settings.clone()) {
            Err(error) if error.kind() == ErrorKind::NoBroker && Instant::now() < deadline => {
                if !logged {
                    let seconds = BROKER_WAIT.as_secs();
                    tracing::warn!(%address, seconds, "waiting for Kafka: run the Streamer's Kafka cell");
                    logged = true;
                }
                std::thread::sleep(RETRY_PAUSE);
            }
            result => return result,
        }
    }
}

/// Connects to a broker that this process has just started.
pub(super) fn connect_to_own(broker: Broker) -> Result<Client> {
    let address = broker.command.address.clone();
    let client = Client::new(address, Settings::default(), Some(broker))?;
    wait_until_started(&client)?;
    Ok(client)
}

/// Waits until the broker that this process has just started answers.
pub(super) fn wait_until_started(client: &Client) -> Result<()> {
    let broker = client.own_broker("start")?;
    let deadline = Instant::now() + broker.command.start_limit;
    loop {
        let answer = check_listening(client.address()).and_then(|_| client.cluster());
        let Err(error) = answer else {
            return Ok(());
        };
        if Instant::now() > deadline || broker.exit_reason().is_some() {
            return Err(broker.start_error(&error));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn failed(kind: ErrorKind, address: &str, reason: &str, hint: &'static str) -> Error {
    Error::failed(kind, format!("connect to Kafka at {address}"), reason, hint)
}

/// Returns the first address at which a program listens.
fn check_listening(address: &str) -> Result<Address> {
    let addresses = Address::parse_list(address)?;
    block_on(address::first_reachable(&addresses)).map_err(|reason| {
        failed(
            ErrorKind::NoBroker,
            address,
            &reason,
            "start a broker with `Kafka::start()?` in the Streamer notebook (or \
             `cargo run --example streamer`), or set KAFKA_BOOTSTRAP_SERVERS to the address of a \
             running one",
        )
    })
}

/// Returns the first of the advertised addresses that can be reached. One is enough, because some brokers
/// of a cluster may be down.
fn reach(client: &Client, advertised: &[Address]) -> Result<Address> {
    let reached = block_on(address::first_reachable(advertised));
    reached.map_err(|reason| unreachable(client, advertised, reason))
}

fn unreachable(client: &Client, advertised: &[Address], reason: String) -> Error {
    let (address, advertised) = (client.address(), address::list(advertised));
    let message = format!(
        "failed to connect to Kafka: the broker at {address} answers, but it advertises {advertised}, \
         which cannot be reached from here: {reason}"
    );
    Error::new(ErrorKind::Unreachable, message).with_hint(
        "set `advertised.listeners` of the broker to an address that this machine reaches; for a \
         broker in a container, see docs/kafka.md",
    )
}

/// Finds out why a listening program does not answer. Returns `Ok` if it now answers.
fn diagnose(client: &Client, listening: &Address) -> Result<()> {
    let settings = &client.settings;
    let not_kafka =
        |reason: &str, hint| failed(ErrorKind::NotKafka, client.address(), reason, hint);
    let peer = block_on(peer::identify(listening));
    let mistake = match peer {
        Peer::Http => Some((
            "an HTTP server listens there",
            "set KAFKA_BOOTSTRAP_SERVERS to the address of a broker, or stop that server",
        )),
        Peer::Controller => Some((
            "it is the port of a controller of Kafka, which serves no clients",
            "use the port of the broker, which `listeners` in its server.properties names",
        )),
        Peer::Tls if !settings.is_encrypted() => Some((
            "the port requires encryption",
            "set KAFKA_SECURITY_PROTOCOL to ssl, or to sasl_ssl with a password; see docs/kafka.md",
        )),
        Peer::Broker if settings.is_encrypted() => Some((
            "the port has no encryption",
            "use the encrypted port of the broker, or set KAFKA_SECURITY_PROTOCOL to plaintext, or to \
             sasl_plaintext with a password",
        )),
        _ => None,
    };
    if let Some((reason, hint)) = mistake {
        return Err(not_kafka(reason, hint));
    }
    let brokers = probe(client)?;
    if brokers.is_connected {
        return Ok(());
    }
    if !brokers.advertised.is_empty() {
        let address = reach(client, &brokers.advertised)?;
        let reason = format!("a program listens at {address}, and is no broker");
        return Err(unreachable(client, &brokers.advertised, reason));
    }
    let hint = match peer {
        Peer::Broker if !settings.needs_password() => {
            "the broker may require a password: set KAFKA_SECURITY_PROTOCOL=sasl_plaintext and the \
             variables in docs/kafka.md. Otherwise look at its log"
        }
        Peer::Broker | Peer::Tls => "check that the broker is healthy, and look at its log",
        _ => {
            "if it is a broker, check that it is healthy. Otherwise stop that program, or set \
             KAFKA_BOOTSTRAP_SERVERS to the address of a broker"
        }
    };
    let seconds = REQUEST_LIMIT.as_secs();
    let protocol = settings.protocol();
    let reason = format!(
        "a program listens there, but it did not answer within {seconds} s in the protocol {protocol}"
    );
    Err(not_kafka(&reason, hint))
}

/// Connects again, and returns what librdkafka has learned about the brokers.
fn probe(client: &Client) -> Result<Brokers> {
    let mut config = client.config(Role::Admin);
    let interval = PROBE_INTERVAL.as_millis().to_string();
    let probe = config
        .set("statistics.interval.ms", interval)
        .create_with_context(Probe::default());
    let probe: BaseProducer<Probe> =
        probe.map_err(|error| invalid_config(client.address(), &error))?;
    let deadline = Instant::now() + SECOND_ANSWER;
    while Instant::now() < deadline {
        probe.poll(PROBE_INTERVAL);
        if let Some((hint, reason)) = locked(&probe.context().denied).take() {
            let reason = format!("access denied: {reason}");
            return Err(failed(
                ErrorKind::AccessDenied,
                client.address(),
                &reason,
                hint,
            ));
        }
        if locked(&probe.context().brokers).is_connected {
            break;
        }
    }
    Ok(std::mem::take(&mut *locked(&probe.context().brokers)))
}

/// The brokers of a cluster, as one of them reports them.
#[derive(Default)]
struct Brokers {
    advertised: Vec<Address>,
    /// Whether one of them answers at its advertised address.
    is_connected: bool,
}

/// Records why a broker denies access, which setting to check, and which addresses the brokers advertise.
///
/// The advertised addresses come from librdkafka's statistics. A request for the metadata may get no
/// answer: if none of these addresses can be reached, librdkafka has closed its only connection.
#[derive(Default)]
struct Probe {
    denied: Mutex<Option<(&'static str, String)>>,
    brokers: Mutex<Brokers>,
}

impl ClientContext for Probe {
    fn stats(&self, statistics: Statistics) {
        let mut brokers = Brokers::default();
        let learned = |broker: &&statistics::Broker| broker.source == "learned";
        for broker in statistics.brokers.values().filter(learned) {
            brokers.is_connected |= broker.state == "UP";
            let (host, port) = broker.nodename.rsplit_once(':').unwrap_or_default();
            let port = port.parse().unwrap_or(-1);
            brokers.advertised.extend(Address::new(host, port));
        }
        // When librdkafka connects to the bootstrap address again, it forgets the advertised addresses.
        if !brokers.advertised.is_empty() {
            *locked(&self.brokers) = brokers;
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let hint = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication) => {
                "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"
            }
            Some(RDKafkaErrorCode::SSL) => {
                "check KAFKA_SSL_CA_LOCATION, the file of the certificate authority, and \
                 KAFKA_SECURITY_PROTOCOL"
            }
            _ => return,
        };
        locked(&self.denied).get_or_insert((hint, reason.to_owned()));
    }
}

impl ProducerContext for Probe {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
