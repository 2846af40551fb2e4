//! The listener: reads the topic, scores each tweet, and maintains the trajectory.
//!
//! One thread reads the topic from its earliest message (`reader.rs`). It joins no consumer group: a
//! single reader needs none, and reading again from the earliest message *is* its recovery. A large
//! batch is decoded and scored on all cores (`scoring.rs`). Tweets are counted in the order of the
//! topic (`counting.rs`); several partitions are merged by the time at which their messages were
//! written (`merge.rs`). A tweet that is in the topic twice is counted once. A program that wants the
//! tweets themselves takes them from an iterator (`tweets.rs`).

mod consumer;
mod counting;
mod liveness;
mod merge;
mod obstacles;
mod printable;
mod progress;
mod reader;
mod scoring;
mod status;
mod tweets;

pub use crate::trajectory::Sum;
pub(crate) use progress::{Progress, Subscription};
pub use progress::{State, Uncounted};
pub use status::ListenerStatus;
pub use tweets::Tweets;

use crate::kafka::{Client, Kafka, RunId, Topic, check_name};
use crate::notebook::shorten;
use crate::sentiment::{Analyzer, Scored, Sentiment, weighted};
use crate::task::background::Background;
use crate::task::interrupt::{self, Unfinished, Wait};
use crate::task::locked;
use crate::time::{progress_interval, time_limit};
use crate::{Result, Tweet};
use consumer::{FetchWait, ReadConfig};
use counting::Counter;
use liveness::StreamerLiveness;
use printable::{Printable, message_line, tweet_line};
use progress::Shared;
use reader::{Limits, Reader};
use scoring::{BatchScorer, Content, Metric};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tweets::Output;

/// What a wait prints after an interrupt.
const INTERRUPTED: &str = "interrupted; the listener is still running: `listener.stop()` ends it";
/// The length of a listener's name, in characters.
const MAX_NAME: usize = 40;
/// How long `print_tweets` waits for a tweet before it prints a note.
const SILENT_WAIT: Duration = Duration::from_secs(2);

/// Where in the topic a listener starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// At the first message that the topic still has.
    #[default]
    Earliest,
    /// At the next message.
    Latest,
}

/// The configuration of a listener. [`start`](Listener::start) begins it.
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

/// A running listener. Dropping it stops the listener, as [`stop`](Listening::stop) does.
///
/// Calls that wait block the thread. Inside async code, run them with
/// [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html).
pub struct Listening {
    shared: Arc<Shared>,
    task: Background,
}

impl Listener {
    /// Creates a listener to a topic of tweets. Unless configured further, it starts at the earliest
    /// message, uses the metric of the original ([`weighted`]), and runs until stopped.
    pub fn new(kafka: &Kafka, topic: &str) -> Listener {
        Listener::with_content(kafka, topic, Content::Tweets)
    }

    /// Creates a listener to a topic of scores, which a [`Scorer`](crate::scorer::Scorer) writes. It
    /// takes the sentiment of each tweet from the message instead of scoring it.
    pub fn scored(kafka: &Kafka, topic: &str) -> Listener {
        Listener::with_content(kafka, topic, Content::Scores)
    }

    /// Creates a listener to the tweets of the run that `topic` has begun or joined: tweets of earlier
    /// runs are not counted, also not until a tweet of this run has come. Otherwise it is as
    /// [`new`](Listener::new).
    pub fn of(topic: &Topic) -> Listener {
        let listener = Listener::with_client(topic.client(), topic.name(), Content::Tweets);
        listener.run_of(topic)
    }

    fn with_content(kafka: &Kafka, topic: &str, content: Content) -> Listener {
        Listener::with_client(kafka.client(), topic, content)
    }

    fn with_client(client: &Arc<Client>, topic: &str, content: Content) -> Listener {
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

    /// Sets what a tweet adds to the running sum. A tweet for which the metric panics, or is not from
    /// -1e100 to 1e100, is skipped and counted by that reason. So the sums are always finite.
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

    /// Sets what scores the texts, such as an analyzer with additional words.
    pub fn analyzer(mut self, analyzer: &Analyzer) -> Self {
        self.analyzer = analyzer.clone();
        self
    }

    /// Sets where in the topic the listener starts.
    pub fn from(mut self, from: StartFrom) -> Self {
        self.from = from;
        self
    }

    /// Sets the earliest run to count: that of `topic`. It is for a topic of scores, whose tweets carry the
    /// runs of the topic of tweets.
    pub fn run_of(mut self, topic: &Topic) -> Self {
        self.run = Some(topic.run());
        self
    }

    /// Sets the name of the listener. Each line that it prints and its status card begin with it, to tell
    /// several listeners of one notebook apart. Its name in a figure is an argument of
    /// [`LiveFigure::show`](crate::figure::LiveFigure::show).
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(shorten(name, MAX_NAME));
        self
    }

    /// Ends the listener after this time. More than 100 years are no limit.
    pub fn time_span(mut self, time_span: Duration) -> Self {
        self.time_span = Some(time_span);
        self
    }

