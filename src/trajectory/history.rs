//! The history of the running sums, in a bounded number of segments.
//!
//! The tweets are cut into segments of consecutive tweets, see [`Segment`]. If there are too many, we merge
//! the adjacent pair that covers the fewest pixels in the closest view showing it. The page has views of
//! the last minute, the last five minutes and everything. So recent segments stay short, old ones become
//! long, and each view has about as many of them.

use super::segment::{Point, Segment};
use super::words::WordTotals;
use crate::sentiment::{Scored, WordId};
use std::sync::Arc;
use std::time::Duration;

/// The lengths of the page's views, in milliseconds. A further view shows the whole stream.
const VIEWS: [i64; 2] = [60_000, 300_000];
/// The open segment is closed when it has more than 1 / `MAX_SHARE` of all tweets.
const MAX_SHARE: u64 = 128;
/// The open segment is closed when it is this long, in milliseconds of the tweets' time. This keeps the last
/// minute of the figure smooth.
const MAX_SPAN: i64 = 1_000;
/// The minimum time between two segments that are closed because of their length. The tweets of a fast
/// replay may be days apart.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// A view ends at the latest time of this many of the newest segments. The newest segment alone is not
/// reliable, because a tweet may have any time before now, and a clock may go back.
const NEWEST: usize = 8;
/// How many words a closed segment keeps: those with the largest total contribution.
const MAX_WORDS: usize = 500;
/// The maximum number of words of a [`Stretch`].
const TOP_WORDS: usize = 10;

#[derive(Debug)]
struct ClosedSegment {
    /// The version of the last change of this segment. A later change of any segment has a larger version.
    version: u64,
    segment: Segment,
    /// The contributions of the words.
    words: Vec<(WordId, f64)>,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    closed: Vec<ClosedSegment>,
    open: Segment,
    open_words: WordTotals,
    counted: u64,
    /// The version of the last change of any closed segment.
    pub(crate) version: u64,
    /// When the last segment was closed, as the caller measures time.
    closed_at: Duration,
}

/// A stretch of the stream. It consists of whole segments.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// All segments of the stretch, merged.
    pub(crate) segment: Segment,
    /// The ten words with the largest contribution to the sum, largest first.
    pub(crate) words: Vec<(WordId, f64)>,
}

impl History {
    /// Counts a tweet. `kept` is the tweet as segments keep it.
    pub(super) fn add(&mut self, scored: &Scored, kept: &Arc<Scored>) {
        self.counted += 1;
        self.open.add(self.counted, kept);
        self.open_words.add_tweet(scored);
    }

    /// Adds the point that the last counted tweet has on a line.
    pub(super) fn add_point(&mut self, line: usize, point: &Point) {
        self.open.add_point(line, point);
    }

    /// Closes the open segment if it is large enough. At most `limit` segments are kept.
    pub(super) fn close_segment(&mut self, now: Duration, limit: usize) {
        let is_large = self.open.counted > self.counted / MAX_SHARE;
        let is_long = self.open.to - self.open.from >= MAX_SPAN;
        let is_due = now.saturating_sub(self.closed_at) >= MIN_INTERVAL;
        if !(is_large || (is_long && is_due)) {
            return;
        }
        self.closed_at = now;
        self.version += 1;
        self.closed.push(ClosedSegment {
            version: self.version,
            segment: std::mem::take(&mut self.open),
            words: self.open_words.largest(MAX_WORDS),
        });
        self.open_words.clear();
        self.shrink(limit);
    }

    /// Merges segments until there are at most `limit`.
    pub(super) fn shrink(&mut self, limit: usize) {
        while self.closed.len() > limit.max(1)
            && let Some(index) = self.narrowest_pair()
        {
            let next = self.closed.remove(index + 1);
            let merged = &mut self.closed[index];
            self.version += 1;
            merged.version = self.version;
            merged.segment.merge(&next.segment);
            let mut words = WordTotals::default();
            words.add_all(&merged.words);
            words.add_all(&next.words);
            merged.words = words.largest(MAX_WORDS);
        }
    }

