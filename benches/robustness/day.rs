//! A day of tweets: 200 per second of simulated time, sent as fast as the pipeline accepts them.

use crate::load::{Load, Truth};
use crate::{Finding, Size, memory, thousands};
use common::apache::Apache;
use live_sentiment::prelude::*;
use std::sync::Arc;

const PER_SECOND: f64 = 200.0;

pub fn run(size: Size) -> Vec<Finding> {
    let count = (size.hours * 3_600.0 * PER_SECOND) as u64;
    if count == 0 {
        return Vec::new();
    }
    let Some(apache) = Apache::start(&[]) else {
        return Vec::new();
    };
    let kafka = apache.kafka();
    let topic = kafka
        .create_topic("tweets", TopicConfig::default())
        .unwrap();
    let listening = Listener::of(&topic).count(count).start().unwrap();
    let figure = LiveFigure::serve_on(0).unwrap();
    figure.show("audience", &listening).unwrap();
    let truth = Arc::new(Truth::default());
    let load = Load::new(&truth).count(count);
    let streaming = Streamer::new(&topic)
        .track(["bitcoin", "happy", "moon", "disaster", "good"])
        .start(load)
        .unwrap();
    // The pipeline remembers at most 1.8 million ids. After that, memory is constant.
    let mut at_hour = Vec::new();
    for part in 1..=8 {
        while listening.status().total.counted < count * part / 8 {
            assert!(!listening.wait_for(Duration::from_millis(100)) || part == 8);
        }
        at_hour.push(memory());
    }
    let sent = streaming.wait().counts;
    let status = listening.status();
    assert_eq!((sent.sent, status.total.counted), (count, count));
    let (sum, expected) = (status.total.sum, truth.sum());
    // Both add the same numbers in the same order, but round differently.
    assert!(
        (sum - expected).abs() < 1e-9 * expected.abs(),
        "{sum} is not {expected}"
    );
    let (first, last) = (at_hour[1], at_hour[7]);
    assert!(
        (last as f64) < first as f64 * 1.1 + 10.0,
        "memory: {at_hour:?}"
    );
    vec![Finding {
        what: format!(
            "{:.0} hours of simulated time at {PER_SECOND} tweets per second, {} tweets, on Apache Kafka",
            size.hours,
            thousands(count as usize)
        ),
        outcome: format!(
            "exact count and sum; memory of streamer, listener and figure together after 6, 12, 18 and 24 hours: \
             {}, {}, {} and {} MB",
            at_hour[1], at_hour[3], at_hour[5], at_hour[7]
        ),
    }]
}
