//! The topic: how it is created and opened, and which run is written to it.

use super::admin;
use super::client::{Client, IS_RUNNING, warm_metadata_cache};
use super::settings::Role;
use super::topic_config::TopicConfig;
use super::writers;
use crate::error::{Error, Result};
use crate::notebook::Card;
use crate::wire::RunId;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The maximum length of a topic name. The name of its status topic is longer and must be legal too.
const MAX_NAME_LENGTH: usize = 240;
/// The retention of the status topic. Only its newest message is read.
const STATUS_RETENTION: Duration = Duration::from_secs(60 * 60);
/// How many of the newest messages of each partition are searched for the current run.
const SEARCHED_MESSAGES: i64 = 100;
/// The time limit of the search for the current run.
const SEARCH_LIMIT: Duration = Duration::from_secs(4);

/// A topic, and the run that a [`Streamer`](crate::streamer::Streamer) writes to it.
/// [`Kafka::create_topic`](super::Kafka::create_topic) begins a run;
/// [`Kafka::open_topic`](super::Kafka::open_topic) joins the newest one.
#[derive(Clone)]
pub struct Topic {
    client: Arc<Client>,
    name: String,
    partitions: usize,
    run: RunId,
    differences: Vec<String>,
    /// The rows of the card about how the topic was created or opened.
    rows: Vec<(&'static str, String)>,
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.name)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl Topic {
    /// Returns the name of the topic.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the partition count.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Returns the differences between an existing topic and the configuration that `create_topic` was
    /// given, one sentence for each. The list is empty if `create_topic` created the topic, or if
    /// `open_topic` opened it.
    pub fn differences(&self) -> &[String] {
        &self.differences
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    /// Displays a status card in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        let mut card = Card::new(&format!("Topic {}", self.name))
            .row("partitions", &self.partitions.to_string());
        for (name, value) in &self.rows {
            card = card.row(name, value);
        }
        for difference in &self.differences {
            card = card.row("not changed", difference);
        }
        card.show();
    }
}

/// Returns the name of the status topic of `topic`, to which a streamer writes its status. The status has
/// its own topic, so the topic of tweets contains only tweets.
pub(crate) fn status_topic(topic: &str) -> String {
    format!("{topic}-streamer")
}

/// Creates the topic `name` with the partitions and replicas of the topic `like`. If `name` exists with
/// fewer partitions, the missing ones are added. Returns the partition counts of both topics. The counts
/// differ if `name` has more partitions, or if the broker does not allow adding any.
pub(crate) fn create_like(client: &Client, name: &str, like: &str) -> Result<(usize, usize)> {
    let wanted = client.partitions(like)?;
    let config = client.cluster()?.config_like(like)?;
    admin::create_if_missing(client, name, &config)?;
    if client.partitions(name)? < wanted
        && let Err(error) = admin::add_partitions(client, name, wanted)
    {
        tracing::warn!(%error, topic = name, "the topic keeps its partitions");
    }
    Ok((client.partitions(name)?, wanted))
}

pub(super) fn create(client: &Arc<Client>, name: &str, config: TopicConfig) -> Result<Topic> {
    check_name(name)?;
    if config.partitions < 1 || config.replication < 1 {
        return Err(Error::invalid_argument(
            format!("{config:?}"),
            "a topic has at least one partition and one replica",
            "give `TopicConfig::default()`, or numbers from 1 up",
        ));
    }
    writers::stop_writer(client, name);
    let status = TopicConfig {
        partitions: 1,
        retention: STATUS_RETENTION,
        ..config
    };
    // The status topic is created first: a listener that waits for the topic then finds both.
    admin::create_if_missing(client, &status_topic(name), &status)?;
    let (run, differences, rows) = if admin::create_if_missing(client, name, &config)? {
        let rows = vec![
            ("replicas", config.replication.to_string()),
            ("retention", format!("{:?}", config.retention)),
            ("run", "the first".into()),
        ];
        (RunId::next(&[]), Vec::new(), rows)
    } else {
        let differences = admin::differences(client, name, &config)?;
        for difference in &differences {
            tracing::warn!(
                topic = name,
                "the topic exists and is not changed: {difference}"
            );
        }
        let run = "new: tweets of earlier runs are not counted again";
        let rows = vec![("run", run.into())];
        (
            RunId::next(&admin::offsets(client, name)?),
            differences,
            rows,
        )
    };
    Ok(Topic {
        client: client.clone(),
        name: name.into(),
        partitions: client.partitions(name)?,
        run,
        differences,
        rows,
    })
}

pub(super) fn open(client: &Arc<Client>, name: &str) -> Result<Topic> {
    check_name(name)?;
    let partitions = admin::offsets(client, name)?;
    // If no message has a run, there is no run to join, and a new one begins.
    let run = newest_run(client, name, &partitions)?.unwrap_or_else(|| RunId::next(&partitions));
    Ok(Topic {
        client: client.clone(),
        name: name.into(),
        partitions: partitions.len(),
        run,
        differences: Vec::new(),
        rows: vec![("run", "the newest in the topic".into())],
    })
}

/// Checks that a topic of tweets can have this name.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if it cannot.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if !(1..=MAX_NAME_LENGTH).contains(&name.len())
        || !name.chars().all(legal)
        || matches!(name, "." | "..")
    {
        "a name has 1 to 240 letters, digits, dots, dashes or underscores"
    } else if name.starts_with("__") {
        "topics whose names begin with two underscores are Kafka's own"
    } else {
        return Ok(());
    };
    Err(Error::invalid_argument(
        format!("topic name {name:?}"),
        reason,
        "give a name such as \"tweets\"",
    ))
}

