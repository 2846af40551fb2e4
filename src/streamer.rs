//! The Streamer: pulls a source, filters, removes duplicates, and writes to the topic.
//!
//! One task does all of it, in order. The producer's queue is bounded; when the broker is slower
//! than the source the queue is full, and the task waits before it pulls the next tweet. So a slow
//! or silent broker holds the source back and nothing is dropped. The producer is idempotent: its
//! own retries write no message twice.

use crate::kafka::{Kafka, RUN_HEADER};
use crate::notebook::{Card, thousands};
use crate::runtime::{locked, runtime};
use crate::source::{BoxedSource, Source};
use crate::{Error, Filter, Result, Tweet};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How many ids are remembered for finding duplicates; the oldest is forgotten first.
const REMEMBERED_IDS: usize = 1_000_000;
/// How long `stop` waits for the broker to take what is on the way.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);
/// After this long the producer gives a message up, and it counts as failed.
const DELIVERY_LIMIT_MS: &str = "300000";

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
    topic: String,
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
    /// Never taken by the producer.
    refused: u64,
    topics: BTreeMap<String, u64>,
    last_trouble: Option<String>,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The source had no more tweets.
    Source,
    /// The time span was over.
    TimeSpan,
    /// It was stopped.
    Stopped,
}

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamerStatus {
    /// What the source calls itself.
    pub source: String,
    /// Why it ended; `None` while it runs.
    pub ended: Option<Ended>,
    /// For how long it has run.
    pub elapsed: Duration,
    /// How long it still has; `None` without a time span.
    pub remaining: Option<Duration>,
    /// Tweets that came from the source.
    pub read: u64,
    /// Of those, the ones that match no track or no language.
    pub filtered: u64,
    /// Of those, the ones whose id was seen before.
    pub duplicate: u64,
    /// Items of the source that were no tweets.
    pub skipped: u64,
    /// Tweets that the broker has.
    pub sent: u64,
    /// Tweets that the broker did not take.
    pub failed: u64,
    /// Tweets on their way to the broker.
    pub in_flight: u64,
    /// How many were written to the broker of each topic; a tweet may have several.
    pub topics: BTreeMap<String, u64>,
    /// The newest thing that went wrong, if anything did.
    pub last_trouble: Option<String>,
}

impl StreamerStatus {
    /// Tweets a second over the whole run so far.
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }
}

/// The broker's answers, counted by the producer's own thread.
#[derive(Default)]
struct Deliveries {
    counts: Mutex<(u64, u64)>,
    reason: Mutex<Option<String>>,
}

