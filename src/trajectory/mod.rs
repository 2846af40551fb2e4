//! The trajectory: the running sum of the metric, of all tweets and of each topic, with its history.
//!
//! Sums and counts include every tweet. The history is bounded, see `history.rs`.

mod history;
mod segment;
mod words;

pub(crate) use history::Stretch;
pub(crate) use segment::{Point, TEXT_LENGTH, USER_LENGTH};

use crate::sentiment::Scored;
use crate::time::Rate;
use history::History;
use serde::Serialize;
use std::cmp::Ordering::Equal;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// The maximum number of points of all lines together. A segment has two points of each line. If there are
/// many lines, they may have more points, see [`MIN_SEGMENTS`].
const MAX_POINTS: usize = 1_280;
/// The minimum number of segments, however many lines there are.
const MIN_SEGMENTS: usize = 48;
/// The number of topics that have their own line. A message may name any number of topics.
pub(crate) const MAX_TOPICS: usize = 24;
/// The longest topic name that has its own line, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// The name of the line that all topics beyond [`MAX_TOPICS`] and [`MAX_NAME_BYTES`] share.
pub(crate) const OTHER_TOPICS: &str = "other topics";
/// How many of the newest tweets are kept for the table of the page.
pub(crate) const LATEST_TWEETS: usize = 20;

/// A number of tweets, and the sum of their metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sum {
    /// The number of tweets.
    pub counted: u64,
    /// The sum of their metric.
    pub sum: f64,
}

/// The running sum of all tweets or of a topic.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The full name of the topic.
    pub(crate) name: String,
    pub(crate) sum: Sum,
    last: Option<Point>,
}

impl Line {
    fn new(name: &str) -> Line {
        Line {
            name: name.to_owned(),
            ..Line::default()
        }
    }
}

/// The running sums and their history.
#[derive(Debug)]
pub(crate) struct Trajectory {
    /// The line of all tweets, then the line of each topic.
    pub(crate) lines: Vec<Line>,
    pub(crate) history: History,
    compounds: f64,
    /// How many tweets are positive, neutral and negative: the order of `Polarity`.
    pub(crate) polarities: [u64; 3],
    /// The tweets with the highest and the lowest compound.
    extremes: Option<[Arc<Scored>; 2]>,
    latest: VecDeque<Arc<Scored>>,
    rate: Rate,
}

impl Default for Trajectory {
    fn default() -> Self {
        Trajectory {
            lines: vec![Line::new("all topics")],
            history: History::default(),
            compounds: 0.0,
            polarities: [0; 3],
            extremes: None,
            latest: VecDeque::new(),
            rate: Rate::default(),
        }
    }
}

impl Trajectory {
    /// Adds a tweet to the sum of all tweets, and once to the sum of each of its topics. `now` is the time of
    /// the whole batch: asking the clock for each tweet would cost as much as the sums.
    pub(crate) fn add(&mut self, scored: &Arc<Scored>, now: Instant) {
        let kept = segment::bounded(scored);
        self.history.add(scored, &kept);
        self.add_to(0, &kept);
        // Several topics of a tweet may share a line. The tweet counts once in that line.
        let mut is_counted = [false; MAX_TOPICS + 2];
        for topic in &scored.tweet.topics {
            let line = self.line_of(topic);
            if !std::mem::replace(&mut is_counted[line], true) {
                self.add_to(line, &kept);
            }
        }
        let now = self.rate.elapsed_at(now);
        self.history.close_segment(now, self.segments());
        self.rate.add_at(1, now);
        let compound = scored.sentiment.compound;
        self.compounds += compound;
        self.polarities[scored.sentiment.polarity() as usize] += 1;
        let [highest, lowest] = self
            .extremes
            .get_or_insert_with(|| [scored.clone(), scored.clone()]);
        if compound > highest.sentiment.compound {
            *highest = scored.clone();
        }
        if compound < lowest.sentiment.compound {
            *lowest = scored.clone();
        }
        self.latest.push_back(scored.clone());
        if self.latest.len() > LATEST_TWEETS {
            self.latest.pop_front();
        }
    }

    fn add_to(&mut self, index: usize, kept: &Arc<Scored>) {
        let line = &mut self.lines[index];
        line.sum.counted += 1;
        line.sum.sum += kept.metric;
        let point = Point {
            number: line.sum.counted,
            sum: line.sum.sum,
            scored: kept.clone(),
        };
        self.history.add_point(index, &point);
        line.last = Some(point);
    }

