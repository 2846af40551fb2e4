//! The lag of a consumer: how far it is behind the end of each partition.
//!
//! The ends come from librdkafka's statistics, which have the high watermark of each partition from
//! the last response of its broker. So measuring the lag sends no requests.

use crate::task::locked;
use crate::time::Rate;
use jiff::Timestamp;
use rdkafka::Statistics;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How often librdkafka reports the end of each partition, in milliseconds.
pub(crate) const STATISTICS_INTERVAL_MS: &str = "500";

/// How far a consumer is behind the end of a partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionLag {
    /// The number of the partition.
    pub partition: i32,
    /// The offset of the next message to read.
    pub position: i64,
    /// The offset of the next message that will be written, as far as it is known. If the broker is
    /// away, it is the last known one.
    pub end: i64,
    /// The number of messages between the two. In a topic that transactions write to, it includes
    /// their markers.
    pub lag: u64,
    /// The time since the newest message that was read was written. It grows while none comes. `None`
    /// if no message had a time after 1970.
    #[serde(serialize_with = "seconds")]
    pub age: Option<Duration>,
    /// The number of messages read per second, over the last five seconds.
    pub rate: f64,
    /// The number of messages written per second, over the last five seconds.
    pub write_rate: f64,
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

impl std::fmt::Display for PartitionLag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PartitionLag {
            position, end, lag, ..
        } = self;
        write!(f, "{lag} messages behind, at {position} of {end}")?;
        match self.age {
            Some(age) => write!(f, ", newest {:.1} s old", age.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// The ends of the partitions of a topic, from the statistics of a consumer.
pub(crate) struct EndOffsets {
    topic: String,
    ends: Mutex<BTreeMap<i32, Bounds>>,
    /// The partition count of the topic, as the metadata of the consumer has it.
    partitions: AtomicUsize,
}

/// The offsets of the first message of a partition, of the next one to be written, and of the first
/// message of the oldest open transaction. Without an open transaction, the last two are equal.
#[derive(Clone, Copy)]
struct Bounds {
    first: i64,
    end: i64,
    stable: i64,
}

impl EndOffsets {
    pub(crate) fn new(topic: &str) -> EndOffsets {
        EndOffsets {
            topic: topic.into(),
            ends: Mutex::default(),
            partitions: AtomicUsize::new(0),
        }
    }

    /// Takes the ends from the statistics.
    pub(crate) fn update(&self, statistics: &Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let numbers = topic.partitions.keys().max();
        let count = numbers.map_or(0, |last| usize::try_from(last + 1).unwrap_or(0));
        self.partitions.store(count, Ordering::Relaxed);
        let mut ends = locked(&self.ends);
        for (number, partition) in &topic.partitions {
            // -1 is the partition for messages without one; a negative offset is unknown.
            if *number >= 0 && partition.hi_offset >= 0 {
                let end = partition.hi_offset;
                let bounds = Bounds {
                    first: partition.lo_offset.max(0),
                    end,
                    stable: Some(partition.ls_offset)
                        .filter(|at| *at >= 0)
                        .unwrap_or(end),
                };
                ends.insert(*number, bounds);
            }
        }
    }

    pub(crate) fn get(&self, partition: i32) -> Option<i64> {
        locked(&self.ends).get(&partition).map(|bounds| bounds.end)
    }

    /// Returns the offset at which readers wait for the end of a transaction, if one is open.
    pub(crate) fn open_transaction(&self, partition: i32) -> Option<i64> {
        let bounds = *locked(&self.ends).get(&partition)?;
        Some(bounds.stable).filter(|stable| *stable < bounds.end)
    }

    /// Returns the partition count of the topic; 0 if it is not known yet.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.load(Ordering::Relaxed)
    }

    /// Returns the offset of the first message.
    pub(crate) fn first(&self, partition: i32) -> Option<i64> {
        locked(&self.ends)
            .get(&partition)
            .map(|bounds| bounds.first)
    }
}

/// Measures the lag of a consumer.
#[derive(Debug, Default)]
pub(crate) struct LagMeter(BTreeMap<i32, Meter>);

#[derive(Debug, Default)]
struct Meter {
    position: i64,
    end: i64,
    /// When the newest message was written, in milliseconds since 1970.
    written: Option<i64>,
    read: Rate,
    write: Rate,
}

impl LagMeter {
    /// Records the position in a partition, its end, and when the newest message that was read was
    /// written.
    pub(crate) fn record(
        &mut self,
        partition: i32,
        position: i64,
        end: Option<i64>,
        written: Option<i64>,
    ) {
        let is_new = !self.0.contains_key(&partition);
        let meter = self.0.entry(partition).or_default();
        // The statistics are older than the position, which may be beyond them.
        let end = end.unwrap_or(meter.end).max(position);
        if !is_new {
            let growth =
                |now: i64, before: i64| u64::try_from(now.saturating_sub(before)).unwrap_or(0);
            meter.read.add(growth(position, meter.position));
            meter.write.add(growth(end, meter.end));
        }
        meter.position = position;
        meter.end = end;
        // Any program sets the time of its messages. One of 1970 or before means that it is unknown.
        meter.written = written.filter(|at| *at > 0).or(meter.written);
    }

    /// Records the ends of all partitions.
    pub(crate) fn update_ends(&mut self, end: impl Fn(i32) -> Option<i64>) {
        let partitions: Vec<(i32, i64)> =
            self.0.iter().map(|(of, one)| (*of, one.position)).collect();
        for (partition, position) in partitions {
            self.record(partition, position, end(partition), None);
        }
    }

    /// Forgets the partitions for which `keep` returns false.
    pub(crate) fn retain(&mut self, keep: impl Fn(i32) -> bool) {
        self.0.retain(|partition, _| keep(*partition));
    }

    /// Returns the lag of each partition.
    pub(crate) fn read(&self) -> Vec<PartitionLag> {
        let now = Timestamp::now().as_millisecond();
        let age = |written: i64| Duration::from_millis(u64::try_from(now - written).unwrap_or(0));
        let partitions = self.0.iter();
        let lags = partitions.map(|(partition, meter)| PartitionLag {
            partition: *partition,
            position: meter.position,
            end: meter.end,
            lag: meter.end.abs_diff(meter.position),
            age: meter.written.map(age),
            rate: meter.read.per_second(),
            write_rate: meter.write.per_second(),
        });
        lags.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_distance_to_the_end_and_never_negative() {
        let mut meter = LagMeter::default();
        meter.record(1, 5, Some(9), Some(1));
        assert_eq!(meter.read()[0].lag, 4);
        assert_eq!(meter.read()[0].rate, 0.0);
        // The end is unknown, and the position is beyond the last known one.
        meter.record(1, 12, None, None);
        let lag = &meter.read()[0];
        assert_eq!((lag.position, lag.end, lag.lag), (12, 12, 0));
        assert!(lag.rate > 0.0 && lag.age > Some(Duration::from_secs(1_000)));
        meter.retain(|partition| partition != 1);
        assert_eq!(meter.read(), []);
    }

    #[test]
    fn an_impossible_timestamp_has_no_age() {
        for written in [i64::MIN, -1, 0] {
            let mut meter = LagMeter::default();
            meter.record(0, 1, Some(1), Some(written));
            assert_eq!(meter.read()[0].age, None, "{written}");
        }
        let mut meter = LagMeter::default();
        meter.record(0, 1, Some(1), Some(i64::MAX));
        assert_eq!(meter.read()[0].age, Some(Duration::ZERO));
    }

    #[test]
    fn offsets_of_another_log_are_no_growth() {
        let mut meter = LagMeter::default();
        for (position, end) in [(i64::MIN, 0), (i64::MAX, i64::MAX), (0, 0)].repeat(3) {
            meter.record(0, position, Some(end), None);
        }
        assert!(meter.read()[0].rate >= 0.0);
    }
}
