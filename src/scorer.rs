//! The Scorer: scores the tweets of one topic into another, so that scoring grows with the
//! machines.
//!
//! Any number of scorers, in any number of processes and on any number of machines, form one
//! consumer group: Kafka gives each some of the partitions, and gives them to the others when one
//! dies. A [`Listener`](crate::Listener) on the topic of scores then only adds up.
//!
//! Each tweet is scored into the topic exactly once, whatever dies when. That is Kafka's
//! *read-process-write*: what was scored, and how far was read, are written in one transaction, and
//! readers see all of it or nothing. A scorer that was slow, and whose partitions another has by
//! now, is refused its transaction, because that names the group's generation
//! (<https://cwiki.apache.org/confluence/display/KAFKA/KIP-447%3A+Producer+scalability+for+exactly+once+semantics>).
//! A scorer that was killed leaves an open transaction, which Kafka ends after
//! [`TRANSACTION_LIMIT`], before the group gives its partitions to another after
//! [`SESSION_LIMIT`]. A scorer that goes on ends what it left open itself.
//!
//! A message of scores is the tweet's with one field more:
//!
//! ```json
//! {"id":"1", …, "score":{"compound":0.6369,"pos":1.0,"neu":0.0,"neg":0.0}}
//! ```

use crate::kafka::Kafka;
use crate::notebook::{Card, shorten, thousands};
use crate::runtime::locked;
use crate::sentiment::{Analyzer, Sentiment};
use crate::tweet::Skip;
use crate::{Error, Result, Tweet};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// After so long without a sign of life the group gives a scorer's partitions to the others.
pub const SESSION_LIMIT: Duration = Duration::from_secs(10);
/// After so long Kafka ends a transaction that nobody goes on with.
pub const TRANSACTION_LIMIT: Duration = Duration::from_secs(5);
/// How many tweets are in a transaction, at most.
const BATCH: usize = 16_000;
/// How long more tweets are waited for, so that not each has a transaction of its own.
const COMPANY: Duration = Duration::from_millis(20);
/// How long one wait for the first of them takes, and so the longest wait for a stop.
const POLL: Duration = Duration::from_millis(50);
/// How long a step of a transaction may take.
const STEP: Duration = Duration::from_secs(10);
/// How long after a failed one the next attempt comes.
const AGAIN: Duration = Duration::from_millis(500);

/// How a scorer is set up; `start` begins it.
///
/// ```no_run
/// use live_sentiment::prelude::*;
///
/// # fn main() -> Result<()> {
/// let kafka = Kafka::connect()?;
/// let scoring = Scorer::new(&kafka, "tweets", "scores").start()?;
/// let listening = Listener::scored(&kafka, "scores").start(None)?;
/// # Ok(())
/// # }
/// ```
pub struct Scorer {
    kafka: Kafka,
    from: String,
    to: String,
    group: String,
}

/// A scorer that runs. Dropping it stops it, as `stop` does.
pub struct Scoring {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a scorer has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScorerStatus {
    /// Tweets that it has scored, each in a transaction that is complete.
    pub scored: u64,
    /// Messages that are no tweets, by reason.
    pub skipped: BTreeMap<Skip, u64>,
    /// How many partitions it has at the moment.
    pub partitions: usize,
    /// How many transactions are complete.
    pub transactions: u64,
    /// How many were given up; what was in them was scored again, by this scorer or another.
    pub aborted: u64,
    /// The newest thing that went wrong, if it still does.
    pub trouble: Option<String>,
    /// Whether it has ended.
    pub ended: bool,
}

#[derive(Default)]
struct Shared {
    status: Mutex<ScorerStatus>,
    ended: Condvar,
    stop: AtomicBool,
}

impl Scorer {
    /// A scorer from the topic `from` to the topic `to`, in the consumer group `scorer`.
    pub fn new(kafka: &Kafka, from: &str, to: &str) -> Scorer {
        Scorer {
            kafka: kafka.clone(),
            from: from.into(),
            to: to.into(),
            group: "scorer".into(),
        }
    }

    /// The name of the consumer group. Scorers of one name share the work; one of another name
    /// does all of it once more.
    pub fn group(mut self, name: &str) -> Self {
        self.group = name.into();
        self
    }

