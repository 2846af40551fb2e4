//! Writes scored tweets to a CSV file: `cargo run --release --example export -- --help`. Programs such as
//! pandas, DuckDB and Polars can read the file, and convert it to Parquet.

mod common;

use clap::Parser;
use live_sentiment::prelude::*;
use std::error::Error;
use std::path::PathBuf;

/// Score the tweets of a Kafka topic, and write them to a CSV file
#[derive(Parser)]
struct Arguments {
    /// File to write; an existing one is replaced
    #[arg(long, default_value = "scored.csv")]
    to: PathBuf,
    /// End after this many tweets
    #[arg(long)]
    count: Option<u64>,
    /// Seconds to listen [default: until --count or Ctrl-C]
    #[arg(long)]
    time_span: Option<f64>,
    /// Address of the broker, as host:port [default: KAFKA_BOOTSTRAP_SERVERS or 127.0.0.1:9092]
    #[arg(long)]
    bootstrap: Option<String>,
    /// Topic to read; if it does not exist, wait for it
    #[arg(long, default_value = "tweets")]
    topic: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    common::log_to_stderr();
    let arguments = Arguments::parse();
    let kafka = common::connect(arguments.bootstrap.as_deref())?;
    let time_span = arguments.time_span.map(Duration::try_from_secs_f64);
    let mut tweets = Listener::new(&kafka, &arguments.topic)
        .count(arguments.count)
        .time_span(time_span.transpose()?)
        .tweets()?;
    let mut file = csv::Writer::from_path(&arguments.to)?;
    file.write_record(["time", "author", "followers", "compound", "metric", "text"])?;
    for scored in &mut tweets {
        let tweet = &scored.tweet;
        file.write_record([
            &tweet.created_at.to_string(),
            &tweet.user,
            &tweet
                .followers
                .map_or(String::new(), |count| count.to_string()),
            &scored.sentiment.compound.to_string(),
            &scored.metric.to_string(),
            &tweet.text,
        ])?;
        // Ctrl-C can end the program at any time. Flush each line, so that the file is complete.
        file.flush()?;
    }
    let summary = tweets.listening().status();
    println!("{summary}");
    match summary.unread {
        Some(reason) => {
            Err(common::Failure(format!("the topic was not read to the end: {reason}")).into())
        }
        None => Ok(()),
    }
}
