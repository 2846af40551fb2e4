//! The update message of the page: what has changed since the page was last updated.

use super::Shown;
use crate::kafka::PartitionLag;
use crate::listener::{Progress, State, Uncounted};
use crate::notebook::shorten;
use crate::sentiment::{Polarity, Scored};
use crate::trajectory::{Sum, Trajectory, USER_LENGTH};
use crate::wire::StreamerStatus;
use jiff::Timestamp;
use serde::Serialize;

/// The number of characters of a topic's name that are shown.
pub(super) const TOPIC_LENGTH: usize = 48;
/// The number of characters of a text that the table shows.
const TEXT_LENGTH: usize = 300;

/// What the open pages have received of a listener.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    generation: u64,
    /// The version of the history.
    version: u64,
    tweets: u64,
}

/// An update of a page. The first one has everything so far.
#[derive(Debug, Serialize)]
pub(super) struct Update {
    listeners: Vec<ListenerUpdate>,
}

#[derive(Debug, Serialize)]
struct ListenerUpdate {
    name: String,
    state: State,
    away_since: Option<Timestamp>,
    lag: Vec<PartitionLag>,
    streamer: Option<StreamerUpdate>,
    /// If it differs from the last update's, the page starts with empty lines.
    generation: u64,
    #[serde(flatten)]
    total: Sum,
    rate: f64,
    /// How many tweets are positive, neutral and negative.
    polarities: [u64; 3],
    uncounted: Uncounted,
    times_corrected: u64,
    lines: Vec<LineUpdate>,
    moods: MoodUpdate,
    /// The newest tweets, for the table. The last one has the number `counted`.
    latest: Vec<ShownTweet>,
}

#[derive(Debug, Serialize)]
struct StreamerUpdate {
    #[serde(flatten)]
    status: StreamerStatus,
    /// The time since the status came, in seconds. A streamer sends one each second.
    silence: f64,
}

#[derive(Debug, Serialize)]
struct LineUpdate {
    name: String,
    counted: u64,
    /// How many points of the page, from the first, stay. The points below follow them.
    keep: usize,
    x: Vec<i64>,
    y: Vec<f64>,
}

/// The segments of the history, for the view of the mood.
#[derive(Debug, Serialize)]
struct MoodUpdate {
    keep: usize,
    at: Vec<i64>,
    counted: Vec<u64>,
    compounds: Vec<f64>,
}

/// A tweet, as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct ShownTweet {
    /// In milliseconds since 1970.
    at: i64,
    user: String,
    followers: Option<u64>,
    compound: f64,
    metric: f64,
    polarity: Polarity,
    text: String,
    is_shortened: bool,
}

impl ShownTweet {
    /// Shortens the text to `length` characters.
    pub(super) fn new(scored: &Scored, length: usize) -> ShownTweet {
        let tweet = &scored.tweet;
        ShownTweet {
            at: tweet.created_at.as_millisecond(),
            user: shorten(&tweet.user, USER_LENGTH),
            followers: tweet.followers,
            compound: scored.sentiment.compound,
            metric: scored.metric,
            polarity: scored.sentiment.polarity(),
            text: shorten(&tweet.text, length),
            is_shortened: tweet.text.chars().nth(length).is_some(),
        }
    }
}

impl Update {
    /// Returns what has changed since `cursors`, one for each shown listener, and advances them.
    pub(super) fn since(shown: &[Shown], cursors: &mut Vec<Cursor>) -> Update {
        cursors.resize_with(shown.len(), Cursor::default);
        let listeners = shown.iter().zip(cursors).map(|(shown, cursor)| {
            let since = |progress: &_| ListenerUpdate::since(&shown.name, progress, cursor);
            shown.subscription.read(since)
        });
        Update {
            listeners: listeners.collect(),
        }
    }

    pub(super) fn to_json(&self) -> String {
        // Numbers, strings, lists and maps with string keys: each has a JSON form.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".into())
    }
}

impl ListenerUpdate {
    fn since(name: &str, progress: &Progress, cursor: &mut Cursor) -> ListenerUpdate {
        if cursor.generation != progress.generation {
            *cursor = Cursor::default();
        }
        let trajectory = &progress.trajectory;
        let total = trajectory.total();
        let keep = trajectory.history.unchanged_since(cursor.version);
        let latest = trajectory.latest();
        let new_tweets = (total.counted - cursor.tweets) as usize;
        let known_tweets = latest.len().saturating_sub(new_tweets);
        *cursor = Cursor {
            generation: progress.generation,
            version: trajectory.history.version,
            tweets: total.counted,
        };
        ListenerUpdate {
            name: name.to_owned(),
            state: progress.state.clone(),
            away_since: progress.unreachable_since,
            lag: progress.lag.read(),
            streamer: progress
                .streamer
                .clone()
                .map(|(status, at)| StreamerUpdate {
                    status,
                    silence: at.elapsed().as_secs_f64(),
                }),
            generation: progress.generation,
            total,
            rate: trajectory.rate(),
            polarities: trajectory.polarities,
            uncounted: progress.uncounted.clone(),
            times_corrected: progress.times_corrected,
            lines: (0..trajectory.lines.len())
                .map(|line| LineUpdate::new(trajectory, line, keep))
                .collect(),
            moods: MoodUpdate::new(trajectory, keep),
            latest: latest
                .skip(known_tweets)
                .map(|scored| ShownTweet::new(scored, TEXT_LENGTH))
                .collect(),
        }
    }
}