    /// Returns how many segments the history may have.
    fn segments(&self) -> usize {
        let per_line = MAX_POINTS / self.lines.len().max(4);
        (per_line / 2).max(MIN_SEGMENTS)
    }

    /// Returns the index of the topic's line, which is at most `MAX_TOPICS + 1`.
    fn line_of(&mut self, topic: &str) -> usize {
        // The first line is the line of all tweets.
        let find = |name: &str| (1..self.lines.len()).find(|line| self.lines[*line].name == name);
        let has_own = self.lines.len() <= MAX_TOPICS && topic.len() <= MAX_NAME_BYTES;
        let name = if has_own { topic } else { OTHER_TOPICS };
        if let Some(line) = find(topic).or_else(|| find(name)) {
            return line;
        }
        self.lines.push(Line::new(name));
        self.history.shrink(self.segments());
        self.lines.len() - 1
    }

    /// Returns the sum of all tweets.
    pub(crate) fn total(&self) -> Sum {
        self.lines[0].sum
    }

    /// Returns the sum of each topic, in the order in which the topics appeared. A tweet with several
    /// topics counts in each.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, Sum)> {
        let topics = self.lines[1..].iter();
        topics.map(|line| (line.name.as_str(), line.sum))
    }

    /// Returns the points of a line after the first `skip` segments of the history. The last point is the
    /// newest one.
    pub(crate) fn points(&self, line: usize, skip: usize) -> Vec<&Point> {
        let newest = self
            .history
            .points(line, 0)
            .map(|point| point.number)
            .last();
        let last = self.lines[line].last.as_ref();
        let last = last.filter(|last| Some(last.number) != newest);
        self.history.points(line, skip).chain(last).collect()
    }

    /// Returns the point of a line that is nearest to this time and sum.
    pub(crate) fn nearest(&self, line: usize, at: i64, sum: f64) -> Option<Point> {
        self.lines.get(line)?;
        let distance = |point: &Point| (point.at().abs_diff(at), (point.sum - sum).abs());
        let points = self.points(line, 0).into_iter();
        // A sum that is not a number is equally far from all points.
        let nearest =
            points.min_by(|a, b| distance(a).partial_cmp(&distance(b)).unwrap_or(Equal))?;
        Some(nearest.clone())
    }

    /// Returns the mean compound of all tweets, in \[-1, 1\]; 0 without tweets.
    pub(crate) fn mean(&self) -> f64 {
        self.compounds / self.total().counted.max(1) as f64
    }

    /// Returns the most positive and the most negative tweet, by compound. Of equal tweets, it
    /// returns the first.
    pub(crate) fn extremes(&self) -> Option<(&Scored, &Scored)> {
        let [highest, lowest] = self.extremes.as_ref()?;
        Some((highest, lowest))
    }

    /// Returns the newest tweets, oldest first.
    pub(crate) fn latest(&self) -> impl ExactSizeIterator<Item = &Scored> {
        self.latest.iter().map(|scored| &**scored)
    }

    /// Returns the number of tweets per second over the last five seconds.
    pub(crate) fn rate(&self) -> f64 {
        self.rate.per_second()
    }
}

