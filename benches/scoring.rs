//! Measures the time to score a tweet, compared with the crate whose lexicon we use: `cargo bench --workspace --bench
//! scoring`. Also counts allocations, and measures texts of one mebibyte.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use live_sentiment::prelude::*;
use std::hint::black_box;
use std::time::Instant;
use vader_sentiment::SentimentIntensityAnalyzer;

const TWEETS: usize = 2_000;
const TURNS: usize = 5;
const MANY_WORDS: usize = 50_000;

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
    let own = Analyzer::with_words([("hodl", 1.5), ("🚀", 1.5), ("to the moon", 2.0)]).unwrap();
    let mut group = criterion.benchmark_group("score 2,000 tweets");
    group.throughput(Throughput::Elements(TWEETS as u64));
    group.bench_function("ours", |bencher| {
        bencher.iter(|| {
            for text in &tweets {
                black_box(ours.score(text));
            }
        });
    });
    group.bench_function("with words of one's own", |bencher| {
        bencher.iter(|| {
            for text in &tweets {
                black_box(own.score(text));
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
    for piece in [
        "a",
        "🚀",
        "😂",
        "!",
        "good ",
        "good but bad ",
        "n't ",
        "’",
        "漢",
    ] {
        time_mebibyte("", &ours, piece);
    }
    // Many phrases that begin with the same word, and many signs that begin with the same emoji.
    let words = (0..MANY_WORDS).map(|n| match n % 2 {
        0 => (format!("a a a{n}"), 1.0),
        _ => (format!("🚀{}", "🔥".repeat(n % 15)), 1.0),
    });
    let many = Analyzer::with_words(words).unwrap();
    for piece in ["a ", "🚀", "🚀🔥", "ж "] {
        time_mebibyte("50,000 words of one's own: ", &many, piece);
    }
}

fn time_mebibyte(name: &str, analyzer: &Analyzer, piece: &str) {
    let text = piece.repeat((1 << 20) / piece.len());
    let mut took: Vec<f64> = (0..TURNS)
        .map(|_| {
            let start = Instant::now();
            black_box(analyzer.score(&text));
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let first = took[0];
    took.sort_by(f64::total_cmp);
    println!(
        "{name}1 MiB of {piece:?}: {:.1} ms (median of {TURNS}), {first:.1} ms the first time",
        took[TURNS / 2]
    );
}

criterion_group!(benches, scoring);
criterion_main!(benches);
