//! The scorer: scores the tweets of one topic into another topic. Several scorers share the work.
//!
//! Any number of scorers, in any number of processes and on any number of machines, form one consumer
//! group. Kafka assigns some of the partitions to each scorer, and reassigns them when a scorer fails. A
//! [`Listener`](crate::Listener) to the topic of scores only has to add up the scores.
//!
//! Each tweet is scored into the topic exactly once, even if a program fails. This is Kafka's
//! *read-process-write*: one transaction contains the scores and the offsets of the tweets that were
//! read, and readers see all of it or nothing. A slow scorer may lose its partitions to another one.
//! Kafka then rejects its transaction, because the transaction names the generation of the group
//! (<https://cwiki.apache.org/confluence/display/KAFKA/KIP-447%3A+Producer+scalability+for+exactly+once+semantics>).
//! A scorer that is killed leaves an open transaction. Kafka aborts it after five seconds,
//! before the group reassigns the partitions after [`SESSION_LIMIT`].
//!
//! # A failed transaction
//! The scorer aborts the transaction, returns to the committed offsets, and scores the same tweets again
//! with a new producer. Only a commit moves the offsets and the counts, so the guarantee holds:
//!
//! - *A score that Kafka refuses*, for its size or another lasting reason, is left out of the next
//!   attempt. It counts as skipped when that transaction is committed. No other score is left out: if a
//!   refused record batch had several messages, the scorer makes its record batches or its transactions
//!   smaller until the refused message is alone.
//! - *Any other error* is retried after a pause, which grows up to two seconds. After three aborted
//!   transactions in a row, or if the abort fails too (as after a fatal error of the producer), the scorer
//!   leaves the group and joins it again, with a new consumer and the partitions that both topics have
//!   by then.
//!
//! # New partitions
//! The consumer asks for the partitions of the topic of tweets every two seconds, and the group assigns
//! new ones to its scorers. A scorer that gets a new partition joins the group again before it scores any
//! tweet of this partition. When a scorer joins, the topic of scores gets as many partitions as the topic
//! of tweets. Each score then goes to the partition of its tweet. If the topic of scores has more
//! partitions, or if the broker does not allow adding any, the key of the tweet determines the partition.

mod consumer;
mod refusals;
mod transaction;
mod worker;

pub use crate::wire::EndReason;

use crate::error::{Error, Result};
use crate::kafka::{Client, Kafka, LagMeter, PartitionLag, check_name};
use crate::notebook::{Card, shorten, thousands};
use crate::sentiment::Analyzer;
use crate::task::background::Background;
use crate::task::interrupt;
use crate::task::locked;
use crate::tweet::SkipCounts;
use serde::Serialize;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use worker::Worker;

/// The session timeout: after this long without a heartbeat, the group reassigns the partitions of a
/// scorer.
pub const SESSION_LIMIT: Duration = Duration::from_secs(10);
/// The transaction timeout: after this long, Kafka aborts a transaction that is not continued.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(5);

/// The configuration of a scorer. [`start`](Scorer::start) begins it.
///
/// # Examples
/// ```no_run
/// use live_sentiment::prelude::*;
///
/// # fn main() -> Result<()> {
/// let kafka = Kafka::connect()?;
/// let scoring = Scorer::new(&kafka, "tweets", "scores").start()?;
/// let listening = Listener::scored(&kafka, "scores").start()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a scorer does nothing until `start`"]
pub struct Scorer {
    client: Arc<Client>,
    from: String,
    to: String,
    group: String,
}

impl fmt::Debug for Scorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scorer")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// A running scorer. Dropping it stops the scorer, as [`stop`](Scoring::stop) does.
///
/// Calls that wait block the thread. Inside async code, run them with
/// [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html).
#[must_use = "dropping it stops the scorer"]
pub struct Scoring {
    shared: Arc<ScorerState>,
    task: Background,
}

impl fmt::Debug for Scoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoring")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// The state that the thread of a scorer shares with its owner.
#[derive(Default)]
struct ScorerState {
    status: Mutex<ScorerStatus>,
    lag: Mutex<LagMeter>,
}

