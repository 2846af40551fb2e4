//! The update message of the page: what has changed since the page was last updated.

use crate::display::{escape, shorten, thousands};
use crate::listener::{Progress, State, Uncounted};
use crate::sentiment::Polarity;
use crate::streamer::StatusMessage;
use crate::trajectory::{Excerpt, Line, Sum};
use serde::Serialize;

/// How much of a topic's name, an author's name and a text is shown, in characters.
const TOPIC_LENGTH: usize = 48;
const USER_LENGTH: usize = 24;
const TEXT_LENGTH: usize = 300;

/// What a page has received of each line, and of the newest tweets.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    generation: u64,
    /// For each line, its generation and the number of its closed points.
    lines: Vec<(u64, usize)>,
    tweets: u64,
}

/// An update of a page. The first one has everything so far.
#[derive(Debug, Serialize)]
pub(super) struct Update {
    state: State,
    streamer: Option<StatusMessage>,
    /// If it differs from the last update's, the page starts with empty lines.
    generation: u64,
    #[serde(flatten)]
    total: Sum,
    rate: f64,
    /// How many tweets are positive, neutral and negative.
    polarities: [u64; 3],
    uncounted: Uncounted,
    lines: Vec<LineUpdate>,
    latest: Vec<LatestTweet>,
}

#[derive(Debug, Serialize)]
struct LineUpdate {
    name: String,
    counted: u64,
    /// How many points of the page, from the first, stay. The points below follow them.
    keep: usize,
    x: Vec<i64>,
    y: Vec<f64>,
    text: Vec<String>,
}

/// A row of the page's table.
#[derive(Debug, Serialize)]
struct LatestTweet {
    number: u64,
    user: String,
    followers: Option<u64>,
    compound: f64,
    polarity: Polarity,
    text: String,
}

impl Update {
    /// Returns what has changed since `cursor`, and advances the cursor.
    pub(super) fn since(progress: &Progress, cursor: &mut Cursor) -> Update {
        if cursor.generation != progress.generation {
            *cursor = Cursor {
                generation: progress.generation,
                ..Cursor::default()
            };
        }
        let trajectory = &progress.trajectory;
        let total = trajectory.total();
        let lines = trajectory.lines().enumerate();
        let lines = lines.map(|(index, line)| {
            let keep = match cursor.lines.get(index) {
                Some((generation, sent)) if *generation == line.generation() => *sent,
                _ => 0,
            };
            let sent = (line.generation(), line.closed_points());
            match cursor.lines.get_mut(index) {
                Some(known) => *known = sent,
                None => cursor.lines.push(sent),
            }
            LineUpdate::new(line, keep)
        });
        let lines = lines.collect();
        let latest = trajectory
            .latest()
            .filter(|(number, _)| *number > cursor.tweets)
            .map(|(number, scored)| LatestTweet {
                number,
                user: shorten(&scored.tweet.user, USER_LENGTH),
                followers: scored.tweet.followers,
                compound: scored.sentiment.compound,
                polarity: scored.sentiment.polarity(),
                text: shorten(&scored.tweet.text, TEXT_LENGTH),
            })
            .collect();
        cursor.tweets = total.counted;
        Update {
            state: progress.state.clone(),
            streamer: progress.streamer.clone(),
            generation: progress.generation,
            total,
            rate: trajectory.rate(),
            polarities: trajectory.polarities(),
            uncounted: progress.uncounted.clone(),
            lines,
            latest,
        }
    }

    pub(super) fn to_json(&self) -> String {
        // Numbers, strings, lists and maps with string keys: each has a JSON form.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".into())
    }
}

impl LineUpdate {
    fn new(line: &Line, keep: usize) -> LineUpdate {
        let points = line.points(keep);
        let thousandths = |sum: f64| (sum * 1e3).round() / 1e3;
        LineUpdate {
            name: shorten(line.name(), TOPIC_LENGTH),
            counted: line.sum().counted,
            keep,
            x: points.iter().map(|point| point.tweet.at).collect(),
            y: points.iter().map(|point| thousandths(point.sum)).collect(),
            text: points.iter().map(|point| hover(&point.tweet)).collect(),
        }
    }
}

/// Returns the text beside the pointer, as HTML. Plotly interprets a few HTML tags in it, so the text
/// of the tweet is escaped.
pub(super) fn hover(tweet: &Excerpt) -> String {
    let followers = match tweet.followers {
        Some(1) => "1 follower".to_owned(),
        Some(count) => format!("{} followers", thousands(count)),
        None => "unknown followers".to_owned(),
    };
    format!(
        "<b>{}</b>, {followers}, {:+.2}<br>{}",
        escape(&tweet.user),
        tweet.compound,
        escape(&tweet.text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trajectory::scored;
    use proptest::prelude::*;

    #[test]
    fn a_million_tweets_fit_into_200_kilobytes() {
        let mut progress = Progress::default();
        let topics = ["bitcoin", "ethereum", "dogecoin"];
        for number in 0..1_000_000 {
            let metric = (number as f64 / 999.0).sin();
            let topic = topics[(number % 3) as usize];
            progress.trajectory.add(&scored(number, metric, &[topic]));
        }
        let everything = Update::since(&progress, &mut Cursor::default());
        let bytes = everything.to_json().len();
        assert!(bytes < 200_000, "{bytes} bytes");
        let total = &everything.lines[0];
        assert!(total.y.len() > 100, "{} points", total.y.len());
        let last = total.y.last().unwrap();
        assert!((last - progress.trajectory.total().sum).abs() < 1e-3);
        assert!(!total.text[0].contains("<script>"), "text is escaped");
    }

    /// Applies an update as the page does.
    fn apply(page: &mut Vec<Vec<(i64, f64)>>, generation: &mut u64, update: &Update) {
        if *generation != update.generation {
            page.clear();
            *generation = update.generation;
        }
        page.resize(update.lines.len(), Vec::new());
        for (line, update) in page.iter_mut().zip(&update.lines) {
            line.truncate(update.keep);
            line.extend(update.x.iter().copied().zip(update.y.iter().copied()));
        }
    }

    proptest! {
        #[test]
        fn updates_lead_a_page_to_the_same_lines(
            steps in prop::collection::vec((0u64..900, any::<bool>()), 1..12)
        ) {
            let mut progress = Progress::default();
            let (mut cursor, mut page, mut generation) = (Cursor::default(), Vec::new(), 0);
            let mut number = 0;
            for (tweets, restart) in steps {
                if restart && tweets % 5 == 0 {
                    progress.start_run();
                }
                for _ in 0..tweets {
                    number += 1;
                    let topics: &[&str] = if number % 2 == 0 { &["even"] } else { &["odd"] };
                    let metric = ((number * 7919) % 13) as f64 - 6.0;
                    progress.trajectory.add(&scored(number, metric, topics));
                }
                apply(&mut page, &mut generation, &Update::since(&progress, &mut cursor));
                let (mut whole, mut fresh) = (Vec::new(), 0);
                let everything = Update::since(&progress, &mut Cursor::default());
                apply(&mut whole, &mut fresh, &everything);
                prop_assert_eq!(&page, &whole);
            }
        }
    }
}
