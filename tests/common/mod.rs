//! What the tests share: a real embedded broker each, and waiting for what must come.
#![allow(dead_code, reason = "each test file uses some of it")]

use live_sentiment::kafka::BOOTSTRAP_VARIABLE;
use live_sentiment::listener::Listening;
use live_sentiment::prelude::*;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::process::Command;
use std::time::Instant;

/// Longer than anything takes on a machine that stalls for seconds; only a failure waits it out.
pub const LIMIT: Duration = Duration::from_secs(120);

pub fn broker() -> Kafka {
    assert!(
        std::env::var_os(BOOTSTRAP_VARIABLE).is_none(),
        "the tests bring their own broker"
    );
    Kafka::embedded(0).unwrap()
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn until_heard(listening: &Listening, count: u64) {
    until(&format!("{count} heard"), || {
        let heard = listening.summary().total.heard;
        assert!(heard <= count, "{heard} were heard where {count} were sent");
        heard == count
    });
}

/// Writes raw messages, as another program would.
pub fn write(kafka: &Kafka, topic: &str, messages: &[&[u8]]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("message.max.bytes", "4000000")
        .create()
        .unwrap();
    for message in messages {
        producer
            .send(BaseRecord::to(topic).key("someone").payload(*message))
            .unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

/// The process id of the embedded broker at `address`.
pub fn broker_process(address: &str) -> String {
    let pattern = format!("^[^ ]*tansu broker --listener-url tcp://{address}");
    let found = Command::new("pgrep")
        .args(["-f", &pattern])
        .output()
        .unwrap();
    let id = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    assert!(id.parse::<u32>().is_ok(), "the broker's process: {id:?}");
    id
}

pub fn signal(process: &str, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, process])
            .status()
            .unwrap()
            .success()
    );
}
