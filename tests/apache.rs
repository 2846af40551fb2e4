//! Faults of Apache Kafka: no tweet may be lost or counted twice. Brokers, programs and signals are real.
//! Each test compares the sum with the sum of an undisturbed run.

use common::apache::{Apache, free_port};
use common::*;
use live_sentiment::listener::State;
use live_sentiment::prelude::*;
use live_sentiment::streamer::Streaming;
use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn stream(topic: &Topic, story: &Story) -> Streaming {
    Streamer::new(topic).start(story.replay()).unwrap()
}

/// Waits for the end of a stream, and checks that each tweet was sent.
fn assert_all_sent(streaming: &Streaming, story: &Story) {
    assert!(streaming.wait_for(LIMIT), "{}", streaming.status());
    let status = streaming.status();
    assert_eq!(
        (status.counts.sent, status.counts.failed),
        (story.count, 0),
        "{status}"
    );
}

#[test]
fn both_sides_survive_a_killed_broker() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    // The stream is longer than the broker is down, so it cannot end in the meantime.
    let story = Story::of(12_000, Duration::from_secs(24));
    let kafka = apache.kafka();
    let topic = create_topic(&kafka);
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let streaming = stream(&topic, &story);
    until("some", || listening.status().total.counted > 500);
    apache.signal(0, "-KILL");
    until("tweets that wait for the broker", || {
        streaming.status().counts.in_flight() > 500
    });
    until("the lost connection to be reported", || {
        let error = streaming.status().last_error.unwrap_or_default();
        let state = listening.status().state;
        error.contains("Kafka is unreachable") && !matches!(state, State::Connected)
    });
    apache.begin(0);
    assert_all_sent(&streaming, &story);
    assert_eq!(streaming.status().last_error, None, "the error is over");
    story.until_counted(&listening);
}

#[test]
fn both_sides_survive_a_broker_that_hangs_for_thirty_seconds() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    // The stream is longer than the broker hangs, even if a busy machine needs many seconds to count the
    // first tweets.
    let story = Story::of(12_000, Duration::from_secs(60));
    let kafka = apache.kafka();
    let topic = create_topic(&kafka);
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let streaming = stream(&topic, &story);
    until("some", || listening.status().total.counted > 500);
    apache.signal(0, "-STOP");
    std::thread::sleep(Duration::from_secs(30));
    apache.signal(0, "-CONT");
    assert_all_sent(&streaming, &story);
    story.until_counted(&listening);
}

#[test]
fn both_sides_survive_the_loss_of_two_of_three_brokers() {
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
    let topic = kafka.create_topic("tweets", config.clone()).unwrap();
    let two = TopicConfig {
        replication: 2,
        ..config
    };
    kafka.create_topic("two-replicas", two).unwrap();
    assert_eq!(min_insync_replicas(&kafka, "tweets"), "2");
    assert_eq!(min_insync_replicas(&kafka, "two-replicas"), "2");
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let streaming = stream(&topic, &story);
    until("some", || listening.status().total.counted > 500);
    let leader = apache.leader("tweets");
    apache.signal(leader, "-KILL");
    let counted = listening.status().total.counted;
    until("the tweets of the next leader", || {
        listening.status().total.counted > counted + 3_000
    });
    // One of three brokers is left. It accepts no writes, because two replicas must be in sync.
    let second = (leader + 1) % 3;
    apache.signal(second, "-KILL");
    until("tweets that wait", || {
        streaming.status().counts.in_flight() > 500
    });
    apache.begin(second);
    assert_all_sent(&streaming, &story);
    story.until_counted(&listening);
}

/// A proxy to the broker. While `cutting`, it repeatedly closes its connections, and counts them.
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
fn both_sides_survive_connections_that_break_again_and_again() {
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
    let topic = create_topic(&kafka);
    let story = Story::of(8_000, Duration::from_secs(12));
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let streaming = stream(&topic, &story);
    cutting.store(true, Ordering::Relaxed);
    until("many cuts", || cuts.load(Ordering::Relaxed) >= 40);
    cutting.store(false, Ordering::Relaxed);
    assert_all_sent(&streaming, &story);
    story.until_counted(&listening);
}

#[test]
fn a_topic_that_is_deleted_and_created_again_is_counted_from_zero() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let story = Story::of(4_000, Duration::from_secs(4));
    let kafka = apache.kafka();
    let topic = create_topic(&kafka);
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let streaming = stream(&topic, &story);
    until("some", || listening.status().total.counted > 500);
    let network = tokio::runtime::Runtime::new().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let deleted = network.block_on(admin(&kafka).delete_topics(&["tweets"], &options));
    assert!(deleted.unwrap()[0].is_ok());
    until(
        "the missing topic to be reported",
        || matches!(&listening.status().state, State::Waiting(reason) if reason.contains("\"tweets\"")),
    );
    // Another program does this, so that the streamer continues.
    let again = NewTopic::new("tweets", 1, TopicReplication::Fixed(1));
    network
        .block_on(admin(&kafka).create_topics([&again], &options))
        .unwrap();
    assert!(streaming.wait_for(LIMIT), "{}", streaming.status());
    let status = streaming.status();
    let kept = status
        .dead_letter_file
        .as_ref()
        .map_or(0, |file| lines_of(file));
    assert_eq!(
        (
            status.counts.sent + status.counts.failed,
            status.counts.failed
        ),
        (story.count, kept)
    );
    // Only the tweets of the second stream are in the newest run.
    let second = Story::of(1_000, Duration::from_secs(1));
    assert_all_sent(&stream(&create_topic(&kafka), &second), &second);
    until("the new run alone", || {
        listening.status().total.counted == second.count
    });
    second.until_counted(&listening);
}

