//! The consumer: how a listener connects to the topic, and how a connection ends.
//!
//! In a cluster of several brokers, librdkafka finds the next broker of a partition, and one consumer
//! serves until the listener ends. A single broker is different. After a restart, it may have forgotten
//! the topic, as the embedded broker has. librdkafka crashes when a broker does not know a topic that it
//! knew before. So the listener closes the consumer when the only broker is lost, and creates a new one
//! when the broker is back.
//!
//! A new consumer reads the last counted message again. If that offset has another message or none, the
//! partition is a different log, and counting starts again. If retention has removed the message, the
//! unread messages that were removed with it are counted as missed.

use super::StartFrom;
use super::merge::{Partition, Partitions, Position, Resume};
use crate::error::{Error, Result};
use crate::kafka::{
    Client, Cluster, METADATA_INTERVAL_MS, Role, TopicContext, fetch_ends, is_compacted,
    status_topic, warm_metadata_cache,
};
use crate::wire::RunId;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::iter::repeat;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// The longest time that a broker waits for a message before it answers. Apache Kafka answers as soon as a
/// message comes, and each answer costs CPU time.
const FETCH_WAIT_MS: &str = "100";
/// The embedded broker answers after about half of this time, even if a message has come. So the time
/// is short at first.
pub(super) const EMBEDDED_FETCH_WAIT_MS: u32 = 10;
/// The factor by which the time grows when it is too short.
const FETCH_WAIT_GROWTH: u32 = 8;
/// The maximum of the time.
const MAX_FETCH_WAIT_MS: u32 = 5_120;
/// The embedded broker reports the offset of the first message of the last batch as the end of a
/// partition. Few producers write batches of more messages than this.
const EMBEDDED_BATCH: i64 = 10_000;
/// The time limit for fetching the offsets of a partition.
const OFFSETS_LIMIT: Duration = Duration::from_secs(1);

/// What a listener reads, and when it ends.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) client: Arc<Client>,
    pub(super) topic: String,
    pub(super) from: StartFrom,
    pub(super) deadline: Option<Instant>,
    /// The number of tweets to count.
    pub(super) count: u64,
    /// How long the embedded broker may search for messages.
    pub(super) embedded_fetch_wait_ms: u32,
}

impl Config {
    /// Gives the embedded broker more time for an answer. Returns false if it already has the maximum.
    pub(super) fn lengthen_fetch_wait(&mut self) -> bool {
        let before = self.embedded_fetch_wait_ms;
        self.embedded_fetch_wait_ms = (before * FETCH_WAIT_GROWTH).min(MAX_FETCH_WAIT_MS);
        self.embedded_fetch_wait_ms > before
    }
}

/// A consumer with one queue per partition. A slow partition cannot fill another's queue.
pub(super) struct Consumer {
    topic: String,
    /// The consumer. Its own queue has the items that belong to no partition: errors, and the
    /// streamer's status.
    pub(super) main: Arc<BaseConsumer<TopicContext>>,
    pub(super) partitions: Vec<PartitionQueue<TopicContext>>,
    /// Whether the cluster has no other broker.
    is_only_broker: bool,
    is_embedded: bool,
}

/// A connected listener.
pub(super) struct Connected {
    pub(super) consumer: Consumer,
    /// Where the consumer starts to read each partition.
    pub(super) starts: Vec<Partition>,
    /// The number of messages that the broker removed before they were read.
    pub(super) missed: u64,
    pub(super) is_compacted: bool,
}

/// Why a consumer is closed.
pub(super) enum ConsumerError {
    /// The broker is unreachable, with this error.
    BrokerLost(KafkaError),
    /// The partition is a different log than before.
    OtherLog,
    /// The broker has removed the next message to read.
    Removed,
    /// The topic has more partitions than the consumer reads.
    NewPartitions,
    /// The consumer must give the broker more time for an answer.
    Slow,
}

