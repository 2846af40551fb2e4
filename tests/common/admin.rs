//! What an administrator of a cluster does and the admin client of rdkafka cannot: permissions and
//! quotas, as requests in Kafka's protocol (<https://kafka.apache.org/protocol>).

use live_sentiment::prelude::*;
use std::io::{Read, Write};
use std::net::TcpStream;

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
const ALTER_CLIENT_QUOTAS: i16 = 49;

/// The settings of a broker with permissions. Whatever is not denied is allowed.
pub const WITH_PERMISSIONS: [(&str, &str); 2] = [
    (
        "authorizer.class.name",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    ),
    ("allow.everyone.if.no.acl.found", "true"),
];

/// What may be denied to the users of a topic.
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
        // The number of the request, and a client id of no length.
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
        // The number of the request, a throttle time, and the number of results come first.
        assert_eq!(response[12..14], [0, 0], "{response:?}");
    }
}

/// Denies an operation on a topic to everyone. Everything else on it stays allowed.
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

/// Takes back what was denied on a topic.
pub fn allow(kafka: &Kafka, topic: &str) {
    let request = Request::default().count(1).byte(2).text(topic).byte(3);
    let request = request.nothing().nothing().byte(1).byte(1);
    request.send(kafka, DELETE_ACLS, 1);
}

/// Limits what the clients write, in bytes per second. `None` removes the limit.
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
