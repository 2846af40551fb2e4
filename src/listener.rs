//! The Listener: reads the topic, scores each tweet, and keeps the trajectory.
//!
//! One thread reads in order, from the earliest message. It joins no consumer group: a lone reader
//! needs none, and starting anew from the earliest message *is* its recovery. When there is a
//! backlog, a batch is decoded and scored on all cores, and added up in the topic's order.
//!
//! A broker that goes away is waited for. The consumer is then made anew, because a broker that
//! comes back may have forgotten the topic (the embedded one has), and the client library crashes
//! when it asks such a broker for what it knew. It begins at the message that was read last, which
//! is asked for once more: if it is not there, this is another log, and counting begins anew.

use crate::figure::LiveFigure;
use crate::kafka::{Kafka, RUN_HEADER, Run};
use crate::notebook::{Card, shorten, thousands};
use crate::runtime::locked;
use crate::sentiment::{Analyzer, Scored, Sentiment, weighted};
use crate::streamer::{Report, report_topic};
use crate::trajectory::{State, Sum, Trajectory};
use crate::tweet::Skip;
use crate::{Error, Result, Tweet};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Once, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How many messages are taken at once, at most.
const BATCH: usize = 2_000;
/// From how many on a batch is worth a second thread.
const SHARED_BATCH: usize = 128;
/// How many tweets are kept for [`Listening::print_tweets`].
const PRINTABLE: usize = 1_000;
/// How long a broker that came back has for showing the last message that was read.
const RECOGNITION: Duration = Duration::from_secs(5);
/// How long one wait for messages takes, and so the longest wait for a stop.
const POLL: Duration = Duration::from_millis(50);

/// How long the broker waits for messages before it answers that there are none, at first: the
/// embedded one answers after half of it, also where a message has come in between.
const FIRST_WAIT_MS: u32 = 10;
/// What it is multiplied by where the broker is too slow for it, and the longest.
const WAIT_GROWTH: u32 = 8;
const LONGEST_WAIT_MS: u32 = 5_120;
/// After so long without a message it is asked whether there really is none.
const IDLE: Duration = Duration::from_secs(1);
/// A streamer that has not reported for so long is not counted on.
const SILENT_STREAMER: Duration = Duration::from_secs(5);
/// How often a wait prints a line.
const LINE: Duration = Duration::from_secs(5);

/// How long after a failed one the next attempt to connect comes.
const AGAIN: Duration = Duration::from_millis(200);

type Metric = dyn Fn(&Tweet, &Sentiment) -> f64 + Send + Sync;

/// Where in the topic a listener begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// At the first message that the topic still has.
    #[default]
    Earliest,
    /// At the next message to come.
    Latest,
}

/// How a listener is set up; `start` begins it.
pub struct Listener {
    kafka: Kafka,
    topic: String,
    from: StartFrom,
    metric: Arc<Metric>,
    time_span: Option<Duration>,
    count: Option<u64>,
}

/// A listener that runs. Dropping it stops it, as `stop` does.
pub struct Listening {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    trajectory: Arc<Mutex<Trajectory>>,
    printable: Mutex<Printable>,
    /// Signalled after each batch, each quiet poll and at the end.
    news: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct Printable {
    tweets: VecDeque<(u64, Scored)>,
    number: u64,
    printed: u64,
    /// For how long nothing has come, as the reading thread saw it.
    quiet: Duration,
    streamer: HeardOf,
    ended: bool,
}

/// What is known of the streamer, by its reports.
#[derive(Clone, Copy, Default)]
enum HeardOf {
    /// Nothing that counts: the report of a stream that was over before we came says nothing of
    /// the next one.
    #[default]
    Nothing,
    /// It ran then.
    Running(Instant),
    /// It ran, and has ended.
    Ended,
}

impl HeardOf {
    fn hear(&mut self, report: &Report) {
        *self = match (*self, report.has_ended()) {
            (_, false) => HeardOf::Running(Instant::now()),
            (HeardOf::Nothing, true) => HeardOf::Nothing,
            (_, true) => HeardOf::Ended,
        };
    }

