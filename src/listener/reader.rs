//! The thread that reads the topic, scores and counts.
//!
//! A broker that goes away is waited for. Where it was the only one, the consumer is then made
//! anew, because a broker that comes back may have forgotten the topic (the embedded one has), and
//! the client library crashes when it asks such a broker for what it knew. It begins at the message
//! that was counted last, which is asked for once more: if it is not there, this is another log,
//! and counting begins anew. If the broker has removed it, by its retention, what went with it
//! unread is counted as missed. In a cluster the library itself finds a partition's next broker.

use super::partition::{Heard, Outcome, Partitions, Place};
use super::{Content, Listener, Shared, StartFrom};
use crate::kafka::{Kafka, RUN_HEADER, Run};
use crate::runtime::locked;
use crate::scorer;
use crate::seen::Seen;
use crate::sentiment::Scored;
use crate::streamer::{Report, report_topic};
use crate::trajectory::State;
use crate::tweet::Skip;
use crate::{Error, Result, Tweet};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How many messages are taken at once, at most.
const BATCH: usize = 2_000;
/// From how many on a batch is worth a second thread.
const SHARED_BATCH: usize = 128;
/// How long a broker that came back has for showing the last message that was counted.
const RECOGNITION: Duration = Duration::from_secs(5);
/// How long one wait for messages takes, and so the longest wait for a stop.
const POLL: Duration = Duration::from_millis(50);
/// How long after a failed one the next attempt to connect comes.
const AGAIN: Duration = Duration::from_millis(200);

/// How long the broker waits for messages before it answers that there are none, at first. Apache
/// Kafka answers as soon as one comes, and each answer costs it; the embedded broker answers after
/// half of the time, also where one has come in between.
const FIRST_WAIT_MS: u32 = 100;
const FIRST_EMBEDDED_WAIT_MS: u32 = 10;
/// What it is multiplied by where the broker is too slow for it, and the longest.
const WAIT_GROWTH: u32 = 8;
const LONGEST_WAIT_MS: u32 = 5_120;
/// After so long without a message it is asked whether there really is none.
const IDLE: Duration = Duration::from_secs(1);

/// What the reading thread owns.
pub(super) struct Reader {
    listener: Listener,
    cores: usize,
    partitions: Partitions,
    seen: Seen,
    /// Whether there is no other broker than the one that the consumer knows.
    alone: bool,
    connected: Instant,
    /// For how long no message has come since it was last asked why.
    idle: Duration,
    wait_ms: u32,
    run: Option<Run>,
    deadline: Option<Instant>,
    shared: Arc<Shared>,
    /// The figure's bell.
    figure: Option<Arc<Notify>>,
}

/// Why a consumer is given up.
enum Lost {
    /// The broker is gone, by this error.
    Broker(KafkaError),
    /// The broker is there, with another log in the topic.
    Log,
    /// What is to be read next is no longer there.
    Removed,
    /// The broker has messages and does not find them in the time it is given.
    Slow,
}

/// What the client library tells of as an error is judged where it is polled, and many are none.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("Kafka: {error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}

/// The consumer, with a queue for each partition, so that none takes another's room.
struct Ears {
    /// For what is of no partition: errors, and the streamer's reports.
    all: Arc<BaseConsumer<Quiet>>,
    partitions: Vec<PartitionQueue<Quiet>>,
}

impl Reader {
    pub(super) fn new(
        listener: Listener,
        shared: Arc<Shared>,
        figure: Option<Arc<Notify>>,
    ) -> Reader {
        silence_metric_panics();
        Reader {
            partitions: Partitions::default(),
            seen: Seen::default(),
            alone: true,
            connected: Instant::now(),
            idle: Duration::ZERO,
            wait_ms: 0,
            run: None,
            deadline: listener.time_span.map(|span| Instant::now() + span),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            shared,
            figure,
            listener,
        }
    }

