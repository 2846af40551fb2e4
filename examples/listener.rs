//! The Listener notebook as a program: `cargo run --release --example listener -- --help`.

mod common;

use clap::{Parser, ValueEnum};
use live_sentiment::listener::State;
use live_sentiment::prelude::*;
use live_sentiment::sentiment::weighted;
use std::error::Error;

/// Score the tweets of a Kafka topic, and draw the running sum
#[derive(Parser)]
struct Arguments {
    /// Print the first N tweets as they come
    #[arg(long, default_value_t = 0, value_name = "N")]
    print: usize,
    /// Serve the live figure on this port of 127.0.0.1 or the next free one; 0 takes any
    #[arg(long, default_value_t = 8050)]
    figure_port: u16,
    /// Read a topic of scores from the scorer program, and only add them up
    #[arg(long)]
    scored: bool,
    /// Also show a second listener in the figure, whose metric ignores the followers
    #[arg(long)]
    compare: bool,
    /// Wait this many milliseconds for each tweet, to see how the lag grows
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Where in the topic to start
    #[arg(long, value_enum, default_value_t = From::Earliest)]
    from: From,
    /// End after this many tweets
    #[arg(long)]
    count: Option<u64>,
    /// Address of the broker, as host:port [default: KAFKA_BOOTSTRAP_SERVERS or 127.0.0.1:9092]
    #[arg(long)]
    bootstrap: Option<String>,
    /// Topic to read; if it does not exist, wait for it
    #[arg(long, default_value = "tweets")]
    topic: String,
    /// Seconds to listen [default: until --count or Ctrl-C]
    #[arg(long)]
    time_span: Option<f64>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    Earliest,
    Latest,
}

fn main() -> Result<(), Box<dyn Error>> {
    common::log_to_stderr();
    let arguments = Arguments::parse();
    let kafka = common::connect(arguments.bootstrap.as_deref())?;
    let figure = LiveFigure::serve_on(arguments.figure_port)?;
    eprintln!("the live figure is at {}", figure.url());
    let listener = match arguments.scored {
        true => Listener::scored(&kafka, &arguments.topic),
        false => Listener::new(&kafka, &arguments.topic),
    };
    let delay = Duration::from_millis(arguments.delay);
    let listener = match delay.is_zero() {
        true => listener,
        false => listener.metric(move |tweet, sentiment| {
            std::thread::sleep(delay);
            weighted(tweet, sentiment)
        }),
    };
    let time_span = arguments.time_span.map(Duration::try_from_secs_f64);
    let listening = listener
        .from(match arguments.from {
            From::Earliest => StartFrom::Earliest,
            From::Latest => StartFrom::Latest,
        })
        .count(arguments.count)
        .time_span(time_span.transpose()?)
        .start()?;
    figure.show("audience", &listening)?;
    let mut second = None;
    if arguments.compare {
        let listener = Listener::new(&kafka, &arguments.topic)
            .metric(|_, sentiment| sentiment.compound)
            .count(arguments.count);
        let second = second.insert(listener.start()?);
        figure.show("compound", second)?;
    }
    listening.print_tweets(arguments.print)?;
    common::show_progress(|limit| listening.wait_for(limit), || listening.status());
    // Dropping a listener stops it. If the second listener has a count, let it reach the count first.
    if let (Some(second), Some(_)) = (&second, arguments.count) {
        while !second.wait_for(Duration::from_secs(1)) {}
    }
    let summary = listening.status();
    if arguments.json {
        println!("{}", summary.to_json());
    } else {
        println!("{summary}");
    }
    match (summary.state, summary.unread) {
        (State::Failed(error), _) => Err(common::Failure(error).into()),
        (_, Some(reason)) => {
            Err(common::Failure(format!("the topic was not read to the end: {reason}")).into())
        }
        _ => Ok(()),
    }
}
