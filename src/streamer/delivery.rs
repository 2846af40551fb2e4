//! The producer, and its delivery reports, which say which tweets the broker has.
//!
//! A tweet that the broker did not accept goes to the dead-letter file, which
//! [`Replay`](crate::source::Replay) can read. Every tweet that the streamer selects is in the topic or in
//! this file. If only the broker's confirmation was lost, a tweet is in both, and the listener counts it
//! once.

use super::rivals::StatusOffsets;
use crate::error::{Error, Result};
use crate::files::{LineFile, LineWriter};
use crate::kafka::{Client, METADATA_INTERVAL_MS, Role, Topic};
use crate::task::locked;
use crate::wire::StreamerStatus;
use jiff::Timestamp;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::{ClientContext, Statistics};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long the producer retries a message, in milliseconds. Then the message counts as failed.
const MESSAGE_TIMEOUT_MS: &str = "300000";
/// How long the end of a stream waits for the next confirmation of the messages in flight. While the
/// broker throttles this client, it waits longer.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);
/// How often librdkafka reports whether the broker throttles this client, in milliseconds.
const STATISTICS_INTERVAL_MS: &str = "1000";
/// How long the end of a stream waits for the next delivery report after it has given up the
/// messages in flight.
const REPORT_LIMIT: Duration = Duration::from_secs(30);
/// A disk that writes none of the dead letters for this long has failed.
const DISK_LIMIT: Duration = Duration::from_secs(30);

/// The producer of a stream. It has a thread that receives the delivery reports.
pub(super) type TweetProducer = ThreadedProducer<DeliveryReports>;

/// The results of the delivery reports.
pub(super) struct Deliveries {
    /// The topic and the broker's address, for error messages.
    topic: String,
    address: String,
    state: Mutex<DeliveryState>,
    status_offsets: StatusOffsets,
    dead_letters: LineWriter,
}

/// A tweet that the broker has refused for a reason that may be temporary: the topic is missing, or this
/// client may not write to it. The tweet is sent again.
pub(super) struct HeldTweet {
    pub(super) key: Vec<u8>,
    pub(super) message: Vec<u8>,
}

/// The broker delays this client, because it has exceeded its quota.
struct Throttled {
    delay: Duration,
    until: Instant,
}

#[derive(Default)]
struct DeliveryState {
    sent: u64,
    failed: u64,
    held: Vec<HeldTweet>,
    /// The number of outcomes when the held tweets were last sent again. Until the next outcome, it is
    /// unknown whether the broker accepts tweets.
    probed_at: Option<u64>,
    throttled: Option<Throttled>,
    /// Whether the stream is ending. A refused tweet then fails.
    is_ending: bool,
    /// Why the last message failed.
    last_error: Option<String>,
    /// The last connection error, and how many tweets had been sent at that time. When more tweets have
    /// been sent, the connection works again.
    connection_error: Option<(String, u64)>,
}

impl DeliveryState {
    fn outcomes(&self) -> u64 {
        self.sent + self.failed
    }

    /// Returns by how much the broker delays this client; `None` if it does not.
    fn throttle_delay(&self) -> Option<Duration> {
        let throttled = self.throttled.as_ref();
        let throttled = throttled.filter(|throttled| Instant::now() < throttled.until);
        throttled.map(|throttled| throttled.delay)
    }

    /// Returns what currently impedes the deliveries: a connection that is down, or a broker that throttles
    /// this client.
    fn obstacle(&self) -> Option<String> {
        if let Some((reason, sent)) = &self.connection_error
            && *sent == self.sent
        {
            return Some(format!(
                "Kafka is unreachable: {reason} (`make kafka-status` shows the state of a broker from \
                 `make kafka-start`)"
            ));
        }
        let seconds = self.throttle_delay()?.as_secs_f64();
        Some(format!(
            "Kafka throttles this client, which has exceeded its quota: a request waits {seconds:.1} s"
        ))
    }
}

