//! The partitions of the topic, and the order in which their messages are counted.
//!
//! Kafka orders the messages within a partition, but not across partitions. A figure over time
//! needs one order, so partitions are merged by the time at which each message was written: the first
//! pending records of all partitions are compared, and the oldest is counted next. A partition without
//! a pending record delays the merge, because its next message may be older. The delay ends when the
//! partition is read to its end, or after a second.

use crate::sentiment::Scored;
use crate::tweet::Skip;
use crate::wire::RunId;
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The maximum number of pending records of all partitions together.
const MAX_RECORDS: usize = 2_000;
/// The maximum size of the messages of these records, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How long a partition without a pending record may delay the merge. A partition whose broker is
/// unreachable delays the merge once, and once again when the broker is back.
const MERGE_WAIT: Duration = Duration::from_secs(1);

/// The position of a message. It identifies the message in its partition, even after the topic has been
/// deleted and created again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Position {
    pub(super) offset: i64,
    /// When the message was written, in milliseconds since 1970.
    pub(super) written: Option<i64>,
}

impl Position {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Position {
        Position {
            offset: message.offset(),
            written: message.timestamp().to_millis(),
        }
    }
}

/// A decoded and scored message, or one that is skipped.
pub(super) type Outcome = Result<Arc<Scored>, Skipped>;

/// A message that is not counted.
#[derive(Debug)]
pub(super) struct Skipped {
    pub(super) reason: Skip,
    /// The beginning of the message, as text.
    pub(super) beginning: String,
}

/// A message that waits to be counted.
pub(super) struct PendingRecord {
    pub(super) position: Position,
    pub(super) run: Option<RunId>,
    pub(super) outcome: Outcome,
    /// The size of the message, in bytes.
    pub(super) size: usize,
}

/// Where a new consumer starts to read a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Resume {
    /// At the configured start of the listener.
    #[default]
    Start,
    /// At this offset, because nothing was counted yet.
    At(i64),
    /// After this message, which is the last counted one. It is read again to check that the partition
    /// is still the same log.
    After(Position),
}

impl Resume {
    /// Returns the offset of the next message to count; `None` before the first one.
    pub(super) fn position(self) -> Option<i64> {
        match self {
            Resume::Start => None,
            Resume::At(next) => Some(next),
            Resume::After(last) => Some(last.offset + 1),
        }
    }

    /// Returns when the last counted message was written, in milliseconds since 1970.
    pub(super) fn written(self) -> Option<i64> {
        match self {
            Resume::Start | Resume::At(_) => None,
            Resume::After(last) => last.written,
        }
    }
}

/// A record proves that the partition is a different log than before.
#[derive(Debug, PartialEq)]
pub(super) struct OtherLog;

/// A partition, as a consumer reads it.
#[derive(Default)]
pub(super) struct Partition {
    pub(super) resume: Resume,
    /// Whether the consumer reads the last counted message first, to identify the log. The broker may
    /// have removed that message.
    pub(super) is_verifiable: bool,
    /// The expected offset of the next record, if a gap in the offsets means that messages were removed.
    pub(super) next: Option<i64>,
    pending: VecDeque<PendingRecord>,
    pending_bytes: usize,
    /// Whether the partition has been read to its end.
    pub(super) at_end: bool,
}

impl Partition {
    pub(super) fn new(resume: Resume, is_verifiable: bool) -> Partition {
        Partition {
            resume,
            is_verifiable,
            ..Partition::default()
        }
    }

    /// Adds a record. Returns the number of missing messages before it, if gaps are counted.
    ///
    /// # Errors
    /// [`OtherLog`] if the record proves that the partition is a different log than before.
    pub(super) fn push(&mut self, record: PendingRecord) -> Result<u64, OtherLog> {
        let offset = record.position.offset;
        if std::mem::take(&mut self.is_verifiable)
            && let Resume::After(last) = self.resume
        {
            if record.position == last {
                return Ok(0);
            }
            if offset <= last.offset {
                return Err(OtherLog);
            }
        }
        let gap = self.next.map_or(0, |next| offset.saturating_sub(next));
        self.next = self.next.map(|_| offset.saturating_add(1));
        self.pending_bytes += record.size;
        self.pending.push_back(record);
        Ok(u64::try_from(gap).unwrap_or(0))
    }

    /// Returns the offset of the next message to read; `None` before the first one.
    pub(super) fn next_offset(&self) -> Option<i64> {
        let read = self.pending.back().map(|last| last.position.offset + 1);
        read.or(self.resume.position())
    }

