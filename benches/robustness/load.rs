//! A source that computes what a listener must count: the number of its tweets, and their sum.

use live_sentiment::prelude::*;
use live_sentiment::sentiment::weighted;
use live_sentiment::source::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::time::Instant;

const TEXTS: [&str; 6] = [
    "I love #bitcoin",
    "what a disaster, I hate it",
    "bitcoin is a chair",
    "so happy!!!",
    "this is not good at all :(",
    "to the moon 🚀",
];
/// The time of the first tweet, in milliseconds since 1970.
const BEGIN: i64 = 1_767_225_600_000;

/// The simulated time between two tweets, in milliseconds.
const STEP: i64 = 5;

/// The count and the sum of the tweets that were streamed so far.
#[derive(Default)]
pub struct Truth {
    pub stop: AtomicBool,
    count: AtomicU64,
    /// The bits of the sum.
    sum: AtomicU64,
}

impl Truth {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    pub fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::SeqCst))
    }
}

/// A source of tweets. It ends when it is stopped or when the count is reached.
pub struct Load {
    truth: Arc<Truth>,
    /// The real time between two tweets; `None` for no pause.
    pause: Option<Duration>,
    most: u64,
    scores: Vec<Sentiment>,
    next: Instant,
}

impl Load {
    pub fn new(truth: &Arc<Truth>) -> Load {
        let analyzer = Analyzer::new();
        Load {
            truth: truth.clone(),
            pause: None,
            most: u64::MAX,
            scores: TEXTS.iter().map(|text| analyzer.score(text)).collect(),
            next: Instant::now(),
        }
    }

    pub fn pause(mut self, pause: Duration) -> Load {
        self.pause = Some(pause);
        self
    }

    pub fn count(mut self, most: u64) -> Load {
        self.most = most;
        self
    }
}

#[async_trait]
impl Source for Load {
    fn name(&self) -> String {
        "load".into()
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        if let Some(pause) = self.pause {
            tokio::time::sleep_until(self.next).await;
            self.next += pause;
        }
        let number = self.truth.count();
        if number >= self.most || self.truth.stop.load(Ordering::SeqCst) {
            return None;
        }
        let kind = number as usize % TEXTS.len();
        let time = BEGIN + STEP * number as i64;
        let tweet = Tweet {
            source: "load".into(),
            ..Tweet::new(format!("author {}", number % 997), TEXTS[kind])
                .id(format!("load-{number}"))
                .created_at(Timestamp::from_millisecond(time).unwrap())
                .followers(number * 37 % 100_003)
                .lang("en")
        };
        let sum = self.truth.sum() + weighted(&tweet, &self.scores[kind]);
        self.truth.sum.store(sum.to_bits(), Ordering::SeqCst);
        self.truth.count.store(number + 1, Ordering::SeqCst);
        Some(Ok(tweet))
    }
}
