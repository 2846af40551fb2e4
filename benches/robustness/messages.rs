//! Mutated messages: tweets and scores through a broker, and frames of X and of a Jetstream from servers. One
//! message in a hundred is intact, and each intact message must arrive.

use crate::mutate::Mutator;
use crate::{Finding, Size, thousands};
use common::jetstream::{self, Event, Jetstream, ProfilesAre, Speaks};
use common::x_api::{self, End, Plan};
use common::{LIMIT, broker, until, write};
use live_sentiment::listener::ListenerStatus;
use live_sentiment::prelude::*;
use live_sentiment::streamer::{EndReason, StreamerStatus};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// Real tweets, which are not part of the project.
const REAL: &str = "../shared/data/tweets_icwsm2014.tsv";
/// One message in this many is intact.
const INTACT: usize = 100;
const MARK: &str = "an intact bitcoin message";

pub fn run(size: Size) -> Vec<Finding> {
    let share = size.messages / 10;
    let texts = texts();
    let mut findings = vec![
        from_topic("tweets", 5 * share, false, &texts),
        from_topic("scores", 2 * share, true, &texts),
        from_x(share),
    ];
    findings.extend(from_jetstream(2 * share));
    findings
}

/// Returns the texts of real tweets, or of generated ones if the file is absent.
fn texts() -> Vec<String> {
    if let Ok(file) = std::fs::read_to_string(common::root().join(REAL)) {
        let texts = file.lines().filter_map(|line| line.split('\t').nth(2));
        return texts.map(String::from).collect();
    }
    println!("robustness: {REAL} is absent: the mutated tweets have generated texts");
    vec!["I love #bitcoin".into(), "what a disaster".into()]
}

fn tweet() -> Value {
    json!({
        "id": "1", "created_at": "2026-01-01T12:00:00Z", "user": "ada", "followers": 1815, "text": "I love #bitcoin",
        "lang": "en", "topics": ["bitcoin", "ethereum"], "source": "demo"
    })
}

/// The messages of the original notebooks, of this project, and of a scorer.
fn seeds(scored: bool) -> Vec<Value> {
    let score = json!({"compound": 0.6369, "pos": 1.0, "neu": 0.0, "neg": 0.0});
    let mut scores = tweet();
    scores["score"] = score;
    let original = json!({
        "user": "ada", "followers": 99, "text": "what a disaster", "sentiment": 1, "subjetivity": 0
    });
    match scored {
        true => vec![scores],
        false => vec![tweet(), original, scores],
    }
}

fn from_topic(topic: &str, count: usize, scored: bool, texts: &[String]) -> Finding {
    let kafka = broker();
    kafka.create_topic(topic, TopicConfig::default()).unwrap();
    let listening = match scored {
        true => Listener::scored(&kafka, topic),
        false => Listener::new(&kafka, topic),
    };
    let listening = listening.start().unwrap();
    let (seeds, mut mutator) = (seeds(scored), Mutator::new(1));
    let messages: Vec<Vec<u8>> = (0..count)
        .map(|number| {
            let mut message = seeds[number % seeds.len()].clone();
            message["id"] = json!(format!("id-{number}"));
            message["text"] = json!(texts[number % texts.len()]);
            match number % INTACT {
                0 => serde_json::to_vec(&message).unwrap(),
                _ => mutator.message(&message),
            }
        })
        .collect();
    for part in messages.chunks(10_000) {
        let part: Vec<&[u8]> = part.iter().map(Vec::as_slice).collect();
        write(&kafka, topic, &part);
    }
    until("each message to be counted by a reason", || {
        accounted(&listening.status()) == count as u64
    });
    let status = listening.stop();
    let ListenerStatus {
        uncounted, total, ..
    } = &status;
    assert!(total.counted >= (count / INTACT) as u64, "{status}");
    Finding {
        what: format!(
            "{} mutated messages of a topic of {topic}",
            thousands(count)
        ),
        outcome: format!(
            "{} counted, {} skipped by reason, {} duplicates: every one accounted for, no panic",
            thousands(total.counted as usize),
            thousands(uncounted.skipped_total() as usize),
            thousands(uncounted.duplicate as usize)
        ),
    }
}

fn accounted(status: &ListenerStatus) -> u64 {
    let uncounted = &status.uncounted;
    status.total.counted + uncounted.skipped_total() + uncounted.duplicate + uncounted.earlier_runs
}