/// Hands the producer's reports to the counters that outlive it.
struct Reports(Arc<Deliveries>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut counts = locked(&self.0.counts);
        match result {
            Ok(_) => counts.0 += 1,
            Err((error, _)) => {
                counts.1 += 1;
                *locked(&self.0.reason) = Some(error.to_string());
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

    /// Begins to stream and returns at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty track, language or time span, [`Error::NoTopic`] if the
    /// topic is not there, [`Error::File`] if the file cannot be opened.
    pub fn start(self, source: impl Source) -> Result<Streaming> {
        self.start_boxed(source.boxed())
    }

    fn start_boxed(self, source: BoxedSource) -> Result<Streaming> {
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

        let delivered = Arc::new(Deliveries::default());
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
            topic: self.topic.clone(),
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
            message: Vec::new(),
        };
        runtime().spawn(async move {
            let (kafka, _running) = (self.kafka, running);
            work.run(stopped, self.time_span).await;
            end.send_replace(true);
            drop(kafka);
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
        // Waiting 5 ms for company makes batches at high rates and is not felt at low ones.
        .set("linger.ms", "5")
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

/// What the streaming task owns.
struct Work {
    source: BoxedSource,
    filter: Filter,
    seen: Seen,
    saver: Option<Saver>,
    producer: ThreadedProducer<Reports>,
    run: Option<OwnedHeaders>,
    shared: Arc<Shared>,
    message: Vec<u8>,
}

impl Work {
    async fn run(mut self, mut stopped: watch::Receiver<bool>, time_span: Option<Duration>) {
        let over = tokio::time::sleep(time_span.unwrap_or(Duration::MAX));
        tokio::pin!(over);
        let mut count: u32 = 0;
        let ended = loop {
            let item = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break Ended::Stopped,
                () = &mut over => break Ended::TimeSpan,
                item = self.source.next() => item,
            };
            match item {
                None => break Ended::Source,
                Some(Err(error)) => self.progress(|progress| {
                    progress.skipped += 1;
                    progress.last_trouble = Some(error.to_string());
                }),
                Some(Ok(tweet)) => {
                    if let Some(tweet) = self.choose(tweet) {
                        self.send(tweet, &mut stopped).await;
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

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut locked(&self.shared.progress));
    }

    fn choose(&mut self, mut tweet: Tweet) -> Option<Tweet> {
        let admitted = self.filter.admit(&mut tweet);
        let fresh = admitted && self.seen.insert(&tweet.id);
        self.progress(|progress| {
            progress.read += 1;
            progress.filtered += u64::from(!admitted);
            progress.duplicate += u64::from(admitted && !fresh);
        });
        fresh.then_some(tweet)
    }

    /// Hands the tweet to the producer; waits while its queue is full.
    async fn send(&mut self, tweet: Tweet, stopped: &mut watch::Receiver<bool>) {
        tweet.encode_into(&mut self.message);
        let mut record = BaseRecord::to(&self.shared.topic)
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
                    // Stopped while the broker does not answer: one more try, then the tweet is
                    // reported. Without this, `stop` would wait for the broker for ever.
                    let room = tokio::time::sleep(Duration::from_millis(2));
                    tokio::select! {
                        _ = stopped.wait_for(|stop| *stop) => given_up = true,
                        () = room => {}
                    }
                }
                Err((error, _)) => break Some(error),
            }
        };
        if let Some(saver) = self.saver.as_mut().filter(|_| refused.is_none()) {
            saver.save(&self.message);
        }
        let trouble = self.saver.as_mut().and_then(Saver::trouble);
        self.progress(|progress| {
            match refused {
                None => {
                    for topic in tweet.topics {
                        *progress.topics.entry(topic).or_default() += 1;
                    }
                }
                Some(error) => {
                    progress.refused += 1;
                    progress.last_trouble = Some(format!("a tweet was refused: {error}"));
                }
            }
            if trouble.is_some() {
                progress.last_trouble = trouble;
            }
        });
    }

    async fn finish(self, ended: Ended) {
        let Work {
            producer,
            shared,
            saver,
            ..
        } = self;
        if let Some(trouble) = saver.and_then(Saver::close) {
            locked(&shared.progress).last_trouble = Some(trouble);
        }
        let unanswered = tokio::task::spawn_blocking(move || {
            let flushed = producer.flush(FLUSH_LIMIT);
            // What is given up now is reported as failed, tweet by tweet.
            producer.purge(PurgeConfig::default().queue().inflight());
            let _ = producer.flush(Duration::from_secs(1));
            flushed.err()
        });
        let unanswered = unanswered.await.ok().flatten();
        let mut progress = locked(&shared.progress);
        if let Some(error) = unanswered {
            progress.last_trouble = Some(format!(
                "the broker did not take all tweets within {} s after the end: {error}",
                FLUSH_LIMIT.as_secs()
            ));
        }
        progress.ended = Some((Instant::now(), ended));
    }
}

impl Streaming {
    /// Where the stream stands.
    pub fn status(&self) -> StreamerStatus {
        let (sent, undelivered) = *locked(&self.shared.delivered.counts);
        let reason = locked(&self.shared.delivered.reason).clone();
        let progress = locked(&self.shared.progress);
        let now = Instant::now();
        let end = progress.ended.map_or(now, |(at, _)| at);
        let elapsed = progress
            .started
            .map_or(Duration::ZERO, |started| end - started);
        let failed = progress.refused + undelivered;
        let accepted = progress.read - progress.filtered - progress.duplicate;
        StreamerStatus {
            source: progress.source.clone(),
            ended: progress.ended.map(|(_, why)| why),
            elapsed,
            remaining: progress.time_span.map(|span| match progress.ended {
                Some(_) => Duration::ZERO,
                None => span.saturating_sub(elapsed),
            }),
            read: progress.read,
            filtered: progress.filtered,
            duplicate: progress.duplicate,
            skipped: progress.skipped,
            sent,
            failed,
            in_flight: accepted.saturating_sub(sent + failed),
            topics: progress.topics.clone(),
            last_trouble: progress.last_trouble.clone().or(reason),
        }
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

impl StreamerStatus {
    /// The counts as JSON, as the example program ends with them.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "read": self.read,
            "filtered": self.filtered,
            "duplicate": self.duplicate,
            "skipped": self.skipped,
            "sent": self.sent,
            "failed": self.failed,
            "topics": self.topics,
        })
    }
}

impl std::fmt::Display for StreamerStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>4.0} s: streamed {}",
            self.elapsed.as_secs_f64(),
            thousands(self.sent)
        )?;
        for (topic, count) in &self.topics {
            write!(f, ", {topic} {}", thousands(*count))?;
        }
        write!(f, ", {:.1} a second", self.rate())?;
        if self.failed > 0 {
            write!(f, ", FAILED {}", thousands(self.failed))?;
        }
        match (self.ended, self.remaining) {
            (Some(Ended::Source), _) => write!(f, ", the source has ended"),
            (Some(Ended::TimeSpan), _) => write!(f, ", the time span is over"),
            (Some(Ended::Stopped), _) => write!(f, ", stopped"),
            (None, Some(remaining)) => write!(f, ", {:.0} s remaining", remaining.as_secs_f64()),
            (None, None) => Ok(()),
        }
    }
}

