//! Which ids have been seen, in bounded memory.
//!
//! A source gives a tweet again after a reconnect, and a Streamer that was killed and started anew
//! writes it again. So the Streamer looks before it writes, and the Listener before it counts.

use crate::Tweet;
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::mem::swap;

/// How many ids are remembered at least; the oldest are forgotten first.
pub const REMEMBERED: usize = 900_000;

/// The ids that were seen, by a 64-bit hash each, with keys that no stranger knows. That one new id
/// is taken for an old one happens once in 10^13 tweets. A tweet without an id is always new.
///
/// They are in two tables of [`REMEMBERED`] each: when the newer one is full, the older one is
/// forgotten. Both take 19 MB, from the start: memory that grew after a million tweets would look
/// like a leak.
pub(crate) struct Seen {
    hasher: RandomState,
    newer: Ids,
    older: Ids,
}

type Ids = HashSet<u64, BuildHasherDefault<Hashed>>;

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
        // Memory that was never written to is only promised, and would come with the ids.
        let mut older: Ids = (0..REMEMBERED as u64).collect();
        older.clear();
        Seen {
            hasher: RandomState::new(),
            newer: Ids::with_capacity_and_hasher(REMEMBERED, Default::default()),
            older,
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
        if self.older.contains(&hash) || !self.newer.insert(hash) {
            return false;
        }
        if self.newer.len() == REMEMBERED {
            swap(&mut self.newer, &mut self.older);
            self.newer.clear();
        }
        true
    }

    /// Forgets all, as for a new run.
    pub(crate) fn clear(&mut self) {
        self.newer.clear();
        self.older.clear();
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
        let more = |seen: &mut Seen, name: &str| {
            (1..REMEMBERED).all(|number| insert(seen, &format!("{name}{number}")))
        };
        assert!(more(&mut seen, "first"));
        assert!(insert(&mut seen, "b") && more(&mut seen, "second"));
        assert!(!insert(&mut seen, "b") && !insert(&mut seen, "second1"));
        assert!(insert(&mut seen, "a"), "as many have come since");
        assert!(seen.newer.len() + seen.older.len() <= 2 * REMEMBERED);
        seen.clear();
        assert!(insert(&mut seen, "a") && insert(&mut seen, "b"));
    }
}
