//! A line of the figure: a running sum, and its history in a bounded number of points.

use super::Sum;
use crate::display::shorten;
use crate::sentiment::Scored;
use std::sync::Arc;

/// How much of a tweet's author and text a point keeps, in characters.
const USER_LENGTH: usize = 24;
const TEXT_LENGTH: usize = 48;
/// How many points the open bucket adds at most: its extremes and the newest tweet.
const OPEN_POINTS: usize = 3;

/// A running sum with its history.
///
/// The history is cut into buckets of equally many tweets. A bucket keeps its lowest and its highest
/// point. When the line has too many points, each two neighbouring buckets are merged into one of
/// twice the size. So peaks are never smoothed away, the last value is exact, and memory is bounded.
#[derive(Debug)]
pub(crate) struct Line {
    name: String,
    sum: Sum,
    /// The extremes of the full buckets.
    closed: Vec<Point<Arc<Excerpt>>>,
    bucket: Bucket<Arc<Scored>>,
    last: Option<Point<Arc<Scored>>>,
    /// The number of tweets in a full bucket.
    bucket_size: u64,
    /// Changes whenever a closed point does.
    generation: u64,
}

/// A point of a line: the sum after a tweet. In the open bucket it has the tweet itself, because
/// most of these points are soon replaced. In a full bucket it has the part that is shown.
#[derive(Clone, Debug)]
pub(crate) struct Point<T = Arc<Excerpt>> {
    /// The number of the tweet in its line, from 1.
    number: u64,
    pub(crate) sum: f64,
    pub(crate) tweet: T,
}

/// The part of a tweet that a point shows.
#[derive(Debug)]
pub(crate) struct Excerpt {
    /// When the tweet was sent, in milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) user: String,
    pub(crate) followers: Option<u64>,
    pub(crate) compound: f64,
    pub(crate) text: String,
}

impl Point<Arc<Scored>> {
    fn excerpt(&self) -> Point {
        let Scored {
            tweet, sentiment, ..
        } = &*self.tweet;
        Point {
            number: self.number,
            sum: self.sum,
            tweet: Arc::new(Excerpt {
                at: tweet.created_at.as_millisecond(),
                user: shorten(&tweet.user, USER_LENGTH),
                followers: tweet.followers,
                compound: sentiment.compound,
                text: shorten(&tweet.text, TEXT_LENGTH),
            }),
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

    /// Returns the lowest and the highest point in the order in which they came; one point if they
    /// are the same.
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
    pub(super) fn new(name: &str) -> Line {
        Line {
            name: name.to_owned(),
            sum: Sum::default(),
            closed: Vec::new(),
            bucket: Bucket::default(),
            last: None,
            bucket_size: 1,
            generation: 0,
        }
    }

    /// Returns the full name of the topic.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn sum(&self) -> Sum {
        self.sum
    }

    /// Returns a number that changes whenever a closed point changes.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the number of points that stay as they are within a generation.
    pub(crate) fn closed_points(&self) -> usize {
        self.closed.len()
    }

    /// Adds a tweet. The line keeps at most `limit` points.
    pub(super) fn add(&mut self, scored: &Arc<Scored>, limit: usize) {
        self.sum.counted += 1;
        self.sum.sum += scored.metric;
        let point = Point {
            number: self.sum.counted,
            sum: self.sum.sum,
            tweet: scored.clone(),
        };
        self.bucket.add(&point);
        self.last = Some(point);
        if self.bucket.count >= self.bucket_size {
            let bucket = std::mem::take(&mut self.bucket);
            self.closed.extend(bucket.extremes().map(Point::excerpt));
            self.shrink(limit);
        }
    }

    /// Merges buckets until the line has at most `limit` points.
    pub(super) fn shrink(&mut self, limit: usize) {
        while !self.closed.is_empty() && self.closed.len() + OPEN_POINTS > limit {
            self.merge_buckets();
        }
    }

    /// Merges each two neighbouring buckets: half of the points go, and the extremes stay.
    fn merge_buckets(&mut self) {
        let before = std::mem::take(&mut self.closed);
        for four in before.chunks(4) {
            let mut bucket = Bucket::default();
            four.iter().for_each(|point| bucket.add(point));
            self.closed.extend(bucket.extremes().cloned());
        }
        self.bucket_size *= 2;
        self.generation += 1;
    }

    /// Returns the points without the first `skip`. The extremes of the open bucket and the newest
    /// point are the last of them.
    pub(crate) fn points(&self, skip: usize) -> Vec<Point> {
        let mut points: Vec<Point> = self.closed.iter().skip(skip).cloned().collect();
        points.extend(self.bucket.extremes().map(Point::excerpt));
        let newest = points.last().or(self.closed.last());
        let newest = newest.map(|point| point.number);
        let last = self.last.as_ref();
        points.extend(
            last.filter(|last| Some(last.number) != newest)
                .map(Point::excerpt),
        );
        points
    }
}

#[cfg(test)]
mod tests {
    use super::super::scored;
    use super::*;
    use proptest::prelude::*;

    proptest! {
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
