//! The thread of a scorer: join the group, gather tweets, and score them in transactions.

use super::consumer::{MAX_TWEETS, gather};
use super::refusals::{Refused, Remedy, ScoreReports};
use super::transaction::{Member, TransactionalProducer};
use super::{SESSION_LIMIT, Scorer, ScorerState, ScorerStatus, TRANSACTION_LIMIT};
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::kafka::{Role, TopicContext, create_like};
use crate::sentiment::Analyzer;
use crate::task::background::CancellationToken;
use crate::task::{block_on, locked};
use crate::tweet::SkipCounts;
use crate::wire::RunCheck;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The pause after the first error.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause after an error.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// After this many aborted transactions in a row, the scorer joins the group again.
const MAX_ABORTS: u32 = 3;
/// The initial limit of a record batch, in bytes. It is below Kafka's default limit. If Kafka refuses a
/// record batch, the limit is reduced.
const RECORD_BATCH_BYTES: usize = 1_000_000;
/// The time limit for fetching the committed offsets, which only the lag needs.
const OFFSETS_LIMIT: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(super) struct Worker {
    scorer: Scorer,
    /// The transactional id. It is unique to this scorer among those of all machines.
    id: String,
    analyzer: Analyzer,
    shared: Arc<ScorerState>,
    shutdown: CancellationToken,
    backoff: Backoff,
    runs: RunCheck,
    /// How many tweets the next transaction may have.
    most_tweets: usize,
    /// The producer's limit of a record batch.
    record_batch_bytes: usize,
}

impl Worker {
    pub(super) fn new(
        scorer: Scorer,
        analyzer: Analyzer,
        shared: Arc<ScorerState>,
        shutdown: CancellationToken,
    ) -> Worker {
        let now = jiff::Timestamp::now().as_nanosecond();
        Worker {
            id: format!("{}-{}-{now}", scorer.group, std::process::id()),
            scorer,
            analyzer,
            shared,
            shutdown,
            backoff: Backoff::doubling(PAUSE, MAX_PAUSE),
            runs: RunCheck::default(),
            most_tweets: MAX_TWEETS,
            record_batch_bytes: RECORD_BATCH_BYTES,
        }
    }

    /// Runs until the shutdown is requested. After an error, or if there are new partitions, the scorer joins
    /// the group again.
    pub(super) fn run(mut self) {
        while !self.shutdown.is_cancelled() {
            let ended = self.join().and_then(|member| {
                let worked = self.work(member);
                worked.map_err(|error| self.error("score a batch", &error))
            });
            if let Err(error) = ended {
                tracing::info!(%error, "the scorer retries");
                self.record(|status| {
                    status.last_error = Some(error.to_string());
                    status.partitions = 0;
                });
            }
            self.pause();
        }
    }

    /// Pauses longer after each failure in a row. A shutdown ends the pause.
    fn pause(&mut self) {
        let pause = self.backoff.next();
        block_on(async {
            // An error means that the pause is over.
            let _ = tokio::time::timeout(pause, self.shutdown.cancelled()).await;
        });
    }

    fn record(&self, change: impl FnOnce(&mut ScorerStatus)) {
        change(&mut locked(&self.shared.status));
    }

    fn record_commit(&self, read: usize, skipped: SkipCounts) {
        self.record(|status| {
            status.scored += read as u64 - skipped.values().sum::<u64>();
            status.transactions += 1;
            for (reason, count) in skipped {
                *status.skipped.entry(reason).or_default() += count;
            }
        });
    }

    fn error(&self, action: &str, error: &KafkaError) -> Error {
        let Scorer { from, to, .. } = &self.scorer;
        let action = format!("{action} from {from:?} to {to:?}");
        Error::kafka(
            action,
            error,
            "do nothing: the scorer tries again until it succeeds",
        )
    }

    fn join(&self) -> Result<Member> {
        let Scorer {
            client, from, to, ..
        } = &self.scorer;
        let (to_partitions, from_partitions) = create_like(client, to, from)?;
        let failed = |error: KafkaError| self.error("join the group of scorers", &error);
        let member = Member {
            consumer: self.consumer().map_err(failed)?,
            producer: self.producer().map_err(failed)?,
            from: from.clone(),
            to: to.clone(),
            from_partitions,
            to_partitions,
        };
        member.init().map_err(failed)?;
        member.consumer.subscribe(&[from]).map_err(failed)?;
        Ok(member)
    }

    fn consumer(&self) -> KafkaResult<BaseConsumer<TopicContext>> {
        // One queue for all partitions: their messages are scored in any order.
        self.scorer
            .client
            .consumer_config(Role::Scorer, 1)
            .set("group.id", &self.scorer.group)
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", SESSION_LIMIT.as_millis().to_string())
            .set("heartbeat.interval.ms", "1000")
            .create_with_context(TopicContext::new(&self.scorer.from))
    }

    fn producer(&self) -> KafkaResult<TransactionalProducer> {
        let limit = TRANSACTION_LIMIT.as_millis().to_string();
        self.scorer
            .client
            .config(Role::Scorer)
            .set("transactional.id", &self.id)
            .set("transaction.timeout.ms", &limit)
            .set("message.timeout.ms", &limit)
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("batch.num.messages", "10000")
            .set("batch.size", self.record_batch_bytes.to_string())
            .set("message.max.bytes", "1200000")
            .create_with_context(ScoreReports::default())
    }

