//! The pace of the demo and of a replay, with a clock that jumps to the end of each wait.

use common::*;
use live_sentiment::Error;
use live_sentiment::prelude::*;
use live_sentiment::source::Source;
use std::collections::BTreeSet;
use std::io::Write;
use tokio::time::Instant;

fn file(lines: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines).unwrap();
    file
}

fn all(mut source: impl Source) -> Vec<Result<Tweet, Error>> {
    with_paused_clock(async {
        let mut all = Vec::new();
        while let Some(item) = source.next().await {
            all.push(item);
        }
        all
    })
}

fn contents(tweets: Vec<Result<Tweet, Error>>) -> Vec<(String, Option<u64>, String, String)> {
    let content = |t: Tweet| (t.user, t.followers, t.text, t.lang);
    tweets
        .into_iter()
        .map(Result::unwrap)
        .map(content)
        .collect()
}

/// Returns the time from now until each tweet comes.
async fn times(replay: &mut Replay) -> Vec<Duration> {
    let start = Instant::now();
    let mut times = Vec::new();
    while let Some(tweet) = replay.next().await {
        tweet.unwrap();
        times.push(start.elapsed());
    }
    times
}

#[test]
fn the_pace_is_the_tweets_own_times_the_speed() {
    let tweets = file(
        b"{\"text\":\"a\",\"created_at\":\"2026-01-01T00:00:00Z\"}\n\
          {\"text\":\"b\",\"created_at\":\"2026-01-01T00:01:00Z\"}\n\
          {\"text\":\"back\",\"created_at\":\"2025-12-31T12:00:00Z\"}\n\
          {\"text\":\"c\",\"created_at\":\"2026-01-01T00:10:00Z\"}\n",
    );
    with_paused_clock(async {
        let mut replay = Replay::open(tweets.path()).unwrap().speed(10.0).unwrap();
        let at = times(&mut replay).await;
        let at: Vec<f64> = at.iter().map(|at| at.as_secs_f64().round()).collect();
        assert_eq!(at, [0.0, 6.0, 6.0, 60.0]);
    });
}

#[test]
fn a_tweet_that_is_more_than_a_day_away_is_sent_at_once_and_sets_the_clock() {
    let tweets = file(
        b"{\"text\":\"wrong first date\",\"created_at\":\"2006-01-01T00:00:00Z\"}\n\
          {\"text\":\"a\",\"created_at\":\"2026-01-01T00:00:00Z\"}\n\
          {\"text\":\"b\",\"created_at\":\"2026-01-01T00:10:00Z\"}\n\
          {\"text\":\"wrong date\",\"created_at\":\"9999-12-01T00:00:00Z\"}\n\
          {\"text\":\"c\",\"created_at\":\"2026-01-01T00:20:00Z\"}\n\
          {\"text\":\"d\",\"created_at\":\"2026-01-01T00:30:00Z\"}\n\
          {\"text\":\"within a day\",\"created_at\":\"2026-01-10T00:30:00Z\"}\n\
          {\"text\":\"next recording\",\"created_at\":\"2026-02-01T00:00:00Z\"}\n\
          {\"text\":\"e\",\"created_at\":\"2026-02-01T00:10:00Z\"}\n",
    );
    with_paused_clock(async {
        let mut replay = Replay::open(tweets.path()).unwrap().speed(10.0).unwrap();
        let at = times(&mut replay).await;
        let at: Vec<u64> = at.iter().map(Duration::as_secs).collect();
        let pause = 9 * 24 * 360;
        let later = 120 + pause;
        assert_eq!(at, [0, 0, 60, 60, 60, 120, later, later, later + 60]);
    });
}

#[test]
fn a_file_is_repeated_with_new_ids_at_a_rate() {
    let tweets = file(b"{\"text\":\"a\",\"id\":\"1\"}\nno tweet\n{\"text\":\"b\",\"id\":\"2\"}\n");
    with_paused_clock(async {
        let replay = Replay::open(tweets.path()).unwrap().rate(2.0).unwrap();
        let mut replay = replay.repeat();
        let start = Instant::now();
        let mut read: Vec<Result<Tweet, Error>> = Vec::new();
        while read.len() < 9 {
            read.push(replay.next().await.unwrap());
        }
        // The first of six tweets is due at once.
        assert_eq!(start.elapsed(), Duration::from_millis(2_500));
        let tweets: Vec<&Tweet> = read.iter().flatten().collect();
        assert_eq!(tweets.len(), 6);
        assert!(
            tweets
                .iter()
                .map(|tweet| &tweet.text)
                .eq(["a", "b", "a", "b", "a", "b"])
        );
        let ids: BTreeSet<&String> = tweets.iter().map(|tweet| &tweet.id).collect();
        assert_eq!(ids.len(), 6);
    });
    let empty = file(b"{\"delete\":{}}\nbad\n");
    let repeated = Replay::open(empty.path()).unwrap().repeat();
    assert_eq!(all(repeated).len(), 1, "it would never end otherwise");
}

#[test]
fn dropping_a_wait_loses_no_tweet() {
    let tweets = file(
        b"{\"text\":\"a\",\"created_at\":\"2026-01-01T00:00:00Z\"}\n\
          {\"text\":\"b\",\"created_at\":\"2026-01-01T00:01:00Z\"}\n",
    );
    with_paused_clock(async {
        let mut replay = Replay::open(tweets.path()).unwrap();
        replay.next().await;
        assert!(
            tokio::time::timeout(Duration::from_secs(1), replay.next())
                .await
                .is_err()
        );
        assert_eq!(replay.next().await.unwrap().unwrap().text, "b");
    });
}

#[test]
fn one_seed_gives_the_same_tweets_at_every_rate() {
    let demo = |seed| Demo::default().seed(seed).count(500);
    let unpaced = contents(all(demo(3).as_fast_as_possible()));
    let paced = contents(all(demo(3).rate(4_000.0).unwrap()));
    assert_eq!(unpaced, paced);
    assert_ne!(unpaced, contents(all(demo(4))));
}

#[test]
fn arrivals_are_a_poisson_process() {
    with_paused_clock(async {
        let mut demo = Demo::default().rate(50.0).unwrap();
        let start = Instant::now();
        let mut gaps = Vec::new();
        for _ in 0..5_000 {
            let before = Instant::now();
            demo.next().await;
            gaps.push(before.elapsed().as_secs_f64());
        }
        let seconds = start.elapsed().as_secs_f64();
        assert!((93.0..107.0).contains(&seconds), "{seconds}");
        let mean = seconds / 5_000.0;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / 5_000.0;
        let spread = variance.sqrt() / mean;
        assert!(
            (0.8..1.2).contains(&spread),
            "an exponential distribution has 1, not {spread}"
        );
    });
}

#[test]
fn a_table_without_times_has_a_rate() {
    let table = file(b"text\na\nb\nc\n");
    for (speed, expected) in [(1.0, [0, 50, 100]), (2.0, [0, 25, 50])] {
        with_paused_clock(async {
            let mut replay = Replay::open(table.path()).unwrap().speed(speed).unwrap();
            let at = times(&mut replay).await;
            let at: Vec<u128> = at.iter().map(Duration::as_millis).collect();
            assert_eq!(at, expected);
        });
    }
}
