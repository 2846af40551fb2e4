//! The update message of the page: what has changed since the page was last updated.

use super::Shown;
use crate::listener::Progress;
use crate::notebook::shorten;
use crate::sentiment::Scored;
use crate::trajectory::{Trajectory, USER_LENGTH};
use serde_json::{Value, json};

/// The number of characters of a topic's name that are shown.
pub(super) const TOPIC_LENGTH: usize = 48;
/// The number of characters of a text that the table shows.
const TEXT_LENGTH: usize = 300;

/// What the open pages have received of a listener.
#[derive(Debug, Default)]
pub(super) struct UpdateCursor {
    generation: u64,
    /// The version of the history.
    version: u64,
    tweets: u64,
}

/// Returns what has changed since `cursors`, and advances them. There is a cursor for each shown listener.
/// With new cursors, the update has everything so far.
pub(super) fn update(shown: &[Shown], cursors: &mut Vec<UpdateCursor>) -> String {
    cursors.resize_with(shown.len(), UpdateCursor::default);
    let listeners = shown.iter().zip(cursors).map(|(shown, cursor)| {
        let since = |progress: &_| listener_since(&shown.name, progress, cursor);
        shown.subscription.read(since)
    });
    json!({"listeners": listeners.collect::<Vec<_>>()}).to_string()
}

fn listener_since(name: &str, progress: &Progress, cursor: &mut UpdateCursor) -> Value {
    if cursor.generation != progress.generation {
        *cursor = UpdateCursor::default();
    }
    let trajectory = &progress.trajectory;
    let total = trajectory.total();
    let keep = trajectory.history.unchanged_since(cursor.version);
    let lines = (0..trajectory.lines.len()).map(|line| line_since(trajectory, line, keep));
    let streamer = progress.streamer.as_ref().map(|(status, at)| {
        let mut streamer = json!(status);
        // The time since the status came, in seconds. A streamer sends a status each second.
        streamer["silence"] = json!(at.elapsed().as_secs_f64());
        streamer
    });
    let latest = trajectory.latest();
    let known = latest
        .len()
        .saturating_sub((total.counted - cursor.tweets) as usize);
    let latest = latest.skip(known).map(|scored| tweet(scored, TEXT_LENGTH));
    *cursor = UpdateCursor {
        generation: progress.generation,
        version: trajectory.history.version,
        tweets: total.counted,
    };
    json!({
        "name": name,
        "state": progress.state,
        "unreachable_since": progress.unreachable_since,
        "lag": progress.lag.read(),
        "streamer": streamer,
        // If it differs from that of the last update, the page starts again with empty lines.
        "generation": progress.generation,
        "counted": total.counted,
        "sum": total.sum,
        "rate": trajectory.rate(),
        "polarities": trajectory.polarities,
        "uncounted": progress.uncounted,
        "times_corrected": progress.times_corrected,
        "lines": lines.collect::<Vec<_>>(),
        "moods": moods_since(trajectory, keep),
        // The newest tweets, for the table. The last one has the number `counted`.
        "latest": latest.collect::<Vec<_>>(),
    })
}

/// Returns the points of a line, for a page that keeps the points of the first `segments`.
fn line_since(trajectory: &Trajectory, index: usize, segments: usize) -> Value {
    let line = &trajectory.lines[index];
    let kept = trajectory.history.segments(0).take(segments);
    let points = trajectory.points(index, segments);
    let sums = points.iter().map(|point| thousandths(point.sum));
    json!({
        "name": shorten(&line.name, TOPIC_LENGTH),
        "counted": line.sum.counted,
        // How many of the page's points stay, from the first one. The points in `x` and `y` follow.
        "keep": kept.map(|segment| segment.points(index).count()).sum::<usize>(),
        "x": points.iter().map(|point| point.at()).collect::<Vec<_>>(),
        "y": sums.collect::<Vec<_>>(),
    })
}

/// Returns the segments of the history, for the view of the mood.
fn moods_since(trajectory: &Trajectory, keep: usize) -> Value {
    let segments: Vec<_> = trajectory.history.segments(keep).collect();
    let compounds = segments
        .iter()
        .map(|segment| thousandths(segment.compounds));
    json!({
        "keep": keep,
        "at": segments.iter().map(|segment| segment.to).collect::<Vec<_>>(),
        "counted": segments.iter().map(|segment| segment.counted).collect::<Vec<_>>(),
        "compounds": compounds.collect::<Vec<_>>(),
    })
}

/// Returns a tweet as the page shows it, with a text of at most `length` characters.
pub(super) fn tweet(scored: &Scored, length: usize) -> Value {
    let Scored {
        tweet, sentiment, ..
    } = scored;
    json!({
        "at": tweet.created_at.as_millisecond(),
        "user": shorten(&tweet.user, USER_LENGTH),
        "followers": tweet.followers,
        "compound": sentiment.compound,
        "metric": scored.metric,
        "polarity": sentiment.polarity(),
        "text": shorten(&tweet.text, length),
        "is_shortened": tweet.text.chars().nth(length).is_some(),
    })
}

/// Rounds to a precision that is sufficient for the page.
fn thousandths(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trajectory::scored;
    use proptest::prelude::*;
    use serde::de::DeserializeOwned;
    use std::time::Instant;

    fn since(progress: &Progress, cursor: &mut UpdateCursor) -> Value {
        listener_since("listener", progress, cursor)
    }

    /// Returns the values of a list.
    fn list<T: DeserializeOwned>(values: &Value) -> Vec<T> {
        serde_json::from_value(values.clone()).unwrap()
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
        let everything = since(&progress, &mut UpdateCursor::default());
        let total: Vec<f64> = list(&everything["lines"][0]["y"]);
        assert!(total.len() > 200, "{} points", total.len());
        let last = total.last().unwrap();
        assert!((last - progress.trajectory.total().sum).abs() < 1e-3);
        let bytes = 3 * everything.to_string().len();
        assert!(bytes < 400_000, "{bytes} bytes");
    }

    type Lines = Vec<Vec<(i64, f64)>>;

    /// Applies an update as the page does.
    fn apply(page: &mut (Lines, Vec<(i64, u64)>), generation: &mut u64, update: &Value) {
        if *generation != update["generation"] {
            *page = Default::default();
            *generation = update["generation"].as_u64().unwrap();
        }
        let keep = |update: &Value| update["keep"].as_u64().unwrap() as usize;
        let (lines, moods) = page;
        let updates = update["lines"].as_array().unwrap();
        lines.resize(updates.len(), Vec::new());
        for (line, update) in lines.iter_mut().zip(updates) {
            line.truncate(keep(update));
            line.extend(
                list::<i64>(&update["x"])
                    .into_iter()
                    .zip(list(&update["y"])),
            );
        }
        let update = &update["moods"];
        moods.truncate(keep(update));
        moods.extend(
            list::<i64>(&update["at"])
                .into_iter()
                .zip(list(&update["counted"])),
        );
    }

    proptest! {
        #[test]
        fn updates_lead_a_page_to_the_same_lines(
            steps in prop::collection::vec((0u64..900, any::<bool>()), 1..12)
        ) {
            let mut progress = Progress::default();
            let (mut cursor, mut page) = (UpdateCursor::default(), Default::default());
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
                apply(&mut whole, &mut fresh, &since(&progress, &mut UpdateCursor::default()));
                prop_assert_eq!(&page, &whole);
            }
        }
    }
}