    /// Starts to measure the lag of the assigned partitions, at their committed offsets or their first
    /// messages. Returns whether the offsets of all partitions are known.
    fn start_lag(&self, member: &Member) -> bool {
        let Ok(committed) = member.consumer.committed(OFFSETS_LIMIT) else {
            return false;
        };
        let context = member.consumer.context();
        let mut all_known = true;
        let elements = committed.elements();
        let mut lag = locked(&self.shared.lag);
        lag.retain(|number| elements.iter().any(|element| element.partition() == number));
        for element in elements {
            let number = element.partition();
            let next = match element.offset() {
                Offset::Offset(next) => Some(next),
                _ => context.first(number),
            };
            match next {
                Some(next) => lag.record(number, next, context.end(number), None),
                None => all_known = false,
            }
        }
        all_known
    }

    /// Measures the lag after a batch has been committed.
    fn measure_lag(&self, member: &Member, batch: &[BorrowedMessage<'_>]) {
        let messages = batch.iter().map(|message| (message.partition(), message));
        let last: BTreeMap<_, _> = messages.collect();
        let mut lag = locked(&self.shared.lag);
        for (partition, message) in last {
            let end = member.consumer.context().end(partition);
            let written = message.timestamp().to_millis();
            lag.record(partition, message.offset() + 1, end, written);
        }
    }

    /// Works as a member of the group until the shutdown is requested or the member gets a new partition.
    fn work(&mut self, mut member: Member) -> KafkaResult<()> {
        let mut rebalances = 0;
        let (mut refused, mut aborts) = (Refused::new(), 0);
        while !self.shutdown.is_cancelled() {
            let batch = gather(&member.consumer, self.most_tweets)?;
            let assignment = member.consumer.assignment()?;
            if member.is_outgrown(&assignment) {
                return Ok(());
            }
            let assigned = assignment.count();
            self.record(|status| {
                status.partitions = assigned;
                if assigned > 0 {
                    status.last_error = None;
                }
            });
            let now = member.consumer.context().rebalances();
            if rebalances != now && self.start_lag(&member) {
                rebalances = now;
            }
            if batch.is_empty() {
                let context = member.consumer.context();
                locked(&self.shared.lag).update_ends(|partition| context.end(partition));
                continue;
            }
            match member.transact(&self.analyzer, &batch, &refused, &mut self.runs) {
                Ok(skipped) => {
                    self.measure_lag(&member, &batch);
                    self.record_commit(batch.len(), skipped);
                    self.backoff.reset();
                    refused.clear();
                    aborts = 0;
                    self.most_tweets = (self.most_tweets * 2).min(MAX_TWEETS);
                }
                Err(error) => {
                    self.record(|status| {
                        status.aborted += 1;
                        status.last_error = Some(error.to_string());
                    });
                    // Kafka may be too slow for this many tweets within the transaction timeout. Then the
                    // abort fails too, and the next member of this scorer takes fewer tweets.
                    let most = std::mem::replace(&mut self.most_tweets, (batch.len() / 2).max(1));
                    let refusals = member.abort()?;
                    let remedy = Remedy::of(&refusals, &batch, self.record_batch_bytes);
                    drop(batch);
                    match remedy {
                        Remedy::Skip(messages) => {
                            let count = messages.len();
                            tracing::warn!(%error, count, "scores are skipped: Kafka refuses them");
                            refused.extend(messages);
                            self.most_tweets = most;
                        }
                        Remedy::SmallerRecordBatches(bytes) => {
                            self.record_batch_bytes = bytes;
                            self.most_tweets = most;
                        }
                        Remedy::FewerTweets => {}
                        Remedy::Retry => {
                            aborts += 1;
                            if aborts == MAX_ABORTS {
                                return Err(error);
                            }
                            self.pause();
                        }
                    }
                    // A refused record batch leaves a gap in the sequence numbers of its producer. Kafka
                    // would reject its next record batch too.
                    member.producer = self.producer()?;
                    member.init()?;
                    member.rewind()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Client;
    use crate::tweet::Skip;
    use rdkafka::TopicPartitionList;

    fn worker() -> Worker {
        let scorer = Scorer {
            client: Arc::new(Client::without_broker()),
            from: "tweets".into(),
            to: "scores".into(),
            group: "scorers".into(),
        };
        let shared = Arc::new(ScorerState::default());
        Worker::new(scorer, Analyzer::new(), shared, CancellationToken::new())
    }

    #[test]
    fn commits_add_up_by_the_reasons_of_skipped_messages() {
        let worker = worker();
        worker.record_commit(10, [(Skip::NoText, 2), (Skip::TooLarge, 1)].into());
        worker.record_commit(5, [(Skip::NoText, 3)].into());
        worker.record_commit(4, SkipCounts::new());
        let status = locked(&worker.shared.status).clone();
        assert_eq!((status.scored, status.transactions), (13, 3));
        let skipped = [(Skip::NoText, 5), (Skip::TooLarge, 1)];
        assert_eq!(status.skipped, skipped.into());
    }

    #[test]
    fn a_member_with_a_partition_that_was_added_since_it_joined_is_outgrown() {
        let worker = worker();
        let member = Member {
            consumer: worker.consumer().unwrap(),
            producer: worker.producer().unwrap(),
            from: "tweets".into(),
            to: "scores".into(),
            from_partitions: 2,
            to_partitions: 2,
        };
        for (assigned, expected) in [
            (&[][..], false),
            (&[0, 1], false),
            (&[1, 2], true),
            (&[5, 0], true),
        ] {
            let mut assignment = TopicPartitionList::new();
            for number in assigned {
                assignment.add_partition("tweets", *number);
            }
            assert_eq!(member.is_outgrown(&assignment), expected, "{assigned:?}");
        }
    }
}
