//! The listener: reads the topic, scores each tweet, and maintains the trajectory.
//!
//! One thread reads the topic (`reader.rs`): it connects (`consumer.rs`), scores a batch on all cores
//! (`scoring.rs`), merges the partitions (`merge.rs`), counts (`counting.rs`), and records why it cannot
//! continue to read (`obstacles.rs`). The figure reads its progress (`progress.rs`), and a status shows
//! the progress as text (`status.rs`). The handle watches the thread (`watched.rs`), and an iterator
//! returns the tweets themselves (`tweets.rs`). Read the files in this order.
//!
//! # Why every tweet is counted once
//! 1. The streamer's producer is idempotent, so its retries write a tweet once. A streamer that was
//!    killed and restarted may write a tweet again, with the same id.
//! 2. The listener joins no consumer group and commits no offsets. It reads each partition from its
//!    first message ([`StartFrom::Earliest`]) in the order of the offsets, so a restarted listener
//!    counts the same tweets.
//! 3. A message that has been read is pending until it is counted. Counting the message and advancing the
//!    position in its partition is one step (`merge.rs`).
//! 4. A new connection drops the pending messages and continues at the last counted message. It reads
//!    that message again. If another message has its offset, the topic was deleted and created again, and
//!    counting starts from zero (`consumer.rs`).
//! 5. Each message carries the identifier of its [run](crate::kafka#runs). A message of a later run
//!    starts the count from zero. A message of an earlier run is not counted
//!    ([`Uncounted::earlier_runs`]). An identifier that the topic cannot have is ignored.
//! 6. A tweet whose id has been counted before is a duplicate and is not counted
//!    ([`Uncounted::duplicate`]).
//! 7. The sum, the trajectory and the iterator receive a tweet in one step, under one lock, so their
//!    numbers agree.
//!
//! The exceptions:
//! - A duplicate counts twice if it has no id, or if the listener no longer remembers its id. The listener
//!   remembers at least the last 900,000 ids.
//! - A message that the broker removed before it was read, by retention or compaction, is not counted
//!   ([`Uncounted::missed`]).
//! - A message that is not a tweet, or whose metric is invalid, is not counted
//!   ([`Uncounted::skipped`]).
//! - A listener that starts at [`StartFrom::Latest`] counts no earlier message.
//! - A message that cannot be read, such as a message of a damaged batch, is not counted until it can be
//!   read ([`State::Blocked`]).
//!
//! `docs/kafka.md` states the guarantee of the whole pipeline.

mod consumer;
mod counting;
mod merge;
mod obstacles;
mod progress;
mod reader;
mod scoring;
mod status;
mod tweets;
mod watched;

pub use crate::trajectory::Sum;
pub(crate) use progress::{Progress, Subscription};
pub use progress::{State, Uncounted};
pub use status::ListenerStatus;
pub use tweets::Tweets;

use crate::error::Result;
use crate::kafka::{Client, Kafka, Topic, check_name};
use crate::notebook::shorten;
use crate::sentiment::{Analyzer, Scored, Sentiment, weighted};
use crate::task::background::Background;
use crate::task::interrupt::{self, Unfinished, Wait};
use crate::task::locked;
use crate::time::{progress_interval, time_limit};
use crate::tweet::Tweet;
use crate::wire::RunId;
use consumer::{Config, EMBEDDED_FETCH_WAIT_MS};
use counting::Counter;
use progress::ListenerState;
use reader::TopicReader;
use scoring::{BatchScorer, Content, Metric};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tweets::Output;
use watched::{StreamerLiveness, Watched, message_line, tweet_line};

/// The line that an interrupted wait prints.
const INTERRUPTED: &str = "interrupted; the listener is still running: `listener.stop()` ends it";
/// The maximum length of a listener's name, in characters.
const MAX_NAME: usize = 40;
/// How long `print_tweets` waits for a tweet before it prints a note.
const SILENT_WAIT: Duration = Duration::from_secs(2);

