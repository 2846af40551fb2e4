//! The Streamer notebook as a program: `cargo run --release --example streamer -- --help`.

mod common;

use clap::{Parser, ValueEnum};
use live_sentiment::prelude::*;
use live_sentiment::streamer::EndReason;
use std::error::Error;
use std::path::PathBuf;

/// Stream tweets into a Kafka topic
#[derive(Parser)]
struct Arguments {
    /// Where the tweets come from
    #[arg(long, value_enum, default_value_t = Origin::Demo)]
    source: Origin,
    /// File or folder to replay; may be repeated. Files are replayed in the order of their paths
    #[arg(long, required_if_eq("source", "replay"), num_args = 1..)]
    file: Vec<PathBuf>,
    /// Replay: columns of a table, if their names are unusual, such as text=Tweet,user=Author. The fields
    /// are text, id, created_at, user, followers and lang; a number counts columns from 1
    #[arg(long)]
    columns: Option<String>,
    /// Demo: tweets per second. Replay: speed, where 1 is the original pace. 0: no waiting
    #[arg(long)]
    rate: Option<f64>,
    /// Demo: seed of the generated tweets
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Demo: end after this many tweets
    #[arg(long)]
    count: Option<u64>,
    /// Phrase to track; may be repeated [default: every tweet]
    #[arg(long)]
    track: Vec<String>,
    /// Language to stream, such as en; may be repeated [default: every language]
    #[arg(long)]
    language: Vec<String>,
    /// Leave out retweets
    #[arg(long)]
    no_retweets: bool,
    /// Also append the streamed tweets to this file
    #[arg(long)]
    save_to: Option<PathBuf>,
    /// Address of the broker, as host:port [default: KAFKA_BOOTSTRAP_SERVERS or 127.0.0.1:9092; a
    /// broker is started if none runs there]
    #[arg(long)]
    bootstrap: Option<String>,
    /// Which broker to start if none runs
    #[arg(long, value_enum, default_value_t = Start::Embedded)]
    engine: Start,
    /// Topic to write to; created if it does not exist
    #[arg(long, default_value = "tweets")]
    topic: String,
    /// Partition count of a new topic: as many scorers can share the work
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Replica count of a new topic, at most the number of brokers
    #[arg(long, default_value_t = 1)]
    replication: i32,
    /// Join the newest run in the topic instead of starting a new one, as a second streamer does, or
    /// one that continues after a crash; the topic must exist
    #[arg(long)]
    join: bool,
    /// Seconds to stream [default: until the source ends]
    #[arg(long)]
    time_span: Option<f64>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Start {
    /// In memory, starts at once
    Embedded,
    /// Apache Kafka, on disk; needs Java, and Maven for the first start
    Apache,
}

#[derive(Clone, Copy, ValueEnum)]
enum Origin {
    /// Generated tweets
    Demo,
    /// A file of tweets
    Replay,
    /// X's filtered stream; needs credentials in the environment or in credentials.toml
    X,
    /// Bluesky's public posts; needs no account
    Bluesky,
}

fn main() -> Result<(), Box<dyn Error>> {
    common::log_to_stderr();
    let arguments = Arguments::parse();
    // A source that cannot start must not end the run that is in the topic.
    let source: Box<dyn Source> = match arguments.source {
        Origin::Demo => Box::new(demo(&arguments)?),
        Origin::Replay => Box::new(replay(&arguments)?),
        Origin::X => Box::new(X::from_env()?),
        Origin::Bluesky => Box::new(Bluesky::new()),
    };
    let kafka = match &arguments.bootstrap {
        Some(address) => Kafka::at(address)?,
        None => Kafka::start_with(match arguments.engine {
            Start::Embedded => Engine::Embedded,
            Start::Apache => Engine::Apache,
        })?,
    };
    let topic = if arguments.join {
        kafka.open_topic(&arguments.topic)?
    } else {
        let config = TopicConfig {
            partitions: arguments.partitions,
            replication: arguments.replication,
            ..TopicConfig::default()
        };
        kafka.create_topic(&arguments.topic, config)?
    };
    let time_span = arguments.time_span.map(Duration::try_from_secs_f64);
    let mut streamer = Streamer::new(&topic)
        .track(&arguments.track)
        .languages(&arguments.language)
        .time_span(time_span.transpose()?)
        .save_to(arguments.save_to.as_deref());
    if arguments.no_retweets {
        streamer = streamer.without_retweets();
    }
    let streaming = streamer.start(source)?;
    common::show_progress(|limit| streaming.wait_for(limit), || streaming.status());
    let status = streaming.status();
    if arguments.json {
        println!("{}", status.to_json());
    } else {
        println!("{status}");
    }
    let counts = status.counts;
    let error = status.last_error.unwrap_or_default();
    match status.ended {
        Some(EndReason::Failed) => Err(common::Failure(error).into()),
        _ if counts.failed > 0 => {
            let file = status.dead_letter_file.unwrap_or_default();
            let (failed, file) = (counts.failed, file.display());
            Err(common::Failure(format!(
                "{failed} tweets were not delivered, see {file}: {error}"
            ))
            .into())
        }
        Some(EndReason::Source) if counts.read == 0 => {
            let skipped = counts.skipped;
            Err(common::Failure(format!(
                "the source had no tweet; {skipped} messages were skipped: {error}"
            ))
            .into())
        }
        _ if !error.is_empty() => {
            eprintln!("last error: {error}");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn demo(arguments: &Arguments) -> Result<Demo, live_sentiment::Error> {
    let demo = Demo::default().seed(arguments.seed).count(arguments.count);
    match arguments.rate {
        None => Ok(demo),
        Some(0.0) => Ok(demo.as_fast_as_possible()),
        Some(rate) => demo.rate(rate),
    }
}

fn replay(arguments: &Arguments) -> Result<Replay, live_sentiment::Error> {
    let mut replay = Replay::open_all(&arguments.file)?;
    if let Some(columns) = &arguments.columns {
        replay = replay.columns(columns)?;
    }
    match arguments.rate {
        None => Ok(replay),
        Some(0.0) => Ok(replay.as_fast_as_possible()),
        Some(times) => replay.speed(times),
    }
}
