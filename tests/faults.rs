//! Faults of brokers and programs, and the state after them. The processes and the signals are real.

use common::*;
use live_sentiment::listener::State;
use live_sentiment::prelude::*;
use live_sentiment::source::async_trait;
use live_sentiment::streamer::EndReason;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::Instant;

fn port_of(address: &str) -> u16 {
    let port = address.trim_end_matches('/').rsplit(':').next();
    port.unwrap().parse().unwrap()
}

#[test]
fn a_missing_broker_is_reported_within_five_seconds() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    let begin = Instant::now();
    let error = Kafka::at(&address).expect_err("not Kafka").to_string();
    assert!(
        error.contains(&address) && error.contains("it did not answer"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(5));

    drop(free);
    let error = Kafka::at(&address).expect_err("no listener").to_string();
    for word in [&address, "Kafka::start()", "KAFKA_BOOTSTRAP_SERVERS"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_taken_port_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Kafka::embedded(port).expect_err("a taken port").to_string();
    assert!(
        error.contains(&port.to_string()) && error.contains("make stop"),
        "{error}"
    );

    let figure = LiveFigure::serve_on(port).unwrap();
    let other = port_of(&figure.url());
    assert!(other > port && other < port + 20, "{other}");
}

#[test]
fn a_listener_survives_a_broker_restart_and_counts_the_next_run() {
    let kafka = broker();
    let port = port_of(kafka.address());
    let run = |kafka: &Kafka, count| {
        let demo = Demo::default().as_fast_as_possible().count(count);
        let streaming = Streamer::new(&create_topic(kafka)).start(demo).unwrap();
        streaming.wait().counts.sent
    };
    // The listener has its own handle, as in the other notebook. This handle owns the broker.
    let remote = Kafka::at(kafka.address()).unwrap();
    let listening = Listener::new(&remote, "tweets").start().unwrap();
    until_counted(&listening, run(&kafka, 2_000));
    let until_lost = || {
        until("the lost connection to be noticed", || {
            let state = listening.status().state;
            matches!(state, State::Reconnecting(_) | State::Waiting(_))
        });
        assert!(listening.status().unreachable_since.is_some());
    };

    drop(kafka);
    until_lost();
    // Now the log is longer: its first messages are before the offset that the listener had reached.
    let kafka = Kafka::embedded(port).unwrap();
    let sent = run(&kafka, 5_000);
    until("the second run, from its first tweet", || {
        listening.status().total.counted == sent
    });
    // Now the log is shorter: the offset that the listener had reached does not exist.
    drop(kafka);
    until_lost();
    let kafka = Kafka::embedded(port).unwrap();
    let sent = run(&kafka, 700);
    until("the third run", || listening.status().total.counted == sent);
    assert_eq!(listening.status().unreachable_since, None);
}

/// A source that starts when the test opens it.
struct Gated {
    opened: tokio::sync::watch::Receiver<bool>,
    demo: Demo,
}

#[async_trait]
impl Source for Gated {
    fn name(&self) -> String {
        "gated demo".into()
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        self.opened.wait_for(|opened| *opened).await.unwrap();
        self.demo.next().await
    }
}

#[test]
fn a_broker_that_hangs_holds_the_source_back() {
    let (kafka, topic) = broker_with_topic();
    let process = broker_process(kafka.address());
    let count = 160_000;
    let (open, opened) = tokio::sync::watch::channel(false);
    let demo = Demo::default().as_fast_as_possible().count(count);
    let streaming = Streamer::new(&topic).start(Gated { opened, demo }).unwrap();
    signal(&process, "-STOP");
    open.send_replace(true);
    // The queue has room for 100,000 messages, a few of which may be status messages.
    until("a full queue", || {
        streaming.status().counts.in_flight() >= 99_900
    });
    // Without backpressure, the source would have ended long ago.
    assert!(!streaming.wait_for(Duration::from_secs(2)));
    let held = streaming.status();
    assert!(
        held.counts.read < count && held.counts.failed == 0,
        "{held:?}"
    );
    signal(&process, "-CONT");
    assert!(streaming.wait_for(LIMIT));
    let counts = streaming.status().counts;
    assert_eq!((counts.read, counts.sent, counts.failed), (count, count, 0));
    let summary = Listener::new(&kafka, "tweets")
        .count(count)
        .start()
        .unwrap()
        .wait();
    assert_eq!(summary.total.counted, count);
}

#[test]
fn tweets_that_a_dead_broker_did_not_confirm_are_in_the_dead_letter_file() {
    let (kafka, topic) = broker_with_topic();
    let process = broker_process(kafka.address());
    let streaming = Streamer::new(&topic)
        .start(Demo::default().rate(200.0).unwrap())
        .unwrap();
    until("some tweets", || streaming.status().counts.sent > 50);
    signal(&process, "-KILL");
    let sent = streaming.status().counts.sent;
    until("some tweets after the broker's end", || {
        streaming.status().counts.in_flight() > 20
    });
    let begin = Instant::now();
    let status = streaming.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "the flush has a time limit"
    );
    let counts = status.counts;
    assert!(counts.failed > 0 && counts.sent >= sent, "{status:?}");
    assert_eq!(counts.read, counts.sent + counts.failed, "{status:?}");
    assert!(status.last_error.is_some());
    let file = status.dead_letter_file.unwrap();
    let (_again, topic) = broker_with_topic();
    let replay = Replay::open(&file).unwrap().as_fast_as_possible();
    let replayed = Streamer::new(&topic).start(replay).unwrap().wait().counts;
    std::fs::remove_file(file).unwrap();
    assert_eq!((replayed.sent, replayed.skipped), (counts.failed, 0));
}

