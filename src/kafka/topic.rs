//! The topic, as it is asked for and as the broker has it, and the mark of a run in it.

use crate::notebook::Card;
use std::time::Duration;

/// The header that carries a run's mark: see [`crate::kafka`] on runs.
pub(crate) const RUN_HEADER: &str = "run";

/// The mark of a run: when it began, in milliseconds since 1970. A later one is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run(u64);

impl Run {
    pub(super) fn new() -> Run {
        Run(jiff::Timestamp::now().as_millisecond().unsigned_abs())
    }

    pub(crate) fn to_header(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_header(value: &[u8]) -> Option<Run> {
        value
            .try_into()
            .ok()
            .map(|bytes| Run(u64::from_be_bytes(bytes)))
    }
}

/// How a topic is made.
///
/// ```
/// use live_sentiment::prelude::*;
///
/// let wide = TopicConfig { partitions: 8, ..TopicConfig::default() };
/// assert_eq!(wide.retention, Duration::from_secs(24 * 60 * 60));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// In how many logs the topic is cut, 1 or more; each keeps its own order, and as many readers
    /// of one consumer group can share the work. Default: 1.
    pub partitions: i32,
    /// On how many brokers each partition is kept, 1 or more. Default: 1. With 3, a tweet is taken
    /// once two brokers have it, and any one of them may die.
    pub replication: i32,
    /// How long a message is kept at least. Default: a day. The embedded broker keeps all until it
    /// stops.
    pub retention: Duration,
}

impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig {
            partitions: 1,
            replication: 1,
            retention: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// A topic as the broker has it, with a new run begun in it.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// How it was asked for, if this call made it; `None` if it was there.
    pub made: Option<TopicConfig>,
}

impl Topic {
    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        let card = Card::new(&format!("Topic {}", self.name))
            .row("partitions", &self.partitions.to_string());
        match &self.made {
            Some(config) => card
                .row("replicas", &config.replication.to_string())
                .row("kept for", &format!("{:?}", config.retention))
                .row("run", "the first"),
            None => card.row(
                "run",
                "a new one; tweets of earlier runs are not counted again",
            ),
        }
        .show();
    }
}
