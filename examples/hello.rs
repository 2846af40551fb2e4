//! The whole pipeline in one program: `cargo run --release --example hello`.

use live_sentiment::prelude::*;

fn main() -> Result<()> {
    // Start an embedded broker on a free port. It ends with this program.
    let kafka = Kafka::embedded(0)?;
    let topic = kafka.create_topic("tweets", TopicConfig::default())?;

    // The streamer reads generated tweets, and writes the matching ones to the topic.
    let streaming = Streamer::new(&topic)
        .track(["bitcoin", "ethereum"])
        .languages(["en"])
        .start(Demo::default().rate(500.0)?.count(1_000))?;

    // At the same time, the listener reads the topic, scores each tweet, and adds up the scores.
    let listening = Listener::new(&kafka, "tweets")
        .time_span(Duration::from_secs(8))
        .start()?;

    listening.print_tweets(5)?;
    println!("{}", streaming.wait());
    println!("{}", listening.wait_until_quiet(Duration::from_secs(1)));
    Ok(())
}
