//! Changes that other users make in a cluster, with clients that have no code of this crate. rdkafka's
//! admin client has no requests for permissions and quotas. The tests send these requests in Kafka's
//! protocol (<https://kafka.apache.org/protocol>).

use super::LIMIT;
use live_sentiment::prelude::*;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::BaseProducer;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
const ALTER_CLIENT_QUOTAS: i16 = 49;

/// The settings of a broker with permissions. Every operation that is not denied is allowed.
pub const WITH_PERMISSIONS: [(&str, &str); 2] = [
    (
        "authorizer.class.name",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    ),
    ("allow.everyone.if.no.acl.found", "true"),
];

/// An operation that can be denied to the users of a topic.
#[derive(Clone, Copy)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Describe = 8,
}

#[derive(Default)]
struct Request(Vec<u8>);

impl Request {
    fn byte(mut self, value: i8) -> Request {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn count(mut self, value: i32) -> Request {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn text(mut self, text: &str) -> Request {
        self.0.extend((text.len() as i16).to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    fn nothing(mut self) -> Request {
        self.0.extend((-1_i16).to_be_bytes());
        self
    }

    /// Sends the request, and checks the first error code of the response.
    fn send(self, kafka: &Kafka, key: i16, version: i16) {
        let mut message = Vec::new();
        message.extend(key.to_be_bytes());
        message.extend(version.to_be_bytes());
        // The correlation id, and an empty client id.
        message.extend([0, 0, 0, 7, 0, 0]);
        message.extend(self.0);
        let mut stream = TcpStream::connect(kafka.address()).unwrap();
        stream
            .write_all(&(message.len() as i32).to_be_bytes())
            .unwrap();
        stream.write_all(&message).unwrap();
        let mut size = [0; 4];
        stream.read_exact(&mut size).unwrap();
        let mut response = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut response).unwrap();
        // The correlation id, a throttle time, and the number of results come first.
        assert_eq!(response[12..14], [0, 0], "{response:?}");
    }
}

/// Denies an operation on a topic to all users. All other operations stay allowed.
pub fn deny(kafka: &Kafka, topic: &str, operation: Operation) {
    const ALL: i8 = 2;
    const DENY: i8 = 2;
    const ALLOW: i8 = 3;
    let rules = [(ALL, ALLOW), (operation as i8, DENY)];
    let mut request = Request::default().count(rules.len() as i32);
    for (operation, permission) in rules {
        request = request.byte(2).text(topic).byte(3).text("User:*").text("*");
        request = request.byte(operation).byte(permission);
    }
    request.send(kafka, CREATE_ACLS, 1);
}

/// Removes all denials on a topic.
pub fn allow(kafka: &Kafka, topic: &str) {
    let request = Request::default().count(1).byte(2).text(topic).byte(3);
    let request = request.nothing().nothing().byte(1).byte(1);
    request.send(kafka, DELETE_ACLS, 1);
}

/// Limits how many bytes per second the clients write. `None` removes the limit.
pub fn limit_writes(kafka: &Kafka, bytes_per_second: Option<f64>) {
    let request = Request::default().count(1).count(1).text("client-id");
    let mut request = request.nothing().count(1).text("producer_byte_rate");
    request
        .0
        .extend(bytes_per_second.unwrap_or(0.0).to_be_bytes());
    let is_removed = i8::from(bytes_per_second.is_none());
    request
        .byte(is_removed)
        .byte(0)
        .send(kafka, ALTER_CLIENT_QUOTAS, 0);
}

fn config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.address());
    config
}

/// A producer of another program. It neither retries nor writes duplicates.
pub fn producer(kafka: &Kafka, settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = config(kafka);
    config.set("enable.idempotence", "true").set("acks", "all");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    config(kafka).create().unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

/// Creates a topic that is compacted soon after each write.
pub fn create_compacted(kafka: &Kafka, topic: &str) {
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact")
        .set("min.cleanable.dirty.ratio", "0.01")
        .set("segment.bytes", "1048576");
    let (admin, options) = (admin(kafka), AdminOptions::new());
    let created = block_on(admin.create_topics([&new], &options));
    created.unwrap()[0].as_ref().unwrap();
}

pub fn add_partitions(kafka: &Kafka, topic: &str, count: usize) {
    let more = NewPartitions::new(topic, count);
    let (admin, options) = (admin(kafka), AdminOptions::new());
    let added = block_on(admin.create_partitions([&more], &options));
    added.unwrap()[0].as_ref().unwrap();
}

/// Reads a topic with a separate client, from the first message to the end of each partition. Returns the
/// offsets of the messages, by partition.
pub fn messages(kafka: &Kafka, topic: &str) -> BTreeSet<(i32, i64)> {
    let mut config = config(kafka);
    config
        .set("group.id", "counter")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
    let partitions = metadata.topics()[0].partitions();
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        let added = assignment.add_partition_offset(topic, partition.id(), Offset::Beginning);
        added.unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut found, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let start = Instant::now();
    while ended.len() < partitions.len() {
        assert!(start.elapsed() < LIMIT, "{ended:?} of {}", partitions.len());
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                found.insert((message.partition(), message.offset()));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => panic!("{error}"),
        }
    }
    found
}

pub fn delete_topic(kafka: &Kafka, topic: &str) {
    let (admin, options) = (admin(kafka), AdminOptions::new());
    let deleted = block_on(admin.delete_topics(&[topic], &options));
    deleted.unwrap()[0].as_ref().unwrap();
}

/// Deletes the records of the first partition before an offset.
pub fn delete_records(kafka: &Kafka, topic: &str, before: i64) {
    let mut offsets = TopicPartitionList::new();
    let added = offsets.add_partition_offset(topic, 0, Offset::Offset(before));
    added.unwrap();
    let (admin, options) = (admin(kafka), AdminOptions::new());
    block_on(admin.delete_records(&offsets, &options)).unwrap();
}