impl Deliveries {
    pub(super) fn new(topic: &Topic) -> Deliveries {
        Deliveries {
            topic: topic.name().into(),
            address: topic.client().address().into(),
            state: Mutex::default(),
            status_offsets: StatusOffsets::default(),
            dead_letters: dead_letters(topic.name()),
        }
    }

    /// Holds a refused tweet if the reason may be temporary. Otherwise, the tweet fails. Returns whether the
    /// tweet is held. This call may block like [`fail`](Deliveries::fail).
    pub(super) fn refuse(&self, key: &[u8], message: &[u8], error: &KafkaError) -> bool {
        use RDKafkaErrorCode as Code;
        let reason = match error.rdkafka_error_code() {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Some(Error::no_topic(&self.topic, &self.address))
            }
            Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
                Some(Error::kafka(
                    format!("write to topic {:?}", self.topic),
                    error,
                    "ask for the permission to write to the topic; until then the stream waits",
                ))
            }
            _ => None,
        };
        let mut state = locked(&self.state);
        let Some(reason) = reason.filter(|_| !state.is_ending) else {
            drop(state);
            self.fail(message, format!("Kafka did not accept a tweet: {error}"));
            return false;
        };
        state.last_error = Some(reason.to_string());
        state.held.push(HeldTweet {
            key: key.to_vec(),
            message: message.to_vec(),
        });
        true
    }

    /// Returns the held tweets, to send them again.
    pub(super) fn take_held(&self) -> Vec<HeldTweet> {
        let mut state = locked(&self.state);
        if !state.held.is_empty() {
            state.probed_at = Some(state.outcomes());
        }
        std::mem::take(&mut state.held)
    }

    /// Returns whether the source must wait: the broker refuses tweets or throttles this client.
    pub(super) fn is_held_back(&self) -> bool {
        let mut state = locked(&self.state);
        if state.probed_at.is_some_and(|at| at != state.outcomes()) {
            state.probed_at = None;
        }
        !state.held.is_empty() || state.probed_at.is_some() || state.throttle_delay().is_some()
    }

    pub(super) fn status_offsets(&self) -> &StatusOffsets {
        &self.status_offsets
    }

    /// Counts a failed tweet, and passes it to the dead-letter file. It blocks, without a lock, while
    /// the disk is slower than the failures.
    pub(super) fn fail(&self, message: &[u8], reason: String) {
        // The status contains the error of the file.
        let _ = self.dead_letters.add(message);
        let mut counts = locked(&self.state);
        counts.failed += 1;
        counts.last_error = Some(reason);
    }

    /// Returns the number of tweets that the broker has confirmed.
    pub(super) fn sent(&self) -> u64 {
        locked(&self.state).sent
    }

    /// Adds the counts and the last error of the deliveries to the status. While the stream runs, the
    /// error of a lost connection has precedence over other errors.
    pub(super) fn add_to(&self, status: &mut StreamerStatus) {
        let (dead_letter_file, file_error) = self.dead_letters.status();
        let state = locked(&self.state);
        status.dead_letter_file = dead_letter_file;
        status.counts.sent = state.sent;
        status.counts.failed = state.failed;
        let obstacle = status.ended.is_none().then(|| state.obstacle()).flatten();
        let own_error = file_error.or_else(|| state.last_error.clone());
        status.last_error = obstacle.or(status.last_error.take()).or(own_error);
    }

    /// Records that the stream is ending. From now on, a refused tweet fails.
    pub(super) fn end(&self) {
        locked(&self.state).is_ending = true;
    }

    /// Ends the deliveries. A message that the broker does not confirm fails. This call blocks until each
    /// message has its delivery report and the dead-letter file is complete, as long as there is progress.
    ///
    /// Returns an error message if the broker has not confirmed all messages in time, if delivery reports
    /// are missing, or if the file is incomplete.
    pub(super) fn finish(&self, producer: &TweetProducer) -> Option<String> {
        let flushed = self.flush(producer);
        // Each tweet that is still not confirmed fails.
        producer.purge(PurgeConfig::default().queue().inflight());
        let mut in_flight = producer.in_flight_count();
        let mut deadline = Instant::now() + REPORT_LIMIT;
        while in_flight > 0 && Instant::now() < deadline {
            // An error means that reports are missing, which the count shows too.
            let _ = producer.flush(Duration::from_millis(100));
            if producer.in_flight_count() != in_flight {
                in_flight = producer.in_flight_count();
                deadline = Instant::now() + REPORT_LIMIT;
            }
        }
        let file_error = self.dead_letters.finish();
        if in_flight > 0 {
            return Some(format!("{in_flight} tweets have no delivery report"));
        }
        file_error.or_else(|| {
            let error = flushed.err()?;
            let seconds = FLUSH_LIMIT.as_secs();
            Some(format!(
                "the broker confirmed no tweet for {seconds} s after the end: {error}"
            ))
        })
    }

    /// Waits until the broker has confirmed every message, as long as it confirms some of them or throttles
    /// this client.
    fn flush(&self, producer: &TweetProducer) -> Result<(), KafkaError> {
        let mut in_flight = producer.in_flight_count();
        let mut deadline = Instant::now() + FLUSH_LIMIT;
        loop {
            let flushed = producer.flush(Duration::from_millis(200));
            if flushed.is_ok() || Instant::now() > deadline {
                return flushed;
            }
            let delay = locked(&self.state).throttle_delay();
            if producer.in_flight_count() < in_flight || delay.is_some() {
                in_flight = producer.in_flight_count();
                deadline = Instant::now() + FLUSH_LIMIT;
            }
        }
    }
}

