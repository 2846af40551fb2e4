//! Scores the tweets of one topic into another topic: `cargo run --release --example scorer -- --help`.
//! Start one scorer per core, on one machine or on several. The scorers share the work.

mod common;

use clap::Parser;
use live_sentiment::prelude::*;
use std::error::Error;
use std::time::Instant;

/// Score the tweets of a Kafka topic into another topic, each exactly once
#[derive(Parser)]
struct Arguments {
    /// Topic of tweets; if it does not exist, wait for it
    #[arg(long, default_value = "tweets")]
    topic: String,
    /// Topic of scores; created if it does not exist
    #[arg(long, default_value = "scores")]
    to: String,
    /// Consumer group, whose members share the work
    #[arg(long, default_value = "scorer")]
    group: String,
    /// Address of the broker, as host:port [default: KAFKA_BOOTSTRAP_SERVERS or 127.0.0.1:9092]
    #[arg(long)]
    bootstrap: Option<String>,
    /// Seconds to score [default: until Ctrl-C]
    #[arg(long)]
    time_span: Option<f64>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    common::log_to_stderr();
    let arguments = Arguments::parse();
    let kafka = common::connect(arguments.bootstrap.as_deref())?;
    let scoring = Scorer::new(&kafka, &arguments.topic, &arguments.to)
        .group(&arguments.group)
        .start()?;
    let time_span = arguments.time_span.map(Duration::try_from_secs_f64);
    let time_span = time_span.transpose()?;
    let start = Instant::now();
    let is_over =
        |limit| scoring.wait_for(limit) || time_span.is_some_and(|span| start.elapsed() >= span);
    common::show_progress(is_over, || scoring.status());
    let status = scoring.stop();
    if arguments.json {
        println!("{}", status.to_json());
    } else {
        println!("{status}");
    }
    match status.last_error {
        Some(error) => Err(common::Failure(error).into()),
        None => Ok(()),
    }
}
