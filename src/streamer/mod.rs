//! The Streamer: pulls a source, filters, removes duplicates, and writes to the topic.
//!
//! One task does all of it, in order. The producer's queue is bounded; when the broker is slower
//! than the source the queue is full, and the task waits before it pulls the next tweet. So a slow
//! or silent broker holds the source back and nothing is dropped. The producer is idempotent: its
//! own retries write no message twice. Its answers are counted one by one, and a tweet that the
//! broker did not take is put in a file (`undelivered.rs`).

mod line_file;
mod saver;
mod status;
mod undelivered;

pub use status::{Ended, StreamerStatus};
pub(crate) use status::{Report, report_topic};

use crate::kafka::{Kafka, RUN_HEADER};
use crate::runtime::{locked, runtime};
use crate::seen::Seen;
use crate::source::{BoxedSource, ConnectionWatch, Source};
use crate::{Error, Filter, Result, Tweet};
use jiff::Timestamp;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use saver::Saver;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, Sleep};
use undelivered::Undelivered;

/// How long `stop` waits for the broker to take what is on the way.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);
/// After this long the producer gives a message up, and it counts as failed.
const DELIVERY_LIMIT_MS: &str = "300000";
/// How often the stream's status is reported to the Listener's page.
const REPORT: Duration = Duration::from_secs(1);
/// Over how many reports the rate is taken.
const RATE_REPORTS: usize = 10;
/// The key of a report.
const REPORT_KEY: &str = "streamer";

/// How a stream is set up; `start` begins it.
pub struct Streamer {
    kafka: Kafka,
    topic: String,
    tracks: Vec<String>,
    languages: Vec<String>,
    time_span: Option<Duration>,
    save_to: Option<PathBuf>,
}

/// A stream that runs. Dropping it stops it, as `stop` does.
pub struct Streaming {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

struct Shared {
    kafka: Kafka,
    topic: String,
    connection: Option<ConnectionWatch>,
    progress: Mutex<Progress>,
    delivered: Arc<Deliveries>,
}

#[derive(Default)]
struct Progress {
    source: String,
    started: Option<Instant>,
    ended: Option<(Instant, Ended)>,
    time_span: Option<Duration>,
    read: u64,
    filtered: u64,
    duplicate: u64,
    skipped: u64,
    newest: Option<Timestamp>,
    topics: BTreeMap<String, u64>,
    last_trouble: Option<String>,
    /// How many were sent when: one entry a report, the newest last.
    recent: VecDeque<(Instant, u64)>,
}

/// The broker's answers, counted one by one by the producer's own thread.
struct Deliveries {
    topic: String,
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    sent: u64,
    failed: u64,
    undelivered: Undelivered,
    /// Why the last one failed.
    reason: Option<String>,
    /// What the client library said last of the way to the broker, and how many were sent then:
    /// once more are, it is over.
    broker: Option<(String, u64)>,
}

impl Deliveries {
    fn failed(&self, message: &[u8], reason: String) {
        let mut answers = locked(&self.answers);
        answers.failed += 1;
        answers.undelivered.add(&self.topic, message);
        answers.reason = Some(reason);
    }
}

/// Hands the producer's reports to the counters that outlive it.
struct Reports(Arc<Deliveries>);

impl ClientContext for Reports {
    fn error(&self, _: KafkaError, reason: &str) {
        let mut answers = locked(&self.0.answers);
        answers.broker = Some((reason.to_owned(), answers.sent));
    }
}

impl ProducerContext for Reports {
    /// How many tweets the message holds: one, or none if it is a report.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tweets: usize) {
        match result {
            _ if tweets == 0 => {}
            Ok(_) => locked(&self.0.answers).sent += 1,
            Err((error, message)) => {
                let reason = format!("Kafka did not take a tweet: {error}");
                self.0.failed(message.payload().unwrap_or_default(), reason);
            }
        }
    }
}

/// The streams of this process, so that a notebook cell that runs twice does not leave the first
/// one writing beside the second.
static RUNNING: Mutex<Vec<(String, String, Weak<Running>)>> = Mutex::new(Vec::new());

struct Running {
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

impl Running {
    fn stop(&self) {
        self.stop.send_replace(true);
        let mut ended = self.ended.clone();
        // An error means that the task is gone, which is what is waited for.
        let _ = runtime().block_on(async { ended.wait_for(|ended| *ended).await.map(drop) });
    }
}

/// Stops the streamer of this process that writes to the topic, if there is one.
pub(crate) fn stop_writing_to(address: &str, topic: &str) {
    let mut ours = Vec::new();
    locked(&RUNNING).retain(|(at, name, running)| {
        let alive = running.upgrade();
        if let Some(running) = alive.as_ref().filter(|_| at == address && name == topic) {
            ours.push(running.clone());
            return false;
        }
        alive.is_some()
    });
    for running in ours {
        running.stop();
    }
}

impl Streamer {
    /// A streamer to `topic`. With no more than that, every tweet of the source is streamed until
    /// the source ends or the streamer is stopped.
    pub fn new(kafka: &Kafka, topic: &str) -> Streamer {
        Streamer {
            kafka: kafka.clone(),
            topic: topic.into(),
            tracks: Vec::new(),
            languages: Vec::new(),
            time_span: None,
            save_to: None,
        }
    }

