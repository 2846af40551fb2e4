//! Drops duplicate tweets in bounded memory.
//!
//! A tweet can come twice: a source may deliver it again after a reconnect, and a streamer that was
//! killed and restarted may write it again. So the streamer checks the id of each tweet before it writes
//! the tweet, and the listener checks the id before it counts the tweet.

use crate::tweet::Tweet;
use rustc_hash::FxHashSet;
use std::hash::{BuildHasher, RandomState};
use std::mem::swap;

/// The number of ids in each of the two tables. At least this many recent ids are remembered.
const REMEMBERED_IDS: usize = 900_000;

/// The ids of recent tweets, each as a 64-bit hash with a random key. Two different ids have the same
/// hash about once in 10^13 tweets. A tweet without an id always counts as new.
///
/// The ids are in two tables of [`REMEMBERED_IDS`] each. When the newer table is full, the older
/// one is cleared and the tables are swapped. Both tables together take 19 MB from the start, because
/// memory that grew over the first million tweets would look like a leak. The keys of the tables are
/// already random hashes, so a fast hash function is sufficient for the tables.
pub(crate) struct Deduplicator {
    hasher: RandomState,
    newer: Ids,
    older: Ids,
}

type Ids = FxHashSet<u64>;

impl Default for Deduplicator {
    fn default() -> Self {
        // Touch every page now, so that resident memory stays constant.
        let mut older: Ids = (0..REMEMBERED_IDS as u64).collect();
        older.clear();
        Deduplicator {
            hasher: RandomState::new(),
            newer: Ids::with_capacity_and_hasher(REMEMBERED_IDS, Default::default()),
            older,
        }
    }
}

impl Deduplicator {
    /// Remembers the id of the tweet, and returns whether the tweet is new. An id is unique only within its
    /// source, so the hash includes the source.
    pub(crate) fn insert(&mut self, tweet: &Tweet) -> bool {
        if tweet.id.is_empty() {
            return true;
        }
        let hash = self.hasher.hash_one((&tweet.source, &tweet.id));
        if self.older.contains(&hash) || !self.newer.insert(hash) {
            return false;
        }
        if self.newer.len() == REMEMBERED_IDS {
            swap(&mut self.newer, &mut self.older);
            self.newer.clear();
        }
        true
    }

    /// Forgets all ids, for a new run.
    pub(crate) fn clear(&mut self) {
        self.newer.clear();
        self.older.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(ids: &mut Deduplicator, id: &str) -> bool {
        ids.insert(&Tweet::new("ada", "").id(id))
    }

    #[test]
    fn ids_are_remembered_and_the_oldest_are_forgotten() {
        let mut ids = Deduplicator::default();
        assert!(insert(&mut ids, "a") && !insert(&mut ids, "a"));
        assert!(insert(&mut ids, "") && insert(&mut ids, ""));
        let more = |ids: &mut Deduplicator, name: &str| {
            (1..REMEMBERED_IDS).all(|number| insert(ids, &format!("{name}{number}")))
        };
        assert!(more(&mut ids, "first"));
        assert!(insert(&mut ids, "b") && more(&mut ids, "second"));
        assert!(!insert(&mut ids, "b") && !insert(&mut ids, "second1"));
        assert!(insert(&mut ids, "a"), "as many ids have come since");
        assert!(ids.newer.len() + ids.older.len() <= 2 * REMEMBERED_IDS);
        ids.clear();
        assert!(insert(&mut ids, "a") && insert(&mut ids, "b"));
    }
}
