//! The thread of the listener: connect, poll, score, count, until the end.

use super::StartFrom;
use super::consumer::{self, Config, Connected, Consumer, ConsumerError};
use super::counting::Counter;
use super::merge::{OtherLog, Partition, Partitions, PendingRecord, Position, Resume};
use super::obstacles::Obstacles;
use super::progress::{ListenerState, State};
use super::scoring::{BatchScorer, Content};
use crate::error::Result;
use crate::kafka::COMPACTED;
use crate::task::background::CancellationToken;
use crate::task::{block_on, locked, runtime};
use crate::wire::{RunCheck, RunId, StreamerStatus};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest wait for a message. A stop may take this long.
const POLL: Duration = Duration::from_millis(50);
/// The pause after a failed attempt to connect.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The embedded broker is too slow if it has messages, and no batch of [`FAST_BATCH`] messages has come
/// for this long.
const SLOW_LIMIT: Duration = Duration::from_secs(1);
/// A batch of this many messages shows that the embedded broker is fast enough.
const FAST_BATCH: usize = 100;

/// The state of the thread.
pub(super) struct TopicReader {
    config: Config,
    scoring: BatchScorer,
    shared: Arc<ListenerState>,
    shutdown: CancellationToken,
    partitions: Partitions,
    counter: Counter,
    runs: RunCheck,
    obstacles: Obstacles,
    /// How long the thread has waited for messages that the embedded broker has.
    starved: Duration,
}

/// A batch of messages, each with the index of its partition, and the first error.
#[derive(Default)]
struct Batch<'a> {
    messages: Vec<(usize, BorrowedMessage<'a>)>,
    /// The error, and its partition if it belongs to a partition.
    error: Option<(Option<usize>, KafkaError)>,
}

impl TopicReader {
    pub(super) fn new(
        config: Config,
        scoring: BatchScorer,
        shared: Arc<ListenerState>,
        counter: Counter,
        shutdown: CancellationToken,
    ) -> TopicReader {
        TopicReader {
            config,
            scoring,
            shared,
            shutdown,
            partitions: Partitions::default(),
            counter,
            runs: RunCheck::default(),
            obstacles: Obstacles::default(),
            starved: Duration::ZERO,
        }
    }

