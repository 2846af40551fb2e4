//! The state that the handle of a listener watches: recent tweets for `print_tweets`, and the conditions of
//! the `wait_` methods.

use crate::notebook::{shorten, thousands};
use crate::sentiment::Scored;
use crate::wire::StreamerStatus;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The maximum number of tweets that are kept for [`print_tweets`](super::Listening::print_tweets).
const MAX_TWEETS: usize = 1_000;
/// The maximum size of the texts of these tweets, in bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// A streamer writes its status every second. After this time without a status, it counts as gone.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Watched {
    tweets: VecDeque<Arc<Scored>>,
    bytes: usize,
    /// The number of tweets so far.
    pub(super) received: u64,
    printed: u64,
    /// The time since the last message, as the reading thread measured it.
    pub(super) quiet: Duration,
    pub(super) streamer: StreamerLiveness,
}

impl Watched {
    /// Adds the newest tweet. The oldest tweets are removed to make room for it.
    pub(super) fn add(&mut self, scored: Arc<Scored>) {
        self.received += 1;
        self.bytes += scored.tweet.text.len();
        self.tweets.push_back(scored);
        while self.tweets.len() > MAX_TWEETS || self.bytes > MAX_BYTES {
            let oldest = self.tweets.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.tweet.text.len());
        }
    }

    /// Takes the oldest tweet that has not been taken yet.
    pub(super) fn take(&mut self) -> Option<Arc<Scored>> {
        let removed = self.received - self.tweets.len() as u64;
        let next = self.printed.max(removed);
        let scored = self.tweets.get((next - removed) as usize)?;
        self.printed = next + 1;
        Some(scored.clone())
    }

    /// Starts again for a new run, and keeps what is known about the streamer.
    pub(super) fn start_run(&mut self) {
        *self = Watched {
            streamer: self.streamer,
            ..Watched::default()
        };
    }
}

/// Whether the streamer is running, according to its status messages.
#[derive(Clone, Copy, Default)]
pub(super) enum StreamerLiveness {
    /// No streamer has been running since the listener started. The final status of a stream that ended
    /// earlier says nothing about the next stream.
    #[default]
    Unknown,
    /// The streamer was running at this time.
    Running(Instant),
    /// The streamer was running, and has ended.
    Ended,
}

impl StreamerLiveness {
    pub(super) fn update(&mut self, status: &StreamerStatus) {
        *self = match (*self, status.ended.is_some()) {
            (_, false) => StreamerLiveness::Running(Instant::now()),
            (StreamerLiveness::Unknown, true) => StreamerLiveness::Unknown,
            (_, true) => StreamerLiveness::Ended,
        };
    }

    pub(super) fn is_running(self) -> bool {
        matches!(self, StreamerLiveness::Running(at) if at.elapsed() < STATUS_TIMEOUT)
    }
}

/// Formats a tweet as a line of [`print_tweets`](super::Listening::print_tweets).
pub(super) fn tweet_line(scored: &Scored) -> String {
    let tweet = &scored.tweet;
    format!(
        "@{:<18} {:>10} followers  {:+.2} → {:+6.2}  {}",
        shorten(&tweet.user, 18),
        tweet.followers.map_or("?".into(), thousands),
        scored.sentiment.compound,
        scored.metric,
        shorten(&tweet.text, 90)
    )
}

/// Formats a tweet as a line of [`print_messages`](super::Listening::print_messages).
pub(super) fn message_line(scored: &Scored) -> String {
    format!(
        "partition {}, offset {:>6}  @{:<18}  {}",
        scored.partition,
        thousands(scored.offset.unsigned_abs()),
        shorten(&scored.tweet.user, 18),
        shorten(&scored.tweet.text, 90)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::Sentiment;
    use crate::tweet::Tweet;
    use crate::wire::EndReason;

    fn scored(text: String) -> Arc<Scored> {
        Arc::new(Scored {
            tweet: Tweet::new("", text),
            sentiment: Sentiment::default(),
            metric: 0.0,
            partition: 0,
            offset: 0,
            time_corrected: false,
            words: Default::default(),
        })
    }

    #[test]
    fn a_streamer_runs_until_it_ends_or_is_silent() {
        let status = |ended| StreamerStatus {
            ended,
            ..StreamerStatus::default()
        };
        let mut streamer = StreamerLiveness::default();
        streamer.update(&status(Some(EndReason::Source)));
        assert!(matches!(streamer, StreamerLiveness::Unknown) && !streamer.is_running());
        streamer.update(&status(None));
        assert!(streamer.is_running());
        let silent = StreamerLiveness::Running(Instant::now() - 2 * STATUS_TIMEOUT);
        assert!(!silent.is_running());
        streamer.update(&status(Some(EndReason::Source)));
        assert!(matches!(streamer, StreamerLiveness::Ended) && !streamer.is_running());
    }

    #[test]
    fn each_tweet_is_taken_once_and_the_oldest_are_removed() {
        let mut watched = Watched::default();
        assert!(watched.take().is_none());
        for number in 0..MAX_TWEETS + 2 {
            watched.add(scored(number.to_string()));
        }
        let mut taken = || Some(watched.take()?.tweet.text.clone());
        assert_eq!(taken().as_deref(), Some("2"));
        assert_eq!(taken().as_deref(), Some("3"));
        watched.add(scored("new".into()));
        let rest = std::iter::from_fn(|| watched.take()).count();
        assert_eq!(rest, MAX_TWEETS - 1);

        let mut watched = Watched::default();
        for text in ["a", "b", "c"] {
            watched.add(scored(text.into()));
            assert_eq!(
                watched
                    .take()
                    .map(|scored| scored.tweet.text.clone())
                    .as_deref(),
                Some(text)
            );
        }
        assert!(watched.take().is_none());
    }

    #[test]
    fn a_line_shows_who_wrote_what_and_where_it_is_in_the_topic() {
        let mut scored = Arc::unwrap_or_clone(scored("to the moon".into()));
        scored.tweet.user = "ada".into();
        scored.tweet.followers = Some(12_345);
        scored.sentiment.compound = 0.5;
        scored.metric = -4.5;
        (scored.partition, scored.offset) = (2, 1_000);
        assert_eq!(
            tweet_line(&scored),
            "@ada                    12,345 followers  +0.50 →  -4.50  to the moon"
        );
        assert_eq!(
            message_line(&scored),
            "partition 2, offset  1,000  @ada                 to the moon"
        );
    }

    #[test]
    fn a_tweet_that_was_removed_before_it_was_taken_is_passed_over() {
        let mut watched = Watched::default();
        for number in 0..2 * MAX_TWEETS {
            watched.add(scored(number.to_string()));
            if number == 0 {
                assert!(watched.take().is_some());
            }
        }
        let taken = std::iter::from_fn(|| watched.take()).collect::<Vec<_>>();
        assert_eq!(taken.len(), MAX_TWEETS);
        assert_eq!(taken[0].tweet.text, MAX_TWEETS.to_string());
    }

    #[test]
    fn large_tweets_are_bounded_by_their_bytes() {
        let mut watched = Watched::default();
        for _ in 0..100 {
            watched.add(scored("x".repeat(MAX_BYTES / 4)));
        }
        assert_eq!(std::iter::from_fn(|| watched.take()).count(), 4);
    }
}
