//! Invalid addresses, names and settings: each mistake has its own error message, within 5 seconds. The
//! servers are real.

use common::apache::{Apache, free_port};
use common::*;
use live_sentiment::prelude::*;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A broker that advertises a different address at each of its ports.
struct Advertising {
    apache: Apache,
    unknown_host: u16,
    refusing: u16,
    /// `None` if this machine has no IPv6.
    ipv6: Option<u16>,
}

fn advertising() -> Option<&'static Advertising> {
    static SHARED: LazyLock<Option<Advertising>> = LazyLock::new(|| {
        let [unknown_host, refusing] = [(); 2].map(|()| free_port());
        let ipv6 = TcpListener::bind("[::1]:0").ok();
        let ipv6 = ipv6.map(|free| free.local_addr().unwrap().port());
        if ipv6.is_none() {
            not_run("a broker on IPv6", "no address [::1]");
        }
        let mut listeners = format!(
            "PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},\
             UNKNOWN://127.0.0.1:{unknown_host},REFUSING://127.0.0.1:{refusing}"
        );
        let mut advertised = "PLAINTEXT://127.0.0.1:{port},UNKNOWN://kafka-broker-inside:9092,\
                              REFUSING://127.0.0.1:1"
            .to_owned();
        if let Some(port) = ipv6 {
            listeners += &format!(",IPV6://[::1]:{port}");
            advertised += &format!(",IPV6://[::1]:{port}");
        }
        let names = ["PLAINTEXT", "CONTROLLER", "UNKNOWN", "REFUSING", "IPV6"];
        let apache = Apache::start(&[
            ("listeners", &listeners),
            ("advertised.listeners", &advertised),
            ("inter.broker.listener.name", "PLAINTEXT"),
            (
                "listener.security.protocol.map",
                &names.map(|name| format!("{name}:PLAINTEXT")).join(","),
            ),
        ])?;
        Some(Advertising {
            apache,
            unknown_host,
            refusing,
            ipv6,
        })
    });
    SHARED.as_ref()
}

/// Returns the error of a connection that must fail.
fn refused(address: &str) -> String {
    let start = Instant::now();
    let error = Kafka::at(address).expect_err(address).to_string();
    // Twice the documented limit, for slow machines.
    assert!(start.elapsed() < Duration::from_secs(10), "{error}");
    error
}

/// Runs a program that must fail. Returns its output.
fn complaint(name: &str, arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let mut command = example(name);
    command.args(arguments).envs(settings.iter().copied());
    let ended = command.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success(), "{name}: {said}");
    said
}