    /// Ends the listener after it has counted this many tweets.
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Starts the listener and returns at once. A topic that does not exist yet is waited for.
    /// [`LiveFigure::show`](crate::figure::LiveFigure::show) draws what the listener counts.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a time span of zero or an
    /// impossible name of the topic.
    pub fn start(self) -> Result<Listening> {
        self.start_with(Output::default())
    }

    /// Starts the listener, and returns its tweets as an iterator. The listener waits for those who
    /// take the tweets, see [`Tweets`].
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
        Ok(Tweets::new(self.start_with(output)?, queue))
    }

    fn start_with(self, output: Output) -> Result<Listening> {
        let time_span = time_limit(self.time_span)?;
        check_name(&self.topic)?;
        let shared = Arc::new(Shared::new(self.analyzer.clone(), self.name));
        let config = ReadConfig {
            client: self.client,
            topic: self.topic,
            from: self.from,
            fetch_wait: FetchWait::default(),
        };
        let limits = Limits {
            deadline: time_span.map(|span| Instant::now() + span),
            count: self.count.unwrap_or(u64::MAX),
        };
        let scoring = BatchScorer::new(self.content, self.analyzer, self.metric);
        let counter = Counter::new(self.run, output);
        let task_shared = shared.clone();
        let task = Background::spawn_blocking("listener", move |shutdown| {
            let end = EndGuard(task_shared.clone());
            Reader::new(config, limits, scoring, task_shared, counter, shutdown).run();
            drop(end);
        });
        Ok(Listening { shared, task })
    }
}

/// Sets the final state of the listener, even if its task panics.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.set_state(match std::thread::panicking() {
            true => State::Failed("the listener panicked".into()),
            false => State::Ended,
        });
    }
}

impl Listening {
    /// Returns the numbers so far.
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
    /// with the oldest of the last 1,000 tweets that was not printed yet, prints a note if it has to
    /// wait for long, and returns early if the listener ends, or after an interrupt.
    ///
    /// # Errors
    /// [`Error::Panicked`](crate::Error::Panicked) if the listener has panicked.
    pub fn print_tweets(&self, count: usize) -> Result<()> {
        self.print_next(count, tweet_line)
    }

    /// Prints where the next `count` tweets are in the topic: partition, offset, author and text. The
    /// author is the key of a message, which decides its partition. Otherwise it works as
    /// [`print_tweets`](Listening::print_tweets) does, and each tweet is printed by one of the two.
    ///
    /// # Errors
    /// [`Error::Panicked`](crate::Error::Panicked) if the listener has panicked.
    pub fn print_messages(&self, count: usize) -> Result<()> {
        self.print_next(count, message_line)
    }

    fn print_next(&self, count: usize, line: fn(&Scored) -> String) -> Result<()> {
        let mut wait = Wait::begin();
        let mut limit = SILENT_WAIT;
        let mut printed = 0;
        while printed < count {
            match wait.block_on(limit, self.find(Printable::take)) {
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
    async fn find<T>(&self, look: impl Fn(&mut Printable) -> Option<T>) -> Option<T> {
        loop {
            // Both before the look, which then sees everything up to the notification or the end.
            let news = self.shared.news.notified();
            let has_ended = self.task.has_ended();
            let found = look(&mut locked(&self.shared.printable));
            if found.is_some() || has_ended {
                return found;
            }
            tokio::select! {
                () = news => {}
                () = self.task.ended() => {}
            }
        }
    }

    /// Blocks until tweets have come and then none for `quiet`. Prints the numbers each second for the
    /// first ten seconds, then every ten seconds.
    ///
    /// A topic has no end, so silence tells a listener that the stream is over. Beyond that it uses
    /// the status that the streamer writes each second: it waits for a streamer that still runs,
    /// however quiet it is, and does not wait for tweets of a streamer that has ended without any.
    ///
    /// An interrupt ends the wait and not the listener; the returned numbers are then those so far.
    pub fn wait_until_quiet(&self, quiet: Duration) -> ListenerStatus {
        self.wait_until(|printable| {
            let is_over = match printable.streamer {
                StreamerLiveness::Ended => true,
                streamer => !streamer.is_running() && printable.received > 0,
            };
            is_over && printable.quiet >= quiet
        })
    }

    /// Blocks until the listener has ended by its time span or count. It prints the numbers and can
    /// be interrupted as [`wait_until_quiet`](Listening::wait_until_quiet).
    pub fn wait(&self) -> ListenerStatus {
        self.wait_until(|_| false)
    }

    fn wait_until(&self, is_done: impl Fn(&Printable) -> bool + Sync) -> ListenerStatus {
        let start = Instant::now();
        let mut wait = Wait::begin();
        loop {
            let done = self.find(|printable| is_done(printable).then_some(()));
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

    /// Blocks until the listener has ended, for `limit` at most, or until an interrupt. Returns
    /// whether it has ended.
    pub fn wait_for(&self, limit: Duration) -> bool {
        interrupt::block_on(limit, self.task.ended()).is_ok()
    }

    /// Ends the listener, which takes about 50 ms, and returns the final numbers.
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
