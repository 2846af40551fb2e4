//! A segment: consecutive tweets of the stream, and what the figure shows of them.
//!
//! A segment keeps its lowest and highest point of each line, the tweets that moved the sum most, and
//! sums. Everything can be merged with the next segment without loss: the extremes of both are the
//! extremes of the whole, and the ten largest of both contain the ten largest of the whole.

use crate::notebook::shorten;
use crate::sentiment::Scored;
use std::collections::HashMap;
use std::sync::Arc;

/// How many of the tweets that moved the sum most are kept.
pub(crate) const MOVERS: usize = 10;
/// How much of a tweet's author and text is kept, in characters. The text is explained on request, so
/// it is not shortened unless it is longer than tweets are.
const USER_LENGTH: usize = 24;
const TEXT_LENGTH: usize = 1_000;

/// The part of a tweet that is kept. A segment has it of some tweets only.
#[derive(Debug, PartialEq)]
pub(crate) struct Excerpt {
    /// When the tweet was sent, in milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) user: String,
    pub(crate) followers: Option<u64>,
    pub(crate) compound: f64,
    pub(crate) metric: f64,
    pub(crate) text: String,
    /// Whether the text was shortened.
    pub(crate) is_shortened: bool,
}

impl Excerpt {
    fn of(scored: &Scored) -> Excerpt {
        let tweet = &scored.tweet;
        let text = shorten(&tweet.text, TEXT_LENGTH);
        Excerpt {
            at: tweet.created_at.as_millisecond(),
            user: shorten(&tweet.user, USER_LENGTH),
            followers: tweet.followers,
            compound: scored.sentiment.compound,
            metric: scored.metric,
            is_shortened: tweet.text.chars().nth(TEXT_LENGTH).is_some(),
            text,
        }
    }
}

/// A point of a line: the sum after a tweet. In the open segment it has the tweet itself, because most
/// of these points are soon replaced. In a closed segment it has the excerpt.
#[derive(Clone, Debug)]
pub(crate) struct Point<T = Arc<Excerpt>> {
    /// The number of the tweet in its line, from 1.
    pub(super) number: u64,
    pub(crate) sum: f64,
    pub(crate) tweet: T,
}

/// A tweet that moved the sum.
#[derive(Clone, Debug)]
pub(crate) struct Mover<T = Arc<Excerpt>> {
    /// The number of the tweet in the stream, from 1.
    pub(super) number: u64,
    pub(super) metric: f64,
    pub(crate) tweet: T,
}

/// What a segment has of one line.
#[derive(Clone, Debug)]
pub(super) struct Part<T> {
    pub(super) counted: u64,
    /// How much the sum changed.
    pub(super) change: f64,
    low: Option<Point<T>>,
    high: Option<Point<T>>,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Part {
            counted: 0,
            change: 0.0,
            low: None,
            high: None,
        }
    }
}

impl<T: Clone> Part<T> {
    fn add(&mut self, point: &Point<T>) {
        if self.low.as_ref().is_none_or(|low| point.sum < low.sum) {
            self.low = Some(point.clone());
        }
        if self.high.as_ref().is_none_or(|high| point.sum > high.sum) {
            self.high = Some(point.clone());
        }
    }

    /// Returns the lowest and the highest point in the order in which they came; one point if they
    /// are the same.
    pub(super) fn extremes(&self) -> impl Iterator<Item = &Point<T>> + use<'_, T> {
        let (first, second) = match (&self.low, &self.high) {
            (Some(low), Some(high)) if low.number < high.number => (Some(low), Some(high)),
            (Some(low), Some(high)) if high.number < low.number => (Some(high), Some(low)),
            (low, _) => (low.as_ref(), None),
        };
        first.into_iter().chain(second)
    }

    fn merge(&mut self, next: Part<T>) {
        self.counted += next.counted;
        self.change += next.change;
        for point in [next.low, next.high].into_iter().flatten() {
            self.add(&point);
        }
    }
}

/// Consecutive tweets. `T` is what is known of a tweet.
#[derive(Clone, Debug)]
pub(super) struct Segment<T> {
    pub(super) counted: u64,
    /// The times of the earliest and the latest tweet, in milliseconds since 1970.
    pub(super) from: i64,
    pub(super) to: i64,
    /// The sum of the compounds.
    pub(super) compounds: f64,
    /// The parts of the lines. A line after the last one has no tweets here.
    pub(super) parts: Vec<Part<T>>,
    /// The tweets that moved the sum of all tweets most, largest first.
    pub(super) movers: Vec<Mover<T>>,
}

