//! Which ids have been seen, in bounded memory.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// How many ids are remembered; the oldest is forgotten first.
const REMEMBERED: usize = 1_000_000;

/// The ids that were seen, by a 128-bit hash each: two different ids are taken for the same less
/// often than memory fails. A tweet without an id is always new.
#[derive(Default)]
pub(super) struct Seen {
    hashers: [RandomState; 2],
    known: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Seen {
    /// True if the id is new.
    pub(super) fn insert(&mut self, id: &str) -> bool {
        if id.is_empty() {
            return true;
        }
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one(id));
        let hash = u128::from(high) << 64 | u128::from(low);
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_and_the_oldest_is_forgotten() {
        let mut seen = Seen::default();
        assert!(seen.insert("a") && !seen.insert("a"));
        assert!(seen.insert("") && seen.insert(""));
        for number in 0..REMEMBERED {
            assert!(seen.insert(&number.to_string()));
        }
        assert_eq!(
            (seen.known.len(), seen.order.len()),
            (REMEMBERED, REMEMBERED)
        );
        assert!(seen.insert("a"), "it was the oldest");
    }
}
