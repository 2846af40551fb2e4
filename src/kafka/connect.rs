//! Connecting: is there a broker at the address, and if it does not answer, why not?

use super::broker::Broker;
use super::client::{Client, REQUEST_LIMIT, invalid_config};
use super::settings::{Role, Settings};
use crate::runtime::locked;
use crate::{Error, Result};
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub(super) const DEFAULT_ADDRESS: &str = "127.0.0.1:9092";
pub(super) const DEFAULT_PORT: u16 = 9092;
/// How long a listener waits for a broker that the Streamer starts.
const BROKER_WAIT: Duration = Duration::from_secs(30);
/// The pause between two attempts to connect.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The time limit for the first answer, and then for finding out why there is none. Both together
/// stay below 5 seconds.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// Connects to a running broker.
pub(super) fn connect(address: String, settings: Settings) -> Result<Client> {
    check_listening(&address)?;
    let client = Client::new(address, settings, None)?;
    match client.fetch_cluster(FIRST_ANSWER) {
        Ok(_) => Ok(client),
        Err(_) => diagnose(&client).map(|()| client),
    }
}

/// Connects to the broker of the settings, and waits for it while nothing listens there.
pub(super) fn wait_for_broker(settings: &Settings) -> Result<Client> {
    let address = settings.address().unwrap_or(DEFAULT_ADDRESS);
    let deadline = Instant::now() + BROKER_WAIT;
    let mut logged = false;
    loop {
        match connect(address.to_owned(), settings.clone()) {
            Err(Error::NoBroker { .. }) if Instant::now() < deadline => {
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
    let client = Client::new(broker.address().into(), Settings::default(), Some(broker))?;
    wait_until_started(&client)?;
    Ok(client)
}

/// Waits until the broker that this process has just started answers.
pub(super) fn wait_until_started(client: &Client) -> Result<()> {
    let limit = client.broker().map_or(REQUEST_LIMIT, Broker::start_limit);
    let deadline = Instant::now() + limit;
    loop {
        let answer = check_listening(client.address()).and_then(|()| client.cluster());
        let Err(error) = answer else {
            return Ok(());
        };
        if Instant::now() > deadline || client.exit_reason().is_some() {
            return Err(match client.broker() {
                Some(broker) => broker.start_error(&error),
                None => error,
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns an error unless a program listens at one of the addresses.
fn check_listening(addresses: &str) -> Result<()> {
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

/// Finds out why a listening program does not answer. Returns `Ok` if it does after all.
fn diagnose(client: &Client) -> Result<()> {
    let probe = client
        .config(Role::Admin)
        .create_with_context(Probe::default());
    let probe: BaseProducer<Probe> =
        probe.map_err(|error| invalid_config(client.address(), &error))?;
    let deadline = Instant::now() + FIRST_ANSWER;
    while Instant::now() < deadline {
        let wait = Duration::from_millis(250);
        if probe.client().fetch_metadata(None, wait).is_ok() {
            return Ok(());
        }
        probe.poll(Duration::ZERO);
        if let Some((hint, reason)) = locked(&probe.context().denied).take() {
            return Err(Error::AccessDenied {
                address: client.address().into(),
                reason,
                hint,
            });
        }
    }
    Err(Error::NotKafka {
        address: client.address().into(),
        seconds: REQUEST_LIMIT.as_secs(),
        protocol: client.protocol().into(),
    })
}

/// Records why a broker denies access, and which setting to check.
#[derive(Default)]
struct Probe {
    denied: Mutex<Option<(&'static str, String)>>,
}

impl ClientContext for Probe {
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
