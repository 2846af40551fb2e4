//! Waits between attempts, such as reconnects.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Returns the wait after each failure. The waits grow up to a maximum.
///
/// Each wait is lengthened by a random part of up to a tenth. Programs that the same fault disconnected
/// therefore do not all reconnect at the same moment. The random part never shortens a wait, because a
/// provider may prescribe the shortest one.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    doubles: bool,
    failures: u32,
}

impl Backoff {
    /// Creates waits that grow by `first` after each failure.
    pub(crate) const fn linear(first: Duration, max: Duration) -> Backoff {
        Backoff {
            first,
            max,
            doubles: false,
            failures: 0,
        }
    }

    /// Creates waits that double after each failure.
    pub(crate) const fn doubling(first: Duration, max: Duration) -> Backoff {
        Backoff {
            doubles: true,
            ..Backoff::linear(first, max)
        }
    }

    /// Counts a failure, and returns the wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let factor = if self.doubles {
            2_u32.saturating_pow(self.failures)
        } else {
            self.failures.saturating_add(1)
        };
        self.failures = self.failures.saturating_add(1);
        jittered(self.first.saturating_mul(factor).min(self.max))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Returns `wait`, lengthened by a random part of up to a tenth.
pub(crate) fn jittered(wait: Duration) -> Duration {
    let fraction = random_number() as f64 / u64::MAX as f64;
    wait + wait.mul_f64(0.1 * fraction)
}

/// Returns a random number that is not suitable for secrets. Each [`RandomState`] has new random keys, so
/// even the hash of `()` is random.
pub(crate) fn random_number() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(mut backoff: Backoff, count: usize) -> Vec<f64> {
        let waits: Vec<f64> = (0..count).map(|_| backoff.next().as_secs_f64()).collect();
        backoff.reset();
        assert!(
            backoff.next().as_secs_f64() <= waits[0] * 1.1 + 1e-9,
            "a reset starts again with the shortest wait"
        );
        waits
    }

    fn assert_waits(waits: &[f64], expected: &[f64]) {
        assert_eq!(waits.len(), expected.len());
        for (wait, least) in waits.iter().zip(expected) {
            assert!(
                (*least..=least * 1.1).contains(wait),
                "{wait} instead of {least}"
            );
        }
    }

    #[test]
    fn waits_grow_linearly_or_double_up_to_the_maximum() {
        let linear = Backoff::linear(Duration::from_millis(250), Duration::from_secs(16));
        let linear = waits(linear, 100);
        assert_waits(&linear[..4], &[0.25, 0.5, 0.75, 1.0]);
        assert_waits(&linear[62..66], &[15.75, 16.0, 16.0, 16.0]);
        let doubling = Backoff::doubling(Duration::from_secs(5), Duration::from_secs(320));
        let doubling = waits(doubling, 80);
        assert_waits(
            &doubling[..8],
            &[5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 320.0],
        );
        assert_waits(&doubling[78..], &[320.0, 320.0]);
    }

    #[test]
    fn jitter_spreads_the_waits() {
        let waits: std::collections::BTreeSet<Duration> =
            (0..50).map(|_| jittered(Duration::from_secs(1))).collect();
        assert!(waits.len() > 10);
    }
}