fn min_insync_replicas(kafka: &Kafka, topic: &str) -> String {
    let network = tokio::runtime::Runtime::new().unwrap();
    let topic = [ResourceSpecifier::Topic(topic)];
    let configs = admin(kafka);
    let configs = configs.describe_configs(&topic, &AdminOptions::new());
    let config = network.block_on(configs).unwrap().remove(0).unwrap();
    let entry = config.get("min.insync.replicas").unwrap();
    entry.value.clone().unwrap()
}

fn lines_of(file: &std::path::Path) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::remove_file(file).unwrap();
    text.lines().count() as u64
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
fn a_killed_listener_counts_the_same_after_a_restart() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let story = Story::of(5_000, Duration::from_secs(5));
    let kafka = apache.kafka();
    let topic = create_topic(&kafka);
    let streaming = stream(&topic, &story);
    let first = Program::start("listener", &kafka, &["--figure-port", "0"]);
    until("half of it", || messages(&kafka, "tweets") > 2_500);
    first.kill();
    let count = story.count.to_string();
    let second = Program::start(
        "listener",
        &kafka,
        &["--figure-port", "0", "--count", &count],
    );
    assert_all_sent(&streaming, &story);
    let result = second.result();
    assert_eq!(
        (&result["counted"], &result["heard"]),
        (&story.count.into(), &story.count.into())
    );
    assert!(
        (result["sum"].as_f64().unwrap() - story.sum).abs() < 1e-6,
        "{result}"
    );
}

#[test]
fn a_killed_streamer_sends_no_tweet_twice_after_a_restart() {
    let Some(apache) = Apache::start(&[]) else {
        return;
    };
    let story = Story::of(5_000, Duration::from_secs(5));
    let kafka = apache.kafka();
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let file = story.file.path().display().to_string();
    let replay = ["--source", "replay", "--file", &file];
    let first = Program::start("streamer", &kafka, &replay);
    until("half of it", || listening.status().total.counted > 2_500);
    first.kill();
    let again = [&replay[..], &["--join", "--rate", "0"]].concat();
    let sent = Program::start("streamer", &kafka, &again).result();
    assert_eq!(
        (&sent["sent"], &sent["failed"]),
        (&story.count.into(), &0.into())
    );
    story.until_counted(&listening);
    until("the duplicates", || {
        listening.status().uncounted.duplicate > 2_000
    });
    story.until_counted(&listening);
}

#[test]
fn a_full_disk_of_the_broker_is_reported() {
    if !common::apache::is_there() {
        return;
    }
    // The broker that the program starts has its data on a disk of 12 MB. Only the broker sees this disk,
    // and the disk is removed when the broker ends.
    let data = root().join("target/kafka/data");
    std::fs::create_dir_all(&data).unwrap();
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
            data.to_str().unwrap(),
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
        .env_remove("KAFKA_BOOTSTRAP_SERVERS")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(errors.contains("Apache Kafka has exited"), "{errors}");
    assert!(errors.contains("No space left on device"), "{errors}");
    assert!(!errors.contains("librdkafka"), "{errors}");
    let said = String::from_utf8_lossy(&ended.stdout);
    let result: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let number = |name: &str| result[name].as_u64().unwrap();
    let kept = lines_of(result["dead_letter_file"].as_str().unwrap().as_ref());
    assert!(kept > 0);
    assert_eq!(number("failed"), kept);
    let taken = number("read") - number("filtered") - number("duplicate");
    assert_eq!(number("sent") + kept, taken, "{result}");
}

