//! Decoding and scoring, on all cores if a batch is large.

use super::merge::Outcome;
use crate::sentiment::{Analyzer, Scored, Sentiment, message};
use crate::tweet::{Skip, Tweet};
use rdkafka::message::{BorrowedMessage, Message};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Once};

/// The smallest batch that is worth a second thread.
const PARALLEL_BATCH: usize = 128;

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

/// How messages become scored tweets.
pub(super) struct Scoring {
    content: Content,
    analyzer: Analyzer,
    metric: Arc<Metric>,
    cores: usize,
}

impl Scoring {
    pub(super) fn new(content: Content, analyzer: Analyzer, metric: Arc<Metric>) -> Scoring {
        silence_metric_panics();
        Scoring {
            content,
            analyzer,
            metric,
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        }
    }

    /// Scores a batch and keeps its order. Scoped threads do this without rayon, which would be several
    /// more crates behind each notebook for this one call.
    ///
    /// # Panics
    /// If scoring panics in any thread. A panic of the metric is a [`Skip`] instead.
    pub(super) fn score(&self, batch: &[(usize, BorrowedMessage<'_>)]) -> Vec<Outcome> {
        let score_all = |part: &[(usize, BorrowedMessage<'_>)]| -> Vec<Outcome> {
            let messages = part.iter().map(|(_, message)| message);
            messages.map(|message| self.outcome(message)).collect()
        };
        if batch.len() < PARALLEL_BATCH || self.cores == 1 {
            return score_all(batch);
        }
        // This thread scores the first part itself.
        let (first, rest) = batch.split_at(batch.len().div_ceil(self.cores));
        std::thread::scope(|scope| {
            let workers: Vec<_> = rest
                .chunks(first.len())
                .map(|part| scope.spawn(move || score_all(part)))
                .collect();
            let mut outcomes = score_all(first);
            for worker in workers {
                // Without the outcomes of one part, the others would belong to the wrong messages.
                outcomes.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            outcomes
        })
    }

    fn outcome(&self, message: &BorrowedMessage<'_>) -> Outcome {
        let payload = message.payload().ok_or(Skip::NoText)?;
        let (mut tweet, sentiment) = match self.content {
            Content::Tweets => {
                let tweet = Tweet::decode(payload)?;
                let sentiment = self.analyzer.score(&tweet.text);
                (tweet, sentiment)
            }
            Content::Scores => message::decode(payload)?,
        };
        if tweet.has_no_time()
            && let Some(millis) = message.timestamp().to_millis()
            && let Ok(written) = jiff::Timestamp::from_millisecond(millis)
        {
            tweet.created_at = written;
        }
        let metric = &self.metric;
        IN_METRIC.set(true);
        let value = catch_unwind(AssertUnwindSafe(|| metric(&tweet, &sentiment)));
        IN_METRIC.set(false);
        match value {
            Ok(metric) if metric.is_finite() => Ok(Arc::new(Scored {
                tweet,
                sentiment,
                metric,
            })),
            Ok(_) => Err(Skip::MetricNotFinite),
            Err(_) => Err(Skip::MetricPanicked),
        }
    }
}

thread_local! {
    static IN_METRIC: Cell<bool> = const { Cell::new(false) };
}

/// Suppresses the output of panics in a metric: they are counted, and would print a page each.
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
