//! What breaks around Apache Kafka, and what must hold then: nothing lost, nothing counted twice.
//! Brokers, programs and signals are real; the sum is compared with that of an undisturbed run.

mod common;

use common::apache::{Apache, free_port};
use common::*;
use live_sentiment::prelude::*;
use live_sentiment::streamer::Streaming;
use live_sentiment::trajectory::State;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};

fn stream(kafka: &Kafka, story: &Story) -> Streaming {
    Streamer::new(kafka, "tweets")
        .start(story.replay())
        .unwrap()
}

/// A stream's end, at which every tweet was taken.
fn all_sent(streaming: &Streaming, story: &Story) {
    assert!(streaming.wait_for(LIMIT), "{}", streaming.status());
    let status = streaming.status();
    assert_eq!((status.sent, status.failed), (story.count, 0), "{status}");
}

#[test]
fn killed_and_started_again_both_sides_go_on() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    // It goes on for longer than the broker is away, and ten seconds for the flush.
    let story = Story::of(12_000, Duration::from_secs(24));
    let kafka = apache.kafka();
    make_topic(&kafka);
    let listening = Listener::new(&kafka, "tweets").start(None).unwrap();
    let streaming = stream(&kafka, &story);
    until("some", || listening.summary().total.heard > 500);
    apache.signal(0, "-KILL");
    until("tweets that wait for the broker", || {
        streaming.status().in_flight > 500
    });
    until("the loss is said", || {
        let trouble = streaming.status().last_trouble.unwrap_or_default();
        let state = listening.summary().state;
        trouble.contains("Kafka is away") && !matches!(state, State::Connected)
    });
    apache.begin(0);
    all_sent(&streaming, &story);
    assert_eq!(streaming.status().last_trouble, None, "it is over");
    story.until_heard(&listening);
}

#[test]
fn stopped_for_thirty_seconds_it_goes_on() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let story = Story::of(12_000, Duration::from_secs(36));
    let kafka = apache.kafka();
    make_topic(&kafka);
    let listening = Listener::new(&kafka, "tweets").start(None).unwrap();
    let streaming = stream(&kafka, &story);
    until("some", || listening.summary().total.heard > 500);
    apache.signal(0, "-STOP");
    std::thread::sleep(Duration::from_secs(30));
    apache.signal(0, "-CONT");
    all_sent(&streaming, &story);
    story.until_heard(&listening);
}

#[test]
fn of_three_brokers_the_leader_dies_and_then_a_second_one() {
    let three = [
        ("offsets.topic.replication.factor", "3"),
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
    ];
    let Some(apache) = Apache::cluster(3, &three) else {
        return;
    };
    let story = Story::of(20_000, Duration::from_secs(20));
    let kafka = apache.kafka();
    let config = TopicConfig {
        partitions: 3,
        replication: 3,
        ..TopicConfig::default()
    };
    kafka.create_topic("tweets", config).unwrap();
    let listening = Listener::new(&kafka, "tweets").start(None).unwrap();
    let streaming = stream(&kafka, &story);
    until("some", || listening.summary().total.heard > 500);
    let leader = apache.leader("tweets");
    apache.signal(leader, "-KILL");
    let heard = listening.summary().total.heard;
    until("the next leader's", || {
        listening.summary().total.heard > heard + 3_000
    });
    // One of three is left, which takes nothing alone.
    let second = (leader + 1) % 3;
    apache.signal(second, "-KILL");
    until("tweets that wait", || streaming.status().in_flight > 500);
    apache.begin(second);
    all_sent(&streaming, &story);
    story.until_heard(&listening);
}

/// A way to the broker that is cut again and again while `cutting`; counts the cuts.
async fn cutter(port: u16, broker: u16, cutting: Arc<AtomicBool>, cuts: Arc<AtomicU64>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    while let Ok((mut client, _)) = listener.accept().await {
        let (cutting, cuts) = (cutting.clone(), cuts.clone());
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", broker)).await else {
                return;
            };
            let copied = tokio::io::copy_bidirectional(&mut client, &mut server);
            let cut = async {
                tokio::time::sleep(Duration::from_millis(400)).await;
                while !cutting.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                _ = copied => {}
                () = cut => { cuts.fetch_add(1, Ordering::Relaxed); }
            }
        });
    }
}