/// Keeps a message on one line, as the protocol of X needs it.
fn on_one_line(mut message: Vec<u8>) -> Vec<u8> {
    for byte in &mut message {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    if message.trim_ascii().is_empty() {
        message = b"x".to_vec();
    }
    message.extend(b"\r\n");
    message
}

fn from_x(count: usize) -> Finding {
    let frame = |id: usize, text: &str| x_api::line(id as u64, text, "bitcoin");
    let mut mutator = Mutator::new(2);
    let chunks = (0..count).map(|number| match number % INTACT {
        0 => frame(1_000_000 + number, MARK).into(),
        _ => {
            let seed: Value = serde_json::from_str(&frame(number, "I love bitcoin")).unwrap();
            on_one_line(mutator.message(&seed)).into()
        }
    });
    let plan = Plan::Stream(chunks.collect(), End::Silence);
    let runtime = Runtime::new().unwrap();
    let api: x_api::Shared = Arc::default();
    api.lock().unwrap().plans.push_back(plan);
    let base = runtime.block_on(x_api::serve(api));
    let source = X::at(&base, Credentials::bearer("AAAA-token-AAAA").unwrap()).unwrap();
    let status = stream(source, count / INTACT, |status| {
        status.counts.read + status.counts.skipped == count as u64
    });
    Finding {
        what: format!("{} mutated frames of X", thousands(count)),
        outcome: outcome(&status),
    }
}

/// Streams half of the frames from a server of each version.
fn from_jetstream(count: usize) -> Vec<Finding> {
    let runtime = Runtime::new().unwrap();
    let versions = [(Speaks::V2, "version 2"), (Speaks::V1, "version 1")];
    let finding = |(speaks, version)| {
        let mut mutator = Mutator::new(3);
        let events = (0..count / 2).map(|number| match number % INTACT {
            0 => Event::Post(7, MARK.into()),
            _ => {
                let seed =
                    jetstream::frame(speaks, number, &Event::Post(7, "I love bitcoin".into()));
                let seed: Value = serde_json::from_str(&seed).unwrap();
                Event::Raw(String::from_utf8_lossy(&mutator.message(&seed)).into_owned())
            }
        });
        let jetstream = Jetstream {
            speaks,
            log: events.collect(),
            profiles: ProfilesAre::Missing,
            ..Jetstream::default()
        };
        let base = runtime.block_on(jetstream::serve(Arc::new(Mutex::new(jetstream))));
        let source = Bluesky::at(&base).profiles_at(&base);
        let status = stream(source, count / 2 / INTACT, |status| {
            status.counts.read + status.counts.skipped + other_events(status) == count as u64 / 2
        });
        Finding {
            what: format!(
                "{} mutated frames of a Jetstream, {version}",
                thousands(count / 2)
            ),
            outcome: outcome(&status),
        }
    };
    versions.map(finding).into()
}

/// Streams from a source until each intact message has arrived once, and the counts are as expected.
fn stream(
    source: impl Source,
    intact: usize,
    is_done: impl Fn(&StreamerStatus) -> bool,
) -> StreamerStatus {
    let kafka = broker();
    let topic = kafka
        .create_topic("tweets", TopicConfig::default())
        .unwrap();
    let streamer = Streamer::new(&topic).track(["bitcoin"]);
    let streaming = streamer.start(source).unwrap();
    let tweets = Listener::of(&topic).time_span(LIMIT).tweets().unwrap();
    let arrived = tweets.filter(|one| one.tweet.text == MARK).take(intact);
    let ids: std::collections::BTreeSet<String> = arrived.map(|one| one.tweet.id.clone()).collect();
    assert_eq!(ids.len(), intact, "{}", streaming.status());
    until("the counts", || is_done(&streaming.status()));
    let status = streaming.stop();
    assert_eq!(status.ended, Some(EndReason::Stopped), "{status:?}");
    status
}

/// Returns the number of valid frames without a post.
fn other_events(status: &StreamerStatus) -> u64 {
    let connection = status.connection.as_ref();
    connection.map_or(0, |connection| connection.other_events)
}

fn outcome(status: &StreamerStatus) -> String {
    let counts = status.counts;
    let others = match other_events(status) {
        0 => String::new(),
        others => format!(", {} other events", thousands(others as usize)),
    };
    format!(
        "{} read, of which {} filtered out and {} duplicates, {} skipped by reason{others}: every one accounted for, no panic",
        thousands(counts.read as usize),
        thousands(counts.filtered as usize),
        thousands(counts.duplicate as usize),
        thousands(counts.skipped as usize)
    )
}
