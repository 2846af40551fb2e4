//! Why a connected listener cannot continue to read: a damaged batch, a missing permission, or an open
//! transaction of another program.

use super::progress::State;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An open transaction is an obstacle after this long. Most transactions end within milliseconds.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(3);
/// An error that belongs to no partition is over if it is not repeated for this long.
const GENERAL_LIMIT: Duration = Duration::from_secs(10);

/// The current obstacles, by partition.
#[derive(Default)]
pub(super) struct Obstacles {
    partitions: BTreeMap<usize, String>,
    general: Option<(String, Instant)>,
    /// The offset of the open transaction that each partition waits for, and the start of the wait.
    transactions: BTreeMap<usize, (i64, Instant)>,
    was_blocked: bool,
}

impl Obstacles {
    /// Adds the reason why a partition, or the whole consumer, cannot be read.
    pub(super) fn add(&mut self, partition: Option<usize>, reason: String) {
        let general = (reason.clone(), Instant::now());
        let known = match partition {
            Some(number) => self.partitions.insert(number, reason.clone()),
            None => self.general.replace(general).map(|(reason, _)| reason),
        };
        // librdkafka repeats the error with each attempt.
        if known.as_ref() != Some(&reason) {
            tracing::warn!(reason, "the listener cannot read on");
        }
    }

    /// Records that a message of the partition has come.
    pub(super) fn remove(&mut self, partition: usize) {
        self.partitions.remove(&partition);
    }

    /// Records the offset of the open transaction that a partition waits for; `None` if it waits for
    /// none.
    pub(super) fn watch_transaction(&mut self, partition: usize, open: Option<i64>) {
        let Some(offset) = open else {
            self.transactions.remove(&partition);
            return;
        };
        let new = (offset, Instant::now());
        let wait = self.transactions.entry(partition).or_insert(new);
        if wait.0 != offset {
            *wait = new;
        }
    }

    /// Returns the state of the listener if it is blocked, or was blocked at the last call.
    pub(super) fn state(&mut self) -> Option<State> {
        if self.is_clear() && !self.was_blocked {
            return None;
        }
        self.general.take_if(|(_, at)| at.elapsed() > GENERAL_LIMIT);
        let is_long = |since: Instant| since.elapsed() > TRANSACTION_LIMIT;
        let reason = if let Some((number, reason)) = self.partitions.first_key_value() {
            Some(format!("partition {number}: {reason}"))
        } else if let Some((reason, _)) = &self.general {
            Some(reason.clone())
        } else {
            let mut waits = self.transactions.iter();
            let wait = waits.find(|(_, (_, since))| is_long(*since));
            wait.map(|(number, (offset, _))| {
                format!(
                    "partition {number}: waits at offset {offset} for the end of another program's \
                     transaction"
                )
            })
        };
        let was_blocked = std::mem::replace(&mut self.was_blocked, reason.is_some());
        let blocked = reason.map(State::Blocked);
        blocked.or(was_blocked.then_some(State::Connected))
    }

    /// Returns whether there is no obstacle, not even a transaction that has just begun.
    pub(super) fn is_clear(&self) -> bool {
        self.partitions.is_empty() && self.general.is_none() && self.transactions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_lasts_until_a_message_of_its_partition_comes() {
        let mut obstacles = Obstacles::default();
        assert_eq!(obstacles.state(), None);
        obstacles.add(Some(1), "unreadable".into());
        let blocked = State::Blocked("partition 1: unreadable".into());
        assert_eq!(obstacles.state(), Some(blocked.clone()));
        obstacles.remove(0);
        assert_eq!(obstacles.state(), Some(blocked));
        obstacles.remove(1);
        assert_eq!(obstacles.state(), Some(State::Connected));
        assert_eq!(obstacles.state(), None);
    }

    #[test]
    fn an_error_of_no_partition_is_an_obstacle_for_a_limited_time() {
        let mut obstacles = Obstacles::default();
        obstacles.add(None, "not permitted".into());
        assert!(!obstacles.is_clear());
        let blocked = State::Blocked("not permitted".into());
        assert_eq!(obstacles.state(), Some(blocked));
        let (_, at) = obstacles.general.as_mut().unwrap();
        *at -= 2 * GENERAL_LIMIT;
        assert_eq!(obstacles.state(), Some(State::Connected));
        assert!(obstacles.is_clear());
    }

    #[test]
    fn a_short_transaction_is_no_obstacle() {
        let mut obstacles = Obstacles::default();
        obstacles.watch_transaction(0, Some(7));
        assert_eq!(obstacles.state(), None);
        let long_ago = Instant::now() - 2 * TRANSACTION_LIMIT;
        obstacles.transactions.insert(0, (7, long_ago));
        obstacles.watch_transaction(0, Some(7));
        assert!(matches!(obstacles.state(), Some(State::Blocked(_))));
        obstacles.watch_transaction(0, Some(9));
        assert_eq!(obstacles.state(), Some(State::Connected));
        assert!(!obstacles.is_clear());
        obstacles.watch_transaction(0, None);
        assert!(obstacles.is_clear());
    }
}
