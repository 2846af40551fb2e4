//! The transactions of a scorer: the scores of a batch and its offsets, both or neither.

use super::consumer::Context;
use crate::Tweet;
use crate::sentiment::{Analyzer, message as scored_message};
use crate::tweet::{Skip, SkipCounts};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Message};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// The time limit of a step of a transaction.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// A producer with a thread of its own for delivery reports: `abort_transaction` blocks on delivery
/// reports but does not poll for them.
pub(super) type TransactionalProducer = ThreadedProducer<DefaultProducerContext>;

/// A member of the group of scorers.
pub(super) struct Member {
    pub(super) consumer: BaseConsumer<Context>,
    pub(super) producer: TransactionalProducer,
    pub(super) from: String,
    pub(super) to: String,
    /// The partition count of the topic of scores.
    pub(super) to_partitions: usize,
    /// Whether both topics have the same partitions. A score then goes to the partition of its tweet.
    pub(super) is_copartitioned: bool,
}

impl Member {
    /// Initializes the producer for transactions.
    pub(super) fn init(&self) -> KafkaResult<()> {
        self.producer.init_transactions(STEP_LIMIT)?;
        self.end_open_transactions()
    }

    /// Aborts the current transaction, and returns to the committed offsets.
    pub(super) fn abort(&self) -> KafkaResult<()> {
        self.producer.abort_transaction(STEP_LIMIT)?;
        self.end_open_transactions()?;
        self.rewind()
    }

    /// Ends what an earlier transaction of this scorer may have left open: it aborts a transaction in
    /// each partition in which the earlier one may have been.
    ///
    /// A partition of Apache Kafka 4.3.0 has no leader while its only broker starts. Kafka treats it
    /// like a deleted partition and does not end the transaction there
    /// (<https://github.com/apache/kafka/pull/22680>). No reader would ever get beyond it.
    fn end_open_transactions(&self) -> KafkaResult<()> {
        let producer = &self.producer;
        producer.begin_transaction()?;
        for partition in (0..).take(self.to_partitions) {
            let record: BaseRecord<'_, (), ()> = BaseRecord::to(&self.to).partition(partition);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(STEP_LIMIT)?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.from, 0, Offset::Offset(0))?;
        let group = self.consumer.group_metadata().ok_or(KafkaError::Canceled)?;
        // The call adds the group's partition of offsets to the transaction, whether or not the group
        // accepts the offset now.
        let _ = producer.send_offsets_to_transaction(&offsets, &group, STEP_LIMIT);
        producer.abort_transaction(STEP_LIMIT)
    }

    /// Scores a batch, and writes the scores and the offsets in one transaction. Returns how many
    /// messages were skipped.
    pub(super) fn transact(
        &self,
        analyzer: &Analyzer,
        batch: &[BorrowedMessage<'_>],
    ) -> KafkaResult<SkipCounts> {
        let producer = &self.producer;
        producer.begin_transaction()?;
        let mut skipped = SkipCounts::new();
        let mut read: BTreeMap<i32, i64> = BTreeMap::new();
        let mut buffer = Vec::new();
        for message in batch {
            read.insert(message.partition(), message.offset() + 1);
            let payload = message.payload().ok_or(Skip::NoText);
            match payload.and_then(Tweet::decode) {
                Err(reason) => *skipped.entry(reason).or_default() += 1,
                Ok(tweet) => {
                    let sentiment = analyzer.score(&tweet.text);
                    scored_message::encode_into(&tweet, &sentiment, &mut buffer);
                    self.send(message, &buffer)?;
                }
            }
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in read {
            offsets.add_partition_offset(&self.from, partition, Offset::Offset(next))?;
        }
        let group = self.consumer.group_metadata().ok_or(KafkaError::Canceled)?;
        producer.send_offsets_to_transaction(&offsets, &group, STEP_LIMIT)?;
        producer.commit_transaction(STEP_LIMIT)?;
        Ok(skipped)
    }

    fn send(&self, tweet: &BorrowedMessage<'_>, score: &[u8]) -> KafkaResult<()> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.to).payload(score);
        record.key = tweet.key();
        record.partition = self.is_copartitioned.then(|| tweet.partition());
        // A listener merges partitions by time, and a score is as old as its tweet.
        record.timestamp = tweet.timestamp().to_millis();
        record.headers = tweet.headers().map(BorrowedHeaders::detach);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    record = returned;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Returns the consumer to the committed offsets.
    fn rewind(&self) -> KafkaResult<()> {
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
