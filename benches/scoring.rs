//! Measures the time to score a tweet, compared with the crate whose lexicon we use: `cargo bench --workspace --bench
//! scoring`. Also counts allocations, and measures texts of one mebibyte.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use live_sentiment::prelude::*;
use std::hint::black_box;
use std::time::Instant;
use vader_sentiment::SentimentIntensityAnalyzer;

const TWEETS: usize = 2_000;
const TURNS: usize = 5;

fn tweets() -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut demo = Demo::default().as_fast_as_possible();
    let mut text = || {
        let tweet = runtime.block_on(Source::next(&mut demo));
        tweet.unwrap().unwrap().text
    };
    (0..TWEETS).map(|_| text()).collect()
}

fn scoring(criterion: &mut Criterion) {
    let tweets = tweets();
    let (ours, theirs) = (Analyzer::new(), SentimentIntensityAnalyzer::new());
    let mut group = criterion.benchmark_group("score 2,000 tweets");
    group.throughput(Throughput::Elements(TWEETS as u64));
    group.bench_function("ours", |bencher| {
        bencher.iter(|| {
            for text in &tweets {
                black_box(ours.score(text));
            }
        });
    });
    group.bench_function("vader_sentiment 0.1.1", |bencher| {
        bencher.iter(|| {
            for text in &tweets {
                black_box(theirs.polarity_scores(text));
            }
        });
    });
    group.finish();

    let allocated = allocation_counter::measure(|| {
        for text in &tweets {
            black_box(ours.score(text));
        }
    });
    println!(
        "allocations for {TWEETS} tweets after the first turn: {}",
        allocated.count_total
    );
    for piece in ["a", "🚀", "😂", "!", "good ", "good but bad ", "n't "] {
        let text = piece.repeat((1 << 20) / piece.len());
        let mut took: Vec<f64> = (0..TURNS)
            .map(|_| {
                let start = Instant::now();
                black_box(ours.score(&text));
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        let first = took[0];
        took.sort_by(f64::total_cmp);
        println!(
            "1 MiB of {piece:?}: {:.1} ms (median of {TURNS}), {first:.1} ms the first time",
            took[TURNS / 2]
        );
    }
}

criterion_group!(benches, scoring);
criterion_main!(benches);
