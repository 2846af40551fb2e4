//! The history of the running sums, in a bounded number of segments.
//!
//! The tweets are cut into segments of consecutive tweets, see [`Segment`]. If there are too many, the
//! two neighbours are merged that are seen least: those that are narrowest in the smallest view that
//! shows them. The page has views of the last minute, the last five minutes and everything. So recent
//! segments stay short, old ones become long, and each view has about as many of them.

use super::segment::{Excerpt, Mover, Part, Point, Segment, merge_movers};
use super::words::{OpenWords, Words};
use crate::sentiment::{Scored, WordId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The views besides the whole stream, in milliseconds.
const VIEWS: [i64; 2] = [60_000, 300_000];
/// The open segment is closed when it has this part of all tweets,
const TWEETS: u64 = 128;
/// or when it is this long, in milliseconds of the tweets' time, so that the last minute is smooth.
const LENGTH: i64 = 1_000;
/// The minimum time between two segments that are closed because of their length. The tweets of a fast
/// replay may be days apart.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// The latest time of this many of the newest segments is where the views end. A single tweet may have any
/// time before now, and a clock may go back.
const NEWEST: usize = 8;
/// How many words a stretch has.
const WORDS: usize = 10;

#[derive(Debug)]
struct Closed {
    /// A number that no other state of a segment had.
    version: u64,
    segment: Segment<Arc<Excerpt>>,
    words: Words,
}

#[derive(Debug, Default)]
pub(super) struct History {
    closed: Vec<Closed>,
    open: Segment<Arc<Scored>>,
    open_words: OpenWords,
    counted: u64,
    versions: u64,
    /// When the last segment was closed, as the caller measures time.
    closed_at: Duration,
}

/// A segment for the view of the mood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mood {
    /// The time of its last tweet, in milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) counted: u64,
    pub(crate) compounds: f64,
}

/// A stretch of the stream: whole segments, and what happened in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stretch {
    /// The times of the earliest and the latest tweet, in milliseconds since 1970.
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The number of tweets and the change of the sum, for each line.
    pub(crate) lines: Vec<(u64, f64)>,
    /// The ten tweets that moved the sum most, largest first.
    pub(crate) movers: Vec<Mover>,
    /// The ten words with the largest contribution to the sum, largest first.
    pub(crate) words: Vec<(WordId, f64)>,
}

impl History {
    /// Counts a tweet.
    pub(super) fn add(&mut self, scored: &Arc<Scored>) {
        self.counted += 1;
        self.open.add(self.counted, scored);
        self.open_words.add(scored);
    }

    /// Adds the point of the counted tweet on a line.
    pub(super) fn add_point(&mut self, line: usize, point: &Point<Arc<Scored>>) {
        self.open.add_point(line, point);
    }

    /// Closes the open segment if it is large enough. At most `limit` segments are kept.
    pub(super) fn close_segment(&mut self, now: Duration, limit: usize) {
        let open = &self.open;
        let is_large = open.counted > self.counted / TWEETS;
        let is_long = open.to - open.from >= LENGTH;
        let is_due = now.saturating_sub(self.closed_at) >= MIN_INTERVAL;
        if !(is_large || (is_long && is_due)) {
            return;
        }
        self.closed_at = now;
        let segment = std::mem::take(&mut self.open).close();
        let words = self.open_words.snapshot();
        self.open_words.clear();
        let version = self.next_version();
        self.closed.push(Closed {
            version,
            segment,
            words,
        });
        self.shrink(limit);
    }

    fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    /// Merges segments until there are at most `limit`.
    pub(super) fn shrink(&mut self, limit: usize) {
        while self.closed.len() > limit.max(1)
            && let Some(index) = self.narrowest_pair()
        {
            let next = self.closed.remove(index + 1);
            let version = self.next_version();
            let merged = &mut self.closed[index];
            merged.version = version;
            merged.segment.merge(next.segment);
            merged.words.merge(&next.words);
        }
    }

    /// Returns the index of the first of the two neighbours that are narrowest together.
    fn narrowest_pair(&self) -> Option<usize> {
        let segments = || self.closed.iter().map(|closed| &closed.segment);
        let oldest = segments().map(|segment| segment.from).min()?;
        let latest = segments().map(|segment| segment.to).max()?;
        let whole = latest.saturating_sub(oldest).max(1);
        let end = segments()
            .rev()
            .take(NEWEST)
            .map(|segment| segment.to)
            .max()?;
        let width = |a: &Segment<_>, b: &Segment<_>| {
            let distance = end.abs_diff(b.to);
            let view = VIEWS
                .into_iter()
                .find(|view| distance < view.unsigned_abs());
            let view = view.unwrap_or(whole);
            let length = b.to.max(a.to).saturating_sub(a.from.min(b.from));
            let in_time = length as f64 / view.min(whole) as f64;
            // Tweets that come all at once have no width in time.
            let in_tweets = (a.counted + b.counted) as f64 / self.counted as f64;
            in_time.max(in_tweets)
        };
        let pairs = segments().zip(segments().skip(1));
        let widths = pairs.map(|(a, b)| width(a, b)).enumerate();
        let narrowest = widths.min_by(|(_, a), (_, b)| a.total_cmp(b));
        narrowest.map(|(index, _)| index)
    }

    /// Returns how many of the first segments are still as they were when [`versions`](Self::versions)
    /// returned `known`.
    pub(super) fn unchanged(&self, known: &[u64]) -> usize {
        let both = self.closed.iter().zip(known);
        both.take_while(|(closed, version)| closed.version == **version)
            .count()
    }