/// Connects to the topic. Returns `None` if the topic is a different log than before.
///
/// This call blocks for several seconds if the broker does not answer. `reader` is unparked when a message
/// comes. `resumes` is empty for the first connection. In a later connection, a partition that has no
/// element in it is new, and is read from its start.
pub(super) fn connect(
    config: &Config,
    resumes: &[Resume],
    reader: &Thread,
) -> Result<Option<Connected>> {
    let Config { client, topic, .. } = config;
    let action = format!("read topic {topic:?}");
    let failed = |error| {
        Error::kafka(
            &action,
            &error,
            "do nothing: the listener tries again until it succeeds",
        )
    };
    let cluster = client.check_reachable()?;
    let count = client.partitions_in(&cluster, topic)?;
    let is_compacted = !cluster.is_embedded && is_compacted(client, topic);
    let main = create(config, &cluster, count).map_err(failed)?;
    let found = find_starts(&main, config, resumes, count, is_compacted).map_err(failed)?;
    let Some((starts, missed)) = found else {
        return Ok(None);
    };
    assign(&main, &cluster, topic, &starts).map_err(failed)?;
    let main = Arc::new(main);
    let partitions = split_queues(&main, topic, count, reader)
        .ok_or_else(|| Error::no_topic(topic, client.address()))?;
    Ok(Some(Connected {
        consumer: Consumer {
            topic: topic.clone(),
            main,
            partitions,
            is_only_broker: cluster.brokers == 1,
            is_embedded: cluster.is_embedded,
        },
        starts,
        missed,
        is_compacted,
    }))
}

/// Creates a consumer that is connected and reads nothing yet.
fn create(
    config: &Config,
    cluster: &Cluster,
    partitions: usize,
) -> KafkaResult<BaseConsumer<TopicContext>> {
    let mut settings = config.client.consumer_config(Role::Listener, partitions);
    settings
        // librdkafka requires a group id, although the consumer joins no group.
        .set("group.id", "listener")
        .set("enable.partition.eof", "true")
        // Reading at a removed offset must be an error, because the missed messages are counted then.
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", FETCH_WAIT_MS)
        // A deleted topic is an error after this time. The default is half a minute.
        .set("topic.metadata.propagation.max.ms", METADATA_INTERVAL_MS);
    if cluster.brokers == 1 {
        // The broker may not advertise the given address. A lost connection to that address says
        // nothing about the broker.
        settings.set("bootstrap.servers", cluster.bootstrap());
    }
    if cluster.is_embedded {
        settings
            .set(
                "fetch.wait.max.ms",
                config.embedded_fetch_wait_ms.to_string(),
            )
            // The consumer must be closed before it reconnects, see the module documentation. The
            // reader notices a lost connection within this time.
            .set("reconnect.backoff.ms", "10000")
            .set("reconnect.backoff.max.ms", "10000");
    }
    let consumer: BaseConsumer<_> =
        settings.create_with_context(TopicContext::new(&config.topic))?;
    warm_metadata_cache(consumer.client(), &config.topic);
    // A host name may have several addresses, which librdkafka tries one after the other. Drop the
    // errors of the addresses that refused the connection.
    while consumer.poll(Duration::ZERO).is_some() {}
    Ok(consumer)
}

/// Finds where to start in each partition, and counts the messages that were removed before they were
/// read. Returns `None` if a partition is a different log than before.
fn find_starts(
    consumer: &BaseConsumer<TopicContext>,
    config: &Config,
    resumes: &[Resume],
    partitions: usize,
    is_compacted: bool,
) -> KafkaResult<Option<(Vec<Partition>, u64)>> {
    let from = match resumes {
        [] => config.from,
        _ => StartFrom::Earliest,
    };
    let resumes = resumes.iter().copied().chain(repeat(Resume::Start));
    let mut starts = Vec::with_capacity(partitions);
    let mut missed = 0;
    for (number, resume) in (0..).zip(resumes.take(partitions)) {
        if resume == Resume::Start && from == StartFrom::Earliest && !is_compacted {
            // The broker knows where its first message is.
            starts.push(Partition::default());
            continue;
        }
        let (first, end) = consumer.fetch_watermarks(&config.topic, number, OFFSETS_LIMIT)?;
        let Some((mut start, removed)) = start(resume, from, first, end) else {
            return Ok(None);
        };
        missed += removed.unsigned_abs();
        start.next = is_compacted.then(|| start.resume.position().unwrap_or(first));
        starts.push(start);
    }
    Ok(Some((starts, missed)))
}

