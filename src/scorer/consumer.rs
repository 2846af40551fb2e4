//! The consumer of a scorer: a member of the group, and the batches that it reads.

use crate::kafka::EndOffsets;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Statistics};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many tweets a transaction has at most, and how many bytes of messages.
pub(super) const MAX_TWEETS: usize = 16_000;
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How long a transaction waits for more tweets. With ten transactions per second, their cost is small.
const LINGER: Duration = Duration::from_millis(100);
/// How long one wait for the first tweet takes, and so how long a stop takes.
const POLL: Duration = Duration::from_millis(50);

/// The context of the consumer. It counts the rebalances of the group: after one, the messages read
/// before may belong to another scorer.
pub(super) struct Context {
    rebalances: AtomicU64,
    pub(super) ends: EndOffsets,
}

impl Context {
    pub(super) fn new(topic: &str) -> Context {
        Context {
            rebalances: AtomicU64::new(0),
            ends: EndOffsets::new(topic),
        }
    }

    /// Returns the number of rebalances so far.
    pub(super) fn rebalances(&self) -> u64 {
        self.rebalances.load(Ordering::Relaxed)
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "consumer error");
    }

    fn stats(&self, statistics: Statistics) {
        self.ends.update(&statistics);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.rebalances.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the next messages, `most` at most: those that are there, or come within [`LINGER`] of the
/// first. If the group is rebalanced meanwhile, the earlier messages are dropped: reading starts again
/// from the committed offsets.
pub(super) fn gather(
    consumer: &BaseConsumer<Context>,
    most: usize,
) -> KafkaResult<Vec<BorrowedMessage<'_>>> {
    let context = consumer.context();
    let mut seen = context.rebalances();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut deadline = Instant::now() + POLL;
    while batch.len() < most && bytes < MAX_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        let next = consumer.poll(left);
        let now = context.rebalances();
        if now != seen {
            seen = now;
            batch.clear();
            bytes = 0;
        }
        match next {
            None if left.is_zero() => break,
            None => {}
            Some(message) => {
                let message = message?;
                bytes += message.payload_len();
                batch.push(message);
                if batch.len() == 1 {
                    deadline = Instant::now() + LINGER;
                }
            }
        }
    }
    Ok(batch)
}
