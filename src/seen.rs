//! Which ids have been seen, in bounded memory.
//!
//! A source gives a tweet again after a reconnect, and a Streamer that was killed and started anew
//! writes it again. So the Streamer looks before it writes, and the Listener before it counts.

use crate::Tweet;
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// How many ids are remembered; the oldest is forgotten first.
pub const REMEMBERED: usize = 900_000;

/// The ids that were seen, by a 64-bit hash each, with keys that no stranger knows. That one new id
/// is taken for an old one happens once in 10^13 tweets. A tweet without an id is always new.
///
/// It takes 16 MB, from the start: memory that grew until the last place is taken would look like a
/// leak for hours.
pub(crate) struct Seen {
    hasher: RandomState,
    known: HashSet<u64, BuildHasherDefault<Hashed>>,
    order: Box<[u64]>,
    /// The place of the oldest one, which the next one takes.
    next: usize,
}

/// What is hashed already is not hashed again.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only a u64 is hashed");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Seen {
    fn default() -> Self {
        Seen {
            hasher: RandomState::new(),
            known: HashSet::with_capacity_and_hasher(REMEMBERED + 1, Default::default()),
            // No zeros: those the system would only promise.
            order: vec![u64::MAX; REMEMBERED].into(),
            next: 0,
        }
    }
}

impl Seen {
    /// True if the tweet is new. Ids are unique in their source.
    pub(crate) fn insert(&mut self, tweet: &Tweet) -> bool {
        if tweet.id.is_empty() {
            return true;
        }
        let hash = self.hasher.hash_one((&tweet.source, &tweet.id));
        if !self.known.insert(hash) {
            return false;
        }
        // At first it is what the places were filled with, which is no id's.
        self.known.remove(&self.order[self.next]);
        self.order[self.next] = hash;
        self.next = (self.next + 1) % REMEMBERED;
        true
    }

    /// Forgets all, as for a new run.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.order.fill(u64::MAX);
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(seen: &mut Seen, id: &str) -> bool {
        seen.insert(&Tweet {
            id: id.into(),
            ..Tweet::decode(br#"{"text":""}"#).unwrap()
        })
    }

    #[test]
    fn ids_are_remembered_and_the_oldest_is_forgotten() {
        let mut seen = Seen::default();
        assert!(insert(&mut seen, "a") && !insert(&mut seen, "a"));
        assert!(insert(&mut seen, "") && insert(&mut seen, ""));
        for number in 0..REMEMBERED {
            assert!(insert(&mut seen, &number.to_string()));
        }
        assert_eq!(seen.known.len(), REMEMBERED);
        assert!(!insert(&mut seen, "0"), "it is the oldest");
        assert!(insert(&mut seen, "a"), "it was older");
        assert!(insert(&mut seen, "0"), "now it was");
        seen.clear();
        assert!(insert(&mut seen, "a") && insert(&mut seen, "b"));
    }
}
