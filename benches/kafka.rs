//! Measurements on Apache Kafka: `cargo bench --workspace --bench kafka -- NAME`, after `cargo build --release
//! --examples`. It starts Apache Kafka, or uses the running one. `docs/kafka.md` has the results.
//!
//! - `throughput [TWEETS]`: tweets sent and counted per second, in five runs;
//! - `latency [RATE] [SECONDS]`: the time from the creation of a tweet to the listener;
//! - `scorers [TWEETS]`: the throughput of 1, 2 and 4 scorers on 8 partitions;
//! - `takeover`: the time until the other scorers have caught up after one of three is killed;
//! - `partitions [TWEETS]`: the peak memory of a listener, a scorer and a listener of scores that read all
//!   tweets of a topic with 1, 8 and 64 partitions;
//! - `memory [TWEETS]`: the memory of streamer, scorer and both kinds of listener, during the run and at its
//!   end.

use live_sentiment::prelude::*;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let what = arguments.next().unwrap_or_default();
    let mut number = |default: u64| {
        arguments
            .next()
            .map_or(default, |text| text.parse().unwrap())
    };
    let start = || Kafka::start_with(Engine::Apache).unwrap();
    match what.as_str() {
        "throughput" => throughput(&start(), number(200_000)),
        "latency" => latency(&start(), number(50), number(60)),
        "scorers" => scorers(&start(), number(1_000_000)),
        "takeover" => takeover(&start()),
        "partitions" => partitions(&start(), number(1_000_000)),
        "memory" => memory(&start(), number(5_000_000)),
        _ => println!("kafka: skipped; name a measurement, such as `-- throughput`"),
    }
}

/// Creates a new topic for a measurement.
fn new_topic(kafka: &Kafka, partitions: i32) -> Topic {
    let name = format!("bench-{}", Timestamp::now().as_nanosecond());
    let config = TopicConfig {
        partitions,
        ..TopicConfig::default()
    };
    kafka.create_topic(&name, config).unwrap()
}

/// Streams tweets into the topic, as fast as possible.
fn fill(topic: &Topic, tweets: u64) {
    let demo = Demo::default().as_fast_as_possible().count(tweets);
    let streaming = Streamer::new(topic).start(demo).unwrap();
    while !streaming.wait_for(Duration::from_secs(60)) {}
    assert_eq!(streaming.status().counts.sent, tweets);
}

fn throughput(kafka: &Kafka, tweets: u64) {
    let analyzer = Analyzer::new();
    let mut demo = Demo::default().as_fast_as_possible();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut text = || {
        runtime
            .block_on(Source::next(&mut demo))
            .unwrap()
            .unwrap()
            .text
    };
    let texts: Vec<String> = (0..20_000).map(|_| text()).collect();
    for run in 1..=5 {
        let topic = new_topic(kafka, 1);
        let begin = Instant::now();
        fill(&topic, tweets);
        let streamed = tweets as f64 / begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let listening = Listener::new(kafka, topic.name())
            .count(tweets)
            .start()
            .unwrap();
        while !listening.wait_for(Duration::from_secs(60)) {}
        let counted = tweets as f64 / begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        for text in &texts {
            std::hint::black_box(analyzer.score(text));
        }
        let scoring = begin.elapsed().as_secs_f64() * 1e6 / texts.len() as f64;
        println!(
            "run {run}: sent {streamed:.0}/s, counted {counted:.0}/s, a score takes {scoring:.1} us"
        );
    }
}