#[test]
fn the_broker_ends_with_its_last_handle() {
    let kafka = broker();
    let process = broker_process(kafka.address());
    drop(kafka);
    assert!(!std::path::Path::new("/proc").join(process).exists());
}

#[test]
fn a_broker_of_ones_own_is_killed_and_started_again() {
    let kafka = broker();
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let run = |count| {
        let demo = Demo::default().as_fast_as_possible().count(count);
        let streaming = Streamer::new(&create_topic(&kafka)).start(demo).unwrap();
        streaming.wait().counts.sent
    };
    until_counted(&listening, run(500));
    kafka.kill().unwrap();
    assert!(Kafka::at(kafka.address()).is_err(), "nobody listens");
    until("the lost connection to be noticed", || {
        listening.status().unreachable_since.is_some()
    });
    // Killing it again has no effect.
    kafka.kill().unwrap();
    kafka.restart().unwrap();
    let sent = run(300);
    until("the next run", || listening.status().total.counted == sent);
    // A running broker is killed first.
    kafka.restart().unwrap();
    let sent = run(200);
    until("the run after that", || {
        listening.status().total.counted == sent
    });
}

#[test]
fn a_broker_of_another_program_is_not_killed() {
    let kafka = broker();
    let other = Kafka::at(kafka.address()).unwrap();
    for refused in [other.kill(), other.restart()] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("another program started it"), "{error}");
    }
    create_topic(&kafka);
}

#[test]
fn a_log_of_many_small_batches_is_read_to_its_end() {
    const TWEETS: u64 = 25_000;
    let (kafka, _topic) = broker_with_topic();
    write_one_by_one(&kafka, "tweets", br#"{"text":"I love it"}"#, TWEETS);
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    until_counted(&listening, TWEETS);
    for more in 1..=3 {
        write(&kafka, "tweets", &[br#"{"text":"I love it"}"#]);
        until_counted(&listening, TWEETS + more);
    }
}

/// A source that panics after some tweets.
struct Panicking(Demo, u32);

#[async_trait]
impl Source for Panicking {
    fn name(&self) -> String {
        "panicking demo".into()
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        assert!(self.1 > 0, "a defect of the source");
        self.1 -= 1;
        self.0.next().await
    }
}

#[test]
fn a_panic_of_a_source_ends_the_stream_as_failed_and_loses_nothing() {
    let (_kafka, topic) = broker_with_topic();
    let source = Panicking(Demo::default().as_fast_as_possible(), 500);
    let status = Streamer::new(&topic).start(source).unwrap().wait();
    assert_eq!(status.ended, Some(EndReason::Failed));
    assert_eq!((status.counts.sent, status.counts.failed), (500, 0));
    let error = status.last_error.unwrap();
    assert!(
        error.contains("panicked: a defect of the source"),
        "{error}"
    );
}

/// A panic payload that panics again when it is dropped.
struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("a defect in the reading thread");
    }
}

#[test]
fn a_panic_of_the_listener_reaches_its_owner() {
    let (kafka, topic) = broker_with_topic();
    let demo = Demo::default().as_fast_as_possible().count(2_000);
    Streamer::new(&topic).start(demo).unwrap().wait();
    // The metric panics in the reading thread, or in a thread that scores a part of a large batch.
    for panicking in [0, 1_900] {
        let listening = Listener::new(&kafka, "tweets")
            .metric(move |tweet, _| {
                if tweet.id.ends_with(&format!("-{panicking}")) {
                    std::panic::panic_any(PanicsOnDrop);
                }
                1.0
            })
            .start()
            .unwrap();
        assert!(listening.wait_for(LIMIT), "no wait lasts forever");
        let State::Failed(error) = listening.wait().state else {
            panic!("{:?}", listening.status().state);
        };
        assert!(error.contains("a defect in the reading thread"), "{error}");
        let error = listening.print_tweets(10_000).unwrap_err().to_string();
        assert!(error.contains("the listener panicked"), "{error}");
        listening.stop();
    }
}

#[test]
fn a_second_stream_into_the_same_run_is_counted_too() {
    let (kafka, topic) = broker_with_topic();
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"{\"text\":\"a\"}\n{\"text\":\"b\"}\n").unwrap();
    for turn in 1..=2 {
        let demo = Demo::default().as_fast_as_possible().count(100);
        Streamer::new(&topic).start(demo).unwrap().wait();
        let replay = Replay::open(file.path()).unwrap();
        Streamer::new(&topic).start(replay).unwrap().wait();
        until_counted(&listening, turn * 102);
    }
    assert_eq!(listening.status().uncounted.duplicate, 0);
}