/// The context of the producer: it records each delivery report.
pub(super) struct DeliveryReports(Arc<Deliveries>);

impl ClientContext for DeliveryReports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "producer error");
        let mut counts = locked(&self.0.state);
        counts.connection_error = Some((reason.to_owned(), counts.sent));
    }

    fn stats(&self, statistics: Statistics) {
        let brokers = statistics.brokers.values();
        let delays = brokers.filter_map(|broker| Some(broker.throttle.as_ref()?.max));
        let delay = delays.max().and_then(|millis| u64::try_from(millis).ok());
        if let Some(millis) = delay.filter(|millis| *millis > 0) {
            let delay = Duration::from_millis(millis);
            tracing::info!(?delay, "Kafka throttles this client");
            locked(&self.0.state).throttled = Some(Throttled {
                delay,
                until: Instant::now() + delay,
            });
        }
    }
}

impl ProducerContext for DeliveryReports {
    /// The number of tweets in the message: 1, or 0 for a status message.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tweets: usize) {
        match result {
            Ok(status) if tweets == 0 => self.0.status_offsets.add(status.offset()),
            Err(_) if tweets == 0 => {}
            Ok(_) => locked(&self.0.state).sent += 1,
            Err((error, message)) => {
                let key = message.key().unwrap_or_default();
                let message = message.payload().unwrap_or_default();
                self.0.refuse(key, message, error);
            }
        }
    }
}

/// Returns the writer of the dead-letter file. The file is created with the first failed tweet, in the
/// working directory, and named after the topic and the time.
fn dead_letters(topic: &str) -> LineWriter {
    let topic = topic.to_owned();
    let failure = "failed to save tweets that Kafka did not accept".into();
    LineWriter::new(failure, DISK_LIMIT, move || {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
        let name = format!("dead-letter-{topic}-{now}.jsonl");
        LineFile::open(&std::env::current_dir()?.join(name))
    })
}