fn assert_words(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn a_malformed_address_is_named_with_the_right_form() {
    for address in [
        "",
        "127.0.0.1",
        "127.0.0.1:abc",
        "127.0.0.1:70000",
        "http://127.0.0.1:9092",
        ":9092",
    ] {
        let words = [
            &format!("Kafka address {address:?}"),
            "hint: write `host:port`",
        ];
        assert_words(&refused(address), &words);
        for program in ["streamer", "listener", "scorer"] {
            assert_words(&complaint(program, &["--bootstrap", address], &[]), &words);
        }
        if !address.is_empty() {
            let variable = [("KAFKA_BOOTSTRAP_SERVERS", address)];
            assert_words(&complaint("listener", &[], &variable), &words);
        }
    }
}

#[test]
fn nothing_an_http_server_and_a_silent_program_have_words_of_their_own() {
    let port = free_port();
    let nothing = refused(&format!("127.0.0.1:{port},127.0.0.1:1"));
    let each = [
        &format!("127.0.0.1:{port}: Connection refused"),
        "127.0.0.1:1: Connection refused",
    ];
    assert_words(&nothing, &each);

    let network = tokio::runtime::Runtime::new().unwrap();
    let http = network
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = http.local_addr().unwrap().to_string();
    network.spawn(async move { axum::serve(http, axum::Router::new()).await });
    assert_words(
        &refused(&address),
        &[
            "an HTTP server listens there",
            "hint: set KAFKA_BOOTSTRAP_SERVERS",
        ],
    );

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = refused(&silent.local_addr().unwrap().to_string());
    assert_words(
        &silent,
        &["a program listens there, but it did not answer within 4 s"],
    );
}

#[test]
fn the_port_of_a_controller_is_named() {
    let Some(broker) = advertising() else {
        return;
    };
    let error = refused(&broker.apache.controller());
    assert_words(
        &error,
        &[
            "the port of a controller",
            "hint: use the port of the broker",
        ],
    );
}

#[test]
fn an_advertised_address_that_cannot_be_reached_is_named() {
    let Some(broker) = advertising() else {
        return;
    };
    for (port, advertised, reason) in [
        (
            broker.unknown_host,
            "kafka-broker-inside:9092",
            "failed to lookup address",
        ),
        (broker.refusing, "127.0.0.1:1", "Connection refused"),
    ] {
        let address = format!("127.0.0.1:{port}");
        let answers = format!("the broker at {address} answers, but it advertises {advertised}");
        let words = [
            &*answers,
            "cannot be reached",
            reason,
            "hint: set `advertised.listeners`",
        ];
        // Accept more than once: librdkafka may connect again before or after it closes the first connection.
        for _ in 0..3 {
            assert_words(&refused(&address), &words);
        }
        for program in ["streamer", "listener", "scorer"] {
            assert_words(&complaint(program, &["--bootstrap", &address], &[]), &words);
        }
    }
}

#[test]
fn a_broker_on_ipv6_is_used_like_any_other() {
    let Some(port) = advertising().and_then(|broker| broker.ipv6) else {
        return;
    };
    let kafka = Kafka::at(&format!("[::1]:{port}")).unwrap();
    let topic = kafka.create_topic("ipv6", TopicConfig::default()).unwrap();
    let story = Story::of(2_000, Duration::ZERO);
    let listening = Listener::new(&kafka, "ipv6").start().unwrap();
    let streaming = Streamer::new(&topic).start(story.replay()).unwrap();
    assert!(streaming.wait_for(LIMIT));
    story.until_counted(&listening);
}

#[test]
fn an_impossible_name_of_a_topic_is_refused_by_all_and_kafkas_reason_is_told() {
    let Some(broker) = advertising() else {
        return;
    };
    let kafka = broker.apache.kafka();
    for (name, reason) in [
        ("a b", "1 to 240 letters"),
        ("", "1 to 240 letters"),
        ("__consumer_offsets", "Kafka's own"),
    ] {
        let errors = [
            kafka.create_topic(name, TopicConfig::default()).err(),
            kafka.open_topic(name).err(),
            Listener::new(&kafka, name).start().err(),
            Listener::scored(&kafka, name).tweets().err(),
            Scorer::new(&kafka, name, "scores").start().err(),
            Scorer::new(&kafka, "tweets", name).start().err(),
        ];
        for error in errors {
            let error = error.expect(name).to_string();
            assert_words(&error, &[&format!("invalid topic name {name:?}"), reason]);
        }
    }
    kafka.create_topic("a.b", TopicConfig::default()).unwrap();
    let error = kafka
        .create_topic("a_b", TopicConfig::default())
        .unwrap_err()
        .to_string();
    assert_words(&error, &["collides with that of topic \"a.b"]);
}

#[test]
fn a_setting_that_the_counts_depend_on_ends_each_program() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "client.id=ada\ndelivery.report.only.error=true\n",
    )
    .unwrap();
    let settings = [("KAFKA_PROPERTIES", file.path().to_str().unwrap())];
    for program in ["streamer", "listener", "scorer"] {
        let said = complaint(program, &["--bootstrap", "127.0.0.1:1"], &settings);
        assert_words(
            &said,
            &[
                "\"delivery.report.only.error\" in line 2 of",
                "hint: remove it",
            ],
        );
    }
}

/// Forwards connections to the broker, and records the `client.id` of each.
async fn relay(
    listener: tokio::net::TcpListener,
    broker: String,
    ids: Arc<Mutex<BTreeSet<String>>>,
) {
    while let Ok((mut client, _)) = listener.accept().await {
        let (broker, ids) = (broker.clone(), ids.clone());
        tokio::spawn(async move {
            // The head of the first request: length, API key, version and correlation id, then the client id.
            let mut head = [0; 14];
            client.read_exact(&mut head).await?;
            let mut id = vec![0; u16::from_be_bytes([head[12], head[13]]).into()];
            client.read_exact(&mut id).await?;
            ids.lock()
                .unwrap()
                .insert(String::from_utf8(id.clone()).unwrap());
            let mut server = tokio::net::TcpStream::connect(broker).await?;
            server.write_all(&[&head[..], &id].concat()).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

#[test]
fn each_program_has_a_client_id_of_its_own_unless_one_is_set() {
    let network = tokio::runtime::Runtime::new().unwrap();
    let listener = network.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let advertised = format!("PLAINTEXT://{address}");
    let Some(apache) = Apache::start(&[("advertised.listeners", &advertised)]) else {
        return;
    };
    let ids = Arc::new(Mutex::new(BTreeSet::new()));
    network.spawn(relay(listener, apache.address(), ids.clone()));

    let kafka = Kafka::at(&address).unwrap();
    let topic = create_topic(&kafka);
    let streaming = Streamer::new(&topic).start(Demo::default()).unwrap();
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let scoring = Scorer::new(&kafka, "tweets", "scores").start().unwrap();
    let roles = ["admin", "listener", "scorer", "streamer"];
    let expected: BTreeSet<_> = roles.map(|role| format!("live-sentiment-{role}")).into();
    // The broker itself is a client too.
    until("a client of each role", || {
        ids.lock().unwrap().is_superset(&expected)
    });

    drop((streaming, listening, scoring));
    ids.lock().unwrap().clear();
    let mut streamer = example("streamer");
    streamer.args(["--bootstrap", &address, "--topic", "other", "--count", "10"]);
    let ended = streamer.env("KAFKA_CLIENT_ID", "ada").output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(ids.lock().unwrap().contains("ada"));
    assert!(!ids.lock().unwrap().contains("live-sentiment-streamer"));
}
