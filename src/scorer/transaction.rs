//! The transactions of a scorer. A transaction writes the scores of a batch and its offsets, or neither.

use super::refusals::{Refusal, Refused, ScoreReports, reason};
use crate::kafka::{TopicContext, fetch_ends};
use crate::sentiment::Analyzer;
use crate::tweet::{Skip, SkipCounts, Tweet};
use crate::wire::{RunCheck, RunId, score};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The time limit of a step of a transaction.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// How often the thread checks whether all messages are delivered.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// A producer with a thread for delivery reports: `abort_transaction` blocks on delivery reports but
/// does not poll for them.
pub(super) type TransactionalProducer = ThreadedProducer<ScoreReports>;

/// A member of the group of scorers.
pub(super) struct Member {
    pub(super) consumer: BaseConsumer<TopicContext>,
    pub(super) producer: TransactionalProducer,
    pub(super) from: String,
    pub(super) to: String,
    /// The partition counts of both topics when the member joined. If they are equal, a score goes to
    /// the partition of its tweet.
    pub(super) from_partitions: usize,
    pub(super) to_partitions: usize,
}

impl Member {
    /// Initializes the producer for transactions.
    pub(super) fn init(&self) -> KafkaResult<()> {
        self.producer.init_transactions(STEP_LIMIT)?;
        self.end_open_transactions()
    }

    /// Aborts the current transaction. Returns the messages that Kafka has refused in it.
    pub(super) fn abort(&self) -> KafkaResult<Vec<Refusal>> {
        let producer = &self.producer;
        // Purge repeatedly: after a failure, librdkafka queues the messages in flight again, and would
        // wait for their timeout.
        self.settle(|| {
            producer.purge(PurgeConfig::default().queue());
            Ok(())
        })?;
        producer.abort_transaction(STEP_LIMIT)?;
        Ok(producer.context().take())
    }

    /// Waits until each message has its delivery report, and calls `check` repeatedly. `flush` would wait
    /// too, but checks only every 100 ms.
    fn settle(&self, check: impl Fn() -> KafkaResult<()>) -> KafkaResult<()> {
        let deadline = Instant::now() + STEP_LIMIT;
        while self.producer.in_flight_count() > 0 {
            check()?;
            if Instant::now() > deadline {
                return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
            }
            std::thread::sleep(CHECK_INTERVAL);
        }
        Ok(())
    }

