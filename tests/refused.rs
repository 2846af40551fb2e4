//! Scores that Kafka refuses: the scorer skips and counts them, and scores every other tweet once. A
//! consumer without code of this crate counts the scores.

use common::apache::shared;
use common::*;
use live_sentiment::prelude::*;
use live_sentiment::scorer::Scoring;
use live_sentiment::tweet::{MAX_MESSAGE_BYTES, Skip};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;

/// Kafka's default limit of a record batch, in bytes.
const DEFAULT_LIMIT: &str = "1048588";

/// A topic of tweets, and a topic of scores with special settings.
struct Topics {
    kafka: Kafka,
    from: String,
    to: String,
    network: tokio::runtime::Runtime,
}

impl Topics {
    fn create(name: &str, partitions: i32, setting: (&str, &str)) -> Option<Topics> {
        let kafka = shared()?.kafka();
        let network = tokio::runtime::Runtime::new().unwrap();
        let topics = Topics {
            kafka,
            from: name.into(),
            to: format!("{name}-scores"),
            network,
        };
        let new = |topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = [new(&topics.from), new(&topics.to).set(setting.0, setting.1)];
        let admin = admin(&topics.kafka);
        let created = admin.create_topics(&new, &AdminOptions::new());
        for result in topics.network.block_on(created).unwrap() {
            result.unwrap();
        }
        Some(topics)
    }

    fn set_limit(&self, bytes: &str) {
        let topic = ResourceSpecifier::Topic(&self.to);
        let limit = [AlterConfig::new(topic).set("max.message.bytes", bytes)];
        let admin = admin(&self.kafka);
        let altered = admin.alter_configs(&limit, &AdminOptions::new());
        self.network.block_on(altered).unwrap().remove(0).unwrap();
    }

    fn write<'a>(&self, tweets: impl IntoIterator<Item = &'a Tweet>) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.address())
            .set("message.max.bytes", "4000000")
            .set("linger.ms", "50")
            .create()
            .unwrap();
        for tweet in tweets {
            let record = BaseRecord::to(&self.from).payload(&tweet.message);
            let record = BaseRecord {
                key: tweet.key.as_ref(),
                headers: tweet.headers.clone(),
                ..record
            };
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(LIMIT).unwrap();
    }

    fn start(&self) -> Scoring {
        let scorer = Scorer::new(&self.kafka, &self.from, &self.to);
        scorer.group(&self.from).start().unwrap()
    }

    /// Returns how often each id is in the topic of scores.
    fn ids(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for (_, tweet) in committed(&self.kafka, &self.to) {
            *ids.entry(tweet["id"].as_str().unwrap().to_owned())
                .or_default() += 1;
        }
        ids
    }
}

/// A message of the topic of tweets.
struct Tweet {
    message: Vec<u8>,
    key: Option<String>,
    headers: Option<OwnedHeaders>,
}

/// Random letters, which cannot be compressed.
fn noise(count: usize, seed: usize) -> String {
    let mut state = seed as u64 + 1;
    let letters = (0..count).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'0' + (state >> 33) as u8 % 43)
    });
    letters.collect()
}

/// A tweet with exactly this many bytes of JSON.
fn tweet(id: impl ToString, bytes: usize) -> Tweet {
    let id = id.to_string();
    let json = |text: &str| {
        format!(
            r#"{{"id":"{id}","created_at":"2026-01-01T12:00:00Z","user":"ada","followers":1,"text":"{text}","lang":"","topics":[],"source":""}}"#
        )
    };
    let text = noise(bytes - json("").len(), bytes + id.len());
    Tweet {
        message: json(&text).into_bytes(),
        key: Some("ada".into()),
        headers: None,
    }
}

fn skipped(scoring: &Scoring) -> u64 {
    scoring.status().skipped.values().sum()
}

fn until_all(scoring: &Scoring, count: usize) {
    until(&format!("{count} scored or skipped"), || {
        scoring.status().scored + skipped(scoring) == count as u64
    });
}

fn once(ids: impl IntoIterator<Item = impl ToString>) -> BTreeMap<String, u64> {
    ids.into_iter().map(|id| (id.to_string(), 1)).collect()
}