/// Rounds to what a page can show.
fn thousandths(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

impl LineUpdate {
    /// The page keeps the points of the first `segments`.
    fn new(trajectory: &Trajectory, index: usize, segments: usize) -> LineUpdate {
        let points = trajectory.points(index, segments);
        let line = &trajectory.lines[index];
        let kept = trajectory.history.segments(0).take(segments);
        LineUpdate {
            name: shorten(&line.name, TOPIC_LENGTH),
            counted: line.sum.counted,
            keep: kept.map(|segment| segment.points(index).count()).sum(),
            x: points.iter().map(|point| point.at()).collect(),
            y: points.iter().map(|point| thousandths(point.sum)).collect(),
        }
    }
}

impl MoodUpdate {
    fn new(trajectory: &Trajectory, keep: usize) -> MoodUpdate {
        let segments = || trajectory.history.segments(keep);
        let compounds = segments().map(|segment| thousandths(segment.compounds));
        MoodUpdate {
            keep,
            at: segments().map(|segment| segment.to).collect(),
            counted: segments().map(|segment| segment.counted).collect(),
            compounds: compounds.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trajectory::scored;
    use proptest::prelude::*;
    use std::time::Instant;

    fn since(progress: &Progress, cursor: &mut Cursor) -> ListenerUpdate {
        ListenerUpdate::since("listener", progress, cursor)
    }

    #[test]
    fn three_listeners_of_a_million_tweets_fit_into_400_kilobytes() {
        let mut progress = Progress::default();
        let topics = ["bitcoin", "ethereum", "dogecoin"];
        for number in 0..1_000_000 {
            let metric = (number as f64 / 999.0).sin();
            let topic = topics[(number % 3) as usize];
            progress
                .trajectory
                .add(&scored(number, metric, &[topic]), Instant::now());
        }
        let everything = since(&progress, &mut Cursor::default());
        let total = &everything.lines[0];
        assert!(total.y.len() > 200, "{} points", total.y.len());
        let last = total.y.last().unwrap();
        assert!((last - progress.trajectory.total().sum).abs() < 1e-3);
        let update = Update {
            listeners: vec![everything],
        };
        let bytes = 3 * update.to_json().len();
        assert!(bytes < 400_000, "{bytes} bytes");
    }

    type Lines = Vec<Vec<(i64, f64)>>;

    /// Applies an update as the page does.
    fn apply(page: &mut (Lines, Vec<(i64, u64)>), generation: &mut u64, update: &ListenerUpdate) {
        if *generation != update.generation {
            *page = Default::default();
            *generation = update.generation;
        }
        let (lines, moods) = page;
        lines.resize(update.lines.len(), Vec::new());
        for (line, update) in lines.iter_mut().zip(&update.lines) {
            line.truncate(update.keep);
            line.extend(update.x.iter().copied().zip(update.y.iter().copied()));
        }
        let update = &update.moods;
        moods.truncate(update.keep);
        moods.extend(
            update
                .at
                .iter()
                .copied()
                .zip(update.counted.iter().copied()),
        );
    }

    proptest! {
        #[test]
        fn updates_lead_a_page_to_the_same_lines(
            steps in prop::collection::vec((0u64..900, any::<bool>()), 1..12)
        ) {
            let mut progress = Progress::default();
            let (mut cursor, mut page) = (Cursor::default(), Default::default());
            let (mut generation, mut number) = (0, 0);
            for (tweets, restart) in steps {
                if restart && tweets % 5 == 0 {
                    progress.start_run();
                }
                for _ in 0..tweets {
                    number += 1;
                    let topics: &[&str] = if number % 2 == 0 { &["even"] } else { &["odd"] };
                    let metric = ((number * 7919) % 13) as f64 - 6.0;
                    progress.trajectory.add(&scored(number, metric, topics), Instant::now());
                }
                apply(&mut page, &mut generation, &since(&progress, &mut cursor));
                let (mut whole, mut fresh) = (Default::default(), 0);
                apply(&mut whole, &mut fresh, &since(&progress, &mut Cursor::default()));
                prop_assert_eq!(&page, &whole);
            }
        }
    }
}