    /// Returns whether the partition has been read to its end and all its records have been counted.
    pub(super) fn is_done(&self) -> bool {
        self.at_end && self.pending.is_empty()
    }

    fn pop(&mut self) -> Option<PendingRecord> {
        let record = self.pending.pop_front()?;
        self.pending_bytes -= record.size;
        self.resume = Resume::After(record.position);
        Some(record)
    }
}

/// The room for more records in a partition.
pub(super) struct Room {
    records: usize,
    bytes: usize,
}

impl Room {
    /// Takes room for a message of `size` bytes. The last message may exceed the room. Otherwise a
    /// partition with large messages would make no progress.
    pub(super) fn take(&mut self, size: usize) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
    }

    /// Limits the room to this many records.
    pub(super) fn at_most(mut self, records: usize) -> Room {
        self.records = self.records.min(records);
        self
    }

    pub(super) fn is_left(&self) -> bool {
        self.records > 0 && self.bytes > 0
    }
}

/// The partitions of the topic, by number.
#[derive(Default)]
pub(super) struct Partitions {
    all: Vec<Partition>,
    delayed_since: Option<Instant>,
}

impl Partitions {
    /// Prepares for a new consumer, which starts each partition as given. Pending records are dropped,
    /// because the consumer reads them again.
    pub(super) fn reset(&mut self, starts: Vec<Partition>) {
        self.all = starts;
        self.delayed_since = None;
    }