    /// Ends an earlier transaction of this scorer that Kafka may have left open in a partition, by
    /// aborting a transaction with all partitions.
    ///
    /// A partition of Apache Kafka 4.3.0 has no leader while its only broker starts. Kafka treats it
    /// like a deleted partition and does not end the transaction there
    /// (<https://github.com/apache/kafka/pull/22680>). Readers would wait for its end forever.
    fn end_open_transactions(&self) -> KafkaResult<()> {
        let producer = &self.producer;
        producer.begin_transaction()?;
        for partition in (0..).take(self.to_partitions) {
            // No tweet has this index. A compacted topic refuses records without a key.
            let record: BaseRecord<'_, [u8], (), _> =
                BaseRecord::with_opaque_to(&self.to, usize::MAX).key(&[]);
            let sent = producer.send(record.partition(partition));
            sent.map_err(|(error, _)| error)?;
        }
        self.settle(|| Ok(()))?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.from, 0, Offset::Offset(0))?;
        let group = self.consumer.group_metadata().ok_or(KafkaError::Canceled)?;
        // The call adds the group's partition of offsets to the transaction, whether or not the group
        // accepts the offset now.
        let _ = producer.send_offsets_to_transaction(&offsets, &group, STEP_LIMIT);
        producer.abort_transaction(STEP_LIMIT)
    }

    /// Scores a batch without the messages whose scores are refused, and writes the scores and the
    /// offsets in one transaction. Returns how many messages were skipped.
    pub(super) fn transact(
        &self,
        analyzer: &Analyzer,
        batch: &[BorrowedMessage<'_>],
        refused: &Refused,
        runs: &mut RunCheck,
    ) -> KafkaResult<SkipCounts> {
        let producer = &self.producer;
        // Forget the refusals of `end_open_transactions`.
        producer.context().take();
        producer.begin_transaction()?;
        let mut skipped = SkipCounts::new();
        let mut read: BTreeMap<i32, i64> = BTreeMap::new();
        let mut buffer = Vec::new();
        for (index, message) in batch.iter().enumerate() {
            read.insert(message.partition(), message.offset() + 1);
            let known = refused.get(&(message.partition(), message.offset()));
            let payload = message.payload().ok_or(Skip::NoText);
            let tweet = known.map_or(payload, |reason| Err(*reason));
            let sent = match tweet.and_then(Tweet::decode) {
                Err(reason) => Err(reason),
                Ok(tweet) => {
                    let sentiment = analyzer.score(&tweet.text);
                    score::encode_into(&tweet, &sentiment, &mut buffer);
                    let run = runs.trusted(RunId::of(message), |run| self.is_possible(run))?;
                    self.send(index, message, run, &buffer)?
                }
            };
            if let Err(reason) = sent {
                *skipped.entry(reason).or_default() += 1;
            }
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in read {
            offsets.add_partition_offset(&self.from, partition, Offset::Offset(next))?;
        }
        let group = self.consumer.group_metadata().ok_or(KafkaError::Canceled)?;
        producer.send_offsets_to_transaction(&offsets, &group, STEP_LIMIT)?;
        // Check for failures: after a failure, the messages in the queue would wait for their timeout.
        self.settle(|| producer.context().check())?;
        producer.commit_transaction(STEP_LIMIT)?;
        Ok(skipped)
    }

    /// Returns whether the topic of tweets can have a run.
    fn is_possible(&self, run: RunId) -> KafkaResult<bool> {
        let client = self.consumer.client();
        let ends = fetch_ends(client, &self.from, self.from_partitions, STEP_LIMIT)?;
        Ok(run.is_possible(ends))
    }

    /// Queues a score. The inner error is the reason why the producer cannot send it.
    ///
    /// The queue is never full: it has only the scores of one transaction, and librdkafka's default limit
    /// is 100,000 messages.
    fn send(
        &self,
        index: usize,
        tweet: &BorrowedMessage<'_>,
        run: Option<RunId>,
        score: &[u8],
    ) -> KafkaResult<Result<(), Skip>> {
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(&self.to, index).payload(score);
        record.key = tweet.key();
        let is_copartitioned = self.from_partitions == self.to_partitions;
        record.partition = is_copartitioned.then(|| tweet.partition());
        // A listener merges partitions by time, and a score is as old as its tweet.
        record.timestamp = tweet.timestamp().to_millis();
        record.headers = run.map(RunId::headers);
        match self.producer.send(record) {
            Ok(()) => Ok(Ok(())),
            Err((error, _)) => reason(&error).map(Err).ok_or(error),
        }
    }

    /// Returns whether partitions were added to the topic of tweets since the member joined, and the
    /// member was assigned one of them.
    pub(super) fn is_outgrown(&self, assignment: &TopicPartitionList) -> bool {
        let assigned = assignment.elements();
        let last = assigned.iter().map(|element| element.partition()).max();
        last.and_then(|last| usize::try_from(last).ok()) >= Some(self.from_partitions)
    }

    /// Moves the consumer back to the committed offsets.
    pub(super) fn rewind(&self) -> KafkaResult<()> {
        let committed = self.consumer.committed(STEP_LIMIT)?;
        for partition in committed.elements() {
            let offset = match partition.offset() {
                Offset::Invalid => Offset::Beginning,
                offset => offset,
            };
            let (topic, number) = (partition.topic(), partition.partition());
            self.consumer.seek(topic, number, offset, STEP_LIMIT)?;
        }
        Ok(())
    }
}
