//! The update message of the page: what has changed since the page was last updated.

use super::Shown;
use crate::display::shorten;
use crate::kafka::PartitionLag;
use crate::listener::{Progress, State, Uncounted};
use crate::sentiment::{Polarity, Scored};
use crate::streamer::StatusMessage;
use crate::trajectory::{Sum, Trajectory};
use jiff::Timestamp;
use serde::Serialize;

/// How much of a topic's name, an author's name and a text is shown, in characters.
pub(super) const TOPIC_LENGTH: usize = 48;
const USER_LENGTH: usize = 24;
const TEXT_LENGTH: usize = 300;

/// What the open pages have received.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// For each shown listener.
    listeners: Vec<ListenerCursor>,
}

#[derive(Debug, Default)]
struct ListenerCursor {
    generation: u64,
    /// The states of the segments.
    versions: Vec<u64>,
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
    latest: Vec<LatestTweet>,
}

#[derive(Debug, Serialize)]
struct StreamerUpdate {
    #[serde(flatten)]
    status: StatusMessage,
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

/// A row of the page's table.
#[derive(Debug, Serialize)]
struct LatestTweet {
    number: u64,
    user: String,
    followers: Option<u64>,
    compound: f64,
    metric: f64,
    polarity: Polarity,
    text: String,
    is_shortened: bool,
}

impl Update {
    /// Returns what has changed since `cursor`, and advances the cursor.
    pub(super) fn since(shown: &[Shown], cursor: &mut Cursor) -> Update {
        let count = shown.len();
        cursor.listeners.resize_with(count, ListenerCursor::default);
        let both = shown.iter().zip(&mut cursor.listeners);
        let listeners = both.map(|(shown, cursor)| {
            shown
                .subscription
                .read(|progress| ListenerUpdate::since(&shown.name, progress, cursor))
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
    fn since(name: &str, progress: &Progress, cursor: &mut ListenerCursor) -> ListenerUpdate {
        if cursor.generation != progress.generation {
            *cursor = ListenerCursor {
                generation: progress.generation,
                ..ListenerCursor::default()
            };
        }
        let trajectory = &progress.trajectory;
        let keep = trajectory.unchanged_segments(&cursor.versions);
        cursor.versions.truncate(keep);
        cursor.versions.extend(trajectory.versions().skip(keep));
        let lines = 0..trajectory.lines().len();
        let latest = trajectory
            .latest()
            .filter(|(number, _)| *number > cursor.tweets)
            .map(|(number, scored)| LatestTweet::new(number, scored))
            .collect();
        cursor.tweets = trajectory.total().counted;
        ListenerUpdate {
            name: name.to_owned(),
            state: progress.state.clone(),
            away_since: progress.unreachable_since,
            lag: progress.lag.read(),
            streamer: progress
                .streamer
                .as_ref()
                .map(|(status, at)| StreamerUpdate {
                    status: status.clone(),
                    silence: at.elapsed().as_secs_f64(),
                }),
            generation: progress.generation,
            total: trajectory.total(),
            rate: trajectory.rate(),
            polarities: trajectory.polarities(),
            uncounted: progress.uncounted.clone(),
            times_corrected: progress.times_corrected,
            lines: lines
                .map(|line| LineUpdate::new(trajectory, line, keep))
                .collect(),
            moods: MoodUpdate::new(trajectory, keep),
            latest,
        }
    }
}

/// Rounds to what a page can show.
fn thousandths(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

impl LineUpdate {
    fn new(trajectory: &Trajectory, line: usize, segments: usize) -> LineUpdate {
        let points = trajectory.points(line, segments);
        let of = &trajectory.lines()[line];
        LineUpdate {
            name: shorten(of.name(), TOPIC_LENGTH),
            counted: of.sum().counted,
            keep: trajectory.points_in(line, segments),
            x: points.iter().map(|point| point.tweet.at).collect(),
            y: points.iter().map(|point| thousandths(point.sum)).collect(),
        }
    }
}

impl MoodUpdate {
    fn new(trajectory: &Trajectory, keep: usize) -> MoodUpdate {
        let moods: Vec<_> = trajectory.moods(keep).collect();
        MoodUpdate {
            keep,
            at: moods.iter().map(|mood| mood.at).collect(),
            counted: moods.iter().map(|mood| mood.counted).collect(),
            compounds: moods
                .iter()
                .map(|mood| thousandths(mood.compounds))
                .collect(),
        }
    }
}

impl LatestTweet {
    fn new(number: u64, scored: &Scored) -> LatestTweet {
        let Scored {
            tweet,
            sentiment,
            metric,
            ..
        } = scored;
        LatestTweet {
            number,
            user: shorten(&tweet.user, USER_LENGTH),
            followers: tweet.followers,
            compound: sentiment.compound,
            metric: thousandths(*metric),
            polarity: sentiment.polarity(),
            text: shorten(&tweet.text, TEXT_LENGTH),
            is_shortened: tweet.text.chars().nth(TEXT_LENGTH).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trajectory::scored;
    use proptest::prelude::*;
    use std::time::Instant;

    fn since(progress: &Progress, cursor: &mut ListenerCursor) -> ListenerUpdate {
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
        let everything = since(&progress, &mut ListenerCursor::default());
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
            let (mut cursor, mut page) = (ListenerCursor::default(), Default::default());
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
                apply(&mut whole, &mut fresh, &since(&progress, &mut ListenerCursor::default()));
                prop_assert_eq!(&page, &whole);
            }
        }
    }
}