/// Where in the topic a listener starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartFrom {
    /// At the first message that the topic still has.
    #[default]
    Earliest,
    /// At the next message.
    Latest,
}

/// The configuration of a listener. [`start`](Listener::start) begins it.
#[must_use = "a listener does nothing until `start` or `tweets`"]
pub struct Listener {
    client: Arc<Client>,
    topic: String,
    content: Content,
    from: StartFrom,
    analyzer: Analyzer,
    metric: Arc<Metric>,
    name: Option<String>,
    run: Option<RunId>,
    time_span: Option<Duration>,
    count: Option<u64>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("topic", &self.topic)
            .field("from", &self.from)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A running listener. Dropping it stops the listener, as [`stop`](Listening::stop) does.
///
/// Calls that wait block the thread. Inside async code, run them with
/// [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html).
#[must_use = "dropping it stops the listener"]
pub struct Listening {
    shared: Arc<ListenerState>,
    task: Background,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Creates a listener to a topic of tweets. Unless configured further, it starts at the earliest
    /// message, uses the metric of the original ([`weighted`]), and runs until stopped.
    pub fn new(kafka: &Kafka, topic: &str) -> Listener {
        Listener::with_content(kafka.client(), topic, Content::Tweets)
    }

    /// Creates a listener to a topic of scores, which a [`Scorer`](crate::scorer::Scorer) writes. It
    /// takes the sentiment of each tweet from the message instead of scoring it.
    pub fn scored(kafka: &Kafka, topic: &str) -> Listener {
        Listener::with_content(kafka.client(), topic, Content::Scores)
    }

    /// Creates a listener to the tweets of the run that `topic` has begun or joined. Tweets of earlier
    /// runs are never counted, not even before the first tweet of this run arrives. Otherwise, this is
    /// like [`new`](Listener::new).
    pub fn of(topic: &Topic) -> Listener {
        Listener::with_content(topic.client(), topic.name(), Content::Tweets).run_of(topic)
    }

    fn with_content(client: &Arc<Client>, topic: &str, content: Content) -> Listener {
        Listener {
            client: client.clone(),
            topic: topic.into(),
            content,
            from: StartFrom::Earliest,
            analyzer: Analyzer::new(),
            metric: Arc::new(weighted),
            name: None,
            run: None,
            time_span: None,
            count: None,
        }
    }

    /// Sets the metric, which returns what a tweet adds to the running sum. If it panics, or returns NaN
    /// or a number outside -1e100 to 1e100, the tweet is skipped, and [`Uncounted::skipped`] counts it.
    /// The sums are therefore always finite.
    ///
    /// # Examples
    /// ```no_run
    /// # use live_sentiment::prelude::*;
    /// # fn main() -> Result<()> {
    /// # let kafka = Kafka::connect()?;
    /// let listening = Listener::new(&kafka, "tweets")
    ///     .metric(|tweet, sentiment| {
    ///         let marks = tweet.text.matches('!').count() as f64;
    ///         sentiment.compound * (1.0 + marks)
    ///     })
    ///     .start()?;
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

    /// Sets the analyzer that scores the texts, such as one with additional words.
    pub fn analyzer(mut self, analyzer: &Analyzer) -> Self {
        self.analyzer = analyzer.clone();
        self
    }

    /// Sets where in the topic the listener starts.
    pub fn from(mut self, from: StartFrom) -> Self {
        self.from = from;
        self
    }

    /// Counts no run before the run of `topic`. Use this for a topic of scores, whose messages carry the
    /// runs of the topic of tweets.
    pub fn run_of(mut self, topic: &Topic) -> Self {
        self.run = Some(topic.run());
        self
    }

    /// Sets the name of the listener. The lines that it prints and its status card begin with the name,
    /// to distinguish the listeners of a notebook. The name in a figure is an argument of
    /// [`LiveFigure::show`](crate::figure::LiveFigure::show).
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(shorten(name, MAX_NAME));
        self
    }

