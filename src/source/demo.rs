//! Invented tweets: no account, no network, and the same ones again for the same seed.
//!
//! They are made to be worth watching and worth filtering. Each topic has a mood that swings like
//! a slow wave, so that the figure tells a story; follower counts have the long tail of the real
//! thing (half of the authors below a hundred, one in a thousand above a million); arrivals are a
//! Poisson process; and about one tweet in eight is off-topic or in another language.

use super::{BoxedSource, Source};
use crate::{Error, Result, Tweet};
use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use tokio::time::Instant;

/// The demo source. `Demo::default()` gives 20 tweets a second without end.
///
/// ```
/// use live_sentiment::prelude::*;
///
/// let quick = Demo::default().rate(200.0)?.seed(7).count(1_000);
/// assert!(Demo::default().rate(0.0).is_err());
/// # Ok::<(), live_sentiment::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Demo {
    pace: Pace,
    seed: u64,
    rng: SmallRng,
    made: u64,
    count: Option<u64>,
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Pace {
    PerSecond(f64),
    Unlimited,
}

impl Default for Demo {
    fn default() -> Self {
        let seed = 1;
        Demo {
            pace: Pace::PerSecond(20.0),
            seed,
            rng: SmallRng::seed_from_u64(seed),
            made: 0,
            count: None,
            due: None,
        }
    }
}

impl Demo {
    /// How many tweets a second on average, 0.1 or more.
    ///
    /// # Errors
    /// [`Error::Invalid`] for less than 0.1, and for what is no number.
    pub fn rate(mut self, per_second: f64) -> Result<Self> {
        if !per_second.is_finite() || per_second < 0.1 {
            return Err(Error::Invalid {
                what: format!("rate {per_second}"),
                reason: "a rate is at least 0.1 tweets a second",
                next: "Give a rate such as 20.0, or `.as_fast_as_possible()`.",
            });
        }
        self.pace = Pace::PerSecond(per_second);
        Ok(self)
    }

    /// No waiting between tweets: for measuring.
    pub fn as_fast_as_possible(mut self) -> Self {
        self.pace = Pace::Unlimited;
        self
    }

    /// Another seed gives other tweets; the same seed gives the same ones, apart from their times.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.rng = SmallRng::seed_from_u64(seed);
        self
    }

    /// Ends after `count` tweets.
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    fn make(&mut self) -> Tweet {
        let number = self.made;
        self.made += 1;
        let rng = &mut self.rng;
        let followers = followers(rng);
        let user = format!(
            "{}{}{}",
            pick(rng, &FIRST),
            pick(rng, &LAST),
            rng.random_range(0..1000)
        );
        let (text, lang) = match rng.random_range(0..100) {
            0..6 => (pick(rng, &OFF_TOPIC).to_owned(), "en"),
            6..13 => {
                let (lang, text) = *choose(rng, &OTHER_LANGUAGES);
                (text.replace("{}", choose(rng, &TOPICS).name), lang)
            }
            _ => (self.opinion(number), "en"),
        };
        Tweet {
            id: format!("demo-{}-{number}", self.seed),
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
        let rng = &mut self.rng;
        let topic = choose(rng, &TOPICS);
        let mood = topic.mood(number);
        let joy = rng.random::<f64>() * 2.0 - 1.0;
        let sentences: &[&str] = match joy + mood {
            feeling if feeling > 0.45 => &PRAISE,
            feeling if feeling < -0.75 => &ANGER,
            feeling if feeling < -0.35 => &DOUBT,
            _ => &CHATTER,
        };
        let sentence = pick(rng, sentences);
        let name = pick(rng, &topic.dresses);
        let mut text = String::with_capacity(160);
        match sentence.split_once("{}") {
            Some((before, after)) => {
                text.push_str(before);
                text.push_str(name);
                text.push_str(after);
            }
            None => {
                text.push_str(sentence);
                text.push(' ');
                text.push_str(name);
            }
        }
        if rng.random_ratio(1, 3) {
            text.push(' ');
            text.push_str(match mood {
                mood if mood > 0.2 => pick(rng, &HAPPY_ENDS),
                mood if mood < -0.2 => pick(rng, &SAD_ENDS),
                _ => pick(rng, &PLAIN_ENDS),
            });
        }
        text
    }
}

