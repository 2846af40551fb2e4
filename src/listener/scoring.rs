//! Decoding and scoring of messages, on all cores if a batch is large.

use super::merge::{Outcome, Skipped};
use crate::notebook::shorten;
use crate::sentiment::{Analyzer, Scored, ScoredWords, Sentiment};
use crate::tweet::{Skip, Tweet};
use crate::wire::score;
use jiff::Timestamp;
use rdkafka::message::{BorrowedMessage, Message};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// The number of characters of a skipped message that are kept. A character has up to four bytes.
const BEGINNING: usize = 200;
/// The smallest batch that is worth a second thread, unless the metric is slow.
const PARALLEL_BATCH: usize = 128;
/// The intended duration of a batch. A slow metric gets small batches, because the figure, the lag and a
/// stop wait until a batch is scored.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// The initial limit of a batch, in messages of each partition.
const FIRST_LIMIT: usize = 1_024;

/// The largest accepted metric. Even a sum of 2^64 such metrics is finite.
const MAX_METRIC: f64 = 1e100;

/// What a tweet adds to the running sum.
pub(super) type Metric = dyn Fn(&Tweet, &Sentiment) -> f64 + Send + Sync;

/// The content of the topic.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Content {
    /// Tweets, which the listener scores.
    Tweets,
    /// Tweets with a score, which a [`Scorer`](crate::scorer::Scorer) has written.
    Scores,
}

/// Decodes and scores batches of messages.
pub(super) struct BatchScorer {
    content: Content,
    analyzer: Analyzer,
    metric: Arc<Metric>,
    cores: usize,
    limit: BatchLimit,
}

/// The maximum number of messages of each partition in a batch.
struct BatchLimit(usize);

impl BatchLimit {
    /// Adapts the limit to the duration of a batch of `messages` messages of all partitions. The limit is
    /// halved after a slow batch, and doubled after a fast batch that was full.
    fn learn(&mut self, messages: usize, elapsed: Duration) {
        if elapsed > BATCH_TIME {
            self.0 = (messages.min(self.0) / 2).max(1);
        } else if elapsed < BATCH_TIME / 4 && messages >= self.0 {
            self.0 *= 2;
        }
    }
}

impl BatchScorer {
    pub(super) fn new(content: Content, analyzer: Analyzer, metric: Arc<Metric>) -> BatchScorer {
        silence_metric_panics();
        BatchScorer {
            content,
            analyzer,
            metric,
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            limit: BatchLimit(FIRST_LIMIT),
        }
    }

    pub(super) fn content(&self) -> Content {
        self.content
    }

    /// Returns the maximum number of messages of each partition in the next batch.
    pub(super) fn limit(&self) -> usize {
        self.limit.0
    }

    /// Scores a batch and keeps its order.
    ///
    /// # Panics
    /// If scoring panics in any thread. If the metric panics, the message is skipped instead.
    pub(super) fn score(&mut self, batch: &[(usize, BorrowedMessage<'_>)]) -> Vec<Outcome> {
        let start = Instant::now();
        let outcomes = self.score_all(batch);
        self.limit.learn(batch.len(), start.elapsed());
        outcomes
    }

    /// Scores a batch on all cores. It uses scoped threads, because rayon would add several crates to
    /// each notebook for this one call.
    fn score_all(&self, batch: &[(usize, BorrowedMessage<'_>)]) -> Vec<Outcome> {
        // No message of the batch was written after this time.
        let now = Timestamp::now();
        let score_part = |part: &[(usize, BorrowedMessage<'_>)]| -> Vec<Outcome> {
            part.iter()
                .map(|(_, message)| self.outcome(message, now))
                .collect()
        };
        let is_small = batch.len() < PARALLEL_BATCH.min(self.limit.0.max(2));
        if is_small || self.cores == 1 {
            return score_part(batch);
        }
        // This thread scores the first part.
        let (first, rest) = batch.split_at(batch.len().div_ceil(self.cores));
        std::thread::scope(|scope| {
            let workers: Vec<_> = rest
                .chunks(first.len())
                .map(|part| scope.spawn(move || score_part(part)))
                .collect();
            let mut outcomes = score_part(first);
            for worker in workers {
                // Outcomes are matched to messages by position, so a lost part must not be skipped.
                outcomes.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            outcomes
        })
    }

    fn outcome(&self, message: &BorrowedMessage<'_>, now: Timestamp) -> Outcome {
        self.scored(message, now).map_err(|reason| {
            let payload = message.payload().unwrap_or_default();
            let start = &payload[..payload.len().min(4 * BEGINNING)];
            Skipped {
                reason,
                beginning: shorten(&String::from_utf8_lossy(start), BEGINNING),
            }
        })
    }

    fn scored(&self, message: &BorrowedMessage<'_>, now: Timestamp) -> Result<Arc<Scored>, Skip> {
        let payload = message.payload().ok_or(Skip::NoText)?;
        let (mut tweet, sentiment, words) = match self.content {
            Content::Tweets => {
                let tweet = Tweet::decode(payload)?;
                let (sentiment, words) = self.analyzer.score_words(&tweet.text);
                (tweet, sentiment, words)
            }
            // A scorer has looked up the words, and its message does not contain them.
            Content::Scores => {
                let (tweet, sentiment) = score::decode(payload)?;
                (tweet, sentiment, ScoredWords::new())
            }
        };
        let stamp = message
            .timestamp()
            .to_millis()
            .and_then(|millis| Timestamp::from_millisecond(millis).ok());
        let time_corrected = tweet.correct_time(stamp, now);
        let metric = &self.metric;
        IN_METRIC.set(true);
        let value = catch_unwind(AssertUnwindSafe(|| metric(&tweet, &sentiment)));
        IN_METRIC.set(false);
        match value {
            Ok(metric) if metric.abs() <= MAX_METRIC => Ok(Arc::new(Scored {
                tweet,
                sentiment,
                metric,
                partition: message.partition(),
                offset: message.offset(),
                time_corrected,
                words,
            })),
            Ok(_) => Err(Skip::MetricNotFinite),
            Err(_) => Err(Skip::MetricPanicked),
        }
    }
}

thread_local! {
    static IN_METRIC: Cell<bool> = const { Cell::new(false) };
}

/// Suppresses the output of panics in a metric. They are counted, and each would print a page of text.
fn silence_metric_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IN_METRIC.get() {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_metric_gets_small_batches_whatever_the_number_of_partitions() {
        for partitions in [1, 2, 8] {
            let mut limit = BatchLimit(FIRST_LIMIT);
            for _ in 0..20 {
                limit.learn(partitions * limit.0, 2 * BATCH_TIME);
            }
            assert_eq!(limit.0, 1, "{partitions} partitions");
            for _ in 0..6 {
                limit.learn(partitions * limit.0, BATCH_TIME / 10);
            }
            assert_eq!(limit.0, 64);
            // A batch that was not full says nothing about a larger one.
            limit.learn(3, BATCH_TIME / 10);
            assert_eq!(limit.0, 64);
        }
    }
}
