//! A machine without a network: a namespace in which only the loopback interface is up.
#![cfg(target_os = "linux")]

mod common;

use common::*;
use live_sentiment::prelude::*;
use std::process::Command;

/// Set in the process that runs inside of the namespace.
const INSIDE: &str = "LIVE_SENTIMENT_TEST_OFFLINE";
/// Starts the loopback interface, replaces /etc/hosts, and runs the arguments.
const SET_UP: &str = r#"
up='import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))'
ip link set lo up || ifconfig lo up || python3 -c "$up" || exit 1
mount --bind "$1" /etc/hosts || exit 1
shift
exec "$@""#;
/// The IPv6 address first, as many systems have it.
const HOSTS: &str = "::1 localhost\n127.0.0.1 localhost\n";

/// Returns whether this is the process inside of the namespace. If not, it runs the test `name` there.
fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--mount"]);
        command.args(arguments).env(INSIDE, "1");
        command.output()
    };
    let hosts = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(hosts.path(), HOSTS).unwrap();
    let hosts = hosts.path().to_str().unwrap();
    let prepare = ["sh", "-c", SET_UP, "sh", hosts];
    match unshare(&[&prepare[..], &["true"]].concat()) {
        Ok(done) if done.status.success() => {}
        Ok(done) => {
            not_run("tests offline", &String::from_utf8_lossy(&done.stderr));
            return false;
        }
        Err(error) => {
            not_run("tests offline", &format!("unshare: {error}"));
            return false;
        }
    }
    let test = std::env::current_exe().unwrap();
    let run = [test.to_str().unwrap(), "--exact", name, "--nocapture"];
    let done = unshare(&[&prepare[..], &run].concat()).unwrap();
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
