//! The trajectory: the running sum of the metric, overall and per topic, with its past.
//!
//! Sums and counts are exact for ever. Of the past, a few hundred points a line are kept, however
//! many tweets came: a line is cut into buckets of equally many tweets, a bucket keeps its lowest
//! and its highest point, and when the line is full, neighbouring buckets become one of twice the
//! size. So peaks are never smoothed away, the last value is exact, and memory does not grow.

use crate::notebook::{escape, shorten, thousands};
use crate::sentiment::{Polarity, Scored};
use crate::streamer::Report;
use crate::tweet::Skip;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many points all lines together keep, at most.
pub const MAX_POINTS: usize = 1_200;
/// How many topics get a line of their own; a message may name any number.
pub const MAX_TOPICS: usize = 24;
/// The topic under which those beyond [`MAX_TOPICS`] are counted.
pub const OTHER_TOPICS: &str = "other topics";
/// How many of the newest tweets are kept for the page's table.
const LATEST: usize = 20;
/// Over how long the rate is taken.
const RATE_SECONDS: u64 = 5;

/// How many tweets, and what they add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sum {
    /// How many tweets were heard.
    pub heard: u64,
    /// The sum of their metric.
    pub sum: f64,
}

/// What the listener is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "is", content = "why", rename_all = "lowercase")]
pub enum State {
    /// Looking for the broker or the topic; why it is not there yet.
    Waiting(String),
    /// Reading.
    #[default]
    Connected,
    /// Lost the broker; what happened.
    Reconnecting(String),
    /// Done: stopped, or at its time span's or count's end.
    Ended,
}

/// The running sums, their past, and what else the figure shows.
#[derive(Debug)]
pub struct Trajectory {
    total: Line,
    topics: Vec<Line>,
    compounds: f64,
    shares: [u64; 3],
    skipped: BTreeMap<Skip, u64>,
    duplicate: u64,
    missed: u64,
    earlier_runs: u64,
    most_positive: Option<Arc<Scored>>,
    most_negative: Option<Arc<Scored>>,
    latest: VecDeque<(u64, Arc<Scored>)>,
    seconds: VecDeque<(u64, u64)>,
    born: Instant,
    state: State,
    /// What the streamer said last of itself.
    streamer: Option<Report>,
    run: u64,
}

#[derive(Debug)]
struct Line {
    name: String,
    sum: Sum,
    closed: Vec<Point>,
    bucket: Bucket<Arc<Scored>>,
    last: Option<Point<Arc<Scored>>>,
    stride: u64,
    /// Changes whenever closed points do.
    generation: u64,
}

/// A point of a line: the sum after a tweet. In an open bucket it holds the tweet itself, because
/// most of them give way to the next one; those that stay keep what is shown of it.
#[derive(Clone, Debug)]
pub(crate) struct Point<T = Shown> {
    /// Of which tweet of the line, from 1.
    number: u64,
    pub(crate) sum: f64,
    pub(crate) tweet: T,
}

/// What a point shows of its tweet.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// When it was sent, in milliseconds since 1970.
    pub(crate) at: i64,
    /// What stands beside the pointer, as HTML.
    pub(crate) hover: Arc<str>,
}

impl Point<Arc<Scored>> {
    fn shown(&self) -> Point {
        Point {
            number: self.number,
            sum: self.sum,
            tweet: Shown {
                at: self.tweet.tweet.created_at.as_millisecond(),
                hover: hover(&self.tweet).into(),
            },
        }
    }
}

#[derive(Debug)]
struct Bucket<T> {
    count: u64,
    low: Option<Point<T>>,
    high: Option<Point<T>>,
}

impl<T> Default for Bucket<T> {
    fn default() -> Self {
        Bucket {
            count: 0,
            low: None,
            high: None,
        }
    }
}

impl<T: Clone> Bucket<T> {
    fn add(&mut self, point: &Point<T>) {
        if self.low.as_ref().is_none_or(|low| point.sum < low.sum) {
            self.low = Some(point.clone());
        }
        if self.high.as_ref().is_none_or(|high| point.sum > high.sum) {
            self.high = Some(point.clone());
        }
        self.count += 1;
    }

