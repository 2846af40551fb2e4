//! A soak test of a live source, with 200 posts per second and a broken connection every 30 s. It prints how
//! many posts were created, read, sent, counted and lost, and the memory at the start and at the end.
//!
//! The arguments are the source and the duration in seconds: `cargo bench --workspace --bench soak -- x 600` or
//! `-- bluesky 600`.

use common::jetstream::{Event, Jetstream};
use common::memory;
use common::x_api::Plan;
use live_sentiment::prelude::*;
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const POSTS_PER_SECOND: u64 = 200;
const CUT_INTERVAL: Duration = Duration::from_secs(30);
/// The time to wait for posts that are still in flight when the last post is created, in seconds.
const DRAIN: u64 = 20;
/// The time of the first measurement of memory. By then, all caches and buffers are in use.
const WARM_UP: Duration = Duration::from_secs(15);

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let (Some(source), Some(seconds)) = (arguments.next(), arguments.next()) else {
        println!("soak: skipped; give a source and a duration, such as `-- x 600`");
        return;
    };
    let seconds: u64 = seconds.parse().expect("the seconds are a number");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kafka = Kafka::embedded(0).unwrap();
    let span = (seconds + DRAIN).to_string();
    let (base, mut server): (String, Box<dyn Server>) = match source.as_str() {
        "x" => {
            let api: common::x_api::Shared = Arc::default();
            let server = XServer::new(api.clone());
            (
                runtime.block_on(common::x_api::serve(api)),
                Box::new(server),
            )
        }
        "bluesky" => {
            let jetstream: common::jetstream::Shared = Arc::new(Mutex::new(Jetstream::default()));
            let base = runtime.block_on(common::jetstream::serve(jetstream.clone()));
            (base, Box::new(jetstream))
        }
        other => panic!("{other:?} is neither x nor bluesky"),
    };
    let streamer = program(
        "streamer",
        &kafka,
        &[
            "--source",
            &source,
            "--time-span",
            &span,
            "--track",
            "bitcoin",
        ],
        &base,
    );
    let listener = program(
        "listener",
        &kafka,
        &["--time-span", &span, "--figure-port", "0"],
        &base,
    );

    let start = Instant::now();
    let (mut made, mut cuts, mut before) = (0, 0, None);
    while start.elapsed() < Duration::from_secs(seconds) {
        while made < start.elapsed().as_millis() as u64 * POSTS_PER_SECOND / 1000 {
            server.post(made);
            made += 1;
        }
        if start.elapsed() >= CUT_INTERVAL * (cuts + 1) {
            server.cut();
            cuts += 1;
        }
        if before.is_none() && start.elapsed() >= WARM_UP {
            before = Some((memory(streamer.id()), memory(listener.id())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // The last posts must arrive before the end.
    std::thread::sleep(Duration::from_secs(DRAIN / 2));
    let after = (memory(streamer.id()), memory(listener.id()));
    let (streamed, counted) = (result(streamer), result(listener));
    let number = |result: &Value, name: &str| result[name].as_u64().unwrap();
    let (sent, counted) = (number(&streamed, "sent"), number(&counted, "counted"));
    println!(
        "{source}: {seconds} s, {cuts} cuts: created {made}, read {}, duplicate {}, sent {sent}, failed {}, counted {counted}, lost {}",
        number(&streamed, "read"),
        number(&streamed, "duplicate"),
        number(&streamed, "failed"),
        made as i64 - counted as i64,
    );
    if let Some(before) = before {
        println!(
            "streamer {} -> {} MB, listener {} -> {} MB",
            before.0, after.0, before.1, after.1
        );
    }
    assert_eq!((sent, counted), (made, made));
}

/// A server that creates posts and breaks connections.
trait Server {
    fn post(&mut self, number: u64);
    fn cut(&mut self);
}

fn text(number: u64) -> String {
    let moods = [
        "I love",
        "I hate",
        "I am looking at",
        "so happy about",
        "worried about",
    ];
    format!(
        "{} bitcoin, for the {number}th time",
        moods[number as usize % moods.len()]
    )
}

/// A server of X's API. Unlike X, it keeps posts for the next connection. So only this project can lose a
/// post.
struct XServer {
    api: common::x_api::Shared,
    live: tokio::sync::mpsc::Sender<axum::body::Bytes>,
}

impl XServer {
    fn new(api: common::x_api::Shared) -> XServer {
        let (live, chunks) = tokio::sync::mpsc::channel(1 << 20);
        api.lock().unwrap().plans.push_back(Plan::Live(chunks));
        XServer { api, live }
    }
}

impl Server for XServer {
    fn post(&mut self, number: u64) {
        let line = common::x_api::line(number, &text(number), "bitcoin");
        self.live
            .try_send(line.into())
            .expect("a million posts wait");
    }

    fn cut(&mut self) {
        *self = XServer::new(self.api.clone());
    }
}

impl Server for common::jetstream::Shared {
    fn post(&mut self, number: u64) {
        let mut state = self.lock().unwrap();
        state.log.push(Event::Post(number % 5_000, text(number)));
    }

    fn cut(&mut self) {
        self.lock().unwrap().generation += 1;
    }
}

fn program(name: &str, kafka: &Kafka, arguments: &[&str], base: &str) -> Child {
    let folder = common::root().join("target/release/examples");
    Command::new(folder.join(name))
        .args(["--json", "--bootstrap", kafka.address()])
        .args(arguments)
        .envs([("X_BEARER_TOKEN", "soak"), ("X_API_BASE_URL", base)])
        .envs([
            ("BLUESKY_JETSTREAM_URL", base),
            ("BLUESKY_APPVIEW_URL", base),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the example programs are missing: cargo build --release --examples")
}

fn result(process: Child) -> Value {
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON at the end of {text:?}"))
}