    /// What to stream: tweets that match one of these phrases, see [`Filter`].
    pub fn track<T: Into<String>>(mut self, phrases: impl IntoIterator<Item = T>) -> Self {
        self.tracks.extend(phrases.into_iter().map(Into::into));
        self
    }

    /// Only tweets in one of these languages (`en`, `de`, …).
    pub fn languages<T: Into<String>>(mut self, languages: impl IntoIterator<Item = T>) -> Self {
        self.languages.extend(languages.into_iter().map(Into::into));
        self
    }

    /// Stops after this long.
    pub fn time_span(mut self, time_span: Duration) -> Self {
        self.time_span = Some(time_span);
        self
    }

    /// Also appends every streamed tweet to a file, a JSON object a line, for
    /// [`Replay`](crate::source::Replay). Mind what your source allows you to keep.
    pub fn save_to(mut self, file: impl AsRef<Path>) -> Self {
        self.save_to = Some(file.as_ref().to_path_buf());
        self
    }

    /// Begins to stream and returns at once; with a live source, as soon as that is connected, or
    /// after 4 seconds, and then it goes on trying.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty track, language or time span, [`Error::NoTopic`] if the
    /// topic is not there, [`Error::File`] if the file cannot be opened, [`Error::Source`] if a
    /// live source refuses.
    pub fn start(self, source: impl Source) -> Result<Streaming> {
        self.start_boxed(source.boxed())
    }

    fn start_boxed(self, mut source: BoxedSource) -> Result<Streaming> {
        if self.time_span.is_some_and(|span| span.is_zero()) {
            return Err(Error::Invalid {
                what: "time span 0".into(),
                reason: "nothing can be streamed in no time",
                next: "Give one such as `Duration::from_secs(300)`, or none to stream until stopped.",
            });
        }
        let filter = Filter::new(self.tracks, self.languages)?;
        self.kafka.partitions(&self.topic)?;
        let saver = self.save_to.map(Saver::open).transpose()?;
        stop_writing_to(self.kafka.address(), &self.topic);
        let filter = runtime().block_on(source.begin(filter))?;

        let delivered = Arc::new(Deliveries {
            topic: self.topic.clone(),
            answers: Mutex::default(),
        });
        let producer = producer(self.kafka.client(), Reports(delivered.clone()))?;
        Kafka::acquaint(producer.client(), &self.topic);
        let run = self.kafka.run(&self.topic).map(|run| {
            OwnedHeaders::new().insert(Header {
                key: RUN_HEADER,
                value: Some(&run.to_header()),
            })
        });
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        let shared = Arc::new(Shared {
            kafka: self.kafka.clone(),
            topic: self.topic.clone(),
            connection: source.connection(),
            progress: Mutex::new(Progress {
                source: source.name(),
                started: Some(Instant::now()),
                time_span: self.time_span,
                ..Progress::default()
            }),
            delivered,
        });
        let running = Arc::new(Running {
            stop: stop.clone(),
            ended: ended.clone(),
        });
        let address = self.kafka.address().to_owned();
        locked(&RUNNING).push((address, self.topic, Arc::downgrade(&running)));
        let work = Work {
            source,
            filter,
            seen: Seen::default(),
            saver,
            producer,
            run,
            shared: shared.clone(),
            reports: report_topic(&shared.topic),
            message: Vec::new(),
        };
        runtime().spawn(async move {
            let _running = running;
            work.run(Ending::new(stopped, self.time_span)).await;
            end.send_replace(true);
        });
        Ok(Streaming {
            shared,
            stop,
            ended,
        })
    }
}

fn producer(mut config: ClientConfig, reports: Reports) -> Result<ThreadedProducer<Reports>> {
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        // Waiting 10 ms for company is not felt at low rates; at high ones it makes large batches,
        // each of which costs the broker more than its tweets do.
        .set("linger.ms", "10")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536")
        .set("message.timeout.ms", DELIVERY_LIMIT_MS)
        .set("message.max.bytes", "1100000")
        .create_with_context(reports)
        .map_err(|error| Error::Kafka {
            tried: "made a producer".into(),
            reason: error.to_string(),
            next: "Check the broker's address.",
        })
}

/// The end of a stream that does not come from its source.
struct Ending {
    stopped: watch::Receiver<bool>,
    over: Pin<Box<Sleep>>,
    come: Option<Ended>,
}

impl Ending {
    fn new(stopped: watch::Receiver<bool>, time_span: Option<Duration>) -> Ending {
        Ending {
            stopped,
            over: Box::pin(tokio::time::sleep(time_span.unwrap_or(Duration::MAX))),
            come: None,
        }
    }

