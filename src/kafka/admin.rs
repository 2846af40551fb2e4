//! Requests to the broker about topics: creating a topic, adding partitions, reading the configuration and
//! the offsets.

use super::client::{Client, Cluster, IS_RUNNING, REQUEST_LIMIT};
use super::topic_config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::task::block_on;
use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::types::RDKafkaErrorCode;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

/// The message that explains why a compacted topic loses tweets.
pub(crate) const COMPACTED: &str = "the topic is compacted: Kafka removes all but the newest tweet of \
     each author; set its cleanup.policy to delete";

/// Creates a topic unless it exists. Returns whether it was created.
pub(super) fn create_if_missing(client: &Client, name: &str, config: &TopicConfig) -> Result<bool> {
    let action = format!("create topic {name:?}");
    let hint =
        "check the name and the numbers, and that the cluster has as many brokers as replicas";
    let retention = config.retention.as_millis().to_string();
    let min_insync = min_insync_replicas(config.replication).to_string();
    let topic = NewTopic::new(
        name,
        config.partitions,
        TopicReplication::Fixed(config.replication),
    )
    .set("retention.ms", &retention)
    .set("min.insync.replicas", &min_insync);
    let results = block_on(client.admin.create_topics([&topic], &options()))
        .map_err(|error| Error::kafka(&action, &error, hint))?;
    for result in results {
        match result {
            Ok(_) => {}
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => return Ok(false),
            Err((_, code)) => {
                let reason = refusal(client, name, code);
                return Err(Error::failed(ErrorKind::Kafka, action, reason, hint).with_code(code));
            }
        }
    }
    wait_for_partitions(client, name, 1);
    Ok(true)
}

/// Adds partitions to a topic until it has `count`.
pub(super) fn add_partitions(client: &Client, name: &str, count: usize) -> Result<()> {
    let action = format!("add partitions to topic {name:?}, up to {count}");
    let hint = "ask an administrator for the permission to alter the topic, or for the partitions";
    let more = [NewPartitions::new(name, count)];
    let results = block_on(client.admin.create_partitions(&more, &options()))
        .map_err(|error| Error::kafka(&action, &error, hint))?;
    for result in results {
        match result {
            // Another program has added the partitions in the meantime.
            Ok(_) | Err((_, RDKafkaErrorCode::InvalidPartitions)) => {}
            Err((_, code)) => {
                return Err(Error::failed(ErrorKind::Kafka, action, code, hint).with_code(code));
            }
        }
    }
    wait_for_partitions(client, name, count);
    Ok(())
}

/// Waits for new partitions, because the broker answers before all of its threads know them.
fn wait_for_partitions(client: &Client, name: &str, count: usize) {
    let deadline = Instant::now() + REQUEST_LIMIT;
    let are_known = || client.partitions(name).is_ok_and(|known| known >= count);
    while !are_known() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns why the broker refuses a topic. rdkafka passes on the error code of the broker, but not its
/// message.
fn refusal(client: &Client, name: &str, code: RDKafkaErrorCode) -> String {
    let topics = |cluster: Cluster| colliding(name, cluster.topics()).map(String::from);
    match code {
        RDKafkaErrorCode::InvalidTopic => match client.cluster().ok().and_then(topics) {
            Some(other) => format!(
                "its name collides with that of topic {other:?}: Kafka does not tell a dot from an \
                 underscore ({code})"
            ),
            None => code.to_string(),
        },
        RDKafkaErrorCode::PolicyViolation => {
            format!("the broker has a policy for topics, `create.topic.policy.class.name` ({code})")
        }
        code => code.to_string(),
    }
}

/// Returns the topic that differs from `name` only in dots and underscores.
fn colliding<'a>(name: &str, topics: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let key = |name: &str| name.replace('.', "_");
    let mut topics = topics.into_iter();
    topics.find(|topic| *topic != name && key(topic) == key(name))
}

