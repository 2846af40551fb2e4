//! The thread of the listener: connect, poll, score, count, until the end.

use super::StartFrom;
use super::consumer::{self, Connected, Consumer, ConsumerError, LagCheck, ReadConfig};
use super::counting::Counter;
use super::merge::{OtherLog, Partitions, PendingRecord, Position, Resume};
use super::obstacles::Obstacles;
use super::progress::{Shared, State};
use super::scoring::{BatchScorer, Content};
use crate::Result;
use crate::kafka::{COMPACTED, RunCheck, RunId};
use crate::streamer::StreamerStatus;
use crate::task::background::CancellationToken;
use crate::task::{block_on, locked, runtime};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one wait for messages takes, and so how long a stop takes.
const POLL: Duration = Duration::from_millis(50);
/// The pause after a failed attempt to connect.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often it is checked that the broker delivers messages as fast as it can.
const LAG_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The number of messages in that time from which on there is nothing to check.
const FAST_FLOW: usize = 500;

/// When a listener ends by itself.
pub(super) struct Limits {
    pub(super) deadline: Option<Instant>,
    /// The number of tweets to count.
    pub(super) count: u64,
}

/// The state of the thread.
pub(super) struct Reader {
    config: ReadConfig,
    limits: Limits,
    scoring: BatchScorer,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    partitions: Partitions,
    counter: Counter,
    runs: RunCheck,
    obstacles: Obstacles,
    /// The current lag check interval.
    interval: Interval,
    lag_check: Option<LagCheck>,
}

/// What has happened since the last lag check.
struct Interval {
    start: Instant,
    messages: usize,
    /// Whether messages waited for scoring. Then the broker was not slow.
    is_behind: bool,
}

impl Interval {
    fn new() -> Interval {
        Interval {
            start: Instant::now(),
            messages: 0,
            is_behind: false,
        }
    }
}

impl Reader {
    pub(super) fn new(
        config: ReadConfig,
        limits: Limits,
        scoring: BatchScorer,
        shared: Arc<Shared>,
        counter: Counter,
        shutdown: CancellationToken,
    ) -> Reader {
        Reader {
            runs: RunCheck::default(),
            config,
            limits,
            scoring,
            shared,
            shutdown,
            partitions: Partitions::default(),
            counter,
            obstacles: Obstacles::default(),
            interval: Interval::new(),
            lag_check: None,
        }
    }