    /// Runs until the shutdown is requested or a limit is reached.
    pub(super) fn run(mut self) {
        // This is the only call of `set`, so it does not fail.
        let _ = self.shared.reader.set(std::thread::current());
        // Log the first of several failures in a row, for programs that do not show the status.
        let mut is_logged = false;
        while !self.is_over() {
            let start = Instant::now();
            match self.connect() {
                None => return,
                Some(Ok(Some(connected))) => {
                    is_logged = false;
                    self.prepare(connected.starts, connected.missed, connected.is_compacted);
                    self.read(&connected.consumer);
                }
                Some(Ok(None)) => self.start_over(),
                Some(Err(error)) => {
                    if !is_logged {
                        tracing::warn!(%error, "the listener waits");
                        is_logged = true;
                    }
                    self.shared.set_state(State::Waiting(error.to_string()));
                    std::thread::sleep(RETRY_PAUSE);
                    self.add_quiet(start.elapsed());
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let counted = || locked(&self.shared.progress).trajectory.total().counted;
        let deadline = self.config.deadline;
        self.shutdown.is_cancelled()
            || deadline.is_some_and(|deadline| Instant::now() >= deadline)
            || (self.config.count < u64::MAX && counted() >= self.config.count)
    }

    /// Connects to the topic on a thread for blocking calls. A stop does not wait for the broker.
    /// Returns `None` if the listener is over first, and `Some(Ok(None))` if the topic is another log
    /// than before.
    fn connect(&self) -> Option<Result<Option<Connected>>> {
        let config = self.config.clone();
        let resumes: Vec<Resume> = self
            .partitions
            .iter()
            .map(|partition| partition.resume)
            .collect();
        let reader = std::thread::current();
        let connecting =
            runtime().spawn_blocking(move || consumer::connect(&config, &resumes, &reader));
        let left = self.config.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let connected = block_on(async {
            tokio::select! {
                connected = connecting => Some(connected),
                () = self.shutdown.cancelled() => None,
                () = tokio::time::sleep(left) => None,
            }
        })?;
        Some(connected.unwrap_or_else(|error| resume_unwind(error.into_panic())))
    }

    /// Prepares for a new consumer.
    fn prepare(&mut self, starts: Vec<Partition>, missed: u64, is_compacted: bool) {
        self.partitions.reset(starts);
        self.obstacles = Obstacles::default();
        self.starved = Duration::ZERO;
        self.note_removed(missed, is_compacted);
        self.shared.set_state(State::Connected);
    }

    /// Records how many messages the broker removed before they were read, and whether it will remove
    /// more.
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
            if let Err(error) = self.poll(consumer) {
                self.close(error);
                return;
            }
        }
    }

    /// Takes a batch of messages, and counts the records that can be counted. If there are neither
    /// messages nor records, waits for a moment.
    fn poll(&mut self, consumer: &Consumer) -> Result<(), ConsumerError> {
        let batch = self.take_batch(consumer);
        if consumer.has_new_partitions() {
            return Err(ConsumerError::NewPartitions);
        }
        if !batch.messages.is_empty() {
            self.add_pending(consumer, &batch.messages)?;
        }
        let counted = self.count(Partitions::next);
        self.measure_lag(consumer);
        if let Some((partition, error)) = batch.error {
            self.note_error(consumer, partition, error)?;
        } else if batch.messages.is_empty() && !counted {
            self.wait(consumer)?;
        }
        if batch.messages.len() >= FAST_BATCH {
            self.starved = Duration::ZERO;
        }
        if let Some(state) = self.obstacles.state() {
            self.shared.set_state(state);
        }
        Ok(())
    }

    /// Takes the messages that are in the consumer's queues, as far as there is room for them.
    fn take_batch<'a>(&mut self, consumer: &'a Consumer) -> Batch<'a> {
        let mut batch = Batch::default();
        while let Some(item) = consumer.main.poll(Duration::ZERO) {
            match item {
                Ok(message) if message.topic() != self.config.topic => {
                    self.receive_status(&message);
                }
                // This message was fetched before its partition had its own queue.
                Ok(message) => batch.messages.push((index(message.partition()), message)),
                // The status topic has an end too.
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => batch.error = batch.error.or(Some((None, error))),
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
                        batch.messages.push((number, message));
                    }
                    Err(KafkaError::PartitionEOF(_)) => partition.at_end = true,
                    Err(error) => batch.error = batch.error.or(Some((Some(number), error))),
                }
            }
        }
        batch
    }

    /// Records the status of the streamer, for the page and for the waits.
    fn receive_status(&self, message: &BorrowedMessage<'_>) {
        if let Some(status) = message.payload().and_then(StreamerStatus::decode) {
            locked(&self.shared.watched).streamer.update(&status);
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
                // A topic of scores has the runs of the topic of tweets, whose ends are unknown here.
                // The scorer has already checked the runs.
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

    /// Counts pending records in the order of `next`. Returns whether it has counted any.
    fn count(&mut self, next: impl Fn(&mut Partitions) -> Option<PendingRecord>) -> bool {
        let mut counted = false;
        let now = Instant::now();
        let mut progress = locked(&self.shared.progress);
        let mut watched = locked(&self.shared.watched);
        while progress.trajectory.total().counted < self.config.count
            && self.counter.has_room()
            && let Some(record) = next(&mut self.partitions)
        {
            counted = true;
            self.counter.count(record, now, &mut progress, &mut watched);
        }
        if counted {
            watched.quiet = Duration::ZERO;
        }
        drop((progress, watched));
        if counted {
            self.shared.news.notify_waiters();
            self.shared.notify_subscribers();
        }
        counted
    }

    /// Records how far each partition has been counted.
    fn measure_lag(&mut self, consumer: &Consumer) {
        let mut progress = locked(&self.shared.progress);
        for (number, partition) in (0..).zip(self.partitions.iter()) {
            let is_done = partition.is_done();
            // If nothing has been read, as in an empty partition, only the end is known.
            let start = || consumer.end(number).filter(|_| is_done);
            let Some(position) = partition.resume.position().or_else(start) else {
                continue;
            };
            let open = is_done.then(|| consumer.open_transaction(number)).flatten();
            self.obstacles.watch_transaction(index(number), open);
            // The embedded broker may report an end that is one too large.
            let end = match is_done && open.is_none() {
                true => Some(position),
                false => consumer.end(number),
            };
            let written = partition.resume.written();
            progress.lag.record(number, position, end, written);
        }
    }

    /// Records an error that leaves the consumer open.
    ///
    /// # Errors
    /// A [`ConsumerError`] if the consumer must be closed.
    fn note_error(
        &mut self,
        consumer: &Consumer,
        partition: Option<usize>,
        error: KafkaError,
    ) -> Result<(), ConsumerError> {
        if let Some(reason) = consumer.check(error)? {
            let next = partition.and_then(|number| self.partitions.get(number)?.next_offset());
            let reason = match next {
                Some(offset) => format!("at offset {offset}: {reason}"),
                None => reason,
            };
            self.obstacles.add(partition, reason);
        }
        Ok(())
    }

    /// Waits for a moment.
    ///
    /// # Errors
    /// [`ConsumerError::Slow`] if the embedded broker needs more time for its answers.
    fn wait(&mut self, consumer: &Consumer) -> Result<(), ConsumerError> {
        let start = Instant::now();
        std::thread::park_timeout(POLL);
        // A full output queue does not mean that the topic is quiet.
        if !self.counter.has_room() {
            return Ok(());
        }
        self.add_quiet(POLL);
        // More time does not help if a batch cannot be read.
        if !self.obstacles.is_clear() || !consumer.is_behind(&self.partitions) {
            self.starved = Duration::ZERO;
            return Ok(());
        }
        self.starved += start.elapsed();
        if self.starved >= SLOW_LIMIT && self.config.lengthen_fetch_wait() {
            return Err(ConsumerError::Slow);
        }
        Ok(())
    }

    /// Adds to the time without a message, and wakes the calls that wait for silence.
    fn add_quiet(&self, duration: Duration) {
        locked(&self.shared.watched).quiet += duration;
        self.shared.news.notify_waiters();
    }

    /// Ends the work with a consumer that must be closed.
    fn close(&mut self, error: ConsumerError) {
        if !matches!(error, ConsumerError::OtherLog) {
            // Count all pending records, even if a partition delays the merge.
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
            ConsumerError::Slow => {
                let millis = self.config.embedded_fetch_wait_ms;
                tracing::info!(
                    topic,
                    millis,
                    "the embedded broker gets more time for an answer"
                );
            }
            ConsumerError::OtherLog => self.start_over(),
        }
    }

    /// Starts again from the earliest message, because the topic is a different log than before.
    fn start_over(&mut self) {
        tracing::info!(
            topic = self.config.topic,
            "the topic was created anew; counting from zero"
        );
        self.partitions.clear();
        self.config.from = StartFrom::Earliest;
        let mut progress = locked(&self.shared.progress);
        let mut watched = locked(&self.shared.watched);
        self.counter.reset(&mut progress, &mut watched);
    }
}

/// Returns the number of a partition as an index. An invalid number becomes an index without a partition.
fn index(partition: i32) -> usize {
    usize::try_from(partition).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::consumer::tests::{config, consumer, report};
    use super::super::tweets::Output;
    use super::*;
    use crate::sentiment::Analyzer;
    use crate::trajectory::scored;
    use rdkafka::error::RDKafkaErrorCode as Code;

    /// Returns a reader with the given partitions, which starts with `count` counted tweets.
    fn reader(resumes: &[Resume], count: u64) -> TopicReader {
        let metric = Arc::new(|_: &_, _: &_| 1.0);
        let scoring = BatchScorer::new(Content::Tweets, Analyzer::new(), metric);
        let shared = Arc::new(ListenerState::default());
        let counter = Counter::new(None, Output::default());
        let shutdown = CancellationToken::new();
        let mut reader = TopicReader::new(config(), scoring, shared, counter, shutdown);
        let partition = |resume: &Resume| Partition::new(*resume, false);
        reader.prepare(resumes.iter().map(partition).collect(), 0, false);
        for id in 0..count {
            add(&mut reader, 0, id);
        }
        reader.count(Partitions::oldest);
        reader
    }

    /// Adds a record with the id and the offset `number` to a partition.
    fn add(reader: &mut TopicReader, partition: usize, number: u64) {
        let mut tweet = Arc::unwrap_or_clone(scored(number, 1.0, &[]));
        tweet.tweet.id = number.to_string();
        let record = PendingRecord {
            position: at(number as i64),
            run: None,
            outcome: Ok(Arc::new(tweet)),
            size: 10,
        };
        reader
            .partitions
            .get(partition)
            .unwrap()
            .push(record)
            .unwrap();
    }

    fn at(offset: i64) -> Position {
        let written = Some(1_000 + offset);
        Position { offset, written }
    }

    fn counted(reader: &TopicReader) -> u64 {
        locked(&reader.shared.progress).trajectory.total().counted
    }

    fn state(reader: &TopicReader) -> State {
        locked(&reader.shared.progress).state.clone()
    }

    #[test]
    fn a_listener_ends_with_its_count_its_deadline_or_a_stop() {
        let mut reader = reader(&[Resume::Start], 2);
        assert!(!reader.is_over());
        reader.config.count = 3;
        assert!(!reader.is_over());
        reader.config.count = 2;
        assert!(reader.is_over());
        reader.config.count = u64::MAX;
        reader.config.deadline = Some(Instant::now() + Duration::from_secs(3_600));
        assert!(!reader.is_over());
        reader.config.deadline = Some(Instant::now());
        assert!(reader.is_over());
        reader.config.deadline = None;
        reader.shutdown.cancel();
        assert!(reader.is_over());
        assert!(reader.connect().is_none());
    }

    #[test]
    fn no_more_tweets_are_counted_than_wanted() {
        let mut reader = reader(&[Resume::Start], 0);
        assert!(!reader.count(Partitions::oldest));
        reader.config.count = 2;
        for id in 0..3 {
            add(&mut reader, 0, id);
        }
        reader.add_quiet(POLL);
        assert!(reader.count(Partitions::oldest));
        assert_eq!(counted(&reader), 2);
        assert_eq!(locked(&reader.shared.watched).quiet, Duration::ZERO);
        assert!(!reader.count(Partitions::oldest));
        assert_eq!(counted(&reader), 2);
    }

    #[test]
    fn removed_messages_add_up_and_compaction_is_reported_while_it_lasts() {
        let reader = reader(&[Resume::Start], 0);
        for (missed, is_compacted) in [(3, true), (0, true), (4, false)] {
            reader.note_removed(missed, is_compacted);
            assert_eq!(locked(&reader.shared.progress).is_compacted, is_compacted);
        }
        assert_eq!(locked(&reader.shared.progress).uncounted.missed, 7);
    }

    #[test]
    fn each_partition_has_a_lag_as_soon_as_its_position_is_known() {
        let mut reader = reader(&[Resume::After(at(4)), Resume::Start], 0);
        let consumer = consumer(true, true);
        let lags = |reader: &mut TopicReader| -> Vec<_> {
            reader.measure_lag(&consumer);
            let lags = locked(&reader.shared.progress).lag.read();
            lags.iter()
                .map(|lag| (lag.partition, lag.position, lag.end))
                .collect()
        };
        report(&consumer, &[(0, 9, 9), (0, 3, 3)]);
        assert_eq!(lags(&mut reader), [(0, 5, 9)]);
        assert!(locked(&reader.shared.progress).lag.read()[0].age.is_some());
        // Of an empty partition, only the end is known.
        reader.partitions.get(1).unwrap().at_end = true;
        assert_eq!(lags(&mut reader), [(0, 5, 9), (1, 3, 3)]);
        // The embedded broker may report an end that is one too large.
        reader.partitions.get(0).unwrap().at_end = true;
        report(&consumer, &[(0, 6, 6), (0, 3, 3)]);
        assert_eq!(lags(&mut reader), [(0, 5, 5), (1, 3, 3)]);
    }

    #[test]
    fn an_open_transaction_is_watched_at_the_end_of_what_can_be_read() {
        let mut reader = reader(&[Resume::After(at(2))], 0);
        let consumer = consumer(true, false);
        report(&consumer, &[(0, 3, 9)]);
        reader.measure_lag(&consumer);
        assert!(reader.obstacles.is_clear());
        reader.partitions.get(0).unwrap().at_end = true;
        reader.measure_lag(&consumer);
        assert!(!reader.obstacles.is_clear());
        assert_eq!(locked(&reader.shared.progress).lag.read()[0].lag, 6);
    }

    #[test]
    fn an_error_of_a_partition_names_the_offset() {
        let mut reader = reader(&[Resume::At(7)], 0);
        let consumer = consumer(false, false);
        let error = || KafkaError::MessageConsumption(Code::BadCompression);
        let down = KafkaError::MessageConsumption(Code::AllBrokersDown);
        assert!(reader.note_error(&consumer, None, down).is_ok());
        assert_eq!(reader.obstacles.state(), None);
        assert!(reader.note_error(&consumer, Some(0), error()).is_ok());
        let blocked = State::Blocked("partition 0: at offset 7: ".into());
        assert_eq!(reader.obstacles.state(), Some(blocked));
        let unknown = KafkaError::MessageConsumption(Code::UnknownTopic);
        let closed = reader.note_error(&consumer, None, unknown);
        assert!(matches!(closed, Err(ConsumerError::BrokerLost(_))));
    }

    #[test]
    fn the_embedded_broker_gets_more_time_if_it_delivers_nothing_for_a_second() {
        let mut reader = reader(&[Resume::At(0)], 0);
        let consumer = consumer(true, true);
        report(&consumer, &[(0, 9, 9)]);
        assert!(reader.wait(&consumer).is_ok());
        assert_eq!(locked(&reader.shared.watched).quiet, POLL);
        assert!(reader.starved > Duration::ZERO && reader.starved < SLOW_LIMIT);
        reader.starved = SLOW_LIMIT;
        assert!(matches!(reader.wait(&consumer), Err(ConsumerError::Slow)));
        assert_eq!(reader.config.embedded_fetch_wait_ms, 80);
        while reader.config.lengthen_fetch_wait() {}
        assert!(reader.wait(&consumer).is_ok());
        assert!(reader.starved > SLOW_LIMIT);
        // More time does not help if a batch cannot be read, or if there is none.
        reader.obstacles.add(Some(0), "unreadable".into());
        assert!(reader.wait(&consumer).is_ok());
        assert_eq!(reader.starved, Duration::ZERO);
        reader.obstacles.remove(0);
        reader.starved = SLOW_LIMIT;
        report(&consumer, &[(0, 0, 0)]);
        assert!(reader.wait(&consumer).is_ok());
        assert_eq!(reader.starved, Duration::ZERO);
        assert_eq!(locked(&reader.shared.watched).quiet, 5 * POLL);
    }

    #[test]
    fn a_listener_whose_iterator_is_not_read_is_not_quiet() {
        let mut reader = reader(&[Resume::At(0)], 0);
        let (output, _queue) = Output::queue();
        reader.counter = Counter::new(None, output);
        let mut number = 0;
        while reader.counter.has_room() {
            add(&mut reader, 0, number);
            reader.count(Partitions::oldest);
            number += 1;
        }
        let consumer = consumer(true, false);
        assert!(reader.wait(&consumer).is_ok());
        assert_eq!(locked(&reader.shared.watched).quiet, Duration::ZERO);
        // Nothing is taken from the merge until there is room again.
        add(&mut reader, 0, number);
        assert!(!reader.count(Partitions::oldest));
    }

    #[test]
    fn a_consumer_is_closed_after_its_records_have_been_counted() {
        let lost = || KafkaError::MessageConsumption(Code::AllBrokersDown);
        for (error, expected) in [
            (
                ConsumerError::BrokerLost(lost()),
                State::Reconnecting(lost().to_string()),
            ),
            (ConsumerError::Removed, State::Connected),
            (ConsumerError::NewPartitions, State::Connected),
            (ConsumerError::Slow, State::Connected),
        ] {
            let mut reader = reader(&[Resume::Start, Resume::Start], 0);
            // The empty partition delays the merge.
            add(&mut reader, 1, 5);
            reader.close(error);
            assert_eq!((counted(&reader), state(&reader)), (1, expected));
            assert_eq!(
                reader.partitions.get(1).unwrap().resume,
                Resume::After(at(5))
            );
        }
    }

    #[test]
    fn another_log_is_counted_from_zero_and_from_its_start() {
        let mut reader = reader(&[Resume::Start], 3);
        add(&mut reader, 0, 9);
        reader.close(ConsumerError::OtherLog);
        assert_eq!(counted(&reader), 0);
        assert_eq!(reader.config.from, StartFrom::Earliest);
        assert_eq!(reader.partitions.iter().count(), 0);
    }

    #[test]
    fn a_poll_finds_new_partitions() {
        let mut reader = reader(&[Resume::Start; 2], 0);
        let consumer = consumer(false, false);
        assert!(reader.poll(&consumer).is_ok());
        report(&consumer, &[(0, 0, 0); 3]);
        assert!(matches!(
            reader.poll(&consumer),
            Err(ConsumerError::NewPartitions)
        ));
        reader.read(&consumer);
        assert_eq!(state(&reader), State::Connected);
    }
}
