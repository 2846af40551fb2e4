//! The configuration of a topic.

use std::time::Duration;

/// The configuration of a new topic.
///
/// # Examples
/// ```
/// use live_sentiment::prelude::*;
///
/// let config = TopicConfig { partitions: 8, ..TopicConfig::default() };
/// assert_eq!(config.retention, Duration::from_secs(24 * 60 * 60));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// The partition count, 1 or more. Default: 1. Kafka keeps the order of the messages within a
    /// partition. The partition count is the maximum number of readers of a consumer group that can share
    /// the work.
    pub partitions: i32,
    /// The replica count of each partition, 1 or more. Default: 1. A tweet counts as sent once a
    /// majority of the replicas has it: with 3 replicas, any one broker may fail.
    pub replication: i32,
    /// The minimum time that a message is kept. Default: a day. The embedded broker keeps every
    /// message until it stops.
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