    /// Waits for it; at once, if it has come before. The future may be dropped.
    async fn comes(&mut self) -> Ended {
        if let Some(why) = self.come {
            return why;
        }
        let why = tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stop| *stop) => Ended::Stopped,
            () = &mut self.over => Ended::TimeSpan,
        };
        *self.come.insert(why)
    }
}

/// What the streaming task owns.
struct Work {
    source: BoxedSource,
    filter: Filter,
    seen: Seen,
    saver: Option<Saver>,
    producer: ThreadedProducer<Reports>,
    run: Option<OwnedHeaders>,
    shared: Arc<Shared>,
    /// The topic for reports.
    reports: String,
    message: Vec<u8>,
}

impl Work {
    async fn run(mut self, mut ending: Ending) {
        let mut report = tokio::time::interval(REPORT);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count: u32 = 0;
        let ended = loop {
            let item = tokio::select! {
                biased;
                why = ending.comes() => break why,
                _ = report.tick() => {
                    self.report();
                    continue;
                }
                item = self.source.next() => item,
            };
            match item {
                None => break Ended::Source,
                Some(Err(error @ Error::Source { .. })) => {
                    self.progress(|progress| progress.last_trouble = Some(error.to_string()));
                    break Ended::Failed;
                }
                Some(Err(error)) => self.progress(|progress| {
                    progress.skipped += 1;
                    progress.last_trouble = Some(error.to_string());
                }),
                Some(Ok(tweet)) => {
                    if let Some(tweet) = self.choose(tweet) {
                        self.send(tweet, &mut ending).await;
                    }
                }
            }
            count = count.wrapping_add(1);
            if count.is_multiple_of(512) {
                // A source that is always ready would keep other tasks of this thread waiting.
                tokio::task::yield_now().await;
            }
        };
        self.finish(ended).await;
    }

    /// Tells the Listener's page how the stream goes. It matters less than a tweet: where the
    /// producer has no room, the next one will do.
    fn report(&self) {
        let now = (Instant::now(), self.shared.sent());
        self.progress(|progress| {
            progress.recent.push_back(now);
            if progress.recent.len() > RATE_REPORTS {
                progress.recent.pop_front();
            }
        });
        send_report(&self.producer, &self.shared, &self.reports);
    }

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut locked(&self.shared.progress));
    }

    fn choose(&mut self, mut tweet: Tweet) -> Option<Tweet> {
        let admitted = self.filter.admit(&mut tweet);
        let fresh = admitted && self.seen.insert(&tweet);
        self.progress(|progress| {
            progress.read += 1;
            progress.filtered += u64::from(!admitted);
            progress.duplicate += u64::from(admitted && !fresh);
            if fresh {
                progress.newest = progress.newest.max(Some(tweet.created_at));
            }
        });
        fresh.then_some(tweet)
    }

    /// Hands the tweet to the producer; waits while its queue is full.
    async fn send(&mut self, tweet: Tweet, ending: &mut Ending) {
        tweet.encode_into(&mut self.message);
        let mut record = BaseRecord::with_opaque_to(&self.shared.topic, 1)
            .key(&tweet.user)
            .payload(&self.message);
        if let Some(run) = &self.run {
            record = record.headers(run.clone());
        }
        let mut given_up = false;
        let refused = loop {
            match self.producer.send(record) {
                Ok(()) => break None,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if !given_up =>
                {
                    record = back;
                    // The end, while the broker does not answer: one more try, then the tweet is
                    // reported. Without this, the end would wait for the broker for ever.
                    let room = tokio::time::sleep(Duration::from_millis(2));
                    tokio::select! {
                        _ = ending.comes() => given_up = true,
                        () = room => {}
                    }
                }
                Err((error, _)) => break Some(error),
            }
        };
        if let Some(error) = refused {
            let reason = format!("a tweet was refused: {error}");
            self.shared.delivered.failed(&self.message, reason);
            return;
        }
        if let Some(saver) = self.saver.as_mut() {
            saver.save(&self.message).await;
        }
        let trouble = self.saver.as_ref().and_then(Saver::trouble);
        self.progress(|progress| {
            for topic in tweet.topics {
                *progress.topics.entry(topic).or_default() += 1;
            }
            if trouble.is_some() {
                progress.last_trouble = trouble;
            }
        });
    }

    async fn finish(self, ended: Ended) {
        let Work {
            source,
            producer,
            shared,
            saver,
            reports,
            ..
        } = self;
        // First of all the connection: the broker may take its time.
        drop(source);
        locked(&shared.progress).ended = Some((Instant::now(), ended));
        let last = shared.clone();
        let unanswered = tokio::task::spawn_blocking(move || {
            let trouble = saver.and_then(Saver::close);
            let flushed = producer.flush(FLUSH_LIMIT);
            // What is given up now is reported as failed, tweet by tweet.
            producer.purge(PurgeConfig::default().queue().inflight());
            let _ = producer.flush(Duration::from_secs(1));
            send_report(&producer, &last, &reports);
            let _ = producer.flush(Duration::from_millis(500));
            (trouble, flushed.err())
        });
        let (trouble, unanswered) = unanswered.await.unwrap_or_default();
        let mut progress = locked(&shared.progress);
        if trouble.is_some() {
            progress.last_trouble = trouble;
        }
        if let Some(error) = unanswered {
            progress.last_trouble = Some(format!(
                "the broker did not take all tweets within {} s after the end: {error}",
                FLUSH_LIMIT.as_secs()
            ));
        }
    }
}

