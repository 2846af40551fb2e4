//! The consumer: how a listener connects to the topic, and how a connection ends.
//!
//! If the only broker goes away, the consumer is closed and a new one is created when the broker is
//! back: the restarted broker may have forgotten the topic (the embedded one has), and librdkafka
//! crashes when it asks such a broker for a topic that it knew. A new consumer starts at the message
//! that was counted last and reads it once more. If another message is there, or none, the partition
//! is another log, and counting starts again. If retention has removed the message, the unread
//! messages that went with it are counted as missed. In a cluster, librdkafka finds the next broker
//! of a partition by itself.

use super::StartFrom;
use super::merge::{Partitions, Position, Resume, Start};
use crate::kafka::{
    Client, Cluster, EndOffsets, METADATA_INTERVAL_MS, Role, RunId, STATISTICS_INTERVAL_MS,
    bound_queues, fetch_ends, is_compacted, status_topic, warm_metadata_cache,
};
use crate::task::{locked, runtime};
use crate::{Error, Result};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, Statistics, TopicPartitionList};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;

/// How long the broker may wait for messages before it answers that there are none, at first. Apache
/// Kafka answers as soon as a message comes, and each answer costs it something. The embedded broker
/// answers after half of the time, whether or not a message has come.
const FETCH_WAIT_MS: u32 = 100;
const EMBEDDED_FETCH_WAIT_MS: u32 = 10;
/// By what the wait is multiplied if the broker needs longer, and its maximum.
const FETCH_WAIT_GROWTH: u32 = 8;
const MAX_FETCH_WAIT_MS: u32 = 5_120;
/// The lag at which a consumer is behind although messages come, in messages.
const FLOWING_LAG: i64 = 1_000;
/// The embedded broker reports the offset of the first message of the last batch as the end of a
/// partition. Few producers write batches of more messages than this.
const EMBEDDED_BATCH: i64 = 10_000;
/// The time limit for fetching the offsets of a partition.
const OFFSETS_LIMIT: Duration = Duration::from_secs(1);

/// How a listener reads a topic.
#[derive(Clone)]
pub(super) struct ReadConfig {
    pub(super) client: Arc<Client>,
    pub(super) topic: String,
    pub(super) from: StartFrom,
    pub(super) fetch_wait: FetchWait,
}

/// How long the broker may wait for messages; `None` before the first connection.
#[derive(Clone, Copy, Default)]
pub(super) struct FetchWait(Option<u32>);

impl FetchWait {
    fn millis(self, is_embedded: bool) -> u32 {
        self.0.unwrap_or(match is_embedded {
            true => EMBEDDED_FETCH_WAIT_MS,
            false => FETCH_WAIT_MS,
        })
    }

    /// Returns a longer wait.
    fn longer(millis: u32) -> FetchWait {
        FetchWait(Some((millis * FETCH_WAIT_GROWTH).min(MAX_FETCH_WAIT_MS)))
    }
}

/// Why a consumer is closed.
pub(super) enum ConsumerError {
    /// The broker is gone, by this error.
    BrokerLost(KafkaError),
    /// The partition is another log than before.
    OtherLog,
    /// The broker has removed the next message to read.
    Removed,
    /// The topic has more partitions than the consumer reads.
    NewPartitions,
    /// The broker has messages, but does not find them within the fetch wait.
    Slow(FetchWait),
}

/// The context of the consumer.
pub(super) struct Context {
    ends: EndOffsets,
    /// The reason of the last error, in librdkafka's words. The error itself has only a code.
    reason: Mutex<String>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "consumer error");
        *locked(&self.reason) = reason.to_owned();
    }

    fn stats(&self, statistics: Statistics) {
        self.ends.update(&statistics);
    }
}

impl ConsumerContext for Context {}

/// A consumer with one queue per partition, so that a slow partition cannot fill another's queue.
pub(super) struct Consumer {
    topic: String,
    /// For everything that belongs to no partition: errors, and the streamer's status.
    pub(super) main: Arc<BaseConsumer<Context>>,
    pub(super) partitions: Vec<PartitionQueue<Context>>,
    /// Whether the cluster has no other broker.
    is_only_broker: bool,
    is_embedded: bool,
    fetch_wait_ms: u32,
}

/// The result of connecting.
pub(super) enum Connected {
    Ready {
        consumer: Consumer,
        /// How each partition starts.
        starts: Vec<Start>,
        /// How many messages were removed before they were read.
        missed: u64,
        is_compacted: bool,
    },
    /// The topic is another log than before.
    OtherLog,
}

