//! A segment: consecutive tweets of the stream, and what the figure shows of them.
//!
//! A segment keeps the lowest and the highest point of each line, the tweets that moved the sum most, and
//! sums. Merging two neighbours loses none of this: the extremes of the merged segment are among the
//! extremes of the two, and its ten largest tweets are among the ten largest of each.

use crate::notebook::shorten;
use crate::sentiment::{Scored, ScoredWords};
use crate::tweet::Tweet;
use std::sync::Arc;

/// How many of the tweets that moved the sum most are kept.
const MOVERS: usize = 10;
/// The memory that a kept tweet may need, in bytes. Ordinary tweets need less, but a message may have 1 MiB.
const MAX_TWEET_BYTES: usize = 4_096;
/// The number of characters that a larger tweet keeps of its author.
pub(crate) const USER_LENGTH: usize = 24;
/// The number of characters that a larger tweet keeps of its text. The page can explain a text of this
/// length.
pub(crate) const TEXT_LENGTH: usize = 1_000;

/// Returns the tweet as segments keep it. A tweet that needs more than [`MAX_TWEET_BYTES`] is cut to the
/// parts that the page shows, so the memory of a listener is bounded.
pub(super) fn bounded(scored: &Arc<Scored>) -> Arc<Scored> {
    let tweet = &scored.tweet;
    let strings = [
        &tweet.text,
        &tweet.user,
        &tweet.id,
        &tweet.lang,
        &tweet.source,
    ];
    let topics = tweet.topics.iter();
    let bytes = strings.map(String::len).iter().sum::<usize>()
        + topics
            .map(|topic| topic.len() + size_of::<String>())
            .sum::<usize>()
        + size_of_val(scored.words.as_slice());
    if bytes <= MAX_TWEET_BYTES {
        return scored.clone();
    }
    Arc::new(Scored {
        tweet: Tweet {
            id: String::new(),
            user: shorten(&tweet.user, USER_LENGTH),
            text: shorten(&tweet.text, TEXT_LENGTH),
            lang: String::new(),
            topics: Vec::new(),
            source: String::new(),
            ..*tweet
        },
        words: ScoredWords::new(),
        ..**scored
    })
}

/// A point of a line: the sum after a tweet.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// The number of the tweet in its line, from 1.
    pub(super) number: u64,
    pub(crate) sum: f64,
    pub(crate) scored: Arc<Scored>,
}

impl Point {
    /// Returns the time of the tweet, in milliseconds since 1970.
    pub(crate) fn at(&self) -> i64 {
        self.scored.tweet.created_at.as_millisecond()
    }
}

/// What a segment keeps of one line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) counted: u64,
    /// The change of the line's sum.
    pub(crate) change: f64,
    low: Option<Point>,
    high: Option<Point>,
}

impl Part {
    fn add(&mut self, point: &Point) {
        if self.low.as_ref().is_none_or(|low| point.sum < low.sum) {
            self.low = Some(point.clone());
        }
        if self.high.as_ref().is_none_or(|high| point.sum > high.sum) {
            self.high = Some(point.clone());
        }
    }

    /// Returns the lowest and the highest point in the order of their tweets; one point if they are the
    /// same.
    fn extremes(&self) -> impl Iterator<Item = &Point> {
        let (first, second) = match (&self.low, &self.high) {
            (Some(low), Some(high)) if low.number < high.number => (Some(low), Some(high)),
            (Some(low), Some(high)) if high.number < low.number => (Some(high), Some(low)),
            (low, _) => (low.as_ref(), None),
        };
        first.into_iter().chain(second)
    }

    fn merge(&mut self, next: &Part) {
        self.counted += next.counted;
        self.change += next.change;
        for point in [&next.low, &next.high].into_iter().flatten() {
            self.add(point);
        }
    }
}

/// Consecutive tweets.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) counted: u64,
    /// The times of the earliest and the latest tweet, in milliseconds since 1970.
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The sum of the compounds.
    pub(crate) compounds: f64,
    /// The part of each line, by the index of the line. A line beyond the last part has no tweets in this
    /// segment.
    pub(crate) parts: Vec<Part>,
    /// The tweets that moved the sum of all tweets most, largest first, with their numbers in the stream.
    /// If two tweets moved it equally, the earlier one comes first.
    pub(crate) movers: Vec<(u64, Arc<Scored>)>,
}

impl Default for Segment {
    fn default() -> Self {
        Segment {
            counted: 0,
            from: i64::MAX,
            to: i64::MIN,
            compounds: 0.0,
            parts: Vec::new(),
            movers: Vec::new(),
        }
    }
}

impl Segment {
    /// Counts the tweet with this number.
    pub(super) fn add(&mut self, number: u64, scored: &Arc<Scored>) {
        let at = scored.tweet.created_at.as_millisecond();
        self.counted += 1;
        self.from = self.from.min(at);
        self.to = self.to.max(at);
        self.compounds += scored.sentiment.compound;
        let smallest = self.movers.get(MOVERS - 1);
        let smallest = smallest.map_or(0.0, |(_, mover)| mover.metric.abs());
        if scored.metric.abs() > smallest {
            self.add_movers(&[(number, scored.clone())]);
        }
    }

    fn add_movers(&mut self, movers: &[(u64, Arc<Scored>)]) {
        self.movers.extend_from_slice(movers);
        self.movers.sort_by(|(number, a), (other, b)| {
            let largest_first = b.metric.abs().total_cmp(&a.metric.abs());
            largest_first.then(number.cmp(other))
        });
        self.movers.truncate(MOVERS);
    }

