//! The Listener notebook as a program: `cargo run --release --example listener -- --help`.

use clap::{Parser, ValueEnum};
use live_sentiment::listener::{Listening, Summary};
use live_sentiment::prelude::*;
use std::error::Error;
use std::io::IsTerminal;

#[derive(Parser)]
#[command(about = "Score the tweets of a Kafka topic, and draw how the mood moves")]
struct Arguments {
    /// Print the first N tweets as they come.
    #[arg(long, default_value_t = 0)]
    print: usize,
    /// Serve the live figure on this port of 127.0.0.1 or the next free one; 0 takes any.
    #[arg(long, default_value_t = 8050)]
    figure_port: u16,
    /// The topic holds scores, which scorers have written: score nothing, only add up.
    #[arg(long)]
    scored: bool,
    /// Where in the topic to begin.
    #[arg(long, value_enum, default_value_t = From::Earliest)]
    from: From,
    /// End after this many tweets.
    #[arg(long)]
    count: Option<u64>,
    /// The broker, as host:port; without it, as `Kafka::connect` finds it.
    #[arg(long)]
    bootstrap: Option<String>,
    /// The topic; it is waited for.
    #[arg(long, default_value = "tweets")]
    topic: String,
    /// Seconds to listen; without it, until --count or Ctrl-C.
    #[arg(long)]
    time_span: Option<f64>,
    /// End with one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    Earliest,
    Latest,
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
    let figure = LiveFigure::serve_on(arguments.figure_port)?;
    eprintln!("the live figure is at {}", figure.url());
    let listener = match arguments.scored {
        true => Listener::scored(&kafka, &arguments.topic),
        false => Listener::new(&kafka, &arguments.topic),
    };
    let mut listener = listener.from(match arguments.from {
        From::Earliest => StartFrom::Earliest,
        From::Latest => StartFrom::Latest,
    });
    if let Some(count) = arguments.count {
        listener = listener.count(count);
    }
    if let Some(seconds) = arguments.time_span {
        listener = listener.time_span(Duration::try_from_secs_f64(seconds)?);
    }
    let listening = listener.start(&figure)?;
    listening.print_tweets(arguments.print)?;
    let summary = follow(&listening);
    if arguments.json {
        println!("{}", summary.to_json());
    } else {
        println!("{summary}");
    }
    Ok(())
}

fn follow(listening: &Listening) -> Summary {
    let bar = indicatif::ProgressBar::new_spinner();
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    while !listening.wait_for(Duration::from_millis(200)) {
        bar.set_message(listening.summary().to_string());
        bar.tick();
    }
    bar.finish_and_clear();
    listening.summary()
}
