//! Measures the time to decode and filter an event of Bluesky's Jetstream. The limit is 5 us: at the busiest
//! times, a thousand events come per second, and a backlog comes as fast as it can be read.
//!
//! Also measures the filter alone, with 10 and with 10,000 tracks. Creating it must take at most 0.1 s, and
//! the time per tweet must not depend on the number of tracks.
//!
//! `cargo bench --workspace --bench decode`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use live_sentiment::{Filter, Tweet, tweet};
use std::hint::black_box;

// The decoder is not public, so this benchmark compiles it separately.
#[allow(dead_code, reason = "the benchmark needs a part of it")]
#[path = "../src/source/bluesky/event.rs"]
mod event;
/// The decoder imports it from here.
mod filter {
    pub use live_sentiment::Filter;
}

const TEXTS: [&str; 10] = [
    "good morning everyone ☀️",
    "I finally finished the second season and I have so many thoughts about how they handled \
     the ending, honestly one of the best things I have watched in years, go see it",
    "今日はいい天気ですね。散歩に行きました。",
    "new post on the blog: example.org/2026/notes-on…",
    "Bitcoin is up again and I am so happy about it!! 🚀",
    "lol",
    "Kann mir jemand ein gutes Buch über Bahnhöfe empfehlen? Gerne auch älter.",
    "@someone.bsky.social this is exactly what I meant, thank you for putting it into words",
    "the council has voted 7-2 to keep the library open until at least the end of the year",
    "não acredito que já é segunda-feira de novo",
];

/// Returns posts of common kinds and lengths: short and long, with and without links, in several
/// languages. One in ten passes.
fn frames(v1: bool) -> Vec<String> {
    let facet = r#","facets":[{"index":{"byteStart":22,"byteEnd":48},"features":[{"$type":"app.bsky.richtext.facet#link","uri":"https://example.org/2026/notes-on-a-long-journey"}]}]"#;
    let reply = r#","reply":{"parent":{"cid":"bafyreib2rxk3rh6kzwq","uri":"at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.post/3l3qo2vuowo2b"},"root":{"cid":"bafyreib2rxk3rh6kzwq","uri":"at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.post/3l3qo2vuowo2b"}}"#;
    let frame = |(index, text): (usize, &&str)| {
        let more = [facet, reply, ""][index % 3];
        let record = format!(
            r#"{{"$type":"app.bsky.feed.post","createdAt":"2026-01-01T12:00:00.123Z","langs":["en"],"text":{}{more}}}"#,
            serde_json::json!(text)
        );
        let did = "did:plc:eygmaihciaxprqvxpfvl6flk";
        if v1 {
            format!(
                r#"{{"did":"{did}","time_us":1767268800123456,"kind":"commit","commit":{{"rev":"3l3qo2vutsw2b","operation":"create","collection":"app.bsky.feed.post","rkey":"3l3qo2vuowo2b","record":{record},"cid":"bafyreidc6sydkkbchcyg62v77wbhzvb2mvytlmsychqgwf2xojjtirmzj4"}}}}"#
            )
        } else {
            format!(
                r#"{{"$type":"message","payload":{{"$type":"network.bsky.jetstream.subscribeEvents#commit","seq":123456789{index},"did":"{did}","time":"2026-01-01T12:00:00.123456Z","witnessedAt":"2026-01-01T12:00:00.123456Z","rev":"3l3qo2vutsw2b","operation":"create","collection":"app.bsky.feed.post","rkey":"3l3qo2vuowo2b","record":{record},"cid":"bafyreidc6sydkkbchcyg62v77wbhzvb2mvytlmsychqgwf2xojjtirmzj4"}}}}"#
            )
        }
    };
    TEXTS.iter().enumerate().map(frame).collect()
}

fn decode_and_filter(criterion: &mut Criterion) {
    let mut filter = Filter::new(["bitcoin", "ethereum", "dogecoin"], ["en"]).unwrap();
    let mut group = criterion.benchmark_group("decode and filter one event");
    for (name, version, frames) in [
        ("v1", event::Version::V1, frames(true)),
        ("v2", event::Version::V2, frames(false)),
    ] {
        let passed = frames
            .iter()
            .filter(|frame| passes(version, frame, &mut filter));
        assert_eq!(passed.count(), 1);
        let mut index = 0;
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                index = (index + 1) % frames.len();
                passes(version, black_box(&frames[index]), &mut filter)
            });
        });
    }
}

fn passes(version: event::Version, frame: &str, filter: &mut Filter) -> bool {
    let Ok(event::Frame::Post(post)) = event::decode(version, frame.as_bytes()) else {
        panic!("no post: {frame}");
    };
    let (tweet, admitted): (Tweet, bool) = post.tweet(filter);
    black_box(tweet);
    admitted
}

fn filter(criterion: &mut Criterion) {
    let tweet = |text: &&str| Tweet::new("ada", *text).lang("en");
    let mut tweets: Vec<Tweet> = TEXTS.iter().map(tweet).collect();
    let mut group = criterion.benchmark_group("filter");
    for count in [10, 10_000] {
        let others = (1..count).map(|number| format!("bitcoin coin{number}"));
        let tracks: Vec<String> = others.chain(["bitcoin".into()]).collect();
        let start = || Filter::new(&tracks, ["en"]).unwrap();
        group.bench_function(format!("start with {count} tracks"), |bencher| {
            bencher.iter(start);
        });
        let mut filter = start();
        let mut index = 0;
        group.bench_function(format!("one tweet with {count} tracks"), |bencher| {
            bencher.iter(|| {
                index = (index + 1) % tweets.len();
                filter.admit(black_box(&mut tweets[index]))
            });
        });
    }
}

criterion_group!(benches, decode_and_filter, filter);
criterion_main!(benches);