    /// Adds the tweet's point on a line.
    pub(super) fn add_point(&mut self, line: usize, point: &Point) {
        if self.parts.len() <= line {
            self.parts.resize_with(line + 1, Part::default);
        }
        let part = &mut self.parts[line];
        part.counted += 1;
        part.change += point.scored.metric;
        part.add(point);
    }

    /// Returns the points of a line that the segment keeps, in the order of their tweets.
    pub(crate) fn points(&self, line: usize) -> impl Iterator<Item = &Point> {
        self.parts.get(line).into_iter().flat_map(Part::extremes)
    }

    /// Merges the segment that follows this one.
    pub(super) fn merge(&mut self, next: &Segment) {
        self.counted += next.counted;
        self.from = self.from.min(next.from);
        self.to = self.to.max(next.to);
        self.compounds += next.compounds;
        if self.parts.len() < next.parts.len() {
            self.parts.resize_with(next.parts.len(), Part::default);
        }
        for (part, next) in self.parts.iter_mut().zip(&next.parts) {
            part.merge(next);
        }
        self.add_movers(&next.movers);
    }
}

#[cfg(test)]
mod tests {
    use super::super::scored;
    use super::*;
    use crate::sentiment::WordShare;

    fn segment(metrics: impl IntoIterator<Item = f64>, first: u64) -> Segment {
        let mut segment = Segment::default();
        for (number, metric) in (first..).zip(metrics) {
            segment.add(number, &scored(number, metric, &[]));
        }
        segment
    }

    fn movers(segment: &Segment) -> Vec<(u64, f64)> {
        let movers = segment.movers.iter();
        movers
            .map(|(number, scored)| (*number, scored.metric))
            .collect()
    }

    #[test]
    fn the_movers_are_the_largest_and_the_earliest_of_equal_ones() {
        let ascending = segment((1..=30).map(f64::from), 1);
        let descending = segment((1..=30).rev().map(|metric| -f64::from(metric)), 1);
        for (segment, sign) in [(&ascending, 1.0), (&descending, -1.0)] {
            let metrics: Vec<f64> = movers(segment).iter().map(|(_, metric)| *metric).collect();
            let expected: Vec<f64> = (0..10).map(|less| sign * f64::from(30 - less)).collect();
            assert_eq!(metrics, expected);
        }
        let equal = segment(vec![2.0; 15].into_iter().chain([0.0, -3.0]), 1);
        let mut expected: Vec<_> = (1..10).map(|number| (number, 2.0)).collect();
        expected.insert(0, (17, -3.0));
        assert_eq!(movers(&equal), expected);
        assert_eq!(movers(&segment([0.0, 0.0], 1)), []);
        assert_eq!(equal.counted, 17);
        assert_eq!((equal.from, equal.to), (1, 17));
        assert_eq!(equal.compounds, 14.0, "15 of 1, and one of -1");
    }

    #[test]
    fn a_tweet_of_up_to_the_limit_is_kept_whole_with_all_that_needs_memory() {
        let tweet_of = |bytes: usize| {
            let mut tweet = Arc::unwrap_or_clone(scored(7, 1.0, &["bitcoin", "doge"]));
            let word = WordShare {
                word: 1,
                share: 1.0,
            };
            tweet.words = [word, word].into_iter().collect();
            tweet.tweet.text.clear();
            let topics = "bitcoin".len() + "doge".len() + 2 * size_of::<String>();
            let other = topics + size_of_val(tweet.words.as_slice()) + tweet.tweet.user.len();
            tweet.tweet.text = "x".repeat(bytes - other);
            Arc::new(tweet)
        };
        let whole = tweet_of(MAX_TWEET_BYTES);
        assert!(Arc::ptr_eq(&bounded(&whole), &whole));
        let cut = bounded(&tweet_of(MAX_TWEET_BYTES + 1));
        assert_eq!(cut.tweet.text.chars().count(), TEXT_LENGTH + 1);
        let point = Point {
            number: 1,
            sum: 0.0,
            scored: cut,
        };
        assert_eq!(point.at(), 7);
    }

    #[test]
    fn merged_segments_are_as_one() {
        let metrics = |from: i32, to: i32| (from..to).map(|number| f64::from(number * 7 % 23 - 11));
        for cut in 0..=40 {
            let mut merged = segment(metrics(0, cut), 1);
            merged.merge(&segment(metrics(cut, 40), cut as u64 + 1));
            let whole = segment(metrics(0, 40), 1);
            assert_eq!(movers(&merged), movers(&whole), "cut at {cut}");
            let facts = |segment: &Segment| (segment.counted, segment.from, segment.to);
            assert_eq!(facts(&merged), facts(&whole));
            assert!((merged.compounds - whole.compounds).abs() < 1e-9);
        }
    }

    #[test]
    fn merged_lines_keep_their_counts_and_extremes() {
        let point = |number: u64, sum: f64| Point {
            number,
            sum,
            scored: scored(number, 1.0, &[]),
        };
        let mut first = Segment::default();
        first.add_point(0, &point(1, 1.0));
        first.add_point(0, &point(2, -4.0));
        let mut next = Segment::default();
        next.add_point(2, &point(1, 5.0));
        next.add_point(0, &point(3, 2.0));
        next.add_point(0, &point(4, 2.0));
        first.merge(&next);
        let of_line = |line: usize| {
            let part = &first.parts[line];
            let extremes = part.extremes().map(|point| point.number);
            (part.counted, part.change, extremes.collect::<Vec<_>>())
        };
        assert_eq!(
            of_line(0),
            (4, 4.0, vec![2, 3]),
            "the lowest, then the highest"
        );
        assert_eq!(of_line(1), (0, 0.0, vec![]));
        assert_eq!(of_line(2), (1, 1.0, vec![1]));
        assert_eq!(first.parts.len(), 3);
    }
}
