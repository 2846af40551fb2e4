//! The streamer: pulls tweets from a source, filters and deduplicates them, and writes them to the
//! topic.
//!
//! One task does all of this, in order (`task.rs`). The queue of the producer is bounded. When the
//! broker is slower than the source, the queue is full, and the task waits before it pulls the next
//! tweet. This is backpressure: no tweet is lost. The producer is idempotent, so its retries write no
//! message twice. Each delivery report is counted (`delivery.rs`), and a tweet that could not be
//! delivered goes to a dead-letter file.

mod delivery;
mod progress;
mod rivals;
mod status;
mod task;

pub use crate::wire::{Counts, EndReason, StreamerStatus};

use crate::error::{Error, Result};
use crate::files::{LineFile, LineWriter};
use crate::filter::Filter;
use crate::kafka::{Topic, register_writer, stop_writer};
use crate::source::Source;
use crate::task::background::Background;
use crate::task::block_on;
use crate::task::interrupt::{self, Unfinished, Wait};
use crate::time::{progress_interval, time_limit};
use progress::StreamerState;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use task::StreamerTask;

/// If the disk writes none of the saved tweets for this long, it has failed.
const SAVE_LIMIT: Duration = Duration::from_secs(5);

/// The configuration of a stream. [`start`](Streamer::start) begins it.
#[derive(Debug)]
#[must_use = "a streamer does nothing until `start`"]
pub struct Streamer {
    topic: Topic,
    tracks: Vec<String>,
    languages: Vec<String>,
    drops_retweets: bool,
    time_span: Option<Duration>,
    save_to: Option<PathBuf>,
}

/// A running stream. Dropping it stops the stream, as [`stop`](Streaming::stop) does.
///
/// Calls that wait block the thread. Inside async code, run them with
/// [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html):
///
/// ```no_run
/// # use live_sentiment::prelude::*;
/// # async fn example(streaming: live_sentiment::streamer::Streaming) {
/// let status = tokio::task::spawn_blocking(move || streaming.wait()).await;
/// # }
/// ```
#[must_use = "dropping it stops the stream"]
pub struct Streaming {
    shared: Arc<StreamerState>,
    task: Arc<Background>,
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Streamer {
    /// Creates a streamer to `topic`. Unless configured further, it streams every tweet until the
    /// source ends or the streamer is stopped.
    pub fn new(topic: &Topic) -> Streamer {
        Streamer {
            topic: topic.clone(),
            tracks: Vec::new(),
            languages: Vec::new(),
            drops_retweets: false,
            time_span: None,
            save_to: None,
        }
    }

    /// Adds phrases to track: only tweets that match one of them are streamed, see [`Filter`].
    pub fn track<T: Into<String>>(mut self, phrases: impl IntoIterator<Item = T>) -> Self {
        self.tracks.extend(phrases.into_iter().map(Into::into));
        self
    }

    /// Adds languages (`en`, `de`, …): only tweets in one of them are streamed.
    pub fn languages<T: Into<String>>(mut self, languages: impl IntoIterator<Item = T>) -> Self {
        self.languages.extend(languages.into_iter().map(Into::into));
        self
    }

    /// Leaves out retweets: tweets whose text begins with `RT @name: `. They count as filtered.
    /// [`X`](crate::source::X) does not send them, so they cost nothing there.
    pub fn without_retweets(mut self) -> Self {
        self.drops_retweets = true;
        self
    }

    /// Ends the stream after this time. With `None` or more than 100 years, there is no limit.
    pub fn time_span(mut self, time_span: impl Into<Option<Duration>>) -> Self {
        self.time_span = time_span.into();
        self
    }

    /// Appends every streamed tweet to a file, one JSON object per line. [`Replay`](crate::source::Replay)
    /// can read the file. With `None`, nothing is saved. Check what the terms of the source allow you to
    /// keep.
    ///
    /// # Examples
    /// ```no_run
    /// use live_sentiment::prelude::*;
    ///
    /// # fn example(streamer: Streamer) -> Streamer {
    /// let file: Option<&str> = None;
    /// streamer.save_to("tweets.jsonl").save_to(file)
    /// # }
    /// ```
    pub fn save_to<'a, P>(mut self, file: impl Into<Option<&'a P>>) -> Self
    where
        P: AsRef<Path> + ?Sized + 'a,
    {
        self.save_to = file.into().map(|file| file.as_ref().to_path_buf());
        self
    }