/// The status of a scorer. The example program prints its serde form with `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ScorerStatus {
    /// The number of scored tweets in committed transactions.
    pub scored: u64,
    /// The number of messages without a score, by reason: they are not tweets, or Kafka refuses their
    /// scores.
    pub skipped: SkipCounts,
    /// The number of partitions that the scorer has at the moment.
    pub partitions: usize,
    /// How far the group is behind the end of each of these partitions. The position is the committed
    /// offset, or the offset of the first message if no offset has been committed.
    pub lag: Vec<PartitionLag>,
    /// The number of committed transactions.
    pub transactions: u64,
    /// The number of aborted transactions. Their tweets are scored again, by this scorer or another.
    pub aborted: u64,
    /// The last error; `None` when the scorer works again.
    pub last_error: Option<String>,
    /// Why the scorer ended; `None` while it runs.
    pub ended: Option<EndReason>,
}

impl Scorer {
    /// Creates a scorer from the topic `from` to the topic `to`, in the consumer group `scorer`.
    pub fn new(kafka: &Kafka, from: &str, to: &str) -> Scorer {
        Scorer {
            client: kafka.client().clone(),
            from: from.into(),
            to: to.into(),
            group: "scorer".into(),
        }
    }

    /// Sets the name of the consumer group. Scorers of one group share the work. A scorer of another
    /// group scores all tweets again.
    pub fn group(mut self, name: &str) -> Self {
        self.group = name.into();
        self
    }

    /// Starts the scorer and returns at once. The scorer waits until the topic of tweets exists. It
    /// creates the topic of scores with the same number of partitions. If the topic of scores exists, it
    /// adds missing partitions.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if both topics have the same name,
    /// if one of the names is invalid, or if the name of the group is empty.
    pub fn start(self) -> Result<Scoring> {
        if self.from == self.to || self.group.is_empty() {
            let Scorer {
                from, to, group, ..
            } = self;
            return Err(Error::invalid_argument(
                format!("scorer from {from:?} to {to:?} in the group {group:?}"),
                "it needs two topics and the name of a group",
                "give topics such as `Scorer::new(&kafka, \"tweets\", \"scores\")`",
            ));
        }
        check_name(&self.from)?;
        check_name(&self.to)?;
        let shared = Arc::new(ScorerState::default());
        let worker_shared = shared.clone();
        let task = Background::spawn_blocking("scorer", move |shutdown| {
            Worker::new(self, Analyzer::new(), worker_shared, shutdown).run();
        });
        Ok(Scoring { shared, task })
    }
}

impl Scoring {
    /// Returns the current status.
    pub fn status(&self) -> ScorerStatus {
        let mut status = locked(&self.shared.status).clone();
        status.lag = locked(&self.shared.lag).read();
        status.ended = self.task.has_ended().then_some(EndReason::Stopped);
        if let Some(panic) = self.task.panic() {
            status.ended = Some(EndReason::Failed);
            status.last_error = Some(panic.to_string());
        }
        status
    }

    /// Blocks until the scorer has ended, the limit is reached, or an interrupt comes. Returns whether
    /// the scorer has ended.
    pub fn wait_for(&self, limit: Duration) -> bool {
        interrupt::block_on(limit, self.task.ended()).is_ok()
    }

    /// Ends the scorer after its current transaction, and returns the final status. The other
    /// scorers of the group get its partitions at once. An interrupt ends the wait, but not the end of
    /// the scorer.
    pub fn stop(&self) -> ScorerStatus {
        if !self.task.stop() {
            println!("interrupted; the scorer is still ending: `scoring` shows its status");
        }
        self.status()
    }

    /// Displays a status card in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        let status = self.status();
        let mut card = Card::new("Scorer")
            .row("scored", &thousands(status.scored))
            .row("partitions", &status.partitions.to_string())
            .row("transactions", &thousands(status.transactions))
            .row("aborted transactions", &thousands(status.aborted));
        for lag in &status.lag {
            card = card.row(&format!("partition {}", lag.partition), &lag.to_string());
        }
        for (reason, count) in &status.skipped {
            card = card.row(&format!("skipped: {reason}"), &thousands(*count));
        }
        if let Some(error) = &status.last_error {
            card = card.row("last error", error);
        }
        card.data(status.to_json()).show();
    }
}

impl Drop for Scoring {
    fn drop(&mut self) {
        self.task.stop();
    }
}

impl ScorerStatus {
    /// Returns the status as JSON. The example program prints it with `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}

impl fmt::Display for ScorerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scored, count) = (thousands(self.scored), self.partitions);
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "scored {scored}, {count} partition{plural}")?;
        let skipped = self.skipped.values().sum();
        if skipped > 0 {
            write!(f, ", skipped {}", thousands(skipped))?;
        }
        if let Some(error) = &self.last_error {
            write!(f, ", {}", shorten(error, 160))?;
        }
        Ok(())
    }
}
