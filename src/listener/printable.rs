//! What the listener's handle waits for and prints: the newest tweets, how long none has come, and
//! what the streamer says of itself.

use crate::notebook::{shorten, thousands};
use crate::sentiment::Scored;
use crate::streamer::Report;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many tweets are kept for [`print_tweets`](super::Listening::print_tweets).
const PRINTABLE: usize = 1_000;
/// A streamer that has not reported for so long is not counted on.
const SILENT_STREAMER: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Printable {
    tweets: VecDeque<(u64, Scored)>,
    /// How many tweets have come.
    pub(super) number: u64,
    printed: u64,
    /// For how long nothing has come, as the reading thread saw it.
    pub(super) quiet: Duration,
    pub(super) streamer: HeardOf,
    pub(super) ended: bool,
}

impl Printable {
    pub(super) fn add(&mut self, scored: Scored) {
        self.number += 1;
        self.tweets.push_back((self.number, scored));
        if self.tweets.len() > PRINTABLE {
            self.tweets.pop_front();
        }
    }

    /// The oldest that was not taken yet.
    pub(super) fn take(&mut self) -> Option<Scored> {
        let next = self
            .tweets
            .iter()
            .find(|(number, _)| *number > self.printed);
        let (number, scored) = next.cloned()?;
        self.printed = number;
        Some(scored)
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
