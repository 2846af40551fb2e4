//! The settings that all consumers of this crate share, and what librdkafka reports about the topic of a
//! consumer.

use super::client::{Client, METADATA_INTERVAL_MS};
use super::settings::Role;
use crate::task::locked;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Statistics};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The size of all queues of a consumer together.
const QUEUES_KIB: usize = 8 * 1024;
/// The minimum size of the queue of a partition.
const MIN_QUEUE_KIB: usize = 64;
/// The limit of a broker's response, in bytes of compressed batches. A larger batch is sent alone.
const FETCH_BYTES: usize = 1024 * 1024;

impl Client {
    /// Returns the configuration that all consumers of this crate share. `queues` is the number of
    /// partitions that have their own queue.
    pub(crate) fn consumer_config(&self, role: Role, queues: usize) -> ClientConfig {
        // librdkafka's limits apply to each partition. With the defaults, a consumer of 64 partitions
        // needed 624 MB to catch up.
        let share = (QUEUES_KIB / queues.max(1)).max(MIN_QUEUE_KIB);
        let mut config = self.config(role);
        config
            .set("enable.auto.commit", "false")
            .set("queued.max.messages.kbytes", share.to_string())
            // A full queue may exceed its limit by one response, which has compressed batches.
            .set("fetch.message.max.bytes", (share * 1024 / 4).to_string())
            .set("fetch.max.bytes", FETCH_BYTES.to_string())
            // How long librdkafka pauses when a queue is full. With the default of a second, the
            // queue would be empty for most of the pause.
            .set("fetch.queue.backoff.ms", "5")
            .set("topic.metadata.refresh.interval.ms", METADATA_INTERVAL_MS)
            // How often librdkafka reports the end of each partition.
            .set("statistics.interval.ms", "500");
        config
    }
}

/// The context of a consumer: what librdkafka reports about its topic.
///
/// librdkafka's statistics have the high watermark of each partition, from the last response of its
/// broker. Measuring the lag therefore sends no requests.
#[derive(Default)]
pub(crate) struct TopicContext {
    topic: String,
    bounds: Mutex<BTreeMap<i32, Bounds>>,
    /// The partition count of the topic, from the metadata of the consumer.
    partitions: AtomicUsize,
    rebalances: AtomicU64,
    /// The reason of the last error, in librdkafka's words. The error itself has only a code.
    reason: Mutex<String>,
}

/// The offsets of the first message of a partition, of the next one to be written, and of the first
/// message of the oldest open transaction. Without an open transaction, the last two are equal.
#[derive(Clone, Copy)]
struct Bounds {
    first: i64,
    end: i64,
    stable: i64,
}

impl TopicContext {
    pub(crate) fn new(topic: &str) -> TopicContext {
        TopicContext {
            topic: topic.into(),
            ..TopicContext::default()
        }
    }

    fn bounds(&self, partition: i32) -> Option<Bounds> {
        locked(&self.bounds).get(&partition).copied()
    }

    /// Returns the offset of the first message of a partition, if it is known.
    pub(crate) fn first(&self, partition: i32) -> Option<i64> {
        self.bounds(partition).map(|bounds| bounds.first)
    }

    /// Returns the end of a partition, if it is known.
    pub(crate) fn end(&self, partition: i32) -> Option<i64> {
        self.bounds(partition).map(|bounds| bounds.end)
    }

    /// Returns the offset at which readers wait for the end of a transaction, if a transaction is open.
    pub(crate) fn open_transaction(&self, partition: i32) -> Option<i64> {
        let bounds = self.bounds(partition)?;
        (bounds.stable < bounds.end).then_some(bounds.stable)
    }

    /// Returns the partition count of the topic, or 0 if it is not known yet.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.load(Ordering::Relaxed)
    }

    /// Returns the number of rebalances of the consumer group. After a rebalance, the messages that
    /// were read before may belong to another member.
    pub(crate) fn rebalances(&self) -> u64 {
        self.rebalances.load(Ordering::Relaxed)
    }

    pub(crate) fn reason(&self) -> String {
        locked(&self.reason).clone()
    }
}

impl ClientContext for TopicContext {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "consumer error");
        *locked(&self.reason) = reason.to_owned();
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let last = topic.partitions.keys().max();
        let count = last.map_or(0, |last| usize::try_from(last + 1).unwrap_or(0));
        self.partitions.store(count, Ordering::Relaxed);
        let mut known = locked(&self.bounds);
        for (number, partition) in &topic.partitions {
            // Partition -1 is for messages without a partition. A negative offset means "unknown".
            if *number >= 0 && partition.hi_offset >= 0 {
                let (end, stable) = (partition.hi_offset, partition.ls_offset);
                let bounds = Bounds {
                    first: partition.lo_offset.max(0),
                    end,
                    stable: if stable >= 0 { stable } else { end },
                };
                known.insert(*number, bounds);
            }
        }
    }
}

impl ConsumerContext for TopicContext {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.rebalances.fetch_add(1, Ordering::Relaxed);
    }
}
