//! The thread of a scorer: join the group, gather tweets, and score them in transactions.

use super::consumer::{Context, gather};
use super::transaction::{Member, TransactionalProducer};
use super::{SESSION_LIMIT, Scorer, ScorerStatus, Shared, TRANSACTION_LIMIT};
use crate::background::Shutdown;
use crate::kafka::{STATISTICS_INTERVAL_MS, create_like};
use crate::runtime::locked;
use crate::sentiment::Analyzer;
use crate::{Error, Result};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The pause after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// The time limit for fetching the committed offsets, which only the lag needs.
const OFFSETS_LIMIT: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(super) struct Worker {
    scorer: Scorer,
    /// The transactional id. It is unique to this scorer, on whichever machine it runs.
    id: String,
    analyzer: Analyzer,
    shared: Arc<Shared>,
    shutdown: Shutdown,
}

impl Worker {
    pub(super) fn new(
        scorer: Scorer,
        analyzer: Analyzer,
        shared: Arc<Shared>,
        shutdown: Shutdown,
    ) -> Worker {
        let now = jiff::Timestamp::now().as_nanosecond();
        Worker {
            id: format!("{}-{}-{now}", scorer.group, std::process::id()),
            scorer,
            analyzer,
            shared,
            shutdown,
        }
    }

    /// Runs until the shutdown is requested. After an error it joins the group again.
    pub(super) fn run(self) {
        while !self.shutdown.is_requested() {
            let ended = self.join().and_then(|member| {
                let worked = self.work(&member);
                worked.map_err(|error| self.error("score a batch", &error))
            });
            if let Err(error) = ended {
                tracing::info!(%error, "the scorer retries");
                self.record(|status| {
                    status.last_error = Some(error.to_string());
                    status.partitions = 0;
                });
                std::thread::sleep(RETRY_PAUSE);
            }
        }
    }

    fn record(&self, change: impl FnOnce(&mut ScorerStatus)) {
        change(&mut locked(&self.shared.status));
    }

    fn error(&self, action: &str, error: &KafkaError) -> Error {
        let Scorer { from, to, .. } = &self.scorer;
        Error::Kafka {
            action: format!("{action} from {from:?} to {to:?}"),
            reason: error.to_string(),
            hint: "the scorer retries by itself",
        }
    }

    fn join(&self) -> Result<Member> {
        let Scorer {
            client,
            from,
            to,
            group,
        } = &self.scorer;
        let (to_partitions, from_partitions) = create_like(client, to, from)?;
        let failed = |error: KafkaError| self.error("join the group of scorers", &error);
        let consumer: BaseConsumer<Context> = client
            .config()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", SESSION_LIMIT.as_millis().to_string())
            .set("heartbeat.interval.ms", "1000")
            .set("queued.max.messages.kbytes", "8192")
            // As for a listener: with the default of a second the queue would often be empty.
            .set("fetch.queue.backoff.ms", "5")
            .set("statistics.interval.ms", STATISTICS_INTERVAL_MS)
            .create_with_context(Context::new(from))
            .map_err(failed)?;
        let limit = TRANSACTION_LIMIT.as_millis().to_string();
        let producer: TransactionalProducer = client
            .config()
            .set("transactional.id", &self.id)
            .set("transaction.timeout.ms", &limit)
            .set("message.timeout.ms", &limit)
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("batch.num.messages", "10000")
            .set("message.max.bytes", "1200000")
            .create()
            .map_err(failed)?;
        let member = Member {
            consumer,
            producer,
            from: from.clone(),
            to: to.clone(),
            to_partitions,
            is_copartitioned: from_partitions == to_partitions,
        };
        member.init().map_err(failed)?;
        member.consumer.subscribe(&[from]).map_err(failed)?;
        Ok(member)
    }

    /// Starts to measure the lag of the assigned partitions, at their committed offsets or their first
    /// messages. Returns whether all of these are known.
    fn start_lag(&self, member: &Member) -> bool {
        let Ok(committed) = member.consumer.committed(OFFSETS_LIMIT) else {
            return false;
        };
        let ends = &member.consumer.context().ends;
        let mut all_known = true;
        let elements = committed.elements();
        let mut lag = locked(&self.shared.lag);
        lag.retain(|partition| elements.iter().any(|one| one.partition() == partition));
        for one in elements {
            let next = match one.offset() {
                Offset::Offset(next) => Some(next),
                _ => ends.first(one.partition()),
            };
            match next {
                Some(next) => lag.record(one.partition(), next, ends.get(one.partition()), None),
                None => all_known = false,
            }
        }
        all_known
    }

    /// Records that a batch was committed.
    fn measure_lag(&self, member: &Member, batch: &[BorrowedMessage<'_>]) {
        let last: BTreeMap<i32, &BorrowedMessage<'_>> =
            batch.iter().map(|one| (one.partition(), one)).collect();
        let mut lag = locked(&self.shared.lag);
        for (partition, message) in last {
            let end = member.consumer.context().ends.get(partition);
            let written = message.timestamp().to_millis();
            lag.record(partition, message.offset() + 1, end, written);
        }
    }

    fn work(&self, member: &Member) -> KafkaResult<()> {
        let mut rebalances = 0;
        while !self.shutdown.is_requested() {
            let batch = gather(&member.consumer)?;
            let assigned = member.consumer.assignment()?.count();
            self.record(|status| {
                status.partitions = assigned;
                if assigned > 0 {
                    status.last_error = None;
                }
            });
            let now = member.consumer.context().rebalances();
            if rebalances != now && self.start_lag(member) {
                rebalances = now;
            }
            if batch.is_empty() {
                let ends = &member.consumer.context().ends;
                locked(&self.shared.lag).update_ends(|partition| ends.get(partition));
                continue;
            }
            match member.transact(&self.analyzer, &batch) {
                Ok(skipped) => {
                    self.measure_lag(member, &batch);
                    self.record(|status| {
                        status.scored += batch.len() as u64 - skipped.values().sum::<u64>();
                        status.transactions += 1;
                        for (reason, count) in skipped {
                            *status.skipped.entry(reason).or_default() += count;
                        }
                    });
                }
                Err(error) => {
                    self.record(|status| {
                        status.aborted += 1;
                        status.last_error = Some(error.to_string());
                    });
                    drop(batch);
                    member.abort()?;
                }
            }
        }
        Ok(())
    }
}
