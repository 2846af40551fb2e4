//! Reads tweets as a replay does, without Kafka. It prints the number of tweets and the seconds as JSON.
//!
//! The arguments are files: `cargo bench --workspace --bench files -- tweets.csv`. `benches/files.py` compares
//! it with Python.

use live_sentiment::prelude::*;
use live_sentiment::source::Source;
use std::time::Instant;

fn main() -> Result<(), Error> {
    let files = std::env::args().skip(1);
    let files: Vec<String> = files.filter(|argument| argument != "--bench").collect();
    if files.is_empty() {
        println!("files: skipped; give the files to read, such as `-- tweets.csv`");
        return Ok(());
    }
    let start = Instant::now();
    let mut replay = Replay::open_all(&files)?.as_fast_as_possible();
    let mut tweets = 0;
    let mut skipped = 0;
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        while let Some(tweet) = replay.next().await {
            match tweet {
                Ok(_) => tweets += 1,
                Err(_) => skipped += 1,
            }
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("{{\"tweets\": {tweets}, \"skipped\": {skipped}, \"seconds\": {seconds}}}");
    Ok(())
}