    pub(super) fn run(mut self) {
        while !self.over() {
            let begun = Instant::now();
            let ears = match self.connect() {
                Ok(Some(ears)) => ears,
                Ok(None) => {
                    self.forget();
                    continue;
                }
                Err(error) => {
                    self.state(State::Waiting(error.to_string()));
                    std::thread::sleep(AGAIN);
                    self.quiet(begun.elapsed());
                    continue;
                }
            };
            self.state(State::Connected);
            self.connected = Instant::now();
            while !self.over() {
                let Err(lost) = self.read(&ears) else {
                    continue;
                };
                if !matches!(lost, Lost::Log) {
                    // It was read: a partition that is behind holds it up no longer.
                    self.count(Partitions::oldest);
                }
                match lost {
                    Lost::Broker(error) => {
                        tracing::info!("lost Kafka ({error}); trying again until it is back");
                        self.state(State::Reconnecting(error.to_string()));
                    }
                    Lost::Removed => {
                        tracing::warn!("the broker removed messages before they were read");
                    }
                    Lost::Slow => {
                        self.wait_ms = (self.wait_ms * WAIT_GROWTH).min(LONGEST_WAIT_MS);
                        tracing::info!(
                            "the broker needs longer than it is given for a long log; it gets {} ms",
                            self.wait_ms
                        );
                    }
                    Lost::Log => self.forget(),
                }
                break;
            }
        }
        self.state(State::Ended);
        locked(&self.shared.printable).ended = true;
        self.shared.news.notify_all();
    }

    fn forget(&mut self) {
        tracing::info!("the topic was made anew; counting begins anew");
        self.partitions.forget();
        self.seen.clear();
        self.run = None;
        self.listener.from = StartFrom::Earliest;
        locked(&self.shared.trajectory).begin_run();
        locked(&self.shared.printable).begin_run();
    }

    fn over(&self) -> bool {
        let heard = || locked(&self.shared.trajectory).total().heard;
        self.shared.stop.load(Ordering::Relaxed)
            || self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
            || self.listener.count.is_some_and(|count| heard() >= count)
    }

    fn state(&self, state: State) {
        let mut trajectory = locked(&self.shared.trajectory);
        if *trajectory.state() != state {
            trajectory.set_state(state);
            drop(trajectory);
            self.ring();
        }
    }

    fn ring(&self) {
        if let Some(figure) = &self.figure {
            figure.notify_one();
        }
    }

    /// Tells those who wait for quiet that nothing has come for so long.
    fn quiet(&self, for_long: Duration) {
        locked(&self.shared.printable).quiet += for_long;
        self.shared.news.notify_all();
    }

    /// A consumer that begins after what was counted; `None` if the topic is another log.
    fn connect(&mut self) -> Result<Option<Ears>> {
        let (kafka, topic) = (&self.listener.kafka, &self.listener.topic);
        let cluster = kafka.cluster()?;
        let count = cluster.partitions(topic)?;
        self.alone = cluster.brokers == 1;
        self.wait_ms = self.wait_ms.max(match cluster.is_embedded {
            true => FIRST_EMBEDDED_WAIT_MS,
            false => FIRST_WAIT_MS,
        });
        let failed = |error: KafkaError| Error::Kafka {
            tried: format!("read the topic {topic:?}"),
            reason: error.to_string(),
            next: "It is tried again.",
        };
        let mut config = kafka.client();
        config
            // The name is asked for by the library; no group is joined.
            .set("group.id", "listener")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // What was removed before it was read is counted, not passed over.
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", self.wait_ms.to_string())
            .set("queued.max.messages.kbytes", "8192")
            // Once it has enough it looks again so soon; with the default of a second it would have
            // nothing for most of that.
            .set("fetch.queue.backoff.ms", "5");
        if self.alone {
            // Longer than this thread ever takes to see that the connection broke: the consumer
            // must be given up before it reconnects, see the module's words.
            config.set("reconnect.backoff.ms", "10000");
        }
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet).map_err(failed)?;
        Kafka::acquaint(consumer.client(), topic);