    /// Whether it still runs, as far as one can know: it reports every second.
    fn runs(self) -> bool {
        matches!(self, HeardOf::Running(at) if at.elapsed() < SILENT_STREAMER)
    }
}

/// What a listener has heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How many tweets, and the sum of their metric.
    pub total: Sum,
    /// The same for each topic, in the order in which the topics appeared.
    pub topics: Vec<(String, Sum)>,
    /// Messages that were not counted, by reason.
    pub skipped: BTreeMap<Skip, u64>,
    /// The mean compound, in [-1, 1].
    pub mean: f64,
    /// The tweet with the highest compound.
    pub most_positive: Option<Scored>,
    /// The tweet with the lowest compound.
    pub most_negative: Option<Scored>,
    /// What the listener is doing.
    pub state: State,
}

impl Listener {
    /// A listener to `topic`: from the earliest message, with the original's metric
    /// ([`weighted`]), until stopped.
    pub fn new(kafka: &Kafka, topic: &str) -> Listener {
        Listener {
            kafka: kafka.clone(),
            topic: topic.into(),
            from: StartFrom::Earliest,
            metric: Arc::new(weighted),
            time_span: None,
            count: None,
        }
    }

    /// What a tweet adds to the trajectory. A value that is not finite, or a panic, makes the
    /// tweet a counted [`Skip`].
    ///
    /// ```no_run
    /// # use live_sentiment::prelude::*;
    /// # fn main() -> Result<()> {
    /// # let kafka = Kafka::connect()?;
    /// let listener = Listener::new(&kafka, "tweets")
    ///     .metric(|tweet, sentiment| {
    ///         let shouts = tweet.text.matches('!').count() as f64;
    ///         sentiment.compound * (1.0 + shouts)
    ///     })
    ///     .start(None)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn metric(
        mut self,
        metric: impl Fn(&Tweet, &Sentiment) -> f64 + Send + Sync + 'static,
    ) -> Self {
        self.metric = Arc::new(metric);
        self
    }

    /// Where in the topic to begin.
    pub fn from(mut self, from: StartFrom) -> Self {
        self.from = from;
        self
    }

    /// Stops after this long.
    pub fn time_span(mut self, time_span: Duration) -> Self {
        self.time_span = Some(time_span);
        self
    }

    /// Stops after this many tweets were heard.
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Begins to listen and returns at once. With a figure, the figure shows this listener from
    /// now on; `None` is for programs that want the numbers only.
    ///
    /// A topic that is not there yet is waited for.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a time span of zero, [`Error::Kafka`] if no thread can be started.
    pub fn start<'f>(self, figure: impl Into<Option<&'f LiveFigure>>) -> Result<Listening> {
        if self.time_span.is_some_and(|span| span.is_zero()) {
            return Err(Error::Invalid {
                what: "time span 0".into(),
                reason: "nothing can be heard in no time",
                next: "Give one such as `Duration::from_secs(300)`, or none to listen until stopped.",
            });
        }
        silence_metric_panics();
        let run = jiff::Timestamp::now().as_microsecond().unsigned_abs();
        let trajectory = Arc::new(Mutex::new(Trajectory::new(run)));
        let figure = figure
            .into()
            .map(|figure| figure.attach(trajectory.clone()));
        let shared = Arc::new(Shared {
            trajectory,
            printable: Mutex::default(),
            news: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let reader = Reader {
            places: BTreeMap::new(),
            unseen: BTreeMap::new(),
            connected: Instant::now(),
            idle: Duration::ZERO,
            wait_ms: FIRST_WAIT_MS,
            partitions: 0,
            run: None,
            deadline: self.time_span.map(|span| Instant::now() + span),
            analyzer: Analyzer::new(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            shared: shared.clone(),
            figure,
            listener: self,
        };
        let thread = std::thread::Builder::new()
            .name("listener".into())
            .spawn(move || reader.run())
            .map_err(|error| Error::Kafka {
                tried: "started the listener's thread".into(),
                reason: error.to_string(),
                next: "Close other programs and try again.",
            })?;
        Ok(Listening {
            shared,
            thread: Some(thread),
        })
    }
}

/// What the reading thread owns.
struct Reader {
    listener: Listener,
    analyzer: Analyzer,
    cores: usize,
    /// The last message that was read of each partition.
    places: BTreeMap<i32, Place>,
    /// Those of them that a broker that came back has not shown again yet.
    unseen: BTreeMap<i32, Place>,
    connected: Instant,
    /// For how long no message has come since it was last asked why.
    idle: Duration,
    wait_ms: u32,
    partitions: i32,
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
    /// The broker has messages and does not find them in the time it is given.
    Slow,
}

/// A message, by what tells it from another one.
#[derive(Clone, Copy, PartialEq)]
struct Place {
    offset: i64,
    written: Option<i64>,
}

impl Place {
    fn of(message: &BorrowedMessage<'_>) -> Place {
        Place {
            offset: message.offset(),
            written: message.timestamp().to_millis(),
        }
    }
}

/// A message, decoded and scored.
type Outcome = Result<Scored, Skip>;

impl Reader {
    fn run(mut self) {
        while !self.over() {
            let begun = Instant::now();
            let consumer = match self.connect() {
                Ok(consumer) => consumer,
                Err(error) => {
                    self.state(State::Waiting(error.to_string()));
                    std::thread::sleep(AGAIN);
                    self.quiet(begun.elapsed());
                    continue;
                }
            };
            self.state(State::Connected);
            self.unseen = self.places.clone();
            self.connected = Instant::now();
            while !self.over() {
                match self.read(&consumer) {
                    Ok(()) => {}
                    Err(Lost::Broker(error)) => {
                        tracing::info!("lost Kafka ({error}); trying again until it is back");
                        self.state(State::Reconnecting(error.to_string()));
                        break;
                    }
                    Err(Lost::Slow) => {
                        self.wait_ms = (self.wait_ms * WAIT_GROWTH).min(LONGEST_WAIT_MS);
                        tracing::info!(
                            "the broker needs longer than it is given for a long log; it gets {} ms",
                            self.wait_ms
                        );
                        break;
                    }
                    Err(Lost::Log) => {
                        tracing::info!("the topic was made anew; counting begins anew");
                        self.forget();
                        break;
                    }
                }
            }
        }
        self.state(State::Ended);
        locked(&self.shared.printable).ended = true;
        self.shared.news.notify_all();
    }

    fn forget(&mut self) {
        self.places.clear();
        self.run = None;
        self.listener.from = StartFrom::Earliest;
        locked(&self.shared.trajectory).begin_run();
        *locked(&self.shared.printable) = Printable::default();
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

    fn connect(&mut self) -> Result<BaseConsumer> {
        let (kafka, topic) = (&self.listener.kafka, &self.listener.topic);
        let topics = kafka.topics()?;
        let partitions = kafka.partitions_in(&topics, topic)?;
        self.partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
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
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", self.wait_ms.to_string())
            .set("fetch.message.max.bytes", "4194304")
            .set("queued.max.messages.kbytes", "32768")
            // Longer than this thread ever takes to see that the connection broke: the consumer
            // must be given up before it reconnects, see the module's words.
            .set("reconnect.backoff.ms", "10000");
        let consumer: BaseConsumer = config.create().map_err(failed)?;
        Kafka::acquaint(consumer.client(), topic);
        let mut assignment = TopicPartitionList::new();
        for partition in 0..self.partitions {
            let offset = match (self.places.get(&partition), self.listener.from) {
                (Some(last), _) => Offset::Offset(last.offset),
                (None, StartFrom::Earliest) => Offset::Beginning,
                (None, StartFrom::Latest) => Offset::End,
            };
            assignment
                .add_partition_offset(topic, partition, offset)
                .map_err(failed)?;
        }
        let reports = report_topic(topic);
        if topics.contains_key(&reports) {
            assignment
                .add_partition_offset(&reports, 0, Offset::OffsetTail(1))
                .map_err(failed)?;
        }
        consumer.assign(&assignment).map_err(failed)?;
        Ok(consumer)
    }

    /// Takes a batch of what has come, or waits a little for the first message.
    fn read(&mut self, consumer: &BaseConsumer) -> Result<(), Lost> {
        let mut batch: Vec<BorrowedMessage<'_>> = Vec::new();
        let mut wait = POLL;
        let mut lost = None;
        while batch.len() < BATCH {
            match consumer.poll(wait) {
                None => break,
                Some(Ok(message)) if message.topic() != self.listener.topic => {
                    self.hear_streamer(&message);
                }
                Some(Ok(message)) => {
                    batch.push(message);
                    wait = Duration::ZERO;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => {
                    lost = Some(error);
                    break;
                }
            }
        }
        if batch.is_empty() {
            if !self.unseen.is_empty() && self.connected.elapsed() > RECOGNITION {
                return Err(Lost::Log);
            }
            self.quiet(POLL);
            self.idle += POLL;
            if self.idle >= IDLE {
                self.idle = Duration::ZERO;
                if self.wait_ms < LONGEST_WAIT_MS && self.is_behind(consumer) {
                    return Err(Lost::Slow);
                }
            }
        } else {
            self.idle = Duration::ZERO;
            self.add(&batch)?;
        }
        match lost {
            Some(error) if is_fatal(&error) => Err(Lost::Broker(error)),
            Some(error) => {
                tracing::warn!("Kafka: {error}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether the broker has messages that have not come.
    ///
    /// The embedded broker looks through all batches of a log for each answer. Of a long one it
    /// gets not far in 10 ms, and answers that there is nothing, for ever.
    fn is_behind(&self, consumer: &BaseConsumer) -> bool {
        (0..self.partitions).any(|partition| {
            let marks = consumer.fetch_watermarks(&self.listener.topic, partition, IDLE);
            let last = self.places.get(&partition).map(|last| last.offset);
            marks.is_ok_and(|(begin, end)| {
                let last = match self.listener.from {
                    StartFrom::Earliest => last.unwrap_or(begin - 1),
                    StartFrom::Latest => last.unwrap_or(end),
                };
                // The end that the embedded broker names may be one too far.
                end > last + 2
            })
        })
    }

    /// Passes on to the page what the streamer says of itself.
    fn hear_streamer(&self, message: &BorrowedMessage<'_>) {
        if let Some(report) = message.payload().and_then(Report::decode) {
            locked(&self.shared.printable).streamer.hear(&report);
            locked(&self.shared.trajectory).set_streamer(report);
            self.ring();
        }
    }

    fn add(&mut self, batch: &[BorrowedMessage<'_>]) -> Result<(), Lost> {
        let outcomes = self.score(batch);
        let mut trajectory = locked(&self.shared.trajectory);
        let mut printable = locked(&self.shared.printable);
        for (message, outcome) in batch.iter().zip(outcomes) {
            if self
                .listener
                .count
                .is_some_and(|count| trajectory.total().heard >= count)
            {
                break;
            }
            let place = Place::of(message);
            if let Some(last) = self.unseen.remove(&message.partition()) {
                if place == last {
                    continue;
                }
                if place.offset <= last.offset {
                    return Err(Lost::Log);
                }
            }
            self.places.insert(message.partition(), place);
            let run = run_of(message);
            if run.is_some() && run < self.run {
                trajectory.skip_earlier_run();
                continue;
            }
            if run > self.run {
                // The first run that is met is no new one: there is nothing to begin anew.
                if self.run.is_some() || trajectory.total().heard > 0 {
                    tracing::info!("a new run has begun in the topic; counting begins anew");
                    trajectory.begin_run();
                    *printable = Printable {
                        streamer: printable.streamer,
                        ..Printable::default()
                    };
                }
                self.run = run;
            }
            match outcome {
                Err(reason) => trajectory.skip(reason),
                Ok(scored) => {
                    trajectory.add(&scored);
                    printable.number += 1;
                    let number = printable.number;
                    printable.tweets.push_back((number, scored));
                    if printable.tweets.len() > PRINTABLE {
                        printable.tweets.pop_front();
                    }
                }
            }
        }
        printable.quiet = Duration::ZERO;
        drop((trajectory, printable));
        self.shared.news.notify_all();
        self.ring();
        Ok(())
    }

    /// Scores a batch, on all cores if it is large; the order stays.
    fn score(&self, batch: &[BorrowedMessage<'_>]) -> Vec<Outcome> {
        let one = |message: &BorrowedMessage<'_>| self.outcome(message);
        if batch.len() < SHARED_BATCH || self.cores == 1 {
            return batch.iter().map(one).collect();
        }
        let share = batch.len().div_ceil(self.cores);
        std::thread::scope(|scope| {
            let workers: Vec<_> = batch
                .chunks(share)
                .map(|part| scope.spawn(move || part.iter().map(one).collect::<Vec<_>>()))
                .collect();
            // A worker cannot panic: what can is caught where it is called.
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap_or_default())
                .collect()
        })
    }

    fn outcome(&self, message: &BorrowedMessage<'_>) -> Outcome {
        let mut tweet = message.payload().map_or(Err(Skip::NoText), Tweet::decode)?;
        if tweet.has_no_time()
            && let Some(millis) = message.timestamp().to_millis()
            && let Ok(written) = jiff::Timestamp::from_millisecond(millis)
        {
            tweet.created_at = written;
        }
        let sentiment = self.analyzer.score(&tweet.text);
        let metric = &self.listener.metric;
        IN_METRIC.set(true);
        let value = catch_unwind(AssertUnwindSafe(|| metric(&tweet, &sentiment)));
        IN_METRIC.set(false);
        match value {
            Ok(metric) if metric.is_finite() => Ok(Scored {
                tweet,
                sentiment,
                metric,
            }),
            Ok(_) => Err(Skip::MetricNotFinite),
            Err(_) => Err(Skip::MetricPanicked),
        }
    }
}

fn run_of(message: &BorrowedMessage<'_>) -> Option<Run> {
    let headers = message.headers()?;
    headers
        .iter()
        .find(|header| header.key == RUN_HEADER)
        .and_then(|run| Run::from_header(run.value?))
}

/// Errors after which the consumer is made anew.
fn is_fatal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::AutoOffsetReset
        )
    )
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

impl Listening {
    /// What was heard so far.
    pub fn summary(&self) -> Summary {
        let trajectory = locked(&self.shared.trajectory);
        let extremes = trajectory.extremes();
        Summary {
            total: trajectory.total(),
            topics: trajectory
                .topics()
                .map(|(name, sum)| (name.to_owned(), sum))
                .collect(),
            skipped: trajectory.skipped().clone(),
            mean: trajectory.mean(),
            most_positive: extremes.map(|(most, _)| most.clone()),
            most_negative: extremes.map(|(_, most)| most.clone()),
            state: trajectory.state().clone(),
        }
    }

    /// Prints the next `count` tweets as they come: user, followers, sentiment and text. It begins
    /// with the oldest of the last 1,000 that were not printed yet, says so when it has to wait
    /// for long, and returns early if the listener ends.
    pub fn print_tweets(&self, count: usize) -> Result<()> {
        for _ in 0..count {
            let Some(scored) = self.next_printable() else {
                break;
            };
            println!("{}", line(&scored));
        }
        Ok(())
    }

    fn next_printable(&self) -> Option<Scored> {
        let mut said = false;
        let begun = Instant::now();
        let mut printable = locked(&self.shared.printable);
        loop {
            let printed = printable.printed;
            let next = printable
                .tweets
                .iter()
                .find(|(number, _)| *number > printed)
                .cloned();
            if let Some((number, scored)) = next {
                printable.printed = number;
                return Some(scored);
            }
            if printable.ended {
                return None;
            }
            if !said && begun.elapsed() > Duration::from_secs(2) {
                drop(printable);
                println!("waiting for tweets: {}", self.summary());
                said = true;
                printable = locked(&self.shared.printable);
                continue;
            }
            printable = self
                .shared
                .news
                .wait(printable)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until tweets have come and then none for `quiet`, and prints a line every 5 seconds.
    /// A topic has no end of its own: silence is how a listener knows that a stream is over. But a
    /// streamer that says that it still runs is waited for however quiet it is, and one that says
    /// that it has ended need not have sent anything.
    pub fn wait_until_quiet(&self, quiet: Duration) -> Summary {
        self.wait_while(|printable| match printable.streamer {
            HeardOf::Ended => printable.quiet < quiet,
            streamer => streamer.runs() || printable.number == 0 || printable.quiet < quiet,
        })
    }

    /// Waits until the listener has ended by its time span or count, and prints a line every 5
    /// seconds.
    pub fn wait(&self) -> Summary {
        self.wait_while(|_| true)
    }

    fn wait_while(&self, on: impl Fn(&Printable) -> bool) -> Summary {
        let mut said = Instant::now();
        let mut printable = locked(&self.shared.printable);
        while !printable.ended && on(&printable) {
            printable = self
                .shared
                .news
                .wait(printable)
                .unwrap_or_else(PoisonError::into_inner);
            if said.elapsed() >= LINE {
                drop(printable);
                println!("{}", self.summary());
                said = Instant::now();
                printable = locked(&self.shared.printable);
            }
        }
        drop(printable);
        self.summary()
    }

    /// Waits for the end, for `limit` at most; true if it has come.
    pub fn wait_for(&self, limit: Duration) -> bool {
        let printable = locked(&self.shared.printable);
        let waited = self
            .shared
            .news
            .wait_timeout_while(printable, limit, |printable| !printable.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// Ends the listener and says what it has heard.
    pub fn stop(&self) -> Summary {
        self.shared.stop.store(true, Ordering::Relaxed);
        let printable = locked(&self.shared.printable);
        let ended = self
            .shared
            .news
            .wait_while(printable, |printable| !printable.ended);
        drop(ended);
        self.summary()
    }

    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        self.summary().evcxr_display();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn line(scored: &Scored) -> String {
    let Scored {
        tweet,
        sentiment,
        metric,
    } = scored;
    format!(
        "@{:<18} {:>10} followers  {:+.2} → {metric:+6.2}  {}",
        shorten(&tweet.user, 18),
        tweet.followers.map_or("?".into(), thousands),
        sentiment.compound,
        shorten(&tweet.text, 90)
    )
}

impl Summary {
    /// The counts and sums as JSON, as the example program ends with them.
    pub fn to_json(&self) -> serde_json::Value {
        let skipped: BTreeMap<&str, u64> = self
            .skipped
            .iter()
            .map(|(reason, count)| (reason.name(), *count))
            .collect();
        let topics: BTreeMap<&str, Sum> = self
            .topics
            .iter()
            .map(|(name, sum)| (name.as_str(), *sum))
            .collect();
        serde_json::json!({
            "heard": self.total.heard,
            "skipped": skipped,
            "sum": self.total.sum,
            "topics": topics,
        })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.state {
            State::Waiting(why) => return write!(f, "waiting: {}", shorten(why, 120)),
            State::Reconnecting(why) => write!(f, "reconnecting ({}): ", shorten(why, 60))?,
            State::Connected | State::Ended => {}
        }
        write!(
            f,
            "heard {}, sentiment {:+.2}",
            thousands(self.total.heard),
            self.total.sum
        )?;
        for (topic, sum) in &self.topics {
            write!(f, ", {} {:+.2}", shorten(topic, 32), sum.sum)?;
        }
        let skipped: u64 = self.skipped.values().sum();
        if skipped > 0 {
            write!(f, ", skipped {}", thousands(skipped))?;
        }
        Ok(())
    }
}

impl Summary {
    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        let state = match &self.state {
            State::Waiting(why) => format!("waiting: {why}"),
            State::Connected => "listening".into(),
            State::Reconnecting(why) => format!("reconnecting: {why}"),
            State::Ended => "ended".into(),
        };
        let mut card = Card::new("Listener")
            .row("state", &state)
            .row("tweets", &thousands(self.total.heard))
            .row("sentiment", &format!("{:+.2}", self.total.sum));
        for (topic, sum) in &self.topics {
            let value = format!("{:+.2} from {} tweets", sum.sum, thousands(sum.heard));
            card = card.row(&format!("… about {topic}"), &value);
        }
        card = card.row("mean compound", &format!("{:+.3}", self.mean));
        for (name, most) in [
            ("most positive", &self.most_positive),
            ("most negative", &self.most_negative),
        ] {
            if let Some(most) = most {
                let compound = most.sentiment.compound;
                let text = shorten(&most.tweet.text, 200);
                card = card.row(
                    name,
                    &format!("{compound:+.2} @{}: {text}", shorten(&most.tweet.user, 24)),
                );
            }
        }
        for (reason, count) in &self.skipped {
            card = card.row(&format!("skipped: {reason}"), &thousands(*count));
        }
        card.data(self.to_json()).show();
    }
}