#[test]
fn connections_are_cut_again_and_again() {
    let proxy = free_port();
    let advertised = format!("PLAINTEXT://127.0.0.1:{proxy}");
    let Some(apache) = Apache::start(&[("advertised.listeners", &advertised)]) else {
        return;
    };
    let broker: u16 = apache
        .address()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let (cutting, cuts) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let network = tokio::runtime::Runtime::new().unwrap();
    network.spawn(cutter(proxy, broker, cutting.clone(), cuts.clone()));
    let address = format!("127.0.0.1:{proxy}");
    until("the proxy", || Kafka::at(&address).is_ok());
    let kafka = Kafka::at(&address).unwrap();
    make_topic(&kafka);
    let story = Story::of(8_000, Duration::from_secs(12));
    let listening = Listener::new(&kafka, "tweets").start(None).unwrap();
    let streaming = stream(&kafka, &story);
    cutting.store(true, Ordering::Relaxed);
    until("many cuts", || cuts.load(Ordering::Relaxed) >= 40);
    cutting.store(false, Ordering::Relaxed);
    all_sent(&streaming, &story);
    story.until_heard(&listening);
}

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    rdkafka::ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap()
}

#[test]
fn a_topic_that_is_deleted_and_made_again_is_told_and_begins_anew() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let story = Story::of(4_000, Duration::from_secs(4));
    let kafka = apache.kafka();
    let topic = TopicConfig::default();
    kafka.create_topic("tweets", topic.clone()).unwrap();
    let listening = Listener::new(&kafka, "tweets").start(None).unwrap();
    let streaming = stream(&kafka, &story);
    until("some", || listening.summary().total.heard > 500);
    let network = tokio::runtime::Runtime::new().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let deleted = network.block_on(admin(&kafka).delete_topics(&["tweets"], &options));
    assert!(deleted.unwrap()[0].is_ok());
    until(
        "the loss is said",
        || matches!(&listening.summary().state, State::Waiting(why) if why.contains("\"tweets\"")),
    );
    // By another program, so that the streamer goes on.
    let again = NewTopic::new("tweets", 1, TopicReplication::Fixed(1));
    network
        .block_on(admin(&kafka).create_topics([&again], &options))
        .unwrap();
    assert!(streaming.wait_for(LIMIT), "{}", streaming.status());
    let status = streaming.status();
    let kept = status.undelivered.as_ref().map_or(0, |file| lines_of(file));
    assert_eq!(
        (status.sent + status.failed, status.failed),
        (story.count, kept)
    );
    // A second stream, whose tweets alone are in the topic's newest run.
    let second = Story::of(1_000, Duration::from_secs(1));
    kafka.create_topic("tweets", topic).unwrap();
    all_sent(&stream(&kafka, &second), &second);
    until("the new run alone", || {
        listening.summary().total.heard == second.count
    });
    second.until_heard(&listening);
}

fn lines_of(file: &std::path::Path) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::remove_file(file).unwrap();
    text.lines().count() as u64
}

/// A program that is ended with its test.
struct Program(Child);

