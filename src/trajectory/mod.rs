//! The trajectory: the running sum of the metric, of all tweets and of each topic, with its history.
//!
//! Sums and counts are exact forever. The history of a line is bounded, see [`Line`].

mod line;

pub(crate) use line::{Excerpt, Line};

use crate::sentiment::{Polarity, Scored};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many points all lines together keep at most.
pub(crate) const MAX_POINTS: usize = 1_200;
/// How many topics have a line of their own. A message may name any number of topics.
pub(crate) const MAX_TOPICS: usize = 24;
/// The longest topic name that has a line of its own, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// The topic for all topics beyond [`MAX_TOPICS`] and [`MAX_NAME_BYTES`].
pub(crate) const OTHER_TOPICS: &str = "other topics";
/// How many of the newest tweets are kept for the table of the page.
pub(crate) const LATEST_TWEETS: usize = 20;
/// The time over which the rate is measured, in seconds.
const RATE_SECONDS: u64 = 5;

/// A number of tweets, and the sum of their metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sum {
    /// The number of tweets.
    pub counted: u64,
    /// The sum of their metric.
    pub sum: f64,
}

/// The running sums and their history.
#[derive(Debug)]
pub(crate) struct Trajectory {
    total: Line,
    topics: Vec<Line>,
    compounds: f64,
    polarities: [u64; 3],
    most_positive: Option<Arc<Scored>>,
    most_negative: Option<Arc<Scored>>,
    latest: VecDeque<(u64, Arc<Scored>)>,
    /// The number of tweets in each of the last seconds.
    seconds: VecDeque<(u64, u64)>,
    started: Instant,
}

impl Default for Trajectory {
    fn default() -> Self {
        Trajectory {
            total: Line::new("all topics"),
            topics: Vec::new(),
            compounds: 0.0,
            polarities: [0; 3],
            most_positive: None,
            most_negative: None,
            latest: VecDeque::with_capacity(LATEST_TWEETS + 1),
            seconds: VecDeque::new(),
            started: Instant::now(),
        }
    }
}

impl Trajectory {
    /// Adds a tweet to the sum of all tweets and to the sum of each of its topics.
    pub(crate) fn add(&mut self, scored: &Arc<Scored>) {
        self.total.add(scored, self.points_per_line());
        for topic in &scored.tweet.topics {
            let index = self.line_of(topic);
            let limit = self.points_per_line();
            self.topics[index].add(scored, limit);
        }
        let compound = scored.sentiment.compound;
        self.compounds += compound;
        self.polarities[match scored.sentiment.polarity() {
            Polarity::Positive => 0,
            Polarity::Neutral => 1,
            Polarity::Negative => 2,
        }] += 1;
        let beats = |most: &Option<Arc<Scored>>, wins: fn(f64, f64) -> bool| {
            most.as_ref()
                .is_none_or(|most| wins(compound, most.sentiment.compound))
        };
        if beats(&self.most_positive, |new, old| new > old) {
            self.most_positive = Some(scored.clone());
        }
        if beats(&self.most_negative, |new, old| new < old) {
            self.most_negative = Some(scored.clone());
        }
        self.latest
            .push_back((self.total().counted, scored.clone()));
        if self.latest.len() > LATEST_TWEETS {
            self.latest.pop_front();
        }
        self.count_second();
    }