/// Connects to the topic. It blocks for several seconds if the broker does not answer. `reader` is
/// unparked when a message comes. `resumes` is empty for the first connection; a partition that is
/// missing in it later was added meanwhile, and is read from its start.
pub(super) fn connect(
    config: &ReadConfig,
    resumes: &[Resume],
    reader: &Thread,
) -> Result<Connected> {
    let ReadConfig { client, topic, .. } = config;
    let cluster = client.check_reachable()?;
    let count = client.partitions_in(&cluster, topic)?;
    let is_only_broker = cluster.brokers == 1;
    let is_compacted = !cluster.is_embedded && is_compacted(client, topic);
    let fetch_wait_ms = config.fetch_wait.millis(cluster.is_embedded);
    let failed = |error: KafkaError| Error::Kafka {
        action: format!("read topic {topic:?}"),
        reason: error.to_string(),
        hint: "the listener retries by itself",
    };
    let consumer = create(config, fetch_wait_ms, &cluster, count).map_err(failed)?;
    warm_metadata_cache(consumer.client(), topic);
    // A name may have several addresses, of which librdkafka tries one after the other. The errors of those
    // before the one that accepts are over.
    while consumer.poll(Duration::ZERO).is_some() {}

    let from = match resumes {
        [] => config.from,
        _ => StartFrom::Earliest,
    };
    let mut starts = Vec::with_capacity(count);
    let mut missed = 0;
    let mut assignment = TopicPartitionList::new();
    for (index, number) in (0..).take(count).zip(0..) {
        let resume = resumes.get(index).copied().unwrap_or_default();
        let is_known = resume == Resume::Start && from == StartFrom::Earliest && !is_compacted;
        let start = if is_known {
            Start::default()
        } else {
            let offsets = consumer.fetch_watermarks(topic, number, OFFSETS_LIMIT);
            let (first, end) = offsets.map_err(failed)?;
            let Some((mut start, removed)) = start(resume, from, first, end) else {
                return Ok(Connected::OtherLog);
            };
            missed += removed;
            start.next = is_compacted.then(|| start.resume.position().unwrap_or(first));
            start
        };
        let offset = match start.resume {
            Resume::Start => Offset::Beginning,
            Resume::At(next) => Offset::Offset(next),
            Resume::After(last) if start.is_verifiable => Offset::Offset(last.offset),
            Resume::After(last) => Offset::Offset(last.offset + 1),
        };
        assignment
            .add_partition_offset(topic, number, offset)
            .map_err(failed)?;
        starts.push(start);
    }
    let status = status_topic(topic);
    if cluster.has(&status) {
        assignment
            .add_partition_offset(&status, 0, Offset::OffsetTail(1))
            .map_err(failed)?;
    }
    consumer.assign(&assignment).map_err(failed)?;
    let main = Arc::new(consumer);
    let mut partitions = Vec::with_capacity(count);
    for number in (0..).take(count) {
        let queue = main.split_partition_queue(topic, number);
        let mut queue = queue.ok_or_else(|| Error::NoTopic {
            topic: topic.clone(),
            address: client.address().into(),
        })?;
        let reader = reader.clone();
        queue.set_nonempty_callback(move || reader.unpark());
        partitions.push(queue);
    }
    Ok(Connected::Ready {
        consumer: Consumer {
            topic: topic.clone(),
            main,
            partitions,
            is_only_broker,
            is_embedded: cluster.is_embedded,
            fetch_wait_ms,
        },
        starts,
        missed: missed.unsigned_abs(),
        is_compacted,
    })
}

/// Returns how a partition with the offsets from `first` to `end` starts, and how many messages were
/// removed before they were read; `None` if it is another log than before.
fn start(resume: Resume, from: StartFrom, first: i64, end: i64) -> Option<(Start, i64)> {
    let resumed = |resume, is_verifiable| Start {
        resume,
        is_verifiable,
        next: None,
    };
    match resume {
        Resume::Start if from == StartFrom::Earliest => Some((Start::default(), 0)),
        // From here on the offset is fixed: a reconnect must not skip what came meanwhile.
        Resume::Start => Some((resumed(Resume::At(end), false), 0)),
        Resume::At(next) if end < next => None,
        Resume::At(next) => {
            let start = resumed(Resume::At(next.max(first)), false);
            Some((start, (first - next).max(0)))
        }
        Resume::After(last) if end <= last.offset => None,
        Resume::After(last) if first > last.offset => {
            let offset = first - 1;
            let start = resumed(Resume::After(Position { offset, ..last }), false);
            Some((start, offset - last.offset))
        }
        Resume::After(_) => Some((resumed(resume, true), 0)),
    }
}

fn create(
    read: &ReadConfig,
    fetch_wait_ms: u32,
    cluster: &Cluster,
    partitions: usize,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let mut config = read.client.config(Role::Listener);
    config
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS)
        // librdkafka requires a group id; the consumer joins no group.
        .set("group.id", "listener")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // An offset that was removed is an error, so that the missed messages are counted.
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", fetch_wait_ms.to_string())
        .set("topic.metadata.refresh.interval.ms", METADATA_INTERVAL_MS)
        // A topic that was deleted is an error after this long, and not after half a minute.
        .set("topic.metadata.propagation.max.ms", METADATA_INTERVAL_MS)
        // How long librdkafka pauses when its queue is full. With the default of a second the queue
        // would be empty for most of it.
        .set("fetch.queue.backoff.ms", "5");
    bound_queues(&mut config, partitions);
    if cluster.brokers == 1 {
        // The loss of an address that is no broker's is not the loss of the broker.
        config.set("bootstrap.servers", cluster.bootstrap());
    }
    if cluster.is_embedded {
        // The consumer must be closed before it reconnects, see the module documentation. The reader
        // notices a lost connection within this time.
        config.set("reconnect.backoff.ms", "10000");
        config.set("reconnect.backoff.max.ms", "10000");
    }
    config.create_with_context(Context {
        ends: EndOffsets::new(&read.topic),
        reason: Mutex::default(),
    })
}

