//! The Listener: reads the topic, scores each tweet, and keeps the trajectory.
//!
//! One thread reads (`reader.rs`), from the earliest message. It joins no consumer group: a lone
//! reader needs none, and starting anew from the earliest message *is* its recovery. When there is
//! a backlog, a batch is decoded and scored on all cores, and added up in the topic's order; of a
//! topic with several partitions, in the order in which the messages were written (`partition.rs`).
//! A tweet that is in the topic twice is counted once.

mod partition;
mod printable;
mod reader;
mod summary;

pub use summary::Summary;

use crate::figure::LiveFigure;
use crate::kafka::Kafka;
use crate::runtime::locked;
use crate::sentiment::{Analyzer, Scored, Sentiment, weighted};
use crate::trajectory::Trajectory;
use crate::{Error, Result, Tweet};
use printable::{HeardOf, Printable, line};
use reader::Reader;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a wait prints a line.
const LINE: Duration = Duration::from_secs(5);

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

/// What stands in the topic.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    /// Tweets, which the listener scores.
    Tweets,
    /// Tweets with their score, which a [`Scorer`](crate::scorer::Scorer) has written.
    Scores,
}

/// How a listener is set up; `start` begins it.
pub struct Listener {
    kafka: Kafka,
    topic: String,
    content: Content,
    from: StartFrom,
    analyzer: Analyzer,
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

impl Listener {
    /// A listener to `topic`: from the earliest message, with the original's metric
    /// ([`weighted`]), until stopped.
    pub fn new(kafka: &Kafka, topic: &str) -> Listener {
        Listener::to(kafka, topic, Content::Tweets)
    }

    /// A listener to a topic of scores, as a [`Scorer`](crate::scorer::Scorer) writes them: it
    /// takes each tweet's sentiment from there, and scores nothing itself.
    pub fn scored(kafka: &Kafka, topic: &str) -> Listener {
        Listener::to(kafka, topic, Content::Scores)
    }

    fn to(kafka: &Kafka, topic: &str, content: Content) -> Listener {
        Listener {
            kafka: kafka.clone(),
            topic: topic.into(),
            content,
            from: StartFrom::Earliest,
            analyzer: Analyzer::new(),
            metric: Arc::new(weighted),
            time_span: None,
            count: None,
        }
    }

    /// What a tweet adds to the trajectory. A value that is not finite, or a panic, makes the
    /// tweet a counted [`Skip`](crate::tweet::Skip).
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

    /// What scores the texts: an analyzer with words of your own, for example.
    pub fn analyzer(mut self, analyzer: &Analyzer) -> Self {
        self.analyzer = analyzer.clone();
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
        let reader = Reader::new(self, shared.clone(), figure);
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
            duplicate: trajectory.duplicate(),
            missed: trajectory.missed(),
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

    fn next_printable(&self) -> Option<Arc<Scored>> {
        let mut said = false;
        let begun = Instant::now();
        let mut printable = locked(&self.shared.printable);
        loop {
            if let Some(scored) = printable.take() {
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
