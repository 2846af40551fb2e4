//! Random numbers: for jitter and identifiers, where nothing depends on their quality, and for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Returns a random number. Each [`RandomState`] of the standard library has new random keys, so the
/// hash of nothing is random; the generator of the crate `rand` would need two more crates.
pub(crate) fn random_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Returns a text of 32 random letters and digits that nobody can guess.
///
/// # Panics
/// If the operating system has no random numbers, which no supported one reports.
pub(crate) fn random_secret() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
