//! The lag of a consumer: how far it is behind the end of each partition.

use crate::time::Rate;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a consumer is behind the end of a partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PartitionLag {
    /// The number of the partition.
    pub partition: i32,
    /// The offset of the next message to read.
    pub position: i64,
    /// The offset of the next message that will be written. While the broker is unreachable, it is the
    /// last known offset.
    pub end: i64,
    /// The number of messages from the position to the end. In a topic that transactions write to, it
    /// includes the markers of the transactions.
    pub lag: u64,
    /// The age of the newest message that was read. It grows while no message comes. `None` if no message
    /// with a time after 1970 was read.
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
        let (position, end) = (self.position, self.end);
        write!(f, "{} messages behind, at {position} of {end}", self.lag)?;
        match self.age {
            Some(age) => write!(f, ", newest {:.1} s old", age.as_secs_f64()),
            None => Ok(()),
        }
    }
}

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
    /// Records the position in a partition, the end of the partition, and the time at which the newest
    /// read message was written.
    pub(crate) fn record(
        &mut self,
        partition: i32,
        position: i64,
        end: Option<i64>,
        written: Option<i64>,
    ) {
        // A new meter starts here, with rates of zero.
        let meter = self.0.entry(partition).or_insert_with(|| Meter {
            position,
            end: end.unwrap_or(position).max(position),
            ..Meter::default()
        });
        meter.record(position, end, written);
    }

    /// Records the ends of all partitions.
    pub(crate) fn update_ends(&mut self, end: impl Fn(i32) -> Option<i64>) {
        for (partition, meter) in &mut self.0 {
            meter.record(meter.position, end(*partition), None);
        }
    }

    /// Forgets the partitions for which `keep` returns false.
    pub(crate) fn retain(&mut self, keep: impl Fn(i32) -> bool) {
        self.0.retain(|partition, _| keep(*partition));
    }

    pub(crate) fn read(&self) -> Vec<PartitionLag> {
        let now = Timestamp::now().as_millisecond();
        let age = |written: i64| Duration::from_millis(u64::try_from(now - written).unwrap_or(0));
        self.0
            .iter()
            .map(|(partition, meter)| PartitionLag {
                partition: *partition,
                position: meter.position,
                end: meter.end,
                lag: meter.end.abs_diff(meter.position),
                age: meter.written.map(age),
                rate: meter.read.per_second(),
                write_rate: meter.write.per_second(),
            })
            .collect()
    }
}

impl Meter {
    fn record(&mut self, position: i64, end: Option<i64>, written: Option<i64>) {
        // The end comes from statistics, which may be older than the position.
        let end = end.unwrap_or(self.end).max(position);
        let growth = |now: i64, before: i64| u64::try_from(now.saturating_sub(before)).unwrap_or(0);
        self.read.add(growth(position, self.position));
        self.write.add(growth(end, self.end));
        self.position = position;
        self.end = end;
        // Any program may set the time of its messages. A time of 1970 or before means that it is unknown.
        self.written = written.filter(|at| *at > 0).or(self.written);
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
        // The end is unknown, and the position is beyond the last known end.
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