    /// The lowest and the highest point in the order in which they came; one if they are the same.
    fn extremes(&self) -> impl Iterator<Item = &Point<T>> {
        let (first, second) = match (&self.low, &self.high) {
            (Some(low), Some(high)) if low.number < high.number => (Some(low), Some(high)),
            (Some(low), Some(high)) if high.number < low.number => (Some(high), Some(low)),
            (low, _) => (low.as_ref(), None),
        };
        first.into_iter().chain(second)
    }
}

impl Line {
    fn new(name: &str) -> Line {
        Line {
            name: name.to_owned(),
            sum: Sum::default(),
            closed: Vec::new(),
            bucket: Bucket::default(),
            last: None,
            stride: 1,
            generation: 0,
        }
    }

    fn add(&mut self, scored: &Arc<Scored>, limit: usize) {
        self.sum.heard += 1;
        self.sum.sum += scored.metric;
        let point = Point {
            number: self.sum.heard,
            sum: self.sum.sum,
            tweet: scored.clone(),
        };
        self.bucket.add(&point);
        self.last = Some(point);
        if self.bucket.count == self.stride {
            let bucket = std::mem::take(&mut self.bucket);
            self.closed.extend(bucket.extremes().map(Point::shown));
            // The open bucket adds three points at most.
            while self.closed.len() + 3 > limit {
                self.halve();
            }
        }
    }

    /// Makes one bucket of each two, so that half of the points go and the extremes stay.
    fn halve(&mut self) {
        let before = std::mem::take(&mut self.closed);
        for four in before.chunks(4) {
            let mut bucket = Bucket::default();
            four.iter().for_each(|point| bucket.add(point));
            self.closed.extend(bucket.extremes().cloned());
        }
        self.stride *= 2;
        self.generation += 1;
    }

    /// The points from the `keep`th on, the open bucket's and the last one among them.
    fn points(&self, keep: usize) -> Vec<Point> {
        let mut points: Vec<Point> = self.closed.iter().skip(keep).cloned().collect();
        points.extend(self.bucket.extremes().map(Point::shown));
        let newest = points.last().or(self.closed.last());
        let newest = newest.map(|point| point.number);
        let last = self.last.as_ref();
        points.extend(
            last.filter(|last| Some(last.number) != newest)
                .map(Point::shown),
        );
        points
    }
}

/// Where a page stands: what it has been sent of each line, and of the tweets.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    run: u64,
    lines: Vec<(u64, usize)>,
    tweets: u64,
}

/// What a page needs to become up to date. The first one brings everything so far.
#[derive(Debug, Serialize)]
pub struct Update {
    state: State,
    streamer: Option<Report>,
    /// Another run of the topic, or another listener: the lines begin anew.
    run: u64,
    heard: u64,
    sum: f64,
    rate: f64,
    /// How many were positive, neutral and negative.
    shares: [u64; 3],
    skipped: BTreeMap<&'static str, u64>,
    duplicate: u64,
    missed: u64,
    lines: Vec<LineUpdate>,
    latest: Vec<LatestUpdate>,
}

#[derive(Debug, Serialize)]
struct LineUpdate {
    name: String,
    heard: u64,
    /// How many points, from the first, stay as they are; those below come after them.
    keep: usize,
    x: Vec<i64>,
    y: Vec<f64>,
    text: Vec<Arc<str>>,
}

/// A row of the page's table: the part of a tweet that it shows, cut to size.
#[derive(Debug, Serialize)]
struct LatestUpdate {
    number: u64,
    user: String,
    followers: Option<u64>,
    compound: f64,
    text: String,
}

impl Trajectory {
    pub(crate) fn new(run: u64) -> Trajectory {
        Trajectory {
            total: Line::new("all topics"),
            topics: Vec::new(),
            compounds: 0.0,
            shares: [0; 3],
            skipped: BTreeMap::new(),
            duplicate: 0,
            missed: 0,
            earlier_runs: 0,
            most_positive: None,
            most_negative: None,
            latest: VecDeque::with_capacity(LATEST + 1),
            seconds: VecDeque::new(),
            born: Instant::now(),
            state: State::default(),
            streamer: None,
            run,
        }
    }