#[test]
fn messages_that_retention_removed_before_they_were_read_are_counted() {
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
        .start()
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
    // Wait until the broker has removed everything but the last segment.
    until("the removal of most", || first() > (TWEETS as i64) * 9 / 10);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    until("each tweet to be counted or missed", || {
        let summary = listening.status();
        summary.total.counted + summary.uncounted.missed == TWEETS
    });
    let summary = listening.status();
    assert!(
        summary.uncounted.missed > 0 && summary.total.counted > 0,
        "{summary}"
    );
    assert!(
        summary
            .to_string()
            .contains("missed (removed by the broker)"),
        "{summary}"
    );
    let start = Instant::now();
    listening.stop();
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// A proxy to a broker that can close its connections and hold back fetch requests.
#[derive(Clone, Default)]
struct Proxy {
    /// Each change closes all connections.
    generation: Arc<AtomicU64>,
    holding: Arc<AtomicBool>,
    /// The number of fetch requests that were held back.
    held: Arc<AtomicU64>,
    /// Whether new connections are closed at once.
    refusing: Arc<AtomicBool>,
}

impl Proxy {
    async fn serve(self, port: u16, broker: u16) {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        while let Ok((client, _)) = listener.accept().await {
            if self.refusing.load(Ordering::Relaxed) {
                continue;
            }
            let proxy = self.clone();
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(("127.0.0.1", broker)).await else {
                    return;
                };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let generation = proxy.generation.load(Ordering::Relaxed);
                let closed = async {
                    while proxy.generation.load(Ordering::Relaxed) == generation {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::select! {
                    _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
                    _ = proxy.forward(&mut from_client, &mut to_server) => {}
                    () = closed => {}
                }
            });
        }
    }

    /// Forwards requests. A request is its size, then its API key and its version; 1 is Fetch.
    async fn forward(
        &self,
        from: &mut (impl AsyncReadExt + Unpin),
        to: &mut (impl AsyncWriteExt + Unpin),
    ) -> std::io::Result<()> {
        loop {
            let size = from.read_u32().await?;
            let mut request = vec![0; size as usize];
            from.read_exact(&mut request).await?;
            let is_fetch = request[..2] == [0, 1];
            self.held.fetch_add(
                u64::from(is_fetch && self.holding.load(Ordering::Relaxed)),
                Ordering::Relaxed,
            );
            while is_fetch && self.holding.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            to.write_u32(size).await?;
            to.write_all(&request).await?;
        }
    }
}

/// A broker behind a proxy, and a direct connection to it.
struct BehindProxy {
    proxy: Proxy,
    kafka: Kafka,
    direct: Kafka,
    _network: tokio::runtime::Runtime,
    _apache: Apache,
}

impl BehindProxy {
    fn start() -> Option<BehindProxy> {
        let (port, direct) = (free_port(), free_port());
        let listeners = format!(
            "PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},DIRECT://127.0.0.1:{direct}"
        );
        let advertised = format!("PLAINTEXT://127.0.0.1:{port},DIRECT://127.0.0.1:{direct}");
        let apache = Apache::start(&[
            ("listeners", &listeners),
            ("advertised.listeners", &advertised),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DIRECT:PLAINTEXT",
            ),
        ])?;
        let broker = apache.address().rsplit(':').next()?.parse().ok()?;
        let (network, proxy) = (tokio::runtime::Runtime::new().unwrap(), Proxy::default());
        network.spawn(proxy.clone().serve(port, broker));
        let address = format!("127.0.0.1:{port}");
        until("the proxy", || Kafka::at(&address).is_ok());
        Some(BehindProxy {
            proxy,
            kafka: Kafka::at(&address).unwrap(),
            direct: Kafka::at(&format!("127.0.0.1:{direct}")).unwrap(),
            _network: network,
            _apache: apache,
        })
    }
}

#[test]
fn a_slow_first_answer_after_a_reconnect_does_not_restart_the_count() {
    let Some(BehindProxy { proxy, kafka, .. }) = &BehindProxy::start() else {
        return;
    };
    create_topic(kafka);
    let messages: [&[u8]; 3] = [br#"{"text":"good"}"#; 3];
    let listening = Listener::new(kafka, "tweets").start().unwrap();
    write(kafka, "tweets", &messages);
    until_counted(&listening, 3);
    proxy.holding.store(true, Ordering::Relaxed);
    let held = proxy.held.load(Ordering::Relaxed);
    proxy.generation.fetch_add(1, Ordering::Relaxed);
    until("the first fetch after the reconnect", || {
        proxy.held.load(Ordering::Relaxed) > held
    });
    // A delay of the last counted message must not restart the count: only a different message at its
    // offset proves that the topic is another log.
    let answered = Instant::now() + Duration::from_secs(8);
    while Instant::now() < answered {
        assert_eq!(listening.status().total.counted, 3);
        std::thread::sleep(Duration::from_millis(50));
    }
    proxy.holding.store(false, Ordering::Relaxed);
    write(kafka, "tweets", &messages);
    until_counted(&listening, 6);
}

#[test]
fn a_listener_from_the_latest_message_counts_what_came_while_it_was_disconnected() {
    let Some(cluster) = &BehindProxy::start() else {
        return;
    };
    create_topic(&cluster.kafka);
    let message: [&[u8]; 1] = [br#"{"text":"good"}"#];
    write(&cluster.direct, "tweets", &message);
    let listening = Listener::new(&cluster.kafka, "tweets")
        .from(StartFrom::Latest)
        .start()
        .unwrap();
    let is_connected = || listening.status().state == State::Connected;
    until("a connection", is_connected);
    cluster.proxy.refusing.store(true, Ordering::Relaxed);
    cluster.proxy.generation.fetch_add(1, Ordering::Relaxed);
    until("a lost connection", || !is_connected());
    write(&cluster.direct, "tweets", &message);
    cluster.proxy.refusing.store(false, Ordering::Relaxed);
    until_counted(&listening, 1);
}
