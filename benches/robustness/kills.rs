//! Processes that are killed at random times under load: the broker, the streamer, the listener, a scorer.

use crate::common::apache::Apache;
use crate::common::{LIMIT, Story, create_topic_with, example, until};
use crate::load::{Load, Truth};
use crate::mutate::Mutator;
use crate::{Finding, Size, thousands};
use live_sentiment::listener::Listening;
use live_sentiment::prelude::*;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The real time between two tweets.
const PAUSE: Duration = Duration::from_millis(2);

/// A program that ends with its owner.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Program {
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        Program(quiet.spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn run(size: Size) -> Vec<Finding> {
    if size.kills == 0 || !crate::common::apache::is_there() {
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

/// Starts a stream of `Load`. Returns what it must lead to.
fn start_load(topic: &Topic) -> (live_sentiment::streamer::Streaming, Arc<Truth>) {
    let truth = Arc::new(Truth::default());
    let load = Load {
        pause: Some(PAUSE),
        ..Load::new(&truth)
    };
    (Streamer::new(topic).start(load).unwrap(), truth)
}

/// Ends the load, and waits for the exact count and sum.
fn end(streaming: &live_sentiment::streamer::Streaming, truth: &Truth, listening: &Listening) {
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
    let apache = Apache::start(&[]).unwrap();
    let kafka = apache.kafka();
    let topic = create_topic_with(&kafka, 2);
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
    let apache = Apache::start(&[]).unwrap();
    let kafka = apache.kafka();
    let topic = create_topic_with(&kafka, 2);
    let listening = Listener::of(&topic).start().unwrap();
    let story = Story::of(60_000, Duration::from_secs(30));
    let start = || {
        let mut command = example("streamer");
        command.args([
            "--bootstrap",
            kafka.address(),
            "--join",
            "--source",
            "replay",
        ]);
        // The file's own pace: each streamer is killed in the middle.
        Program::start(
            command
                .args(["--rate", "10", "--file"])
                .arg(story.file.path()),
        )
    };
    let mut mutator = Mutator::new(8);
    for _ in 0..kills {
        let mut streamer = start();
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
    let apache = Apache::start(&[]).unwrap();
    let kafka = apache.kafka();
    let topic = create_topic_with(&kafka, 2);
    let (streaming, truth) = start_load(&topic);
    let mut mutator = Mutator::new(9);
    for _ in 0..kills {
        let mut command = example("listener");
        let mut listener =
            Program::start(command.args(["--bootstrap", kafka.address(), "--figure-port", "0"]));
        random_pause(&mut mutator, 50, 1_000);
        listener.kill();
    }
    let last = Listener::of(&topic).start().unwrap();
    end(&streaming, &truth, &last);
    finding("the listener", kills, truth.count())
}

fn scorer(kills: usize) -> Finding {
    let apache = Apache::start(&[]).unwrap();
    let kafka = apache.kafka();
    let topic = create_topic_with(&kafka, 3);
    let start = || Program::start(example("scorer").args(["--bootstrap", kafka.address()]));
    let mut scorers = [start(), start()];
    let listening = Listener::scored(&kafka, "scores")
        .run_of(&topic)
        .start()
        .unwrap();
    let (streaming, truth) = start_load(&topic);
    let mut mutator = Mutator::new(10);
    for _ in 0..kills {
        random_pause(&mut mutator, 200, 3_000);
        let killed = &mut scorers[mutator.below(2)];
        killed.kill();
        *killed = start();
    }
    end(&streaming, &truth, &listening);
    assert_eq!(listening.status().uncounted.duplicate, 0);
    finding("one of two scorers", kills, truth.count())
}