    /// Begins anew, as for a new run of the topic; what was counted belongs to an earlier one.
    pub(crate) fn begin_run(&mut self) {
        let earlier = self.earlier_runs + self.total.sum.heard;
        let (state, streamer) = (self.state.clone(), self.streamer.take());
        *self = Trajectory {
            earlier_runs: earlier,
            state,
            streamer,
            ..Trajectory::new(self.run + 1)
        };
    }

    pub(crate) fn skip_earlier_run(&mut self) {
        self.earlier_runs += 1;
    }

    pub(crate) fn set_streamer(&mut self, report: Report) {
        self.streamer = Some(report);
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.state = state;
    }

    pub(crate) fn skip(&mut self, reason: Skip) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    /// A tweet came that was counted before.
    pub(crate) fn duplicate_came(&mut self) {
        self.duplicate += 1;
    }

    /// So many messages were removed by the broker before they were read.
    pub(crate) fn miss(&mut self, messages: u64) {
        self.missed += messages;
    }

    pub(crate) fn add(&mut self, scored: &Arc<Scored>) {
        let limit = MAX_POINTS / (self.topics.len() + 1).max(4);
        self.total.add(scored, limit);
        for topic in &scored.tweet.topics {
            self.line_of(topic).add(scored, limit);
        }
        self.compounds += scored.sentiment.compound;
        self.shares[match scored.sentiment.polarity() {
            Polarity::Positive => 0,
            Polarity::Neutral => 1,
            Polarity::Negative => 2,
        }] += 1;
        let compound = scored.sentiment.compound;
        if self
            .most_positive
            .as_ref()
            .is_none_or(|most| compound > most.sentiment.compound)
        {
            self.most_positive = Some(scored.clone());
        }
        if self
            .most_negative
            .as_ref()
            .is_none_or(|most| compound < most.sentiment.compound)
        {
            self.most_negative = Some(scored.clone());
        }
        self.latest
            .push_back((self.total.sum.heard, scored.clone()));
        if self.latest.len() > LATEST {
            self.latest.pop_front();
        }
        let second = self.born.elapsed().as_secs();
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

    fn line_of(&mut self, topic: &str) -> &mut Line {
        let known = self.topics.iter().position(|line| line.name == topic);
        let place = known.unwrap_or_else(|| {
            let name = if self.topics.len() < MAX_TOPICS {
                topic
            } else {
                OTHER_TOPICS
            };
            match self.topics.iter().position(|line| line.name == name) {
                Some(place) => place,
                None => {
                    self.topics.push(Line::new(&shorten(name, 48)));
                    self.topics.len() - 1
                }
            }
        });
        &mut self.topics[place]
    }

    /// All tweets.
    pub fn total(&self) -> Sum {
        self.total.sum
    }

    /// The tweets of each topic, in the order in which the topics appeared. A tweet with several
    /// topics counts in each.
    pub fn topics(&self) -> impl Iterator<Item = (&str, Sum)> {
        self.topics
            .iter()
            .map(|line| (line.name.as_str(), line.sum))
    }

    /// What was not counted, by its reason.
    pub fn skipped(&self) -> &BTreeMap<Skip, u64> {
        &self.skipped
    }

    /// How many tweets came again, and were not counted again.
    pub fn duplicate(&self) -> u64 {
        self.duplicate
    }

    /// How many messages were removed by the broker before they were read.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How many tweets of earlier runs were in the topic.
    pub fn earlier_runs(&self) -> u64 {
        self.earlier_runs
    }

    /// The mean compound of all tweets, in [-1, 1]; 0 if there are none.
    pub fn mean(&self) -> f64 {
        self.compounds / self.total.sum.heard.max(1) as f64
    }

    /// The most positive and the most negative tweet, by compound; the first of equals.
    pub fn extremes(&self) -> Option<(&Scored, &Scored)> {
        self.most_positive
            .as_deref()
            .zip(self.most_negative.as_deref())
    }

    /// What the listener is doing.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Tweets a second over the last seconds.
    pub fn rate(&self) -> f64 {
        let now = self.born.elapsed();
        let window = now
            .min(Duration::from_secs(RATE_SECONDS))
            .as_secs_f64()
            .max(1.0);
        let since = now.as_secs().saturating_sub(RATE_SECONDS - 1);
        let counted = self.seconds.iter().filter(|(second, _)| *second >= since);
        counted.map(|(_, count)| *count as f64).sum::<f64>() / window
    }

    /// The lines as they are drawn: name and points, all topics first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, Vec<Point>)> {
        std::iter::once(&self.total)
            .chain(&self.topics)
            .map(|line| (line.name.as_str(), line.points(0)))
    }