impl Consumer {
    /// Returns what an error of the consumer means, if the consumer must be closed. Any other error
    /// returns the reason why the consumer cannot read on, or `None` if it can.
    pub(super) fn check(&self, error: KafkaError) -> Result<Option<String>, ConsumerError> {
        use RDKafkaErrorCode as Code;
        let reason = locked(&self.main.context().reason).clone();
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(ConsumerError::Removed),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Err(ConsumerError::BrokerLost(error))
            }
            Some(Code::AllBrokersDown | Code::BrokerTransportFailure) if self.is_only_broker => {
                Err(ConsumerError::BrokerLost(error))
            }
            Some(Code::AllBrokersDown | Code::BrokerTransportFailure) => Ok(None),
            _ => Ok(Some(reason)),
        }
    }

    /// Returns the end of a partition, as far as it is known.
    pub(super) fn end(&self, partition: i32) -> Option<i64> {
        self.main.context().ends.get(partition)
    }

    /// Returns the offset at which the consumer waits for the end of a transaction, if one is open.
    pub(super) fn open_transaction(&self, partition: i32) -> Option<i64> {
        // The embedded broker has no transactions. It may report an end that is one too large.
        let ends = Some(&self.main.context().ends).filter(|_| !self.is_embedded);
        ends?.open_transaction(partition)
    }

    /// Returns whether the topic has more partitions than the consumer reads.
    pub(super) fn has_new_partitions(&self) -> bool {
        self.main.context().ends.partitions() > self.partitions.len()
    }

    /// Returns whether the topic can have a run, see [`RunId::is_possible`]. It asks the broker if the
    /// ends that are known here are too small.
    pub(super) fn is_possible(&self, run: RunId) -> Result<bool, KafkaError> {
        let count = self.partitions.len();
        let known = (0..).take(count).filter_map(|number| self.end(number));
        if run.is_possible(known) {
            return Ok(true);
        }
        let ends = fetch_ends(self.main.client(), &self.topic, count, OFFSETS_LIMIT)?;
        let unreported = if self.is_embedded { EMBEDDED_BATCH } else { 0 };
        Ok(run.is_possible(ends.into_iter().map(|end| end + unreported)))
    }

    /// Starts to check whether the broker has messages that have not come. The check asks the broker,
    /// which may take a second per partition, so it runs on a thread for blocking calls.
    /// `received` is the number of messages that came in the last second.
    ///
    /// The embedded broker searches all batches of a log for each answer. In a long log it does not
    /// get far in 10 ms. It then answers with a single message, or with none again and again, or even
    /// that the partition ends there. Apache Kafka does not.
    pub(super) fn start_lag_check(
        &self,
        partitions: &Partitions,
        received: usize,
    ) -> Option<LagCheck> {
        if received > 0 && !self.is_embedded {
            return None;
        }
        // The end offset of the embedded broker may be one too large. While messages come, some of
        // them are always on their way.
        let allowed = if received == 0 { 1 } else { FLOWING_LAG };
        let all = partitions.iter().enumerate();
        let unread = all.filter(|(_, partition)| self.is_embedded || !partition.at_end);
        let unread: Vec<_> = unread.map(|(index, one)| (index, one.resume)).collect();
        if self.fetch_wait_ms >= MAX_FETCH_WAIT_MS || unread.is_empty() {
            return None;
        }
        let (sender, result) = channel();
        let (consumer, topic) = (self.main.clone(), self.topic.clone());
        runtime().spawn_blocking(move || {
            let is_behind = |(index, resume): &(usize, Resume)| {
                let Ok(number) = i32::try_from(*index) else {
                    return false;
                };
                let offsets = consumer.fetch_watermarks(&topic, number, OFFSETS_LIMIT);
                offsets.is_ok_and(|(first, end)| end > resume.position().unwrap_or(first) + allowed)
            };
            // An error means that the consumer was closed meanwhile.
            let _ = sender.send(unread.iter().any(is_behind));
        });
        let longer = FetchWait::longer(self.fetch_wait_ms);
        Some(LagCheck {
            result,
            longer,
            is_idle: received == 0,
        })
    }
}

/// A lag check that may still be running.
pub(super) struct LagCheck {
    result: Receiver<bool>,
    longer: FetchWait,
    /// Whether no messages were coming when it started.
    pub(super) is_idle: bool,
}

impl LagCheck {
    /// Returns the result if the check is done. It is an error if the consumer is behind.
    pub(super) fn result(&self) -> Option<Result<(), ConsumerError>> {
        use std::sync::mpsc::TryRecvError;
        match self.result.try_recv() {
            Ok(true) => Some(Err(ConsumerError::Slow(self.longer))),
            Ok(false) | Err(TryRecvError::Disconnected) => Some(Ok(())),
            Err(TryRecvError::Empty) => None,
        }
    }
}
