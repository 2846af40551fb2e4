//! Scores one topic into another: `cargo run --release --example scorer -- --help`. Start as many
//! as there are cores, here and on other machines; they share the work.

use clap::Parser;
use live_sentiment::prelude::*;
use std::error::Error;
use std::io::IsTerminal;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Score the tweets of a Kafka topic into another, each exactly once")]
struct Arguments {
    /// The topic of tweets; it is waited for.
    #[arg(long, default_value = "tweets")]
    topic: String,
    /// The topic for the scores; it is made if it is not there.
    #[arg(long, default_value = "scores")]
    to: String,
    /// The consumer group; its members share the work.
    #[arg(long, default_value = "scorer")]
    group: String,
    /// The broker, as host:port; without it, as `Kafka::connect` finds it.
    #[arg(long)]
    bootstrap: Option<String>,
    /// Seconds to score; without it, until Ctrl-C.
    #[arg(long)]
    time_span: Option<f64>,
    /// End with one line of JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let kafka = match &arguments.bootstrap {
        Some(address) => Kafka::at(address)?,
        None => Kafka::connect()?,
    };
    let scoring = Scorer::new(&kafka, &arguments.topic, &arguments.to)
        .group(&arguments.group)
        .start()?;
    let bar = indicatif::ProgressBar::new_spinner();
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let span = arguments
        .time_span
        .map(Duration::try_from_secs_f64)
        .transpose()?;
    let begun = Instant::now();
    while span.is_none_or(|span| begun.elapsed() < span)
        && !scoring.wait_for(Duration::from_millis(200))
    {
        bar.set_message(scoring.status().to_string());
        bar.tick();
    }
    bar.finish_and_clear();
    let status = scoring.stop();
    if arguments.json {
        println!("{}", status.to_json());
    } else {
        println!("{status}");
    }
    Ok(())
}