    /// What has changed since `cursor`, which is set to now.
    pub(crate) fn update(&self, cursor: &mut Cursor) -> Update {
        if cursor.run != self.run {
            *cursor = Cursor {
                run: self.run,
                ..Cursor::default()
            };
        }
        let all = std::iter::once(&self.total).chain(&self.topics);
        let mut lines = Vec::with_capacity(self.topics.len() + 1);
        for (place, line) in all.enumerate() {
            let keep = match cursor.lines.get(place) {
                Some((generation, sent)) if *generation == line.generation => *sent,
                _ => 0,
            };
            let points = line.points(keep);
            lines.push(LineUpdate {
                name: line.name.clone(),
                heard: line.sum.heard,
                keep,
                x: points.iter().map(|point| point.tweet.at).collect(),
                y: points
                    .iter()
                    .map(|point| (point.sum * 1e3).round() / 1e3)
                    .collect(),
                text: points.into_iter().map(|point| point.tweet.hover).collect(),
            });
            let now = (line.generation, line.closed.len());
            match cursor.lines.get_mut(place) {
                Some(sent) => *sent = now,
                None => cursor.lines.push(now),
            }
        }
        let fresh = self
            .latest
            .iter()
            .filter(|(number, _)| *number > cursor.tweets);
        let latest = fresh
            .map(|(number, scored)| LatestUpdate {
                number: *number,
                user: shorten(&scored.tweet.user, 24),
                followers: scored.tweet.followers,
                compound: scored.sentiment.compound,
                text: shorten(&scored.tweet.text, 300),
            })
            .collect();
        cursor.tweets = self.total.sum.heard;
        Update {
            state: self.state.clone(),
            streamer: self.streamer.clone(),
            run: self.run,
            heard: self.total.sum.heard,
            sum: self.total.sum.sum,
            rate: self.rate(),
            shares: self.shares,
            skipped: self
                .skipped
                .iter()
                .map(|(reason, count)| (reason.name(), *count))
                .collect(),
            duplicate: self.duplicate,
            missed: self.missed,
            lines,
            latest,
        }
    }
}

