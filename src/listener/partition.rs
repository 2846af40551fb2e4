//! The partitions of the topic, and in which order what was read from them is counted.
//!
//! Each partition has its own order and nothing is said of the order between them. A figure over
//! time wants one, so they are merged by when each message was written: of the oldest ones that
//! wait, the oldest is counted first. A partition of which nothing waits holds the others up, since
//! its next message may be older than theirs; but not if all of it was read, and not for long.

use crate::kafka::Run;
use crate::sentiment::Scored;
use crate::tweet::Skip;
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a partition that is behind may hold the others up. Its broker may be gone; then this
/// is waited once, and not again until it is back.
const PATIENCE: Duration = Duration::from_secs(1);

/// A message, by what tells it from another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) offset: i64,
    /// When it was written, in milliseconds since 1970.
    pub(super) written: Option<i64>,
}

impl Place {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Place {
        Place {
            offset: message.offset(),
            written: message.timestamp().to_millis(),
        }
    }
}

/// A message, decoded and scored.
pub(super) type Outcome = Result<Arc<Scored>, Skip>;

/// A message that waits to be counted.
pub(super) struct Heard {
    pub(super) place: Place,
    pub(super) run: Option<Run>,
    pub(super) outcome: Outcome,
}

#[derive(Default)]
pub(super) struct Partition {
    /// The last message that was counted.
    pub(super) last: Option<Place>,
    /// Whether a broker that came back has yet to show that message again.
    pub(super) unseen: bool,
    /// What was read and is not counted yet.
    pub(super) waiting: VecDeque<Heard>,
    /// Whether the broker had no more when it was last asked.
    pub(super) at_end: bool,
}

/// All partitions of the topic, by their number.
#[derive(Default)]
pub(super) struct Partitions {
    all: Vec<Partition>,
    held_up: Option<Instant>,
}

impl Partitions {
    /// As a new consumer finds them: what was not counted is read again.
    pub(super) fn begin(&mut self, count: usize) {
        self.all.resize_with(count, Partition::default);
        for partition in &mut self.all {
            partition.waiting.clear();
            partition.at_end = false;
            partition.unseen = partition.last.is_some();
        }
        self.held_up = None;
    }

    pub(super) fn forget(&mut self) {
        self.all.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.all.iter_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.all.iter()
    }

    pub(super) fn get(&mut self, number: usize) -> Option<&mut Partition> {
        self.all.get_mut(number)
    }

    /// The next message to count, if it is its turn.
    pub(super) fn next(&mut self) -> Option<(usize, Heard)> {
        if !self.may_go_on() {
            return None;
        }
        self.oldest()
    }

    /// The next message to count, without regard to what may still come.
    pub(super) fn oldest(&mut self) -> Option<(usize, Heard)> {
        let heads = self
            .all
            .iter()
            .enumerate()
            .filter_map(|(number, partition)| {
                let head = partition.waiting.front()?;
                Some((head.place.written, number))
            });
        let (_, number) = heads.min()?;
        let heard = self.all[number].waiting.pop_front()?;
        Some((number, heard))
    }

    fn may_go_on(&mut self) -> bool {
        let behind = |partition: &Partition| partition.waiting.is_empty() && !partition.at_end;
        if !self.all.iter().any(behind) {
            self.held_up = None;
            return true;
        }
        if self
            .all
            .iter()
            .all(|partition| partition.waiting.is_empty())
        {
            return false;
        }
        let since = *self.held_up.get_or_insert_with(Instant::now);
        since.elapsed() >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard(written: i64, offset: i64) -> Heard {
        Heard {
            place: Place {
                offset,
                written: Some(written),
            },
            run: None,
            outcome: Err(Skip::NoText),
        }
    }

    #[test]
    fn a_partition_that_is_behind_holds_the_others_up_but_not_for_ever() {
        let mut partitions = Partitions::default();
        partitions.begin(2);
        partitions.all[0].waiting.push_back(heard(5, 0));
        assert!(partitions.next().is_none());
        partitions.all[1].at_end = true;
        assert_eq!(partitions.next().unwrap().0, 0);
        partitions.all[0].waiting.push_back(heard(6, 1));
        partitions.all[1].at_end = false;
        assert!(partitions.next().is_none());
        while partitions.next().is_none() {}
    }

    proptest! {
        #[test]
        fn partitions_are_merged_by_time(cut in prop::collection::vec(0usize..4, 0..200)) {
            let mut partitions = Partitions::default();
            partitions.begin(4);
            for (written, number) in cut.iter().enumerate() {
                partitions.all[*number].waiting.push_back(heard(written as i64, 0));
            }
            partitions.iter_mut().for_each(|partition| partition.at_end = true);
            let merged: Vec<_> = std::iter::from_fn(|| partitions.next())
                .map(|(number, heard)| (heard.place.written.unwrap() as usize, number))
                .collect();
            let expected: Vec<_> = cut.iter().copied().enumerate().collect();
            prop_assert_eq!(merged, expected);
        }
    }
}