    /// Ends the listener after this time. With `None` or more than 100 years, there is no limit.
    pub fn time_span(mut self, time_span: impl Into<Option<Duration>>) -> Self {
        self.time_span = time_span.into();
        self
    }

    /// Ends the listener after it has counted this many tweets. With `None`, there is no limit.
    pub fn count(mut self, count: impl Into<Option<u64>>) -> Self {
        self.count = count.into();
        self
    }

    /// Starts the listener and returns at once. The listener waits for a topic that does not exist yet.
    /// [`LiveFigure::show`](crate::figure::LiveFigure::show) draws the numbers of the listener.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a time span of zero or an
    /// invalid topic name.
    pub fn start(self) -> Result<Listening> {
        self.start_with(Output::default())
    }

    /// Starts the listener, and returns its tweets as an iterator. The listener pauses while the iterator
    /// is not read, see [`Tweets`].
    ///
    /// # Errors
    /// Those of [`start`](Listener::start).
    ///
    /// # Examples
    /// ```no_run
    /// use live_sentiment::prelude::*;
    ///
    /// # fn main() -> Result<()> {
    /// let kafka = Kafka::connect()?;
    /// for scored in Listener::new(&kafka, "tweets").count(1_000).tweets()? {
    ///     println!("{:+.2} {}", scored.sentiment.compound, scored.tweet.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn tweets(self) -> Result<Tweets> {
        let (output, queue) = Output::queue();
        let listening = self.start_with(output)?;
        Ok(Tweets { listening, queue })
    }

    fn start_with(self, output: Output) -> Result<Listening> {
        let time_span = time_limit(self.time_span)?;
        check_name(&self.topic)?;
        let shared = Arc::new(ListenerState {
            analyzer: self.analyzer.clone(),
            name: self.name,
            ..ListenerState::default()
        });
        let config = Config {
            client: self.client,
            topic: self.topic,
            from: self.from,
            deadline: time_span.map(|span| Instant::now() + span),
            count: self.count.unwrap_or(u64::MAX),
            embedded_fetch_wait_ms: EMBEDDED_FETCH_WAIT_MS,
        };
        let scoring = BatchScorer::new(self.content, self.analyzer, self.metric);
        let counter = Counter::new(self.run, output);
        let task_shared = shared.clone();
        let task = Background::spawn_blocking("listener", move |shutdown| {
            let reader = TopicReader::new(config, scoring, task_shared.clone(), counter, shutdown);
            let outcome = catch_unwind(AssertUnwindSafe(|| reader.run()));
            task_shared.set_state(match &outcome {
                Ok(()) => State::Ended,
                Err(_) => State::Failed("the listener panicked".into()),
            });
            outcome.unwrap_or_else(|panic| resume_unwind(panic));
        });
        Ok(Listening { shared, task })
    }
}

impl Listening {
    /// Returns the current status.
    pub fn status(&self) -> ListenerStatus {
        let mut status = ListenerStatus::of(&locked(&self.shared.progress));
        status.name = self.shared.name.clone();
        if let Some(panic) = self.task.panic() {
            status.state = State::Failed(panic.to_string());
        }
        status
    }

    /// Subscribes to the progress of the listener, for a figure.
    pub(crate) fn subscribe(&self) -> Subscription {
        self.shared.subscribe()
    }

    /// Prints the next `count` tweets as they come: author, followers, sentiment and text. It starts
    /// with the oldest of the last 1,000 tweets that has not been printed yet. If no tweet comes for 2
    /// seconds, it prints a note. It returns early if the listener ends or an interrupt comes.
    ///
    /// # Errors
    /// [`ErrorKind::Panicked`](crate::ErrorKind::Panicked) if the listener has panicked.
    pub fn print_tweets(&self, count: usize) -> Result<()> {
        self.print_next(count, tweet_line)
    }

