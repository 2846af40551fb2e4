//! What the listener's handle waits for and prints: the newest tweets, how long none has come, and
//! what the streamer says of itself.

use crate::notebook::{shorten, thousands};
use crate::sentiment::Scored;
use crate::streamer::Report;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many tweets are kept for [`print_tweets`](super::Listening::print_tweets), and how much of
/// what they say, in bytes.
const PRINTABLE: usize = 1_000;
const PRINTABLE_TEXT: usize = 4 * 1024 * 1024;
/// A streamer that has not reported for so long is not counted on.
const SILENT_STREAMER: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Printable {
    tweets: VecDeque<Arc<Scored>>,
    text: usize,
    /// How many tweets have come.
    pub(super) number: u64,
    printed: u64,
    /// For how long nothing has come, as the reading thread saw it.
    pub(super) quiet: Duration,
    pub(super) streamer: HeardOf,
    pub(super) ended: bool,
}

impl Printable {
    pub(super) fn add(&mut self, scored: Arc<Scored>) {
        self.number += 1;
        self.text += scored.tweet.text.len();
        self.tweets.push_back(scored);
        while self.tweets.len() > PRINTABLE || self.text > PRINTABLE_TEXT {
            let oldest = self.tweets.pop_front();
            self.text -= oldest.map_or(0, |oldest| oldest.tweet.text.len());
        }
    }

    /// The oldest that was not taken yet.
    pub(super) fn take(&mut self) -> Option<Arc<Scored>> {
        let gone = self.number - self.tweets.len() as u64;
        let next = self.printed.max(gone);
        let scored = self.tweets.get((next - gone) as usize)?;
        self.printed = next + 1;
        Some(scored.clone())
    }

    /// Begins anew, as for a new run; who streams stays known.
    pub(super) fn begin_run(&mut self) {
        *self = Printable {
            streamer: self.streamer,
            ..Printable::default()
        };
    }
}

/// What is known of the streamer, by its reports.
#[derive(Clone, Copy, Default)]
pub(super) enum HeardOf {
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
    pub(super) fn hear(&mut self, report: &Report) {
        *self = match (*self, report.has_ended()) {
            (_, false) => HeardOf::Running(Instant::now()),
            (HeardOf::Nothing, true) => HeardOf::Nothing,
            (_, true) => HeardOf::Ended,
        };
    }

    /// Whether it still runs, as far as one can know: it reports every second.
    pub(super) fn runs(self) -> bool {
        matches!(self, HeardOf::Running(at) if at.elapsed() < SILENT_STREAMER)
    }
}

pub(super) fn line(scored: &Scored) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tweet, sentiment::Sentiment};

    fn scored(text: String) -> Arc<Scored> {
        let mut tweet = Tweet::decode(br#"{"text":""}"#).unwrap();
        tweet.text = text;
        Arc::new(Scored {
            tweet,
            sentiment: Sentiment::default(),
            metric: 0.0,
        })
    }

    #[test]
    fn each_tweet_is_taken_once_and_the_oldest_give_way() {
        let mut printable = Printable::default();
        assert!(printable.take().is_none());
        for number in 0..PRINTABLE + 2 {
            printable.add(scored(number.to_string()));
        }
        let mut taken = || Some(printable.take()?.tweet.text.clone());
        assert_eq!(taken().as_deref(), Some("2"));
        assert_eq!(taken().as_deref(), Some("3"));
        printable.add(scored("new".into()));
        let rest = std::iter::from_fn(|| printable.take()).count();
        assert_eq!(rest, PRINTABLE - 1);
    }

    #[test]
    fn large_tweets_are_not_kept_by_the_thousand() {
        let mut printable = Printable::default();
        for _ in 0..100 {
            printable.add(scored("x".repeat(PRINTABLE_TEXT / 4)));
        }
        assert_eq!(std::iter::from_fn(|| printable.take()).count(), 4);
    }
}