impl StreamerStatus {
    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        let state = match self.ended {
            None => "streaming",
            Some(Ended::Source) => "the source has ended",
            Some(Ended::TimeSpan) => "the time span is over",
            Some(Ended::Stopped) => "stopped",
        };
        let mut card = Card::new("Streamer")
            .row("state", state)
            .row("source", &self.source)
            .row("read", &thousands(self.read))
            .row("filtered out", &thousands(self.filtered))
            .row("duplicates", &thousands(self.duplicate))
            .row(
                "sent",
                &format!("{} ({:.1} a second)", thousands(self.sent), self.rate()),
            );
        for (topic, count) in &self.topics {
            card = card.row(&format!("… about {topic}"), &thousands(*count));
        }
        if self.skipped + self.failed > 0 {
            card = card
                .row("no tweets", &thousands(self.skipped))
                .row("failed", &thousands(self.failed));
        }
        if let Some(trouble) = &self.last_trouble {
            card = card.row("last trouble", trouble);
        }
        if let (None, Some(remaining)) = (self.ended, self.remaining) {
            card = card.row("remaining", &format!("{:.0} s", remaining.as_secs_f64()));
        }
        card.data(self.to_json()).show();
    }
}

/// The ids that were seen, by a 128-bit hash each: two different ids are taken for the same less
/// often than memory fails. A tweet without an id is always new.
#[derive(Default)]
struct Seen {
    hashers: [RandomState; 2],
    known: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Seen {
    fn insert(&mut self, id: &str) -> bool {
        if id.is_empty() {
            return true;
        }
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one(id));
        let hash = u128::from(high) << 64 | u128::from(low);
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// Appends to the file of streamed tweets; at the first failure it says so and writes no more.
struct Saver {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    trouble: Option<String>,
}

impl Saver {
    fn open(path: PathBuf) -> Result<Saver> {
        match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => Ok(Saver {
                path,
                file: Some(BufWriter::new(file)),
                trouble: None,
            }),
            Err(source) => Err(Error::File {
                tried: "opened the file for streamed tweets",
                path,
                source,
            }),
        }
    }

    fn save(&mut self, line: &[u8]) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(line).and_then(|()| file.write_all(b"\n"))
        {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &std::io::Error) {
        let path = self.path.display();
        self.trouble = Some(format!("tweets are no longer saved to {path}: {error}"));
        self.file = None;
    }

    fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    fn close(mut self) -> Option<String> {
        if let Some(Err(error)) = self.file.as_mut().map(Write::flush) {
            self.fail(&error);
        }
        self.trouble
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_and_the_oldest_is_forgotten() {
        let mut seen = Seen::default();
        assert!(seen.insert("a") && !seen.insert("a"));
        assert!(seen.insert("") && seen.insert(""));
        for number in 0..REMEMBERED_IDS {
            assert!(seen.insert(&number.to_string()));
        }
        assert_eq!(
            (seen.known.len(), seen.order.len()),
            (REMEMBERED_IDS, REMEMBERED_IDS)
        );
        assert!(seen.insert("a"), "it was the oldest");
    }
}