    /// Prints where the next `count` tweets are in the topic: partition, offset, author and text. The
    /// author is the key of a message, and the key determines the partition. Otherwise, it works like
    /// [`print_tweets`](Listening::print_tweets). A tweet that one of the two methods has printed is not
    /// printed by the other.
    ///
    /// # Errors
    /// [`ErrorKind::Panicked`](crate::ErrorKind::Panicked) if the listener has panicked.
    pub fn print_messages(&self, count: usize) -> Result<()> {
        self.print_next(count, message_line)
    }

    fn print_next(&self, count: usize, line: fn(&Scored) -> String) -> Result<()> {
        let mut wait = Wait::begin();
        let mut limit = SILENT_WAIT;
        let mut printed = 0;
        while printed < count {
            match wait.block_on(limit, self.find(Watched::take)) {
                Ok(Some(scored)) => {
                    self.print(&line(&scored));
                    printed += 1;
                    limit = SILENT_WAIT;
                }
                Ok(None) => return self.task.panic().map_or(Ok(()), Err),
                Err(Unfinished::TimedOut) => {
                    println!("waiting for tweets: {}", self.status());
                    limit = Duration::MAX;
                }
                Err(Unfinished::Interrupted) => {
                    self.print(INTERRUPTED);
                    break;
                }
            }
        }
        Ok(())
    }

    fn print(&self, line: &str) {
        match &self.shared.name {
            Some(name) => println!("{name}: {line}"),
            None => println!("{line}"),
        }
    }

    /// Waits until `look` finds something, or returns `None` when the listener has ended.
    async fn find<T>(&self, look: impl Fn(&mut Watched) -> Option<T>) -> Option<T> {
        loop {
            // These two must come before `look`, which then sees everything up to the notification or
            // the end.
            let news = self.shared.news.notified();
            let has_ended = self.task.has_ended();
            let found = look(&mut locked(&self.shared.watched));
            if found.is_some() || has_ended {
                return found;
            }
            tokio::select! {
                () = news => {}
                () = self.task.ended() => {}
            }
        }
    }

    /// Blocks until tweets have come and then none has come for `quiet`, or until the listener has ended.
    /// Prints the numbers each second for the first ten seconds, then every ten seconds.
    ///
    /// A topic has no end, so silence tells a listener that the stream is over. The listener also uses
    /// the status that the streamer writes each second. While the streamer is running, this call waits,
    /// however quiet the topic is. If the streamer has ended without a tweet, it does not wait for one.
    ///
    /// An interrupt ends the wait, but not the listener. The call then returns the current status.
    pub fn wait_until_quiet(&self, quiet: Duration) -> ListenerStatus {
        self.wait_until(|watched| {
            let is_over = match watched.streamer {
                StreamerLiveness::Ended => true,
                streamer => !streamer.is_running() && watched.received > 0,
            };
            is_over && watched.quiet >= quiet
        })
    }

    /// Blocks until the listener has ended by its time span or count. Like
    /// [`wait_until_quiet`](Listening::wait_until_quiet), it prints the numbers and can be interrupted.
    pub fn wait(&self) -> ListenerStatus {
        self.wait_until(|_| false)
    }

    fn wait_until(&self, is_done: impl Fn(&Watched) -> bool + Sync) -> ListenerStatus {
        let start = Instant::now();
        let mut wait = Wait::begin();
        loop {
            let done = self.find(|watched| is_done(watched).then_some(()));
            match wait.block_on(progress_interval(start), done) {
                Ok(_) => break,
                Err(Unfinished::TimedOut) => println!("{}", self.status()),
                Err(Unfinished::Interrupted) => {
                    self.print(INTERRUPTED);
                    break;
                }
            }
        }
        self.status()
    }

    /// Blocks until the listener has ended, the limit is reached, or an interrupt comes. Returns
    /// whether the listener has ended.
    pub fn wait_for(&self, limit: Duration) -> bool {
        interrupt::block_on(limit, self.task.ended()).is_ok()
    }

    /// Ends the listener, which takes about 50 ms, and returns the final status.
    pub fn stop(&self) -> ListenerStatus {
        self.task.stop();
        self.status()
    }

    /// Displays a status card in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        self.status().evcxr_display();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.stop();
    }
}
