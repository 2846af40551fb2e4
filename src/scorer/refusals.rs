//! The scores that Kafka refuses, and what the scorer does about them.
//!
//! Kafka refuses a whole record batch, and librdkafka then fails each message in it. A message is
//! certainly the reason only if it is alone in its record batch. It is alone if it is the only message of
//! the transaction, or if it is larger than the producer's limit of a record batch.

use crate::task::locked;
use crate::tweet::Skip;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The messages whose scores Kafka refuses, by partition and offset. A commit clears the map, so it contains
/// only messages of one batch.
pub(super) type Refused = BTreeMap<(i32, i64), Skip>;

/// The context of the producer. It collects the failures of a transaction.
#[derive(Default)]
pub(super) struct ScoreReports(Mutex<Failures>);

#[derive(Default)]
struct Failures {
    first: Option<KafkaError>,
    refusals: Vec<Refusal>,
}

/// A message in a record batch that Kafka refused.
pub(super) struct Refusal {
    /// The index of its tweet in the batch of the scorer.
    index: usize,
    reason: Skip,
    bytes: usize,
}

/// What the scorer does about an aborted transaction before it scores the batch again.
pub(super) enum Remedy {
    /// Skip these messages.
    Skip(Refused),
    /// Send smaller record batches, of this many bytes at most.
    SmallerRecordBatches(usize),
    /// Score fewer tweets in a transaction.
    FewerTweets,
    /// Nothing: no message was refused.
    Retry,
}

impl ScoreReports {
    /// Returns the first failure since the last [`take`](ScoreReports::take) as an error.
    pub(super) fn check(&self) -> KafkaResult<()> {
        locked(&self.0).first.clone().map_or(Ok(()), Err)
    }

    /// Takes the refusals, and forgets all failures.
    pub(super) fn take(&self) -> Vec<Refusal> {
        std::mem::take(&mut *locked(&self.0)).refusals
    }
}

impl ClientContext for ScoreReports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "producer error");
    }
}

impl ProducerContext for ScoreReports {
    /// The index of the tweet in the batch of the scorer.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, message)) = result {
            let mut failures = locked(&self.0);
            failures.first.get_or_insert_with(|| error.clone());
            failures
                .refusals
                .extend(reason(error).map(|reason| Refusal {
                    index,
                    reason,
                    bytes: message.payload_len(),
                }));
        }
    }
}

impl Remedy {
    /// Returns the remedy for the refusals in a batch. `limit` is the producer's limit of a record batch,
    /// in bytes.
    pub(super) fn of(refusals: &[Refusal], batch: &[BorrowedMessage<'_>], limit: usize) -> Remedy {
        let alone = |refusal: &&Refusal| batch.len() == 1 || refusal.bytes > limit;
        let positions = refusals.iter().filter(alone).filter_map(|refusal| {
            let message = batch.get(refusal.index)?;
            Some(((message.partition(), message.offset()), refusal.reason))
        });
        let refused: Refused = positions.collect();
        match refusals.first() {
            _ if !refused.is_empty() => Remedy::Skip(refused),
            None => Remedy::Retry,
            Some(refusal) if refusal.reason == Skip::ScoreTooLarge => {
                let bytes = refusals.iter().map(|refusal| refusal.bytes).sum();
                Remedy::SmallerRecordBatches((limit.min(bytes) / 2).max(1))
            }
            Some(_) => Remedy::FewerTweets,
        }
    }
}

/// Returns the reason for skipping a message; `None` if Kafka may accept the message later.
pub(super) fn reason(error: &KafkaError) -> Option<Skip> {
    match error.rdkafka_error_code()? {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => Some(Skip::ScoreTooLarge),
        Code::InvalidRecord | Code::InvalidTimestamp => Some(Skip::ScoreRefused),
        _ => None,
    }
}