fn away(reason: &str) -> String {
    format!(
        "Kafka is away: {reason} (`make kafka-status` says why, if `make kafka-start` started it)"
    )
}

fn send_report(producer: &ThreadedProducer<Reports>, shared: &Shared, topic: &str) {
    let report = Report::new(&shared.status()).encode();
    let record = BaseRecord::with_opaque_to(topic, 0);
    // An error is a full queue, see `report`.
    let _ = producer.send(record.key(REPORT_KEY).payload(&report));
}

impl Shared {
    fn sent(&self) -> u64 {
        locked(&self.delivered.answers).sent
    }

    fn status(&self) -> StreamerStatus {
        let (sent, failed, undelivered, reason, broker) = {
            let answers = locked(&self.delivered.answers);
            let broker = answers.broker.as_ref();
            let still = broker.filter(|(_, sent)| *sent == answers.sent);
            let unsaved = answers.undelivered.trouble().map(str::to_owned);
            (
                answers.sent,
                answers.failed,
                answers.undelivered.path().map(Path::to_path_buf),
                unsaved.or(answers.reason.clone()),
                still.map(|(reason, _)| away(reason)),
            )
        };
        let connection = self.connection.as_ref().map(ConnectionWatch::now);
        let progress = locked(&self.progress);
        let now = Instant::now();
        let end = progress.ended.map_or(now, |(at, _)| at);
        let elapsed = progress
            .started
            .map_or(Duration::ZERO, |started| end - started);
        let accepted = progress.read - progress.filtered - progress.duplicate;
        let (since, before) = match (progress.ended, progress.recent.front()) {
            (None, Some((at, sent))) => (now - *at, *sent),
            _ => (elapsed, 0),
        };
        StreamerStatus {
            source: progress.source.clone(),
            connection,
            ended: progress.ended.map(|(_, why)| why),
            elapsed,
            remaining: progress.time_span.map(|span| match progress.ended {
                Some(_) => Duration::ZERO,
                None => span.saturating_sub(elapsed),
            }),
            rate: (sent - before) as f64 / since.as_secs_f64().max(1e-3),
            read: progress.read,
            filtered: progress.filtered,
            duplicate: progress.duplicate,
            skipped: progress.skipped,
            sent,
            failed,
            undelivered,
            in_flight: accepted.saturating_sub(sent + failed),
            newest: progress.newest,
            topics: progress.topics.clone(),
            last_trouble: self
                .kafka
                .obituary()
                .or(broker.filter(|_| progress.ended.is_none()))
                .or(progress.last_trouble.clone())
                .or(reason),
        }
    }
}

impl Streaming {
    /// Where the stream stands.
    pub fn status(&self) -> StreamerStatus {
        self.shared.status()
    }

    /// Waits until the stream has ended and all of it is at the broker, and prints a line a second.
    pub fn wait(&self) -> StreamerStatus {
        while !self.wait_for(Duration::from_secs(1)) {
            println!("{}", self.status());
        }
        let status = self.status();
        println!("{status}");
        status
    }

    /// Waits for the end, for `limit` at most; true if it has come.
    pub fn wait_for(&self, limit: Duration) -> bool {
        let mut ended = self.ended.clone();
        let over = async {
            tokio::time::timeout(limit, ended.wait_for(|ended| *ended))
                .await
                .is_ok()
        };
        runtime().block_on(over)
    }

    /// Ends the stream, waits up to 10 seconds for the broker to take what is on the way, and says
    /// where that leaves it. What the broker has not taken by then counts as failed.
    pub fn stop(&self) -> StreamerStatus {
        self.stop.send_replace(true);
        while !self.wait_for(Duration::from_secs(1)) {}
        self.status()
    }

    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        self.status().evcxr_display();
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.stop();
    }
}