        self.partitions.begin(count);
        let mut missed = 0;
        let mut assignment = TopicPartitionList::new();
        for (number, partition) in (0..).zip(self.partitions.iter_mut()) {
            let offset = match (partition.last, self.listener.from) {
                (Some(last), _) => {
                    let (first, end) = consumer
                        .fetch_watermarks(topic, number, IDLE)
                        .map_err(failed)?;
                    if end <= last.offset {
                        return Ok(None);
                    }
                    if first > last.offset {
                        missed += first - last.offset - 1;
                        partition.unseen = false;
                        partition.last = Some(Place {
                            offset: first - 1,
                            written: last.written,
                        });
                    }
                    Offset::Offset(first.max(last.offset))
                }
                (None, StartFrom::Earliest) => Offset::Beginning,
                (None, StartFrom::Latest) => Offset::End,
            };
            assignment
                .add_partition_offset(topic, number, offset)
                .map_err(failed)?;
        }
        if missed > 0 {
            locked(&self.shared.trajectory).miss(missed.unsigned_abs());
        }
        let reports = report_topic(topic);
        if cluster.has(&reports) {
            assignment
                .add_partition_offset(&reports, 0, Offset::OffsetTail(1))
                .map_err(failed)?;
        }
        consumer.assign(&assignment).map_err(failed)?;
        let all = Arc::new(consumer);
        let mut partitions = Vec::with_capacity(count);
        for number in (0..).take(count) {
            let queue = all.split_partition_queue(topic, number);
            let mut queue = queue.ok_or_else(|| Error::NoTopic {
                topic: topic.clone(),
                address: kafka.address().into(),
            })?;
            let reader = std::thread::current();
            queue.set_nonempty_callback(move || reader.unpark());
            partitions.push(queue);
        }
        Ok(Some(Ears { all, partitions }))
    }

    /// Takes a batch of what has come, counts what can be counted, or waits a little.
    fn read(&mut self, ears: &Ears) -> Result<(), Lost> {
        let mut batch: Vec<(usize, BorrowedMessage<'_>)> = Vec::new();
        let mut lost = None;
        while let Some(item) = ears.all.poll(Duration::ZERO) {
            match item {
                Ok(message) if message.topic() != self.listener.topic => {
                    self.hear_streamer(&message);
                }
                // Fetched before its partition had a queue of its own.
                Ok(message) => batch.push((index(message.partition()), message)),
                // The streamer's reports have an end too.
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => lost = lost.or(Some(error)),
            }
        }
        let share = (BATCH / self.partitions.len().max(1)).max(1);
        for (number, queue) in ears.partitions.iter().enumerate() {
            let Some(partition) = self.partitions.get(number) else {
                continue;
            };
            let room = share.saturating_sub(partition.waiting.len());
            for item in std::iter::from_fn(|| queue.poll(Duration::ZERO)).take(room) {
                match item {
                    Ok(message) => {
                        partition.at_end = false;
                        batch.push((number, message));
                    }
                    Err(KafkaError::PartitionEOF(_)) => partition.at_end = true,
                    Err(error) => lost = lost.or(Some(error)),
                }
            }
        }
        let came = !batch.is_empty();
        if came {
            self.idle = Duration::ZERO;
            self.take(&batch)?;
        }
        let counted = self.count(Partitions::next);
        match lost {
            Some(error) => self.judge(error)?,
            None if came || counted => {}
            None => {
                std::thread::park_timeout(POLL);
                self.wait(ears)?;
            }
        }
        Ok(())
    }

    /// What an error of the consumer means.
    fn judge(&self, error: KafkaError) -> Result<(), Lost> {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(Lost::Removed),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Err(Lost::Broker(error))
            }
            Some(Code::AllBrokersDown | Code::BrokerTransportFailure) if self.alone => {
                Err(Lost::Broker(error))
            }
            _ => {
                tracing::warn!("Kafka: {error}");
                Ok(())
            }
        }
    }

    /// Nothing has come, which may have its reason.
    fn wait(&mut self, ears: &Ears) -> Result<(), Lost> {
        self.quiet(POLL);
        let unseen = |partitions: &Partitions| partitions.iter().any(|one| one.unseen);
        if self.connected.elapsed() > RECOGNITION && unseen(&self.partitions) {
            return Err(Lost::Log);
        }
        self.idle += POLL;
        if self.idle >= IDLE {
            self.idle = Duration::ZERO;
            if self.wait_ms < LONGEST_WAIT_MS && self.is_behind(ears) {
                return Err(Lost::Slow);
            }
        }
        Ok(())
    }

    /// Whether the broker has messages that have not come.
    ///
    /// The embedded broker looks through all batches of a log for each answer. Of a long one it
    /// gets not far in 10 ms, and answers that there is nothing, for ever.
    fn is_behind(&self, ears: &Ears) -> bool {
        let behind = |(number, partition): (i32, &super::partition::Partition)| {
            let marks = ears
                .all
                .fetch_watermarks(&self.listener.topic, number, IDLE);
            let last = partition.last.map(|last| last.offset);
            marks.is_ok_and(|(begin, end)| {
                let last = match self.listener.from {
                    StartFrom::Earliest => last.unwrap_or(begin - 1),
                    StartFrom::Latest => last.unwrap_or(end),
                };
                // The end that the embedded broker names may be one too far.
                !partition.at_end && end > last + 2
            })
        };
        (0..).zip(self.partitions.iter()).any(behind)
    }

    /// Passes on to the page what the streamer says of itself.
    fn hear_streamer(&self, message: &BorrowedMessage<'_>) {
        if let Some(report) = message.payload().and_then(Report::decode) {
            locked(&self.shared.printable).streamer.hear(&report);
            locked(&self.shared.trajectory).set_streamer(report);
            self.ring();
        }
    }

    /// Scores a batch, and lines it up to be counted.
    fn take(&mut self, batch: &[(usize, BorrowedMessage<'_>)]) -> Result<(), Lost> {
        let outcomes = self.score(batch);
        for ((number, message), outcome) in batch.iter().zip(outcomes) {
            let Some(partition) = self.partitions.get(*number) else {
                continue;
            };
            let place = Place::of(message);
            if let Some(last) = partition.last.filter(|_| partition.unseen) {
                partition.unseen = false;
                if place == last {
                    continue;
                }
                if place.offset <= last.offset {
                    return Err(Lost::Log);
                }
            }
            partition.waiting.push_back(Heard {
                place,
                run: run_of(message),
                outcome,
            });
        }
        Ok(())
    }

    /// Counts what waits, in the order that `next` says; true if there was anything.
    fn count(&mut self, next: impl Fn(&mut Partitions) -> Option<(usize, Heard)>) -> bool {
        let mut counted = false;
        let mut trajectory = locked(&self.shared.trajectory);
        let mut printable = locked(&self.shared.printable);
        let limit = self.listener.count.unwrap_or(u64::MAX);
        while trajectory.total().heard < limit
            && let Some((number, heard)) = next(&mut self.partitions)
        {
            counted = true;
            if let Some(partition) = self.partitions.get(number) {
                partition.last = Some(heard.place);
            }
            if heard.run.is_some() && heard.run < self.run {
                trajectory.skip_earlier_run();
                continue;
            }
            if heard.run > self.run {
                // The first run that is met is no new one: there is nothing to begin anew.
                if self.run.is_some() || trajectory.total().heard > 0 {
                    tracing::info!("a new run has begun in the topic; counting begins anew");
                    trajectory.begin_run();
                    printable.begin_run();
                    self.seen.clear();
                }
                self.run = heard.run;
            }
            match heard.outcome {
                Err(reason) => trajectory.skip(reason),
                Ok(scored) if !self.seen.insert(&scored.tweet) => trajectory.duplicate_came(),
                Ok(scored) => {
                    trajectory.add(&scored);
                    printable.add(scored);
                }
            }
        }
        if counted {
            printable.quiet = Duration::ZERO;
        }
        drop((trajectory, printable));
        if counted {
            self.shared.news.notify_all();
            self.ring();
        }
        counted
    }

    /// Scores a batch, on all cores if it is large; the order stays.
    fn score(&self, batch: &[(usize, BorrowedMessage<'_>)]) -> Vec<Outcome> {
        let all = |part: &[(usize, BorrowedMessage<'_>)]| -> Vec<Outcome> {
            part.iter()
                .map(|(_, message)| self.outcome(message))
                .collect()
        };
        if batch.len() < SHARED_BATCH || self.cores == 1 {
            return all(batch);
        }
        // This thread does the first share itself.
        let (first, rest) = batch.split_at(batch.len().div_ceil(self.cores));
        std::thread::scope(|scope| {
            let workers: Vec<_> = rest
                .chunks(first.len())
                .map(|part| scope.spawn(move || all(part)))
                .collect();
            let mut outcomes = all(first);
            for worker in workers {
                // A worker cannot panic: what can is caught where it is called.
                outcomes.extend(worker.join().unwrap_or_default());
            }
            outcomes
        })
    }

    fn outcome(&self, message: &BorrowedMessage<'_>) -> Outcome {
        let payload = message.payload().ok_or(Skip::NoText)?;
        let (mut tweet, sentiment) = match self.listener.content {
            Content::Tweets => {
                let tweet = Tweet::decode(payload)?;
                let sentiment = self.listener.analyzer.score(&tweet.text);
                (tweet, sentiment)
            }
            Content::Scores => scorer::decode(payload)?,
        };
        if tweet.has_no_time()
            && let Some(millis) = message.timestamp().to_millis()
            && let Ok(written) = jiff::Timestamp::from_millisecond(millis)
        {
            tweet.created_at = written;
        }
        let metric = &self.listener.metric;
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

/// A partition's number as an index; one that is none is no partition's.
fn index(partition: i32) -> usize {
    usize::try_from(partition).unwrap_or(usize::MAX)
}

fn run_of(message: &BorrowedMessage<'_>) -> Option<Run> {
    let headers = message.headers()?;
    headers
        .iter()
        .find(|header| header.key == RUN_HEADER)
        .and_then(|run| Run::from_header(run.value?))
}

thread_local! {
    static IN_METRIC: Cell<bool> = const { Cell::new(false) };
}

/// A metric that panics is counted, tweet by tweet; without this, each panic would print a page.
fn silence_metric_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IN_METRIC.get() {
                before(info);
            }
        }));
    });
}
