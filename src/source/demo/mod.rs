//! Generated tweets: no account, no network, and the same tweets for the same seed.
//!
//! The tweets make the figure and the filter worth watching:
//!
//! - Each topic has a mood that changes like a slow wave, which gives the figure a shape.
//! - Follower counts have a long tail, as in reality: half of the authors have about a hundred or fewer
//!   followers, and one author in a thousand has more than a million.
//! - A dozen authors write one tweet in five, so the same author appears again.
//! - Some texts contain trading slang and sarcasm, which VADER scores wrongly.
//! - Arrivals are a Poisson process.
//! - About one tweet in eight is off-topic or in another language.

mod story;
mod texts;

use super::{Source, async_trait, check_rate, stream_prefix};
use crate::error::Result;
use crate::filter::Filter;
use crate::tweet::Tweet;
use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use story::Story;
use texts::*;
use tokio::time::Instant;

/// The number of tweets per second that a story assumes if there are no waits between tweets.
const STORY_RATE: f64 = 20.0;

/// The demo source. `Demo::default()` generates 20 tweets per second without end.
///
/// # Examples
/// ```
/// use live_sentiment::prelude::*;
///
/// let quick = Demo::default().rate(200.0)?.seed(7).count(1_000);
/// assert!(Demo::default().rate(0.0).is_err());
/// # Ok::<(), live_sentiment::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a source does nothing until a streamer starts with it"]
pub struct Demo {
    /// The average number of tweets per second; `None` without waits between tweets.
    rate: Option<f64>,
    tweets: SmallRng,
    /// Arrival times have their own generator. The rate therefore does not change the tweets.
    arrivals: SmallRng,
    /// The prefix of the ids of this stream.
    prefix: String,
    made: u64,
    count: Option<u64>,
    due: Option<Instant>,
    story: Story,
}

impl Default for Demo {
    fn default() -> Self {
        let seed = 1;
        Demo {
            rate: Some(20.0),
            tweets: SmallRng::seed_from_u64(seed),
            arrivals: arrivals(seed),
            prefix: stream_prefix(),
            made: 0,
            count: None,
            due: None,
            story: Story::default(),
        }
    }
}

impl Demo {
    /// Sets the average number of tweets per second, 0.1 or more.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for less than 0.1, infinity and NaN.
    pub fn rate(mut self, per_second: f64) -> Result<Self> {
        check_rate(per_second)?;
        self.rate = Some(per_second);
        Ok(self)
    }

    /// Removes the waits between tweets, for measurements.
    pub fn as_fast_as_possible(mut self) -> Self {
        self.rate = None;
        self
    }

    /// Sets the seed. The same seed generates the same tweets at every rate, apart from their times
    /// and their ids, which are different in each stream. With a [`story`](Demo::story), the rate changes
    /// the texts too.
    pub fn seed(mut self, seed: u64) -> Self {
        self.tweets = SmallRng::seed_from_u64(seed);
        self.arrivals = arrivals(seed);
        self
    }

    /// Ends the source after `count` tweets. With `None`, the source does not end.
    pub fn count(mut self, count: impl Into<Option<u64>>) -> Self {
        self.count = count.into();
        self
    }

