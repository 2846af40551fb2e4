//! The producer, and its delivery reports: which tweets does the broker have?

use super::dead_letter::DeadLetters;
use crate::kafka::Client;
use crate::runtime::locked;
use crate::{Error, Result};
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The time for which the producer retries a message. Then the message counts as failed.
const MESSAGE_TIMEOUT_MS: &str = "300000";
/// How long the end of a stream waits until the broker has confirmed the messages in flight.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);
/// How long the end of a stream waits for the next delivery report after it has given up the
/// messages in flight.
const REPORT_LIMIT: Duration = Duration::from_secs(30);

/// The producer of a stream, with a thread of its own that receives the delivery reports.
pub(super) type TweetProducer = ThreadedProducer<DeliveryReports>;

/// What the delivery reports say.
pub(super) struct Deliveries {
    counts: Mutex<DeliveryCounts>,
    dead_letters: DeadLetters,
}

#[derive(Default)]
struct DeliveryCounts {
    sent: u64,
    failed: u64,
    /// Why the last message failed.
    last_error: Option<String>,
    /// The last connection error, and how many tweets were sent then. Once more are sent, the
    /// connection works again.
    connection_error: Option<(String, u64)>,
}

/// The state of the deliveries at one moment.
pub(super) struct DeliveryReport {
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) dead_letter_file: Option<PathBuf>,
    pub(super) last_error: Option<String>,
    /// The error of a connection that is still down.
    pub(super) connection_error: Option<String>,
}

impl Deliveries {
    pub(super) fn new(topic: &str) -> Result<Deliveries> {
        Ok(Deliveries {
            counts: Mutex::default(),
            dead_letters: DeadLetters::new(topic)?,
        })
    }

    /// Counts a failed tweet, and passes it to the dead-letter file. It blocks while the disk is
    /// slower than the failures; no lock is held meanwhile.
    pub(super) fn fail(&self, message: &[u8], reason: String) {
        self.dead_letters.add(message);
        let mut counts = locked(&self.counts);
        counts.failed += 1;
        counts.last_error = Some(reason);
    }

    pub(super) fn report(&self) -> DeliveryReport {
        let (dead_letter_file, file_error) = self.dead_letters.status();
        let counts = locked(&self.counts);
        let error = counts.connection_error.as_ref();
        let still_down = error.filter(|(_, sent)| *sent == counts.sent);
        DeliveryReport {
            sent: counts.sent,
            failed: counts.failed,
            dead_letter_file,
            last_error: file_error.or(counts.last_error.clone()),
            connection_error: still_down.map(|(reason, _)| {
                format!(
                    "Kafka is unreachable: {reason} (`make kafka-status` shows the state of a \
                     broker from `make kafka-start`)"
                )
            }),
        }
    }

    /// Ends the deliveries: every message is confirmed, or in the dead-letter file. It blocks until
    /// each of them has its delivery report and the file is complete, however slow the disk is.
    ///
    /// Returns why a part of the messages has neither, if that is so.
    pub(super) fn finish(&self, producer: &TweetProducer) -> Option<String> {
        let flushed = producer.flush(FLUSH_LIMIT);
        // What is not confirmed by now fails, tweet by tweet.
        producer.purge(PurgeConfig::default().queue().inflight());
        let mut in_flight = producer.in_flight_count();
        let mut deadline = Instant::now() + REPORT_LIMIT;
        while in_flight > 0 && Instant::now() < deadline {
            // An error means that there are reports left, which the count tells too.
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
                "the broker did not confirm all tweets within {seconds} s after the end: {error}"
            ))
        })
    }
}

/// The context of the producer: it records each delivery report.
pub(super) struct DeliveryReports(Arc<Deliveries>);

impl ClientContext for DeliveryReports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "producer error");
        let mut counts = locked(&self.0.counts);
        counts.connection_error = Some((reason.to_owned(), counts.sent));
    }
}

impl ProducerContext for DeliveryReports {
    /// The number of tweets in the message: 1, or 0 for a status message.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tweets: usize) {
        match result {
            _ if tweets == 0 => {}
            Ok(_) => locked(&self.0.counts).sent += 1,
            Err((error, message)) => {
                let reason = format!("Kafka did not accept a tweet: {error}");
                self.0.fail(message.payload().unwrap_or_default(), reason);
            }
        }
    }
}

/// Creates the producer.
pub(super) fn producer(client: &Client, deliveries: Arc<Deliveries>) -> Result<TweetProducer> {
    client
        .config()
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        // A linger of 10 ms is not noticed at low rates. At high rates it makes large batches; each
        // batch costs the broker more than its tweets do.
        .set("linger.ms", "10")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536")
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
        .set("message.max.bytes", "1100000")
        .create_with_context(DeliveryReports(deliveries))
        .map_err(|error| Error::Kafka {
            action: "create a producer".into(),
            reason: error.to_string(),
            hint: "check the address of the broker",
        })
}