impl<T> Default for Segment<T> {
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

impl<T: Clone> Segment<T> {
    /// Merges the segment that follows this one.
    pub(super) fn merge(&mut self, next: Segment<T>) {
        self.counted += next.counted;
        self.from = self.from.min(next.from);
        self.to = self.to.max(next.to);
        self.compounds += next.compounds;
        if self.parts.len() < next.parts.len() {
            self.parts.resize_with(next.parts.len(), Part::default);
        }
        for (part, next) in self.parts.iter_mut().zip(next.parts) {
            part.merge(next);
        }
        merge_movers(&mut self.movers, next.movers);
    }
}

/// Keeps the largest of both. Of equally large ones, the earlier come first.
pub(super) fn merge_movers<T>(movers: &mut Vec<Mover<T>>, next: Vec<Mover<T>>) {
    movers.extend(next);
    movers.sort_by(|a, b| {
        let largest_first = b.metric.abs().total_cmp(&a.metric.abs());
        largest_first.then(a.number.cmp(&b.number))
    });
    movers.truncate(MOVERS);
}

impl Segment<Arc<Scored>> {
    /// Counts the tweet with this number.
    pub(super) fn add(&mut self, number: u64, scored: &Arc<Scored>) {
        let at = scored.tweet.created_at.as_millisecond();
        self.counted += 1;
        self.from = self.from.min(at);
        self.to = self.to.max(at);
        self.compounds += scored.sentiment.compound;
        let metric = scored.metric;
        let is_full = self.movers.len() == MOVERS;
        let smallest = self.movers.last().map_or(0.0, |last| last.metric.abs());
        if metric != 0.0 && (!is_full || metric.abs() > smallest) {
            let mover = Mover {
                number,
                metric,
                tweet: scored.clone(),
            };
            let larger = |other: &Mover<_>| other.metric.abs() >= metric.abs();
            let place = self.movers.partition_point(larger);
            self.movers.insert(place, mover);
            self.movers.truncate(MOVERS);
        }
    }

    /// Adds the tweet's point on a line.
    pub(super) fn add_point(&mut self, line: usize, point: &Point<Arc<Scored>>) {
        if self.parts.len() <= line {
            self.parts.resize_with(line + 1, Part::default);
        }
        let part = &mut self.parts[line];
        part.counted += 1;
        part.change += point.tweet.metric;
        part.add(point);
    }

    /// Returns the segment with excerpts in place of the tweets.
    pub(super) fn close(&self) -> Segment<Arc<Excerpt>> {
        // The same tweet is often an extreme of two lines and a mover.
        let mut excerpts: HashMap<*const Scored, Arc<Excerpt>> = HashMap::new();
        let mut excerpt = |scored: &Arc<Scored>| {
            let known = excerpts.entry(Arc::as_ptr(scored));
            known
                .or_insert_with(|| Arc::new(Excerpt::of(scored)))
                .clone()
        };
        let parts = self.parts.iter().map(|part| {
            let mut closed = |point: &Option<Point<Arc<Scored>>>| {
                point.as_ref().map(|point| Point {
                    number: point.number,
                    sum: point.sum,
                    tweet: excerpt(&point.tweet),
                })
            };
            Part {
                counted: part.counted,
                change: part.change,
                low: closed(&part.low),
                high: closed(&part.high),
            }
        });
        let parts = parts.collect();
        let movers = self.movers.iter().map(|mover| Mover {
            number: mover.number,
            metric: mover.metric,
            tweet: excerpt(&mover.tweet),
        });
        Segment {
            counted: self.counted,
            from: self.from,
            to: self.to,
            compounds: self.compounds,
            movers: movers.collect(),
            parts,
        }
    }
}

impl Point<Arc<Scored>> {
    /// Returns the point with the excerpt of its tweet.
    pub(super) fn excerpt(&self) -> Point {
        Point {
            number: self.number,
            sum: self.sum,
            tweet: Arc::new(Excerpt::of(&self.tweet)),
        }
    }
}
