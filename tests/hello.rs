//! The smallest example program, which contains the whole pipeline.

use common::*;
use live_sentiment::prelude::*;
use live_sentiment::sentiment::weighted;

/// Returns the number and the sum of the tweets that the program streams, without a broker.
async fn expected() -> (u64, f64) {
    let analyzer = Analyzer::new();
    let mut demo = Demo::default().as_fast_as_possible().count(1_000);
    let (mut count, mut sum) = (0, 0.0);
    while let Some(tweet) = demo.next().await {
        let tweet = tweet.unwrap();
        let text = tweet.text.to_lowercase();
        if tweet.lang == "en" && (text.contains("bitcoin") || text.contains("ethereum")) {
            count += 1;
            sum += weighted(&tweet, &analyzer.score(&tweet.text));
        }
    }
    (count, sum)
}

#[test]
fn hello_prints_the_sum_of_what_it_has_streamed() {
    let (count, sum) = tokio::runtime::Runtime::new().unwrap().block_on(expected());
    // The program starts its own broker, even if the environment names another one.
    let hello = example("hello")
        .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&hello.stdout);
    let last = output.lines().last().unwrap_or_default();
    let wanted = format!("counted {count}, sentiment {sum:+.2}, ");
    assert!(hello.status.success() && count > 0, "{hello:?}");
    assert!(last.starts_with(&wanted), "{last:?} is not {wanted:?}");
}
