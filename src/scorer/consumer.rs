//! The batches that a scorer reads as a member of the consumer group.

use crate::kafka::TopicContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use std::time::{Duration, Instant};

/// The maximum number of tweets of a transaction.
pub(super) const MAX_TWEETS: usize = 16_000;
/// The maximum size of the messages of a transaction, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How long a transaction waits for more tweets. The cost of ten transactions per second is small.
const LINGER: Duration = Duration::from_millis(100);
/// The longest wait for the first tweet. A stop may take this long.
const POLL: Duration = Duration::from_millis(50);

/// Returns up to `most` messages: those that are available, and those that arrive within [`LINGER`] of
/// the first. If the group is rebalanced, the messages from before the rebalance are dropped, because
/// reading starts again from the committed offsets.
pub(super) fn gather(
    consumer: &BaseConsumer<TopicContext>,
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
