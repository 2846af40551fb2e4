//! The Streamer notebook as a program: `cargo run --release --example streamer -- --help`.

use clap::{Parser, ValueEnum};
use live_sentiment::prelude::*;
use live_sentiment::streamer::{Ended, StreamerStatus, Streaming};
use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Stream tweets into a Kafka topic")]
struct Arguments {
    /// Where tweets come from.
    #[arg(long, value_enum, default_value_t = Origin::Demo)]
    source: Origin,
    /// The file to replay.
    #[arg(long, required_if_eq("source", "replay"))]
    file: Option<PathBuf>,
    /// Demo: tweets a second. Replay: times the tweets' own pace. 0: as fast as possible.
    #[arg(long)]
    rate: Option<f64>,
    /// Demo: another seed gives other tweets.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Demo: end after this many tweets.
    #[arg(long)]
    count: Option<u64>,
    /// A phrase to stream; may be repeated. None: every tweet.
    #[arg(long)]
    track: Vec<String>,
    /// A language to stream; may be repeated. None: every language.
    #[arg(long)]
    language: Vec<String>,
    /// Also append the streamed tweets to this file.
    #[arg(long)]
    save_to: Option<PathBuf>,
    /// The broker, as host:port; without it, as `Kafka::start` finds or starts one.
    #[arg(long)]
    bootstrap: Option<String>,
    /// Which broker to start if none is there.
    #[arg(long, value_enum, default_value_t = Start::Embedded)]
    engine: Start,
    /// The topic; it is made if it is not there.
    #[arg(long, default_value = "tweets")]
    topic: String,
    /// How many partitions the topic is made with: as many scorers can share the work.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// On how many brokers of a cluster each tweet is kept.
    #[arg(long, default_value_t = 1)]
    replication: i32,
    /// Add to the run that is in the topic, as a second streamer does, or one that was killed; the
    /// topic must be there.
    #[arg(long)]
    join: bool,
    /// Seconds to stream; without it, until the source ends.
    #[arg(long)]
    time_span: Option<f64>,
    /// End with one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Start {
    /// In memory, there at once.
    Embedded,
    /// Apache Kafka, on disk; needs Java, and Maven the first time.
    Apache,
}

#[derive(Clone, Copy, ValueEnum)]
enum Origin {
    Demo,
    Replay,
    /// X's filtered stream; credentials from the environment or credentials.toml.
    X,
    /// Bluesky's public posts; no account needed.
    Bluesky,
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let kafka = match &arguments.bootstrap {
        Some(address) => Kafka::at(address)?,
        None => Kafka::start_with(match arguments.engine {
            Start::Embedded => Engine::Embedded,
            Start::Apache => Engine::Apache,
        })?,
    };
    if !arguments.join {
        let config = TopicConfig {
            partitions: arguments.partitions,
            replication: arguments.replication,
            ..TopicConfig::default()
        };
        kafka.create_topic(&arguments.topic, config)?;
    }
    let mut streamer = Streamer::new(&kafka, &arguments.topic)
        .track(&arguments.track)
        .languages(&arguments.language);
    if let Some(seconds) = arguments.time_span {
        streamer = streamer.time_span(Duration::try_from_secs_f64(seconds)?);
    }
    if let Some(file) = &arguments.save_to {
        streamer = streamer.save_to(file);
    }
    let streaming = match arguments.source {
        Origin::Demo => streamer.start(demo(&arguments)?)?,
        Origin::Replay => streamer.start(replay(&arguments)?)?,
        Origin::X => streamer.start(X::from_env()?)?,
        Origin::Bluesky => streamer.start(Bluesky::new())?,
    };
    let status = follow(&streaming);
    if arguments.json {
        println!("{}", status.to_json());
    } else {
        println!("{status}");
    }
    match (status.ended, status.last_trouble) {
        (Some(Ended::Failed), trouble) => Err(trouble.unwrap_or_default().into()),
        (_, Some(trouble)) => {
            eprintln!("last trouble: {trouble}");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn demo(arguments: &Arguments) -> Result<Demo, live_sentiment::Error> {
    let mut demo = Demo::default().seed(arguments.seed);
    if let Some(count) = arguments.count {
        demo = demo.count(count);
    }
    match arguments.rate {
        None => Ok(demo),
        Some(0.0) => Ok(demo.as_fast_as_possible()),
        Some(rate) => demo.rate(rate),
    }
}

fn replay(arguments: &Arguments) -> Result<Replay, Box<dyn Error>> {
    let file = arguments
        .file
        .as_ref()
        .ok_or("--source replay needs --file")?;
    let replay = Replay::open(file)?;
    match arguments.rate {
        None => Ok(replay),
        Some(0.0) => Ok(replay.as_fast_as_possible()),
        Some(times) => Ok(replay.speed(times)?),
    }
}

fn follow(streaming: &Streaming) -> StreamerStatus {
    let bar = indicatif::ProgressBar::new_spinner();
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    while !streaming.wait_for(Duration::from_millis(200)) {
        bar.set_message(streaming.status().to_string());
        bar.tick();
    }
    bar.finish_and_clear();
    streaming.status()
}