    /// Runs until the shutdown is requested or a limit is reached.
    pub(super) fn run(mut self) {
        // Nobody else sets it.
        let _ = self.shared.reader.set(std::thread::current());
        // A listener that waits says why once, also where nobody looks at its status.
        let mut is_named = false;
        while !self.is_over() {
            let start = Instant::now();
            match self.connect() {
                None => return,
                Some(Ok(Some(consumer))) => {
                    is_named = false;
                    self.shared.set_state(State::Connected);
                    self.read(&consumer);
                }
                Some(Ok(None)) => self.start_over(),
                Some(Err(error)) => {
                    let reason = error.to_string();
                    if !is_named {
                        tracing::warn!(%error, "the listener waits");
                        is_named = true;
                    }
                    self.shared.set_state(State::Waiting(reason));
                    std::thread::sleep(RETRY_PAUSE);
                    self.add_quiet(start.elapsed());
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let counted = || locked(&self.shared.progress).trajectory.total().counted;
        let deadline = self.limits.deadline;
        self.shutdown.is_cancelled()
            || deadline.is_some_and(|deadline| Instant::now() >= deadline)
            || (self.limits.count < u64::MAX && counted() >= self.limits.count)
    }

    /// Connects to the topic on a thread for blocking calls, so that a stop need not wait for the
    /// broker. Returns `None` if the listener is over first, and no consumer if the topic is another
    /// log than before.
    fn connect(&mut self) -> Option<Result<Option<Consumer>>> {
        let config = self.config.clone();
        let resumes: Vec<Resume> = self.partitions.iter().map(|one| one.resume).collect();
        let reader = std::thread::current();
        let connecting =
            runtime().spawn_blocking(move || consumer::connect(&config, &resumes, &reader));
        let left = self.limits.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let connected = block_on(async {
            tokio::select! {
                connected = connecting => Some(connected),
                () = self.shutdown.cancelled() => None,
                () = tokio::time::sleep(left) => None,
            }
        })?;
        let connected = connected.unwrap_or_else(|error| resume_unwind(error.into_panic()));
        Some(connected.map(|connected| match connected {
            Connected::OtherLog => None,
            Connected::Ready {
                consumer,
                starts,
                missed,
                is_compacted,
            } => {
                self.partitions.reset(starts);
                self.obstacles = Obstacles::default();
                self.note_removed(missed, is_compacted);
                self.interval = Interval::new();
                self.lag_check = None;
                Some(consumer)
            }
        }))
    }

    /// Records that the broker removed messages before they were read, and that it removes more.
    fn note_removed(&self, missed: u64, is_compacted: bool) {
        let topic = &self.config.topic;
        if missed > 0 {
            tracing::warn!(topic, missed, "messages were removed before they were read");
        }
        let mut progress = locked(&self.shared.progress);
        progress.uncounted.missed += missed;
        if is_compacted && !progress.is_compacted {
            tracing::warn!(topic, "{COMPACTED}");
        }
        progress.is_compacted = is_compacted;
    }

    /// Reads until the consumer fails or the listener is over.
    fn read(&mut self, consumer: &Consumer) {
        while !self.is_over() {
            let Err(error) = self.poll(consumer) else {
                continue;
            };
            if !matches!(error, ConsumerError::OtherLog) {
                // Count what was read: no partition holds it up any longer.
                self.count(Partitions::oldest);
            }
            let topic = &self.config.topic;
            match error {
                ConsumerError::BrokerLost(error) => {
                    tracing::info!(%error, "lost the connection to Kafka, reconnecting");
                    self.shared
                        .set_state(State::Reconnecting(error.to_string()));
                }
                ConsumerError::Removed => {
                    tracing::debug!(topic, "the next message to read does not exist");
                }
                ConsumerError::NewPartitions => {
                    tracing::info!(topic, "the topic has more partitions than before");
                }
                ConsumerError::Slow(longer) => {
                    tracing::info!(topic, "the broker is slow to find messages in a long log");
                    self.config.fetch_wait = longer;
                }
                ConsumerError::OtherLog => self.start_over(),
            }
            return;
        }
    }

    /// Starts again from the earliest message, because the topic is another log than before.
    fn start_over(&mut self) {
        tracing::info!(
            topic = self.config.topic,
            "the topic was created anew; counting from zero"
        );
        self.partitions.clear();
        self.config.from = StartFrom::Earliest;
        let mut progress = locked(&self.shared.progress);
        let mut printable = locked(&self.shared.printable);
        self.counter.reset(&mut progress, &mut printable);
    }

    /// Tells those who wait for silence that no message has come for this long.
    fn add_quiet(&self, duration: Duration) {
        locked(&self.shared.printable).quiet += duration;
        self.shared.news.notify_waiters();
    }

    /// Takes a batch of messages, and counts what can be counted; or waits for a moment.
    fn poll(&mut self, consumer: &Consumer) -> Result<(), ConsumerError> {
        let mut batch: Vec<(usize, BorrowedMessage<'_>)> = Vec::new();
        let mut failed: Option<(Option<usize>, KafkaError)> = None;
        while let Some(item) = consumer.main.poll(Duration::ZERO) {
            match item {
                Ok(message) if message.topic() != self.config.topic => {
                    self.receive_status(&message);
                }
                // Fetched before the partition had a queue of its own.
                Ok(message) => batch.push((index(message.partition()), message)),
                // The status topic has an end too.
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => failed = failed.or(Some((None, error))),
            }
        }
        for (number, queue) in consumer.partitions.iter().enumerate() {
            let mut room = self.partitions.room(number).at_most(self.scoring.limit());
            let Some(partition) = self.partitions.get(number) else {
                continue;
            };
            while room.is_left()
                && let Some(item) = queue.poll(Duration::ZERO)
            {
                match item {
                    Ok(message) => {
                        partition.at_end = false;
                        self.obstacles.remove(number);
                        room.take(message.payload_len());
                        batch.push((number, message));
                    }
                    Err(KafkaError::PartitionEOF(_)) => partition.at_end = true,
                    Err(error) => failed = failed.or(Some((Some(number), error))),
                }
            }
        }
        if consumer.has_new_partitions() {
            return Err(ConsumerError::NewPartitions);
        }
        let received = batch.len();
        self.interval.messages += received;
        self.interval.is_behind |= self.scoring.is_behind(received) || !self.counter.has_room();
        if received > 0 {
            self.add_pending(consumer, &batch)?;
        }
        let counted = self.count(Partitions::next);
        self.measure_lag(consumer);
        if let Some((partition, error)) = failed {
            if let Some(mut reason) = consumer.check(error)? {
                let next = partition.and_then(|number| self.partitions.get(number)?.next_offset());
                if let Some(offset) = next {
                    reason = format!("at offset {offset}: {reason}");
                }
                self.obstacles.add(partition, reason);
            }
        } else if received == 0 && !counted {
            std::thread::park_timeout(POLL);
            // Silence of those who take the tweets is not silence of the topic.
            if self.counter.has_room() {
                self.add_quiet(POLL);
            }
        }
        if let Some(state) = self.obstacles.state() {
            self.shared.set_state(state);
        }
        self.check_lag(consumer, received)
    }

    /// Records how far each partition is counted.
    fn measure_lag(&mut self, consumer: &Consumer) {
        let mut progress = locked(&self.shared.progress);
        for (number, partition) in (0..).zip(self.partitions.iter()) {
            let is_done = partition.is_done();
            // Where nothing was read, the position is known only at the end, as in an empty partition.
            let start = || consumer.end(number).filter(|_| is_done);
            if let Some(position) = partition.resume.position().or_else(start) {
                let open = match is_done {
                    true => consumer.open_transaction(number),
                    false => None,
                };
                self.obstacles.watch_transaction(index(number), open);
                // The embedded broker may report an end that is one too large.
                let end = match is_done && open.is_none() {
                    true => Some(position),
                    false => consumer.end(number),
                };
                progress
                    .lag
                    .record(number, position, end, partition.resume.written());
            }
        }
    }

    /// Checks once per second whether the broker has messages that it does not deliver.
    fn check_lag(&mut self, consumer: &Consumer, received: usize) -> Result<(), ConsumerError> {
        if received > 0 && self.lag_check.as_ref().is_some_and(|check| check.is_idle) {
            self.lag_check = None;
        }
        if let Some(result) = self.lag_check.as_ref().and_then(LagCheck::result) {
            self.lag_check = None;
            return result;
        }
        if self.interval.start.elapsed() >= LAG_CHECK_INTERVAL {
            let past = std::mem::replace(&mut self.interval, Interval::new());
            // What cannot be read does not come sooner from a broker that searches for longer.
            let is_slow = past.messages < FAST_FLOW && !past.is_behind && self.obstacles.is_clear();
            if is_slow && self.lag_check.is_none() {
                self.lag_check = consumer.start_lag_check(&self.partitions, past.messages);
            }
        }
        Ok(())
    }

    /// Records the status of the streamer, for the page and for the waits.
    fn receive_status(&self, message: &BorrowedMessage<'_>) {
        if let Some(status) = message.payload().and_then(StreamerStatus::decode) {
            locked(&self.shared.printable).streamer.update(&status);
            locked(&self.shared.progress).streamer = Some((status, Instant::now()));
            self.shared.notify_subscribers();
        }
    }

    /// Scores a batch, and adds it to the pending records.
    fn add_pending(
        &mut self,
        consumer: &Consumer,
        batch: &[(usize, BorrowedMessage<'_>)],
    ) -> Result<(), ConsumerError> {
        let outcomes = self.scoring.score(batch);
        let mut missed = 0;
        for ((number, message), outcome) in batch.iter().zip(outcomes) {
            let Some(partition) = self.partitions.get(*number) else {
                continue;
            };
            let run = match self.scoring.content() {
                // The runs in a topic of scores are those of the topic of tweets, whose ends are not known
                // here. The scorer has checked them.
                Content::Scores => Ok(RunId::of(message)),
                Content::Tweets => {
                    let is_possible = |run| consumer.is_possible(run);
                    self.runs.trusted(RunId::of(message), is_possible)
                }
            };
            let record = PendingRecord {
                position: Position::of(message),
                run: run.map_err(ConsumerError::BrokerLost)?,
                outcome,
                size: message.payload_len(),
            };
            match partition.push(record) {
                Ok(gap) => missed += gap,
                Err(OtherLog) => return Err(ConsumerError::OtherLog),
            }
        }
        if missed > 0 {
            locked(&self.shared.progress).uncounted.missed += missed;
        }
        Ok(())
    }

    /// Counts pending records in the order of `next`. Returns whether there was any.
    fn count(&mut self, next: impl Fn(&mut Partitions) -> Option<PendingRecord>) -> bool {
        let mut counted = false;
        let now = Instant::now();
        let mut progress = locked(&self.shared.progress);
        let mut printable = locked(&self.shared.printable);
        while progress.trajectory.total().counted < self.limits.count
            && self.counter.has_room()
            && let Some(record) = next(&mut self.partitions)
        {
            counted = true;
            self.counter
                .count(record, now, &mut progress, &mut printable);
        }
        if counted {
            printable.quiet = Duration::ZERO;
        }
        drop((progress, printable));
        if counted {
            self.shared.news.notify_waiters();
            self.shared.notify_subscribers();
        }
        counted
    }
}

/// Returns the number of a partition as an index. No partition has the index of an invalid number.
fn index(partition: i32) -> usize {
    usize::try_from(partition).unwrap_or(usize::MAX)
}