    /// Returns the versions of the closed segments.
    pub(super) fn versions(&self) -> impl Iterator<Item = u64> + '_ {
        self.closed.iter().map(|closed| closed.version)
    }

    /// Returns the points that a line has in the closed segments without the first `skip`.
    pub(super) fn closed_points(&self, line: usize, skip: usize) -> impl Iterator<Item = &Point> {
        let closed = self.closed[skip..].iter();
        let parts = closed.filter_map(move |closed| closed.segment.parts.get(line));
        parts.flat_map(Part::extremes)
    }

    /// Returns how many points a line has in the first `count` segments.
    pub(super) fn points_in(&self, line: usize, count: usize) -> usize {
        let closed = self.closed[..count].iter();
        let parts = closed.filter_map(|closed| closed.segment.parts.get(line));
        parts.map(|part| part.extremes().count()).sum()
    }

    /// Returns the points that a line has in the open segment.
    pub(super) fn open_points(&self, line: usize) -> impl Iterator<Item = &Point<Arc<Scored>>> {
        self.open
            .parts
            .get(line)
            .into_iter()
            .flat_map(Part::extremes)
    }

    /// Returns the segments without the first `skip`. The open one is the last.
    pub(super) fn moods(&self, skip: usize) -> impl Iterator<Item = Mood> + '_ {
        fn mood<T>(segment: &Segment<T>) -> Mood {
            Mood {
                at: segment.to,
                counted: segment.counted,
                compounds: segment.compounds,
            }
        }
        let closed = self.closed[skip..].iter();
        let open = (self.open.counted > 0).then(|| mood(&self.open));
        closed.map(|closed| mood(&closed.segment)).chain(open)
    }

    /// Returns what happened between two times, in milliseconds since 1970: in all segments that have a
    /// tweet there, as a whole. `None` if there is none.
    pub(super) fn stretch(&self, from: i64, to: i64, lines: usize) -> Option<Stretch> {
        let open = (self.open.counted > 0).then(|| (self.open.close(), self.open_words.snapshot()));
        let open = open.as_ref().map(|(segment, words)| (segment, words));
        let closed = self.closed.iter();
        let all = closed
            .map(|closed| (&closed.segment, &closed.words))
            .chain(open);
        let mut stretch = Stretch {
            from: i64::MAX,
            to: i64::MIN,
            lines: vec![(0, 0.0); lines],
            ..Stretch::default()
        };
        let mut totals: HashMap<WordId, f64> = HashMap::new();
        for (segment, words) in all.filter(|(segment, _)| segment.to >= from && segment.from <= to)
        {
            stretch.from = stretch.from.min(segment.from);
            stretch.to = stretch.to.max(segment.to);
            for (line, part) in stretch.lines.iter_mut().zip(&segment.parts) {
                line.0 += part.counted;
                line.1 += part.change;
            }
            merge_movers(&mut stretch.movers, segment.movers.clone());
            for (word, total) in words.iter() {
                *totals.entry(word).or_default() += total;
            }
        }
        if stretch.from > stretch.to {
            return None;
        }
        stretch.words = totals
            .into_iter()
            .filter(|(_, total)| *total != 0.0)
            .collect();
        stretch.words.sort_by(|(a, one), (b, other)| {
            let largest_first = other.abs().total_cmp(&one.abs());
            largest_first.then(a.cmp(b))
        });
        stretch.words.truncate(WORDS);
        Some(stretch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Point, scored};
    use super::*;
    use crate::sentiment::WordShare;
    use proptest::prelude::*;

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
            self.history.add(&scored);
            let tweet = scored;
            self.history.add_point(
                0,
                &Point {
                    number,
                    sum: self.sum,
                    tweet,
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
            let closed = history.closed_points(0, 0).map(|point| point.sum);
            let sums: Vec<f64> = closed.chain(history.open_points(0).map(|point| point.sum)).collect();
            prop_assert_eq!(sums.iter().copied().fold(f64::MAX, f64::min), low);
            prop_assert_eq!(sums.iter().copied().fold(f64::MIN, f64::max), high);

            let (from, to) = ((place.0 * at as f64) as i64, (place.1 * at as f64) as i64);
            let Some(stretch) = history.stretch(from.min(to), from.max(to), 1) else {
                // No tweet is there.
                let inside = recorded.tweets.iter().any(|scored| {
                    (from.min(to)..=from.max(to)).contains(&scored.tweet.created_at.as_millisecond())
                });
                prop_assert!(!inside);
                return Ok(());
            };
            let (counted, change) = stretch.lines[0];
            // The tweets of the stretch are consecutive, also if others have the same time.
            let first = stretch_start(history, from.min(to));
            let tweets = &recorded.tweets[first..first + counted as usize];
            let sum: f64 = tweets.iter().map(|scored| scored.metric).sum();
            prop_assert!((sum - change).abs() < 1e-9);
            let mut movers: Vec<f64> = tweets.iter().map(|scored| scored.metric.abs()).collect();
            movers.sort_by(|a, b| b.total_cmp(a));
            movers.retain(|metric| *metric != 0.0);
            movers.truncate(10);
            let found: Vec<f64> = stretch.movers.iter().map(|mover| mover.tweet.metric.abs()).collect();
            prop_assert_eq!(found, movers);
            let words: f64 = stretch.words.iter().map(|(_, total)| total).sum();
            prop_assert!((words - sum).abs() < 1e-6);
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
