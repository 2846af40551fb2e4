//! The thread of a scorer: join the group, gather tweets, and score them in transactions.

use super::consumer::{Rebalances, gather};
use super::transaction::{Member, TransactionalProducer};
use super::{SESSION_LIMIT, Scorer, ScorerStatus, TRANSACTION_LIMIT};
use crate::background::Shutdown;
use crate::kafka::create_like;
use crate::runtime::locked;
use crate::sentiment::Analyzer;
use crate::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The pause after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The state of the thread.
pub(super) struct Worker {
    scorer: Scorer,
    /// The transactional id. It is unique to this scorer, on whichever machine it runs.
    id: String,
    analyzer: Analyzer,
    status: Arc<Mutex<ScorerStatus>>,
    shutdown: Shutdown,
}

impl Worker {
    pub(super) fn new(
        scorer: Scorer,
        analyzer: Analyzer,
        status: Arc<Mutex<ScorerStatus>>,
        shutdown: Shutdown,
    ) -> Worker {
        let now = jiff::Timestamp::now().as_nanosecond();
        Worker {
            id: format!("{}-{}-{now}", scorer.group, std::process::id()),
            scorer,
            analyzer,
            status,
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
        change(&mut locked(&self.status));
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
        let consumer: BaseConsumer<Rebalances> = client
            .config()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", SESSION_LIMIT.as_millis().to_string())
            .set("heartbeat.interval.ms", "1000")
            .set("queued.max.messages.kbytes", "8192")
            // As for a listener: with the default of a second the queue would often be empty.
            .set("fetch.queue.backoff.ms", "5")
            .create_with_context(Rebalances::default())
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

    fn work(&self, member: &Member) -> KafkaResult<()> {
        while !self.shutdown.is_requested() {
            let batch = gather(&member.consumer)?;
            let assigned = member.consumer.assignment()?.count();
            self.record(|status| {
                status.partitions = assigned;
                if assigned > 0 {
                    status.last_error = None;
                }
            });
            if batch.is_empty() {
                continue;
            }
            match member.transact(&self.analyzer, &batch) {
                Ok(skipped) => self.record(|status| {
                    status.scored += batch.len() as u64 - skipped.values().sum::<u64>();
                    status.transactions += 1;
                    for (reason, count) in skipped {
                        *status.skipped.entry(reason).or_default() += count;
                    }
                }),
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
