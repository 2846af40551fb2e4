//! Random numbers for jitter and for identifiers, where nothing depends on their quality.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Returns a random number. Each [`RandomState`] of the standard library has new random keys, so the
/// hash of nothing is random; the generator of the crate `rand` would need two more crates.
pub(crate) fn random_number() -> u64 {
    RandomState::new().build_hasher().finish()
}