impl Program {
    fn start(name: &str, kafka: &Kafka, arguments: &[&str]) -> Program {
        let mut command = example(name);
        command
            .args(["--bootstrap", kafka.address(), "--json"])
            .args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        Program(command.spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn result(mut self) -> serde_json::Value {
        use std::io::Read;
        let mut said = String::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn messages(kafka: &Kafka, topic: &str) -> i64 {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap();
    let partitions = kafka.partitions(topic).unwrap_or(0);
    (0..)
        .take(partitions)
        .map(|partition| {
            consumer
                .fetch_watermarks(topic, partition, LIMIT)
                .unwrap()
                .1
        })
        .sum()
}

#[test]
fn a_listener_that_was_killed_has_the_same_trajectory_when_it_is_started_anew() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let story = Story::of(5_000, Duration::from_secs(5));
    let kafka = apache.kafka();
    make_topic(&kafka);
    let streaming = stream(&kafka, &story);
    let first = Program::start("listener", &kafka, &["--figure-port", "0"]);
    until("half of it", || messages(&kafka, "tweets") > 2_500);
    first.kill();
    let count = story.count.to_string();
    let second = Program::start(
        "listener",
        &kafka,
        &["--figure-port", "0", "--count", &count],
    );
    all_sent(&streaming, &story);
    let heard = second.result();
    assert_eq!(heard["heard"], story.count);
    assert!(
        (heard["sum"].as_f64().unwrap() - story.sum).abs() < 1e-6,
        "{heard}"
    );
}

#[test]
fn a_streamer_that_was_killed_and_started_anew_gives_no_tweet_twice() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let story = Story::of(5_000, Duration::from_secs(5));
    let kafka = apache.kafka();
    let listening = Listener::new(&kafka, "tweets").start(None).unwrap();
    let file = story.file.path().display().to_string();
    let replay = ["--source", "replay", "--file", &file];
    let first = Program::start("streamer", &kafka, &replay);
    until("half of it", || listening.summary().total.heard > 2_500);
    first.kill();
    let again = [&replay[..], &["--join", "--rate", "0"]].concat();
    let sent = Program::start("streamer", &kafka, &again).result();
    assert_eq!(
        (&sent["sent"], &sent["failed"]),
        (&story.count.into(), &0.into())
    );
    story.until_heard(&listening);
    until("what came twice", || listening.summary().duplicate > 2_000);
    story.until_heard(&listening);
}

#[test]
fn a_full_disk_on_the_broker_is_named() {
    if !common::apache::is_there() {
        return;
    }
    // The broker that the program starts has its data on a disk of 12 MB, which nobody else sees,
    // and which goes with it.
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/target/kafka/data");
    std::fs::create_dir_all(data).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let on_a_small_disk = "mount -t tmpfs -o size=12m none \"$1\" && shift && exec \"$@\"";
    let streamer = example("streamer").get_program().to_owned();
    let ended = Command::new("unshare")
        .args([
            "--mount",
            "--map-root-user",
            "sh",
            "-c",
            on_a_small_disk,
            "sh",
            data,
        ])
        .arg(streamer)
        .args([
            "--engine",
            "apache",
            "--rate",
            "0",
            "--time-span",
            "45",
            "--json",
        ])
        .current_dir(folder.path())
        .env_remove(live_sentiment::kafka::BOOTSTRAP_VARIABLE)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(told.contains("Apache Kafka has ended"), "{told}");
    assert!(told.contains("No space left on device"), "{told}");
    let said = String::from_utf8_lossy(&ended.stdout);
    let result: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let number = |name: &str| result[name].as_u64().unwrap();
    let kept = lines_of(result["undelivered"].as_str().unwrap().as_ref());
    assert!(kept > 0);
    assert_eq!(number("failed"), kept);
    let taken = number("read") - number("filtered") - number("duplicate");
    assert_eq!(number("sent") + kept, taken, "{result}");
}

#[test]
fn what_retention_removed_before_it_was_read_is_counted() {
    const TWEETS: u64 = 250_000;
    let short = [
        ("log.segment.bytes", "1048576"),
        ("log.retention.check.interval.ms", "300"),
        ("log.segment.delete.delay.ms", "0"),
    ];
    let Some(apache) = Apache::start(&short) else {
        return;
    };
    let kafka = apache.kafka();
    let brief = TopicConfig {
        retention: Duration::from_millis(500),
        ..TopicConfig::default()
    };
    kafka.create_topic("tweets", brief).unwrap();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = gate.clone();
    let listening = Listener::new(&kafka, "tweets")
        .metric(move |_, sentiment| {
            let open = held.0.lock().unwrap();
            drop(held.1.wait_while(open, |open| !*open).unwrap());
            sentiment.compound
        })
        .start(None)
        .unwrap();
    let text = "I love it, and here are many words more to fill the log with. ".repeat(4);
    let message = serde_json::json!({ "text": text }).to_string();
    write_many(&kafka, "tweets", message.as_bytes(), TWEETS);
    let first = || {
        use rdkafka::consumer::{BaseConsumer, Consumer};
        let consumer: BaseConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", kafka.address())
            .create()
            .unwrap();
        consumer.fetch_watermarks("tweets", 0, LIMIT).unwrap().0
    };
    // All but the last segment.
    until("the removal of most", || first() > (TWEETS as i64) * 9 / 10);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    until("an account of all", || {
        let summary = listening.summary();
        summary.total.heard + summary.missed == TWEETS
    });
    let summary = listening.summary();
    assert!(summary.missed > 0 && summary.total.heard > 0, "{summary}");
    assert!(summary.to_string().contains("MISSED"), "{summary}");
    let begun = Instant::now();
    listening.stop();
    assert!(begun.elapsed() < Duration::from_secs(5));
}