    /// Counts a tweet for the rate.
    fn count_second(&mut self) {
        let second = self.started.elapsed().as_secs();
        match self.seconds.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => self.seconds.push_back((second, 1)),
        }
        while self
            .seconds
            .front()
            .is_some_and(|(first, _)| first + RATE_SECONDS < second)
        {
            self.seconds.pop_front();
        }
    }

    /// Returns how many points a line may have, so that all lines together have at most
    /// [`MAX_POINTS`]. A few lines do not get more than a quarter each.
    fn points_per_line(&self) -> usize {
        MAX_POINTS / (self.topics.len() + 1).max(4)
    }

    /// Returns the index of the topic's line. A new line takes its share of the points from the
    /// others, also from those that no longer grow.
    fn line_of(&mut self, topic: &str) -> usize {
        let find = |lines: &[Line], name: &str| lines.iter().position(|line| line.name() == name);
        if let Some(index) = find(&self.topics, topic) {
            return index;
        }
        let has_own = self.topics.len() < MAX_TOPICS && topic.len() <= MAX_NAME_BYTES;
        let name = if has_own { topic } else { OTHER_TOPICS };
        find(&self.topics, name).unwrap_or_else(|| {
            self.topics.push(Line::new(name));
            let limit = self.points_per_line();
            self.total.shrink(limit);
            self.topics.iter_mut().for_each(|line| line.shrink(limit));
            self.topics.len() - 1
        })
    }

    /// Returns the sum of all tweets.
    pub(crate) fn total(&self) -> Sum {
        self.total.sum()
    }

    /// Returns the sum of each topic, in the order in which the topics appeared. A tweet with several
    /// topics counts in each.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, Sum)> {
        self.topics.iter().map(|line| (line.name(), line.sum()))
    }

    /// Returns the line of all tweets, then the line of each topic.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        std::iter::once(&self.total).chain(&self.topics)
    }

    /// Returns the mean compound of all tweets, in \[-1, 1\]; 0 without tweets.
    pub(crate) fn mean(&self) -> f64 {
        self.compounds / self.total().counted.max(1) as f64
    }

    /// Returns how many tweets are positive, neutral and negative.
    pub(crate) fn polarities(&self) -> [u64; 3] {
        self.polarities
    }

    /// Returns the most positive and the most negative tweet, by compound. Of equal tweets, it
    /// returns the first.
    pub(crate) fn extremes(&self) -> Option<(&Scored, &Scored)> {
        self.most_positive
            .as_deref()
            .zip(self.most_negative.as_deref())
    }

    /// Returns the newest tweets with their numbers, from 1, oldest first.
    pub(crate) fn latest(&self) -> impl Iterator<Item = (u64, &Scored)> {
        self.latest
            .iter()
            .map(|(number, scored)| (*number, &**scored))
    }

    /// Returns the number of tweets per second over the last seconds.
    pub(crate) fn rate(&self) -> f64 {
        let now = self.started.elapsed();
        let window = now
            .min(Duration::from_secs(RATE_SECONDS))
            .as_secs_f64()
            .max(1.0);
        let since = now.as_secs().saturating_sub(RATE_SECONDS - 1);
        let counted = self.seconds.iter().filter(|(second, _)| *second >= since);
        counted.map(|(_, count)| *count as f64).sum::<f64>() / window
    }
}

/// Creates a scored tweet for tests.
#[cfg(test)]
pub(crate) fn scored(number: u64, metric: f64, topics: &[&str]) -> Arc<Scored> {
    use crate::sentiment::Sentiment;
    use crate::tweet::Tweet;

    let mut tweet =
        Tweet::decode(br#"{"text":"<script>\"\u0000 words words","user":"u"}"#).unwrap();
    tweet.created_at = jiff::Timestamp::from_millisecond(number as i64).unwrap();
    tweet.topics = topics.iter().map(|topic| topic.to_string()).collect();
    let sentiment = Sentiment {
        compound: metric.clamp(-1.0, 1.0),
        ..Sentiment::default()
    };
    Arc::new(Scored {
        tweet,
        sentiment,
        metric,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(counted: u64, sum: f64) -> Sum {
        Sum { counted, sum }
    }

    #[test]
    fn sums_are_exact_and_a_tweet_counts_in_each_of_its_topics() {
        let mut trajectory = Trajectory::default();
        trajectory.add(&scored(1, 0.5, &["a", "b"]));
        trajectory.add(&scored(2, -2.0, &["b"]));
        trajectory.add(&scored(3, 1.0, &[]));
        assert_eq!(trajectory.total(), sum(3, -0.5));
        let topics: Vec<_> = trajectory.topics().collect();
        assert_eq!(topics, [("a", sum(1, 0.5)), ("b", sum(2, -1.5))]);
        let (best, worst) = trajectory.extremes().unwrap();
        assert_eq!((best.metric, worst.metric), (1.0, -2.0));
    }

    #[test]
    fn a_long_topic_name_has_one_line() {
        let mut trajectory = Trajectory::default();
        let long = "x".repeat(60);
        let endless = "y".repeat(MAX_NAME_BYTES + 1);
        for number in 0..100 {
            trajectory.add(&scored(number, 1.0, &[&long, &endless]));
        }
        let topics: Vec<_> = trajectory.topics().collect();
        let expected = [
            (long.as_str(), sum(100, 100.0)),
            (OTHER_TOPICS, sum(100, 100.0)),
        ];
        assert_eq!(topics, expected);
    }

    #[test]
    fn topics_beyond_the_limit_share_a_line() {
        let mut trajectory = Trajectory::default();
        for number in 0..10_000 {
            trajectory.add(&scored(number, 1.0, &[&format!("topic {number}")]));
        }
        assert_eq!(trajectory.topics.len(), MAX_TOPICS + 1);
        let counted = trajectory.topics().map(|(_, sum)| sum.counted);
        assert_eq!(counted.sum::<u64>(), 10_000);
    }

    #[test]
    fn all_lines_together_keep_the_limit_also_when_lines_fall_silent() {
        let mut trajectory = Trajectory::default();
        for topic in 0..2 * MAX_TOPICS {
            let name = format!("topic {topic}");
            for number in 0..2_000 {
                trajectory.add(&scored(number, (number as f64).sin(), &[&name]));
                let points: usize = trajectory.lines().map(|line| line.points(0).len()).sum();
                assert!(points <= MAX_POINTS, "{points} points, {topic} topics");
            }
        }
    }
}