/// Creates the producer.
pub(super) fn producer(client: &Client, deliveries: Arc<Deliveries>) -> Result<TweetProducer> {
    client
        .config(Role::Streamer)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        // At low rates, a linger of 10 ms is not noticeable. At high rates, it makes large batches, which
        // save time because a batch costs the broker more than its tweets.
        .set("linger.ms", "10")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536")
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
        .set("message.max.bytes", "1100000")
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS)
        .set("topic.metadata.refresh.interval.ms", METADATA_INTERVAL_MS)
        // A deleted topic is noticed after this time. The default is half a minute.
        .set("topic.metadata.propagation.max.ms", METADATA_INTERVAL_MS)
        .create_with_context(DeliveryReports(deliveries))
        .map_err(|error| {
            Error::kafka(
                "create a producer",
                &error,
                "check the address of the broker",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as Code;
    use rdkafka::producer::BaseRecord;
    use rdkafka::statistics::{Broker, Window};
    use std::collections::HashMap;
    use tempfile::TempDir;

    /// Deliveries whose dead letters go to `letters` in the folder.
    fn deliveries(folder: &TempDir) -> Deliveries {
        let path = folder.path().join("letters");
        Deliveries {
            topic: "tweets".into(),
            address: "127.0.0.1:1".into(),
            state: Mutex::default(),
            status_offsets: StatusOffsets::default(),
            dead_letters: LineWriter::new("failed to save".into(), DISK_LIMIT, move || {
                LineFile::open(&path)
            }),
        }
    }

    fn refuse(deliveries: &Deliveries, code: Code) -> bool {
        deliveries.refuse(b"ann", b"{}", &KafkaError::MessageProduction(code))
    }

    fn status(deliveries: &Deliveries) -> StreamerStatus {
        let mut status = StreamerStatus::default();
        deliveries.add_to(&mut status);
        status
    }

    /// Reports how long each broker delays the client, in milliseconds.
    fn report(reports: &DeliveryReports, delays: &[i64]) {
        let brokers = delays.iter().map(|&max| {
            let throttle = Some(Window {
                max,
                ..Default::default()
            });
            let broker = Broker {
                throttle,
                ..Default::default()
            };
            (max.to_string(), broker)
        });
        let brokers: HashMap<_, _> = brokers.collect();
        reports.stats(Statistics {
            brokers,
            ..Default::default()
        });
    }

    #[test]
    fn a_tweet_is_held_if_the_reason_may_be_temporary() {
        let folder = TempDir::new().unwrap();
        for (code, reason) in [
            (Code::UnknownTopicOrPartition, "does not exist"),
            (Code::UnknownTopic, "does not exist"),
            (Code::UnknownPartition, "does not exist"),
            (Code::TopicAuthorizationFailed, "ask for the permission"),
            (Code::ClusterAuthorizationFailed, "ask for the permission"),
        ] {
            let deliveries = deliveries(&folder);
            assert!(refuse(&deliveries, code), "{code}");
            let error = status(&deliveries).last_error.unwrap();
            assert!(error.contains(reason), "{code}: {error}");
            assert_eq!(status(&deliveries).counts.failed, 0);
            let held = deliveries.take_held();
            let [tweet] = &held[..] else {
                panic!("{} tweets are held", held.len());
            };
            assert_eq!(
                (&tweet.key[..], &tweet.message[..]),
                (&b"ann"[..], &b"{}"[..])
            );
        }
        assert!(!folder.path().join("letters").exists());
    }

    #[test]
    fn a_tweet_that_is_refused_for_good_or_at_the_end_is_a_dead_letter() {
        let folder = TempDir::new().unwrap();
        let deliveries = deliveries(&folder);
        assert!(!refuse(&deliveries, Code::MessageTimedOut));
        assert!(!deliveries.is_held_back());
        assert!(refuse(&deliveries, Code::UnknownTopic));
        deliveries.end();
        assert!(!refuse(&deliveries, Code::UnknownTopic));
        assert_eq!(deliveries.dead_letters.finish(), None);
        let status = status(&deliveries);
        assert_eq!((status.counts.sent, status.counts.failed), (0, 2));
        let path = status.dead_letter_file.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"{}\n{}\n");
    }

    #[test]
    fn the_source_waits_until_a_held_tweet_has_an_outcome() {
        let folder = TempDir::new().unwrap();
        let deliveries = deliveries(&folder);
        refuse(&deliveries, Code::MessageTimedOut);
        assert!(deliveries.take_held().is_empty());
        assert!(!deliveries.is_held_back());
        refuse(&deliveries, Code::UnknownTopic);
        assert!(deliveries.is_held_back());
        // The tweet is in the producer again.
        assert_eq!(deliveries.take_held().len(), 1);
        assert!(deliveries.is_held_back());
        assert!(deliveries.take_held().is_empty());
        assert!(deliveries.is_held_back());
        locked(&deliveries.state).sent += 1;
        assert!(!deliveries.is_held_back());
        // A failure is an outcome too.
        refuse(&deliveries, Code::UnknownTopic);
        deliveries.take_held();
        refuse(&deliveries, Code::MessageTimedOut);
        assert!(!deliveries.is_held_back());
    }

    #[test]
    fn the_source_waits_while_a_broker_throttles_the_client() {
        let folder = TempDir::new().unwrap();
        let reports = DeliveryReports(Arc::new(deliveries(&folder)));
        let deliveries = &reports.0;
        report(&reports, &[0, 0]);
        assert!(locked(&deliveries.state).throttled.is_none());
        report(&reports, &[0, 60_000, 30_000]);
        assert!(deliveries.is_held_back());
        let error = status(deliveries).last_error.unwrap();
        assert!(error.contains("throttles this client"), "{error}");
        assert!(error.ends_with("a request waits 60.0 s"), "{error}");
        locked(&deliveries.state).throttled.as_mut().unwrap().until = Instant::now();
        assert!(!deliveries.is_held_back());
        assert_eq!(status(deliveries).last_error, None);
    }

    #[test]
    fn a_lost_connection_is_reported_until_a_tweet_is_sent_or_the_stream_ends() {
        let folder = TempDir::new().unwrap();
        let reports = DeliveryReports(Arc::new(deliveries(&folder)));
        let deliveries = &reports.0;
        let down = KafkaError::Global(Code::BrokerTransportFailure);
        reports.error(down.clone(), "Connection refused");
        refuse(deliveries, Code::MessageTimedOut);
        let error = status(deliveries).last_error.unwrap();
        assert!(
            error.starts_with("Kafka is unreachable: Connection refused"),
            "{error}"
        );
        // The error of the stream has precedence over that of a tweet.
        let mut ended = StreamerStatus {
            ended: Some(crate::wire::EndReason::Source),
            ..StreamerStatus::default()
        };
        deliveries.add_to(&mut ended);
        assert!(
            ended
                .last_error
                .unwrap()
                .starts_with("Kafka did not accept a tweet")
        );
        let mut failed = StreamerStatus {
            last_error: Some("the source is down".into()),
            ..StreamerStatus::default()
        };
        locked(&deliveries.state).sent += 1;
        deliveries.add_to(&mut failed);
        assert_eq!(failed.last_error.as_deref(), Some("the source is down"));
        assert_eq!((failed.counts.sent, deliveries.sent()), (1, 1));
        let error = status(deliveries).last_error.unwrap();
        assert!(error.starts_with("Kafka did not accept a tweet"), "{error}");
    }

    #[test]
    fn tweets_that_no_broker_confirms_are_dead_letters_after_a_wait() {
        let folder = TempDir::new().unwrap();
        let deliveries = Arc::new(deliveries(&folder));
        let producer = producer(&Client::without_broker(), deliveries.clone()).unwrap();
        assert_eq!(deliveries.finish(&producer), None);
        let record = || BaseRecord::with_opaque_to("tweets", 1).key("ann");
        for message in ["1", "2", "3"] {
            assert!(producer.send(record().payload(message)).is_ok());
        }
        let start = Instant::now();
        let error = deliveries.finish(&producer).unwrap();
        assert!(start.elapsed() >= FLUSH_LIMIT);
        assert!(
            error.starts_with("the broker confirmed no tweet for 10 s"),
            "{error}"
        );
        let status = status(&deliveries);
        assert_eq!((status.counts.sent, status.counts.failed), (0, 3));
        let letters = std::fs::read(status.dead_letter_file.unwrap()).unwrap();
        assert_eq!(letters, b"1\n2\n3\n");
    }
}