    /// Begins to score and returns at once. A topic that is not there yet is waited for; the one
    /// for the scores is made, with as many partitions.
    ///
    /// # Errors
    /// [`Error::Invalid`] for two topics of one name, or an empty group; [`Error::Kafka`] if no
    /// thread can be started.
    pub fn start(self) -> Result<Scoring> {
        if self.from == self.to || self.group.is_empty() {
            return Err(Error::Invalid {
                what: format!(
                    "a scorer from {:?} to {:?} in {:?}",
                    self.from, self.to, self.group
                ),
                reason: "it needs two topics and a group's name",
                next: "Give such as `Scorer::new(&kafka, \"tweets\", \"scores\")`.",
            });
        }
        let shared = Arc::new(Shared::default());
        let now = jiff::Timestamp::now().as_nanosecond();
        let worker = Worker {
            id: format!("{}-{}-{now}", self.group, std::process::id()),
            scorer: self,
            analyzer: Analyzer::new(),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("scorer".into())
            .spawn(move || worker.run())
            .map_err(|error| Error::Kafka {
                tried: "started the scorer's thread".into(),
                reason: error.to_string(),
                next: "Close other programs and try again.",
            })?;
        Ok(Scoring {
            shared,
            thread: Some(thread),
        })
    }
}

/// Counts the group's changes: what was read before one may be another scorer's now.
#[derive(Default)]
struct Changes(AtomicU64);

impl ClientContext for Changes {}

impl ConsumerContext for Changes {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the scoring thread owns.
struct Worker {
    scorer: Scorer,
    /// Names its transactions: no two scorers have one name, wherever they run.
    id: String,
    analyzer: Analyzer,
    shared: Arc<Shared>,
}

/// With a thread of its own that takes in what became of each message: aborting a transaction
/// waits for that, and does not see to it.
type Transactions = ThreadedProducer<DefaultProducerContext>;

/// A member of the group.
struct Member {
    consumer: BaseConsumer<Changes>,
    producer: Transactions,
    /// How many partitions the topic of scores has.
    partitions: usize,
    /// Whether a score goes to the partition of its tweet: the topics are cut alike.
    alike: bool,
}

impl Worker {
    fn run(self) {
        while !self.over() {
            let ended = self.join().and_then(|member| {
                let worked = self.work(&member);
                worked.map_err(|error| self.failed("scored a batch", &error))
            });
            if let Err(error) = ended {
                tracing::info!("{error}; trying again");
                self.status(|status| {
                    status.trouble = Some(error.to_string());
                    status.partitions = 0;
                });
                std::thread::sleep(AGAIN);
            }
        }
        self.status(|status| status.ended = true);
        self.shared.ended.notify_all();
    }