/// What stands beside the pointer. Plotly reads a few HTML tags in it, so the tweet's own text is
/// escaped.
fn hover(scored: &Scored) -> String {
    let Scored {
        tweet, sentiment, ..
    } = scored;
    let followers = match tweet.followers {
        Some(1) => "1 follower".to_owned(),
        Some(count) => format!("{} followers", thousands(count)),
        None => "followers unknown".to_owned(),
    };
    format!(
        "<b>{}</b>, {followers}, {:+.2}<br>{}",
        escape(&shorten(&tweet.user, 24)),
        sentiment.compound,
        escape(&shorten(&tweet.text, 48))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::Sentiment;
    use crate::tweet::Tweet;
    use proptest::prelude::*;

    fn scored(number: u64, metric: f64, topics: &[&str]) -> Arc<Scored> {
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

    #[test]
    fn sums_are_exact_and_a_tweet_counts_in_each_of_its_topics() {
        let mut trajectory = Trajectory::new(0);
        trajectory.add(&scored(1, 0.5, &["a", "b"]));
        trajectory.add(&scored(2, -2.0, &["b"]));
        trajectory.add(&scored(3, 1.0, &[]));
        assert_eq!(
            trajectory.total(),
            Sum {
                heard: 3,
                sum: -0.5
            }
        );
        let topics: Vec<_> = trajectory.topics().collect();
        let expected = [
            ("a", Sum { heard: 1, sum: 0.5 }),
            (
                "b",
                Sum {
                    heard: 2,
                    sum: -1.5,
                },
            ),
        ];
        assert_eq!(topics, expected);
        let (best, worst) = trajectory.extremes().unwrap();
        assert_eq!((best.metric, worst.metric), (1.0, -2.0));
    }

    #[test]
    fn a_million_tweets_fit_into_200_kilobytes() {
        let mut trajectory = Trajectory::new(0);
        let topics = ["bitcoin", "ethereum", "dogecoin"];
        for number in 0..1_000_000 {
            trajectory.add(&scored(
                number,
                (number as f64 / 999.0).sin(),
                &[topics[(number % 3) as usize]],
            ));
        }
        let everything = serde_json::to_vec(&trajectory.update(&mut Cursor::default())).unwrap();
        assert!(everything.len() < 200_000, "{} bytes", everything.len());
        let total = trajectory.total.points(0);
        assert!(
            total.len() > 100,
            "{} points are too few for a line",
            total.len()
        );
        assert_eq!(total.last().unwrap().sum, trajectory.total().sum);
    }

    #[test]
    fn topics_beyond_the_limit_share_a_line() {
        let mut trajectory = Trajectory::new(0);
        for number in 0..10_000 {
            trajectory.add(&scored(number, 1.0, &[&format!("topic {number}")]));
        }
        assert_eq!(trajectory.topics.len(), MAX_TOPICS + 1);
        assert_eq!(
            trajectory.topics().map(|(_, sum)| sum.heard).sum::<u64>(),
            10_000
        );
    }

    #[test]
    fn a_new_run_begins_anew() {
        let mut trajectory = Trajectory::new(4);
        trajectory.add(&scored(1, 0.5, &["a"]));
        trajectory.begin_run();
        assert_eq!(trajectory.total(), Sum::default());
        assert_eq!((trajectory.earlier_runs(), trajectory.run), (1, 5));
    }

    /// Does what the page does with an update.
    fn apply(page: &mut Vec<Vec<(i64, f64)>>, run: &mut u64, update: &Update) {
        if *run != update.run {
            page.clear();
            *run = update.run;
        }
        page.resize(update.lines.len(), Vec::new());
        for (line, update) in page.iter_mut().zip(&update.lines) {
            line.truncate(update.keep);
            line.extend(update.x.iter().copied().zip(update.y.iter().copied()));
        }
    }

    proptest! {
        #[test]
        fn updates_bring_a_page_to_the_same_lines(steps in prop::collection::vec((0u64..900, any::<bool>()), 1..12)) {
            let mut trajectory = Trajectory::new(1);
            let (mut cursor, mut page, mut run) = (Cursor::default(), Vec::new(), 0);
            let mut number = 0;
            for (tweets, anew) in steps {
                if anew && tweets % 5 == 0 {
                    trajectory.begin_run();
                }
                for _ in 0..tweets {
                    number += 1;
                    let topics: &[&str] = if number % 2 == 0 { &["even"] } else { &["odd"] };
                    trajectory.add(&scored(number, ((number * 7919) % 13) as f64 - 6.0, topics));
                }
                apply(&mut page, &mut run, &trajectory.update(&mut cursor));
                let (mut whole, mut fresh) = (Vec::new(), 0);
                apply(&mut whole, &mut fresh, &trajectory.update(&mut Cursor::default()));
                prop_assert_eq!(&page, &whole);
            }
        }

        #[test]
        fn extremes_and_the_last_value_stay(metrics in prop::collection::vec(-9i32..=9, 1..3000)) {
            let mut line = Line::new("x");
            let (mut sum, mut low, mut high) = (0.0, f64::MAX, f64::MIN);
            for metric in &metrics {
                line.add(&scored(0, f64::from(*metric), &[]), 100);
                sum += f64::from(*metric);
                low = sum.min(low);
                high = sum.max(high);
            }
            let points = line.points(0);
            prop_assert!(points.len() <= 100);
            prop_assert_eq!(points.iter().map(|p| p.sum).fold(f64::MAX, f64::min), low);
            prop_assert_eq!(points.iter().map(|p| p.sum).fold(f64::MIN, f64::max), high);
            prop_assert_eq!(points.last().unwrap().sum, sum);
        }
    }
}