/// Returns how many in-sync replicas must have a message before it counts as sent: a majority. With two
/// replicas or more, a sent message therefore survives the loss of one broker.
fn min_insync_replicas(replication: i32) -> i32 {
    replication / 2 + 1
}

/// Compares an existing topic with a requested configuration. Each difference is a sentence.
pub(super) fn differences(
    client: &Client,
    name: &str,
    wanted: &TopicConfig,
) -> Result<Vec<String>> {
    let cluster = client.cluster()?;
    let existing = cluster.config_like(name)?;
    let mut differences = Vec::new();
    differences.extend(difference(
        "partitions",
        existing.partitions,
        wanted.partitions,
    ));
    differences.extend(difference(
        "replicas",
        existing.replication,
        wanted.replication,
    ));
    // The embedded broker has no retention: it keeps every message until it stops.
    if !cluster.is_embedded {
        let retention = retention(client, name);
        let compare = |retention| difference("retention", retention, wanted.retention);
        differences.extend(retention.and_then(compare));
        if is_compacted(client, name) {
            differences.push(COMPACTED.into());
        }
    }
    Ok(differences)
}

fn difference<T: fmt::Debug + PartialEq>(setting: &str, exists: T, wanted: T) -> Option<String> {
    let is_different = exists != wanted;
    is_different.then(|| format!("{setting}: the topic has {exists:?}, {wanted:?} requested"))
}

/// Returns the retention of a topic; `None` if the broker does not report it.
fn retention(client: &Client, name: &str) -> Option<Duration> {
    let millis = setting(client, name, "retention.ms")?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// Returns whether the topic is compacted. Kafka then removes all but the newest message of each key,
/// which is the author of a tweet. If the broker does not report the settings, the topic counts as not
/// compacted.
pub(crate) fn is_compacted(client: &Client, name: &str) -> bool {
    let policy = setting(client, name, "cleanup.policy");
    policy.is_some_and(|policy| policy.contains("compact"))
}

/// Returns a setting of a topic; `None` if the broker does not report it.
fn setting(client: &Client, topic: &str, name: &str) -> Option<String> {
    let topic = [ResourceSpecifier::Topic(topic)];
    let configs = block_on(client.admin.describe_configs(&topic, &options())).ok()?;
    let config = configs.into_iter().next()?.ok()?;
    config.get(name)?.value.clone()
}

/// Returns the offsets of each partition of a topic: from its first message to the next one to be written.
/// If a partition has no leader, this function waits for a leader for up to 4 seconds.
pub(super) fn offsets(client: &Client, topic: &str) -> Result<Vec<Range<i64>>> {
    let deadline = Instant::now() + REQUEST_LIMIT;
    let inner = client.admin.inner();
    let offsets = |partition| loop {
        match inner.fetch_watermarks(topic, partition, REQUEST_LIMIT) {
            Ok((first, end)) => break Ok(first..end),
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => {
                let action =
                    format!("fetch the offsets of partition {partition} of topic {topic:?}");
                break Err(Error::kafka(action, &error, IS_RUNNING));
            }
        }
    };
    (0..).take(client.partitions(topic)?).map(offsets).collect()
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_LIMIT))
        .operation_timeout(Some(REQUEST_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sent_message_is_on_a_majority_of_the_replicas() {
        let needed = [1, 2, 3, 4, 5].map(min_insync_replicas);
        assert_eq!(needed, [1, 2, 2, 3, 3]);
    }

    #[test]
    fn names_that_differ_in_dots_and_underscores_collide() {
        let topics = ["tweets", "a_b-c", "a.b.c"];
        assert_eq!(colliding("a_b_c", topics), Some("a.b.c"));
        assert_eq!(colliding("a.b-c", topics), Some("a_b-c"));
        assert_eq!(colliding("tweets", topics), None);
        assert_eq!(colliding("abc", topics), None);
    }
}