    /// Starts the stream and returns at once. With a live source, this call returns when the source has
    /// connected, or after 4 seconds. In the second case, the source continues to try.
    ///
    /// If a streamer of this process already writes to the topic, it is stopped after the new source has
    /// connected. If this call fails, the earlier stream continues.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an empty track, language or
    /// time span, [`ErrorKind::NoTopic`](crate::ErrorKind::NoTopic) if the topic was deleted,
    /// [`ErrorKind::Kafka`](crate::ErrorKind::Kafka) if the broker does not answer,
    /// [`ErrorKind::File`](crate::ErrorKind::File) if the file cannot be opened,
    /// [`ErrorKind::Source`](crate::ErrorKind::Source) if the server of a live source rejects the stream,
    /// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted) after an interrupt.
    ///
    /// # Examples
    /// ```no_run
    /// use live_sentiment::prelude::*;
    ///
    /// # fn main() -> Result<()> {
    /// let topic = Kafka::start()?.create_topic("tweets", TopicConfig::default())?;
    /// let streaming = Streamer::new(&topic)
    ///     .track(["bitcoin", "ethereum"])
    ///     .languages(["en"])
    ///     .time_span(Duration::from_secs(60))
    ///     .start(Demo::default())?;
    /// streaming.wait();
    /// # Ok(())
    /// # }
    /// ```
    pub fn start(self, source: impl Source) -> Result<Streaming> {
        self.start_boxed(Box::new(source))
    }

    /// The part of `start` that is compiled once, not for each type of source.
    fn start_boxed(self, mut source: Box<dyn Source>) -> Result<Streaming> {
        let time_span = time_limit(self.time_span)?;
        let mut filter = Filter::new(self.tracks, self.languages)?;
        if self.drops_retweets {
            filter = filter.without_retweets();
        }
        let topic = self.topic.clone();
        let (task, shared) = interrupt::call("start the stream", move || {
            topic.client().partitions(topic.name())?;
            let saver = self.save_to.map(saver).transpose()?;
            block_on(source.begin(filter.clone()))?;
            let shared = Arc::new(StreamerState::new(&topic, &*source, time_span));
            let task = StreamerTask::new(&topic, source, filter, saver, shared.clone())?;
            Ok((task, shared))
        })?;
        // Point of no return: stop the earlier streamer of this topic.
        let (client, name) = (self.topic.client(), self.topic.name());
        stop_writer(client, name);
        let task = Background::spawn("streamer", |shutdown| task.run(shutdown, time_span));
        let task = Arc::new(task);
        register_writer(client, name, &task);
        Ok(Streaming { shared, task })
    }
}

/// Opens the file of streamed tweets, one JSON object per line. If the disk fails, the stream
/// continues.
fn saver(path: PathBuf) -> Result<LineWriter> {
    let failure = format!("tweets are no longer saved to {}", path.display());
    let file = LineFile::open(&path)
        .map_err(|source| Error::file("open the file for streamed tweets", &path, &source))?;
    Ok(LineWriter::new(failure, SAVE_LIMIT, || Ok(file)))
}

impl Streaming {
    /// Returns the current status.
    pub fn status(&self) -> StreamerStatus {
        let panic = self.task.panic();
        self.shared.status(panic.map(|error| error.to_string()))
    }

    /// Blocks until the stream has ended and Kafka has confirmed its tweets. Prints a line each
    /// second for the first ten seconds, then every ten seconds.
    ///
    /// An interrupt ends the wait, but not the stream. The call then returns the current status.
    pub fn wait(&self) -> StreamerStatus {
        let start = Instant::now();
        let mut wait = Wait::begin();
        loop {
            let waited = wait.block_on(progress_interval(start), self.task.ended());
            let status = self.status();
            // While the stream is ending, nothing is printed: its final line follows.
            if waited != Err(Unfinished::TimedOut) || status.ended.is_none() {
                println!("{status}");
            }
            match waited {
                Err(Unfinished::TimedOut) => {}
                Ok(()) => return status,
                Err(Unfinished::Interrupted) => {
                    println!(
                        "interrupted; the stream is still running: `streaming.stop()` ends it"
                    );
                    return status;
                }
            }
        }
    }

    /// Blocks until the stream has ended, the limit is reached, or an interrupt comes. Returns whether
    /// the stream has ended.
    pub fn wait_for(&self, limit: Duration) -> bool {
        interrupt::block_on(limit, self.task.ended()).is_ok()
    }

    /// Ends the stream, waits until the broker has confirmed the tweets in flight, and returns the final
    /// status. The wait ends when the broker has confirmed nothing for 10 seconds and does not throttle
    /// this client. A tweet without a confirmation counts as failed, and is in the dead-letter file. An
    /// interrupt ends the wait, but not the end of the stream.
    pub fn stop(&self) -> StreamerStatus {
        if !self.task.stop() {
            println!("interrupted; the stream is still ending: `streaming` shows its status");
        }
        self.status()
    }

    /// Displays a status card in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        self.status().evcxr_display();
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.task.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_reported() {
        let saver = saver("/dev/full".into()).unwrap();
        saver.add(b"one").unwrap();
        let error = saver.finish().unwrap();
        assert!(error.contains("no longer saved to /dev/full"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_rejected() {
        let error = saver("/no/such/folder/file".into())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("/no/such/folder/file"), "{error}");
    }
}