#[test]
fn sizes_around_the_limit_are_scored_or_skipped() {
    let Some(topics) = Topics::create("around", 1, ("max.message.bytes", DEFAULT_LIMIT)) else {
        return;
    };
    let sizes: Vec<usize> = [1, 200, 0, 150, 140, 130, 120, 60, 2, 100]
        .map(|less| MAX_MESSAGE_BYTES + 1 - less)
        .to_vec();
    let mut tweets = Vec::new();
    for size in &sizes {
        tweets.push(tweet(size, *size));
        tweets.push(tweet(format!("beside {size}"), 300));
    }
    // A score has only one header of its tweet, the run. So the size of the other headers has no effect.
    let mut headed = tweet("headed", MAX_MESSAGE_BYTES - 1_000);
    let value = Some(&[b'h'; 300_000]);
    headed.headers = Some(OwnedHeaders::new().insert(Header { key: "h", value }));
    tweets.push(headed);
    let scoring = topics.start();
    topics.write(&tweets);
    until_all(&scoring, tweets.len());

    let ids = topics.ids();
    assert!(ids.values().all(|count| *count == 1), "{ids:?}");
    for size in &sizes {
        assert!(ids.contains_key(&format!("beside {size}")), "{size}");
    }
    assert!(ids.contains_key("headed"));
    let (accepted, refused): (Vec<usize>, Vec<usize>) = sizes
        .iter()
        .partition(|size| ids.contains_key(&size.to_string()));
    assert!(accepted.iter().max() < refused.iter().min(), "{accepted:?}");
    assert!(accepted.len() > 1 && refused.len() > 2, "{accepted:?}");
    let status = scoring.stop();
    // One tweet is larger than the maximum.
    let reasons = BTreeMap::from([
        (Skip::TooLarge, 1),
        (Skip::ScoreTooLarge, refused.len() as u64 - 1),
    ]);
    assert_eq!(status.skipped, reasons);
    assert_eq!(status.scored, ids.len() as u64);
}

#[test]
fn a_limit_that_is_lowered_meanwhile_loses_no_small_neighbour() {
    const SMALL: usize = 5_000;
    let Some(topics) = Topics::create("lowered", 2, ("max.message.bytes", DEFAULT_LIMIT)) else {
        return;
    };
    let scoring = topics.start();
    topics.write(&[tweet("first", 20_000)]);
    until_all(&scoring, 1);
    topics.set_limit("10000");
    let small = |id: usize| tweet(id, 200 + id % 1_000);
    let mut tweets: Vec<Tweet> = (0..SMALL).map(small).collect();
    for number in 0..5 {
        tweets.insert(number * 1_000, tweet(format!("large {number}"), 20_000));
        let mut repeated = tweet(format!("repeated {number}"), 200);
        let text = "again ".repeat(10_000);
        let message = String::from_utf8(repeated.message).unwrap();
        repeated.message = message
            .replace(r#""text":""#, &format!(r#""text":"{text}"#))
            .into();
        tweets.insert(number * 1_001, repeated);
    }
    for (tweet, author) in tweets.iter_mut().zip((0..7).cycle()) {
        tweet.key = Some(format!("author {author}"));
    }
    topics.write(&tweets);
    until_all(&scoring, tweets.len() + 1);

    let mut expected = once(0..SMALL);
    expected.extend(once(["first"]));
    expected.extend(once((0..5).map(|number| format!("repeated {number}"))));
    assert_eq!(topics.ids(), expected);
    let reasons = BTreeMap::from([(Skip::ScoreTooLarge, 5)]);
    assert_eq!(scoring.stop().skipped, reasons);
}

#[test]
fn a_refused_score_is_skipped_wherever_it_is_in_a_batch() {
    let Some(topics) = Topics::create("positions", 1, ("max.message.bytes", "2000")) else {
        return;
    };
    let scoring = topics.start();
    let (mut total, mut refused, mut expected) = (0, 0, Vec::new());
    for (number, batch) in (0..).zip(["x..", ".x.", "..x", "x.x", "xxx.", ".xxx", "xxxx"]) {
        let tweets: Vec<Tweet> = (0..)
            .zip(batch.chars())
            .map(|(position, kind): (usize, char)| {
                let id = format!("{number} {position}");
                if kind == 'x' {
                    return tweet(id, 5_000);
                }
                expected.push(id.clone());
                tweet(id, 300)
            })
            .collect();
        topics.write(&tweets);
        total += batch.len();
        refused += batch.matches('x').count() as u64;
        until_all(&scoring, total);
        let reasons = BTreeMap::from([(Skip::ScoreTooLarge, refused)]);
        assert_eq!(scoring.status().skipped, reasons, "{batch}");
    }
    assert_eq!(topics.ids(), once(expected));
}

#[test]
fn a_score_without_the_key_that_a_compacted_topic_requires_is_skipped() {
    let Some(topics) = Topics::create("compacted", 1, ("cleanup.policy", "compact")) else {
        return;
    };
    let without_key = [0, 10, 11, 19];
    let mut tweets: Vec<Tweet> = (0..20).map(|id| tweet(id, 300)).collect();
    for id in without_key {
        tweets[id].key = None;
    }
    let scoring = topics.start();
    topics.write(&tweets);
    until_all(&scoring, tweets.len());
    let expected = (0..20).filter(|id| !without_key.contains(id));
    assert_eq!(topics.ids(), once(expected));
    let reasons = BTreeMap::from([(Skip::ScoreRefused, 4)]);
    assert_eq!(scoring.stop().skipped, reasons);
}