/// Returns how to start in a partition with the offsets from `first` to `end`, and how many messages
/// were removed before they were read; `None` if it is a different log than before.
fn start(resume: Resume, from: StartFrom, first: i64, end: i64) -> Option<(Partition, i64)> {
    match resume {
        Resume::Start if from == StartFrom::Earliest => Some((Partition::default(), 0)),
        // The offset is fixed now, because a reconnect must not skip later messages.
        Resume::Start => Some((Partition::new(Resume::At(end), false), 0)),
        Resume::At(next) if end < next => None,
        Resume::At(next) => {
            let start = Partition::new(Resume::At(next.max(first)), false);
            Some((start, (first - next).max(0)))
        }
        Resume::After(last) if end <= last.offset => None,
        Resume::After(last) if first > last.offset => {
            let offset = first - 1;
            let start = Partition::new(Resume::After(Position { offset, ..last }), false);
            Some((start, offset - last.offset))
        }
        Resume::After(_) => Some((Partition::new(resume, true), 0)),
    }
}

/// Starts to read the partitions, and the newest status of the streamer.
fn assign(
    consumer: &BaseConsumer<TopicContext>,
    cluster: &Cluster,
    topic: &str,
    starts: &[Partition],
) -> KafkaResult<()> {
    let mut assignment = TopicPartitionList::new();
    for (number, start) in (0..).zip(starts) {
        assignment.add_partition_offset(topic, number, first_offset(start))?;
    }
    let status = status_topic(topic);
    if cluster.has(&status) {
        assignment.add_partition_offset(&status, 0, Offset::OffsetTail(1))?;
    }
    consumer.assign(&assignment)
}

/// Returns the offset of the first message that the consumer reads in a partition.
fn first_offset(start: &Partition) -> Offset {
    match start.resume {
        Resume::Start => Offset::Beginning,
        Resume::At(next) => Offset::Offset(next),
        Resume::After(last) if start.is_verifiable => Offset::Offset(last.offset),
        Resume::After(last) => Offset::Offset(last.offset + 1),
    }
}

/// Gives each partition its own queue. Returns `None` if a partition does not exist.
fn split_queues(
    consumer: &Arc<BaseConsumer<TopicContext>>,
    topic: &str,
    partitions: usize,
    reader: &Thread,
) -> Option<Vec<PartitionQueue<TopicContext>>> {
    (0..)
        .take(partitions)
        .map(|number| {
            let mut queue = consumer.split_partition_queue(topic, number)?;
            let reader = reader.clone();
            queue.set_nonempty_callback(move || reader.unpark());
            Some(queue)
        })
        .collect()
}

