//! A machine without a network: a namespace in which only the loopback interface is up.
#![cfg(target_os = "linux")]

use common::*;
use live_sentiment::prelude::*;

/// The environment variable that is set in the process inside the namespace.
const INSIDE: &str = "LIVE_SENTIMENT_TEST_OFFLINE";

/// Returns whether this process is inside the namespace. If it is not, runs the test `name` in a namespace.
fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let test = std::env::current_exe().unwrap();
    let program = [test.to_str().unwrap(), "--exact", name, "--nocapture"];
    let Some(done) = common::offline::run(&program, INSIDE) else {
        return false;
    };
    let output = [done.stdout, done.stderr].concat();
    let output = String::from_utf8_lossy(&output);
    assert!(done.status.success(), "{output}");
    assert!(output.contains("1 passed"), "{output}");
    false
}

#[test]
fn the_programs_count_every_tweet_without_a_network() {
    if !is_inside("the_programs_count_every_tweet_without_a_network") {
        return;
    }
    // The first streamer starts the broker, on the default port.
    let mut first = example("streamer");
    first.args(["--topic", "first", "--rate", "100"]);
    let first = Program::spawn(first);
    let kafka = Kafka::connect().unwrap();
    assert_eq!(kafka.address(), "127.0.0.1:9092");
    let listener = Program::start("listener", &kafka, &["--count", "5000"]);
    let streamer = Program::start("streamer", &kafka, &["--count", "5000", "--rate", "0"]);
    assert_eq!(streamer.result()["sent"], 5_000);
    let listened = listener.result();
    assert_eq!(listened["counted"], 5_000, "{listened}");
    assert_eq!(listened["missed"], 0, "{listened}");
    first.kill();
}

#[test]
fn localhost_reaches_a_broker_that_listens_on_ipv4_only() {
    if !is_inside("localhost_reaches_a_broker_that_listens_on_ipv4_only") {
        return;
    }
    let own = broker();
    let topic = create_topic(&own);
    let demo = Demo::default().as_fast_as_possible().count(100);
    assert_eq!(
        Streamer::new(&topic)
            .start(demo)
            .unwrap()
            .wait()
            .counts
            .sent,
        100
    );
    let port = own.address().rsplit(':').next().unwrap();
    // librdkafka tries the two addresses of the name in a random order.
    for _ in 0..5 {
        let kafka = Kafka::at(&format!("localhost:{port}")).unwrap();
        let topic = kafka.open_topic("tweets").unwrap();
        assert_eq!(topic.partitions(), 1);
        let listening = Listener::new(&kafka, "tweets").start().unwrap();
        until_counted(&listening, 100);
    }
}