    fn over(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    fn status(&self, change: impl FnOnce(&mut ScorerStatus)) {
        change(&mut locked(&self.shared.status));
    }

    fn failed(&self, tried: &str, error: &KafkaError) -> Error {
        let Scorer { from, to, .. } = &self.scorer;
        Error::Kafka {
            tried: format!("{tried} from {from:?} to {to:?}"),
            reason: error.to_string(),
            next: "It is tried again.",
        }
    }

    fn join(&self) -> Result<Member> {
        let Scorer {
            kafka,
            from,
            to,
            group,
        } = &self.scorer;
        let shape = kafka.cluster()?.shape(from)?;
        kafka.make_topic(to, &shape)?;
        let partitions = kafka.partitions(to)?;
        let alike = partitions == kafka.partitions(from)?;
        let failed = |error: KafkaError| self.failed("joined the scorers", &error);
        let consumer: BaseConsumer<Changes> = kafka
            .client()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", SESSION_LIMIT.as_millis().to_string())
            .set("heartbeat.interval.ms", "1000")
            .set("queued.max.messages.kbytes", "8192")
            // As for a listener: or it would wait a second where it has enough.
            .set("fetch.queue.backoff.ms", "5")
            .create_with_context(Changes::default())
            .map_err(failed)?;
        let producer: Transactions = kafka
            .client()
            .set("transactional.id", &self.id)
            .set(
                "transaction.timeout.ms",
                TRANSACTION_LIMIT.as_millis().to_string(),
            )
            .set(
                "message.timeout.ms",
                TRANSACTION_LIMIT.as_millis().to_string(),
            )
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("batch.num.messages", "10000")
            .set("message.max.bytes", "1200000")
            .create()
            .map_err(failed)?;
        producer.init_transactions(STEP).map_err(failed)?;
        let member = Member {
            consumer,
            producer,
            partitions,
            alike,
        };
        self.clear(&member).map_err(failed)?;
        member.consumer.subscribe(&[from]).map_err(failed)?;
        Ok(member)
    }

    fn work(&self, member: &Member) -> KafkaResult<()> {
        while !self.over() {
            let batch = gather(&member.consumer)?;
            let assigned = member.consumer.assignment()?.count();
            self.status(|status| {
                status.partitions = assigned;
                if assigned > 0 {
                    status.trouble = None;
                }
            });
            if batch.is_empty() {
                continue;
            }
            if let Err(error) = self.transact(member, &batch) {
                self.status(|status| {
                    status.aborted += 1;
                    status.trouble = Some(error.to_string());
                });
                drop(batch);
                member.producer.abort_transaction(STEP)?;
                self.clear(member)?;
                rewind(&member.consumer)?;
            }
        }
        Ok(())
    }

    /// Ends what an earlier transaction of this scorer may have left open, by one that is aborted in
    /// each partition that it may have been in.
    ///
    /// Apache Kafka 4.3.0 takes a partition that has no leader, as each has while its only broker
    /// starts, for a deleted one, and leaves it out when it ends a transaction
    /// (<https://github.com/apache/kafka/pull/22680>). Nobody would ever read beyond.
    fn clear(&self, member: &Member) -> KafkaResult<()> {
        let Member {
            consumer, producer, ..
        } = member;
        producer.begin_transaction()?;
        for partition in (0..).take(member.partitions) {
            let record: BaseRecord<'_, (), ()> =
                BaseRecord::to(&self.scorer.to).partition(partition);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(STEP)?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.scorer.from, 0, Offset::Offset(0))?;
        let group = consumer.group_metadata().ok_or(KafkaError::Canceled)?;
        // The group's partition of offsets is in the transaction from here on, whether or not it
        // takes one now.
        let _ = producer.send_offsets_to_transaction(&offsets, &group, STEP);
        producer.abort_transaction(STEP)
    }

    /// Scores a batch, and writes the scores and how far it was read in one transaction.
    fn transact(&self, member: &Member, batch: &[BorrowedMessage<'_>]) -> KafkaResult<()> {
        let Member {
            consumer,
            producer,
            alike,
            ..
        } = member;
        producer.begin_transaction()?;
        let mut skipped: BTreeMap<Skip, u64> = BTreeMap::new();
        let mut read: BTreeMap<i32, i64> = BTreeMap::new();
        let mut buffer = Vec::new();
        for message in batch {
            read.insert(message.partition(), message.offset() + 1);
            let payload = message.payload().ok_or(Skip::NoText);
            match payload.and_then(Tweet::decode) {
                Err(reason) => *skipped.entry(reason).or_default() += 1,
                Ok(tweet) => {
                    let sentiment = self.analyzer.score(&tweet.text);
                    encode_into(&tweet, &sentiment, &mut buffer);
                    self.send(producer, message, *alike, &buffer)?;
                }
            }
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in read {
            offsets.add_partition_offset(&self.scorer.from, partition, Offset::Offset(next))?;
        }
        let group = consumer.group_metadata().ok_or(KafkaError::Canceled)?;
        producer.send_offsets_to_transaction(&offsets, &group, STEP)?;
        producer.commit_transaction(STEP)?;
        self.status(|status| {
            status.scored += batch.len() as u64 - skipped.values().sum::<u64>();
            status.transactions += 1;
            for (reason, count) in skipped {
                *status.skipped.entry(reason).or_default() += count;
            }
        });
        Ok(())
    }

    fn send(
        &self,
        producer: &Transactions,
        tweet: &BorrowedMessage<'_>,
        alike: bool,
        score: &[u8],
    ) -> KafkaResult<()> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.scorer.to).payload(score);
        record.key = tweet.key();
        record.partition = alike.then(|| tweet.partition());
        // A reader merges partitions by it, and a score is as old as its tweet.
        record.timestamp = tweet.timestamp().to_millis();
        record.headers = tweet
            .headers()
            .map(rdkafka::message::BorrowedHeaders::detach);
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

/// The next tweets: as many as are there, or come within [`COMPANY`] of the first. Where the group
/// changes meanwhile, what came before is let go: reading begins anew from what was committed.
fn gather(consumer: &BaseConsumer<Changes>) -> KafkaResult<Vec<BorrowedMessage<'_>>> {
    let changes = &consumer.context().0;
    let mut seen = changes.load(Ordering::Relaxed);
    let mut batch = Vec::new();
    let mut deadline = Instant::now() + POLL;
    while batch.len() < BATCH {
        let left = deadline.saturating_duration_since(Instant::now());
        let next = consumer.poll(left);
        let now = changes.load(Ordering::Relaxed);
        if now != seen {
            seen = now;
            batch.clear();
        }
        match next {
            None if left.is_zero() => break,
            None => {}
            Some(message) => {
                batch.push(message?);
                if batch.len() == 1 {
                    deadline = Instant::now() + COMPANY;
                }
            }
        }
    }
    Ok(batch)
}

/// Goes back to what was committed.
fn rewind(consumer: &BaseConsumer<Changes>) -> KafkaResult<()> {
    let committed = consumer.committed(STEP)?;
    for partition in committed.elements() {
        let offset = match partition.offset() {
            Offset::Invalid => Offset::Beginning,
            offset => offset,
        };
        consumer.seek(partition.topic(), partition.partition(), offset, STEP)?;
    }
    Ok(())
}

/// Writes a message of scores into `buffer`.
fn encode_into(tweet: &Tweet, sentiment: &Sentiment, buffer: &mut Vec<u8>) {
    tweet.encode_into(buffer);
    // An object ends with its brace; one field more goes before it.
    buffer.pop();
    buffer.extend_from_slice(b",\"score\":");
    // A `Vec` takes every byte, and four numbers have a form in JSON.
    serde_json::to_writer(&mut *buffer, sentiment).expect("a sentiment is always JSON");
    buffer.push(b'}');
}

/// Reads a message of scores.
pub(crate) fn decode(message: &[u8]) -> Result<(Tweet, Sentiment), Skip> {
    #[derive(Deserialize)]
    struct Score {
        score: Option<Sentiment>,
    }
    let tweet = Tweet::decode(message)?;
    let score: Score = serde_json::from_slice(message).map_err(|_| Skip::WrongType)?;
    let sentiment = score.score.ok_or(Skip::NoScore)?;
    let Sentiment {
        compound,
        pos,
        neu,
        neg,
    } = sentiment;
    let shares = [pos, neu, neg]
        .into_iter()
        .all(|share| (0.0..=1.0).contains(&share));
    if shares && (-1.0..=1.0).contains(&compound) {
        Ok((tweet, sentiment))
    } else {
        Err(Skip::WrongType)
    }
}

impl Scoring {
    /// What it has done so far.
    pub fn status(&self) -> ScorerStatus {
        locked(&self.shared.status).clone()
    }

    /// Waits for the end, for `limit` at most; true if it has come.
    pub fn wait_for(&self, limit: Duration) -> bool {
        let status = locked(&self.shared.status);
        let waited = self
            .shared
            .ended
            .wait_timeout_while(status, limit, |status| !status.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// Ends the scorer after its transaction, and says what it has done. The group's others take
    /// its partitions at once.
    pub fn stop(&self) -> ScorerStatus {
        self.shared.stop.store(true, Ordering::Relaxed);
        while !self.wait_for(Duration::from_secs(1)) {}
        self.status()
    }

    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        let status = self.status();
        let mut card = Card::new("Scorer")
            .row("scored", &thousands(status.scored))
            .row("partitions", &status.partitions.to_string())
            .row("transactions", &thousands(status.transactions))
            .row("given up", &thousands(status.aborted));
        for (reason, count) in &status.skipped {
            card = card.row(&format!("skipped: {reason}"), &thousands(*count));
        }
        if let Some(trouble) = &status.trouble {
            card = card.row("trouble", trouble);
        }
        card.data(status.to_json()).show();
    }
}

impl Drop for Scoring {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl ScorerStatus {
    /// The counts as JSON, as the example program ends with them.
    pub fn to_json(&self) -> serde_json::Value {
        let skipped: BTreeMap<&str, u64> = self
            .skipped
            .iter()
            .map(|(reason, count)| (reason.name(), *count))
            .collect();
        serde_json::json!({
            "scored": self.scored,
            "skipped": skipped,
            "transactions": self.transactions,
            "aborted": self.aborted,
        })
    }
}

impl std::fmt::Display for ScorerStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "scored {}, of {} partitions",
            thousands(self.scored),
            self.partitions
        )?;
        match &self.trouble {
            Some(trouble) => write!(f, ", {}", shorten(trouble, 160)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_survives_the_journey_and_what_is_none_is_refused() {
        let tweet = Tweet::decode(br#"{"id":"1","text":"I love it","user":"u"}"#).unwrap();
        let sentiment = Analyzer::new().score(&tweet.text);
        let mut message = Vec::new();
        encode_into(&tweet, &sentiment, &mut message);
        assert_eq!(decode(&message), Ok((tweet, sentiment)));
        assert_eq!(decode(br#"{"text":"x"}"#), Err(Skip::NoScore));
        let absurd = br#"{"text":"x","score":{"compound":9.0,"pos":0,"neu":0,"neg":0}}"#;
        assert_eq!(decode(absurd), Err(Skip::WrongType));
    }
}
