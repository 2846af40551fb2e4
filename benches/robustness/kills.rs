//! Processes that are killed at random times under load: the broker, the streamer, the listener, and a scorer.

use crate::load::{Load, Truth};
use crate::mutate::Mutator;
use crate::{Finding, Size, thousands};
use common::apache::Apache;
use common::{LIMIT, Program, Story, create_topic_with, until};
use live_sentiment::listener::Listening;
use live_sentiment::prelude::*;
use live_sentiment::streamer::Streaming;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The real time between two tweets.
const PAUSE: Duration = Duration::from_millis(2);

pub fn run(size: Size) -> Vec<Finding> {
    if size.kills == 0 || !common::apache::is_there() {
        return Vec::new();
    }
    vec![
        broker(size.kills),
        streamer(size.kills),
        listener(size.kills),
        scorer(size.kills),
    ]
}

fn random_pause(mutator: &mut Mutator, least: u64, most: u64) {
    let millis = least + mutator.below((most - least) as usize) as u64;
    std::thread::sleep(Duration::from_millis(millis));
}

/// Starts a new broker with an empty topic.
fn broker_with_topic(partitions: i32) -> (Apache, Kafka, Topic) {
    let apache = Apache::start(&[]).unwrap();
    let kafka = apache.kafka();
    let topic = create_topic_with(&kafka, partitions);
    (apache, kafka, topic)
}

/// Starts a stream of `Load`. Also returns the expected count and sum.
fn start_load(topic: &Topic) -> (Streaming, Arc<Truth>) {
    let truth = Arc::new(Truth::default());
    let load = Load::new(&truth).pause(PAUSE);
    (Streamer::new(topic).start(load).unwrap(), truth)
}

/// Ends the load, and waits for the exact count and sum.
fn end(streaming: &Streaming, truth: &Truth, listening: &Listening) {
    truth.stop.store(true, Ordering::SeqCst);
    assert!(streaming.wait_for(LIMIT));
    let counts = streaming.status().counts;
    assert_eq!((counts.sent, counts.failed), (truth.count(), 0));
    until("each tweet to be counted", || {
        let counted = listening.status().total.counted;
        assert!(
            counted <= truth.count(),
            "{counted} counted, {} sent",
            truth.count()
        );
        counted == truth.count()
    });
    let sum = listening.status().total.sum;
    assert!(
        (sum - truth.sum()).abs() < 1e-5,
        "{sum} is not {}",
        truth.sum()
    );
}

fn finding(what: &str, kills: usize, tweets: u64) -> Finding {
    Finding {
        what: format!("{kills} kills of {what} under load"),
        outcome: format!(
            "exact count and sum of {} tweets",
            thousands(tweets as usize)
        ),
    }
}

fn broker(kills: usize) -> Finding {
    let (apache, _kafka, topic) = broker_with_topic(2);
    let listening = Listener::of(&topic).start().unwrap();
    let (streaming, truth) = start_load(&topic);
    let mut mutator = Mutator::new(7);
    for _ in 0..kills {
        let before = listening.status().total.counted;
        until("tweets to go on", || {
            listening.status().total.counted > before
        });
        random_pause(&mut mutator, 0, 2_000);
        apache.signal(0, "-KILL");
        apache.begin(0);
        apache.until_started(0);
    }
    end(&streaming, &truth, &listening);
    finding("the only broker (Apache Kafka)", kills, truth.count())
}

fn streamer(kills: usize) -> Finding {
    let (_apache, kafka, topic) = broker_with_topic(2);
    let listening = Listener::of(&topic).start().unwrap();
    let story = Story::of(60_000, Duration::from_secs(30));
    // At this pace, each streamer is killed in the middle of the file.
    let replay = ["--join", "--source", "replay", "--rate", "10", "--file"];
    let replay = [&replay[..], &[story.file.path().to_str().unwrap()]].concat();
    let start = || Program::start("streamer", &kafka, &replay);
    let mut mutator = Mutator::new(8);
    for _ in 0..kills {
        let streamer = start();
        random_pause(&mut mutator, 100, 1_500);
        streamer.kill();
    }
    let last = start();
    story.until_counted(&listening);
    drop(last);
    finding(
        "the streamer (which starts its file again)",
        kills,
        story.count,
    )
}

fn listener(kills: usize) -> Finding {
    let (_apache, kafka, topic) = broker_with_topic(2);
    let (streaming, truth) = start_load(&topic);
    let mut mutator = Mutator::new(9);
    for _ in 0..kills {
        let listener = Program::start("listener", &kafka, &["--figure-port", "0"]);
        random_pause(&mut mutator, 50, 1_000);
        listener.kill();
    }
    let last = Listener::of(&topic).start().unwrap();
    end(&streaming, &truth, &last);
    finding("the listener", kills, truth.count())
}

fn scorer(kills: usize) -> Finding {
    let (_apache, kafka, topic) = broker_with_topic(3);
    let start = || Program::start("scorer", &kafka, &[]);
    let mut scorers = vec![start(), start()];
    let listening = Listener::scored(&kafka, "scores")
        .run_of(&topic)
        .start()
        .unwrap();
    let (streaming, truth) = start_load(&topic);
    let mut mutator = Mutator::new(10);
    for _ in 0..kills {
        random_pause(&mut mutator, 200, 3_000);
        scorers.swap_remove(mutator.below(2)).kill();
        scorers.push(start());
    }
    end(&streaming, &truth, &listening);
    assert_eq!(listening.status().uncounted.duplicate, 0);
    finding("one of two scorers", kills, truth.count())
}