    /// Sets the mood of topics over time, for a planned lecture. Each topic has a list of times and moods.
    /// A time is in seconds since the start of the stream, and a mood is from -1 (angry) to 1 (happy).
    /// Between two times, the mood changes evenly. A topic without a list keeps its waves.
    ///
    /// The time of a tweet is its number divided by the rate, so the story does not depend on the
    /// machine. Without waits between tweets, the story has 20 tweets per second.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a topic other than bitcoin,
    /// ethereum and dogecoin, and for an invalid list. A list is invalid if it is empty, if its times are
    /// negative or do not increase, or if a mood is outside \[-1, 1\].
    ///
    /// # Examples
    /// ```
    /// use live_sentiment::prelude::*;
    ///
    /// // Bitcoin rises for two minutes, and crashes within five seconds.
    /// let crash = [(0.0, 0.0), (120.0, 0.9), (125.0, -0.9)];
    /// let source = Demo::default().story([("bitcoin", &crash[..])])?;
    /// # Ok::<(), live_sentiment::Error>(())
    /// ```
    pub fn story<'m>(
        mut self,
        moods: impl IntoIterator<Item = (&'m str, &'m [(f64, f64)])>,
    ) -> Result<Self> {
        for (topic, moods) in moods {
            let index = TOPICS.iter().position(|known| known.name == topic);
            self.story.set(index, topic, moods)?;
        }
        Ok(self)
    }

    fn mood(&self, topic: usize, number: u64) -> f64 {
        let rate = self.rate.unwrap_or(STORY_RATE);
        self.story
            .mood(topic, number as f64 / rate)
            .unwrap_or_else(|| TOPICS[topic].mood(number))
    }

    fn make(&mut self) -> Tweet {
        let number = self.made;
        self.made += 1;
        let rng = &mut self.tweets;
        let (user, followers) = if rng.random_ratio(1, 5) {
            let (user, followers) = *choose(rng, &REGULARS);
            (user.to_owned(), followers)
        } else {
            let (first, last) = (choose(rng, &FIRST), choose(rng, &LAST));
            let user = format!("{first}{last}{}", rng.random_range(0..1000));
            (user, followers(rng))
        };
        let (text, lang) = match rng.random_range(0..100) {
            0..6 => ((*choose(rng, &OFF_TOPIC)).to_owned(), "en"),
            6..13 => {
                let (lang, text) = *choose(rng, &OTHER_LANGUAGES);
                (text.replace("{}", choose(rng, &TOPICS).name), lang)
            }
            _ => (self.opinion(number), "en"),
        };
        Tweet {
            id: format!("demo-{}-{number}", self.prefix),
            created_at: Timestamp::now(),
            user,
            followers: Some(followers),
            text,
            lang: lang.into(),
            topics: Vec::new(),
            source: "demo".into(),
        }
    }

    fn opinion(&mut self, number: u64) -> String {
        let index = self.tweets.random_range(0..TOPICS.len());
        let (topic, mood) = (&TOPICS[index], self.mood(index, number));
        let rng = &mut self.tweets;
        let joy = rng.random::<f64>() * 2.0 - 1.0;
        let sentences: &[&str] = match joy + mood {
            feeling if feeling > 0.45 => &PRAISE,
            feeling if feeling < -0.75 => &ANGER,
            feeling if feeling < -0.35 => &DOUBT,
            _ => &CHATTER,
        };
        let sentence = choose(rng, sentences);
        let name = choose(rng, &topic.spellings);
        let mut text = String::with_capacity(160);
        text.extend(match sentence.split_once("{}") {
            Some((before, after)) => [before, name, after],
            None => [sentence, " ", name],
        });
        if rng.random_ratio(1, 3) {
            let ends = match mood {
                mood if mood > 0.2 => &HAPPY_ENDS,
                mood if mood < -0.2 => &SAD_ENDS,
                _ => &PLAIN_ENDS,
            };
            let end = choose(rng, ends);
            text.extend([" ", end]);
        }
        text
    }
}

#[async_trait]
impl Source for Demo {
    fn name(&self) -> String {
        match self.rate {
            Some(rate) => format!("demo, {rate} tweets per second"),
            None => "demo, as fast as possible".into(),
        }
    }

    async fn begin(&mut self, _filter: Filter) -> Result<()> {
        self.prefix = stream_prefix();
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        if self.count.is_some_and(|count| self.made >= count) {
            return None;
        }
        if let Some(rate) = self.rate {
            let due = *self.due.get_or_insert_with(Instant::now);
            tokio::time::sleep_until(due).await;
            // The gaps of a Poisson process are exponentially distributed.
            let gap = -(1.0 - self.arrivals.random::<f64>()).ln() / rate;
            self.due = Some(due + Duration::from_secs_f64(gap));
        }
        Some(Ok(self.make()))
    }
}

fn arrivals(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(!seed)
}

/// Draws a follower count from a Pareto (Lomax) distribution. The median is 100, and one count in a thousand
/// is above 1.1 million.
fn followers(rng: &mut SmallRng) -> u64 {
    const SCALE: f64 = 60.0;
    const SHAPE: f64 = 0.7;
    const MOST: f64 = 90e6;
    let tail: f64 = 1.0 - rng.random::<f64>();
    (SCALE * (tail.powf(-1.0 / SHAPE) - 1.0)).min(MOST) as u64
}