impl Source for Demo {
    fn name(&self) -> String {
        match self.pace {
            Pace::PerSecond(rate) => format!("demo, {rate} tweets a second"),
            Pace::Unlimited => "demo, as fast as possible".into(),
        }
    }

    fn boxed(self) -> BoxedSource {
        BoxedSource::new(self)
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        if self.count.is_some_and(|count| self.made >= count) {
            return None;
        }
        if let Pace::PerSecond(rate) = self.pace {
            let gap = |rng: &mut SmallRng| {
                // Gaps between the events of a Poisson process are exponentially distributed.
                Duration::from_secs_f64(-(1.0 - rng.random::<f64>()).ln() / rate)
            };
            let due = *self.due.get_or_insert_with(Instant::now);
            tokio::time::sleep_until(due).await;
            self.due = Some(due + gap(&mut self.rng));
        }
        Some(Ok(self.make()))
    }
}

/// A Pareto (Lomax) distribution: median 100, one in a thousand above 1.1 million.
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

fn pick(rng: &mut SmallRng, among: &[&'static str]) -> &'static str {
    let text: &&'static str = choose(rng, among);
    text
}

struct Topic {
    name: &'static str,
    dresses: [&'static str; 4],
    /// In tweets: at 20 a second, 1,200 tweets are a minute.
    period: f64,
    phase: f64,
}

impl Topic {
    /// From -1 (gloom) to 1 (joy): a wave with a slower one below it.
    fn mood(&self, number: u64) -> f64 {
        let turn = std::f64::consts::TAU * (number as f64 / self.period + self.phase);
        0.7 * turn.sin() + 0.3 * (turn / 5.3).cos()
    }
}

const TOPICS: [Topic; 3] = [
    Topic {
        name: "bitcoin",
        dresses: ["bitcoin", "Bitcoin", "#bitcoin", "#Bitcoin"],
        period: 1100.0,
        phase: 0.0,
    },
    Topic {
        name: "ethereum",
        dresses: ["ethereum", "Ethereum", "#ethereum", "#Ethereum"],
        period: 760.0,
        phase: 0.45,
    },
    Topic {
        name: "dogecoin",
        dresses: ["dogecoin", "Dogecoin", "#dogecoin", "$dogecoin"],
        period: 430.0,
        phase: 0.7,
    },
];

const FIRST: [&str; 16] = [
    "moon", "crypto", "happy", "salty", "block", "laser", "tiny", "old", "night", "wise", "lucky",
    "quiet", "brave", "lazy", "neon", "satoshi",
];
const LAST: [&str; 16] = [
    "fox", "whale", "ada", "trader", "shiba", "miner", "coder", "bear", "bull", "panda", "nomad",
    "chartist", "granny", "otter", "dev", "pilot",
];
const PRAISE: [&str; 16] = [
    "I love {}, best decision I ever made",
    "{} is looking great today!",
    "Wow, {} just made my day. So happy right now!!",
    "Can't stop smiling, {} is amazing",
    "{} to the moon, what a beautiful chart",
    "Great news for {}: another bank is impressed by it",
    "Finally in profit with {}. Feels good.",
    "the {} community is so kind and helpful, thank you all",
    "Strong support at this level, I'm very optimistic about {}",
    "My grandma bought {} and she is winning LOL",
    "{} holders, be proud. This is a brilliant project!",
    "Honestly the {} upgrade is excellent, well done devs",
    "Paid for lunch with {}, super easy and fun",
    "not gonna lie, {} is awesome",
    "YES!!! {} is the BEST",
    "So grateful that I trusted {} when nobody else did",
];
const ANGER: [&str; 12] = [
    "{} is a scam and I hate it",
    "Lost half of my savings on {}. This is a disaster.",
    "terrible day for {}, absolutely TERRIBLE!!",
    "{} is dead. Worst crash ever, I'm so angry",
    "I regret every cent I put into {}",
    "Whoever told me to buy {} is a liar",
    "So sick of {} and its stupid hype",
    "{} ruined my week. Awful.",
    "Another hack, another loss. {} is a nightmare",
    "Panic everywhere, {} is failing badly",
    "They stole my {} and support doesn't care. Horrible!",
    "WTF is wrong with {}?! This is painful",
];
const DOUBT: [&str; 12] = [
    "Not sure about {}, looks weak to me",
    "I'm worried about {} this week",
    "is it just me or is {} kind of boring lately?",
    "{} fees are annoying. There, I said it.",
    "I would love {} but the risk is too high",
    "{} isn't as good as they promised",
    "Hmm, {} down again. Hardly a surprise",
    "Don't trust the {} rally, it won't last",
    "Sold some {} today. Sad but careful.",
    "{} is confusing and the wallet app is bad",
    "without doubt {} has problems",
    "The {} news is a bit disappointing",
];
const CHATTER: [&str; 14] = [
    "What time does the {} conference start?",
    "Reading the {} white paper on the train",
    "{} price check: anyone?",
    "New video about {} is online, link below https://example.com/watch?v=42",
    "How do I move {} from one wallet to another?",
    "{} block height just passed another thousand",
    "My dog is called {}. No further questions.",
    "Does anyone here take {} for coffee?",
    "Explaining {} to my parents, part 17",
    "The {} chart looks like a camel today",
    "Writing a report on {} for school",
    "{} or pizza? Asking for a friend",
    "thread: what {} mining needs (1/9)",
    "RT if you hold {} since last year",
];
const OFF_TOPIC: [&str; 8] = [
    "Good morning everyone, coffee first",
    "My cat has learned to open doors. Send help",
    "What a match! Incredible goal in the last minute",
    "It rains again, so I stay in with a book",
    "New shoes, same old feet",
    "Traffic is terrible on the A1 today",
    "Happy birthday to my wonderful sister!",
    "Anyone selling a used bicycle?",
];
const OTHER_LANGUAGES: [(&str, &str); 8] = [
    ("es", "Hoy {} sube otra vez, qué alegría"),
    ("de", "Ich verstehe {} immer noch nicht"),
    ("fr", "{} en baisse, dommage"),
    ("pt", "Comprei {} e estou muito feliz"),
    ("ja", "{} がまた上がった！"),
    ("tr", "{} düşüyor, ne yapmalı?"),
    ("hi", "आज {} फिर ऊपर गया"),
    ("ru", "{} снова растёт"),
];
const HAPPY_ENDS: [&str; 6] = ["🚀", "😍🚀", ":)", "🎉", "❤️", "💎🙌"];
const SAD_ENDS: [&str; 6] = ["😭", "😡", ":(", "📉", "💔", "🤦"];
const PLAIN_ENDS: [&str; 6] = ["🤔", "#crypto", "lol", "…", "👀", "¯\\_(ツ)_/¯"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;
    use crate::runtime::runtime;

    fn tweets(demo: Demo) -> Vec<Tweet> {
        let mut demo = demo.as_fast_as_possible();
        let mut all = Vec::new();
        runtime().block_on(async {
            while let Some(tweet) = demo.next().await {
                all.push(tweet.unwrap());
            }
        });
        all
    }

    #[test]
    fn the_same_seed_gives_the_same_tweets() {
        let words = |seed| {
            let said = |t: Tweet| (t.id, t.user, t.followers, t.text, t.lang);
            tweets(Demo::default().seed(seed).count(500))
                .into_iter()
                .map(said)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(3), words(3));
        assert_ne!(words(3), words(4));
    }

    #[test]
    fn followers_have_a_long_tail_and_filters_have_work() {
        let tweets = tweets(Demo::default().count(20_000));
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
    fn moods_swing_both_ways() {
        for topic in &TOPICS {
            let moods: Vec<f64> = (0..6_000).map(|n| topic.mood(n)).collect();
            assert!(moods.iter().any(|m| *m > 0.5) && moods.iter().any(|m| *m < -0.5));
            assert!(moods.iter().all(|m| m.abs() <= 1.0));
        }
    }

    #[test]
    fn arrivals_keep_the_rate_and_are_uneven() {
        let clock = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        clock.block_on(async {
            let mut demo = Demo::default().rate(50.0).unwrap();
            let start = Instant::now();
            let mut gaps = Vec::new();
            for _ in 0..5_000 {
                let before = Instant::now();
                demo.next().await;
                gaps.push(before.elapsed().as_secs_f64());
            }
            let seconds = start.elapsed().as_secs_f64();
            assert!((93.0..107.0).contains(&seconds), "{seconds}");
            let mean = seconds / 5_000.0;
            let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / 5_000.0;
            let spread = variance.sqrt() / mean;
            assert!(
                (0.8..1.2).contains(&spread),
                "an exponential's is 1, not {spread}"
            );
        });
    }
}