/// Returns the newest of the runs that the topic can have.
fn newest_run(client: &Client, topic: &str, partitions: &[Range<i64>]) -> Result<Option<RunId>> {
    let runs = newest_runs(client, topic, partitions)?.into_iter();
    let possible = runs.filter(|(run, _)| can_have(partitions, run));
    Ok(possible.map(|(run, _)| run).max())
}

/// Returns the runs of the newest messages in the status topic of `topic`, and when each message was
/// written, in milliseconds since 1970. Runs that `topic` cannot have are left out.
pub(crate) fn newest_status_runs(client: &Client, topic: &str) -> Result<Vec<(RunId, i64)>> {
    let status = status_topic(topic);
    let mut runs = newest_runs(client, &status, &admin::offsets(client, &status)?)?;
    let tweets = admin::offsets(client, topic)?;
    runs.retain(|(run, _)| can_have(&tweets, run));
    Ok(runs)
}

/// Returns whether a topic with these offsets can have the run.
fn can_have(partitions: &[Range<i64>], run: &RunId) -> bool {
    run.is_possible(partitions.iter().map(|offsets| offsets.end))
}

/// Returns the runs of the newest messages of each partition, and when each message was written, in
/// milliseconds since 1970.
fn newest_runs(
    client: &Client,
    topic: &str,
    partitions: &[Range<i64>],
) -> Result<Vec<(RunId, i64)>> {
    let mut runs = Vec::new();
    let filled = (0..)
        .zip(partitions)
        .filter(|(_, offsets)| !offsets.is_empty());
    let mut unread: BTreeMap<i32, &Range<i64>> = filled.collect();
    if unread.is_empty() {
        return Ok(runs);
    }
    let action = format!("read the newest messages of topic {topic:?}");
    let failed = |error: KafkaError| Error::kafka(&action, &error, IS_RUNNING);
    let consumer: BaseConsumer = client
        .config(Role::Admin)
        // librdkafka requires a group id; the consumer joins no group.
        .set("group.id", "open-topic")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .create()
        .map_err(failed)?;
    warm_metadata_cache(consumer.client(), topic);
    let mut assignment = TopicPartitionList::new();
    for (&number, offsets) in &unread {
        let from = Offset::Offset(offsets.start.max(offsets.end - SEARCHED_MESSAGES));
        assignment
            .add_partition_offset(topic, number, from)
            .map_err(failed)?;
    }
    consumer.assign(&assignment).map_err(failed)?;
    let deadline = Instant::now() + SEARCH_LIMIT;
    while !unread.is_empty() && Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(message)) => {
                let written = message.timestamp().to_millis().unwrap_or(0);
                runs.extend(RunId::of(&message).map(|run| (run, written)));
                // librdkafka reports the end of the partition only half a second later.
                unread.retain(|&number, offsets| {
                    number != message.partition() || message.offset() + 1 < offsets.end
                });
            }
            Some(Err(KafkaError::PartitionEOF(number))) => {
                unread.remove(&number);
            }
            // One address of the broker refuses connections, and librdkafka tries the next one.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(error)) => return Err(failed(error)),
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_names_and_those_of_kafka_are_refused() {
        let longest = "x".repeat(MAX_NAME_LENGTH);
        for name in ["tweets", "a.b", "_a", "A-1_b.c", &longest] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let too_long = format!("{longest}x");
        let impossible = ["", ".", "..", "a b", "a/b", "ünder", "a\n", &too_long];
        for name in impossible {
            let error = check_name(name).unwrap_err().to_string();
            assert!(error.contains("1 to 240 letters"), "{error}");
        }
        for name in ["__consumer_offsets", "__"] {
            let error = check_name(name).unwrap_err().to_string();
            assert!(error.contains("Kafka's own"), "{error}");
        }
    }
}