/// Creates a scored tweet for tests.
#[cfg(test)]
pub(crate) fn scored(number: u64, metric: f64, topics: &[&str]) -> Arc<Scored> {
    use crate::sentiment::{ScoredWords, Sentiment};
    use crate::tweet::Tweet;

    let created_at = jiff::Timestamp::from_millisecond(number as i64).unwrap();
    let mut tweet = Tweet::new("u", "<script>\"\0 words words").created_at(created_at);
    tweet.topics = topics.iter().map(|topic| topic.to_string()).collect();
    let sentiment = Sentiment {
        compound: metric.clamp(-1.0, 1.0),
        ..Sentiment::default()
    };
    Arc::new(Scored {
        tweet,
        sentiment,
        metric,
        partition: 0,
        offset: number as i64,
        time_corrected: false,
        words: ScoredWords::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn sum(counted: u64, sum: f64) -> Sum {
        Sum { counted, sum }
    }

    #[test]
    fn sums_are_exact_and_a_tweet_counts_in_each_of_its_topics() {
        let mut trajectory = Trajectory::default();
        trajectory.add(&scored(1, 0.5, &["a", "b"]), Instant::now());
        trajectory.add(&scored(2, -2.0, &["b"]), Instant::now());
        trajectory.add(&scored(3, 1.0, &[]), Instant::now());
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
            trajectory.add(&scored(number, 1.0, &[&long, &endless]), Instant::now());
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
            trajectory.add(
                &scored(number, 1.0, &[&format!("topic {number}")]),
                Instant::now(),
            );
        }
        assert_eq!(trajectory.topics().count(), MAX_TOPICS + 1);
        let counted = trajectory.topics().map(|(_, sum)| sum.counted);
        assert_eq!(counted.sum::<u64>(), 10_000);
    }

    #[test]
    fn a_tweet_counts_once_in_a_line_however_often_it_names_the_topic() {
        let mut trajectory = Trajectory::default();
        let many: Vec<String> = (0..MAX_TOPICS)
            .map(|topic| format!("topic {topic}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        trajectory.add(&scored(1, 1.0, &many), Instant::now());
        let topics = ["topic 3", "new", "topic 3", "newer", OTHER_TOPICS];
        trajectory.add(&scored(2, 0.5, &topics), Instant::now());
        let topics: BTreeMap<_, _> = trajectory.topics().collect();
        assert_eq!(topics["topic 3"], sum(2, 1.5));
        assert_eq!(topics["topic 4"], sum(1, 1.0));
        assert_eq!(topics[OTHER_TOPICS], sum(1, 0.5));
    }

    /// Counts 20 tweets per second for an hour. `time` returns the time of a tweet from its arrival time,
    /// both in milliseconds. Returns how many of the last 1,200 tweets are points of the line.
    fn points_of_the_last_minute(time: impl Fn(i64) -> i64) -> usize {
        const TWEETS: i64 = 72_000;
        let (mut trajectory, start) = (Trajectory::default(), Instant::now());
        for number in 0..TWEETS {
            let at = 50 * number;
            let scored = scored(time(at) as u64, (number as f64).sin(), &[]);
            trajectory.add(&scored, start + Duration::from_millis(at as u64));
        }
        let points = trajectory.points(0, 0);
        let is_last = |point: &&Point| point.number > TWEETS as u64 - 1_200;
        points.into_iter().filter(is_last).count()
    }

    #[test]
    fn a_time_that_is_wrong_takes_no_points_from_the_last_minute() {
        let usual = points_of_the_last_minute(|at| at);
        assert!(usual > 100, "{usual}");
        const HOUR: i64 = 3_600_000;
        let one = |other: i64| move |at: i64| if at == 5_000 { other } else { at };
        for other in [253_402_000_000_000, HOUR / 2, -11_000_000_000_000] {
            let points = points_of_the_last_minute(one(other));
            assert!(
                points.abs_diff(usual) <= 4,
                "{points} instead of {usual}, one at {other}"
            );
        }
        for back in [HOUR / 6, 2 * HOUR, 24 * HOUR] {
            let points = points_of_the_last_minute(|at| if at > HOUR / 2 { at - back } else { at });
            assert!(
                points.abs_diff(usual) <= 4,
                "{points} instead of {usual}, {back} ms back"
            );
        }
    }

    #[test]
    fn all_lines_together_keep_the_limit_also_when_lines_fall_silent() {
        let mut trajectory = Trajectory::default();
        for topic in 0..2 * MAX_TOPICS {
            let name = format!("topic {topic}");
            for number in 0..2_000 {
                trajectory.add(
                    &scored(number, (number as f64).sin(), &[&name]),
                    Instant::now(),
                );
            }
            let lines = trajectory.lines.len();
            let points: usize = (0..lines)
                .map(|line| trajectory.points(line, 0).len())
                .sum();
            // A segment has two points of each line. The open segment and the newest point add three.
            let limit = MAX_POINTS.max(2 * MIN_SEGMENTS * lines) + 3 * lines;
            assert!(points <= limit, "{points} points, {lines} lines");
            for line in 0..lines {
                let points = trajectory.points(line, 0);
                let sum = trajectory.lines[line].sum.sum;
                assert_eq!(points.last().unwrap().sum, sum);
            }
        }
    }
}