    /// Returns the index of the first of the two neighbours that are narrowest together.
    fn narrowest_pair(&self) -> Option<usize> {
        let segments = || self.closed.iter().map(|closed| &closed.segment);
        let oldest = segments().map(|segment| segment.from).min()?;
        let latest = segments().map(|segment| segment.to).max()?;
        let whole = latest.saturating_sub(oldest).max(1);
        let newest = segments().rev().take(NEWEST);
        let end = newest.map(|segment| segment.to).max()?;
        let width = |a: &Segment, b: &Segment| {
            let distance = end.abs_diff(b.to);
            let view = VIEWS
                .into_iter()
                .find(|view| distance < view.unsigned_abs())
                .map_or(whole, |view| view.min(whole));
            let span = b.to.max(a.to).saturating_sub(a.from.min(b.from));
            let share_of_time = span as f64 / view as f64;
            // Tweets with the same time have no width in time.
            let share_of_tweets = (a.counted + b.counted) as f64 / self.counted as f64;
            share_of_time.max(share_of_tweets)
        };
        segments()
            .zip(segments().skip(1))
            .map(|(a, b)| width(a, b))
            .enumerate()
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(index, _)| index)
    }

    /// Returns how many of the first segments have not changed since this version.
    pub(crate) fn unchanged_since(&self, version: u64) -> usize {
        // A merged segment has a new version. The segments before it keep their places.
        let closed = self.closed.iter();
        closed
            .take_while(|closed| closed.version <= version)
            .count()
    }

    /// Returns the segments after the first `skip`. The open segment is the last.
    pub(crate) fn segments(&self, skip: usize) -> impl Iterator<Item = &Segment> {
        self.closed[skip..]
            .iter()
            .map(|closed| &closed.segment)
            .chain(Some(&self.open).filter(|open| open.counted > 0))
    }

    /// Returns the points of a line in the segments after the first `skip`.
    pub(super) fn points(&self, line: usize, skip: usize) -> impl Iterator<Item = &Point> {
        let segments = self.segments(skip);
        segments.flat_map(move |segment| segment.points(line))
    }

    /// Returns the stretch between two times, in milliseconds since 1970. It contains every segment that
    /// overlaps this time, as a whole; `None` if there is no such segment.
    pub(crate) fn stretch(&self, from: i64, to: i64) -> Option<Stretch> {
        let open_words = self.open_words.largest(MAX_WORDS);
        let closed = self
            .closed
            .iter()
            .map(|closed| (&closed.segment, &closed.words));
        let (mut whole, mut words) = (Segment::default(), WordTotals::default());
        for (segment, segment_words) in closed.chain([(&self.open, &open_words)]) {
            if segment.to >= from && segment.from <= to {
                whole.merge(segment);
                words.add_all(segment_words);
            }
        }
        (whole.counted > 0).then(|| Stretch {
            segment: whole,
            words: words.largest(TOP_WORDS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::scored;
    use super::super::segment::Part;
    use super::*;
    use crate::sentiment::WordShare;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const LIMIT: usize = 60;

    /// A history of one line, and the tweets that it was made from.
    #[derive(Default)]
    struct Recorded {
        history: History,
        tweets: Vec<Arc<Scored>>,
        sum: f64,
    }

    impl Recorded {
        fn add(&mut self, at: i64, metric: f64) {
            let number = self.tweets.len() as u64 + 1;
            let mut scored = Arc::unwrap_or_clone(scored(at as u64, metric, &[]));
            let words = [(number % 7, 0.75), (number % 3, 0.25)].map(|(word, share)| WordShare {
                word: word as WordId,
                share,
            });
            scored.words = words.into_iter().collect();
            let scored = Arc::new(scored);
            self.sum += metric;
            self.tweets.push(scored.clone());
            self.history.add(&scored, &scored);
            self.history.add_point(
                0,
                &Point {
                    number,
                    sum: self.sum,
                    scored,
                },
            );
            let now = Duration::from_millis(at as u64);
            self.history.close_segment(now, LIMIT);
        }

        fn segments_since(&self, at: i64) -> usize {
            let closed = self.history.closed.iter();
            closed.filter(|closed| closed.segment.from >= at).count()
        }
    }

    #[test]
    fn each_view_has_many_segments() {
        let mut recorded = Recorded::default();
        let hour = 3_600_000;
        for at in (0..hour).step_by(50) {
            recorded.add(at, 1.0);
        }
        assert!(recorded.history.closed.len() <= LIMIT);
        for view in [60_000, 300_000, hour] {
            let segments = recorded.segments_since(hour - view);
            assert!(segments >= LIMIT / 4, "{segments} segments in {view} ms");
        }
    }

    /// Returns the number of tweets in each closed segment.
    fn sizes(history: &History) -> Vec<u64> {
        let closed = history.closed.iter();
        closed.map(|closed| closed.segment.counted).collect()
    }

    #[test]
    fn a_segment_is_closed_when_it_has_its_share_of_all_tweets() {
        let mut history = History::default();
        for _ in 0..1_000 {
            let tweet = scored(0, 1.0, &[]);
            history.add(&tweet, &tweet);
            history.close_segment(Duration::ZERO, usize::MAX);
        }
        let mut total = 0;
        for size in sizes(&history) {
            total += size;
            assert_eq!(size, total / MAX_SHARE + 1);
        }
        assert!(total > 990);
    }

    #[test]
    fn a_stretch_has_the_open_segment_too() {
        let mut history = History::default();
        for number in 1..=2_000 {
            let scored = scored(0, 1.0, &[]);
            history.add(&scored, &scored);
            let sum = number as f64;
            history.add_point(
                0,
                &Point {
                    number,
                    sum,
                    scored,
                },
            );
            history.close_segment(Duration::ZERO, LIMIT);
            let stretch = history.stretch(0, 0).unwrap();
            let Part {
                counted, change, ..
            } = stretch.segment.parts[0];
            assert_eq!((counted, change), (number, sum));
        }
        assert!(history.open.counted > 0);
    }

    #[test]
    fn merging_stops_at_the_limit_and_marks_the_merged_segment_as_changed() {
        let mut history = History::default();
        assert!(history.stretch(0, 0).is_none());
        for number in 0..200 {
            let tweet = scored(number, 1.0, &[]);
            history.add(&tweet, &tweet);
            history.close_segment(Duration::ZERO, LIMIT);
            assert_eq!(history.closed.len(), LIMIT.min(number as usize + 1));
            let versions = history.closed.iter().map(|closed| closed.version);
            let distinct = versions.collect::<std::collections::BTreeSet<_>>();
            assert_eq!(distinct.len(), history.closed.len());
        }
        assert!(history.stretch(1_000, 2_000).is_none());
    }

    #[test]
    fn a_segment_is_closed_when_it_is_long_but_not_many_times_a_second() {
        let mut history = History::default();
        let mut add = |at: i64, now: Duration| {
            let tweet = scored(at as u64, 1.0, &[]);
            history.add(&tweet, &tweet);
            history.close_segment(now, usize::MAX);
            history.closed.len()
        };
        // With this many tweets, no segment is closed because of its share.
        let (mut now, mut at) = (Duration::ZERO, 0);
        for _ in 0..100_000 {
            add(0, now);
        }
        let mut closed_at = vec![];
        let mut segments = add(at, now);
        for _ in 0..30 {
            at += 100;
            now += Duration::from_millis(100);
            if add(at, now) > segments {
                segments += 1;
                closed_at.push(at);
            }
        }
        // A segment begins with the tweet after the previous segment.
        assert_eq!(closed_at, [1_000, 2_100]);
        // In a fast replay, a second of the tweets takes no time.
        let fast = now + Duration::from_millis(10);
        for _ in 0..8 {
            at += 2_000;
            add(at, fast);
        }
        assert!(add(at, fast) == segments + 1, "at most one in 50 ms");
        assert_eq!(add(at + 1_000, now + MIN_INTERVAL), segments + 1);
        assert_eq!(add(at + 2_000, fast + MIN_INTERVAL), segments + 2);
    }

    #[test]
    fn tweets_of_the_same_time_have_many_segments_too() {
        let mut recorded = Recorded::default();
        for _ in 0..100_000 {
            recorded.add(0, 1.0);
        }
        let closed = &recorded.history.closed;
        assert!(closed.len() >= LIMIT / 2);
        let largest = closed.iter().map(|closed| closed.segment.counted).max();
        assert!(largest < Some(20_000), "{largest:?}");
    }

    proptest! {
        #[test]
        fn extremes_stay_and_a_stretch_is_exact(
            steps in prop::collection::vec((0i64..2_000, -9i32..=9), 1..3_000),
            place in (0.0f64..1.0, 0.0f64..1.0),
        ) {
            let mut recorded = Recorded::default();
            let mut at = 0;
            let (mut low, mut high) = (f64::MAX, f64::MIN);
            for (step, metric) in steps {
                at += step;
                recorded.add(at, f64::from(metric));
                low = recorded.sum.min(low);
                high = recorded.sum.max(high);
            }
            let history = &recorded.history;
            prop_assert!(history.closed.len() <= LIMIT);
            let sums: Vec<f64> = history.points(0, 0).map(|point| point.sum).collect();
            prop_assert_eq!(sums.iter().copied().fold(f64::MAX, f64::min), low);
            prop_assert_eq!(sums.iter().copied().fold(f64::MIN, f64::max), high);

            let (from, to) = ((place.0 * at as f64) as i64, (place.1 * at as f64) as i64);
            let Some(stretch) = history.stretch(from.min(to), from.max(to)) else {
                // No tweet has such a time.
                let inside = recorded.tweets.iter().any(|scored| {
                    (from.min(to)..=from.max(to)).contains(&scored.tweet.created_at.as_millisecond())
                });
                prop_assert!(!inside);
                return Ok(());
            };
            let Part { counted, change, .. } = stretch.segment.parts[0];
            // The tweets of the stretch are consecutive, even if others have the same time.
            let first = stretch_start(history, from.min(to));
            let tweets = &recorded.tweets[first..first + counted as usize];
            let sum: f64 = tweets.iter().map(|scored| scored.metric).sum();
            prop_assert!((sum - change).abs() < 1e-9);
            let mut movers: Vec<f64> = tweets.iter().map(|scored| scored.metric.abs()).collect();
            movers.sort_by(|a, b| b.total_cmp(a));
            movers.retain(|metric| *metric != 0.0);
            movers.truncate(10);
            let found: Vec<f64> = stretch.segment.movers.iter().map(|(_, scored)| scored.metric.abs()).collect();
            prop_assert_eq!(found, movers);
            let times = || tweets.iter().map(|scored| scored.tweet.created_at.as_millisecond());
            prop_assert_eq!(
                (Some(stretch.segment.from), Some(stretch.segment.to)),
                (times().min(), times().max())
            );
            let mut words: BTreeMap<WordId, f64> = BTreeMap::new();
            for scored in tweets {
                for share in &scored.words {
                    *words.entry(share.word).or_default() += scored.metric * f64::from(share.share);
                }
            }
            let mut words: Vec<_> = words.into_iter().filter(|(_, total)| *total != 0.0).collect();
            words.sort_by(|(a, x), (b, y)| y.abs().total_cmp(&x.abs()).then(a.cmp(b)));
            prop_assert_eq!(stretch.words, words);
        }

        #[test]
        fn the_parts_that_a_page_asks_for_make_the_whole(
            steps in prop::collection::vec((0i64..2_000, -9i32..=9), 1..500),
            skip in 0.0f64..=1.0,
        ) {
            let mut recorded = Recorded::default();
            let mut at = 0;
            for (step, metric) in steps {
                at += step;
                recorded.add(at, f64::from(metric));
            }
            let history = &recorded.history;
            let (closed, version) = (history.closed.len(), history.version);
            prop_assert_eq!(history.unchanged_since(version), closed);
            let skip = (skip * closed as f64) as usize;
            if let Some(oldest_change) = history.closed[skip..].iter().map(|closed| closed.version).min() {
                prop_assert!(history.unchanged_since(oldest_change - 1) <= skip);
            }
            let points = |skip| history.points(0, skip).map(|point| point.number).collect::<Vec<_>>();
            prop_assert!(points(0).ends_with(&points(skip)));
            let counted = |skip| history.segments(skip).map(|segment| segment.counted).sum::<u64>();
            let before: u64 = history.segments(0).take(skip).map(|segment| segment.counted).sum();
            prop_assert_eq!(counted(0), recorded.tweets.len() as u64);
            prop_assert_eq!(before + counted(skip), counted(0));
            let compounds: f64 = recorded.tweets.iter().map(|scored| scored.sentiment.compound).sum();
            let kept: f64 = history.segments(0).map(|segment| segment.compounds).sum();
            prop_assert!((compounds - kept).abs() < 1e-6);
        }
    }

    /// Returns how many tweets are before the first segment that reaches this time.
    fn stretch_start(history: &History, from: i64) -> usize {
        let before = history
            .closed
            .iter()
            .take_while(|closed| closed.segment.to < from);
        before.map(|closed| closed.segment.counted as usize).sum()
    }
}