fn latency(kafka: &Kafka, rate: u64, seconds: u64) {
    // The first producer of a new broker waits for half a second.
    fill(&new_topic(kafka, 1), 1_000);
    let topic = new_topic(kafka, 1);
    let (sender, latencies) = mpsc::channel();
    let listening = Listener::new(kafka, topic.name())
        .metric(move |tweet, _| {
            let age = Timestamp::now().duration_since(tweet.created_at);
            sender.send(age.as_secs_f64() * 1e3).unwrap();
            0.0
        })
        .start()
        .unwrap();
    let streaming = Streamer::new(&topic)
        .time_span(Duration::from_secs(seconds))
        .start(Demo::default().rate(rate as f64).unwrap())
        .unwrap();
    while !streaming.wait_for(Duration::from_secs(60)) {}
    while listening.status().total.counted < streaming.status().counts.sent {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut all: Vec<f64> = latencies.try_iter().collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    println!(
        "{} tweets at {rate}/s: 50 % within {:.1} ms, 90 % {:.1}, 99 % {:.1}, all {:.1}",
        all.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

/// An example program, which ends with this process.
struct Program(Child);

impl Program {
    fn start(name: &str, kafka: &Kafka, arguments: &[&str]) -> Program {
        let folder = common::root().join("target/release/examples");
        let child = Command::new(folder.join(name))
            .args(["--bootstrap", kafka.address()])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Program(child.expect("the example programs are missing: cargo build --release --examples"))
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap_or_default()
    }

    /// Returns the CPU time so far, in seconds. The system counts in hundredths.
    fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let ticks = |index: usize| {
            fields
                .get(index)
                .map_or(0.0, |text| text.parse().unwrap_or(0.0))
        };
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Returns the peak resident memory so far, in MB.
    fn most_megabytes(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) / 1024
    }

    fn megabytes(&self) -> u64 {
        common::memory(self.0.id())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scorers(kafka: &Kafka, tweets: u64) {
    let topic = new_topic(kafka, 8);
    fill(&topic, tweets);
    for count in [1, 2, 4] {
        let to = format!("{}-{count}", topic.name());
        let begin = Instant::now();
        let programs: Vec<Program> = (0..count)
            .map(|_| {
                Program::start(
                    "scorer",
                    kafka,
                    &["--topic", topic.name(), "--to", &to, "--group", &to],
                )
            })
            .collect();
        let listening = Listener::scored(kafka, &to).count(tweets).start().unwrap();
        // The time to join the group does not count.
        while listening.status().total.counted == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let joined = begin.elapsed();
        while !listening.wait_for(Duration::from_secs(1)) {}
        let seconds = (begin.elapsed() - joined).as_secs_f64();
        let cpu: f64 = programs.iter().map(Program::cpu).sum();
        println!(
            "{count} scorers: {:.0} tweets/s, {:.1} CPU s a million, joined in {:.1} s, duplicates {}",
            tweets as f64 / seconds,
            cpu * 1e6 / tweets as f64,
            joined.as_secs_f64(),
            listening.status().uncounted.duplicate
        );
    }
}

fn takeover(kafka: &Kafka) {
    let topic = new_topic(kafka, 6);
    let to = format!("{}-scores", topic.name());
    let start = || {
        Program::start(
            "scorer",
            kafka,
            &["--topic", topic.name(), "--to", &to, "--group", &to],
        )
    };
    let mut programs = vec![start(), start(), start()];
    let listening = Listener::scored(kafka, &to).start().unwrap();
    let streaming = Streamer::new(&topic)
        .start(Demo::default().rate(2_000.0).unwrap())
        .unwrap();
    let behind = || {
        let sent = streaming.status().counts.sent;
        sent.saturating_sub(listening.status().total.counted)
    };
    let settle = || {
        std::thread::sleep(Duration::from_secs(10));
        while behind() > 500 {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    settle();
    for run in 1..=3 {
        let killed = Instant::now();
        drop(programs.pop());
        // Wait until the lag has grown: until the takeover, a third of the tweets is not scored.
        while behind() < 1_000 {
            std::thread::sleep(Duration::from_millis(5));
        }
        while behind() > 500 {
            std::thread::sleep(Duration::from_millis(5));
        }
        println!(
            "run {run}: the others had its work after {:.1} s",
            killed.elapsed().as_secs_f64()
        );
        programs.insert(0, start());
        settle();
    }
    let status = streaming.stop();
    while listening.status().total.counted < status.counts.sent {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!(
        "sent {}, scored {}, duplicates {}",
        status.counts.sent,
        listening.status().total.counted,
        listening.status().uncounted.duplicate
    );
}

fn partitions(kafka: &Kafka, tweets: u64) {
    let count = tweets.to_string();
    for partitions in [1, 8, 64] {
        let topic = new_topic(kafka, partitions);
        let to = format!("{}-scores", topic.name());
        fill(&topic, tweets);
        // Run one program after another. In parallel, they would share the processor and read more slowly.
        let scores = Listener::scored(kafka, &to).start().unwrap();
        let all = ["--figure-port", "0", "--count", &count];
        let of_tweets = [&["--topic", topic.name()], &all[..]].concat();
        let of_scores = [&["--scored", "--topic", &to], &all[..]].concat();
        let scorer = ["--topic", topic.name(), "--to", &to, "--group", &to];
        let programs = [
            ("listener", "listener", &of_tweets[..]),
            ("scorer", "scorer", &scorer),
            ("listener of scores", "listener", &of_scores),
        ];
        for (what, name, arguments) in programs {
            let mut program = Program::start(name, kafka, arguments);
            let mut most = 0;
            // A listener ends when it reaches its count. A scorer is done when all scores are counted.
            while program.0.try_wait().unwrap().is_none()
                && (name == "listener" || scores.status().total.counted < tweets)
            {
                most = most.max(program.most_megabytes());
                std::thread::sleep(Duration::from_millis(20));
            }
            println!("{partitions} partitions: {what} at most {most} MB");
        }
    }
}

fn memory(kafka: &Kafka, tweets: u64) {
    let topic = new_topic(kafka, 1);
    let to = format!("{}-scores", topic.name());
    let count = tweets.to_string();
    let programs = [
        (
            "scorer",
            Program::start(
                "scorer",
                kafka,
                &["--topic", topic.name(), "--to", &to, "--group", &to],
            ),
        ),
        (
            "listener",
            Program::start(
                "listener",
                kafka,
                &["--topic", topic.name(), "--figure-port", "0"],
            ),
        ),
        (
            "listener of scores",
            Program::start(
                "listener",
                kafka,
                &["--topic", &to, "--scored", "--figure-port", "0"],
            ),
        ),
        (
            "streamer",
            Program::start(
                "streamer",
                kafka,
                &["--topic", topic.name(), "--rate", "0", "--count", &count],
            ),
        ),
    ];
    let watch = Listener::scored(kafka, &to).count(tweets).start().unwrap();
    // The streamer ends long before the scorer.
    let streamer = &programs[3].1;
    let mut sizes = Vec::new();
    loop {
        match streamer.megabytes() {
            // The streamer has not started yet, or has ended.
            0 if !sizes.is_empty() => break,
            0 => {}
            size => sizes.push(size),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let tenth = sizes.get(sizes.len() / 10).copied().unwrap_or(0);
    let last = sizes.iter().rev().nth(1).copied().unwrap_or(0);
    println!("streamer: {tenth} MB after a tenth, {last} MB at the end");
    for part in [10, 5, 2, 1] {
        let goal = tweets / part * 99 / 100;
        while watch.status().total.counted < goal {
            std::thread::sleep(Duration::from_millis(20));
        }
        let sizes: Vec<String> = programs
            .iter()
            .map(|(name, program)| format!("{name} {} MB", program.megabytes()))
            .collect();
        println!(
            "after {} tweets: {}",
            watch.status().total.counted,
            sizes.join(", ")
        );
    }
}