impl Consumer {
    /// Returns the reason why the consumer cannot continue to read, or `None` if it can.
    ///
    /// # Errors
    /// A [`ConsumerError`] if the consumer must be closed.
    pub(super) fn check(&self, error: KafkaError) -> Result<Option<String>, ConsumerError> {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(ConsumerError::Removed),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Err(ConsumerError::BrokerLost(error))
            }
            Some(Code::AllBrokersDown | Code::BrokerTransportFailure) if self.is_only_broker => {
                Err(ConsumerError::BrokerLost(error))
            }
            Some(Code::AllBrokersDown | Code::BrokerTransportFailure) => Ok(None),
            _ => Ok(Some(self.main.context().reason())),
        }
    }

    /// Returns the end of a partition, if it is known.
    pub(super) fn end(&self, partition: i32) -> Option<i64> {
        self.main.context().end(partition)
    }

    /// Returns whether the embedded broker has messages that it has not delivered.
    ///
    /// The embedded broker lists all batches of a partition for each answer, and stops when the time for
    /// the answer is over. In a log of 20,000 batches, it does not get far in 10 ms. It then answers with
    /// a single message, or again and again with none. Apache Kafka has an index, which avoids this.
    pub(super) fn is_behind(&self, partitions: &Partitions) -> bool {
        self.is_embedded
            && (0..).zip(partitions.iter()).any(|(number, partition)| {
                let context = self.main.context();
                let next = partition.next_offset().or_else(|| context.first(number));
                // The reported end may be one too large.
                context.end(number) > next.map(|next| next + 1)
            })
    }

    /// Returns the offset at which the consumer waits for the end of a transaction, if a transaction is
    /// open.
    pub(super) fn open_transaction(&self, partition: i32) -> Option<i64> {
        // The embedded broker has no transactions. It may report an end that is one too large.
        let context = (!self.is_embedded).then(|| self.main.context());
        context?.open_transaction(partition)
    }

    /// Returns whether the topic has more partitions than the consumer reads.
    pub(super) fn has_new_partitions(&self) -> bool {
        self.main.context().partitions() > self.partitions.len()
    }

    /// Returns whether the topic can have a run, see [`RunId::is_possible`]. If the known ends are too
    /// small for the run, asks the broker for newer ends.
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
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rdkafka::ClientConfig;
    use rdkafka::client::ClientContext as _;
    use rdkafka::statistics::{Partition as PartitionStatistics, Statistics, Topic};

    pub(in crate::listener) fn config() -> Config {
        Config {
            client: Arc::new(Client::without_broker()),
            topic: "tweets".into(),
            from: StartFrom::Latest,
            deadline: None,
            count: u64::MAX,
            embedded_fetch_wait_ms: EMBEDDED_FETCH_WAIT_MS,
        }
    }

    /// A consumer of two partitions that has never connected.
    pub(in crate::listener) fn consumer(is_only_broker: bool, is_embedded: bool) -> Consumer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("group.id", "test");
        let main: BaseConsumer<_> = config
            .create_with_context(TopicContext::new("tweets"))
            .unwrap();
        let main = Arc::new(main);
        let partitions = split_queues(&main, "tweets", 2, &std::thread::current()).unwrap();
        Consumer {
            topic: "tweets".into(),
            main,
            partitions,
            is_only_broker,
            is_embedded,
        }
    }

    /// Reports the first offset, the stable end and the end of each partition, as librdkafka does.
    pub(in crate::listener) fn report(consumer: &Consumer, bounds: &[(i64, i64, i64)]) {
        let partitions = (0..).zip(bounds).map(|(partition, &(first, stable, end))| {
            let statistics = PartitionStatistics {
                partition,
                lo_offset: first,
                ls_offset: stable,
                hi_offset: end,
                ..Default::default()
            };
            (partition, statistics)
        });
        let topic = Topic {
            partitions: partitions.collect(),
            ..Default::default()
        };
        consumer.main.context().stats(Statistics {
            topics: [("tweets".to_owned(), topic)].into(),
            ..Default::default()
        });
    }

    fn partitions(resumes: &[Resume]) -> Partitions {
        let mut partitions = Partitions::default();
        let resumed = resumes.iter().map(|resume| Partition::new(*resume, false));
        partitions.reset(resumed.collect());
        partitions
    }

    fn after(offset: i64) -> Resume {
        let written = Some(7);
        Resume::After(Position { offset, written })
    }

    #[test]
    fn a_partition_continues_where_it_was_read_or_is_another_log() {
        let start = |resume, from, first, end| {
            let (partition, missed) = start(resume, from, first, end)?;
            Some((partition.resume, partition.is_verifiable, missed))
        };
        let (earliest, latest) = (StartFrom::Earliest, StartFrom::Latest);
        for (resume, from, first, end, expected) in [
            (
                Resume::Start,
                earliest,
                3,
                9,
                Some((Resume::Start, false, 0)),
            ),
            (Resume::Start, latest, 3, 9, Some((Resume::At(9), false, 0))),
            (Resume::At(5), latest, 3, 9, Some((Resume::At(5), false, 0))),
            (Resume::At(9), latest, 9, 9, Some((Resume::At(9), false, 0))),
            (Resume::At(5), latest, 7, 9, Some((Resume::At(7), false, 2))),
            (Resume::At(10), latest, 3, 9, None),
            (after(5), earliest, 3, 9, Some((after(5), true, 0))),
            (after(5), earliest, 5, 6, Some((after(5), true, 0))),
            (after(5), earliest, 6, 9, Some((after(5), false, 0))),
            (after(5), earliest, 8, 9, Some((after(7), false, 2))),
            (after(5), earliest, 3, 5, None),
        ] {
            let found = start(resume, from, first, end);
            assert_eq!(found, expected, "{resume:?} from {first} to {end}");
        }
    }

    #[test]
    fn the_last_counted_message_is_read_again_if_the_broker_has_it() {
        for (resume, is_verifiable, expected) in [
            (Resume::Start, false, Offset::Beginning),
            (Resume::At(5), false, Offset::Offset(5)),
            (after(5), true, Offset::Offset(5)),
            (after(5), false, Offset::Offset(6)),
        ] {
            let start = Partition::new(resume, is_verifiable);
            assert_eq!(first_offset(&start), expected, "{resume:?}");
        }
    }

    #[test]
    fn a_lost_connection_closes_the_consumer_of_a_single_broker_only() {
        use RDKafkaErrorCode as Code;
        let error = KafkaError::MessageConsumption;
        for (is_only_broker, name) in [(true, "single broker"), (false, "cluster")] {
            let consumer = consumer(is_only_broker, false);
            for code in [Code::AllBrokersDown, Code::BrokerTransportFailure] {
                match consumer.check(error(code)) {
                    Err(ConsumerError::BrokerLost(_)) if is_only_broker => {}
                    Ok(None) if !is_only_broker => {}
                    _ => panic!("{name}, {code}"),
                }
            }
            for code in [
                Code::UnknownTopic,
                Code::UnknownTopicOrPartition,
                Code::UnknownPartition,
            ] {
                let checked = consumer.check(error(code));
                assert!(
                    matches!(checked, Err(ConsumerError::BrokerLost(_))),
                    "{name}, {code}"
                );
            }
            for code in [Code::AutoOffsetReset, Code::OffsetOutOfRange] {
                let checked = consumer.check(error(code));
                assert!(
                    matches!(checked, Err(ConsumerError::Removed)),
                    "{name}, {code}"
                );
            }
            let reason = "the codec is unknown";
            consumer
                .main
                .context()
                .error(error(Code::BadCompression), reason);
            let checked = consumer.check(error(Code::BadCompression));
            assert!(
                matches!(checked, Ok(Some(found)) if found == reason),
                "{name}"
            );
        }
    }

    #[test]
    fn the_embedded_broker_is_behind_if_it_has_two_more_messages() {
        let embedded = consumer(true, true);
        let unread = partitions(&[Resume::Start, Resume::Start]);
        assert!(!embedded.is_behind(&unread));
        report(&embedded, &[(0, 0, 0), (4, 6, 6)]);
        assert!(embedded.is_behind(&unread));
        report(&embedded, &[(0, 0, 0), (4, 5, 5)]);
        assert!(!embedded.is_behind(&unread));
        report(&embedded, &[(0, 9, 9), (4, 5, 5)]);
        assert!(embedded.is_behind(&partitions(&[after(6), after(4)])));
        assert!(!embedded.is_behind(&partitions(&[after(7), after(4)])));
        assert!(!embedded.is_behind(&partitions(&[Resume::At(9), Resume::At(5)])));

        let apache = consumer(true, false);
        report(&apache, &[(0, 9, 9), (4, 5, 5)]);
        assert!(!apache.is_behind(&unread));
    }

    #[test]
    fn only_a_broker_with_transactions_has_an_open_one() {
        for is_embedded in [false, true] {
            let consumer = consumer(true, is_embedded);
            assert_eq!(consumer.end(0), None);
            report(&consumer, &[(0, 3, 9), (0, 9, 9)]);
            assert_eq!((consumer.end(0), consumer.end(1)), (Some(9), Some(9)));
            let open = consumer.open_transaction(0);
            assert_eq!(open, (!is_embedded).then_some(3));
            assert_eq!(consumer.open_transaction(1), None);
        }
    }

    #[test]
    fn a_third_partition_is_new_to_a_consumer_of_two() {
        let consumer = consumer(true, false);
        assert!(!consumer.has_new_partitions());
        report(&consumer, &[(0, 0, 0); 2]);
        assert!(!consumer.has_new_partitions());
        report(&consumer, &[(0, 0, 0); 3]);
        assert!(consumer.has_new_partitions());
    }

    #[test]
    fn the_time_for_an_answer_grows_to_its_maximum() {
        let mut config = config();
        for expected in [80, 640, 5_120] {
            assert!(config.lengthen_fetch_wait());
            assert_eq!(config.embedded_fetch_wait_ms, expected);
        }
        assert!(!config.lengthen_fetch_wait());
        assert_eq!(config.embedded_fetch_wait_ms, 5_120);
    }
}
