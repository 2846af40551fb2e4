//! An example of your own source. It polls an address that returns a JSON list of posts, such as
//! `[{"id": "1", "user": "ada", "text": "I love it"}]`. `docs/sources.md` explains the code.
//!
//! `cargo run --release --example own_source -- --url http://127.0.0.1:8000/posts.json`

mod common;

use clap::Parser;
use live_sentiment::prelude::*;
use live_sentiment::source::{Source, async_trait};
use std::collections::VecDeque;
use std::error::Error;
use tokio::time::{Instant, sleep_until};

/// The maximum of `--pause`.
const MAX_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// A source that polls an address.
struct Poll {
    client: reqwest::Client,
    url: String,
    pause: Duration,
    next_poll: Instant,
    /// Posts that were received, but not yet returned by `next`.
    waiting: VecDeque<Tweet>,
}

impl Poll {
    async fn fetch(&self) -> Result<Vec<Tweet>, Box<dyn Error + Send + Sync>> {
        let response = self.client.get(&self.url).send().await?;
        let body = response.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&body)?)
    }
}

#[async_trait]
impl Source for Poll {
    fn name(&self) -> String {
        format!("poll of {}", self.url)
    }

    // The streamer may drop this future while it waits. This loses no post: received posts are already in
    // `waiting`, and the next call polls again.
    async fn next(&mut self) -> Option<Result<Tweet>> {
        while self.waiting.is_empty() {
            sleep_until(self.next_poll).await;
            match self.fetch().await {
                // A poll may return the same posts again. The streamer drops them, by their ids.
                Ok(posts) => self.waiting.extend(posts),
                Err(error) => tracing::warn!(%error, url = self.url, "failed to poll"),
            }
            self.next_poll = Instant::now() + self.pause;
        }
        self.waiting.pop_front().map(Ok)
    }
}

/// Stream the posts of an address into a Kafka topic
#[derive(Parser)]
struct Arguments {
    /// Address that returns a JSON list of posts
    #[arg(long)]
    url: String,
    /// Seconds between two polls, at most 86400
    #[arg(long, default_value_t = 10.0)]
    pause: f64,
    /// Address of the broker, as host:port [default: KAFKA_BOOTSTRAP_SERVERS or 127.0.0.1:9092]
    #[arg(long)]
    bootstrap: Option<String>,
    /// Seconds to stream
    #[arg(long, default_value_t = 60.0)]
    time_span: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    common::log_to_stderr();
    let arguments = Arguments::parse();
    let pause = Duration::try_from_secs_f64(arguments.pause)?;
    if pause > MAX_PAUSE {
        return Err("--pause is at most 86400 seconds".into());
    }
    // reqwest is compiled without a TLS provider, so the program must install one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kafka = common::connect(arguments.bootstrap.as_deref())?;
    let topic = kafka.create_topic("tweets", TopicConfig::default())?;
    let source = Poll {
        client: reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()?,
        url: arguments.url,
        pause,
        next_poll: Instant::now(),
        waiting: VecDeque::new(),
    };
    let streaming = Streamer::new(&topic)
        .time_span(Duration::try_from_secs_f64(arguments.time_span)?)
        .start(source)?;
    println!("{}", streaming.wait().to_json());
    Ok(())
}