/// A preloaded library whose `clock_gettime` sets the clock of a program an hour ahead.
const CLOCK_AHEAD: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec += 3600;
    return result;
}
"#;

#[test]
fn a_new_run_is_counted_although_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (
        folder.path().join("clock.c"),
        folder.path().join("clock.so"),
    );
    std::fs::write(&source, CLOCK_AHEAD).unwrap();
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source]);
    assert!(compiler.status().unwrap().success());

    let kafka = broker();
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let stream = |count: &str| {
        let mut program = example("streamer");
        program.args([
            "--rate",
            "0",
            "--bootstrap",
            kafka.address(),
            "--count",
            count,
        ]);
        program
    };
    let ahead = stream("300").env("LD_PRELOAD", &library).output().unwrap();
    assert!(ahead.status.success(), "{ahead:?}");
    until_counted(&listening, 300);
    let now = stream("200").output().unwrap();
    assert!(now.status.success(), "{now:?}");
    until("the second run", || {
        let summary = listening.status();
        (summary.total.counted, summary.uncounted.earlier_runs) == (200, 300)
    });
    let shown = listening.status().to_string();
    assert!(shown.contains("tweets of earlier runs 300"), "{shown}");
}

#[test]
fn a_joined_run_is_counted_with_its_first_streamer() {
    let (kafka, topic) = broker_with_topic();
    let stream = |topic: &Topic| {
        let demo = Demo::default().as_fast_as_possible().count(100);
        Streamer::new(topic).start(demo).unwrap().wait();
    };
    stream(&topic);
    stream(&create_topic(&kafka));
    // This is another handle, as in another program.
    let other = Kafka::at(kafka.address()).unwrap();
    stream(&other.open_topic("tweets").unwrap());
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    until("both streams of the second run", || {
        listening.status().total.counted == 200
    });
    assert_eq!(listening.status().uncounted.earlier_runs, 100);
}

#[test]
fn stopping_a_replay_of_a_pipe_without_a_writer_takes_no_time() {
    let (_kafka, topic) = broker_with_topic();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let replay = Replay::open(&pipe).unwrap();
    let streaming = Streamer::new(&topic).start(replay).unwrap();
    assert!(!streaming.wait_for(Duration::from_millis(300)));
    let begin = Instant::now();
    let status = streaming.stop();
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(status.ended, Some(EndReason::Stopped));
}

#[test]
fn a_stream_that_waits_for_its_source_says_so() {
    let (_kafka, topic) = broker_with_topic();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let streaming = Streamer::new(&topic)
        .start(Replay::open(&pipe).unwrap())
        .unwrap();
    let waiting = || streaming.status().waiting;
    let long = Duration::from_secs(3);
    until("a wait", || waiting() > Some(long));
    let mut writer = std::fs::File::create(&pipe).unwrap();
    writer.write_all(b"{\"text\":\"at last\"}\n").unwrap();
    until("the end of the wait", || waiting() < Some(long));
    drop(writer);
    assert!(streaming.wait_for(LIMIT));
    let status = streaming.status();
    assert_eq!((status.counts.read, status.waiting), (1, None));
}

#[test]
fn a_listener_stops_at_once_while_the_broker_hangs() {
    let kafka = broker();
    create_topic_with(&kafka, 8);
    let process = broker_process(kafka.address());
    let connected = Listener::new(&kafka, "tweets").start().unwrap();
    until("a connection", || {
        connected.status().state == State::Connected
    });
    signal(&process, "-STOP");
    // This is long enough for the listener to ask the broker about each partition.
    std::thread::sleep(Duration::from_millis(1_500));
    let connecting = Listener::new(&kafka, "tweets").start().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    for listening in [&connected, &connecting] {
        let begin = Instant::now();
        listening.stop();
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "{:?}",
            begin.elapsed()
        );
    }
    signal(&process, "-CONT");
}

#[test]
fn blocking_calls_work_inside_a_tokio_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (kafka, topic) = broker_with_topic();
        let figure = LiveFigure::serve_on(0).unwrap();
        let listening = Listener::new(&kafka, "tweets").count(100).start().unwrap();
        figure.show("audience", &listening).unwrap();
        let demo = Demo::default().as_fast_as_possible().count(100);
        let streaming = Streamer::new(&topic).start(demo).unwrap();
        assert_eq!(streaming.wait().counts.sent, 100);
        // This is the documented way, which does not block the thread of the runtime.
        let summary = tokio::task::spawn_blocking(move || listening.wait()).await;
        assert_eq!(summary.unwrap().total.counted, 100);
    });
}