fn choose<'a, T>(rng: &mut SmallRng, among: &'a [T]) -> &'a T {
    &among[rng.random_range(0..among.len())]
}

struct DemoTopic {
    name: &'static str,
    spellings: [&'static str; 4],
    /// The length of the wave, in tweets: 1,200 tweets are a minute at 20 per second.
    period: f64,
    phase: f64,
}

impl DemoTopic {
    /// Returns the mood in \[-1, 1\]: the sum of a wave and a slower wave.
    fn mood(&self, number: u64) -> f64 {
        let turn = std::f64::consts::TAU * (number as f64 / self.period + self.phase);
        0.7 * turn.sin() + 0.3 * (turn / 5.3).cos()
    }
}

const TOPICS: [DemoTopic; 3] = [
    DemoTopic {
        name: "bitcoin",
        spellings: ["bitcoin", "Bitcoin", "#bitcoin", "#Bitcoin"],
        period: 1100.0,
        phase: 0.0,
    },
    DemoTopic {
        name: "ethereum",
        spellings: ["ethereum", "Ethereum", "#ethereum", "#Ethereum"],
        period: 760.0,
        phase: 0.45,
    },
    DemoTopic {
        name: "dogecoin",
        spellings: ["dogecoin", "Dogecoin", "#dogecoin", "$dogecoin"],
        period: 430.0,
        phase: 0.7,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::block_on;

    fn tweets(mut demo: Demo) -> Vec<Tweet> {
        block_on(async {
            let mut all = Vec::new();
            while let Some(tweet) = demo.next().await {
                all.push(tweet.unwrap());
            }
            all
        })
    }

    #[test]
    fn two_streams_share_no_id() {
        let ids = |mut demo: Demo| {
            block_on(async { demo.begin(Filter::default()).await.map(drop) }).unwrap();
            tweets(demo).into_iter().map(|tweet| tweet.id)
        };
        let demo = Demo::default().as_fast_as_possible().count(100);
        let all: std::collections::BTreeSet<String> = ids(demo.clone()).chain(ids(demo)).collect();
        assert_eq!(all.len(), 200);
    }

    #[test]
    fn followers_have_a_long_tail_and_filters_have_work() {
        let tweets = tweets(Demo::default().as_fast_as_possible().count(20_000));
        let mut followers: Vec<u64> = tweets.iter().filter_map(|t| t.followers).collect();
        followers.sort_unstable();
        assert!(
            (50..200).contains(&followers[10_000]),
            "{}",
            followers[10_000]
        );
        assert!(followers[0] < 5 && followers[19_990] > 500_000);

        let mut filter = Filter::new(["bitcoin", "ethereum", "dogecoin"], ["en"]).unwrap();
        let passed = tweets
            .into_iter()
            .filter_map(|mut t| filter.admit(&mut t).then_some(t))
            .count();
        assert!((17_000..18_000).contains(&passed), "{passed}");
    }

    #[test]
    fn moods_are_positive_and_negative() {
        for topic in &TOPICS {
            let moods: Vec<f64> = (0..6_000).map(|n| topic.mood(n)).collect();
            assert!(moods.iter().any(|m| *m > 0.5) && moods.iter().any(|m| *m < -0.5));
            assert!(moods.iter().all(|m| m.abs() <= 1.0));
        }
    }

    #[test]
    fn a_story_is_told_as_planned() {
        let crash = [(0.0, 0.9), (60.0, 0.9), (61.0, -0.9)];
        let demo = Demo::default().story([("bitcoin", &crash[..])]).unwrap();
        let analyzer = crate::sentiment::Analyzer::new();
        let mut sums = [0.0; 2];
        for (number, tweet) in tweets(demo.as_fast_as_possible().count(2_400))
            .iter()
            .enumerate()
        {
            if tweet.text.to_lowercase().contains("bitcoin") {
                sums[number / 1_220] += analyzer.score(&tweet.text).compound;
            }
        }
        assert!(sums[0] > 100.0 && sums[1] < -100.0, "{sums:?}");
    }
}