    /// Forgets all positions, for another log.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.all.iter()
    }

    pub(super) fn get(&mut self, number: usize) -> Option<&mut Partition> {
        self.all.get_mut(number)
    }

    /// Returns the room in a partition: its share of the limits, minus its pending records.
    pub(super) fn room(&self, number: usize) -> Room {
        let share = |bound: usize| (bound / self.all.len().max(1)).max(1);
        let (records, bytes) = self.all.get(number).map_or((0, 0), |partition| {
            (partition.pending.len(), partition.pending_bytes)
        });
        Room {
            records: share(MAX_RECORDS).saturating_sub(records),
            bytes: share(MAX_BYTES).saturating_sub(bytes),
        }
    }

    /// Returns the next record to count, unless a partition delays the merge.
    pub(super) fn next(&mut self) -> Option<PendingRecord> {
        if self.is_delayed() {
            return None;
        }
        self.oldest()
    }

    /// Returns the oldest pending record, even if a partition delays the merge.
    pub(super) fn oldest(&mut self) -> Option<PendingRecord> {
        let written = |partition: &Partition| Some(partition.pending.front()?.position.written);
        let pending = self
            .all
            .iter_mut()
            .filter(|partition| !partition.pending.is_empty());
        pending.min_by_key(|partition| written(partition))?.pop()
    }

    fn is_delayed(&mut self) -> bool {
        let is_empty = |partition: &Partition| partition.pending.is_empty();
        let is_unread = |partition: &Partition| is_empty(partition) && !partition.at_end;
        if !self.all.iter().any(is_unread) {
            self.delayed_since = None;
            return false;
        }
        if self.all.iter().all(is_empty) {
            return true;
        }
        let since = *self.delayed_since.get_or_insert_with(Instant::now);
        since.elapsed() < MERGE_WAIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(written: i64, offset: i64) -> PendingRecord {
        PendingRecord {
            position: Position {
                offset,
                written: Some(written),
            },
            run: None,
            outcome: Err(Skipped {
                reason: Skip::NoText,
                beginning: String::new(),
            }),
            size: 10,
        }
    }

    fn partitions(count: usize) -> Partitions {
        let mut partitions = Partitions::default();
        partitions.reset((0..count).map(|_| Partition::default()).collect());
        partitions
    }

    #[test]
    fn a_partition_without_records_holds_the_others_up_for_a_limited_time() {
        let mut partitions = partitions(2);
        partitions.all[0].push(record(5, 0)).unwrap();
        assert!(partitions.next().is_none());
        partitions.all[1].at_end = true;
        assert_eq!(partitions.next().unwrap().position.offset, 0);
        partitions.all[0].push(record(6, 1)).unwrap();
        partitions.all[1].at_end = false;
        assert!(partitions.next().is_none());
        while partitions.next().is_none() {}
    }

    #[test]
    fn pending_records_are_bounded_by_number_and_by_bytes() {
        let fill = |size: usize| {
            let mut partitions = partitions(4);
            let mut records = 0;
            let mut room = partitions.room(1);
            while room.is_left() {
                let large = PendingRecord {
                    size,
                    ..record(records, records)
                };
                partitions.all[1].push(large).unwrap();
                room.take(size);
                records += 1;
            }
            assert!(!partitions.room(1).is_left());
            partitions.oldest();
            assert!(partitions.room(1).is_left());
            records as usize
        };
        assert_eq!(fill(10), MAX_RECORDS / 4);
        assert_eq!(fill(1 << 20), MAX_BYTES / 4 / (1 << 20));
    }

    #[test]
    fn a_counted_record_gives_back_its_bytes_and_is_where_reading_resumes() {
        let mut partitions = partitions(1);
        assert_eq!(partitions.all[0].resume.written(), None);
        for offset in 0..3 {
            partitions.all[0].push(record(40 + offset, offset)).unwrap();
        }
        for left in [20, 10, 0] {
            partitions.oldest().unwrap();
            assert_eq!(partitions.all[0].pending_bytes, left);
        }
        assert_eq!(partitions.all[0].resume.written(), Some(42));
        assert_eq!(Resume::At(7).written(), None);
    }

    #[test]
    fn the_next_offset_follows_the_last_message_whether_or_not_it_is_counted() {
        let mut partitions = partitions(1);
        assert_eq!(partitions.all[0].next_offset(), None);
        partitions.all[0].push(record(0, 7)).unwrap();
        assert_eq!(partitions.all[0].next_offset(), Some(8));
        partitions.oldest().unwrap();
        assert_eq!(partitions.all[0].next_offset(), Some(8));
    }

    #[test]
    fn a_partition_is_done_at_its_end_without_pending_records() {
        let mut partitions = partitions(1);
        let is_done = |partitions: &mut Partitions| partitions.get(0).map(|only| only.is_done());
        assert_eq!(is_done(&mut partitions), Some(false));
        partitions.all[0].at_end = true;
        assert_eq!(is_done(&mut partitions), Some(true));
        partitions.all[0].push(record(0, 0)).unwrap();
        assert_eq!(is_done(&mut partitions), Some(false));
        partitions.oldest().unwrap();
        assert_eq!(is_done(&mut partitions), Some(true));
        partitions.clear();
        assert_eq!(is_done(&mut partitions), None);
    }

    #[test]
    fn the_last_counted_message_identifies_the_log() {
        let last = record(7, 3).position;
        let after_reconnect = |next: PendingRecord| {
            let mut partitions = Partitions::default();
            partitions.reset(vec![Partition {
                next: Some(4),
                ..Partition::new(Resume::After(last), true)
            }]);
            let pushed = partitions.all[0].push(next);
            (pushed, partitions.all[0].pending.len())
        };
        let same = after_reconnect(record(7, 3));
        assert_eq!(same, (Ok(0), 0), "the same message");
        let other = after_reconnect(record(8, 3));
        assert_eq!(other, (Err(OtherLog), 0), "another log");
        assert_eq!(after_reconnect(record(9, 4)), (Ok(0), 1), "the next one");
        let later = after_reconnect(record(9, 6));
        assert_eq!(later, (Ok(2), 1), "two were removed");
    }

    #[test]
    fn gaps_are_counted_only_where_a_gap_means_that_messages_were_removed() {
        let missed = |next: Option<i64>| -> u64 {
            let mut partitions = Partitions::default();
            partitions.reset(vec![Partition {
                next,
                ..Partition::default()
            }]);
            let offsets = [2, 3, 7];
            let pushed = offsets.map(|offset| partitions.all[0].push(record(0, offset)).unwrap());
            pushed.iter().sum()
        };
        assert_eq!(missed(Some(0)), 5);
        assert_eq!(missed(None), 0);
    }

    proptest! {
        #[test]
        fn partitions_are_merged_by_time(cut in prop::collection::vec(0usize..4, 0..200)) {
            let mut partitions = partitions(4);
            for (written, number) in cut.iter().enumerate() {
                partitions.all[*number].push(record(written as i64, *number as i64)).unwrap();
            }
            partitions.all.iter_mut().for_each(|partition| partition.at_end = true);
            let merged: Vec<_> = std::iter::from_fn(|| partitions.next())
                .map(|record| (record.position.written.unwrap() as usize, record.position.offset as usize))
                .collect();
            let expected: Vec<_> = cut.iter().copied().enumerate().collect();
            prop_assert_eq!(merged, expected);
        }
    }
}
